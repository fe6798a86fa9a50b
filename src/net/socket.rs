//! The two kinds of socket: one that takes requests, and one for each transfer.

use super::ports::PortRange;
use crate::limits;
use crate::transfer::{Burst, Transfer};
use crate::wire::{BlockSize, DATA_HEADER, ErrorCode, Malformed, Packet};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, cmsg_space, getsockopt, recv, recvmsg,
    setsockopt, sockopt,
};
use rand::RngExt;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Takes requests, and knows which of this machine's addresses each was sent to.
#[derive(Debug)]
pub(crate) struct RequestSocket {
    socket: UdpSocket,
    address: SocketAddr,
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

impl RequestSocket {
    /// Binds to `address`. `[::]` takes IPv4 as well.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        // An IPv6 socket tells of its IPv4 datagrams in IPv4's terms too, and only those show a broadcast.
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        // A rack that starts at once sends thousands of requests in a moment; a smaller buffer than this is no
        // reason to stop.
        let _ = socket.set_recv_buffer_size(4 << 20);
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it is bound; the port is the real one when 0 was asked for.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives the next datagram. `WouldBlock` when there is none; `Ok(None)` for one that must not be answered: it
    /// was broadcast, or came without saying to which address.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Requested>> {
        let mut control = CONTROL;
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let local = message.cmsgs()?.fold(None, asked_address);
        let peer = message.address.as_ref().and_then(std_address);
        Ok(match (peer, local) {
            (Some(peer), Some(Local::Unicast(local))) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let peer = with_scope_of(peer, message.address.as_ref());
                Some(Requested { len: message.bytes, peer, local })
            }
            _ => None,
        })
    }
}

impl AsFd for RequestSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const CONTROL: [u8; 128] = [0; 128];
const _: () = assert!(
    cmsg_space::<nix::libc::in_pktinfo>() + cmsg_space::<nix::libc::in6_pktinfo>() <= CONTROL.len()
);

enum Local {
    Unicast(IpAddr),
    Shared,
}

/// Folds the control messages of one datagram into the address it was sent to. IPv4's message decides where there
/// are both: it has the destination and this machine's own address apart, and they differ for a broadcast.
fn asked_address(known: Option<Local>, message: ControlMessageOwned) -> Option<Local> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let [sent_to, own] = [info.ipi_addr, info.ipi_spec_dst]
                .map(|address| Ipv4Addr::from(u32::from_be(address.s_addr)));
            Some(if sent_to == own { Local::Unicast(own.into()) } else { Local::Shared })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) if known.is_none() => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let shared = address.is_multicast();
            Some(if shared {
                Local::Shared
            } else {
                Local::Unicast(IpAddr::V6(address).to_canonical())
            })
        }
        _ => known,
    }
}

fn std_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

/// A link-local peer is only reachable on the interface it came from.
fn with_scope_of(peer: SocketAddr, raw: Option<&SockaddrStorage>) -> SocketAddr {
    match (peer, raw.and_then(SockaddrStorage::as_sockaddr_in6)) {
        (SocketAddr::V6(mut v6), Some(raw)) => {
            v6.set_scope_id(raw.scope_id());
            SocketAddr::V6(v6)
        }
        (peer, _) => peer,
    }
}

/// The socket of one transfer: one ephemeral port, one peer.
#[derive(Debug)]
pub(crate) struct TransferSocket {
    socket: UdpSocket,
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
    /// Nothing of interest; look at the clock.
    Nothing,
    /// The peer's port is closed.
    Unreachable,
}

impl TransferSocket {
    /// A server's: answers `peer` from `local`, from a new port.
    pub(crate) fn answer(
        local: IpAddr,
        peer: SocketAddr,
        ports: Option<PortRange>,
    ) -> io::Result<Self> {
        let mut local = SocketAddr::new(local, 0);
        if let (SocketAddr::V6(local), SocketAddr::V6(peer)) = (&mut local, peer) {
            local.set_scope_id(peer.scope_id());
        }
        let socket = bind_one_of(local, ports)?;
        connect(&socket, peer)?;
        Ok(Self::new(socket, peer, true))
    }

    /// A client's: asks `server`, and is bound to whichever of its ports answers first.
    pub(crate) fn ask(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        // Without this the network's word that nobody listens there is lost on a socket that is not connected.
        match server {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(Self::new(socket, server, false))
    }

    fn new(socket: UdpSocket, peer: SocketAddr, connected: bool) -> Self {
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
        let socket = socket2::SockRef::from(&self.socket);
        let each = kernel_memory(len);
        let needed = each * usize::from(wanted);
        if socket.recv_buffer_size()? < needed {
            // The kernel doubles what it is told, for its own bookkeeping, and reports the double.
            if setsockopt(&self.socket, sockopt::RcvBufForce, &(needed / 2 + 1)).is_err() {
                let _ = socket.set_recv_buffer_size(needed / 2 + 1);
            }
        }
        let held = socket.recv_buffer_size()? / each;
        Ok(u16::try_from(held).unwrap_or(u16::MAX).clamp(1, wanted.max(1)))
    }

    /// Sends a burst: in as few calls as the kernel allows.
    pub(super) fn send(&self, burst: Burst<'_>) -> io::Result<()> {
        let several = burst.bytes.len() > burst.packet;
        if several && self.segmented(burst.packet) {
            match self.send_pieces(burst.bytes, packets_in_one_call(burst.packet) * burst.packet) {
                Err(error) if is_about_segments(&error) => self.segment(None),
                sent => return sent,
            }
        }
        self.send_pieces(burst.bytes, burst.packet)
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
        let told = setsockopt(&self.socket, sockopt::UdpGsoSegment, &(len.unwrap_or(0) as i32));
        let on = len.is_some() && told.is_ok();
        self.segments.store(if on { ON } else { OFF }, Ordering::Relaxed);
    }

    /// Sends one packet that is not part of a transfer.
    pub(crate) fn send_packet(&self, packet: &[u8]) -> io::Result<()> {
        self.send_pieces(packet, packet.len())
    }

    fn send_pieces(&self, bytes: &[u8], piece: usize) -> io::Result<()> {
        if !self.is_connected() {
            return self.socket.send_to(bytes, self.peer()).map(drop);
        }
        bytes.chunks(piece.max(1)).try_for_each(|piece| self.socket.send(piece).map(drop))
    }

    /// How long a buffer must be for what this transfer can get at once.
    pub(super) fn room_for(&self, transfer: &Transfer) -> usize {
        // One byte more than can be legal shows what is too large.
        let one = transfer.longest_datagram() + 1;
        if !transfer.gathers() {
            return one;
        }
        if self.joins.load(Ordering::Relaxed) == UNTRIED {
            let told = setsockopt(&self.socket, sockopt::UdpGroSegment, &true);
            self.joins.store(if told.is_ok() { ON } else { OFF }, Ordering::Relaxed);
        }
        if self.joins.load(Ordering::Relaxed) == ON { one.max(JOINED_BYTES) } else { one }
    }

    /// Waits for datagrams from the peer, no longer than [`set_timeout`](Self::set_timeout) said, by the kernel's
    /// coarse clock.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive_by(buffer, MsgFlags::empty())
    }

    /// Takes datagrams from the peer if there are any.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive_by(buffer, MsgFlags::MSG_DONTWAIT)
    }

    fn receive_by(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
        let received = if !self.is_connected() {
            self.receive_first(buffer, flags)
        } else if self.joins.load(Ordering::Relaxed) == ON {
            self.receive_joined(buffer, flags)
        } else {
            recv(self.socket.as_raw_fd(), buffer, flags).map(one_datagram).map_err(Into::into)
        };
        received.or_else(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                Ok(Received::Nothing)
            }
            ErrorKind::ConnectionRefused => Ok(Received::Unreachable),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                self.forget_error();
                Ok(if self.is_connected() { Received::Nothing } else { Received::Unreachable })
            }
            // What the network reports about a path (that a packet was too large for it, say) is no end: the next
            // resend may get through.
            _ if is_our_mistake(&error) => Err(error),
            _ => {
                self.forget_error();
                Ok(Received::Nothing)
            }
        })
    }

    fn receive_joined(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
        let mut control = [0; cmsg_space::<i32>()];
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), flags)?;
        let each = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
            _ => None,
        });
        let len = message.bytes;
        Ok(Received::Datagrams { len, each: each.unwrap_or(len).max(1) })
    }

    /// What the network reported stays in a queue of its own where that was asked for, and would count as news for
    /// ever.
    fn forget_error(&self) {
        let _ =
            recv(self.socket.as_raw_fd(), &mut [], MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT);
    }

    fn receive_first(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, None, flags)?;
        let (len, from) = (message.bytes, message.address.as_ref().and_then(std_address));
        match from {
            Some(from) => self.first_answer(&buffer[..len], from),
            None => Ok(Received::Nothing),
        }
    }

    /// A server answers from a port of its own choice: the first that sends a packet is its TID (RFC 1350 § 4).
    fn first_answer(&self, datagram: &[u8], from: SocketAddr) -> io::Result<Received> {
        let expected = from.ip() == self.peer().ip();
        let packet = Packet::parse(datagram);
        // An ERROR is never answered, or two who wait could be made to talk to each other.
        if !expected && !matches!(packet, Ok(Packet::Error { .. })) {
            let code = ErrorCode::UnknownTid;
            let stranger = Packet::Error { code, message: code.text().as_bytes() };
            let _ = self.socket.send_to(&stranger.to_vec(), from);
        }
        // A broken OACK is an answer too: it has to be refused.
        let answer = matches!(packet, Ok(packet) if packet.is_answer());
        if !expected || !(answer || packet == Err(Malformed::Oack)) {
            return Ok(Received::Nothing);
        }
        connect(&self.socket, from)?;
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = from;
        self.connected.store(true, Ordering::Relaxed);
        Ok(one_datagram(datagram.len()))
    }

    /// How long [`receive`](Self::receive) waits.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(timeout))
    }

    /// Wakes whoever waits in [`receive`](Self::receive), for good. Sending goes on working.
    pub(super) fn wake(&self) {
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
    }

    /// The largest block whose DATA packet travels to the peer in one piece: as the kernel says for IPv4, what Ethernet
    /// carries for IPv6.
    pub(crate) fn path_block_size(peer: SocketAddr) -> BlockSize {
        let told = || {
            let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            probe.connect(peer).ok()?;
            let mtu = getsockopt(&probe, sockopt::IpMtu).ok()?;
            usize::try_from(mtu).ok()?.checked_sub(IPV4_UDP_HEADER_BYTES)
        };
        let path = if peer.is_ipv4() { told() } else { None }.unwrap_or(ETHERNET_PAYLOAD_BYTES);
        let block = path.saturating_sub(DATA_HEADER) as u64;
        BlockSize::lowered(block).unwrap_or(BlockSize::DEFAULT)
    }
}

impl AsFd for TransferSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes that the kernel joins at most.
const JOINED_BYTES: usize = 1 << 16;

fn one_datagram(len: usize) -> Received {
    Received::Datagrams { len, each: len.max(1) }
}

/// Leaves only one who can be heard. What a stranger sent in the moment before goes.
fn connect(socket: &UdpSocket, peer: SocketAddr) -> io::Result<()> {
    socket.connect(peer)?;
    for _ in 0..limits::REQUESTS_IN_A_ROW {
        if recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN) {
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

fn bind_one_of(mut local: SocketAddr, ports: Option<PortRange>) -> io::Result<UdpSocket> {
    let Some(ports) = ports else { return UdpSocket::bind(local) };
    // RFC 1350 § 4 wants TIDs at random, so that a stranger cannot guess them.
    let start = rand::rng().random_range(0..ports.count());
    for port in ports.ports_from(start).take(limits::PORTS_TRIED) {
        local.set_port(port);
        match UdpSocket::bind(local) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "all ports for transfers are in use"))
}

/// What a waiting datagram costs of the receive buffer: its bytes, headers and bookkeeping, rounded up as the
/// kernel's allocator does.
fn kernel_memory(len: usize) -> usize {
    const HEADERS_AND_SHARED_INFO_BYTES: usize = 64 + 320;
    const BUFFER_HEAD_BYTES: usize = 256;
    (len + HEADERS_AND_SHARED_INFO_BYTES).next_power_of_two() + BUFFER_HEAD_BYTES
}

/// How many packets of that length the kernel takes at once: 64, and what fits in one IP datagram.
fn packets_in_one_call(packet: usize) -> usize {
    (limits::DATAGRAM_BYTES / packet.max(1)).clamp(1, 64)
}
