//! Where files come from and where they go.
//!
//! This module knows names, folders and listings. It must not know packets' timing, sockets or transfers under
//! way: it opens a source, a sink or a listing and forgets it.

mod attributes;
mod beneath;
mod check;
mod contents;
#[cfg(test)]
pub(crate) mod crash;
mod dir;
mod disk;
mod error;
mod generated;
mod in_memory;
mod in_order;
mod letters;
mod listing;
mod naming;
mod notice;
mod path;
mod recent;
mod remote;
mod root;
mod served;
mod spool;
mod stream;
mod temporary;
mod upload;
mod versions;
mod whole_file;

pub use check::WholeUpload;
pub use dir::Folder;
pub use error::StoreError;
pub(crate) use error::{SERVER_ERROR, is_shortage};
pub use generated::Generated;
pub use in_memory::InMemory;
pub use in_order::InOrder;
pub use listing::{Entry, Kind, Listing, ListingError};
pub use naming::UploadName;
pub use notice::Notice;
pub use path::RootedPath;
pub use spool::spool_directories;
pub use upload::Uploads;
pub use whole_file::WholeFile;

use crate::limits;
use crate::query::Query;
use crate::transfer::{Blocking, Memory, Sink, Source};
use crate::wire::Filename;
use std::fmt;
use std::io::{self, IoSliceMut, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place that has files. A server asks it with the whole [`Query`], so that what is served may depend on the client;
/// what it does not allow it refuses.
///
/// A store is right under every driver if it implements [`read`](Self::read) alone. A panic in it ends the one transfer
/// that it was called for.
pub trait Store: Send + Sync {
    /// Opens the file that `query` names, to send it.
    fn read(&self, query: &Query) -> Result<Readable, StoreError>;

    /// Opens a place for the file that `query` names to come to; [`Query::announced_size`] is what the client says of
    /// its size.
    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        let _ = query;
        Err(StoreError::uploads_off())
    }

    /// Lists the directory that `query` names. For a read of the generated listing of a directory, that directory is
    /// named.
    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let _ = query;
        Err(StoreError::NotFound)
    }

    /// Whether [`read`](Self::read) may wait, for a disk or a network, for what `query` names. It is then called where that
    /// holds nobody up; [`write`](Self::write) and [`list`](Self::list) always are. This itself must not wait.
    fn may_wait(&self, query: &Query) -> bool {
        let _ = query;
        true
    }

    /// What is left of `path` behind the path of the store itself, where it is asked for names that begin with that: by
    /// clients that know it as the server does. A policy that decides by names wants to know what one stands for.
    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let _ = path;
        None
    }
}

/// A store that others use, too.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        (**self).read(query)
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        (**self).write(query)
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        (**self).list(query)
    }

    fn may_wait(&self, query: &Query) -> bool {
        (**self).may_wait(query)
    }

    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        (**self).inside(path)
    }
}

/// A store of a type that is not known before.
impl<S: Store + ?Sized> Store for Box<S> {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        (**self).read(query)
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        (**self).write(query)
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        (**self).list(query)
    }

    fn may_wait(&self, query: &Query) -> bool {
        (**self).may_wait(query)
    }

    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        (**self).inside(path)
    }
}

/// A file that is open for reading.
pub struct Readable {
    source: Box<dyn Source>,
    size: Option<u64>,
    held: usize,
    found: Option<Filename>,
    place: Option<PathBuf>,
}

impl Readable {
    /// What `source` gives, however long it is. A client that asks for the size (`tsize`) is not told.
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), size: None, held: 0, found: None, place: None }
    }

    /// What `reader` gives, however long it is. Each of its reads may wait. It counts as
    /// [holding](Self::held) the 64 KiB that are read at once.
    pub fn blocking(reader: impl Read + Send + 'static) -> Self {
        Self::new(Blocking::new(reader)).held(limits::BLOCKING_READ_BYTES)
    }

    /// These bytes, which count as [held](Self::held).
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        let source = Memory::new(bytes);
        let held = source.len();
        Self { held, ..Self::exact(source, held as u64) }
    }

    /// What `source` gives, which is known to be `size` bytes or an error.
    fn exact(source: impl Source + 'static, size: u64) -> Self {
        Self { size: Some(size), ..Self::new(source) }
    }

    /// Tells clients that it has exactly `bytes` bytes. A source that ends before, or goes on behind them, fails the
    /// transfer: what the client got would look complete.
    #[must_use]
    pub fn size(self, bytes: u64) -> Self {
        let source = Box::new(Exact { source: self.source, left: bytes });
        Self { source, size: Some(bytes), ..self }
    }

    /// How many bytes it has, where that is known.
    pub const fn known_size(&self) -> Option<u64> {
        self.size
    }

    /// Tells the server how many bytes of memory the source holds for this transfer alone. They come out of
    /// [`Config::windows_bytes`](crate::server::Config::windows_bytes), of which one network whose clients have not answered
    /// may have a quarter; what holds more than that is refused, and what does not fit the rest is not answered yet.
    #[must_use]
    pub const fn held(mut self, bytes: usize) -> Self {
        self.held = bytes;
        self
    }

    /// Tells that the store has it under another name than the one that it was asked for. Who is told of the transfer
    /// hears of it.
    #[must_use]
    pub fn found(mut self, name: impl Into<Filename>) -> Self {
        self.found = Some(name.into());
        self
    }

    /// The name under which the store has it, where that is not the one that it was asked for.
    pub const fn found_name(&self) -> Option<&Filename> {
        self.found.as_ref()
    }

    /// Tells where below its root the store has it.
    pub(super) fn at(mut self, place: PathBuf) -> Self {
        self.place = Some(place);
        self
    }

    /// Where below its root the store has it, if it is a [`Folder`].
    pub fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }

    /// The source, its size where that is known, and the bytes of memory that it holds.
    pub fn into_parts(self) -> (Box<dyn Source>, Option<u64>, usize) {
        (self.source, self.size, self.held)
    }
}

/// A source that has exactly so many bytes left, or else an error.
struct Exact {
    source: Box<dyn Source>,
    left: u64,
}

impl Exact {
    fn count(&mut self, read: usize) -> io::Result<usize> {
        self.left = match self.left.checked_sub(read as u64) {
            Some(1..) if read == 0 => {
                let why = "the file ended before the size that was told of it";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            Some(left) => left,
            None => return Err(io::Error::other("the file is longer than was told of it")),
        };
        Ok(read)
    }
}

impl Source for Exact {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.source.read(bufs)?;
        self.count(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let read = self.source.try_read(bufs)?;
        read.map(|read| self.count(read)).transpose()
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LISTING_BYTES;
    use crate::wire::Operation;

    #[test]
    fn the_line_that_counts_the_entries_of_a_listing_has_room_beside_them_however_much_they_leave()
    {
        let entries = |last: usize| {
            let names =
                (0..40).map(|n| format!("{n:020000}")).chain(["x".repeat(last), "y".into()]);
            let (kind, size, modified) = (Kind::File, 1, std::time::SystemTime::UNIX_EPOCH);
            names.map(move |name| Entry { name: name.into(), kind, size, modified }).collect()
        };
        for form in [Listing::to_json, Listing::to_text] {
            let len = |last| form(&Listing::new(entries(last), false)).len();
            let about = LISTING_BYTES - len(1);
            for last in (about - 100..about + 100).step_by(5) {
                let len = len(last);
                assert!(len <= LISTING_BYTES, "{len} bytes, {last} of the last name");
            }
        }
    }

    /// One of which each answer is another one than that of a store that only reads.
    struct Own;

    impl Store for Own {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::denied("read"))
        }

        fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
            Err(StoreError::denied("write"))
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Err(StoreError::denied("list"))
        }

        fn may_wait(&self, _: &Query) -> bool {
            false
        }

        fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
            Some(path)
        }
    }

    #[test]
    fn a_store_that_is_shared_or_boxed_is_asked_itself() {
        let query =
            Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), Operation::Read, "a");
        let (shared, boxed): (Arc<dyn Store>, Box<dyn Store>) = (Arc::new(Own), Box::new(Own));
        let said = |store: &dyn Store| {
            let read = store.read(&query).map(drop).map_err(|error| error.to_string());
            let write = store.write(&query).map(drop).map_err(|error| error.to_string());
            let list = store.list(&query).map(drop).map_err(|error| error.to_string());
            (read, write, list, store.may_wait(&query), store.inside(Path::new("a")))
        };
        let own = said(&Own);
        assert_eq!([said(&shared), said(&boxed)], [own.clone(), own]);
    }

    #[test]
    fn what_is_made_at_once_is_made_where_requests_are_taken_and_all_else_may_wait() {
        let query =
            Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), Operation::Read, "a");
        let make = |_: &Query| Err(StoreError::NotFound);
        let waits = [Generated::new(make), Generated::at_once(make)].map(|it| it.may_wait(&query));
        assert_eq!(waits, [true, false]);
    }

    #[test]
    fn what_is_told_of_a_file_stays_whatever_else_is_told() {
        let file = Readable::bytes(b"few").held(7).found("b").at("d/b".into()).size(3);
        assert_eq!(file.found_name(), Some(&"b".into()));
        assert_eq!((file.place(), file.known_size()), (Some(Path::new("d/b")), Some(3)));
        assert_eq!(file.into_parts().2, 7, "bytes that it holds");
        assert_eq!(Readable::bytes(b"few").into_parts().2, 3);
        let reader = Readable::blocking(io::empty());
        assert_eq!((reader.known_size(), reader.held), (None, limits::BLOCKING_READ_BYTES));
    }
}
