//! Block numbers: 64 bits inside, 16 on the wire, and the two ways between.

use crate::wire::{Rollover, WireBlock};
use core::ops::{Add, Sub};

/// The count of block numbers on the wire: 65,536. The machines take another count for a model check, which cannot send
/// so many blocks in every order to see their numbers roll over.
pub const NUMBERS: u64 = 1 << 16;

/// The number of a block, counted in 64 bits without rolling over. 0 is the opening packet, 1 the first block of the
/// file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockNumber(pub u64);

impl BlockNumber {
    /// The number of the opening packet: 0.
    pub const OPENING: Self = Self(0);
    /// The number of the first block of the file: 1.
    pub const FIRST: Self = Self(1);

    /// The number that stands in a packet for this block.
    pub fn narrow(self, rollover: Rollover) -> WireBlock {
        self.narrow_among(NUMBERS, rollover)
    }

    /// The number that stands in a packet for this block where block numbers roll over after `numbers` of them, for a
    /// model check. In TFTP there are always [`NUMBERS`]: see [`narrow`](Self::narrow).
    pub fn narrow_among(self, numbers: u64, rollover: Rollover) -> WireBlock {
        WireBlock(match rollover {
            Rollover::ToZero => (self.0 % numbers) as u16,
            Rollover::ToOne if self.0 == 0 => 0,
            Rollover::ToOne => ((self.0 - 1) % (numbers - 1)) as u16 + 1,
        })
    }

    /// The block nearest to `near` that has the number `wire` in a packet, where block numbers roll over after `numbers`
    /// of them; `None` where it lies before block 0.
    ///
    /// Windows are shorter than half of the numbers, so the nearest is the one that was meant.
    pub fn widen(wire: WireBlock, near: Self, numbers: u64, rollover: Rollover) -> Option<Self> {
        let (period, there) = match rollover {
            Rollover::ToZero => (numbers, near.0 % numbers),
            Rollover::ToOne if wire.0 == 0 => {
                return (near.0 < numbers / 2).then_some(Self::OPENING);
            }
            Rollover::ToOne => (numbers - 1, u64::from(near.narrow_among(numbers, rollover).0)),
        };
        let ahead = (u64::from(wire.0) + period - there) % period;
        if ahead < period / 2 {
            Some(near + ahead)
        } else {
            near.0.checked_sub(period - ahead).map(Self)
        }
    }
}

impl Add<u64> for BlockNumber {
    type Output = Self;

    fn add(self, blocks: u64) -> Self {
        Self(self.0 + blocks)
    }
}

/// Counts the blocks from an earlier one to this one; zero when the other is not earlier.
impl Sub for BlockNumber {
    type Output = u64;

    fn sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_roll_over_to_zero_or_to_one() {
        let wire = |n, rollover| BlockNumber(n).narrow(rollover).0;
        assert_eq!([65535, 65536, 65537].map(|n| wire(n, Rollover::ToZero)), [65535, 0, 1]);
        assert_eq!(
            [65535, 65536, 131070, 131071].map(|n| wire(n, Rollover::ToOne)),
            [65535, 1, 65535, 1]
        );
    }

    #[test]
    fn widening_undoes_narrowing_anywhere_within_half_a_period() {
        for rollover in [Rollover::ToZero, Rollover::ToOne] {
            for near in (0..200_000).step_by(37).chain(65_530..65_540).chain(131_065..131_075) {
                for distance in [-32766, -300, -2, -1, 0, 1, 2, 299, 32766] {
                    let Some(block) = u64::checked_add_signed(near, distance).map(BlockNumber)
                    else {
                        continue;
                    };
                    // With a roll-over to one, 0 is the opening packet's alone; 1 near 0 is the first block.
                    let seen = BlockNumber::widen(
                        block.narrow(rollover),
                        BlockNumber(near),
                        NUMBERS,
                        rollover,
                    );
                    assert_eq!(seen, Some(block), "near {near} {distance:+} {rollover:?}");
                }
            }
        }
    }

    #[test]
    fn with_a_rollover_to_one_the_number_zero_is_the_opening_packets_alone() {
        let seen =
            |near| BlockNumber::widen(WireBlock(0), BlockNumber(near), NUMBERS, Rollover::ToOne);
        for near in [0, 1, 32_767] {
            assert_eq!(seen(near), Some(BlockNumber::OPENING), "near {near}");
        }
        for near in [32_768, 65_535, 65_536, 131_070] {
            assert_eq!(seen(near), None, "near {near}");
        }
    }

    #[test]
    fn a_number_half_a_period_away_is_an_old_one() {
        let seen = BlockNumber::widen(WireBlock(0), BlockNumber(98_304), NUMBERS, Rollover::ToZero);
        assert_eq!(seen, Some(BlockNumber(65_536)));
    }

    #[test]
    fn what_lies_before_the_opening_packet_is_nothing() {
        assert_eq!(
            BlockNumber::widen(WireBlock(65535), BlockNumber(3), NUMBERS, Rollover::ToZero),
            None
        );
        assert_eq!(
            BlockNumber::widen(WireBlock(65000), BlockNumber(3), NUMBERS, Rollover::ToOne),
            None
        );
    }
}
