//! How fast the blocks of a transfer may leave at most, whatever its path could bear: for a peer that loses what comes
//! faster, or a link that others need.

use super::Time;
use crate::wire::BlockSize;
use core::num::NonZeroU64;
use core::time::Duration;

/// Holds one sender to a rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Throttle {
    block: BlockSize,
    /// Nanoseconds from one block to the next.
    spacing: u64,
    /// When the next block may leave.
    due: Time,
}

/// Nanoseconds from one block to the next.
const fn spacing(rate: NonZeroU64, block: BlockSize) -> u64 {
    (block.get() as u64 * 1_000_000_000).div_ceil(rate.get())
}

/// What may leave within this time may leave at once, and who is woken late makes good for so much.
const QUANTUM: Duration = Duration::from_millis(1);

impl Throttle {
    /// So many bytes of blocks of this size in a second.
    pub(super) const fn new(rate: NonZeroU64, block: BlockSize) -> Self {
        Self { block, spacing: spacing(rate, block), due: Time::START }
    }

    /// The rate is this from now on. What was to wait waits for as much longer or shorter as that says.
    pub(super) fn set_rate(&mut self, now: Time, rate: NonZeroU64) {
        let before = core::mem::replace(&mut self.spacing, spacing(rate, self.block));
        if self.due > now && self.spacing != before {
            let waits = u128::from((self.due - now).as_micros() as u64) * u128::from(self.spacing);
            let waits = waits.div_ceil(u128::from(before.max(1)));
            self.due = now + Duration::from_micros(waits as u64);
        }
    }

    /// How many of `wanted` blocks may leave now; none before [`due`](Self::due).
    pub(super) fn allows(&self, now: Time, wanted: u64) -> u64 {
        let at_once = (QUANTUM.as_nanos() as u64 / self.spacing.max(1)).max(1);
        if now < self.due { 0 } else { wanted.min(at_once) }
    }

    /// When the next block may leave.
    pub(super) const fn due(&self) -> Time {
        self.due
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
        let mut throttle = Throttle::new(rate, BlockSize::new(block).expect("a size"));
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
    fn another_rate_is_kept_from_the_moment_that_it_is_set() {
        let rate = |bytes| NonZeroU64::new(bytes).expect("a rate");
        let mut throttle = Throttle::new(rate(512), BlockSize::DEFAULT);
        let at = |millis: u64| Time::from_micros(1_000_000 + millis * 1000);
        throttle.left(at(1), 1);
        assert_eq!(throttle.due(), at(1000), "a second for a block, less 1 ms");
        throttle.set_rate(at(500), rate(5120));
        assert_eq!(throttle.due(), at(550), "a tenth of what was left");
        throttle.set_rate(at(500), rate(512));
        assert_eq!(throttle.due(), at(1000));
        throttle.set_rate(at(1001), rate(1024));
        assert_eq!(throttle.due(), at(1000), "it may leave already");
        throttle.left(at(1001), 1);
        assert_eq!(throttle.due(), at(1500));
    }

    #[test]
    fn who_is_woken_a_little_late_makes_good_for_it_and_who_comes_much_later_does_not() {
        let on_time = sent((1 << 20, 512), 10_000_000, 0);
        assert!(sent((1 << 20, 512), 10_000_000, 100) * 100 >= on_time * 99);
        let rate = NonZeroU64::new(51_200).expect("a rate");
        let mut throttle = Throttle::new(rate, BlockSize::DEFAULT);
        let late = Time::from_micros(60_000_000);
        throttle.left(late, throttle.allows(late, 1000));
        assert_eq!(throttle.due(), Time::from_micros(60_009_000), "10 ms for a block, less 1");
        assert_eq!(throttle.allows(Time::from_micros(60_008_999), 1000), 0);
        assert_eq!(throttle.allows(Time::from_micros(60_009_000), 1000), 1);
    }
}
