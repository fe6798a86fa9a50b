//! `--on-upload`: a command says whether an upload may appear, and nobody else waits for it, whatever drives transfers.

mod common;

use common::apart::in_own_mounts;
use common::{
    Daemon, Peer, child, data, everything_in, folder, list, pattern, rrq, show, until, wrq,
};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, mkfifo};
use std::fs::{self, Permissions};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Each way to drive transfers.
const MODELS: [&[&str]; 5] = [
    &["--model", "threads"],
    &["--model", "events"],
    &["--model", "processes"],
    &["--model", "iterative"],
    &["--single-port"],
];

const REFUSED: &str = "ERROR 2 \"refused by a check of the server\"";
const UNCHECKED: &str = "ERROR 0 \"the server cannot check it now\"";

/// A server that asks `command`, which runs in the directory `here`.
fn serve(root: &Path, here: &Path, command: &str, more: &[&str]) -> Daemon {
    Daemon::spawn(&mut server(root, here, command, more))
}

fn server(root: &Path, here: &Path, command: &str, more: &[&str]) -> Command {
    let command = format!("cd '{}' && {command}", here.display());
    let mut server = Command::new(Daemon::program());
    server.arg(root).args(["--listen", "127.0.0.1:0", "--uploads", "overwrite"]);
    server.args(["--on-upload", &command]).args(more);
    server
}

/// What the client of an upload is told that is not taken.
#[track_caller]
fn refusal(server: &Daemon, name: &[u8], bytes: &[u8]) -> String {
    show(&server.peer().store(&wrq(name, &[]), bytes).expect_err("it is refused"))
}

/// An upload of one block, of which all but the answer is there.
fn whole(server: &Daemon, name: &str) -> (Peer, SocketAddr) {
    let peer = server.peer();
    let (_, tid) = peer.answer(&wrq(name, &[]));
    peer.send(&data(1, b"few"), tid);
    (peer, tid)
}

/// The number that a command has written to this file.
fn pid_in(file: &Path) -> Pid {
    until("a process that tells its number", || {
        fs::read_to_string(file).ok()?.trim().parse().ok().map(Pid::from_raw)
    })
}

fn ends(pid: Pid) {
    until("the process is gone", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

/// The process of `server` that runs the commands.
fn runner(server: &Daemon) -> Pid {
    let parent = format!(" {} ", server.pid());
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|one| one.file_name().to_str()?.parse().ok());
    let mut runs = pids.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.split_once("(rtftpd-commands) ").map(|(_, rest)| rest.to_owned());
        rest.is_some_and(|rest| rest[1..].starts_with(&parent))
    });
    Pid::from_raw(runs.next().expect("a process that runs commands"))
}

/// A pipe with a name, from which a command reads that is to wait.
fn gate(here: &TempDir) -> std::path::PathBuf {
    let gate = here.path().join("gate");
    mkfifo(&gate, Mode::from_bits_truncate(0o666)).expect("a pipe");
    gate
}

/// Lets all go on that wait there, and will.
fn open(gate: &Path) -> fs::File {
    // To read as well: it is no error that nobody waits any more.
    let file = fs::File::options().read(true).write(true).open(gate).expect("a pipe");
    use std::io::Write;
    (&file).write_all(&[b'\n'; 64]).expect("written");
    file
}

#[test]
fn the_command_has_the_whole_file_before_anybody_sees_it() {
    let tells = "cat >by-input && cat \"$RTFTPD_PATH\" </dev/null >by-path && ls -A \"$RTFTPD_FOLDER\" >there && \
         printf '%s|%s|%s|%s' \"$RTFTPD_NAME\" \"$RTFTPD_PEER\" \"$RTFTPD_SIZE\" \"$RTFTPD_FOLDER\" >about";
    for model in MODELS {
        let (root, here) = (folder(&[("new", b"old")]), folder(&[]));
        let server = serve(root.path(), here.path(), tells, &[model, &["--create-dirs"]].concat());
        let bytes = pattern(200_000, 1);
        for name in ["made/a b", "new"] {
            server.peer().store(&wrq(name, &[]), &bytes).expect("it is stored");
            let read = |file| fs::read(here.path().join(file)).expect("the command was run");
            assert!(read("by-input") == bytes && read("by-path") == bytes, "{model:?}");
            let there = String::from_utf8(read("there")).expect("names");
            assert!(!there.contains("made") || name == "new", "{model:?}: {there}");
            let about = format!("{name}|127.0.0.1|200000|{}", root.path().display());
            assert_eq!(String::from_utf8(read("about")), Ok(about), "{model:?}");
            assert!(fs::read(root.path().join(name)).expect("it is there") == bytes, "{model:?}");
        }
    }
}

#[test]
fn what_the_command_refuses_never_appears_and_the_log_says_why() {
    let refuses = "echo first >&2; printf 'no \\033[2Jhostname\\n' >&2; exit 3";
    for model in MODELS {
        let (root, here) = (folder(&[("there", b"old")]), folder(&[]));
        let options = ["--create-dirs", "--keep-versions", "3"];
        let server = serve(root.path(), here.path(), refuses, &[model, &options].concat());
        for name in ["new", "there", "made/new"] {
            assert_eq!(refusal(&server, name.as_bytes(), b"new"), REFUSED, "{model:?}");
        }
        let line = server.log_line(&["WARN", "refused", "there", "exit status 3"]);
        assert!(line.contains("hostname") && !line.contains('\x1b'), "{model:?}: {line}");
        assert!(!line.contains("first"), "{model:?}: {line}");
        until("no trace of it", || (everything_in(root.path()) == ["there"]).then_some(()));
        assert_eq!(fs::read(root.path().join("there")).expect("a file"), b"old");
    }
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let hangs = "echo $$ >one && { sleep 1000 & echo $! >two; } && sleep 1000";
    let is_killed = |model: &[&str]| {
        let (root, here) = (folder(&[]), folder(&[]));
        let options = [model, &["--on-upload-within", "1.5"]].concat();
        let server = serve(root.path(), here.path(), hangs, &options);
        let late = "ERROR 0 \"the check of the server takes too long\"";
        assert_eq!(refusal(&server, b"new", b"new"), late, "{model:?}");
        server.log_line(&["killed after 1.5 s"]);
        for file in ["one", "two"] {
            ends(pid_in(&here.path().join(file)));
        }
        until("no trace of it", || everything_in(root.path()).is_empty().then_some(()));
    };
    std::thread::scope(|scope| {
        for model in MODELS {
            scope.spawn(move || is_killed(model));
        }
    });
}

#[test]
fn nothing_of_a_command_outlives_its_answer() {
    let (root, here) = (folder(&[]), folder(&[]));
    let leaves = "{ sleep 1000 & echo $! >two; }";
    let server = serve(root.path(), here.path(), leaves, &[]);
    server.peer().store(&wrq("new", &[]), b"new").expect("it is stored");
    ends(pid_in(&here.path().join("two")));
}

#[test]
fn while_commands_take_their_time_others_upload_download_and_list() {
    let waits = "case $RTFTPD_NAME in slow*) read line <gate ;; esac";
    for model in MODELS.into_iter().filter(|model| !model.contains(&"iterative")) {
        let (root, here) = (folder(&[("file", &pattern(2000, 1))]), folder(&[]));
        let gate = gate(&here);
        let options = [model, &["--on-upload-within", "60"]].concat();
        let server = serve(root.path(), here.path(), waits, &options);
        let slow = |n: usize| whole(&server, &format!("slow{n}"));
        let mut waiting: Vec<_> = (0..3).map(slow).collect();
        // There is one command more, and it says yes.
        server.peer().store(&wrq("quick", &[]), &pattern(2000, 2)).expect("it is stored");
        waiting.extend((3..7).map(slow));
        let (last, tid) = waiting.last().expect("an upload");
        // One that waits for its turn: all but its last block is taken, and so is what is read.
        let other = server.peer();
        let (_, other_tid) = other.answer(&wrq("other", &[]));
        let bytes = pattern(100 * 512, 3);
        for (n, block) in (1..).zip(bytes.chunks(512)) {
            other.exchange(&data(n, block), other_tid, &format!("ACK {n}"));
        }
        assert_eq!(server.peer().fetch(&rrq("file", &[])), Ok(pattern(2000, 1)), "{model:?}");
        let listed = server.peer().fetch(&list("", &[])).expect("a listing");
        assert!(!String::from_utf8_lossy(&listed).contains("slow"), "{model:?}");
        // Their clients ask again, and the sessions stay.
        last.send(&data(1, b"few"), *tid);
        let _opened = open(&gate);
        for (peer, tid) in &waiting {
            peer.wanted(*tid, "ACK 1");
        }
        other.exchange(&data(101, b""), other_tid, "ACK 101");
        assert!(fs::read(root.path().join("other")).expect("it is there") == bytes, "{model:?}");
        assert_eq!(everything_in(root.path()).len(), 10, "{model:?}");
    }
}

#[test]
fn without_the_process_that_runs_commands_no_upload_is_taken() {
    for model in MODELS {
        let (root, here) = (folder(&[]), folder(&[]));
        let waits = "echo $$ >pid; [ $RTFTPD_NAME != slow ] || read line <gate";
        let _gate = gate(&here);
        let options = [model, &["--on-upload-within", "60"]].concat();
        let server = serve(root.path(), here.path(), waits, &options);
        server.peer().store(&wrq("good", &[]), b"good").expect("it is stored");
        fs::remove_file(here.path().join("pid")).expect("a file");
        let (peer, tid) = whole(&server, "slow");
        let command = pid_in(&here.path().join("pid"));
        kill(runner(&server), Signal::SIGKILL).expect("it lives");
        peer.wanted(tid, UNCHECKED);
        ends(command);
        assert_eq!(refusal(&server, b"new", b"new"), UNCHECKED, "{model:?}");
        server.log_line(&["new", "--on-upload: the process that runs it is gone"]);
        until("no trace of it", || (everything_in(root.path()) == ["good"]).then_some(()));
    }
}

/// Has a process have no more than this, for the time being.
fn limit(pid: Pid, limit: &str) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let id = |field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
        line.split_whitespace().next().and_then(|id| id.parse().ok()).expect("a number")
    };
    // Its own user may, and root may not wherever tests run.
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid".into(), pid.to_string(), format!("--{limit}:")]);
    let told = child::output(prlimit.uid(id("Uid:")).gid(id("Gid:")));
    assert!(told.status.success(), "{told:?}");
}

#[test]
fn for_want_of_a_thread_or_a_descriptor_one_upload_is_refused_and_the_next_is_taken() {
    let (root, here) = (folder(&[]), folder(&[]));
    let mut command = server(root.path(), here.path(), "true", &[]);
    if Uid::effective().is_root() {
        // Root may have as many threads as it likes.
        command.env("RTFTPD_USER", "65534");
        for place in [&root, &here] {
            fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("a mode");
        }
    }
    let server = Daemon::spawn(&mut command);
    server.peer().store(&wrq("good", &[]), b"good").expect("it is stored");
    let runner = runner(&server);
    let lacks = |name: &str, least: &str| {
        let has_done =
            || fs::read_dir(format!("/proc/{runner}/task")).expect("it lives").count() == 1;
        until("it has done with the one before", || has_done().then_some(()));
        limit(runner, least);
        let told = server.peer().store(&wrq(name, &[]), b"new").expect_err(least);
        (show(&told), server.log_line(&[name, "--on-upload"]))
    };
    // With each descriptor more it comes a step further, in the end to the command itself, which needs some, too.
    let all = (3..99).map(|most| lacks(&format!("cfg-{most}"), &format!("nofile={most}")));
    let all: Vec<_> = all.map_while(|(told, why)| (told == UNCHECKED).then_some(why)).collect();
    let nothing = "the process that runs it has no descriptor for that";
    for why in [nothing, "no descriptor for the file", "Too many open files"] {
        assert!(all.iter().any(|line| line.contains(why)), "{why}: {all:?}");
    }
    limit(runner, "nofile=1024");
    server.peer().store(&wrq("good", &[]), b"good").expect("it is stored");
    let (told, why) = lacks("thread", "nproc=0");
    assert_eq!(told, UNCHECKED);
    assert!(why.contains("Resource temporarily unavailable"), "{why}");
    limit(runner, "nproc=1024");
    server.peer().store(&wrq("good", &[]), b"good").expect("it is stored");
    assert_eq!(everything_in(root.path()), ["good"]);
}

#[test]
fn the_process_that_runs_commands_has_no_socket_of_inetds() {
    let (root, here) = (folder(&[]), folder(&[]));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let given = || Stdio::from(OwnedFd::from(socket.try_clone().expect("the socket once more")));
    // One that was closed since the shell saw it is none.
    let tells = format!("readlink /proc/$PPID/fd/* >'{}'; true", here.path().join("all").display());
    let mut server = Command::new(Daemon::program());
    server.arg(root.path()).args(["--inetd", "--uploads", "create", "--on-upload", &tells]);
    server.args(["--user", &Uid::effective().to_string()]);
    server.stdin(given()).stdout(given()).stderr(given());
    let mut server = server.spawn().expect("a server");
    let peer = Peer::of(socket.local_addr().expect("an address"));
    peer.store(&wrq("new", &[]), b"new").expect("it is stored");
    server.kill().expect("killed");
    child::end("the server", &mut server);
    let all = fs::read_to_string(here.path().join("all")).expect("the command was run");
    let name = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("its name");
    assert!(
        all.contains("socket:") && !all.contains(&*name.to_string_lossy()),
        "{name:?} in {all}"
    );
}

#[test]
fn a_process_that_runs_no_command_any_more_is_not_waited_for() {
    let (root, here) = (folder(&[]), folder(&[]));
    let server = serve(root.path(), here.path(), "true", &["--on-upload-within", "0.1"]);
    server.peer().store(&wrq("good", &[]), b"good").expect("it is stored");
    kill(runner(&server), Signal::SIGSTOP).expect("it lives");
    assert_eq!(refusal(&server, b"new", b"new"), UNCHECKED);
    server.log_line(&["new", "the process that runs it does not answer"]);
    assert_eq!(everything_in(root.path()), ["good"]);
}

#[test]
fn a_stop_waits_for_the_command_or_ends_it_and_tells_the_client() {
    for model in MODELS {
        let (root, here) = (folder(&[]), folder(&[]));
        let waits = "echo $$ >pid; read line <gate";
        let gate = gate(&here);
        let begun = |drain: &str| {
            let options = [model, &["--on-upload-within", "60", "--drain", drain]].concat();
            let server = serve(root.path(), here.path(), waits, &options);
            let (peer, tid) = whole(&server, "new");
            let command = pid_in(&here.path().join("pid"));
            fs::remove_file(here.path().join("pid")).expect("a file");
            (server, peer, tid, command)
        };
        let (mut server, peer, tid, command) = begun("0");
        server.signal(Signal::SIGTERM);
        peer.wanted(tid, "ERROR 0 \"the server is shutting down\"");
        assert_eq!(until("its end", || server.exit_status()), 0, "{model:?}");
        ends(command);
        assert!(everything_in(root.path()).is_empty(), "{model:?}");
        // No word, and no command that goes on for nobody.
        let (mut server, _peer, _, command) = begun("0");
        server.kill();
        ends(command);
        let (mut server, peer, tid, _) = begun("20");
        server.signal(Signal::SIGTERM);
        server.log_line(&["stopping"]);
        let _opened = open(&gate);
        peer.wanted(tid, "ACK 1");
        assert_eq!(until("its end", || server.exit_status()), 0, "{model:?}");
        assert_eq!(fs::read(root.path().join("new")).expect("it is there"), b"few");
    }
}

#[test]
fn a_name_is_one_word_to_the_command_whatever_is_in_it() {
    let tells = "printf %s \"$RTFTPD_NAME\" >name; eval : >/dev/null";
    let (root, here) = (folder(&[]), folder(&[]));
    let server = serve(root.path(), here.path(), tells, &[]);
    let names: [&[u8]; 8] = [
        b"$(touch x)",
        b"`touch x`",
        b"; touch x;",
        b"' touch x '",
        b"\"; touch x; \"",
        b"-rf",
        b"a b*",
        b"\xff\xfe\xe2\x80\xae",
    ];
    for name in names {
        server.peer().store(&wrq(name, &[]), b"new").expect("it is stored");
        let told = fs::read(here.path().join("name")).expect("the command was run");
        assert_eq!(told.escape_ascii().to_string(), name.escape_ascii().to_string());
        assert!(root.path().join(std::ffi::OsStr::from_bytes(name)).exists());
    }
    fs::remove_file(here.path().join("name")).expect("a file");
    for name in [&b"a\nb"[..], b"\x1b[2J", b"a\x7f", "a\u{9b}".as_bytes()] {
        let told = refusal(&server, name, b"new");
        assert_eq!(told, "ERROR 2 \"control characters in the name\"");
    }
    assert_eq!(everything_in(here.path()), [""; 0]);
}

#[test]
fn the_command_runs_as_the_user_that_serves_and_the_sandbox_holds_all_the_same() {
    let (root, here) = (folder(&[]), folder(&[]));
    for place in [&root, &here] {
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("a mode");
    }
    let tells = "id -u >user && cat \"$RTFTPD_PATH\" >seen && cat /proc/self/status >status";
    let mut command = server(root.path(), here.path(), tells, &["--upload-name", "{ip}-{name}"]);
    let server = Daemon::spawn_as_any(&mut command);
    server.peer().store(&wrq("new", &[]), b"new").expect("it is stored");
    let read = |file| fs::read_to_string(here.path().join(file)).expect("the command was run");
    let user: u32 = read("user").trim().parse().expect("a number");
    let is_own = user == Uid::effective().as_raw();
    assert_eq!(is_own, !Uid::effective().is_root(), "{user}");
    assert_eq!(read("seen"), "new");
    let (all, of_server) = (read("status"), fs::read_to_string(server.proc("status")));
    let line =
        |all: &str, field| all.lines().find(|line| line.starts_with(field)).map(str::to_owned);
    assert_eq!(line(&all, "Seccomp:"), Some("Seccomp:\t0".into()));
    assert_eq!(line(&all, "Groups:"), line(&of_server.expect("it lives"), "Groups:"));
    assert_eq!(everything_in(root.path()), ["127.0.0.1-new"]);
    if server.logged(&["the sandbox is not whole"]).is_none() {
        assert_eq!(server.status("Seccomp"), 2);
    }
}

#[test]
fn signals_mean_to_commands_what_they_do_to_any_other_program() {
    // Where `sh` is another one, it may unblock by itself what is blocked when it begins.
    let bash = "mount --bind \"$(command -v bash)\" \"$(readlink -f /bin/sh)\"";
    if !in_own_mounts(signals_mean_to_commands_what_they_do_to_any_other_program, bash) {
        return;
    }
    let (root, here) = (folder(&[]), folder(&[]));
    let tells = "grep SigBlk: /proc/self/status";
    let told = here.path().join("told");
    let events = format!("|{tells} >'{}' && cat >/dev/null", told.display());
    let asked = format!("{tells} >asked");
    let server = serve(root.path(), here.path(), &asked, &["--events-to", &events]);
    server.peer().store(&wrq("new", &[]), b"new").expect("it is stored");
    for file in [told, here.path().join("asked")] {
        let line = || fs::read_to_string(&file).ok().filter(|line| line.ends_with('\n'));
        assert_eq!(until("what is blocked", line), "SigBlk:\t0000000000000000\n", "{file:?}");
    }
}

#[test]
fn what_can_only_be_written_over_is_asked_about_while_it_waits_elsewhere() {
    let (root, here) = (folder(&[("cfg", b"old")]), folder(&[]));
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    };
    mode(here.path(), 0o777);
    mode(&root.path().join("cfg"), 0o666);
    mode(root.path(), 0o555);
    let asked = "cat \"$RTFTPD_PATH\" >seen && cmp -s seen - && test $(cat seen) != bad";
    let mut command = server(root.path(), here.path(), asked, &[]);
    if Uid::effective().is_root() {
        command.env("RTFTPD_USER", "65534");
    }
    let server = Daemon::spawn(&mut command);
    assert_eq!(refusal(&server, b"cfg", b"bad"), REFUSED);
    assert_eq!(fs::read(root.path().join("cfg")).expect("a file"), b"old");
    server.peer().store(&wrq("cfg", &[]), b"good").expect("it is stored");
    assert_eq!(fs::read(root.path().join("cfg")).expect("a file"), b"good");
    server.log_line(&["cfg", "written over"]);
    mode(root.path(), 0o755);
}

#[test]
fn another_command_counts_from_the_next_start_on_and_until_then_the_first() {
    let (root, here) = (folder(&[]), folder(&[]));
    let config = here.path().join("rtftpd.toml");
    let write = |on_upload: &str| {
        let text = format!("uploads = 'create'\n{on_upload}\n");
        fs::write(&config, text).expect("a file");
    };
    write("on-upload = 'exit 7'\non-upload-within = '9s'");
    let server = Daemon::serve(root.path(), &["--config", &config.display().to_string()]);
    assert_eq!(refusal(&server, b"new", b"new"), REFUSED);
    for (n, other) in (1..).zip(["on-upload = 'true'", ""]) {
        write(other);
        server.signal(Signal::SIGHUP);
        let told = ["a change of", "--on-upload", "counts from the next start on"];
        until("what came of it", || server.all_logged(&told).into_iter().nth(n - 1));
        assert_eq!(refusal(&server, b"new", b"new"), REFUSED);
    }
}

#[test]
fn the_command_finds_a_folder_that_was_named_from_where_the_server_was_started() {
    let (root, here) = (folder(&[("there", b"few")]), folder(&[]));
    let mut command =
        server(Path::new("."), here.path(), "cat \"$RTFTPD_FOLDER/there\" >seen", &[]);
    let server = Daemon::spawn(command.current_dir(root.path()));
    server.peer().store(&wrq("new", &[]), b"new").expect("it is stored");
    assert_eq!(fs::read(here.path().join("seen")).expect("the command was run"), b"few");
}

#[test]
fn a_time_that_is_longer_than_clients_wait_is_told() {
    let (root, here) = (folder(&[]), folder(&[]));
    // As long for its turn, and as long again for the command.
    for (within, is_told) in [("5s", false), ("5.1s", true)] {
        let server = serve(root.path(), here.path(), "exit 3", &["--on-upload-within", within]);
        // Whatever there is to tell at the start is told before that.
        assert_eq!(refusal(&server, b"new", b"new"), REFUSED);
        server.log_line(&["exit status 3"]);
        assert_eq!(server.logged(&["WARN", "clients may give up"]).is_some(), is_told, "{within}");
    }
}
