//! The payload on its way between a machine and what holds it: out of a source, or into a sink.

use super::early::Early;
use super::netascii;
use super::plan::Plan;
use super::window::Window;
use super::{Sink, Source};
use crate::proto::{Agreed, Arrival, BlockNumber, Receiver, Run, Sender, Step, Time};
use crate::wire::{Mode, WireBlock};
use std::io;

/// A file that is sent.
pub(super) struct Outgoing {
    pub(super) sender: Sender,
    source: Source,
    /// There once the terms are known.
    pub(super) window: Option<Window>,
    /// The part of a run that lies in another piece of the ring.
    queued: Option<Run>,
}

impl Outgoing {
    pub(super) fn new(mode: Mode, sender: Sender, source: Source) -> Self {
        let source: Source = match mode {
            Mode::Octet => source,
            Mode::Netascii => Box::new(netascii::Encoder::new(source)),
        };
        Self { sender, source, window: None, queued: None }
    }

    /// Lays out the ring: as wide as the window, or so many bytes if that is more.
    pub(super) fn lay_out(&mut self, agreed: &Agreed, read_ahead: usize) {
        let (size, rollover) = (agreed.block_size(), agreed.rollover().unwrap_or_default());
        self.window = Some(Window::new(size, slots(agreed, read_ahead), rollover));
    }

    /// The same anew, if nothing in it can be needed again.
    pub(super) fn read_ahead(&mut self, agreed: &Agreed, read_ahead: usize) {
        if let Some(window) = &mut self.window
            && window.is_empty_from(self.sender.base())
        {
            window.resize(slots(agreed, read_ahead));
        }
    }

    /// Whether nothing has been read yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.ready() == BlockNumber::FIRST)
    }

    /// Whether the window has run out of the ring, and can be filled at once or has nothing more to send. What stands
    /// for block 0 is answered first: a client that only asks for the size costs no read.
    pub(super) fn wants_storage(&self, agreed: &Agreed, waits: bool) -> bool {
        let base = self.sender.base();
        let end = base + u64::from(agreed.window().get());
        let short = |window: &Window| !window.is_ended() && window.ready() < end;
        base > BlockNumber::OPENING
            && self.window.as_ref().is_some_and(short)
            && !(waits && self.sender.may_send())
    }

    /// Reads what is to be sent next, and tells whether anything came. After an error it can be called again.
    pub(super) fn fill(&mut self) -> (io::Result<()>, bool) {
        let Some(window) = &mut self.window else { return (Ok(()), false) };
        let before = window.filled();
        let filled = window.fill(&mut self.source, self.sender.base());
        self.sender.supply(window.ready(), window.is_ended());
        (filled, window.filled() != before)
    }

    /// Payload bytes that arrived, as far as the terms are known.
    pub(super) fn acknowledged(&mut self, now: Time, block: WireBlock) -> u64 {
        self.sender.acknowledge(now, block);
        // What could not leave for an error may have been acknowledged since, and its place in the ring be another's.
        self.queued = self.queued.filter(|run| run.first >= self.sender.base());
        self.window.as_ref().map_or(0, |window| window.bytes_before(self.sender.base()))
    }

    pub(super) fn plan(&mut self, now: Time) -> Step<Plan> {
        let run = self.queued.take().map_or_else(|| self.sender.poll(now), Step::Transmit);
        run.map(|run| Plan::of_run(run, self.window.as_ref(), &mut self.queued))
    }

    /// The length of DATA 1, if that is what a server sends first and it was read.
    pub(super) fn first_block_len(&self) -> Option<usize> {
        let window = self.window.as_ref()?;
        let first = self.sender.base() == BlockNumber::FIRST && !self.is_untouched();
        first.then(|| window.run(BlockNumber::FIRST, 1).0.len())
    }
}

fn slots(agreed: &Agreed, read_ahead: usize) -> usize {
    (read_ahead / agreed.block_size().get()).max(usize::from(agreed.window().get()))
}

/// A file that is received.
pub(super) struct Incoming {
    pub(super) receiver: Receiver,
    stage: Stage,
    early: Early,
    written: u64,
    /// Whether a size that is told is that of the bytes that come: the size of a text is not that of its netascii.
    is_octet: bool,
}

/// How far a received file is.
enum Stage {
    /// It is being written.
    Taking(Box<dyn Sink>),
    /// All of it is there, and to be made last.
    Due(Box<dyn Sink>),
    /// It is safe. What only stays for a while needs no file.
    Safe,
    /// It will not be made last.
    Lost,
}

impl Incoming {
    pub(super) fn new(mode: Mode, receiver: Receiver, sink: Box<dyn Sink>) -> Self {
        let sink: Box<dyn Sink> = match mode {
            Mode::Octet => sink,
            Mode::Netascii => Box::new(netascii::Decoder::new(sink)),
        };
        Self {
            receiver,
            stage: Stage::Taking(sink),
            early: Early::default(),
            written: 0,
            is_octet: mode == Mode::Octet,
        }
    }

    /// Takes a block, and writes what is in order now. Gives the bytes that were written.
    pub(super) fn take(
        &mut self,
        now: Time,
        agreed: &Agreed,
        block: WireBlock,
        payload: &[u8],
    ) -> io::Result<u64> {
        let size = agreed.block_size().get();
        match self.receiver.arrive(now, block, payload.len() < size) {
            Arrival::Other => return Ok(0),
            Arrival::Early(number) => {
                let expected = self.receiver.expected();
                self.early.keep(agreed, expected, (number, block), payload);
                return Ok(0);
            }
            Arrival::Next => {}
        }
        let Stage::Taking(sink) = &mut self.stage else { return Ok(0) };
        let (mut payload, before) = (payload, self.written);
        loop {
            sink.write(payload)?;
            self.written += payload.len() as u64;
            // What was kept behind the gap comes now, as it were.
            let Some((block, kept)) = self.early.find(self.receiver.expected()) else { break };
            if self.receiver.arrive(now, block, kept.len() < size) != Arrival::Next {
                break;
            }
            payload = kept;
        }
        if self.receiver.has_last_block() && !self.is_short(agreed) {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Lost) {
                Stage::Taking(sink) => Stage::Due(sink),
                stage => stage,
            };
        }
        Ok(self.written - before)
    }

    /// Whether it ended before all came that the sender told of. More may come: a file can grow while it is read.
    pub(super) fn is_short(&self, agreed: &Agreed) -> bool {
        let told = agreed.transfer_size().filter(|_| self.is_octet);
        self.receiver.has_last_block() && told.is_some_and(|told| self.written < told)
    }

    /// Whether all of it is there, and not yet safe.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Due(_))
    }

    /// Whether it is safe, and the sender is still to be told.
    pub(super) fn is_untold(&self) -> bool {
        self.is_safe() && self.receiver.owes_ack()
    }

    /// Whether it is safe.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.stage, Stage::Safe)
    }

    /// Makes it last. After an error it can be called again, until it is [given up](Self::give_up).
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if let Stage::Due(sink) = &mut self.stage {
            sink.commit()?;
            (self.stage, self.early) = (Stage::Safe, Early::default());
        }
        Ok(())
    }

    /// It will not be made last.
    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Lost;
    }
}
