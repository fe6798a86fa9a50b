//! What `rtftpd` allows: names are rewritten, then access rules decide, and behind them one profile for everybody, but for what
//! is different by network.

use super::rule::{Cards, Client, Named, Roots, Rule, path_of};
use super::{NameRules, OwnStore, Policy, Profile, Quirks, Shown, Verdict};
use crate::net::MacAddress;
use crate::query::Query;
use crate::store::{Kind, RootedPath, Store};
use crate::wire::{BlockSize, Operation};
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
    rules: Arc<Vec<Rule>>,
    /// The stores of the rules, each once.
    stores: Arc<Vec<OwnStore>>,
    cards: Option<Arc<Cards>>,
}

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
        let client = self.client(&served);
        let mut verdict = match self.first_rule(&served, &client) {
            Some(rule) => rule.verdict(query, profile),
            None => Verdict::Serve(profile),
        };
        if let Verdict::Serve(profile) = &mut verdict
            && profile.lists(&served).is_some()
        {
            let shown = self.shown_to(&client);
            profile.shown = profile.shown.take().into_iter().chain(shown).reduce(Shown::and);
        }
        verdict
    }
}

/// What rules say of a client's requests of one kind, by their names.
struct ByName {
    operation: Operation,
    /// Those that are for such requests, up to the first that is for any name.
    rules: Vec<Rule>,
}

impl ByName {
    fn turn_away(&self, name: &Named<'_>) -> bool {
        let rule = self.rules.iter().find(|rule| rule.has_name(self.operation, name));
        rule.is_some_and(|rule| rule.turns_away(self.operation))
    }
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
        for own in rule.stores() {
            if !self.stores.contains(own) {
                Arc::make_mut(&mut self.stores).push(own.clone());
            }
        }
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
        let served = profile.served(query);
        self.first_rule(&served, &self.client(&served))
    }

    /// The first rule that is for a request. Rules are about files: about the name that is looked for, whatever was asked
    /// for.
    fn first_rule(&self, served: &Query, client: &Client<'_>) -> Option<&Rule> {
        let (path, roots) = (path_of(served, self.listing_name()), self.roots());
        let name = path.as_deref().map(|path| Named::new(path, &roots));
        let mut rules = self.rules.iter();
        rules.find(|rule| rule.is_for(served.operation, client, name.as_ref()))
    }

    /// Which names this client's listings have: all but files that it may not read, and directories of which it may neither
    /// read the generated listing nor have a list. `None` where no rule keeps any from it.
    fn shown_to(&self, client: &Client<'_>) -> Option<Shown> {
        let [reads, lists] = [Operation::Read, Operation::List].map(|operation| {
            let of_client = |rule: &&Rule| rule.is_for_client(operation, client);
            let mut rules = Vec::new();
            for rule in self.rules.iter().filter(of_client) {
                rules.push(rule.clone());
                if rule.is_for_any_name() {
                    break;
                }
            }
            ByName { operation, rules }
        });
        if !reads.rules.iter().any(|rule| rule.turns_away(Operation::Read)) {
            return None;
        }
        let (roots, listing) = (self.roots(), self.listing_name().to_owned());
        Some(Shown::new(move |path, kind| {
            let path = RootedPath::with_slashes_in(path);
            match kind {
                Kind::File => !reads.turn_away(&Named::new(&path, &roots)),
                Kind::Directory => {
                    let path = path.join(&listing);
                    let name = Named::new(&path, &roots);
                    !reads.turn_away(&name) || !lists.turn_away(&name)
                }
            }
        }))
    }

    fn client<'a>(&'a self, query: &'a Query) -> Client<'a> {
        Client::new(&query.peer, self.cards.as_deref())
    }

    fn roots(&self) -> Roots {
        Roots { of_rules: Arc::clone(&self.stores), servers: self.profile.store.clone() }
    }

    /// The name that a directory's generated listing has for rules, whether or not there are listings.
    fn listing_name(&self) -> &str {
        self.profile.listing.as_deref().unwrap_or(".list")
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
        let Self { profile, quirks_of, names, rules, stores: _, cards: _ } = self;
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
    use crate::store::{Folder, Listing, Readable, StoreError};
    use crate::transfer::Sink;
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_first_network_that_fits_lowers_the_block_size_and_none_raises_it() {
        let size = |bytes| BlockSize::new(bytes).expect("a size");
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let policy = StandardPolicy::new(Profile::default().block_size(size(1428)))
            .block_size_of(network("192.0.2.0/25"), size(512))
            .block_size_of(network("192.0.2.0/24"), size(1024))
            .block_size_of(network("198.51.100.0/24"), size(8192));
        let granted = |policy: &StandardPolicy, client: std::net::IpAddr| {
            let peer = (client, 2000).into();
            let query = Query::new(peer, Ipv4Addr::LOCALHOST.into(), Operation::Read, "a");
            match policy.decide(&query) {
                Verdict::Serve(profile) => profile.limits.block_size.get(),
                other => panic!("{other:?}"),
            }
        };
        let clients = [[192, 0, 2, 127], [192, 0, 2, 128], [192, 0, 3, 0], [198, 51, 100, 7]];
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        // Whatever rule is for them.
        for policy in [policy.clone(), policy.rule(rule("r:1", served()))] {
            let sizes = clients.map(|client| granted(&policy, client.into()));
            assert_eq!(sizes, [512, 1024, 1428, 1428]);
            let mapped = granted(&policy, mapped.into());
            assert_eq!(mapped, 512, "a socket of IPv6 has clients of IPv4, too");
        }
    }

    const NAMES: [&str; 9] =
        ["a.key", "boot", "cfg", "drop", "f", "open", "secret", "secret\\f", "x.key"];

    fn query(peer: [u8; 4], operation: Operation, name: &str) -> Query {
        Query::new((peer, 2000).into(), Ipv4Addr::LOCALHOST.into(), operation, name)
    }

    fn rule(label: &str, action: Action) -> Rule {
        Rule::new(label, action)
    }

    fn served() -> Action {
        Action::Serve(Serving::default())
    }

    fn allowing(operations: impl IntoIterator<Item = Operation>) -> Action {
        let allowed = operations.into_iter().fold(Operations::NONE, Operations::with);
        Action::Serve(Serving::default().allow(allowed))
    }

    fn inside(directory: &'static str) -> impl Fn(&Path) -> bool {
        move |path| path.starts_with(directory)
    }

    fn is_key(path: &Path) -> bool {
        path.extension().is_some_and(|ext| ext == "key")
    }

    fn listing(names: &[impl AsRef<str>], kind: Kind) -> Listing {
        let line = |name: &str| match kind {
            Kind::File => format!("- 0 2026-01-01 00:00:00 {name}\n"),
            Kind::Directory => format!("d 0 2026-01-01 00:00:00 {name}/\n"),
        };
        let lines: String = names.iter().map(|name| line(name.as_ref())).collect();
        let text = format!("# {} entries\n{lines}", names.len());
        Listing::from_text(text.as_bytes()).expect("a listing")
    }

    /// Which of the names there are in what `query` lists of this directory.
    fn shown(policy: &StandardPolicy, query: &Query, directory: &str, kind: Kind) -> String {
        let Verdict::Serve(profile) = policy.decide(query) else { panic!("{query} is served") };
        let mut listing = listing(&NAMES, kind);
        if let Some(shown) = profile.shown {
            shown.filter(Path::new(directory), &mut listing);
        }
        let names = listing.entries.iter().map(|entry| entry.name.to_string_lossy());
        names.collect::<Vec<_>>().join(" ")
    }

    /// Which of the names may be read there, or for directories, be read or listed.
    fn open(policy: &StandardPolicy, peer: [u8; 4], directory: &str, kind: Kind) -> String {
        let is_served = |operation, name: &str| {
            matches!(policy.decide(&query(peer, operation, name)), Verdict::Serve(_))
        };
        let names = NAMES.iter().filter(|name| {
            let path = format!("{directory}/{name}");
            match kind {
                Kind::File => is_served(Operation::Read, &path),
                Kind::Directory => {
                    is_served(Operation::Read, &format!("{path}/"))
                        || is_served(Operation::List, &path)
                }
            }
        });
        names.copied().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_listing_has_no_name_whose_reading_a_rule_turns_away() {
        let read = Operations::NONE.with(Operation::Read);
        let policy = StandardPolicy::default()
            .rule(rule("r:1", served()).from("192.0.2.9/32".parse().expect("a network")))
            .rule(rule("r:2", served()).name(inside("secret/open")))
            .rule(rule("r:3", Action::Deny).name(is_key))
            .rule(rule("r:4", Action::Drop).name(inside("secret")))
            .rule(
                rule("r:5", Action::Deny)
                    .name(inside("drop"))
                    .operations(Operations::NONE.with(Operation::Write)),
            )
            .rule(
                rule("r:6", Action::Deny)
                    .name(inside("boot"))
                    .operations(Operations::NONE.with(Operation::List)),
            )
            .rule(rule("r:7", Action::Deny).name(inside("cfg")).operations(read))
            .rule(
                rule("r:8", Action::Deny)
                    .name(inside("open"))
                    .operations(read.with(Operation::List)),
            );
        let (client, friend) = ([192, 0, 2, 7], [192, 0, 2, 9]);
        for (operation, name) in
            [(Operation::List, ""), (Operation::Read, ".list"), (Operation::Read, "/")]
        {
            let asked = query(client, operation, name);
            let files = shown(&policy, &asked, "", Kind::File);
            assert_eq!(files, "boot drop f", "{operation} {name}");
            let directories = shown(&policy, &asked, "", Kind::Directory);
            assert_eq!(directories, "a.key boot cfg drop f x.key", "{operation} {name}");
            let asked = query(friend, operation, name);
            assert_eq!(shown(&policy, &asked, "", Kind::File), NAMES.join(" "));
        }
        let in_open = query(client, Operation::List, "secret/open");
        assert_eq!(shown(&policy, &in_open, "secret/open", Kind::File), NAMES.join(" "));
        // So has one that is asked for by another name.
        let mapped = NameRules::default().map("m", "r ^names$ .list").expect("a map");
        let by_name = query(client, Operation::Read, "names");
        let files = shown(&policy.clone().names(mapped), &by_name, "", Kind::File);
        assert_eq!(files, "boot drop f", "a name that means the listing");
        // What is no list has no need to know.
        let no_list = query(client, Operation::Read, "f");
        assert_eq!(shown(&policy, &no_list, "", Kind::File), NAMES.join(" "));
        let counts = policy.rules().iter().map(Rule::turned_away);
        assert_eq!(counts.sum::<u64>(), 0, "nobody was turned away");
    }

    #[test]
    fn a_listing_has_no_file_whose_rule_allows_no_reading_and_directories_that_are_read_or_listed()
    {
        let policy = StandardPolicy::default()
            .rule(rule("r:1", allowing([Operation::Write])).name(is_key))
            .rule(rule("r:2", allowing([Operation::Write])).name(inside("drop")))
            .rule(rule("r:3", allowing([Operation::List])).name(inside("boot")))
            .rule(rule("r:4", allowing([Operation::Read])).name(inside("cfg")))
            .rule(rule("r:5", allowing([Operation::Read, Operation::List])));
        let asked = query([192, 0, 2, 7], Operation::List, "");
        assert_eq!(shown(&policy, &asked, "", Kind::File), "cfg f open secret secret\\f");
        assert_eq!(
            shown(&policy, &asked, "", Kind::Directory),
            "a.key boot cfg f open secret secret\\f x.key"
        );
        let lists = StandardPolicy::default().rule(rule("r:1", allowing([Operation::List])));
        assert_eq!(shown(&lists, &asked, "", Kind::File), "", "there is nothing to fetch");
        assert_eq!(shown(&lists, &asked, "", Kind::Directory), NAMES.join(" "));
    }

    #[test]
    fn what_a_profile_keeps_out_of_listings_rules_do_not_bring_back() {
        let profile = Profile::default().shown(Shown::new(|path, _| path != Path::new("f")));
        let other = "198.51.100.0/24".parse().expect("a network");
        let policy = StandardPolicy::new(profile).rule(rule("r:1", Action::Deny).from(other));
        let asked = query([192, 0, 2, 7], Operation::List, "");
        let all = NAMES.join(" ");
        assert_eq!(shown(&policy, &asked, "", Kind::File), all.replace(" f ", " "));
        let policy = policy.rule(rule("r:2", Action::Deny).name(is_key));
        let all = all.replace(" f ", " ").replace("a.key ", "").replace(" x.key", "");
        assert_eq!(shown(&policy, &asked, "", Kind::File), all);
    }

    #[test]
    fn a_listing_has_what_is_served_by_whatever_name_the_directory_is_asked_for() {
        let [main, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let folder = |place: &tempfile::TempDir| {
            Arc::new(Folder::open(place.path()).expect("it opens")) as Arc<dyn Store>
        };
        let own = Serving::default().store(folder(&other));
        let policy = StandardPolicy::default()
            .store(folder(&main))
            .rule(rule("r:1", served()).from("192.0.2.9/32".parse().expect("a network")))
            .rule(rule("r:2", Action::Serve(own)).name(inside("secret/open")))
            .rule(rule("r:3", Action::Deny).name(inside("secret")))
            .rule(rule("r:4", allowing([Operation::List])).name(is_key))
            .rule(rule("r:5", Action::Drop).name(inside("drop")));
        let [main, other] = [&main, &other].map(|place| place.path().display().to_string());
        let client = [192, 0, 2, 7];
        for directory in ["", "sub", "sub\\x", &main, &other, &format!("{other}/secret")] {
            for kind in [Kind::File, Kind::Directory] {
                let asked = query(client, Operation::List, "");
                let path = RootedPath::parse(directory.as_bytes()).expect("a path");
                let path = path.path().to_str().expect("text");
                let expected = open(&policy, client, directory, kind);
                assert_eq!(shown(&policy, &asked, path, kind), expected, "{directory} {kind:?}");
            }
        }
    }

    /// Counts how often it is asked what a name means behind its own path.
    struct Counting(AtomicUsize);

    impl Store for Counting {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::NotFound)
        }

        fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
            Err(StoreError::NotFound)
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Err(StoreError::NotFound)
        }

        fn inside<'p>(&self, _: &'p Path) -> Option<&'p Path> {
            self.0.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    #[test]
    fn the_rule_that_is_told_is_that_for_the_name_that_is_served() {
        let names = NameRules::default().map("m", "r ^old- new-").expect("a map");
        let is_new = |path: &Path| path == Path::new("new-f");
        let policy = StandardPolicy::default().names(names);
        let policy = policy.rule(rule("r:1", Action::Deny).name(is_new));
        for name in ["old-f", "new-f"] {
            let asked = query([192, 0, 2, 7], Operation::Read, name);
            assert_eq!(policy.rule_for(&asked).map(Rule::label), Some("r:1"), "{name}");
            assert!(matches!(policy.decide(&asked), Verdict::Refuse(_)), "{name}");
        }
        let other = query([192, 0, 2, 7], Operation::Read, "old-g");
        assert!(policy.rule_for(&other).is_none());
    }

    #[test]
    fn a_name_that_is_not_served_under_any_is_refused_whatever_rules_there_are() {
        let names = NameRules::default().map("m", "a ^secret").expect("a map");
        let without = StandardPolicy::default().names(names);
        for policy in [without.clone(), without.rule(rule("r:1", served()))] {
            let [closed, open] = ["secret", "f"].map(|name| {
                let asked = query([192, 0, 2, 7], Operation::Read, name);
                matches!(policy.decide(&asked), Verdict::Serve(_))
            });
            assert!(!closed && open, "{policy:?}");
        }
    }

    #[test]
    fn for_a_listing_each_store_is_asked_once_about_a_name_and_the_card_once_in_all() {
        let store = Arc::new(Counting(AtomicUsize::new(0)));
        let own = || Action::Serve(Serving::default().store(Arc::clone(&store) as Arc<dyn Store>));
        let prefix = || "00:04:f2".parse().expect("a prefix");
        let cards = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cards);
        let policy = StandardPolicy::default()
            .store(Arc::clone(&store) as Arc<dyn Store>)
            .rule(rule("r:1", own()).from("198.51.100.0/24".parse().expect("a network")))
            .rule(rule("r:2", Action::Deny).name(inside("secret")))
            .rule(rule("r:3", own()).mac(prefix()).name(is_key))
            .rule(rule("r:4", Action::Drop).name(inside("drop")))
            .rule(rule("r:5", own()).mac(prefix()))
            .mac_addresses(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                None
            });
        let asked = query([192, 0, 2, 7], Operation::List, "");
        let Verdict::Serve(profile) = policy.decide(&asked) else { panic!("it is served") };
        let shown = profile.shown.expect("a test");
        store.0.store(0, Ordering::Relaxed);
        let mut listing = listing(&NAMES, Kind::File);
        shown.filter(Path::new(""), &mut listing);
        assert_eq!(listing.entries.len(), NAMES.len() - 3);
        let asked = store.0.load(Ordering::Relaxed);
        assert!(asked <= NAMES.len(), "{asked} times for {} names", NAMES.len());
        assert_eq!(cards.load(Ordering::Relaxed), 1, "for the request and its listing");
    }
}
