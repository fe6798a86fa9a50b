//! The files at both ends: what is read and written is compared with the file at every step, and may fail or be slow.

use super::machine::Machine;
use super::random::Random;
use crate::query::Query;
use crate::store::{Folder, Listing, Readable, Store, StoreError, Uploads};
use crate::transfer::{MayWait, Memory, Sink, Source};
use crate::wire::Operation;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSliceMut};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk does wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    /// After so many bytes it is full.
    pub(crate) full_after: Option<usize>,
    /// After so many bytes it cannot be read.
    pub(crate) unreadable_after: Option<usize>,
    /// The file does not appear in the end.
    pub(crate) refuses_commit: bool,
    /// The chance in 10,000 that a call takes a while, and how long at most.
    pub(crate) slow: u64,
    pub(crate) slow_by: Duration,
}

impl Troubles {
    /// Whether it fails for certain.
    pub(crate) const fn fail(&self) -> bool {
        self.full_after.is_some() || self.unreadable_after.is_some() || self.refuses_commit
    }
}

/// What happened at one end.
pub(crate) struct Account {
    file: Arc<Vec<u8>>,
    troubles: Troubles,
    random: Random,
    pub(crate) moved: usize,
    pub(crate) commits: u32,
    /// The first thing that was not as it must be.
    pub(crate) wrong: Option<String>,
    /// Whether a failure was reported.
    pub(crate) failed: bool,
    /// The longest that a call took for which nobody has waited yet.
    spent: Duration,
    pub(crate) stalls: u64,
}

/// One end, shared between the transfer that uses it and those who watch.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Mutex<Account>>);

impl Ledger {
    fn new(file: &Arc<Vec<u8>>, troubles: &Troubles, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Account {
            file: Arc::clone(file),
            troubles: troubles.clone(),
            random: Random::new(seed),
            moved: 0,
            commits: 0,
            wrong: None,
            failed: false,
            spent: Duration::ZERO,
            stalls: 0,
        })))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, Account> {
        self.0.lock().expect("no panic")
    }

    /// Where there is a machine, the thread that called waits as long as the call takes.
    fn wait(&self, machine: Option<&Machine>) {
        if let Some(machine) = machine {
            let spent = self.spent();
            if !spent.is_zero() {
                machine.spend(spent);
            }
        }
    }

    /// The time that calls took since this was asked last.
    pub(crate) fn spent(&self) -> Duration {
        std::mem::take(&mut self.get().spent)
    }
}

impl Account {
    fn takes_a_while(&mut self) {
        if self.random.happens(self.troubles.slow) {
            let micros = self.random.below(self.troubles.slow_by.as_micros() as u64);
            self.spent = self.spent.max(Duration::from_micros(micros));
            self.stalls += 1;
        }
    }

    fn fail<T>(&mut self, kind: ErrorKind) -> io::Result<T> {
        self.failed = true;
        Err(kind.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.takes_a_while();
        if self.commits > 0 {
            self.wrong = Some("it writes to a file that is whole".into());
        }
        let end = self.moved + bytes.len();
        if self.troubles.full_after.is_some_and(|most| end > most) {
            return self.fail(ErrorKind::StorageFull);
        }
        if self.file.get(self.moved..end) != Some(bytes) {
            let what = format!("bytes {} to {end} are not those of the file", self.moved);
            self.wrong.get_or_insert(what);
        }
        self.moved = end;
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.takes_a_while();
        if self.troubles.refuses_commit {
            return self.fail(ErrorKind::AlreadyExists);
        }
        self.commits += 1;
        if self.commits > 1 || self.moved != self.file.len() {
            let what = format!("{} of {} bytes are committed", self.moved, self.file.len());
            self.wrong.get_or_insert(what);
        }
        Ok(())
    }
}

/// Takes the file, in memory or in a folder.
struct Watched {
    ledger: Ledger,
    folder: Option<Box<dyn Sink>>,
    machine: Option<Machine>,
}

impl Sink for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.ledger.get().write(bytes);
        self.ledger.wait(self.machine.as_ref());
        written?;
        self.folder.as_mut().map_or(Ok(()), |sink| sink.write(bytes))
    }

    fn commit(&mut self) -> io::Result<()> {
        // Like a rename that fails: nothing has become visible.
        if self.ledger.get().troubles.refuses_commit {
            return self.ledger.get().commit();
        }
        self.folder.as_mut().map_or(Ok(()), Sink::commit)?;
        let committed = self.ledger.get().commit();
        self.ledger.wait(self.machine.as_ref());
        committed
    }

    fn may_wait(&self) -> MayWait {
        if self.machine.is_some() && self.ledger.get().troubles.slow > 0 {
            return MayWait::Always;
        }
        self.folder.as_ref().map_or(MayWait::Never, Sink::may_wait)
    }
}

/// Gives the file.
struct Given {
    ledger: Ledger,
    source: Box<dyn Source>,
    machine: Option<Machine>,
}

impl Given {
    /// Reads with `read`, which gets at most so many bytes where the rest of the file is lost.
    fn give(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        read: impl FnOnce(&mut dyn Source, &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let mut account = self.ledger.get();
        let left = account.troubles.unreadable_after.map(|most| most.saturating_sub(account.moved));
        if left == Some(0) {
            return account.fail(ErrorKind::Other);
        }
        let bytes = match (left, bufs.first_mut()) {
            (Some(left), Some(first)) => {
                let most = left.min(first.len());
                read(&mut *self.source, &mut [IoSliceMut::new(&mut first[..most])])?
            }
            _ => read(&mut *self.source, bufs)?,
        };
        account.moved += bytes.unwrap_or_default();
        Ok(bytes)
    }
}

impl Source for Given {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.ledger.get().takes_a_while();
        let read = self.give(bufs, |source, bufs| source.read(bufs).map(Some));
        self.ledger.wait(self.machine.as_ref());
        Ok(read?.unwrap_or_default())
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.ledger.get().takes_a_while();
        // On a machine the time is spent by who may wait: the read that follows.
        if self.machine.is_some() && !self.ledger.get().spent.is_zero() {
            return Ok(None);
        }
        self.give(bufs, |source, bufs| source.try_read(bufs))
    }
}

/// What both ends have: the one file, and for some runs a folder that really holds it.
#[derive(Clone)]
pub(crate) struct Library {
    pub(crate) file: Arc<Vec<u8>>,
    pub(crate) folder: Option<Arc<tempfile::TempDir>>,
    pub(crate) troubles: Troubles,
    pub(crate) seed: u64,
    /// On which its calls take their time.
    pub(crate) machine: Option<Machine>,
}

fn query(operation: Operation, name: &str) -> Query {
    Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), operation, name)
}

const GIVEN: &str = "given";
const TAKEN: &str = "taken";

impl Library {
    pub(crate) fn in_memory(file: Vec<u8>) -> Self {
        Self {
            file: Arc::new(file),
            folder: None,
            troubles: Troubles::default(),
            seed: 0,
            machine: None,
        }
    }

    /// Puts the file into a folder of its own.
    pub(crate) fn in_folder(mut self) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(GIVEN), &*self.file)?;
        self.folder = Some(Arc::new(folder));
        Ok(self)
    }

    fn open(&self, root: &Path) -> Folder {
        Folder::open(root).expect("a folder").uploads(Uploads::Overwrite)
    }

    pub(crate) fn source(&self) -> (Box<dyn Source>, Ledger) {
        let ledger = Ledger::new(&self.file, &self.troubles, self.seed);
        let source: Box<dyn Source> = match &self.folder {
            Some(folder) => {
                let query = query(Operation::Read, GIVEN);
                self.open(folder.path()).read(&query).expect("the file is there").into_parts().0
            }
            None => Box::new(Memory::new(self.file.to_vec())),
        };
        let machine = self.machine.clone();
        (Box::new(Given { ledger: ledger.clone(), source, machine }), ledger)
    }

    pub(crate) fn sink(&self) -> (Box<dyn Sink>, Ledger) {
        let ledger = Ledger::new(&self.file, &self.troubles, self.seed);
        let folder = self.folder.as_ref().map(|folder| {
            let query = query(Operation::Write, TAKEN);
            self.open(folder.path()).write(&query).expect("a place for a file")
        });
        let machine = self.machine.clone();
        (Box::new(Watched { ledger: ledger.clone(), folder, machine }), ledger)
    }

    /// What the folder holds in the end: the file that was given, and the one that was taken only if it is whole.
    pub(crate) fn check_folder(&self, taken: bool) -> Result<(), String> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let entries = std::fs::read_dir(folder.path()).map_err(|why| why.to_string())?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names: Vec<_> = names.collect::<Result<_, _>>().map_err(|why| why.to_string())?;
        names.sort();
        let wanted = if taken { &[GIVEN, TAKEN][..] } else { &[GIVEN] };
        if names != wanted {
            return Err(format!("the folder holds {names:?}"));
        }
        let read = std::fs::read(folder.path().join(TAKEN)).unwrap_or_default();
        if taken && read != *self.file { Err("the file is another".into()) } else { Ok(()) }
    }
}

/// What the server has: the library under any name, and a listing. It notes each file that is opened.
pub(crate) struct Files {
    pub(crate) library: Library,
    pub(crate) listing: Listing,
    /// By the place in memory of the query, which a session keeps for as long as it lives.
    pub(crate) opened: Arc<Mutex<BTreeMap<usize, Ledger>>>,
    /// What takes uploads in place of the library.
    pub(crate) folder: Option<Box<dyn Store>>,
}

impl Files {
    pub(crate) fn new(library: Library) -> Self {
        Self {
            library,
            listing: Listing::new(Vec::new(), false),
            opened: Arc::default(),
            folder: None,
        }
    }

    fn note(&self, query: &Query, ledger: Ledger) {
        self.opened.lock().expect("no panic").insert(place_of(query), ledger);
    }
}

pub(crate) fn place_of(query: &Query) -> usize {
    std::ptr::from_ref(query) as usize
}

impl Store for Files {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let (source, ledger) = self.library.source();
        self.note(query, ledger);
        Ok(Readable::new(source).size(self.library.file.len() as u64))
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        if let Some(folder) = &self.folder {
            return folder.write(query);
        }
        let (sink, ledger) = self.library.sink();
        self.note(query, ledger);
        Ok(sink)
    }

    fn list(&self, _: &Query) -> Result<Listing, StoreError> {
        Ok(self.listing.clone())
    }
}
