//! A few threads for what may wait long, so that an event loop does not.

use super::system::{Job, Pool};
use crate::limits;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Runs jobs on a few threads, which are there while there are jobs and for a moment after that.
pub(super) struct Workers(Arc<Inner>);

struct Inner {
    most: usize,
    state: Mutex<State>,
    /// A thread that waits for a job may look.
    is_new: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job.
    idle: usize,
}

impl Workers {
    /// Up to `most` threads.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, state: Mutex::default(), is_new: Condvar::new() }))
    }
}

impl Pool for Workers {
    fn run(&self, job: Job) {
        let mut state = self.0.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            drop(state);
            return self.0.is_new.notify_one();
        }
        if state.threads == self.0.most {
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(&self.0);
        let thread = std::thread::Builder::new()
            .name("storage".into())
            .stack_size(limits::THREAD_STACK_BYTES)
            .spawn(move || pool.work());
        if thread.is_err() {
            self.0.work_off();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until there has been no job for a while.
    fn work(&self) {
        loop {
            let mut state = self.state();
            state.idle += 1;
            let no_job = |state: &mut State| state.jobs.is_empty();
            let waited = self.is_new.wait_timeout_while(state, limits::WORKER_LINGER, no_job);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            let Some(job) = state.jobs.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            do_job(job);
        }
    }

    /// Does all jobs that there are in place of a thread that could not be made, unless other threads will.
    fn work_off(&self) {
        let mut state = self.state();
        if state.threads > 1 {
            state.threads -= 1;
            return self.is_new.notify_one();
        }
        while let Some(job) = state.jobs.pop_front() {
            drop(state);
            do_job(job);
            state = self.state();
        }
        state.threads -= 1;
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
        let workers = Workers::new(2);
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
    fn jobs_one_after_the_other_are_done_by_one_thread() {
        let workers = Workers::new(4);
        let (done, seen) = mpsc::channel();
        let ids: std::collections::HashSet<_> = (0..20)
            .map(|_| {
                let done = done.clone();
                workers.run(Box::new(move || {
                    done.send(std::thread::current().id()).expect("waited for");
                }));
                let id = seen.recv_timeout(DEADLINE).expect("it is done");
                until(&workers, "it waits for no other job", |state| state.idle > 0);
                id
            })
            .collect();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn who_waits_for_one_job_is_not_counted_for_two() {
        let workers = Workers::new(4);
        // One thread that waits and does not come.
        let mut state = workers.0.state();
        (state.threads, state.idle) = (1, 1);
        drop(state);
        let (done, seen) = mpsc::channel();
        for n in 0..2 {
            let done = done.clone();
            workers.run(Box::new(move || done.send(n).expect("it is waited for")));
        }
        let next = || seen.recv_timeout(DEADLINE);
        assert_eq!((next(), next()), (Ok(0), Ok(1)), "by a second thread");
    }

    /// Waits until the state is as it is to be.
    fn until(workers: &Workers, what: &str, is_so: impl Fn(&State) -> bool) {
        let patience = Instant::now() + DEADLINE;
        while !is_so(&workers.0.state()) {
            assert!(Instant::now() < patience, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_has_a_job_is_not_counted_for_the_next_and_who_has_gone_makes_room_for_another() {
        let workers = Workers::new(2);
        drop(held(&workers, 1));
        until(&workers, "it waits for no other job", |state| state.idle == 1);
        let (begun, ends) = held(&workers, 2);
        let next = || begun.recv_timeout(DEADLINE).expect("both run at once");
        assert_eq!(next() + next(), 1);
        drop(ends);
        until(&workers, "it never goes", |state| state.threads == 0);
        let (begun, _ends) = held(&workers, 2);
        let next = || begun.recv_timeout(DEADLINE).expect("both run at once");
        assert_eq!(next() + next(), 1);
    }

    #[test]
    fn a_job_that_panics_costs_no_thread() {
        let workers = Workers::new(1);
        workers.run(Box::new(|| panic!("a store that panics")));
        let (done, seen) = mpsc::channel();
        workers.run(Box::new(move || done.send(()).expect("it is waited for")));
        assert_eq!(seen.recv_timeout(DEADLINE), Ok(()));
    }

    /// Calls `work_off` in place of a thread that could not be made, with so many counted, and tells whether it did the
    /// job that was there.
    fn is_worked_off(threads: usize) -> bool {
        let workers = Workers::new(4);
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
