//! Listening in on a transfer: what came to it and what it sent, as it was on the wire.

use crate::proto::Time;
use crate::transfer::Summary;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// Listens in on one transfer.
///
/// It is called on the thread that drives the transfer, which may drive all of them: what may wait is for it to hand on.
pub trait Listener: Send {
    /// A datagram came from the client, or left for it, by the server's time.
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]);

    /// The transfer has its outcome. A client that lost the last ACK of its upload may still be answered after that.
    fn ended(&mut self, summary: &Summary);
}

/// The listener of a session, if it has one.
#[derive(Default)]
pub(super) struct Tap(Option<Mutex<Box<dyn Listener>>>);

impl Tap {
    pub(super) fn new(listener: Option<Box<dyn Listener>>) -> Self {
        Self(listener.map(Mutex::new))
    }

    /// So many bytes were sent, in datagrams of `each` bytes.
    pub(super) fn sent(&self, now: Time, bytes: &[u8], each: usize) {
        self.tell(|listener| {
            let datagrams = bytes.chunks(each.max(1));
            datagrams.for_each(|datagram| listener.packet(now, Way::Out, datagram));
        });
    }

    pub(super) fn heard(&self, now: Time, datagram: &[u8]) {
        self.tell(|listener| listener.packet(now, Way::In, datagram));
    }

    pub(super) fn ended(&self, summary: &Summary) {
        self.tell(|listener| listener.ended(summary));
    }

    fn tell(&self, tell: impl FnOnce(&mut dyn Listener)) {
        if let Some(listener) = &self.0 {
            tell(&mut **listener.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").field(&self.0.is_some()).finish()
    }
}
