//! What is outside of the server's machine: clients, the network, and whoever stops the server.

use super::machine::Action;
use super::network::{Datagram, Network, SERVER};
use super::sockets::{SocketId, Sockets};
use crate::limits;
use crate::proto::Time;
use crate::wire::{BlockSize, Packet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// The side that asks, ours or another.
pub(crate) trait Client: Send {
    /// Its host.
    fn ip(&self) -> IpAddr;
    /// A datagram came; `false` says that nobody listens there.
    fn hear(&mut self, now: Time, datagram: &Datagram) -> bool;
    /// Nobody listens where this was sent.
    fn unreachable(&mut self, _now: Time, _datagram: &Datagram) {}
    /// When it wants its turn; `None` when it is over.
    fn wakes(&self) -> Option<Time>;
    /// Takes its turn.
    fn run(&mut self, now: Time, send: &mut dyn FnMut(Datagram)) -> Result<(), String>;
}

pub(crate) type Shared<C> = Arc<Mutex<C>>;

pub(crate) struct World {
    clients: Vec<Shared<dyn Client>>,
    hosts: BTreeMap<IpAddr, Vec<usize>>,
    /// When each client wants its turn.
    wakes: Vec<Option<Time>>,
    turns: BTreeSet<(Time, usize)>,
    pub(crate) network: Network,
    /// What is done to the server, and when.
    pub(crate) actions: BTreeMap<Time, Action>,
    /// What is done to it when nothing happens any more.
    pub(crate) when_quiet: Option<Action>,
    /// What each socket of the server sent, and to whom.
    pub(crate) sent: BTreeMap<(SocketId, SocketAddr), Sent>,
    /// How many requests of each client came to the server.
    requests: BTreeMap<SocketAddr, usize>,
    /// Whether every step is printed.
    pub(crate) trace: bool,
}

/// What a socket sent to its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    /// When it was closed.
    pub(crate) closed: Option<Time>,
    /// Packets and bytes before what only the one who was answered can send came from the peer.
    unproven: (u64, usize),
    pub(crate) is_proven: bool,
}

impl Sent {
    /// Whether more was sent than an ERROR without a text.
    pub(crate) const fn has_text(&self) -> bool {
        self.unproven.1 > 5
    }
}

impl World {
    pub(crate) fn new(network: Network, clients: Vec<Shared<dyn Client>>) -> Self {
        let mut hosts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (place, client) in clients.iter().enumerate() {
            hosts.entry(client.lock().expect("no panic").ip()).or_default().push(place);
        }
        let mut world = Self {
            wakes: vec![None; clients.len()],
            turns: BTreeSet::new(),
            clients,
            hosts,
            network,
            actions: BTreeMap::new(),
            when_quiet: None,
            sent: BTreeMap::new(),
            requests: BTreeMap::new(),
            trace: false,
        };
        (0..world.clients.len()).for_each(|place| world.ask_again(place));
        world
    }

    /// Asks a client to which something happened when it wants its turn.
    fn ask_again(&mut self, place: usize) {
        let wakes = self.clients[place].lock().expect("no panic").wakes();
        if let Some(before) = std::mem::replace(&mut self.wakes[place], wakes) {
            self.turns.remove(&(before, place));
        }
        self.turns.extend(wakes.map(|at| (at, place)));
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Time> {
        let wakes = self.turns.first().map(|(at, _)| *at);
        let action = self.actions.first_key_value().map(|(at, _)| *at);
        wakes.into_iter().chain(self.network.next()).chain(action).min()
    }

    /// Something happens: an action, one datagram that arrives, or the turns of all clients that are due.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        sockets: &mut Sockets,
    ) -> Result<Option<Action>, String> {
        if let Some(action) = self.actions.first_entry().filter(|first| *first.key() <= now) {
            return Ok(Some(action.remove()));
        }
        if let Some(datagram) = self.network.arrives(now) {
            if self.trace {
                println!("{} -> {}", shown(now), described(&datagram));
            }
            self.deliver(now, sockets, datagram)?;
            return Ok(None);
        }
        let due: Vec<_> = self.turns.iter().take_while(|(at, _)| *at <= now).copied().collect();
        due.into_iter().try_for_each(|(_, place)| self.turn(now, place))?;
        Ok(None)
    }

    fn turn(&mut self, now: Time, place: usize) -> Result<(), String> {
        self.ask_again(place);
        if self.wakes[place].is_none_or(|at| at > now) {
            return Ok(());
        }
        let client = Arc::clone(&self.clients[place]);
        let mut send = |datagram| self.carry(now, datagram);
        let ran = client.lock().expect("no panic").run(now, &mut send);
        self.ask_again(place);
        ran
    }

    fn deliver(
        &mut self,
        now: Time,
        sockets: &mut Sockets,
        datagram: Datagram,
    ) -> Result<(), String> {
        let heard = if datagram.is_upward() {
            if let Some(id) = sockets.heard_by(&datagram) {
                self.note_proof(id, &datagram);
                if matches!(datagram.bytes[..], [0, 1 | 2 | 7, ..]) {
                    *self.requests.entry(datagram.from).or_default() += 1;
                }
                sockets.hear(id, datagram.clone());
                true
            } else {
                false
            }
        } else {
            let places = self.hosts.get(&datagram.to.ip()).cloned().unwrap_or_default();
            let mut heard = places.into_iter().filter(|place| {
                self.clients[*place].lock().expect("no panic").hear(now, &datagram)
            });
            let place = heard.next();
            drop(heard);
            place.map_or(Ok(()), |place| self.turn(now, place))?;
            place.is_some()
        };
        if !heard && self.network.path.tells_closed {
            self.tell_closed(now, sockets, &datagram);
        }
        Ok(())
    }

    fn note_proof(&mut self, id: SocketId, datagram: &Datagram) {
        if let (Some(sent), Ok(Packet::Ack { .. } | Packet::Data { .. })) =
            (self.sent.get_mut(&(id, datagram.from)), Packet::parse(&datagram.bytes))
        {
            sent.is_proven = true;
        }
    }

    /// The port is closed: its sender learns of it, the way back taking no time.
    fn tell_closed(&mut self, now: Time, sockets: &mut Sockets, datagram: &Datagram) {
        if self.trace {
            println!("{} -> closed port {}", shown(now), datagram.to);
        }
        sockets.unreachable(datagram);
        for place in self.hosts.get(&datagram.from.ip()).cloned().into_iter().flatten() {
            self.clients[place].lock().expect("no panic").unreachable(now, datagram);
            self.ask_again(place);
        }
    }

    /// A socket of the server sends. To an address that has not answered it may not send much.
    pub(super) fn send(&mut self, now: Time, id: SocketId, datagram: Datagram) {
        let new = Sent {
            local: datagram.from,
            peer: datagram.to,
            packets: 0,
            bytes: 0,
            errors: 0,
            closed: None,
            unproven: (0, 0),
            is_proven: false,
        };
        let sent = self.sent.entry((id, datagram.to)).or_insert(new);
        sent.packets += 1;
        sent.bytes += datagram.bytes.len() as u64;
        sent.errors += u64::from(datagram.bytes.starts_with(&[0, 5]));
        if !sent.is_proven {
            sent.unproven.0 += 1;
            sent.unproven.1 += datagram.bytes.len();
        }
        self.carry(now, datagram);
    }

    /// Whether more went to an address without proof than may.
    pub(super) fn without_proof(&self, id: SocketId, peer: SocketAddr) -> Result<(), String> {
        let Sent { unproven: (packets, bytes), local, .. } = self.sent[&(id, peer)];
        // Each repeat of a request has an answer of its own. A port that all share may have had other requests, too.
        let repeats = self.requests.get(&peer).map_or(0, |requests| requests - 1);
        let (more_packets, more_bytes) = match local == SERVER {
            true => (limits::UNPROVEN_PACKETS as usize, limits::UNPROVEN_BYTES),
            false => (1, BlockSize::DEFAULT.packet_bytes()),
        };
        let most_bytes = limits::UNPROVEN_BYTES + repeats * more_bytes;
        let most_packets = limits::UNPROVEN_PACKETS as usize + repeats * more_packets;
        if packets > most_packets as u64 || bytes > most_bytes {
            return Err(format!("{packets} packets, {bytes} bytes to {peer} without proof"));
        }
        Ok(())
    }

    fn carry(&mut self, at: Time, datagram: Datagram) {
        let text = self.trace.then(|| described(&datagram));
        let fate = self.network.carry(at, datagram);
        if let Some(text) = text {
            println!("{} {text}{fate}", shown(at));
        }
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
