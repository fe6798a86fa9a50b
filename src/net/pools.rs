//! Threads for what may wait long in the place of an event loop, apart by what it waits for: a file system that is full of
//! work, frozen or gone holds up nobody who asks for something else.

use super::system::{Job, Pool, System};
use crate::limits;
use crate::transfer::StorageWork;
use std::sync::Arc;

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// What is read from a disk.
    Reading,
    /// What is written to one.
    Writing,
    /// The word of somebody else on an upload.
    Asking,
    /// The names of a directory, of which there may be many.
    Listing,
}

impl From<StorageWork> for Waiting {
    fn from(work: StorageWork) -> Self {
        match work {
            StorageWork::Read => Self::Reading,
            StorageWork::Write => Self::Writing,
            StorageWork::Ask => Self::Asking,
        }
    }
}

/// The threads of all event loops of a server. There are none before there is a job.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    reading: Arc<dyn Pool>,
    writing: Arc<dyn Pool>,
    asking: Arc<dyn Pool>,
    listing: Arc<dyn Pool>,
}

impl Pools {
    pub(crate) fn new(system: &dyn System) -> Self {
        Self {
            reading: system.pool(limits::STORAGE_THREADS),
            writing: system.pool(limits::STORAGE_THREADS),
            asking: system.pool(limits::ASKING_THREADS),
            listing: system.pool(limits::LISTING_THREADS),
        }
    }

    /// Runs `job` soon.
    pub(crate) fn run(&self, waiting: Waiting, job: Job) {
        match waiting {
            Waiting::Reading => &self.reading,
            Waiting::Writing => &self.writing,
            Waiting::Asking => &self.asking,
            Waiting::Listing => &self.listing,
        }
        .run(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Kernel;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn what_waits_for_one_thing_has_threads_of_its_own_and_so_many() {
        let pools = Pools::new(&*Kernel::start());
        let kinds = [
            (StorageWork::Read.into(), limits::STORAGE_THREADS),
            (StorageWork::Write.into(), limits::STORAGE_THREADS),
            (StorageWork::Ask.into(), limits::ASKING_THREADS),
            (Waiting::Listing, limits::LISTING_THREADS),
        ];
        assert_eq!(
            kinds.map(|(kind, _)| kind),
            [Waiting::Reading, Waiting::Writing, Waiting::Asking, Waiting::Listing]
        );
        let mut held = Vec::new();
        for (kind, threads) in kinds {
            let (begin, begun) = mpsc::channel();
            for _ in 0..=threads {
                let (begin, (end, ended)) = (begin.clone(), mpsc::channel::<()>());
                let job = move || {
                    begin.send(()).expect("it is waited for");
                    let _ = ended.recv();
                };
                pools.run(kind, Box::new(job));
                held.push(end);
            }
            let next = || begun.recv_timeout(Duration::from_secs(10));
            let begins = (0..threads).take_while(|_| next().is_ok()).count();
            assert_eq!(begins, threads, "{kind:?} waits behind something else");
            assert!(begun.try_recv().is_err(), "{kind:?} has more than {threads} threads");
        }
    }
}
