//! The reorder buffer: blocks that came before one that is missing in front of them.
//!
//! A sender that is told of a gap sends the whole window again. With these kept, only what was lost must arrive of
//! that, and a second loss costs nothing where the first copy is here.

use crate::limits;
use crate::proto::{Agreed, BlockNumber};
use crate::wire::WireBlock;

/// A ring of payloads, laid out when the first of them comes: a transfer without loss has no use for it. It takes a
/// window's memory at most: a server has set that aside for an upload as well as for a download's ring.
#[derive(Debug, Default)]
pub(super) struct ReorderBuffer {
    payloads: Vec<u8>,
    size: usize,
    slots: Vec<Option<Kept>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    block: BlockNumber,
    wire: WireBlock,
    len: usize,
}

impl ReorderBuffer {
    /// Keeps the payload of `block`, which lies behind the one that is expected, if the ring reaches so far.
    pub(super) fn keep(
        &mut self,
        agreed: &Agreed,
        expected: BlockNumber,
        (block, wire): (BlockNumber, WireBlock),
        payload: &[u8],
    ) {
        if self.slots.is_empty() {
            self.size = agreed.block_size().get();
            let window = usize::from(agreed.window().get());
            let slots = window.min(limits::WINDOW_BYTES / self.size);
            self.slots = vec![None; slots];
            self.payloads = vec![0; slots * self.size];
        }
        if block - expected < self.slots.len() as u64 {
            let at = self.slot(block);
            self.slots[at] = Some(Kept { block, wire, len: payload.len() });
            self.payloads[at * self.size..][..payload.len()].copy_from_slice(payload);
        }
    }

    /// The number and the payload of `block`, if it was kept.
    pub(super) fn find(&self, block: BlockNumber) -> Option<(WireBlock, &[u8])> {
        if self.slots.is_empty() {
            return None;
        }
        let at = self.slot(block);
        let Kept { wire, len, .. } = self.slots[at].filter(|slot| slot.block == block)?;
        Some((wire, &self.payloads[at * self.size..][..len]))
    }

    const fn slot(&self, block: BlockNumber) -> usize {
        (block.0 % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::accept;
    use crate::wire::{BlockSize, Options, TransferOption, WindowSize};

    fn agreed(block_size: BlockSize, window: u16) -> Agreed {
        let window = WindowSize::new(window).expect("a window");
        let asked = Options::NONE
            .with(TransferOption::BlockSize(block_size))
            .with(TransferOption::WindowSize(window));
        accept(&asked, &asked).expect("what was asked")
    }

    #[test]
    fn the_ring_reaches_as_far_as_a_windows_memory() {
        let agreed = agreed(BlockSize::MAX, 64);
        let slots = (limits::WINDOW_BYTES / BlockSize::MAX.get()) as u64;
        let (mut buffer, expected) = (ReorderBuffer::default(), BlockNumber(10));
        for ahead in [1, slots - 1, slots, slots + 1] {
            let block = expected + ahead;
            buffer.keep(&agreed, expected, (block, WireBlock(block.0 as u16)), &[ahead as u8]);
            let kept = buffer.find(block).map(|(_, payload)| payload);
            assert_eq!(kept, (ahead < slots).then_some(&[ahead as u8][..]), "{ahead} of {slots}");
        }
    }

    #[test]
    fn each_block_comes_back_as_it_was_kept_until_another_takes_its_place() {
        let agreed = agreed(BlockSize::MIN, 4);
        let mut buffer = ReorderBuffer::default();
        assert_eq!(buffer.find(BlockNumber(2)), None);
        for block in [2, 3, 4] {
            let payload = [block as u8; 8];
            let kept = &payload[..block as usize];
            buffer.keep(
                &agreed,
                BlockNumber(1),
                (BlockNumber(block), WireBlock(block as u16)),
                kept,
            );
        }
        for block in [2, 3, 4] {
            let kept = (WireBlock(block as u16), &[block as u8; 8][..block as usize]);
            assert_eq!(buffer.find(BlockNumber(block)), Some(kept));
        }
        buffer.keep(&agreed, BlockNumber(5), (BlockNumber(6), WireBlock(6)), b"six");
        assert_eq!(buffer.find(BlockNumber(2)), None);
        assert_eq!(buffer.find(BlockNumber(6)), Some((WireBlock(6), &b"six"[..])));
    }
}
