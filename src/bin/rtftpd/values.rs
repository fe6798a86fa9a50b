//! What may be written as the value of an option, and what it means.

use crate::typed::{span, whole};
use ipnet::IpNet;
use parse_size::Config as SizeParser;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;
use tftpkit::client::{Host, RemoteError};
use tftpkit::wire::BlockSize;

/// The addresses of one `--listen`: a name may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

pub(crate) fn listen_addresses(text: &str) -> Result<Addresses, String> {
    let one = |address| Ok(Addresses(vec![address]));
    if let Ok(address) = text.parse() {
        return one(address);
    }
    // As some write it where any address will do.
    let digits = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let port: Result<u16, _> = digits.parse();
        let port = port.map_err(|_| "write a port from 0 to 65535")?;
        return one((Ipv6Addr::UNSPECIFIED, port).into());
    }
    // Port 0 is any that is free, which for a client it is not.
    let (host, any) = text.strip_suffix(":0").map_or((text, false), |host| (host, true));
    let host: Host = host.parse().map_err(|error: RemoteError| {
        let forms = "write an address or a name, and a port, as in 192.0.2.1:69, '[::]:6969' or 'fe80::1%eth0'";
        format!("{error}; {forms}")
    })?;
    let found = host.resolve().map_err(|error| format!("cannot find '{}': {error}", host.host))?;
    Ok(Addresses(each_once(found, any)))
}

/// These addresses, or any free ports there: a file of hosts may have the same line twice.
fn each_once(found: impl IntoIterator<Item = SocketAddr>, any: bool) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for mut address in found {
        if any {
            address.set_port(0);
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The name of an interface that this machine has.
pub(crate) fn interface(text: &str) -> Result<String, String> {
    let there = nix::net::if_::if_nametoindex(text);
    there.map_err(|_| {
        format!("there is no interface '{text}': 'ip -brief link' shows those that there are")
    })?;
    Ok(text.into())
}

/// A number of bytes, as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// What a size is shown with; more can be typed.
const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BINARY: SizeParser = SizeParser::new().with_binary();
        let number = BINARY.parse_size(text).map(Self);
        number.map_err(|_| "write a number of bytes, as in 65536, 64K, 16M or 4G")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((letter, factor)) => write!(f, "{}{letter}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A name that can stand in every directory.
pub(crate) fn file_name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("write the name of a file".into()),
        name if name.contains('/') => {
            Err("write a name without slashes: it is one in every directory".into())
        }
        name => Ok(name.into()),
    }
}

/// Bytes in a second.
pub(crate) fn rate(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    let is_legal = size.0 >= tftpkit::limits::SLOWEST_RATE;
    is_legal.then_some(size).ok_or_else(|| "write a number of bytes in a second, 1K or more".into())
}

pub(crate) fn event_threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = whole::<usize>(1..=u64::MAX)(text)?;
    Ok(NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN))
}

pub(crate) fn setting(text: &str) -> Result<Duration, String> {
    span(text, Duration::from_millis(1)..=Duration::from_secs(3600))
}

pub(crate) fn drain(text: &str) -> Result<Duration, String> {
    span(text, Duration::ZERO..=Duration::from_secs(u32::MAX.into()))
}

pub(crate) fn block_size_of(text: &str) -> Result<(IpNet, BlockSize), String> {
    let (network, bytes) = text
        .split_once('=')
        .ok_or("write a network and a number of bytes, as in 192.0.2.0/24=1428")?;
    let alone = || network.parse::<IpAddr>().map(IpNet::from);
    let network = network.parse::<IpNet>().or_else(|_| alone()).map_err(|_| {
        format!("'{network}' is no network: write an address, or an address and a prefix as in 192.0.2.0/24")
    })?;
    let size = bytes.parse().ok().and_then(BlockSize::new);
    Ok((network, size.ok_or("the number of bytes must be from 8 to 65464")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_listens_at_addresses_names_and_ports() {
        let listens = |text: &str| {
            let all = listen_addresses(text).map(|Addresses(all)| all);
            all.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        let lo = nix::net::if_::if_nametoindex("lo").expect("every machine has it");
        let scoped = |port| format!("[fe80::1%{lo}]:{port}");
        let cases = [
            ("6969", "[::]:6969"),
            ("0", "[::]:0"),
            (":6969", "[::]:6969"),
            ("*:6969", "[::]:6969"),
            ("::1", "[::1]:69"),
            ("[::1]", "[::1]:69"),
            ("[::1]:0", "[::1]:0"),
            ("127.0.0.1", "127.0.0.1:69"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("fe80::1%lo", &scoped(69)),
            ("[fe80::1%lo]:6969", &scoped(6969)),
            ("[fe80::1%lo]:0", &scoped(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(listens(text).as_deref(), Ok(expected), "{text}");
        }
        for (name, port) in [("localhost:6969", 6969), ("localhost:0", 0), ("localhost", 69)] {
            let all =
                listen_addresses(name).map(|Addresses(all)| all).expect("every machine has it");
            let own = |address: &SocketAddr| address.ip().is_loopback() && address.port() == port;
            assert!(!all.is_empty() && all.iter().all(own), "{name}: {all:?}");
        }
        let why = |text: &str| listens(text).expect_err(text);
        // A label that no resolver takes, let alone sends to others.
        let nobody = "x".repeat(64);
        assert!(why(&format!("{nobody}:69")).starts_with(&format!("cannot find '{nobody}'")));
        assert!(why("fe80::1%none").contains("has no interface 'none'"));
        assert!(why("fe80::1").contains("as in fe80::1%eth0"));
        assert!(why("65536").contains("from 0 to 65535"));
        assert!(why("192.0.2.1:x").contains("as in 192.0.2.1:69"));
    }

    #[test]
    fn a_server_listens_once_at_each_address_that_a_name_has() {
        let [first, second] = [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 6969)));
        let told = [first, second, first, second];
        assert_eq!(each_once(told, false), [first, second]);
        let any = [first, second].map(|address| (address.ip(), 0).into());
        assert_eq!(each_once(told, true), any, "any free port at each of them");
    }

    #[test]
    fn sizes_times_and_networks_are_read_or_refused() {
        let size = |text: &str| text.parse::<Size>().ok().map(|size| (size.0, size.to_string()));
        assert_eq!(size("64K"), Some((65536, "64K".into())));
        assert_eq!(size("4g"), Some((4 << 30, "4G".into())));
        assert_eq!(size("1025"), Some((1025, "1025".into())));
        assert_eq!(size("0"), Some((0, "0".into())));
        assert_eq!(size("16MiB"), Some((16 << 20, "16M".into())));
        assert_eq!(size("1.5 kB"), Some((1536, "1536".into())));
        for nonsense in ["", "K", "64KK", "-1", "99999999999999999999", "18446744073709551615G"] {
            assert_eq!(size(nonsense), None, "{nonsense}");
        }
        assert_eq!(setting("0.05"), Ok(Duration::from_millis(50)));
        assert!(setting("0").is_err() && setting("-1").is_err() && setting("3601").is_err());
        assert_eq!(
            ["0.001", "3600"].map(setting),
            [1, 3_600_000].map(|ms| Ok(Duration::from_millis(ms)))
        );
        assert_eq!(rate("1K"), Ok(Size(1024)));
        assert!(rate("1023").is_err() && rate("0").is_err(), "it would hardly ever end");
        assert_eq!([".list", "a..", "..."].map(|name| file_name(name).is_ok()), [true; 3]);
        assert_eq!(["", ".", "..", "a/b", "/"].map(|name| file_name(name).is_ok()), [false; 5]);
        assert_eq!(drain("0"), Ok(Duration::ZERO));
        assert_eq!(drain("4294967295"), Ok(Duration::from_secs(u32::MAX.into())));
        assert!(
            block_size_of("192.0.2.0/24=1428").is_ok() && block_size_of("192.0.2.0/24=7").is_err()
        );
        let network = |text| block_size_of(text).map(|(network, _)| network.to_string());
        assert_eq!(network("192.0.2.7=512"), Ok("192.0.2.7/32".into()));
        assert_eq!(network("2001:db8::/32=512"), Ok("2001:db8::/32".into()));
        for text in ["=8", "192.0.2.0/33=8", "::/129=8", "192.0.2/24=8", "host=8", "192.0.2.0/=8"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
