//! One side of a dialogue, and what it must keep whoever its peer is.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard};
use tftpkit::limits;
use tftpkit::proto::Time;
use tftpkit::transfer::{Action, MayWait, Memory, Outcome, Sink, Source, Summary, Transfer};
use tftpkit::wire::{BlockSize, ErrorCode, Mode, Packet, WireBlock};

/// Byte `at` of the file: no two blocks are alike, and many line ends are among them.
pub(super) fn pattern(at: usize) -> u8 {
    let byte = ((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    match byte % 16 {
        0 => b'\r',
        1 => b'\n',
        2 => 0,
        _ => byte,
    }
}

/// What netascii makes of it.
fn netascii(text: &[u8]) -> Vec<u8> {
    let pairs = text.iter().flat_map(|byte| match byte {
        b'\n' => vec![b'\r', b'\n'],
        b'\r' => vec![b'\r', 0],
        other => vec![*other],
    });
    pairs.collect()
}

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Every other read is interrupted, which is no failure.
    Interrupted,
    /// It cannot be read after so many bytes.
    Unreadable(usize),
    /// It is full after so many bytes.
    Full(usize),
    /// The file does not appear in the end.
    NoCommit,
}

impl Fault {
    /// The upper half of the byte says what, the lower half when.
    pub(super) const fn of(byte: u8) -> Self {
        let after = (byte % 16) as usize * 128;
        match byte / 16 {
            1 => Self::Interrupted,
            2 => Self::Unreadable(after),
            3 => Self::Full(after),
            4 => Self::NoCommit,
            _ => Self::None,
        }
    }

    pub(super) const fn is_failure(self) -> bool {
        !matches!(self, Self::None | Self::Interrupted)
    }
}

/// A disk that has the file, or will have it.
pub(super) struct Kept {
    file: Vec<u8>,
    fault: Fault,
    /// Bytes that one read gives at most.
    piece: usize,
    reads: usize,
    given: usize,
    stored: Vec<u8>,
    /// How often something was stored.
    blocks: usize,
    commits: u32,
}

#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<Kept>>);

impl Disk {
    pub(super) fn new(file: &[u8], fault: Fault, piece: usize) -> Self {
        let (file, stored) = (file.to_vec(), Vec::new());
        let kept = Kept { file, fault, piece, reads: 0, given: 0, stored, blocks: 0, commits: 0 };
        Self(Arc::new(Mutex::new(kept)))
    }

    fn get(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("one thread")
    }

    pub(super) fn source(&self) -> Box<dyn Source> {
        Box::new(self.clone())
    }

    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }
}

impl Source for Disk {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut kept = self.get();
        kept.reads += 1;
        match kept.fault {
            Fault::Interrupted if kept.reads % 2 == 1 => return Err(ErrorKind::Interrupted.into()),
            Fault::Unreadable(after) if kept.given >= after => return Err(ErrorKind::Other.into()),
            _ => {}
        }
        let rest = &kept.file[kept.given..];
        let read = Memory::new(&rest[..rest.len().min(kept.piece)]).read(bufs)?;
        kept.given += read;
        Ok(read)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.read(bufs).map(Some)
    }
}

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut kept = self.get();
        assert_eq!(kept.commits, 0, "nothing is written to a file that is whole");
        if matches!(kept.fault, Fault::Full(most) if kept.stored.len() + bytes.len() > most) {
            return Err(ErrorKind::StorageFull.into());
        }
        kept.stored.extend_from_slice(bytes);
        kept.blocks += 1;
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        let mut kept = self.get();
        if kept.fault == Fault::NoCommit {
            return Err(ErrorKind::AlreadyExists.into());
        }
        kept.commits += 1;
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}

pub(super) struct Side {
    pub(super) transfer: Transfer,
    pub(super) sends: bool,
    /// What it sends for block 0.
    pub(super) opening: Vec<u8>,
    disk: Disk,
    mode: Mode,
    /// The file as it travels.
    wire: Vec<u8>,
    packets: u64,
    bytes: usize,
    /// How often its request was repeated.
    repeats: u64,
    /// The highest block that it sent, and the highest of them that it heard acknowledged.
    sent: u64,
    acknowledged: u64,
    /// How it ended.
    end: Option<Summary>,
}

impl Side {
    pub(super) fn new(
        transfer: Transfer,
        disk: Disk,
        mode: Mode,
        sends: bool,
        opening: Vec<u8>,
    ) -> Self {
        let file = disk.get().file.clone();
        let wire = if mode == Mode::Netascii { netascii(&file) } else { file };
        Self {
            transfer,
            sends,
            opening,
            disk,
            mode,
            wire,
            packets: 0,
            bytes: 0,
            repeats: 0,
            sent: 0,
            acknowledged: 0,
            end: None,
        }
    }

    pub(super) const fn outcome(&self) -> Option<&Outcome> {
        self.transfer.summary().outcome.as_ref()
    }

    pub(super) fn window(&self) -> u64 {
        self.transfer.summary().agreed.window().get().into()
    }

    /// Whether the file has been made visible here.
    pub(super) fn is_stored(&self) -> bool {
        self.disk.get().commits > 0
    }

    /// A datagram came. Of a longer one a socket gives as much as shows that it is too long.
    pub(super) fn hear(&mut self, now: Time, datagram: &[u8]) {
        let datagram = &datagram[..datagram.len().min(self.transfer.longest_datagram() + 1)];
        if let Ok(Packet::Ack { block }) = Packet::parse(datagram)
            && u64::from(block.0) <= self.sent
        {
            self.acknowledged = self.acknowledged.max(block.0.into());
        }
        self.transfer.handle(now, datagram);
    }

    /// The client repeats its request.
    pub(super) fn repeat(&mut self) {
        self.repeats += 1;
        self.transfer.repeat();
    }

    /// A block as this side has it, or would have it.
    pub(super) fn block(&self, number: u16, len: usize) -> Vec<u8> {
        let size = self.transfer.summary().agreed.block_size().get();
        let start = usize::from(number).saturating_sub(1) * size;
        let beyond = std::iter::repeat(&b'?');
        let payload: Vec<u8> =
            self.wire.iter().chain(beyond).skip(start).take(len).copied().collect();
        Packet::Data { block: WireBlock(number), payload: &payload }.to_vec()
    }

    /// Asks until there is nothing to do: what leaves, and how long it waits then, unless it is over.
    pub(super) fn run(&mut self, now: Time) -> (Vec<Vec<u8>>, Option<Time>) {
        let mut all = Vec::new();
        loop {
            let until = match self.transfer.poll(now) {
                Action::Send(burst) => {
                    let sent: Vec<_> = burst.datagrams().map(<[u8]>::to_vec).collect();
                    sent.iter().for_each(|datagram| self.leaves(datagram));
                    all.extend(sent);
                    assert!(all.len() as u64 <= self.window() + 2, "too much at once: {self:?}");
                    continue;
                }
                Action::Storage => {
                    assert!(self.transfer.try_storage(now), "memory never waits");
                    continue;
                }
                Action::Wait(until) => Some(until),
                Action::Done => None,
            };
            let summary = self.transfer.summary();
            assert_eq!(summary.packets, self.packets);
            assert!(summary.retransmitted < summary.packets.max(1));
            assert_eq!(until.is_none(), self.transfer.is_over());
            // Whoever has it all, and dallies, cannot lose it any more.
            assert!(until.is_some() || summary.outcome.is_some());
            let open = matches!(summary.outcome, None | Some(Outcome::Complete));
            assert!(until.is_none() || open, "it waits in vain: {self:?}");
            if until.is_none() {
                let end = self.end.get_or_insert_with(|| summary.clone());
                assert_eq!(end, summary, "nothing changes after the end");
            }
            return (all, until);
        }
    }

    fn leaves(&mut self, datagram: &[u8]) {
        assert!(self.end.is_none(), "nothing leaves after the end");
        self.packets += 1;
        self.bytes += datagram.len();
        if !self.transfer.is_proven() {
            // Each repeat of the request has an answer of its own.
            let (packets, bytes) = (u64::from(limits::UNPROVEN_PACKETS), limits::UNPROVEN_BYTES);
            let each = BlockSize::DEFAULT.get() + 4;
            assert!(self.packets <= packets + self.repeats, "{} packets", self.packets);
            assert!(self.bytes <= bytes + self.repeats as usize * each, "{} bytes", self.bytes);
        }
        match Packet::parse(datagram).expect("what leaves is a packet") {
            Packet::Request(_) | Packet::Oack(_) => assert_eq!(datagram, self.opening),
            Packet::Data { block, payload } => self.block_leaves(block.0.into(), payload),
            Packet::Ack { block } => {
                assert!(!self.sends);
                let (kept, acked) = (self.disk.get(), usize::from(block.0));
                let rest = self.mode == Mode::Netascii && kept.commits > 0;
                // The end of a text may have been stored on its own.
                let stored = kept.blocks == acked || rest && kept.blocks == acked + 1;
                assert!(stored, "what is acknowledged is stored: {acked} and {}", kept.blocks);
            }
            Packet::Error { code, message } => {
                assert!(message.len() <= limits::ERROR_TEXT_BYTES);
                assert!(!matches!(code, ErrorCode::Other(_)));
                assert!(self.transfer.is_over(), "an ERROR is the last word");
            }
        }
    }

    /// It is the file's block, and the window has room for it.
    fn block_leaves(&mut self, block: u64, payload: &[u8]) {
        assert!(self.sends && block > 0);
        let size = self.transfer.summary().agreed.block_size().get();
        let start = (block as usize - 1) * size;
        let end = self.wire.len().min(start + size);
        assert_eq!(Some(payload), self.wire.get(start..end), "block {block} is the file's");
        self.sent = self.sent.max(block);
        assert!(block <= self.acknowledged + self.window(), "block {block} is ahead: {self:?}");
    }

    /// What was received. `honest`: from the one who has the file, and nobody else.
    pub(super) fn hold_what_is_stored(&self, honest: bool) {
        let kept = self.disk.get();
        let summary = self.transfer.summary();
        let complete = summary.outcome == Some(Outcome::Complete);
        assert!(kept.commits <= 1);
        assert!(!complete || kept.commits == 1, "it is not visible: {self:?}");
        assert!(
            self.end.is_none() || complete == (kept.commits == 1),
            "what is visible is complete"
        );
        if self.mode == Mode::Octet && !matches!(summary.outcome, Some(Outcome::Local(..))) {
            assert_eq!(summary.bytes, kept.stored.len() as u64);
        }
        if honest {
            assert!(kept.file.starts_with(&kept.stored), "it is the front of the file");
            assert!(kept.commits == 0 || kept.stored == kept.file, "it is whole");
        }
    }

    /// What was sent.
    pub(super) fn hold_what_is_sent(&self) {
        let (summary, all) = (self.transfer.summary(), self.wire.len() as u64);
        assert!(summary.bytes <= all);
        assert!(summary.outcome != Some(Outcome::Complete) || summary.bytes == all);
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transfer.fmt(f)
    }
}
