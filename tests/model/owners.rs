//! What the machines' owners do, and what is checked as they do it.

use crate::world::{
    Datagram, Fault as F, INTERVAL, LONG_PATIENCE, Opening, RECEIVER, SENDER, Sending, Setup, Side,
    TICK, World, Wrong,
};
use core::time::Duration;
use tftpkit::proto::{Arrival, BlockNumber, End, Step, Time};
use tftpkit::wire::{Rollover, WireBlock};

/// A machine may want so many things done in a row.
const POLLS: usize = 3;
const MOST_UNDER_WAY: usize = 64;
/// Windows that a fault may cost, where the blocks as such are not sent twice, and acknowledgements.
const WINDOWS_FOR_A_FAULT: u64 = 2;
/// An acknowledgement may go with each block of a window that is mended block by block, and one more is the probe that
/// silence brings out; lock-step has an echo instead of a mend.
const fn acks_for_a_fault(window: u64) -> u64 {
    if window > 2 { window + 1 } else { 3 }
}
/// In windows, one acknowledgement that comes twice, the copy later than a quarter of a round trip, makes all
/// windows behind it go out twice. Here that is where no round trip before took any time. With `false` the bound
/// is strict, as it is for lock-step and behind measured round trips.
const ECHOES_REPEAT_ALL_WINDOWS: bool = false;

impl Setup {
    fn send(&self, world: &mut World, to: usize, datagram: Datagram) {
        let over = [matches!(world.sender, Side::Over(_)), matches!(world.receiver, Side::Over(_))];
        if self.counted() {
            world.sent[1 - to] += 1;
            let both = over == [false; 2];
            world.blame(!both || self.is_bounded(world), Wrong::Traffic);
        }
        let queue = &mut world.under_way[to];
        if over[to] {
            // Nobody is there.
        } else if self.counted() {
            queue.push(datagram);
        } else if let Err(place) = queue.binary_search(&datagram) {
            queue.insert(place, datagram);
        }
    }

    /// Without a fault nothing is sent twice, and every fault costs a bounded number of datagrams.
    fn is_bounded(&self, world: &World) -> bool {
        let (window, faults) = (u64::from(self.window), u64::from(world.faults));
        let blocks = self.blocks + u64::from(self.has_block_zero());
        let openings = match self.opening {
            Opening::Past(_) => 0,
            Opening::ReadOack => 2,
            _ => 1,
        };
        let acks = self.blocks.div_ceil(window) + openings;
        let timeless = self.window > 1 && self.past() == 0 && faults > 0;
        let times = if timeless && ECHOES_REPEAT_ALL_WINDOWS { 2 } else { 1 };
        let most = [
            blocks * times + WINDOWS_FOR_A_FAULT * window * faults,
            acks * times + acks_for_a_fault(window) * faults,
        ];
        (0..2).all(|who| u64::from(world.sent[who]) <= most[who])
    }

    pub(crate) fn run_sender(&self, world: &mut World) {
        let now = world.now(SENDER);
        for _ in 0..POLLS {
            let Side::Live(sending) = &mut world.sender else { return };
            match self.ask_sender(sending, now) {
                Step::Transmit((first, count)) => self.send_blocks(world, first..first + count),
                Step::Wait(until) => {
                    // The pace may hold back what is due after silence, as long as a timer does and no longer.
                    let is_held = sending.machine.may_send() && sending.machine.base().0 > 0;
                    let held_since = *sending.held_since.get_or_insert(now);
                    sending.held_since = is_held.then_some(held_since);
                    let since = if is_held { held_since } else { sending.sent_at };
                    let timely = until > now && until <= since + sending.in_vain.interval() * TICK;
                    world.waits(until);
                    return world.blame(timely, Wrong::Deadline);
                }
                Step::Done(end) => {
                    world.paced_until = None;
                    let sent_all = sending.sent > self.total();
                    let honest = match end {
                        End::Complete => world.taken == self.total(),
                        End::Unconfirmed => sent_all && world.base > 0,
                        End::Silent => true,
                    };
                    world.sender = Side::Over(end);
                    world.under_way[SENDER].clear();
                    world.blame(honest, Wrong::End);
                    let may_fail = self.reads() || !self.counted() || world.faults > 1;
                    return world.blame(end == End::Complete || may_fail, Wrong::Fragile);
                }
            }
        }
        world.blame(false, Wrong::Deadline);
    }

    /// What its owner does: hand over the blocks that are ready, then ask what to send.
    fn ask_sender(&self, sending: &mut Sending, now: Time) -> Step<(u64, u64)> {
        let (base, end) = (sending.machine.base().0, self.total() + 1);
        let ready = end.min(base + u64::from(self.window));
        if base > 0 && ready > sending.ready {
            sending.machine.supply(BlockNumber(ready), ready == end);
            sending.ready = ready;
        }
        let own_now = earlier(now, sending.lag);
        match sending.machine.poll(own_now) {
            Step::Transmit(run) => {
                sending.own_sent_at = own_now;
                let wrong_end = end.min(sending.sent + u64::from(self.window));
                let wider = self.has(F::WindowCountsFromTheLastBlockSent) && run.first.0 > 0;
                let count = if wider { wrong_end - run.first.0 } else { run.count };
                Step::Transmit((run.first.0, count))
            }
            Step::Wait(_) if self.has(F::DoneWhenAllIsSent) && sending.sent == end => {
                Step::Done(End::Complete)
            }
            Step::Wait(until) if self.has(F::SleepsTooLong) => Step::Wait(until + TICK),
            Step::Wait(until) => Step::Wait(until + sending.lag),
            Step::Done(how) => Step::Done(how),
        }
    }

    fn send_blocks(&self, world: &mut World, blocks: std::ops::Range<u64>) {
        let now = world.now(SENDER);
        let Side::Live(sending) = &mut world.sender else { return };
        let swallowed = self.has(F::OpeningIsSentOnce) && blocks.start == 0 && sending.sent > 0;
        sending.sent_at = now;
        sending.held_since = None;
        sending.in_vain.sent(blocks.end <= sending.sent);
        sending.sent = sending.sent.max(blocks.end);
        let window = if world.base == 0 { 1 } else { u64::from(self.window) };
        let end = (self.total() + 1).min(world.base + window);
        let inside = world.base <= blocks.start && blocks.end <= end && !blocks.is_empty();
        world.blame(inside, Wrong::Window);
        for block in blocks.filter(|_| !swallowed) {
            let datagram = match block {
                0 => Datagram::Opening,
                _ => Datagram::Data(block, self.written(world, block, self.rollover)),
            };
            self.send(world, RECEIVER, datagram);
        }
    }

    /// The number that the library writes, checked.
    fn written(&self, world: &mut World, block: u64, rollover: Option<Rollover>) -> u16 {
        let number = BlockNumber(block).narrow_among(self.numbers, rollover.unwrap_or_default()).0;
        let off = u16::from(self.has(F::RollOverIsOffByOne) && block >= self.numbers);
        world.blame(number == self.number(block), Wrong::Number);
        number + off
    }

    pub(crate) fn run_receiver(&self, world: &mut World) {
        let now = world.now(RECEIVER);
        for _ in 0..POLLS {
            let Side::Live(receiving) = &mut world.receiver else { return };
            match receiving.machine.poll(now) {
                Step::Transmit(ack) => {
                    receiving.active_at = now;
                    receiving.in_vain.sent(ack.again);
                    let high = u64::from(self.has(F::AcksAreOneTooHigh) && ack.block.0 > 0);
                    self.send_ack(world, ack.block.0 + high, ack.rollover);
                }
                Step::Wait(until) => {
                    let dally = if receiving.machine.has_last_block() { self.dally() } else { 1 };
                    let latest = (dally * INTERVAL).max(receiving.in_vain.interval());
                    let latest = receiving.active_at + latest * TICK;
                    return world.blame(now < until && until <= latest, Wrong::Deadline);
                }
                Step::Done(end) => {
                    let complete = end == End::Complete;
                    world.receiver = Side::Over(end);
                    world.under_way[RECEIVER].clear();
                    world.blame(complete == (world.taken == self.total()), Wrong::End);
                    let may_fail = !self.counted() || world.faults > 1;
                    return world.blame(complete || may_fail, Wrong::Fragile);
                }
            }
        }
        world.blame(false, Wrong::Deadline);
    }

    fn send_ack(&self, world: &mut World, block: u64, rollover: Rollover) {
        world.blame(block == world.taken, Wrong::Acknowledged);
        let Side::Live(receiving) = &world.receiver else { return };
        let is_request = match self.opening {
            Opening::Read | Opening::WriteOack => true,
            Opening::ReadOack => !receiving.settled,
            Opening::Write | Opening::Past(_) => false,
        };
        let datagram = match block {
            0 if is_request => Datagram::Request,
            _ => Datagram::Ack(block, self.written(world, block, Some(rollover))),
        };
        self.send(world, SENDER, datagram);
    }

    pub(crate) fn arrives(&self, world: &mut World, who: usize, datagram: Datagram) {
        if who == SENDER {
            self.arrives_at_sender(world, datagram);
            self.run_sender(world);
        } else {
            self.arrives_at_receiver(world, datagram);
            self.run_receiver(world);
        }
    }

    fn arrives_at_sender(&self, world: &mut World, datagram: Datagram) {
        if world.sender == Side::Absent {
            world.ticks[SENDER] = if self.counted() { world.ticks[RECEIVER] } else { 0 };
            world.sender = Side::Live(self.sending(world.now(SENDER)));
            return;
        }
        let now = world.now(SENDER);
        let Side::Live(sending) = &mut world.sender else { return };
        let machine = &mut sending.machine;
        let (base, own_now) = (world.base, earlier(now, sending.lag));
        match datagram {
            Datagram::Request if self.reads() => machine.repeat(),
            Datagram::Request if sending.settled => {}
            Datagram::Request => {
                machine.agree(&self.agreed(self.rollover));
                machine.acknowledge(own_now, WireBlock(0));
                sending.settled = true;
                world.base = base.max(1);
            }
            Datagram::Ack(block, mut number) => {
                if block + 1 < base && self.has(F::OldAcksCountAsNew) {
                    number = self.number(base);
                }
                if block < base && self.has(F::StaleAcksPushTheTimer) {
                    sending.lag = now - sending.own_sent_at;
                }
                machine.acknowledge(own_now, WireBlock(number));
                world.base = base.max(block + 1);
                if world.base > base {
                    sending.held_since = None;
                }
                let again = base..sending.sent;
                if block + 1 == base
                    && !again.is_empty()
                    && self.has(F::EveryRepeatedAckRestartsTheWindow)
                {
                    self.send_blocks(world, again);
                }
            }
            Datagram::Opening | Datagram::Data(..) => unreachable!("it goes to the receiver"),
        }
    }

    fn arrives_at_receiver(&self, world: &mut World, datagram: Datagram) {
        if world.receiver == Side::Absent {
            world.ticks[RECEIVER] = if self.counted() { world.ticks[SENDER] } else { 0 };
            world.receiver = Side::Live(self.receiving(world.now(RECEIVER)));
            return;
        }
        let now = world.now(RECEIVER);
        let Side::Live(receiving) = &mut world.receiver else { return };
        let machine = &mut receiving.machine;
        match datagram {
            Datagram::Opening if !self.reads() => {
                if !machine.is_answered() {
                    machine.repeat();
                }
            }
            Datagram::Opening if receiving.settled => machine.opening_repeated(now),
            Datagram::Opening => {
                machine.agree(&self.agreed(self.rollover.filter(|_| self.told)));
                machine.opened(now);
                receiving.settled = true;
                receiving.active_at = now;
            }
            Datagram::Data(block, number) => {
                let taken = world.taken;
                if block <= taken && self.has(F::DuplicateBlocksGoUnanswered) {
                    return;
                }
                let (mut coming, mut right) = (Some((block, number)), true);
                while let Some((block, number)) = coming.take() {
                    let due = world.taken + 1;
                    let arrival = machine.arrive(now, WireBlock(number), block == self.total());
                    let stored = arrival == Arrival::Next
                        || block > due && self.has(F::BlocksBehindAGapAreStored)
                        || block < due && self.has(F::DuplicatesAreStored);
                    right &= stored == (block == due);
                    if let Arrival::Early(early) = arrival {
                        right &= early.0 == block && block - due < u64::from(self.window);
                        receiving.early.insert(block, number);
                    }
                    if stored {
                        receiving.active_at = now;
                        world.taken = block;
                        // What was kept behind the gap comes now, as it were.
                        receiving.early.retain(|early, _| *early > block);
                        coming = receiving.early.first_key_value().map(|(n, wire)| (*n, *wire));
                        coming = coming.filter(|(early, _)| *early == machine.expected().0);
                    }
                }
                world.blame(right, Wrong::Prefix);
                if block <= taken && self.has(F::EveryDuplicateBlockIsAcknowledged) {
                    self.send_ack(world, taken, self.rollover.unwrap_or_default());
                }
            }
            Datagram::Request | Datagram::Ack(..) => unreachable!("it goes to the sender"),
        }
    }

    pub(crate) fn tick(&self, world: &mut World, who: usize) {
        world.ticks[who] += 1;
        if who == SENDER {
            world.part = 0;
        }
        if who == SENDER { self.run_sender(world) } else { self.run_receiver(world) }
    }

    /// The sender's pace lets blocks leave.
    pub(crate) fn paced(&self, world: &mut World) {
        if let Some(part) = world.paced_until.take() {
            world.part = part;
            self.run_sender(world);
        }
    }

    /// Whether the transfer ends in time, and as it should, when from here on the network is faultless: everything
    /// arrives in order, or everything but what is `lost` now.
    pub(crate) fn recovers(&self, world: &World, lost: bool) -> bool {
        self.plays_on(world, lost).is_ok()
    }

    /// As [`recovers`](Self::recovers) has it, or what is in the way.
    pub(crate) fn plays_on(&self, world: &World, lost: bool) -> Result<(), Option<Wrong>> {
        let mut world = world.clone();
        if lost {
            let lost = world.under_way.iter().map(Vec::len).sum::<usize>();
            world.faults += u8::try_from(lost).expect("few");
            world.under_way = [vec![], vec![]];
        }
        let failed_before = world.has_failed();
        for _ in 0..4 * self.patience {
            for _ in 0..MOST_UNDER_WAY {
                let Some(who) = (0..2).find(|&who| !world.under_way[who].is_empty()) else {
                    if world.paced_until.is_none() {
                        break;
                    }
                    self.paced(&mut world);
                    continue;
                };
                let datagram = world.under_way[who].remove(0);
                self.arrives(&mut world, who, datagram);
            }
            if world.wrong.is_some() || world.under_way != [vec![], vec![]] {
                return Err(world.wrong);
            }
            if world.is_over() {
                let may_fail = failed_before || self.patience < LONG_PATIENCE;
                return if may_fail || !world.has_failed() { Ok(()) } else { Err(None) };
            }
            for who in [SENDER, RECEIVER] {
                if world.is_live(who) {
                    self.tick(&mut world, who);
                }
            }
        }
        Err(None)
    }
}

fn earlier(time: Time, span: Duration) -> Time {
    Time::START + (time - Time::START).saturating_sub(span)
}
