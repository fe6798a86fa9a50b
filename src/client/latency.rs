//! How long things took, as many as there may be, in a fixed number of counters.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Nothing that is measured takes longer than a day; what does is counted as a day.
const LONGEST_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// A quantile is right within a hundredth, and all counters take 32 KiB.
const DIGITS: u8 = 2;

/// How long things took: a histogram whose buckets grow with what they hold.
#[derive(Clone, Debug)]
pub struct Latency {
    micros: Histogram<u64>,
    /// The histogram knows it within a hundredth only.
    max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        let micros = Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS);
        Self { micros: micros.expect("these bounds make a histogram"), max: Duration::ZERO }
    }
}

impl Latency {
    pub(super) fn record(&mut self, span: Duration) {
        self.micros.saturating_record(u64::try_from(span.as_micros()).unwrap_or(LONGEST_MICROS));
        self.max = self.max.max(span);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The longest of all; zero where none was recorded.
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The span than which this part of all, from 0 to 1, took no longer; zero where none was recorded.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.micros.value_at_quantile(part)).min(self.max)
    }

    /// For each power of two of microseconds, from the shortest to the longest, how many took at least as long and
    /// less than twice as long. The first power counts what took no time as well.
    pub fn octaves(&self) -> Vec<(Duration, u64)> {
        let mut sums = [0; u64::BITS as usize];
        for step in self.micros.iter_recorded() {
            let power = step.value_iterated_to().max(1).ilog2();
            sums[power as usize] += step.count_since_last_iteration();
        }
        let first = sums.iter().position(|sum| *sum > 0).unwrap_or(sums.len());
        let end = sums.iter().rposition(|sum| *sum > 0).map_or(first, |last| last + 1);
        (first..end).map(|power| (Duration::from_micros(1 << power), sums[power])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_octaves_are_those_of_what_was_recorded() {
        let mut latency = Latency::default();
        assert_eq!((latency.quantile(0.5), latency.max()), (Duration::ZERO, Duration::ZERO));
        assert_eq!(latency.octaves(), []);
        (1..=50).for_each(|micros| latency.record(Duration::from_micros(micros)));
        let quantile = |part| latency.quantile(part).as_micros();
        assert_eq!([quantile(0.0), quantile(0.5), quantile(0.99), quantile(1.0)], [1, 25, 50, 50]);
        let octaves: Vec<_> =
            latency.octaves().iter().map(|(from, count)| (from.as_micros(), *count)).collect();
        assert_eq!(octaves, [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 19)]);
        latency.record(Duration::from_millis(1001));
        assert_eq!(latency.quantile(1.0), latency.max());
        assert_eq!(latency.quantile(1.1), latency.max());
        assert_eq!((latency.count(), latency.max()), (51, Duration::from_millis(1001)));
    }

    #[test]
    fn every_time_is_counted_in_its_octave_and_a_quantile_is_near_it() {
        for power in 0..36 {
            for micros in [1 << power, (1 << power) + (1 << power) / 3, (2 << power) - 1] {
                let mut latency = Latency::default();
                latency.record(Duration::from_micros(micros));
                latency.record(Duration::from_secs(24 * 60 * 60));
                let near = latency.quantile(0.5).as_micros() as u64;
                assert!(near >= micros && near - micros <= micros / 100, "{micros} is {near}");
                assert_eq!(latency.octaves()[0], (Duration::from_micros(1 << power), 1));
            }
        }
    }

    #[test]
    fn nothing_is_too_short_or_too_long_to_be_counted() {
        let mut latency = Latency::default();
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        for span in [Duration::ZERO, Duration::from_nanos(1), week, Duration::MAX] {
            latency.record(span);
        }
        assert_eq!((latency.count(), latency.max()), (4, Duration::MAX));
        assert_eq!(latency.quantile(0.5), Duration::ZERO);
        assert!(latency.quantile(1.0) >= Duration::from_secs(24 * 60 * 60));
        assert_eq!(latency.octaves().iter().map(|(_, count)| count).sum::<u64>(), 4);
        for part in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(latency.quantile(part) <= Duration::MAX);
        }
    }
}
