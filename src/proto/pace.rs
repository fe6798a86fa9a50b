//! How fast the blocks of a window leave: no faster than the path was seen to deliver them.
//!
//! A window that leaves in one piece is lost in part wherever the path behind is slower and has less room for it, and what
//! is lost is its tail, where nothing follows that would tell of the gap. So a window begins with a burst that any buffer
//! holds, and each that arrives whole makes the next leave up to twice as fast, until it leaves in one piece; on the
//! first gap the blocks leave as they were seen to arrive. From then on it is tried rarely whether the path can bear
//! more. Lock-step needs none of this.

use super::{BlockNumber, Time};
use crate::limits;
use crate::wire::{BlockSize, WindowSize};
use core::time::Duration;

/// The pace of one sender: when the next blocks may leave, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    window: u64,
    block: BlockSize,
    /// Packets that the path makes of a block.
    packets: u64,
    /// Nanoseconds from one block to the next; at 0 a window leaves in one piece.
    spacing: u64,
    /// The spacing that loss has shown to be needed.
    limit: Option<u64>,
    /// Packets that must arrive without loss before less than the limit is tried.
    hold: u64,
    /// How often in a row less was tried.
    raises: u32,
    /// Blocks that may leave at once before anything was seen to arrive.
    burst: u64,
    /// When the next blocks may leave.
    due: Time,
    flight: Option<Flight>,
    /// When blocks left last.
    left_at: Time,
    /// Blocks that were missing since this one.
    losses: u64,
    counted_from: BlockNumber,
    /// A spacing at which the path lost blocks.
    failed: u64,
    /// Blocks that may have waited on the path when the window last started again.
    queued: u64,
    /// Blocks that arrived before a buffer on the path overflowed.
    room: u64,
    /// What held before a tail seemed lost.
    before_silence: Option<BeforeSilence>,
    /// The spacing of what was acknowledged last.
    acknowledged: u64,
    /// The spacing by which a window arrived whole last.
    held: u64,
}

/// How fast blocks left before silence slowed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BeforeSilence {
    spacing: u64,
    limit: Option<u64>,
}

/// Blocks that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flight {
    first: BlockNumber,
    began: Time,
}

/// What is known of a window whose tail is lost.
struct Tail {
    /// How many of it arrived, with the probe.
    blocks: u64,
    /// From one of them to the next.
    each: u64,
    /// Whether the path was busy for certain when the probe left, so that it took no longer.
    is_certain: bool,
}

/// The peer misses a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// Which one.
    pub(super) base: BlockNumber,
    /// How many blocks from there on have left.
    pub(super) under_way: u64,
    /// The first block that now leaves for the first time, or again.
    pub(super) again_from: BlockNumber,
}

/// Nothing came until a probe brought an answer, or the timer did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// When the probe left that was answered.
    pub(super) probed_at: Option<Time>,
}

/// What is known of the path's round trips.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trips {
    pub(super) shortest: Duration,
    pub(super) smoothed: Duration,
}

impl Pace {
    /// The pace of windows of so many blocks, before the first block leaves.
    pub(super) fn new(block: BlockSize, window: WindowSize) -> Self {
        Self {
            block,
            window: window.get().into(),
            packets: 1,
            spacing: 0,
            limit: None,
            failed: 0,
            hold: 0,
            raises: 0,
            burst: 0,
            due: Time::START,
            left_at: Time::START,
            flight: None,
            losses: 0,
            counted_from: BlockNumber::OPENING,
            queued: 0,
            room: 0,
            before_silence: None,
            acknowledged: 0,
            held: 0,
        }
    }

    /// The first block is about to leave on a path of such a round trip, which carries blocks up to `path_block` in one
    /// packet.
    pub(super) fn begin(&mut self, path_block: BlockSize, trip: Option<Duration>) {
        self.packets = self.block.packet_bytes().div_ceil(path_block.packet_bytes()) as u64;
        self.burst = (limits::BURST_PACKETS / self.packets).max(1);
        if self.window > self.burst {
            let trip = trip.unwrap_or(LONGEST_FIRST_TRIP).clamp(QUANTUM, LONGEST_FIRST_TRIP);
            self.spacing = nanos(trip) * self.packets / limits::BURST_PACKETS;
        }
    }

    /// How many of `wanted` blocks may leave now; none before [`due`](Self::due).
    pub(super) fn allows(&self, now: Time, wanted: u64) -> u64 {
        match self.spacing {
            0 => wanted,
            _ if now < self.due => 0,
            _ => wanted.min(self.at_once().max(self.burst)),
        }
    }

    /// Blocks that leave at once: what leaves within a moment, and no more than any buffer holds where one overflowed, nor
    /// much more where none has yet: of a burst that is lost as a whole nothing arrives that would tell how fast it may be.
    fn at_once(&self) -> u64 {
        let most = match self.limit {
            None => limits::BURST_PACKETS + limits::BURST_PACKETS / 2,
            Some(_) => limits::BURST_PACKETS,
        } / self.packets;
        (nanos(QUANTUM) / self.spacing.max(1)).min(most).max(1)
    }

    /// When the next blocks may leave.
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// The blocks from `first` on, which leave now and behind which nothing is missing, are measured.
    pub(super) fn measure(&mut self, now: Time, first: BlockNumber) {
        self.flight = Some(Flight { first, began: now });
    }

    /// So many blocks leave now.
    pub(super) fn left(&mut self, now: Time, count: u64) {
        (self.burst, self.left_at) = (0, now);
        if self.spacing > 0 {
            // Who is woken late makes good for it, by a burst more.
            let good = (self.at_once() * self.spacing).min(nanos(QUANTUM)) / 1000;
            let earliest = Time::from_micros(now.as_micros().saturating_sub(good));
            self.due = self.due.max(earliest) + Duration::from_nanos(count * self.spacing);
        }
    }

    /// What left last has left only now.
    pub(super) const fn left_late(&mut self, now: Time) {
        self.left_at = now;
    }

    /// What is measured waited for something else than the path.
    pub(super) const fn forget_flight(&mut self) {
        self.flight = None;
    }

    /// The blocks before `sent` left before, at another pace: they are not measured, and what is missing of them is not news.
    pub(super) const fn forget_before(&mut self, sent: BlockNumber) {
        self.forget_flight();
        self.count_from(sent);
    }

    /// All that was under way before `base` has arrived, and nothing was lost.
    pub(super) fn delivered(&mut self, now: Time, base: BlockNumber, trips: Option<Trips>) {
        let flight = self.flight.take().filter(|flight| base > flight.first);
        let (Some(flight), Some(trips)) = (flight, trips) else { return };
        self.before_silence = None;
        if self.spacing == 0 {
            return;
        }
        let blocks = base - flight.first;
        // What the last of them waited on the path: that they left late is no news of it.
        let waited = nanos((now - self.left_at).saturating_sub(trips.smoothed));
        let planned = blocks * self.spacing;
        let is_late = match self.limit {
            None => 3 * waited > planned,
            Some(_) => 8 * waited > planned + 8 * nanos(trips.smoothed - trips.shortest),
        };
        if !is_late {
            self.kept_up(blocks);
        }
    }

    /// Of blocks that leave too fast as many arrive as the path can bear.
    fn count_losses(&mut self, gap: Gap) {
        let base = gap.base;
        if base < self.counted_from {
            return;
        }
        let blocks = base - self.counted_from;
        if self.losses >= FEWEST_LOSSES && 8 * self.losses > blocks {
            // As if a few more had arrived: of few blocks a share is no measure.
            let arrived = blocks.saturating_sub(self.losses) + FEWEST_MEASURED;
            let spacing = self.spacing.max(self.smallest()) * (blocks + FEWEST_MEASURED) / arrived;
            self.slow(spacing, spacing);
            self.count_from(gap.again_from);
        } else if blocks >= FEWEST_COUNTED {
            self.count_from(base);
        }
    }

    const fn count_from(&mut self, block: BlockNumber) {
        (self.losses, self.counted_from) = (0, block);
    }

    /// Blocks arrived as fast as they left.
    fn kept_up(&mut self, blocks: u64) {
        // The end of a torn window says nothing of a whole one.
        if blocks < self.window / 2 {
            return;
        }
        self.held = self.spacing;
        match self.limit {
            None => self.hasten(self.spacing / 2),
            Some(limit) if self.spacing > limit => self.hasten((self.spacing / 2).max(limit)),
            Some(_) if self.hold > 0 => {
                self.hold = self.hold.saturating_sub(blocks * self.packets);
            }
            Some(_) => self.raise(),
        }
    }

    fn hasten(&mut self, spacing: u64) {
        let at_once = spacing * self.window <= nanos(QUANTUM);
        self.spacing = if at_once { 0 } else { spacing };
    }

    /// There is a gap.
    pub(super) fn gap(&mut self, now: Time, gap: Gap, trips: Option<Trips>) {
        let Gap { base, under_way, .. } = gap;
        let before = self.spacing;
        self.before_silence = None;
        if base >= self.counted_from {
            self.losses += 1;
        }
        match self.flight.take().zip(trips) {
            Some((flight, trips)) if base > flight.first => {
                self.measure_gap(now, gap, flight, trips);
            }
            // Others were missing before it: that this one was told of says nothing of how fast blocks arrive.
            _ => self.count_losses(gap),
        }
        // The buffer that overflowed is full still: half of it may empty first.
        let queued = under_way.min(self.room.max(limits::BURST_PACKETS / self.packets));
        let wait = ((queued / 2).max(2) * self.spacing).min(2 * self.slowest());
        self.queued = queued - queued / 2;
        if self.limit.is_some() || self.spacing > before {
            self.due = now + Duration::from_nanos(wait);
        }
    }

    fn measure_gap(&mut self, now: Time, gap: Gap, flight: Flight, trips: Trips) {
        // One more than arrived in front of the gap: what told of it.
        let blocks = gap.base - flight.first + 1;
        let took = (now - flight.began).saturating_sub(trips.shortest);
        let queued = core::mem::take(&mut self.queued);
        let waited_for = if blocks < FEWEST_MEASURED { queued } else { 0 };
        let each = nanos(took) / (blocks + waited_for);
        let goes_back = gap.again_from == gap.base;
        let is_congested = self.spacing == 0 || each > self.spacing + self.spacing / 8;
        if blocks < FEWEST_MEASURED {
            if goes_back && is_congested {
                let spacing = self.spacing.max(self.smallest());
                self.spacing = each.clamp(spacing, 8 * spacing).min(self.slowest());
                self.count_from(gap.again_from);
            } else {
                self.count_losses(gap);
            }
            return;
        }
        self.room = blocks;
        if is_congested {
            let each = each.clamp(self.smallest(), self.slowest());
            // What arrived of a window is measured in bursts, of which a few tell no rate.
            let each = self.near_what_held(each);
            self.slow(each + each / 7, each);
            return self.count_from(gap.again_from);
        }
        // It arrived as fast as it left: what is lost by chance is no reason to go slower, unless more was tried.
        self.count_losses(gap);
        match self.limit {
            None if !goes_back => self.hasten(self.spacing / 2),
            Some(limit) if self.spacing < limit => self.slow(limit, limit),
            Some(limit) if self.spacing > limit => self.hasten((self.spacing / 2).max(limit)),
            Some(_) if each > self.spacing + self.spacing / 32 => {
                self.spacing = each;
                self.limit = Some(each);
                self.count_from(gap.again_from);
            }
            _ => {}
        }
    }

    /// After silence it turned out that there was a gap at `base`, with nothing behind it that would have told: the tail
    /// of what was under way is lost. It began to leave at the flight's time.
    pub(super) fn tail_lost(
        &mut self,
        now: Time,
        gap: Gap,
        silence: Silence,
        trips: Option<Trips>,
    ) {
        let flight = self.flight.take();
        let before_silence = BeforeSilence { spacing: self.spacing, limit: self.limit };
        let before = self.spacing.max(self.smallest() / 2);
        let needed = self.limit.unwrap_or(0).max(before + before / 2);
        let known = flight.zip(trips).zip(silence.probed_at);
        let tail = known.and_then(|((flight, trips), probed_at)| {
            self.measure_tail(now, gap, flight, (probed_at, trips))
        });
        if let Some(Tail { blocks, each, is_certain }) = tail {
            self.room = blocks;
            let limit = if is_certain { each } else { needed };
            self.slow((each + each / 7).max(limit), limit);
        } else {
            let flight = flight.unwrap_or(Flight { first: gap.base, began: now });
            let each = nanos(now - flight.began) / (gap.base - flight.first).max(1);
            // Where a gap has told how fast blocks arrive, and of these the first is missing, the time tells nothing more.
            let tells = self.limit.is_none() || gap.base > flight.first;
            let most = if tells { 8 } else { 2 };
            self.slow(each.clamp(2 * before, most * before).max(needed), needed);
        }
        self.before_silence = Some(before_silence);
        // Where a block is more than a burst, the probe took the room that the next one needs.
        let wait = if self.packets > limits::BURST_PACKETS { self.spacing } else { 0 };
        self.due = now + Duration::from_nanos(wait);
        self.count_from(gap.again_from);
    }

    /// What the probe's answer tells of how fast blocks arrive: it waited behind those that had not been lost, so the path
    /// was busy all the time.
    fn measure_tail(
        &self,
        now: Time,
        Gap { base, under_way, .. }: Gap,
        flight: Flight,
        (probed_at, trips): (Time, Trips),
    ) -> Option<Tail> {
        // The probe is one more.
        let blocks = base - flight.first + 1;
        let each = nanos((now - flight.began).saturating_sub(trips.shortest)) / blocks;
        let waited = nanos((now - probed_at).saturating_sub(trips.smoothed));
        // Where the block that is missing is the one that was sent once more, what came is no answer to it.
        let is_answer = under_way > 1 && 8 * waited >= each;
        let tells = is_answer && blocks > FEWEST_MEASURED && each > self.spacing;
        tells.then_some(Tail { blocks, each, is_certain: waited >= 2 * each })
    }

    /// What seemed lost had arrived: it was the report of the gap in front of it that was lost.
    pub(super) const fn tail_arrived(&mut self) {
        if let Some(BeforeSilence { spacing, limit }) = self.before_silence.take() {
            (self.spacing, self.limit) = (spacing, limit);
        }
    }

    /// A window was acknowledged, and the last block of the one before it was lost where `last_was_lost` says so.
    pub(super) fn acknowledged(&mut self, last_was_lost: bool) {
        let before = self.spacing;
        // Where it has been slowed since that window left, it is not known yet whether this is enough.
        if last_was_lost && before <= self.acknowledged {
            self.spread();
        }
        self.acknowledged = before;
    }

    /// After silence it turned out that the last block, or only its acknowledgement, was lost.
    pub(super) fn last_lost(&mut self) {
        self.flight = None;
        self.spread();
    }

    fn spread(&mut self) {
        // To spread a window over more time than the silence took would cost more than it, unless that comes again and again.
        let before = self.spacing.max(self.smallest());
        let most = (nanos(limits::SHORTEST_PROBE) / self.window).max(before + before / 8);
        let spacing = self.near_what_held(before + before / 2).min(most);
        self.slow(spacing, spacing);
    }

    /// Where whole windows arrived by the limit, it is nearly right: what seems to be needed is no more than an eighth slower.
    fn near_what_held(&self, spacing: u64) -> u64 {
        match self.limit {
            Some(limit) if self.spacing < limit || self.hold != HOLD => {
                spacing.min(limit + limit / 8)
            }
            _ => spacing,
        }
    }

    /// Less is tried, unless a tail was lost by that.
    fn raise(&mut self) {
        let step = (3 * self.spacing / self.window)
            .clamp(self.spacing / 64, self.spacing / 8)
            .saturating_mul(1 << self.raises.min(8))
            .clamp(1, self.spacing / 2 + 1);
        let mut spacing = self.spacing.saturating_sub(step);
        if spacing < self.failed + self.failed / 4 {
            // In small steps to what is nearly as fast as what failed, and not beyond.
            spacing = self.spacing - self.spacing / 64;
            if spacing < self.failed + self.failed / 16 {
                (self.hold, self.failed) = (LONGEST_HOLD, 0);
                return;
            }
            self.hold = HOLD;
        }
        self.raises += 1;
        self.limit = Some(self.spacing);
        self.hasten(spacing);
    }

    /// The path lost blocks: from now on they leave by `spacing`, and soon by `limit` if they arrive so.
    fn slow(&mut self, spacing: u64, limit: u64) {
        let lost = self.spacing.max(self.smallest() / 2);
        let (spacing, limit) = match self.packets {
            1 => (spacing, limit),
            // Of a block in several packets nothing arrives where one of them is lost: what does is less than the path can
            // bear, which lies between what lost blocks and what did not.
            _ if self.held > lost => {
                let middle = lost.midpoint(self.held);
                (middle, middle)
            }
            _ => (spacing, limit.min(lost + lost / 2)),
        };
        self.failed = self.failed.max(lost);
        let slowest = self.slowest();
        (self.spacing, self.limit) = (spacing.min(slowest), Some(limit.min(slowest)));
        (self.raises, self.hold, self.before_silence) = (0, HOLD, None);
    }

    /// The largest spacing that the next loss may show.
    fn slowest(&self) -> u64 {
        (2 * self.spacing).clamp(SLOW * self.packets, SLOWEST * self.packets)
    }

    /// The smallest spacing at which a window does not leave in one piece.
    const fn smallest(&self) -> u64 {
        2 * nanos(QUANTUM) / self.window
    }
}

/// What leaves within this time may leave at once: a driver need not wake more often, and a buffer that a path has at all
/// holds so much at the path's own rate.
const QUANTUM: Duration = Duration::from_micros(250);

/// A burst for each round trip is the first pace, and one for each half millisecond where that is less.
const LONGEST_FIRST_TRIP: Duration = Duration::from_micros(500);

/// Of fewer blocks no rate can be told.
const FEWEST_MEASURED: u64 = 4;

/// Fewer losses, or losses among more blocks, may be by chance.
const FEWEST_LOSSES: u64 = 3;
const FEWEST_COUNTED: u64 = 32;

/// Packets without loss before a pace is tried that is faster than the one that a loss has shown, and before one that has
/// failed already is tried again.
const HOLD: u64 = 256;
const LONGEST_HOLD: u64 = 1 << 15;

/// A peer that was only busy for a moment must not slow a transfer to a crawl: one loss makes no pace slower than a packet in
/// 4 ms, the next may halve that, and none makes it slower than one in 8 ms. A receiver takes a longer pause within a window
/// for a loss.
const SLOW: u64 = 4_000_000;
const SLOWEST: u64 = 2 * SLOW;

const fn nanos(span: Duration) -> u64 {
    span.as_nanos() as u64
}

#[cfg(test)]
mod tests;
