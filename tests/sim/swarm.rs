//! From a seed to a run: what is asked, what goes wrong, and what must hold in spite of it.

use super::client::OwnClient;
use super::disk::{Files, Ledger, Library, Troubles};
use super::network::{CLIENT, Faults, Network, Path};
use super::random::Random;
use super::serve::{Host, Served, Session};
use super::sockets::Offload;
use super::world::World;
use crate::client::Wishes;
use crate::limits;
use crate::proto::{GrantLimits, Time};
pub(super) use crate::server::Verdict as Decision;
use crate::server::{Config, Model, Profile};
use crate::store::{Entry, Kind, Listing};
use crate::transfer::{Outcome, Summary};
use crate::wire::{
    BlockSize, Interval, ListFormat, Mode, Operation, Options, Request, Rollover, TransferOption,
    WindowSize,
};
use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// What came of a run that broke no promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file arrived.
    Whole,
    /// It did not, and both sides know.
    Failed,
    /// It did not, and the sender says that it cannot tell.
    Unconfirmed,
}

struct Plan {
    request: Request<'static>,
    library: Library,
    troubles: [Troubles; 2],
    path: Path,
    faults: Faults,
    restarts: VecDeque<Time>,
    listing: Listing,
    offload: Offload,
    send_buffer: Option<usize>,
    /// Whether what goes wrong is too little to keep a transfer from its end.
    gentle: bool,
}

/// Runs one seed to its end.
pub(crate) fn run(seed: u64, trace: bool) -> Result<Verdict, String> {
    let mut random = Random::new(seed);
    let mut plan = Plan::new(&mut random);
    plan.library.seed = seed;
    if trace {
        plan.print();
    }
    let library = Library { troubles: plan.troubles[0].clone(), ..plan.library.clone() };
    let client =
        OwnClient::new(CLIENT, Wishes::default(), plan.request, library, plan.restarts.clone());
    let client = Arc::new(Mutex::new(client));
    let mut host = Host::new(seed, plan.files());
    let model = model(&mut random);
    // Who is started anew waits until the server has given up who it was before.
    plan.gentle &= model != Model::Iterative || plan.restarts.is_empty();
    (host.config, host.offload) = (config(&mut random).model(model), plan.offload);
    host.send_buffer = plan.send_buffer;
    let network = Network::new(random.next(), plan.path.clone(), plan.faults.clone());
    let mut world = World::new(network, vec![client.clone()]);
    world.trace = trace;
    let served = host.serve(world, |_, _| {})?;
    let client = client.lock().expect("no panic");
    judge(&plan, &client, &served)
}

/// What is granted at most.
fn config(random: &mut Random) -> Config {
    let size = random.pick(&[512, 1428, 65464, 65464, 65464]);
    let window = random.pick(&[1, 4, u16::MAX, u16::MAX]);
    let limits = GrantLimits {
        block_size: BlockSize::new(size).expect("a size"),
        window: WindowSize::new(window).expect("a window"),
        window_bytes: random.pick(&[4000, limits::WINDOW_BYTES, limits::WINDOW_BYTES]),
        ..GrantLimits::default()
    };
    let profile = Profile::default().limits(limits);
    Config::default().policy(move |_: &crate::query::Query| Decision::Serve(profile.clone()))
}

/// Threads cost a simulation more than loops do.
pub(super) fn model(random: &mut Random) -> Model {
    let loops = |loops| Model::Events(NonZeroUsize::new(loops).expect("not zero"));
    match random.below(10) {
        0 => Model::Threads(limits::THREADS),
        1 => Model::Threads(1),
        2 => Model::Iterative,
        3 => loops(2),
        4 | 5 => Model::SinglePort,
        _ => loops(1),
    }
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let operation = random.pick(&[
            Operation::Read,
            Operation::Read,
            Operation::Write,
            Operation::Write,
            Operation::List,
        ]);
        let text = operation != Operation::List && random.happens(2_500);
        let mode = if text { Mode::Netascii } else { Mode::Octet };
        let (options, size) = options(random, operation);
        let listing = listing(random);
        let file = match operation {
            Operation::List => listing.to_json(),
            _ => file(random, mode, size),
        };
        let long = file.len() / size > 60_000;
        let (faults, mut gentle) = faults(random, long);
        let mut library = Library::in_memory(file);
        library.seed = random.next();
        if random.happens(1_000) && operation != Operation::List {
            library = library.in_folder().expect("a folder in the temporary one");
        }
        let mut troubles = [(); 2].map(|()| troubles(random, library.file.len(), long));
        if operation == Operation::List {
            // Its listing is made in memory.
            troubles[1] = Troubles::default();
        }
        gentle &= !troubles.iter().any(|disk| disk.fail() || disk.slow_by > Duration::from_secs(1));
        let mut restarts = VecDeque::new();
        if random.happens(1_000) {
            restarts.push_back(Time::from_micros(1 + random.below(3_000_000)));
        }
        let path = path(random, long);
        // An interval shorter than the round trip uses up what may be sent without proof.
        gentle &= path.delay + path.jitter < Duration::from_millis(400);
        Self {
            request: Request { operation, name: b"file", mode, options },
            library,
            troubles,
            path,
            faults,
            restarts,
            listing,
            offload: random.pick(&[
                Offload::Works,
                Offload::Works,
                Offload::Unknown,
                Offload::Fails,
            ]),
            send_buffer: random.pick(&[None, None, Some(2_000), Some(20_000)]),
            gentle,
        }
    }

    /// What the server has.
    fn files(&self) -> Files {
        let library = Library { troubles: self.troubles[1].clone(), ..self.library.clone() };
        Files { listing: self.listing.clone(), ..Files::new(library) }
    }

    fn print(&self) {
        let Self { request, faults, path, troubles, .. } = self;
        println!("{request:?}, {} bytes, {path:?}\n{faults:?}", self.library.file.len());
        println!("client's {:?}\nserver's {:?}\n{:?}", troubles[0], troubles[1], self.restarts);
    }
}

/// Options, and the block size they ask for.
fn options(random: &mut Random, operation: Operation) -> (Options, usize) {
    let mut options = Options::NONE;
    let mut size = 512;
    if random.happens(7_000) {
        size = random.pick(&[8, 8, 64, 511, 512, 1024, 1428, 1468, 8192, 65464]);
        options = options.with(TransferOption::BlockSize(BlockSize::new(size).expect("a size")));
    }
    if random.happens(6_000) {
        let blocks = random.pick(&[1, 2, 3, 4, 8, 16, 64, 200]);
        let window = WindowSize::new(blocks).expect("a window");
        options = options.with(TransferOption::WindowSize(window));
    }
    if random.happens(1_500) {
        let secs = NonZeroU8::new(1 + random.below(5) as u8).expect("not zero");
        options = options.with(TransferOption::Timeout(secs));
    }
    if random.happens(1_500) {
        let interval = Interval::from_micros(10_000 + random.below(990_000) as u32);
        options = options.with(TransferOption::MicroTimeout(interval.expect("an interval")));
    }
    if random.happens(5_000) {
        options = options.with(TransferOption::TransferSize(0));
    }
    if random.happens(2_000) {
        let rollover = random.pick(&[Rollover::ToZero, Rollover::ToOne]);
        options = options.with(TransferOption::Rollover(rollover));
    }
    if operation == Operation::List {
        options = options.with(TransferOption::List(ListFormat::Json));
    }
    (options, usize::from(size))
}

fn listing(random: &mut Random) -> Listing {
    let entry = |n| Entry {
        name: format!("file-{n}").into(),
        kind: Kind::File,
        size: n,
        modified: SystemTime::UNIX_EPOCH,
    };
    Listing::new((0..random.below(100)).map(entry).collect(), false)
}

/// A file of some blocks, a few bytes more or less; one in many makes small blocks roll over.
fn file(random: &mut Random, mode: Mode, size: usize) -> Vec<u8> {
    let most = (96 << 10) / size as u64 + 3;
    let blocks = match random.below(10) {
        0 => random.below(3),
        1..=5 => random.below(most.min(30)),
        _ if size == 8 && random.happens(700) => 65_600,
        _ => random.below(most.min(400)),
    };
    let len = blocks as usize * size + random.pick(&[0, 0, 1, 7, size - 1]);
    let odd = [b'\n', b'\r', 0, b' '];
    let mut byte = || match random.next() {
        n if mode == Mode::Netascii && n % 4 == 0 => odd[(n >> 8) as usize % 4],
        n => (n >> 16) as u8,
    };
    (0..len).map(|_| byte()).collect()
}

fn path(random: &mut Random, long: bool) -> Path {
    let delays = [0, 50, 500, 500, 5_000, 20_000, 150_000];
    let micros = random.pick(if long { &delays[..4] } else { &delays });
    let jitter = if random.happens(3_000) { micros * random.pick(&[1, 2, 4]) } else { 0 };
    Path {
        delay: Duration::from_micros(micros),
        jitter: Duration::from_micros(jitter),
        nanos_per_byte: random.pick(&[0, 8, 80, 800]),
        tells_closed: random.happens(7_000),
        bottleneck: None,
    }
}

/// Some faults, each off in most runs, weak in some and strong in others; and whether they are gentle.
fn faults(random: &mut Random, long: bool) -> (Faults, bool) {
    let mut gentle = true;
    let mut chance = |random: &mut Random, weak: u64, strong: u64| {
        if !random.happens(4_000) {
            return 0;
        }
        if random.happens(7_000) || long {
            return if long { weak / 10 } else { weak };
        }
        gentle = false;
        strong
    };
    let mut faults = Faults {
        loss: chance(random, 200, 3_000),
        outage: chance(random, 20, 300),
        outage_for: Duration::from_millis(random.pick(&[1, 20, 300, 4_000])),
        copies: chance(random, 300, 5_000),
        late: chance(random, 200, 3_000),
        late_by: Duration::from_micros(random.pick(&[200, 5_000, 60_000, 900_000])),
        strays: chance(random, 200, 2_000),
        doubled_data: random.happens(500),
        ..Faults::default()
    };
    if random.happens(1_500) {
        faults.cuts = if long { 10 } else { random.pick(&[100, 2_000]) };
        gentle &= faults.cuts <= 100;
    }
    (faults, gentle)
}

fn troubles(random: &mut Random, len: usize, long: bool) -> Troubles {
    let mut troubles = Troubles::default();
    let within = |random: &mut Random| Some(random.below(len as u64 + 1) as usize);
    if random.happens(500) {
        troubles.full_after = within(random);
    }
    if random.happens(500) {
        troubles.unreadable_after = within(random);
    }
    troubles.refuses_commit = random.happens(300);
    if random.happens(2_000) && !long {
        troubles.slow = random.pick(&[50, 1_000]);
        troubles.slow_by = Duration::from_millis(random.pick(&[2, 70, 700, 4_000]));
    }
    troubles
}

/// One side of a transfer, when all is over.
struct Side<'a> {
    ledger: Option<&'a Ledger>,
    summary: &'a Summary,
}

impl Side<'_> {
    fn of_client(client: &OwnClient) -> Side<'_> {
        let engine = &client.engine;
        Side { ledger: Some(&engine.ledger), summary: engine.transfer.summary() }
    }

    fn of_session(session: &Session) -> Result<Side<'_>, String> {
        let summary = session.summary.as_ref().ok_or("a transfer whose end was not told")?;
        Ok(Side { ledger: session.ledger.as_ref(), summary })
    }

    /// What must hold of each side by itself.
    fn check(&self) -> Result<(), String> {
        let account = self.ledger.map(Ledger::get);
        if let Some(wrong) = account.as_ref().and_then(|account| account.wrong.clone()) {
            return Err(wrong);
        }
        match &self.summary.outcome {
            None => Err("an end without an outcome".into()),
            Some(Outcome::Complete) if account.is_some_and(|account| account.failed) => {
                Err("a disk failed, and the transfer is complete".into())
            }
            Some(_) => Ok(()),
        }
    }

    fn is_whole(&self) -> bool {
        self.ledger.is_some_and(|ledger| ledger.get().commits == 1)
    }

    fn ended(&self, outcome: &Outcome) -> bool {
        self.summary.outcome.as_ref() == Some(outcome)
    }

    fn stalls(&self) -> u64 {
        self.ledger.map_or(0, |ledger| ledger.get().stalls)
    }
}

/// What must hold when all is over.
fn judge(plan: &Plan, client: &OwnClient, served: &Served) -> Result<Verdict, String> {
    let own = || Side::of_client(client);
    let sessions: Vec<_> =
        served.sessions.iter().map(Side::of_session).collect::<Result<_, _>>()?;
    sessions.iter().chain([&own()]).try_for_each(Side::check)?;
    let outcomes = || {
        let outcome = |side: &Side<'_>| side.summary.outcome.clone();
        let theirs: Vec<_> = sessions.iter().map(outcome).collect();
        format!("{:?}, {theirs:?}, {:?}", own().summary.outcome, served.turned_away)
    };
    if plan.restarts.is_empty() && sessions.len() == 1 {
        traffic(plan, client, served, &sessions[0])?;
    }
    let outcomes = outcomes();
    let (receivers, senders) = match plan.request.operation {
        Operation::Write => (sessions, vec![own()]),
        Operation::Read | Operation::List => (vec![own()], sessions),
    };
    if receivers.iter().any(|receiver| receiver.is_whole() != receiver.ended(&Outcome::Complete)) {
        return Err(format!("what is complete and what is committed differ: {outcomes}"));
    }
    let taken = receivers.iter().any(Side::is_whole);
    // A client that was started anew may have had the file before.
    if plan.restarts.is_empty() {
        if !taken && senders.iter().any(|sender| sender.ended(&Outcome::Complete)) {
            return Err("the sender says complete, and the file is not there".into());
        }
        plan.library.check_folder(taken)?;
    }
    if plan.gentle && served.harm.cut == 0 && !taken {
        return Err(format!("so little harm, and the file is not there: {outcomes}"));
    }
    let is_unconfirmed = senders.iter().any(|sender| sender.ended(&Outcome::Unconfirmed));
    Ok(match (taken, is_unconfirmed) {
        (true, _) => Verdict::Whole,
        (false, true) => Verdict::Unconfirmed,
        (false, false) => Verdict::Failed,
    })
}

/// What may be sent: for each thing that went wrong a window or so, for each interval that was asked for another.
fn traffic(
    plan: &Plan,
    client: &OwnClient,
    served: &Served,
    session: &Side<'_>,
) -> Result<(), String> {
    let own = Side::of_client(client);
    let (packets, sender) = if plan.request.operation == Operation::Write {
        (client.packets, &own)
    } else {
        (served.packets(), session)
    };
    let summary = sender.summary;
    let size = summary.agreed.block_size().get() as u64;
    let text = if plan.request.mode == Mode::Netascii { 2 } else { 1 };
    let least = text * plan.library.file.len() as u64 / size + 2;
    let window = u64::from(summary.agreed.window().get());
    let stalls = own.stalls() + session.stalls();
    // A path whose delay changes all the time makes timers fire in vain, and so does one on which a window takes longer
    // than the shortest interval.
    let sending = Duration::from_nanos(plan.path.nanos_per_byte * size * window);
    let is_steady = plan.path.jitter.is_zero() && sending < limits::SHORTEST_INTERVAL;
    let changes = if is_steady { 0 } else { 4 + least / window / 2 };
    let harm = served.harm.total() + TIMERS_IN_A_STALL * stalls + changes;
    let asked = summary.agreed.interval();
    let asked = asked.map_or(0, |asked| summary.elapsed.as_micros() / asked.get().as_micros());
    let sure = summary.outcome == Some(Outcome::Complete);
    let timers = asked as u64 + if sure { 6 } else { TIMERS_IN_PATIENCE };
    let most = least + SENT_FOR_EACH_HARM * window * harm + window * timers;
    if packets > most {
        return Err(format!("{packets} packets for {least}, {harm} things went wrong"));
    }
    Ok(())
}

/// An interval of 50 ms can double so often while a disk takes 4 s.
const TIMERS_IN_A_STALL: u64 = 7;

/// One that doubles from 50 ms to 5 s, when the other is gone without a word.
const TIMERS_IN_PATIENCE: u64 = 12;

/// In windows.
const SENT_FOR_EACH_HARM: u64 = 2;
