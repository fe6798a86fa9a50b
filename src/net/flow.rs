//! One socket for many transfers. Each has its flow there: the datagrams between one of our addresses and one peer.
//!
//! A [`Flow`] is the [`Udp`] of a transfer like any other, so whoever drives one does not know the difference, but for
//! this: no poller can watch it. Whoever reads the shared socket delivers what came to its flow, and is told who listens
//! there.

use super::system::{Asked, Udp};
use crate::limits;
use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The flows of a shared socket: one for each session, so there are no more of them than of those.
#[derive(Debug)]
pub(super) struct Flows {
    socket: Arc<dyn Udp>,
    open: Mutex<HashMap<Ends, Arc<Inner>>>,
    /// Bytes that wait in all of them.
    waiting: AtomicUsize,
}

/// The peer, and the address of ours that it talks to.
type Ends = (SocketAddr, IpAddr);

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Who has this key is to look at its flow.
    For(usize),
    /// It waits for someone who is busy, or there is no room for it.
    Kept,
    /// It belongs to no flow.
    Stray,
}

/// Whether a datagram is meant for a transfer, and not for whoever takes requests.
pub(crate) const fn is_of_a_transfer(datagram: &[u8]) -> bool {
    matches!(datagram, [0, 3..=6, ..])
}

/// Tells a loop that one of its transfers is to look around.
pub(super) trait Bell: Send + Sync {
    /// The transfer with this key is to look around, soon.
    fn ring(&self, key: usize);
}

/// The flow of one transfer. It is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Flow {
    flows: Arc<Flows>,
    inner: Arc<Inner>,
}

struct Inner {
    ends: Ends,
    session: u64,
    /// The length into which what is sent is cut; 0 cuts nothing.
    cut: AtomicUsize,
    inbox: Mutex<Inbox>,
    listener: Mutex<Option<(usize, Arc<dyn Bell>)>>,
}

/// Datagrams that wait, one behind the other.
#[derive(Debug)]
struct Inbox {
    bytes: VecDeque<u8>,
    lengths: VecDeque<usize>,
    /// Bytes that may wait, and the next datagram may come as long as there are fewer.
    most: usize,
}

impl Flows {
    pub(super) fn new(socket: Arc<dyn Udp>) -> Arc<Self> {
        Arc::new(Self { socket, open: Mutex::default(), waiting: AtomicUsize::new(0) })
    }

    /// Opens the flow between `peer` and `local` of the session with this number. That with the highest hears what comes:
    /// what was asked for later may be there sooner.
    pub(super) fn open(self: &Arc<Self>, peer: SocketAddr, local: IpAddr, session: u64) -> Flow {
        let ends = (peer, local);
        let inner = Arc::new(Inner {
            ends,
            session,
            cut: AtomicUsize::new(0),
            inbox: Mutex::new(Inbox::new(limits::FLOW_BYTES)),
            listener: Mutex::default(),
        });
        let mut opened = self.opened();
        if opened.get(&ends).is_none_or(|other| other.session < session) {
            opened.insert(ends, Arc::clone(&inner));
        }
        drop(opened);
        Flow { flows: Arc::clone(self), inner }
    }

    /// Hands over a datagram that came from `peer` to `local`.
    pub(super) fn deliver(&self, datagram: &[u8], peer: SocketAddr, local: IpAddr) -> Delivery {
        let Some(inner) = self.opened().get(&(peer, local)).map(Arc::clone) else {
            return Delivery::Stray;
        };
        let before = self.waiting.fetch_add(datagram.len(), Ordering::Relaxed);
        // Where there is no room it is lost, as it would be in a socket.
        if before > limits::FLOWS_BYTES || !inner.inbox().push(datagram) {
            self.waiting.fetch_sub(datagram.len(), Ordering::Relaxed);
        }
        inner.listener().as_ref().map_or(Delivery::Kept, |(key, _)| Delivery::For(*key))
    }

    /// Sends to `peer` from `local`, cut into datagrams of so many bytes.
    pub(super) fn send(&self, bytes: &[u8], cut: Option<usize>, ends: Ends) -> io::Result<()> {
        let (peer, local) = ends;
        self.socket.send_from(bytes, cut, local, peer)
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<Ends, Arc<Inner>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// From now on [`Delivery`] names `key`, and `bell` is rung when it is [woken](Udp::wake).
    pub(super) fn listen(&self, key: usize, bell: Arc<dyn Bell>) {
        *self.inner.listener() = Some((key, bell));
    }

    /// From now on nobody listens.
    pub(super) fn listen_no_more(&self) {
        *self.inner.listener() = None;
    }

    /// Whether something waits.
    pub(super) fn has_something(&self) -> bool {
        !self.inner.inbox().lengths.is_empty()
    }

    fn take(&self, inbox: &mut Inbox, buffer: &mut [u8]) -> Option<usize> {
        let (copied, len) = inbox.pop(buffer)?;
        self.flows.waiting.fetch_sub(len, Ordering::Relaxed);
        Some(copied)
    }

    /// The flow behind a socket, if it is one.
    pub(super) fn of(socket: &dyn Udp) -> Option<&Self> {
        (socket as &dyn Any).downcast_ref()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let mut inbox = self.inner.inbox();
        self.flows.waiting.fetch_sub(inbox.bytes.len(), Ordering::Relaxed);
        // What comes to it in this moment finds no room.
        *inbox = Inbox::new(0);
        drop(inbox);
        // Another may have its ends by now.
        if let Entry::Occupied(open) = self.flows.opened().entry(self.inner.ends)
            && Arc::ptr_eq(open.get(), &self.inner)
        {
            open.remove();
        }
    }
}

impl Inner {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> MutexGuard<'_, Option<(usize, Arc<dyn Bell>)>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Inbox {
    const fn new(most: usize) -> Self {
        Self { bytes: VecDeque::new(), lengths: VecDeque::new(), most }
    }

    /// Takes a datagram, if there is room.
    fn push(&mut self, datagram: &[u8]) -> bool {
        let has_room = self.bytes.len() < self.most && self.lengths.len() < limits::FLOW_DATAGRAMS;
        if has_room {
            self.bytes.extend(datagram);
            self.lengths.push_back(datagram.len());
        }
        has_room
    }

    /// Takes out the first datagram. What is longer than `buffer` is cut. Gives its length, and as it was.
    fn pop(&mut self, buffer: &mut [u8]) -> Option<(usize, usize)> {
        let len = self.lengths.pop_front()?;
        let copied = len.min(buffer.len());
        // So many there are.
        let _ = self.bytes.read_exact(&mut buffer[..copied]);
        self.bytes.drain(..len - copied);
        Some((copied, len))
    }
}

impl Udp for Flow {
    fn local_address(&self) -> io::Result<SocketAddr> {
        let port = self.flows.socket.local_address()?.port();
        Ok(SocketAddr::new(self.inner.ends.1, port))
    }

    fn connect(&self, _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn send(&self, bytes: &[u8], _: bool) -> io::Result<()> {
        let cut = Some(self.inner.cut.load(Ordering::Relaxed));
        self.flows.send(bytes, cut.filter(|cut| (1..bytes.len()).contains(cut)), self.inner.ends)
    }

    fn send_to(&self, _: &[u8], _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn send_from(&self, _: &[u8], _: Option<usize>, _: IpAddr, _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn receive(&self, buffer: &mut [u8], _: bool) -> io::Result<usize> {
        self.take(&mut self.inner.inbox(), buffer).ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn receive_joined(&self, buffer: &mut [u8], _: bool) -> io::Result<(usize, usize)> {
        let mut inbox = self.inner.inbox();
        let first = self.take(&mut inbox, buffer).ok_or(ErrorKind::WouldBlock)?;
        let mut len = first;
        while first > 0
            && len.is_multiple_of(first)
            && let Some(next) = inbox.lengths.front().filter(|next| (1..=first).contains(*next))
            && len + next <= buffer.len()
        {
            len += self.take(&mut inbox, &mut buffer[len..]).unwrap_or_default();
        }
        Ok((len, first))
    }

    fn receive_from(&self, _: &mut [u8], _: bool) -> io::Result<(usize, Option<SocketAddr>)> {
        Err(ErrorKind::Unsupported.into())
    }

    fn receive_request(&self, _: &mut [u8]) -> io::Result<Asked> {
        Err(ErrorKind::Unsupported.into())
    }

    fn receive_requests(&self, _: &mut [u8], _: usize, _: &mut Vec<Asked>) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn cut(&self, into: Option<usize>) -> io::Result<()> {
        self.inner.cut.store(into.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    fn join(&self) -> io::Result<()> {
        Ok(())
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        Ok(self.inner.inbox().most)
    }

    fn ask_receive_buffer(&self, bytes: usize) {
        self.inner.inbox().most = bytes;
    }

    fn wait(&self, _: Duration) -> bool {
        self.has_something()
    }

    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn hear_errors(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_error(&self) {}

    fn wake(&self) {
        if let Some((key, bell)) = &*self.inner.listener() {
            bell.ring(*key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::fake::{Fake, Sent};
    use crate::net::{Kernel, System};
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn flows() -> Arc<Flows> {
        let socket = Kernel::start().bind((LOCAL, 0).into()).expect("a socket");
        Flows::new(socket.into())
    }

    fn peer(port: u16) -> SocketAddr {
        (LOCAL, port).into()
    }

    /// Notes for whom it was rung.
    #[derive(Default)]
    struct Rung(Mutex<Vec<usize>>);

    impl Bell for Rung {
        fn ring(&self, key: usize) {
            self.0.lock().expect("no panic").push(key);
        }
    }

    #[test]
    fn who_listens_is_named_and_woken_and_who_listens_no_more_is_not() {
        let (flows, bell) = (flows(), Arc::new(Rung::default()));
        let flow = flows.open(peer(1), LOCAL, 1);
        flow.wake();
        flow.listen(7, Arc::clone(&bell) as Arc<dyn Bell>);
        flow.wake();
        assert_eq!(flows.deliver(b"a", peer(1), LOCAL), Delivery::For(7));
        flow.listen_no_more();
        flow.wake();
        assert_eq!(flows.deliver(b"b", peer(1), LOCAL), Delivery::Kept);
        assert_eq!(*bell.0.lock().expect("no panic"), [7]);
    }

    #[test]
    fn what_was_asked_for_last_hears_what_comes_whichever_was_opened_first() {
        let flows = flows();
        let newer = flows.open(peer(1), LOCAL, 2);
        let older = flows.open(peer(1), LOCAL, 1);
        newer.listen(7, Arc::new(Rung::default()));
        older.listen(8, Arc::new(Rung::default()));
        assert_eq!(flows.deliver(b"a", peer(1), LOCAL), Delivery::For(7));
        drop(older);
        assert_eq!(flows.deliver(b"b", peer(1), LOCAL), Delivery::For(7));
        let newest = flows.open(peer(1), LOCAL, 3);
        assert_eq!(flows.deliver(b"c", peer(1), LOCAL), Delivery::Kept, "nobody listens yet");
        drop(newer);
        assert!(newest.has_something());
        for (peer, local) in [(peer(2), LOCAL), (peer(1), Ipv4Addr::new(127, 0, 0, 2).into())] {
            assert_eq!(flows.deliver(b"d", peer, local), Delivery::Stray);
        }
        drop(newest);
        assert_eq!(flows.deliver(b"e", peer(1), LOCAL), Delivery::Stray);
        assert_eq!(flows.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_waits_is_bounded_and_comes_back_in_its_order() {
        let flows = flows();
        let (flow, other) = (flows.open(peer(1), LOCAL, 1), flows.open(peer(2), LOCAL, 2));
        let mut buffer = [0; 5000];
        let mut fill = |flow: &Flow, port, len: usize| {
            (0..50).for_each(|n| {
                flows.deliver(&vec![n; len], peer(port), LOCAL);
            });
            let received = std::iter::from_fn(|| {
                let taken = flow.receive(&mut buffer, false).ok()?;
                Some((taken, buffer[0]))
            });
            received.collect::<Vec<_>>()
        };
        // It takes one beyond, or one that is too large by itself could never come.
        let most = limits::FLOW_BYTES / 600 + 1;
        assert_eq!(fill(&flow, 1, 600), (0..most).map(|n| (600, n as u8)).collect::<Vec<_>>());
        flow.ask_receive_buffer(10_000);
        assert_eq!(flow.receive_buffer().expect("its size"), 10_000);
        assert_eq!(fill(&flow, 1, 1000).len(), 10);
        flow.ask_receive_buffer(usize::MAX);
        (0..limits::FLOW_DATAGRAMS + 9).for_each(|_| {
            flows.deliver(b"", peer(1), LOCAL);
        });
        assert_eq!(flow.inner.inbox().lengths.len(), limits::FLOW_DATAGRAMS, "empty ones are ones");
        flow.inner.inbox().lengths.clear();
        let datagram = vec![0; 1 << 16];
        let most = limits::FLOWS_BYTES / datagram.len() + 1;
        (0..most + 9).for_each(|_| {
            flows.deliver(&datagram, peer(1), LOCAL);
        });
        assert_eq!(flow.inner.inbox().lengths.len(), most);
        assert_eq!(fill(&other, 2, 1).len(), 0, "all have it together");
        drop(flow);
        assert_eq!(fill(&other, 2, 1).len(), 50);
    }

    #[test]
    fn datagrams_of_one_length_come_as_one_and_what_is_too_long_is_cut() {
        let flows = flows();
        let flow = flows.open(peer(1), LOCAL, 1);
        for len in [4, 4, 3, 4, 9] {
            flows.deliver(&vec![len; len.into()], peer(1), LOCAL);
        }
        let mut buffer = [0; 100];
        let mut joined = |room| flow.receive_joined(&mut buffer[..room], false).ok();
        assert_eq!([joined(100), joined(100)], [Some((11, 4)), Some((4, 4))]);
        assert_eq!([joined(5), joined(5)], [Some((5, 5)), None]);
        for len in [4, 4, 4, 0] {
            flows.deliver(&vec![len; len.into()], peer(1), LOCAL);
        }
        // Two fit, and a third would not be whole.
        assert_eq!([joined(11), joined(8), joined(8)], [Some((8, 4)), Some((4, 4)), Some((0, 0))]);
        assert_eq!(flows.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_sent_goes_to_its_one_peer_and_is_cut_as_it_was_told() {
        let fake = Fake::default();
        let flows = Flows::new(fake.bind((LOCAL, 0).into()).expect("a socket").into());
        let flow = flows.open(peer(1), LOCAL, 1);
        let mut cuts = Vec::new();
        for (into, len) in [(None, 9), (Some(4), 9), (Some(4), 4), (Some(4), 3), (None, 9)] {
            flow.cut(into).expect("it can be cut");
            flow.send(&[7; 9][..len], false).expect("sent");
            let sent = fake.last(|inside| inside.sent.pop()).expect("it was sent");
            cuts.push(sent.cut);
            assert_eq!(sent, Sent { bytes: vec![7; len], cut: sent.cut, to: peer(1) });
        }
        assert_eq!(cuts, [None, Some(4), None, None, None]);
        // Who wants another peer, or strangers, is wrong here.
        let buffer = &mut [0; 9];
        let refused = [
            flow.connect(peer(2)),
            flow.send_to(b"a", peer(2)),
            flow.send_from(b"a", None, LOCAL, peer(2)),
            flow.receive_from(buffer, false).map(drop),
            flow.receive_request(buffer).map(drop),
            flow.receive_requests(buffer, 3, &mut Vec::new()),
        ];
        let refused = refused.map(|told| told.map_err(|error| error.kind()));
        assert_eq!(refused, [Err(ErrorKind::Unsupported); 6]);
        assert_eq!(fake.last(|inside| inside.sent.len()), 0);
        // The shared socket may be at all addresses.
        let port = flows.socket.local_address().expect("its address").port();
        let any = fake.bind(([0, 0, 0, 0], port + 1).into()).expect("a socket");
        let flow = Flows::new(any.into()).open(peer(1), LOCAL, 1);
        assert_eq!(flow.local_address().expect("its address"), peer(port + 1));
    }

    #[test]
    fn a_look_tells_whether_something_waits() {
        let flows = flows();
        let flow = flows.open(peer(1), LOCAL, 1);
        assert!(!flow.wait(Duration::ZERO) && !flow.has_something());
        flows.deliver(b"", peer(1), LOCAL);
        assert!(flow.wait(Duration::ZERO) && flow.has_something(), "an empty one is one");
        assert_eq!(flow.receive(&mut [0], false).expect("it was there"), 0);
        assert!(!flow.wait(Duration::ZERO) && !flow.has_something());
    }
}
