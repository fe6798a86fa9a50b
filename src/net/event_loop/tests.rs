use super::*;
use crate::net::Ending;
use crate::net::fake::Fake;
use crate::net::{Delivery, Requested, TransferSocket};
use crate::proto::{Timing, accept};
use crate::transfer::{Discard, Memory, Outcome, Source, Terms};
use crate::wire::{Mode, Options, TransferOption, WindowSize};
use nix::errno::Errno;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PEER: SocketAddr = SocketAddr::new(LOCAL, 9);

struct Driven(Arc<Session>, Arc<Mutex<Option<Summary>>>);

impl Handler for Driven {
    fn session(&self) -> &Arc<Session> {
        &self.0
    }

    fn progress(&mut self, _: Time, _: &mut Transfer) {}

    fn ended(self, how: io::Result<Summary>) {
        *self.1.lock().expect("no panic") = how.ok();
    }
}

fn event_loop(fake: &Fake) -> EventLoop<Driven> {
    EventLoop::new(Arc::new(fake.clone()), Pools::new(fake)).expect("a loop")
}

/// A download in windows of four blocks.
fn download(fake: &Fake, source: Box<dyn Source>) -> Transfer {
    Transfer::serve_read(fake.now(), &terms(), source)
}

fn terms() -> Terms {
    let window = TransferOption::WindowSize(WindowSize::new(4).expect("a window"));
    let answer = Options::NONE.with(window);
    let agreed = accept(&answer, &answer).expect("the same");
    Terms { agreed, answer, mode: Mode::Octet, timing: Timing::default() }
}

/// Adds a download, and gives what it comes to.
fn add(
    event_loop: &mut EventLoop<Driven>,
    fake: &Fake,
    socket: TransferSocket,
    bytes: usize,
) -> Arc<Mutex<Option<Summary>>> {
    let transfer = download(fake, Box::new(Memory::new(vec![7; bytes])));
    let session = Session::new(socket, Arc::new(fake.clone()), transfer);
    let summary = Arc::default();
    event_loop.add(Driven(Arc::new(session), Arc::clone(&summary)));
    summary
}

#[test]
fn a_turn_tells_who_has_something_and_that_more_may_be_left() {
    let most = limits::EVENTS_AT_ONCE;
    for (ready, told, crowded) in
        [(most - 1, most - 1, false), (most, most, true), (most + 1, most, true)]
    {
        let (fake, mut watched) = (Fake::default(), vec![SocketId(7)]);
        let mut event_loop = event_loop(&fake);
        let ask = |n| {
            let socket = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a socket");
            event_loop.watch(&socket, SocketId(n)).expect("watched");
            fake.comes(b"x", PEER);
            socket
        };
        let sockets: Vec<_> = (0..=ready).map(ask).collect();
        event_loop.unwatch(&sockets[ready]);
        let has_more = event_loop.turn(None, &mut watched).expect("a turn");
        assert_eq!((watched.len(), has_more), (told, crowded), "of {ready}");
        assert_eq!(watched.last(), Some(&SocketId(told - 1)));
    }
}

#[test]
fn what_found_no_room_leaves_when_the_socket_has_some_again() {
    let (fake, watched) = (Fake::default(), &mut Vec::new());
    let mut event_loop = event_loop(&fake);
    let socket = TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
    let summary = add(&mut event_loop, &fake, socket, 6 * 512);
    let mut turn = || event_loop.turn(None, watched).map(drop).expect("a turn");
    let of_room = || fake.last(|inside| (inside.tells_of_room, inside.told_of_room));
    assert_eq!((fake.sent().len(), of_room()), (1, (false, 0)), "the OACK");
    fake.comes(&[0, 4, 0, 0], PEER);
    fake.last(|inside| inside.room = 1);
    turn();
    assert_eq!((fake.sent().len(), of_room()), (1, (true, 1)));
    // There is not enough for all yet.
    fake.last(|inside| inside.room = 1);
    turn();
    assert_eq!((fake.sent().len(), of_room()), (1, (true, 1)), "it is told once");
    fake.last(|inside| inside.room = 9);
    turn();
    assert_eq!((fake.sent().len(), of_room()), (2, (false, 2)));
    assert_eq!(fake.now(), Time::START, "nothing was waited for");
    fake.comes(&[0, 4, 0, 4], PEER);
    turn();
    assert_eq!((fake.sent().len(), of_room()), (3, (false, 2)));
    fake.comes(&[0, 4, 0, 7], PEER);
    turn();
    let summary = summary.lock().expect("no panic").take().expect("it is over");
    assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Complete), 6 * 512));
    assert_eq!(summary.retransmitted, 0);
}

#[test]
fn what_other_threads_hand_over_is_done_in_the_next_turn_and_by_a_loop_that_is_gone_never() {
    let (fake, watched) = (Fake::default(), &mut Vec::new());
    let mut event_loop = event_loop(&fake);
    let mailbox = event_loop.mailbox();
    let socket = TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
    let transfer = download(&fake, Box::new(Memory::new(vec![7; 9])));
    let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
    mailbox.add(Driven(session, Arc::default()));
    assert_eq!(fake.sent().len(), 0);
    event_loop.turn(None, watched).expect("a turn");
    assert_eq!(fake.sent().len(), 1, "the OACK");
    mailbox.wake();
    event_loop.wait(None, watched).expect("it was woken");
    assert_eq!(fake.now(), Time::START, "nothing was waited for");
    let done = Arc::new(());
    let not_yet = |call: &Arc<()>| Arc::strong_count(call);
    for is_gone in [false, true] {
        let one = Arc::clone(&done);
        mailbox.call(move || drop(one));
        assert_eq!(not_yet(&done), 2);
        if is_gone {
            break;
        }
        event_loop.turn(None, watched).expect("a turn");
        assert_eq!(not_yet(&done), 1, "it was called");
    }
    let one = Arc::clone(&done);
    mailbox.call(move || drop(one));
    drop(event_loop);
    let one = Arc::clone(&done);
    mailbox.call(move || drop(one));
    assert_eq!(not_yet(&done), 1, "nobody holds what nobody will do");
}

/// A disk that makes one wait, with a file of nine bytes; or one that panics.
struct Disk(Option<usize>);

impl Source for Disk {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = self.0.replace(0).expect("a store that panics");
        bufs[0][..len].fill(7);
        Ok(len)
    }
}

#[test]
fn a_turn_that_waits_for_a_disk_is_taken_elsewhere_and_what_came_meanwhile_is_heard() {
    let cases = [(false, Some(9)), (true, Some(9)), (false, None), (true, None)];
    for (is_shared, file) in cases {
        let (fake, watched) = (Fake::default(), &mut Vec::new());
        let mut event_loop = event_loop(&fake);
        let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
        let port = if is_shared { port.for_all() } else { port };
        let socket = port.answer(&fake, LOCAL, PEER, 1).expect("a socket");
        let transfer = download(&fake, Box::new(Disk(file)));
        let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
        let (left, summary) = (Arc::downgrade(&session), Arc::default());
        // It may read before it has answered, or when it was answered.
        event_loop.add(Driven(session, Arc::clone(&summary)));
        let case = format!("shared port {is_shared}, file {file:?}");
        for (number, answer) in [(0, file.map(|len| len + 4)), (1, None)] {
            let ack = [0, 4, 0, number];
            // Who listens is told; for who is away with a disk it waits.
            match port.deliver(&ack, &Requested { len: 4, peer: PEER, local: LOCAL }) {
                Delivery::For(key) => event_loop.look(key),
                Delivery::Stray => fake.comes(&ack, PEER),
                Delivery::Kept => {}
            }
            for _ in 0..4 {
                event_loop.turn(Some(Duration::ZERO), watched).expect("a turn");
            }
            let sent = fake.sent().last().map(Vec::len).filter(|_| file.is_some());
            assert_eq!(sent, answer, "{case}");
        }
        assert!(left.upgrade().is_none(), "it is over: {case}");
        let bytes = summary.lock().expect("no panic").take().map(|summary| summary.bytes as usize);
        assert_eq!(bytes, file, "{case}");
    }
}

#[test]
fn what_is_ended_from_outside_ends_in_the_next_turn_even_where_it_is_away_with_its_disk() {
    let stop = || Ending::Stop("no more".into());
    let cases = [false, true].map(|is_shared| {
        [
            (is_shared, false, stop(), Outcome::Stopped, 12),
            (is_shared, true, stop(), Outcome::Stopped, 12),
            (is_shared, false, Ending::Abandon, Outcome::Superseded, 15),
            (is_shared, true, Ending::Abandon, Outcome::Unconfirmed, 13),
        ]
    });
    for (is_shared, is_away, ending, outcome, last_words) in cases.into_iter().flatten() {
        let case = format!("shared port {is_shared}, away {is_away}, {ending:?}");
        let (fake, watched) = (Fake::default(), &mut Vec::new());
        let mut event_loop = event_loop(&fake);
        let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
        let port = if is_shared { port.for_all() } else { port };
        let socket = port.answer(&fake, LOCAL, PEER, 1).expect("a socket");
        let source: Box<dyn Source> =
            if is_away { Box::new(Disk(Some(9))) } else { Box::new(Memory::new(vec![7; 9])) };
        let transfer = download(&fake, source);
        let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
        let summary = Arc::<Mutex<Option<Summary>>>::default();
        event_loop.add(Driven(Arc::clone(&session), Arc::clone(&summary)));
        if is_away {
            let ack = [0, 4, 0, 0];
            match port.deliver(&ack, &Requested { len: 4, peer: PEER, local: LOCAL }) {
                Delivery::For(key) => event_loop.look(key),
                _ => {
                    fake.comes(&ack, PEER);
                    event_loop.turn(Some(Duration::ZERO), watched).expect("a turn");
                }
            }
        }
        session.end(ending);
        // It is woken: a turn that waits for the network for ever waits for nothing.
        event_loop.turn(None, watched).expect("a turn");
        assert_eq!(fake.now(), Time::START, "nothing was waited for: {case}");
        event_loop.turn(Some(Duration::ZERO), watched).expect("a turn");
        let summary = summary.lock().expect("no panic").take();
        let told = summary.and_then(|summary| summary.outcome);
        assert_eq!(told, Some(outcome), "{case}");
        assert_eq!(fake.sent().last().map(Vec::len), Some(last_words), "{case}");
    }
}

#[test]
fn a_look_takes_all_that_was_delivered() {
    let fake = Fake::default();
    let mut event_loop = event_loop(&fake);
    let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port").for_all();
    let socket = port.answer(&fake, LOCAL, PEER, 1).expect("a flow");
    let summary = add(&mut event_loop, &fake, socket, 6 * 512);
    // They are of two lengths, and come apart.
    let deliver = |datagram: &[u8]| {
        port.deliver(datagram, &Requested { len: datagram.len(), peer: PEER, local: LOCAL })
    };
    deliver(&[0, 4, 0, 0]);
    let Delivery::For(key) = deliver(b"\0\x05\0\0no more\0") else { panic!("it listens") };
    event_loop.look(key);
    let summary = summary.lock().expect("no panic").take().expect("its peer has ended it");
    assert!(matches!(summary.outcome, Some(Outcome::PeerError(..))), "{:?}", summary.outcome);
}

/// Keeps what its transfer failed with.
struct Failed(Arc<Session>, Arc<Mutex<Option<io::ErrorKind>>>);

impl Handler for Failed {
    fn session(&self) -> &Arc<Session> {
        &self.0
    }

    fn progress(&mut self, _: Time, _: &mut Transfer) {}

    fn ended(self, how: io::Result<Summary>) {
        *self.1.lock().expect("no panic") = how.err().map(|error| error.kind());
    }
}

#[test]
fn who_cannot_be_watched_or_has_a_socket_that_fails_hears_so() {
    let refuses = |fake: &Fake| fake.state().refuses = Some(Errno::EACCES);
    for fails_at in ["the begin", "the return from the disk", "a look"] {
        let (fake, told, watched) = (Fake::default(), Arc::default(), &mut Vec::new());
        let mut event_loop =
            EventLoop::new(Arc::new(fake.clone()), Pools::new(&fake)).expect("a loop");
        let socket = TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
        let transfer = download(&fake, Box::new(Disk(Some(9))));
        let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
        if fails_at == "the begin" {
            refuses(&fake);
        }
        event_loop.add(Failed(session, Arc::clone(&told)));
        match fails_at {
            "the begin" => assert!(fake.sent().is_empty(), "it is not driven"),
            "a look" => {
                fake.all(|inside| inside.came = [(Err(Errno::EINVAL), PEER)].into());
            }
            _ => {
                refuses(&fake);
                fake.comes(&[0, 4, 0, 0], PEER);
            }
        }
        (0..2).for_each(|_| {
            event_loop.turn(Some(Duration::ZERO), watched).expect("a turn");
        });
        let told = told.lock().expect("no panic").take();
        let expected = match fails_at {
            "a look" => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::PermissionDenied,
        };
        assert_eq!(told, Some(expected), "at {fails_at}");
        assert!(event_loop.entries.is_empty(), "at {fails_at}");
        event_loop.busy_poll.begin_anew();
        fake.state().looks = 0;
        event_loop.turn(Some(Duration::from_millis(1)), watched).expect("a turn");
        assert_eq!(fake.state().looks, 0, "nobody is left to answer, at {fails_at}");
    }
}

#[test]
fn on_a_shared_port_what_found_no_room_is_tried_again_within_milliseconds() {
    let (fake, watched) = (Fake::default(), &mut Vec::new());
    let mut event_loop = event_loop(&fake);
    let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port").for_all();
    let socket = port.answer(&fake, LOCAL, PEER, 1).expect("a flow");
    let _ = add(&mut event_loop, &fake, socket, 6 * 512);
    assert_eq!(fake.sent().len(), 1, "the OACK");
    let from = Requested { len: 4, peer: PEER, local: LOCAL };
    fake.last(|inside| inside.room = 0);
    let Delivery::For(key) = port.deliver(&[0, 4, 0, 0], &from) else { panic!("it listens") };
    event_loop.look(key);
    assert_eq!(fake.sent().len(), 0);
    fake.last(|inside| inside.room = 9);
    event_loop.turn(None, watched).expect("a turn");
    assert_eq!(fake.now() - Time::START, limits::ROOM_AGAIN);
    assert!(!fake.sent().is_empty(), "its time has come");
    assert_eq!(fake.last(|inside| inside.told_of_room), 0, "nobody could tell of it");
}

/// Notes when it is told how its transfer gets on.
struct Noted(Arc<Session>, Arc<Mutex<Vec<Time>>>);

impl Handler for Noted {
    fn session(&self) -> &Arc<Session> {
        &self.0
    }

    fn progress(&mut self, now: Time, _: &mut Transfer) {
        self.1.lock().expect("no panic").push(now);
    }

    fn ended(self, _: io::Result<Summary>) {}
}

#[test]
fn how_a_transfer_gets_on_is_told_when_something_came_and_when_its_time_has_come() {
    let (fake, watched, told) = (Fake::default(), &mut Vec::new(), Arc::default());
    let mut event_loop = EventLoop::new(Arc::new(fake.clone()), Pools::new(&fake)).expect("a loop");
    let socket = TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
    let transfer = download(&fake, Box::new(Memory::new(vec![7; 6 * 512])));
    let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
    event_loop.add(Noted(session, Arc::clone(&told)));
    let mut expected = Vec::new();
    for something in [false, true, false, false] {
        if something {
            fake.comes(&[0, 4, 0, 0], PEER);
        }
        let before = fake.now();
        event_loop.turn(None, watched).expect("a turn");
        expected.push(fake.now());
        assert_eq!(fake.now() == before, something, "its time comes where nothing else does");
        let told = told.lock().expect("no panic").clone();
        assert_eq!(told, expected, "who watches is not told, something came: {something}");
    }
}

/// Notes what was sent by all until something came for its transfer.
struct Beside(Arc<Session>, Fake, Arc<Mutex<Vec<usize>>>);

impl Handler for Beside {
    fn session(&self) -> &Arc<Session> {
        &self.0
    }

    fn progress(&mut self, _: Time, _: &mut Transfer) {
        let mut sent = 0;
        self.1.all(|inside| sent += inside.sent.len());
        self.2.lock().expect("no panic").push(sent);
    }

    fn ended(self, _: io::Result<Summary>) {}
}

#[test]
fn all_are_heard_before_the_first_acts() {
    let (fake, noted) = (Fake::default(), Arc::default());
    let mut event_loop = EventLoop::new(Arc::new(fake.clone()), Pools::new(&fake)).expect("a loop");
    for _ in 0..3 {
        let socket = TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
        let transfer = download(&fake, Box::new(Memory::new(vec![7; 6 * 512])));
        let session = Arc::new(Session::new(socket, Arc::new(fake.clone()), transfer));
        event_loop.add(Beside(session, fake.clone(), Arc::clone(&noted)));
        fake.comes(&[0, 4, 0, 0], PEER);
    }
    event_loop.turn(Some(Duration::ZERO), &mut Vec::new()).expect("a turn");
    assert_eq!(*noted.lock().expect("no panic"), [3, 3, 3], "their OACKs");
    let mut sent = Vec::new();
    fake.all(|inside| sent.push(inside.sent.len()));
    assert_eq!(sent, [5, 5, 5], "and their windows of four");
}

#[test]
fn an_answer_is_looked_for_before_the_loop_sleeps_as_long_as_that_finds_some() {
    // This system has no processor to spare: to poll is one look.
    let (fake, watched) = (Fake::default(), &mut Vec::new());
    let mut event_loop = event_loop(&fake);
    let mut turn = |event_loop: &mut EventLoop<Driven>| {
        fake.state().looks = 0;
        event_loop.turn(Some(Duration::from_millis(1)), watched).expect("a turn");
        fake.state().looks
    };
    // Somebody else has one to drive.
    let mut other = BusyPoll::new(Arc::new(fake.clone()));
    other.begin();
    assert_eq!(turn(&mut event_loop), 0, "nobody is there to answer");
    let answer = || TransferSocket::answer(&fake, LOCAL, PEER, None).expect("a socket");
    let _ = add(&mut event_loop, &fake, answer(), 6 * 512);
    assert_eq!([(); 5].map(|()| turn(&mut event_loop)), [1, 0, 0, 1, 0]);
    // The next may be nearer.
    let _ = add(&mut event_loop, &fake, answer(), 6 * 512);
    for last in [0, 4] {
        fake.comes(&[0, 4, 0, last], PEER);
        assert_eq!(turn(&mut event_loop), 1, "what is there is found");
    }
    for socket in [0, 1] {
        let came = (Ok(b"\0\x05\0\0no more\0".to_vec()), PEER);
        fake.state().sockets[socket].came.push_back(came);
        turn(&mut event_loop);
    }
    assert!(event_loop.entries.is_empty(), "both are over");
    event_loop.busy_poll.begin_anew();
    assert_eq!(turn(&mut event_loop), 0, "nobody is left to answer");
    let upload = Transfer::serve_write(fake.now(), &terms(), Box::new(Discard));
    let session = Session::new(answer(), Arc::new(fake.clone()), upload);
    event_loop.add(Driven(Arc::new(session), Arc::default()));
    fake.comes(&[0, 3, 0, 1], PEER);
    assert_eq!(turn(&mut event_loop), 1);
    assert!(!event_loop.entries.is_empty(), "its last ACK may be lost");
    assert_eq!([(); 3].map(|()| turn(&mut event_loop)), [0; 3], "its peer has nothing to say");
}
