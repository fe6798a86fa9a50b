//! What a transfer needs to know, and what its driver has to do for it.

use super::Burst;
use crate::proto::{Agreed, Time, Timing};
use crate::wire::{Mode, Options};

/// What a driver has to do next for a transfer.
#[derive(Debug)]
pub enum Action<'a> {
    /// Send these packets, then poll again.
    Send(Burst<'a>),
    /// Call [`run_storage`](super::Transfer::run_storage), where waiting for a disk holds nobody up, or
    /// [`try_storage`](super::Transfer::try_storage) elsewhere; then poll again.
    Storage,
    /// Do nothing until a datagram comes or this time has come.
    Wait(Time),
    /// Do nothing any more: the transfer is over, and [`Transfer::summary`](super::Transfer::summary) says how it went.
    Done,
}

/// What [`Action::Storage`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageWork {
    /// The file is read.
    Read,
    /// The upload is written, committed or taken back.
    Write,
    /// The upload is whole, and somebody else is asked whether it may appear ([`MayWait::OnCommitForLong`](super::MayWait)).
    Ask,
}

/// What a server has granted one client, and by which times their transfer runs. `agreed` and `answer` are what
/// [`grant`](crate::proto::grant) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What was agreed on.
    pub agreed: Agreed,
    /// The options of the OACK. If there are none, there is no OACK.
    pub answer: Options,
    /// How the file travels.
    pub mode: Mode,
    /// Intervals and patience.
    pub timing: Timing,
}
