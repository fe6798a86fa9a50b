//! Whoever wants to harm: forged requests, broken ones, packets to ports that are not theirs.

use super::network::{Datagram, SERVER, address};
use super::random::Random;
use super::world::Client;
use crate::proto::Time;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Sends what it has, and answers nothing.
pub(crate) struct Flood {
    ip: IpAddr,
    leaving: VecDeque<(Time, Datagram)>,
    asks_from: Vec<SocketAddr>,
}

impl Flood {
    /// The flood of one network, from one of its hosts or from many.
    pub(crate) fn new(random: &mut Random, network: u8) -> Self {
        let (many_hosts, many_ports) = (random.happens(5_000), random.happens(5_000));
        let kind = random.below(5);
        let mut now = Time::from_micros(random.below(100_000));
        let (mut leaving, mut asks_from) = (VecDeque::new(), Vec::new());
        let (most, span) = random.pick(&[(1, 1), (20, 20_000), (300, 20_000), (2_000, 1_000)]);
        for n in 0..most {
            let host = if many_hosts { n as u8 } else { 1 };
            let port = if many_ports { 3000 + n as u16 } else { 3000 };
            let from = address([203, 0, network, host], port);
            let (to, bytes) = match kind {
                0 => (SERVER, request(1, "file", "")),
                1 => (SERVER, request(2, "file", "")),
                // Ever other names from one port.
                2 => (SERVER, request(1, &format!("file-{n}"), "blksize\x0065464\0")),
                3 => (SERVER, b"\0\x01no end".to_vec()),
                _ => {
                    let port = 32_768 + random.below(28_000) as u16;
                    (SocketAddr::new(SERVER.ip(), port), vec![0, 4, 0, 1])
                }
            };
            asks_from.push(from);
            leaving.push_back((now, Datagram { from, to, bytes }));
            now = now + Duration::from_micros(random.below(span));
        }
        Self { ip: address([203, 0, network, 1], 0).ip(), leaving, asks_from }
    }

    /// Who asks in the name of another, and acknowledges as many windows as there may be, all of which he must guess.
    pub(crate) fn counting(from: SocketAddr, windows: u16, window: u16, every: Duration) -> Self {
        let options = format!("blksize\x001428\0windowsize\0{window}\0");
        let mut now = Time::START;
        let mut leaving: VecDeque<_> = [(now, request(1, "file", &options))].into();
        for n in 0..windows {
            now = now + every;
            leaving.push_back((now, [&[0, 4][..], &(n * window).to_be_bytes()].concat()));
        }
        let datagram = |(at, bytes)| (at, Datagram { from, to: SERVER, bytes });
        let leaving = leaving.into_iter().map(datagram).collect();
        Self { ip: from.ip(), leaving, asks_from: vec![from] }
    }

    pub(crate) fn asks_from(&self, peer: SocketAddr) -> bool {
        self.asks_from.contains(&peer)
    }
}

fn request(opcode: u8, name: &str, options: &str) -> Vec<u8> {
    [&[0, opcode][..], name.as_bytes(), b"\0octet\0", options.as_bytes()].concat()
}

impl Client for Flood {
    fn ip(&self) -> IpAddr {
        self.ip
    }

    fn hear(&mut self, _: Time, _: &Datagram) -> bool {
        true
    }

    fn wakes(&self) -> Option<Time> {
        self.leaving.front().map(|(at, _)| *at)
    }

    fn run(&mut self, now: Time, send: &mut dyn FnMut(Datagram)) -> Result<(), String> {
        let due = self.leaving.iter().take_while(|(at, _)| *at <= now).count();
        self.leaving.drain(..due).for_each(|(_, datagram)| send(datagram));
        Ok(())
    }
}
