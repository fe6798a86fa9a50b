//! A session as others see it: what was asked, whether its client is proven, and how to reach its transfer.

use super::quota::Client;
use crate::net::{Ending, Session};
use crate::proto::Time;
use crate::query::Query;
use crate::transfer::Summary;
use crate::wire::Filename;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(super) struct SessionEntry {
    pub(super) query: Query,
    proven: AtomicBool,
    served: AtomicBool,
    /// When its transfer last got on, in microseconds of the server's time.
    got_on_at: AtomicU64,
    /// Memory that is reserved for its window; whoever changes it holds the lock of the quota.
    bytes: AtomicUsize,
    stage: Mutex<Stage>,
    /// What was opened for it.
    opened: OnceLock<Opened>,
}

/// What a session is about, as it was found.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The name that is served, where it is not the one that was asked for.
    pub(super) served: Option<Filename>,
    /// Its length in bytes, as far as that is known.
    pub(super) size: Option<u64>,
}

/// A transfer under way, as all but its driver see it, whoever that is.
pub(super) trait UnderWay: Send + Sync {
    /// How far it is, unless somebody is at it just now.
    fn figures(&self) -> Option<Summary>;
    /// Its client repeated its request.
    fn repeat(&self);
    /// Ends it, and does not wait for that.
    fn end(&self, ending: Ending);
}

impl UnderWay for Session {
    fn figures(&self) -> Option<Summary> {
        self.figures()
    }

    fn repeat(&self) {
        self.repeat();
    }

    fn end(&self, ending: Ending) {
        self.end(ending);
    }
}

/// How far a session is.
enum Stage {
    /// What it asks for is being opened.
    Opening,
    /// It was ended before that was done.
    Ended(Ending),
    /// Its transfer is under way.
    Running(Arc<dyn UnderWay>),
}

impl SessionEntry {
    pub(super) const fn new(query: Query) -> Self {
        let [proven, served] = [const { AtomicBool::new(false) }; 2];
        let (got_on_at, bytes) = (AtomicU64::new(0), AtomicUsize::new(0));
        let opened = OnceLock::new();
        Self { query, proven, served, got_on_at, bytes, stage: Mutex::new(Stage::Opening), opened }
    }

    /// Notes what was opened for it.
    pub(super) fn set_opened(&self, opened: Opened) {
        let _ = self.opened.set(opened);
    }

    /// What was opened for it, if that is known by now.
    pub(super) fn opened(&self) -> Option<&Opened> {
        self.opened.get()
    }

    /// How far its transfer is, if one is under way and nobody is at it just now: it may be waiting for its disk.
    pub(super) fn figures(&self) -> Option<Summary> {
        let session = match &*self.stage() {
            Stage::Running(session) => Arc::clone(session),
            Stage::Opening | Stage::Ended(_) => return None,
        };
        session.figures()
    }

    /// Whether the client has answered from its own address.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Notes that the client has answered. Tells whether that is new.
    pub(super) fn prove(&self) -> bool {
        !self.proven.swap(true, Ordering::Relaxed)
    }

    /// Notes that the client has all that it asked for.
    pub(super) fn set_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// Notes that its transfer gets on.
    pub(super) fn gets_on(&self, now: Time) {
        self.got_on_at.store(now.as_micros(), Ordering::Relaxed);
    }

    /// When its transfer last got on.
    pub(super) fn got_on_at(&self) -> Time {
        Time::from_micros(self.got_on_at.load(Ordering::Relaxed))
    }

    /// What is known of its client.
    pub(super) fn client(&self) -> Client {
        match self.is_proven() {
            _ if self.served.load(Ordering::Relaxed) => Client::Served,
            true => Client::Proven,
            false => Client::Unproven,
        }
    }

    /// Memory that is reserved for its window.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes the transfer known, so that a repeat of its request or a shutdown reaches it.
    pub(super) fn attach<T: UnderWay + 'static>(&self, transfer: T) -> Arc<T> {
        let session = Arc::new(transfer);
        let running = Stage::Running(Arc::clone(&session) as Arc<dyn UnderWay>);
        let before = std::mem::replace(&mut *self.stage(), running);
        if let Stage::Ended(ending) = before {
            session.end(ending);
        }
        session
    }

    /// Ends it, now or as soon as its transfer is under way.
    pub(super) fn end(&self, ending: Ending) {
        let mut stage = self.stage();
        match &*stage {
            Stage::Running(session) => {
                let session = Arc::clone(session);
                drop(stage);
                session.end(ending);
            }
            Stage::Opening => *stage = Stage::Ended(ending),
            Stage::Ended(_) => {}
        }
    }

    /// Sends the current packet again, for the client asked again. While its file is being opened the answer is on its
    /// way.
    pub(super) fn repeat(&self) {
        let session = match &*self.stage() {
            Stage::Running(session) => Arc::clone(session),
            Stage::Opening | Stage::Ended(_) => return,
        };
        session.repeat();
    }

    /// Lets go of the transfer, which is over.
    pub(super) fn detach(&self) {
        let before = std::mem::replace(&mut *self.stage(), Stage::Ended(Ending::Abandon));
        drop(before);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_ended(&self) -> bool {
        matches!(*self.stage(), Stage::Ended(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Kernel, System, TransferSocket};
    use crate::proto::{Agreed, Timing};
    use crate::transfer::{Memory, Outcome, Terms, Transfer};
    use crate::wire::{Mode, Operation, Options};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    /// An entry, the session of its upload, and the client.
    fn upload() -> (SessionEntry, Session, UdpSocket) {
        let local = Ipv4Addr::LOCALHOST;
        let client = UdpSocket::bind((local, 0)).expect("a socket");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket's timeout");
        let peer = client.local_addr().expect("its address");
        let system = Kernel::start();
        let socket = TransferSocket::answer(&*system, local.into(), peer, None).expect("a socket");
        let terms = Terms {
            agreed: Agreed::default(),
            answer: Options::default(),
            mode: Mode::Octet,
            timing: Timing::default(),
        };
        let transfer = Transfer::serve_write(system.now(), &terms, Box::new(Vec::new()));
        let entry = SessionEntry::new(Query::new(peer, local.into(), Operation::Write, "a"));
        (entry, Session::new(socket, system, transfer), client)
    }

    /// The opcode of the next packet that a client gets.
    fn opcode(client: &UdpSocket) -> Option<u8> {
        let mut packet = [0; 600];
        client.recv(&mut packet).ok().map(|_| packet[1])
    }

    #[test]
    fn a_repeat_of_the_request_gets_the_answer_again_once_there_is_one() {
        let (entry, session, client) = upload();
        entry.repeat();
        entry.attach(session);
        for _ in 0..2 {
            entry.repeat();
            assert_eq!(opcode(&client), Some(4));
        }
    }

    #[test]
    fn an_end_reaches_the_transfer_whenever_it_comes() {
        let stop = || Ending::Stop("shutting down".into());
        let (entry, session, client) = upload();
        entry.end(stop());
        assert!(entry.is_ended());
        entry.attach(session);
        assert_eq!(opcode(&client), Some(5));

        let (entry, session, client) = upload();
        entry.attach(session);
        entry.end(stop());
        assert_eq!(opcode(&client), Some(5));
    }

    /// The entry and the session of the download of a few bytes, and the client.
    fn download() -> (SessionEntry, Arc<Session>, UdpSocket) {
        let (entry, upload, client) = upload();
        drop(upload);
        let Query { peer, local, .. } = entry.query;
        let system = Kernel::start();
        let socket = TransferSocket::answer(&*system, local, peer, None).expect("a socket");
        let (agreed, mode, timing) = (Agreed::default(), Mode::Octet, Timing::default());
        let terms = Terms { agreed, answer: Options::default(), mode, timing };
        let transfer =
            Transfer::serve_read(system.now(), &terms, Box::new(Memory::new("a few bytes")));
        let session = entry.attach(Session::new(socket, system, transfer));
        (entry, session, client)
    }

    #[test]
    fn the_last_ack_counts_although_the_request_for_the_next_file_was_read_before_it() {
        let (entry, session, client) = download();
        entry.repeat();
        let mut packet = [0; 600];
        let (_, tid) = client.recv_from(&mut packet).expect("the block");
        client.send_to(&[0, 4, 0, 1], tid).expect("sent");
        entry.end(Ending::Abandon);
        let summary = session.run(|_, _| {}).expect("it ends");
        assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Complete), 11));
        // Who said nothing has nothing.
        let (entry, session, client) = download();
        entry.repeat();
        assert_eq!(opcode(&client), Some(3));
        entry.end(Ending::Abandon);
        let summary = session.run(|_, _| {}).expect("it ends");
        assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Superseded), 0));
    }

    #[test]
    fn a_session_that_is_over_leaves_its_socket() {
        let (entry, session, _client) = upload();
        let session = Arc::downgrade(&entry.attach(session));
        assert_eq!(session.strong_count(), 1);
        entry.detach();
        assert_eq!(session.strong_count(), 0);
        assert!(entry.is_ended());
    }
}
