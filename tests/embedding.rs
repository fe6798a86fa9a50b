//! What an embedder brings along may panic, lie or wait: it fails the one transfer that it is asked for, and no other.

mod common;

use common::{
    Collected, DEADLINE, Peer, Running, Told, ack, concurrent, data, error_code, get,
    has_processes, joined, list, next, pattern, plain, rrq, show, until, windowed, wrq,
};
use std::fmt;
use std::io::{self, Cursor, IoSliceMut, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tftpkit::client::{Failure, Wishes};
use tftpkit::query::Query;
use tftpkit::server::{Profile, Verdict};
use tftpkit::store::{Generated, Listing, Readable, Store, StoreError};
use tftpkit::transfer::{MayWait, Outcome, Sink, Source};
use tftpkit::wire::{ErrorCode, Mode};

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn good() -> Vec<u8> {
    pattern(1300, 7)
}

/// A client that is in the middle of a download while others have their misfortunes.
struct Bystander(Peer, SocketAddr, Vec<u8>);

impl Bystander {
    fn of(server: &Running) -> Self {
        let peer = server.peer();
        let (first, tid) = peer.answer(&rrq("good", &[]));
        Self(peer, tid, first)
    }

    fn finishes(self) {
        let Self(peer, tid, first) = self;
        assert!(peer.rest(first, tid, 512).expect("a download") == good());
    }
}

/// It still serves, holds nothing, and stops as it should.
fn is_sound(server: Running) {
    assert!(server.peer().fetch(&rrq("good", &[])).expect("a download") == good());
    until("nothing is held", || {
        let gauges = server.handle.gauges();
        let held = (gauges.transfers, gauges.unproven, gauges.windows_bytes);
        (held == (0, 0, 0) && server.handle.transfers() == 0).then_some(())
    });
    server.handle.drain(Duration::ZERO);
    server.ended().expect("a clean end");
}

#[test]
fn whoever_looks_sees_what_is_under_way_and_how_long_something_new_waits() {
    for config in concurrent() {
        let server = Running::start(config, Traps { may_wait: false });
        let Bystander(peer, tid, _) = Bystander::of(&server);
        peer.exchange(&ack(1), tid, "DATA 2 512");
        until("it as it is", || {
            let mut seen = Vec::new();
            server.handle.each_running(|one| {
                let bytes = one.figures.as_ref().map(|figures| figures.bytes);
                seen.push((one.query.peer, one.query.name.to_string(), one.size, bytes));
            });
            let wanted = (peer.address(), "good".to_owned(), Some(1300), Some(512));
            (seen == [wanted]).then_some(())
        });
        let (tell, told) = mpsc::channel();
        server.handle.lag(move |waited| tell.send(waited).expect("somebody waits"));
        assert!(next("the loop", &told) < DEADLINE);
        server.handle.lag(|_| panic!("it was told to panic"));
        peer.exchange(&ack(2), tid, "DATA 3 276");
        peer.send(&ack(3), tid);
        is_sound(server);
    }
}

/// How a request ended, if this tells it: what a refusal says, or an outcome.
fn end_of(told: Told, peer: SocketAddr) -> Option<Result<Outcome, String>> {
    match told {
        Told::Refused(query, refusal) if query.peer == peer => Some(Err(refusal.reason.into())),
        Told::Finished(query, summary) if query.peer == peer => {
            Some(Ok(summary.outcome.expect("an outcome")))
        }
        _ => None,
    }
}

/// An error without words.
#[derive(Debug)]
struct Wordless;

impl fmt::Display for Wordless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it has no words")
    }
}

impl std::error::Error for Wordless {}

fn wordless() -> io::Error {
    io::Error::other(Wordless)
}

/// A store that panics or lies at the place that a request names.
struct Traps {
    may_wait: bool,
}

/// A source or sink that does.
struct Trap {
    place: String,
    reads: usize,
}

impl Trap {
    fn of(query: &Query) -> Self {
        Self { place: query.name.to_string(), reads: 0 }
    }

    fn at(&self, place: &str) {
        assert_ne!(self.place, place, "it was told to panic");
    }
}

impl Store for Traps {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let trap = Trap::of(query);
        trap.at("open");
        match &*trap.place {
            "good" => Ok(Readable::bytes(good())),
            "wordless" => Err(StoreError::Io(wordless())),
            _ => Ok(Readable::new(trap)),
        }
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        let trap = Trap::of(query);
        trap.at("open");
        if trap.place == "wordless" {
            return Err(StoreError::Io(wordless()));
        }
        Ok(Box::new(trap))
    }

    fn list(&self, _: &Query) -> Result<Listing, StoreError> {
        panic!("it was told to panic")
    }

    fn may_wait(&self, _: &Query) -> bool {
        self.may_wait
    }
}

impl Source for Trap {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.reads += 1;
        match (&*self.place, self.reads) {
            ("first read", 1) | ("second read", 2) => panic!("it was told to panic"),
            ("wordless read", 1) => Err(wordless()),
            ("too much", 1) => Ok(usize::MAX),
            ("one too much", 1) => Ok(bufs.iter().map(|buf| buf.len()).sum::<usize>() + 1),
            (_, 1) => Ok(bufs[0].len()),
            _ => Ok(0),
        }
    }

    fn try_read(&mut self, _: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.at("try_read");
        match &*self.place {
            "too much at once" => Ok(Some(usize::MAX)),
            _ => Ok(None),
        }
    }
}

impl Sink for Trap {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        self.at("write");
        self.at("write, and drop");
        if self.place == "wordless write" { Err(wordless()) } else { Ok(()) }
    }

    fn commit(&mut self) -> io::Result<()> {
        self.at("commit");
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        self.at("may_wait");
        if self.place.ends_with("at once") { MayWait::Never } else { MayWait::Always }
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        // A panic while another is under way would end the process.
        if !std::thread::panicking() {
            self.at("drop");
            self.at("drop at once");
            self.at("write, and drop");
        }
    }
}

#[test]
fn a_store_that_panics_or_lies_fails_its_transfer_and_no_other() {
    let sources = [
        "open",
        "wordless",
        "first read",
        "second read",
        "try_read",
        "wordless read",
        "too much",
        "one too much",
        "too much at once",
    ];
    let sinks =
        ["open", "wordless", "write", "write, and drop", "commit", "may_wait", "wordless write"];
    for (config, may_wait) in concurrent().into_iter().flat_map(|c| [(c.clone(), false), (c, true)])
    {
        let has_processes = has_processes(&config);
        let server = Running::start(config, Traps { may_wait });
        let bystander = Bystander::of(&server);
        // Who serves a process may always wait, and asks for nothing at once.
        let tries = |place: &&&str| !["try_read", "too much at once"].contains(place);
        let sources = sources.iter().filter(|place| !has_processes || tries(place));
        let reads = sources.clone().map(|place| (*place, rrq(place, &[]), false));
        let netascii = sources.map(|place| (*place, in_netascii(&rrq(place, &[])), false));
        let writes = sinks.iter().map(|place| (*place, wrq(place, &[]), true));
        let lists = [("list", list("", &[]), false)];
        for (place, request, writes) in reads.chain(netascii).chain(writes).chain(lists) {
            let peer = server.peer();
            let done = match writes {
                true => peer.store(&request, &good()),
                false => peer.fetch(&request).map(drop),
            };
            let error = done.expect_err(place);
            assert_eq!(error_code(&error), 0, "{place}: {}", show(&error));
            match server.event(place, |told| end_of(told, peer.address())) {
                Ok(Outcome::Local(ErrorCode::Undefined, _)) | Err(_) => {}
                other => panic!("{place}: {other:?}"),
            }
        }
        bystander.finishes();
        is_sound(server);
    }
}

fn in_netascii(request: &[u8]) -> Vec<u8> {
    let at = request.windows(5).position(|word| word == b"octet").expect("a mode");
    [&request[..at], b"netascii", &request[at + 5..]].concat()
}

#[test]
fn a_panic_after_the_outcome_changes_nothing() {
    for config in concurrent() {
        let server = Running::start(config, Traps { may_wait: false });
        let bystander = Bystander::of(&server);
        for place in ["drop", "drop at once"] {
            let (reader, writer) = (server.peer(), server.peer());
            assert_eq!(reader.fetch(&rrq(place, &[])).expect("a download").len(), 512);
            assert_eq!(server.outcome(&reader), Outcome::Complete);
            writer.store(&wrq(place, &[]), &good()).expect("an upload");
            assert_eq!(server.outcome(&writer), Outcome::Complete);
        }
        bystander.finishes();
        is_sound(server);
    }
}

/// Panics when it is asked whether it may wait. Nobody has to ask.
struct Undecided;

impl Store for Undecided {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Ok(Readable::bytes(good()))
    }

    fn may_wait(&self, _: &Query) -> bool {
        panic!("it was told to panic")
    }
}

#[test]
fn a_store_that_panics_at_whether_it_may_wait_is_taken_to_wait() {
    for config in concurrent() {
        let server = Running::start(config, Undecided);
        Bystander::of(&server).finishes();
        is_sound(server);
    }
}

#[test]
fn a_policy_that_panics_refuses_the_one_request() {
    for config in concurrent() {
        let config = config.policy(|query: &Query| {
            assert_ne!(query.name.as_bytes(), b"bad", "it was told to panic");
            Verdict::Serve(Profile::default())
        });
        let server = Running::start(config, Traps { may_wait: false });
        let bystander = Bystander::of(&server);
        let peer = server.peer();
        let (answer, _) = peer.answer(&rrq("bad", &[]));
        assert_eq!(show(&answer), "ERROR 0 \"server error\"");
        let told = server.event("a refusal", |told| end_of(told, peer.address()));
        assert_eq!(told, Err("a panic in the policy".into()));
        bystander.finishes();
        is_sound(server);
    }
}

/// The name of an event, and whose it is.
fn kind(told: &Told) -> (&'static str, SocketAddr) {
    match told {
        Told::Started(query, _) => ("Started", query.peer),
        Told::Progress(query, _) => ("Progress", query.peer),
        Told::Finished(query, _) => ("Finished", query.peer),
        Told::Refused(query, _) => ("Refused", query.peer),
        Told::Failed(query, _) => ("Failed", query.peer),
        Told::Malformed(peer, _) => ("Malformed", *peer),
        Told::Dropped(peer, _) => ("Dropped", *peer),
        Told::Stray(peer) => ("Stray", *peer),
    }
}

#[test]
fn an_observer_that_panics_ends_at_most_the_transfer_it_was_told_of() {
    for config in concurrent() {
        let config =
            config.listen(ANY_PORT).progress(Duration::from_micros(1)).policy(|query: &Query| {
                match query.name.as_bytes() {
                    b"dropped" => Verdict::Drop("a test".into()),
                    _ => Verdict::Serve(Profile::default()),
                }
            });
        let has_processes = has_processes(&config);
        let target = Arc::new(Mutex::new(None));
        let panics = Arc::clone(&target);
        let server = Running::observed(config, Traps { may_wait: false }, move |told| {
            let target = *panics.lock().expect("it is not poisoned");
            assert_ne!(target, Some(kind(told)), "it was told to panic");
        });
        let bystander = Bystander::of(&server);
        let malformed = b"\0\x09a\0octet\0".to_vec();
        let cases = [
            ("Started", rrq("good", &[]), "ERROR 0 \"server error\""),
            ("Progress", rrq("good", &[]), "ERROR 0 \"server error\""),
            ("Finished", rrq("good", &[]), "whole"),
            ("Refused", rrq("open", &[]), "ERROR 0 \"server error\""),
            ("Malformed", malformed, "ERROR 4 \"illegal TFTP operation\""),
            ("Dropped", rrq("dropped", &[]), "none"),
            ("Stray", ack(7), "none"),
        ];
        for (place, request, answer) in cases {
            let peer = server.peer();
            *target.lock().expect("it is not poisoned") = Some((place, peer.address()));
            let answered = match answer {
                "none" => {
                    peer.ask(&request);
                    Ok("none".to_owned())
                }
                _ => peer
                    .fetch(&request)
                    .map(|bytes| (bytes == good()).then(|| "whole".into()).expect("its bytes")),
            };
            let answered = answered.unwrap_or_else(|error| show(&error));
            // The file may have been sent by the time that its process hears of it.
            let is_late = has_processes && place == "Progress" && answered == "whole";
            if !is_late {
                assert_eq!(answered, answer, "{place}");
            }
            server.event(place, |told| (kind(&told) == (place, peer.address())).then_some(()));
            if ["Started", "Progress"].contains(&place) && !is_late {
                assert_eq!(server.outcome(&peer), Outcome::Stopped, "{place}");
            }
            assert_eq!(peer.pending(), [], "{place}");
        }
        bystander.finishes();
        is_sound(server);
    }
}

enum Piece {
    Bytes(Vec<u8>),
    Interrupted,
}

/// Gives what comes, when it comes.
struct Pipe(mpsc::Receiver<Piece>, Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.1.read(buf)? {
                0 => match self.0.recv() {
                    Ok(Piece::Bytes(bytes)) => self.1 = Cursor::new(bytes),
                    Ok(Piece::Interrupted) => return Err(io::ErrorKind::Interrupted.into()),
                    Err(_) => return Ok(0),
                },
                read => return Ok(read),
            }
        }
    }
}

/// A store whose file `pipe` comes from the sender, once; another is there at once.
fn piped() -> (mpsc::Sender<Piece>, impl Store + 'static) {
    let (sender, pieces) = mpsc::channel();
    let pieces = Mutex::new(Some(pieces));
    let store = Generated::new(move |query: &Query| match query.name.as_bytes() {
        b"pipe" => {
            let pieces = pieces.lock().expect("no panic").take().expect("it is read once");
            Ok(Readable::blocking(Pipe(pieces, Cursor::default())))
        }
        _ => Ok(Readable::bytes(good())),
    });
    (sender, store)
}

#[test]
fn a_blocking_reader_that_gives_late_and_odd_pieces_is_sent_whole() {
    // Each line of it is another length.
    let text: Vec<_> =
        pattern(4000, 3).into_iter().map(|b| b"\nabcdefg\r"[usize::from(b % 9)]).collect();
    for config in concurrent() {
        for wishes in [plain(), windowed(512, 4), windowed(1000, 3), plain().mode(Mode::Netascii)] {
            let (sender, store) = piped();
            let server = Running::start(config.clone(), store);
            let (client, collected) = (server.client(wishes), Collected::default());
            let theirs = collected.clone();
            let reader = std::thread::spawn(move || client.get("pipe", theirs, |_| {}));
            until("it is under way", || (server.handle.transfers() == 1).then_some(()));
            let (mut rest, mut n) = (&*text, 0);
            while !rest.is_empty() {
                let size = if n < 600 { 1 } else { 1 + n % 7 * 93 }.min(rest.len());
                let (piece, others) = rest.split_at(size);
                for piece in [Piece::Bytes(piece.to_vec()), Piece::Interrupted] {
                    sender.send(piece).expect("it is read");
                }
                (rest, n) = (others, n + 1);
            }
            assert!(!reader.is_finished(), "it has not ended");
            assert!(get(&server.client(plain()), "good").expect("a download") == good());
            drop(sender);
            joined("the client's call returns", reader).expect("a download");
            assert!(collected.bytes() == text, "{wishes:?}");
        }
    }
}

#[test]
fn a_size_that_is_not_known_is_not_told() {
    for config in concurrent() {
        let (sender, store) = piped();
        let server = Running::start(config, store);
        drop(sender);
        let asked = [("tsize", "0"), ("blksize", "1024")];
        let (answer, _) = server.peer().answer(&rrq("pipe", &asked));
        assert_eq!(show(&answer), "OACK blksize=1024");
    }
}

#[test]
fn a_file_that_is_not_as_long_as_was_told_never_looks_complete() {
    let store = |told: u64| {
        Generated::new(move |_: &Query| Ok(Readable::blocking(Cursor::new(good())).size(told)))
    };
    let size = good().len() as u64;
    for config in concurrent() {
        for (told, is_right) in [(size - 1, false), (size, true), (size + 1, false), (0, false)] {
            let server = Running::start(config.clone(), store(told));
            let text = plain().mode(Mode::Netascii);
            for wishes in [plain(), windowed(512, 8), text, Wishes::default()] {
                let got = get(&server.client(wishes), "f");
                match got {
                    Ok(bytes) => assert!(is_right && bytes == good(), "{told} {wishes:?}"),
                    Err(Failure::Server { code: ErrorCode::Undefined, .. }) => {
                        assert!(!is_right, "{told} {wishes:?}");
                    }
                    Err(other) => panic!("{told} {wishes:?}: {other}"),
                }
            }
        }
    }
}

/// A sink that says nothing of what may wait, and waits for each write.
struct SlowSink(Arc<Mutex<mpsc::Receiver<()>>>);

impl Sink for SlowSink {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        self.0.lock().expect("no panic").recv_timeout(DEADLINE).map_err(io::Error::other)
    }

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A store that waits: with its file `pipe`, and with each block of an upload.
struct Slow<S>(S, Arc<Mutex<mpsc::Receiver<()>>>);

impl<S: Store> Store for Slow<S> {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        self.0.read(query)
    }

    fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
        Ok(Box::new(SlowSink(Arc::clone(&self.1))))
    }
}

fn slow() -> (mpsc::Sender<Piece>, mpsc::Sender<()>, impl Store + 'static) {
    let ((pieces, store), (go, gone)) = (piped(), mpsc::channel());
    (pieces, go, Slow(store, Arc::new(Mutex::new(gone))))
}

#[test]
fn a_sink_whose_writes_wait_holds_up_no_other() {
    for config in concurrent() {
        let (_pieces, go, store) = slow();
        let server = Running::start(config, store);
        let writer = server.peer();
        let (_, tid) = writer.answer(&wrq("new", &[]));
        writer.send(&data(1, &[1; 512]), tid);
        assert!(get(&server.client(plain()), "good").expect("a download") == good());
        for (block, payload) in [(1, &[1; 512][..]), (2, b"end")] {
            go.send(()).expect("it waits");
            writer.exchange(&data(block, payload), tid, &format!("ACK {block}"));
        }
        assert_eq!(server.outcome(&writer), Outcome::Complete);
    }
}

#[test]
fn a_server_that_does_not_wait_for_what_hangs_still_tells_its_end_once() {
    for config in concurrent() {
        let (pieces, go, store) = slow();
        let (tell, told) = mpsc::channel();
        let server = Running::observed(config.listen(ANY_PORT), store, move |event| {
            let _ = tell.send(event.clone());
        });
        let (reader, writer) = (server.peer(), server.peer());
        let (_, tid) = writer.answer(&wrq("new", &[]));
        writer.send(&data(1, &[1; 512]), tid);
        reader.ask(&rrq("pipe", &[]));
        let mut started = 0;
        while started < 2 {
            let event = next("two begin", &told);
            started += usize::from(kind(&event).0 == "Started");
        }
        let handle = server.handle.clone();
        handle.drain(Duration::ZERO);
        server.ended().expect("a clean end");
        drop((pieces, go));
        until("nothing is left of them", || (handle.transfers() == 0).then_some(()));
        drop(handle);
        // The observer goes with the last that knows it.
        let mut ends = Vec::new();
        until("the observer is dropped", || {
            loop {
                match told.try_recv() {
                    Ok(event) => ends.push(event),
                    Err(why) => break (why == TryRecvError::Disconnected).then_some(()),
                }
            }
        });
        for peer in [reader, writer] {
            let of_peer = ends.iter().filter_map(|told| end_of(told.clone(), peer.address()));
            let outcomes: Vec<_> = of_peer.collect();
            assert!(
                matches!(&outcomes[..], [Ok(Outcome::Stopped | Outcome::Local(..))]),
                "{outcomes:?} of {ends:?}"
            );
        }
    }
}
