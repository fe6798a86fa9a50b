//! A run of the server that ships, on a simulated machine.

use super::disk::{Files, Ledger, place_of};
use super::machine::Machine;
use super::network::{Harm, SERVER};
use super::sockets::Offload;
use super::world::{Sent, World};
use crate::proto::Time;
use crate::query::Query;
use crate::server::{Config, Event, Gauges, Handle, Server};
use crate::store::Store;
use crate::transfer::Summary;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// A server and what it runs on.
pub(crate) struct Host {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) files: Files,
    pub(crate) offload: Offload,
    /// How many threads and sockets it can have.
    pub(crate) most_threads: usize,
    pub(crate) most_sockets: usize,
    /// Bytes that its receive buffers have.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
}

/// A transfer that began.
pub(crate) struct Session {
    pub(crate) query: Query,
    /// Missing for a listing.
    pub(crate) ledger: Option<Ledger>,
    /// Missing until it has its outcome.
    pub(crate) summary: Option<Summary>,
    /// When it had that.
    pub(crate) ended: Time,
    place: usize,
}

/// What came of a run.
pub(crate) struct Served {
    /// In the order in which they began.
    pub(crate) sessions: Vec<Session>,
    /// What each socket sent that sent anything.
    pub(crate) sent: Vec<Sent>,
    /// Requests that were refused and dropped, as they were told.
    pub(crate) turned_away: Vec<String>,
    pub(crate) harm: Harm,
}

impl Served {
    /// Packets that left, from whichever socket.
    pub(crate) fn packets(&self) -> u64 {
        self.sent.iter().map(|sent| sent.packets).sum()
    }
}

impl Host {
    pub(crate) fn new(seed: u64, files: Files) -> Self {
        let (config, offload) = (Config::default(), Offload::Works);
        let (most_threads, most_sockets) = (usize::MAX, usize::MAX);
        Self {
            seed,
            config,
            files,
            offload,
            most_threads,
            most_sockets,
            receive_buffer: None,
            send_buffer: None,
        }
    }

    /// Serves until nothing happens in the world any more, and stops then. Nothing may be left. `prepare` may have a
    /// look at the machine before it starts, and may stop the server by its handle at any time.
    pub(crate) fn serve(
        mut self,
        world: World,
        prepare: impl FnOnce(&Machine, &Handle),
    ) -> Result<Served, String> {
        let machine = Machine::new(self.seed, world);
        self.files.library.machine = Some(machine.clone());
        let told = Arc::new(Mutex::new(Told::default()));
        let (tell, opened) = (Arc::clone(&told), Arc::clone(&self.files.opened));
        let clock = machine.clone();
        let observer = move |event: Event<'_>| {
            let now = clock.state().now;
            let mut opened = opened.lock().expect("no panic");
            let ledger = |query: &Query| opened.remove(&place_of(query));
            tell.lock().expect("no panic").note(now, &event, ledger);
        };
        let config = self.config.clone().listen(SERVER);
        let run = || {
            let files: Box<dyn Store> = Box::new(self.files);
            let server = Server::bind_on(machine.system(), config, files, observer)
                .map_err(|why| why.to_string())?;
            let handle = server.handle();
            let mut state = machine.state();
            state.sockets.offload = self.offload;
            state.most_threads = self.most_threads;
            if let Some(bytes) = self.send_buffer {
                state.sockets.send_buffer = bytes;
            }
            if let Some(bytes) = self.receive_buffer {
                state.sockets.receive_buffer = bytes;
            }
            // The request port has one, too.
            state.sockets.most = self.most_sockets.saturating_add(1);
            let stop = handle.clone();
            state.world.when_quiet = Some(Box::new(move || stop.drain(Duration::ZERO)));
            drop(state);
            prepare(&machine, &handle);
            server.run().map_err(|why| why.to_string())?;
            machine.state().watch = None;
            machine.finish();
            is_clean(&handle, &machine)
        };
        let ran = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.unwrap_or_else(|| "the server panics".into()))
        });
        ran?;
        let world = &machine.state().world;
        let Told { sessions, turned_away, wrong } =
            std::mem::take(&mut *told.lock().expect("no panic"));
        wrong.map_or(Ok(()), Err)?;
        let (sent, harm) = (world.sent.values().copied().collect(), world.network.harm.clone());
        Ok(Served { sessions, sent, turned_away, harm })
    }
}

/// What is left when a server has stopped: nothing.
fn is_clean(handle: &Handle, machine: &Machine) -> Result<(), String> {
    let open: Vec<_> = machine.state().sockets.addresses().copied().collect();
    if !open.is_empty() {
        return Err(format!("sockets are left: {open:?}"));
    }
    if handle.gauges() != Gauges::default() {
        return Err(format!("what is counted in the end: {:?}", handle.gauges()));
    }
    Ok(())
}

#[derive(Default)]
struct Told {
    sessions: Vec<Session>,
    turned_away: Vec<String>,
    /// Something that may not be told.
    wrong: Option<String>,
}

impl Told {
    fn note(
        &mut self,
        now: Time,
        event: &Event<'_>,
        ledger: impl FnOnce(&Query) -> Option<Ledger>,
    ) {
        match event {
            Event::Started { query, .. } => self.sessions.push(Session {
                query: (*query).clone(),
                ledger: ledger(query),
                summary: None,
                ended: now,
                place: place_of(query),
            }),
            Event::Finished { query, summary, .. } => {
                let place = place_of(query);
                let of_it = |session: &&mut Session| session.place == place;
                // The place of one that is over may be another's.
                if let Some(session) = self.sessions.iter_mut().rev().find(of_it) {
                    (session.ended, session.summary) = (now, Some((*summary).clone()));
                }
            }
            Event::Progress { query, .. } => {
                let place = place_of(query);
                let of_it = |session: &&Session| session.place == place;
                let is_over = |session: &Session| session.summary.is_some();
                if self.sessions.iter().rev().find(of_it).is_some_and(is_over) {
                    self.wrong = Some(format!("progress after the end: {query}"));
                }
            }
            Event::Refused { .. } | Event::Dropped { .. } | Event::Failed { .. } => {
                self.turned_away.push(event.to_string());
            }
            _ => {}
        }
    }
}
