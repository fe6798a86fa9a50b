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
    use tftpkit::server::{DropReason, Refusal};
    use tftpkit::wire::{ErrorCode, Operation};

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

    #[test]
    fn one_network_is_heard_or_all_are_and_a_client_of_ipv4_is_one_however_it_comes() {
        let hears = |of: Option<&str>, peer: &str| {
            let of = of.map(|network| network.parse().expect("a network"));
            Dialogues::new(of, 0).hears(peer.parse().expect("an address"))
        };
        for (peer, expected) in [
            ("192.0.2.7:1", true),
            ("[::ffff:192.0.2.7]:1", true),
            ("192.0.3.7:1", false),
            ("[::1]:1", false),
        ] {
            assert_eq!(hears(Some("192.0.2.0/24"), peer), expected, "{peer}");
            assert!(hears(None, peer), "{peer}");
        }
    }

    /// The lines of what is noted, without their times.
    fn noted(of: Option<&str>, event: &Event<'_>) -> Vec<String> {
        let of = of.map(|network| network.parse().expect("a network"));
        let lines = written(|| Dialogues::new(of, 0).note(event));
        lines.into_iter().map(|(_, what)| what).collect()
    }

    /// The lines that are written, each with how long after the one before.
    fn written(act: impl FnOnce()) -> Vec<(String, String)> {
        #[derive(Clone, Default)]
        struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("the lines").write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let _alone = crate::log::alone();
        let lines = Lines::default();
        let writer = lines.clone();
        let all = tracing_subscriber::fmt().with_ansi(false).with_target(false).without_time();
        let all = all.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(all, act);
        let lines = String::from_utf8(lines.0.lock().expect("the lines").clone()).expect("UTF-8");
        let parts = lines.lines().filter_map(|line| line.split_once('+')?.1.split_once(' '));
        parts.map(|(after, what)| (after.to_owned(), what.to_owned())).collect()
    }

    #[test]
    fn each_packet_is_told_with_the_time_since_the_one_before() {
        let here = std::net::Ipv4Addr::LOCALHOST;
        let query = Query::new((here, 2000).into(), here.into(), Operation::Read, "f");
        let lines = written(|| {
            let mut dialogue = Arc::new(Dialogues::new(None, 0)).begin(&query).expect("it hears");
            for (micros, way, block) in
                [(70, Way::Out, 1), (2_000_070, Way::In, 1), (2_500_070, Way::Out, 2)]
            {
                let opcode = if way == Way::In { 4 } else { 3 };
                dialogue.packet(Time::from_micros(micros), way, &[0, opcode, 0, block]);
            }
        });
        let told: Vec<_> = lines.iter().map(|(after, what)| (&**after, &**what)).collect();
        let expected = [
            ("0.000000", "<- RRQ \"f\" octet"),
            ("0.000000", "-> DATA 1 0"),
            ("2.000000", "<- ACK 1"),
            ("0.500000", "-> DATA 2 0"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_got_no_transfer_is_told_with_its_answer_or_why_there_is_none() {
        let here = std::net::Ipv4Addr::LOCALHOST;
        let query = Query::new((here, 2000).into(), here.into(), Operation::Read, "f");
        let refusal = Refusal::new(ErrorCode::NotFound, "why").text("no");
        let reason = DropReason::NoPort;
        let why = Packet::parse(&[0, 9]).expect_err("no packet");
        let refused = Event::Refused { query: &query, served: None, refusal: &refusal };
        let dropped = Event::Dropped { peer: query.peer, query: Some(&query), reason: &reason };
        let unread = Event::Dropped { peer: query.peer, query: None, reason: &reason };
        let malformed = Event::Malformed { peer: query.peer, why };
        let (request, dropped_why) =
            ("<- RRQ \"f\" octet", "<- RRQ \"f\" octet, not answered: all ports");
        for (event, expected) in [
            (refused, &[request, "-> ERROR 1 \"no\""][..]),
            (dropped, &[dropped_why]),
            (unread, &[]),
            (malformed, &["<- malformed: "]),
            (Event::Stray { peer: query.peer }, &["<- something that is no request"]),
        ] {
            let lines = noted(None, &event);
            assert_eq!(lines.len(), expected.len(), "{lines:?}");
            for (line, expected) in lines.iter().zip(expected) {
                assert!(line.starts_with(expected), "{expected}: {lines:?}");
            }
            assert_eq!(noted(Some("192.0.2.0/24"), &event), [""; 0], "another network is meant");
        }
    }
}
