//! What the page and `rtftpd top` are told, as it travels: JSON.

use serde::{Deserialize, Serialize};

/// A server at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Status {
    pub(super) version: String,
    /// Where it takes requests.
    pub(super) listening: Vec<String>,
    /// Seconds since it was started.
    pub(super) up: f64,
    pub(super) now: Now,
    pub(super) totals: Totals,
    /// The oldest of those that are under way.
    pub(super) running: Vec<Running>,
    /// How many there are beside those.
    pub(super) more_running: usize,
    /// What is over, the newest first.
    pub(super) recent: Vec<Recent>,
    /// Bytes in each second, sent and received, the newest last.
    pub(super) history: Vec<(u64, u64)>,
}

/// What is in use.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Now {
    pub(super) transfers: usize,
    pub(super) dallying: usize,
    pub(super) unproven: usize,
    pub(super) windows_bytes: usize,
    /// Bytes in each second.
    pub(super) sending: u64,
    pub(super) receiving: u64,
    /// Seconds that something new waits for the loop that takes requests.
    pub(super) lag: f64,
}

/// Since the server was started.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Totals {
    pub(super) started: u64,
    pub(super) complete: u64,
    /// Transfers that ended in trouble.
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) dropped: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) packets: u64,
    pub(super) retransmitted: u64,
}

/// What it is about.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct About {
    pub(super) peer: String,
    pub(super) file: String,
    /// The name that is served, where it is not the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) served: Option<String>,
    /// `read`, `write` or `list`; nothing where it could not be read.
    pub(super) operation: String,
}

/// How far it is, or was.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// Bytes in each second: just now where it is under way, else of all the time.
    pub(super) rate: u64,
    /// Seconds of a round trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) round_trip: Option<f64>,
    pub(super) packets: u64,
    pub(super) retransmitted: u64,
}

/// A transfer under way.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Running {
    pub(super) id: u64,
    #[serde(flatten)]
    pub(super) about: About,
    #[serde(flatten)]
    pub(super) progress: Progress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// Seconds until its end, if it goes on like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<f64>,
    /// Seconds since it last got on.
    pub(super) still: f64,
    pub(super) blksize: usize,
    pub(super) windowsize: u16,
}

/// What is over.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Recent {
    pub(super) id: u64,
    /// Seconds since then.
    pub(super) ago: f64,
    #[serde(flatten)]
    pub(super) about: About,
    /// In one word: `sent`, `lost`, `refused` and the like.
    pub(super) how: String,
    pub(super) grade: Grade,
    pub(super) why: String,
    /// Nothing where there was no transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    #[default]
    Fine,
    /// It is not what somebody wanted, and no harm: a file that need not be there.
    Note,
    Bad,
}
