//! Files that nobody sees before they are whole, and the removal of what killed processes left of them.
//!
//! Where the file system can, such a file has no name and the kernel removes it with its process. Elsewhere it stands
//! beside its target, where a rename cannot fail for want of space or rights; and its writer holds a lock on it, which
//! ends with the process. So what can be locked is what nobody writes any more.

use super::disk::{Directory, FileKind, NewFile};
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// File systems without unnamed files say so in many ways.
const NO_UNNAMED_FILES: [Errno; 5] =
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::NOENT, Errno::INVAL, Errno::NOSYS];

fn is_one_of(error: &io::Error, errors: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

/// A file that nobody sees yet.
pub(super) struct Temporary<D: Directory> {
    dir: D,
    file: D::File,
    /// Its name, where the file system cannot do without; removed when this is dropped.
    name: Option<OsString>,
}

impl<D: Directory> Temporary<D> {
    /// A file in `dir`; `can_link` says whether a file without a name can be given one.
    pub(super) fn create(dir: D, can_link: bool) -> io::Result<Self> {
        let unnamed = if can_link { dir.create(None) } else { Err(Errno::OPNOTSUPP.into()) };
        match unnamed {
            Ok(file) => {
                // For the moment between its first name and its own.
                let _ = file.lock();
                Ok(Self { dir, file, name: None })
            }
            Err(error) if is_one_of(&error, &NO_UNNAMED_FILES) => Self::create_named(dir),
            Err(error) => Err(error),
        }
    }

    fn create_named(dir: D) -> io::Result<Self> {
        loop {
            let name = random_name();
            let file = dir.create(Some(&name))?;
            match file.lock() {
                Ok(true) => return Ok(Self { dir, file, name: Some(name) }),
                Ok(false) => {}
                Err(error) => {
                    let _ = dir.remove_file(&name);
                    return Err(error);
                }
            }
        }
    }

    pub(super) const fn dir(&self) -> &D {
        &self.dir
    }

    pub(super) const fn file(&self) -> &D::File {
        &self.file
    }

    pub(super) const fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// Makes the directories that are missing, and gives it its name in one step, for good. Without `replace` a file that
    /// has the name already stays. Where that fails, no directory is left behind.
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
    fn give_name(&mut self, to: Option<&D>, target: &OsStr, replace: bool) -> io::Result<()> {
        let to = to.unwrap_or(&self.dir);
        if self.name.is_some() {
            self.rename(to, target, replace)?;
        } else {
            match to.link(&self.file, target) {
                // Only a rename replaces, and for that it needs a name that nobody asks for.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && replace => {
                    let name = random_name();
                    self.dir.link(&self.file, &name)?;
                    self.name = Some(name);
                    self.rename(to, target, replace)?;
                }
                linked => linked?,
            }
        }
        self.name = None;
        let synced = sync(to);
        if synced.is_err() && !replace {
            // Whoever sends it again would find that it exists. With `replace` somebody else's may have the name by now.
            let _ = to.remove_file(target);
        }
        synced
    }

    fn rename(&self, to: &D, target: &OsStr, replace: bool) -> io::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        if replace {
            may_replace(to, target)?;
        }
        match self.dir.rename(name, to, target, replace) {
            // The file system cannot do this; a second name does the same, and the first goes.
            Err(error) if !replace && is_one_of(&error, &[Errno::INVAL, Errno::NOSYS]) => {
                self.dir.hard_link(name, to, target)?;
                // It is whole; a first name that stays is removed by a sweep.
                let _ = self.dir.remove_file(name);
                Ok(())
            }
            renamed => renamed,
        }
    }
}

impl<D: Directory> Drop for Temporary<D> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = self.dir.remove_file(&name);
        }
    }
}

impl<D: Directory> Write for Temporary<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes directories in each other, and gives the last. Those that are new are added to `made`.
fn make_directories<D: Directory>(
    from: &D,
    names: &[OsString],
    made: &mut Vec<PathBuf>,
) -> io::Result<Option<D>> {
    let (mut last, mut path) = (None, PathBuf::new());
    for name in names {
        let within = last.as_ref().unwrap_or(from);
        path.push(name);
        match within.create_dir(name) {
            Ok(()) => made.push(path.clone()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // One that was there may have been made a moment ago.
        sync(within)?;
        last = Some(within.directory(Path::new(name))?);
    }
    Ok(last)
}

/// What has come to the name meanwhile may be something that an upload does not replace.
fn may_replace<D: Directory>(to: &D, target: &OsStr) -> io::Result<()> {
    match to.look(Path::new(target)) {
        Ok(about) if about.kind != FileKind::Regular || !about.may_write => {
            let why = "what has the name by now may not be written";
            Err(io::Error::new(ErrorKind::PermissionDenied, why))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory last. A file system that cannot do that for directories does what it can of itself;
/// any other error is one of the disk, after which nobody knows what is on it.
pub(super) fn sync<D: Directory>(dir: &D) -> io::Result<()> {
    match dir.sync() {
        Err(error) if is_one_of(&error, &[Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS]) => Ok(()),
        synced => synced,
    }
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
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
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
    fn a_name_that_is_there_is_replaced_only_by_who_may_whether_files_have_names_or_not() {
        for can_link in [true, false] {
            let (_folder, dir) = folder();
            let persist = |missing: &[OsString], replace| {
                let mut file = Temporary::create(dir.try_clone()?, can_link)?;
                file.write_all(if replace { b"over" } else { b"new" })?;
                file.persist(missing, OsStr::new("target"), replace)
            };
            let made = ["made".into(), "on the way".into()];
            for (missing, path) in [(&[][..], "target"), (&made, "made/on the way/target")] {
                persist(missing, false).expect("a new name");
                let kept = persist(missing, false).expect_err("it is there");
                assert_eq!(kept.kind(), ErrorKind::AlreadyExists);
                assert_eq!(dir.read(path).expect("a file"), b"new", "{can_link}");
                persist(missing, true).expect("replaced");
                assert_eq!(dir.read(path).expect("a file"), b"over", "{can_link}");
            }
            for (within, names) in [(".", ["made", "target"]), ("made", ["on the way"; 2])] {
                let entries = dir.read_dir(within).expect("a folder");
                let mut found: Vec<_> = entries.map(|it| it.expect("it").file_name()).collect();
                found.sort();
                assert_eq!(found, &names[..found.len()], "{can_link}");
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        for can_link in [true, false] {
            let (folder, dir) = folder();
            dir.create_dir("directory").expect("a directory");
            dir.symlink("nowhere", "link").expect("a link");
            let pipe = folder.path().join("pipe");
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
            for name in ["directory", "link", "pipe"] {
                let file = Temporary::create(dir.try_clone().expect("a descriptor"), can_link);
                let kept = file.expect("a file").persist(&[], OsStr::new(name), true);
                let kept = kept.expect_err("it is no file");
                assert_eq!(kept.kind(), ErrorKind::PermissionDenied, "{name}, {can_link}");
            }
            let entries = dir.entries().expect("a folder");
            let files =
                entries.filter(|it| it.as_ref().expect("it").metadata().expect("it").is_file());
            assert_eq!(files.count(), 0, "{can_link}");
        }
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
