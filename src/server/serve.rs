//! One request, from its bytes to its end.

use super::admit::Ticket;
use super::{Asked, Event, Shared};
use crate::limits;
use crate::net::{Session, TransferSocket};
use crate::proto::{GrantLimits, grant};
use crate::store::{Listing, Name, StoreError};
use crate::transfer::{Sink, Source, Terms, Transfer};
use crate::wire::{
    BlockSize, DATA_HEADER, ErrorCode, ListFormat, Mode, Operation, OptionKind, Packet, Request,
    TransferOption, WindowSize,
};
use std::ffi::OsStr;
use std::io::{self, Cursor};
use std::net::{IpAddr, SocketAddr};

/// What a request turned out to be about.
enum Payload {
    /// To be sent, and its size in bytes.
    Source(Source, u64),
    /// To be taken.
    Sink(Box<dyn Sink>),
}

/// Why a request gets an ERROR.
struct Rejection {
    code: ErrorCode,
    text: &'static str,
    why: String,
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self { code: error.code(), text: error.text(), why: error.to_string() }
    }
}

/// Serves the request of `ticket` to its end, on this thread.
pub(super) fn serve(shared: &Shared, mut ticket: Ticket) {
    let slot = std::sync::Arc::clone(&ticket.slot);
    let Ok(Packet::Request(request)) = Packet::parse(&slot.request) else { return };
    let asked = Asked {
        peer: slot.peer,
        local: slot.local,
        operation: request.operation,
        name: request.name.to_vec(),
        mode: request.mode,
        options: request.options,
    };
    match open(shared, &request) {
        Ok(payload) => {
            if let Err(error) = transfer(shared, &mut ticket, &asked, payload) {
                shared.tell(Event::Failed { asked: &asked, error: &error });
            }
        }
        Err(Rejection { code, text, why }) => {
            if answer_error(shared, slot.peer, slot.local, code, text) {
                shared.tell(Event::Refused { asked: &asked, code, why: &why });
            }
        }
    }
}

/// Sends an ERROR from a port of its own, within what its network may get. Tells whether it was sent.
pub(super) fn answer_error(
    shared: &Shared,
    peer: SocketAddr,
    local: IpAddr,
    code: ErrorCode,
    text: &str,
) -> bool {
    let packet = Packet::Error { code, message: text.as_bytes() }.to_vec();
    shared.admission.may_send_error(peer.ip())
        && TransferSocket::answer(local, peer, shared.config.ports.as_ref())
            .is_ok_and(|socket| socket.send_once(&packet).is_ok())
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
            Err(Rejection {
                code: ErrorCode::IllegalOperation,
                text: "illegal TFTP operation",
                why,
            })
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
        (Ok(file), _) => Ok(Payload::Source(file.source, file.size)),
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
    Payload::Source(Box::new(Cursor::new(bytes)), size)
}

fn transfer(
    shared: &Shared,
    ticket: &mut Ticket,
    asked: &Asked,
    payload: Payload,
) -> io::Result<()> {
    let socket = TransferSocket::answer(asked.local, asked.peer, shared.config.ports.as_ref())?;
    let (size, receiving) = match &payload {
        // In netascii the size on the wire is not known; and curl takes a size of 0 for an error.
        Payload::Source(_, size) => {
            ((asked.mode == Mode::Octet && *size > 0).then_some(*size), false)
        }
        Payload::Sink(_) => (None, true),
    };
    let granted = grant_limits(shared, ticket, asked, receiving.then_some(&socket))?;
    let (agreed, answer) = grant(asked.operation, &asked.options, &granted, size);
    let packet = DATA_HEADER + agreed.block_size().get();
    let window_bytes = packet * usize::from(agreed.window().get());
    let many = shared.admission.sessions() > limits::READ_AHEAD_SESSIONS;
    let read_ahead = if many { 0 } else { limits::READ_AHEAD_BYTES };
    ticket.reserve(window_bytes);
    let (timing, mode) = (shared.config.timing, asked.mode);
    let terms = Terms { agreed, answer, mode, timing, read_ahead };
    let now = shared.clock.now();
    let transfer = match payload {
        Payload::Source(source, _) => Transfer::serve_read(now, &terms, source),
        Payload::Sink(sink) => Transfer::serve_write(now, &terms, sink),
    };
    let slot = std::sync::Arc::clone(&ticket.slot);
    let session = slot.attach(Session::new(socket, shared.clock, transfer));
    let summary = session.run(|transfer| {
        if transfer.is_proven() {
            ticket.prove();
        }
    })?;
    shared.tell(Event::Finished { asked, summary: &summary });
    Ok(())
}

/// What can be granted now: the configured maximum, the memory that is left, and for an upload no more than the
/// socket's buffer holds.
fn grant_limits(
    shared: &Shared,
    ticket: &mut Ticket,
    asked: &Asked,
    upload: Option<&TransferSocket>,
) -> io::Result<GrantLimits> {
    let window_bytes = ticket.reserve(limits::WINDOW_BYTES);
    let scarce = window_bytes < limits::DATAGRAM;
    let block_size =
        if scarce { BlockSize::DEFAULT } else { shared.config.block_size_for(asked.peer) };
    let mut granted = GrantLimits { block_size, window: shared.config.window, window_bytes };
    if let Some(socket) = upload
        && asked.options.find(OptionKind::WindowSize).is_some()
    {
        let (agreed, _) = grant(asked.operation, &asked.options, &granted, None);
        let packet = DATA_HEADER + agreed.block_size().get();
        let held = socket.make_room(packet, agreed.window().get())?;
        granted.window = WindowSize::new(held).unwrap_or(WindowSize::LOCKSTEP);
    }
    Ok(granted)
}
