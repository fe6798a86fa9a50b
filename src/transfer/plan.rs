//! What leaves next: from a machine's words to packets that lie in one piece.

use super::window::Window;
use crate::proto::{Acknowledgement, BlockNumber, Run};
use crate::wire::Packet;

/// Packets that are about to leave.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) what: What,
    pub(super) count: u64,
    pub(super) again: u64,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// What stands for block 0.
    Opening,
    /// Blocks of the ring.
    Blocks(BlockNumber),
    /// An ACK or an ERROR.
    Small,
}

impl Plan {
    /// As much of `run` as lies in one piece; the rest is queued.
    pub(super) fn of_run(run: Run, window: Option<&Window>, queued: &mut Option<Run>) -> Self {
        let (count, what) = match window {
            Some(window) if run.first > BlockNumber::OPENING => {
                (window.run(run.first, run.count).1, What::Blocks(run.first))
            }
            _ => (1, What::Opening),
        };
        let rest = Run {
            first: run.first + count,
            count: run.count - count,
            again: run.again.saturating_sub(count),
        };
        *queued = (rest.count > 0).then_some(rest);
        Self { what, count, again: run.again.min(count) }
    }

    pub(super) fn of_ack(ack: Acknowledgement, small: &mut Vec<u8>) -> Self {
        let mut what = What::Opening;
        if ack.block > BlockNumber::OPENING {
            what = What::Small;
            small.clear();
            Packet::Ack { block: ack.block.narrow(ack.rollover) }.write(small);
        }
        Self { what, count: 1, again: u64::from(ack.again) }
    }
}
