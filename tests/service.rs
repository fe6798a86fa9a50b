//! `rtftpd` as a service: sockets that others have bound, restarts under load, what systemd and the journal hear; and
//! `rtftp check`, which asks whether it is there.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::{in_own_mounts, strace};
use common::{
    DEADLINE, Daemon, Peer, ack, child, closed, folder, get, joined, pattern, rrq, show, until,
};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use predicates::prelude::*;
use predicates::str::{contains, is_match};
use programs::{rtftp, rtftpd};
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tftpkit::client::{Client, Wishes};

/// A socket like the one of a unit, and where it is.
fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

#[test]
fn a_socket_that_systemd_has_bound_is_served_and_no_other() {
    let root = folder(&[("f", b"few")]);
    let (socket, address) = bound();
    // What was asked before it started waits for it.
    let early = Peer::of(address);
    early.ask(&rrq("f", &[]));
    let server = Daemon::activated(&socket, &[], root.path());
    assert_eq!(server.address, address);
    assert_eq!(server.banner().matches("listening").count(), 1, "the default port is not added");
    assert_eq!(show(&early.receive().0), "DATA 1 3");
    assert_eq!(Peer::of(address).fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
    drop(server);
    let also = Daemon::activated(&socket, &["--listen", "127.0.0.2:0"], root.path());
    assert_eq!(also.banner().matches("listening").count(), 2, "what is asked for is");
    // For who else the variables are meant.
    let mut other = Command::new(Daemon::program());
    other.arg(root.path()).args(["--listen", "127.0.0.1:0"]);
    let other = Daemon::spawn(other.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]));
    assert_ne!(other.address, address);
}

#[test]
fn a_descriptor_that_is_no_udp_socket_is_refused_by_its_number() {
    let root = folder(&[]);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let refused =
        child::started_on(&mut Daemon::activation(&[], root.path()), OwnedFd::from(tcp).into());
    let said = child::said_within(DEADLINE, refused).expect("it ends");
    assert_eq!(said.status.code(), Some(1));
    let said = child::text(&said);
    assert!(said.contains("descriptor 3 of LISTEN_FDS is no UDP socket"), "{said}");
}

// ---- Restarts under load ----

/// Clients that download without a pause, each request sent once: one that nobody reads is a failure.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    fn begin(address: SocketAddr, wishes: Wishes) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let run = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let (mut whole, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match get(&Client::new(address).wishes(wishes), "f") {
                        Ok(bytes) if bytes == pattern(20_000, 1) => whole += 1,
                        Ok(_) => failed.push("other bytes".into()),
                        Err(failure) => failed.push(failure.to_string()),
                    }
                }
                (whole, failed)
            })
        };
        let clients = (0..3).map(run).collect();
        Self { stop, clients }
    }

    /// How many downloads there were. None has failed.
    #[track_caller]
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let each = self.clients.into_iter().map(|client| joined("a client ends", client));
        let (whole, failed): (Vec<_>, Vec<_>) = each.unzip();
        assert_eq!(failed.concat(), Vec::<String>::new());
        whole.into_iter().sum()
    }
}

fn once() -> Wishes {
    Wishes::default().retries(0)
}

/// A client that has a block, and is not in a hurry for the others.
fn under_way(address: SocketAddr) -> (Peer, SocketAddr) {
    let peer = Peer::of(address);
    let (_, tid) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    (peer, tid)
}

/// Downloads the rest.
fn finish((peer, tid): &(Peer, SocketAddr)) {
    let second = peer.wanted(*tid, "DATA 2 512");
    let mut blocks = 2;
    let mut block = second;
    while block.len() == 516 {
        peer.send(&ack(blocks), *tid);
        blocks += 1;
        block =
            peer.wanted(*tid, &format!("DATA {blocks} {}", if blocks == 40 { 32 } else { 512 }));
    }
    peer.send(&ack(blocks), *tid);
    assert_eq!(blocks, 40, "all of 20,000 bytes");
}

fn served() -> TempDir {
    folder(&[("f", &pattern(20_000, 1))])
}

#[test]
fn restarts_lose_no_transfer_and_no_request_where_the_socket_is_somebody_elses() {
    let root = served();
    for model in ["threads", "events"] {
        let options = ["--model", model, "--drain", "1min"];
        let (socket, address) = bound();
        let mut server = Daemon::activated(&socket, &options, root.path());
        let load = Load::begin(address, once());
        for _ in 0..3 {
            let slow = under_way(address);
            server.signal(Signal::SIGTERM);
            let next = Daemon::activated(&socket, &options, root.path());
            let before = std::mem::replace(&mut server, next);
            let (mut before, new) = (before, under_way(address));
            assert_eq!(before.exit_status(), None, "it has a transfer");
            finish(&slow);
            assert_eq!(until("the old one ends", || before.exit_status()), 0);
            finish(&new);
        }
        let downloads = load.end();
        assert!(downloads > 20, "{downloads}");
    }
}

#[test]
fn a_new_server_takes_over_from_the_one_before_and_nothing_is_lost() {
    let (root, place) = (served(), folder(&[]));
    let file = place.path().join("handover");
    let file = file.to_str().expect("UTF-8");
    for model in ["threads", "events"] {
        let pid_file = format!("{file}.pid");
        let options = ["--handover", file, "--model", model, "--pid-file", &pid_file];
        let mut server = Daemon::serve(root.path(), &options);
        let address = server.address;
        let mode = fs::metadata(file).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is nobody else's");
        let load = Load::begin(address, once());
        for _ in 0..3 {
            let slow = under_way(address);
            // The same words are a request for any port; what it takes over has one.
            let next = Daemon::serve(root.path(), &options);
            assert_eq!(next.address, address);
            let mut before = std::mem::replace(&mut server, next);
            before.log_line(&["INFO", "a new server takes the requests"]);
            assert_eq!(before.exit_status(), None, "it has a transfer");
            finish(&slow);
            assert_eq!(until("the old one ends", || before.exit_status()), 0);
        }
        let downloads = load.end();
        assert!(downloads > 20, "{downloads}");
        server.signal(Signal::SIGTERM);
        assert_eq!(until("it ends", || server.exit_status()), 0);
        // What is left of it leads nowhere, and is no obstacle.
        assert!(Path::new(file).exists());
    }
}

#[test]
fn a_new_server_that_does_not_come_up_changes_nothing() {
    let (root, place) = (served(), folder(&[]));
    let file: &str = &place.path().join("handover").display().to_string();
    let server = Daemon::serve(root.path(), &["--handover", file, "--listen", "127.0.0.2:0"]);
    let (own, (_busy, taken)) = (server.address.to_string(), bound());
    let fails = rtftpd()
        .arg(root.path())
        .args(["--listen", &own, "--listen", &taken.to_string(), "--handover", file])
        .assert();
    fails.code(1).stderr(contains("it is taken"));
    server.log_line(&["WARN", "the new server did not come up"]);
    assert_eq!(server.peer().fetch(&rrq("f", &[])), Ok(pattern(20_000, 1)));
    let next = Daemon::serve(root.path(), &["--handover", file]);
    assert_eq!(next.address, server.address);
    assert!(!next.banner().contains("127.0.0.2:"), "it is to serve the other address alone");
}

#[test]
fn where_transfers_share_the_port_the_new_server_begins_behind_the_last_of_them() {
    let (root, place) = (served(), folder(&[]));
    let file = place.path().join("handover");
    let options = ["--handover", file.to_str().expect("UTF-8"), "--single-port", "--drain", "1min"];
    let mut old = Daemon::serve(root.path(), &options);
    let slow = under_way(old.address);
    let load = Load::begin(old.address, Wishes::default());
    let new = Daemon::serve(root.path(), &options);
    old.log_line(&["a new server takes the requests"]);
    new.log_line(&["waits for the server before it"]);
    finish(&slow);
    assert_eq!(until("the old one ends", || old.exit_status()), 0);
    finish(&under_way(new.address));
    load.end();
}

// ---- inetd ----

/// Starts it as inetd does: its socket is its standard input and output and where it complains.
fn by_inetd(socket: &UdpSocket, root: &Path, arguments: &[&str]) -> Child {
    let fd = || Stdio::from(OwnedFd::from(socket.try_clone().expect("the socket once more")));
    let mut command = Command::new(Daemon::program());
    command.args(arguments).arg(root).stdin(fd()).stdout(fd()).stderr(fd());
    command.spawn().expect("rtftpd")
}

#[test]
fn inetd_starts_it_for_a_request_and_again_when_it_has_gone() {
    let root = served();
    let (socket, address) = bound();
    let user = Uid::effective().to_string();
    let user = if Uid::effective().is_root() { vec!["--user", &user] } else { vec![] };
    let options = [&["--inetd", "--idle-exit", "0.3"][..], &user].concat();
    for _ in 0..2 {
        // inetd waits until there is a request.
        let first = Peer::of(address);
        first.ask(&rrq("f", &[]));
        let mut server = by_inetd(&socket, root.path(), &options);
        let (block, tid) = first.receive();
        assert_eq!(show(&block), "DATA 1 512");
        let began = Instant::now();
        // While a transfer runs, and is not answered, it is not idle.
        first.exchange(&ack(1), tid, "DATA 2 512");
        until("twice its time", || (began.elapsed() > Duration::from_millis(600)).then_some(()));
        assert_eq!(server.try_wait().expect("a child"), None);
        finish(&(first, tid));
        let ended = child::end("the idle server", &mut server);
        assert_eq!(ended.code(), Some(0));
        // It has said nothing to anybody on the way.
        socket.set_nonblocking(true).expect("a socket");
        assert_eq!(
            socket.recv(&mut [0; 9]).map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
    }
}

#[test]
fn without_a_socket_inetds_server_says_what_is_missing() {
    let root = folder(&[]);
    rtftpd()
        .arg(root.path())
        .arg("--inetd")
        .assert()
        .code(1)
        .stderr(contains("cannot take requests"));
}

/// Where journald would be, a test listens.
#[test]
fn the_journal_gets_a_field_for_each_thing_that_is_known() {
    let prepare = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal";
    if !in_own_mounts(the_journal_gets_a_field_for_each_thing_that_is_known, prepare) {
        return;
    }
    let journal = UnixDatagram::bind("/run/systemd/journal/socket").expect("a socket");
    journal.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let next = || {
        let mut buffer = [0; 4096];
        let len = journal.recv(&mut buffer).expect("a line");
        String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
    };
    let entry =
        |word: &str| std::iter::repeat_with(next).find(|entry| entry.contains(word)).expect("one");
    let root = served();
    // As systemd has it: standard error is the stream that the variable names.
    let inside = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@""#;
    let inside = ["sh", "-c", inside];
    let server = Daemon::behind(&inside, root.path(), &[]);
    let peer = server.peer();
    peer.fetch(&rrq("f", &[])).expect("a download");
    let sent = entry("MESSAGE=sent");
    let address = peer.address().to_string();
    for field in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=rtftpd",
        "FILE=f",
        "OUTCOME=complete",
        "BYTES=20000",
        "OPERATION=RRQ",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("PEER={address}"), format!("MESSAGE=sent f to {address}")])
    {
        assert!(sent.contains(&field), "{field}: {sent}");
    }
    peer.fetch(&rrq("evil\nPRIORITY=0", &[])).expect_err("it is not there");
    let missing = entry("not there");
    assert_eq!(missing.matches("\nPRIORITY=").count(), 0, "{missing}");
    assert!(server.log().is_empty(), "not twice: {}", server.log());
    // Whose standard error is another stream writes there, and so does one whose lines are for a program.
    for (wrapper, option) in [(&["env", "JOURNAL_STREAM=1:1"][..], "-v"), (&inside, "--json")] {
        let other = Daemon::behind(wrapper, root.path(), &[option]);
        other.peer().fetch(&rrq("missing", &[])).expect_err("it is not there");
        other.log_line(&["not there"]);
    }
    // One that inetd starts has nothing else to write to.
    let (socket, inetd) = bound();
    let mut child =
        by_inetd(&socket, root.path(), &["--inetd", "--user", "0", "--idle-exit", "0.2"]);
    Peer::of(inetd).fetch(&rrq("f", &[])).expect("a download");
    entry("MESSAGE=sent");
    entry("nobody asks any more");
    assert_eq!(child::end("the idle server", &mut child).code(), Some(0));
}

// ---- systemd's messages ----

/// What a service tells systemd, with the time of each.
struct Manager(UnixDatagram);

impl Manager {
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let len = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
    }

    #[track_caller]
    fn hears(&self, wanted: &str) -> String {
        let mut seen = Vec::new();
        until(wanted, || {
            seen.push(self.next());
            seen.last().filter(|one| one.contains(wanted)).cloned()
        })
    }
}

#[test]
fn systemd_hears_that_it_is_ready_what_it_does_and_that_it_stops() {
    let (root, place) = (served(), folder(&[]));
    let name = format!("tftpkit-notify-{}", std::process::id());
    let path = place.path().join("notify");
    let file = UnixDatagram::bind(&path).expect("a socket");
    let name_of_it = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let named = UnixDatagram::bind_addr(&name_of_it).expect("a socket");
    for (manager, address) in [(file, path.display().to_string()), (named, format!("@{name}"))] {
        manager.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let manager = Manager(manager);
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", "127.0.0.1:0", "--drain", "20"]);
        command.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "400000");
        let mut server = Daemon::spawn(&mut command);
        assert!(manager.next().starts_with("READY=1\nSTATUS=0 transfers running"));
        let slow = under_way(server.address);
        manager.hears("STATUS=1 transfer running, 0 ended");
        manager.hears("WATCHDOG=1");
        finish(&slow);
        manager.hears("STATUS=0 transfers running, 1 ended");
        server.peer().fetch(&rrq("none", &[])).expect_err("it is refused");
        assert_eq!([(); 4].map(|()| manager.next()), ["WATCHDOG=1"; 4], "nothing is new");
        server.signal(Signal::SIGTERM);
        assert_eq!(manager.hears("STOPPING=1"), "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000");
        assert_eq!(until("its end", || server.exit_status()), 0);
    }
}

#[test]
fn a_watchdog_that_waits_for_another_process_is_not_fed() {
    let (root, place) = (served(), folder(&[]));
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let manager = Manager(manager);
    let mut command = Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &path);
    // It would be fed each half of a millisecond.
    let server = Daemon::spawn(command.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1"));
    let mut heard = vec![manager.next()];
    assert!(heard[0].starts_with("READY=1\n"), "{heard:?}");
    finish(&under_way(server.address));
    until("the end of a transfer", || {
        heard.push(manager.next());
        heard.last().filter(|one| one.contains(" 1 ended")).map(drop)
    });
    assert!(!heard.iter().any(|one| one.contains("WATCHDOG")), "{heard:?}");
}

#[test]
fn the_watchdog_is_not_fed_while_the_loop_that_takes_the_requests_is_stuck() {
    let (root, place) = (served(), folder(&[]));
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let manager = Manager(manager);
    // The first request that it takes costs the loop two seconds.
    let Some(mut command) = strace() else { return };
    command.args(["-D", "-f", "-o", "/dev/null", "-e", "trace=recvmsg"]);
    command.args(["-e", "inject=recvmsg:delay_enter=2000000:when=1"]).arg(Daemon::program());
    command.arg(root.path()).args(["--listen", "127.0.0.1:0", "--model", "events"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let server = Daemon::spawn(&mut command);
    manager.hears("WATCHDOG=1");
    let fetched = Peer::of(server.address);
    fetched.ask(&rrq("f", &[]));
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    until("two seconds without, and it comes again", || {
        manager.hears("WATCHDOG=1");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        (longest > Duration::from_secs(1)).then_some(())
    });
}

// ---- The units ----

/// A file of `packaging/`.
fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_units_are_sound_and_leave_little_exposed() {
    let place = folder(&[]);
    for unit in ["rtftpd.service", "rtftpd.socket"] {
        // The program is where this was built, and not installed.
        let text = packaged(&format!("systemd/{unit}"));
        let own = Daemon::program().display().to_string();
        fs::write(place.path().join(unit), text.replace("/usr/sbin/rtftpd", &own)).expect("a unit");
    }
    let units = ["rtftpd.service", "rtftpd.socket"].map(|unit| place.path().join(unit));
    let mut verify = Command::new("systemd-analyze");
    let verified = child::output(verify.args(["verify", "--man=no"]).args(&units));
    assert!(verified.status.success() && child::text(&verified).is_empty(), "{verified:?}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(&units[0]);
    let judged = child::output(&mut security);
    assert!(judged.status.success(), "{}", child::text(&judged));
    // All that the unit says is known to the program.
    let environment = packaged("systemd/rtftpd.service");
    let help = child::output(Command::new(Daemon::program()).arg("--help"));
    for name in environment.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        let name = name.split('=').next().expect("a name");
        assert!(child::text(&help).contains(&format!("[env: {name}=")), "{name}");
    }
}

#[test]
fn the_user_and_the_folder_of_the_unit_are_made() {
    let place = folder(&[("etc/x", b"")]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let root = format!("--root={}", place.path().display());
    let run = |tool: &str, words: &[&str], file: &str| {
        let mut command = Command::new(tool);
        let done = child::output(command.arg(&root).args(words).arg(folder.join(file)));
        assert!(done.status.success(), "{}", child::text(&done));
        child::text(&done)
    };
    if !Uid::effective().is_root() {
        // Only root makes users, and says so of any.
        return;
    }
    run("systemd-sysusers", &[], "sysusers.conf");
    let users = fs::read_to_string(place.path().join("etc/passwd")).expect("users");
    assert!(users.starts_with("tftp:") && users.contains(":/srv/tftp:"), "{users}");
    run("systemd-tmpfiles", &["--create"], "tmpfiles.conf");
    assert!(place.path().join("srv/tftp").is_dir());
    let unit = packaged("systemd/rtftpd.service");
    assert!(unit.contains("\nUser=tftp\n") && unit.contains("RTFTPD_ROOT=/srv/tftp\n"), "{unit}");
}

#[test]
fn the_lines_for_inetd_are_command_lines() {
    let words = |name: &str, marker: &str| -> Vec<String> {
        let text = packaged(name);
        let line = text.lines().find_map(|line| Some(line.split_once(marker)?.1.to_owned()));
        line.expect("a line").split_whitespace().map(str::to_owned).collect()
    };
    for words in
        [words("inetd/inetd.conf", "\trtftpd "), words("inetd/xinetd.conf", "server_args\t= ")]
    {
        // It is only without a socket that it does not run.
        let run = rtftpd().args(&words[..words.len() - 1]).arg(".").assert();
        run.code(1).stderr(contains("cannot take requests"));
    }
}

// ---- rtftp check ----

#[test]
fn a_check_tells_in_one_line_whether_a_file_is_served_and_leaves_no_failure_in_the_log() {
    let root = folder(&[("f", &pattern(100_000, 1)), ("small", b"few")]);
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let here = folder(&[]);
    let check = |words: &[&str]| rtftp(here.path()).arg("check").args(words).assert();
    let line = |state: &str, text: &str, size: &str| {
        is_match(format!(
            r"^TFTP {state} - {text} answered in [0-9.]+ ms, {size} bytes \| time=0\.[0-9]+s;[0-9.]*;3;0 size={size}B\n$"
        ))
        .expect("a pattern")
    };
    let name = format!("tftp://{remote}/f");
    let ok = check(&[&remote, "f"]).code(0);
    ok.stdout(line("OK", &regex_of(&name), "100000"));
    let probed = server.log_line(&["probed", "\"f\""]);
    assert!(probed.contains(" INFO ") && probed.contains("bytes=0"), "{probed}");
    check(&[&format!("{remote}/small")]).code(0);
    let missing = check(&[&remote, "missing"]).code(2);
    missing.stdout(contains("TFTP CRITICAL - ").and(contains("file not found (code 1)")));
    let dead = check(&[&closed().to_string(), "f"]).code(2);
    dead.stdout(contains("nothing listens"));
    // Nobody answers there, and nobody says that nobody does.
    let (silent, address) = bound();
    let began = Instant::now();
    let late = check(&[&address.to_string(), "f", "--within", "0.3"]).code(2);
    late.stdout(contains("did not answer within 300.0 ms"));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(silent);
    for usage in [&[][..], &[&*remote], &[&*remote, "f", "g"], &[&*remote, "f", "--within", "x"]] {
        check(usage).code(3);
    }
    let long = [&*remote, &"x".repeat(3000)];
    for (words, why) in [(["no.such.host.invalid.", "f"], "cannot find"), (long, "3000 bytes")] {
        check(&words).code(3).stdout(contains("TFTP UNKNOWN - ").and(contains(why)));
    }
    let bar = check(&[&remote, "a|b"]).code(2);
    bar.stdout(contains("a/b: the server says").and(contains("|").not()));
}

/// A pattern for these very characters.
fn regex_of(text: &str) -> String {
    text.replace('.', r"\.")
}

#[test]
fn a_check_whose_request_was_lost_is_a_warning() {
    let here = folder(&[]);
    let (socket, address) = bound();
    let server = std::thread::spawn(move || {
        let mut buffer = [0; 600];
        socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        socket.recv(&mut buffer).expect("the first, which is lost");
        let (_, from) = socket.recv_from(&mut buffer).expect("the second");
        socket.send_to(&[&[0, 3, 0, 1][..], &[7; 512]].concat(), from).expect("sent");
    });
    let check = ["check", &address.to_string(), "f", "--within", "8"];
    let run = rtftp(here.path()).args(check).assert().code(1);
    let line = r"^TFTP WARNING - \S+ answered in \S+ s, asked 2 times \| time=[0-9.]+s;;8;0\n$";
    run.stdout(is_match(line).expect("a pattern"));
    joined("the server ends", server);
}
