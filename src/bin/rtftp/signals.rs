//! What ends a call before its end: a signal, or the time it may take.

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tftpkit::client::Canceller;

/// After so long whoever was told to end ends without a word to the server: a disk or a pipe holds it up.
const GRACE: Duration = Duration::from_secs(1);

/// The signals that end programs.
pub(crate) const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal(Signal),
    Time,
}

/// An end to what is under way, of which the server is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    canceller: Canceller,
    cause: Arc<(Mutex<Option<Cause>>, Condvar)>,
}

impl Stop {
    /// One that the signals give which end programs. A second one ends this program at once.
    pub(crate) fn on_signals() -> Result<Self> {
        Self::on(&ENDING)
    }

    /// One that these signals give. The terminal is left as it was now.
    pub(crate) fn on(signals: &[Signal]) -> Result<Self> {
        let stop = Self::default();
        let (told, terminal) = (stop.clone(), Arc::new(Mutex::new(tcgetattr(io::stdin()).ok())));
        on(signals, move |signal| {
            let terminal = Arc::clone(&terminal);
            let at_once = move || {
                // What asks for a line at this moment has made it another.
                let terminal = terminal.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(terminal) = &*terminal {
                    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, terminal);
                }
                die(signal);
            };
            if told.cause().is_some() {
                at_once();
            } else {
                told.ask(Cause::Signal(signal));
                after(GRACE, at_once);
            }
        })?;
        Ok(stop)
    }

    /// Gives it after so long, too. What does not end then is ended by `hard`.
    pub(crate) fn after(&self, time: Option<Duration>, hard: impl FnOnce() + Send + 'static) {
        let (Some(time), stop) = (time, self.clone()) else { return };
        after(time, move || {
            stop.ask(Cause::Time);
            std::thread::sleep(GRACE);
            hard();
        });
    }

    fn ask(&self, cause: Cause) {
        self.lock().get_or_insert(cause);
        self.cause.1.notify_all();
        self.canceller.cancel();
    }

    /// What it cancels.
    pub(crate) const fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Why it was given, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        *self.lock()
    }

    /// Waits so long, or until it is given.
    pub(crate) fn pause(&self, time: Duration) {
        let waits = |cause: &mut Option<Cause>| cause.is_none();
        let _ = self.cause.1.wait_timeout_while(self.lock(), time, waits);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Cause>> {
        self.cause.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the program as the signal does, where one was given.
    pub(crate) fn obey(&self) {
        if let Some(Cause::Signal(signal)) = self.cause() {
            die(signal);
        }
    }
}

fn after(time: Duration, then: impl FnOnce() + Send + 'static) {
    let wait = move || {
        std::thread::sleep(time);
        then();
    };
    // Where there is no thread for it nothing ends what hangs.
    let _ = std::thread::Builder::new().name("time".into()).spawn(wait);
}

/// Ends this program by a signal that it has blocked: whoever started it sees that.
fn die(signal: Signal) {
    let mut signals = SigSet::empty();
    signals.add(signal);
    let _ = signals.thread_unblock().and_then(|()| raise(signal));
    // The first process of a container is ended by none.
    std::process::exit(128 + signal as i32);
}

/// Calls `then` at each of these signals, of those that [end](ENDING) programs. The others wait for a call of their own.
pub(crate) fn on(signals: &[Signal], then: impl Fn(Signal) + Send + 'static) -> Result<()> {
    let [mut all, mut set] = [SigSet::empty(); 2];
    ENDING.iter().for_each(|signal| all.add(*signal));
    signals.iter().for_each(|signal| set.add(*signal));
    // Before there are other threads, so that none but the one that waits for it gets the signal: those of a later call,
    // too.
    all.thread_block()?;
    let wait = move || {
        while let Ok(signal) = set.wait() {
            then(signal);
        }
    };
    std::thread::Builder::new().name("interrupts".into()).spawn(wait)?;
    Ok(())
}

/// What is written beyond the limit on a file's size is an error of that file, not the end of the program.
pub(crate) fn survive_size_limit() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    // Where it cannot be blocked the program ends by it, as others do.
    let _ = signals.thread_block();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_pause_ends_when_it_is_told_to_and_why_it_was_told_first_stays_the_reason() {
        let (stop, began) = (Stop::default(), Instant::now());
        stop.pause(Duration::from_millis(1));
        assert_eq!(stop.cause(), None);
        stop.after(Some(Duration::ZERO), || {});
        stop.pause(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30), "it sleeps on: {:?}", began.elapsed());
        stop.ask(Cause::Signal(Signal::SIGTERM));
        assert_eq!(stop.cause(), Some(Cause::Time));
        assert!(stop.canceller().is_cancelled());
    }
}
