//! How many ERROR answers a network may get.

use crate::limits;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// The network that an address is counted with: what one customer usually has.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) if v6.is_loopback() => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 56)).into(),
    }
}

/// A token bucket for each of a fixed number of slots that networks are hashed into.
pub(super) struct ErrorAllowance {
    buckets: Vec<(f64, Instant)>,
    hasher: RandomState,
}

impl ErrorAllowance {
    pub(super) fn new() -> Self {
        let full = (f64::from(limits::ERROR_BURST), Instant::now());
        Self { buckets: vec![full; limits::ERROR_SLOTS], hasher: RandomState::new() }
    }

    pub(super) fn take(&mut self, network: IpAddr, now: Instant) -> bool {
        let slot = self.hasher.hash_one(network) as usize % self.buckets.len();
        let (tokens, at) = &mut self.buckets[slot];
        let refill = now.duration_since(*at).as_secs_f64() * f64::from(limits::ERRORS_PER_SECOND);
        *tokens = (*tokens + refill).min(f64::from(limits::ERROR_BURST));
        *at = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn errors_to_one_network_are_rationed() {
        let mut errors = ErrorAllowance::new();
        let (now, network) = (Instant::now(), network_of(Ipv4Addr::new(192, 0, 2, 1).into()));
        let burst = (0..limits::ERROR_BURST + 50).filter(|_| errors.take(network, now)).count();
        assert_eq!(burst, limits::ERROR_BURST as usize);
        let later = now + Duration::from_secs(1);
        let refilled = (0..limits::ERROR_BURST).filter(|_| errors.take(network, later)).count();
        assert_eq!(refilled, limits::ERRORS_PER_SECOND as usize);
    }
}
