//! An end to what a client does, from another thread.

use super::Failure;
use crate::net::{Ending, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cancels, from any thread, what the clients do that have it.
///
/// A cancellation is never lost: from [`cancel`](Self::cancel) to [`reset`](Self::reset) the calls that are under way
/// and those that begin end with [`Failure::Cancelled`].
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// The conversations under way; a client may have several, on as many threads.
    running: Vec<Arc<Session>>,
}

impl Canceller {
    /// Ends the calls that are under way, and those that begin before [`reset`](Self::reset).
    pub fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        state.running.iter().for_each(|session| session.end(Ending::Stop("cancelled".into())));
    }

    /// Lets calls that begin from now on run.
    pub fn reset(&self) {
        self.state().cancelled = false;
    }

    /// Whether [`cancel`](Self::cancel) was called, and [`reset`](Self::reset) not since.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_cancelled() { Err(Failure::Cancelled) } else { Ok(()) }
    }

    /// Makes `session` end when this is cancelled, for as long as the guard lives.
    pub(super) fn watch(&self, session: &Arc<Session>) -> Result<Watched<'_>, Failure> {
        let mut state = self.state();
        if state.cancelled {
            return Err(Failure::Cancelled);
        }
        state.running.push(Arc::clone(session));
        Ok(Watched { canceller: self, session: Arc::clone(session) })
    }

    /// How many conversations are under way.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.state().running.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conversation that can be cancelled.
pub(super) struct Watched<'a> {
    canceller: &'a Canceller,
    session: Arc<Session>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.canceller.state().running.retain(|other| !Arc::ptr_eq(other, &self.session));
    }
}
