//! Our own client in the simulation.

use crate::disk::Library;
use crate::engine::Engine;
use crate::network::{Datagram, Port, REQUESTS, STRANGER};
use crate::world::Client;
use std::collections::VecDeque;
use tftpkit::client::Wishes;
use tftpkit::proto::{Time, Timing};
use tftpkit::transfer::Transfer;
use tftpkit::wire::{Operation, Packet, Request};

/// The first of its ports.
pub(crate) const PORT: Port = 2000;

pub(crate) struct OwnClient {
    request: Request<'static>,
    timing: Timing,
    library: Library,
    pub(crate) engine: Engine,
    port: Port,
    /// The server's port, once an answer has come.
    server: Option<Port>,
    /// When it is started anew, forgetting all.
    restarts: VecDeque<Time>,
    pub(crate) packets: u64,
}

impl OwnClient {
    pub(crate) fn new(
        request: Request<'static>,
        library: Library,
        restarts: VecDeque<Time>,
    ) -> Self {
        let timing = Wishes::default().timing(request.operation);
        let engine = start(Time::START, timing, &request, &library);
        let (port, server, packets) = (PORT, None, 0);
        Self { request, timing, library, engine, port, server, restarts, packets }
    }

    fn restart(&mut self, now: Time) {
        self.engine = start(now, self.timing, &self.request, &self.library);
        self.port += 1;
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
    fn hear(&mut self, now: Time, datagram: &Datagram) -> bool {
        if datagram.to != self.port || self.engine.is_over() {
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
        if datagram.from == self.port && self.server.is_none_or(|server| server == datagram.to) {
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
        let (from, to) = (self.port, self.server.unwrap_or(REQUESTS));
        let mut packets = 0;
        self.engine.run(now, |bytes| {
            packets += 1;
            send(Datagram { from, to, bytes });
        })?;
        self.packets += packets;
        Ok(())
    }
}
