//! Both machines and what is between them: all that a state has, and how it begins.

use Fault as F;
use core::time::Duration;
use std::collections::BTreeMap;
use tftpkit::limits;
use tftpkit::proto::{
    Agreed, Arrival, BlockNumber, End, GrantLimits, NUMBERS, Receiver, Sender, Step, Time, Timing,
    grant,
};
use tftpkit::wire::{Operation, Options, Rollover, TransferOption, WindowSize, WireBlock};

/// The step of the machines' clocks: after one, what comes again is no echo any more; after two, a timer fires.
pub(crate) const TICK: Duration = limits::ECHO_SPAN;
pub(crate) const INTERVAL: u32 = 2;
/// The same where what was sent went out again so often in vain.
const LONGEST_INTERVAL: u32 = 3;
const IN_A_ROW: u32 = 3;
/// A round trip before the exploration begins; much shorter than a tick.
const TRIP: Duration = Duration::from_millis(8);
/// A shorter wait is the pace's, not a timer's: it has an event of its own, for a tick would pass for silence, and bring
/// out a probe.
const BRIEF: Duration = limits::SHORTEST_PROBE;
/// Whoever waits briefly wakes at the next whole one of these, so that paces that hardly differ make no states.
const PART: Duration = Duration::from_millis(1);

/// Trips between the start of time and the beginning of the exploration.
const LONG_AGO: u32 = 100_000;
/// In ticks: so long that it does not run out within the faults of a setup.
pub(crate) const LONG_PATIENCE: u32 = 16;

/// How a transfer begins, and so who asks and what block 0 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
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
pub(crate) enum Network {
    /// Whatever was sent once can arrive at any later time, any number of times, or never. The clocks run apart as
    /// they like, for so many ticks each.
    Wild(u8),
    /// Datagrams arrive in order. So many of these may happen: a loss, a duplication, an overtaking, a tick while
    /// something is under way. The clocks differ by a tick at most.
    Counted(u8),
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
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
pub(crate) struct Setup {
    pub(crate) opening: Opening,
    pub(crate) window: u16,
    /// Blocks to deliver, beyond those of the past.
    pub(crate) blocks: u64,
    /// What the sender does; the receiver is told where `told` is set.
    pub(crate) rollover: Option<Rollover>,
    pub(crate) told: bool,
    /// How many numbers there are for blocks.
    pub(crate) numbers: u64,
    /// In ticks.
    pub(crate) patience: u32,
    pub(crate) network: Network,
    pub(crate) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Datagram {
    /// What stands for acknowledgement 0: RRQ, or OACK in answer to a WRQ.
    Request,
    /// Block 0: WRQ, or OACK in answer to an RRQ.
    Opening,
    /// The block it is, which stands for its payload, and the number written on it.
    Data(u64, u16),
    Ack(u64, u16),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side<M> {
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
pub(crate) struct Sending {
    pub(crate) machine: Sender,
    /// Whether the terms are known.
    pub(crate) settled: bool,
    pub(crate) sent_at: Time,
    /// Since when its pace holds blocks back.
    pub(crate) held_since: Option<Time>,
    /// One past the last block that was sent, and one past the last that can be.
    pub(crate) sent: u64,
    pub(crate) ready: u64,
    /// How often it has sent nothing new.
    pub(crate) in_vain: InVain,
    /// How far a planted fault sets its clock back, and when it sent last by that clock.
    pub(crate) lag: Duration,
    pub(crate) own_sent_at: Time,
}

/// How often in a row something was sent that had been sent before, as far as that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct InVain(u32);

impl InVain {
    pub(crate) fn sent(&mut self, again: bool) {
        self.0 = if again { (self.0 + 1).min(IN_A_ROW) } else { 0 };
    }

    /// The longest wait for an answer, in ticks.
    pub(crate) const fn interval(self) -> u32 {
        if self.0 < IN_A_ROW { INTERVAL } else { LONGEST_INTERVAL }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    pub(crate) machine: Receiver,
    pub(crate) settled: bool,
    /// When it sent something or a block came.
    pub(crate) active_at: Time,
    /// How often it has acknowledged nothing new.
    pub(crate) in_vain: InVain,
    /// Blocks that are kept until the one in front of them comes, and the numbers written on them.
    pub(crate) early: BTreeMap<u64, u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
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
pub(crate) struct World {
    pub(crate) sender: Side<Sending>,
    pub(crate) receiver: Side<Receiving>,
    /// What is under way to the sender and to the receiver.
    pub(crate) under_way: [Vec<Datagram>; 2],
    /// The clocks of the sender and of the receiver, in ticks.
    pub(crate) ticks: [u8; 2],
    /// How far the sender's clock is in its tick, and how far when its pace lets the next blocks leave, in parts.
    pub(crate) part: u8,
    pub(crate) paced_until: Option<u8>,
    pub(crate) faults: u8,
    /// The last block that the receiver took.
    pub(crate) taken: u64,
    /// One past the last block whose acknowledgement has come to the sender.
    pub(crate) base: u64,
    /// Datagrams of the sender and of the receiver, where they are counted.
    pub(crate) sent: [u16; 2],
    pub(crate) wrong: Option<Wrong>,
}

pub(crate) const SENDER: usize = 0;
pub(crate) const RECEIVER: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// To whom, and which of those under way.
    Arrives(usize, usize),
    Lost(usize, usize),
    Doubled(usize, usize),
    /// A clock moves on.
    Tick(usize),
    /// The sender wakes, whose pace held blocks back.
    Paced,
}

impl World {
    pub(crate) fn now(&self, who: usize) -> Time {
        let part = if who == SENDER { self.part } else { 0 };
        let ticks = u32::from(self.ticks[who]) * TICK;
        Time::START + ticks + u32::from(part) * PART + LONG_AGO * TRIP
    }

    /// Notes that the sender waits until then: briefly, or as long as a timer does.
    pub(crate) fn waits(&mut self, until: Time) {
        let wait = until - self.now(SENDER);
        let parts = u8::try_from(wait.as_micros().div_ceil(PART.as_micros())).ok();
        let part = parts.and_then(|parts| self.part.checked_add(parts));
        let in_tick = part.filter(|part| u32::from(*part) * PART < TICK);
        self.paced_until = in_tick.filter(|_| wait < BRIEF);
    }

    pub(crate) fn blame(&mut self, holds: bool, wrong: Wrong) {
        if !holds {
            self.wrong.get_or_insert(wrong);
        }
    }

    /// Whether nothing is under way or about to be: then time passes.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way == [vec![], vec![]] && self.paced_until.is_none()
    }

    pub(crate) fn is_over(&self) -> bool {
        !self.sender.is_live() && !self.receiver.is_live()
    }

    pub(crate) const fn is_live(&self, who: usize) -> bool {
        if who == SENDER { self.sender.is_live() } else { self.receiver.is_live() }
    }

    /// Whether a side gave up that need not. A sender may whose receiver has everything and has left.
    pub(crate) fn has_failed(&self) -> bool {
        let left = self.receiver == Side::Over(End::Complete);
        let sender_failed = matches!(self.sender, Side::Over(end) if end != End::Complete && !left);
        sender_failed || self.receiver == Side::Over(End::Silent)
    }
}

impl Setup {
    pub(crate) const fn new(opening: Opening, window: u16, blocks: u64, network: Network) -> Self {
        let patience = LONG_PATIENCE;
        let (rollover, told, numbers, fault) = (None, true, NUMBERS, None);
        Self { opening, window, blocks, rollover, told, numbers, patience, network, fault }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) const fn past(&self) -> u64 {
        if let Opening::Past(blocks) = self.opening { blocks } else { 0 }
    }

    pub(crate) const fn total(&self) -> u64 {
        self.past() + self.blocks
    }

    pub(crate) const fn has_block_zero(&self) -> bool {
        matches!(self.opening, Opening::ReadOack | Opening::Write | Opening::WriteOack)
    }

    pub(crate) const fn counted(&self) -> bool {
        matches!(self.network, Network::Counted(_))
    }

    pub(crate) fn timing(&self) -> Timing {
        let (interval, patience) = (INTERVAL * TICK, self.patience * TICK);
        let timing = Timing::builder().first(interval).floor(interval).ceiling(interval);
        let timing = timing.patience(patience).unanswered(patience).peer_default(interval);
        timing.build().expect("sound")
    }

    /// What the machines are told of the terms.
    pub(crate) fn agreed(&self, rollover: Option<Rollover>) -> Agreed {
        let window = WindowSize::new(self.window).expect("a window");
        let mut asked = Options::NONE.with(TransferOption::WindowSize(window));
        if let Some(rollover) = rollover {
            asked = asked.with(TransferOption::Rollover(rollover));
        }
        let limits = GrantLimits::default().window_bytes(usize::MAX);
        grant(Operation::Read, &asked, &limits, None).0
    }

    /// The intervals that the receiver dallies: a server's upload dallies, a client's download does not.
    pub(crate) fn dally(&self) -> u32 {
        let reading = matches!(self.opening, Opening::Read | Opening::ReadOack);
        if reading || self.has(F::NoDallying) { 0 } else { limits::DALLY_INTERVALS }
    }

    pub(crate) fn sending(&self, now: Time) -> Sending {
        let settled = self.opening != Opening::WriteOack;
        let agreed = if settled { self.agreed(self.rollover) } else { Agreed::default() };
        let machine =
            Sender::new(now, self.timing(), &agreed, self.has_block_zero()).among(self.numbers);
        let machine = if self.counted() { machine } else { machine.unpaced() };
        let sent = u64::from(!self.has_block_zero());
        let lag = Duration::ZERO;
        Sending {
            machine,
            settled,
            sent_at: now,
            held_since: None,
            sent,
            ready: 1,
            lag,
            in_vain: InVain::default(),
            own_sent_at: now,
        }
    }

    pub(crate) fn receiving(&self, now: Time) -> Receiving {
        let settled = self.opening != Opening::ReadOack;
        let rollover = self.rollover.filter(|_| self.told);
        let agreed = if settled { self.agreed(rollover) } else { Agreed::default() };
        let machine = Receiver::new(now, self.timing(), &agreed, self.dally()).among(self.numbers);
        let (in_vain, early) = Default::default();
        Receiving { machine, settled, active_at: now, in_vain, early }
    }

    /// The number on a block, by another way than the library's.
    pub(crate) fn number(&self, block: u64) -> u16 {
        let skipped = u64::from(self.rollover == Some(Rollover::ToOne));
        let mut number = block;
        while number >= self.numbers {
            number -= self.numbers - skipped;
        }
        u16::try_from(number).expect("it is below their number")
    }

    pub(crate) const fn reads(&self) -> bool {
        matches!(self.opening, Opening::Read | Opening::ReadOack)
    }

    /// The machines as the past left them, and what of it may still be under way.
    pub(crate) fn beginning(&self) -> World {
        let mut world = World {
            sender: Side::Absent,
            receiver: Side::Absent,
            under_way: [vec![], vec![]],
            ticks: [0; 2],
            part: 0,
            paced_until: None,
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
}
