//! A transfer under way: its session, its permit, and what is told of it.

use super::permit::Permit;
use super::telling::Telling;
use super::{SHUTTING_DOWN, Shared};
use crate::net::{Ending, Handler, Session};
use crate::proto::Time;
use crate::store::SERVER_ERROR;
use crate::transfer::{Summary, Transfer};
use crate::wire::Filename;
use std::io;
use std::sync::Arc;

pub(super) struct ActiveTransfer {
    // Before the permit: what the session has goes before it stops counting.
    session: Arc<Session>,
    telling: Telling,
    shared: Arc<Shared>,
}

impl ActiveTransfer {
    /// Tells that it begins.
    pub(super) fn new(
        session: Arc<Session>,
        permit: Permit,
        shared: Arc<Shared>,
        served: Option<Filename>,
    ) -> Self {
        let telling = Telling::new(permit, &shared, served);
        session.with_transfer(|now, transfer| {
            if telling.begins(&transfer.summary().agreed).is_err() {
                transfer.stop(now, SERVER_ERROR);
            }
        });
        Self { session, telling, shared }
    }

    /// Drives it on this thread until its outcome is known. If it dallies after that, the event loop has it: a thread is
    /// worth more.
    pub(super) fn run(mut self) {
        let session = Arc::clone(&self.session);
        match session.run(|now, transfer| self.progress(now, transfer)) {
            Ok(summary) if session.is_dallying() => {
                self.dallies(&summary);
                drop(session);
                let mailbox = self.shared.mailbox.clone();
                mailbox.add(self);
            }
            how => {
                drop(session);
                self.ended(how);
            }
        }
    }

    /// Tells how it ended, once.
    fn finished(&mut self, summary: &Summary) {
        if self.telling.finished(summary) {
            self.session.told(summary);
        }
    }
}

impl Handler for ActiveTransfer {
    fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn progress(&mut self, now: Time, transfer: &mut Transfer) {
        if transfer.is_proven() && self.telling.is_proven() {
            transfer.set_buffer(self.telling.buffer());
        }
        if self.telling.got_on(now, transfer.summary()).is_err() {
            transfer.stop(now, SERVER_ERROR);
        }
    }

    fn dallies(&mut self, summary: &Summary) {
        self.finished(summary);
        self.telling.dallies();
    }

    fn ended(mut self, how: io::Result<Summary>) {
        match how {
            Ok(summary) => self.finished(&summary),
            Err(error) => {
                let summary = self.session.with_transfer(|_, transfer| transfer.summary().clone());
                self.telling.failed(&summary, &error);
            }
        }
    }
}

/// A loop that is gone, or that the server no longer waits for, drops its transfers as they are.
impl Drop for ActiveTransfer {
    fn drop(&mut self) {
        if !self.telling.is_told() {
            self.session.end(Ending::Stop(SHUTTING_DOWN.into()));
            let summary = self.session.with_transfer(|now, transfer| {
                transfer.stop(now, SHUTTING_DOWN);
                transfer.summary().clone()
            });
            self.finished(&summary);
        }
    }
}
