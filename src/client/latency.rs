//! How long things took, as many as there may be, in a fixed number of counters.

use std::time::Duration;

/// Each power of two of microseconds is counted in so many parts, so that a quantile is right within a thirty-second.
const PARTS: u64 = 32;

/// The counters for all that 64 bits hold.
const BUCKETS: usize = bucket(u64::MAX) + 1;

/// A histogram whose buckets grow with what they hold.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), count: 0, max: 0 }
    }
}

impl Latency {
    pub(super) fn record(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest; zero where there was none.
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// So large a part of them, from 0 to 1, took no longer. Zero where there was none.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (part * self.count as f64).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank.max(1).min(self.count)
        });
        Duration::from_micros(found.map_or(0, |bucket| last_of(bucket).min(self.max)))
    }

    /// How many took so long or longer, but not twice as long: for each power of two of microseconds from the
    /// shortest to the longest. The first power counts what took no time as well.
    pub fn octaves(&self) -> Vec<(Duration, u64)> {
        let mut sums = [0; u64::BITS as usize];
        for (bucket, count) in self.counts.iter().enumerate() {
            sums[last_of(bucket).max(1).ilog2() as usize] += count;
        }
        let first = sums.iter().position(|sum| *sum > 0).unwrap_or(sums.len());
        let end = sums.iter().rposition(|sum| *sum > 0).map_or(first, |last| last + 1);
        (first..end).map(|power| (Duration::from_micros(1 << power), sums[power])).collect()
    }
}

/// The bucket of so many microseconds. The first two times `PARTS` of them have one each.
const fn bucket(micros: u64) -> usize {
    let shift = (micros | 1).ilog2().saturating_sub(PARTS.ilog2());
    (shift as u64 * PARTS + (micros >> shift)) as usize
}

/// The most microseconds that are counted in this bucket.
const fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PARTS).saturating_sub(1);
    let in_shift = bucket - shift * PARTS;
    (in_shift << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_bucket_and_no_bucket_is_wide() {
        let powers = (0..64).map(|power| 1u64 << power);
        for micros in powers.flat_map(|n| [n - 1, n, n + n / 3]).chain([u64::MAX]) {
            let bucket = bucket(micros);
            let (before, last) = (bucket.checked_sub(1).map(last_of), last_of(bucket));
            assert!(before.is_none_or(|before| before < micros) && micros <= last, "{micros}");
            assert!(last - micros <= micros / PARTS, "{micros} counts as {last}");
        }
    }

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
}
