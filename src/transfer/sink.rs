//! What is received: where its bytes go, and what of that may wait.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What of a [`Sink`] may wait, for a disk or for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MayWait {
    /// Nothing: memory.
    Never,
    /// [`commit`](Sink::commit), and [`write`](Sink::write) seldom: a file whose bytes go to the system's cache first. They
    /// come in pieces that are worth a hand-over to another thread.
    OnCommit,
    /// As [`OnCommit`](Self::OnCommit), and [`commit`](Sink::commit) for seconds, because it asks somebody else. No other
    /// transfer's disk waits behind it.
    OnCommitForLong,
    /// Both [`write`](Sink::write) and [`commit`](Sink::commit).
    Always,
}

/// Where received bytes go. They count for nothing until [`commit`](Self::commit): a sink that is dropped before that
/// must leave no trace.
pub trait Sink: Send {
    /// Takes the next bytes of the file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file last and makes it visible: all of its bytes have been written. After an error it is not called
    /// again.
    fn commit(&mut self) -> io::Result<()>;

    /// What of this may wait: always the same, and asked before the first write. An event loop has that done on another
    /// thread.
    /// Without a word of its own a sink is taken to wait always, which is right for all of them and slower than it need
    /// be for some.
    fn may_wait(&self) -> MayWait {
        MayWait::Always
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).write(bytes)
    }

    fn commit(&mut self) -> io::Result<()> {
        (**self).commit()
    }

    fn may_wait(&self) -> MayWait {
        (**self).may_wait()
    }
}

/// A sink made of any writer: a pipe, a terminal, a socket. What it was given it cannot take back, so that after a
/// failure a part of the file has been written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writer<W>(pub W);

impl<W: Write + Send> Sink for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Bytes in memory, without a bound: for files whose size is known to be small.
impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}

/// A sink that its owner can look into when the transfer is over.
impl<S: Sink> Sink for Arc<Mutex<S>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        locked(self).write(bytes)
    }

    fn commit(&mut self) -> io::Result<()> {
        locked(self).commit()
    }

    fn may_wait(&self) -> MayWait {
        locked(self).may_wait()
    }
}

fn locked<S>(sink: &Mutex<S>) -> MutexGuard<'_, S> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that keeps nothing: to measure, or to probe a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}
