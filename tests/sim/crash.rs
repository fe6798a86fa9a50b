//! The machine loses its power while many upload: what had its last ACK is there, and of all else the old file or the new
//! one, whole.

use super::client::OwnClient;
use super::crowd;
use super::disk::{Files, Library};
use super::network::{Faults, Network, Path, address};
use super::random::Random;
use super::serve::Host;
use super::world::{Client, Shared, World};
use crate::client::Wishes;
use crate::server::Config;
use crate::store::Uploads;
use crate::store::crash::Disk;
use crate::transfer::Outcome;
use crate::wire::{Mode, Operation, Options, Request};
use core::time::Duration;
use std::collections::VecDeque;
use std::path::Path as Name;
use std::sync::{Arc, Mutex};

/// Names in the folder, and what some of them have before.
const NAMES: [(&str, Option<&[u8]>); 6] = [
    ("new", None),
    ("old", Some(b"what was there")),
    ("other", Some(b"")),
    ("dir/new", None),
    ("dir/sub/new", None),
    ("there/old", Some(b"what was there, too")),
];

/// Bytes that each of them would have after its upload.
fn bytes(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(1_500).collect()
}

pub(crate) fn run(seed: u64) -> Result<(), String> {
    let (disk, complete) = uploaded(seed, usize::MAX)?;
    if complete.len() != NAMES.len() {
        return Err(format!("without a crash only {complete:?} are stored"));
    }
    let mut random = Random::new(seed);
    let calls = disk.calls().len() as u64;
    let (disk, complete) = uploaded(seed, random.below(calls + 1) as usize)?;
    for _ in 0..20 {
        let left = disk.left(|of| random.below(of as u64) as usize);
        let tree = left.tree();
        for (name, before) in NAMES {
            let new = bytes(name);
            let is_whole = match tree.get(Name::new(name)) {
                Some(Some(found)) => {
                    *found == new || before == Some(found) && !complete.contains(&name)
                }
                Some(None) => false,
                None => before.is_none() && !complete.contains(&name),
            };
            if !is_whole {
                return Err(format!(
                    "{name} after {} of {calls} calls: {left:?}",
                    disk.calls().len()
                ));
            }
        }
    }
    Ok(())
}

/// Uploads all names to a server whose disk is gone before call `cut`. Gives the disk, and whose last ACK came.
fn uploaded(seed: u64, cut: usize) -> Result<(Disk, Vec<&'static str>), String> {
    let mut random = Random::new(seed);
    let disk = Disk::new();
    let old = NAMES.iter().filter_map(|(name, before)| Some((name, (*before)?)));
    old.for_each(|(name, before)| disk.put(name, before, 0o644));
    disk.cut_before(cut);
    let clients: Vec<_> = NAMES
        .iter()
        .enumerate()
        .map(|(n, (name, _))| {
            let (operation, mode, options) = (Operation::Write, Mode::Octet, Options::NONE);
            let request = Request { operation, name: name.as_bytes(), mode, options };
            let library = Library::in_memory(bytes(name));
            let at = address([10, 0, n as u8, 1], 2000);
            let client = OwnClient::new(at, Wishes::default(), request, library, VecDeque::new());
            Arc::new(Mutex::new(client))
        })
        .collect();
    let mut host = Host::new(seed, Files::new(Library::in_memory(Vec::new())));
    host.config = Config::default().model(crowd::model(&mut random));
    host.files.folder = Some(Box::new(disk.serve(Uploads::Overwrite, true)));
    let path = Path { delay: Duration::from_micros(500), ..Path::default() };
    let network = Network::new(seed, path, Faults { loss: 100, ..Faults::default() });
    let shared = clients.iter().map(|client| client.clone() as Shared<dyn Client>);
    host.serve(World::new(network, shared.collect()), |_, _| {})?;
    let complete = clients.iter().zip(NAMES).filter_map(|(client, (name, _))| {
        let client = client.lock().expect("no panic");
        let outcome = client.engine.transfer.summary().outcome.clone();
        (outcome == Some(Outcome::Complete)).then_some(name)
    });
    Ok((disk, complete.collect()))
}
