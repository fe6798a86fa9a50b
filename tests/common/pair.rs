//! A server's transfer and a client's, back to back in memory: no sockets, no files, a clock that is counted up.

use std::sync::Arc;
use std::time::Duration;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Action, Discard, Memory, Outcome, Terms, Transfer};
use tftpkit::wire::{BlockSize, Mode, Operation, Options, Request, TransferOption, WindowSize};

/// A download.
pub(crate) struct Pair {
    pub(crate) client: Transfer,
    server: Transfer,
    now: Time,
}

/// Lines of text, so that netascii has something to do.
pub(crate) fn text(bytes: usize) -> Arc<[u8]> {
    b"a line of text, as configurations have them\n".iter().copied().cycle().take(bytes).collect()
}

impl Pair {
    /// A download of `file` by blocks of `block_size` bytes in windows of `window` blocks.
    pub(crate) fn new(file: &Arc<[u8]>, mode: Mode, block_size: u16, window: u16) -> Self {
        let block_size = BlockSize::new(block_size).expect("a block size");
        let window = WindowSize::new(window).expect("a window");
        let options = Options::NONE
            .with(TransferOption::BlockSize(block_size))
            .with(TransferOption::WindowSize(window));
        let request = Request { operation: Operation::Read, name: b"file", mode, options };
        let limits =
            GrantLimits::default().block_size(block_size).window(window).window_bytes(usize::MAX);
        let (agreed, answer) = grant(Operation::Read, &options, &limits, None);
        let (now, timing) = (Time::START, Timing::default());
        let terms = Terms { agreed, answer, mode, timing };
        let mut client = Transfer::get(now, timing, &request, Box::new(Discard));
        // The request has been read when there is a server's transfer.
        while let Action::Send(_) = client.poll(now) {}
        let source = Box::new(Memory::new(Arc::clone(file)));
        Self { client, server: Transfer::serve_read(now, &terms, source), now }
    }

    /// Each says what it has to say. Whether there is more to come.
    pub(crate) fn round(&mut self) -> bool {
        self.now = self.now + Duration::from_micros(10);
        let server = say(self.now, &mut self.server, &mut self.client);
        let client = say(self.now, &mut self.client, &mut self.server);
        server || client
    }

    /// Goes on to the end, and gives the bytes on the wire.
    pub(crate) fn finish(&mut self) -> u64 {
        while self.round() {}
        let summary = self.client.summary();
        assert_eq!(summary.outcome, Some(Outcome::Complete));
        summary.bytes
    }
}

fn say(now: Time, from: &mut Transfer, to: &mut Transfer) -> bool {
    loop {
        match from.poll(now) {
            Action::Send(burst) => {
                burst.datagrams().for_each(|packet| to.handle(now, packet));
            }
            Action::Storage => {
                from.run_storage(now);
            }
            Action::Wait(_) => return true,
            Action::Done => return false,
        }
    }
}
