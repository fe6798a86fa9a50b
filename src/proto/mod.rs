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
//!
//! One block on its way, and its acknowledgement:
//!
//! ```
//! use tftpkit::proto::{Agreed, Arrival, BlockNumber, End, Receiver, Sender, Step, Time, Timing};
//! use tftpkit::wire::Rollover;
//!
//! let (now, agreed) = (Time::START, Agreed::default());
//! let mut sender = Sender::new(now, Timing::default(), &agreed, false);
//! let mut receiver = Receiver::new(now, Timing::default(), &agreed, 0);
//! assert!(matches!(receiver.poll(now), Step::Transmit(ack) if ack.block == BlockNumber::OPENING));
//!
//! sender.supply(BlockNumber(2), true); // Block 1 is ready, and it is the last.
//! let Step::Transmit(run) = sender.poll(now) else { panic!("a block is ready") };
//! let wire = run.first.narrow(Rollover::ToZero);
//! assert_eq!(receiver.arrive(now, wire, true), Arrival::Next);
//! let Step::Transmit(ack) = receiver.poll(now) else { panic!("an ACK is owed") };
//! sender.acknowledge(now, ack.block.narrow(ack.rollover));
//! assert_eq!(sender.poll(now), Step::Done(End::Complete));
//! ```

mod block;
mod negotiate;
mod pace;
mod receiver;
mod rto;
mod sender;
mod throttle;
mod time;
mod timing;

pub use block::{BlockNumber, NUMBERS};
pub use negotiate::{Agreed, Disagreement, GrantLimits, accept, grant};
pub use receiver::{Acknowledgement, Arrival, Receiver};
pub use rto::Rto;
pub use sender::{Run, Sender};
pub use throttle::Allowance;
pub use time::Time;
pub use timing::{Timing, TimingBuilder, TimingError};

/// What a [`Sender`] or a [`Receiver`] wants done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step<T> {
    /// Send this, then poll again.
    Transmit(T),
    /// Do nothing until a datagram comes or this time has come, then poll again.
    Wait(Time),
    /// Do nothing more: the transfer is over.
    Done(End),
}

impl<T> Step<T> {
    /// Changes what is to be transmitted, and leaves the other steps as they are.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Transmit(what) => Step::Transmit(change(what)),
            Self::Wait(until) => Step::Wait(until),
            Self::Done(end) => Step::Done(end),
        }
    }
}

/// How a [`Sender`] or a [`Receiver`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Every block arrived, and this side knows it.
    Complete,
    /// Every block was sent, and only the last acknowledgement never came.
    Unconfirmed,
    /// The peer made no progress for [as long as it may](Rto::patience).
    Silent,
}
