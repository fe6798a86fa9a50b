//! `--model processes`: each transfer in a process of its own. That it serves as the others do is for all other tests,
//! which run with each model that `RTFTPD_MODEL` names; here is what sets it apart.

mod common;

use common::apart::leave_out;
use common::{Daemon, Peer, ack, folder, open_to_all, pattern, plain, rrq, until, windowed, wrq};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tftpkit::client::Client;

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
fn a_process_that_is_killed_ends_its_own_transfer_and_no_other() {
    let bytes = pattern(3000, 1);
    let root = folder(&[("file", &bytes)]);
    let server = serve(root.path(), &["--uploads", "create"]);
    let (first, first_tid, one) = begun(&server, &[]);
    let (second, second_tid, _) = begun(&server, &[one]);
    kill(one, Signal::SIGKILL).expect("it lives");
    first.wanted(first_tid, LOST);
    server.log_line(&["its process is gone"]);
    second.exchange(&ack(2), second_tid, "DATA 3 512");
    let upload = server.peer();
    let (_, tid) = upload.answer(&wrq("new", &[]));
    let other = server.transfer_processes().into_iter().max().expect("its process");
    kill(other, Signal::SIGKILL).expect("it lives");
    upload.wanted(tid, LOST);
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

#[test]
fn the_same_request_is_answered_however_its_process_is_ending() {
    let root = folder(&[("file", &pattern(3000, 1))]);
    let server = serve(root.path(), &[]);
    let (peer, request) = (server.peer(), rrq("file", &[("blksize", "1024")]));
    for _ in 0..20 {
        // An answer of the process before, perhaps.
        let (oack, tid) = peer.answer(&request);
        assert_eq!(common::show(&oack), "OACK blksize=1024");
        peer.send(&common::error(8, "that is too much"), tid);
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
fn packets_of_other_processes_cannot_be_heard_and_that_is_told() {
    let root = folder(&[]);
    for option in ["--trace", "--pcap-on-failure=captures"] {
        let mut command = Command::new(Daemon::program());
        let told =
            common::child::output(command.arg(root.path()).args(["--model", "processes", option]));
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("--model processes packets come and go where"), "{told}");
    }
}
