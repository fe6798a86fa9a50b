//! One client, one server, the network between them, and the time.

use crate::network::{Datagram, Network, REQUESTS};
use crate::server::Server;
use core::time::Duration;
use tftpkit::proto::Time;
use tftpkit::wire::{Mode, Operation, Options, Packet, Request};

/// The side that asks, ours or another.
pub(crate) trait Client {
    /// A datagram came; `false` says that nobody listens there.
    fn hear(&mut self, now: Time, datagram: &Datagram) -> bool;
    /// Nobody listens where this was sent.
    fn unreachable(&mut self, _now: Time, _datagram: &Datagram) {}
    /// When it wants its turn; `None` when it is over.
    fn wakes(&self) -> Option<Time>;
    /// Takes its turn.
    fn run(&mut self, now: Time, send: &mut dyn FnMut(Datagram)) -> Result<(), String>;
}

pub(crate) struct World<C> {
    pub(crate) client: C,
    pub(crate) server: Server,
    pub(crate) network: Network,
    pub(crate) now: Time,
    /// Whether every step is printed.
    pub(crate) trace: bool,
}

/// No transfer of a simulation lasts so long.
const END_OF_TIME: Duration = Duration::from_secs(4 * 3600);

pub(crate) fn request(operation: Operation, mode: Mode, options: Options) -> Request<'static> {
    Request { operation, name: b"file", mode, options }
}

impl<C: Client> World<C> {
    pub(crate) const fn new(client: C, server: Server, network: Network) -> Self {
        Self { client, server, network, now: Time::START, trace: false }
    }

    /// Runs until all is over. At every step the invariants must hold.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut steps_at_once = 0;
        while let Some(next) = self.next() {
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            self.now = self.now.max(next);
            if self.now > Time::START + END_OF_TIME || steps_at_once > 100_000 {
                return Err("it does not end".into());
            }
            while let Some(datagram) = self.network.arrives(self.now) {
                self.deliver(&datagram);
                self.turns()?;
            }
            self.turns()?;
        }
        match (self.client.wakes(), self.server.wakes()) {
            (None, None) => Ok(()),
            _ => Err("someone waits for ever".into()),
        }
    }

    fn next(&self) -> Option<Time> {
        let times = [self.client.wakes(), self.server.wakes(), self.network.next()];
        let over = times[..2] == [None, None];
        times.into_iter().flatten().min().filter(|_| !over)
    }

    fn turns(&mut self) -> Result<(), String> {
        let Self { client, server, network, now, trace } = self;
        let mut send = |datagram| carry(network, *trace, *now, datagram);
        if client.wakes().is_some_and(|at| at <= *now) {
            client.run(*now, &mut send)?;
        }
        server.run(*now, send)?;
        let wrong = |session: &crate::server::Session| session.engine.ledger.get().wrong.clone();
        server.sessions.iter().find_map(wrong).map_or(Ok(()), Err)
    }

    fn deliver(&mut self, datagram: &Datagram) {
        if self.trace {
            println!("{} -> {}", shown(self.now), described(datagram));
        }
        let heard = if datagram.to == REQUESTS {
            if let Some(answer) = self.server.asked(self.now, datagram) {
                carry(&mut self.network, self.trace, self.now, answer);
            }
            true
        } else if datagram.is_upward() {
            let now = self.now;
            self.server.session(datagram.to).is_some_and(|session| session.hear(now, datagram))
        } else {
            self.client.hear(self.now, datagram)
        };
        if !heard && self.network.path.tells_closed {
            self.tell_closed(datagram);
        }
    }

    /// The port is closed: its sender learns of it, the way back taking no time.
    fn tell_closed(&mut self, datagram: &Datagram) {
        if self.trace {
            println!("{} -> closed port {}", shown(self.now), datagram.to);
        }
        let now = self.now;
        if datagram.is_upward() {
            self.client.unreachable(now, datagram);
        } else if let Some(session) = self.server.session(datagram.from)
            && session.peer == datagram.to
        {
            session.engine.unreachable(now);
        }
    }
}

fn carry(network: &mut Network, trace: bool, at: Time, datagram: Datagram) {
    let text = trace.then(|| described(&datagram));
    let fate = network.carry(at, datagram);
    if let Some(text) = text {
        println!("{} {text}{fate}", shown(at));
    }
}

fn shown(at: Time) -> String {
    format!("{:12.3} ms", at.as_micros() as f64 / 1000.0)
}

fn described(datagram: &Datagram) -> String {
    let Datagram { from, to, bytes } = datagram;
    let what = Packet::parse(bytes).map_or_else(|why| why.to_string(), |packet| packet.to_string());
    format!("{from} > {to} {what}")
}
