//! The network that a client is counted with.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The network that an address is counted with, as large as one customer usually has: an IPv4 /24 or an IPv6 /56.
pub fn network_of(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(v4) => Ipv4Net::new_assert(v4, 24).trunc().into(),
        IpAddr::V6(v6) if v6.is_loopback() => address.into(),
        IpAddr::V6(v6) => Ipv6Net::new_assert(v6, 56).trunc().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_with_their_customers_network() {
        let cases = [
            ("192.0.2.255", "192.0.2.0/24"),
            ("192.0.3.0", "192.0.3.0/24"),
            ("2001:db8:0:ff:ffff::1", "2001:db8::/56"),
            ("2001:db8:0:100::1", "2001:db8:0:100::/56"),
            ("::1", "::1/128"),
        ];
        for (address, network) in cases {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(network_of(address).to_string(), network);
        }
    }
}
