//! What loss costs: one file over paths that lose, against the same path without loss.

use super::client::OwnClient;
use super::disk::{Files, Library, Troubles};
use super::network::{CLIENT, Faults, Network, Path};
use super::serve::{Host, Served};
use super::sockets::Offload;
use super::world::World;
use crate::client::Wishes;
use crate::server::{Config, Model};
use crate::transfer::Outcome;
use crate::wire::{BlockSize, Mode, Operation, Options, Request, TransferOption, WindowSize};
use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

const FILE: usize = 512 << 10;
const BLOCK: u16 = 1428;
/// A gigabit.
const NANOS_PER_BYTE: u64 = 8;
const SEEDS: u64 = 100;

const LOSSES: [u64; 3] = [0, 1, 5];
const TRIPS: [u64; 2] = [1, 20];
const WINDOWS: [u16; 3] = [1, 16, 64];

/// One place of the matrix, all in hundredths of what it is without loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) loss: u64,
    pub(crate) trip: u64,
    pub(crate) window: u16,
    pub(crate) millis: u64,
    pub(crate) mean_time: u64,
    pub(crate) median_time: u64,
    pub(crate) mean_packets: u64,
}

/// Packets of the sender of one download of 200 blocks of 512 bytes, of which one datagram is held up.
pub(crate) fn held_up(micros: u64, window: u16, held: Option<(u64, Duration)>) -> u64 {
    let path = Path { delay: Duration::from_micros(micros), ..Path::default() };
    let disk = Troubles::default();
    of_512(Operation::Read, window, 200, path, Faults { held, ..Faults::default() }, disk)
}

/// Packets of the server of one download of so many blocks of 512 bytes, from a disk that takes its time.
pub(crate) fn read_slowly(window: u16, blocks: usize, slow_by: Duration) -> u64 {
    let path = Path { delay: Duration::from_micros(250), ..Path::default() };
    let disk = Troubles { slow: 10_000, slow_by, ..Troubles::default() };
    of_512(Operation::Read, window, blocks, path, Faults::default(), disk)
}

/// Packets of the sender of one transfer of so many blocks of 512 bytes.
pub(crate) fn sent(operation: Operation, window: u16, blocks: usize, faults: Faults) -> u64 {
    let delay = Duration::from_micros(250);
    let path = Path { delay, nanos_per_byte: NANOS_PER_BYTE, ..Path::default() };
    of_512(operation, window, blocks, path, faults, Troubles::default())
}

/// Packets of both sides where every packet comes twice, and how many there have to be.
pub(crate) fn doubled(operation: Operation, window: u16, way: Duration) -> (u64, u64) {
    const BLOCKS: u64 = 80;
    let size = TransferOption::BlockSize(BlockSize::MIN);
    let blocks = TransferOption::WindowSize(WindowSize::new(window).expect("a window"));
    let library = Library::in_memory(vec![b'x'; 8 * BLOCKS as usize - 5]);
    let path = Path { delay: way, ..Path::default() };
    let network = Network::new(0, path, Faults { copies: 10_000, ..Faults::default() });
    let options = Options::NONE.with(size).with(blocks);
    let (client, served) = transfer(operation, options, library.clone(), library, network);
    // Request and OACK, for a read ACK 0, the blocks, and an ACK for each window.
    let acks = BLOCKS.div_ceil(window.into()) + u64::from(operation == Operation::Read);
    (served.packets() + lock(&client).packets, 2 + BLOCKS + acks)
}

fn of_512(
    operation: Operation,
    window: u16,
    blocks: usize,
    path: Path,
    faults: Faults,
    disk: Troubles,
) -> u64 {
    let window = WindowSize::new(window).expect("a window");
    let options = Options::NONE.with(TransferOption::WindowSize(window));
    let library = Library::in_memory(vec![b'x'; blocks * 512 - 1]);
    let theirs = Library { troubles: disk, ..library.clone() };
    let network = Network::new(0, path, faults);
    let (client, served) = transfer(operation, options, library, theirs, network);
    if operation == Operation::Write { lock(&client).packets } else { served.packets() }
}

type Client = Arc<Mutex<OwnClient>>;

fn lock(client: &Client) -> MutexGuard<'_, OwnClient> {
    client.lock().expect("no panic")
}

/// Packets of the server of one download of 200 blocks of 512 bytes, over such a device.
pub(crate) fn offloaded(offload: Offload) -> u64 {
    let library = Library::in_memory(vec![b'x'; 200 * 512 - 1]);
    let path = Path { delay: Duration::from_micros(250), ..Path::default() };
    let mut host = Host::new(0, Files::new(library.clone()));
    host.offload = offload;
    of_64(host, Operation::Read, library, path).1.packets()
}

/// Packets of the server of one download of 200 blocks where its link takes so many bytes in two milliseconds.
pub(crate) fn held(send_buffer: usize, offload: Offload) -> u64 {
    let library = Library::in_memory(vec![b'x'; 200 * 512 - 1]);
    let mut host = Host::new(0, Files::new(library.clone()));
    (host.send_buffer, host.offload) = (Some(send_buffer), offload);
    of_64(host, Operation::Read, library, Path::default()).1.packets()
}

/// The window that an upload is granted where receive buffers have so many bytes.
pub(crate) fn granted(receive_buffer: usize) -> u16 {
    let library = Library::in_memory(vec![b'x'; 200 * 512 - 1]);
    let mut host = Host::new(0, Files::new(library.clone()));
    host.receive_buffer = Some(receive_buffer);
    let (client, _) = of_64(host, Operation::Write, library, Path::default());
    lock(&client).engine.transfer.summary().agreed.window().get()
}

fn of_64(host: Host, operation: Operation, library: Library, path: Path) -> (Client, Served) {
    let window = WindowSize::new(64).expect("a window");
    let options = Options::NONE.with(TransferOption::WindowSize(window));
    let network = Network::new(0, path, Faults::default());
    transfer_from(host, operation, options, library, network)
}

/// One whole transfer.
fn transfer(
    operation: Operation,
    options: Options,
    ours: Library,
    theirs: Library,
    network: Network,
) -> (Client, Served) {
    transfer_from(Host::new(0, Files::new(theirs)), operation, options, ours, network)
}

fn transfer_from(
    mut host: Host,
    operation: Operation,
    options: Options,
    ours: Library,
    network: Network,
) -> (Client, Served) {
    let request = Request { operation, name: b"file", mode: Mode::Octet, options };
    let client = OwnClient::new(CLIENT, Wishes::default(), request, ours, VecDeque::new());
    let client = Arc::new(Mutex::new(client));
    host.config = Config::default().model(Model::Events(NonZeroUsize::MIN));
    let served = host.serve(World::new(network, vec![client.clone()]), |_, _| {});
    let served = served.expect("no promise is broken");
    let outcome = lock(&client).engine.transfer.summary().outcome.clone();
    assert_eq!(outcome, Some(Outcome::Complete));
    (client, served)
}

/// Microseconds and packets of one download.
fn download(loss: u64, trip: u64, window: u16, seed: u64) -> (u64, u64) {
    let options = Options::NONE
        .with(TransferOption::BlockSize(BlockSize::new(BLOCK).expect("a size")))
        .with(TransferOption::WindowSize(WindowSize::new(window).expect("a window")));
    let path = Path {
        delay: Duration::from_micros(trip * 500),
        nanos_per_byte: NANOS_PER_BYTE,
        tells_closed: true,
        ..Path::default()
    };
    let faults = Faults { loss: loss * 100, ..Faults::default() };
    let library = Library::in_memory((0..FILE).map(|n| (n * 7 % 251) as u8).collect());
    let network = Network::new(seed, path, faults);
    let (client, served) = transfer(Operation::Read, options, library.clone(), library, network);
    let client = lock(&client);
    let elapsed = client.engine.transfer.summary().elapsed;
    (elapsed.as_micros() as u64, served.packets() + client.packets)
}

fn cell(loss: u64, trip: u64, window: u16) -> Cell {
    let (ideal_time, ideal_packets) = download(0, trip, window, 0);
    let runs: Vec<_> = (0..SEEDS).map(|seed| download(loss, trip, window, seed)).collect();
    let mut times: Vec<u64> = runs.iter().map(|(time, _)| time * 100 / ideal_time).collect();
    times.sort_unstable();
    let packets: u64 = runs.iter().map(|(_, packets)| packets).sum();
    Cell {
        loss,
        trip,
        window,
        millis: ideal_time / 1000,
        mean_time: times.iter().sum::<u64>() / SEEDS,
        median_time: times[times.len() / 2],
        mean_packets: packets * 100 / (SEEDS * ideal_packets),
    }
}

pub(crate) fn cells() -> Vec<Cell> {
    let rows: Vec<_> = LOSSES.iter().flat_map(|loss| TRIPS.map(|trip| (*loss, trip))).collect();
    std::thread::scope(|scope| {
        let row =
            |(loss, trip)| scope.spawn(move || WINDOWS.map(|window| cell(loss, trip, window)));
        let threads: Vec<_> = rows.into_iter().map(row).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

pub(crate) fn table(cells: &[Cell]) -> String {
    let mut out = String::from(
        "# A download of 512 KiB in blocks of 1,428 bytes at 1 Gbit/s, the mean of 100 seeds (and the median\n\
         # of their times), against the same path without loss. Made by tests/sim with SIM_UPDATE=1.\n\
         # loss %  RTT ms  window  loss-free ms  time x  median x  packets x\n",
    );
    let x = |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    for cell in cells {
        let Cell { loss, trip, window, millis, .. } = cell;
        let [mean, median, packets] = [cell.mean_time, cell.median_time, cell.mean_packets].map(x);
        writeln!(out, "{loss:8}{trip:8}{window:8}{millis:14}{mean:>8}{median:>10}{packets:>11}")
            .expect("a string takes everything");
    }
    out
}
