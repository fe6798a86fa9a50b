//! What is seen of the options of `rtftpd` that are about who starts it, and how it tells what happens.

use crate::common::{Daemon, Peer, ack, child, folder, rrq, until};
use crate::given::{Given, Row};
use crate::rtftpd::row;
use nix::unistd::Uid;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(crate) const ROWS: &[Row] = &[
    row("--inetd", (&[], ""), ("not there", "its own"), socket_that_is_served),
    row("--idle-exit", (&["0.2"], "1h"), ("goes on", "ended"), end_of_the_idle),
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
