//! How transfers ended: how bad that is, and in which words it is told.

use crate::log::told;
use tftpkit::transfer::{Outcome, Summary};
use tftpkit::wire::{ErrorCode, Operation};
use tracing::Level;

/// The code of the ERROR that ended it, from either side.
pub(crate) fn error_of(outcome: &Outcome) -> Option<ErrorCode> {
    match outcome {
        Outcome::PeerError(code, _) | Outcome::Local(code, _) => Some(*code),
        Outcome::Oversized => Some(ErrorCode::IllegalOperation),
        Outcome::Short | Outcome::Stopped => Some(ErrorCode::Undefined),
        _ => None,
    }
}

/// Seconds, to a tenth of a millisecond, and bytes in each.
pub(crate) fn pace(summary: &Summary) -> (f64, f64) {
    let seconds = summary.elapsed.as_secs_f64();
    let rate = summary.bytes as f64 / seconds.max(1e-6);
    ((seconds * 1e4).round() / 1e4, rate)
}

/// Whether somebody may want to know why it ended so.
pub(crate) fn is_failure(summary: &Summary, operation: Operation) -> bool {
    let (level, message, _) = judge(summary, operation);
    level <= Level::WARN
        || (message == "ended" && matches!(summary.outcome, Some(Outcome::PeerError(..))))
}

/// How bad it is, and in which words.
pub(crate) fn judge(summary: &Summary, operation: Operation) -> (Level, &'static str, String) {
    let done = match operation {
        Operation::Read => "sent",
        Operation::Write => "received",
        Operation::List => "listed",
    };
    let nothing_sent = operation != Operation::Write && summary.bytes == 0;
    match &summary.outcome {
        Some(Outcome::Complete) => (Level::INFO, done, "complete".into()),
        Some(Outcome::Unconfirmed) => (Level::INFO, done, "unconfirmed".into()),
        Some(Outcome::PeerError(ErrorCode::Undefined | ErrorCode::OptionRefused, _))
            if nothing_sent =>
        {
            (Level::INFO, "probed", "the client only asked for the size".into())
        }
        Some(Outcome::PeerError(code, text)) => {
            let outcome = format!("ended by the client: {} (code {code})", told(text));
            (Level::INFO, "ended", outcome)
        }
        Some(Outcome::Silent | Outcome::Unreachable) if nothing_sent => {
            (Level::INFO, "unanswered", "the client did not answer".into())
        }
        Some(Outcome::Unreachable) => (Level::WARN, "lost", "the client's port is closed".into()),
        Some(Outcome::Local(ErrorCode::AccessViolation, why)) => {
            (Level::WARN, "refused", why.clone())
        }
        Some(Outcome::Local(_, error)) => (Level::ERROR, "failed", error.clone()),
        Some(Outcome::Oversized) => (Level::WARN, "failed", "a block larger than agreed".into()),
        Some(Outcome::Short) => {
            (Level::WARN, "failed", "it ended before all was there that its tsize said".into())
        }
        Some(Outcome::Superseded) => {
            (Level::INFO, "ended", "the client asked for something else".into())
        }
        Some(Outcome::Stopped) => (Level::WARN, "ended", "ended by the server".into()),
        // A server's transfers end in no other way.
        _ => (Level::WARN, "lost", "the client fell silent".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown;
    use std::time::Duration;

    #[test]
    fn each_end_of_a_transfer_has_its_level_and_its_words() {
        use Operation::{List, Read, Write};
        use Outcome as O;
        let by_peer = |code: ErrorCode| O::PeerError(code, b"no\x7f".to_vec());
        let cut = "ended by the client: no\\u{7f} (code 0)";
        let (probed, unanswered) =
            ("the client only asked for the size", "the client did not answer");
        let cases = [
            (Read, 9, O::Complete, "INFO sent: complete"),
            (Write, 9, O::Complete, "INFO received: complete"),
            (List, 9, O::Complete, "INFO listed: complete"),
            (Read, 9, O::Unconfirmed, "INFO sent: unconfirmed"),
            (Read, 0, by_peer(ErrorCode::Undefined), &format!("INFO probed: {probed}")),
            (List, 0, by_peer(ErrorCode::OptionRefused), &format!("INFO probed: {probed}")),
            (Read, 9, by_peer(ErrorCode::Undefined), &format!("INFO ended: {cut}")),
            (Write, 0, by_peer(ErrorCode::Undefined), &format!("INFO ended: {cut}")),
            (Read, 0, O::Silent, &format!("INFO unanswered: {unanswered}")),
            (Read, 0, O::Unreachable, &format!("INFO unanswered: {unanswered}")),
            (Write, 0, O::Silent, "WARN lost: the client fell silent"),
            (Read, 9, O::Silent, "WARN lost: the client fell silent"),
            (Write, 0, O::Unreachable, "WARN lost: the client's port is closed"),
            (Read, 9, O::Local(ErrorCode::Undefined, "bad disk".into()), "ERROR failed: bad disk"),
            (Write, 9, O::Oversized, "WARN failed: a block larger than agreed"),
            (Write, 9, O::Short, "WARN failed: it ended before all was there that its tsize said"),
            (Read, 9, O::Superseded, "INFO ended: the client asked for something else"),
            (Read, 9, O::Stopped, "WARN ended: ended by the server"),
        ];
        for (operation, bytes, outcome, told) in cases {
            let mut summary = Summary::default();
            (summary.bytes, summary.outcome) = (bytes, Some(outcome));
            let (level, message, outcome) = judge(&summary, operation);
            assert_eq!(format!("{level} {message}: {outcome}"), told);
            // Somebody who ended it may have had a reason; who asked for something else had.
            let may_matter = told.starts_with("WARN ")
                || told.starts_with("ERROR ")
                || told.starts_with("INFO ended: ended by the client");
            assert_eq!(is_failure(&summary, operation), may_matter, "{told}");
        }
        for (outcome, code) in [
            (by_peer(ErrorCode::DiskFull), Some(ErrorCode::DiskFull)),
            (O::Local(ErrorCode::NotFound, "gone".into()), Some(ErrorCode::NotFound)),
            (O::Oversized, Some(ErrorCode::IllegalOperation)),
            (O::Short, Some(ErrorCode::Undefined)),
            (O::Stopped, Some(ErrorCode::Undefined)),
            (O::Silent, None),
            (O::Complete, None),
        ] {
            assert_eq!(error_of(&outcome), code, "the code of the ERROR of {outcome:?}");
        }
    }

    #[test]
    fn a_time_is_told_to_a_tenth_of_a_millisecond_and_its_rate_from_all_its_digits() {
        let told = |bytes, micros| {
            let mut summary = Summary::default();
            (summary.bytes, summary.elapsed) = (bytes, Duration::from_micros(micros));
            let (seconds, rate) = pace(&summary);
            (seconds, shown::rate(rate))
        };
        assert_eq!(told(70_001, 913), (0.0009, "73.12 MiB/s".into()));
        assert_eq!(told(3_000_000, 1_234_567), (1.2346, "2.32 MiB/s".into()));
        assert_eq!(told(0, 0), (0.0, "0 B/s".into()));
    }
}
