//! What is answered and told where a request gets no transfer.

use super::policy::{DropReason, Refusal};
use super::{Event, Shared};
use crate::net::{RequestSocket, Requested};
use crate::query::Query;
use crate::transfer::error_text;
use crate::wire::{ErrorCode, Filename, Malformed, Packet};
use std::net::{IpAddr, SocketAddr};

/// Answers a query, for which `served` was looked for if that is another name, with an ERROR.
pub(super) fn refuse(
    shared: &Shared,
    socket: &RequestSocket,
    (query, served): (&Query, Option<&Filename>),
    refusal: &Refusal,
) {
    let (peer, local, len) = (query.peer, query.local, query.shortest_request());
    let asked = Asked { peer, local, len, query: Some(query) };
    if send_error(shared, socket, asked, refusal.code, &refusal.text) {
        shared.tell(Event::Refused { query, served, refusal });
    }
}

/// Answers what was meant for a request with ERROR 4.
pub(super) fn malformed(shared: &Shared, socket: &RequestSocket, from: &Requested, why: Malformed) {
    let (Requested { len, peer, local }, code) = (*from, ErrorCode::IllegalOperation);
    if send_error(shared, socket, Asked { peer, local, len, query: None }, code, code.text()) {
        shared.tell(Event::Malformed { peer, why });
    }
}

/// There is not enough of something that every session needs. Without an answer the client asks again, and may find
/// room then; an ERROR would end its boot.
pub(super) fn lacking(shared: &Shared, query: &Query, reason: &DropReason) {
    make_room(shared, reason);
    dropped(shared, query, reason);
}

/// Those who only dally, or have not answered for long, have a port and a descriptor to give back.
fn make_room(shared: &Shared, reason: &DropReason) {
    if matches!(reason, DropReason::NoPort | DropReason::NoDescriptor) {
        shared.admission.evict_some(shared.system.now());
    }
}

/// Tells of a request that is not answered.
pub(super) fn dropped(shared: &Shared, query: &Query, reason: &DropReason) {
    shared.tell(Event::Dropped { peer: query.peer, query: Some(query), reason });
}

/// Who asked, at which address of ours, in how many bytes at least, and for what, if it could be read.
#[derive(Clone, Copy)]
struct Asked<'a> {
    peer: SocketAddr,
    local: IpAddr,
    len: usize,
    query: Option<&'a Query>,
}

/// Sends an ERROR from where answers leave. Tells whether it was sent.
fn send_error(
    shared: &Shared,
    socket: &RequestSocket,
    asked: Asked<'_>,
    code: ErrorCode,
    text: &str,
) -> bool {
    let Asked { peer, local, query, .. } = asked;
    let drop = |reason| shared.tell(Event::Dropped { peer, query, reason });
    let Some(packet) = error_for(shared, asked, code, text) else {
        drop(&DropReason::TooManyAnswers);
        return false;
    };
    let sent = socket.answer_once(&*shared.system, local, peer, &packet);
    let Err(error) = sent else { return true };
    if let Some(reason) = DropReason::of(&error) {
        make_room(shared, &reason);
        drop(&reason);
    } else if let Some(query) = query {
        shared.tell(Event::Failed { query, served: None, summary: None, error: &error });
    }
    false
}

/// The ERROR within what the client's network may get. One that is no longer than the request makes nothing of a forgery
/// that the forger could not send himself, and needs no ration; where that is used up, the ERROR goes without its text.
fn error_for(shared: &Shared, asked: Asked<'_>, code: ErrorCode, text: &str) -> Option<Vec<u8>> {
    let told = Packet::Error { code, message: error_text(text) }.to_vec();
    let is_free = |packet: &Vec<u8>| packet.len() <= asked.len;
    if is_free(&told) || shared.admission.may_answer(asked.peer.ip(), shared.system.now()) {
        return Some(told);
    }
    Some(Packet::Error { code, message: b"" }.to_vec()).filter(is_free)
}
