//! What an operator or an embedder sets.

use super::budgets::Budgets;
use super::policy::{Policy, StandardPolicy};
use super::process::Spawner;
use super::tap::Tap;
use crate::limits;
use crate::net::{PortRange, RequestRoom};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// What drives the transfers of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Model {
    /// Each transfer has a thread of its own: a slow disk holds up one transfer and no other. Those beyond so many threads are
    /// driven by the event loop that takes the requests.
    Threads(usize),
    /// A number of event loops for all transfers, of which one takes the requests. What may wait for a disk is done
    /// elsewhere.
    Events(NonZeroUsize),
    /// A new process for each transfer, with a thread here that reads and writes its file: what the network says is parsed
    /// where there is nothing but one socket. The [`Spawner`] of the configuration starts them. There are so many at once;
    /// requests beyond that are not answered yet.
    Processes(usize),
    /// One event loop for all transfers, which have no ports of their own: all of them send and receive at the port that
    /// takes the requests, as networks want it that translate addresses. An address proves less there; `rfc/single-port.md`
    /// has it in numbers.
    SinglePort,
    /// One transfer after the other. It is there to be compared with.
    Iterative,
}

impl Model {
    /// So many sessions find a place in it: the shares that some keep from others, and who gives way to whom, are of these.
    pub(super) const fn most_sessions(self) -> usize {
        match self {
            Self::Processes(most) => most,
            Self::Threads(_) | Self::Events(_) | Self::SinglePort | Self::Iterative => usize::MAX,
        }
    }

    /// Room for what comes to a request port: requests, or the blocks of uploads as well.
    pub(super) fn room(self) -> RequestRoom {
        match self {
            Self::SinglePort => RequestRoom::new(limits::DATAGRAMS_AT_ONCE, limits::DATAGRAM_BYTES),
            Self::Threads(_) | Self::Events(_) | Self::Processes(_) | Self::Iterative => {
                RequestRoom::new(1, limits::REQUEST_BYTES)
            }
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::Threads(limits::THREADS)
    }
}

/// What a server does. The default listens nowhere, and serves as `rtftpd` does without options.
///
/// Whatever depends on the client is for its [`Policy`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) sockets: Vec<Arc<OwnedFd>>,
    pub(super) interface: Option<Box<str>>,
    pub(super) model: Model,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) sessions: usize,
    pub(super) descriptors: usize,
    pub(super) windows_bytes: usize,
    pub(super) budgets: Budgets,
    pub(super) offload: bool,
    pub(super) ports: Option<PortRange>,
    pub(super) progress: Option<Duration>,
    pub(super) tap: Option<Arc<dyn Tap>>,
    pub(super) spawner: Option<Arc<dyn Spawner>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            sockets: Vec::new(),
            interface: None,
            model: Model::default(),
            policy: Arc::new(StandardPolicy::default()),
            sessions: limits::SESSIONS,
            descriptors: usize::MAX,
            windows_bytes: limits::WINDOWS_BYTES,
            budgets: Budgets::default(),
            offload: true,
            ports: None,
            progress: None,
            tap: None,
            spawner: None,
        }
    }
}

/// Progress is not told more often: no time is shorter to a transfer.
const SHORTEST_PROGRESS: Duration = Duration::from_micros(1);

/// A setting makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is nothing to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// There may be no transfer at all.
    #[error("at least one transfer must be allowed at once")]
    NoSessions,
    /// Transfers that share the request port have no other.
    #[error("where all transfers share one port there is no range of ports for them")]
    PortsOfSinglePort,
    /// There is nobody who starts processes.
    #[error("there is no spawner for a process for each transfer")]
    NoSpawner,
    /// A tap would hear nothing: packets come and go in other processes.
    #[error("nobody can listen in on transfers in processes of their own")]
    TapOfProcesses,
    /// Progress would be told all the time.
    #[error("the interval at which progress is told must be a microsecond at least")]
    ProgressTooOften,
}

impl Config {
    /// Takes requests at `address` too. `[::]` takes IPv4 as well; port 0 is a free one, which
    /// [`Server::addresses`](super::Server::addresses) tells.
    #[must_use]
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Takes requests at a UDP socket too that is bound already: one that came from systemd, from inetd or from another
    /// process, or that was bound while there was a right to. What waits in it is taken first.
    #[must_use]
    pub fn socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.sockets.push(Arc::new(socket.into()));
        self
    }

    /// Hears and answers on this network interface alone, as `eth0`, whatever the routes say; `None` binds to none. The
    /// interface must be there when the server is bound.
    #[must_use]
    pub fn interface<'a>(mut self, name: impl Into<Option<&'a str>>) -> Self {
        self.interface = name.into().map(Box::from);
        self
    }

    /// Drives transfers by `model`.
    #[must_use]
    pub const fn model(mut self, model: Model) -> Self {
        self.model = model;
        self
    }

    /// Lets `policy` decide what becomes of each request.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Runs `most` transfers at once. How many of them may be of one network, or of clients that have not answered yet, is
    /// for [`Budgets`] to say.
    #[must_use]
    pub const fn sessions(mut self, most: usize) -> Self {
        self.sessions = most;
        self
    }

    /// Gives transfers so many descriptors at once: a download counts as one, for its socket, an upload as three, for its socket,
    /// its file and its directory. Without this call they are not counted.
    #[must_use]
    pub const fn descriptors(mut self, most: usize) -> Self {
        self.descriptors = most;
        self
    }

    /// Gives the windows of all transfers, and what their sources [hold](crate::store::Readable::held), so many bytes of
    /// memory. When they are used up, windows shrink to one small block, and what holds memory is not begun.
    #[must_use]
    pub const fn windows_bytes(mut self, most: usize) -> Self {
        self.windows_bytes = most;
        self
    }

    /// Bounds what clients may cause by `budgets`.
    #[must_use]
    pub const fn budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Whether the kernel may cut and join packets (UDP_SEGMENT, UDP_GRO). Turn it off for a device that offers this and
    /// fails at it.
    #[must_use]
    pub const fn offload(mut self, allowed: bool) -> Self {
        self.offload = allowed;
        self
    }

    /// Answers from these ports; `None` lets the system choose.
    #[must_use]
    pub fn ports(mut self, ports: impl Into<Option<PortRange>>) -> Self {
        self.ports = ports.into();
        self
    }

    /// Tells the progress of each transfer at most once in each `interval`; `None` does not tell it.
    #[must_use]
    pub fn progress(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.progress = interval.into();
        self
    }

    /// Lets `tap` listen in on transfers. A panic in it ends its listening to that transfer.
    #[must_use]
    pub fn tap(mut self, tap: impl Tap + 'static) -> Self {
        self.tap = Some(Arc::new(tap));
        self
    }

    /// Has the processes of [`Model::Processes`] started by `spawner`.
    #[must_use]
    pub fn spawner(mut self, spawner: impl Spawner + 'static) -> Self {
        self.spawner = Some(Arc::new(spawner));
        self
    }

    /// Looks for settings that make no sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let has_processes = matches!(self.model, Model::Processes(_));
        if self.listen.is_empty() && self.sockets.is_empty() {
            Err(ConfigError::NoAddress)
        } else if self.sessions.min(self.model.most_sessions()) == 0 {
            Err(ConfigError::NoSessions)
        } else if self.model == Model::SinglePort && self.ports.is_some() {
            Err(ConfigError::PortsOfSinglePort)
        } else if has_processes && self.spawner.is_none() {
            Err(ConfigError::NoSpawner)
        } else if has_processes && self.tap.is_some() {
            Err(ConfigError::TapOfProcesses)
        } else if self.progress.is_some_and(|interval| interval < SHORTEST_PROGRESS) {
            Err(ConfigError::ProgressTooOften)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, sockets, interface, model, policy: _, .. } = self;
        let Self { sessions, windows_bytes, budgets, offload, ports, progress, .. } = self;
        f.debug_struct("Config")
            .field("listen", listen)
            .field("sockets", sockets)
            .field("interface", interface)
            .field("model", model)
            .field("sessions", sessions)
            .field("windows_bytes", windows_bytes)
            .field("budgets", budgets)
            .field("offload", offload)
            .field("ports", ports)
            .field("progress", progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Server, StartError};
    use super::*;
    use crate::net::{Listener, Rehearsal};
    use crate::query::Query;
    use crate::store::InMemory;
    use std::io;
    use std::net::Ipv4Addr;

    /// One that starts nothing and hears nothing.
    #[derive(Debug)]
    struct Nobody;

    impl Spawner for Nobody {
        fn start(&self, _: OwnedFd) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl Tap for Nobody {
        fn listen(&self, _: &Query, _: SocketAddr, _: SocketAddr) -> Option<Box<dyn Listener>> {
            None
        }
    }

    fn listening() -> Config {
        Config::default().listen((Ipv4Addr::LOCALHOST, 1))
    }

    #[test]
    fn settings_that_make_no_sense_are_no_server() {
        use ConfigError as E;
        let processes = || listening().model(Model::Processes(1));
        let nanos = Duration::from_nanos;
        for (config, why) in [
            (Config::default(), Some(E::NoAddress)),
            (listening().sessions(0), Some(E::NoSessions)),
            (listening().model(Model::Processes(0)), Some(E::NoSessions)),
            (listening().sessions(1), None),
            (processes(), Some(E::NoSpawner)),
            (processes().spawner(Nobody).tap(Nobody), Some(E::TapOfProcesses)),
            (processes().spawner(Nobody), None),
            (listening().tap(Nobody), None),
            (listening().progress(Duration::ZERO), Some(E::ProgressTooOften)),
            (listening().progress(nanos(999)), Some(E::ProgressTooOften)),
            (listening().progress(nanos(1000)), None),
            (listening().progress(Duration::MAX), None),
        ] {
            let told = match Server::bind_on(Rehearsal::start(), config, InMemory::new(), |_| {}) {
                Ok(_) => None,
                Err(StartError::Config(why)) => Some(why),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(told, why);
        }
        assert!(PortRange::new(0, 1).is_err() && PortRange::new(2, 1).is_err());
        assert!(PortRange::new(1, 1).is_ok() && "2-1".parse::<PortRange>().is_err());
    }

    #[test]
    fn there_are_as_many_sessions_as_there_may_be_processes_and_shares_are_of_these() {
        for (model, sessions) in [(Model::Processes(4), 4), (Model::Threads(4), 9)] {
            let config = listening().model(model).sessions(9).spawner(Nobody);
            let server = Server::bind_on(Rehearsal::start(), config, InMemory::new(), |_| {});
            let shared = server.expect("a server").shared;
            assert_eq!(shared.config.sessions, sessions, "{model:?}");
        }
    }
}
