//! A file that is received: from a receiver that puts its blocks in order into a sink.

use super::reorder::ReorderBuffer;
use super::torn::Torn;
use super::{Burst, MayWait, Sink, netascii};
use crate::limits;
use crate::proto::{Agreed, Arrival, BlockNumber, Receiver, Step, Time};
use crate::wire::{Mode, Packet, WindowSize, WireBlock};
use std::io;

pub(super) struct Incoming {
    pub(super) receiver: Receiver,
    stage: Stage,
    reorder: ReorderBuffer,
    /// How its windows come.
    torn: Torn,
    /// What of the sink may wait, as it said at the start.
    may_wait: MayWait,
    /// Payload in order that is to be written, where that may wait: what told of it is acknowledged before.
    unwritten: Vec<u8>,
    /// Bytes that a sink whose writes seldom wait is given at once, where so many come.
    piece: usize,
    /// Whether who drives it writes itself: no piece is handed over.
    writes_itself: bool,
    /// Bytes of the file that came in order.
    bytes: u64,
    /// How often the request went out again. Each copy may have an answer of its own.
    copies: u32,
    /// Since when as many as were told are there, and no end.
    has_all_since: Option<Time>,
    /// Whether a size that is told is that of the bytes that come: the size of a text is not that of its netascii.
    is_octet: bool,
}

/// How far a received file is.
enum Stage {
    /// Its blocks come.
    Writing(Box<dyn Sink>),
    /// The last block has come, and the file is to be committed.
    Whole(Box<dyn Sink>),
    /// It is committed.
    Safe,
    /// It will not be committed.
    Lost,
}

impl Incoming {
    pub(super) fn new(mode: Mode, receiver: Receiver, sink: Box<dyn Sink>) -> Self {
        let sink: Box<dyn Sink> = match mode {
            Mode::Octet => sink,
            Mode::Netascii => Box::new(netascii::Decoder::new(sink)),
        };
        let may_wait = sink.may_wait();
        Self {
            receiver,
            stage: Stage::Writing(sink),
            reorder: ReorderBuffer::default(),
            torn: Torn::default(),
            may_wait,
            unwritten: Vec::new(),
            piece: 0,
            writes_itself: false,
            bytes: 0,
            copies: 0,
            has_all_since: None,
            is_octet: mode == Mode::Octet,
        }
    }

    /// Lets so many bytes come together before they are written.
    pub(super) const fn set_piece(&mut self, bytes: usize) {
        self.piece = bytes;
    }

    /// Says that no piece is handed over to be written.
    pub(super) const fn write_itself(&mut self) {
        self.writes_itself = true;
    }

    /// A block came. What is in order by that is written, at once or, where that may wait, by
    /// [`storage`](Self::storage). Gives the number of bytes.
    pub(super) fn handle_data(
        &mut self,
        now: Time,
        agreed: &Agreed,
        block: WireBlock,
        payload: &[u8],
    ) -> io::Result<u64> {
        let size = agreed.block_size().get();
        match self.receiver.arrive(now, block, payload.len() < size) {
            Arrival::Other => {
                self.torn.came_again();
                return Ok(0);
            }
            Arrival::Early(number) => {
                let expected = self.receiver.expected();
                if self.reorder.find(number).is_some() {
                    self.torn.came_again();
                }
                self.torn.came(now, number);
                self.reorder.keep(agreed, expected, (number, block), payload);
                return Ok(0);
            }
            Arrival::Next => self.torn.came(now, BlockNumber(self.receiver.expected().0 - 1)),
        }
        let Stage::Writing(sink) = &mut self.stage else { return Ok(0) };
        let (mut payload, before) = (payload, self.bytes);
        loop {
            match self.may_wait {
                MayWait::Never => sink.write(payload)?,
                MayWait::OnCommit | MayWait::OnCommitForLong | MayWait::Always => {
                    self.unwritten.extend_from_slice(payload);
                }
            }
            self.bytes += payload.len() as u64;
            // What was kept behind the gap is in order now.
            let Some((block, kept)) = self.reorder.find(self.receiver.expected()) else { break };
            if self.receiver.arrive(now, block, kept.len() < size) != Arrival::Next {
                break;
            }
            payload = kept;
        }
        if self.receiver.has_last_block() && !self.is_short(agreed) {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Lost) {
                Stage::Writing(sink) => Stage::Whole(sink),
                stage => stage,
            };
        }
        let told = agreed.transfer_size().filter(|_| self.is_octet && self.bytes > 0);
        let has_all = told == Some(self.bytes) && !self.receiver.has_last_block();
        self.has_all_since = has_all.then_some(now);
        Ok(self.bytes - before)
    }

    /// The window that the path seems to have room for, where that is less than was agreed.
    pub(super) fn window_that_fits(&self, now: Time) -> Option<WindowSize> {
        self.torn.fits(now)
    }

    /// Since when it is whole by its size, where the empty block that ends it is missing.
    pub(super) const fn has_all_since(&self) -> Option<Time> {
        self.has_all_since
    }

    /// Whether it ended before all came that the sender told of. More may come: a file can grow while it is read.
    pub(super) fn is_short(&self, agreed: &Agreed) -> bool {
        let told = agreed.transfer_size().filter(|_| self.is_octet);
        self.receiver.has_last_block() && told.is_some_and(|told| self.bytes < told)
    }

    /// Whether something is to be written or committed by [`storage`](Self::storage).
    pub(super) fn wants_storage(&self, agreed: &Agreed) -> bool {
        let gathers = matches!(self.may_wait, MayWait::OnCommit | MayWait::OnCommitForLong);
        // In lock-step the peer has the next block to send meanwhile, and no more: of a larger piece it waits for the rest.
        let at_once = self.writes_itself && agreed.window() == WindowSize::LOCKSTEP;
        let most = if at_once { limits::WRITE_AT_ONCE_BYTES } else { usize::MAX };
        let piece = if gathers { self.piece.clamp(1, most) } else { 1 };
        self.is_whole() || self.unwritten.len() >= piece
    }

    /// Whether [`storage`](Self::storage) is to ask somebody else, which may take longer than a disk does.
    pub(super) fn asks(&self) -> bool {
        self.is_whole() && self.may_wait == MayWait::OnCommitForLong
    }

    /// Whether there is something to be taken back that may wait, should it end now.
    pub(super) fn drop_may_wait(&self) -> bool {
        self.may_wait > MayWait::Never && matches!(self.stage, Stage::Writing(_) | Stage::Whole(_))
    }

    /// Whether the last block has come, and the file is not yet committed.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Whole(_))
    }

    /// Whether it is committed.
    pub(super) const fn is_safe(&self) -> bool {
        matches!(self.stage, Stage::Safe)
    }

    /// Whether it is committed, and the sender is still to be told.
    pub(super) const fn owes_last_ack(&self) -> bool {
        self.is_safe() && self.receiver.owes_ack()
    }

    /// Writes what is to be written and commits a file that is whole. Tells whether that was done: not where it might
    /// wait and may not.
    pub(super) fn storage(&mut self, may_wait: bool) -> io::Result<bool> {
        let is_whole = self.is_whole();
        let (Stage::Writing(sink) | Stage::Whole(sink)) = &mut self.stage else { return Ok(true) };
        if !may_wait && self.may_wait > MayWait::Never {
            return Ok(false);
        }
        let written = match &*self.unwritten {
            [] => Ok(()),
            bytes => sink.write(bytes),
        };
        self.unwritten.clear();
        let done = if is_whole { written.and_then(|()| sink.commit()) } else { written };
        if done.is_err() {
            self.stage = Stage::Lost;
        } else if is_whole {
            // A session that dallies keeps no memory.
            (self.stage, self.reorder) = (Stage::Safe, ReorderBuffer::default());
            self.unwritten = Vec::new();
        }
        done.map(|()| true)
    }

    /// An OACK came again. Unless a copy of the request brought it, ACK 0 was lost.
    pub(super) fn opening_repeated(&mut self, now: Time) {
        match self.copies.checked_sub(1) {
            Some(copies) => self.copies = copies,
            None => self.receiver.opening_repeated(now),
        }
    }

    pub(super) fn poll<'a>(
        &mut self,
        now: Time,
        agreed: &Agreed,
        opening: &'a [u8],
        small: &'a mut Vec<u8>,
    ) -> Step<Burst<'a>> {
        self.receiver.poll(now).map(|ack| {
            if !ack.again && ack.block > BlockNumber::OPENING {
                self.torn.acknowledged(ack.block, agreed.window());
            }
            if ack.block == BlockNumber::OPENING {
                self.copies += u32::from(ack.again && !self.receiver.is_answered());
                return Burst::single(opening, ack.again);
            }
            small.clear();
            Packet::Ack { block: ack.block.narrow(ack.rollover) }.write(small);
            Burst::single(small, ack.again)
        })
    }
}
