//! A fair share for each client, where all downloads together may take so many bytes in a second and no more.
//!
//! Each transfer has a leaky bucket: what it sends goes in, and it may send again when nearly all has drained. The rate of
//! all drains the buckets that are not empty, those of all clients equally, and within a client those of its transfers
//! equally (generalized processor sharing). So who takes less than it may leaves the rest to others at once, nobody is
//! measured, and what has left is never more than the rate and what is in the buckets. It knows no sockets and asks no
//! clock.

use crate::limits;
use crate::net::Share;
use crate::proto::{Allowance, Time};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What all downloads of a server share.
#[derive(Debug)]
pub(super) struct Shares {
    /// Bytes in a second.
    all: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    clients: HashMap<IpAddr, Client>,
    buckets: Buckets<IpAddr>,
    /// They are drained up to this time.
    drained_at: Time,
}

#[derive(Debug, Default)]
struct Client {
    /// How many transfers it has.
    transfers: usize,
    bucket: Bucket,
    /// Those of its transfers, by their places in `bucket_of`.
    buckets: Buckets<usize>,
    /// How much had been drained from any client when these were drained last.
    drained: u128,
    bucket_of: Vec<Bucket>,
    /// Those whose transfers have ended: the next transfer takes one of them, with what is in it.
    unused: Vec<usize>,
}

/// Leaky buckets that drain equally as long as there is something in them. It is counted in millionths of a byte: a rate
/// of so many bytes in a second drains so many of those in a microsecond.
#[derive(Debug)]
struct Buckets<K> {
    /// How much was drained from one that has never been empty.
    drained: u128,
    /// Those that are not empty, by what `drained` is when they are.
    filled: BTreeSet<(u128, K)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// What [`Buckets::drained`] is when it is empty.
    empty_at: u128,
    /// When its transfer may send whatever is in it.
    may_at_last: Time,
}

const MILLIONTHS: u128 = 1_000_000;

impl<K: Copy + Ord> Buckets<K> {
    /// Drains so much from all together, and tells which are empty by that.
    fn drain(&mut self, mut much: u128, mut emptied: impl FnMut(K)) {
        while let Some((empty_at, key)) = self.filled.first().copied() {
            let count = self.filled.len() as u128;
            let first = (empty_at - self.drained) * count;
            if first > much {
                self.drained += much / count;
                return;
            }
            much -= first;
            self.drained = empty_at;
            self.filled.pop_first();
            emptied(key);
        }
    }

    fn fill(&mut self, key: K, bucket: &mut Bucket, much: u128) {
        self.remove(key, *bucket);
        bucket.empty_at = bucket.empty_at.max(self.drained) + much;
        if bucket.empty_at > self.drained {
            self.filled.insert((bucket.empty_at, key));
        }
    }

    fn content(&self, bucket: Bucket) -> u128 {
        bucket.empty_at.saturating_sub(self.drained)
    }

    /// In how many parts what drains is divided while there is something in this bucket.
    fn parts(&self, bucket: Bucket) -> u128 {
        (self.filled.len() + usize::from(self.content(bucket) == 0)) as u128
    }

    fn remove(&mut self, key: K, bucket: Bucket) {
        self.filled.remove(&(bucket.empty_at, key));
    }
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { drained: 0, filled: BTreeSet::new() }
    }
}

/// The share of one transfer, which others have when it is dropped.
#[derive(Debug)]
struct OfTransfer {
    shares: Arc<Shares>,
    client: IpAddr,
    place: usize,
}

impl Shares {
    pub(super) fn new(now: Time, all: NonZeroU64) -> Arc<Self> {
        let (clients, buckets) = (HashMap::new(), Buckets::default());
        let state = State { clients, buckets, drained_at: now };
        Arc::new(Self { all: all.get(), state: Mutex::new(state) })
    }

    /// The share of one more download by this client.
    pub(super) fn join(self: &Arc<Self>, client: IpAddr, now: Time) -> Box<dyn Share> {
        let mut state = self.drained(now);
        let known = state.clients.entry(client).or_default();
        known.transfers += 1;
        let place = known.unused.pop().unwrap_or_else(|| {
            known.bucket_of.push(Bucket::default());
            known.bucket_of.len() - 1
        });
        Box::new(OfTransfer { shares: Arc::clone(self), client, place })
    }

    #[cfg(test)]
    pub(super) fn clients(&self) -> Vec<IpAddr> {
        self.state().clients.keys().copied().collect()
    }

    fn leave(&self, client: IpAddr, place: usize) {
        let State { clients, buckets, .. } = &mut *self.state();
        let many = clients.len() > limits::SHARES_KEPT;
        let Some(known) = clients.get_mut(&client) else { return };
        known.transfers -= 1;
        known.unused.push(place);
        if known.transfers == 0 && (many || buckets.content(known.bucket) == 0) {
            buckets.remove(client, known.bucket);
            clients.remove(&client);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with all drained until now.
    fn drained(&self, now: Time) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let State { clients, buckets, drained_at } = &mut *state;
        let since = (now - *drained_at).as_micros();
        *drained_at = now.max(*drained_at);
        buckets.drain(since * u128::from(self.all), |client| {
            if clients.get(&client).is_some_and(|known| known.transfers == 0) {
                clients.remove(&client);
            }
        });
        state
    }
}

impl Client {
    /// Drains the buckets of its transfers by what its own was drained by.
    fn catch_up(&mut self, all: &Buckets<IpAddr>) {
        let much = match all.content(self.bucket) {
            0 => u128::MAX,
            _ => all.drained - self.drained,
        };
        self.buckets.drain(much, |_| {});
        self.drained = all.drained;
    }
}

impl OfTransfer {
    /// Calls `act` with the buckets of all, with those of this client, and with what may be in its own when it sends.
    fn with<T>(
        &self,
        now: Time,
        act: impl FnOnce(&mut Buckets<IpAddr>, &mut Client, u128) -> T,
    ) -> Option<T> {
        let State { clients, buckets, .. } = &mut *self.shares.drained(now);
        let known = clients.get_mut(&self.client)?;
        known.catch_up(buckets);
        let own = known.bucket_of[self.place];
        let parts = buckets.parts(known.bucket) * known.buckets.parts(own);
        let ahead = u128::from(self.shares.all) * limits::SHARE_AHEAD.as_micros();
        Some(act(buckets, known, ahead / parts))
    }
}

impl Share for OfTransfer {
    fn allowance(&self, now: Time) -> Allowance {
        let all = u128::from(self.shares.all);
        let allowance = self.with(now, |buckets, known, ahead| {
            let bucket = known.bucket_of[self.place];
            let content = known.buckets.content(bucket);
            if content <= ahead || now >= bucket.may_at_last {
                let bytes = ahead.saturating_sub(content) / MILLIONTHS;
                return Allowance { at: now, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) };
            }
            // No longer, unless others come.
            let parts = buckets.parts(known.bucket) * known.buckets.parts(bucket);
            let wait = ((content - ahead) * parts).div_ceil(all);
            let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX));
            let look = limits::SHARE_LOOK * u32::try_from(parts).unwrap_or(u32::MAX);
            let at = now + wait.min(look.max(limits::SHARE_AGAIN));
            Allowance { at: at.min(bucket.may_at_last), bytes: 0 }
        });
        allowance.unwrap_or(Allowance { at: now, bytes: 0 })
    }

    fn sent(&self, now: Time, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.with(now, |buckets, known, ahead| {
            let bucket = &mut known.bucket_of[self.place];
            // What one transfer says to have sent is not believed without bounds.
            let most = ahead + limits::SHARE_BYTES * MILLIONTHS;
            let bytes = (u128::from(bytes) * MILLIONTHS).min(most);
            let span = u64::try_from(bytes / u128::from(limits::SLOWEST_RATE));
            bucket.may_at_last = now + Duration::from_micros(span.unwrap_or(u64::MAX));
            // It has sent without an allowance, because it had waited for so long.
            let much = bytes.min(most.saturating_sub(known.buckets.content(*bucket)));
            known.buckets.fill(self.place, bucket, much);
            buckets.fill(self.client, &mut known.bucket, much);
        });
    }
}

impl Drop for OfTransfer {
    fn drop(&mut self) {
        self.shares.leave(self.client, self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GrantLimits, Timing, grant};
    use crate::transfer::{Action, Blocking, Terms, Transfer};
    use crate::wire::{
        BlockSize, Mode, Operation, Options, Packet, TransferOption, WindowSize, WireBlock,
    };
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
        for tick in 0..1000 {
            let now = Time::from_micros(from * 1_000_000 + tick * 5_000);
            for ((share, wants), taken) in shares.iter().zip(&mut taken) {
                let mut left = wants / 200;
                while let Allowance { at, bytes } = share.allowance(now)
                    && at <= now
                    && left > 0
                {
                    let bytes = bytes.max(512).min(left);
                    left -= bytes;
                    share.sent(now, bytes);
                    *taken += if tick >= 800 { bytes } else { 0 };
                }
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
            shares.join(client(1), Time::START).sent(Time::START, 60_000);
        }
        let next = shares.join(client(1), Time::START);
        let at = next.allowance(Time::START).at;
        assert!(at > Time::START, "it does not wait for what the files before have sent");
        drop(next);
        let used = taken(1, &[(&*stays, 0), (&*other, u64::MAX)]);
        assert!(is_about(used[1], ALL), "{used:?}");
    }

    #[test]
    fn who_is_gone_leaves_all_to_the_others_and_nothing_of_it_is_kept() {
        let shares = shares();
        let [stays, goes] = [1, 2].map(|host| shares.join(client(host), Time::START));
        // What it says to have sent is not believed without bounds.
        goes.sent(Time::START, u64::MAX);
        drop(goes);
        let used = taken(1, &[(&*stays, u64::MAX)]);
        assert!(is_about(used[0], ALL), "{used:?}");
        drop(stays);
        assert!(shares.drained(Time::from_micros(10_000_000)).clients.is_empty());
        for made_up in 0..3000_u32 {
            let client = Ipv4Addr::from(made_up).into();
            shares
                .join(client, Time::from_micros(10_000_000))
                .sent(Time::from_micros(10_000_000), 516);
        }
        let kept = {
            let State { clients, buckets, .. } = &*shares.state();
            [clients.len(), buckets.filled.len()]
        };
        assert!(
            kept.iter().all(|kept| *kept <= limits::SHARES_KEPT + 1),
            "of those gone: {kept:?}"
        );
        assert!(shares.drained(Time::from_micros(11_000_000)).clients.is_empty());
    }

    #[test]
    fn who_has_read_the_clock_before_another_and_comes_behind_it_drains_nothing_twice() {
        let shares = shares();
        let share = shares.join(client(1), Time::START);
        share.sent(Time::START, 100_000);
        let left = [0, 5, 2, 5].map(|millis| {
            let state = shares.drained(Time::from_micros(millis * 1000));
            state.buckets.content(state.clients[&client(1)].bucket) / MILLIONTHS
        });
        assert_eq!(left, [100_000, 47_571, 47_571, 47_571], "bytes in its bucket");
    }

    /// A client: the length of its blocks, its window, and the microseconds that it takes for an answer.
    type Habit = (u16, u16, u64);

    /// A download, held to its share in virtual time.
    struct Download {
        transfer: Transfer,
        share: Box<dyn Share>,
        habit: Habit,
        /// Blocks that came since the last answer.
        came: u16,
        ack: Option<(Time, WireBlock)>,
        sent: u64,
    }

    impl Download {
        fn begin(shares: &Arc<Shares>, host: u8, habit: Habit, now: Time) -> Self {
            let size = BlockSize::new(habit.0).expect("a size");
            let window = WindowSize::new(habit.1).expect("a window");
            let asked = Options::NONE.with(TransferOption::BlockSize(size));
            let asked = asked.with(TransferOption::WindowSize(window));
            let (agreed, answer) = grant(Operation::Read, &asked, &GrantLimits::default(), None);
            let (mode, timing) = (Mode::Octet, Timing::default());
            let terms = Terms { agreed, answer, mode, timing };
            let source = Box::new(Blocking::new(std::io::repeat(7)));
            let transfer = Transfer::serve_read(now, &terms, source);
            let share = shares.join(client(host), now);
            Self { transfer, share, habit, came: 0, ack: None, sent: 0 }
        }

        /// Does what is to be done by `now`, and tells when it is to be looked at again.
        fn run(&mut self, now: Time) -> Time {
            if let Some((_, block)) = self.ack.take_if(|(at, _)| *at <= now) {
                self.transfer.handle(now, &Packet::Ack { block }.to_vec());
            }
            loop {
                // Who asks from another process says that each time.
                self.share.sent(now, 0);
                self.transfer.set_allowance(self.share.allowance(now));
                match self.transfer.poll(now) {
                    Action::Wait(until) => return self.ack.map_or(until, |(at, _)| at.min(until)),
                    Action::Storage => self.transfer.run_storage(now),
                    Action::Done => panic!("the file has no end"),
                    Action::Send(burst) => {
                        let at = now + Duration::from_micros(self.habit.2);
                        for datagram in burst.datagrams() {
                            let (block, window) = match Packet::parse(datagram) {
                                Ok(Packet::Data { block, .. }) => (block, self.habit.1),
                                _ => (WireBlock(0), 1),
                            };
                            self.came += 1;
                            if self.came >= window {
                                (self.came, self.ack) = (0, Some((at, block)));
                            }
                        }
                        self.share.sent(now, burst.bytes.len() as u64);
                        self.sent += burst.bytes.len() as u64;
                    }
                }
            }
        }
    }

    /// What each of some clients has been sent at the end of each tenth of a second, where all may have `rate`; `at_one`
    /// of them have one address. Never is it more than the rate and what may leave at once.
    fn in_tenths(rate: u64, habits: &[Habit], at_one: usize, tenths: u64) -> Vec<Vec<u64>> {
        let shares = Shares::new(Time::START, NonZeroU64::new(rate).expect("a rate"));
        let host = |n: usize| (n / at_one) as u8;
        let begin = |(n, habit): (_, &_)| Download::begin(&shares, host(n), *habit, Time::START);
        let mut all: Vec<_> = habits.iter().enumerate().map(begin).collect();
        let blocks: u64 = habits.iter().map(|habit| u64::from(habit.0) + 4).sum();
        // The answers to the requests, and 10 ms of those that came when few were there.
        let burst = blocks + 64 * habits.len() as u64 + rate / 100 * habits.len().min(3) as u64;
        let mut told = Vec::new();
        for tenth in 0..tenths {
            run(&mut all, (tenth, tenth + 1), |now, all| {
                let sent: u64 = all.iter().map(|one| one.sent).sum();
                let most = rate * now.as_micros() / 1_000_000 + burst;
                assert!(sent <= most, "{sent} bytes of {most} at {now:?}: {habits:?}");
            });
            told.push(all.iter().map(|one| one.sent).collect());
        }
        told
    }

    /// Runs downloads from one tenth of a second to another, and calls `check` each time that they have acted.
    fn run(all: &mut [Download], (from, to): (u64, u64), check: impl Fn(Time, &[Download])) {
        let [mut now, end] = [from, to].map(|tenths| Time::from_micros(100_000 * tenths));
        while now < end {
            let next = all.iter_mut().map(|one| one.run(now)).min().expect("some");
            check(now, all);
            now = next.max(now + Duration::from_micros(1));
        }
    }

    #[test]
    fn who_comes_or_ends_is_noticed_within_a_tenth_of_a_second_however_long_the_blocks_are() {
        let shares = Shares::new(Time::START, NonZeroU64::new(64_000).expect("a rate"));
        let begin = |host, tenth: u64| {
            let now = Time::from_micros(100_000 * tenth);
            Download::begin(&shares, host, (16_000, 1, 300), now)
        };
        let mut all: Vec<_> = (1..=4).map(|host| begin(host, 0)).collect();
        let took = |all: &mut Vec<Download>, from, to| {
            let before: Vec<_> = all.iter().map(|one| one.sent).collect();
            run(all, (from, to), |_, _| {});
            let took = all.iter().zip(before).map(|(one, before)| (one.sent - before) / 16_000);
            took.collect::<Vec<_>>()
        };
        took(&mut all, 0, 100);
        assert!(took(&mut all, 100, 200).iter().all(|blocks| (9..=11).contains(blocks)));
        all.truncate(1);
        // What the others sent last is counted yet.
        let alone = took(&mut all, 200, 300)[0];
        assert!((36..=41).contains(&alone), "{alone} blocks in ten seconds, behind three others");
        all.extend((2..=4).map(|host| begin(host, 300)));
        let together = took(&mut all, 300, 400);
        assert!(together.iter().all(|blocks| (9..=12).contains(blocks)), "{together:?}");
    }

    /// What each of some clients with blocks of these sizes has been sent within a minute, where all may have `rate`.
    fn in_a_minute(rate: u64, blocks: &[u16]) -> Vec<u64> {
        let habits: Vec<_> = blocks.iter().map(|block| (*block, 1, 1000)).collect();
        in_tenths(rate, &habits, 1, 600).pop().expect("a minute")
    }

    /// Checks what any two seconds bring clients, once all have begun; the first of them take all that they get.
    fn is_shared(rate: u64, (habits, greedy): (&[Habit], usize), at_one: usize) {
        let told = in_tenths(rate, habits, at_one, 60);
        let what = format!("{habits:?}, {at_one} at an address");
        for (early, late) in told[5..].iter().zip(&told[25..]) {
            let sent: Vec<_> = late.iter().zip(early).map(|(late, early)| late - early).collect();
            let all: u64 = sent.iter().sum();
            assert!(
                all >= 2 * rate * 9 / 10,
                "{all} bytes in two seconds at {rate}: {what}: {sent:?}"
            );
            let of_greedy = &sent[..greedy];
            let (least, most) = (of_greedy.iter().min(), of_greedy.iter().max());
            let (least, most) = (*least.expect("one"), *most.expect("one"));
            let blocks: u64 = habits.iter().map(|habit| u64::from(habit.0)).max().expect("one");
            assert!(most - least <= most / 20 + 2 * blocks, "{least} to {most} bytes: {what}");
            for ((block, window, pause), sent) in habits.iter().zip(&sent).skip(greedy) {
                let least = 2_000_000 / (pause + 20_000) * u64::from(*block) * u64::from(*window);
                let least = least * 9 / 10;
                assert!(*sent >= least, "{sent} bytes of {least} to who asks for less: {what}");
            }
        }
    }

    #[test]
    fn transfers_together_use_the_whole_rate_in_equal_shares_and_no_more() {
        for (block, window) in [(512, 1), (1400, 1), (1400, 8), (8192, 4)] {
            for count in [1, 2, 4, 16] {
                let mut habits = vec![(block, window, 300); count];
                for at_one in [1, 4] {
                    is_shared(500_000, (&habits, count), at_one);
                }
                // And others that are slower than their shares would be.
                habits.extend(vec![(512, 1, 100_000); count.div_ceil(2)]);
                is_shared(500_000, (&habits, count), 1);
            }
        }
        let mixed = [(512, 1, 300), (1400, 8, 300), (1428, 1, 2000), (8192, 1, 300)];
        for at_one in [1, 4] {
            is_shared(500_000, (&mixed, 4), at_one);
        }
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
            assert!(used <= most + most / 100 && used > most * 9 / 10, "{used} of {most}");
        }
        let few = Shares::new(Time::START, NonZeroU64::new(2048).expect("a rate"));
        let all: Vec<_> = (0..8).map(|n| few.join(client(n), Time::START)).collect();
        let greedy: Vec<_> = all.iter().map(|share| (&**share, u64::MAX)).collect();
        let used = taken(1, &greedy);
        assert!(used.iter().all(|bytes| is_about(*bytes, limits::SLOWEST_RATE)), "{used:?}");
    }
}
