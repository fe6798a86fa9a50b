//! The sender: the side that has the blocks, in a read the server and in a write the client.

use super::pace::{Gap, Pace, Silence};
use super::throttle::{Allowance, Throttle};
use super::{Agreed, BlockNumber, End, NUMBERS, Rto, Step, Time, Timing};
use crate::limits;
use crate::wire::{BlockSize, Rollover, WindowSize, WireBlock};
use core::time::Duration;

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
    /// How fast blocks leave; lock-step needs none.
    pace: Option<Box<Pace>>,
    is_paced: bool,
    /// How fast they may leave at most.
    throttle: Option<Throttle>,
    block_size: BlockSize,
    /// The largest block that travels in one packet.
    path_block: BlockSize,
    /// Where it began: block 0 if there was an opening packet, else block 1.
    start: BlockNumber,
    /// The first block that is not acknowledged.
    base: BlockNumber,
    /// The next block to send; falls back to `base` when all that is under way must be sent again.
    next: BlockNumber,
    /// One past the last block that was ever sent.
    sent: BlockNumber,
    /// One past the last block that can be sent.
    ready: BlockNumber,
    /// The file's last block, once it is known.
    last: Option<BlockNumber>,
    /// What the receiver does with blocks that lie behind a gap.
    behind_a_gap: BehindAGap,
    /// Whether `base` alone must be sent again before anything else, and whether it was.
    mend: bool,
    mended: bool,
    /// What was sent when the window last started again: what of that will arrive is there before what fills the gap.
    sent_before: BlockNumber,
    /// Whether a repeated acknowledgement has started the window again since the last progress or time-out.
    restart_done: bool,
    /// Whether an acknowledgement came again that may tell of a gap, and was not believed.
    is_doubtful: bool,
    /// Whether what is under way went out twice, so that its acknowledgement may come twice: the second is no report
    /// on the next window, or one copy in the network would double all windows to the end of the file.
    sent_twice: bool,
    /// A block that was sent once: its acknowledgement measures a round trip (RFC 6298 § 3, Karn's rule).
    timed: Option<Timed>,
    /// When a gap last made the window start again.
    restarted_at: Option<Time>,
    /// When `base` was sent last.
    base_sent_at: Time,
    sent_at: Time,
    /// When the last packet under way was sent once more, for nothing had come.
    probed_at: Option<Time>,
    /// Whether there was a probe since the last answer that was news: each stall has one.
    probe_done: bool,
    /// Whether the timer has fired since the last progress.
    timed_out: bool,
    /// Whether silence ended with all acknowledged: the last block was lost, or its acknowledgement, unless that comes
    /// once more, for then both it and what repeated it had only been late.
    may_be_lost: bool,
    progress_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Timed {
    block: BlockNumber,
    sent_at: Time,
    /// Whether its acknowledgement may wait until a gap before it is filled.
    behind_a_gap: bool,
}

/// What a receiver does with blocks that lie behind a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BehindAGap {
    /// It is not known yet: only what was lost is sent again, and what the receiver makes of that will tell.
    Unknown,
    /// It keeps them: its acknowledgement jumps when the gap is filled.
    Kept,
    /// It drops them, as firmware does.
    Dropped,
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
            pace: None,
            is_paced: true,
            throttle: None,
            block_size: agreed.block_size(),
            path_block: BlockSize::ETHERNET,
            start,
            base: start,
            next: start,
            sent: start,
            ready: BlockNumber::FIRST,
            last: None,
            behind_a_gap: BehindAGap::Unknown,
            mend: false,
            mended: false,
            sent_before: start,
            restart_done: false,
            is_doubtful: false,
            sent_twice: false,
            timed: None,
            restarted_at: None,
            base_sent_at: now,
            sent_at: now,
            probed_at: None,
            probe_done: false,
            timed_out: false,
            may_be_lost: false,
            progress_at: now,
        };
        sender.agree(agreed);
        sender
    }

    /// Makes block 0 a question, as a client's request is: nobody else repeats anything before it is answered.
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

    /// Lets blocks leave as soon as they may, which a model check can explore: on its network, which delays them as it
    /// likes, a pace makes no other order of events, but more moments that have to be told apart.
    #[must_use]
    pub fn unpaced(mut self) -> Self {
        (self.pace, self.is_paced) = (None, false);
        self
    }

    /// Sets the terms, when they become known after the start: by a server's OACK to a client's WRQ.
    pub fn agree(&mut self, agreed: &Agreed) {
        self.window = agreed.window();
        self.rollover = agreed.rollover().unwrap_or_default();
        self.rto.set_negotiated(agreed.interval());
        let is_paced = self.is_paced && self.window > WindowSize::LOCKSTEP;
        self.pace = is_paced.then(|| Box::new(Pace::new(agreed.block_size(), self.window)));
        self.block_size = agreed.block_size();
        let rate = self.rto.timing().rate();
        self.throttle = rate.map(|rate| Throttle::new(Some(rate), self.block_size));
    }

    /// Says what may leave at the next [`poll`](Self::poll); the rate of its timing holds as well.
    pub fn set_allowance(&mut self, allowance: Allowance) {
        let new = || Throttle::new(None, self.block_size);
        self.throttle.get_or_insert_with(new).set_allowance(allowance);
    }

    /// Says which is the largest block that travels to the peer in one packet, before the first block leaves; without
    /// this call it is that of an Ethernet.
    pub const fn set_path_block(&mut self, size: BlockSize) {
        self.path_block = size;
    }

    fn paced(&mut self, act: impl FnOnce(&mut Pace)) {
        if let Some(pace) = &mut self.pace {
            act(pace);
        }
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

    /// Whether a block that is ready may be sent, now or when its time has come.
    pub fn may_send(&self) -> bool {
        self.mend || self.next < self.window_end()
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
        let is_first = !self.restart_done && !self.sent_twice;
        match self.timed {
            // Its first copy is lost, unless it was only late.
            _ if self.mended && self.is_an_answer(now) => self.rto.sample(now - self.base_sent_at),
            Some(timed) if block >= timed.block => {
                let trip = now - timed.sent_at;
                match timed.block {
                    BlockNumber::OPENING if self.window > WindowSize::LOCKSTEP => {
                        self.rto.sample_opening(trip);
                    }
                    _ if timed.behind_a_gap => self.rto.sample_at_most(trip),
                    _ => self.rto.sample(trip),
                }
                self.timed = None;
            }
            // A gap is told of in the midst of a window: no round trip is longer than the time since that began to leave.
            _ if self.window > WindowSize::LOCKSTEP && is_first && self.is_shorter(now) => {
                self.rto.sample_at_most(now - self.base_sent_at);
            }
            _ => self.rto.progress(now - self.probed_at.unwrap_or(self.sent_at)),
        }
        let mended = core::mem::take(&mut self.mended);
        let mut lost_in_a_row = false;
        if block >= self.next {
            // Blocks count that were sent before the gap was told, and not again since.
            self.behind_a_gap = BehindAGap::Kept;
            self.was_kept(self.next);
            self.next = self.sent;
            let sent = self.sent;
            self.paced(|pace| pace.forget_before(sent));
        } else if mended {
            let alone = block == self.base && block + 1 < self.next;
            lost_in_a_row = alone;
            if self.behind_a_gap == BehindAGap::Unknown {
                self.behind_a_gap = if alone { BehindAGap::Dropped } else { BehindAGap::Kept };
                if !alone {
                    self.was_kept(self.base + 1);
                }
            }
        }
        self.base = block + 1;
        self.progress_at = now;
        self.mend = false;
        // Short of what was sent, the receiver tells of a gap: the window starts again behind it, and further
        // acknowledgements of this block are about the same gap.
        let filled = self.base == self.sent_before && self.behind_a_gap == BehindAGap::Kept;
        let short = self.base < self.next && !filled;
        self.restart_done = short || core::mem::take(&mut self.sent_twice);
        self.probe_done = false;
        self.is_doubtful = false;
        let silence = self.silence_ended(now);
        let may_be_lost = silence.is_some() && !short;
        let last_was_lost = core::mem::replace(&mut self.may_be_lost, may_be_lost);
        self.paced(|pace| pace.acknowledged(last_was_lost));
        if filled {
            return;
        }
        if !short {
            let (base, trips) = (self.base, self.rto.trips());
            self.paced(|pace| match silence {
                Some(_) => pace.forget_flight(),
                None => pace.delivered(now, base, trips),
            });
            return;
        }
        // The next one may be back sooner than an answer to that: it is about what was sent before, by a receiver
        // that acknowledges the blocks of a torn window one by one, and the gap behind it is being filled.
        let soonest = self.rto.soonest_answer();
        let is_kept = self.behind_a_gap == BehindAGap::Kept;
        if is_kept || self.restarted_at.is_none_or(|at| now - at >= soonest) {
            self.start_again(now, silence);
            if lost_in_a_row && self.mend {
                // More may be: one after the other would take a round trip each.
                (self.mend, self.next) = (false, self.base);
            }
        }
    }

    /// A block that was not sent again was there already. Only the last could have come as a probe, so any other shows that
    /// what followed silence was no lost tail.
    fn was_kept(&mut self, block: BlockNumber) {
        if block + 1 < self.sent_before {
            self.paced(Pace::tail_arrived);
        }
    }

    /// Whether the time since `base` was sent last is less than a round trip was taken to be.
    fn is_shorter(&self, now: Time) -> bool {
        self.rto.trips().is_none_or(|trips| now - self.base_sent_at < trips.smoothed)
    }

    /// Whether what was sent of `base` last can have been answered by now.
    fn is_an_answer(&self, now: Time) -> bool {
        let trips = self.rto.trips();
        trips.is_some_and(|trips| now - self.base_sent_at >= trips.shortest / 2)
    }

    /// The silence that ended now, if only a probe or the timer brought the answer that came.
    fn silence_ended(&mut self, now: Time) -> Option<Silence> {
        let timed_out = core::mem::take(&mut self.timed_out);
        // What is back sooner than an answer to the probe was only late.
        let soonest = self.rto.soonest_answer();
        let probed_at = self.probed_at.take().filter(|at| now - *at >= soonest);
        (timed_out || probed_at.is_some()).then_some(Silence { probed_at })
    }

    /// There is a gap at `base`.
    fn start_again(&mut self, now: Time, silence: Option<Silence>) {
        let all_sent = self.last.is_some_and(|last| self.next > last);
        let full = all_sent || self.next == self.base + u64::from(self.window.get());
        let mend = match self.behind_a_gap {
            BehindAGap::Kept => true,
            // What follows will tell: from who drops it comes an acknowledgement of this block alone.
            BehindAGap::Unknown => !full,
            BehindAGap::Dropped => false,
        };
        let again_from = if mend { self.sent } else { self.base };
        let gap = Gap { base: self.base, under_way: self.next - self.base, again_from };
        let (behind_a_gap, trips) = (self.behind_a_gap, self.rto.trips());
        self.paced(|pace| match (silence, behind_a_gap) {
            (None, _) => pace.gap(now, gap, trips),
            // Maybe it was the report of one gap that was lost.
            (_, BehindAGap::Kept) => pace.last_lost(),
            (Some(silence), _) => pace.tail_lost(now, gap, silence, trips),
        });
        (self.restart_done, self.is_doubtful, self.probe_done) = (true, false, false);
        (self.restarted_at, self.sent_before, self.probed_at) = (Some(now), self.sent, None);
        if mend {
            self.mend = true;
            if let Some(timed) = &mut self.timed {
                timed.behind_a_gap = true;
            }
        } else {
            self.timed = None;
            self.next = self.base;
            self.paced(Pace::forget_flight);
        }
    }

    /// The block before the window was acknowledged once more.
    fn repeated_ack(&mut self, now: Time) {
        self.may_be_lost = false;
        let nothing_under_way = self.next == self.base;
        if self.mend || nothing_under_way {
            return;
        }
        if self.window == WindowSize::LOCKSTEP {
            // An early repeat is an echo, and to answer it would double every packet from here on (the Sorcerer's
            // Apprentice); a late one is the peer's time-out.
            let last = self.probed_at.unwrap_or(self.sent_at);
            if !self.restart_done && now - last >= self.rto.echo_span() {
                self.restart_done = true;
                self.resend();
            }
            return;
        }
        // It reports that the first block is missing, unless it is back sooner than an answer to that could be; then
        // silence will tell. Once the window has started again for it, only what answers a probe says that it was in
        // vain.
        let soonest = self.rto.soonest_answer();
        let answers = match self.probed_at {
            Some(probed_at) => now - probed_at >= soonest,
            // The receiver has seen what left behind the block that was to fill the gap.
            None if self.mended && self.behind_a_gap == BehindAGap::Kept => {
                now - self.base_sent_at >= self.rto.smoothed()
            }
            None if self.restart_done => {
                let span = self.rto.probe_span().unwrap_or_else(|| self.rto.echo_span());
                now - self.sent_at >= span
            }
            None => now - self.base_sent_at >= soonest.max(limits::SOONEST_REPORT),
        };
        if answers {
            let lost_again = core::mem::take(&mut self.mended);
            let silence = self.silence_ended(now).filter(|_| !lost_again);
            self.start_again(now, silence);
            // Nothing may be missing.
            self.sent_twice = true;
        } else {
            self.is_doubtful |= !self.restart_done || self.probed_at.is_some();
        }
    }

    /// Says that the end of what was to leave last has found no way out before now, or has none yet.
    pub fn left_late(&mut self, now: Time) {
        self.sent_at = now;
        let next = self.next;
        if let Some(timed) = self.timed.as_mut().filter(|timed| timed.block + 1 == next) {
            timed.sent_at = now;
        }
        self.paced(|pace| pace.left_late(now));
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
        (self.mend, self.mended, self.probed_at) = (false, false, None);
        self.timed = None;
        self.paced(Pace::forget_flight);
        // In lock-step time tells an echo, whatever was sent twice.
        self.sent_twice = self.window > WindowSize::LOCKSTEP;
    }

    /// The smoothed round trip, once one was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.rto.round_trip()
    }

    /// When the last probe left, if nothing answered it yet.
    pub const fn probed_at(&self) -> Option<Time> {
        self.probed_at
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
        let owed_since = match &self.throttle {
            // What has not left yet cannot have been answered.
            Some(throttle) if self.may_send() => self.progress_at.max(throttle.due()),
            _ => self.progress_at,
        };
        let patience_ends = owed_since + self.rto.patience(self.is_answered());
        if now >= patience_ends {
            return Step::Done(self.lost());
        }
        let mut wake = patience_ends;
        if !self.may_send() && self.next > self.base {
            let resend_at = self.rto.resend_at(self.sent_at, self.probed_at);
            let last = self.probed_at.unwrap_or(self.sent_at);
            let probe_at = self.rto.probe_span().map(|span| last + span);
            let is_awaited = !self.probe_done || self.is_doubtful;
            match probe_at.filter(|at| is_awaited && *at < resend_at) {
                _ if now >= resend_at => {
                    self.rto.back_off();
                    self.restart_done = false;
                    self.timed_out = true;
                    self.resend();
                }
                Some(at) if now >= at => {
                    self.probe_done = true;
                    if !core::mem::take(&mut self.is_doubtful) {
                        self.probed_at = Some(now);
                        return Step::Transmit(self.probe());
                    }
                    self.start_again(now, None);
                    self.sent_twice = true;
                }
                probe_at => wake = wake.min(resend_at).min(probe_at.unwrap_or(resend_at)),
            }
        }
        if !self.may_send() {
            if self.next < self.base + u64::from(self.window.get()) && self.last.is_none() {
                // What is measured waits for blocks, not for the path.
                self.paced(Pace::forget_flight);
            }
            return Step::Wait(wake);
        }
        match self.run(now) {
            Some(run) => Step::Transmit(run),
            None => Step::Wait(wake.min(self.due())),
        }
    }

    /// When the next blocks may leave.
    fn due(&self) -> Time {
        let paced = self.pace.as_ref().map_or(Time::START, |pace| pace.due());
        self.throttle.as_ref().map_or(paced, |throttle| paced.max(throttle.due()))
    }

    /// The last packet under way once more: what it brings back tells whether that was lost, or what before it.
    fn probe(&mut self) -> Run {
        self.timed = None;
        self.sent_twice = self.window > WindowSize::LOCKSTEP;
        Run { first: BlockNumber(self.next.0 - 1), count: 1, again: 1 }
    }

    /// What leaves now, unless it is too early for it.
    fn run(&mut self, now: Time) -> Option<Run> {
        let trip = self.rto.trips().map(|trips| trips.shortest);
        let (first, wanted) = match self.mend {
            true => (self.base, 1),
            false => (self.next, self.window_end() - self.next),
        };
        let mut count = match &self.throttle {
            Some(throttle) if first > BlockNumber::OPENING => throttle.allows(now, wanted),
            _ => wanted,
        };
        if count == 0 {
            return None;
        }
        if let Some(pace) = self.pace.as_mut().filter(|_| first > BlockNumber::OPENING) {
            if first == BlockNumber::FIRST && self.sent == first {
                pace.begin(self.path_block, trip);
            }
            count = pace.allows(now, count);
            if count == 0 {
                return None;
            }
            if first == self.base && !self.mend {
                pace.measure(now, first);
            }
            pace.left(now, count);
        }
        if let Some(throttle) = self.throttle.as_mut().filter(|_| first > BlockNumber::OPENING) {
            throttle.left(now, count);
        }
        if self.mend {
            (self.mend, self.mended) = (false, true);
            (self.base_sent_at, self.sent_at) = (now, now);
            return Some(Run { first, count, again: count });
        }
        let (end, again) = (first + count, (self.sent - first).min(count));
        let behind_a_gap = self.restart_done;
        if end > self.sent && (!behind_a_gap || self.timed.is_none()) {
            // The last block of the run goes out for the first time, so its acknowledgement is unambiguous.
            self.timed = Some(Timed { block: BlockNumber(end.0 - 1), sent_at: now, behind_a_gap });
        }
        if first == self.base {
            self.base_sent_at = now;
        }
        if self.throttle.is_some() && end > self.sent {
            // A window may take longer to leave than a peer has patience with.
            self.progress_at = now;
        }
        self.next = end;
        self.sent = self.sent.max(end);
        self.sent_at = now;
        Some(Run { first, count, again })
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
mod tests;
