//! Whether the loop that takes the requests comes round: it says so where it is asked, and costs nothing where it is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Pulse {
    is_asked: AtomicBool,
    /// How often it has said so.
    beats: Mutex<u64>,
    has_beaten: Condvar,
}

impl Pulse {
    /// A turn of the loop begins.
    pub(super) fn beat(&self) {
        if self.is_asked.load(Ordering::Relaxed) {
            let mut beats = self.beats();
            self.is_asked.store(false, Ordering::Relaxed);
            *beats += 1;
            self.has_beaten.notify_all();
        }
    }

    /// Has the loop woken, and tells whether it begins a turn within so much time.
    pub(super) fn answers(&self, wake: impl FnOnce(), within: Duration) -> bool {
        let beats = self.beats();
        let before = *beats;
        self.is_asked.store(true, Ordering::Relaxed);
        wake();
        let is_silent = |beats: &mut u64| *beats == before;
        let waited = self.has_beaten.wait_timeout_while(beats, within, is_silent);
        *waited.unwrap_or_else(PoisonError::into_inner).0 != before
    }

    fn beats(&self) -> MutexGuard<'_, u64> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_asks_is_answered_by_a_turn_that_begins_later_and_by_nothing_else() {
        let pulse = Arc::new(Pulse::default());
        pulse.beat();
        assert!(!pulse.answers(|| {}, Duration::from_millis(1)), "that was before");
        let beating = Arc::clone(&pulse);
        let turn = || drop(std::thread::spawn(move || beating.beat()));
        assert!(pulse.answers(turn, Duration::from_secs(10)));
        assert_eq!(*pulse.beats(), 1);
        pulse.beat();
        assert_eq!(*pulse.beats(), 1, "nobody asks");
    }
}
