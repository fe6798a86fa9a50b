//! Blocks that came before the one that is missing in front of them.
//!
//! A sender that is told of a gap sends the whole window again. With these kept, only what was lost must arrive of
//! that, and a second loss costs nothing where the first copy is here.

use crate::limits;
use crate::proto::{Agreed, BlockNumber};
use crate::wire::WireBlock;

/// A ring of payloads, laid out when the first of them comes: a transfer without loss has no use for it. It takes a
/// window's memory at most: a server has set that aside for an upload as well as for a download's ring.
#[derive(Debug, Default)]
pub(super) struct Early {
    payloads: Vec<u8>,
    size: usize,
    slots: Vec<Option<Slot>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    block: BlockNumber,
    wire: WireBlock,
    len: usize,
}

impl Early {
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
            self.slots[at] = Some(Slot { block, wire, len: payload.len() });
            self.payloads[at * self.size..][..payload.len()].copy_from_slice(payload);
        }
    }

    /// The number and the payload of `block`, if it was kept.
    pub(super) fn find(&self, block: BlockNumber) -> Option<(WireBlock, &[u8])> {
        if self.slots.is_empty() {
            return None;
        }
        let at = self.slot(block);
        let Slot { wire, len, .. } = self.slots[at].filter(|slot| slot.block == block)?;
        Some((wire, &self.payloads[at * self.size..][..len]))
    }

    const fn slot(&self, block: BlockNumber) -> usize {
        (block.0 % self.slots.len() as u64) as usize
    }
}
