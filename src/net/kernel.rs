//! The system that ships: the kernel's sockets, clock, epoll and threads.
//!
//! This is the only code that asks for the time, and nearly all that knows the names of socket options. It decides
//! nothing.

use super::system::{Asked, Job, Poller, Pool, System, Udp, WOKEN};
use super::threads::Threads;
use super::workers::Workers;
use crate::limits;
use crate::proto::Time;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, cmsg_space,
    getsockopt, recv, recvmmsg, recvmsg, send, sendmsg, setsockopt, sockopt,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::any::Any;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The kernel this runs on.
#[derive(Debug)]
pub(crate) struct Kernel {
    start: Instant,
    /// The interface that all sockets are bound to, if they are to any.
    interface: Option<Box<str>>,
    threads: Threads,
}

impl Kernel {
    /// The kernel; its time starts now.
    pub(crate) fn start() -> Arc<Self> {
        Self::at(None)
    }

    /// The same, with all sockets bound to an interface.
    pub(crate) fn at(interface: Option<Box<str>>) -> Arc<Self> {
        let kernel = Self { start: Instant::now(), interface, threads: Threads::default() };
        // It is read from files that a process may give up before it serves.
        kernel.processors();
        Arc::new(kernel)
    }

    fn socket(&self, domain: Domain) -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(socket)
    }
}

impl System for Kernel {
    fn now(&self) -> Time {
        Time::START + self.start.elapsed()
    }

    fn random(&self) -> u64 {
        rand::random()
    }

    fn processors(&self) -> usize {
        static COUNT: OnceLock<usize> = OnceLock::new();
        *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>> {
        let socket = self.socket(Domain::for_address(address))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        let socket = for_requests(socket, address.is_ipv6())?;
        match socket.bind(&address.into()) {
            // It may come later: a cable, a lease, a tunnel. Until then nothing arrives.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                match address {
                    SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                    SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
                }
                socket.bind(&address.into())?;
            }
            bound => bound?,
        }
        Ok(Box::new(KernelSocket(socket.into())))
    }

    fn adopt(&self, socket: OwnedFd) -> io::Result<Box<dyn Udp>> {
        let socket = Socket::from(socket);
        let is_inet = socket.local_addr()?.as_socket();
        let address = is_inet.filter(|_| socket.r#type().is_ok_and(|it| it == Type::DGRAM));
        let address = address.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "it is no socket for UDP over IPv4 or IPv6")
        })?;
        if address.port() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is bound to no port"));
        }
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        OWN.get_or_init(own_addresses);
        // Whatever this process may start has no use for it.
        socket.set_cloexec(true)?;
        Ok(Box::new(KernelSocket(for_requests(socket, address.is_ipv6())?.into())))
    }

    fn bind(&self, local: SocketAddr) -> io::Result<Box<dyn Udp>> {
        let socket = self.socket(Domain::for_address(local))?;
        socket.bind(&local.into())?;
        let socket = UdpSocket::from(socket);
        let_fragment(&socket, local.is_ipv6());
        Ok(Box::new(KernelSocket(socket)))
    }

    fn path_bytes(&self, peer: SocketAddr) -> Option<usize> {
        if peer.is_ipv6() {
            return None;
        }
        let probe = self.socket(Domain::IPV4).ok()?;
        probe.connect(&peer.into()).ok()?;
        usize::try_from(getsockopt(&probe, sockopt::IpMtu).ok()?).ok()
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let waker = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        epoll.add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WOKEN))?;
        let events = Mutex::new(vec![EpollEvent::empty(); limits::EVENTS_AT_ONCE]);
        Ok(Box::new(KernelPoller { epoll, waker, events }))
    }

    fn spawn(&self, name: &'static str, job: Job) -> io::Result<()> {
        self.threads.run(name, job)
    }

    fn pool(&self, most: usize) -> Arc<dyn Pool> {
        Arc::new(Workers::new(self.threads.clone(), most))
    }
}

/// What a socket needs that takes requests, bound or not.
fn for_requests(socket: Socket, is_ipv6: bool) -> io::Result<Socket> {
    if is_ipv6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    // An IPv6 socket tells of its IPv4 datagrams in IPv4's terms too, and only those show a broadcast.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    // A rack that starts at once sends thousands of requests in a moment; a smaller buffer than this is no
    // reason to stop. Whoever bound it may have had the right to a larger one.
    if socket.recv_buffer_size()? < 4 << 20 {
        let _ = socket.set_recv_buffer_size(4 << 20);
    }
    socket.set_nonblocking(true)?;
    let_fragment(&socket, is_ipv6);
    Ok(socket)
}

/// Clears the bit of IPv4 that forbids to fragment: boot ROMs drop what has it. Who may not choose sends as the system does.
fn let_fragment(socket: impl AsFd, is_ipv6: bool) {
    if is_ipv6 {
        let _ = set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT);
    }
    // An IPv6 socket sends to IPv4 too.
    let _ = set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT);
}

/// A socket for UDP that another process has connected, and its peer.
pub(super) fn connected(socket: OwnedFd) -> io::Result<(Box<dyn Udp>, SocketAddr)> {
    let socket = UdpSocket::from(socket);
    let peer = socket.peer_addr()?;
    Ok((Box::new(KernelSocket(socket)), peer))
}

#[derive(Debug)]
struct KernelSocket(UdpSocket);

impl Udp for KernelSocket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn share(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.0.connect(peer)
    }

    fn send(&self, bytes: &[u8], wait: bool) -> io::Result<()> {
        Ok(send(self.0.as_raw_fd(), bytes, flags(wait)).map(drop)?)
    }

    fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
        self.0.send_to(bytes, peer).map(drop)
    }

    fn send_from(
        &self,
        bytes: &[u8],
        cut: Option<usize>,
        local: IpAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let each = cut.and_then(|cut| u16::try_from(cut).ok()).unwrap_or(0);
        let (v4, v6) = (packet_info_v4(local), packet_info_v6(local, peer));
        let source = match local {
            IpAddr::V4(_) => ControlMessage::Ipv4PacketInfo(&v4),
            IpAddr::V6(_) => ControlMessage::Ipv6PacketInfo(&v6),
        };
        let control = [source, ControlMessage::UdpGsoSegments(&each)];
        let control = if each == 0 { &control[..1] } else { &control[..] };
        let (fd, to) = (self.0.as_raw_fd(), SockaddrStorage::from(peer));
        Ok(sendmsg(fd, &[IoSlice::new(bytes)], control, flags(false), Some(&to)).map(drop)?)
    }

    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, flags(wait))?)
    }

    fn receive_joined(&self, buffer: &mut [u8], wait: bool) -> io::Result<(usize, usize)> {
        let mut control = [0; cmsg_space::<i32>()];
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.0.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), flags(wait))?;
        let each = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
            _ => None,
        });
        Ok((message.bytes, each.unwrap_or(message.bytes)))
    }

    fn receive_from(
        &self,
        buffer: &mut [u8],
        wait: bool,
    ) -> io::Result<(usize, Option<SocketAddr>)> {
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.0.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, None, flags(wait))?;
        Ok((message.bytes, message.address.as_ref().and_then(std_address)))
    }

    fn receive_request(&self, buffer: &mut [u8]) -> io::Result<Asked> {
        let mut control = CONTROL;
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.0.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let peer = message.address.as_ref().and_then(std_address);
        Ok(Asked { len: message.bytes, peer, local: asked_address(message.cmsgs()?) })
    }

    fn receive_requests(
        &self,
        buffer: &mut [u8],
        each: usize,
        asked: &mut Vec<Asked>,
    ) -> io::Result<()> {
        let mut pieces: Vec<_> =
            buffer.chunks_mut(each).map(|piece| [IoSliceMut::new(piece)]).collect();
        let control = Some(Vec::with_capacity(CONTROL.len()));
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(pieces.len(), control);
        let fd = self.0.as_raw_fd();
        let received = recvmmsg(fd, &mut headers, pieces.iter_mut(), flags(false), None)?;
        for message in received {
            let peer = message.address.as_ref().and_then(std_address);
            asked.push(Asked { len: message.bytes, peer, local: asked_address(message.cmsgs()?) });
        }
        Ok(())
    }

    fn cut(&self, into: Option<usize>) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::UdpGsoSegment, &(into.unwrap_or(0) as i32))?)
    }

    fn join(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::UdpGroSegment, &true)?)
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        SockRef::from(&self.0).recv_buffer_size()
    }

    fn ask_receive_buffer(&self, bytes: usize) {
        // The kernel doubles what it is told, for its own bookkeeping, and reports the double.
        let told = bytes / 2 + 1;
        if setsockopt(&self.0, sockopt::RcvBufForce, &told).is_err() {
            let _ = SockRef::from(&self.0).set_recv_buffer_size(told);
        }
    }

    fn wait(&self, most: Duration) -> bool {
        wait_briefly(&self.0, most)
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(timeout))
    }

    fn hear_errors(&self) -> io::Result<()> {
        match self.0.local_addr()? {
            SocketAddr::V4(_) => setsockopt(&self.0, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&self.0, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(())
    }

    fn forget_error(&self) {
        // Where errors are heard they stay in a queue of their own, and would count as news for ever.
        let queue = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let _ = recv(self.0.as_raw_fd(), &mut [], queue);
    }

    fn wake(&self) {
        let _ = SockRef::from(&self.0).shutdown(std::net::Shutdown::Read);
    }
}

const fn flags(wait: bool) -> MsgFlags {
    if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT }
}

fn packet_info_v4(source: IpAddr) -> in_pktinfo {
    let source = if let IpAddr::V4(v4) = source { v4 } else { Ipv4Addr::UNSPECIFIED };
    let address = |address: Ipv4Addr| in_addr { s_addr: u32::from(address).to_be() };
    let (ipi_spec_dst, ipi_addr) = (address(source), address(Ipv4Addr::UNSPECIFIED));
    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr }
}

/// A link-local source needs the interface of its peer.
fn packet_info_v6(source: IpAddr, peer: SocketAddr) -> in6_pktinfo {
    let source = if let IpAddr::V6(v6) = source { v6 } else { Ipv6Addr::UNSPECIFIED };
    let ipi6_ifindex = if let SocketAddr::V6(peer) = peer { peer.scope_id() } else { 0 };
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex }
}

const CONTROL: [u8; 128] = [0; 128];
const _: () = assert!(cmsg_space::<in_pktinfo>() + cmsg_space::<in6_pktinfo>() <= CONTROL.len());

/// The address that a datagram was sent to, unless others have it too. IPv4's message decides where there are both: it
/// has the destination and this machine's own address apart, and they differ for a broadcast.
fn asked_address(messages: impl Iterator<Item = ControlMessageOwned>) -> Option<IpAddr> {
    let mut of_v6 = None;
    for message in messages {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let [sent_to, own] = [info.ipi_addr, info.ipi_spec_dst]
                    .map(|address| Ipv4Addr::from(u32::from_be(address.s_addr)));
                let is_own = sent_to == own || (own.is_unspecified() && is_own(sent_to));
                return is_own.then_some(sent_to.into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                of_v6 = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            _ => {}
        }
    }
    let alone = of_v6.filter(|address| !address.is_multicast());
    alone.map(|address| IpAddr::V6(address).to_canonical())
}

/// The addresses that this machine had when a socket was adopted. What came to that before the kernel was asked for
/// destinations comes without this machine's own: a broadcast among it is known by what it is not.
static OWN: OnceLock<Vec<Ipv4Addr>> = OnceLock::new();

fn own_addresses() -> Vec<Ipv4Addr> {
    let all = getifaddrs().into_iter().flatten();
    all.filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip())).collect()
}

fn is_own(address: Ipv4Addr) -> bool {
    let own = OWN.get().is_some_and(|own| own.contains(&address));
    own || (address.is_loopback() && address != Ipv4Addr::new(127, 255, 255, 255))
}

fn std_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

#[derive(Debug)]
struct KernelPoller {
    epoll: Epoll,
    waker: EventFd,
    /// Where the kernel writes them, made once: a turn for one datagram would pay for it.
    events: Mutex<Vec<EpollEvent>>,
}

impl Poller for KernelPoller {
    fn add(&self, socket: &dyn Udp, name: u64) -> io::Result<()> {
        Ok(self.epoll.add(&own(socket)?.0, EpollEvent::new(EpollFlags::EPOLLIN, name))?)
    }

    fn tell_of_room(&self, socket: &dyn Udp, name: u64, wanted: bool) -> io::Result<()> {
        let of_room = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | of_room, name);
        Ok(self.epoll.modify(&own(socket)?.0, &mut event)?)
    }

    fn remove(&self, socket: &dyn Udp) {
        let _ = own(socket).map(|socket| self.epoll.delete(&socket.0));
    }

    fn wait(&self, most: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wait = |timeout| match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => Ok(0),
            waited => waited,
        };
        let count = match most {
            // Epoll counts milliseconds, and what is paced leaves at a part of one.
            Some(brief) if !brief.is_zero() && brief < limits::BRIEF_WAIT => {
                match wait(EpollTimeout::ZERO)? {
                    0 => {
                        wait_briefly(&self.epoll.0, brief);
                        wait(EpollTimeout::ZERO)?
                    }
                    count => count,
                }
            }
            most => wait(epoll_timeout(most))?,
        };
        ready.clear();
        ready.extend(events[..count].iter().map(EpollEvent::data));
        if ready.contains(&WOKEN) {
            let _ = self.waker.read();
        }
        Ok(())
    }

    fn wake(&self) {
        let _ = self.waker.write(1);
    }
}

/// A socket of this system.
fn own(socket: &dyn Udp) -> io::Result<&KernelSocket> {
    (socket as &dyn Any).downcast_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Waits until `fd` can be read, or for so long. Tells whether it can.
fn wait_briefly(fd: &impl AsFd, most: Duration) -> bool {
    let timeout = Timespec::try_from(most).ok();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A time in epoll's milliseconds, rounded down: what is left of it is a brief wait.
fn epoll_timeout(most: Option<Duration>) -> EpollTimeout {
    let Some(most) = most else { return EpollTimeout::NONE };
    let millis = most.as_millis().min(i32::MAX as u128) as i32;
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
}

#[cfg(test)]
mod tests;
