//! The dispatcher: what drives a transfer, a thread of its own or an event loop.

use super::active::ActiveTransfer;
use super::open;
use super::permit::Permit;
use super::policy::{DropReason, Profile};
use super::process::ActiveProcess;
use super::pulse::Pulse;
use super::start::{start, start_apart};
use super::{Model, Shared, StartError, answer};
use crate::limits;
use crate::net::{Delivery, EventLoop, Mailbox, Pools, RequestSocket, Requested, SocketId, System};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The threads and event loops of a server.
pub(super) struct Dispatcher {
    model: Model,
    /// The loop that takes the requests.
    event_loop: EventLoop<ActiveTransfer>,
    /// The other loops, and which loop gets the next transfer; 0 is the one that takes the requests.
    others: Vec<OtherLoop>,
    next_loop: usize,
    system: Arc<dyn System>,
    /// Threads for what may wait.
    pools: Pools,
    threads: Arc<AtomicUsize>,
    /// How many request ports there are.
    ports: usize,
    ready: Vec<SocketId>,
    pulse: Arc<Pulse>,
}

/// An event loop on a thread of its own, which starts with the server.
struct OtherLoop {
    mailbox: Mailbox<ActiveTransfer>,
    stopping: Arc<AtomicBool>,
    /// There until its thread starts.
    event_loop: Option<EventLoop<ActiveTransfer>>,
}

impl Dispatcher {
    pub(super) fn new(
        model: Model,
        system: &Arc<dyn System>,
        sockets: &[Arc<RequestSocket>],
    ) -> Result<Self, StartError> {
        let pools = Pools::new(&**system);
        let event_loop =
            || EventLoop::new(Arc::clone(system), pools.clone()).map_err(StartError::Loop);
        let others = match model {
            Model::Events(loops) => loops.get() - 1,
            Model::Threads(_) | Model::Processes(_) | Model::SinglePort | Model::Iterative => 0,
        };
        let others = (0..others).map(|_| event_loop().map(OtherLoop::new));
        let others = others.collect::<Result<_, _>>()?;
        let (event_loop, threads) = (event_loop()?, Arc::default());
        let (ports, ready) = (sockets.len(), Vec::new());
        let (next_loop, system) = (0, Arc::clone(system));
        let dispatcher = Self {
            model,
            event_loop,
            others,
            next_loop,
            system,
            pools,
            threads,
            ports,
            ready,
            pulse: Arc::default(),
        };
        dispatcher.watch(sockets).map_err(StartError::Loop)?;
        Ok(dispatcher)
    }

    /// Starts the threads of the other loops. Before, a server has none, so that what its process gives up once it is bound
    /// is given up by all of them.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.others.iter_mut().try_for_each(|other| other.start(&*self.system))
    }

    /// The way to the loop that takes the requests.
    pub(super) fn mailbox(&self) -> Mailbox<ActiveTransfer> {
        self.event_loop.mailbox()
    }

    /// Whether the loop that takes the requests comes round.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    fn watch(&self, sockets: &[Arc<RequestSocket>]) -> io::Result<()> {
        let mut named = sockets.iter().enumerate();
        named.try_for_each(|(n, socket)| self.event_loop.watch(socket, SocketId(n)))
    }

    /// Takes no more requests.
    pub(super) fn unwatch(&self, sockets: &[Arc<RequestSocket>]) {
        sockets.iter().for_each(|socket| self.event_loop.unwatch(socket));
    }

    /// Waits for something to do, no longer than `most`; gives the sockets where requests wait.
    pub(super) fn turn(&mut self, most: Option<Duration>) -> io::Result<Vec<SocketId>> {
        self.pulse.beat();
        let crowded = match self.model {
            // What came for its transfers is not read yet.
            Model::SinglePort => self.event_loop.wait(most, &mut self.ready)?,
            _ => self.event_loop.turn(most, &mut self.ready)?,
        };
        if crowded {
            // Among thousands of busy transfers a request port would have to wait for many turns.
            self.ready = (0..self.ports).map(SocketId).collect();
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Hands a datagram to the transfer on this port that it belongs to. Tells whether there is one.
    pub(super) fn deliver(
        &mut self,
        socket: &RequestSocket,
        datagram: &[u8],
        from: &Requested,
    ) -> bool {
        let delivery = socket.deliver(datagram, from);
        if let Delivery::For(key) = delivery {
            self.event_loop.look(key);
        }
        delivery != Delivery::Stray
    }

    /// Lets those act whose time has come, behind a [`turn`](Self::turn) after which everything was delivered.
    pub(super) fn run_due(&mut self) {
        if self.model == Model::SinglePort {
            self.event_loop.run_due();
        }
    }

    /// Whether no request may be taken now.
    pub(super) fn is_busy(&self, shared: &Shared) -> bool {
        self.model == Model::Iterative && shared.admission.under_way() > 0
    }

    /// Goes on with what is under way before the next request is taken.
    pub(super) fn finish_first(
        &mut self,
        shared: &Shared,
        sockets: &[Arc<RequestSocket>],
    ) -> io::Result<()> {
        self.unwatch(sockets);
        while self.is_busy(shared) && !shared.is_stopping() {
            self.turn(None)?;
        }
        self.watch(sockets)
    }

    /// Has a session served.
    pub(super) fn dispatch(&mut self, shared: &Arc<Shared>, task: Task) {
        let task = match self.model {
            Model::Threads(most) if self.has_thread(most) => {
                self.on_a_thread(shared, task, Task::run)
            }
            Model::Processes(most) => {
                // Who gave way to this one may not have ended yet.
                let left = match self.has_thread(most.saturating_add(limits::PROCESSES_ENDING)) {
                    true => self.on_a_thread(shared, task, Task::run_apart),
                    false => Some(task),
                };
                // Nowhere else is it as well apart.
                return left.into_iter().for_each(|task| task.drop_for_now(shared));
            }
            _ => Some(task),
        };
        if let Some(task) = task {
            self.on_a_loop(shared, task);
        }
    }

    fn has_thread(&self, most: usize) -> bool {
        self.threads.load(Ordering::Relaxed) < most
    }

    /// Gives the task back when the system has no thread for it.
    fn on_a_thread(
        &self,
        shared: &Arc<Shared>,
        task: Task,
        run: fn(Task, &Arc<Shared>),
    ) -> Option<Task> {
        let (shared, count) = (Arc::clone(shared), Counted::new(&self.threads));
        // A thread that cannot be made drops what it was to do.
        let task = Arc::new(Mutex::new(Some(task)));
        let theirs = Arc::clone(&task);
        let take =
            |task: &Mutex<Option<Task>>| task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = move || {
            let _count = count;
            if let Some(task) = take(&theirs) {
                run(task, &shared);
            }
        };
        match self.system.spawn("transfer", Box::new(work)) {
            Ok(()) => None,
            Err(_) => take(&task),
        }
    }

    fn on_a_loop(&mut self, shared: &Arc<Shared>, task: Task) {
        self.next_loop = (self.next_loop + 1) % (self.others.len() + 1);
        let other = self.next_loop.checked_sub(1).map(|n| &self.others[n].mailbox);
        let store = task.profile.store_or(&*shared.store);
        let served = task.profile.served(&task.permit.entry().query);
        if let Some(waiting) = open::waiting(store, &served, &task.profile) {
            let mailbox = other.cloned().unwrap_or_else(|| self.mailbox());
            let (shared, wake) = (Arc::clone(shared), WakeOnDrop(self.mailbox()));
            let work = move || {
                let _wake = wake;
                if let Some(transfer) = task.start(&shared) {
                    mailbox.add(transfer);
                }
            };
            return self.pools.run(waiting, Box::new(work));
        }
        match (task.start(shared), other) {
            (None, _) => {}
            (Some(transfer), Some(mailbox)) => mailbox.add(transfer),
            (Some(transfer), None) => self.event_loop.add(transfer),
        }
    }
}

/// A loop that waits for the last transfer to end wants to know when what it may have been is over.
struct WakeOnDrop(Mailbox<ActiveTransfer>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// A session that is to be served.
pub(super) struct Task {
    pub(super) permit: Permit,
    pub(super) profile: Profile,
    /// The port that was asked.
    pub(super) socket: Arc<RequestSocket>,
}

impl Task {
    fn start(self, shared: &Arc<Shared>) -> Option<ActiveTransfer> {
        start(shared, &self.socket, self.permit, &self.profile)
    }

    /// Serves it on this thread.
    fn run(self, shared: &Arc<Shared>) {
        if let Some(transfer) = self.start(shared) {
            transfer.run();
        }
    }

    /// Has it served by a process, and this thread serves that.
    fn run_apart(self, shared: &Arc<Shared>) {
        if let Some(process) = self.start_apart(shared) {
            process.run();
        }
    }

    /// The port that was asked is let go: it is to be closed when no more requests are taken.
    fn start_apart(self, shared: &Arc<Shared>) -> Option<ActiveProcess> {
        start_apart(shared, &self.socket, self.permit, &self.profile)
    }

    /// There is no room for it.
    fn drop_for_now(self, shared: &Arc<Shared>) {
        let entry = Arc::clone(self.permit.entry());
        drop(self);
        answer::dropped(shared, &entry.query, &DropReason::TooManySessions);
    }
}

impl OtherLoop {
    fn new(event_loop: EventLoop<ActiveTransfer>) -> Self {
        let mailbox = event_loop.mailbox();
        Self { mailbox, stopping: Arc::default(), event_loop: Some(event_loop) }
    }

    fn start(&mut self, system: &dyn System) -> io::Result<()> {
        let Some(mut event_loop) = self.event_loop.take() else { return Ok(()) };
        let stopping = Arc::clone(&self.stopping);
        let work = move || {
            let mut watched = Vec::new();
            while !stopping.load(Ordering::SeqCst) && event_loop.turn(None, &mut watched).is_ok() {}
        };
        system.spawn("events", Box::new(work))
    }
}

impl Drop for OtherLoop {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.mailbox.wake();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Kernel;

    #[test]
    fn a_loop_is_woken_when_what_may_have_been_its_last_transfer_was_none() {
        let system: Arc<dyn System> = Kernel::start();
        let pools = Pools::new(&*system);
        let mut event_loop = EventLoop::new(Arc::clone(&system), pools).expect("a loop");
        drop(WakeOnDrop(event_loop.mailbox()));
        let (most, asked) = (Duration::from_secs(10), system.now());
        event_loop.turn(Some(most), &mut Vec::new()).expect("a turn");
        assert!(system.now() - asked < most, "a server that stops waits for nothing");
    }

    #[test]
    fn a_loop_of_a_server_that_is_gone_wakes_to_end() {
        let system: Arc<dyn System> = Kernel::start();
        let pools = Pools::new(&*system);
        let mut event_loop = EventLoop::new(Arc::clone(&system), pools).expect("a loop");
        let (mailbox, stopping) = (event_loop.mailbox(), Arc::<AtomicBool>::default());
        let other = OtherLoop { mailbox, stopping: Arc::clone(&stopping), event_loop: None };
        drop(other);
        let (most, asked) = (Duration::from_secs(10), system.now());
        event_loop.turn(Some(most), &mut Vec::new()).expect("a turn");
        assert!(stopping.load(Ordering::SeqCst), "it goes on");
        assert!(system.now() - asked < most, "it waits for ever, and its thread stays");
    }
}
