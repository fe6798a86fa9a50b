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
            (block <= self.latest || self.goes_on) && since >= self.rto.smoothed()
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

    /// How the transfer ends when the peer is gone now.
    pub const fn lost(&self) -> End {
        if self.ended { End::Complete } else { End::Silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::negotiate::{accept, windowed};
    use crate::wire::{Options, TransferOption};
    use core::num::NonZeroU8;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    fn receiver(window: u16) -> Receiver {
        let mut receiver = Receiver::new(ms(0), Timing::default(), &windowed(window), 2);
        assert_eq!(acks(&mut receiver, ms(0)), Some(0));
        receiver
    }

    fn acks(receiver: &mut Receiver, now: Time) -> Option<u64> {
        match receiver.poll(now) {
            Step::Transmit(ack) => Some(ack.block.0),
            _ => None,
        }
    }

    fn arrive(receiver: &mut Receiver, at: u64, block: u16) -> Option<u64> {
        receiver.arrive(ms(at), WireBlock(block), false);
        acks(receiver, ms(at))
    }

    #[test]
    fn acknowledges_at_the_end_of_the_window() {
        let mut receiver = receiver(4);
        assert_eq!(
            [1, 2, 3, 4, 5].map(|n| arrive(&mut receiver, 1, n)),
            [None, None, None, Some(4), None]
        );
    }

    #[test]
    fn what_was_to_fill_a_gap_and_is_lost_is_told_once_more_when_the_sender_has_gone_on() {
        let filled = |then| {
            let mut receiver = receiver(8);
            assert_eq!([1, 3].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1)]);
            assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
            kept(&mut receiver, 2, 3);
            assert_eq!(acks(&mut receiver, ms(2)), Some(3));
            assert_eq!(arrive(&mut receiver, 2, then), None);
            receiver
        };
        let mut receiver = filled(4);
        assert_eq!(arrive(&mut receiver, 3, 6), Some(4));
        assert_eq!(arrive(&mut receiver, 3, 7), None, "sooner than what was sent behind it");
        assert_eq!([8, 9].map(|n| arrive(&mut receiver, 4, n)), [Some(4), None]);
        let mut receiver = filled(3);
        assert_eq!([4, 6].map(|n| arrive(&mut receiver, 3, n)), [None, Some(4)]);
        assert_eq!(arrive(&mut receiver, 4, 7), None, "this one goes back, and sends it again");
    }

    #[test]
    fn tells_of_a_gap_once_and_counts_the_window_from_there() {
        let mut receiver = receiver(4);
        assert_eq!([1, 3, 4].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1), None]);
        assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
        [3, 4].into_iter().for_each(|n| kept(&mut receiver, 2, n));
        assert_eq!(acks(&mut receiver, ms(2)), Some(4), "these need not come again");
        assert_eq!([5, 6, 7, 8].map(|n| arrive(&mut receiver, 3, n)), [None, None, None, Some(8)]);
    }

    #[test]
    fn a_gap_behind_the_one_that_was_filled_is_told_at_once() {
        let mut receiver = receiver(8);
        assert_eq!([1, 3, 5].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1), None]);
        assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
        kept(&mut receiver, 2, 3);
        assert_eq!(acks(&mut receiver, ms(2)), Some(3), "4 is missing");
        assert_eq!(arrive(&mut receiver, 2, 6), None, "and that was told");
    }

    #[test]
    fn a_block_behind_a_gap_that_comes_again_says_that_what_fills_it_is_lost_again() {
        let mut receiver = receiver(8);
        assert_eq!(arrive(&mut receiver, 20, 1), None, "a round trip of 20 ms");
        assert_eq!([3, 4].map(|n| arrive(&mut receiver, 21, n)), [Some(1), None]);
        assert_eq!(arrive(&mut receiver.clone(), 40, 3), None, "too soon for an answer");
        assert_eq!(arrive(&mut receiver.clone(), 41, 5), None, "it did not come again");
        assert_eq!(arrive(&mut receiver, 41, 3), Some(1));
    }

    #[test]
    fn silence_has_the_last_acknowledgement_sent_once_more_and_then_by_the_timer() {
        for (window, probe) in [(4, 15), (1, 50)] {
            let mut receiver = receiver(window);
            for block in 1..=window {
                receiver.arrive(ms(2), WireBlock(block), false);
            }
            let last = u64::from(window);
            assert_eq!(acks(&mut receiver, ms(2)), Some(last));
            assert_eq!(receiver.poll(ms(3)), Step::Wait(ms(2 + probe)));
            assert_eq!(acks(&mut receiver, ms(2 + probe)), Some(last));
            assert_eq!(receiver.poll(ms(3 + probe)), Step::Wait(ms(202 + probe)));
            assert_eq!(acks(&mut receiver, ms(202 + probe)), Some(last));
        }
    }

    #[test]
    fn blocks_that_come_although_they_came_before_are_no_silence() {
        let mut receiver = receiver(4);
        for block in 1..=4 {
            receiver.arrive(ms(2), WireBlock(block), false);
        }
        assert_eq!(acks(&mut receiver, ms(2)), Some(4));
        assert_eq!(arrive(&mut receiver, 10, 3), Some(4));
        assert_eq!(arrive(&mut receiver, 14, 4), None);
        assert_eq!(receiver.poll(ms(14)), Step::Wait(ms(29)));
    }

    #[test]
    fn an_acknowledgement_of_a_gap_measures_no_round_trip() {
        let mut receiver = receiver(4);
        assert_eq!([1, 3].map(|n| arrive(&mut receiver, 400, n)), [None, Some(1)]);
        let measured = receiver.rto.interval();
        assert_eq!(
            receiver.arrive(ms(401), WireBlock(2), false),
            Arrival::Next,
            "it was only late"
        );
        kept(&mut receiver, 401, 3);
        assert_eq!(acks(&mut receiver, ms(401)), Some(3));
        assert_eq!(receiver.rto.interval(), measured);
    }

    /// Hands on a block that was kept.
    fn kept(receiver: &mut Receiver, at: u64, block: u16) {
        assert_eq!(receiver.expected(), BlockNumber(block.into()));
        assert_eq!(receiver.arrive(ms(at), WireBlock(block), false), Arrival::Next);
    }

    #[test]
    fn what_lies_behind_a_gap_can_be_kept_as_far_as_a_window_reaches() {
        let mut receiver = receiver(4);
        let early = |n| Arrival::Early(BlockNumber(n));
        assert_eq!(receiver.arrive(ms(1), WireBlock(4), false), early(4));
        assert_eq!(receiver.arrive(ms(1), WireBlock(5), false), Arrival::Other);
        assert_eq!(receiver.arrive(ms(1), WireBlock(2), false), early(2));
        assert_eq!(receiver.arrive(ms(1), WireBlock(1), true), Arrival::Next);
        assert_eq!(receiver.arrive(ms(1), WireBlock(3), false), Arrival::Other, "behind the end");
    }

    #[test]
    fn nothing_is_kept_where_a_window_is_more_than_a_quarter_of_the_numbers() {
        let far = |window| receiver(window).arrive(ms(1), WireBlock(3), false);
        assert_eq!(far(16_384), Arrival::Early(BlockNumber(3)));
        assert_eq!(far(16_385), Arrival::Other);
    }

    #[test]
    fn what_comes_again_because_of_a_gap_is_no_sign_of_a_lost_acknowledgement() {
        let mut receiver = receiver(4);
        assert_eq!([2, 3, 4].map(|n| arrive(&mut receiver, 1, n)), [Some(0), None, None]);
        assert_eq!(receiver.arrive(ms(2), WireBlock(1), false), Arrival::Next);
        [2, 3, 4].into_iter().for_each(|n| kept(&mut receiver, 2, n));
        assert_eq!(acks(&mut receiver, ms(2)), Some(4));
        assert_eq!([2, 3, 4].map(|n| arrive(&mut receiver, 2, n)), [None; 3]);
        assert_eq!(arrive(&mut receiver.clone(), 3, 6), Some(4), "another gap");
        assert_eq!(arrive(&mut receiver, 502, 1), Some(4), "the sender's time-out");
    }

    #[test]
    fn a_duplicate_is_answered_once_and_again_when_it_is_the_peers_timer() {
        let mut receiver = receiver(1);
        assert_eq!(arrive(&mut receiver, 1, 1), Some(1));
        assert_eq!(arrive(&mut receiver, 2, 1), Some(1));
        assert_eq!(arrive(&mut receiver, 51, 1), None, "49 ms after the last ACK");
        assert_eq!(receiver.clone().arrive(ms(52), WireBlock(1), false), Arrival::Other);
        assert_eq!(arrive(&mut receiver, 52, 1), Some(1), "50 ms after the last ACK");
    }

    #[test]
    fn the_front_of_a_repeated_window_is_not_torn_by_an_acknowledgement() {
        let mut receiver = receiver(4);
        assert_eq!([1, 2].map(|n| arrive(&mut receiver, 1, n)), [None, None]);
        assert_eq!([1, 2, 3, 4].map(|n| arrive(&mut receiver, 9, n)), [None, None, None, Some(4)]);
    }

    #[test]
    fn dallies_for_two_intervals_of_the_peer_and_answers_the_last_block_again() {
        let asked = Options::NONE.with(TransferOption::Timeout(NonZeroU8::MIN.saturating_add(2)));
        let three = accept(&asked, &asked).expect("what was asked");
        for (agreed, dallies) in [(three, 6000), (Agreed::default(), 10_000)] {
            let mut receiver = Receiver::new(ms(0), Timing::default(), &agreed, 2);
            assert_eq!(acks(&mut receiver, ms(0)), Some(0));
            assert_eq!(receiver.arrive(ms(10), WireBlock(1), true), Arrival::Next);
            assert_eq!(acks(&mut receiver, ms(10)), Some(1));
            assert_eq!(receiver.poll(ms(5011)), Step::Wait(ms(10 + dallies)));
            assert_eq!(arrive(&mut receiver, 5011, 1), Some(1), "atftp and tftp-hpa: 5 s");
            let end = 5011 + dallies;
            assert_eq!(receiver.poll(ms(end - 1)), Step::Wait(ms(end)));
            assert_eq!(receiver.poll(ms(end)), Step::Done(End::Complete));
        }
    }

    #[test]
    fn follows_a_rollover_to_zero_or_to_one() {
        for (after, then) in [(0, 1), (1, 2)] {
            let mut receiver = receiver(1);
            for block in 1..=65535 {
                assert_eq!(receiver.arrive(ms(1), WireBlock(block), false), Arrival::Next);
            }
            assert_eq!(receiver.arrive(ms(1), WireBlock(after), false), Arrival::Next);
            assert_eq!(receiver.arrive(ms(1), WireBlock(then), false), Arrival::Next);
            assert_eq!(receiver.next, BlockNumber(65538));
        }
    }

    #[test]
    fn in_a_window_a_one_after_65535_is_a_gap_not_a_rollover() {
        let mut receiver = receiver(4);
        for block in 1..=65535 {
            receiver.arrive(ms(1), WireBlock(block), false);
        }
        let behind = Arrival::Early(BlockNumber(65537));
        assert_eq!(receiver.arrive(ms(1), WireBlock(1), false), behind);
        assert_eq!(receiver.arrive(ms(1), WireBlock(0), false), Arrival::Next);
    }

    #[test]
    fn where_a_rollover_to_one_was_agreed_no_zero_changes_it() {
        let to_one = Options::NONE.with(TransferOption::Rollover(Rollover::ToOne));
        let agreed = accept(&to_one, &to_one).expect("what was asked");
        let mut receiver = Receiver::new(ms(0), Timing::default(), &agreed, 2);
        for block in 1..=65535 {
            assert_eq!(receiver.arrive(ms(1), WireBlock(block), false), Arrival::Next);
        }
        assert_eq!(receiver.arrive(ms(1), WireBlock(0), false), Arrival::Other);
        assert_eq!(receiver.arrive(ms(1), WireBlock(1), false), Arrival::Next);
    }

    #[test]
    fn an_oack_is_an_answer_and_earns_patience() {
        let timing = Timing { unanswered: Duration::from_secs(2), ..Timing::default() };
        let mut silent = Receiver::new(ms(0), timing, &Agreed::default(), 0);
        let mut opened = silent.clone();
        opened.opened(ms(0));
        let mut answered = silent.clone();
        answered.arrive(ms(0), WireBlock(1), false);
        for receiver in [&mut silent, &mut opened, &mut answered] {
            assert!(acks(receiver, ms(0)).is_some());
        }
        assert!(!matches!(silent.poll(ms(1999)), Step::Done(_)));
        assert_eq!(silent.poll(ms(2000)), Step::Done(End::Silent));
        for receiver in [&mut opened, &mut answered] {
            assert!(!matches!(receiver.poll(ms(29_999)), Step::Done(_)));
            while matches!(receiver.poll(ms(30_000)), Step::Transmit(_)) {}
            assert_eq!(receiver.poll(ms(30_000)), Step::Done(End::Silent));
        }
    }

    #[test]
    fn what_was_sent_again_for_a_gap_ends_where_the_window_ended() {
        let mut receiver = receiver(2);
        assert_eq!(arrive(&mut receiver, 1, 2), Some(0), "block 1 is missing");
        assert_eq!(receiver.arrive(ms(2), WireBlock(1), false), Arrival::Next);
        kept(&mut receiver, 2, 2);
        assert_eq!(acks(&mut receiver, ms(2)), Some(2));
        assert_eq!([3, 4].map(|n| arrive(&mut receiver, 12, n)), [None, Some(4)]);
        assert_eq!(arrive(&mut receiver.clone(), 13, 2), None, "it came again for the gap");
        assert_eq!(arrive(&mut receiver, 13, 3), Some(4), "it did not");
    }

    #[test]
    fn what_lies_behind_the_end_is_not_answered() {
        let mut receiver = receiver(1);
        receiver.arrive(ms(1), WireBlock(1), true);
        assert_eq!(acks(&mut receiver, ms(1)), Some(1));
        for (block, answer) in [(3, None), (2, None), (1, Some(1))] {
            assert_eq!(arrive(&mut receiver, 2, block), answer, "block {block}");
        }
    }
}
