//! What is under way at one moment, for whoever looks. It costs nothing while nobody does.

use super::Handle;
use super::guard::guard;
use crate::query::Query;
use crate::transfer::Summary;
use crate::wire::Filename;
use std::time::Duration;

/// A session as it is at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running<'a> {
    /// Names the session, and no other of this server ever. A later session has a higher number.
    pub number: u64,
    /// What was asked.
    pub query: &'a Query,
    /// The name that is served, where it is not the one that was asked for.
    pub served: Option<&'a Filename>,
    /// How many bytes there are in all, where that is known. In netascii more may travel.
    pub size: Option<u64>,
    /// The figures so far; nothing while the file is being opened, or where the transfer is busy at this very moment: with
    /// its disk perhaps.
    pub figures: Option<Summary>,
}

impl Handle {
    /// Calls `look` with each session, the oldest first, those included whose outcome is known and that only answer a
    /// repeated last block. No transfer waits for it.
    pub fn each_running(&self, mut look: impl FnMut(Running<'_>)) {
        for (id, entry) in self.0.admission.entries() {
            let opened = entry.opened();
            look(Running {
                number: id.number(),
                query: &entry.query,
                served: opened.and_then(|opened| opened.served.as_ref()),
                size: opened.and_then(|opened| opened.size),
                figures: entry.figures(),
            });
        }
    }

    /// Calls `tell` on the loop that takes the requests, when its turn comes, with how long that took: so long a new request
    /// would have waited. It must not wait there. Where the server does not run, it may never be called.
    pub fn lag(&self, tell: impl FnOnce(Duration) + Send + 'static) {
        let (system, asked) = (self.0.system.clone(), self.0.system.now());
        self.0.mailbox.call(move || {
            let _ = guard(|| tell(system.now() - asked));
        });
    }
}
