//! A session as others see it: what was asked, whether its client is proven, and how to reach its transfer.

use crate::net::{Ending, Session};
use crate::query::Query;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct SessionEntry {
    pub(super) query: Query,
    proven: AtomicBool,
    stage: Mutex<Stage>,
}

/// How far a session is.
enum Stage {
    /// What it asks for is being opened.
    Opening,
    /// It was ended before that was done.
    Ended(Ending),
    /// Its transfer is under way.
    Running(Arc<Session>),
}

impl SessionEntry {
    pub(super) const fn new(query: Query) -> Self {
        Self { query, proven: AtomicBool::new(false), stage: Mutex::new(Stage::Opening) }
    }

    /// Whether the client has answered from its own address.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Notes that the client has answered. Tells whether that is new.
    pub(super) fn prove(&self) -> bool {
        !self.proven.swap(true, Ordering::Relaxed)
    }

    /// Makes the transfer known, so that a repeat of its request or a shutdown reaches it.
    pub(super) fn attach(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let before = std::mem::replace(&mut *self.stage(), Stage::Running(Arc::clone(&session)));
        if let Stage::Ended(ending) = before {
            session.end(ending);
        }
        session
    }

    /// Ends it, now or as soon as its transfer is under way.
    pub(super) fn end(&self, ending: Ending) {
        let mut stage = self.stage();
        match &*stage {
            Stage::Running(session) => {
                let session = Arc::clone(session);
                drop(stage);
                session.end(ending);
            }
            Stage::Opening => *stage = Stage::Ended(ending),
            Stage::Ended(_) => {}
        }
    }

    /// Sends the current packet again, for the client asked again. While its file is being opened the answer is on its
    /// way.
    pub(super) fn repeat(&self) {
        let session = match &*self.stage() {
            Stage::Running(session) => Arc::clone(session),
            Stage::Opening | Stage::Ended(_) => return,
        };
        session.repeat();
    }

    /// Lets go of the transfer, which is over.
    pub(super) fn detach(&self) {
        let before = std::mem::replace(&mut *self.stage(), Stage::Ended(Ending::Abandon));
        drop(before);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_ended(&self) -> bool {
        matches!(*self.stage(), Stage::Ended(_))
    }
}
