//! A fair share for each client, where all downloads together may take so many bytes in a second and no more.
//!
//! A client that takes less than it may leaves the rest to those that take all they get. It knows no sockets and asks no
//! clock.

use crate::limits;
use crate::net::Share;
use crate::proto::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all downloads of a server share.
#[derive(Debug)]
pub(super) struct Shares {
    /// Bytes in a second.
    all: u64,
    state: Mutex<State>,
    /// When it is counted anew, in microseconds.
    count_at: AtomicU64,
}

#[derive(Debug)]
struct State {
    clients: HashMap<IpAddr, Client>,
    counted_at: Time,
    /// Bytes that were too much and have not been taken back.
    owed: u64,
}

#[derive(Debug)]
struct Client {
    transfers: u64,
    /// What it may take in a second.
    allowed: u64,
    /// Bytes that it has sent and not taken yet, one block for each transfer: it is sent at once, and taken while the next has
    /// to wait.
    ahead: u64,
    own: Arc<Own>,
}

/// What the transfers of one client have in common.
#[derive(Debug, Default)]
struct Own {
    /// Bytes in a second of each.
    rate: AtomicU64,
    /// Bytes that they have sent since it was counted.
    sent: AtomicU64,
}

/// The share of one transfer, which others have when it is dropped.
#[derive(Debug)]
struct OfTransfer {
    shares: Arc<Shares>,
    client: IpAddr,
    own: Arc<Own>,
}

impl Shares {
    pub(super) fn new(now: Time, all: NonZeroU64) -> Arc<Self> {
        let state = State { clients: HashMap::new(), counted_at: now, owed: 0 };
        let count_at = AtomicU64::new(now.as_micros());
        Arc::new(Self { all: all.get(), state: Mutex::new(state), count_at })
    }

    /// The share of one more download by this client.
    pub(super) fn join(self: &Arc<Self>, client: IpAddr, now: Time) -> Box<dyn Share> {
        let mut state = self.state();
        let clients = state.clients.len() as u64;
        let new = || {
            let allowed = self.all / (clients + 1);
            Client { transfers: 0, allowed, ahead: 0, own: Arc::default() }
        };
        let known = state.clients.entry(client).or_insert_with(new);
        known.transfers += 1;
        known.allow(known.allowed);
        let own = Arc::clone(&known.own);
        // What it may take the others may no more.
        self.count_at.fetch_min((now + limits::SOONEST_COUNT).as_micros(), Ordering::Relaxed);
        Box::new(OfTransfer { shares: Arc::clone(self), client, own })
    }

    fn leave(&self, client: IpAddr) {
        let mut state = self.state();
        let Some(known) = state.clients.get_mut(&client) else { return };
        known.transfers -= 1;
        if known.transfers == 0 {
            state.clients.remove(&client);
        } else {
            known.allow(known.allowed);
        }
    }

    /// Shares anew, by what each has taken since the last time.
    fn count(&self, now: Time) {
        // Who finds that another is at it goes on with what it had.
        let Ok(mut state) = self.state.try_lock() else { return };
        let since = (now - state.counted_at).as_micros() as u64;
        if since < limits::SOONEST_COUNT.as_micros() as u64 {
            return;
        }
        state.counted_at = now;
        self.count_at.store((now + limits::BETWEEN_COUNTS).as_micros(), Ordering::Relaxed);
        let mut wants: Vec<_> = Vec::with_capacity(state.clients.len());
        let mut taken = 0_u64;
        for client in state.clients.values_mut() {
            let took = client.took(since);
            taken = taken.saturating_add(took);
            wants.push(client.wants(took));
        }
        // What was too much, because some suddenly wanted more, is taken back within a second. Never all at once: with nothing
        // left, each next block would wait for as long as the slowest rate has it, however soon that is over.
        let in_bytes = |rate: u64| rate.saturating_mul(since) / 1_000_000;
        let owed = state.owed.saturating_add(in_bytes(taken)).saturating_sub(in_bytes(self.all));
        state.owed = owed.min(self.all / 2);
        let back = state.owed.saturating_mul(1_000_000) / limits::BETWEEN_COUNTS.as_micros() as u64;
        let level = level(self.all - back.min(self.all / 2), &mut wants);
        state.clients.values_mut().for_each(|client| client.allow(level));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that each may take, so that all who want more have equally much and all together no more than there is.
fn level(all: u64, wants: &mut [u64]) -> u64 {
    wants.sort_unstable();
    let mut left = all;
    for (n, want) in wants.iter().enumerate() {
        let each = left / (wants.len() - n) as u64;
        if *want > each {
            return each;
        }
        left -= want;
    }
    // Nobody wants more than it has.
    all
}

impl Client {
    /// Bytes in a second that it has taken in so many microseconds: hardly more than it may, for that is what its transfers
    /// are held to.
    fn took(&mut self, since: u64) -> u64 {
        self.ahead = self.ahead.saturating_add(self.own.sent.swap(0, Ordering::Relaxed));
        let may = self.own.rate.load(Ordering::Relaxed).saturating_mul(self.transfers);
        let may = may.saturating_mul(since) / 1_000_000;
        // The first block of many short files waits for nothing; more than a block for each transfer is taken all the same.
        let most = self.transfers.saturating_mul(limits::DATAGRAM_BYTES as u64);
        let taken = self.ahead.min(may).max(self.ahead.saturating_sub(most));
        self.ahead -= taken;
        taken.saturating_mul(1_000_000) / since.max(1)
    }

    /// What it is believed to want: who took nearly all that it got might take more.
    const fn wants(&self, took: u64) -> u64 {
        if took >= self.allowed / 4 * 3 { u64::MAX } else { took + took / 8 }
    }

    fn allow(&mut self, allowed: u64) {
        self.allowed = allowed;
        let rate = (self.allowed / self.transfers.max(1)).max(limits::SLOWEST_RATE);
        self.own.rate.store(rate, Ordering::Relaxed);
    }
}

impl Share for OfTransfer {
    fn rate(&self, now: Time) -> NonZeroU64 {
        if now.as_micros() >= self.shares.count_at.load(Ordering::Relaxed) {
            self.shares.count(now);
        }
        NonZeroU64::new(self.own.rate.load(Ordering::Relaxed)).unwrap_or(NonZeroU64::MIN)
    }

    fn sent(&self, bytes: u64) {
        self.own.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for OfTransfer {
    fn drop(&mut self) {
        self.shares.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GrantLimits, Timing, grant};
    use crate::transfer::{Action, Blocking, Terms, Transfer};
    use crate::wire::{BlockSize, Mode, Operation, Options, Packet, TransferOption, WireBlock};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const ALL: u64 = 10 << 20;

    fn shares() -> Arc<Shares> {
        Shares::new(Time::START, NonZeroU64::new(ALL).expect("a rate"))
    }

    fn client(host: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, host).into()
    }

    /// Lets each take as much as it wants of what it gets, for some seconds, and tells what it took in the last of them.
    fn taken(from: u64, shares: &[(&dyn Share, u64)]) -> Vec<u64> {
        let mut taken = vec![0; shares.len()];
        for tick in 0..500 {
            let now = Time::from_micros(from * 1_000_000 + tick * 10_000);
            for ((share, wants), taken) in shares.iter().zip(&mut taken) {
                let bytes = share.rate(now).get().min(*wants) / 100;
                share.sent(bytes);
                *taken += if tick >= 400 { bytes } else { 0 };
            }
        }
        taken
    }

    fn is_about(bytes: u64, expected: u64) -> bool {
        bytes.abs_diff(expected) <= expected / 20
    }

    #[test]
    fn clients_have_equal_shares_however_many_transfers_each_has() {
        let shares = shares();
        let all: Vec<_> = [1, 2, 2, 2].map(|host| shares.join(client(host), Time::START)).into();
        let greedy: Vec<_> = all.iter().map(|share| (&**share, u64::MAX)).collect();
        let taken = taken(1, &greedy);
        assert!(is_about(taken[0], ALL / 2), "{taken:?}");
        assert!(taken[1..].iter().all(|bytes| is_about(*bytes, ALL / 6)), "{taken:?}");
    }

    #[test]
    fn what_a_slow_client_leaves_others_have_and_it_gets_more_when_it_wants_more() {
        let shares = shares();
        let [slow, fast] = [1, 2].map(|host| shares.join(client(host), Time::START));
        let wants = |slow_one| taken(1, &[(&*slow, slow_one), (&*fast, u64::MAX)]);
        let used = wants(100_000);
        assert!(is_about(used[0], 100_000), "{used:?}");
        assert!(used[1] > ALL * 9 / 10 && used[0] + used[1] <= ALL, "{used:?}");
        let used = taken(10, &[(&*slow, u64::MAX), (&*fast, u64::MAX)]);
        assert!(is_about(used[0], ALL / 2) && is_about(used[1], ALL / 2), "{used:?}");
    }

    #[test]
    fn who_had_many_short_files_and_takes_no_more_leaves_all_to_others_within_a_second() {
        let shares = shares();
        let [stays, other] = [1, 2].map(|host| shares.join(client(host), Time::START));
        for _ in 0..1000 {
            // The first block of each waits for nothing.
            shares.join(client(1), Time::START).sent(60_000);
        }
        let used = taken(1, &[(&*stays, 0), (&*other, u64::MAX)]);
        assert!(is_about(used[1], ALL), "{used:?}");
        let ahead = shares.state().clients[&client(1)].ahead;
        assert!(ahead <= limits::DATAGRAM_BYTES as u64, "{ahead}");
    }

    #[test]
    fn who_is_gone_leaves_all_to_the_others_and_nothing_of_it_is_kept() {
        let shares = shares();
        let [stays, goes] = [1, 2].map(|host| shares.join(client(host), Time::START));
        drop(goes);
        let used = taken(1, &[(&*stays, u64::MAX)]);
        assert!(is_about(used[0], ALL), "{used:?}");
        drop(stays);
        assert!(shares.state().clients.is_empty());
    }

    /// A download in lock-step, held to its share in virtual time; its client answers within a millisecond.
    struct Download {
        transfer: Transfer,
        share: Box<dyn Share>,
        ack: Option<(Time, WireBlock)>,
        sent: u64,
    }

    impl Download {
        fn begin(shares: &Arc<Shares>, host: u8, block: u16) -> Self {
            let size = BlockSize::new(block).expect("a size");
            let asked = Options::NONE.with(TransferOption::BlockSize(size));
            let (agreed, answer) = grant(Operation::Read, &asked, &GrantLimits::default(), None);
            let (mode, timing) = (Mode::Octet, Timing::default());
            let terms = Terms { agreed, answer, mode, timing };
            let source = Box::new(Blocking::new(std::io::repeat(7)));
            let transfer = Transfer::serve_read(Time::START, &terms, source);
            Self { transfer, share: shares.join(client(host), Time::START), ack: None, sent: 0 }
        }

        /// Does what is to be done by `now`, and tells when it is to be looked at again.
        fn run(&mut self, now: Time) -> Time {
            if let Some((_, block)) = self.ack.take_if(|(at, _)| *at <= now) {
                self.transfer.handle(now, &Packet::Ack { block }.to_vec());
            }
            loop {
                self.transfer.set_rate(now, self.share.rate(now));
                match self.transfer.poll(now) {
                    Action::Wait(until) => return self.ack.map_or(until, |(at, _)| at.min(until)),
                    Action::Storage => self.transfer.run_storage(now),
                    Action::Done => panic!("the file has no end"),
                    Action::Send(burst) => {
                        let block = match Packet::parse(burst.bytes) {
                            Ok(Packet::Data { block, .. }) => block,
                            _ => WireBlock(0),
                        };
                        self.share.sent(burst.bytes.len() as u64);
                        self.sent += burst.bytes.len() as u64;
                        self.ack = Some((now + Duration::from_millis(1), block));
                    }
                }
            }
        }
    }

    /// What each of some clients that have blocks of these sizes has been sent within a minute, where all may have `rate`; it
    /// is never more than that, a block of each, and another of who waited for it when the others came.
    fn in_a_minute(rate: u64, blocks: &[u16]) -> Vec<u64> {
        let shares = Shares::new(Time::START, NonZeroU64::new(rate).expect("a rate"));
        let mut all: Vec<_> =
            (1..).zip(blocks).map(|(host, block)| Download::begin(&shares, host, *block)).collect();
        let burst: u64 = blocks.iter().map(|block| 2 * (u64::from(*block) + 4)).sum();
        let mut now = Time::START;
        while now.as_micros() < 60_000_000 {
            let next = all.iter_mut().map(|one| one.run(now)).min().expect("some");
            let sent: u64 = all.iter().map(|one| one.sent).sum();
            let most = rate * now.as_micros() / 1_000_000 * 105 / 100 + burst;
            assert!(sent <= most, "{sent} of {most} at {now:?}");
            now = next.max(now + Duration::from_micros(1));
        }
        all.iter().map(|one| one.sent).collect()
    }

    #[test]
    fn a_block_that_is_more_than_may_be_sent_between_two_looks_is_not_too_much() {
        for rate in [64 << 10, 256 << 10, 1 << 20] {
            let alone = in_a_minute(rate, &[65_464])[0];
            assert!(alone >= rate * 60 * 95 / 100, "{alone} at {rate}");
            let [large, small] = in_a_minute(rate, &[65_464, 512])[..] else { panic!("two") };
            assert!(large.abs_diff(small) <= large / 10, "{large} and {small} at {rate}");
            assert!(large + small >= rate * 60 * 95 / 100, "{large} and {small} at {rate}");
        }
    }

    /// After a pause of all, as where the machine or the disk is busy, all may seem to want little, and then take too much.
    #[test]
    fn who_paused_together_and_took_too_much_then_is_not_held_for_long() {
        const RATE: u64 = 1 << 20;
        for clients in [2, 20] {
            let shares = Shares::new(Time::START, NonZeroU64::new(RATE).expect("a rate"));
            let mut all: Vec<_> =
                (0..clients).map(|host| Download::begin(&shares, host, 8192)).collect();
            let mut now = Time::START;
            for _ in 0..20 {
                let (begun, before) = (now, all.iter().map(|one| one.sent).sum::<u64>());
                while now - begun < Duration::from_secs(1) {
                    let next = all.iter_mut().map(|one| one.run(now)).min().expect("some");
                    now = next.max(now + Duration::from_micros(1));
                }
                let sent = all.iter().map(|one| one.sent).sum::<u64>() - before;
                assert!(
                    sent > RATE / 2,
                    "{clients} were sent {sent} bytes within {:?}",
                    now - begun
                );
                now = now + Duration::from_millis(300);
            }
        }
    }

    #[test]
    fn all_together_never_take_more_but_where_each_has_the_least_there_is() {
        for (clients, most) in [(100, ALL), (255, ALL)] {
            let shares = shares();
            let all: Vec<_> =
                (0..clients).map(|n| shares.join(client(n as u8), Time::START)).collect();
            let wants = |n: usize| if n.is_multiple_of(3) { u64::MAX } else { 1000 * n as u64 };
            let each: Vec<_> =
                all.iter().enumerate().map(|(n, share)| (&**share, wants(n))).collect();
            let used: u64 = taken(1, &each).iter().sum();
            assert!(used <= most && used > most * 9 / 10, "{used} of {most}");
        }
        let few = Shares::new(Time::START, NonZeroU64::new(2048).expect("a rate"));
        let all: Vec<_> = (0..8).map(|n| few.join(client(n), Time::START)).collect();
        let greedy: Vec<_> = all.iter().map(|share| (&**share, u64::MAX)).collect();
        let used = taken(1, &greedy);
        assert!(used.iter().all(|bytes| is_about(*bytes, limits::SLOWEST_RATE)), "{used:?}");
    }
}
