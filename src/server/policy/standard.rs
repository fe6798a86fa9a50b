//! What `rtftpd` allows: names are rewritten, then access rules decide, and behind them one profile for everybody, but for what
//! is different by network.

use super::rule::{Asked, Rule};
use super::{NameRules, Policy, Profile, Quirks, Shown, Verdict};
use crate::net::MacAddress;
use crate::query::Query;
use crate::store::{Kind, Store};
use crate::wire::{BlockSize, Operation};
use ipnet::IpNet;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

/// The policy of `rtftpd`: the first [`Rule`] that is for a request decides, and where none is, it is served with the
/// profile of all clients, but for what is different in some networks.
///
/// What a client may write is for the store to say, too.
#[derive(Clone, Default)]
pub struct StandardPolicy {
    profile: Profile,
    quirks_of: Vec<(IpNet, Quirks)>,
    names: NameRules,
    rules: Arc<Vec<Rule>>,
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
        let served = profile.served(query).into_owned();
        if lists(&served, &profile) {
            profile.shown = self.shown_to(&served);
        }
        match self.first_rule(&served) {
            Some(rule) => rule.verdict(query, profile),
            None => Verdict::Serve(profile),
        }
    }
}

/// Whether it is answered by a listing, if there is no file of that name.
fn lists(served: &Query, profile: &Profile) -> bool {
    let is_named = || {
        let path = served.path();
        path.is_ok_and(|path| path.is_directory() || profile.listed_directory(&path).is_some())
    };
    served.operation == Operation::List || served.operation == Operation::Read && is_named()
}

impl StandardPolicy {
    /// Serves everybody with `profile`.
    pub fn new(profile: Profile) -> Self {
        Self { profile, ..Self::default() }
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
        Arc::make_mut(&mut self.rules).push(rule);
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

    /// What the listings have of whoever sent `query`: all but files whose reading a rule denies or drops, and directories
    /// whose listings' reading one does. `None` where no rule does that to anything.
    pub fn shown_to(&self, query: &Query) -> Option<Shown> {
        if !self.rules.iter().any(Rule::turns_away) {
            return None;
        }
        // What is rewritten are names that are asked for, and these were not.
        let policy = Self {
            rules: Arc::clone(&self.rules),
            cards: self.cards.clone(),
            ..Self::new(self.profile.clone())
        };
        let (query, mac) = (query.clone(), OnceLock::new());
        Some(Shown::new(move |path, kind| {
            let mut name = path.as_os_str().as_bytes().to_vec();
            if kind == Kind::Directory {
                name.push(b'/');
            }
            let read = Query { operation: Operation::Read, name: name.into(), ..query.clone() };
            let look_up = || *mac.get_or_init(|| policy.card_of(&query));
            let rule = policy.first_rule_by(&read, &look_up);
            rule.is_none_or(|rule| !rule.turns_away())
        }))
    }

    fn card_of(&self, query: &Query) -> Option<MacAddress> {
        self.cards.as_ref().and_then(|cards| cards(&query.peer))
    }

    /// The first rule that is for a request. Rules are about files: about the name that is looked for, whatever was asked
    /// for.
    fn first_rule(&self, served: &Query) -> Option<&Rule> {
        self.first_rule_by(served, &|| self.card_of(served))
    }

    fn first_rule_by(
        &self,
        served: &Query,
        look_up: &dyn Fn() -> Option<MacAddress>,
    ) -> Option<&Rule> {
        let listing = self.profile.listing.as_deref().unwrap_or(".list");
        let servers = self.profile.store.as_ref().map(|own| &*own.0);
        let mut asked = Asked::new(served, (&self.rules, servers), listing, look_up);
        self.rules.iter().find(|rule| rule.is_for(&mut asked))
    }

    /// How everybody is served where nothing says otherwise.
    pub const fn profile(&self) -> &Profile {
        &self.profile
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
    use crate::server::policy::{Action, Operations, Serving};
    use crate::store::Listing;
    use std::net::Ipv4Addr;
    use std::path::Path;

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

    #[test]
    fn a_listing_has_no_name_whose_reading_a_rule_turns_away() {
        let deny = |label: &str| Rule::new(label, Action::Deny);
        let inside = |directory: &'static str| move |path: &Path| path.starts_with(directory);
        let is_key = |path: &Path| path.extension().is_some_and(|ext| ext == "key");
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let read = Operations::NONE.with(Operation::Read);
        let policy = StandardPolicy::default()
            .rule(Rule::new("r:1", Action::Serve(Serving::default())).from(network("192.0.2.9/32")))
            .rule(Rule::new("r:2", Action::Serve(Serving::default())).name(inside("secret/open")))
            .rule(deny("r:3").name(is_key))
            .rule(Rule::new("r:4", Action::Drop).name(inside("secret")))
            .rule(
                deny("r:5")
                    .name(inside("drop"))
                    .operations(Operations::NONE.with(Operation::Write)),
            )
            .rule(
                deny("r:6").name(inside("boot")).operations(Operations::NONE.with(Operation::List)),
            )
            .rule(deny("r:7").name(inside("cfg")).operations(read));
        let shown = |peer: [u8; 4], operation, name: &str, directory: &str, kind| {
            let query =
                Query::new((peer, 2000).into(), Ipv4Addr::LOCALHOST.into(), operation, name);
            let Verdict::Serve(profile) = policy.decide(&query) else { panic!("{name} is served") };
            let names = ["a.key", "boot", "cfg", "drop", "f", "open", "secret", "x.key"];
            let line = |name: &str| match kind {
                Kind::File => format!("- 0 2026-01-01 00:00:00 {name}\n"),
                Kind::Directory => format!("d 0 2026-01-01 00:00:00 {name}/\n"),
            };
            let text = format!("# 8 entries\n{}", names.map(line).concat());
            let mut listing = Listing::from_text(text.as_bytes()).expect("a listing");
            if let Some(shown) = profile.shown {
                shown.filter(Path::new(directory), &mut listing);
            }
            let names = listing.entries.iter().map(|entry| entry.name.to_string_lossy());
            names.collect::<Vec<_>>().join(" ")
        };
        let (client, friend) = ([192, 0, 2, 7], [192, 0, 2, 9]);
        let all = "a.key boot cfg drop f open secret x.key";
        for (operation, name) in
            [(Operation::List, ""), (Operation::Read, ".list"), (Operation::Read, "/")]
        {
            let files = shown(client, operation, name, "", Kind::File);
            assert_eq!(files, "boot drop f open", "{operation} {name}");
            let directories = shown(client, operation, name, "", Kind::Directory);
            assert_eq!(directories, "a.key boot drop f open x.key", "{operation} {name}");
            assert_eq!(shown(friend, operation, name, "", Kind::File), all);
        }
        let in_open = shown(client, Operation::List, "secret/open", "secret/open", Kind::File);
        assert_eq!(in_open, all);
        // What is no list has no need to know.
        assert_eq!(shown(client, Operation::Read, "f", "", Kind::File), all);
        let counts = policy.rules().iter().map(Rule::turned_away);
        assert_eq!(counts.sum::<u64>(), 0, "nobody was turned away");
    }
}
