//! What is granted, and what is accepted: never more than was asked, and the same on both sides.

use super::fixtures;
use super::input::Input;
use tftpkit::limits;
use tftpkit::proto::{Agreed, Disagreement, GrantLimits, accept, grant};
use tftpkit::wire::{
    BlockSize, DATA_HEADER, Operation, Options, Packet, Rollover, TransferOption, WindowSize,
};

/// The requests of the fixtures, each answered by each OACK of the fixtures that is short.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packets = fixtures::packets();
    let starting = |opcode| packets.iter().filter(move |bytes| bytes.get(1) == Some(&opcode));
    let oacks: Vec<_> = starting(6).map(|bytes| &bytes[2..]).collect();
    let requests = [1, 2, 7].into_iter().flat_map(starting);
    let options = requests.filter_map(|bytes| {
        let ends: Vec<_> = (2..bytes.len()).filter(|at| bytes[*at] == 0).collect();
        Some((bytes[1] % 3, &bytes[ends.get(1)? + 1..]))
    });
    let options = options.filter(|(_, options)| !options.is_empty() && options.len() <= 255);
    let limits = [255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 19, 136];
    options
        .zip(oacks.iter().cycle())
        .map(|((operation, options), oack)| {
            [&[operation], &limits[..], &[options.len() as u8], options, oack].concat()
        })
        .collect()
}

pub(super) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let operation = match input.byte() % 3 {
        0 => Operation::Write,
        1 => Operation::Read,
        _ => Operation::List,
    };
    let limits = GrantLimits::default()
        .block_size(BlockSize::lowered(u64::from(input.u16()).max(8)).expect("at least 8"))
        .window(WindowSize::new(input.u16().max(1)).expect("at least 1"))
        .window_bytes(usize::from(input.u16()) * 32);
    let size = input.flag().then(|| input.u64());
    let asked = asked(operation, input.counted());
    granted(operation, &asked, &limits, size);
    answered(&asked, input.rest());
}

/// The options of a request.
fn asked(operation: Operation, options: &[u8]) -> Options {
    let opcode = match operation {
        Operation::Read => 1,
        Operation::Write => 2,
        Operation::List => 7,
    };
    let datagram = [&[0, opcode], &b"f\0octet\0"[..], options].concat();
    match Packet::parse(&datagram) {
        Ok(Packet::Request(request)) => request.options,
        other => panic!("whatever its options, it is a request: {other:?}"),
    }
}

fn granted(operation: Operation, asked: &Options, limits: &GrantLimits, size: Option<u64>) {
    let (agreed, answer) = grant(operation, asked, limits, size);
    let mut left = asked.iter();
    for option in answer.iter() {
        let wish = left.find(|wish| wish.kind() == option.kind());
        let wish = wish.expect("what was asked, in the order in which it was asked");
        match (wish, option) {
            (TransferOption::BlockSize(wish), TransferOption::BlockSize(given)) => {
                assert!(given <= wish.min(limits.block_size));
            }
            (TransferOption::WindowSize(wish), TransferOption::WindowSize(given)) => {
                assert!(given <= wish.min(limits.window));
            }
            (TransferOption::TransferSize(_), TransferOption::TransferSize(given))
                if operation != Operation::Write =>
            {
                assert_eq!(Some(given), size);
            }
            (TransferOption::List(wish), TransferOption::List(given)) => {
                assert_eq!((wish, operation), (given, Operation::List));
            }
            (wish, given) => assert_eq!(wish, given),
        }
    }
    let (block_size, window) = (agreed.block_size().get(), agreed.window().get());
    let in_memory = usize::from(window) * (block_size + DATA_HEADER);
    assert!(window == 1 || in_memory <= limits.window_bytes, "{window} blocks of {block_size}");
    assert!(window <= limits::WIDEST_WINDOW);

    assert_eq!(accept(asked, &answer), Ok(agreed), "both sides have the same terms");
    if answer.is_empty() {
        assert_eq!(agreed, Agreed::default());
        return;
    }
    let oack = Packet::Oack(answer).to_vec();
    assert!(oack.len() <= DATA_HEADER + BlockSize::DEFAULT.get(), "{} bytes", oack.len());
    assert_eq!(Packet::parse(&oack), Ok(Packet::Oack(answer)));
}

/// A client that asked this gets any OACK.
fn answered(asked: &Options, oack: &[u8]) {
    let datagram = [&[0, 6], oack].concat();
    let Ok(Packet::Oack(answer)) = Packet::parse(&datagram) else { return };
    let find = |options: &Options, kind| options.iter().find(|option| option.kind() == kind);
    match accept(asked, &answer) {
        Ok(agreed) => {
            let all_asked = answer.iter().all(|given| find(asked, given.kind()).is_some());
            assert!(all_asked, "{answer} for {asked}");
            for wish in asked.iter() {
                let given = find(&answer, wish.kind());
                match wish {
                    TransferOption::BlockSize(most) if given.is_some() => {
                        assert!(agreed.block_size() <= most);
                    }
                    TransferOption::WindowSize(most) => assert!(agreed.window() <= most),
                    TransferOption::Rollover(asked) if given.is_some() => {
                        assert_eq!(agreed.rollover(), Some(asked));
                    }
                    TransferOption::List(asked) if given.is_some() => {
                        assert_eq!(agreed.list(), Some(asked));
                    }
                    _ => {}
                }
            }
            let rollovers = agreed.rollover().map(|rollover| matches!(rollover, Rollover::ToOne));
            let told = answer.iter().find_map(|option| match option {
                TransferOption::Rollover(rollover) => Some(rollover == Rollover::ToOne),
                _ => None,
            });
            assert_eq!(rollovers, told);
        }
        Err(Disagreement::NotAsked(kind)) => {
            assert!(find(asked, kind).is_none() && find(&answer, kind).is_some());
        }
        Err(Disagreement::Value(kind)) => {
            assert_ne!(find(asked, kind), find(&answer, kind), "it is as it was asked");
        }
        Err(other) => panic!("{other}"),
    }
}
