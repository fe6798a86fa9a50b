//! `rtftp` as a person or a script uses it, the menu aside.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::powerless;
use common::{Daemon, Scripted, ack, child, closed, data, error, everything_in, folder, pattern};
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use programs::{NO_HOST, on_a_terminal, rtftp, shell};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tftpkit::wire::{
    BlockSize, ListFormat, Operation, Options, Packet, Request, TransferOption, WireBlock,
};

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
    let mut lines = list.get_output().stdout.split(|byte| *byte == b'\n');
    let entry: serde_json::Value =
        serde_json::from_slice(lines.next().expect("one")).expect("JSON");
    assert_eq!((&entry["name"], &entry["size"]), (&"a".into(), &5000.into()));
    let line: serde_json::Value = serde_json::from_str(&server.log_line(&["sent"])).expect("JSON");
    assert_eq!((&line["file"], &line["outcome"]), (&"a".into(), &"complete".into()));
}

#[test]
fn a_list_for_people_has_sizes_and_the_times_of_where_they_are() {
    let (root, here) = (folder(&[("a", b"few"), ("dir/b", b"")]), folder(&[]));
    let then = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for name in ["a", "dir"] {
        let file = std::fs::File::open(root.path().join(name)).expect("it is there");
        file.set_modified(then).expect("it is ours");
    }
    let server = Daemon::serve(root.path(), &[]);
    let list = ["list", &server.address.to_string()];
    let zones = [
        ("UTC0", "2023-11-14 22:13"),
        ("IST-5:30", "2023-11-15 03:43"),
        ("Asia/Tokyo", "2023-11-15 07:13"),
    ];
    for (zone, time) in zones {
        let run = rtftp(here.path()).args(list).env("TZ", zone).assert().success();
        run.stdout(format!("a             3 B  {time}\ndir/               {time}\n"));
    }
    let line = format!("env TZ=Asia/Tokyo {} {}", env!("CARGO_BIN_EXE_rtftp"), list.join(" "));
    let screen = on_a_terminal(here.path(), &format!("sh -c 'stty cols 80; exec {line}'"), &[]);
    let names = screen.rsplit("\x1b[2K").next().unwrap_or_default().lines();
    let names = names.map(|line| line.split(' ').next().unwrap_or_default());
    assert!(names.eq(["", "a", "dir/"]), "a heading, and no numbers: {screen}");
    assert!(screen.contains("  time (JST)\r\n"), "whose times these are: {screen}");
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
    case(&["list", &remote, "missing"], 4, "no such directory");
    case(&["get", &remote, "dir"], 5, "is a directory");
    case(&["put", "mine", &remote], 5, "uploads are off");
    case(&["put", "absent", &remote], 1, "cannot read 'absent'");
    case(&["put", ".", &remote, "x"], 1, "it is a directory");
    case(&["get", &remote, "a", "-o", "no/such/folder"], 1, "cannot write 'no/such/folder'");
    case(
        &["get", &remote, "a", "-o", "/dev/full"],
        6,
        "cannot write '/dev/full': No space left on device\n",
    );
    case(&["get", &remote], 2, "no file is named");
    case(&["get", "host:x", "--blksize", "7"], 2, "--blksize");
    case(&["get", "[::1", "x"], 2, "closing bracket");
    case(&["get", &format!("{NO_HOST}:x")], 3, "cannot find the host");
    let closed = closed().to_string();
    case(&["get", &closed, "x"], 3, "nothing listens");
    let help = rtftp(here.path()).args(["get", "--help"]).assert().success();
    help.stdout(contains("Exit status:").and(contains("8  everything was sent")));
}

#[test]
fn a_silent_server_is_no_answer() {
    let (server, here) = (Scripted::new(|_| Vec::new()), folder(&[]));
    let get = ["get", &server.remote(), "x", "--timeout", "1", "--retries", "0"];
    rtftp(here.path()).args(get).assert().code(3).stderr(contains("no answer from"));
}

#[test]
fn a_failed_get_leaves_what_was_there_and_nothing_else() {
    let here = folder(&[("a", b"old")]);
    let server = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![data(1, &[1; 512])]),
        // It is gone with half the file.
        _ => None,
    });
    let get = rtftp(here.path()).args(["get", &server.remote(), "a", "--no-options"]).assert();
    get.code(3).stderr(contains("broke off after").and(contains("try again")));
    server.left();
    let told = Options::NONE.with(TransferOption::TransferSize(512));
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(_) => vec![Packet::Oack(told).to_vec()],
        Packet::Ack { block: WireBlock(0) } => vec![data(1, &[1; 511])],
        _ => Vec::new(),
    });
    let get = rtftp(here.path()).args(["get", &server.remote(), "a"]).assert();
    get.code(7).stderr(contains("ended before the size that was told"));
    assert_eq!(std::fs::read(here.path().join("a")).expect("the old file"), b"old");
    assert_eq!(everything_in(here.path()), ["a"]);
}

#[test]
fn an_upload_without_its_last_acknowledgement_is_unconfirmed() {
    let here = folder(&[("a", b"few")]);
    let server = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![ack(0)]),
        _ => None,
    });
    let put = rtftp(here.path()).args(["put", "a", &server.remote()]).assert();
    put.code(8).stderr(contains("did not confirm"));
}

#[test]
fn a_server_that_refuses_or_ignores_options_is_asked_without_them() {
    let here = folder(&[]);
    for refusal in [Some(error(8, "no options")), Some(error(4, "what?")), None] {
        let silent = refusal.is_none();
        let server = Scripted::new(move |packet| match packet {
            Packet::Request(request) if !request.options.is_empty() => {
                refusal.clone().into_iter().collect()
            }
            Packet::Request(_) => vec![data(1, b"plain")],
            _ => Vec::new(),
        });
        let mut get = rtftp(here.path());
        get.args(["get", &server.remote(), "a", "-o", "-"]);
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
fn a_folder_that_takes_no_file_is_told_with_the_way_to_another() {
    let (root, here) = (folder(&[("a", b"one")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    std::fs::set_permissions(here.path(), PermissionsExt::from_mode(0o555)).expect("a mode");
    let run = |words: &[&str], typed: &str| {
        let (program, wrapper) = powerless().split_first().expect("a program");
        let mut run = assert_cmd::Command::new(program);
        run.args(wrapper)
            .arg(env!("CARGO_BIN_EXE_rtftp"))
            .args(words)
            .write_stdin(typed.to_owned());
        run.current_dir(here.path()).timeout(common::LONGEST_RUN).assert().code(1)
    };
    let remote = server.address.to_string();
    let get = run(&["get", &remote, "a"], "");
    get.stderr(contains("cannot write 'a': no permission\n").and(contains("'-o FOLDER/' takes")));
    run(&[&remote], "get a\n").stderr(contains("'download NAME FOLDER/' takes"));
}

#[test]
fn a_hostile_servers_words_do_not_reach_the_terminal_raw() {
    let here = folder(&[]);
    let server = Scripted::new(|_| vec![error(1, "\x1b[2Jgone\r\n")]);
    let get = rtftp(here.path()).args(["get", &server.remote(), "a"]).assert().code(4);
    get.stderr(contains("\\u{1b}[2Jgone").and(contains("\x1b").not()));
}

#[test]
fn at_a_terminal_a_get_ends_with_its_figures() {
    let (root, here) = (folder(&[("a", &pattern(3_000_000, 3))]), folder(&[]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let program = env!("CARGO_BIN_EXE_rtftp");
    let screen = on_a_terminal(here.path(), &format!("{program} get {} a", server.address), &[]);
    let remote = format!("tftp://{}", server.address);
    assert!(screen.contains(&format!("{remote}/a -> a: ")), "{screen}");
    assert!(screen.contains("a ["), "the file's name stands before its bar: {screen}");
    let put = format!("{program} put a {} new", server.address);
    let put = on_a_terminal(here.path(), &put, &[]);
    assert!(put.contains(&format!("a -> {remote}/new: ")) && put.contains("a ["), "{put}");
    assert!(screen.contains("2.86 MiB in ") && screen.contains(" MiB/s"), "{screen}");
    assert!(!screen.contains("0/0"), "no picture of what is not known yet: {screen}");
    let quiet = format!("{program} get {} a --quiet", server.address);
    assert_eq!(on_a_terminal(here.path(), &quiet, &[]).trim(), "");
    // What reads the report reads no picture.
    let json = format!("{program} get {} a --json", server.address);
    let report: serde_json::Value =
        serde_json::from_str(&on_a_terminal(here.path(), &json, &[])).expect("JSON alone");
    assert_eq!(report["bytes"], 3_000_000);
}

#[test]
fn at_a_terminal_who_is_asked_or_waited_for_is_told_until_there_is_an_answer() {
    let here = folder(&[("mine", b"few")]);
    let cases = [
        ("get HOST a", "asking HOST"),
        ("put mine HOST", "asking HOST"),
        ("list HOST", "asking HOST"),
        ("put mine HOST --wait", "waiting for HOST"),
        ("get HOST a --wait", "waiting for HOST"),
    ];
    let see = |(words, told): (&str, &str)| {
        let mut since = None;
        let server = Scripted::new(move |packet| {
            let since = since.get_or_insert_with(Instant::now);
            match packet {
                // Long enough that it is told; LIST is repeated after a second.
                _ if since.elapsed() < Duration::from_millis(900) => Vec::new(),
                list if is_list(list) => vec![error(4, "no")],
                Packet::Request(Request { operation: Operation::Write, .. }) => vec![ack(0)],
                Packet::Request(_) => vec![data(1, b"# 0 entries\n")],
                Packet::Data { block, .. } => vec![ack(block.0)],
                _ => Vec::new(),
            }
        });
        let [words, told] = [words, told].map(|text| text.replace("HOST", &server.remote()));
        let line = format!("{} {words}", env!("CARGO_BIN_EXE_rtftp"));
        let screen = on_a_terminal(here.path(), &line, &[]);
        // It is taken back.
        let told = format!("{told}\u{2026} (Ctrl-C stops)\x1b[K\r\x1b[K");
        assert!(screen.contains(&told), "{words}: {screen:?}");
    };
    std::thread::scope(|all| cases.map(|case| all.spawn(move || see(case))).map(drop));
}

#[test]
fn the_terminal_that_shows_how_far_it_is_says_what_there_is_room_for_wherever_the_file_goes() {
    let (root, here) = (folder(&[("a", &pattern(100_000, 1))]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let get = format!("{} get {} a -o - >a", env!("CARGO_BIN_EXE_rtftp"), server.address);
    for (columns, has_bar) in [(59, false), (60, true)] {
        let line = format!("sh -c 'stty cols {columns}; exec {get}'");
        let screen = on_a_terminal(here.path(), &line, &[]);
        assert_eq!(screen.contains("a ["), has_bar, "{columns} columns: {screen}");
    }
}

#[test]
fn at_a_terminal_a_get_of_unknown_size_shows_how_much_has_come() {
    let here = folder(&[]);
    let mut waits = 0;
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(_) => vec![data(1, &[1; 512])],
        // So often does the client have to ask that there is time to look.
        Packet::Ack { block: WireBlock(1) } if waits < 4 => {
            waits += 1;
            Vec::new()
        }
        Packet::Ack { block: WireBlock(1) } => vec![data(2, b"end")],
        _ => Vec::new(),
    });
    let get = format!("{} get {} a --no-options", env!("CARGO_BIN_EXE_rtftp"), server.address);
    let screen = on_a_terminal(here.path(), &get, &[]);
    assert!(screen.contains(" 512 B "), "{screen}");
}

/// Runs `rtftp` against a scripted server, which is HOST, and gives what that heard and when.
fn heard_of(
    arguments: &[&str],
    code: i32,
    react: impl FnMut(&Packet<'_>) -> Vec<Vec<u8>> + Send + 'static,
) -> Vec<(Instant, String)> {
    heard_where(&[], arguments, code, react)
}

/// The same where these variables are set.
fn heard_where(
    variables: &[(&str, &str)],
    arguments: &[&str],
    code: i32,
    react: impl FnMut(&Packet<'_>) -> Vec<Vec<u8>> + Send + 'static,
) -> Vec<(Instant, String)> {
    let server = Scripted::new(react);
    let (here, remote) = (folder(&[("mine", b"few")]), server.remote());
    let arguments = arguments.iter().map(|word| if *word == "HOST" { &remote[..] } else { *word });
    let mut rtftp = rtftp(here.path());
    rtftp.args(arguments).envs(variables.iter().copied()).assert().code(code);
    server.end()
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
    // Only what is typed beside it contradicts it: variables are set for all servers.
    let cases: [(_, &[&str]); 3] = [
        (("RTFTP_BLKSIZE", "1000"), &["--no-options"]),
        (("RTFTP_WINDOWSIZE", "4"), &["--no-options"]),
        (("RTFTP_NO_OPTIONS", "1"), &["--blksize", "1000", "--windowsize", "4"]),
    ];
    for (variable, typed) in cases {
        let arguments = [&["get", "HOST", "a"], typed].concat();
        let heard = heard_where(&[variable], &arguments, 7, refusing);
        assert_eq!(words(&heard), ["RRQ \"a\" octet"], "{variable:?}, {typed:?}");
    }
}

#[test]
fn a_server_that_is_silent_to_opcode_7_is_asked_twice_and_then_for_the_file() {
    let heard = heard_of(&["list", "HOST", "sub"], 0, |packet| match packet {
        Packet::Request(request) if request.name == b"sub/.list" => vec![data(1, b"# 0 entries\n")],
        _ => Vec::new(),
    });
    let [(first, list), (_, again), (third, file), ..] = &heard[..] else { panic!("{heard:?}") };
    assert!(list.starts_with("LIST \"sub\" octet ") && list.ends_with(" x-list=json"), "{list}");
    assert!(list == again && file.starts_with("RRQ \"sub/.list\" octet "), "{heard:?}");
    // On a busy machine either may be late, and neither waits for the five seconds of a download.
    let about_a_second = Duration::from_millis(900)..Duration::from_millis(4900);
    assert!(about_a_second.contains(&((*third - *first) / 2)), "{heard:?}");
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
    let closed = closed().to_string();
    let list = rtftp(folder(&[]).path()).args(["list", &closed]).assert().code(3);
    list.stderr(contains("nothing listens"));
}

/// A server that answers opcode 7 with this JSON, and has no `.list` and no file whose name is a number.
fn listing_json(json: String) -> Scripted {
    let size = TransferOption::BlockSize(BlockSize::new(1400).expect("a block size"));
    let oack = Options::NONE.with(TransferOption::List(ListFormat::Json)).with(size);
    Scripted::new(move |packet| match packet {
        list if is_list(list) => vec![Packet::Oack(oack).to_vec()],
        Packet::Request(Request { name: b".list" | [b'0'..=b'9', ..], .. }) => {
            vec![error(1, "no such file")]
        }
        Packet::Request(_) => vec![data(1, b"stranger")],
        Packet::Ack { block: WireBlock(0) } => vec![data(1, json.as_bytes())],
        _ => Vec::new(),
    })
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
        let server = listing_json(json);
        rtftp(folder(&[]).path()).args(["list", &server.remote()]).assert()
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
    let server = listing_json(json);
    let remote = server.remote();
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
fn what_a_slow_pipe_gave_is_sent_before_more_is_waited_for() {
    let server = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![b"\0\x06windowsize\x0064\0".to_vec()],
        Packet::Data { block, payload } if payload.len() < 512 => vec![ack(block.0)],
        _ => Vec::new(),
    });
    let mut put = std::process::Command::new(env!("CARGO_BIN_EXE_rtftp"));
    put.args(["put", "-", &server.remote(), "name", "--blksize", "512"]);
    let mut put = put.stdin(Stdio::piped()).spawn().expect("rtftp");
    let mut pipe = put.stdin.take().expect("a pipe");
    // Each comes before the pipe has more.
    pipe.write_all(&[7; 600]).expect("written");
    server.hears_at_last("DATA 1 512");
    pipe.write_all(&[7; 500]).expect("written");
    server.hears_at_last("DATA 2 512");
    drop(pipe);
    server.hears_at_last("DATA 3 76");
    assert!(child::end("rtftp", &mut put).success());
}

#[test]
fn what_the_shell_has_opened_is_written_where_it_stands() {
    let (root, here) = (folder(&[("a", b"new")]), folder(&[("log", b"old ")]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let lines = [
        "$rtftp get $server a -o /dev/stdout >> log",
        "$rtftp get $server a -o /dev/fd/3 3> three",
        "printf 'old ' > more; $rtftp get $server a -o /dev/fd/3 3>> more",
        "$rtftp get $server a -o >(cat > piped); wait $!",
        "$rtftp get $server a -o /dev/stdout | cat > through",
        "{ printf '1 '; $rtftp get $server a -o /dev/stdout --json 2> /dev/null; printf ' 2'; } > between",
    ];
    for line in lines {
        let output = shell(here.path(), &remote, line);
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    }
    let local = |name| {
        String::from_utf8(std::fs::read(here.path().join(name)).expect("written")).expect("text")
    };
    assert_eq!(["log", "three", "piped", "through"].map(local), ["old new", "new", "new", "new"]);
    assert_eq!(local("more"), "old new");
    assert_eq!(local("between"), "1 new 2");
    assert_eq!(everything_in(here.path()), ["between", "log", "more", "piped", "three", "through"]);
}

#[test]
fn what_proc_makes_up_is_sent_as_it_is_read() {
    let (root, here) = (folder(&[]), folder(&[("empty", b"")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let files = ["/proc/version", "empty", &server.address.to_string()];
    rtftp(here.path()).arg("put").args(files).assert().success();
    let stored = |name| std::fs::read(root.path().join(name)).expect("stored");
    assert_eq!(stored("version"), std::fs::read("/proc/version").expect("it is Linux"));
    assert_eq!(stored("empty"), b"");
    // What cannot be read after all is told with its name, and nothing is stored of it.
    let put = rtftp(here.path()).args(["put", "/proc/self/mem", files[2]]).assert().code(1);
    put.stderr(contains("cannot read '/proc/self/mem': Input/output error\n"));
    assert_eq!(everything_in(root.path()), ["empty", "version"]);
}

#[test]
fn without_anywhere_to_complain_the_exit_code_still_tells() {
    let (root, here) = (folder(&[]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    for (line, code) in [
        ("$rtftp get $server missing 2> /dev/full", 4),
        ("$rtftp get $server missing 2>&-", 4),
        ("echo bogus | $rtftp $server 2> /dev/full", 2),
        ("$rtftp get 2> /dev/full", 2),
    ] {
        assert_eq!(shell(here.path(), &remote, line).status.code(), Some(code), "{line}");
    }
}

#[test]
fn whoever_closes_the_pipe_has_seen_enough() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    for command in ["list $server", "list $server --json", "bench $server a --count 1"] {
        // Nobody reads it any more when it is written.
        let line = format!("exec 3> >(:); wait $!; $rtftp {command} >&3");
        let output = shell(here.path(), &server.address.to_string(), &line);
        assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
    }
}

#[test]
fn a_local_limit_is_no_room() {
    let (root, here) = (folder(&[("a", &pattern(10_000, 6))]), folder(&[("b", b"old")]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let output = shell(here.path(), &remote, "prlimit --fsize=5000 $rtftp get $server a -o b");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{told}");
    assert!(told.contains("Make room on this machine"), "{told}");
    assert_eq!(std::fs::read(here.path().join("b")).expect("as it was"), b"old");
    let list = shell(here.path(), &remote, "prlimit --fsize=1 $rtftp list $server > list");
    assert_eq!(list.status.code(), Some(6), "{list:?}");
}
