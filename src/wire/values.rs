//! The value of each option, as a type that only holds what is legal.

use core::fmt;
use core::num::NonZeroU8;
use core::str::FromStr;
use core::time::Duration;

/// Why a number or a word is not a legal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalValue {
    /// A block size is 8 to 65,464 bytes (RFC 2348).
    #[error("a block size is a number of bytes from 8 to 65464")]
    BlockSize,
    /// A window is 1 to 65,535 blocks (RFC 7440).
    #[error("a window size is a number of blocks from 1 to 65535")]
    WindowSize,
    /// An interval is 10,000 to 255,000,000 microseconds.
    #[error("an interval is a time from 0.01 to 255 seconds")]
    Interval,
    /// A mode is `octet` or `netascii` (RFC 1350 § 1).
    #[error("a mode is 'octet' or 'netascii'")]
    Mode,
    /// An option name is one of those of [`OptionKind`](super::OptionKind).
    #[error("there is no such option")]
    OptionName,
}

/// The number of payload bytes in each DATA packet but the last (RFC 2348): 8 to 65,464.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockSize(u16);

impl BlockSize {
    /// The block size when none was negotiated (RFC 1350): 512 bytes.
    pub const DEFAULT: Self = Self(512);
    /// The largest block whose DATA travels in one packet of an Ethernet over IPv4: 1,468 bytes.
    pub const ETHERNET: Self = Self(1468);
    /// The smallest block size that RFC 2348 allows: 8 bytes.
    pub const MIN: Self = Self(8);
    /// The largest block size that RFC 2348 allows: 65,464 bytes, which fill a UDP datagram over IPv4.
    pub const MAX: Self = Self(65464);

    /// The block size of `bytes`, or `None` outside 8 to 65,464.
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes < Self::MIN.0 || bytes > Self::MAX.0 { None } else { Some(Self(bytes)) }
    }

    /// The size in bytes.
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// The block size of `bytes`, or [`MAX`](Self::MAX) where that is less; `None` below 8.
    pub fn lowered(bytes: u64) -> Option<Self> {
        Self::new(bytes.min(u64::from(Self::MAX.0)) as u16)
    }

    /// The bytes of a whole DATA packet, its header included.
    pub const fn packet_bytes(self) -> usize {
        super::DATA_HEADER + self.get()
    }
}

impl TryFrom<u16> for BlockSize {
    type Error = IllegalValue;

    fn try_from(bytes: u16) -> Result<Self, IllegalValue> {
        Self::new(bytes).ok_or(IllegalValue::BlockSize)
    }
}

/// Reads a decimal number of bytes, digits only.
impl FromStr for BlockSize {
    type Err = IllegalValue;

    fn from_str(text: &str) -> Result<Self, IllegalValue> {
        number(text).and_then(Self::new).ok_or(IllegalValue::BlockSize)
    }
}

/// Writes the number of bytes in decimal.
impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of blocks that may be sent before an acknowledgement (RFC 7440): 1 to 65,535. 1 is lock-step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowSize(u16);

impl WindowSize {
    /// The window of one block: RFC 1350's lock-step.
    pub const LOCKSTEP: Self = Self(1);
    /// The widest window that RFC 7440 lets a client ask for: 65,535 blocks.
    pub const MAX: Self = Self(u16::MAX);

    /// The window of `blocks`, or `None` for 0.
    pub const fn new(blocks: u16) -> Option<Self> {
        if blocks == 0 { None } else { Some(Self(blocks)) }
    }

    /// The number of blocks.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The bytes of a full window of DATA packets with blocks of this size, headers included.
    pub const fn bytes(self, block_size: BlockSize) -> usize {
        block_size.packet_bytes() * self.0 as usize
    }
}

impl TryFrom<u16> for WindowSize {
    type Error = IllegalValue;

    fn try_from(blocks: u16) -> Result<Self, IllegalValue> {
        Self::new(blocks).ok_or(IllegalValue::WindowSize)
    }
}

/// Reads a decimal number of blocks, digits only.
impl FromStr for WindowSize {
    type Err = IllegalValue;

    fn from_str(text: &str) -> Result<Self, IllegalValue> {
        number(text).and_then(Self::new).ok_or(IllegalValue::WindowSize)
    }
}

/// Writes the number of blocks in decimal.
impl fmt::Display for WindowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A retransmission interval that can be negotiated: by `timeout` in seconds (RFC 2349) or by `utimeout` in
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u32);

impl Interval {
    /// The longest interval that can be negotiated: 255 seconds.
    pub const MAX: Self = Self(255_000_000);

    /// The interval of a `timeout` option: 1 to 255 seconds (RFC 2349).
    pub const fn from_secs(secs: NonZeroU8) -> Self {
        Self(secs.get() as u32 * 1_000_000)
    }

    /// The interval of a `utimeout` option, or `None` outside 10,000 to 255,000,000 microseconds.
    pub const fn from_micros(micros: u32) -> Option<Self> {
        if micros < 10_000 || micros > 255_000_000 { None } else { Some(Self(micros)) }
    }

    /// The interval as a span of time.
    pub const fn get(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }

    /// The interval in microseconds.
    pub const fn as_micros(self) -> u32 {
        self.0
    }
}

/// Takes the number as seconds.
impl From<NonZeroU8> for Interval {
    fn from(secs: NonZeroU8) -> Self {
        Self::from_secs(secs)
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Self {
        interval.get()
    }
}

/// Takes whole microseconds, and drops what is less.
impl TryFrom<Duration> for Interval {
    type Error = IllegalValue;

    fn try_from(span: Duration) -> Result<Self, IllegalValue> {
        let micros = u32::try_from(span.as_micros()).ok();
        micros.and_then(Self::from_micros).ok_or(IllegalValue::Interval)
    }
}

/// Writes the interval with its unit, as in `2s` or `10ms`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

/// The number that follows block 65,535, negotiated by `rollover`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rollover {
    /// Block 65,535 is followed by 0, as nearly all implementations have it.
    #[default]
    ToZero,
    /// Block 65,535 is followed by 1: 0 stays the number of the opening packet.
    ToOne,
}

/// The format of a listing, negotiated by `x-list` (`rfc/list.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListFormat {
    /// One JSON object for each line.
    Json,
}

/// The value of a text of decimal digits. Outer `None`: it is none. Inner `None`: too large for 64 bits.
pub(super) fn decimal(value: &[u8]) -> Option<Option<u64>> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))),
    )
}

fn number(text: &str) -> Option<u16> {
    u16::try_from(decimal(text.as_bytes())??).ok()
}
