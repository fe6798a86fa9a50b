//! `rtftpd`: what is given twice, what it is stopped with, and what the system allows it.

use crate::common::apart::powerless;
use crate::common::{Daemon, LEFT, Peer, child, folder, pattern, rrq, show, until, wrq};
use crate::given::Given;
use crate::help::{exit_codes, help};
use crate::programs::rtftpd;
use crate::rtftpd::{OFTEN, ends_before_many_repetitions, hanging, two_thousand};
use nix::sys::signal::Signal;
use predicates::prelude::*;
use predicates::str::contains;
use std::net::SocketAddr;
use std::process::Command;

#[test]
fn all_addresses_that_are_given_are_served() {
    let root = two_thousand();
    let twice = Given::default().flag("--listen", &["127.0.0.1:0"]).flag("-l", &["[::1]:0"]);
    let listed = Given::default().flag("--listen", &["127.0.0.1:0,[::1]:0"]);
    let variable = Given::default().variable("RTFTPD_LISTEN", "127.0.0.1:0,[::1]:0");
    for given in [twice, listed, variable] {
        let server = Daemon::spawn(&mut given.rtftpd(root.path(), &[]));
        let banner = server.banner();
        let addresses = banner.lines().filter_map(|line| line.trim().strip_prefix("listening"));
        let addresses: Vec<SocketAddr> =
            addresses.map(|address| address.trim().parse().expect("an address")).collect();
        assert_eq!(addresses.iter().map(SocketAddr::is_ipv6).collect::<Vec<_>>(), [false, true]);
        for address in addresses {
            let got = Peer::of(address).fetch(&rrq("f", &[]));
            assert_eq!(got.expect("a download"), pattern(2000, 1), "{address}");
        }
    }
}

#[test]
fn of_several_networks_the_first_that_fits_has_its_block_size() {
    let root = two_thousand();
    let [far, near, all] = ["192.0.2.0/24=8", "127.0.0.1=600", "127.0.0.0/8=700"];
    let apart = [far, near, all].into_iter();
    let apart = apart.fold(Given::default(), |given, one| given.flag("--max-blksize-of", &[one]));
    let joined = [far, near, all].join(",");
    let variable = Given::default().variable("RTFTPD_MAX_BLKSIZE_OF", &joined);
    for given in [apart, Given::default().flag("--max-blksize-of", &[&joined]), variable] {
        let server = given.serve(root.path(), &[]);
        let (answer, _) = server.peer().answer(&rrq("f", &[("blksize", "1428")]));
        assert_eq!(show(&answer), "OACK blksize=600", "{given:?}");
    }
}

#[test]
fn each_exit_status_that_is_documented_is_reached() {
    let told = exit_codes(&help(env!("CARGO_BIN_EXE_rtftpd"), ""));
    assert_eq!(told, [0, 1, 2]);
    let root = folder(&[]);
    let mut server = Daemon::serve(root.path(), &[]);
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
    rtftpd().arg("no/such/folder").assert().code(1);
    let both = rtftpd().arg(root.path()).args(["-v", "-q"]).assert();
    both.code(2).stderr(contains("--verbose").and(contains("--quiet")));
}

#[test]
fn a_second_signal_ends_what_the_first_has_let_run_on() {
    let (root, place) = (two_thousand(), folder(&[]));
    let pid_file = place.path().join("pid").display().to_string();
    let options = [&OFTEN[..], &["--drain", "1h", "--pid-file", &pid_file]].concat();
    let mut server = Daemon::serve(root.path(), &options);
    let (peer, tid) = hanging(&server);
    server.signal(Signal::SIGTERM);
    server.log_line(&["stopping", "transfers=1", "grace=3600"]);
    let transfer = (peer, tid);
    assert!(!ends_before_many_repetitions(&transfer, || server.exit_status().is_some()));
    // What names it is the next one's meanwhile.
    let next = Daemon::serve(root.path(), &options);
    let told = std::fs::read_to_string(&pid_file).expect("a file");
    assert_eq!(told.trim(), next.pid());
    // It takes no more requests meanwhile.
    let late = server.peer();
    late.ask(&rrq("f", &[]));
    server.signal(Signal::SIGTERM);
    let why = "ERROR 0 \"the server is shutting down\"";
    until("the last word", || {
        transfer.0.pending().iter().find(|(packet, _)| show(packet) == why).map(drop)
    });
    assert_eq!(until("its end", || server.exit_status()), 0);
    assert!(late.pending().is_empty());
}

/// Runs it with so many descriptors, and without the privilege to have more.
fn limited(descriptors: &str, root: &std::path::Path, arguments: &[&str]) -> Daemon {
    let limit = ["prlimit", &format!("--nofile={descriptors}")];
    Daemon::behind(&[&limit, powerless()].concat(), root, arguments)
}

/// Sees that nothing was said about fewer transfers than were asked for.
fn has_enough(server: &Daemon) {
    server.peer().fetch(&rrq("missing", &[])).expect_err("it is not there");
    server.log_line(&["not there"]);
    assert_eq!(server.logged(&["fewer transfers"]), None);
}

#[test]
fn too_few_descriptors_lower_the_sessions_and_that_is_told() {
    let root = two_thousand();
    let uploads = ["--uploads", "create"];
    // The hard limit is its own to take.
    // An upload takes three, and a download one.
    for (descriptors, options, told_of) in [
        ("100", &[][..], "transfers=36 descriptors"),
        ("100", &uploads, "transfers=36 uploads=12 descriptors"),
        ("80:100", &[], "transfers=36 descriptors"),
    ] {
        let server = limited(descriptors, root.path(), options);
        let told = ["WARN", "fewer transfers at once than --max-sessions", "descriptors=100"];
        let line = server.log_line(&told);
        assert!(line.contains(told_of), "{line}");
    }
    has_enough(&limited("100", root.path(), &["--max-sessions", "36"]));
    let one = limited("65", root.path(), &[]);
    let _hanging = hanging(&one);
    one.peer().ask(&rrq("f", &[]));
    one.log_line(&["dropped", "too many transfers at once"]);
    // Who may have more than the hard limit gets it, as the user root often may.
    let few = ["--nofile=100", "prlimit", "--nofile=200"];
    let may = Command::new("prlimit").args(few).arg("true").output();
    if may.is_ok_and(|raised| raised.status.success()) {
        let mut command = Command::new("prlimit");
        let server = command.arg(few[0]).arg(Daemon::program()).arg(root.path());
        has_enough(&Daemon::spawn(server.args([
            "--listen",
            "127.0.0.1:0",
            "--max-sessions",
            "99",
        ])));
    }
}

#[test]
fn a_transfer_has_no_more_descriptors_than_it_is_counted_with() {
    let root = two_thousand();
    std::fs::write(root.path().join(LEFT.0), LEFT.1).expect("a file");
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let new = |n: usize| {
        let peer = server.peer();
        let (answer, tid) = peer.answer(&wrq(format!("new-{n}"), &[]));
        assert_eq!(show(&answer), "ACK 0");
        (peer, tid)
    };
    let _first = (new(0), hanging(&server));
    server.has_swept();
    let before = server.descriptors();
    let _uploads: Vec<_> = (1..=8).map(new).collect();
    let of_uploads = server.descriptors() - before;
    assert_eq!(of_uploads, 8 * 3, "a socket, a file and a directory for each");
    let _downloads: Vec<_> = (0..8).map(|_| hanging(&server)).collect();
    assert_eq!(server.descriptors() - before - of_uploads, 8, "a socket for each");
}

#[test]
fn at_a_terminal_lines_are_short_and_have_colours_for_who_wants_them() {
    let root = folder(&[]);
    let mut told = Vec::new();
    for no_color in [None, Some("1")] {
        let mut script = Command::new("script");
        // The signal that ends it is told in its log.
        let line = format!("timeout 1 {} . --listen 127.0.0.1:0", Daemon::program().display());
        script.args(["-qec", &line, "/dev/null"]).current_dir(root.path()).env_remove("NO_COLOR");
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = child::output(&mut script);
        let screen = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = screen.lines().find(|line| line.contains("stopping")).expect("a line");
        assert!(line.trim_end().ends_with("stopping: transfers 0, grace 10.0"), "{line:?}");
        let time = line.split_once(' ').expect("a time").0;
        let time = time.trim_start_matches("\x1b[2m").trim_end_matches("\x1b[0m");
        assert!(time.len() == 8 && time.matches(':').count() == 2, "{line:?}");
        told.push(screen.contains("\x1b["));
    }
    assert_eq!(told, [true, false]);
}
