//! Payloads that a second attempt may have, and files that go to memory.

use crate::transfer::{MayWait, Sink, Source};
use std::io::{self, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A payload that outlives its transfer, so that another transfer can have it if the first has not used it.
#[derive(Debug)]
pub(super) struct Reusable<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    payload: T,
    is_used: bool,
}

impl<T> Reusable<T> {
    pub(super) fn new(payload: T) -> Self {
        Self(Arc::new(Mutex::new(Inner { payload, is_used: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_used(&self) -> bool {
        self.lock().is_used
    }

    fn using<U>(&self, use_it: impl FnOnce(&mut T) -> U) -> U {
        let mut inner = self.lock();
        inner.is_used = true;
        use_it(&mut inner.payload)
    }
}

impl<T> Clone for Reusable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Sink> Sink for Reusable<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.using(|sink| sink.write(bytes))
    }

    fn commit(&mut self) -> io::Result<()> {
        self.using(Sink::commit)
    }

    fn may_wait(&self) -> MayWait {
        self.lock().payload.may_wait()
    }
}

impl<T: Source> Source for Reusable<T> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.using(|source| source.read(bufs))
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.using(|source| source.try_read(bufs))
    }
}

/// A file on its way into memory, of which no server may fill more than a part.
#[derive(Clone, Debug)]
pub(super) struct BoundedMemory(Arc<Mutex<Bounded>>);

#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    exceeded: bool,
}

impl BoundedMemory {
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

impl Sink for BoundedMemory {
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

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}
