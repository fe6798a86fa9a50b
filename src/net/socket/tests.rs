use super::*;
use crate::net::fake::{FIRST_PORT, Fake};
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
    }
}

#[test]
fn what_the_network_says_of_a_path_ends_nobody_and_what_it_says_of_a_port_does() {
    let (nothing, unreachable) = (Ok(Received::Nothing), Ok(Received::Unreachable));
    let cases = [
        (Errno::ECONNREFUSED, unreachable, unreachable),
        (Errno::EHOSTUNREACH, nothing, unreachable),
        (Errno::ENETUNREACH, nothing, unreachable),
        (Errno::EMSGSIZE, nothing, nothing),
        (Errno::EAGAIN, nothing, nothing),
        (Errno::EINTR, nothing, nothing),
        (Errno::EBADF, Err(()), Err(())),
        (Errno::EINVAL, Err(()), Err(())),
    ];
    for (errno, of_peer, of_server) in cases {
        let fake = Fake::default();
        let asking = TransferSocket::ask(&fake, PEER).expect("a socket");
        for (socket, expected) in [(asking, of_server), (answering(&fake), of_peer)] {
            fake.all(|inside| inside.came = [(Err(errno), PEER)].into());
            let received = socket.try_receive(&mut [0; 9]).map_err(drop);
            assert_eq!(received, expected, "{errno}, connected: {}", socket.is_connected());
        }
    }
}

#[test]
fn a_transfer_has_a_port_of_the_range_that_is_free_as_long_as_there_is_one() {
    let (fake, range) = (Fake::default(), PortRange::new(5000, 5004).expect("a range"));
    let next = || TransferSocket::answer(&fake, LOCAL, PEER, Some(range));
    let mut ports = [(); 5].map(|()| {
        let socket = next().expect("one is free");
        socket.local_address().expect("an address").port()
    });
    ports.sort_unstable();
    assert_eq!(ports, [5000, 5001, 5002, 5003, 5004]);
    assert_eq!(next().map(drop).map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
}

#[test]
fn a_transfer_never_has_the_port_of_its_own_peer() {
    let fake = Fake::default();
    let peer = SocketAddr::new(LOCAL, FIRST_PORT);
    let socket = TransferSocket::answer(&fake, LOCAL, peer, None).expect("a socket");
    assert_ne!(socket.local_address().expect("an address"), peer, "it would talk to itself");
    assert_eq!(fake.last(|inside| inside.peer), Some(peer));
}
