//! Time as the protocol sees it: microseconds since some start, told by whoever owns a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, in microseconds since a start that the owner of the clock chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The moment that all others are counted from.
    pub const START: Self = Self(0);

    /// The moment `micros` after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

/// Gives the moment so much later, in whole microseconds, or the last one that 64 bits can count.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Gives the span since an earlier moment; zero when the other is not earlier.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_add_up_and_never_wrap() {
        let (early, late) = (Time::from_micros(5), Time::from_micros(12));
        assert_eq!((early + Duration::from_micros(7)).as_micros(), 12);
        assert_eq!(late - early, Duration::from_micros(7));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!((late + Duration::MAX).as_micros(), u64::MAX);
    }
}
