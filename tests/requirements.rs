//! Requirements of `rfc/` that need a server played by hand, a listing on the wire, or very bad weather.

mod common;

use common::{
    DEADLINE, Peer, Running, Told, ack, config, data, error, error_code, everything_in, folder,
    get, joined, list, listing, pattern, plain, rrq, show, until, windowed, wrq,
};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroUsize};
use std::os::unix::{ffi::OsStrExt, fs::symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tftpkit::client::{Client, Failure, Wishes};
use tftpkit::proto::Timing;
use tftpkit::server::{Config, Model, Profile, StandardPolicy};
use tftpkit::store::{Folder, Listing, Readable, Uploads};
use tftpkit::transfer::{Outcome, Sink, Summary};
use tftpkit::wire::{
    BlockSize, Mode, Operation, OptionKind, Options, Packet, Request, TransferOption,
};

/// What was received, and how often it was made visible.
#[derive(Clone, Default)]
struct Stored(Arc<Mutex<(Vec<u8>, u32)>>);
impl Stored {
    fn get(&self) -> (Vec<u8>, u32) {
        self.0.lock().expect("no panic").clone()
    }
}
impl Sink for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().expect("no panic").0.extend_from_slice(bytes);
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        self.0.lock().expect("no panic").1 += 1;
        Ok(())
    }
}

/// Our client on a thread of its own, and the port that it asks.
struct Asking {
    port: Peer,
    client: JoinHandle<Result<Summary, Failure>>,
    stored: Stored,
}

impl Asking {
    fn start(
        wishes: Wishes,
        ask: impl FnOnce(&Client, Stored) -> Result<Summary, Failure> + Send + 'static,
    ) -> Self {
        let port = Peer::of((Ipv4Addr::LOCALHOST, 0).into());
        let (client, stored) = (Client::new(port.address()).wishes(wishes), Stored::default());
        let sink = stored.clone();
        Self { port, client: std::thread::spawn(move || ask(&client, sink)), stored }
    }

    fn get(wishes: Wishes) -> Self {
        Self::start(wishes, |client, sink| client.get("f", sink, |_| {}))
    }

    fn put(wishes: Wishes, bytes: &'static [u8], size: Option<u64>) -> Self {
        let file = || Readable::blocking(bytes);
        let file = size.map_or_else(file, |size| file().size(size));
        Self::start(wishes, move |client, _| client.put("f", file, |_| {}))
    }

    /// A port of the server for one transfer.
    fn tid(&self) -> Peer {
        Peer::of(self.port.address())
    }

    /// What the client comes to.
    fn ends(self) -> Result<Summary, Failure> {
        joined("the client's call returns", self.client)
    }
}

fn request(operation: Operation, name: &[u8], mode: Mode) -> Vec<u8> {
    Packet::Request(Request { operation, name, mode, options: Options::NONE }).to_vec()
}

/// Asks; gives the OACK in words, and what was sent after it in blocks of this size.
fn asked(server: &Running, request: &[u8], block_size: usize) -> (String, Vec<u8>) {
    let peer = server.peer();
    let (first, tid) = peer.answer(request);
    (show(&first), peer.rest(first, tid, block_size).expect("no ERROR"))
}

fn code_for(server: &Running, request: &[u8]) -> u16 {
    error_code(&server.peer().fetch(request).expect_err("an ERROR"))
}

#[test]
fn the_first_port_that_answers_is_the_servers_and_a_second_answer_disturbs_nothing() {
    let asking = Asking::get(plain());
    let (_, peer) = asking.port.receive();
    let (first, second) = (asking.tid(), asking.tid());
    [data(7, b"old"), ack(3)].iter().for_each(|old| second.send(old, peer));
    first.send(&data(1, &[1; 512]), peer);
    second.send(&data(1, &[2; 512]), peer);
    assert_eq!(show(&first.receive_from(peer)), "ACK 1");
    second.send(&data(2, b"other"), peer);
    asking.port.send(&data(2, b"other"), peer);
    first.exchange(&data(2, b"end"), peer, "ACK 2");
    assert!(second.pending().is_empty() && asking.port.pending().is_empty());
    let stored = asking.stored.clone();
    asking.ends().expect("a download");
    assert_eq!(stored.get(), ([&[1; 512], &b"end"[..]].concat(), 1));
}

#[test]
fn an_oack_for_somebody_who_had_the_port_before_is_turned_away_and_the_answer_waited_for() {
    let asking = Asking::get(Wishes::default());
    let (_, peer) = asking.port.receive();
    let (first, stranger, other) = (asking.tid(), asking.tid(), asking.tid());
    let oack = |name: &str| [b"\0\x06", name.as_bytes(), b"\x001024\0"].concat();
    // All of it comes at once: the answer is waited for no longer than 100 ms.
    for stranger in [&stranger, &stranger, &other] {
        stranger.send(&oack("utimeout"), peer);
    }
    first.exchange(&oack("blksize"), peer, "ACK 0");
    first.exchange(&data(1, b"true"), peer, "ACK 1");
    assert_eq!(asking.stored.get(), (b"true".to_vec(), 1));
    assert_eq!(error_code(&stranger.receive().0), 8);
    for stranger in [stranger, other] {
        let why = "what the network said of a second port might be about the server's";
        assert_eq!(stranger.pending(), [], "{why}");
    }
    assert_eq!(asking.port.pending(), [], "it was asked once");
    asking.ends().expect("a download");
}

#[test]
fn before_the_first_answer_a_stranger_elsewhere_gets_error_5_but_not_for_an_error() {
    let asking = Asking::get(plain());
    let (_, peer) = asking.port.receive();
    let stranger = Peer::at([127, 0, 0, 2], asking.port.address());
    stranger.send(&data(1, b"false"), peer);
    let (answer, _) = stranger.receive();
    assert_eq!(error_code(&answer), 5);
    stranger.send(&answer, peer);
    asking.tid().exchange(&data(1, b"true"), peer, "ACK 1");
    assert_eq!(asking.stored.get(), (b"true".to_vec(), 1));
    assert_eq!(stranger.pending(), [], "two clients would send each other ERRORs for ever");
}

/// What strangers send to a port of a transfer.
fn strange() -> Vec<Vec<u8>> {
    let other = [error(0, "stop"), error(5, ""), ack(0), ack(1), ack(2), wrq("f", &[]), vec![0]];
    [vec![data(1, b"false"), data(2, b"false"), data(2, &[9; 512])], other.to_vec()].concat()
}

#[test]
fn strangers_neither_change_nor_slow_nor_end_a_download_of_ours() {
    // What is negotiated holds: it repeats nothing by itself.
    let asking = Asking::get(windowed(512, 1).timeout(NonZeroU8::new(255)));
    let (_, peer) = asking.port.receive();
    let elsewhere = Peer::at([127, 0, 0, 2], asking.port.address());
    let (tid, strangers) = (asking.tid(), [asking.tid(), elsewhere]);
    let oack = Options::NONE.with(TransferOption::Timeout(NonZeroU8::MAX));
    let mut packet = Packet::Oack(oack).to_vec();
    for n in 0..5 {
        tid.exchange(&packet, peer, &format!("ACK {n}"));
        for strange in strange() {
            strangers.iter().for_each(|stranger| stranger.send(&strange, peer));
        }
        packet = data(n + 1, &[7; 512][..if n < 4 { 512 } else { 3 }]);
    }
    tid.exchange(&packet, peer, "ACK 5");
    let stored = asking.stored.clone();
    let summary = asking.ends().expect("a download");
    assert_eq!((summary.packets, summary.retransmitted), (7, 0));
    assert_eq!(stored.get(), (vec![7; 4 * 512 + 3], 1));
}

#[test]
fn strangers_neither_change_nor_slow_nor_end_a_transfer_of_the_server() {
    let file = pattern(4 * 512 + 3, 1);
    let root = folder(&[("f", &file)]);
    let patient = Duration::from_secs(255);
    // It repeats nothing by itself.
    let timing = Timing::builder().first(patient).floor(patient).ceiling(patient).build();
    let timing = timing.expect("sound");
    let config = config().policy(StandardPolicy::new(Profile::default().timing(timing)));
    let server = Running::start(config, Folder::open(root.path()).expect("a folder"));
    let (peer, elsewhere) = (server.peer(), Peer::at([127, 0, 0, 2], server.address));
    let strangers = [server.peer(), elsewhere];
    let (mut packet, tid) = peer.answer(&rrq("f", &[]));
    for n in 1..=5u16 {
        assert_eq!(packet[..4], data(n, b""));
        for strange in strange() {
            strangers.iter().for_each(|stranger| stranger.send(&strange, tid));
        }
        peer.send(&ack(n), tid);
        if n < 5 {
            packet = peer.receive_from(tid);
            assert!(file[usize::from(n) * 512..].starts_with(&packet[4..]), "block {}", n + 1);
        }
    }
    let summary = server.event("the end", |told| match told {
        Told::Finished(_, summary) => Some(summary),
        _ => None,
    });
    assert_eq!(summary.outcome, Some(Outcome::Complete));
    assert_eq!((summary.packets, summary.retransmitted), (5, 0));
}

#[test]
fn the_client_asks_for_the_size_of_a_read_and_tells_that_of_a_write() {
    let size_in = |asking: Asking| {
        let (bytes, peer) = asking.port.receive();
        asking.tid().send(&error(3, "no"), peer);
        assert!(matches!(asking.ends(), Err(Failure::Server { .. })));
        let Ok(Packet::Request(request)) = Packet::parse(&bytes) else { panic!("no request") };
        request.options.find(OptionKind::TransferSize)
    };
    let netascii = Wishes::default().mode(Mode::Netascii);
    let put = |wishes, size| Asking::put(wishes, b"12345", size);
    let told = [Asking::get(Wishes::default()), put(Wishes::default(), Some(5))].map(size_in);
    assert_eq!(told, [0, 5].map(|size| Some(TransferOption::TransferSize(size))));
    // What is not known cannot be told, and 0 would be a size.
    let not = [Asking::get(netascii), put(netascii, Some(5)), put(Wishes::default(), None)];
    assert_eq!(not.map(size_in), [None; 3]);
}

#[test]
fn a_transfer_that_has_begun_is_not_begun_again_without_options() {
    let begun = |asking: Asking, exchanges: &[(Vec<u8>, &str)]| {
        let (_, peer) = asking.port.receive();
        let tid = asking.tid();
        for (packet, answer) in exchanges {
            tid.exchange(packet, peer, answer);
        }
        tid.send(&error(0, "the disk is gone"), peer);
        until("the client ends or asks again", || match asking.port.pending().pop() {
            Some((request, _)) => Some(Some(show(&request))),
            None => asking.client.is_finished().then_some(None),
        })
    };
    // The sink has a block already, the source has given some.
    let get = begun(Asking::get(Wishes::default()), &[(data(1, &[1; 512]), "ACK 1")]);
    let put = Asking::put(Wishes::default(), &[1; 2000], Some(2000));
    let put = begun(put, &[(ack(0), "DATA 1 512"), (ack(1), "DATA 2 512")]);
    assert_eq!((get, put), (None, None));
}

#[test]
fn after_an_error_8_the_same_port_is_served_at_once() {
    let root = folder(&[("f", b"few")]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (oack, tid) = peer.answer(&rrq("f", &[("blksize", "1024")]));
    assert_eq!(show(&oack), "OACK blksize=1024");
    peer.send(&error(8, "that is too much"), tid);
    let (first, second_tid) = peer.answer(&rrq("f", &[]));
    assert_ne!(tid, second_tid);
    assert_eq!(peer.rest(first, second_tid, 512), Ok(b"few".to_vec()));
    let (oack, tid) = peer.answer(&rrq("f", &[("blksize", "512")]));
    assert_eq!(peer.rest(oack, tid, 512), Ok(b"few".to_vec()), "it may even ask for another");
}

#[test]
fn the_same_request_is_served_again_although_its_transfer_is_just_ending() {
    let root = folder(&[("f", b"few")]);
    let request = rrq("f", &[("blksize", "1024")]);
    for model in [Model::default(), Model::Events(NonZeroUsize::new(3).expect("loops"))] {
        let (ends, ending) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let (gone_on, is_first) = (Mutex::new(gone_on), AtomicBool::new(true));
        let config = Config::default().model(model).listen((Ipv4Addr::LOCALHOST, 0));
        let store = Folder::open(root.path()).expect("a folder");
        // The first transfer is over, and still counted.
        let server = Running::observed(config, store, move |told| {
            if matches!(told, Told::Finished(..)) && is_first.swap(false, Ordering::Relaxed) {
                ends.send(()).expect("the test waits");
                let gone_on = gone_on.lock().expect("one thread");
                gone_on.recv_timeout(DEADLINE).expect("it may go on");
            }
        });
        let peer = server.peer();
        let (_, tid) = peer.answer(&request);
        peer.send(&error(8, "that is too much"), tid);
        ending.recv_timeout(DEADLINE).expect("its end");
        peer.ask(&request);
        for _ in 0..2 {
            assert!(server.handle.answers(DEADLINE), "it has seen the request");
        }
        go_on.send(()).expect("it waits");
        let (oack, second) = peer.receive();
        assert_eq!((show(&oack), second == tid), ("OACK blksize=1024".into(), false), "{model:?}");
        assert_eq!(peer.rest(oack, second, 1024), Ok(b"few".to_vec()));
    }
}

/// Of two packets that leave from different processors, the second may arrive first.
fn stay_on_one_processor() {
    let this = Pid::from_raw(0);
    let mut may = sched_getaffinity(this).expect("where it may run");
    let is_allowed = |n: &usize| may.is_set(*n).expect("a processor");
    let others: Vec<_> = (0..CpuSet::count()).filter(is_allowed).skip(1).collect();
    others.into_iter().for_each(|n| may.unset(n).expect("a processor"));
    sched_setaffinity(this, &may).expect("it may choose");
}

#[test]
fn the_same_request_right_behind_an_error_8_is_served_however_they_are_read() {
    let root = folder(&[("f", b"few")]);
    let request = rrq("f", &[("blksize", "1024")]);
    for model in [Model::default(), Model::Events(NonZeroUsize::new(3).expect("loops"))] {
        let config = Config::default().model(model).listen((Ipv4Addr::LOCALHOST, 0));
        let server = Running::bound(config, Folder::open(root.path()).expect("a folder"));
        let peer = server.peer();
        let (_, mut tid) = peer.answer(&request);
        stay_on_one_processor();
        for round in 0..200 {
            peer.send(&error(8, "that is too much"), tid);
            let (oack, second) = peer.answer(&request);
            assert_eq!(
                (show(&oack), second == tid),
                ("OACK blksize=1024".into(), false),
                "{model:?} {round}"
            );
            tid = second;
        }
    }
}

#[test]
fn block_sizes_are_lowered_for_all_for_some_and_to_what_the_path_carries() {
    let file = pattern(10_000, 2);
    let root = folder(&[("f", &file)]);
    let size = |bytes| BlockSize::new(bytes).expect("a block size");
    let net = |network: &str| network.parse().expect("a network");
    let granted = |policy: StandardPolicy, local: &str| {
        let listen = SocketAddr::new(local.parse().expect("an address"), 0);
        let config = config().listen(listen).policy(policy);
        let server = Running::bound(config, Folder::open(root.path()).expect("a folder"));
        let peer = server.peer();
        let (oack, tid) = peer.answer(&rrq("f", &[("blksize", "9000")]));
        let shown = show(&oack);
        let size = shown.strip_prefix("OACK blksize=").and_then(|size| size.parse().ok());
        let size: usize = size.unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(peer.rest(oack, tid, size).as_ref(), Ok(&file), "in blocks of {size}");
        size
    };
    let all = |bytes| StandardPolicy::new(Profile::default().block_size(size(bytes)));
    assert_eq!(granted(StandardPolicy::default(), "127.0.0.1"), 9000);
    assert_eq!(granted(all(1428), "127.0.0.1"), 1428);
    let some = all(4000)
        .block_size_of(net("192.0.2.0/24"), size(600))
        .block_size_of(net("127.0.0.0/8"), size(700))
        .block_size_of(net("127.0.0.1/32"), size(800));
    assert_eq!(granted(some.clone(), "127.0.0.1"), 700, "the first that fits");
    assert_eq!(granted(some, "::1"), 4000, "the others have what all have");
    let raising = all(1000).block_size_of(net("::1/128"), size(2000));
    assert_eq!(granted(raising, "::1"), 1000);
    // Loopback carries all; for IPv6 the size of an Ethernet packet is assumed.
    let whole = StandardPolicy::new(Profile::default().whole_packets(true));
    assert_eq!(granted(whole.clone(), "::1"), 1448);
    assert_eq!(granted(whole, "127.0.0.1"), 9000);
}

#[test]
fn a_window_of_blocks_that_the_path_carries_in_several_packets_is_granted_with_256_of_these() {
    let root = folder(&[("f", b"1")]);
    let granted = |address: &str| {
        let listen = SocketAddr::new(address.parse().expect("an address"), 0);
        let folder = Folder::open(root.path()).expect("a folder");
        let server = Running::bound(config().listen(listen), folder);
        let asked = [("blksize", "8192"), ("windowsize", "64")];
        let (oack, _) = server.peer().answer(&rrq("f", &asked));
        show(&oack)
    };
    // Loopback carries all; for IPv6 the size of an Ethernet packet is assumed, of which 8,192 bytes are six.
    assert_eq!(granted("127.0.0.1"), "OACK blksize=8192 windowsize=64");
    assert_eq!(granted("::1"), "OACK blksize=8192 windowsize=42");
}

#[test]
fn a_backslash_is_a_slash_unless_a_file_has_the_literal_name() {
    let root =
        folder(&[("dir/inside.txt", b"slash"), ("both\\a", b"literal"), ("both/a", b"slash")]);
    let server = Running::taking(root.path(), Uploads::Overwrite);
    let read =
        |name: &str| server.peer().fetch(&rrq(name, &[])).map_err(|error| error_code(&error));
    assert_eq!(read("dir\\inside.txt"), Ok(b"slash".to_vec()));
    assert_eq!(read("\\dir\\inside.txt"), Ok(b"slash".to_vec()));
    assert_eq!((read("both\\a"), read("both/a")), (Ok(b"literal".to_vec()), Ok(b"slash".to_vec())));
    assert_eq!((read("dir\\missing"), read("dir\\..\\..\\x")), (Err(1), Err(2)));
    assert_eq!(server.peer().store(&wrq("dir\\new", &[]), b"new"), Ok(()));
    assert_eq!(everything_in(&root.path().join("dir")), ["inside.txt", "new"]);
    assert_eq!((read("dir%2finside.txt"), read("dir%5Cinside.txt")), (Err(1), Err(1)));
}

const JSON: (&str, &str) = ("x-list", "json");

#[test]
fn a_directory_is_listed_by_any_name_it_has() {
    let root = folder(&[("a", b"1"), ("sub/b", b"2")]);
    let server = Running::serve(root.path());
    let names = |name: &str| {
        let json = server.peer().fetch(&list(name, &[JSON])).expect("a listing");
        let entries = Listing::from_json(&json).expect("a listing").entries;
        entries.iter().map(|entry| entry.name.display().to_string()).collect::<Vec<_>>()
    };
    for root in ["", "/", "//", ".", "./", "sub/.."] {
        assert_eq!(names(root), ["a", "sub"], "{root}");
    }
    for sub in ["sub", "sub/", "/sub", "/sub//", "./sub/.", "sub\\"] {
        assert_eq!(names(sub), ["b"], "{sub}");
    }
}

/// A directory `sub` with so many files that its listings have many blocks.
fn crowded() -> tempfile::TempDir {
    let names: Vec<String> = (0..200).map(|n| format!("sub/file-{n:03}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    folder(&files)
}

#[test]
fn a_listing_has_its_exact_size_and_travels_in_blocks_and_windows_of_any_size() {
    let root = crowded();
    let server = Running::serve(root.path());
    let whole = server.peer().fetch(&list("sub", &[JSON])).expect("a listing");
    let text = server.peer().fetch(&rrq("sub/.list", &[])).expect("a listing");
    for size in [8, 100, 512, 1428, 65464] {
        let shown = size.to_string();
        let options = [("blksize", &shown[..]), ("tsize", "0")];
        let oack = |len: usize| format!("OACK blksize={size} tsize={len}");
        let (seen, bytes) = asked(&server, &list("sub", &[options[0], options[1], JSON]), size);
        assert_eq!((seen, &bytes), (format!("{} x-list=json", oack(whole.len())), &whole));
        let (seen, bytes) = asked(&server, &rrq("sub/.list", &options), size);
        assert_eq!((seen, &bytes), (oack(text.len()), &text));
    }
    for (size, window) in [(8, 1), (8, 64), (64, 8), (512, 4), (1428, 64)] {
        let client = server.client(windowed(size, window));
        assert_eq!(get(&client, "sub/.list").expect("a download"), text, "{size}, {window}");
        let listed = listing(&client, b"sub").expect("a listing");
        assert_eq!(listed, Listing::from_json(&whole).expect("a listing"), "{size}, {window}");
    }
    assert_eq!(Listing::from_text(&text).expect("a listing").entries.len(), 200);
}

#[test]
fn a_listing_under_way_does_not_change_with_the_directory() {
    let root = crowded();
    let server = Running::serve(root.path());
    for request in [list("sub", &[JSON]), list("sub", &[]), rrq("sub/.list", &[])] {
        let before = server.peer().fetch(&request).expect("a listing");
        let peer = server.peer();
        let (first, tid) = peer.answer(&request);
        let packet = match first[1] {
            6 => peer.exchange(&ack(0), tid, "DATA 1 512"),
            _ => first.clone(),
        };
        std::fs::write(root.path().join("sub/another"), "new").expect("a file");
        assert_eq!(peer.wanted(tid, "DATA 1 512"), packet, "it is sent again as it was");
        assert_eq!(peer.rest(packet, tid, 512), Ok(before.clone()));
        assert_ne!(server.peer().fetch(&request), Ok(before), "the next one shows it");
        std::fs::remove_file(root.path().join("sub/another")).expect("removed");
    }
}

#[test]
fn the_generated_file_has_lines_as_its_mode_ends_them_and_names_as_they_are() {
    let root = folder(&[("a", b"123"), ("sub/b", b"")]);
    let latin1 = std::ffi::OsStr::from_bytes(b"m\xfcsli");
    std::fs::write(root.path().join(latin1), "x").expect("a file");
    let server = Running::serve(root.path());
    let octet = server.peer().fetch(&rrq(".list", &[])).expect("a listing");
    let lines: Vec<&[u8]> = octet.split(|byte| *byte == b'\n').collect();
    assert!(lines[0] == b"# 3 entries" && lines[1].starts_with(b"-            3 20"));
    assert!(lines[1].ends_with(b" a") && lines[2].ends_with(b" m\xfcsli"));
    assert!(lines[3].starts_with(b"d            0 20") && lines[3].ends_with(b" sub/"));
    assert!(lines[4].is_empty() && lines.len() == 5, "the last line is ended too");
    let netascii = server.peer().fetch(&request(Operation::Read, b".list", Mode::Netascii));
    assert_eq!(netascii, Ok([lines[..4].join(&b"\r\n"[..]), b"\r\n".to_vec()].concat()));
}

#[test]
fn a_real_file_of_the_listings_name_is_sent_and_none_is_taken() {
    let root = folder(&[("a", b"1"), ("sub/.list", b"mine"), ("sub/b", b"2")]);
    let server = Running::taking(root.path(), Uploads::Overwrite);
    assert_eq!(server.peer().fetch(&rrq("sub/.list", &[])), Ok(b"mine".to_vec()));
    let json = server.peer().fetch(&list("sub", &[JSON])).expect("a listing");
    assert_eq!(Listing::from_json(&json).expect("a listing").entries.len(), 1);
    for name in [".list", "/.list", "sub/.list", "sub\\.list", "sub/../.list"] {
        let refused = server.peer().store(&wrq(name, &[]), b"x").expect_err(name);
        assert_eq!(error_code(&refused), 2, "{name}");
    }
    assert_eq!(everything_in(root.path()), ["a", "sub"]);
}

#[test]
fn what_cannot_be_listed_has_an_error_the_same_by_opcode_and_by_file() {
    let parent = folder(&[("root/a", b"1"), ("outside/b", b"2")]);
    let root = parent.path().join("root");
    symlink(parent.path().join("outside"), root.join("out")).expect("a link");
    symlink("a", root.join("link")).expect("a link");
    let server = Running::serve(&root);
    for (name, code) in [("a", 1), ("link", 1), ("missing", 1), ("a/b", 1), ("out", 2), ("..", 2)] {
        assert_eq!(code_for(&server, &list(name, &[JSON])), code, "{name}");
        assert_eq!(code_for(&server, &rrq(format!("{name}/.list"), &[])), code, "{name}/.list");
    }
    assert_eq!(code_for(&server, &request(Operation::List, b"", Mode::Netascii)), 4);
}

#[test]
fn where_listings_are_off_opcode_7_is_illegal_and_the_file_is_like_any_other() {
    let root = folder(&[("a", b"1"), ("sub/.list", b"mine")]);
    let config = config().policy(StandardPolicy::new(Profile::default().no_listing()));
    let served = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
    let server = Running::start(config, served);
    for request in [list("", &[]), list("", &[JSON]), list("missing", &[])] {
        let (answer, _) = server.peer().answer(&request);
        assert_eq!(show(&answer), "ERROR 4 \"listings are off\"");
    }
    assert_eq!(code_for(&server, &rrq(".list", &[])), 1);
    assert_eq!(server.peer().fetch(&rrq("sub/.list", &[])), Ok(b"mine".to_vec()));
    assert_eq!(server.peer().store(&wrq(".list", &[]), b"new"), Ok(()));
    assert_eq!(server.peer().fetch(&rrq(".list", &[])), Ok(b"new".to_vec()));
}
