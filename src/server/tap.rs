//! Who listens in on transfers.

use super::guard::guard;
use crate::net::{Listener, Way};
use crate::proto::Time;
use crate::query::Query;
use crate::transfer::Summary;
use std::net::SocketAddr;

/// Listens in on transfers, packet by packet.
pub trait Tap: Send + Sync {
    /// The listener of a transfer that begins, which was asked for at `asked` and is answered from `answers`; without one
    /// it costs nothing. The request itself has come already.
    fn listen(
        &self,
        query: &Query,
        asked: SocketAddr,
        answers: SocketAddr,
    ) -> Option<Box<dyn Listener>>;
}

/// A listener whose panic ends its listening, and no transfer.
pub(super) struct Guarded(Option<Box<dyn Listener>>);

impl Guarded {
    /// The listener for this transfer, if `tap` wants to hear of it.
    pub(super) fn listen(
        tap: &dyn Tap,
        query: &Query,
        asked: SocketAddr,
        answers: SocketAddr,
    ) -> Option<Box<dyn Listener>> {
        let listener = guard(|| tap.listen(query, asked, answers)).ok().flatten()?;
        Some(Box::new(Self(Some(listener))))
    }

    fn tell(&mut self, tell: impl FnOnce(&mut dyn Listener)) {
        let Some(mut listener) = self.0.take() else { return };
        let told = guard(|| {
            tell(&mut *listener);
            listener
        });
        self.0 = told.ok();
    }
}

impl Listener for Guarded {
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]) {
        self.tell(|listener| listener.packet(now, way, datagram));
    }

    fn ended(&mut self, summary: &Summary) {
        self.tell(|listener| listener.ended(summary));
    }
}
