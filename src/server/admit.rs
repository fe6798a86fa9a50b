//! Admission: the registry, the quotas, those who dally and the limiter of answers, under one lock.
//!
//! It knows no sockets and asks no clock: time is an argument.

use super::budgets::{Budgets, OfNetworkAndAll};
use super::config::{Config, Model};
use super::dally::{DallyTurn, Dallying};
use super::entry::SessionEntry;
use super::event::Gauges;
use super::limiter::Limiter;
use super::network::network_of;
use super::policy::DropReason;
use super::quota::{Client, Member, Quota};
use super::registry::{Registry, Relation, SessionId};
use super::unproven::Unproven;
use crate::limits;
use crate::net::{Ending, PortRange};
use crate::proto::Time;
use crate::query::Query;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions of a server.
pub(super) struct Admission {
    state: Mutex<State>,
    /// Whether one port has one session at a time: they could not be told apart.
    single_port: bool,
    /// Sessions that hold anything and do not only dally.
    under_way: AtomicUsize,
}

/// What is kept of sessions. One lock holds it all, for a session is in all of it or in none.
pub(super) struct State {
    registry: Registry,
    quota: Quota,
    dallying: Dallying,
    unproven: Unproven,
    requests: Limiter,
    answers: Limiter,
    /// When it is looked again for sessions that stand still, among all and within the one network that has its share: not
    /// at each request of a flood, and one of that network puts off no look among all.
    look_at: [Time; 2],
}

/// A session that is in the registry and counted. Only its permit takes it out.
#[must_use]
pub(super) struct NewSession {
    pub(super) id: SessionId,
    pub(super) entry: Arc<SessionEntry>,
    /// The session that ends when the client of this one is proven.
    pub(super) replaces: Option<Arc<SessionEntry>>,
}

impl Admission {
    /// `secret` keeps it from others which networks share a bucket of answers.
    pub(super) fn new(config: &Config, now: Time, secret: u64) -> Self {
        let ports = config.ports.map_or(usize::MAX, PortRange::count);
        let most_dallying = config.sessions.min(ports).div_ceil(limits::DALLYING_SHARE_DIVISOR);
        let Budgets { requests, answers, .. } = config.budgets;
        let limiter = |per_second| Limiter::new(now, secret, per_second, limits::BURST_SECONDS);
        let state = State {
            registry: Registry::default(),
            quota: Quota::new(config),
            dallying: Dallying::new(most_dallying),
            unproven: Unproven::default(),
            requests: limiter(OfNetworkAndAll::new(requests.of_network.get(), requests.all.get())),
            answers: limiter(answers),
            look_at: [now; 2],
        };
        let single_port = config.model == Model::SinglePort;
        Self { state: Mutex::new(state), single_port, under_way: AtomicUsize::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a query before it is decided.
    pub(super) fn known(&self, query: &Query, now: Time) -> Known {
        let mut state = self.state();
        if !state.requests.try_take(query.peer.ip(), now) {
            return Known::TooMany;
        }
        match state.registry.relation(query) {
            Relation::Repeat(entry) => Known::Repeat(entry),
            Relation::New { replaces: Some(running), .. }
                if self.single_port && may_be_a_late_copy(query, &running, now) =>
            {
                Known::LateCopy
            }
            Relation::New { .. } => Known::No,
        }
    }

    /// Makes room for the session of a query that is no repeat.
    pub(super) fn admit(&self, query: &Query, now: Time) -> Result<NewSession, DropReason> {
        let member = Member::new(query.peer.ip(), Client::Unproven, query.operation);
        let mut state = self.state();
        let (replaces, superseded) = match state.registry.relation(query) {
            Relation::New { replaces, superseded } => (replaces, superseded),
            Relation::Repeat(entry) => (Some(entry), None),
        };
        // Where they share a port, the one before ends at once.
        let (replaces, superseded) =
            if self.single_port { (None, replaces) } else { (replaces, superseded) };
        let mut evicted = Vec::new();
        // So that nobody is flooded with first packets, each session that is superseded counts like an ERROR. Without one
        // nobody has to make room.
        if superseded.is_some() && !state.answers.try_take(query.peer.ip(), now) {
            return Err(DropReason::TooManyAnswers);
        }
        let admitted = state.who_gives_way(member, now).map(|ids| {
            evicted.extend(ids.into_iter().filter_map(|id| state.remove(id)));
            while state.quota.is_full(member) {
                let Some(longest) = state.evict_longest_dallying() else { break };
                evicted.push(longest);
            }
            let entry = Arc::new(SessionEntry::new(query.clone()));
            entry.gets_on(now);
            state.quota.add(member);
            let id = state.registry.insert(Arc::clone(&entry));
            state.unproven.insert(id, query.peer.ip(), now);
            NewSession { id, entry, replaces }
        });
        drop(state);
        if let Some(superseded) = superseded.filter(|_| admitted.is_ok()) {
            // Its client asks for something else, and waits for no word.
            superseded.end(Ending::Abandon);
        }
        evicted.iter().for_each(|entry| give_up(entry));
        admitted
    }

    /// Ends some sessions that only dally, whose clients are silent or that stand still: something has run out that every
    /// session needs.
    pub(super) fn evict_some(&self, now: Time) {
        for _ in 0..limits::EVICT_AT_ONCE {
            let evicted = {
                let mut state = self.state();
                state.evict_longest_dallying().or_else(|| {
                    let id = state.longest_silent(None, true, &[], now)?;
                    state.remove(id)
                })
            };
            let Some(evicted) = evicted else { break };
            give_up(&evicted);
        }
    }

    /// Sessions that hold anything and do not only dally.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How much is in use.
    pub(super) fn gauges(&self) -> Gauges {
        let state = self.state();
        let (unproven, windows_bytes) = state.quota.gauges();
        let dallying = state.dallying.len();
        let transfers = state.registry.len() - dallying;
        Gauges { transfers, dallying, unproven, windows_bytes }
    }

    /// All sessions, the oldest first.
    pub(super) fn entries(&self) -> Vec<(SessionId, Arc<SessionEntry>)> {
        let state = self.state();
        state.registry.entries().map(|(id, entry)| (id, Arc::clone(entry))).collect()
    }

    /// Counts a session among those under way.
    pub(super) fn now_under_way(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session no more: it only dallies, or holds nothing.
    pub(super) fn no_longer_under_way(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends all transfers with an ERROR.
    pub(super) fn stop_all(&self, reason: &str) {
        let entries: Vec<_> =
            self.state().registry.entries().map(|(_, entry)| Arc::clone(entry)).collect();
        entries.iter().for_each(|entry| entry.end(Ending::Stop(reason.into())));
    }

    /// Whether one more answer that opens no session may go to this client.
    pub(super) fn may_answer(&self, client: IpAddr, now: Time) -> bool {
        self.state().answers.try_take(client, now)
    }
}

impl State {
    /// The sessions that have to end so that there is room for one more. Where that would not be enough, none has to.
    fn who_gives_way(&mut self, member: Member, now: Time) -> Result<Vec<SessionId>, DropReason> {
        let (mut ids, mut leaving) = (Vec::new(), Vec::new());
        while let Err(full) = self.quota.check(member, self.dallying.len(), &leaving) {
            use DropReason::{TooManyOfNetwork, TooManySessions, TooManyUnprovenOfNetwork};
            let of_network = [TooManyOfNetwork, TooManyUnprovenOfNetwork].contains(&full);
            let of_network = of_network.then_some(member.client());
            let of_proven = [TooManyOfNetwork, TooManySessions].contains(&full);
            let silent = self.longest_silent(of_network, of_proven, &ids, now);
            let id = silent.ok_or_else(|| full.clone())?;
            leaving.push(member_of(self.registry.entry(id).ok_or(full)?));
            ids.push(id);
        }
        Ok(ids)
    }

    /// Takes the session that has dallied longest out, to be ended.
    pub(super) fn evict_longest_dallying(&mut self) -> Option<Arc<SessionEntry>> {
        let id = self.dallying.pop_longest()?;
        self.remove(id)
    }

    /// A session that keeps its place for nothing: whose client has not answered for long or, where proven clients count,
    /// that has stood still for longer; of all or of the network of one client, and none of `chosen`.
    fn longest_silent(
        &mut self,
        of: Option<IpAddr>,
        of_proven: bool,
        chosen: &[SessionId],
        now: Time,
    ) -> Option<SessionId> {
        let unproven = self.unproven.longest(of, chosen, now);
        unproven.or_else(|| if of_proven { self.longest_still(of, chosen, now) } else { None })
    }

    /// The session of a proven client that has stood still for longest, if that is long enough to give way. It may wait for
    /// a time-out of 255 s.
    fn longest_still(
        &mut self,
        of: Option<IpAddr>,
        chosen: &[SessionId],
        now: Time,
    ) -> Option<SessionId> {
        let look_at = &mut self.look_at[usize::from(of.is_some())];
        if now < *look_at {
            return None;
        }
        let network = of.map(network_of);
        let may_go = |entry: &SessionEntry| {
            let here = network.is_none_or(|network| network == network_of(entry.query.peer.ip()));
            here && entry.client() == Client::Proven
                && now >= entry.got_on_at() + limits::STILL_STAY
        };
        let still = self.registry.entries();
        let still = still.filter(|(id, entry)| !chosen.contains(id) && may_go(entry));
        let longest = still.min_by_key(|(_, entry)| entry.got_on_at()).map(|(id, _)| id);
        if longest.is_none() {
            *look_at = now + limits::BETWEEN_LOOKS;
        }
        longest
    }

    /// Counts a session among the proven, if it is still in. Tells whether that is new.
    pub(super) fn prove(&mut self, id: SessionId, entry: &SessionEntry) -> bool {
        let before = member_of(entry);
        let is_new = self.registry.has(id) && entry.prove();
        if is_new {
            self.unproven.remove(id, entry.query.peer.ip());
            self.quota.change(before, member_of(entry), entry.bytes());
        }
        is_new
    }

    /// Gives a session that is still in as much memory as it wants of what is left, in place of what it had, and tells
    /// how many bytes that is.
    pub(super) fn reserve(&mut self, id: SessionId, entry: &SessionEntry, wanted: usize) -> usize {
        if !self.registry.has(id) {
            return 0;
        }
        let bytes = self.quota.reserve(member_of(entry), entry.bytes(), wanted);
        entry.set_bytes(bytes);
        bytes
    }

    /// The most memory that a session could ever have.
    pub(super) fn most_bytes(&self, entry: &SessionEntry) -> usize {
        self.quota.most_bytes(member_of(entry))
    }

    /// Notes that a session, which has no memory any more, only dallies. Gives the session that must end for that.
    pub(super) fn dally(
        &mut self,
        id: SessionId,
        entry: &SessionEntry,
    ) -> (DallyTurn, Option<Arc<SessionEntry>>) {
        let before = member_of(entry);
        entry.set_served();
        if !self.registry.has(id) {
            // It gave way to another a moment ago.
            return (self.dallying.turn(), None);
        }
        self.quota.change(before, member_of(entry), entry.bytes());
        let (turn, evicted) = self.dallying.insert(id);
        (turn, evicted.and_then(|id| self.remove(id)))
    }

    /// Takes a session out, if it is still in.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Arc<SessionEntry>> {
        let entry = self.registry.remove(id)?;
        self.unproven.remove(id, entry.query.peer.ip());
        self.quota.remove(member_of(&entry), entry.bytes());
        Some(entry)
    }

    /// Takes a dallying session out, if it is still in.
    pub(super) fn remove_dallying(&mut self, id: SessionId, turn: DallyTurn) {
        self.dallying.remove(turn);
        drop(self.remove(id));
    }

    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        let nobody = self.registry.is_empty() && self.unproven.is_empty();
        nobody && self.quota.is_unused() && self.dallying.len() == 0
    }
}

/// What is known of a query before it is decided.
pub(super) enum Known {
    /// It is one too many of its network, or of all.
    TooMany,
    /// Nothing: it is for a new session.
    No,
    /// It is that of a session whose client has not answered yet.
    Repeat(Arc<SessionEntry>),
    /// It comes while a session with the same port gets on, and may be a late copy.
    LateCopy,
}

/// Whether a query that comes while there is a session with its port may be a copy that the network made. What is served
/// already is in nobody's way, unless it is asked for again.
fn may_be_a_late_copy(query: &Query, running: &SessionEntry, now: Time) -> bool {
    let span = match running.client() {
        Client::Unproven => limits::ECHO_SPAN,
        Client::Proven => limits::LATE_COPY,
        Client::Served if running.query == *query => limits::LATE_COPY,
        Client::Served => return false,
    };
    now < running.got_on_at() + span
}

/// Ends a session that others need more. To a transfer that stands still it is said; nobody else waits for a word.
fn give_up(entry: &SessionEntry) {
    entry.end(match entry.client() {
        Client::Proven => Ending::Stop("others need its place".into()),
        Client::Unproven | Client::Served => Ending::Abandon,
    });
}

fn member_of(entry: &SessionEntry) -> Member {
    Member::new(entry.query.peer.ip(), entry.client(), entry.query.operation)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Noted;
    use super::*;
    use crate::wire::Operation;
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;

    #[test]
    fn a_client_gets_a_burst_of_errors_and_no_more() {
        let admission = Admission::new(&Config::default(), Time::START, 7);
        let may = |network| {
            let client = IpAddr::V4(Ipv4Addr::new(192, 0, network, 1));
            admission.may_answer(client, Time::START)
        };
        assert!((0..limits::ERROR_BURST).all(|_| may(1)));
        assert!(!may(1));
        assert!((2..9).any(may), "of other networks, few share its bucket");
    }

    #[test]
    fn a_network_asks_so_often_and_others_are_heard_all_the_same() {
        let [few, many] = [2, 100].map(|rate| NonZeroU32::new(rate).expect("a rate"));
        let budgets = Budgets::default().requests(few, many);
        for has_session in [false, true] {
            let config = Config::default().budgets(budgets);
            let admission = Admission::new(&config, Time::START, 7);
            let query = |network| {
                let ip = IpAddr::V4(Ipv4Addr::new(192, 0, network, 1));
                Query::new((ip, 2000).into(), ip, Operation::Read, "a")
            };
            if has_session {
                assert!(admission.admit(&query(1), Time::START).is_ok(), "no room");
            }
            let is_taken = |network, millis: u64| {
                let now = Time::from_micros(millis * 1000);
                !matches!(admission.known(&query(network), now), Known::TooMany)
            };
            let burst = (0..4 * few.get()).all(|_| is_taken(1, 0));
            let beyond = [0, 499, 501].map(|millis| is_taken(1, millis));
            let expected = (true, [false, false, true]);
            let whose = if has_session { "repeats of one request" } else { "new requests" };
            assert_eq!((burst, beyond), expected, "which of the {whose} are within the rate");
            assert!((2..9).any(|network| is_taken(network, 0)), "few networks share its bucket");
        }
    }

    #[test]
    fn who_gives_way_is_told_so_where_its_address_is_proven_and_it_waits() {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let query = Query::new((ip, 2000).into(), ip, Operation::Write, "a");
        for (client, is_told) in
            [(Client::Unproven, false), (Client::Proven, true), (Client::Served, false)]
        {
            let entry = SessionEntry::new(query.clone());
            if client != Client::Unproven {
                entry.prove();
            }
            if client == Client::Served {
                entry.set_served();
            }
            let noted = entry.attach(Noted::default());
            give_up(&entry);
            let ending = noted.ending();
            assert_eq!(matches!(ending, Some(Ending::Stop(_))), is_told, "{client:?}: {ending:?}");
            assert!(ending.is_some(), "{client:?}: it goes on");
        }
    }

    #[test]
    fn where_all_share_a_port_a_request_in_the_middle_of_a_transfer_may_be_a_late_copy() {
        let admission = Admission::new(&Config::default().model(Model::SinglePort), Time::START, 7);
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let query = |name: &str| Query::new((ip, 2000).into(), ip, Operation::Read, name);
        let at = |millis: u64| Time::from_micros(millis * 1000);
        let is_late =
            |name, millis| matches!(admission.known(&query(name), at(millis)), Known::LateCopy);
        let Ok(old) = admission.admit(&query("a"), Time::START) else { panic!("no room") };
        assert_eq!([is_late("b", 49), is_late("b", 50), is_late("a", 0)], [true, false, false]);
        assert!(admission.state().prove(old.id, &old.entry));
        old.entry.gets_on(at(100));
        for name in ["a", "b"] {
            assert_eq!([is_late(name, 1_099), is_late(name, 1_100)], [true, false], "{name}");
        }
        old.entry.set_served();
        let late = [is_late("a", 1_099), is_late("b", 1_099), is_late("a", 1_100)];
        assert_eq!(late, [true, false, false]);
        let Ok(new) = admission.admit(&query("b"), at(1_100)) else { panic!("no room") };
        assert!(old.entry.is_ended() && new.replaces.is_none(), "it ends at once");
    }

    #[test]
    fn where_all_share_a_port_a_request_that_finds_no_room_ends_nothing() {
        let config = Config::default().model(Model::SinglePort).sessions(1);
        let admission = Admission::new(&config, Time::START, 7);
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let asked = |name| {
            admission.admit(&Query::new((ip, 2000).into(), ip, Operation::Read, name), Time::START)
        };
        let Ok(old) = asked("a") else { panic!("no room") };
        assert!(asked("b").is_err(), "there is room for one");
        assert!(!old.entry.is_ended(), "the client would have neither file");
    }
}
