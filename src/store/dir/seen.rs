//! A file that was found, and is opened whatever its name stands for by then.

use crate::store::StoreError;
use crate::store::disk::FileKind;
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// To read, without waiting for anybody.
pub(super) const AT_ONCE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A file that was found and not opened.
pub(super) struct Seen {
    pub(super) file: OwnedFd,
    pub(super) about: Stat,
}

impl Seen {
    /// Opens this very file, whatever its name stands for by now, if it is a regular one. Another program's lease on it
    /// is an error, and not waited for.
    pub(super) fn open(&self) -> Result<File, StoreError> {
        FileKind::of(&self.about).regular()?;
        let file = openat(CWD, self.name(), AT_ONCE | OFlags::CLOEXEC, Mode::empty());
        Ok(file.map_err(io::Error::from)?.into())
    }

    /// A name of this very file, for as long as it is open.
    pub(super) fn name(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Opens it by its name, where `/proc` is missing, and only if it is still the same.
    pub(super) fn open_by_name(
        &self,
        open: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<File, StoreError> {
        FileKind::of(&self.about).regular()?;
        let file = open()?;
        let now = fstat(&file).map_err(io::Error::from)?;
        let same = (now.st_ino, now.st_dev) == (self.about.st_ino, self.about.st_dev);
        if same { Ok(file.into()) } else { Err(StoreError::NotFound) }
    }
}
