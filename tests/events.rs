//! The stream of events of `rtftpd`: what is in it, and that nobody waits for who reads it.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::{Daemon, folder, pattern, rrq, until, wrq};
use nix::sys::signal::Signal;
use predicates::str::contains;
use serde_json::Value;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// The events in a file, once there are so many.
fn events(file: &Path, count: usize) -> Vec<Value> {
    until("all events", || {
        let text = std::fs::read_to_string(file).ok()?;
        let whole = text.rsplit_once('\n')?.0;
        let all: Vec<_> =
            whole.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        (all.len() >= count).then_some(all)
    })
}

#[test]
fn each_event_is_an_object_with_what_is_known_of_it() {
    let (root, here) = (folder(&[("f", &pattern(2000, 1))]), folder(&[]));
    let file = here.path().join("events");
    std::fs::write(&file, "{\"event\":\"old\"}\n").expect("a file");
    let server = Daemon::serve(root.path(), &["--events-to", &file.display().to_string()]);
    let reader = server.peer();
    reader.fetch(&rrq("f", &[("tsize", "0")])).expect("a download");
    // Each on a thread of its own, they are told in no order.
    events(&file, 3);
    server.peer().fetch(&rrq("no\n\x1b", &[])).expect_err("it is not there");
    events(&file, 4);
    server.peer().store(&wrq("new", &[]), b"new").expect_err("uploads are off");
    events(&file, 5);
    server.peer().answer(b"\0\x01f\0mail\0");
    let told = events(&file, 6);
    let of = |n: usize| told[n]["event"].as_str().unwrap_or_default().to_owned();
    let kinds: Vec<_> = (0..told.len()).map(of).collect();
    assert_eq!(kinds, ["old", "started", "finished", "refused", "refused", "malformed"]);
    let finished = &told[2];
    for (key, value) in [
        ("peer", Value::from(reader.address().to_string())),
        ("operation", "RRQ".into()),
        ("file", "f".into()),
        ("mode", "octet".into()),
        ("blksize", 512.into()),
        ("windowsize", 1.into()),
        ("tsize", 2000.into()),
        ("bytes", 2000.into()),
        ("ok", true.into()),
        ("outcome", "complete".into()),
        ("lost", 0.into()),
    ] {
        assert_eq!(finished[key], value, "{key} of {finished}");
    }
    assert!(finished["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{finished}");
    assert!(finished["seconds"].is_number() && finished["retransmitted"].is_number());
    assert!(finished.get("served").is_none() && finished.get("error").is_none());
    assert_eq!((&told[3]["file"], &told[3]["error"]), (&"no\n\u{1b}".into(), &1.into()));
    assert_eq!((&told[4]["error"], &told[4]["why"]), (&2.into(), &"uploads are off".into()));
    assert_eq!(told[5]["why"], "mode");
}

#[test]
fn a_command_reads_what_is_told_to_the_last_word_and_is_not_killed_with_the_server() {
    let (root, here) = (folder(&[("f", &pattern(2000, 1))]), folder(&[]));
    let file = here.path().join("copy");
    let command = format!("|cat > '{}'", file.display());
    let mut server = Daemon::serve(root.path(), &["--events-to", &command]);
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
    assert_eq!(events(&file, 2)[1]["event"], "finished");
}

#[test]
fn a_command_is_in_all_groups_of_the_user_that_serves() {
    let (root, here) = (folder(&[]), folder(&[]));
    for place in [&root, &here] {
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("a mode");
    }
    let file = here.path().join("status");
    let command = format!("|cat /proc/self/status > '{}'", file.display());
    let mut server = Command::new(Daemon::program());
    server.arg(root.path()).args(["--listen", "127.0.0.1:0", "--events-to", &command]);
    let server = Daemon::spawn_as_any(&mut server);
    let line = |file: &Path, field: &str| {
        let all = std::fs::read_to_string(file).ok()?;
        all.lines().find(|line| line.starts_with(field)).map(str::to_owned)
    };
    let own = until("what the command has", || line(&file, "Groups:"));
    assert_eq!(Some(own), line(&server.proc("status"), "Groups:"));
}

#[test]
fn a_socket_gets_events_and_one_that_nobody_reads_or_that_is_closed_holds_up_nobody() {
    let (root, here) = (folder(&[("f", b"few")]), folder(&[]));
    let path = here.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let goal = format!("unix:{}", path.display());
    let mut server = Daemon::serve(root.path(), &["--events-to", &goal, "--log-rate", "0"]);
    let (stream, _) = listener.accept().expect("a server");
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    lines.read_line(&mut first).expect("a line");
    assert!(first.contains("\"event\":\"started\""), "{first}");
    // More than the socket has room for.
    let asking = server.peer();
    for n in 0..1000 {
        asking.ask(&rrq(format!("{n}{}", "x".repeat(400)), &[]));
    }
    server.log_line(&["999xxx"]);
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    drop(lines);
    server.log_line(&["WARN", "events are lost from now on"]);
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
}

#[test]
fn where_events_cannot_go_is_told_at_the_start() {
    let root = folder(&[]);
    for (goal, words) in [
        ("no/such/file", "cannot write events to 'no/such/file'"),
        ("unix:no-socket", "cannot send events to 'no-socket'"),
    ] {
        let mut run = programs::rtftpd();
        run.arg(root.path()).args(["-l", "127.0.0.1:0", "--events-to", goal]);
        run.assert().code(1).stderr(contains(words));
    }
    let run = programs::rtftpd().arg(root.path()).args(["--events-to", "|"]).assert();
    run.code(2).stderr(contains("write a command behind '|'"));
}
