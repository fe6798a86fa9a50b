//! Who gets a session: de-duplication, and the bounds on sessions, memory and ERROR answers.

use super::Config;
use super::allowance::{ErrorAllowance, network_of};
use crate::limits;
use crate::net::{Ending, Session};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Which bound turned a request away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// As many transfers as there may be are under way.
    #[error("too many transfers at once")]
    Sessions,
    /// Too many clients have not answered yet.
    #[error("too many clients that have not answered yet")]
    Unproven,
    /// Too many clients of this network have not answered yet.
    #[error("too many clients of this network that have not answered yet")]
    UnprovenOfNetwork,
    /// This network has had as many answers as clients may get that have not answered.
    #[error("this network had as many answers as those may get who do not answer")]
    Answers,
    /// What it asks for does not fit the memory that is left.
    #[error("the memory for transfers is in use")]
    NoMemory,
    /// The system has no descriptor for it.
    #[error("the system has no descriptor for it")]
    NoDescriptor,
    /// All ports for transfers are in use.
    #[error("all ports for transfers are in use")]
    NoPort,
}

/// A client's address and port, and which of ours it asked.
type Party = (SocketAddr, IpAddr);

/// The sessions of a server.
pub(super) struct Admission {
    table: Mutex<Table>,
    errors: Mutex<ErrorAllowance>,
    /// Sessions under way: those that still hold anything, in the table or not, and do not only stay.
    alive: AtomicUsize,
    most_staying: usize,
    /// The most that there may be: in all, without proof, and without proof of one network.
    most: Share,
    most_unproven: Share,
    most_unproven_of_network: Share,
}

/// What some sessions have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    sessions: usize,
    /// Memory for their windows.
    bytes: usize,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<u64, Arc<Slot>>,
    /// The newest session of each party, and the one before it.
    newest: HashMap<Party, (u64, Option<u64>)>,
    last_id: u64,
    unproven: Share,
    unproven_of: HashMap<IpAddr, Share>,
    windows_bytes: usize,
    /// Those that are complete and only stay in case their client says its last once more, in the order in which they
    /// began to.
    staying: BTreeMap<u64, u64>,
    last_turn: u64,
}

/// A session as others see it.
pub(super) struct Slot {
    pub(super) request: Box<[u8]>,
    pub(super) peer: SocketAddr,
    pub(super) local: IpAddr,
    proven: AtomicBool,
    stage: Mutex<Stage>,
}

/// How far a session is, as others see it.
enum Stage {
    /// What it asks for is being opened.
    Opening,
    /// It was ended before that was done.
    Ended(Ending),
    UnderWay(Arc<Session>),
}

impl Slot {
    /// Makes the session known, so that a repeat of its request or a shutdown reaches it.
    pub(super) fn attach(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let before = std::mem::replace(&mut *self.stage(), Stage::UnderWay(Arc::clone(&session)));
        if let Stage::Ended(ending) = before {
            session.end(ending);
        }
        session
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<Arc<Session>> {
        match &*self.stage() {
            Stage::UnderWay(session) => Some(Arc::clone(session)),
            Stage::Opening | Stage::Ended(_) => None,
        }
    }

    fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Ends it, now or as soon as it is under way.
    fn end(&self, ending: Ending) {
        let mut stage = self.stage();
        match &*stage {
            Stage::UnderWay(session) => {
                let session = Arc::clone(session);
                drop(stage);
                session.end(ending);
            }
            Stage::Opening => *stage = Stage::Ended(ending),
            Stage::Ended(_) => {}
        }
    }

    /// The client asked again. Before there is a session, its answer is on the way.
    pub(super) fn repeat(&self) {
        if let Some(session) = self.session() {
            session.repeat();
        }
    }
}

pub(super) enum Admitted {
    New(Ticket),
    /// The same request as that of a session whose client has not answered yet.
    Repeat(Arc<Slot>),
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        let ports = config.ports.as_ref().map_or(usize::MAX, ExactSizeIterator::len);
        let most = Share { sessions: config.sessions, bytes: config.windows_bytes };
        let of_all = |part: fn(usize) -> usize| Share {
            sessions: part(most.sessions),
            bytes: part(most.bytes),
        };
        Self {
            table: Mutex::default(),
            errors: Mutex::new(ErrorAllowance::new()),
            alive: AtomicUsize::new(0),
            most_staying: config.sessions.min(ports).div_ceil(limits::STAYING_SHARE),
            most,
            most_unproven: of_all(|all| all - all / limits::PROVEN_RESERVE),
            most_unproven_of_network: of_all(|all| all.div_ceil(limits::UNPROVEN_SHARE)),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds or makes room for a request.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: &[u8],
        peer: SocketAddr,
        local: IpAddr,
    ) -> Result<Admitted, Refusal> {
        let mut table = self.table();
        let party = (peer, local);
        let newest = table.newest.get(&party).copied();
        let before = newest.and_then(|(id, _)| table.sessions.get(&id)).cloned();
        if let Some(slot) = &before
            && !slot.is_proven()
            && *slot.request == *request
        {
            return Ok(Admitted::Repeat(Arc::clone(slot)));
        }
        let network = network_of(peer.ip());
        if table.sessions.len() >= self.most.sessions
            && let Some(oldest) = table.take_oldest_that_stays()
        {
            drop(table);
            oldest.end(Ending::Abandon);
            table = self.table();
        }
        self.check(&table, network)?;
        // Who asks for a third thing has forgotten the first: one port has two unproven sessions at most. So that
        // nobody is flooded with their first packets, each that is forgotten counts like an ERROR.
        let forgotten = newest.and_then(|(_, id)| table.sessions.get(&id?)).cloned();
        let forgotten = forgotten.filter(|slot| !slot.is_proven());
        if forgotten.is_some() && !self.may_send_error(peer.ip()) {
            return Err(Refusal::Answers);
        }
        table.last_id += 1;
        let id = table.last_id;
        let slot = Arc::new(Slot {
            request: request.into(),
            peer,
            local,
            proven: AtomicBool::new(false),
            stage: Mutex::new(Stage::Opening),
        });
        table.sessions.insert(id, Arc::clone(&slot));
        table.newest.insert(party, (id, newest.map(|(id, _)| id)));
        for share in table.unproven_shares(network) {
            share.sessions += 1;
        }
        self.alive.fetch_add(1, Ordering::Relaxed);
        drop(table);
        if let Some(forgotten) = forgotten {
            forgotten.end(Ending::Abandon);
        }
        let before = before.as_ref().map(Arc::downgrade);
        let (admission, slot) = (Arc::clone(self), Some(slot));
        Ok(Admitted::New(Ticket { admission, id, slot, before, windows_bytes: 0, stays: None }))
    }

    fn check(&self, table: &Table, network: IpAddr) -> Result<(), Refusal> {
        if table.sessions.len() >= self.most.sessions {
            Err(Refusal::Sessions)
        } else if table.unproven.sessions >= self.most_unproven.sessions {
            Err(Refusal::Unproven)
        } else if !network.is_loopback()
            && table.unproven_of(network).sessions >= self.most_unproven_of_network.sessions
        {
            Err(Refusal::UnprovenOfNetwork)
        } else {
            Ok(())
        }
    }

    /// Memory for windows that one more session may have, as long as its client has not answered.
    fn bytes_left(&self, table: &Table, network: IpAddr) -> usize {
        let left = |most: Share, bytes| most.bytes.saturating_sub(bytes);
        let mut least = left(self.most, table.windows_bytes)
            .min(left(self.most_unproven, table.unproven.bytes));
        if !network.is_loopback() {
            let of_network = table.unproven_of(network).bytes;
            least = least.min(left(self.most_unproven_of_network, of_network));
        }
        least
    }

    /// Something has run out that every session needs: some that only stay go.
    pub(super) fn evict_some(&self) {
        for _ in 0..limits::LEAVE_AT_ONCE {
            let oldest = self.table().take_oldest_that_stays();
            let Some(oldest) = oldest else { break };
            oldest.end(Ending::Abandon);
        }
    }

    /// Sessions under way.
    pub(super) fn sessions(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Ends all transfers with an ERROR.
    pub(super) fn stop_all(&self, reason: &str) {
        let slots: Vec<_> = self.table().sessions.values().cloned().collect();
        slots.iter().for_each(|slot| slot.end(Ending::Stop(reason.into())));
    }

    /// Whether one more ERROR may go to this address.
    pub(super) fn may_send_error(&self, to: IpAddr) -> bool {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.take(network_of(to), Instant::now())
    }
}

impl Table {
    fn take_oldest_that_stays(&mut self) -> Option<Arc<Slot>> {
        let (_, id) = self.staying.pop_first()?;
        self.sessions.remove(&id)
    }

    fn unproven_of(&self, network: IpAddr) -> Share {
        self.unproven_of.get(&network).copied().unwrap_or_default()
    }

    /// Where a session of this network counts that is not proven.
    fn unproven_shares(&mut self, network: IpAddr) -> [&mut Share; 2] {
        [&mut self.unproven, self.unproven_of.entry(network).or_default()]
    }

    fn no_longer_unproven(&mut self, peer: IpAddr, bytes: usize) {
        let network = network_of(peer);
        for share in self.unproven_shares(network) {
            share.sessions -= 1;
            share.bytes -= bytes;
        }
        if self.unproven_of(network) == Share::default() {
            self.unproven_of.remove(&network);
        }
    }
}

/// The right to run one session. Dropped, it gives back all that the session had.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    id: u64,
    /// There until it is dropped.
    slot: Option<Arc<Slot>>,
    /// The session that the same party had before; it ends when this one is proven, so that a late copy of a
    /// request kills nothing.
    before: Option<Weak<Slot>>,
    windows_bytes: usize,
    /// Its place among those that stay.
    stays: Option<u64>,
}

impl Ticket {
    pub(super) fn slot(&self) -> Option<Arc<Slot>> {
        self.slot.clone()
    }

    /// The client has answered. Whether that is new.
    pub(super) fn prove(&mut self) -> bool {
        let Some(slot) = &self.slot else { return false };
        if slot.proven.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.admission.table().no_longer_unproven(slot.peer.ip(), self.windows_bytes);
        if let Some(before) = self.before.take().and_then(|before| before.upgrade()) {
            before.end(Ending::Abandon);
        }
        true
    }

    /// Reserves memory for a window, before anything is sent: `wanted` bytes, or what is left.
    pub(super) fn reserve(&mut self, wanted: usize) -> usize {
        let Some(slot) = self.slot() else { return 0 };
        let network = network_of(slot.peer.ip());
        let admission = Arc::clone(&self.admission);
        let mut table = admission.table();
        self.release(&mut table, &slot);
        self.windows_bytes = wanted.min(admission.bytes_left(&table, network));
        table.windows_bytes += self.windows_bytes;
        for share in table.unproven_shares(network) {
            share.bytes += self.windows_bytes;
        }
        self.windows_bytes
    }

    fn release(&mut self, table: &mut Table, slot: &Slot) {
        let bytes = std::mem::take(&mut self.windows_bytes);
        table.windows_bytes -= bytes;
        if !slot.is_proven() {
            for share in table.unproven_shares(network_of(slot.peer.ip())) {
                share.bytes -= bytes;
            }
        }
    }

    /// The file is safe: what is left keeps nothing from others.
    pub(super) fn stay(&mut self) {
        let Some(slot) = self.slot() else { return };
        let admission = Arc::clone(&self.admission);
        let mut table = admission.table();
        self.release(&mut table, &slot);
        table.last_turn += 1;
        let turn = table.last_turn;
        table.staying.insert(turn, self.id);
        let many = table.staying.len() > admission.most_staying;
        let oldest = many.then(|| table.take_oldest_that_stays()).flatten();
        drop(table);
        self.stays = Some(turn);
        admission.alive.fetch_sub(1, Ordering::Relaxed);
        if let Some(oldest) = oldest {
            oldest.end(Ending::Abandon);
        }
    }

    pub(super) const fn stays(&self) -> bool {
        self.stays.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let admission = Arc::clone(&self.admission);
        let mut table = admission.table();
        self.release(&mut table, &slot);
        table.sessions.remove(&self.id);
        if let Some(turn) = self.stays {
            table.staying.remove(&turn);
        }
        let party = (slot.peer, slot.local);
        if table.newest.get(&party).is_some_and(|(newest, _)| *newest == self.id) {
            table.newest.remove(&party);
        }
        if !slot.is_proven() {
            table.no_longer_unproven(slot.peer.ip(), 0);
        }
        drop(table);
        // What the session has, a temporary file perhaps, goes before it stops counting: a server that waits for the
        // last one leaves nothing behind.
        drop(slot);
        if !self.stays() {
            self.admission.alive.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn admission() -> Arc<Admission> {
        Arc::new(Admission::new(&Config::default()))
    }

    fn peer(last: u32) -> SocketAddr {
        (Ipv4Addr::from_bits(0xc0_00_02_00 + last), 2000).into()
    }

    /// The ports of one network's addresses, one after the other.
    fn from_port(n: usize) -> SocketAddr {
        SocketAddr::new(peer(n as u32 % 256).ip(), 3000 + (n / 256) as u16)
    }

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn ticket(admission: &Arc<Admission>, peer: SocketAddr, request: &[u8]) -> Ticket {
        match admission.admit(request, peer, LOCAL) {
            Ok(Admitted::New(ticket)) => ticket,
            _ => panic!("no new session"),
        }
    }

    #[test]
    fn the_same_request_is_one_session_until_its_client_has_answered() {
        let admission = admission();
        let mut first = ticket(&admission, peer(1), b"a");
        assert!(matches!(admission.admit(b"a", peer(1), LOCAL), Ok(Admitted::Repeat(_))));
        first.prove();
        let second = ticket(&admission, peer(1), b"a");
        assert_eq!(admission.sessions(), 2);
        drop((first, second));
        assert_eq!(admission.sessions(), 0);
        assert_eq!(admission.table().unproven, Share::default());
        assert!(admission.table().unproven_of.is_empty() && admission.table().newest.is_empty());
    }

    #[test]
    fn another_request_from_the_same_port_is_another_session_at_once() {
        let admission = admission();
        let _first = ticket(&admission, peer(1), b"a");
        let _second = ticket(&admission, peer(1), b"b");
        assert!(matches!(admission.admit(b"b", peer(1), LOCAL), Ok(Admitted::Repeat(_))));
    }

    #[test]
    fn some_sessions_are_kept_for_clients_that_have_answered() {
        let admission = Arc::new(Admission::new(&Config { sessions: 8, ..Config::default() }));
        let loopback = |n: u16| SocketAddr::from(([127, 0, 0, 1], n));
        let mut tickets: Vec<_> = (1..=6).map(|n| ticket(&admission, loopback(n), b"a")).collect();
        let more = |n| admission.admit(b"a", loopback(n), LOCAL).map(|_| ());
        assert_eq!(more(7), Err(Refusal::Unproven));
        tickets[0].prove();
        assert_eq!(more(7), Ok(()));
    }

    #[test]
    fn a_network_has_so_many_sessions_without_proof_and_no_more() {
        let admission = admission();
        let most = limits::SESSIONS / limits::UNPROVEN_SHARE;
        let mut tickets: Vec<_> =
            (0..most).map(|n| ticket(&admission, from_port(n), &n.to_be_bytes())).collect();
        let more = |last| admission.admit(b"more", peer(last), LOCAL).map(|_| ());
        assert_eq!(more(7), Err(Refusal::UnprovenOfNetwork));
        assert_eq!(more(256), Ok(()), "the next network");
        tickets[0].prove();
        assert_eq!(more(7), Ok(()), "one of them has answered");
    }

    #[test]
    fn memory_for_windows_is_bounded_and_comes_back() {
        let admission =
            Arc::new(Admission::new(&Config { windows_bytes: 1000, ..Config::default() }));
        let networks = |n| (Ipv4Addr::new(192, 0, n, 1), 2000).into();
        let mut tickets: Vec<_> = (0..6).map(|n| ticket(&admission, networks(n), b"a")).collect();
        let proven = |ticket: &mut Ticket| (ticket.reserve(250), ticket.prove()).0;
        let got: Vec<_> = tickets[..3].iter_mut().map(proven).collect();
        assert_eq!(got, [250, 250, 250]);
        assert_eq!((tickets[3].reserve(200), tickets[4].reserve(200)), (200, 50));
        assert_eq!((tickets[3].reserve(100), tickets[4].reserve(200)), (100, 150));
        drop(tickets.pop());
        drop(tickets.drain(..3));
        assert_eq!(tickets[1].reserve(5000), 250);
        drop(tickets);
        let table = admission.table();
        assert_eq!((table.windows_bytes, table.unproven), (0, Share::default()));
    }

    #[test]
    fn clients_that_have_not_answered_leave_memory_for_windows() {
        let admission =
            Arc::new(Admission::new(&Config { windows_bytes: 1000, ..Config::default() }));
        let of = |network, n| (Ipv4Addr::new(192, 0, network, 1), n).into();
        let mut silent = Vec::new();
        let mut reserve = |peer| {
            let mut ticket = ticket(&admission, peer, b"a");
            let bytes = ticket.reserve(200);
            silent.push(ticket);
            bytes
        };
        assert_eq!([reserve(of(1, 1)), reserve(of(1, 2)), reserve(of(1, 3))], [200, 50, 0]);
        assert_eq!([reserve(of(2, 1)), reserve(of(2, 2))], [200, 50]);
        assert_eq!([reserve(of(3, 1)), reserve(of(3, 2)), reserve(of(4, 1))], [200, 50, 0]);
        silent[0].prove();
        assert_eq!(ticket(&admission, of(1, 4), b"a").reserve(500), 200);
        assert_eq!(ticket(&admission, of(4, 2), b"a").reserve(500), 200);
    }

    #[test]
    fn who_asks_for_ever_more_without_an_answer_gets_as_much_as_errors_would_be() {
        let admission = admission();
        let mut kept = std::collections::VecDeque::new();
        let mut ask = |n: u32| {
            let admitted = admission.admit(&n.to_be_bytes(), peer(1), LOCAL);
            let Ok(Admitted::New(ticket)) = admitted else { return admitted.err() };
            kept.push_back(ticket);
            // What is abandoned ends.
            if kept.len() > 2 {
                kept.pop_front();
            }
            None
        };
        let most = limits::ERROR_BURST + 2;
        let refused: Vec<_> = (0..most + 500).filter_map(&mut ask).collect();
        assert!((1..=500).contains(&refused.len()), "{}", refused.len());
        assert!(refused.iter().all(|why| *why == Refusal::Answers));
    }

    #[test]
    fn who_has_stayed_longest_leaves_first_whoever_began_first() {
        let admission = admission();
        let mut long = ticket(&admission, peer(1), b"a");
        let mut short = ticket(&admission, peer(2), b"a");
        short.stay();
        long.stay();
        let oldest = || admission.table().take_oldest_that_stays().map(|slot| slot.peer);
        assert_eq!([oldest(), oldest(), oldest()], [Some(peer(2)), Some(peer(1)), None]);
    }
}
