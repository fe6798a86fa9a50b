//! The server: takes requests, admits or refuses them, starts their transfers, counts them, and stops in order.
//!
//! This module knows policy: who may have a session, what is answered, what is told. It must not know how a
//! transfer works (that is [`transfer`](crate::transfer)) or where files live (that is [`store`](crate::store)).

mod admit;
mod allowance;
mod carry;
mod event;
mod network;
mod serve;

pub use admit::Refusal;
pub use event::{Asked, Event};
pub use network::{Network, NetworkError};

use crate::limits;
use crate::net::{Clock, Door, PortRange, RequestSocket, TransferSocket, Watched};
use crate::proto::Timing;
use crate::store::Store;
use crate::wire::{BlockSize, DATA_HEADER, ErrorCode, Malformed, Packet, WindowSize};
use admit::{Admission, Admitted};
use carry::Crew;
use serve::Ride;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How transfers are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Each on a new thread: a slow disk holds up one transfer and no other. Those beyond so many threads are carried
    /// by the loop that takes the requests.
    Threads(usize),
    /// All by so many loops, of which one takes the requests. What may wait for a disk is done elsewhere.
    Events(NonZeroUsize),
    /// One after the other. It is there to be compared with.
    Iterative,
}

impl Default for Model {
    fn default() -> Self {
        Self::Threads(limits::THREADS)
    }
}

/// What a server does. [`Config::default`] listens nowhere.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to take requests.
    pub listen: Vec<SocketAddr>,
    /// How transfers are carried.
    pub model: Model,
    /// Transfers at once.
    pub sessions: usize,
    /// Memory for the windows of all transfers, in bytes.
    pub windows_bytes: usize,
    /// The largest block size that is granted.
    pub block_size: BlockSize,
    /// The same for clients of these networks, the first that fits: for firmware that asks for more than it takes.
    pub block_size_of: Vec<(Network, BlockSize)>,
    /// Whether no block is granted that the path to the client would carry in pieces.
    pub whole_packets: bool,
    /// The most blocks in a window that are granted.
    pub window: WindowSize,
    /// Intervals and patience.
    pub timing: Timing,
    /// Whether the kernel may cut and join packets for transfers; a device that claims to do it and fails wants no.
    pub offload: bool,
    /// Ports for transfers; `None` leaves the choice to the system.
    pub ports: Option<PortRange>,
    /// The name under which a directory's listing can be read; `None` turns listings off.
    pub listing: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            model: Model::default(),
            sessions: limits::SESSIONS,
            windows_bytes: limits::WINDOWS_BYTES,
            block_size: BlockSize::MAX,
            block_size_of: Vec::new(),
            whole_packets: false,
            window: WindowSize::MAX,
            timing: Timing::default(),
            offload: true,
            ports: None,
            listing: Some(".list".into()),
        }
    }
}

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// An address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no more descriptors.
    #[error("cannot make a loop")]
    Loop(#[source] io::Error),
    /// The system has no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Config {
    /// The largest block size for this client, memory aside.
    fn block_size_for(&self, peer: SocketAddr) -> BlockSize {
        let own = self.block_size_of.iter().find(|(network, _)| network.contains(peer.ip()));
        let size = own.map_or(self.block_size, |(_, size)| self.block_size.min(*size));
        if !self.whole_packets {
            return size;
        }
        let path = TransferSocket::path_payload(peer).saturating_sub(DATA_HEADER);
        size.min(BlockSize::lowered(path as u64).unwrap_or(BlockSize::DEFAULT))
    }
}

type Observer = dyn Fn(Event<'_>) + Send + Sync;

/// What all threads of a server share.
struct Shared {
    config: Config,
    clock: Clock,
    store: Arc<dyn Store>,
    observer: Box<Observer>,
    admission: Arc<Admission>,
    /// The way to the loop that takes requests.
    door: Door<Ride>,
    /// Once set, no requests are taken, and at that time transfers are ended.
    stop_at: Mutex<Option<Instant>>,
}

impl Shared {
    fn tell(&self, event: Event<'_>) {
        (self.observer)(event);
    }

    /// What one more transfer may read ahead.
    fn read_ahead(&self) -> usize {
        let share = limits::READ_AHEAD_OF_ALL / self.admission.sessions().max(1);
        share.min(limits::READ_AHEAD_BYTES)
    }
}

/// A server that is bound and not yet running.
pub struct Server {
    sockets: Vec<RequestSocket>,
    shared: Arc<Shared>,
    crew: Crew,
}

/// Stops a server from another thread.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Server {
    /// Binds all addresses. `observer` is told what happens, on whichever thread it happens.
    pub fn bind(
        config: Config,
        store: Arc<dyn Store>,
        observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let bind = |address: &SocketAddr| {
            RequestSocket::bind(*address)
                .map_err(|source| StartError::Bind { address: *address, source })
        };
        let sockets: Vec<_> = config.listen.iter().map(bind).collect::<Result<_, _>>()?;
        if sockets.is_empty() {
            return Err(StartError::NoAddress);
        }
        let clock = Clock::start();
        let crew = Crew::new(config.model, clock, &sockets)?;
        let shared = Shared {
            clock,
            store,
            observer: Box::new(observer),
            admission: Arc::new(Admission::new(&config)),
            door: crew.door(),
            stop_at: Mutex::new(None),
            config,
        };
        Ok(Self { sockets, shared: Arc::new(shared), crew })
    }

    /// Where it listens, with real port numbers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(RequestSocket::address).collect()
    }

    /// A handle that stops it.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::drain`], and returns when the last transfer is over.
    pub fn run(self) -> io::Result<()> {
        let Self { sockets, shared, mut crew } = self;
        let mut buffer = vec![0; limits::REQUEST];
        while !shared.is_stopping() {
            for Watched(socket) in crew.turn(None)? {
                take_requests(&shared, &mut crew, &sockets[socket], &mut buffer);
                if crew.is_busy(&shared) {
                    crew.finish_first(&shared, &sockets)?;
                }
            }
        }
        crew.close(&sockets);
        drop(sockets);
        shared.finish_transfers(&mut crew)
    }
}

/// A grace beyond this is a mistake; a clock ends somewhere.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Handle {
    /// Takes no more requests; transfers may go on for `grace`, then they are ended with an ERROR. A second call
    /// can only shorten that.
    pub fn drain(&self, grace: Duration) {
        let end = Instant::now() + grace.min(LONGEST_GRACE);
        let mut stop_at = self.0.stop_at();
        *stop_at = Some(stop_at.map_or(end, |known| known.min(end)));
        drop(stop_at);
        self.0.door.ring();
    }

    /// How many transfers are under way.
    pub fn transfers(&self) -> usize {
        self.0.admission.sessions()
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stop_at().is_some()
    }

    /// Waits for transfers until the time that [`Handle::drain`] set, ends the rest, and waits for those.
    fn finish_transfers(&self, crew: &mut Crew) -> io::Result<()> {
        const LAST_WORDS: Duration = Duration::from_secs(2);
        const LOOK_AGAIN: Duration = Duration::from_millis(20);
        let mut told = false;
        while self.admission.sessions() > 0 {
            let stop_at = self.stop_at().unwrap_or_else(Instant::now);
            let left = stop_at.saturating_duration_since(Instant::now());
            if left.is_zero() && told {
                break;
            }
            if left.is_zero() {
                told = true;
                *self.stop_at() = Some(Instant::now() + LAST_WORDS);
                self.admission.stop_all("the server is shutting down");
            }
            crew.turn(Some(left.min(LOOK_AGAIN)))?;
        }
        Ok(())
    }

    fn stop_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stop_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_requests(shared: &Arc<Shared>, crew: &mut Crew, socket: &RequestSocket, buffer: &mut [u8]) {
    for _ in 0..limits::REQUESTS_IN_A_ROW {
        match socket.receive(buffer) {
            Ok(Some(asked)) => {
                take_request(shared, crew, &buffer[..asked.len], asked.peer, asked.local);
            }
            Ok(None) => {}
            Err(_) => return,
        }
        if crew.is_busy(shared) {
            return;
        }
    }
}

fn take_request(
    shared: &Arc<Shared>,
    crew: &mut Crew,
    datagram: &[u8],
    peer: SocketAddr,
    local: IpAddr,
) {
    // Nothing but requests is ever answered here, or two servers could be made to talk to each other for ever
    // (CVE-2024-2169).
    if peer.port() == 0 {
        return;
    }
    match Packet::parse(datagram) {
        Ok(Packet::Request(_)) => match shared.admission.admit(datagram, peer, local) {
            Ok(Admitted::Repeat(slot)) => slot.repeat(),
            Ok(Admitted::New(ticket)) => crew.carry(shared, datagram, ticket),
            // Without an answer the client asks again, and may find room then; an ERROR would end its boot.
            Err(why) => shared.tell(Event::Turned { peer, why }),
        },
        Ok(_) | Err(Malformed::Runt | Malformed::Oack) => shared.tell(Event::Stray { peer }),
        Err(why @ (Malformed::Opcode(_) | Malformed::Request | Malformed::Mode)) => {
            if serve::answer_error(
                shared,
                peer,
                local,
                ErrorCode::IllegalOperation,
                "illegal TFTP operation",
            ) {
                shared.tell(Event::Malformed { peer, why });
            }
        }
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
