//! Who gets a session: de-duplication, and the bounds on sessions, memory and ERROR answers.

use super::Config;
use crate::limits;
use crate::net::{Ending, Session};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
    /// The system has no thread for it.
    #[error("the system has no thread for it")]
    NoThread,
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
    most_sessions: usize,
    most_staying: usize,
    windows_bytes: usize,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<u64, Arc<Slot>>,
    /// The newest session of each party, and the one before it.
    newest: HashMap<Party, (u64, Option<u64>)>,
    last_id: u64,
    unproven: usize,
    unproven_of: HashMap<IpAddr, usize>,
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
        Self {
            table: Mutex::default(),
            errors: Mutex::new(ErrorAllowance::new()),
            alive: AtomicUsize::new(0),
            most_sessions: config.sessions,
            most_staying: config.sessions.min(ports).div_ceil(limits::STAYING_SHARE),
            windows_bytes: config.windows_bytes,
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
        if table.sessions.len() >= self.most_sessions
            && let Some(oldest) = table.take_oldest_that_stays()
        {
            drop(table);
            oldest.end(Ending::Abandon);
            table = self.table();
        }
        table.check(self.most_sessions, network)?;
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
        table.unproven += 1;
        *table.unproven_of.entry(network).or_default() += 1;
        self.alive.fetch_add(1, Ordering::Relaxed);
        // Who asks for a third thing has forgotten the first: one port has two unproven sessions at most.
        let forgotten = newest.and_then(|(_, id)| table.sessions.get(&id?)).cloned();
        drop(table);
        if let Some(forgotten) = forgotten.filter(|slot| !slot.is_proven()) {
            forgotten.end(Ending::Abandon);
        }
        let before = before.as_ref().map(Arc::downgrade);
        let (admission, slot) = (Arc::clone(self), Some(slot));
        Ok(Admitted::New(Ticket { admission, id, slot, before, windows_bytes: 0, stays: None }))
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
    fn check(&self, most_sessions: usize, network: IpAddr) -> Result<(), Refusal> {
        let of_network = self.unproven_of.get(&network).copied().unwrap_or_default();
        if self.sessions.len() >= most_sessions {
            Err(Refusal::Sessions)
        } else if self.unproven >= most_sessions - most_sessions / limits::PROVEN_RESERVE {
            Err(Refusal::Unproven)
        } else if of_network >= most_sessions.div_ceil(limits::UNPROVEN_SHARE)
            && !network.is_loopback()
        {
            Err(Refusal::UnprovenOfNetwork)
        } else {
            Ok(())
        }
    }

    fn take_oldest_that_stays(&mut self) -> Option<Arc<Slot>> {
        let (_, id) = self.staying.pop_first()?;
        self.sessions.remove(&id)
    }

    fn no_longer_unproven(&mut self, peer: IpAddr) {
        self.unproven -= 1;
        let network = network_of(peer);
        if let Some(count) = self.unproven_of.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.unproven_of.remove(&network);
            }
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
        self.admission.table().no_longer_unproven(slot.peer.ip());
        if let Some(before) = self.before.take().and_then(|before| before.upgrade()) {
            before.end(Ending::Abandon);
        }
        true
    }

    /// Reserves memory for a window: `wanted` bytes, or what is left.
    pub(super) fn reserve(&mut self, wanted: usize) -> usize {
        let mut table = self.admission.table();
        table.windows_bytes -= self.windows_bytes;
        let left = self.admission.windows_bytes.saturating_sub(table.windows_bytes);
        self.windows_bytes = wanted.min(left);
        table.windows_bytes += self.windows_bytes;
        self.windows_bytes
    }

    /// The file is safe: what is left keeps nothing from others.
    pub(super) fn stay(&mut self) {
        self.reserve(0);
        let mut table = self.admission.table();
        table.last_turn += 1;
        let turn = table.last_turn;
        table.staying.insert(turn, self.id);
        let many = table.staying.len() > self.admission.most_staying;
        let oldest = many.then(|| table.take_oldest_that_stays()).flatten();
        drop(table);
        self.stays = Some(turn);
        self.admission.alive.fetch_sub(1, Ordering::Relaxed);
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
        let mut table = self.admission.table();
        table.sessions.remove(&self.id);
        if let Some(turn) = self.stays {
            table.staying.remove(&turn);
        }
        table.windows_bytes -= self.windows_bytes;
        let party = (slot.peer, slot.local);
        if table.newest.get(&party).is_some_and(|(newest, _)| *newest == self.id) {
            table.newest.remove(&party);
        }
        if !slot.is_proven() {
            table.no_longer_unproven(slot.peer.ip());
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

/// The network that an address is counted with: what one customer usually has.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) if v6.is_loopback() => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 56)).into(),
    }
}

/// A token bucket for each of a fixed number of slots that networks are hashed into.
struct ErrorAllowance {
    buckets: Vec<(f64, Instant)>,
    hasher: RandomState,
}

impl ErrorAllowance {
    fn new() -> Self {
        let full = (f64::from(limits::ERROR_BURST), Instant::now());
        Self { buckets: vec![full; limits::ERROR_SLOTS], hasher: RandomState::new() }
    }

    fn take(&mut self, network: IpAddr, now: Instant) -> bool {
        let slot = self.hasher.hash_one(network) as usize % self.buckets.len();
        let (tokens, at) = &mut self.buckets[slot];
        let refill = now.duration_since(*at).as_secs_f64() * f64::from(limits::ERRORS_PER_SECOND);
        *tokens = (*tokens + refill).min(f64::from(limits::ERROR_BURST));
        *at = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
        assert_eq!(admission.table().unproven, 0);
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
        let mut first = ticket(&admission, peer(1), b"a");
        let mut second = ticket(&admission, peer(2), b"a");
        assert_eq!((first.reserve(700), second.reserve(700)), (700, 300));
        assert_eq!((first.reserve(100), second.reserve(700)), (100, 700));
        drop(first);
        assert_eq!(second.reserve(5000), 1000);
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

    #[test]
    fn errors_to_one_network_are_rationed() {
        let mut errors = ErrorAllowance::new();
        let (now, network) = (Instant::now(), network_of(peer(1).ip()));
        let burst = (0..limits::ERROR_BURST + 50).filter(|_| errors.take(network, now)).count();
        assert_eq!(burst, limits::ERROR_BURST as usize);
        let later = now + Duration::from_secs(1);
        let refilled = (0..limits::ERROR_BURST).filter(|_| errors.take(network, later)).count();
        assert_eq!(refilled, limits::ERRORS_PER_SECOND as usize);
    }
}
