//! What the tests share: servers that run, files, and a client made of bare datagrams.
#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod apart;
mod files;
mod wait;

pub(crate) use files::*;
pub(crate) use wait::*;

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tftpkit::client::{Client, Failure, Wishes};
use tftpkit::proto::{Agreed, Timing};
use tftpkit::query::Query;
use tftpkit::server::{Config, DropReason, Event, Handle, Model, Refusal, Server};
use tftpkit::store::{Folder, Store, Uploads};
use tftpkit::transfer::{Outcome, Sink, Summary};
use tftpkit::wire::{BlockSize, Malformed, Packet, WindowSize, WireBlock};

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
            Event::Started { query, agreed } => Self::Started(query.clone(), *agreed),
            Event::Progress { query, summary } => Self::Progress(query.clone(), summary.clone()),
            Event::Finished { query, summary } => Self::Finished(query.clone(), summary.clone()),
            Event::Refused { query, refusal } => Self::Refused(query.clone(), refusal.clone()),
            Event::Malformed { peer, why } => Self::Malformed(peer, why),
            Event::Dropped { peer, reason, .. } => Self::Dropped(peer, reason.clone()),
            Event::Stray { peer } => Self::Stray(peer),
            Event::Failed { query, error } => Self::Failed(query.clone(), error.to_string()),
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

/// The model that the servers of this run have: `RTFTPD_MODEL`, which the program obeys of itself.
pub(crate) fn model() -> Model {
    match std::env::var("RTFTPD_MODEL").as_deref() {
        Ok("events") => Model::Events(NonZeroUsize::MIN),
        Ok("iterative") => Model::Iterative,
        Ok("threads") | Err(_) => Model::default(),
        Ok(other) => panic!("RTFTPD_MODEL is {other}"),
    }
}

/// What servers of this run do. They listen where [`Running::start`] has them.
pub(crate) fn config() -> Config {
    Config::default().model(model())
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
    pub(crate) fn event<T>(&self, what: &str, pick: impl Fn(Told) -> Option<T>) -> T {
        until(what, || {
            std::iter::from_fn(|| self.told.recv_timeout(Duration::from_millis(10)).ok())
                .find_map(&pick)
        })
    }

    /// How the next transfer with this client ended.
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
    pub(crate) fn idle(&self) {
        until("no transfer is left", || (self.handle.transfers() == 0).then_some(()));
    }

    /// Waits until the server has returned.
    pub(crate) fn ended(mut self) -> io::Result<()> {
        let thread = self.thread.take().expect("it runs");
        until("the server returns", || thread.is_finished().then_some(()));
        thread.join().expect("no panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.drain(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

/// The real program, as a child. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    banner: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    pub(crate) fn program() -> PathBuf {
        env!("CARGO_BIN_EXE_rtftpd").into()
    }

    /// Serves `root` on 127.0.0.1.
    pub(crate) fn serve(root: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(Self::program());
        command.arg(root).args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(&mut command)
    }

    /// Starts `command`, which becomes an rtftpd that shows its banner.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("a child");
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(err.expect("a pipe")).lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("the log");
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let banner = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&banner);
        let mut lines = BufReader::new(out.expect("a pipe")).lines().map_while(Result::ok);
        let mut lines = std::iter::from_fn(move || {
            let line = lines.next()?;
            let mut shown = shown.lock().expect("the banner");
            shown.push_str(&line);
            shown.push('\n');
            Some(line)
        });
        let address = lines.find_map(|line| {
            let address = line.trim().strip_prefix("listening")?.split_whitespace().next()?;
            address.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let Some(address) = address else {
            let _ = child.wait();
            until("the log", || log.lock().ok().filter(|log| !log.is_empty()).map(drop));
            panic!("it does not start: {}", log.lock().expect("the log"));
        };
        Self { child, address, banner, log }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.address)
    }

    /// The banner, to the line that is its last off a terminal on a machine with one address.
    pub(crate) fn banner(&self) -> String {
        until("the banner", || {
            let banner = self.banner.lock().expect("the banner").clone();
            banner.contains("  or  ").then_some(banner)
        })
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Its exit status, once it has ended.
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child")?.code()
    }

    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// A number of `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// Threads that drive a transfer.
    pub(crate) fn transfer_threads(&self) -> usize {
        let tasks = std::fs::read_dir(self.proc("task")).expect("it lives");
        let name = |task: io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).filter(|name| name.trim() == "transfer").count()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it lives").count()
    }

    /// Descriptors that are no sockets: a transfer has one as long as it is under way, and none while it only dallies.
    pub(crate) fn files(&self) -> usize {
        let all = std::fs::read_dir(self.proc("fd")).expect("it lives").flatten();
        let names = all.filter_map(|one| std::fs::read_link(one.path()).ok());
        names.filter(|name| !name.to_string_lossy().starts_with("socket:")).count()
    }

    /// Waits for a log line that has all these words, and gives it.
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        until(&format!("a log line with {words:?}"), || self.logged(words))
    }

    /// The first log line so far that has all these words.
    pub(crate) fn logged(&self, words: &[&str]) -> Option<String> {
        let log = self.log.lock().expect("the log");
        let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
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

/// Downloads with the library's client.
pub(crate) fn get(client: &Client, name: &str) -> Result<Vec<u8>, Failure> {
    let collected = Collected::default();
    client.get(name, collected.clone(), |_| {})?;
    assert!(*collected.whole.lock().expect("a flag"), "a download that succeeded is committed");
    Ok(std::mem::take(&mut *collected.bytes.lock().expect("bytes")))
}

/// Uploads with the library's client.
pub(crate) fn put(client: &Client, name: &str, bytes: &[u8]) -> Result<Summary, Failure> {
    client.write(name, bytes.to_vec())
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

/// The first of so many ports in a row that are free, below those that the system gives to whoever asks for any.
pub(crate) fn free_ports(count: u16) -> u16 {
    until("free ports", || {
        let first = rand::random_range(20_000..32_000);
        let ports = first..first + count;
        let bound: Result<Vec<_>, _> =
            ports.map(|port| UdpSocket::bind(("127.0.0.1", port))).collect();
        bound.ok().map(|_| first)
    })
}

fn request(opcode: u8, name: &[u8], options: &[(&str, &str)]) -> Vec<u8> {
    let mut out = [&[0, opcode], name, b"\0octet\0"].concat();
    for word in options.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    out
}

pub(crate) fn rrq<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(1, name.as_ref(), options)
}

pub(crate) fn wrq<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(2, name.as_ref(), options)
}

pub(crate) fn list<N: AsRef<[u8]>>(name: N, options: &[(&str, &str)]) -> Vec<u8> {
    request(7, name.as_ref(), options)
}

pub(crate) fn ack(block: u16) -> Vec<u8> {
    Packet::Ack { block: WireBlock(block) }.to_vec()
}

pub(crate) fn data(block: u16, payload: &[u8]) -> Vec<u8> {
    Packet::Data { block: WireBlock(block), payload }.to_vec()
}

/// A packet as `fixtures/README.md` writes it.
pub(crate) fn show(packet: &[u8]) -> String {
    Packet::parse(packet).map_or_else(|why| format!("malformed: {why}"), |p| p.to_string())
}

/// The code of an ERROR.
pub(crate) fn error_code(packet: &[u8]) -> u16 {
    match Packet::parse(packet) {
        Ok(Packet::Error { code, .. }) => code.into(),
        _ => panic!("no ERROR: {}", show(packet)),
    }
}

/// A client that does nothing by itself.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
}

impl Peer {
    /// Bound to a port of its own on loopback.
    pub(crate) fn of(server: SocketAddr) -> Self {
        let own: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let socket = UdpSocket::bind((own, 0)).expect("a socket");
        Self { socket, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// From now on its port is closed to all there are, though it can still send.
    pub(crate) fn close_to_others(&self) {
        self.socket.connect(self.address()).expect("a port");
    }

    /// Sends to the request port.
    pub(crate) fn ask(&self, datagram: &[u8]) {
        self.send(datagram, self.server);
    }

    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).expect("sent");
    }

    /// The next datagram and who sent it.
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (len, from) = receive(&self.socket, &mut buffer).expect("an answer");
        buffer.truncate(len);
        (buffer, from)
    }

    /// The next datagram from this address.
    pub(crate) fn receive_from(&self, tid: SocketAddr) -> Vec<u8> {
        loop {
            if let (datagram, from) = self.receive()
                && from == tid
            {
                return datagram;
            }
        }
    }

    /// What is there already.
    pub(crate) fn pending(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        self.socket.set_nonblocking(true).expect("nonblocking");
        let (mut found, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => found.push((buffer[..len].to_vec(), from)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return found,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks, and takes the first answer.
    pub(crate) fn answer(&self, request: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.ask(request);
        self.receive()
    }

    /// Sends, and waits for this very packet.
    pub(crate) fn exchange(&self, datagram: &[u8], tid: SocketAddr, wanted: &str) -> Vec<u8> {
        self.send(datagram, tid);
        self.wanted(tid, wanted)
    }

    /// Waits for this very packet, in the form of [`show`]; what is sent again meanwhile is passed over.
    pub(crate) fn wanted(&self, tid: SocketAddr, wanted: &str) -> Vec<u8> {
        loop {
            let packet = self.receive_from(tid);
            let seen = show(&packet);
            if seen == wanted {
                return packet;
            }
            assert!(!seen.starts_with("ERROR"), "{seen} in place of {wanted}");
        }
    }

    /// Reads a file or a listing in lock-step; the ERROR when there is one.
    pub(crate) fn fetch(&self, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let (first, tid) = self.answer(request);
        self.rest(first, tid, 512)
    }

    /// The same from its first packet on.
    pub(crate) fn rest(
        &self,
        mut packet: Vec<u8>,
        tid: SocketAddr,
        block_size: usize,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let (mut bytes, mut next) = (Vec::new(), 1u16);
        loop {
            match Packet::parse(&packet) {
                Ok(Packet::Data { block, payload }) if block == WireBlock(next) => {
                    bytes.extend_from_slice(payload);
                    self.send(&ack(next), tid);
                    if payload.len() < block_size {
                        return Ok(bytes);
                    }
                    next = next.wrapping_add(1);
                }
                Ok(Packet::Oack(_)) => self.send(&ack(0), tid),
                Ok(Packet::Error { .. }) => return Err(packet),
                _ => {}
            }
            packet = self.receive_from(tid);
        }
    }

    /// Writes a file in lock-step; the ERROR when there is one.
    pub(crate) fn store(&self, request: &[u8], bytes: &[u8]) -> Result<(), Vec<u8>> {
        let (first, tid) = self.answer(request);
        if matches!(Packet::parse(&first), Ok(Packet::Error { .. })) {
            return Err(first);
        }
        self.store_rest(tid, 1, bytes)
    }

    /// The same from this block on.
    pub(crate) fn store_rest(
        &self,
        tid: SocketAddr,
        first: u16,
        bytes: &[u8],
    ) -> Result<(), Vec<u8>> {
        let blocks = bytes.len() / 512 + 1;
        for n in 0..blocks {
            let (number, payload) = (first + n as u16, &bytes[n * 512..]);
            self.send(&data(number, &payload[..payload.len().min(512)]), tid);
            loop {
                let packet = self.receive_from(tid);
                match Packet::parse(&packet) {
                    Ok(Packet::Ack { block }) if block == WireBlock(number) => break,
                    Ok(Packet::Error { .. }) => return Err(packet),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
