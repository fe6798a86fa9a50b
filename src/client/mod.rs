//! The client: get, put, list and read as calls that return when it is done; and a load of many downloads at once.
//!
//! This module knows how to talk a server into a transfer: what to ask for, when to ask again without options or at
//! another address, how to learn of a listing. It must not know terminals: it takes a sink or a source.
//!
//! ```no_run
//! use tftpkit::client::{Client, Wishes};
//! use tftpkit::store::WholeFile;
//! use tftpkit::wire::BlockSize;
//!
//! let client = Client::new("192.0.2.1:69".parse()?);
//! let configuration = client.read("sw-01.cfg")?;
//! let small = client.wishes(Wishes::default().block_size(BlockSize::new(512)));
//! small.get("boot.img", WholeFile::create("boot.img")?, |progress| println!("{}", progress.bytes))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ask;
mod cancel;
mod failure;
#[cfg(feature = "load")]
mod latency;
mod list;
#[cfg(feature = "load")]
mod load;
mod probe;
mod remote;
mod sink;
#[cfg(test)]
mod tests;
mod wishes;

pub use cancel::Canceller;
pub use failure::Failure;
#[cfg(feature = "load")]
pub use latency::Latency;
#[cfg(feature = "load")]
pub use load::{Failures, Load, Tally};
pub use probe::Probe;
pub use remote::{Host, Remote, RemoteError, TFTP_PORT};
pub use wishes::Wishes;

use crate::limits;
use crate::net::{Kernel, System};
use crate::store::Readable;
use crate::transfer::{Sink, Summary, Transfer};
use crate::wire::{Mode, Operation, TransferOption};
use ask::{Question, Server, Watch};
use sink::{BoundedMemory, Reusable};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How a transfer is getting on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Payload bytes so far.
    pub bytes: u64,
    /// All payload bytes, where the server told, or the caller.
    pub total: Option<u64>,
    /// Packets that left.
    pub packets: u64,
    /// How many of those packets had left before.
    pub retransmitted: u64,
}

/// A client of one server. Its clones share what its answers have shown.
#[derive(Clone, Debug)]
pub struct Client {
    system: Arc<dyn System>,
    server: Arc<Server>,
    wishes: Wishes,
    canceller: Canceller,
}

impl Client {
    /// A client of the server whose request port is at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self::new_on(Kernel::start(), address)
    }

    /// As [`new`](Self::new), on any system.
    pub(crate) fn new_on(system: Arc<dyn System>, address: SocketAddr) -> Self {
        let server = Arc::new(Server::new(address, Vec::new()));
        Self { system, server, wishes: Wishes::default(), canceller: Canceller::default() }
    }

    /// Has the server at other addresses as well: they are asked one after the other until one answers, and from then
    /// on that one alone.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (first, known) = self.server.candidates();
        let others = known.iter().copied().chain(addresses).collect();
        self.server = Arc::new(Server::new(first, others));
        self
    }

    /// Asks the server for `wishes` in the calls that follow.
    #[must_use]
    pub const fn wishes(mut self, wishes: Wishes) -> Self {
        self.wishes = wishes;
        self
    }

    /// Lets `canceller` cancel what this client does.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: &Canceller) -> Self {
        self.canceller = canceller.clone();
        self
    }

    /// What cancels the calls of this client and of its clones.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// The server's request port: that which has answered, or else the first.
    pub fn server(&self) -> SocketAddr {
        self.answered().unwrap_or_else(|| self.server.first())
    }

    /// The address that has answered, if one has.
    pub fn answered(&self) -> Option<SocketAddr> {
        self.server.answered()
    }

    /// Reads the file `name` into `sink`, which is committed when all is there. A sink that took anything is not used
    /// for a second attempt.
    pub fn get(
        &self,
        name: impl AsRef<[u8]>,
        sink: impl Sink + 'static,
        mut progress: impl FnMut(Progress),
    ) -> Result<Summary, Failure> {
        let mut watch = |now| {
            progress(now);
            ControlFlow::Continue(())
        };
        self.get_watched(name.as_ref(), sink, &mut watch)
    }

    fn get_watched(
        &self,
        name: &[u8],
        sink: impl Sink + 'static,
        watch: &mut Watch<'_>,
    ) -> Result<Summary, Failure> {
        refuse_nul(name)?;
        let sink = Reusable::new(sink);
        self.ask_each(
            || !sink.is_used(),
            |ask| {
                let size = ask.size_of_a_read();
                let question = Question { operation: Operation::Read, name, size };
                self.ask_twice(ask, question, &sink, watch, |now, timing, request| {
                    Transfer::get(now, timing, request, Box::new(sink.clone()))
                })
            },
        )
    }

    /// Reads the file `name` into memory, of which it may take [`READ_BYTES`](limits::READ_BYTES); a longer file is
    /// [`Failure::TooLong`].
    pub fn read(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>, Failure> {
        self.read_up_to(name, limits::READ_BYTES)
    }

    /// Reads the file `name` into memory; a file longer than `most` bytes is [`Failure::TooLong`].
    pub fn read_up_to(&self, name: impl AsRef<[u8]>, most: usize) -> Result<Vec<u8>, Failure> {
        let memory = BoundedMemory::new(most);
        match self.get(name, memory.clone(), |_| {}) {
            Err(_) if memory.is_exceeded() => Err(Failure::TooLong(most)),
            done => done.map(|_| memory.take()),
        }
    }

    /// Writes what `file` gives to the file `name`, and tells the server its size where that is known. A file that was
    /// read from is not used for a second attempt.
    pub fn put(
        &self,
        name: impl AsRef<[u8]>,
        file: Readable,
        mut progress: impl FnMut(Progress),
    ) -> Result<Summary, Failure> {
        let name = name.as_ref();
        refuse_nul(name)?;
        let (source, size, _) = file.into_parts();
        // In netascii the size on the wire is another.
        let total = size.filter(|_| self.wishes.mode == Mode::Octet);
        let size = total.map(TransferOption::TransferSize);
        let question = Question { operation: Operation::Write, name, size };
        let mut watch = |now| {
            progress(Progress { total, ..now });
            ControlFlow::Continue(())
        };
        let source = Reusable::new(source);
        self.ask_each(
            || !source.is_used(),
            |ask| {
                self.ask_twice(ask, question, &source, &mut watch, |now, timing, request| {
                    let mut transfer =
                        Transfer::put(now, timing, request, Box::new(source.clone()));
                    transfer.set_path_block(ask.path_block_size());
                    transfer
                })
            },
        )
    }

    /// Writes `bytes` to the file `name`.
    pub fn write(
        &self,
        name: impl AsRef<[u8]>,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Summary, Failure> {
        self.put(name, Readable::bytes(bytes), |_| {})
    }
}

/// A name ends at its NUL in a request, and what follows would be something else.
fn refuse_nul(name: &[u8]) -> Result<(), Failure> {
    if name.contains(&0) { Err(Failure::Nul) } else { Ok(()) }
}
