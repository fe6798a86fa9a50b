//! Sockets, the clock, and the drivers of transfers.
//!
//! This module knows how datagrams come and go and what time it is. It must not know files or names: a
//! [`Transfer`](crate::transfer::Transfer) carries those for it.

mod deadlines;
mod event_loop;
mod ports;
mod session;
mod socket;
mod workers;

pub(crate) use event_loop::{EventLoop, Handler, Mailbox, SocketId};
pub use ports::{PortRange, PortRangeError};
pub(crate) use session::{Clock, Ending, Session};
pub(crate) use socket::{RequestSocket, Requested, TransferSocket};
pub(crate) use workers::Workers;
