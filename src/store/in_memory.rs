//! Files that are kept in memory.

use super::error::TOO_LARGE;
use super::{Entry, Kind, Listing, Readable, RootedPath, Store, StoreError, Uploads};
use crate::limits;
use crate::query::Query;
use crate::transfer::{MayWait, Sink};
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A store in memory: files that a program brings along, or uploads that it takes to itself. A clone is the same store.
///
/// A directory is there as long as a file is in it.
#[derive(Clone, Debug)]
pub struct InMemory {
    contents: Arc<Mutex<Contents>>,
    uploads: Uploads,
    largest_upload: usize,
    most_bytes: usize,
    modified: SystemTime,
}

#[derive(Debug, Default)]
struct Contents {
    files: BTreeMap<PathBuf, Arc<[u8]>>,
    /// What the files and the uploads under way have together.
    used: usize,
}

/// What a file takes beside its name and its bytes.
const FILE_BYTES: usize = 128;

/// What a file of so many bytes takes.
fn cost(path: &Path, len: usize) -> usize {
    FILE_BYTES + path.as_os_str().len() + len
}

impl Contents {
    fn insert(&mut self, path: PathBuf, bytes: Arc<[u8]>) {
        self.used += cost(&path, bytes.len());
        self.remove(&path);
        self.files.insert(path, bytes);
    }

    fn remove(&mut self, path: &Path) -> Option<Arc<[u8]>> {
        let bytes = self.files.remove(path)?;
        self.used -= cost(path, bytes.len());
        Some(bytes)
    }

    /// Whether there may be a file of this name beside the directories and files that there are.
    fn check(&self, path: &Path) -> Result<(), StoreError> {
        if path.file_name().is_none() || self.is_directory(path) {
            return Err(StoreError::is_a_directory());
        }
        let mut above = path.ancestors().skip(1);
        if above.any(|directory| self.files.contains_key(directory)) {
            return Err(StoreError::NotFound);
        }
        Ok(())
    }

    /// Whether it is the root, or a file is below it.
    fn is_directory(&self, path: &Path) -> bool {
        let range = (Bound::Excluded(path), Bound::Unbounded);
        let next = self.files.range::<Path, _>(range).map(|(other, _)| other).next();
        path.as_os_str().is_empty() || next.is_some_and(|other| other.starts_with(path))
    }

    /// Whether there is a file or a directory of this name.
    fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_directory(path)
    }

    /// The path that a name stands for.
    fn find<'a>(&self, name: &'a RootedPath) -> Result<&'a Path, StoreError> {
        let look = |path: &Path| self.has(path).then_some(()).ok_or(StoreError::NotFound);
        Ok(name.find(&[], look)?.0)
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self {
            contents: Arc::default(),
            uploads: Uploads::Off,
            largest_upload: limits::UPLOAD_TO_MEMORY_BYTES,
            most_bytes: limits::STORE_IN_MEMORY_BYTES,
            modified: SystemTime::UNIX_EPOCH,
        }
    }
}

impl InMemory {
    /// A store without files that takes no uploads.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, or replaces it. Transfers under way go on with what they began with.
    ///
    /// The call fails where `name` leads out of the root, where it names a directory, and where a file is in place of a
    /// directory above it.
    pub fn insert(
        &self,
        name: impl AsRef<[u8]>,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<(), StoreError> {
        let path = RootedPath::parse(name.as_ref())?;
        let mut contents = self.contents();
        contents.check(path.path())?;
        contents.insert(path.path().to_owned(), bytes.into());
        Ok(())
    }

    /// The bytes of a file.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Arc<[u8]>> {
        self.contents().files.get(RootedPath::parse(name.as_ref()).ok()?.path()).cloned()
    }

    /// Removes a file and gives its bytes.
    pub fn remove(&self, name: impl AsRef<[u8]>) -> Option<Arc<[u8]>> {
        self.contents().remove(RootedPath::parse(name.as_ref()).ok()?.path())
    }

    /// What clients may write.
    #[must_use]
    pub const fn uploads(mut self, uploads: Uploads) -> Self {
        self.uploads = uploads;
        self
    }

    /// The most bytes of one upload, 16 MiB unless set.
    #[must_use]
    pub const fn largest_upload(mut self, bytes: usize) -> Self {
        self.largest_upload = bytes;
        self
    }

    /// The most memory of all files, with their names, and of all uploads under way, 256 MiB unless set. Beyond it no
    /// upload is taken.
    #[must_use]
    pub const fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The time of change that listings tell of all files, the epoch unless set.
    #[must_use]
    pub const fn modified(mut self, time: SystemTime) -> Self {
        self.modified = time;
        self
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for InMemory {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let name = query.path()?;
        let contents = self.contents();
        let path = contents.find(&name)?;
        match contents.files.get(path) {
            // The bytes are no memory of this transfer alone.
            Some(bytes) => Ok(Readable::bytes(Arc::clone(bytes)).held(0)),
            None => Err(StoreError::is_a_directory()),
        }
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        if self.uploads == Uploads::Off {
            return Err(StoreError::uploads_off());
        }
        let name = query.path()?;
        if name.is_directory() {
            return Err(StoreError::is_a_directory());
        }
        let mut contents = self.contents();
        let path = match contents.find(&name) {
            Err(StoreError::NotFound) => name.new_path(&[], |part| contents.has(part))?,
            found => found?,
        };
        contents.check(path)?;
        if self.uploads == Uploads::Create && contents.files.contains_key(path) {
            return Err(StoreError::Exists);
        }
        if self.uploads == Uploads::Existing && !contents.files.contains_key(path) {
            return Err(StoreError::no_new_files());
        }
        let room = self.most_bytes.saturating_sub(contents.used);
        let told = query.announced_size().unwrap_or_default();
        let told = usize::try_from(told).unwrap_or(usize::MAX);
        if told > self.largest_upload || told > room.saturating_sub(cost(path, 0)) {
            return Err(StoreError::too_large());
        }
        if room < cost(path, 0) {
            return Err(StoreError::full("the store is full"));
        }
        contents.used += cost(path, 0);
        let (store, path) = (self.clone(), path.to_owned());
        Ok(Box::new(Upload { store, path, bytes: Vec::new() }))
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let name = query.path()?;
        let contents = self.contents();
        let directory = contents.find(&name).ok().filter(|path| contents.is_directory(path));
        let directory = directory.ok_or_else(StoreError::no_such_directory)?;
        // All names below a directory stand in a row, and each of its own once among them.
        let below = contents.files.keys().filter_map(|path| path.strip_prefix(directory).ok());
        let mut names: Vec<_> = below.filter_map(|below| below.iter().next()).collect();
        names.dedup();
        Listing::gather(names.into_iter().map(|name| Ok(name.to_owned())), |name| {
            let file = contents.files.get(&directory.join(name));
            let (kind, size) = match file {
                Some(bytes) => (Kind::File, bytes.len() as u64),
                None => (Kind::Directory, 0),
            };
            let entry = || Entry { name: name.to_owned(), kind, size, modified: self.modified };
            Ok((!name.as_bytes().starts_with(b".")).then(entry))
        })
    }

    fn may_wait(&self, _: &Query) -> bool {
        false
    }
}

/// A file that comes. It is in the store once it is whole; until then its memory counts, too.
struct Upload {
    store: InMemory,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Sink for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.len() + bytes.len() > self.store.largest_upload {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE));
        }
        let mut contents = self.store.contents();
        if bytes.len() > self.store.most_bytes.saturating_sub(contents.used) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        contents.used += bytes.len();
        drop(contents);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        let mut contents = self.store.contents();
        if self.store.uploads == Uploads::Create && contents.files.contains_key(&self.path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        contents.check(&self.path).map_err(io::Error::other)?;
        contents.insert(self.path.clone(), self.bytes.as_slice().into());
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.contents().used -= cost(&self.path, self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Source;
    use crate::wire::{Operation, Options, TransferOption};
    use std::io::IoSliceMut;
    use std::net::{IpAddr, Ipv4Addr};

    fn query(operation: Operation, name: &str) -> Query {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Query::new((local, 2000).into(), local, operation, name)
    }

    fn read(store: &InMemory, name: &str) -> Result<Vec<u8>, String> {
        let readable = store.read(&query(Operation::Read, name)).map_err(|e| e.to_string())?;
        let mut buffer = vec![0; 100];
        let size = readable.known_size();
        let (mut source, ..) = readable.into_parts();
        let len = source.try_read(&mut [IoSliceMut::new(&mut buffer)]).expect("memory");
        buffer.truncate(len.expect("memory never waits"));
        assert_eq!(size, Some(buffer.len() as u64));
        Ok(buffer)
    }

    fn store(files: &[&str]) -> InMemory {
        let store = InMemory::new();
        files.iter().for_each(|name| store.insert(name, name.as_bytes()).expect("a file"));
        store
    }

    #[test]
    fn files_are_found_by_all_spellings_of_their_names() {
        let store = store(&["a", "sub/b", "sub-c"]);
        for name in ["sub/b", "/sub/b", "sub//b", "sub\\b", "x/../sub/b"] {
            assert_eq!(read(&store, name), Ok(b"sub/b".to_vec()), "{name}");
        }
        assert_eq!(read(&store, "sub"), Err("is a directory".into()));
        assert_eq!(read(&store, "su"), Err("not found".into()));
        assert_eq!(read(&store, "../a"), Err("outside the folder".into()));
        assert!(store.insert("", *b"x").is_err() && store.insert("../x", *b"x").is_err());
        assert_eq!(store.remove("a").as_deref(), Some(&b"a"[..]));
        assert_eq!(read(&store, "a"), Err("not found".into()));
    }

    #[test]
    fn no_name_is_a_file_and_a_directory() {
        let store = store(&["a", "sub/b"]).uploads(Uploads::Overwrite);
        let refused = |name| store.insert(name, *b"x").map_err(|e| e.to_string());
        assert_eq!(refused("sub"), Err("is a directory".into()));
        for below in ["a/b", "a/b/c"] {
            assert_eq!(refused(below), Err("not found".into()), "{below}");
        }
        let [mut file, mut below] = ["x", "x/y"]
            .map(|name| store.write(&query(Operation::Write, name)).expect("neither is there yet"));
        assert!(below.commit().is_ok() && file.commit().is_err());
        assert!(store.get("x/y").is_some() && store.get("x").is_none());
    }

    #[test]
    fn a_directory_lists_its_files_and_the_directories_in_it_once() {
        let store = store(&["a", "sub/b", "sub/c", "sub/deep/d", "sub-c"]);
        let names = |directory| {
            let listing = store.list(&query(Operation::List, directory)).map_err(|e| e.to_string());
            let name = |entry: &Entry| (entry.name.display().to_string(), entry.size);
            listing.map(|listing| listing.entries.iter().map(name).collect::<Vec<_>>())
        };
        let told = |all: &[(&str, u64)]| Ok(all.iter().map(|(n, s)| ((*n).into(), *s)).collect());
        assert_eq!(names(""), told(&[("a", 1), ("sub", 0), ("sub-c", 5)]));
        assert_eq!(names("sub/"), told(&[("b", 5), ("c", 5), ("deep", 0)]));
        for name in ["a", "none"] {
            assert_eq!(names(name), Err("no such directory".into()), "{name}");
        }
    }

    fn upload(store: &InMemory, name: &str, bytes: &[u8]) -> Result<(), String> {
        let mut sink = store.write(&query(Operation::Write, name)).map_err(|e| e.to_string())?;
        let written = sink.write(bytes).and_then(|()| sink.commit());
        written.map_err(|error| error.kind().to_string())
    }

    #[test]
    fn an_upload_is_there_when_it_is_whole_and_only_where_it_is_allowed() {
        let off = store(&["a", "sub/b"]);
        assert_eq!(upload(&off, "new", b"x"), Err("uploads are off".into()));
        let create = off.clone().uploads(Uploads::Create);
        let mut first = create.write(&query(Operation::Write, "new")).expect("a sink");
        assert_eq!(first.may_wait(), MayWait::Never, "it is only memory");
        first.write(b"half").expect("memory");
        assert!(create.get("new").is_none(), "it is not whole");
        assert_eq!(upload(&create, "new", b"x"), Ok(()));
        assert_eq!(first.commit().map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(upload(&create, "a", b"x"), Err("exists already".into()));
        assert_eq!(upload(&create, "sub", b"x"), Err("is a directory".into()));
        let existing = off.clone().uploads(Uploads::Existing);
        assert_eq!(upload(&existing, "a", b"same"), Ok(()));
        assert_eq!(upload(&existing, "none", b"x"), Err("new files are not allowed".into()));
        let overwrite = off.clone().uploads(Uploads::Overwrite);
        assert_eq!(upload(&overwrite, "a", b"other"), Ok(()));
        assert_eq!(off.get("a").as_deref(), Some(&b"other"[..]), "a clone is the same store");
    }

    #[test]
    fn uploads_are_bounded_each_and_together_with_their_names() {
        let files = |n| 2 * FILE_BYTES + "old".len() + "old".len() + "new".len() + n;
        let store =
            store(&["old"]).uploads(Uploads::Overwrite).largest_upload(5).most_bytes(files(5));
        let said = |store: &InMemory, size| {
            let tsize = Options::NONE.with(TransferOption::TransferSize(size));
            let query = Query { options: tsize, ..query(Operation::Write, "new") };
            store.write(&query).map(drop).map_err(|error| error.to_string())
        };
        let too_large = || Err("larger than an upload may be".into());
        assert_eq!((said(&store, 5), said(&store, 6)), (Ok(()), too_large()));
        let tight = store.clone().most_bytes(files(4));
        assert_eq!((said(&tight, 4), said(&tight, 5)), (Ok(()), too_large()), "there is no room");
        assert_eq!(upload(&store, "new", b"123456"), Err(io::ErrorKind::FileTooLarge.to_string()));
        let mut half = store.write(&query(Operation::Write, "new")).expect("a sink");
        half.write(b"123").expect("there is room");
        assert!(half.write(b"456").is_err() && half.write(b"45").is_ok());
        let no_room = || Err("no room: the store is full".into());
        assert_eq!(upload(&store, "new", b""), no_room(), "what is under way counts, too");
        drop(half);
        let full = Err(io::ErrorKind::StorageFull.to_string());
        assert_eq!(upload(&store.clone().most_bytes(files(4)), "new", b"12345"), full);
        assert_eq!(store.contents().used, cost(Path::new("old"), 3), "what is given up is counted");
        assert_eq!(upload(&store, "new", b"12345"), Ok(()));
        assert_eq!(upload(&store, "", b""), Err("is a directory".into()));
        assert_eq!(upload(&store, "more", b""), no_room(), "a name has its price");
        store.remove("old").expect("a file");
        assert_eq!(upload(&store, "n", b"54321"), Ok(()), "there is room for what was removed");
        assert!(store.remove("n").is_some() && store.remove("new").is_some());
        assert_eq!(store.contents().used, 0);
        for bytes in [&b"1234"[..], b"12"] {
            store.insert("twice", bytes).expect("a file");
        }
        assert_eq!(store.contents().used, cost(Path::new("twice"), 2), "what is replaced is gone");
    }

    #[test]
    fn a_backslash_is_a_slash_unless_a_file_has_the_literal_name() {
        let store = store(&["a\\b", "dir/c"]).uploads(Uploads::Overwrite);
        assert_eq!(upload(&store, "a\\b", b"new"), Ok(()));
        assert_eq!(read(&store, "a\\b"), Ok(b"new".to_vec()));
        assert_eq!(upload(&store, "dir\\d", b"x"), Ok(()));
        assert_eq!(read(&store, "dir/d"), Ok(b"x".to_vec()));
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(7);
        let dated = store.clone().modified(time);
        let listed = dated.list(&query(Operation::List, "dir\\")).expect("a listing");
        assert_eq!(listed.entries.len(), 2);
        assert!(listed.entries.iter().all(|entry| entry.modified == time), "{listed:?}");
        assert_eq!(upload(&store, "dir/c/x", b"x"), Err("not found".into()), "below a file");
    }

    #[test]
    fn a_listing_looks_at_so_many_names_and_no_more() {
        for (hidden, cut) in [(limits::LISTING_NAMES - 1, false), (limits::LISTING_NAMES, true)] {
            let store = InMemory::new();
            for n in 0..hidden {
                store.insert(format!(".{n}"), *b"").expect("a name");
            }
            store.insert("seen", *b"").expect("a name");
            let listed = store.list(&query(Operation::List, "")).expect("a listing");
            assert_eq!((listed.entries.len(), listed.cut), (usize::from(!cut), cut));
        }
    }

    #[test]
    fn a_listing_leaves_out_what_cannot_stand_in_one() {
        let store = store(&["good", "bad\nname", ".hidden", "sub\u{1b}/x"]);
        let listed = store.list(&query(Operation::List, "")).expect("a listing");
        assert_eq!(listed.entries.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["good"]);
    }
}
