//! A transfer on its socket, and the loop that drives one on a thread of its own.

use super::socket::{Arrived, TransferSocket};
use crate::limits;
use crate::proto::Time;
use crate::transfer::{Action, Summary, Transfer};
use std::cmp::Ordering::{Equal, Greater, Less};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The only clock: it turns the system's time into the protocol's.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn now(&self) -> Time {
        Time::START + self.0.elapsed()
    }
}

/// A transfer on its socket. Whoever has something to tell it takes the lock, tells it, and lets it act: the loop
/// that drives it when a datagram or a deadline comes, the request port when its client asks again, a shutdown.
#[derive(Debug)]
pub struct Session {
    socket: TransferSocket,
    clock: Clock,
    transfer: Mutex<Transfer>,
    /// The network says that the peer's port is closed. What the peer said before it closed may still be waiting.
    refused: AtomicBool,
    /// Set once, from outside; obeyed by whoever holds the transfer.
    ending: OnceLock<Ending>,
}

/// How a transfer is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an ERROR that says why, unless the file is whole already.
    Stop(String),
    /// Without a word.
    Abandon,
}

/// What a transfer needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A datagram, or this time.
    Until(Time),
    /// The same, but only in case the peer says its last once more: the file is safe.
    Stay(Time),
    /// Its disk, which may take a while.
    Storage,
    /// Nothing: it is over.
    Nothing,
}

impl Session {
    /// Joins a transfer with its socket.
    pub fn new(socket: TransferSocket, clock: Clock, transfer: Transfer) -> Self {
        Self {
            socket,
            clock,
            transfer: Mutex::new(transfer),
            refused: AtomicBool::new(false),
            ending: OnceLock::new(),
        }
    }

    /// The socket.
    pub const fn socket(&self) -> &TransferSocket {
        &self.socket
    }

    /// The transfer, for as long as the guard lives.
    pub(super) fn lock(&self) -> MutexGuard<'_, Transfer> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Obeys the transfer until it waits for something. A disk that may be slow is among that unless `patient`.
    pub(super) fn advance(&self, transfer: &mut Transfer, patient: bool) -> Need {
        let mut now = self.clock.now();
        loop {
            match self.ending.get() {
                Some(Ending::Stop(reason)) => transfer.stop(now, reason),
                Some(Ending::Abandon) => transfer.abandon(now),
                None => {}
            }
            match transfer.poll(now) {
                Action::Wait(until) => {
                    // One more look decides.
                    let refused = self.refused.load(Ordering::Relaxed);
                    let until = if refused { now } else { until };
                    let stays = transfer.is_complete();
                    return if stays { Need::Stay(until) } else { Need::Until(until) };
                }
                Action::Done => return Need::Nothing,
                Action::Store => {
                    if !transfer.store(now, patient) {
                        return Need::Storage;
                    }
                    // What was read leaves by the time after the read, or its interval might have passed before.
                    let before = std::mem::replace(&mut now, self.clock.now());
                    if now - before > limits::ECHO_SPAN {
                        // What the peer said meanwhile is heard before its silence is judged.
                        return Need::Until(now);
                    }
                }
                // Other errors pass like a lost packet: the next resend may get through.
                Action::Send(burst) => match self.socket.send(burst) {
                    Err(error) if self.says_unreachable(&error) => {
                        self.refused.store(true, Ordering::Relaxed);
                        return Need::Until(now);
                    }
                    _ => {}
                },
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

    /// Tells the transfer what came of a look at its socket.
    pub(super) fn hear(&self, transfer: &mut Transfer, arrived: Arrived, buffer: &[u8]) {
        let now = self.clock.now();
        match arrived {
            Arrived::Datagrams { len, each } => {
                buffer[..len].chunks(each).for_each(|datagram| transfer.handle(now, datagram));
            }
            Arrived::Unreachable | Arrived::Nothing => {
                let again = arrived == Arrived::Unreachable;
                if self.refused.swap(again, Ordering::Relaxed) {
                    transfer.unreachable(now);
                }
            }
        }
    }

    /// Runs the transfer on this thread until its outcome is known; it may [stay](Self::stays) after that. `progress`
    /// sees its figures after each datagram, and is the place to notice that the peer is proven.
    pub fn run(&self, mut progress: impl FnMut(&mut Transfer)) -> io::Result<Summary> {
        let mut buffer = Vec::new();
        let mut timeout = Timeout::default();
        let mut eager = Eager::new();
        let mut transfer = self.lock();
        while let Need::Until(until) = self.advance(&mut transfer, true) {
            buffer.resize(self.socket.room_for(&transfer), 0);
            drop(transfer);
            let arrived = match eager.look(&self.socket, &mut buffer)? {
                Arrived::Nothing => {
                    timeout.set(&self.socket, until - self.clock.now())?;
                    self.socket.receive(&mut buffer)?
                }
                arrived => arrived,
            };
            transfer = self.lock();
            self.hear(&mut transfer, arrived, &buffer);
            progress(&mut transfer);
        }
        Ok(transfer.summary().clone())
    }

    /// Whether the file is safe, and the transfer only stays in case the peer says its last once more.
    pub fn stays(&self) -> bool {
        let transfer = self.lock();
        transfer.is_complete() && !transfer.is_over()
    }

    /// The client repeated its request. A transfer that is busy at this moment is about to answer anyway.
    pub fn repeat(&self) {
        self.interrupt(Transfer::repeat);
    }

    /// Ends the transfer; of several endings the first counts. Never waits: a transfer that is busy, with a slow disk
    /// perhaps, ends when it comes back from there.
    pub fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.interrupt(|_| {});
        self.socket.wake();
    }

    /// Acts in the middle of the transfer's own waiting, if that is what it does.
    fn interrupt(&self, act: impl FnOnce(&mut Transfer)) {
        if let Ok(mut transfer) = self.transfer.try_lock() {
            act(&mut transfer);
            if self.advance(&mut transfer, false) == Need::Nothing {
                self.socket.wake();
            }
        }
    }
}

/// The timeout that the kernel was told, so that it is told again only when it is off.
#[derive(Default)]
struct Timeout(Option<Duration>);

impl Timeout {
    fn set(&mut self, socket: &TransferSocket, wanted: Duration) -> io::Result<()> {
        // Waking early costs one more look at the clock; waking late would be wrong.
        let good_enough = self.0.is_some_and(|told| told <= wanted && told >= wanted / 2);
        if !good_enough {
            // A little early, so that the next interval, which is nearly the same, needs no other setting.
            let told = (wanted - wanted / 8).max(Duration::from_millis(1));
            socket.set_timeout(told)?;
            self.0 = Some(told);
        }
        Ok(())
    }
}

/// Looks for an answer once more before it sleeps: to be woken costs more than a whole round trip in a small network.
///
/// While there are processors to spare it looks again and again for a moment. Where transfers have to share them it
/// lets the others run first and looks once: the answer that came meanwhile needs no waking. Only as long as answers
/// do come like this.
struct Eager {
    /// How often in a row there was nothing.
    vain: u32,
    /// So many times it sleeps at once.
    sleeps: u32,
}

/// Transfers that are driven on threads of this process.
static DRIVEN: AtomicUsize = AtomicUsize::new(0);

impl Eager {
    fn new() -> Self {
        DRIVEN.fetch_add(1, Ordering::Relaxed);
        Self { vain: 0, sleeps: 0 }
    }

    fn look(&mut self, socket: &TransferSocket, buffer: &mut [u8]) -> io::Result<Arrived> {
        let arrived = match DRIVEN.load(Ordering::Relaxed).cmp(&processors()) {
            _ if self.sleeps > 0 => {
                self.sleeps -= 1;
                return Ok(Arrived::Nothing);
            }
            Less => spin(socket, buffer)?,
            // The peer may need this processor.
            Equal => return Ok(Arrived::Nothing),
            Greater => {
                std::thread::yield_now();
                socket.look(buffer)?
            }
        };
        if arrived == Arrived::Nothing {
            self.vain = (self.vain + 1).min(16);
            self.sleeps = 1 << self.vain;
        } else {
            self.vain = 0;
        }
        Ok(arrived)
    }
}

/// Looks again and again for a moment.
fn spin(socket: &TransferSocket, buffer: &mut [u8]) -> io::Result<Arrived> {
    let start = Instant::now();
    loop {
        let arrived = socket.look(buffer)?;
        if arrived != Arrived::Nothing || start.elapsed() > limits::EAGER {
            return Ok(arrived);
        }
        std::hint::spin_loop();
    }
}

impl Drop for Eager {
    fn drop(&mut self) {
        DRIVEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Processors that this process may use.
fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}
