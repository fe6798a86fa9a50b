//! Why a store does not do what was asked of it.

use crate::transfer::error_code;
use crate::wire::ErrorCode;
use std::borrow::Cow;
use std::io;

/// What a peer is told of whatever is no fault of its own.
pub(crate) const SERVER_ERROR: &str = "server error";

/// Why a store does not do what was asked of it. The peer learns [`code`](Self::code) and [`text`](Self::text), which
/// never name anything of the server's; the reason itself is for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file or directory.
    #[error("not found")]
    NotFound,
    /// What was asked is not allowed, for this reason.
    #[error("not allowed: {0}")]
    Denied(Cow<'static, str>),
    /// A file of that name is there already.
    #[error("exists already")]
    Exists,
    /// There is no room, or more was announced than one upload may have.
    #[error("no room: {0}")]
    Full(Cow<'static, str>),
    /// The system failed.
    #[error("{0}")]
    Io(io::Error),
}

impl StoreError {
    /// What was asked is not allowed, for this reason.
    pub fn denied(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Denied(reason.into())
    }

    /// There is no room for what was asked, for this reason.
    pub fn full(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Full(reason.into())
    }

    /// The code for the peer. U-Boot stops at 1 and 2 and tries for ever at any other, so these two are exact.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Denied(_) => ErrorCode::AccessViolation,
            Self::Exists => ErrorCode::FileExists,
            Self::Full(_) => ErrorCode::DiskFull,
            Self::Io(_) => ErrorCode::Undefined,
        }
    }

    /// The text for the peer.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Io(_) => SERVER_ERROR,
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
        const TOO_MANY_LINKS: i32 = nix::libc::ELOOP;
        match error_code(&error) {
            _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => Self::NotFound,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::AccessViolation => Self::denied(match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
                io::ErrorKind::IsADirectory => "a directory",
                _ => "no permission, or a link that leads outside",
            }),
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
            (Kind::PermissionDenied, 2, "not allowed: no permission, or a link that leads outside"),
            (Kind::ReadOnlyFilesystem, 2, "not allowed: the file system is read-only"),
            (Kind::IsADirectory, 2, "not allowed: a directory"),
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
        assert_eq!(StoreError::Io(Kind::TimedOut.into()).text(), "server error");
        assert_eq!(StoreError::denied("a secret").text(), "access violation");
    }
}
