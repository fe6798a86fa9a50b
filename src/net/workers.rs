//! A few threads for what may wait long, so that an event loop does not.

use super::system::{Job, Pool};
use super::threads::Threads;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs jobs on a few threads, which it has while there are jobs.
pub(super) struct Workers(Arc<Inner>);

struct Inner {
    most: usize,
    threads: Threads,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
}

impl Workers {
    /// Up to `most` of these threads.
    pub(super) fn new(threads: Threads, most: usize) -> Self {
        Self(Arc::new(Inner { most, threads, state: Mutex::default() }))
    }
}

impl Pool for Workers {
    fn run(&self, job: Job) {
        let mut state = self.0.state();
        state.jobs.push_back(job);
        if state.threads == self.0.most {
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(&self.0);
        if self.0.threads.run("storage", Box::new(move || pool.work())).is_err() {
            self.0.work_off();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until there is no job.
    fn work(&self) {
        while let Some(job) = self.next() {
            do_job(job);
        }
    }

    /// The next job, for a thread that is done without one.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.jobs.pop_front();
        state.threads -= usize::from(job.is_none());
        job
    }

    /// Works in place of a thread that could not be made, unless other threads will.
    fn work_off(&self) {
        let mut state = self.state();
        if state.threads > 1 {
            state.threads -= 1;
            return;
        }
        drop(state);
        self.work();
    }
}

/// A job that panics has failed one transfer; its thread is still there for the others. To drop what it panicked with
/// could be a panic, too.
fn do_job(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job)).map_err(std::mem::forget);
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { jobs, threads, .. } = &*self.0.state();
        let mut out = f.debug_struct("Workers");
        out.field("jobs", &jobs.len()).field("threads", threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    /// Nothing takes so long, unless it never comes.
    const DEADLINE: Duration = Duration::from_secs(10);

    fn workers(most: usize) -> Workers {
        Workers::new(Threads::default(), most)
    }

    /// Runs jobs that say when they begin, and end when their senders are dropped.
    fn held(workers: &Workers, jobs: usize) -> (mpsc::Receiver<usize>, Vec<mpsc::Sender<()>>) {
        let (begin, begun) = mpsc::channel();
        let hold = |n| {
            let (begin, (end, ended)) = (begin.clone(), mpsc::channel());
            workers.run(Box::new(move || {
                begin.send(n).expect("it is waited for");
                let _ = ended.recv_timeout(DEADLINE);
            }));
            end
        };
        let ends = (0..jobs).map(hold).collect();
        (begun, ends)
    }

    #[test]
    fn so_many_jobs_run_at_once_and_all_run_in_the_end() {
        let workers = workers(2);
        let (begun, mut ends) = held(&workers, 4);
        let next = || begun.recv_timeout(DEADLINE).expect("it is run");
        let mut first = [next(), next()];
        first.sort_unstable();
        // Both run until they are let go, and no thread was made for a third.
        assert_eq!((first, workers.0.state().threads), ([0, 1], 2));
        drop(ends.remove(0));
        assert_eq!((next(), workers.0.state().threads), (2, 2), "in the order of the calls");
        drop(ends);
        assert_eq!(next(), 3);
    }

    #[test]
    fn who_is_done_makes_room_for_another() {
        let workers = workers(2);
        for _ in 0..2 {
            let (begun, ends) = held(&workers, 2);
            let next = || begun.recv_timeout(DEADLINE).expect("both run at once");
            assert_eq!(next() + next(), 1);
            drop(ends);
            let patience = Instant::now() + DEADLINE;
            while workers.0.state().threads > 0 {
                assert!(Instant::now() < patience, "it never goes");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_job_that_panics_costs_no_thread() {
        let workers = workers(1);
        workers.run(Box::new(|| panic!("a store that panics")));
        let (done, seen) = mpsc::channel();
        workers.run(Box::new(move || done.send(()).expect("it is waited for")));
        assert_eq!(seen.recv_timeout(DEADLINE), Ok(()));
    }

    /// Calls `work_off` in place of a thread that could not be made, with so many counted, and tells whether it did the
    /// job that was there.
    fn is_worked_off(threads: usize) -> bool {
        let workers = workers(4);
        let (done, seen) = mpsc::channel();
        let job: Job = Box::new(move || done.send(()).expect("it is waited for"));
        let mut state = workers.0.state();
        (state.threads, state.jobs) = (threads, [job].into());
        drop(state);
        workers.0.work_off();
        assert_eq!(workers.0.state().threads, threads - 1);
        seen.try_recv().is_ok()
    }

    #[test]
    fn a_caller_does_jobs_itself_only_where_no_thread_will() {
        assert!(is_worked_off(1));
        assert!(!is_worked_off(2));
    }
}
