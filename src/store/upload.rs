//! Uploads to a folder: what is refused before the first byte, and what becomes of the rest.

use super::StoreError;
use super::disk::{About, Directory, FileKind, NewFile};
use super::temporary::{Temporary, is_temporary, sync};
use crate::limits;
use crate::query::Query;
use crate::transfer::{MayWait, Sink};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, ErrorKind, IntoInnerError, Write};
use std::path::Path;

/// What clients may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uploads {
    /// Nothing.
    #[default]
    Off,
    /// Files whose names are new.
    Create,
    /// Any file; the last one to finish stays.
    Overwrite,
}

/// What uploads to a folder may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) uploads: Uploads,
    /// Whether an upload makes the directories in its name.
    pub(super) create_dirs: bool,
    /// The most bytes of one.
    pub(super) largest: u64,
    /// Whether a file without a name can be given one.
    pub(super) can_link: bool,
}

impl Rules {
    /// Opens the file that a client names, to make it.
    pub(super) fn open<D: Directory>(
        &self,
        root: &D,
        query: &Query,
    ) -> Result<Upload<D>, StoreError> {
        if self.uploads == Uploads::Off {
            return Err(StoreError::denied("uploads are off"));
        }
        let name = query.path()?;
        let (path, existing) = match name.find(|path| Ok(root.look(path)?)) {
            Ok((path, about)) => (path, Some(about)),
            Err(StoreError::NotFound) => (name.slashed().unwrap_or_else(|| Ok(name.path()))?, None),
            Err(error) => return Err(error),
        };
        if path.file_name().is_some_and(is_temporary) {
            return Err(StoreError::denied("a name that only unfinished uploads have"));
        }
        if existing.is_some_and(|about| about.kind.regular().is_ok())
            && self.uploads == Uploads::Create
        {
            return Err(StoreError::Exists);
        }
        self.begin(root, path, existing, query.announced_size())
    }

    /// Opens the file `path`, whatever uploads are allowed.
    pub(super) fn replace<D: Directory>(
        &self,
        root: &D,
        path: &Path,
    ) -> Result<Upload<D>, StoreError> {
        let existing = match root.look(path).map_err(StoreError::from) {
            Ok(about) => Some(about),
            Err(StoreError::NotFound) => None,
            Err(error) => return Err(error),
        };
        self.begin(root, path, existing, None)
    }

    fn begin<D: Directory>(
        &self,
        root: &D,
        path: &Path,
        existing: Option<About>,
        size: Option<u64>,
    ) -> Result<Upload<D>, StoreError> {
        existing.map_or(Ok(()), |about| about.kind.regular())?;
        let target = path.file_name().ok_or_else(|| StoreError::denied("a directory"))?;
        let (dir, missing) = self.parent(root, path)?;
        let room = dir.room().ok();
        let longest = room.map_or(u64::MAX, |room| room.longest_name);
        let is_too_long = |name: &OsStr| name.len() as u64 > longest;
        if is_too_long(target) || missing.iter().any(|name| is_too_long(name)) {
            return Err(StoreError::NotFound);
        }
        if existing.is_some_and(|about| !about.may_write) {
            // The folder would let us replace it.
            return Err(StoreError::denied("a file that the server may not write"));
        }
        let first = missing.first().map_or(target, OsString::as_os_str);
        if existing.is_none()
            && dir.look(Path::new(first)).is_ok_and(|about| about.kind == FileKind::DeadLink)
        {
            return Err(StoreError::denied("a link that leads nowhere"));
        }
        match size {
            Some(size) if size > self.largest => {
                return Err(StoreError::full("larger than an upload may be"));
            }
            Some(size) if room.is_some_and(|room| size > room.free) => {
                return Err(StoreError::full("larger than the free space"));
            }
            _ => {}
        }
        let temporary = Temporary::create(dir, self.can_link)?;
        if let Some(about) = existing {
            // Some file systems have no modes; that is no reason to refuse.
            let _ = temporary.file().set_mode(about.mode);
        }
        Ok(Upload {
            file: Some(BufWriter::new(temporary)),
            missing,
            target: target.to_owned(),
            replace: self.uploads != Uploads::Create,
            room: self.largest,
        })
    }

    /// The directory of `path`, as far as it exists, and the names that are to be made below it at the end.
    fn parent<D: Directory>(
        &self,
        root: &D,
        path: &Path,
    ) -> Result<(D, Vec<OsString>), StoreError> {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let mut missing = Vec::new();
        for existing in parent.ancestors() {
            match root.directory(existing) {
                Ok(dir) => {
                    if self.create_dirs
                        && let Some(above) = existing.parent()
                    {
                        // Another upload, or one of a server that was killed, may have made it a moment ago, and what
                        // is stored in it would be lost with it. Those above were synced before it was made.
                        sync(&root.directory(above)?)?;
                    }
                    missing.reverse();
                    return Ok((dir, missing));
                }
                // A file in the place of a directory, or a name that is too long, would still be there at the end.
                Err(error)
                    if error.kind() == ErrorKind::NotFound
                        && self.create_dirs
                        && missing.len() < limits::CREATED_DIRECTORIES =>
                {
                    missing.extend(existing.file_name().map(OsStr::to_owned));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::NotFound)
    }
}

/// A file that is being uploaded.
pub(super) struct Upload<D: Directory> {
    /// There until it has its name.
    file: Option<BufWriter<Temporary<D>>>,
    /// Directories to make before it gets its name.
    missing: Vec<OsString>,
    target: OsString,
    replace: bool,
    /// Bytes that may still come.
    room: u64,
}

impl<D: Directory> Upload<D> {
    /// The directory in which a temporary file of it stands, if that has a name.
    pub(super) fn place(&self) -> Option<&D> {
        let temporary = self.file.as_ref()?.get_ref();
        temporary.is_named().then(|| temporary.dir())
    }
}

impl<D: Directory> Sink for Upload<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or(ErrorKind::FileTooLarge)?;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn commit(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let temporary = file.into_inner().map_err(IntoInnerError::into_error)?;
        temporary.file().sync()?;
        temporary.persist(&self.missing, &self.target, self.replace)
    }

    fn may_wait(&self) -> MayWait {
        MayWait::OnCommit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Folder, Store};
    use crate::wire::Operation;
    use std::net::{IpAddr, Ipv4Addr};

    fn refused(folder: &Folder, name: &str) -> String {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = Query::new((local, 2000).into(), local, Operation::Write, name);
        folder.write(&query).map(|_| ()).expect_err(name).to_string()
    }

    #[test]
    fn a_name_that_cannot_be_had_is_refused_before_the_first_byte() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "x").expect("a file");
        let folder = |uploads| Folder::open(root.path()).expect("a folder").uploads(uploads);
        assert_eq!(refused(&folder(Uploads::Create), "there"), "exists already");
        for uploads in [Uploads::Create, Uploads::Overwrite] {
            let told = refused(&folder(uploads), ".rtftp-0123456789abcdef.part");
            assert_eq!(told, "not allowed: a name that only unfinished uploads have");
            assert_eq!(refused(&folder(uploads), "missing/new"), "not found");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused_before_the_first_byte() {
        let root = tempfile::tempdir().expect("a folder");
        let link = |to: &str, name| {
            std::os::unix::fs::symlink(to, root.path().join(name)).expect("a link");
        };
        link("nowhere", "dead");
        link("round", "round");
        link("dead", "deader");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Overwrite);
        let folder = folder.create_dirs(true);
        for name in ["dead", "round", "deader", "dead/new", "deader/made/new"] {
            let told = refused(&folder, name);
            assert_eq!(told, "not allowed: a link that leads nowhere", "{name}");
        }
    }
}
