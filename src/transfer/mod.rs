//! One transfer: a machine of [`proto`](crate::proto), its opening packet, and the payload.
//!
//! Datagrams and the time go in ([`handle`](Transfer::handle)); datagrams to send and a time to wait for come out
//! ([`poll`](Transfer::poll)). This module knows packets and payloads. It must not know sockets, clocks, names or
//! folders: it reads from a [`Source`] and writes to a [`Sink`] that others opened.

mod early;
mod netascii;
mod payload;
mod plan;
mod proof;
mod summary;
#[cfg(test)]
mod tests;
mod window;

pub use summary::{Outcome, Summary};

use crate::limits;
use crate::proto::{Agreed, Disagreement, End, Receiver, Sender, Step, Time, Timing, accept};
use crate::wire::{
    BlockSize, DATA_HEADER, ErrorCode, Mode, Options, Packet, Request, WindowSize, WireBlock,
};
use payload::{Incoming, Outgoing};
use plan::{Plan, What};
use proof::Proof;
use std::io::{self, Read};

/// What is sent. It ends where `read` gives 0; a file that lost bytes since it was opened must give an error
/// instead, or it would look complete. Where a read would wait for a disk, it may say so by `WouldBlock`, once: the
/// next one waits.
pub type Source = Box<dyn Read + Send>;

/// Where received bytes go. They count for nothing until [`commit`](Sink::commit): dropped before that, they must
/// leave no trace.
pub trait Sink: Send {
    /// Takes the next bytes of the file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file is whole: make it last, and make it visible. Like a read of a [`Source`], it may say by `WouldBlock`,
    /// once, that the next call waits for a disk.
    fn commit(&mut self) -> io::Result<()>;
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).write(bytes)
    }
    fn commit(&mut self) -> io::Result<()> {
        (**self).commit()
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Action<'a> {
    /// Send these packets, then ask again.
    Send(Burst<'a>),
    /// Call [`store`](Transfer::store), where a disk may be waited for, then ask again.
    Store,
    /// Nothing until a datagram comes or this time has come.
    Wait(Time),
    /// It is over: see [`Transfer::summary`].
    Done,
}

/// Packets that lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst<'a> {
    /// All their bytes.
    pub bytes: &'a [u8],
    /// The length of each of them but the last, which may be shorter.
    pub packet: usize,
}

/// Where a server's transfers take their bounds from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What was agreed.
    pub agreed: Agreed,
    /// The OACK's options; none means that there is no OACK.
    pub answer: Options,
    /// The file's representation.
    pub mode: Mode,
    /// Intervals.
    pub timing: Timing,
}

enum Machine {
    Sending(Outgoing),
    Receiving(Incoming),
}

enum Role {
    /// Whether the client has proven its address.
    Server(Proof),
    /// What was asked, and whether the first answer has come.
    Client { offer: Box<Options>, settled: bool },
}

/// One transfer, on the server or on the client, of a file in either direction.
pub struct Transfer {
    role: Role,
    machine: Machine,
    /// The datagram that stands for block 0.
    opening: Vec<u8>,
    /// An ACK or an ERROR on its way out.
    small: Vec<u8>,
    /// An ERROR that must still go out.
    farewell: bool,
    /// Nothing is left to do, except to say farewell.
    over: bool,
    /// The source or the sink has said that it waits the next time.
    waits: bool,
    started: Time,
    summary: Summary,
}

impl Transfer {
    /// A server's answer to an RRQ or a LIST.
    pub fn serve_read(now: Time, terms: &Terms, source: Source) -> Self {
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
        let role = Role::Server(Proof::new(now, terms.timing.first));
        let mut transfer = Self::new(now, role, machine, opening);
        transfer.settle(terms.agreed);
        transfer
    }

    /// A client's read or listing.
    pub fn get(now: Time, timing: Timing, request: &Request<'_>, sink: Box<dyn Sink>) -> Self {
        let receiver = Receiver::new(now, timing, &Agreed::default(), 0);
        Self::ask(now, request, Machine::Receiving(Incoming::new(request.mode, receiver, sink)))
    }

    /// A client's write.
    pub fn put(now: Time, timing: Timing, request: &Request<'_>, source: Source) -> Self {
        let sender = Sender::new(now, timing, &Agreed::default(), true);
        Self::ask(now, request, Machine::Sending(Outgoing::new(request.mode, sender, source)))
    }

    fn ask(now: Time, request: &Request<'_>, machine: Machine) -> Self {
        let role = Role::Client { offer: Box::new(request.options), settled: false };
        Self::new(now, role, machine, Packet::Request(*request).to_vec())
    }

    fn new(now: Time, role: Role, machine: Machine, opening: Vec<u8>) -> Self {
        Self {
            role,
            machine,
            opening,
            small: Vec::new(),
            farewell: false,
            over: false,
            waits: false,
            started: now,
            summary: Summary::default(),
        }
    }

    /// How many bytes of a lock-step file to read ahead, unless there are blocks under way that may be needed again.
    /// For a client that has not proven its address a server begins without.
    pub fn set_read_ahead(&mut self, bytes: usize) {
        if let Machine::Sending(outgoing) = &mut self.machine {
            outgoing.read_ahead(&self.summary.agreed, bytes);
        }
    }

    /// The terms are known: the ring can be laid out.
    fn settle(&mut self, agreed: Agreed) {
        self.summary.agreed = agreed;
        let read_ahead = if self.is_proven() { limits::READ_AHEAD_BYTES } else { 0 };
        if let Machine::Sending(outgoing) = &mut self.machine {
            outgoing.lay_out(&agreed, read_ahead);
        }
    }

    /// A datagram came from the peer.
    pub fn handle(&mut self, now: Time, datagram: &[u8]) {
        if !self.may_end() {
            return;
        }
        let packet = Packet::parse(datagram);
        if let Role::Server(proof) = &mut self.role
            && matches!(
                (&self.machine, &packet),
                (Machine::Sending(_), Ok(Packet::Ack { .. }))
                    | (Machine::Receiving(_), Ok(Packet::Data { .. }))
            )
        {
            proof.seen();
        }
        match packet {
            Ok(Packet::Data { block, payload }) => self.data(now, block, payload),
            Ok(Packet::Ack { block }) => self.ack(now, block),
            Ok(Packet::Oack(answer)) => self.oack(now, &answer),
            Ok(Packet::Error { code, message }) => {
                let message = message[..message.len().min(limits::ERROR_TEXT)].to_vec();
                let serving = matches!(self.role, Role::Server(_));
                let outcome = match self.lost() {
                    End::Complete => Outcome::Complete,
                    // GRUB and PXELINUX say goodbye with an ERROR 0 when they have it all.
                    End::Unconfirmed if serving && code == ErrorCode::Undefined => {
                        Outcome::Unconfirmed
                    }
                    _ => Outcome::PeerError(code, message),
                };
                self.end(now, outcome);
            }
            // GRUB repeats its request to the session's port; it means nothing here.
            Ok(Packet::Request(_)) => {}
            Err(crate::wire::Malformed::Oack) if self.is_asking() => self.disagree(now, None),
            Err(_) => {}
        }
    }

    /// Whether this is a client that has had no answer yet.
    fn is_asking(&self) -> bool {
        matches!(self.role, Role::Client { settled: false, .. })
    }

    /// The first answer came without an OACK: RFC 1350 as it was.
    fn settle_plain(&mut self) {
        if let Role::Client { settled, .. } = &mut self.role
            && !std::mem::replace(settled, true)
        {
            self.settle(Agreed::default());
        }
    }

    fn data(&mut self, now: Time, block: WireBlock, payload: &[u8]) {
        // The answer to a request can be no block but the first; anything else is not about this transfer.
        let sending = matches!(self.machine, Machine::Sending(_));
        if sending || (self.is_asking() && block != WireBlock(1)) {
            return;
        }
        self.settle_plain();
        let agreed = self.summary.agreed;
        let Machine::Receiving(incoming) = &mut self.machine else { return };
        if payload.len() > agreed.block_size().get() && !incoming.receiver.has_last_block() {
            return self.fail(
                now,
                ErrorCode::IllegalOperation,
                "block too large",
                Outcome::Oversized,
            );
        }
        match incoming.take(now, &agreed, block, payload) {
            Ok(bytes) => self.summary.bytes += bytes,
            Err(error) => return self.local(now, &error),
        }
        if incoming.is_short(&agreed) {
            let text = "fewer bytes than tsize said";
            self.fail(now, ErrorCode::Undefined, text, Outcome::Short);
        }
    }

    /// Not when it is over; and not between the last block and its acknowledgement, when there is nothing that anyone
    /// could add: whoever wants the end will say it again.
    fn may_end(&self) -> bool {
        let ending = |incoming: &Incoming| incoming.is_due() || incoming.is_untold();
        !self.is_over()
            && !matches!(&self.machine, Machine::Receiving(incoming) if ending(incoming))
    }

    fn ack(&mut self, now: Time, block: WireBlock) {
        // The same for a WRQ and ACK 0.
        let answers = matches!(self.machine, Machine::Sending(_));
        if !answers || (self.is_asking() && block != WireBlock(0)) {
            return;
        }
        self.settle_plain();
        self.acknowledged(now, block);
    }

    fn acknowledged(&mut self, now: Time, block: WireBlock) {
        if let Machine::Sending(outgoing) = &mut self.machine {
            self.summary.bytes = outgoing.acknowledged(now, block);
        }
    }

    fn oack(&mut self, now: Time, answer: &Options) {
        let Role::Client { offer, settled } = &mut self.role else { return };
        if *settled {
            // It came again: our answer to it was lost. A sender's answer is DATA 1, which has its own timer.
            if let Machine::Receiving(incoming) = &mut self.machine {
                incoming.receiver.opening_repeated(now);
            }
            return;
        }
        let agreed = match accept(offer, answer) {
            Ok(agreed) => agreed,
            Err(why) => return self.disagree(now, Some(why)),
        };
        *settled = true;
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

    fn disagree(&mut self, now: Time, why: Option<Disagreement>) {
        let outcome = Outcome::Disagreement(why);
        self.fail(now, ErrorCode::OptionRefused, "not what was asked for", outcome);
    }

    /// The client sent its request once more: it has not seen the answer, which goes out again at once.
    pub fn repeat(&mut self) {
        let Role::Server(proof) = self.role else { return };
        let room = proof.allows(self.answer_len());
        match &mut self.machine {
            Machine::Sending(outgoing) if room => outgoing.sender.repeat(),
            Machine::Receiving(incoming) if room && !incoming.receiver.is_answered() => {
                incoming.receiver.repeat();
            }
            _ => {}
        }
    }

    /// The length of what a server's first packet holds: an OACK, ACK 0, or DATA 1.
    fn answer_len(&self) -> usize {
        let first_block = match &self.machine {
            Machine::Sending(outgoing) => outgoing.first_block_len(),
            Machine::Receiving(_) => None,
        };
        first_block.unwrap_or(self.opening.len())
    }

    /// The peer's port is closed, the network says: nothing sent will arrive.
    pub fn unreachable(&mut self, now: Time) {
        self.end(now, Outcome::of(self.lost(), Outcome::Unreachable));
    }

    /// What it would be if the peer said no more.
    fn lost(&self) -> End {
        match &self.machine {
            Machine::Sending(outgoing) => outgoing.sender.lost(),
            Machine::Receiving(incoming) => incoming.receiver.lost(),
        }
    }

    /// Ends it from here, telling the peer why, unless the payload is whole.
    pub fn stop(&mut self, now: Time, reason: &str) {
        if self.is_complete() {
            return self.abandon(now);
        }
        self.fail(now, ErrorCode::Undefined, reason, Outcome::Stopped);
    }

    /// Ends it from here without a word: the peer has forgotten it.
    pub fn abandon(&mut self, now: Time) {
        self.end(now, if self.is_complete() { Outcome::Complete } else { Outcome::Forgotten });
    }

    fn local(&mut self, now: Time, error: &io::Error) {
        let (code, text) = match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => {
                (ErrorCode::DiskFull, "disk full or allocation exceeded")
            }
            io::ErrorKind::AlreadyExists => (ErrorCode::FileExists, "file already exists"),
            _ => (ErrorCode::Undefined, "error while reading or writing the file"),
        };
        self.fail(now, code, text, Outcome::Local(code, error.to_string()));
    }

    fn fail(&mut self, now: Time, code: ErrorCode, text: &str, outcome: Outcome) {
        if self.may_end() {
            self.small.clear();
            Packet::Error { code, message: text.as_bytes() }.write(&mut self.small);
            self.farewell = true;
            self.end(now, outcome);
        }
    }

    fn end(&mut self, now: Time, outcome: Outcome) {
        if self.may_end() {
            self.over = true;
            self.conclude(now, outcome);
        }
    }

    /// How it ended is known, once: a receiver that has it all may stay on for a while.
    fn conclude(&mut self, now: Time, outcome: Outcome) {
        if self.summary.outcome.is_none() {
            self.summary.elapsed = now - self.started;
            self.summary.outcome = Some(outcome);
        }
    }

    /// Whether the payload is whole on this side: a receiver's last ACK and dallying may still follow.
    pub fn is_complete(&self) -> bool {
        match &self.machine {
            Machine::Sending(outgoing) => outgoing.sender.is_delivered(),
            Machine::Receiving(incoming) => incoming.is_safe(),
        }
    }

    /// Whether nothing is left to do, except to send an ERROR.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the peer has answered from its own address.
    pub const fn is_proven(&self) -> bool {
        match &self.role {
            Role::Server(proof) => proof.is_proven(),
            Role::Client { .. } => true,
        }
    }

    /// Whether many blocks come at once.
    pub fn gathers(&self) -> bool {
        matches!(self.machine, Machine::Receiving(_))
            && self.summary.agreed.window() > WindowSize::LOCKSTEP
    }

    /// The longest datagram that can mean something to it now, in bytes.
    pub fn longest_datagram(&self) -> usize {
        let block_size = match &self.machine {
            Machine::Receiving(_) => self.summary.agreed.block_size(),
            Machine::Sending(_) => BlockSize::DEFAULT,
        };
        // However small the blocks are, an ERROR has its text, and an OACK may come again.
        DATA_HEADER + block_size.max(BlockSize::DEFAULT).get()
    }

    /// The figures so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What to do now.
    pub fn poll(&mut self, now: Time) -> Action<'_> {
        if self.wants_storage() {
            return Action::Store;
        }
        if self.is_over() && !self.farewell {
            return Action::Done;
        }
        if let Role::Server(proof) = &self.role
            && let Some(until) = proof.spent_until()
        {
            return self.wait_for_proof(now, until);
        }
        let plan = match self.plan(now) {
            Step::Transmit(plan) => plan,
            Step::Wait(until) => return Action::Wait(until),
            Step::Done(_) => return Action::Done,
        };
        let len = self.burst(plan).bytes.len();
        if let Role::Server(proof) = &mut self.role
            && !proof.take(now, len)
        {
            return self.poll(now);
        }
        self.summary.packets += plan.count;
        self.summary.retransmitted += plan.again;
        Action::Send(self.burst(plan))
    }

    /// All that may be sent without proof was sent.
    fn wait_for_proof(&mut self, now: Time, until: Time) -> Action<'_> {
        if now < until && !self.is_over() {
            return Action::Wait(until);
        }
        self.end(now, Outcome::Silent);
        Action::Done
    }

    fn wants_storage(&self) -> bool {
        match &self.machine {
            _ if self.is_over() => false,
            Machine::Sending(outgoing) => outgoing.wants_storage(&self.summary.agreed, self.waits),
            Machine::Receiving(incoming) => incoming.is_due(),
        }
    }

    /// Reads what is to be sent next, or makes a file last whose last block came. Returns whether that is done: it
    /// always is in the end where the caller is `patient`, and else not if the disk would have to be waited for.
    pub fn store(&mut self, now: Time, patient: bool) -> bool {
        if !self.wants_storage() {
            return true;
        }
        let done = loop {
            if self.waits && !patient {
                return false;
            }
            let (done, moved) = match &mut self.machine {
                Machine::Sending(outgoing) => outgoing.fill(),
                Machine::Receiving(incoming) => (incoming.commit(), false),
            };
            let would_wait =
                matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            // Whoever says so twice, with nothing in between, does not wait (a pipe that was set so): it has nothing
            // to say any more.
            if !would_wait || (self.waits && !moved) {
                break done;
            }
            self.waits = true;
            // What is there leaves before anything is waited for.
            if !self.wants_storage() {
                return true;
            }
        };
        self.waits = false;
        match (done, &mut self.machine) {
            (Err(error), machine) => {
                if let Machine::Receiving(incoming) = machine {
                    incoming.give_up();
                }
                self.local(now, &error);
            }
            // The ACK still has to leave, and the session stays for a while.
            (Ok(()), Machine::Receiving(_)) => self.conclude(now, Outcome::Complete),
            (Ok(()), Machine::Sending(_)) => {}
        }
        true
    }

    fn plan(&mut self, now: Time) -> Step<Plan> {
        if std::mem::take(&mut self.farewell) {
            return Step::Transmit(Plan { what: What::Small, count: 1, again: 0 });
        }
        let step = match &mut self.machine {
            Machine::Sending(outgoing) => outgoing.plan(now),
            Machine::Receiving(incoming) => {
                incoming.receiver.poll(now).map(|ack| Plan::of_ack(ack, &mut self.small))
            }
        };
        if let Step::Done(end) = step {
            self.end(now, Outcome::of(end, Outcome::Silent));
        }
        step
    }

    fn burst(&self, plan: Plan) -> Burst<'_> {
        let bytes = match (plan.what, &self.machine) {
            (What::Blocks(first), Machine::Sending(Outgoing { window: Some(window), .. })) => {
                return Burst { bytes: window.run(first, plan.count).0, packet: window.stride() };
            }
            (What::Small, _) => &self.small,
            _ => &self.opening,
        };
        Burst { bytes, packet: bytes.len() }
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
