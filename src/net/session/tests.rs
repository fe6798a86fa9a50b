use super::*;
use crate::net::fake::Fake;
use crate::net::{Kernel, RequestSocket, Way};
use crate::proto::{Timing, accept};
use crate::transfer::{Memory, Outcome, Source, Terms};
use crate::wire::{Mode, Operation, Options, Request, TransferOption, WindowSize};
use nix::errno::Errno;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PEER: SocketAddr = SocketAddr::new(LOCAL, 9);

fn ms(n: u64) -> Time {
    Time::from_micros(n * 1000)
}

/// What a client that asked for `asked` is granted, which is all of it.
fn terms(asked: Options) -> Terms {
    let agreed = accept(&asked, &asked).expect("the same");
    Terms { agreed, answer: asked, mode: Mode::Octet, timing: Timing::default() }
}

fn download(asked: Options, bytes: usize) -> Transfer {
    Transfer::serve_read(Time::START, &terms(asked), Box::new(Memory::new(vec![7; bytes])))
}

/// A client that asks for a file.
fn get() -> Transfer {
    let (mode, options) = (Mode::Octet, Options::NONE);
    let request = Request { operation: Operation::Read, name: b"f", mode, options };
    Transfer::get(Time::START, Timing::default(), &request, Box::new(Vec::new()))
}

fn data(number: u8, len: usize) -> Vec<u8> {
    [&[0, 3, 0, number][..], &[7; 512][..len]].concat()
}

const fn ack(number: u8) -> [u8; 4] {
    [0, 4, 0, number]
}

/// A server's session on a socket of its own.
fn session(fake: &Fake, transfer: Transfer) -> Session {
    let socket = TransferSocket::answer(fake, LOCAL, PEER, None).expect("a socket");
    Session::new(socket, Arc::new(fake.clone()), transfer)
}

fn advance(session: &Session) -> Next {
    session.advance(&mut session.lock(), Driver::Loop)
}

/// Has it hear what came, and act.
fn turn(session: &Session) -> Next {
    let (mut transfer, mut buffer) = (session.lock(), [0; 600]);
    let received = session.socket.try_receive(&mut buffer).expect("a look");
    session.hear(&mut transfer, received, &mut buffer).expect("it is heard");
    session.advance(&mut transfer, Driver::Loop)
}

fn outcome(session: &Session) -> Option<Outcome> {
    session.lock().summary().outcome.clone()
}

#[test]
fn a_port_that_was_closed_before_the_server_answered_is_not_the_servers() {
    let system: Arc<dyn System> = Kernel::start();
    let local = Ipv4Addr::LOCALHOST;
    let [server, stranger] = [(); 2].map(|()| system.bind((local, 0).into()).expect("a port"));
    let address = server.local_address().expect("an address");
    let socket = TransferSocket::ask(&*system, address).expect("a socket");
    let to = (local, socket.local_address().expect("an address").port()).into();
    // It is turned away, and no longer there.
    stranger.send_to(b"\0\x06blksize\x001024\0", to).expect("sent");
    drop(stranger);
    server.send_to(&data(1, 512), to).expect("sent");
    let session = Session::new(socket, system, get());
    let running = std::thread::spawn(move || session.run(|_, _| {}));
    server.set_timeout(limits::PATIENCE).expect("a time limit");
    while server.receive(&mut [0; 64], true).expect("the request, and ACK 1") != 4 {}
    server.send_to(&data(2, 3), to).expect("sent");
    let summary = running.join().expect("no panic").expect("it ends");
    assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Complete), 515));
}

/// A disk that takes so long.
struct Slow(Fake, Duration);

impl Source for Slow {
    fn read(&mut self, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.spend(self.1);
        Ok(0)
    }
}

#[test]
fn all_that_came_while_the_disk_took_its_time_is_heard_before_anything_else() {
    let micros = Duration::from_micros(1);
    for (takes, hears_first) in [(limits::ECHO_SPAN, false), (limits::ECHO_SPAN + micros, true)] {
        let fake = Fake::default();
        let disk = Box::new(Slow(fake.clone(), takes));
        let session = session(&fake, Transfer::serve_read(fake.now(), &terms(Options::NONE), disk));
        (0..3).for_each(|_| fake.comes(&ack(0), PEER));
        let next = session.advance(&mut session.lock(), Driver::Storage);
        let sent = fake.sent().len();
        let said = if hears_first { (Next::Wait(fake.now()), 0) } else { (next, 1) };
        assert_eq!((next, sent), said, "behind a read that took {takes:?}");
        turn(&session);
        let left = fake.last(|inside| inside.came.len());
        assert_eq!(left, if hears_first { 0 } else { 2 }, "behind a read that took {takes:?}");
    }
}

/// A gate that opens at a time, and notes what it is told.
#[derive(Debug)]
struct OpensAt(Time, Arc<Mutex<Vec<String>>>);

impl OpensAt {
    fn note(&self, what: String) {
        self.1.lock().expect("no panic").push(what);
    }
}

impl Gate for OpensAt {
    fn opens_at(&mut self, _: Time) -> Time {
        self.0
    }

    fn sent(&mut self, _: Time, burst: &Burst<'_>) {
        self.note(format!("sent {}", burst.bytes.len()));
    }

    fn heard(&mut self, _: Time, datagram: &[u8], got_on: bool) {
        self.note(format!("heard {datagram:?}, got on: {got_on}"));
    }
}

#[test]
fn a_gate_holds_what_is_sent_until_it_opens_and_is_told_what_passes() {
    let (fake, notes) = (Fake::default(), Arc::default());
    let behind = |transfer, at| {
        let gate = OpensAt(at, Arc::clone(&notes));
        session(&fake, transfer).behind(Some(Box::new(gate)))
    };
    let closed = behind(download(Options::NONE, 3), ms(20));
    assert_eq!((advance(&closed), fake.sent().len()), (Next::Wait(ms(20)), 0));
    fake.spend(ms(20) - Time::START);
    assert!(matches!(advance(&closed), Next::Wait(until) if until > ms(20)), "it opens now");
    assert_eq!(fake.sent(), [data(1, 3)]);
    for _ in 0..2 {
        fake.comes(&ack(7), PEER);
        turn(&closed);
    }
    fake.comes(&ack(1), PEER);
    assert_eq!(turn(&closed), Next::Done);
    let told = [
        "sent 7",
        "heard [0, 4, 0, 7], got on: true",
        "heard [0, 4, 0, 7], got on: false",
        "heard [0, 4, 0, 1], got on: true",
    ];
    assert_eq!(*notes.lock().expect("no panic"), told);
    let stopped = behind(download(Options::NONE, 3), ms(1000));
    stopped.end(Ending::Stop("no more".into()));
    assert_eq!(fake.sent(), [b"\0\x05\0\0no more\0"], "what ends it is not held");
}

/// Has a share of what all may send, and notes how much of it is used.
#[derive(Debug)]
struct Counted(Arc<Mutex<Vec<u64>>>);

impl Share for Counted {
    fn allowance(&self, _: Time) -> Allowance {
        Allowance { at: Time::START, bytes: u64::MAX }
    }

    fn sent(&self, _: Time, bytes: u64) {
        self.0.lock().expect("no panic").push(bytes);
    }
}

#[test]
fn what_finds_no_room_is_kept_and_leaves_when_there_is_some() {
    let fake = Fake::default();
    let window = TransferOption::WindowSize(WindowSize::new(4).expect("a window"));
    let (counted, heard) = (Arc::default(), Arc::default());
    let session = session(&fake, download(Options::NONE.with(window), 4 * 512));
    let session = session.sharing(Some(Box::new(Counted(Arc::clone(&counted)))));
    let session = session.tapped(Some(Box::new(Heard(Arc::clone(&heard)))));
    advance(&session);
    assert_eq!(fake.sent(), [b"\0\x06windowsize\x004\0"]);
    fake.comes(&ack(0), PEER);
    fake.last(|inside| inside.room = 2);
    assert_eq!(turn(&session), Next::Room(fake.now() + limits::HELD));
    assert_eq!(fake.sent(), [data(1, 512), data(2, 512)]);
    fake.last(|inside| inside.room = 9);
    assert!(matches!(advance(&session), Next::Wait(_)));
    assert_eq!(fake.sent(), [data(3, 512), data(4, 512)], "they are not lost");
    // What did not leave has not been sent, and is no part of what all may send.
    assert_eq!(*counted.lock().expect("no panic"), [15, 2 * 516, 2 * 516]);
    let told = ["0 Out 15", "0 In 4", "0 Out 516", "0 Out 516", "0 Out 516", "0 Out 516"];
    assert_eq!(*heard.lock().expect("no panic"), told);
    fake.comes(&ack(4), PEER);
    fake.last(|inside| inside.room = 0);
    let (mut transfer, mut buffer) = (session.lock(), [0; 600]);
    let received = session.socket.try_receive(&mut buffer).expect("a look");
    session.hear(&mut transfer, received, &mut buffer).expect("it is heard");
    let next = session.advance(&mut transfer, Driver::Thread);
    assert!(matches!(next, Next::Wait(_)), "a thread of its own waits for room: {next:?}");
    assert_eq!(fake.sent(), [data(5, 0)]);
}

#[test]
fn who_is_abandoned_hears_first_what_its_peer_has_said() {
    for (said, expected) in [(true, Outcome::Complete), (false, Outcome::Superseded)] {
        let fake = Fake::default();
        let session = session(&fake, download(Options::NONE, 3));
        advance(&session);
        if said {
            fake.comes(&ack(1), PEER);
        }
        session.end(Ending::Abandon);
        assert_eq!(advance(&session), Next::Wait(fake.now()), "{expected:?}");
        assert_eq!(outcome(&session), None, "{expected:?}");
        assert_eq!(turn(&session), Next::Done, "{expected:?}");
        assert_eq!(outcome(&session), Some(expected));
    }
}

/// Keeps what it is told.
struct Heard(Arc<Mutex<Vec<String>>>);

impl Listener for Heard {
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]) {
        let at = now.as_micros();
        self.0.lock().expect("no panic").push(format!("{at} {way:?} {}", datagram.len()));
    }

    fn ended(&mut self, summary: &Summary) {
        self.0.lock().expect("no panic").push(format!("{:?}", summary.outcome));
    }
}

#[test]
fn who_listens_in_hears_each_datagram_and_the_end_and_figures_are_told_meanwhile() {
    let (fake, heard) = (Fake::default(), Arc::default());
    let listener = Box::new(Heard(Arc::clone(&heard)));
    let session = session(&fake, download(Options::NONE, 515)).tapped(Some(listener));
    advance(&session);
    fake.spend(Duration::from_millis(5));
    fake.comes(&ack(1), PEER);
    turn(&session);
    let figures = session.figures().expect("nobody is at it");
    assert_eq!((figures.bytes, figures.elapsed), (512, Duration::from_millis(5)));
    let held = session.lock();
    assert_eq!(session.figures(), None, "who is at it may be waiting for a disk");
    drop(held);
    fake.comes(&ack(2), PEER);
    turn(&session);
    session.told(session.lock().summary());
    let all = ["0 Out 516", "5000 In 4", "5000 Out 7", "5000 In 4", "Some(Complete)"];
    assert_eq!(*heard.lock().expect("no panic"), all);
}

#[test]
fn only_who_asks_takes_the_networks_word_that_there_is_no_way_and_ends_at_once() {
    let cases = [
        (Errno::ECONNREFUSED, true, true),
        (Errno::EHOSTUNREACH, true, false),
        (Errno::ENETUNREACH, true, false),
        (Errno::EPERM, false, false),
        (Errno::ENOBUFS, false, false),
    ];
    for (errno, ends_asking, ends_serving) in cases {
        let fake = Fake::default();
        let socket = TransferSocket::ask(&fake, PEER).expect("a socket");
        let asking = Session::new(socket, Arc::new(fake.clone()), get());
        for (who, session, ends) in [
            ("who asks", asking, ends_asking),
            ("who serves", session(&fake, download(Options::NONE, 3)), ends_serving),
        ] {
            fake.all(|inside| inside.fails = Some(errno));
            advance(&session);
            let next = turn(&session);
            let expected = ends.then_some(Outcome::Unreachable);
            assert_eq!(outcome(&session), expected, "{who}, of {errno}");
            assert_eq!(next == Next::Done, ends, "{who}, of {errno}: {next:?}");
        }
    }
}

#[test]
fn who_has_closed_its_port_is_heard_out() {
    for said in [&[][..], &[1]] {
        let fake = Fake::default();
        let session = session(&fake, download(Options::NONE, 3));
        advance(&session);
        fake.last(|inside| {
            let words = said.iter().map(|number| Ok(ack(*number).to_vec()));
            let all = [Err(Errno::ECONNREFUSED)].into_iter().chain(words);
            inside.came = all.map(|came| (came, PEER)).collect();
        });
        assert_ne!(turn(&session), Next::Done, "its last words may wait behind it: {said:?}");
        let next = (0..3).map(|_| turn(&session)).find(|next| *next == Next::Done);
        assert_eq!(next, Some(Next::Done), "{said:?}");
        let expected = if said.is_empty() { Outcome::Unreachable } else { Outcome::Complete };
        assert_eq!(outcome(&session), Some(expected), "it said {said:?} before");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_refused_where_it_came_from() {
    let (fake, from) = (Fake::default(), SocketAddr::new(LOCAL, 4000));
    let socket = TransferSocket::ask(&fake, PEER).expect("a socket");
    let session = Session::new(socket, Arc::new(fake.clone()), get());
    advance(&session);
    fake.last(|inside| inside.sent.clear());
    fake.comes(b"\0\x06blksize\x001024\0", from);
    turn(&session);
    let sent = fake.last(|inside| std::mem::take(&mut inside.sent));
    let sent: Vec<_> = sent.iter().map(|sent| (sent.to, &sent.bytes[..4])).collect();
    assert_eq!(sent, [(from, &b"\0\x05\0\x08"[..])], "it was no answer to what was asked");
    assert!(!session.socket.is_connected(), "the server may answer yet");
}

#[test]
fn a_last_block_that_comes_again_is_answered_until_the_dallying_is_over() {
    let fake = Fake::default();
    let upload = Transfer::serve_write(fake.now(), &terms(Options::NONE), Box::new(Vec::new()));
    let session = session(&fake, upload);
    fake.comes(&data(1, 3), PEER);
    let summary = session.run(|_, _| {}).expect("the file is safe");
    assert_eq!((&summary.outcome, summary.bytes), (&Some(Outcome::Complete), 3));
    assert_eq!((fake.sent(), session.is_dallying()), (vec![ack(0).into(), ack(1).into()], true));
    fake.spend(Duration::from_secs(1));
    fake.comes(&data(1, 3), PEER);
    let dallied = session.dally().expect("it is over");
    assert_eq!((dallied.outcome, dallied.bytes, dallied.retransmitted), (summary.outcome, 3, 1));
    assert_eq!((fake.sent(), session.is_dallying()), (vec![ack(1).into()], false));
    assert!(fake.now() - Time::START <= limits::LONGEST_DALLY + limits::PATIENCE);
}

#[test]
fn a_repeat_is_answered_at_once_or_by_whoever_lets_go_of_the_transfer() {
    for is_shared in [false, true] {
        let fake = Fake::default();
        let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
        let port = if is_shared { port.for_all() } else { port };
        let socket = port.answer(&fake, LOCAL, PEER, 1).expect("a socket");
        let transfer = download(Options::NONE, 3);
        let session = Session::new(socket, Arc::new(fake.clone()), transfer);
        advance(&session);
        assert_eq!(fake.sent(), [data(1, 3)]);
        session.repeat();
        assert_eq!(fake.sent(), [data(1, 3)], "nobody is at it: shared port {is_shared}");
        let held = session.lock();
        session.repeat();
        assert_eq!(fake.sent(), NOTHING, "somebody is at it: shared port {is_shared}");
        drop(held);
        assert_eq!(fake.sent(), [data(1, 3)], "nobody is at it now: shared port {is_shared}");
        assert!(!session.leaves_repeat(), "it was answered: shared port {is_shared}");
    }
}

const NOTHING: [Vec<u8>; 0] = [];

#[test]
fn what_a_client_said_is_heard_before_its_repeat_is_answered() {
    let fake = Fake::default();
    let session = session(&fake, download(Options::NONE, 3));
    advance(&session);
    fake.sent();
    fake.comes(b"\0\x05\0\0no\0", PEER);
    session.repeat();
    assert_eq!(fake.sent(), NOTHING, "it may have refused the answer");
    turn(&session);
    assert_eq!(fake.sent(), NOTHING, "it has refused the answer");
    assert!(session.leaves_repeat(), "another transfer is to answer it");
}
