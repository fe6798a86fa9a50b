//! A few threads for what may wait long, so that a loop does not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs on a few threads, which are there while there are jobs.
#[derive(Clone)]
pub struct Workers(Arc<Pool>);

struct Pool {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
}

impl Workers {
    /// Up to `most` threads.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Pool { most, state: Mutex::default() }))
    }

    /// Runs `job` soon, in the order of the calls; here and now when the system has no thread for it.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state();
        state.waiting.push_back(Box::new(job));
        if state.threads == self.0.most {
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(&self.0);
        let thread = std::thread::Builder::new()
            .name("storage".into())
            .stack_size(crate::limits::THREAD_STACK)
            .spawn(move || pool.work());
        if thread.is_err() {
            self.0.work();
        }
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until nothing waits.
    fn work(&self) {
        loop {
            let mut state = self.state();
            let Some(job) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            // A store that panics has failed one transfer; its thread is still there for the others.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { waiting, threads } = &*self.0.state();
        let mut out = f.debug_struct("Workers");
        out.field("waiting", &waiting.len()).field("threads", threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, mpsc};

    #[test]
    fn so_many_jobs_run_at_once_and_all_run_in_the_end() {
        let workers = Workers::new(2);
        let (both, (done, seen)) = (Arc::new(Barrier::new(3)), mpsc::channel());
        for n in 0..2 {
            let (both, done) = (Arc::clone(&both), done.clone());
            workers.run(move || {
                both.wait();
                done.send(n).expect("it is waited for");
            });
        }
        workers.run(move || done.send(2).expect("it is waited for"));
        assert!(seen.try_recv().is_err(), "both threads are busy");
        both.wait();
        let mut all: Vec<_> = seen.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }

    #[test]
    fn a_job_that_panics_costs_no_thread() {
        let workers = Workers::new(1);
        workers.run(|| panic!("a store that panics"));
        let (done, seen) = mpsc::channel();
        workers.run(move || done.send(()).expect("it is waited for"));
        assert_eq!(seen.recv_timeout(std::time::Duration::from_secs(30)), Ok(()));
    }
}
