//! What to ask a server for.

use crate::limits;
use crate::proto::Timing;
use crate::wire::{BlockSize, Interval, Mode, Operation, WindowSize};
use std::num::NonZeroU8;
use std::time::Duration;

/// What to ask a server for. The default asks for what is fastest.
///
/// ```
/// use tftpkit::client::Wishes;
/// use tftpkit::wire::{BlockSize, Mode};
///
/// let wishes = Wishes::default().block_size(BlockSize::new(1428)).mode(Mode::Netascii);
/// assert_ne!(wishes, Wishes::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub(super) block_size: Option<BlockSize>,
    pub(super) window: Option<WindowSize>,
    pub(super) timeout: Option<NonZeroU8>,
    pub(super) retries: Option<u32>,
    pub(super) every: Option<Duration>,
    pub(super) mode: Mode,
    pub(super) plain: bool,
    pub(super) no_offload: bool,
}

impl Wishes {
    /// The size of a block; `None`, the default, takes what fits the path in one piece.
    #[must_use]
    pub fn block_size(mut self, size: impl Into<Option<BlockSize>>) -> Self {
        self.block_size = size.into();
        self
    }

    /// The blocks in a window; `None`, the default, takes what the receive buffer holds, within reason.
    #[must_use]
    pub fn window(mut self, window: impl Into<Option<WindowSize>>) -> Self {
        self.window = window.into();
        self
    }

    /// The seconds before something is sent again, on both sides; `None`, the default, lets both measure.
    #[must_use]
    pub fn timeout(mut self, seconds: impl Into<Option<NonZeroU8>>) -> Self {
        self.timeout = seconds.into();
        self
    }

    /// How often a request is repeated before there is no answer; `None`, the default, repeats it for seven seconds.
    /// Where this takes longer than [`limits::PATIENCE`], a server that has answered gets as long for each block.
    #[must_use]
    pub fn retries(mut self, retries: impl Into<Option<u32>>) -> Self {
        self.retries = retries.into();
        self
    }

    /// Asks at this constant interval, for a device that listens for a moment when it starts; `None`, the default, asks
    /// less and less often. A call then takes as long as ten of them, and ten seconds at least, with options, and as long
    /// without.
    #[must_use]
    pub fn every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.every = interval.into();
        self
    }

    /// The representation of files on their way; the default is octet, byte for byte.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether to ask without options, as in RFC 1350; the default is to ask with them.
    #[must_use]
    pub const fn plain(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// Whether the kernel may cut and join packets, which is the default; a device that claims to do it may fail at
    /// it.
    #[must_use]
    pub const fn offload(mut self, allowed: bool) -> Self {
        self.no_offload = !allowed;
        self
    }

    /// How long to wait for answers to such a request, and to what follows it.
    pub fn timing(&self, operation: Operation) -> Timing {
        let standard = Timing::default();
        if let Some(interval) = self.every {
            let every = interval.clamp(limits::SHORTEST_ASKING, limits::LONGEST_TIMING);
            let unanswered =
                SHORTEST_ROUND.max(every.saturating_mul(10)).min(limits::LONGEST_TIMING);
            let floor = standard.floor.min(every);
            return Timing { first: every, floor, ceiling: every, unanswered, ..standard };
        }
        let first = match (self.timeout, self.retries, operation) {
            (Some(secs), ..) => Interval::from_secs(secs).get(),
            (None, None, Operation::Read | Operation::List) => EARLY_REPEAT,
            _ => standard.first,
        };
        let usual = if first == EARLY_REPEAT { EARLY_REPEATS } else { REPEATS };
        // Doubled each time up to the ceiling, as the retransmission timer does it.
        let ceiling = standard.ceiling.max(first);
        let waits = (0..=self.retries.unwrap_or(usual).min(MOST_REPEATS))
            .map(|n| first.saturating_mul(1 << n.min(16)).min(ceiling));
        let unanswered: Duration = waits.sum();
        // Who asked for more patience with a request has it with what follows; a device that is slow with one erases its
        // flash, or checks it at the end.
        let is_told = self.timeout.is_some() || self.retries.is_some();
        let patience = if is_told { unanswered } else { Duration::ZERO }.max(standard.patience);
        Timing { first, ceiling, patience, unanswered, ..standard }
    }
}

/// How often a request is repeated by default: after 1 and after 3 seconds, and after 7 there is no answer.
const REPEATS: u32 = 2;

/// When nobody asked for other times, a request to read is repeated after so long: on the paths of today a loss is
/// far likelier than a longer way, and a second is a hundred times what a small file takes. A request to write is
/// not, for there are servers that open, and so cut, the file for each of them.
const EARLY_REPEAT: Duration = Duration::from_millis(50);

/// How often then, doubling as before: last after 3.15 seconds, and after 6.35 there is no answer.
const EARLY_REPEATS: u32 = 6;

/// Asked at a constant interval, a server has so long before it is asked in another way.
const SHORTEST_ROUND: Duration = Duration::from_secs(10);

/// More repeats than anyone waits for.
const MOST_REPEATS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Time;
    use crate::transfer::{Action, Memory, Outcome, Transfer};
    use crate::wire::{Options, Packet, Request, WireBlock};

    fn waits(wishes: Wishes, operation: Operation) -> (u128, u128) {
        let timing = wishes.timing(operation);
        (timing.first.as_millis(), timing.unanswered.as_millis())
    }

    #[test]
    fn a_request_to_read_is_repeated_early_and_times_that_were_asked_for_are_kept() {
        let standard = Wishes::default();
        assert_eq!(waits(standard, Operation::Read), (50, 6350));
        assert_eq!(waits(standard, Operation::List), (50, 6350));
        assert_eq!(waits(standard, Operation::Write), (1000, 7000));
        // More repeats than a thousand are no more, and the longest that may be asked for has an end.
        let of_repeats = |repeats| waits(standard.retries(repeats), Operation::Write).1;
        assert_eq!(
            [999, 1000, 1001, u32::MAX].map(of_repeats),
            [4_992_000, 4_997_000, 4_997_000, 4_997_000]
        );
        let counted = standard.retries(2);
        assert_eq!(waits(counted, Operation::Read), (1000, 7000));
        let timed = standard.timeout(NonZeroU8::new(3));
        assert_eq!(waits(timed, Operation::Read), (3000, 3000 + 5000 + 5000));
        let both = timed.retries(0);
        assert_eq!(waits(both, Operation::Read), (3000, 3000));
        // A device that erases its flash is waited for with its last block as with its request; nobody gets less time.
        let patience = |wishes: Wishes| wishes.timing(Operation::Write).patience.as_secs();
        let slow = standard.timeout(NonZeroU8::new(20)).retries(10);
        let long = standard.timeout(NonZeroU8::new(20));
        assert_eq!([standard, both, long, slow].map(patience), [30, 30, 60, 220]);
        assert_eq!(slow.timing(Operation::Write).first.as_secs(), 20, "one request for 18 seconds");
        assert_eq!(patience(standard.retries(20)), 97);
        // No wait is longer than five seconds, unless that was asked for.
        let ceiling = |wishes: Wishes| wishes.timing(Operation::Read).ceiling.as_secs();
        assert_eq!([timed, standard.timeout(NonZeroU8::new(9))].map(ceiling), [5, 9]);
    }

    #[test]
    fn at_a_constant_interval_a_request_is_repeated_for_ten_seconds_at_least() {
        let every = |millis| {
            let wishes = Wishes::default().every(Duration::from_millis(millis)).retries(0);
            let timing = wishes.timing(Operation::Write);
            assert!(timing.floor <= timing.ceiling, "{timing:?}");
            [timing.first, timing.ceiling, timing.unanswered].map(|span| span.as_millis())
        };
        assert_eq!(every(500), [500, 500, 10_000]);
        assert_eq!(every(2000), [2000, 2000, 20_000]);
        assert_eq!(every(1), [50, 50, 10_000]);
        let longest = limits::LONGEST_TIMING.as_millis();
        assert_eq!(every(u64::MAX), [longest; 3]);
        let patience = Wishes::default().every(Duration::from_millis(1)).timing(Operation::Write);
        assert_eq!(patience.patience, Timing::default().patience, "who has answered has its time");
    }

    /// Polls from one time to another, and tells how many requests left.
    fn requests(put: &mut Transfer, from: u64, to: u64) -> usize {
        let (mut now, mut requests) = (Time::from_micros(from * 1000), 0);
        let end = Time::from_micros(to * 1000);
        loop {
            match put.poll(now) {
                Action::Send(burst) => requests += usize::from(burst.bytes[1] == 2),
                Action::Storage => assert!(put.try_storage(now), "memory never waits"),
                Action::Wait(until) if until < end => now = until,
                Action::Wait(_) | Action::Done => return requests,
            }
        }
    }

    #[test]
    fn a_device_that_erases_before_and_checks_behind_is_waited_for_with_one_request() {
        let told = Wishes::default().timeout(NonZeroU8::new(20)).retries(10);
        for (wishes, lasts) in [(told, true), (Wishes::default(), false)] {
            let options = Options::NONE;
            let request =
                Request { operation: Operation::Write, name: b"f", mode: Mode::Octet, options };
            let (start, timing) = (Time::START, wishes.timing(Operation::Write));
            let source = Box::new(Memory::new(vec![7; 600]));
            let mut put = Transfer::put(start, timing, &request, source);
            let asked = requests(&mut put, 0, 18_000);
            assert_eq!((asked == 1, put.summary().outcome.is_none()), (lasts, lasts), "{asked}");
            let mut put =
                Transfer::put(start, timing, &request, Box::new(Memory::new(vec![7; 600])));
            requests(&mut put, 0, 1);
            let answer = |block| Packet::Ack { block: WireBlock(block) }.to_vec();
            for block in [0, 1] {
                put.handle(Time::from_micros(1000), &answer(block));
                requests(&mut put, 1, 2);
            }
            requests(&mut put, 2, 45_000);
            put.handle(Time::from_micros(45_000_000), &answer(2));
            requests(&mut put, 45_000, 45_001);
            assert_eq!(put.summary().outcome == Some(Outcome::Complete), lasts);
        }
    }
}
