//! Whole dialogues: both sides as they ship, and between them a network that the input commands.
//!
//! Without a stranger every promise must hold: what is stored is a front of the file, it is made visible whole or
//! not at all, and what can succeed does. A stranger may put any datagram into the dialogue, which no network that
//! the sockets connect to does; then nothing may panic, run on, send what is not the file's, or exceed a bound.

use super::fixtures;
use super::input::Input;
use super::side::{Disk, Fault, Side, pattern};
use std::collections::VecDeque;
use std::time::Duration;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Outcome, Terms, Transfer};
use tftpkit::wire::{BlockSize, Mode, Operation, Packet, WindowSize};

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Datagrams under way to one side at most; what is more is lost.
const UNDER_WAY: usize = 256;

/// No deadline is further away: three times the longest interval that can be negotiated.
const LONGEST_WAIT: Duration = Duration::from_secs(3 * 255);

/// So late a transfer that lives can still succeed: patience has not run out, whatever happened.
const IN_TIME: Duration = Duration::from_secs(10);

struct Dialogue {
    now: Time,
    sides: [Side; 2],
    /// What is under way, by who will get it.
    under_way: [VecDeque<Vec<u8>>; 2],
    /// When each side wants to be asked again; `None` when it is over.
    wakes: [Option<Time>; 2],
    /// Whether any datagram may turn up.
    stranger: bool,
    /// Whether something other than the network made it fail.
    disturbed: bool,
    /// Blocks of the file, at most.
    blocks: usize,
}

/// Each request of the fixtures opens a dialogue, and their other packets are what a stranger puts into it.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packets = fixtures::packets();
    let is_request = |bytes: &&Vec<u8>| matches!(bytes.get(1), Some(1 | 2 | 7));
    let (requests, others): (Vec<_>, Vec<_>) = packets.iter().partition(is_request);
    let mut others = others.iter().filter(|bytes| bytes.len() < 64).cycle();
    let mut seeds = Vec::new();
    for (n, request) in requests.iter().filter(|bytes| bytes.len() < 256).enumerate() {
        for stranger in [0, 1] {
            let mut seed = vec![stranger, 0, 0];
            seed.extend((n as u16 * 97).to_be_bytes());
            seed.extend([0x05, 0xbc, 8, 0x10, 0, 16, n as u8]);
            seed.push(request.len() as u8);
            seed.extend(*request);
            // Some rounds, then losses both ways with their timers, a duplicate, more rounds, and a moment.
            seed.extend([0x18, 0x04, 0x06, 0x05, 0x06, 0x02, 0x18, 0x27, 0x09]);
            for who in [CLIENT, SERVER] {
                let other = others.next().expect("it has no end");
                seed.extend([0x0b | (who as u8) << 4, other.len() as u8]);
                seed.extend(*other);
            }
            seeds.push(seed);
        }
    }
    seeds
}

pub(super) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if let Some(mut dialogue) = Dialogue::new(&mut input) {
        while !input.is_empty() && !dialogue.is_over() {
            dialogue.step(&mut input);
        }
        dialogue.play_on();
    }
}

impl Dialogue {
    /// Nothing, where the input has no request.
    fn new(input: &mut Input<'_>) -> Option<Self> {
        let stranger = input.flag();
        let faults = [Fault::of(input.byte()), Fault::of(input.byte())];
        let size = usize::from(input.u16() % 4096);
        let granted = GrantLimits {
            block_size: BlockSize::lowered(u64::from(input.u16()).max(8))?,
            window: WindowSize::new(u16::from(input.byte()).max(1))?,
            window_bytes: usize::from(input.u16()) * 16,
        };
        let read_ahead = usize::from(input.byte()) * 64;
        let piece = usize::from(input.byte()).max(1) * 16;
        let Ok(Packet::Request(request)) = Packet::parse(input.counted()) else { return None };

        let now = Time::START;
        let file: Vec<u8> = (0..size).map(pattern).collect();
        let [client, server] = faults.map(|fault| Disk::new(&file, fault, piece));
        let sends = request.operation == Operation::Write;
        let told = (!sends && request.mode == Mode::Octet && size > 0).then_some(size as u64);
        let (agreed, answer) = grant(request.operation, &request.options, &granted, told);
        let (mode, timing) = (request.mode, Timing::default());
        let terms = Terms { agreed, answer, mode, timing, read_ahead };
        let transfers = if sends {
            let client = Transfer::put(now, timing, &request, client.source());
            [client, Transfer::serve_write(now, &terms, server.sink())]
        } else {
            let client = Transfer::get(now, timing, &request, client.sink());
            [client, Transfer::serve_read(now, &terms, server.source())]
        };
        let [asking, serving] = transfers;
        let disturbed = faults.iter().any(|fault| fault.is_failure());
        let sides = [
            Side::new(asking, client, mode, sends, Packet::Request(request).to_vec()),
            Side::new(serving, server, mode, !sends, answer_of(&terms, sends)),
        ];
        let smallest = agreed.block_size().min(BlockSize::DEFAULT).get();
        let mut dialogue = Self {
            now,
            sides,
            under_way: Default::default(),
            wakes: [Some(now); 2],
            stranger,
            disturbed,
            blocks: 2 * size / smallest + 1,
        };
        dialogue.settle(CLIENT);
        // This one opened the server's side.
        dialogue.under_way[SERVER].pop_front().expect("the request is sent at once");
        dialogue.settle(SERVER);
        Some(dialogue)
    }

    fn is_over(&self) -> bool {
        self.wakes == [None, None]
    }

    /// Does what the input says.
    fn step(&mut self, input: &mut Input<'_>) {
        let byte = input.byte();
        let (what, much) = (byte % 16, usize::from(byte / 16));
        let who = much % 2;
        match what {
            0 | 1 => self.deliver(usize::from(what), much),
            2 | 3 => {
                let who = usize::from(what - 2);
                if let Some(datagram) = self.under_way[who].get(much).cloned() {
                    self.arrive(who, &datagram);
                }
            }
            4 | 5 => {
                self.under_way[usize::from(what - 4)].remove(much);
            }
            6 => (0..=much).for_each(|_| self.next_deadline()),
            7 => self.advance(self.now + Duration::from_micros(100 << much)),
            8 => {
                for _ in 0..=much {
                    self.deliver(SERVER, 0);
                    self.deliver(CLIENT, 0);
                }
            }
            9 => {
                self.sides[SERVER].transfer.repeat();
                self.settle(SERVER);
            }
            10 => self.disturb(who, much / 2),
            11 if self.stranger => {
                let datagram = input.counted();
                self.arrive(who, datagram);
            }
            12 if self.stranger => {
                let (at, change) = (input.byte(), input.byte());
                if let Some(datagram) = self.under_way[who].front_mut() {
                    let at = usize::from(at) % datagram.len();
                    datagram[at] ^= change;
                }
                self.deliver(who, 0);
            }
            13 if self.stranger => {
                let [high, low] = input.u16().to_be_bytes();
                self.arrive(who, &[0, 4, high, low]);
            }
            _ => {
                // Everything that is under way, to both.
                for who in [SERVER, CLIENT] {
                    (0..self.under_way[who].len()).for_each(|_| self.deliver(who, 0));
                }
            }
        }
    }

    fn disturb(&mut self, who: usize, how: usize) {
        self.disturbed = true;
        let transfer = &mut self.sides[who].transfer;
        match how {
            0 => transfer.stop(self.now, "shutting down"),
            1 => transfer.abandon(self.now),
            _ => transfer.unreachable(self.now),
        }
        self.settle(who);
    }

    fn deliver(&mut self, who: usize, which: usize) {
        if let Some(datagram) = self.under_way[who].remove(which) {
            self.arrive(who, &datagram);
        }
    }

    /// A datagram reaches this side. A request reaches a server elsewhere, and it knows whose it is.
    fn arrive(&mut self, who: usize, datagram: &[u8]) {
        if who == SERVER && datagram == self.sides[CLIENT].opening {
            self.sides[SERVER].transfer.repeat();
        } else {
            self.sides[who].hear(self.now, datagram);
        }
        self.settle(who);
    }

    /// Time passes until one of them wakes.
    fn next_deadline(&mut self) {
        if let Some(at) = self.wakes.iter().flatten().min() {
            self.advance(*at);
        }
    }

    fn advance(&mut self, at: Time) {
        self.now = at;
        for who in [CLIENT, SERVER] {
            if self.wakes[who].is_some_and(|wake| wake <= at) {
                self.settle(who);
            }
        }
    }

    /// Asks this side until it waits or is over, and holds all to what they promise.
    fn settle(&mut self, who: usize) {
        let (sent, until) = self.sides[who].run(self.now);
        for datagram in sent {
            if self.under_way[1 - who].len() < UNDER_WAY {
                self.under_way[1 - who].push_back(datagram);
            }
        }
        self.wakes[who] = until;
        if let Some(until) = until {
            assert!(until > self.now && until - self.now <= LONGEST_WAIT, "it waits for {until:?}");
        }
        self.hold();
    }

    fn hold(&self) {
        let [sending, receiving] = self.by_direction();
        sending.hold_what_is_sent();
        receiving.hold_what_is_stored(!self.stranger);
        if self.stranger {
            return;
        }
        if sending.outcome() == Some(&Outcome::Complete) {
            assert!(receiving.is_stored(), "it was told to have arrived");
        }
        for side in &self.sides {
            match side.outcome() {
                Some(Outcome::Oversized | Outcome::Disagreement(_)) => {
                    panic!("they do not understand each other: {side:?}")
                }
                Some(Outcome::PeerError(..)) => assert!(self.disturbed, "{side:?}"),
                _ => {}
            }
        }
    }

    fn by_direction(&self) -> [&Side; 2] {
        let [client, server] = &self.sides;
        if client.sends { [client, server] } else { [server, client] }
    }

    /// From here on the network is faultless, to the end.
    fn play_on(&mut self) {
        let [_, receiving] = self.by_direction();
        let must_succeed = !self.stranger
            && !self.disturbed
            && self.now - Time::START <= IN_TIME
            && self.wakes.iter().all(Option::is_some)
            && self.sides[SERVER].transfer.is_proven()
            && !receiving.is_stored();
        let most = 64 * self.blocks + 4096;
        let mut steps = 0;
        while !self.is_over() {
            steps += 1;
            assert!(steps <= most, "it has no end: {:?}", self.sides);
            let Some(who) =
                [SERVER, CLIENT].into_iter().find(|who| !self.under_way[*who].is_empty())
            else {
                self.next_deadline();
                continue;
            };
            if self.wakes[who].is_none() {
                // Its port is closed, and the network says so.
                self.under_way[who].clear();
                let other = 1 - who;
                self.sides[other].transfer.unreachable(self.now);
                self.settle(other);
            } else {
                self.deliver(who, 0);
            }
        }
        if must_succeed {
            let whole = |side: &Side| side.outcome() == Some(&Outcome::Complete);
            assert!(self.sides.iter().all(whole), "it could have succeeded: {:?}", self.sides);
        }
    }
}

/// What a server sends for block 0.
fn answer_of(terms: &Terms, receives: bool) -> Vec<u8> {
    match (terms.answer.is_empty(), receives) {
        (false, _) => Packet::Oack(terms.answer).to_vec(),
        (true, true) => vec![0, 4, 0, 0],
        (true, false) => Vec::new(),
    }
}
