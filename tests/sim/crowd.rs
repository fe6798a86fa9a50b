//! Many clients of one server at once: some behave, some never answer, forge, are greedy, or are started anew. Whatever
//! they do, nothing leaks, no quota is passed, nobody else starves, and a drain ends in time.

use super::client::OwnClient;
use super::disk::{Files, Library, Troubles};
use super::flood::Flood;
use super::machine::{Machine, State, Watch};
use super::network::{Faults, Network, Path, SERVER, address};
use super::peers::{self, Peer};
use super::random::Random;
use super::serve::{Host, Served};
use super::swarm::{self, Decision};
use super::world::{Client, Shared, World};
use crate::client::Wishes;
use crate::limits;
use crate::net::PortRange;
use crate::proto::Time;
use crate::query::Query;
use crate::server::{Config, Gauges, Handle, Model, Profile};
use crate::transfer::Outcome;
use crate::wire::{BlockSize, Mode, Operation, Options, Request, TransferOption, WindowSize};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// The bounds of a server, as a crowd sees them.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    sessions: usize,
    windows_bytes: usize,
    ports: Option<PortRange>,
    most_sockets: usize,
    most_threads: usize,
    /// Whether hosts say that their ports are closed.
    tells_closed: bool,
    /// When the server is told to stop, and how long transfers may go on then.
    drain: Option<(Time, Duration)>,
}

/// What there is of clients, in the end.
struct Crowd {
    own: Vec<Shared<OwnClient>>,
    foreign: Vec<Shared<Peer>>,
    floods: Vec<Shared<Flood>>,
    /// Whether all who behave must get what they want.
    all_are_served: bool,
}

/// How long a drain may take beyond its grace: the last words of those that it ends.
const LAST_WORDS: Duration = Duration::from_millis(2_100);

pub(crate) fn run(seed: u64, trace: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let bounds = Bounds::new(&mut random);
    let file: Vec<u8> = (0..random.below(20_000)).map(|n| (n * 7 % 251) as u8).collect();
    let library = Library { seed, ..Library::in_memory(file) };
    let troubles = troubles(&mut random);
    let faults = Faults { loss: random.pick(&[0, 0, 100, 500]), ..Faults::default() };
    // Whose packets are lost twice in a row may have to ask again.
    let scarce = troubles.slow > 0 || faults.loss > 0;
    let crowd = Crowd::new(&mut random, &bounds, &library, scarce);
    if trace {
        println!("{bounds:?}, {} bytes, {troubles:?}", library.file.len());
    }
    let mut host = Host::new(seed, Files::new(Library { troubles, ..library }));
    host.config = config(&mut random, &bounds);
    (host.most_threads, host.most_sockets) = (bounds.most_threads, bounds.most_sockets);
    let path = Path {
        delay: Duration::from_micros(random.pick(&[50, 500, 5_000])),
        nanos_per_byte: 8,
        tells_closed: bounds.tells_closed,
        ..Path::default()
    };
    let mut world = World::new(Network::new(random.next(), path, faults), crowd.clients());
    world.trace = trace;
    let ended = Arc::new(Mutex::new(Time::START));
    let told = Arc::clone(&ended);
    let served = host.serve(world, move |machine, handle| {
        machine.state().watch = Some(watch(machine, handle, bounds, told));
        if let Some((at, grace)) = bounds.drain {
            let (handle, again) = (handle.clone(), handle.clone());
            let actions = &mut machine.state().world.actions;
            actions.insert(at, Box::new(move || handle.drain(grace)));
            // Whoever is told so once more, with more patience, ends no later for that.
            let later = at + Duration::from_millis(100);
            actions.insert(later, Box::new(move || again.drain(2 * grace)));
        }
    })?;
    let ended = *ended.lock().expect("no panic");
    crowd.judge(&bounds, &served, ended)
}

impl Bounds {
    fn new(random: &mut Random) -> Self {
        let sessions = random.pick(&[1, 2, 4, 9, 30, 200]);
        let count = random.pick(&[1, 3, 10, 100]);
        let ports = random.happens(3_000).then(|| PortRange::new(50_000, 49_999 + count));
        let at = Time::from_micros(random.below(20_000_000));
        let grace = Duration::from_millis(random.pick(&[0, 300, 3_000, 60_000]));
        Self {
            sessions,
            windows_bytes: random.pick(&[600, 20_000, 300_000, 64 << 20]),
            ports: ports.map(|range| range.expect("a range")),
            most_sockets: random.pick(&[2, 12, usize::MAX, usize::MAX]),
            most_threads: random.pick(&[0, 2, usize::MAX, usize::MAX]),
            tells_closed: random.happens(5_000),
            drain: random.happens(3_000).then_some((at, grace)),
        }
    }
}

fn config(random: &mut Random, bounds: &Bounds) -> Config {
    let profile = Profile::default();
    let model = model(random);
    Config::default()
        .model(model)
        .sessions(bounds.sessions)
        .windows_bytes(bounds.windows_bytes)
        .ports(bounds.ports.filter(|_| model != Model::SinglePort))
        .progress(random.happens(3_000).then_some(Duration::from_millis(5)))
        .policy(move |_: &Query| Decision::Serve(profile.clone()))
}

/// One after the other would be a crowd that waits.
pub(crate) fn model(random: &mut Random) -> Model {
    loop {
        let model = swarm::model(random);
        if model != Model::Iterative {
            return model;
        }
    }
}

fn troubles(random: &mut Random) -> Troubles {
    if random.happens(7_000) {
        return Troubles::default();
    }
    let slow_by = Duration::from_millis(random.pick(&[3, 100, 2_000]));
    Troubles { slow: random.pick(&[100, 3_000]), slow_by, ..Troubles::default() }
}

impl Crowd {
    fn new(random: &mut Random, bounds: &Bounds, library: &Library, scarce: bool) -> Self {
        let (mut own, mut foreign, mut floods) = (Vec::new(), Vec::new(), Vec::new());
        let many = random.pick(&[1, 4, 20, 60]);
        for n in 0..many {
            // Some share a network, and some even an address: the greedy.
            let host = random.pick(&[[10, 0, n as u8, 1], [10, 1, 0, n as u8], [10, 2, 0, 1]]);
            let at = address(host, 2000 + 10 * n as u16);
            if random.happens(2_000) {
                let habits = random.pick(&peers::ALL);
                let mut peer = Peer::new(habits, Arc::clone(&library.file), at);
                peer.files = 1 + random.below(3) as u32;
                foreign.push(Arc::new(Mutex::new(peer)));
                continue;
            }
            let mut restarts = VecDeque::new();
            if random.happens(1_000) {
                restarts.push_back(Time::from_micros(1 + random.below(500_000)));
            }
            // They ask until it is their turn.
            let wishes = Wishes::default().retries(30);
            let client = OwnClient::new(at, wishes, wanted(random), library.clone(), restarts);
            own.push(Arc::new(Mutex::new(client)));
        }
        for n in 0..random.pick(&[0, 0, 1, 2, 30]) {
            floods.push(Arc::new(Mutex::new(Flood::new(random, n as u8))));
        }
        let scarce = scarce || bounds.most_sockets < usize::MAX || bounds.ports.is_some();
        // So many from one network, or floods from so many, may have to wait for longer than they do.
        let all_are_served = bounds.drain.is_none()
            && !scarce
            && floods.len() <= 2
            && bounds.sessions >= 9
            && bounds.windows_bytes > 600;
        Self { own, foreign, floods, all_are_served }
    }

    fn clients(&self) -> Vec<Shared<dyn Client>> {
        let own = self.own.iter().map(|client| client.clone() as Shared<dyn Client>);
        let foreign = self.foreign.iter().map(|client| client.clone() as Shared<dyn Client>);
        let floods = self.floods.iter().map(|client| client.clone() as Shared<dyn Client>);
        own.chain(foreign).chain(floods).collect()
    }

    fn judge(&self, bounds: &Bounds, served: &Served, ended: Time) -> Result<(), String> {
        if let Some((at, grace)) = bounds.drain
            && ended > at + grace + LAST_WORDS
        {
            return Err(format!("told to stop at {at:?} within {grace:?}, it does at {ended:?}"));
        }
        for session in &served.sessions {
            let Some(summary) = &session.summary else {
                return Err(format!("nobody was told of the end of {}", session.query));
            };
            if let Some(wrong) = session.ledger.as_ref().and_then(|it| it.get().wrong.clone()) {
                return Err(wrong);
            }
            if summary.outcome == Some(Outcome::Superseded) {
                let waited = summary.bytes == 0 && summary.elapsed >= limits::UNPROVEN_STAY;
                if !waited {
                    self.is_superseded(&session.query, served)?;
                }
            }
        }
        of_networks(bounds, served, ended)?;
        let may_send = |local: &SocketAddr| {
            *local == SERVER
                || bounds
                    .ports
                    .is_none_or(|ports| (ports.first()..=ports.last()).contains(&local.port()))
        };
        if let Some(sent) = served.sent.iter().find(|sent| !may_send(&sent.local)) {
            return Err(format!("{} is none of its ports", sent.local));
        }
        for client in &self.own {
            let client = client.lock().expect("no panic");
            let outcome = &client.engine.transfer.summary().outcome;
            let whole = client.engine.ledger.get().wrong.clone().map_or(Ok(()), Err);
            whole?;
            if self.all_are_served && !outcome.as_ref().is_some_and(Outcome::is_success) {
                return Err(format!("{} behaves, and ends with {outcome:?}", client.address));
            }
        }
        for client in &self.foreign {
            let client = client.lock().expect("no panic");
            if self.all_are_served && bounds.sessions >= 30 && !client.has_the_file() {
                return Err(format!("{} behaves, and does not get its file", client.address));
            }
        }
        Ok(())
    }

    /// Only another session of the same port supersedes one.
    fn is_superseded(&self, query: &Query, served: &Served) -> Result<(), String> {
        let same = served.sessions.iter().filter(|other| other.query.peer == query.peer).count();
        let floods =
            self.floods.iter().any(|flood| flood.lock().expect("no panic").asks_from(query.peer));
        if same > 1 || floods { Ok(()) } else { Err(format!("{query} made room for nobody")) }
    }
}

/// What a client that behaves asks for.
fn wanted(random: &mut Random) -> Request<'static> {
    let operation = random.pick(&[Operation::Read, Operation::Read, Operation::Write]);
    let mut options = Options::NONE;
    if random.happens(5_000) {
        let size = BlockSize::new(random.pick(&[64, 1428, 8192])).expect("a size");
        let window = WindowSize::new(random.pick(&[1, 4, 16])).expect("a window");
        options = options.with(TransferOption::BlockSize(size));
        options = options.with(TransferOption::WindowSize(window));
    }
    Request { operation, name: b"file", mode: Mode::Octet, options }
}

/// Looks at what is used whenever a thread hands over.
fn watch(machine: &Machine, handle: &Handle, bounds: Bounds, last: Arc<Mutex<Time>>) -> Watch {
    let (machine, handle) = (machine.clone(), handle.clone());
    Arc::new(move || {
        within_quotas(&bounds, handle.gauges())?;
        let state = machine.state();
        *last.lock().expect("no panic") = state.now;
        within_sockets(&bounds, &state)
    })
}

fn within_quotas(bounds: &Bounds, gauges: Gauges) -> Result<(), String> {
    let Bounds { sessions, windows_bytes, ports, .. } = *bounds;
    let reserve = sessions / limits::PROVEN_RESERVE_DIVISOR;
    let ports = ports.map_or(usize::MAX, PortRange::count);
    let dallying = sessions.min(ports).div_ceil(limits::DALLYING_SHARE_DIVISOR);
    let is_within = gauges.transfers + gauges.dallying <= sessions
        && gauges.unproven <= sessions - reserve
        && gauges.windows_bytes <= windows_bytes
        && gauges.dallying <= dallying;
    if is_within { Ok(()) } else { Err(format!("{gauges:?} of {bounds:?}")) }
}

fn within_sockets(bounds: &Bounds, state: &State) -> Result<(), String> {
    let mut of_network: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    for (peer, sent) in state.sockets.connected(&state.world.sent) {
        let proven = sent.is_some_and(|sent| sent.is_proven);
        if let (false, IpAddr::V4(peer)) = (proven, peer.ip()) {
            let [a, b, c, _] = peer.octets();
            *of_network.entry([a, b, c]).or_default() += 1;
        }
    }
    let most = bounds.sessions.div_ceil(limits::UNPROVEN_SHARE_DIVISOR);
    match of_network.iter().find(|(_, count)| **count > most) {
        Some((network, count)) => Err(format!("{network:?} has {count} sessions without proof")),
        None => Ok(()),
    }
}

/// What one network can cause: as many ERRORs with a text as it may get, and as many sessions without proof as it may
/// have, where none ends before it has waited for three seconds. (A host that says at once that its port is closed ends them
/// sooner.) An ERROR without a text is shorter than any request.
fn of_networks(bounds: &Bounds, served: &Served, ended: Time) -> Result<(), String> {
    let seconds = (ended - Time::START).as_secs() + 1;
    let answers = u64::from(limits::ERROR_BURST) + seconds * u64::from(limits::ERRORS_PER_SECOND);
    let turns = seconds / limits::UNPROVEN_STAY.as_secs() + 1;
    let sessions = bounds.sessions.div_ceil(limits::UNPROVEN_SHARE_DIVISOR) as u64 * turns;
    let mut sockets: BTreeMap<IpAddr, [u64; 2]> = BTreeMap::new();
    for sent in served.sent.iter().filter(|sent| !sent.is_proven) {
        let IpAddr::V4(peer) = sent.peer.ip() else { continue };
        let network = std::net::Ipv4Addr::from_bits(peer.to_bits() & !0xff).into();
        let [all, errors] = sockets.entry(network).or_default();
        *all += u64::from(sent.errors == 0 || sent.has_text());
        *errors += u64::from(sent.errors == 1 && sent.packets == 1 && sent.has_text());
    }
    let passes = |(_, [all, errors]): &(&IpAddr, &[u64; 2])| {
        *errors > answers || (!bounds.tells_closed && *all > answers + sessions)
    };
    match sockets.iter().find(passes) {
        Some((network, all)) => Err(format!("{network} got {all:?} answers in {seconds} s")),
        None => Ok(()),
    }
}

/// Uploads of many clients, of which few can be served at once: each dallies when it is done, and leaves for the next.
pub(crate) fn who_dallies_leaves(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let library = Library { seed, ..Library::in_memory(vec![b'x'; 2_000]) };
    let request = Request {
        operation: Operation::Write,
        name: b"file",
        mode: Mode::Octet,
        options: Options::NONE,
    };
    let clients = (0..40).map(|n| {
        let at = address([10, 0, n, 1], 2000);
        let wishes = Wishes::default().retries(30);
        let client = OwnClient::new(at, wishes, request, library.clone(), VecDeque::new());
        Arc::new(Mutex::new(client)) as Shared<dyn Client>
    });
    let sessions = random.pick(&[2, 5, 8]);
    let mut host = Host::new(seed, Files::new(library.clone()));
    // Where they share a port, nobody outside sees when one leaves.
    let model = std::iter::repeat_with(|| model(&mut random)).find(|it| *it != Model::SinglePort);
    host.config = Config::default().model(model.expect("another")).sessions(sessions);
    let path = Path { delay: Duration::from_micros(500), ..Path::default() };
    let network = Network::new(seed, path, Faults::default());
    let served = host.serve(World::new(network, clients.collect()), |_, _| {})?;
    // When each began to dally, and when it left.
    let mut dallied: Vec<(Time, Time)> = Vec::new();
    for session in &served.sessions {
        let outcome = session.summary.as_ref().and_then(|summary| summary.outcome.clone());
        if outcome != Some(Outcome::Complete) {
            return Err(format!("an upload ends with {outcome:?}"));
        }
        let own = served.sent.iter().find(|sent| sent.peer == session.query.peer);
        dallied.push((session.ended, own.and_then(|sent| sent.closed).ok_or("it stays open")?));
    }
    let is_evicted = |(began, left): &&(Time, Time)| *left - *began < limits::LONGEST_DALLY;
    let evicted = dallied.iter().filter(is_evicted).count();
    // The last stay until their time is over.
    if dallied.len() != 40 || !(40 - sessions..40).contains(&evicted) {
        return Err(format!("{evicted} of {} left for others", dallied.len()));
    }
    for (began, left) in dallied.iter().filter(is_evicted) {
        if let Some(longer) = dallied.iter().find(|other| other.0 < *began && other.1 > *left) {
            return Err(format!("{longer:?} stays longer than {:?}", (began, left)));
        }
    }
    Ok(())
}
