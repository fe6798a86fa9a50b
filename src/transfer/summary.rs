//! How a transfer went.

use crate::proto::{Agreed, Disagreement, End};
use crate::wire::ErrorCode;
use std::time::Duration;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole file arrived, and both sides know it.
    Complete,
    /// The whole file was sent; the last acknowledgement never came.
    Unconfirmed,
    /// The peer fell silent, or never said anything.
    Silent,
    /// The peer's port is closed.
    Unreachable,
    /// The peer ended it with an ERROR.
    PeerError(ErrorCode, Vec<u8>),
    /// The peer's OACK was not what was asked for.
    Disagreement(Option<Disagreement>),
    /// The peer sent more in a block than was agreed.
    Oversized,
    /// The peer's last block came before as many bytes as it had announced.
    Short,
    /// Reading or writing the payload failed here; the peer was told this code.
    Local(ErrorCode, String),
    /// It was ended from here, and the peer was told.
    Stopped,
    /// The peer asked for something else meanwhile.
    Forgotten,
}

impl Outcome {
    pub(super) fn of(end: End, silent: Self) -> Self {
        match end {
            End::Complete => Self::Complete,
            End::Unconfirmed => Self::Unconfirmed,
            End::Silent => silent,
        }
    }
}

/// A transfer in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Payload bytes that arrived, as far as this side knows.
    pub bytes: u64,
    /// Packets that left.
    pub packets: u64,
    /// How many of them had left before.
    pub retransmitted: u64,
    /// The terms.
    pub agreed: Agreed,
    /// From the first moment to the outcome.
    pub elapsed: Duration,
    /// How it ended, once that is known: a received file that is safe can be lost no more.
    pub outcome: Option<Outcome>,
}
