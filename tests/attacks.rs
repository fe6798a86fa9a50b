//! What other TFTP programs were broken by, tried on ours: each class of what was ever reported, as a table. `hostile.rs`
//! has names, links and numbers, `fixtures/timelines/` what a hostile server says in its answers, `half_sessions.rs` crowds.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::{in_own_network, path};
use common::{
    Daemon, Peer, Running, Scripted, Told, ack, child, data, error, error_code, everything_in,
    folder, pattern, rrq, show, until, wrq,
};
use programs::rtftp;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Child, Command};
use tftpkit::transfer::Outcome;
use tftpkit::wire::Packet;

/// Asks for a file once all that was sent before has been looked at.
fn serves(server: &Running) {
    assert_eq!(server.peer().fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
}

/// The last NUL is missing, or more (CVE-2021-46671, CVE-2021-31885, CVE-2020-7211): nothing but an ERROR comes back.
#[test]
fn a_request_that_is_cut_anywhere_gets_an_error_at_most() {
    let root = folder(&[("f", b"few")]);
    let server = Running::serve(root.path());
    for whole in [rrq("f", &[("blksize", "600"), ("tsize", "0")]), wrq("f", &[("timeout", "1")])] {
        let peer = server.peer();
        for len in 0..whole.len() {
            peer.ask(&whole[..len]);
        }
        serves(&server);
        let answers = peer.pending();
        assert!(answers.len() <= whole.len(), "one each");
        for (answer, _) in answers {
            let shown = show(&answer);
            // Cut behind its mode or behind an option, it is a request.
            let is_one = ["ERROR", "DATA 1 3", "OACK blksize=600"].iter();
            assert!(is_one.clone().any(|known| shown.starts_with(known)), "{shown}");
        }
    }
}

/// CVE-2003-0380, CVE-2009-2957, CVE-2002-0813 and many more: a name for which there was no room.
#[test]
fn a_name_of_any_length_is_missing_or_refused() {
    let deep = "d".repeat(200);
    let root = folder(&[("f", b"few"), (&format!("{deep}/f"), b"few")]);
    let server = Running::serve(root.path());
    for len in [1, 2, 100, 128, 255, 256, 300, 400, 490] {
        for name in ["n".repeat(len), format!("{deep}/{}", "n".repeat(len))] {
            let code = error_code(&server.peer().answer(&rrq(&name, &[])).0);
            assert_eq!(code, 1, "{len} of {}", name.len());
        }
    }
    // Longer than any request may be, up to what a datagram holds: an ERROR, if anything.
    for len in [505, 512, 600, 2000, 2048, 60_000] {
        let peer = server.peer();
        peer.ask(&rrq("n".repeat(len), &[]));
        serves(&server);
        assert!(peer.pending().iter().all(|(answer, _)| answer[1] == 5), "{len}");
    }
    assert_eq!(everything_in(root.path()).len(), 2);
}

/// CVE-2011-2199 (`utimeout`), CVE-2021-41054 (an OACK longer than its buffer): values of every length, for all options.
#[test]
fn values_of_every_length_give_an_answer_that_fits_a_block() {
    const NAMES: [&str; 8] =
        ["blksize", "windowsize", "tsize", "timeout", "utimeout", "rollover", "multicast", "other"];
    let root = folder(&[("f", b"few")]);
    let server = Running::serve(root.path());
    for len in (1..30).chain([64, 128, 255, 256, 400]) {
        for value in ["9".repeat(len), "0".repeat(len), "x".repeat(len), "-".repeat(len)] {
            for name in NAMES {
                let (answer, _) = server.peer().answer(&rrq("f", &[(name, &value)]));
                let is_known = matches!(answer[1], 3 | 5 | 6);
                assert!(is_known && answer.len() <= 516, "{name}={value}: {}", show(&answer));
            }
        }
    }
    let most = [("blksize", "65464"), ("windowsize", "65535"), ("timeout", "255")];
    let more = [("tsize", "18446744073709551615"), ("utimeout", "255000000"), ("rollover", "1")];
    let (answer, _) = server.peer().answer(&rrq("f", &[&most[..], &more].concat()));
    assert!(show(&answer).starts_with("OACK ") && answer.len() <= 512, "{}", show(&answer));
}

/// CVE-2020-6097 (an ERROR behind a request for multicast), CVE-2019-11365 (an ERROR of three bytes or fewer): to the
/// session's own port.
#[test]
fn a_session_takes_errors_of_every_length_and_nothing_shorter_than_a_packet() {
    let root = folder(&[("f", b"few"), ("long", &pattern(1500, 1))]);
    let server = Running::serve(root.path());
    for len in [0, 1, 2, 3, 4, 5, 6, 600, 60_000] {
        let peer = server.peer();
        let options = [("multicast", ""), ("tsize", "0")];
        let (answer, tid) = peer.answer(&rrq("long", &options));
        assert_eq!(show(&answer), "OACK tsize=1500");
        peer.exchange(&ack(0), tid, "DATA 1 512");
        let mut told = vec![0, 5, 0, 0];
        told.resize(len.max(4), b'x');
        peer.send(&told[..len], tid);
        if len < 4 {
            peer.exchange(&ack(1), tid, "DATA 2 512");
        } else {
            let outcome = server.outcome(&peer);
            assert!(matches!(outcome, Outcome::PeerError(..)), "{len}: {outcome:?}");
        }
    }
    serves(&server);
}

/// What has no business in a transfer: a request, DATA for a reader, blocks that were never sent, an OACK.
#[test]
fn a_download_goes_on_whatever_else_its_client_says() {
    let root = folder(&[("long", &pattern(1500, 1))]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("long", &[]));
    assert_eq!(show(&first), "DATA 1 512");
    let odd: [&[u8]; 9] = [
        &rrq("long", &[]),
        &wrq("long", &[]),
        &data(1, b"mine"),
        &data(0, b""),
        &ack(2),
        &ack(77),
        &ack(65535),
        b"\0\x06blksize\x008\0",
        b"\xff\xff\xff\xff",
    ];
    for packet in odd {
        peer.send(packet, tid);
    }
    assert_eq!(peer.rest(first, tid, 512), Ok(pattern(1500, 1)));
    server.idle();
    assert_eq!(std::fs::read(root.path().join("long")).expect("a file"), pattern(1500, 1));
}

/// CVE-2019-11366 (a race in the list of sessions), CVE-2018-8476 (sessions that are torn down while their ACKs come).
#[test]
fn sessions_that_end_while_their_packets_come_leave_nothing() {
    let root = folder(&[("f", b"few"), ("long", &pattern(200_000, 1))]);
    let server = Running::serve(root.path());
    let begin = || {
        let peer = server.peer();
        let (answer, tid) = peer.answer(&rrq("long", &[("blksize", "1000"), ("windowsize", "8")]));
        assert_eq!(show(&answer), "OACK blksize=1000 windowsize=8");
        (peer, tid)
    };
    let parties: Vec<_> = (0..100).map(|_| begin()).collect();
    for (n, (peer, tid)) in parties.iter().enumerate() {
        let stop = error(0, "no more");
        let mut packets = [ack(0), ack(8), stop, ack(3), ack(16), rrq("long", &[])];
        packets.rotate_left(n % 6);
        packets.iter().for_each(|packet| peer.send(packet, *tid));
    }
    server.idle();
    // The observer is told a moment later.
    let mut ends = Vec::new();
    until("an end for each", || {
        let told = server.told().into_iter();
        ends.extend(told.filter_map(|told| match told {
            Told::Finished(_, summary) => summary.outcome,
            _ => None,
        }));
        (ends.len() >= 100).then_some(())
    });
    assert!(ends.len() == 100 && ends.iter().all(|end| matches!(end, Outcome::PeerError(..))));
    serves(&server);
}

/// CVE-2008-4441 and others: words that a `printf` would take for its own.
#[test]
fn words_that_look_like_formats_are_logged_as_they_are() {
    const FORMAT: &str = "%s%n%x%p{}{0}";
    let root = folder(&[("f", &pattern(2000, 1))]);
    let server = Daemon::serve(root.path(), &["-v"]);
    let peer = server.peer();
    assert_eq!(error_code(&peer.answer(&rrq(FORMAT, &[(FORMAT, FORMAT)])).0), 1);
    server.log_line(&["not there", &format!("file=\"{FORMAT}\"")]);
    let mode = [b"\0\x01f\0", FORMAT.as_bytes(), b"\0"].concat();
    assert_eq!(error_code(&peer.answer(&mode).0), 4);
    let (_, tid) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    peer.send(&error(0, FORMAT), tid);
    server.log_line(&[&format!("ended by the client: {FORMAT} (code 0)")]);
}

/// Answers that a server that means harm begins with, and whether a good one behind them still counts.
fn first_answers() -> Vec<(&'static str, Vec<Vec<u8>>, bool)> {
    let bare = |code: u16, len: usize| {
        let mut packet = error(code, "");
        packet.resize(len, b'e');
        packet
    };
    let oack = |words: &[u8]| [b"\0\x06", words].concat();
    let many: Vec<u8> = (0..400).flat_map(|n| format!("option{n}\0{n}\0").into_bytes()).collect();
    let digits = format!("blksize\0{}\0", "9".repeat(4000));
    vec![
        ("packets that are none", (0..4).map(|len| vec![0; len]).collect(), true),
        ("ERRORs that are cut", vec![b"\0\x05".to_vec(), b"\0\x05\0".to_vec()], true),
        ("blocks that were not asked for", vec![data(0, b"x"), data(65535, b"x")], true),
        ("the second block before the first", vec![data(2, b"second")], true),
        ("strange opcodes", vec![vec![0, 0], vec![0, 9, 0, 1], vec![0xff; 600]], true),
        ("an ERROR without a NUL", vec![bare(4, 600)], false),
        ("an ERROR as long as can be", vec![bare(0, 65_000)], false),
        ("an ERROR that drives terminals", vec![error(0, "\x1b[2J\x07\u{9b}2J%n")], false),
        ("a block larger than was agreed", vec![data(1, &[7; 60_000])], false),
        ("an OACK that nobody asked for", vec![oack(b"blksize\x008\0")], false),
        ("an OACK of many options", vec![oack(&many)], false),
        ("an OACK of a long number", vec![oack(digits.as_bytes())], false),
        ("an OACK without its last NUL", vec![oack(b"blksize\x00512")], false),
    ]
}

/// CVE-2018-18439, CVE-2019-5482, CVE-2006-4948 and others, in clients: what a server answers first.
#[test]
fn a_hostile_server_gets_a_client_to_end_and_to_nothing_else() {
    for (what, answers, goes_on) in first_answers() {
        for options in [&["--no-options"][..], &[]] {
            let here = folder(&[]);
            let answers = answers.clone();
            let server = Scripted::new(move |packet| match packet {
                Packet::Request(_) => {
                    answers.iter().cloned().chain([data(1, b"few")]).collect::<Vec<_>>()
                }
                _ => Vec::new(),
            });
            let get = ["get", &server.remote(), "f", "--max-time", "5", "--quiet"];
            let done = rtftp(here.path()).args(get).args(options).output().expect("it ends");
            // Killed by a signal it would have none.
            let code = done.status.code().unwrap_or_else(|| panic!("{what}: {done:?}"));
            let said = child::text(&done);
            assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{what}: {said:?}");
            assert!(said.len() < 2000 && !said.contains("panicked"), "{what}: {said}");
            let file = std::fs::read(here.path().join("f")).ok();
            if goes_on {
                assert_eq!((code, file.as_deref()), (0, Some(&b"few"[..])), "{what}: {said}");
            } else if code != 0 {
                assert_eq!(everything_in(here.path()), Vec::<String>::new(), "{what}");
            } else {
                // Options that went wrong are left out, and then all is well.
                assert_eq!(file.as_deref(), Some(&b"few"[..]), "{what}: {said}");
            }
        }
    }
}

/// CVE-2006-1061: a name that fits no request that anybody reads is told, and not sent.
#[test]
fn a_client_sends_no_name_that_fits_no_request() {
    let here = folder(&[]);
    let server = Scripted::new(|_| vec![error(1, "no")]);
    for len in [500, 512, 2000, 2048, 60_000] {
        let name = "n".repeat(len);
        let get = ["get", &server.remote(), &name, "-o", "got"];
        let done = rtftp(here.path()).args(get).output().expect("it ends");
        assert!(done.status.code().is_some_and(|code| code > 0), "{len}: {done:?}");
    }
    let longest = server.heard().iter().map(String::len).max();
    assert!(longest.is_some_and(|longest| longest < 2200), "{longest:?}");
}

// ---- Loops ----

/// A datagram that says that it is from another.
fn forge(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    const IPPROTO_RAW: i32 = 255;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)));
    let len = (20 + 8 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    // The kernel puts in the checksum of IP, and UDP's may be missing.
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets().into_iter().chain(to.ip().octets()));
    packet.extend(from.port().to_be_bytes().into_iter().chain(to.port().to_be_bytes()));
    packet.extend((len - 20).to_be_bytes().into_iter().chain([0, 0]));
    packet.extend(payload);
    let sent = socket.and_then(|socket| socket.send_to(&packet, &SocketAddr::V4(to).into()));
    assert_eq!(sent.expect("sent"), packet.len());
}

/// Datagrams that anybody has sent by UDP in this network.
fn sent_by_all() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let [names, values] = [(); 2].map(|()| rows.next().expect("a row").split(' '));
    let mut both = names.zip(values);
    let (_, value) = both.find(|(name, _)| *name == "OutDatagrams").expect("a counter");
    value.parse().expect("a number")
}

/// What no server may answer to a server.
fn answers_of_servers() -> Vec<Vec<u8>> {
    let oack = b"\0\x06blksize\x00512\0".to_vec();
    let errors = (0..9).map(|code| error(code, "illegal TFTP operation"));
    errors.chain([data(1, b"few"), ack(0), ack(1), oack, vec![0], vec![0, 5], vec![]]).collect()
}

/// A datagram is on its way no longer than a request behind it, and a loop would be under way meanwhile.
const ROUNDS: u64 = 20;
/// A request, its block and the ACK of that.
const OF_A_ROUND: u64 = 3;

/// Forges each packet between these two, in both directions, and tells how many more are sent because of it than for
/// files that are fetched from both.
fn echoes(one: SocketAddrV4, other: SocketAddrV4) -> u64 {
    let before = sent_by_all();
    for packet in answers_of_servers() {
        forge(one, other, &packet);
        forge(other, one, &packet);
    }
    for _ in 0..ROUNDS {
        for server in [one, other] {
            let fetched = Peer::of(server.into()).fetch(&rrq("f", &[]));
            assert_eq!(fetched, Ok(b"few".to_vec()));
        }
    }
    sent_by_all() - before - 2 * ROUNDS * OF_A_ROUND
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())
}

/// CVE-2024-2169.
#[test]
fn two_of_ours_say_nothing_to_each_other_whatever_is_forged_between_them() {
    let test = two_of_ours_say_nothing_to_each_other_whatever_is_forged_between_them;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let root = folder(&[("f", b"few")]);
    let [one, other] = ["threads", "events"]
        .map(|model| Daemon::serve(root.path(), &["-v", "--log-rate", "0", "--model", model]));
    assert_eq!(echoes(v4(one.address), v4(other.address)), 0, "{}{}", one.log(), other.log());
    for server in [&one, &other] {
        server.log_line(&["stray packet", "peer=127.0.0.1:"]);
    }
}

/// The server of dnsmasq, which answers whatever comes, at port 69 of a network of its own.
struct Dnsmasq(Child);

impl Dnsmasq {
    const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 69);

    fn serve(root: &std::path::Path) -> Self {
        let root = root.display();
        let line = format!(
            "exec dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --port=0 --user=root --bind-interfaces \
             --listen-address=127.0.0.1 --enable-tftp --tftp-no-fail --tftp-root='{root}'"
        );
        let server =
            Self(child::started(Command::new("sh").args(["-c", &line]).env("PATH", path())));
        until("dnsmasq serves (tests/setup installs it)", || {
            let peer = Peer::of(Self::ADDRESS.into());
            peer.socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).ok()?;
            peer.ask(&rrq("f", &[]));
            let (len, tid) = peer.socket.recv_from(&mut [0; 600]).ok()?;
            peer.send(&ack(1), tid);
            (len == 7).then_some(())
        });
        server
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn one_of_ours_ends_what_another_server_begins_when_a_packet_is_forged_between_them() {
    let test = one_of_ours_ends_what_another_server_begins_when_a_packet_is_forged_between_them;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let root = folder(&[("f", b"few")]);
    common::open_to_all(root.path());
    let theirs = Dnsmasq::serve(root.path());
    let ours = Daemon::serve(root.path(), &[]);
    let most = answers_of_servers().len() as u64;
    let echoes = echoes(v4(ours.address), Dnsmasq::ADDRESS);
    // It answers each of them once, and that is the end of it.
    assert!((1..=most).contains(&echoes), "{echoes} of {most}");
    drop(theirs);
}
