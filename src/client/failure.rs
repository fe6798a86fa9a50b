//! Why a call fails.

use crate::transfer::Outcome;
use crate::wire::ErrorCode;
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
            Self::Server { code, .. } => matches!(
                code,
                ErrorCode::OptionRefused | ErrorCode::IllegalOperation | ErrorCode::Undefined
            ),
            _ => false,
        }
    }

    /// Whether another address of the server may fare better: a name often has an IPv6 and an IPv4 address, and a
    /// server only one of them.
    pub(super) const fn may_be_about_the_address(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Closed(_))
    }
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
            (says(E::NotFound), true, &by_server(E::NotFound), [false, false]),
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
}
