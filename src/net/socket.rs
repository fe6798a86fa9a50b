//! The two kinds of socket: one that takes requests, and one for each transfer, of its own or a part of the former.
//!
//! This is what is made of a [`Udp`]: which port is taken, who is heard, how a burst leaves, what an error means.

use super::flow::{Delivery, Flow, Flows};
use super::kernel::connected;
use super::ports::PortRange;
use super::system::{Asked, System, Udp};
use crate::limits;
use crate::transfer::{Burst, Transfer};
use crate::wire::{BlockSize, DATA_HEADER, ErrorCode, Malformed, Packet};
use nix::errno::Errno;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Takes requests, and knows which of this machine's addresses each was sent to. Answers leave from sockets of their own,
/// or from this one.
#[derive(Debug)]
pub(crate) struct RequestSocket {
    socket: Arc<dyn Udp>,
    address: SocketAddr,
    answers: Answers,
}

/// Where the answers to requests leave from.
#[derive(Debug)]
enum Answers {
    /// A port for each, out of these, if there is a choice.
    OwnPort(Option<PortRange>),
    /// The port that was asked.
    ThisPort(Arc<Flows>),
}

/// Room for datagrams that come to a request port.
#[derive(Debug)]
pub(crate) struct RequestRoom {
    each: usize,
    buffer: Vec<u8>,
    asked: Vec<Asked>,
}

impl RequestRoom {
    /// Room for so many datagrams, each of which is cut to so many bytes.
    pub(crate) fn new(datagrams: usize, each: usize) -> Self {
        Self { each, buffer: vec![0; datagrams * each], asked: Vec::with_capacity(datagrams) }
    }

    /// Whether there may be more than what was received.
    pub(crate) const fn is_full(&self) -> bool {
        self.asked.len() * self.each == self.buffer.len()
    }

    /// What was received; `None` for what must not be answered: it was broadcast, or came without saying to which address.
    pub(crate) fn received(&self) -> impl Iterator<Item = Option<(&[u8], Requested)>> {
        let pieces = self.buffer.chunks(self.each).zip(&self.asked);
        pieces.map(|(piece, asked)| Some((&piece[..asked.len], Requested::of(*asked)?)))
    }
}

/// A datagram that came to the request port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requested {
    /// Its length; what was longer than the buffer is cut.
    pub(crate) len: usize,
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// The address it was sent to: the answer must leave from there (RFC 1123 § 4.2.3.4 and common sense of
    /// firmware, which accepts no other).
    pub(crate) local: IpAddr,
}

impl Requested {
    fn of(Asked { len, peer, local }: Asked) -> Option<Self> {
        let (peer, local) = (peer?, local?);
        let peer = match (peer.ip().to_canonical(), peer) {
            // A link-local peer is only reachable on the interface it came from.
            (IpAddr::V6(ip), SocketAddr::V6(from)) => {
                SocketAddrV6::new(ip, from.port(), 0, from.scope_id()).into()
            }
            (ip, from) => SocketAddr::new(ip, from.port()),
        };
        Some(Self { len, peer, local })
    }
}

impl RequestSocket {
    /// Binds to `address`. `[::]` takes IPv4 as well. Each transfer will have one of `ports`.
    pub(crate) fn bind(
        system: &dyn System,
        address: SocketAddr,
        ports: Option<PortRange>,
    ) -> io::Result<Self> {
        Self::on(system.listen(address)?, ports)
    }

    /// The same with a socket that somebody else has bound.
    pub(crate) fn adopt(
        system: &dyn System,
        socket: OwnedFd,
        ports: Option<PortRange>,
    ) -> io::Result<Self> {
        Self::on(system.adopt(socket)?, ports)
    }

    fn on(socket: Box<dyn Udp>, ports: Option<PortRange>) -> io::Result<Self> {
        let address = socket.local_address()?;
        Ok(Self { socket: socket.into(), address, answers: Answers::OwnPort(ports) })
    }

    /// The same, for requests and all their transfers.
    #[must_use]
    pub(crate) fn for_all(self) -> Self {
        let Self { socket, address, .. } = self;
        // Whoever bound it may have had the right to a larger one.
        if socket.receive_buffer().is_ok_and(|has| has < limits::SHARED_RECEIVE_BYTES) {
            socket.ask_receive_buffer(limits::SHARED_RECEIVE_BYTES);
        }
        let flows = Flows::new(Arc::clone(&socket));
        Self { socket, address, answers: Answers::ThisPort(flows) }
    }

    /// The same socket once more, for another process.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.socket.share()
    }

    /// A socket for the transfer that answers `peer` from `local`, in a session whose number is higher than any before.
    pub(crate) fn answer(
        &self,
        system: &dyn System,
        local: IpAddr,
        peer: SocketAddr,
        session: u64,
    ) -> io::Result<TransferSocket> {
        match &self.answers {
            Answers::OwnPort(ports) => TransferSocket::answer(system, local, peer, *ports),
            Answers::ThisPort(flows) => {
                Ok(TransferSocket::new(Box::new(flows.open(peer, local, session)), peer, true))
            }
        }
    }

    /// Answers `peer` from `local` with one packet, and that is all.
    pub(crate) fn answer_once(
        &self,
        system: &dyn System,
        local: IpAddr,
        peer: SocketAddr,
        packet: &[u8],
    ) -> io::Result<()> {
        match &self.answers {
            Answers::OwnPort(ports) => {
                let socket = TransferSocket::answer(system, local, peer, *ports)?;
                socket.send_pieces(packet, packet.len(), false).map(drop)
            }
            Answers::ThisPort(flows) => flows.send(packet, None, (peer, local)),
        }
    }

    /// Hands over what came and is no request to the transfer that it belongs to.
    pub(crate) fn deliver(&self, datagram: &[u8], from: &Requested) -> Delivery {
        match &self.answers {
            Answers::OwnPort(_) => Delivery::Stray,
            Answers::ThisPort(flows) => flows.deliver(datagram, from.peer, from.local),
        }
    }

    /// Where it is bound; the port is the real one when 0 was asked for.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives what has come, as much as `room` holds, and puts it into that. `WouldBlock` when there is nothing.
    pub(crate) fn receive(&self, room: &mut RequestRoom) -> io::Result<()> {
        let RequestRoom { each, buffer, asked, .. } = room;
        asked.clear();
        if buffer.len() > *each {
            self.socket.receive_requests(buffer, *each, asked)
        } else {
            asked.push(self.socket.receive_request(buffer)?);
            Ok(())
        }
    }

    pub(super) fn udp(&self) -> &dyn Udp {
        &*self.socket
    }
}

/// The socket of one transfer: one ephemeral port, one peer.
#[derive(Debug)]
pub(crate) struct TransferSocket {
    socket: Box<dyn Udp>,
    /// The peer; for a client that has had no answer, the request port.
    peer: Mutex<SocketAddr>,
    connected: AtomicBool,
    /// Whether the kernel cuts a burst into packets for us (UDP_SEGMENT).
    segments: AtomicU8,
    /// Whether it joins packets that came together (UDP_GRO).
    joins: AtomicU8,
}

const UNTRIED: u8 = 0;
const ON: u8 = 1;
const OFF: u8 = 2;

/// What a look at a transfer's socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Datagrams from the peer, one behind the other: so many bytes, and the length of each but the last.
    Datagrams { len: usize, each: usize },
    /// What may be a server's first answer: so many bytes, from a port that may be its TID.
    First { len: usize, from: SocketAddr },
    /// Nothing of interest; look at the clock.
    Nothing,
    /// The peer's port is closed.
    Unreachable,
}

impl TransferSocket {
    /// A server's: answers `peer` from `local`, from a new port.
    pub(crate) fn answer(
        system: &dyn System,
        local: IpAddr,
        peer: SocketAddr,
        ports: Option<PortRange>,
    ) -> io::Result<Self> {
        let mut local = SocketAddr::new(local, 0);
        if let (SocketAddr::V6(local), SocketAddr::V6(peer)) = (&mut local, peer) {
            local.set_scope_id(peer.scope_id());
        }
        let socket = bind_one_of(system, local, ports)?;
        let socket = match is_at(&*socket, local.ip(), peer)? {
            // The client is gone, and its port was free. A socket that is connected to itself would never hear of that.
            true => bind_one_of(system, local, ports)?,
            false => socket,
        };
        connect(&*socket, peer)?;
        Ok(Self::new(socket, peer, true))
    }

    /// A client's: asks `server`, and is bound to whichever of its ports answers first.
    pub(crate) fn ask(system: &dyn System, server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = system.bind(SocketAddr::new(any, 0))?;
        // Without this the network's word that nobody listens there is lost on a socket that is not connected.
        socket.hear_errors()?;
        Ok(Self::new(socket, server, false))
    }

    /// One that is connected already, from another process.
    pub(crate) fn handed_over(socket: OwnedFd) -> io::Result<Self> {
        let (socket, peer) = connected(socket)?;
        Ok(Self::new(socket, peer, true))
    }

    /// The same socket once more, for another process.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.socket.share()
    }

    /// Sends the peer one packet, if there is room for it.
    pub(crate) fn say(&self, packet: &[u8]) {
        let _ = self.send_pieces(packet, packet.len(), false);
    }

    fn new(socket: Box<dyn Udp>, peer: SocketAddr, connected: bool) -> Self {
        Self {
            socket,
            peer: Mutex::new(peer),
            connected: AtomicBool::new(connected),
            segments: AtomicU8::new(UNTRIED),
            joins: AtomicU8::new(UNTRIED),
        }
    }

    /// Whether bursts may be cut into packets, and packets joined, by the kernel and the device; else each packet
    /// costs a call.
    #[must_use]
    pub(crate) fn offload(mut self, allowed: bool) -> Self {
        let state = if allowed { UNTRIED } else { OFF };
        (self.segments, self.joins) = (AtomicU8::new(state), AtomicU8::new(state));
        self
    }

    /// Where it is bound.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// The peer's address.
    pub(crate) fn peer(&self) -> SocketAddr {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the peer's own port is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many datagrams of `len` bytes the receive buffer holds at least, after an attempt to make it hold
    /// `wanted`: to grant a wider window is to ask for loss.
    pub(crate) fn reserve_receive_buffer(&self, len: usize, wanted: u16) -> io::Result<u16> {
        let each = Self::receive_memory(len);
        let needed = each * usize::from(wanted);
        if self.socket.receive_buffer()? < needed {
            self.socket.ask_receive_buffer(needed);
        }
        let held = self.socket.receive_buffer()? / each;
        Ok(u16::try_from(held).unwrap_or(u16::MAX).clamp(1, wanted.max(1)))
    }

    /// What a datagram of `len` bytes that waits costs of the receive buffer: its bytes, headers and bookkeeping, rounded up
    /// as the kernel's allocator does.
    pub(crate) const fn receive_memory(len: usize) -> usize {
        const HEADERS_AND_SHARED_INFO_BYTES: usize = 64 + 320;
        const BUFFER_HEAD_BYTES: usize = 256;
        (len + HEADERS_AND_SHARED_INFO_BYTES).next_power_of_two() + BUFFER_HEAD_BYTES
    }

    /// Sends a burst: in as few calls as the kernel allows. Tells how many bytes of it are left, for which there was no
    /// room, if it may not `wait` for that.
    pub(super) fn send(&self, burst: Burst<'_>, wait: bool) -> io::Result<usize> {
        let several = burst.bytes.len() > burst.packet;
        if several && self.segmented(burst.packet) {
            let at_once = packets_in_one_call(burst.packet) * burst.packet;
            match self.send_pieces(burst.bytes, at_once, wait) {
                Err(error) if is_about_segments(&error) => self.segment(None),
                sent => return sent,
            }
        }
        self.send_pieces(burst.bytes, burst.packet, wait)
    }

    /// Whether the kernel cuts bursts into packets of `len` bytes; asked of it once.
    fn segmented(&self, len: usize) -> bool {
        if self.segments.load(Ordering::Relaxed) == UNTRIED {
            self.segment(Some(len));
        }
        self.segments.load(Ordering::Relaxed) == ON
    }

    /// Turns that on, or off for good: the device cannot, or the packets do not fit the path in one piece.
    fn segment(&self, len: Option<usize>) {
        let on = self.socket.cut(len).is_ok() && len.is_some();
        self.segments.store(if on { ON } else { OFF }, Ordering::Relaxed);
    }

    fn send_pieces(&self, bytes: &[u8], piece: usize, wait: bool) -> io::Result<usize> {
        if !self.is_connected() {
            return self.socket.send_to(bytes, self.peer()).map(|()| 0);
        }
        let mut left = bytes;
        while !left.is_empty() {
            let piece = &left[..left.len().min(piece)];
            match self.socket.send(piece, wait) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                sent => sent?,
            }
            left = &left[piece.len()..];
        }
        Ok(left.len())
    }

    /// How long a buffer must be for what this transfer can get at once.
    pub(super) fn room_for(&self, transfer: &Transfer) -> usize {
        // One byte more than can be legal shows what is too large.
        let one = transfer.longest_datagram() + 1;
        if !transfer.gathers() {
            return one;
        }
        if self.joins.load(Ordering::Relaxed) == UNTRIED {
            let told = self.socket.join();
            self.joins.store(if told.is_ok() { ON } else { OFF }, Ordering::Relaxed);
        }
        if self.joins.load(Ordering::Relaxed) == ON { one.max(JOINED_BYTES) } else { one }
    }

    /// Waits for datagrams from the peer, no longer than [`set_timeout`](Self::set_timeout) said, by the kernel's
    /// coarse clock.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive_by(buffer, true)
    }

    /// Takes datagrams from the peer if there are any.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive_by(buffer, false)
    }

    fn receive_by(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
        let received = if !self.is_connected() {
            self.receive_first(buffer, wait)
        } else if self.joins.load(Ordering::Relaxed) == ON {
            let joined = self.socket.receive_joined(buffer, wait);
            joined.map(|(len, each)| Received::Datagrams { len, each: each.max(1) })
        } else {
            self.socket.receive(buffer, wait).map(one_datagram)
        };
        received.or_else(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                Ok(Received::Nothing)
            }
            ErrorKind::ConnectionRefused => Ok(Received::Unreachable),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                self.socket.forget_error();
                Ok(if self.is_connected() { Received::Nothing } else { Received::Unreachable })
            }
            // What the network reports about a path (that a packet was too large for it, say) is no end: the next
            // resend may get through.
            _ if is_our_mistake(&error) => Err(error),
            _ => {
                self.socket.forget_error();
                Ok(Received::Nothing)
            }
        })
    }

    fn receive_first(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
        let (len, from) = self.socket.receive_from(buffer, wait)?;
        match from {
            Some(from) => Ok(self.first_answer(&buffer[..len], from)),
            None => Ok(Received::Nothing),
        }
    }

    /// A server answers from a port of its own choice: the first that sends an answer is its TID (RFC 1350 § 4).
    fn first_answer(&self, datagram: &[u8], from: SocketAddr) -> Received {
        let expected = from.ip() == self.peer().ip();
        let packet = Packet::parse(datagram);
        // An ERROR is never answered, or two who wait could be made to talk to each other.
        if !expected && !matches!(packet, Ok(Packet::Error { .. })) {
            self.turn_away(from, ErrorCode::UnknownTid);
        }
        // A broken OACK is an answer too: it has to be refused.
        let answer = matches!(packet, Ok(packet) if packet.is_answer());
        if !expected || !(answer || packet == Err(Malformed::Oack)) {
            return Received::Nothing;
        }
        Received::First { len: datagram.len(), from }
    }

    /// From now on this is the server's port for the transfer.
    pub(super) fn settle(&self, from: SocketAddr) -> io::Result<()> {
        connect(&*self.socket, from)?;
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = from;
        self.connected.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Tells who sent what is no answer that it has nothing to send here.
    pub(super) fn turn_away(&self, stranger: SocketAddr, code: ErrorCode) {
        let error = Packet::Error { code, message: code.text().as_bytes() };
        let _ = self.socket.send_to(&error.to_vec(), stranger);
    }

    /// Waits until there is something to take, no longer than `most`. Tells whether there is.
    pub(super) fn wait(&self, most: Duration) -> bool {
        self.socket.wait(most)
    }

    /// How long [`receive`](Self::receive) waits.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_timeout(timeout)
    }

    /// Wakes whoever waits in [`receive`](Self::receive), for good. Sending goes on working.
    pub(super) fn wake(&self) {
        self.socket.wake();
    }

    /// The largest block whose DATA packet travels to the peer in one piece: as the kernel says for IPv4, what Ethernet
    /// carries for IPv6.
    pub(crate) fn path_block_size(system: &dyn System, peer: SocketAddr) -> BlockSize {
        let told = system.path_bytes(peer).and_then(|mtu| mtu.checked_sub(IPV4_UDP_HEADER_BYTES));
        let path = told.filter(|_| peer.is_ipv4()).unwrap_or(ETHERNET_PAYLOAD_BYTES);
        let block = path.saturating_sub(DATA_HEADER) as u64;
        BlockSize::lowered(block).unwrap_or(BlockSize::DEFAULT)
    }

    pub(super) fn udp(&self) -> &dyn Udp {
        &*self.socket
    }

    /// Its part of a shared socket, if it is that.
    pub(super) fn flow(&self) -> Option<&Flow> {
        Flow::of(&*self.socket)
    }
}

/// Bytes that the kernel joins at most.
const JOINED_BYTES: usize = 1 << 16;

fn one_datagram(len: usize) -> Received {
    Received::Datagrams { len, each: len.max(1) }
}

/// Leaves only one who can be heard. What a stranger sent in the moment before goes.
fn connect(socket: &dyn Udp, peer: SocketAddr) -> io::Result<()> {
    socket.connect(peer)?;
    for _ in 0..limits::REQUESTS_IN_A_ROW {
        let taken = socket.receive(&mut [0], false);
        if taken.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            break;
        }
    }
    Ok(())
}

/// Ethernet's 1,500 bytes without the headers of IPv6 and UDP.
const ETHERNET_PAYLOAD_BYTES: usize = 1452;

/// The device cannot cut a burst, or the packets do not fit the path in one piece.
fn is_about_segments(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EMSGSIZE))
}

fn is_our_mistake(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT | Errno::EINVAL))
}

const IPV4_UDP_HEADER_BYTES: usize = 28;

fn bind_one_of(
    system: &dyn System,
    mut local: SocketAddr,
    ports: Option<PortRange>,
) -> io::Result<Box<dyn Udp>> {
    let Some(ports) = ports else { return system.bind(local) };
    // RFC 1350 § 4 wants TIDs at random, so that a stranger cannot guess them.
    let start = system.random() as usize % ports.count();
    for port in ports.ports_from(start).take(limits::PORTS_TRIED) {
        local.set_port(port);
        match system.bind(local) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "all ports for transfers are in use"))
}

/// Whether the socket is bound to this very address. Another machine's cannot be, and is not asked about.
fn is_at(socket: &dyn Udp, bound: IpAddr, peer: SocketAddr) -> io::Result<bool> {
    Ok(bound == peer.ip() && socket.local_address()?.port() == peer.port())
}

/// How many packets of that length the kernel takes at once: 64, and what fits in one IP datagram.
fn packets_in_one_call(packet: usize) -> usize {
    (limits::DATAGRAM_BYTES / packet.max(1)).clamp(1, 64)
}

#[cfg(test)]
mod tests;
