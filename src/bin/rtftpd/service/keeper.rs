//! The thread that watches the loop which takes the requests, and tells whoever started the server. It sleeps while there
//! is nothing to tell.

use super::handover::Predecessor;
use super::{Drain, Notify};
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, Thread};
use std::time::{Duration, Instant};
use tftpkit::server::{Event, Handle};

/// A status is told so long after what changed it: with what else happens meanwhile.
const BEFORE_STATUS: Duration = Duration::from_millis(300);

/// While transfers run their number is looked at so often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// A loop that is not there yet, or is stuck, is asked for so long before it is asked again.
const ANSWER: Duration = Duration::from_secs(1);

/// What happens in the server, as far as it matters here.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    is_new: AtomicBool,
    ended: AtomicU64,
    keeper: OnceLock<Thread>,
}

impl Activity {
    /// Notes what happened. Costs nothing where there is no keeper.
    pub(crate) fn note(&self, event: &Event<'_>) {
        let Some(keeper) = self.keeper.get() else { return };
        if matches!(event, Event::Finished { .. }) {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        if !self.is_new.swap(true, Ordering::Relaxed) {
            keeper.unpark();
        }
    }

    fn take(&self) -> bool {
        self.is_new.swap(false, Ordering::Relaxed)
    }
}

/// What the thread has to do.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) handle: Handle,
    pub(super) notify: Notify,
    pub(super) watchdog: Option<Duration>,
    pub(super) idle: Option<Duration>,
    /// The time of transfers that begin in the moment of the end.
    pub(super) drain: Drain,
    pub(super) predecessor: Option<Predecessor>,
    pub(super) activity: Arc<Activity>,
}

impl Keeper {
    /// Starts the thread, if there is anything to do for it.
    pub(super) fn start(mut self) -> Result<()> {
        if !self.notify.is_heard() && self.idle.is_none() && self.predecessor.is_none() {
            return Ok(());
        }
        let thread = Builder::new().name("keeper".into()).spawn(move || {
            let _ = self.activity.keeper.set(std::thread::current());
            let told = self.ready();
            self.keep(told);
        });
        thread.map(drop).context("cannot start a thread")
    }

    /// Waits for the loop to begin, and tells that it has: requests may come, and the server before this one may go. Gives
    /// the status that was told.
    fn ready(&mut self) -> String {
        while !self.handle.answers(ANSWER) {}
        let status = self.status();
        self.notify.tell(&format!("READY=1\nSTATUS={status}"));
        if let Some(before) = self.predecessor.take() {
            before.release();
        }
        status
    }

    /// `told` is the last status.
    fn keep(&self, mut told: String) {
        let mut active = Instant::now();
        let mut status_at = None;
        let mut pulse_at = self.watchdog.map(|_| active);
        loop {
            let now = Instant::now();
            if self.activity.take() {
                active = now;
                status_at.get_or_insert(now + BEFORE_STATUS);
            }
            if status_at.is_some_and(|at| at <= now) {
                let status = self.status();
                if status != told {
                    self.notify.tell(&format!("STATUS={status}"));
                    told = status;
                }
                // An end is told before it is one.
                status_at = (self.handle.transfers() > 0).then(|| now + BETWEEN_LOOKS);
            }
            if let (Some(at), Some(most)) = (pulse_at, self.watchdog)
                && at <= now
            {
                pulse_at = Some(self.pulse(now, most));
            }
            let mut idle_at = self.idle.map(|idle| active + idle);
            if idle_at.is_some_and(|at| at <= now) {
                if self.handle.transfers() == 0 {
                    tracing::info!("nobody asks any more: it ends");
                    let drain = self.drain.get();
                    self.notify.stopping(drain);
                    return self.handle.drain(drain);
                }
                active = now;
                idle_at = self.idle.map(|idle| active + idle);
            }
            let next = [status_at, pulse_at, idle_at].into_iter().flatten().min();
            match next {
                Some(at) => std::thread::park_timeout(at.saturating_duration_since(Instant::now())),
                None => std::thread::park(),
            }
        }
    }

    /// Tells that the loop comes round, where it does, and gives the time of the next look.
    fn pulse(&self, now: Instant, most: Duration) -> Instant {
        if self.handle.answers(ANSWER) {
            self.notify.tell("WATCHDOG=1");
            now + most / 2
        } else {
            now
        }
    }

    fn status(&self) -> String {
        let (running, ended) =
            (self.handle.transfers(), self.activity.ended.load(Ordering::Relaxed));
        let s = if running == 1 { "" } else { "s" };
        format!("{running} transfer{s} running, {ended} ended")
    }
}
