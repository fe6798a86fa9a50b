//! The client with servers that do what a script says, each on a thread of its own.

use super::*;
use crate::store::WholeFile;
use crate::transfer::Writer;
use crate::wire::{BlockSize, ErrorCode, Options, Packet, TransferOption, WindowSize, WireBlock};
use std::io::{self, Read};
use std::net::UdpSocket;
use std::num::NonZeroU8;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

mod paths;

/// Nothing takes so long, unless it never comes.
const DEADLINE: Duration = Duration::from_secs(30);

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time limit");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// A server that answers each packet as `answer` says, and how many requests it has had.
fn answering(
    mut answer: impl FnMut(&Packet<'_>) -> Option<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let (socket, address) = socket();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        loop {
            let (len, peer) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // The process was stopped and continued.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let packet = Packet::parse(&buffer[..len]).expect("a packet");
            counted.fetch_add(usize::from(matches!(packet, Packet::Request(_))), Ordering::SeqCst);
            if let Some(answer) = answer(&packet) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    (address, requests)
}

fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    Packet::Data { block: WireBlock(block), payload }.to_vec()
}

/// Serves these blocks to whoever asks.
fn serving(blocks: &'static [&'static [u8]]) -> (SocketAddr, Arc<AtomicUsize>) {
    answering(move |packet| {
        let next = match packet {
            Packet::Request(_) => 1,
            Packet::Ack { block } => block.0 + 1,
            _ => return None,
        };
        blocks.get(usize::from(next) - 1).map(|block| data(next, block))
    })
}

fn closed() -> SocketAddr {
    socket().1
}

/// One try, a second long.
fn impatient() -> Wishes {
    Wishes::default().timeout(NonZeroU8::new(1)).retries(0).plain(true)
}

/// A sink that only counts.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl Sink for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_can_be_sent_and_shared() {
    const fn holds<T: Send + Sync + Clone>() {}
    holds::<Client>();
    holds::<Canceller>();
    const fn is_static<T: Send + Sync + 'static>() {}
    is_static::<Failure>();
}

#[test]
fn the_first_address_that_answers_is_asked_from_then_on() {
    let (good, requests) = serving(&[b"here"]);
    let (late, unasked) = serving(&[b"late"]);
    let client = Client::new(closed()).with_addresses([closed(), good]).with_addresses([late]);
    let other = client.clone();
    assert_eq!(client.answered(), None);
    assert_eq!(client.read("a").expect("a file"), b"here");
    assert_eq!((client.answered(), client.server()), (Some(good), good));
    assert_eq!(other.wishes(impatient()).read("b").expect("a file"), b"here");
    assert_eq!((requests.load(Ordering::SeqCst), unasked.load(Ordering::SeqCst)), (2, 0));
    let more = client.with_addresses([late]);
    assert_eq!((more.answered(), more.server()), (None, good), "it goes on with who answered");
}

#[test]
fn an_answer_that_is_a_refusal_is_an_answer() {
    let no = Packet::Error { code: ErrorCode::NotFound, message: b"" }.to_vec();
    let (refusing, _) = answering(move |_| Some(no.clone()));
    let (other, unasked) = serving(&[b"here"]);
    let client = Client::new(closed()).with_addresses([refusing, other]);
    let failure = client.read("a").expect_err("it is not there");
    assert!(matches!(failure, Failure::Server { code: ErrorCode::NotFound, .. }), "{failure}");
    assert_eq!((client.answered(), unasked.load(Ordering::SeqCst)), (Some(refusing), 0));
}

#[test]
fn where_no_address_answers_the_last_is_told_and_all_are_asked_the_next_time() {
    let (first, last) = (closed(), closed());
    let client = Client::new(first).with_addresses([last]);
    for _ in 0..2 {
        let failure = client.read("a").expect_err("nobody is there");
        assert!(matches!(failure, Failure::Closed(at) if at == last), "{failure}");
        let failure = client.list("").expect_err("nobody is there");
        assert!(matches!(failure, Failure::Closed(at) if at == last), "{failure}");
        assert_eq!((client.answered(), client.server()), (None, first));
    }
}

#[test]
fn a_sink_that_was_touched_is_not_used_for_a_second_attempt() {
    // After one whole block the server breaks the protocol, which might be for the options.
    let (rude, requests) = answering(|packet| match packet {
        Packet::Request(_) => Some(data(1, &[1; 512])),
        Packet::Ack { .. } => Some(data(2, &[2; 513])),
        _ => None,
    });
    let (other, unasked) = serving(&[b"here"]);
    let sink = Counted::default();
    let failure = Client::new(rude).with_addresses([other]).get("a", sink.clone(), |_| {});
    assert!(matches!(failure, Err(Failure::Protocol(_))), "{failure:?}");
    assert_eq!((sink.0.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (512, 1));
    assert_eq!(unasked.load(Ordering::SeqCst), 0);
}

/// What comes from a pipe cannot be had again: a second request would store the file without its beginning.
#[test]
fn a_source_of_which_something_was_read_is_not_used_for_a_second_attempt() {
    let oack = Options::NONE.with(TransferOption::WindowSize(WindowSize::LOCKSTEP));
    let acknowledged = [Packet::Ack { block: WireBlock(0) }.to_vec(), Packet::Oack(oack).to_vec()];
    let sources = || [Readable::bytes([7; 600]), Readable::blocking(io::repeat(7).take(600))];
    for answer in acknowledged {
        for source in sources() {
            let answer = answer.clone();
            // It is refused when the first block has come, which might be for the options.
            let (late, requests) = answering(move |packet| match packet {
                Packet::Request(_) => Some(answer.clone()),
                Packet::Data { .. } => {
                    Some(Packet::Error { code: ErrorCode::Undefined, message: b"no" }.to_vec())
                }
                _ => None,
            });
            let failure = Client::new(late).put("a", source, |_| {}).expect_err("it is refused");
            assert!(matches!(failure, Failure::Server { .. }), "{failure}");
            assert_eq!(requests.load(Ordering::SeqCst), 1, "it is asked again for what is read");
        }
    }
}

#[test]
fn a_file_is_read_into_memory_whole_or_not_at_all() {
    let (address, _) = serving(&[&[7; 512], &[7; 88]]);
    let client = Client::new(address).wishes(Wishes::default().plain(true));
    assert_eq!(client.read("a").expect("a file"), [7; 600]);
    assert_eq!(client.read_up_to("a", 600).expect("a file"), [7; 600]);
    let failure = client.read_up_to("a", 599).expect_err("it is longer");
    assert!(matches!(failure, Failure::TooLong(599)));
    assert_eq!(failure.to_string(), "the file is longer than 599 bytes");
}

#[test]
fn a_probe_of_a_server_that_tells_no_size_knows_that_of_one_block() {
    let cases: [(&'static [&'static [u8]], Option<u64>); 3] =
        [(&[b"here"], Some(4)), (&[&[7; 512], b"more"], None), (&[b""], Some(0))];
    for (blocks, size) in cases {
        let (address, _) = serving(blocks);
        let client = Client::new(address).wishes(Wishes::default().plain(true));
        let probe = client.probe("a").expect("it is served");
        assert_eq!((probe.server, probe.size), (address, size), "{} blocks", blocks.len());
    }
    // Of several addresses it tells which answered.
    let (good, _) = serving(&[b"here"]);
    let client = Client::new(closed()).with_addresses([good]);
    assert_eq!(client.probe("a").expect("it is there").server, good);
}

#[test]
fn what_is_cancelled_before_it_begins_asks_nobody_until_it_is_reset() {
    let (address, requests) = serving(&[b"here"]);
    let canceller = Canceller::default();
    let client = Client::new(address).cancelled_by(&canceller);
    canceller.cancel();
    assert!(matches!(client.read("a"), Err(Failure::Cancelled)));
    assert!(matches!(client.clone().list(""), Err(Failure::Cancelled)));
    let put = client.write("a", b"b");
    assert!(matches!(put, Err(Failure::Cancelled)) && canceller.is_cancelled());
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    client.canceller().reset();
    assert_eq!(client.read("a").expect("a file"), b"here");
}

#[test]
fn what_is_cancelled_while_it_runs_ends_on_all_threads() {
    let (began, begun) = mpsc::channel();
    let (address, _) = answering(move |packet| match packet {
        Packet::Request(_) => Some(data(1, &[1; 512])),
        // Each has its first block, and waits for the next.
        Packet::Ack { .. } => {
            let _ = began.send(());
            None
        }
        _ => None,
    });
    let client = Client::new(address);
    let canceller = client.canceller();
    std::thread::scope(|scope| {
        let running = [(); 3].map(|()| scope.spawn(|| client.read("a")));
        running.iter().for_each(|_| begun.recv_timeout(DEADLINE).expect("it runs"));
        canceller.cancel();
        for ended in running.map(|thread| thread.join().expect("no panic")) {
            assert!(matches!(ended, Err(Failure::Cancelled)), "{ended:?}");
        }
    });
    assert_eq!(canceller.watched(), 0);
}

#[test]
fn what_goes_on_when_another_call_has_ended_can_be_cancelled_and_so_can_a_probe() {
    let (began, begun) = mpsc::channel();
    let (address, _) = answering(move |packet| match packet {
        Packet::Request(request) if request.name == b"silent" => {
            let _ = began.send(());
            None
        }
        Packet::Request(_) => Some(data(1, b"here")),
        _ => None,
    });
    let client = Client::new(address).wishes(impatient().retries(1000));
    let canceller = client.canceller();
    type Ask = fn(&Client) -> Result<(), Failure>;
    let calls: [Ask; 2] =
        [|client| client.read("silent").map(drop), |client| client.probe("silent").map(drop)];
    for call in calls {
        let ((end, ended), theirs) = (mpsc::channel(), client.clone());
        std::thread::spawn(move || end.send(call(&theirs)));
        begun.recv_timeout(DEADLINE).expect("it runs");
        assert_eq!(client.read("a").expect("a file"), b"here");
        canceller.cancel();
        let ended = ended.recv_timeout(DEADLINE).expect("it would ask for an hour");
        assert!(matches!(ended, Err(Failure::Cancelled)), "{ended:?}");
        assert_eq!(canceller.watched(), 0);
        canceller.reset();
    }
}

#[test]
fn between_two_attempts_a_cancellation_is_not_lost() {
    let no = Packet::Error { code: ErrorCode::OptionRefused, message: b"" }.to_vec();
    let (address, requests) = answering(move |packet| match packet {
        Packet::Request(_) => Some(no.clone()),
        _ => None,
    });
    let client = Client::new(address);
    let canceller = client.canceller();
    for taken_back in [false, true] {
        // When its answer has been heard the first attempt is over.
        let failure = client.get("a", Counted::default(), |_| {
            canceller.cancel();
            if taken_back {
                canceller.reset();
            }
        });
        assert!(matches!(failure, Err(Failure::Cancelled)), "{failure:?}");
        assert_eq!(requests.swap(0, Ordering::SeqCst), 1);
        assert_eq!(canceller.is_cancelled(), !taken_back);
        canceller.reset();
    }
}

#[test]
fn between_two_addresses_a_cancellation_is_not_lost() {
    let (other, unasked) = serving(&[b"here"]);
    let client = Client::new(closed()).with_addresses([other]);
    let failed = client.ask_each(
        // The first address has not answered: this is asked before the second one is.
        || {
            client.canceller().cancel();
            true
        },
        |ask| {
            let question = Question { operation: Operation::Read, name: b"a", size: None };
            let sink = Reusable::new(Counted::default());
            let watch = &mut |_| ControlFlow::Continue(());
            client.ask_twice(ask, question, &sink, watch, |now, timing, request| {
                Transfer::get(now, timing, request, Box::new(sink.clone()))
            })
        },
    );
    assert!(matches!(failed, Err(Failure::Cancelled)), "{failed:?}");
    assert_eq!(unasked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_server_that_lists_by_a_file_is_asked_for_the_file_alone_from_then_on() {
    let (tell, told) = mpsc::channel();
    let (address, _) = answering(move |packet| {
        let Packet::Request(request) = packet else { return None };
        let (operation, name) = (request.operation, request.name.escape_ascii().to_string());
        tell.send(packet.to_string()).expect("it is heard");
        let no = |code| Packet::Error { code, message: b"" }.to_vec();
        Some(match (operation, &*name) {
            (Operation::List, _) => no(ErrorCode::IllegalOperation),
            (_, "gone/.list") => no(ErrorCode::NotFound),
            _ => data(1, b"# 0 entries\n"),
        })
    });
    // A list is no text, whatever files are.
    let client = Client::new(address).wishes(impatient().mode(Mode::Netascii));
    let asked = || told.try_iter().collect::<Vec<_>>();
    // Of a server that has listed nothing yet it is not known whether it can.
    let failure = client.list("gone").expect_err("it is not there");
    assert!(matches!(failure, Failure::NoListing), "{failure}");
    assert_eq!(asked(), ["LIST \"gone\" octet", "RRQ \"gone/.list\" octet"]);
    for (directory, requests) in [
        ("", &["LIST \"\" octet", "RRQ \".list\" octet"][..]),
        ("a", &["RRQ \"a/.list\" octet"]),
        ("b/", &["RRQ \"b/.list\" octet"]),
    ] {
        assert!(client.clone().list(directory).expect("a listing").entries.is_empty());
        assert_eq!(asked(), requests);
    }
    let failure = client.list("gone").expect_err("it is not there");
    assert!(matches!(failure, Failure::Server { code: ErrorCode::NotFound, .. }), "{failure}");
    assert_eq!(asked(), ["RRQ \"gone/.list\" octet"]);
}

#[test]
fn a_server_that_refuses_options_is_asked_once_more_without_them() {
    for code in [ErrorCode::OptionRefused, ErrorCode::IllegalOperation, ErrorCode::Undefined] {
        let no = Packet::Error { code, message: b"" }.to_vec();
        let (address, requests) = answering(move |packet| match packet {
            Packet::Request(request) if request.options.is_empty() => Some(data(1, b"plain")),
            Packet::Request(_) => Some(no.clone()),
            _ => None,
        });
        assert_eq!(Client::new(address).read("a").expect("a file"), b"plain");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_listing_without_an_end_is_told_to_be_too_long_by_opcode_and_by_file() {
    for by_file in [false, true] {
        let (address, _) = answering(move |packet| match packet {
            Packet::Request(request) if by_file && request.operation == Operation::List => {
                Some(Packet::Error { code: ErrorCode::IllegalOperation, message: b"" }.to_vec())
            }
            Packet::Request(_) => Some(data(1, &[b'x'; 512])),
            Packet::Ack { block } => Some(data(block.0 + 1, &[b'x'; 512])),
            _ => None,
        });
        let client = Client::new(address).wishes(Wishes::default().plain(true));
        let failure = client.list("").expect_err("it has no end");
        assert!(matches!(failure, Failure::TooLong(_)), "by file: {by_file}: {failure:?}");
    }
}

#[test]
fn a_server_that_has_granted_options_is_asked_with_them_whatever_comes_of_one_request() {
    let (told, asked) = mpsc::channel();
    let (address, requests) = answering(move |packet| {
        let request = match packet {
            Packet::Request(request) => request,
            Packet::Ack { .. } => return Some(data(1, b"here")),
            _ => return None,
        };
        told.send(request.options.is_empty()).expect("it is heard");
        let granted = Packet::Oack(request.options).to_vec();
        match request.name {
            b"gone" => Some(Packet::Error { code: ErrorCode::NotFound, message: b"" }.to_vec()),
            _ if request.options.is_empty() => Some(data(1, b"here")),
            b"spoilt" => Some([&granted, &b"udpport\x001069\0"[..]].concat()),
            _ => Some(granted),
        }
    });
    let client = Client::new(address).wishes(Wishes::default().window(WindowSize::LOCKSTEP));
    for name in ["good", "spoilt", "good"] {
        assert_eq!(client.read(name).expect(name), b"here");
    }
    let is_plain: Vec<_> = asked.try_iter().collect();
    assert_eq!(is_plain, [false, false, true, false], "a stranger may have answered once");
    let failure = client.read("gone").expect_err("it is not there");
    assert!(matches!(failure, Failure::Server { code: ErrorCode::NotFound, .. }), "{failure}");
    assert_eq!(requests.load(Ordering::SeqCst), 5, "it does not mean the options");
}

#[test]
fn a_server_that_knows_no_list_is_asked_for_one_twice_and_then_for_the_file() {
    let (tell, told) = mpsc::channel();
    let (address, _) = answering(move |packet| {
        let Packet::Request(request) = packet else { return None };
        tell.send(request.operation).expect("it is heard");
        (request.operation == Operation::Read).then(|| data(1, b"# 0 entries\n"))
    });
    assert!(Client::new(address).list("").expect("a listing").entries.is_empty());
    let asked: Vec<_> = told.try_iter().collect();
    assert_eq!(asked[..3], [Operation::List, Operation::List, Operation::Read], "{asked:?}");
}

#[test]
fn what_was_not_wished_for_is_what_fits_into_half_a_megabyte() {
    let (tell, told) = mpsc::channel();
    let (address, _) = answering(move |packet| {
        let is_request = matches!(packet, Packet::Request(_));
        is_request.then(|| tell.send(packet.to_string()).expect("it is heard"))?;
        Some(data(1, b"few"))
    });
    let size = |bytes| Wishes::default().block_size(BlockSize::new(bytes));
    let cases = [
        (size(512), "blksize=512 windowsize=64"),
        (size(16_384), "blksize=16384 windowsize=31"),
        (size(512).window(WindowSize::new(1)), "blksize=512"),
        (size(512).window(WindowSize::new(9)), "blksize=512 windowsize=9"),
        (size(512).timeout(NonZeroU8::new(9)), "blksize=512 windowsize=64 timeout=9"),
    ];
    for (wishes, asked) in cases {
        Client::new(address).wishes(wishes).read("a").expect("a file");
        assert_eq!(told.recv(), Ok(format!("RRQ \"a\" octet tsize=0 {asked}")));
    }
}

#[test]
fn a_put_knows_its_total_where_the_bytes_on_the_wire_are_those_of_the_file() {
    let (address, _) = answering(|packet| match packet {
        Packet::Request(_) => Some(Packet::Ack { block: WireBlock(0) }.to_vec()),
        Packet::Data { block, .. } => Some(Packet::Ack { block: *block }.to_vec()),
        _ => None,
    });
    for (mode, total) in [(Mode::Octet, Some(4)), (Mode::Netascii, None)] {
        let client = Client::new(address).wishes(impatient().mode(mode));
        let mut told = Vec::new();
        let put = client.put("a", Readable::bytes(b"few\n"), |progress| told.push(progress));
        put.expect("an upload");
        assert!(
            told.iter().all(|progress| progress.total == total) && !told.is_empty(),
            "{told:?}"
        );
    }
}

#[test]
fn the_last_that_is_told_of_a_transfer_is_how_it_ended() {
    let (address, _) = serving(&[&[7; 512], b"end"]);
    let client = Client::new(address).wishes(impatient());
    let mut last = Progress::default();
    let summary = client.get("a", Counted::default(), |now| last = now).expect("a download");
    assert_eq!((last.bytes, last.packets), (515, summary.packets), "its last ACK is a packet");
}

/// What panics in the hands of a client.
struct Panicking;

impl Sink for Panicking {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        panic!("the sink");
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("the source");
    }
}

#[test]
fn a_panic_of_the_callers_reaches_the_caller_and_spoils_nothing() {
    let (address, _) = answering(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::Read => Some(data(1, b"here")),
        Packet::Request(_) => Some(Packet::Ack { block: WireBlock(0) }.to_vec()),
        _ => None,
    });
    let client = Client::new(address).wishes(impatient());
    let calls: [&dyn Fn(); 3] = [
        &|| drop(client.get("a", Panicking, |_| {})),
        &|| drop(client.put("a", Readable::blocking(Panicking), |_| {})),
        &|| drop(client.get("a", Counted::default(), |_| panic!("the callback"))),
    ];
    for call in calls {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        assert_eq!(client.canceller().watched(), 0);
        client.canceller().cancel();
        client.canceller().reset();
        assert_eq!(client.read("a").expect("a file"), b"here");
    }
}

#[test]
fn any_writer_is_a_sink_and_a_whole_file_is_there_whole_or_not_at_all() {
    let here = tempfile::tempdir().expect("a folder");
    let path = here.path().join("file");
    let written = std::fs::File::create(here.path().join("written")).expect("a file");
    let (address, _) = serving(&[&[7; 512], b"end"]);
    let client = Client::new(address).wishes(impatient());
    let whole = [&[7; 512], &b"end"[..]].concat();
    client.get("a", Writer(written), |_| {}).expect("a download");
    assert_eq!(std::fs::read(here.path().join("written")).expect("a file"), whole);

    std::fs::write(&path, "before").expect("a file");
    let (failing, _) = answering(|packet| match packet {
        Packet::Request(_) => Some(data(1, &[7; 512])),
        Packet::Ack { .. } => {
            Some(Packet::Error { code: ErrorCode::Undefined, message: b"" }.to_vec())
        }
        _ => None,
    });
    let broken = Client::new(failing).wishes(impatient());
    let sink = WholeFile::create(&path).expect("a sink");
    let failure = broken.get("a", sink, |_| {}).expect_err("it breaks off");
    assert!(matches!(failure, Failure::Server { .. }), "{failure}");
    assert_eq!(std::fs::read(&path).expect("a file"), b"before");
    let sink = WholeFile::create(&path).expect("a sink");
    client.get("a", sink, |_| {}).expect("a download");
    assert_eq!(std::fs::read(&path).expect("a file"), whole);
    assert_eq!(std::fs::read_dir(here.path()).expect("a folder").count(), 2);

    let link = here.path().join("link");
    std::os::unix::fs::symlink("written", &link).expect("a link");
    let replaced = WholeFile::create(&link).map(|sink| client.get("a", sink, |_| {}));
    assert!(replaced.is_ok_and(|got| got.is_ok()) && !link.is_symlink());
    assert!(WholeFile::create("/").is_err() && WholeFile::create(path.join("no")).is_err());
}
