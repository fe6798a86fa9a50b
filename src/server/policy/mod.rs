//! The policy stage: from a [`Query`] to a [`Verdict`]. All that depends on who asks for what is decided here, before
//! anything is opened.
//!
//! This module knows clients and what they may have. It must not know sockets, sessions or files: the same call, made
//! without a server, explains what a server would do.

mod standard;

pub use standard::StandardPolicy;

use crate::proto::{GrantLimits, Timing};
use crate::query::Query;
use crate::store::{RootedPath, StoreError};
use crate::wire::{BlockSize, ErrorCode, OptionSet, WindowSize};
use nix::errno::Errno;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Decides what becomes of each request. [`StandardPolicy`] is the one that `rtftpd` has.
///
/// A policy is called where requests are taken, and must not wait. It is not asked about a request that is repeated
/// before its client has seen the answer. A panic in it refuses the one request. A closure is a policy, too.
pub trait Policy: Send + Sync {
    /// What becomes of `query`.
    fn decide(&self, query: &Query) -> Verdict;
}

impl<F: Fn(&Query) -> Verdict + Send + Sync> Policy for F {
    fn decide(&self, query: &Query) -> Verdict {
        self(query)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The request is served like this, as far as the store has what it asks for and there is room.
    Serve(Profile),
    /// The request is answered with an ERROR.
    Refuse(Refusal),
    /// The request is not answered, for this reason, which is for the log.
    Drop(Cow<'static, str>),
}

/// How a client is served.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The most that is granted.
    pub limits: GrantLimits,
    /// Whether no block is granted that the path to the client would carry in pieces.
    pub whole_packets: bool,
    /// Options that are treated as if they had not been asked for.
    pub left_out: OptionSet,
    /// Whether a reader is told the size of an empty file. curl takes a `tsize` of 0 for an error.
    pub tell_empty: bool,
    /// Intervals and patience.
    pub timing: Timing,
    /// The name under which a read gets the generated listing of a directory. Without one there are no listings, by LIST
    /// neither.
    pub listing: Option<Arc<str>>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            limits: GrantLimits::default(),
            whole_packets: false,
            left_out: OptionSet::default(),
            tell_empty: false,
            timing: Timing::default(),
            listing: Some(".list".into()),
        }
    }
}

impl Profile {
    /// Grants no more than `limits`.
    #[must_use]
    pub const fn limits(mut self, limits: GrantLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Grants no larger blocks.
    #[must_use]
    pub const fn block_size(mut self, most: BlockSize) -> Self {
        self.limits.block_size = most;
        self
    }

    /// Grants no wider windows.
    #[must_use]
    pub const fn window(mut self, most: WindowSize) -> Self {
        self.limits.window = most;
        self
    }

    /// Grants, or does not, blocks that the path would carry in pieces.
    #[must_use]
    pub const fn whole_packets(mut self, whole: bool) -> Self {
        self.whole_packets = whole;
        self
    }

    /// Treats these options as if they had not been asked for.
    #[must_use]
    pub const fn left_out(mut self, options: OptionSet) -> Self {
        self.left_out = options;
        self
    }

    /// Tells a reader the size of an empty file, or does not.
    #[must_use]
    pub const fn tell_empty(mut self, tell: bool) -> Self {
        self.tell_empty = tell;
        self
    }

    /// Runs the transfer by these times.
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Gives the generated listing of each directory this name. An empty name, or one with a slash, names no file.
    #[must_use]
    pub fn listing(mut self, name: &str) -> Self {
        self.listing = Some(name.into());
        self
    }

    /// Offers no listing: neither LIST requests nor the generated file.
    #[must_use]
    pub fn no_listing(mut self) -> Self {
        self.listing = None;
        self
    }

    /// The directory whose generated listing has the name `path`, if that is such a name.
    pub fn listed_directory(&self, path: &RootedPath) -> Option<RootedPath> {
        let listing = OsStr::from_bytes(self.listing.as_deref()?.as_bytes());
        path.split().filter(|(_, last)| *last == listing).map(|(directory, _)| directory)
    }
}

/// An ERROR that answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The code for the peer.
    pub code: ErrorCode,
    /// The text for the peer. It must not name anything of the server's.
    pub text: Cow<'static, str>,
    /// The reason, for the log.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with the standard text of its code.
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: code.text().into(), reason: reason.into() }
    }

    /// Tells the peer `text` in place of the standard text.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string()).text(error.text())
    }
}

/// The code, the text and the reason, for people who read logs.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {} \"{}\": {}", self.code, self.text, self.reason)
    }
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// As many transfers as there may be are under way.
    #[error("too many transfers at once")]
    TooManySessions,
    /// Too many clients have not answered yet.
    #[error("too many clients that have not answered yet")]
    TooManyUnproven,
    /// Too many clients of this network have not answered yet.
    #[error("too many clients of this network that have not answered yet")]
    TooManyUnprovenOfNetwork,
    /// This network has had as many answers without a transfer as one network may get.
    #[error("the limit of answers to this network is reached")]
    TooManyAnswers,
    /// What was asked does not fit the memory that is left.
    #[error("the memory for transfers is in use")]
    NoMemory,
    /// The system has no descriptor for the transfer.
    #[error("the system has no descriptor for it")]
    NoDescriptor,
    /// All ports for transfers are in use.
    #[error("all ports for transfers are in use")]
    NoPort,
    /// The policy says so, for this reason.
    #[error("{0}")]
    Policy(Cow<'static, str>),
}

impl DropReason {
    /// What the system has run out of, if that is what `error` says.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE) => Some(Self::NoDescriptor),
            _ if error.kind() == io::ErrorKind::AddrInUse => Some(Self::NoPort),
            _ if error.kind() == io::ErrorKind::OutOfMemory => Some(Self::NoMemory),
            _ => None,
        }
    }
}
