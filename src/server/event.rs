//! What is told of a server. Logs, and whatever else wants to know, are folds over it.

use super::policy::{DropReason, Refusal};
use crate::proto::Agreed;
use crate::query::Query;
use crate::transfer::Summary;
use crate::wire::{Filename, Malformed};
use std::fmt;
use std::net::SocketAddr;

/// Something happened.
///
/// An observer is called on the thread where it happens, which may drive all transfers: whatever may wait is for the
/// observer to hand on. A panic in an observer ends the transfer that it was told of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer begins: what it is about was opened, and its terms are granted. One `Finished` or `Failed` follows,
    /// whatever happens.
    Started {
        /// What was asked.
        query: &'a Query,
        /// The name that is served, where it is not the one that was asked for.
        served: Option<&'a Filename>,
        /// What was granted.
        agreed: &'a Agreed,
    },
    /// A transfer goes on, or waits: this is told as often as [`Config::progress`](super::Config::progress) says.
    Progress {
        /// What was asked.
        query: &'a Query,
        /// The name that is served, where it is not the one that was asked for.
        served: Option<&'a Filename>,
        /// The figures so far.
        summary: &'a Summary,
    },
    /// A transfer has its outcome.
    Finished {
        /// What was asked.
        query: &'a Query,
        /// The name that was served, where it is not the one that was asked for.
        served: Option<&'a Filename>,
        /// How it went.
        summary: &'a Summary,
    },
    /// A request was answered with an ERROR.
    Refused {
        /// What was asked.
        query: &'a Query,
        /// The name that was looked for, where it is not the one that was asked for.
        served: Option<&'a Filename>,
        /// What the client was told, and why.
        refusal: &'a Refusal,
    },
    /// A datagram that was meant for a request was answered with ERROR 4.
    Malformed {
        /// Who sent it.
        peer: SocketAddr,
        /// What is wrong with it.
        why: Malformed,
    },
    /// A request was not answered.
    Dropped {
        /// Who asked.
        peer: SocketAddr,
        /// What was asked, where that could be read.
        query: Option<&'a Query>,
        /// Why it was dropped.
        reason: &'a DropReason,
    },
    /// Something that is no request came to the request port and was dropped.
    Stray {
        /// Who sent it.
        peer: SocketAddr,
    },
    /// A transfer could not run: the system refused a socket or failed.
    Failed {
        /// What was asked.
        query: &'a Query,
        /// The name that was served, where it is not the one that was asked for.
        served: Option<&'a Filename>,
        /// How far it came, where it had begun.
        summary: Option<&'a Summary>,
        /// What the system said.
        error: &'a std::io::Error,
    },
}

impl Event<'_> {
    /// What was asked, where the event is about a request that could be read.
    pub const fn query(&self) -> Option<&Query> {
        match self {
            Self::Started { query, .. }
            | Self::Progress { query, .. }
            | Self::Finished { query, .. }
            | Self::Refused { query, .. }
            | Self::Failed { query, .. } => Some(query),
            Self::Dropped { query, .. } => *query,
            Self::Malformed { .. } | Self::Stray { .. } => None,
        }
    }

    /// The name that is served, or was looked for, in place of the one that was asked for, where they differ.
    pub const fn served(&self) -> Option<&Filename> {
        match self {
            Self::Started { served, .. }
            | Self::Progress { served, .. }
            | Self::Finished { served, .. }
            | Self::Refused { served, .. }
            | Self::Failed { served, .. } => *served,
            Self::Dropped { .. } | Self::Malformed { .. } | Self::Stray { .. } => None,
        }
    }

    /// The client's address.
    pub const fn peer(&self) -> SocketAddr {
        match self {
            Self::Started { query, .. }
            | Self::Progress { query, .. }
            | Self::Finished { query, .. }
            | Self::Refused { query, .. }
            | Self::Failed { query, .. } => query.peer,
            Self::Dropped { peer, .. } | Self::Malformed { peer, .. } | Self::Stray { peer } => {
                *peer
            }
        }
    }
}

/// One line for people.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { query, agreed, .. } => {
                let (size, window) = (agreed.block_size(), agreed.window());
                write!(f, "started: {query}, {size} bytes in a block, {window} blocks in a window")
            }
            Self::Progress { query, summary, .. } => write!(f, "{} bytes: {query}", summary.bytes),
            Self::Finished { query, summary, .. } => write!(f, "{summary}: {query}"),
            Self::Refused { query, refusal, .. } => write!(f, "refused: {query}: {refusal}"),
            Self::Malformed { peer, why } => write!(f, "malformed {why} from {peer}"),
            Self::Dropped { peer, query: None, reason } => write!(f, "dropped: {peer}: {reason}"),
            Self::Dropped { query: Some(query), reason, .. } => {
                write!(f, "dropped: {query}: {reason}")
            }
            Self::Stray { peer } => write!(f, "stray packet from {peer}"),
            Self::Failed { query, error, .. } => write!(f, "failed: {query}: {error}"),
        }?;
        self.served().map_or(Ok(()), |served| write!(f, ", served as \"{served}\""))
    }
}

/// How much of a server is in use at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Transfers under way.
    pub transfers: usize,
    /// Sessions whose uploads are safe, and that only answer a repeated last block.
    pub dallying: usize,
    /// Sessions whose clients have not answered yet.
    pub unproven: usize,
    /// Bytes of memory that are reserved for windows.
    pub windows_bytes: usize,
}
