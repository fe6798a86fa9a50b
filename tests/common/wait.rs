//! Waiting, on a machine that may be busy, or stopped for a while and continued. All that tests wait for they wait for
//! here, so that what hangs fails its test within seconds, and says what did not come.
#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long, unless it never comes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// No run of a program takes so long, unless it hangs.
pub(crate) const LONGEST_RUN: Duration = Duration::from_secs(15);

/// How long somebody who waits is away between two looks; what takes longer is no waiting.
const LOOK: Duration = Duration::from_millis(100);

/// What is left of a deadline. A process that was stopped meanwhile, or got no processor, has not waited.
pub(crate) struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    pub(crate) fn new(left: Duration) -> Self {
        Self { left, looked: Instant::now() }
    }

    /// Whether it is used up, since the last look too.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        self.left = self.left.saturating_sub((now - self.looked).min(2 * LOOK));
        self.looked = now;
        self.left.is_zero()
    }
}

/// Looks until `found` has something, for so long at most.
pub(crate) fn within<T>(most: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let mut patience = Patience::new(most);
    loop {
        let found = found();
        if found.is_some() || patience.is_over() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Looks until `found` has something.
#[track_caller]
pub(crate) fn until<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    let Some(found) = within(DEADLINE, found) else { panic!("waited in vain: {what}") };
    found
}

/// The next that another thread tells.
#[track_caller]
pub(crate) fn next<T>(what: &str, told: &Receiver<T>) -> T {
    until(what, || match told.recv_timeout(LOOK / 10) {
        Ok(next) => Some(next),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => panic!("nobody is left who could tell: {what}"),
    })
}

/// What a thread comes to.
#[track_caller]
pub(crate) fn joined<T>(what: &str, thread: JoinHandle<T>) -> T {
    until(what, || thread.is_finished().then_some(()));
    let Ok(ended) = thread.join() else { panic!("a panic, see above: {what}") };
    ended
}

/// The same where something is dropped: a test that has failed waits for nobody.
pub(crate) fn joined_in_drop<T>(what: &str, thread: JoinHandle<T>) -> Option<T> {
    (!std::thread::panicking()).then(|| joined(what, thread))
}

/// The next datagram, whatever signals come before it; an error where none comes.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    receive_within(&mut Patience::new(DEADLINE), socket, buffer)
}

/// The same while there is patience.
pub(crate) fn receive_within(
    patience: &mut Patience,
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    loop {
        let received = socket.recv_from(buffer);
        let again = received.as_ref().err().is_some_and(|error| {
            let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
            kinds.contains(&error.kind())
        });
        if !again || patience.is_over() {
            return received;
        }
    }
}
