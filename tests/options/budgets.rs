//! What is seen of the options of `rtftpd` that say how much clients may cause.

use crate::common::apart::{namespaces, path};
use crate::common::{Daemon, child, folder, pattern, rrq, show, until};
use crate::given::{Given, LEFT_OUT, Row};
use crate::rtftpd::row;
use std::process::Command;

pub(crate) const ROWS: &[Row] = &[
    row("--network-sessions", (&["1"], "2"), ("served", "dropped"), second_of_a_network),
    row("--unproven-sessions", (&["1", "1"], "2,2"), ("served", "dropped"), second_that_is_silent),
    row("--request-rate", (&["1", "1"], "100,100"), ("answered", "dropped"), twenty_requests),
    row(
        "--error-rate",
        (&["0", "0"], "1,1"),
        ("ERROR 1 \"file not found\"", "ERROR 1 \"\""),
        error,
    ),
    row("--unheard-rate", (&["1K", "1K"], "1G,1G"), ("whole", "not whole"), file_for_the_unheard),
    row("--rate", (&["1K"], "1M"), ("whole", "not whole"), file_of_20_000),
];

const RTFTP: &str = env!("CARGO_BIN_EXE_rtftp");

/// The last line of a shell's output, in a network of its own where `192.0.2.1` is this machine. `$port` is the server's.
fn seen_in_a_network(given: &Given, more: &[&str], line: &str) -> String {
    let Some(unshare) = namespaces(&["--net"]) else { return LEFT_OUT.into() };
    let root = folder(&[("f", &pattern(20_000, 3)), ("few", b"bytes")]);
    let line = format!(
        r#"ip link set lo up; ip address add 192.0.2.1/24 dev lo
        "$0" "$@" > banner 2> log & trap "kill $!" EXIT
        until port=$(sed -n 's/.*listening *192.0.2.1:\([0-9]*\).*/\1/p' banner | grep .); do kill -0 $! || exit; done
        {line}"#
    );
    let mut shell = Command::new(&unshare[0]);
    shell.args(&unshare[1..]).args(["sh", "-c", &line]).arg(Daemon::program()).arg(root.path());
    given.to(&mut shell);
    shell.args(["--listen", "192.0.2.1:0"]).args(more).env("PATH", path());
    let here = folder(&[]);
    let done = child::output(shell.current_dir(here.path()));
    let told = String::from_utf8_lossy(&done.stdout);
    told.lines().last().unwrap_or_default().to_owned()
}

/// While a first one is held up.
fn second_of_a_network(_: &str, given: &Given) -> String {
    let line = format!(
        r#"'{RTFTP}' get 192.0.2.1:$port f -o first --blksize 512 --quiet & first=$!
        until grep -q started log; do kill -0 $first || exit; done
        '{RTFTP}' get 192.0.2.1:$port few -o second --quiet --max-time 2 2>&1 && echo served || echo dropped
        kill $first"#
    );
    seen_in_a_network(given, &["--rate", "1K", "-v"], &line)
}

fn file_for_the_unheard(_: &str, given: &Given) -> String {
    let line = format!(
        "'{RTFTP}' get 192.0.2.1:$port f -o f --blksize 1428 --quiet --max-time 3 2>&1 && echo whole || echo not whole"
    );
    seen_in_a_network(given, &["--single-port"], &line)
}

fn file_of_20_000(_: &str, given: &Given) -> String {
    let root = folder(&[("f", &pattern(20_000, 3))]);
    let server = given.serve(root.path(), &[]);
    let here = folder(&[]);
    let mut get = Command::new(RTFTP);
    get.args(["get", &server.address.to_string(), "f", "--quiet"]);
    get.args(["--blksize", "512", "--max-time", "3"]);
    let done = child::output(get.current_dir(here.path()));
    if done.status.success() { "whole".into() } else { "not whole".into() }
}

fn second_that_is_silent(_: &str, given: &Given) -> String {
    let root = folder(&[("f", b"few")]);
    let server = given.serve(root.path(), &["-v"]);
    let [first, second] = [server.peer(), server.peer()];
    assert_eq!(show(&first.answer(&rrq("f", &[])).0), "DATA 1 3");
    second.ask(&rrq("f", &[]));
    until("the second client's lot", || {
        let dropped = server.logged(&["dropped", "that have not answered yet"]);
        let dropped = dropped.map(|_| "dropped".into());
        dropped.or_else(|| (!second.pending().is_empty()).then(|| "served".into()))
    })
}

fn twenty_requests(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &["-v"]);
    // Of one port a later request takes the place of the one before.
    let peers: Vec<_> = (0..20).map(|_| server.peer()).collect();
    peers.iter().for_each(|peer| peer.ask(&rrq("missing", &[])));
    let mut answers = 0;
    until("what becomes of them", || {
        answers += peers.iter().map(|peer| peer.pending().len()).sum::<usize>();
        let dropped = server.logged(&["dropped", "the limit of requests"]);
        let dropped = dropped.map(|_| "dropped".into());
        dropped.or_else(|| (answers == 20).then(|| "answered".into()))
    })
}

fn error(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &[]);
    show(&server.peer().answer(&rrq("x", &[])).0)
}
