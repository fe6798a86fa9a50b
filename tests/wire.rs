//! Packets: what bytes mean, and that nothing that arrives is too odd to be read. `PROPTEST_RNG_SEED=n` tries the same
//! again.

#[path = "common/seed.rs"]
mod seed;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use proptest::test_runner::RngSeed;
use seed::seed;
use std::fs;
use std::num::NonZeroU8;
use std::time::Duration;
use tftpkit::wire::{
    BlockSize, ErrorCode, IllegalValue, Interval, ListFormat, Mode, Operation, OptionKind,
    OptionSet, Options, Packet, Request, Rollover, TransferOption, WindowSize, WireBlock,
};

/// One entry of a file in `fixtures/packets`.
struct Entry {
    place: String,
    bytes: Vec<u8>,
    meaning: String,
}

fn entries() -> Vec<Entry> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/packets");
    let mut entries = Vec::new();
    for file in fs::read_dir(folder).expect("the fixtures are there") {
        let path = file.expect("a readable folder").path();
        let text = fs::read_to_string(&path).expect("a readable file");
        let mut bytes = None;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(hex) = line.strip_prefix("hex:") {
                bytes = Some(hex.split_whitespace().map(octet).collect());
            } else if let Some(meaning) = line.strip_prefix("is:") {
                entries.push(Entry {
                    place: format!("{}:{number}", path.display()),
                    bytes: bytes.take().expect("'hex:' stands before 'is:'"),
                    meaning: meaning.trim().into(),
                });
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{}:{number}", path.display());
            }
        }
    }
    entries
}

fn octet(hex: &str) -> u8 {
    u8::from_str_radix(hex, 16).expect("two hexadecimal digits")
}

/// Whether the packet's bytes mean the same packet.
fn reads_back(packet: Packet<'_>) -> bool {
    Packet::parse(&packet.to_vec()) == Ok(packet)
}

/// Whatever parses is written and parsed again to the same value.
fn survives(datagram: &[u8]) -> bool {
    Packet::parse(datagram).map_or(true, reads_back)
}

#[test]
fn every_packet_of_the_fixtures_means_what_it_says() {
    let entries = entries();
    assert!(entries.len() > 100, "only {} entries", entries.len());
    let wrong: Vec<String> = entries
        .iter()
        .filter_map(|Entry { place, bytes, meaning }| {
            let seen = match Packet::parse(bytes) {
                Ok(packet) => packet.to_string(),
                Err(why) => format!("malformed: {why}"),
            };
            (seen != *meaning).then(|| format!("{place}: {meaning}\n  it is: {seen}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_request_is_answered_by_what_begins_a_transfer() {
    let answers = |packet: &Packet<'_>| packet.is_answer();
    for Entry { place, bytes, .. } in entries() {
        match Packet::parse(&bytes) {
            Ok(packet @ Packet::Request(_)) => assert!(!answers(&packet), "{place}"),
            Ok(packet @ (Packet::Oack(_) | Packet::Error { .. })) => {
                assert!(answers(&packet), "{place}");
            }
            _ => {}
        }
    }
    for n in [0, 1, 2, 255, 256, u16::MAX] {
        let block = WireBlock(n);
        assert_eq!(answers(&Packet::Data { block, payload: b"" }), n == 1, "DATA {n}");
        assert_eq!(answers(&Packet::Ack { block }), n == 0, "ACK {n}");
    }
}

#[test]
fn nothing_of_up_to_three_bytes_is_a_packet() {
    let parses = |datagram: &[u8]| Packet::parse(datagram).is_ok();
    assert!(!parses(&[]));
    for first in 0..=u8::MAX {
        assert!(!parses(&[first]));
        for second in 0..=u8::MAX {
            assert!(!parses(&[first, second]));
            let mut datagram = [first, second, 0];
            for third in 0..=u8::MAX {
                datagram[2] = third;
                assert!(!parses(&datagram), "{datagram:02x?}");
            }
        }
    }
}

#[test]
fn every_packet_of_four_bytes_with_a_known_opcode_survives() {
    for opcode in 0..=8 {
        for block in 0..=u16::MAX {
            let [high, low] = block.to_be_bytes();
            let datagram = [0, opcode, high, low];
            assert!(survives(&datagram), "{datagram:02x?}");
        }
    }
}

/// Some of the options with legal values, in any order.
fn some_options() -> impl Strategy<Value = Vec<TransferOption>> {
    let numbers = (8..=65464u16, 1..=u16::MAX, 1..=u8::MAX, 10_000..=255_000_000u32);
    (numbers, any::<u64>(), any::<bool>()).prop_flat_map(
        |((size, blocks, secs, micros), bytes, to_one)| {
            let rollover = if to_one { Rollover::ToOne } else { Rollover::ToZero };
            let all = vec![
                TransferOption::BlockSize(BlockSize::new(size).expect("in range")),
                TransferOption::WindowSize(WindowSize::new(blocks).expect("in range")),
                TransferOption::Timeout(NonZeroU8::new(secs).expect("in range")),
                TransferOption::MicroTimeout(Interval::from_micros(micros).expect("in range")),
                TransferOption::TransferSize(bytes),
                TransferOption::Rollover(rollover),
                TransferOption::List(ListFormat::Json),
            ];
            subsequence(all, 0..=7).prop_shuffle()
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    some_options().prop_map(|list| list.into_iter().fold(Options::NONE, Options::with))
}

/// A name or a text: any bytes but NUL.
fn words(least: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, least..80)
}

/// A packet of the fixtures with some bytes changed, cut off somewhere.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> = entries().into_iter().map(|entry| entry.bytes).collect();
    let change = (any::<Index>(), any::<u8>());
    let cut = prop::option::of(any::<Index>());
    (prop::sample::select(all), vec(change, 0..4), cut).prop_map(|(mut bytes, changes, cut)| {
        if !bytes.is_empty() {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        bytes
    })
}

fn config() -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(seed("PROPTEST_RNG_SEED"));
    ProptestConfig { failure_persistence: None, rng_seed, ..ProptestConfig::with_cases(2_000) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_are_read_or_refused(
        opcode in 0..=8u8,
        body in vec(prop_oneof![Just(0), any::<u8>()], 0..200),
    ) {
        prop_assert!(survives(&body));
        prop_assert!(survives(&[&[0, opcode], &body[..]].concat()));
    }

    #[test]
    fn mutated_packets_are_read_or_refused(datagram in mutated()) {
        prop_assert!(survives(&datagram));
    }

    #[test]
    fn requests_are_read_as_they_were_written(
        operation in prop::sample::select(vec![Operation::Read, Operation::Write, Operation::List]),
        name in words(1),
        mode in prop::sample::select(vec![Mode::Octet, Mode::Netascii]),
        options in options(),
    ) {
        let packet = Packet::Request(Request { operation, name: &name, mode, options });
        prop_assert!(reads_back(packet), "{packet}");
        let root = Request { operation: Operation::List, name: b"", mode, options };
        let packet = Packet::Request(root);
        prop_assert!(reads_back(packet), "{packet}");
    }

    #[test]
    fn data_acks_and_errors_are_read_as_they_were_written(
        number: u16,
        payload in vec(any::<u8>(), 0..2_000),
        message in words(0),
    ) {
        let block = WireBlock(number);
        for packet in [
            Packet::Data { block, payload: &payload },
            Packet::Ack { block },
            Packet::Error { code: ErrorCode::from(number), message: &message },
            Packet::Error { code: ErrorCode::from(number % 10), message: &message },
        ] {
            prop_assert!(reads_back(packet), "{packet}");
        }
    }

    #[test]
    fn oacks_are_read_as_they_were_written(options in options()) {
        prop_assume!(!options.is_empty());
        let packet = Packet::Oack(options);
        prop_assert!(reads_back(packet), "{packet}");
    }

    #[test]
    fn a_request_ends_where_its_options_are_cut(options in options(), cut: Index) {
        let request = Request { operation: Operation::Read, name: b"f", mode: Mode::Octet, options };
        let whole = Packet::Request(request).to_vec();
        let options_at = Packet::Request(Request { options: Options::NONE, ..request }).to_vec().len();
        let cut = options_at + cut.index(whole.len() - options_at + 1);
        let Ok(Packet::Request(read)) = Packet::parse(&whole[..cut]) else {
            return Err(TestCaseError::fail("it is still a request"));
        };
        let before: Vec<_> = options.iter().take(read.options.iter().count()).collect();
        prop_assert_eq!(read.options.iter().collect::<Vec<_>>(), before);
    }
}

#[test]
fn values_are_read_and_converted_just_inside_their_range_and_not_outside() {
    for (bytes, legal) in [(7, false), (8, true), (65464, true), (65465, false)] {
        let size = BlockSize::try_from(bytes);
        assert_eq!(
            size.map(BlockSize::get),
            legal_or(legal, bytes.into(), IllegalValue::BlockSize)
        );
        assert_eq!(bytes.to_string().parse(), size, "{bytes}");
    }
    for (blocks, legal) in [(0, false), (1, true), (65535, true)] {
        let window = WindowSize::try_from(blocks);
        assert_eq!(window.map(WindowSize::get), legal_or(legal, blocks, IllegalValue::WindowSize));
        assert_eq!(blocks.to_string().parse(), window, "{blocks}");
    }
    for word in ["", "+8", " 8", "8 ", "0x8", "65536", "18446744073709551624"] {
        assert_eq!(word.parse::<BlockSize>(), Err(IllegalValue::BlockSize), "{word:?}");
        assert_eq!(word.parse::<WindowSize>(), Err(IllegalValue::WindowSize), "{word:?}");
    }
    let micros = Duration::from_micros;
    let cases = [(9_999, false), (10_000, true), (255_000_000, true), (255_000_001, false)];
    for (n, legal) in cases {
        let span = Interval::try_from(micros(n)).map(Duration::from);
        assert_eq!(span, legal_or(legal, micros(n), IllegalValue::Interval), "{n}");
    }
    assert_eq!(Interval::try_from(Duration::MAX), Err(IllegalValue::Interval));
}

fn legal_or<T>(legal: bool, value: T, why: IllegalValue) -> Result<T, IllegalValue> {
    if legal { Ok(value) } else { Err(why) }
}

#[test]
fn values_are_shown_as_they_are_read() {
    let (size, window) = (BlockSize::DEFAULT, WindowSize::LOCKSTEP);
    assert_eq!((size.to_string().as_str(), window.to_string().as_str()), ("512", "1"));
    let seconds = Interval::from(NonZeroU8::new(2).expect("not zero"));
    let part = Interval::from_micros(1_500_000).expect("in range");
    assert_eq!((seconds.to_string().as_str(), part.to_string().as_str()), ("2s", "1.5s"));
    assert_eq!((seconds.as_micros(), part.as_micros()), (2_000_000, 1_500_000));
    for mode in [Mode::Octet, Mode::Netascii] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
        assert_eq!(mode.name().to_uppercase().parse(), Ok(mode));
    }
    assert_eq!("mail".parse::<Mode>(), Err(IllegalValue::Mode));
    for kind in ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
    }
    assert_eq!("blocksize".parse::<OptionKind>(), Err(IllegalValue::OptionName));
}

const ALL: [OptionKind; 7] = [
    OptionKind::BlockSize,
    OptionKind::Timeout,
    OptionKind::MicroTimeout,
    OptionKind::TransferSize,
    OptionKind::WindowSize,
    OptionKind::Rollover,
    OptionKind::List,
];

#[test]
fn a_set_of_options_has_what_was_put_in_and_nothing_else() {
    assert_eq!(OptionSet::EMPTY, OptionSet::default());
    for kind in ALL {
        let one = OptionSet::EMPTY.with(kind);
        assert!(ALL.iter().all(|other| one.contains(*other) == (*other == kind)), "{kind}");
        assert_eq!(one.with(kind), one);
    }
    let all: OptionSet = ALL.into_iter().collect();
    assert!(ALL.iter().all(|kind| all.contains(*kind)));
    assert_eq!(format!("{:?}", OptionSet::EMPTY.with(OptionKind::List)), "{List}");
}

#[test]
fn options_lose_those_of_a_set_and_keep_their_order() {
    let size = TransferOption::TransferSize(7);
    let window = TransferOption::WindowSize(WindowSize::LOCKSTEP);
    let rollover = TransferOption::Rollover(Rollover::ToOne);
    let options = Options::from_iter([size, window, rollover, TransferOption::TransferSize(8)]);
    assert_eq!(options.iter().collect::<Vec<_>>(), [size, window, rollover], "the first counts");
    let names = OptionSet::EMPTY.with(OptionKind::WindowSize).with(OptionKind::BlockSize);
    assert_eq!(options.without(names), Options::from_iter([size, rollover]));
    assert_eq!(options.without(OptionSet::EMPTY), options);
    assert!(options.without(ALL.into_iter().collect()).is_empty());
}

#[test]
fn a_request_shows_its_name_as_text() {
    let (operation, mode) = (Operation::Read, Mode::Octet);
    let request = Request { operation, name: b"a \"b\"\n\xff", mode, options: Options::NONE };
    let shown =
        r#"Request { operation: Read, name: "a \"b\"\n\xff", mode: Octet, options: Options[] }"#;
    assert_eq!(format!("{request:?}"), shown);
}

#[test]
fn every_standard_error_has_its_text() {
    let texts = (0..=9).map(|number| ErrorCode::from(number).text()).collect::<Vec<_>>();
    assert_eq!((texts[0], texts[9]), ("error", "error"));
    for (number, word) in
        (1..).zip(["found", "access", "full", "illegal", "ID", "already", "user", "option"])
    {
        assert!(texts[number].contains(word), "{number}: {}", texts[number]);
    }
}
