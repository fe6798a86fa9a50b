//! Files that nobody sees before they are whole, and the removal of what killed processes left of them.
//!
//! Where the file system can, such a file has no name and the kernel removes it with its process. Elsewhere it stands
//! beside its target, where a rename cannot fail for want of space or rights; and its writer holds a lock on it, which
//! ends with the process. So what can be locked is what nobody writes any more.

use super::check::Asked;
use super::disk::{About, Directory, FileKind, Lookup, NewFile};
use super::notice::{Notice, Notices};
use super::versions;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// File systems without unnamed files say so in many ways.
const NO_UNNAMED_FILES: [Errno; 6] =
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::NOENT, Errno::INVAL, Errno::NOSYS, Errno::PERM];

/// File systems that cannot make anything last say so.
const NO_SYNC: [Errno; 3] = [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS];

/// How file systems say that they cannot do something, or not with this file: a name that is a mount point, a directory
/// whose files only their owners may replace, what a program behind FUSE never learnt.
const NOT_THIS_WAY: [Errno; 12] = [
    Errno::PERM,
    Errno::ACCESS,
    Errno::BUSY,
    Errno::TXTBSY,
    Errno::XDEV,
    Errno::ROFS,
    Errno::MLINK,
    Errno::INVAL,
    Errno::NOSYS,
    Errno::OPNOTSUPP,
    Errno::ISDIR,
    // `/proc` is not there any more.
    Errno::NOENT,
];

/// Whether another way may lead to what failed.
pub(super) fn is_no_way(error: &io::Error) -> bool {
    is_one_of(error, &NOT_THIS_WAY)
}

fn is_one_of(error: &io::Error, errors: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

/// Where a file goes when it is whole.
pub(super) struct Target {
    /// Its path beneath the root, for people.
    pub(super) path: PathBuf,
    /// Directories to make before, each in the one before it.
    pub(super) missing: Vec<OsString>,
    /// Its name in the last of them.
    pub(super) name: OsString,
    /// Whether it takes the place of what has the name.
    pub(super) replace: bool,
    /// How many old versions of it are kept.
    pub(super) keep: u16,
    /// How what has the name is looked at before.
    pub(super) how: Lookup,
}

/// A file that nobody sees yet.
pub(super) struct Temporary<D: Directory> {
    place: Place<D>,
    file: D::File,
    /// The file that it is written over in the end, if that has its name still. It is open from the start, so that what
    /// cannot be written is known before the first byte, and that no descriptor is wanted for it in the end.
    over: Option<D::File>,
}

/// How a file got its name, by which those who watch its directory know it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// To them it is closed under this name when it is closed here.
    Written,
    /// To them it never had this name while it was written.
    Linked,
}

/// Where a file stands.
struct Place<D: Directory> {
    dir: D,
    /// Its name, where the file system cannot do without; removed when this is dropped.
    name: Option<OsString>,
}

impl<D: Directory> Temporary<D> {
    /// A file in `dir`, which is given back where it can have none; `can_link` says whether a file without a name can be
    /// given one.
    pub(super) fn create(dir: D, can_link: bool) -> Result<Self, (D, io::Error)> {
        let unnamed = if can_link { dir.create(None) } else { Err(Errno::OPNOTSUPP.into()) };
        let created = match unnamed {
            Ok(file) => {
                // For the moment between its first name and its own.
                let _ = file.lock();
                Ok((file, None))
            }
            Err(error) if is_one_of(&error, &NO_UNNAMED_FILES) => create_named(&dir),
            Err(error) => Err(error),
        };
        match created {
            Ok((file, name)) => Ok(Self { place: Place { dir, name }, file, over: None }),
            Err(error) => Err((dir, error)),
        }
    }

    pub(super) const fn dir(&self) -> &D {
        &self.place.dir
    }

    pub(super) const fn file(&self) -> &D::File {
        &self.file
    }

    pub(super) const fn is_named(&self) -> bool {
        self.place.name.is_some()
    }

    /// A file that stands elsewhere, to be written over `old` of `dir`.
    pub(super) const fn elsewhere(dir: D, file: D::File, old: D::File) -> Self {
        Self { place: Place { dir, name: None }, file, over: Some(old) }
    }

    /// Whether it is written over an old file in the end.
    pub(super) const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// The same, to be written over `old`.
    pub(super) fn over(self, old: D::File) -> Self {
        Self { over: Some(old), ..self }
    }

    /// Makes its bytes last, and the directories that are missing, and gives it its name in one step, for good. Without
    /// `replace` a file that has the name already stays. Where that fails, no directory is left behind.
    ///
    /// Where the file system cannot do it in one step, it is done the next best way, and told. Who is `asked` before it is
    /// seen may say no.
    pub(super) fn persist(
        mut self,
        to: &Target,
        notices: &Notices,
        asked: Option<&Asked>,
    ) -> io::Result<()> {
        if self.over.is_none() {
            sync_file(&self.file, to, notices)?;
        }
        if let Some(asked) = asked {
            asked.ask(&to.path, self.file.to_read())?;
        }
        let mut made = Vec::new();
        let named = make_directories(&self.place.dir, &to.missing, &mut made)
            .and_then(|dir| self.give_name(dir.as_ref(), to, notices));
        if named.is_err() {
            // One that somebody else uses meanwhile is not empty, and stays.
            for directory in made.iter().rev() {
                let _ = self.place.dir.remove_dir(directory);
            }
        }
        named
    }

    /// The name is one of `made`, or of its own directory.
    fn give_name(&mut self, made: Option<&D>, to: &Target, notices: &Notices) -> io::Result<()> {
        let Self { place: Place { dir: from, name }, file, over } = self;
        let (from, file) = (&*from, &*file);
        let dir = made.unwrap_or(from);
        let mut naming = Naming { file, name, from, dir, to, notices };
        let named = match over {
            Some(old) => naming.write_over(Some(old))?,
            None => naming.give()?,
        };
        let synced = sync(dir);
        if synced.is_err() && !to.replace {
            // Whoever sends it again would find that it exists. With `replace` somebody else's may have the name by now.
            let _ = dir.remove_file(&to.name);
        }
        if synced.is_ok() && named == Named::Linked {
            dir.show_written(&to.name);
        }
        if synced.is_ok() && to.keep > 0 {
            versions::prune(dir, to);
        }
        synced
    }
}

fn create_named<D: Directory>(dir: &D) -> io::Result<(D::File, Option<OsString>)> {
    loop {
        let name = random_name();
        let file = dir.create(Some(&name))?;
        match file.lock() {
            Ok(true) => return Ok((file, Some(name))),
            Ok(false) => {}
            Err(error) => {
                let _ = dir.remove_file(&name);
                return Err(error);
            }
        }
    }
}

/// A whole file on its way to its name.
struct Naming<'a, D: Directory> {
    file: &'a D::File,
    /// The name that it has until then, and where, if it has one.
    name: &'a mut Option<OsString>,
    from: &'a D,
    /// Where it goes.
    dir: &'a D,
    to: &'a Target,
    notices: &'a Notices,
}

impl<D: Directory> Naming<'_, D> {
    /// In one step, or else the next best way.
    fn give(&mut self) -> io::Result<Named> {
        match self.at_once() {
            Err(error) if is_no_way(&error) && self.to.replace => self.write_over(None),
            Err(error) if is_no_way(&error) => self.name_first(),
            named => named,
        }
    }

    fn at_once(&mut self) -> io::Result<Named> {
        let named = if let Some(name) = &*self.name {
            self.rename(name)?
        } else {
            match self.dir.link(self.file, &self.to.name) {
                // Only a rename replaces, and for that it needs a name that nobody asks for.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && self.to.replace => {
                    let temporary = random_name();
                    self.from.link(self.file, &temporary)?;
                    let name = self.name.insert(temporary).clone();
                    self.rename(&name)?;
                }
                linked => linked?,
            }
            Named::Linked
        };
        *self.name = None;
        Ok(named)
    }

    fn rename(&self, name: &OsStr) -> io::Result<Named> {
        let (from, dir, to) = (self.from, self.dir, self.to);
        if to.replace && to.keep > 0 {
            return versions::rename(from, name, dir, to).map(|()| Named::Written);
        }
        if to.replace {
            replaceable(dir, to)?;
        }
        match from.rename(name, dir, &to.name, to.replace) {
            // The file system cannot do this; a second name does the same, and the first goes.
            Err(error) if !to.replace && is_no_way(&error) => {
                from.hard_link(name, dir, &to.name)?;
                // It is whole; a first name that stays is removed by a sweep.
                let _ = from.remove_file(name);
                Ok(Named::Linked)
            }
            renamed => renamed.map(|()| Named::Written),
        }
    }

    /// Has an empty file take the new name, which is then replaced, or written.
    fn name_first(&mut self) -> io::Result<Named> {
        let (from, dir, to) = (self.from, self.dir, self.to);
        let claim = dir.open_to_write(&to.name, true)?;
        let over = |name: &OsString| from.rename(name, dir, &to.name, true).is_ok();
        if self.name.as_ref().is_some_and(over) {
            *self.name = None;
        } else if let Err(error) = self.copy_to(&claim) {
            let _ = dir.remove_file(&to.name);
            return Err(error);
        }
        self.notices.tell(&Notice::NamedFirst(to.path.clone()));
        Ok(Named::Written)
    }

    /// Writes it over what has the name by now, which may be `held`.
    fn write_over(&mut self, held: Option<&D::File>) -> io::Result<Named> {
        let there = replaceable(self.dir, self.to)?.map(|about| about.identity);
        if self.to.keep > 0 {
            let why = "it can only be written over here, or has no second name";
            return there.map_or_else(|| self.name_first(), |_| Err(versions::cannot_keep(why)));
        }
        let is_there = |held: &&D::File| held.identity().is_ok_and(|held| there == Some(held));
        let opened;
        let old = match held.filter(is_there) {
            Some(held) => held,
            None => match self.dir.open_to_write(&self.to.name, false) {
                Err(error) if error.kind() == ErrorKind::NotFound => return self.name_first(),
                old => {
                    opened = old?;
                    &opened
                }
            },
        };
        self.notices.tell(&Notice::WrittenOver(self.to.path.clone()));
        self.copy_to(old)?;
        Ok(Named::Written)
    }

    /// Writes its bytes over those of `target`, for good.
    fn copy_to(&self, target: &D::File) -> io::Result<()> {
        self.file.copy_over(target)?;
        sync_file(target, self.to, self.notices)
    }
}

impl<D: Directory> Drop for Place<D> {
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
        last = Some(within.directory(Path::new(name), Lookup::Own)?);
    }
    Ok(last)
}

/// What has the name by now, unless that is something that an upload does not replace.
pub(super) fn replaceable<D: Directory>(dir: &D, to: &Target) -> io::Result<Option<About>> {
    match dir.look(Path::new(&to.name), to.how) {
        Ok(about)
            if !matches!(about.kind, FileKind::Regular | FileKind::Link)
                || about.denied.is_some() =>
        {
            let why = "what has the name by now may not be written";
            Err(io::Error::new(ErrorKind::PermissionDenied, why))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        found => Ok(found.ok()),
    }
}

/// Makes the bytes of a file last, as far as its file system can be told to.
fn sync_file<F: NewFile>(file: &F, to: &Target, notices: &Notices) -> io::Result<()> {
    match file.sync() {
        Err(error) if is_one_of(&error, &NO_SYNC) => {
            notices.tell(&Notice::NotSynced(to.path.clone()));
            Ok(())
        }
        synced => synced,
    }
}

/// Makes the names in a directory last. A file system that cannot do that for directories does what it can of itself;
/// any other error is one of the disk, after which nobody knows what is on it.
pub(super) fn sync<D: Directory>(dir: &D) -> io::Result<()> {
    match dir.sync() {
        Err(error) if is_one_of(&error, &NO_SYNC) => Ok(()),
        synced => synced,
    }
}

const PREFIX: &str = ".rtftp-";
const SUFFIX: &str = ".part";

pub(super) fn random_name() -> OsString {
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

    fn target(name: &str, missing: &[OsString], replace: bool) -> Target {
        Target {
            path: name.into(),
            missing: missing.to_owned(),
            name: name.into(),
            replace,
            keep: 0,
            how: Lookup::Own,
        }
    }

    #[test]
    fn a_name_that_is_there_is_replaced_only_by_who_may_whether_files_have_names_or_not() {
        for can_link in [true, false] {
            let (_folder, dir) = folder();
            let persist = |missing: &[OsString], replace| {
                let created = Temporary::create(dir.try_clone()?, can_link);
                let mut file = created.map_err(|(_, error)| error)?;
                file.write_all(if replace { b"over" } else { b"new" })?;
                file.persist(&target("target", missing, replace), &Notices::default(), None)
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
            // A directory that another made meanwhile stays where an upload fails.
            dir.create_dir("there").expect("a directory");
            let to = target(&"x".repeat(300), &["there".into(), "new".into()], false);
            let file = Temporary::create(dir.try_clone().expect("a descriptor"), can_link);
            let file = file.map_err(|(_, error)| error).expect("a file");
            file.persist(&to, &Notices::default(), None).expect_err("no name is so long");
            let left = ["there", "there/new"].map(|name| dir.exists(name));
            assert_eq!(left, [true, false], "another's, and its own; {can_link}");
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
                let to = target(name, &[], true);
                let file = file.map_err(|(_, error)| error).expect("a file");
                let kept = file.persist(&to, &Notices::default(), None);
                let kept = kept.expect_err("it is no file");
                assert_eq!(kept.kind(), ErrorKind::PermissionDenied, "{name}, {can_link}");
            }
            let mut entries = dir.entries().expect("a folder").map(|it| it.expect("it"));
            assert!(entries.all(|it| !it.metadata().expect("it").is_file()), "{can_link}");
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
            let temporary = Temporary::create(dir.try_clone()?, false);
            let temporary = temporary.map_err(|(_, error)| error)?;
            temporary.persist(&target("target", &[], true), &Notices::default(), None)
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
        let names = dir.entries().expect("a folder").map(|it| it.expect("it").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["target"], "a file that is no more written stays");
    }

    #[test]
    fn a_sweep_removes_files_of_such_names_that_nobody_writes_and_nothing_else() {
        let (folder, dir) = folder();
        let name = |digit: u8| format!(".rtftp-000000000000000{digit}.part");
        for kept in [".rtftp-00000000000000a.part", ".rtftp-0000000000000000A.part", "x.part"] {
            assert!(!is_temporary(OsStr::new(kept)), "{kept}");
            dir.write(kept, "kept").expect("a file");
        }
        assert!(is_temporary(&random_name()));
        dir.create_dir_all("a/b").and_then(|()| dir.create_dir("c")).expect("a directory");
        dir.create_dir(name(1)).expect("a directory");
        dir.symlink("x.part", name(2)).expect("a link");
        let written = create_named(&dir).expect("a file that is being written");
        for (within, digit) in [("", 3), ("a/", 4), ("a/b/", 5), ("c/", 4)] {
            dir.write(format!("{within}{}", name(digit)), "left").expect("a file");
        }
        let pipe = folder.path().join(name(6));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let _reader = std::fs::File::options().read(true).write(true).open(&pipe);
        assert_eq!([1, 1, 2, 3, 3].map(|depth| sweep(&dir, 99, depth)), [1, 0, 2, 1, 0]);
        assert!(dir.exists(written.1.expect("its name")) && dir.exists(name(2)));
        assert_eq!(dir.entries().expect("a folder").count(), 9, "all but what was left");
    }
}
