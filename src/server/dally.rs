//! The sessions that only dally: their files are safe, and they answer a repeated last block (RFC 1350 § 6). They are
//! the first to go when others need what they have.

use super::registry::SessionId;
use std::collections::BTreeMap;

/// When a session began to dally, among all that ever did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DallyTurn(u64);

/// The dallying sessions in the order in which they began to dally.
pub(super) struct Dallying {
    most: usize,
    sessions: BTreeMap<DallyTurn, SessionId>,
    last: u64,
}

impl Dallying {
    /// Room for `most` of them.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, sessions: BTreeMap::new(), last: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Adds a session. Where that is one too many, the one that has dallied longest is taken out and must end.
    pub(super) fn insert(&mut self, id: SessionId) -> (DallyTurn, Option<SessionId>) {
        let turn = self.turn();
        self.sessions.insert(turn, id);
        (turn, (self.len() > self.most).then(|| self.pop_longest()).flatten())
    }

    /// The turn of a session that left before it dallied: it is not in.
    pub(super) const fn turn(&mut self) -> DallyTurn {
        self.last += 1;
        DallyTurn(self.last)
    }

    /// Takes out the session that has dallied longest, to end it.
    pub(super) fn pop_longest(&mut self) -> Option<SessionId> {
        self.sessions.pop_first().map(|(_, id)| id)
    }

    /// Takes out the session that began to dally at `turn`, if it is still in.
    pub(super) fn remove(&mut self, turn: DallyTurn) {
        self.sessions.remove(&turn);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::SessionEntry;
    use super::super::registry::Registry;
    use super::*;
    use crate::query::Query;
    use crate::wire::Operation;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    #[test]
    fn the_longest_leaves_for_one_too_many_and_who_left_is_not_in() {
        let mut registry = Registry::default();
        let [a, b, c, d] = [1, 2, 3, 4].map(|port| {
            let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let query = Query::new((local, port).into(), local, Operation::Write, "a");
            registry.insert(Arc::new(SessionEntry::new(query)))
        });
        let mut dallying = Dallying::new(2);
        let (turn, evicted) = dallying.insert(a);
        assert_eq!((evicted, dallying.insert(b).1), (None, None));
        dallying.remove(turn);
        assert_eq!((dallying.insert(c).1, dallying.len()), (None, 2));
        assert_eq!((dallying.insert(d).1, dallying.len()), (Some(b), 2));
        dallying.remove(turn);
        assert_eq!((dallying.pop_longest(), dallying.len()), (Some(c), 1));
    }
}
