//! The sessions whose clients have not answered, in the order in which they asked. A device may need half a minute for
//! its first answer, so they stay; and who has waited for longer than most need is the first to go when others need room.

use super::network::network_of;
use super::registry::SessionId;
use crate::limits;
use crate::proto::Time;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

#[derive(Default)]
pub(super) struct Unproven {
    asked: BTreeMap<SessionId, Time>,
    of_network: HashMap<IpNet, BTreeSet<SessionId>>,
}

impl Unproven {
    /// Adds a session of this client, the newest of all.
    pub(super) fn insert(&mut self, id: SessionId, client: IpAddr, now: Time) {
        self.asked.insert(id, now);
        self.of_network.entry(network_of(client)).or_default().insert(id);
    }

    /// Takes a session out, if it is still in: it is over, or its client has answered.
    pub(super) fn remove(&mut self, id: SessionId, client: IpAddr) {
        let network = network_of(client);
        if self.asked.remove(&id).is_some()
            && let Some(ids) = self.of_network.get_mut(&network)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_network.remove(&network);
            }
        }
    }

    /// The session that has waited longest, of all or of this client's network, and is none of `chosen`, if that is long
    /// enough to give way.
    pub(super) fn longest(
        &self,
        of_network: Option<IpAddr>,
        chosen: &[SessionId],
        now: Time,
    ) -> Option<SessionId> {
        let is_new = |id: &&SessionId| !chosen.contains(id);
        let id = match of_network {
            None => self.asked.keys().find(is_new),
            Some(client) => self.of_network.get(&network_of(client))?.iter().find(is_new),
        }?;
        let gives_way_at = *self.asked.get(id)? + limits::UNPROVEN_STAY;
        (now >= gives_way_at).then_some(*id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.of_network.is_empty()
    }
}
