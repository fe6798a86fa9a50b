//! A folder of the file system, with the kernel as the guard of its root.
//!
//! Every open is relative to the root's descriptor and resolved beneath it (`openat2` on Linux), so that neither
//! `..` nor a link, however it is planted or swapped, leads out. An upload has no name before it is whole.

use super::disk::{Directory, FileKind};
use super::error::is_shortage;
use super::listing::is_listable;
use super::temporary::sweep;
use super::upload::{Rules, Uploads};
use super::{Entry, Kind, Listing, Readable, Store, StoreError};
use crate::limits;
use crate::query::Query;
use crate::transfer::{Sink, Source};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::{Access, AtFlags, OFlags};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

/// A folder that is served.
#[derive(Debug)]
pub struct Folder {
    root: Dir,
    rules: Rules,
    /// Whether a descriptor can be opened and linked by its name under `/proc`.
    has_proc: bool,
    /// Whether it lies behind a network.
    is_remote: bool,
    shared: Mutex<HashMap<Identity, Weak<std::fs::File>>>,
}

/// A file as it is at a moment: device, inode, and when the inode changed (seconds, nanoseconds).
type Identity = (u64, u64, i64, i64);

impl Folder {
    /// Opens the folder; from here on it is this very folder, whatever happens to its name.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = Dir::open_ambient_dir(root, ambient_authority())?;
        let has_proc = Path::new("/proc/self/fd").is_dir();
        let is_remote =
            rustix::fs::fstatfs(&root).is_ok_and(|about| REMOTE.contains(&about.f_type));
        let rules = Rules {
            uploads: Uploads::Off,
            create_dirs: false,
            largest: limits::UPLOAD_BYTES,
            can_link: has_proc,
        };
        Ok(Self { root, rules, has_proc, is_remote, shared: Mutex::default() })
    }

    /// Allows uploads; without this there are none.
    #[must_use]
    pub const fn uploads(mut self, uploads: Uploads) -> Self {
        self.rules.uploads = uploads;
        self
    }

    /// Whether an upload makes the directories in its name.
    #[must_use]
    pub const fn create_dirs(mut self, create: bool) -> Self {
        self.rules.create_dirs = create;
        self
    }

    /// The most bytes of one upload.
    #[must_use]
    pub const fn largest_upload(mut self, bytes: u64) -> Self {
        self.rules.largest = bytes;
        self
    }

    /// Looks at a file without opening it: to open a FIFO or a device is already to do something.
    fn see(&self, path: &Path) -> Result<Seen, StoreError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::PATH.bits() as i32);
        let file = self.root.open_with(path, &options)?;
        let metadata = file.metadata()?;
        Ok(Seen { file, metadata })
    }

    /// Opens what was looked at. Those who read one file at the same time share it: when a rack boots, a descriptor
    /// for each would be half of all there are.
    fn opened(&self, path: &Path, seen: &Seen) -> Result<Arc<std::fs::File>, StoreError> {
        let about = &seen.metadata;
        let identity = (about.dev(), about.ino(), about.ctime(), about.ctime_nsec());
        let known = || self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as it is open, nothing else gets its number.
        if let Some(open) = known().get(&identity).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let open = if self.has_proc { seen.open()? } else { self.open_as_seen(path, seen)? };
        let open = Arc::new(open);
        let mut known = known();
        if known.len() >= limits::SHARED_FILES {
            known.retain(|_, file| file.strong_count() > 0);
        }
        if known.len() < limits::SHARED_FILES {
            known.insert(identity, Arc::downgrade(&open));
        }
        Ok(open)
    }

    /// Opens by name what was looked at, where `/proc` is missing: never waiting, and only if it is still the same.
    fn open_as_seen(&self, path: &Path, seen: &Seen) -> Result<std::fs::File, StoreError> {
        FileKind::of(&seen.metadata).regular()?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
        let file = self.root.open_with(path, &options)?;
        let now = file.metadata()?;
        let same = now.ino() == seen.metadata.ino() && now.dev() == seen.metadata.dev();
        if same { Ok(file.into_std()) } else { Err(StoreError::NotFound) }
    }

    /// Opens a file to write, whole or not at all, whatever uploads are allowed. An existing one is replaced in the
    /// end, and keeps its permissions.
    ///
    /// Where the file system has no unnamed files, a process that is killed leaves a `.rtftp-….part` beside it; the
    /// next call for the same directory removes it.
    pub fn replace(&self, path: &Path) -> Result<Box<dyn Sink>, StoreError> {
        let upload = self.rules.replace(&self.root, path)?;
        if let Some(place) = upload.place() {
            sweep(place, limits::SWEPT_NAMES, 1);
        }
        Ok(Box::new(upload))
    }

    /// Removes the `.rtftp-….part` files that killed processes left beneath the root, and tells how many. Uploads of
    /// living processes are not touched, not even those of other servers of this folder.
    pub fn sweep(&self) -> usize {
        sweep(&self.root, limits::SWEPT_NAMES, limits::SWEPT_DEPTH)
    }

    /// An entry of a listing, unless it is something that a read would not get.
    fn entry(&self, dir: &Dir, path: &Path, name: &OsStr) -> io::Result<Option<Entry>> {
        let hidden = name.as_bytes().first() == Some(&b'.');
        if hidden || !is_listable(name) {
            return Ok(None);
        }
        let metadata = match self.root.metadata(path.join(name)) {
            Ok(metadata) => metadata,
            Err(error) if is_shortage(&error) => return Err(error),
            Err(_) => return Ok(None),
        };
        let (kind, needed, size) = if metadata.is_file() {
            (Kind::File, Access::READ_OK, metadata.len())
        } else if metadata.is_dir() {
            (Kind::Directory, Access::READ_OK | Access::EXEC_OK, 0)
        } else {
            return Ok(None);
        };
        if rustix::fs::accessat(dir, name, needed, AtFlags::EACCESS).is_err() {
            return Ok(None);
        }
        let modified =
            metadata.modified().map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std);
        Ok(Some(Entry { name: name.to_owned(), kind, size, modified }))
    }
}

impl Store for Folder {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let name = query.path()?;
        let (path, seen) = name.find(|path| self.see(path))?;
        let file = self.opened(path, &seen)?;
        let size = seen.metadata.len();
        Ok(Readable::exact(Contents::new(file, size, self.is_remote), size))
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        Ok(Box::new(self.rules.open(&self.root, query)?))
    }

    fn may_wait(&self) -> bool {
        self.is_remote
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let name = query.path()?;
        let (path, seen) = name.find(|path| self.see(path))?;
        if !seen.metadata.is_dir() {
            return Err(StoreError::NotFound);
        }
        let dir = self.root.directory(path)?;
        let names = dir.entries()?.map(|found| Ok(found?.file_name()));
        Listing::gather(names, |name| self.entry(&dir, path, name))
    }
}

/// A file that was found and not opened.
struct Seen {
    file: File,
    metadata: Metadata,
}

impl Seen {
    /// Opens this very file, whatever its name stands for by now, if it is a regular one.
    fn open(&self) -> Result<std::fs::File, StoreError> {
        FileKind::of(&self.metadata).regular()?;
        let same = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(std::fs::File::open(same)?)
    }
}

impl Readable {
    /// The regular file `file`, as long as it is now. One that grows is sent with that length, and one that shrinks fails
    /// the transfer.
    pub fn file(file: std::fs::File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::exact(Contents::new(Arc::new(file), size, false), size))
    }
}

/// The types of file systems whose files are on another machine, or are made up by a program (`statfs(2)`): NFS,
/// SMB, CIFS, FUSE, 9P, Ceph, AFS, Coda.
const REMOTE: [rustix::fs::FsWord; 8] = [
    0x6969,
    0xfe53_4d42,
    0xff53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
];

/// A file as long as it was when it was opened: what grows is sent with that length, what shrinks is an error.
struct Contents {
    file: Arc<std::fs::File>,
    /// What is read next, and where it ends.
    at: u64,
    end: u64,
    /// Whether the file system can read without waiting, as far as is known.
    has_nowait: bool,
    /// Whether one that cannot may wait for a network.
    is_remote: bool,
}

impl Contents {
    const fn new(file: Arc<std::fs::File>, size: u64, is_remote: bool) -> Self {
        Self { file, at: 0, end: size, has_nowait: true, is_remote }
    }

    /// So many bytes were read behind `at`.
    fn advance(&mut self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            return Err(io::Error::other("the file became shorter while it was sent"));
        }
        let bytes = (self.end - self.at).min(bytes as u64);
        self.at += bytes;
        Ok(bytes as usize)
    }
}

impl Source for Contents {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.at == self.end {
            return Ok(0);
        }
        let read = rustix::io::preadv(&self.file, bufs, self.at)?;
        self.advance(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags};
        if self.at == self.end {
            return Ok(Some(0));
        }
        if self.has_nowait {
            match rustix::io::preadv2(&self.file, bufs, self.at, ReadWriteFlags::NOWAIT) {
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.has_nowait = false,
                read => return self.advance(read?).map(Some),
            }
        }
        // A file system of this machine that cannot tell is one in memory, more or less.
        if self.is_remote { Ok(None) } else { self.read(bufs).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Operation;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn query(operation: Operation, name: &str) -> Query {
        Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), operation, name)
    }

    #[test]
    fn a_link_to_elsewhere_in_the_root_is_listed_as_what_a_read_of_it_gets() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("file"), "whole").expect("a file");
        std::fs::create_dir(at("sub")).expect("a directory");
        symlink("../file", at("sub/link")).expect("a link");
        symlink("../../file", at("sub/out")).expect("a link");
        let folder = Folder::open(root.path()).expect("it opens");
        let listing = folder.list(&query(Operation::List, "sub")).expect("a listing");
        let seen = listing.entries.iter().map(|entry| (entry.name.to_str(), entry.size));
        assert!(seen.eq([(Some("link"), 5)]), "{listing:?}");
        assert!(folder.read(&query(Operation::Read, "sub/link")).is_ok());
    }

    #[test]
    fn a_new_file_has_the_mode_that_any_program_gives_one() {
        let root = tempfile::tempdir().expect("a folder");
        let mode = |name: &str| {
            let metadata = std::fs::metadata(root.path().join(name)).expect("a file");
            metadata.permissions().mode()
        };
        std::fs::write(root.path().join("theirs"), "").expect("a file");
        for (name, can_link) in [("unnamed", true), ("named", false)] {
            let folder = Folder::open(root.path()).expect("it opens");
            let mut folder = folder.uploads(Uploads::Create);
            folder.rules.can_link = can_link;
            let mut sink = folder.write(&query(Operation::Write, name)).expect("a sink");
            sink.commit().expect("it is stored");
            assert_eq!(mode(name), mode("theirs"), "{name}");
        }
    }
}
