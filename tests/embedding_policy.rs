//! What an embedder decides: stores and policies that look at the whole query, what is told of that on the wire and in
//! events, and which settings are none.

mod common;

use common::{
    DEADLINE, Own, Peer, Running, Told, ack, concurrent, data, error_code, get, impatient, joined,
    list, next, pattern, plain, put, rrq, show, until, windowed, wrq,
};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tftpkit::client::{Failure, Wishes};
use tftpkit::limits;
use tftpkit::proto::{Timing, TimingError};
use tftpkit::query::Query;
use tftpkit::server::{Config, DropReason, Model, Profile, Refusal, Server, StartError, Verdict};
use tftpkit::store::{Generated, InMemory, Listing, Readable, Store, StoreError, Uploads};
use tftpkit::transfer::{Outcome, Sink, Writer};
use tftpkit::wire::{BlockSize, ErrorCode, OptionKind, OptionSet, WindowSize};

fn models() -> [Config; 7] {
    let iterative = Config::default().model(Model::Iterative);
    let [threads, carried, one_loop, loops, processes, one_port] = concurrent();
    [threads, carried, one_loop, loops, processes, one_port, iterative]
}

fn memory(files: &[(&str, &[u8])]) -> InMemory {
    let store = InMemory::new();
    files.iter().for_each(|(name, bytes)| store.insert(name, *bytes).expect("a file"));
    store
}

#[test]
fn a_session_that_would_get_its_clients_own_port_is_not_connected_to_itself() {
    let own = Own::new();
    let client = UdpSocket::bind((own.ip, Own::FIRST)).expect("a socket");
    let (close, closed) = mpsc::channel();
    let closed = Mutex::new(closed);
    let policy = move |_: &Query| {
        next("that the client is gone", &closed.lock().expect("no panic"));
        Verdict::Serve(Profile::default())
    };
    // The client's port is the only one that there is.
    let config = Config::default().model(Model::Threads(1)).policy(policy).ports(Own::ports(1).0);
    let server = Running::bound(config.listen((own.ip, 0)), memory(&[("f", b"x")]));
    client.send_to(&rrq("f", &[]), server.address).expect("sent");
    drop(client);
    close.send(()).expect("it waits");
    let reason = server.event("a request without an answer", |told| match told {
        Told::Dropped(_, reason) => Some(reason),
        _ => None,
    });
    assert_eq!(reason, DropReason::NoPort);
    server.idle();
}

#[test]
fn a_store_serves_by_the_client_the_address_asked_and_the_options() {
    for config in models() {
        let store = Generated::new(|query: &Query| {
            let size = query.options.find(OptionKind::BlockSize).map(|size| size.to_string());
            let (peer, local) = (query.peer.ip(), query.local);
            Ok(Readable::bytes(format!("{peer} {local} {}", size.unwrap_or_default())))
        });
        let server = Running::bound(config.listen((Ipv4Addr::UNSPECIFIED, 0)), store);
        let ask = |own, asked, options: &[(&str, &str)]| {
            let peer = Peer::at(own, server.at(asked));
            let bytes = peer.fetch(&rrq("f", options)).expect("a download");
            String::from_utf8(bytes).expect("text")
        };
        let (one, two) = ([127, 0, 0, 1], [127, 0, 0, 2]);
        assert_eq!(ask(one, one, &[]), "127.0.0.1 127.0.0.1 ");
        assert_eq!(ask(two, one, &[("blksize", "600")]), "127.0.0.2 127.0.0.1 600");
        assert_eq!(ask(one, two, &[("blksize", "600")]), "127.0.0.1 127.0.0.2 600");
    }
}

#[test]
fn a_store_that_only_reads_refuses_writes_and_lists() {
    for config in models() {
        let server = Running::start(config, Generated::new(|_: &Query| Err(StoreError::NotFound)));
        let answer = |request: &[u8]| show(&server.peer().answer(request).0);
        assert_eq!(answer(&wrq("f", &[])), "ERROR 2 \"uploads are off\"");
        let missing = "ERROR 1 \"file not found\"";
        assert_eq!(
            [list("", &[]), rrq("f", &[]), rrq(".list", &[])].map(|r| answer(&r)),
            [missing; 3]
        );
    }
}

/// Lists every directory as empty, and notes which were asked for.
#[derive(Clone, Default)]
struct Lists(Arc<Mutex<Vec<String>>>);

impl Store for Lists {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Err(StoreError::NotFound)
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let asked = format!("{} {} from {}", query.operation, query.name, query.peer.ip());
        self.0.lock().expect("no panic").push(asked);
        Ok(Listing::new(Vec::new(), false))
    }
}

#[test]
fn a_read_of_the_listing_of_a_directory_lists_that_directory() {
    for config in models() {
        let store = Lists::default();
        let server = Running::start(config, store.clone());
        for name in [".list", "sub/.list", "a\\b/.list"] {
            server.peer().fetch(&rrq(name, &[])).expect("a listing");
        }
        server.peer().fetch(&list("c", &[])).expect("a listing");
        let wanted = ["", "sub", "a/b", "c"].map(|name| format!("LIST {name} from 127.0.0.1"));
        assert_eq!(*store.0.lock().expect("no panic"), wanted);
        let near = server.peer().fetch(&rrq(".list/a", &[])).expect_err("no listing");
        assert_eq!(error_code(&near), 1);
    }
}

fn refusal(told: Told) -> Option<Refusal> {
    match told {
        Told::Refused(_, refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn what_a_store_says_of_a_refusal_is_for_the_log_alone() {
    for config in models() {
        let store = Generated::new(|query: &Query| {
            let why = format!("the secret of {}", query.peer.ip());
            Err(match query.name.as_bytes() {
                b"denied" => StoreError::denied(why),
                b"full" => StoreError::full(why),
                _ => StoreError::Io(io::Error::other(why)),
            })
        });
        let server = Running::start(config, store);
        for (name, answer) in [
            ("denied", "ERROR 2 \"access violation\""),
            ("full", "ERROR 3 \"disk full or allocation exceeded\""),
            ("failed", "ERROR 0 \"server error\""),
        ] {
            assert_eq!(show(&server.peer().answer(&rrq(name, &[])).0), answer);
            let reason = server.event("a refusal", refusal).reason;
            assert!(reason.contains("the secret of 127.0.0.1"), "{reason}");
        }
    }
}

#[test]
fn a_profile_decides_what_is_granted() {
    for config in models() {
        let config = config.policy(|_: &Query| {
            let mut profile = Profile::default();
            profile.left_out = OptionSet::EMPTY.with(OptionKind::Timeout);
            profile.limits.window = WindowSize::new(2).expect("a window");
            profile.limits.block_size = BlockSize::new(600).expect("a block size");
            profile.listing = Some("index".into());
            profile.timing = impatient();
            Verdict::Serve(profile)
        });
        let server = Running::start(config, memory(&[("f", &pattern(2000, 1)), ("empty", b"")]));
        let peer = server.peer();
        let asked = [("blksize", "601"), ("windowsize", "3"), ("timeout", "9"), ("tsize", "0")];
        let (answer, tid) = peer.answer(&rrq("f", &asked));
        assert_eq!(show(&answer), "OACK blksize=600 windowsize=2 tsize=2000");
        peer.exchange(&ack(0), tid, "DATA 1 600");
        peer.wanted(tid, "DATA 2 600");
        // By the timing of the profile a silent client is forgotten soon, and not after half a minute.
        assert_eq!(server.outcome(&peer), Outcome::Silent);
        let (answer, _) = server.peer().answer(&rrq("empty", &[("tsize", "0"), ("blksize", "9")]));
        assert_eq!(show(&answer), "OACK blksize=9", "the size of an empty file is not told");
        server.idle();
        assert!(server.peer().fetch(&rrq("index", &[])).is_ok());
        assert_eq!(server.peer().fetch(&rrq(".list", &[])).map_err(|e| error_code(&e)), Err(1));
    }
}

#[test]
fn the_size_of_an_empty_file_is_told_where_the_profile_says_so() {
    for config in models() {
        let config = config.policy(|_: &Query| {
            let mut profile = Profile::default();
            profile.tell_empty = true;
            Verdict::Serve(profile)
        });
        let server = Running::start(config, memory(&[("empty", b"")]));
        let (answer, _) = server.peer().answer(&rrq("empty", &[("tsize", "0")]));
        assert_eq!(show(&answer), "OACK tsize=0");
    }
}

#[test]
fn a_policy_refuses_in_its_own_words_as_far_as_they_fit() {
    let most = limits::ERROR_TEXT_BYTES;
    for config in models() {
        let config = config.policy(move |query: &Query| {
            let refuse = Refusal::new(ErrorCode::Other(77), format!("night for {}", query.name));
            Verdict::Refuse(match query.name.as_bytes() {
                b"standard" => refuse,
                b"fits" => refuse.text("x".repeat(most)),
                b"long" => refuse.text("x".repeat(most + 1)),
                b"huge" => refuse.text("x".repeat(100_000)),
                _ => refuse.text("come back by day"),
            })
        });
        let server = Running::start(config, memory(&[]));
        let cut = "x".repeat(most);
        for (name, text) in [
            ("f", "come back by day"),
            ("standard", "error"),
            ("fits", &cut),
            ("long", &cut),
            ("huge", &cut),
        ] {
            let (answer, _) = server.peer().answer(&rrq(name, &[]));
            assert_eq!(show(&answer), format!("ERROR 77 \"{text}\""));
            let told = server.event("a refusal", refusal);
            assert_eq!(
                (told.code, &*told.reason),
                (ErrorCode::Other(77), &*format!("night for {name}"))
            );
        }
    }
}

#[test]
fn what_a_policy_drops_is_told_and_not_answered() {
    for config in models() {
        let config = config.policy(|query: &Query| match query.name.as_bytes() {
            b"f" => Verdict::Serve(Profile::default()),
            name => Verdict::Drop(format!("not {}", name.escape_ascii()).into()),
        });
        let server = Running::start(config, memory(&[("f", b"file")]));
        let peer = server.peer();
        peer.ask(&rrq("secret", &[]));
        let (who, why) = server.event("it is dropped", |told| match told {
            Told::Dropped(who, why) => Some((who, why.to_string())),
            _ => None,
        });
        assert_eq!((who, &*why), (peer.address(), "not secret"));
        assert_eq!(server.peer().fetch(&rrq("f", &[])).expect("a download"), b"file");
        server.idle();
        assert_eq!((peer.pending(), server.handle.gauges().unproven), (vec![], 0));
    }
}

#[test]
fn an_equal_request_makes_no_second_session() {
    // With one transfer after the other, the second request would wait anyway; where all share one port, another session
    // takes the place of the first.
    let [own_ports @ .., _] = concurrent();
    for config in own_ports {
        let server = Running::start(config, memory(&[("f", &pattern(100, 1))]));
        let peer = server.peer();
        let (_, tid) = peer.answer(&rrq("f", &[]));
        for options in [&[][..], &[("unknown", "1")], &[("unknown", "2"), ("blksize", "nonsense")]]
        {
            let (answer, from) = peer.answer(&rrq("f", options));
            assert_eq!((&*show(&answer), from), ("DATA 1 100", tid), "{options:?}");
        }
        assert_eq!(server.handle.transfers(), 1);
        peer.ask(&rrq("f", &[("blksize", "511")]));
        until("another session answers", || (server.handle.transfers() == 2).then_some(()));
    }
}

#[test]
fn a_transfer_is_told_from_its_start_to_its_one_end() {
    for (config, interval, least, most) in models().into_iter().flat_map(|config| {
        let all = [(Duration::from_micros(1), 1, 100), (Duration::MAX, 0, 0)];
        all.map(|(interval, least, most)| (config.clone(), interval, least, most))
    }) {
        let (tell, told) = mpsc::channel();
        let config = config.listen((Ipv4Addr::LOCALHOST, 0)).progress(interval);
        let store = memory(&[("f", &pattern(2000, 1))]).uploads(Uploads::Create);
        let server = Running::observed(config, store, move |event| {
            let _ = tell.send(event.clone());
        });
        let (reader, writer) = (server.peer(), server.peer());
        reader.fetch(&rrq("f", &[("blksize", "600")])).expect("a download");
        writer.store(&wrq("new", &[]), &pattern(2000, 2)).expect("an upload");
        assert_eq!(server.outcome(&reader), Outcome::Complete);
        server.idle();
        server.handle.drain(Duration::ZERO);
        server.ended().expect("a clean end");
        let all: Vec<_> = told.try_iter().collect();
        for (peer, size) in [(reader.address(), 600), (writer.address(), 512)] {
            let word = |told: &Told| match told {
                Told::Started(query, _) if query.peer == peer => Some('S'),
                Told::Progress(query, summary) if query.peer == peer => {
                    assert_eq!(summary.outcome, None);
                    // It began before the interval.
                    assert!(summary.elapsed >= interval, "{:?}", summary.elapsed);
                    Some('p')
                }
                Told::Finished(query, summary) if query.peer == peer => {
                    assert!(!summary.elapsed.is_zero(), "it took some time");
                    assert_eq!(summary.agreed.block_size().get(), size, "what was granted");
                    Some('F')
                }
                _ => None,
            };
            let words: String = all.iter().filter_map(word).collect();
            let progress = words.trim_matches(['S', 'F']);
            assert!(words.starts_with('S') && words.ends_with('F'), "{words}");
            assert!(progress.chars().all(|c| c == 'p'), "{words}");
            assert!((least..=most).contains(&progress.len()), "{interval:?}: {words}");
        }
    }
}

#[test]
fn gauges_show_what_is_held_while_it_is_held() {
    for config in models() {
        let store = memory(&[]).uploads(Uploads::Create);
        let server = Running::start(config, store);
        let gauges = || {
            let gauges = server.handle.gauges();
            (gauges.transfers, gauges.dallying, gauges.unproven, gauges.windows_bytes > 0)
        };
        let peer = server.peer();
        let (_, tid) = peer.answer(&wrq("new", &[]));
        assert_eq!(gauges(), (1, 0, 1, true));
        peer.exchange(&data(1, &[1; 512]), tid, "ACK 1");
        until("it is proven", || (gauges() == (1, 0, 0, true)).then_some(()));
        peer.exchange(&data(2, b"end"), tid, "ACK 2");
        until("it dallies", || (gauges() == (0, 1, 0, false)).then_some(()));
        peer.exchange(&data(2, b"end"), tid, "ACK 2");
    }
}

#[test]
fn of_the_memory_that_is_left_a_transfer_keeps_what_its_window_takes() {
    for config in models() {
        let what = format!("{config:?}");
        // A client that has not answered may have three quarters of it: four packets of 1,432 bytes, and a rest.
        let server = Running::start(config.windows_bytes(8000), memory(&[("f", &[7; 9000])]));
        let peer = server.peer();
        let (first, _) = peer.answer(&rrq("f", &[("blksize", "1428"), ("windowsize", "64")]));
        assert_eq!(show(&first), "OACK blksize=1428 windowsize=4", "{what}");
        assert_eq!(server.handle.gauges().windows_bytes, 4 * 1432, "{what}");
    }
}

/// Clients at loopback addresses have three quarters of the memory until they have answered.
#[test]
fn what_holds_more_memory_than_its_client_could_have_is_refused() {
    let most = 30_000;
    for config in models() {
        let store = Generated::new(|query: &Query| {
            let len = query.name.to_string().parse().expect("a length");
            Ok(Readable::bytes(pattern(len, 1)))
        });
        let server = Running::start(config.windows_bytes(most / 3 * 4), store);
        let download = |len: usize| get(&server.client(plain()), &len.to_string());
        assert!(download(most).expect("a download") == pattern(most, 1));
        let refused = download(most + 1).expect_err("it is too large");
        assert!(matches!(refused, Failure::Server { code: ErrorCode::Undefined, .. }), "{refused}");
    }
}

/// Three quarters of the first are the 64 KiB that it reads at once, those of the second a byte less.
#[test]
fn what_a_plain_reader_reads_at_once_is_memory() {
    for config in models() {
        let download = |windows_bytes| {
            let store = Generated::new(|_: &Query| Ok(Readable::blocking(&b"read"[..])));
            let server = Running::start(config.clone().windows_bytes(windows_bytes), store);
            get(&server.client(plain()), "f")
        };
        assert_eq!(download(87_381).expect("a download"), b"read");
        let refused = download(87_380).expect_err("it is too large");
        assert!(matches!(refused, Failure::Server { code: ErrorCode::Undefined, .. }), "{refused}");
    }
}

/// Takes uploads whose writes may wait, for all that is said of them.
struct Written;

impl Store for Written {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Err(StoreError::NotFound)
    }

    fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
        Ok(Box::new(Writer(io::sink())))
    }
}

/// A block of 1,428 bytes is 1,432 in the window and 2,304 in the socket; an unproven client has three quarters.
#[test]
fn the_memory_of_a_window_has_its_place_in_the_socket() {
    for config in models() {
        let granted = |windows_bytes, options| {
            let store = memory(&[]).uploads(Uploads::Create);
            let server = Running::start(config.clone().windows_bytes(windows_bytes), store);
            let (answer, _) = server.peer().answer(&wrq("new", options));
            show(&answer)
        };
        let window = &[("blksize", "1428"), ("windowsize", "8")];
        let enough = 8 * (1432 + 2304) * 4 / 3;
        assert_eq!(granted(enough, window), "OACK blksize=1428 windowsize=8");
        assert_eq!(granted(enough - 3, window), "OACK blksize=1428 windowsize=7");
        // What waits to be written is beside what waits for a block that is missing.
        let waiting = |windows_bytes| {
            let server = Running::start(config.clone().windows_bytes(windows_bytes), Written);
            show(&server.peer().answer(&wrq("new", window)).0)
        };
        let enough = 8 * (2 * 1432 + 2304) * 4 / 3;
        let told = [enough, enough - 3].map(waiting);
        assert_eq!(told, ["OACK blksize=1428 windowsize=8", "OACK blksize=1428 windowsize=7"]);
        // In lock-step the socket has room as it is.
        let size = &[("blksize", "1428")];
        assert_eq!(granted(1432 * 4 / 3 + 1, size), "OACK blksize=1428");
    }
}

/// Takes uploads, and holds 20,000 bytes for each read.
struct Holds(InMemory);

impl Store for Holds {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Ok(Readable::bytes(pattern(20_000, 1)))
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        self.0.write(query)
    }
}

#[test]
fn a_lack_of_memory_ends_no_one_who_dallies_for_they_have_none() {
    let [threads, .., one_loop, loops, _] = models();
    for config in [threads, one_loop, loops] {
        let store = Holds(memory(&[]).uploads(Uploads::Create));
        let server = Running::start(config.windows_bytes(40_000), store);
        let dallying = server.peer();
        let (_, tid) = dallying.answer(&wrq("new", &[]));
        dallying.exchange(&data(1, b"end"), tid, "ACK 1");
        until("it dallies", || (server.handle.gauges().dallying == 1).then_some(()));
        let [first, second] = [server.peer(), server.peer()];
        first.answer(&rrq("f", &[]));
        second.ask(&rrq("f", &[]));
        let why = server.event("one is dropped", |told| match told {
            Told::Dropped(peer, why) if peer == second.address() => Some(why),
            _ => None,
        });
        assert_eq!(why, DropReason::NoMemory);
        dallying.exchange(&data(1, b"end"), tid, "ACK 1");
    }
}

#[test]
fn times_that_would_never_pass_or_never_wait_are_refused() {
    let (least, most) = (Duration::from_micros(1), limits::LONGEST_TIMING);
    let below = Duration::from_nanos(999);
    let build = |span| Timing::builder().patience(span).build().map(|timing| timing.patience());
    assert_eq!((build(least), build(most)), (Ok(least), Ok(most)));
    assert_eq!(build(below), Err(TimingError::TooShort("patience")));
    assert_eq!(build(Duration::ZERO), Err(TimingError::TooShort("patience")));
    let above = most + Duration::from_nanos(1);
    assert_eq!(build(above), Err(TimingError::TooLong("patience")));
    let crossed = |floor| Timing::builder().floor(floor).ceiling(least).build().is_ok();
    assert_eq!((crossed(least), crossed(2 * least)), (true, false));
}

#[test]
fn the_smallest_server_serves_and_stops() {
    for config in models() {
        let config = config.sessions(1).windows_bytes(4096).progress(Duration::from_micros(1));
        let server = Running::start(config, memory(&[("f", &pattern(20_000, 1))]));
        for wishes in [plain(), windowed(65_464, 65_535)] {
            let bytes = get(&server.client(wishes), "f").expect("a download");
            assert!(bytes == pattern(20_000, 1));
            server.idle();
        }
        server.handle.drain(Duration::MAX);
        server.ended().expect("a clean end");
    }
}

#[test]
fn a_store_in_memory_serves_and_takes_files() {
    let (old, new) = (pattern(70_000, 1), pattern(5000, 2));
    for config in models() {
        let store = memory(&[("sub/old", &old)]).uploads(Uploads::Overwrite).largest_upload(5000);
        // Each file takes 128 bytes and its name, too.
        let most = 75_009 + 3 * 128 + "sub/old".len() + "new".len() + "one".len();
        let server = Running::start(config, store.clone().most_bytes(most));
        for wishes in [plain(), Wishes::default(), windowed(1428, 16)] {
            let client = server.client(wishes);
            assert!(get(&client, "sub/old").expect("a download") == old);
            put(&client, "new", &new).expect("an upload");
            assert!(get(&client, "new").expect("what was put") == new);
            put(&client, "new", &new[..9]).expect("a shorter one in its place");
            assert_eq!(store.get("new").as_deref(), Some(&new[..9]));
            let listing = client.list("").expect("a listing");
            let names = listing.entries.iter().map(|entry| (entry.name.to_str(), entry.size));
            assert_eq!(names.collect::<Vec<_>>(), [(Some("new"), 9), (Some("sub"), 0)]);
            let too_large = put(&client, "large", &pattern(5001, 3)).expect_err("it is too large");
            assert!(matches!(too_large, Failure::Server { code: ErrorCode::DiskFull, .. }));
            put(&client, "new", &new).expect("an upload");
            put(&client, "one", &new[..9]).expect("the last bytes there is room for");
            let full = put(&client, "two", &new[..9]).expect_err("there is no room");
            assert!(matches!(full, Failure::Server { code: ErrorCode::DiskFull, .. }), "{full}");
            assert!(store.get("two").is_none() && store.remove("one").is_some());
            store.remove("new").expect("it is there");
        }
    }
}

#[test]
fn a_store_in_memory_that_only_creates_keeps_what_it_has() {
    for config in models() {
        let store = memory(&[("f", b"old")]).uploads(Uploads::Create);
        let server = Running::start(config, store.clone());
        let client = server.client(plain());
        let exists = put(&client, "f", b"new").expect_err("it is there");
        assert!(matches!(exists, Failure::Server { code: ErrorCode::FileExists, .. }), "{exists}");
        put(&client, "g", b"").expect("an empty file");
        assert_eq!(store.get("f").as_deref(), Some(&b"old"[..]));
        assert_eq!(get(&client, "g").expect("a download"), b"");
    }
}

#[test]
fn a_server_takes_a_socket_that_is_bound_and_gives_its_own_to_the_next() {
    for config in concurrent() {
        let store = || memory(&[("f", b"few")]);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let first = Server::bind(config.clone().socket(socket), store(), |_| {}).expect("a server");
        assert_eq!(first.addresses(), [address]);
        let handed = first.sockets().expect("its sockets");
        let handle = first.handle();
        assert!(!handle.answers(Duration::from_millis(1)), "it does not run");
        let running = std::thread::spawn(move || first.run());
        assert!(handle.answers(DEADLINE), "it runs");
        assert_eq!(Peer::of(address).fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
        handle.drain(Duration::ZERO);
        joined("it ends", running).expect("in order");
        // What is asked in between waits.
        let early = Peer::of(address);
        early.ask(&rrq("f", &[]));
        let config = handed.into_iter().fold(config, Config::socket);
        let next = Running::bound(config, store());
        assert_eq!(next.address, address);
        assert_eq!(show(&early.receive().0), "DATA 1 3");
        drop(next);
        let stream = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let refused = Server::bind(Config::default().socket(stream), store(), |_| {});
        assert!(matches!(refused, Err(StartError::Socket(_))), "{refused:?}");
    }
}

#[test]
fn what_is_asked_when_a_server_has_just_been_stopped_is_left_to_the_next() {
    for config in concurrent() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let [before, behind] = [Peer::of(address), Peer::of(address)];
        before.ask(&rrq("stops", &[]));
        behind.ask(&rrq("f", &[]));
        let stop = Arc::new(Mutex::new(None::<tftpkit::server::Handle>));
        let stopping = Arc::clone(&stop);
        let policy = move |query: &Query| {
            if let Some(handle) = &*stopping.lock().expect("a handle") {
                handle.drain(Duration::ZERO);
            }
            Verdict::Refuse(Refusal::new(ErrorCode::NotFound, query.name.to_string()))
        };
        let shares = format!("{config:?}").contains("SinglePort");
        let stopped = config.policy(policy).socket(socket);
        let server = Server::bind(stopped, memory(&[]), |_| {}).expect("a server");
        let handed = server.sockets().expect("its sockets");
        *stop.lock().expect("a handle") = Some(server.handle());
        server.run().expect("in order");
        assert_eq!(error_code(&before.receive().0), 1);
        let config = handed.into_iter().fold(Config::default(), Config::socket);
        let _next = Running::bound(config, memory(&[("f", b"few")]));
        // What shares the port with transfers is read for them to the end.
        if !shares {
            assert_eq!(show(&behind.receive().0), "DATA 1 3");
        }
    }
}
