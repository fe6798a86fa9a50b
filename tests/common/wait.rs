//! Waiting, on a machine that may be busy, or stopped for a while and continued.
#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long, unless it never comes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// No run of a program takes so long, unless it hangs.
pub(crate) const LONGEST_RUN: Duration = Duration::from_secs(30);

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

/// Looks until `found` has something.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::new(DEADLINE);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(!patience.is_over(), "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The next datagram, whatever signals come before it; an error where none comes.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    let mut patience = Patience::new(DEADLINE);
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
