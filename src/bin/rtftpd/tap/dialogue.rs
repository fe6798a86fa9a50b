//! Packets as lines in the log: who with, which way, how long after the one before, and what.

use super::request;
use crate::log::Log;
use crate::shown::harmless;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tftpkit::proto::Time;
use tftpkit::query::Query;
use tftpkit::server::{Event, Listener, Way};
use tftpkit::transfer::Summary;
use tftpkit::wire::Packet;

/// The clients whose packets are logged, and how many lines there may be.
#[derive(Debug)]
pub(super) struct Dialogues {
    of: Option<IpNet>,
    /// Its lines are none of those of the others.
    log: Log,
}

/// One transfer of such a client.
pub(super) struct Dialogue {
    all: Arc<Dialogues>,
    peer: SocketAddr,
    before: Option<Time>,
}

impl Dialogues {
    /// Of clients in this network, or of all; so many lines in each second.
    pub(super) fn new(of: Option<IpNet>, per_second: u32) -> Self {
        Self { of, log: Log::new(per_second, false) }
    }

    /// A transfer begins with what was asked.
    pub(super) fn begin(self: &Arc<Self>, query: &Query) -> Option<Dialogue> {
        let dialogue = Dialogue { all: Arc::clone(self), peer: query.peer, before: None };
        self.hears(query.peer).then(|| {
            self.write(query.peer, Way::In, Duration::ZERO, &shown(&request(query)));
            dialogue
        })
    }

    /// What got no transfer has no other packets.
    pub(super) fn note(&self, event: &Event<'_>) {
        let peer = event.peer();
        if !self.hears(peer) {
            return;
        }
        let write = |way, what: &str| self.write(peer, way, Duration::ZERO, what);
        match event {
            Event::Refused { query, refusal, .. } => {
                let message = refusal.text.as_bytes();
                write(Way::In, &shown(&request(query)));
                write(Way::Out, &shown(&Packet::Error { code: refusal.code, message }.to_vec()));
            }
            Event::Dropped { query: Some(query), reason, .. } => {
                write(Way::In, &format!("{}, not answered: {reason}", shown(&request(query))));
            }
            Event::Malformed { why, .. } => write(Way::In, &format!("malformed: {why}")),
            Event::Stray { .. } => write(Way::In, "something that is no request"),
            _ => {}
        }
    }

    fn hears(&self, peer: SocketAddr) -> bool {
        self.of.is_none_or(|network| network.contains(&peer.ip().to_canonical()))
    }

    fn write(&self, peer: SocketAddr, way: Way, after: Duration, what: &str) {
        if self.log.may_write() {
            tracing::info!("{}", line(peer, way, after, what));
        }
    }
}

/// Columns that stay where they are from line to line.
fn line(peer: SocketAddr, way: Way, after: Duration, what: &str) -> String {
    let arrow = match way {
        Way::In => "<-",
        Way::Out => "->",
    };
    let (peer, after) = (peer.to_string(), after.as_secs_f64());
    format!("packet {peer:<21} {after:>+10.6} {arrow} {what}")
}

fn shown(datagram: &[u8]) -> String {
    let packet = Packet::parse(datagram);
    harmless(&packet.map_or_else(|why| format!("malformed: {why}"), |packet| packet.to_string()))
}

impl Listener for Dialogue {
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]) {
        let after = now - self.before.replace(now).unwrap_or(now);
        self.all.write(self.peer, way, after, &shown(datagram));
    }

    fn ended(&mut self, _: &Summary) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stand_one_below_the_other() {
        let peer = "192.0.2.7:2070".parse().expect("an address");
        let millis = Duration::from_millis;
        let lines = [
            line(peer, Way::In, Duration::ZERO, "RRQ \"f\" octet tsize=0"),
            line(peer, Way::Out, millis(2), &shown(&[0, 3, 0, 1, 7, 7])),
            line(peer, Way::In, millis(12_345), &shown(&[0, 4, 0, 1])),
            line(peer, Way::In, millis(1), &shown(&[0, 9])),
        ];
        let expected = [
            "packet 192.0.2.7:2070         +0.000000 <- RRQ \"f\" octet tsize=0",
            "packet 192.0.2.7:2070         +0.002000 -> DATA 1 2",
            "packet 192.0.2.7:2070        +12.345000 <- ACK 1",
        ];
        assert_eq!(lines[..3], expected);
        assert!(lines[3].contains("malformed"), "{}", lines[3]);
    }
}
