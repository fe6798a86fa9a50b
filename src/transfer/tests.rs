//! What the packets of a dialogue do not show: figures, bounds, and how often a file is read.

use super::*;
use crate::wire::{Mode, Operation, TransferOption};
use std::io::{IoSliceMut, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn ms(n: u64) -> Time {
    Time::from_micros(n * 1000)
}

fn blksize(bytes: u16) -> Options {
    Options::NONE.with(TransferOption::BlockSize(BlockSize::new(bytes).expect("a size")))
}

/// What a server and a client that asked for `asked` agree on.
fn terms(asked: Options) -> Terms {
    Terms {
        agreed: accept(&asked, &asked).expect("the same"),
        answer: asked,
        mode: Mode::Octet,
        timing: Timing::default(),
    }
}

/// Polls until there is nothing to send, and tells whether it is over then.
fn settled(transfer: &mut Transfer, now: Time) -> bool {
    loop {
        match transfer.poll(now) {
            Action::Send(_) => {}
            Action::Storage => assert!(transfer.try_storage(now), "memory never waits"),
            Action::Wait(_) => return false,
            Action::Done => return true,
        }
    }
}

fn packet(packet: Packet<'_>) -> Vec<u8> {
    packet.to_vec()
}

fn ack(block: u16) -> Vec<u8> {
    packet(Packet::Ack { block: WireBlock(block) })
}

fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    packet(Packet::Data { block: WireBlock(block), payload })
}

struct Counted(Memory<Vec<u8>>, Arc<AtomicU32>);

impl Source for Counted {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.read(bufs).map(Some)
    }
}

#[test]
fn many_blocks_of_a_lock_step_file_are_read_at_once_for_a_client_that_has_answered() {
    let reads = Arc::new(AtomicU32::new(0));
    let so_far = || reads.load(Ordering::Relaxed);
    let source = Counted(Memory::new(vec![7; 100 * 512]), Arc::clone(&reads));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), Box::new(source));
    assert!(!settled(&mut transfer, ms(0)));
    assert_eq!(so_far(), 1, "for the first block alone");
    transfer.handle(ms(0), &ack(1));
    transfer.set_buffer(8 * 512);
    for block in 2..10 {
        assert!(!settled(&mut transfer, ms(0)));
        assert_eq!(so_far(), 2, "for eight blocks");
        // While there is a block in the ring that may be sent again, the ring stays as it is.
        transfer.set_buffer(0);
        transfer.handle(ms(0), &ack(block));
    }
    assert!(!settled(&mut transfer, ms(0)));
    assert!(so_far() > 2);
}

#[test]
fn a_client_that_only_asks_for_the_size_costs_no_read() {
    let reads = Arc::new(AtomicU32::new(0));
    let source = Counted(Memory::new(vec![7; 3]), Arc::clone(&reads));
    let window = TransferOption::WindowSize(WindowSize::new(4).expect("a width"));
    let terms = terms(Options::NONE.with(window));
    let mut transfer = Transfer::serve_read(ms(0), &terms, Box::new(source));
    assert!(!settled(&mut transfer, ms(0)) && !settled(&mut transfer, ms(1500)));
    assert_eq!((transfer.summary().packets, reads.load(Ordering::Relaxed)), (2, 0), "two OACKs");
    transfer.handle(ms(1500), &ack(0));
    assert!(!settled(&mut transfer, ms(1500)));
    assert!(reads.load(Ordering::Relaxed) > 0);
}

#[test]
fn an_upload_took_as_long_as_the_file_did_not_as_its_session() {
    let mut transfer = Transfer::serve_write(ms(10), &terms(Options::NONE), Box::new(Discard));
    settled(&mut transfer, ms(10));
    transfer.handle(ms(40), &data(1, b"all"));
    assert!(!settled(&mut transfer, ms(40)) && transfer.is_complete() && transfer.is_dallying());
    assert!(settled(&mut transfer, ms(20_000)));
    assert_eq!(transfer.summary().elapsed, ms(40) - ms(10));
    assert_eq!(transfer.summary().outcome, Some(Outcome::Complete));
}

#[test]
fn an_upload_that_is_stopped_while_it_is_made_last_still_gets_its_ack() {
    let mut transfer = Transfer::serve_write(ms(0), &terms(Options::NONE), Box::new(Discard));
    settled(&mut transfer, ms(0));
    transfer.handle(ms(1), &data(1, b"all"));
    assert!(matches!(transfer.poll(ms(1)), Action::Storage));
    transfer.stop(ms(1), "shutting down");
    transfer.run_storage(ms(1));
    transfer.stop(ms(1), "shutting down");
    let Action::Send(burst) = transfer.poll(ms(1)) else { panic!("it is told that it is safe") };
    assert_eq!(burst.bytes, ack(1));
    transfer.stop(ms(1), "shutting down");
    assert!(matches!(transfer.poll(ms(1)), Action::Done));
    assert_eq!(transfer.summary().outcome, Some(Outcome::Complete));
}

#[test]
fn a_download_took_until_its_end() {
    let source = Box::new(Memory::new(vec![7; 3]));
    let mut transfer = Transfer::serve_read(ms(10), &terms(Options::NONE), source);
    settled(&mut transfer, ms(10));
    transfer.handle(ms(40), &ack(1));
    assert!(settled(&mut transfer, ms(40)));
    assert_eq!(transfer.summary().elapsed, ms(40) - ms(10));
}

#[test]
fn the_longest_datagram_is_that_of_rfc_1350_or_a_larger_block() {
    let (operation, mode) = (Operation::Read, Mode::Octet);
    for (size, longest) in [(8, 4 + 512), (512, 4 + 512), (513, 4 + 513), (1428, 4 + 1428)] {
        let options = blksize(size);
        let request = Request { operation, name: b"f", mode, options };
        let mut get = Transfer::get(ms(0), Timing::default(), &request, Box::new(Discard));
        settled(&mut get, ms(0));
        assert_eq!(get.longest_datagram(), 4 + 512, "a first answer");
        get.handle(ms(1), &packet(Packet::Oack(options)));
        assert_eq!(get.longest_datagram(), longest);

        let write = Transfer::serve_write(ms(0), &terms(options), Box::new(Discard));
        assert_eq!(write.longest_datagram(), longest);
        let read = Transfer::serve_read(ms(0), &terms(options), Box::new(Memory::new([])));
        assert_eq!(read.longest_datagram(), 4 + 512, "ACKs and ERRORs");
    }
}

#[test]
fn only_a_receiver_of_windows_gets_many_blocks_at_once() {
    let windows = [1, 2].map(|width| WindowSize::new(width).expect("a width"));
    let gathers = windows.map(|width| {
        let terms = terms(Options::NONE.with(TransferOption::WindowSize(width)));
        let write = Transfer::serve_write(ms(0), &terms, Box::new(Discard));
        let read = Transfer::serve_read(ms(0), &terms, Box::new(Memory::new([])));
        (write.gathers(), read.gathers())
    });
    assert_eq!(gathers, [(false, false), (true, false)]);
}

#[test]
fn an_answer_proves_an_address_to_a_server_and_a_client_needs_no_proof() {
    let mut read = Transfer::serve_read(ms(0), &terms(Options::NONE), Box::new(Memory::new([])));
    settled(&mut read, ms(0));
    read.handle(ms(0), &data(1, b"an echo"));
    assert!(!read.is_proven());
    read.handle(ms(0), &ack(0));
    assert!(read.is_proven());

    let mut write = Transfer::serve_write(ms(0), &terms(Options::NONE), Box::new(Discard));
    settled(&mut write, ms(0));
    write.handle(ms(0), &ack(0));
    assert!(!write.is_proven());
    write.handle(ms(0), &data(1, &[7; 512]));
    assert!(write.is_proven());

    let (operation, mode, options) = (Operation::Write, Mode::Octet, Options::NONE);
    let request = Request { operation, name: b"f", mode, options };
    assert!(
        Transfer::put(ms(0), Timing::default(), &request, Box::new(Memory::new([]))).is_proven()
    );
}

#[test]
fn figures_have_what_went_out_unproven_the_round_trip_the_probes_and_the_blocks() {
    let source = Box::new(Memory::new(vec![7; 512 + 3]));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), source);
    let figures = |transfer: &Transfer, now| {
        let it = transfer.figures(now);
        (it.unproven_bytes, it.round_trip, it.probes, it.blocks(), it.elapsed.as_millis())
    };
    settled(&mut transfer, ms(0));
    assert_eq!(figures(&transfer, ms(1)), (516, None, 0, 0, 1));
    transfer.handle(ms(8), &ack(1));
    settled(&mut transfer, ms(8));
    let trip = Some(ms(8) - ms(0));
    assert_eq!(figures(&transfer, ms(9)), (516, trip, 0, 1, 9));
    // Two round trips of silence, and then until the timer.
    settled(&mut transfer, ms(24));
    assert_eq!(figures(&transfer, ms(24)), (516, trip, 1, 1, 24));
    settled(&mut transfer, ms(900));
    let retransmitted = transfer.summary().retransmitted;
    assert_eq!((figures(&transfer, ms(900)).2, retransmitted), (1, 2), "the timer's is no probe");
    transfer.handle(ms(901), &ack(2));
    settled(&mut transfer, ms(901));
    let it = transfer.figures(ms(999));
    assert_eq!((it.blocks(), it.elapsed.as_millis()), (2, 901), "its end is known");
}

#[test]
fn of_a_peers_words_no_more_is_kept_than_an_error_should_have() {
    for (len, kept) in [
        (limits::ERROR_TEXT_BYTES, limits::ERROR_TEXT_BYTES),
        (limits::ERROR_TEXT_BYTES + 1, limits::ERROR_TEXT_BYTES),
    ] {
        let mut transfer = Transfer::serve_write(ms(0), &terms(Options::NONE), Box::new(Discard));
        let (code, message) = (ErrorCode::DiskFull, &[b'x'; 200][..len]);
        transfer.handle(ms(0), &packet(Packet::Error { code, message }));
        let outcome = Outcome::PeerError(code, vec![b'x'; kept]);
        assert_eq!(transfer.summary().outcome, Some(outcome));
    }
}

#[test]
fn a_request_that_is_repeated_before_its_answer_left_is_answered_once() {
    let source = Box::new(Memory::new(vec![7; 3]));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), source);
    transfer.repeat();
    assert!(!settled(&mut transfer, ms(0)));
    assert_eq!(transfer.summary().packets, 1);
}

/// A reader without data that fails as it is told to.
struct Broken(io::ErrorKind);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

#[test]
fn a_request_that_is_repeated_where_nothing_could_be_read_gets_its_error() {
    let source = Box::new(Blocking::new(Broken(io::ErrorKind::Other)));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), source);
    transfer.repeat();
    assert!(matches!(transfer.poll(ms(0)), Action::Storage));
    assert!(!transfer.try_storage(ms(0)), "a reader may wait");
    transfer.run_storage(ms(0));
    let Action::Send(burst) = transfer.poll(ms(0)) else { panic!("an ERROR is sent") };
    assert!(matches!(Packet::parse(burst.bytes), Ok(Packet::Error { .. })));
    assert!(settled(&mut transfer, ms(0)));
}

/// So many blocks of 512 bytes, each of which has to be waited for.
struct Slow(u32);

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(0) };
        self.0 = left;
        Ok(buf.len().min(512))
    }
}

#[test]
fn a_plain_reader_is_waited_for_before_each_block_and_what_came_leaves_first() {
    let source = Box::new(Blocking::new(Slow(2)));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), source);
    transfer.set_buffer(4 * 512);
    for (block, len) in [(1, 512), (2, 512), (3, 0)] {
        assert!(matches!(transfer.poll(ms(0)), Action::Storage), "block {block}");
        assert!(!transfer.try_storage(ms(0)), "it is not waited for here");
        transfer.run_storage(ms(0));
        let Action::Send(burst) = transfer.poll(ms(0)) else { panic!("block {block} leaves") };
        assert_eq!(burst.bytes, data(block, &[0; 512][..len]));
        assert!(!matches!(transfer.poll(ms(0)), Action::Storage), "nothing more is needed yet");
        transfer.handle(ms(0), &ack(block));
    }
    assert!(settled(&mut transfer, ms(0)));
    assert_eq!(transfer.summary().outcome, Some(Outcome::Complete));
}

#[test]
fn a_reader_that_would_wait_and_does_not_is_an_error() {
    let source = Box::new(Blocking::new(Broken(io::ErrorKind::WouldBlock)));
    let mut transfer = Transfer::serve_read(ms(0), &terms(Options::NONE), source);
    transfer.run_storage(ms(0));
    assert!(matches!(transfer.summary().outcome, Some(Outcome::Local(..))));
}

/// Notes what it is asked to do, and says of itself what may wait.
struct Noted(MayWait, Arc<std::sync::Mutex<Vec<String>>>);

impl Sink for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.lock().expect("notes").push(format!("write {}", bytes.len()));
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.1.lock().expect("notes").push("commit".into());
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        self.0
    }
}

/// What a sink was asked to do by the blocks themselves, by a thread that may not wait, and by one that may.
fn asked_of(may_wait: MayWait) -> [Vec<String>; 3] {
    let notes = Arc::default();
    let sink = Box::new(Noted(may_wait, Arc::clone(&notes)));
    let two = TransferOption::WindowSize(WindowSize::new(2).expect("a width"));
    let mut transfer = Transfer::serve_write(ms(0), &terms(Options::NONE.with(two)), sink);
    assert!(!settled(&mut transfer, ms(0)));
    let asked = || std::mem::take(&mut *notes.lock().expect("notes"));
    transfer.handle(ms(1), &data(1, &[7; 512]));
    transfer.handle(ms(1), &data(2, b"all"));
    let at_once = asked();
    transfer.try_storage(ms(1));
    let without_waiting = asked();
    transfer.run_storage(ms(1));
    assert!(transfer.is_dallying());
    [at_once, without_waiting, asked()]
}

#[test]
fn what_of_a_sink_may_wait_is_done_where_waiting_is_allowed() {
    let both = ["write 512".to_owned(), "write 3".to_owned()].to_vec();
    let commit = || vec!["commit".to_owned()];
    assert_eq!(asked_of(MayWait::Never), [both.clone(), commit(), vec![]]);
    let all = vec!["write 515".to_owned(), "commit".to_owned()];
    for may_wait in [MayWait::OnCommit, MayWait::OnCommitForLong, MayWait::Always] {
        assert_eq!(asked_of(may_wait), [vec![], vec![], all.clone()], "{may_wait:?}");
    }
}

#[test]
fn only_at_the_end_somebody_is_asked_and_only_by_a_sink_that_says_so() {
    for may_wait in [MayWait::OnCommit, MayWait::OnCommitForLong, MayWait::Always] {
        let sink = Box::new(Noted(may_wait, Arc::default()));
        let mut transfer = Transfer::serve_write(ms(0), &terms(Options::NONE), sink);
        assert!(!settled(&mut transfer, ms(0)));
        transfer.handle(ms(1), &data(1, &[7; 512]));
        assert_eq!(transfer.storage_work(), StorageWork::Write, "{may_wait:?}");
        transfer.handle(ms(1), &data(2, b"all"));
        let asks = transfer.storage_work() == StorageWork::Ask;
        assert_eq!(asks, may_wait == MayWait::OnCommitForLong);
        transfer.run_storage(ms(1));
        assert_eq!(transfer.storage_work(), StorageWork::Write, "{may_wait:?}");
    }
}

/// What leaves and what is written while so many blocks come, one by one, where so much may come together.
fn dialogue_of(may_wait: MayWait, buffer: usize, blocks: u16) -> Vec<String> {
    let notes = Arc::default();
    let sink = Box::new(Noted(may_wait, Arc::clone(&notes)));
    let mut transfer = Transfer::serve_write(ms(0), &terms(Options::NONE), sink);
    assert!(!settled(&mut transfer, ms(0)));
    transfer.set_buffer(buffer);
    for block in 1..=blocks {
        transfer.handle(ms(1), &data(block, &[7; 512]));
        loop {
            match transfer.poll(ms(1)) {
                Action::Send(burst) => {
                    let told = format!("ACK {}", burst.bytes[3]);
                    notes.lock().expect("notes").push(told);
                }
                Action::Storage => transfer.run_storage(ms(1)),
                Action::Wait(_) | Action::Done => break,
            }
        }
    }
    std::mem::take(&mut *notes.lock().expect("notes"))
}

#[test]
fn a_block_is_acknowledged_before_it_is_written_and_a_file_gets_pieces() {
    let always = ["ACK 1", "write 512", "ACK 2", "write 512"];
    assert_eq!(dialogue_of(MayWait::Always, 1024, 2), always);
    assert_eq!(dialogue_of(MayWait::OnCommit, 0, 2), always);
    let pieces = ["ACK 1", "ACK 2", "write 1024", "ACK 3", "ACK 4", "write 1024"];
    assert_eq!(dialogue_of(MayWait::OnCommit, 1024, 4), pieces);
    assert_eq!(dialogue_of(MayWait::OnCommitForLong, 1024, 4), pieces);
    assert_eq!(dialogue_of(MayWait::OnCommit, 1025, 2), ["ACK 1", "ACK 2"]);
    // Memory is as quick as the datagram.
    assert_eq!(dialogue_of(MayWait::Never, 1024, 1), ["write 512", "ACK 1"]);
}

/// The writes of two blocks of `size` in windows of so many, where 256 KiB may come together, and the thread that drives the
/// transfer writes itself or has a loop's hand-over.
fn writes_of(size: u16, window: u16, itself: bool) -> Vec<String> {
    let notes = Arc::default();
    let sink = Box::new(Noted(MayWait::OnCommit, Arc::clone(&notes)));
    let window = TransferOption::WindowSize(WindowSize::new(window).expect("a width"));
    let mut transfer = Transfer::serve_write(ms(0), &terms(blksize(size).with(window)), sink);
    if itself {
        transfer.write_itself();
    }
    assert!(!settled(&mut transfer, ms(0)));
    transfer.set_buffer(limits::WRITE_BEHIND_BYTES);
    for block in [1, 2] {
        transfer.handle(ms(1), &data(block, &vec![7; size.into()]));
        while let Action::Storage | Action::Send(_) = transfer.poll(ms(1)) {
            transfer.run_storage(ms(1));
        }
    }
    std::mem::take(&mut *notes.lock().expect("notes"))
}

#[test]
fn a_thread_writes_what_it_receives_in_lock_step_while_the_next_block_comes() {
    let largest = ["write 65464"; 2];
    assert_eq!(writes_of(65464, 1, true), largest);
    let none = [""; 0];
    assert_eq!(writes_of(65464, 1, false), none, "a hand-over is worth four blocks");
    assert_eq!(writes_of(65464, 2, true), none, "a window comes whole");
    let half = (limits::WRITE_AT_ONCE_BYTES / 2) as u16;
    assert_eq!(writes_of(half, 1, true), [format!("write {}", limits::WRITE_AT_ONCE_BYTES)]);
    assert_eq!(writes_of(half - 1, 1, true), none, "small ones share a call");
}

/// Four blocks in a ring of four, of which the second is acknowledged: blocks 3 to 6 lie in two pieces. All are asked
/// for once more, and the first piece has left.
fn in_two_pieces() -> Transfer {
    let window = TransferOption::WindowSize(WindowSize::new(4).expect("a width"));
    let terms = terms(blksize(8).with(window));
    let source = Box::new(Memory::new(vec![7; 800]));
    let mut transfer = Transfer::serve_read(ms(0), &terms, source);
    assert!(!settled(&mut transfer, ms(0)));
    transfer.handle(ms(10), &ack(0));
    assert!(!settled(&mut transfer, ms(10)));
    transfer.handle(ms(20), &ack(2));
    assert_eq!(next_run(&mut transfer, 20), [3], "the others may have come");
    assert_eq!(next_run(&mut transfer, 20), [5, 6]);
    transfer.handle(ms(100), &ack(2));
    assert_eq!(next_run(&mut transfer, 100), [3, 4]);
    transfer
}

/// The numbers of the blocks that leave next.
fn next_run(transfer: &mut Transfer, now: u64) -> Vec<u16> {
    loop {
        match transfer.poll(ms(now)) {
            Action::Storage => assert!(transfer.try_storage(ms(now)), "memory never waits"),
            Action::Send(Burst { bytes, packet, .. }) => {
                let number = |packet: &[u8]| match Packet::parse(packet) {
                    Ok(Packet::Data { block, .. }) => block.0,
                    other => panic!("{other:?}"),
                };
                return bytes.chunks(packet).map(number).collect();
            }
            action => panic!("{action:?}"),
        }
    }
}

#[test]
fn the_second_piece_of_a_run_leaves_unless_it_was_acknowledged_before() {
    let mut transfer = in_two_pieces();
    transfer.handle(ms(200), &ack(4));
    assert_eq!(next_run(&mut transfer, 200), [5, 6]);
    let mut transfer = in_two_pieces();
    transfer.handle(ms(200), &ack(6));
    assert_eq!(next_run(&mut transfer, 200), [7, 8]);
}

/// The window that seems to fit a client of which these blocks of its windows of 64 came, each alone or after silence,
/// and so many milliseconds after the last.
fn fits_after(blocks: &[Option<u16>], ms_more: u64) -> Option<u16> {
    let window = WindowSize::new(64).expect("a window");
    let options = Options::NONE.with(TransferOption::WindowSize(window));
    let request = Request { operation: Operation::Read, name: b"f", mode: Mode::Octet, options };
    let mut get = Transfer::get(ms(0), Timing::default(), &request, Box::new(Vec::new()));
    assert!(!settled(&mut get, ms(0)));
    let mut now = 1;
    get.handle(ms(now), &Packet::Oack(options).to_vec());
    for block in blocks {
        match block {
            Some(block) => get.handle(ms(now), &data(*block, &[7; 512])),
            None => now += 300,
        }
        assert!(!settled(&mut get, ms(now)));
    }
    get.window_that_fits(ms(now + ms_more)).map(WindowSize::get)
}

#[test]
fn a_path_without_room_is_known_by_what_comes_again_or_does_not_come() {
    let torn: Vec<_> =
        (0..5).flat_map(|n| (1..=10).map(move |b| Some(b + 10 * n)).chain([None])).collect();
    assert_eq!([fits_after(&torn[..44], 0), fits_after(&torn, 0)], [None, Some(6)]);
    // One window, of which the gaps are filled one by one.
    let filled = (1..=16).chain((18..=62).step_by(2)).chain([17, 19, 21, 23]);
    let filled: Vec<_> = filled.map(Some).collect();
    assert_eq!([199, 200].map(|ms| fits_after(&filled, ms)), [None, Some(10)]);
    assert_eq!(fits_after(&filled[..filled.len() - 1], 200), None, "of four acknowledgements");
    for again in [3, 40] {
        let repeated = |times| fits_after(&[&filled[..], &vec![Some(again); times]].concat(), 0);
        assert_eq!([31, 32].map(repeated), [None, Some(10)], "block {again}, which is there");
    }
}
