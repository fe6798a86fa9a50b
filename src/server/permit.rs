//! The permit of one session. Dropped, it gives back all that the session had.

use super::admit::{Admission, NewSession};
use super::dally::DallyTurn;
use super::entry::SessionEntry;
use super::registry::SessionId;
use crate::net::Ending;
use std::sync::{Arc, Weak};

pub(super) struct Permit {
    admission: Arc<Admission>,
    id: SessionId,
    entry: Arc<SessionEntry>,
    /// The session that ends when the client of this one is proven.
    replaces: Option<Weak<SessionEntry>>,
    /// Its turn among those that only dally. Without one it is under way.
    dallies: Option<DallyTurn>,
}

impl Permit {
    /// The permit of a session that `admission` has let in.
    pub(super) fn new(admission: &Arc<Admission>, session: NewSession) -> Self {
        admission.now_under_way();
        let NewSession { id, entry, replaces } = session;
        let (admission, replaces) = (Arc::clone(admission), replaces.as_ref().map(Arc::downgrade));
        Self { admission, id, entry, replaces, dallies: None }
    }

    pub(super) const fn entry(&self) -> &Arc<SessionEntry> {
        &self.entry
    }

    /// A number that is higher than that of any session before.
    pub(super) const fn number(&self) -> u64 {
        self.id.number()
    }

    /// Notes that the client has answered. Tells whether that is new.
    pub(super) fn prove(&mut self) -> bool {
        let is_new = !self.entry.is_proven() && self.admission.state().prove(self.id, &self.entry);
        if let Some(replaced) = self.replaces.take_if(|_| is_new).and_then(|it| it.upgrade()) {
            replaced.end(Ending::Abandon);
        }
        is_new
    }

    /// The most memory that it could ever reserve.
    pub(super) fn most_bytes(&self) -> usize {
        self.admission.state().most_bytes(&self.entry)
    }

    /// Reserves `wanted` bytes of memory in place of what was reserved before, or what is left, and tells how many.
    pub(super) fn reserve(&self, wanted: usize) -> usize {
        self.admission.state().reserve(self.id, &self.entry, wanted)
    }

    /// Notes that the session only dallies from now on: what it still has keeps nothing from others.
    pub(super) fn dally(&mut self) {
        if self.dallies.is_some() {
            return;
        }
        self.reserve(0);
        let (turn, evicted) = self.admission.state().dally(self.id, &self.entry);
        self.dallies = Some(turn);
        self.admission.no_longer_under_way();
        if let Some(evicted) = evicted {
            evicted.end(Ending::Abandon);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.dallies {
            Some(turn) => self.admission.state().remove_dallying(self.id, turn),
            None => drop(self.admission.state().remove(self.id)),
        }
        // What the session has, a temporary file perhaps, goes before it stops counting: a server that waits for the
        // last one leaves nothing behind.
        drop(self.entry.detach());
        if self.dallies.is_none() {
            self.admission.no_longer_under_way();
        }
    }
}

#[cfg(test)]
mod tests;
