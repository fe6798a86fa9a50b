//! Everything worth telling. Logs, and whatever else wants to know, are folds over it.

use super::Refusal;
use crate::transfer::Summary;
use crate::wire::{ErrorCode, Malformed, Mode, Operation, Options};
use std::net::{IpAddr, SocketAddr};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked.
    pub peer: SocketAddr,
    /// Which of our addresses.
    pub local: IpAddr,
    /// Read, write or list.
    pub operation: Operation,
    /// The name, as it came: any bytes.
    pub name: Vec<u8>,
    /// The representation.
    pub mode: Mode,
    /// The options that were understood.
    pub options: Options,
}

/// Something happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A transfer is over.
    Finished {
        /// What was asked.
        asked: &'a Asked,
        /// How it went.
        summary: &'a Summary,
    },
    /// A request was answered with an ERROR.
    Refused {
        /// What was asked.
        asked: &'a Asked,
        /// What the client was told.
        code: ErrorCode,
        /// Why, in the server's own words.
        why: &'a str,
    },
    /// A request was answered with ERROR 4, for it was none.
    Malformed {
        /// Who sent it.
        peer: SocketAddr,
        /// What is wrong with it.
        why: Malformed,
    },
    /// A request was dropped, for there is no room for it.
    Turned {
        /// Who asked.
        peer: SocketAddr,
        /// Which bound was reached.
        why: Refusal,
    },
    /// Something that is no request came to the request port and was dropped.
    Stray {
        /// Who sent it.
        peer: SocketAddr,
    },
    /// A transfer could not run: the system refused a socket or failed.
    Failed {
        /// What was asked.
        asked: &'a Asked,
        /// What the system said.
        error: &'a std::io::Error,
    },
}
