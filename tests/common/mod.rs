//! What the tests share: servers that run, files, and a client made of bare datagrams.
#![allow(dead_code, unused_imports)] // Each test program uses a part of it.

pub(crate) mod apart;
pub(crate) mod child;
mod daemon;
mod files;
pub(crate) mod http;
mod peer;
mod scripted;
mod seed;
mod wait;

pub(crate) use daemon::*;
pub(crate) use files::*;
pub(crate) use peer::*;
pub(crate) use scripted::*;
pub(crate) use seed::*;
pub(crate) use wait::*;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tftpkit::client::{Client, Failure, Wishes};
use tftpkit::limits;
use tftpkit::proto::{Agreed, Timing};
use tftpkit::query::Query;
use tftpkit::server::{Config, DropReason, Event, Handle, Model, Refusal, Server, Spawner};
use tftpkit::store::{Folder, Listing, Store, Uploads};
use tftpkit::transfer::{Outcome, Sink, Summary};
use tftpkit::wire::{BlockSize, Malformed, WindowSize};

/// Intervals so short that a client's silence ends a session within a second.
pub(crate) fn impatient() -> Timing {
    let ms = Duration::from_millis;
    let timing = Timing::builder().first(ms(20)).floor(ms(20)).ceiling(ms(40));
    timing.patience(ms(600)).unanswered(ms(600)).build().expect("sound")
}

/// What a server told, to keep.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Started(Query, Agreed),
    Progress(Query, Summary),
    Finished(Query, Summary),
    Refused(Query, Refusal),
    Malformed(SocketAddr, Malformed),
    Dropped(SocketAddr, DropReason),
    Stray(SocketAddr),
    Failed(Query, String),
}

impl Told {
    fn of(event: Event<'_>) -> Self {
        match event {
            Event::Started { query, agreed, .. } => Self::Started(query.clone(), *agreed),
            Event::Progress { query, summary, .. } => {
                Self::Progress(query.clone(), summary.clone())
            }
            Event::Finished { query, summary, .. } => {
                Self::Finished(query.clone(), summary.clone())
            }
            Event::Refused { query, refusal, .. } => Self::Refused(query.clone(), refusal.clone()),
            Event::Malformed { peer, why } => Self::Malformed(peer, why),
            Event::Dropped { peer, reason, .. } => Self::Dropped(peer, reason.clone()),
            Event::Stray { peer } => Self::Stray(peer),
            Event::Failed { query, error, .. } => Self::Failed(query.clone(), error.to_string()),
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

/// Whether the transfers of this run's servers have no ports of their own: `RTFTPD_SINGLE_PORT`, which the program obeys
/// of itself.
pub(crate) fn single_port() -> bool {
    std::env::var_os("RTFTPD_SINGLE_PORT").is_some()
}

/// The model that the servers of this run have: `RTFTPD_MODEL`, which the program obeys of itself, unless they have
/// [one port](single_port).
pub(crate) fn model() -> Model {
    if single_port() {
        return Model::SinglePort;
    }
    match std::env::var("RTFTPD_MODEL").as_deref() {
        Ok("events") => Model::Events(NonZeroUsize::MIN),
        Ok("iterative") => Model::Iterative,
        Ok("processes") => Model::Processes(limits::THREADS),
        Ok("threads") | Err(_) => Model::default(),
        Ok(other) => panic!("RTFTPD_MODEL is {other}"),
    }
}

/// What servers of this run do. They listen where [`Running::start`] has them.
pub(crate) fn config() -> Config {
    Config::default().model(model()).spawner(Transfers)
}

/// Starts the program's own process of a transfer, outside a sandbox. Each is killed with the thread that starts it, which
/// serves it.
#[derive(Debug)]
pub(crate) struct Transfers;

impl Spawner for Transfers {
    fn start(&self, channel: OwnedFd) -> io::Result<()> {
        let mut command = Command::new(Daemon::program());
        command.arg0("rtftpd-transfer").arg("none").stdin(Stdio::from(channel));
        let mut child = command.spawn()?;
        std::thread::spawn(move || child.wait());
        Ok(())
    }
}

/// Servers of the models under which several transfers run at once. Without a thread of its own, a transfer is driven by
/// the event loop that takes the requests.
pub(crate) fn concurrent() -> [Config; 6] {
    let loops = |count| Model::Events(NonZeroUsize::new(count).expect("a loop"));
    let processes = Model::Processes(limits::THREADS);
    [Model::default(), Model::Threads(0), loops(1), loops(3), processes, Model::SinglePort]
        .map(|model| Config::default().model(model).spawner(Transfers))
}

/// Whether transfers run in processes of their own: what is told them here they hear a moment later.
pub(crate) fn has_processes(config: &Config) -> bool {
    format!("{config:?}").contains("Processes")
}

/// A server in this process. Dropped, it ends all transfers and is waited for.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    told: mpsc::Receiver<Told>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Serves `root` on 127.0.0.1, read only.
    pub(crate) fn serve(root: &Path) -> Self {
        Self::start(config(), Folder::open(root).expect("a folder"))
    }

    /// The same with uploads.
    pub(crate) fn taking(root: &Path, uploads: Uploads) -> Self {
        Self::start(config(), Folder::open(root).expect("a folder").uploads(uploads))
    }

    /// Serves `store` on 127.0.0.1.
    pub(crate) fn start(config: Config, store: impl Store + 'static) -> Self {
        Self::bound(config.listen((Ipv4Addr::LOCALHOST, 0)), store)
    }

    /// Serves `store` where `config` listens.
    pub(crate) fn bound(config: Config, store: impl Store + 'static) -> Self {
        Self::observed(config, store, |_| {})
    }

    /// The same; `also` is told everything, too.
    pub(crate) fn observed(
        config: Config,
        store: impl Store + 'static,
        also: impl Fn(&Told) + Send + Sync + 'static,
    ) -> Self {
        let (tell, told) = mpsc::channel();
        let observer = move |event: Event<'_>| {
            let event = Told::of(event);
            let _ = tell.send(event.clone());
            also(&event);
        };
        let server = Server::bind(config, store, observer).expect("a server");
        let (address, handle) = (server.addresses()[0], server.handle());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self { address, handle, told, thread }
    }

    /// The server's port at another of this machine's addresses.
    pub(crate) fn at(&self, ip: impl Into<IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.into(), self.address.port())
    }

    pub(crate) fn client(&self, wishes: Wishes) -> Client {
        Client::new(self.address).wishes(wishes)
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.address)
    }

    /// Waits for the first event that `pick` takes; those before it are gone.
    #[track_caller]
    pub(crate) fn event<T>(&self, what: &str, pick: impl Fn(Told) -> Option<T>) -> T {
        until(what, || {
            std::iter::from_fn(|| self.told.recv_timeout(Duration::from_millis(10)).ok())
                .find_map(&pick)
        })
    }

    /// How the next transfer with this client ended.
    #[track_caller]
    pub(crate) fn outcome(&self, peer: &Peer) -> Outcome {
        let address = peer.address();
        let summary = self.event("the end of a transfer", |told| match told {
            Told::Finished(query, summary) if query.peer == address => Some(summary),
            _ => None,
        });
        summary.outcome.expect("an outcome")
    }

    /// What has been told up to now.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.try_iter().collect()
    }

    /// Waits until no transfer is under way.
    #[track_caller]
    pub(crate) fn idle(&self) {
        until("no transfer is left", || (self.handle.transfers() == 0).then_some(()));
    }

    /// Waits until the server has returned.
    pub(crate) fn ended(mut self) -> io::Result<()> {
        joined("the server returns", self.thread.take().expect("it runs"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.drain(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let ended = joined_in_drop("the server returns", thread);
            assert!(matches!(ended, None | Some(Ok(()))), "{ended:?}");
        }
    }
}

/// What a client got, once it was whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    whole: Arc<Mutex<bool>>,
}

impl Collected {
    /// What came so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("bytes").clone()
    }
}

impl Sink for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.lock().expect("bytes").extend_from_slice(bytes);
        Ok(())
    }
    fn commit(&mut self) -> io::Result<()> {
        *self.whole.lock().expect("a flag") = true;
        Ok(())
    }
}

/// What a client comes to that calls on a thread of its own.
#[track_caller]
fn called<T: Send + 'static>(
    client: &Client,
    call: impl FnOnce(&Client) -> T + Send + 'static,
) -> T {
    let client = client.clone();
    joined("the client's call returns", std::thread::spawn(move || call(&client)))
}

/// Downloads with the library's client.
#[track_caller]
pub(crate) fn get(client: &Client, name: &str) -> Result<Vec<u8>, Failure> {
    let (collected, name) = (Collected::default(), name.to_owned());
    let sink = collected.clone();
    called(client, move |client| client.get(name, sink, |_| {}))?;
    assert!(*collected.whole.lock().expect("a flag"), "a download that succeeded is committed");
    Ok(std::mem::take(&mut *collected.bytes.lock().expect("bytes")))
}

/// Uploads with the library's client.
#[track_caller]
pub(crate) fn put(client: &Client, name: &str, bytes: &[u8]) -> Result<Summary, Failure> {
    let (name, bytes) = (name.to_owned(), bytes.to_vec());
    called(client, move |client| client.write(name, bytes))
}

/// Lists with the library's client.
#[track_caller]
pub(crate) fn listing(client: &Client, name: &[u8]) -> Result<Listing, Failure> {
    let name = name.to_vec();
    called(client, move |client| client.list(name))
}

/// Wishes for blocks of this size in windows of this width.
pub(crate) fn windowed(block_size: u16, window: u16) -> Wishes {
    Wishes::default()
        .block_size(BlockSize::new(block_size).expect("a block size"))
        .window(WindowSize::new(window).expect("a window"))
}

/// Without options.
pub(crate) fn plain() -> Wishes {
    Wishes::default().plain(true)
}

/// An address of this machine where nobody listens, and nobody will as long as this process lives.
pub(crate) fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    // What is connected takes nothing from others, and to them it is as if there were no socket.
    socket.connect(address).expect("connected");
    std::mem::forget(socket);
    address
}
