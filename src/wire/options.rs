//! The options of a packet: their names, how their values are written, and what is read where they are not legal.
//!
//! RFC 2347 (the mechanism), 2348 (`blksize`), 2349 (`timeout`, `tsize`), 7440 (`windowsize`), and three without
//! an RFC: `utimeout` and `rollover` as other implementations have them, `x-list` as `rfc/list.md` defines it.

use super::values::{BlockSize, IllegalValue, Interval, ListFormat, Rollover, WindowSize, decimal};
use core::fmt;
use core::num::NonZeroU8;
use core::str::FromStr;

/// The name of an option, of those that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionKind {
    /// `blksize`, the block size (RFC 2348).
    BlockSize,
    /// `timeout`, the retransmission interval in seconds (RFC 2349).
    Timeout,
    /// `utimeout`, the retransmission interval in microseconds.
    MicroTimeout,
    /// `tsize`, the size of the file (RFC 2349).
    TransferSize,
    /// `windowsize`, the blocks in a window (RFC 7440).
    WindowSize,
    /// `rollover`, the number that follows block 65,535.
    Rollover,
    /// `x-list`, the format of a listing (`rfc/list.md`).
    List,
}

impl OptionKind {
    const ALL: [Self; 7] = [
        Self::BlockSize,
        Self::Timeout,
        Self::MicroTimeout,
        Self::TransferSize,
        Self::WindowSize,
        Self::Rollover,
        Self::List,
    ];

    /// The name on the wire, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockSize => "blksize",
            Self::Timeout => "timeout",
            Self::MicroTimeout => "utimeout",
            Self::TransferSize => "tsize",
            Self::WindowSize => "windowsize",
            Self::Rollover => "rollover",
            Self::List => "x-list",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()))
    }
}

/// Writes the name on the wire, in lower case.
impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads the name on the wire, in any case.
impl FromStr for OptionKind {
    type Err = IllegalValue;

    fn from_str(name: &str) -> Result<Self, IllegalValue> {
        Self::of(name.as_bytes()).ok_or(IllegalValue::OptionName)
    }
}

/// A set of option names, as of those that a server does not grant.
///
/// ```
/// use tftpkit::wire::{OptionKind, OptionSet};
///
/// const SIZES: OptionSet =
///     OptionSet::EMPTY.with(OptionKind::BlockSize).with(OptionKind::TransferSize);
/// assert!(SIZES.contains(OptionKind::BlockSize));
/// assert!(!SIZES.contains(OptionKind::Timeout));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OptionSet(u16);

impl OptionSet {
    /// The set without any name.
    pub const EMPTY: Self = Self(0);
    /// The set with all names.
    pub const ALL: Self = Self((1 << OptionKind::ALL.len()) - 1);

    /// The set with this name added.
    #[must_use]
    pub const fn with(self, kind: OptionKind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// The names of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set has this name.
    pub const fn contains(self, kind: OptionKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

impl FromIterator<OptionKind> for OptionSet {
    fn from_iter<I: IntoIterator<Item = OptionKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for OptionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(OptionKind::ALL.iter().filter(|kind| self.contains(**kind))).finish()
    }
}

/// One option with a legal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferOption {
    /// `blksize`, the block size (RFC 2348).
    BlockSize(BlockSize),
    /// `timeout`, the retransmission interval in whole seconds (RFC 2349).
    Timeout(NonZeroU8),
    /// `utimeout`, the retransmission interval in microseconds.
    MicroTimeout(Interval),
    /// `tsize`, the size of the file in bytes; 0 in a read asks for it (RFC 2349).
    TransferSize(u64),
    /// `windowsize`, the blocks in a window (RFC 7440).
    WindowSize(WindowSize),
    /// `rollover`, the number that follows block 65,535.
    Rollover(Rollover),
    /// `x-list`, the format of a listing (`rfc/list.md`).
    List(ListFormat),
}

/// Whether a number above an option's maximum is lowered to it (a request asks) or refused (an OACK binds).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Lowered,
    Refused,
}

impl TransferOption {
    /// The name of this option.
    pub const fn kind(self) -> OptionKind {
        match self {
            Self::BlockSize(_) => OptionKind::BlockSize,
            Self::Timeout(_) => OptionKind::Timeout,
            Self::MicroTimeout(_) => OptionKind::MicroTimeout,
            Self::TransferSize(_) => OptionKind::TransferSize,
            Self::WindowSize(_) => OptionKind::WindowSize,
            Self::Rollover(_) => OptionKind::Rollover,
            Self::List(_) => OptionKind::List,
        }
    }

    /// Reads a value; `None` where it is not legal for `kind`.
    fn parse(kind: OptionKind, value: &[u8], excess: Excess) -> Option<Self> {
        if kind == OptionKind::List {
            return value.eq_ignore_ascii_case(b"json").then_some(Self::List(ListFormat::Json));
        }
        let number = decimal(value)?;
        let capped = |most: u16| match u16::try_from(number.unwrap_or(u64::MAX)) {
            Ok(n) if n <= most => Some(n),
            _ => (excess == Excess::Lowered).then_some(most),
        };
        Some(match kind {
            OptionKind::BlockSize => {
                Self::BlockSize(BlockSize::new(capped(BlockSize::MAX.get() as u16)?)?)
            }
            OptionKind::WindowSize => Self::WindowSize(WindowSize::new(capped(u16::MAX)?)?),
            OptionKind::Timeout => Self::Timeout(NonZeroU8::new(u8::try_from(number?).ok()?)?),
            OptionKind::MicroTimeout => {
                Self::MicroTimeout(Interval::from_micros(u32::try_from(number?).ok()?)?)
            }
            OptionKind::TransferSize => Self::TransferSize(number?),
            OptionKind::Rollover => Self::Rollover(match number? {
                0 => Rollover::ToZero,
                1 => Rollover::ToOne,
                _ => return None,
            }),
            OptionKind::List => return None,
        })
    }
}

/// Writes the value as a packet has it: decimal without leading zeros, or the format's name.
impl fmt::Display for TransferOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(size) => size.fmt(f),
            Self::Timeout(secs) => secs.fmt(f),
            Self::MicroTimeout(interval) => interval.as_micros().fmt(f),
            Self::TransferSize(bytes) => bytes.fmt(f),
            Self::WindowSize(blocks) => blocks.fmt(f),
            Self::Rollover(Rollover::ToZero) => 0.fmt(f),
            Self::Rollover(Rollover::ToOne) => 1.fmt(f),
            Self::List(ListFormat::Json) => f.write_str("json"),
        }
    }
}

/// The options of one packet, in the order they stand there, each kind at most once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Options {
    slots: [Option<TransferOption>; OptionKind::ALL.len()],
}

impl Options {
    /// The options of a packet that has none, which is RFC 1350 without RFC 2347.
    pub const NONE: Self = Self { slots: [None; OptionKind::ALL.len()] };

    /// The options with this one appended, unless one of its name is there already: the first counts.
    #[must_use]
    pub fn with(mut self, option: TransferOption) -> Self {
        if self.find(option.kind()).is_none()
            && let Some(free) = self.slots.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(option);
        }
        self
    }

    /// The options without those whose names are in the set; the others keep their order.
    #[must_use]
    pub fn without(&self, names: OptionSet) -> Self {
        self.iter().filter(|option| !names.contains(option.kind())).collect()
    }

    /// The options in the order in which they stand in the packet.
    pub fn iter(&self) -> impl Iterator<Item = TransferOption> + '_ {
        self.slots.iter().map_while(|slot| *slot)
    }

    /// The option of that name, where there is one.
    pub fn find(&self, kind: OptionKind) -> Option<TransferOption> {
        self.iter().find(|option| option.kind() == kind)
    }

    /// Whether there are no options.
    pub fn is_empty(&self) -> bool {
        self.slots[0].is_none()
    }

    /// Reads a request's options: what is unknown, illegal, repeated or cut off is left out.
    pub(super) fn parse_request(mut rest: &[u8]) -> Self {
        let mut options = Self::NONE;
        let mut seen = OptionSet::EMPTY;
        while let Some((name, value)) = next_pair(&mut rest) {
            let Some(kind) = OptionKind::of(name) else { continue };
            if seen.contains(kind) {
                continue;
            }
            seen = seen.with(kind);
            if let Some(option) = TransferOption::parse(kind, value, Excess::Lowered) {
                options = options.with(option);
            }
        }
        options
    }

    /// Reads an OACK's options: it binds both sides, so anything not understood makes it worthless.
    pub(super) fn parse_answer(mut rest: &[u8]) -> Option<Self> {
        let mut options = Self::NONE;
        while let Some((name, value)) = next_pair(&mut rest) {
            let kind = OptionKind::of(name)?;
            if options.find(kind).is_some() {
                return None;
            }
            options = options.with(TransferOption::parse(kind, value, Excess::Refused)?);
        }
        let only_padding = rest.iter().all(|byte| *byte == 0);
        (only_padding && !options.is_empty()).then_some(options)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for option in self.iter() {
            out.extend_from_slice(option.kind().name().as_bytes());
            out.push(0);
            out.extend_from_slice(option.to_string().as_bytes());
            out.push(0);
        }
    }
}

/// Keeps the first option of each name.
impl FromIterator<TransferOption> for Options {
    fn from_iter<I: IntoIterator<Item = TransferOption>>(options: I) -> Self {
        options.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Writes ` name=value` for each option, with the space in front.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|option| write!(f, " {}={option}", option.kind().name()))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Options[{}]", self.to_string().trim_start())
    }
}

/// Takes `name NUL value NUL` off the front; `None`, leaving `rest` as it is, at an empty name or a cut.
fn next_pair<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut ahead = *rest;
    let name = take_string(&mut ahead)?;
    let value = take_string(&mut ahead)?;
    if name.is_empty() {
        return None;
    }
    *rest = ahead;
    Some((name, value))
}

/// Takes a string and its NUL off the front.
pub(super) fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (string, tail) = rest.split_at(end);
    *rest = &tail[1..];
    Some(string)
}
