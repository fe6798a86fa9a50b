//! What is told of a session from the start of its transfer, and what it has until then: its permit.

use super::guard::Panicked;
use super::permit::Permit;
use super::{Event, Shared};
use crate::proto::{Agreed, Time};
use crate::query::Query;
use crate::transfer::Summary;
use crate::wire::Filename;
use std::io;
use std::sync::Arc;

pub(super) struct Telling {
    permit: Permit,
    shared: Arc<Shared>,
    /// The name that is served, where it is not the one that was asked for.
    served: Option<Filename>,
    started: Time,
    /// Payload bytes when it was last looked at.
    bytes: u64,
    /// When progress is told next, if it is told.
    progress_at: Option<Time>,
    /// Whether its end was told.
    is_told: bool,
}

impl Telling {
    pub(super) fn new(permit: Permit, shared: &Arc<Shared>, served: Option<Filename>) -> Self {
        let started = shared.system.now();
        let progress_at = shared.config.progress.map(|interval| started + interval);
        let shared = Arc::clone(shared);
        Self { permit, shared, served, started, bytes: 0, progress_at, is_told: false }
    }

    /// Tells that it begins. Where that cannot be told, it is to end.
    pub(super) fn begins(&self, agreed: &Agreed) -> Result<(), Panicked> {
        let (query, served) = (&self.permit.entry().query, self.served.as_ref());
        self.shared.try_tell(Event::Started { query, served, agreed })
    }

    pub(super) const fn started(&self) -> Time {
        self.started
    }

    /// Whether its end was told.
    pub(super) const fn is_told(&self) -> bool {
        self.is_told
    }

    /// Notes that the client has answered. Tells whether that is new.
    pub(super) fn is_proven(&mut self) -> bool {
        self.permit.prove()
    }

    /// What it may read ahead or write behind once its client has answered.
    pub(super) fn buffer(&self) -> usize {
        self.shared.buffer(self.permit.entry().query.operation)
    }

    /// Notes how far it is, and tells that when it is time. Where it cannot be told, the transfer is to end.
    pub(super) fn got_on(&mut self, now: Time, summary: &Summary) -> Result<(), Panicked> {
        if std::mem::replace(&mut self.bytes, summary.bytes) != summary.bytes {
            self.permit.entry().gets_on(now);
        }
        let Some(interval) = self.shared.config.progress else { return Ok(()) };
        if self.progress_at.is_none_or(|at| now < at) || summary.outcome.is_some() {
            return Ok(());
        }
        self.progress_at = Some(now + interval);
        let (query, mut summary) = (&self.permit.entry().query, summary.clone());
        summary.elapsed = now - self.started;
        let (served, summary) = (self.served.as_ref(), &summary);
        self.shared.try_tell(Event::Progress { query, served, summary })
    }

    /// The session only dallies from now on.
    pub(super) fn dallies(&mut self) {
        self.permit.dally();
    }

    /// Tells how it ended, once. Tells whether that is new.
    pub(super) fn finished(&mut self, summary: &Summary) -> bool {
        self.tell_end(|query, served| Event::Finished { query, served, summary })
    }

    /// Tells why it could not be driven, unless its end was told.
    pub(super) fn failed(&mut self, summary: &Summary, error: &io::Error) {
        let summary = Some(summary);
        self.tell_end(|query, served| Event::Failed { query, served, summary, error });
    }

    fn tell_end<'a>(
        &'a mut self,
        event: impl FnOnce(&'a Query, Option<&'a Filename>) -> Event<'a>,
    ) -> bool {
        let is_new = !std::mem::replace(&mut self.is_told, true);
        if is_new {
            self.shared.tell(event(&self.permit.entry().query, self.served.as_ref()));
        }
        is_new
    }
}

/// Who asked again while its transfer ended asks for another.
impl Drop for Telling {
    fn drop(&mut self) {
        let entry = self.permit.entry();
        if let Some(asked_at) = entry.detach() {
            self.shared.ask_again(asked_at, entry.query.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Rehearsal, System};
    use crate::server::{Config, Server};
    use crate::store::InMemory;
    use crate::transfer::Outcome;
    use crate::wire::Operation;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_transfer_that_gets_on_does_not_stand_still_and_its_progress_is_told_now_and_then() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = Query::new((local, 2000).into(), local, Operation::Write, "a");
        for progress in [None, Some(Duration::from_secs(15))] {
            let config = Config::default().listen((local, 1)).progress(progress);
            let on = Rehearsal::start() as Arc<dyn System>;
            let (tell, told) = mpsc::channel();
            let observer = move |event: Event<'_>| {
                let (Event::Progress { summary, .. }
                | Event::Failed { summary: Some(summary), .. }) = event
                else {
                    panic!("{event}");
                };
                tell.send((summary.elapsed.as_secs(), summary.bytes)).expect("it is heard");
            };
            let server = Server::bind_on(on, config, InMemory::new(), observer).expect("a server");
            let (shared, start) = (&server.shared, server.shared.system.now());
            let session = shared.admission.admit(&query, start).expect("there is room");
            let permit = Permit::new(&shared.admission, session);
            let entry = Arc::clone(permit.entry());
            let mut telling = Telling::new(permit, shared, None);
            telling.started = start;
            let at = |secs| start + Duration::from_secs(secs);
            let mut summary = Summary::default();
            for (secs, bytes, got_on) in [(9, 0, 0), (10, 1, 10), (20, 1, 10), (30, 2, 30)] {
                summary.bytes = bytes;
                telling.got_on(at(secs), &summary).expect("no panic");
                assert_eq!(entry.got_on_at(), at(got_on), "{bytes} bytes, {progress:?}");
            }
            // What is told of a transfer that only dallies would come behind its end.
            summary.outcome = Some(Outcome::Complete);
            telling.got_on(at(60), &summary).expect("no panic");
            // Behind 15 s at 20 s, and from then on not before 35 s.
            let expected = if progress.is_some() { vec![(20, 1)] } else { vec![] };
            assert_eq!(told.try_iter().collect::<Vec<_>>(), expected, "seconds and bytes");
            // How it ended is told once, with how far it came.
            let error = io::Error::other("its process is gone");
            (0..2).for_each(|_| telling.failed(&summary, &error));
            assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, 2)], "seconds and bytes");
        }
    }
}
