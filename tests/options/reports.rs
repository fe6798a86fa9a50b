//! Every field of every line that is meant for programs.

use crate::common::{
    DEADLINE, Daemon, LEFT, Scripted, ack, child, closed, data, error, folder, list, next, pattern,
    rrq, until, wrq,
};
use crate::given::Given;
use crate::programs::{NO_HOST, rtftp};
use crate::rtftp::{few, report};
use crate::rtftpd::{OFTEN, hanging};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;
use tftpkit::wire::Packet;

/// Names and types.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_u64() => "whole".into(),
        Value::Number(_) => "real".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::Object(fields) => {
            let mut all: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name} {}", shape(value))).collect();
            all.sort();
            format!("{{{}}}", all.join(", "))
        }
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(text).into_iter().map(|line| line.expect("JSON")).collect()
}

/// What this command line writes for programs.
fn said(here: &TempDir, words: &[&str], code: i32) -> Vec<Value> {
    let run = rtftp(here.path()).args(words).arg("--json").assert().code(code);
    lines(&run.get_output().stdout)
}

/// The fields of every command, what failed or not, as the README has them.
fn record(
    of: [&str; 3],
    [blksize, windowsize]: [&str; 2],
    [kind, code, error]: [&str; 3],
) -> String {
    let [exit, local, remote] = of;
    format!(
        "blksize {blksize}, bytes whole, code {code}, error {error}, exit {exit}, kind {kind}, local {local}, \
        ok bool, operation text, packets whole, remote {remote}, retransmitted whole, seconds real, \
        warning null, windowsize {windowsize}"
    )
}

const WELL: [&str; 3] = ["null"; 3];
const NO_TERMS: [&str; 2] = ["null"; 2];

#[test]
fn a_transfer_is_reported_with_all_its_fields_and_their_values() {
    let (root, here) = (folder(&[("a", &pattern(5000, 1))]), folder(&[("b", &pattern(700, 2))]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let terms = ["--blksize", "600", "--windowsize", "3"];
    let cases =
        [("get", ["get", &remote, "a"], "a", 5000), ("put", ["put", "b", &remote], "b", 700)];
    for (operation, words, name, bytes) in cases {
        let reports = said(&here, &[&words[..], &terms].concat(), 0);
        let [report] = &reports[..] else { panic!("{reports:?}") };
        let of = ["whole", "text", "text"];
        assert_eq!(shape(report), format!("{{{}}}", record(of, ["whole"; 2], WELL)));
        assert_eq!((&report["ok"], &report["local"]), (&true.into(), &name.into()));
        let numbers = ["blksize", "windowsize", "bytes"].map(|field| report[field].as_u64());
        assert_eq!(numbers, [600, 3, bytes].map(Some));
        assert_eq!(report["operation"], operation);
        assert_eq!(report["remote"], format!("tftp://{remote}/{name}"));
        assert!(report["seconds"].as_f64() > Some(0.0), "{report}");
    }
}

#[test]
fn a_failure_is_reported_with_all_its_fields_and_their_values() {
    let (root, here) = (folder(&[("dir/a", b"")]), folder(&[("b", b"few")]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let url = |name: &str| format!("tftp://{remote}/{name}");
    let nowhere = &*format!("tftp://{NO_HOST}/");
    let cases = [
        (vec!["get", &remote, "dir"], &*url("dir"), Some("dir"), 5, "refused", Some(2)),
        (vec!["put", "b", &remote], &url("b"), Some("b"), 5, "refused", Some(2)),
        (vec!["list", &remote, "absent"], &url("absent"), None, 4, "refused", Some(1)),
        (vec!["bench", &remote, "absent", "--count", "1"], &url(""), None, 4, "refused", Some(1)),
        // The most frequent failure is told, not the last.
        (
            vec!["bench", &remote, "dir", "dir", "absent", "--count", "3", "--clients", "1"],
            &url(""),
            None,
            5,
            "refused",
            Some(2),
        ),
        (vec!["bench", NO_HOST, "a"], nowhere, None, 3, "no such host", None),
        (vec!["list", NO_HOST], nowhere, None, 3, "no such host", None),
        (vec!["put", "absent", &remote], &url("absent"), Some("absent"), 1, "local", None),
        (vec!["get", &remote, "x", "-o", "none/"], &url("x"), None, 1, "local", None),
    ];
    for (words, remote, local, exit, kind, code) in cases {
        let reports = said(&here, &words, exit);
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(report["ok"], false, "{report}");
        assert_eq!((&report["operation"], &report["exit"]), (&words[0].into(), &exit.into()));
        assert_eq!((&report["remote"], &report["local"]), (&remote.into(), &local.into()));
        assert_eq!((&report["kind"], &report["code"]), (&kind.into(), &code.into()), "{report}");
        let own: Vec<_> =
            report.as_object().expect("an object").keys().map(String::as_str).collect();
        let all =
            ["error", "bytes", "seconds", "packets", "retransmitted", "blksize", "windowsize"];
        assert!(
            report["error"].is_string() && all.iter().all(|field| own.contains(field)),
            "{own:?}"
        );
    }
    let several = said(&here, &["get", &remote, "missing", "dir"], 4);
    assert_eq!(
        several.iter().map(|line| line["exit"].as_u64()).collect::<Vec<_>>(),
        [4, 5].map(Some)
    );
}

#[test]
fn what_is_wrong_before_a_server_is_asked_is_told_to_scripts_too() {
    let here = folder(&[("b", b"few")]);
    let cases: [(&[&str], &str); 8] = [
        (&["get", "host"], "no file is named after the host 'host'"),
        (&["put", "b", "ftp://host/"], "another protocol"),
        (&["list", "h:0"], "not a number from 1 to 65535"),
        (&["bench", "h:a", "g:b"], "a load is for one server"),
        (&["bench", "h:a", "h:7/b"], "a load is for one server"),
        (&["bench", "h:a", "tftp://h/b;mode=netascii"], "its files are of one mode"),
        (&["get", "h:a", "--blksize", "7"], "from 8 to 65464"),
        (&["gett", "h", "a"], "did you mean 'get'?"),
    ];
    for (words, why) in cases {
        let reports = said(&here, words, 2);
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((&report["ok"], &report["exit"]), (&false.into(), &2.into()), "{report}");
        assert_eq!(report["kind"], "usage", "{report}");
        assert!(report["error"].as_str().is_some_and(|error| error.contains(why)), "{report}");
    }
}

#[test]
fn a_transfer_that_broke_off_tells_how_far_it_was() {
    let here = folder(&[]);
    let server = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![data(1, &[7; 512])]),
        _ => None,
    });
    let reports = said(&here, &["get", &server.remote(), "a", "--no-options"], 3);
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((&report["kind"], &report["bytes"]), (&"broken off".into(), &512.into()));
    assert!(
        report["packets"].as_u64() >= Some(2) && report["seconds"].as_f64() > Some(0.0),
        "{report}"
    );
}

#[test]
fn a_list_has_its_entries_and_their_number() {
    let (root, here) = (folder(&[("a", b"few"), ("dir/b", b"")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let listed = said(&here, &["list", &server.address.to_string()], 0);
    let [file, directory, end] = &listed[..] else { panic!("{listed:?}") };
    let entry = "{kind text, modified text, name text, size whole}";
    assert_eq!([file, directory].map(shape), [entry, entry]);
    let of = ["whole", "null", "text"];
    let mut fields: Vec<_> = record(of, NO_TERMS, WELL).split(", ").map(str::to_owned).collect();
    fields.extend(["cut bool", "entries whole"].map(str::to_owned));
    fields.sort();
    assert_eq!(shape(end), format!("{{{}}}", fields.join(", ")));
    assert_eq!((&end["ok"], &end["operation"]), (&true.into(), &"list".into()));
    let fields = |line: &Value| (line["name"].clone(), line["kind"].clone(), line["size"].clone());
    assert_eq!(fields(file), ("a".into(), "file".into(), 3.into()));
    assert_eq!(fields(directory), ("dir".into(), "directory".into(), 0.into()));
    assert_eq!((&end["cut"], &end["entries"]), (&false.into(), &2.into()));
    assert!(end["bytes"].as_u64() > Some(50) && end["packets"].as_u64() >= Some(2), "{end}");
    let modified = file["modified"].as_str().expect("a time");
    let form: String = modified.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(form, "9999-99-99T99:99:99Z");
}

/// A server that does not hear the first packet of one kind.
fn deaf_once(is_of_the_kind: impl Fn(&Packet<'_>) -> bool + Send + 'static) -> Scripted {
    let mut deaf = true;
    Scripted::new(move |packet| {
        if is_of_the_kind(packet) && std::mem::take(&mut deaf) { Vec::new() } else { few(packet) }
    })
}

#[test]
fn packets_and_those_that_were_sent_again_are_counted() {
    let here = folder(&[("mine", b"few")]);
    for (command, again) in [("get", "RRQ"), ("put", "DATA"), ("bench", "RRQ")] {
        let server = deaf_once(move |packet| packet.to_string().starts_with(again));
        let remote = server.remote();
        let report = match command {
            "put" => said(&here, &["put", "mine", &remote], 0).remove(0),
            "get" => said(&here, &["get", &remote, "a"], 0).remove(0),
            _ => report(&Given::default(), &["--count", "1", "--clients", "1"], server.address),
        };
        // Where the machine is busy there may be more of both.
        let packets = report["packets"].as_u64().expect("a number");
        let heard: Vec<_> = (0..packets).map(|_| server.hears("a packet")).collect();
        assert!(heard.iter().filter(|packet| packet.starts_with(again)).count() > 1, "{heard:?}");
        let distinct = heard.iter().collect::<BTreeSet<_>>().len() as u64;
        assert_eq!(report["retransmitted"], packets - distinct, "{command}: {heard:?}");
    }
}

#[test]
fn a_load_is_reported_with_all_its_fields() {
    let spans = "{max real, p50 real, p90 real, p99 real}";
    let failure = "{code CODE, count whole, first text, kind text}";
    let shape_of = |failures: &str,
                    [first, transfer]: [&str; 2],
                    histogram: &str,
                    rate: &str,
                    of| {
        let own = format!(
            "begun whole, bytes_per_second real, clients whole, cut whole, failed whole, \
            failures [FAILURES], first_answer SPANS, histogram [OCTAVE], missed whole, \
            most_at_once whole, rate {rate}, server text, transfer TRANSFER, transfers_per_second real, whole whole"
        );
        let record = record(["whole", "null", "text"], NO_TERMS, of);
        let mut fields: Vec<_> = own.split(", ").chain(record.split(", ")).collect();
        fields.sort_unstable();
        let all = format!("{{{}}}", fields.join(", "));
        let all = all.replace("FAILURES", failures).replace("OCTAVE", histogram);
        all.replace("TRANSFER", transfer).replace("SPANS", first)
    };
    let octave = "{count whole, from real, to real}";
    let good = Scripted::new(few);
    let of = |more: &[&str], server: &Scripted| report(&Given::default(), more, server.address);
    let whole = of(&["--count", "2", "--rate", "50"], &good);
    assert_eq!(shape(&whole), shape_of("", [spans, spans], octave, "real", WELL));
    assert_eq!((&whole["server"], &whole["rate"]), (&good.remote().into(), &50.0.into()));
    let refused = of(&["--count", "2"], &Scripted::new(|_| vec![error(1, "no")]));
    let coded = failure.replace("CODE", "whole");
    assert_eq!(
        shape(&refused),
        shape_of(&coded, [spans, "null"], "", "null", ["text", "whole", "text"])
    );
    let silent = Scripted::new(|_| Vec::new());
    let silent = of(&["--count", "2", "--timeout", "1", "--retries", "0"], &silent);
    let uncoded = failure.replace("CODE", "null");
    assert_eq!(
        shape(&silent),
        shape_of(&uncoded, ["null", "null"], "", "null", ["text", "null", "text"])
    );
}

#[test]
fn a_load_tells_its_failures_apart() {
    let kind = |server: SocketAddr, more: &[&str]| {
        let report = report(&Given::default(), &[&["--count", "2"], more].concat(), server);
        let [failure] = &report["failures"].as_array().expect("a list")[..] else {
            panic!("{report}")
        };
        assert_eq!((&failure["count"], &report["failed"]), (&2.into(), &2.into()), "{report}");
        failure["kind"].as_str().expect("a kind").to_owned()
    };
    let impatient = ["--timeout", "1", "--retries", "0"];
    assert_eq!(kind(closed(), &[]), "closed");
    assert_eq!(kind(Scripted::new(|_| Vec::new()).address, &impatient), "no answer");
    assert_eq!(kind(Scripted::new(|_| vec![error(0, "no")]).address, &[]), "refused");
    let rude = |packet: &Packet<'_>| match packet {
        Packet::Request(_) => vec![data(1, &[7; 513])],
        _ => Vec::new(),
    };
    assert_eq!(kind(Scripted::new(rude).address, &["--no-options"]), "protocol");
}

/// What each line of the log has.
const ALWAYS: &str = "level text, message text";
const ABOUT_A_PEER: &str = "level text, message text, peer text, timestamp text";
/// What one that has ended has besides.
const FIGURES: [&str; 5] =
    ["bytes whole", "outcome text", "rate real", "retransmitted whole", "seconds real"];
const ABOUT_A_TRANSFER: [&str; 8] = [
    "blksize whole",
    "file text",
    ALWAYS,
    "mode text",
    "operation text",
    "peer text",
    "timestamp text",
    "windowsize whole",
];

/// The fields of a line about a transfer, in their order, with more of them.
fn of_a_transfer(more: &[&str]) -> String {
    let all = [&ABOUT_A_TRANSFER[..], more].concat().join(", ");
    let mut all: Vec<_> = all.split(", ").collect();
    all.sort_unstable();
    all.join(", ")
}

/// Waits for the line with this message, which has this level and these fields.
fn told(server: &Daemon, message: &str, level: &str, fields: &str) -> Value {
    let line = server.log_line(&[&format!("\"message\":\"{message}\"")]);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((shape(&line), &line["level"]), (format!("{{{fields}}}"), &level.into()), "{line}");
    line
}

#[test]
fn each_line_of_the_log_about_a_transfer_has_all_its_fields() {
    let root = folder(&[("f", &pattern(2000, 1))]);
    let options = ["--json", "--uploads", "create", "--patience", "0.6"];
    let server = Daemon::serve(root.path(), &[&options[..], &OFTEN].concat());
    let told_with = |message, level, more: &[&str]| {
        told(&server, message, level, &of_a_transfer(&[&FIGURES, more].concat()))
    };
    let told = |message, level| told_with(message, level, &[]);
    let peer = server.peer();
    peer.fetch(&rrq("f", &[])).expect("a download");
    let sent = told("sent", "INFO");
    assert_eq!((&sent["file"], &sent["outcome"]), (&"f".into(), &"complete".into()));
    assert_eq!(sent["bytes"], 2000);
    assert_eq!(sent["peer"], peer.address().to_string());
    assert_eq!((&sent["operation"], &sent["mode"]), (&"RRQ".into(), &"octet".into()));
    assert_eq!((&sent["blksize"], &sent["windowsize"]), (&512.into(), &1.into()));
    server.peer().store(&wrq("new", &[]), b"few").expect("an upload");
    assert_eq!(told("received", "INFO")["bytes"], 3);
    server.peer().fetch(&list("", &[])).expect("a list");
    assert_eq!(told("listed", "INFO")["file"], "");
    let (_, tid) = peer.answer(&rrq("f", &[("tsize", "0")]));
    peer.send(&error(8, "no"), tid);
    let probed = told_with("probed", "INFO", &["error whole", "tsize whole"]);
    assert_eq!(probed["outcome"], "the client only asked for the size");
    assert_eq!((&probed["error"], &probed["tsize"]), (&8.into(), &2000.into()));
    let (stopped, tid) = hanging(&server);
    stopped.send(&error(0, "no"), tid);
    let ended = told_with("ended", "INFO", &["error whole"]);
    assert_eq!(ended["outcome"], "ended by the client: no (code 0)");
    assert_eq!(ended["error"], 0);
    let (silent, tid) = hanging(&server);
    let lost = told("lost", "WARN");
    assert_eq!(lost["outcome"], "the client fell silent");
    let repeated =
        silent.pending().iter().filter(|(packet, from)| *from == tid && packet[1] == 3).count();
    let told_of = lost["retransmitted"].as_u64().expect("a number");
    // Where the machine is busy the first block came again, too.
    assert!(repeated > 0 && told_of >= repeated as u64, "{repeated}: {lost}");
    server.peer().ask(&rrq("f", &[]));
    assert_eq!(told("unanswered", "INFO")["outcome"], "the client did not answer");
}

#[test]
fn with_v_a_transfer_is_told_when_it_begins_and_with_its_size_where_that_is_known() {
    let root = folder(&[("f", &pattern(2000, 1))]);
    let server = Daemon::serve(root.path(), &["--json", "-v", "--uploads", "create"]);
    let (_, tid) = server.peer().answer(&wrq("new", &[("tsize", "700"), ("blksize", "600")]));
    let begun = told(&server, "started", "DEBUG", &of_a_transfer(&["tsize whole"]));
    assert_eq!((&begun["operation"], &begun["tsize"]), (&"WRQ".into(), &700.into()), "{tid}");
    assert_eq!((&begun["blksize"], &begun["file"]), (&600.into(), &"new".into()));
    let quiet = Daemon::serve(root.path(), &["--json"]);
    quiet.peer().fetch(&rrq("f", &[])).expect("a download");
    quiet.log_line(&["sent"]);
    assert_eq!(quiet.logged(&["started"]), None);
}

#[test]
fn for_programs_the_banner_is_a_line_of_the_log_for_each_address() {
    let root = folder(&[]);
    let listen = ["--json", "--listen", "127.0.0.1:0,[::1]:0"];
    let mut child = child::started(Command::new(Daemon::program()).arg(root.path()).args(listen));
    let lines = child::lines(child.stderr.take().expect("a pipe"));
    let addresses = [(); 2].map(|()| {
        let line = loop {
            let line = next("a line", &lines);
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["message"] == "listening" {
                break line;
            }
        };
        let fields = "address text, level text, listing text, message text, root text, sandbox text, timestamp text, uploads text, ";
        let user = if line["user"].is_string() { "user text, " } else { "" };
        assert_eq!(shape(&line), format!("{{{fields}{user}version text}}"));
        let is_root = nix::unistd::geteuid().is_root();
        assert_eq!(line["user"].is_string(), is_root, "root becomes somebody, or stays");
        assert_eq!((&line["uploads"], &line["listing"]), (&"off".into(), &".list".into()));
        line["address"].as_str().expect("text").parse::<SocketAddr>().expect("an address")
    });
    assert_eq!(addresses.map(|address| address.is_ipv6()), [false, true]);
    child.kill().expect("killed");
    let output = child::said_within(DEADLINE, child).expect("its end");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing else for who reads it");
}

#[test]
fn each_line_of_the_log_about_anything_else_has_all_its_fields() {
    let root = folder(&[("f", &pattern(2000, 1))]);
    let server = Daemon::serve(root.path(), &["--json", "-v", "--max-sessions", "1"]);
    let told = |message, level, fields: &str| told(&server, message, level, fields);
    server.peer().store(&wrq("f", &[]), b"").expect_err("there are no uploads");
    let about = format!(
        "error whole, file text, {ALWAYS}, operation text, peer text, timestamp text, why text"
    );
    let refused = told("refused", "WARN", &about);
    assert_eq!(refused["error"], 2, "{refused}");
    server.peer().answer(&[0, 1, b'x']);
    told("malformed", "DEBUG", &format!("{ABOUT_A_PEER}, why text"));
    server.peer().ask(&ack(1));
    told("stray packet", "DEBUG", ABOUT_A_PEER);
    server.peer().fetch(&rrq("missing", &[])).expect_err("it is not there");
    let absent = told("not there", "INFO", &format!("file text, {ABOUT_A_PEER}"));
    assert_eq!(absent["file"], "missing");
    // The one before may still be on its way out; of these only one has room.
    let peers = [server.peer(), server.peer(), server.peer()];
    peers.iter().for_each(|peer| peer.ask(&rrq("f", &[])));
    let about = format!("file text, {ALWAYS}, operation text, peer text, timestamp text, why text");
    let away = told("dropped", "WARN", &about);
    assert_eq!((&away["file"], &away["operation"]), (&"f".into(), &"RRQ".into()));
    assert_eq!(away["why"], "too many transfers at once");
    server.signal(Signal::SIGTERM);
    let about = format!("grace real, {ALWAYS}, timestamp text, transfers whole");
    let stopping = told("stopping", "INFO", &about);
    assert_eq!((&stopping["grace"], &stopping["transfers"]), (&10.0.into(), &1.into()));
}

#[test]
fn what_a_killed_server_left_is_told_in_the_log() {
    let root = folder(&[LEFT]);
    let server = Daemon::serve(root.path(), &["--uploads", "create", "--json"]);
    let line: Value = serde_json::from_str(&server.log_line(&["unfinished"])).expect("JSON");
    assert_eq!(shape(&line), format!("{{files whole, {ALWAYS}, timestamp text}}"));
    assert_eq!((&line["files"], &line["level"]), (&1.into(), &"INFO".into()));
    // One that finds nothing says nothing.
    let next = Daemon::serve(root.path(), &["--uploads", "create"]);
    let ask = |name| next.peer().fetch(&rrq(name, &[])).expect_err("it is not there");
    ask("missing");
    until("it has looked", || (next.threads("sweep") == 0).then_some(()));
    ask("later");
    next.log_line(&["not there", "later"]);
    assert_eq!(next.logged(&["unfinished"]), None);
}
