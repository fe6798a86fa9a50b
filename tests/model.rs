//! Every order of events between the sender and the receiver that ship, explored with stateright.
//!
//! A state is both machines as they are in `tftpkit::proto`, what is under way between them, and what an observer
//! remembers of it: the last block that was stored, the last acknowledgement that came, how much was sent. Events
//! are arrivals, losses, duplications, and ticks of either machine's clock. After each event its machine is polled
//! until it waits. `model/world.rs` has the state, `model/owners.rs` what is done with it and checked.
//!
//! # Time
//!
//! The machines remember moments, so time must not make two states of what is one. Four things see to it:
//!
//! - Clocks move by events alone. An arrival takes no time. A tick is 50 ms, the span of an echo; first interval,
//!   floor and ceiling are two ticks, so that intervals never change. A probe is due within a tick, and leaves at the
//!   tick: a driver may wake late.
//! - On a counted network the sender is paced. What its pace holds back leaves within a tick, by an event of its own:
//!   the sender's clock moves on by whole milliseconds, and falls back into step at its next tick. A tick in place of
//!   that would pass for silence, and is a fault. On a wild network, which delays everything as it likes, a pace would
//!   change nothing but the number of moments: there the sender has none.
//! - Each side has its own clock. How they stand to each other is part of what is explored.
//! - What can go on forever is bounded, by one of two networks. **Wild** remembers each datagram that was ever
//!   sent: it can arrive at any later time, any number of times, or never. That is every loss, duplication, delay
//!   and reordering there can be; what is bounded is the ticks of each clock, which run apart as they like.
//!   **Counted** is a queue each way. A loss, a duplication, an overtaking, and a tick while something is under way
//!   are faults, and there are so many of them; without, time passes only when nothing is under way, and the clocks
//!   are a tick apart at most. Here cost and success can be measured against the faults.
//!
//! From every state, a faultless network is played on until both sides have ended, once with what is under way and
//! once without it: completion must be reached, or a reported failure where patience is short.
//!
//! A roll-over is reached by delivering the blocks before it, where numbers have their 16 bits. Their last window and
//! its acknowledgements are still under way on a wild network. Where there are only eight numbers, whole files roll
//! over more than once.
//!
//! # States
//!
//! `fixtures/model/states.txt` has how many states each exploration had, sums over files of one block to as many as
//! are said. They change with the machines: `MODEL_UPDATE=1` writes them anew.
//!
//! Not covered: intervals that adapt or double, round trips of many lengths, and ERROR packets.

#[path = "model/owners.rs"]
mod owners;
#[path = "model/world.rs"]
mod world;

use stateright::{Checker, HasDiscoveries, Model, Path, Property};
use std::sync::{Mutex, PoisonError};
use tftpkit::proto::End;
use tftpkit::wire::Rollover;
use world::{
    Event, Fault, LONG_PATIENCE, Network, Opening, RECEIVER, SENDER, Setup, Side, World, Wrong,
};

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
        let quiet = world.is_quiet();
        if world.paced_until.is_some() {
            events.push(Event::Paced);
        }
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
        let quiet = world.is_quiet();
        let fault = match event {
            Event::Arrives(_, which) => which > 0,
            Event::Lost(..) | Event::Doubled(..) => true,
            Event::Tick(_) => !quiet,
            Event::Paced => false,
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
            Event::Paced => self.paced(&mut world),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PREFIX, |_: &Self, world: &World| world.wrong != Some(Wrong::Prefix)),
            Property::always(WINDOW, |_: &Self, world: &World| world.wrong != Some(Wrong::Window)),
            Property::always(ACKNOWLEDGED, |_: &Self, world: &World| {
                world.wrong != Some(Wrong::Acknowledged)
            }),
            Property::always(NUMBER, |_: &Self, world: &World| world.wrong != Some(Wrong::Number)),
            Property::always(DEADLINE, |_: &Self, world: &World| {
                world.wrong != Some(Wrong::Deadline)
            }),
            Property::always(END, |_: &Self, world: &World| world.wrong != Some(Wrong::End)),
            Property::always(TRAFFIC, |_: &Self, world: &World| {
                world.wrong != Some(Wrong::Traffic)
            }),
            Property::always(FRAGILE, |_: &Self, world: &World| {
                world.wrong != Some(Wrong::Fragile)
            }),
            Property::always(RECOVERY, |setup: &Self, world: &World| {
                let recovers = || setup.recovers(world, true) && setup.recovers(world, false);
                world.wrong.is_some() || recovers()
            }),
            Property::sometimes(COMPLETE, |_: &Self, world: &World| {
                world.sender == Side::Over(End::Complete)
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
        if name == COMPLETE {
            continue;
        }
        let last = path.last_state();
        let why = [true, false].map(|lost| setup.plays_on(last, lost));
        panic!("not so: {name}\n{setup:?}\n{:?}\nplayed on: {why:?}", path.into_actions());
    }
    checker.assert_any_discovery(COMPLETE);
    checker.unique_state_count()
}

/// The shortest way to where `property` does not hold.
fn counterexample(setup: Setup, property: &'static str) -> Option<Vec<Event>> {
    let until = HasDiscoveries::AnyOf([property].into());
    let checker = setup.checker().finish_when(until).spawn_bfs().join();
    checker.discovery(property).map(Path::into_actions)
}

const OPENINGS: [Opening; 5] =
    [Opening::Read, Opening::ReadOack, Opening::Write, Opening::WriteOack, Opening::Past(6)];

/// Tests write the record at the same time.
static RECORD: Mutex<()> = Mutex::new(());

/// Compares numbers of states, for windows 1, 2 and 3, with those on record.
fn recorded(explored: &str, states: [usize; 3]) {
    let [one, two, three] = states;
    let line = format!("{explored:<50}{one:>9}{two:>9}{three:>9}");
    println!("{line}");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/model/states.txt");
    let lock = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut record = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("MODEL_UPDATE").is_some() {
        let others = record.lines().filter(|line| !line.starts_with(&format!("{explored}  ")));
        let mut lines: Vec<&str> = others.chain([line.as_str()]).collect();
        lines.sort_unstable();
        record = lines.join("\n") + "\n";
        std::fs::write(&path, &record).expect("it can be written");
    }
    drop(lock);
    let on_record = record.lines().any(|recorded| recorded == line);
    assert!(on_record, "not on record: {line}\nmeant? MODEL_UPDATE=1 writes {path:?} anew");
}

/// Explores windows 1, 2 and 3 with so many blocks at most.
fn all(opening: Opening, network: Network, blocks: u64, patience: u32) {
    let states = [1, 2, 3].map(|window| {
        let setup = |blocks| Setup { patience, ..Setup::new(opening, window, blocks, network) };
        (1..=blocks).map(|blocks| explore(setup(blocks))).sum()
    });
    let short = if patience < LONG_PATIENCE { ", short patience" } else { "" };
    recorded(&format!("{opening:?} {network:?}, {blocks} blocks{short}"), states);
}

const WILD: Network = Network::Wild(3);

#[test]
fn reads_survive_any_delay_loss_and_duplication() {
    all(Opening::Read, WILD, 4, LONG_PATIENCE);
    all(Opening::ReadOack, WILD, 4, LONG_PATIENCE);
}

#[test]
fn writes_survive_any_delay_loss_and_duplication() {
    all(Opening::Write, WILD, 4, LONG_PATIENCE);
    all(Opening::WriteOack, WILD, 4, LONG_PATIENCE);
}

#[test]
fn the_middle_of_a_file_survives_any_delay_loss_and_duplication() {
    all(Opening::Past(6), WILD, 4, LONG_PATIENCE);
}

#[test]
fn whoever_loses_patience_says_so() {
    for opening in OPENINGS {
        all(opening, Network::Wild(4), 2, 3);
    }
}

#[test]
fn two_faults_cost_little_and_one_fails_nothing() {
    for opening in OPENINGS {
        all(opening, Network::Counted(2), 4, LONG_PATIENCE);
    }
}

#[test]
fn three_faults_in_the_middle_of_a_file_cost_little() {
    all(Opening::Past(6), Network::Counted(3), 4, LONG_PATIENCE);
}

/// Four or five blocks around 65,536, behind as many whole windows as there are before them.
fn across_the_roll_over(window: u16, rollover: Option<Rollover>, told: bool) -> Setup {
    let past = if window == 3 { 65532 } else { 65534 };
    let mut setup = Setup::new(Opening::Past(past), window, 65538 - past, Network::Wild(2));
    if window == 3 {
        setup.blocks = 65537 - past;
    }
    (setup.rollover, setup.told) = (rollover, told);
    setup
}

#[test]
fn numbers_roll_over_to_zero_and_to_one() {
    let (zero, one) = (Some(Rollover::ToZero), Some(Rollover::ToOne));
    for (kind, rollover, told) in [
        ("to zero", zero, true),
        ("to one", one, true),
        ("to zero, untold", zero, false),
        ("to one, untold", one, false),
        ("as by default", None, false),
    ] {
        for network in [Network::Wild(2), Network::Counted(2)] {
            let states = [1, 2, 3].map(|window| {
                // In a window all senders who do not say how go on with 0.
                let told = told || (window > 1 && rollover == one);
                explore(Setup { network, ..across_the_roll_over(window, rollover, told) })
            });
            recorded(&format!("Past(65534) {network:?}, rolls over {kind}"), states);
        }
    }
}

/// Eight numbers, the fewest for windows of 3: a file of 16 blocks has each of them twice, and an old one means a new
/// block as soon as half of them has passed.
#[test]
fn no_number_is_taken_for_another_however_often_they_roll_over() {
    let reading = (Opening::ReadOack, Rollover::ToZero);
    for (opening, rollover) in [reading, (Opening::Write, Rollover::ToOne)] {
        let states = [1, 2, 3].map(|window| {
            let setup = Setup::new(opening, window, 18, Network::Counted(2));
            explore(Setup { numbers: 8, rollover: Some(rollover), ..setup })
        });
        recorded(&format!("{opening:?} Counted(2), 18 blocks among 8"), states);
    }
}

#[test]
fn every_planted_fault_is_found() {
    use Opening::{Past, ReadOack, Write, WriteOack};
    let (one, two) = (Network::Counted(1), Network::Counted(2));
    // A probe leaves within a tick: only behind it a timer is far enough away to be pushed.
    let four = Network::Counted(4);
    let planted = [
        (Fault::OldAcksCountAsNew, Past(6), 1, two, WINDOW),
        (Fault::DuplicateBlocksGoUnanswered, Write, 1, one, FRAGILE),
        (Fault::EveryRepeatedAckRestartsTheWindow, Past(6), 1, one, TRAFFIC),
        (Fault::EveryRepeatedAckRestartsTheWindow, Past(6), 2, one, TRAFFIC),
        (Fault::EveryDuplicateBlockIsAcknowledged, Past(6), 3, one, TRAFFIC),
        (Fault::NoDallying, Write, 1, one, FRAGILE),
        (Fault::StaleAcksPushTheTimer, Past(6), 1, four, DEADLINE),
        (Fault::OpeningIsSentOnce, Write, 1, one, RECOVERY),
        (Fault::OpeningIsSentOnce, WriteOack, 2, one, RECOVERY),
        (Fault::OpeningIsSentOnce, ReadOack, 1, one, RECOVERY),
        (Fault::RollOverIsOffByOne, Past(65534), 2, one, RECOVERY),
        (Fault::WindowCountsFromTheLastBlockSent, Past(6), 2, one, WINDOW),
        (Fault::BlocksBehindAGapAreStored, Past(6), 2, one, PREFIX),
        (Fault::DuplicatesAreStored, Past(6), 1, one, PREFIX),
        (Fault::AcksAreOneTooHigh, Past(6), 1, one, ACKNOWLEDGED),
        (Fault::SleepsTooLong, Past(6), 1, one, DEADLINE),
        (Fault::DoneWhenAllIsSent, Past(6), 2, one, END),
    ];
    for (fault, opening, window, network, property) in planted {
        let mut setup = Setup::new(opening, window, 8, network);
        explore(setup);
        setup.fault = Some(fault);
        let events = counterexample(setup, property);
        let events = events.unwrap_or_else(|| panic!("not found: {setup:?}"));
        println!("{fault:?}, window {window}: not so after {} events: {property}", events.len());
    }
}
