//! What a person or a script is told: progress, the end, and what to do when it went wrong.

use crate::args::ReportArgs;
use crate::text::{complain, harmless};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tftpkit::client::{Failure, Progress};
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
            Some(failure) => Self::of_failure(failure),
            None if error.is::<Unresolved>() => Self::NoAnswer,
            None if is_full(error) => Self::DiskFull,
            None => Self::Local,
        }
    }

    pub(crate) const fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::NoAnswer(_) | Failure::Closed(_) | Failure::BrokenOff(..) => Self::NoAnswer,
            Failure::Unconfirmed => Self::Unconfirmed,
            Failure::Nul => Self::Usage,
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
fn failure(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether this machine has no room, as is known before anything was asked of a server.
fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Full(_))))
}

/// What the user can do about it.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
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
                "It may be a directory, or a file that the server's user may not open; rtftpd takes uploads with \
                 --uploads."
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

/// A host's name has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the host '{host}': {reason}")]
pub(crate) struct Unresolved {
    pub(crate) host: String,
    pub(crate) reason: String,
}

/// Tells what failed, why, and what to do.
pub(crate) fn fail(what: &str, error: &anyhow::Error) -> Class {
    let class = Class::of(error);
    complain(format_args!("rtftp: {}", harmless(&format!("{what}: {error:#}"))));
    if let Some(advice) = advice(error) {
        complain(format_args!("  {advice}"));
    }
    class
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    args: ReportArgs,
    /// Standard output is taken by a file.
    stdout_taken: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    operation: &'a str,
    remote: &'a str,
    bytes: u64,
    seconds: f64,
    packets: u64,
    retransmitted: u64,
    blksize: usize,
    windowsize: u16,
}

#[derive(Serialize)]
struct FailureReport<'a> {
    operation: &'a str,
    remote: &'a str,
    error: String,
    exit: u8,
}

impl Reporter {
    pub(crate) const fn new(args: ReportArgs, stdout_taken: bool) -> Self {
        Self { args, stdout_taken }
    }

    /// A progress bar, on a terminal; nothing elsewhere.
    pub(crate) fn bar(&self, name: &str) -> Bar {
        if self.args.quiet || self.args.json || !io::stderr().is_terminal() {
            return Bar(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The message draws the first picture.
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(harmless(name));
        Bar(Some(bar))
    }

    /// Runs one transfer and tells how it ended.
    pub(crate) fn finish(
        &self,
        operation: &str,
        target: &impl Display,
        transfer: impl FnOnce() -> anyhow::Result<Summary>,
    ) -> Class {
        match transfer() {
            Ok(summary) => self.done(operation, &target.to_string(), &summary),
            Err(error) => self.failed(operation, target, &error),
        }
    }

    /// Tells what failed, programs as well as people.
    pub(crate) fn failed(
        &self,
        operation: &str,
        target: &impl Display,
        error: &anyhow::Error,
    ) -> Class {
        let class = fail(&format!("{operation} {target}"), error);
        if self.args.json {
            let (remote, exit) = (&*target.to_string(), class as u8);
            let error = format!("{error:#}");
            self.line(&FailureReport { operation, remote, error, exit });
        }
        class
    }

    fn line(&self, report: &impl Serialize) -> Class {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        if self.stdout_taken {
            let _ = io::stderr().write_all(&line);
            return Class::Done;
        }
        print(&line)
    }

    fn done(&self, operation: &str, remote: &str, summary: &Summary) -> Class {
        if self.args.json {
            return self.line(&report(operation, remote, summary));
        }
        if !self.args.quiet && io::stderr().is_terminal() {
            complain(format_args!("{}: {}", harmless(remote), in_words(summary)));
        }
        Class::Done
    }
}

/// "1.00 MiB in 0.02 s (50.0 MB/s)".
pub(crate) fn in_words(summary: &Summary) -> String {
    let seconds = summary.elapsed.as_secs_f64();
    let rate = summary.bytes as f64 / 1e6 / seconds.max(1e-6);
    let again = match summary.retransmitted {
        0 => String::new(),
        n => format!(", {n} packets sent again"),
    };
    format!("{} in {seconds:.2} s ({rate:.1} MB/s{again})", HumanBytes(summary.bytes))
}

fn report<'a>(operation: &'a str, remote: &'a str, summary: &Summary) -> Report<'a> {
    Report {
        operation,
        remote,
        bytes: summary.bytes,
        seconds: summary.elapsed.as_secs_f64(),
        packets: summary.packets,
        retransmitted: summary.retransmitted,
        blksize: summary.agreed.block_size().get(),
        windowsize: summary.agreed.window().get(),
    }
}

/// Progress on a terminal.
#[derive(Debug)]
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(crate) fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else { return };
        if let (Some(total), None) = (progress.total, bar.length()) {
            let template = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            // It is drawn from here on.
            bar.set_length(total);
        } else if progress.total.is_none() && progress.bytes > 0 && bar.position() == 0 {
            let template = "{msg} {spinner} {bytes} {bytes_per_sec}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar.set_position(progress.bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let cases: [(Failure, Class, &str); 19] = [
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
            (server(E::AccessViolation), Class::Denied, "with --uploads."),
            (server(E::FileExists), Class::Denied, "--uploads overwrite"),
            (server(E::NoSuchUser), Class::Denied, ""),
            (server(E::DiskFull), Class::DiskFull, "on the server"),
            (server(E::Undefined), Class::Protocol, ""),
            (server(E::OptionRefused), Class::Protocol, ""),
            (Failure::Protocol(String::new()), Class::Protocol, ""),
            (Failure::NoListing, Class::Protocol, ""),
            (Failure::TooLong(9), Class::Protocol, ""),
        ];
        for (failure, class, says) in cases {
            let told = failure.to_string();
            let error = anyhow::Error::from(failure).context("about a file");
            assert_eq!(Class::of(&error), class, "{told}");
            let advice = advice(&error).unwrap_or_default();
            assert_eq!(advice.is_empty(), says.is_empty(), "{told}: {advice}");
            assert!(advice.contains(says), "{told}: {advice}");
        }
    }

    #[test]
    fn what_fails_before_a_server_is_asked_has_its_exit_status_too() {
        let of = |error: anyhow::Error| (Class::of(&error), advice(&error).is_some());
        let full = StoreError::full("the disk is full");
        assert_eq!(of(anyhow::Error::from(full).context("x")), (Class::DiskFull, true));
        let unresolved = Unresolved { host: "h".into(), reason: "r".into() };
        assert_eq!(of(unresolved.into()), (Class::NoAnswer, true));
        assert_eq!(of(anyhow::anyhow!("cannot read 'x'")), (Class::Local, false));
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
        assert_eq!(in_words(&summary), "3.00 MiB in 0.25 s (12.6 MB/s)");
        (summary.retransmitted, summary.elapsed) = (7, Duration::ZERO);
        assert!(in_words(&summary).ends_with(" MB/s, 7 packets sent again)"));
    }
}
