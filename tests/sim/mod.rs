//! Whole transfers in virtual time, over a network that does what networks do.
//!
//! A seed is a run: `SIM_SEED=n` runs that one and prints every datagram, `SIM_SEEDS=n` runs so many, and with
//! `SIM_SEEDS=0 cargo test --release --lib sim::whole -- --nocapture` there is no end but the first promise that is
//! broken. In each, both sides are the transfers that ship, and what goes wrong is drawn from the seed: most faults are off, some are weak,
//! some strong. `SIM_UPDATE=1` writes `fixtures/simulation/matrix.txt` anew.
//!
//! The server is the one that ships, on a machine of its own (`machine.rs`): its request loop, admission, threads, event
//! loops and sessions run as they are, above simulated sockets, threads and time. Clients are our own transfers, and
//! models of others with their timers.

mod bottleneck;
mod client;
mod crash;
mod crowd;
mod disk;
mod engine;
mod flood;
mod machine;
mod matrix;
mod network;
mod peers;
mod random;
mod rate;
mod serve;
mod sockets;
mod swarm;
mod world;

use crate::limits;
use crate::proto::Time;
use crate::server::{Config, Model};
use crate::wire::Operation;
use core::num::NonZeroUsize;
use core::time::Duration;
use disk::{Files, Library};
use flood::Flood;
use network::{CLIENT, Faults, Network, Path};
use peers::{Habits, Peer};
use serve::{Host, Served};
use sockets::Offload;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use swarm::Verdict;
use world::World;

/// What the captures had.
const BLOCKS: usize = 119;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on as many threads as there are processors, and gives what each came to. Without a number there is no
/// end before the first that goes wrong.
fn all_of(seeds: Option<u64>) -> Vec<(u64, Result<Verdict, String>)> {
    let (next, wrong) = (AtomicU64::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = seeds.map_or_else(|| wrong.load(Ordering::Relaxed), |n| seed >= n);
                    if over {
                        return;
                    }
                    if seeds.is_none() && seed.is_multiple_of(10_000) {
                        println!("{seed} seeds");
                    }
                    let verdict = swarm::run(seed, false);
                    wrong.fetch_or(verdict.is_err(), Ordering::Relaxed);
                    done.lock().expect("no panic").push((seed, verdict));
                }
            });
        }
    });
    done.into_inner().expect("no panic")
}

#[test]
fn whole_transfers_keep_their_promises_on_any_network() {
    if let Some(seed) = number("SIM_SEED") {
        let verdict = swarm::run(seed, true);
        println!("seed {seed}: {verdict:?}");
        verdict.expect("no promise is broken");
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(3_000);
    let start = Instant::now();
    let mut done = all_of((seeds > 0).then_some(seeds));
    let seeds = done.len();
    let took = start.elapsed().as_secs_f64();
    done.sort_by_key(|(seed, _)| *seed);
    let count = |wanted| done.iter().filter(|(_, verdict)| *verdict == Ok(wanted)).count();
    println!(
        "{seeds} seeds in {took:.1} s, {:.0} a second: {} whole, {} failed, {} unconfirmed",
        seeds as f64 / took,
        count(Verdict::Whole),
        count(Verdict::Failed),
        count(Verdict::Unconfirmed),
    );
    let wrong: Vec<String> = done
        .iter()
        .filter_map(|(seed, verdict)| Some(format!("SIM_SEED={seed}: {}", verdict.as_ref().err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} seeds\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn a_crowd_is_served_within_all_bounds_whoever_else_is_there() {
    if let Some(seed) = number("SIM_SEED") {
        return crowd::run(seed, true).expect("no promise is broken");
    }
    let seeds = number("SIM_SEEDS").map_or(60, |seeds| seeds / 10 + 1);
    let wrong: Vec<_> = (0..seeds)
        .filter_map(|seed| Some(format!("SIM_SEED={seed}: {}", crowd::run(seed, false).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} seeds\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn after_a_crash_each_upload_is_whole_or_not_there_and_what_was_acknowledged_is() {
    for seed in 0..100 {
        crash::run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn who_has_dallied_longest_leaves_first_and_only_for_another() {
    for seed in 0..20 {
        crowd::who_dallies_leaves(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

fn cells() -> &'static [matrix::Cell] {
    static CELLS: OnceLock<Vec<matrix::Cell>> = OnceLock::new();
    CELLS.get_or_init(matrix::cells)
}

#[test]
fn what_loss_costs_is_what_it_was() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/simulation");
    let path = path.join("matrix.txt");
    let table = matrix::table(cells());
    if std::env::var_os("SIM_UPDATE").is_some() {
        std::fs::write(&path, &table).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    println!("{table}");
    assert_eq!(table, golden, "meant? SIM_UPDATE=1 writes fixtures/simulation/matrix.txt anew");
}

/// Where a burst of more than a few packets is lost in part, windows of any length get most of what they get elsewhere.
#[test]
fn a_narrow_path_with_little_room_is_used_whatever_the_window() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/simulation");
    let path = path.join("bottleneck.txt");
    let cells = bottleneck::cells();
    let table = bottleneck::table(&cells);
    if std::env::var_os("SIM_UPDATE").is_some() {
        std::fs::write(&path, &table).expect("it can be written");
    }
    println!("{table}");
    for cell in cells.iter().filter(|cell| !cell.case.outlasts_the_receiver()) {
        assert!(10 * cell.share >= 6 * cell.deep, "{cell:?}");
    }
    let most = cells.iter().filter(|cell| 10 * cell.share >= 9 * cell.deep).count();
    assert!(10 * most >= 8 * cells.len(), "{most} of {}", cells.len());
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(table, golden, "meant? SIM_UPDATE=1 writes fixtures/simulation/bottleneck.txt anew");
}

/// In hundredths of the time and of the packets without loss.
#[test]
fn loss_costs_no_more_than_it_should() {
    let cell = |loss, trip, window| {
        let mut all = cells().iter();
        *all.find(|it| (it.loss, it.trip, it.window) == (loss, trip, window)).expect("a cell")
    };
    for (window, most) in [(1, 130), (16, 145), (64, 145)] {
        let short = cell(1, 1, window);
        assert!(short.mean_time <= most, "{short:?}");
    }
    for window in [1, 16, 64] {
        let (short, long) = (cell(5, 1, window), cell(5, 20, window));
        assert!(short.mean_time <= 400 && long.mean_time <= 400, "{short:?}, {long:?}");
    }
    // Our receiver keeps what lies behind a gap: little more than what was lost is sent again.
    for (loss, most) in [(1, 106), (5, 130)] {
        for cell in cells().iter().filter(|cell| cell.loss == loss) {
            assert!(cell.mean_packets <= most, "{cell:?}");
        }
    }
}

#[test]
fn downloads_that_share_a_rate_use_the_whole_of_it_and_end_together() {
    // On one port blocks leave later for a reason of their own, until it is known that an address hears.
    let models = [Model::Threads(limits::THREADS), Model::Events(NonZeroUsize::MIN)];
    for (model, clients) in models.into_iter().flat_map(|it| [1, 2, 4, 8].map(|n| (it, n))) {
        for (window, at_one_address) in [(1, false), (1, true), (8, false), (8, true)] {
            let case = rate::Case { model, clients, window, at_one_address };
            let ends = case.ends().unwrap_or_else(|why| panic!("{case:?}: {why}"));
            let (first, last) = (ends.iter().min().expect("one"), ends.iter().max().expect("one"));
            assert!((94..=105).contains(last), "{last} hundredths of the time it takes: {case:?}");
            assert!(last - first <= 6, "one ends early, others late: {ends:?}: {case:?}");
        }
    }
}

/// One packet too many must not bring another, and that the next, to the end of the file.
#[test]
fn a_path_without_loss_and_one_datagram_held_up_cost_a_few_packets() {
    let mut chains = Vec::new();
    for (micros, window) in
        [500, 20_000, 150_000].into_iter().flat_map(|m| [1, 2, 3, 8].map(|w| (m, w)))
    {
        let holds = (1..=60).flat_map(|place| [1, 12, 60, 300, 837].map(|ms| Some((place, ms))));
        for hold in std::iter::once(None).chain(holds) {
            let held = hold.map(|(place, ms)| (place, Duration::from_millis(ms)));
            let packets = matrix::held_up(micros, window, held);
            // Where the answer takes longer than the request waits, it is sent twice.
            let least =
                201 + [50_000, 150_000].iter().filter(|&&asked| 2 * micros > asked).count() as u64;
            let most = least + if held.is_some() { 6 * u64::from(window) + 6 } else { 0 };
            if packets > most {
                chains.push(format!(
                    "{micros} us, window {window}, datagram {hold:?} ms late: {packets} packets for 201"
                ));
            }
        }
    }
    let few = chains[..chains.len().min(20)].join("\n");
    assert!(chains.is_empty(), "{} chains\n{few}", chains.len());
}

/// A foreign client, and the server that has so many blocks for it.
struct Foreign {
    client: Arc<Mutex<Peer>>,
    host: Host,
    network: Network,
}

impl Foreign {
    fn new(habits: Habits, blocks: usize, seed: u64, faults: Faults) -> Self {
        let len = blocks * habits.block_size - 100;
        let file = Arc::new((0..len).map(|n| (n * 7 % 251) as u8).collect::<Vec<u8>>());
        let path = Path {
            delay: Duration::from_micros(250),
            nanos_per_byte: 8,
            tells_closed: true,
            ..Path::default()
        };
        let mut host = Host::new(seed, Files::new(Library::in_memory(file.to_vec())));
        host.config = Config::default().model(Model::Events(NonZeroUsize::MIN));
        let client = Arc::new(Mutex::new(Peer::new(habits, file, CLIENT)));
        Self { client, host, network: Network::new(seed, path, faults) }
    }

    /// Runs it to its end. The client gets its file.
    fn served(self) -> Result<Served, String> {
        let mut world = World::new(self.network, vec![self.client.clone()]);
        world.trace = number("SIM_SEED").is_some();
        let served = self.host.serve(world, |_, _| {})?;
        let has_it = self.client.lock().expect("no panic").has_the_file();
        if has_it { Ok(served) } else { Err("it does not get the file".into()) }
    }
}

#[test]
fn foreign_clients_get_their_file_through_two_percent_of_loss() {
    let seeds = number("SIM_SEED").map_or(0..50, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    let mut failed = Vec::new();
    for habits in peers::ALL {
        let (mut packets, mut millis) = (0, 0);
        for seed in seeds.clone() {
            let faults = Faults { loss: 200, ..Faults::default() };
            let foreign = Foreign::new(habits, BLOCKS, seed, faults);
            let client = foreign.client.clone();
            match foreign.served() {
                Ok(served) => packets += served.packets(),
                Err(why) => failed.push(format!("{} SIM_SEED={seed}: {why}", habits.name)),
            }
            millis += client.lock().expect("no panic").progress_at().as_micros() / 1000;
        }
        println!(
            "{}: {} packets and {} ms for {BLOCKS} blocks",
            habits.name,
            packets / count,
            millis / count
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A network that doubles every DATA once made another server send 227,464 packets for these blocks, and one that
/// loses every twentieth once 88,255.
#[test]
fn no_storm_costs_more_than_twice_the_blocks() {
    let storms = [
        ("every DATA twice", Faults { doubled_data: true, ..Faults::default() }),
        ("every 20th DATA lost once", Faults { lost_once: Some(20), ..Faults::default() }),
    ];
    let (mut storming, most) = (Vec::new(), 2 * BLOCKS as u64);
    for (storm, faults) in storms {
        let mut judge = |who: &str, packets: u64| {
            println!("{storm}: {packets} packets to {who} for {BLOCKS} blocks");
            if packets > most {
                storming.push(format!("{storm}: {packets} packets to {who}"));
            }
        };
        for habits in peers::ALL {
            let served = Foreign::new(habits, BLOCKS, 1, faults.clone()).served();
            judge(habits.name, served.expect("the file").packets());
        }
        for window in [1, 2, 4, 8, 16, 64] {
            for operation in [Operation::Read, Operation::Write] {
                let sent = matrix::sent(operation, window, BLOCKS, faults.clone());
                judge(&format!("our own side, {operation:?} in windows of {window}"), sent);
            }
        }
    }
    assert!(storming.is_empty(), "more than {most}:\n{}", storming.join("\n"));
}

#[test]
fn when_every_packet_comes_twice_at_most_twice_as_many_are_sent() {
    for (n, window) in (1..30).flat_map(|n| [1, 4, 16].map(|window| (n, window))) {
        for operation in [Operation::Read, Operation::Write] {
            let way = Duration::from_micros(300 * n);
            let (packets, least) = matrix::doubled(operation, window, way);
            let case = format!("{way:?}, {operation}, {window}");
            assert!(packets <= 2 * least, "{case}: {packets} for {least}");
        }
    }
}

/// Busybox asks four times within half a second, PXELINUX five times: where the first answer takes so long, the burst
/// is one session, and its answers bring nothing that lasts to the end of the file.
#[test]
fn a_burst_of_requests_is_one_session() {
    for habits in peers::ALL {
        let mut foreign = Foreign::new(habits, 20, 1, Faults::default());
        foreign.network.path.delay = Duration::from_millis(240);
        let served = foreign.served().expect("the file");
        let sent = served.packets();
        println!("{}: {sent} packets for 20 blocks, 0.48 s away", habits.name);
        // EDK2's question for the size is one of its own.
        assert_eq!(served.sessions.len(), 1 + usize::from(habits.probes), "{}", habits.name);
        let most = 20 + u64::from(limits::UNPROVEN_PACKETS);
        assert!(sent <= most, "{sent} packets to {}", habits.name);
    }
}

/// Where all share one port he need not see what he acknowledges.
#[test]
fn a_forger_who_counts_blocks_gets_no_more_than_the_budget_of_a_network() {
    const WINDOWS: u16 = 60;
    // The widest that is granted, 1 MiB.
    const WINDOW: u16 = 732;
    let (every, window_bytes) = (Duration::from_millis(100), u64::from(WINDOW) * 1428);
    let len = u64::from(WINDOWS) * window_bytes;
    let mut host = Host::new(1, Files::new(Library::in_memory(vec![7; len as usize])));
    host.config = Config::default().model(Model::SinglePort);
    let forger = Arc::new(Mutex::new(Flood::counting(CLIENT, WINDOWS, WINDOW, every)));
    let network = Network::new(1, Path::default(), Faults::default());
    let served = host.serve(World::new(network, vec![forger]), |_, _| {}).expect("no harm");
    let bytes: u64 = served.sent.iter().map(|sent| sent.bytes).sum();
    let seconds = limits::UNHEARD_BURST_SECONDS + (u32::from(WINDOWS) * every).as_secs() as u32;
    let budget = u64::from(limits::UNHEARD_RATE_OF_NETWORK * seconds);
    println!("{bytes} of {len} bytes, where {budget} may leave");
    // Behind it are some windows that are sent again, by the timer.
    assert!(bytes < budget + 5 * window_bytes, "{bytes} bytes");
    assert!(bytes > budget / 2, "he gets what there is: {bytes} bytes");
}

/// What a device refuses leaves packet by packet, at once.
#[test]
fn a_device_that_knows_no_bursts_or_fails_at_them_costs_no_packet() {
    for offload in [Offload::Works, Offload::Unknown, Offload::Fails] {
        assert_eq!(matrix::offloaded(offload), 201, "{offload:?}");
    }
}

/// What finds no room in the socket leaves when there is, and what was sent already does not leave again for it.
#[test]
fn a_link_that_takes_little_at_a_time_costs_no_packet() {
    for send_buffer in [500, 5_000, 50_000] {
        for offload in [Offload::Works, Offload::Unknown] {
            let sent = matrix::held(send_buffer, offload);
            assert_eq!(sent, 201, "{send_buffer} bytes at a time, {offload:?}");
        }
    }
}

/// The kernel may give less than is asked for, and the window is what it gave.
#[test]
fn an_upload_gets_the_window_that_its_socket_holds() {
    // What 512 bytes cost with all that the kernel keeps of a datagram.
    let each = 1024 + 256;
    let granted = [65, 64, 63, 7, 1, 0].map(|blocks| matrix::granted(blocks * each));
    assert_eq!(granted, [64, 64, 63, 7, 1, 1]);
}

/// A read that takes longer than the interval must not look like a loss.
#[test]
fn a_slow_disk_costs_time_and_no_packets() {
    for window in [1, 4, 64] {
        let sent = matrix::read_slowly(window, 200, Duration::from_millis(300));
        assert_eq!(sent, 201, "window {window}");
    }
}

/// GRUB's consumer may draw or unpack for many seconds; nothing is acknowledged then.
#[test]
fn a_client_that_stalls_for_twenty_seconds_gets_its_file() {
    let slow = Habits { consumer: Some((50, 20_000)), ..peers::GRUB };
    let served = Foreign::new(slow, 52, 1, Faults::default()).served();
    let sent = served.expect("the file").packets();
    println!("{sent} packets for 52 blocks and 20 s of silence");
    assert!(sent <= 52 + 20, "{sent} packets");
}

/// lpxelinux has one port for all its files and asks for the next as soon as it has one; so does a machine that was
/// reset in the middle.
#[test]
fn a_client_that_comes_back_to_its_port_is_served_at_once() {
    for (blocks, faults) in [(20, 0), (20, 200)] {
        for seed in 0..20 {
            let faults = Faults { loss: faults, ..Faults::default() };
            let foreign = Foreign::new(peers::PXELINUX, blocks, seed, faults);
            let mut client = foreign.client.lock().expect("no panic");
            client.resets_at = Some(Time::from_micros(4_000));
            client.files = 3;
            drop(client);
            foreign.served().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
    }
}
