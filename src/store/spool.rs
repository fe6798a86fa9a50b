//! Where an upload waits that cannot wait beside its target, and how it gets from there over the target's bytes.

use super::disk::Room;
use super::temporary::random_name;
use cap_std::fs::{File, FileExt};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Makes a file without a name where there is room for so many bytes: in `$TMPDIR`, or where others keep what may be
/// large.
pub(super) fn create(bytes: u64) -> io::Result<File> {
    let given = std::env::var_os("TMPDIR").filter(|given| !given.is_empty()).map(PathBuf::from);
    let places = given.into_iter().chain(["/var/tmp", "/tmp"].map(PathBuf::from));
    let mut failed = io::Error::from(Errno::NOSPC);
    for place in places {
        let room = rustix::fs::statvfs(&place).map(|about| Room::of(&about).free);
        if room.is_ok_and(|free| free < bytes) {
            continue;
        }
        match create_in(&place) {
            Ok(file) => return Ok(file),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

fn create_in(place: &Path) -> rustix::io::Result<File> {
    let (flags, own) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    if let Ok(file) = rustix::fs::open(place, OFlags::TMPFILE | flags, own) {
        return Ok(file.into());
    }
    let place = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, own)?;
    let name = random_name();
    let file = rustix::fs::openat(&place, &name, OFlags::CREATE | OFlags::EXCL | flags, own)?;
    rustix::fs::unlinkat(&place, &name, AtFlags::empty())?;
    Ok(file.into())
}

/// Writes all bytes of `from` over those of `to`.
pub(super) fn copy_over(from: &File, to: &File) -> io::Result<()> {
    let bytes = from.metadata()?.len();
    // Before the first of the old bytes is lost it is known that there is room for the new ones.
    let reserved = rustix::fs::fallocate(to, FallocateFlags::KEEP_SIZE, 0, bytes.max(1));
    // Not every file system can tell.
    if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = reserved {
        return Err(error.into());
    }
    let (mut buffer, mut at) = (vec![0; CHUNK_BYTES], 0);
    while at < bytes {
        let read = from.read_at(&mut buffer, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&buffer[..read], at)?;
        at += read as u64;
    }
    to.set_len(bytes)
}
