//! Whole transfers over real sockets, between the library's server and its client or a bare one.

mod common;

use common::apart::in_own_network;
use common::{
    DEADLINE, Daemon, Own, Peer, Running, Told, ack, config, data, error_code, folder, get, joined,
    listing, model, open_to_all, pattern, plain, put, receive, rrq, show, until, windowed, within,
    wrq,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tftpkit::client::{Client, Wishes};
use tftpkit::limits::PATIENCE;
use tftpkit::server::{Config, DropReason, Model};
use tftpkit::store::{Folder, Uploads};
use tftpkit::transfer::Outcome;
use tftpkit::wire::Mode;

const SIZES: [usize; 6] = [0, 1, 511, 512, 513, 1 << 20];

/// A server of `root` that listens at this address.
fn listening(address: impl Into<IpAddr>, root: &std::path::Path) -> Running {
    let config = config().listen((address.into(), 0));
    Running::bound(config, Folder::open(root).expect("a folder"))
}

fn serving(root: &std::path::Path, config: Config) -> Running {
    Running::start(config, Folder::open(root).expect("a folder"))
}

/// Every size, downloaded, uploaded and listed.
fn all_sizes(wishes: Wishes) {
    for mode in [Mode::Octet, Mode::Netascii] {
        let root = folder(&[]);
        let server = Running::taking(root.path(), Uploads::Create);
        let client = server.client(wishes.mode(mode));
        for size in SIZES {
            let (bytes, name, sent) = (pattern(size, 1), format!("{size}"), format!("sent-{size}"));
            std::fs::write(root.path().join(&name), &bytes).expect("a file");
            assert!(get(&client, &name).expect("a download") == bytes, "{name} {mode:?}");
            put(&client, &sent, &bytes).expect("an upload");
            assert!(
                std::fs::read(root.path().join(&sent)).expect("a file") == bytes,
                "{sent} {mode:?}"
            );
        }
        let listed = listing(&client, b"").expect("a listing").entries;
        let mut sizes: Vec<_> = listed.iter().map(|entry| entry.size as usize).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, SIZES.iter().flat_map(|size| [*size; 2]).collect::<Vec<_>>());
    }
}

#[test]
fn every_size_travels_both_ways_without_options() {
    all_sizes(plain());
}

#[test]
fn every_size_travels_both_ways_as_the_client_likes_it_best() {
    all_sizes(Wishes::default());
}

#[test]
fn every_size_travels_both_ways_in_windows_of_8_blocks_of_1428() {
    all_sizes(windowed(1428, 8));
}

#[test]
fn every_size_travels_both_ways_in_windows_of_4_blocks_of_65464() {
    all_sizes(windowed(65464, 4));
}

#[test]
fn a_server_is_reached_over_ipv4_over_ipv6_and_over_both() {
    let bytes = pattern(3000, 2);
    let root = folder(&[("f", &bytes)]);
    let reached = |server: &Running, ip: IpAddr| {
        get(&Client::new(server.at(ip)), "f").expect("a download") == bytes
    };
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert!(reached(&listening(v4, root.path()), v4));
    assert!(reached(&listening(v6, root.path()), v6));
    let both = listening(Ipv6Addr::UNSPECIFIED, root.path());
    assert!(reached(&both, v4) && reached(&both, v6));
}

#[test]
fn the_answer_leaves_from_the_address_that_was_asked() {
    let root = folder(&[("f", b"x")]);
    let anywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    for server in anywhere.map(|ip| listening(ip, root.path())) {
        for ip in [[127, 0, 0, 1], [127, 0, 0, 7], [127, 9, 8, 7]] {
            let peer = Peer::of(server.at(ip));
            for request in [rrq("f", &[]), rrq("missing", &[]), vec![0, 9]] {
                assert_eq!(peer.answer(&request).1.ip(), IpAddr::from(ip), "{request:?}");
            }
        }
    }
}

#[test]
fn each_transfer_has_a_port_of_its_own() {
    let root = folder(&[("f", b"x")]);
    let server = Running::serve(root.path());
    let peers: Vec<_> = (0..20).map(|_| server.peer()).collect();
    let mut ports: Vec<_> = peers.iter().map(|p| p.answer(&rrq("f", &[])).1.port()).collect();
    ports.push(server.address.port());
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 21);
}

#[test]
fn five_hundred_clients_at_once_get_their_own_bytes() {
    const CLIENTS: usize = 500;
    let root = folder(&[]);
    let file = |n: usize| pattern(12_000 + 37 * n, n as u32);
    (0..CLIENTS).for_each(|n| std::fs::write(root.path().join(n.to_string()), file(n)).expect("f"));
    // An address of its own: what other servers still send to a port that is used anew is no answer of this one.
    let server = listening(Ipv4Addr::from(0x7f63_0000 | std::process::id() & 0xffff), root.path());
    let (address, start) = (server.address, Arc::new(Barrier::new(CLIENTS)));
    let client = |n: usize| {
        let start = Arc::clone(&start);
        let wishes = [plain(), Wishes::default(), windowed(1428, 8)][n % 3];
        let run = move || {
            start.wait();
            let client = Client::new(address).wishes(wishes);
            let got = client.read(n.to_string()).expect("a download");
            let whose = || (0..CLIENTS).find(|other| file(*other) == got);
            (got != file(n)).then(|| format!("{n}: {} bytes, file {:?}", got.len(), whose()))
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(run).expect("a thread")
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let wrong = clients.into_iter().filter_map(|client| joined("a download", client));
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
    // A copy of a request that came late has a transfer that nobody answers.
    let is_idle = || (server.handle.transfers() == 0).then_some(());
    within(PATIENCE + DEADLINE, is_idle).expect("no transfer is left");
}

/// As many descriptors as this process may have.
fn allow_many_sockets() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit");
}

const MANY: usize = 1000;
const BLOCKS: u16 = 24;

/// A thousand clients that download, each with a block in its hands while all others are open.
fn a_thousand_at_once(daemon: &Daemon, files: &[Vec<u8>]) {
    let open = |n: usize| {
        let peer = daemon.peer();
        let (first, tid) = peer.answer(&rrq((n % files.len()).to_string(), &[]));
        assert_eq!(show(&first), "DATA 1 512");
        let second = peer.exchange(&ack(1), tid, "DATA 2 512");
        (peer, tid, [&first[4..], &second[4..]].concat())
    };
    let mut clients: Vec<_> = (0..MANY).map(open).collect();
    let threads = if matches!(model(), Model::Threads(_)) { MANY } else { 0 };
    assert_eq!(daemon.transfer_threads(), threads, "all are open");
    for block in 3..=BLOCKS {
        for (peer, tid, _) in &clients {
            peer.send(&ack(block - 1), *tid);
        }
        let wanted = format!("DATA {block} {}", if block == BLOCKS { 412 } else { 512 });
        for (peer, tid, bytes) in &mut clients {
            bytes.extend_from_slice(&peer.wanted(*tid, &wanted)[4..]);
        }
    }
    for (n, (peer, tid, bytes)) in clients.iter().enumerate() {
        peer.send(&ack(BLOCKS), *tid);
        assert!(*bytes == files[n % files.len()], "client {n}");
    }
}

#[test]
fn a_thousand_downloads_are_open_at_once_and_leave_nothing_behind() {
    // What the C library keeps of a thousand stacks and buffers, once, for the next thousand.
    const KEPT_KIB: u64 = 14 << 10;
    allow_many_sockets();
    let files: Vec<_> = (0..7).map(|n| pattern(usize::from(BLOCKS) * 512 - 100, n)).collect();
    let root = folder(&[]);
    for (n, bytes) in files.iter().enumerate() {
        std::fs::write(root.path().join(n.to_string()), bytes).expect("a file");
    }
    open_to_all(root.path());
    let daemon = Daemon::serve(root.path(), &["--max-threads", &MANY.to_string()]);
    let descriptors = daemon.descriptors();
    let fetched = daemon.peer().fetch(&rrq("0", &[]));
    assert!(fetched.expect("a download") == files[0]);
    until("no thread is left", || (daemon.transfer_threads() == 0).then_some(()));
    until("no socket is left", || (daemon.descriptors() == descriptors).then_some(()));
    let threads = daemon.status("Threads");
    let most_memory = daemon.status("VmRSS") + KEPT_KIB;
    for _ in 0..4 {
        a_thousand_at_once(&daemon, &files);
        until("no thread is left", || (daemon.status("Threads") == threads).then_some(()));
        until("no socket is left", || (daemon.descriptors() == descriptors).then_some(()));
        until(&format!("memory below {most_memory} KiB"), || {
            (daemon.status("VmRSS") <= most_memory).then_some(())
        });
    }
}

/// The lengths of the first pieces in which a window of 8 blocks of 1428 arrives at a socket that takes several
/// packets in one piece.
fn pieces_of_a_window(server: &Running) -> Vec<usize> {
    let peer = server.peer();
    setsockopt(&peer.socket, sockopt::UdpGroSegment, &true).expect("GRO");
    let (_, tid) = peer.answer(&rrq("f", &[("blksize", "1428"), ("windowsize", "8")]));
    peer.send(&ack(0), tid);
    let mut pieces = Vec::new();
    while pieces.iter().sum::<usize>() < 8 * 1432 {
        pieces.push(peer.receive_from(tid).len());
    }
    pieces
}

#[test]
fn a_window_leaves_in_one_piece() {
    let root = folder(&[("f", &pattern(100_000, 3))]);
    assert_eq!(pieces_of_a_window(&Running::serve(root.path())), [8 * 1432]);
    let apart = serving(root.path(), config().offload(false));
    assert_eq!(pieces_of_a_window(&apart), [1432; 8]);
}

#[test]
fn files_are_whole_whoever_cuts_and_joins_packets() {
    let file = pattern(300_000, 5);
    let root = folder(&[("f", &file)]);
    for (n, (offload, no_offload)) in
        [(true, true), (false, false), (false, true)].iter().enumerate()
    {
        let config = config().offload(*offload);
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let server = Running::start(config, folder);
        let client = server.client(windowed(1428, 16).offload(!no_offload));
        assert!(get(&client, "f").expect("a download") == file);
        put(&client, &format!("up-{n}"), &file).expect("an upload");
        assert!(std::fs::read(root.path().join(format!("up-{n}"))).expect("stored") == file);
    }
}

/// Where a packet does not fit the device, the kernel refuses to cut a burst into packets. Loopback's size can only
/// be changed in a network of its own, so the test starts itself again in one.
#[test]
fn where_the_kernel_refuses_pieces_a_window_leaves_packet_by_packet() {
    let test = where_the_kernel_refuses_pieces_a_window_leaves_packet_by_packet;
    if !in_own_network(test, "ip link set lo mtu 1280 up") {
        return;
    }
    let bytes = pattern(100_000, 3);
    let root = folder(&[("f", &bytes)]);
    let server = Running::serve(root.path());
    assert_eq!(pieces_of_a_window(&server), [1432; 8]);
    assert!(get(&server.client(windowed(1428, 8)), "f").expect("a download") == bytes);
    assert!(get(&server.client(windowed(1200, 8)), "f").expect("a download") == bytes);
}

/// Boot ROMs drop packets that may not be fragmented. Only root sees headers, so the test has a network of its own.
#[test]
fn no_packet_forbids_to_be_fragmented() {
    if !in_own_network(no_packet_forbids_to_be_fragmented, "ip link set lo up") {
        return;
    }
    let (raw, none) = (SockType::Raw, SockFlag::empty());
    let headers = socket(AddressFamily::Inet, raw, none, SockProtocol::Udp).expect("a raw socket");
    let root = folder(&[("f", &pattern(5000, 3))]);
    for local in [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::LOCALHOST)] {
        let server = listening(local, root.path());
        let client = Client::new((Ipv4Addr::LOCALHOST, server.address.port()).into());
        get(&client, "f").expect("a download");
        get(&client, "missing").expect_err("it is not there");
        let mut header = [0; 20];
        let packets = std::iter::from_fn(|| {
            recv(headers.as_raw_fd(), &mut header, MsgFlags::MSG_DONTWAIT).ok().map(|_| header)
        });
        let flags: Vec<u8> = packets.map(|header| header[6] >> 5).collect();
        assert!(flags.len() >= 6 && flags.iter().all(|flags| flags & 0b010 == 0), "{flags:?}");
    }
}

#[test]
fn a_request_that_comes_eight_times_is_one_transfer() {
    let bytes = pattern(2000, 4);
    let root = folder(&[("f", &bytes)]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    (0..8).for_each(|_| peer.ask(&rrq("f", &[])));
    // Behind them in the queue: once this one is served, they have been looked at.
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    let (first, tid) = peer.receive();
    let fetched = peer.rest(first, tid, 512);
    assert!(fetched.expect("a download") == bytes);
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    server.idle();
    assert!(peer.pending().iter().all(|(_, from)| *from == tid), "one port has answered");
    let again = server
        .told()
        .into_iter()
        .any(|told| matches!(told, Told::Finished(query, _) if query.peer == peer.address()));
    assert!(!again, "one transfer has ended");
}

#[test]
fn another_request_from_the_same_port_is_served_at_once_and_ends_the_old_when_it_is_proven() {
    let root = folder(&[("a", &pattern(2000, 5)), ("b", &pattern(2000, 6))]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (_, old) = peer.answer(&rrq("a", &[]));
    let (first, new) = peer.answer_beside(old, &rrq("b", &[]));
    assert_eq!(first[4..], pattern(2000, 6)[..512]);
    assert_eq!(server.handle.transfers(), 2, "the old one is not ended by a request alone");
    peer.exchange(&ack(1), new, "DATA 2 512");
    assert_eq!(server.outcome(&peer), Outcome::Superseded);
    until("the old one is gone", || (server.handle.transfers() == 1).then_some(()));
}

#[test]
fn a_late_copy_of_a_request_does_not_end_a_running_transfer() {
    let bytes = pattern(2000, 5);
    let root = folder(&[("a", &bytes), ("b", b"other")]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (first, running) = peer.answer(&rrq("a", &[]));
    peer.exchange(&ack(1), running, "DATA 2 512");
    peer.answer_beside(running, &rrq("b", &[]));
    let fetched = peer.rest(first, running, 512);
    assert!(fetched.expect("a download") == bytes);
    assert_eq!(server.outcome(&peer), Outcome::Complete);
}

#[test]
fn the_same_request_after_the_first_ack_is_a_new_transfer() {
    let bytes = pattern(2000, 7);
    let root = folder(&[("f", &bytes)]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (_, old) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), old, "DATA 2 512");
    let (first, new) = peer.answer_beside(old, &rrq("f", &[]));
    assert_eq!(show(&first), "DATA 1 512");
    assert!(peer.rest(first, new, 512).expect("a download") == bytes);
}

#[test]
fn a_client_may_use_its_port_again_and_again() {
    let bytes = pattern(2000, 8);
    let root = folder(&[("f", &bytes)]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    for _ in 0..5 {
        assert!(peer.fetch(&rrq("f", &[])).expect("a download") == bytes);
        assert_eq!(server.outcome(&peer), Outcome::Complete);
    }
}

#[test]
fn as_many_transfers_as_are_allowed_are_open_and_no_more_until_one_ends() {
    let root = folder(&[("f", &pattern(2000, 9))]);
    let config = config().sessions(3);
    let server = serving(root.path(), config);
    let open = [(); 3].map(|()| server.peer());
    let [.., (first, tid)] = open.each_ref().map(|peer| peer.answer(&rrq("f", &[])));
    let late = server.peer();
    late.ask(&rrq("f", &[]));
    let why = server.event("one is dropped", |told| match told {
        Told::Dropped(peer, why) if peer == late.address() => Some(why),
        _ => None,
    });
    assert_eq!((why, late.pending()), (DropReason::TooManySessions, vec![]));
    open[2].rest(first, tid, 512).expect("a download");
    assert_eq!(server.outcome(&open[2]), Outcome::Complete);
    until("there is room", || (server.handle.transfers() == 2).then_some(()));
    late.fetch(&rrq("f", &[])).expect("a download");
}

#[test]
fn a_server_that_is_stopped_takes_no_requests_and_lets_a_transfer_finish() {
    let bytes = pattern(5000, 10);
    let root = folder(&[("f", &bytes)]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("f", &[]));
    server.handle.drain(DEADLINE);
    let late = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    late.connect(server.address).expect("connected");
    late.set_nonblocking(true).expect("nonblocking");
    until("the request port is closed", || {
        // An ACK, which nobody answers: what comes back is the network's word.
        let _ = late.send(&ack(0));
        let refused = late.recv(&mut [0; 9]).map_err(|error| error.kind());
        (refused == Err(ErrorKind::ConnectionRefused)).then_some(())
    });
    assert!(peer.rest(first, tid, 512).expect("a download") == bytes);
    assert_eq!(server.outcome(&peer), Outcome::Complete);
    server.ended().expect("a clean end");
}

#[test]
fn a_server_that_may_not_wait_ends_transfers_with_an_error() {
    let root = folder(&[("f", &pattern(5000, 10))]);
    let server = Running::taking(root.path(), Uploads::Create);
    let (reader, writer) = (server.peer(), server.peer());
    let (_, reading) = reader.answer(&rrq("f", &[]));
    reader.exchange(&ack(1), reading, "DATA 2 512");
    let (_, writing) = writer.answer(&wrq("new", &[]));
    writer.exchange(&data(1, &[7; 512]), writing, "ACK 1");
    server.handle.drain(Duration::ZERO);
    let said = "ERROR 0 \"the server is shutting down\"";
    // On a busy machine the last packet may come again before it.
    reader.wanted(reading, said);
    writer.wanted(writing, said);
    let stopped = |told| match told {
        Told::Finished(_, summary) => Some(summary.outcome),
        _ => None,
    };
    let ends = [server.event("a first end", stopped), server.event("a second end", stopped)];
    assert_eq!(ends, [Some(Outcome::Stopped), Some(Outcome::Stopped)]);
    server.ended().expect("a clean end");
    assert_eq!(common::everything_in(root.path()), ["f"]);
}

#[test]
fn transfers_stay_within_the_range_of_ports() {
    let root = folder(&[("f", &pattern(2000, 11))]);
    let (own, first) = (Own::new(), Own::FIRST);
    let config = config().ports(Own::ports(2).0).listen((own.ip, 0));
    let server = Running::bound(config, Folder::open(root.path()).expect("a folder"));
    let peers = [server.peer(), server.peer()];
    let [one, two] = peers.each_ref().map(|peer| peer.answer(&rrq("f", &[])));
    let mut ports = [one.1.port(), two.1.port()];
    ports.sort_unstable();
    assert_eq!(ports, [first, first + 1]);
    let late = server.peer();
    late.ask(&rrq("f", &[]));
    server.event("no port is left", |told| match told {
        Told::Dropped(peer, DropReason::NoPort) if peer == late.address() => Some(()),
        _ => None,
    });
    assert_eq!(late.pending(), []);
    peers[0].rest(one.0, one.1, 512).expect("a download");
    assert_eq!(server.outcome(&peers[0]), Outcome::Complete);
    let (first, tid) = until("the port is free", || {
        late.ask(&rrq("f", &[]));
        late.pending().pop()
    });
    assert_eq!(tid, one.1);
    late.rest(first, tid, 512).expect("a download");
}

#[test]
fn uploads_are_off_unless_they_are_allowed() {
    let root = folder(&[("old", b"old")]);
    let server = Running::serve(root.path());
    for name in ["new", "old", ".list"] {
        let refused = server.peer().store(&wrq(name, &[]), b"x").expect_err("no upload");
        assert_eq!(error_code(&refused), 2, "{name}");
    }
    assert_eq!(common::everything_in(root.path()), ["old"]);
}

#[test]
fn create_takes_new_names_only() {
    let root = folder(&[("old", b"old"), ("dir/in", b"")]);
    let server = Running::taking(root.path(), Uploads::Create);
    let store =
        |name: &str| server.peer().store(&wrq(name, &[]), b"bytes").map_err(|e| error_code(&e));
    assert_eq!(store("new"), Ok(()));
    assert_eq!(store("dir/new"), Ok(()));
    assert_eq!(store("old"), Err(6));
    assert_eq!(store("dir"), Err(2));
    assert_eq!(store(".list"), Err(2));
    assert_eq!(store("../new"), Err(2));
    assert_eq!(store("missing/new"), Err(1));
    let read = |name: &str| std::fs::read(root.path().join(name)).expect("a file");
    assert_eq!(
        (read("new"), read("dir/new"), read("old")),
        (b"bytes".into(), b"bytes".into(), b"old".into())
    );
}

#[test]
fn overwrite_replaces_a_file_and_keeps_its_mode() {
    let root = folder(&[("old", b"a longer one than the new"), ("dir/in", b"")]);
    let old = root.path().join("old");
    std::fs::set_permissions(&old, PermissionsExt::from_mode(0o640)).expect("a mode");
    let server = Running::taking(root.path(), Uploads::Overwrite);
    let store =
        |name: &str| server.peer().store(&wrq(name, &[]), b"bytes").map_err(|e| error_code(&e));
    assert_eq!((store("old"), store("new"), store("dir")), (Ok(()), Ok(()), Err(2)));
    assert_eq!(std::fs::read(&old).expect("a file"), b"bytes");
    assert_eq!(old.metadata().expect("a file").permissions().mode() & 0o7777, 0o640);
}

#[test]
fn directories_are_made_only_where_that_is_allowed() {
    for (allowed, wanted) in [(false, Err(1)), (true, Ok(()))] {
        let root = folder(&[]);
        let served = Folder::open(root.path()).expect("a folder");
        let served = served.uploads(Uploads::Create).create_dirs(allowed);
        let server = Running::start(config(), served);
        let stored = server.peer().store(&wrq("a/b/c", &[]), b"bytes").map_err(|e| error_code(&e));
        assert_eq!((stored, root.path().join("a/b/c").exists()), (wanted, allowed));
    }
}

/// Two uploads of one name, begun at once; `first` ends before `second`.
fn two_uploads(uploads: Uploads) -> (Vec<u8>, Result<(), Vec<u8>>) {
    let root = folder(&[]);
    let server = Running::taking(root.path(), uploads);
    let (first, second) = (server.peer(), server.peer());
    let (_, second_tid) = second.answer(&wrq("f", &[]));
    let (_, first_tid) = first.answer(&wrq("f", &[]));
    second.exchange(&data(1, &[2; 512]), second_tid, "ACK 1");
    first.exchange(&data(1, &[1; 512]), first_tid, "ACK 1");
    assert!(!root.path().join("f").exists(), "half a file is not seen");
    first.store_rest(first_tid, 2, &[1; 100]).expect("the first is stored");
    assert_eq!(std::fs::read(root.path().join("f")).expect("a file"), [1; 612]);
    let end = second.store_rest(second_tid, 2, &[2; 600]);
    assert_eq!(common::everything_in(root.path()), ["f"]);
    (std::fs::read(root.path().join("f")).expect("a file"), end)
}

#[test]
fn of_two_uploads_that_may_create_the_first_to_finish_is_kept() {
    let (bytes, end) = two_uploads(Uploads::Create);
    assert_eq!((bytes, error_code(&end.expect_err("it exists"))), (vec![1; 612], 6));
}

#[test]
fn of_two_uploads_that_may_overwrite_the_last_to_finish_is_kept() {
    let (bytes, end) = two_uploads(Uploads::Overwrite);
    assert_eq!((bytes, end), (vec![2; 1112], Ok(())));
}

#[test]
fn an_upload_may_be_as_large_as_is_allowed_and_not_a_byte_larger() {
    let root = folder(&[]);
    let served = Folder::open(root.path()).expect("a folder");
    let served = served.uploads(Uploads::Overwrite).largest_upload(1000);
    let server = Running::start(config(), served);
    let first = |size: &str| show(&server.peer().answer(&wrq("told", &[("tsize", size)])).0);
    assert_eq!(first("1000"), "OACK tsize=1000");
    assert_eq!(first("1001"), "ERROR 3 \"larger than an upload may be\"");
    let store =
        |len| server.peer().store(&wrq("f", &[]), &vec![5; len]).map_err(|e| error_code(&e));
    assert_eq!((store(1001), store(1000)), (Err(3), Ok(())));
    assert_eq!(std::fs::read(root.path().join("f")).expect("a file"), [5; 1000]);
}

/// Sends to `group` from loopback, and sees to it that such datagrams do arrive here.
fn shared(group: Ipv4Addr, port: u16, datagram: &[u8]) -> UdpSocket {
    let local = Ipv4Addr::LOCALHOST;
    let sender = UdpSocket::bind((local, 0)).expect("a socket");
    sender.set_broadcast(true).expect("broadcasts");
    let _ = socket2::SockRef::from(&sender).set_multicast_if_v4(&local);
    let witness = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    if group.is_multicast() {
        witness.join_multicast_v4(&group, &local).expect("a member");
    }
    sender.send_to(datagram, (group, port)).expect("sent");
    let seen_at = witness.local_addr().expect("an address").port();
    sender.send_to(b"seen", (group, seen_at)).expect("sent");
    assert_eq!(receive(&witness, &mut [0; 9]).expect("it arrives").0, 4);
    sender
}

#[test]
fn a_request_to_everyone_is_ignored() {
    let root = folder(&[("f", b"x")]);
    for ip in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
        let server = listening(ip, root.path());
        for group in [[127, 255, 255, 255], [239, 255, 7, 7]] {
            let sender = shared(group.into(), server.address.port(), &rrq("f", &[]));
            // A request of its own, which stands behind the other in the queue, is the only one that is answered.
            Peer::of(server.at([127, 0, 0, 1])).fetch(&rrq("f", &[])).expect("a download");
            server.idle();
            sender.set_nonblocking(true).expect("nonblocking");
            let answer = sender.recv(&mut [0; 9]).map_err(|error| error.kind());
            assert_eq!(answer, Err(ErrorKind::WouldBlock), "{group:?}");
            let told = server.told();
            let ended = told.iter().filter(|told| matches!(told, Told::Finished(..))).count();
            assert_eq!((told.len(), ended), (2, 1), "it began and ended: {told:?}");
        }
    }
}
