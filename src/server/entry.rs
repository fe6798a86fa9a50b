//! A session as others see it: what was asked, whether its client is proven, and how to reach its transfer.

use super::quota::Client;
use crate::net::{Ending, RequestSocket, Session};
use crate::proto::Time;
use crate::query::Query;
use crate::transfer::Summary;
use crate::wire::Filename;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

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
    /// The port at which its request was repeated.
    repeated_at: OnceLock<Weak<RequestSocket>>,
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
    /// Whether it is over and left a repeat without an answer. Tells that once.
    fn leaves_repeat(&self) -> bool;
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

    fn leaves_repeat(&self) -> bool {
        self.leaves_repeat()
    }

    fn end(&self, ending: Ending) {
        self.end(ending);
    }
}

/// What a repeat of a request is, as far as the session knows that it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The session answers it, or gives it back when its transfer is let go.
    IsSeenTo,
    /// The session is over: it is a request like any other.
    IsNew,
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
        let stage = Mutex::new(Stage::Opening);
        let opened = OnceLock::new();
        let repeated_at = OnceLock::new();
        Self { query, proven, served, got_on_at, bytes, stage, opened, repeated_at }
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

    /// Sends the current packet again, for the client asked again at this port. While its file is being opened the answer
    /// is on its way. Where the transfer turns out to be over, this is known here, or when it is [let go](Self::detach).
    pub(super) fn repeat(&self, asked_at: &Arc<RequestSocket>) -> Repeated {
        let session = match &*self.stage() {
            Stage::Opening => return Repeated::IsSeenTo,
            Stage::Running(session) => Arc::clone(session),
            Stage::Ended(_) => return Repeated::IsNew,
        };
        let _ = self.repeated_at.set(Arc::downgrade(asked_at));
        session.repeat();
        match self.is_ended() && session.leaves_repeat() {
            true => Repeated::IsNew,
            false => Repeated::IsSeenTo,
        }
    }

    /// Lets go of the transfer, which is over. Gives the port at which its request was repeated, if that is still to be
    /// answered.
    pub(super) fn detach(&self) -> Option<Weak<RequestSocket>> {
        let before = std::mem::replace(&mut *self.stage(), Stage::Ended(Ending::Abandon));
        let Stage::Running(session) = before else { return None };
        session.leaves_repeat().then(|| self.repeated_at.get().cloned()).flatten()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was ended, or its transfer is over.
    pub(super) fn is_ended(&self) -> bool {
        matches!(*self.stage(), Stage::Ended(_))
    }
}

/// A transfer that notes how it is ended.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Noted(Mutex<Option<Ending>>);

#[cfg(test)]
impl Noted {
    pub(super) fn ending(&self) -> Option<Ending> {
        self.0.lock().expect("no panic").clone()
    }
}

#[cfg(test)]
impl UnderWay for Noted {
    fn figures(&self) -> Option<Summary> {
        None
    }

    fn repeat(&self) {}

    fn leaves_repeat(&self) -> bool {
        false
    }

    fn end(&self, ending: Ending) {
        *self.0.lock().expect("no panic") = Some(ending);
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

    /// The port at which it asks.
    fn port() -> Arc<RequestSocket> {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        Arc::new(RequestSocket::bind(&*Kernel::start(), any, None).expect("a port"))
    }

    /// The opcode of the next packet that a client gets.
    fn opcode(client: &UdpSocket) -> Option<u8> {
        let mut packet = [0; 600];
        client.recv(&mut packet).ok().map(|_| packet[1])
    }

    #[test]
    fn a_repeat_of_the_request_gets_the_answer_again_once_there_is_one() {
        let ((entry, session, client), port) = (upload(), port());
        assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
        let session = entry.attach(session);
        for _ in 0..2 {
            assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
            assert_eq!(opcode(&client), Some(4));
        }
        // The same while somebody is at it, who takes long.
        session.with_transfer(|_, _| {
            assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
            client.set_nonblocking(true).expect("a socket's mode");
            assert_eq!(opcode(&client), None);
            client.set_nonblocking(false).expect("a socket's mode");
        });
        assert_eq!(opcode(&client), Some(4));
    }

    #[test]
    fn a_request_that_comes_again_while_its_transfer_ends_is_for_another() {
        let port = port();
        let begun = || {
            let (entry, session, client) = upload();
            let session = entry.attach(session);
            (entry, session, client)
        };
        let is_of = |at: Option<Weak<RequestSocket>>| {
            at.is_some_and(|at| at.ptr_eq(&Arc::downgrade(&port)))
        };
        // Before its driver has seen the end, after that, and when the entry is let go.
        let (entry, session, _client) = begun();
        session.with_transfer(|now, transfer| {
            assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
            transfer.stop(now, "the client says so");
        });
        assert!(is_of(entry.detach()) && entry.detach().is_none());
        let (entry, session, _client) = begun();
        session.with_transfer(|now, transfer| transfer.stop(now, "the client says so"));
        assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
        assert!(is_of(entry.detach()));
        assert_eq!(entry.repeat(&port), Repeated::IsNew);
        // One that was answered is not left.
        let (entry, _session, client) = begun();
        assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
        assert_eq!((opcode(&client), entry.detach().is_none()), (Some(4), true));
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

        // The first counts: who is told why it ends is told although it is given up, too.
        let (entry, transfer) = (upload().0, Noted::default());
        entry.end(stop());
        entry.end(Ending::Abandon);
        assert_eq!(entry.attach(transfer).ending(), Some(stop()));
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
        let ((entry, session, client), port) = (download(), port());
        entry.repeat(&port);
        let mut packet = [0; 600];
        let (_, tid) = client.recv_from(&mut packet).expect("the block");
        client.send_to(&[0, 4, 0, 1], tid).expect("sent");
        entry.end(Ending::Abandon);
        let summary = session.run(|_, _| {}).expect("it ends");
        assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Complete), 11));
        // Who said nothing has nothing.
        let (entry, session, client) = download();
        entry.repeat(&port);
        assert_eq!(opcode(&client), Some(3));
        entry.end(Ending::Abandon);
        let summary = session.run(|_, _| {}).expect("it ends");
        assert_eq!((summary.outcome, summary.bytes), (Some(Outcome::Superseded), 0));
    }

    #[test]
    fn what_the_client_said_before_is_heard_before_its_repeat_is_answered() {
        let port = port();
        let begun = |said: &[u8]| {
            let (entry, session, client) = download();
            entry.repeat(&port);
            let mut packet = [0; 600];
            let (_, tid) = client.recv_from(&mut packet).expect("the block");
            client.send_to(said, tid).expect("sent");
            assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
            client.set_nonblocking(true).expect("a socket's mode");
            assert_eq!(opcode(&client), None, "it may be over by {said:?}");
            (entry, session)
        };
        // It refuses what it got, and asks anew.
        let (entry, session) = begun(b"\0\x05\0\x08\0");
        let summary = session.run(|_, _| {}).expect("it ends");
        assert!(matches!(summary.outcome, Some(Outcome::PeerError(..))), "{summary:?}");
        assert!(entry.detach().is_some_and(|at| at.ptr_eq(&Arc::downgrade(&port))));
        // What means nothing ends nothing, and the answer leaves behind it.
        let (entry, session, client) = download();
        let tid = session.socket().local_address().expect("an address");
        client.send_to(&[0], tid).expect("sent");
        assert_eq!(entry.repeat(&port), Repeated::IsSeenTo);
        let running = Arc::clone(&session);
        let running = std::thread::spawn(move || running.run(|_, _| {}));
        assert_eq!([opcode(&client), opcode(&client)], [Some(3); 2], "the first, and the repeat");
        entry.end(Ending::Abandon);
        running.join().expect("no panic").expect("it ends");
        assert!(entry.detach().is_none());
    }

    #[test]
    fn a_session_that_is_over_leaves_its_socket() {
        let (entry, session, _client) = upload();
        let session = Arc::downgrade(&entry.attach(session));
        assert_eq!(session.strong_count(), 1);
        assert!(entry.detach().is_none());
        assert_eq!(session.strong_count(), 0);
        assert!(entry.is_ended());
    }
}
