//! The limiter of answers: how many ERRORs one network may get.

use super::network::network_of;
use crate::limits;
use crate::proto::Time;
use crate::rate::TokenBucket;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

/// A token bucket for each of a fixed number of slots that networks are hashed into.
pub(super) struct AnswerLimiter {
    buckets: Vec<TokenBucket>,
    secret: u64,
}

impl AnswerLimiter {
    /// `secret` keeps it from others which networks share a bucket.
    pub(super) fn new(now: Time, secret: u64) -> Self {
        let full = TokenBucket::new(now, limits::ERROR_BURST, limits::ERRORS_PER_SECOND);
        Self { buckets: vec![full; limits::ERROR_SLOTS], secret }
    }

    /// Takes one answer to `client` from what its network may get. Tells whether there was one.
    pub(super) fn try_take(&mut self, client: IpAddr, now: Time) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.secret, network_of(client)).hash(&mut hasher);
        let slot = hasher.finish() as usize % self.buckets.len();
        self.buckets[slot].try_take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn errors_to_one_network_are_rationed() {
        let mut limiter = AnswerLimiter::new(Time::START, 7);
        let mut taken = |now, most| {
            // All hosts of the network count together.
            let client = |n| Ipv4Addr::new(192, 0, 2, n as u8).into();
            (0..most).filter(|n| limiter.try_take(client(*n), now)).count()
        };
        let burst = taken(Time::START, limits::ERROR_BURST + 50);
        assert_eq!(burst, limits::ERROR_BURST as usize);
        let refilled = taken(Time::START + Duration::from_secs(1), limits::ERROR_BURST);
        assert_eq!(refilled, limits::ERRORS_PER_SECOND as usize);
    }
}
