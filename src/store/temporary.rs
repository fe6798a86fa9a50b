//! Files that nobody sees before they are whole, and the removal of what killed processes left of them.
//!
//! Where the file system can, such a file has no name and the kernel removes it with its process. Elsewhere it stands
//! beside its target, where a rename cannot fail for want of space or rights; and its writer holds a lock on it, which
//! ends with the process. So what can be locked is what nobody writes any more.

use cap_std::fs::{Dir, File, MetadataExt, OpenOptions};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A file that nobody sees yet.
pub(super) struct Temporary {
    dir: Dir,
    file: File,
    /// Its name, where the file system cannot do without; removed when this is dropped.
    name: Option<OsString>,
}

impl Temporary {
    /// A file in `dir`; `can_link` says whether a descriptor can be given a name.
    pub(super) fn create(dir: Dir, can_link: bool) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let unnamed = if can_link {
            rustix::fs::openat(&dir, ".", flags, Mode::from_raw_mode(0o666))
        } else {
            Err(Errno::OPNOTSUPP)
        };
        match unnamed {
            Ok(file) => {
                let file = File::from(file);
                // For the moment between its first name and its own.
                let _ = lock(&file);
                Ok(Self { dir, file, name: None })
            }
            // File systems without unnamed files say so in many ways.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {
                Self::create_named(dir)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn create_named(dir: Dir) -> io::Result<Self> {
        loop {
            let name = random_name();
            let mut options = OpenOptions::new();
            let file = dir.open_with(&name, options.write(true).create_new(true))?;
            // Until it was locked, a sweep may have taken it for left. A file system without locks has no sweeps.
            if lock(&file) != Err(Errno::WOULDBLOCK) && file.metadata()?.nlink() > 0 {
                return Ok(Self { dir, file, name: Some(name) });
            }
        }
    }

    pub(super) const fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// Makes the directories that are missing, and gives it its name in one step. Without `replace` a file that has
    /// the name already stays. Where that fails, no directory is left behind.
    pub(super) fn persist(
        mut self,
        missing: &[OsString],
        target: &OsStr,
        replace: bool,
    ) -> io::Result<()> {
        let mut made = Vec::new();
        let named = make_directories(&self.dir, missing, &mut made)
            .and_then(|to| self.give_name(to.as_ref(), target, replace));
        if named.is_err() {
            // One that somebody else uses meanwhile is not empty, and stays.
            for directory in made.iter().rev() {
                let _ = self.dir.remove_dir(directory);
            }
        }
        named
    }

    /// The name is one of `to`, or of its own directory.
    fn give_name(&mut self, to: Option<&Dir>, target: &OsStr, replace: bool) -> io::Result<()> {
        let to = to.unwrap_or(&self.dir);
        if self.name.is_some() {
            self.rename(to, target, replace)?;
        } else {
            match self.link(to, target) {
                // Only a rename replaces, and for that it needs a name that nobody asks for.
                Err(Errno::EXIST) if replace => {
                    let name = random_name();
                    self.link(&self.dir, &name)?;
                    self.name = Some(name);
                    self.rename(to, target, replace)?;
                }
                linked => linked?,
            }
        }
        self.name = None;
        sync(to);
        Ok(())
    }

    /// Gives a file without a name one that is new.
    fn link(&self, to: &Dir, name: &OsStr) -> rustix::io::Result<()> {
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, unnamed, to, name, AtFlags::SYMLINK_FOLLOW)
    }

    fn rename(&self, to: &Dir, target: &OsStr, replace: bool) -> io::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        if replace {
            rustix::fs::renameat(&self.dir, name, to, target)?;
            return Ok(());
        }
        match rustix::fs::renameat_with(&self.dir, name, to, target, RenameFlags::NOREPLACE) {
            // The file system does not know this flag; a second name does the same, and the first goes.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(&self.dir, name, to, target, AtFlags::empty())?;
                self.dir.remove_file(name)
            }
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = self.dir.remove_file(name);
        }
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes directories in each other, and gives the last. Those that are new are added to `made`.
fn make_directories(
    from: &Dir,
    names: &[OsString],
    made: &mut Vec<PathBuf>,
) -> io::Result<Option<Dir>> {
    let (mut last, mut path) = (None, PathBuf::new());
    for name in names {
        let within = last.as_ref().unwrap_or(from);
        path.push(name);
        match within.create_dir(name) {
            Ok(()) => made.push(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        sync(within);
        last = Some(within.open_dir(name)?);
    }
    Ok(last)
}

/// A name is on the disk when its directory is; some file systems cannot say.
fn sync(dir: &Dir) {
    let _ = rustix::fs::fsync(dir);
}

fn lock(file: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

const PREFIX: &str = ".rtftp-";
const SUFFIX: &str = ".part";

fn random_name() -> OsString {
    format!("{PREFIX}{:016x}{SUFFIX}", rand::random::<u64>()).into()
}

/// Whether it is a name as [`random_name`] makes it.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    let digits = digits.and_then(|name| name.strip_suffix(SUFFIX.as_bytes()));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Removes what killed processes left in `root` and the directories in it, and tells how many: of the first `names`
/// that it meets, no more than `depth` directories deep. Links are never followed. What cannot be read, locked or
/// removed stays.
pub(super) fn sweep(root: &Dir, mut names: usize, depth: usize) -> usize {
    let mut removed = 0;
    let mut open: Vec<_> = directory(root.as_fd(), c".").into_iter().collect();
    loop {
        let deep = open.len();
        let Some(dir) = open.last_mut() else { break };
        let Some(Ok(entry)) = dir.read() else {
            open.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Some(left) = names.checked_sub(1) else { break };
        names = left;
        let Ok(dir) = dir.fd() else { continue };
        if is_temporary(OsStr::from_bytes(name.to_bytes())) {
            removed += usize::from(remove_if_left(dir, name).is_ok());
        } else if deep < depth
            && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
        {
            let below = directory(dir, name);
            open.extend(below);
        }
    }
    removed
}

/// A directory to read, unless it is something else.
fn directory(dir: BorrowedFd<'_>, name: &CStr) -> Option<rustix::fs::Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
    rustix::fs::Dir::new(opened).ok()
}

fn remove_if_left(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let found = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    // To write: over NFS only such a file can be locked.
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    lock(&file)?;
    rustix::fs::unlinkat(dir, name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn folder() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("it opens");
        (folder, dir)
    }

    #[test]
    fn a_sweep_looks_at_so_many_names_and_no_more() {
        let (_folder, dir) = folder();
        for (names, removed) in [(2, 2), (3, 3), (4, 3)] {
            for digit in 0..3 {
                dir.write(format!(".rtftp-000000000000000{digit}.part"), b"x").expect("a file");
            }
            assert_eq!(sweep(&dir, names, 1), removed, "{names}");
            sweep(&dir, 9, 1);
        }
    }

    #[test]
    fn a_sweep_in_the_same_moment_takes_nothing_from_a_writer() {
        let (_folder, dir) = folder();
        let (own, done) = (dir.try_clone().expect("a descriptor"), AtomicBool::new(false));
        let write = || -> io::Result<()> {
            let temporary = Temporary::create(dir.try_clone()?, false)?;
            temporary.persist(&[], OsStr::new("target"), true)
        };
        let lost = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sweep(&own, 9, 1);
                }
            });
            let lost = (0..2_000).filter(|_| write().is_err()).count();
            done.store(true, Ordering::Relaxed);
            lost
        });
        assert_eq!(lost, 0);
        let entries = dir.entries().expect("a folder");
        let names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(names, ["target"]);
    }
}
