//! What a client takes for the answer to its request.
//!
//! An OACK that cannot be the answer may be meant for somebody who had this port before: the server took a late copy of a
//! request that is long forgotten. Its sender is turned away, and the answer still waited for. Who sends such a one again
//! once it was asked again is the server, and means it.

use super::{Outcome, Phase, Transfer};
use crate::proto::{Disagreement, Time};
use crate::wire::{ErrorCode, Options};

/// What was asked for, and what came that is no answer to it.
pub(super) struct Asking {
    pub(super) offer: Options,
    refused: Option<Refused>,
}

/// An OACK that cannot be the answer.
struct Refused {
    why: Option<Disagreement>,
    /// Packets that had left when it came.
    packets: u64,
    /// Whether its sender was turned away.
    is_told: bool,
}

impl Asking {
    pub(super) const fn new(offer: Options) -> Self {
        Self { offer, refused: None }
    }
}

impl Transfer {
    /// Takes an OACK that is not what was asked for.
    pub(super) fn refuse(&mut self, now: Time, why: Option<Disagreement>) {
        let packets = self.summary.packets;
        let Phase::Asking(asking) = &mut self.phase else { return };
        match &asking.refused {
            None => asking.refused = Some(Refused { why, packets, is_told: false }),
            // The same stranger may send it twice.
            Some(refused) if refused.packets == packets => {}
            Some(_) => {
                let outcome = Outcome::Disagreement(why);
                self.fail(now, ErrorCode::OptionRefused, "not what was asked for", outcome);
            }
        }
    }

    /// What is to be said to the sender of what [`handle`](Self::handle) took last, if that is to be turned away. It is said
    /// once: what the network says of a stranger's port is not told apart from what it says of the server's.
    pub fn word_to_stranger(&mut self) -> Option<ErrorCode> {
        let Phase::Asking(asking) = &mut self.phase else { return None };
        let refused = asking.refused.as_mut().filter(|refused| !refused.is_told)?;
        refused.is_told = true;
        Some(ErrorCode::OptionRefused)
    }

    /// How it ends if nothing else comes than an OACK that was refused.
    pub(super) fn refused(&self) -> Option<Outcome> {
        let Phase::Asking(asking) = &self.phase else { return None };
        asking.refused.as_ref().map(|refused| Outcome::Disagreement(refused.why))
    }
}
