//! What may be sent to a client that has not proven its address.
//!
//! A request can be forged; an answer to the port of its session cannot, for who forges an address does not learn
//! that port. Until one comes, a server sends so little that nobody gains by the forgery.

use crate::limits;
use crate::proto::Time;
use std::time::Duration;

/// The packets and bytes that an unproven client may still be sent. It is gone as soon as the client is proven.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnprovenBudget {
    packets: u32,
    bytes: usize,
    /// How long the client has to answer the last packet of the budget.
    last_chance: Duration,
    sent_at: Time,
    /// Nothing more may be sent, and the transfer ends at that time.
    spent_until: Option<Time>,
}

impl UnprovenBudget {
    pub(super) const fn new(now: Time, last_chance: Duration) -> Self {
        Self {
            packets: limits::UNPROVEN_PACKETS,
            bytes: limits::UNPROVEN_BYTES,
            last_chance,
            sent_at: now,
            spent_until: None,
        }
    }

    /// Whether a packet of `len` bytes may be sent.
    pub(super) const fn allows(&self, len: usize) -> bool {
        self.packets > 0 && self.bytes >= len
    }

    /// Spends a packet of `len` bytes. Where the budget does not allow it, the transfer ends at the time that is given
    /// back: soon, so that the client's next attempt finds room.
    pub(super) fn spend(&mut self, now: Time, len: usize) -> Result<(), Time> {
        if self.spent_until.is_some() || !self.allows(len) {
            return Err(*self.spent_until.insert(self.sent_at + self.last_chance));
        }
        self.packets -= 1;
        self.bytes -= len;
        self.sent_at = now;
        Ok(())
    }

    /// When the transfer ends, once a packet was refused.
    pub(super) const fn spent_until(&self) -> Option<Time> {
        self.spent_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    fn budget() -> UnprovenBudget {
        UnprovenBudget::new(ms(0), Duration::from_secs(1))
    }

    #[test]
    fn five_packets_may_go_and_a_sixth_may_not() {
        let mut budget = budget();
        for n in 0..5 {
            assert!(budget.allows(4), "packet {n}");
            assert_eq!(budget.spend(ms(n), 4), Ok(()), "packet {n}");
        }
        assert_eq!(budget.spent_until(), None, "nothing was refused yet");
        assert!(!budget.allows(4));
        assert_eq!(budget.spend(ms(70), 4), Err(ms(1004)), "a second after the last that went");
        assert_eq!(budget.spent_until(), Some(ms(1004)));
    }

    #[test]
    fn so_many_bytes_may_go_and_one_more_may_not() {
        let mut budget = budget();
        assert_eq!(budget.spend(ms(0), limits::UNPROVEN_BYTES - 10), Ok(()));
        assert!(!budget.allows(11) && budget.allows(10));
        assert_eq!(budget.spend(ms(0), 10), Ok(()));
        assert_eq!(budget.spend(ms(0), 1), Err(ms(1000)));
    }

    #[test]
    fn what_is_spent_once_stays_spent_for_smaller_packets_too() {
        let mut budget = budget();
        assert_eq!(budget.spend(ms(7), limits::UNPROVEN_BYTES + 1), Err(ms(1000)));
        assert_eq!(budget.spend(ms(8), 4), Err(ms(1000)));
    }
}
