//! What costs no system call: packets, the two machines, and whole transfers in memory.

#[path = "../tests/common/pair.rs"]
mod pair;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use pair::{Pair, text};
use tftpkit::wire::{BlockSize, Mode, Options, TransferOption, WindowSize};

fn main() {
    divan::main();
}

fn options() -> Options {
    let window = WindowSize::new(64).expect("a window");
    [
        TransferOption::TransferSize(1 << 20),
        TransferOption::BlockSize(BlockSize::DEFAULT),
        TransferOption::WindowSize(window),
    ]
    .into_iter()
    .fold(Options::NONE, Options::with)
}

/// Packets, one of each kind.
mod wire {
    use super::{Bencher, black_box, options};
    use tftpkit::wire::{ErrorCode, Mode, Operation, Packet, Request, WireBlock};

    const KINDS: [&str; 5] = ["RRQ", "DATA", "ACK", "OACK", "ERROR"];

    fn packet(kind: &str) -> Packet<'static> {
        match kind {
            "RRQ" => Packet::Request(Request {
                operation: Operation::Read,
                name: b"pxelinux.cfg/01-52-54-00-12-34-56",
                mode: Mode::Octet,
                options: options(),
            }),
            "DATA" => Packet::Data { block: WireBlock(7), payload: &[7; 1428] },
            "ACK" => Packet::Ack { block: WireBlock(7) },
            "OACK" => Packet::Oack(options()),
            _ => Packet::Error { code: ErrorCode::NotFound, message: b"file not found" },
        }
    }

    #[divan::bench(args = KINDS)]
    fn parse(bencher: Bencher<'_, '_>, kind: &str) {
        let bytes = packet(kind).to_vec();
        bencher.bench(|| Packet::parse(black_box(&bytes)).is_ok());
    }

    #[divan::bench(args = KINDS)]
    fn write(bencher: Bencher<'_, '_>, kind: &str) {
        let (packet, mut out) = (packet(kind), Vec::with_capacity(2048));
        bencher.bench_local(|| {
            out.clear();
            black_box(&packet).write(&mut out);
        });
    }
}

/// A sender and a receiver that exchange numbers.
mod proto {
    use super::{Bencher, ItemsCount};
    use tftpkit::proto::{BlockNumber, GrantLimits, Receiver, Sender, Step, Time, Timing, grant};
    use tftpkit::wire::{Operation, Options, Rollover, TransferOption, WindowSize};

    const BLOCKS: u64 = 10_000;

    #[divan::bench(args = [1, 16, 64])]
    fn exchange(bencher: Bencher<'_, '_>, window: u16) {
        let window = WindowSize::new(window).expect("a window");
        let asked = Options::NONE.with(TransferOption::WindowSize(window));
        let limits = GrantLimits::default().window_bytes(usize::MAX);
        let (agreed, _) = grant(Operation::Read, &asked, &limits, None);
        let (now, timing) = (Time::START, Timing::default());
        bencher.counter(ItemsCount::new(BLOCKS)).bench(|| {
            let mut sender = Sender::new(now, timing, &agreed, false);
            let mut receiver = Receiver::new(now, timing, &agreed, 0);
            let _opening = receiver.poll(now);
            sender.supply(BlockNumber(BLOCKS + 1), true);
            while !sender.is_delivered() {
                while let Step::Transmit(run) = sender.poll(now) {
                    for block in (0..run.count).map(|n| run.first + n) {
                        receiver.arrive(now, block.narrow(Rollover::ToZero), block.0 == BLOCKS);
                    }
                }
                while let Step::Transmit(ack) = receiver.poll(now) {
                    sender.acknowledge(now, ack.block.narrow(ack.rollover));
                }
            }
        });
    }
}

/// Downloads of a megabyte, from a source to a sink.
#[divan::bench(args = [(512, 1), (1428, 16), (1428, 64)])]
fn transfer(bencher: Bencher<'_, '_>, (block_size, window): (u16, u16)) {
    download(bencher, Mode::Octet, block_size, window);
}

#[divan::bench(args = [(512, 1), (1428, 64)])]
fn transfer_netascii(bencher: Bencher<'_, '_>, (block_size, window): (u16, u16)) {
    download(bencher, Mode::Netascii, block_size, window);
}

fn download(bencher: Bencher<'_, '_>, mode: Mode, block_size: u16, window: u16) {
    let file = text(1 << 20);
    bencher
        .counter(BytesCount::new(file.len()))
        .bench(|| Pair::new(&file, mode, block_size, window).finish());
}
