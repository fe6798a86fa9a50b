//! An end to what a client does, from another thread.

use super::Failure;
use crate::net::{Ending, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cancels, from any thread, what the clients do that have it.
///
/// A cancellation is never lost: from [`cancel`](Self::cancel) to [`reset`](Self::reset) the calls that are under way
/// and those that begin end with [`Failure::Cancelled`]. A load that is under way ends with its figures so far.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// How often it was cancelled: a call ends that began before the last time, though a reset came meanwhile.
    times: u64,
    /// The conversations under way; a client may have several, on as many threads.
    running: Vec<Arc<Session>>,
}

impl Canceller {
    /// Ends the calls that are under way, and those that begin before [`reset`](Self::reset).
    pub fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        state.times += 1;
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

    /// Begins a call.
    pub(super) fn begin(&self) -> Result<Call, Failure> {
        let state = self.state();
        if state.cancelled { Err(Failure::Cancelled) } else { Ok(Call { times: state.times }) }
    }

    /// Whether `call` may go on.
    pub(super) fn check(&self, call: Call) -> Result<(), Failure> {
        self.state().check(call)
    }

    /// Makes `session` end when this is cancelled, for as long as the guard lives.
    pub(super) fn watch(
        &self,
        call: Call,
        session: &Arc<Session>,
    ) -> Result<Registration<'_>, Failure> {
        let mut state = self.state();
        state.check(call)?;
        state.running.push(Arc::clone(session));
        Ok(Registration { canceller: self, session: Arc::clone(session) })
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

/// A call of a client, as a canceller sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// How often the canceller was cancelled before the call began.
    times: u64,
}

impl State {
    const fn check(&self, call: Call) -> Result<(), Failure> {
        let cancelled = self.cancelled || self.times > call.times;
        if cancelled { Err(Failure::Cancelled) } else { Ok(()) }
    }
}

/// A conversation that can be cancelled.
pub(super) struct Registration<'a> {
    canceller: &'a Canceller,
    session: Arc<Session>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.canceller.state().running.retain(|other| !Arc::ptr_eq(other, &self.session));
    }
}
