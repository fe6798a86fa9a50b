//! The root of a folder: one directory for ever, or whatever has a name at the moment.

use super::notice::{Notice, Notices};
use super::remote::{FileSystem, is_remote};
use super::{StoreError, beneath, is_shortage};
use crate::wire::ErrorCode;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Stat, StatxFlags, statat, statx};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Which directory it is, whatever its name: its mount, where that is known, its device and its inode.
pub(super) type Identity = (u64, u32, u32, u64);

/// Where the files of a folder are.
#[derive(Debug)]
pub(super) struct Root {
    /// The name that is looked up at each request, where that is wanted.
    name: Option<PathBuf>,
    now: RwLock<State>,
}

#[derive(Debug)]
struct State {
    open: Arc<OpenRoot>,
    is_lost: bool,
}

/// A root as it is at a moment.
#[derive(Debug)]
pub(super) struct OpenRoot {
    pub(super) dir: Dir,
    file_system: FileSystem,
    /// Whether a file below it was found to lie behind a network, although it does not itself.
    has_remote_below: AtomicBool,
    /// The paths that it is known by, without a slash in front.
    pub(super) paths: Vec<PathBuf>,
    pub(super) identity: Identity,
}

impl Root {
    /// This directory.
    pub(super) fn fixed(path: &Path) -> io::Result<Self> {
        let open = Arc::new(OpenRoot::open(path)?);
        Ok(Self { name: None, now: RwLock::new(State { open, is_lost: false }) })
    }

    /// Whatever has this name, which must be something at this moment.
    pub(super) fn named(path: &Path) -> io::Result<Self> {
        let name = std::path::absolute(path)?;
        let open = Arc::new(OpenRoot::open(&name)?);
        Ok(Self { name: Some(name), now: RwLock::new(State { open, is_lost: false }) })
    }

    /// The directory that it is at this moment.
    pub(super) fn now(&self, notices: &Notices) -> Result<Arc<OpenRoot>, StoreError> {
        let Some(name) = &self.name else { return Ok(self.known().0) };
        let (known, was_lost) = self.known();
        let is_same =
            identity(rustix::fs::CWD, name).is_ok_and(|identity| identity == known.identity);
        if is_same && !was_lost {
            return Ok(known);
        }
        self.open_anew(name, notices)
    }

    /// The directory that it was at the last request.
    pub(super) fn last_known(&self) -> Arc<OpenRoot> {
        self.known().0
    }

    fn known(&self) -> (Arc<OpenRoot>, bool) {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&now.open), now.is_lost)
    }

    fn open_anew(&self, name: &Path, notices: &Notices) -> Result<Arc<OpenRoot>, StoreError> {
        let opened = match OpenRoot::open(name) {
            // It may be there, and this process has no descriptor for it.
            Err(error) if is_shortage(&error) => return Err(StoreError::Io(error)),
            opened => opened.map(Arc::new),
        };
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let was_lost = std::mem::replace(&mut now.is_lost, opened.is_err());
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                drop(now);
                if !was_lost {
                    notices.tell(&Notice::RootLost(name.to_owned(), error.to_string()));
                }
                // A swap may be under way, and no code says to a client that it is to ask again.
                let told = "the served folder cannot be opened";
                let refused = StoreError::refused(ErrorCode::Undefined, told);
                return Err(refused.because(format!("{told}: {error}")));
            }
        };
        let is_other = was_lost || now.open.identity != opened.identity;
        now.open = Arc::clone(&opened);
        drop(now);
        if is_other {
            notices.tell(&Notice::RootChanged(name.to_owned()));
        }
        Ok(opened)
    }
}

impl OpenRoot {
    fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let file_system = FileSystem::of(&dir)?;
        let given = std::path::absolute(path).ok();
        let mut paths: Vec<_> = given.into_iter().chain(beneath::path_of(&dir)).collect();
        paths = paths
            .iter()
            .filter_map(|path| path.strip_prefix("/").ok().map(Path::to_owned))
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        paths.dedup();
        let identity = identity(&dir, Path::new(""))?;
        Ok(Self { dir, file_system, has_remote_below: AtomicBool::new(false), paths, identity })
    }

    /// Whether to look for a file in it may wait for a network, as far as is known: one that is mounted below shows when
    /// the first file there is opened.
    pub(super) fn may_wait(&self) -> bool {
        self.file_system.is_remote() || self.has_remote_below.load(Ordering::Relaxed)
    }

    /// Whether this file in it lies behind a network.
    pub(super) fn has_remote(&self, file: &File, about: &Stat) -> bool {
        let found = self.file_system.has_remote(about.st_dev, || is_remote(file));
        if found {
            self.has_remote_below.store(true, Ordering::Relaxed);
        }
        found
    }
}

/// Which directory a name stands for.
fn identity(dir: impl AsFd, path: &Path) -> rustix::io::Result<Identity> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let about = match statx(&dir, path, AtFlags::EMPTY_PATH, wanted) {
        // Old kernels, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            let about = statat(&dir, path, AtFlags::EMPTY_PATH)?;
            let (major, minor) = (rustix::fs::major(about.st_dev), rustix::fs::minor(about.st_dev));
            return Ok((0, major, minor, about.st_ino));
        }
        about => about?,
    };
    let has_mount = about.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let mount = if has_mount { about.stx_mnt_id } else { 0 };
    Ok((mount, about.stx_dev_major, about.stx_dev_minor, about.stx_ino))
}
