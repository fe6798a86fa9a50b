//! What the owner of a transfer may set: what it knows of the path, how much is kept in memory, how fast blocks may leave.

use super::{Machine, Transfer};
use crate::proto::Allowance;
use crate::wire::BlockSize;

impl Transfer {
    /// Says which is the largest block that travels to the peer in one packet, before the first block leaves: windows of
    /// larger ones are paced by their packets. Without this call it is that of an Ethernet.
    pub fn set_path_block(&mut self, size: BlockSize) {
        if let Machine::Sending(outgoing) = &mut self.machine {
            outgoing.sender.set_path_block(size);
        }
    }

    /// Lets it keep so many bytes between the disk and the network beside its window: a sender in lock-step reads so far
    /// ahead, unless there are blocks under way that may be needed again, and a receiver writes so far behind. For a client
    /// that has not proven its address a server begins without.
    pub fn set_buffer(&mut self, bytes: usize) {
        match &mut self.machine {
            Machine::Sending(outgoing) => outgoing.set_read_ahead(&self.summary.agreed, bytes),
            Machine::Receiving(incoming) => incoming.set_piece(bytes),
        }
    }

    /// Says that who drives it always calls [`run_storage`](Self::run_storage) itself, and hands nothing over: a receiver in
    /// lock-step then writes a large block while the next one comes.
    pub const fn write_itself(&mut self) {
        if let Machine::Receiving(incoming) = &mut self.machine {
            incoming.write_itself();
        }
    }

    /// Says what a sender may send at its next [`poll`](Self::poll), where others share a rate with it; the rate of its
    /// own timing holds as well.
    pub fn set_allowance(&mut self, allowance: Allowance) {
        if let Machine::Sending(outgoing) = &mut self.machine {
            outgoing.sender.set_allowance(allowance);
        }
    }
}
