//! What is different for some clients, and the clients of the field that are known to need it.

use super::Profile;
use crate::proto::Timing;
use crate::wire::{BlockSize, Interval, OptionSet, WindowSize};
use std::num::NonZeroU64;
use std::time::Duration;

/// What is different for some clients. It takes away from what a [`Profile`] grants and adds to its patience, so that
/// whatever is [applied](Self::apply) last, no client gets more than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    left_out: OptionSet,
    block_size: Option<BlockSize>,
    window: Option<WindowSize>,
    interval: Option<Interval>,
    whole_packets: bool,
    patience: Option<Duration>,
    rate: Option<NonZeroU64>,
}

impl Quirks {
    /// Nothing is different.
    pub const fn new() -> Self {
        Self {
            left_out: OptionSet::EMPTY,
            block_size: None,
            window: None,
            interval: None,
            whole_packets: false,
            patience: None,
            rate: None,
        }
    }

    /// Treats these options as if they had not been asked for. Without `windowsize` a transfer is in lock-step, and without
    /// all of them there is no OACK.
    #[must_use]
    pub const fn leave_out(mut self, options: OptionSet) -> Self {
        self.left_out = self.left_out.union(options);
        self
    }

    /// Grants no larger blocks.
    #[must_use]
    pub const fn block_size(mut self, most: BlockSize) -> Self {
        self.block_size = Some(most);
        self
    }

    /// Grants no wider windows.
    #[must_use]
    pub const fn window(mut self, most: WindowSize) -> Self {
        self.window = Some(most);
        self
    }

    /// Grants no longer retransmission intervals: they are left out.
    #[must_use]
    pub const fn interval(mut self, longest: Interval) -> Self {
        self.interval = Some(longest);
        self
    }

    /// Grants no block that the path would carry in pieces.
    #[must_use]
    pub const fn whole_packets(mut self) -> Self {
        self.whole_packets = true;
        self
    }

    /// Gives a client so long at least to get on, and to answer at all.
    #[must_use]
    pub const fn patience(mut self, span: Duration) -> Self {
        self.patience = Some(span);
        self
    }

    /// Sends no more bytes of a file in a second.
    #[must_use]
    pub const fn rate(mut self, most: NonZeroU64) -> Self {
        self.rate = Some(most);
        self
    }

    /// The profile with what is different. A time or a rate that no [`Timing`] has changes nothing.
    #[must_use]
    pub fn apply(&self, mut profile: Profile) -> Profile {
        profile.left_out = profile.left_out.union(self.left_out);
        let limits = &mut profile.limits;
        limits.block_size =
            self.block_size.map_or(limits.block_size, |most| most.min(limits.block_size));
        limits.window = self.window.map_or(limits.window, |most| most.min(limits.window));
        limits.interval = self.interval.map_or(limits.interval, |most| most.min(limits.interval));
        profile.whole_packets |= self.whole_packets;
        profile.timing = self.times(profile.timing).unwrap_or(profile.timing);
        profile
    }

    fn times(&self, timing: Timing) -> Option<Timing> {
        let rate = [timing.rate(), self.rate].into_iter().flatten().min();
        let mut changed = timing.to_builder().rate(rate);
        if let Some(span) = self.patience {
            changed = changed.patience(span.max(timing.patience()));
            changed = changed.unanswered(span.max(timing.unanswered()));
        }
        changed.build().ok()
    }

    /// What a client of the field needs that is known by this name: one of [`KNOWN`](Self::KNOWN).
    pub fn known(name: &str) -> Option<Self> {
        Self::KNOWN.iter().find(|(known, _)| *known == name).map(|(_, quirks)| *quirks)
    }

    /// The clients of the field that are known to need something, by name. `rfc/rules.md` has the reasons.
    pub const KNOWN: &'static [(&'static str, Self)] = &[
        ("edk2", Self::new().whole_packets()),
        ("grub", Self::new().patience(Duration::from_secs(60))),
        ("ipxe", Self::new().whole_packets()),
        ("no-options", Self::new().leave_out(OptionSet::ALL)),
        ("pxelinux", Self::new().whole_packets().patience(Duration::from_secs(60))),
        ("raspberry-pi", Self::new().block_size(size(1024))),
        ("slow-flash", Self::new().patience(Duration::from_secs(180))),
        ("u-boot", Self::new().whole_packets().patience(Duration::from_secs(60))),
    ];
}

/// A block size of the table, which is legal.
const fn size(bytes: u16) -> BlockSize {
    match BlockSize::new(bytes) {
        Some(size) => size,
        None => BlockSize::DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::wire::OptionKind;

    #[test]
    fn what_is_different_only_ever_takes_away_whatever_is_applied_last() {
        let window = |blocks| WindowSize::new(blocks).expect("a window");
        let interval = |micros| Interval::from_micros(micros).expect("an interval");
        let rate = |bytes| NonZeroU64::new(bytes).expect("a rate");
        let less = Quirks::new()
            .leave_out(OptionSet::EMPTY.with(OptionKind::TransferSize))
            .block_size(size(512))
            .window(window(2))
            .interval(interval(1_000_000))
            .whole_packets()
            .patience(Duration::from_secs(60))
            .rate(rate(2048));
        let more = Quirks::new()
            .block_size(size(1024))
            .window(window(3))
            .interval(interval(2_000_000))
            .patience(Duration::from_secs(40))
            .rate(rate(4096));
        let both = less.apply(more.apply(Profile::default()));
        assert_eq!(both, more.apply(less.apply(Profile::default())));
        assert_eq!(both, less.apply(Profile::default()));
        let limits = both.limits;
        assert_eq!((limits.block_size, limits.window), (size(512), window(2)));
        assert_eq!(limits.interval, interval(1_000_000));
        assert!(both.whole_packets && both.left_out.contains(OptionKind::TransferSize));
        assert!(!both.left_out.contains(OptionKind::BlockSize));
        let timing = both.timing;
        assert_eq!([timing.patience(), timing.unanswered()], [Duration::from_secs(60); 2]);
        assert_eq!(timing.rate(), Some(rate(2048)));
        assert_eq!(Quirks::new().apply(both.clone()), both);
    }

    #[test]
    fn what_no_timing_has_changes_nothing() {
        let nonsense = [
            Quirks::new().patience(limits::LONGEST_TIMING + Duration::from_secs(1)),
            Quirks::new().rate(NonZeroU64::MIN),
        ];
        for quirks in nonsense {
            assert_eq!(quirks.apply(Profile::default()), Profile::default());
        }
    }

    #[test]
    fn the_names_of_known_clients_are_sorted_and_stand_once() {
        assert!(Quirks::KNOWN.is_sorted_by(|(a, _), (b, _)| a < b));
        let none = Quirks::known("no-options").expect("it is known");
        let profile = none.apply(Profile::default());
        assert_eq!(profile.left_out, OptionSet::ALL);
        assert_eq!(Quirks::known("nothing"), None);
    }
}
