//! Where an upload waits that cannot wait beside its target, and how it gets from there over the target's bytes.

use super::disk::{Identity, NewFile, Room};
use super::temporary::random_name;
use cap_std::fs::{File, FileExt};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The directories in which an upload waits that cannot wait beside its target, the first that will do: `$TMPDIR`, and
/// where others keep what may be large. Whoever confines a process that serves a [`Folder`](super::Folder) leaves them to
/// it, or lives without such uploads.
pub fn spool_directories() -> impl Iterator<Item = PathBuf> {
    behind(std::env::var_os("TMPDIR"))
}

/// Those that there are always, behind the one that is given, if that has a name.
fn behind(given: Option<OsString>) -> impl Iterator<Item = PathBuf> {
    let given = given.filter(|given| !given.is_empty()).map(PathBuf::from);
    given.into_iter().chain(["/var/tmp", "/tmp"].map(PathBuf::from))
}

/// Makes a file without a name where there is room for so many bytes.
pub(super) fn create(bytes: u64) -> io::Result<File> {
    create_in_any(spool_directories(), bytes)
}

/// The same in the first of these places that will do.
fn create_in_any(places: impl Iterator<Item = PathBuf>, bytes: u64) -> io::Result<File> {
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

/// Writes all bytes of `from` over those of `to`, after those who are just doing the same with it.
pub(super) fn copy_over(from: &File, to: &File) -> io::Result<()> {
    let _turn = Turn::wait_for(to)?;
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

/// The right to write over a file, of which this process has one at a time: uploads of one name do not mix.
struct Turn(Identity);

static TURNS: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());
static IS_OVER: Condvar = Condvar::new();

impl Turn {
    fn wait_for(file: &File) -> io::Result<Self> {
        let file = file.identity()?;
        let turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let others = IS_OVER.wait_while(turns, |turns| turns.contains(&file));
        others.unwrap_or_else(PoisonError::into_inner).insert(file);
        Ok(Self(file))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        IS_OVER.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = File::from_std(tempfile::tempfile().expect("a file"));
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn where_there_is_no_room_none_waits() {
        let kind = |bytes| create(bytes).map(drop).map_err(|error| error.kind());
        assert_eq!(kind(1), Ok(()));
        assert_eq!(kind(u64::MAX), Err(io::ErrorKind::StorageFull));
    }

    #[test]
    fn it_waits_in_the_first_place_that_will_do() {
        let there = |given: &str| behind(Some(given.into())).collect::<Vec<_>>();
        let always = ["/var/tmp", "/tmp"].map(PathBuf::from);
        assert_eq!(there("/mnt"), [&[PathBuf::from("/mnt")], &always[..]].concat());
        assert_eq!(
            (there(""), behind(None).collect::<Vec<_>>()),
            (always.to_vec(), always.to_vec())
        );
        let place = tempfile::tempdir().expect("a folder");
        let [missing, here] = [place.path().join("none"), place.path().to_owned()];
        let among = |places: &[&PathBuf], bytes| {
            let places = places.iter().map(|place| (*place).clone());
            create_in_any(places, bytes).map(drop).map_err(|error| error.kind())
        };
        assert_eq!(among(&[&missing, &here], 1), Ok(()), "one that is not there is passed over");
        assert_eq!(among(&[&here, &missing], u64::MAX), Err(io::ErrorKind::NotFound));
        assert_eq!(among(&[], 1), Err(io::ErrorKind::StorageFull));
    }

    #[test]
    fn what_waits_has_no_name_and_is_written_and_read() {
        let place = tempfile::tempdir().expect("a folder");
        let mut file = create_in(place.path()).expect("a file");
        assert_eq!(std::fs::read_dir(place.path()).expect("a folder").count(), 0, "it has a name");
        let mut bytes = [0; 3];
        file.write_all(b"few").and_then(|()| file.read_at(&mut bytes, 0)).expect("it is a file");
        assert_eq!(&bytes, b"few");
    }

    #[test]
    fn a_file_has_the_new_bytes_and_no_more_whatever_it_had() {
        for (new, old) in [(0, 9), (9, 0), (200_000, 100), (100, 200_000), (CHUNK_BYTES, 1)] {
            let (from, to) = (file(&vec![7; new]), file(&vec![8; old]));
            copy_over(&from, &to).expect("copied");
            let mut bytes = vec![0; new + 1];
            let read = to.read_at(&mut bytes, 0).expect("read");
            assert_eq!((read, to.metadata().expect("a file").len()), (new, new as u64));
            assert!(bytes[..new].iter().all(|byte| *byte == 7), "{new} over {old}");
        }
    }

    #[test]
    fn where_the_old_file_has_no_room_for_the_new_bytes_none_of_it_is_lost() {
        // More than any disk has, and nothing can be done with it but to look at it.
        let large = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC);
        let large = large.expect("a file in memory");
        rustix::fs::ftruncate(&large, i64::MAX as u64).expect("it is long and empty");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&large));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let from = rustix::fs::open(path, flags, Mode::empty()).expect("the same file");
        let mut to = File::from_std(tempfile::tempfile_in("/dev/shm").expect("a file"));
        to.write_all(b"old").expect("written");
        let full = copy_over(&from.into(), &to).map_err(|error| error.kind());
        assert_eq!(full, Err(io::ErrorKind::StorageFull), "it is looked at before the first byte");
        let mut bytes = [0; 4];
        assert_eq!(to.read_at(&mut bytes, 0).expect("read"), 3);
        assert_eq!(&bytes, b"old\0");
    }

    #[test]
    fn of_several_that_write_over_one_file_at_once_one_is_last() {
        const SIZE: usize = 4 << 20;
        let target = file(b"old");
        let from: Vec<_> = (0..4).map(|n| file(&vec![n; SIZE])).collect();
        for _ in 0..10 {
            std::thread::scope(|scope| {
                for from in &from {
                    scope.spawn(|| copy_over(from, &target).expect("copied"));
                }
            });
            let mut bytes = vec![9; SIZE];
            target.read_exact_at(&mut bytes, 0).expect("its bytes");
            let first = bytes[0];
            assert!(bytes.iter().all(|byte| *byte == first), "they mix");
        }
    }
}
