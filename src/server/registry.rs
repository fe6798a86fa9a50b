//! The registry of sessions: who asked for what, and whether a request is new, a repeat, or takes the place of another.

use super::entry::SessionEntry;
use crate::query::Query;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Names a session, and no other ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionId(u64);

impl SessionId {
    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

/// A client's address and port, and which address of ours it asked.
type Party = (SocketAddr, IpAddr);

#[derive(Default)]
pub(super) struct Registry {
    sessions: BTreeMap<SessionId, Arc<SessionEntry>>,
    /// The sessions of each party, the newest last.
    parties: HashMap<Party, Vec<SessionId>>,
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
        let ids = self.parties.get(&party(query)).into_iter().flatten();
        let mut newest_first = ids.rev().filter_map(|id| self.sessions.get(id).cloned());
        let replaces = newest_first.next();
        if let Some(same) = replaces.as_ref().filter(|e| !e.is_proven() && e.query == *query) {
            return Relation::Repeat(Arc::clone(same));
        }
        let superseded = newest_first.next().filter(|entry| !entry.is_proven());
        Relation::New { replaces, superseded }
    }

    /// Adds the session of a new query.
    pub(super) fn insert(&mut self, entry: Arc<SessionEntry>) -> SessionId {
        self.last += 1;
        let id = SessionId(self.last);
        self.parties.entry(party(&entry.query)).or_default().push(id);
        self.sessions.insert(id, entry);
        id
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether a session is still in.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// A session, if it is still in.
    pub(super) fn entry(&self, id: SessionId) -> Option<&Arc<SessionEntry>> {
        self.sessions.get(&id)
    }

    /// Takes a session out, if it is still in.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Arc<SessionEntry>> {
        let entry = self.sessions.remove(&id)?;
        if let Entry::Occupied(mut ids) = self.parties.entry(party(&entry.query)) {
            ids.get_mut().retain(|other| *other != id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
        Some(entry)
    }

    /// All sessions, the oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (SessionId, &Arc<SessionEntry>)> {
        self.sessions.iter().map(|(id, entry)| (*id, entry))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.parties.is_empty()
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

    #[test]
    fn a_session_that_is_gone_leaves_the_older_one_of_its_party() {
        let mut registry = Registry::default();
        let a = query(1, 0, "a");
        insert(&mut registry, &a);
        let missing = insert(&mut registry, &query(1, 0, "missing"));
        registry.remove(missing);
        assert_eq!(relation(&registry, &a), "repeat a");
        insert(&mut registry, &query(1, 0, "b"));
        assert_eq!(relation(&registry, &query(1, 0, "c")), "new b a");
    }
}
