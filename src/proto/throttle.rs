//! How fast the blocks of a transfer may leave at most, whatever its path could bear: for a peer that loses what comes
//! faster, or a link that others need.

use super::Time;
use crate::wire::BlockSize;
use core::num::NonZeroU64;
use core::time::Duration;

/// What a sender may send beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// Nothing before this time.
    pub at: Time,
    /// So many bytes from then on, and one block however long it is.
    pub bytes: u64,
}

impl Allowance {
    /// Whatever there is.
    const ALL: Self = Self { at: Time::START, bytes: u64::MAX };
}

/// Holds one sender to a rate of its own, or to what it may send beside others, or to both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Throttle {
    block: BlockSize,
    /// Nanoseconds from one block to the next; 0 where it has no rate of its own.
    spacing: u64,
    /// When the next block may leave by that rate.
    due: Time,
    allowance: Allowance,
}

/// Nanoseconds from one block to the next.
const fn spacing(rate: NonZeroU64, block: BlockSize) -> u64 {
    (block.get() as u64 * 1_000_000_000).div_ceil(rate.get())
}

/// What may leave within this time may leave at once, and who is woken late makes good for so much.
const QUANTUM: Duration = Duration::from_millis(1);

impl Throttle {
    /// So many bytes of blocks of this size in a second.
    pub(super) fn new(rate: Option<NonZeroU64>, block: BlockSize) -> Self {
        let spacing = rate.map_or(0, |rate| spacing(rate, block));
        Self { block, spacing, due: Time::START, allowance: Allowance::ALL }
    }

    /// What it may send beside others is this, until it is told again.
    pub(super) const fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// How many of `wanted` blocks may leave now; none before [`due`](Self::due).
    pub(super) fn allows(&self, now: Time, wanted: u64) -> u64 {
        let at_once = (QUANTUM.as_nanos() as u64 / self.spacing.max(1)).max(1);
        let beside_others = (self.allowance.bytes / self.block.get() as u64).max(1);
        if now < self.due() { 0 } else { wanted.min(at_once).min(beside_others) }
    }

    /// When the next block may leave.
    pub(super) fn due(&self) -> Time {
        self.due.max(self.allowance.at)
    }

    /// So many blocks leave now.
    pub(super) fn left(&mut self, now: Time, count: u64) {
        let earliest = now.as_micros().saturating_sub(QUANTUM.as_micros() as u64);
        // Whole microseconds, upwards: it is a bound.
        let span = (count * self.spacing).div_ceil(1000);
        self.due = self.due.max(Time::from_micros(earliest)) + Duration::from_micros(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks that have left by `end`, where it is asked as soon as they may leave, or `late` microseconds after.
    fn sent((rate, block): (u64, u16), end: u64, late: u64) -> u64 {
        let rate = NonZeroU64::new(rate).expect("a rate");
        let mut throttle = Throttle::new(Some(rate), BlockSize::new(block).expect("a size"));
        let (mut now, mut sent) = (Time::from_micros(1_000_000), 0);
        let end = now + Duration::from_micros(end);
        while now < end {
            let count = throttle.allows(now, 1000);
            assert!(count > 0, "at {now:?}, due at {:?}", throttle.due());
            throttle.left(now, count);
            sent += count;
            now = now.max(throttle.due()) + Duration::from_micros(late);
        }
        sent
    }

    #[test]
    fn no_more_leaves_than_the_rate_says_and_hardly_less() {
        for (rate, block) in [(1024, 512), (51_200, 512), (1 << 20, 1428), (100 << 20, 1428)] {
            let blocks = 10 * rate / u64::from(block);
            let left = sent((rate, block), 10_000_000, 0);
            // At the start what leaves in a moment has gone already.
            let more = 2 + rate / 1000 / u64::from(block) * 2;
            assert!(left <= blocks + more, "{left} of {blocks} blocks at {rate}");
            assert!(left * 100 >= blocks * 98, "{left} of {blocks} blocks at {rate}");
        }
    }

    #[test]
    fn what_may_leave_beside_others_is_a_bound_of_its_own() {
        let at = |millis: u64| Time::from_micros(millis * 1000);
        let own = NonZeroU64::new(512);
        let throttles = [None, own].map(|rate| Throttle::new(rate, BlockSize::DEFAULT));
        let allowed = throttles.map(|mut throttle| {
            throttle.left(at(1), 1);
            throttle.set_allowance(Allowance { at: at(500), bytes: 2047 });
            let allowed = [499, 500, 1000].map(|now| throttle.allows(at(now), 1000));
            throttle.set_allowance(Allowance { at: at(2000), bytes: 0 });
            (allowed, [1999, 2000].map(|now| throttle.allows(at(now), 1000)), throttle.due())
        });
        let expected = [[0, 3, 3], [0, 0, 1]].map(|first| (first, [0, 1], at(2000)));
        assert_eq!(allowed, expected, "without and with a block in a second of its own");
    }

    #[test]
    fn who_is_woken_a_little_late_makes_good_for_it_and_who_comes_much_later_does_not() {
        let on_time = sent((1 << 20, 512), 10_000_000, 0);
        assert!(sent((1 << 20, 512), 10_000_000, 100) * 100 >= on_time * 99);
        let mut throttle = Throttle::new(NonZeroU64::new(51_200), BlockSize::DEFAULT);
        let late = Time::from_micros(60_000_000);
        throttle.left(late, throttle.allows(late, 1000));
        assert_eq!(throttle.due(), Time::from_micros(60_009_000), "10 ms for a block, less 1");
        assert_eq!(throttle.allows(Time::from_micros(60_008_999), 1000), 0);
        assert_eq!(throttle.allows(Time::from_micros(60_009_000), 1000), 1);
    }
}
