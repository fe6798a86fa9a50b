//! The receiver: the side that collects the blocks, in a read the client and in a write the server.

use super::{Agreed, BlockNumber, End, NUMBERS, Rto, Step, Time, Timing};
use crate::limits;
use crate::wire::{Rollover, WindowSize, WireBlock};
use core::time::Duration;

/// What a block is that came, and so what to do with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// The block is the next one: store its payload.
    Next,
    /// The block, whose number this is, lies behind a gap and no further ahead than a window: its payload can be kept,
    /// and the block handed on once more when it is the one that is [expected](Receiver::expected). Windows wider than
    /// a quarter of [`NUMBERS`] have no early blocks.
    Early(BlockNumber),
    /// The block is another one: drop it.
    Other,
}

/// An acknowledgement to send: an ACK, or for block 0 what stands for it (a request or an OACK, perhaps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledgement {
    /// The last block in sequence: all blocks up to it have come.
    pub block: BlockNumber,
    /// How the block's number is [narrowed](BlockNumber::narrow).
    pub rollover: Rollover,
    /// Whether this acknowledgement has been sent before.
    pub again: bool,
}

/// The machine that collects blocks in order and acknowledges them (RFC 1350 § 2, RFC 7440).
///
/// Its owner hands on blocks ([`arrive`](Self::arrive)) and obeys [`poll`](Self::poll) until it says to wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receiver {
    window: WindowSize,
    /// Known from the start when it was negotiated, else from the block that follows 65,535.
    rollover: Option<Rollover>,
    numbers: u64,
    rto: Rto,
    /// The block that is expected.
    next: BlockNumber,
    /// The block that was acknowledged last; none before what stands for block 0 went out.
    acked: Option<BlockNumber>,
    /// Whether what stood for block 0 at first has been answered.
    opened: bool,
    /// Whether an acknowledgement must go out.
    ack_due: bool,
    /// Whether a gap or a duplicate has had its acknowledgement since the last progress.
    gap_acked: bool,
    /// Blocks before this one come once more, for a gap was told: as duplicates they do not say that an
    /// acknowledgement was lost.
    resent_before: BlockNumber,
    /// The block that lies farthest behind a gap, and the one behind it that came last; block 0 where there is none.
    furthest: BlockNumber,
    latest: BlockNumber,
    /// Whether a gap that was told has been filled since the last acknowledgement, with blocks behind it.
    gap_filled: bool,
    /// Whether nothing has come since such a gap was filled.
    just_filled: bool,
    /// Whether the sender went on behind the gap that it filled last, in place of sending again what lay behind it.
    goes_on: bool,
    /// Whether the last block has come.
    ended: bool,
    /// How many of the peer's intervals to dally after the last acknowledgement (RFC 1350 § 6, dallying).
    dally: u32,
    /// When an acknowledgement went out that nothing but the window's end caused: the next block answers it, and
    /// measures a round trip.
    trip_began: Option<Time>,
    /// The last acknowledgement went out once more, for nothing had come since this time.
    silent_since: Option<Time>,
    /// Whether there was such a probe since the last progress: each stall has one.
    probe_done: bool,
    sent_at: Time,
    /// When a block came last, whichever it was.
    arrived_at: Time,
    progress_at: Time,
}

impl Receiver {
    /// A receiver that begins by sending what stands for block 0. After its last acknowledgement it dallies for `dally`
    /// intervals of the peer's, to answer a repeated last block (RFC 1350 § 6).
    pub fn new(now: Time, timing: Timing, agreed: &Agreed, dally: u32) -> Self {
        let mut receiver = Self {
            window: WindowSize::LOCKSTEP,
            rollover: None,
            numbers: NUMBERS,
            rto: Rto::new(timing),
            next: BlockNumber::FIRST,
            acked: None,
            opened: false,
            ack_due: true,
            gap_acked: false,
            resent_before: BlockNumber::OPENING,
            furthest: BlockNumber::OPENING,
            latest: BlockNumber::OPENING,
            gap_filled: false,
            just_filled: false,
            goes_on: false,
            ended: false,
            dally,
            trip_began: None,
            silent_since: None,
            probe_done: false,
            sent_at: now,
            arrived_at: now,
            progress_at: now,
        };
        receiver.agree(agreed);
        receiver
    }

    /// Makes what stands for block 0 a question, as a client's request is: nobody else repeats anything before it is answered.
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.rto = self.rto.asking();
        self
    }

    /// Makes block numbers roll over after `numbers` of them, which a model check can reach; without this call they
    /// do so after [`NUMBERS`], as TFTP has it.
    #[must_use]
    pub const fn among(mut self, numbers: u64) -> Self {
        self.numbers = numbers;
        self
    }

    /// Sets the terms, when they become known after the start: by a server's OACK to a client's RRQ.
    pub fn agree(&mut self, agreed: &Agreed) {
        self.window = agreed.window();
        self.rollover = agreed.rollover();
        self.rto.set_negotiated(agreed.interval());
    }

    /// Says that what stood for block 0 was answered by something other than block 1, as a client's RRQ is by an OACK.
    /// What stands for it from now on, as an ACK 0 does then, must go out.
    pub fn opened(&mut self, now: Time) {
        self.measure(now);
        self.rto.progress(Duration::ZERO);
        self.progress_at = now;
        self.opened = true;
        self.acked = None;
        self.gap_acked = false;
        self.ack_due = true;
    }

    /// Whether the peer has answered: by a block, or as [`opened`](Self::opened) was told.
    pub fn is_answered(&self) -> bool {
        self.opened || self.has_block()
    }

    fn has_block(&self) -> bool {
        self.next > BlockNumber::FIRST
    }

    /// The number of the block that comes next.
    pub const fn expected(&self) -> BlockNumber {
        self.next
    }

    /// Whether the last block has come.
    pub const fn has_last_block(&self) -> bool {
        self.ended
    }

    /// Whether an acknowledgement must go out: the next [`poll`](Self::poll) gives it.
    pub const fn owes_ack(&self) -> bool {
        self.ack_due
    }

    /// Takes a block's number and tells what block it is; `last` says that it is shorter than the block size, which ends
    /// the file.
    pub fn arrive(&mut self, now: Time, wire: WireBlock, last: bool) -> Arrival {
        let Some(block) = self.widen(wire) else { return Arrival::Other };
        let quiet = now - core::mem::replace(&mut self.arrived_at, now);
        if core::mem::take(&mut self.just_filled) {
            self.goes_on = block >= self.next;
        }
        if block != self.next || self.ended {
            self.out_of_place(now, block, quiet);
            if !self.is_early(block) {
                return Arrival::Other;
            }
            self.latest = block;
            self.furthest = self.furthest.max(block);
            return Arrival::Early(block);
        }
        self.measure(now);
        self.rto.progress(Duration::ZERO);
        self.next = block + 1;
        self.progress_at = now;
        (self.silent_since, self.probe_done) = (None, false);
        let told = core::mem::take(&mut self.gap_acked);
        if self.furthest > block {
            self.gap_filled |= told;
        } else {
            (self.furthest, self.latest) = (BlockNumber::OPENING, BlockNumber::OPENING);
        }
        self.ended = last;
        self.ack_due = last || self.unacknowledged() >= u64::from(self.window.get());
        Arrival::Next
    }

    /// Whether it lies behind a gap, and for certain: a copy of a block two windows ago must not pass for one ahead.
    fn is_early(&self, block: BlockNumber) -> bool {
        let (ahead, window) = (block - self.next, u64::from(self.window.get()));
        !self.ended && ahead > 0 && ahead < window && 4 * window <= self.numbers
    }

    /// Blocks that came since the last acknowledgement.
    fn unacknowledged(&self) -> u64 {
        self.next - self.acked.unwrap_or_default() - 1
    }

    /// Finds the block that is meant, and with it how this sender rolls over.
    fn widen(&mut self, wire: WireBlock) -> Option<BlockNumber> {
        let after_rollover = BlockNumber(self.numbers);
        if self.rollover.is_none() && self.next == after_rollover {
            // In lock-step only this block can follow 65,535, so its number tells. In a window a 1 may be the block
            // after a lost 0, and all who send windows roll over to 0.
            self.rollover = match wire.0 {
                0 => Some(Rollover::ToZero),
                1 if self.window == WindowSize::LOCKSTEP => Some(Rollover::ToOne),
                _ => None,
            };
        }
        BlockNumber::widen(wire, self.next, self.numbers, self.rollover.unwrap_or_default())
    }

    /// A gap (a later block) or a duplicate (an earlier one), after no block came for a while.
    fn out_of_place(&mut self, now: Time, block: BlockNumber, quiet: Duration) {
        let duplicate = block < self.next;
        // A duplicate while blocks wait for their acknowledgement is the front of a repeated window: what follows
        // it brings the end of the window, and an acknowledgement now would tear that one too.
        let more_follows = duplicate && self.unacknowledged() > 0;
        let since = now - self.sent_at;
        // The sender went back, or sent its last block once more. What comes again for an acknowledgement is here a round
        // trip later: if that told of a gap, what fills it went out in front of this and is lost once more. What was taken
        // already comes again for no acknowledgement, when it was not heard: after silence.
        let again = if self.window == WindowSize::LOCKSTEP {
            since >= self.rto.echo_span()
        } else if duplicate {
            quiet >= self.rto.probe_span().unwrap_or(limits::ECHO_SPAN)
        } else {
            // After silence it is a probe, which asks what is missing.
            let trip = self.rto.smoothed();
            let is_probe = quiet >= (trip + trip / 2).max(limits::SHORTEST_PROBE / 2);
            (block <= self.latest || self.goes_on || is_probe) && since >= trip
        };
        let told = self.gap_acked || duplicate && block < self.resent_before;
        let beyond_the_end = self.ended && !duplicate;
        if (!told || again) && !more_follows && !beyond_the_end {
            self.tell_gap();
            if !duplicate {
                self.resent_before = self.next + u64::from(self.window.get());
            }
        }
    }

    fn tell_gap(&mut self) {
        self.gap_acked = true;
        self.repeat();
    }

    /// Says that the peer has not seen the last acknowledgement, because it repeated its request: it goes out again.
    pub fn repeat(&mut self) {
        self.ack_due = true;
        self.trip_began = None;
    }

    /// Says that an OACK came again, so that the acknowledgement of block 0 was lost: it is answered like a duplicate
    /// block.
    pub fn opening_repeated(&mut self, now: Time) {
        if !self.has_block() {
            let quiet = now - self.sent_at;
            self.out_of_place(now, BlockNumber::OPENING, quiet);
        }
    }

    fn measure(&mut self, now: Time) {
        if let Some(at) = self.trip_began.take() {
            self.rto.sample(now - at);
        }
    }

    /// What to do now: an acknowledgement to send, or a time to wait for. `now` must never be before that of an earlier
    /// call.
    pub fn poll(&mut self, now: Time) -> Step<Acknowledgement> {
        let gap_filled = core::mem::take(&mut self.gap_filled);
        if gap_filled {
            // What was kept behind the gap need not come again, or there is another gap.
            self.ack_due = true;
            self.gap_acked = self.next <= self.furthest && !self.ended;
            self.just_filled = true;
        }
        if self.ack_due {
            self.silent_since = None;
        } else if let Some(step) = self.wait(now) {
            return step;
        }
        let block = BlockNumber(self.next.0 - 1);
        let first_time = self.acked.is_none_or(|acked| block > acked);
        // What tells of a gap, or of silence, may be crossed by the block that it waits for.
        let waits_for_answer = first_time && !self.gap_acked && !gap_filled && !self.ended;
        self.trip_began = waits_for_answer.then_some(now);
        self.ack_due = false;
        self.acked = Some(block);
        self.sent_at = now;
        let rollover = self.rollover.unwrap_or_default();
        Step::Transmit(Acknowledgement { block, rollover, again: !first_time })
    }

    /// What to wait for; `None` when the last acknowledgement must go out again.
    fn wait(&mut self, now: Time) -> Option<Step<Acknowledgement>> {
        let patience_ends = self.progress_at + self.rto.patience(self.is_answered());
        if self.ended {
            let dally = (self.dally * self.rto.peer_interval()).min(limits::LONGEST_DALLY);
            let until = (self.sent_at + dally).min(patience_ends);
            return Some(if now >= until { Step::Done(End::Complete) } else { Step::Wait(until) });
        }
        if now >= patience_ends {
            return Some(Step::Done(End::Silent));
        }
        // Blocks that arrive in sequence are as good as an answer.
        let heard_at = self.sent_at.max(self.progress_at);
        let probed_at = self.silent_since.map(|_| self.sent_at);
        let resend_at = self.rto.resend_at(self.silent_since.unwrap_or(heard_at), probed_at);
        let probe_at = self.probe_span().map(|span| heard_at.max(self.arrived_at) + span);
        let probe_at = probe_at.filter(|at| !self.probe_done && *at < resend_at);
        if now < probe_at.unwrap_or(resend_at) {
            return Some(Step::Wait(probe_at.unwrap_or(resend_at).min(patience_ends)));
        }
        if now >= resend_at {
            self.rto.back_off();
            self.silent_since = None;
        } else {
            (self.silent_since, self.probe_done) = (Some(heard_at), true);
        }
        self.gap_acked = true;
        None
    }

    /// How long to wait for a block before the last acknowledgement goes out once more, once a round trip was measured.
    fn probe_span(&self) -> Option<Duration> {
        let span = self.rto.probe_span()?;
        Some(if self.window == WindowSize::LOCKSTEP {
            // Before that the sender has to take it for an echo.
            span.max(self.rto.echo_span())
        } else {
            // The sender's own probe comes first.
            span + span / 2
        })
    }

    /// The smoothed round trip, once one was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.rto.round_trip()
    }

    /// How the transfer ends when the peer is gone now.
    pub const fn lost(&self) -> End {
        if self.ended { End::Complete } else { End::Silent }
    }
}

#[cfg(test)]
mod tests;
