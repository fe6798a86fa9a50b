//! What is seen of the options of `rtftpd` that are about who starts it, and how it tells what happens.

use crate::common::{Daemon, Peer, ack, child, error, folder, rrq, until};
use crate::given::{Given, Row};
use crate::rtftpd::{hanging, row, two_thousand};
use nix::unistd::Uid;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(crate) const ROWS: &[Row] = &[
    row("--model", (&["processes"], "threads"), ("0 processes", "1 processes"), processes),
    row("--inetd", (&[], ""), ("not there", "its own"), socket_that_is_served),
    row("--idle-exit", (&["0.2"], "1h"), ("goes on", "ended"), end_of_the_idle),
    row("--trace", (&[], ""), ("no packet", "each packet"), packets_in_the_log),
    row("--pcap-on-failure", (&["here"], "there"), ("nothing", "a capture"), capture_of_a_failure),
    row("--handover", (&["here"], "there"), ("a new port", "the same"), port_of_the_next),
];

/// The port that is served where standard input is a socket.
fn socket_that_is_served(_: &str, given: &Given) -> String {
    let root = folder(&[("f", b"few")]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let peer = Peer::of(address);
    let mut command = given.rtftpd(root.path(), &["--idle-exit", "0.2", "--listen", "127.0.0.1:0"]);
    if Uid::effective().is_root() {
        command.env("RTFTPD_USER", "0");
    }
    let mut child = child::started_on(&mut command, OwnedFd::from(socket).into());
    peer.ask(&rrq("f", &[]));
    let mut served = false;
    until("its end", || {
        for (_, tid) in peer.pending() {
            served = true;
            peer.send(&ack(1), tid);
        }
        child.try_wait().expect("a child")
    });
    if served { "its own".into() } else { "not there".into() }
}

fn end_of_the_idle(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let mut server = given.serve(root.path(), &[]);
    let mut looks = 0;
    until("its end, or a second", || {
        looks += 1;
        let ended = server.exit_status();
        ended.map(|_| "ended".to_owned()).or_else(|| (looks > 1000).then(|| "goes on".into()))
    })
}

fn packets_in_the_log(_: &str, given: &Given) -> String {
    let root = folder(&[("f", b"few")]);
    let server = given.serve(root.path(), &[]);
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    server.log_line(&["sent", "complete"]);
    let packets = server.log().lines().filter(|line| line.contains(" packet ")).count();
    match packets {
        0 => "no packet".into(),
        3 => "each packet".into(),
        other => format!("{other} packets"),
    }
}

fn capture_of_a_failure(_: &str, given: &Given) -> String {
    let root = folder(&[("f", &[7; 2000])]);
    let here = folder(&[("here/x", b""), ("there/x", b"")]);
    let mut command = given.rtftpd(root.path(), &["--listen", "127.0.0.1:0"]);
    let server = Daemon::spawn(command.current_dir(here.path()));
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    peer.send(&error(3, "no room"), tid);
    server.log_line(&["no room"]);
    let mut looks = 0;
    until("a capture, or a while", || {
        looks += 1;
        let kept = server.logged(&["kept packets"]).is_some();
        assert!(!here.path().join("there/failed-00.pcapng").exists(), "the rival's");
        kept.then(|| "a capture".to_owned()).or_else(|| (looks > 500).then(|| "nothing".into()))
    })
}

fn port_of_the_next(_: &str, given: &Given) -> String {
    let (root, here) = (folder(&[]), folder(&[]));
    let serve = |given: &Given, here: &Path| {
        let mut command = given.rtftpd(root.path(), &["--listen", "127.0.0.1:0"]);
        Daemon::spawn(command.current_dir(here))
    };
    let first = serve(&Given::default().flag("--handover", &["here"]), here.path());
    let next = serve(given, here.path());
    if next.address == first.address { "the same".into() } else { "a new port".into() }
}

/// How many processes one transfer has beside the server.
fn processes(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let _one = hanging(&server);
    format!("{} processes", server.transfer_processes().len())
}
