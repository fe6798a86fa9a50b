//! Access rules: for whom they are, and what they say.

use super::{OwnStore, Profile, Quirks, Refusal, Verdict};
use crate::net::{MacAddress, MacPrefix};
use crate::query::Query;
use crate::store::{RootedPath, Store};
use crate::wire::{ErrorCode, Operation};
use ipnet::IpNet;
use std::cell::OnceCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A rule: some clients, or some of their requests, and what becomes of those. A rule without conditions is for all.
#[derive(Clone)]
pub struct Rule {
    label: Arc<str>,
    networks: Vec<IpNet>,
    cards: Vec<MacPrefix>,
    name: Option<NameTest>,
    operations: Option<Operations>,
    action: Action,
    taken: Arc<AtomicU64>,
}

type NameTest = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// What becomes of a request that a rule is for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// It is served like this.
    Serve(Serving),
    /// It gets ERROR 2.
    Deny,
    /// It gets no answer.
    Drop,
}

/// How a rule serves its clients. The default allows what the server allows, and serves what it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serving {
    allowed: Operations,
    files: Option<OwnStore>,
    uploads: Option<OwnStore>,
    quirks: Vec<Quirks>,
}

impl Serving {
    /// Allows these operations and no others; what a store does not allow it still refuses.
    #[must_use]
    pub const fn allow(mut self, operations: Operations) -> Self {
        self.allowed = operations;
        self
    }

    /// Serves this store in place of the server's.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.files = Some(OwnStore(store));
        self
    }

    /// Gives uploads to this store, in place of the one from which clients read.
    #[must_use]
    pub fn uploads(mut self, store: Arc<dyn Store>) -> Self {
        self.uploads = Some(OwnStore(store));
        self
    }

    /// Serves with what is different for such clients.
    #[must_use]
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks.push(quirks);
        self
    }

    fn store_for(&self, operation: Operation) -> Option<&OwnStore> {
        let uploads = self.uploads.as_ref().filter(|_| operation == Operation::Write);
        uploads.or(self.files.as_ref())
    }
}

/// A set of operations. The default has all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    read: bool,
    write: bool,
    list: bool,
}

impl Default for Operations {
    fn default() -> Self {
        Self { read: true, write: true, list: true }
    }
}

impl Operations {
    /// No operation.
    pub const NONE: Self = Self { read: false, write: false, list: false };

    /// The set with this operation.
    #[must_use]
    pub const fn with(mut self, operation: Operation) -> Self {
        match operation {
            Operation::Read => self.read = true,
            Operation::Write => self.write = true,
            Operation::List => self.list = true,
        }
        self
    }

    /// Whether the set has this operation.
    pub const fn contains(self, operation: Operation) -> bool {
        match operation {
            Operation::Read => self.read,
            Operation::Write => self.write,
            Operation::List => self.list,
        }
    }
}

impl Rule {
    /// A rule for all clients, which is known by `label`: where it stands, as in `rules.toml:12`.
    pub fn new(label: impl Into<Arc<str>>, action: Action) -> Self {
        Self {
            label: label.into(),
            networks: Vec::new(),
            cards: Vec::new(),
            name: None,
            operations: None,
            action,
            taken: Arc::default(),
        }
    }

    /// Makes it one for clients of this network, or of any other that is given.
    #[must_use]
    pub fn from(mut self, network: IpNet) -> Self {
        self.networks.push(canonical(network));
        self
    }

    /// Makes it one for clients whose hardware addresses begin so, or as any other that is given. A client of which none is
    /// known is none of them.
    #[must_use]
    pub fn mac(mut self, prefix: MacPrefix) -> Self {
        self.cards.push(prefix);
        self
    }

    /// Makes it one for names that pass this test. They are relative to the root, without `.`, `..` and the root's own path,
    /// with slashes for backslashes. A list of a directory has the name of its generated listing there.
    #[must_use]
    pub fn name(mut self, test: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.name = Some(Arc::new(test));
        self
    }

    /// Makes it one for these operations.
    #[must_use]
    pub const fn operations(mut self, operations: Operations) -> Self {
        self.operations = Some(operations);
        self
    }

    /// Where it stands.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How many requests it has refused or dropped.
    pub fn turned_away(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether it turns away such requests, where it is for them.
    pub(super) const fn turns_away(&self, operation: Operation) -> bool {
        match &self.action {
            Action::Serve(serving) => !serving.allowed.contains(operation),
            Action::Deny | Action::Drop => true,
        }
    }

    /// Whether it is for names of any kind.
    pub(super) const fn is_for_any_name(&self) -> bool {
        self.name.is_none()
    }

    /// Whether it wants to know hardware addresses.
    pub(super) fn wants_mac(&self) -> bool {
        !self.cards.is_empty()
    }

    /// The stores of its own: from which its clients read, and to which they write.
    pub(super) fn stores(&self) -> impl Iterator<Item = &OwnStore> {
        let serving = match &self.action {
            Action::Serve(serving) => Some(serving),
            Action::Deny | Action::Drop => None,
        };
        serving.into_iter().flat_map(|serving| serving.files.iter().chain(&serving.uploads))
    }

    /// Whether it is for such a request of this client. One whose name is no path has none.
    pub(super) fn is_for(
        &self,
        operation: Operation,
        client: &Client<'_>,
        name: Option<&Named<'_>>,
    ) -> bool {
        let has_name = || name.is_some_and(|name| self.has_name(operation, name));
        self.is_of(operation, client)
            && (self.is_for_any_name() || has_name())
            && self.has_card(client)
    }

    /// Whether it is for such requests of this client, as far as their names do not matter.
    pub(super) fn is_for_client(&self, operation: Operation, client: &Client<'_>) -> bool {
        self.is_of(operation, client) && self.has_card(client)
    }

    fn is_of(&self, operation: Operation, client: &Client<'_>) -> bool {
        self.operations.is_none_or(|operations| operations.contains(operation))
            && (self.networks.is_empty()
                || self.networks.iter().any(|network| network.contains(&client.ip)))
    }

    fn has_card(&self, client: &Client<'_>) -> bool {
        self.cards.is_empty()
            || client.mac().is_some_and(|mac| self.cards.iter().any(|card| card.contains(&mac)))
    }

    /// Whether the name passes its test. One that begins with the path of a root means what is behind that. Where nothing is
    /// served it is enough that the name may mean so in any of the roots that there are.
    pub(super) fn has_name(&self, operation: Operation, name: &Named<'_>) -> bool {
        let Some(test) = &self.name else { return true };
        match &self.action {
            Action::Serve(serving) => test(name.inside(serving.store_for(operation))),
            Action::Deny | Action::Drop => {
                test(name.path) || name.inside_any().iter().any(|path| test(path))
            }
        }
    }

    /// What it says to a request that it is for, which would else be served with `profile`.
    pub(super) fn verdict(&self, query: &Query, profile: Profile) -> Verdict {
        let serving = match &self.action {
            Action::Serve(serving) if serving.allowed.contains(query.operation) => serving,
            Action::Serve(_) => return self.refuse("does not allow it"),
            Action::Deny => return self.refuse("denies it"),
            Action::Drop => {
                self.count();
                return Verdict::Drop(format!("the rule at {} drops it", self.label).into());
            }
        };
        let mut profile =
            serving.quirks.iter().fold(profile, |profile, quirks| quirks.apply(profile));
        if !serving.allowed.contains(Operation::List) {
            profile.listing = None;
        }
        if let Some(store) = serving.store_for(query.operation) {
            profile.store = Some(store.clone());
        }
        Verdict::Serve(profile)
    }

    fn refuse(&self, why: &str) -> Verdict {
        self.count();
        let why = format!("the rule at {} {why}", self.label);
        Verdict::Refuse(Refusal::new(ErrorCode::AccessViolation, why))
    }

    fn count(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("label", &self.label)
            .field("networks", &self.networks)
            .field("cards", &self.cards)
            .field("operations", &self.operations)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// A network of IPv4 that is written as one of IPv6 is one of IPv4: so are its clients.
fn canonical(network: IpNet) -> IpNet {
    let v4 = match (network, network.addr().to_canonical()) {
        (IpNet::V6(_), ip @ IpAddr::V4(_)) => network.prefix_len().checked_sub(96).zip(Some(ip)),
        _ => None,
    };
    v4.and_then(|(len, ip)| IpNet::new(ip, len).ok()).unwrap_or(network)
}

/// Tells the hardware address of a client, where that is known.
pub(super) type Cards = dyn Fn(&SocketAddr) -> Option<MacAddress> + Send + Sync;

/// A client, with its hardware address, which is looked up when the first rule wants to know it.
pub(super) struct Client<'a> {
    ip: IpAddr,
    peer: &'a SocketAddr,
    cards: Option<&'a Cards>,
    mac: OnceCell<Option<MacAddress>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(peer: &'a SocketAddr, cards: Option<&'a Cards>) -> Self {
        Self { ip: peer.ip().to_canonical(), peer, cards, mac: OnceCell::new() }
    }

    fn mac(&self) -> Option<MacAddress> {
        *self.mac.get_or_init(|| self.cards?(self.peer))
    }
}

/// The stores that there are, each once. A name may begin with the path of any of their roots.
#[derive(Clone)]
pub(super) struct Roots {
    pub(super) of_rules: Arc<Vec<OwnStore>>,
    /// The one that serves where rules name none.
    pub(super) servers: Option<OwnStore>,
}

/// A name that rules are for or not, as a path beneath the root.
pub(super) struct Named<'a> {
    path: &'a Path,
    roots: &'a Roots,
    /// What is behind the path of each root with which it begins.
    inside: OnceCell<Vec<&'a Path>>,
}

impl<'a> Named<'a> {
    pub(super) const fn new(path: &'a Path, roots: &'a Roots) -> Self {
        Self { path, roots, inside: OnceCell::new() }
    }

    /// What it means in this store, or in the server's.
    fn inside(&self, own: Option<&OwnStore>) -> &'a Path {
        let store = own.or(self.roots.servers.as_ref());
        store.and_then(|store| store.0.inside(self.path)).unwrap_or(self.path)
    }

    fn inside_any(&self) -> &[&'a Path] {
        let Roots { of_rules, servers } = self.roots;
        let servers = servers.iter().filter(|own| !of_rules.contains(own));
        let stores = || of_rules.iter().chain(servers);
        self.inside.get_or_init(|| stores().filter_map(|own| own.0.inside(self.path)).collect())
    }
}

/// The path beneath the root that rules look at: that of the name, or of a directory's generated listing.
pub(super) fn path_of(query: &Query, listing: &str) -> Option<PathBuf> {
    let name = RootedPath::parse(query.name.as_bytes()).ok()?;
    let is_list = query.operation == Operation::List;
    let is_directory = name.is_directory() && query.operation == Operation::Read;
    let path = name.with_slashes();
    Some(if is_list || is_directory { path.join(listing) } else { path.to_owned() })
}

#[cfg(test)]
mod tests;
