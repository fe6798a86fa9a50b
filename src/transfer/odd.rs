//! How some servers end a transfer: with words that are no packet, or without the empty block that ends a file of whole
//! blocks. Both are for a client to know; a server's peers are as RFC 1350 has them.

use super::{End, Machine, Outcome, Role, Transfer};
use crate::limits;
use crate::proto::Time;

impl Transfer {
    /// Takes a datagram that is no packet. A server that has everything and then says something of its own will not say
    /// anything else: the loaders of some routers tell so that an image is not theirs.
    pub(super) fn hear_words(&mut self, now: Time, datagram: &[u8]) {
        // No packet begins with a letter.
        let is_text = datagram.first().is_some_and(|byte| matches!(byte, b' '..=b'~'));
        let is_sent =
            matches!(self.machine, Machine::Sending(_)) && self.lost() == End::Unconfirmed;
        if is_text && is_sent && self.role == Role::Client {
            let words = datagram[..datagram.len().min(limits::ERROR_TEXT_BYTES)].to_vec();
            self.end(now, Outcome::Words(words));
        }
    }

    /// When the end of a file that is whole by its size is waited for no longer; nothing where it is not, or all is over.
    pub(super) fn gives_up_end(&self) -> Option<Time> {
        let Machine::Receiving(incoming) = &self.machine else { return None };
        let waits = self.role == Role::Client && !self.is_over();
        let since = incoming.has_all_since().filter(|_| waits)?;
        let interval = self.summary.agreed.interval().map(crate::wire::Interval::get);
        let patience = interval.map_or(limits::MISSING_END, |interval| 3 * interval);
        Some(since + patience.min(limits::LONGEST_MISSING_END))
    }

    /// Takes the empty block that ends the file as come. Whoever sent one that was lost has its ACK by that.
    pub(super) fn supply_end(&mut self, now: Time) {
        let agreed = self.summary.agreed;
        let Machine::Receiving(incoming) = &mut self.machine else { return };
        self.summary.end_missing = true;
        let end = incoming.receiver.expected().narrow(agreed.rollover().unwrap_or_default());
        if let Err(error) = incoming.handle_data(now, &agreed, end, &[]) {
            self.fail_locally(now, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use crate::wire::{Mode, Operation, TransferOption};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    /// What a transfer has to send now, in words.
    fn sent(transfer: &mut Transfer, now: Time) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match transfer.poll(now) {
                Action::Send(burst) => {
                    let packets =
                        burst.datagrams().map(|one| Packet::parse(one).expect("a packet"));
                    all.extend(packets.map(|packet| packet.to_string()));
                }
                Action::Storage => assert!(transfer.try_storage(now), "memory never waits"),
                Action::Wait(_) | Action::Done => return all,
            }
        }
    }

    fn request(operation: Operation, options: Options) -> Request<'static> {
        Request { operation, name: b"f", mode: Mode::Octet, options }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Sink for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().expect("kept").0.extend_from_slice(bytes);
            Ok(())
        }

        fn commit(&mut self) -> io::Result<()> {
            self.0.lock().expect("kept").1 = true;
            Ok(())
        }

        fn may_wait(&self) -> MayWait {
            MayWait::Never
        }
    }

    /// A client that has two blocks of a file that has `size` bytes, at 20 ms.
    fn two_blocks(size: u64, interval: Option<u8>) -> (Transfer, Kept) {
        let kept = Kept::default();
        let mut asked = Options::NONE.with(TransferOption::TransferSize(0));
        let mut told = Options::NONE.with(TransferOption::TransferSize(size));
        if let Some(interval) = interval.and_then(core::num::NonZeroU8::new) {
            asked = asked.with(TransferOption::Timeout(interval));
            told = told.with(TransferOption::Timeout(interval));
        }
        let request = request(Operation::Read, asked);
        let mut get = Transfer::get(ms(0), Timing::default(), &request, Box::new(kept.clone()));
        assert_eq!(sent(&mut get, ms(0)).len(), 1);
        get.handle(ms(1), &Packet::Oack(told).to_vec());
        assert_eq!(sent(&mut get, ms(1)), ["ACK 0"]);
        for (at, block) in [(10, 1), (20, 2)] {
            let data = Packet::Data { block: WireBlock(block), payload: &[7; 512] };
            get.handle(ms(at), &data.to_vec());
            assert_eq!(sent(&mut get, ms(at)), [format!("ACK {block}")]);
        }
        (get, kept)
    }

    #[test]
    fn a_file_that_is_whole_by_its_size_is_kept_when_its_end_does_not_come() {
        for (interval, patience) in [(None, 5000), (Some(1), 3000), (Some(9), 15_000)] {
            let (mut get, kept) = two_blocks(1024, interval);
            let before = sent(&mut get, ms(20 + patience - 1));
            assert!(before.iter().all(|packet| packet == "ACK 2"), "{before:?}");
            assert_eq!(get.summary().outcome, None, "{interval:?}");
            // It is acknowledged: perhaps it was lost, and its server still waits.
            assert_eq!(sent(&mut get, ms(20 + patience)), ["ACK 3"]);
            assert_eq!(get.summary().outcome, Some(Outcome::Complete));
            assert!(get.summary().end_missing && kept.0.lock().expect("kept").1);
            assert_eq!(get.summary().bytes, 1024);
        }
    }

    #[test]
    fn what_its_end_is_waited_for_is_told_to_whoever_drives_it() {
        let (mut get, _) = two_blocks(1024, None);
        let mut now = ms(20);
        while let Action::Wait(until) = get.poll(now) {
            assert!(until > now && until <= ms(5020), "{until:?}");
            now = until;
            let _ = sent(&mut get, now);
        }
        assert_eq!(now, ms(5020));
    }

    #[test]
    fn an_end_that_comes_is_an_end_and_a_file_that_is_not_whole_has_none() {
        let (mut get, _) = two_blocks(1024, None);
        let end = Packet::Data { block: WireBlock(3), payload: b"" };
        get.handle(ms(4000), &end.to_vec());
        assert!(sent(&mut get, ms(4000)).contains(&"ACK 3".to_owned()));
        assert_eq!(get.summary().outcome, Some(Outcome::Complete));
        assert!(!get.summary().end_missing);
        for size in [0, 1023, 1025, 2048] {
            let (mut get, kept) = two_blocks(size, None);
            let _ = sent(&mut get, ms(6000));
            assert_eq!(get.summary().outcome, None, "{size}");
            get.unreachable(ms(6001));
            assert_eq!(get.summary().outcome, Some(Outcome::Unreachable), "{size}");
            assert!(!kept.0.lock().expect("kept").1);
        }
    }

    #[test]
    fn a_server_that_closes_its_port_when_all_is_there_sends_no_end() {
        let (mut get, kept) = two_blocks(1024, None);
        get.unreachable(ms(30));
        let _ = sent(&mut get, ms(30));
        assert_eq!(get.summary().outcome, Some(Outcome::Complete));
        assert!(get.summary().end_missing && kept.0.lock().expect("kept").1);
    }

    /// A client that has sent this many blocks of a file of two, each acknowledged but the last.
    fn under_way(blocks: u16) -> Transfer {
        let source = Box::new(Memory::new(vec![7; 600]));
        let request = request(Operation::Write, Options::NONE);
        let mut put = Transfer::put(ms(0), Timing::default(), &request, source);
        let _ = sent(&mut put, ms(0));
        for block in 0..blocks {
            put.handle(ms(1), &Packet::Ack { block: WireBlock(block) }.to_vec());
            assert_eq!(sent(&mut put, ms(1)).len(), 1);
        }
        put
    }

    #[test]
    fn words_that_follow_the_last_block_end_it_and_others_do_not() {
        const WORDS: &[u8] = b"Firmware check failed\x1b[2J\r\n\0";
        let mut put = under_way(2);
        put.handle(ms(2), WORDS);
        assert_eq!(sent(&mut put, ms(2)), [""; 0]);
        assert_eq!(put.summary().outcome, Some(Outcome::Words(WORDS.to_vec())));
        for early in [0, 1] {
            let mut put = under_way(early);
            put.handle(ms(2), WORDS);
            assert_eq!(put.summary().outcome, None, "{early}");
        }
        for junk in [&b""[..], b"\0", b"\x01\x02\x03\x04", b"\xff\xff\xff\xff"] {
            let mut put = under_way(2);
            put.handle(ms(2), junk);
            assert_eq!(put.summary().outcome, None, "{junk:?}");
        }
        let mut put = under_way(2);
        put.handle(ms(2), &[b'a'; 5000]);
        assert_eq!(
            put.summary().outcome,
            Some(Outcome::Words(vec![b'a'; limits::ERROR_TEXT_BYTES]))
        );
        assert!(put.summary().elapsed < Duration::from_millis(3));
    }
}
