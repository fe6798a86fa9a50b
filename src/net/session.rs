//! A transfer on its socket, and the driver of one on a thread of its own.

use super::socket::{Received, TransferSocket};
use super::system::System;
use super::tap::{Listener, Tap};
use super::waiting::{BusyPoll, Timeout};
use crate::limits;
use crate::proto::{Allowance, Time};
use crate::transfer::{Action, Burst, Summary, Transfer};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A transfer on its socket. Whoever has something to tell it takes the lock, tells it, and lets it act: the loop
/// that drives it when a datagram or a deadline comes, the request port when its client asks again, a shutdown.
#[derive(Debug)]
pub(crate) struct Session {
    socket: TransferSocket,
    system: Arc<dyn System>,
    transfer: Mutex<Transfer>,
    /// The network says that the peer's port is closed. What the peer said before it closed may still be waiting.
    refused: AtomicBool,
    /// It was away with its disk for long: much may have come meanwhile.
    was_away: AtomicBool,
    /// It was abandoned, and its socket is looked at once more before it ends.
    was_heard: AtomicBool,
    /// The client repeated its request, and that was not answered yet.
    repeated: AtomicBool,
    /// Set once, from outside; obeyed by whoever holds the transfer.
    ending: OnceLock<Ending>,
    /// What it sends has to pass this.
    gate: Option<Mutex<Box<dyn Gate>>>,
    tap: Tap,
    /// How fast it may send.
    share: Option<Box<dyn Share>>,
}

/// Says when a transfer may send, for reasons that are none of its own.
pub(crate) trait Gate: Debug + Send {
    /// When it may send: now, or at this later time.
    fn opens_at(&mut self, now: Time) -> Time;
    /// It sends this.
    fn sent(&mut self, now: Time, burst: &Burst<'_>);
    /// Its peer sent this, and it got on by it, or did not.
    fn heard(&mut self, now: Time, datagram: &[u8], got_on: bool);
}

/// Says how fast a transfer may send beside others.
pub(crate) trait Share: Debug + Send + Sync {
    /// How many bytes may leave now, or when to ask again.
    fn allowance(&self, now: Time) -> Allowance;
    /// It sends so many bytes.
    fn sent(&self, now: Time, bytes: u64);
}

/// How a transfer is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// With an ERROR that says why, unless the file is whole already.
    Stop(String),
    /// Without a word.
    Abandon,
}

/// What a transfer waits for when it has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A datagram, or this time.
    Wait(Time),
    /// A repeated last block, or this time: the file is safe.
    Dally(Time),
    /// Room in the socket, a datagram, or this time.
    Room(Time),
    /// A disk, where that may take a while.
    Storage,
    /// Nothing: it is over.
    Done,
}

/// Who lets a transfer act, and for what of it may wait meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// A thread of its own: for all.
    Thread,
    /// A thread for storage: for a disk, but for no network.
    Storage,
    /// A loop that drives others, too, or whoever has something to tell it: for nothing.
    Loop,
}

impl Session {
    /// Joins a transfer with its socket.
    pub(crate) fn new(socket: TransferSocket, system: Arc<dyn System>, transfer: Transfer) -> Self {
        Self {
            socket,
            system,
            transfer: Mutex::new(transfer),
            refused: AtomicBool::new(false),
            was_away: AtomicBool::new(false),
            was_heard: AtomicBool::new(false),
            repeated: AtomicBool::new(false),
            ending: OnceLock::new(),
            gate: None,
            tap: Tap::default(),
            share: None,
        }
    }

    /// The same, behind a gate.
    #[must_use]
    pub(crate) fn behind(mut self, gate: Option<Box<dyn Gate>>) -> Self {
        self.gate = gate.map(Mutex::new);
        self
    }

    /// The same, with somebody who listens in.
    #[must_use]
    pub(crate) fn tapped(mut self, listener: Option<Box<dyn Listener>>) -> Self {
        self.tap = Tap::new(listener);
        self
    }

    /// Tells who listens in that it has its outcome.
    pub(crate) fn told(&self, summary: &Summary) {
        self.tap.ended(summary);
    }

    /// The same, with a share of what all may send.
    #[must_use]
    pub(crate) fn sharing(mut self, share: Option<Box<dyn Share>>) -> Self {
        self.share = share;
        self
    }

    /// Asks the gate, or tells it something.
    fn at_gate<T>(&self, act: impl FnOnce(&mut dyn Gate) -> T) -> Option<T> {
        let gate = self.gate.as_ref()?;
        Some(act(&mut **gate.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The socket.
    pub(crate) const fn socket(&self) -> &TransferSocket {
        &self.socket
    }

    /// The transfer, for as long as the guard lives.
    pub(super) fn lock(&self) -> Locked<'_> {
        self.locked(self.transfer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, unless somebody is at it.
    fn try_lock(&self) -> Option<Locked<'_>> {
        self.transfer.try_lock().ok().map(|transfer| self.locked(transfer))
    }

    const fn locked<'a>(&'a self, transfer: MutexGuard<'a, Transfer>) -> Locked<'a> {
        Locked { transfer, _unlocked: Unlocked(self) }
    }

    /// Calls `act` with the time and the transfer.
    pub(crate) fn with_transfer<T>(&self, act: impl FnOnce(Time, &mut Transfer) -> T) -> T {
        act(self.system.now(), &mut self.lock())
    }

    /// Obeys the transfer until it waits for something for which this driver does not.
    pub(super) fn advance(&self, transfer: &mut Transfer, driver: Driver) -> Next {
        let mut now = self.system.now();
        loop {
            match self.ending.get() {
                Some(Ending::Stop(reason)) => transfer.stop(now, reason),
                // What the peer said until now may have been the last ACK.
                Some(Ending::Abandon) if !self.was_heard.swap(true, Ordering::Relaxed) => {
                    return Next::Wait(now);
                }
                Some(Ending::Abandon) => transfer.abandon(now),
                None => {}
            }
            let opens_at = self.at_gate(|gate| gate.opens_at(now)).filter(|at| *at > now);
            if let Some(at) = opens_at.filter(|_| !transfer.is_over()) {
                return Next::Wait(at);
            }
            if let Some(share) = &self.share {
                transfer.set_allowance(share.allowance(now));
            }
            match transfer.poll(now) {
                Action::Wait(until) => {
                    // One more look at the socket decides.
                    let refused = self.refused.load(Ordering::Relaxed);
                    let until = if refused { now } else { until };
                    let dallies = transfer.is_dallying();
                    return if dallies { Next::Dally(until) } else { Next::Wait(until) };
                }
                Action::Done => return Next::Done,
                Action::Storage => {
                    if driver != Driver::Loop {
                        transfer.run_storage(now);
                    } else if !transfer.try_storage(now) {
                        return Next::Storage;
                    }
                    // What was read leaves by the time after the read, or its interval might have passed before.
                    let before = std::mem::replace(&mut now, self.system.now());
                    if now - before > limits::ECHO_SPAN {
                        // What the peer said meanwhile is heard before its silence is judged.
                        self.was_away.store(true, Ordering::Relaxed);
                        return Next::Wait(now);
                    }
                }
                Action::Send(burst) => {
                    let (packet, bytes) = (burst.packet, burst.bytes);
                    self.at_gate(|gate| gate.sent(now, &burst));
                    let sent = self.socket.send(burst, driver == Driver::Thread);
                    let left = *sent.as_ref().unwrap_or(&bytes.len());
                    let gone = &bytes[..bytes.len() - left];
                    if let Some(share) = &self.share {
                        share.sent(now, gone.len() as u64);
                    }
                    self.tap.sent(now, gone, packet);
                    match sent {
                        Err(error) if self.says_unreachable(&error) => {
                            self.refused.store(true, Ordering::Relaxed);
                            return Next::Wait(now);
                        }
                        Ok(left @ 1..) if transfer.hold(now, left.div_ceil(packet) as u64) => {
                            return Next::Room(now + limits::HELD);
                        }
                        // Other errors pass like a lost packet: the next resend may get through.
                        _ => {}
                    }
                }
            }
        }
    }

    fn says_unreachable(&self, error: &io::Error) -> bool {
        match error.kind() {
            ErrorKind::ConnectionRefused => true,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                !self.socket.is_connected()
            }
            _ => false,
        }
    }

    /// Hands the transfer what its socket gave, and after a time away all that waits there: the first may be old, and the
    /// timer would take it for silence. Tells the time of that.
    pub(super) fn hear(
        &self,
        transfer: &mut Transfer,
        mut received: Received,
        buffer: &mut [u8],
    ) -> io::Result<Time> {
        let now = self.system.now();
        self.handle(now, transfer, received, buffer)?;
        if self.was_away.swap(false, Ordering::Relaxed) {
            for _ in 0..limits::HEARD_IN_A_ROW {
                if matches!(received, Received::Nothing | Received::Unreachable) {
                    break;
                }
                received = self.socket.try_receive(buffer)?;
                self.handle(now, transfer, received, buffer)?;
            }
        }
        Ok(now)
    }

    fn handle(
        &self,
        now: Time,
        transfer: &mut Transfer,
        received: Received,
        buffer: &[u8],
    ) -> io::Result<()> {
        match received {
            Received::First { len, from } => {
                self.handle_one(now, transfer, &buffer[..len]);
                if !transfer.is_asking() {
                    self.socket.settle(from)?;
                    // What the network said before was about another port.
                    self.refused.store(false, Ordering::Relaxed);
                } else if let Some(code) = transfer.take_refusal() {
                    self.socket.turn_away(from, code);
                }
            }
            Received::Datagrams { len, each } => {
                let datagrams = buffer[..len].chunks(each);
                datagrams.for_each(|datagram| self.handle_one(now, transfer, datagram));
            }
            // What the peer said before may wait behind it, and behind a second one.
            Received::Unreachable => self.refused.store(true, Ordering::Relaxed),
            Received::Nothing => {
                if self.refused.swap(false, Ordering::Relaxed) {
                    transfer.unreachable(now);
                }
            }
        }
        Ok(())
    }

    fn handle_one(&self, now: Time, transfer: &mut Transfer, datagram: &[u8]) {
        self.tap.heard(now, datagram);
        let before = (transfer.is_proven(), transfer.summary().bytes);
        transfer.handle(now, datagram);
        let got_on = (transfer.is_proven(), transfer.summary().bytes) != before;
        self.at_gate(|gate| gate.heard(now, datagram, got_on));
    }

    /// Runs the transfer on this thread until its outcome is known; it may [dally](Self::is_dallying) after that.
    /// `progress` is called after each datagram.
    pub(crate) fn run(&self, progress: impl FnMut(Time, &mut Transfer)) -> io::Result<Summary> {
        self.drive(progress, |next| match next {
            Next::Wait(until) => Some(until),
            _ => None,
        })
    }

    /// Runs a transfer that [dallies](Self::is_dallying) on this thread until it is over.
    pub(crate) fn dally(&self) -> io::Result<Summary> {
        self.drive(
            |_, _| {},
            |next| match next {
                Next::Wait(until) | Next::Dally(until) => Some(until),
                _ => None,
            },
        )
    }

    fn drive(
        &self,
        mut progress: impl FnMut(Time, &mut Transfer),
        waits_until: impl Fn(Next) -> Option<Time>,
    ) -> io::Result<Summary> {
        let mut buffer = Vec::new();
        let mut timeout = Timeout::default();
        let mut busy_poll = BusyPoll::new(Arc::clone(&self.system));
        busy_poll.begin();
        let mut transfer = self.lock();
        transfer.write_itself();
        while let Some(until) = waits_until(self.advance(&mut transfer, Driver::Thread)) {
            buffer.resize(self.socket.room_for(&transfer), 0);
            // What is taken without the lock, a repeat that comes meanwhile knows nothing of.
            let mut held = (!transfer.is_proven()).then_some(transfer);
            let mut received = Received::Nothing;
            let found = busy_poll.poll(until, || {
                received = self.socket.try_receive(&mut buffer)?;
                Ok(received != Received::Nothing)
            })?;
            if !found {
                let most = until - self.system.now();
                received = if held.take().is_some() {
                    self.socket.wait(most);
                    held = Some(self.lock());
                    self.socket.try_receive(&mut buffer)?
                } else if most < limits::BRIEF_WAIT {
                    self.socket.wait(most);
                    self.socket.try_receive(&mut buffer)?
                } else {
                    timeout.set(&self.socket, most)?;
                    self.socket.receive(&mut buffer)?
                };
            }
            transfer = held.unwrap_or_else(|| self.lock());
            let now = self.hear(&mut transfer, received, &mut buffer)?;
            progress(now, &mut transfer);
        }
        Ok(transfer.summary().clone())
    }

    /// How far the transfer is, unless somebody is at it, who may be waiting for its disk.
    pub(crate) fn figures(&self) -> Option<Summary> {
        let transfer = self.try_lock()?;
        Some(transfer.figures(self.system.now()))
    }

    /// Whether the file is safe, and the transfer only answers a repeated last block.
    pub(crate) fn is_dallying(&self) -> bool {
        self.lock().is_dallying()
    }

    /// The client repeated its request. Never waits: where somebody is at the transfer, or has to hear what the client said,
    /// the answer leaves when that is over.
    pub(crate) fn repeat(&self) {
        self.repeated.store(true, Ordering::Relaxed);
        self.answer_repeat();
    }

    /// Whether a repeat is left that the transfer, which is over, did not answer. Tells that once.
    pub(crate) fn leaves_repeat(&self) -> bool {
        self.repeated.swap(false, Ordering::Relaxed)
    }

    /// Answers a repeat, unless somebody is at the transfer, or is about to hear something, who will do that, or it is over.
    fn answer_repeat(&self) {
        loop {
            // Who repeats and who lets go each leave a mark, and then look for the other's: one of them sees it.
            fence(Ordering::SeqCst);
            if !self.repeated.load(Ordering::Relaxed) {
                return;
            }
            let Ok(mut transfer) = self.transfer.try_lock() else { return };
            // By what waits it may be over: the client may have refused the answer, and ask anew.
            if transfer.is_over() || (!transfer.is_proven() && self.socket.wait(Duration::ZERO)) {
                return;
            }
            self.repeated.store(false, Ordering::Relaxed);
            transfer.repeat();
            self.advance_in_between(&mut transfer);
        }
    }

    /// Ends the transfer; of several endings the first counts. Never waits: a transfer that is busy, with a slow disk
    /// perhaps, ends when it comes back from there. One that is abandoned ends when its driver has heard what its peer
    /// said until now: that may have been the last ACK.
    pub(crate) fn end(&self, ending: Ending) {
        let has_something_to_say = ending != Ending::Abandon;
        let _ = self.ending.set(ending);
        if has_something_to_say {
            // In the middle of its own waiting, if that is what it does.
            if let Some(mut transfer) = self.try_lock() {
                self.advance_in_between(&mut transfer);
            }
        }
        self.socket.wake();
    }

    /// Lets it act while its driver waits for something else.
    fn advance_in_between(&self, transfer: &mut Transfer) {
        if self.advance(transfer, Driver::Loop) == Next::Done {
            self.socket.wake();
        }
    }
}

/// The transfer, while somebody is at it.
pub(super) struct Locked<'a> {
    // Before what comes after it.
    transfer: MutexGuard<'a, Transfer>,
    _unlocked: Unlocked<'a>,
}

impl Deref for Locked<'_> {
    type Target = Transfer;

    fn deref(&self) -> &Transfer {
        &self.transfer
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Transfer {
        &mut self.transfer
    }
}

/// Nobody is at the transfer any more: a repeat that came meanwhile is answered.
struct Unlocked<'a>(&'a Session);

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        self.0.answer_repeat();
    }
}

#[cfg(test)]
mod tests;
