//! How much of something there may be in a time: the token bucket. It knows no clock.

use crate::proto::Time;
use core::time::Duration;

/// A token bucket: a burst at once, and after that so many in each second.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Time,
}

impl TokenBucket {
    /// A full bucket that holds `burst` tokens and gets `per_second` new ones in each second.
    pub fn new(now: Time, burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: per_second.into(), tokens: burst, at: now }
    }

    /// Takes so many tokens, those too that are not there yet.
    pub fn take(&mut self, now: Time, tokens: u32) {
        self.fill(now);
        self.tokens -= f64::from(tokens);
    }

    /// When no token is missing: `now`, or later where more were [taken](Self::take) than there were.
    pub fn ready_at(&mut self, now: Time) -> Time {
        self.fill(now);
        match self.tokens < 0.0 {
            true => now + Duration::from_secs_f64(-self.tokens / self.per_second),
            false => now,
        }
    }

    fn fill(&mut self, now: Time) {
        let since = now - self.at;
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.burst);
        self.at = self.at.max(now);
    }

    /// Takes a token. Tells whether there was one.
    pub fn try_take(&mut self, now: Time) -> bool {
        self.fill(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, now: u64, of: usize) -> usize {
        (0..of).filter(|_| bucket.try_take(Time::from_micros(now * 1000))).count()
    }

    #[test]
    fn a_burst_goes_at_once_and_then_so_many_in_a_second() {
        let mut bucket = TokenBucket::new(Time::START, 10, 4);
        assert_eq!(taken(&mut bucket, 0, 20), 10);
        assert_eq!(taken(&mut bucket, 1000, 20), 4);
        assert_eq!(taken(&mut bucket, 1249, 20), 0);
        assert_eq!(taken(&mut bucket, 1250, 20), 1);
        assert_eq!(taken(&mut bucket, 60_000, 20), 10, "no more than a burst is ever saved");
    }

    #[test]
    fn what_is_taken_in_advance_is_waited_for() {
        let at = |millis: u64| Time::from_micros(millis * 1000);
        let mut bucket = TokenBucket::new(Time::START, 10, 4);
        bucket.take(at(0), 10);
        assert_eq!(bucket.ready_at(at(0)), at(0));
        bucket.take(at(0), 6);
        assert_eq!(bucket.ready_at(at(0)), at(1500));
        assert_eq!((bucket.ready_at(at(1000)), taken(&mut bucket, 1000, 1)), (at(1500), 0));
        assert_eq!((bucket.ready_at(at(1500)), taken(&mut bucket, 1750, 2)), (at(1500), 1));
    }

    #[test]
    fn a_time_before_the_last_gives_nothing_and_takes_nothing() {
        let mut bucket = TokenBucket::new(Time::from_micros(1_000_000), 1, 1);
        assert_eq!(taken(&mut bucket, 1000, 2), 1);
        assert_eq!(taken(&mut bucket, 0, 2), 0);
        assert_eq!(taken(&mut bucket, 1999, 2), 0);
        assert_eq!(taken(&mut bucket, 2000, 2), 1);
    }
}
