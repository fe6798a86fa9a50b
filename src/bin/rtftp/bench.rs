//! A load on a server: what is told while it is under way, and the report.

use crate::args::BenchArgs;
use crate::record::{Record, Task, kind};
use crate::remote::{Server, get_targets};
use crate::report::{self, Class, Reporter};
use crate::shown::{bytes, harmless, rate};
use crate::signals::{ENDING, Stop, on};
use anyhow::{Context, Result, anyhow, bail};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tftpkit::client::{Failure, Failures, Latency, Load, Progress, Remote, Tally};

/// Puts the load on the server and prints what came of it.
pub(crate) fn run(args: &BenchArgs, reporter: &Reporter) -> Result<Class> {
    let targets = get_targets(&args.remotes)?;
    let Some(Remote { host, mode, .. }) = targets.first() else { bail!("no file is named") };
    if targets.iter().any(|other| (&other.host, other.mode) != (host, *mode)) {
        bail!("a load is for one server, and its files are of one mode");
    }
    let load = args.load(targets.iter().map(|target| target.name.clone()).collect());
    make_room_for(load.clients)?;
    // Ctrl-C ends the load and not the report.
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    on(&ENDING, move |_| told.store(true, Ordering::Relaxed))?;
    let mut server = Server::new(host, args.wishes.wishes(*mode), &Stop::default());
    let remote = Remote { host: host.clone(), name: Vec::new(), mode: *mode }.to_string();
    let task = Task { operation: "bench", remote: Some(remote), local: None };
    let failed =
        |error| Ok(reporter.failed(Record::whole(&task, Progress::default(), 0.0), &task, error));
    let client = match server.client() {
        Ok(client) => client,
        Err(error) => return failed(error),
    };
    let line = Line::new(args.quiet || args.json);
    let tally = client.load(&load, |tally| {
        line.show(tally, &load);
        if interrupted.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    drop(line);
    let tally = match tally.map_err(cannot_go_on) {
        Ok(tally) => tally,
        Err(error) => return failed(error),
    };
    let class = class(&tally, interrupted.load(Ordering::Relaxed));
    let printed = if args.json {
        let record = Record::of_load(&task, &tally, class);
        reporter.line(&Report::new(record, client.server(), &load, &tally))
    } else {
        report::print(in_words(client.server(), &load, &tally).as_bytes())
    };
    Ok(Class::first([printed, class].into_iter()))
}

fn cannot_go_on(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Socket(error) => anyhow!(error)
            .context("the load cannot go on: it takes a port and an open file for each client"),
        other => other.into(),
    }
}

/// That of the most frequent failure. A load that had its time and brought nothing whole is no success either.
fn class(tally: &Tally, interrupted: bool) -> Class {
    match tally.failures.iter().max_by_key(|failures| failures.count) {
        Some(most) => Class::of_failure(&most.first),
        None if tally.whole == 0 && !interrupted => Class::NoAnswer,
        None => Class::Done,
    }
}

/// Descriptors that are no client's.
const OTHER_DESCRIPTORS: u64 = 32;

/// Each client has a socket; the soft limit is often 1,024.
fn make_room_for(clients: usize) -> Result<()> {
    let needed = clients as u64 + OTHER_DESCRIPTORS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read a limit")?;
    if needed > hard {
        bail!(
            "{clients} clients need {needed} open files, and {hard} are allowed.\n  \
            Take fewer --clients, or raise the limit as root: 'ulimit -Hn {needed}' in the shell that starts this, \
            LimitNOFILE= of a systemd unit, or /etc/security/limits.conf."
        );
    }
    if needed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
            .context("cannot raise the limit of open files")?;
    }
    Ok(())
}

/// The line on a terminal that says how it is going.
struct Line(Option<ProgressBar>);

impl Line {
    fn new(quiet: bool) -> Self {
        if quiet || !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Self(Some(bar))
    }

    fn show(&self, tally: &Tally, load: &Load) {
        let Some(bar) = &self.0 else { return };
        let over = tally.elapsed >= load.duration;
        bar.set_message(format!(
            "{}{:.1} s  {}  {:.1} transfers/s  {} at once  {} failed",
            if over { "waiting for the last  " } else { "" },
            tally.elapsed.as_secs_f64(),
            rate(tally.bytes_per_second()),
            tally.transfers_per_second(),
            HumanCount(tally.at_once as u64),
            HumanCount(tally.failed()),
        ));
        bar.tick();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn in_words(server: SocketAddr, load: &Load, tally: &Tally) -> String {
    let mut out = String::new();
    let (clients, seconds) = (HumanCount(load.clients as u64), tally.elapsed.as_secs_f64());
    let how = load.rate.map_or_else(
        || format!("{clients} clients"),
        |rate| format!("{rate} a second, {clients} clients at most"),
    );
    let _ = writeln!(out, "{server}, {how}, {seconds:.1} s");
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<12}{text}");
    };
    line("goodput", format!("{} ({})", rate(tally.bytes_per_second()), bytes(tally.bytes)));
    let counts = [
        (tally.whole, "whole"),
        (tally.failed(), "failed"),
        (tally.cut, "cut off"),
        (tally.missed, "not begun for want of a free client"),
    ];
    let told = counts.iter().filter(|(count, what)| *count > 0 || *what == "whole");
    let told: Vec<_> = told.map(|(count, what)| format!("{} {what}", HumanCount(*count))).collect();
    let rate = tally.transfers_per_second();
    line("transfers", format!("{rate:.1}/s ({})", told.join(", ")));
    line("at once", format!("{} at most", HumanCount(tally.most_at_once as u64)));
    let [again, all] = [tally.retransmitted, tally.packets].map(HumanCount);
    line("sent again", format!("{again} of {all} packets from here"));
    for failures in by_count(tally) {
        let text = harmless(&failures.first.to_string());
        line("failed", format!("{}: {text}", HumanCount(failures.count)));
    }
    if tally.first_answer.count() > 0 {
        line("", format!("{:>10}{:>10}{:>10}{:>10}", "p50", "p90", "p99", "max"));
        let measured = [("answer", &tally.first_answer), ("transfer", &tally.transfer)];
        for (what, latency) in measured.into_iter().filter(|(_, latency)| latency.count() > 0) {
            let spans = QUANTILES.map(|part| latency.quantile(part)).into_iter();
            let spans = spans.chain([latency.max()]).map(|span| format!("{:>10}", short(span)));
            line(what, spans.collect());
        }
    }
    out + &drawn(&tally.transfer.octaves())
}

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// The longest bar of the histogram.
const BAR: u64 = 40;

/// How many transfers took how long.
fn drawn(octaves: &[(Duration, u64)]) -> String {
    let most = octaves.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let mut out = String::new();
    for &(from, count) in octaves {
        let bar = "#".repeat((count * BAR).div_ceil(most.max(1)) as usize);
        let _ = writeln!(
            out,
            "  {:>9} {bar:<40} {}",
            format!("< {}", short(2 * from)),
            HumanCount(count)
        );
    }
    out
}

/// Three digits and a unit.
fn short(span: Duration) -> String {
    let micros = span.as_micros() as f64;
    let (number, unit) = match micros {
        ..1e3 => (micros, "us"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    let digits = if unit == "us" { 0 } else { digits };
    format!("{number:.digits$} {unit}")
}

fn by_count(tally: &Tally) -> Vec<&Failures> {
    let mut all: Vec<_> = tally.failures.iter().collect();
    all.sort_by_key(|failures| std::cmp::Reverse(failures.count));
    all
}

/// The report for machines. Times are in seconds.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    record: Record,
    server: String,
    clients: usize,
    rate: Option<f64>,
    bytes_per_second: f64,
    transfers_per_second: f64,
    begun: u64,
    whole: u64,
    failed: u64,
    cut: u64,
    missed: u64,
    most_at_once: usize,
    failures: Vec<FailuresReport>,
    first_answer: Option<Spans>,
    transfer: Option<Spans>,
    histogram: Vec<Octave>,
}

#[derive(Serialize)]
struct FailuresReport {
    kind: &'static str,
    code: Option<u16>,
    count: u64,
    first: String,
}

#[derive(Serialize)]
struct Spans {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// So many took from `from` to `to` seconds.
#[derive(Serialize)]
struct Octave {
    from: f64,
    to: f64,
    count: u64,
}

impl Report {
    fn new(record: Record, server: SocketAddr, load: &Load, tally: &Tally) -> Self {
        let failures = by_count(tally).into_iter().map(|failures| FailuresReport {
            kind: kind(&failures.first),
            code: match failures.first {
                Failure::Server { code, .. } => Some(code.into()),
                _ => None,
            },
            count: failures.count,
            first: failures.first.to_string(),
        });
        let octaves = tally.transfer.octaves().into_iter().map(|(from, count)| {
            let from = from.as_secs_f64();
            Octave { from, to: 2.0 * from, count }
        });
        Self {
            record,
            server: server.to_string(),
            clients: load.clients,
            rate: load.rate,
            bytes_per_second: tally.bytes_per_second(),
            transfers_per_second: tally.transfers_per_second(),
            begun: tally.begun,
            whole: tally.whole,
            failed: tally.failed(),
            cut: tally.cut,
            missed: tally.missed,
            most_at_once: tally.most_at_once,
            failures: failures.collect(),
            first_answer: Spans::of(&tally.first_answer),
            transfer: Spans::of(&tally.transfer),
            histogram: octaves.collect(),
        }
    }
}

impl Spans {
    /// Nothing where nothing was measured.
    fn of(latency: &Latency) -> Option<Self> {
        let [p50, p90, p99] = QUANTILES.map(|part| latency.quantile(part).as_secs_f64());
        let max = latency.max().as_secs_f64();
        (latency.count() > 0).then_some(Self { p50, p90, p99, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_brought_nothing_whole_is_no_success() {
        let of = |whole| {
            let mut tally = Tally::default();
            (tally.whole, tally.cut) = (whole, 1);
            tally
        };
        assert_eq!([0, 1].map(|whole| class(&of(whole), false)), [Class::NoAnswer, Class::Done]);
        assert_eq!(class(&of(0), true), Class::Done, "whoever interrupts it knows");
    }

    #[test]
    fn a_load_that_lacks_a_port_says_what_it_takes_and_any_other_failure_its_own_words() {
        let told = |failure: Failure| crate::shown::told(&cannot_go_on(failure));
        let lacks = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert_eq!(
            told(Failure::Socket(lacks)),
            "the load cannot go on: it takes a port and an open file for each client: Too many open files"
        );
        assert_eq!(told(Failure::Cancelled), Failure::Cancelled.to_string());
    }

    #[test]
    fn spans_are_short() {
        let shown = |micros| short(Duration::from_micros(micros));
        let cases = [(0, "0 us"), (999, "999 us"), (1000, "1.00 ms"), (12_345, "12.3 ms")];
        cases.iter().for_each(|(micros, text)| assert_eq!(shown(*micros), *text));
        let cases = [(123_456, "123 ms"), (1_000_000, "1.00 s"), (123_000_000, "123 s")];
        cases.iter().for_each(|(micros, text)| assert_eq!(shown(*micros), *text));
    }

    #[test]
    fn a_bar_is_as_long_as_its_count_and_what_was_seen_at_all_has_one() {
        let octaves = [(1, 1000), (2, 500), (4, 0), (8, 1)];
        let shown = drawn(&octaves.map(|(millis, count)| (Duration::from_millis(millis), count)));
        let shown: Vec<_> = shown.lines().collect();
        let bar = |len| "#".repeat(len);
        assert_eq!(
            shown,
            [
                format!("  < 2.00 ms {} 1,000", bar(40)),
                format!("  < 4.00 ms {:40} 500", bar(20)),
                format!("  < 8.00 ms {:40} 0", ""),
                format!("  < 16.0 ms {:40} 1", bar(1)),
            ]
        );
    }

    /// Figures of which no two are the same.
    fn figures() -> (Load, Tally) {
        let (load, mut tally) = (Load::of(["a"]), Tally::default());
        (tally.elapsed, tally.bytes, tally.whole_in_time) = (Duration::from_secs(2), 3 << 20, 4);
        (tally.begun, tally.whole, tally.cut, tally.missed) = (8, 5, 1, 2);
        (tally.most_at_once, tally.packets, tally.retransmitted) = (3, 1000, 7);
        (load, tally)
    }

    #[test]
    fn the_report_has_each_figure_in_its_place() {
        let (load, tally) = figures();
        let server = ([127, 0, 0, 1], 69).into();
        let body = "\
            \x20 goodput     1.50 MiB/s (3.00 MiB)\n\
            \x20 transfers   2.0/s (5 whole, 1 cut off, 2 not begun for want of a free client)\n\
            \x20 at once     3 at most\n\
            \x20 sent again  7 of 1,000 packets from here\n";
        let told = in_words(server, &load, &tally);
        assert_eq!(told, format!("127.0.0.1:69, 10 clients, 2.0 s\n{body}"));
        let load = load.rate(0.5);
        let told = in_words(server, &load, &tally);
        assert_eq!(told, format!("127.0.0.1:69, 0.5 a second, 10 clients at most, 2.0 s\n{body}"));
        let nothing = in_words(server, &load, &Tally::default());
        assert!(nothing.contains("  transfers   0.0/s (0 whole)\n"), "{nothing}");

        let record = Record::of_load(&Task::default(), &tally, class(&tally, false));
        let report =
            serde_json::to_value(Report::new(record, server, &load, &tally)).expect("JSON");
        let expected = serde_json::json!({
            "server": "127.0.0.1:69", "clients": 10, "rate": 0.5, "seconds": 2.0, "bytes": 3 << 20,
            "bytes_per_second": 1_572_864.0, "transfers_per_second": 2.0, "begun": 8, "whole": 5,
            "failed": 0, "cut": 1, "missed": 2, "most_at_once": 3, "packets": 1000,
            "retransmitted": 7, "failures": [], "first_answer": null, "transfer": null,
            "histogram": [], "ok": true, "exit": 0, "operation": "", "remote": null, "local": null,
            "blksize": null, "windowsize": null, "kind": null, "code": null, "error": null,
            "warning": null,
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn the_line_says_how_it_is_going_and_that_only_the_last_are_waited_for() {
        let (load, mut tally) = figures();
        tally.at_once = 6;
        let line = Line(Some(ProgressBar::hidden()));
        let mut told = |seconds| {
            tally.elapsed = Duration::from_secs(seconds);
            line.show(&tally, &load);
            line.0.as_ref().expect("a line").message()
        };
        assert_eq!(told(2), "2.0 s  1.50 MiB/s  2.0 transfers/s  6 at once  0 failed");
        assert!(!told(9).contains("waiting"), "downloads begin for ten seconds");
        assert!(told(10).starts_with("waiting for the last  10.0 s  "), "{}", told(10));
    }

    /// A load on a server that has two files, and refuses others.
    fn under_load(names: [&str; 4]) -> Tally {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let answer = move || {
            let mut buffer = [0; 600];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                let answer: &[u8] = match &buffer[..len] {
                    [0, 1, b'a', ..] => b"\0\x03\0\x01few",
                    [0, 1, b'n', ..] => b"\0\x05\0\x01no\0",
                    [0, 1, ..] => b"\0\x05\0\x02\x1b\0",
                    _ => continue,
                };
                let _ = socket.send_to(answer, peer);
            }
        };
        std::thread::spawn(answer);
        let load = Load::of(names).count(8).duration(Duration::MAX);
        let client = tftpkit::client::Client::new(address);
        client.load(&load, |_| ControlFlow::Continue(())).expect("a load")
    }

    #[test]
    fn failures_and_times_are_in_both_forms_of_the_report() {
        let (load, tally) = (Load::of(["a"]), under_load(["a", "denied", "none", "none"]));
        let server = ([127, 0, 0, 1], 69).into();
        assert_eq!(class(&tally, false), Class::NotFound, "that of the most frequent failure");
        let told = in_words(server, &load, &tally);
        let told: Vec<_> = told.lines().collect();
        assert!(told[2].ends_with("/s (2 whole, 6 failed)"), "{told:?}");
        assert_eq!(told[5], "  failed      4: the server says: no (code 1)");
        assert_eq!(told[6], "  failed      2: the server says: \\u{1b} (code 2)");
        assert_eq!(
            told[7],
            format!("{:14}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99", "max")
        );
        for (line, what) in [(told[8], "answer"), (told[9], "transfer")] {
            let spans = line.strip_prefix(&format!("  {what:<12}")).expect("its name");
            assert_eq!((spans.len(), spans.split_whitespace().count()), (40, 8), "{line}");
        }
        let refused = in_words(server, &load, &under_load(["none"; 4]));
        let times: Vec<_> = refused.lines().filter(|line| line.ends_with('s')).skip(1).collect();
        assert!(times.len() == 1 && times[0].starts_with("  answer"), "no transfer: {refused}");
        // The octave that has the most has the longest bar.
        let bars: Vec<_> = told[10..].iter().map(|line| line.matches('#').count()).collect();
        assert_eq!(bars.iter().max(), Some(&40), "{told:?}");
        assert_eq!(told[10..].concat(), drawn(&tally.transfer.octaves()).replace('\n', ""));
        assert!(told[10..].iter().all(|line| line.starts_with("  ") && line.contains("< ")));

        let record = Record::of_load(&Task::default(), &tally, class(&tally, false));
        let report =
            serde_json::to_value(Report::new(record, server, &load, &tally)).expect("JSON");
        let failures = &report["failures"];
        let fields =
            |n: usize| ["kind", "code", "count", "first"].map(|f| failures[n][f].to_string());
        assert_eq!(fields(0), ["\"refused\"", "1", "4", "\"the server says: no (code 1)\""]);
        assert_eq!(fields(1)[..3], ["\"refused\"", "2", "2"]);
        assert_eq!((&report["failed"], &report["whole"]), (&6.into(), &2.into()));
        // What failed most often stands for all.
        assert_eq!((&report["ok"], &report["exit"]), (&false.into(), &4.into()));
        assert_eq!((&report["kind"], &report["code"]), (&"refused".into(), &1.into()));
        for (field, latency) in
            [("first_answer", &tally.first_answer), ("transfer", &tally.transfer)]
        {
            let spans = ["p50", "p90", "p99", "max"].map(|span| report[field][span].as_f64());
            assert_eq!(spans[3], Some(latency.max().as_secs_f64()), "{report}");
            assert_eq!(spans[0], Some(latency.quantile(0.5).as_secs_f64()), "{report}");
            assert!(spans.is_sorted(), "{spans:?}");
        }
        for octave in report["histogram"].as_array().expect("a list") {
            let [from, to] = ["from", "to"].map(|end| octave[end].as_f64().expect("a number"));
            assert_eq!(to, 2.0 * from);
        }
    }
}
