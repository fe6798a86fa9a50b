//! One transfer: a machine of [`proto`](crate::proto), its opening packet, and the payload.
//!
//! Datagrams and the time go in ([`handle`](Transfer::handle)); datagrams to send and a time to wait for come out
//! ([`poll`](Transfer::poll)). This module knows packets and payloads. It must not know sockets, clocks, names or
//! folders: it reads from a [`Source`] and writes to a [`Sink`] that others opened.

mod early;
mod netascii;
mod plan;
mod proof;
mod summary;
#[cfg(test)]
mod tests;
mod window;

pub use summary::{Outcome, Summary};

use crate::limits;
use crate::proto::{
    Agreed, Arrival, BlockNumber, Disagreement, End, Receiver, Run, Sender, Step, Time, Timing,
    accept,
};
use crate::wire::{BlockSize, DATA_HEADER, ErrorCode, Mode, Options, Packet, Request, WireBlock};
use early::Early;
use plan::{Plan, What};
use proof::Proof;
use std::io::{self, Read};
use window::Window;

/// What is sent. It ends where `read` gives 0; a file that lost bytes since it was opened must give an error
/// instead, or it would look complete.
pub type Source = Box<dyn Read + Send>;

/// Where received bytes go. They count for nothing until [`commit`](Sink::commit): dropped before that, they must
/// leave no trace.
pub trait Sink: Send {
    /// Takes the next bytes of the file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file is whole: make it last, and make it visible.
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
    /// How many bytes of a lock-step file to read ahead.
    pub read_ahead: usize,
}

enum Machine {
    Sending { sender: Sender, source: Source, window: Option<Window>, queued: Option<Run> },
    Receiving { receiver: Receiver, sink: Box<dyn Sink>, early: Early },
}

enum Role {
    /// Whether the client has proven its address.
    Server(Proof),
    /// What was asked, and whether the first answer has come.
    Client { offer: Options, settled: bool },
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
    read_ahead: usize,
    started: Time,
    summary: Summary,
}

impl Transfer {
    /// A server's answer to an RRQ or a LIST.
    pub fn serve_read(now: Time, terms: &Terms, source: Source) -> Self {
        let opening = !terms.answer.is_empty();
        let sender = Sender::new(now, terms.timing, &terms.agreed, opening);
        Self::serve(now, terms, Self::sending(terms.mode, sender, source))
    }

    /// A server's answer to a WRQ.
    pub fn serve_write(now: Time, terms: &Terms, sink: Box<dyn Sink>) -> Self {
        let dally = limits::DALLY_INTERVALS;
        let receiver = Receiver::new(now, terms.timing, &terms.agreed, dally);
        Self::serve(now, terms, Self::receiving(terms.mode, receiver, sink))
    }

    fn serve(now: Time, terms: &Terms, machine: Machine) -> Self {
        let opening = if terms.answer.is_empty() {
            Packet::Ack { block: WireBlock(0) }.to_vec()
        } else {
            Packet::Oack(terms.answer).to_vec()
        };
        let role = Role::Server(Proof::new(now, terms.timing.first));
        let mut transfer = Self::new(now, role, machine, opening);
        transfer.read_ahead = terms.read_ahead;
        transfer.settle(terms.agreed);
        transfer.read_ahead(now);
        transfer
    }

    /// A client's read or listing.
    pub fn get(now: Time, timing: Timing, request: &Request<'_>, sink: Box<dyn Sink>) -> Self {
        let receiver = Receiver::new(now, timing, &Agreed::default(), 0);
        Self::ask(now, request, Self::receiving(request.mode, receiver, sink))
    }

    /// A client's write.
    pub fn put(now: Time, timing: Timing, request: &Request<'_>, source: Source) -> Self {
        let sender = Sender::new(now, timing, &Agreed::default(), true);
        Self::ask(now, request, Self::sending(request.mode, sender, source))
    }

    fn ask(now: Time, request: &Request<'_>, machine: Machine) -> Self {
        let role = Role::Client { offer: request.options, settled: false };
        Self::new(now, role, machine, Packet::Request(*request).to_vec())
    }

    fn new(now: Time, role: Role, machine: Machine, opening: Vec<u8>) -> Self {
        Self {
            role,
            machine,
            opening,
            small: Vec::new(),
            farewell: false,
            read_ahead: limits::READ_AHEAD_BYTES,
            started: now,
            summary: Summary::default(),
        }
    }

    fn sending(mode: Mode, sender: Sender, source: Source) -> Machine {
        let source: Source = match mode {
            Mode::Octet => source,
            Mode::Netascii => Box::new(netascii::Encoder::new(source)),
        };
        Machine::Sending { sender, source, window: None, queued: None }
    }

    fn receiving(mode: Mode, receiver: Receiver, sink: Box<dyn Sink>) -> Machine {
        let sink: Box<dyn Sink> = match mode {
            Mode::Octet => sink,
            Mode::Netascii => Box::new(netascii::Decoder::new(sink)),
        };
        Machine::Receiving { receiver, sink, early: Early::default() }
    }

    /// The terms are known: the ring can be laid out.
    fn settle(&mut self, agreed: Agreed) {
        self.summary.agreed = agreed;
        let size = agreed.block_size();
        if let Machine::Sending { window, .. } = &mut self.machine {
            let ahead = self.read_ahead / size.get();
            let slots = ahead.max(usize::from(agreed.window().get()));
            *window = Some(Window::new(size, slots, agreed.rollover().unwrap_or_default()));
        }
    }

    /// A datagram came from the peer.
    pub fn handle(&mut self, now: Time, datagram: &[u8]) {
        if self.is_over() {
            return;
        }
        let packet = Packet::parse(datagram);
        if let Role::Server(proof) = &mut self.role
            && matches!(
                (&self.machine, &packet),
                (Machine::Sending { .. }, Ok(Packet::Ack { .. }))
                    | (Machine::Receiving { .. }, Ok(Packet::Data { .. }))
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
        let sending = matches!(self.machine, Machine::Sending { .. });
        if sending || (self.is_asking() && block != WireBlock(1)) {
            return;
        }
        self.settle_plain();
        let size = self.summary.agreed.block_size().get();
        let Machine::Receiving { receiver, sink, early } = &mut self.machine else { return };
        if payload.len() > size && !receiver.is_complete() {
            return self.fail(
                now,
                ErrorCode::IllegalOperation,
                "block too large",
                Outcome::Oversized,
            );
        }
        match receiver.arrive(now, block, payload.len() < size) {
            Arrival::Other => return,
            Arrival::Early(number) => {
                let agreed = &self.summary.agreed;
                return early.keep(agreed, receiver.expected(), (number, block), payload);
            }
            Arrival::Next => {}
        }
        let mut payload = payload;
        loop {
            let mut stored = sink.write(payload);
            if stored.is_ok() && receiver.is_complete() {
                stored = sink.commit();
            }
            if let Err(error) = stored {
                return self.local(now, &error);
            }
            self.summary.bytes += payload.len() as u64;
            // What was kept behind the gap comes now, as it were.
            let Some((block, kept)) = early.find(receiver.expected()) else { break };
            if receiver.arrive(now, block, kept.len() < size) != Arrival::Next {
                break;
            }
            payload = kept;
        }
        if receiver.is_complete() {
            // The ACK still has to leave, and the session stays for a while; the file is safe by now.
            self.summary.elapsed = now - self.started;
        }
    }

    fn ack(&mut self, now: Time, block: WireBlock) {
        // The same for a WRQ and ACK 0.
        let answers = matches!(self.machine, Machine::Sending { .. });
        if !answers || (self.is_asking() && block != WireBlock(0)) {
            return;
        }
        self.settle_plain();
        self.acknowledged(now, block);
    }

    fn acknowledged(&mut self, now: Time, block: WireBlock) {
        let Machine::Sending { sender, window, .. } = &mut self.machine else { return };
        sender.acknowledge(now, block);
        if let Some(window) = window {
            self.summary.bytes = window.bytes_before(sender.base());
        }
        self.read_ahead(now);
    }

    /// Fills the ring where the window has run out of it. What stands for block 0 is answered first: a client that
    /// only asks for the size costs no read.
    ///
    /// A disk may be slow. What is read leaves by the time of the next [`poll`](Self::poll), or its interval would
    /// have passed before it left.
    fn read_ahead(&mut self, now: Time) {
        let window_size = u64::from(self.summary.agreed.window().get());
        let Machine::Sending { sender, source, window: Some(window), .. } = &mut self.machine
        else {
            return;
        };
        let base = sender.base();
        let enough = window.is_ended() || window.ready() >= base + window_size;
        if base == BlockNumber::OPENING || enough {
            return;
        }
        match window.fill(source, base) {
            Ok(()) => sender.supply(window.ready(), window.is_ended()),
            Err(error) => self.local(now, &error),
        }
    }

    fn oack(&mut self, now: Time, answer: &Options) {
        let Role::Client { offer, settled } = &mut self.role else { return };
        if *settled {
            // It came again: our answer to it was lost. A sender's answer is DATA 1, which has its own timer.
            if let Machine::Receiving { receiver, .. } = &mut self.machine {
                receiver.opening_repeated(now);
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
            Machine::Sending { sender, .. } => {
                sender.agree(&agreed);
                self.acknowledged(now, WireBlock(0));
            }
            Machine::Receiving { receiver, .. } => {
                receiver.agree(&agreed);
                receiver.opened(now);
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
            Machine::Sending { sender, .. } if room => sender.repeat(),
            Machine::Receiving { receiver, .. } if room && !receiver.is_answered() => {
                receiver.repeat();
            }
            _ => {}
        }
    }

    /// The length of what a server's first packet holds: an OACK, ACK 0, or DATA 1.
    fn answer_len(&self) -> usize {
        match &self.machine {
            Machine::Sending { sender, window: Some(window), .. }
                if sender.base() == BlockNumber::FIRST && window.ready() > BlockNumber::FIRST =>
            {
                window.run(BlockNumber::FIRST, 1).0.len()
            }
            _ => self.opening.len(),
        }
    }

    /// The peer's port is closed, the network says: nothing sent will arrive.
    pub fn unreachable(&mut self, now: Time) {
        self.end(now, Outcome::of(self.lost(), Outcome::Unreachable));
    }

    /// What it would be if the peer said no more.
    fn lost(&self) -> End {
        match &self.machine {
            Machine::Sending { sender, .. } => sender.lost(),
            Machine::Receiving { receiver, .. } => receiver.lost(),
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
        self.end(now, if self.is_complete() { Outcome::Complete } else { Outcome::Stopped });
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
        if !self.is_over() {
            self.small.clear();
            Packet::Error { code, message: text.as_bytes() }.write(&mut self.small);
            self.farewell = true;
            self.end(now, outcome);
        }
    }

    fn end(&mut self, now: Time, outcome: Outcome) {
        if !self.is_over() {
            // A receiver that has it all may have stayed on for a while.
            if self.summary.elapsed.is_zero() {
                self.summary.elapsed = now - self.started;
            }
            self.summary.outcome = Some(outcome);
        }
    }

    /// Whether the payload is whole on this side: a receiver's last ACK and dallying may still follow.
    pub fn is_complete(&self) -> bool {
        match &self.machine {
            Machine::Sending { sender, .. } => sender.is_complete(),
            Machine::Receiving { receiver, .. } => receiver.is_complete(),
        }
    }

    /// Whether an outcome is known.
    pub const fn is_over(&self) -> bool {
        self.summary.outcome.is_some()
    }

    /// Whether the peer has answered from its own address.
    pub const fn is_proven(&self) -> bool {
        match &self.role {
            Role::Server(proof) => proof.is_proven(),
            Role::Client { .. } => true,
        }
    }

    /// The longest datagram that can mean something to it now, in bytes.
    pub fn longest_datagram(&self) -> usize {
        match &self.machine {
            Machine::Receiving { .. } if !self.is_asking() => {
                DATA_HEADER + self.summary.agreed.block_size().get()
            }
            // ACKs, ERRORs, a first answer: OACK or DATA of RFC 1350's size.
            _ => DATA_HEADER + BlockSize::DEFAULT.get(),
        }
    }

    /// The figures so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What to do now.
    pub fn poll(&mut self, now: Time) -> Action<'_> {
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

    fn plan(&mut self, now: Time) -> Step<Plan> {
        if std::mem::take(&mut self.farewell) {
            return Step::Transmit(Plan { what: What::Small, count: 1, again: 0 });
        }
        let step = match &mut self.machine {
            Machine::Sending { sender, window, queued, .. } => {
                let run = queued.take().map_or_else(|| sender.poll(now), Step::Transmit);
                run.map(|run| Plan::of_run(run, window.as_ref(), queued))
            }
            Machine::Receiving { receiver, .. } => {
                receiver.poll(now).map(|ack| Plan::of_ack(ack, &mut self.small))
            }
        };
        if let Step::Done(end) = step {
            self.end(now, Outcome::of(end, Outcome::Silent));
        }
        step
    }

    fn burst(&self, plan: Plan) -> Burst<'_> {
        let bytes = match (plan.what, &self.machine) {
            (What::Blocks(first), Machine::Sending { window: Some(window), .. }) => {
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
            Machine::Sending { sender, .. } => out.field("sender", sender),
            Machine::Receiving { receiver, .. } => out.field("receiver", receiver),
        };
        out.field("summary", &self.summary).finish_non_exhaustive()
    }
}
