//! Both programs where the world does not play along: slow disks, closed pipes, names made to hurt.

mod common;

#[path = "common/programs.rs"]
mod programs;

use assert_cmd::assert::OutputAssertExt;
use common::{
    DEADLINE, Daemon, Running, Told, ack, child, concurrent, folder, joined, list, next, pattern,
    rrq, show, until, wrq,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::contains;
use programs::{rtftp, shell};
use std::collections::HashSet;
use std::io::{self, Read};
use std::mem::discriminant;
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tftpkit::query::Query;
use tftpkit::server::{Budgets, Config, Handle, Server};
use tftpkit::store::{InMemory, Listing, Readable, Store, StoreError};
use tftpkit::transfer::{Discard, Sink};

#[test]
fn a_name_of_hundreds_of_directories_neither_kills_the_server_nor_leaves_any() {
    let root = folder(&[("a", b"here")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create", "--create-dirs"]);
    for depth in [17, 300, 900] {
        let name = "d/".repeat(depth) + "x";
        let refused = server.peer().store(&wrq(&name, &[]), b"x").expect_err("too deep");
        assert_eq!(common::error_code(&refused), 1);
    }
    let name = "d/".repeat(16) + "x";
    server.peer().answer(&wrq(name.replace('d', "e"), &[]));
    assert_eq!(common::everything_in(root.path()), ["a"], "nothing before the file is whole");
    server.peer().store(&wrq(&name, &[]), b"x").expect("16 directories are allowed");
    assert_eq!(std::fs::read(root.path().join(name)).expect("stored"), b"x");
    assert_eq!(server.peer().fetch(&rrq("a", &[])).expect("it lives"), b"here");
}

#[test]
fn what_could_not_be_stored_in_the_end_is_refused_at_once() {
    let root = folder(&[("file", b"here")]);
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).expect("a link");
    let before = common::everything_in(root.path());
    let long = |len| "n".repeat(len);
    for uploads in ["create", "overwrite"] {
        let server = Daemon::serve(root.path(), &["--uploads", uploads, "--create-dirs"]);
        let answer = |name: &str| {
            let (answer, _) = server.peer().answer(&wrq(name, &[]));
            show(&answer)
        };
        for name in [&long(256), &format!("{}/x", long(256)), &format!("d/{}", long(256))] {
            assert_eq!(answer(name), "ERROR 1 \"the name is too long\"", "{uploads} {name}");
        }
        assert_eq!(answer("file/x"), "ERROR 1 \"no such directory\"", "{uploads}");
        for name in ["dangling", "dangling/x", "dangling/d/x"] {
            let refused = "ERROR 2 \"a link that leads nowhere\"";
            assert_eq!(answer(name), refused, "{uploads} {name}");
        }
        for name in [".rtftp-0123456789abcdef.part", ".list", "d/.list"] {
            assert_eq!(answer(name), "ERROR 2 \"a reserved name\"", "{uploads} {name}");
        }
        for name in ["d/", "file/", "/", "new/e/", "./", "new\\\\"] {
            assert_eq!(answer(name), "ERROR 2 \"is a directory\"", "{uploads} {name}");
        }
        for name in [&long(255), &format!("{0}/{0}", long(255)), ".rtftp-0123456789abcdeF.part"] {
            assert_eq!(answer(name), "ACK 0", "{uploads} {name}");
        }
    }
    assert_eq!(common::everything_in(root.path()), before);
}

/// A disk that hangs until it is told to go on.
struct Hanging(Arc<Mutex<mpsc::Receiver<()>>>, mpsc::Sender<()>);

impl Read for Hanging {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let _ = self.1.send(());
        let _ = self.0.lock().expect("no panic").recv();
        buf.fill(7);
        Ok(buf.len())
    }
}

struct HangingStore(Arc<Mutex<mpsc::Receiver<()>>>, Mutex<mpsc::Sender<()>>);

impl Store for HangingStore {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        let reading = self.1.lock().expect("no panic").clone();
        Ok(Readable::blocking(Hanging(Arc::clone(&self.0), reading)).size(1 << 20))
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_disk_that_hangs() {
    let (go_on, hang) = mpsc::channel();
    let (reading, read) = mpsc::channel();
    let store = HangingStore(Arc::new(Mutex::new(hang)), Mutex::new(reading));
    let config = Config::default().listen(([127, 0, 0, 1], 0));
    let server = Server::bind(config, Arc::new(store), |_| {}).expect("a server");
    let (address, handle) = (server.addresses()[0], server.handle());
    let running = std::thread::spawn(move || server.run());
    common::Peer::of(address).ask(&rrq("f", &[]));
    next("it reads", &read);
    let asked = Instant::now();
    handle.drain(Duration::ZERO);
    handle.drain(Duration::ZERO);
    joined("the server returns", running).expect("a clean end");
    assert!(asked.elapsed() < DEADLINE / 2, "it has two seconds for last words");
    drop(go_on);
}

/// Nor does it return while one of its transfers is at something that ends soon.
#[test]
fn a_server_that_ends_its_transfers_returns_when_they_are_over_and_not_before() {
    for config in concurrent() {
        let (go_on, thaw) = mpsc::channel();
        let (waiting, waits) = mpsc::channel();
        let store = Frozen(Mutex::new(thaw), waiting);
        let config = config.listen(([127, 0, 0, 1], 0));
        let server = Server::bind(config, store, |_| {}).expect("a server");
        let (address, handle) = (server.addresses()[0], server.handle());
        let left = handle.clone();
        let running = std::thread::spawn(move || server.run().map(|()| left.transfers()));
        let [writer, reader] = [(); 2].map(|()| common::Peer::of(address));
        writer.ask(&wrq("f", &[]));
        next("it waits", &waits);
        let (_, tid) = reader.answer(&rrq("f", &[]));
        handle.drain(Duration::ZERO);
        // The disk has been slow until others have heard of the end.
        reader.wanted(tid, "ERROR 0 \"the server is shutting down\"");
        drop(go_on);
        let left = joined("the server returns", running).expect("a clean end");
        assert_eq!(left, 0, "transfers that it has not waited for");
    }
}

/// It would wait for itself where the server keeps what that looks at.
#[test]
fn an_observer_may_look_at_the_server_whatever_it_is_told() {
    for config in concurrent() {
        let known = Arc::new(Mutex::new(None::<Handle>));
        let (looks, (tell, told)) = (Arc::clone(&known), mpsc::channel());
        let config = config.listen(([127, 0, 0, 1], 0)).progress(Duration::from_micros(1));
        let store = InMemory::new();
        store.insert("good", pattern(1300, 7)).expect("a file");
        let server = Running::observed(config.sessions(2), store, move |event| {
            let Some(handle) = looks.lock().expect("no panic").clone() else { return };
            handle.each_running(|one| drop(one.figures));
            let looked = (handle.gauges(), handle.transfers());
            let _ = tell.send((discriminant(event), looked));
        });
        *known.lock().expect("no panic") = Some(server.handle.clone());
        let peer = server.peer();
        for request in [&[0, 9][..], &ack(1), &rrq("missing", &[])] {
            peer.ask(request);
        }
        server.peer().fetch(&rrq("good", &[])).expect("a download");
        let mut kinds = HashSet::new();
        until("malformed, stray, refused, dropped, and a download from start to end", || {
            // Two are silent, and there is no room for another.
            server.peer().ask(&rrq("good", &[]));
            kinds.extend(told.try_iter().map(|(kind, _)| kind));
            (kinds.len() == 7).then_some(())
        });
        // It goes with the server.
        known.lock().expect("no panic").take();
    }
}

#[test]
fn so_many_repeats_are_answered_as_errors_might_be() {
    let store = InMemory::new();
    store.insert("f", *b"few").expect("a file");
    let config = common::config().budgets(Budgets::default().errors(1, 1));
    let server = Running::start(config, store);
    let peer = server.peer();
    peer.answer(&rrq("f", &[]));
    (0..200).for_each(|_| peer.ask(&rrq("f", &[])));
    server.peer().answer(&rrq("f", &[]));
    // Four at once, and one in each second.
    let answered = peer.pending().len();
    assert!(answered < 100, "{answered} of 200 repeats are answered");
}

/// Each is shorter than any ERROR, of which four may go out at once and one in each second.
#[test]
fn what_is_malformed_is_told_as_answered_where_an_error_left_and_else_as_dropped_alone() {
    const ASKED: usize = 12;
    let store = InMemory::new();
    store.insert("f", *b"few").expect("a file");
    let config = common::config().budgets(Budgets::default().errors(1, 1));
    let server = Running::start(config, store);
    let peer = server.peer();
    (0..ASKED).for_each(|_| peer.ask(&[0, 9]));
    // Behind them in the queue.
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    let (answers, told) = (peer.pending().len(), server.told());
    let malformed =
        |one: &&Told| matches!(one, Told::Malformed(from, _) if *from == peer.address());
    let dropped = |one: &&Told| matches!(one, Told::Dropped(from, _) if *from == peer.address());
    let (malformed, dropped) =
        (told.iter().filter(malformed).count(), told.iter().filter(dropped).count());
    assert!((4..ASKED).contains(&answers), "{answers} of {ASKED} are answered");
    assert_eq!(
        (malformed, dropped),
        (answers, ASKED - answers),
        "events of malformed and of dropped datagrams, where {answers} ERRORs came: {told:?}"
    );
}

/// Files that are there, and a disk that is frozen for all else until somebody says so.
struct Frozen(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);

impl Frozen {
    fn wait(&self) {
        let _ = self.1.send(());
        let _ = self.0.lock().expect("no panic").recv();
    }
}

impl Store for Frozen {
    fn read(&self, _: &Query) -> Result<Readable, StoreError> {
        Ok(Readable::bytes(*b"here"))
    }

    fn write(&self, _: &Query) -> Result<Box<dyn Sink>, StoreError> {
        self.wait();
        Ok(Box::new(Discard))
    }

    fn list(&self, _: &Query) -> Result<Listing, StoreError> {
        self.wait();
        Ok(Listing::default())
    }
}

#[test]
fn who_lists_or_writes_for_long_leaves_the_disk_to_those_who_read() {
    for request in [list("", &[]), wrq("f", &[])] {
        let (go_on, thaw) = mpsc::channel();
        let (waiting, waits) = mpsc::channel();
        let server = Running::start(common::config(), Frozen(Mutex::new(thaw), waiting));
        let asking = [(); 8].map(|()| server.peer());
        asking.iter().for_each(|peer| peer.ask(&request));
        next("it waits", &waits);
        assert_eq!(server.peer().fetch(&rrq("f", &[])).expect("nobody waits for it"), b"here");
        drop(go_on);
        asking.iter().for_each(|peer| drop(peer.answer(&request)));
    }
}

#[test]
fn a_server_whose_log_cannot_be_written_still_stops() {
    let root = folder(&[("a", b"x")]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut child = std::process::Command::new(Daemon::program())
        .arg(root.path())
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(full)
        .spawn()
        .expect("a child");
    next("a banner", &child::lines(child.stdout.take().expect("a pipe")));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it lives");
    assert_eq!(child::end("rtftpd", &mut child).code(), Some(0));
}

#[test]
fn the_servers_last_word_is_heard_before_its_port_is_closed() {
    let (root, here) = (folder(&[]), folder(&[("big", &pattern(400_000, 5))]));
    let server = Daemon::serve(root.path(), &["--uploads", "create", "--max-upload", "100000"]);
    let remote = server.address.to_string();
    for n in 0..20 {
        // From a pipe no size is told, so that the server refuses in the middle.
        let mut put = rtftp(here.path());
        put.args(["put", "-", &remote, &format!("x{n}"), "--blksize", "1428"]);
        put.pipe_stdin(here.path().join("big")).expect("the file");
        put.assert().code(6).stderr(contains("larger than an upload may be"));
    }
}

#[test]
fn whoever_closes_the_clients_output_has_seen_enough() {
    let (root, here) = (folder(&[("a", b"x")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let run = |line: &str| shell(here.path(), &server.address.to_string(), line).assert();
    for line in [
        "yes list | $rtftp $server | head -n 1",
        "$rtftp get --json $server a | true",
        "$rtftp list $server | true",
    ] {
        let run = run(&format!("{line}; exit ${{PIPESTATUS[-2]}}"));
        run.success().stderr(contains("panic").not());
    }
    for line in [
        "$rtftp list --json $server >/dev/full",
        "$rtftp get --json $server a >/dev/full",
        "$rtftp get $server a -o - >/dev/full",
    ] {
        run(line).code(6).stderr(contains("cannot write to standard output"));
    }
}

#[test]
fn a_listing_that_is_refused_is_not_called_missing() {
    let (root, here) = (folder(&[("a", b"x")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let list = ["list", &server.address.to_string(), "../x"];
    rtftp(here.path()).args(list).assert().code(5).stderr(contains("outside the folder"));
}

#[test]
fn the_menu_takes_the_names_it_shows_and_goes_up() {
    let root = folder(&[("sub/deep/x", b"deep"), ("sub/y", b"why"), ("top", b"t")]);
    let here = folder(&[]);
    let server = Daemon::serve(root.path(), &[]);
    let lines = "list sub\ndownload y\nlist deep\ndownload x\nlist ..\nlist ..\ndownload top\n";
    let url = format!("tftp://{}", server.address);
    rtftp(here.path()).arg(url).write_stdin(lines).assert().success();
    let local = |name| std::fs::read(here.path().join(name)).expect("downloaded");
    assert_eq!(["x", "y", "top"].map(local), [&b"deep"[..], b"why", b"t"]);
}

#[test]
fn two_files_of_one_name_do_not_end_as_one() {
    let (root, here) = (folder(&[("a", b"1"), ("b/a", b"2")]), folder(&[("to/x", b"")]));
    let server = Daemon::serve(root.path(), &[]);
    let get = ["get", &server.address.to_string(), "a", "b/a", "-o", "to"];
    rtftp(here.path()).args(get).assert().code(2).stderr(contains("would be called 'a'"));
}

#[test]
fn one_party_has_two_unproven_sessions_at_most() {
    let root = folder(&[("f", &pattern(2000, 1))]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    for n in 0..50 {
        // Each is another request from the same port.
        peer.ask(&rrq("f", &[("blksize", &(512 + n).to_string())]));
    }
    let asked = Instant::now();
    until("the first ones are gone", || (server.handle.transfers() <= 2).then_some(()));
    assert!(asked.elapsed() < Duration::from_secs(10), "by themselves they end after 17 s");
}

#[test]
fn a_signal_stops_the_server_in_order() {
    let root = folder(&[]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut server = Daemon::serve(root.path(), &[]);
        server.signal(signal);
        assert_eq!(until("the server's end", || server.exit_status()), 0);
        server.log_line(&["stopping"]);
    }
}

#[test]
fn another_rate_of_log_lines_counts_when_it_is_read_again() {
    let (root, place) = (folder(&[]), folder(&[("rate", b"log-rate = 1\n")]));
    let config = place.path().join("rate").display().to_string();
    let server = Daemon::serve(root.path(), &["--config", &config]);
    // Each costs a line, of which there are ten seconds' worth at once.
    let ask =
        || (0..60).for_each(|_| drop(server.peer().fetch(&rrq("../f", &[])).expect_err("no")));
    let told = || server.all_logged(&["WARN refused", "../f"]).len();
    ask();
    std::fs::write(&config, "log-rate = 0\n").expect("a file");
    server.signal(Signal::SIGHUP);
    server.log_line(&["read the configuration again"]);
    let before = told();
    assert!((10..60).contains(&before), "nobody can fill a disk by asking: {before}");
    ask();
    until("a line for each", || (told() == before + 60).then_some(()));
}
