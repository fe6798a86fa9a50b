//! The layout of every packet (RFC 1350 § 5, RFC 2347 and the LIST opcode), read and written.

use super::options::{Options, take_string};
use super::{DATA_HEADER, IllegalValue, WireBlock};
use core::fmt;
use core::str::FromStr;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;
const LIST: u16 = 7;

/// The meaning of one datagram, whose names, payloads and messages it borrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packet<'a> {
    /// An RRQ, WRQ or LIST, which opens a transfer.
    Request(Request<'a>),
    /// A DATA packet: one block of the file (RFC 1350 § 5).
    Data {
        /// The block's number.
        block: WireBlock,
        /// The block's bytes: as many as the block size, or fewer in the last block.
        payload: &'a [u8],
    },
    /// An ACK: all blocks up to this one have arrived (RFC 1350 § 5, RFC 7440 § 4).
    Ack {
        /// The last block that arrived in sequence.
        block: WireBlock,
    },
    /// An ERROR: the transfer is over (RFC 1350 § 7).
    Error {
        /// The reason, for programs.
        code: ErrorCode,
        /// The reason, for people; without its NUL.
        message: &'a [u8],
    },
    /// An OACK: the options that hold (RFC 2347).
    Oack(Options),
}

/// The operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// RRQ, opcode 1: the client reads a file.
    Read,
    /// WRQ, opcode 2: the client writes a file.
    Write,
    /// LIST, opcode 7: the client lists a directory (`rfc/list.md`).
    List,
}

/// The fields of an RRQ, WRQ or LIST, which share one layout (RFC 1350 § 5, RFC 2347).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// The operation that is asked for.
    pub operation: Operation,
    /// The Filename field without its NUL: any bytes but NUL; empty only in a LIST or an RRQ, of the
    /// root.
    pub name: &'a [u8],
    /// The Mode field: how the file's bytes travel.
    pub mode: Mode,
    /// The options that are understood and have legal values.
    pub options: Options,
}

/// The representation in which a file's bytes travel (RFC 1350 § 1). RFC 1350's `mail` is obsolete and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `octet`: the file travels byte for byte.
    #[default]
    Octet,
    /// `netascii`: the file travels as text whose lines end with CR LF.
    Netascii,
}

impl Mode {
    /// The word on the wire, in lower case.
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

/// The code of an ERROR packet (RFC 1350's appendix, RFC 2347).
///
/// A number becomes a code by [`From<u16>`](#impl-From%3Cu16%3E-for-ErrorCode) and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Code 0: not defined, see the message.
    Undefined,
    /// Code 1: file not found.
    NotFound,
    /// Code 2: access violation.
    AccessViolation,
    /// Code 3: disk full or allocation exceeded.
    DiskFull,
    /// Code 4: illegal TFTP operation.
    IllegalOperation,
    /// Code 5: unknown transfer ID.
    UnknownTid,
    /// Code 6: file already exists.
    FileExists,
    /// Code 7: no such user.
    NoSuchUser,
    /// Code 8: the options cannot be agreed on (RFC 2347).
    OptionRefused,
    /// Any other code. [`ErrorCode::from`] never puts 0 to 8 here.
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

    /// The standard text for this code, in lower case: what an ERROR's message says when there is nothing to add. For
    /// code 0 and codes without a meaning it is `error`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "file not found",
            Self::AccessViolation => "access violation",
            Self::DiskFull => "disk full or allocation exceeded",
            Self::IllegalOperation => "illegal TFTP operation",
            Self::UnknownTid => "unknown transfer ID",
            Self::FileExists => "file already exists",
            Self::NoSuchUser => "no such user",
            Self::OptionRefused => "option negotiation failed",
            Self::Undefined | Self::Other(_) => "error",
        }
    }
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
#[non_exhaustive]
pub enum Malformed {
    /// The datagram is shorter than the fixed part of its packet.
    #[error("runt")]
    Runt,
    /// The datagram has this opcode, which no packet has.
    #[error("opcode")]
    Opcode(u16),
    /// The request lacks a name, a mode or one of their NULs.
    #[error("request")]
    Request,
    /// The request's mode is neither `octet` nor `netascii`.
    #[error("mode")]
    Mode,
    /// The OACK is empty, repeats an option, or has a name or a value that no request can have asked for.
    #[error("oack")]
    Oack,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// Of a request's options, those that are unknown, repeated or have no legal value are left out (RFC 2347); a block
    /// size or window above its maximum is lowered to it. What follows an ACK's block number is ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`], when the datagram is no packet.
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

    /// Whether this can be the first answer to a request: an OACK, an ERROR, DATA 1 or ACK 0. Other DATA and ACK packets
    /// belong to a transfer that is under way, to an earlier one at this port perhaps.
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
        if mode.is_empty() || (name.is_empty() && operation == Operation::Write) {
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

/// Reads the word on the wire, in any case.
impl FromStr for Mode {
    type Err = IllegalValue;

    fn from_str(word: &str) -> Result<Self, IllegalValue> {
        Self::of(word.as_bytes()).ok_or(IllegalValue::Mode)
    }
}

/// Writes the word on the wire, in lower case.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Shows the name in quotes, all but printable ASCII escaped.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("name", &format_args!("\"{}\"", self.name.escape_ascii()))
            .field("mode", &self.mode)
            .field("options", &self.options)
            .finish()
    }
}

/// Writes the RFCs' name for the packet: RRQ, WRQ or LIST.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "RRQ",
            Self::Write => "WRQ",
            Self::List => "LIST",
        })
    }
}

/// Writes the code's number.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u16::from(*self).fmt(f)
    }
}

/// Writes one line of printable ASCII, as in `RRQ "vmlinuz" octet blksize=1428`; of a DATA packet's payload only the
/// length.
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
