//! Sockets, the clock, and the loops that drive transfers.
//!
//! This module knows how datagrams come and go and what time it is. It must not know files or names: a
//! [`Transfer`](crate::transfer::Transfer) carries those for it.

mod drive;
mod events;
mod socket;
mod workers;

pub use drive::{Clock, Ending, Session};
pub use events::{Carrier, Door, Passenger, Watched};
pub use socket::{PortRange, RequestSocket, Requested, TransferSocket};
pub use workers::Workers;
