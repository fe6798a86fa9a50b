//! A file that is sent: from a source into the send ring, and from there as the sender says.

use super::ring::SendRing;
use super::{Burst, Source, netascii};
use crate::limits;
use crate::proto::{Agreed, BlockNumber, Run, Sender, Step, Time};
use crate::wire::{Mode, WireBlock};
use std::io;

pub(super) struct Outgoing {
    pub(super) sender: Sender,
    source: Box<dyn Source>,
    /// Whether the source has to be waited for before it gives more.
    source_waits: bool,
    /// There once the terms are known.
    ring: Option<SendRing>,
    /// What of a run is still to leave: it lies in another piece of the ring, or there was no room for it.
    queued: Option<Run>,
    /// The run that left last.
    leaving: Option<Run>,
    /// Since when there is no room for what is queued.
    held_since: Option<Time>,
}

impl Outgoing {
    pub(super) fn new(mode: Mode, sender: Sender, source: Box<dyn Source>) -> Self {
        let source: Box<dyn Source> = match mode {
            Mode::Octet => source,
            Mode::Netascii => Box::new(netascii::Encoder::new(source)),
        };
        Self {
            sender,
            source,
            source_waits: false,
            ring: None,
            queued: None,
            leaving: None,
            held_since: None,
        }
    }

    /// Lays out the ring: as wide as the window, or so many bytes if that is more.
    pub(super) fn lay_out(&mut self, agreed: &Agreed, read_ahead: usize) {
        let (size, rollover) = (agreed.block_size(), agreed.rollover().unwrap_or_default());
        self.ring = Some(SendRing::new(size, slots(agreed, read_ahead), rollover));
    }

    /// Lays the ring out anew for so many bytes, unless a block in it may be needed again.
    pub(super) fn set_read_ahead(&mut self, agreed: &Agreed, read_ahead: usize) {
        if let Some(ring) = &mut self.ring
            && ring.is_empty_from(self.sender.base())
        {
            ring.resize(slots(agreed, read_ahead));
        }
    }

    /// Whether the window has run out of the ring, and can be filled at once or has nothing more to send. What stands
    /// for block 0 is answered first: a client that only asks for the size costs no read.
    pub(super) fn wants_storage(&self, agreed: &Agreed) -> bool {
        let base = self.sender.base();
        let end = base + u64::from(agreed.window().get());
        let short = |ring: &SendRing| !ring.is_ended() && ring.ready() < end;
        base > BlockNumber::OPENING
            && self.ring.as_ref().is_some_and(short)
            && !(self.source_waits && self.sender.may_send())
    }

    /// Reads what is to be sent next. Tells whether that was done: not where the source has to be waited for and it
    /// may not be. What is there leaves before anything is waited for.
    pub(super) fn storage(&mut self, may_wait: bool) -> io::Result<bool> {
        let Some(ring) = &mut self.ring else { return Ok(true) };
        let base = self.sender.base();
        if self.source_waits && !may_wait {
            return Ok(false);
        }
        loop {
            if self.source_waits {
                let mut once = true;
                let source = &mut self.source;
                ring.fill(base, |bufs| match std::mem::take(&mut once) {
                    true => source.read(bufs).map(Some),
                    false => Ok(None),
                })?;
            }
            self.source_waits = ring.fill(base, |bufs| self.source.try_read(bufs))?;
            self.sender.supply(ring.ready(), ring.is_ended());
            if !self.source_waits || self.sender.may_send() {
                return Ok(true);
            }
            if !may_wait {
                return Ok(false);
            }
        }
    }

    /// Tells the sender of an ACK, and gives the payload bytes that have arrived, as far as the terms are known.
    pub(super) fn handle_ack(&mut self, now: Time, block: WireBlock) -> u64 {
        self.sender.acknowledge(now, block);
        // What could not leave for an error may have been acknowledged since, and its place in the ring be another's.
        self.queued = self.queued.filter(|run| run.first >= self.sender.base());
        self.ring.as_ref().map_or(0, |ring| ring.bytes_before(self.sender.base()))
    }

    /// There was no room for the last `count` packets of the run that was to leave. Gives what they are, if there was one.
    pub(super) fn hold(&mut self, now: Time, count: u64) -> Option<Run> {
        let run = self.leaving.take()?;
        let sent = run.count.saturating_sub(count);
        if sent > 0 || self.held_since.is_none() {
            self.held_since = Some(now);
        }
        let (first, again) = (run.first + sent, run.again.saturating_sub(sent));
        let held = Run { first, count: run.count - sent, again };
        let (behind, behind_again) = self.queued.map_or((0, 0), |run| (run.count, run.again));
        let (count, again) = (held.count + behind, held.again + behind_again);
        self.queued = Some(Run { first, count, again });
        Some(held)
    }

    pub(super) fn poll<'a>(&'a mut self, now: Time, opening: &'a [u8]) -> Step<Burst<'a>> {
        if let Some(since) = self.held_since {
            self.sender.left_late(now);
            if now - since >= limits::HELD {
                // It counts as lost.
                self.queued = None;
            }
            self.held_since = self.held_since.filter(|_| self.queued.is_some());
        }
        let before = self.sender.probed_at();
        let run = match self.queued.take().map_or_else(|| self.sender.poll(now), Step::Transmit) {
            Step::Transmit(run) => run,
            Step::Wait(until) => return Step::Wait(until),
            Step::Done(end) => return Step::Done(end),
        };
        let is_probe = self.sender.probed_at().filter(|at| before != Some(*at)) == Some(now);
        let Some(ring) = self.ring.as_ref().filter(|_| run.first > BlockNumber::OPENING) else {
            self.leaving = None;
            return Step::Transmit(Burst { is_probe, ..Burst::single(opening, run.again > 0) });
        };
        let (bytes, count) = ring.run(run.first, run.count);
        let rest = Run {
            first: run.first + count,
            count: run.count - count,
            again: run.again.saturating_sub(count),
        };
        self.queued = (rest.count > 0).then_some(rest);
        let resent = run.again.min(count);
        self.leaving = Some(Run { first: run.first, count, again: resent });
        Step::Transmit(Burst { bytes, packet: ring.stride(), packets: count, resent, is_probe })
    }
}

fn slots(agreed: &Agreed, read_ahead: usize) -> usize {
    (read_ahead / agreed.block_size().get()).max(usize::from(agreed.window().get()))
}
