//! The policy stage: from a [`Query`] to a [`Verdict`]. All that depends on who asks for what is decided here, before
//! anything is opened.
//!
//! This module knows clients and what they may have. It must not know sockets, sessions or files: the same call, made
//! without a server, explains what a server would do.

mod quirks;
mod rewrite;
mod rule;
mod shown;
mod standard;

pub use quirks::Quirks;
pub use rewrite::{MapError, NameRules};
pub use rule::{Action, Operations, Rule, Serving};
pub use shown::Shown;
pub use standard::StandardPolicy;

use crate::proto::{GrantLimits, Timing};
use crate::query::Query;
use crate::store::{RootedPath, Store, StoreError, is_shortage};
use crate::wire::{BlockSize, ErrorCode, Filename, Operation, OptionSet, WindowSize};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Decides what becomes of each request. [`StandardPolicy`] is the one that `rtftpd` has.
///
/// A policy is called where requests are taken, and must not wait. It is not asked about the repeat of a request that has
/// a session; each repeat of one that was refused or dropped comes to it. A panic in it refuses the one request. A
/// closure is a policy, too.
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
    /// Which names its listings have. Without it they have all.
    pub shown: Option<Shown>,
    /// The store that serves it. Without one it is the server's.
    pub store: Option<OwnStore>,
    /// The name that the store is asked for, where it is not the one that came.
    pub name: Option<Filename>,
}

/// A store that serves some clients in the place of the server's. Two are equal if they are the same one.
#[derive(Clone)]
pub struct OwnStore(pub Arc<dyn Store>);

impl PartialEq for OwnStore {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for OwnStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnStore")
    }
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
            shown: None,
            store: None,
            name: None,
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

    /// Has only those names in its listings that pass a test.
    #[must_use]
    pub fn shown(mut self, shown: Shown) -> Self {
        self.shown = Some(shown);
        self
    }

    /// Serves from this store in place of the server's.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(OwnStore(store));
        self
    }

    /// The store that serves it, where `servers` is the server's.
    pub(super) fn store_or<'a>(&'a self, servers: &'a dyn Store) -> &'a dyn Store {
        self.store.as_ref().map_or(servers, |own| &*own.0)
    }

    /// Asks the store for this name in place of the one that came.
    #[must_use]
    pub fn name(mut self, name: impl Into<Filename>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the store is asked: `query`, with the [`name`](Self::name) that is served in place of its own.
    pub fn served<'a>(&self, query: &'a Query) -> Cow<'a, Query> {
        match &self.name {
            Some(name) => Cow::Owned(Query { name: name.clone(), ..query.clone() }),
            None => Cow::Borrowed(query),
        }
    }

    /// The query for the listing that answers `query`, where the store has no file of its name: for it is a LIST, or reads the
    /// generated listing of a directory or a name that is a directory's.
    pub(super) fn lists(&self, query: &Query) -> Option<Query> {
        self.listing.as_ref()?;
        match query.operation {
            Operation::List => Some(query.clone()),
            Operation::Write => None,
            Operation::Read => {
                let path = query.path().ok()?;
                match self.listed_directory(&path) {
                    Some(directory) => {
                        Some(query.for_list(directory.path().as_os_str().as_bytes()))
                    }
                    None => path.is_directory().then(|| query.for_list(query.name.clone())),
                }
            }
        }
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
    /// As many transfers as one network may have are under way there.
    #[error("too many transfers of this network at once")]
    TooManyOfNetwork,
    /// Too many clients have not answered yet.
    #[error("too many clients that have not answered yet")]
    TooManyUnproven,
    /// Too many clients of this network have not answered yet.
    #[error("too many clients of this network that have not answered yet")]
    TooManyUnprovenOfNetwork,
    /// This network, or all of them, have asked as often as they may.
    #[error("the limit of requests of this network, or of all, is reached")]
    TooManyRequests,
    /// This network, or all of them, have had as many answers without a transfer as they may get.
    #[error("the limit of answers to this network, or to all, is reached")]
    TooManyAnswers,
    /// All share one port, and it comes in the middle of a transfer with its sender: it is taken for a copy that the network
    /// made, and whoever means it asks again.
    #[error("a transfer with this port gets on: it may be a late copy")]
    LateCopy,
    /// What was asked does not fit the memory that is left.
    #[error("the memory for transfers is in use")]
    NoMemory,
    /// The system has no descriptor for the transfer.
    #[error("the system has no descriptor for it")]
    NoDescriptor,
    /// Another program has a lease on the file, as file servers do, and has been told to give it up.
    #[error("another program has a lease on the file, and was told to give it up")]
    Leased,
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
        match error.kind() {
            io::ErrorKind::AddrInUse => Some(Self::NoPort),
            io::ErrorKind::OutOfMemory => Some(Self::NoMemory),
            _ if is_shortage(error) => Some(Self::NoDescriptor),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::OptionKind;
    use std::path::PathBuf;

    #[test]
    fn a_listing_has_the_name_that_the_profile_gives_it_in_each_directory() {
        let listed = |profile: &Profile, path: &str| {
            let path = RootedPath::parse(path.as_bytes()).expect("a path");
            profile.listed_directory(&path).map(|directory| directory.path().to_owned())
        };
        let standard = Profile::default();
        for (profile, name) in [(&standard, ".list"), (&standard.clone().listing("ls"), "ls")] {
            assert_eq!(listed(profile, name), Some(PathBuf::new()));
            assert_eq!(listed(profile, &format!("a/b/{name}")), Some("a/b".into()));
            assert_eq!([listed(profile, "a/.lists"), listed(profile, "")], [None, None]);
            assert_eq!(listed(profile, &format!("{name}/a")), None);
        }
        assert_eq!(listed(&standard.clone().listing("ls"), ".list"), None);
        assert_eq!(listed(&standard.clone().listing(""), ""), None);
        assert_eq!(listed(&standard.no_listing(), ".list"), None);
    }

    #[test]
    fn what_a_profile_is_given_it_has_and_nothing_else_changes() {
        let size = BlockSize::new(1024).expect("a size");
        let window = WindowSize::new(4).expect("a window");
        let limits = GrantLimits { block_size: size, window, ..GrantLimits::default() };
        let left_out = OptionSet::EMPTY.with(OptionKind::TransferSize);
        let timing = Timing::builder().patience(std::time::Duration::from_secs(7));
        let timing = timing.build().expect("times");
        let set = Profile::default()
            .whole_packets(true)
            .left_out(left_out)
            .tell_empty(true)
            .timing(timing);
        let standard = Profile::default();
        let one_by_one =
            Profile { whole_packets: true, left_out, tell_empty: true, timing, ..standard.clone() };
        assert_eq!(set, one_by_one);
        assert_eq!(standard.clone().block_size(size).window(window), standard.limits(limits));
    }

    #[test]
    fn a_refusal_tells_a_peer_less_than_the_log() {
        let error = StoreError::denied("the root is read-only");
        let refusal = Refusal::from(error);
        assert_eq!(
            (refusal.code, &*refusal.text),
            (ErrorCode::AccessViolation, "access violation")
        );
        assert_eq!(
            refusal.to_string(),
            r#"ERROR 2 "access violation": not allowed: the root is read-only"#
        );
        assert_eq!(refusal.text("no").text, "no");
    }

    #[test]
    fn what_the_system_has_run_out_of_drops_a_request_and_other_errors_do_not() {
        use nix::libc::{EACCES, EADDRINUSE, EMFILE, ENFILE, ENOMEM};
        let of = |errno| DropReason::of(&io::Error::from_raw_os_error(errno));
        assert_eq!([of(EMFILE), of(ENFILE)], [const { Some(DropReason::NoDescriptor) }; 2]);
        assert_eq!(
            [of(EADDRINUSE), of(ENOMEM)],
            [Some(DropReason::NoPort), Some(DropReason::NoMemory)]
        );
        let out_of_memory = io::ErrorKind::OutOfMemory.into();
        assert_eq!(DropReason::of(&out_of_memory), Some(DropReason::NoMemory));
        assert_eq!([of(EACCES), DropReason::of(&io::Error::other("of its own"))], [None, None]);
    }
}
