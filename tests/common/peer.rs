//! Packets, and a client made of bare datagrams.
#![allow(dead_code)] // Each test program uses a part of it.

use super::wait::{DEADLINE, Patience, receive_within};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use tftpkit::wire::{Packet, WireBlock};

fn request(opcode: u8, name: &[u8], options: &[(&str, &str)]) -> Vec<u8> {
    let mut out = [&[0, opcode], name, b"\0octet\0"].concat();
    for word in options.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    out
}

pub(crate) fn rrq<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(1, name.as_ref(), options)
}

pub(crate) fn wrq<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(2, name.as_ref(), options)
}

pub(crate) fn list<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(7, name.as_ref(), options)
}

pub(crate) fn ack(block: u16) -> Vec<u8> {
    Packet::Ack { block: WireBlock(block) }.to_vec()
}

pub(crate) fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    Packet::Data { block: WireBlock(block), payload }.to_vec()
}

pub(crate) fn error(code: u16, text: &str) -> Vec<u8> {
    Packet::Error { code: code.into(), message: text.as_bytes() }.to_vec()
}

/// A packet as `fixtures/README.md` writes it.
pub(crate) fn show(packet: &[u8]) -> String {
    Packet::parse(packet).map_or_else(|why| format!("malformed: {why}"), |p| p.to_string())
}

/// The code of an ERROR.
pub(crate) fn error_code(packet: &[u8]) -> u16 {
    match Packet::parse(packet) {
        Ok(Packet::Error { code, .. }) => code.into(),
        _ => panic!("no ERROR: {}", show(packet)),
    }
}

/// A client that does nothing by itself.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
}

impl Peer {
    /// Bound to a port of its own on loopback.
    pub(crate) fn of(server: SocketAddr) -> Self {
        let own: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self::at(own, server)
    }

    /// The same at another of this machine's addresses.
    pub(crate) fn at(own: impl Into<IpAddr>, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((own.into(), 0)).expect("a socket");
        Self { socket, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// From now on its port is closed to all there are, though it can still send.
    pub(crate) fn close_to_others(&self) {
        self.socket.connect(self.address()).expect("a port");
    }

    /// Sends to the request port.
    pub(crate) fn ask(&self, datagram: &[u8]) {
        self.send(datagram, self.server);
    }

    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).expect("sent");
    }

    /// The first datagram of which `pick` makes something.
    #[track_caller]
    fn first<T>(&self, what: &str, mut pick: impl FnMut(&[u8], SocketAddr) -> Option<T>) -> T {
        let (mut patience, mut buffer) = (Patience::new(DEADLINE), vec![0; 65_536]);
        let mut last = None;
        loop {
            let received = receive_within(&mut patience, &self.socket, &mut buffer);
            if let Ok((len, from)) = received {
                if let Some(picked) = pick(&buffer[..len], from) {
                    return picked;
                }
                last = Some(show(&buffer[..len]));
            }
            assert!(
                received.is_ok() && !patience.is_over(),
                "waited in vain: {what}; {:?} came last",
                last.as_deref().unwrap_or("nothing")
            );
        }
    }

    /// The next datagram and who sent it.
    #[track_caller]
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        self.first("a datagram", |datagram, from| Some((datagram.to_vec(), from)))
    }

    /// The next datagram from this address.
    #[track_caller]
    pub(crate) fn receive_from(&self, tid: SocketAddr) -> Vec<u8> {
        self.first("a datagram from a TID", |datagram, from| {
            (from == tid).then(|| datagram.to_vec())
        })
    }

    /// What is there already.
    pub(crate) fn pending(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        self.socket.set_nonblocking(true).expect("nonblocking");
        let (mut found, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => found.push((buffer[..len].to_vec(), from)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return found,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks, and takes the first answer.
    #[track_caller]
    pub(crate) fn answer(&self, request: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.ask(request);
        self.receive()
    }

    /// Asks, and takes the first answer that is not from this port: what is sent again from there may come before it.
    #[track_caller]
    pub(crate) fn answer_beside(&self, old: SocketAddr, request: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.ask(request);
        self.first("an answer from another port", |datagram, from| {
            (from != old).then(|| (datagram.to_vec(), from))
        })
    }

    /// Sends, and waits for this very packet.
    #[track_caller]
    pub(crate) fn exchange(&self, datagram: &[u8], tid: SocketAddr, wanted: &str) -> Vec<u8> {
        self.send(datagram, tid);
        self.wanted(tid, wanted)
    }

    /// Waits for this very packet, in the form of [`show`]; what is sent again meanwhile is passed over.
    #[track_caller]
    pub(crate) fn wanted(&self, tid: SocketAddr, wanted: &str) -> Vec<u8> {
        self.first(wanted, |packet, from| {
            let seen = show(packet);
            assert!(seen == wanted || from != tid || !seen.starts_with("ERROR"), "{seen}");
            (from == tid && seen == wanted).then(|| packet.to_vec())
        })
    }

    /// Reads a file or a listing in lock-step; the ERROR when there is one.
    #[track_caller]
    pub(crate) fn fetch(&self, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let (first, tid) = self.answer(request);
        self.rest(first, tid, 512)
    }

    /// The same from its first packet on.
    #[track_caller]
    pub(crate) fn rest(
        &self,
        mut packet: Vec<u8>,
        tid: SocketAddr,
        block_size: usize,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let (mut bytes, mut next) = (Vec::new(), 1u16);
        loop {
            match Packet::parse(&packet) {
                Ok(Packet::Data { block, payload }) if block == WireBlock(next) => {
                    bytes.extend_from_slice(payload);
                    self.send(&ack(next), tid);
                    if payload.len() < block_size {
                        return Ok(bytes);
                    }
                    next = next.wrapping_add(1);
                }
                Ok(Packet::Oack(_)) => self.send(&ack(0), tid),
                Ok(Packet::Error { .. }) => return Err(packet),
                _ => {}
            }
            packet = self.first(&format!("DATA {next}"), |packet, from| {
                let known = matches!(Packet::parse(packet), Ok(Packet::Data { block, .. }) if block != WireBlock(next));
                (from == tid && !known).then(|| packet.to_vec())
            });
        }
    }

    /// Writes a file in lock-step; the ERROR when there is one.
    #[track_caller]
    pub(crate) fn store(&self, request: &[u8], bytes: &[u8]) -> Result<(), Vec<u8>> {
        let (first, tid) = self.answer(request);
        if matches!(Packet::parse(&first), Ok(Packet::Error { .. })) {
            return Err(first);
        }
        self.store_rest(tid, 1, bytes)
    }

    /// The same from this block on.
    #[track_caller]
    pub(crate) fn store_rest(
        &self,
        tid: SocketAddr,
        first: u16,
        bytes: &[u8],
    ) -> Result<(), Vec<u8>> {
        let blocks = bytes.len() / 512 + 1;
        for n in 0..blocks {
            let (number, payload) = (first + n as u16, &bytes[n * 512..]);
            self.send(&data(number, &payload[..payload.len().min(512)]), tid);
            self.first(&format!("ACK {number}"), |packet, from| match Packet::parse(packet) {
                Ok(Packet::Ack { block }) if from == tid && block == WireBlock(number) => {
                    Some(Ok(()))
                }
                Ok(Packet::Error { .. }) if from == tid => Some(Err(packet.to_vec())),
                _ => None,
            })?;
        }
        Ok(())
    }
}
