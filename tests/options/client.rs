//! `rtftp`: its exit status, and words that mean something else than they say.

use crate::common::apart::namespaces;
use crate::common::{
    DEADLINE, Daemon, Running, Scripted, ack, child, closed, data, error, everything_in, folder,
    pattern, until,
};
use crate::help::{commands, exit_codes, help};
use crate::programs::{on_a_terminal, rtftp, shell};
use crate::rtftp::few;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use tftpkit::store::{Entry, Kind, Listing, Readable, Uploads};
use tftpkit::wire::{Operation, Packet};

const RTFTP: &str = env!("CARGO_BIN_EXE_rtftp");

#[test]
fn each_exit_status_that_is_documented_is_reached_by_get_put_list_and_the_menu() {
    let (root, here) = (folder(&[("a", b"few"), ("dir/b", b"")]), folder(&[("mine", b"few")]));
    let server = Daemon::serve(root.path(), &[]);
    let full = Daemon::serve(root.path(), &["--uploads", "create", "--max-upload", "2"]);
    let failing = Scripted::new(|_| vec![error(0, "no")]);
    let forgetful = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![ack(0)]),
        _ => None,
    });
    let addresses = [server.address, full.address, failing.address, forgetful.address, closed()];
    let [remote, full, failing, forgetful, closed] = addresses.map(|address| address.to_string());
    let cases: &[(i32, &[&str], &str)] = &[
        (0, &["get", &remote, "a"], ""),
        (0, &["list", &remote], ""),
        (0, &[&remote], "download a\n"),
        (1, &["get", &remote, "a", "-o", "no/such/folder"], ""),
        (1, &["put", "absent", &remote], ""),
        (1, &[&remote], "upload absent\n"),
        (2, &["get", &remote], ""),
        (2, &["put", "mine"], ""),
        (2, &["list", "ftp://host/"], ""),
        (2, &[&remote], "bogus\n"),
        (3, &["get", &closed, "a"], ""),
        (3, &["put", "mine", &closed], ""),
        (3, &["list", &closed], ""),
        (3, &[&closed], "download a\n"),
        (4, &["get", &remote, "missing"], ""),
        (4, &["list", &remote, "missing"], ""),
        (4, &[&remote], "list missing\n"),
        (5, &["get", &remote, "dir"], ""),
        (5, &["put", "mine", &remote], ""),
        (5, &[&remote], "upload mine\n"),
        (6, &["get", &remote, "a", "-o", "/dev/full"], ""),
        (6, &["put", "mine", &full], ""),
        (6, &[&full], "upload mine\n"),
        (7, &["get", &failing, "a"], ""),
        (7, &["put", "mine", &failing], ""),
        (7, &["list", &failing], ""),
        (7, &[&failing], "download a\n"),
        (8, &["put", "mine", &forgetful], ""),
    ];
    for (code, words, typed) in cases {
        rtftp(here.path()).args(*words).write_stdin(*typed).assert().code(*code);
    }
    let reached: BTreeSet<i32> = cases.iter().map(|(code, ..)| *code).collect();
    for command in commands(&help(RTFTP, ""))
        .iter()
        .filter(|command| !["bench", "check"].contains(&&***command))
    {
        let told = exit_codes(&help(RTFTP, command));
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), reached, "{command}");
    }
}

#[test]
fn the_first_of_several_failures_decides_and_what_follows_it_is_done() {
    let root = folder(&[("a", b"few"), ("dir/b", b""), ("taken", b"")]);
    let here = folder(&[("mine", b"few"), ("taken", b"few")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let cases: [(&[&str], &str, i32, &[&str]); 8] = [
        (&["get", &remote, "missing", "dir", "a"], "", 4, &["a"]),
        (&["get", &remote, "dir", "missing", "a"], "", 5, &["a"]),
        (&["put", "absent", "/dev", "mine", &remote], "", 1, &["mine"]),
        (&["put", "taken", "absent", "mine", &remote], "", 5, &["mine"]),
        (&[&remote], "download dir\nbogus\ndownload missing\ndownload a again\n", 5, &["again"]),
        (&[&remote], "bogus\ndownload dir\nquit\n", 2, &[]),
        (&[&remote], "download missing dir a\n", 4, &["a"]),
        (&[&remote], "upload absent mine\n", 1, &["mine"]),
    ];
    for (words, typed, code, done) in cases {
        let run = rtftp(here.path()).args(words).write_stdin(typed).assert();
        run.code(code);
        let (mut made, known) = (Vec::new(), ["a", "dir", "taken"]);
        for (folder, known) in [(&here, &["mine", "taken"][..]), (&root, &known)] {
            let all = everything_in(folder.path()).into_iter();
            for name in all.filter(|name| !known.contains(&&**name)) {
                std::fs::remove_file(folder.path().join(&name)).expect("it is there");
                made.push(name);
            }
        }
        assert_eq!(made, done, "{words:?} {typed:?}");
    }
}

#[test]
fn a_transfer_obeys_the_mode_that_a_url_says() {
    let here = folder(&[("mine", b"a\nb\n")]);
    for (end, options, request) in [
        (";mode=netascii", &[][..], "WRQ \"x\" netascii"),
        (";mode=octet", &["--mode", "netascii"], "WRQ \"x\" octet"),
        ("", &["--mode", "netascii"], "WRQ \"x\" netascii"),
        ("", &[], "WRQ \"x\" octet"),
    ] {
        for in_menu in [false, true] {
            let server = Scripted::new(few);
            let at = server.address;
            let (url, host) = (format!("tftp://{at}/x{end}"), format!("tftp://{at}/{end}"));
            let words = if in_menu { vec![&*host] } else { vec!["put", "mine", &*url] };
            let typed = if in_menu { "upload mine x\n" } else { "" };
            rtftp(here.path()).args(&words).args(options).write_stdin(typed).assert().success();
            let heard = ["a request", "a block"].map(|what| server.hears(what));
            assert!(heard[0].starts_with(request), "{words:?}: {heard:?}");
            let bytes = if request.ends_with("netascii") { 6 } else { 4 };
            assert_eq!(heard[1], format!("DATA 1 {bytes}"), "{words:?}");
            let reads: [&[&str]; 3] = [
                &["get", &url, "-o", "got"],
                &["bench", &url, "--count", "1"],
                // It has no option for that.
                &["check", &url],
            ];
            for words in &reads[..if options.is_empty() { 3 } else { 2 }] {
                let server = Scripted::new(few);
                let url = format!("tftp://{}/x{end}", server.address);
                let words: Vec<_> = words
                    .iter()
                    .map(|word| if word.contains(':') { &*url } else { *word })
                    .collect();
                rtftp(here.path()).args(&words).args(options).assert().success();
                let asked = server.hears("a request to read");
                assert!(asked.starts_with(&request.replace("WRQ", "RRQ")), "{words:?}: {asked}");
            }
        }
    }
}

#[test]
fn each_name_of_standard_output_stands_for_it() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let get = ["get", &remote, "a", "--json", "-o", name];
        let run = rtftp(here.path()).args(get).assert().success();
        // The report goes where the file does not.
        run.stdout("few")
            .stderr(contains("\"operation\":\"get\"").and(contains("\"local\":\"-\"")));
    }
    assert!(everything_in(here.path()).is_empty());
}

/// A name with two addresses is given to it in a file of its own.
#[test]
fn where_a_name_has_two_addresses_the_second_is_asked_when_nothing_listens_at_the_first() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let (root, here) =
        (folder(&[("a", b"few")]), folder(&[("hosts", b"::1 both\n127.0.0.1 both\n")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let inside = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
    let remote = format!("both:{}", server.address.port());
    let cases: [&[&str]; 4] = [
        &["get", &remote, "a", "-o", "got"],
        &["put", "hosts", &remote, "stored"],
        &["list", &remote],
        &["bench", &remote, "a", "--count", "2"],
    ];
    for words in cases {
        let mut shell = std::process::Command::new(&unshare[0]);
        shell.args(&unshare[1..]).args(["sh", "-c", inside, RTFTP]).args(words);
        shell.current_dir(here.path());
        let done = child::output(&mut shell);
        assert!(done.status.success(), "{words:?}: {done:?}");
    }
    assert_eq!(std::fs::read(here.path().join("got")).expect("downloaded"), b"few");
    assert!(root.path().join("stored").exists());
}

#[test]
fn names_on_the_command_line_need_not_be_utf_8() {
    let (root, here) = (folder(&[]), folder(&[]));
    let name = OsStr::from_bytes(b"caf\xe9");
    std::fs::write(here.path().join(name), "few").expect("a file");
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let run = |words: &[&OsStr], code| rtftp(here.path()).args(words).assert().code(code);
    let [put, get, list] = ["put", "get", "list"].map(OsStr::new);
    let remote = OsStr::new(&remote);
    run(&[put, name, remote], 0);
    run(&[put, name, remote, OsStr::from_bytes(b"\xe9")], 0);
    for name in [&b"caf\xe9"[..], b"\xe9"] {
        let name = OsStr::from_bytes(name);
        assert_eq!(std::fs::read(root.path().join(name)).expect("stored"), b"few");
        run(&[get, remote, name], 0);
        assert_eq!(std::fs::read(here.path().join(name)).expect("downloaded"), b"few");
    }
    let listed = run(&[list, remote, OsStr::from_bytes(b"\xe8")], 4);
    listed.stderr(contains("%E8: the server says: no such directory"));
    let one_word = [remote.as_bytes(), b":", name.as_bytes()].concat();
    let refused = run(&[get, OsStr::from_bytes(&one_word)], 2);
    refused.stderr(contains("is not UTF-8: write the host on its own and the name after it"));
}

#[test]
fn what_a_link_here_stands_for_is_written_and_the_link_stays() {
    let (root, here) = (folder(&[("a", b"new")]), folder(&[("to/real", b"old")]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    for (link, to) in [("link", "to/real"), ("dangling", "to/nothing"), ("into", "to")] {
        symlink(to, here.path().join(link)).expect("a link");
    }
    let get = |to: &str| rtftp(here.path()).args(["get", &remote, "a", "-o", to]).assert();
    get("link").success();
    get("into").success();
    get("dangling").code(1).stderr(contains("cannot write 'dangling': No such file"));
    let local = |name| std::fs::read(here.path().join(name)).expect("a file");
    assert_eq!(["to/real", "to/a"].map(local), [b"new"; 2]);
    let is_link = |name| here.path().join(name).is_symlink();
    assert_eq!(["link", "dangling", "into"].map(is_link), [true; 3]);
    assert_eq!(everything_in(&here.path().join("to")), ["a", "real"]);
}

/// To open a FIFO is to wait for who opens its other end.
#[test]
fn what_cannot_be_cancelled_is_ended_by_a_signal_and_by_the_time() {
    let here = folder(&[]);
    mkfifo(&here.path().join("fifo"), Mode::S_IRWXU).expect("a FIFO");
    let closed = closed().to_string();
    let get = ["get", &closed, "a", "-o", "fifo", "--max-time", "0.2"];
    let get = rtftp(here.path()).args(get).assert().code(3);
    get.stderr("rtftp: the time that --max-time gives is over\n");
    let silent = Scripted::new(|_| Vec::new());
    let silent = silent.remote();
    // A check could be cancelled, and nobody is told that the server is down.
    let (put, check) = (["put", "fifo", &closed], ["check", &silent, "a", "--within", "99"]);
    // The second signal is not waited for.
    let both = [Signal::SIGINT, Signal::SIGTERM];
    for (words, signals) in [(&put[..], &both[1..]), (&check, &both[1..]), (&put, &both)] {
        let mut rtftp = std::process::Command::new("env");
        rtftp.args(["--default-signal=INT,TERM", RTFTP]).args(words).current_dir(here.path());
        let rtftp = child::started(&mut rtftp);
        let threads = format!("/proc/{}/task", rtftp.id());
        until("it waits for signals", || {
            let names = std::fs::read_dir(&threads).expect("it lives").flatten();
            let mut names = names.map(|one| std::fs::read_to_string(one.path().join("comm")));
            names.any(|name| name.is_ok_and(|name| name == "interrupts\n")).then_some(())
        });
        for signal in signals {
            kill(Pid::from_raw(rtftp.id().cast_signed()), *signal).expect("sent");
        }
        let output = child::said_within(DEADLINE, rtftp).expect("its end");
        let by = output.status.signal();
        assert_eq!(by, Some(Signal::SIGTERM as i32), "{words:?}, {signals:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// The server sends the signal when completion asks it for a list: the menu waits at its prompt.
#[test]
fn a_signal_ends_the_menu_at_its_prompt_and_leaves_the_terminal_as_it_was() {
    for (signal, ended) in [("-TERM", "ended by 143"), ("-HUP", "ended by 129")] {
        let (here, mut port) = (folder(&[]), None);
        let server = Scripted::new(move |packet| {
            if let Packet::Request(request) = packet {
                port = port.or_else(|| String::from_utf8_lossy(request.name).parse::<u16>().ok());
                let menu = port.map(|port| format!("^[^ ]*rtftp 127.0.0.1:{port}$"));
                menu.into_iter().for_each(|menu| {
                    child::output(std::process::Command::new("pkill").args([signal, "-f", &menu]));
                });
            }
            Vec::new()
        });
        let menu = format!("{RTFTP} {}; echo ended by $?; stty -a", server.address);
        let menu = format!("env --default-signal=HUP,TERM sh -c '{menu}'");
        let keys = format!("get {}/x\t", server.address.port());
        let screen = on_a_terminal(here.path(), &menu, &[&keys]);
        let (_, after) = screen.split_once(ended).unwrap_or_else(|| panic!("{signal}: {screen}"));
        let has = |flag: &str| after.split_whitespace().any(|one| one.trim_matches(';') == flag);
        assert_eq!(["icanon", "echo", "isig"].map(has), [true; 3], "lines are edited: {after}");
    }
}

#[test]
fn a_tilde_is_the_home_of_whoever_types_wherever_a_file_of_theirs_is_meant() {
    let root = folder(&[("a", b"few"), ("y/c", b"")]);
    let home = folder(&[("mine", b"one"), ("other", b"two")]);
    let (here, in_home) = (folder(&[]), home.path().display());
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let mut menu = rtftp(here.path());
    menu.arg(server.address.to_string()).env("HOME", home.path());
    // The second of two files that are there is no name on the server, which has the first by then.
    let typed = "put ~/mine\nput ~/mine x\nput ~/mi* y/\nput ~/mine ~/other\nget a ~/b\n";
    menu.write_stdin(typed).assert().code(5).stderr(contains("file already exists"));
    let menu = format!("env HOME={in_home} {RTFTP} {}", server.address);
    let screen = on_a_terminal(here.path(), &menu, &["put ~/mi\t z\r", "quit\r"]);
    assert_eq!(everything_in(root.path()), ["a", "mine", "other", "x", "y", "z"], "{screen}");
    assert_eq!(everything_in(&root.path().join("y")), ["c", "mine"]);
    assert_eq!(everything_in(home.path()), ["b", "mine", "other"]);
}

#[test]
fn words_of_other_clients_are_answered_with_what_does_the_same_here() {
    let (root, here) = (folder(&[]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let host = "'rtftp HOST' opens the menu of another host";
    let mode = "files travel byte for byte unless it was 'rtftp HOST --mode netascii'";
    let (hosts, pwd) = (["connect h", "OPEN h"], ("pwd", "the prompt has the directory"));
    let modes = ["binary", "Octet", "ascii", "netascii", "mode octet"];
    let cases = hosts.map(|line| (line, host)).into_iter().chain(modes.map(|line| (line, mode)));
    let (mut typed, mut told) = (String::new(), String::new());
    for (line, hint) in cases.chain([pwd]) {
        let word = line.split(' ').next().unwrap_or_default();
        typed += &format!("{line}\n");
        told += &format!("rtftp: there is no command '{word}'; {hint}\n");
    }
    let mut menu = rtftp(here.path());
    menu.arg(server.address.to_string()).write_stdin(typed).assert().code(2).stderr(told);
}

#[test]
fn the_menu_in_a_pipe_explains_itself_and_ends_when_nobody_reads_it() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let menu = rtftp(here.path()).arg(&remote).write_stdin("HELP\n?\n").assert().success();
    let told = String::from_utf8_lossy(&menu.get_output().stdout).into_owned();
    let (page, again) = told.split_at(told.len() / 2);
    assert!(page == again && page.lines().count() == 7, "{told}");
    let commands = ["list", "download", "upload", "quit", "cd", "NUMBER", "help"];
    assert!(commands.iter().all(|command| page.contains(&format!(" {command} "))), "{page}");
    let unread = "exec 3> >(:); wait $!; printf 'list\nget a\n' | $rtftp $server >&3";
    let output = shell(here.path(), &remote, unread);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(everything_in(here.path()).is_empty(), "nothing more is done for whoever has left");
}

#[test]
fn words_of_others_stay_in_their_line() {
    let here = folder(&[]);
    let server = Scripted::new(|_| vec![error(0, "no | way\nat \x1b[2Jall")]);
    let remote = server.remote();
    let check = rtftp(here.path()).args(["check", &remote, "f"]).assert().code(2);
    let why = "the server says: no / way\\nat \\u{1b}[2Jall (code 0)";
    // A monitoring system takes what stands behind a bar for figures.
    check.stdout(format!("TFTP CRITICAL - tftp://{remote}/f: {why}\n"));
    let mut menu = rtftp(here.path());
    menu.arg(&remote).write_stdin("get 'a\x1b[2J/'\n'b\u{202e}'\n").assert().code(2).stderr(
        "rtftp: 'a\\u{1b}[2J/' is a directory; list 'a\\u{1b}[2J/' shows what is in it\n\
        rtftp: there is no command 'b\\u{202e}'; 'help' shows what there is\n",
    );
    let listing = Scripted::new(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => vec![error(4, "no")],
        Packet::Request(_) => vec![data(1, b"# 0 entries\n")],
        _ => Vec::new(),
    });
    let mut menu = rtftp(here.path());
    let menu = menu.arg(listing.remote()).write_stdin("list a\u{202e}b\n").assert().success();
    menu.stdout(format!("a\\u{{202e}}b/ on {}\n(empty)\n", listing.remote()));
}

#[test]
fn at_a_terminal_the_report_of_a_load_for_programs_is_alone() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let bench = format!("{RTFTP} bench {} a --duration 0.3 --clients 1 --json", server.address);
    let screen = on_a_terminal(here.path(), &bench, &[]);
    let report: Result<serde_json::Value, _> = serde_json::from_str(&screen);
    assert!(report.is_ok_and(|report| report["ok"] == true), "{screen}");
}

#[test]
fn who_is_asked_is_told_no_more_behind_what_failed() {
    let (here, silent) = (folder(&[]), Scripted::new(|_| Vec::new()));
    let get = format!("{RTFTP} get {} a --timeout 1 --retries 0", silent.remote());
    let screen = on_a_terminal(here.path(), &format!("sh -c '{get}; echo ended by $?'"), &[]);
    let (_, told) = screen.split_once(" (Ctrl-C stops)").expect("who is asked");
    assert!(told.starts_with("\x1b[K\r\x1b[Krtftp: get tftp://"), "the line stays: {told:?}");
    assert!(told.contains("ended by 3"), "{told}");
}

#[test]
fn the_history_is_where_the_variables_say() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let home = here.path().display();
    let cases = [
        (format!("-u XDG_STATE_HOME HOME={home}/1"), Some("1/.local/state")),
        (format!("XDG_STATE_HOME=state HOME={home}/2"), Some("2/.local/state")),
        (format!("XDG_STATE_HOME={home}/own HOME={home}/3"), Some("own")),
        ("-u XDG_STATE_HOME -u HOME".into(), None),
    ];
    for (variables, folder) in cases {
        let menu = format!("env {variables} {RTFTP} {}", server.address);
        let screen = on_a_terminal(here.path(), &menu, &["get a -\r", "quit\r"]);
        assert!(screen.contains("few"), "{variables}: {screen}");
        if let Some(folder) = folder {
            let history = here.path().join(folder).join("rtftp/history");
            let history = std::fs::read_to_string(history).unwrap_or_default();
            assert!(history.contains("get a -"), "{variables}: {history}");
        }
    }
    assert_eq!(everything_in(here.path()), ["1", "2", "own"]);
}

#[test]
fn the_menu_prints_a_file_alone_and_stays_where_it_is_when_a_directory_is_not_there() {
    let (root, here) = (folder(&[("a", b"few"), ("sub/b", b"")]), folder(&[("mine", b"mine")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let menu = |typed: &str| {
        rtftp(here.path()).arg(server.address.to_string()).write_stdin(typed.to_owned()).assert()
    };
    menu("get a -\n").success().stdout("few").stderr(is_empty());
    let told =
        "rtftp: cd: the server says: no such directory (code 1)\n  'list' shows what is there";
    menu("cd sub\ncd absent\nput mine\n").code(4).stderr(contains(told));
    assert_eq!(everything_in(&root.path().join("sub")), ["b", "mine"]);
    let told = "rtftp: download: absent/*: the server says: no such directory (code 1)\n";
    menu("get absent/*\n").code(4).stderr(starts_with(told));
    menu("cd sub\nput mine\n")
        .code(5)
        .stderr(starts_with("rtftp: upload: mine: the server says: "));
    // No letter is so like a number that it may be meant.
    menu("x\n").code(2).stderr("rtftp: there is no command 'x'; 'help' shows what there is\n");
}

#[test]
fn a_number_that_is_a_directory_fails_as_a_list() {
    let modified = std::time::UNIX_EPOCH;
    let sub = Entry { name: "sub".into(), kind: Kind::Directory, size: 0, modified };
    let listing = Listing { entries: vec![sub], cut: false }.to_text();
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => vec![error(4, "no")],
        Packet::Request(request) if request.name == b".list" => vec![data(1, &listing)],
        Packet::Request(_) => vec![error(2, "not you")],
        _ => Vec::new(),
    });
    let here = folder(&[]);
    let mut menu = rtftp(here.path());
    let menu = menu.arg(server.remote()).write_stdin("list\n1\n").assert().failure();
    menu.stderr(starts_with("rtftp: list: "));
}

#[test]
fn the_menu_explains_that_a_number_is_a_directory() {
    let (root, here) = (folder(&[("a", b""), ("b", b""), ("sub/c", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    for line in ["download 3", "2 3", "download sub", "download sub/"] {
        let menu = rtftp(here.path()).arg(&remote).write_stdin(format!("list\n{line}\n")).assert();
        let told = "rtftp: 'sub/' is a directory; 'list sub/' shows what is in it\n";
        menu.code(2).stderr(told);
    }
    assert!(everything_in(here.path()).is_empty());
}

#[test]
fn a_put_tells_how_far_it_is() {
    let root = folder(&[]);
    let server = Running::taking(root.path(), Uploads::Create);
    let (mut told, bytes) = (Vec::new(), pattern(300_000, 1));
    let client = server.client(crate::common::windowed(1000, 4));
    let summary = client.put("a", Readable::bytes(bytes), |progress| told.push(progress));
    assert_eq!(summary.expect("an upload").bytes, 300_000);
    assert!(told.iter().all(|progress| progress.total == Some(300_000)), "{told:?}");
    let far: Vec<u64> = told.iter().map(|progress| progress.bytes).collect();
    assert!(far.is_sorted() && far.last() == Some(&300_000), "{far:?}");
    let between = far.iter().filter(|far| (1..300_000).contains(*far)).count();
    assert!(between > 10, "{between} of {far:?}");
}

#[test]
fn a_client_that_is_told_to_be_quiet_still_says_what_failed() {
    let here = folder(&[("mine", b"few")]);
    let closed = closed().to_string();
    for words in [["get", &closed, "a"], ["put", "mine", &closed]] {
        let run = rtftp(here.path()).args(words).arg("--quiet").assert().code(3);
        run.stdout(is_empty())
            .stderr(contains("nothing listens").and(contains("Is the name right")));
    }
    let server = Scripted::new(|_| vec![data(1, b"few")]);
    let get = ["get", &server.remote(), "a", "-q"];
    rtftp(here.path()).args(get).assert().success().stdout(is_empty()).stderr(is_empty());
}

#[test]
fn a_server_that_lists_after_all_is_asked_about_each_directory() {
    let here = folder(&[]);
    let server = Scripted::new(|packet| match packet {
        Packet::Request(request) if request.name == b"there/.list" => {
            vec![data(1, b"# 0 entries\n")]
        }
        Packet::Request(request) if request.operation == Operation::List => vec![error(4, "no")],
        Packet::Request(_) => vec![error(1, "no")],
        _ => Vec::new(),
    });
    let menu = |typed: &str| {
        let run = rtftp(here.path()).arg(server.remote()).write_stdin(typed).assert().failure();
        String::from_utf8_lossy(&run.get_output().stdout).into_owned()
    };
    let unchecked = "(unchecked: this server lists nothing)\n";
    assert!(menu("list gone\ncd gone\n").contains(unchecked));
    let told = menu("list gone\nlist there\ncd gone\n");
    assert!(!told.contains(unchecked), "it has listed since: {told}");
}
