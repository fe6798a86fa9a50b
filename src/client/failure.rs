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
