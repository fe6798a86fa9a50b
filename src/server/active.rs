//! A transfer under way: its session, its permit, and what is told of it.

use super::permit::Permit;
use super::{Event, SHUTTING_DOWN, Shared};
use crate::net::{Ending, Handler, Session};
use crate::proto::Time;
use crate::query::Query;
use crate::store::SERVER_ERROR;
use crate::transfer::{Summary, Transfer};
use crate::wire::Filename;
use std::io;
use std::sync::Arc;

pub(super) struct ActiveTransfer {
    // Before the permit: what the session has goes before it stops counting.
    session: Arc<Session>,
    permit: Permit,
    shared: Arc<Shared>,
    /// The name that is served, where it is not the one that was asked for.
    served: Option<Filename>,
    started: Time,
    /// Payload bytes when it was last looked at.
    bytes: u64,
    /// When progress is told next, if it is told.
    progress_at: Option<Time>,
    /// Whether its end was told.
    is_told: bool,
}

impl ActiveTransfer {
    /// Tells that it begins.
    pub(super) fn new(
        session: Arc<Session>,
        permit: Permit,
        shared: Arc<Shared>,
        served: Option<Filename>,
    ) -> Self {
        let started = shared.system.now();
        let progress_at = shared.config.progress.map(|interval| started + interval);
        session.with_transfer(|now, transfer| {
            let (query, agreed) = (&permit.entry().query, transfer.summary().agreed);
            let event = Event::Started { query, served: served.as_ref(), agreed: &agreed };
            if shared.try_tell(event).is_err() {
                transfer.stop(now, SERVER_ERROR);
            }
        });
        Self { session, permit, shared, served, started, bytes: 0, progress_at, is_told: false }
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
    fn tell_end<'a>(
        &'a mut self,
        event: impl FnOnce(&'a Query, Option<&'a Filename>) -> Event<'a>,
    ) {
        if !std::mem::replace(&mut self.is_told, true) {
            let event = event(&self.permit.entry().query, self.served.as_ref());
            self.shared.tell(event);
            if let Event::Finished { summary, .. } = event {
                self.session.told(summary);
            }
        }
    }

    fn tell_progress(&mut self, now: Time, transfer: &mut Transfer) {
        let Some(interval) = self.shared.config.progress else { return };
        if self.progress_at.is_none_or(|at| now < at) || transfer.summary().outcome.is_some() {
            return;
        }
        self.progress_at = Some(now + interval);
        let (query, mut summary) = (&self.permit.entry().query, transfer.summary().clone());
        summary.elapsed = now - self.started;
        let (served, summary) = (self.served.as_ref(), &summary);
        if self.shared.try_tell(Event::Progress { query, served, summary }).is_err() {
            transfer.stop(now, SERVER_ERROR);
        }
    }
}

impl Handler for ActiveTransfer {
    fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn progress(&mut self, now: Time, transfer: &mut Transfer) {
        if transfer.is_proven() && self.permit.prove() {
            transfer.set_buffer(self.shared.buffer(self.permit.entry().query.operation));
        }
        let bytes = transfer.summary().bytes;
        if std::mem::replace(&mut self.bytes, bytes) != bytes {
            self.permit.entry().gets_on(now);
        }
        self.tell_progress(now, transfer);
    }

    fn dallies(&mut self, summary: &Summary) {
        self.tell_end(|query, served| Event::Finished { query, served, summary });
        self.permit.dally();
    }

    fn ended(mut self, how: io::Result<Summary>) {
        self.tell_end(|query, served| match &how {
            Ok(summary) => Event::Finished { query, served, summary },
            Err(error) => Event::Failed { query, served, error },
        });
    }
}

/// A loop that is gone, or that the server no longer waits for, drops its transfers as they are.
impl Drop for ActiveTransfer {
    fn drop(&mut self) {
        if !self.is_told {
            self.session.end(Ending::Stop(SHUTTING_DOWN.into()));
            let summary = self.session.with_transfer(|now, transfer| {
                transfer.stop(now, SHUTTING_DOWN);
                transfer.summary().clone()
            });
            let summary = &summary;
            self.tell_end(|query, served| Event::Finished { query, served, summary });
        }
    }
}
