//! Sockets, the clock, and the drivers of transfers, above what they need of the operating system ([`System`]).
//!
//! This module knows how datagrams come and go and what time it is. It must not know files or names: a
//! [`Transfer`](crate::transfer::Transfer) carries those for it.

mod channel;
mod deadlines;
mod event_loop;
#[cfg(test)]
mod fake;
mod flow;
mod kernel;
mod mac;
mod neighbours;
mod pools;
mod ports;
mod rehearsal;
mod session;
mod socket;
mod system;
mod tap;
mod threads;
mod waiting;
mod workers;

pub(crate) use channel::Channel;
pub(crate) use event_loop::{EventLoop, Handler, Mailbox, SocketId};
pub(crate) use flow::{Delivery, is_of_a_transfer};
pub(crate) use kernel::Kernel;
pub use mac::{MacAddress, MacError, MacPrefix};
pub use neighbours::Neighbours;
pub(crate) use pools::{Pools, Waiting};
pub use ports::{PortRange, PortRangeError};
pub(crate) use rehearsal::Rehearsal;
pub(crate) use session::{Ending, Gate, Session, Share};
pub(crate) use socket::{RequestRoom, RequestSocket, Requested, TransferSocket};
pub(crate) use system::System;
#[cfg(test)]
pub(crate) use system::{Asked, Job, Poller, Pool, Udp, WOKEN};
pub use tap::{Listener, Way};
