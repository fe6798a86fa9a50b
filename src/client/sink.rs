//! Where downloads go, and payloads that a second attempt may have.

use crate::store::{Folder, StoreError};
use crate::transfer::Sink;
use std::fmt;
use std::io::{self, IoSliceMut, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sink that writes to anything that takes bytes.
///
/// What was written stays when the transfer fails: where that matters, take a [`WholeFile`].
#[derive(Clone, Debug, Default)]
pub struct Writer<W>(pub W);

impl<W: Write + Send> Sink for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn commit(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A file that is there whole or not at all: until the download is complete its name has what it had before.
pub struct WholeFile(Box<dyn Sink>);

impl WholeFile {
    /// A file that will be at `path`, where it replaces what is there. A link is replaced, and not what it leads to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let name = path.file_name().ok_or(StoreError::Denied("a directory"))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder =
            Folder::open(parent.unwrap_or_else(|| Path::new("."))).map_err(StoreError::Io)?;
        folder.largest_upload(u64::MAX).replace(Path::new(name)).map(Self)
    }
}

impl Sink for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }
    fn commit(&mut self) -> io::Result<()> {
        self.0.commit()
    }
}

impl fmt::Debug for WholeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeFile").finish_non_exhaustive()
    }
}

/// A payload that outlives the transfer it is lent to, so that another can have it, if this one left it alone.
#[derive(Debug)]
pub(super) struct Lent<T>(Arc<Mutex<Loan<T>>>);

#[derive(Debug)]
struct Loan<T> {
    payload: T,
    touched: bool,
}

impl<T> Lent<T> {
    pub(super) fn new(payload: T) -> Self {
        Self(Arc::new(Mutex::new(Loan { payload, touched: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Loan<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_touched(&self) -> bool {
        self.lock().touched
    }

    fn touch<U>(&self, use_it: impl FnOnce(&mut T) -> U) -> U {
        let mut loan = self.lock();
        loan.touched = true;
        use_it(&mut loan.payload)
    }
}

impl<T> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Sink> Sink for Lent<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.touch(|sink| sink.write(bytes))
    }
    fn commit(&mut self) -> io::Result<()> {
        self.touch(Sink::commit)
    }
}

impl<T: Read> Read for Lent<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.touch(|source| source.read(buf))
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.touch(|source| source.read_vectored(bufs))
    }
}

/// A file on its way into memory, of which no server may fill more than a part.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Mutex<Bounded>>);

#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    exceeded: bool,
}

impl Memory {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Bounded { bytes: Vec::new(), most, exceeded: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Bounded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more came than it takes.
    pub(super) fn is_exceeded(&self) -> bool {
        self.lock().exceeded
    }

    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().bytes)
    }
}

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.lock();
        if bytes.len() > memory.most - memory.bytes.len() {
            memory.exceeded = true;
            return Err(io::Error::other("the file is too long"));
        }
        memory.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}
