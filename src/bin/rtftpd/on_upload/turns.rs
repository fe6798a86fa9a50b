//! Whose turn it is, where only a few may do something at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Turns, of which there are a few at once. They come in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    may_wait: usize,
    state: Mutex<State>,
    is_over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    next: u64,
    waiting: VecDeque<u64>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// As many wait as may.
    TooMany,
    /// It did not come in time.
    Late,
}

impl Turns {
    pub(super) fn new(at_once: usize, may_wait: usize) -> Self {
        Self { at_once, may_wait, state: Mutex::default(), is_over: Condvar::new() }
    }

    /// Waits for a turn.
    pub(super) fn wait(&self, most: Duration) -> Result<Turn<'_>, NoTurn> {
        let mut state = self.state();
        let has_turn = |state: &State| state.waiting.is_empty() && state.running < self.at_once;
        if !has_turn(&state) {
            if state.waiting.len() >= self.may_wait {
                return Err(NoTurn::TooMany);
            }
            let own = state.next;
            state.next += 1;
            state.waiting.push_back(own);
            let waits = |state: &mut State| {
                state.waiting.front() != Some(&own) || state.running >= self.at_once
            };
            let waited = self.is_over.wait_timeout_while(state, most, waits);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let comes = !waits(&mut state);
            state.waiting.retain(|other| *other != own);
            if !comes {
                self.is_over.notify_all();
                return Err(NoTurn::Late);
            }
        }
        state.running += 1;
        // The next one may have its turn, too.
        self.is_over.notify_all();
        Ok(Turn(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.is_over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn so_many_have_a_turn_at_once_and_the_others_theirs_in_order() {
        let turns = Turns::new(2, 3);
        let (one, two) = (turns.wait(LONG).expect("a turn"), turns.wait(LONG).expect("a turn"));
        let (had, seen) = mpsc::channel();
        std::thread::scope(|scope| {
            for n in 0..3 {
                let (turns, had) = (&turns, had.clone());
                scope.spawn(move || {
                    let _turn = turns.wait(LONG).expect("a turn");
                    had.send(n).expect("it is waited for");
                });
                while turns.state().waiting.len() <= n {
                    std::thread::yield_now();
                }
            }
            assert_eq!(turns.wait(LONG).map(drop), Err(NoTurn::TooMany));
            assert!(seen.try_recv().is_err(), "nobody's turn is over");
            drop(one);
            let order: Vec<usize> =
                (0..3).map(|_| seen.recv_timeout(LONG).expect("a turn")).collect();
            assert_eq!(order, [0, 1, 2]);
        });
        drop(two);
        let state = turns.state();
        assert_eq!((state.running, state.waiting.len()), (0, 0));
    }

    #[test]
    fn who_waited_in_vain_is_in_nobodys_way() {
        let turns = Turns::new(1, 1);
        let one = turns.wait(LONG).expect("a turn");
        assert_eq!(turns.wait(Duration::ZERO).map(drop), Err(NoTurn::Late));
        assert_eq!(turns.wait(Duration::ZERO).map(drop), Err(NoTurn::Late), "not too many");
        drop(one);
        assert!(turns.wait(Duration::ZERO).is_ok());
    }
}
