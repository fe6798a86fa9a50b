//! `rtftpd` as its operator uses it: what it says when it starts, its log, and its settings.

mod common;
#[path = "common/programs.rs"]
mod programs;

use assert_cmd::Command;
use common::{DEADLINE, Daemon, folder, rrq, show, wrq};
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use programs::{ack, error, rtftpd};
use std::fs::Permissions;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn the_server_says_what_to_do_when_it_cannot_start() {
    rtftpd().arg("no/such/folder").assert().code(1).stderr(contains("give an existing folder"));
    let root = folder(&[]);
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|at| at.to_string()).expect("an address");
    let _keep = UdpSocket::bind(&taken);
    let other = Daemon::serve(root.path(), &[]);
    let busy = rtftpd().arg(root.path()).args(["--listen", &other.address.to_string()]).assert();
    busy.code(1).stderr(contains("by another program or by another --listen"));
    let foreign = rtftpd().arg(root.path()).args(["--listen", "192.0.2.77:6969"]).assert();
    foreign.code(1).stderr(contains("does not have that address"));
    rtftpd().assert().code(2).stderr(contains("<ROOT>"));
    for nonsense in
        [&["--listen", "nowhere"][..], &["--list-name", "a/b"], &["--intervals", "5", "1"]]
    {
        rtftpd().arg(".").args(nonsense).assert().code(2);
    }
    rtftpd().arg("--version").assert().code(0).stdout(starts_with("rtftpd "));
}

/// Runs the server as a user without any privilege.
fn unprivileged(root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    command.arg(env!("CARGO_BIN_EXE_rtftpd")).arg(root).args(arguments).timeout(DEADLINE).assert()
}

#[test]
fn what_its_user_may_not_do_in_the_folder_is_told_at_the_start() {
    let root = folder(&[]);
    let allow = |mode| {
        std::fs::set_permissions(root.path(), Permissions::from_mode(mode)).expect("it is ours");
    };
    // Port 69 ends it when it has looked.
    let tell = || unprivileged(root.path(), &["--listen", "127.0.0.1:69", "--uploads", "create"]);
    allow(0o700);
    tell().code(1).stderr(contains("user 65534 may not enter it"));
    allow(0o711);
    tell().code(1).stderr(contains("may not list").and(contains("may not write")));
    allow(0o777);
    tell().code(1).stderr(contains("may not").not().and(contains("--listen")));
}

#[test]
fn without_the_privilege_for_port_69_it_says_how_to_get_it() {
    let refused = unprivileged(Path::new("/"), &["--listen", "127.0.0.1:69"]).code(1);
    refused.stderr(contains("--listen").and(contains("cap_net_bind_service")));
}

#[test]
fn a_client_that_ends_with_error_0_or_8_is_no_failure_in_the_log() {
    let names = ["probed-0", "probed-8", "stopped-0", "stopped-8"];
    let files = names.map(|name| (name, &[7; 2000][..]));
    let root = folder(&files);
    let server = Daemon::serve(root.path(), &[]);
    for name in names {
        let peer = server.peer();
        let (first, tid) = peer.answer(&rrq(name, &[("tsize", "0")]));
        assert_eq!(show(&first), "OACK tsize=2000");
        if name.starts_with("stopped") {
            peer.exchange(&ack(0), tid, "DATA 1 512");
            peer.exchange(&ack(1), tid, "DATA 2 512");
        }
        peer.send(&error(u16::from(name.ends_with('8')) * 8, "enough"), tid);
        let line = server.log_line(&[name]);
        assert!(line.contains(" INFO "), "{line}");
        let late = peer.pending();
        assert!(late.iter().all(|(packet, _)| packet[1] != 5), "an ERROR is not answered");
    }
}

#[test]
fn names_and_texts_from_the_network_are_escaped_in_the_log() {
    let root = folder(&[("f", &[7; 2000])]);
    let hostile = "first\x1b[2J\r\n\x07\x7f\u{9b}2Jlast";
    let mut raw = Vec::new();
    for arguments in [&[][..], &["--json"]] {
        let server = Daemon::serve(root.path(), arguments);
        server.peer().fetch(&rrq(hostile, &[])).expect_err("no such file");
        server.peer().store(&wrq(hostile, &[]), b"").expect_err("no uploads");
        let peer = server.peer();
        let (_, tid) = peer.answer(&rrq("f", &[]));
        peer.exchange(&ack(1), tid, "DATA 2 512");
        peer.send(&error(0, hostile), tid);
        for event in ["not there", "refused", "ended"] {
            // A line break would have torn it.
            let line = server.log_line(&["first", "last", event]);
            if line.chars().any(char::is_control) {
                raw.push(format!("{arguments:?}: {line:?}"));
            }
        }
    }
    assert!(raw.is_empty(), "{raw:#?}");
}

#[test]
fn the_servers_intervals_and_its_patience_are_the_operators() {
    let root = folder(&[("f", b"few")]);
    let set = ["--first-interval", "0.3", "--intervals", "0.2", "0.4", "--patience", "1.5"];
    let server = Daemon::serve(root.path(), &set);
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("f", &[("blksize", "512")]));
    let asked = Instant::now();
    peer.wanted(tid, "OACK blksize=512");
    let first = asked.elapsed();
    let within = |span: Duration, least: u64, most: u64| {
        (Duration::from_millis(least)..Duration::from_millis(most)).contains(&span)
    };
    assert!(within(first, 250, 900), "{first:?}: not after the second that is the default");
    peer.exchange(&ack(0), tid, "DATA 1 3");
    let mut at = vec![Instant::now()];
    for _ in 0..3 {
        peer.wanted(tid, "DATA 1 3");
        at.push(Instant::now());
    }
    let spans: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(within(spans[0], 150, 900), "{spans:?}: the shortest is no longer 50 ms");
    assert!(within(spans[1], 350, 1400) && within(spans[2], 350, 700), "{spans:?}: the longest");
    server.log_line(&["\"f\"", "unconfirmed"]);
    let end = at[0].elapsed();
    assert!(within(end, 1400, 10_000), "{end:?}: 30 s of patience are the default");
}
