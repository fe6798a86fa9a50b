//! The process of one transfer: it has the transfer's socket and two channels to the server, and no file.

use super::message::{
    ABANDON, ALIVE, ALIVE_EVERY, COMMIT, DALLIES, DONE, ENDED, FAILED, FIGURES, Failure, Figures,
    Job, MOST_BYTES, READ, REPEAT, SHARE, STOP, WRITE, written,
};
use crate::limits;
use crate::net::{Channel, Ending, Kernel, Session, Share, System, TransferSocket};
use crate::proto::{Allowance, Time};
use crate::transfer::{Blocking, MayWait, Sink, Source, Transfer};
use crate::wire::WindowSize;
use std::io::{self, ErrorKind, IoSliceMut, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Carries out one transfer of the server at the other end of `channel`, which a [`Spawner`](super::Spawner) was given, and
/// returns when it is over.
///
/// It opens nothing: a process that calls this can give up all files before. It starts one thread, calls `confine`, and hears
/// the network only then: `confine` can give up all but a few system calls, that for threads among them.
pub fn carry(channel: OwnedFd, confine: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let server = Arc::new(Channel::from(channel));
    let mut first = vec![0; MOST_BYTES];
    let (len, [socket, orders]) = server.receive_with(&mut first)?;
    let job: Job = serde_json::from_slice(&first[..len])?;
    drop(first);
    let (system, terms) = (Kernel::start(), job.terms()?);
    let now = system.now();
    let socket = TransferSocket::handed_over(socket)?.offload(job.offload);
    let file = File { server: Arc::clone(&server), answer: Vec::new() };
    let transfer = if job.writes() {
        Transfer::serve_write(now, &terms, Box::new(file))
    } else {
        // In lock-step it reads ahead what the server says, and a window in as few messages as may be.
        let source: Box<dyn Source> = match terms.agreed.window() {
            WindowSize::LOCKSTEP => Box::new(file),
            _ => Box::new(Blocking::new(file)),
        };
        let mut transfer = Transfer::serve_read(now, &terms, source);
        if let Some(size) = job.path_block() {
            transfer.set_path_block(size);
        }
        transfer
    };
    let held = || Held { server: Arc::clone(&server), sent: AtomicU64::new(0) };
    let share = job.is_held.then(|| Box::new(held()) as Box<dyn Share>);
    let session = Session::new(socket, Arc::clone(&system) as Arc<dyn System>, transfer);
    let session = Arc::new(session.sharing(share));
    let (orders, theirs, alive) =
        (Channel::from(orders), Arc::clone(&session), Arc::clone(&server));
    let repeats = Arc::new(AtomicU64::new(0));
    let obeyed = Arc::clone(&repeats);
    orders.set_timeout(ALIVE_EVERY)?;
    system.spawn("orders", Box::new(move || obey(&orders, &theirs, &alive, &obeyed)))?;
    confine()?;
    if let Some(ending) = job.ending {
        session.end(ending);
    }
    run(&server, &session, job.buffer, &repeats)
}

fn run(server: &Channel, session: &Session, buffer: usize, repeats: &AtomicU64) -> io::Result<()> {
    let (mut is_proven, mut told_at) = (false, Time::START);
    let summary = session.run(|now, transfer| {
        let is_news = transfer.is_proven() && !is_proven;
        if is_news {
            transfer.set_buffer(buffer);
        }
        if is_news || now - told_at >= limits::FIGURES_EVERY {
            (is_proven, told_at) = (transfer.is_proven(), now);
            // Without a server there are no more orders, and the process ends.
            let figures = Figures::of(transfer.summary(), is_proven, 0);
            let _ = written(FIGURES, &figures).and_then(|message| server.send(&message));
        }
    })?;
    let is_proven = session.with_transfer(|_, transfer| transfer.is_proven());
    if session.is_dallying() {
        server.send(&written(DALLIES, &Figures::of(&summary, is_proven, 0))?)?;
        session.dally()?;
    }
    // One that was not obeyed yet is not answered any more.
    let answered = repeats.load(Ordering::SeqCst);
    let answered = answered.saturating_sub(session.leaves_repeat().into());
    server.send(&written(ENDED, &Figures::of(&summary, is_proven, answered))?)
}

/// Does what the server says. When that is gone, the transfer is over.
fn obey(orders: &Channel, session: &Session, alive: &Channel, repeats: &AtomicU64) {
    let mut order = [0; 1024];
    loop {
        match orders.receive(&mut order) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = alive.try_send(&[ALIVE]);
            }
            Ok(0) | Err(_) => return session.end(Ending::Abandon),
            Ok(len) => match (order[0], &order[1..len]) {
                (REPEAT, _) => {
                    session.repeat();
                    repeats.fetch_add(1, Ordering::SeqCst);
                }
                (STOP, why) => {
                    session.end(Ending::Stop(String::from_utf8_lossy(why).into_owned()));
                }
                (ABANDON, _) => session.end(Ending::Abandon),
                _ => {}
            },
        }
    }
}

/// The file, which the server has.
struct File {
    server: Arc<Channel>,
    /// Room for what the server says.
    answer: Vec<u8>,
}

/// Room for an answer with no bytes of the file.
const ANSWER_BYTES: usize = 1024;

impl File {
    /// Asks the server for something, and gives what came with its answer, which has room for so many bytes.
    fn ask(&mut self, question: &[u8], room: usize) -> io::Result<&[u8]> {
        self.server.send(question)?;
        self.answer.resize(room.max(ANSWER_BYTES), 0);
        let len = self.server.receive(&mut self.answer)?;
        match self.answer[..len].split_first() {
            Some((&DONE, rest)) => Ok(rest),
            Some((&FAILED, rest)) => Err(serde_json::from_slice::<Failure>(rest)?.into_error()),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next bytes of the file, so many at most.
    fn next(&mut self, most: usize) -> io::Result<&[u8]> {
        let most = most.min(limits::BLOCKING_READ_BYTES);
        let question = [&[READ], &(most as u64).to_le_bytes()[..]].concat();
        self.ask(&question, MOST_BYTES - limits::BLOCKING_READ_BYTES + most)
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer.len())?.read(buffer)
    }
}

impl Source for File {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.next(bufs.iter().map(|buf| buf.len()).sum())?.read_vectored(bufs)
    }
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(limits::BLOCKING_READ_BYTES) {
            self.ask(&[&[WRITE], piece].concat(), 0)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.ask(&[COMMIT], 0).map(drop)
    }

    fn may_wait(&self) -> MayWait {
        MayWait::OnCommit
    }
}

/// What it may send, which the server knows. Who asks has the transfer, as who reads the file has it: so the next answer
/// is its own.
#[derive(Debug)]
struct Held {
    server: Arc<Channel>,
    /// What it has sent and the server was not told yet.
    sent: AtomicU64,
}

impl Held {
    fn ask(&self, now: Time) -> io::Result<Allowance> {
        let sent = self.sent.swap(0, Ordering::Relaxed);
        self.server.send(&[&[SHARE], &sent.to_le_bytes()[..]].concat())?;
        let mut answer = [0; 17];
        self.server.receive(&mut answer)?;
        let wait = u64::from_le_bytes(*answer[1..].first_chunk().ok_or(ErrorKind::InvalidData)?);
        let bytes = u64::from_le_bytes(*answer.last_chunk().ok_or(ErrorKind::InvalidData)?);
        Ok(Allowance { at: now + Duration::from_micros(wait), bytes })
    }
}

impl Share for Held {
    fn allowance(&self, now: Time) -> Allowance {
        // Without a server it ends soon.
        let none = Allowance { at: now + limits::SHARE_AGAIN, bytes: 0 };
        self.ask(now).unwrap_or(none)
    }

    fn sent(&self, _: Time, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
