//! The send ring: the blocks that may have to be sent again.
//!
//! It holds ready-made DATA packets at a fixed stride: the payload is read from the file straight into its slot,
//! behind a header that is written once, and a run of blocks leaves as one slice, the first time and every other.

use crate::proto::BlockNumber;
use crate::wire::{BlockSize, DATA_HEADER, Rollover, data_header};
use std::io::{self, IoSliceMut};

/// Slots filled by one read.
const SLOTS_PER_READ: usize = 64;

/// Ready-made DATA packets, from the first that is not acknowledged on.
#[derive(Debug)]
pub(super) struct SendRing {
    buffer: Vec<u8>,
    stride: usize,
    slots: usize,
    /// A block that has the first slot.
    origin: BlockNumber,
    rollover: Rollover,
    /// One past the last block that is ready.
    ready: BlockNumber,
    /// Payload bytes that block `ready` has so far.
    partial: usize,
    /// The payload of the file's last block, once the end was read.
    last_len: Option<usize>,
}

impl SendRing {
    pub(super) fn new(block_size: BlockSize, slots: usize, rollover: Rollover) -> Self {
        let stride = block_size.packet_bytes();
        Self {
            // A request that nobody answers costs no ring.
            buffer: Vec::new(),
            stride,
            slots,
            origin: BlockNumber::FIRST,
            rollover,
            ready: BlockNumber::FIRST,
            partial: 0,
            last_len: None,
        }
    }

    /// Whether it holds nothing of the block `base` or of those behind it.
    pub(super) fn is_empty_from(&self, base: BlockNumber) -> bool {
        self.ready <= base.max(BlockNumber::FIRST) && self.partial == 0
    }

    /// Gives it so many slots. It must be empty.
    pub(super) fn resize(&mut self, slots: usize) {
        (self.buffer, self.slots, self.origin) = (Vec::new(), slots, self.ready);
    }

    /// One past the last block that is ready to be sent.
    pub(super) const fn ready(&self) -> BlockNumber {
        self.ready
    }

    /// Whether the file's last block is among those that are ready.
    pub(super) const fn is_ended(&self) -> bool {
        self.last_len.is_some()
    }

    fn slot(&self, block: BlockNumber) -> usize {
        ((block - self.origin) % self.slots as u64) as usize
    }

    /// Reads by `read` until all slots hold blocks from `base` on, the file ends, or `read` would have to wait. Tells
    /// whether it would. After an error it can be called again.
    pub(super) fn fill(
        &mut self,
        base: BlockNumber,
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<bool> {
        self.buffer.resize(self.slots * self.stride, 0);
        let end = base.max(BlockNumber::FIRST) + self.slots as u64;
        while self.ready < end && !self.is_ended() {
            let first = self.slot(self.ready);
            let free = (end - self.ready) as usize;
            let count = free.min(self.slots - first).min(SLOTS_PER_READ);
            match self.read(first, count, &mut read) {
                Ok(Some(0)) => self.finish_block(true),
                Ok(Some(bytes)) => self.advance(bytes),
                Ok(None) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// One read into the payloads of `count` slots, behind what the first one has already.
    fn read(
        &mut self,
        first: usize,
        count: usize,
        read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let slots = &mut self.buffer[first * self.stride..(first + count) * self.stride];
        let mut skip = self.partial;
        let mut payloads = slots.chunks_exact_mut(self.stride).map(|slot| {
            let (_, payload) = slot.split_at_mut(DATA_HEADER + std::mem::take(&mut skip));
            payload
        });
        if count == 1 {
            return read(&mut [IoSliceMut::new(payloads.next().unwrap_or_default())]);
        }
        let mut list: [IoSliceMut<'_>; SLOTS_PER_READ] =
            std::array::from_fn(|_| IoSliceMut::new(payloads.next().unwrap_or_default()));
        read(&mut list[..count])
    }

    /// `bytes` came, spread over the payloads in order.
    fn advance(&mut self, mut bytes: usize) {
        let size = self.stride - DATA_HEADER;
        while bytes > 0 {
            let taken = bytes.min(size - self.partial);
            self.partial += taken;
            bytes -= taken;
            if self.partial == size {
                self.finish_block(false);
            }
        }
    }

    fn finish_block(&mut self, last: bool) {
        let at = self.slot(self.ready) * self.stride;
        let header = data_header(self.ready.narrow(self.rollover));
        self.buffer[at..at + DATA_HEADER].copy_from_slice(&header);
        if last {
            self.last_len = Some(self.partial);
        }
        self.partial = 0;
        self.ready = self.ready + 1;
    }

    /// Bytes of one whole packet: every packet of a run but the file's last has this length.
    pub(super) const fn stride(&self) -> usize {
        self.stride
    }

    /// The packets of up to `count` blocks from `first` on, as one slice, and how many they are: fewer than asked
    /// where the ring ends.
    pub(super) fn run(&self, first: BlockNumber, count: u64) -> (&[u8], u64) {
        debug_assert!(first + count <= self.ready && self.ready - first <= self.slots as u64);
        let slot = self.slot(first);
        let count = count.min((self.slots - slot) as u64);
        let mut end = (slot + count as usize) * self.stride;
        if let Some(last_len) = self.last_len
            && first + count == self.ready
        {
            end -= self.stride - DATA_HEADER - last_len;
        }
        (&self.buffer[slot * self.stride..end], count)
    }

    /// Payload bytes of the blocks before `end`.
    pub(super) fn bytes_before(&self, end: BlockNumber) -> u64 {
        let size = (self.stride - DATA_HEADER) as u64;
        match self.last_len {
            Some(last_len) if end == self.ready => {
                (end.0.saturating_sub(2)) * size + last_len as u64
            }
            _ => end.0.saturating_sub(1) * size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{Memory, Source};
    use std::io::Read;

    /// Gives at most `most` bytes a read, as pipes do.
    struct Dribble<'a>(&'a [u8], usize);

    impl Source for Dribble<'_> {
        fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            let mut left = self.1;
            for buf in bufs {
                let most = left.min(buf.len());
                left -= self.0.read(&mut buf[..most])?;
            }
            Ok(self.1 - left)
        }
    }

    /// Is interrupted before each read, and counts the reads.
    struct Interrupted<'a>(&'a [u8], u32);

    impl Source for Interrupted<'_> {
        fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            self.1 += 1;
            if self.1 % 2 == 1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.read_vectored(bufs)
        }
    }

    fn collect(size: u16, slots: usize, source: &mut dyn Source) -> Vec<u8> {
        let size = BlockSize::new(size).expect("a size");
        let mut ring = SendRing::new(size, slots, Rollover::ToZero);
        let (mut base, mut file) = (BlockNumber::FIRST, Vec::new());
        loop {
            ring.fill(base, |bufs| source.read(bufs).map(Some)).expect("readable");
            while base < ring.ready() {
                let (packets, count) = ring.run(base, ring.ready() - base);
                for (n, packet) in packets.chunks(ring.stride()).enumerate() {
                    let number = (base + n as u64).narrow(Rollover::ToZero);
                    assert_eq!(packet[..DATA_HEADER], data_header(number));
                    file.extend_from_slice(&packet[DATA_HEADER..]);
                }
                base = base + count;
                assert_eq!(ring.bytes_before(base), file.len() as u64);
            }
            if ring.is_ended() {
                return file;
            }
        }
    }

    #[test]
    fn blocks_hold_the_file_whatever_its_length_and_however_it_is_read() {
        let file: Vec<u8> = (0..5000u32).map(|n| (n * 7 % 251) as u8).collect();
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 5000] {
            for slots in [1, 2, 3, 8, 100] {
                for most in [1, 5, 8, 12, usize::MAX] {
                    let got = collect(8, slots, &mut Dribble(&file[..len], most));
                    assert_eq!(got, file[..len], "{len} bytes, {slots} slots, {most} a read");
                    let got = collect(8, slots, &mut Memory::new(&file[..len]));
                    assert_eq!(got, file[..len], "{len} bytes, {slots} slots, vectored");
                }
            }
        }
    }

    #[test]
    fn a_window_as_large_as_the_ring_leaves_in_one_piece() {
        let size = BlockSize::MIN;
        let mut ring = SendRing::new(size, 4, Rollover::ToZero);
        let mut file = Memory::new([7; 80]);
        for base in [1, 5].map(BlockNumber) {
            ring.fill(base, |bufs| file.try_read(bufs)).expect("readable");
            assert_eq!(ring.ready(), base + 4);
            let (bytes, count) = ring.run(base, 4);
            assert_eq!((bytes.len(), count), (4 * (DATA_HEADER + size.get()), 4));
        }
    }

    #[test]
    fn a_ring_is_filled_by_one_read_however_often_that_is_interrupted() {
        let file = [7; 80];
        let mut source = Interrupted(&file, 0);
        let mut ring = SendRing::new(BlockSize::MIN, 4, Rollover::ToZero);
        let mut read = |bufs: &mut [IoSliceMut<'_>]| source.read(bufs).map(Some);
        ring.fill(BlockNumber::FIRST, &mut read).expect("readable");
        assert_eq!((ring.ready(), source.1), (BlockNumber(5), 2));
        assert_eq!(collect(8, 4, &mut Interrupted(&file, 0)), file);
    }
}
