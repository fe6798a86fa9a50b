//! How people write a server and a file: `HOST:FILE`, `HOST:PORT/FILE`, `HOST[:PORT]` and names, or a URL (RFC 3617).

use super::Client;
use crate::wire::{Mode, percent_decoded};
use nix::net::if_::if_nametoindex;
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The port where TFTP servers take requests.
pub const TFTP_PORT: u16 = 69;

/// A server as it was written: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name or an address, without brackets.
    pub host: String,
    /// The request port.
    pub port: u16,
}

/// A file on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The server.
    pub host: Host,
    /// The file's name, any bytes; empty where only a server was named.
    pub name: Vec<u8>,
    /// The representation, where a URL says it.
    pub mode: Option<Mode>,
}

/// What was written is no file on a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No host.
    #[error(
        "'{0}' names no host: write HOST:FILE, HOST:PORT/FILE, HOST[:PORT] FILE or tftp://HOST[:PORT]/FILE"
    )]
    NoHost(String),
    /// A URL of another protocol.
    #[error("'{0}' is a URL of another protocol: only tftp:// is spoken here")]
    Scheme(String),
    /// A port that is none.
    #[error(
        "'{0}' has a port that is not a number from 1 to 65535 (a name that begins with a number stands after the \
         host: HOST FILE)"
    )]
    Port(String),
    /// A bracket without its fellow.
    #[error("'{0}' has an IPv6 address without its closing bracket")]
    Bracket(String),
    /// An IPv6 address with something behind it, and no brackets to tell them apart.
    #[error("'{0}' has an IPv6 address without brackets before something else: is it '{1}'?")]
    NoBrackets(String, String),
    /// A percent sign without two hexadecimal digits.
    #[error("'{0}' has a percent sign that is not followed by two hexadecimal digits")]
    Percent(String),
    /// A mode other than octet and netascii.
    #[error("'{0}' has a mode that is neither octet nor netascii")]
    Mode(String),
    /// A name that cannot travel in a request.
    #[error("'{0}' has a NUL in its name, which no request can hold")]
    Nul(String),
}

impl FromStr for Host {
    type Err = RemoteError;

    /// Reads `HOST[:PORT]`; an IPv6 address before a port stands in brackets, and may have the interface that it is
    /// reached by behind a percent sign.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (host, rest) = split_host(text)?;
        let port = match rest.strip_prefix(':') {
            _ if rest.is_empty() => TFTP_PORT,
            Some(digits) => port_of(digits).ok_or_else(|| RemoteError::Port(text.into()))?,
            None => return Err(RemoteError::NoHost(text.into())),
        };
        Ok(Self { host: host.into(), port })
    }
}

impl Host {
    /// Looks the host up. There may be several addresses; the first is the system's preference.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let no = |why: String| Err(io::Error::new(io::ErrorKind::NotFound, why));
        if let Some((_, interface)) = self.host.split_once('%')
            && interface.parse::<u32>().is_err()
            && if_nametoindex(interface).is_err()
        {
            return no(format!(
                "this machine has no interface '{interface}' ('ip link' shows them)"
            ));
        }
        let found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if found.is_empty() {
            return no("the name has no address".into());
        }
        let lacks_interface = |address: &SocketAddr| matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0);
        if found.iter().all(lacks_interface) {
            let host = &self.host;
            return no(format!("it is an address on one link: say on which, as in {host}%eth0"));
        }
        Ok(found)
    }

    /// A client of the server there, by all of its addresses.
    pub fn client(&self) -> io::Result<Client> {
        let mut addresses = self.resolve()?.into_iter();
        let first = addresses.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(Client::new(first).with_addresses(addresses))
    }
}

impl FromStr for Remote {
    type Err = RemoteError;

    /// Reads `HOST`, `HOST:PORT`, `HOST:FILE`, `HOST:PORT/FILE`, `HOST:PORT:FILE` or a URL. What follows the host's
    /// colon is a port if it is all digits up to a slash, a colon or the end.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        const SCHEME: &str = "tftp://";
        if let Some(scheme) = text.get(..SCHEME.len())
            && scheme.eq_ignore_ascii_case(SCHEME)
        {
            return Self::parse_url(text, &text[SCHEME.len()..]);
        }
        if text.contains("://") {
            return Err(RemoteError::Scheme(text.into()));
        }
        let (host, rest) = split_host(text)?;
        let Some(behind) = rest.strip_prefix(':').filter(|behind| !behind.is_empty()) else {
            let alone = rest.is_empty() || rest == ":";
            let host = Host { host: host.into(), port: TFTP_PORT };
            let remote = Self { host, name: Vec::new(), mode: None };
            return if alone { Ok(remote) } else { Err(RemoteError::NoHost(text.into())) };
        };
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (port, file) = match behind[digits..].chars().next() {
            None | Some(':' | '/') if digits > 0 => {
                let port = port_of(&behind[..digits]);
                let port = port.ok_or_else(|| RemoteError::Port(text.into()))?;
                (port, behind.get(digits + 1..).unwrap_or_default())
            }
            _ => (TFTP_PORT, behind),
        };
        Self::new(text, Host { host: host.into(), port }, file.as_bytes().to_vec(), None)
    }
}

impl Remote {
    /// `HOST[:PORT]/FILE[;mode=MODE]`, percent-encoded.
    fn parse_url(text: &str, rest: &str) -> Result<Self, RemoteError> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, mode) = match path.rsplit_once(";mode=") {
            None => (path, None),
            Some((path, mode)) => {
                let known = [Mode::Octet, Mode::Netascii].into_iter();
                let found = known.into_iter().find(|known| known.name().eq_ignore_ascii_case(mode));
                (path, Some(found.ok_or_else(|| RemoteError::Mode(text.into()))?))
            }
        };
        let name = percent_decoded(path).ok_or_else(|| RemoteError::Percent(text.into()))?;
        let Host { host, port } = host.parse()?;
        // The percent sign before an interface is escaped there (RFC 6874), and by some people is not.
        Self::new(text, Host { host: host.replacen("%25", "%", 1), port }, name, mode)
    }

    fn new(text: &str, host: Host, name: Vec<u8>, mode: Option<Mode>) -> Result<Self, RemoteError> {
        if name.contains(&0) {
            return Err(RemoteError::Nul(text.into()));
        }
        Ok(Self { host, name, mode })
    }
}

/// Splits the host off the front: what stands in brackets, an IPv6 address, or all up to a colon.
fn split_host(text: &str) -> Result<(&str, &str), RemoteError> {
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        inner.split_once(']').ok_or_else(|| RemoteError::Bracket(text.into()))?
    } else if let Some(len) = ipv6_len(text) {
        text.split_at(len)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    if host.is_empty() || host.contains(['/', '[', ']']) {
        return Err(RemoteError::NoHost(text.into()));
    }
    let is_address = host.contains(':') && !text.starts_with('[');
    // An interface ends its address: what follows it can be told apart.
    if is_address && !rest.is_empty() && !host.contains('%') {
        let (text, bracketed) = (text.into(), format!("[{host}]:{}", &rest[1..]));
        return Err(RemoteError::NoBrackets(text, bracketed));
    }
    Ok((host, rest))
}

/// The length of the IPv6 address that the text begins with, its interface included; the longest that can be meant.
fn ipv6_len(text: &str) -> Option<usize> {
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if let Some((address, zone)) = text.split_once('%')
        && is_address(address)
    {
        return Some(address.len() + 1 + zone.find([':', '/']).unwrap_or(zone.len()));
    }
    let ends = text.match_indices([':', '/']).map(|(at, _)| at);
    ends.chain([text.len()]).rfind(|end| is_address(&text[..*end]))
}

fn port_of(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if self.port == TFTP_PORT {
            f.write_str(&bracketed)
        } else {
            write!(f, "{bracketed}:{}", self.port)
        }
    }
}

/// A URL that can be read again.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tftp://{}/", self.host.to_string().replacen('%', "%25", 1))?;
        for chunk in self.name.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    ' ' | '%' | ';' | '\0'..='\x1f' | '\x7f' => write!(f, "%{:02X}", c as u32)?,
                    _ => write!(f, "{c}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        self.mode.map_or(Ok(()), |mode| write!(f, ";mode={}", mode.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, u16, String), RemoteError> {
        let Remote { host: Host { host, port }, name, .. } = text.parse()?;
        Ok((host, port, name.escape_ascii().to_string()))
    }

    #[test]
    fn servers_and_files_are_read_in_all_their_forms() {
        let cases = [
            ("sw1", ("sw1", 69, "")),
            ("sw1:6969", ("sw1", 6969, "")),
            ("sw1:", ("sw1", 69, "")),
            ("sw1:boot/a.img", ("sw1", 69, "boot/a.img")),
            ("sw1:/abs", ("sw1", 69, "/abs")),
            ("sw1:a:b", ("sw1", 69, "a:b")),
            ("sw1:6969/a/b", ("sw1", 6969, "a/b")),
            ("sw1:6969//abs", ("sw1", 6969, "/abs")),
            ("sw1:6969:a:b", ("sw1", 6969, "a:b")),
            ("sw1:6969/", ("sw1", 6969, "")),
            ("sw1:6969:", ("sw1", 6969, "")),
            ("sw1:7a/b", ("sw1", 69, "7a/b")),
            ("sw1:/7/b", ("sw1", 69, "/7/b")),
            ("sw1:ab\u{e9}", ("sw1", 69, "ab\\xc3\\xa9")),
            ("[::1]:6969/a", ("::1", 6969, "a")),
            ("[::1]:6969:a", ("::1", 6969, "a")),
            ("fe80::1%lo", ("fe80::1%lo", 69, "")),
            ("fe80::1%lo:6969", ("fe80::1%lo", 6969, "")),
            ("fe80::1%lo:6969/x", ("fe80::1%lo", 6969, "x")),
            ("fe80::1%lo:x", ("fe80::1%lo", 69, "x")),
            ("[fe80::1%lo]:6969", ("fe80::1%lo", 6969, "")),
            ("tftp://[fe80::1%25lo]:7/x", ("fe80::1%lo", 7, "x")),
            ("tftp://[fe80::1%lo]/x", ("fe80::1%lo", 69, "x")),
            ("::1", ("::1", 69, "")),
            ("[::1]:6969", ("::1", 6969, "")),
            ("[fe80::1%eth0]:x", ("fe80::1%eth0", 69, "x")),
            ("tftp://sw1/a", ("sw1", 69, "a")),
            ("TFTP://sw1:7/a%20b/c", ("sw1", 7, "a b/c")),
            ("tftp://[::1]:7/x%ff", ("::1", 7, "x\\xff")),
            ("tftp://sw1//abs", ("sw1", 69, "/abs")),
            ("tftp://sw1", ("sw1", 69, "")),
        ];
        for (text, (host, port, name)) in cases {
            assert_eq!(parsed(text), Ok((host.into(), port, name.into())), "{text}");
        }
    }

    #[test]
    fn a_url_may_say_the_mode() {
        let mode = |text: &str| text.parse().map(|remote: Remote| remote.mode);
        assert_eq!(mode("tftp://h/a;mode=netascii"), Ok(Some(Mode::Netascii)));
        assert_eq!(mode("tftp://h/a;mode=OCTET"), Ok(Some(Mode::Octet)));
        assert_eq!(mode("tftp://h/a"), Ok(None));
        assert_eq!(mode("tftp://h/a;mode=x;mode=octet"), Ok(Some(Mode::Octet)), "a name has one");
        assert!(matches!(mode("tftp://h/a;mode=mail"), Err(RemoteError::Mode(_))));
    }

    #[test]
    fn what_names_no_server_is_told_so() {
        use RemoteError as E;
        assert!(matches!(parsed(""), Err(E::NoHost(_))));
        assert!(matches!(parsed(":file"), Err(E::NoHost(_))));
        assert!(matches!(parsed("./a:b"), Err(E::NoHost(_))));
        assert!(matches!(parsed("[[x]"), Err(E::NoHost(_))), "it would be shown as '[x'");
        assert!(matches!(parsed("x]:a"), Err(E::NoHost(_))));
        assert!(matches!(parsed("http://h/a"), Err(E::Scheme(_))));
        assert!(matches!(parsed("h:0"), Err(E::Port(_))));
        assert!(matches!(parsed("h:65536"), Err(E::Port(_))));
        assert!(matches!(parsed("tftp://h:+7/a"), Err(E::Port(_))));
        assert!(matches!(parsed("tftp://h:x/a"), Err(E::Port(_))));
        for port in ["h:0/a", "h:65536:a", "h:20240101/a", "[::1]:70000/a"] {
            assert!(matches!(parsed(port), Err(E::Port(_))), "{port}");
        }
        assert!(matches!(parsed("[::1"), Err(E::Bracket(_))));
        for text in ["[::1]x", "[::1]/x", "fe80::1%lo/x", "sw1/x"] {
            assert!(matches!(parsed(text), Err(E::NoHost(_))), "{text}");
        }
        let meant = |text: &str| match parsed(text) {
            Err(E::NoBrackets(_, meant)) => meant,
            other => panic!("{text}: {other:?}"),
        };
        let cases = [
            ("2001:db8::1:a.img", "[2001:db8::1]:a.img"),
            ("2001:db8::1/a", "[2001:db8::1]:a"),
            ("::1:6969/a:b", "[::1:6969]:a:b"),
            ("2001:db8:0:0:0:0:0:1:6969", "[2001:db8:0:0:0:0:0:1]:6969"),
        ];
        for (text, expected) in cases {
            assert_eq!(meant(text), expected, "{text}");
        }
        assert!(matches!(parsed("tftp://h/%4"), Err(E::Percent(_))));
        assert!(matches!(parsed("tftp://h/%+1"), Err(E::Percent(_))));
        assert!(matches!(parsed("tftp://h/%00"), Err(E::Nul(_))));
    }

    #[test]
    fn an_address_on_one_link_has_its_interface_by_name() {
        let resolved = |host: &str| Host { host: host.into(), port: 7 }.resolve();
        let scopes = |host: &str| match resolved(host).expect("an address")[..] {
            [SocketAddr::V6(address)] => address.scope_id(),
            ref other => panic!("{other:?}"),
        };
        let lo = if_nametoindex("lo").expect("every machine has it");
        assert_eq!([scopes("fe80::1%lo"), scopes("fe80::1%7")], [lo, 7]);
        let why = |host: &str| resolved(host).expect_err("no address").to_string();
        assert!(why("fe80::1%none").contains("has no interface 'none'"), "{}", why("fe80::1%none"));
        assert!(why("fe80::1").contains("as in fe80::1%eth0"), "{}", why("fe80::1"));
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let host = Host { host: "::1".into(), port: 7 };
        let name = b"a b%;mode=x/\xc3\xa9\xff\n".to_vec();
        let remote = Remote { host, name, mode: Some(Mode::Netascii) };
        let shown = remote.to_string();
        assert_eq!(shown, "tftp://[::1]:7/a%20b%25%3Bmode=x/\u{e9}%FF%0A;mode=netascii");
        assert_eq!(shown.parse(), Ok(remote));
        let scoped: Remote = "[fe80::1%lo]:7:x".parse().expect("a remote");
        assert_eq!(scoped.to_string(), "tftp://[fe80::1%25lo]:7/x");
        assert_eq!(scoped.to_string().parse(), Ok(scoped));
        assert_eq!(
            "tftp://h/".parse::<Remote>().map(|remote| remote.to_string()).as_deref(),
            Ok("tftp://h/")
        );
    }
}
