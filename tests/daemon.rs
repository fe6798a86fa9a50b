//! `rtftpd` as its operator uses it: what it says when it starts, its log, and its settings.

mod common;
#[path = "common/programs.rs"]
mod programs;

use assert_cmd::Command;
use common::apart::{for_all, in_own_network, namespaces, powerless, strace};
use common::{Daemon, LONGEST_RUN, Peer, ack, child, error, folder, rrq, show, until, wrq};
use nix::cmsg_space;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::sys::stat::Mode;
use nix::sys::time::TimeSpec;
use nix::unistd::mkfifo;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use programs::rtftpd;
use std::fs::{File, Permissions};
use std::io::{IoSliceMut, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tftpkit::client::Client;

#[test]
fn the_server_says_what_to_do_when_it_cannot_start() {
    let missing = rtftpd().arg("no/such/folder").assert().code(1);
    let missing = missing.stderr(contains("give an existing folder: No such file or directory\n"));
    missing.stderr(contains("may not enter").not());
    let root = folder(&[]);
    let other = Daemon::serve(root.path(), &[]);
    let busy = rtftpd().arg(root.path()).args(["--listen", &other.address.to_string()]).assert();
    busy.code(1).stderr(contains("by another program or by another --listen"));
    rtftpd().assert().code(2).stderr(contains("<ROOT>"));
    for nonsense in
        [&["--listen", "nowhere"][..], &["--list-name", "a/b"], &["--intervals", "5", "1"]]
    {
        rtftpd().arg(".").args(nonsense).assert().code(2);
    }
    rtftpd().arg("--version").assert().code(0).stdout(starts_with("rtftpd "));
}

#[test]
fn where_there_is_no_proc_processes_cannot_be_started_and_that_is_what_is_told() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let root = folder(&[]);
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args([
        "sh",
        "-c",
        "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
    ]);
    command.arg(Daemon::program()).arg(root.path()).args(["--listen", "127.0.0.1:0"]);
    let told = command.args(["--model", "processes"]).timeout(LONGEST_RUN).assert().code(1);
    told.stderr(contains("there is no /proc, where this program finds itself"));
}

/// Starts a server whose log goes to a pipe that nobody reads but the one who gets it here.
fn logging_to_a_pipe(root: &Path, model: &str, place: &TempDir) -> (Daemon, File) {
    let log = place.path().join("log");
    mkfifo(&log, Mode::S_IRWXU).expect("a pipe");
    // Open for both, so that nobody waits for the other end.
    let pipe = File::options().read(true).write(true).open(&log).expect("the pipe");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>\"$LOG\""]).env("LOG", log);
    command.arg(Daemon::program()).arg(root).args(["--listen", "127.0.0.1:0", "--model", model]);
    (Daemon::spawn(command.args(["--log-rate", "0", "-v"])), pipe)
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody_and_what_it_lost_is_told() {
    let missing = rrq("m".repeat(100), &[]);
    for model in ["threads", "events"] {
        let (root, place) = (folder(&[("f", b"few")]), folder(&[]));
        let (mut daemon, pipe) = logging_to_a_pipe(root.path(), model, &place);
        let peer = daemon.peer();
        // More lines than the pipe and the server hold.
        for _ in 0..10_000 {
            let (answer, _) = peer.answer(&missing);
            assert!(answer.starts_with(&[0, 5, 0, 1]), "{}", show(&answer));
        }
        let lines = child::lines(pipe.try_clone().expect("the pipe"));
        let told = until("it tells what was lost", || {
            // From a port of its own: who asks again before the last ACK was heard repeats itself.
            daemon.peer().fetch(&rrq("f", &[])).expect("a download");
            lines.try_iter().find(|line| line.contains("log lines lost"))
        });
        let count = told.split("lines=").nth(1).and_then(|count| count.trim().parse().ok());
        let count: usize = count.expect("how many");
        assert!((1..10_000).contains(&count), "{told}");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(until("it ends", || daemon.exit_status()), 0);
        // The thread that reads it has an end as well.
        (&pipe).write_all(b"\n").expect("the pipe");
    }
}

#[test]
fn a_server_whose_log_nobody_reads_can_be_stopped() {
    let (root, place) = (folder(&[]), folder(&[]));
    let (mut daemon, _pipe) = logging_to_a_pipe(root.path(), "events", &place);
    let peer = daemon.peer();
    for _ in 0..2_000 {
        peer.answer(&rrq("m".repeat(100), &[]));
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(until("it ends", || daemon.exit_status()), 0);
}

#[test]
fn an_address_that_comes_up_later_is_served_then() {
    let come = "ip link set lo up";
    if !in_own_network(an_address_that_comes_up_later_is_served_then, come) {
        return;
    }
    let root = folder(&[("f", b"few")]);
    for (address, family) in [("192.0.2.77", "-4"), ("2001:db8::77", "-6")] {
        let listen = SocketAddr::new(address.parse().expect("an address"), 6969).to_string();
        let mut command = std::process::Command::new(Daemon::program());
        let daemon = Daemon::spawn(command.arg(root.path()).args(["--listen", &listen]));
        daemon.log_line(&["WARN", "does not have that address yet", address]);
        // Without `nodad` an address of IPv6 comes a second later.
        let (bits, nodad) = if family == "-4" { ("32", None) } else { ("128", Some("nodad")) };
        let mut come = std::process::Command::new("ip");
        come.args(["address", "add", &format!("{address}/{bits}"), "dev", "lo"]).args(nodad);
        assert!(come.status().expect("ip").success());
        // The way to it may be there a moment later, and this client asks again.
        let got = common::get(&Client::new(daemon.address), "f").map_err(|why| why.to_string());
        assert_eq!(got, Ok(b"few".to_vec()), "{address}");
    }
}

/// A server whose system calls fail as these words of strace say.
fn where_calls_fail(root: &Path, fault: &str, arguments: &[&str]) -> Option<Daemon> {
    let mut command = strace()?;
    let calls = fault.split(':').next().expect("calls");
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={fault}")]).arg(Daemon::program()).arg(root);
    Some(Daemon::spawn(command.args(arguments)))
}

#[test]
fn without_ipv6_a_port_is_that_of_ipv4() {
    let root = folder(&[("f", b"few")]);
    for listen in ["0", "[::]:0", "[::]:0,127.0.0.1:0"] {
        // The first socket is the one to listen with.
        let fault = "socket:error=EAFNOSUPPORT:when=1";
        // A thread of its own would begin to count anew.
        let listen = ["--model", "events", "--listen", listen];
        let Some(daemon) = where_calls_fail(root.path(), fault, &listen) else { return };
        daemon.log_line(&["INFO", "there is no IPv6 here"]);
        assert!(daemon.address.is_ipv4() && daemon.address.ip().is_unspecified());
        let server = SocketAddr::new([127, 0, 0, 1].into(), daemon.address.port());
        assert_eq!(Peer::of(server).fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
    }
}

#[test]
fn a_sandbox_that_permits_no_new_system_calls_takes_nothing_away() {
    let root = folder(&[("f", &[7; 20_000]), ("old", b"old"), ("dir/x", b"x")]);
    std::os::unix::fs::symlink("dir/x", root.path().join("link")).expect("a link");
    std::os::unix::fs::symlink("../../etc/passwd", root.path().join("out")).expect("a link");
    for error in ["EPERM", "ENOSYS"] {
        let fault = format!(
            "openat2,faccessat2,statx,preadv2,renameat2,copy_file_range,close_range:error={error}"
        );
        for uploads in ["create", "overwrite"] {
            for model in ["threads", "events"] {
                let arguments = ["--listen", "127.0.0.1:0", "--uploads", uploads, "--model", model];
                let Some(daemon) = where_calls_fail(root.path(), &fault, &arguments) else {
                    return;
                };
                let get = |name: &str| daemon.peer().fetch(&rrq(name, &[])).map_err(|e| show(&e));
                assert!(get("f") == Ok(vec![7; 20_000]), "{error}");
                assert_eq!((get("link"), get("dir/x")), (Ok(b"x".to_vec()), Ok(b"x".to_vec())));
                assert_eq!(get("out"), Err("ERROR 2 \"outside the folder\"".into()));
                assert_eq!(get("no"), Err("ERROR 1 \"file not found\"".into()));
                let listing = String::from_utf8(get("/").expect("a listing")).expect("text");
                for name in [" dir/\n", " f\n", " link\n", " old\n"] {
                    assert!(listing.contains(name), "{error}: {listing}");
                }
                let put = |name: &str| daemon.peer().store(&wrq(name, &[]), b"new");
                let new = format!("{error}-{uploads}-{model}");
                assert_eq!(put(&new), Ok(()), "{error}");
                assert_eq!(put("old").is_ok(), uploads == "overwrite", "{error}");
                daemon.log_line(&["INFO", "there is no openat2 here"]);
                assert_eq!(daemon.log().matches("there is no openat2").count(), 1, "once");
            }
        }
    }
}

/// What stands behind `label` in a banner.
fn behind<'a>(label: &str, banner: &'a str) -> Option<&'a str> {
    let mut lines = banner.lines().filter_map(|line| line.trim().strip_prefix(label));
    lines.find_map(|line| line.strip_prefix(' ')).map(str::trim)
}

/// Lists the root by the menu that this line of shell opens.
fn lists(line: &str) {
    let menu = Command::new("sh").args(["-c", line]).write_stdin("list\n").assert();
    menu.success().stdout(contains("1  only "));
}

#[test]
fn the_line_to_try_opens_the_menu_of_this_server() {
    let root = folder(&[("only", b"few")]);
    let server = Daemon::serve(root.path(), &[]);
    lists(behind("try", &server.banner()).expect("a line to try"));
    // Where no client lies beside it, cargo builds one, or it is somewhere else.
    let copy = for_all(&root);
    for (clone, client) in [(None, "rtftp"), (Some("."), "cargo run --release --bin rtftp --")] {
        let mut alone = std::process::Command::new(&copy);
        alone.env_remove("CARGO_MANIFEST_DIR").envs(clone.map(|dir| ("CARGO_MANIFEST_DIR", dir)));
        let alone = Daemon::spawn(alone.arg(root.path()).args(["--listen", "127.0.0.1:0"]));
        let expected = format!("{client} {}", alone.address);
        assert_eq!(behind("try", &alone.banner()), Some(&*expected));
    }
}

#[test]
fn the_line_for_those_who_are_elsewhere_has_an_address_that_leads_here() {
    let test = the_line_for_those_who_are_elsewhere_has_an_address_that_leads_here;
    if !in_own_network(test, "ip link set lo up && ip address add 192.0.2.1/32 dev lo") {
        return;
    }
    let root = folder(&[("only", b"few")]);
    let mut server = std::process::Command::new(Daemon::program());
    let server = Daemon::spawn(server.arg(root.path()).args(["--listen", "0.0.0.0:0"]));
    let banner = server.banner();
    let line = behind("from afar", &banner).expect("a line");
    let expected = format!("rtftp 192.0.2.1:{}", server.address.port());
    assert_eq!(line, expected);
    lists(&line.replace("rtftp", env!("CARGO_BIN_EXE_rtftp")));
}

/// Runs the server without any privilege.
fn unprivileged(root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let (program, wrapper) = powerless().split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(wrapper).arg(env!("CARGO_BIN_EXE_rtftpd")).arg(root).args(arguments);
    command.timeout(LONGEST_RUN).assert()
}

#[test]
fn what_its_user_may_not_do_in_the_folder_is_told_at_the_start() {
    let root = folder(&[]);
    let allow = |mode| {
        std::fs::set_permissions(root.path(), Permissions::from_mode(mode)).expect("it is ours");
    };
    // The address, which is taken, ends it when it has looked.
    let taken =
        UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (taken, _socket) = taken.expect("a socket");
    let (listen, uploads) = (["--listen", &taken.to_string()], ["--uploads", "create"]);
    let tell = || unprivileged(root.path(), &[listen, uploads].concat());
    allow(0o066);
    let user = nix::unistd::geteuid();
    tell().code(1).stderr(contains(format!("user {user} may not enter it")));
    allow(0o166);
    tell().code(1).stderr(contains("may not list").and(contains("may not write")));
    allow(0o700);
    tell().code(1).stderr(contains("may not").not().and(contains("it is taken")));
}

#[test]
fn who_is_not_root_stays_who_it_is_and_becomes_nobody_else() {
    let (root, place) = (folder(&[]), folder(&[]));
    common::open_to_all(root.path());
    let mut wrapper = vec!["env"];
    if nix::unistd::geteuid().is_root() {
        // Neither of those that root becomes of itself.
        wrapper = vec!["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"];
    }
    let program = for_all(&place);
    let check = |options: &[&str]| {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(&program).arg("check").arg(root.path()).args(options);
        command.env_remove("RTFTPD_USER").timeout(LONGEST_RUN).assert()
    };
    check(&[]).success();
    let other = check(&["--user", "4322"]).code(1);
    other.stderr(contains("only root can become '4322': leave out --user"));
}

#[test]
fn without_the_privilege_for_port_69_it_says_how_to_get_it() {
    // Here it may be anybody's, as it is in a container; in a new network it never is.
    let test = without_the_privilege_for_port_69_it_says_how_to_get_it;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let refused = unprivileged(Path::new("/"), &["--listen", "127.0.0.1:69"]).code(1);
    refused.stderr(contains("--listen").and(contains("cap_net_bind_service")));
}

#[test]
fn a_client_that_ends_with_error_0_or_8_is_no_failure_in_the_log() {
    let names = ["probed-0", "probed-8", "stopped-0", "stopped-8"];
    let files = names.map(|name| (name, &[7; 2000][..]));
    let root = folder(&files);
    let server = Daemon::serve(root.path(), &[]);
    for name in names {
        let peer = server.peer();
        let (first, tid) = peer.answer(&rrq(name, &[("tsize", "0")]));
        assert_eq!(show(&first), "OACK tsize=2000");
        if name.starts_with("stopped") {
            peer.exchange(&ack(0), tid, "DATA 1 512");
            peer.exchange(&ack(1), tid, "DATA 2 512");
        }
        peer.send(&error(u16::from(name.ends_with('8')) * 8, "enough"), tid);
        let line = server.log_line(&[name]);
        assert!(line.contains(" INFO "), "{line}");
        let late = peer.pending();
        assert!(late.iter().all(|(packet, _)| packet[1] != 5), "an ERROR is not answered");
    }
}

#[test]
fn names_and_texts_from_the_network_are_escaped_in_the_log() {
    let root = folder(&[("f", &[7; 2000])]);
    let hostile = "first\x1b[2J\r\n\x07\x7f\u{9b}2Jlast";
    let mut raw = Vec::new();
    for arguments in [&[][..], &["--json"]] {
        let server = Daemon::serve(root.path(), arguments);
        server.peer().fetch(&rrq(hostile, &[])).expect_err("no such file");
        server.peer().store(&wrq(hostile, &[]), b"").expect_err("no uploads");
        let peer = server.peer();
        let (_, tid) = peer.answer(&rrq("f", &[]));
        peer.exchange(&ack(1), tid, "DATA 2 512");
        peer.send(&error(0, hostile), tid);
        for event in ["not there", "refused", "ended"] {
            // A line break would have torn it.
            let line = server.log_line(&["first", "last", event]);
            if line.chars().any(char::is_control) {
                raw.push(format!("{arguments:?}: {line:?}"));
            }
        }
    }
    assert!(raw.is_empty(), "{raw:#?}");
}

/// When the next such packet came, by the kernel's clock: whoever reads it may have been busy, or stopped.
fn arrival(peer: &Peer, tid: &mut Option<SocketAddr>, wanted: &str) -> Duration {
    let mut buffer = [0; 600];
    until(wanted, || {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let (mut space, dont_wait) = (cmsg_space!(TimeSpec), MsgFlags::MSG_DONTWAIT);
        let socket = peer.socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrIn>(socket, &mut slices, Some(&mut space), dont_wait).ok()?;
        let from = message.address.map(|from| SocketAddr::V4(from.into()));
        let came = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        });
        let packet = message.iovs().next()?;
        *tid = from;
        came.map(Duration::from).filter(|_| show(packet) == wanted)
    })
}

/// How long a server lets its OACK, and then three times its only block, wait for an answer before it sends them again;
/// and how long after the block it gives up.
fn repeats(server: &Daemon) -> [Duration; 5] {
    let peer = server.peer();
    setsockopt(&peer.socket, sockopt::ReceiveTimestampns, &true).expect("times of arrival");
    peer.ask(&rrq("f", &[("blksize", "512")]));
    // Its port comes with what it says.
    let mut tid = None;
    let [once, again] = [(); 2].map(|()| arrival(&peer, &mut tid, "OACK blksize=512"));
    peer.send(&ack(0), tid.expect("it has answered"));
    let at = [(); 4].map(|()| arrival(&peer, &mut tid, "DATA 1 3"));
    server.log_line(&["\"f\"", &format!("peer={} ", peer.address()), "unconfirmed"]);
    let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time") - at[0];
    [again - once, at[1] - at[0], at[2] - at[1], at[3] - at[2], end]
}

#[test]
fn the_servers_intervals_and_its_patience_are_the_operators() {
    let root = folder(&[("f", b"few")]);
    let set = ["--first-interval", "0.3", "--intervals", "0.2", "0.4", "--patience", "1.5"];
    let server = Daemon::serve(root.path(), &set);
    // By default it waits a second at first, at least 50 ms after that, and 30 s in all.
    let wanted = [250..900, 150..900, 350..1400, 350..700, 1400..10_000];
    let fits = |spans: &[Duration; 5]| {
        let mut both = wanted.iter().zip(spans);
        both.all(|(wanted, span)| wanted.contains(&span.as_millis()))
    };
    // A busy machine is late now and then.
    let mut tries = Vec::new();
    while tries.len() < 5 && !tries.last().is_some_and(&fits) {
        tries.push(repeats(&server));
    }
    assert!(tries.last().is_some_and(fits), "{tries:?}");
}

#[test]
fn a_thread_that_tells_who_started_the_server_sleeps_and_is_there_only_where_somebody_listens() {
    let (root, place) = (folder(&[("f", &[7; 2000])]), folder(&[]));
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(common::DEADLINE)).expect("a time-out");
    let hears = |wanted: &str| {
        until(wanted, || {
            let mut message = [0; 256];
            let len = manager.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..len]).contains(wanted).then_some(())
        });
    };
    let mut command = std::process::Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "127.0.0.1:0"]);
    let alone = Daemon::spawn(&mut command);
    let server = Daemon::spawn(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000"));
    // While a transfer runs, it looks now and then whether that is over.
    hears("READY=1\nSTATUS=0 transfers running");
    let peer = server.peer();
    peer.answer(&rrq("f", &[]));
    hears("STATUS=1 transfer running");
    let keeper = || {
        let tasks = std::fs::read_dir(server.proc("task")).expect("it lives").flatten();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        let stat = stats.into_iter().find(|stat| stat.contains("(keeper)")).expect("its thread");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("its state").1.split(' ').collect();
        // In user mode and in the kernel, in hundredths of a second.
        [fields[11], fields[12]]
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .iter()
            .sum::<u64>()
    };
    let (before, began) = (keeper(), Instant::now());
    for _ in 0..5 {
        hears("WATCHDOG=1");
    }
    let (busy, took) = (keeper() - before, began.elapsed());
    assert!(busy < 3, "it was busy for {busy} hundredths of a second while it told five times");
    assert!(
        took < Duration::from_secs(2),
        "the watchdog was not fed in time: five times in {took:?}"
    );
    assert_eq!([server.threads("keeper"), alone.threads("keeper")], [1, 0]);
}
