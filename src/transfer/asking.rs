//! What a client takes for the answer to its request.
//!
//! An OACK that cannot be the answer may be meant for somebody who had this port before: the server took a late copy of a
//! request that is long forgotten. Its sender is turned away, and the answer waited for. Where options were asked for that is
//! not for long and without asking again: it may be the server's own. Where none were, it is no server's answer.

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
    /// The answer is waited for until then, if not as if nothing had come.
    until: Option<Time>,
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
            let until = (asking.offer != Options::NONE).then(|| now + limits::ANOTHER_ANSWER);
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

    /// Waits for the answer to a request with options after an OACK that was refused. Where none comes, that is how it ends.
    pub(super) fn poll_refused(&mut self, now: Time) -> Option<Action<'static>> {
        let until = self.refused_mut()?.until?;
        if now < until {
            return Some(Action::Wait(until));
        }
        let silent = self.silent();
        self.end(now, silent);
        Some(Action::Done)
    }

    /// How it ends if nothing else comes.
    pub(super) fn silent(&mut self) -> Outcome {
        self.refused_mut().map_or(Outcome::Silent, |refused| Outcome::Disagreement(refused.why))
    }

    fn refused_mut(&mut self) -> Option<&mut Refused> {
        match &mut self.phase {
            Phase::Asking(asking) => asking.refused.as_mut(),
            _ => None,
        }
    }
}
