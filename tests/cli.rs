//! The two programs, as a person or a script uses them.

mod common;

use assert_cmd::Command;
use common::{DEADLINE, Daemon, data, everything_in, folder, pattern, until};
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use tftpkit::wire::{Operation, Packet, WireBlock};

fn rtftp(here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtftp"));
    command.current_dir(here).timeout(DEADLINE);
    command
}

fn rtftpd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtftpd"));
    command.timeout(DEADLINE);
    command
}

/// A server that reacts to each datagram as `react` says, until it says that it closes its port.
fn scripted(
    mut react: impl FnMut(&Packet<'_>) -> Option<Vec<Vec<u8>>> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let packet = Packet::parse(&buffer[..len]).expect("our client sends packets");
            let Some(answers) = react(&packet) else { return };
            for answer in answers {
                socket.send_to(&answer, peer).expect("sent");
            }
        }
    });
    (address, thread)
}

fn error(code: u16, text: &str) -> Vec<u8> {
    Packet::Error { code: code.into(), message: text.as_bytes() }.to_vec()
}

fn ack(block: u16) -> Vec<u8> {
    Packet::Ack { block: WireBlock(block) }.to_vec()
}

#[test]
fn get_writes_the_file_under_its_own_name_and_says_nothing_on_a_pipe() {
    let (root, here) = (folder(&[("sub/a.bin", &pattern(100_000, 1))]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let get = rtftp(here.path()).args(["get", &remote, "sub/a.bin"]).assert();
    get.success().stdout(is_empty()).stderr(is_empty());
    assert_eq!(std::fs::read(here.path().join("a.bin")).expect("the file"), pattern(100_000, 1));
    assert_eq!(everything_in(here.path()), ["a.bin"]);
}

#[test]
fn get_takes_urls_folders_names_and_standard_output() {
    let root = folder(&[("a", b"one"), ("b c", b"two"), ("t", b"x\ny\n")]);
    let here = folder(&[("there/old", b"")]);
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    rtftp(here.path()).args(["get", &remote, "a", "b c", "-o", "there"]).assert().success();
    assert_eq!(everything_in(&here.path().join("there")), ["a", "b c", "old"]);
    let url = format!("tftp://{remote}/b%20c");
    rtftp(here.path()).args(["get", &url, "-o", "-"]).assert().success().stdout("two");
    let text = format!("tftp://{remote}/t;mode=netascii");
    rtftp(here.path()).args(["get", &text, "-o", "-"]).assert().success().stdout("x\ny\n");
    let both = rtftp(here.path()).args(["get", &remote, "a", "t", "-o", "one-name"]).assert();
    both.code(1).stderr(contains("give a folder"));
}

#[test]
fn put_sends_files_and_standard_input() {
    let (root, here) = (folder(&[]), folder(&[("a", b"one"), ("b", b"two")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    rtftp(here.path()).args(["put", "a", "b", &remote]).assert().success();
    rtftp(here.path()).args(["put", "a", &remote, "c"]).assert().success();
    let url = format!("tftp://{remote}/d");
    rtftp(here.path()).args(["put", "-", &url]).write_stdin("three").assert().success();
    let stored = |name| std::fs::read(root.path().join(name)).expect("stored");
    assert_eq!(["a", "b", "c", "d"].map(stored), [&b"one"[..], b"two", b"one", b"three"]);
}

#[test]
fn reports_are_json_for_scripts() {
    let (root, here) = (folder(&[("a", &pattern(5000, 2))]), folder(&[]));
    let server = Daemon::serve(root.path(), &["--json"]);
    let remote = server.address.to_string();
    let get = rtftp(here.path()).args(["get", &remote, "a", "--json"]).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&get.get_output().stdout).expect("JSON");
    assert_eq!((&report["operation"], &report["bytes"]), (&"get".into(), &5000.into()));
    let list = rtftp(here.path()).args(["list", &remote, "--json"]).assert().success();
    let lines = String::from_utf8_lossy(&list.get_output().stdout).into_owned();
    let entry: serde_json::Value =
        serde_json::from_str(lines.lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!((&entry["name"], &entry["size"]), (&"a".into(), &5000.into()));
    let line: serde_json::Value = serde_json::from_str(&server.log_line(&["sent"])).expect("JSON");
    assert_eq!((&line["file"], &line["outcome"]), (&"a".into(), &"complete".into()));
}

#[test]
fn exit_codes_tell_the_class_of_a_failure() {
    let (root, here) = (folder(&[("a", b"x"), ("dir/b", b"y")]), folder(&[("mine", b"z")]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let case = |arguments: &[&str], code: i32, words: &str| {
        let run = rtftp(here.path()).args(arguments).assert();
        run.code(code).stderr(contains(words));
    };
    case(&["get", &remote, "missing"], 4, "file not found");
    case(&["list", &remote, "missing"], 4, "file not found");
    case(&["get", &remote, "dir"], 5, "access violation");
    case(&["put", "mine", &remote], 5, "access violation");
    case(&["put", "absent", &remote], 1, "cannot read 'absent'");
    case(&["put", ".", &remote, "x"], 1, "it is a directory");
    case(&["get", &remote, "a", "-o", "no/such/folder"], 1, "cannot write 'no/such/folder'");
    case(&["get", &remote, "a", "-o", "/dev/full"], 6, "No space left");
    case(&["get", &remote], 2, "no file is named");
    case(&["get", "host:x", "--blksize", "7"], 2, "--blksize");
    case(&["get", "[::1", "x"], 2, "closing bracket");
    case(&["get", "no-such-host.invalid:x"], 3, "cannot find the host");
    let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let closed = closed.expect("a port that is free again").to_string();
    case(&["get", &closed, "x"], 3, "nothing listens");
    let help = rtftp(here.path()).args(["get", "--help"]).assert().success();
    help.stdout(contains("Exit status:").and(contains("8  everything was sent")));
}

#[test]
fn a_silent_server_is_no_answer() {
    let (server, _thread) = scripted(|_| Some(Vec::new()));
    let here = folder(&[]);
    let remote = server.to_string();
    let get = ["get", &remote, "x", "--timeout", "1", "--retries", "0"];
    rtftp(here.path()).args(get).assert().code(3).stderr(contains("no answer from"));
}

#[test]
fn a_failed_get_leaves_what_was_there_and_nothing_else() {
    let here = folder(&[("a", b"old")]);
    let (server, thread) = scripted(|packet| match packet {
        Packet::Request(_) => Some(vec![data(1, &[1; 512])]),
        // It is gone with half the file.
        _ => None,
    });
    let remote = server.to_string();
    let get = rtftp(here.path()).args(["get", &remote, "a", "--no-options"]).assert();
    get.code(3).stderr(contains("fell silent after"));
    thread.join().expect("no panic");
    assert_eq!(std::fs::read(here.path().join("a")).expect("the old file"), b"old");
    assert_eq!(everything_in(here.path()), ["a"]);
}

#[test]
fn an_upload_without_its_last_acknowledgement_is_unconfirmed() {
    let here = folder(&[("a", b"few")]);
    let (server, _thread) = scripted(|packet| match packet {
        Packet::Request(_) => Some(vec![ack(0)]),
        _ => None,
    });
    let put = rtftp(here.path()).args(["put", "a", &server.to_string()]).assert();
    put.code(8).stderr(contains("did not confirm"));
}

#[test]
fn a_server_that_refuses_or_ignores_options_is_asked_without_them() {
    let here = folder(&[]);
    for refusal in [Some(error(8, "no options")), Some(error(4, "what?")), None] {
        let silent = refusal.is_none();
        let (server, _thread) = scripted(move |packet| match packet {
            Packet::Request(request) if !request.options.is_empty() => {
                Some(refusal.clone().into_iter().collect())
            }
            Packet::Request(_) => Some(vec![data(1, b"plain")]),
            _ => Some(Vec::new()),
        });
        let remote = server.to_string();
        let mut get = rtftp(here.path());
        get.args(["get", &remote, "a", "-o", "-"]);
        if silent {
            get.args(["--timeout", "1", "--retries", "0"]);
        }
        get.assert().success().stdout("plain");
    }
}

#[test]
fn a_hostile_servers_words_do_not_reach_the_terminal_raw() {
    let here = folder(&[]);
    let (server, _thread) = scripted(|_| Some(vec![error(1, "\x1b[2Jgone\r\n")]));
    let get = rtftp(here.path()).args(["get", &server.to_string(), "a"]).assert().code(4);
    get.stderr(contains("\\u{1b}[2Jgone").and(contains("\x1b").not()));
}

#[test]
fn the_menu_obeys_a_pipe() {
    let root = folder(&[("a", b"one"), ("b c", b"two"), ("sub/d", b"three")]);
    let here = folder(&[("mine", b"four")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines =
        "list\ndownload 1\n2 'b c' e\nlist sub\nd 1\nupload mine\n3 mine sub/f\nquit\nlist\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    let output = menu.success().stderr(is_empty());
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("1  a") && text.contains("3  sub/") && text.contains("1  d"), "{text}");
    let local = |name| std::fs::read(here.path().join(name)).expect("downloaded");
    assert_eq!(["a", "e", "d"].map(local), [&b"one"[..], b"two", b"three"]);
    let remote = |name| std::fs::read(root.path().join(name)).expect("uploaded");
    assert_eq!(["mine", "sub/f"].map(remote), [b"four", b"four"]);
}

#[test]
fn an_error_leaves_the_user_in_the_menu() {
    let (root, here) = (folder(&[("a", b"one")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let lines = "download nothing\nlist\ndownload 9\nbogus\ndownload 'a\nupload\ndownload a\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    menu.code(4).stderr(
        contains("file not found")
            .and(contains("the list has no number 9; it ends at 1"))
            .and(contains("there is no command 'bogus'"))
            .and(contains("a quote is not closed"))
            .and(contains("upload what?")),
    );
    assert_eq!(everything_in(here.path()), ["a"], "the last line was obeyed");
}

#[test]
fn the_menu_works_with_a_server_that_cannot_list() {
    let here = folder(&[]);
    let (server, _thread) = scripted(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => {
            Some(vec![error(4, "illegal TFTP operation")])
        }
        Packet::Request(request) if request.name == b"a" => Some(vec![data(1, b"here")]),
        Packet::Request(_) => Some(vec![error(1, "file not found")]),
        _ => Some(Vec::new()),
    });
    let menu = rtftp(here.path()).arg(server.to_string()).write_stdin("list\nd a\n").assert();
    menu.code(7).stderr(contains("cannot list").and(contains("download NAME")));
    assert_eq!(std::fs::read(here.path().join("a")).expect("downloaded"), b"here");
}

/// Runs `command` on a terminal that `script` makes, and types a line at each prompt, as a person would.
fn on_a_terminal(here: &Path, command: &str, lines: &[&str]) -> String {
    let mut script = std::process::Command::new("script");
    script.args(["-qec", command, "/dev/null"]).current_dir(here).env("TERM", "xterm");
    script.env("XDG_STATE_HOME", here.join("state"));
    let piped = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = piped.spawn().expect("script, of util-linux");
    let (keys, mut out) = (script.stdin.take(), script.stdout.take().expect("a pipe"));
    let (mut keys, mut lines) = (keys.expect("a pipe"), lines.iter());
    let (mut screen, mut prompts, mut buffer) = (String::new(), 0, [0; 4096]);
    while let Ok(len @ 1..) = out.read(&mut buffer) {
        screen += &String::from_utf8_lossy(&buffer[..len]);
        // The prompt is drawn anew with each key; on a new line it waits for one.
        let seen = screen.matches("\x1b[?2004h").count();
        while prompts < seen {
            prompts += 1;
            let line = lines.next().expect("a line for each prompt");
            keys.write_all(line.as_bytes()).expect("typed");
        }
    }
    assert!(script.wait().is_ok_and(|status| status.success()), "{screen}");
    screen
}

#[test]
fn at_a_terminal_the_menu_completes_names_and_keeps_a_history() {
    let root = folder(&[("firmware/blink.bin", b"light"), ("welcome.txt", b"hello")]);
    let here = folder(&[("local-file", b"mine")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let command = format!("{} {}", env!("CARGO_BIN_EXE_rtftp"), server.address);
    let lines = ["down\twel\t\r", "d fi\tbl\t\r", "upload lo\t\r", "quit\r"];
    let screen = on_a_terminal(here.path(), &command, &lines);
    assert!(screen.contains("list [DIRECTORY]"), "the page of commands: {screen}");
    let local = |name| std::fs::read(here.path().join(name)).unwrap_or_default();
    assert_eq!(["welcome.txt", "blink.bin"].map(local), [&b"hello"[..], b"light"], "{screen}");
    assert!(root.path().join("local-file").exists(), "{screen}");
    let history = std::fs::read_to_string(here.path().join("state/rtftp/history"));
    assert!(history.expect("a history").contains("download welcome.txt"));
}

#[test]
fn at_a_terminal_a_get_ends_with_its_figures() {
    let (root, here) = (folder(&[("a", &pattern(3_000_000, 3))]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let program = env!("CARGO_BIN_EXE_rtftp");
    let screen = on_a_terminal(here.path(), &format!("{program} get {} a", server.address), &[]);
    assert!(screen.contains("2.86 MiB in ") && screen.contains(" MB/s"), "{screen}");
    let quiet = format!("{program} get {} a --quiet", server.address);
    assert_eq!(on_a_terminal(here.path(), &quiet, &[]).trim(), "");
}

#[test]
fn the_server_says_what_to_do_when_it_cannot_start() {
    rtftpd().arg("no/such/folder").assert().code(1).stderr(contains("give an existing folder"));
    let root = folder(&[]);
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|at| at.to_string()).expect("an address");
    let _keep = UdpSocket::bind(&taken);
    let other = Daemon::serve(root.path(), &[]);
    let busy = rtftpd().arg(root.path()).args(["--listen", &other.address.to_string()]).assert();
    busy.code(1).stderr(contains("another program has this port"));
    let foreign = rtftpd().arg(root.path()).args(["--listen", "192.0.2.77:6969"]).assert();
    foreign.code(1).stderr(contains("does not have that address"));
    rtftpd().assert().code(2).stderr(contains("<ROOT>"));
    rtftpd().args(["--listen", "nowhere", "."]).assert().code(2);
}

#[test]
fn without_the_privilege_for_port_69_it_says_how_to_get_it() {
    let root = folder(&[]);
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args([
        "--reuid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    unprivileged.arg(env!("CARGO_BIN_EXE_rtftpd")).arg("/").timeout(DEADLINE);
    let refused = unprivileged.args(["--listen", "127.0.0.1:69"]).assert().code(1);
    refused.stderr(contains("--listen").and(contains("cap_net_bind_service")));
    drop(root);
}

#[test]
fn a_signal_stops_the_server_in_order() {
    let root = folder(&[]);
    for signal in ["-INT", "-TERM"] {
        let mut server = Daemon::serve(root.path(), &[]);
        let sent = std::process::Command::new("kill").args([signal, &server.pid()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        assert_eq!(until("the server's end", || server.exit_status()), 0);
        server.log_line(&["stopping"]);
    }
}
