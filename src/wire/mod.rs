//! Bytes on the wire and the values they stand for.
//!
//! This module knows the layout of every TFTP packet (RFC 1350 § 5, RFC 2347, the LIST opcode) and the legal
//! range of every option. It must not know what a transfer is: it holds no state, asks no clock and opens
//! nothing. Parsing never panics, whatever arrives; writing never fails.

mod options;
mod packet;

pub use options::{
    BlockSize, Interval, ListFormat, OptionKind, Options, Rollover, TransferOption, WindowSize,
};
pub(crate) use packet::data_header;
pub use packet::{ErrorCode, Malformed, Mode, Operation, Packet, Request};

/// Bytes before the payload of a DATA packet: opcode and block number (RFC 1350 § 5).
pub const DATA_HEADER: usize = 4;

/// A block number as it stands in a packet. It wraps, so it has no order and no arithmetic: see
/// [`BlockNumber`](crate::proto::BlockNumber) for the number that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireBlock(pub u16);
