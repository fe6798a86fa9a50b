//! The registry of sessions: who asked for what, and whether a request is new, a repeat, or takes the place of another.

use super::entry::SessionEntry;
use crate::query::Query;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Names a session, and no other ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionId(u64);

/// A client's address and port, and which address of ours it asked.
type Party = (SocketAddr, IpAddr);

#[derive(Default)]
pub(super) struct Registry {
    sessions: HashMap<SessionId, Arc<SessionEntry>>,
    /// The newest session of each party, and the one before it.
    newest: HashMap<Party, (SessionId, Option<SessionId>)>,
    last: u64,
}

/// What a query is to the sessions of its party.
pub(super) enum Relation {
    /// It is the query of a session whose client has not answered: it has not seen the answer.
    Repeat(Arc<SessionEntry>),
    /// It opens a session.
    New {
        /// The newest session, which ends when the client of the new one is proven: a late copy of a request must not
        /// kill a running transfer.
        replaces: Option<Arc<SessionEntry>>,
        /// The session before that, if its client has not answered. It ends at once: who asks for a third thing no
        /// longer wants the first, and one port has two unproven sessions at most.
        superseded: Option<Arc<SessionEntry>>,
    },
}

impl Registry {
    pub(super) fn relation(&self, query: &Query) -> Relation {
        let newest = self.newest.get(&party(query));
        let entry = |id: &SessionId| self.sessions.get(id).cloned();
        let replaces = newest.and_then(|(id, _)| entry(id));
        if let Some(same) = replaces.as_ref().filter(|e| !e.is_proven() && e.query == *query) {
            return Relation::Repeat(Arc::clone(same));
        }
        let before = newest.and_then(|(_, before)| entry(before.as_ref()?));
        Relation::New { replaces, superseded: before.filter(|entry| !entry.is_proven()) }
    }

    /// Adds the session of a new query.
    pub(super) fn insert(&mut self, entry: Arc<SessionEntry>) -> SessionId {
        self.last += 1;
        let (id, party) = (SessionId(self.last), party(&entry.query));
        let before = self.newest.get(&party).map(|(newest, _)| *newest);
        self.newest.insert(party, (id, before));
        self.sessions.insert(id, entry);
        id
    }

    /// Takes a session out, if it is still in.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Arc<SessionEntry>> {
        let entry = self.sessions.remove(&id)?;
        let party = party(&entry.query);
        if self.newest.get(&party).is_some_and(|(newest, _)| *newest == id) {
            self.newest.remove(&party);
        }
        Some(entry)
    }

    /// All sessions.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<SessionEntry>> {
        self.sessions.values()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.newest.is_empty()
    }
}

const fn party(query: &Query) -> Party {
    (query.peer, query.local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Operation;
    use std::net::Ipv4Addr;

    fn query(port: u16, local: u8, name: &str) -> Query {
        let peer = (Ipv4Addr::new(192, 0, 2, 1), port).into();
        Query::new(peer, Ipv4Addr::new(192, 0, 2, 200 + local).into(), Operation::Read, name)
    }

    fn insert(registry: &mut Registry, query: &Query) -> SessionId {
        registry.insert(Arc::new(SessionEntry::new(query.clone())))
    }

    /// `repeat`, or the names of the sessions that are replaced and superseded.
    fn relation(registry: &Registry, query: &Query) -> String {
        let name = |entry: Option<Arc<SessionEntry>>| {
            entry.map_or_else(|| "-".into(), |entry| entry.query.name.to_string())
        };
        match registry.relation(query) {
            Relation::Repeat(entry) => format!("repeat {}", entry.query.name),
            Relation::New { replaces, superseded } => {
                format!("new {} {}", name(replaces), name(superseded))
            }
        }
    }

    #[test]
    fn the_same_query_is_a_repeat_until_its_client_is_proven() {
        let mut registry = Registry::default();
        let a = query(1, 0, "a");
        assert_eq!(relation(&registry, &a), "new - -");
        let id = insert(&mut registry, &a);
        assert_eq!(relation(&registry, &a), "repeat a");
        for other in [query(1, 0, "b"), query(2, 0, "a"), query(1, 1, "a")] {
            assert!(relation(&registry, &other).starts_with("new "), "{other:?}");
        }
        assert!(registry.sessions[&id].prove());
        assert_eq!(relation(&registry, &a), "new a -");
        registry.remove(id);
        assert!(registry.is_empty() && relation(&registry, &a) == "new - -");
    }

    #[test]
    fn a_third_query_supersedes_the_first_unless_its_client_is_proven() {
        let mut registry = Registry::default();
        let first = insert(&mut registry, &query(1, 0, "a"));
        insert(&mut registry, &query(1, 0, "b"));
        assert_eq!(relation(&registry, &query(1, 0, "b")), "repeat b");
        assert_eq!(
            relation(&registry, &query(1, 0, "a")),
            "new b a",
            "only the newest is repeated"
        );
        assert_eq!(relation(&registry, &query(1, 0, "c")), "new b a");
        registry.sessions[&first].prove();
        assert_eq!(relation(&registry, &query(1, 0, "c")), "new b -");
    }

    #[test]
    fn a_session_that_is_gone_leaves_the_newer_one_of_its_party() {
        let mut registry = Registry::default();
        let first = insert(&mut registry, &query(1, 0, "a"));
        let second = insert(&mut registry, &query(1, 0, "b"));
        assert!(registry.remove(first).is_some() && registry.remove(first).is_none());
        assert_eq!(relation(&registry, &query(1, 0, "c")), "new b -");
        assert_eq!(registry.entries().count(), 1);
        registry.remove(second);
        assert!(registry.is_empty());
    }
}
