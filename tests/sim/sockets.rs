//! The sockets of a machine.

use super::machine::{Machine, State};
use super::network::Datagram;
use super::random::Random;
use super::world::Sent;
use crate::net::{Asked, Udp};
use crate::proto::Time;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketId(u64);

/// What `EMFILE` is on Linux.
const NO_DESCRIPTOR: i32 = 24;
/// What `EINVAL` is there.
const INVALID: i32 = 22;
/// What `EIO` is there.
const DEVICE_FAILS: i32 = 5;

/// How long a send buffer takes to empty.
const EMPTIES: Duration = Duration::from_millis(2);

/// Bytes that wait in a socket at most.
const BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Sockets {
    open: BTreeMap<SocketId, Inside>,
    bound: BTreeMap<SocketAddr, SocketId>,
    last: u64,
    /// How many there can be.
    pub(crate) most: usize,
    /// What the device does with bursts.
    pub(crate) offload: Offload,
    /// Bytes that each receive buffer has, whatever is asked for.
    pub(crate) receive_buffer: usize,
    /// How many bytes a send buffer takes until it has to empty.
    pub(crate) send_buffer: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Offload {
    #[default]
    Works,
    /// The kernel does not know it.
    Unknown,
    /// It takes the order, and fails at the first burst.
    Fails,
}

impl Default for Sockets {
    fn default() -> Self {
        let (open, bound) = (BTreeMap::new(), BTreeMap::new());
        let (most, offload) = (usize::MAX, Offload::Works);
        let (receive_buffer, send_buffer) = (2 * BUFFER, usize::MAX);
        Self { open, bound, last: 0, most, offload, receive_buffer, send_buffer }
    }
}

#[derive(Debug)]
struct Inside {
    local: SocketAddr,
    peer: Option<SocketAddr>,
    queue: VecDeque<Datagram>,
    queued_bytes: usize,
    timeout: Option<Duration>,
    is_refused: bool,
    is_shut: bool,
    cuts: Option<usize>,
    /// Bytes in the send buffer.
    sent: usize,
    /// When a send buffer that was full is empty again.
    empty_at: Option<Time>,
    /// Whether its poller tells of room.
    tells_of_room: bool,
}

impl Inside {
    /// Whether a poller tells of it.
    fn is_ready(&self) -> bool {
        let has_something = !self.queue.is_empty() || self.is_refused || self.is_shut;
        has_something || self.tells_of_room && self.empty_at.is_none()
    }
}

impl Sockets {
    pub(super) fn bind(&mut self, local: SocketAddr, random: &mut Random) -> io::Result<SocketId> {
        if self.open.len() >= self.most {
            return Err(io::Error::from_raw_os_error(NO_DESCRIPTOR));
        }
        let mut address = local;
        while local.port() == 0 && (address.port() == 0 || self.bound.contains_key(&address)) {
            address.set_port(32_768 + random.below(28_000) as u16);
        }
        if self.bound.contains_key(&address) {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.last += 1;
        let id = SocketId(self.last);
        self.bound.insert(address, id);
        self.open.insert(
            id,
            Inside {
                local: address,
                peer: None,
                queue: VecDeque::new(),
                queued_bytes: 0,
                timeout: None,
                is_refused: false,
                is_shut: false,
                cuts: None,
                sent: 0,
                empty_at: None,
                tells_of_room: false,
            },
        );
        Ok(id)
    }

    pub(super) fn is_open(&self, id: SocketId) -> bool {
        self.open.contains_key(&id)
    }

    /// Whether there is something to receive, or room where that is told.
    pub(super) fn is_ready(&self, id: SocketId) -> bool {
        self.open.get(&id).is_some_and(Inside::is_ready)
    }

    pub(super) fn tell_of_room(&mut self, id: SocketId, wanted: bool) {
        self.open.get_mut(&id).expect("it is open").tells_of_room = wanted;
    }

    /// When a send buffer is empty again.
    pub(super) fn next(&self) -> Option<Time> {
        self.open.values().filter_map(|inside| inside.empty_at).min()
    }

    pub(super) fn go_on(&mut self, now: Time) {
        for inside in self.open.values_mut() {
            if inside.empty_at.is_some_and(|at| at <= now) {
                (inside.sent, inside.empty_at) = (0, None);
            }
        }
    }

    /// Those of transfers and of ERRORs: the peer of each, and what it sent.
    pub(crate) fn connected<'a>(
        &'a self,
        sent: &'a BTreeMap<(SocketId, SocketAddr), Sent>,
    ) -> impl Iterator<Item = (SocketAddr, Option<&'a Sent>)> {
        let of = |(id, inside): (&SocketId, &Inside)| {
            let peer = inside.peer?;
            Some((peer, sent.get(&(*id, peer))))
        };
        self.open.iter().filter_map(of)
    }

    /// Where those are bound that are open.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &SocketAddr> {
        self.bound.keys()
    }

    /// Who listens where this arrives.
    pub(super) fn heard_by(&self, datagram: &Datagram) -> Option<SocketId> {
        let id = self.bound.get(&datagram.to)?;
        self.open[id].peer.is_none_or(|peer| peer == datagram.from).then_some(*id)
    }

    /// Takes what arrives, as long as there is room.
    pub(super) fn hear(&mut self, id: SocketId, datagram: Datagram) {
        let Some(inside) = self.open.get_mut(&id) else { return };
        if inside.queued_bytes + datagram.bytes.len() <= BUFFER {
            inside.queued_bytes += datagram.bytes.len();
            inside.queue.push_back(datagram);
        }
    }

    /// Nobody listens where this was sent.
    pub(super) fn unreachable(&mut self, datagram: &Datagram) {
        let from = self.bound.get(&datagram.from);
        if let Some(inside) = from.and_then(|id| self.open.get_mut(id))
            && inside.peer == Some(datagram.to)
        {
            inside.is_refused = true;
        }
    }

    fn close(&mut self, id: SocketId) {
        if let Some(inside) = self.open.remove(&id) {
            self.bound.remove(&inside.local);
        }
    }
}

/// A socket of a machine.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) machine: Machine,
    pub(super) id: SocketId,
}

impl Socket {
    fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        let mut state = self.machine.state();
        act(state.sockets.open.get_mut(&self.id).expect("it is open"))
    }

    /// Takes the next datagram. One that was shut gives an empty one, as Linux does.
    fn take(&self, wait: bool) -> io::Result<Option<Datagram>> {
        let timeout = self.with(|inside| inside.timeout);
        if wait && !self.machine.state().sockets.is_ready(self.id) {
            self.machine.wait_for(self.id, timeout);
        }
        self.with(|inside| {
            if std::mem::take(&mut inside.is_refused) {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            let taken = inside.queue.pop_front();
            inside.queued_bytes -= taken.as_ref().map_or(0, |datagram| datagram.bytes.len());
            if taken.is_none() && !inside.is_shut {
                return Err(ErrorKind::WouldBlock.into());
            }
            Ok(taken)
        })
    }
}

fn copy(datagram: Option<&Datagram>, buffer: &mut [u8]) -> usize {
    let bytes = datagram.map_or(&[][..], |datagram| &datagram.bytes);
    let len = bytes.len().min(buffer.len());
    buffer[..len].copy_from_slice(&bytes[..len]);
    len
}

impl Udp for Socket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.with(|inside| inside.local))
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.with(|inside| inside.peer = Some(peer));
        Ok(())
    }

    fn send(&self, bytes: &[u8], wait: bool) -> io::Result<()> {
        let mut state = self.machine.state();
        let State { now, world, sockets, .. } = &mut *state;
        let (offload, send_buffer) = (sockets.offload, sockets.send_buffer);
        let inside = sockets.open.get_mut(&self.id).expect("it is open");
        if std::mem::take(&mut inside.is_refused) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (from, to) = (inside.local, inside.peer.ok_or(ErrorKind::NotConnected)?);
        let each = inside.cuts.unwrap_or(bytes.len()).max(1);
        if bytes.len() > each && offload == Offload::Fails {
            return Err(io::Error::from_raw_os_error(DEVICE_FAILS));
        }
        if inside.empty_at.is_some() && !wait {
            return Err(ErrorKind::WouldBlock.into());
        }
        inside.sent += bytes.len();
        if inside.sent >= send_buffer {
            inside.empty_at = Some(*now + EMPTIES);
        }
        for piece in bytes.chunks(each) {
            world.send(*now, self.id, Datagram { from, to, bytes: piece.to_vec() });
        }
        let within = world.without_proof(self.id, to);
        within.unwrap_or_else(|why| state.fail(why));
        Ok(())
    }

    fn send_from(
        &self,
        bytes: &[u8],
        cut: Option<usize>,
        local: IpAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let mut state = self.machine.state();
        let State { now, world, sockets, .. } = &mut *state;
        let (offload, send_buffer) = (sockets.offload, sockets.send_buffer);
        let inside = sockets.open.get_mut(&self.id).expect("it is open");
        match offload {
            Offload::Unknown if cut.is_some() => return Err(io::Error::from_raw_os_error(INVALID)),
            Offload::Fails if cut.is_some() => {
                return Err(io::Error::from_raw_os_error(DEVICE_FAILS));
            }
            _ => {}
        }
        if inside.empty_at.is_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        inside.sent += bytes.len();
        if inside.sent >= send_buffer {
            inside.empty_at = Some(*now + EMPTIES);
        }
        let from = SocketAddr::new(local, inside.local.port());
        for piece in bytes.chunks(cut.unwrap_or(bytes.len()).max(1)) {
            world.send(*now, self.id, Datagram { from, to: peer, bytes: piece.to_vec() });
        }
        let within = world.without_proof(self.id, peer);
        within.unwrap_or_else(|why| state.fail(why));
        Ok(())
    }

    fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
        let State { now, world, sockets, .. } = &mut *self.machine.state();
        let from = sockets.open[&self.id].local;
        world.send(*now, self.id, Datagram { from, to: peer, bytes: bytes.to_vec() });
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
        let taken = self.take(wait)?;
        Ok(copy(taken.as_ref(), buffer))
    }

    /// Joins as many as there are of one length, and a shorter one behind them.
    fn receive_joined(&self, buffer: &mut [u8], wait: bool) -> io::Result<(usize, usize)> {
        let first = self.receive(buffer, wait)?;
        let (mut len, room) = (first, buffer.len());
        let fits = |inside: &Inside, len| {
            let next = inside.queue.front().map_or(0, |next| next.bytes.len());
            (1..=first).contains(&next) && len % first == 0 && len + next <= room
        };
        while first > 0 && self.with(|inside| !inside.is_refused && fits(inside, len)) {
            let taken = self.take(false)?;
            len += copy(taken.as_ref(), &mut buffer[len..]);
        }
        Ok((len, first))
    }

    fn receive_from(
        &self,
        buffer: &mut [u8],
        wait: bool,
    ) -> io::Result<(usize, Option<SocketAddr>)> {
        let taken = self.take(wait)?;
        Ok((copy(taken.as_ref(), buffer), taken.map(|datagram| datagram.from)))
    }

    fn receive_request(&self, buffer: &mut [u8]) -> io::Result<Asked> {
        let taken = self.take(false)?;
        let len = copy(taken.as_ref(), buffer);
        let local: Option<IpAddr> = taken.as_ref().map(|datagram| datagram.to.ip());
        Ok(Asked { len, peer: taken.map(|datagram| datagram.from), local })
    }

    fn receive_requests(
        &self,
        buffer: &mut [u8],
        each: usize,
        asked: &mut Vec<Asked>,
    ) -> io::Result<()> {
        for piece in buffer.chunks_mut(each) {
            match self.receive_request(piece) {
                Ok(one) => asked.push(one),
                Err(_) if !asked.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn cut(&self, into: Option<usize>) -> io::Result<()> {
        let mut state = self.machine.state();
        if state.sockets.offload == Offload::Unknown {
            return Err(ErrorKind::Unsupported.into());
        }
        state.sockets.open.get_mut(&self.id).expect("it is open").cuts = into;
        Ok(())
    }

    fn join(&self) -> io::Result<()> {
        match self.machine.state().sockets.offload {
            Offload::Unknown => Err(ErrorKind::Unsupported.into()),
            Offload::Works | Offload::Fails => Ok(()),
        }
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        // Twice what a queue holds by default: the server counts the kernel's bookkeeping, which is not here.
        Ok(self.machine.state().sockets.receive_buffer)
    }

    fn ask_receive_buffer(&self, _: usize) {}

    fn wait(&self, most: Duration) -> bool {
        let is_ready = || self.machine.state().sockets.is_ready(self.id);
        if !is_ready() && !most.is_zero() {
            self.machine.wait_for(self.id, Some(most));
        }
        is_ready()
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.with(|inside| inside.timeout = Some(timeout));
        Ok(())
    }

    fn hear_errors(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_error(&self) {}

    fn wake(&self) {
        self.with(|inside| inside.is_shut = true);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let State { now, world, sockets, .. } = &mut *self.machine.state();
        sockets.close(self.id);
        for (_, sent) in world.sent.iter_mut().filter(|((id, _), _)| *id == self.id) {
            sent.closed = Some(*now);
        }
    }
}
