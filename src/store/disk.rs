//! What an upload asks of a file system, one method for each system call that can fail or be the last before a crash.
//!
//! The kernel answers, relative to a directory's descriptor. In tests so does a file system in memory that loses what
//! was not synced (`crash`).

use super::{StoreError, attributes, beneath, remote, spool};
use crate::limits;
use crate::wire::ErrorCode;
use cap_std::fs::{Dir, File, MetadataExt};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, StatVfs,
    StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use rustix::process::Uid;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory that is open. Names are of things in it; paths do not lead out of it.
pub(super) trait Directory: Send + Sync + Sized {
    type File: NewFile;

    fn identity(&self) -> io::Result<Identity>;

    /// What `path` stands for.
    fn look(&self, path: &Path, how: Lookup) -> io::Result<About>;

    /// Whether a file of it can be replaced by a rename, as far as that is known before.
    fn can_replace(&self, name: &OsStr) -> bool;

    /// Gives `file` all that the file `name` is beside its bytes.
    fn take_after(&self, name: &OsStr, file: &Self::File) -> io::Result<()>;

    fn room(&self) -> io::Result<Room>;

    /// Opens a directory in it; the empty path is its own.
    fn directory(&self, path: &Path, how: Lookup) -> io::Result<Self>;

    /// Tells the names in it, or that there are too many.
    fn each_name(&self, tell: &mut dyn FnMut(&OsStr)) -> io::Result<()>;

    /// Makes a file of this name, or one that has none.
    fn create(&self, name: Option<&OsStr>) -> io::Result<Self::File>;

    /// Makes a file that has no name where there is room for so many bytes, for uploads that cannot wait here.
    fn spool(&self, bytes: u64) -> io::Result<Self::File>;

    /// Opens a file of it to write it over, or makes one of a new name.
    fn open_to_write(&self, name: &OsStr, is_new: bool) -> io::Result<Self::File>;

    /// Shows who watches this directory that the file `name` was written.
    fn show_written(&self, name: &OsStr);

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

    /// Writes its bytes over those of `target`. Where there is no room for them, `target` stays as it is.
    fn copy_over(&self, target: &Self) -> io::Result<()>;

    /// Makes its bytes and its mode last, and none of its names.
    fn sync(&self) -> io::Result<()>;

    fn identity(&self) -> io::Result<Identity>;

    /// The same file once more, to be read from its first byte on and not to be written.
    fn to_read(&self) -> io::Result<std::fs::File>;

    /// Whether it lies behind a network, for which a write to it may wait.
    fn is_remote(&self) -> bool;
}

/// Which file it is, whatever its name: device and inode.
pub(super) type Identity = (u64, u64);

/// How a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Through links, wherever this process may go.
    Own,
    /// Through links, and only where every user may go, whatever this process may: for one that runs as root.
    Others,
    /// As [`Own`](Self::Own), but a link at the end is itself.
    Itself,
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) kind: FileKind,
    /// The path without links that leads to it.
    pub(super) place: PathBuf,
    pub(super) identity: Identity,
    /// Why it may not be written, if that is so.
    pub(super) denied: Option<Denied>,
}

/// Why a file may not be written, although its directory may let it be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Its file system is read-only.
    ByDisk,
    /// This process may not.
    ByRights,
    /// Root may do anything: others may neither read nor write it, or nobody may write it.
    ForRoot,
}

impl From<Errno> for Denied {
    fn from(errno: Errno) -> Self {
        if errno == Errno::ROFS { Self::ByDisk } else { Self::ByRights }
    }
}

impl From<Denied> for StoreError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::ByDisk => io::Error::from(Errno::ROFS).into(),
            Denied::ByRights => Self::no_permission()
                .because("no permission: the server may not write the file"),
            Denied::ForRoot => Self::no_permission().because(
                "no permission: the server is root, and others may neither read nor write the file, or nobody may write \
                 it (chmod o+r, chmod u+w)",
            ),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular,
    Directory,
    /// A link, where [`Lookup::Itself`] was asked for.
    Link,
    /// A link to a name that nothing has.
    DeadLink,
    Other,
}

impl FileKind {
    pub(super) fn of(about: &Stat) -> Self {
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => Self::Regular,
            FileType::Directory => Self::Directory,
            _ => Self::Other,
        }
    }

    /// Nothing else is read, or replaced by what is written. A link is only seen as such by who means to replace it.
    pub(super) fn regular(self) -> Result<(), StoreError> {
        Err(match self {
            Self::Regular | Self::Link => return Ok(()),
            Self::Directory => StoreError::is_a_directory(),
            Self::DeadLink => StoreError::dead_link(),
            Self::Other => StoreError::refused(ErrorCode::AccessViolation, "not a regular file"),
        })
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

impl Room {
    pub(super) const UNKNOWN: Self = Self { free: u64::MAX, longest_name: u64::MAX };

    /// A file system that does not count its blocks, or tells of no longest name, has no known bound.
    pub(super) fn of(about: &StatVfs) -> Self {
        let is_counted = about.f_blocks > 0 && about.f_frsize > 0;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        let longest_name = if about.f_namemax > 0 { about.f_namemax } else { u64::MAX };
        Self { free: if is_counted { free } else { u64::MAX }, longest_name }
    }
}

/// Whether this process may do so with what `path`, which has no links, is in `dir`.
pub(super) fn may(dir: &Dir, path: &Path, what: Access) -> rustix::io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match rustix::fs::accessat(dir, path, what, AtFlags::EACCESS) {
        // That is how some sandboxes refuse a call that they do not know; the older one asks for the real user, who is
        // nearly always the same.
        Err(Errno::PERM) => rustix::fs::accessat(dir, path, what, AtFlags::empty()),
        asked => asked,
    }
}

/// What others may neither read nor write, or what nobody may write, a server that is root leaves as it is, although root
/// may do anything.
fn is_closed_to_others(about: &Stat) -> bool {
    let has = |bits: Mode| about.st_mode & bits.bits() != 0;
    !has(Mode::ROTH | Mode::WOTH) || !has(Mode::WUSR | Mode::WGRP | Mode::WOTH)
}

/// Whether a directory keeps a file of `owner` from being replaced by `own`: where only their owners may replace files, it
/// must be ours; root may do so nearly everywhere.
fn keeps(dir: &Stat, owner: u32, own: Uid) -> bool {
    let is_other = |owner: u32| owner != own.as_raw();
    let is_sticky = dir.st_mode & Mode::SVTX.bits() != 0;
    is_sticky && !own.is_root() && is_other(owner) && is_other(dir.st_uid)
}

fn is_dead_end(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::LOOP))
}

impl Directory for Dir {
    type File = File;

    fn identity(&self) -> io::Result<Identity> {
        let about = rustix::fs::fstat(self)?;
        Ok((about.st_dev, about.st_ino))
    }

    fn look(&self, path: &Path, how: Lookup) -> io::Result<About> {
        // What is no link is looked at without a descriptor, which there may be none of.
        let mut about = beneath::lstat(self, path)?;
        let mut place = path.to_owned();
        let is_link = FileType::from_raw_mode(about.st_mode) == FileType::Symlink;
        let found = |about: &Stat, kind, place, denied| {
            Ok(About { kind, place, identity: (about.st_dev, about.st_ino), denied })
        };
        if is_link && how == Lookup::Itself {
            return found(&about, FileKind::Link, place, None);
        }
        if is_link || path.components().count() > 1 {
            place = match beneath::resolve(self, path, how == Lookup::Others) {
                Err(error) if is_link && is_dead_end(&error) => {
                    return found(&about, FileKind::DeadLink, place, None);
                }
                resolved => resolved?,
            };
            about = beneath::lstat(self, &place)?;
        }
        let is_closed = how == Lookup::Others && is_closed_to_others(&about);
        let closed = is_closed.then_some(Denied::ForRoot);
        let denied = may(self, &place, Access::WRITE_OK).err().map(Denied::from).or(closed);
        found(&about, FileKind::of(&about), place, denied)
    }

    fn can_replace(&self, name: &OsStr) -> bool {
        let fixed = StatxAttributes::MOUNT_ROOT | StatxAttributes::APPEND;
        let (asked, unfollowed) = (StatxFlags::BASIC_STATS, AtFlags::SYMLINK_NOFOLLOW);
        let Ok(about) = rustix::fs::statx(self, name, unfollowed, asked) else { return true };
        let own = rustix::process::geteuid();
        let is_kept = rustix::fs::fstat(self).is_ok_and(|dir| keeps(&dir, about.stx_uid, own));
        !is_kept && !about.stx_attributes.intersects(fixed)
    }

    fn take_after(&self, name: &OsStr, file: &File) -> io::Result<()> {
        Ok(attributes::take_after(self, name, file)?)
    }

    fn room(&self) -> io::Result<Room> {
        Ok(Room::of(&rustix::fs::fstatvfs(self)?))
    }

    fn directory(&self, path: &Path, how: Lookup) -> io::Result<Self> {
        let open = |flags| match how {
            Lookup::Others => beneath::open_as_others(self, path, flags | OFlags::DIRECTORY),
            Lookup::Own | Lookup::Itself => beneath::open(self, path, flags | OFlags::DIRECTORY),
        };
        match open(OFlags::RDONLY) {
            // It may be one that this process may write and not read, and then it cannot be synced.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Ok(open(OFlags::PATH)?.into())
            }
            opened => Ok(opened?.into()),
        }
    }

    fn each_name(&self, tell: &mut dyn FnMut(&OsStr)) -> io::Result<()> {
        for (count, entry) in rustix::fs::Dir::read_from(self)?.enumerate() {
            if count > limits::SWEPT_NAMES {
                return Err(io::Error::other("the directory has too many names"));
            }
            tell(OsStr::from_bytes(entry?.file_name().to_bytes()));
        }
        Ok(())
    }

    fn create(&self, name: Option<&OsStr>) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o666);
        let Some(name) = name else {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            return Ok(rustix::fs::openat(self, ".", flags, mode)?.into());
        };
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = |flags| rustix::fs::openat(self, name, new | flags, mode);
        match create(OFlags::RDWR) {
            // Some file systems that programs make up have files only to read or only to write.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                Ok(create(OFlags::WRONLY)?.into())
            }
            created => Ok(created?.into()),
        }
    }

    fn spool(&self, bytes: u64) -> io::Result<File> {
        spool::create(bytes)
    }

    fn open_to_write(&self, name: &OsStr, is_new: bool) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let new = if is_new { OFlags::CREATE | OFlags::EXCL } else { OFlags::empty() };
        let mode = Mode::from_raw_mode(0o666);
        let file: File =
            rustix::fs::openat(self, name, flags | new | OFlags::CLOEXEC, mode)?.into();
        if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::PERM.into()) }
    }

    fn show_written(&self, name: &OsStr) {
        // To be closed after it was open for writing is what watchers wait for. Nothing depends on it.
        drop(self.open_to_write(name, false));
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

    fn copy_over(&self, target: &Self) -> io::Result<()> {
        spool::copy_over(self, target)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn identity(&self) -> io::Result<Identity> {
        let about = self.metadata()?;
        Ok((about.dev(), about.ino()))
    }

    fn to_read(&self) -> io::Result<std::fs::File> {
        let own = format!("/proc/self/fd/{}", self.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, own, flags, Mode::empty())?.into())
    }

    fn is_remote(&self) -> bool {
        remote::is_remote(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;

    fn open(path: &Path) -> Dir {
        Dir::open_ambient_dir(path, ambient_authority()).expect("a directory")
    }

    #[test]
    fn in_a_directory_of_others_a_file_of_others_stays_where_only_owners_replace() {
        let mut dir = rustix::fs::stat("/").expect("a directory");
        const STICKY: u32 = 0o1777;
        for (mode, dir_owner, owner, own, kept) in [
            (STICKY, 1, 2, 3, true),
            (0o777, 1, 2, 3, false),
            (STICKY, 1, 3, 3, false),
            (STICKY, 3, 2, 3, false),
            (STICKY, 1, 2, 0, false),
        ] {
            (dir.st_mode, dir.st_uid) = (mode, dir_owner);
            let found = keeps(&dir, owner, Uid::from_raw(own));
            assert_eq!(found, kept, "mode {mode:o} of {dir_owner}, a file of {owner}, by {own}");
        }
    }

    #[test]
    fn on_what_something_is_mounted_is_not_replaced() {
        let root = open(Path::new("/"));
        assert!(!root.can_replace(OsStr::new("proc")), "something is mounted there");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("file"), "").expect("a file");
        let folder = open(folder.path());
        assert!(["file", "none"].iter().all(|name| folder.can_replace(OsStr::new(name))));
    }

    #[test]
    fn what_a_file_system_does_not_count_has_no_bound() {
        let mut about = rustix::fs::statvfs("/").expect("a file system");
        let mut room = |blocks, size, longest| {
            (about.f_blocks, about.f_frsize, about.f_namemax) = (blocks, size, longest);
            about.f_bavail = 3;
            let Room { free, longest_name } = Room::of(&about);
            (free, longest_name)
        };
        assert_eq!(room(9, 512, 255), (3 * 512, 255));
        assert_eq!(room(9, u64::MAX, 1), (u64::MAX, 1));
        assert_eq!(room(0, 512, 255), (u64::MAX, 255));
        assert_eq!(room(9, 0, 0), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_new_file_is_ours_until_another_has_its_lock_or_its_name_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, name) = (open(folder.path()), OsStr::new("new"));
        let new = Directory::create(&dir, Some(name)).expect("a file");
        let other: File = dir.open(name).expect("the same file");
        assert!(other.lock().expect("a lock"));
        assert!(!new.lock().expect("none"), "another has its lock");
        drop(other);
        assert!(new.lock().expect("a lock"));
        Directory::remove_file(&dir, name).expect("removed");
        assert!(!new.lock().expect("a lock"), "its name is gone");
    }

    #[test]
    fn only_a_regular_file_is_opened_to_write_and_a_new_one_takes_no_name_from_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, at) = (open(folder.path()), |name: &str| folder.path().join(name));
        std::fs::write(at("file"), "old").expect("a file");
        std::fs::create_dir(at("directory")).expect("a directory");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let both = std::fs::OpenOptions::new().read(true).write(true).open(at("pipe"));
        let _reader = both.expect("a reader for which nobody waits");
        for (name, is_new, opened) in [
            ("file", false, Ok(())),
            ("pipe", false, Err(Some(Errno::PERM))),
            ("link", false, Err(Some(Errno::LOOP))),
            ("directory", false, Err(Some(Errno::ISDIR))),
            ("none", false, Err(Some(Errno::NOENT))),
            ("file", true, Err(Some(Errno::EXIST))),
            ("link", true, Err(Some(Errno::EXIST))),
            ("none", true, Ok(())),
        ] {
            let found = dir.open_to_write(OsStr::new(name), is_new).map(drop);
            let found = found.map_err(|error| Errno::from_io_error(&error));
            assert_eq!(found, opened, "{name}, to be new: {is_new}");
        }
        assert_eq!(std::fs::read(at("file")).expect("a file"), b"old", "nothing is lost by it");
    }

    #[test]
    fn a_name_stands_for_what_its_links_lead_to_or_for_a_link_that_is_to_be_replaced() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, at) = (open(folder.path()), |name: &str| folder.path().join(name));
        std::fs::create_dir(at("sub")).expect("a directory");
        std::fs::write(at("sub/file"), "few").expect("a file");
        for (name, mode) in [("sub", 0o755), ("sub/file", 0o644)] {
            // Whatever the umask is.
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(at(name), mode).expect("permissions");
        }
        for (to, name) in
            [("sub", "way"), ("way/file", "link"), ("none", "dead"), ("round", "round")]
        {
            symlink(to, at(name)).expect("a link");
        }
        let file = std::fs::metadata(at("sub/file")).expect("a file");
        let look = |path: &str, how| {
            let about =
                dir.look(Path::new(path), how).unwrap_or_else(|why| panic!("{path}: {why}"));
            let is_file = about.identity == (file.dev(), file.ino());
            (about.kind, about.place.display().to_string(), is_file)
        };
        let regular = (FileKind::Regular, "sub/file".to_owned(), true);
        for how in [Lookup::Own, Lookup::Others] {
            for path in ["sub/file", "way/file", "link"] {
                assert_eq!(look(path, how), regular, "{path}, {how:?}");
            }
            for path in ["dead", "round"] {
                assert_eq!(look(path, how), (FileKind::DeadLink, path.into(), false), "{how:?}");
            }
            assert_eq!(look("way", how).0, FileKind::Directory);
        }
        assert_eq!(look("link", Lookup::Itself), (FileKind::Link, "link".into(), false));
        assert_eq!(look("way/file", Lookup::Itself), regular);
    }

    #[test]
    fn a_file_on_a_disk_that_is_read_only_is_told_so_and_not_to_lack_rights() {
        let told = [Errno::ROFS, Errno::ACCESS, Errno::PERM].map(|errno| {
            let told =
                (StoreError::from(Denied::from(errno)), StoreError::from(io::Error::from(errno)));
            (told.0.text(), told.1.text())
        });
        for (denied, error) in told {
            assert_eq!(denied, error, "whether it is seen before or when it fails");
        }
        assert_ne!(told[0], told[1]);
    }

    #[test]
    fn what_others_may_neither_read_nor_write_or_nobody_may_write_is_closed_to_others() {
        let mut about = rustix::fs::stat("/").expect("a directory");
        for (mode, closed) in [
            (0o644, false),
            (0o604, false),
            (0o602, false),
            (0o024, false),
            (0o002, false),
            (0o640, true),
            (0o660, true),
            (0o601, true),
            (0o444, true),
            (0o004, true),
        ] {
            about.st_mode = mode;
            assert_eq!(is_closed_to_others(&about), closed, "{mode:o}");
        }
    }
}
