//! The packets, and nothing but their bytes.

use super::options::{Options, take_string};
use super::{DATA_HEADER, WireBlock};
use core::fmt;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;
const LIST: u16 = 7;

/// One datagram. It borrows what it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packet<'a> {
    /// RRQ, WRQ or LIST: opens a transfer.
    Request(Request<'a>),
    /// DATA: one block of the file (RFC 1350 § 5).
    Data {
        /// The block's number.
        block: WireBlock,
        /// Its bytes: the block size, or fewer in the last one.
        payload: &'a [u8],
    },
    /// ACK: all blocks up to this one have arrived.
    Ack {
        /// The last block in sequence.
        block: WireBlock,
    },
    /// ERROR: the transfer is over (RFC 1350 § 7).
    Error {
        /// Why.
        code: ErrorCode,
        /// Why, for people; without its NUL.
        message: &'a [u8],
    },
    /// OACK: the options that hold (RFC 2347).
    Oack(Options),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// RRQ: read a file.
    Read,
    /// WRQ: write a file.
    Write,
    /// LIST, opcode 7: list a directory (`rfc/list.md`).
    List,
}

/// RRQ, WRQ and LIST share one layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The name as it came, without its NUL. Any bytes; empty only for a list of the root.
    pub name: &'a [u8],
    /// How the file travels.
    pub mode: Mode,
    /// The options that are understood and legal.
    pub options: Options,
}

/// How a file's bytes travel (RFC 1350 § 1). `mail` is long dead and is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Byte for byte.
    #[default]
    Octet,
    /// As text with CR LF line ends.
    Netascii,
}

impl Mode {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        [Self::Octet, Self::Netascii]
            .into_iter()
            .find(|mode| word.eq_ignore_ascii_case(mode.name().as_bytes()))
    }
}

/// The code of an ERROR packet (RFC 1350, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 0: see the message.
    Undefined,
    /// 1: file not found.
    NotFound,
    /// 2: access violation.
    AccessViolation,
    /// 3: disk full or allocation exceeded.
    DiskFull,
    /// 4: illegal TFTP operation.
    IllegalOperation,
    /// 5: unknown transfer ID.
    UnknownTid,
    /// 6: file already exists.
    FileExists,
    /// 7: no such user.
    NoSuchUser,
    /// 8: option negotiation refused.
    OptionRefused,
    /// Any other number. Equal to none of the above only when made by [`ErrorCode::from`].
    Other(u16),
}

impl ErrorCode {
    const KNOWN: [Self; 9] = [
        Self::Undefined,
        Self::NotFound,
        Self::AccessViolation,
        Self::DiskFull,
        Self::IllegalOperation,
        Self::UnknownTid,
        Self::FileExists,
        Self::NoSuchUser,
        Self::OptionRefused,
    ];
}

impl From<u16> for ErrorCode {
    fn from(number: u16) -> Self {
        Self::KNOWN.get(usize::from(number)).copied().unwrap_or(Self::Other(number))
    }
}

impl From<ErrorCode> for u16 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Other(number) => number,
            known => ErrorCode::KNOWN.iter().position(|k| *k == known).unwrap_or(0) as Self,
        }
    }
}

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the fixed part of its packet.
    #[error("runt")]
    Runt,
    /// No packet has this opcode.
    #[error("opcode")]
    Opcode(u16),
    /// A request without a name, a mode or one of their NULs.
    #[error("request")]
    Request,
    /// A request in a mode that is not served.
    #[error("mode")]
    Mode,
    /// An OACK that no request could have led to.
    #[error("oack")]
    Oack,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (opcode, body) = take_u16(datagram).ok_or(Malformed::Runt)?;
        match opcode {
            RRQ => Request::parse(Operation::Read, body).map(Self::Request),
            WRQ => Request::parse(Operation::Write, body).map(Self::Request),
            LIST => Request::parse(Operation::List, body).map(Self::Request),
            DATA => {
                let (block, payload) = take_u16(body).ok_or(Malformed::Runt)?;
                Ok(Self::Data { block: WireBlock(block), payload })
            }
            ACK => {
                let (block, _beyond) = take_u16(body).ok_or(Malformed::Runt)?;
                Ok(Self::Ack { block: WireBlock(block) })
            }
            ERROR => {
                let (code, mut text) = take_u16(body).ok_or(Malformed::Runt)?;
                let message = take_string(&mut text).unwrap_or(text);
                Ok(Self::Error { code: code.into(), message })
            }
            OACK => Options::parse_answer(body).map(Self::Oack).ok_or(Malformed::Oack),
            other => Err(Malformed::Opcode(other)),
        }
    }

    /// Whether this can be the first answer to a request. Other DATA and ACK packets belong to a transfer that is under
    /// way: to an earlier one at this port, perhaps.
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::Data { block: WireBlock(n), .. } => *n == 1,
            Self::Ack { block: WireBlock(n) } => *n == 0,
            Self::Error { .. } | Self::Oack(_) => true,
            Self::Request(_) => false,
        }
    }

    /// Appends the packet's bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(request) => request.write(out),
            Self::Data { block, payload } => {
                out.extend_from_slice(&data_header(*block));
                out.extend_from_slice(payload);
            }
            Self::Ack { block } => {
                out.extend_from_slice(&ACK.to_be_bytes());
                out.extend_from_slice(&block.0.to_be_bytes());
            }
            Self::Error { code, message } => {
                out.extend_from_slice(&ERROR.to_be_bytes());
                out.extend_from_slice(&u16::from(*code).to_be_bytes());
                out.extend_from_slice(message);
                out.push(0);
            }
            Self::Oack(options) => {
                out.extend_from_slice(&OACK.to_be_bytes());
                options.write(out);
            }
        }
    }

    /// The packet as a datagram of its own.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// The four bytes before a DATA packet's payload.
pub(crate) fn data_header(block: WireBlock) -> [u8; DATA_HEADER] {
    let ([a, b], [c, d]) = (DATA.to_be_bytes(), block.0.to_be_bytes());
    [a, b, c, d]
}

impl<'a> Request<'a> {
    fn parse(operation: Operation, mut body: &'a [u8]) -> Result<Self, Malformed> {
        let name = take_string(&mut body).ok_or(Malformed::Request)?;
        let mode = take_string(&mut body).ok_or(Malformed::Request)?;
        if mode.is_empty() || (name.is_empty() && operation != Operation::List) {
            return Err(Malformed::Request);
        }
        let mode = Mode::of(mode).ok_or(Malformed::Mode)?;
        Ok(Self { operation, name, mode, options: Options::parse_request(body) })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let opcode = match self.operation {
            Operation::Read => RRQ,
            Operation::Write => WRQ,
            Operation::List => LIST,
        };
        out.extend_from_slice(&opcode.to_be_bytes());
        out.extend_from_slice(self.name);
        out.push(0);
        out.extend_from_slice(self.mode.name().as_bytes());
        out.push(0);
        self.options.write(out);
    }
}

fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "RRQ",
            Self::Write => "WRQ",
            Self::List => "LIST",
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u16::from(*self).fmt(f)
    }
}

/// One line, control bytes escaped: the form that fixtures are written in.
impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(Request { operation, name, mode, options }) => {
                write!(f, "{operation} \"{}\" {}{options}", name.escape_ascii(), mode.name())
            }
            Self::Data { block, payload } => write!(f, "DATA {} {}", block.0, payload.len()),
            Self::Ack { block } => write!(f, "ACK {}", block.0),
            Self::Error { code, message } => {
                write!(f, "ERROR {code} \"{}\"", message.escape_ascii())
            }
            Self::Oack(options) => write!(f, "OACK{options}"),
        }
    }
}
