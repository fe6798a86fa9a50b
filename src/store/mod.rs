//! Where files come from and where they go.
//!
//! This module knows names, folders and listings. It must not know packets' timing, sockets or transfers under
//! way: it opens a source, a sink or a listing and forgets it.

mod dir;
mod listing;
mod stream;
mod temporary;

pub use dir::{Folder, Uploads, regular_source};
pub use listing::{Entry, Kind, Listing, ListingError};
pub use stream::stream_source;

use crate::limits;
use crate::transfer::{Sink, Source};
use crate::wire::ErrorCode;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A place that has files. The server asks; what it does not allow it refuses here.
pub trait Store: Send + Sync {
    /// Opens a file to send, and tells its exact size.
    fn read(&self, name: &Name) -> Result<Readable, StoreError>;
    /// Opens a place for a file to come; `size` is what its sender says it has, in bytes.
    fn write(&self, name: &Name, size: Option<u64>) -> Result<Box<dyn Sink>, StoreError>;
    /// Lists a directory.
    fn list(&self, name: &Name) -> Result<Listing, StoreError>;
    /// Whether to open a file may take long, as it may over a network. (To list, or to open a place for an upload,
    /// always may.)
    fn may_wait(&self) -> bool {
        false
    }
}

/// A file that is open for reading.
pub struct Readable {
    /// Its contents.
    pub source: Source,
    /// How many bytes `source` will give.
    pub size: u64,
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable").field("size", &self.size).finish_non_exhaustive()
    }
}

/// A name that was asked for, checked: relative, without `.` and `..`, beneath the root as far as words go. The
/// root itself is the empty name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    literal: PathBuf,
    slashed: Option<Option<PathBuf>>,
}

impl Name {
    /// Checks a name from a request. Slashes in front, doubled ones and `.` mean nothing; `..` goes up, and
    /// [`StoreError::Denied`] is what leaves the root.
    pub fn parse(raw: &[u8]) -> Result<Self, StoreError> {
        if raw.len() > limits::NAME {
            return Err(StoreError::NotFound);
        }
        let literal = resolve(raw).ok_or(StoreError::Denied("outside the served folder"))?;
        // Windows boot managers ask for \Boot\BCD; a file whose name has a backslash comes first.
        let slashed = raw.contains(&b'\\').then(|| {
            let slashed: Vec<u8> =
                raw.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
            resolve(&slashed)
        });
        Ok(Self { literal, slashed })
    }

    /// The name as a path relative to the root, backslashes being ordinary characters.
    pub fn path(&self) -> &Path {
        &self.literal
    }

    /// The path with backslashes taken for slashes; `None` when there are none, an error when it leaves the root.
    fn slashed(&self) -> Option<Result<&Path, StoreError>> {
        let slashed = self.slashed.as_ref()?;
        Some(slashed.as_deref().ok_or(StoreError::Denied("outside the served folder")))
    }

    /// The directory and the last part, where there is one.
    pub fn split(&self) -> Option<(Self, &OsStr)> {
        let path = match &self.slashed {
            Some(Some(slashed)) => slashed,
            _ => &self.literal,
        };
        let parent = path.parent()?.to_path_buf();
        Some((Self { literal: parent, slashed: None }, path.file_name()?))
    }
}

fn resolve(raw: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if !path.pop() {
                    return None;
                }
            }
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

/// Why the store does not do it. The peer learns [`code`](StoreError::code) and [`text`](StoreError::text), which
/// never name anything of the server's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file or directory.
    #[error("not found")]
    NotFound,
    /// It is not allowed, for this reason.
    #[error("not allowed: {0}")]
    Denied(&'static str),
    /// A file of that name is there already.
    #[error("exists already")]
    Exists,
    /// There is no room, or more was announced than one upload may have.
    #[error("no room: {0}")]
    Full(&'static str),
    /// The system failed.
    #[error("{0}")]
    Io(io::Error),
}

impl StoreError {
    /// The code for the peer: U-Boot stops at 1 and 2 and tries for ever at any other, so these two are exact.
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
            Self::Io(_) => "server error",
            other => other.code().text(),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        const TOO_MANY_LINKS: i32 = nix::libc::ELOOP;
        match error.kind() {
            Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename => Self::NotFound,
            Kind::PermissionDenied => Self::Denied("no permission, or a link that leads outside"),
            Kind::ReadOnlyFilesystem => Self::Denied("the file system is read-only"),
            Kind::IsADirectory => Self::Denied("a directory"),
            Kind::AlreadyExists => Self::Exists,
            Kind::StorageFull | Kind::QuotaExceeded => Self::Full("the disk is full"),
            _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => Self::NotFound,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &[u8]) -> Option<String> {
        Name::parse(raw).ok().map(|name| name.path().display().to_string())
    }

    #[test]
    fn a_name_is_relative_whatever_slashes_it_has() {
        for raw in ["a/b", "/a/b", "//a//b", "./a/./b", "x/../a/b", "/a/b/"] {
            assert_eq!(path(raw.as_bytes()).as_deref(), Some("a/b"), "{raw}");
        }
        assert_eq!(path(b"").as_deref(), Some(""));
        assert_eq!(path(b"a..b").as_deref(), Some("a..b"));
        assert_eq!(path(b"%2e%2e/x").as_deref(), Some("%2e%2e/x"));
    }

    #[test]
    fn a_name_that_leaves_the_root_is_refused() {
        for raw in ["..", "../x", "a/../../x", "/../x"] {
            assert_eq!(path(raw.as_bytes()), None, "{raw}");
        }
        let name = Name::parse(b"a\\..\\..\\x").expect("an ordinary name, by its letters");
        assert!(matches!(name.slashed(), Some(Err(StoreError::Denied(_)))));
    }
}
