//! A server: requests become sessions with ports of their own, as the real one does it, without its threads.

use crate::disk::Library;
use crate::engine::Engine;
use crate::network::{Datagram, Port, REQUESTS, SESSIONS};
use std::collections::BTreeMap;
use tftpkit::limits;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Terms, Transfer};
use tftpkit::wire::{ErrorCode, Malformed, Mode, Operation, Packet, Request};

pub(crate) struct Server {
    pub(crate) library: Library,
    pub(crate) grants: GrantLimits,
    pub(crate) timing: Timing,
    pub(crate) read_ahead: usize,
    pub(crate) sessions: Vec<Session>,
    newest: BTreeMap<Port, usize>,
}

pub(crate) struct Session {
    pub(crate) engine: Engine,
    pub(crate) peer: Port,
    pub(crate) port: Port,
    request: Vec<u8>,
    before: Option<usize>,
    pub(crate) packets: u64,
    pub(crate) last_sent: Time,
    /// Packets and bytes sent before what only the one who was answered can send came from the peer.
    unproven: (u64, usize),
    answered: bool,
    receives: bool,
}

impl Server {
    pub(crate) fn new(library: Library) -> Self {
        let grants = GrantLimits::default();
        let (timing, read_ahead) = (Timing::default(), limits::READ_AHEAD_BYTES);
        let (sessions, newest) = (Vec::new(), BTreeMap::new());
        Self { library, grants, timing, read_ahead, sessions, newest }
    }

    /// The session at this port, if it is open.
    pub(crate) fn session(&mut self, port: Port) -> Option<&mut Session> {
        let session = self.sessions.get_mut(usize::from(port.checked_sub(SESSIONS)?))?;
        (!session.engine.is_over()).then_some(session)
    }

    /// A datagram came to the request port. What must be answered at once is returned.
    pub(crate) fn asked(&mut self, now: Time, datagram: &Datagram) -> Option<Datagram> {
        match Packet::parse(&datagram.bytes) {
            Ok(Packet::Request(request)) => self.admit(now, datagram, &request),
            Ok(_) | Err(Malformed::Runt | Malformed::Oack) => {}
            Err(_) => {
                let code = ErrorCode::IllegalOperation;
                let bytes = Packet::Error { code, message: b"illegal" }.to_vec();
                return Some(Datagram { from: SESSIONS - 2, to: datagram.from, bytes });
            }
        }
        None
    }

    fn admit(&mut self, now: Time, datagram: &Datagram, request: &Request<'_>) {
        let before = self.newest.get(&datagram.from).copied();
        let before = before.filter(|id| !self.sessions[*id].engine.is_over());
        if let Some(id) = before
            && !self.sessions[id].engine.transfer.is_proven()
            && self.sessions[id].request == datagram.bytes
        {
            return self.sessions[id].engine.repeat(now);
        }
        let id = self.sessions.len();
        self.newest.insert(datagram.from, id);
        let engine = self.open(now, request);
        self.sessions.push(Session {
            engine,
            peer: datagram.from,
            port: SESSIONS + id as Port,
            request: datagram.bytes.clone(),
            before,
            packets: 0,
            last_sent: now,
            unproven: (0, 0),
            answered: false,
            receives: request.operation == Operation::Write,
        });
    }

    fn open(&self, now: Time, request: &Request<'_>) -> Engine {
        let sends = request.operation != Operation::Write;
        let size = self.library.file.len() as u64;
        let told = (sends && request.mode == Mode::Octet && size > 0).then_some(size);
        let (agreed, answer) = grant(request.operation, &request.options, &self.grants, told);
        let terms = Terms { agreed, answer, mode: request.mode, timing: self.timing };
        if sends {
            let (source, ledger) = self.library.source();
            let mut transfer = Transfer::serve_read(now, &terms, source);
            transfer.set_read_ahead(self.read_ahead);
            Engine::new(now, transfer, ledger)
        } else {
            let (sink, ledger) = self.library.sink();
            Engine::new(now, Transfer::serve_write(now, &terms, sink), ledger)
        }
    }

    /// Lets every session that is due take its turn.
    pub(crate) fn run(&mut self, now: Time, mut send: impl FnMut(Datagram)) -> Result<(), String> {
        for id in 0..self.sessions.len() {
            let session = &mut self.sessions[id];
            if session.engine.wakes().is_none_or(|at| at > now) {
                continue;
            }
            session.run(now, &mut send)?;
            let proven = session.engine.transfer.is_proven();
            if let Some(before) = session.before.filter(|_| proven) {
                session.before = None;
                self.sessions[before].engine.abandon(now);
                self.sessions[before].run(now, &mut send)?;
            }
        }
        Ok(())
    }

    /// When a session wants its turn.
    pub(crate) fn wakes(&self) -> Option<Time> {
        self.sessions.iter().filter_map(|session| session.engine.wakes()).min()
    }
}

impl Session {
    /// A datagram came to its port. Its socket is connected, so strangers are not heard.
    pub(crate) fn hear(&mut self, now: Time, datagram: &Datagram) -> bool {
        debug_assert_ne!(self.port, REQUESTS);
        if datagram.from != self.peer {
            return false;
        }
        let packet = Packet::parse(&datagram.bytes);
        self.answered |= match packet {
            Ok(Packet::Ack { .. }) => !self.receives,
            Ok(Packet::Data { .. }) => self.receives,
            _ => false,
        };
        self.engine.datagram(now, datagram.bytes.clone());
        true
    }

    fn run(&mut self, now: Time, send: &mut impl FnMut(Datagram)) -> Result<(), String> {
        let (from, to) = (self.port, self.peer);
        let (mut packets, mut len) = (0, 0);
        self.engine.run(now, |bytes| {
            packets += 1;
            len += bytes.len();
            send(Datagram { from, to, bytes });
        })?;
        if packets > 0 {
            self.last_sent = now;
            self.packets += packets;
        }
        if !self.answered {
            self.unproven.0 += packets;
            self.unproven.1 += len;
        }
        let within = (u64::from(limits::UNPROVEN_PACKETS), limits::UNPROVEN_BYTES);
        if self.unproven.0 > within.0 || self.unproven.1 > within.1 {
            return Err(format!("{:?} packets and bytes went out without proof", self.unproven));
        }
        Ok(())
    }
}
