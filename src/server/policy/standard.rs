//! What `rtftpd` allows: names are rewritten, then access rules decide, and behind them one profile for everybody, but for what
//! is different by network.

use super::rule::{Asked, Rule};
use super::{NameRules, Policy, Profile, Quirks, Verdict};
use crate::net::MacAddress;
use crate::query::Query;
use crate::store::Store;
use crate::wire::BlockSize;
use ipnet::IpNet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The policy of `rtftpd`: the first [`Rule`] that is for a request decides, and where none is, it is served with the
/// profile of all clients, but for what is different in some networks.
///
/// What a client may write is for the store to say, too.
#[derive(Clone, Default)]
pub struct StandardPolicy {
    profile: Profile,
    quirks_of: Vec<(IpNet, Quirks)>,
    names: NameRules,
    rules: Vec<Rule>,
    cards: Option<Arc<Cards>>,
}

/// Tells the hardware address of a client, where that is known.
type Cards = dyn Fn(&SocketAddr) -> Option<MacAddress> + Send + Sync;

impl Policy for StandardPolicy {
    fn decide(&self, query: &Query) -> Verdict {
        let client = query.peer.ip().to_canonical();
        let own = self.quirks_of.iter().find(|(network, _)| network.contains(&client));
        let quirks = own.map_or_else(Quirks::new, |(_, quirks)| *quirks);
        let mut profile = quirks.apply(self.profile.clone());
        match self.names.apply(query) {
            Ok(None) => {}
            Ok(Some(name)) => profile.name = Some(name),
            Err(refusal) => return Verdict::Refuse(refusal),
        }
        if self.rules.is_empty() {
            return Verdict::Serve(profile);
        }
        match self.first_rule(&profile.served(query)) {
            Some(rule) => rule.verdict(query, profile),
            None => Verdict::Serve(profile),
        }
    }
}

impl StandardPolicy {
    /// Serves everybody with `profile`.
    pub const fn new(profile: Profile) -> Self {
        Self {
            profile,
            quirks_of: Vec::new(),
            names: NameRules::NONE,
            rules: Vec::new(),
            cards: None,
        }
    }

    /// Serves this store where no rule names another. Rules that are for names need to know it: a name may begin with its
    /// path.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.profile = self.profile.store(store);
        self
    }

    /// Adds a rule behind those that there are.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Asks `cards` for the hardware address of a client, where a rule wants to know it: the kernel's
    /// [`Neighbours`](crate::server::Neighbours), for example. It must not wait. Without it no such address is known.
    #[must_use]
    pub fn mac_addresses(
        mut self,
        cards: impl Fn(&SocketAddr) -> Option<MacAddress> + Send + Sync + 'static,
    ) -> Self {
        self.cards = Some(Arc::new(cards));
        self
    }

    /// The rule that is for `query`, if one is.
    pub fn rule_for(&self, query: &Query) -> Option<&Rule> {
        let name = self.names.apply(query).ok()?;
        let profile = Profile { name, ..Profile::default() };
        self.first_rule(&profile.served(query))
    }

    /// The first rule that is for a request. Rules are about files: about the name that is looked for, whatever was asked
    /// for.
    fn first_rule(&self, served: &Query) -> Option<&Rule> {
        let listing = self.profile.listing.as_deref().unwrap_or(".list");
        let servers = self.profile.store.as_ref().map(|own| &*own.0);
        let look_up = || self.cards.as_ref().and_then(|cards| cards(&served.peer));
        let mut asked = Asked::new(served, (&self.rules, servers), listing, &look_up);
        self.rules.iter().find(|rule| rule.is_for(&mut asked))
    }

    /// The rules, in their order. Clones of a policy count together.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a rule wants to know hardware addresses.
    pub fn wants_mac_addresses(&self) -> bool {
        self.rules.iter().any(Rule::wants_mac)
    }

    /// What is different for clients of `network`, whatever rule is for them. Of several networks that a client is in, the
    /// one that was given first counts.
    #[must_use]
    pub fn quirks_of(mut self, network: IpNet, quirks: Quirks) -> Self {
        self.quirks_of.push((network, quirks));
        self
    }

    /// Serves other names than those that are asked for, as these rules say.
    #[must_use]
    pub fn names(mut self, names: NameRules) -> Self {
        self.names = names;
        self
    }

    /// The largest block size to grant to clients of `network`, if it is below that of all: for firmware that asks for
    /// more than it can take. It is one of the [quirks](Self::quirks_of) of that network.
    #[must_use]
    pub fn block_size_of(self, network: IpNet, most: BlockSize) -> Self {
        self.quirks_of(network, Quirks::new().block_size(most))
    }
}

impl fmt::Debug for StandardPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, quirks_of, names, rules, cards: _ } = self;
        f.debug_struct("StandardPolicy")
            .field("profile", profile)
            .field("quirks_of", quirks_of)
            .field("names", names)
            .field("rules", rules)
            .finish_non_exhaustive()
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Operation;
    use std::net::Ipv4Addr;

    #[test]
    fn the_first_network_that_fits_lowers_the_block_size_and_none_raises_it() {
        let size = |bytes| BlockSize::new(bytes).expect("a size");
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let policy = StandardPolicy::new(Profile::default().block_size(size(1428)))
            .block_size_of(network("192.0.2.0/25"), size(512))
            .block_size_of(network("192.0.2.0/24"), size(1024))
            .block_size_of(network("198.51.100.0/24"), size(8192));
        let granted = |client: [u8; 4]| {
            let peer = (client, 2000).into();
            let query = Query::new(peer, Ipv4Addr::LOCALHOST.into(), Operation::Read, "a");
            match policy.decide(&query) {
                Verdict::Serve(profile) => profile.limits.block_size.get(),
                other => panic!("{other:?}"),
            }
        };
        let clients = [[192, 0, 2, 127], [192, 0, 2, 128], [192, 0, 3, 0], [198, 51, 100, 7]];
        assert_eq!(clients.map(granted), [512, 1024, 1428, 1428]);
    }
}
