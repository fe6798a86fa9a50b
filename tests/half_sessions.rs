//! Ten thousand requests whose senders never say another word, while another client downloads over and over. It gets
//! every byte every time; how long that takes, alone and beside them, is printed and not judged:
//! `DOWNLOADS=300 cargo test --release --test half_sessions -- --nocapture`.
//!
//! What loopback addresses may do nobody else may, so all of it happens between other addresses, in a network that the
//! test makes for itself.

mod common;

use common::apart::in_own_network;
use common::{Daemon, Peer, folder, joined, pattern, rrq, setting};
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use std::cell::Cell;
use std::collections::HashSet;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};
use tftpkit::client::Client;
use tftpkit::limits;

/// Where the server and the client in peace are, and where everybody else is.
const NETWORK: &str =
    "ip link set lo up && ip address add 192.0.2.1/24 dev lo && ip address add 10.0.0.1/8 dev lo";

const HALF_SESSIONS: u32 = 10_000;

/// No more requests at once than the server's buffer holds. The next ones wait until it has looked at these, however little
/// of a processor it gets.
const AT_ONCE: u32 = 50;

/// How many of their sessions the server holds at once, at least, or nobody stands in the client's way: half of what
/// one network may have.
const HELD: usize = limits::SESSIONS / 8;

/// What the client in peace does beside them, at least; `DOWNLOADS` says how many.
const DOWNLOADS: usize = 100;

/// From whom requests come: so many addresses with so many ports each.
#[derive(Clone, Copy)]
struct Crowd {
    what: &'static str,
    addresses: u32,
    /// From each address to the next.
    step: u32,
}

const CROWDS: [Crowd; 2] = [
    Crowd { what: "one network", addresses: 250, step: 1 },
    Crowd { what: "10,000 networks", addresses: HALF_SESSIONS, step: 256 },
];

/// Those who ask and say no more. Their ports stay open, or the network would tell that they are gone.
struct Silent {
    sockets: Vec<UdpSocket>,
    sessions: HashSet<SocketAddr>,
}

impl Silent {
    /// Sends a request from everyone of `crowd`.
    fn ask(crowd: Crowd, server: SocketAddrV4) -> Self {
        let mut silent = Self { sockets: Vec::new(), sessions: HashSet::new() };
        let last = Peer::at(*server.ip(), server.into());
        for _ in 0..HALF_SESSIONS / crowd.addresses {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a time limit");
            silent.sockets.push(socket);
            for n in 0..crowd.addresses {
                silent.ask_from(Ipv4Addr::from_bits(0x0a_00_00_02 + n * crowd.step), server);
                if n % AT_ONCE == AT_ONCE - 1 {
                    silent.hear();
                    // An ERROR that is no longer than its request is never withheld.
                    last.answer(&rrq("a name that is long and not there", &[]));
                }
            }
        }
        silent
    }

    fn ask_from(&self, source: Ipv4Addr, server: SocketAddrV4) {
        let socket = self.sockets.last().expect("a socket");
        let source = in_addr { s_addr: source.to_bits().to_be() };
        let info =
            in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
        let request = rrq("file", &[]);
        let (from, to) = ([ControlMessage::Ipv4PacketInfo(&info)], SockaddrIn::from(server));
        let bytes = [IoSlice::new(&request)];
        sendmsg(socket.as_raw_fd(), &bytes, &from, MsgFlags::empty(), Some(&to)).expect("sent");
    }

    /// Takes what has come, from a port for each session; some of it are repeats, so there is no end to wait for.
    fn hear(&mut self) {
        let socket = self.sockets.last().expect("a socket");
        let answers = (0..2 * AT_ONCE).map_while(|_| Some(socket.recv_from(&mut [0; 600]).ok()?.1));
        self.sessions.extend(answers);
    }
}

/// Downloads so often, and until it is `enough`; how long each took, sorted.
fn download(server: SocketAddr, bytes: &[u8], enough: impl Fn() -> bool) -> Vec<Duration> {
    let client = Client::new(server);
    let (mut times, least) = (Vec::new(), setting("DOWNLOADS").unwrap_or(DOWNLOADS));
    while times.len() < least || !enough() {
        let begun = Instant::now();
        // The client's own patience ends what hangs. On a busy machine a download in this rush takes long, and that is
        // not what is judged.
        assert!(client.read("file").expect("a download") == bytes);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times
}

fn show(what: &str, times: &[Duration]) {
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    let (half, most, longest) = (at(50), at(99), at(100));
    println!(
        "  {what:24} {:5} downloads  p50 {half:7.2} ms  p99 {most:7.2} ms  longest {longest:8.2} ms",
        times.len()
    );
}

fn beside(crowd: Crowd, model: &str) {
    let bytes = pattern(100_000, 1);
    let root = folder(&[("file", &bytes)]);
    let mut command = Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "192.0.2.1:0", "--model", model]);
    let daemon = Daemon::spawn(&mut command);
    let SocketAddr::V4(address) = daemon.address else { panic!("IPv6") };
    println!("{} silent clients of {}, --model {model}:", HALF_SESSIONS, crowd.what);
    show("alone", &download(daemon.address, &bytes, || true));
    let idle = daemon.descriptors();
    let asking = std::thread::spawn(move || Silent::ask(crowd, address));
    let held = Cell::new(0);
    let asked = || {
        held.set(held.get().max(daemon.descriptors().saturating_sub(idle)));
        asking.is_finished()
    };
    show("while they ask", &download(daemon.address, &bytes, asked));
    let silent = joined("all have asked", asking);
    show("when all have asked", &download(daemon.address, &bytes, || true));
    let (held, answered) = (held.get(), silent.sessions.len());
    println!("  {answered} of them were answered, {held} sessions were held at once");
    assert!(held >= HELD, "{held} at once are no crowd of {}", crowd.what);
}

#[test]
fn a_client_downloads_in_peace_beside_ten_thousand_that_fell_silent() {
    let test = a_client_downloads_in_peace_beside_ten_thousand_that_fell_silent;
    if !in_own_network(test, NETWORK) {
        return;
    }
    for (crowd, model) in CROWDS.map(|crowd| ["threads", "events"].map(|m| (crowd, m))).concat() {
        beside(crowd, model);
    }
}
