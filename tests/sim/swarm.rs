//! From a seed to a run: what is asked, what goes wrong, and what must hold in spite of it.

use crate::client::OwnClient;
use crate::disk::{Library, Troubles};
use crate::engine::Engine;
use crate::network::{Faults, Network, Path};
use crate::random::Random;
use crate::server::{Server, Session};
use crate::world::{World, request};
use core::num::NonZeroU8;
use core::time::Duration;
use std::collections::VecDeque;
use tftpkit::limits;
use tftpkit::proto::Time;
use tftpkit::transfer::Outcome;
use tftpkit::wire::{
    BlockSize, Interval, ListFormat, Mode, Operation, Options, Request, Rollover, TransferOption,
    WindowSize,
};

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
    let mut server = Server::new(plan.library.clone());
    server.library.troubles = plan.troubles[1].clone();
    limit(&mut server, &mut random);
    let library = Library { troubles: plan.troubles[0].clone(), ..plan.library.clone() };
    let client = OwnClient::new(plan.request, library, plan.restarts.clone());
    let network = Network::new(random.next(), plan.path.clone(), plan.faults.clone());
    let mut world = World::new(client, server, network);
    world.trace = trace;
    world.run()?;
    judge(&plan, &world)
}

/// What the server grants at most.
fn limit(server: &mut Server, random: &mut Random) {
    let size = random.pick(&[512, 1428, 65464, 65464, 65464]);
    server.grants.block_size = BlockSize::new(size).expect("a size");
    let window = random.pick(&[1, 4, u16::MAX, u16::MAX]);
    server.grants.window = WindowSize::new(window).expect("a window");
    server.grants.window_bytes = random.pick(&[4000, limits::WINDOW_BYTES, limits::WINDOW_BYTES]);
    server.read_ahead = random.pick(&[0, limits::READ_AHEAD_BYTES]);
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
        let file = file(random, mode, size);
        let long = file.len() / size > 60_000;
        let (faults, mut gentle) = faults(random, long);
        let mut library = Library::in_memory(file);
        library.seed = random.next();
        if random.happens(1_000) {
            library = library.in_folder().expect("a folder in the temporary one");
        }
        let troubles = [(); 2].map(|()| troubles(random, library.file.len(), long));
        gentle &= !troubles.iter().any(|disk| disk.fail() || disk.slow_by > Duration::from_secs(1));
        let mut restarts = VecDeque::new();
        if random.happens(1_000) {
            restarts.push_back(Time::from_micros(1 + random.below(3_000_000)));
        }
        let path = path(random, long);
        // An interval shorter than the round trip uses up what may be sent without proof.
        gentle &= path.delay + path.jitter < Duration::from_millis(400);
        Self {
            request: request(operation, mode, options),
            library,
            troubles,
            path,
            faults,
            restarts,
            gentle,
        }
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

/// What must hold when all is over.
fn judge(plan: &Plan, world: &World<OwnClient>) -> Result<Verdict, String> {
    let client = &world.client.engine;
    let sessions: Vec<_> = world.server.sessions.iter().map(|session| &session.engine).collect();
    sessions.iter().chain([&client]).try_for_each(|engine| end(engine))?;
    let (receivers, senders) = match plan.request.operation {
        Operation::Write => (sessions, vec![client]),
        Operation::Read | Operation::List => (vec![client], sessions),
    };
    if receivers.iter().any(|receiver| is_whole(receiver) != ended(receiver, Outcome::Complete)) {
        return Err("what is complete and what is committed differ".into());
    }
    let taken = receivers.iter().any(|receiver| is_whole(receiver));
    // A client that was started anew may have had the file before.
    if plan.restarts.is_empty() {
        if !taken && senders.iter().any(|sender| ended(sender, Outcome::Complete)) {
            return Err("the sender says complete, and the file is not there".into());
        }
        plan.library.check_folder(taken)?;
        traffic(plan, world)?;
    }
    if plan.gentle && world.network.harm.cut == 0 && !taken {
        return Err(format!("so little harm, and the file is not there: {}", outcomes(world)));
    }
    Ok(match (taken, senders.iter().any(|sender| ended(sender, Outcome::Unconfirmed))) {
        (true, _) => Verdict::Whole,
        (false, true) => Verdict::Unconfirmed,
        (false, false) => Verdict::Failed,
    })
}

/// What must hold of each side by itself.
fn end(engine: &Engine) -> Result<(), String> {
    let account = engine.ledger.get();
    if let Some(wrong) = &account.wrong {
        return Err(wrong.clone());
    }
    match &engine.transfer.summary().outcome {
        None => Err("an end without an outcome".into()),
        Some(Outcome::Complete) if account.failed => {
            Err("a disk failed, and the transfer is complete".into())
        }
        Some(_) => Ok(()),
    }
}

fn is_whole(engine: &Engine) -> bool {
    engine.ledger.get().commits == 1
}

fn ended(engine: &Engine, outcome: Outcome) -> bool {
    engine.transfer.summary().outcome == Some(outcome)
}

fn outcomes(world: &World<OwnClient>) -> String {
    let outcome = |session: &Session| session.engine.transfer.summary().outcome.clone();
    let server: Vec<_> = world.server.sessions.iter().map(outcome).collect();
    format!("{:?}, {server:?}", world.client.engine.transfer.summary().outcome)
}

/// What may be sent: for each thing that went wrong a window or so, for each interval that was asked for another.
fn traffic(plan: &Plan, world: &World<OwnClient>) -> Result<(), String> {
    let [Some(session), None] = [world.server.sessions.first(), world.server.sessions.get(1)]
    else {
        return Ok(());
    };
    let (client, server) = (&world.client.engine, &session.engine);
    let (packets, engine) = if plan.request.operation == Operation::Write {
        (world.client.packets, client)
    } else {
        (session.packets, server)
    };
    let summary = engine.transfer.summary();
    let size = summary.agreed.block_size().get() as u64;
    let text = if plan.request.mode == Mode::Netascii { 2 } else { 1 };
    let least = text * plan.library.file.len() as u64 / size + 2;
    let window = u64::from(summary.agreed.window().get());
    let stalls = client.ledger.get().stalls + server.ledger.get().stalls;
    // A path whose delay changes all the time makes timers fire in vain.
    let changes = if plan.path.jitter.is_zero() { 0 } else { 4 + least / window / 2 };
    let harm = world.network.harm.total() + TIMERS_IN_A_STALL * stalls + changes;
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
