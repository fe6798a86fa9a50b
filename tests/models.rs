//! What drives transfers: threads, event loops, one after the other. What they share is tested by all other
//! tests, which run with each model that `RTFTPD_MODEL` names; here is what sets them apart.

mod common;

use common::apart::in_own_network;
use common::{
    Daemon, Peer, Running, ack, concurrent, data, error, folder, get, joined, listing, pattern,
    plain, put, rrq, show, until, windowed, wrq,
};
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tftpkit::client::Failure;
use tftpkit::limits;
use tftpkit::query::Query;
use tftpkit::server::{Budgets, Config, Model};
use tftpkit::store::{Folder, Listing, Readable, Store, StoreError, Uploads};
use tftpkit::transfer::{MayWait, Memory, Sink, Source};
use tftpkit::wire::ErrorCode;

/// A disk that does what it is told, when it is told: until then, who asks it for anything waits.
#[derive(Clone)]
struct SlowDisk(Arc<Mutex<mpsc::Receiver<()>>>);

impl SlowDisk {
    fn new() -> (Self, mpsc::Sender<()>) {
        let (go, gone) = mpsc::channel();
        (Self(Arc::new(Mutex::new(gone))), go)
    }

    fn wait(&self) -> io::Result<()> {
        self.0.lock().expect("no panic").recv().map_err(io::Error::other)
    }
}

/// Half a file, and the rest when the disk allows.
struct SlowFile {
    ready: Memory<Vec<u8>>,
    rest: Memory<Vec<u8>>,
    disk: SlowDisk,
    has_waited: bool,
}

impl Source for SlowFile {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let bytes @ 1.. = self.ready.read(bufs)? {
            return Ok(bytes);
        }
        if !std::mem::replace(&mut self.has_waited, true) {
            self.disk.wait()?;
        }
        self.rest.read(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        match self.ready.read(bufs)? {
            0 if !self.has_waited => Ok(None),
            0 => self.rest.try_read(bufs),
            bytes => Ok(Some(bytes)),
        }
    }
}

/// A file of which nothing is in memory: each piece has to be waited for. It says nothing of that.
struct ColdFile(io::Cursor<Vec<u8>>);

impl Read for ColdFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(100);
        self.0.read(&mut buf[..most])
    }
}

/// An upload that is slow in one of the things that it does.
struct SlowUpload {
    disk: SlowDisk,
    slow: Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Write,
    Commit,
    /// To be given up.
    Drop,
}

impl Sink for SlowUpload {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        if self.slow == Slow::Write { self.disk.wait() } else { Ok(()) }
    }
    fn commit(&mut self) -> io::Result<()> {
        if self.slow == Slow::Commit { self.disk.wait() } else { Ok(()) }
    }
    fn may_wait(&self) -> MayWait {
        // As a file says whose disk is not that slow as a rule.
        if self.slow == Slow::Commit { MayWait::Always } else { MayWait::OnCommit }
    }
}

impl Drop for SlowUpload {
    fn drop(&mut self) {
        if self.slow == Slow::Drop {
            self.disk.wait().expect("a word");
        }
    }
}

/// A folder with the files `slow` and `cold`, and uploads that are slow to be made safe.
struct SlowStore(Folder, SlowDisk, Vec<u8>);

impl Store for SlowStore {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let size = self.2.len() as u64;
        match query.name.as_bytes() {
            b"cold" => Ok(Readable::blocking(ColdFile(io::Cursor::new(self.2.clone()))).size(size)),
            b"slow" => {
                let (ready, rest) = self.2.split_at(self.2.len() / 2);
                let [ready, rest] = [ready, rest].map(|part| Memory::new(part.to_vec()));
                let disk = self.1.clone();
                Ok(Readable::new(SlowFile { ready, rest, disk, has_waited: false }).size(size))
            }
            _ => self.0.read(query),
        }
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        if query.name.as_bytes() == b"opening" {
            self.1.wait().map_err(StoreError::Io)?;
        }
        let slow = match query.name.as_bytes() {
            b"written" => Slow::Write,
            b"dropped" => Slow::Drop,
            _ => Slow::Commit,
        };
        Ok(Box::new(SlowUpload { disk: self.1.clone(), slow }))
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        self.0.list(query)
    }

    fn may_wait(&self, _: &Query) -> bool {
        false
    }
}

#[test]
fn a_slow_disk_holds_up_its_own_transfer_and_no_other() {
    let (slow, quick) = (pattern(20 * 512, 1), pattern(100_000, 2));
    let root = folder(&[("quick", &quick)]);
    for config in concurrent() {
        let what = format!("{config:?}");
        let (disk, go) = SlowDisk::new();
        let store = Folder::open(root.path()).expect("a folder");
        let server = Running::start(config, SlowStore(store, disk, slow.clone()));
        let reader = {
            let client = server.client(plain());
            let slow = slow.clone();
            std::thread::spawn(move || get(&client, "slow").expect("a download") == slow)
        };
        let writer = server.peer();
        let (_, tid) = writer.answer(&wrq("new", &[]));
        writer.send(&data(1, b"all of it"), tid);
        until("both are under way", || (server.handle.transfers() == 2).then_some(()));
        for wishes in [plain(), windowed(1428, 16)] {
            assert!(get(&server.client(wishes), "quick").expect("a download") == quick, "{what}");
        }
        until("the quick ones are over", || (server.handle.transfers() == 2).then_some(()));
        assert_eq!(writer.pending(), [], "{what}");
        go.send(()).expect("someone waits");
        go.send(()).expect("someone waits");
        assert_eq!(show(&writer.receive_from(tid)), "ACK 1", "{what}");
        assert!(joined("the client's call returns", reader), "{what}");
    }
}

/// A link to another machine that carries 2 Mbit/s.
const SLOW_LINK: &str = "ip link set lo up && ip link add slow type veth peer name far \
    && ip address add 192.0.2.1/24 dev slow && ip link set slow up \
    && tc qdisc add dev slow root tbf rate 2mbit burst 5k limit 1m";

/// A client behind that link, which asks when it is told to.
fn behind_the_link(server: SocketAddr, arguments: &str) -> Child {
    let rtftp = env!("CARGO_BIN_EXE_rtftp");
    let script = format!(
        "read _ && ip address add 192.0.2.2/24 dev far && ip link set far up \
         && exec {rtftp} get --quiet {arguments} --output - 192.0.2.1:{}/slow",
        server.port()
    );
    let mut client = Command::new("unshare");
    let client = client.args(["--net", "sh", "-c", &script]).stdin(Stdio::piped());
    let mut client = client.stdout(Stdio::null()).spawn().expect("a client");
    until("it has a network of its own", || {
        let [own, its] = ["self".into(), client.id().to_string()]
            .map(|id| std::fs::read_link(format!("/proc/{id}/ns/net")).expect("a network"));
        (own != its).then_some(())
    });
    let mut mv = Command::new("ip");
    let moved = mv.args(["link", "set", "far", "netns", &client.id().to_string()]).status();
    assert!(moved.expect("ip").success());
    client.stdin.take().expect("a pipe").write_all(b"go\n").expect("it waits");
    client
}

#[test]
fn a_slow_link_holds_up_its_own_transfer_and_no_other() {
    if !in_own_network(a_slow_link_holds_up_its_own_transfer_and_no_other, SLOW_LINK) {
        return;
    }
    // Four seconds of the link, and less than one of its windows.
    let root = folder(&[("slow", &pattern(1_000_000, 1)), ("quick", &pattern(600, 2))]);
    let mut command = Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "0.0.0.0:0", "--model", "events"]);
    let daemon = Daemon::spawn(&mut command);
    let server = (Ipv4Addr::LOCALHOST, daemon.address.port()).into();
    let mut slow = behind_the_link(server, "--windowsize 64 --blksize 65464");
    let mut longest = Duration::ZERO;
    let ended = until("the slow one ends", || {
        let begun = Instant::now();
        Peer::of(server).fetch(&rrq("quick", &[])).expect("a small file");
        longest = longest.max(begun.elapsed());
        slow.try_wait().expect("a child")
    });
    assert!(ended.success(), "{ended}");
    assert!(longest < Duration::from_millis(500), "somebody else waited for {longest:?}");
}

/// A disk that takes no write, or cannot even give up what it has, as when its file system is frozen.
#[test]
fn an_upload_that_waits_for_its_disk_holds_up_no_other_transfer() {
    let quick = pattern(3000, 2);
    let root = folder(&[("quick", &quick)]);
    for config in concurrent() {
        let what = format!("{config:?}");
        let (disk, go) = SlowDisk::new();
        let store = Folder::open(root.path()).expect("a folder");
        let server = Running::start(config, SlowStore(store, disk, vec![]));
        let writer = server.peer();
        let (_, tid) = writer.answer(&wrq("written", &[]));
        // As much as is kept in memory, so that it is to be written. A thread hands nothing over, and begins before.
        let is_looped =
            ["Threads(0)", "Events", "SinglePort"].iter().any(|name| what.contains(name));
        let kept = match is_looped {
            true => limits::WRITE_BEHIND_BYTES,
            false => limits::WRITE_AT_ONCE_BYTES,
        };
        for block in 1..=(kept / 512) as u16 {
            writer.exchange(&data(block, &[7; 512]), tid, &format!("ACK {block}"));
        }
        let quitter = server.peer();
        let (_, tid) = quitter.answer(&wrq("dropped", &[]));
        quitter.exchange(&data(1, &[7; 512]), tid, "ACK 1");
        quitter.send(&error(0, "enough"), tid);
        for wishes in [plain(), windowed(1428, 16)] {
            assert!(get(&server.client(wishes), "quick").expect("a download") == quick, "{what}");
        }
        for _ in 0..10 {
            let _ = go.send(());
        }
    }
}

#[test]
fn a_file_whose_every_piece_must_be_waited_for_arrives() {
    let file = pattern(20_000, 3);
    let root = folder(&[]);
    for config in concurrent() {
        let what = format!("{config:?}");
        let store = Folder::open(root.path()).expect("a folder");
        let server = Running::start(config, SlowStore(store, SlowDisk::new().0, file.clone()));
        for wishes in [plain(), windowed(1428, 4)] {
            assert!(get(&server.client(wishes), "cold").expect("a download") == file, "{what}");
        }
    }
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_a_slow_disk() {
    for config in concurrent() {
        let (disk, go) = SlowDisk::new();
        let root = folder(&[]);
        let store = Folder::open(root.path()).expect("a folder");
        let server = Running::start(config, SlowStore(store, disk, pattern(20 * 512, 1)));
        let writer = server.peer();
        let (_, tid) = writer.answer(&wrq("new", &[]));
        writer.send(&data(1, b"all of it"), tid);
        until("it is under way", || (server.handle.transfers() == 1).then_some(()));
        let late = server.peer();
        late.ask(&wrq("opening", &[]));
        until("so is the next", || (server.handle.transfers() == 2).then_some(()));
        let handle = server.handle.clone();
        handle.drain(Duration::ZERO);
        server.ended().expect("a clean end");
        // The disk comes back too late: what begins now begins with its end.
        for _ in 0..2 {
            go.send(()).expect("they wait");
        }
        assert_eq!(show(&late.receive().0), "ERROR 0 \"the server is shutting down\"");
        until("nothing is left of it", || (handle.transfers() == 0).then_some(()));
    }
}

#[test]
fn transfers_beyond_the_threads_are_carried_by_the_loop() {
    let bytes = pattern(3 * 512, 3);
    let root = folder(&[("f", &bytes)]);
    let daemon = Daemon::serve(root.path(), &["--model", "threads", "--max-threads", "2"]);
    let open = |_| {
        let peer = daemon.peer();
        let (first, tid) = peer.answer(&rrq("f", &[]));
        (peer, first, tid)
    };
    let clients: Vec<_> = (0..5).map(open).collect();
    assert_eq!(daemon.transfer_threads(), 2);
    for (peer, first, tid) in clients {
        assert!(peer.rest(first, tid, 512).expect("a download") == bytes);
    }
}

/// How many descriptors each of a server's event loops has its eye on, by the kernel's word.
fn watched(daemon: &Daemon) -> Vec<usize> {
    let loops = std::fs::read_dir(daemon.proc("fdinfo")).expect("it lives").flatten();
    let told = loops.filter_map(|fd| std::fs::read_to_string(fd.path()).ok());
    let told = told.map(|told| told.lines().filter(|line| line.starts_with("tfd:")).count());
    let mut told: Vec<_> = told.filter(|watched| *watched > 0).collect();
    told.sort_unstable();
    told
}

#[test]
fn several_loops_share_the_transfers() {
    const EACH: usize = 4;
    let bytes = pattern(2000, 1);
    let root = folder(&[("f", &bytes)]);
    let daemon = Daemon::serve(root.path(), &["--model", "events", "--event-threads", "3"]);
    until("each loop is there", || (watched(&daemon).len() == 3).then_some(()));
    let idle: usize = watched(&daemon).iter().sum();
    let open = |_| {
        let peer = daemon.peer();
        let (first, tid) = peer.answer(&rrq("f", &[]));
        (peer, first, tid)
    };
    let clients: Vec<_> = (0..3 * EACH).map(open).collect();
    let all = until("all are watched", || {
        Some(watched(&daemon)).filter(|all| all.iter().sum::<usize>() == idle + 3 * EACH)
    });
    // One of them also takes the requests, and hears of signals.
    assert!(all.iter().all(|one| (EACH..=EACH + idle).contains(one)), "{all:?}, {idle} when idle");
    for (peer, first, tid) in clients {
        assert!(peer.rest(first, tid, 512).expect("a download") == bytes);
    }
    assert_eq!(
        daemon.status("Threads"),
        5,
        "two more loops, one thread that waits for signals, and one that writes the log"
    );
}

#[test]
fn the_iterative_model_takes_the_next_request_when_the_first_is_done() {
    let bytes = pattern(3 * 512, 4);
    let root = folder(&[("f", &bytes)]);
    let config = Config::default().model(Model::Iterative);
    let store = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
    let server = Running::start(config, store);
    let (one, two) = (server.peer(), server.peer());
    let (first, tid) = one.answer(&rrq("f", &[]));
    two.ask(&rrq("f", &[]));
    one.exchange(&ack(1), tid, "DATA 2 512");
    assert_eq!((server.handle.transfers(), two.pending()), (1, vec![]));
    assert!(first[4..] == bytes[..512]);
    one.exchange(&ack(2), tid, "DATA 3 512");
    one.exchange(&ack(3), tid, "DATA 4 0");
    one.send(&ack(4), tid);
    let (first, tid) = two.receive();
    assert!(two.rest(first, tid, 512).expect("a download") == bytes);
    let client = server.client(windowed(1428, 8));
    assert!(get(&client, "f").expect("a download") == bytes);
    put(&client, "new", &bytes).expect("an upload");
    assert_eq!(listing(&client, b"").expect("a listing").entries.len(), 2);
    let missing = get(&client, "missing").expect_err("there is none");
    assert!(matches!(missing, Failure::Server { code: ErrorCode::NotFound, .. }));
}

#[test]
fn clients_at_once_have_the_rate_of_all_downloads_together_and_not_each() {
    const RATE: u32 = 1 << 20;
    let bytes = pattern(2 * RATE as usize, 1);
    let root = folder(&[("f", &bytes)]);
    let all = concurrent().map(|config| {
        let how = format!("{config:?}");
        let budgets = Budgets::default().rate(NonZeroU64::new(RATE.into()));
        let store = Folder::open(root.path()).expect("a folder");
        (how, Running::start(config.budgets(budgets), store))
    });
    let fetched = all.each_ref().map(|(_, server)| {
        [7, 8].map(|last| {
            let peer = Peer::at([127, 0, 0, last], server.address);
            std::thread::spawn(move || {
                let (granted, tid) = peer.answer(&rrq("f", &[("blksize", "32768")]));
                let begun = Instant::now();
                (peer.rest(granted, tid, 32_768), begun, Instant::now())
            })
        })
    });
    for ((how, _), fetched) in all.iter().zip(fetched) {
        let [one, other] = fetched.map(|thread| {
            let (got, begun, ended) = joined(&format!("a download of {how}"), thread);
            assert!(got.as_ref() == Ok(&bytes), "{how}");
            (begun, ended)
        });
        // Both are what may be sent within four seconds, but for the first blocks; each alone within two.
        let took = one.1.max(other.1) - one.0.min(other.0);
        assert!(took >= Duration::from_millis(3200), "all of it was sent in {took:?}: {how}");
    }
}
