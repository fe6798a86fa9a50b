//! The process of one transfer: it has the transfer's socket and two channels to the server, and no file.

use super::message::{
    ABANDON, ALIVE, ALIVE_EVERY, BUFFER, COMMIT, DALLIES, DONE, ENDED, FAILED, FIGURES, Failure,
    Figures, Job, MOST_BYTES, READ, REPEAT, STOP, WRITE, written,
};
use crate::limits;
use crate::net::{Channel, Ending, Kernel, Session, Share, System, TransferSocket};
use crate::proto::Time;
use crate::transfer::{Blocking, MayWait, Sink, Transfer};
use std::io::{self, ErrorKind, Read};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Carries out one transfer of the server at the other end of `channel`, which a [`Spawner`](super::Spawner) was given, and
/// returns when it is over.
///
/// It opens nothing: a process that calls this can give up all files and all but a few system calls before. It starts one
/// thread.
pub fn carry(channel: OwnedFd) -> io::Result<()> {
    let server = Arc::new(Channel::from(channel));
    let mut first = vec![0; MOST_BYTES];
    let (len, [socket, orders]) = server.receive_with(&mut first)?;
    let job: Job = serde_json::from_slice(&first[..len])?;
    drop(first);
    let (system, terms) = (Kernel::start(), job.terms()?);
    let now = system.now();
    let socket = TransferSocket::handed_over(socket)?.offload(job.offload);
    let rate = Arc::new(AtomicU64::new(u64::MAX));
    let file = File { server: Arc::clone(&server), rate: Arc::clone(&rate) };
    let transfer = if job.writes() {
        Transfer::serve_write(now, &terms, Box::new(file))
    } else {
        let mut transfer = Transfer::serve_read(now, &terms, Box::new(Blocking::new(file)));
        if let Some(size) = job.path_block() {
            transfer.set_path_block(size);
        }
        transfer
    };
    let share = job.is_held.then(|| Box::new(Held(rate)) as Box<dyn Share>);
    let session = Session::new(socket, Arc::clone(&system) as Arc<dyn System>, transfer);
    let session = Arc::new(session.sharing(share));
    let (orders, theirs, alive) =
        (Channel::from(orders), Arc::clone(&session), Arc::clone(&server));
    let repeats = Arc::new(AtomicU64::new(0));
    let obeyed = Arc::clone(&repeats);
    orders.set_timeout(ALIVE_EVERY)?;
    system.spawn("orders", Box::new(move || obey(&orders, &theirs, &alive, &obeyed)))?;
    run(&server, &session, &repeats)
}

fn run(server: &Channel, session: &Session, repeats: &AtomicU64) -> io::Result<()> {
    let (mut is_proven, mut told_at) = (false, Time::START);
    let summary = session.run(|now, transfer| {
        let is_news = transfer.is_proven() && !is_proven;
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
                (BUFFER, bytes) => {
                    let bytes = usize::try_from(number(bytes)).unwrap_or(0);
                    session.with_transfer(|_, transfer| transfer.set_buffer(bytes));
                }
                _ => {}
            },
        }
    }
}

/// The number that these bytes are; 0 where they are none.
fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// The file, which the server has.
struct File {
    server: Arc<Channel>,
    rate: Arc<AtomicU64>,
}

impl File {
    /// Asks the server for something, and gives what came with its answer.
    fn ask(&self, question: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        self.server.send(question)?;
        let len = self.server.receive(answer)?;
        match answer[..len].split_first() {
            Some((&DONE, rest)) => Ok(rest.len()),
            Some((&FAILED, rest)) => Err(serde_json::from_slice::<Failure>(rest)?.into_error()),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut answer = vec![0; MOST_BYTES];
        let most = (buffer.len() as u64).to_le_bytes();
        let len = self.ask(&[&[READ], &most[..]].concat(), &mut answer)?;
        let short = || io::Error::from(ErrorKind::InvalidData);
        let (rate, bytes) = answer[1..=len].split_first_chunk().ok_or_else(short)?;
        self.rate.store(u64::from_le_bytes(*rate), Ordering::Relaxed);
        buffer.get_mut(..bytes.len()).ok_or_else(short)?.copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut answer = [0; 1024];
        for piece in bytes.chunks(limits::BLOCKING_READ_BYTES) {
            self.ask(&[&[WRITE], piece].concat(), &mut answer)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.ask(&[COMMIT], &mut [0; 1024]).map(drop)
    }

    fn may_wait(&self) -> MayWait {
        MayWait::OnCommit
    }
}

/// How fast it may send, as the server said last.
#[derive(Debug)]
struct Held(Arc<AtomicU64>);

impl Share for Held {
    fn rate(&self, _: Time) -> NonZeroU64 {
        NonZeroU64::new(self.0.load(Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX)
    }

    fn sent(&self, _: u64) {}
}
