//! What a request would come to, without a server: the same calls on a system on which nothing travels.

use super::config::{Config, Model};
use super::{Event, Server, StartError, take_datagram};
use crate::net::{Rehearsal, Requested, System};
use crate::store::Store;
use crate::wire::Filename;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a request would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The first packet that is sent, if one is: an OACK, a block, an ACK or an ERROR.
    pub answer: Option<Vec<u8>>,
    /// The name that is served, where it is not the one that was asked for.
    pub served: Option<Filename>,
    /// Why it is refused or not answered, where it is not served.
    pub why: Option<String>,
}

/// As many turns as an answer takes at most.
const TURNS: usize = 16;

/// Says what a server with this `config`, and with no other sessions, makes of `datagram` from `peer` that comes to its
/// address `local`. Nothing is sent; files are opened as the server opens them, and nothing stays of an upload.
///
/// ```
/// use std::net::Ipv4Addr;
/// use tftpkit::server::{Config, explain};
/// use tftpkit::store::InMemory;
///
/// let datagram = b"\0\x01missing\0octet\0";
/// let (peer, local) = (([192, 0, 2, 7], 2000).into(), Ipv4Addr::LOCALHOST.into());
/// let found = explain(&Config::default(), InMemory::new(), datagram, peer, local)?;
/// assert_eq!(found.why.as_deref(), Some("not found"));
/// # Ok::<(), tftpkit::server::StartError>(())
/// ```
///
/// # Errors
///
/// [`StartError`], where a server with this `config` would not start either.
pub fn explain(
    config: &Config,
    store: impl Store + 'static,
    datagram: &[u8],
    peer: SocketAddr,
    local: IpAddr,
) -> Result<Explanation, StartError> {
    let system = Rehearsal::start();
    let model = match config.model {
        Model::SinglePort => Model::SinglePort,
        Model::Threads(_) | Model::Events(_) | Model::Processes(_) | Model::Iterative => {
            Model::Iterative
        }
    };
    let listen = vec![SocketAddr::new(local, 1)];
    let config = Config { listen, model, progress: None, ..config.clone() };
    let found = Arc::new(Mutex::new(Explanation::default()));
    let told = Arc::clone(&found);
    let observer = move |event: Event<'_>| {
        note(&mut told.lock().unwrap_or_else(PoisonError::into_inner), &event);
    };
    let on = Arc::<Rehearsal>::clone(&system) as Arc<dyn System>;
    let server = Server::bind_on(on, config, store, observer)?;
    let Server { sockets, shared, mut dispatcher } = server;
    let requested = Requested { len: datagram.len(), peer, local };
    take_datagram(&shared, &mut dispatcher, &sockets[0], datagram, &requested);
    for _ in 0..TURNS {
        if system.first_sent().is_some() || shared.admission.under_way() == 0 {
            break;
        }
        dispatcher.turn(Some(Duration::ZERO)).map_err(StartError::Loop)?;
        dispatcher.run_due();
    }
    let answer = system.first_sent();
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    found.answer = answer;
    Ok(found)
}

/// Notes the first that is told of the request.
fn note(found: &mut Explanation, event: &Event<'_>) {
    let (served, why) = match event {
        Event::Started { served, .. } => (*served, None),
        Event::Refused { served, refusal, .. } => (*served, Some(refusal.reason.to_string())),
        Event::Dropped { reason, .. } => (None, Some(reason.to_string())),
        Event::Malformed { why, .. } => (None, Some(format!("malformed: {why}"))),
        Event::Stray { .. } => (None, Some("it is no request".into())),
        Event::Failed { served, error, .. } => (*served, Some(error.to_string())),
        _ => return,
    };
    found.served = served.cloned();
    found.why = why;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::server::{Profile, Verdict};
    use crate::store::InMemory;
    use std::net::Ipv6Addr;

    #[test]
    fn it_is_told_what_is_served_instead_and_why_nothing_is() {
        let told = |policy: fn(&Query) -> Verdict| {
            let store = InMemory::new();
            store.insert("other", *b"few").expect("a file");
            let (peer, local) = (([192, 0, 2, 7], 2000).into(), [127, 0, 0, 1].into());
            let config = Config::default().policy(policy);
            explain(&config, store, b"\0\x01file\0octet\0", peer, local).expect("an answer")
        };
        let served = told(|_| Verdict::Serve(Profile::default().name("other")));
        assert_eq!(served.served, Some("other".into()));
        assert!(served.answer.is_some_and(|block| block.ends_with(b"few")) && served.why.is_none());
        let missing = told(|_| Verdict::Serve(Profile::default().name("gone")));
        assert_eq!((missing.served, missing.why), (Some("gone".into()), Some("not found".into())));
        let dropped = told(|_| Verdict::Drop("not today".into()));
        assert_eq!((dropped.answer, dropped.served), (None, None));
        assert_eq!(dropped.why, Some("not today".into()));
    }

    #[test]
    fn where_packets_are_to_be_whole_no_block_is_granted_that_the_path_carries_in_pieces() {
        let granted = |whole| {
            let store = InMemory::new();
            store.insert("file", *b"few").expect("a file");
            // What Ethernet carries, whatever this machine has.
            let (peer, local) = ((Ipv6Addr::LOCALHOST, 2000).into(), Ipv6Addr::LOCALHOST.into());
            let policy = move |_: &Query| Verdict::Serve(Profile::default().whole_packets(whole));
            let config = Config::default().policy(policy);
            let request = b"\0\x01file\0octet\0blksize\08192\0";
            explain(&config, store, request, peer, local).expect("an answer").answer
        };
        let oack = |size: &str| Some(format!("\0\x06blksize\0{size}\0").into_bytes());
        assert_eq!([granted(false), granted(true)], [oack("8192"), oack("1448")]);
    }

    #[test]
    fn what_cannot_start_explains_nothing() {
        let ports = crate::net::PortRange::new(6001, 6008).expect("a range");
        let found = |model| {
            let config = Config::default().model(model).ports(ports);
            let (peer, local) = (([192, 0, 2, 7], 2000).into(), [127, 0, 0, 1].into());
            explain(&config, InMemory::new(), b"\0\x01file\0octet\0", peer, local)
        };
        let why = found(Model::Iterative).expect("an answer").why;
        assert_eq!(why.as_deref(), Some("not found"));
        let refused = found(Model::SinglePort).expect_err("all share one port, and have a range");
        assert!(matches!(refused, StartError::Config(_)), "{refused}");
    }
}
