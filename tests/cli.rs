//! The two programs, as a person or a script uses them.

mod common;

use assert_cmd::Command;
use common::{DEADLINE, Daemon, data, everything_in, folder, pattern, rrq, show, wrq};
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tftpkit::wire::{
    BlockSize, ListFormat, Operation, Options, Packet, Request, TransferOption, WireBlock,
};

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
    get.code(3).stderr(contains("fell silent after").and(contains("try again")));
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
fn a_failure_says_what_can_be_done() {
    let (root, here) = (folder(&[("a", b"one")]), folder(&[("a", b"two")]));
    let options = ["--uploads", "create", "--max-upload", "2"];
    let (closed, taking) = (Daemon::serve(root.path(), &[]), Daemon::serve(root.path(), &options));
    let [closed, taking] = [closed, taking].map(|server| (server.address.to_string(), server));
    let case = |words: &[&str], code: i32, advice: &str| {
        rtftp(here.path()).args(words).assert().code(code).stderr(contains(advice));
    };
    case(&["get", &closed.0, "A"], 4, "'rtftp list HOST' shows");
    case(&["put", "a", &closed.0, "b"], 5, "takes uploads with --uploads.");
    case(&["put", "a", &taking.0], 5, "--uploads overwrite");
    case(&["put", "a", &taking.0, "b"], 6, "on the server");
    case(&["get", &closed.0, "a", "-o", "/dev/full"], 6, "on this machine");
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
fn an_interrupt_ends_the_download_and_not_the_menu() {
    let here = folder(&[]);
    let mut port = 0;
    let (server, _thread) = scripted(move |packet| {
        if let Packet::Ack { .. } = packet {
            // The client has the first block, and waits; an interrupt is what the person has left.
            let menu = format!("^[^ ]*rtftp 127.0.0.1:{port}$");
            let sent = std::process::Command::new("pkill").args(["-INT", "-f", &menu]).status();
            assert!(sent.is_ok_and(|sent| sent.success()));
        }
        match packet {
            Packet::Request(request) => {
                port = String::from_utf8_lossy(request.name).parse().expect("its own port");
                Some(vec![data(1, &[7; 512])])
            }
            _ => Some(Vec::new()),
        }
    });
    let command = format!("{} {server}", env!("CARGO_BIN_EXE_rtftp"));
    let download = format!("d {} it\r", server.port());
    let screen = on_a_terminal(here.path(), &command, &[&download, "quit\r"]);
    assert!(screen.contains("cancelled"), "{screen}");
    assert!(!here.path().join("it").exists());
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
    busy.code(1).stderr(contains("by another program or by another --listen"));
    let foreign = rtftpd().arg(root.path()).args(["--listen", "192.0.2.77:6969"]).assert();
    foreign.code(1).stderr(contains("does not have that address"));
    rtftpd().assert().code(2).stderr(contains("<ROOT>"));
    for nonsense in
        [&["--listen", "nowhere"][..], &["--list-name", "a/b"], &["--intervals", "5", "1"]]
    {
        rtftpd().arg(".").args(nonsense).assert().code(2);
    }
    rtftpd().arg("--version").assert().code(0).stdout(starts_with("rtftpd "));
}

/// Runs the server as a user without any privilege.
fn unprivileged(root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    command.arg(env!("CARGO_BIN_EXE_rtftpd")).arg(root).args(arguments).timeout(DEADLINE).assert()
}

#[test]
fn what_its_user_may_not_do_in_the_folder_is_told_at_the_start() {
    let root = folder(&[]);
    let allow = |mode| {
        std::fs::set_permissions(root.path(), Permissions::from_mode(mode)).expect("it is ours");
    };
    // Port 69 ends it when it has looked.
    let tell = || unprivileged(root.path(), &["--listen", "127.0.0.1:69", "--uploads", "create"]);
    allow(0o700);
    tell().code(1).stderr(contains("user 65534 may not enter it"));
    allow(0o711);
    tell().code(1).stderr(contains("may not list").and(contains("may not write")));
    allow(0o777);
    tell().code(1).stderr(contains("may not").not().and(contains("--listen")));
}

#[test]
fn without_the_privilege_for_port_69_it_says_how_to_get_it() {
    let refused = unprivileged(Path::new("/"), &["--listen", "127.0.0.1:69"]).code(1);
    refused.stderr(contains("--listen").and(contains("cap_net_bind_service")));
}

/// Runs `rtftp` against a scripted server, which is HOST, and gives what that heard and when.
fn heard_of(
    arguments: &[&str],
    code: i32,
    mut react: impl FnMut(&Packet<'_>) -> Vec<Vec<u8>> + Send + 'static,
) -> Vec<(Instant, String)> {
    let (tell, heard) = mpsc::channel();
    let (server, thread) = scripted(move |packet| {
        let packet_in_words = packet.to_string();
        let goodbye = packet_in_words == "ACK 9999";
        tell.send((Instant::now(), packet_in_words)).expect("it is heard");
        (!goodbye).then(|| react(packet))
    });
    let (here, remote) = (folder(&[("mine", b"few")]), server.to_string());
    let arguments = arguments.iter().map(|word| if *word == "HOST" { &remote[..] } else { *word });
    rtftp(here.path()).args(arguments).assert().code(code);
    let last = UdpSocket::bind("127.0.0.1:0").expect("a port");
    last.send_to(&ack(9999), server).expect("sent");
    thread.join().expect("no panic");
    heard.into_iter().filter(|(_, packet)| packet != "ACK 9999").collect()
}

fn words(heard: &[(Instant, String)]) -> Vec<&str> {
    heard.iter().map(|(_, packet)| &packet[..]).collect()
}

fn is_list(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Request(request) if request.operation == Operation::List)
}

#[test]
fn with_no_options_no_request_has_any() {
    let refusing = |_: &Packet<'_>| vec![error(4, "what?")];
    let heard = heard_of(&["get", "HOST", "a", "--no-options"], 7, refusing);
    assert_eq!(words(&heard), ["RRQ \"a\" octet"]);
    let heard = heard_of(&["put", "mine", "HOST", "--no-options"], 7, refusing);
    assert_eq!(words(&heard), ["WRQ \"mine\" octet"]);
    let heard = heard_of(&["list", "HOST", "--no-options"], 7, refusing);
    assert_eq!(words(&heard), ["LIST \"\" octet", "RRQ \".list\" octet"]);
}

#[test]
fn a_server_that_is_silent_to_opcode_7_is_asked_twice_and_then_for_the_file() {
    let heard = heard_of(&["list", "HOST", "sub"], 0, |packet| match packet {
        Packet::Request(request) if request.name == b"sub/.list" => vec![data(1, b"# 0 entries\n")],
        _ => Vec::new(),
    });
    let [(first, list), (second, again), (third, file), ..] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(list.starts_with("LIST \"sub\" octet ") && list.ends_with(" x-list=json"), "{list}");
    assert!(list == again && file.starts_with("RRQ \"sub/.list\" octet "), "{heard:?}");
    let about_a_second = Duration::from_millis(900)..Duration::from_millis(1900);
    for span in [*second - *first, *third - *second] {
        assert!(about_a_second.contains(&span), "{span:?}");
    }
}

#[test]
fn an_error_to_opcode_7_leads_to_the_file_unless_it_says_that_there_is_no_such_directory() {
    for (code, exit, asked) in [(0, 0, 2), (2, 0, 2), (4, 0, 2), (1, 4, 1)] {
        let heard = heard_of(&["list", "HOST", "sub"], exit, move |packet| match packet {
            list if is_list(list) => vec![error(code, "no")],
            Packet::Request(_) => vec![data(1, b"# 0 entries\n")],
            _ => Vec::new(),
        });
        let requests = words(&heard).into_iter().filter(|packet| packet.contains("octet"));
        assert_eq!(requests.count(), asked, "{code}: {heard:?}");
    }
    let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let closed = closed.expect("a port that is free again").to_string();
    let list = rtftp(folder(&[]).path()).args(["list", &closed]).assert().code(3);
    list.stderr(contains("nothing listens"));
}

/// A server that answers opcode 7 with this JSON, and has no `.list` and no file whose name is a number.
fn listing_json(json: String) -> SocketAddr {
    let size = TransferOption::BlockSize(BlockSize::new(1400).expect("a block size"));
    let oack = Options::NONE.with(TransferOption::List(ListFormat::Json)).with(size);
    let (server, _thread) = scripted(move |packet| {
        Some(match packet {
            list if is_list(list) => vec![Packet::Oack(oack).to_vec()],
            Packet::Request(Request { name: b".list" | [b'0'..=b'9', ..], .. }) => {
                vec![error(1, "no such file")]
            }
            Packet::Request(_) => vec![data(1, b"stranger")],
            Packet::Ack { block: WireBlock(0) } => vec![data(1, json.as_bytes())],
            _ => Vec::new(),
        })
    });
    server
}

/// An entry in JSON lines.
fn entry(name: &str) -> String {
    let name = serde_json::to_string(name).expect("JSON");
    format!(
        "{{\"name\":{name},\"kind\":\"file\",\"size\":1,\"modified\":\"2026-11-23T20:00:00Z\"}}\n"
    )
}

#[test]
fn nothing_and_what_is_broken_is_no_listing_and_a_cut_one_says_so() {
    let list = |json: String| {
        let remote = listing_json(json).to_string();
        rtftp(folder(&[]).path()).args(["list", &remote]).assert()
    };
    let one = entry("a");
    for broken in [
        String::new(),
        one.clone(),
        format!("{one}{{\"entries\":2,\"cut\":false}}\n"),
        format!("{{\"name\":\"b\"}}\n{one}{{\"entries\":2,\"cut\":false}}\n"),
        format!("{one}nonsense\n{{\"entries\":1,\"cut\":false}}\n"),
    ] {
        list(broken).code(7).stdout(is_empty());
    }
    let whole = list(format!("{one}{{\"entries\":1,\"cut\":false}}\n")).success();
    whole.stdout(contains("a ").and(contains("cut").not()));
    let cut = list(format!("{one}{{\"entries\":1,\"cut\":true,\"more\":9}}\n")).success();
    cut.stdout(contains("a ").and(contains("there is more: the server cut the list")));
    for empty in [&b""[..], b"\n"] {
        // In a format of its own, and as the generated file.
        let heard = heard_of(&["list", "HOST"], 7, move |packet| match packet {
            Packet::Request(_) => vec![data(1, empty)],
            _ => Vec::new(),
        });
        assert!(words(&heard).iter().any(|packet| packet.starts_with("RRQ")), "{heard:?}");
    }
}

const STRANGE: [&str; 9] =
    ["", ".", "..", "a/b", "../up", "/root", "esc\x1b[2J", "line\nbreak", "del\x7f"];

#[test]
fn strange_names_in_a_listing_reach_neither_the_terminal_nor_the_disk() {
    let outside = folder(&[("here/x", b"")]);
    let here = outside.path().join("here");
    let lines: String = STRANGE.into_iter().map(entry).collect();
    let json = format!("{lines}{{\"entries\":{},\"cut\":false}}\n", STRANGE.len());
    let remote = listing_json(json).to_string();
    let numbers = (1..=STRANGE.len()).map(|n| format!("download {n}\n"));
    let typed = format!("list\n{}quit\n", numbers.collect::<String>());
    let runs = [
        rtftp(&here).arg(&remote).write_stdin(typed).assert(),
        rtftp(&here).args(["list", &remote]).assert(),
        rtftp(&here).args(["list", &remote, "--json"]).assert(),
    ];
    let raw = runs.map(|run| {
        let output = run.get_output();
        let text = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&text).chars().any(|c| c.is_control() && c != '\n')
    });
    let files = (everything_in(&here), everything_in(outside.path()));
    assert_eq!(files, (vec!["x".to_owned()], vec!["here".to_owned()]));
    assert_eq!(raw, [false; 3], "control characters from the menu, the list, the list as JSON");
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

#[test]
fn the_servers_intervals_and_its_patience_are_the_operators() {
    let root = folder(&[("f", b"few")]);
    let set = ["--first-interval", "0.3", "--intervals", "0.2", "0.4", "--patience", "1.5"];
    let server = Daemon::serve(root.path(), &set);
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("f", &[("blksize", "512")]));
    let asked = Instant::now();
    peer.wanted(tid, "OACK blksize=512");
    let first = asked.elapsed();
    let within = |span: Duration, least: u64, most: u64| {
        (Duration::from_millis(least)..Duration::from_millis(most)).contains(&span)
    };
    assert!(within(first, 250, 900), "{first:?}: not after the second that is the default");
    peer.exchange(&ack(0), tid, "DATA 1 3");
    let mut at = vec![Instant::now()];
    for _ in 0..3 {
        peer.wanted(tid, "DATA 1 3");
        at.push(Instant::now());
    }
    let spans: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(within(spans[0], 150, 900), "{spans:?}: the shortest is no longer 50 ms");
    assert!(within(spans[1], 350, 1400) && within(spans[2], 350, 700), "{spans:?}: the longest");
    server.log_line(&["\"f\"", "unconfirmed"]);
    let end = at[0].elapsed();
    assert!(within(end, 1400, 10_000), "{end:?}: 30 s of patience are the default");
}
