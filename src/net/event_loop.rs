//! The event loop: drives many transfers on one thread. A [`Poller`] tells which socket has something, [`Deadlines`] whose
//! time has come.
//!
//! Each turn of a transfer is short: one look at its socket, then what it wants to send. A turn that would wait for a
//! disk is taken by another thread, and the transfer comes back when it is over.

use super::deadlines::Deadlines;
use super::flow::{Bell, Flow};
use super::pools::Pools;
use super::session::{Driver, Next, Session};
use super::socket::RequestSocket;
use super::system::{Poller, System, WOKEN};
use super::waiting::BusyPoll;
use crate::limits;
use crate::proto::Time;
use crate::transfer::{Summary, Transfer};
use slab::Slab;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A transfer on its socket, and who wants to know how it gets on.
pub(crate) trait Handler: Send + 'static {
    /// The transfer on its socket.
    fn session(&self) -> &Arc<Session>;
    /// Something came for the transfer, or its time had come.
    fn progress(&mut self, now: Time, transfer: &mut Transfer);
    /// The file is safe, and the transfer only answers a repeated last block. This may be told again.
    fn dallies(&mut self, _summary: &Summary) {}
    /// The transfer is over, or the system failed it.
    fn ended(self, how: io::Result<Summary>);
}

/// Drives many transfers on the thread that calls it.
pub(crate) struct EventLoop<H> {
    system: Arc<dyn System>,
    pools: Pools,
    mailbox: Mailbox<H>,
    entries: Slab<Entry<H>>,
    /// By the keys of `entries`.
    deadlines: Deadlines,
    buffer: Vec<u8>,
    ready: Vec<u64>,
    busy_poll: BusyPoll,
}

struct Entry<H> {
    session: Arc<Session>,
    /// Missing while a worker has it, to wait for its disk.
    handler: Option<H>,
    /// Whether the poller tells of room to send.
    waits_for_room: bool,
    /// Whether its peer's answer is polled for.
    polls: bool,
}

/// How other threads hand transfers to an event loop, and wake it.
pub(crate) struct Mailbox<H>(Arc<Shared<H>>);

struct Shared<H> {
    poller: Box<dyn Poller>,
    /// Nothing is taken any more when the loop is gone.
    mail: Mutex<Option<Vec<Mail<H>>>>,
}

enum Mail<H> {
    New(H),
    /// A worker is done with the handler of this entry. A handler whose turn panicked is lost.
    Back(usize, Option<(H, Next)>),
    /// Something was done to the transfer of this entry.
    Look(usize),
    /// Something to do here, which must not wait.
    Call(Box<dyn FnOnce() + Send>),
}

/// The name of a watched socket, which is no transfer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(pub(crate) usize);

/// The names of watched sockets: entries have keys below.
const WATCHED: u64 = 1 << 32;

impl<H: Handler> EventLoop<H> {
    /// A loop without transfers. What would wait goes to `pools`.
    pub(crate) fn new(system: Arc<dyn System>, pools: Pools) -> io::Result<Self> {
        let shared = Shared { poller: system.poller()?, mail: Mutex::new(Some(Vec::new())) };
        Ok(Self {
            busy_poll: BusyPoll::new(Arc::clone(&system)),
            system,
            pools,
            mailbox: Mailbox(Arc::new(shared)),
            entries: Slab::new(),
            deadlines: Deadlines::default(),
            buffer: Vec::new(),
            ready: Vec::with_capacity(limits::EVENTS_AT_ONCE),
        })
    }

    /// The way in for other threads.
    pub(crate) fn mailbox(&self) -> Mailbox<H> {
        self.mailbox.clone()
    }

    /// From now on [`turn`](Self::turn) tells when `socket` has something to read.
    pub(crate) fn watch(&self, socket: &RequestSocket, name: SocketId) -> io::Result<()> {
        self.poller().add(socket.udp(), WATCHED + name.0 as u64)
    }

    /// From now on [`turn`](Self::turn) tells nothing of `socket`.
    pub(crate) fn unwatch(&self, socket: &RequestSocket) {
        self.poller().remove(socket.udp());
    }

    fn poller(&self) -> &dyn Poller {
        &*self.mailbox.0.poller
    }

    /// Takes a transfer and lets it begin.
    pub(crate) fn add(&mut self, handler: H) {
        let session = Arc::clone(handler.session());
        let vacant = self.entries.vacant_entry();
        let key = vacant.key();
        if let Err(error) = listen(&self.mailbox.0, &session, key) {
            return handler.ended(Err(error));
        }
        let next = session.advance(&mut session.lock(), Driver::Loop);
        vacant.insert(Entry {
            session,
            handler: Some(handler),
            waits_for_room: false,
            polls: false,
        });
        self.busy_poll.begin_anew();
        self.go_on(key, next);
    }

    /// Sleeps until there is something to do, but no longer than `most`, and does it. The names of watched sockets that
    /// have something to read are written to `watched`. Tells whether there was so much that there may be more.
    pub(crate) fn turn(
        &mut self,
        most: Option<Duration>,
        watched: &mut Vec<SocketId>,
    ) -> io::Result<bool> {
        let crowded = self.wait(most, watched)?;
        self.run_due();
        Ok(crowded)
    }

    /// The first half of a [`turn`](Self::turn), for one who has something to deliver before silence is judged.
    pub(crate) fn wait(
        &mut self,
        most: Option<Duration>,
        watched: &mut Vec<SocketId>,
    ) -> io::Result<bool> {
        watched.clear();
        let mut ready = std::mem::take(&mut self.ready);
        let most = self.time_to_wait(most);
        self.sleep(most, &mut ready)?;
        for name in ready.iter().copied() {
            match name {
                WOKEN => self.open_mail(),
                name if name >= WATCHED => watched.push(SocketId((name - WATCHED) as usize)),
                key => drop(self.hear(key as usize)),
            }
        }
        // Whoever waits on this machine for what is sent finds more of it when it is woken, and is woken less often.
        for key in ready.iter().filter(|name| **name < WATCHED) {
            self.act(*key as usize);
        }
        let crowded = ready.len() == limits::EVENTS_AT_ONCE;
        self.ready = ready;
        Ok(crowded)
    }

    /// Waits for something to do. Where an answer is near it is looked for first.
    fn sleep(&mut self, most: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        let poller = &*self.mailbox.0.poller;
        let until = self.system.now() + most.unwrap_or(limits::BUSY_POLL);
        let found = self.busy_poll.poll(until, || {
            poller.wait(Some(Duration::ZERO), ready)?;
            Ok(!ready.is_empty())
        })?;
        if found { Ok(()) } else { poller.wait(most, ready) }
    }

    /// The second half: lets those act whose time has come.
    pub(crate) fn run_due(&mut self) {
        let now = self.system.now();
        while let Some(key) = self.deadlines.pop_due(now) {
            self.look(key);
        }
    }

    /// Has a transfer look at its socket, and act; at all that was delivered to it, where it shares one.
    pub(crate) fn look(&mut self, key: usize) {
        self.receive(key);
        while self.has_something(key) {
            self.receive(key);
        }
    }

    fn has_something(&self, key: usize) -> bool {
        let entry = self.entries.get(key).filter(|entry| entry.handler.is_some());
        let flow = entry.and_then(|entry| entry.session.socket().flow());
        flow.is_some_and(Flow::has_something)
    }

    /// The time to the next deadline, if that is less than `most`.
    fn time_to_wait(&self, most: Option<Duration>) -> Option<Duration> {
        let next = self.deadlines.next().map(|at| at - self.system.now());
        next.into_iter().chain(most).min()
    }

    fn open_mail(&mut self) {
        let mail = self.mailbox.mail().as_mut().map(std::mem::take);
        for one in mail.unwrap_or_default() {
            match one {
                Mail::New(handler) => self.add(handler),
                Mail::Back(key, Some((handler, next))) => self.take_back(key, handler, next),
                Mail::Back(key, None) => self.remove(key, Ok(())),
                Mail::Look(key) => self.look(key),
                Mail::Call(act) => act(),
            }
        }
    }

    fn take_back(&mut self, key: usize, handler: H, next: Next) {
        let entry = &mut self.entries[key];
        entry.handler = Some(handler);
        match listen(&self.mailbox.0, &entry.session, key) {
            Ok(()) => {
                self.go_on(key, next);
                // It may have been ended, or have got something, while nobody listened.
                if self
                    .entries
                    .get(key)
                    .is_some_and(|entry| entry.session.socket().flow().is_some())
                {
                    self.look(key);
                }
            }
            Err(error) => self.remove(key, Err(error)),
        }
    }

    /// Looks once at a transfer's socket, and lets it act.
    fn receive(&mut self, key: usize) {
        if self.hear(key) {
            self.act(key);
        }
    }

    /// Looks once at a transfer's socket. Tells whether it may act.
    fn hear(&mut self, key: usize) -> bool {
        let Some(Entry { session, handler: Some(handler), .. }) = self.entries.get_mut(key) else {
            return false;
        };
        let mut transfer = session.lock();
        let room = session.socket().room_for(&transfer);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let buffer = &mut self.buffer[..room];
        let heard = session.socket().try_receive(buffer);
        match heard.and_then(|it| session.hear(&mut transfer, it, buffer)) {
            Ok(now) => {
                handler.progress(now, &mut transfer);
                true
            }
            Err(error) => {
                drop(transfer);
                self.remove(key, Err(error));
                false
            }
        }
    }

    /// Lets a transfer act.
    fn act(&mut self, key: usize) {
        let Some(Entry { session, handler: Some(_), .. }) = self.entries.get(key) else { return };
        let next = session.advance(&mut session.lock(), Driver::Loop);
        self.go_on(key, next);
    }

    /// Sees to it that a transfer gets what it waits for.
    fn go_on(&mut self, key: usize, next: Next) {
        let for_room = matches!(next, Next::Room(_));
        let Entry { session, waits_for_room, .. } = &mut self.entries[key];
        if std::mem::replace(waits_for_room, for_room) != for_room {
            let (poller, socket) = (&self.mailbox.0.poller, session.socket());
            // Where that cannot be told its time comes.
            let _ = match socket.flow() {
                Some(_) => Ok(()),
                None => poller.tell_of_room(socket.udp(), key as u64, for_room),
            };
        }
        self.set_polls(key, matches!(next, Next::Wait(_)));
        match next {
            Next::Room(deadline) if self.entries[key].session.socket().flow().is_some() => {
                let again = self.system.now() + limits::ROOM_AGAIN;
                self.deadlines.set(key, deadline.min(again));
            }
            Next::Wait(deadline) | Next::Room(deadline) => self.deadlines.set(key, deadline),
            Next::Dally(deadline) => {
                if let Entry { session, handler: Some(handler), .. } = &mut self.entries[key] {
                    handler.dallies(session.lock().summary());
                }
                self.deadlines.set(key, deadline);
            }
            Next::Storage => self.run_storage(key),
            Next::Done => self.remove(key, Ok(())),
        }
    }

    /// Whoever waits for a disk, or only in case the last ACK was lost, needs no answer soon.
    fn set_polls(&mut self, key: usize, polls: bool) {
        match (std::mem::replace(&mut self.entries[key].polls, polls), polls) {
            (false, true) => self.busy_poll.begin(),
            (true, false) => self.busy_poll.end(),
            _ => {}
        }
    }

    /// Has a worker take the turn that waits for the disk; until that is over nobody listens to the socket.
    fn run_storage(&mut self, key: usize) {
        let Some(handler) = self.entries[key].handler.take() else { return };
        // To listen to nothing would not do: what the network reports is an event even then, and would stay one.
        listen_no_more(self.poller(), &self.entries[key].session);
        let work = self.entries[key].session.lock().storage_work();
        let turn = Turn { mailbox: self.mailbox(), key, done: None };
        let wait = move || {
            let session = handler.session();
            let next = session.advance(&mut session.lock(), Driver::Storage);
            turn.end(handler, next);
        };
        self.pools.run(work.into(), Box::new(wait));
    }

    fn remove(&mut self, key: usize, how: io::Result<()>) {
        self.set_polls(key, false);
        let Entry { session, handler, .. } = self.entries.remove(key);
        listen_no_more(self.poller(), &session);
        self.deadlines.remove(key);
        if self.entries.is_empty() {
            // A loop without transfers need not wake for those that were there.
            self.deadlines.clear();
        }
        let transfer = session.lock();
        let (summary, may_wait) = (transfer.summary().clone(), transfer.drop_may_wait());
        let work = transfer.storage_work();
        drop(transfer);
        drop(session);
        let end = move || handler.map_or((), |handler| handler.ended(how.map(|()| summary)));
        match may_wait {
            true => self.pools.run(work.into(), Box::new(end)),
            false => end(),
        }
    }
}

/// From now on what comes for a transfer, or is done to it, is told by this name.
fn listen<H: Send + 'static>(
    shared: &Arc<Shared<H>>,
    session: &Session,
    key: usize,
) -> io::Result<()> {
    let socket = session.socket();
    match socket.flow() {
        Some(flow) => flow.listen(key, Arc::clone(shared) as Arc<dyn Bell>),
        None => shared.poller.add(socket.udp(), key as u64)?,
    }
    Ok(())
}

fn listen_no_more(poller: &dyn Poller, session: &Session) {
    match session.socket().flow() {
        Some(flow) => flow.listen_no_more(),
        None => poller.remove(session.socket().udp()),
    }
}

impl<H: Send + 'static> Bell for Shared<H> {
    fn ring(&self, key: usize) {
        self.send(Mail::Look(key));
    }
}

/// A turn that a worker takes. However it ends, the loop hears of it.
struct Turn<H> {
    mailbox: Mailbox<H>,
    key: usize,
    done: Option<(H, Next)>,
}

impl<H> Turn<H> {
    fn end(mut self, handler: H, next: Next) {
        self.done = Some((handler, next));
    }
}

impl<H> Drop for Turn<H> {
    fn drop(&mut self) {
        self.mailbox.send(Mail::Back(self.key, self.done.take()));
    }
}

/// A handler in the mailbox may hold what the loop's owner holds, and so the mailbox: without this they would hold each
/// other for ever.
impl<H> Drop for EventLoop<H> {
    fn drop(&mut self) {
        let mail = self.mailbox.mail().take();
        drop(mail);
    }
}

impl<H> Mailbox<H> {
    /// Hands a transfer to the loop.
    pub(crate) fn add(&self, handler: H) {
        self.send(Mail::New(handler));
    }

    /// Calls `act`, which must not wait, on the loop's thread when its turn comes.
    pub(crate) fn call(&self, act: impl FnOnce() + Send + 'static) {
        self.send(Mail::Call(Box::new(act)));
    }

    /// Makes the loop's turn end now.
    pub(crate) fn wake(&self) {
        self.0.poller.wake();
    }

    fn send(&self, one: Mail<H>) {
        self.0.send(one);
    }

    fn mail(&self) -> MutexGuard<'_, Option<Vec<Mail<H>>>> {
        self.0.mail()
    }
}

impl<H> Shared<H> {
    fn send(&self, one: Mail<H>) {
        match &mut *self.mail() {
            Some(mail) => mail.push(one),
            None => return,
        }
        self.poller.wake();
    }

    fn mail(&self) -> MutexGuard<'_, Option<Vec<Mail<H>>>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Clone for Mailbox<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests;
