//! The quotas of sessions, of descriptors, and of memory for windows: how much there is in all, how much of it one network may
//! have, how much clients may have who have not proven their address, and how much those of one network.
//!
//! Each session counts in several pools at once. What is left for one more is what the fullest of its pools has left.

use super::budgets::Budgets;
use super::config::Config;
use super::network::network_of;
use super::policy::DropReason;
use crate::limits;
use crate::net::PortRange;
use crate::wire::Operation;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// What some sessions have together, or the most that they may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    sessions: usize,
    descriptors: usize,
    /// Memory for their windows.
    bytes: usize,
}

/// Sessions that share a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pool {
    All,
    Of(IpNet),
    Unproven,
    UnprovenOf(IpNet),
}

/// What is known of a session's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// It has not answered from its own address.
    Unproven,
    /// It has.
    Proven,
    /// It has all that it asked for: its session gives way to any other.
    Served,
}

/// Where a session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    client: IpAddr,
    stage: Client,
    descriptors: usize,
}

impl Member {
    pub(super) const fn new(client: IpAddr, stage: Client, operation: Operation) -> Self {
        let descriptors = match (operation, stage) {
            (Operation::Write, Client::Unproven | Client::Proven) => limits::DESCRIPTORS_OF_UPLOAD,
            (Operation::Read | Operation::List, _) | (_, Client::Served) => {
                limits::DESCRIPTORS_OF_DOWNLOAD
            }
        };
        Self { client, stage, descriptors: descriptors as usize }
    }

    pub(super) const fn client(self) -> IpAddr {
        self.client
    }

    fn pools(self) -> impl Iterator<Item = Pool> {
        // Loopback cannot be forged from outside.
        let of_network = (!self.client.is_loopback()).then(|| network_of(self.client));
        let is_served = self.stage == Client::Served;
        let of = of_network.map(Pool::Of).filter(|_| !is_served);
        let unproven = [Some(Pool::Unproven), of_network.map(Pool::UnprovenOf)];
        let is_unproven = self.stage == Client::Unproven;
        let unproven = unproven.into_iter().flatten().filter(move |_| is_unproven);
        std::iter::once(Pool::All).chain(of).chain(unproven)
    }
}

pub(super) struct Quota {
    most: Share,
    most_of_network: Share,
    most_unproven: Share,
    most_unproven_of_network: Share,
    /// Pools without a session are not in it.
    used: HashMap<Pool, Share>,
}

impl Quota {
    pub(super) fn new(config: &Config) -> Self {
        // Any share has room for one upload.
        let descriptors = |some: usize| some.max(limits::DESCRIPTORS_OF_UPLOAD as usize);
        let most = Share {
            sessions: config.sessions,
            descriptors: descriptors(config.descriptors),
            bytes: config.windows_bytes,
        };
        let of_all = |part: fn(usize) -> usize| Share {
            sessions: part(most.sessions),
            descriptors: descriptors(part(most.descriptors)),
            bytes: part(most.bytes),
        };
        let ports = config.ports.map_or(usize::MAX, PortRange::count);
        let of_network = of_all(|all| all - all / limits::OTHERS_RESERVE_DIVISOR);
        let unproven = of_all(|all| all - all / limits::PROVEN_RESERVE_DIVISOR);
        let unproven_of_network = of_all(|all| all.div_ceil(limits::UNPROVEN_SHARE_DIVISOR));
        let Budgets { sessions_of_network, unproven: told, .. } = config.budgets;
        let sessions = |told: Option<usize>, share: Share| Share {
            sessions: told.map_or(share.sessions, |told| told.min(most.sessions)),
            ..share
        };
        let most_of_network = sessions(sessions_of_network, of_network);
        let of_ports = ports - ports / limits::OTHERS_RESERVE_DIVISOR;
        Self {
            most,
            most_of_network: Share {
                sessions: most_of_network.sessions.min(of_ports),
                ..most_of_network
            },
            most_unproven: sessions(told.map(|told| told.all), unproven),
            most_unproven_of_network: sessions(
                told.map(|told| told.of_network),
                unproven_of_network,
            ),
            used: HashMap::new(),
        }
    }

    const fn most(&self, pool: Pool) -> Share {
        match pool {
            Pool::All => self.most,
            Pool::Of(_) => self.most_of_network,
            Pool::Unproven => self.most_unproven,
            Pool::UnprovenOf(_) => self.most_unproven_of_network,
        }
    }

    fn used(&self, pool: Pool) -> Share {
        self.used.get(&pool).copied().unwrap_or_default()
    }

    /// Whether there is no room in all for one more session, with those that are there.
    pub(super) fn is_full(&self, member: Member) -> bool {
        self.lacks(Pool::All, member, Share::default())
    }

    /// Whether a pool lacks room for one more session when so much of it is given back.
    fn lacks(&self, pool: Pool, member: Member, back: Share) -> bool {
        let (used, most) = (self.used(pool), self.most(pool));
        used.sessions.saturating_sub(back.sessions) >= most.sessions
            || used.descriptors.saturating_sub(back.descriptors) + member.descriptors
                > most.descriptors
    }

    /// Whether there is room for one more session, if as many others as `may_leave`, which are served, and those that are
    /// `leaving` leave for it.
    pub(super) fn check(
        &self,
        member: Member,
        may_leave: usize,
        leaving: &[Member],
    ) -> Result<(), DropReason> {
        let full = |pool: &Pool| {
            let may_leave = if *pool == Pool::All { may_leave } else { 0 };
            // A served one has a socket.
            let mut back = Share { sessions: may_leave, descriptors: may_leave, bytes: 0 };
            for other in leaving.iter().filter(|other| other.pools().any(|its| its == *pool)) {
                back.sessions += 1;
                back.descriptors += other.descriptors;
            }
            self.lacks(*pool, member, back)
        };
        match member.pools().find(full) {
            None => Ok(()),
            Some(Pool::All) => Err(DropReason::TooManySessions),
            Some(Pool::Of(_)) => Err(DropReason::TooManyOfNetwork),
            Some(Pool::Unproven) => Err(DropReason::TooManyUnproven),
            Some(Pool::UnprovenOf(_)) => Err(DropReason::TooManyUnprovenOfNetwork),
        }
    }

    /// Counts one more session, which has no memory yet.
    pub(super) fn add(&mut self, member: Member) {
        for pool in member.pools() {
            let used = self.used.entry(pool).or_default();
            used.sessions += 1;
            used.descriptors += member.descriptors;
        }
    }

    /// Counts a session no more, and its `bytes` of memory neither.
    pub(super) fn remove(&mut self, member: Member, bytes: usize) {
        for pool in member.pools() {
            let Some(used) = self.used.get_mut(&pool) else { continue };
            used.sessions -= 1;
            used.descriptors -= member.descriptors;
            used.bytes -= bytes;
            if used.sessions == 0 {
                self.used.remove(&pool);
            }
        }
    }

    /// Counts a session with `bytes` of memory as another member than before.
    pub(super) fn change(&mut self, before: Member, after: Member, bytes: usize) {
        self.remove(before, bytes);
        self.add(after);
        self.resize(after, 0, bytes);
    }

    /// Gives a session that has `before` bytes of memory as many as it wants of those that are left, and tells how
    /// many.
    pub(super) fn reserve(&mut self, member: Member, before: usize, wanted: usize) -> usize {
        self.resize(member, before, 0);
        let left = |pool| self.most(pool).bytes.saturating_sub(self.used(pool).bytes);
        let bytes = member.pools().map(left).min().unwrap_or_default().min(wanted);
        self.resize(member, 0, bytes);
        bytes
    }

    /// The most memory that such a session could ever have.
    pub(super) fn most_bytes(&self, member: Member) -> usize {
        member.pools().map(|pool| self.most(pool).bytes).min().unwrap_or_default()
    }

    fn resize(&mut self, member: Member, before: usize, bytes: usize) {
        for pool in member.pools() {
            let used = self.used.entry(pool).or_default();
            used.bytes = used.bytes - before + bytes;
        }
    }

    /// Sessions whose clients are not proven, and memory for the windows of all sessions.
    pub(super) fn gauges(&self) -> (usize, usize) {
        (self.used(Pool::Unproven).sessions, self.used(Pool::All).bytes)
    }

    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        self.used.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn quota(sessions: usize, bytes: usize) -> Quota {
        Quota::new(&Config::default().sessions(sessions).windows_bytes(bytes))
    }

    fn client(network: u8, host: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, network, host).into()
    }

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PROVEN: Member = Member::new(LOOPBACK, Client::Proven, Operation::Read);

    fn unproven(client: IpAddr) -> Member {
        Member::new(client, Client::Unproven, Operation::Read)
    }

    #[test]
    fn an_upload_counts_as_its_descriptors_until_its_client_has_been_served() {
        let mut quota = Quota::new(&Config::default().sessions(100).descriptors(16));
        let of = |network, stage, operation| Member::new(client(network, 1), stage, operation);
        let upload = |network, stage| of(network, stage, Operation::Write);
        let download = of(2, Client::Proven, Operation::Read);
        for _ in 0..4 {
            assert_eq!(quota.check(upload(2, Client::Proven), 0, &[]), Ok(()));
            quota.add(upload(2, Client::Proven));
        }
        let of_network = Err(DropReason::TooManyOfNetwork);
        assert_eq!(quota.check(download, 0, &[]), of_network, "three quarters of 16");
        assert_eq!(quota.check(upload(3, Client::Proven), 0, &[]), Ok(()));
        quota.add(upload(3, Client::Proven));
        assert_eq!(quota.check(of(3, Client::Unproven, Operation::List), 0, &[]), Ok(()));
        let third = upload(4, Client::Proven);
        assert_eq!(quota.check(third, 0, &[]), Err(DropReason::TooManySessions), "one is left");
        assert!(quota.is_full(third) && !quota.is_full(download));
        assert_eq!(quota.check(third, 2, &[]), Ok(()), "those of two that are served");
        assert_eq!(quota.check(third, 0, &[upload(3, Client::Proven)]), Ok(()));
        assert_eq!(quota.check(download, 0, &[upload(3, Client::Proven)]), of_network);
        quota.change(upload(2, Client::Proven), upload(2, Client::Served), 0);
        assert_eq!(quota.check(download, 0, &[]), Ok(()), "it is stored, and has a socket");
        // Without an answer a network has a quarter, and all have three.
        let mut quota = Quota::new(&Config::default().sessions(100).descriptors(16));
        let [first, second] = [2, 3].map(|network| upload(network, Client::Unproven));
        quota.add(first);
        let full = Err(DropReason::TooManyUnprovenOfNetwork);
        assert_eq!((quota.check(first, 0, &[]), quota.check(second, 0, &[])), (full, Ok(())));
        (3..6).for_each(|network| quota.add(upload(network, Client::Unproven)));
        let one_more = upload(9, Client::Unproven);
        assert_eq!(quota.check(one_more, 0, &[]), Err(DropReason::TooManyUnproven));
        let few = Quota::new(&Config::default().descriptors(1));
        let first = upload(2, Client::Unproven);
        assert_eq!(few.check(first, 0, &[]), Ok(()), "any share has room for one");
    }

    #[test]
    fn a_quarter_of_the_sessions_is_kept_for_proven_clients() {
        let mut quota = quota(8, 0);
        for _ in 0..6 {
            assert_eq!(quota.check(unproven(LOOPBACK), 0, &[]), Ok(()));
            quota.add(unproven(LOOPBACK));
        }
        assert_eq!(quota.check(unproven(LOOPBACK), 0, &[]), Err(DropReason::TooManyUnproven));
        assert_eq!(quota.check(unproven(LOOPBACK), 1, &[]), Err(DropReason::TooManyUnproven));
        quota.change(unproven(LOOPBACK), PROVEN, 0);
        assert_eq!(quota.check(unproven(LOOPBACK), 0, &[]), Ok(()));
        for _ in 0..2 {
            assert!(!quota.is_full(PROVEN));
            quota.add(PROVEN);
        }
        assert!(quota.is_full(PROVEN));
        assert_eq!(quota.check(unproven(LOOPBACK), 0, &[]), Err(DropReason::TooManySessions));
        assert_eq!(quota.check(unproven(LOOPBACK), 1, &[]), Ok(()));
    }

    #[test]
    fn a_network_has_a_quarter_of_the_unproven_sessions_rounded_up() {
        let mut quota = quota(9, 0);
        for host in 0..3 {
            assert_eq!(quota.check(unproven(client(2, host)), 0, &[]), Ok(()));
            quota.add(unproven(client(2, host)));
        }
        let full = Err(DropReason::TooManyUnprovenOfNetwork);
        assert_eq!(quota.check(unproven(client(2, 9)), 0, &[]), full);
        assert_eq!(quota.check(unproven(client(3, 9)), 0, &[]), Ok(()), "the next network");
        quota.remove(unproven(client(2, 0)), 0);
        assert_eq!(quota.check(unproven(client(2, 9)), 0, &[]), Ok(()));
    }

    #[test]
    fn shares_may_be_told_in_numbers_and_are_no_more_than_there_is() {
        let most = |budgets| {
            let quota = Quota::new(&Config::default().sessions(100).budgets(budgets));
            let all = [quota.most_of_network, quota.most_unproven, quota.most_unproven_of_network];
            all.map(|share| share.sessions)
        };
        assert_eq!(most(Budgets::default()), [75, 75, 25]);
        assert_eq!(most(Budgets::default().sessions_of_network(2)), [2, 75, 25]);
        assert_eq!(most(Budgets::default().unproven_sessions(3, 4)), [75, 4, 3]);
        let much = Budgets::default().sessions_of_network(1000).unproven_sessions(1000, 1000);
        assert_eq!(most(much), [100; 3]);
    }

    #[test]
    fn memory_is_what_the_fullest_pool_has_left() {
        let mut quota = quota(100, 1000);
        let a = unproven(client(2, 1));
        quota.add(a);
        assert_eq!(quota.reserve(a, 0, 300), 250, "of one network");
        assert_eq!(quota.reserve(a, 250, 200), 200, "what it had counts no more");
        let mut others = Vec::new();
        for network in 3..6 {
            let other = unproven(client(network, 1));
            quota.add(other);
            others.push((other, quota.reserve(other, 0, 250)));
        }
        assert_eq!(others.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [250, 250, 50]);
        let proven = Member::new(client(2, 1), Client::Proven, Operation::Read);
        quota.change(a, proven, 200);
        assert_eq!(quota.reserve(proven, 200, 900), 450, "all that is left");
        assert_eq!([a, proven].map(|member| quota.most_bytes(member)), [250, 750], "of 1000");
        assert_eq!(quota.gauges(), (3, 1000));
        quota.remove(proven, 450);
        others.into_iter().for_each(|(other, bytes)| quota.remove(other, bytes));
        assert!(quota.is_unused() && quota.gauges() == (0, 0));
    }

    #[test]
    fn a_network_has_three_quarters_also_where_its_clients_answer() {
        let proven =
            |network, host| Member::new(client(network, host), Client::Proven, Operation::Read);
        let mut quota = quota(9, 1000);
        for host in 0..7 {
            assert_eq!(quota.check(proven(2, host), 0, &[]), Ok(()));
            quota.add(proven(2, host));
        }
        assert_eq!(quota.reserve(proven(2, 0), 0, 900), 750, "memory likewise");
        quota.remove(proven(2, 0), 750);
        quota.add(proven(2, 1));
        assert_eq!(quota.reserve(proven(2, 1), 0, 900), 750, "what one gave back is another's");
        assert_eq!(quota.check(proven(2, 9), 0, &[]), Err(DropReason::TooManyOfNetwork));
        assert_eq!(quota.check(unproven(client(2, 9)), 0, &[]), Err(DropReason::TooManyOfNetwork));
        assert_eq!(quota.check(proven(3, 9), 0, &[]), Ok(()), "the next network");
        assert_eq!(quota.check(PROVEN, 0, &[]), Ok(()), "nobody can forge that");
        quota.change(proven(2, 1), Member::new(client(2, 1), Client::Served, Operation::Read), 0);
        assert_eq!(
            quota.check(proven(2, 9), 0, &[]),
            Ok(()),
            "who dallies keeps nothing from others"
        );
    }

    #[test]
    fn a_network_has_three_quarters_of_the_ports_whatever_it_may_have_else() {
        let ports = PortRange::new(6001, 6008).expect("a range");
        for budgets in [Budgets::default(), Budgets::default().sessions_of_network(8)] {
            let config = Config::default().sessions(100).budgets(budgets);
            let mut quota = Quota::new(&config.ports(ports));
            let proven = Member::new(client(2, 1), Client::Proven, Operation::Read);
            for _ in 0..6 {
                assert_eq!(quota.check(proven, 0, &[]), Ok(()), "{budgets:?}");
                quota.add(proven);
            }
            let full = Err(DropReason::TooManyOfNetwork);
            assert_eq!(quota.check(proven, 0, &[]), full, "{budgets:?}");
        }
    }
}
