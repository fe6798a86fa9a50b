//! What may be sent to a client that has not proven its address.
//!
//! A request can be forged; an answer to the port of its session cannot, for who forges an address does not learn
//! that port. Until one comes, a server sends so little that nobody gains by the forgery.

use crate::limits;
use crate::proto::Time;

/// The packets and bytes that an unproven client may still be sent unasked. It is gone as soon as the client is proven.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnprovenBudget {
    packets: u32,
    bytes: usize,
    /// When the transfer ends, if nothing was answered until then.
    ends_at: Time,
    is_spent: bool,
}

impl UnprovenBudget {
    pub(super) const fn new(ends_at: Time) -> Self {
        let (packets, bytes) = (limits::UNPROVEN_PACKETS, limits::UNPROVEN_BYTES);
        Self { packets, bytes, ends_at, is_spent: false }
    }

    /// Spends a packet of `len` bytes. From the first that may not be sent on the transfer is silent, until the time that
    /// is given back: a device that erases its flash answers late, and must find it open.
    pub(super) const fn spend(&mut self, len: usize) -> Result<(), Time> {
        self.is_spent |= self.packets == 0 || self.bytes < len;
        if self.is_spent {
            return Err(self.ends_at);
        }
        self.packets -= 1;
        self.bytes -= len;
        Ok(())
    }

    /// When the transfer ends, once a packet was refused.
    pub(super) fn silent_until(&self) -> Option<Time> {
        self.is_spent.then_some(self.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Time = Time::from_micros(30_000_000);

    #[test]
    fn five_packets_may_go_and_a_sixth_may_not() {
        let mut budget = UnprovenBudget::new(END);
        assert_eq!([(); 5].map(|()| budget.spend(4)), [Ok(()); 5]);
        assert_eq!(budget.silent_until(), None, "nothing was refused yet");
        assert_eq!(budget.spend(4), Err(END));
        assert_eq!(budget.silent_until(), Some(END));
    }

    #[test]
    fn so_many_bytes_may_go_and_one_more_may_not() {
        let mut budget = UnprovenBudget::new(END);
        assert_eq!([limits::UNPROVEN_BYTES - 10, 10].map(|len| budget.spend(len)), [Ok(()); 2]);
        assert_eq!(budget.spend(1), Err(END));
    }

    #[test]
    fn what_is_spent_once_stays_spent_for_smaller_packets_too() {
        let mut budget = UnprovenBudget::new(END);
        assert_eq!([limits::UNPROVEN_BYTES + 1, 4].map(|len| budget.spend(len)), [Err(END); 2]);
    }
}
