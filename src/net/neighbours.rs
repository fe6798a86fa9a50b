//! Which hardware address a client has, as the kernel knows it from talking to it (its neighbour table).
//!
//! The kernel is asked about one address at a time, by netlink: where the way there leads, and who has the address there.
//! Both answers come from memory, whatever the length of the table.

use super::mac::MacAddress;
use crate::limits;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The hardware addresses of clients on the same network, as the kernel knows them. Those behind a router have none that
/// is known here.
///
/// The kernel is asked when somebody wants to know, of one client at a time, and its answer holds for a second. Nothing is
/// waited for. Before Linux 5.0 no address is known.
#[derive(Debug)]
pub struct Neighbours(Mutex<Table>);

#[derive(Debug)]
struct Table {
    socket: OwnedFd,
    sequence: u32,
    /// What was found lately, by address and interface.
    found: HashMap<(IpAddr, u32), (MacAddress, Instant)>,
}

impl Neighbours {
    /// Opens the way to the kernel's table.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Self(Mutex::new(Table { socket, sequence: 0, found: HashMap::new() })))
    }

    /// The hardware address of this client, if the kernel knows it.
    pub fn address_of(&self, client: &SocketAddr) -> Option<MacAddress> {
        let scope = if let SocketAddr::V6(v6) = client { v6.scope_id() } else { 0 };
        let (ip, now) = (client.ip().to_canonical(), Instant::now());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((address, since)) = table.found.get(&(ip, scope))
            && now.duration_since(*since) < limits::NEIGHBOUR_HOLDS
        {
            return Some(*address);
        }
        let address = table.look_up(ip, scope)?;
        if table.found.len() >= limits::NEIGHBOURS {
            table.found.clear();
        }
        table.found.insert((ip, scope), (address, now));
        Some(address)
    }
}

// <linux/netlink.h>, <linux/rtnetlink.h>, <linux/neighbour.h>
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const REQUEST: u16 = 1;
const ROUTE_TO: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_VIA: u16 = 18;
const NEIGHBOUR_IP: u16 = 1;
const NEIGHBOUR_MAC: u16 = 2;
/// It does not answer (incomplete, failed).
const NOT_THERE: u16 = 0x01 | 0x20;

const HEADER: usize = 16;
/// Both a route and a neighbour have so much in front of their attributes.
const FIXED: usize = 12;

impl Table {
    fn look_up(&mut self, ip: IpAddr, scope: u32) -> Option<MacAddress> {
        let interface = if scope == 0 { self.interface_to(ip)? } else { scope };
        let (family, bytes) = raw(ip);
        let mut fixed = [0; FIXED];
        fixed[0] = family;
        fixed[4..8].copy_from_slice(&interface.to_ne_bytes());
        let answer = self.ask(GET_NEIGHBOUR, fixed, (NEIGHBOUR_IP, &bytes), NEW_NEIGHBOUR)?;
        let state = u16::from_ne_bytes(answer.get(8..10)?.try_into().ok()?);
        let address = attribute(&answer, NEIGHBOUR_MAC)?.try_into().ok()?;
        let is_there = state & NOT_THERE == 0 && address != [0; 6];
        is_there.then_some(MacAddress(address))
    }

    /// The interface where this address is at the other end of the wire.
    fn interface_to(&mut self, ip: IpAddr) -> Option<u32> {
        let (family, bytes) = raw(ip);
        let mut fixed = [0; FIXED];
        fixed[..2].copy_from_slice(&[family, bytes.len() as u8 * 8]);
        let answer = self.ask(GET_ROUTE, fixed, (ROUTE_TO, &bytes), NEW_ROUTE)?;
        let is_behind = |kind| attribute(&answer, kind).is_some();
        if is_behind(ROUTE_GATEWAY) || is_behind(ROUTE_VIA) {
            return None;
        }
        let interface = attribute(&answer, ROUTE_INTERFACE)?.try_into().ok()?;
        Some(u32::from_ne_bytes(interface))
    }

    /// What the kernel answers, from its fixed part on, if it is of the `wanted` kind.
    fn ask(
        &mut self,
        kind: u16,
        fixed: [u8; FIXED],
        (attribute, value): (u16, &[u8]),
        wanted: u16,
    ) -> Option<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let len = HEADER + FIXED + 4 + value.len();
        let mut message = Vec::with_capacity(len);
        message.extend((len as u32).to_ne_bytes());
        message.extend([kind, REQUEST].map(u16::to_ne_bytes).as_flattened());
        message.extend([self.sequence, 0].map(u32::to_ne_bytes).as_flattened());
        message.extend(fixed);
        message.extend([4 + value.len() as u16, attribute].map(u16::to_ne_bytes).as_flattened());
        message.extend(value);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::DONTWAIT, &kernel).ok()?;
        let mut buffer = [0; 4096];
        // The answer is there before the question is sent; others may stand before it that nobody took.
        for _ in 0..limits::NEIGHBOUR_ANSWERS {
            let (_, len) = recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT).ok()?;
            let answer = &buffer[..len.min(buffer.len())];
            let sequence = answer.get(8..12).map(|bytes| bytes == self.sequence.to_ne_bytes());
            if sequence == Some(true) {
                let is_wanted = answer[4..6] == wanted.to_ne_bytes();
                return is_wanted.then(|| answer.get(HEADER..).map(<[u8]>::to_vec)).flatten();
            }
        }
        None
    }
}

/// The address family and the bytes of an address.
fn raw(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => (AddressFamily::INET.as_raw() as u8, v4.octets().into()),
        IpAddr::V6(v6) => (AddressFamily::INET6.as_raw() as u8, v6.octets().into()),
    }
}

/// The value of an attribute behind the fixed part of an answer.
fn attribute(answer: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = answer.get(FIXED..)?;
    loop {
        let number = |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let (len, kind) = (usize::from(number(0)?), number(2)?);
        let value = rest.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_broken_ones_are_none() {
        let of = |attributes: &[u8]| [&[0; FIXED][..], attributes].concat();
        let [five, three] = [5u16, 3].map(u16::to_ne_bytes);
        let [kind, other] = [7u16, 9].map(u16::to_ne_bytes);
        let first = [&five[..], &other, &[1, 0, 0, 0]].concat();
        let both = of(&[&first[..], &five, &kind, &[2]].concat());
        assert_eq!([attribute(&both, 9), attribute(&both, 7)], [Some(&[1][..]), Some(&[2])]);
        assert_eq!([attribute(&both, 8), attribute(&both[..both.len() - 1], 7)], [None; 2]);
        // One that says to be shorter than its own head would never end.
        assert_eq!(attribute(&of(&[&three[..], &other, &[0; 8]].concat()), 7), None);
        assert_eq!(attribute(&[], 7), None);
    }

    #[test]
    fn what_was_found_holds_for_a_moment_and_for_the_interface_where_it_was_found() {
        let neighbours = Neighbours::open().expect("a way to the kernel");
        let mac = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 7]);
        // However busy this machine is, the one is not over yet.
        let now = Instant::now();
        let later = now + 1000 * limits::NEIGHBOUR_HOLDS;
        let of = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let before = now.checked_sub(limits::NEIGHBOUR_HOLDS).expect("it has run for a while");
        let found = [("[fe80::7%1]:0", later), ("192.0.2.7:0", later), ("192.0.2.8:0", before)];
        let mut table = neighbours.0.lock().expect("no panic");
        for (client, since) in found.map(|(client, since)| (of(client), since)) {
            let scope = if let SocketAddr::V6(v6) = client { v6.scope_id() } else { 0 };
            table.found.insert((client.ip(), scope), (mac, since));
        }
        drop(table);
        for (client, is_known) in [
            ("[fe80::7%1]:2000", true),
            // An address on one link may be another machine's on another link.
            ("[fe80::7%2]:2000", false),
            ("192.0.2.7:2000", true),
            ("[::ffff:192.0.2.7]:2000", true),
            ("192.0.2.8:2000", false),
        ] {
            let known = neighbours.address_of(&of(client));
            assert_eq!(known, is_known.then_some(mac), "{client}");
        }
    }

    #[test]
    fn this_machine_itself_and_addresses_that_lead_nowhere_have_no_hardware_address() {
        let neighbours = Neighbours::open().expect("a way to the kernel");
        for client in ["127.0.0.1:7", "[::1]:7", "[::ffff:127.0.0.1]:7", "[fe80::1%1]:7"] {
            let client = client.parse().expect("an address");
            assert_eq!(neighbours.address_of(&client), None, "{client}");
        }
    }

    #[test]
    fn the_kernel_says_which_interface_leads_to_an_address() {
        let neighbours = Neighbours::open().expect("a way to the kernel");
        let mut table = neighbours.0.lock().expect("no panic");
        let lo = std::fs::read_to_string("/sys/class/net/lo/ifindex").expect("there is a loopback");
        let lo = lo.trim().parse().ok();
        for ip in ["127.0.0.1", "127.1.2.3", "::1"].map(|text| text.parse().expect("an address")) {
            assert_eq!(table.interface_to(ip), lo, "{ip}");
        }
        // Other questions have other numbers, and an answer that nobody took is none to the next.
        let question = (ROUTE_TO, &[127, 0, 0, 1][..]);
        let fixed = [2, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(table.ask(GET_ROUTE, fixed, question, NEW_NEIGHBOUR), None, "of another kind");
        assert_eq!(
            table.ask(0xfff0, fixed, question, NEW_ROUTE),
            None,
            "it knows no such question"
        );
        assert!(table.ask(GET_ROUTE, fixed, question, NEW_ROUTE).is_some());
    }
}
