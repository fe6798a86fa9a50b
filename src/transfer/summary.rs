//! How a transfer went.

use super::Burst;
use crate::proto::{Agreed, Disagreement, End, Run};
use crate::wire::ErrorCode;
use std::fmt;
use std::time::Duration;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The server had everything, and then said something that is no packet.
    Words(Vec<u8>),
    /// The peer sent more in a block than was agreed.
    Oversized,
    /// The peer's last block came before as many bytes as it had announced.
    Short,
    /// Reading or writing the payload failed here; the peer was told this code.
    Local(ErrorCode, String),
    /// The transfer was ended from here, and the peer was told.
    Stopped,
    /// The peer asked for something else from the same port meanwhile.
    Superseded,
}

impl Outcome {
    /// Whether the whole file arrived, as far as this side can know.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Complete | Self::Unconfirmed)
    }

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
#[non_exhaustive]
pub struct Summary {
    /// Payload bytes that arrived, as far as this side knows.
    pub bytes: u64,
    /// Packets that left.
    pub packets: u64,
    /// How many of those packets had left before.
    pub retransmitted: u64,
    /// How many of those were probes: the last packet once more, to learn what silence means.
    pub probes: u64,
    /// Bytes that left before the peer proved its address. A client needs no proof of the server it asked.
    pub unproven_bytes: u64,
    /// The smoothed round trip, once one was measured.
    pub round_trip: Option<Duration>,
    /// The terms of the transfer.
    pub agreed: Agreed,
    /// The time from the start of the transfer to its outcome, or until now where progress is told.
    pub elapsed: Duration,
    /// Whether the empty block never came that ends a file of whole blocks: it is whole by the size that was told.
    pub end_missing: bool,
    /// How it ended, once that is known: a received file that is safe can be lost no more.
    pub outcome: Option<Outcome>,
}

/// A few words, in which the peer's own text is escaped.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Unconfirmed => f.write_str("complete, but for the last acknowledgement"),
            Self::Silent => f.write_str("the peer fell silent"),
            Self::Unreachable => f.write_str("the peer's port is closed"),
            Self::PeerError(code, text) => {
                write!(f, "ended by the peer: \"{}\" (code {code})", text.escape_ascii())
            }
            Self::Disagreement(Some(why)) => write!(f, "the peer's OACK was refused: {why}"),
            Self::Disagreement(None) => f.write_str("the peer's OACK makes no sense"),
            Self::Words(text) => {
                write!(f, "ended by the peer, in words: \"{}\"", text.escape_ascii())
            }
            Self::Oversized => f.write_str("a block was larger than agreed"),
            Self::Short => f.write_str("it ended before as many bytes as were told"),
            Self::Local(_, error) => f.write_str(error),
            Self::Stopped => f.write_str("ended from here"),
            Self::Superseded => f.write_str("the peer asked for something else"),
        }
    }
}

/// The outcome and the number of bytes.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Some(outcome) => write!(f, "{outcome}, {} bytes", self.bytes),
            None => write!(f, "under way, {} bytes", self.bytes),
        }
    }
}

impl Summary {
    /// Blocks of payload that arrived: full ones, and the last of a whole file, which is not full.
    pub fn blocks(&self) -> u64 {
        let full = self.bytes / self.agreed.block_size().get() as u64;
        let has_end = self.outcome.as_ref().is_some_and(Outcome::is_success) && !self.end_missing;
        full + u64::from(has_end)
    }

    /// Counts packets that leave, to a peer that has proven its address or has not.
    pub(super) const fn count(&mut self, burst: &Burst<'_>, is_proven: bool) {
        self.packets += burst.packets;
        self.retransmitted += burst.resent;
        if burst.is_probe {
            self.probes += 1;
        }
        if !is_proven {
            self.unproven_bytes += burst.bytes.len() as u64;
        }
    }

    /// Counts packets no more that could not leave.
    pub(super) const fn uncount(&mut self, left: Run) {
        self.packets -= left.count;
        self.retransmitted -= left.again;
    }

    /// Notes the outcome, once: a received file that is safe stays so, whatever comes while its last ACK may be missed.
    pub(super) fn conclude(&mut self, elapsed: Duration, outcome: Outcome) {
        if self.outcome.is_none() {
            (self.elapsed, self.outcome) = (elapsed, Some(outcome));
        }
    }
}
