//! Why a call fails.

use crate::transfer::{Outcome, Summary};
use crate::wire::{BlockSize, ErrorCode};
use std::io;
use std::net::SocketAddr;

/// Why a call of a [`Client`](super::Client) did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server never answered.
    #[error("no answer from {0}")]
    NoAnswer(SocketAddr),
    /// Nothing listens there.
    #[error("nothing listens at {0} (UDP), or it cannot be reached")]
    Closed(SocketAddr),
    /// The server fell silent in the middle, or closed its port.
    #[error("{0} broke off after {1} bytes")]
    BrokenOff(SocketAddr, u64),
    /// Everything was sent, but the server never confirmed the end.
    #[error("everything was sent, but the server did not confirm that it stored it")]
    Unconfirmed,
    /// The server ended it with an ERROR.
    #[error("the server says: {}", said(*.code, message))]
    Server {
        /// The code of the ERROR.
        code: ErrorCode,
        /// The words of the ERROR as they came: they are not fit for a terminal before control characters are escaped.
        message: String,
    },
    /// The server had everything, and then said something that is no TFTP: a device's loader refuses an image so.
    #[error("the server has everything, and says in words that are no TFTP: {0}")]
    Words(String),
    /// The server failed where its block numbers end.
    #[error("{failure}; it got as far as {blocks} blocks, and seems unable to count on")]
    Blocks {
        /// How it failed.
        failure: Box<Self>,
        /// So many blocks had travelled.
        blocks: u64,
        /// A block size with which the file, if its size is known, has fewer; there may be none.
        fits: Option<BlockSize>,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// Reading or writing failed on this side.
    #[error("{error}")]
    Local {
        /// The words of the system, or of the sink or source.
        error: String,
        /// Whether there was no room for the file.
        disk_full: bool,
    },
    /// The system refused a socket, or the use of it.
    #[error("a socket failed")]
    Socket(#[from] io::Error),
    /// The call was cancelled from here.
    #[error("cancelled")]
    Cancelled,
    /// Under load the server sent one file in two ways.
    #[error("these are not the bytes of the first download of this file")]
    Differs,
    /// The name has a NUL, with which it would end in a request, and what follows would be something else.
    #[error("no request can hold a name with a NUL")]
    Nul,
    /// The name is longer than a request that servers read.
    #[error("the name has {bytes} bytes, and a request has room for {room}")]
    NameTooLong {
        /// The bytes of the name.
        bytes: usize,
        /// The bytes that there are for a name, beside mode and options.
        room: usize,
    },
    /// The file is longer than the caller takes.
    #[error("the file is longer than {0} bytes")]
    TooLong(usize),
    /// A load has no files.
    #[error("a load needs a file")]
    NoFiles,
    /// The server does not list.
    #[error("this server offers no listing")]
    NoListing,
}

impl Failure {
    /// What an outcome other than a complete one means, where so many bytes have travelled and the server has answered
    /// or not.
    pub(super) fn of(
        outcome: Option<Outcome>,
        server: SocketAddr,
        bytes: u64,
        answered: bool,
    ) -> Self {
        match outcome {
            Some(Outcome::PeerError(code, message)) => {
                let message = String::from_utf8_lossy(&message).into_owned();
                Self::Server { code, message }
            }
            Some(Outcome::Disagreement(why)) => Self::Protocol(
                why.map_or_else(|| "its OACK makes no sense".into(), |why| why.to_string()),
            ),
            Some(Outcome::Words(words)) => Self::Words(in_one_line(&words)),
            Some(Outcome::Oversized) => Self::Protocol("a block is larger than was agreed".into()),
            Some(Outcome::Short) => {
                Self::Protocol("the file ended before the size that was told".into())
            }
            Some(Outcome::Local(code, error)) => {
                Self::Local { error, disk_full: code == ErrorCode::DiskFull }
            }
            Some(Outcome::Unconfirmed) => Self::Unconfirmed,
            Some(Outcome::Stopped) => Self::Cancelled,
            Some(Outcome::Unreachable) if !answered => Self::Closed(server),
            _ if !answered => Self::NoAnswer(server),
            _ => Self::BrokenOff(server, bytes),
        }
    }

    /// Whether a request without options may fare better.
    pub(super) const fn may_be_about_options(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Protocol(_) => true,
            // Old servers take the options for a part of the name, or for a mode that they do not have.
            Self::Server { code, .. } => matches!(
                code,
                ErrorCode::OptionRefused
                    | ErrorCode::IllegalOperation
                    | ErrorCode::Undefined
                    | ErrorCode::NotFound
                    | ErrorCode::AccessViolation
                    | ErrorCode::UnknownTid
            ),
            _ => false,
        }
    }

    /// Adds that the server may be unable to count on, where as many blocks have travelled as old ones count.
    pub(super) fn with_blocks(self, summary: &Summary, total: Option<u64>) -> Self {
        let size = summary.agreed.block_size().get() as u64;
        let (blocks, window) = (summary.bytes / size, u64::from(summary.agreed.window().get()));
        let ended = |most: &u64| (most.saturating_sub(window)..=most + 1).contains(&blocks);
        let Some(most) = COUNTED.iter().find(|most| ended(most)) else { return self };
        let fits = match total {
            Some(total) if total > 0 => (total / most + 1).max(ETHERNET.min(size + 1)),
            // As large as blocks are where each travels in one piece, or as they can be.
            _ if size < ETHERNET => ETHERNET,
            _ => BlockSize::MAX.get() as u64,
        };
        let fits = if fits <= 1024.max(ETHERNET) { ETHERNET } else { fits.next_multiple_of(1024) };
        let fits = fits.min(BlockSize::MAX.get() as u64);
        let is_enough = total.is_none_or(|total| total / fits < *most) && fits > size;
        let fits = u16::try_from(fits).ok().and_then(BlockSize::new).filter(|_| is_enough);
        Self::Blocks { failure: Box::new(self), blocks, fits }
    }

    /// Whether another address of the server may fare better: a name often has an IPv6 and an IPv4 address, and a
    /// server only one of them.
    pub(super) const fn may_be_about_the_address(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Closed(_))
    }
}

/// The blocks that old servers count: in 16 bits, or in 15.
const COUNTED: [u64; 2] = [65_535, 32_767];

/// A block that travels in one piece nearly everywhere.
const ETHERNET: u64 = 1428;

/// Words without what ends lines and strings.
fn in_one_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let is_end = |c: char| c == '\0' || c.is_whitespace();
    text.trim_matches(is_end).to_owned()
}

fn said(code: ErrorCode, message: &str) -> String {
    let meaning = code.text();
    if message.is_empty() || message.eq_ignore_ascii_case(meaning) {
        format!("{meaning} (code {code})")
    } else {
        format!("{message} (code {code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::accept;
    use crate::wire::{Options, TransferOption, WindowSize};

    #[test]
    fn each_end_of_a_transfer_is_told_and_what_may_fare_better_is_tried() {
        use ErrorCode as E;
        use Outcome as O;
        const SILENT: &str = "no answer from 127.0.0.1:69";
        const BROKEN: &str = "127.0.0.1:69 broke off after 9 bytes";
        const CLOSED: &str = "nothing listens at 127.0.0.1:69 (UDP), or it cannot be reached";
        let says = |code| Some(O::PeerError(code, b"no".to_vec()));
        let by_server = |code: E| format!("the server says: no (code {code})");
        let broke = |how: &str| format!("the server broke the protocol: {how}");
        let unconfirmed = "everything was sent, but the server did not confirm that it stored it";
        let larger = broke("a block is larger than was agreed");
        let short = broke("the file ended before the size that was told");
        let words = "the server has everything, and says in words that are no TFTP: no\x1b";
        let senseless = broke("its OACK makes no sense");
        // Whether options may be why, and the address.
        let cases = [
            (None, false, SILENT, [true, true]),
            (Some(O::Silent), false, SILENT, [true, true]),
            (Some(O::Silent), true, BROKEN, [false, false]),
            (Some(O::Unreachable), false, CLOSED, [false, true]),
            (Some(O::Unreachable), true, BROKEN, [false, false]),
            (Some(O::Unconfirmed), true, unconfirmed, [false, false]),
            (Some(O::Stopped), true, "cancelled", [false, false]),
            (Some(O::Oversized), true, &larger, [true, false]),
            (Some(O::Short), true, &short, [true, false]),
            (Some(O::Disagreement(None)), true, &senseless, [true, false]),
            (says(E::Undefined), true, &by_server(E::Undefined), [true, false]),
            (says(E::IllegalOperation), true, &by_server(E::IllegalOperation), [true, false]),
            (says(E::OptionRefused), true, &by_server(E::OptionRefused), [true, false]),
            (says(E::NotFound), true, &by_server(E::NotFound), [true, false]),
            (says(E::AccessViolation), true, &by_server(E::AccessViolation), [true, false]),
            (says(E::UnknownTid), true, &by_server(E::UnknownTid), [true, false]),
            (says(E::DiskFull), true, &by_server(E::DiskFull), [false, false]),
            (says(E::FileExists), true, &by_server(E::FileExists), [false, false]),
            (Some(O::Words(b"no\x1b\r\n\0".to_vec())), true, words, [false, false]),
            (Some(O::Local(E::DiskFull, "full".into())), true, "full", [false, false]),
        ];
        let server = ([127, 0, 0, 1], 69).into();
        for (outcome, answered, told, fares_better) in cases {
            let failure = Failure::of(outcome, server, 9, answered);
            assert_eq!(failure.to_string(), told);
            let may = [failure.may_be_about_options(), failure.may_be_about_the_address()];
            assert_eq!(may, fares_better, "{told}");
        }
        let full = |code| match Failure::of(Some(O::Local(code, String::new())), server, 9, true) {
            Failure::Local { disk_full, .. } => disk_full,
            other => panic!("{other}"),
        };
        assert!(full(E::DiskFull) && !full(E::Undefined));
        // Words that say no more than the code are not said twice, and none at all is made good.
        let known = ["File not found", ""].map(|words| said(E::NotFound, words));
        assert_eq!(known, ["file not found (code 1)"; 2]);
    }

    #[test]
    fn where_block_numbers_end_the_size_that_fits_is_told() {
        let failed_in = |window: u16, block_size: u16, blocks: u64, total: Option<u64>| {
            let size = BlockSize::new(block_size).expect("a size");
            let window = WindowSize::new(window).expect("a window");
            let answer = Options::NONE.with(TransferOption::BlockSize(size));
            let answer = answer.with(TransferOption::WindowSize(window));
            let agreed = accept(&answer, &answer).expect("what was asked for");
            let bytes = blocks * u64::from(block_size);
            let summary = Summary { bytes, agreed, ..Summary::default() };
            match Failure::Cancelled.with_blocks(&summary, total) {
                Failure::Blocks { blocks, fits, .. } => Some((blocks, fits.map(BlockSize::get))),
                Failure::Cancelled => None,
                other => panic!("{other}"),
            }
        };
        let failed_with = |size, blocks, total| failed_in(1, size, blocks, total);
        let failed = |blocks, total| failed_with(512, blocks, total);
        let in_windows =
            [65_470, 65_471, 65_536, 65_537].map(|blocks| failed_in(64, 512, blocks, None));
        let counts = in_windows.map(|failed| failed.map(|(blocks, _)| blocks));
        assert_eq!(counts, [None, Some(65_471), Some(65_536), None], "a window may be on its way");
        assert_eq!(failed(65_535, Some(0)), Some((65_535, Some(1428))), "it told none");
        assert_eq!(failed(65_533, None), None);
        for blocks in [65_534, 65_535, 65_536, 32_767] {
            assert_eq!(failed(blocks, None), Some((blocks, Some(1428))));
        }
        assert_eq!(failed(65_537, None), None);
        assert_eq!(failed(65_535, Some(64 << 20)), Some((65_535, Some(1428))));
        assert_eq!(failed(65_535, Some(200 << 20)), Some((65_535, Some(4096))));
        assert_eq!(failed(32_767, Some(200 << 20)), Some((32_767, Some(7168))));
        assert_eq!(failed(65_535, Some(4096 * 65_535)), Some((65_535, Some(5120))), "one too many");
        assert_eq!(failed_with(1428, 65_535, None), Some((65_535, Some(65_464))));
        assert_eq!(failed_with(1428, 65_535, Some(64 << 20)), Some((65_535, None)), "it fits");
        // No block is so large.
        assert_eq!(failed(65_535, Some(8 << 30)), Some((65_535, None)));
        let most = 65_464 * 65_535 - 1;
        assert_eq!(failed(65_535, Some(most)), Some((65_535, Some(65_464))));
        assert_eq!(failed(65_535, Some(most + 1)), Some((65_535, None)));
    }
}
