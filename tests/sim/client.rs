//! Our own client in the simulation.

use super::disk::Library;
use super::engine::Engine;
use super::network::{Datagram, SERVER, STRANGER};
use super::world::Client;
use crate::client::Wishes;
use crate::proto::{Time, Timing};
use crate::transfer::Transfer;
use crate::wire::{Operation, Packet, Request};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

pub(crate) struct OwnClient {
    request: Request<'static>,
    timing: Timing,
    library: Library,
    pub(crate) engine: Engine,
    /// Its address; each time it is started anew it has the next port.
    pub(crate) address: SocketAddr,
    /// The server's port, once an answer has come.
    server: Option<SocketAddr>,
    /// When it is started anew, forgetting all.
    restarts: VecDeque<Time>,
    pub(crate) packets: u64,
}

impl OwnClient {
    pub(crate) fn new(
        address: SocketAddr,
        wishes: Wishes,
        request: Request<'static>,
        library: Library,
        restarts: VecDeque<Time>,
    ) -> Self {
        let timing = wishes.timing(request.operation);
        let engine = start(Time::START, timing, &request, &library);
        let (server, packets) = (None, 0);
        Self { request, timing, library, engine, address, server, restarts, packets }
    }

    fn restart(&mut self, now: Time) {
        self.engine = start(now, self.timing, &self.request, &self.library);
        self.address.set_port(self.address.port() + 1);
        self.server = None;
        self.packets = 0;
    }
}

fn start(now: Time, timing: Timing, request: &Request<'_>, library: &Library) -> Engine {
    if request.operation == Operation::Write {
        let (source, ledger) = library.source();
        Engine::new(now, Transfer::put(now, timing, request, source), ledger)
    } else {
        let (sink, ledger) = library.sink();
        Engine::new(now, Transfer::get(now, timing, request, sink), ledger)
    }
}

impl Client for OwnClient {
    fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    fn hear(&mut self, now: Time, datagram: &Datagram) -> bool {
        if datagram.to != self.address || self.engine.is_over() {
            return false;
        }
        match self.server {
            Some(server) if server != datagram.from => return false,
            Some(_) => {}
            None => {
                let packet = Packet::parse(&datagram.bytes);
                let answers = matches!(packet, Ok(packet) if packet.is_answer());
                if !answers || datagram.from == STRANGER {
                    return true;
                }
                self.server = Some(datagram.from);
            }
        }
        self.engine.datagram(now, datagram.bytes.clone());
        true
    }

    fn unreachable(&mut self, now: Time, datagram: &Datagram) {
        if datagram.from == self.address && self.server.is_none_or(|server| server == datagram.to) {
            self.engine.unreachable(now);
        }
    }

    fn wakes(&self) -> Option<Time> {
        let restart = self.restarts.front().copied();
        let engine = self.engine.wakes();
        engine.map(|at| restart.map_or(at, |restart| restart.min(at)))
    }

    fn run(&mut self, now: Time, send: &mut dyn FnMut(Datagram)) -> Result<(), String> {
        if self.restarts.front().is_some_and(|at| *at <= now) {
            self.restarts.pop_front();
            self.restart(now);
        }
        let (from, to) = (self.address, self.server.unwrap_or(SERVER));
        let mut packets = 0;
        self.engine.run(now, |bytes| {
            packets += 1;
            send(Datagram { from, to, bytes });
        })?;
        self.packets += packets;
        Ok(())
    }
}
