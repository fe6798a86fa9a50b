//! Listening in on transfers, for who looks for a fault: their packets as a dialogue in the log (--trace), and the last
//! packets of those that failed as captures (--pcap-on-failure).

mod capture;
mod dialogue;
mod pcapng;

pub(crate) use capture::Captures;
use clap::Args as ClapArgs;
use dialogue::{Dialogue, Dialogues};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use tftpkit::proto::Time;
use tftpkit::query::Query;
use tftpkit::server::{Event, Listener, Tap, Way};
use tftpkit::transfer::Summary;
use tftpkit::wire::{Packet, Request};

/// What is heard of packets.
#[derive(Debug, ClapArgs)]
pub(crate) struct TapArgs {
    /// Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as
    /// --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all
    #[arg(long, value_name = "NETWORK", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "RTFTPD_TRACE")]
    trace: Option<Traced>,

    /// Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a
    /// few KiB each
    #[arg(long, value_name = "DIR", env = "RTFTPD_PCAP_ON_FAILURE")]
    pub(crate) pcap_on_failure: Option<PathBuf>,
}

impl TapArgs {
    /// Whether anybody listens.
    pub(crate) fn listens(&self) -> bool {
        self.pcap_on_failure.is_some() || !matches!(self.trace, None | Some(Traced::Nobody))
    }
}

/// Whose packets are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traced {
    All,
    Nobody,
    Network(IpNet),
}

impl FromStr for Traced {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1" | "true" | "yes" | "on" => Ok(Self::All),
            "0" | "false" | "no" | "off" => Ok(Self::Nobody),
            _ => {
                let alone = || text.parse::<IpAddr>().map(IpNet::from);
                let network = text.parse().or_else(|_| alone()).map(Self::Network);
                network
                    .map_err(|_| "write an address, or an address and a prefix as in 192.0.2.0/24")
            }
        }
    }
}

/// Who listens in on which transfers.
#[derive(Debug)]
pub(crate) struct Listening {
    dialogues: Option<Arc<Dialogues>>,
    captures: Option<Arc<Captures>>,
}

impl Listening {
    /// Whoever these options ask for, if anybody. So many lines of packets are written in each second.
    pub(crate) fn new(
        args: &TapArgs,
        captures: Option<Arc<Captures>>,
        log_rate: u32,
    ) -> Option<Arc<Self>> {
        let of = match args.trace {
            None | Some(Traced::Nobody) => None,
            Some(Traced::All) => Some(None),
            Some(Traced::Network(network)) => Some(Some(network)),
        };
        let dialogues = of.map(|of| Arc::new(Dialogues::new(of, log_rate)));
        let any = dialogues.is_some() || captures.is_some();
        any.then(|| Arc::new(Self { dialogues, captures }))
    }

    /// Tells of what was asked and got no transfer.
    pub(crate) fn note(&self, event: &Event<'_>) {
        if let Some(dialogues) = &self.dialogues {
            dialogues.note(event);
        }
    }

    /// The same as a tap.
    pub(crate) fn tap(self: &Arc<Self>) -> impl Tap + use<> {
        Ears(Arc::clone(self))
    }
}

struct Ears(Arc<Listening>);

impl Tap for Ears {
    fn listen(
        &self,
        query: &Query,
        asked: SocketAddr,
        answers: SocketAddr,
    ) -> Option<Box<dyn Listener>> {
        let Listening { dialogues, captures } = &*self.0;
        let dialogue = dialogues.as_ref().and_then(|all| all.begin(query));
        let recording = captures.as_ref().map(|all| all.begin(query, asked, answers));
        match (dialogue, recording) {
            (None, None) => None,
            (Some(one), None) => Some(Box::new(one)),
            (None, Some(one)) => Some(Box::new(one)),
            (Some(dialogue), Some(recording)) => Some(Box::new(Both { dialogue, recording })),
        }
    }
}

struct Both {
    dialogue: Dialogue,
    recording: capture::Recording,
}

impl Listener for Both {
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]) {
        self.dialogue.packet(now, way, datagram);
        self.recording.packet(now, way, datagram);
    }

    fn ended(&mut self, summary: &Summary) {
        self.recording.ended(summary);
    }
}

/// The request as it was on the wire, but for options that nobody understands.
fn request(query: &Query) -> Vec<u8> {
    let Query { operation, mode, options, .. } = *query;
    let name = query.name.as_bytes();
    Packet::Request(Request { operation, name, mode, options }).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_all_of_nobody_or_of_a_network() {
        let network = |text: &str| Traced::Network(text.parse().expect("a network"));
        assert_eq!("true".parse(), Ok(Traced::All));
        assert_eq!("0".parse(), Ok(Traced::Nobody));
        assert_eq!("192.0.2.7".parse(), Ok(network("192.0.2.7/32")));
        assert_eq!("2001:db8::/32".parse(), Ok(network("2001:db8::/32")));
        assert!("router".parse::<Traced>().is_err());
    }

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: TapArgs,
    }

    #[test]
    fn who_is_traced_is_heard_and_who_may_fail_is_recorded_whoever_is_traced() {
        use clap::Parser;
        use tftpkit::wire::Operation;
        let folder = tempfile::tempdir().expect("a folder");
        let captures = Captures::open(folder.path()).expect("a folder");
        let traced = &["--trace=192.0.2.0/24"][..];
        for (words, captures, heard) in [
            (traced, None, [true, false]),
            (traced, Some(&captures), [true, true]),
            (&[], Some(&captures), [true, true]),
        ] {
            let args = Alone::parse_from([&["alone"], words].concat()).args;
            let tap = Listening::new(&args, captures.cloned(), 0).expect("somebody listens").tap();
            let hears = ["192.0.2.7:2000", "198.51.100.7:2000"].map(|client| {
                let (client, own) = (client.parse().expect("an address"), ([192, 0, 2, 1], 69));
                let query = Query::new(client, own.0.into(), Operation::Read, "f");
                tap.listen(&query, own.into(), own.into()).is_some()
            });
            assert_eq!(hears, heard, "{words:?}, captures: {}", captures.is_some());
        }
    }

    #[test]
    fn somebody_listens_where_packets_are_asked_for_and_nobody_else_does() {
        use clap::Parser;
        let of = |words: &[&str]| Alone::parse_from([&["alone"], words].concat()).args;
        let nobody: [&[&str]; 2] = [&[], &["--trace=no"]];
        let traced: [&[&str]; 3] = [&["--trace"], &["--trace=yes"], &["--trace=192.0.2.0/24"]];
        for words in nobody {
            assert!(
                !of(words).listens() && Listening::new(&of(words), None, 0).is_none(),
                "{words:?}"
            );
        }
        for words in traced {
            assert!(
                of(words).listens() && Listening::new(&of(words), None, 0).is_some(),
                "{words:?}"
            );
        }
        let kept = of(&["--pcap-on-failure", "x", "--trace=no"]);
        let folder = tempfile::tempdir().expect("a folder");
        let captures = Captures::open(folder.path()).expect("a folder");
        assert!(kept.listens() && Listening::new(&kept, Some(captures), 0).is_some());
    }
}
