//! What a client takes for the answer to its request.
//!
//! An OACK that cannot be the answer may be meant for somebody who had this port before: the server took a late copy of a
//! request that is long forgotten. Its sender is turned away, and the answer waited for, but not for long and without asking
//! again: it may be the server's own.

use super::{Action, Outcome, Phase, Transfer};
use crate::limits;
use crate::proto::{Disagreement, Time};
use crate::wire::{ErrorCode, Options};

/// What was asked for, and what came that is no answer to it.
pub(super) struct Asking {
    pub(super) offer: Options,
    refused: Option<Refused>,
}

/// An OACK that cannot be the answer: the first, for those that follow change nothing.
struct Refused {
    why: Option<Disagreement>,
    /// The answer is waited for until then.
    until: Time,
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
        if let Phase::Asking(asking) = &mut self.phase {
            let until = now + limits::ANOTHER_ANSWER;
            asking.refused.get_or_insert(Refused { why, until, is_told: false });
        }
    }

    /// The ERROR for the sender of what [`handle`](Self::handle) took last, if that is to be turned away. Given once: a second
    /// ERROR could bring an ICMP "port closed", which looks as if it came from the server.
    pub fn take_refusal(&mut self) -> Option<ErrorCode> {
        let refused = self.refused_mut().filter(|refused| !refused.is_told)?;
        refused.is_told = true;
        Some(ErrorCode::OptionRefused)
    }

    /// Whether an OACK was refused, and the answer is still waited for.
    pub(super) fn waits_for_another(&mut self) -> bool {
        self.refused_mut().is_some()
    }

    /// Waits for the answer after an OACK that was refused. Where none comes, that is how it ends.
    pub(super) fn poll_refused(&mut self, now: Time) -> Option<Action<'static>> {
        let Refused { why, until, .. } = *self.refused_mut()?;
        if now < until {
            return Some(Action::Wait(until));
        }
        self.end(now, Outcome::Disagreement(why));
        Some(Action::Done)
    }

    fn refused_mut(&mut self) -> Option<&mut Refused> {
        match &mut self.phase {
            Phase::Asking(asking) => asking.refused.as_mut(),
            _ => None,
        }
    }
}
