//! Listings: by the LIST request, or by the file that some servers make up.

use super::ask::{Ask, Narrower, Question, Watch, refuse_too_long};
use super::sink::{BoundedMemory, Reusable};
use super::{Client, Failure, Progress, Wishes, refuse_nul};
use crate::limits;
use crate::proto::Timing;
use crate::store::Listing;
use crate::transfer::Transfer;
use crate::wire::{ErrorCode, ListFormat, Mode, Operation, TransferOption};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A LIST is repeated after so long, and given up after as long again.
const LIST_REPEAT: Duration = Duration::from_secs(1);

/// Beyond this a listing is none that a server of ours would send.
const LONGEST_BYTES: usize = 4 * limits::LISTING_BYTES;

impl Client {
    /// Lists the directory `name`; the empty name is the root.
    pub fn list(&self, name: impl AsRef<[u8]>) -> Result<Listing, Failure> {
        self.list_watched(name, |_| {})
    }

    /// As [`list`](Self::list); `progress` is told how it gets on.
    pub fn list_watched(
        &self,
        name: impl AsRef<[u8]>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Listing, Failure> {
        let name = name.as_ref();
        refuse_nul(name)?;
        let mut watch = |now| {
            progress(now);
            ControlFlow::Continue(())
        };
        self.ask_each(|| true, |ask| self.list_at(ask, name, &mut watch))
    }

    fn list_at(
        &self,
        ask: Ask<'_>,
        name: &[u8],
        watch: &mut Watch<'_>,
    ) -> Result<Listing, Failure> {
        // A list is no text of a file.
        let ask = Ask { wishes: Wishes { mode: Mode::Octet, ..ask.wishes }, ..ask };
        let mut refused = None;
        if !self.lists_by_file() {
            match self.list_by_opcode(ask, name, watch) {
                Err(refusal @ Failure::Server { code: ErrorCode::AccessViolation, .. }) => {
                    refused = Some(refusal);
                }
                Err(Failure::Server { code, .. }) if code != ErrorCode::NotFound => {}
                Err(Failure::NoAnswer(_) | Failure::Closed(_) | Failure::Protocol(_)) => {}
                decided => return decided,
            }
        }
        let listing = self.list_by_file(ask, name, watch);
        match (listing, refused) {
            (Ok(listing), _) => {
                self.server.lists_by_file.store(true, Ordering::Relaxed);
                Ok(listing)
            }
            // It knows the opcode well enough to say no.
            (Err(Failure::NoListing), Some(refusal)) => Err(refusal),
            (Err(failure), _) => Err(failure),
        }
    }

    fn lists_by_file(&self) -> bool {
        self.server.lists_by_file.load(Ordering::Relaxed)
    }

    fn list_by_opcode(
        &self,
        ask: Ask<'_>,
        name: &[u8],
        watch: &mut Watch<'_>,
    ) -> Result<Listing, Failure> {
        let timing = Timing {
            first: LIST_REPEAT,
            unanswered: 2 * LIST_REPEAT,
            ..ask.wishes.timing(Operation::List)
        };
        let size = ask.size_of_a_read();
        let (socket, mut request) =
            ask.request(Question { operation: Operation::List, name, size })?;
        if !ask.wishes.plain {
            request.options = request.options.with(TransferOption::List(ListFormat::Json));
        }
        refuse_too_long(&request)?;
        let memory = BoundedMemory::new(LONGEST_BYTES);
        let listed = self.converse(ask, (socket, None), watch, &mut Narrower::never(), |now| {
            Transfer::get(now, timing, &request, Box::new(memory.clone()))
        });
        let summary = listed.map_err(|failure| bounded(&memory, failure))?;
        let bytes = memory.take();
        match summary.agreed.list() {
            Some(ListFormat::Json) => Listing::from_json(&bytes),
            // A server that knows the opcode and not our option.
            None => Listing::from_uefi(&bytes),
        }
        .map_err(|error| Failure::Protocol(error.to_string()))
    }

    fn list_by_file(
        &self,
        ask: Ask<'_>,
        name: &[u8],
        watch: &mut Watch<'_>,
    ) -> Result<Listing, Failure> {
        let mut path = name.to_vec();
        if !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(b".list");
        let size = ask.size_of_a_read();
        let question = Question { operation: Operation::Read, name: &path, size };
        let memory = BoundedMemory::new(LONGEST_BYTES);
        let sink = Reusable::new(memory.clone());
        let got = self.ask_twice(ask, question, &sink, watch, |now, timing, request| {
            Transfer::get(now, timing, request, Box::new(sink.clone()))
        });
        match got {
            Ok(_) => Listing::from_text(&memory.take()).map_err(|_| Failure::NoListing),
            // Of a server that is known to list, it is about this directory.
            Err(Failure::Server { .. }) if !self.lists_by_file() => Err(Failure::NoListing),
            Err(other) => Err(bounded(&memory, other)),
        }
    }
}

/// A listing that is too long is told so.
fn bounded(memory: &BoundedMemory, failure: Failure) -> Failure {
    if memory.is_exceeded() { Failure::TooLong(LONGEST_BYTES) } else { failure }
}
