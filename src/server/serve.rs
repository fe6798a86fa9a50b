//! One request, from its bytes to its end.

use super::admit::{Slot, Ticket};
use super::{Asked, Event, Refusal, Shared};
use crate::limits;
use crate::net::{Passenger, Session, TransferSocket};
use crate::proto::{Agreed, GrantLimits, grant};
use crate::store::{Listing, Name, StoreError};
use crate::transfer::{Sink, Source, Summary, Terms, Transfer};
use crate::wire::{
    BlockSize, DATA_HEADER, ErrorCode, ListFormat, Mode, Operation, OptionKind, Packet, Request,
    TransferOption, WindowSize,
};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::io::{self, Cursor};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a request turned out to be about.
enum Payload {
    /// To be sent, its size in bytes, and how many of those are in memory.
    Source(Source, u64, usize),
    /// To be taken.
    Sink(Box<dyn Sink>),
}

/// Why a request gets no transfer.
enum Rejection {
    /// It gets an ERROR: its code and text, and why in the server's own words.
    Error(ErrorCode, &'static str, String),
    /// The system has no more of something. As with all that is full there is no answer, so that the client asks again.
    Full(Refusal),
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        let lacks = match &error {
            StoreError::Io(error) => shortage(error),
            _ => None,
        };
        lacks.map_or_else(|| Self::Error(error.code(), error.text(), error.to_string()), Self::Full)
    }
}

/// What the system has run out of, if it is that.
fn shortage(error: &io::Error) -> Option<Refusal> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => Some(Refusal::NoDescriptor),
        _ if error.kind() == io::ErrorKind::AddrInUse => Some(Refusal::NoPort),
        _ if error.kind() == io::ErrorKind::OutOfMemory => Some(Refusal::NoMemory),
        _ => None,
    }
}

/// A transfer under way, with all that it holds.
pub(super) struct Ride {
    // Before the ticket: what the session has goes before it stops counting.
    session: Arc<Session>,
    ticket: Ticket,
    shared: Arc<Shared>,
}

impl Ride {
    /// Goes on until its outcome is known, on this thread. If it stays after that, the loop has it: a thread is worth
    /// more.
    pub(super) fn run(mut self) {
        let session = Arc::clone(&self.session);
        match session.run(|transfer| self.progress(transfer)) {
            Ok(summary) if session.stays() => {
                self.stays(&summary);
                drop(session);
                let door = self.shared.door.clone();
                door.board(self);
            }
            how => {
                drop(session);
                self.ended(how);
            }
        }
    }

    /// What was asked, while that is still to be told.
    fn untold(&self) -> Option<Asked> {
        let slot = self.ticket.slot().filter(|_| !self.ticket.stays())?;
        slot.asked().map(|(asked, _)| asked)
    }
}

impl Passenger for Ride {
    fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn progress(&mut self, transfer: &mut Transfer) {
        if transfer.is_proven() && self.ticket.prove() {
            transfer.set_read_ahead(self.shared.read_ahead());
        }
    }

    fn stays(&mut self, summary: &Summary) {
        let Some(asked) = &self.untold() else { return };
        self.shared.tell(Event::Finished { asked, summary });
        self.ticket.stay();
    }

    fn ended(self, how: io::Result<Summary>) {
        let Some(asked) = &self.untold() else { return };
        match how {
            Ok(summary) => self.shared.tell(Event::Finished { asked, summary: &summary }),
            Err(error) => self.shared.tell(Event::Failed { asked, error: &error }),
        }
    }
}

impl Slot {
    /// What was asked, read anew from the request: of ten thousand transfers, none needs to hold it for long.
    fn asked(&self) -> Option<(Asked, Request<'_>)> {
        let Ok(Packet::Request(request)) = Packet::parse(&self.request) else { return None };
        let asked = Asked {
            peer: self.peer,
            local: self.local,
            operation: request.operation,
            name: request.name.to_vec(),
            mode: request.mode,
            options: request.options,
        };
        Some((asked, request))
    }
}

/// Whether it may take long to open what this asks for.
pub(super) fn may_wait(shared: &Shared, request: &[u8]) -> bool {
    let Ok(Packet::Request(request)) = Packet::parse(request) else { return false };
    let generated = || {
        let name = Name::parse(request.name);
        name.is_ok_and(|name| listed_directory(shared, &name).is_some())
    };
    request.operation != Operation::Read || shared.store.may_wait() || generated()
}

/// Opens what the request of `ticket` asks for; a transfer if there is to be one, and the ERROR is sent if not.
pub(super) fn begin(shared: &Arc<Shared>, ticket: Ticket) -> Option<Ride> {
    let slot = ticket.slot()?;
    let (asked, request) = slot.asked()?;
    match open(shared, &request) {
        Ok(payload) => transfer(shared, ticket, &slot, &asked, payload),
        Err(Rejection::Full(why)) => {
            turn_away(shared, slot.peer, why);
            None
        }
        Err(Rejection::Error(code, text, why)) => {
            if answer_error(shared, slot.peer, slot.local, code, text) {
                shared.tell(Event::Refused { asked: &asked, code, why: &why });
            }
            None
        }
    }
}

/// There is not enough of something that every session needs. Those who only stay give some back.
fn turn_away(shared: &Shared, peer: SocketAddr, why: Refusal) {
    shared.admission.evict_some();
    shared.tell(Event::Turned { peer, why });
}

/// Sends an ERROR from a port of its own, within what its network may get. Tells whether it was sent.
pub(super) fn answer_error(
    shared: &Shared,
    peer: SocketAddr,
    local: IpAddr,
    code: ErrorCode,
    text: &str,
) -> bool {
    if !shared.admission.may_send_error(peer.ip()) {
        shared.tell(Event::Turned { peer, why: Refusal::Answers });
        return false;
    }
    let packet = Packet::Error { code, message: text.as_bytes() }.to_vec();
    match TransferSocket::answer(local, peer, shared.config.ports.as_ref()) {
        Ok(socket) => socket.send_once(&packet).is_ok(),
        Err(error) => {
            if let Some(why) = shortage(&error) {
                turn_away(shared, peer, why);
            }
            false
        }
    }
}

fn open(shared: &Shared, request: &Request<'_>) -> Result<Payload, Rejection> {
    let name = Name::parse(request.name)?;
    match request.operation {
        Operation::Read => read(shared, &name),
        Operation::Write => {
            let size = match request.options.find(OptionKind::TransferSize) {
                Some(TransferOption::TransferSize(size)) => Some(size),
                _ => None,
            };
            if listed_directory(shared, &name).is_some() {
                return Err(StoreError::Denied("the name of the generated listing").into());
            }
            Ok(Payload::Sink(shared.store.write(&name, size)?))
        }
        Operation::List if shared.config.listing.is_none() || request.mode != Mode::Octet => {
            let why = "LIST is turned off, or was asked for in a mode that is not octet".into();
            Err(Rejection::Error(ErrorCode::IllegalOperation, "illegal TFTP operation", why))
        }
        Operation::List => {
            let listing = shared.store.list(&name)?;
            Ok(generated(match request.options.find(OptionKind::List) {
                Some(TransferOption::List(ListFormat::Json)) => listing.to_json(),
                _ => listing.to_uefi(),
            }))
        }
    }
}

fn read(shared: &Shared, name: &Name) -> Result<Payload, Rejection> {
    match (shared.store.read(name), listed_directory(shared, name)) {
        (Ok(file), _) => Ok(Payload::Source(file.source, file.size, 0)),
        (Err(StoreError::NotFound), Some(directory)) => {
            Ok(generated(shared.store.list(&directory).map(|listing: Listing| listing.to_text())?))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The directory whose listing has this name, if it is such a name.
fn listed_directory(shared: &Shared, name: &Name) -> Option<Name> {
    let (directory, last) = name.split()?;
    let listing = shared.config.listing.as_deref()?;
    (last == OsStr::new(listing)).then_some(directory)
}

fn generated(bytes: Vec<u8>) -> Payload {
    let size = bytes.len() as u64;
    let held = bytes.len();
    Payload::Source(Box::new(Cursor::new(bytes)), size, held)
}

fn transfer(
    shared: &Arc<Shared>,
    mut ticket: Ticket,
    slot: &Slot,
    asked: &Asked,
    payload: Payload,
) -> Option<Ride> {
    match session(shared, &mut ticket, slot, asked, payload) {
        Ok(session) => {
            Some(Ride { session: slot.attach(session), ticket, shared: Arc::clone(shared) })
        }
        Err(error) => {
            match shortage(&error) {
                Some(why) => turn_away(shared, slot.peer, why),
                None => shared.tell(Event::Failed { asked, error: &error }),
            }
            None
        }
    }
}

fn session(
    shared: &Shared,
    ticket: &mut Ticket,
    slot: &Slot,
    asked: &Asked,
    payload: Payload,
) -> io::Result<Session> {
    let socket = TransferSocket::answer(slot.local, slot.peer, shared.config.ports.as_ref())?
        .offload(shared.config.offload);
    let (size, upload, held) = match &payload {
        // In netascii the size on the wire is not known; and curl takes a size of 0 for an error.
        Payload::Source(_, size, held) => {
            ((asked.mode == Mode::Octet && *size > 0).then_some(*size), None, *held)
        }
        Payload::Sink(_) => (None, Some(&socket), 0),
    };
    let granted = grant_limits(shared, ticket, asked, upload, held)?;
    let (agreed, answer) = grant(asked.operation, &asked.options, &granted, size);
    ticket.reserve(held + window_bytes(&agreed));
    let terms = Terms { agreed, answer, mode: asked.mode, timing: shared.config.timing };
    let now = shared.clock.now();
    let transfer = match payload {
        Payload::Source(source, ..) => Transfer::serve_read(now, &terms, source),
        Payload::Sink(sink) => Transfer::serve_write(now, &terms, sink),
    };
    Ok(Session::new(socket, shared.clock, transfer))
}

/// What can be granted now: the configured maximum, the memory that is left beside what is `held` already, and for
/// an upload no more than the socket's buffer holds.
fn grant_limits(
    shared: &Shared,
    ticket: &mut Ticket,
    asked: &Asked,
    upload: Option<&TransferSocket>,
    held: usize,
) -> io::Result<GrantLimits> {
    let mut limits = GrantLimits {
        block_size: shared.config.block_size_for(asked.peer),
        window: shared.config.window,
        window_bytes: limits::WINDOW_BYTES,
    };
    let (wished, _) = grant(asked.operation, &asked.options, &limits, None);
    let room = ticket.reserve(held + window_bytes(&wished)).checked_sub(held);
    limits.window_bytes = room.ok_or(io::ErrorKind::OutOfMemory)?;
    if limits.window_bytes < DATA_HEADER + wished.block_size().get() {
        limits.block_size = limits.block_size.min(BlockSize::DEFAULT);
    }
    if let Some(socket) = upload
        && wished.window() > WindowSize::LOCKSTEP
    {
        let (agreed, _) = grant(asked.operation, &asked.options, &limits, None);
        let packet = DATA_HEADER + agreed.block_size().get();
        let blocks = socket.make_room(packet, agreed.window().get())?;
        limits.window = WindowSize::new(blocks).unwrap_or(WindowSize::LOCKSTEP);
    }
    Ok(limits)
}

fn window_bytes(agreed: &Agreed) -> usize {
    (DATA_HEADER + agreed.block_size().get()) * usize::from(agreed.window().get())
}
