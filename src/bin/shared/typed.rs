//! Spans of time as people type them.

use jiff::fmt::friendly::SpanParser;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads a number of seconds, as in `0.5`, or numbers with units, as in `500ms` or `2min`.
pub(crate) fn span(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let span = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => SpanParser::new().parse_unsigned_duration(text).ok(),
    };
    span.filter(|span| bounds.contains(span)).ok_or_else(|| {
        let [shortest, longest] = [bounds.start(), bounds.end()].map(Duration::as_secs_f64);
        format!("write a number of seconds from {shortest} to {longest}, as in 0.5, or a time with its unit, as in 500ms or 2min")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_of_seconds_or_has_units() {
        let [shortest, longest] = [1, 3_600_000].map(Duration::from_millis);
        let millis = |text: &str| span(text, shortest..=longest).map(|span| span.as_millis());
        let cases = [("0.05", 50), ("1", 1000), ("500ms", 500), ("2min", 120_000), ("0.5s", 500)];
        let more = [("1 min 30 s", 90_000), ("1m30s", 90_000), ("1h", 3_600_000)];
        for (text, expected) in cases.into_iter().chain(more) {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        let nonsense =
            ["", "0", "-1", "3601", "nan", "inf", "500us", "2h", "-5s", "5s ago", "5x", "s"];
        for text in nonsense {
            assert!(millis(text).is_err_and(|why| why.contains("from 0.001 to 3600")), "{text}");
        }
    }
}
