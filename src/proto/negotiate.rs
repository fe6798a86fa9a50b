//! The terms that both sides agree on (RFC 2347). Nothing else makes an [`Agreed`].

use crate::limits;
use crate::wire::{
    BlockSize, Interval, ListFormat, Operation, OptionKind, Options, Rollover, TransferOption,
    WindowSize,
};

/// The terms of one transfer, where what was not negotiated has RFC 1350's value.
///
/// [`grant`] makes them on a server and [`accept`] on a client; the default has nothing negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Agreed {
    block_size: Option<BlockSize>,
    window: Option<WindowSize>,
    interval: Option<Interval>,
    transfer_size: Option<u64>,
    rollover: Option<Rollover>,
    list: Option<ListFormat>,
}

impl Agreed {
    /// The payload bytes of each block but the last: 512 when none were negotiated.
    pub fn block_size(&self) -> BlockSize {
        self.block_size.unwrap_or(BlockSize::DEFAULT)
    }

    /// The most blocks under way at once: 1 when no window was negotiated.
    pub fn window(&self) -> WindowSize {
        self.window.unwrap_or(WindowSize::LOCKSTEP)
    }

    /// The bytes of a whole DATA packet, its header included.
    pub fn packet_bytes(&self) -> usize {
        self.block_size().packet_bytes()
    }

    /// The bytes of a full window of DATA packets, headers included.
    pub fn window_bytes(&self) -> usize {
        self.window().bytes(self.block_size())
    }

    /// The retransmission interval, where one was negotiated.
    pub const fn interval(&self) -> Option<Interval> {
        self.interval
    }

    /// The size of the file in bytes, where it was told (RFC 2349).
    pub const fn transfer_size(&self) -> Option<u64> {
        self.transfer_size
    }

    /// The number that follows block 65,535, where that was negotiated.
    pub const fn rollover(&self) -> Option<Rollover> {
        self.rollover
    }

    /// The format of the listing, where one was negotiated.
    pub const fn list(&self) -> Option<ListFormat> {
        self.list
    }

    fn apply(&mut self, option: TransferOption) {
        match option {
            TransferOption::BlockSize(size) => self.block_size = Some(size),
            TransferOption::WindowSize(blocks) => self.window = Some(blocks),
            TransferOption::Timeout(secs) => self.interval = Some(Interval::from_secs(secs)),
            TransferOption::MicroTimeout(interval) => self.interval = Some(interval),
            TransferOption::TransferSize(bytes) => self.transfer_size = Some(bytes),
            TransferOption::Rollover(rollover) => self.rollover = Some(rollover),
            TransferOption::List(format) => self.list = Some(format),
        }
    }
}

/// The most that a server grants.
///
/// The default grants every block size and window that RFC 2348 and RFC 7440 allow, within
/// [`limits::WINDOW_BYTES`] of memory.
///
/// ```
/// use tftpkit::proto::GrantLimits;
/// use tftpkit::wire::{BlockSize, Options, TransferOption, WindowSize};
///
/// let limits = GrantLimits::default().block_size(BlockSize::try_from(1428)?);
/// let asked = Options::from_iter([TransferOption::BlockSize(BlockSize::MAX)]);
/// assert_eq!(limits.shape(&asked), (BlockSize::try_from(1428)?, WindowSize::LOCKSTEP));
/// # Ok::<(), tftpkit::wire::IllegalValue>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GrantLimits {
    /// The largest block size that is granted.
    pub block_size: BlockSize,
    /// The most blocks that are granted in a window.
    pub window: WindowSize,
    /// The most bytes of a window with its headers. A window of one block is granted whatever its bytes.
    pub window_bytes: usize,
    /// The longest retransmission interval that is granted. A longer one is left out, for no other than what was asked
    /// may be answered.
    pub interval: Interval,
}

impl Default for GrantLimits {
    fn default() -> Self {
        Self {
            block_size: BlockSize::MAX,
            window: WindowSize::MAX,
            window_bytes: limits::WINDOW_BYTES,
            interval: Interval::MAX,
        }
    }
}

impl GrantLimits {
    /// Sets the largest block size that is granted.
    #[must_use]
    pub const fn block_size(mut self, most: BlockSize) -> Self {
        self.block_size = most;
        self
    }

    /// Sets the most blocks that are granted in a window.
    #[must_use]
    pub const fn window(mut self, most: WindowSize) -> Self {
        self.window = most;
        self
    }

    /// Sets the most bytes of a window with its headers.
    #[must_use]
    pub const fn window_bytes(mut self, most: usize) -> Self {
        self.window_bytes = most;
        self
    }

    /// Sets the longest retransmission interval that is granted.
    #[must_use]
    pub const fn interval(mut self, longest: Interval) -> Self {
        self.interval = longest;
        self
    }

    /// The block size and window that [`grant`] gives to a request with these options. [`WindowSize::bytes`] says what
    /// memory they need.
    pub fn shape(&self, asked: &Options) -> (BlockSize, WindowSize) {
        let size = match asked.find(OptionKind::BlockSize) {
            Some(TransferOption::BlockSize(size)) => size.min(self.block_size),
            _ => BlockSize::DEFAULT,
        };
        let window = match asked.find(OptionKind::WindowSize) {
            Some(TransferOption::WindowSize(blocks)) => blocks,
            _ => WindowSize::LOCKSTEP,
        };
        let fits = self.window_bytes / size.packet_bytes();
        let fits = u16::try_from(fits).unwrap_or(u16::MAX).min(limits::WIDEST_WINDOW);
        let fits = WindowSize::new(fits).unwrap_or(WindowSize::LOCKSTEP);
        (size, window.min(self.window).min(fits))
    }
}

/// Answers a request's options as a server: gives the terms, and the options of the OACK (RFC 2347). Where those are
/// empty, there is no OACK.
///
/// `size` is the exact size in bytes to tell a reader, where it is known. No value is above the one asked for, and no
/// option is granted that was not: firmware refuses both.
pub fn grant(
    operation: Operation,
    asked: &Options,
    limits: &GrantLimits,
    size: Option<u64>,
) -> (Agreed, Options) {
    let (block_size, window) = limits.shape(asked);
    let mut agreed = Agreed::default();
    let mut answer = Options::NONE;
    for option in asked.iter() {
        let granted = match option {
            TransferOption::BlockSize(_) => Some(TransferOption::BlockSize(block_size)),
            TransferOption::WindowSize(_) => Some(TransferOption::WindowSize(window)),
            TransferOption::Timeout(_) | TransferOption::MicroTimeout(_)
                if agreed.interval.is_some() =>
            {
                None
            }
            TransferOption::Timeout(secs) => {
                (Interval::from_secs(secs) <= limits.interval).then_some(option)
            }
            TransferOption::MicroTimeout(interval) => {
                (interval <= limits.interval).then_some(option)
            }
            TransferOption::TransferSize(_) if operation == Operation::Write => Some(option),
            TransferOption::TransferSize(_) => size.map(TransferOption::TransferSize),
            TransferOption::Rollover(_) => Some(option),
            TransferOption::List(_) => (operation == Operation::List).then_some(option),
        };
        if let Some(option) = granted {
            agreed.apply(option);
            answer = answer.with(option);
        }
    }
    (agreed, answer)
}

/// Why an OACK cannot be accepted: the client ends the transfer with ERROR 8 (RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// The OACK has an option that was not asked for.
    #[error("it acknowledged '{}', which was not asked for", .0.name())]
    NotAsked(OptionKind),
    /// The OACK's value for the option is above the one asked for, or another where it must be the same.
    #[error("its value for '{}' is not what was asked for", .0.name())]
    Value(OptionKind),
}

/// Reads an OACK's options as the client that sent `offer`: gives the terms (RFC 2347).
///
/// # Errors
///
/// [`Disagreement`], when the OACK has an option or a value that the offer does not allow.
pub fn accept(offer: &Options, answer: &Options) -> Result<Agreed, Disagreement> {
    let mut agreed = Agreed::default();
    for option in answer.iter() {
        let kind = option.kind();
        let asked = offer.find(kind).ok_or(Disagreement::NotAsked(kind))?;
        let legal = match (asked, option) {
            (TransferOption::BlockSize(asked), TransferOption::BlockSize(given)) => given <= asked,
            (TransferOption::WindowSize(asked), TransferOption::WindowSize(given)) => {
                given <= asked
            }
            (TransferOption::TransferSize(_), TransferOption::TransferSize(_)) => true,
            (asked, given) => asked == given,
        };
        if !legal {
            return Err(Disagreement::Value(kind));
        }
        agreed.apply(option);
    }
    Ok(agreed)
}

/// Terms with this window and nothing else, for the machines' own tests.
#[cfg(test)]
pub(super) fn windowed(blocks: u16) -> Agreed {
    Agreed { window: WindowSize::new(blocks), ..Agreed::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU8;

    fn asked(block_size: u16, window: u16) -> Options {
        let size = BlockSize::new(block_size).expect("a size");
        let window = WindowSize::new(window).expect("a window");
        Options::NONE.with(TransferOption::BlockSize(size)).with(TransferOption::WindowSize(window))
    }

    /// The block size and window of the terms for one who asks for these.
    fn granted((block_size, window): (u16, u16), window_bytes: usize) -> (usize, u16) {
        let limits = GrantLimits::default().window_bytes(window_bytes);
        let asked = asked(block_size, window);
        let (agreed, _) = grant(Operation::Read, &asked, &limits, None);
        assert_eq!(limits.shape(&asked), (agreed.block_size(), agreed.window()));
        (agreed.block_size().get(), agreed.window().get())
    }

    #[test]
    fn a_window_is_as_large_as_its_memory_with_headers_and_never_empty() {
        assert_eq!(granted((1428, 64), 10 * 1432), (1428, 10));
        assert_eq!(granted((1428, 64), 10 * 1432 - 1), (1428, 9));
        assert_eq!(granted((1428, 64), 2 * 1432 - 1), (1428, 1));
        assert_eq!(granted((1428, 64), 0), (1428, 1));
    }

    #[test]
    fn a_window_takes_its_packets_times_their_length_with_headers() {
        let asked = asked(1428, 10);
        let agreed = accept(&asked, &asked).expect("what was asked");
        assert_eq!((agreed.packet_bytes(), agreed.window_bytes()), (1432, 14_320));
        let plain = Agreed::default();
        assert_eq!((plain.packet_bytes(), plain.window_bytes()), (516, 516));
    }

    #[test]
    fn a_window_is_no_wider_than_block_numbers_tell_apart() {
        let memory = usize::MAX;
        assert_eq!(granted((8, 32_766), memory), (8, 32_766));
        assert_eq!(granted((8, 32_767), memory), (8, 32_767));
        assert_eq!(granted((8, 32_768), memory), (8, 32_767));
    }

    #[test]
    fn no_more_is_granted_than_the_server_allows_and_the_client_asked() {
        let limits = GrantLimits::default()
            .block_size(BlockSize::new(1000).expect("a size"))
            .window(WindowSize::new(5).expect("a window"));
        for (wish, given) in [((999, 4), (999, 4)), ((1000, 5), (1000, 5)), ((1001, 6), (1000, 5))]
        {
            let answer = grant(Operation::Write, &asked(wish.0, wish.1), &limits, None).1;
            assert_eq!(answer, asked(given.0, given.1));
        }
    }

    #[test]
    fn of_two_intervals_the_first_counts() {
        let limits = GrantLimits::default();
        let micros = Interval::from_micros(500_000).expect("an interval");
        let seconds = NonZeroU8::new(3).expect("an interval");
        let two = [TransferOption::MicroTimeout(micros), TransferOption::Timeout(seconds)];
        for [first, second] in [two, [two[1], two[0]]] {
            let asked = Options::NONE.with(first).with(second);
            let (agreed, answer) = grant(Operation::Read, &asked, &limits, None);
            assert_eq!(answer, Options::NONE.with(first));
            assert_eq!(accept(&asked, &answer), Ok(agreed));
        }
    }

    #[test]
    fn an_interval_is_granted_as_it_was_asked_or_left_out_where_it_is_too_long() {
        let limits = |micros| {
            let longest = Interval::from_micros(micros).expect("an interval");
            GrantLimits::default().interval(longest)
        };
        let seconds = TransferOption::Timeout(NonZeroU8::new(3).expect("an interval"));
        let micros = Interval::from_micros(3_000_000).expect("an interval");
        for option in [seconds, TransferOption::MicroTimeout(micros)] {
            let asked = Options::NONE.with(option);
            for (longest, granted) in [(3_000_000, asked), (2_999_999, Options::NONE)] {
                let (agreed, answer) = grant(Operation::Read, &asked, &limits(longest), None);
                assert_eq!((agreed.interval().is_some(), answer), (!granted.is_empty(), granted));
            }
        }
    }

    #[test]
    fn an_answer_is_accepted_up_to_what_was_asked() {
        let offer = asked(1000, 5);
        for given in [(1000, 5), (999, 4), (8, 1)] {
            let agreed = accept(&offer, &asked(given.0, given.1)).expect("less is legal");
            assert_eq!(
                (agreed.block_size().get(), agreed.window().get()),
                (given.0.into(), given.1)
            );
        }
        let value = |kind| Err(Disagreement::Value(kind));
        assert_eq!(accept(&offer, &asked(1001, 5)), value(OptionKind::BlockSize));
        assert_eq!(accept(&offer, &asked(1000, 6)), value(OptionKind::WindowSize));
        let size = Options::NONE.with(TransferOption::TransferSize(7));
        let not_asked = Disagreement::NotAsked(OptionKind::TransferSize);
        assert_eq!(accept(&offer, &size), Err(not_asked));
        let told = Options::NONE.with(TransferOption::TransferSize(1 << 40));
        let agreed = accept(&size, &told).expect("a size is told, whatever was asked");
        assert_eq!(agreed.transfer_size(), Some(1 << 40));
    }

    #[test]
    fn the_terms_hold_all_that_was_answered() {
        let interval = Interval::from_micros(500_000).expect("an interval");
        let answer = asked(1000, 5)
            .with(TransferOption::MicroTimeout(interval))
            .with(TransferOption::TransferSize(7))
            .with(TransferOption::Rollover(Rollover::ToOne))
            .with(TransferOption::List(ListFormat::Json));
        let agreed = accept(&answer, &answer).expect("what was asked");
        assert_eq!((agreed.block_size().get(), agreed.window().get()), (1000, 5));
        assert_eq!((agreed.interval(), agreed.transfer_size()), (Some(interval), Some(7)));
        assert_eq!(agreed.rollover(), Some(Rollover::ToOne));
        assert_eq!(agreed.list(), Some(ListFormat::Json));
    }
}
