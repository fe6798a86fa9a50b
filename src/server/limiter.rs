//! How much of something one network may have in a time, and all together: requests, answers, bytes.

use super::budgets::OfNetworkAndAll;
use super::network::network_of;
use crate::limits;
use crate::proto::Time;
use crate::rate::TokenBucket;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

/// A token bucket for each of a fixed number of slots that networks are hashed into, and one for all.
pub(super) struct Limiter {
    of_networks: Vec<TokenBucket>,
    all: TokenBucket,
    secret: u64,
}

impl Limiter {
    /// Gives so many tokens in a second, and `burst` times as many at once. `secret` keeps it from others which networks
    /// share a bucket.
    pub(super) fn new(
        now: Time,
        secret: u64,
        per_second: OfNetworkAndAll<u32>,
        burst: u32,
    ) -> Self {
        let full = |rate: u32| TokenBucket::new(now, rate.saturating_mul(burst), rate);
        let of_networks = vec![full(per_second.of_network); limits::NETWORK_SLOTS];
        Self { of_networks, all: full(per_second.all), secret }
    }

    /// Takes a token for `client`. Tells whether there was one of its network and one of all.
    pub(super) fn try_take(&mut self, client: IpAddr, now: Time) -> bool {
        // What is refused to a network is left to the others.
        self.of_network(client).try_take(now) && self.all.try_take(now)
    }

    /// Takes so many tokens for `client`, those too that are not there yet.
    pub(super) fn take(&mut self, client: IpAddr, now: Time, tokens: u32) {
        self.of_network(client).take(now, tokens);
        self.all.take(now, tokens);
    }

    /// When no token is missing for `client`.
    pub(super) fn ready_at(&mut self, client: IpAddr, now: Time) -> Time {
        self.of_network(client).ready_at(now).max(self.all.ready_at(now))
    }

    fn of_network(&mut self, client: IpAddr) -> &mut TokenBucket {
        let mut hasher = DefaultHasher::new();
        (self.secret, network_of(client)).hash(&mut hasher);
        let slot = hasher.finish() as usize % self.of_networks.len();
        &mut self.of_networks[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn each_network_has_its_tokens_and_all_have_no_more_than_theirs() {
        let mut limiter = Limiter::new(Time::START, 7, OfNetworkAndAll::new(10, 25), 4);
        // All hosts of a network count together.
        let client = |network, n: u32| Ipv4Addr::new(192, 0, network, n as u8).into();
        let mut taken =
            |network, now| (0..1000).filter(|n| limiter.try_take(client(network, *n), now)).count();
        assert_eq!([1, 1, 2].map(|network| taken(network, Time::START)), [40, 0, 40]);
        assert_eq!(taken(3, Time::START), 20, "all have had a hundred");
        assert_eq!([1, 2, 3].map(|network| taken(network, Time::START)), [0; 3]);
        let later = Time::START + Duration::from_secs(1);
        assert_eq!([1, 2, 3].map(|network| taken(network, later)), [10, 10, 5]);
    }
}
