//! Many downloads at once on one thread, and what came of them: a load on a server.
//!
//! Each asks for what [`Client::get`] asks for, but only once: what is counted is what was asked, not what a second
//! attempt without options made good.

use super::ask::{Ask, Question, refuse_too_long};
use super::latency::Latency;
use super::{Client, Failure, Progress, Wishes, refuse_nul};
use crate::net::{Ending, EventLoop, Handler, Pools, Session, System};
use crate::proto::Time;
use crate::transfer::{Discard, MayWait, Outcome, Sink, Summary, Transfer};
use crate::wire::{ErrorCode, Operation};
use slab::Slab;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::mem::discriminant;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A load on a server: which files are downloaded, by how many clients, for how long.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// The files that are downloaded, one after the other.
    pub files: Vec<Vec<u8>>,
    /// The downloads at once. Without a rate each makes room for the next one.
    pub clients: usize,
    /// The downloads that begin in each second, whether others have ended or not; those for which there is no room are
    /// missed.
    pub rate: Option<f64>,
    /// The time after which no download begins.
    pub duration: Duration,
    /// The number of downloads after which none begins.
    pub count: Option<u64>,
    /// The time that those still under way then have to end.
    pub grace: Duration,
    /// Whether a download fails whose bytes are not those of the first one of the same file.
    pub verify: bool,
}

impl Load {
    /// Ten clients for ten seconds, who take these files in turn.
    pub fn of<N: AsRef<[u8]>>(files: impl IntoIterator<Item = N>) -> Self {
        Self {
            files: files.into_iter().map(|name| name.as_ref().to_vec()).collect(),
            clients: 10,
            rate: None,
            duration: Duration::from_secs(10),
            count: None,
            grace: Duration::from_secs(10),
            verify: false,
        }
    }

    /// Sets the downloads at once.
    #[must_use]
    pub const fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Sets the downloads that begin in each second; `None` begins the next when one ends.
    #[must_use]
    pub fn rate(mut self, rate: impl Into<Option<f64>>) -> Self {
        self.rate = rate.into();
        self
    }

    /// Sets the time after which no download begins.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Sets the number of downloads after which none begins; `None` leaves it to the time.
    #[must_use]
    pub fn count(mut self, count: impl Into<Option<u64>>) -> Self {
        self.count = count.into();
        self
    }

    /// Sets the time that downloads have to end when none begins any more.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets whether a download fails whose bytes are not those of the first one of the same file.
    #[must_use]
    pub const fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }
}

/// What came of a load so far.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// How long downloads have begun or, where their number ended it, been under way. `bytes` and `whole_in_time` are
    /// of this time, and so are the figures of a second.
    pub elapsed: Duration,
    /// Payload bytes that arrived, those of downloads that failed later as well.
    pub bytes: u64,
    /// Downloads that ended whole in that time.
    pub whole_in_time: u64,
    /// All downloads that began.
    pub begun: u64,
    /// Downloads that ended whole.
    pub whole: u64,
    /// Downloads that were ended from here, being under way still when the load was over.
    pub cut: u64,
    /// Downloads that should have begun, by the rate, when there was no room for one more.
    pub missed: u64,
    /// Downloads that are under way now.
    pub at_once: usize,
    /// The most downloads that were under way at once.
    pub most_at_once: usize,
    /// Packets that left.
    pub packets: u64,
    /// Packets that left and had left before.
    pub retransmitted: u64,
    /// The time from the request to the first answer, of all downloads that got one.
    pub first_answer: Latency,
    /// The time from the request to the end, of the downloads that ended whole.
    pub transfer: Latency,
    /// The failures, each kind once.
    pub failures: Vec<Failures>,
}

/// Failures of one kind.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failures {
    /// How many failed in this way.
    pub count: u64,
    /// The first failure of this kind.
    pub first: Failure,
}

impl Tally {
    /// How many downloads failed.
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|failures| failures.count).sum()
    }

    /// Payload bytes in each second.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second(self.bytes)
    }

    /// Whole downloads in each second.
    pub fn transfers_per_second(&self) -> f64 {
        self.per_second(self.whole_in_time)
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    fn fail(&mut self, failure: Failure) {
        match self.failures.iter_mut().find(|known| is_alike(&known.first, &failure)) {
            Some(known) => known.count += 1,
            None => self.failures.push(Failures { count: 1, first: failure }),
        }
    }
}

/// Whether two failures are of one kind: there are few, whatever servers say.
fn is_alike(one: &Failure, other: &Failure) -> bool {
    match (one, other) {
        (Failure::Server { code: one, .. }, Failure::Server { code: other, .. }) => {
            discriminant::<ErrorCode>(one) == discriminant(other)
        }
        _ => discriminant(one) == discriminant(other),
    }
}

/// Downloads that begin before those under way are heard again.
const BEGUN_IN_A_ROW: usize = 64;

/// How often the figures are shown.
const LOOK: Duration = Duration::from_millis(100);

/// How long those that are cut off have for it.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Client {
    /// Puts `load` on the server, on this thread. `watch` sees the figures ten times a second, and may end it; so may
    /// the client's [`Canceller`](super::Canceller). It fails where this machine has no sockets, where the load has no
    /// files or a name that no request holds, and where the server has several addresses and none of them answers.
    pub fn load(
        &self,
        load: &Load,
        mut watch: impl FnMut(&Tally) -> ControlFlow<()>,
    ) -> Result<Tally, Failure> {
        let first = load.files.first().ok_or(Failure::NoFiles)?;
        load.files.iter().try_for_each(|name| refuse_nul(name))?;
        let ask = self.settle(first)?;
        let mut watch = |tally: &Tally| {
            let may_go_on = self.canceller.check(ask.call).is_ok();
            if may_go_on { watch(tally) } else { ControlFlow::Break(()) }
        };
        let traffic = Traffic::new(ask, load)?;
        let longest = load.files.iter().max_by_key(|name| name.len()).unwrap_or(first);
        let (_, request) = traffic.ask.request(read(&traffic.ask, longest))?;
        refuse_too_long(&request)?;
        Ok(traffic.run(&mut watch)?)
    }

    /// The address that answers. A server that has only one is not asked whether it does.
    fn settle(&self, name: &[u8]) -> Result<Ask<'_>, Failure> {
        let call = self.canceller.begin()?;
        let at = |address| self.ask(address, call);
        if let (only, []) = self.server.candidates() {
            return Ok(at(only));
        }
        // The first answer is enough.
        let mut enough = |Progress { bytes, total, .. }| {
            let answered = bytes > 0 || total.is_some();
            if answered { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let asked = self.get_watched(name, Discard, &mut enough);
        match (self.answered(), asked) {
            (Some(address), _) => Ok(at(address)),
            (None, Err(failure)) => Err(failure),
            (None, Ok(_)) => Err(Failure::NoAnswer(self.server())),
        }
    }
}

/// A load under way.
struct Traffic<'a> {
    load: &'a Load,
    ask: Ask<'a>,
    system: &'a Arc<dyn System>,
    /// When it began.
    start: Time,
    event_loop: EventLoop<Download>,
    sessions: Slab<Arc<Session>>,
    ended: mpsc::Receiver<Ended>,
    tell: mpsc::Sender<Ended>,
    /// Payload bytes of all.
    arrived: Arc<AtomicU64>,
    /// Length and digest of the first whole download of each file.
    first: Vec<Option<(u64, u64)>>,
    tally: Tally,
    looked: Time,
}

type Ended = (Download, io::Result<Summary>);

impl<'a> Traffic<'a> {
    fn new(ask: Ask<'a>, load: &'a Load) -> io::Result<Self> {
        let (system, (tell, ended)) = (ask.system, mpsc::channel());
        let start = system.now();
        // The path is the same for all: it is looked at once.
        let wishes = Wishes { block_size: Some(ask.block_size()), ..ask.wishes };
        Ok(Self {
            load,
            ask: Ask { wishes, ..ask },
            system,
            start,
            // Nothing that is done here waits for a disk.
            event_loop: EventLoop::new(Arc::clone(system), Pools::new(&**system))?,
            sessions: Slab::new(),
            ended,
            tell,
            arrived: Arc::default(),
            first: vec![None; load.files.len()],
            tally: Tally::default(),
            looked: start,
        })
    }

    fn run(mut self, watch: &mut dyn FnMut(&Tally) -> ControlFlow<()>) -> io::Result<Tally> {
        let end = self.start + self.load.duration;
        let (mut flow, mut now) = (ControlFlow::Continue(()), self.start);
        while flow.is_continue() && now < end && !self.is_done() {
            let until = self.begin_due()?.min(end);
            flow = self.turn(until, watch)?;
            now = self.system.now().min(end);
            self.tally.elapsed = now - self.start;
            self.tally.bytes = self.arrived.load(Ordering::Relaxed);
            self.tally.whole_in_time = self.tally.whole;
        }
        let end = self.system.now() + self.load.grace;
        while flow.is_continue() && self.system.now() < end && !self.sessions.is_empty() {
            flow = self.turn(end, watch)?;
        }
        self.cut_off()?;
        Ok(self.tally)
    }

    /// Whether all that were asked for have begun and ended.
    fn is_done(&self) -> bool {
        self.have_all_begun() && self.sessions.is_empty()
    }

    fn have_all_begun(&self) -> bool {
        self.load.count.is_some_and(|count| self.tally.begun >= count)
    }

    /// Begins what is due, and tells when more may be.
    fn begin_due(&mut self) -> io::Result<Time> {
        for _ in 0..BEGUN_IN_A_ROW {
            if self.have_all_begun() {
                return Ok(NEVER);
            }
            let (now, next) = (self.system.now(), self.next_due());
            let room = self.sessions.len() < self.load.clients;
            match self.load.rate {
                _ if next > now => return Ok(next),
                None if !room => return Ok(NEVER),
                Some(_) if !room => self.tally.missed += 1,
                _ => self.begin()?,
            }
        }
        Ok(self.system.now())
    }

    fn next_due(&self) -> Time {
        let before = self.tally.begun + self.tally.missed;
        let at = self.load.rate.map_or(0.0, |rate| before as f64 / rate);
        Duration::try_from_secs_f64(at).map_or(NEVER, |at| self.start + at)
    }

    fn begin(&mut self) -> io::Result<()> {
        let file = (self.tally.begun % self.load.files.len() as u64) as usize;
        let ask = &self.ask;
        let (socket, request) = ask.request(read(ask, &self.load.files[file]))?;
        let digest = self.load.verify.then(Digest::default);
        let now = self.system.now();
        let transfer = Transfer::get(
            now,
            ask.wishes.timing(Operation::Read),
            &request,
            Box::new(Digested(digest.clone())),
        );
        let session = Arc::new(Session::new(socket, Arc::clone(self.system), transfer));
        let place = self.sessions.insert(Arc::clone(&session));
        self.tally.begun += 1;
        self.tally.at_once = self.sessions.len();
        self.tally.most_at_once = self.tally.most_at_once.max(self.tally.at_once);
        self.event_loop.add(Download {
            session,
            place,
            file,
            begun: now,
            system: Arc::clone(self.system),
            first_answer: None,
            counted: 0,
            arrived: Arc::clone(&self.arrived),
            digest,
            tell: self.tell.clone(),
        });
        Ok(())
    }

    /// Lets those under way go on, until there is something else to do.
    fn turn(
        &mut self,
        until: Time,
        watch: &mut dyn FnMut(&Tally) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let look = self.looked + LOOK;
        self.event_loop.turn(Some(until.min(look) - self.system.now()), &mut Vec::new())?;
        while let Ok((download, how)) = self.ended.try_recv() {
            self.count(download, how?);
        }
        let now = self.system.now();
        if now < look {
            return Ok(ControlFlow::Continue(()));
        }
        self.looked = now;
        Ok(watch(&self.tally))
    }

    fn count(&mut self, download: Download, summary: Summary) {
        self.sessions.remove(download.place);
        let answered = download.session.socket().is_connected();
        let tally = &mut self.tally;
        tally.at_once = self.sessions.len();
        tally.packets += summary.packets;
        tally.retransmitted += summary.retransmitted;
        if let Some(span) = download.first_answer {
            tally.first_answer.record(span);
        }
        let came = download.digest.map(|digest| (summary.bytes, digest.value()));
        let first = &mut self.first[download.file];
        match summary.outcome {
            Some(Outcome::Complete)
                if came.is_some_and(|came| *first.get_or_insert(came) != came) =>
            {
                tally.fail(Failure::Differs);
            }
            Some(Outcome::Complete) => {
                tally.whole += 1;
                tally.transfer.record(summary.elapsed);
            }
            Some(Outcome::Stopped) => tally.cut += 1,
            outcome => {
                tally.fail(Failure::of(outcome, self.ask.address, summary.bytes, answered));
            }
        }
    }

    /// Ends what is still under way; the server is told.
    fn cut_off(&mut self) -> io::Result<()> {
        let ending = Ending::Stop("the load is over".into());
        self.sessions.iter().for_each(|(_, session)| session.end(ending.clone()));
        let end = self.system.now() + LAST_WORDS;
        while !self.sessions.is_empty() && self.system.now() < end {
            let _ = self.turn(end, &mut |_| ControlFlow::Continue(()))?;
        }
        self.tally.cut += self.sessions.len() as u64;
        Ok(())
    }
}

fn read<'a>(ask: &Ask<'_>, name: &'a [u8]) -> Question<'a> {
    Question { operation: Operation::Read, name, size: ask.size_of_a_read() }
}

const NEVER: Time = Time::from_micros(u64::MAX);

/// One client.
struct Download {
    session: Arc<Session>,
    place: usize,
    file: usize,
    begun: Time,
    system: Arc<dyn System>,
    first_answer: Option<Duration>,
    /// Its part of the bytes that arrived.
    counted: u64,
    arrived: Arc<AtomicU64>,
    digest: Option<Digest>,
    tell: mpsc::Sender<Ended>,
}

impl Handler for Download {
    fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn progress(&mut self, _: Time, transfer: &mut Transfer) {
        if self.first_answer.is_none() && self.session.socket().is_connected() {
            self.first_answer = Some(self.system.now() - self.begun);
        }
        let bytes = transfer.summary().bytes;
        self.arrived.fetch_add(bytes - self.counted, Ordering::Relaxed);
        self.counted = bytes;
    }

    fn ended(self, how: io::Result<Summary>) {
        // Who listens no more has seen the load end.
        let _ = self.tell.clone().send((self, how));
    }
}

/// What stands for the bytes of a download.
#[derive(Clone, Default)]
struct Digest(Arc<Mutex<DefaultHasher>>);

impl Digest {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }

    fn value(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

/// Keeps nothing but the digest, if that.
struct Digested(Option<Digest>);

impl Sink for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(digest) = &self.0 {
            digest.add(bytes);
        }
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_second_are_those_of_the_time_in_which_downloads_began() {
        let mut tally = Tally::default();
        assert_eq!((tally.bytes_per_second(), tally.transfers_per_second()), (0.0, 0.0));
        (tally.elapsed, tally.bytes, tally.whole_in_time) = (Duration::from_secs(2), 3000, 5);
        (tally.begun, tally.whole) = (9, 7);
        assert_eq!((tally.bytes_per_second(), tally.transfers_per_second()), (1500.0, 2.5));
    }

    #[test]
    fn failures_are_of_one_kind_whatever_the_server_says_to_its_code() {
        let says = |code, message: &str| Failure::Server { code, message: message.into() };
        let at = ([127, 0, 0, 1], 69).into();
        let mut tally = Tally::default();
        for failure in [
            says(ErrorCode::NotFound, "first"),
            says(ErrorCode::DiskFull, "first"),
            Failure::NoAnswer(at),
            says(ErrorCode::NotFound, "second"),
            Failure::Closed(at),
            Failure::NoAnswer(at),
        ] {
            tally.fail(failure);
        }
        let told = tally.failures.iter().map(|kind| (kind.count, kind.first.to_string()));
        let told: Vec<_> = told.map(|(count, first)| format!("{count} {first}")).collect();
        let expected = [
            "2 the server says: first (code 1)",
            "1 the server says: first (code 3)",
            "2 no answer from 127.0.0.1:69",
            "1 nothing listens at 127.0.0.1:69 (UDP), or it cannot be reached",
        ];
        assert_eq!((told, tally.failed()), (expected.map(str::to_owned).to_vec(), 6));
    }
}
