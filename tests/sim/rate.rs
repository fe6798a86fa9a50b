//! A rate that all downloads share, kept by the server that ships: how long some files take together.

use super::client::OwnClient;
use super::disk::{Files, Library};
use super::network::{Faults, Network, Path, address};
use super::serve::Host;
use super::world::{Shared, World};
use crate::client::Wishes;
use crate::server::{Budgets, Config, Model};
use crate::wire::{BlockSize, Mode, Operation, Options, Request, TransferOption, WindowSize};
use core::num::NonZeroU64;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Bytes in a second.
const RATE: u64 = 500_000;

/// Each client gets so many.
const FILE: usize = 500_000;

const BLOCK: u16 = 1400;

/// Clients that begin at once, each with one file in windows of so many blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) model: Model,
    pub(crate) clients: usize,
    pub(crate) window: u16,
    pub(crate) at_one_address: bool,
}

impl Case {
    /// When each has its file, in hundredths of the time in which the rate brings those of all.
    pub(crate) fn ends(self) -> Result<Vec<u64>, String> {
        let path = Path { delay: Duration::from_micros(150), nanos_per_byte: 8, ..Path::default() };
        let library = Library::in_memory((0..FILE).map(|n| (n * 7 % 251) as u8).collect());
        let mut host = Host::new(1, Files::new(library.clone()));
        let budgets = Budgets::default().rate(NonZeroU64::new(RATE));
        host.config = Config::default().model(self.model).budgets(budgets);
        let options = Options::NONE
            .with(TransferOption::BlockSize(BlockSize::new(BLOCK).expect("a size")))
            .with(TransferOption::WindowSize(WindowSize::new(self.window).expect("a window")));
        let operation = Operation::Read;
        let request = Request { operation, name: b"file", mode: Mode::Octet, options };
        let client = |n: usize| {
            let host = if self.at_one_address { 1 } else { n as u8 + 1 };
            let at = address([10, 0, 0, host], 2000 + n as u16);
            let (wishes, ours) = (Wishes::default(), library.clone());
            Arc::new(Mutex::new(OwnClient::new(at, wishes, request, ours, VecDeque::new())))
        };
        let clients: Vec<_> = (0..self.clients).map(client).collect();
        let actors = clients.iter().map(|client| client.clone() as Shared<_>).collect();
        host.serve(World::new(Network::new(1, path, Faults::default()), actors), |_, _| {})?;
        let packet = u64::from(BLOCK) + 4;
        let all = self.clients as u64 * FILE as u64 * packet / u64::from(BLOCK);
        let ends = clients.iter().map(|client| {
            let client = client.lock().expect("no panic");
            let took = client.engine.transfer.summary().elapsed.as_micros() as u64;
            took * RATE / all / 10_000
        });
        Ok(ends.collect())
    }
}
