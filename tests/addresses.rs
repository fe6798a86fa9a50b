//! Addresses of the server: which interface it hears, links that have addresses of their own, addresses that come and go,
//! and the ports that everything leaves from. Links are in networks that the tests make.

mod common;

use common::apart::in_own_network;
use common::{
    Daemon, Own, Peer, Running, ack, child, folder, list, pattern, rrq, show, until, wrq,
};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tftpkit::server::Config;
use tftpkit::store::InMemory;

/// A link to another machine, `here` in this network and `there` in its own.
const LINK: &str =
    "ip link set lo up && ip link add here type veth peer name there && ip link set here up";

/// The machine at the other end of [`LINK`].
struct Neighbour(Child);

impl Neighbour {
    /// Has `there` with these addresses.
    fn with(addresses: &[&str]) -> Self {
        let mut waits = Command::new("unshare");
        let waits = waits.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let neighbour = Self(waits.spawn().expect("a machine"));
        until("it has a network of its own", || {
            let networks = ["self".into(), neighbour.id()];
            let [own, its] = networks
                .map(|id| std::fs::read_link(format!("/proc/{id}/ns/net")).expect("a network"));
            (own != its).then_some(())
        });
        ip(&format!("link set there netns {}", neighbour.id()));
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            neighbour.shell(&format!("ip address add {address} dev there {nodad}"));
        }
        neighbour.shell("ip link set there up");
        neighbour
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", self.id()), "sh", "-c", line]);
        child::output(&mut command)
    }

    fn shell(&self, line: &str) {
        let done = self.run(line);
        assert!(done.status.success(), "{line}: {}", child::text(&done));
    }

    /// What its `rtftp` gets, within two seconds.
    fn gets(&self, remote: &str) -> Result<Vec<u8>, String> {
        let rtftp = env!("CARGO_BIN_EXE_rtftp");
        let done = self.run(&format!("{rtftp} get --quiet --max-time 2 '{remote}' -o -"));
        if done.status.success() { Ok(done.stdout) } else { Err(child::text(&done)) }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(words: &str) {
    let done = child::output(Command::new("ip").args(words.split_whitespace()));
    assert!(done.status.success(), "ip {words}: {}", child::text(&done));
}

fn serve(root: &Path, listen: &str, arguments: &[&str]) -> Daemon {
    let mut command = Command::new(Daemon::program());
    Daemon::spawn(command.arg(root).args(["--listen", listen]).args(arguments))
}

#[test]
fn a_link_has_addresses_of_its_own_by_which_it_is_served() {
    if !in_own_network(a_link_has_addresses_of_its_own_by_which_it_is_served, LINK) {
        return;
    }
    let bytes = pattern(3000, 1);
    let root = folder(&[("f", &bytes)]);
    ip("address add fe80::1/64 dev here nodad");
    let neighbour = Neighbour::with(&["fe80::2/64"]);
    let _servers = [
        serve(root.path(), "[fe80::1%here]:6969", &[]),
        serve(root.path(), "[::]:6970", &["--model", "events"]),
        serve(root.path(), "[::]:6971", &["--interface", "here", "--ports", "20000-20009"]),
    ];
    let late = serve(root.path(), "[fe80::7%here]:6972", &[]);
    late.log_line(&["WARN", "does not have that address yet", "fe80::7"]);
    // The link may come up a moment later.
    until("the link carries something", || neighbour.gets("[fe80::1%there]:6969/f").ok());
    for remote in [
        "[fe80::1%there]:6969/f",
        "tftp://[fe80::1%25there]:6969/f",
        "[fe80::1%there]:6970/f",
        "[fe80::1%there]:6971/f",
    ] {
        assert_eq!(neighbour.gets(remote), Ok(bytes.clone()), "{remote}");
    }
    assert!(neighbour.gets("[fe80::7%there]:6972/f").is_err());
    ip("address add fe80::7/64 dev here nodad");
    let got = until("the address is known", || neighbour.gets("[fe80::7%there]:6972/f").ok());
    assert_eq!(got, bytes);
}

/// The way back to the client by the routes alone leads nowhere.
const TWO_WAYS: &str = "ip link set lo up && ip link add here type veth peer name there && ip link set here up \
    && ip address add 192.0.2.1/24 dev here && ip link add away type veth peer name gone && ip link set away up \
    && ip link set gone up \
    && ip route add 198.51.100.2 dev away metric 1 && ip route add 198.51.100.2 dev here metric 9 \
    && for at in all here; do echo 0 > /proc/sys/net/ipv4/conf/$at/rp_filter; done";

#[test]
fn one_interface_is_heard_and_answered_on_whatever_the_routes_say() {
    if !in_own_network(one_interface_is_heard_and_answered_on_whatever_the_routes_say, TWO_WAYS) {
        return;
    }
    let bytes = pattern(3000, 1);
    let root = folder(&[("f", &bytes)]);
    let neighbour = Neighbour::with(&["192.0.2.2/24", "198.51.100.2/32"]);
    let free = serve(root.path(), "0.0.0.0:6969", &[]);
    let bound = serve(root.path(), "0.0.0.0:6970", &["--interface", "here"]);
    // A socket that is handed over was bound to an address and to no interface.
    let socket = UdpSocket::bind("0.0.0.0:6971").expect("a socket");
    let one_port = ["--interface", "here", "--single-port"];
    let handed = Daemon::activated(&socket, &one_port, root.path());
    until("the link carries something", || neighbour.gets("192.0.2.1:6969/f").ok());
    neighbour.shell("ip route replace 192.0.2.0/24 dev there src 198.51.100.2");
    assert!(neighbour.gets("192.0.2.1:6969/f").is_err(), "the answer leaves by another link");
    assert_eq!(neighbour.gets("192.0.2.1:6970/f"), Ok(bytes.clone()));
    assert!(neighbour.gets("192.0.2.1:6970/none").is_err_and(|told| told.contains("not found")));
    // Both are deaf at any other, and the first server is not.
    let at_loopback = |daemon: &Daemon| SocketAddr::from(([127, 0, 0, 1], daemon.address.port()));
    let deaf = [&bound, &handed].map(|daemon| Peer::of(at_loopback(daemon)));
    for peer in &deaf {
        peer.ask(&rrq("f", &[]));
    }
    assert_eq!(Peer::of(at_loopback(&free)).fetch(&rrq("f", &[])), Ok(bytes.clone()));
    // Each is asked once more behind that, by its own interface.
    for (port, peer) in [6970, 6971].into_iter().zip(deaf) {
        let got = neighbour.gets(&format!("192.0.2.1:{port}/f"));
        assert_eq!(peer.pending(), [], "port {port} answers at an interface that is not its own");
        assert_eq!(got, Ok(bytes.clone()), "port {port} does not answer at its own interface");
    }
}

/// As when the master of a VRRP address changes, and changes back.
#[test]
fn an_address_that_goes_and_comes_back_is_served_again_and_a_transfer_goes_on() {
    let come = "ip link set lo up && ip address add 192.0.2.50/32 dev lo";
    if !in_own_network(
        an_address_that_goes_and_comes_back_is_served_again_and_a_transfer_goes_on,
        come,
    ) {
        return;
    }
    let root = folder(&[("f", &pattern(1200, 1))]);
    for model in ["threads", "events"] {
        let often = ["--first-interval", "0.1", "--intervals", "0.1", "0.1", "--model", model];
        let server = serve(root.path(), "192.0.2.50:0", &often);
        let peer = Peer::at([127, 0, 0, 1], server.address);
        let (first, tid) = peer.answer(&rrq("f", &[]));
        assert!(show(&first).starts_with("DATA 1 "), "{}", show(&first));
        peer.exchange(&ack(1), tid, "DATA 2 512");
        ip("address del 192.0.2.50/32 dev lo");
        let lost = peer.socket.send_to(&ack(2), tid);
        assert!(lost.is_err(), "there is no such address");
        ip("address add 192.0.2.50/32 dev lo");
        peer.exchange(&ack(2), tid, "DATA 3 176");
        peer.send(&ack(3), tid);
        server.log_line(&["sent", "complete"]);
        let again = Peer::at([127, 0, 0, 1], server.address);
        assert_eq!(again.fetch(&rrq("f", &[])), Ok(pattern(1200, 1)), "{model}");
    }
}

#[test]
fn whatever_is_sent_leaves_from_the_ports_that_are_given() {
    let root = folder(&[("f", &pattern(100, 1))]);
    for model in ["threads", "events"] {
        let own = Own::new();
        let server = own.serve(root.path(), 20, &["--model", model, "--map-rule", "a pvt"]);
        for (request, wanted) in [
            (rrq("f", &[]), "DATA 1 "),
            (rrq("f", &[("tsize", "0")]), "OACK "),
            (list("", &[]), "DATA 1 "),
            (rrq(".list", &[]), "DATA 1 "),
            (rrq("none", &[]), "ERROR 1 "),
            (rrq("../f", &[]), "ERROR 2 "),
            (rrq("pvt", &[]), "ERROR 2 "),
            (wrq("new", &[]), "ERROR 2 "),
            (b"\0\x01f\0mail\0".to_vec(), "ERROR 4 "),
            (b"\0\x09f\0octet\0".to_vec(), "ERROR 4 "),
        ] {
            let (answer, from) = server.peer().answer(&request);
            assert!(show(&answer).starts_with(wanted), "{}", show(&answer));
            let range = Own::FIRST..Own::FIRST + 20;
            assert!(range.contains(&from.port()), "{wanted}from {from}, {model}");
        }
    }
}

#[test]
fn transfers_at_a_socket_that_was_handed_over_stay_within_the_range_of_ports() {
    let own = Own::new();
    let socket = UdpSocket::bind((own.ip, 0)).expect("a socket");
    let (store, (ports, _)) = (InMemory::new(), Own::ports(2));
    store.insert("f", *b"few").expect("a file");
    let server = Running::bound(Config::default().ports(ports).socket(socket), store);
    let (_, tid) = server.peer().answer(&rrq("f", &[]));
    assert!((Own::FIRST..Own::FIRST + 2).contains(&tid.port()), "it is answered from {tid}");
}
