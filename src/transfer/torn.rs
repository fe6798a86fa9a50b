//! Windows that are torn at the same place, one after the other: the path has no room for them, and their sender does not
//! pace them.

use crate::limits;
use crate::proto::{BlockNumber, Time};
use crate::wire::WindowSize;

/// So many in a row are seldom chance: in one of ten downloads where five blocks of a hundred are lost.
const IN_A_ROW: usize = 5;

/// So many tell where each had at least so many blocks: what fits is wide still, and more of them would not come before
/// something is written.
const LONG_IN_A_ROW: usize = 3;
const LONG: u64 = 24;

/// Nor are so many of the last [`LAST`] chance: a window after a wait finds the path empty, and comes whole.
const OF_THE_LAST: usize = 8;
const LAST: usize = 2 * OF_THE_LAST;

/// Who paces goes back over fewer blocks that came already until a window comes whole.
const TOO_OFTEN: usize = 32;

/// How the windows come, of which the last are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Torn {
    /// How many blocks of each came before the first that was missing; `None` where all came.
    windows: [Option<u64>; LAST],
    count: usize,
    /// The block that was acknowledged last, and the last that came, in order or behind a gap, with its time.
    acknowledged: BlockNumber,
    furthest: BlockNumber,
    came_at: Time,
    /// The last block that came of the window that was torn last. What is acknowledged up to it are gaps that are filled.
    filled_at: BlockNumber,
    /// Acknowledgements in a row that were of less than a window, and blocks that came meanwhile and were there already.
    pieces: usize,
    repeated: usize,
}

impl Torn {
    /// This block came, in order or behind a gap.
    pub(super) fn came(&mut self, now: Time, block: BlockNumber) {
        self.furthest = self.furthest.max(block);
        self.came_at = now;
    }

    /// A block came that was there already.
    pub(super) const fn came_again(&mut self) {
        self.repeated += 1;
    }

    /// All blocks up to this one are acknowledged, in windows of `window` blocks.
    pub(super) fn acknowledged(&mut self, block: BlockNumber, window: WindowSize) {
        let blocks = block - self.acknowledged;
        let torn = (blocks < u64::from(window.get())).then_some(blocks);
        if torn.is_some() {
            self.pieces += 1;
        } else {
            (self.pieces, self.repeated) = (0, 0);
        }
        if self.acknowledged >= self.filled_at {
            self.windows[self.count % LAST] = torn;
            self.count += 1;
            self.filled_at = self.furthest;
        }
        self.acknowledged = block;
    }

    /// The window that the path seems to have room for, where the last were torn at about the same place, or where one was
    /// of which the sender does not find the gaps.
    pub(super) fn fits(&self, now: Time) -> Option<WindowSize> {
        let row = self.last(LAST).take_while(Option::is_some).count();
        let is_silent = now - self.came_at >= limits::SHORTEST_INTERVAL;
        let room = if self.pieces >= IN_A_ROW && (is_silent || self.repeated >= TOO_OFTEN) {
            self.last(row).flatten().max()?
        } else {
            self.torn_alike(row)?
        };
        // Less, for after a wait a path has room for more than it has in a row, and it may be shared.
        let fits = u16::try_from((5 * room / 8).max(1)).ok()?;
        WindowSize::new(fits)
    }

    /// The least that came of windows that were torn at about the same place, where enough were, `row` of them in a row.
    fn torn_alike(&self, row: usize) -> Option<u64> {
        let alike = |windows| {
            let torn = || self.last(windows).flatten();
            let (least, most) = (torn().min()?, torn().max()?);
            // What is lost by chance is lost anywhere.
            (4 * (most - least) <= least + 4).then_some(least)
        };
        let in_a_row = |windows| if row >= windows { alike(windows) } else { None };
        let long = || in_a_row(LONG_IN_A_ROW).filter(|least| *least >= LONG);
        let are_many = self.last(LAST).flatten().count() >= OF_THE_LAST;
        let many = || if are_many { alike(LAST) } else { None };
        in_a_row(IN_A_ROW).or_else(long).or_else(many)
    }

    /// The last windows, up to so many, from the last on.
    fn last(&self, most: usize) -> impl Iterator<Item = Option<u64>> {
        (1..=most.min(self.count)).map(|back| self.windows[(self.count - back) % LAST])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WINDOW: u64 = 64;

    /// What was seen of a download that comes in windows of 64, each followed by silence or by what is behind its gap.
    #[derive(Default)]
    struct Seen {
        torn: Torn,
        now: Time,
        last: u64,
    }

    impl Seen {
        /// So many blocks come in a row, and are acknowledged.
        fn row(&mut self, blocks: u64) -> &mut Self {
            for _ in 0..blocks {
                self.last += 1;
                self.torn.came(self.now, BlockNumber(self.last));
            }
            let window = WindowSize::new(64).expect("a window");
            self.torn.acknowledged(BlockNumber(self.last), window);
            self
        }

        /// A block comes that is so far ahead of what is in order.
        fn ahead(&mut self, blocks: u64) -> &mut Self {
            self.torn.came(self.now, BlockNumber(self.last + blocks));
            self
        }

        fn after(&self, ms: u64) -> Option<u16> {
            self.torn.fits(self.now + Duration::from_millis(ms)).map(WindowSize::get)
        }

        fn fits(&self) -> Option<u16> {
            self.after(0)
        }
    }

    fn fits(windows: &[u64]) -> Option<u16> {
        let mut seen = Seen::default();
        windows.iter().for_each(|blocks| {
            seen.row(*blocks);
        });
        seen.fits()
    }

    #[test]
    fn five_windows_that_are_torn_at_about_the_same_place_tell_what_fits() {
        assert_eq!(fits(&[16, 17, 16, 18, 16]), Some(10));
        assert_eq!(fits(&[1, 1, 1, 1, 2]), Some(1));
        assert_eq!(
            fits(&[WINDOW, 30, 12, 10, 10, 10, 10]),
            Some(6),
            "the first find an empty path"
        );
        assert_eq!(fits(&[10, 11, 10, 10]), None, "four may be chance");
        assert_eq!(fits(&[10, 10, 10, WINDOW, 10, 10]), None, "one came whole");
        assert_eq!(fits(&[10, 40, 3, 25, 10]), None, "as chance has it");
        let last = |blocks| fits(&[10, 10, 10, 10, blocks]);
        assert_eq!([last(13), last(14)], [Some(6), None]);
    }

    #[test]
    fn of_windows_that_are_long_before_they_are_torn_three_tell() {
        assert_eq!(fits(&[24, 25, 24]), Some(15));
        assert_eq!(fits(&[24, 25, 23]), None);
        assert_eq!(fits(&[46, 46]), None);
        assert_eq!(fits(&[46, 30, 46]), None, "as chance has it");
        assert_eq!(fits(&[10, 40, 30, 31, 30]), Some(18), "whatever came before them");
    }

    #[test]
    fn eight_of_sixteen_tell_where_the_others_came_whole() {
        let every_other = |torn: usize| fits(&[10, WINDOW].repeat(torn)[1..]);
        assert_eq!([every_other(8), every_other(9)], [None, Some(6)]);
        let last_in_a_row = [[10, WINDOW].repeat(5), vec![10, 10, 10]].concat();
        assert_eq!(fits(&last_in_a_row), Some(6), "also where the last three came in a row");
        let thinly = [[10, WINDOW].repeat(7), vec![WINDOW, 10, WINDOW]].concat();
        assert_eq!(fits(&thinly), None, "eight of seventeen");
    }

    #[test]
    fn gaps_that_are_filled_one_by_one_are_of_one_window() {
        let mut seen = Seen::default();
        seen.ahead(50).row(10);
        for _ in 0..10 {
            seen.row(4);
        }
        assert_eq!(seen.fits(), None);
        // What is behind them all is of the next.
        seen.row(10).row(10).row(10);
        assert_eq!(seen.fits(), None, "three, and the first");
        assert_eq!(seen.row(10).fits(), Some(6));
    }

    #[test]
    fn who_does_not_find_the_gaps_of_a_window_falls_silent_or_goes_back_again_and_again() {
        let filled = |gaps| {
            let mut seen = Seen::default();
            seen.row(WINDOW).ahead(60).row(16);
            (0..gaps).for_each(|_| {
                seen.row(1);
            });
            seen
        };
        assert_eq!([filled(3).after(200), filled(4).after(200)], [None, Some(10)]);
        assert_eq!(filled(4).after(199), None);
        let going_back = |gaps, blocks| {
            let mut seen = filled(gaps);
            (0..blocks).for_each(|_| seen.torn.came_again());
            seen
        };
        assert_eq!([going_back(4, 31).fits(), going_back(4, 32).fits()], [None, Some(10)]);
        assert_eq!(going_back(3, 32).fits(), None);
        assert_eq!(going_back(4, 32).row(WINDOW).fits(), None, "one came whole");
    }
}
