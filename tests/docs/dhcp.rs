//! What dnsmasq tells firmware that asks DHCP how to boot, by the configurations of a page.

use crate::common::{apart, child, next, until};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::Duration;

/// Firmware: the number of its architecture (RFC 4578), and whether it is iPXE.
pub(crate) type Firmware = (u16, bool);

/// Who asks has this address, where somebody else gave it one.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const DNSMASQ: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A program that runs, for as long as this lives.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What each firmware is told to read, and from where, by a dnsmasq with this configuration: the name of a file, and the
/// address of a server. The interface `far1` goes to where they are.
pub(crate) fn told(config: &str, all: &'static [Firmware]) -> Vec<(String, Ipv4Addr)> {
    let mut holder = Command::new("unshare");
    let holder = holder.args(["--net", "sh", "-c", "echo there && exec sleep 60"]);
    let mut holder = Running(child::started(holder.env("PATH", apart::path())));
    let out = child::lines(holder.0.stdout.take().expect("a pipe"));
    assert_eq!(next("a network", &out), "there");
    let place = format!("/proc/{}/ns/net", holder.0.id());
    let line = format!(
        "ip link set far1 netns {} && nsenter --net={place} sh -c 'ip addr add {OWN}/24 dev far1 && \
         ip link set far1 up && ip route add default dev far1'",
        holder.0.id()
    );
    let mut sh = Command::new("sh");
    let done = child::output(sh.args(["-c", &line]).env("PATH", apart::path()));
    assert!(done.status.success(), "{line}: {}", child::text(&done));
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args(["--no-daemon", "--no-ping", "--leasefile-ro", "--log-facility=-"]);
    let dnsmasq = dnsmasq.arg(format!("--conf-file={config}")).env("PATH", apart::path());
    let mut dnsmasq = Running(child::started(dnsmasq));
    let log = child::lines(dnsmasq.0.stderr.take().expect("a pipe"));
    while !next("dnsmasq, which serves", &log).contains("-dhcp[") {}
    let asked: JoinHandle<Vec<_>> = std::thread::spawn(move || {
        // This thread alone is there.
        let place = File::open(place).expect("a network");
        setns(place, CloneFlags::CLONE_NEWNET).expect("a network");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).expect("the port of clients");
        socket.set_broadcast(true).expect("a broadcast");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        all.iter().map(|firmware| boot(&socket, *firmware)).collect()
    });
    asked.join().expect("answers")
}

/// As firmware does it: an offer, and where there is no file in it, a request to the boot server for what is first in the
/// menu.
fn boot(socket: &UdpSocket, firmware: Firmware) -> (String, Ipv4Addr) {
    let offer = ask(socket, &packet(1, firmware, None), (Ipv4Addr::BROADCAST, 67).into());
    if let Some(found) = file(&offer) {
        return found;
    }
    // Of the menu, behind the number of the option and its length, the number of the first item.
    let item = option(&offer, 43)
        .and_then(|menu| Some(option_in(menu, 9)?.get(..2)?.to_vec()))
        .map(|item| [item[0], item[1]]);
    let answer = ask(socket, &packet(3, firmware, item), (DNSMASQ, 4011).into());
    file(&answer).unwrap_or_else(|| panic!("{firmware:?} gets no file"))
}

fn ask(socket: &UdpSocket, packet: &[u8], server: SocketAddr) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[4..8].copy_from_slice(&rand::random::<[u8; 4]>());
    // As firmware does it, which asks again after a while.
    until("an answer", || {
        socket.send_to(&packet, server).expect("sent");
        let mut buffer = [0; 2048];
        let (len, _) = socket.recv_from(&mut buffer).ok()?;
        (buffer[4..8] == packet[4..8]).then(|| buffer[..len].to_vec())
    })
}

/// A message of this type (RFC 2132), with what PXE adds.
fn packet(kind: u8, (architecture, is_ipxe): Firmware, item: Option<[u8; 2]>) -> Vec<u8> {
    let mut out = vec![0; 236];
    out[..4].copy_from_slice(&[1, 1, 6, 0]);
    // The answer by broadcast.
    out[10] = 0x80;
    if kind == 3 {
        out[12..16].copy_from_slice(&OWN.octets());
    }
    out[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    out.extend([0x63, 0x82, 0x53, 0x63]);
    let mut add = |code: u8, value: &[u8]| {
        out.extend([code, value.len() as u8]);
        out.extend(value);
    };
    add(53, &[kind]);
    add(60, format!("PXEClient:Arch:{architecture:05}:UNDI:003016").as_bytes());
    add(93, &architecture.to_be_bytes());
    add(94, &[1, 3, 16]);
    add(97, &[0; 17]);
    add(55, &[1, 3, 43, 60, 66, 67]);
    if is_ipxe {
        add(175, &[177, 1, 1]);
    }
    if let Some([high, low]) = item {
        add(43, &[71, 4, high, low, 0, 0, 255]);
    }
    out.push(255);
    out
}

/// The file that it names, and the server.
fn file(packet: &[u8]) -> Option<(String, Ipv4Addr)> {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let name = [Some(&packet[108..236]), option(packet, 67)].into_iter().flatten().map(text);
    let server = Ipv4Addr::new(packet[20], packet[21], packet[22], packet[23]);
    name.into_iter().find(|name| !name.is_empty()).map(|name| (name, server))
}

fn option(packet: &[u8], code: u8) -> Option<&[u8]> {
    option_in(&packet[240..], code)
}

fn option_in(mut options: &[u8], code: u8) -> Option<&[u8]> {
    while let [found, len, rest @ ..] = options {
        let (value, behind) = rest.split_at_checked(usize::from(*len))?;
        if *found == code {
            return Some(value);
        }
        options = behind;
    }
    None
}
