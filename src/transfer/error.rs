//! What a peer is told in an ERROR.

use crate::limits;
use crate::wire::ErrorCode;
use std::io;

/// The ERROR code that tells a peer of a failure of the system: the only place that knows.
pub fn error_code(error: &io::Error) -> ErrorCode {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename => ErrorCode::NotFound,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::IsADirectory => {
            ErrorCode::AccessViolation
        }
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => ErrorCode::DiskFull,
        Kind::AlreadyExists => ErrorCode::FileExists,
        _ => ErrorCode::Undefined,
    }
}

/// Why a transfer fails, in words that its peer may know: they say nothing of this machine. As the cause of an
/// [`io::Error`] they become the text of the ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerWords(pub &'static str);

/// What the peer may know, and beside it what only whoever runs this may.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Explained {
    words: PeerWords,
    why: String,
}

impl PeerWords {
    /// An error of this kind that tells the peer these words, with the ERROR code of the [kind](error_code), and whoever runs
    /// this `why`.
    pub fn because(self, kind: io::ErrorKind, why: impl Into<String>) -> io::Error {
        io::Error::new(kind, Explained { words: self, why: why.into() })
    }

    /// Those of an error, if it has such.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let cause = error.get_ref()?;
        let own = || cause.downcast_ref().copied();
        own().or_else(|| cause.downcast_ref().map(|Explained { words, .. }| *words))
    }
}

impl From<PeerWords> for io::Error {
    fn from(words: PeerWords) -> Self {
        Self::other(words)
    }
}

/// As much of `text` as an ERROR may have: up to a NUL, and no part of a character.
pub(crate) fn error_text(text: &str) -> &[u8] {
    let text = text.split('\0').next().unwrap_or_default();
    let mut end = text.len().min(limits::ERROR_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_told_its_words_and_whoever_runs_this_the_reason() {
        let error = PeerWords("no").because(io::ErrorKind::PermissionDenied, "not on my watch");
        assert_eq!(
            (error_code(&error), &*error.to_string()),
            (ErrorCode::AccessViolation, "not on my watch")
        );
        assert_eq!(PeerWords::of(&error), Some(PeerWords("no")));
        assert_eq!(PeerWords::of(&PeerWords("plain").into()), Some(PeerWords("plain")));
        assert_eq!(PeerWords::of(&io::Error::other("none")), None);
    }

    #[test]
    fn a_text_is_cut_where_a_character_or_a_nul_begins() {
        let most = limits::ERROR_TEXT_BYTES;
        let long = |n| "x".repeat(n);
        assert_eq!(error_text(&long(most)), long(most).as_bytes());
        assert_eq!(error_text(&long(most + 1)), long(most).as_bytes());
        assert_eq!(error_text(&(long(most - 1) + "é")), long(most - 1).as_bytes());
        assert_eq!(error_text(&(long(most - 2) + "é")), (long(most - 2) + "é").as_bytes());
        assert_eq!([error_text("no\0thing"), error_text("\0")], ["no".as_bytes(), b""]);
    }
}
