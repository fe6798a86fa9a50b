//! What `net` and what is above it need of an operating system: the time, sockets, a way to wait for many of them, and
//! threads. [`Kernel`](super::Kernel) is the one that ships; the simulation of the whole server is another.
//!
//! Whatever is decided (which port is tried, what an error means, when to look at the time) is decided above this.

use crate::proto::Time;
use std::any::Any;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Something for a thread to do.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// An operating system.
pub(crate) trait System: Debug + Send + Sync {
    /// The time since the system was made. It never goes back.
    fn now(&self) -> Time;

    /// A number that nobody can guess.
    fn random(&self) -> u64;

    /// Processors that this process may use.
    fn processors(&self) -> usize;

    /// A socket that takes requests at `address`; `[::]` takes IPv4 as well.
    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>>;

    /// The same with a socket that is bound already, where the system has descriptors.
    fn adopt(&self, _: OwnedFd) -> io::Result<Box<dyn Udp>> {
        Err(ErrorKind::Unsupported.into())
    }

    /// A socket bound to `local`, where port 0 is a free one.
    fn bind(&self, local: SocketAddr) -> io::Result<Box<dyn Udp>>;

    /// How many bytes travel to `peer` in one IP packet, where that is known.
    fn path_bytes(&self, peer: SocketAddr) -> Option<usize>;

    /// A way to wait for many sockets.
    fn poller(&self) -> io::Result<Box<dyn Poller>>;

    /// Runs `job` on a thread that does nothing else meanwhile. When there is none, `job` is dropped.
    fn spawn(&self, name: &'static str, job: Job) -> io::Result<()>;

    /// A pool of up to `most` threads for what may wait long.
    fn pool(&self, most: usize) -> Arc<dyn Pool>;
}

/// A UDP socket. It is `Any` because a [`Poller`] must know its own system's sockets.
pub(crate) trait Udp: Any + Debug + Send + Sync {
    /// Where it is bound.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The same socket once more, for another process, where the system has descriptors.
    fn share(&self) -> io::Result<OwnedFd> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Hears nobody but `peer` from now on. What came before is still there.
    fn connect(&self, peer: SocketAddr) -> io::Result<()>;

    /// Sends to the peer it is connected to: one datagram, or several if it [cuts](Self::cut). Waits for room in the send
    /// buffer, if it may `wait`; else `WouldBlock` when there is none.
    fn send(&self, bytes: &[u8], wait: bool) -> io::Result<()>;

    /// Sends a datagram to `peer`.
    fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()>;

    /// Sends to `peer` from `local`, one of the addresses that it is bound to: one datagram, or several, [cut](Self::cut)
    /// into so many bytes. `WouldBlock` when there is no room in the send buffer.
    fn send_from(
        &self,
        bytes: &[u8],
        cut: Option<usize>,
        local: IpAddr,
        peer: SocketAddr,
    ) -> io::Result<()>;

    /// Takes a datagram and tells its length: waits for it, if it may `wait`, as long as the timeout says; else
    /// `WouldBlock` when there is none. What is longer than `buffer` is cut.
    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<usize>;

    /// As [`receive`](Self::receive), with the length of each but the last of several datagrams that were
    /// [joined](Self::join).
    fn receive_joined(&self, buffer: &mut [u8], wait: bool) -> io::Result<(usize, usize)>;

    /// As [`receive`](Self::receive), with the sender.
    fn receive_from(
        &self,
        buffer: &mut [u8],
        wait: bool,
    ) -> io::Result<(usize, Option<SocketAddr>)>;

    /// Takes a datagram without waiting, with its sender and the address that it was sent to.
    fn receive_request(&self, buffer: &mut [u8]) -> io::Result<Asked>;

    /// As [`receive_request`](Self::receive_request), for as many datagrams as there are and `buffer` has room for in pieces
    /// of `each` bytes, one behind the other.
    fn receive_requests(
        &self,
        buffer: &mut [u8],
        each: usize,
        asked: &mut Vec<Asked>,
    ) -> io::Result<()>;

    /// From now on what is sent is cut into datagrams of so many bytes (UDP_SEGMENT); `None` cuts nothing.
    fn cut(&self, into: Option<usize>) -> io::Result<()>;

    /// From now on datagrams that came together may be received as one (UDP_GRO).
    fn join(&self) -> io::Result<()>;

    /// How many bytes the receive buffer has, bookkeeping included.
    fn receive_buffer(&self) -> io::Result<usize>;

    /// Asks for a receive buffer of so many bytes.
    fn ask_receive_buffer(&self, bytes: usize);

    /// Waits until there is something to receive, no longer than `most`, which is kept to the microsecond as far as the system
    /// can. Tells whether there is.
    fn wait(&self, most: Duration) -> bool;

    /// How long a receive waits, by a coarse clock.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// From now on what the network says of datagrams that were sent is told, although it is not connected.
    fn hear_errors(&self) -> io::Result<()>;

    /// Forgets what the network said.
    fn forget_error(&self);

    /// Ends the waiting in a receive, for good. Sending goes on working.
    fn wake(&self);
}

/// A datagram that came to a request port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its length; what was longer than the buffer is cut.
    pub(crate) len: usize,
    /// Who sent it.
    pub(crate) peer: Option<SocketAddr>,
    /// The address it was sent to, unless that is shared with others (a broadcast, a group).
    pub(crate) local: Option<IpAddr>,
}

/// Waits for many sockets at once, and for a word from other threads.
pub(crate) trait Poller: Debug + Send + Sync {
    /// From now on tells `name` when `socket` has something to receive.
    fn add(&self, socket: &dyn Udp, name: u64) -> io::Result<()>;

    /// From now on tells it also when `socket` has room to send, or no longer.
    fn tell_of_room(&self, socket: &dyn Udp, name: u64, wanted: bool) -> io::Result<()>;

    /// From now on tells nothing of `socket`.
    fn remove(&self, socket: &dyn Udp);

    /// Waits until there is something to tell, no longer than `most`, and writes the names to `ready`: so many at most
    /// as it has room for, [`WOKEN`] among them if it was woken.
    fn wait(&self, most: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()>;

    /// Ends a waiting, or the next one.
    fn wake(&self);
}

/// The name by which a poller tells that it was woken.
pub(crate) const WOKEN: u64 = u64::MAX;

/// A few threads for what may wait long.
pub(crate) trait Pool: Debug + Send + Sync {
    /// Runs `job` soon, in the order of the calls; here and now when the system has no thread for any.
    fn run(&self, job: Job);
}
