//! Driving many transfers on one thread: epoll tells which socket has something, a heap which deadline has come.
//!
//! Each turn of a transfer is short: one look at its socket, then what it wants to send. A turn that would wait for a
//! disk is taken by another thread, and the transfer comes back when it is over.

use super::drive::{Clock, Need, Session};
use super::workers::Workers;
use crate::proto::Time;
use crate::transfer::{Summary, Transfer};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A transfer and who wants to know of it.
pub trait Passenger: Send + 'static {
    /// The transfer on its socket.
    fn session(&self) -> &Arc<Session>;
    /// Something came for it; these are its figures, and this is the place to notice that the peer is proven.
    fn progress(&mut self, transfer: &mut Transfer);
    /// It is complete, and only stays in case the peer says its last once more. This may be told again.
    fn stays(&mut self, _summary: &Summary) {}
    /// It is over, or the system failed it.
    fn ended(self, how: io::Result<Summary>);
}

/// Carries many transfers on the thread that calls it.
pub struct Carrier<P> {
    epoll: Epoll,
    clock: Clock,
    workers: Workers,
    door: Door<P>,
    seats: Slab<Seat<P>>,
    /// One entry for each seat at least; older ones are told from it by their time.
    deadlines: BinaryHeap<Reverse<(Time, usize)>>,
    buffer: Vec<u8>,
    news: Vec<EpollEvent>,
}

struct Seat<P> {
    session: Arc<Session>,
    /// Away while another thread waits for its disk.
    passenger: Option<P>,
    deadline: Time,
    /// The time of its entry among the deadlines, never after its deadline.
    entry: Time,
}

/// Where transfers come aboard from other threads.
pub struct Door<P>(Arc<Entrance<P>>);

struct Entrance<P> {
    bell: EventFd,
    /// Those who wait to be let in; none are let in any more when the carrier is gone.
    waiting: Mutex<Option<Vec<Boarding<P>>>>,
}

enum Boarding<P> {
    New(P),
    /// Back from its disk, to its seat.
    Back(usize, P, Need),
}

/// What a look at the world brought that is no transfer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched(pub usize);

const NEVER: Time = Time::from_micros(u64::MAX);

/// Keys of what is no seat.
const BELL: u64 = u64::MAX;
const WATCHED: u64 = 1 << 32;

/// News taken from the kernel at once.
const NEWS: usize = 256;

impl<P: Passenger> Carrier<P> {
    /// Without passengers. What would wait for a disk goes to `workers`.
    pub fn new(clock: Clock, workers: Workers) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self {
            epoll,
            clock,
            workers,
            door: Door(Arc::new(Entrance { bell, waiting: Mutex::new(Some(Vec::new())) })),
            seats: Slab::new(),
            deadlines: BinaryHeap::new(),
            buffer: Vec::new(),
            news: vec![EpollEvent::empty(); NEWS],
        })
    }

    /// The way in for other threads.
    pub fn door(&self) -> Door<P> {
        self.door.clone()
    }

    /// From now on [`turn`](Self::turn) tells when `socket` has something to read.
    pub fn watch(&self, socket: &impl AsFd, name: Watched) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, WATCHED + name.0 as u64);
        Ok(self.epoll.add(socket, event)?)
    }

    /// No longer.
    pub fn unwatch(&self, socket: &impl AsFd) {
        let _ = self.epoll.delete(socket);
    }

    /// Takes a transfer aboard and lets it begin.
    pub fn board(&mut self, passenger: P) {
        let session = Arc::clone(passenger.session());
        let place = self.seats.vacant_entry();
        let seat = place.key();
        if let Err(error) = listen(&self.epoll, &session, seat) {
            return passenger.ended(Err(error));
        }
        let need = session.advance(&mut session.lock(), false);
        place.insert(Seat { session, passenger: Some(passenger), deadline: NEVER, entry: NEVER });
        self.meet(seat, need);
    }

    /// Sleeps until there is something to do, but no longer than `most`, and does it. What is being watched and has
    /// something is written to `watched`. Returns whether it was so much that there may be more.
    pub fn turn(&mut self, most: Option<Duration>, watched: &mut Vec<Watched>) -> io::Result<bool> {
        watched.clear();
        let mut news = std::mem::take(&mut self.news);
        let count = match self.epoll.wait(&mut news, self.patience(most)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for event in &news[..count] {
            match event.data() {
                BELL => self.answer_the_bell(),
                name if name >= WATCHED => watched.push(Watched((name - WATCHED) as usize)),
                seat => self.hear(seat as usize),
            }
        }
        self.news = news;
        self.meet_deadlines();
        Ok(count == NEWS)
    }

    /// Until the next deadline, in the kernel's milliseconds.
    fn patience(&self, most: Option<Duration>) -> EpollTimeout {
        let next = self.deadlines.peek().map(|Reverse((at, _))| *at - self.clock.now());
        let Some(wait) = next.into_iter().chain(most).min() else { return EpollTimeout::NONE };
        let millis = wait.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
    }

    fn answer_the_bell(&mut self) {
        let _ = self.door.0.bell.read();
        let boarding = self.door.waiting().as_mut().map(std::mem::take);
        for one in boarding.unwrap_or_default() {
            match one {
                Boarding::New(passenger) => self.board(passenger),
                Boarding::Back(seat, passenger, need) => self.back(seat, passenger, need),
            }
        }
    }

    fn back(&mut self, seat: usize, passenger: P, need: Need) {
        let place = &mut self.seats[seat];
        place.passenger = Some(passenger);
        match listen(&self.epoll, &place.session, seat) {
            Ok(()) => self.meet(seat, need),
            Err(error) => self.leave(seat, Err(error)),
        }
    }

    /// One look at a transfer's socket, and what follows from it.
    fn hear(&mut self, seat: usize) {
        let Some(Seat { session, passenger: Some(passenger), .. }) = self.seats.get_mut(seat)
        else {
            return;
        };
        let mut transfer = session.lock();
        let room = session.socket().room_for(&transfer);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let arrived = match session.socket().look(&mut self.buffer[..room]) {
            Ok(arrived) => arrived,
            Err(error) => {
                drop(transfer);
                return self.leave(seat, Err(error));
            }
        };
        session.hear(&mut transfer, arrived, &self.buffer);
        passenger.progress(&mut transfer);
        let need = session.advance(&mut transfer, false);
        drop(transfer);
        self.meet(seat, need);
    }

    /// Sees to what a transfer needs.
    fn meet(&mut self, seat: usize, need: Need) {
        match need {
            Need::Until(deadline) => self.await_until(seat, deadline),
            Need::Stay(deadline) => {
                if let Seat { session, passenger: Some(passenger), .. } = &mut self.seats[seat] {
                    passenger.stays(session.lock().summary());
                }
                self.await_until(seat, deadline);
            }
            Need::Storage => self.send_for_storage(seat),
            Need::Nothing => self.leave(seat, Ok(())),
        }
    }

    fn await_until(&mut self, seat: usize, deadline: Time) {
        let place = &mut self.seats[seat];
        place.deadline = deadline;
        if deadline < place.entry {
            place.entry = deadline;
            self.deadlines.push(Reverse((deadline, seat)));
        }
    }

    /// Another thread takes the turn that waits for the disk; until it is over nobody listens to the socket.
    fn send_for_storage(&mut self, seat: usize) {
        let Some(passenger) = self.seats[seat].passenger.take() else { return };
        // To listen to nothing would not do: what the network reports is news even then, and would never be old.
        let _ = self.epoll.delete(self.seats[seat].session.socket());
        let door = self.door();
        self.workers.run(move || {
            let session = passenger.session();
            let need = session.advance(&mut session.lock(), true);
            door.pass(Boarding::Back(seat, passenger, need));
        });
    }

    fn leave(&mut self, seat: usize, how: io::Result<()>) {
        let Seat { session, passenger, .. } = self.seats.remove(seat);
        let _ = self.epoll.delete(session.socket());
        if self.seats.is_empty() {
            // Who has nobody aboard need not wake for those who left.
            self.deadlines.clear();
        }
        let summary = how.map(|()| session.lock().summary().clone());
        drop(session);
        if let Some(passenger) = passenger {
            passenger.ended(summary);
        }
    }

    fn meet_deadlines(&mut self) {
        let now = self.clock.now();
        while let Some(Reverse((at, seat))) = self.deadlines.peek().copied()
            && at <= now
        {
            self.deadlines.pop();
            let Some(place) = self.seats.get_mut(seat).filter(|place| place.entry == at) else {
                continue;
            };
            place.entry = NEVER;
            if place.passenger.is_some() && place.deadline <= now {
                self.hear(seat);
            } else if place.passenger.is_some() {
                // Most deadlines are put off by each packet; it is noticed here.
                place.entry = place.deadline;
                self.deadlines.push(Reverse((place.deadline, seat)));
            }
        }
    }
}

fn listen(epoll: &Epoll, session: &Session, seat: usize) -> io::Result<()> {
    Ok(epoll.add(session.socket(), EpollEvent::new(EpollFlags::EPOLLIN, seat as u64))?)
}

/// Who waits at the door holds what the carrier's owner holds, the door among it: without this they would hold each
/// other for ever.
impl<P> Drop for Carrier<P> {
    fn drop(&mut self) {
        let waiting = self.door.waiting().take();
        drop(waiting);
    }
}

impl<P> Door<P> {
    /// Sends a transfer aboard.
    pub fn board(&self, passenger: P) {
        self.pass(Boarding::New(passenger));
    }

    /// Makes the carrier's turn end now.
    pub fn ring(&self) {
        let _ = self.0.bell.write(1);
    }

    fn pass(&self, boarding: Boarding<P>) {
        match &mut *self.waiting() {
            Some(waiting) => waiting.push(boarding),
            None => return,
        }
        self.ring();
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Boarding<P>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Clone for Door<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P> std::fmt::Debug for Door<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl<P> std::fmt::Debug for Carrier<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("aboard", &self.seats.len()).finish_non_exhaustive()
    }
}
