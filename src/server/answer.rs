//! What is answered and told where a request gets no transfer.

use super::policy::{DropReason, Refusal};
use super::{Event, Shared};
use crate::limits;
use crate::net::TransferSocket;
use crate::query::Query;
use crate::wire::{ErrorCode, Malformed, Packet};
use std::net::{IpAddr, SocketAddr};

/// Answers a query with an ERROR.
pub(super) fn refuse(shared: &Shared, query: &Query, refusal: &Refusal) {
    let asked = Asked { peer: query.peer, local: query.local, query: Some(query) };
    if send_error(shared, asked, refusal.code, &refusal.text) {
        shared.tell(Event::Refused { query, refusal });
    }
}

/// Answers what was meant for a request with ERROR 4.
pub(super) fn malformed(shared: &Shared, peer: SocketAddr, local: IpAddr, why: Malformed) {
    let code = ErrorCode::IllegalOperation;
    if send_error(shared, Asked { peer, local, query: None }, code, code.text()) {
        shared.tell(Event::Malformed { peer, why });
    }
}

/// There is not enough of something that every session needs. Those who only dally give some back. Without an answer
/// the client asks again, and may find room then; an ERROR would end its boot.
pub(super) fn lacking(shared: &Shared, query: &Query, reason: &DropReason) {
    shared.admission.evict_some();
    dropped(shared, query, reason);
}

/// Tells of a request that is not answered.
pub(super) fn dropped(shared: &Shared, query: &Query, reason: &DropReason) {
    shared.tell(Event::Dropped { peer: query.peer, query: Some(query), reason });
}

/// Who asked, at which address of ours, and what, if it could be read.
#[derive(Clone, Copy)]
struct Asked<'a> {
    peer: SocketAddr,
    local: IpAddr,
    query: Option<&'a Query>,
}

/// Sends an ERROR from a port of its own, within what the client's network may get. Tells whether it was sent.
fn send_error(shared: &Shared, asked: Asked<'_>, code: ErrorCode, text: &str) -> bool {
    let Asked { peer, local, query } = asked;
    let drop = |reason| shared.tell(Event::Dropped { peer, query, reason });
    if !shared.admission.may_send_error(peer.ip(), shared.clock.now()) {
        drop(&DropReason::TooManyAnswers);
        return false;
    }
    let packet = Packet::Error { code, message: fitting(text).as_bytes() }.to_vec();
    let sent = TransferSocket::answer(local, peer, shared.config.ports)
        .and_then(|socket| socket.send_packet(&packet));
    let Err(error) = sent else { return true };
    if let Some(reason) = DropReason::of(&error) {
        shared.admission.evict_some();
        drop(&reason);
    } else if let Some(query) = query {
        shared.tell(Event::Failed { query, error: &error });
    }
    false
}

/// As much of a policy's own text as an ERROR may have: up to a NUL, and no part of a character.
fn fitting(text: &str) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    let mut end = text.len().min(limits::ERROR_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_character_or_a_nul_begins() {
        let most = limits::ERROR_TEXT_BYTES;
        let long = |n| "x".repeat(n);
        assert_eq!(fitting(&long(most)), long(most));
        assert_eq!(fitting(&long(most + 1)), long(most));
        assert_eq!(fitting(&(long(most - 1) + "é")), long(most - 1));
        assert_eq!(fitting(&(long(most - 2) + "é")), long(most - 2) + "é");
        assert_eq!([fitting("no\0thing"), fitting("\0"), fitting("")], ["no", "", ""]);
    }
}
