//! The only way into code that others wrote: stores, sources, sinks, policies and observers. A panic in it ends the one
//! transfer that it was called for, and no thread or loop.

use crate::transfer::{MayWait, PeerWords, Sink, Source};
use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The code that was called panicked. What it was about to do is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a panic in the code that serves the file")]
pub(super) struct Panicked;

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Calls what others wrote. A value that a panic left halfway is not used again by the callers of this.
pub(super) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        // To drop what it panicked with could be a panic, too.
        std::mem::forget(payload);
        Panicked
    })
}

/// An error without code of others, whose words are made, and may panic, when they are shown.
fn plain(error: io::Error) -> io::Error {
    match error.get_ref() {
        _ if PeerWords::of(&error).is_some() => error,
        Some(_) => io::Error::new(error.kind(), error.to_string()),
        None => error,
    }
}

/// A source or a sink that others wrote. It is there until it is dropped.
pub(super) struct Guarded<S> {
    inner: Option<S>,
    /// Whether a call that could not drop it has panicked.
    is_broken: Cell<bool>,
}

impl<S> Guarded<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner: Some(inner), is_broken: Cell::new(false) }
    }

    /// Calls it. After a panic it is gone, for who knows in which state it would be.
    fn call<T>(&mut self, call: impl FnOnce(&mut S) -> io::Result<T>) -> io::Result<T> {
        if self.is_broken.get() {
            self.drop_inner();
        }
        let inner = self.inner.as_mut().ok_or(Panicked)?;
        let done = guard(|| call(inner).map_err(plain));
        if done.is_err() {
            self.drop_inner();
        }
        done?
    }

    fn drop_inner(&mut self) {
        let inner = self.inner.take();
        let _ = guard(move || drop(inner));
    }
}

/// A source that tells of more bytes than there was room for has not said what they are.
fn within(room: usize, read: usize) -> io::Result<usize> {
    if read <= room {
        Ok(read)
    } else {
        Err(io::Error::other("the source tells of more bytes than it was asked for"))
    }
}

fn room(bufs: &[IoSliceMut<'_>]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.drop_inner();
    }
}

impl<S: Source> Source for Guarded<S> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.call(|source| within(room(bufs), source.read(bufs)?))
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.call(|source| source.try_read(bufs)?.map(|read| within(room(bufs), read)).transpose())
    }
}

impl<S: Sink> Sink for Guarded<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.call(|sink| sink.write(bytes))
    }

    fn commit(&mut self) -> io::Result<()> {
        self.call(Sink::commit)
    }

    fn may_wait(&self) -> MayWait {
        let Some(sink) = self.inner.as_ref().filter(|_| !self.is_broken.get()) else {
            return MayWait::Never;
        };
        // Nothing but an error comes of it any more, and that at once.
        guard(|| sink.may_wait()).unwrap_or_else(|_| {
            self.is_broken.set(true);
            MayWait::Never
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics where it is told to.
    struct Panics(&'static str);

    impl Panics {
        fn at(&self, place: &str) {
            assert_ne!(self.0, place, "it was told to");
        }
    }

    impl Source for Panics {
        fn read(&mut self, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            self.at("read");
            Ok(0)
        }
    }

    impl Sink for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            self.at("write");
            Ok(())
        }

        fn commit(&mut self) -> io::Result<()> {
            self.at("commit");
            Ok(())
        }

        fn may_wait(&self) -> MayWait {
            self.at("may_wait");
            MayWait::Never
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            self.at("drop");
        }
    }

    #[test]
    fn a_panic_in_a_source_or_a_sink_is_an_error_and_the_last_call_it_gets() {
        let mut source = Guarded::new(Panics("read"));
        assert!(source.read(&mut []).is_err() && source.read(&mut []).is_err());
        assert!(source.inner.is_none(), "it is gone");
        assert!(matches!(Guarded::new(Panics("write")).try_read(&mut []), Ok(None)));
        for place in ["write", "commit"] {
            let mut sink = Guarded::new(Panics(place));
            let done = sink.write(b"x").and_then(|()| sink.commit());
            assert_eq!(done.map_err(|error| error.to_string()), Err(Panicked.to_string()));
        }
        let mut sink = Guarded::new(Panics("may_wait"));
        assert_eq!(sink.may_wait(), MayWait::Never);
        assert!(sink.write(b"x").is_err() && sink.inner.is_none(), "it is gone, too");
        assert_eq!(Guarded::new(Panics("none")).may_wait(), MayWait::Never);
        drop(Guarded::new(Panics("drop")));
    }

    #[test]
    fn an_error_keeps_the_words_that_the_client_is_told_and_no_code_of_others() {
        const WORDS: PeerWords = PeerWords("the file became shorter");
        let told = plain(WORDS.into());
        assert_eq!(PeerWords::of(&told).map(|words| words.0), Some(WORDS.0));
        let plain = plain(io::Error::new(io::ErrorKind::NotFound, Panicked));
        let inner = plain.get_ref().expect("its words");
        assert!(!inner.is::<Panicked>(), "what others wrote is still in it");
        assert_eq!(
            (plain.kind(), plain.to_string()),
            (io::ErrorKind::NotFound, Panicked.to_string())
        );
    }
}
