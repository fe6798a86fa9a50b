//! A session whose upload is stored dallies, in case its last ACK was lost (RFC 1350 § 6). That is all it does: it
//! takes nothing from those who still want something. `fixtures/timelines` shows for how long.

mod common;

use common::{
    Daemon, Own, Peer, Running, ack, config, data, folder, get, model, pattern, plain, rrq, until,
    wrq,
};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tftpkit::client::{Client, Failure};
use tftpkit::server::{Config, Model};
use tftpkit::store::{Folder, Uploads};
use tftpkit::transfer::Outcome;
use tftpkit::wire::ErrorCode;

/// Puts one block, and hears that it is stored.
fn stored(peer: &Peer, name: &str) -> SocketAddr {
    let (_, tid) = peer.answer(&wrq(name, &[]));
    peer.exchange(&data(1, b"all of it"), tid, "ACK 1");
    tid
}

/// Puts one block, and waits until the server tells that the upload is complete.
fn dallies(server: &Running, name: &str) -> (Peer, SocketAddr) {
    let peer = server.peer();
    let tid = stored(&peer, name);
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    (peer, tid)
}

fn start(config: Config, root: &Path) -> Running {
    Running::start(config, Folder::open(root).expect("a folder").uploads(Uploads::Create))
}

/// Downloads `f`; the client asks again until there is room.
fn later(daemon: &Daemon) -> Vec<u8> {
    get(&Client::new(daemon.address).wishes(plain()), "f").expect("a download")
}

/// The model of this run, and the one in which nothing else may be under way.
fn models() -> [Model; 2] {
    [model(), Model::Iterative]
}

#[test]
fn a_stored_upload_is_told_at_once_and_its_last_block_is_still_answered() {
    let root = folder(&[]);
    for (n, model) in models().into_iter().enumerate() {
        let server = start(Config::default().model(model).spawner(common::Transfers), root.path());
        let peer = server.peer();
        let tid = stored(&peer, &n.to_string());
        assert_eq!(server.outcome(&peer), Outcome::Complete);
        server.idle();
        peer.exchange(&data(1, b"all of it"), tid, "ACK 1");
        assert!(server.told().is_empty(), "it is told once");
    }
}

#[test]
fn who_dallies_has_no_thread() {
    let root = folder(&[]);
    let daemon = Daemon::serve(root.path(), &["--uploads", "create", "--model", "threads"]);
    let peer = daemon.peer();
    let tid = stored(&peer, "f");
    until("the thread is gone", || (daemon.transfer_threads() == 0).then_some(()));
    peer.exchange(&data(1, b"all of it"), tid, "ACK 1");
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_who_dallies() {
    let root = folder(&[]);
    for (n, model) in models().into_iter().enumerate() {
        let server = start(Config::default().model(model).spawner(common::Transfers), root.path());
        stored(&server.peer(), &n.to_string());
        server.handle.drain(Duration::from_secs(3600));
        server.ended().expect("a clean end");
    }
}

#[test]
fn who_dallies_gives_way_when_there_are_as_many_sessions_as_may_be() {
    let bytes = pattern(3 * 512, 1);
    let root = folder(&[("f", &bytes)]);
    let server = start(config().sessions(2), root.path());
    for name in ["1", "2", "3"] {
        stored(&server.peer(), name);
    }
    server.idle();
    assert!(get(&server.client(plain()), "f").expect("a download") == bytes);
}

#[test]
fn of_four_sessions_two_may_dally_and_of_three_that_would_the_oldest_leaves() {
    let root = folder(&[]);
    let server = start(config().sessions(4), root.path());
    let [oldest, second] = ["1", "2"].map(|name| dallies(&server, name));
    let answered = |(peer, tid): &(Peer, SocketAddr)| {
        peer.exchange(&data(1, b"all of it"), *tid, "ACK 1");
    };
    answered(&oldest);
    let third = dallies(&server, "3");
    let (peer, tid) = oldest;
    peer.socket.connect(tid).expect("a port");
    until("the oldest has left", || peer.socket.send(&data(1, b"all of it")).err());
    [second, third].iter().for_each(answered);
}

#[test]
fn who_dallies_gives_way_when_there_is_no_port_for_an_error() {
    let root = folder(&[]);
    let own = Own::new();
    let daemon = own.serve(root.path(), 1, &["--uploads", "create"]);
    stored(&daemon.peer(), "new");
    let failure =
        get(&Client::new(daemon.address).wishes(plain()), "none").expect_err("it is not there");
    assert!(
        matches!(failure, Failure::Server { code: ErrorCode::NotFound, .. }),
        "the client asks again until there is a port: {failure}"
    );
}

#[test]
fn who_dallies_gives_way_when_there_is_no_port() {
    let root = folder(&[("f", b"file")]);
    let own = Own::new();
    let daemon = own.serve(root.path(), 1, &["--uploads", "create"]);
    stored(&daemon.peer(), "new");
    assert_eq!(later(&daemon), b"file");
}

#[test]
fn who_dallies_gives_way_when_there_is_no_descriptor() {
    let bytes = pattern(20_000, 2);
    let root = folder(&[("f", &bytes)]);
    let daemon = Daemon::serve(root.path(), &["--uploads", "create"]);
    for n in 0..10 {
        stored(&daemon.peer(), &n.to_string());
    }
    // Not all that it has is its own: some may have come from whoever ran this test.
    let is_socket = |n: &u32| {
        let what = std::fs::read_link(daemon.proc("fd").join(n.to_string()));
        what.is_ok_and(|what| what.to_string_lossy().starts_with("socket:"))
    };
    let most = (0..100).filter(is_socket).max().expect("it has some") + 1;
    daemon.limit_descriptors(most as usize);
    // These take what the uploads needed for a moment.
    let downloads: Vec<_> = (0..8).map(|_| daemon.peer()).collect();
    downloads.iter().for_each(|peer| peer.ask(&rrq("f", &[])));
    daemon.log_line(&["dropped", "no descriptor"]);
    for peer in &downloads {
        peer.pending().iter().for_each(|(_, tid)| peer.send(&ack(1), *tid));
    }
    assert!(later(&daemon) == bytes);
}
