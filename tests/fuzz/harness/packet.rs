//! Datagrams: read or refused for a reason, and written as they were read.

use super::fixtures;
use tftpkit::wire::{Malformed, Operation, Packet};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    fixtures::packets()
}

pub(super) fn check(datagram: &[u8]) {
    match Packet::parse(datagram) {
        Ok(packet) => sound(datagram, &packet),
        Err(why) => refused(datagram, why),
    }
}

/// A datagram is refused for what is wrong with it.
fn refused(datagram: &[u8], why: Malformed) {
    let opcode = datagram.first_chunk().map(|opcode| u16::from_be_bytes(*opcode));
    let right = match why {
        Malformed::Runt => match opcode {
            None => true,
            Some(opcode) => (3..=5).contains(&opcode) && datagram.len() < 4,
        },
        Malformed::Opcode(told) => opcode == Some(told) && !(1..=7).contains(&told),
        Malformed::Request | Malformed::Mode => matches!(opcode, Some(1 | 2 | 7)),
        Malformed::Oack => opcode == Some(6),
        _ => false,
    };
    assert!(right, "{why:?}");
}

fn sound(datagram: &[u8], packet: &Packet<'_>) {
    let written = packet.to_vec();
    assert_eq!(Packet::parse(&written), Ok(*packet), "it is read as it was written");
    let mut behind = b"before".to_vec();
    packet.write(&mut behind);
    assert_eq!(behind, [b"before", &written[..]].concat(), "it is written behind what is there");
    let shown = packet.to_string();
    assert!(shown.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "one harmless line: {shown}");

    match packet {
        Packet::Data { .. } => assert_eq!(written, datagram),
        Packet::Ack { .. } => assert_eq!(written, datagram[..4]),
        Packet::Error { message, .. } => {
            assert!(!message.contains(&0));
            let (nul, before) = written.split_last().expect("a NUL at the end");
            assert_eq!((*nul, before), (0, &datagram[..4 + message.len()]));
        }
        Packet::Request(request) => {
            assert!(!request.name.contains(&0));
            assert!(!request.name.is_empty() || request.operation != Operation::Write);
            let mode_at = 2 + request.name.len();
            assert_eq!(written[..mode_at], datagram[..mode_at], "the name is as it came");
            assert!(written.len() <= datagram.len(), "nothing was added");
        }
        Packet::Oack(options) => {
            assert!(!options.is_empty());
            assert!(written.len() <= datagram.len(), "nothing was added");
        }
    }
}
