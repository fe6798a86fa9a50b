//! The bytes of a regular file on their way out.

use super::Readable;
use crate::transfer::Source;
use std::io::{self, IoSliceMut};
use std::sync::Arc;

impl Readable {
    /// The regular file `file`, as long as it is now. One that grows is sent with that length, and one that shrinks fails
    /// the transfer.
    pub fn file(file: std::fs::File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::exact(Contents::new(Arc::new(file), size, false), size))
    }
}

/// A file as long as it was when it was opened: what grows is sent with that length, what shrinks is an error.
pub(super) struct Contents {
    file: Arc<std::fs::File>,
    /// What is read next, and where it ends.
    at: u64,
    end: u64,
    /// Whether the file system can read without waiting, as far as is known.
    has_nowait: bool,
    /// Whether one that cannot may wait for a network.
    is_remote: bool,
}

impl Contents {
    pub(super) const fn new(file: Arc<std::fs::File>, size: u64, is_remote: bool) -> Self {
        Self { file, at: 0, end: size, has_nowait: true, is_remote }
    }

    /// So many bytes were read behind `at`.
    fn advance(&mut self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            return Err(io::Error::other("the file became shorter while it was sent"));
        }
        let bytes = (self.end - self.at).min(bytes as u64);
        self.at += bytes;
        Ok(bytes as usize)
    }
}

impl Source for Contents {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.at == self.end {
            return Ok(0);
        }
        let read = rustix::io::preadv(&self.file, bufs, self.at)?;
        self.advance(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags};
        if self.at == self.end {
            return Ok(Some(0));
        }
        if self.has_nowait {
            match rustix::io::preadv2(&self.file, bufs, self.at, ReadWriteFlags::NOWAIT) {
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.has_nowait = false,
                read => return self.advance(read?).map(Some),
            }
        }
        // A file system of this machine that cannot tell is one in memory, more or less.
        if self.is_remote { Ok(None) } else { self.read(bufs).map(Some) }
    }
}
