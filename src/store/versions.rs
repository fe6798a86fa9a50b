//! What uploads replace stays beside it for a while: `name.~1~`, `name.~2~` and so on, the highest being the newest.
//!
//! These are the names of `cp --backup=numbered`, `install` and Emacs. A version never changes its name, so that what keeps one
//! is a second name for the old file (`link`), made and synced before the new one takes the first. A crash between leaves a
//! version too many, of which the next upload takes no other.

use super::disk::{Directory, Identity, Lookup};
use super::temporary::{Target, replaceable, sync};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

/// Digits of a number. Nobody replaces a file a thousand million times.
const DIGITS: usize = 9;
const LAST_NUMBER: u32 = 999_999_999;

/// The most bytes that a version has behind its name.
pub(super) const SUFFIX_BYTES: usize = b".~~".len() + DIGITS;

/// Tries to keep what has a name that others give away as fast.
const TRIES: usize = 100;

/// The names, each in its directory, between the last look at what is replaced and the rename that replaces it: of two uploads
/// of this process to one name, which end in the same moment, the second keeps what the first has stored.
static LOOKED_AT: Mutex<BTreeSet<(Identity, OsString)>> = Mutex::new(BTreeSet::new());
static LEFT: Condvar = Condvar::new();

/// The one who looks at a name. Others wait for it, and only for this name: a disk that hangs holds up its own uploads.
struct LastLook(Identity, OsString);

impl LastLook {
    fn at<D: Directory>(dir: &D, name: &OsStr) -> io::Result<Self> {
        let key = (dir.identity()?, name.to_owned());
        let names = LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
        let free = LEFT.wait_while(names, |names| names.contains(&key));
        free.unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Ok(Self(key.0, key.1))
    }
}

impl Drop for LastLook {
    fn drop(&mut self) {
        let key = (self.0, std::mem::take(&mut self.1));
        LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        LEFT.notify_all();
    }
}

/// Why an upload is refused that would replace something for good.
pub(super) fn cannot_keep(why: impl std::fmt::Display) -> io::Error {
    let why = format!("what it would replace cannot be kept (--keep-versions): {why}");
    io::Error::new(ErrorKind::PermissionDenied, why)
}

fn split(name: &OsStr) -> Option<(&[u8], u32)> {
    let rest = name.as_bytes().strip_suffix(b"~")?;
    let at = rest.iter().rposition(|byte| *byte == b'~')?;
    let (of, digits) = (rest[..at].strip_suffix(b".")?, &rest[at + 1..]);
    let is_number = (1..=DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number && digits[0] != b'0')?;
    Some((of, digits.parse().ok()?)).filter(|_| !of.is_empty())
}

/// Whether only a version has this name.
pub(super) fn is_version(name: &OsStr) -> bool {
    split(name).is_some()
}

fn version(of: &OsStr, number: u32) -> OsString {
    let mut name = of.to_owned();
    name.push(format!(".~{number}~"));
    name
}

/// The numbers of the versions of `of`, the newest last.
fn numbers<D: Directory>(dir: &D, of: &OsStr) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    dir.each_name(&mut |name| {
        let number = split(name).filter(|(known, _)| *known == of.as_bytes());
        found.extend(number.map(|(_, number)| number));
    })?;
    found.sort_unstable();
    Ok(found)
}

fn identity<D: Directory>(dir: &D, name: &OsStr) -> io::Result<Identity> {
    Ok(dir.look(Path::new(name), Lookup::Itself)?.identity)
}

/// Renames `name` of `from` to `to` in `dir`, in one step, once what has that name is a version.
pub(super) fn rename<D: Directory>(from: &D, name: &OsStr, dir: &D, to: &Target) -> io::Result<()> {
    let there = || -> io::Result<_> { Ok(replaceable(dir, to)?.map(|about| about.identity)) };
    for _ in 0..TRIES {
        let old = there()?;
        let kept = old.map(|old| Kept::new(dir, to, old)).transpose()?;
        let _last = match LastLook::at(dir, &to.name) {
            Ok(last) => last,
            Err(error) => {
                kept.iter().for_each(|kept| kept.undo(dir));
                return Err(error);
            }
        };
        let renamed = match there() {
            Ok(now) if now != old || kept.as_ref().is_some_and(|kept| !kept.is_there(dir)) => {
                continue;
            }
            Ok(_) => from.rename(name, dir, &to.name, true),
            Err(error) => Err(error),
        };
        if let (Err(_), Some(kept)) = (&renamed, &kept) {
            kept.undo(dir);
        }
        return renamed;
    }
    Err(cannot_keep("others replace it all the time"))
}

/// A version that is the same file still as what it is one of.
struct Kept {
    name: OsString,
    of: Identity,
    is_new: bool,
}

impl Kept {
    fn new<D: Directory>(dir: &D, to: &Target, of: Identity) -> io::Result<Self> {
        let newest = numbers(dir, &to.name).map_err(cannot_keep)?.pop();
        let last = newest.map(|newest| version(&to.name, newest));
        let known = last.filter(|last| identity(dir, last).is_ok_and(|last| last == of));
        let is_new = known.is_none();
        let name = match known {
            Some(known) => known,
            None => link(dir, &to.name, newest.unwrap_or_default())?,
        };
        let kept = Self { name, of, is_new };
        // Where names reach the disk in another order, the old one would be lost with the new name of the new one.
        sync(dir).inspect_err(|_| kept.undo(dir))?;
        Ok(kept)
    }

    fn is_there<D: Directory>(&self, dir: &D) -> bool {
        identity(dir, &self.name).is_ok_and(|now| now == self.of)
    }

    /// Nothing is replaced: unless another upload has done that, it goes.
    fn undo<D: Directory>(&self, dir: &D) {
        if self.is_new {
            let _ = dir.remove_file(&self.name);
        }
    }
}

/// Gives what has the name `of` the number behind `newest`.
fn link<D: Directory>(dir: &D, of: &OsStr, newest: u32) -> io::Result<OsString> {
    for number in (newest.saturating_add(1)..=LAST_NUMBER).take(TRIES) {
        let name = version(of, number);
        match dir.hard_link(of, dir, &name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => return linked.map(|()| name).map_err(cannot_keep),
        }
    }
    Err(cannot_keep(format!("no number behind '.~{newest}~' is free: remove that version")))
}

/// Removes the oldest versions beyond those that are kept. What cannot be removed now may be at the next upload.
pub(super) fn prune<D: Directory>(dir: &D, to: &Target) {
    let Ok(numbers) = numbers(dir, &to.name) else { return };
    let is_current = |number: u32| {
        let newest = identity(dir, &version(&to.name, number));
        newest.is_ok_and(|newest| identity(dir, &to.name).is_ok_and(|current| current == newest))
    };
    // It is on its way to be replaced, or its upload was cut off.
    let more = numbers.last().is_some_and(|newest| is_current(*newest));
    let kept = usize::from(to.keep) + usize::from(more);
    for number in &numbers[..numbers.len().saturating_sub(kept)] {
        let _ = dir.remove_file(&version(&to.name, *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;
    use std::path::PathBuf;

    #[test]
    fn the_name_of_a_version_is_read_as_it_is_written_and_no_other() {
        for number in [1, 9, 10, 999_999_999] {
            let name = version(OsStr::new("sw.cfg"), number);
            assert_eq!(split(&name), Some((&b"sw.cfg"[..], number)), "{}", name.display());
            assert!(name.len() <= b"sw.cfg".len() + SUFFIX_BYTES);
        }
        let of_a_version = version(OsStr::new("a.~1~"), 2);
        assert_eq!(split(&of_a_version), Some((&b"a.~1~"[..], 2)));
        for other in [
            "a",
            "a~",
            "a.~~",
            "a.~0~",
            "a.~01~",
            "a.~+1~",
            "a.~1~x",
            "a~1~",
            ".~1~",
            "a.~1000000000~",
        ] {
            assert!(!is_version(OsStr::new(other)), "{other}");
        }
    }

    /// Keeps one version of `f` in this folder.
    fn prune_to_one(place: &Path) {
        let dir = Dir::open_ambient_dir(place, ambient_authority()).expect("it opens");
        let dir = dir.directory(Path::new(""), Lookup::Own).expect("it opens to be read");
        let (name, path) = (OsString::from("f"), PathBuf::from("f"));
        let missing = Vec::new();
        prune(&dir, &Target { path, missing, name, replace: true, keep: 1, how: Lookup::Own });
    }

    #[test]
    fn a_version_that_cannot_be_removed_keeps_no_other() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        std::fs::create_dir(path("f.~1~")).expect("what nobody removes as a file");
        for name in ["f", "f.~2~", "f.~3~", "f.~4~"] {
            std::fs::write(path(name), name).expect("a file");
        }
        prune_to_one(place.path());
        let there = ["f.~1~", "f.~2~", "f.~3~", "f.~4~"].map(|name| path(name).exists());
        assert_eq!(there, [true, false, false, true]);
    }

    #[test]
    fn a_version_that_is_the_file_itself_still_takes_no_other_ones_place() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        std::fs::write(path("f"), "new").expect("a file");
        std::fs::write(path("f.~1~"), "old").expect("a file");
        // So it is left by an upload that was cut off before it replaced the file.
        std::fs::hard_link(path("f"), path("f.~2~")).expect("a link");
        let there = || ["f", "f.~1~", "f.~2~"].map(|name| path(name).exists());
        prune_to_one(place.path());
        assert_eq!(there(), [true; 3], "the only old one is gone");
        std::fs::write(path("next"), "next").expect("a file");
        std::fs::rename(path("next"), path("f")).expect("replaced");
        prune_to_one(place.path());
        assert_eq!(there(), [true, false, true], "one is kept, the newest");
    }
}
