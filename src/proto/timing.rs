//! The times that a transfer runs by, and the bounds within which they are sound.

use crate::limits;
use core::num::NonZeroU64;
use core::time::Duration;

/// The times that a transfer runs by, before the peer says anything of its own.
///
/// Every one of them is at least a microsecond and at most [`limits::LONGEST_TIMING`], and the floor is not above the
/// ceiling. [`Timing::default`] has the values of [`limits`], and no rate; a [`builder`](Timing::builder) makes others.
///
/// ```
/// use std::time::Duration;
/// use tftpkit::proto::Timing;
///
/// let hasty = Timing::builder().first(Duration::from_millis(100)).build()?;
/// assert_eq!(hasty.ceiling(), Timing::default().ceiling());
/// # Ok::<(), tftpkit::proto::TimingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    pub(crate) first: Duration,
    pub(crate) floor: Duration,
    pub(crate) ceiling: Duration,
    pub(crate) patience: Duration,
    pub(crate) unanswered: Duration,
    pub(crate) peer_default: Duration,
    pub(crate) rate: Option<NonZeroU64>,
}

impl Timing {
    /// A builder that begins with the times of [`Timing::default`].
    pub fn builder() -> TimingBuilder {
        Self::default().to_builder()
    }

    /// A builder that begins with these times.
    pub const fn to_builder(self) -> TimingBuilder {
        TimingBuilder { timing: self }
    }

    /// The retransmission interval until a round trip has been measured (RFC 6298 § 2.1).
    pub const fn first(&self) -> Duration {
        self.first
    }

    /// The shortest retransmission interval, unless the peer negotiated a shorter one.
    pub const fn floor(&self) -> Duration {
        self.floor
    }

    /// The longest retransmission interval, however often it was doubled. Where it is no shorter than a peer's own
    /// ([`peer_default`](Self::peer_default)), what was repeated in vain three times waits one and a half of that.
    pub const fn ceiling(&self) -> Duration {
        self.ceiling
    }

    /// How long a peer that has answered may make no progress before the transfer ends.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// How long a peer may leave the opening packet unanswered before the transfer ends.
    pub const fn unanswered(&self) -> Duration {
        self.unanswered
    }

    /// The retransmission interval that a peer is taken to have when none was negotiated.
    pub const fn peer_default(&self) -> Duration {
        self.peer_default
    }

    /// The most bytes of the file that a sender sends in a second, where there is such a bound.
    pub const fn rate(&self) -> Option<NonZeroU64> {
        self.rate
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first: limits::FIRST_INTERVAL,
            floor: limits::SHORTEST_INTERVAL,
            ceiling: limits::LONGEST_INTERVAL,
            patience: limits::PATIENCE,
            unanswered: limits::PATIENCE,
            peer_default: limits::PEER_INTERVAL,
            rate: None,
        }
    }
}

/// Makes a [`Timing`] of times that are checked when it is [built](Self::build).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct TimingBuilder {
    timing: Timing,
}

impl TimingBuilder {
    /// Sets the retransmission interval until a round trip has been measured. Outside the floor and the ceiling, the
    /// nearer of them holds.
    pub const fn first(mut self, interval: Duration) -> Self {
        self.timing.first = interval;
        self
    }

    /// Sets the shortest retransmission interval.
    pub const fn floor(mut self, interval: Duration) -> Self {
        self.timing.floor = interval;
        self
    }

    /// Sets the longest retransmission interval.
    pub const fn ceiling(mut self, interval: Duration) -> Self {
        self.timing.ceiling = interval;
        self
    }

    /// Sets how long a peer that has answered may make no progress.
    pub const fn patience(mut self, span: Duration) -> Self {
        self.timing.patience = span;
        self
    }

    /// Sets how long a peer may leave the opening packet unanswered.
    pub const fn unanswered(mut self, span: Duration) -> Self {
        self.timing.unanswered = span;
        self
    }

    /// Sets the retransmission interval that a peer is taken to have when none was negotiated.
    pub const fn peer_default(mut self, interval: Duration) -> Self {
        self.timing.peer_default = interval;
        self
    }

    /// Sets the most bytes of the file that a sender sends in a second: for a peer that loses what comes faster. `None` sends
    /// as fast as the path bears.
    pub const fn rate(mut self, bytes: Option<NonZeroU64>) -> Self {
        self.timing.rate = bytes;
        self
    }

    /// Checks the times and makes a [`Timing`] of them.
    ///
    /// # Errors
    ///
    /// [`TimingError`], when a time is shorter than a microsecond or longer than [`limits::LONGEST_TIMING`], when the
    /// floor is above the ceiling, or when the rate is below [`limits::SLOWEST_RATE`].
    pub fn build(self) -> Result<Timing, TimingError> {
        let timing = self.timing;
        for (field, span) in [
            ("first", timing.first),
            ("floor", timing.floor),
            ("ceiling", timing.ceiling),
            ("patience", timing.patience),
            ("unanswered", timing.unanswered),
            ("peer_default", timing.peer_default),
        ] {
            // Time counts microseconds: an interval of less is none at all, and would send without end.
            if span < Duration::from_micros(1) {
                return Err(TimingError::TooShort(field));
            }
            if span > limits::LONGEST_TIMING {
                return Err(TimingError::TooLong(field));
            }
        }
        if timing.floor > timing.ceiling {
            return Err(TimingError::FloorAboveCeiling);
        }
        if timing.rate.is_some_and(|rate| rate.get() < limits::SLOWEST_RATE) {
            return Err(TimingError::TooSlow);
        }
        Ok(timing)
    }
}

/// Why [`TimingBuilder::build`] refuses its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TimingError {
    /// The named time is shorter than a microsecond.
    #[error("'{0}' is shorter than a microsecond")]
    TooShort(&'static str),
    /// The named time is longer than [`limits::LONGEST_TIMING`].
    #[error("'{0}' is longer than a year")]
    TooLong(&'static str),
    /// The shortest interval, `floor`, is longer than the longest, `ceiling`.
    #[error("'floor' is above 'ceiling'")]
    FloorAboveCeiling,
    /// The rate is below [`limits::SLOWEST_RATE`].
    #[error("'rate' is below 1024 bytes in a second")]
    TooSlow,
}

#[cfg(test)]
mod tests {
    use super::*;

    type Setter = fn(TimingBuilder, Duration) -> TimingBuilder;

    const SETTERS: [(&str, Setter); 6] = [
        ("first", TimingBuilder::first),
        ("floor", TimingBuilder::floor),
        ("ceiling", TimingBuilder::ceiling),
        ("patience", TimingBuilder::patience),
        ("unanswered", TimingBuilder::unanswered),
        ("peer_default", TimingBuilder::peer_default),
    ];

    /// A builder whose floor and ceiling leave room for any time.
    fn roomy() -> TimingBuilder {
        Timing::builder().floor(Duration::from_micros(1)).ceiling(limits::LONGEST_TIMING)
    }

    #[test]
    fn every_time_lies_between_a_microsecond_and_a_year() {
        let nano = Duration::from_nanos(1);
        let (shortest, longest) = (Duration::from_micros(1), limits::LONGEST_TIMING);
        for (name, set) in SETTERS {
            let built = |span| set(roomy(), span).build().map(drop);
            // A ceiling of a microsecond has room for its floor, and a floor of a year for its ceiling.
            assert_eq!(built(shortest), Ok(()), "{name}");
            assert_eq!(built(shortest - nano), Err(TimingError::TooShort(name)));
            assert_eq!(built(Duration::ZERO), Err(TimingError::TooShort(name)));
            assert_eq!(built(longest), Ok(()), "{name}");
            assert_eq!(built(longest + nano), Err(TimingError::TooLong(name)));
            assert_eq!(built(Duration::MAX), Err(TimingError::TooLong(name)));
        }
    }

    #[test]
    fn the_floor_may_reach_the_ceiling_and_not_exceed_it() {
        let ceiling = Duration::from_secs(2);
        let built = |floor| Timing::builder().ceiling(ceiling).floor(floor).build().map(drop);
        assert_eq!(built(ceiling), Ok(()));
        let above = ceiling + Duration::from_nanos(1);
        assert_eq!(built(above), Err(TimingError::FloorAboveCeiling));
    }

    #[test]
    fn a_rate_has_a_kibibyte_in_a_second_at_least() {
        let built = |rate| {
            let timing = Timing::builder().rate(NonZeroU64::new(rate)).build();
            timing.map(|timing| timing.rate().map(NonZeroU64::get))
        };
        assert_eq!(built(limits::SLOWEST_RATE), Ok(Some(1024)));
        assert_eq!(built(limits::SLOWEST_RATE - 1), Err(TimingError::TooSlow));
        assert_eq!(Timing::default().rate(), None);
    }

    #[test]
    fn a_builder_changes_what_it_is_told_and_nothing_else() {
        assert_eq!(Timing::builder().build(), Ok(Timing::default()));
        let getters: [fn(&Timing) -> Duration; 6] = [
            Timing::first,
            Timing::floor,
            Timing::ceiling,
            Timing::patience,
            Timing::unanswered,
            Timing::peer_default,
        ];
        let span = Duration::from_secs(3);
        for (n, (name, set)) in SETTERS.into_iter().enumerate() {
            let timing = set(Timing::builder(), span).build().expect("within bounds");
            for (m, get) in getters.iter().enumerate() {
                let expected = if m == n { span } else { get(&Timing::default()) };
                assert_eq!(get(&timing), expected, "{name}");
            }
            let again = set(timing.to_builder(), getters[n](&Timing::default()));
            assert_eq!(again.build(), Ok(Timing::default()), "{name}");
        }
    }
}
