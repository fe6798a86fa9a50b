//! Whole dialogues: both sides as they ship, and between them a network that the input commands.
//!
//! Without a stranger every promise must hold: what is stored is a front of the file, it is made visible whole or
//! not at all, and what can succeed does. A stranger may put any datagram into the dialogue, which no network that
//! the sockets connect to does; then nothing may panic, run on, send what is not the file's, or exceed a bound.

use super::fixtures;
use super::fixtures::script::{Datagram, Event, Script, What};
use super::input::Input;
use super::side::{Disk, Fault, Side, pattern};
use std::collections::VecDeque;
use std::time::Duration;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Outcome, Terms, Transfer};
use tftpkit::wire::{BlockSize, Mode, Operation, OptionKind, Packet, TransferOption, WindowSize};

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// The file is shorter.
const MOST_BYTES: usize = 4096;

/// Datagrams under way to one side at most; what is more is lost.
const UNDER_WAY: usize = 256;

/// No deadline is further away: three times the longest interval that can be negotiated.
const LONGEST_WAIT: Duration = Duration::from_secs(3 * 255);

/// So late a transfer that lives can still succeed: patience has not run out, whatever happened.
const IN_TIME: Duration = Duration::from_secs(10);

/// So often the two wait in vain at most while nothing goes on: patience is 30 s, and the shortest interval that can be
/// negotiated 10 ms.
const VAIN_WAITS: usize = 2 * 30_000 / 10;

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

/// Each request of the fixtures opens a dialogue on a network that loses something; and each dialogue of the fixtures
/// is one with a stranger, who says what comes there.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let packets = fixtures::packets();
    let requests = packets.iter().filter(|bytes| matches!(bytes.get(1), Some(1 | 2 | 7)));
    let opened = requests.filter(|request| request.len() <= 255).enumerate().map(|(n, request)| {
        let mut seed = beginning(false, n * 97, request, (1468, 8, 1 << 16));
        // Some rounds, then losses both ways with their timers, a duplicate, more rounds, and a moment.
        seed.extend([0x18, 0x04, 0x06, 0x05, 0x06, 0x02, 0x18, 0x27]);
        seed
    });
    opened.chain(fixtures::timelines().iter().filter_map(played)).collect()
}

/// The input up to the first step.
fn beginning(
    stranger: bool,
    size: usize,
    request: &[u8],
    (block_size, window, window_bytes): (u16, u8, usize),
) -> Vec<u8> {
    let mut input = vec![u8::from(stranger), 0, 0];
    input.extend((size as u16).to_be_bytes());
    input.extend(block_size.to_be_bytes());
    input.push(window);
    input.extend(((window_bytes / 16).min(usize::from(u16::MAX)) as u16).to_be_bytes());
    input.extend([16, 255, request.len() as u8]);
    input.extend(request);
    input
}

/// Nothing, where the dialogue is too long.
fn played(script: &Script) -> Option<Vec<u8>> {
    let (first, who) = match &script.lines[0].what {
        What::Comes(Datagram::Bytes(first)) => (first, SERVER),
        What::Leaves(Datagram::Bytes(first)) => (first, CLIENT),
        _ => return None,
    };
    if script.local.len() >= MOST_BYTES || script.lines.len() > 200 {
        return None;
    }
    let most = &script.limits;
    let window = most.window.get().min(255) as u8;
    let shape = (most.block_size.get() as u16, window, most.window_bytes);
    let mut input = beginning(true, script.local.len(), first, shape);
    let mut now = Time::START;
    for line in &script.lines[1..] {
        let ticks = (line.at - now).as_micros() / 100;
        now = line.at;
        input.extend((0..16).filter(|bit| ticks >> bit & 1 == 1).map(|bit| bit << 4 | 7));
        let which = (who as u8) << 4;
        match &line.what {
            What::Comes(Datagram::Data(_, number, len)) => {
                input.push(which | 14);
                input.extend(number.to_be_bytes());
                input.extend((*len as u16).to_be_bytes());
            }
            What::Comes(Datagram::Bytes(bytes)) => {
                input.extend([which | 11, bytes.len() as u8]);
                input.extend(bytes);
            }
            What::Happens(Event::Repeat) => input.push(9),
            What::Happens(Event::Stop) => input.push(which | 10),
            What::Happens(Event::Abandon) => input.push(which | 0x20 | 10),
            What::Happens(Event::Unreachable) => input.push(which | 0x40 | 10),
            _ => {}
        }
    }
    Some(input)
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
        let size = usize::from(input.u16()) % MOST_BYTES;
        let granted = GrantLimits::default()
            .block_size(BlockSize::lowered(u64::from(input.u16()).max(8))?)
            .window(WindowSize::new(u16::from(input.byte()).max(1))?)
            .window_bytes(usize::from(input.u16()) * 16);
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
        let terms = Terms { agreed, answer, mode, timing };
        let transfers = if sends {
            let client = Transfer::put(now, timing, &request, client.source());
            [client, Transfer::serve_write(now, &terms, server.sink())]
        } else {
            let client = Transfer::get(now, timing, &request, client.sink());
            let mut server = Transfer::serve_read(now, &terms, server.source());
            server.set_buffer(read_ahead);
            [client, server]
        };
        let [asking, serving] = transfers;
        let short = match answer.find(OptionKind::TransferSize) {
            Some(TransferOption::TransferSize(bytes)) => {
                sends && request.mode == Mode::Octet && bytes > size as u64
            }
            _ => false,
        };
        let disturbed = short || faults.iter().any(|fault| fault.is_failure());
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
                self.sides[SERVER].repeat();
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
            14 if self.stranger => {
                let (number, len) = (input.u16(), input.u16() % 2048);
                let datagram = self.sides[1 - who].block(number, len.into());
                self.arrive(who, &datagram);
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
            self.sides[SERVER].repeat();
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
        // After each of those waits a repeat arrives, and it may be answered.
        let most = 64 * self.blocks + 4096 + 3 * VAIN_WAITS;
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
