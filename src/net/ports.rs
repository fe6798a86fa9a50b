//! The ports that a server's transfers may use.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The ports for transfers, both ends among them, where the system's own choice will not do (a firewall). It is never
/// empty, and never has port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A range of ports is empty or has port 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the first and the last port, as in 50000-50999")]
pub struct PortRangeError(());

impl PortRange {
    /// The ports from `first` to `last`.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first == 0 || first > last {
            return Err(PortRangeError(()));
        }
        Ok(Self { first, last })
    }

    /// The first port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are: one at least.
    pub const fn count(self) -> usize {
        (self.last - self.first) as usize + 1
    }

    /// All ports, each once, from the one that is `start` ports behind the first.
    pub(super) fn ports_from(self, start: usize) -> impl Iterator<Item = u16> {
        let count = self.count();
        (0..count).map(move |n| self.first + ((start + n) % count) as u16)
    }
}

impl TryFrom<RangeInclusive<u16>> for PortRange {
    type Error = PortRangeError;

    fn try_from(range: RangeInclusive<u16>) -> Result<Self, PortRangeError> {
        Self::new(*range.start(), *range.end())
    }
}

/// `50000-50999`.
impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            Self::new(first.parse().ok()?, last.parse().ok()?).ok()
        };
        parse().ok_or(PortRangeError(()))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_port_at_least_and_never_port_zero() {
        let range = |first, last| PortRange::new(first, last).map(PortRange::count).ok();
        assert_eq!([range(1, 1), range(1, u16::MAX)], [Some(1), Some(65_535)]);
        assert_eq!([range(0, 9), range(5, 4)], [None, None]);
        let reversed = RangeInclusive::new(5, 4);
        assert!(PortRange::try_from(reversed).is_err() && PortRange::try_from(4..=5).is_ok());
    }

    #[test]
    fn a_range_is_written_as_it_is_read() {
        let range: PortRange = "50000-50999".parse().expect("a range");
        assert_eq!(
            (range.first(), range.last(), &*range.to_string()),
            (50_000, 50_999, "50000-50999")
        );
        for text in ["5-4", "0-9", "7", "1-65536", "-", "a-b", ""] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_ports_come_once_wherever_one_begins() {
        let range = PortRange::new(7, 9).expect("a range");
        let from = |start| range.ports_from(start).collect::<Vec<_>>();
        assert_eq!([from(0), from(1), from(2)], [[7, 8, 9], [8, 9, 7], [9, 7, 8]]);
        let whole = PortRange::new(1, u16::MAX).expect("a range");
        assert_eq!(whole.ports_from(65_534).take(2).collect::<Vec<_>>(), [u16::MAX, 1]);
    }
}
