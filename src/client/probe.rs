//! Whether a server serves a file, without reading it.

use super::ask::{Ask, Question, refuse_too_long};
use super::{Client, Failure, refuse_nul};
use crate::net::{Ending, Session};
use crate::transfer::{Outcome, Transfer, Writer};
use crate::wire::Operation;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// That a server serves a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Which address answered.
    pub server: SocketAddr,
    /// The time from the request to its answer.
    pub elapsed: Duration,
    /// The size of the file, where the server told it or its first block is all of it.
    pub size: Option<u64>,
    /// How often the request had to be sent again.
    pub repeated: u64,
}

/// What the server is told: an ERROR with code 0, for which it has nothing to repair.
const ENOUGH: &str = "only a check";

impl Client {
    /// Asks for the file `name`, and tells the server that this is enough as soon as it answers. A request that is refused
    /// is not sent once more without options.
    pub fn probe(&self, name: impl AsRef<[u8]>) -> Result<Probe, Failure> {
        let name = name.as_ref();
        refuse_nul(name)?;
        self.ask_each(|| true, |ask| self.probe_at(ask, name))
    }

    fn probe_at(&self, ask: Ask<'_>, name: &[u8]) -> Result<Probe, Failure> {
        let size = ask.size_of_a_read();
        let question = Question { operation: Operation::Read, name, size };
        let (socket, request) = ask.request(question)?;
        refuse_too_long(&request)?;
        let (began, timing) = (self.system.now(), ask.wishes.timing(Operation::Read));
        let transfer = Transfer::get(began, timing, &request, Box::new(Writer(io::sink())));
        let session = Arc::new(Session::new(socket, Arc::clone(&self.system), transfer));
        let watched = self.canceller.watch(ask.call, &session)?;
        let mut answer = None;
        let ended = session.run(|now, transfer| {
            if answer.is_none() && session.socket().is_connected() {
                answer = Some((now - began, transfer.summary().retransmitted));
                session.end(Ending::Stop(ENOUGH.into()));
            }
        });
        drop(watched);
        let summary = ended?;
        match (answer, summary.outcome) {
            (Some((elapsed, repeated)), Some(outcome @ (Outcome::Complete | Outcome::Stopped))) => {
                // A file of one block is all there.
                let is_whole = outcome == Outcome::Complete;
                let size = summary.agreed.transfer_size();
                let size = size.or_else(|| is_whole.then_some(summary.bytes));
                Ok(Probe { server: ask.address, elapsed, size, repeated })
            }
            (answer, outcome) => {
                Err(Failure::of(outcome, ask.address, summary.bytes, answer.is_some()))
            }
        }
    }
}
