//! The machine that a server runs on: threads that take turns, and a clock that only moves when all of them wait.
//!
//! Threads are real ones, of which one runs at a time: whoever waits for a datagram, a time or a disk hands over to
//! another that is ready, drawn from the seed, or lets the world outside go on. So a seed is one run, again and again.

use super::random::Random;
use super::sockets::{Socket, SocketId, Sockets};
use super::world::World;
use crate::net::{Job, Poller, Pool, System, Udp, WOKEN};
use crate::proto::Time;
use core::time::Duration;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

pub(crate) type ThreadId = usize;

/// The thread that made the machine.
const MAIN: ThreadId = 0;

thread_local! {
    /// Which thread of its machine this is.
    static CURRENT: Cell<ThreadId> = const { Cell::new(MAIN) };
}

/// No simulation lasts so long.
const END_OF_TIME: Duration = Duration::from_secs(4 * 3600);

/// What happens at one moment ends sooner, or never.
const STEPS_AT_ONCE: u32 = 100_000;

/// A machine. Its clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) world: World,
    pub(crate) sockets: Sockets,
    pub(crate) random: Random,
    /// How many threads it can have besides the first.
    pub(crate) most_threads: usize,
    /// Called again and again when a thread hands over.
    pub(crate) watch: Option<Watch>,
    pollers: Vec<PollerState>,
    threads: BTreeMap<ThreadId, Waiting>,
    running: ThreadId,
    last_thread: ThreadId,
    steps: u64,
    steps_at_once: u32,
    failure: Option<String>,
}

/// Of so many steps one is watched: to look is more work than what happens.
const WATCHED: u64 = 5;

/// Looks whether all is as it must be.
pub(crate) type Watch = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Something that is done to the server from outside, as another thread of its program would.
pub(crate) type Action = Box<dyn FnOnce() + Send>;

struct Waiting {
    thread: Option<Thread>,
    for_what: Wait,
    until: Option<Time>,
}

/// What a thread that does not run waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Turn,
    Time,
    Socket(SocketId),
    Poller(usize),
    /// That all other threads are over.
    Others,
}

#[derive(Default)]
struct PollerState {
    woken: bool,
    sockets: BTreeMap<SocketId, u64>,
}

impl Machine {
    pub(crate) fn new(seed: u64, world: World) -> Self {
        let main =
            Waiting { thread: Some(std::thread::current()), for_what: Wait::Turn, until: None };
        CURRENT.set(MAIN);
        Self(Arc::new(Mutex::new(State {
            now: Time::START,
            world,
            sockets: Sockets::default(),
            random: Random::new(seed),
            most_threads: usize::MAX,
            watch: None,
            pollers: Vec::new(),
            threads: [(MAIN, main)].into(),
            running: MAIN,
            last_thread: MAIN,
            steps: 0,
            steps_at_once: 0,
            failure: None,
        })))
    }

    pub(crate) fn system(&self) -> Arc<dyn System> {
        Arc::new(self.clone())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all other threads are over.
    pub(crate) fn finish(&self) {
        drop(self.wait(self.state(), Wait::Others, None));
    }

    /// The thread that calls this spends time, at a disk perhaps.
    pub(crate) fn spend(&self, span: Duration) {
        let state = self.state();
        let until = state.now + span;
        drop(self.wait(state, Wait::Time, Some(until)));
    }

    /// What is done until `ready` or the time has come is done by others.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        for_what: Wait,
        until: Option<Time>,
    ) -> MutexGuard<'a, State> {
        let me = CURRENT.get();
        assert_eq!(state.running, me, "a thread that is not of this machine");
        if let Some(waiting) = state.threads.get_mut(&me) {
            (waiting.for_what, waiting.until) = (for_what, until);
        }
        self.hand_over(state);
        self.resume(me)
    }

    /// Lets another thread run, or the same, or the time go on until one is ready.
    fn hand_over<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if let Some(watch) = state.watch.clone().filter(|_| state.steps.is_multiple_of(WATCHED)) {
            drop(state);
            let seen = watch();
            state = self.state();
            seen.unwrap_or_else(|why| state.fail(why));
        }
        loop {
            if let Some(next) = state.pick() {
                state.running = next;
                let thread = state.threads[&next].thread.clone();
                drop(state);
                return thread.into_iter().for_each(|thread| thread.unpark());
            }
            let action = match state.go_on() {
                Ok(action) => action,
                Err(why) => {
                    state.fail(why);
                    None
                }
            };
            if let Some(action) = action {
                drop(state);
                action();
                state = self.state();
            }
        }
    }

    /// Waits for this thread's turn.
    fn resume(&self, me: ThreadId) -> MutexGuard<'_, State> {
        let (mut seen, mut looks) = (0, 0);
        loop {
            let mut state = self.state();
            if state.running == me {
                if let Some(failure) = state.failure.clone().filter(|_| me == MAIN) {
                    drop(state);
                    std::panic::resume_unwind(Box::new(failure));
                }
                if let Some(waiting) = state.threads.get_mut(&me) {
                    (waiting.for_what, waiting.until) = (Wait::Turn, None);
                }
                return state;
            }
            // After a failure nobody has a turn any more, and its threads are left as they are.
            let goes_on = state.steps != seen || state.failure.is_some();
            looks = if goes_on { 0 } else { looks + 1 };
            seen = state.steps;
            drop(state);
            if looks == STANDS_STILL {
                // Not by a panic: the thread that has the turn could not be ended by one.
                let words = "the simulation stands still: a thread waits for what another holds\n";
                let _ = io::stderr().write_all(words.as_bytes());
                std::process::exit(101);
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }

    fn has_all_threads(&self) -> bool {
        let state = self.state();
        state.threads.len() > state.most_threads
    }

    fn start(&self, job: Job) -> io::Result<()> {
        let mut state = self.state();
        state.last_thread += 1;
        let id = state.last_thread;
        state.threads.insert(id, Waiting { thread: None, for_what: Wait::Turn, until: None });
        let machine = self.clone();
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            CURRENT.set(id);
            drop(machine.resume(id));
            let done = catch_unwind(AssertUnwindSafe(job));
            let mut state = machine.state();
            if done.is_err() {
                state.fail("a thread panics".into());
            }
            state.threads.remove(&id);
            machine.hand_over(state);
        });
        if let Some(waiting) = state.threads.get_mut(&id) {
            waiting.thread = Some(thread?.thread().clone());
        }
        Ok(())
    }
}

/// Seconds in which nothing happens although somebody has the turn.
const STANDS_STILL: u32 = 20;

impl State {
    /// A thread that can go on.
    fn pick(&mut self) -> Option<ThreadId> {
        if self.failure.is_some() {
            return Some(MAIN);
        }
        let mut ready: Vec<ThreadId> = Vec::new();
        for (id, waiting) in &self.threads {
            if self.is_ready(waiting) {
                ready.push(*id);
            }
        }
        let next = (!ready.is_empty()).then(|| self.random.pick(&ready));
        self.step();
        next
    }

    fn is_ready(&self, waiting: &Waiting) -> bool {
        let has_something = match waiting.for_what {
            Wait::Turn => true,
            Wait::Time => false,
            Wait::Socket(id) => self.sockets.is_ready(id),
            Wait::Poller(poller) => {
                let PollerState { woken, sockets } = &self.pollers[poller];
                *woken || sockets.keys().any(|id| self.sockets.is_ready(*id))
            }
            Wait::Others => self.threads.len() == 1,
        };
        has_something || waiting.until.is_some_and(|until| until <= self.now)
    }

    fn step(&mut self) {
        self.steps += 1;
        self.steps_at_once += 1;
        if self.steps_at_once > STEPS_AT_ONCE {
            self.fail("it goes round and round at one moment".into());
        }
    }

    /// Lets the time go on to what happens next, and that happen.
    fn go_on(&mut self) -> Result<Option<Action>, String> {
        let deadlines = self.threads.values().filter_map(|waiting| waiting.until).min();
        let others = self.world.next().into_iter().chain(self.sockets.next());
        let Some(next) = deadlines.into_iter().chain(others).min() else {
            return match self.world.when_quiet.take() {
                Some(action) => Ok(Some(action)),
                None => Err("everyone waits for ever".into()),
            };
        };
        if next > self.now {
            self.steps_at_once = 0;
            self.now = next;
        }
        if self.now > Time::START + END_OF_TIME {
            return Err("it does not end".into());
        }
        self.sockets.go_on(self.now);
        self.world.go_on(self.now, &mut self.sockets)
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }
}

impl System for Machine {
    fn now(&self) -> Time {
        self.state().now
    }

    fn random(&self) -> u64 {
        self.state().random.next()
    }

    fn processors(&self) -> usize {
        0
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>> {
        self.bind(address)
    }

    fn bind(&self, local: SocketAddr) -> io::Result<Box<dyn Udp>> {
        let State { sockets, random, .. } = &mut *self.state();
        let id = sockets.bind(local, random)?;
        Ok(Box::new(Socket { machine: self.clone(), id }))
    }

    fn path_bytes(&self, _: SocketAddr) -> Option<usize> {
        Some(1500)
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        let mut state = self.state();
        state.pollers.push(PollerState::default());
        Ok(Box::new(MachinePoller { machine: self.clone(), place: state.pollers.len() - 1 }))
    }

    fn spawn(&self, name: &'static str, job: Job) -> io::Result<()> {
        // Without the threads of its loops there is no server.
        if name != "events" && self.has_all_threads() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.start(job)
    }

    fn pool(&self, most: usize) -> Arc<dyn Pool> {
        Arc::new(MachinePool { machine: self.clone(), most, jobs: Arc::default() })
    }
}

impl Machine {
    /// Waits until the socket has something.
    pub(super) fn wait_for(&self, id: SocketId, timeout: Option<Duration>) {
        let state = self.state();
        let until = timeout.map(|timeout| state.now + timeout);
        drop(self.wait(state, Wait::Socket(id), until));
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MachinePoller {
    machine: Machine,
    place: usize,
}

impl Poller for MachinePoller {
    fn add(&self, socket: &dyn Udp, name: u64) -> io::Result<()> {
        let known = self.machine.state().pollers[self.place].sockets.insert(id_of(socket), name);
        known.map_or(Ok(()), |_| Err(ErrorKind::AlreadyExists.into()))
    }

    fn tell_of_room(&self, socket: &dyn Udp, _: u64, wanted: bool) -> io::Result<()> {
        self.machine.state().sockets.tell_of_room(id_of(socket), wanted);
        Ok(())
    }

    fn remove(&self, socket: &dyn Udp) {
        self.machine.state().pollers[self.place].sockets.remove(&id_of(socket));
    }

    fn wait(&self, most: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        let state = self.machine.state();
        let until = most.map(|most| state.now + most);
        let mut state = self.machine.wait(state, Wait::Poller(self.place), until);
        let State { pollers, sockets, random, .. } = &mut *state;
        let PollerState { woken, sockets: watched } = &mut pollers[self.place];
        // A socket that was closed is watched no more.
        watched.retain(|id, _| sockets.is_open(*id));
        ready.clear();
        ready
            .extend(watched.iter().filter(|(id, _)| sockets.is_ready(**id)).map(|(_, name)| *name));
        ready.extend(std::mem::take(woken).then_some(WOKEN));
        random.shuffle(ready);
        ready.truncate(crate::limits::EVENTS_AT_ONCE);
        Ok(())
    }

    fn wake(&self) {
        self.machine.state().pollers[self.place].woken = true;
    }
}

fn id_of(socket: &dyn Udp) -> SocketId {
    let socket = socket as &dyn std::any::Any;
    socket.downcast_ref::<Socket>().expect("a socket of this machine").id
}

/// The jobs, and how many threads there are for them.
type Jobs = Arc<Mutex<(VecDeque<Job>, usize)>>;

#[derive(Clone)]
struct MachinePool {
    machine: Machine,
    most: usize,
    jobs: Jobs,
}

impl Pool for MachinePool {
    fn run(&self, job: Job) {
        let mut jobs = self.jobs.lock().expect("no panic");
        jobs.0.push_back(job);
        if jobs.1 == self.most {
            return;
        }
        jobs.1 += 1;
        drop(jobs);
        let pool = self.clone();
        let machine = &self.machine;
        if machine.has_all_threads() || machine.start(Box::new(move || pool.work())).is_err() {
            let only = self.jobs.lock().expect("no panic").1 == 1;
            if only {
                self.work();
            } else {
                self.jobs.lock().expect("no panic").1 -= 1;
            }
        }
    }
}

impl MachinePool {
    fn work(&self) {
        loop {
            let mut jobs = self.jobs.lock().expect("no panic");
            let Some(job) = jobs.0.pop_front() else {
                jobs.1 -= 1;
                return;
            };
            drop(jobs);
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl fmt::Debug for MachinePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachinePool").field("most", &self.most).finish_non_exhaustive()
    }
}
