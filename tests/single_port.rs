//! Servers whose transfers have no ports of their own. The tests of `loopback.rs`, `dallying.rs` and others run with such
//! a server, too (`RTFTPD_SINGLE_PORT`); here is what sets it apart.

mod common;

use common::{
    DEADLINE, Daemon, Peer, Running, Told, ack, data, error, folder, get, impatient, pattern, rrq,
    show, until, windowed, wrq,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tftpkit::limits;
use tftpkit::server::{
    Config, ConfigError, DropReason, Model, PortRange, Profile, Server, StandardPolicy, StartError,
};
use tftpkit::store::{Folder, InMemory, Uploads};
use tftpkit::transfer::Outcome;

fn config() -> Config {
    Config::default().model(Model::SinglePort)
}

fn serving(root: &Path) -> Running {
    let served = Folder::open(root).expect("a folder").uploads(Uploads::Overwrite);
    Running::start(config(), served)
}

/// Waits until the request of this client was taken for a late copy.
#[track_caller]
fn is_taken_for_a_late_copy(server: &Running, peer: &Peer) {
    server.event("a late copy", |told| match told {
        Told::Dropped(from, DropReason::LateCopy) => (from == peer.address()).then_some(()),
        _ => None,
    });
}

#[test]
fn everything_leaves_from_the_address_and_the_port_that_were_asked() {
    let file = pattern(3000, 1);
    let root = folder(&[("f", &file)]);
    let anywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    let locals = [[127, 0, 0, 1], [127, 0, 0, 7], [127, 9, 8, 7]].map(IpAddr::from);
    for listened in anywhere {
        let store = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let server = Running::bound(config().listen((listened, 0)), store);
        let v6 = listened.is_ipv6().then_some(IpAddr::from(Ipv6Addr::LOCALHOST));
        for (n, ip) in locals.into_iter().chain(v6).enumerate() {
            let asked = server.at(ip);
            for request in [rrq("missing", &[]), vec![0, 9], wrq(format!("{listened}{n}"), &[])] {
                assert_eq!(Peer::of(asked).answer(&request).1, asked, "{request:?}");
            }
            let peer = Peer::of(asked);
            let (first, tid) = peer.answer(&rrq("f", &[]));
            assert_eq!((tid, peer.rest(first, tid, 512)), (asked, Ok(file.clone())));
        }
    }
}

#[test]
fn a_socket_that_was_handed_over_answers_from_its_own_port_as_well() {
    let root = folder(&[("f", b"few bytes")]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let asked = socket.local_addr().expect("its address");
    let _server = Daemon::activated(&socket, &["--single-port"], root.path());
    let peer = Peer::of(asked);
    let (first, tid) = peer.answer(&rrq("f", &[]));
    assert_eq!((tid, peer.rest(first, tid, 512)), (asked, Ok(b"few bytes".to_vec())));
}

#[test]
fn a_silent_address_gets_1032_bytes_for_a_request_of_14() {
    const REPEATS: usize = 3;
    let root = folder(&[("files", &pattern(9000, 2))]);
    let policy = StandardPolicy::new(Profile::default().timing(impatient()));
    let served = Folder::open(root.path()).expect("a folder");
    let server = Running::start(config().policy(policy), served);
    let request = rrq("files", &[]);
    assert_eq!(request.len(), 14);
    for (times, most) in [(1, (2, 1032)), (1 + REPEATS, (2 + REPEATS, 1032 + REPEATS * 516))] {
        let peer = server.peer();
        (0..times).for_each(|_| peer.ask(&request));
        assert_eq!(server.outcome(&peer), Outcome::Silent);
        let sizes: Vec<_> = peer.pending().iter().map(|(packet, _)| packet.len()).collect();
        let (packets, bytes) = most;
        assert!(sizes.len() <= packets && sizes.iter().sum::<usize>() <= bytes, "{sizes:?}");
        assert!(sizes.iter().sum::<usize>() >= 516, "{sizes:?}");
    }
}

#[test]
fn a_request_in_the_middle_of_a_transfer_is_taken_for_a_late_copy() {
    let file = pattern(2000, 5);
    let root = folder(&[("a", &file), ("b", b"other")]);
    let server = serving(root.path());
    let peer = server.peer();
    let (mut packet, tid) = peer.answer(&rrq("a", &[]));
    let mut bytes = packet[4..].to_vec();
    for (block, wanted) in [(1, "DATA 2 512"), (2, "DATA 3 512"), (3, "DATA 4 464")] {
        packet = peer.exchange(&ack(block), tid, wanted);
        bytes.extend_from_slice(&packet[4..]);
        for copy in [rrq("a", &[]), rrq("b", &[]), wrq("c", &[])] {
            peer.ask(&copy);
            is_taken_for_a_late_copy(&server, &peer);
        }
    }
    peer.send(&ack(4), tid);
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    assert!(bytes == file, "it is one file");
    assert_eq!(peer.pending(), [], "nothing else was said");
    assert_eq!(peer.fetch(&rrq("b", &[])), Ok(b"other".to_vec()), "the next one at once");
}

#[test]
fn another_request_right_behind_the_first_may_be_an_older_one_and_is_asked_again() {
    let root = folder(&[("a", &pattern(2000, 5)), ("b", &pattern(2000, 6))]);
    let server = serving(root.path());
    let peer = server.peer();
    peer.ask(&rrq("a", &[]));
    peer.ask(&rrq("b", &[]));
    is_taken_for_a_late_copy(&server, &peer);
    let of_a = peer.receive().0;
    assert_eq!(of_a[4..], pattern(2000, 5)[..512]);
    let of_b = until("the other file", || {
        peer.ask(&rrq("b", &[]));
        let heard = peer.pending();
        heard.into_iter().map(|(packet, _)| packet).find(|packet| *packet != of_a)
    });
    assert_eq!(of_b[4..], pattern(2000, 6)[..512]);
    assert_eq!(peer.rest(of_b, server.address, 512), Ok(pattern(2000, 6)));
}

#[test]
fn who_begins_anew_on_the_same_port_is_served_once_the_old_transfer_stands_still() {
    let file = pattern(2000, 5);
    let root = folder(&[("a", &file)]);
    let server = serving(root.path());
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("a", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    // As firmware does that was reset.
    let first = until("the first block again", || {
        peer.ask(&rrq("a", &[]));
        peer.pending().into_iter().map(|(packet, _)| packet).find(|it| show(it) == "DATA 1 512")
    });
    assert_eq!(server.outcome(&peer), Outcome::Superseded);
    assert_eq!(peer.rest(first, tid, 512), Ok(file));
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    server.idle();
}

#[test]
fn a_stored_upload_keeps_nobody_from_the_next_request() {
    let root = folder(&[("f", b"a file")]);
    let server = serving(root.path());
    let peer = server.peer();
    let (_, tid) = peer.answer(&wrq("new", &[]));
    peer.exchange(&data(1, b"all of it"), tid, "ACK 1");
    peer.ask(&wrq("new", &[]));
    is_taken_for_a_late_copy(&server, &peer);
    peer.exchange(&data(1, b"all of it"), tid, "ACK 1");
    assert_eq!(peer.fetch(&rrq("f", &[])), Ok(b"a file".to_vec()));
    assert_eq!(std::fs::read(root.path().join("new")).expect("stored"), b"all of it");
}

#[test]
fn strangers_and_the_late_get_silence() {
    let file = pattern(700, 3);
    let root = folder(&[("f", &file)]);
    let server = serving(root.path());
    let (peer, stranger) = (server.peer(), server.peer());
    let (first, tid) = peer.answer(&rrq("f", &[]));
    let strays = [ack(1), data(1, &[7; 512]), error(0, "no"), b"\0\x06blksize\x008\0".to_vec()];
    for stray in &strays {
        stranger.ask(stray);
        server.event("a stray", |told| {
            matches!(told, Told::Stray(from) if from == stranger.address()).then_some(())
        });
    }
    assert_eq!(peer.rest(first, tid, 512), Ok(file));
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    peer.send(&ack(2), tid);
    server.event("a late ACK", |told| {
        matches!(told, Told::Stray(from) if from == peer.address()).then_some(())
    });
    assert_eq!((peer.pending(), stranger.pending()), (vec![], vec![]));
}

#[test]
fn a_server_that_is_stopped_finishes_its_transfers_and_takes_no_requests() {
    let file = pattern(5000, 10);
    let root = folder(&[("f", &file)]);
    let server = serving(root.path());
    let (peer, late) = (server.peer(), server.peer());
    let (first, tid) = peer.answer(&rrq("f", &[]));
    server.handle.drain(DEADLINE);
    late.ask(&rrq("f", &[]));
    // It comes again when its time has come.
    assert_eq!(peer.wanted(tid, "DATA 1 512"), first);
    assert_eq!(peer.rest(first, tid, 512), Ok(file));
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    assert_eq!(late.pending(), []);
    server.ended().expect("a clean end");

    let server = serving(root.path());
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    server.handle.drain(Duration::ZERO);
    assert_eq!(show(&peer.receive().0), "ERROR 0 \"the server is shutting down\"");
    server.ended().expect("a clean end");
}

#[test]
fn an_upload_in_wide_windows_that_waits_for_its_disk_loses_nothing() {
    let file = pattern(3 << 20, 4);
    let root = folder(&[("f", &file)]);
    let server = serving(root.path());
    for (size, window) in [(1428, 64), (65464, 15), (512, 1)] {
        let client = server.client(windowed(size, window));
        let sent = common::put(&client, "up", &file).expect("an upload");
        assert!(std::fs::read(root.path().join("up")).expect("stored") == file);
        assert!(sent.retransmitted <= 200, "{sent:?}");
        assert!(get(&client, "f").expect("a download") == file);
    }
}

#[test]
fn a_range_of_ports_makes_no_sense_with_one() {
    let config =
        config().listen((Ipv4Addr::LOCALHOST, 0)).ports(PortRange::new(50_000, 50_009).ok());
    let bound = Server::bind(config, InMemory::new(), |_| {});
    let why = bound.expect_err("a contradiction");
    assert!(matches!(why, StartError::Config(ConfigError::PortsOfSinglePort)), "{why}");
    assert!(limits::LATE_COPY < DEADLINE);
}
