//! Explores every order of events between the shipping sender and receiver.

use Fault as F;
use core::time::Duration;
use stateright::{Checker, HasDiscoveries, Model, Property};
use tftpkit::limits;
use tftpkit::proto::{
    Agreed, Arrival, BlockNumber, End, GrantLimits, Receiver, Sender, Step, Time, Timing, grant,
};
use tftpkit::wire::{
    BlockSize, Operation, Options, Rollover, TransferOption, WindowSize, WireBlock,
};

/// The step of the machines' clocks: after one, what comes again is no echo any more; after two, a timer fires.
const TICK: Duration = limits::ECHO_SPAN;
const INTERVAL: u32 = 2;
/// A round trip before the exploration begins; much shorter than a tick.
const TRIP: Duration = Duration::from_millis(8);

/// Trips between the start of time and the beginning of the exploration.
const LONG_AGO: u32 = 100_000;
/// In ticks: so long that it does not run out within the faults of a setup.
const LONG_PATIENCE: u32 = 16;
/// A machine may want so many things done in a row.
const POLLS: usize = 3;
const MOST_UNDER_WAY: usize = 64;
const DATA_FACTOR: u64 = 1;
const ACK_FACTOR: u64 = 1;

/// How a transfer begins, and so who asks and what block 0 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// RRQ, answered by block 1.
    Read,
    /// RRQ, answered by OACK, which is block 0.
    ReadOack,
    /// WRQ, which is block 0, answered by ACK 0.
    Write,
    /// WRQ, which is block 0, answered by OACK.
    WriteOack,
    /// It is over: so many blocks have been acknowledged, and measured.
    Past(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Whatever was sent once can arrive at any later time, any number of times, or never. The clocks run apart as
    /// they like, for so many ticks each.
    Wild(u8),
    /// Datagrams arrive in order. So many of these may happen: a loss, a duplication, an overtaking, a tick while
    /// something is under way. The clocks differ by a tick at most.
    Counted(u8),
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    OldAcksCountAsNew,
    DuplicateBlocksGoUnanswered,
    EveryRepeatedAckRestartsTheWindow,
    EveryDuplicateBlockIsAcknowledged,
    NoDallying,
    StaleAcksPushTheTimer,
    OpeningIsSentOnce,
    RollOverIsOffByOne,
    WindowCountsFromTheLastBlockSent,
    BlocksBehindAGapAreStored,
    DuplicatesAreStored,
    AcksAreOneTooHigh,
    SleepsTooLong,
    DoneWhenAllIsSent,
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    opening: Opening,
    window: u16,
    /// Blocks to deliver, beyond those of the past.
    blocks: u64,
    /// What the sender does; the receiver is told where `told` is set.
    rollover: Option<Rollover>,
    told: bool,
    /// In ticks.
    patience: u32,
    network: Network,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Datagram {
    /// What stands for acknowledgement 0: RRQ, or OACK in answer to a WRQ.
    Request,
    /// Block 0: WRQ, or OACK in answer to an RRQ.
    Opening,
    /// The block it is, which stands for its payload, and the number written on it.
    Data(u64, u16),
    Ack(u64, u16),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Side<M> {
    Absent,
    Live(M),
    Over(End),
}

impl<M> Side<M> {
    const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sending {
    machine: Sender,
    /// Whether the terms are known.
    settled: bool,
    sent_at: Time,
    /// One past the last block that was sent, and one past the last that can be.
    sent: u64,
    ready: u64,
    /// How far a planted fault sets its clock back, and when it sent last by that clock.
    lag: Duration,
    own_sent_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Receiving {
    machine: Receiver,
    settled: bool,
    /// When it sent something or a block came.
    active_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    Prefix,
    Window,
    Acknowledged,
    Number,
    Deadline,
    End,
    Traffic,
    Fragile,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    sender: Side<Sending>,
    receiver: Side<Receiving>,
    /// What is under way to the sender and to the receiver.
    under_way: [Vec<Datagram>; 2],
    /// The clocks of the sender and of the receiver, in ticks.
    ticks: [u8; 2],
    faults: u8,
    /// The last block that the receiver took.
    taken: u64,
    /// One past the last block whose acknowledgement has come to the sender.
    base: u64,
    /// Datagrams of the sender and of the receiver, where they are counted.
    sent: [u16; 2],
    wrong: Option<Wrong>,
}

const SENDER: usize = 0;
const RECEIVER: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// To whom, and which of those under way.
    Arrives(usize, usize),
    Lost(usize, usize),
    Doubled(usize, usize),
    /// A clock moves on.
    Tick(usize),
}

impl World {
    fn now(&self, who: usize) -> Time {
        Time::START + u32::from(self.ticks[who]) * TICK + LONG_AGO * TRIP
    }

    fn blame(&mut self, holds: bool, wrong: Wrong) {
        if !holds {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn is_over(&self) -> bool {
        matches!((&self.sender, &self.receiver), (Side::Over(_), Side::Over(_)))
    }

    const fn is_live(&self, who: usize) -> bool {
        if who == SENDER { self.sender.is_live() } else { self.receiver.is_live() }
    }

    /// Whether a side gave up that need not. A sender may whose receiver has everything and has left.
    fn has_failed(&self) -> bool {
        let left = self.receiver == Side::Over(End::Complete);
        let sender_failed = matches!(self.sender, Side::Over(end) if end != End::Complete && !left);
        sender_failed || self.receiver == Side::Over(End::Silent)
    }
}

impl Setup {
    const fn new(opening: Opening, window: u16, blocks: u64, network: Network) -> Self {
        let patience = LONG_PATIENCE;
        Self { opening, window, blocks, rollover: None, told: true, patience, network, fault: None }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    const fn past(&self) -> u64 {
        if let Opening::Past(blocks) = self.opening { blocks } else { 0 }
    }

    const fn total(&self) -> u64 {
        self.past() + self.blocks
    }

    const fn has_block_zero(&self) -> bool {
        matches!(self.opening, Opening::ReadOack | Opening::Write | Opening::WriteOack)
    }

    const fn counted(&self) -> bool {
        matches!(self.network, Network::Counted(_))
    }

    fn timing(&self) -> Timing {
        let (interval, patience) = (INTERVAL * TICK, self.patience * TICK);
        Timing {
            first: interval,
            floor: interval,
            ceiling: interval,
            patience,
            unanswered: patience,
        }
    }

    /// What the machines are told of the terms.
    fn agreed(&self, rollover: Option<Rollover>) -> Agreed {
        let window = WindowSize::new(self.window).expect("a window");
        let mut asked = Options::NONE.with(TransferOption::WindowSize(window));
        if let Some(rollover) = rollover {
            asked = asked.with(TransferOption::Rollover(rollover));
        }
        let window_bytes = usize::MAX;
        let limits =
            GrantLimits { block_size: BlockSize::MAX, window: WindowSize::MAX, window_bytes };
        grant(Operation::Read, &asked, &limits, None).0
    }

    /// The intervals that the receiver stays: a server's upload dallies, a client's download does not.
    fn dally(&self) -> u32 {
        let reading = matches!(self.opening, Opening::Read | Opening::ReadOack);
        if reading || self.has(F::NoDallying) { 0 } else { limits::DALLY_INTERVALS }
    }

    fn sending(&self, now: Time) -> Sending {
        let settled = self.opening != Opening::WriteOack;
        let agreed = if settled { self.agreed(self.rollover) } else { Agreed::default() };
        let machine = Sender::new(now, self.timing(), &agreed, self.has_block_zero());
        let sent = u64::from(!self.has_block_zero());
        let lag = Duration::ZERO;
        Sending { machine, settled, sent_at: now, sent, ready: 1, lag, own_sent_at: now }
    }

    fn receiving(&self, now: Time) -> Receiving {
        let settled = self.opening != Opening::ReadOack;
        let rollover = self.rollover.filter(|_| self.told);
        let agreed = if settled { self.agreed(rollover) } else { Agreed::default() };
        let machine = Receiver::new(now, self.timing(), &agreed, self.dally());
        Receiving { machine, settled, active_at: now }
    }

    /// The number on a block, by another way than the library's.
    fn number(&self, block: u64) -> u16 {
        let skipped = u64::from(self.rollover == Some(Rollover::ToOne));
        let number = if block > 65535 { block - 65536 + skipped } else { block };
        u16::try_from(number).expect("one roll-over at most")
    }

    const fn reads(&self) -> bool {
        matches!(self.opening, Opening::Read | Opening::ReadOack)
    }

    /// The machines as the past left them, and what of it may still be under way.
    fn beginning(&self) -> World {
        let mut world = World {
            sender: Side::Absent,
            receiver: Side::Absent,
            under_way: [vec![], vec![]],
            ticks: [0; 2],
            faults: 0,
            taken: self.past(),
            base: u64::from(!self.has_block_zero()) + self.past(),
            sent: [0; 2],
            wrong: None,
        };
        let start = world.now(SENDER);
        if self.past() > 0 {
            self.pass(&mut world);
        } else if self.reads() {
            world.receiver = Side::Live(self.receiving(start));
        } else {
            world.sender = Side::Live(self.sending(start));
        }
        self.run_sender(&mut world);
        self.run_receiver(&mut world);
        world
    }

    /// Delivers the blocks of the past, which is whole windows.
    fn pass(&self, world: &mut World) {
        let (past, window) = (self.past(), u64::from(self.window));
        let start = u32::try_from(past / window).expect("a short past");
        let mut now = Time::START + (LONG_AGO - start) * TRIP;
        let (mut sending, mut receiving) = (self.sending(now), self.receiving(now));
        receiving.machine.poll(now);
        for base in (1..=past).step_by(usize::from(self.window)) {
            let blocks = base..base + window;
            sending.machine.supply(BlockNumber(blocks.end), false);
            assert!(matches!(sending.machine.poll(now), Step::Transmit(_)), "block {base}");
            now = now + TRIP;
            for block in blocks {
                let arrival = receiving.machine.arrive(now, WireBlock(self.number(block)), false);
                assert_eq!(arrival, Arrival::Next, "block {block}");
            }
            assert!(matches!(receiving.machine.poll(now), Step::Transmit(_)), "block {base}");
            sending.machine.acknowledge(now, WireBlock(self.number(base + window - 1)));
        }
        (sending.ready, sending.sent, receiving.active_at) = (past + 1, past + 1, now);
        (world.sender, world.receiver) = (Side::Live(sending), Side::Live(receiving));
        if !self.counted() {
            let late = past + 1 - window..=past;
            world.under_way[RECEIVER] = late.map(|n| Datagram::Data(n, self.number(n))).collect();
            let late = [past - window, past];
            world.under_way[SENDER] = late.map(|n| Datagram::Ack(n, self.number(n))).to_vec();
        }
    }

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

    /// Without a fault nothing is sent twice; a fault costs a window and its acknowledgements.
    fn is_bounded(&self, world: &World) -> bool {
        let (window, faults) = (u64::from(self.window), u64::from(world.faults));
        let blocks = self.blocks + u64::from(self.has_block_zero());
        let openings = match self.opening {
            Opening::Past(_) => 0,
            Opening::ReadOack => 2,
            _ => 1,
        };
        let acks = self.blocks.div_ceil(window) + openings;
        u64::from(world.sent[SENDER]) <= blocks + DATA_FACTOR * window * faults
            && u64::from(world.sent[RECEIVER]) <= acks + ACK_FACTOR * faults
    }

    fn run_sender(&self, world: &mut World) {
        let now = world.now(SENDER);
        for _ in 0..POLLS {
            let Side::Live(sending) = &mut world.sender else { return };
            match self.ask_sender(sending, now) {
                Step::Transmit((first, count)) => self.send_blocks(world, first..first + count),
                Step::Wait(until) => {
                    let timely = until > now && until <= sending.sent_at + INTERVAL * TICK;
                    return world.blame(timely, Wrong::Deadline);
                }
                Step::Done(end) => {
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
        let number = BlockNumber(block).narrow(rollover.unwrap_or_default()).0;
        let off = u16::from(self.has(F::RollOverIsOffByOne) && block > 65535);
        world.blame(number == self.number(block), Wrong::Number);
        number + off
    }

    fn run_receiver(&self, world: &mut World) {
        let now = world.now(RECEIVER);
        for _ in 0..POLLS {
            let Side::Live(receiving) = &mut world.receiver else { return };
            match receiving.machine.poll(now) {
                Step::Transmit(ack) => {
                    receiving.active_at = now;
                    let high = u64::from(self.has(F::AcksAreOneTooHigh) && ack.block.0 > 0);
                    self.send_ack(world, ack.block.0 + high, ack.rollover);
                }
                Step::Wait(until) => {
                    let stays = if receiving.machine.is_complete() { self.dally() } else { 1 };
                    let latest = receiving.active_at + stays * INTERVAL * TICK;
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

    fn arrives(&self, world: &mut World, who: usize, datagram: Datagram) {
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
                let arrival = machine.arrive(now, WireBlock(number), block == self.total());
                let stored = arrival == Arrival::Next
                    || block > taken && self.has(F::BlocksBehindAGapAreStored)
                    || block == taken && self.has(F::DuplicatesAreStored);
                if stored {
                    receiving.active_at = now;
                    world.taken = block;
                }
                world.blame(stored == (block == taken + 1), Wrong::Prefix);
                if block <= taken && self.has(F::EveryDuplicateBlockIsAcknowledged) {
                    self.send_ack(world, taken, self.rollover.unwrap_or_default());
                }
            }
            Datagram::Request | Datagram::Ack(..) => unreachable!("it goes to the sender"),
        }
    }

    fn tick(&self, world: &mut World, who: usize) {
        world.ticks[who] += 1;
        if who == SENDER { self.run_sender(world) } else { self.run_receiver(world) }
    }

    /// Whether the transfer ends in time, and as it should, when from here on the network is faultless: everything
    /// arrives in order, or everything but what is `lost` now.
    fn recovers(&self, world: &World, lost: bool) -> bool {
        let mut world = world.clone();
        if lost {
            world.under_way = [vec![], vec![]];
        }
        let failed_before = world.has_failed();
        for _ in 0..4 * self.patience {
            for _ in 0..MOST_UNDER_WAY {
                let Some(who) = (0..2).find(|&who| !world.under_way[who].is_empty()) else { break };
                let datagram = world.under_way[who].remove(0);
                self.arrives(&mut world, who, datagram);
            }
            if world.wrong.is_some() || world.under_way != [vec![], vec![]] {
                return false;
            }
            if world.is_over() {
                return failed_before || self.patience < LONG_PATIENCE || !world.has_failed();
            }
            for who in [SENDER, RECEIVER] {
                if world.is_live(who) {
                    self.tick(&mut world, who);
                }
            }
        }
        false
    }
}

fn earlier(time: Time, span: Duration) -> Time {
    Time::START + (time - Time::START).saturating_sub(span)
}

impl Model for Setup {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![self.beginning()]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if world.wrong.is_some() {
            return;
        }
        let quiet = world.under_way == [vec![], vec![]];
        for who in [SENDER, RECEIVER] {
            let queue = &world.under_way[who];
            let other = 1 - who;
            match self.network {
                Network::Wild(most) => {
                    events.extend((0..queue.len()).map(|which| Event::Arrives(who, which)));
                    if world.is_live(who) && world.ticks[who] < most {
                        events.push(Event::Tick(who));
                    }
                }
                Network::Counted(most) => {
                    let may_fail = world.faults < most;
                    for which in 0..queue.len() {
                        if which == 0 || may_fail {
                            events.push(Event::Arrives(who, which));
                        }
                        if may_fail {
                            events.extend([Event::Lost(who, which), Event::Doubled(who, which)]);
                        }
                    }
                    let ahead = world.is_live(other) && world.ticks[who] > world.ticks[other];
                    if world.is_live(who) && !ahead && (quiet || may_fail) {
                        events.push(Event::Tick(who));
                    }
                }
            }
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut world = world.clone();
        let quiet = world.under_way == [vec![], vec![]];
        let fault = match event {
            Event::Arrives(_, which) => which > 0,
            Event::Lost(..) | Event::Doubled(..) => true,
            Event::Tick(_) => !quiet,
        };
        world.faults += u8::from(fault && self.counted());
        match event {
            Event::Arrives(who, which) if self.counted() => {
                let datagram = world.under_way[who].remove(which);
                self.arrives(&mut world, who, datagram);
            }
            Event::Arrives(who, which) => {
                let datagram = world.under_way[who][which];
                self.arrives(&mut world, who, datagram);
            }
            Event::Lost(who, which) => {
                world.under_way[who].remove(which);
            }
            Event::Doubled(who, which) => {
                let datagram = world.under_way[who][which];
                world.under_way[who].push(datagram);
            }
            Event::Tick(who) => self.tick(&mut world, who),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PREFIX, |_, world| world.wrong != Some(Wrong::Prefix)),
            Property::always(WINDOW, |_, world| world.wrong != Some(Wrong::Window)),
            Property::always(ACKNOWLEDGED, |_, world| world.wrong != Some(Wrong::Acknowledged)),
            Property::always(NUMBER, |_, world| world.wrong != Some(Wrong::Number)),
            Property::always(DEADLINE, |_, world| world.wrong != Some(Wrong::Deadline)),
            Property::always(END, |_, world| world.wrong != Some(Wrong::End)),
            Property::always(TRAFFIC, |_, world| world.wrong != Some(Wrong::Traffic)),
            Property::always(FRAGILE, |_, world| world.wrong != Some(Wrong::Fragile)),
            Property::always(RECOVERY, |setup: &Self, world| {
                let recovers = || setup.recovers(world, true) && setup.recovers(world, false);
                world.wrong.is_some() || recovers()
            }),
            Property::sometimes(COMPLETE, |_, world| {
                world.is_over() && world.sender == Side::Over(End::Complete)
            }),
        ]
    }
}

const PREFIX: &str = "what was stored is a prefix of the file, in order, without repetition";
const WINDOW: &str = "nothing outside the window is sent";
const ACKNOWLEDGED: &str = "what is acknowledged has come";
const NUMBER: &str = "the numbers on datagrams roll over as they should";
const DEADLINE: &str = "there is always a deadline ahead, and nothing pushes it";
const END: &str = "an end is told as it is";
const TRAFFIC: &str = "a fault costs a window at most";
const FRAGILE: &str = "one fault fails no transfer";
const RECOVERY: &str = "from here a faultless network leads to the end";
const COMPLETE: &str = "both sides can complete";

/// How many states there are; panics with the shortest way to the first that is wrong.
fn explore(setup: Setup) -> usize {
    let checker = setup.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    for (name, path) in checker.discoveries() {
        assert!(
            name == COMPLETE,
            "not so: {name}
{setup:?}
{:?}",
            path.into_actions()
        );
    }
    checker.assert_any_discovery(COMPLETE);
    checker.unique_state_count()
}

/// What is found when something is broken, and the shortest way to it.
fn found(setup: Setup) -> Option<&'static str> {
    let checker = setup.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found = checker.discoveries().into_iter().filter(|(name, _)| *name != COMPLETE);
    let (name, path) = found.next()?;
    println!("{:?}: not so: {name}: {:?}", setup.fault, path.into_actions());
    Some(name)
}

#[test]
fn probe() {
    let num = |name: &str| -> u64 { std::env::var(name).map_or(0, |n| n.parse().unwrap()) };
    let network = if num("COUNTED") > 0 {
        Network::Counted(num("COUNTED") as u8)
    } else {
        Network::Wild(num("WILD") as u8)
    };
    let patience = num("PATIENCE");
    for opening in
        [Opening::Read, Opening::ReadOack, Opening::Write, Opening::WriteOack, Opening::Past(6)]
    {
        for window in 1..=3 {
            for blocks in [1, 2, 3, 4] {
                let mut setup = Setup::new(opening, window, blocks, network);
                if patience > 0 {
                    setup.patience = patience as u32;
                }
                let at = std::time::Instant::now();
                let outcome = std::panic::catch_unwind(|| explore(setup));
                println!("{opening:?} {window} {blocks}: {:?} {:?}", outcome.ok(), at.elapsed());
            }
        }
    }
}
