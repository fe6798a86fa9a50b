//! What a person or a script is told: progress, the end, and what to do when it went wrong.

use crate::args::ReportArgs;
use crate::progress::Bar;
use crate::record::{Record, Task, kind};
use crate::shown::{bytes, harmless, rate};
use crate::signals::{Cause, Stop};
use crate::text::{complain, told};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;
use tftpkit::client::{Failure, TFTP_PORT};
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
fn is_full(error: &anyhow::Error) -> bool {
    let is_full = |error: &StoreError| error.code() == ErrorCode::DiskFull;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_full))
}

/// What the user can do about it, in the menu or with a command line.
fn advice(operation: &str, in_menu: bool, error: &anyhow::Error) -> Option<String> {
    const SLOW: &str =
        "A device that erases or checks its flash may need longer: --timeout 20 --retries 10.";
    let is_put = matches!(operation, "put" | "upload");
    Some(match failure(error) {
        Some(Failure::NoAnswer(at) | Failure::Closed(at)) if meant_port(*at).is_some() => {
            format!("Is the port meant? Then it is {}.", meant_port(*at)?)
        }
        Some(Failure::Server { code: ErrorCode::NotFound, .. }) if is_put => {
            "The directory must be there, unless the server makes it: rtftpd does with --create-dirs."
                .into()
        }
        Some(Failure::Server { code: ErrorCode::NotFound, .. }) if in_menu => {
            "'list' shows what is there; names are case-sensitive.".into()
        }
        Some(Failure::Server { code: ErrorCode::AccessViolation, .. }) if is_put => {
            "The server may take no such file, or none at all; rtftpd takes uploads with --uploads.".into()
        }
        Some(Failure::NoListing) => {
            let get = if in_menu { "download NAME" } else { "rtftp get HOST FILE" };
            format!("'{get}' gets a file whose name you know.")
        }
        Some(Failure::Blocks { fits: Some(size), .. }) => {
            format!("Larger blocks are fewer: --blksize {}.", size.get())
        }
        Some(Failure::Blocks { fits: None, .. }) => {
            "No block is large enough for this file: split it, or take another server.".into()
        }
        Some(Failure::NoAnswer(_) | Failure::Unconfirmed | Failure::BrokenOff(..)) if is_put => {
            format!("{}\n  {SLOW}", usual_advice(error)?)
        }
        _ => usual_advice(error)?.into(),
    })
}

/// The address that is meant where the last part of one without brackets looks like a port, as in `::1:6969`.
fn meant_port(at: SocketAddr) -> Option<String> {
    let text = at.ip().to_string();
    let (address, port) = text.rsplit_once(':').filter(|_| at.port() == TFTP_PORT)?;
    let is_port = port.len() > 2 && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && address.parse::<Ipv6Addr>().is_ok()).then(|| format!("[{address}]:{port}"))
}

fn usual_advice(error: &anyhow::Error) -> Option<&'static str> {
    const ROOM: &str = "Make room on this machine.";
    const SILENT: &str =
        "Is the name right, does a TFTP server run there, and is its UDP port open on the way?";
    Some(match failure(error) {
        None if error.is::<Unresolved>() => SILENT,
        None if is_full(error) => ROOM,
        Some(Failure::NoAnswer(_) | Failure::Closed(_)) => SILENT,
        Some(Failure::BrokenOff(..)) => {
            "It did answer before: try again, where packets are lost with a smaller --windowsize."
        }
        Some(Failure::Unconfirmed) => "Get the file back and compare it, or put it again.",
        Some(Failure::Local { disk_full: true, .. }) => ROOM,
        Some(Failure::Server { code, .. }) => match code {
            ErrorCode::NotFound => {
                "'rtftp list HOST' shows what is there; names are case-sensitive."
            }
            ErrorCode::AccessViolation => {
                "It may be a directory, or a file that the server's user may not open."
            }
            ErrorCode::FileExists => {
                "Take another name; rtftpd replaces files with --uploads overwrite."
            }
            ErrorCode::DiskFull => "Make room on the server, or allow larger uploads there.",
            _ => return None,
        },
        _ => return None,
    })
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
pub(crate) fn fail(operation: &str, what: &str, error: &anyhow::Error) -> Class {
    let (class, in_menu) = (Class::of(error), what.is_empty());
    let what = if what.is_empty() { operation.to_owned() } else { format!("{operation} {what}") };
    complain(format_args!("rtftp: {}", harmless(&format!("{}: {}", short(&what), told(error)))));
    if let Some(advice) = advice(operation, in_menu, error) {
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
}

impl Reporter {
    pub(crate) fn new(args: ReportArgs) -> Self {
        Self { args, stdout_taken: false, stop: Stop::default() }
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
        let class = fail(task.operation, what, &error);
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
            let advice = advice("get", false, &error).unwrap_or_default();
            assert_eq!(advice.is_empty(), says.is_empty(), "{told}: {advice}");
            assert!(advice.contains(says), "{told}: {advice}");
        }
    }

    #[test]
    fn what_fails_before_a_server_is_asked_has_its_exit_status_too() {
        let of = |error: anyhow::Error| (Class::of(&error), advice("get", false, &error).is_some());
        let full = StoreError::full("the disk is full");
        assert_eq!(of(anyhow::Error::from(full).context("x")), (Class::DiskFull, true));
        let unresolved = Unresolved { host: "h".into(), reason: "r".into() };
        assert_eq!(of(unresolved.into()), (Class::NoAnswer, true));
        assert_eq!(of(anyhow::anyhow!("cannot read 'x'")), (Class::Local, false));
    }

    #[test]
    fn a_put_that_is_not_answered_is_told_how_to_wait_longer() {
        let at = ([127, 0, 0, 1], 69).into();
        for failure in [Failure::NoAnswer(at), Failure::Unconfirmed, Failure::BrokenOff(at, 9)] {
            let error = anyhow::Error::from(failure);
            let tells = |operation| {
                advice(operation, false, &error).expect("advice").contains("--timeout 20")
            };
            assert_eq!(["put", "upload", "get"].map(tells), [true, true, false], "{error}");
        }
    }

    #[test]
    fn a_port_that_became_a_part_of_an_address_is_told() {
        let told = |at: &str| {
            let at = at.parse().expect("an address");
            advice("list", false, &Failure::Closed(at).into()).expect("advice")
        };
        assert_eq!(told("[::1:6969]:69"), "Is the port meant? Then it is [::1]:6969.");
        assert_eq!(
            told("[2001:db8::1:6969]:69"),
            "Is the port meant? Then it is [2001:db8::1]:6969."
        );
        for plain in
            ["[::1]:69", "[::1:6969]:70", "[2001:db8::1:12]:69", "[::1:a969]:69", "127.0.0.1:69"]
        {
            assert!(told(plain).starts_with("Is the name right"), "{plain}");
        }
        let absent = Failure::Server { code: ErrorCode::NotFound, message: String::new() };
        let absent = absent.into();
        for operation in ["download", "list", "cd"] {
            let told = advice(operation, true, &absent).expect("advice");
            assert!(told.starts_with("'list' shows"), "{operation}: {told}");
        }
        let told = advice("get", false, &absent).expect("advice");
        assert!(told.starts_with("'rtftp list HOST' shows"), "{told}");
        let no_listing = advice("list", true, &Failure::NoListing.into()).expect("advice");
        assert!(no_listing.starts_with("'download NAME' gets"), "{no_listing}");
    }

    #[test]
    fn a_put_that_is_refused_is_told_what_a_server_may_want() {
        for operation in ["put", "upload"] {
            let told = |code| {
                let refused = server(code).into();
                advice(operation, operation == "upload", &refused).expect("advice")
            };
            assert!(told(ErrorCode::NotFound).ends_with("with --create-dirs."));
            assert!(told(ErrorCode::AccessViolation).ends_with("with --uploads."));
        }
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
    }
}
