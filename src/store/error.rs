//! Why a store does not do what was asked of it.

use crate::transfer::{PeerWords, error_code};
use crate::wire::ErrorCode;
use std::borrow::Cow;
use std::io;

/// What a peer is told of whatever is no fault of its own.
pub(crate) const SERVER_ERROR: &str = "server error";

/// What a peer is told of an upload that has more bytes than it may have.
pub(super) const TOO_LARGE: PeerWords = PeerWords("larger than an upload may be");

/// Why a store does not do what was asked of it. The peer learns [`code`](Self::code) and [`text`](Self::text), which
/// never name anything of the server's; the reason itself is for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file or directory.
    #[error("not found")]
    NotFound,
    /// A file of that name is there already.
    #[error("exists already")]
    Exists,
    /// What was asked is refused with this code and these words, which the peer learns, for this reason.
    #[error("{reason}")]
    Refused {
        /// The code for the peer.
        code: ErrorCode,
        /// The text for the peer. It must not name anything of the server's.
        text: &'static str,
        /// The reason, for the log.
        reason: Cow<'static, str>,
    },
    /// The system failed.
    #[error("{0}")]
    Io(io::Error),
}

impl StoreError {
    /// What was asked is not allowed, for this reason, which the peer does not learn: ERROR 2.
    pub fn denied(reason: impl Into<Cow<'static, str>>) -> Self {
        let code = ErrorCode::AccessViolation;
        Self::refused(code, code.text()).because(format!("not allowed: {}", reason.into()))
    }

    /// There is no room for what was asked, for this reason, which the peer does not learn: ERROR 3.
    pub fn full(reason: impl Into<Cow<'static, str>>) -> Self {
        let code = ErrorCode::DiskFull;
        Self::refused(code, code.text()).because(format!("no room: {}", reason.into()))
    }

    /// What was asked is refused with this code and these words, which the peer learns: they must not name anything of the
    /// server's. The log gets the same words, unless they have [a reason](Self::because).
    pub const fn refused(code: ErrorCode, text: &'static str) -> Self {
        Self::Refused { code, text, reason: Cow::Borrowed(text) }
    }

    /// The same for this reason, which the log has and the peer does not learn.
    #[must_use]
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { code: self.code(), text: self.text(), reason: reason.into() }
    }

    /// Nothing may be written.
    pub(crate) const fn uploads_off() -> Self {
        Self::refused(ErrorCode::AccessViolation, "uploads are off")
    }

    /// Only files that are there may be written.
    pub(super) const fn no_new_files() -> Self {
        Self::refused(ErrorCode::AccessViolation, "new files are not allowed")
    }

    /// A file was meant.
    pub(crate) const fn is_a_directory() -> Self {
        Self::refused(ErrorCode::AccessViolation, "is a directory")
    }

    /// The name has a directory that is not there.
    pub(super) const fn no_such_directory() -> Self {
        Self::refused(ErrorCode::NotFound, "no such directory")
    }

    /// No file can have this name here.
    pub(super) const fn too_long() -> Self {
        Self::refused(ErrorCode::NotFound, "the name is too long")
    }

    /// The system, or the operator, does not let the server do it.
    pub(super) const fn no_permission() -> Self {
        Self::refused(ErrorCode::AccessViolation, "no permission")
    }

    /// Nobody may write a file of this name, for this reason.
    pub(crate) fn reserved_name(reason: &'static str) -> Self {
        Self::refused(ErrorCode::AccessViolation, "a reserved name").because(reason)
    }

    /// More was announced than one upload may have.
    pub(super) const fn too_large() -> Self {
        Self::refused(ErrorCode::DiskFull, TOO_LARGE.0)
    }

    /// The name, or a link, leads out of the root.
    pub(super) const fn outside() -> Self {
        Self::refused(ErrorCode::AccessViolation, "outside the folder")
    }

    /// The name is that of a link to nothing.
    pub(super) const fn dead_link() -> Self {
        Self::refused(ErrorCode::AccessViolation, "a link that leads nowhere")
    }

    /// The code for the peer. U-Boot stops at 1 and 2 and tries for ever at any other, so these two are exact.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Refused { code, .. } => *code,
            Self::Exists => ErrorCode::FileExists,
            Self::Io(_) => ErrorCode::Undefined,
        }
    }

    /// The text for the peer.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Io(_) => SERVER_ERROR,
            Self::Refused { text, .. } => text,
            known => known.code().text(),
        }
    }
}

/// Whether the system has no more of something that every file needs: a client that asks again may find it.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let has_no_descriptor =
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
    has_no_descriptor || error.kind() == io::ErrorKind::OutOfMemory
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => return Self::NotFound,
            Some(Errno::NAMETOOLONG) => return Self::too_long(),
            Some(Errno::XDEV) => return Self::outside().because("a link leads outside the folder"),
            _ => {}
        }
        match error_code(&error) {
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::AccessViolation => match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => {
                    Self::refused(ErrorCode::AccessViolation, "read-only disk")
                }
                io::ErrorKind::IsADirectory => Self::is_a_directory(),
                _ => Self::no_permission(),
            },
            ErrorCode::FileExists => Self::Exists,
            ErrorCode::DiskFull => Self::full("the disk is full"),
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind as Kind;

    #[test]
    fn what_the_system_says_becomes_a_code_and_a_reason_of_its_own() {
        let cases = [
            (Kind::NotFound, 1, "not found"),
            (Kind::NotADirectory, 1, "not found"),
            (Kind::InvalidFilename, 1, "not found"),
            (Kind::PermissionDenied, 2, "no permission"),
            (Kind::ReadOnlyFilesystem, 2, "read-only disk"),
            (Kind::IsADirectory, 2, "is a directory"),
            (Kind::StorageFull, 3, "no room: the disk is full"),
            (Kind::QuotaExceeded, 3, "no room: the disk is full"),
            (Kind::AlreadyExists, 6, "exists already"),
            (Kind::TimedOut, 0, "timed out"),
        ];
        for (kind, code, reason) in cases {
            let error = StoreError::from(io::Error::from(kind));
            assert_eq!((u16::from(error.code()), &*error.to_string()), (code, reason));
        }
        let too_many = StoreError::from(io::Error::from_raw_os_error(nix::libc::ELOOP));
        assert!(matches!(too_many, StoreError::NotFound));
        let outside = StoreError::from(io::Error::from_raw_os_error(nix::libc::EXDEV));
        assert_eq!((u16::from(outside.code()), outside.text()), (2, "outside the folder"));
        assert_eq!(outside.to_string(), "a link leads outside the folder");
        let too_long = StoreError::from(io::Error::from_raw_os_error(nix::libc::ENAMETOOLONG));
        assert_eq!((u16::from(too_long.code()), too_long.text()), (1, "the name is too long"));
        use nix::libc::{EACCES, EAGAIN, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC};
        let is_short = |code| is_shortage(&io::Error::from_raw_os_error(code));
        assert_eq!([EMFILE, ENFILE, ENOMEM].map(is_short), [true; 3], "there may be some later");
        assert_eq!([EACCES, EAGAIN, ENOENT, ENOSPC].map(is_short), [false; 4]);
        assert_eq!(StoreError::Io(Kind::TimedOut.into()).text(), "server error");
        assert_eq!(StoreError::denied("a secret").text(), "access violation");
    }
}
