//! The protocol: two machines that decide what to send and when, and the arithmetic under them.
//!
//! A [`Sender`] has blocks to deliver, a [`Receiver`] collects them. Block 0, where there is one, is the datagram
//! that opened the conversation, so that handshakes need no code of their own: a client's WRQ and a server's OACK
//! to a read are a sender's block 0; 'acknowledge 0' tells a receiver's owner to send what stands for it (a
//! client's RRQ, later its ACK 0; a server's OACK or ACK 0 to a write). Lock-step is the window 1.
//!
//! This module knows blocks, windows, time-outs and options. It must not know bytes, files, sockets or clocks:
//! time is an argument, nothing allocates, and every type is `Clone + Eq + Hash`, so that the very code that ships
//! can be explored exhaustively.

mod block;
mod negotiate;
mod receiver;
mod rto;
mod sender;
mod time;
mod timing;

pub use block::{BlockNumber, NUMBERS};
pub use negotiate::{Agreed, Disagreement, GrantLimits, accept, grant};
pub use receiver::{Acknowledgement, Arrival, Receiver};
pub use rto::Rto;
pub use sender::{Run, Sender};
pub use time::Time;
pub use timing::{Timing, TimingBuilder, TimingError};

/// What a machine wants done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step<T> {
    /// Send this, then ask again.
    Transmit(T),
    /// Nothing until a datagram comes or this time has come.
    Wait(Time),
    /// It is over.
    Done(End),
}

impl<T> Step<T> {
    /// The same step about something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Transmit(what) => Step::Transmit(change(what)),
            Self::Wait(until) => Step::Wait(until),
            Self::Done(end) => Step::Done(end),
        }
    }
}

/// How a machine ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Every block arrived and both sides know it.
    Complete,
    /// Every block was sent, only the last acknowledgement never came.
    Unconfirmed,
    /// The peer made no progress for as long as patience lasts.
    Silent,
}
