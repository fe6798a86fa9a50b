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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn contents(file: &tempfile::NamedTempFile) -> Contents {
        let file = file.reopen().expect("it opens");
        let about = rustix::fs::fstat(&file).expect("a file");
        Contents::new(Arc::new(file), &about)
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    /// Tries to read into two buffers of these lengths.
    fn read(contents: &mut Contents, lengths: [usize; 2]) -> Result<Option<usize>, String> {
        let [mut first, mut second] = lengths.map(|length| vec![0; length]);
        let bufs = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        contents.try_read(bufs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_read_that_reaches_the_end_of_a_remote_file_would_wait_and_no_other_does() {
        let file = file(b"few bytes");
        for (is_remote, lengths, expected) in [
            (true, [4, 4], Some(8)),
            (true, [4, 5], None),
            (true, [0, 9], None),
            (true, [9, 9], None),
            (false, [4, 5], Some(9)),
        ] {
            let mut contents = Contents { is_remote, ..contents(&file) };
            let told = read(&mut contents, lengths);
            assert_eq!(told, Ok(expected), "into {lengths:?}, remote: {is_remote}");
        }
        // Who is at the end has no more to ask.
        let mut contents = Contents { is_remote: true, ..contents(&file) };
        contents.read(&mut [IoSliceMut::new(&mut [0; 9])]).expect("its bytes");
        assert_eq!(read(&mut contents, [4, 4]), Ok(Some(0)), "all of it was sent");
    }

    #[test]
    fn where_it_cannot_be_told_whether_a_read_waits_it_may_for_a_network_and_for_no_disk() {
        let file = file(b"few bytes");
        for (is_remote, expected) in [(true, None), (false, Some(4))] {
            let mut contents = Contents { is_remote, has_nowait: false, ..contents(&file) };
            assert_eq!(read(&mut contents, [2, 2]), Ok(expected), "remote: {is_remote}");
        }
    }

    #[test]
    fn one_that_was_empty_is_looked_at_before_that_is_said() {
        let mut file = file(b"");
        let mut before = [true, false].map(|may_grow| Contents { may_grow, ..contents(&file) });
        assert_eq!(read(&mut before[1], [4, 4]), Ok(Some(0)));
        file.write_all(b"more").expect("written");
        let told = before.each_mut().map(|contents| read(contents, [4, 4]));
        assert_eq!(told, [Ok(Some(0)), Err(LONGER.0.into())], "one that may grow, and another");
    }

    #[test]
    fn one_that_grows_is_sent_as_it_was_unless_it_must_not() {
        let mut file = file(b"few bytes");
        let mut before = [contents(&file), Contents { may_grow: false, ..contents(&file) }];
        file.write_all(b" and more").expect("written");
        let told = before.each_mut().map(|contents| read(contents, [9, 9]));
        assert_eq!(told, [Ok(Some(9)), Err(LONGER.0.into())]);
    }

    #[test]
    fn a_change_within_a_second_is_seen_without_a_place_and_what_is_not_of_its_bytes_is_none() {
        let file = file(b"few bytes");
        let modified = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 1_000);
        file.as_file().set_modified(modified).expect("a time");
        let mut all = [(); 2].map(|()| contents(&file));
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(file.path(), mode).expect("a mode");
        assert_eq!(read(&mut all[0], [9, 0]), Ok(Some(9)), "its mode is another");
        let later = modified + std::time::Duration::from_nanos(1_000);
        file.as_file().set_modified(later).expect("a time");
        assert_eq!(read(&mut all[1], [9, 0]), Err(OTHER.0.into()), "it was written");
    }
}
