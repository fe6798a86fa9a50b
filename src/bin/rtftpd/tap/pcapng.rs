//! Captures in the form of pcapng (draft-ietf-opsawg-pcapng), of raw IP packets: the headers of IP and UDP are made, for a
//! server's socket gives it none.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A UDP datagram, of which the first bytes are known.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// Since 1970.
    pub(super) at: Duration,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: &'a [u8],
    /// How long it was.
    pub(super) len: usize,
    /// The [sum] of all of it.
    pub(super) sum: u16,
}

const UDP: u8 = 17;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
/// LINKTYPE_RAW: a packet begins with the header of IPv4 or IPv6.
const RAW: u16 = 101;

/// A capture of these, with a comment.
pub(super) fn capture<'a>(comment: &str, datagrams: impl Iterator<Item = Datagram<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = Vec::new();
    section.extend(0x1a2b_3c4d_u32.to_le_bytes());
    section.extend([1_u16, 0].map(u16::to_le_bytes).concat());
    section.extend(u64::MAX.to_le_bytes());
    // opt_comment, and the end of options.
    let comment = &comment.as_bytes()[..comment.len().min(usize::from(u16::MAX))];
    section.extend([1, comment.len() as u16].map(u16::to_le_bytes).concat());
    padded(&mut section, comment);
    section.extend([0; 4]);
    block(&mut out, 0x0a0d_0d0a, &section);
    let interface = [&RAW.to_le_bytes()[..], &[0; 2], &u32::MAX.to_le_bytes()].concat();
    block(&mut out, 1, &interface);
    for datagram in datagrams {
        let head = headers(&datagram);
        let micros = datagram.at.as_micros() as u64;
        let (kept, len) = (head.len() + datagram.bytes.len(), head.len() + datagram.len);
        let words = [0, (micros >> 32) as u32, micros as u32, kept as u32, len as u32];
        let mut packet = words.map(u32::to_le_bytes).concat();
        padded(&mut packet, &[&head, datagram.bytes].concat());
        block(&mut out, 6, &packet);
    }
    out
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (body.len() + 12) as u32;
    out.extend([kind, len].map(u32::to_le_bytes).concat());
    out.extend(body);
    out.extend(len.to_le_bytes());
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn headers(datagram: &Datagram<'_>) -> Vec<u8> {
    let Datagram { from, to, len, sum: of_bytes, .. } = datagram;
    let udp_len = (UDP_BYTES + len) as u16;
    let mut udp = [from.port(), to.port(), udp_len, 0].map(u16::to_be_bytes).concat();
    let (mut ip, pseudo) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = ((IPV4_BYTES + UDP_BYTES + len) as u16).to_be_bytes();
            let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, UDP, 0, 0];
            ip.extend([from.octets(), to.octets()].concat());
            let check = (!sum(&ip)).to_be_bytes();
            ip[10..12].copy_from_slice(&check);
            (ip, [from.octets(), to.octets()].concat())
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend(udp_len.to_be_bytes());
            ip.extend([UDP, 64]);
            let ends = [octets(from), octets(to)].concat();
            ip.extend(&ends);
            debug_assert_eq!(ip.len(), IPV6_BYTES);
            (ip, ends)
        }
    };
    let parts = [sum(&pseudo), u16::from(UDP), udp_len, sum(&udp), *of_bytes];
    // 0 says that there is none.
    let check = match !folded(parts.into_iter().map(u32::from).sum()) {
        0 => u16::MAX,
        check => check,
    };
    udp[6..8].copy_from_slice(&check.to_be_bytes());
    ip.extend(udp);
    ip
}

/// The sum of the checksums of the Internet (RFC 1071).
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => u32::from(pair[0]) << 8,
    });
    words.map(|word| word as u16).fold(0, |sum, word| folded(u32::from(sum) + u32::from(word)))
}

const fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_1071() {
        // The example of its section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0xff, 0xff, 1]), 0x0100);
    }

    #[test]
    fn a_checksum_that_comes_out_as_none_is_written_as_its_other_zero() {
        for (from, to, at) in [("192.0.2.1:69", "192.0.2.2:70", 26), ("[::1]:69", "[::1]:70", 46)] {
            let [from, to] = [from, to].map(|at| at.parse().expect("an address"));
            let check = |sum| {
                let (at_time, bytes) = (Duration::ZERO, &[][..]);
                let head = headers(&Datagram { at: at_time, from, to, bytes, len: 2, sum });
                u16::from_be_bytes([head[at], head[at + 1]])
            };
            // With these bytes there would be nothing left.
            assert_eq!(check(check(0)), u16::MAX, "0 says that nobody has added it up");
        }
    }

    #[test]
    fn a_block_has_its_length_at_both_ends_and_is_padded() {
        let bytes = [0, 4, 0, 1, 9];
        let at = |text: &str| text.parse().expect("an address");
        for (from, to, header) in
            [("192.0.2.1:69", "192.0.2.2:70", 28), ("[::1]:69", "[::1]:70", 48)]
        {
            let (from, to) = (at(from), at(to));
            let datagram = Datagram {
                at: Duration::from_secs(1),
                from,
                to,
                bytes: &bytes[..4],
                len: 5,
                sum: sum(&bytes),
            };
            let all = capture("why", std::iter::once(datagram));
            let mut rest = &all[..];
            let mut kinds = Vec::new();
            while !rest.is_empty() {
                let word =
                    |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four"));
                let len = word(4) as usize;
                assert_eq!((len % 4, word(len - 4) as usize), (0, len));
                if word(0) == 6 {
                    assert_eq!((word(20), word(24)), (header + 4, header + 5));
                }
                kinds.push(word(0));
                rest = &rest[len..];
            }
            assert_eq!(kinds, [0x0a0d_0d0a, 1, 6]);
        }
    }
}
