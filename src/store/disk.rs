//! What an upload asks of a file system, one method for each system call that can fail or be the last before a crash.
//!
//! The kernel answers, relative to a directory's descriptor. In tests so does a file system in memory that loses what
//! was not synced (`crash`).

use super::StoreError;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// A directory that is open. Names are of things in it; paths do not lead out of it.
pub(super) trait Directory: Send + Sync + Sized {
    type File: NewFile;

    /// What `path` stands for.
    fn look(&self, path: &Path) -> io::Result<About>;

    fn room(&self) -> io::Result<Room>;

    /// Opens a directory in it; the empty path is its own.
    fn directory(&self, path: &Path) -> io::Result<Self>;

    /// Makes a file of this name, or one that has none.
    fn create(&self, name: Option<&OsStr>) -> io::Result<Self::File>;

    /// Gives a file that has no name one that is new.
    fn link(&self, file: &Self::File, name: &OsStr) -> io::Result<()>;

    /// Gives the file `name` a second name, which is new.
    fn hard_link(&self, name: &OsStr, to: &Self, target: &OsStr) -> io::Result<()>;

    /// Gives the file `name` another name, in one step. What has that name is replaced, or is an error.
    fn rename(&self, name: &OsStr, to: &Self, target: &OsStr, replace: bool) -> io::Result<()>;

    fn remove_file(&self, name: &OsStr) -> io::Result<()>;

    fn create_dir(&self, name: &OsStr) -> io::Result<()>;

    /// Removes a directory that is empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in it last, and nothing of what they stand for.
    fn sync(&self) -> io::Result<()>;
}

/// A file that was just made.
pub(super) trait NewFile: Write + Send {
    /// Shows others that somebody writes it. Tells whether it still has a name: until then, a sweep may have taken it for
    /// left.
    fn lock(&self) -> io::Result<bool>;

    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes its bytes and its mode last, and none of its names.
    fn sync(&self) -> io::Result<()>;
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    /// Whether this process may write it.
    pub(super) may_write: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular,
    Directory,
    /// A link to a name that nothing has.
    DeadLink,
    Other,
}

impl FileKind {
    pub(super) fn of(metadata: &Metadata) -> Self {
        match metadata.file_type() {
            kind if kind.is_file() => Self::Regular,
            kind if kind.is_dir() => Self::Directory,
            _ => Self::Other,
        }
    }

    /// Nothing else is read or written.
    pub(super) fn regular(self) -> Result<(), StoreError> {
        Err(StoreError::denied(match self {
            Self::Regular => return Ok(()),
            Self::Directory => "a directory",
            Self::DeadLink => "a link that leads nowhere",
            Self::Other => "not a regular file",
        }))
    }
}

/// What a file system has room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes that are free.
    pub(super) free: u64,
    /// Bytes that a name may have.
    pub(super) longest_name: u64,
}

fn is_dead_end(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::LOOP))
}

impl Directory for Dir {
    type File = File;

    fn look(&self, path: &Path) -> io::Result<About> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // What is no link is looked at without a descriptor, which there may be none of.
        let mut metadata = self.symlink_metadata(path)?;
        if metadata.is_symlink() {
            metadata = match self.metadata(path) {
                Err(error) if is_dead_end(&error) => {
                    return Ok(About { kind: FileKind::DeadLink, mode: 0, may_write: false });
                }
                found => found?,
            };
        }
        let access = rustix::fs::accessat(self, path, Access::WRITE_OK, AtFlags::EACCESS);
        let (kind, mode) = (FileKind::of(&metadata), metadata.mode() & 0o777);
        Ok(About { kind, mode, may_write: access.is_ok() })
    }

    fn room(&self) -> io::Result<Room> {
        let about = rustix::fs::fstatvfs(self)?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        Ok(Room { free, longest_name: about.f_namemax })
    }

    fn directory(&self, path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // `open_dir` opens it for nothing but its names (`O_PATH`), and that cannot be synced.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::DIRECTORY.bits() as i32);
        match self.open_with(path, &options) {
            Ok(opened) => Ok(Self::from_std_file(opened.into_std())),
            // It may be one that this process may write and not read.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => self.open_dir(path),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: Option<&OsStr>) -> io::Result<File> {
        let Some(name) = name else {
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(self, ".", flags, Mode::from_raw_mode(0o666))?;
            return Ok(File::from(file));
        };
        self.open_with(name, OpenOptions::new().write(true).create_new(true))
    }

    fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, unnamed, self, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn hard_link(&self, name: &OsStr, to: &Self, target: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(self, name, to, target, AtFlags::empty())?)
    }

    fn rename(&self, name: &OsStr, to: &Self, target: &OsStr, replace: bool) -> io::Result<()> {
        if replace {
            return Ok(rustix::fs::renameat(self, name, to, target)?);
        }
        Ok(rustix::fs::renameat_with(self, name, to, target, RenameFlags::NOREPLACE)?)
    }

    fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.remove_file(name)
    }

    fn create_dir(&self, name: &OsStr) -> io::Result<()> {
        self.create_dir(name)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove_dir(path)
    }

    fn sync(&self) -> io::Result<()> {
        match rustix::io::retry_on_intr(|| rustix::fs::fsync(self)) {
            // It could not be opened to be read.
            Err(Errno::BADF) => Err(Errno::OPNOTSUPP.into()),
            synced => Ok(synced?),
        }
    }
}

impl NewFile for File {
    fn lock(&self) -> io::Result<bool> {
        // A file system without locks has no sweeps.
        let locked = rustix::fs::flock(self, FlockOperation::NonBlockingLockExclusive);
        Ok(locked != Err(Errno::WOULDBLOCK) && self.metadata()?.nlink() > 0)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self, Mode::from_raw_mode(mode))?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}
