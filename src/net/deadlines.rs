//! The deadlines of many transfers, cheap to put off: most are, by each packet, and the heap is not touched for that.

use crate::proto::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A time that never comes.
const NEVER: Time = Time::from_micros(u64::MAX);

/// One deadline for each key.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Times at which to look at a key. It may hold a key several times; all but one of them are stale.
    heap: BinaryHeap<Reverse<(Time, usize)>>,
    of: Vec<Deadline>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Time,
    /// The time of the one valid entry in the heap, never later than `at`.
    queued: Time,
}

impl Deadline {
    const NONE: Self = Self { at: NEVER, queued: NEVER };
}

impl Deadlines {
    /// From now on `key` is due at `at`.
    pub(super) fn set(&mut self, key: usize, at: Time) {
        if self.of.len() <= key {
            self.of.resize(key + 1, Deadline::NONE);
        }
        let deadline = &mut self.of[key];
        deadline.at = at;
        if at < deadline.queued {
            deadline.queued = at;
            self.heap.push(Reverse((at, key)));
        }
    }

    /// From now on `key` has no deadline.
    pub(super) fn remove(&mut self, key: usize) {
        if let Some(deadline) = self.of.get_mut(key) {
            *deadline = Deadline::NONE;
        }
    }

    /// Removes all deadlines, and forgets the times of those that were removed or put off before.
    pub(super) fn clear(&mut self) {
        self.heap.clear();
        self.of.clear();
    }

    /// A time before which no key is due. At that time one may be, or may just have been put off.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a key that is due, if there is one. It has no deadline until one is [set](Self::set).
    pub(super) fn pop_due(&mut self, now: Time) -> Option<usize> {
        while let Some(Reverse((at, key))) = self.heap.peek().copied()
            && at <= now
        {
            self.heap.pop();
            let Some(deadline) = self.of.get_mut(key).filter(|deadline| deadline.queued == at)
            else {
                continue;
            };
            if deadline.at <= now {
                *deadline = Deadline::NONE;
                return Some(key);
            }
            deadline.queued = deadline.at;
            self.heap.push(Reverse((deadline.at, key)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    fn due(deadlines: &mut Deadlines, now: u64) -> Vec<usize> {
        std::iter::from_fn(|| deadlines.pop_due(ms(now))).collect()
    }

    #[test]
    fn a_key_is_due_once_and_not_before_its_time() {
        let mut deadlines = Deadlines::default();
        deadlines.set(3, ms(20));
        deadlines.set(1, ms(10));
        assert_eq!(deadlines.next(), Some(ms(10)));
        assert!(due(&mut deadlines, 9).is_empty());
        assert_eq!(due(&mut deadlines, 10), [1]);
        assert_eq!(due(&mut deadlines, 30), [3]);
        assert_eq!((due(&mut deadlines, 99), deadlines.next()), (vec![], None));
    }

    #[test]
    fn what_is_put_off_again_and_again_costs_one_entry_and_still_comes() {
        let mut deadlines = Deadlines::default();
        for n in [10; 9].into_iter().chain(10..1000) {
            deadlines.set(0, ms(n));
        }
        assert_eq!(deadlines.heap.len(), 1);
        assert_eq!((due(&mut deadlines, 998), deadlines.next()), (vec![], Some(ms(999))));
        assert_eq!(due(&mut deadlines, 999), [0]);
        deadlines.set(0, ms(2000));
        assert_eq!((due(&mut deadlines, 1999), due(&mut deadlines, 2000)), (vec![], vec![0]));
    }

    #[test]
    fn what_is_brought_forward_comes_at_the_earlier_time_and_only_then() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, ms(50));
        deadlines.set(0, ms(20));
        assert_eq!(due(&mut deadlines, 20), [0]);
        assert!(due(&mut deadlines, 60).is_empty());
        assert_eq!(deadlines.next(), None, "the time that was given up is not looked at for ever");
    }

    #[test]
    fn what_was_removed_is_not_due_and_its_key_can_be_had_again() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, ms(10));
        deadlines.remove(0);
        assert!(due(&mut deadlines, 11).is_empty());
        assert_eq!(
            deadlines.next(),
            None,
            "what was removed takes no memory once its time is over"
        );
        deadlines.set(0, ms(15));
        assert!(due(&mut deadlines, 14).is_empty());
        deadlines.remove(7);
        assert_eq!(due(&mut deadlines, 15), [0]);
        deadlines.set(0, ms(30));
        deadlines.clear();
        assert_eq!(deadlines.next(), None);
    }
}
