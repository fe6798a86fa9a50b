//! Who asks for what: a request with its addresses, read from the datagram once.
//!
//! This module knows what a request says and where it came from. It must not know what is made of it.

use crate::wire::{
    Filename, ListFormat, Malformed, Mode, Operation, OptionKind, Options, Packet, Request,
    TransferOption,
};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A request and its addresses: all that decides what is answered. Two equal queries get the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Query {
    /// The client's address and port (its TID).
    pub peer: SocketAddr,
    /// The address of ours that was asked.
    pub local: IpAddr,
    /// Whether the client reads, writes or lists.
    pub operation: Operation,
    /// The name as it came, any bytes.
    pub name: Filename,
    /// How the file is to travel.
    pub mode: Mode,
    /// The options that are known and legal.
    pub options: Options,
}

/// Why a datagram at the request port is no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAQuery {
    /// The datagram is a packet of a transfer, or none at all. It is never answered, or two servers could be made to talk to each
    /// other for ever (CVE-2024-2169).
    Stray,
    /// The datagram was meant for a request and cannot be served: ERROR 4.
    Malformed(Malformed),
}

impl Query {
    /// A query in octet mode without options, for a store or a policy that is asked directly.
    pub fn new(
        peer: SocketAddr,
        local: IpAddr,
        operation: Operation,
        name: impl Into<Filename>,
    ) -> Self {
        let (name, mode, options) = (name.into(), Mode::Octet, Options::NONE);
        Self { peer, local, operation, name, mode, options }
    }

    /// The bytes of the shortest request that asks for this.
    pub(crate) fn shortest_request(&self) -> usize {
        const OPCODE_AND_NULS: usize = 2 + 1 + 1;
        OPCODE_AND_NULS + self.name.as_bytes().len() + self.mode.name().len()
    }

    /// Reads the datagram that came from `peer` to the request port at `local`.
    pub fn parse(datagram: &[u8], peer: SocketAddr, local: IpAddr) -> Result<Self, NotAQuery> {
        match Packet::parse(datagram) {
            // Nobody can be answered at port 0.
            _ if peer.port() == 0 => Err(NotAQuery::Stray),
            Ok(Packet::Request(Request { operation, name, mode, options })) => {
                Ok(Self { peer, local, operation, name: name.into(), mode, options })
            }
            Ok(_) | Err(Malformed::Runt | Malformed::Oack) => Err(NotAQuery::Stray),
            Err(malformed) => Err(NotAQuery::Malformed(malformed)),
        }
    }

    /// The query for the list of `directory`, by the same client and with the same options.
    #[must_use]
    pub fn for_list(&self, directory: impl Into<Filename>) -> Self {
        Self { operation: Operation::List, name: directory.into(), ..self.clone() }
    }

    /// How many bytes a client says that it will write (`tsize`, RFC 2349). A reader's `tsize` says nothing.
    pub fn announced_size(&self) -> Option<u64> {
        match self.options.find(OptionKind::TransferSize) {
            Some(TransferOption::TransferSize(size)) if self.operation == Operation::Write => {
                Some(size)
            }
            _ => None,
        }
    }

    /// The form in which a client wants a list (`x-list`). Without one it is UEFI's.
    pub fn list_format(&self) -> Option<ListFormat> {
        match self.options.find(OptionKind::List) {
            Some(TransferOption::List(format)) => Some(format),
            _ => None,
        }
    }
}

/// One line: `RRQ "name" octet blksize=1428 from 192.0.2.7:2000`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, local: _, operation, name, mode, options } = self;
        write!(f, "{operation} \"{name}\" {mode}{options} from {peer}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn parse(datagram: &[u8]) -> Result<Query, NotAQuery> {
        Query::parse(datagram, (LOCAL, 2000).into(), LOCAL)
    }

    #[test]
    fn only_what_was_meant_for_a_request_is_worth_an_error() {
        let query = parse(b"\0\x02a\0octet\0tsize\x007\0").expect("a query");
        assert_eq!((query.operation, query.name.as_bytes()), (Operation::Write, &b"a"[..]));
        assert_eq!((query.announced_size(), query.list_format()), (Some(7), None));
        assert_eq!(parse(b"\0\x01a\0octet\0tsize\x007\0").map(|q| q.announced_size()), Ok(None));
        for stray in [&b""[..], b"\0", b"\0\x03\0\x01data", b"\0\x04\0\x01", b"\0\x05\0\0no\0"] {
            assert_eq!(parse(stray), Err(NotAQuery::Stray), "{stray:?}");
        }
        assert_eq!(parse(b"\0\x06blksize\x0099999\0"), Err(NotAQuery::Stray), "a broken OACK");
        for (datagram, why) in [
            (&b"\0\x01a\0"[..], Malformed::Request),
            (b"\0\x01a\0mail\0", Malformed::Mode),
            (b"\0\x09a\0octet\0", Malformed::Opcode(9)),
        ] {
            assert_eq!(parse(datagram), Err(NotAQuery::Malformed(why)));
        }
    }

    #[test]
    fn the_query_for_a_list_is_of_the_same_client_and_keeps_its_options() {
        let read = parse(b"\0\x01sub/.list\0netascii\0x-list\0json\0").expect("a query");
        let list = read.for_list("sub");
        assert_eq!((list.operation, list.name.as_bytes()), (Operation::List, &b"sub"[..]));
        assert_eq!(list.list_format(), Some(ListFormat::Json));
        let back = Query { operation: read.operation, name: read.name.clone(), ..list };
        assert_eq!(back, read);
    }

    #[test]
    fn nobody_is_heard_from_port_zero() {
        let from = |port| Query::parse(b"\0\x01a\0octet\0", (LOCAL, port).into(), LOCAL);
        assert_eq!(from(0), Err(NotAQuery::Stray));
        assert!(from(1).is_ok());
    }

    #[test]
    fn a_query_reads_well_where_it_is_shown() {
        let query = parse(b"\0\x01caf\xc3\xa9\n\xff\0octet\0").expect("a query");
        assert_eq!(query.to_string(), "RRQ \"café\\x0a\\xff\" octet from 127.0.0.1:2000");
        assert!(format!("{query:?}").contains(r#"name: "café\n\xff""#), "{query:?}");
    }
}
