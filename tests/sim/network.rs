//! A network in virtual time: datagrams, and whatever happens to them on their way.

use super::random::Random;
use crate::proto::Time;
use crate::wire::Packet;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the server takes requests.
pub(crate) const SERVER: SocketAddr = address([192, 0, 2, 1], 69);
/// Another host, of which nobody asked anything.
pub(crate) const STRANGER: SocketAddr = address([198, 51, 100, 9], 1000);
/// A client.
pub(crate) const CLIENT: SocketAddr = address([10, 0, 0, 1], 2000);

pub(crate) const fn address([a, b, c, d]: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

/// What Ethernet, IPv4 and UDP add to a datagram, preamble and gap included.
const OVERHEAD: u64 = 66;

#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Datagram {
    /// Whether it travels to the server.
    pub(crate) fn is_upward(&self) -> bool {
        self.to.ip() == SERVER.ip()
    }
}

/// What can go wrong. Chances are in 10,000.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    /// That nothing passes for a while, and for how long at most.
    pub(crate) outage: u64,
    pub(crate) outage_for: Duration,
    pub(crate) copies: u64,
    /// That a datagram is held up and others overtake it; and for how long at most.
    pub(crate) late: u64,
    pub(crate) late_by: Duration,
    /// That a datagram is cut.
    pub(crate) cuts: u64,
    /// That a datagram is followed by one that makes no sense where it comes to.
    pub(crate) strays: u64,
    /// Every DATA arrives twice.
    pub(crate) doubled_data: bool,
    /// Every DATA whose block can be divided by this is lost the first time.
    pub(crate) lost_once: Option<u16>,
    /// This one of all datagrams, counted from 1, is held up for so long.
    pub(crate) held: Option<(u64, Duration)>,
}

/// The path, both ways alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    /// One way.
    pub(crate) delay: Duration,
    /// Up to so much is added to each, in order.
    pub(crate) jitter: Duration,
    /// How long a byte takes to be sent.
    pub(crate) nanos_per_byte: u64,
    /// Whether a closed port is told of.
    pub(crate) tells_closed: bool,
    /// Where it is narrow, if it is.
    pub(crate) bottleneck: Option<Bottleneck>,
}

/// A port with a rate, and room for what waits for it: what comes when that is full is lost. What comes after a pause
/// passes at once up to a burst, as through the token bucket that a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bottleneck {
    pub(crate) bits_per_second: u64,
    pub(crate) burst_bytes: u64,
    pub(crate) buffer_bytes: u64,
}

/// Headers of Ethernet, IPv4 and UDP, which the port counts.
const HEADERS: u64 = 42;

/// What did go wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) lost: u64,
    pub(crate) copied: u64,
    pub(crate) late: u64,
    pub(crate) strays: u64,
    /// Cut so that no packet was left.
    pub(crate) runts: u64,
    /// Requests and OACKs that were cut.
    pub(crate) cut: u64,
}

impl Harm {
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.copied + self.late + self.strays + self.runts + self.cut
    }
}

pub(crate) struct Network {
    pub(crate) faults: Faults,
    pub(crate) path: Path,
    pub(crate) harm: Harm,
    random: Random,
    under_way: BTreeMap<(Time, u64), Datagram>,
    /// Datagrams that were queued, and that were given to it.
    count: u64,
    carried: u64,
    /// One for each direction.
    lines: [Line; 2],
    lost_once: BTreeSet<u16>,
}

#[derive(Clone, Copy, Default)]
struct Line {
    /// When it has sent all that it was given.
    free_nanos: u64,
    /// When the last datagram arrives.
    arrives: Time,
    /// Nothing passes until then.
    out_until: Time,
    /// When the port would have passed all that it was given, had it no burst.
    passed_nanos: u64,
    /// What came last at one moment, and found so much waiting before it: none of it passes before all of it has come.
    burst_at: Time,
    found_nanos: u64,
    burst_nanos: u64,
}

impl Network {
    pub(crate) fn new(seed: u64, path: Path, faults: Faults) -> Self {
        Self {
            faults,
            path,
            harm: Harm::default(),
            random: Random::new(seed),
            under_way: BTreeMap::new(),
            count: 0,
            carried: 0,
            lines: [Line::default(); 2],
            lost_once: BTreeSet::new(),
        }
    }

    /// When something arrives.
    pub(crate) fn next(&self) -> Option<Time> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// What arrives by `now`.
    pub(crate) fn arrives(&mut self, now: Time) -> Option<Datagram> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Takes a datagram that leaves at `at`, and says what becomes of it.
    pub(crate) fn carry(&mut self, at: Time, mut datagram: Datagram) -> &'static str {
        self.carried += 1;
        let Some(at) = self.pass(at, &datagram) else { return " dropped" };
        let arrives = self.arrival(at, &datagram);
        let is_data = datagram.bytes.starts_with(&[0, 3]);
        if self.loses(at, &datagram, is_data) {
            self.harm.lost += 1;
            return " lost";
        }
        let mut fate = "";
        if self.random.happens(self.faults.cuts) {
            self.cut(&mut datagram);
            fate = " cut";
        }
        let copied = self.random.happens(self.faults.copies);
        if copied || (is_data && self.faults.doubled_data) {
            self.harm.copied += 1;
            let after = if copied { self.holdup() } else { Duration::ZERO };
            self.queue(arrives + after, datagram.clone());
            fate = " copied";
        }
        if self.random.happens(self.faults.strays) {
            self.stray(arrives, &datagram);
        }
        if let Some(by) = self.is_late() {
            self.harm.late += 1;
            self.queue(arrives + by, datagram);
            return " late";
        }
        self.queue(arrives, datagram);
        fate
    }

    fn queue(&mut self, at: Time, datagram: Datagram) {
        self.count += 1;
        self.under_way.insert((at, self.count), datagram);
    }

    /// By how much the datagram is late, if it is.
    fn is_late(&mut self) -> Option<Duration> {
        match self.faults.held {
            Some((place, by)) if place == self.carried => Some(by),
            _ => self.random.happens(self.faults.late).then(|| self.holdup()),
        }
    }

    fn holdup(&mut self) -> Duration {
        Duration::from_micros(self.random.below(self.faults.late_by.as_micros() as u64 + 1))
    }

    /// When it arrives if nothing happens to it: behind those before it.
    fn arrival(&mut self, at: Time, datagram: &Datagram) -> Time {
        let jitter = self.random.below(self.path.jitter.as_micros() as u64 + 1);
        let line = &mut self.lines[usize::from(datagram.is_upward())];
        let sending = (datagram.bytes.len() as u64 + OVERHEAD) * self.path.nanos_per_byte;
        line.free_nanos = line.free_nanos.max(at.as_micros() * 1000) + sending;
        let there = Time::from_micros(line.free_nanos / 1000 + jitter) + self.path.delay;
        line.arrives = line.arrives.max(there);
        line.arrives
    }

    /// When the datagram is behind the narrow place; `None` where there is no room before it.
    fn pass(&mut self, at: Time, datagram: &Datagram) -> Option<Time> {
        let Some(port) = self.path.bottleneck else { return Some(at) };
        let nanos = |bytes: u64| bytes * 8 * 1_000_000_000 / port.bits_per_second;
        let line = &mut self.lines[usize::from(datagram.is_upward())];
        let now = at.as_micros() * 1000;
        let len = datagram.bytes.len() as u64 + HEADERS;
        let burst = nanos(port.burst_bytes);
        if line.burst_at != at {
            line.found_nanos = line.passed_nanos.saturating_sub(burst).saturating_sub(now);
            (line.burst_at, line.burst_nanos) = (at, 0);
        }
        line.burst_nanos += nanos(len);
        if line.found_nanos + line.burst_nanos > nanos(port.buffer_bytes) {
            line.burst_nanos -= nanos(len);
            return None;
        }
        line.passed_nanos = line.passed_nanos.max(now) + nanos(len);
        let passes = line.passed_nanos.saturating_sub(burst).max(now);
        Some(Time::from_micros(passes.div_ceil(1000)))
    }

    fn loses(&mut self, at: Time, datagram: &Datagram, is_data: bool) -> bool {
        if let Some(every) = self.faults.lost_once
            && is_data
        {
            let block = u16::from_be_bytes([datagram.bytes[2], datagram.bytes[3]]);
            return block.is_multiple_of(every) && self.lost_once.insert(block);
        }
        let line = &mut self.lines[usize::from(datagram.is_upward())];
        if self.random.happens(self.faults.outage) {
            let micros = self.random.below(self.faults.outage_for.as_micros() as u64);
            line.out_until = at + Duration::from_micros(micros);
        }
        at < line.out_until || self.random.happens(self.faults.loss)
    }

    /// Cuts a datagram. DATA and ACK are cut to what is no packet any more, and an OACK never between two options:
    /// what is left would be another packet, and no receiver could tell.
    fn cut(&mut self, datagram: &mut Datagram) {
        let bytes = &mut datagram.bytes;
        let len = self.random.below(bytes.len() as u64) as usize;
        match bytes.get(1) {
            // A LIST that has lost its options asks for another form.
            Some(7) if Packet::parse(&bytes[..len]).is_ok() => {
                self.harm.cut += 1;
                bytes.truncate(len % 4);
            }
            Some(1 | 2 | 7) => {
                self.harm.cut += 1;
                bytes.truncate(len);
            }
            Some(6) if !matches!(Packet::parse(&bytes[..len]), Ok(Packet::Oack(_))) => {
                self.harm.cut += 1;
                bytes.truncate(len);
            }
            _ => {
                self.harm.runts += 1;
                bytes.truncate(len % 4);
            }
        }
    }

    /// Sends something behind a datagram that means nothing to the one who gets it.
    fn stray(&mut self, at: Time, datagram: &Datagram) {
        self.harm.strays += 1;
        let block = self.random.below(4) as u8;
        // From a stranger even an ERROR and the right kind of packet must go unheard.
        let stranger = self.random.happens(5_000);
        let echo_of_sender = match datagram.bytes.get(1) {
            Some(3) => 4,
            Some(4) => 3,
            _ => 9,
        };
        let bytes = match self.random.below(6) {
            0 => vec![0, echo_of_sender, 0, block],
            1 => vec![0, 9, 0, 0],
            2 => vec![0],
            3 if stranger => vec![0, 5, 0, 0, 0],
            4 if stranger => vec![0, 3, 0, 1, b'?'],
            5 if stranger => vec![0, 4, 0, block],
            _ => b"\0\x01other\0octet\0".to_vec(),
        };
        let from = if stranger { STRANGER } else { datagram.from };
        if datagram.to != SERVER {
            let at = at + self.holdup();
            self.queue(at, Datagram { from, to: datagram.to, bytes });
        }
    }
}
