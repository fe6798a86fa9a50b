//! Threads for jobs that each have one of their own. A thread whose job is done stays for a moment, for to make one costs
//! more than many a job.

use super::system::Job;
use crate::limits;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Starts threads, and knows those that wait for a job: the one that was busy last is taken first, so that the others end.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Arc<Mutex<Vec<Idle>>>);

/// A thread that waits for a job.
#[derive(Debug)]
struct Idle {
    id: ThreadId,
    name: &'static str,
    jobs: Sender<Job>,
}

impl Threads {
    /// Runs `job` on a thread that does nothing else meanwhile.
    pub(super) fn run(&self, name: &'static str, job: Job) -> io::Result<()> {
        if let Some(thread) = self.take(|idle| idle.name == name) {
            // It stays until it has one.
            return thread.jobs.send(job).map_err(|_| ErrorKind::BrokenPipe.into());
        }
        let threads = self.clone();
        let thread = thread::Builder::new().name(name.into());
        let work = move || threads.work(name, job);
        thread.stack_size(limits::THREAD_STACK_BYTES).spawn(work).map(drop)
    }

    /// Does one job after the other until there is none for a while. A job that panics ends the thread.
    fn work(&self, name: &'static str, mut job: Job) {
        let (id, (sender, jobs)) = (thread::current().id(), mpsc::channel());
        loop {
            job();
            self.idle().push(Idle { id, name, jobs: sender.clone() });
            match self.next(id, &jobs, limits::THREAD_LINGER) {
                Some(next) => job = next,
                None => return,
            }
        }
    }

    /// The next job of this thread, which is in the list; after so long without one it is no longer.
    fn next(&self, id: ThreadId, jobs: &Receiver<Job>, linger: Duration) -> Option<Job> {
        match jobs.recv_timeout(linger) {
            Ok(job) => Some(job),
            Err(_) if self.take(|idle| idle.id == id).is_some() => None,
            // Whoever took it from the list has a job for it.
            Err(_) => jobs.recv().ok(),
        }
    }

    /// Takes the thread that was busy last from the list.
    fn take(&self, is_wanted: impl Fn(&Idle) -> bool) -> Option<Idle> {
        let mut idle = self.idle();
        let found = idle.iter().rposition(is_wanted)?;
        Some(idle.remove(found))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Nothing takes so long, unless it never comes.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// Has a job done that tells which thread it is on, and runs until the sender is dropped.
    fn held(threads: &Threads, name: &'static str) -> (ThreadId, Sender<()>) {
        let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let job = move || {
            begin.send(thread::current().id()).expect("it is waited for");
            let _ = ended.recv_timeout(DEADLINE);
        };
        threads.run(name, Box::new(job)).expect("a thread");
        (begun.recv_timeout(DEADLINE).expect("it begins"), end)
    }

    /// Waits until so many threads wait for a job.
    fn until_idle(threads: &Threads, count: usize) {
        let patience = Instant::now() + DEADLINE;
        while threads.idle().len() != count {
            assert!(Instant::now() < patience, "{count} wait for a job at no time");
            thread::yield_now();
        }
    }

    #[test]
    fn jobs_at_once_have_a_thread_each_and_the_next_has_the_one_that_was_busy_last() {
        let threads = Threads::default();
        let (first, end_first) = held(&threads, "job");
        let (second, end_second) = held(&threads, "job");
        assert_ne!(first, second);
        drop(end_second);
        until_idle(&threads, 1);
        drop(end_first);
        until_idle(&threads, 2);
        let (third, end_third) = held(&threads, "job");
        let (fourth, _end) = held(&threads, "job");
        assert_eq!([third, fourth], [first, second]);
        drop(end_third);
        until_idle(&threads, 1);
        assert_ne!(held(&threads, "other").0, first, "its name says what it does");
    }

    #[test]
    fn who_has_no_job_for_a_while_ends() {
        let threads = Threads::default();
        let (id, end) = held(&threads, "job");
        drop(end);
        until_idle(&threads, 1);
        until_idle(&threads, 0);
        assert_ne!(held(&threads, "job").0, id);
    }

    #[test]
    fn who_is_given_a_job_when_its_time_is_over_does_it() {
        let (threads, id, (sender, jobs)) =
            (Threads::default(), thread::current().id(), mpsc::channel());
        let next = || threads.next(id, &jobs, Duration::ZERO);
        threads.idle().push(Idle { id, name: "job", jobs: sender.clone() });
        assert!(next().is_none());
        assert!(threads.idle().is_empty(), "a job for it would be lost");
        // Somebody took it from the list, and is slow.
        let slow = thread::spawn(move || {
            thread::yield_now();
            sender.send(Box::new(|| {}))
        });
        assert!(next().is_some());
        assert!(slow.join().is_ok_and(|sent| sent.is_ok()));
    }

    #[test]
    fn a_job_that_panics_costs_its_thread_and_no_other_job() {
        let threads = Threads::default();
        let (begin, begun) = mpsc::channel::<()>();
        let job = move || {
            let _begin = begin;
            panic!("a transfer that panics");
        };
        threads.run("job", Box::new(job)).expect("a thread");
        assert!(begun.recv_timeout(DEADLINE).is_err());
        drop(held(&threads, "job"));
        until_idle(&threads, 1);
    }
}
