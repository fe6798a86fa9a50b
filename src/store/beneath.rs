//! Opens beneath a root: by the kernel's own rule (`openat2`) as far as that goes, and by a walk, part by part, where it
//! does not: where the kernel or a sandbox has no such call, and where a link is absolute or leads above the root. Those
//! are read as in a chroot at the root.

use crate::limits;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Opens `path` beneath `root`, to read or to look at; the empty path is the root's own.
pub(super) fn open(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC;
    match openat2(root.as_fd(), path, flags) {
        Err(error) if needs_walk(error) => Walk::new(root.as_fd(), path).open(flags),
        opened => Ok(opened?),
    }
}

/// Whether the kernel knows `path` beneath `root` without asking a disk or a network, as it does of what was looked for
/// lately. Where it cannot tell, it does not.
pub(super) fn is_known(root: impl AsFd, path: &Path) -> bool {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), how).is_ok()
}

/// The path without links that `path`, the last part of which may be a link, stands for beneath `root`; `as_others`, if
/// everybody could go there.
pub(super) fn resolve(root: impl AsFd, path: &Path, as_others: bool) -> io::Result<PathBuf> {
    let mut walk = Walk::new(root.as_fd(), path);
    walk.as_others = as_others;
    walk.open(OFlags::PATH | OFlags::CLOEXEC)?;
    Ok(walk.done.iter().collect())
}

/// Opens `path` as [`open`] does, if everybody could: other users may enter all directories on the way.
pub(super) fn open_as_others(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut walk = Walk::new(root.as_fd(), path);
    walk.as_others = true;
    walk.open(flags | OFlags::CLOEXEC)
}

/// A folder that links may lead to, and the paths that it is known by, without a slash in front.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) dir: &'a Dir,
    pub(super) paths: &'a [PathBuf],
}

/// Opens `path` beneath the first of these folders, part by part, and through links to any of them; `as_others`, if
/// everybody could go there. No `..` and no other link leads out of the folder in which it is.
pub(super) fn open_among(
    bases: &[Base<'_>],
    path: &Path,
    flags: OFlags,
    as_others: bool,
) -> io::Result<OwnedFd> {
    let Some(first) = bases.first() else { return Err(Errno::XDEV.into()) };
    let mut walk = Walk::new(first.dir.as_fd(), path);
    (walk.bases, walk.as_others) = (bases, as_others);
    walk.open(flags | OFlags::CLOEXEC)
}

/// Whether a name was found to lead out of the root.
pub(super) fn leads_out(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::XDEV)
}

fn openat2(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // It fails with EAGAIN if something is renamed meanwhile anywhere on this machine.
    const TRIES: usize = 4;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = (0..TRIES).map(|_| rustix::fs::openat2(root, path, flags, Mode::empty(), how));
    let opened = tries.find(|opened| !matches!(opened, Err(Errno::AGAIN)));
    opened.unwrap_or(Err(Errno::AGAIN))
}

/// Whether the kernel keeps to the root by itself, with no sandbox between.
pub(super) fn is_kept_by_kernel(root: impl AsFd) -> bool {
    openat2(root.as_fd(), Path::new("."), OFlags::PATH | OFlags::CLOEXEC).is_ok()
}

/// Sandboxes that do not know the call say that it is not permitted.
const fn needs_walk(error: Errno) -> bool {
    matches!(error, Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN)
}

/// A way down from a root, on which no link is followed but by its words.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The folders that links may lead to; where there are none, they lead nowhere but below the root.
    bases: &'a [Base<'a>],
    /// The directory that it has come to, where that is not the root.
    within: Option<OwnedFd>,
    /// The parts up to there, none of which is a link.
    done: Vec<OsString>,
    /// The parts that are left, the next one last.
    rest: Vec<OsString>,
    links: usize,
    /// Whether a link was read that would lead elsewhere without a chroot.
    has_left: bool,
    /// Whether other users must be allowed to go this way, too.
    as_others: bool,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, path: &Path) -> Self {
        let mut walk = Self {
            root,
            bases: &[],
            within: None,
            done: Vec::new(),
            rest: Vec::new(),
            links: 0,
            has_left: false,
            as_others: false,
        };
        walk.go_on_with(path);
        walk
    }

    fn go_on_with(&mut self, path: &Path) {
        let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/').rev();
        let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
        self.rest.extend(parts.map(|part| OsStr::from_bytes(part).to_owned()));
    }

    fn open(&mut self, flags: OFlags) -> io::Result<OwnedFd> {
        self.finish(flags).map_err(|error| match error {
            // What is not there in the root is meant to be elsewhere.
            Errno::NOENT | Errno::NOTDIR if self.has_left => Errno::XDEV.into(),
            error => error.into(),
        })
    }

    fn finish(&mut self, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Each `..` of a link begins anew, and so many steps no honest path has.
        for _ in 0..limits::WALK_STEPS {
            let Some(part) = self.rest.pop() else {
                return rustix::fs::openat(self.place(), ".", flags, Mode::empty());
            };
            if part == ".." {
                self.go_up();
                continue;
            }
            let (found, about) = self.see(&part)?;
            let is_last = self.rest.is_empty();
            match FileType::from_raw_mode(about.st_mode) {
                FileType::Symlink if !is_last || !flags.contains(OFlags::NOFOLLOW) => {
                    self.follow(&found)?;
                }
                // A directory that is asked for as such is to be entered.
                _ if is_last && flags & (OFlags::PATH | OFlags::DIRECTORY) == OFlags::PATH => {
                    self.done.push(part);
                    return Ok(found);
                }
                FileType::Directory => self.enter(part, found, &about)?,
                _ if is_last => {
                    // What takes its place in this moment is not followed.
                    return rustix::fs::openat(
                        self.place(),
                        &part,
                        flags | OFlags::NOFOLLOW,
                        Mode::empty(),
                    );
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        Err(Errno::LOOP)
    }

    fn place(&self) -> BorrowedFd<'_> {
        self.within.as_ref().map_or(self.root, AsFd::as_fd)
    }

    fn see(&self, part: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(self.place(), part, flags, Mode::empty())?;
        let about = rustix::fs::fstat(&found)?;
        Ok((found, about))
    }

    fn enter(&mut self, part: OsString, found: OwnedFd, about: &Stat) -> Result<(), Errno> {
        if self.as_others && about.st_mode & Mode::XOTH.bits() == 0 {
            return Err(Errno::ACCESS);
        }
        self.done.push(part);
        self.within = Some(found);
        Ok(())
    }

    /// Goes to the directory above: from the root again, for what is above a directory may have changed.
    fn go_up(&mut self) {
        self.has_left |= self.done.pop().is_none();
        self.rest.extend(std::mem::take(&mut self.done).into_iter().rev());
        self.within = None;
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.links > limits::WALK_LINKS {
            return Err(Errno::LOOP);
        }
        let to = rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes();
        let to = PathBuf::from(OsString::from_vec(to));
        if let Some((base, inside)) = self.elsewhere(&to) {
            (self.root, self.within) = (base, None);
            self.done.clear();
            self.go_on_with(&inside);
            return Ok(());
        }
        if !to.is_absolute() {
            self.go_on_with(&to);
            return Ok(());
        }
        self.within = None;
        self.done.clear();
        // Many a link says where the root itself is.
        let own = path_of(self.root).filter(|own| own.parent().is_some());
        match own.as_ref().and_then(|own| to.strip_prefix(own).ok()) {
            Some(inside) => self.go_on_with(inside),
            None => {
                self.has_left = true;
                self.go_on_with(&to);
            }
        }
        Ok(())
    }
}

impl<'a> Walk<'a> {
    /// The folder that a link leads to, and where in it, where that is one of those that it may lead to.
    fn elsewhere(&self, to: &Path) -> Option<(BorrowedFd<'a>, PathBuf)> {
        if self.bases.is_empty() {
            return None;
        }
        // The parts up to here are no links, and what follows is taken by its words as long as it goes up.
        let mut absolute = PathBuf::new();
        if !to.is_absolute() {
            absolute.push(path_of(self.root)?.strip_prefix("/").ok()?);
            absolute.extend(&self.done);
        }
        for part in to.components() {
            match part {
                Component::ParentDir => drop(absolute.pop()),
                Component::Normal(part) => absolute.push(part),
                _ => {}
            }
        }
        let named = |base: &Base<'a>| {
            let inside = base.paths.iter().filter_map(|path| absolute.strip_prefix(path).ok());
            let inside = inside.min_by_key(|inside| inside.components().count())?;
            Some((base.dir.as_fd(), inside.to_owned()))
        };
        // The innermost, where one lies in another.
        let found = self.bases.iter().filter_map(named);
        found.min_by_key(|(_, inside)| inside.components().count())
    }
}

/// Where an open directory is, as the kernel calls it, where `/proc` can tell.
pub(super) fn path_of(dir: impl AsFd) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    std::fs::read_link(link).ok()
}

/// What `path` is; a link is itself. A single name costs no descriptor, which there may be none of.
pub(super) fn lstat(root: impl AsFd, path: &Path) -> io::Result<Stat> {
    let is_one_name = path.components().count() == 1 && path.file_name().is_some();
    if is_one_name {
        return Ok(rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?);
    }
    Ok(rustix::fs::fstat(open(root, path, OFlags::PATH | OFlags::NOFOLLOW)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn root() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("sub")).expect("a directory");
        std::fs::write(folder.path().join("sub/file"), "").expect("a file");
        // Others may read them, whatever the umask.
        for (name, mode) in [("sub", 0o755), ("sub/file", 0o644)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), mode).expect("its own");
        }
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("it opens");
        (folder, dir)
    }

    #[test]
    fn what_is_not_below_the_root_is_not_known() {
        let (folder, dir) = root();
        for (name, to) in [("out", "/etc"), ("above", "..")] {
            symlink(to, folder.path().join(name)).expect("a link");
        }
        let known = |name: &str| is_known(&dir, Path::new(name));
        assert!(known("") && known("sub/file"));
        for name in ["out", "above", "..", "none"] {
            assert!(!known(name), "{name}");
        }
    }

    #[test]
    fn what_a_link_is_is_told_of_itself_however_deep_it_is() {
        let (folder, dir) = root();
        symlink("file", folder.path().join("sub/link")).expect("a link");
        symlink("sub/file", folder.path().join("link")).expect("a link");
        let kind = |path: &str| {
            let about = lstat(&dir, Path::new(path)).expect("it is there");
            FileType::from_raw_mode(about.st_mode)
        };
        assert_eq!([kind("link"), kind("sub/link")], [FileType::Symlink; 2]);
        assert_eq!([kind("sub/file"), kind("sub")], [FileType::RegularFile, FileType::Directory]);
    }

    #[test]
    fn a_name_has_so_many_parts_and_no_more() {
        let (_folder, dir) = root();
        let found = |there_and_back: usize| {
            let path = "sub/../".repeat(there_and_back) + "sub/file";
            open_as_others(&dir, Path::new(&path), OFlags::RDONLY).map(drop)
        };
        let most = (limits::WALK_STEPS - 2) / 2;
        found(most).expect("it is there");
        let error = found(most + 1).expect_err("there is no end to it");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
    }

    #[test]
    fn a_name_leads_through_so_many_links_and_no_more() {
        let (folder, dir) = root();
        let mut to = "sub/file".to_owned();
        for n in 0..=limits::WALK_LINKS {
            let name = n.to_string();
            symlink(&to, folder.path().join(&name)).expect("a link");
            let found = open_as_others(&dir, Path::new(&name), OFlags::RDONLY);
            let is_loop =
                found.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::LOOP));
            assert_eq!(is_loop, n == limits::WALK_LINKS, "behind {} links", n + 1);
            to = name;
        }
    }
}
