//! A system for the tests of this module: sockets that hold what a test puts there, and time that goes on only where a
//! test says so, or somebody waits in vain.

use super::system::{Asked, Job, Poller, Pool, System, Udp, WOKEN};
use crate::proto::Time;
use nix::errno::Errno;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Such a system. Its clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now: Time,
    /// In the order in which they were bound.
    pub(super) sockets: Vec<Inside>,
    /// What is said to who wants another one, or has one watched.
    pub(super) refuses: Option<Errno>,
    /// How often a poller was asked that was not to wait.
    pub(super) looks: usize,
}

/// The first port that is given to who wants any.
pub(super) const FIRST_PORT: u16 = 1000;

/// What a socket has.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    /// What is there to be received, and from whom.
    pub(super) came: VecDeque<(Result<Vec<u8>, Errno>, SocketAddr)>,
    pub(super) sent: Vec<Sent>,
    /// How many more datagrams find room; there is room at once for who may wait for it.
    pub(super) room: usize,
    /// What is said of all that is sent.
    pub(super) fails: Option<Errno>,
    /// Whether what is sent can be cut, and what is said when it is cut.
    pub(super) cuts: bool,
    pub(super) fails_to_cut: Option<Errno>,
    cut: Option<usize>,
    pub(super) receive_buffer: usize,
    /// Bytes to which that can grow.
    pub(super) most_buffer: usize,
    /// Whether datagrams can be joined, and how often that was asked for.
    pub(super) joins: bool,
    pub(super) asked_to_join: usize,
    /// Whether a poller tells of room, and how often it was told about that.
    pub(super) tells_of_room: bool,
    pub(super) told_of_room: usize,
    /// How often what the network said was to be forgotten.
    pub(super) forgotten: usize,
    timeout: Option<Duration>,
    /// Who receives waits no more.
    is_shut: bool,
}

/// What was sent in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    /// The length into which it is cut.
    pub(super) cut: Option<usize>,
    pub(super) to: SocketAddr,
}

impl Inside {
    fn is_ready(&self) -> bool {
        !self.came.is_empty() || self.is_shut || self.tells_of_room && self.room > 0
    }
}

impl Fake {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` with the socket that was bound last.
    pub(super) fn last<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(self.state().sockets.last_mut().expect("a socket was bound"))
    }

    /// Calls `act` with each socket.
    pub(super) fn all(&self, act: impl FnMut(&mut Inside)) {
        self.state().sockets.iter_mut().for_each(act);
    }

    /// From now on the last socket has this to be received, which `from` sent.
    pub(super) fn comes(&self, datagram: &[u8], from: SocketAddr) {
        self.last(|inside| inside.came.push_back((Ok(datagram.to_vec()), from)));
    }

    /// What was sent from the last socket and not taken before.
    pub(super) fn sent(&self) -> Vec<Vec<u8>> {
        self.last(|inside| std::mem::take(&mut inside.sent).into_iter().map(|sent| sent.bytes))
            .collect()
    }

    /// From now on it is so much later.
    pub(super) fn spend(&self, span: Duration) {
        let mut state = self.state();
        state.now = state.now + span;
    }
}

impl System for Fake {
    fn now(&self) -> Time {
        self.state().now
    }

    fn random(&self) -> u64 {
        4
    }

    fn processors(&self) -> usize {
        0
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>> {
        self.bind(address)
    }

    fn bind(&self, local: SocketAddr) -> io::Result<Box<dyn Udp>> {
        let mut state = self.state();
        if let Some(errno) = state.refuses {
            return Err(errno.into());
        }
        let at = state.sockets.len();
        let is_free = |port: &u16| state.sockets.iter().all(|inside| inside.local.port() != *port);
        let port =
            if local.port() == 0 { (FIRST_PORT..).find(is_free) } else { Some(local.port()) };
        let port = port.filter(is_free).ok_or(ErrorKind::AddrInUse)?;
        state.sockets.push(Inside {
            local: {
                // With the interface of an address that has one.
                let mut at = local;
                at.set_port(port);
                at
            },
            peer: None,
            came: VecDeque::new(),
            sent: Vec::new(),
            room: usize::MAX,
            fails: None,
            cuts: false,
            fails_to_cut: None,
            cut: None,
            receive_buffer: 1 << 16,
            most_buffer: usize::MAX,
            joins: true,
            asked_to_join: 0,
            tells_of_room: false,
            told_of_room: 0,
            forgotten: 0,
            timeout: None,
            is_shut: false,
        });
        Ok(Box::new(FakeSocket { system: self.clone(), at }))
    }

    fn adopt(&self, _: OwnedFd) -> io::Result<Box<dyn Udp>> {
        self.bind(([127, 0, 0, 1], 0).into())
    }

    fn path_bytes(&self, _: SocketAddr) -> Option<usize> {
        Some(1500)
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        Ok(Box::new(FakePoller { system: self.clone(), watched: Mutex::default() }))
    }

    fn spawn(&self, _: &'static str, _: Job) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn pool(&self, _: usize) -> Arc<dyn Pool> {
        Arc::new(AtOnce)
    }
}

#[derive(Debug)]
struct FakeSocket {
    system: Fake,
    at: usize,
}

impl FakeSocket {
    fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.system.state().sockets[self.at])
    }

    fn put(&self, bytes: &[u8], cut: Option<usize>, to: SocketAddr, wait: bool) -> io::Result<()> {
        self.with(|inside| {
            inside.room = inside.room.max(wait.into());
            if let Some(error) = inside.fails {
                return Err(error.into());
            }
            inside.room = inside.room.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
            inside.sent.push(Sent { bytes: bytes.to_vec(), cut, to });
            Ok(())
        })
    }

    fn take(&self, buffer: &mut [u8], wait: bool) -> io::Result<(usize, SocketAddr)> {
        if wait {
            self.wait(self.with(|inside| inside.timeout).expect("nobody waits for ever"));
        }
        let next = self.with(|inside| {
            let word = inside.peer.filter(|_| inside.is_shut).map(|peer| (Ok(Vec::new()), peer));
            inside.came.pop_front().or(word)
        });
        let (came, from) = next.ok_or(ErrorKind::WouldBlock)?;
        let came = came?;
        let len = came.len().min(buffer.len());
        buffer[..len].copy_from_slice(&came[..len]);
        Ok((len, from))
    }
}

impl Udp for FakeSocket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.with(|inside| inside.local))
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.with(|inside| inside.peer = Some(peer));
        Ok(())
    }

    fn send(&self, bytes: &[u8], wait: bool) -> io::Result<()> {
        let to = self.with(|inside| inside.peer).ok_or(ErrorKind::NotConnected)?;
        let cut = self.with(|inside| inside.cut).filter(|cut| bytes.len() > *cut);
        match self.with(|inside| inside.fails_to_cut).filter(|_| cut.is_some()) {
            Some(errno) => Err(errno.into()),
            None => self.put(bytes, cut, to, wait),
        }
    }

    fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
        self.put(bytes, None, peer, true)
    }

    fn send_from(
        &self,
        bytes: &[u8],
        cut: Option<usize>,
        _: IpAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        self.put(bytes, cut, peer, false)
    }

    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
        self.take(buffer, wait).map(|(len, _)| len)
    }

    fn receive_joined(&self, buffer: &mut [u8], wait: bool) -> io::Result<(usize, usize)> {
        let (first, _) = self.take(buffer, wait)?;
        let mut len = first;
        let is_like = |came: &Result<Vec<u8>, Errno>| {
            came.as_ref().is_ok_and(|came| first > 0 && came.len() == first)
        };
        while len + first <= buffer.len()
            && self.with(|inside| inside.came.front().is_some_and(|(came, _)| is_like(came)))
        {
            len += self.take(&mut buffer[len..], false)?.0;
        }
        Ok((len, first))
    }

    fn receive_from(
        &self,
        buffer: &mut [u8],
        wait: bool,
    ) -> io::Result<(usize, Option<SocketAddr>)> {
        self.take(buffer, wait).map(|(len, from)| (len, Some(from)))
    }

    fn receive_request(&self, buffer: &mut [u8]) -> io::Result<Asked> {
        let (len, from) = self.take(buffer, false)?;
        let local = Some(self.with(|inside| inside.local.ip()));
        Ok(Asked { len, peer: Some(from), local })
    }

    fn receive_requests(
        &self,
        buffer: &mut [u8],
        each: usize,
        asked: &mut Vec<Asked>,
    ) -> io::Result<()> {
        for piece in buffer.chunks_mut(each) {
            match self.receive_request(piece) {
                Err(_) if !asked.is_empty() => break,
                one => asked.push(one?),
            }
        }
        Ok(())
    }

    fn cut(&self, into: Option<usize>) -> io::Result<()> {
        self.with(|inside| {
            inside.cut = into.filter(|_| inside.cuts);
            inside.cuts.then_some(()).ok_or_else(|| ErrorKind::Unsupported.into())
        })
    }

    fn join(&self) -> io::Result<()> {
        self.with(|inside| {
            inside.asked_to_join += 1;
            inside.joins.then_some(()).ok_or_else(|| ErrorKind::Unsupported.into())
        })
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        Ok(self.with(|inside| inside.receive_buffer))
    }

    fn ask_receive_buffer(&self, bytes: usize) {
        self.with(|inside| inside.receive_buffer = bytes.min(inside.most_buffer));
    }

    fn wait(&self, most: Duration) -> bool {
        if !self.with(|inside| inside.is_ready()) {
            self.system.spend(most);
        }
        self.with(|inside| !inside.came.is_empty())
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.with(|inside| inside.timeout = Some(timeout));
        Ok(())
    }

    fn hear_errors(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_error(&self) {
        self.with(|inside| inside.forgotten += 1);
    }

    fn wake(&self) {
        self.with(|inside| inside.is_shut = true);
    }
}

#[derive(Debug)]
struct FakePoller {
    system: Fake,
    /// The names of sockets, and whether it was woken.
    watched: Mutex<(BTreeMap<usize, u64>, bool)>,
}

impl FakePoller {
    fn watched(&self) -> MutexGuard<'_, (BTreeMap<usize, u64>, bool)> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own(socket: &dyn Udp) -> &FakeSocket {
    (socket as &dyn Any).downcast_ref().expect("a socket of this system")
}

impl Poller for FakePoller {
    fn add(&self, socket: &dyn Udp, name: u64) -> io::Result<()> {
        if let Some(errno) = self.system.state().refuses {
            return Err(errno.into());
        }
        self.watched().0.insert(own(socket).at, name);
        Ok(())
    }

    fn tell_of_room(&self, socket: &dyn Udp, _: u64, wanted: bool) -> io::Result<()> {
        own(socket).with(|inside| {
            inside.tells_of_room = wanted;
            inside.told_of_room += 1;
        });
        Ok(())
    }

    fn remove(&self, socket: &dyn Udp) {
        self.watched().0.remove(&own(socket).at);
    }

    fn wait(&self, most: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let mut watched = self.watched();
        ready.extend(std::mem::take(&mut watched.1).then_some(WOKEN));
        let mut state = self.system.state();
        state.looks += usize::from(most == Some(Duration::ZERO));
        let told = watched.0.iter().filter(|(at, _)| state.sockets[**at].is_ready());
        ready.extend(told.map(|(_, name)| *name));
        ready.truncate(crate::limits::EVENTS_AT_ONCE);
        if ready.is_empty() {
            state.now = state.now + most.expect("nobody waits for ever");
        }
        Ok(())
    }

    fn wake(&self) {
        self.watched().1 = true;
    }
}

/// Runs everything here and now.
#[derive(Debug)]
struct AtOnce;

impl Pool for AtOnce {
    fn run(&self, job: Job) {
        // One that panics costs no thread.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
