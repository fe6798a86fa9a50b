//! Whether an address hears what it is sent, where no port proves that: all transfers share the one that everybody knows, and
//! who forges an address can count blocks as well as its owner can.
//!
//! Only the time can be told by nobody else. Blocks leave a moment later than they could, a different one each time, that
//! nobody can guess. Whoever hears them answers as long after that each time, and never before; whoever does not can only
//! guess when. Until an address has shown it, what it gets is counted, by its network and in all. `rfc/single-port.md`
//! has it in numbers.

use super::budgets::OfNetworkAndAll;
use super::limiter::Limiter;
use crate::limits;
use crate::net::{Gate, System};
use crate::proto::Time;
use crate::transfer::Burst;
use crate::wire::{Packet, WireBlock};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The addresses that hear what they are sent, and what others may get.
pub(super) struct Validation {
    state: Mutex<State>,
    system: Arc<dyn System>,
}

struct State {
    /// Until when an address need not show it again.
    valid: HashMap<IpAddr, Time>,
    /// In the order in which they showed it. One that did so again is in it twice.
    order: VecDeque<IpAddr>,
    /// Bytes for those that have not shown it.
    bytes: Limiter,
}

/// The part of one transfer.
#[derive(Debug)]
struct Trial {
    validation: Arc<Validation>,
    client: IpAddr,
    is_over: bool,
    /// When the next block may leave.
    held_until: Time,
    /// When the last block left that is not acknowledged.
    sent_at: Option<Time>,
    /// Something else than the hold has decided when that was, and might be known.
    is_void: bool,
    /// What was acknowledged last, and nothing has left since.
    waits_behind: Option<u16>,
    /// How long the last answers took.
    answers: VecDeque<Duration>,
    rounds: u32,
}

impl Validation {
    /// What others may get is so many bytes in a second.
    pub(super) fn new(system: Arc<dyn System>, rate: OfNetworkAndAll<NonZeroU32>) -> Arc<Self> {
        let rate = OfNetworkAndAll::new(rate.of_network.get(), rate.all.get());
        let burst = limits::UNHEARD_BURST_SECONDS;
        let bytes = Limiter::new(system.now(), system.random(), rate, burst);
        let state = State { valid: HashMap::new(), order: VecDeque::new(), bytes };
        Arc::new(Self { state: Mutex::new(state), system })
    }

    /// What a download by this client has to pass; nothing, if its address has shown that it hears. Loopback cannot be
    /// forged from outside.
    pub(super) fn gate(self: &Arc<Self>, client: IpAddr) -> Option<Box<dyn Gate>> {
        let now = self.system.now();
        (!client.is_loopback() && !self.state().is_valid(client, now)).then(|| {
            Box::new(Trial {
                validation: Arc::clone(self),
                client,
                is_over: false,
                held_until: now,
                sent_at: None,
                is_void: false,
                waits_behind: None,
                answers: VecDeque::with_capacity(limits::HEARD_ROUNDS),
                rounds: 0,
            }) as Box<dyn Gate>
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment that nobody can guess.
    fn moment(&self) -> Duration {
        let most = limits::LONGEST_HOLD.as_micros() as u64;
        Duration::from_micros(self.system.random() % most)
    }
}

impl State {
    fn is_valid(&self, client: IpAddr, now: Time) -> bool {
        self.valid.get(&client).is_some_and(|until| now < *until)
    }

    fn validate(&mut self, client: IpAddr, now: Time) {
        self.valid.insert(client, now + limits::HEARD_FOR);
        self.order.push_back(client);
        while self.order.len() > limits::HEARD_ADDRESSES {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.valid.remove(&oldest));
        }
    }
}

impl Gate for Trial {
    fn opens_at(&mut self, now: Time) -> Time {
        // Until a first block is acknowledged, other bounds hold.
        if self.is_over || self.rounds == 0 {
            return now;
        }
        let mut state = self.validation.state();
        if state.is_valid(self.client, now) {
            self.is_over = true;
            return now;
        }
        self.held_until.max(state.bytes.ready_at(self.client, now))
    }

    fn sent(&mut self, now: Time, burst: &Burst<'_>) {
        if self.is_over {
            return;
        }
        // A timer, a budget, a disk.
        let is_late = now > self.held_until + limits::HEARD_WITHIN;
        self.is_void |= burst.resent > 0 || (self.waits_behind.take().is_some() && is_late);
        self.sent_at = Some(now);
        if self.rounds > 0 {
            let bytes = (burst.bytes.len() + burst.packets as usize * limits::HEADER_BYTES) as u32;
            self.validation.state().bytes.take(self.client, now, bytes);
        }
    }

    fn heard(&mut self, now: Time, datagram: &[u8], got_on: bool) {
        let Ok(Packet::Ack { block: WireBlock(block) }) = Packet::parse(datagram) else { return };
        if self.is_over {
            return;
        }
        if !got_on {
            // Nobody can have what has not left: this is a guess, and the next may be right.
            let ahead = |last: u16| (1..1 << 15).contains(&block.wrapping_sub(last));
            if self.waits_behind.is_some_and(ahead) {
                self.answers.clear();
                self.is_void = true;
            }
            return;
        }
        self.waits_behind = Some(block);
        self.acknowledged(now);
    }
}

impl Trial {
    fn acknowledged(&mut self, now: Time) {
        self.rounds += 1;
        let is_void = std::mem::take(&mut self.is_void);
        // The first answer is to something that was not held, as are those behind the last hold.
        let was_held = (2..=limits::MOST_HELD + 1).contains(&self.rounds) && !is_void;
        let sent_at = self.sent_at.take().filter(|_| was_held);
        if let Some(sent_at) = sent_at {
            if self.answers.len() == limits::HEARD_ROUNDS {
                self.answers.pop_front();
            }
            self.answers.push_back(now - sent_at);
        }
        let is_regular = spread(&self.answers) <= limits::HEARD_WITHIN;
        if sent_at.is_some() && self.answers.len() == limits::HEARD_ROUNDS && is_regular {
            self.is_over = true;
            self.validation.state().validate(self.client, now);
        } else if self.rounds <= limits::MOST_HELD {
            self.held_until = now + self.validation.moment();
        }
    }
}

impl fmt::Debug for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validation").finish_non_exhaustive()
    }
}

/// By how much they differ at most.
fn spread(spans: &VecDeque<Duration>) -> Duration {
    let (least, most) = (spans.iter().min(), spans.iter().max());
    most.zip(least).map_or(Duration::ZERO, |(most, least)| *most - *least)
}

#[cfg(test)]
mod tests {
    use super::super::Budgets;
    use super::*;
    use crate::net::Kernel;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

    /// One that knows no address, and its time.
    fn new() -> (Arc<Validation>, Time) {
        let system = Kernel::start();
        (Validation::new(system.clone(), Budgets::default().unheard), system.now())
    }

    fn burst(bytes: &[u8], resent: u64) -> Burst<'_> {
        Burst { bytes, packet: bytes.len(), packets: 1, resent, is_probe: false }
    }

    fn ack(block: u16) -> Vec<u8> {
        Packet::Ack { block: WireBlock(block) }.to_vec()
    }

    /// When the next ACK comes.
    #[derive(Clone, Copy)]
    enum Answer {
        /// So long after the block left.
        Hears(Duration),
        /// So long after the last ACK, once the block has left.
        Guesses(Duration),
        /// Again and again in this interval, until it is right.
        Tries(Duration),
    }

    /// The first block is acknowledged, and then one for each answer. Gives the time of the last, and the holds.
    fn download(
        gate: &mut dyn Gate,
        mut now: Time,
        answers: impl IntoIterator<Item = Answer>,
    ) -> (Time, Vec<Duration>) {
        gate.sent(now, &burst(&[0; 516], 0));
        gate.heard(now, &ack(1), true);
        let mut holds = Vec::new();
        for (answer, block) in answers.into_iter().zip(2..) {
            let leaves = gate.opens_at(now);
            holds.push(leaves - now);
            let heard_at = match answer {
                Answer::Hears(after) => leaves + after,
                Answer::Guesses(after) => leaves.max(now + after),
                Answer::Tries(every) => {
                    let mut at = now + every;
                    while at < leaves {
                        gate.heard(at, &ack(block), false);
                        at = at + every;
                    }
                    at
                }
            };
            gate.sent(leaves, &burst(&[0; 516], 0));
            gate.heard(heard_at, &ack(block), true);
            now = heard_at;
        }
        (now, holds)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn who_answers_in_time_is_known_to_hear_for_all_its_transfers_and_nobody_else() {
        let (validation, now) = new();
        let mut gates =
            [CLIENT, CLIENT, OTHER].map(|client| validation.gate(client).expect("a gate"));
        let in_time = |rounds| (0..rounds).map(|n| Answer::Hears(ms(70 + n as u64 % 3)));
        download(
            &mut *validation.gate(CLIENT).expect("a gate"),
            now,
            in_time(limits::HEARD_ROUNDS - 1),
        );
        assert!(validation.gate(CLIENT).is_some(), "one is missing");
        let (now, holds) = download(&mut *gates[0], now, in_time(limits::HEARD_ROUNDS));
        let most = *holds.iter().max().expect("some");
        assert!(most > ms(2) && most < limits::LONGEST_HOLD, "{holds:?}");
        assert!(validation.gate(CLIENT).is_none() && validation.gate(OTHER).is_some());
        let [own, second, other] = &mut gates;
        for gate in [own, second] {
            gate.heard(now, &ack(1), true);
            // Nothing is held, and nothing is counted any more.
            assert_eq!(gate.opens_at(now), now);
            (0..999).for_each(|_| gate.sent(now, &burst(&[0; 60_000], 0)));
            assert_eq!(gate.opens_at(now), now);
        }
        let (now, holds) = download(&mut **other, now, [Answer::Hears(ms(1)); 9]);
        assert!(holds.iter().any(|hold| *hold > ms(2)), "{holds:?}");
        assert!(!validation.state().is_valid(CLIENT, now + limits::HEARD_FOR), "not for ever");
    }

    #[test]
    fn who_guesses_is_not_known_to_hear_however_regularly_or_often() {
        let guesses = [32, 40, 64].map(|after| Answer::Guesses(ms(after)));
        let tries = [1, 100, 3_000].map(|micros| Answer::Tries(Duration::from_micros(micros)));
        for answer in guesses.into_iter().chain(tries) {
            let (validation, now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            let (now, holds) = download(&mut *gate, now, [answer; 200]);
            assert!(validation.gate(CLIENT).is_some(), "{holds:?}");
            // It was tried for long enough, and only what it gets is bounded from now on.
            assert!(holds[..95].iter().filter(|hold| **hold > ms(1)).count() > 70, "{holds:?}");
            assert!(holds[96..].iter().all(Duration::is_zero), "{holds:?}");
            assert_eq!(gate.opens_at(now), now);
        }
    }

    #[test]
    fn an_answer_to_what_was_sent_twice_shows_nothing() {
        for resent in [0, 1] {
            let (validation, mut now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            for block in 1..=2 * limits::HEARD_ROUNDS as u16 {
                let leaves = gate.opens_at(now);
                gate.sent(leaves, &burst(&[0; 516], 0));
                gate.sent(leaves + ms(1), &burst(&[0; 516], resent));
                now = leaves + ms(2);
                gate.heard(now, &ack(block), true);
            }
            assert_eq!(validation.gate(CLIENT).is_some(), resent == 1);
        }
    }

    #[test]
    fn an_answer_to_what_left_when_something_else_let_it_shows_nothing() {
        for late in [1, 3] {
            let (validation, mut now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            for block in 1..=2 * limits::HEARD_ROUNDS as u16 {
                let leaves = gate.opens_at(now) + ms(late);
                gate.sent(leaves, &burst(&[0; 516], 0));
                now = leaves + ms(2);
                gate.heard(now, &ack(block), true);
            }
            assert_eq!(validation.gate(CLIENT).is_some(), late == 3);
        }
    }

    #[test]
    fn who_says_again_what_it_has_is_known_to_hear_and_who_says_what_it_cannot_have_is_not() {
        // From the block that it had last; a half of all numbers is ahead of it.
        for (ahead, is_known) in
            [(0, true), (u16::MAX, true), (1 << 15, true), (1, false), (2, false), (32_767, false)]
        {
            let (validation, mut now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            for block in 1..=2 * limits::HEARD_ROUNDS as u16 {
                let leaves = gate.opens_at(now);
                gate.heard(now, &ack(block.wrapping_sub(1).wrapping_add(ahead)), false);
                gate.sent(leaves, &burst(&[0; 516], 0));
                now = leaves + ms(2);
                gate.heard(now, &ack(block), true);
            }
            let is_gone = validation.gate(CLIENT).is_none();
            assert_eq!(is_gone, is_known, "with ACKs {ahead} ahead while a block is held");
        }
    }

    #[test]
    fn an_answer_to_a_window_is_measured_from_its_last_block_whenever_something_else_let_that_leave()
     {
        let (validation, mut now) = new();
        let mut gate = validation.gate(CLIENT).expect("a gate");
        for window in 1..=2 * limits::HEARD_ROUNDS as u16 {
            let leaves = gate.opens_at(now);
            gate.sent(leaves, &burst(&[0; 516], 0));
            // A share of the rate, which others have, too, lets the rest leave.
            let rest = leaves + ms(3 + 7 * u64::from(window % 5));
            gate.sent(rest, &burst(&[0; 516], 0));
            now = rest + ms(2);
            gate.heard(now, &ack(2 * window), true);
        }
        assert!(validation.gate(CLIENT).is_none(), "it answered in time");
    }

    #[test]
    fn what_shows_nothing_once_is_behind_so_many_answers_in_time() {
        /// How the answers that come first are.
        #[derive(Debug)]
        enum First {
            Resent,
            Guessed,
            Slow,
        }
        for first in [First::Resent, First::Guessed, First::Slow] {
            let (validation, mut now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            let mut rounds = 0;
            while validation.gate(CLIENT).is_some() && rounds < 50 {
                rounds += 1;
                let (leaves, is_odd) = (gate.opens_at(now), rounds == 5);
                if is_odd && matches!(first, First::Guessed) {
                    gate.heard(now, &ack(rounds), false);
                }
                let resent = u64::from(is_odd && matches!(first, First::Resent));
                gate.sent(leaves, &burst(&[0; 516], resent));
                let takes = if is_odd && matches!(first, First::Slow) { 50 } else { 2 };
                now = leaves + ms(takes);
                gate.heard(now, &ack(rounds), true);
            }
            let needed = limits::HEARD_ROUNDS as u16;
            // The first answer of all does not count, and neither does the one that shows nothing.
            let expected = match first {
                First::Resent => 1 + 1 + needed,
                First::Guessed | First::Slow => 5 + needed,
            };
            assert_eq!(rounds, expected, "rounds until it is known to hear: {first:?}");
        }
    }

    #[test]
    fn the_answers_behind_the_last_holds_count_and_none_after_that() {
        let last = limits::MOST_HELD + 1;
        let needed = limits::HEARD_ROUNDS as u32;
        for (first, is_known) in [(last + 1 - needed, true), (last + 2 - needed, false)] {
            let (validation, mut now) = new();
            let mut gate = validation.gate(CLIENT).expect("a gate");
            for round in 1..=last + 2 * needed {
                let leaves = gate.opens_at(now);
                gate.sent(leaves, &burst(&[0; 516], 0));
                let takes = if round < first { 5 * u64::from(round % 7) } else { 2 };
                now = leaves + ms(takes);
                gate.heard(now, &ack(round as u16), true);
            }
            let is_gone = validation.gate(CLIENT).is_none();
            assert_eq!(is_gone, is_known, "in time from answer {first} on");
        }
    }

    #[test]
    fn what_goes_to_who_is_known_to_hear_takes_nothing_from_others() {
        let (validation, now) = new();
        let [mut known, mut other] =
            [CLIENT, OTHER].map(|client| validation.gate(client).expect("a gate"));
        for gate in [&mut known, &mut other] {
            gate.heard(now, &ack(1), true);
        }
        validation.state().validate(CLIENT, now);
        let later = now + limits::LONGEST_HOLD;
        assert_eq!(known.opens_at(later), later, "it waits for others");
        (0..999).for_each(|_| known.sent(later, &burst(&[0; 60_000], 0)));
        assert_eq!(other.opens_at(later), later, "of its network, and has had nothing");
    }

    #[test]
    fn what_may_hear_nothing_gets_so_much_by_network_and_in_all() {
        let (validation, now) = new();
        let rate = limits::UNHEARD_RATE_OF_NETWORK as usize;
        let block = vec![0; rate - limits::HEADER_BYTES];
        let spend = |client, times| {
            let mut gate = validation.gate(client).expect("a gate");
            gate.heard(now, &ack(1), true);
            (0..times).for_each(|_| gate.sent(now, &burst(&block, 0)));
            let now = now + limits::LONGEST_HOLD;
            gate.opens_at(now) - now
        };
        let burst = limits::UNHEARD_BURST_SECONDS as usize;
        assert_eq!(spend(CLIENT, burst), Duration::ZERO);
        let waits = spend(OTHER, 3);
        assert!(waits > ms(2_900) && waits < ms(3_000), "{waits:?}: of the same network");
        assert_eq!(spend(FAR, 0), Duration::ZERO, "of another one");
        let mut gate = validation.gate(Ipv4Addr::new(203, 0, 113, 1).into()).expect("a gate");
        gate.heard(now, &ack(1), true);
        let packets = (burst + 3) * rate / limits::HEADER_BYTES;
        gate.sent(now, &Burst { packets: packets as u64, ..self::burst(&[0; 516], 0) });
        let waits = gate.opens_at(now) - now;
        assert!(waits > ms(2_900) && waits < ms(3_100), "{waits:?}: each packet has headers");
        // Before the first ACK a transfer is bounded elsewhere: it neither waits for that nor counts.
        let mut first = validation.gate(OTHER).expect("a gate");
        assert_eq!(first.opens_at(now), now, "its network has had too much");
        let elsewhere = Ipv4Addr::new(203, 0, 114, 1).into();
        let mut first = validation.gate(elsewhere).expect("a gate");
        (0..20).for_each(|_| first.sent(now, &self::burst(&block, 0)));
        assert_eq!(spend(elsewhere, 1), Duration::ZERO, "what left before the first ACK counts");
        for n in 0..(limits::UNHEARD_RATE / limits::UNHEARD_RATE_OF_NETWORK) as u8 {
            spend(Ipv4Addr::new(10, n, 0, 1).into(), burst);
        }
        assert!(spend(FAR, 0) > ms(100), "all together");
    }

    #[test]
    fn loopback_cannot_be_forged_and_the_oldest_are_forgotten_first() {
        let (validation, now) = new();
        assert!(validation.gate(Ipv4Addr::LOCALHOST.into()).is_none());
        let mut state = validation.state();
        let client = |n: usize| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n as u32));
        (0..=limits::HEARD_ADDRESSES).for_each(|n| state.validate(client(n), now));
        assert!(!state.is_valid(client(0), now) && state.is_valid(client(1), now));
        assert_eq!(state.valid.len(), limits::HEARD_ADDRESSES);
        let end = now + limits::HEARD_FOR;
        let before = now + (limits::HEARD_FOR - Duration::from_micros(1));
        assert!(state.is_valid(client(1), before) && !state.is_valid(client(1), end));
    }
}
