//! How a thread waits for what comes: it polls for a moment, and then it sleeps.

use super::socket::TransferSocket;
use super::system::System;
use crate::limits;
use crate::proto::Time;
use std::cmp::Ordering::{Equal, Greater, Less};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The timeout that the kernel was told, so that it is told again only when it is off.
#[derive(Default)]
pub(super) struct Timeout(Option<Duration>);

impl Timeout {
    /// Has the kernel wait no longer than `wanted`, and not much less.
    pub(super) fn set(&mut self, socket: &TransferSocket, wanted: Duration) -> io::Result<()> {
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

/// Polls for a moment before it sleeps: to be woken costs more than a whole round trip in a small network.
///
/// While there are processors to spare it looks again and again for a moment. Where transfers have to share them it
/// lets the others run first and looks once: the answer that came meanwhile needs no waking. Only as long as answers
/// do come like this.
pub(super) struct BusyPoll {
    system: Arc<dyn System>,
    /// Transfers that are driven here.
    driven: usize,
    /// How often in a row there was nothing.
    misses: u32,
    /// How many times it now sleeps without polling.
    sleeps: u32,
}

/// Transfers that are driven in this process, by threads of their own and by loops.
static DRIVEN: AtomicUsize = AtomicUsize::new(0);

impl BusyPoll {
    /// For one who drives nothing yet.
    pub(super) const fn new(system: Arc<dyn System>) -> Self {
        Self { system, driven: 0, misses: 0, sleeps: 0 }
    }

    /// Drives one more from now on.
    pub(super) fn begin(&mut self) {
        DRIVEN.fetch_add(1, Ordering::Relaxed);
        self.driven += 1;
    }

    /// Forgets what was in vain: the next answer may come from nearer.
    pub(super) const fn begin_anew(&mut self) {
        (self.misses, self.sleeps) = (0, 0);
    }

    /// Drives one less.
    pub(super) fn end(&mut self) {
        DRIVEN.fetch_sub(1, Ordering::Relaxed);
        self.driven -= 1;
    }

    /// Looks for what comes before `until`, as long as it pays to poll for it. Tells whether `look` found something.
    pub(super) fn poll(
        &mut self,
        until: Time,
        mut look: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<bool> {
        let found = match DRIVEN.load(Ordering::Relaxed).cmp(&self.system.processors()) {
            _ if self.driven == 0 => return Ok(false),
            _ if self.sleeps > 0 => {
                self.sleeps -= 1;
                return Ok(false);
            }
            Less => self.spin(until, look)?,
            // The peer may need this processor.
            Equal => return Ok(false),
            Greater => {
                std::thread::yield_now();
                look()?
            }
        };
        if found {
            self.misses = 0;
        } else {
            self.misses = (self.misses + 1).min(16);
            self.sleeps = 1 << self.misses;
        }
        Ok(found)
    }

    /// Looks again and again for a moment.
    fn spin(&self, until: Time, mut look: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
        let until = until.min(self.system.now() + limits::BUSY_POLL);
        loop {
            if look()? {
                return Ok(true);
            }
            if self.system.now() > until {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
    }
}

impl Drop for BusyPoll {
    fn drop(&mut self) {
        DRIVEN.fetch_sub(self.driven, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Kernel;
    use crate::net::fake::Fake;
    use crate::net::socket::Received;

    #[test]
    fn the_kernels_timeout_is_never_longer_than_the_wait_and_no_less_than_half_of_it() {
        let system = Kernel::start();
        let socket = TransferSocket::ask(&*system, ([127, 0, 0, 1], 9).into()).expect("a socket");
        let mut timeout = Timeout::default();
        for millis in [1000, 990, 1001, 300, 5000, 40, 45, 1000, 255_000, 5] {
            let wanted = Duration::from_millis(millis);
            timeout.set(&socket, wanted).expect("it is set");
            let told = timeout.0.expect("a timeout");
            assert!(told <= wanted && told >= wanted / 2, "{told:?} for {wanted:?}");
        }
        // What is nearly the same costs no call, and no time at all would be for ever.
        let mut timeout = Timeout::default();
        let told = [8000, 7000, 14_000, 14_001, 1, 0].map(|micros| {
            timeout.set(&socket, Duration::from_micros(micros)).expect("it is set");
            timeout.0.map(|told| told.as_micros())
        });
        assert_eq!(told, [7000, 7000, 7000, 12_250, 1000, 1000].map(Some));
    }

    #[test]
    fn who_polls_in_vain_sleeps_the_longer_the_more_often_until_something_comes() {
        let (fake, peer) = (Fake::default(), std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
        let socket = TransferSocket::answer(&fake, peer.ip(), peer, None).expect("a socket");
        // This system has no processor to spare: each poll is one look.
        let mut poll = BusyPoll::new(Arc::new(fake.clone()));
        poll.begin();
        let mut looks = |is_there: bool| {
            let is_new = |poll: &mut BusyPoll| {
                let mut look = || Ok(socket.try_receive(&mut [0; 9])? != Received::Nothing);
                poll.poll(fake.now(), &mut look).expect("a look")
            };
            if is_there {
                fake.comes(b"data", peer);
                return (0..).take_while(|_| !is_new(&mut poll)).count();
            }
            while poll.sleeps > 0 {
                is_new(&mut poll);
            }
            assert!(!is_new(&mut poll));
            poll.sleeps as usize
        };
        assert_eq!(looks(true), 0, "it looks at once");
        assert_eq!([looks(false), looks(false), looks(true)], [2, 4, 4]);
        assert_eq!([looks(true), looks(false), looks(true)], [0, 2, 2], "it begins anew");
        let in_vain: Vec<_> = (0..18).map(|_| looks(false)).collect();
        assert_eq!((in_vain[14], in_vain[15], in_vain[17]), (1 << 15, 1 << 16, 1 << 16));
    }
}
