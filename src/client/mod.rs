//! The client: get, put and list, as three calls that return when it is done; and a load of many downloads at once.
//!
//! This module knows how to talk a server into a transfer: what to ask for, when to ask again without options, how
//! to learn of a listing. It must not know terminals or local files: it takes a sink or a source.

#[cfg(feature = "load")]
mod latency;
#[cfg(feature = "load")]
mod load;
mod remote;

#[cfg(feature = "load")]
pub use latency::Latency;
#[cfg(feature = "load")]
pub use load::{Failures, Load, Tally};
pub use remote::{Host, Remote, RemoteError};

use crate::limits;
use crate::net::{Clock, Ending, Session, TransferSocket};
use crate::proto::Timing;
use crate::store::Listing;
use crate::transfer::{Outcome, Sink, Source, Summary, Transfer};
use crate::wire::{
    BlockSize, DATA_HEADER, ErrorCode, Interval, ListFormat, Mode, Operation, Options, Request,
    TransferOption, WindowSize,
};
use std::cell::Cell;
use std::io::{self, IoSliceMut, Read};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What to ask a server for. The default asks for what is fastest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Block size; `None` takes what fits the path in one piece.
    pub block_size: Option<BlockSize>,
    /// Window; `None` takes what the receive buffer holds, within reason.
    pub window: Option<WindowSize>,
    /// Seconds before something is sent again, on both sides; `None` lets both measure.
    pub timeout: Option<NonZeroU8>,
    /// How often a request is repeated before there is no answer.
    pub retries: Option<u32>,
    /// The representation.
    pub mode: Mode,
    /// RFC 1350 as it was: no options.
    pub plain: bool,
    /// Packets are neither cut nor joined by the kernel: for a device that claims to do it and fails.
    pub no_offload: bool,
}

impl Wishes {
    /// How long to wait for answers to such a request, and to what follows it.
    pub fn timing(&self, operation: Operation) -> Timing {
        let standard = Timing::default();
        let first = match (self.timeout, self.retries, operation) {
            (Some(secs), ..) => Interval::from_secs(secs).get(),
            (None, None, Operation::Read | Operation::List) => EARLY_REPEAT,
            _ => standard.first,
        };
        let usual = if first == EARLY_REPEAT { EARLY_REPEATS } else { REPEATS };
        // Doubled each time up to the ceiling, as the retransmission timer does it.
        let ceiling = standard.ceiling.max(first);
        let waits = (0..=self.retries.unwrap_or(usual).min(MOST_REPEATS))
            .map(|n| first.saturating_mul(1 << n.min(16)).min(ceiling));
        let unanswered: Duration = waits.sum();
        Timing { first, ceiling, unanswered, ..standard }
    }
}

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server never answered.
    #[error("no answer from {0}")]
    NoAnswer(SocketAddr),
    /// Nothing listens there.
    #[error("nothing listens at {0} (UDP), or it cannot be reached")]
    Closed(SocketAddr),
    /// The server fell silent in the middle, or closed its port.
    #[error("{0} broke off after {1} bytes")]
    BrokenOff(SocketAddr, u64),
    /// Everything was sent, but the server never confirmed the end.
    #[error("everything was sent, but the server did not confirm that it stored it")]
    Unconfirmed,
    /// The server said no.
    #[error("the server says: {}", said(*.code, message))]
    Server {
        /// Its code.
        code: ErrorCode,
        /// Its words, as they came: not fit for a terminal before control characters are escaped.
        message: String,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// Reading or writing failed on this side.
    #[error("{error}")]
    Local {
        /// What the system said.
        error: String,
        /// Whether there was no room.
        disk_full: bool,
    },
    /// The system refused a socket, or the use of it.
    #[error("a socket failed")]
    Socket(#[from] io::Error),
    /// It was cancelled from here.
    #[error("cancelled")]
    Cancelled,
    /// Under load the server sent one file in two ways.
    #[error("these are not the bytes of the first download of this file")]
    Differs,
    /// The name has a NUL, with which it would end in a request, and what follows would be something else.
    #[error("no request can hold a name with a NUL")]
    Nul,
    /// The server does not list.
    #[error("this server offers no listing")]
    NoListing,
}

fn refuse_nul(name: &[u8]) -> Result<(), Failure> {
    if name.contains(&0) { Err(Failure::Nul) } else { Ok(()) }
}

fn said(code: ErrorCode, message: &str) -> String {
    let meaning = code.text();
    if message.is_empty() || message.eq_ignore_ascii_case(meaning) {
        format!("{meaning} (code {code})")
    } else {
        format!("{message} (code {code})")
    }
}

/// How a transfer is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Payload bytes so far.
    pub bytes: u64,
    /// All of them, where the server told.
    pub total: Option<u64>,
}

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    server: SocketAddr,
    wishes: Wishes,
    /// It lists by a file only, as an earlier answer showed.
    lists_by_file: Cell<bool>,
    canceller: Canceller,
}

/// Cancels, from another thread, what a client is doing.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Mutex<Option<Arc<Session>>>>);

impl Canceller {
    /// Ends the transfer under way, if there is one: [`Failure::Cancelled`].
    pub fn cancel(&self) {
        if let Some(session) = &*self.current() {
            session.end(Ending::Stop("cancelled".into()));
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client of the server whose request port is at `server`.
    pub fn new(server: SocketAddr, wishes: Wishes) -> Self {
        let canceller = Canceller::default();
        Self { server, wishes, lists_by_file: Cell::new(false), canceller }
    }

    /// Lets `canceller` cancel what this client does.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: &Canceller) -> Self {
        self.canceller = canceller.clone();
        self
    }

    /// The server's request port.
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Reads the file `name` into `sink`, which is committed when all is there.
    pub fn get(
        &self,
        name: &[u8],
        sink: impl Sink + 'static,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, Failure> {
        refuse_nul(name)?;
        let sink = Lent::new(sink);
        let again = || !sink.is_touched();
        let size = self.size_of_a_read();
        self.with_fallback(Operation::Read, name, size, progress, again, |now, timing, request| {
            Transfer::get(now, timing, request, Box::new(sink.clone()))
        })
    }

    /// Writes `source` to the file `name`; `size` is told to the server where it is known.
    pub fn put(
        &self,
        name: &[u8],
        source: impl Read + Send + 'static,
        size: Option<u64>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, Failure> {
        refuse_nul(name)?;
        let source = Lent::new(source);
        // In netascii the size on the wire is another.
        let size = size.filter(|_| self.wishes.mode == Mode::Octet);
        let told = size.map(TransferOption::TransferSize);
        let mut with_total = |now: Progress| progress(Progress { total: size, ..now });
        let progress = &mut with_total;
        let again = || !source.is_touched();
        self.with_fallback(Operation::Write, name, told, progress, again, |now, timing, request| {
            let source: Source = Box::new(source.clone());
            Transfer::put(now, timing, request, source)
        })
    }

    /// Lists the directory `name`.
    pub fn list(&self, name: &[u8]) -> Result<Listing, Failure> {
        refuse_nul(name)?;
        let mut refused = None;
        if !self.lists_by_file.get() {
            match self.list_by_opcode(name) {
                Err(refusal @ Failure::Server { code: ErrorCode::AccessViolation, .. }) => {
                    refused = Some(refusal);
                }
                Err(Failure::Server { code, .. }) if code != ErrorCode::NotFound => {}
                Err(Failure::NoAnswer(_) | Failure::Closed(_) | Failure::Protocol(_)) => {}
                decided => return decided,
            }
        }
        let listing = self.list_by_file(name);
        match (listing, refused) {
            (Ok(listing), _) => {
                self.lists_by_file.set(true);
                Ok(listing)
            }
            // It knows the opcode well enough to say no.
            (Err(Failure::NoListing), Some(refusal)) => Err(refusal),
            (Err(failure), _) => Err(failure),
        }
    }

    fn list_by_opcode(&self, name: &[u8]) -> Result<Listing, Failure> {
        let timing = Timing {
            first: LIST_REPEAT,
            unanswered: 2 * LIST_REPEAT,
            ..self.wishes.timing(Operation::List)
        };
        let socket = self.socket()?;
        let options = if self.wishes.plain {
            Options::NONE
        } else {
            let options = self.options(&socket, Some(TransferOption::TransferSize(0)))?;
            options.with(TransferOption::List(ListFormat::Json))
        };
        let request = Request { operation: Operation::List, name, mode: Mode::Octet, options };
        let memory = Lent::new(Memory::default());
        let summary = self.converse(socket, &mut |_| {}, |now| {
            Transfer::get(now, timing, &request, Box::new(memory.clone()))
        })?;
        let bytes = std::mem::take(&mut memory.lock().payload.0);
        match summary.agreed.list() {
            Some(ListFormat::Json) => Listing::from_json(&bytes),
            // A server that knows the opcode and not our option.
            None => Listing::from_uefi(&bytes),
        }
        .map_err(|error| Failure::Protocol(error.to_string()))
    }

    fn list_by_file(&self, name: &[u8]) -> Result<Listing, Failure> {
        let mut path = name.to_vec();
        if !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(b".list");
        let octet = Self { wishes: Wishes { mode: Mode::Octet, ..self.wishes }, ..self.clone() };
        let memory = Lent::new(Memory::default());
        match octet.get(&path, memory.clone(), &mut |_| {}) {
            Ok(_) => Listing::from_text(&memory.lock().payload.0).map_err(|_| Failure::NoListing),
            // Of a server that is known to list, it is about this directory.
            Err(Failure::Server { .. }) if !self.lists_by_file.get() => Err(Failure::NoListing),
            Err(other) => Err(other),
        }
    }

    /// Asks with options, and once more without them where a server ignores or refuses a request that has any, as
    /// long as the payload can be had `again`.
    fn with_fallback(
        &self,
        operation: Operation,
        name: &[u8],
        size: Option<TransferOption>,
        progress: &mut dyn FnMut(Progress),
        again: impl Fn() -> bool,
        transfer: impl Fn(crate::proto::Time, Timing, &Request<'_>) -> Transfer,
    ) -> Result<Summary, Failure> {
        let mode = self.wishes.mode;
        let mut attempt = |plain: bool| {
            let socket = self.socket()?;
            let options = if plain { Options::NONE } else { self.options(&socket, size)? };
            let request = Request { operation, name, mode, options };
            let timing = self.wishes.timing(operation);
            self.converse(socket, progress, |now| transfer(now, timing, &request))
        };
        if self.wishes.plain {
            return attempt(true);
        }
        match attempt(false) {
            Err(failure) if failure.may_be_about_options() && again() => attempt(true),
            done => done,
        }
    }

    fn socket(&self) -> io::Result<TransferSocket> {
        Ok(TransferSocket::ask(self.server)?.offload(!self.wishes.no_offload))
    }

    /// What is wished for, or what fits the path in one piece.
    fn block_size(&self) -> BlockSize {
        self.wishes.block_size.unwrap_or_else(|| {
            let path = TransferSocket::path_payload(self.server);
            let fitting = path.saturating_sub(DATA_HEADER).clamp(512, BlockSize::MAX.get());
            BlockSize::lowered(fitting as u64).unwrap_or(BlockSize::DEFAULT)
        })
    }

    /// In netascii the size on the wire is another, and tftp-hpa's server refuses all options for it.
    fn size_of_a_read(&self) -> Option<TransferOption> {
        (self.wishes.mode == Mode::Octet).then_some(TransferOption::TransferSize(0))
    }

    fn options(
        &self,
        socket: &TransferSocket,
        size: Option<TransferOption>,
    ) -> io::Result<Options> {
        let block_size = self.block_size();
        let packet = DATA_HEADER + block_size.get();
        let window = match self.wishes.window {
            Some(window) => {
                let blocks = window.get().min(limits::WIDEST_WINDOW);
                socket.make_room(packet, blocks)?;
                blocks
            }
            None => {
                let blocks = (WINDOW_BYTES / packet).clamp(1, usize::from(WIDEST_UNASKED)) as u16;
                socket.make_room(packet, blocks)?
            }
        };
        let window = WindowSize::new(window).unwrap_or(WindowSize::LOCKSTEP);
        let mut options = size.map_or(Options::NONE, |size| Options::NONE.with(size));
        options = options.with(TransferOption::BlockSize(block_size));
        if window > WindowSize::LOCKSTEP {
            options = options.with(TransferOption::WindowSize(window));
        }
        if let Some(timeout) = self.wishes.timeout {
            options = options.with(TransferOption::Timeout(timeout));
        }
        Ok(options)
    }

    fn converse(
        &self,
        socket: TransferSocket,
        progress: &mut dyn FnMut(Progress),
        transfer: impl FnOnce(crate::proto::Time) -> Transfer,
    ) -> Result<Summary, Failure> {
        let clock = Clock::start();
        let session = Arc::new(Session::new(socket, clock, transfer(clock.now())));
        *self.canceller.current() = Some(Arc::clone(&session));
        let ended = session.run(|transfer| {
            let Summary { bytes, agreed, .. } = transfer.summary();
            progress(Progress { bytes: *bytes, total: agreed.transfer_size() });
        });
        *self.canceller.current() = None;
        let summary = ended?;
        let answered = session.socket().is_connected();
        match summary.outcome {
            Some(Outcome::Complete) => Ok(summary),
            outcome => Err(self.failure(outcome, summary.bytes, answered)),
        }
    }

    fn failure(&self, outcome: Option<Outcome>, bytes: u64, answered: bool) -> Failure {
        match outcome {
            Some(Outcome::PeerError(code, message)) => {
                let message = String::from_utf8_lossy(&message).into_owned();
                Failure::Server { code, message }
            }
            Some(Outcome::Disagreement(why)) => Failure::Protocol(
                why.map_or_else(|| "its OACK makes no sense".into(), |why| why.to_string()),
            ),
            Some(Outcome::Oversized) => {
                Failure::Protocol("a block is larger than was agreed".into())
            }
            Some(Outcome::Short) => {
                Failure::Protocol("the file ended before the size that was told".into())
            }
            Some(Outcome::Local(code, error)) => {
                Failure::Local { error, disk_full: code == ErrorCode::DiskFull }
            }
            Some(Outcome::Unconfirmed) => Failure::Unconfirmed,
            Some(Outcome::Stopped) => Failure::Cancelled,
            Some(Outcome::Unreachable) if !answered => Failure::Closed(self.server),
            _ if !answered => Failure::NoAnswer(self.server),
            _ => Failure::BrokenOff(self.server, bytes),
        }
    }
}

/// How often a request is repeated by default: after 1 and after 3 seconds, and after 7 there is no answer.
const REPEATS: u32 = 2;

/// When nobody asked for other times, a request to read is repeated after so long: on the paths of today a loss is
/// far likelier than a longer way, and a second is a hundred times what a small file takes. A request to write is
/// not, for there are servers that open, and so cut, the file for each of them.
const EARLY_REPEAT: Duration = Duration::from_millis(250);

/// How often then, doubling as before: last after 3.75 seconds, and after 7.75 there is no answer.
const EARLY_REPEATS: u32 = 4;

/// More repeats than anyone waits for.
const MOST_REPEATS: u32 = 1_000;

/// A LIST is repeated after so long, and given up after as long again.
const LIST_REPEAT: Duration = Duration::from_secs(1);

/// Memory for a window that nobody asked for by number.
const WINDOW_BYTES: usize = 512 << 10;

/// Blocks in such a window: beyond this there is little to gain and much to lose at once.
const WIDEST_UNASKED: u16 = 64;

impl Failure {
    /// Whether a request without options may fare better.
    const fn may_be_about_options(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Protocol(_) => true,
            Self::Server { code, .. } => matches!(
                code,
                ErrorCode::OptionRefused | ErrorCode::IllegalOperation | ErrorCode::Undefined
            ),
            _ => false,
        }
    }
}

/// A payload that outlives the transfer it is lent to, so that another can have it, if this one left it alone.
#[derive(Debug)]
struct Lent<T>(Arc<Mutex<Loan<T>>>);

#[derive(Debug)]
struct Loan<T> {
    payload: T,
    touched: bool,
}

impl<T> Lent<T> {
    fn new(payload: T) -> Self {
        Self(Arc::new(Mutex::new(Loan { payload, touched: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Loan<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_touched(&self) -> bool {
        self.lock().touched
    }

    fn touch<U>(&self, use_it: impl FnOnce(&mut T) -> U) -> U {
        let mut loan = self.lock();
        loan.touched = true;
        use_it(&mut loan.payload)
    }
}

impl<T> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Sink> Sink for Lent<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.touch(|sink| sink.write(bytes))
    }
    fn commit(&mut self) -> io::Result<()> {
        self.touch(Sink::commit)
    }
}

impl<T: Read> Read for Lent<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.touch(|source| source.read(buf))
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.touch(|source| source.read_vectored(bufs))
    }
}

/// A listing on its way; no server may fill this machine's memory.
#[derive(Debug, Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.len() + bytes.len() > 4 * limits::LISTING_BYTES {
            return Err(io::Error::other("the listing is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(wishes: Wishes, operation: Operation) -> (u128, u128) {
        let timing = wishes.timing(operation);
        (timing.first.as_millis(), timing.unanswered.as_millis())
    }

    #[test]
    fn a_request_to_read_is_repeated_early_and_times_that_were_asked_for_are_kept() {
        let standard = Wishes::default();
        assert_eq!(waits(standard, Operation::Read), (250, 7750));
        assert_eq!(waits(standard, Operation::Write), (1000, 7000));
        let counted = Wishes { retries: Some(2), ..standard };
        assert_eq!(waits(counted, Operation::Read), (1000, 7000));
        let timed = Wishes { timeout: NonZeroU8::new(3), ..standard };
        assert_eq!(waits(timed, Operation::Read), (3000, 3000 + 5000 + 5000));
        let both = Wishes { retries: Some(0), ..timed };
        assert_eq!(waits(both, Operation::Read), (3000, 3000));
    }
}
