//! Option names and the legal range of each value, as types.
//!
//! RFC 2347 (the mechanism), 2348 (`blksize`), 2349 (`timeout`, `tsize`), 7440 (`windowsize`), and three without
//! an RFC: `utimeout` and `rollover` as other implementations have them, `x-list` as `rfc/list.md` defines it.

use core::fmt;
use core::num::NonZeroU8;
use core::time::Duration;

/// Payload bytes in each DATA packet but the last (RFC 2348): 8 to 65,464.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockSize(u16);

impl BlockSize {
    /// What holds when nothing was negotiated (RFC 1350).
    pub const DEFAULT: Self = Self(512);
    /// The least that RFC 2348 allows.
    pub const MIN: Self = Self(8);
    /// The most that RFC 2348 allows: it fills a UDP datagram over IPv4.
    pub const MAX: Self = Self(65464);

    /// The size of `bytes`, or `None` outside 8..=65464.
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes < Self::MIN.0 || bytes > Self::MAX.0 { None } else { Some(Self(bytes)) }
    }

    /// The size in bytes.
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// `bytes` lowered to the maximum; `None` below the minimum.
    pub fn lowered(bytes: u64) -> Option<Self> {
        Self::new(bytes.min(u64::from(Self::MAX.0)) as u16)
    }
}

/// Blocks that may be sent before an acknowledgement (RFC 7440): 1 to 65,535. 1 is lock-step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowSize(u16);

impl WindowSize {
    /// RFC 1350's one block at a time.
    pub const LOCKSTEP: Self = Self(1);
    /// The most that RFC 7440 lets a client ask for.
    pub const MAX: Self = Self(u16::MAX);

    /// The window of `blocks`, or `None` for 0.
    pub const fn new(blocks: u16) -> Option<Self> {
        if blocks == 0 { None } else { Some(Self(blocks)) }
    }

    /// The number of blocks.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A retransmission interval that was negotiated, by `timeout` in seconds or `utimeout` in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u32);

impl Interval {
    /// `timeout`: 1 to 255 seconds (RFC 2349).
    pub const fn from_secs(secs: NonZeroU8) -> Self {
        Self(secs.get() as u32 * 1_000_000)
    }

    /// `utimeout`: 10,000 to 255,000,000 microseconds.
    pub const fn from_micros(micros: u32) -> Option<Self> {
        if micros < 10_000 || micros > 255_000_000 { None } else { Some(Self(micros)) }
    }

    /// The interval as a span of time.
    pub const fn get(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

/// Which number follows block 65,535 (`rollover`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rollover {
    /// 0, as nearly everyone does.
    #[default]
    ToZero,
    /// 1: 0 stays the number of the opening packet.
    ToOne,
}

/// What a listing is written in (`x-list`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListFormat {
    /// One JSON object for each line.
    Json,
}

/// The option names that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionKind {
    /// `blksize`.
    BlockSize,
    /// `timeout`.
    Timeout,
    /// `utimeout`.
    MicroTimeout,
    /// `tsize`.
    TransferSize,
    /// `windowsize`.
    WindowSize,
    /// `rollover`.
    Rollover,
    /// `x-list`.
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

/// One option with a legal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOption {
    /// `blksize` (RFC 2348).
    BlockSize(BlockSize),
    /// `timeout`, whole seconds (RFC 2349).
    Timeout(NonZeroU8),
    /// `utimeout`, microseconds.
    MicroTimeout(Interval),
    /// `tsize`, bytes of the file (RFC 2349).
    TransferSize(u64),
    /// `windowsize` (RFC 7440).
    WindowSize(WindowSize),
    /// `rollover`.
    Rollover(Rollover),
    /// `x-list`.
    List(ListFormat),
}

/// Whether a number above an option's maximum is lowered to it (a request asks) or refused (an OACK binds).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Lowered,
    Refused,
}

impl TransferOption {
    /// Which option this is.
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
            OptionKind::BlockSize => Self::BlockSize(BlockSize::new(capped(BlockSize::MAX.0)?)?),
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

/// Outer `None`: not plain decimal digits. Inner `None`: too large for 64 bits.
fn decimal(value: &[u8]) -> Option<Option<u64>> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))),
    )
}

/// The value as it is written: decimal without leading zeros, or the format's name.
impl fmt::Display for TransferOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(size) => size.0.fmt(f),
            Self::Timeout(secs) => secs.fmt(f),
            Self::MicroTimeout(interval) => interval.0.fmt(f),
            Self::TransferSize(bytes) => bytes.fmt(f),
            Self::WindowSize(blocks) => blocks.0.fmt(f),
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
    /// No options: RFC 1350 as it was.
    pub const NONE: Self = Self { slots: [None; OptionKind::ALL.len()] };

    /// Appends `option`, unless its kind is there already: the first counts.
    #[must_use]
    pub fn with(mut self, option: TransferOption) -> Self {
        if self.find(option.kind()).is_none()
            && let Some(free) = self.slots.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(option);
        }
        self
    }

    /// The options in order.
    pub fn iter(&self) -> impl Iterator<Item = TransferOption> + '_ {
        self.slots.iter().map_while(|slot| *slot)
    }

    /// The option of that kind.
    pub fn find(&self, kind: OptionKind) -> Option<TransferOption> {
        self.iter().find(|option| option.kind() == kind)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots[0].is_none()
    }

    /// Reads a request's options: what is unknown, illegal, repeated or cut off is left out.
    pub(super) fn parse_request(mut rest: &[u8]) -> Self {
        let mut options = Self::NONE;
        let mut seen = [false; OptionKind::ALL.len()];
        while let Some((name, value)) = next_pair(&mut rest) {
            let Some(kind) = OptionKind::of(name) else { continue };
            if core::mem::replace(&mut seen[kind as usize], true) {
                continue;
            }
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

/// ` name=value` for each, as logs and fixtures show them.
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
