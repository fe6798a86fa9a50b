//! What a narrow path with little room costs: one file through ports of many rates and buffers, against the same path
//! with room for all.

use super::client::OwnClient;
use super::disk::{Files, Library};
use super::network::{Bottleneck, CLIENT, Faults, Network, Path};
use super::peers::{EDK2, Habits, Peer, UBOOT};
use super::serve::Host;
use super::world::{Client, World};
use crate::client::Wishes;
use crate::server::{Config, Model};
use crate::wire::{BlockSize, Mode, Operation, Options, Request, TransferOption, WindowSize};
use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

const BLOCK: u16 = 1428;

/// One transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) mbits: u64,
    pub(crate) buffer: u64,
    pub(crate) window: u16,
    pub(crate) receiver: &'static str,
    /// There and back, in microseconds.
    pub(crate) trip: u64,
}

/// More than any window.
const DEEP: u64 = 8_000_000;

impl Case {
    fn path(&self) -> Path {
        let bits_per_second = self.mbits * 1_000_000;
        Path {
            delay: Duration::from_micros(self.trip / 2),
            jitter: Duration::ZERO,
            nanos_per_byte: 1,
            tells_closed: true,
            bottleneck: Some(Bottleneck {
                bits_per_second,
                burst_bytes: (bits_per_second / 8 / 2000).max(3200),
                buffer_bytes: self.buffer,
            }),
        }
    }

    /// A third of a second's worth, or what any pace can be found with.
    fn bytes(&self) -> usize {
        (self.mbits * 1_000_000 / 8 / 3).clamp(1_000_000, 8_000_000) as usize + 7
    }

    /// Whether firmware's timer fires within a window, which it then asks for again.
    pub(crate) fn outlasts_the_receiver(&self) -> bool {
        let bits = u64::from(self.window) * 8 * u64::from(BLOCK);
        !matches!(self.receiver, "get" | "put") && bits > self.mbits * 1_000_000
    }

    /// Microseconds that it takes.
    fn takes(&self) -> Result<u64, String> {
        let file: Vec<u8> = (0..self.bytes()).map(|n| (n * 7 % 251) as u8).collect();
        let network = Network::new(1, self.path(), Faults::default());
        let library = Library::in_memory(file.clone());
        let mut host = Host::new(1, Files::new(library.clone()));
        host.config = Config::default().model(Model::Events(NonZeroUsize::MIN));
        let options = Options::NONE
            .with(TransferOption::BlockSize(BlockSize::new(BLOCK).expect("a size")))
            .with(TransferOption::WindowSize(WindowSize::new(self.window).expect("a window")));
        let own = |operation| {
            let request = Request { operation, name: b"file", mode: Mode::Octet, options };
            let wishes = Wishes::default();
            let ours = library.clone();
            Arc::new(Mutex::new(OwnClient::new(CLIENT, wishes, request, ours, VecDeque::new())))
        };
        let run = |actor: Arc<Mutex<dyn Client>>, host: Host| {
            let world = World::new(network, vec![actor]);
            host.serve(world, |_, _| {}).map(drop)
        };
        match self.receiver {
            "get" | "put" => {
                let put = self.receiver == "put";
                let client = own(if put { Operation::Write } else { Operation::Read });
                run(client.clone(), host)?;
                let client = client.lock().expect("no panic");
                Ok(client.engine.transfer.summary().elapsed.as_micros() as u64)
            }
            name => {
                let habits = self.firmware(name);
                let client = Arc::new(Mutex::new(Peer::new(habits, Arc::new(file), CLIENT)));
                run(client.clone(), host)?;
                let client = client.lock().expect("no panic");
                let done = client.has_the_file().then(|| client.progress_at().as_micros());
                done.ok_or_else(|| "it does not get the file".into())
            }
        }
    }

    /// As firmware has it: it keeps nothing behind a gap, and waits a second.
    fn firmware(&self, name: &str) -> Habits {
        let window = self.window.to_string().leak();
        let options = vec![("blksize", "1428"), ("windowsize", &*window)].leak();
        let like = if name == "eager" { EDK2 } else { UBOOT };
        Habits { options, probes: false, repeats: (1000, 100, 1000), ..like }
    }

    /// How much of the port's rate it gets, in hundredths.
    fn share(&self) -> u64 {
        let headers = 4 + 42;
        let bits = (self.bytes() as u64 + 4) * 8 * (u64::from(BLOCK) + headers) / u64::from(BLOCK);
        let micros = self.takes().unwrap_or_else(|why| panic!("{self:?}: {why}"));
        bits * 100 / (self.mbits * micros)
    }
}

/// One place of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) case: Case,
    /// Of the port's rate, in hundredths: as it is, and with room for all.
    pub(crate) share: u64,
    pub(crate) deep: u64,
}

const PORTS: [(u64, u64); 9] = [
    (2, 6_000),
    (2, 20_000),
    (5, 30_000),
    (10, 6_000),
    (10, 20_000),
    (100, 9_000),
    (100, 15_000),
    (100, 60_000),
    (1000, 120_000),
];
const RECEIVERS: [&str; 4] = ["get", "plain", "eager", "put"];
const WINDOWS: [u16; 4] = [8, 16, 64, 256];

pub(crate) fn cells() -> Vec<Cell> {
    let row = |((mbits, buffer), receiver)| {
        WINDOWS.map(|window| {
            let case = Case { mbits, buffer, window, receiver, trip: 200 };
            Cell { case, share: case.share(), deep: Case { buffer: DEEP, ..case }.share() }
        })
    };
    let rows: Vec<_> = PORTS.iter().flat_map(|port| RECEIVERS.map(|who| (*port, who))).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = rows.into_iter().map(|it| scope.spawn(move || row(it))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

pub(crate) fn table(cells: &[Cell]) -> String {
    let mut out = String::from(
        "# What a transfer gets of a port's rate, in per cent, in blocks of 1,428 bytes: behind so little room, and behind room\n\
         # for all. 'plain' and 'eager' are downloads by firmware that keeps nothing behind a gap, and says so once or for\n\
         # each packet; 'get' and 'put' are our client. Made by tests/sim with SIM_UPDATE=1.\n\
         # Mbit/s  bytes  who     window  share  deep\n",
    );
    for Cell { case, share, deep } in cells {
        let Case { mbits, buffer, window, receiver, .. } = case;
        writeln!(out, "{mbits:8}{buffer:8}  {receiver:<8}{window:6}{share:7}{deep:6}")
            .expect("a string takes everything");
    }
    out
}
