//! What a person or a script is told: progress, the end, and what to do when it went wrong.

use crate::advice::Advice;
use crate::args::ReportArgs;
use crate::progress::Bar;
use crate::record::{Record, Task, kind};
use crate::shown::told;
use crate::shown::{bytes, harmless, rate};
use crate::signals::{Cause, Stop};
use crate::text::complain;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Instant;
use tftpkit::client::Failure;
use tftpkit::store::StoreError;
use tftpkit::transfer::{Summary, error_code};
use tftpkit::wire::ErrorCode;

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Done = 0,
    Local = 1,
    Usage = 2,
    NoAnswer = 3,
    NotFound = 4,
    Denied = 5,
    DiskFull = 6,
    Protocol = 7,
    Unconfirmed = 8,
}

impl Class {
    /// Runs all, and tells of the first that went wrong.
    pub(crate) fn first(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::Done, |first, next| if first == Self::Done { next } else { first })
    }

    /// Errors that are not a [`Failure`] are about something local.
    fn of(error: &anyhow::Error) -> Self {
        match failure(error) {
            _ if error.is::<TimeOver>() => Self::NoAnswer,
            Some(failure) => Self::of_failure(failure),
            None if error.is::<Unresolved>() => Self::NoAnswer,
            None if is_full(error) => Self::DiskFull,
            None => Self::Local,
        }
    }

    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::NoAnswer(_) | Failure::Closed(_) | Failure::BrokenOff(..) => Self::NoAnswer,
            Failure::Unconfirmed => Self::Unconfirmed,
            Failure::Blocks { failure, .. } => Self::of_failure(failure),
            Failure::Nul | Failure::NameTooLong { .. } => Self::Usage,
            Failure::Local { disk_full: true, .. } => Self::DiskFull,
            Failure::Local { .. } | Failure::Socket(_) | Failure::Cancelled => Self::Local,
            Failure::Server { code, .. } => match code {
                ErrorCode::NotFound => Self::NotFound,
                ErrorCode::AccessViolation | ErrorCode::FileExists | ErrorCode::NoSuchUser => {
                    Self::Denied
                }
                ErrorCode::DiskFull => Self::DiskFull,
                _ => Self::Protocol,
            },
            _ => Self::Protocol,
        }
    }
}

/// The library's word in an error; others are about something local.
pub(crate) fn failure(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether this machine has no room, as is known before anything was asked of a server.
pub(crate) fn is_full(error: &anyhow::Error) -> bool {
    let is_full = |error: &StoreError| error.code() == ErrorCode::DiskFull;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_full))
}

/// The kind of an error, in a word or two that stay.
pub(crate) fn kind_of(error: &anyhow::Error) -> &'static str {
    match failure(error) {
        _ if error.is::<TimeOver>() => "time over",
        Some(failure) => kind(failure),
        None if error.is::<Unresolved>() => "no such host",
        None if is_full(error) => "disk full",
        None => "local",
    }
}

/// It took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the time that --max-time gives is over")]
pub(crate) struct TimeOver;

/// A host's name has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the host '{host}': {reason}")]
pub(crate) struct Unresolved {
    pub(crate) host: String,
    pub(crate) reason: String,
}

/// Tells what failed, why, and what to do. In the menu nothing is said of `what`: the error has the name.
pub(crate) fn fail(operation: &str, what: &str, error: &anyhow::Error, advice: &Advice) -> Class {
    let class = Class::of(error);
    let what = if what.is_empty() { operation.to_owned() } else { format!("{operation} {what}") };
    complain(format_args!("rtftp: {}", harmless(&format!("{}: {}", short(&what), told(error)))));
    if let Some(advice) = advice.about(operation, error) {
        complain(format_args!("  {advice}"));
    }
    class
}

/// A name as long as people read names: its front and its end.
fn short(name: &str) -> String {
    const MOST: usize = 240;
    let all: Vec<char> = name.chars().collect();
    if all.len() <= MOST {
        return name.to_owned();
    }
    let [front, end] = [&all[..MOST / 2], &all[all.len() - MOST / 4..]];
    [front, &['.', '.', '.'], end].concat().into_iter().collect()
}

/// Prints on standard output. Whoever closed it has seen enough; any other failure is one.
pub(crate) fn print(text: &[u8]) -> Class {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("rtftp: cannot write to standard output: {error}"));
            match error_code(&error) {
                ErrorCode::DiskFull => Class::DiskFull,
                _ => Class::Local,
            }
        }
        _ => Class::Done,
    }
}

/// Tells of transfers as the command line wants it.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    args: ReportArgs,
    /// Standard output is taken by a file.
    stdout_taken: bool,
    /// What may have ended them.
    stop: Stop,
    advice: Rc<Advice>,
}

impl Reporter {
    pub(crate) fn new(args: ReportArgs) -> Self {
        Self { args, stdout_taken: false, stop: Stop::default(), advice: Rc::default() }
    }

    /// One of transfers that this may end.
    pub(crate) fn stopped_by(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// One whose lines go where the file does not.
    pub(crate) fn beside(self, stdout_taken: bool) -> Self {
        Self { stdout_taken, ..self }
    }

    /// A progress bar, on a terminal; nothing elsewhere. Until there is an answer it says that `asking`.
    pub(crate) fn bar(&self, name: &str, asking: &str) -> Bar {
        if self.args.quiet || self.args.json || !io::stderr().is_terminal() {
            return Bar::default();
        }
        Bar::on_terminal(name, asking)
    }

    /// Runs one transfer, under this name on the terminal, and tells how it ended.
    pub(crate) fn run(
        &self,
        task: &Task,
        (name, asking): (&str, &str),
        transfer: impl FnOnce(&Bar) -> anyhow::Result<Summary>,
    ) -> Class {
        let (began, bar) = (Instant::now(), self.bar(name, asking));
        let done = transfer(&bar);
        let last = bar.last();
        drop(bar);
        match done {
            Ok(summary) => self.done(task, &summary),
            Err(error) => {
                self.failed(Record::whole(task, last, began.elapsed().as_secs_f64()), task, error)
            }
        }
    }

    /// Tells what failed, programs as well as people. `so_far` is how it went until then.
    pub(crate) fn failed(&self, so_far: Record, task: &Task, error: anyhow::Error) -> Class {
        let error = self.as_ended(error);
        let what = task.remote.as_deref().unwrap_or_default();
        let class = fail(task.operation, what, &error, &self.advice);
        if self.args.json {
            let record = so_far.failed(class, kind_of(&error), told(&error));
            self.line(&record.code(failure(&error)));
        }
        class
    }

    /// The time that is over is why it was cancelled, or why it is not waited for any longer.
    fn as_ended(&self, error: anyhow::Error) -> anyhow::Error {
        match (self.stop.cause(), failure(&error)) {
            (Some(Cause::Time), Some(Failure::Cancelled)) => TimeOver.into(),
            (Some(Cause::Time), _) => error.context(TimeOver),
            (Some(Cause::Signal(_)), _) => Failure::Cancelled.into(),
            (None, _) => error,
        }
    }

    /// One line of JSON.
    pub(crate) fn line(&self, report: &impl Serialize) -> Class {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        if self.stdout_taken {
            let _ = io::stderr().write_all(&line);
            return Class::Done;
        }
        print(&line)
    }

    fn done(&self, task: &Task, summary: &Summary) -> Class {
        if let Some(warning) = warning(summary) {
            let what = format!("{} {}", task.operation, task.remote.as_deref().unwrap_or_default());
            complain(format_args!("rtftp: {}: {warning}", harmless(&short(&what))));
        }
        if self.args.json {
            return self.line(&Record::done(task, summary));
        }
        if !self.args.quiet && io::stderr().is_terminal() {
            let remote = task.remote.as_deref().unwrap_or_default();
            let local = task.local.as_deref().unwrap_or_default();
            let (from, to) =
                if task.operation == "put" { (local, remote) } else { (remote, local) };
            complain(went(from, to, summary));
        }
        Class::Done
    }
}

/// What is to be known of a transfer that went well.
pub(crate) fn warning(summary: &Summary) -> Option<&'static str> {
    summary.end_missing.then_some(
        "the server never sent the empty block that ends the file; by the size that it told, the file is whole",
    )
}

/// What went where.
pub(crate) fn went(from: &str, to: &str, summary: &Summary) -> String {
    format!("{} -> {}: {}", harmless(from), harmless(to), in_words(summary))
}

/// "1.00 MiB in 0.02 s (50.00 MiB/s)".
pub(crate) fn in_words(summary: &Summary) -> String {
    let seconds = summary.elapsed.as_secs_f64();
    // Of a few blocks it says nothing.
    let is_telling = summary.bytes >= 64 << 10;
    let rate = is_telling.then(|| rate(summary.bytes as f64 / seconds.max(1e-6)));
    let again = match summary.retransmitted {
        0 => None,
        1 => Some("1 packet sent again".into()),
        many => Some(format!("{many} packets sent again")),
    };
    let told: Vec<_> = rate.into_iter().chain(again).collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    format!("{} in {seconds:.2} s{told}", bytes(summary.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn server(code: ErrorCode) -> Failure {
        Failure::Server { code, message: String::new() }
    }

    fn local(disk_full: bool) -> Failure {
        Failure::Local { error: "broken".into(), disk_full }
    }

    #[test]
    fn each_failure_has_its_exit_status_and_says_what_can_be_done() {
        use ErrorCode as E;
        let at = ([127, 0, 0, 1], 69).into();
        let broken = Box::new(Failure::BrokenOff(at, 9));
        let fits = tftpkit::wire::BlockSize::new(1428);
        let too_many =
            |fits| Failure::Blocks { failure: Box::new(Failure::Unconfirmed), blocks: 9, fits };
        let cases: [(Failure, Class, &str); 23] = [
            (
                Failure::Blocks { failure: broken, blocks: 9, fits },
                Class::NoAnswer,
                "--blksize 1428",
            ),
            (too_many(None), Class::Unconfirmed, "split it"),
            (Failure::Words("no".into()), Class::Protocol, ""),
            (Failure::NameTooLong { bytes: 9, room: 8 }, Class::Usage, ""),
            (Failure::NoAnswer(at), Class::NoAnswer, "Is the name right"),
            (Failure::Closed(at), Class::NoAnswer, "Is the name right"),
            (Failure::BrokenOff(at, 9), Class::NoAnswer, "try again"),
            (Failure::Unconfirmed, Class::Unconfirmed, "Get the file back"),
            (Failure::Nul, Class::Usage, ""),
            (local(true), Class::DiskFull, "on this machine"),
            (local(false), Class::Local, ""),
            (Failure::Socket(io::ErrorKind::Other.into()), Class::Local, ""),
            (Failure::Cancelled, Class::Local, ""),
            (server(E::NotFound), Class::NotFound, "'rtftp list HOST' shows"),
            (server(E::AccessViolation), Class::Denied, "may not open."),
            (server(E::FileExists), Class::Denied, "--uploads overwrite"),
            (server(E::NoSuchUser), Class::Denied, ""),
            (server(E::DiskFull), Class::DiskFull, "on the server"),
            (server(E::Undefined), Class::Protocol, ""),
            (server(E::OptionRefused), Class::Protocol, ""),
            (Failure::Protocol(String::new()), Class::Protocol, ""),
            (Failure::NoListing, Class::Protocol, "'rtftp get HOST FILE' gets"),
            (Failure::TooLong(9), Class::Protocol, ""),
        ];
        for (failure, class, says) in cases {
            let told = failure.to_string();
            let error = anyhow::Error::from(failure).context("about a file");
            assert_eq!(Class::of(&error), class, "{told}");
            let advice = Advice::default().about("get", &error).unwrap_or_default();
            assert_eq!(advice.is_empty(), says.is_empty(), "{told}: {advice}");
            assert!(advice.contains(says), "{told}: {advice}");
        }
    }

    #[test]
    fn what_fails_before_a_server_is_asked_has_its_exit_status_too() {
        let of = |error: anyhow::Error| {
            (Class::of(&error), kind_of(&error), Advice::default().about("get", &error).is_some())
        };
        let full = anyhow::Error::from(StoreError::full("the disk is full")).context("x");
        assert_eq!(of(full), (Class::DiskFull, "disk full", true));
        let unresolved = || Unresolved { host: "h".into(), reason: "r".into() };
        assert_eq!(of(unresolved().into()), (Class::NoAnswer, "no such host", true));
        assert_eq!(of(anyhow::anyhow!("cannot read 'x'")), (Class::Local, "local", false));
        assert_eq!(of(TimeOver.into()), (Class::NoAnswer, "time over", false));
        let waited = anyhow::Error::from(unresolved()).context(TimeOver);
        assert_eq!(of(waited), (Class::NoAnswer, "time over", true), "what it waited for is told");
    }

    #[test]
    fn of_a_long_name_the_front_and_the_end_are_told() {
        let name = |bytes: usize| format!("{}end", "x".repeat(bytes - 3));
        assert_eq!(short(&name(240)), name(240));
        let told = format!("{}...{}end", "x".repeat(120), "x".repeat(57));
        assert_eq!(short(&name(241)), told);
    }

    #[test]
    fn of_several_classes_the_first_failure_counts() {
        let first = |all: &[Class]| Class::first(all.iter().copied());
        assert_eq!(first(&[]), Class::Done);
        assert_eq!(first(&[Class::Done, Class::Denied, Class::Done, Class::Local]), Class::Denied);
    }

    #[test]
    fn a_transfer_is_told_in_a_few_words() {
        let mut summary = Summary::default();
        (summary.bytes, summary.elapsed) = (3 << 20, Duration::from_millis(250));
        assert_eq!(in_words(&summary), "3.00 MiB in 0.25 s (12.00 MiB/s)");
        (summary.retransmitted, summary.elapsed) = (7, Duration::ZERO);
        assert!(in_words(&summary).ends_with("iB/s, 7 packets sent again)"));
        (summary.retransmitted, summary.bytes) = (1, 5);
        assert_eq!(in_words(&summary), "5 B in 0.00 s (1 packet sent again)");
        (summary.retransmitted, summary.elapsed) = (0, Duration::from_secs(2));
        let of = |bytes| {
            summary.bytes = bytes;
            in_words(&summary)
        };
        let names = went("a\u{202e}", "b\u{1b}[2J", &Summary::default());
        assert_eq!(names, "a\\u{202e} -> b\\u{1b}[2J: 0 B in 0.00 s");
        let told = ["64.00 KiB in 2.00 s", "64.00 KiB in 2.00 s (32.00 KiB/s)"];
        assert_eq!([65_535, 65_536].map(of), told, "a few blocks have no rate");
    }
}
