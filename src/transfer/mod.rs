//! One transfer: a machine of [`proto`](crate::proto), its opening packet, and the payload.
//!
//! Datagrams and the time go in ([`handle`](Transfer::handle)); datagrams to send and a time to wait for come out
//! ([`poll`](Transfer::poll)). This module knows packets and payloads. It must not know sockets, clocks, names or
//! folders: it reads from a [`Source`] and writes to a [`Sink`] that others opened.

mod asking;
mod budget;
mod burst;
mod error;
mod incoming;
mod netascii;
mod odd;
mod outgoing;
mod reorder;
mod ring;
mod settings;
mod sink;
mod source;
mod summary;
mod terms;
#[cfg(test)]
mod tests;
mod torn;

pub use burst::Burst;
pub(crate) use error::error_text;
pub use error::{PeerWords, error_code};
pub use sink::{Discard, MayWait, Sink, Writer};
pub use source::{Blocking, Memory, Source};
pub use summary::{Outcome, Summary};
pub use terms::{Action, StorageWork, Terms};

use crate::limits;
use crate::proto::{Agreed, End, Receiver, Sender, Step, Time, Timing, accept};
use crate::wire::{
    BlockSize, ErrorCode, Malformed, Options, Packet, Request, WindowSize, WireBlock,
};
use asking::Asking;
use budget::UnprovenBudget;
use incoming::Incoming;
use outgoing::Outgoing;
use std::io;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

enum Machine {
    Sending(Outgoing),
    Receiving(Incoming),
}

/// How far a transfer is. It only ever goes down this list.
enum Phase {
    /// A client has asked and has had no answer.
    Asking(Box<Asking>),
    /// Blocks travel.
    Running,
    /// The received file is committed. Its last ACK goes out, and goes out again while the peer may have missed it
    /// (RFC 1350 § 6).
    Dallying,
    /// It ended with an ERROR, which must still leave.
    Failing,
    /// Nothing is left to do.
    Over,
}

/// One transfer, on the server or on the client, of a file in either direction.
pub struct Transfer {
    role: Role,
    phase: Phase,
    machine: Machine,
    /// What a server may still send to a client that has not proven its address; nothing once it has. A client needs
    /// no proof of the server it asked.
    budget: Option<UnprovenBudget>,
    /// Whether what leaves next answers a repeat of the request, which is a datagram of its own: it needs no budget.
    answers_repeat: bool,
    /// The datagram that stands for block 0.
    opening: Vec<u8>,
    /// An ACK or an ERROR on its way out.
    small: Vec<u8>,
    started: Time,
    summary: Summary,
}

impl Transfer {
    /// A server's answer to an RRQ or a LIST.
    pub fn serve_read(now: Time, terms: &Terms, source: Box<dyn Source>) -> Self {
        let opening = !terms.answer.is_empty();
        let sender = Sender::new(now, terms.timing, &terms.agreed, opening);
        Self::serve(now, terms, Machine::Sending(Outgoing::new(terms.mode, sender, source)))
    }

    /// A server's answer to a WRQ.
    pub fn serve_write(now: Time, terms: &Terms, sink: Box<dyn Sink>) -> Self {
        let dally = limits::DALLY_INTERVALS;
        let receiver = Receiver::new(now, terms.timing, &terms.agreed, dally);
        Self::serve(now, terms, Machine::Receiving(Incoming::new(terms.mode, receiver, sink)))
    }

    fn serve(now: Time, terms: &Terms, machine: Machine) -> Self {
        let opening = if terms.answer.is_empty() {
            Packet::Ack { block: WireBlock(0) }.to_vec()
        } else {
            Packet::Oack(terms.answer).to_vec()
        };
        let mut transfer = Self::new(now, Role::Server, Phase::Running, machine, opening);
        transfer.budget = Some(UnprovenBudget::new(now + terms.timing.unanswered));
        transfer.settle(terms.agreed);
        transfer
    }

    /// A client's read or listing. It is over when its last ACK has left: its owner closes the port then, by which a server
    /// that missed that ACK learns that nobody waits for it.
    pub fn get(now: Time, timing: Timing, request: &Request<'_>, sink: Box<dyn Sink>) -> Self {
        let receiver = Receiver::new(now, timing, &Agreed::default(), 0).asking();
        Self::ask(now, request, Machine::Receiving(Incoming::new(request.mode, receiver, sink)))
    }

    /// A client's write.
    pub fn put(now: Time, timing: Timing, request: &Request<'_>, source: Box<dyn Source>) -> Self {
        let sender = Sender::new(now, timing, &Agreed::default(), true).asking();
        Self::ask(now, request, Machine::Sending(Outgoing::new(request.mode, sender, source)))
    }

    fn ask(now: Time, request: &Request<'_>, machine: Machine) -> Self {
        let phase = Phase::Asking(Box::new(Asking::new(request.options)));
        Self::new(now, Role::Client, phase, machine, Packet::Request(*request).to_vec())
    }

    fn new(now: Time, role: Role, phase: Phase, machine: Machine, opening: Vec<u8>) -> Self {
        Self {
            role,
            phase,
            machine,
            budget: None,
            answers_repeat: false,
            opening,
            small: Vec::new(),
            started: now,
            summary: Summary::default(),
        }
    }

    /// The terms are known: the ring can be laid out.
    fn settle(&mut self, agreed: Agreed) {
        self.summary.agreed = agreed;
        let of_proven = |bytes| if self.budget.is_none() { bytes } else { 0 };
        match &mut self.machine {
            Machine::Sending(outgoing) => {
                outgoing.lay_out(&agreed, of_proven(limits::READ_AHEAD_BYTES));
            }
            Machine::Receiving(incoming) => {
                incoming.set_piece(of_proven(limits::WRITE_BEHIND_BYTES));
            }
        }
    }

    /// Takes a datagram that came from the peer.
    pub fn handle(&mut self, now: Time, datagram: &[u8]) {
        if !self.may_end() {
            return;
        }
        let packet = Packet::parse(datagram);
        // Only the one who was answered knows the session's port. A DATA proves no read: an echo service sends ours
        // back.
        if matches!(
            (&self.machine, &packet),
            (Machine::Sending(_), Ok(Packet::Ack { .. }))
                | (Machine::Receiving(_), Ok(Packet::Data { .. }))
        ) {
            self.budget = None;
        }
        match packet {
            Ok(Packet::Data { block, payload }) => self.handle_data(now, block, payload),
            Ok(Packet::Ack { block }) => self.handle_ack(now, block),
            Ok(Packet::Oack(answer)) => self.handle_oack(now, &answer),
            Ok(Packet::Error { code, message }) => self.handle_error(now, code, message),
            // GRUB repeats its request to the session's port; it means nothing here.
            Ok(Packet::Request(_)) => {}
            Err(Malformed::Oack) if self.is_asking() => self.refuse(now, None),
            Err(_) => self.hear_words(now, datagram),
        }
    }

    fn handle_error(&mut self, now: Time, code: ErrorCode, message: &[u8]) {
        let message = message[..message.len().min(limits::ERROR_TEXT_BYTES)].to_vec();
        let outcome = match self.lost() {
            End::Complete => Outcome::Complete,
            // GRUB and PXELINUX say goodbye with an ERROR 0 when they have it all.
            End::Unconfirmed if self.role == Role::Server && code == ErrorCode::Undefined => {
                Outcome::Unconfirmed
            }
            _ => Outcome::PeerError(code, message),
        };
        self.end(now, outcome);
    }

    /// Whether this is a client that has had no answer yet.
    pub const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking(_))
    }

    /// The first answer came without an OACK: RFC 1350 as it was.
    fn settle_plain(&mut self) {
        if self.is_asking() {
            self.phase = Phase::Running;
            self.settle(Agreed::default());
        }
    }

    fn handle_data(&mut self, now: Time, block: WireBlock, payload: &[u8]) {
        // The answer to a request can be no block but the first; anything else is not about this transfer.
        let sending = matches!(self.machine, Machine::Sending(_));
        if sending || (self.is_asking() && block != WireBlock(1)) {
            return;
        }
        self.settle_plain();
        let agreed = self.summary.agreed;
        let Machine::Receiving(incoming) = &mut self.machine else { return };
        if payload.len() > agreed.block_size().get() && !incoming.receiver.has_last_block() {
            let (code, text) = (ErrorCode::IllegalOperation, "block too large");
            return self.fail(now, code, text, Outcome::Oversized);
        }
        match incoming.handle_data(now, &agreed, block, payload) {
            Ok(bytes) => self.summary.bytes += bytes,
            Err(error) => return self.fail_locally(now, &error),
        }
        self.summary.round_trip = incoming.receiver.round_trip();
        if incoming.is_short(&agreed) {
            let text = "fewer bytes than tsize said";
            self.fail(now, ErrorCode::Undefined, text, Outcome::Short);
        }
    }

    /// Whether it can be ended: not when it is over, and not between the last block and its acknowledgement, when
    /// there is nothing that anyone could add. Whoever wants the end then will say it again.
    const fn may_end(&self) -> bool {
        let ending = matches!(
            &self.machine,
            Machine::Receiving(incoming) if incoming.is_whole() || incoming.owes_last_ack()
        );
        !self.is_over() && !ending
    }

    fn handle_ack(&mut self, now: Time, block: WireBlock) {
        // The answer to a WRQ can be no ACK but that of block 0.
        let sending = matches!(self.machine, Machine::Sending(_));
        if !sending || (self.is_asking() && block != WireBlock(0)) {
            return;
        }
        self.settle_plain();
        self.acknowledged(now, block);
    }

    fn acknowledged(&mut self, now: Time, block: WireBlock) {
        if let Machine::Sending(outgoing) = &mut self.machine {
            self.summary.bytes = outgoing.handle_ack(now, block);
            self.summary.round_trip = outgoing.sender.round_trip();
        }
    }

    fn handle_oack(&mut self, now: Time, answer: &Options) {
        let Phase::Asking(asking) = &self.phase else {
            // It came again. A sender's answer is DATA 1, which has its own timer.
            if let (Role::Client, Machine::Receiving(incoming)) = (self.role, &mut self.machine) {
                incoming.opening_repeated(now);
            }
            return;
        };
        let agreed = match accept(&asking.offer, answer) {
            Ok(agreed) => agreed,
            Err(why) => return self.refuse(now, Some(why)),
        };
        self.phase = Phase::Running;
        self.settle(agreed);
        match &mut self.machine {
            Machine::Sending(outgoing) => {
                outgoing.sender.agree(&agreed);
                self.acknowledged(now, WireBlock(0));
            }
            Machine::Receiving(incoming) => {
                incoming.receiver.agree(&agreed);
                incoming.receiver.opened(now);
                self.opening = Packet::Ack { block: WireBlock(0) }.to_vec();
            }
        }
    }

    /// The client sent its request once more: it has not seen the server's answer, which goes out again at once.
    pub fn repeat(&mut self) {
        if self.role == Role::Client || self.is_proven() {
            return;
        }
        self.answers_repeat = true;
        match &mut self.machine {
            Machine::Sending(outgoing) => outgoing.sender.repeat(),
            Machine::Receiving(incoming) => incoming.receiver.repeat(),
        }
    }

    /// The network says that the peer's port is closed: nothing that is sent will arrive.
    pub fn unreachable(&mut self, now: Time) {
        if self.gives_up_end().is_some() {
            return self.supply_end(now);
        }
        // It may be the port of the stranger that was turned away.
        if !self.waits_for_another() {
            self.end(now, Outcome::of(self.lost(), Outcome::Unreachable));
        }
    }

    /// What it would be if the peer said no more.
    fn lost(&self) -> End {
        match &self.machine {
            Machine::Sending(outgoing) => outgoing.sender.lost(),
            Machine::Receiving(incoming) => incoming.receiver.lost(),
        }
    }

    /// Ends it from here with an ERROR that tells the peer why, unless the payload is whole.
    pub fn stop(&mut self, now: Time, reason: &str) {
        if self.is_complete() {
            return self.abandon(now);
        }
        self.fail(now, ErrorCode::Undefined, reason, Outcome::Stopped);
    }

    /// Ends it from here without a word: the peer has forgotten it.
    pub fn abandon(&mut self, now: Time) {
        let outcome = match &self.machine {
            _ if self.is_complete() => Outcome::Complete,
            // All of it was sent, and who asks for the next file has this one.
            Machine::Sending(outgoing) => Outcome::of(outgoing.sender.lost(), Outcome::Superseded),
            Machine::Receiving(_) => Outcome::Superseded,
        };
        self.end(now, outcome);
    }

    fn fail_locally(&mut self, now: Time, error: &io::Error) {
        let (code, text) = match (error_code(error), PeerWords::of(error)) {
            (code, Some(words)) => (code, words.0),
            (code @ (ErrorCode::DiskFull | ErrorCode::FileExists), None) => (code, code.text()),
            // In the middle of a transfer there is nothing that the peer could do about any other.
            _ => (ErrorCode::Undefined, "error while reading or writing the file"),
        };
        self.fail(now, code, text, Outcome::Local(code, error.to_string()));
    }

    fn fail(&mut self, now: Time, code: ErrorCode, text: &str, outcome: Outcome) {
        if self.may_end() {
            self.small.clear();
            Packet::Error { code, message: error_text(text) }.write(&mut self.small);
            self.end(now, outcome);
            self.phase = Phase::Failing;
        }
    }

    fn end(&mut self, now: Time, outcome: Outcome) {
        if self.may_end() {
            self.phase = Phase::Over;
            self.summary.conclude(now - self.started, outcome);
        }
    }

    /// Whether the payload is whole on this side. A receiver's last ACK may still have to leave, and dallying follows.
    pub fn is_complete(&self) -> bool {
        match &self.machine {
            Machine::Sending(outgoing) => outgoing.sender.is_delivered(),
            Machine::Receiving(incoming) => incoming.is_safe(),
        }
    }

    /// Whether it only answers a repeated last block (RFC 1350 § 6): its outcome is known, and the file is safe.
    pub const fn is_dallying(&self) -> bool {
        matches!(self.phase, Phase::Dallying)
    }

    /// Whether nothing is left to do, except to send an ERROR.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Failing | Phase::Over)
    }

    /// Whether the peer has answered from its own address.
    pub const fn is_proven(&self) -> bool {
        self.budget.is_none()
    }

    /// Whether many blocks can be expected to come at once.
    pub fn gathers(&self) -> bool {
        matches!(self.machine, Machine::Receiving(_))
            && self.summary.agreed.window() > WindowSize::LOCKSTEP
    }

    /// Whether to drop it now may wait for a disk: an upload that is not whole leaves no trace.
    pub fn drop_may_wait(&self) -> bool {
        matches!(&self.machine, Machine::Receiving(incoming) if incoming.drop_may_wait())
    }

    /// What [`run_storage`](Self::run_storage) does now, if it is called.
    pub fn storage_work(&self) -> StorageWork {
        match &self.machine {
            Machine::Sending(_) => StorageWork::Read,
            Machine::Receiving(incoming) if incoming.asks() => StorageWork::Ask,
            Machine::Receiving(_) => StorageWork::Write,
        }
    }

    /// What comes is in windows for which the path has no room, from a sender that does not pace them: the window that seems
    /// to fit.
    pub fn window_that_fits(&self, now: Time) -> Option<WindowSize> {
        match &self.machine {
            Machine::Receiving(incoming) if !self.is_over() => incoming.window_that_fits(now),
            _ => None,
        }
    }

    /// The length in bytes of the longest datagram that can mean something to it now.
    pub fn longest_datagram(&self) -> usize {
        let block_size = match &self.machine {
            Machine::Receiving(_) => self.summary.agreed.block_size(),
            Machine::Sending(_) => BlockSize::DEFAULT,
        };
        // However small the blocks are, an ERROR has its text, and an OACK may come again.
        block_size.max(BlockSize::DEFAULT).packet_bytes()
    }

    /// The figures so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The figures so far, and how long it took until `now` where it is under way.
    pub fn figures(&self, now: Time) -> Summary {
        let mut figures = self.summary.clone();
        if figures.outcome.is_none() {
            figures.elapsed = now - self.started;
        }
        figures
    }

    /// Says what to do now.
    pub fn poll(&mut self, now: Time) -> Action<'_> {
        if self.gives_up_end().is_some_and(|until| now >= until) {
            self.supply_end(now);
        }
        if self.wants_storage() && !self.answers_first() {
            return Action::Storage;
        }
        if let Some(action) = self.poll_refused(now) {
            return action;
        }
        match self.phase {
            Phase::Over => return Action::Done,
            Phase::Failing => self.phase = Phase::Over,
            Phase::Asking(_) | Phase::Running | Phase::Dallying => {
                let silent_until = self.budget.and_then(|budget| budget.silent_until());
                if let Some(until) = silent_until.filter(|_| !self.answers_repeat) {
                    return self.wait_for_proof(now, until);
                }
                return self.poll_machine(now);
            }
        }
        let error = Burst::single(&self.small, false);
        if self.budget.as_mut().is_some_and(|budget| budget.spend(error.bytes.len()).is_err()) {
            return Action::Done;
        }
        self.summary.count(&error, self.budget.is_none());
        Action::Send(error)
    }

    /// Says that the last `packets` of the burst that [`poll`](Self::poll) gave last found no room in the socket. Tells
    /// whether `poll` gives them again, as it does with blocks for a second; else they count as lost.
    pub fn hold(&mut self, now: Time, packets: u64) -> bool {
        let is_over = self.is_over();
        let held = match &mut self.machine {
            Machine::Sending(outgoing) if !is_over => outgoing.hold(now, packets),
            _ => None,
        };
        held.inspect(|held| self.summary.uncount(*held)).is_some()
    }

    fn poll_machine(&mut self, now: Time) -> Action<'_> {
        let (gives_up_end, wants_storage) = (self.gives_up_end(), self.wants_storage());
        let silent = self.silent();
        let step = match &mut self.machine {
            Machine::Sending(outgoing) => outgoing.poll(now, &self.opening),
            Machine::Receiving(incoming) => {
                incoming.poll(now, &self.summary.agreed, &self.opening, &mut self.small)
            }
        };
        match step {
            Step::Transmit(burst) => {
                let is_free = core::mem::take(&mut self.answers_repeat);
                if let Some(budget) = self.budget.as_mut().filter(|_| !is_free)
                    && let Err(until) = budget.spend(burst.bytes.len())
                {
                    return Action::Wait(until);
                }
                self.summary.count(&burst, self.budget.is_none());
                Action::Send(burst)
            }
            Step::Wait(_) if wants_storage => Action::Storage,
            Step::Wait(until) => Action::Wait(gives_up_end.map_or(until, |end| end.min(until))),
            Step::Done(end) => {
                self.phase = Phase::Over;
                self.summary.conclude(now - self.started, Outcome::of(end, silent));
                Action::Done
            }
        }
    }

    /// All that may be sent without proof was sent.
    fn wait_for_proof(&mut self, now: Time, until: Time) -> Action<'_> {
        if now < until {
            return Action::Wait(until);
        }
        self.end(now, Outcome::Silent);
        Action::Done
    }

    fn wants_storage(&self) -> bool {
        match &self.machine {
            _ if self.is_over() => false,
            Machine::Sending(outgoing) => outgoing.wants_storage(&self.summary.agreed),
            Machine::Receiving(incoming) => incoming.wants_storage(&self.summary.agreed),
        }
    }

    /// Whether what came is acknowledged before it is written, so that more comes meanwhile: all but the end.
    const fn answers_first(&self) -> bool {
        matches!(&self.machine, Machine::Receiving(incoming) if !incoming.is_whole())
    }

    /// Reads what is to be sent next, writes what came, or commits a file whose last block came. It may wait for a disk.
    pub fn run_storage(&mut self, now: Time) {
        self.storage(now, true);
    }

    /// Does what [`run_storage`](Self::run_storage) does as far as that is possible without waiting. Tells whether it
    /// was done.
    pub fn try_storage(&mut self, now: Time) -> bool {
        self.storage(now, false)
    }

    fn storage(&mut self, now: Time, may_wait: bool) -> bool {
        if !self.wants_storage() {
            return true;
        }
        let done = match &mut self.machine {
            Machine::Sending(outgoing) => outgoing.storage(may_wait),
            Machine::Receiving(incoming) => incoming.storage(may_wait),
        };
        if let Err(error) = &done {
            self.fail_locally(now, error);
        } else if matches!(&self.machine, Machine::Receiving(incoming) if incoming.is_safe()) {
            self.phase = Phase::Dallying;
            self.summary.conclude(now - self.started, Outcome::Complete);
        }
        done.unwrap_or(true)
    }
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Transfer");
        match &self.machine {
            Machine::Sending(outgoing) => out.field("sender", &outgoing.sender),
            Machine::Receiving(incoming) => out.field("receiver", &incoming.receiver),
        };
        out.field("summary", &self.summary).finish_non_exhaustive()
    }
}
