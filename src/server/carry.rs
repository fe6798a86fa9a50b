//! Who carries a transfer: a thread of its own, or a loop.

use super::admit::Ticket;
use super::serve::{self, Ride};
use super::{Model, Shared, StartError};
use crate::limits;
use crate::net::{Carrier, Clock, Door, RequestSocket, Watched, Workers};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The threads and loops of a server.
pub(super) struct Crew {
    model: Model,
    /// The loop that takes the requests.
    carrier: Carrier<Ride>,
    /// The other loops, and whose turn it is; 0 is the loop that takes the requests.
    others: Vec<Helper>,
    turn: usize,
    workers: Workers,
    threads: Arc<AtomicUsize>,
    /// How many request ports there are.
    ports: usize,
    ready: Vec<Watched>,
}

/// A loop on a thread of its own.
struct Helper {
    door: Door<Ride>,
    quitting: Arc<AtomicBool>,
}

impl Crew {
    pub(super) fn new(
        model: Model,
        clock: Clock,
        sockets: &[RequestSocket],
    ) -> Result<Self, StartError> {
        let workers = Workers::new(limits::STORAGE_THREADS);
        let carrier = || Carrier::new(clock, workers.clone()).map_err(StartError::Loop);
        let others = match model {
            Model::Events(loops) => loops.get() - 1,
            Model::Threads(_) | Model::Iterative => 0,
        };
        let others = (0..others).map(|_| Helper::start(carrier()?)).collect::<Result<_, _>>()?;
        let (carrier, threads) = (carrier()?, Arc::default());
        let (ports, ready) = (sockets.len(), Vec::new());
        let crew = Self { model, carrier, others, turn: 0, workers, threads, ports, ready };
        crew.open(sockets).map_err(StartError::Loop)?;
        Ok(crew)
    }

    /// The way to the loop that takes the requests.
    pub(super) fn door(&self) -> Door<Ride> {
        self.carrier.door()
    }

    fn open(&self, sockets: &[RequestSocket]) -> io::Result<()> {
        let mut named = sockets.iter().enumerate();
        named.try_for_each(|(n, socket)| self.carrier.watch(socket, Watched(n)))
    }

    /// Takes no more requests.
    pub(super) fn close(&self, sockets: &[RequestSocket]) {
        sockets.iter().for_each(|socket| self.carrier.unwatch(socket));
    }

    /// Waits for something to do, no longer than `most`; gives the sockets where requests wait.
    pub(super) fn turn(&mut self, most: Option<Duration>) -> io::Result<Vec<Watched>> {
        let crowded = self.carrier.turn(most, &mut self.ready)?;
        if crowded {
            // Among thousands of busy transfers a request port would have to wait for many turns.
            self.ready = (0..self.ports).map(Watched).collect();
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Whether no request may be taken now.
    pub(super) fn is_busy(&self, shared: &Shared) -> bool {
        self.model == Model::Iterative && shared.admission.sessions() > 0
    }

    /// Goes on with what is under way before the next request is taken.
    pub(super) fn finish_first(
        &mut self,
        shared: &Shared,
        sockets: &[RequestSocket],
    ) -> io::Result<()> {
        self.close(sockets);
        while self.is_busy(shared) && !shared.is_stopping() {
            self.turn(None)?;
        }
        self.open(sockets)
    }

    /// Has a request carried out.
    pub(super) fn carry(&mut self, shared: &Arc<Shared>, request: &[u8], ticket: Ticket) {
        match self.model {
            Model::Threads(most) if self.threads.load(Ordering::Relaxed) < most => {
                if let Err(ticket) = self.on_a_thread(shared, ticket) {
                    self.on_a_loop(shared, request, ticket);
                }
            }
            _ => self.on_a_loop(shared, request, ticket),
        }
    }

    /// Gives the ticket back when the system has no thread.
    fn on_a_thread(&self, shared: &Arc<Shared>, ticket: Ticket) -> Result<(), Ticket> {
        let (worker, count) = (Arc::clone(shared), Counted::new(&self.threads));
        // A thread that cannot be made drops what it was to do.
        let ticket = Arc::new(Mutex::new(Some(ticket)));
        let theirs = Arc::clone(&ticket);
        let take = |ticket: &Mutex<Option<Ticket>>| {
            ticket.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let thread = std::thread::Builder::new()
            .name("transfer".into())
            .stack_size(limits::THREAD_STACK)
            .spawn(move || {
                let _count = count;
                if let Some(ride) = take(&theirs).and_then(|ticket| serve::begin(&worker, ticket)) {
                    ride.run();
                }
            });
        match thread {
            Ok(_) => Ok(()),
            Err(_) => take(&ticket).map_or(Ok(()), Err),
        }
    }

    fn on_a_loop(&mut self, shared: &Arc<Shared>, request: &[u8], ticket: Ticket) {
        self.turn = (self.turn + 1) % (self.others.len() + 1);
        let other = self.turn.checked_sub(1).map(|n| &self.others[n].door);
        if serve::may_wait(shared, request) {
            let (shared, door) =
                (Arc::clone(shared), other.cloned().unwrap_or_else(|| self.door()));
            self.workers.run(move || {
                if let Some(ride) = serve::begin(&shared, ticket) {
                    door.board(ride);
                }
                // A loop that waits for the last transfer to end wants to know.
                shared.door.ring();
            });
            return;
        }
        match (serve::begin(shared, ticket), other) {
            (None, _) => {}
            (Some(ride), Some(door)) => door.board(ride),
            (Some(ride), None) => self.carrier.board(ride),
        }
    }
}

impl Helper {
    fn start(mut carrier: Carrier<Ride>) -> Result<Self, StartError> {
        let helper = Self { door: carrier.door(), quitting: Arc::default() };
        let quitting = Arc::clone(&helper.quitting);
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || {
                let mut nothing = Vec::new();
                while !quitting.load(Ordering::SeqCst) && carrier.turn(None, &mut nothing).is_ok() {
                }
            })
            .map_err(StartError::Thread)?;
        Ok(helper)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.quitting.store(true, Ordering::SeqCst);
        self.door.ring();
    }
}

/// Counts one more for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
