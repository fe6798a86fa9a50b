use super::*;
use crate::net::{Channel, Neighbours};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{ip_mtu_discover, ipv6_mtu_discover};
use std::collections::BTreeSet;

fn v4(sent_to: [u8; 4], own: [u8; 4]) -> ControlMessageOwned {
    let address = |bytes| in_addr { s_addr: u32::from_ne_bytes(bytes) };
    ControlMessageOwned::Ipv4PacketInfo(in_pktinfo {
        ipi_ifindex: 1,
        ipi_spec_dst: address(own),
        ipi_addr: address(sent_to),
    })
}

fn v6(address: &str) -> ControlMessageOwned {
    let address: Ipv6Addr = address.parse().expect("an address");
    ControlMessageOwned::Ipv6PacketInfo(in6_pktinfo {
        ipi6_addr: in6_addr { s6_addr: address.octets() },
        ipi6_ifindex: 1,
    })
}

#[test]
fn what_was_sent_to_many_was_sent_to_no_address_of_ours() {
    let (own, broadcast) = ([192, 0, 2, 1], [192, 0, 2, 255]);
    let of = |messages: Vec<ControlMessageOwned>| {
        asked_address(messages.into_iter()).map(|address| address.to_string())
    };
    assert_eq!(of(vec![v4(own, own)]).as_deref(), Some("192.0.2.1"));
    assert_eq!(of(vec![v4(broadcast, own)]), None);
    assert_eq!(of(vec![v6("2001:db8::1")]).as_deref(), Some("2001:db8::1"));
    assert_eq!(of(vec![v6("::ffff:192.0.2.1")]).as_deref(), Some("192.0.2.1"));
    assert_eq!(of(vec![v6("ff02::1")]), None);
    // A socket of both tells of IPv4 in both ways, in any order.
    assert_eq!(of(vec![v6("::ffff:192.0.2.255"), v4(broadcast, own)]), None);
    assert_eq!(of(vec![v4(broadcast, own), v6("::ffff:192.0.2.255")]), None);
    assert_eq!(of(vec![]), None);
    // What came before the kernel was asked says where it was sent to, and not which address of ours that is.
    let unsaid = |sent_to| of(vec![v4(sent_to, [0; 4])]);
    assert_eq!(unsaid([127, 0, 0, 1]).as_deref(), Some("127.0.0.1"));
    assert_eq!(unsaid([127, 1, 2, 3]).as_deref(), Some("127.1.2.3"), "all of them are ours");
    for many in [[127, 255, 255, 255], [255; 4], [224, 0, 0, 1]] {
        assert_eq!(unsaid(many), None, "{many:?}");
    }
    for own in OWN.get_or_init(own_addresses) {
        assert_eq!(unsaid(own.octets()), Some(own.to_string()));
    }
}

#[test]
fn an_answer_leaves_by_the_interface_of_its_peer_where_that_has_one() {
    let index = |source: &str, peer: &str| {
        let source = source.parse().expect("an address");
        let info = packet_info_v6(source, peer.parse().expect("an address"));
        (IpAddr::V6(info.ipi6_addr.s6_addr.into()), info.ipi6_ifindex) == (source, 7)
    };
    assert!(index("fe80::1", "[fe80::2%7]:9"), "a link-local address is on one interface");
    assert!(!index("2001:db8::1", "[2001:db8::2]:9"));
}

#[test]
fn no_one_wakes_behind_the_time() {
    let timeout = |micros| epoll_timeout(Some(Duration::from_micros(micros)));
    let millis = |millis: u16| EpollTimeout::from(millis);
    assert_eq!([timeout(0), timeout(2000), timeout(2999)], [millis(0), millis(2), millis(2)]);
    assert_eq!(timeout(3000), millis(3));
    assert_eq!(epoll_timeout(None), EpollTimeout::NONE);
    assert!(epoll_timeout(Some(Duration::MAX)).as_millis().is_some_and(|most| most > 1 << 30));
}

#[test]
fn a_receive_buffer_grows_as_far_as_the_kernel_lets_anybody() {
    let socket = Kernel::start().bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").expect("it is Linux");
    let most: usize = most.trim().parse().expect("a number");
    // It reports the double of what it lets one ask for.
    let asked = (2 * most - 2).min(socket.receive_buffer().expect("its size") * 3 / 2) | 1;
    socket.ask_receive_buffer(asked);
    let has = socket.receive_buffer().expect("its size");
    assert!((asked..asked + 4).contains(&has), "{has} for {asked}");
}

#[test]
fn a_poller_tells_what_has_something_and_that_it_was_woken() {
    let kernel = Kernel::start();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = || {
        let socket = kernel.bind(local).expect("a socket");
        let address = socket.local_address().expect("its address");
        (socket, address)
    };
    let (poller, (one, to), (other, _)) = (kernel.poller().expect("a poller"), bound(), bound());
    poller.add(&*one, 7).expect("watched");
    poller.add(&*other, 8).expect("watched");
    let mut ready = Vec::new();
    let mut told = |most| {
        poller.wait(most, &mut ready).expect("waited");
        ready.clone()
    };
    assert!(told(Some(Duration::ZERO)).is_empty());
    other.send_to(b"x", to).expect("sent");
    assert_eq!((told(None), told(None)), (vec![7], vec![7]), "until it is taken");
    poller.remove(&*one);
    poller.wake();
    assert_eq!((told(None), told(Some(Duration::ZERO))), (vec![WOKEN], Vec::new()));
    poller.tell_of_room(&*other, 8, true).expect("told of room");
    assert_eq!(told(Some(Duration::ZERO)), [8], "there is room");
    poller.tell_of_room(&*other, 8, false).expect("told no longer");
    assert!(told(Some(Duration::ZERO)).is_empty());
}

#[test]
fn a_brief_wait_lasts_as_long_as_it_is_told_unless_something_comes() {
    let socket = Kernel::start().bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let (brief, began) = (Duration::from_millis(2), Instant::now());
    assert!(!socket.wait(brief), "nothing came");
    assert!(began.elapsed() >= brief, "{:?}", began.elapsed());
    let own = socket.local_address().expect("its address");
    socket.send_to(b"x", own).expect("sent");
    assert!(socket.wait(Duration::from_secs(3600)), "something came");
    assert!(socket.wait(Duration::ZERO), "it was not taken");
}

#[test]
fn a_brief_wait_for_many_sockets_lasts_as_long_as_it_is_told_unless_something_comes() {
    let kernel = Kernel::start();
    let socket = kernel.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let poller = kernel.poller().expect("a poller");
    poller.add(&*socket, 7).expect("watched");
    let mut ready = Vec::new();
    // Epoll knows no part of a millisecond, and who is told too early looks at the clock again and again.
    for micros in [1, 400, 900, 1900, 4999, 5000, 7000] {
        let (most, began) = (Duration::from_micros(micros), Instant::now());
        poller.wait(Some(most), &mut ready).expect("waited");
        let waited = began.elapsed();
        assert!(waited >= most && ready.is_empty(), "{waited:?} in place of {most:?}: {ready:?}");
    }
    socket.send_to(b"x", socket.local_address().expect("its address")).expect("sent");
    for micros in [0, 400, 4999] {
        poller.wait(Some(Duration::from_micros(micros)), &mut ready).expect("waited");
        assert_eq!(ready, [7], "what is there is told, {micros} us");
    }
}

/// The descriptors of this process that a program would inherit which it starts, of sockets and of what waits for them.
fn inherited() -> BTreeSet<String> {
    let all = std::fs::read_dir("/proc/self/fd").expect("it is Linux").flatten();
    let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_inherited = |name: &String| {
        let of = std::fs::read_link(format!("/proc/self/fd/{name}")).unwrap_or_default();
        let is_ours = ["socket:", "anon_inode:[eventfd]", "anon_inode:[eventpoll]"]
            .into_iter()
            .any(|kind| of.to_string_lossy().starts_with(kind));
        let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        let is_closed =
            u32::from_str_radix(flags.trim(), 8).map_or(true, |flags| flags & 0o2_000_000 != 0);
        is_ours && !is_closed
    };
    names.filter(is_inherited).collect()
}

#[test]
fn no_program_that_is_started_has_a_socket_or_a_poller_of_this_one() {
    let before = inherited();
    let kernel = Kernel::start();
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let poller = kernel.poller().expect("a poller");
    let (listening, bound) = (kernel.listen(local), kernel.bind(local));
    let shared = bound.as_ref().expect("a socket").share().expect("the same once more");
    // Whoever bound it may have left it open for us, and it is not for others.
    let given = UdpSocket::bind(local).expect("a socket");
    fcntl_setfd(&given, FdFlags::empty()).expect("it is set");
    let given = kernel.adopt(given.into());
    let (neighbours, channel) = (Neighbours::open(), Channel::pair());
    assert_eq!(inherited().difference(&before).collect::<Vec<_>>(), NONE);
    assert!(given.is_ok() && neighbours.is_ok() && channel.is_ok());
    drop((poller, listening, shared));
}

const NONE: [&String; 0] = [];

#[test]
fn a_socket_for_requests_has_the_room_for_a_crowd_and_keeps_what_it_was_given() {
    let crowd = 4 << 20;
    let kernel = Kernel::start();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").expect("it is Linux");
    let most: usize = most.trim().parse().expect("a number");
    let listening = kernel.listen(local).expect("a socket").receive_buffer().expect("its size");
    // It reports the double of what it lets one ask for.
    assert!(listening >= crowd.min(2 * most), "{listening}, and it could be {}", 2 * most);
    let given = UdpSocket::bind(local).expect("a socket");
    // Only who has the right to that gets it.
    let _ = setsockopt(&given, sockopt::RcvBufForce, &(3 * crowd));
    let had = SockRef::from(&given).recv_buffer_size().expect("its size");
    let has = kernel.adopt(given.into()).expect("taken").receive_buffer().expect("its size");
    assert!(has >= had.max(listening), "{has} of {had}");
}

#[test]
fn what_cannot_take_requests_is_not_adopted() {
    let kernel = Kernel::start();
    let adopt = |socket: OwnedFd| kernel.adopt(socket).map(drop).map_err(|why| why.to_string());
    let no_udp = Err("it is no socket for UDP over IPv4 or IPv6".to_owned());
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    assert_eq!(adopt(tcp.into()), no_udp);
    let unix = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    assert_eq!(adopt(unix.into()), no_udp);
    for domain in [Domain::IPV4, Domain::IPV6] {
        let unbound = kernel.socket(domain).expect("a socket");
        assert_eq!(adopt(unbound.into()), Err("it is bound to no port".into()));
    }
}

#[test]
fn an_address_that_is_not_there_yet_is_listened_at_and_one_that_is_taken_is_not() {
    let kernel = Kernel::start();
    // They are of documentation, and no machine has them (RFC 5737, RFC 3849).
    for absent in ["192.0.2.1", "2001:db8::1"] {
        let address: IpAddr = absent.parse().expect("an address");
        let listening = kernel.listen((address, 0).into()).map(drop);
        assert_eq!(listening.map_err(|error| error.kind()), Ok(()), "{absent} may come later");
    }
    let own = kernel.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let again = kernel.listen(own.local_address().expect("an address"));
    assert_eq!(again.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
}

/// Two sockets that are connected with each other.
fn pair(kernel: &Kernel) -> [Box<dyn Udp>; 2] {
    let pair = [(); 2].map(|()| kernel.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket"));
    for (one, other) in [(0, 1), (1, 0)] {
        let peer = pair[other].local_address().expect("its address");
        pair[one].connect(peer).expect("connected");
        pair[one].set_timeout(limits::PATIENCE).expect("a time limit");
    }
    pair
}

#[test]
fn a_burst_is_cut_into_datagrams_and_what_came_together_is_received_together() {
    let [one, other] = pair(&Kernel::start());
    let buffer = &mut [0; 100];
    one.cut(Some(4)).expect("it can be cut");
    one.send(b"aaaabbbbcc", true).expect("sent");
    let lens = [(); 3].map(|()| other.receive(buffer, true).expect("a datagram"));
    assert_eq!(lens, [4, 4, 2]);
    other.join().expect("they can be joined");
    one.send(b"aaaabbbbcc", true).expect("sent");
    assert_eq!(other.receive_joined(buffer, true).expect("all of them"), (10, 4));
    assert_eq!(&buffer[..10], b"aaaabbbbcc");
    one.cut(None).expect("it need not be cut");
    one.send(b"aaaabbbbcc", true).expect("sent");
    assert_eq!(other.receive_joined(buffer, true).expect("it is one"), (10, 10));
}

#[test]
fn a_socket_at_all_addresses_answers_from_that_which_was_asked() {
    let (kernel, buffer) = (Kernel::start(), &mut [0; 100]);
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        let socket = kernel.listen((any, 0).into()).expect("a socket");
        let port = socket.local_address().expect("its address").port();
        let client = kernel.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        let from = client.local_address().expect("its address");
        client.set_timeout(limits::PATIENCE).expect("a time limit");
        let asked = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        for request in [&b"one"[..], b"two", b"three"] {
            client.send_to(request, asked).expect("sent");
        }
        let (mut room, mut all) = (vec![0; 3 * 4], Vec::new());
        assert!(socket.wait(limits::PATIENCE), "it takes IPv4 at {any}");
        socket.receive_requests(&mut room, 4, &mut all).expect("what came");
        let told = all.iter().map(|one| (one.len, one.local)).collect::<Vec<_>>();
        assert_eq!(told, [3, 3, 4].map(|len| (len, Some(asked.ip()))), "at {any}");
        assert_eq!(room, b"one\0two\0thre");
        let peer = all[0].peer.expect("who asked");
        assert_eq!((peer.ip().to_canonical(), peer.port()), (from.ip(), from.port()));
        for (cut, lens) in [(None, &[10][..]), (Some(4), &[4, 4, 2])] {
            socket.send_from(b"aaaabbbbcc", cut, asked.ip(), from).expect("sent");
            for len in lens {
                let (got, from) = client.receive_from(buffer, true).expect("an answer");
                assert_eq!((got, from), (*len, Some(asked)), "at {any}, cut {cut:?}");
            }
        }
    }
}

#[test]
fn what_the_network_says_is_told_once_to_who_wants_to_hear_it() {
    let kernel = Kernel::start();
    for local in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let local = SocketAddr::new(local, 0);
        let (socket, closed) = (kernel.bind(local).expect("a socket"), kernel.bind(local));
        let nobody = closed.expect("a socket").local_address().expect("its address");
        socket.hear_errors().expect("they are heard");
        socket.send_to(b"x", nobody).expect("sent");
        assert!(socket.wait(limits::PATIENCE), "nobody listens at {nobody}");
        let told = socket.receive_from(&mut [0], false).map_err(|error| error.kind());
        assert_eq!(told.map(drop), Err(io::ErrorKind::ConnectionRefused), "{nobody}");
        socket.forget_error();
        assert!(!socket.wait(Duration::ZERO), "it would count as news for ever: {nobody}");
    }
}

#[test]
fn who_waits_in_a_receive_is_woken_by_the_time_or_by_a_word_and_can_still_send() {
    let [one, other] = pair(&Kernel::start());
    one.set_timeout(Duration::from_millis(1)).expect("a time limit");
    let told = one.receive(&mut [0], true).map_err(|error| error.kind());
    assert_eq!(told, Err(io::ErrorKind::WouldBlock));
    one.set_timeout(limits::PATIENCE).expect("a time limit");
    one.wake();
    assert_eq!(one.receive(&mut [0], true).expect("it waits no more"), 0);
    one.send(b"x", true).expect("sent");
    assert_eq!(other.receive(&mut [0], true).expect("it came"), 1);
}

#[test]
fn time_goes_on_threads_run_and_the_length_of_a_path_is_its_interfaces() {
    let kernel = Kernel::start();
    let (done, seen) = std::sync::mpsc::channel();
    kernel.spawn("job", Box::new(move || done.send(()).expect("waited for"))).expect("a thread");
    seen.recv_timeout(limits::PATIENCE).expect("it is run");
    let socket = kernel.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let (before, span) = (kernel.now(), Duration::from_millis(1));
    socket.wait(span);
    assert!(kernel.now() >= before + span);
    let lo = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("there is a loopback");
    // No IP packet is longer.
    let lo = lo.trim().parse().ok().map(|lo: usize| lo.min(65_535));
    let path = |ip: &str| kernel.path_bytes(SocketAddr::new(ip.parse().expect("an address"), 9));
    assert_eq!([path("127.0.0.1"), path("::1")], [lo, None]);
    assert!(own_addresses().contains(&Ipv4Addr::LOCALHOST));
}

#[test]
fn what_is_sent_may_be_cut_into_fragments_on_its_way() {
    let (kernel, v4) = (Kernel::start(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let given = || UdpSocket::bind(v4).expect("a socket").into();
    for socket in [kernel.listen(v4), kernel.bind(v4), kernel.adopt(given())] {
        let socket = socket.expect("a socket");
        let told = ip_mtu_discover(&own(&*socket).expect("its own").0).expect("it is told");
        assert_eq!(told, Ipv4PathMtuDiscovery::DONT, "boot ROMs drop what may not");
    }
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let given = UdpSocket::bind(v6).expect("a socket").into();
    for socket in [kernel.listen(v6), kernel.bind(v6), kernel.adopt(given)] {
        let socket = socket.expect("a socket");
        let socket = &own(&*socket).expect("its own").0;
        assert_eq!(ip_mtu_discover(socket).expect("it is told"), Ipv4PathMtuDiscovery::DONT);
        assert_eq!(ipv6_mtu_discover(socket).expect("it is told"), Ipv6PathMtuDiscovery::DONT);
    }
}

#[test]
fn no_random_number_comes_again() {
    let kernel = Kernel::start();
    assert_ne!(kernel.random(), kernel.random());
}
