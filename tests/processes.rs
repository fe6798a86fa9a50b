//! `--model processes`: each transfer in a process of its own. That it serves as the others do is for all other tests,
//! which run with each model that `RTFTPD_MODEL` names; here is what sets it apart.

mod common;

use common::apart::leave_out;
use common::{
    DEADLINE, Daemon, Peer, Running, Told, ack, child, children, data, folder, next, open_to_all,
    pattern, plain, rrq, show, transfer_processes_of, until, windowed, wrq,
};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{Pid, Uid};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tftpkit::client::Client;
use tftpkit::limits;
use tftpkit::query::Query;
use tftpkit::server::{Config, Model, Spawner};
use tftpkit::store::{Readable, Store, StoreError};
use tftpkit::transfer::{Outcome, Sink};

fn serve(root: &Path, arguments: &[&str]) -> Daemon {
    Daemon::serve(root, &[&["--model", "processes"], arguments].concat())
}

/// Begins a download of `file`, which has many blocks: its client, the session's port, and the process that is new.
fn begun(server: &Daemon, known: &[Pid]) -> (Peer, SocketAddr, Pid) {
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("file", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    let new = server.transfer_processes().into_iter().find(|pid| !known.contains(pid));
    (peer, tid, new.expect("a process for it"))
}

/// What the client of a process that is gone is told.
const LOST: &str = "ERROR 0 \"server error\"";

fn about(pid: Pid, what: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{what}")).expect("it lives")
}

#[test]
fn files_listings_and_uploads_are_served_as_by_any_other_model() {
    let bytes = pattern(200_000, 1);
    let root = folder(&[("file", &bytes), ("text", b"a\nb\n")]);
    let server = serve(root.path(), &["--uploads", "overwrite"]);
    assert!(server.peer().fetch(&rrq("file", &[])) == Ok(bytes.clone()));
    until("no process is left", || server.transfer_processes().is_empty().then_some(()));
    for wishes in [plain(), windowed(1428, 16)] {
        let client = Client::new(server.address).wishes(wishes);
        assert!(client.read("file").expect("a download") == bytes);
        client.write("new", bytes.clone()).expect("an upload");
        assert!(std::fs::read(root.path().join("new")).expect("it is there") == bytes);
    }
    let listed = server.peer().fetch(&rrq(".list", &[])).expect("a listing");
    assert!(String::from_utf8_lossy(&listed).contains("text"), "{listed:?}");
    assert!(server.peer().fetch(&rrq("none", &[])).is_err());
}

#[test]
fn processes_share_the_rate_of_all_downloads() {
    let bytes = pattern(64_000, 1);
    let root = folder(&[("file", &bytes)]);
    let server = serve(root.path(), &["--rate", "64K"]);
    let client = Client::new(server.address).wishes(windowed(8192, 1));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| client.read("file").expect("a download")));
        both.into_iter().for_each(|one| assert!(one.join().expect("no panic") == bytes));
    });
    // All but a block of each that leaves at once, and what leaves 10 ms ahead.
    let least = Duration::from_millis(1_600);
    let took = began.elapsed();
    assert!(took >= least, "128,000 bytes in {took:?}, at 65,536 in a second");
}

#[test]
fn a_process_that_is_killed_ends_its_own_transfer_and_no_other() {
    let bytes = pattern(3000, 1);
    let root = folder(&[("file", &bytes)]);
    let server = serve(root.path(), &["--uploads", "create", "--map-rule", "r ^old/"]);
    let (first, first_tid, one) = begun(&server, &[]);
    let (second, second_tid, _) = begun(&server, &[one]);
    kill(one, Signal::SIGKILL).expect("it lives");
    first.wanted(first_tid, LOST);
    server.log_line(&["its process is gone"]);
    second.exchange(&ack(2), second_tid, "DATA 3 512");
    let upload = server.peer();
    let (_, tid) = upload.answer(&wrq("old/new", &[]));
    let other = server.transfer_processes().into_iter().max().expect("its process");
    kill(other, Signal::SIGKILL).expect("it lives");
    upload.wanted(tid, LOST);
    let told = server.log_line(&["failed", "old/new"]);
    assert!(
        told.contains("served") && told.contains("\"new\""),
        "what would have been written: {told}"
    );
    until("the temporary is gone", || {
        (common::everything_in(root.path()) == ["file"]).then_some(())
    });
    assert_eq!(server.peer().fetch(&rrq("file", &[])), Ok(bytes));
}

#[test]
fn a_process_has_its_sockets_and_nothing_else() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    open_to_all(root.path());
    let mut command = Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "127.0.0.1:0", "--model", "processes"]);
    let server = Daemon::spawn_as_any(&mut command);
    let (_peer, _, pid) = begun(&server, &[]);
    let status = about(pid, "status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    assert_eq!((field("CapEff"), field("CapPrm")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!(field("NoNewPrivs"), "1");
    if Uid::effective().is_root() {
        assert!(!field("Uid").split_whitespace().any(|uid| uid == "0"), "{status}");
    }
    match server.logged(&["the sandbox is not whole"]) {
        Some(why) => leave_out("seccomp", &why, "the kernel has Landlock and seccomp"),
        None => assert_eq!(field("Seccomp"), "2"),
    }
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten();
    let files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    // Whoever runs the tests may have left something open for all.
    let own = std::fs::read_dir("/proc/self/fd").expect("its own").flatten();
    let own = own.filter_map(|file| std::fs::read_link(file.path()).ok());
    let own: Vec<_> = own.map(|file| file.display().to_string()).collect();
    let is_file = |name: &&String| name.starts_with('/') && !own.contains(name);
    assert_eq!(files.iter().find(is_file), None, "{files:?}");
}

/// What the descriptors of a process are.
fn descriptors(pid: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten();
    all.filter_map(|one| std::fs::read_link(one.path()).ok()).collect()
}

#[test]
fn a_process_has_no_socket_that_takes_requests_whoever_gave_it_to_the_server() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    for by_inetd in [false, true] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let name = PathBuf::from(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        let name = std::fs::read_link(name).expect("its name");
        let given =
            || Stdio::from(OwnedFd::from(socket.try_clone().expect("the socket once more")));
        let mut command = if by_inetd {
            let mut command = Command::new(Daemon::program());
            command.arg("--inetd").stdout(given()).stderr(given());
            command
        } else {
            let mut command = Command::new("sh");
            let activate =
                "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
            command.args(["-c", activate]).arg(Daemon::program());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        command.arg(root.path()).args([
            "--model",
            "processes",
            "--user",
            &Uid::effective().to_string(),
        ]);
        let mut server = command.stdin(given()).spawn().expect("a server");
        let peer = Peer::of(socket.local_addr().expect("an address"));
        let (first, tid) = peer.answer(&rrq("file", &[]));
        assert_eq!(show(&first), "DATA 1 512");
        peer.exchange(&ack(1), tid, "DATA 2 512");
        let pid = Pid::from_raw(server.id().cast_signed());
        assert!(descriptors(&pid.to_string()).contains(&name), "the server has it");
        for pid in transfer_processes_of(pid).into_iter().chain(children(pid, "rtftpd-spawner")) {
            let all = descriptors(&pid.to_string());
            assert!(!all.contains(&name), "by inetd: {by_inetd}, {name:?} in {all:?}");
        }
        server.kill().expect("killed");
        child::end("the server", &mut server);
    }
}

#[test]
fn a_process_has_so_much_of_the_machine_and_no_more() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let server = serve(root.path(), &[]);
    let (_peer, _, pid) = begun(&server, &[]);
    let told = about(pid, "limits");
    for (name, most) in [
        ("Max address space", limits::PROCESS_BYTES),
        ("Max open files", limits::PROCESS_DESCRIPTORS),
        ("Max cpu time", limits::PROCESS_SECONDS),
        ("Max core file size", 0),
    ] {
        let line = told.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let [soft, hard] = [0, 1].map(|n| line.split_whitespace().nth(n).map(str::to_owned));
        let most = Some(most.to_string());
        assert_eq!((&soft, &hard), (&most, &most), "{name}");
    }
}

#[test]
fn the_same_request_is_answered_however_its_process_is_ending() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let server = serve(root.path(), &[]);
    let (peer, request) = (server.peer(), rrq("file", &[("blksize", "1024")]));
    let (_, mut tid) = peer.answer(&request);
    for _ in 0..20 {
        peer.send(&common::error(8, "that is too much"), tid);
        let (oack, second) = peer.answer(&request);
        assert_eq!((show(&oack), second == tid), ("OACK blksize=1024".into(), false));
        tid = second;
    }
}

#[test]
fn no_process_outlives_its_server() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let mut server = serve(root.path(), &[]);
    let (_peer, _, pid) = begun(&server, &[]);
    server.kill();
    until("the process is gone", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_process_that_nobody_tells_anything_says_so_and_fails() {
    let (ours, theirs) = UnixStream::pair().expect("a channel");
    let mut command = Command::new(Daemon::program());
    command.arg0("rtftpd-transfer").arg("none").stdin(Stdio::from(OwnedFd::from(theirs)));
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    drop(ours);
    let ended = child::said_within(DEADLINE, piped).expect("its end");
    let told = child::text(&ended);
    assert!(!ended.status.success() && told.contains("rtftpd-transfer: cannot go on"), "{told}");
}

#[test]
fn a_process_that_hangs_is_killed_when_its_client_asks_for_something_else() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let server = serve(root.path(), &[]);
    let (peer, old, hangs) = begun(&server, &[]);
    kill(hangs, Signal::SIGSTOP).expect("it lives");
    let (oack, tid) = peer.answer_beside(old, &rrq("file", &[("blksize", "1024")]));
    assert_eq!(show(&oack), "OACK blksize=1024");
    // Whoever answers this is the client of both.
    peer.exchange(&ack(0), tid, "DATA 1 1024");
    server.log_line(&["ended", "the client asked for something else"]);
    until("it is gone", || (!server.transfer_processes().contains(&hangs)).then_some(()));
}

#[test]
fn a_stop_lets_transfers_go_on_to_their_end() {
    let root = folder(&[("file", &pattern(1100, 1))]);
    let mut server = serve(root.path(), &["--drain", "20"]);
    let (peer, tid, pid) = begun(&server, &[]);
    server.signal(Signal::SIGTERM);
    kill(pid, Signal::SIGTERM).expect("a manager of services stops all that it sees");
    server.log_line(&["stopping"]);
    peer.exchange(&ack(2), tid, "DATA 3 76");
    peer.send(&ack(3), tid);
    assert_eq!(until("its end", || server.exit_status()), 0);
    // And one that is told to end says so to its client.
    let mut server = serve(root.path(), &["--drain", "0"]);
    let (peer, tid, _) = begun(&server, &[]);
    server.signal(Signal::SIGTERM);
    peer.wanted(tid, "ERROR 0 \"the server is shutting down\"");
    assert_eq!(until("its end", || server.exit_status()), 0);
}

#[test]
fn a_request_beyond_the_processes_is_answered_when_one_is_over() {
    let root = folder(&[("file", &pattern(1100, 1))]);
    let server = serve(root.path(), &["--max-threads", "1", "-v"]);
    let (peer, tid, _) = begun(&server, &[]);
    let second = server.peer();
    second.ask(&rrq("file", &[]));
    server.log_line(&["too many transfers at once"]);
    peer.exchange(&ack(2), tid, "DATA 3 76");
    peer.send(&ack(3), tid);
    let answered = until("an answer", || {
        second.ask(&rrq("file", &[]));
        second.pending().into_iter().next()
    });
    assert_eq!(answered.0[..4], [0, 3, 0, 1]);
}

#[test]
fn who_dallies_gives_its_process_to_who_asks() {
    let bytes = pattern(1100, 1);
    let root = folder(&[("file", &bytes)]);
    let server = serve(root.path(), &["--max-threads", "1", "--uploads", "create"]);
    let writer = server.peer();
    let (_, tid) = writer.answer(&wrq("new", &[]));
    writer.exchange(&data(1, b"all of it"), tid, "ACK 1");
    server.log_line(&["received", "new"]);
    assert_eq!(server.transfer_processes().len(), 1, "it dallies");
    // Its first request is answered: a repeat would come a second later.
    let reader = server.peer();
    reader.ask(&rrq("file", &[]));
    assert_eq!(show(&reader.receive().0), "DATA 1 512");
    assert_eq!(server.logged(&["too many"]), None);
    until("who dallied is gone", || (server.transfer_processes().len() == 1).then_some(()));
}

#[test]
fn clients_that_never_answer_leave_processes_to_those_that_do() {
    let root = folder(&[("file", &pattern(1100, 1))]);
    let server = serve(root.path(), &["--max-threads", "8", "-v"]);
    let silent: Vec<_> = (0..6).map(|_| (server.peer(), rrq("file", &[]))).collect();
    let silent: Vec<_> =
        silent.iter().map(|(peer, request)| (peer, peer.answer(request).1)).collect();
    let late = server.peer();
    late.ask(&rrq("file", &[]));
    server.log_line(&["dropped", "have not answered"]);
    let (first, tid) = silent[0];
    first.exchange(&ack(1), tid, "DATA 2 512");
    let answered = until("an answer", || {
        late.ask(&rrq("file", &[]));
        late.pending().into_iter().next()
    });
    assert_eq!(show(&answered.0), "DATA 1 512");
}

#[test]
fn a_server_whose_spawner_is_gone_says_so_and_ends_to_be_started_again() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let mut server = serve(root.path(), &["--drain", "60"]);
    let (peer, tid, _) = begun(&server, &[]);
    let own = Pid::from_raw(server.pid().parse().expect("a number"));
    let spawner = children(own, "rtftpd-spawner").into_iter().next().expect("a spawner");
    kill(spawner, Signal::SIGKILL).expect("it lives");
    // By the thread that has lost its process, or by the end of the server: whichever is first.
    until("the client is told", || {
        show(&peer.receive_from(tid)).starts_with("ERROR 0").then_some(())
    });
    assert_eq!(until("its end", || server.exit_status()), 1);
    server.log_line(&[
        "the process is gone that starts those of --model processes",
        "start the server",
    ]);
}

/// Uploads that are stored when the test says so.
struct Stored {
    tried: mpsc::Sender<()>,
    go: Arc<Mutex<mpsc::Receiver<()>>>,
    calls: Arc<Mutex<String>>,
}

impl Sink for Stored {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        self.calls.lock().expect("no panic").push('w');
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        self.calls.lock().expect("no panic").push('c');
        let _ = self.tried.send(());
        self.go.lock().expect("no panic").recv().map_err(io::Error::other)
    }
}

/// A store of files that are all the same, and of such uploads.
struct Stores(Mutex<mpsc::Sender<()>>, Arc<Mutex<mpsc::Receiver<()>>>, Arc<Mutex<String>>);

impl Stores {
    /// With who hears that an upload is to be stored, and who says that it is.
    fn new() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((tried, tries), (go, gone)) = (mpsc::channel(), mpsc::channel());
        (Self(Mutex::new(tried), Arc::new(Mutex::new(gone)), Arc::default()), tries, go)
    }
}

impl Store for Stores {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Ok(Readable::bytes(pattern(3000, 1)))
    }

    fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
        let tried = self.0.lock().expect("no panic").clone();
        Ok(Box::new(Stored { tried, go: Arc::clone(&self.1), calls: Arc::clone(&self.2) }))
    }
}

/// Starts the program's processes, and tells which.
#[derive(Debug)]
struct Tells(Mutex<mpsc::Sender<Pid>>);

impl Spawner for Tells {
    fn start(&self, channel: OwnedFd) -> io::Result<()> {
        let mut command = Command::new(Daemon::program());
        command.arg0("rtftpd-transfer").arg("none").stdin(Stdio::from(channel));
        let mut child = command.spawn()?;
        let _ = self.0.lock().expect("no panic").send(Pid::from_raw(child.id().cast_signed()));
        std::thread::spawn(move || child.wait());
        Ok(())
    }
}

fn with(spawner: impl Spawner + 'static) -> Config {
    Config::default().model(Model::Processes(4)).spawner(spawner)
}

/// Why a transfer was lost.
fn loss(server: &Running) -> String {
    server.event("a loss", |told| match told {
        Told::Failed(_, why) => Some(why),
        Told::Finished(_, summary) => panic!("{summary}"),
        _ => None,
    })
}

#[test]
fn a_process_that_dies_while_its_upload_is_stored_leaves_it_stored_and_that_is_told() {
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let ((tell, pids), (store, tries, go)) = (mpsc::channel(), Stores::new());
        let calls = Arc::clone(&store.2);
        let server = Running::start(with(Tells(Mutex::new(tell))), store);
        let writer = server.peer();
        let (_, tid) = writer.answer(&wrq("new", &[]));
        writer.send(&data(1, b"all of it"), tid);
        next("it is to be stored", &tries);
        let pid = next("its process", &pids);
        kill(pid, signal).expect("it lives");
        until("it is dead", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
        assert_eq!(writer.pending(), [], "nothing is known yet");
        go.send(()).expect("it waits");
        writer.wanted(tid, "ERROR 0 \"the file is stored, but the server lost the transfer\"");
        assert!(loss(&server).ends_with("the upload is stored"));
        assert_eq!(*calls.lock().expect("no panic"), "wc");
        server.idle();
    }
}

#[test]
fn an_upload_that_is_stored_while_the_server_ends_it_is_told_as_stored() {
    let ((tell, pids), (store, tries, go)) = (mpsc::channel(), Stores::new());
    let server = Running::start(with(Tells(Mutex::new(tell))), store);
    let [writer, reader] = [(); 2].map(|()| server.peer());
    let (_, tid) = writer.answer(&wrq("new", &[]));
    writer.send(&data(1, b"all of it"), tid);
    next("it is to be stored", &tries);
    kill(next("its process", &pids), Signal::SIGKILL).expect("it lives");
    let (_, its_tid) = reader.answer(&rrq("file", &[]));
    server.handle.drain(Duration::ZERO);
    // The older one was told before.
    reader.wanted(its_tid, "ERROR 0 \"the server is shutting down\"");
    go.send(()).expect("it waits");
    assert_eq!(server.outcome(&writer), Outcome::Complete);
    assert_eq!(writer.pending(), [], "nobody knows what it has heard of its process");
}

/// A process that was taken over: it says what it is told to, and then waits for its end.
#[derive(Debug)]
struct Lies(Vec<&'static [u8]>);

impl Spawner for Lies {
    fn start(&self, channel: OwnedFd) -> io::Result<()> {
        let words = self.0.clone();
        std::thread::spawn(move || {
            // The first message has the transfer's socket, which is let go with it.
            let _ = recv(channel.as_raw_fd(), &mut [0; 4096], MsgFlags::empty());
            for word in words {
                let _ = send(channel.as_raw_fd(), word, MsgFlags::MSG_NOSIGNAL);
            }
            let mut ends = [nix::poll::PollFd::new(channel.as_fd(), nix::poll::PollFlags::empty())];
            let _ = nix::poll::poll(&mut ends, nix::poll::PollTimeout::NONE);
        });
        Ok(())
    }
}

const NOTHING: &[u8] = b"r\0\0\0\0\0\0\x01\0";
const COMPLETE: &[u8] =
    br#"e{"bytes":1,"packets":1,"retransmitted":0,"probes":0,"unproven_bytes":0,"round_trip":null,
    "end_missing":false,"outcome":"Complete","is_proven":true,"repeats":0}"#;
const ENDLESS: &[u8] =
    br#"e{"bytes":1,"packets":1,"retransmitted":0,"probes":0,"unproven_bytes":0,"round_trip":null,
    "end_missing":false,"outcome":null,"is_proven":true,"repeats":0}"#;

/// A process that ends with the job that it was given, which it tells.
#[derive(Debug)]
struct Quits(Mutex<mpsc::Sender<serde_json::Value>>);

impl Spawner for Quits {
    fn start(&self, channel: OwnedFd) -> io::Result<()> {
        let tell = self.0.lock().expect("no panic").clone();
        std::thread::spawn(move || {
            let mut job = [0; 4096];
            let len = recv(channel.as_raw_fd(), &mut job, MsgFlags::empty()).expect("a job");
            let _ = tell.send(serde_json::from_slice(&job[..len]).expect("JSON"));
        });
        Ok(())
    }
}

#[test]
fn a_process_is_told_how_its_transfer_is_to_travel() {
    let large = [("blksize", "65464"), ("windowsize", "4")];
    for (offload, options, block) in [(true, &large[..], Some(65464)), (false, &[], None)] {
        let (tell, jobs) = mpsc::channel();
        let config = with(Quits(Mutex::new(tell))).offload(offload);
        let server = Running::start(config, Stores::new().0);
        let peer = server.peer();
        peer.ask(&rrq("file", options));
        let job = next("a job", &jobs);
        assert_eq!(
            (&job["path_block"], &job["offload"]),
            (&block.into(), &offload.into()),
            "{job}"
        );
        assert!(job["buffer"].as_u64() > Some(0) && job["is_held"] == false, "{job}");
        assert!(loss(&server).starts_with("its process is gone"));
    }
}

#[test]
fn what_a_process_says_that_was_taken_over_harms_its_own_transfer_alone() {
    let twice: Vec<&[u8]> = vec![b"w1", b"c", b"w2", b"c"];
    let cases: [(_, _, Vec<&[u8]>, _); 7] = [
        ("nothing that makes sense", false, vec![b"f{"], ""),
        ("a write of what is read", false, vec![b"w1"], ""),
        ("a read of what is written", true, vec![NOTHING], ""),
        ("no outcome", false, vec![ENDLESS], ""),
        ("an upload that is not there", true, vec![b"w1", COMPLETE], "w"),
        ("more than the upload that is stored", true, twice, "wc"),
        ("questions, and it hears no answer", false, vec![NOTHING; 400], ""),
    ];
    for (what, writes, words, calls) in cases {
        let (store, _tries, go) = Stores::new();
        let seen = Arc::clone(&store.2);
        go.send(()).expect("it waits");
        let server = Running::start(with(Lies(words)), store);
        let peer = server.peer();
        peer.ask(&if writes { wrq("new", &[]) } else { rrq("file", &[]) });
        let answer = show(&peer.receive().0);
        assert!(answer.starts_with("ERROR 0"), "{what}: {answer}");
        assert!(loss(&server).starts_with("its process makes no sense"), "{what}");
        assert_eq!(*seen.lock().expect("no panic"), calls, "{what}");
        server.idle();
    }
}

#[test]
fn a_repeat_of_the_request_has_its_answer_again() {
    let root = folder(&[("file", &pattern(1100, 1))]);
    let slow = ["--first-interval", "9", "--intervals", "9", "10"];
    let server = serve(root.path(), &slow);
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("file", &[]));
    peer.ask(&rrq("file", &[]));
    assert_eq!(peer.receive_from(tid), first);
    assert_eq!(server.transfer_processes().len(), 1);
}

#[test]
fn what_makes_no_sense_with_processes_is_told() {
    let root = folder(&[]);
    for (options, why) in [
        (["--single-port"].as_slice(), "'--model processes' cannot be used with '--single-port'"),
        (&["--max-threads", "0"], "--model processes needs a process: --max-threads 0 leaves none"),
    ] {
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--model", "processes"]).args(options);
        let told = child::output(&mut command);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn packets_of_other_processes_cannot_be_heard_and_that_is_told() {
    let root = folder(&[]);
    for option in ["--trace", "--pcap-on-failure=captures"] {
        let mut command = Command::new(Daemon::program());
        let told = child::output(command.arg(root.path()).args(["--model", "processes", option]));
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("--model processes packets come and go where"), "{told}");
    }
}
