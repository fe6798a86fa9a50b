//! What may be sent to an address before it has proven itself.
//!
//! A request can be forged; an answer to the port of its session cannot, for who forges an address does not learn
//! that port. Until one comes, a server sends so little that nobody gains by the forgery.

use crate::limits;
use crate::proto::Time;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    proven: bool,
    /// Packets and bytes that may still be sent without proof.
    packets: u32,
    bytes: usize,
    /// How long a client has to answer the last packet that it gets without proof.
    last_chance: Duration,
    sent_at: Time,
    /// Nothing more may be sent; without proof it ends then.
    spent_until: Option<Time>,
}

impl Proof {
    pub(super) const fn new(now: Time, last_chance: Duration) -> Self {
        Self {
            proven: false,
            packets: limits::UNPROVEN_PACKETS,
            bytes: limits::UNPROVEN_BYTES,
            last_chance,
            sent_at: now,
            spent_until: None,
        }
    }

    /// What only the one who was answered can send came: an ACK of a read, a DATA of a write. (A DATA proves no read:
    /// an echo service sends ours back.)
    pub(super) const fn seen(&mut self) {
        self.proven = true;
        self.spent_until = None;
    }

    pub(super) const fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether a packet of `len` bytes may be sent.
    pub(super) const fn allows(&self, len: usize) -> bool {
        self.proven || (self.packets > 0 && self.bytes >= len)
    }

    /// Takes a packet of `len` bytes from the allowance; where it does not allow that, the end comes into sight.
    pub(super) fn take(&mut self, now: Time, len: usize) -> bool {
        if !self.allows(len) {
            self.spent_until = Some(self.sent_at + self.last_chance);
            return false;
        }
        if !self.proven {
            self.packets -= 1;
            self.bytes -= len;
            self.sent_at = now;
        }
        true
    }

    /// When it ends, everything having been sent that may be: soon, so that the client's next attempt finds room.
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

    fn proof() -> Proof {
        Proof::new(ms(0), Duration::from_secs(1))
    }

    #[test]
    fn five_packets_may_go_and_a_sixth_may_not() {
        let mut proof = proof();
        for n in 0..5 {
            assert!(proof.allows(4) && proof.take(ms(n), 4), "packet {n}");
        }
        assert_eq!(proof.spent_until(), None, "nothing was refused yet");
        assert!(!proof.allows(4) && !proof.take(ms(70), 4));
        assert_eq!(proof.spent_until(), Some(ms(1004)), "a second after the last that went");
    }

    #[test]
    fn so_many_bytes_may_go_and_one_more_may_not() {
        let mut proof = proof();
        assert!(proof.take(ms(0), limits::UNPROVEN_BYTES - 10));
        assert!(!proof.allows(11) && proof.allows(10));
        assert!(proof.take(ms(0), 10));
        assert!(!proof.take(ms(0), 1));
    }

    #[test]
    fn whoever_answered_gets_all_there_is() {
        let mut proof = proof();
        assert!(!proof.is_proven() && !proof.take(ms(0), limits::UNPROVEN_BYTES + 1));
        proof.seen();
        assert!(proof.is_proven());
        assert_eq!(proof.spent_until(), None, "it goes on");
        for n in 0..10 {
            assert!(proof.allows(65_000) && proof.take(ms(n), 65_000));
        }
    }
}
