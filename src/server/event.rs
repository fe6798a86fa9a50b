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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Outcome;
    use crate::wire::{ErrorCode, Operation};
    use std::io;

    #[test]
    fn each_event_knows_what_it_is_about_and_is_one_line_for_people() {
        let peer: SocketAddr = ([192, 0, 2, 7], 2000).into();
        let query = &Query::new(peer, [127, 0, 0, 1].into(), Operation::Read, "f");
        let (name, agreed) = (Filename::from("g"), &Agreed::default());
        let outcome = Some(Outcome::Complete);
        let summary = &Summary { bytes: 9, packets: 2, outcome, ..Summary::default() };
        let refusal = &Refusal::new(ErrorCode::NotFound, "gone").text("no");
        let (reason, error) = (&DropReason::Policy("busy".into()), &io::Error::other("broken"));
        let (is_about_it, said) = (Some(query), Some(summary));
        for served in [None, Some(&name)] {
            let behind = if served.is_some() { ", served as \"g\"" } else { "" };
            let began = "started: RRQ \"f\" octet from 192.0.2.7:2000, 512 bytes in a block, 1 blocks in a window";
            for (event, line) in [
                (Event::Started { query, served, agreed }, began),
                (
                    Event::Progress { query, served, summary },
                    "9 bytes: RRQ \"f\" octet from 192.0.2.7:2000",
                ),
                (
                    Event::Finished { query, served, summary },
                    "complete, 9 bytes: RRQ \"f\" octet from 192.0.2.7:2000",
                ),
                (
                    Event::Refused { query, served, refusal },
                    "refused: RRQ \"f\" octet from 192.0.2.7:2000: ERROR 1 \"no\": gone",
                ),
                (
                    Event::Failed { query, served, summary: said, error },
                    "failed: RRQ \"f\" octet from 192.0.2.7:2000: broken",
                ),
            ] {
                assert_eq!(event.to_string(), format!("{line}{behind}"));
                let told = (event.query(), event.served(), event.peer());
                assert_eq!(told, (is_about_it, served, peer), "{event}");
            }
        }
        let why = Malformed::Mode;
        for (event, query, line) in [
            (
                Event::Dropped { peer, query: is_about_it, reason },
                is_about_it,
                "dropped: RRQ \"f\" octet from 192.0.2.7:2000: busy",
            ),
            (Event::Dropped { peer, query: None, reason }, None, "dropped: 192.0.2.7:2000: busy"),
            (Event::Malformed { peer, why }, None, "malformed mode from 192.0.2.7:2000"),
            (Event::Stray { peer }, None, "stray packet from 192.0.2.7:2000"),
        ] {
            assert_eq!(event.to_string(), line);
            assert_eq!(
                (event.query(), event.served(), event.peer()),
                (query, None, peer),
                "{event}"
            );
        }
    }
}
