//! The server: takes requests, admits or refuses them, starts their transfers, counts them, and stops in order.
//!
//! This module knows who gets what: a request walks from [`Query`] through the [`Policy`], the registry and the quotas to
//! what it opens, and then to whatever drives its transfer. It must not know how a transfer works (that is [`transfer`](crate::transfer)) or where files live (that is [`store`](crate::store)).

mod active;
mod admit;
mod answer;
mod budgets;
mod config;
mod dally;
mod dispatch;
mod entry;
mod event;
mod explain;
mod guard;
mod limiter;
mod network;
mod open;
mod permit;
mod policy;
mod process;
mod pulse;
mod quota;
mod registry;
mod running;
mod shares;
mod start;
mod tap;
mod telling;
mod unproven;
mod validation;

pub use crate::net::{
    Listener, MacAddress, MacError, MacPrefix, Neighbours, PortRange, PortRangeError, Way,
};
pub use budgets::Budgets;
pub use config::{Config, ConfigError, Model};
pub use event::{Event, Gauges};
pub use explain::{Explanation, explain};
#[doc(hidden)]
pub use network::network_of;
pub use policy::{
    Action, DropReason, MapError, NameRules, Operations, OwnStore, Policy, Profile, Quirks,
    Refusal, Rule, Serving, Shown, StandardPolicy, Verdict,
};
pub use process::{Spawner, carry};
pub use running::Running;
pub use tap::Tap;

use crate::limits;
use crate::net::{
    Kernel, Mailbox, RequestRoom, RequestSocket, Requested, SocketId, System, is_of_a_transfer,
};
use crate::proto::Time;
use crate::query::{NotAQuery, Query};
use crate::store::{SERVER_ERROR, Store};
use crate::wire::{ErrorCode, Operation};
use active::ActiveTransfer;
use admit::{Admission, Known};
use dispatch::{Dispatcher, Task};
use entry::Repeated;
use guard::{Panicked, guard};
use permit::Permit;
use pulse::Pulse;
use shares::Shares;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use validation::Validation;

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that was handed over cannot take requests.
    #[error("a socket that was handed over cannot take requests")]
    Socket(#[source] io::Error),
    /// The system has no more descriptors.
    #[error("cannot make an event loop")]
    Loop(#[source] io::Error),
}

type Observer = dyn Fn(Event<'_>) + Send + Sync;

/// What all threads of a server share.
struct Shared {
    config: Config,
    system: Arc<dyn System>,
    store: Box<dyn Store>,
    observer: Box<Observer>,
    admission: Arc<Admission>,
    /// Where no port proves an address.
    validation: Option<Arc<Validation>>,
    /// Where there is a bound on what all downloads take.
    shares: Option<Arc<Shares>>,
    /// The way to the loop that takes requests.
    mailbox: Mailbox<ActiveTransfer>,
    pulse: Arc<Pulse>,
    /// Requests, and the ports that they came to, that were repeated while their transfers ended: at most one for each
    /// session that ends.
    again: Mutex<Vec<(Weak<RequestSocket>, Query)>>,
    /// Once set, no requests are taken, and at that time transfers are ended.
    stop_at: Mutex<Option<Time>>,
}

impl Shared {
    /// Tells the observer of something that its panic could change no more.
    fn tell(&self, event: Event<'_>) {
        let _ = self.try_tell(event);
    }

    /// Tells the observer of something that its panic ends.
    fn try_tell(&self, event: Event<'_>) -> Result<(), Panicked> {
        guard(|| (self.observer)(event))
    }

    /// What one more transfer may read ahead or write behind.
    fn buffer(&self, operation: Operation) -> usize {
        buffer_of(operation, self.admission.under_way())
    }
}

/// What each of so many transfers may read ahead or write behind.
fn buffer_of(operation: Operation, transfers: usize) -> usize {
    let (most, all) = match operation {
        Operation::Write => (limits::WRITE_BEHIND_BYTES, limits::ALL_WRITE_BEHIND_BYTES),
        _ => (limits::READ_AHEAD_BYTES, limits::ALL_READ_AHEAD_BYTES),
    };
    most.min(all / transfers.max(1))
}

/// A server that is bound and not yet running.
pub struct Server {
    sockets: Vec<Arc<RequestSocket>>,
    shared: Arc<Shared>,
    dispatcher: Dispatcher,
}

/// Stops a server from another thread.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Server {
    /// Binds all addresses, to serve what `store` has; an [`Arc`] or a [`Box`] of a store is one, too. `observer` is told
    /// what happens, on whichever thread it happens; see [`Event`] for what it must not do.
    pub fn bind(
        config: Config,
        store: impl Store + 'static,
        observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Self::bind_on(Kernel::at(config.interface.clone()), config, store, observer)
    }

    /// As [`bind`](Self::bind), on any system.
    pub(crate) fn bind_on(
        system: Arc<dyn System>,
        mut config: Config,
        store: impl Store + 'static,
        observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        config.check()?;
        config.sessions = config.sessions.min(config.model.most_sessions());
        // What is kept here would stay open when no more requests are taken.
        let adopted = std::mem::take(&mut config.sockets).into_iter().map(|socket| {
            let socket = Arc::try_unwrap(socket).or_else(|shared| shared.try_clone());
            socket
                .and_then(|socket| RequestSocket::adopt(&*system, socket, config.ports))
                .map_err(StartError::Socket)
        });
        let bound = config.listen.iter().map(|address| {
            RequestSocket::bind(&*system, *address, config.ports)
                .map_err(|source| StartError::Bind { address: *address, source })
        });
        let for_model = |socket: RequestSocket| match config.model {
            Model::SinglePort => Arc::new(socket.for_all()),
            _ => Arc::new(socket),
        };
        let sockets: Vec<_> =
            adopted.chain(bound).map(|socket| socket.map(for_model)).collect::<Result<_, _>>()?;
        let dispatcher = Dispatcher::new(config.model, &system, &sockets)?;
        let shared = Shared {
            store: Box::new(store),
            observer: Box::new(observer),
            admission: Arc::new(Admission::new(&config, system.now(), system.random())),
            validation: (config.model == Model::SinglePort)
                .then(|| Validation::new(Arc::clone(&system), config.budgets.unheard)),
            shares: config.budgets.rate.map(|rate| Shares::new(system.now(), rate)),
            mailbox: dispatcher.mailbox(),
            pulse: dispatcher.pulse(),
            again: Mutex::default(),
            stop_at: Mutex::new(None),
            system,
            config,
        };
        Ok(Self { sockets, shared: Arc::new(shared), dispatcher })
    }

    /// Where the server listens, with real port numbers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|socket| socket.address()).collect()
    }

    /// The sockets that take requests, once more, to be handed to another process: whoever takes requests there when this
    /// server [drains](Handle::drain) loses none. [`Config::socket`] takes them.
    pub fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.share()).collect()
    }

    /// A handle that stops the server from another thread.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::drain`], and returns when the last transfer is over. Its threads start here, and not before.
    pub fn run(self) -> io::Result<()> {
        let Self { mut sockets, shared, mut dispatcher } = self;
        let mut room = shared.config.model.room();
        dispatcher.start()?;
        while !shared.is_stopping() {
            for SocketId(socket) in dispatcher.turn(None)? {
                take_what_came(&shared, &mut dispatcher, &sockets[socket], &mut room);
                if dispatcher.is_busy(&shared) {
                    dispatcher.finish_first(&shared, &sockets)?;
                }
            }
            dispatcher.run_due();
            shared.take_again(&mut dispatcher);
        }
        if shared.config.model != Model::SinglePort {
            dispatcher.unwatch(&sockets);
            sockets.clear();
        }
        shared.finish_transfers(&mut dispatcher, &sockets, &mut room)
    }
}

/// What the peers of transfers are told that a shutdown ends.
const SHUTTING_DOWN: &str = "the server is shutting down";

/// A grace beyond this is a mistake; a clock ends somewhere.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Handle {
    /// Takes no more requests; transfers may go on for `grace`, then they are ended with an ERROR. A second call
    /// can only shorten that.
    pub fn drain(&self, grace: Duration) {
        let end = self.0.system.now() + grace.min(LONGEST_GRACE);
        let mut stop_at = self.0.stop_at();
        *stop_at = Some(stop_at.map_or(end, |known| known.min(end)));
        drop(stop_at);
        self.0.mailbox.wake();
    }

    /// Whether the loop that takes the requests comes round within so much time, which a loop does that is not stuck. This
    /// wakes it, and waits for it.
    pub fn answers(&self, within: Duration) -> bool {
        self.0.pulse.answers(|| self.0.mailbox.wake(), within)
    }

    /// How many transfers are under way.
    pub fn transfers(&self) -> usize {
        self.0.admission.under_way()
    }

    /// How much is in use at this moment.
    pub fn gauges(&self) -> Gauges {
        self.0.admission.gauges()
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stop_at().is_some()
    }

    /// Waits for transfers until the time that [`Handle::drain`] set, ends the rest, and waits for those.
    fn finish_transfers(
        self: &Arc<Self>,
        dispatcher: &mut Dispatcher,
        sockets: &[Arc<RequestSocket>],
        room: &mut RequestRoom,
    ) -> io::Result<()> {
        const LOOK_AGAIN: Duration = Duration::from_millis(20);
        let mut told = false;
        while self.admission.under_way() > 0 {
            let now = self.system.now();
            let left = self.stop_at().unwrap_or(now) - now;
            if left.is_zero() && told {
                break;
            }
            if left.is_zero() {
                told = true;
                *self.stop_at() = Some(now + limits::LAST_WORDS);
                self.admission.stop_all(SHUTTING_DOWN);
            }
            for SocketId(socket) in dispatcher.turn(Some(left.min(LOOK_AGAIN)))? {
                if let Some(socket) = sockets.get(socket) {
                    take_what_came(self, dispatcher, socket, room);
                }
            }
            dispatcher.run_due();
        }
        Ok(())
    }

    /// Has the loop that takes requests take this one once more.
    fn ask_again(&self, asked_at: Weak<RequestSocket>, query: Query) {
        self.again().push((asked_at, query));
        self.mailbox.wake();
    }

    fn take_again(self: &Arc<Self>, dispatcher: &mut Dispatcher) {
        let again = std::mem::take(&mut *self.again());
        for (asked_at, query) in again {
            if let Some(socket) = asked_at.upgrade() {
                take_request(self, dispatcher, &socket, &query);
            }
        }
    }

    fn again(&self) -> MutexGuard<'_, Vec<(Weak<RequestSocket>, Query)>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_at(&self) -> MutexGuard<'_, Option<Time>> {
        self.stop_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what came to a request port, so much that others have their turn soon.
fn take_what_came(
    shared: &Arc<Shared>,
    dispatcher: &mut Dispatcher,
    socket: &Arc<RequestSocket>,
    room: &mut RequestRoom,
) {
    let (mut datagrams, mut requests) = (0, 0);
    // What is left in the socket is for who takes it over. Only transfers that share it still hear there.
    let shares = shared.config.model == Model::SinglePort;
    while (shares || !shared.is_stopping())
        && datagrams < limits::DATAGRAMS_IN_A_ROW
        && requests < limits::REQUESTS_IN_A_ROW
    {
        if socket.receive(room).is_err() {
            return;
        }
        for received in room.received() {
            datagrams += 1;
            let is_of_a_transfer = received.is_some_and(|(datagram, from)| {
                is_of_a_transfer(datagram) && dispatcher.deliver(socket, datagram, &from)
            });
            if is_of_a_transfer {
                continue;
            }
            requests += 1;
            if let Some((datagram, from)) = received.filter(|_| !(shares && shared.is_stopping())) {
                take_datagram(shared, dispatcher, socket, datagram, &from);
            }
            if dispatcher.is_busy(shared) {
                return;
            }
        }
        if !room.is_full() {
            return;
        }
    }
}

/// The way of a datagram that belongs to no transfer: it may be a request.
fn take_datagram(
    shared: &Arc<Shared>,
    dispatcher: &mut Dispatcher,
    socket: &Arc<RequestSocket>,
    datagram: &[u8],
    from: &Requested,
) {
    let datagram = &datagram[..from.len.min(limits::REQUEST_BYTES)];
    match Query::parse(datagram, from.peer, from.local) {
        Ok(query) => take_request(shared, dispatcher, socket, &query),
        Err(NotAQuery::Malformed(why)) => answer::malformed(shared, socket, from, why),
        Err(NotAQuery::Stray) => shared.tell(Event::Stray { peer: from.peer }),
    }
}

/// The way of a request: policy, registry and quotas, and then to whatever opens it and drives its transfer.
fn take_request(
    shared: &Arc<Shared>,
    dispatcher: &mut Dispatcher,
    socket: &Arc<RequestSocket>,
    query: &Query,
) {
    match shared.admission.known(query, shared.system.now()) {
        Known::No => {}
        Known::TooMany => return answer::dropped(shared, query, &DropReason::TooManyRequests),
        Known::Repeat(entry) => {
            // Each repeat is answered, as it would be from another port; so many they may be as ERRORs.
            let may_answer = shared.admission.may_answer(query.peer.ip(), shared.system.now());
            if !may_answer || entry.repeat(socket) == Repeated::IsSeenTo {
                return;
            }
        }
        Known::LateCopy => return answer::dropped(shared, query, &DropReason::LateCopy),
    }
    let decided = guard(|| shared.config.policy.decide(query)).unwrap_or_else(|Panicked| {
        let refusal = Refusal::new(ErrorCode::Undefined, "a panic in the policy");
        Verdict::Refuse(refusal.text(SERVER_ERROR))
    });
    let profile = match decided {
        Verdict::Serve(profile) => profile,
        Verdict::Refuse(refusal) => {
            return answer::refuse(shared, socket, (query, None), &refusal);
        }
        Verdict::Drop(why) => return answer::dropped(shared, query, &DropReason::Policy(why)),
    };
    match shared.admission.admit(query, shared.system.now()) {
        Ok(session) => {
            let permit = Permit::new(&shared.admission, session);
            dispatcher.dispatch(shared, Task { permit, profile, socket: Arc::clone(socket) });
        }
        Err(reason) => answer::dropped(shared, query, &reason),
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("transfers", &self.transfers()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_buffer_as_much_as_they_may_and_together_no_more_than_that() {
        for (operation, most) in [(Operation::Read, 16 << 10), (Operation::Write, 256 << 10)] {
            let of = |transfers| buffer_of(operation, transfers);
            // 128 of each have 2 MiB and 32 MiB.
            assert_eq!([0, 1, 128, 256, 512].map(of), [most, most, most, most / 2, most / 4]);
        }
    }
}
