//! What `rtftpd` allows: everybody is served with the same profile, but for a block size by
//! network, and names are rewritten.

use super::{NameRules, Policy, Profile, Verdict};
use crate::query::Query;
use crate::wire::BlockSize;
use ipnet::IpNet;

/// The policy of `rtftpd`: one profile for all clients, but for the block size, which may depend on the network.
///
/// What a client may write is for the store to say.
#[derive(Clone, Debug, Default)]
pub struct StandardPolicy {
    profile: Profile,
    block_size_of: Vec<(IpNet, BlockSize)>,
    names: NameRules,
}

impl Policy for StandardPolicy {
    fn decide(&self, query: &Query) -> Verdict {
        let client = query.peer.ip();
        let own = self.block_size_of.iter().find(|(network, _)| network.contains(&client));
        let mut profile = self.profile.clone();
        match self.names.apply(query) {
            Ok(None) => {}
            Ok(Some(name)) => profile.name = Some(name),
            Err(refusal) => return Verdict::Refuse(refusal),
        }
        Verdict::Serve(match own {
            Some((_, most)) => {
                let most = profile.limits.block_size.min(*most);
                profile.block_size(most)
            }
            None => profile,
        })
    }
}

impl StandardPolicy {
    /// Serves everybody with `profile`.
    pub const fn new(profile: Profile) -> Self {
        Self { profile, block_size_of: Vec::new(), names: NameRules::NONE }
    }

    /// Serves other names than those that are asked for, as these rules say.
    #[must_use]
    pub fn names(mut self, names: NameRules) -> Self {
        self.names = names;
        self
    }

    /// The largest block size to grant to clients of `network`, if it is below that of all: for firmware that asks for
    /// more than it can take. Of several networks that a client is in, the one that was given first counts.
    #[must_use]
    pub fn block_size_of(mut self, network: IpNet, most: BlockSize) -> Self {
        self.block_size_of.push((network, most));
        self
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
