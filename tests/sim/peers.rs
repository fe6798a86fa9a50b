//! Foreign clients as captures show them: what they ask, what they acknowledge, and when they say it again.

use super::network::{Datagram, SERVER};
use super::world::Client;
use crate::proto::Time;
use crate::wire::{OptionKind, Options, Packet, TransferOption, WireBlock};
use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What distinguishes one kind of client from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) name: &'static str,
    pub(crate) options: &'static [(&'static str, &'static str)],
    pub(crate) block_size: usize,
    pub(crate) window: u64,
    /// Asks for the size first, ends that with ERROR 8, and asks again from the next port.
    pub(crate) probes: bool,
    pub(crate) stray: Stray,
    /// Milliseconds until it says the same again: the first, by how many percent each is longer, the longest.
    pub(crate) repeats: (u64, u64, u64),
    pub(crate) repeats_acks: bool,
    /// Sends its request to the session's port, too, until DATA comes.
    pub(crate) asks_the_session: bool,
    /// Its queue holds so many blocks; its consumer takes one in so many milliseconds. While the queue is full it
    /// does not look at the network.
    pub(crate) consumer: Option<(usize, u64)>,
    /// Its last word is an ERROR of four bytes.
    pub(crate) parts_with_error: bool,
    /// Without progress for so long it gives up.
    pub(crate) patience_secs: u64,
}

/// What a client does with a block that is not the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// Acknowledges its last block in order, each time.
    EachTime,
    /// The same, once for each block in order.
    Once,
    /// Acknowledges an earlier block as if it were new; ignores a later one.
    Duplicates,
}

const LOCKSTEP: Habits = Habits {
    name: "",
    options: &[],
    block_size: 512,
    window: 1,
    probes: false,
    stray: Stray::Duplicates,
    repeats: (1000, 100, 8000),
    repeats_acks: true,
    asks_the_session: false,
    consumer: None,
    parts_with_error: false,
    patience_secs: 60,
};

pub(crate) const EDK2: Habits = Habits {
    name: "EDK2",
    options: &[("blksize", "1468"), ("windowsize", "4")],
    block_size: 1468,
    window: 4,
    probes: true,
    stray: Stray::EachTime,
    repeats: (4100, 100, 4100),
    patience_secs: 25,
    ..LOCKSTEP
};

pub(crate) const UBOOT: Habits = Habits {
    name: "U-Boot",
    options: &[("timeout", "5"), ("blksize", "1468"), ("windowsize", "8")],
    block_size: 1468,
    window: 8,
    stray: Stray::Once,
    repeats: (5000, 100, 5000),
    patience_secs: 55,
    ..LOCKSTEP
};

pub(crate) const PXELINUX: Habits = Habits {
    name: "PXELINUX",
    options: &[("tsize", "0"), ("blksize", "1408")],
    block_size: 1408,
    repeats: (80, 120, 14_000),
    patience_secs: 120,
    ..LOCKSTEP
};

pub(crate) const GRUB: Habits = Habits {
    name: "GRUB",
    options: &[("blksize", "1024"), ("tsize", "0")],
    block_size: 1024,
    repeats: (400, 105, 1160),
    repeats_acks: false,
    asks_the_session: true,
    consumer: Some((50, 3)),
    patience_secs: 34,
    ..LOCKSTEP
};

pub(crate) const BUSYBOX: Habits =
    Habits { name: "busybox", options: &[("tsize", "0")], repeats: (100, 150, 2000), ..LOCKSTEP };

pub(crate) const CURL: Habits = Habits {
    name: "curl",
    options: &[("tsize", "0"), ("blksize", "512"), ("timeout", "6")],
    repeats: (7000, 100, 7000),
    parts_with_error: true,
    patience_secs: 120,
    ..LOCKSTEP
};

pub(crate) const ALL: [Habits; 6] = [EDK2, UBOOT, PXELINUX, GRUB, BUSYBOX, CURL];

pub(crate) struct Peer {
    habits: Habits,
    file: Arc<Vec<u8>>,
    pub(crate) address: SocketAddr,
    /// The server's port, once it has answered.
    session: Option<SocketAddr>,
    state: State,
    /// What was granted.
    block_size: usize,
    window: u64,
    /// The last block in order, and the one at which the next acknowledgement is due.
    block: u64,
    due: u64,
    got: usize,
    /// The block for which a stray one has been answered.
    told: Option<u64>,
    /// Blocks that the consumer has not taken yet, and when it takes the next.
    queued: usize,
    takes: Option<Time>,
    stalled: bool,
    unseen: Vec<Datagram>,
    last: Vec<u8>,
    leaving: Vec<Datagram>,
    repeat_at: Time,
    interval: u64,
    progress_at: Time,
    wrong: Option<String>,
    /// How many more times it wants the file, from the same port.
    pub(crate) files: u32,
    /// When it is reset in the middle.
    pub(crate) resets_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Probing,
    Asking,
    Receiving,
    /// Whether it has the file.
    Over(bool),
}

impl Peer {
    pub(crate) fn new(habits: Habits, file: Arc<Vec<u8>>, address: SocketAddr) -> Self {
        Self {
            habits,
            file,
            address,
            session: None,
            state: State::Start,
            block_size: habits.block_size,
            window: habits.window,
            block: 0,
            due: habits.window,
            got: 0,
            told: None,
            queued: 0,
            takes: None,
            stalled: false,
            unseen: Vec::new(),
            last: Vec::new(),
            leaving: Vec::new(),
            repeat_at: Time::START,
            interval: habits.repeats.0,
            progress_at: Time::START,
            wrong: None,
            files: 1,
            resets_at: None,
        }
    }

    pub(crate) fn has_the_file(&self) -> bool {
        self.state == State::Over(true)
    }

    /// When the last new thing came.
    pub(crate) const fn progress_at(&self) -> Time {
        self.progress_at
    }

    fn ask(&mut self, now: Time) {
        let probes = self.habits.probes && self.state == State::Start;
        self.state = if probes { State::Probing } else { State::Asking };
        let mut request = b"\0\x01file\0octet\0".to_vec();
        let size: &[_] = if probes { &[("tsize", "0")] } else { &[] };
        for (name, value) in size.iter().chain(self.habits.options) {
            request.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
        }
        self.session = None;
        self.progressed(now);
        self.say(now, request);
    }

    /// Something new came: the intervals begin anew.
    fn progressed(&mut self, now: Time) {
        self.progress_at = now;
        self.interval = self.habits.repeats.0;
    }

    fn say(&mut self, now: Time, bytes: Vec<u8>) {
        let to = self.session.unwrap_or(SERVER);
        self.last.clone_from(&bytes);
        self.leaving.push(Datagram { from: self.address, to, bytes });
        self.repeat_at = now + Duration::from_millis(self.interval);
    }

    fn acknowledge(&mut self, now: Time) {
        self.due = self.block + self.window;
        self.stalled = false;
        self.say(now, Packet::Ack { block: WireBlock(self.block as u16) }.to_vec());
    }

    /// The options came, or came again.
    fn agreed(&mut self, now: Time, options: &Options) {
        let size = options.find(OptionKind::TransferSize);
        if self.state == State::Probing {
            if size != Some(TransferOption::TransferSize(self.file.len() as u64)) {
                self.wrong = Some(format!("the size is {size:?}"));
            }
            let bytes = b"\0\x05\0\x08User aborted the transfer\0".to_vec();
            let to = self.session.unwrap_or(SERVER);
            self.leaving.push(Datagram { from: self.address, to, bytes });
            self.address.set_port(self.address.port() + 1);
            self.ask(now);
        } else if self.block == 0 {
            if self.state == State::Asking {
                self.progressed(now);
            }
            self.state = State::Receiving;
            (self.block_size, self.window) = (512, 1);
            if let Some(TransferOption::BlockSize(size)) = options.find(OptionKind::BlockSize) {
                self.block_size = size.get();
            }
            if let Some(TransferOption::WindowSize(window)) = options.find(OptionKind::WindowSize) {
                self.window = window.get().into();
            }
            self.acknowledge(now);
        }
    }

    fn data(&mut self, now: Time, number: u16, payload: &[u8]) {
        if number != (self.block + 1) as u16 {
            return self.stray(now, number);
        }
        let end = self.got + payload.len();
        if self.file.get(self.got..end) != Some(payload) {
            self.wrong = Some(format!("block {number} is not the file's"));
        }
        (self.got, self.block) = (end, self.block + 1);
        self.progressed(now);
        self.repeat_at = now + Duration::from_millis(self.interval);
        if payload.len() < self.block_size {
            return self.part(now);
        }
        if let Some((room, millis)) = self.habits.consumer {
            self.queued += 1;
            let takes = now + Duration::from_millis(millis);
            self.takes = self.takes.or(Some(takes));
            self.stalled = self.queued >= room;
        }
        if self.block == self.due && !self.stalled {
            self.acknowledge(now);
        }
    }

    fn stray(&mut self, now: Time, number: u16) {
        let earlier = (self.block as u16).wrapping_sub(number) < 1 << 15;
        match self.habits.stray {
            Stray::EachTime => self.acknowledge(now),
            Stray::Once if self.told != Some(self.block) => {
                self.told = Some(self.block);
                self.acknowledge(now);
            }
            // Each copy gets the acknowledgement of its own block, while the last one stays what is repeated.
            Stray::Duplicates if earlier => {
                let bytes = Packet::Ack { block: WireBlock(number) }.to_vec();
                let to = self.session.unwrap_or(SERVER);
                self.leaving.push(Datagram { from: self.address, to, bytes });
            }
            Stray::Once | Stray::Duplicates => {}
        }
    }

    /// The last block came: says goodbye and closes its port.
    fn part(&mut self, now: Time) {
        self.acknowledge(now);
        if self.habits.parts_with_error {
            let [high, low] = (self.block as u16).to_be_bytes();
            self.say(now, vec![0, 5, high, low]);
        }
        if self.got != self.file.len() {
            self.wrong = Some(format!("it ends after {} bytes", self.got));
        }
        self.files -= 1;
        self.state = State::Over(true);
        if self.files > 0 {
            self.start_anew();
        }
    }

    /// Forgets all and asks again, from the same port.
    fn start_anew(&mut self) {
        let fresh = Self::new(self.habits, Arc::clone(&self.file), self.address);
        let leaving = std::mem::take(&mut self.leaving);
        *self = Self { files: self.files, wrong: self.wrong.take(), leaving, ..fresh };
    }

    /// The consumer takes a block; with room again, the block that waits is acknowledged.
    fn consume(&mut self, now: Time) {
        let Some((_, millis)) = self.habits.consumer else { return };
        self.queued -= 1;
        self.takes = (self.queued > 0).then(|| now + Duration::from_millis(millis));
        if std::mem::take(&mut self.stalled) {
            self.acknowledge(now);
            for datagram in std::mem::take(&mut self.unseen) {
                self.hear(now, &datagram);
            }
        }
    }

    fn repeat(&mut self, now: Time) {
        let (_, percent, most) = self.habits.repeats;
        self.interval = (self.interval * percent / 100).min(most);
        self.repeat_at = now + Duration::from_millis(self.interval);
        if self.state == State::Receiving && !self.habits.repeats_acks {
            return;
        }
        let session =
            self.session.filter(|_| self.state == State::Receiving || self.habits.asks_the_session);
        let to = session.unwrap_or(SERVER);
        self.leaving.push(Datagram { from: self.address, to, bytes: self.last.clone() });
    }

    fn gives_up_at(&self) -> Time {
        self.progress_at + Duration::from_secs(self.habits.patience_secs)
    }
}

impl Client for Peer {
    fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    fn hear(&mut self, now: Time, datagram: &Datagram) -> bool {
        if datagram.to != self.address || matches!(self.state, State::Over(_)) {
            return false;
        }
        // All of them ask with options: the first answer is an OACK, and where it comes from is the session.
        let first = datagram.bytes.starts_with(&[0, 6]);
        if self.session.is_none() && first {
            self.session = Some(datagram.from);
        }
        if self.session != Some(datagram.from) {
            return true;
        }
        if self.stalled {
            self.unseen.push(datagram.clone());
            return true;
        }
        match Packet::parse(&datagram.bytes) {
            Ok(Packet::Oack(options)) => self.agreed(now, &options),
            Ok(Packet::Data { block, payload }) if self.state == State::Receiving => {
                self.data(now, block.0, payload);
            }
            Ok(Packet::Error { .. }) => self.state = State::Over(false),
            _ => {}
        }
        true
    }

    fn wakes(&self) -> Option<Time> {
        if !self.leaving.is_empty() || self.state == State::Start {
            return Some(Time::START);
        }
        if matches!(self.state, State::Over(_)) {
            return None;
        }
        let soonest = self.repeat_at.min(self.gives_up_at());
        [self.takes, self.resets_at].into_iter().flatten().chain([soonest]).min()
    }

    fn run(&mut self, now: Time, send: &mut dyn FnMut(Datagram)) -> Result<(), String> {
        if self.resets_at.is_some_and(|at| at <= now) {
            self.start_anew();
            self.leaving.clear();
        }
        if self.state == State::Start {
            self.ask(now);
        }
        let over = matches!(self.state, State::Over(_));
        if !over && self.takes.is_some_and(|at| at <= now) {
            self.consume(now);
        }
        if !over && now >= self.gives_up_at() {
            self.state = State::Over(false);
        } else if !over && now >= self.repeat_at {
            self.repeat(now);
        }
        self.leaving.drain(..).for_each(send);
        self.wrong.clone().map_or(Ok(()), Err)
    }
}
