//! Events as log lines, on standard error: one for each transfer that ended, few for everything else.

use crate::args::Args;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tftpkit::server::{Asked, Event};
use tftpkit::transfer::{Outcome, Summary};
use tftpkit::wire::{ErrorCode, Operation};
use tracing::level_filters::LevelFilter;
use tracing::{Level, debug, error, info, warn};

/// Lines at once; a rack that boots is well within it.
const BURST: f64 = 5_000.0;
/// Lines in each second after that: nobody can fill a disk by asking.
const PER_SECOND: f64 = 500.0;
/// Characters of a name or a text: as many as a request of 512 octets may have (RFC 2347).
const LONGEST: usize = 512;

/// Sets up where lines go.
pub(crate) fn start(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => Level::WARN,
        (_, 0) => Level::INFO,
        _ => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    // A line that cannot be written is lost; to complain about it, on the same standard error, would be a panic.
    let lines = lines.with_writer(std::io::stderr).log_internal_errors(false);
    if args.json {
        lines.json().flatten_event(true).init();
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
            && std::env::var_os("NO_COLOR").is_none();
        lines.with_ansi(colours).init();
    }
}

/// Writes lines, as many as are allowed.
#[derive(Debug)]
pub(crate) struct Log(Mutex<Allowance>);

#[derive(Debug)]
struct Allowance {
    tokens: f64,
    at: Instant,
    suppressed: u64,
    /// When lines were last said to be left out.
    told: Instant,
}

impl Default for Log {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Allowance { tokens: BURST, at: now, suppressed: 0, told: now }))
    }
}

impl Log {
    pub(crate) fn tell(&self, event: Event<'_>) {
        // What is not written costs nobody's line.
        if level(&event) > LevelFilter::current() || !self.may_write() {
            return;
        }
        match event {
            Event::Finished { asked, summary } => finished(asked, summary),
            Event::Refused { asked, code, why } => refused(asked, code, why),
            Event::Malformed { peer, why } => debug!(%peer, %why, "malformed"),
            Event::Turned { peer, why } => warn!(%peer, %why, "turned away"),
            Event::Stray { peer } => debug!(%peer, "stray packet"),
            Event::Failed { asked, error } => {
                error!(file = file(asked), peer = %asked.peer, %error, "failed");
            }
            _ => {}
        }
    }

    fn may_write(&self) -> bool {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refill = now.duration_since(allowance.at).as_secs_f64() * PER_SECOND;
        allowance.tokens = (allowance.tokens + refill).min(BURST);
        allowance.at = now;
        if allowance.tokens < 1.0 {
            allowance.suppressed += 1;
            return false;
        }
        allowance.tokens -= 1.0;
        let told = now.duration_since(allowance.told) < Duration::from_secs(1);
        if allowance.suppressed > 0 && !told {
            let lines = std::mem::take(&mut allowance.suppressed);
            allowance.told = now;
            warn!(lines, "log lines left out: too many in too short a time");
        }
        true
    }
}

fn level(event: &Event<'_>) -> Level {
    match event {
        Event::Finished { asked, summary } => judge(summary, asked.operation).0,
        Event::Refused { asked, code, .. } if is_probe(asked, *code) => Level::INFO,
        Event::Refused { .. } | Event::Turned { .. } => Level::WARN,
        Event::Failed { .. } => Level::ERROR,
        _ => Level::DEBUG,
    }
}

/// Boot loaders ask for many files that need not be there.
fn is_probe(asked: &Asked, code: ErrorCode) -> bool {
    asked.operation != Operation::Write && code == ErrorCode::NotFound
}

/// The name as it was asked for.
fn file(asked: &Asked) -> String {
    harmless(&asked.name)
}

/// Bytes from the network, fit for a log line. Both forms of a line escape most control characters by themselves;
/// JSON leaves those that only a terminal takes for one.
fn harmless(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (n, c) in String::from_utf8_lossy(bytes).chars().enumerate() {
        match c {
            _ if n == LONGEST => {
                out.push('…');
                break;
            }
            '\u{7f}'..='\u{9f}' => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn refused(asked: &Asked, code: ErrorCode, why: &str) {
    let (file, peer) = (file(asked), asked.peer);
    if is_probe(asked, code) {
        info!(file, %peer, "not there");
    } else {
        let operation = asked.operation;
        warn!(file, %peer, %operation, error = u16::from(code), why, "refused");
    }
}

fn finished(asked: &Asked, summary: &Summary) {
    let seconds = summary.elapsed.as_secs_f64();
    let rate = format!("{:.1} MB/s", summary.bytes as f64 / 1e6 / seconds.max(1e-6));
    let (level, message, outcome) = judge(summary, asked.operation);
    macro_rules! line {
        ($level:ident) => {
            $level!(
                file = file(asked),
                peer = %asked.peer,
                bytes = summary.bytes,
                seconds = (seconds * 1e4).round() / 1e4,
                rate,
                retransmitted = summary.retransmitted,
                outcome,
                "{message}"
            )
        };
    }
    match level {
        Level::ERROR => line!(error),
        Level::WARN => line!(warn),
        _ => line!(info),
    }
}

/// How bad it is, and in which words.
fn judge(summary: &Summary, operation: Operation) -> (Level, &'static str, String) {
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
            let outcome = format!("ended by the client: {} (code {code})", harmless(text));
            (Level::INFO, "ended", outcome)
        }
        Some(Outcome::Silent | Outcome::Unreachable) if nothing_sent => {
            (Level::INFO, "unanswered", "the client did not answer".into())
        }
        Some(Outcome::Unreachable) => (Level::WARN, "lost", "the client's port is closed".into()),
        Some(Outcome::Local(_, error)) => (Level::ERROR, "failed", error.clone()),
        Some(Outcome::Oversized) => (Level::WARN, "failed", "a block larger than agreed".into()),
        Some(Outcome::Short) => {
            (Level::WARN, "failed", "it ended before all was there that its tsize said".into())
        }
        Some(Outcome::Forgotten) => {
            (Level::INFO, "ended", "the client asked for something else".into())
        }
        Some(Outcome::Stopped) => (Level::WARN, "ended", "ended by the server".into()),
        Some(Outcome::Silent | Outcome::Disagreement(_)) | None => {
            (Level::WARN, "lost", "the client fell silent".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tftpkit::server::Refusal;

    #[test]
    fn a_line_that_is_not_written_costs_no_other_its_place() {
        // Nothing is set up that would write.
        let log = Log::default();
        for _ in 0..10 {
            let peer = ([127, 0, 0, 1], 2000).into();
            log.tell(Event::Turned { peer, why: Refusal::Sessions });
        }
        assert_eq!(log.0.lock().expect("no panic").tokens.to_bits(), BURST.to_bits());
    }

    #[test]
    fn a_text_is_told_to_its_longest_and_no_longer() {
        let told = |len| harmless(&vec![b'n'; len]);
        assert_eq!(told(LONGEST), "n".repeat(LONGEST));
        assert_eq!(told(LONGEST + 1), format!("{}…", "n".repeat(LONGEST)));
    }
}
