//! A transfer in a process of its own, and the server's side of it.
//!
//! The process has the transfer's socket, and parses and paces all that the network says. The server's thread beside it
//! reads and writes the file: so any store is served, an upload is committed by the server alone, and a process that was
//! taken over has nothing but the file that its client asked for.

mod carry;
mod message;

pub use carry::carry;

use super::Shared;
use super::entry::UnderWay;
use super::permit::Permit;
use super::start::{Payload, Ready};
use super::telling::Telling;
use crate::limits;
use crate::net::{Channel, Ending, Share, System, TransferSocket};
use crate::proto::{Allowance, Time};
use crate::store::SERVER_ERROR;
use crate::transfer::{Outcome, Sink, Source, Summary};
use crate::wire::{ErrorCode, Filename, Packet};
use message::{
    ABANDON, ALIVE_EVERY, COMMIT, DALLIES, DONE, ENDED, FAILED, FIGURES, Failure, Figures, Job,
    MOST_BYTES, READ, REPEAT, SHARE, STOP, WRITE, written,
};
use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Starts the processes of [`Model::Processes`](super::Model::Processes). The library starts no program of its own.
pub trait Spawner: Debug + Send + Sync {
    /// Starts a process that calls [`carry`] with `channel`, and kills it when the other end is closed: the transfer is over
    /// then, or the server is. It must not wait for the process.
    ///
    /// What the process gives up before is for the spawner to say. An error leaves the request unanswered.
    fn start(&self, channel: OwnedFd) -> io::Result<()>;
}

/// A transfer in its process, as whoever has something to tell it knows it.
struct Elsewhere {
    orders: Channel,
    system: Arc<dyn System>,
    /// The figures, as they were told last.
    latest: Mutex<Summary>,
    /// When it was told to end, and how.
    ended: Mutex<Option<(Time, Ending)>>,
    /// How often its client was said to have repeated its request, and how often that was answered, which is known at the
    /// end.
    repeats: AtomicU64,
    answered: AtomicU64,
}

impl Elsewhere {
    /// A process that does not hear is ended by whoever waits for it.
    fn order(&self, kind: u8, what: &[u8]) {
        let _ = self.orders.try_send(&[&[kind], what].concat());
    }

    fn latest(&self) -> MutexGuard<'_, Summary> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Option<(Time, Ending)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay for Elsewhere {
    fn figures(&self) -> Option<Summary> {
        Some(self.latest().clone())
    }

    fn repeat(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
        self.order(REPEAT, &[]);
    }

    fn leaves_repeat(&self) -> bool {
        let repeats = self.repeats.load(Ordering::Relaxed);
        self.answered.fetch_max(repeats, Ordering::Relaxed) < repeats
    }

    fn end(&self, ending: Ending) {
        self.ended().get_or_insert_with(|| (self.system.now(), ending.clone()));
        match ending {
            Ending::Stop(why) => self.order(STOP, why.as_bytes()),
            Ending::Abandon => self.order(ABANDON, &[]),
        }
    }
}

/// A process that carries out a transfer, and the file that it is about.
pub(super) struct ActiveProcess {
    /// Dropped, the process is killed.
    process: Channel,
    elsewhere: Arc<Elsewhere>,
    /// The same socket: where the process is lost, its client is told.
    socket: TransferSocket,
    file: File,
    upload: Upload,
    // Behind all that the session has.
    telling: Telling,
    shared: Arc<Shared>,
}

/// What is read or written, and how fast.
struct File {
    /// There until an upload is stored or fails: what follows finds nothing to change.
    payload: Option<Payload>,
    share: Option<Box<dyn Share>>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Open,
    Stored,
    Failed,
}

/// What the client of a process that is gone is told where its file is there.
const STORED_AND_LOST: &str = "the file is stored, but the server lost the transfer";

/// How a process goes on.
enum Said {
    GoesOn,
    Ended,
}

impl ActiveProcess {
    pub(super) fn start(
        ready: Ready,
        permit: Permit,
        shared: &Arc<Shared>,
        served: Option<Filename>,
    ) -> io::Result<Self> {
        let spawner = shared.config.spawner.as_ref().ok_or(ErrorKind::Unsupported)?;
        let Ready { socket, terms, payload, path_block, share, .. } = ready;
        let mut job = Job::new(&terms, matches!(payload, Payload::Sink(_)));
        job.is_held = share.is_some();
        job.path_block = path_block.and_then(|size| u16::try_from(size.get()).ok());
        job.offload = shared.config.offload;
        let ((process, theirs), (orders, their_orders)) = (Channel::pair()?, Channel::pair()?);
        process.set_timeout(ALIVE_EVERY)?;
        let handed = socket.share()?;
        spawner.start(theirs.into())?;
        let latest = Mutex::new(Summary { agreed: terms.agreed, ..Summary::default() });
        let system = Arc::clone(&shared.system);
        let (ended, [repeats, answered]) = (Mutex::default(), [const { AtomicU64::new(0) }; 2]);
        let elsewhere = Elsewhere { orders, system, latest, ended, repeats, answered };
        job.buffer = shared.buffer(permit.entry().query.operation);
        let elsewhere = permit.entry().attach(elsewhere);
        let (file, telling) =
            (File { payload: Some(payload), share }, Telling::new(permit, shared, served));
        let shared = Arc::clone(shared);
        if telling.begins(&terms.agreed).is_err() {
            elsewhere.end(Ending::Stop(SERVER_ERROR.into()));
        }
        // What is over by now is over before a packet leaves.
        job.ending = elsewhere.ended().as_ref().map(|(_, ending)| ending.clone());
        let handed = [handed.as_fd(), their_orders.as_fd()];
        if process.send_with(&serde_json::to_vec(&job)?, handed).is_err() {
            // It ends soon, for nobody has told it what to do.
            elsewhere.end(Ending::Abandon);
        }
        Ok(Self { process, elsewhere, socket, file, upload: Upload::Open, telling, shared })
    }

    /// Serves the process until the transfer is over.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; MOST_BYTES];
        let mut heard_at = self.shared.system.now();
        let why = loop {
            let received = self.process.receive(&mut buffer);
            let now = self.shared.system.now();
            match received {
                Ok(0) => break "its process is gone",
                Ok(len) => {
                    heard_at = now;
                    match self.hear(now, &mut buffer, len) {
                        Ok(Said::GoesOn) => {}
                        Ok(Said::Ended) => return,
                        Err(_) => break "its process makes no sense",
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break "its process cannot be heard",
            }
            let is_late = |since: Option<Time>, most| since.is_some_and(|since| now - since > most);
            if is_late(self.elsewhere.ended().as_ref().map(|(at, _)| *at), limits::LAST_WORDS) {
                break "its process did not end";
            }
            if is_late(Some(heard_at), limits::PROCESS_SILENT) {
                break "its process does not answer";
            }
        };
        self.lost(why);
    }

    /// Tells how a transfer ended whose process does not.
    fn lost(mut self, why: &str) {
        // Who waits for it hears that, and nothing of a repeat that it may have answered.
        self.elsewhere.answered.store(u64::MAX, Ordering::Relaxed);
        let ended = self.elsewhere.ended().take().map(|(_, ending)| ending);
        let mut summary = self.elsewhere.latest().clone();
        summary.outcome = match &ended {
            Some(_) if self.upload == Upload::Stored => Some(Outcome::Complete),
            Some(Ending::Stop(_)) => Some(Outcome::Stopped),
            Some(Ending::Abandon) => Some(Outcome::Superseded),
            None => None,
        };
        if summary.outcome.is_some() {
            // What it was told to do is done, by whom does not matter: it may have waited for a disk of this side.
            let is_to_be_said = self.upload != Upload::Stored && !self.telling.is_told();
            if let Some(Ending::Stop(words)) = ended.filter(|_| is_to_be_said) {
                self.say(&words);
            }
            self.telling.finished(&summary);
            return;
        }
        let (words, behind) = match self.upload {
            Upload::Stored => (STORED_AND_LOST, ", and the upload is stored"),
            Upload::Open | Upload::Failed => (SERVER_ERROR, ""),
        };
        if !self.telling.is_told() {
            self.say(words);
        }
        self.telling.failed(&summary, &io::Error::other(format!("{why}{behind}")));
    }

    fn say(&self, words: &str) {
        let (code, message) = (ErrorCode::Undefined, words.as_bytes());
        self.socket.say(&Packet::Error { code, message }.to_vec());
    }

    /// Does what the process asks for.
    fn hear(&mut self, now: Time, buffer: &mut [u8], len: usize) -> io::Result<Said> {
        let (kind, rest) = (buffer[0], &buffer[1..len]);
        match kind {
            READ => {
                let most = rest.try_into().map_err(|_| ErrorKind::InvalidData)?;
                let most = usize::try_from(u64::from_le_bytes(most)).unwrap_or(usize::MAX);
                self.answer_read(buffer, most)?;
            }
            SHARE => {
                let share = self.file.share.as_ref().ok_or(ErrorKind::InvalidData)?;
                let sent = rest.try_into().map_err(|_| ErrorKind::InvalidData)?;
                share.sent(now, u64::from_le_bytes(sent));
                let Allowance { at, bytes } = share.allowance(now);
                let wait = (at - now).as_micros() as u64;
                let answer = [&[DONE], &wait.to_le_bytes()[..], &bytes.to_le_bytes()].concat();
                self.process.try_send(&answer)?;
            }
            WRITE | COMMIT => {
                let Some(Payload::Sink(sink)) = &mut self.file.payload else {
                    return Err(ErrorKind::InvalidData.into());
                };
                let done = if kind == WRITE { sink.write(rest) } else { sink.commit() };
                self.upload = match done {
                    Err(_) => Upload::Failed,
                    Ok(()) if kind == COMMIT => Upload::Stored,
                    Ok(()) => Upload::Open,
                };
                if self.upload != Upload::Open {
                    self.file.payload = None;
                }
                // It may have taken long, and the process has its last words only now.
                if let Some((told_at, _)) = &mut *self.elsewhere.ended() {
                    *told_at = self.shared.system.now();
                }
                let answer = done.map_or_else(failed, |()| Ok(vec![DONE]))?;
                self.process.try_send(&answer)?;
            }
            FIGURES => {
                let summary = self.note(now, rest)?;
                if self.telling.got_on(now, &summary).is_err() {
                    self.elsewhere.end(Ending::Stop(SERVER_ERROR.into()));
                }
            }
            DALLIES => {
                let summary = self.end(now, rest)?;
                self.telling.finished(&summary);
                self.telling.dallies();
            }
            ENDED => {
                let summary = self.end(now, rest)?;
                self.telling.finished(&summary);
                return Ok(Said::Ended);
            }
            _ => {}
        }
        Ok(Said::GoesOn)
    }

    fn answer_read(&mut self, buffer: &mut [u8], most: usize) -> io::Result<()> {
        let Some(Payload::Source { source, .. }) = &mut self.file.payload else {
            return Err(ErrorKind::InvalidData.into());
        };
        let (head, room) = buffer.split_at_mut(1);
        let most = most.min(room.len());
        let mut read = || loop {
            match source.read(&mut [IoSliceMut::new(&mut room[..most])]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        };
        let answer = match read() {
            Ok(read) => {
                head[0] = DONE;
                &buffer[..1 + read]
            }
            Err(error) => &failed(error)?,
        };
        // It waits for nothing else, so that there is room; who does not listen holds up nobody.
        self.process.try_send(answer)
    }

    /// Takes the figures of its end. Nobody is told of an upload that is not there.
    fn end(&mut self, now: Time, figures: &[u8]) -> io::Result<Summary> {
        let summary = self.note(now, figures)?;
        let is_read = matches!(self.file.payload, Some(Payload::Source { .. }));
        let is_there = is_read || self.upload == Upload::Stored;
        let is_true = |outcome: &Outcome| is_there || !outcome.is_success();
        let known = summary.outcome.as_ref().is_some_and(is_true);
        if known { Ok(summary) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Takes figures that the process tells.
    fn note(&mut self, now: Time, figures: &[u8]) -> io::Result<Summary> {
        let figures: Figures = serde_json::from_slice(figures)?;
        if figures.is_proven {
            self.telling.is_proven();
        }
        let repeats = figures.repeats;
        let mut latest = self.elsewhere.latest();
        figures.into_summary(&mut latest);
        self.elsewhere.answered.store(repeats, Ordering::Relaxed);
        latest.elapsed = now - self.telling.started();
        Ok(latest.clone())
    }
}

fn failed(error: io::Error) -> io::Result<Vec<u8>> {
    written(FAILED, &Failure::of(&error))
}
