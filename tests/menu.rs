//! The menu of `rtftp`, in a pipe and at a terminal.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::{Daemon, Scripted, child, data, error, everything_in, folder};
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use programs::{NO_HOST, on_a_terminal, rtftp};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use tftpkit::wire::{Operation, Options, Packet, TransferOption};

#[test]
fn the_menu_obeys_a_pipe() {
    let root = folder(&[("a", b"one"), ("b c", b"two"), ("sub/d", b"three")]);
    let here = folder(&[("mine", b"four")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines = "list\ndownload 1\n2 'b c' e\nlist sub\nd 1\nupload mine\n3 mine f\nquit\nlist\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    let output = menu.success().stderr(is_empty());
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("1  a") && text.contains("3  sub/") && text.contains("1  d"), "{text}");
    let local = |name| std::fs::read(here.path().join(name)).expect("downloaded");
    assert_eq!(["a", "e", "d"].map(local), [&b"one"[..], b"two", b"three"]);
    let remote = |name| std::fs::read(root.path().join(name)).expect("uploaded");
    assert_eq!(["sub/mine", "sub/f"].map(remote), [b"four", b"four"]);
}

#[test]
fn where_a_list_has_no_lines_a_number_is_a_command() {
    let (root, here) = (folder(&[]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let mut menu = rtftp(here.path());
    menu.arg(server.address.to_string());
    let menu = menu.write_stdin("list\n1\n4\nbogus\n").assert().success().stderr(is_empty());
    menu.stdout(format!("/ on {}\n(empty)\n", server.address).repeat(2));
}

#[test]
fn a_number_behind_the_end_of_a_list_is_told_with_the_command_that_it_was() {
    let (root, here) = (folder(&[("a", b""), ("b", b"")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let mut menu = rtftp(here.path());
    menu.arg(server.address.to_string()).write_stdin("list\n4\n5\n");
    menu.assert().code(2).stderr(
        "rtftp: the list has no number 4; it ends at 2, and numbers are its lines now: \
        'quit' in letters\nrtftp: the list has no number 5; it ends at 2\n",
    );
}

#[test]
fn an_error_leaves_the_user_in_the_menu() {
    let (root, here) = (folder(&[("a", b"one")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let lines = "download nothing\n7\nlist\n8 x\ndownload 9\nbogus\nlsit\n''\ndownload 'a\nupload\ndownload a\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    menu.code(4).stderr(
        contains("file not found")
            .and(contains("the list has no number 9; it ends at 1"))
            .and(contains("7 is a line of which list?"))
            .and(contains("a number stands alone, or behind its command, as in 'download 8 NAME'"))
            .and(contains("there is no command 'bogus'; 'help' shows what there is"))
            .and(contains("there is no command 'lsit'; did you mean 'list'?"))
            .and(contains("there is no command ''; 'help' shows what there is"))
            .and(contains("a quote is not closed"))
            .and(contains("upload what?")),
    );
    assert_eq!(everything_in(here.path()), ["a"], "the last line was obeyed");
}

#[test]
fn the_menu_works_with_a_server_that_cannot_list() {
    let here = folder(&[]);
    let server = Scripted::new(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => {
            vec![error(4, "illegal TFTP operation")]
        }
        Packet::Request(request) if request.name == b"a" => vec![data(1, b"here")],
        Packet::Request(_) => vec![error(1, "file not found")],
        _ => Vec::new(),
    });
    let mut menu = rtftp(here.path());
    menu.arg(server.remote()).write_stdin("cd a\ncd b\ncd\nget b\nget c/\n7\nlist\nd a\n");
    let told = "rtftp: download: b: the server says: file not found (code 1)\n  \
        This server offers no list of its names; they are case-sensitive.\n\
        rtftp: 'c/' is a directory\n\
        rtftp: 7 is a line of no list: this server lists nothing\n\
        rtftp: list: this server offers no listing\n  'download NAME' gets a file whose name you know.\n";
    let moved = "(unchecked: this server lists nothing)\n".repeat(2);
    menu.assert().code(4).stderr(told).stdout(contains(moved));
    let asked = server.end().iter().filter(|(_, packet)| packet.starts_with("LIST ")).count();
    assert_eq!(asked, 2, "the first 'cd' and 'list': each such question may take seconds");
    assert_eq!(std::fs::read(here.path().join("a")).expect("downloaded"), b"here");
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
    // Ctrl-C takes back a line, and Ctrl-D leaves.
    let screen = on_a_terminal(here.path(), &command, &["quit\x03", "get welcome.txt 2\r", "\x04"]);
    assert!(here.path().join("2").exists(), "{screen}");
    let history = std::fs::read_to_string(here.path().join("state/rtftp/history"));
    let history = history.expect("a history");
    let both = ["download welcome.txt", "get welcome.txt 2"].map(|line| history.contains(line));
    assert_eq!(both, [true; 2], "what was typed before is kept: {history}");
}

/// As a person does who types Ctrl-C at the menu of the server with this port.
fn interrupt_the_menu_of(port: u16) {
    let menu = format!("^[^ ]*rtftp 127.0.0.1:{port}$");
    let sent = child::output(std::process::Command::new("pkill").args(["-INT", "-f", &menu]));
    assert!(sent.status.success(), "{sent:?}");
}

#[test]
fn an_interrupt_ends_the_download_and_not_the_menu() {
    let (here, mut port) = (folder(&[]), None);
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) => {
            port = String::from_utf8_lossy(request.name).parse().ok();
            vec![data(1, &[7; 512])]
        }
        Packet::Ack { .. } => {
            // The client has the first block, and waits; an interrupt is what the person has left. It may come when the
            // client has said so twice.
            port.take().into_iter().for_each(interrupt_the_menu_of);
            Vec::new()
        }
        _ => Vec::new(),
    });
    let command = format!("{} {}", env!("CARGO_BIN_EXE_rtftp"), server.address);
    let download = format!("d {} it\r", server.address.port());
    let screen = on_a_terminal(here.path(), &command, &[&download, "quit\r"]);
    assert!(screen.contains("cancelled"), "{screen}");
    assert!(!here.path().join("it").exists());
}

#[test]
fn an_interrupt_at_the_prompt_does_not_end_the_download_that_is_typed_there() {
    let here = folder(&[]);
    let mut listed: Option<u16> = None;
    // Completion lists the directory while the prompt waits, and it is this that is interrupted: it can end no other way.
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => {
            listed = String::from_utf8_lossy(request.name).parse().ok();
            vec![data(1, &[7; 512])]
        }
        Packet::Request(_) => vec![data(1, b"here")],
        Packet::Ack { .. } => {
            listed.take().into_iter().for_each(interrupt_the_menu_of);
            Vec::new()
        }
        _ => Vec::new(),
    });
    let command = format!("{} {}", env!("CARGO_BIN_EXE_rtftp"), server.address);
    let download = format!("d {}/x\t it\r", server.address.port());
    let screen = on_a_terminal(here.path(), &command, &[&download, "quit\r"]);
    assert_eq!(std::fs::read(here.path().join("it")).unwrap_or_default(), b"here", "{screen}");
}

#[test]
fn an_interrupt_drops_the_lines_that_wait_for_their_turn() {
    let (here, mut port) = (folder(&[]), None);
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) => {
            port = String::from_utf8_lossy(request.name).parse().ok();
            vec![data(1, if port.is_some() { &[7; 512] } else { b"few" })]
        }
        Packet::Ack { .. } => {
            port.take().into_iter().for_each(interrupt_the_menu_of);
            Vec::new()
        }
        _ => Vec::new(),
    });
    let pasted = format!("\x1b[200~get {} it\nget b\nget c\x1b[201~\r", server.address.port());
    let screen =
        on_a_terminal(here.path(), &menu_at(&server.remote()), &[&pasted, "get d\r", "quit\r"]);
    assert_eq!(screen.matches("cancelled").count(), 1, "{screen}");
    assert_eq!(everything_in(here.path()), ["d", "state"], "{screen}");
}

#[test]
fn numbers_and_names_mean_the_list_on_the_screen() {
    let root = folder(&[("7", b"of the root"), ("sub/7", b"seven"), ("sub/+2", b"plus")]);
    std::fs::write(root.path().join("sub/z"), b"last").expect("a file");
    let here = folder(&[("mine", b"four")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines = "list sub\nd 7 a\nd +2 b\nupload mine\nd 3 c\nd z d\nlist ..\nd 7 e\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    menu.success().stderr(is_empty());
    let local = |name: &str| {
        String::from_utf8(std::fs::read(here.path().join(name)).expect("downloaded")).expect(name)
    };
    let got = ["a", "b", "c", "d", "e"].map(local);
    assert_eq!(got, ["seven", "plus", "last", "last", "of the root"]);
    assert_eq!(std::fs::read(root.path().join("sub/mine")).expect("uploaded"), b"four");
}

#[test]
fn a_line_that_cannot_be_obeyed_is_told_and_the_next_one_is() {
    let (root, here) = (folder(&[("a", b"one")]), folder(&[]));
    nix::unistd::mkfifo(&here.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let cases: [(&[u8], &str); 5] = [
        (b"upload - name\n", "'rtftp put - HOST NAME' sends it"),
        (b"upload fifo\n", "'fifo' is a FIFO"),
        (b"download a fifo\n", "'fifo' is a FIFO"),
        (b"download \xff\n", "this line is not UTF-8"),
        (b"download \"a\0b\" c\n", "a name with a NUL"),
    ];
    for (line, told) in cases {
        let lines = [line, b"download a\r\nquit\r\n"].concat();
        let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
        menu.code(2).stderr(contains(told));
        assert_eq!(everything_in(here.path()), ["a", "fifo"], "{told}: the next line was obeyed");
        std::fs::remove_file(here.path().join("a")).expect("it is there");
    }
    assert_eq!(everything_in(root.path()), ["a"]);
}

fn menu_at(server: &str) -> String {
    format!("{} {server}", env!("CARGO_BIN_EXE_rtftp"))
}

#[test]
fn a_host_that_does_not_exist_is_told_before_anything_is_asked_for() {
    let here = folder(&[]);
    let menu = rtftp(here.path()).arg(NO_HOST).write_stdin("help\n").assert();
    menu.code(3).stdout(is_empty()).stderr(contains("cannot find the host"));
    let typo = rtftp(here.path()).arg("gte").write_stdin("").assert().code(3);
    typo.stderr(contains("Is the command 'get' meant?"));
}

#[test]
fn uploads_go_where_downloads_come_from_and_a_bare_number_is_a_line_of_the_list() {
    let root = folder(&[("a", b"top"), ("sub/b", b"below"), ("sub/deep/c", b"deeper")]);
    let here = folder(&[("mine", b"four")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines = "cd sub\nput mine one\nlist\n1\n2\n1\nput mine two\ncd ..\nput mine three\ncd\n\
        put mine four\nput mine sub/five\ncd sub\ncd /sub/deep\nget c again\nget ../b up\nget /a top\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    let output = menu.success().stderr(is_empty());
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    for head in
        ["sub/ on ", "sub/deep/ on ", "sub/b -> b: 5 B in ", "mine -> sub/deep/two: 4 B in "]
    {
        assert!(text.contains(head), "{head}: {text}");
    }
    assert_eq!(everything_in(here.path()), ["again", "b", "c", "mine", "top", "up"]);
    let uploaded = |name: &str| root.path().join(name).exists();
    let all = ["sub/one", "sub/deep/two", "sub/three", "four", "sub/five"];
    assert_eq!(all.map(uploaded), [true; 5]);
}

#[test]
fn several_files_and_patterns_are_taken_in_both_directions() {
    let root = folder(&[
        ("sw-1.cfg", b"1"),
        ("sw-2.cfg", b"2"),
        ("other", b"3"),
        ("sub/x.cfg", b"4"),
        ("sub/y.ini", b"5"),
        ("x[1]", b"6"),
    ]);
    let here = folder(&[
        ("m-1.txt", b"1"),
        ("m-2.txt", b"2"),
        ("m 3", b"3"),
        ("m[1]", b"4"),
        ("into/old", b""),
    ]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines = "get *.cfg\nget sub/*.cfg other into\nlist\nget sub/*.ini into\n\
        get x[1]\nput m[1]\nget 1 3 into\nput m-*.txt\nput m-1.txt 'm 3' sub/\n\
        get *.none\nput *.none\nget absent-1 other absent-2\n";
    let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
    menu.code(2).stderr(
        contains("no file there fits '*.none'")
            .and(contains("no file here fits '*.none'"))
            .and(contains("absent-1").and(contains("absent-2"))),
    );
    let local =
        ["into", "m 3", "m-1.txt", "m-2.txt", "m[1]", "other", "sw-1.cfg", "sw-2.cfg", "x[1]"];
    assert_eq!(everything_in(here.path()), local);
    let into = ["old", "other", "sw-1.cfg", "x.cfg", "y.ini"];
    assert_eq!(everything_in(&here.path().join("into")), into);
    let there = ["m-1.txt", "m-2.txt", "m[1]", "other", "sub", "sw-1.cfg", "sw-2.cfg", "x[1]"];
    assert_eq!(everything_in(root.path()), there);
    assert_eq!(everything_in(&root.path().join("sub")), ["m 3", "m-1.txt", "x.cfg", "y.ini"]);
}

#[test]
fn the_last_word_of_an_upload_is_its_name_there_unless_it_is_a_file_here() {
    let here = folder(&[("m-1", b"1"), ("m-2", b"2"), ("x", b"3")]);
    let cases: [(&str, &[&str]); 6] = [
        ("put m-1 name", &["name", "sub"]),
        ("put m-1 m-2", &["m-1", "m-2", "sub"]),
        // A pattern stands for several.
        ("put m-* x", &["m-1", "m-2", "sub", "x"]),
        ("put m-* name", &["m-1", "m-2", "sub"]),
        // That the list has directories makes no other name one.
        ("list\nput m-1 name", &["name", "sub"]),
        ("list\nput m-1 sub", &["sub", "sub/m-1"]),
    ];
    for (lines, expected) in cases {
        let root = folder(&[]);
        std::fs::create_dir(root.path().join("sub")).expect("a directory");
        let server = Daemon::serve(root.path(), &["--uploads", "create"]);
        let menu = rtftp(here.path()).arg(server.address.to_string()).write_stdin(lines).assert();
        let mut there = everything_in(root.path());
        let below = everything_in(&root.path().join("sub")).into_iter();
        there.extend(below.map(|name| format!("sub/{name}")));
        assert_eq!(there, expected, "{lines}: {:?}", menu.get_output());
    }
}

#[test]
fn at_a_terminal_the_prompt_has_the_directory_and_what_is_here_is_asked_about() {
    let root = folder(&[("sub/a", b"new"), ("sub/my file", b"blank")]);
    let here = folder(&[("a", b"old"), ("of mine/b c", b"mine")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    // What was listed is completed at once; what was not, only if the server tells it in a moment.
    let lines = [
        "ls\r",
        "cd s\t\r",
        "get a\r",
        "n\r",
        "ls\r",
        "get 'my\t\r",
        "put of\tb\t\r",
        "get a\r",
        "y\r",
        "quit\r",
    ];
    let screen = on_a_terminal(here.path(), &menu_at(&server.address.to_string()), &lines);
    assert!(screen.contains("rtftp sub/> "), "{screen}");
    assert!(screen.contains("'a' exists here. Replace it (y/N)?"), "{screen}");
    assert!(screen.contains("It stays as it is."), "{screen}");
    let local = |name| std::fs::read(here.path().join(name)).unwrap_or_default();
    assert_eq!(["a", "my file"].map(local), [&b"new"[..], b"blank"], "{screen}");
    assert!(root.path().join("sub/b c").exists(), "{screen}");
    let history = std::fs::read_to_string(here.path().join("state/rtftp/history"));
    let history = history.expect("a history");
    assert!(history.lines().all(|line| !matches!(line, "n" | "y")), "no answers: {history}");
}

#[test]
fn lines_that_are_pasted_are_obeyed_one_by_one() {
    let (root, here) = (folder(&[("a", b"1"), ("sub/b", b"2")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let menu = menu_at(&server.address.to_string());
    let pasted = "\x1b[200~get a\ncd sub\r\nget b\n\x1b[201~\r";
    let screen = on_a_terminal(here.path(), &menu, &[pasted, "quit\r"]);
    assert_eq!(everything_in(here.path()), ["a", "b", "state"], "{screen}");
}

#[test]
fn lines_that_come_at_once_without_a_word_of_a_paste_are_obeyed_one_by_one() {
    let (root, here) = (folder(&[("a", b"1"), ("b", b"2")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let menu = menu_at(&server.address.to_string());
    let screen = on_a_terminal(here.path(), &menu, &["get a\rget b\rquit\r"]);
    assert_eq!(everything_in(here.path()), ["a", "b", "state"], "{screen}");
}

#[test]
fn what_is_typed_while_a_transfer_is_under_way_is_obeyed_after_it() {
    let here = folder(&[("c", b"old")]);
    let command = menu_at("HOST");
    let keys = std::sync::Arc::new(std::sync::Mutex::new(None::<std::process::ChildStdin>));
    let (typist, mut deaf) = (std::sync::Arc::clone(&keys), 4);
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) if request.name == b"a" && deaf > 0 => {
            if deaf == 4 {
                let mut keys = typist.lock().expect("the keys");
                let keys = keys.as_mut().expect("a terminal");
                // The question of the last download is answered by none of these.
                keys.write_all(b"get b\rget c\ry\rget d\r").expect("typed");
            }
            deaf -= 1;
            Vec::new()
        }
        Packet::Request(request) => vec![data(1, request.name)],
        _ => Vec::new(),
    });
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &command.replace("HOST", &server.remote()), "/dev/null"]);
    script.current_dir(here.path()).env("TERM", "xterm").env("XDG_STATE_HOME", here.path());
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("script, of util-linux");
    let (mut out, mut screen) = (script.stdout.take().expect("a pipe"), String::new());
    let mut answers = vec!["quit\r", "n\r", "get a\r"];
    *keys.lock().expect("the keys") = script.stdin.take();
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = out.read(&mut buffer) {
        screen += &String::from_utf8_lossy(&buffer[..len]);
        // Each time the editor waits for keys.
        while 3 - answers.len() < screen.matches("\x1b[?2004h").count() {
            let answer = answers.pop().expect("a line for each prompt").as_bytes();
            keys.lock()
                .expect("the keys")
                .as_mut()
                .expect("a terminal")
                .write_all(answer)
                .expect("typed");
        }
    }
    assert!(child::end("script", &mut script).success(), "{screen}");
    let got = |name| std::fs::read_to_string(here.path().join(name)).unwrap_or_default();
    assert_eq!(["a", "b", "c", "d"].map(got), ["a", "b", "old", "d"], "{screen}");
    assert!(screen.contains("there is no command 'y'"), "{screen}");
}

#[test]
fn a_silent_server_holds_up_neither_a_key_nor_the_way_out() {
    let (here, server) = (folder(&[]), Scripted::new(|_| Vec::new()));
    let began = std::time::Instant::now();
    // Each key that completes would ask for seventeen seconds.
    let keys = ["get fi\t\t\tx\t\x15cd y/\t\t\x15quit\r"];
    on_a_terminal(here.path(), &menu_at(&server.remote()), &keys);
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
}

/// What answers each ACK of the first block: nothing for so long that it is told that it stalls, and then the end.
fn an_end_after_a_while() -> impl FnMut() -> Vec<Vec<u8>> + Send {
    let mut since = None;
    move || {
        let since = since.get_or_insert_with(std::time::Instant::now);
        let is_time = since.elapsed() > std::time::Duration::from_millis(2600);
        if is_time { vec![data(2, b"end")] } else { Vec::new() }
    }
}

#[test]
fn who_is_asked_is_told_and_that_nothing_comes() {
    let (here, mut deaf, mut end) = (folder(&[]), 4, an_end_after_a_while());
    let server = Scripted::new(move |packet| match packet {
        // The fifth comes after a second and a half: long after it is told who is asked.
        Packet::Request(_) if deaf > 0 => {
            deaf -= 1;
            Vec::new()
        }
        Packet::Request(_) => vec![data(1, &[7; 512])],
        Packet::Ack { .. } => end(),
        _ => Vec::new(),
    });
    let screen = on_a_terminal(here.path(), &menu_at(&server.remote()), &["get a\r", "quit\r"]);
    let asking = format!("asking {}\u{2026} (Ctrl-C stops)", server.remote());
    assert_eq!(screen.matches(&asking).count(), 1, "it is told once: {screen}");
    assert!(screen.contains("a 512 B, stalled for 2 s (Ctrl-C stops)"), "{screen}");
    assert!(screen.contains("a -> a: 515 B in "), "{screen}");
}

#[test]
fn on_a_narrow_terminal_no_line_of_a_list_is_too_long() {
    let long = format!("{}.bin", "a-long-name-".repeat(12));
    let (root, here) = (folder(&[(&long, b"few"), ("b", b"")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    for columns in [40, 71, 72, 80] {
        let menu = menu_at(&server.address.to_string());
        let menu = format!("sh -c 'stty cols {columns}; exec {menu}'");
        let screen = on_a_terminal(here.path(), &menu, &["list\r", "quit\r"]);
        let line = screen.lines().find(|line| line.starts_with("1  a-long")).expect("a line");
        assert!(line.trim_end().chars().count() <= columns && line.contains(".bin "), "{line}");
        assert_eq!(line.contains(":"), columns > 40, "a time where there is room: {line}");
        let is_long = screen.contains("list [DIRECTORY]");
        assert_eq!(is_long, columns > 71, "a page that fits: {screen}");
        let heading = screen.lines().any(|line| line.trim_start().starts_with("bytes"));
        assert!(heading && screen.contains("/ on 127.0.0.1:"), "{screen}");
    }
}

#[test]
fn how_far_a_download_is_has_a_bar_where_there_is_room() {
    let server = Scripted::new(|packet| match packet {
        Packet::Request(_) => {
            let size = Options::NONE.with(TransferOption::TransferSize(1030));
            vec![Packet::Oack(size).to_vec()]
        }
        Packet::Ack { block } if block.0 < 2 => vec![data(block.0 + 1, &[7; 512])],
        Packet::Ack { .. } => vec![data(3, &[7; 6])],
        _ => Vec::new(),
    });
    for (columns, has_bar) in [(59, false), (60, true)] {
        let here = folder(&[]);
        let menu = format!("sh -c 'stty cols {columns}; exec {}'", menu_at(&server.remote()));
        let screen = on_a_terminal(here.path(), &menu, &["get a name\r", "quit\r"]);
        let shown = (screen.contains("a ["), screen.contains("a 0% "));
        assert_eq!(shown, (has_bar, !has_bar), "on {columns} columns: {screen}");
    }
}

#[test]
fn on_a_narrow_terminal_words_are_whole_and_what_stalls_is_one_line() {
    let (here, mut end) = (folder(&[]), an_end_after_a_while());
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) if request.name == b"missing" => vec![error(1, "no such file")],
        Packet::Request(_) => vec![data(1, &[7; 512])],
        Packet::Ack { .. } => end(),
        _ => Vec::new(),
    });
    let menu = format!("sh -c 'stty cols 40; exec {}'", menu_at(&server.remote()));
    let lines = ["get missing\r", "get a-long-name.img it\r", "quit\r"];
    let screen = on_a_terminal(here.path(), &menu, &lines);
    let told =
        "rtftp: download: missing: the server\r\n  says: no such file (code 1)\r\n  'list' shows";
    assert!(screen.contains(told), "{screen}");
    assert!(screen.contains("stalled for 2 s"), "{screen}");
    assert!(!screen.contains("2 s (Ctrl-C stops)"), "there is no room for it: {screen}");
}

#[test]
fn what_is_said_can_be_typed_and_advice_is_given_once_for_several_files() {
    let root = folder(&[("sub/deep/a", b"one"), ("sub/b c/d", b"two")]);
    let here = folder(&[("x", b"1"), ("y", b"2"), ("z", b"3")]);
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let lines =
        "list sub\nget 1\nget deep\nlist '/sub/b c/'\nget absent\nput x y z\nput x\nput absent\n";
    let menu = rtftp(here.path()).arg(&remote).write_stdin(lines).assert().code(2);
    let told = String::from_utf8_lossy(&menu.get_output().stderr).into_owned();
    let shows = |name: &str, list: &str| {
        format!("rtftp: '{name}' is a directory; {list} shows what is in it\n")
    };
    assert!(told.contains(&shows("sub/b c/", "list '/sub/b c/'")), "{told}");
    assert!(told.contains(&shows("sub/deep/", "'list /sub/deep/'")), "{told}");
    assert_eq!(told.matches("uploads are off").count(), 4, "{told}");
    assert_eq!(told.matches("takes uploads with --uploads.").count(), 2, "of two lines: {told}");
    let absent = "\nrtftp: upload: cannot read 'absent': No such file or directory\n";
    assert!(told.ends_with(absent), "{told}");
    let put = rtftp(here.path()).args(["put", "x", "y", "z", &remote]).assert().code(5);
    let told = String::from_utf8_lossy(&put.get_output().stderr).into_owned();
    assert_eq!(told.matches("takes uploads with --uploads.").count(), 1, "{told}");
}

#[test]
fn what_can_only_be_a_directory_takes_an_upload_and_is_no_file() {
    let (root, here) = (folder(&[("sub/a", b"one")]), folder(&[("x", b"1")]));
    std::fs::create_dir(root.path().join("sub/in")).expect("a directory");
    let server = Daemon::serve(root.path(), &["--uploads", "overwrite"]);
    let to = |lines: &str| {
        let mut menu = rtftp(here.path());
        menu.arg(server.address.to_string()).write_stdin(format!("cd sub\n{lines}\n")).assert()
    };
    let cases = [
        ("put x .", "sub/x"),
        ("put x ..", "x"),
        ("put x /", "x"),
        ("put x ''", "sub/x"),
        ("put x in/.", "sub/in/x"),
        ("list\nput x in", "sub/in/x"),
    ];
    for (line, name) in cases {
        to(line).success();
        std::fs::remove_file(root.path().join(name)).expect(line);
    }
    for word in ["..", ".", "in/..", "/"] {
        let told = format!("rtftp: '{word}' is a directory; 'list {word}' shows what is in it\n");
        to(&format!("get {word}")).code(2).stderr(told);
    }
    to("get ''").code(2).stderr("rtftp: a name is empty\n");
}

#[test]
fn names_that_are_not_utf_8_are_listed_and_fetched() {
    let (root, here) = (folder(&[("b", b"few")]), folder(&[]));
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.bin");
    std::fs::write(root.path().join(name), "coffee").expect("a file");
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let menu = rtftp(here.path()).arg(&remote).write_stdin("list\n2\nget c*n as\n").assert();
    menu.success().stdout(contains("2  caf\u{fffd}.bin"));
    for name in [name, std::ffi::OsStr::new("as")] {
        assert_eq!(std::fs::read(here.path().join(name)).expect("fetched"), b"coffee");
    }
    rtftp(here.path())
        .args(["list", &remote])
        .assert()
        .success()
        .stdout(contains("caf\u{fffd}.bin"));
    // What a script needs to ask for it.
    let json = rtftp(here.path()).args(["list", &remote, "--json"]).assert().success();
    json.stdout(contains("\"octets\":\"caf%E9.bin\""));
    let url = format!("tftp://{remote}/caf%E9.bin");
    rtftp(here.path()).args(["get", &url, "-o", "-"]).assert().success().stdout("coffee");
}
