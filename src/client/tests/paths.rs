//! What a client makes of the path to its server, and of what the server says to one request before the next.

use super::*;
use crate::transfer::MayWait;

/// A path on which the windows of the first so many requests are torn: half of each arrives, and its last block. Tells
/// each request.
fn tearing(torn: usize) -> (SocketAddr, mpsc::Receiver<String>) {
    let ((socket, address), (tell, told)) = (socket(), mpsc::channel());
    std::thread::spawn(move || {
        let (mut buffer, mut window, mut requests, mut next) = ([0; 2048], 0_u16, 0, 0);
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let answers: Vec<_> = match Packet::parse(&buffer[..len]) {
                Ok(Packet::Request(request)) => {
                    let asked = Packet::Request(request).to_string();
                    let asks = asked.rsplit_once("windowsize=");
                    (window, next) =
                        (asks.map_or(1, |(_, window)| window.parse().expect("a size")), 0);
                    requests += 1;
                    tell.send(asked).expect("it is heard");
                    vec![Packet::Oack(request.options).to_vec()]
                }
                Ok(Packet::Ack { block: WireBlock(block) }) if block >= next => {
                    let is_torn = requests <= torn;
                    let row = if is_torn { window.div_ceil(2) } else { window };
                    // What fills a gap may be acknowledged piece by piece, and is on its way.
                    next = block + row;
                    let numbers = (1..=row).chain(is_torn.then_some(window)).map(|n| block + n);
                    let block = |n| data(n, if n < 201 { &[7; 512] } else { b"" });
                    numbers.filter(|n| *n < 202).map(block).collect()
                }
                _ => continue,
            };
            answers.iter().for_each(|answer| drop(socket.send_to(answer, peer)));
        }
    });
    (address, told)
}

/// A sink that is given what came in pieces that are longer than the file.
struct Gathered(Counted);

impl Sink for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::OnCommit
    }
}

#[test]
fn where_windows_are_torn_a_narrower_one_is_asked_for_unless_the_sink_has_something() {
    let wishes = Wishes::default().block_size(BlockSize::new(512)).window(WindowSize::new(20));
    let cases = [(0, true, 1), (1, true, 2), (9, false, 1)];
    for (torn, gathers, requests) in cases {
        let ((address, told), sink) = (tearing(torn), Counted::default());
        let client = Client::new(address).wishes(wishes);
        let got = match gathers {
            true => client.get("a", Gathered(sink.clone()), |_| {}),
            false => client.get("a", sink.clone(), |_| {}),
        };
        let case = format!("{torn} torn, gathers: {gathers}");
        assert_eq!(got.expect(&case).bytes, 200 * 512, "{case}");
        assert_eq!(sink.0.load(Ordering::SeqCst), 200 * 512, "the beginning came twice: {case}");
        let asked: Vec<_> = told.try_iter().collect();
        assert_eq!(asked.len(), requests, "{case}: {asked:?}");
        assert!(asked[0].ends_with(" windowsize=20") && asked[1..].iter().all(|a| *a != asked[0]));
    }
}

#[test]
fn a_put_knows_how_large_packets_the_path_carries_in_one_piece() {
    let (address, _) = answering(|packet| match packet {
        Packet::Request(request) => Some(Packet::Oack(request.options).to_vec()),
        Packet::Data { .. } => {
            Some(Packet::Error { code: ErrorCode::DiskFull, message: b"" }.to_vec())
        }
        _ => None,
    });
    let size = Wishes::default().block_size(BlockSize::new(16_384));
    let client = Client::new(address).wishes(size.window(WindowSize::new(8)));
    let mut told = Vec::new();
    let put = client.put("a", Readable::bytes(vec![7; 8 * 16_384]), |now| told.push(now.packets));
    assert!(matches!(put, Err(Failure::Server { code: ErrorCode::DiskFull, .. })), "{put:?}");
    // On loopback a block is one packet, and eight of them are no burst that had to be spread.
    assert!(told.iter().all(|packets| !(2..9).contains(packets)), "spread: {told:?}");
    assert_eq!(told.last(), Some(&9), "the request and a window");
}

#[test]
fn what_has_come_is_not_asked_for_again_even_where_the_sink_has_nothing_yet() {
    let (rude, requests) = answering(|packet| match packet {
        Packet::Request(request) => Some(Packet::Oack(request.options).to_vec()),
        Packet::Ack { block: WireBlock(0) } => Some(data(1, &[1; 512])),
        Packet::Ack { .. } => Some(data(2, &[2; 513])),
        _ => None,
    });
    let sink = Counted::default();
    let wishes = Wishes::default().block_size(BlockSize::new(512)).window(WindowSize::LOCKSTEP);
    let client = Client::new(rude).wishes(wishes);
    let failure = client.get("a", Gathered(sink.clone()), |_| {});
    assert!(matches!(failure, Err(Failure::Protocol(_))), "{failure:?}");
    assert_eq!((sink.0.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn what_a_server_said_is_told_where_it_is_gone_when_it_is_asked_once_more() {
    let (socket, address) = socket();
    let gone = std::thread::spawn(move || {
        let (_, peer) = socket.recv_from(&mut [0; 2048]).expect("a request");
        let no = Packet::Error { code: ErrorCode::OptionRefused, message: b"no" }.to_vec();
        socket.send_to(&no, peer).map(drop)
    });
    let failure = Client::new(address).wishes(Wishes::default().retries(0)).read("a");
    gone.join().expect("no panic").expect("sent");
    let failure = failure.expect_err("nobody is there any more");
    assert!(matches!(failure, Failure::Server { code: ErrorCode::OptionRefused, .. }), "{failure}");
}

#[test]
fn a_probe_tells_how_long_it_took_and_how_often_it_asked_and_takes_no_for_an_answer() {
    let mut is_first = true;
    let (slow, _) = answering(move |packet| {
        let is_deaf = std::mem::replace(&mut is_first, false);
        (matches!(packet, Packet::Request(_)) && !is_deaf).then(|| data(1, b"here"))
    });
    let probe = Client::new(slow).probe("a").expect("it is there");
    assert!(probe.repeated >= 1 && probe.elapsed >= Duration::from_millis(40), "{probe:?}");
    let (fast, _) = serving(&[b"here"]);
    assert_eq!(Client::new(fast).probe("a").expect("it is there").repeated, 0);
    let (other, unasked) = serving(&[b"here"]);
    let no = Packet::Error { code: ErrorCode::OptionRefused, message: b"" }.to_vec();
    let (refusing, requests) = answering(move |_| Some(no.clone()));
    let failure = Client::new(refusing).with_addresses([other]).probe("a").expect_err("refused");
    assert!(matches!(failure, Failure::Server { code: ErrorCode::OptionRefused, .. }), "{failure}");
    let requests = [requests, unasked].map(|requests| requests.load(Ordering::SeqCst));
    assert_eq!(requests, [1, 0], "it is asked once more, or another is");
}

#[test]
fn who_may_not_list_is_told_so_unless_there_is_a_list_to_read() {
    use ErrorCode as E;
    // What is said to a LIST, and whether there is a list to read; the code that is told, and the number of requests.
    for (said, has_file, told, requests) in [
        (E::AccessViolation, false, Some(E::AccessViolation), 2),
        (E::AccessViolation, true, None, 2),
        (E::NotFound, true, Some(E::NotFound), 1),
        (E::IllegalOperation, true, None, 2),
        (E::Undefined, true, None, 2),
    ] {
        let no = |code| Some(Packet::Error { code, message: b"" }.to_vec());
        let (address, asked) = answering(move |packet| match packet {
            Packet::Request(request) if request.operation == Operation::List => no(said),
            Packet::Request(_) if has_file => Some(data(1, b"# 0 entries\n")),
            Packet::Request(_) => no(E::NotFound),
            _ => None,
        });
        let listed = Client::new(address).wishes(impatient()).list("");
        let code = match listed {
            Ok(_) => None,
            Err(Failure::Server { code, .. }) => Some(code),
            Err(other) => panic!("{said:?}: {other}"),
        };
        assert_eq!((code, asked.load(Ordering::SeqCst)), (told, requests), "{said:?}, {has_file}");
    }
}

#[test]
fn the_size_of_a_file_is_asked_for_and_told_where_it_is_that_on_the_wire() {
    let (tell, told) = mpsc::channel();
    let (address, _) = answering(move |packet| {
        let Packet::Request(request) = packet else { return None };
        tell.send(packet.to_string()).expect("it is heard");
        let is_read = request.operation == Operation::Read;
        let no = Packet::Error { code: ErrorCode::DiskFull, message: b"" };
        Some(if is_read { data(1, b"few") } else { no.to_vec() })
    });
    let asked = |wishes: Wishes| {
        let client = Client::new(address).wishes(wishes);
        client.read("a").expect("a file");
        assert!(client.write("a", b"few\n").is_err());
        [told.recv(), told.recv()].map(|asked| asked.expect("a request"))
    };
    let wishes = Wishes::default().block_size(BlockSize::new(512)).window(WindowSize::LOCKSTEP);
    let octet = ["RRQ \"a\" octet tsize=0 blksize=512", "WRQ \"a\" octet tsize=4 blksize=512"];
    assert_eq!(asked(wishes), octet);
    let text = ["RRQ \"a\" netascii blksize=512", "WRQ \"a\" netascii blksize=512"];
    assert_eq!(asked(wishes.mode(Mode::Netascii)), text);
    assert_eq!(asked(wishes.plain(true)), ["RRQ \"a\" octet", "WRQ \"a\" octet"]);
    // On loopback the largest block of all travels in one piece.
    let [read, write] = asked(Wishes::default());
    assert!(read.contains(" blksize=65464") && write.contains(" blksize=65464"), "{read}, {write}");
    let [read, _] = asked(wishes.window(WindowSize::new(u16::MAX)));
    assert!(read.ends_with(&format!(" windowsize={}", limits::WIDEST_WINDOW)), "{read}");
}

#[test]
fn who_lists_in_a_way_that_is_not_known_is_asked_for_a_file() {
    let (address, asked) = answering(move |packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => {
            Some(data(1, b"\xff what is it?"))
        }
        Packet::Request(_) => Some(data(1, b"# 0 entries\n")),
        _ => None,
    });
    let (client, mut seen) = (Client::new(address).wishes(impatient()), Vec::new());
    let listing = client.list_watched("", |now| seen.push(now.bytes)).expect("the file is known");
    assert!(listing.entries.is_empty());
    seen.dedup();
    assert_eq!(seen, [13, 12], "how both get on is told");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "LIST, and then the file");
}
