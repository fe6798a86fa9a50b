//! The bytes of a regular file on their way out.

use super::Readable;
use super::root::OpenRoot;
use crate::transfer::{PeerWords, Source};
use rustix::fs::{OFlags, Stat};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::path::PathBuf;
use std::sync::Arc;

impl Readable {
    /// The regular file `file`, as long as it is now. One that grows is sent with that length; one that shrinks, or whose
    /// bytes are written over meanwhile, fails the transfer.
    pub fn file(file: File) -> io::Result<Self> {
        let about = rustix::fs::fstat(&file)?;
        Ok(Self::contents(Contents::new(Arc::new(file), &about)))
    }

    pub(super) fn contents(contents: Contents) -> Self {
        let size = contents.end;
        Self::exact(contents, size)
    }
}

/// A file as long as it was when it was opened. It ends with an error if it changed since: what was read of it may be of
/// two files.
pub(super) struct Contents {
    file: Arc<File>,
    /// What is read next, and where it ends.
    at: u64,
    end: u64,
    /// What was known of it when it was opened.
    opened: State,
    /// Where it was found, if that was in a folder.
    place: Option<(Arc<OpenRoot>, PathBuf)>,
    /// Whether one that only grows is sent.
    may_grow: bool,
    /// Whether the file system can read without waiting, as far as is known.
    has_nowait: bool,
    /// Whether one that cannot may wait for a network.
    is_remote: bool,
}

/// What changes with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    size: u64,
    /// When its bytes changed, and when anything of it did: seconds and nanoseconds.
    modified: (i64, u64),
    changed: (i64, u64),
    /// What changes without its bytes: names, mode, owner and group.
    links: nix::libc::nlink_t,
    owner: (u32, u32, u32),
}

impl State {
    fn of(about: &Stat) -> Self {
        Self {
            size: about.st_size as u64,
            modified: (about.st_mtime, about.st_mtime_nsec),
            changed: (about.st_ctime, about.st_ctime_nsec),
            links: about.st_nlink,
            owner: (about.st_mode, about.st_uid, about.st_gid),
        }
    }
}

const SHORTER: PeerWords = PeerWords("the file became shorter while it was sent");
const LONGER: PeerWords = PeerWords("the file is still being written");
const OTHER: PeerWords = PeerWords("the file changed while it was sent");

impl Contents {
    /// The file of which `about` is known, which says how much of it is sent.
    pub(super) fn new(file: Arc<File>, about: &Stat) -> Self {
        let opened = State::of(about);
        Self {
            file,
            at: 0,
            end: opened.size,
            opened,
            place: None,
            may_grow: true,
            has_nowait: true,
            is_remote: false,
        }
    }

    /// It was found there, and is sent although it grows, or not.
    pub(super) fn found(
        mut self,
        root: Arc<OpenRoot>,
        path: PathBuf,
        about: &Stat,
        may_grow: bool,
    ) -> Self {
        self.is_remote = root.has_remote(&self.file, about);
        self.place = Some((root, path));
        self.may_grow = may_grow;
        self
    }

    /// So many bytes were read behind `at`.
    fn advance(&mut self, bytes: usize) -> io::Result<usize> {
        let bytes = (self.end - self.at).min(bytes as u64);
        if bytes == 0 && self.at < self.end {
            return Err(SHORTER.into());
        }
        self.at += bytes;
        if self.at == self.end {
            self.check()?;
        }
        Ok(bytes as usize)
    }

    /// All of it was read: looks whether it was one file all the time.
    fn check(&self) -> io::Result<()> {
        let now = State::of(&rustix::fs::fstat(&self.file)?);
        if now == self.opened {
            return Ok(());
        }
        let (was, grows) = (&self.opened, now.size > self.opened.size);
        if now.size < was.size {
            Err(SHORTER.into())
        } else if grows && !self.may_grow {
            Err(LONGER.into())
        } else if grows {
            Ok(())
        } else if now.modified != was.modified || (now.is_unexplained(was) && self.is_in_place()) {
            Err(OTHER.into())
        } else {
            Ok(())
        }
    }

    /// Whether it still has the name that it was asked for by. When it loses that it changes, and its bytes do not.
    fn is_in_place(&self) -> bool {
        let Some((root, path)) = &self.place else { return false };
        let found = super::beneath::open(&root.dir, path, OFlags::PATH);
        let inode = |about: Stat| (about.st_dev, about.st_ino);
        let found = found.and_then(|found| Ok(inode(rustix::fs::fstat(found)?)));
        let own = rustix::fs::fstat(&self.file).map(inode);
        matches!((found, own), (Ok(found), Ok(own)) if found == own)
    }

    /// Whether one more read may reach the end, behind which a look at the file may wait for a network.
    fn is_remote_end(&self, bufs: &[IoSliceMut<'_>]) -> bool {
        let room: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.is_remote && self.end - self.at <= room as u64
    }
}

impl State {
    /// Whether it changed in a way that neither its names nor its owner show: its bytes may have been written over and
    /// their time set back.
    fn is_unexplained(&self, was: &Self) -> bool {
        self.changed != was.changed && (self.links, self.owner) == (was.links, was.owner)
    }
}

impl Source for Contents {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let is_empty = self.end == 0;
        if self.at == self.end && !is_empty {
            return Ok(0);
        }
        let read = if is_empty { 0 } else { rustix::io::preadv(&self.file, bufs, self.at)? };
        self.advance(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags};
        if self.at == self.end && self.end > 0 {
            return Ok(Some(0));
        }
        if self.is_remote_end(bufs) {
            return Ok(None);
        }
        if self.has_nowait && self.end > 0 {
            match rustix::io::preadv2(&self.file, bufs, self.at, ReadWriteFlags::NOWAIT) {
                Err(Errno::AGAIN) => return Ok(None),
                // A sandbox that does not know the call says that it is not permitted.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                    self.has_nowait = false;
                }
                read => return self.advance(read?).map(Some),
            }
        }
        // A file system of this machine that cannot tell is one in memory, more or less.
        if self.is_remote { Ok(None) } else { self.read(bufs).map(Some) }
    }
}
