use super::*;
use crate::net::fake::{FIRST_PORT, Fake, Sent};
use crate::proto::{Timing, accept};
use crate::transfer::{Memory, Terms};
use crate::wire::{Mode, Options, TransferOption, WindowSize};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PEER: SocketAddr = SocketAddr::new(LOCAL, 9);

fn answering(fake: &Fake) -> TransferSocket {
    TransferSocket::answer(fake, LOCAL, PEER, None).expect("a socket")
}

#[test]
fn so_many_packets_go_in_one_call_as_the_oldest_kernel_takes_and_an_ip_datagram_has_room_for() {
    // UDP_MAX_SEGMENTS was 64 for long.
    let calls = [12, 516, 1023, 1024, 1432, 32_753, 32_754, 65_468].map(packets_in_one_call);
    assert_eq!(calls, [64, 64, 64, 63, 45, 2, 1, 1]);
}

#[test]
fn a_window_is_as_wide_as_the_receive_buffer_holds_and_can_grow() {
    // A datagram of 516 bytes costs 1,024 with its headers, and 256 of bookkeeping.
    let each = TransferSocket::receive_memory(516);
    assert_eq!(each, 1280);
    let cases = [
        // What is wanted, what the buffer has and can have; how many it holds then, and what it has.
        (4, 4 * each, usize::MAX, (4, 4 * each)),
        (4, 9 * each, usize::MAX, (4, 9 * each)),
        (64, 9 * each, usize::MAX, (64, 64 * each)),
        (64, 9 * each, 9 * each + each - 1, (9, 10 * each - 1)),
        (64, each / 2, each / 2, (1, each / 2)),
        (u16::MAX, each, usize::MAX, (u16::MAX, 65_535 * each)),
    ];
    for (wanted, has, most, expected) in cases {
        let fake = Fake::default();
        let socket = answering(&fake);
        fake.last(|inside| (inside.receive_buffer, inside.most_buffer) = (has, most));
        let held = socket.reserve_receive_buffer(516, wanted).expect("a number");
        let has_now = fake.last(|inside| inside.receive_buffer);
        assert_eq!((held, has_now), expected, "{wanted} in {has} of {most} bytes");
    }
}

#[test]
fn joined_datagrams_have_room_where_many_come_at_once_and_the_kernel_joins() {
    let terms = |window| {
        let window = TransferOption::WindowSize(WindowSize::new(window).expect("a window"));
        let answer = Options::NONE.with(window);
        let agreed = accept(&answer, &answer).expect("the same");
        Terms { agreed, answer, mode: Mode::Octet, timing: Timing::default() }
    };
    let now = Fake::default().now();
    let upload = |window| Transfer::serve_write(now, &terms(window), Box::new(Vec::new()));
    let download = Transfer::serve_read(now, &terms(4), Box::new(Memory::new(Vec::new())));
    // One byte more than a datagram shows what is too long.
    let (one, joined) = (517, 1 << 16);
    let cases = [
        // The transfer, whether the kernel joins and whether it may; the room, and whether the kernel was asked.
        (upload(4), true, true, (joined, 1)),
        (upload(4), false, true, (one, 1)),
        (upload(4), true, false, (one, 0)),
        (upload(1), true, true, (one, 0)),
        (download, true, true, (one, 0)),
    ];
    for (n, (transfer, joins, may, expected)) in cases.into_iter().enumerate() {
        let fake = Fake::default();
        let socket = answering(&fake).offload(may);
        fake.last(|inside| inside.joins = joins);
        let rooms = [(); 2].map(|()| socket.room_for(&transfer));
        let asked = fake.last(|inside| inside.asked_to_join);
        assert_eq!((rooms, asked), ([expected.0; 2], expected.1), "case {n}");
        (0..3).for_each(|_| fake.comes(b"data", PEER));
        let received = socket.try_receive(&mut vec![0; expected.0]).expect("they came");
        let len = if expected.0 == joined { 12 } else { 4 };
        assert_eq!(received, Received::Datagrams { len, each: 4 }, "case {n}");
    }
}

#[test]
fn what_the_network_says_of_a_path_ends_nobody_and_what_it_says_of_a_port_does() {
    let (nothing, unreachable) = (Ok(Received::Nothing), Ok(Received::Unreachable));
    let cases = [
        (Errno::ECONNREFUSED, unreachable, unreachable, 0),
        (Errno::EHOSTUNREACH, nothing, unreachable, 1),
        (Errno::ENETUNREACH, nothing, unreachable, 1),
        (Errno::EMSGSIZE, nothing, nothing, 1),
        (Errno::EAGAIN, nothing, nothing, 0),
        (Errno::EINTR, nothing, nothing, 0),
        (Errno::EBADF, Err(()), Err(()), 0),
        (Errno::EINVAL, Err(()), Err(()), 0),
    ];
    for (errno, of_peer, of_server, forgotten) in cases {
        let fake = Fake::default();
        let asking = TransferSocket::ask(&fake, PEER).expect("a socket");
        for (socket, expected) in [(asking, of_server), (answering(&fake), of_peer)] {
            fake.all(|inside| inside.came = [(Err(errno), PEER)].into());
            let received = socket.try_receive(&mut [0; 9]).map_err(drop);
            assert_eq!(received, expected, "{errno}, connected: {}", socket.is_connected());
        }
        fake.all(|inside| assert_eq!(inside.forgotten, forgotten, "{errno} stays news for ever"));
    }
}

#[test]
fn a_transfer_has_a_port_of_the_range_that_is_free_as_long_as_there_is_one() {
    let (fake, range) = (Fake::default(), PortRange::new(5000, 5004).expect("a range"));
    let next = || TransferSocket::answer(&fake, LOCAL, PEER, Some(range));
    let ports = [(); 5].map(|()| {
        let socket = next().expect("one is free");
        socket.local_address().expect("an address").port()
    });
    assert_eq!(ports, [5004, 5000, 5001, 5002, 5003], "it begins where chance has it");
    assert_eq!(next().map(drop).map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
}

#[test]
fn who_has_bound_the_port_of_requests_has_no_say_in_the_ports_of_transfers() {
    let (fake, range) = (Fake::default(), PortRange::new(5000, 5004).expect("a range"));
    // Whatever it is, this system takes it for a socket.
    let given = || std::fs::File::open("/dev/null").expect("it is there").into();
    for (adopted, ports) in [(false, Some(range)), (true, Some(range)), (true, None)] {
        let port = match adopted {
            true => RequestSocket::adopt(&fake, given(), ports),
            false => RequestSocket::bind(&fake, (LOCAL, 0).into(), ports),
        };
        let answer = port.and_then(|port| port.answer(&fake, LOCAL, PEER, 1)).expect("a socket");
        let port = answer.local_address().expect("an address").port();
        assert_eq!((5000..=5004).contains(&port), ports.is_some(), "{port}, adopted: {adopted}");
    }
}

#[test]
fn a_transfer_never_has_the_port_of_its_own_peer() {
    let fake = Fake::default();
    let peer = SocketAddr::new(LOCAL, FIRST_PORT);
    let socket = TransferSocket::answer(&fake, LOCAL, peer, None).expect("a socket");
    assert_ne!(socket.local_address().expect("an address"), peer, "it would talk to itself");
    assert_eq!(fake.last(|inside| inside.peer), Some(peer));
}

#[test]
fn a_port_that_cannot_be_bound_for_another_reason_is_no_sign_that_all_are_in_use() {
    let (fake, range) = (Fake::default(), PortRange::new(5000, 5004).expect("a range"));
    fake.state().refuses = Some(Errno::EACCES);
    let refused = TransferSocket::answer(&fake, LOCAL, PEER, Some(range));
    let refused = refused.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::PermissionDenied));
}

#[test]
fn a_burst_leaves_in_as_few_calls_as_the_kernel_and_the_device_allow() {
    let burst = |packets: usize| vec![7; packets * 4];
    let send = |socket: &TransferSocket, packets| {
        let (bytes, packet) = (&burst(packets)[..], 4);
        let burst = Burst { bytes, packet, packets: packets as u64, resent: 0, is_probe: false };
        socket.send(burst, false).map_err(|error| error.raw_os_error())
    };
    let eperm = Some(Errno::EPERM as i32);
    // Whether it can be cut, and what is said of what is; what is said of a burst, and the bytes in each call and the cut.
    let cases = [
        (true, None, 3, Ok(0), vec![(12, Some(4))]),
        (true, None, 70, Ok(0), vec![(256, Some(4)), (24, Some(4))]),
        (true, None, 1, Ok(0), vec![(4, None)]),
        (false, None, 3, Ok(0), vec![(4, None); 3]),
        (true, Some(Errno::EIO), 3, Ok(0), vec![(4, None); 3]),
        (true, Some(Errno::EMSGSIZE), 3, Ok(0), vec![(4, None); 3]),
        (true, Some(Errno::EINVAL), 3, Ok(0), vec![(4, None); 3]),
        (true, Some(Errno::EOPNOTSUPP), 3, Ok(0), vec![(4, None); 3]),
        // It is no reason to send the rest one by one.
        (true, Some(Errno::EPERM), 3, Err(eperm), vec![]),
    ];
    for (cuts, fails, packets, told, calls) in cases {
        let case = format!("{packets} packets, cut: {cuts}, {fails:?}");
        let fake = Fake::default();
        let socket = answering(&fake);
        fake.last(|inside| (inside.cuts, inside.fails_to_cut) = (cuts, fails));
        for _ in 0..2 {
            assert_eq!(send(&socket, packets), told, "{case}");
            let sent = fake.last(|inside| std::mem::take(&mut inside.sent));
            let sent: Vec<_> = sent.iter().map(|sent| (sent.bytes.len(), sent.cut)).collect();
            assert_eq!(sent, calls, "{case}");
        }
    }
    let fake = Fake::default();
    let socket = answering(&fake).offload(false);
    fake.last(|inside| inside.cuts = true);
    assert_eq!((send(&socket, 3), fake.sent().len()), (Ok(0), 3), "nobody is to cut anything");
    fake.last(|inside| inside.room = 2);
    assert_eq!((send(&socket, 3), fake.sent().len()), (Ok(4), 2), "for the third there is no room");
}

#[test]
fn a_socket_has_the_family_and_the_interface_of_its_peer() {
    let of = |text: &str| text.parse::<SocketAddr>().expect("an address");
    for (peer, local, bound) in [
        ("192.0.2.1:9", "192.0.2.2", "192.0.2.2:1000"),
        ("[2001:db8::1]:9", "2001:db8::2", "[2001:db8::2]:1000"),
        // Without its interface a link-local address cannot be bound.
        ("[fe80::1%7]:9", "fe80::2", "[fe80::2%7]:1000"),
    ] {
        let fake = Fake::default();
        let local = local.parse().expect("an address");
        let socket = TransferSocket::answer(&fake, local, of(peer), None).expect("a socket");
        assert_eq!(socket.local_address().expect("bound"), of(bound), "{peer}");
        assert_eq!((socket.peer(), socket.is_connected()), (of(peer), true));
        assert_eq!(fake.last(|inside| inside.peer), Some(of(peer)));
        let any = if of(peer).is_ipv4() { "0.0.0.0:1001" } else { "[::]:1001" };
        let asking = TransferSocket::ask(&fake, of(peer)).expect("a socket");
        assert_eq!(asking.local_address().expect("bound"), of(any), "{peer} is asked");
        assert_eq!((asking.peer(), asking.is_connected()), (of(peer), false));
        // What this system's paths carry is known of IPv4, and Ethernet's of IPv6.
        let block = TransferSocket::path_block_size(&fake, of(peer)).get();
        assert_eq!(block, if of(peer).is_ipv4() { 1468 } else { 1448 }, "{peer}");
    }
}

#[test]
fn the_first_answer_of_the_server_is_taken_and_strangers_are_turned_away() {
    let another_port = SocketAddr::new(LOCAL, 4000);
    let stranger = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), 4000);
    // What comes, whether it is taken where the server sent it, and whether it is answered where another did.
    let cases = [
        (&b"\0\x03\0\x01abc"[..], true, true),
        (b"\0\x04\0\0", true, true),
        (b"\0\x06blksize\x001024\0", true, true),
        // It is refused, and has to be heard for that.
        (b"\0\x06blksize", true, true),
        // Two who answer each other's would never end.
        (b"\0\x05\0\x01no\0", true, false),
        (b"\0\x01f\0octet\0", false, true),
        (b"words", false, true),
    ];
    for (datagram, is_taken, is_answered) in cases {
        for from in [another_port, stranger] {
            let fake = Fake::default();
            let socket = TransferSocket::ask(&fake, PEER).expect("a socket");
            fake.comes(datagram, from);
            let received = socket.try_receive(&mut [0; 100]).expect("it is no error");
            let first = Received::First { len: datagram.len(), from };
            let is_expected = is_taken && from == another_port;
            let expected = if is_expected { first } else { Received::Nothing };
            assert_eq!(received, expected, "{datagram:?} from {from}");
            let sent = fake.last(|inside| std::mem::take(&mut inside.sent));
            let told: Vec<_> = sent.iter().map(|sent| (sent.to, &sent.bytes[..4])).collect();
            let expected =
                (is_answered && from == stranger).then_some((from, &b"\0\x05\0\x05"[..]));
            assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{datagram:?} from {from}");
        }
    }
}

#[test]
fn who_has_settled_on_a_port_hears_nothing_of_what_others_said_before() {
    let (fake, tid) = (Fake::default(), SocketAddr::new(LOCAL, 4000));
    let socket = TransferSocket::ask(&fake, PEER).expect("a socket");
    fake.last(|inside| {
        inside.came = [Ok(b"a".to_vec()), Err(Errno::ECONNREFUSED), Ok(b"b".to_vec())]
            .map(|came| (came, PEER))
            .into();
    });
    assert!(!socket.is_connected());
    socket.settle(tid).expect("settled");
    assert_eq!((socket.peer(), socket.is_connected()), (tid, true));
    assert_eq!(socket.try_receive(&mut [0; 9]).expect("a look"), Received::Nothing);
    socket.say(b"word");
    let sent = fake.last(|inside| std::mem::take(&mut inside.sent));
    assert_eq!(sent, [Sent { bytes: b"word".to_vec(), cut: None, to: tid }]);
}

#[test]
fn one_packet_answers_a_client_from_its_own_port_or_from_that_which_was_asked() {
    for (is_shared, sockets) in [(false, 2), (true, 1)] {
        let fake = Fake::default();
        let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
        let port = if is_shared { port.for_all() } else { port };
        port.answer_once(&fake, LOCAL, PEER, b"packet").expect("sent");
        let sent = fake.last(|inside| std::mem::take(&mut inside.sent));
        assert_eq!(sent, [Sent { bytes: b"packet".to_vec(), cut: None, to: PEER }]);
        assert_eq!(fake.state().sockets.len(), sockets, "shared port: {is_shared}");
    }
}

#[test]
fn a_port_for_all_has_the_room_for_what_all_say_and_keeps_what_it_was_given() {
    let wanted = limits::SHARED_RECEIVE_BYTES;
    for (had, has) in [(1 << 16, wanted), (2 * wanted, 2 * wanted)] {
        let fake = Fake::default();
        let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
        fake.last(|inside| inside.receive_buffer = had);
        let port = port.for_all();
        assert_eq!(fake.last(|inside| inside.receive_buffer), has, "it had {had} bytes");
        drop(port);
    }
}

#[test]
fn requests_come_as_many_as_there_is_room_for_with_who_asked_and_where() {
    let fake = Fake::default();
    let port = RequestSocket::bind(&fake, (LOCAL, 0).into(), None).expect("a port");
    for (datagrams, all) in [(1, [1, 1, 1, 0]), (2, [2, 1, 0, 0])] {
        let mut room = RequestRoom::new(datagrams, 4);
        for datagram in [&b"abc"[..], b"", b"abcdef"] {
            fake.comes(datagram, PEER);
        }
        let mut whole = Vec::new();
        for come in all {
            let told = port.receive(&mut room).map_err(|error| error.kind());
            assert_eq!(told, if come > 0 { Ok(()) } else { Err(ErrorKind::WouldBlock) });
            assert_eq!(room.is_full(), come == datagrams, "{come} of {datagrams}");
            let received = room.received().map(|one| one.expect("it may be answered"));
            let received: Vec<_> = received.map(|(bytes, from)| (bytes.to_vec(), from)).collect();
            assert_eq!(received.len(), come);
            whole.extend(received);
        }
        let from = |len| Requested { len, peer: PEER, local: LOCAL };
        let cut = b"abcd".to_vec();
        assert_eq!(whole, [(b"abc".to_vec(), from(3)), (vec![], from(0)), (cut, from(4))]);
    }
}

#[test]
fn who_asked_is_known_by_the_address_that_answers_reach() {
    let of = |peer: &str, local: &str| {
        let (peer, local) = (peer.parse().ok(), local.parse().ok());
        Requested::of(Asked { len: 3, peer, local }).map(|one| one.peer.to_string())
    };
    let cases = [
        ("192.0.2.1:9", "192.0.2.2", Some("192.0.2.1:9")),
        ("[::ffff:192.0.2.1]:9", "192.0.2.2", Some("192.0.2.1:9")),
        ("[2001:db8::1]:9", "::1", Some("[2001:db8::1]:9")),
        // It is there on one interface alone.
        ("[fe80::1%7]:9", "fe80::2", Some("[fe80::1%7]:9")),
        ("192.0.2.1:9", "", None),
        ("", "192.0.2.2", None),
    ];
    for (peer, local, expected) in cases {
        assert_eq!(of(peer, local).as_deref(), expected, "{peer} at {local}");
    }
}
