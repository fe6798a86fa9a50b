//! How many log lines there may be.

use std::time::Duration;
use tftpkit::proto::Time;
use tftpkit::rate::TokenBucket;

/// So many seconds' lines may be written at once; a rack that boots is well within it.
pub(crate) const BURST_SECONDS: u32 = 10;
/// What was left out is told no more often.
pub(crate) const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(1);

/// Lines that may be written, and those that were not.
#[derive(Debug)]
pub(crate) struct Ration {
    pub(crate) per_second: u32,
    lines: TokenBucket,
    suppressed: u64,
    /// When lines were last said to be left out.
    told: Time,
}

impl Ration {
    /// So many lines in each second; 0 is no bound.
    pub(crate) fn of(per_second: u32, now: Time) -> Option<Self> {
        let burst = per_second.saturating_mul(BURST_SECONDS);
        let lines = TokenBucket::new(now, burst, per_second);
        (per_second > 0).then_some(Self { per_second, lines, suppressed: 0, told: now })
    }

    /// Takes a line, if there is one, and then gives how many were left out, where that is to be told before it.
    pub(crate) fn take(&mut self, now: Time) -> Option<u64> {
        if !self.lines.try_take(now) {
            self.suppressed += 1;
            return None;
        }
        if self.suppressed == 0 || now - self.told < BETWEEN_COMPLAINTS {
            return Some(0);
        }
        self.told = now;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LINES_PER_SECOND;

    const BURST_LINES: u32 = LINES_PER_SECOND * BURST_SECONDS;

    #[test]
    fn what_was_left_out_is_told_with_the_next_line_and_once_in_a_second() {
        let mut ration = Ration::of(LINES_PER_SECOND, Time::START).expect("a bound");
        let mut take = |millis: u64| ration.take(Time::from_micros(millis * 1000));
        assert!((0..BURST_LINES).all(|_| take(0) == Some(0)));
        assert_eq!([0, 0, 0].map(&mut take), [None; 3]);
        // There is a new line every two milliseconds, and none has been told within the first second.
        assert_eq!([2, 2, 998].map(&mut take), [Some(0), None, Some(0)]);
        assert_eq!([1000, 1000].map(&mut take), [Some(4), Some(0)]);
        let crowd = (0..BURST_LINES).filter(|_| take(1000).is_none()).count() as u64;
        assert!(crowd > 4000, "{crowd}");
        assert_eq!([1999, 2000, 2001].map(&mut take), [Some(0), Some(crowd), Some(0)]);
    }
}
