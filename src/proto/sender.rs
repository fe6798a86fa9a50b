//! The sender: the side that has the blocks, in a read the server and in a write the client.

use super::{Agreed, BlockNumber, End, NUMBERS, Rto, Step, Time, Timing};
use crate::wire::{Rollover, WindowSize, WireBlock};

/// A run of blocks to send, one after the other. It is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The first block to send.
    pub first: BlockNumber,
    /// The number of blocks to send.
    pub count: u64,
    /// The number of blocks among them, from the first on, that have been sent before.
    pub again: u64,
}

/// The machine that delivers blocks in order, a window at a time (RFC 1350 § 2, RFC 7440).
///
/// Its owner says which blocks are ready ([`supply`](Self::supply)), hands on acknowledgements
/// ([`acknowledge`](Self::acknowledge)) and obeys [`poll`](Self::poll) until it says to wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sender {
    window: WindowSize,
    rollover: Rollover,
    numbers: u64,
    rto: Rto,
    /// Where it began: block 0 if there was an opening packet, else block 1.
    start: BlockNumber,
    /// The first block that is not acknowledged.
    base: BlockNumber,
    /// The next block to send; falls back to `base` when something must be sent again.
    next: BlockNumber,
    /// One past the last block that was ever sent.
    sent: BlockNumber,
    /// One past the last block that can be sent.
    ready: BlockNumber,
    /// The file's last block, once it is known.
    last: Option<BlockNumber>,
    /// Whether the window has started again since the last progress or time-out: a repeated acknowledgement starts it
    /// once.
    restart_done: bool,
    /// Whether what is under way went out twice, so that its acknowledgement may come twice: the second is no report
    /// on the next window, or one copy in the network would double all windows to the end of the file.
    sent_twice: bool,
    /// A block that was sent once, and when: its acknowledgement measures a round trip (RFC 6298 § 3, Karn's rule).
    timed_block: Option<(BlockNumber, Time)>,
    /// When a gap last made the window start again.
    restarted_at: Option<Time>,
    sent_at: Time,
    progress_at: Time,
}

impl Sender {
    /// A sender that begins with block 0, an opening packet, where `opening` is set, and with block 1 where it is not.
    pub fn new(now: Time, timing: Timing, agreed: &Agreed, opening: bool) -> Self {
        let start = if opening { BlockNumber::OPENING } else { BlockNumber::FIRST };
        let mut sender = Self {
            window: WindowSize::LOCKSTEP,
            rollover: Rollover::default(),
            numbers: NUMBERS,
            rto: Rto::new(timing),
            start,
            base: start,
            next: start,
            sent: start,
            ready: BlockNumber::FIRST,
            last: None,
            restart_done: false,
            sent_twice: false,
            timed_block: None,
            restarted_at: None,
            sent_at: now,
            progress_at: now,
        };
        sender.agree(agreed);
        sender
    }

    /// Makes block numbers roll over after `numbers` of them, which a model check can reach; without this call they
    /// do so after [`NUMBERS`], as TFTP has it.
    #[must_use]
    pub const fn among(mut self, numbers: u64) -> Self {
        self.numbers = numbers;
        self
    }

    /// Sets the terms, when they become known after the start: by a server's OACK to a client's WRQ.
    pub fn agree(&mut self, agreed: &Agreed) {
        self.window = agreed.window();
        self.rollover = agreed.rollover().unwrap_or_default();
        self.rto.set_negotiated(agreed.interval());
    }

    /// Says that blocks before `end` can be sent now; `last` says that the file ends there.
    pub fn supply(&mut self, end: BlockNumber, last: bool) {
        debug_assert!(end >= self.ready, "blocks do not become unready");
        debug_assert!(self.last.is_none(), "nothing follows the last block");
        self.ready = end;
        self.last = last.then(|| BlockNumber(end.0 - 1));
    }

    /// The first block that is not acknowledged. What lies before it is not sent again.
    pub const fn base(&self) -> BlockNumber {
        self.base
    }

    /// Whether the peer has acknowledged anything.
    pub fn is_answered(&self) -> bool {
        self.base > self.start
    }

    /// Whether every block has been acknowledged.
    pub fn is_delivered(&self) -> bool {
        self.last.is_some_and(|last| self.base > last)
    }

    /// Whether a block that is ready may be sent now.
    pub fn may_send(&self) -> bool {
        self.next < self.window_end()
    }

    /// Takes an ACK, or an OACK as the ACK of block 0. What changes shows in [`poll`](Self::poll).
    pub fn acknowledge(&mut self, now: Time, wire: WireBlock) {
        let block = BlockNumber::widen(wire, self.base, self.numbers, self.rollover);
        let Some(block) = block else { return };
        if block >= self.sent {
            // Ahead of anything that was sent: believing it would lose blocks without a trace.
        } else if block >= self.base {
            self.advance(now, block);
        } else if block + 1 == self.base {
            self.repeated_ack(now);
        }
    }

    fn advance(&mut self, now: Time, block: BlockNumber) {
        match self.timed_block {
            Some((timed, sent_at)) if block >= timed => {
                self.rto.sample(now - sent_at);
                self.timed_block = None;
            }
            _ => self.rto.progress(now - self.sent_at),
        }
        self.base = block + 1;
        self.progress_at = now;
        // Short of what was sent, the receiver tells of a gap: the window starts again behind it, and further
        // acknowledgements of this block are about the same gap.
        let short = self.base < self.next;
        self.restart_done = short || core::mem::take(&mut self.sent_twice);
        // The next one may be back sooner than an answer to that: it is about what was sent before, by a receiver
        // that acknowledges the blocks of a torn window one by one, and the gap behind it is being filled.
        let soonest = self.rto.soonest_answer();
        if short && self.restarted_at.is_some_and(|at| now - at < soonest) {
            return;
        }
        self.next = self.base;
        if short {
            self.timed_block = None;
            self.restarted_at = Some(now);
        }
    }

    /// The block before the window was acknowledged once more.
    fn repeated_ack(&mut self, now: Time) {
        let nothing_under_way = self.next == self.base;
        if self.restart_done || nothing_under_way {
            return;
        }
        // In lock-step an early repeat is an echo, and to answer it would double every packet from here on (the
        // Sorcerer's Apprentice); a late one is the peer's time-out. In a window it reports that the first block is
        // missing, unless it is back sooner than an answer to this window could be.
        let span = match self.window {
            WindowSize::LOCKSTEP => self.rto.echo_span(),
            _ => self.rto.soonest_answer(),
        };
        if now - self.sent_at >= span {
            self.restart_done = true;
            self.resend();
        }
    }

    /// Says that the peer repeated its request, so that it has not seen the answer: what is under way goes out again,
    /// unless the peer has acknowledged something.
    pub fn repeat(&mut self) {
        if !self.is_answered() {
            self.resend();
        }
    }

    fn resend(&mut self) {
        self.next = self.base;
        self.timed_block = None;
        // In lock-step time tells an echo, whatever was sent twice.
        self.sent_twice = self.window > WindowSize::LOCKSTEP;
    }

    /// What to do now: blocks to send, or a time to wait for. `now` must never be before that of an earlier call.
    pub fn poll(&mut self, now: Time) -> Step<Run> {
        if self.is_delivered() {
            return Step::Done(End::Complete);
        }
        if self.sent == self.base && self.may_send() {
            // The peer owed nothing: it waited for us.
            self.progress_at = now;
        }
        let patience_ends = self.progress_at + self.rto.patience(self.is_answered());
        if now >= patience_ends {
            return Step::Done(self.lost());
        }
        let resend_at = self.sent_at + self.rto.interval();
        if self.next > self.base && now >= resend_at {
            self.rto.back_off();
            self.restart_done = false;
            self.resend();
        }
        if self.may_send() {
            return Step::Transmit(self.run(now));
        }
        let wake = if self.next > self.base { resend_at.min(patience_ends) } else { patience_ends };
        Step::Wait(wake)
    }

    fn run(&mut self, now: Time) -> Run {
        let (first, end) = (self.next, self.window_end());
        let run = Run { first, count: end - first, again: self.sent - first };
        if end > self.sent {
            // The last block of the run goes out for the first time, so its acknowledgement is unambiguous.
            self.timed_block = Some((BlockNumber(end.0 - 1), now));
        }
        self.next = end;
        self.sent = self.sent.max(end);
        self.sent_at = now;
        run
    }

    /// One past the last block that may be under way. The opening packet travels alone: until it is
    /// acknowledged nothing is agreed.
    fn window_end(&self) -> BlockNumber {
        let window = if self.base == BlockNumber::OPENING { 1 } else { self.window.get() };
        self.ready.min(self.base + u64::from(window))
    }

    /// How the transfer ends when the peer is gone now: with everything sent and only the answer to the last window
    /// missing, the file most likely arrived, and it is [`End::Unconfirmed`].
    pub fn lost(&self) -> End {
        let all_sent = self.last.is_some_and(|last| self.sent > last);
        if all_sent && self.is_answered() { End::Unconfirmed } else { End::Silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::negotiate::windowed;
    use core::time::Duration;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    /// A sender of `blocks` blocks without an opening packet.
    fn sender(window: u16, blocks: u64) -> Sender {
        let mut sender = Sender::new(ms(0), Timing::default(), &windowed(window), false);
        sender.supply(BlockNumber(blocks + 1), true);
        sender
    }

    fn sends(sender: &mut Sender, now: Time) -> Option<(u64, u64)> {
        match sender.poll(now) {
            Step::Transmit(run) => Some((run.first.0, run.count)),
            _ => None,
        }
    }

    #[test]
    fn an_early_duplicate_ack_changes_nothing_and_a_late_one_resends_once() {
        let mut sender = sender(1, 9);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 1)));
        sender.acknowledge(ms(10), WireBlock(1));
        assert_eq!(sends(&mut sender, ms(10)), Some((2, 1)));
        sender.acknowledge(ms(59), WireBlock(1));
        assert_eq!(sends(&mut sender, ms(59)), None, "49 ms after the last send");
        let mut sender = sender.clone();
        sender.acknowledge(ms(60), WireBlock(1));
        assert_eq!(sends(&mut sender, ms(60)), Some((2, 1)), "50 ms after the last send");
        sender.acknowledge(ms(200), WireBlock(1));
        assert!(matches!(sender.poll(ms(61)), Step::Wait(_)), "once for each block");
    }

    #[test]
    fn silence_counts_only_while_the_peer_owes_an_answer() {
        let mut sender = Sender::new(ms(0), Timing::default(), &windowed(4), false);
        sender.supply(BlockNumber(2), false);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 1)));
        sender.acknowledge(ms(10), WireBlock(1));
        sender.supply(BlockNumber(4), false);
        assert_eq!(sends(&mut sender, ms(100_000)), Some((2, 2)), "the file was slow");
        assert!(matches!(sender.poll(ms(129_999)), Step::Transmit(_)));
        assert!(matches!(sender.poll(ms(130_000)), Step::Done(End::Silent)));
    }

    #[test]
    fn a_gap_restarts_the_window_once_however_often_it_is_told() {
        let mut sender = sender(8, 100);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 8)));
        sender.acknowledge(ms(10), WireBlock(3));
        assert_eq!(sends(&mut sender, ms(10)), Some((4, 8)));
        for at in 11..15 {
            sender.acknowledge(ms(at), WireBlock(3));
            assert_eq!(sends(&mut sender, ms(at)), None);
        }
        sender.acknowledge(ms(20), WireBlock(11));
        assert_eq!(sends(&mut sender, ms(20)), Some((12, 8)));
    }

    #[test]
    fn a_gap_told_of_the_window_before_moves_the_base_and_resends_nothing() {
        let mut sender = sender(4, 100);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 4)));
        sender.acknowledge(ms(20), WireBlock(4));
        assert_eq!(sends(&mut sender, ms(20)), Some((5, 4)));
        sender.acknowledge(ms(40), WireBlock(5));
        assert_eq!(sends(&mut sender, ms(40)), Some((6, 4)));
        let mut late = sender.clone();
        sender.acknowledge(ms(44), WireBlock(6));
        assert_eq!(sends(&mut sender, ms(44)), Some((10, 1)), "sooner than any answer");
        late.acknowledge(ms(45), WireBlock(6));
        assert_eq!(sends(&mut late, ms(45)), Some((7, 4)));
    }

    #[test]
    fn a_missing_first_block_of_a_window_restarts_it_but_an_echo_does_not() {
        let mut sender = sender(4, 100);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 4)));
        sender.acknowledge(ms(20), WireBlock(4));
        assert_eq!(sends(&mut sender, ms(20)), Some((5, 4)));
        sender.acknowledge(ms(24), WireBlock(4));
        assert_eq!(sends(&mut sender, ms(24)), None, "sooner than any answer");
        sender.acknowledge(ms(25), WireBlock(4));
        assert_eq!(sends(&mut sender, ms(25)), Some((5, 4)));
    }

    #[test]
    fn one_copied_ack_does_not_double_all_windows_to_come() {
        let mut sender = sender(4, 400);
        let (mut sent, mut copied) = (0, false);
        let mut answers = std::collections::VecDeque::new();
        let mut now = 0;
        loop {
            match sender.poll(ms(now)) {
                Step::Transmit(run) => {
                    sent += run.count;
                    let last = WireBlock((run.first.0 + run.count - 1) as u16);
                    // 10 ms there and back; one acknowledgement comes again 4 ms later.
                    answers.push_back((now + 10, last));
                    if last.0 == 40 && !std::mem::replace(&mut copied, true) {
                        answers.push_back((now + 14, last));
                    }
                }
                Step::Wait(_) => {
                    let (at, last) = answers.pop_front().expect("an answer on its way");
                    now = at;
                    sender.acknowledge(ms(now), last);
                }
                Step::Done(end) => break assert_eq!((end, sent), (End::Complete, 404)),
            }
        }
    }

    #[test]
    fn acks_ahead_of_what_was_sent_are_ignored() {
        let mut sender = sender(2, 100);
        assert_eq!(sends(&mut sender, ms(0)), Some((1, 2)));
        sender.acknowledge(ms(1), WireBlock(3));
        assert_eq!(sender.base(), BlockNumber(1));
        sender.acknowledge(ms(1), WireBlock(2));
        assert_eq!(sender.base(), BlockNumber(3));
    }

    #[test]
    fn stale_packets_do_not_push_the_timer() {
        let mut sender = sender(1, 9);
        sends(&mut sender, ms(0));
        sender.acknowledge(ms(1), WireBlock(1));
        sends(&mut sender, ms(1));
        for at in 2..51 {
            sender.acknowledge(ms(at), WireBlock(0));
            sender.acknowledge(ms(at), WireBlock(7));
            assert_eq!(sends(&mut sender, ms(at)), None);
        }
        assert_eq!(sends(&mut sender, ms(51)), Some((2, 1)));
    }

    #[test]
    fn patience_ends_after_thirty_seconds_without_progress() {
        let mut sender = sender(1, 9);
        let mut now = ms(0);
        let end = loop {
            match sender.poll(now) {
                Step::Transmit(_) => {}
                Step::Wait(until) => now = until,
                Step::Done(end) => break end,
            }
        };
        assert_eq!((now, end), (ms(30_000), End::Silent));
    }

    #[test]
    fn a_missing_last_answer_is_unconfirmed_and_a_peer_that_never_answered_is_not() {
        let mut one = sender(1, 2);
        sends(&mut one, ms(0));
        one.acknowledge(ms(1), WireBlock(1));
        assert_eq!(one.lost(), End::Silent, "block 2 was never sent");
        sends(&mut one, ms(1));
        assert_eq!(one.lost(), End::Unconfirmed);
        let mut unproven = sender(1, 1);
        sends(&mut unproven, ms(0));
        assert_eq!(unproven.lost(), End::Silent);
    }

    #[test]
    fn the_opening_packet_is_block_zero_and_travels_alone() {
        let mut sender = Sender::new(ms(0), Timing::default(), &windowed(8), true);
        sender.supply(BlockNumber(9), true);
        assert_eq!(sends(&mut sender, ms(0)), Some((0, 1)));
        assert_eq!(sends(&mut sender, ms(1000)), Some((0, 1)));
        sender.acknowledge(ms(1001), WireBlock(0));
        assert_eq!(sends(&mut sender, ms(1001)), Some((1, 8)));
    }

    /// A receiver whose buffer holds four blocks: the rest of a window is lost with nothing behind it that would
    /// tell of a gap, so that the first four are acknowledged when they come again.
    #[test]
    fn progress_ends_the_backoff() {
        let mut sender = sender(16, 400);
        sender.rto.sample(Duration::from_millis(1));
        let (mut now, mut timed_out) = (ms(0), false);
        let end = loop {
            match sender.poll(now) {
                Step::Transmit(run) if timed_out => {
                    let last = run.first.0 + run.count.min(4) - 1;
                    sender.acknowledge(now, WireBlock(last as u16));
                    timed_out = false;
                }
                Step::Transmit(_) => {}
                Step::Wait(until) => (now, timed_out) = (until, true),
                Step::Done(end) => break end,
            }
        };
        assert_eq!(
            (end, now),
            (End::Complete, ms(100 * 50)),
            "100 rounds of the shortest interval"
        );
    }

    #[test]
    fn a_round_trip_is_not_measured_on_what_was_sent_twice() {
        let mut sender = sender(1, 9);
        sends(&mut sender, ms(0));
        sends(&mut sender, ms(1000));
        sender.acknowledge(ms(1001), WireBlock(1));
        assert_eq!(
            sender.rto.interval(),
            Duration::from_secs(2),
            "still the doubled first interval"
        );
    }

    #[test]
    fn without_a_block_that_is_ready_there_is_nothing_to_send_again() {
        let mut sender = Sender::new(ms(0), Timing::default(), &Agreed::default(), false);
        assert_eq!(sender.poll(ms(0)), Step::Wait(ms(30_000)));
        assert_eq!(sender.poll(ms(5_000)), Step::Wait(ms(30_000)));
    }
}
