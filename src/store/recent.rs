//! Listings that took long to make, each for a moment. Whoever asks meanwhile, from however many addresses, costs little
//! more than one who asks: nobody has proven an address who asks for a listing.

use super::{Listing, StoreError};
use crate::limits;
use rustix::fs::{Stat, fstat};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The listings of the directories that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Vec<Arc<Slot>>>);

#[derive(Debug)]
struct Slot {
    directory: Directory,
    /// Locked while it is listed: who asks for the same waits, and has it then.
    known: Mutex<Option<Known>>,
}

/// A directory, and its name below the root, on which depends where links in it lead.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    device: u64,
    inode: u64,
    path: PathBuf,
}

#[derive(Debug)]
struct Known {
    /// When the directory last changed (seconds, nanoseconds), and since when that is known here.
    changed: (i64, u64),
    since: Instant,
    /// What was in it, and when.
    listing: Option<(Listing, Instant)>,
}

impl Known {
    fn new(about: &Stat, now: Instant) -> Self {
        Self { changed: changed(about), since: now, listing: None }
    }

    fn listing(&self, now: Instant) -> Option<&Listing> {
        let (listing, at) = self.listing.as_ref()?;
        (now < *at + limits::LISTING_HOLDS).then_some(listing)
    }
}

impl Recent {
    /// What `make` lists of `directory`, which is at `path`, or what it has listed a moment ago.
    pub(super) fn list(
        &self,
        directory: impl AsFd,
        path: &Path,
        make: impl FnOnce() -> Result<Listing, StoreError>,
    ) -> Result<Listing, StoreError> {
        self.list_by(Instant::now, directory, path, make)
    }

    fn list_by(
        &self,
        now: impl Fn() -> Instant,
        directory: impl AsFd,
        path: &Path,
        make: impl FnOnce() -> Result<Listing, StoreError>,
    ) -> Result<Listing, StoreError> {
        let stat = || fstat(&directory).map_err(std::io::Error::from);
        let about = stat()?;
        let (device, inode, path) = (about.st_dev, about.st_ino, path.to_owned());
        let slot = self.slot(Directory { device, inode, path });
        let mut known = slot.known.lock().unwrap_or_else(PoisonError::into_inner);
        let about = stat()?;
        let known = match &mut *known {
            Some(known) if known.changed == changed(&about) => known,
            none => none.insert(Known::new(&about, now())),
        };
        if let Some(listing) = known.listing(now()) {
            return Ok(listing.clone());
        }
        known.listing = None;
        // A change within the same tick of the kernel's clock would not be seen.
        let began = now();
        let shows_changes = began >= known.since + limits::KERNEL_TICK;
        let listing = make()?;
        let done = now();
        if shows_changes && done >= began + limits::LONG_LISTING {
            known.listing = Some((listing.clone(), done));
        }
        Ok(listing)
    }

    /// The place of this directory's listing, before those of all others.
    fn slot(&self, directory: Directory) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|slot| slot.directory == directory);
        let slot = match known {
            Some(n) => slots.remove(n),
            None => Arc::new(Slot { directory, known: Mutex::default() }),
        };
        slots.insert(0, Arc::clone(&slot));
        slots.truncate(limits::RECENT_LISTINGS);
        slot
    }
}

fn changed(about: &Stat) -> (i64, u64) {
    (about.st_ctime, about.st_ctime_nsec)
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Kind};
    use super::*;
    use std::cell::Cell;
    use std::fs::File;
    use std::time::{Duration, UNIX_EPOCH};

    struct Here {
        recent: Recent,
        folder: tempfile::TempDir,
        made: Cell<u32>,
        now: Cell<Instant>,
    }

    impl Here {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            Self { recent: Recent::default(), folder, made: 0.into(), now: Instant::now().into() }
        }

        fn pass(&self, time: Duration) {
            self.now.set(self.now.get() + time);
        }

        /// Lists it, which takes so long, and gives the number of times that it was made until then.
        fn list(&self, path: &str, takes: Duration) -> u32 {
            let make = || {
                self.pass(takes);
                self.made.set(self.made.get() + 1);
                let (name, kind, modified) = ("file".into(), Kind::File, UNIX_EPOCH);
                let entries = vec![Entry { name, kind, size: self.made.get().into(), modified }];
                Ok(Listing { entries, cut: false })
            };
            let directory = File::open(self.folder.path()).expect("it is there");
            let (now, path) = (|| self.now.get(), Path::new(path));
            let listing = self.recent.list_by(now, directory, path, make).expect("a listing");
            listing.entries[0].size.try_into().expect("a small number")
        }

        fn list_some(&self, path: &str, takes: Duration) -> [u32; 3] {
            [(); 3].map(|()| self.list(path, takes))
        }
    }

    const LONG: Duration = limits::LONG_LISTING;
    const LITTLE: Duration = Duration::from_nanos(1);

    #[test]
    fn what_takes_long_is_made_once_for_all_who_ask_in_a_moment() {
        let here = Here::new();
        assert_eq!(here.list_some("", LONG), [1, 2, 2], "a change within a tick is not seen");
        here.pass(limits::LISTING_HOLDS - LITTLE);
        assert_eq!(here.list("", LONG), 2);
        here.pass(LITTLE);
        assert_eq!(here.list_some("", LONG), [3; 3]);
        assert_eq!(here.list("elsewhere", LONG), 4, "links may lead elsewhere there");
    }

    #[test]
    fn a_directory_that_changes_is_listed_anew() {
        let here = Here::new();
        assert_eq!(here.list_some("", LONG), [1, 2, 2]);
        let changed = || File::create(here.folder.path().join("new")).map(drop);
        let before = std::fs::metadata(here.folder.path()).expect("it is there").modified().ok();
        // Within a tick of the kernel's clock it has the time that it had.
        let is_same =
            || std::fs::metadata(here.folder.path()).and_then(|it| it.modified()).ok() == before;
        while is_same() {
            changed()
                .and_then(|()| std::fs::remove_file(here.folder.path().join("new")))
                .expect("a file");
        }
        assert_eq!(here.list("", LONG), 3);
    }

    #[test]
    fn what_does_not_take_long_is_always_as_it_is() {
        let here = Here::new();
        assert_eq!(here.list("", LONG), 1);
        assert_eq!(here.list_some("", LONG - LITTLE), [2, 3, 4]);
    }

    #[test]
    fn so_many_directories_are_remembered_and_the_last_ones() {
        let here = Here::new();
        let names: Vec<_> = (0..=limits::RECENT_LISTINGS).map(|n| n.to_string()).collect();
        for name in &names {
            here.list_some(name, LONG);
        }
        let made = here.made.get();
        let last = names.last().expect("a name");
        assert_eq!((here.list(last, LONG), here.list(&names[1], LONG)), (made, made - 6));
        assert_eq!(here.list(&names[0], LONG), made + 1, "it had to give way");
        // Who was asked for last stays, whenever it was first asked for.
        assert_eq!(here.list(&names[1], LONG), made - 6, "it was asked for a moment ago");
    }
}
