//! Uploads to a folder: what is refused before the first byte, and what becomes of the rest.

use super::StoreError;
use super::check::{Asked, Check};
use super::disk::{About, Directory, FileKind, Lookup, NewFile, Room};
use super::error::TOO_LARGE;
use super::notice::Notices;
use super::temporary::{Target, Temporary, is_no_way, is_temporary, sync};
use super::versions::{self, is_version};
use crate::limits;
use crate::query::Query;
use crate::transfer::{MayWait, Sink};
use crate::wire::ErrorCode;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, ErrorKind, IntoInnerError, Write};
use std::path::{Path, PathBuf};

/// What clients may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uploads {
    /// Nothing.
    #[default]
    Off,
    /// Files whose names are new.
    Create,
    /// Files that are there; they are replaced.
    Existing,
    /// Any file; the last one to finish stays.
    Overwrite,
}

/// What uploads to a folder may do.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) uploads: Uploads,
    /// Whether an upload makes the directories in its name.
    pub(super) create_dirs: bool,
    /// The most bytes of one.
    pub(super) largest: u64,
    /// How many old versions of a file that is replaced are kept.
    pub(super) keep: u16,
    /// Whether a file without a name can be given one.
    pub(super) can_link: bool,
    /// How the names of clients are looked up.
    pub(super) how: Lookup,
    pub(super) notices: Notices,
    /// Who is asked before an upload appears.
    pub(super) check: Option<Check>,
}

impl Rules {
    /// Opens the file that a client names, to make it; `own` are the paths that the root itself is known by.
    pub(super) fn open<D: Directory>(
        &self,
        root: &D,
        own: &[PathBuf],
        query: &Query,
    ) -> Result<Upload<D>, StoreError> {
        if self.uploads == Uploads::Off {
            return Err(StoreError::uploads_off());
        }
        let name = query.path()?;
        let look = |path: &Path| Ok(root.look(path, self.how)?);
        let (path, existing) = match name.find(own, look) {
            Ok((path, about)) => (path, Some(about)),
            Err(StoreError::NotFound) => (name.new_path(own, |part| look(part).is_ok())?, None),
            Err(error) => return Err(error),
        };
        if name.is_directory() {
            return Err(StoreError::is_a_directory());
        }
        let is_regular = |about: &About| about.kind == FileKind::Regular;
        if existing.as_ref().is_some_and(is_regular) && self.uploads == Uploads::Create {
            return Err(StoreError::Exists);
        }
        if existing.is_none() && self.uploads == Uploads::Existing {
            return Err(StoreError::no_new_files());
        }
        // What a link leads to is replaced, and not the link.
        let place = existing.as_ref().map_or(path, |about| &*about.place).to_owned();
        for name in [path, &*place].into_iter().filter_map(Path::file_name) {
            if is_temporary(name) {
                return Err(StoreError::reserved_name("a name that only unfinished uploads have"));
            }
            if self.keep > 0 && is_version(name) {
                return Err(StoreError::reserved_name("a name that only kept versions have"));
            }
        }
        let upload = self.begin(root, &place, existing, query.announced_size())?;
        let asked = self.check.as_ref().map(|check| check.about(query.peer));
        Ok(Upload { asked, ..upload })
    }

    /// Opens the file `path`, whatever uploads are allowed. A link of this name is replaced, and not what it leads to.
    pub(super) fn replace<D: Directory>(
        &self,
        root: &D,
        path: &Path,
    ) -> Result<Upload<D>, StoreError> {
        let existing = match root.look(path, Lookup::Itself).map_err(StoreError::from) {
            Ok(about) => Some(about),
            Err(StoreError::NotFound) => None,
            Err(error) => return Err(error),
        };
        Self { how: Lookup::Itself, ..self.clone() }.begin(root, path, existing, None)
    }

    fn begin<D: Directory>(
        &self,
        root: &D,
        path: &Path,
        existing: Option<About>,
        size: Option<u64>,
    ) -> Result<Upload<D>, StoreError> {
        existing.as_ref().map_or(Ok(()), |about| about.kind.regular())?;
        let name = path.file_name().ok_or_else(StoreError::is_a_directory)?;
        let (dir, missing) = self.parent(root, path)?;
        let room = dir.room().unwrap_or(Room::UNKNOWN);
        let is_too_long = |name: &OsStr| name.len() as u64 > room.longest_name;
        let is_too_long_to_keep =
            self.keep > 0 && (name.len() + versions::SUFFIX_BYTES) as u64 > room.longest_name;
        if is_too_long(name) || is_too_long_to_keep || missing.iter().any(|name| is_too_long(name))
        {
            return Err(StoreError::too_long());
        }
        // The folder would let us replace it.
        if let Some(denied) = existing.as_ref().and_then(|about| about.denied) {
            return Err(denied.into());
        }
        let first = missing.first().map_or(name, OsString::as_os_str);
        if existing.is_none()
            && dir
                .look(Path::new(first), self.how)
                .is_ok_and(|about| about.kind == FileKind::DeadLink)
        {
            return Err(StoreError::dead_link());
        }
        let size = size.unwrap_or_default();
        if size > self.largest {
            return Err(StoreError::too_large());
        }
        let to = Target {
            path: path.to_owned(),
            missing,
            name: name.to_owned(),
            replace: self.uploads != Uploads::Create,
            keep: self.keep,
            how: self.how,
        };
        // A link is nothing that the new file could keep.
        let is_old = existing.as_ref().is_some_and(|about| about.kind == FileKind::Regular);
        let file = if existing.is_some() && !dir.can_replace(name) {
            elsewhere(dir, name, size)?
        } else if size > room.free {
            return Err(StoreError::refused(ErrorCode::DiskFull, "larger than the free space"));
        } else {
            self.beside(dir, name, is_old, size)?
        };
        if self.keep > 0 && file.is_over() {
            let why = versions::cannot_keep("the file can only be written over");
            return Err(StoreError::no_permission().because(why.to_string()));
        }
        let may_wait = if file.file().is_remote() { MayWait::Always } else { MayWait::OnCommit };
        let (file, notices) = (Some(BufWriter::new(file)), self.notices.clone());
        Ok(Upload { file, to, room: self.largest, may_wait, notices, asked: None })
    }

    /// A place for what takes the name `name` in `dir`: beside it, if there may be files beside it, and if the new one can
    /// be all that an old one is.
    fn beside<D: Directory>(
        &self,
        dir: D,
        name: &OsStr,
        is_old: bool,
        size: u64,
    ) -> Result<Temporary<D>, StoreError> {
        match Temporary::create(dir, self.can_link) {
            Ok(new) if is_old && new.dir().take_after(name, new.file()).is_err() => {
                let old = new.dir().open_to_write(name, false)?;
                Ok(new.over(old))
            }
            Ok(new) => Ok(new),
            Err((dir, error)) if is_old && is_no_way(&error) => elsewhere(dir, name, size),
            Err((_, error)) => Err(error.into()),
        }
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
            match root.directory(existing, self.how) {
                Ok(dir) => {
                    if self.create_dirs
                        && let Some(above) = existing.parent()
                    {
                        // Another upload, or one of a server that was killed, may have made it a moment ago, and what
                        // is stored in it would be lost with it. Those above were synced before it was made.
                        sync(&root.directory(above, self.how)?)?;
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
                Err(error) => {
                    return Err(match error.into() {
                        StoreError::NotFound => StoreError::no_such_directory(),
                        other => other,
                    });
                }
            }
        }
        Err(StoreError::no_such_directory())
    }
}

/// A place elsewhere for what is written over the file `name` of `dir` in the end.
fn elsewhere<D: Directory>(dir: D, name: &OsStr, size: u64) -> Result<Temporary<D>, StoreError> {
    let old = dir.open_to_write(name, false)?;
    let spool = dir.spool(size).map_err(|error| match error.kind() {
        ErrorKind::StorageFull => StoreError::from(error),
        kind => {
            let why = format!("no place for the upload to wait, set TMPDIR: {error}");
            StoreError::Io(io::Error::new(kind, why))
        }
    })?;
    Ok(Temporary::elsewhere(dir, spool, old))
}

/// A file that is being uploaded.
pub(super) struct Upload<D: Directory> {
    /// There until it has its name.
    file: Option<BufWriter<Temporary<D>>>,
    to: Target,
    /// Bytes that may still come.
    room: u64,
    may_wait: MayWait,
    notices: Notices,
    /// Who is asked before it appears.
    asked: Option<Asked>,
}

impl<D: Directory> Upload<D> {
    /// The same, in a root that is `place` below the folder.
    pub(super) fn within(mut self, place: PathBuf) -> Self {
        self.asked = self.asked.map(|asked| asked.within(place));
        self
    }

    /// The directory in which a temporary file of it stands, if that has a name.
    pub(super) fn place(&self) -> Option<&D> {
        let temporary = self.file.as_ref()?.get_ref();
        temporary.is_named().then(|| temporary.dir())
    }
}

impl<D: Directory> Sink for Upload<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.room.checked_sub(bytes.len() as u64);
        self.room = left.ok_or_else(|| io::Error::new(ErrorKind::FileTooLarge, TOO_LARGE))?;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn commit(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let temporary = file.into_inner().map_err(IntoInnerError::into_error)?;
        temporary.persist(&self.to, &self.notices, self.asked.as_ref())
    }

    fn may_wait(&self) -> MayWait {
        if self.asked.is_some() { MayWait::OnCommitForLong } else { self.may_wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Folder, Store};
    use crate::wire::{Operation, Options, TransferOption};
    use std::net::{IpAddr, Ipv4Addr};

    fn refused(folder: &Folder, name: &str) -> String {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = Query::new((local, 2000).into(), local, Operation::Write, name);
        let taken = format!("an upload to {name} is not refused");
        folder.write(&query).map(|_| ()).expect_err(&taken).to_string()
    }

    #[test]
    fn a_name_that_cannot_be_had_is_refused_before_the_first_byte() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "x").expect("a file");
        std::fs::create_dir(root.path().join("sub")).expect("a directory");
        let folder = |uploads| Folder::open(root.path()).expect("a folder").uploads(uploads);
        assert_eq!(refused(&folder(Uploads::Create), "there"), "exists already");
        for uploads in [Uploads::Create, Uploads::Overwrite] {
            let told = refused(&folder(uploads), ".rtftp-0123456789abcdef.part");
            assert_eq!(told, "a name that only unfinished uploads have");
            assert_eq!(refused(&folder(uploads), "missing/new"), "no such directory");
            for name in ["new/", "sub", "sub/", ""] {
                assert_eq!(refused(&folder(uploads), name), "is a directory", "{name:?}");
            }
        }
    }

    #[test]
    fn only_files_that_are_there_are_replaced_where_no_new_ones_are_allowed() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "old").expect("a file");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Existing);
        assert_eq!(refused(&folder, "new"), "new files are not allowed");
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = Query::new((local, 2000).into(), local, Operation::Write, "there");
        let mut sink = folder.write(&query).expect("a sink");
        sink.write(b"new").and_then(|()| sink.commit()).expect("it is stored");
        assert_eq!(std::fs::read(root.path().join("there")).expect("a file"), b"new");
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
            assert_eq!(told, "a link that leads nowhere", "{name}");
        }
    }

    #[test]
    fn a_name_that_clients_may_not_give_is_refused_whether_it_leads_or_is_led_to() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Overwrite);
        let folder = folder.keep_versions(1);
        for (reserved, why) in [
            (".rtftp-0123456789abcdef.part", "a name that only unfinished uploads have"),
            ("plain.~1~", "a name that only kept versions have"),
        ] {
            for (to, name) in [(reserved, "plain"), ("plain", reserved)] {
                std::fs::write(root.path().join(to), "x").expect("a file");
                std::os::unix::fs::symlink(to, root.path().join(name)).expect("a link");
                assert_eq!(refused(&folder, name), why, "{name} leads to {to}");
                for gone in [to, name] {
                    std::fs::remove_file(root.path().join(gone)).expect("removed");
                }
            }
        }
    }

    #[test]
    fn an_upload_has_so_many_bytes_and_makes_so_many_directories_and_no_more() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "x").expect("a file");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let folder = folder.create_dirs(true).largest_upload(3);
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = |name: &str, size| {
            let query = Query::new((local, 2000).into(), local, Operation::Write, name);
            Query { options: Options::NONE.with(TransferOption::TransferSize(size)), ..query }
        };
        folder.write(&query("new", 3)).map(drop).expect("it may be so large");
        let told = folder.write(&query("new", 4)).map(drop).map_err(|error| error.text());
        assert_eq!(told, Err(StoreError::too_large().text()));
        let mut sink = folder.write(&query("new", 0)).expect("a sink");
        sink.write(b"ne").and_then(|()| sink.write(b"w")).expect("there is room for them");
        let more = sink.write(b"x").map_err(|error| error.kind());
        assert_eq!(more, Err(ErrorKind::FileTooLarge), "all that came before counts");
        let deep = |directories| "d/".repeat(directories) + "new";
        let made = folder.write(&query(&deep(limits::CREATED_DIRECTORIES), 0)).map(drop);
        made.expect("so many are made");
        assert_eq!(refused(&folder, &deep(limits::CREATED_DIRECTORIES + 1)), "no such directory");
        let below_a_file = folder.write(&query("there/made/new", 0)).map(drop);
        below_a_file.expect_err("a file is in the place of a directory");
    }
}
