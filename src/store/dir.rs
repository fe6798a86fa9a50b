//! A folder of the file system, of which nothing leads out.
//!
//! Every open is relative to the root's descriptor and resolved beneath it, by the kernel (`openat2`) or part by part
//! (`beneath`), so that neither `..` nor a link, however it is planted or swapped, leads out. An upload has its name when
//! it is whole, as far as the file system allows (`temporary`).

mod named;
mod seen;

use self::seen::{AT_ONCE, Seen};
use super::check::{Check, WholeUpload};
use super::contents::Contents;
use super::disk::{FileKind, Lookup, may};
use super::error::is_shortage;
use super::letters::Search;
use super::listing::is_listable;
use super::naming::{Names, UploadName};
use super::notice::{Notice, Notices};
use super::recent::Recent;
use super::root::Root;
use super::served::{Below, Served, bases};
use super::temporary::sweep;
use super::upload::{Rules, Uploads};
use super::{Entry, Kind, Listing, Readable, RootedPath, Store, StoreError, beneath};
use crate::limits;
use crate::query::Query;
use crate::transfer::Sink;
use crate::wire::{ErrorCode, Filename};
use cap_std::fs::Dir;
use rustix::fs::{Access, AtFlags, FileType, OFlags, Stat};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

/// A folder that is served.
#[derive(Debug)]
pub struct Folder {
    root: Root,
    /// Where each client has a directory of its own below it.
    below: Option<Below>,
    /// The folders elsewhere that links may lead to.
    links: Vec<Root>,
    rules: Rules,
    /// Where uploads are stored, if not under their own names.
    names: Option<Names>,
    /// Whether a descriptor can be opened and linked by its name under `/proc`.
    has_proc: bool,
    /// Whether files are sent that are written meanwhile.
    growing: bool,
    /// Whether a name is looked for in letters of any size.
    ignore_case: bool,
    shared: Mutex<HashMap<Identity, Weak<std::fs::File>>>,
    recent: Recent,
}

/// A file as it is at a moment: device, inode, and when the inode changed (seconds, nanoseconds).
type Identity = (u64, u64, i64, u64);

impl Folder {
    /// Opens the folder; from here on it is this very folder, whatever happens to its name.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::of(Root::fixed(root.as_ref())?))
    }

    /// Serves the folder that has this name when it is asked: a link that is swapped, what is mounted there later, what is
    /// made anew. There must be one now.
    pub fn named(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::of(Root::named(root.as_ref())?))
    }

    fn of(root: Root) -> Self {
        let has_proc = Path::new("/proc/self/fd").is_dir();
        let rules = Rules {
            uploads: Uploads::Off,
            create_dirs: false,
            largest: limits::UPLOAD_BYTES,
            keep: 0,
            can_link: has_proc,
            how: Lookup::Own,
            notices: Notices::default(),
            check: None,
        };
        let (shared, links) = (Mutex::default(), Vec::new());
        Self {
            root,
            below: None,
            links,
            rules,
            names: None,
            has_proc,
            growing: false,
            ignore_case: false,
            shared,
            recent: Recent::default(),
        }
    }

    /// Allows uploads; without this there are none.
    #[must_use]
    pub const fn uploads(mut self, uploads: Uploads) -> Self {
        self.rules.uploads = uploads;
        self
    }

    /// Whether an upload makes the directories in its name.
    #[must_use]
    pub const fn create_dirs(mut self, create: bool) -> Self {
        self.rules.create_dirs = create;
        self
    }

    /// The most bytes of one upload.
    #[must_use]
    pub const fn largest_upload(mut self, bytes: u64) -> Self {
        self.rules.largest = bytes;
        self
    }

    #[cfg(test)]
    pub(super) const fn most_bytes(&self) -> u64 {
        self.rules.largest
    }

    /// How many old versions of a file stay beside it when uploads replace it: `name.~1~`, `name.~2~` and so on, as
    /// `cp --backup=numbered` has them. The highest number is the newest; the oldest one goes when there are more. They are
    /// files like others, but no upload is one. Where one cannot be kept, the upload is refused and the old file stays.
    #[must_use]
    pub const fn keep_versions(mut self, versions: u16) -> Self {
        self.rules.keep = versions;
        self
    }

    /// Stores each upload at the path that `name` gives, in place of the one that the client asks for; `None` refuses it.
    /// Where the path depends on the [number](UploadName::number), nothing is replaced. `name` must not wait.
    #[must_use]
    pub fn upload_names(
        mut self,
        name: impl Fn(&UploadName<'_>) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        self.names = Some(Names::new(name));
        self
    }

    /// Asks `check` about each upload that is whole before it appears: after an error it does not, which tells the client
    /// [what it may know](crate::transfer::PeerWords). It may wait for somebody else, and no other transfer waits with it,
    /// unless very many do.
    #[must_use]
    pub fn before_uploads_appear(
        mut self,
        check: impl Fn(&WholeUpload<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.rules.check = Some(Check::new(check));
        self
    }

    /// Whether a file that grows while it is sent is sent as long as it was: logs. Without this the transfer ends with an
    /// error, for such a file is still being written.
    #[must_use]
    pub const fn growing_files(mut self, growing: bool) -> Self {
        self.growing = growing;
        self
    }

    /// Whether what is not there is looked for in ASCII letters of the other size, in each part of its name, as firmware
    /// expects whose names were made on Windows. An upload goes to what there is, too. Of several names that differ in
    /// nothing else none is taken, and only so many names are looked at.
    #[must_use]
    pub const fn ignore_case(mut self, ignore: bool) -> Self {
        self.ignore_case = ignore;
        self
    }

    /// Serves only what every user may read, and below directories that every user may enter, whatever this process may:
    /// for one that runs as root. The root itself is what whoever runs it says.
    ///
    /// Uploads, too, go only where every user may enter, and over no file that others may neither read nor write, or that
    /// nobody may write. That others may write there is not demanded: an upload by root would be the last of its name.
    #[must_use]
    pub const fn as_others(mut self, as_others: bool) -> Self {
        self.rules.how = if as_others { Lookup::Others } else { Lookup::Own };
        self
    }

    fn is_for_others(&self) -> bool {
        self.rules.how == Lookup::Others
    }

    /// Serves each client only what is in its own directory below the folder, at the path that `place` gives; `None` is for
    /// one that has none. What is not there is not found, and nothing leads out of it to those of others. An upload makes
    /// it, where uploads [make directories](Self::create_dirs). `place` must not wait.
    #[must_use]
    pub fn below(
        mut self,
        place: impl Fn(&Query) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        self.below = Some(Below::new(place));
        self
    }

    /// Lets links in the folder lead into this one, too, whose links may lead back, and to others that are named so: for
    /// reading and listing, and not for uploads. It is looked up by its name when a link leads there. There must be one
    /// now.
    pub fn links_to(mut self, other: impl AsRef<Path>) -> io::Result<Self> {
        self.links.push(Root::named(other.as_ref())?);
        Ok(self)
    }

    /// Has `listener` told what whoever runs this should know. It must not wait.
    #[must_use]
    pub fn notices(self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.rules.notices.to(listener);
        let root = self.root.last_known();
        if !beneath::is_kept_by_kernel(&root.dir) {
            let name =
                root.paths.first().map_or_else(PathBuf::new, |path| Path::new("/").join(path));
            self.rules.notices.tell(&Notice::Walked(name));
        }
        self
    }

    /// The directory that `query` is about.
    fn served(&self, query: &Query) -> Result<Served, StoreError> {
        let root = self.root.now(&self.rules.notices)?;
        let Some(below) = &self.below else { return Ok(Served::root(root)) };
        let place = below.of(query).ok_or(StoreError::NotFound)?;
        Ok(Served::below(root, place, self.rules.how)?)
    }

    fn open_beneath(&self, served: &Served, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let open = if self.is_for_others() { beneath::open_as_others } else { beneath::open };
        match open(served.dir(), path, flags) {
            Err(error) if beneath::leads_out(&error) && !self.links.is_empty() => {
                let now = |root: &Root| root.now(&self.rules.notices).ok();
                let links: Vec<_> = self.links.iter().filter_map(now).collect();
                let own: Vec<_> = served.paths().to_vec();
                let bases = bases(served, &own, &links);
                beneath::open_among(&bases, path, flags, self.is_for_others())
            }
            opened => opened,
        }
    }

    /// Looks at a file without opening it: to open a FIFO or a device is already to do something.
    fn see(&self, served: &Served, path: &Path) -> io::Result<Seen> {
        let file = self.open_beneath(served, path, OFlags::PATH)?;
        let about = rustix::fs::fstat(&file)?;
        Ok(Seen { file, about })
    }

    /// Whether this may be done with what `place`, which has no links, is in `dir`.
    fn may(&self, dir: &Dir, place: &Path, about: &Stat, what: Access) -> bool {
        if self.is_for_others() {
            // The bits of others are the lowest, and mean the same.
            return about.st_mode & what.bits() == what.bits();
        }
        may(dir, place, what).is_ok()
    }

    /// Opens what was looked at. Those who read one file at the same time share it: when a rack boots, a descriptor
    /// for each would be half of all there are.
    fn opened(
        &self,
        served: &Served,
        path: &Path,
        seen: &Seen,
    ) -> Result<Arc<std::fs::File>, StoreError> {
        let about = &seen.about;
        let identity = (about.st_dev, about.st_ino, about.st_ctime, about.st_ctime_nsec);
        let known = || self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as it is open, nothing else gets its number.
        if let Some(open) = known().get(&identity).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let open = if self.has_proc {
            seen.open()?
        } else {
            let named = || self.open_beneath(served, path, AT_ONCE);
            seen.open_by_name(named)?
        };
        let open = Arc::new(open);
        let mut known = known();
        if known.len() >= limits::SHARED_FILES {
            known.retain(|_, file| file.strong_count() > 0);
        }
        if known.len() < limits::SHARED_FILES {
            known.insert(identity, Arc::downgrade(&open));
        }
        Ok(open)
    }

    /// Opens a file to write, whole or not at all, whatever uploads are allowed. An existing one is replaced in the
    /// end, and keeps its permissions; a link of this name is replaced, and not what it leads to.
    ///
    /// Where the file system has no unnamed files, a process that is killed leaves a `.rtftp-….part` beside it; the
    /// next call for the same directory removes it.
    pub fn replace(&self, path: &Path) -> Result<Box<dyn Sink>, StoreError> {
        let root = self.root.now(&self.rules.notices)?;
        let upload = self.rules.replace(&root.dir, path)?;
        if let Some(place) = upload.place() {
            sweep(place, limits::SWEPT_NAMES, 1);
        }
        Ok(Box::new(upload))
    }

    /// Removes the `.rtftp-….part` files that killed processes left beneath the root, and tells how many. Uploads of
    /// living processes are not touched, not even those of other servers of this folder.
    pub fn sweep(&self) -> usize {
        let root = self.root.last_known();
        sweep(&root.dir, limits::SWEPT_NAMES, limits::SWEPT_DEPTH)
    }

    /// The query for what is there in letters of another size than it asks for, if that counts and what it asks for is not
    /// there.
    fn in_its_letters<'a>(
        &self,
        served: &Served,
        query: &'a Query,
    ) -> Result<Cow<'a, Query>, StoreError> {
        let name = query.path()?;
        let look = |path: &Path| Ok(self.see(served, path)?);
        let is_missing = || matches!(name.find(served.paths(), look), Err(StoreError::NotFound));
        if !self.ignore_case || !is_missing() {
            return Ok(Cow::Borrowed(query));
        }
        let mut search = Search::new(served.dir(), self.rules.how);
        Ok(match search.path(&name, served.paths())? {
            None => Cow::Borrowed(query),
            Some(path) => {
                let slash = if name.is_directory() { "/" } else { "" };
                let name = [path.as_os_str().as_bytes(), slash.as_bytes()].concat().into();
                Cow::Owned(Query { name, ..query.clone() })
            }
        })
    }

    /// What is not there, with what may have been meant, where one look or two find it: the name in letters of the other
    /// size, or without the directory in front.
    fn not_found(&self, served: &Served, name: &RootedPath) -> StoreError {
        let Some((within, last)) = name.split() else { return StoreError::NotFound };
        let letters = last.as_bytes();
        let is_large = letters.iter().any(u8::is_ascii_uppercase);
        let other =
            if is_large { letters.to_ascii_lowercase() } else { letters.to_ascii_uppercase() };
        let of_other_size =
            (other != letters).then(|| within.path().join(OsStr::from_bytes(&other)));
        let mut parts = within.path().components();
        let below = parts.next().map(|_| parts.as_path().join(last));
        let is_file = |path: &PathBuf| {
            let seen = self.see(served, path);
            seen.is_ok_and(|seen| FileKind::of(&seen.about) == FileKind::Regular)
        };
        match [of_other_size, below].into_iter().flatten().find(is_file) {
            None => StoreError::NotFound,
            Some(near) => {
                let near = Filename::from(near.as_os_str().as_bytes());
                let missing = StoreError::refused(ErrorCode::NotFound, ErrorCode::NotFound.text());
                missing.because(format!("not found, but '{near}' is there"))
            }
        }
    }

    /// An entry of a listing, unless it is something that a read would not get.
    fn entry(
        &self,
        served: &Served,
        dir: &Dir,
        path: &Path,
        name: &OsStr,
    ) -> io::Result<Option<Entry>> {
        let hidden = name.as_bytes().first() == Some(&b'.');
        if hidden || !is_listable(name) {
            return Ok(None);
        }
        let (about, may_read) = match self.look(served, dir, path, name) {
            Ok(found) => found,
            Err(error) if is_shortage(&error) => return Err(error),
            Err(_) => return Ok(None),
        };
        let (kind, size) = match FileKind::of(&about) {
            FileKind::Regular => (Kind::File, about.st_size as u64),
            FileKind::Directory => (Kind::Directory, 0),
            _ => return Ok(None),
        };
        let entry = || Entry { name: name.to_owned(), kind, size, modified: modified(&about) };
        Ok(may_read.then(entry))
    }

    /// What a name in a listing stands for, and whether a read would get it.
    fn look(
        &self,
        served: &Served,
        dir: &Dir,
        path: &Path,
        name: &OsStr,
    ) -> io::Result<(Stat, bool)> {
        let mut about = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let wanted = |about: &Stat| match FileKind::of(about) {
            FileKind::Directory => Access::READ_OK | Access::EXEC_OK,
            _ => Access::READ_OK,
        };
        if FileType::from_raw_mode(about.st_mode) != FileType::Symlink {
            let may = self.may(dir, Path::new(name), &about, wanted(&about));
            return Ok((about, may));
        }
        let link = path.join(name);
        let seen = self.see(served, &link)?;
        about = seen.about;
        let place = match beneath::resolve(served.dir(), &link, false) {
            // Another folder has it.
            Err(error) if beneath::leads_out(&error) => seen.name(),
            place => place?,
        };
        Ok((about, self.may(served.dir(), &place, &about, wanted(&about))))
    }
}

impl Folder {
    /// Opens the file that `query` names in the client's own directory, which is not there and is made with it.
    fn write_to_new(&self, query: &Query, rules: &Rules) -> Result<Box<dyn Sink>, StoreError> {
        let root = self.root.now(&self.rules.notices)?;
        let place = self.below.as_ref().and_then(|below| below.of(query));
        let place = place.ok_or_else(StoreError::no_such_directory)?;
        let name = query.path()?;
        // Whose backslashes would lead out has no other meaning here.
        name.slashed().transpose()?;
        let mut path = place.join(name.with_slashes()).into_os_string();
        if name.is_directory() {
            path.push("/");
        }
        let query = Query { name: path.as_bytes().into(), ..query.clone() };
        Ok(Box::new(rules.open(&root.dir, &[], &query)?))
    }

    /// Opens the file that `query` names, to write it under these rules.
    fn write_by(&self, query: &Query, rules: &Rules) -> Result<Box<dyn Sink>, StoreError> {
        match self.served(query) {
            Err(StoreError::NotFound) if rules.create_dirs => self.write_to_new(query, rules),
            served => {
                let served = served.map_err(|error| match error {
                    StoreError::NotFound => StoreError::no_such_directory(),
                    other => other,
                })?;
                let query = self.in_its_letters(&served, query)?;
                let upload = rules.open(served.dir(), served.paths(), &query)?;
                Ok(Box::new(upload.within(served.place(Path::new("")))))
            }
        }
    }
}

/// Root may read it, and clients of a server that is root may not.
fn not_for_all() -> StoreError {
    StoreError::no_permission()
        .because("no permission: the server is root, and not every user may read it (chmod o+r)")
}

/// When it was last changed.
fn modified(about: &Stat) -> SystemTime {
    let span = Duration::new(about.st_mtime.unsigned_abs(), 0);
    let time = if about.st_mtime < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(span)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(span)
    };
    let rest = Duration::from_nanos(about.st_mtime_nsec);
    time.and_then(|time| time.checked_add(rest)).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Store for Folder {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let served = self.served(query)?;
        let query = self.in_its_letters(&served, query)?;
        let name = query.path()?;
        let found = name.find(served.paths(), |path| Ok(self.see(&served, path)?));
        let (path, seen) = found.map_err(|error| match error {
            StoreError::NotFound => self.not_found(&served, &name),
            other => other,
        })?;
        if name.is_directory() && FileKind::of(&seen.about) == FileKind::Regular {
            return Err(StoreError::NotFound);
        }
        let is_file = FileKind::of(&seen.about) == FileKind::Regular;
        if self.is_for_others()
            && is_file
            && !self.may(served.dir(), path, &seen.about, Access::READ_OK)
        {
            return Err(not_for_all());
        }
        let file = self.opened(&served, path, &seen)?;
        let (contents, place) = (Contents::new(file, &seen.about), served.place(path));
        let at = place.clone();
        let contents = contents.found(served.into_root(), place, &seen.about, self.growing);
        let file = Readable::contents(contents).at(at);
        Ok(match query {
            Cow::Owned(other) => file.found(other.name),
            Cow::Borrowed(_) => file,
        })
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        let Some(named) = self.name_of(query)? else {
            return self.write_by(query, &self.rules);
        };
        let mut rules = self.rules.clone();
        if named.is_numbered() && rules.uploads == Uploads::Overwrite {
            rules.uploads = Uploads::Create;
        }
        let sink = self.write_by(&named.query, &rules)?;
        Ok(named.sink(sink, self.rules.notices.clone()))
    }

    fn may_wait(&self, query: &Query) -> bool {
        let root = self.root.last_known();
        let place = match &self.below {
            None => Some(PathBuf::new()),
            Some(below) => below.of(query),
        };
        let Some(place) = place else { return false };
        let is_known = |path: &Path| {
            let is_known = beneath::is_known(&root.dir, &place.join(path));
            is_known.then_some(()).ok_or(StoreError::NotFound)
        };
        let own = if self.below.is_some() { &[][..] } else { &root.paths };
        root.may_wait() || query.path().is_ok_and(|name| name.find(own, is_known).is_err())
    }

    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        // A client's own directory is known to nobody by its path.
        let root = self.below.is_none().then(|| self.root.last_known())?;
        root.paths.iter().find_map(|own| path.strip_prefix(own).ok())
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let served = self.served(query)?;
        let query = self.in_its_letters(&served, query)?;
        let name = query.path()?;
        let found = name.find(served.paths(), |path| Ok(self.see(&served, path)?));
        let (path, seen) = found.map_err(|error| match error {
            StoreError::NotFound => StoreError::no_such_directory(),
            other => other,
        })?;
        if FileKind::of(&seen.about) != FileKind::Directory {
            return Err(StoreError::refused(ErrorCode::NotFound, "not a directory"));
        }
        let is_root = path.as_os_str().is_empty();
        if self.is_for_others()
            && !is_root
            && !self.may(served.dir(), path, &seen.about, Access::READ_OK)
        {
            return Err(not_for_all());
        }
        let dir =
            Dir::from(self.open_beneath(&served, path, OFlags::RDONLY | OFlags::DIRECTORY)?);
        self.recent.list(&dir, path, || {
            let names = dir.entries()?.map(|found| Ok(found?.file_name()));
            Listing::gather(names, |name| self.entry(&served, &dir, path, name))
        })
    }
}

#[cfg(test)]
mod tests;
