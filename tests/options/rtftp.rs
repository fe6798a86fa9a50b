//! What is seen of each option of `rtftp`, in each of its commands.

use crate::common::{
    LONGEST_RUN, Running, Scripted, ack, child, closed, data, error, everything_in, folder, joined,
    pattern, until,
};
use crate::given::{Given, Row};
use crate::programs::on_a_terminal;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tftpkit::store::Uploads;
use tftpkit::wire::{Operation, Options, Packet, TransferOption, WindowSize, WireBlock};

const fn row(
    of: &'static [&'static str],
    option: &'static str,
    (values, rival): (&'static [&'static str], &'static str),
    (without, with): (&'static str, &'static str),
    see: fn(&str, &Given) -> String,
) -> Row {
    Row { of, option, values, rival, without, with, see }
}

/// The menu is the program without a command.
const ALL: &[&str] = &["", "get", "put", "list", "bench"];
const FILES: &[&str] = &["", "get", "put", "bench"];
const WAITING: &[&str] = &["get", "put"];
const BOUNDED: &[&str] = &["get", "put", "list"];

pub(crate) const ROWS: &[Row] = &[
    row(ALL, "--blksize", (&["600"], "700"), ("65464", "600"), asked_blksize),
    row(ALL, "--windowsize", (&["7"], "6"), ("8", "7"), asked_windowsize),
    row(ALL, "--timeout", (&["9"], "8"), ("nothing", "9"), asked_timeout),
    row(ALL, "--retries", (&["0"], "5"), ("asked again", "asked once"), repetition),
    row(FILES, "--mode", (&["netascii"], "octet"), ("octet", "netascii"), mode),
    row(ALL, "--no-options", (&[], ""), ("options", "none"), has_options),
    row(ALL, "--no-offload", (&[], ""), ("joined or cut", "one by one"), offload),
    row(&["get"], "--output", (&["other"], "rival"), ("a", "other"), names_here),
    row(WAITING, "--wait", (&[], ""), ("nothing listens", "waited"), patience),
    row(WAITING, "--interval", (&["0.1"], "1"), ("seldom", "often"), asked_how_often),
    row(BOUNDED, "--max-time", (&["0.3"], "9"), ("no answer", "time over"), bounded),
    row(&["get", "put"], "--quiet", (&[], ""), ("figures", "nothing"), figures),
    row(&["bench"], "--quiet", (&[], ""), ("a line, then figures", "figures"), bench_on_a_terminal),
    row(&["get", "put"], "--json", (&[], ""), ("nothing", "an object"), printed),
    row(&["list", "bench"], "--json", (&[], ""), ("a table", "an object"), printed),
    row(&["bench"], "--clients", (&["3"], "4"), ("10", "3"), clients),
    row(&["bench"], "--rate", (&["5"], "1000"), ("at once", "over a second"), rate),
    row(&["bench"], "--duration", (&["0.3"], "9"), ("all", "some"), duration),
    row(&["bench"], "--count", (&["3"], "2"), ("more", "3"), count),
    row(&["bench"], "--verify", (&[], ""), ("all whole", "others differ"), verify),
    row(&["check"], "--within", (&["0.1"], "9"), ("served", "too late"), answer_after_a_fifth),
    row(&["check"], "--warn", (&["0.1"], "9"), ("served", "late"), answer_after_a_fifth),
    row(ALL, "--help", (&[], ""), ("works", "explains"), asked_about_itself),
    row(&["check"], "--help", (&[], ""), ("works", "explains"), asked_about_itself),
    row(&[""], "--version", (&[], ""), ("works", "is named"), asked_about_itself),
];

fn operation(packet: &Packet<'_>) -> Option<Operation> {
    match packet {
        Packet::Request(request) => Some(request.operation),
        _ => None,
    }
}

/// A server of few words, which knows neither options nor LIST.
pub(crate) fn few(packet: &Packet<'_>) -> Vec<Vec<u8>> {
    match packet {
        Packet::Request(request) if request.operation == Operation::List => vec![error(4, "no")],
        Packet::Request(request) if request.name.ends_with(b".list") => {
            vec![data(1, b"# 0 entries\n")]
        }
        Packet::Request(request) if request.operation == Operation::Write => vec![ack(0)],
        Packet::Request(_) => vec![data(1, b"few")],
        Packet::Data { block, .. } => vec![ack(block.0)],
        _ => Vec::new(),
    }
}

/// The words that make `command` do something, its options among them.
fn words(command: &str, options: &[String], server: &str) -> Vec<String> {
    let behind: &[&str] = match command {
        "get" => &[server, "a"],
        "put" => &["mine", server],
        "bench" | "check" => &[server, "a"],
        _ => &[server],
    };
    let command = Some(command).filter(|command| !command.is_empty()).into_iter();
    let words = command.chain(options.iter().map(String::as_str));
    words.chain(behind.iter().copied()).map(str::to_owned).collect()
}

/// Starts `command` with its input, the menu with a download.
fn start(command: &str, given: &Given, more: &[&str], server: &str, here: &TempDir) -> Child {
    let mut options = given.words.clone();
    // As few downloads as there are, unless it is about them.
    let one =
        ["--count", "1", "--clients", "1"].iter().filter(|_| command == "bench" && more.is_empty());
    options.extend(one.chain(more).map(|word| (*word).to_owned()));
    let mut rtftp = Command::new(env!("CARGO_BIN_EXE_rtftp"));
    Given { words: Vec::new(), ..given.clone() }.to(&mut rtftp);
    rtftp.args(words(command, &options, server)).current_dir(here.path());
    let piped = rtftp.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("rtftp");
    // One that only explains itself does not read it.
    let _ = child.stdin.take().expect("a pipe").write_all(b"download a\n");
    child
}

/// Where there is a file to put.
fn here() -> TempDir {
    folder(&[("mine", b"few")])
}

/// Waits for the end of a program, and gives what it said.
pub(crate) fn ended(child: Child) -> Output {
    let output = child::said_within(LONGEST_RUN, child);
    output.unwrap_or_else(|said| panic!("it does not end; it said:\n{}", child::text(&said)))
}

fn run(command: &str, given: &Given, more: &[&str], server: &str) -> Output {
    let here = here();
    ended(start(command, given, more, server, &here))
}

/// The first request that a server hears, in words.
fn request(command: &str, given: &Given) -> String {
    let server = Scripted::new(few);
    let output = run(command, given, &[], &server.remote());
    assert!(output.status.success(), "{output:?}");
    server.hears("a request")
}

fn asked(command: &str, given: &Given, option: &str) -> String {
    let request = request(command, given);
    let value = request.split(' ').find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
    value.unwrap_or("nothing").into()
}

fn asked_blksize(command: &str, given: &Given) -> String {
    asked(command, given, "blksize")
}

fn asked_windowsize(command: &str, given: &Given) -> String {
    asked(command, given, "windowsize")
}

fn asked_timeout(command: &str, given: &Given) -> String {
    asked(command, given, "timeout")
}

fn mode(command: &str, given: &Given) -> String {
    request(command, given).split(' ').nth(2).expect("a mode").into()
}

fn has_options(command: &str, given: &Given) -> String {
    let has = request(command, given).contains('=');
    if has { "options".into() } else { "none".into() }
}

/// A request that nobody answers. LIST has times of its own, and is refused.
fn repetition(command: &str, given: &Given) -> String {
    let server = Scripted::new(|packet| match operation(packet) {
        Some(Operation::List) => vec![error(4, "no")],
        _ => Vec::new(),
    });
    let one = ["--no-options", "--count", "1", "--clients", "1"];
    let more = if command == "bench" { &one[..] } else { &one[..1] };
    let here = here();
    let mut child = start(command, given, more, &server.remote(), &here);
    let (mut requests, mut status) = (0, None);
    until("the end, or a repetition", || {
        status = child.try_wait().expect("a child");
        requests += server.heard().iter().filter(|packet| !packet.starts_with("LIST")).count();
        (requests > 1 || status.is_some()).then_some(())
    });
    let _ = child.kill().and_then(|()| child.wait());
    assert!(requests > 0);
    if requests > 1 { "asked again".into() } else { "asked once".into() }
}

fn complaint(command: &str, given: &Given, more: &[&str], server: &str) -> String {
    let output = run(command, given, more, server);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// Nothing listens there.
fn patience(command: &str, given: &Given) -> String {
    let told = complaint(command, given, &["--max-time", "0.5"], &closed().to_string());
    assert!(told.contains("nothing listens at"), "{told}");
    if told.contains("the time that --max-time gives is over") {
        "waited"
    } else {
        "nothing listens"
    }
    .into()
}

/// How often one hears a request that never answers.
fn asked_how_often(command: &str, given: &Given) -> String {
    let server = Scripted::new(|_| Vec::new());
    complaint(command, given, &["--wait", "--max-time", "1.5"], &server.remote());
    let heard = server.end().len();
    if heard > 4 { "often".into() } else { "seldom".into() }
}

/// A server that never answers.
fn bounded(command: &str, given: &Given) -> String {
    let server = Scripted::new(|_| Vec::new());
    let told = complaint(command, given, &["--retries", "0", "--timeout", "1"], &server.remote());
    let over = told.contains("the time that --max-time gives is over");
    if over { "time over".into() } else { "no answer".into() }
}

/// Looks at the socket of a transfer with a window that has come to a stop.
fn offload(command: &str, given: &Given) -> String {
    let window = Options::NONE.with(TransferOption::WindowSize(WindowSize::new(2).expect("two")));
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(_) => vec![Packet::Oack(window).to_vec()],
        Packet::Ack { block: WireBlock(0) } => vec![data(1, &[7; 512]), data(2, &[7; 512])],
        _ => Vec::new(),
    });
    let here = folder(&[("mine", &pattern(10_000, 1))]);
    let count = ["--windowsize", "2", "--blksize", "512", "--count", "1"];
    let more = if command == "bench" { &count[..] } else { &count[..4] };
    let mut child = start(command, given, more, &server.remote(), &here);
    let far = if command == "put" { "DATA 2 512" } else { "ACK 2" };
    server.hears_at_last(far);
    let pid = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("a process");
    let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it lives").flatten();
    let numbers = fds.filter_map(|fd| fd.file_name().to_str()?.parse().ok());
    let theirs = numbers.filter_map(|fd| pidfd_getfd(&pid, fd, PidfdGetfdFlags::empty()).ok());
    let told = theirs.filter_map(|fd| {
        let joins = getsockopt(&fd, sockopt::UdpGroSegment).ok()?;
        Some(joins || getsockopt(&fd, sockopt::UdpGsoSegment).is_ok_and(|size| size > 0))
    });
    let told: Vec<bool> = told.collect();
    let _ = child.kill().and_then(|()| child.wait());
    match &told[..] {
        [true] => "joined or cut".into(),
        [false] => "one by one".into(),
        other => format!("{other:?}"),
    }
}

fn names_here(command: &str, given: &Given) -> String {
    let (here, server) = (folder(&[]), Scripted::new(few));
    ended(start(command, given, &[], &server.remote(), &here));
    everything_in(here.path()).join(" ")
}

/// What `command` shows a person.
fn screen(command: &str, given: &Given, more: &[&str]) -> String {
    let (root, here) = (folder(&[("a", &pattern(100_000, 1))]), here());
    let server = Running::taking(root.path(), Uploads::Overwrite);
    let options: Vec<_> =
        given.words.iter().cloned().chain(more.iter().map(|w| (*w).into())).collect();
    let line = words(command, &options, &server.address.to_string()).join(" ");
    let variables = given.variables.iter().map(|(name, value)| format!("{name}={value} "));
    let line =
        format!("env {}{} {line}", variables.collect::<String>(), env!("CARGO_BIN_EXE_rtftp"));
    on_a_terminal(here.path(), &line, &[])
}

fn figures(command: &str, given: &Given) -> String {
    let screen = screen(command, given, &[]);
    if screen.contains(" -> ") && screen.contains(" in ") {
        "figures".into()
    } else if screen.is_empty() {
        "nothing".into()
    } else {
        screen
    }
}

fn bench_on_a_terminal(command: &str, given: &Given) -> String {
    let screen = screen(command, given, &["--duration", "0.3"]);
    assert!(screen.contains("goodput"), "{screen}");
    let line = screen.contains(" at once  ") && screen.contains(" failed");
    if line { "a line, then figures".into() } else { "figures".into() }
}

fn printed(command: &str, given: &Given) -> String {
    let root = folder(&[("a", b"few")]);
    let server = Running::taking(root.path(), Uploads::Overwrite);
    let output = run(command, given, &[], &server.address.to_string());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let is_object = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object())
    };
    match text {
        text if text.is_empty() => "nothing".into(),
        text if text.lines().all(is_object) => "an object".into(),
        _ => "a table".into(),
    }
}

/// The report of a load with these options.
pub(crate) fn report(given: &Given, more: &[&str], server: SocketAddr) -> serde_json::Value {
    let more = [more, &["--json"]].concat();
    let output = run("bench", given, &more, &server.to_string());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {output:?}"))
}

fn clients(_: &str, given: &Given) -> String {
    let report = report(given, &["--count", "30"], Scripted::new(few).address);
    assert_eq!(report["clients"], report["most_at_once"]);
    report["clients"].to_string()
}

fn rate(_: &str, given: &Given) -> String {
    let report = report(given, &["--count", "7"], Scripted::new(few).address);
    let seconds = report["seconds"].as_f64().expect("a number");
    if seconds < 1.2 { "at once".into() } else { "over a second".into() }
}

fn duration(_: &str, given: &Given) -> String {
    let report = report(given, &["--count", "9", "--rate", "10"], Scripted::new(few).address);
    if report["begun"] == 9 { "all".into() } else { "some".into() }
}

fn count(_: &str, given: &Given) -> String {
    let report = report(given, &["--duration", "0.2"], Scripted::new(few).address);
    if report["begun"] == 3 { "3".into() } else { "more".into() }
}

fn verify(_: &str, given: &Given) -> String {
    let mut first = true;
    let server = Scripted::new(move |packet| match operation(packet) {
        Some(_) => vec![data(1, &[u8::from(std::mem::take(&mut first)); 9])],
        None => Vec::new(),
    });
    let report = report(given, &["--count", "4", "--clients", "1"], server.address);
    match (report["failed"].as_u64(), report["failures"][0]["kind"].as_str()) {
        (Some(0), None) => "all whole".into(),
        (Some(3), Some("differs")) => "others differ".into(),
        other => format!("{other:?}"),
    }
}

/// What a check says of a server that takes its time.
fn answer_after_a_fifth(command: &str, given: &Given) -> String {
    let (server, spent) =
        (UdpSocket::bind("127.0.0.1:0").expect("a socket"), Duration::from_millis(200));
    let address = server.local_addr().expect("an address");
    let answering = std::thread::spawn(move || {
        let (_, from) = server.recv_from(&mut [0; 600]).expect("a request");
        let asked = Instant::now();
        until("a fifth of a second", || (asked.elapsed() > spent).then_some(()));
        server.send_to(&data(1, b"few"), from).expect("sent");
    });
    let output = run(command, given, &[], &address.to_string());
    joined("its answer", answering);
    match output.status.code() {
        Some(0) => "served".into(),
        Some(1) => "late".into(),
        Some(2) => "too late".into(),
        _ => format!("{output:?}"),
    }
}

fn asked_about_itself(command: &str, given: &Given) -> String {
    let server = Scripted::new(few);
    let output = run(command, given, &[], &server.remote());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let usage = format!("Usage: rtftp {command}");
    if text == format!("rtftp {}\n", env!("CARGO_PKG_VERSION")) {
        "is named".into()
    } else if text.contains(usage.trim_end()) {
        "explains".into()
    } else {
        "works".into()
    }
}
