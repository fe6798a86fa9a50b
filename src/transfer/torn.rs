//! Windows that are torn at the same place, one after the other: the path has no room for them, and their sender does not
//! pace them.

use crate::wire::WindowSize;

/// So many in a row are seldom chance: in one of a hundred downloads where five blocks of a hundred are lost.
const TORN: usize = 5;

/// The windows that came last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Torn {
    /// How many blocks of each came before the first that was missing.
    blocks: [u64; TORN],
    count: usize,
}

impl Torn {
    /// Of a window of `window` blocks so many came before it was acknowledged.
    pub(super) fn acknowledged(&mut self, blocks: u64, window: WindowSize) {
        if blocks >= u64::from(window.get()) {
            self.count = 0;
            return;
        }
        self.blocks[self.count % TORN] = blocks;
        self.count += 1;
    }

    /// The window that the path seems to have room for, where all of the last were torn at about the same place.
    pub(super) fn fits(&self) -> Option<WindowSize> {
        let (least, most) = (*self.blocks.iter().min()?, *self.blocks.iter().max()?);
        // What is lost by chance is lost anywhere.
        let alike = self.count >= TORN && 2 * (most - least) <= least + 2;
        // A little less, for the path may be shared.
        let fits = u16::try_from((least - least / 8).max(1)).ok()?;
        alike.then(|| WindowSize::new(fits)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(blocks: &[u64]) -> Option<u16> {
        let (mut torn, window) = (Torn::default(), WindowSize::new(64).expect("a window"));
        blocks.iter().for_each(|blocks| torn.acknowledged(*blocks, window));
        torn.fits().map(WindowSize::get)
    }

    #[test]
    fn five_windows_that_are_torn_at_about_the_same_place_tell_what_fits() {
        assert_eq!(fits(&[10, 11, 10, 12, 10]), Some(9));
        assert_eq!(fits(&[1, 1, 1, 1, 2]), Some(1));
        assert_eq!(fits(&[64, 30, 12, 10, 10, 10, 16]), Some(9), "the first find an empty path");
        assert_eq!(fits(&[10, 11, 10, 10]), None, "four may be chance");
        assert_eq!(fits(&[10, 10, 10, 64, 10, 10]), None, "one came whole");
        assert_eq!(fits(&[10, 40, 3, 25, 10]), None, "as chance has it");
        let last = |blocks| fits(&[10, 10, 10, 10, blocks]);
        assert_eq!([last(16), last(17)], [Some(9), None]);
    }
}
