//! What people type: spans of time, numbers, and flags that other programs have.

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use jiff::fmt::friendly::SpanParser;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads a whole number within these bounds, and says what they are where it is none.
pub(crate) fn whole<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            match *most {
                u64::MAX => format!("write a whole number, {least} or more"),
                _ => format!("write a whole number from {least} to {most}"),
            }
        })
    }
}

/// Lets options take numbers that begin with a minus, so that it is told what they want in place of them.
pub(crate) fn with_negative_values(app: Command) -> Command {
    let app = app.mut_args(|arg| {
        let takes = !arg.is_positional() && arg.get_action().takes_values();
        arg.allow_negative_numbers(takes)
    });
    app.mut_subcommands(with_negative_values)
}

/// What programs of the kind call something, and how it is said here: by an option, or in words.
pub(crate) type Elsewhere = &'static [(&'static [&'static str], &'static str)];

/// What others call the size of a block.
pub(crate) const BLOCK_SIZES: &[&str] = &[
    "--blksize",
    "--blocksize",
    "--block-size",
    "--max-block-size",
    "--tftp-blksize",
    "--block",
    "--bs",
    "-b",
    "-B",
];

/// What others call the width of a window.
pub(crate) const WINDOW_SIZES: &[&str] = &["--windowsize", "--window-size", "--window", "-w", "-W"];

/// Adds to an error about a flag that there is not how what it means elsewhere is said here.
pub(crate) fn advised(mut error: clap::Error, elsewhere: Elsewhere) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let known = elsewhere.iter().find(|(flags, _)| flags.contains(&flag.as_str()));
    if let (ErrorKind::UnknownArgument, Some((_, here))) = (error.kind(), known) {
        // What looks alike means something else.
        error.remove(ContextKind::SuggestedArg);
        let tip = match here.starts_with('-') {
            // As clap says it of what looks alike.
            true => format!("a similar argument exists: '{here}'"),
            false => (*here).to_owned(),
        };
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

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
    fn a_whole_number_has_bounds_that_are_told() {
        let small = whole::<u8>(1..=255);
        assert_eq!([small("1"), small("255")], [Ok(1), Ok(255)]);
        for nonsense in ["0", "256", "", "x", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(small(nonsense), Err("write a whole number from 1 to 255".into()));
        }
        let any = whole::<usize>(0..=u64::MAX);
        assert_eq!([any("0"), any("x")], [Ok(0), Err("write a whole number, 0 or more".into())]);
    }

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
