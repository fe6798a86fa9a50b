//! Bytes on the wire and the values they stand for.
//!
//! This module knows the layout of every TFTP packet (RFC 1350 § 5, RFC 2347, the LIST opcode) and the legal
//! range of every option. It must not know what a transfer is: it holds no state, asks no clock and opens
//! nothing. Parsing never panics, whatever arrives; writing never fails.
//!
//! ```
//! use tftpkit::wire::{BlockSize, OptionKind, Packet, TransferOption};
//!
//! let datagram = b"\0\x01vmlinuz\0octet\0blksize\01428\0";
//! let Packet::Request(request) = Packet::parse(datagram)? else { panic!("it is an RRQ") };
//! assert_eq!(request.name, b"vmlinuz");
//! let size = TransferOption::BlockSize(BlockSize::try_from(1428)?);
//! assert_eq!(request.options.find(OptionKind::BlockSize), Some(size));
//! assert_eq!(Packet::Request(request).to_vec(), datagram);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod filename;
mod options;
mod packet;
mod values;

pub use filename::Filename;
pub(crate) use filename::percent_decoded;
pub use options::{OptionKind, OptionSet, Options, TransferOption};
pub(crate) use packet::data_header;
pub use packet::{ErrorCode, Malformed, Mode, Operation, Packet, Request};
pub use values::{BlockSize, IllegalValue, Interval, ListFormat, Rollover, WindowSize};

/// The bytes before the payload of a DATA packet: opcode and block number (RFC 1350 § 5).
pub const DATA_HEADER: usize = 4;

/// A block number as it stands in a packet: 16 bits, which roll over.
///
/// It has no order and no arithmetic; [`BlockNumber`](crate::proto::BlockNumber) counts without end and has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireBlock(pub u16);
