//! What is sent: where its bytes come from, and whether reading them may wait.

use crate::limits;
use std::io::{self, IoSliceMut, Read};
use std::ops::Range;

/// A file, or whatever else is sent from its first byte to its last.
///
/// An event loop calls [`try_read`](Self::try_read) and must never be held up by it; where that gives `None`,
/// [`read`](Self::read) is called on a thread that may wait. A source that implements only `read` is therefore right
/// under every driver. [`Blocking`] makes one of any [`Read`], [`Memory`] one of bytes.
pub trait Source: Send {
    /// Reads the next bytes into `bufs`, in order, and tells how many came; 0 is the end of the file. It may wait.
    ///
    /// A file that lost bytes since it was opened must give an error instead of an early end: it would look complete.
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Reads as [`read`](Self::read) does if that is possible without waiting, and gives `None` if it is not. After `None`
    /// either of the two may be called.
    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let _ = bufs;
        Ok(None)
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (**self).read(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        (**self).try_read(bufs)
    }
}

/// A source made of any reader. Each of its reads may wait; what one of them gave is then there without waiting.
#[derive(Debug)]
pub struct Blocking<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The part of the buffer that has not been given out.
    unread: Range<usize>,
}

impl<R> Blocking<R> {
    /// Sends what `reader` gives, to its end.
    pub const fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), unread: 0..0 }
    }

    /// Gives out what was read before.
    fn give(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let given = (&self.buffer[self.unread.clone()]).read_vectored(bufs)?;
        self.unread.start += given;
        Ok(given)
    }
}

impl<R: Read + Send> Source for Blocking<R> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.buffer.resize(limits::BLOCKING_READ_BYTES, 0);
            self.unread = 0..self.reader.read(&mut self.buffer)?;
        }
        self.give(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        if self.unread.is_empty() { Ok(None) } else { self.give(bufs).map(Some) }
    }
}

/// A source made of bytes in memory. Its reads never wait.
#[derive(Clone, Debug, Default)]
pub struct Memory<B> {
    bytes: B,
    at: usize,
}

impl<B: AsRef<[u8]>> Memory<B> {
    /// Sends `bytes` from the first to the last.
    pub const fn new(bytes: B) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<B: AsRef<[u8]> + Send> Source for Memory<B> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut rest = self.bytes.as_ref().get(self.at..).unwrap_or_default();
        let read = rest.read_vectored(bufs)?;
        self.at += read;
        Ok(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.read(bufs).map(Some)
    }
}
