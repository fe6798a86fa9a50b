//! `rtftpd` where the system has no more to give: bytes, rights, descriptors, ports. What is under way goes on, what
//! cannot be served fails cleanly, and all is well again once it has passed.

mod common;

use common::apart::{for_all, namespaces, powerless};
use common::{
    Daemon, Own, Peer, child, error, everything_in, folder, get, list, pattern, put, rrq, show,
    until, wrq,
};
use nix::unistd::Uid;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use tftpkit::client::Client;
use tftpkit::limits;

#[test]
fn an_upload_beyond_what_the_process_may_write_is_refused_and_the_server_lives() {
    let root = folder(&[("old", b"old")]);
    let daemon =
        Daemon::behind(&["prlimit", "--fsize=100000"], root.path(), &["--uploads", "overwrite"]);
    for name in ["new", "old"] {
        let error = daemon.peer().store(&wrq(name, &[]), &pattern(100_001, 1)).expect_err(name);
        assert_eq!(show(&error), "ERROR 3 \"disk full or allocation exceeded\"");
        assert_eq!(everything_in(root.path()), ["old"]);
    }
    assert_eq!(std::fs::read(root.path().join("old")).expect("a file"), b"old");
    assert_eq!(daemon.peer().store(&wrq("new", &[]), &pattern(100_000, 2)), Ok(()));
    assert!(std::fs::read(root.path().join("new")).expect("a file") == pattern(100_000, 2));
}

#[test]
fn a_root_that_is_read_only_is_served_and_takes_nothing() {
    let root = folder(&[("old", b"old")]);
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$0\" \"$@\"";
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let unshare: Vec<_> = unshare.iter().map(String::as_str).chain(["sh", "-c", script]).collect();
    let daemon =
        Daemon::behind(&unshare, root.path(), &["--uploads", "overwrite", "--create-dirs"]);
    for name in ["new", "old", "dir/new"] {
        let refused = daemon.peer().store(&wrq(name, &[]), b"x").expect_err(name);
        assert_eq!(show(&refused), "ERROR 2 \"read-only disk\"", "{name}");
        daemon.log_line(&["read-only disk", &format!("file=\"{name}\"")]);
    }
    assert_eq!(daemon.peer().fetch(&rrq("old", &[])), Ok(b"old".to_vec()));
    assert_eq!(everything_in(root.path()), ["old"]);
}

/// Downloads that have their first block.
fn begun(daemon: &Daemon, wanted: usize) -> Vec<(Peer, SocketAddr, Vec<u8>)> {
    let begin = |_| {
        let peer = daemon.peer();
        let (first, tid) = peer.answer(&rrq("file", &[]));
        assert_eq!(show(&first), "DATA 1 512");
        (peer, tid, first)
    };
    (0..wanted).map(begin).collect()
}

#[test]
fn without_descriptors_transfers_go_on_and_others_are_served_when_there_are_some() {
    const DESCRIPTORS: usize = 24;
    for model in ["threads", "events", "processes"] {
        let bytes = pattern(20_000, 3);
        let root = folder(&[("file", &bytes)]);
        let daemon = Daemon::serve(root.path(), &["--uploads", "create", "--model", model]);
        assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(bytes.clone()));
        // At its start, root would raise it.
        daemon.limit_descriptors(DESCRIPTORS);
        let idle = daemon.descriptors();
        let open = begun(&daemon, 2);
        // Their ports stay closed when they are gone: nobody else gets one of them.
        let own = Own::new();
        let late: Vec<_> = (0..DESCRIPTORS).map(|_| Peer::at(own.ip, daemon.address)).collect();
        for peer in &late {
            peer.ask(&rrq("file", &[]));
            peer.ask(&wrq(peer.address().port().to_string(), &[]));
        }
        daemon.log_line(&["dropped", "no descriptor"]);
        for (peer, tid, first) in open {
            assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()), "{model}");
        }
        // Silence lets a client ask again; an ERROR would end its boot.
        let mut answers = Vec::new();
        for peer in &late {
            for (answer, tid) in peer.pending() {
                answers.push(show(&answer));
                // An address that is not proven is sent so little that it might find no closed port any more.
                peer.send(&error(0, "enough"), tid);
            }
        }
        assert!(!answers.iter().any(|answer| answer.starts_with("ERROR")), "{model}: {answers:?}");
        // Who was not answered yet finds a closed port, and what all of them have is given back.
        drop(late);
        until("all is given back", || (daemon.descriptors() <= idle).then_some(()));
        // Some of the requests may still wait to be read, and what is asked among them is asked again.
        let client = Client::new(daemon.address);
        assert_eq!(get(&client, "file").expect(model), bytes);
        put(&client, "new", &bytes).expect(model);
        assert_eq!(everything_in(root.path()), ["file", "new"], "{model}");
    }
}

#[test]
fn a_listing_without_descriptors_is_whole_or_there_is_none() {
    let root = folder(&[("a", b"1"), ("b", b"2")]);
    let daemon = Daemon::serve(root.path(), &[]);
    let (idle, mut listed) = (daemon.descriptors(), 0);
    let whole = daemon.peer().fetch(&list("", &[("x-list", "json")])).expect("a listing");
    until("it is alone", || (daemon.descriptors() == idle).then_some(()));
    for more in 0..8 {
        daemon.limit_descriptors(idle + more);
        let peer = daemon.peer();
        peer.ask(&list("", &[("x-list", "json"), ("tsize", "0")]));
        let port = format!(":{}", peer.address().port());
        let answer = until("an answer, or a word why there is none", || {
            let turned = || daemon.logged(&["dropped", &port]).map(|_| None);
            peer.pending().pop().map(Some).or_else(turned)
        });
        if let Some((first, tid)) = answer {
            assert_eq!(show(&first), format!("OACK x-list=json tsize={}", whole.len()), "{more}");
            listed += 1;
            peer.send(&error(0, "enough"), tid);
        }
        until("it is over", || (daemon.descriptors() == idle).then_some(()));
    }
    assert!((1..8).contains(&listed), "{listed}");
}

#[test]
fn an_upload_that_is_under_way_needs_no_more_descriptors() {
    for model in ["threads", "events"] {
        let root = folder(&[]);
        let daemon = Daemon::serve(root.path(), &["--uploads", "overwrite", "--model", model]);
        daemon.peer().store(&wrq("old", &[]), b"old").expect("the first");
        let idle = daemon.files();
        for name in ["new", "old"] {
            let peer = daemon.peer();
            let (_, tid) = peer.answer(&wrq(name, &[]));
            let beside_its_socket = daemon.files() - idle;
            assert_eq!(1 + beside_its_socket as u64, limits::DESCRIPTORS_OF_UPLOAD);
            daemon.limit_descriptors(daemon.descriptors());
            assert_eq!(peer.store_rest(tid, 1, b"whole"), Ok(()), "{model}, {name}");
            assert_eq!(std::fs::read(root.path().join(name)).expect("stored"), b"whole");
            daemon.limit_descriptors(20_000);
        }
    }
}

#[test]
fn a_new_server_that_could_not_be_heard_without_descriptors_is_heard_when_there_are_some() {
    let (root, place) = (folder(&[("file", b"few")]), folder(&[]));
    let file = place.path().join("handover").display().to_string();
    let mut daemon = Daemon::serve(root.path(), &["--handover", &file]);
    assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(b"few".to_vec()));
    until("its transfer is over", || (daemon.transfer_threads() == 0).then_some(()));
    // No more than its standard streams.
    daemon.limit_descriptors(3);
    // It has a descriptor for the first that asks, who leaves; behind that there is none.
    drop(UnixStream::connect(&file).expect("it is there"));
    daemon.log_line(&["WARN", "no new server can be heard now"]);
    // It tries again in vain, which is told once.
    let tried = || {
        let all = daemon.statuses();
        let (_, status) = all.iter().find(|(name, _)| name.trim() == "handover")?;
        let slept =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        slept.trim().parse::<u64>().ok()
    };
    let before = tried();
    until("two more attempts", || (tried()? >= before? + 2).then_some(()));
    daemon.limit_descriptors(20_000);
    let next = Daemon::serve(root.path(), &["--handover", &file]);
    assert_eq!(next.address, daemon.address, "it has the socket of the one before");
    assert_eq!(until("the old one ends", || daemon.exit_status()), 0);
    assert_eq!(daemon.all_logged(&["no new server can be heard now"]).len(), 1);
}

#[test]
fn without_ports_a_client_waits_its_turn() {
    let bytes = pattern(20_000, 4);
    let (root, here) = (folder(&[("file", &bytes)]), folder(&[]));
    let own = Own::new();
    let daemon = own.serve(root.path(), 2, &[]);
    let open = begun(&daemon, 2);
    let mut third = Command::new(env!("CARGO_BIN_EXE_rtftp"))
        .args(["get", &daemon.address.to_string(), "file"])
        .current_dir(here.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("a client");
    daemon.log_line(&["dropped", "all ports for transfers are in use"]);
    for (peer, tid, first) in open {
        assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()));
    }
    let status = child::end("the third client", &mut third);
    assert!(status.success(), "{status}");
    assert!(std::fs::read(here.path().join("file")).expect("a file") == bytes);
}

#[test]
fn an_upload_that_cannot_get_its_name_leaves_no_directories() {
    let root = folder(&[("a", b"here")]);
    let without_rights = ["sh", "-c", "umask 777 && exec \"$0\" \"$@\""];
    let wrapper = [powerless(), &without_rights].concat();
    let daemon = Daemon::behind(&wrapper, root.path(), &["--uploads", "create", "--create-dirs"]);
    let stored = daemon.peer().store(&wrq("new/deep/file", &[]), b"bytes");
    stored.expect_err("it may not enter what it makes");
    assert_eq!(everything_in(root.path()), ["a"]);
}

#[test]
fn without_threads_transfers_are_carried_by_the_loop() {
    let bytes = pattern(20_000, 5);
    let (root, place) = (folder(&[("file", &bytes)]), folder(&[]));
    // Threads are counted for each user but the machine's root, who starts it as somebody without another process.
    let somebodys = (60_000 + std::process::id() % 5_000).to_string();
    let user = format!("--reuid={somebodys}");
    let somebody = ["setpriv", &user, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let program = for_all(&place);
    let users = std::fs::read_to_string("/proc/self/uid_map").expect("the map of users");
    let is_root = users.split_whitespace().take(2).eq(["0", "0"]) && Uid::effective().is_root();
    let wrapper = if is_root { &somebody[..] } else { &["env"] };
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(&program);
    if is_root {
        command.env("RTFTPD_USER", &somebodys);
    }
    std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("it is ours");
    std::fs::set_permissions(root.path().join("file"), Permissions::from_mode(0o644))
        .expect("ours");
    command.arg(root.path()).args(["--listen", "127.0.0.1:0", "--model", "threads"]);
    let daemon = Daemon::spawn(&mut command);
    // Whatever else it needs it has when it has served something.
    assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(bytes.clone()));
    // By the same user, for root need not have the right to do it to others.
    let mut limit = Command::new(wrapper[0]);
    limit.args(&wrapper[1..]).args(["prlimit", "--pid", &daemon.pid(), "--nproc=1:1"]);
    assert!(child::output(&mut limit).status.success());
    for (peer, tid, first) in begun(&daemon, 10) {
        assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()));
    }
}
