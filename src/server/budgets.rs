//! What clients may cause, in numbers that whoever runs a server may set.

use crate::limits;
use std::num::{NonZeroU32, NonZeroU64};

/// What the clients of one network (an IPv4 /24, an IPv6 /56) may cause, and all together. [`Budgets::default`] has the values
/// of [`limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Requests in a second; four times as many at once.
    pub(super) requests: OfNetworkAndAll<NonZeroU32>,
    /// Answers in a second that open no session; four times as many at once.
    pub(super) answers: OfNetworkAndAll<u32>,
    /// Sessions of one network.
    pub(super) sessions_of_network: Option<usize>,
    /// Sessions of clients that have not answered.
    pub(super) unproven: Option<OfNetworkAndAll<usize>>,
    /// Bytes in a second to clients whose addresses are not known to hear, where all transfers share a port.
    pub(super) unheard: OfNetworkAndAll<NonZeroU32>,
    /// Bytes in a second of all downloads.
    pub(super) rate: Option<NonZeroU64>,
}

/// A number for each network, and one for all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfNetworkAndAll<T> {
    pub(super) of_network: T,
    pub(super) all: T,
}

impl<T> OfNetworkAndAll<T> {
    pub(super) const fn new(of_network: T, all: T) -> Self {
        Self { of_network, all }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let both =
            |of_network, all| OfNetworkAndAll::new(at_least_one(of_network), at_least_one(all));
        Self {
            requests: both(limits::REQUESTS_PER_SECOND, limits::ALL_REQUESTS_PER_SECOND),
            answers: OfNetworkAndAll::new(limits::ERRORS_PER_SECOND, limits::ALL_ERRORS_PER_SECOND),
            sessions_of_network: None,
            unproven: None,
            unheard: both(limits::UNHEARD_RATE_OF_NETWORK, limits::UNHEARD_RATE),
            rate: None,
        }
    }
}

impl Budgets {
    /// Takes so many requests in a second from one network, and from all, after four times as many at once. Others are
    /// dropped before anything is done for them.
    #[must_use]
    pub const fn requests(mut self, of_network: NonZeroU32, all: NonZeroU32) -> Self {
        self.requests = OfNetworkAndAll::new(of_network, all);
        self
    }

    /// Gives one network, and all, so many answers in a second that open no session and are longer than what they answer:
    /// ERRORs, and those to repeats. Four times as many go at once; other ERRORs go without their text, and other repeats
    /// unanswered.
    #[must_use]
    pub const fn errors(mut self, of_network: u32, all: u32) -> Self {
        self.answers = OfNetworkAndAll::new(of_network, all);
        self
    }

    /// Serves so many transfers of one network at once. Without this call they are three quarters of all.
    #[must_use]
    pub const fn sessions_of_network(mut self, most: usize) -> Self {
        self.sessions_of_network = Some(most);
        self
    }

    /// Begins so many transfers at once whose clients have not answered yet, of one network and of all. Without this call
    /// they are a quarter and three quarters of all.
    #[must_use]
    pub const fn unproven_sessions(mut self, of_network: usize, all: usize) -> Self {
        self.unproven = Some(OfNetworkAndAll::new(of_network, all));
        self
    }

    /// Sends so many bytes in a second to one network, and to all, whose addresses have not shown that they hear, where all
    /// transfers share one port ([`Model::SinglePort`](super::Model::SinglePort)).
    #[must_use]
    pub const fn unheard(mut self, of_network: NonZeroU32, all: NonZeroU32) -> Self {
        self.unheard = OfNetworkAndAll::new(of_network, all);
        self
    }

    /// Sends so many bytes in a second to all clients together, headers of TFTP included; `None` sends as many as they
    /// take. Clients share it fairly: what one leaves others have. Each transfer has [`limits::SLOWEST_RATE`] all the
    /// same.
    #[must_use]
    pub const fn rate(mut self, bytes: Option<NonZeroU64>) -> Self {
        self.rate = bytes;
        self
    }
}
