//! `rtftpd` where the system has no more to give: bytes, rights, descriptors, ports. What is under way goes on, what
//! cannot be served fails cleanly, and all is well again once it has passed.

mod common;

use common::{Daemon, Peer, everything_in, folder, pattern, rrq, show, until, wrq};
use std::fs::Permissions;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts rtftpd behind `wrapper`, which ends with what executes its arguments.
fn behind(wrapper: &[&str], root: &Path, arguments: &[&str]) -> Daemon {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(Daemon::program()).arg(root);
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    Daemon::spawn(&mut command)
}

#[test]
fn an_upload_beyond_what_the_process_may_write_is_refused_and_the_server_lives() {
    let root = folder(&[("old", b"old")]);
    let daemon = behind(&["prlimit", "--fsize=100000"], root.path(), &["--uploads", "overwrite"]);
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
    let user = if nix::unistd::geteuid().is_root() { "--mount" } else { "--map-root-user" };
    let wrapper = ["unshare", "--mount", user, "sh", "-c", script];
    let daemon = behind(&wrapper, root.path(), &["--uploads", "overwrite", "--create-dirs"]);
    for name in ["new", "old", "dir/new"] {
        let refused = daemon.peer().store(&wrq(name, &[]), b"x").expect_err(name);
        assert_eq!(show(&refused), "ERROR 2 \"access violation\"", "{name}");
        daemon.log_line(&["not allowed", &format!("file=\"{name}\"")]);
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
    for model in ["threads", "events"] {
        let bytes = pattern(20_000, 3);
        let root = folder(&[("file", &bytes)]);
        let daemon = Daemon::serve(root.path(), &["--uploads", "create", "--model", model]);
        assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(bytes.clone()));
        // At its start, root would raise it.
        let limit = ["--pid", &daemon.pid(), &format!("--nofile={DESCRIPTORS}")];
        let told = Command::new("prlimit").args(limit).status();
        assert!(told.is_ok_and(|status| status.success()));
        let idle = daemon.descriptors();
        let open = begun(&daemon, 2);
        let late: Vec<_> = (0..DESCRIPTORS).map(|_| daemon.peer()).collect();
        for peer in &late {
            peer.ask(&rrq("file", &[]));
            peer.ask(&wrq(peer.address().port().to_string(), &[]));
        }
        daemon.log_line(&["turned away", "no descriptor"]);
        for (peer, tid, first) in open {
            assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()), "{model}");
        }
        // Silence lets a client ask again; an ERROR would end its boot.
        let answers: Vec<_> =
            late.iter().flat_map(Peer::pending).map(|(it, _)| show(&it)).collect();
        assert!(!answers.iter().any(|answer| answer.starts_with("ERROR")), "{model}: {answers:?}");
        // Their ports are closed, and what they have is given back.
        drop(late);
        until("all is given back", || (daemon.descriptors() <= idle).then_some(()));
        assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(bytes.clone()), "{model}");
        assert_eq!(daemon.peer().store(&wrq("new", &[]), &bytes), Ok(()), "{model}");
        assert_eq!(everything_in(root.path()), ["file", "new"], "{model}");
    }
}

#[test]
fn without_ports_a_client_waits_its_turn() {
    let bytes = pattern(20_000, 4);
    let (root, here) = (folder(&[("file", &bytes)]), folder(&[]));
    // Two ports that are free, one behind the other.
    let ports = until("two free ports", || {
        let one = UdpSocket::bind("127.0.0.1:0").ok()?;
        let first = one.local_addr().ok()?.port();
        let last = first.checked_add(1)?;
        UdpSocket::bind(("127.0.0.1", last)).ok().map(|_| format!("{first}-{last}"))
    });
    let daemon = Daemon::serve(root.path(), &["--ports", &ports]);
    let open = begun(&daemon, 2);
    let mut third = Command::new(env!("CARGO_BIN_EXE_rtftp"))
        .args(["get", &daemon.address.to_string(), "file"])
        .current_dir(here.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("a client");
    daemon.log_line(&["turned away", "all ports for transfers are in use"]);
    for (peer, tid, first) in open {
        assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()));
    }
    let status = until("the third client ends", || third.try_wait().expect("a child"));
    assert!(status.success(), "{status}");
    assert!(std::fs::read(here.path().join("file")).expect("a file") == bytes);
}

#[test]
fn without_threads_transfers_are_carried_by_the_loop() {
    let bytes = pattern(20_000, 5);
    let root = folder(&[("file", &bytes)]);
    std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("it is ours");
    // Threads are counted for each user, and not for root.
    let user = format!("--reuid={}", 60_000 + std::process::id() % 5_000);
    let wrapper = ["setpriv", &user, "--clear-groups", "prlimit", "--nproc=3"];
    let daemon = behind(&wrapper, root.path(), &["--model", "threads"]);
    for (peer, tid, first) in begun(&daemon, 10) {
        assert_eq!(peer.rest(first, tid, 512), Ok(bytes.clone()));
    }
}
