//! What people type at both programs: the forms that are understood, and what is said about those that are not.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::in_own_network;
use common::{Daemon, Scripted, ack, child, data, everything_in, folder, pattern, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use programs::{NO_HOST, rtftp, rtftpd};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tftpkit::wire::{Operation, Packet};

#[test]
fn commands_have_the_names_that_the_menu_and_other_programs_give_them() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[("mine", b"mine")]));
    let server = Daemon::serve(root.path(), &["--uploads", "overwrite"]);
    let remote = server.address.to_string();
    for name in ["list", "ls", "dir"] {
        rtftp(here.path()).args([name, &remote]).assert().success().stdout(contains("a "));
    }
    for name in ["get", "download", "fetch"] {
        rtftp(here.path()).args([name, &remote, "a", "-o", "-"]).assert().success().stdout("few");
    }
    for name in ["put", "upload", "send"] {
        rtftp(here.path()).args([name, "mine", &remote, name]).assert().success();
        assert!(root.path().join(name).exists(), "{name}");
    }
}

#[test]
fn help_is_no_mistake_and_a_record_is_written_of_a_mistake_alone() {
    let here = folder(&[]);
    for command in ["get", "put", "list", "bench"] {
        let asked = |option| rtftp(here.path()).args([command, "--json", option]).assert();
        asked("--help").success().stdout(contains("Usage:").and(contains("{\"").not()));
        asked("--none").code(2).stdout(contains("{\""));
        let plain = || rtftp(here.path()).args([command, "--none"]).assert().code(2);
        plain().stdout(is_empty());
        for (value, is_told) in [("1", true), ("yes", true), ("0", false), ("off", false)] {
            let mut asked = rtftp(here.path());
            let asked = asked.args([command, "--none"]).env("RTFTP_JSON", value).assert().code(2);
            let stdout = &asked.get_output().stdout;
            assert_eq!(stdout.starts_with(b"{\"ok\":false"), is_told, "RTFTP_JSON={value}");
        }
    }
    // To a monitoring system 2 says that the server is down, where the command is "check".
    for (words, code) in [(["check", "--none"], 3), (["-q", "check"], 3)] {
        rtftp(here.path()).args(words).assert().code(code);
    }
    rtftp(here.path()).args(["get", "check", "--none"]).assert().code(2);
}

#[test]
fn options_stand_anywhere_and_help_is_a_word_too() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let lines: [&[&str]; 4] = [
        &["--blksize", "512", "get", &remote, "a", "-o", "-"],
        &["-o", "-", "get", "--blksize", "512", &remote, "a"],
        &["get", "-o", "-", &remote, "--blksize=512", "a"],
        &["--no-options", "--quiet", "fetch", &remote, "a", "-o", "-"],
    ];
    for line in lines {
        rtftp(here.path()).args(line).assert().success().stdout("few");
    }
    // What stands behind --wait is its interval, but for a file that is there.
    let (root, mine) = (folder(&[]), folder(&[("1", b"one"), ("mine", b"mine")]));
    let taking = Daemon::serve(root.path(), &["--uploads", "create"]);
    for words in [&["put", "--wait", "1"][..], &["put", "--wait", "2", "mine"]] {
        rtftp(mine.path()).args(words).arg(taking.address.to_string()).assert().success();
    }
    assert_eq!(everything_in(root.path()), ["1", "mine"]);
    rtftp(here.path())
        .args(["--json", "ls", &remote])
        .assert()
        .success()
        .stdout(contains("\"ok\""));
    let page = |words: &[&str]| {
        let shown = rtftp(here.path()).args(words).assert().success();
        String::from_utf8_lossy(&shown.get_output().stdout).into_owned()
    };
    for command in ["get", "put", "list", "bench", "upload"] {
        assert_eq!(page(&["help", command]), page(&[command, "--help"]));
    }
    assert_eq!(page(&["help"]), page(&["--help"]));
}

#[test]
fn a_port_and_a_file_stand_in_one_word() {
    let root = folder(&[("a", b"few"), ("sub/b", b"more")]);
    let here = folder(&[("mine", b"mine")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let got = |word: &str| {
        let get = rtftp(here.path()).args(["get", word, "-o", "-"]).assert().success();
        String::from_utf8_lossy(&get.get_output().stdout).into_owned()
    };
    assert_eq!([got(&format!("{remote}/a")), got(&format!("{remote}:a"))], ["few", "few"]);
    assert_eq!(
        [got(&format!("{remote}/sub/b")), got(&format!("{remote}:sub/b"))],
        ["more", "more"]
    );
    rtftp(here.path()).args(["put", "mine", &format!("{remote}/x")]).assert().success();
    rtftp(here.path()).args(["put", "mine", &format!("{remote}:y")]).assert().success();
    rtftp(here.path()).args(["put", "mine", &format!("{remote}/sub/")]).assert().success();
    assert_eq!(everything_in(root.path()), ["a", "sub", "x", "y"]);
    assert_eq!(everything_in(&root.path().join("sub")), ["b", "mine"]);
    for word in [format!("{remote}/sub"), format!("{remote}:sub")] {
        rtftp(here.path()).args(["list", &word]).assert().success().stdout(contains("b "));
    }
    let bench = ["bench", &format!("{remote}/a"), "--count", "2", "--json"];
    rtftp(here.path()).args(bench).assert().success().stdout(contains("\"whole\":2"));
}

/// In a network of its own, whose loopback has an address on its link.
#[test]
fn an_address_on_one_link_is_served_and_asked_by_the_name_of_its_interface() {
    let test = an_address_on_one_link_is_served_and_asked_by_the_name_of_its_interface;
    let link = "ip link set lo up && ip -6 addr add fe80::7/64 dev lo nodad";
    if !in_own_network(test, link) {
        return;
    }
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    for listen in ["[fe80::7%lo]:0", "fe80::7%lo"] {
        let mut server = Command::new(Daemon::program());
        let server = Daemon::spawn(server.arg(root.path()).args(["--listen", listen]));
        let port = server.address.port();
        assert_eq!(port == 69, listen == "fe80::7%lo");
        let words = [
            format!("[fe80::7%lo]:{port}/a"),
            format!("fe80::7%lo:{port}:a"),
            format!("tftp://[fe80::7%25lo]:{port}/a"),
            format!("tftp://[fe80::7%lo]:{port}/a"),
        ];
        for word in words {
            rtftp(here.path()).args(["get", &word, "-o", "-"]).assert().success().stdout("few");
        }
        // What the server tells people to try works.
        let try_it = server.banner();
        let try_it =
            try_it.lines().find_map(|line| line.trim().strip_prefix("try")).expect("a line");
        let host = try_it.split_whitespace().last().expect("a host");
        rtftp(here.path()).args(["list", host]).assert().success().stdout(contains("a "));
    }
    let bare = rtftp(here.path()).args(["list", "fe80::7"]).assert().code(3);
    bare.stderr(contains("say on which, as in fe80::7%eth0"));
    let unknown = rtftp(here.path()).args(["list", "fe80::7%none"]).assert().code(3);
    unknown.stderr(contains("this machine has no interface 'none'"));
}

#[test]
fn a_server_listens_by_name_and_takes_its_folder_from_a_variable() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let mut server = Command::new(Daemon::program());
    server.env("RTFTPD_ROOT", root.path()).env("RTFTPD_LISTEN", "localhost:0");
    let server = Daemon::spawn(server.env("RTFTPD_JSON", "1"));
    assert!(server.address.ip().is_loopback());
    let get = ["get", &server.address.to_string(), "a", "-o", "-"];
    rtftp(here.path()).args(get).assert().success().stdout("few");
    assert!(server.log_line(&["\"file\":\"a\""]).starts_with('{'));
    let unknown = rtftpd().arg(root.path()).args(["--listen", NO_HOST]).assert();
    unknown.code(2).stderr(contains(format!("cannot find '{NO_HOST}'")));
}

/// Runs `rtftp`, which is wrong usage, and gives what it says.
fn misused(words: &[&str]) -> String {
    let here = folder(&[("mine", b"mine"), ("other", b"")]);
    let run = rtftp(here.path()).args(words).assert().code(2).stdout(is_empty());
    String::from_utf8_lossy(&run.get_output().stderr).into_owned()
}

#[test]
fn what_is_meant_is_told_where_a_line_is_turned_round_or_misspelt() {
    let cases: [(&[&str], &str); 16] = [
        (&["gett", "h", "a"], "there is no command 'gett': did you mean 'get'?"),
        (&["donwload", "h", "a"], "did you mean 'download'?"),
        (&["lst", "h", "-q"], "there is no command 'lst': did you mean 'list'?"),
        (&["help", "puts"], "did you mean 'put'?"),
        (&["h", "get", "a"], "the command stands before the host: rtftp get h a"),
        (&["-q", "h", "ls"], "the command stands before the host: rtftp ls"),
        (&["put", "h", "mine"], "the server stands behind the files: rtftp put mine tftp://h/"),
        (&["put", "h:x", "mine"], "the server stands behind the files: rtftp put mine tftp://h/x"),
        (&["get", "h:a", "here"], "to call 'a' so here: -o here"),
        (&["h:a"], "'rtftp get h:a' gets a file"),
        (&["get", "2001:db8::1:a.img"], "is it '[2001:db8::1]:a.img'?"),
        (&["get", "h:20240101/a"], "stands after the host: HOST FILE"),
        (&["get", "h/a"], "HOST:PORT/FILE"),
        (&["get", "h", "a", "--no-options", "--blksize", "9"], "asks for neither --blksize nor"),
        (&["put", "a", "h", "--windowsize", "9", "--no-options"], "nor --windowsize"),
        (&["h", "--no-options", "--windowsize", "9"], "asks for neither --blksize nor"),
    ];
    for (words, told) in cases {
        let said = misused(words);
        assert!(said.contains(told), "{words:?}: {said}");
    }
}

#[test]
fn the_second_of_two_names_that_is_not_there_may_be_meant_for_here() {
    let (root, here) = (folder(&[("a", b"few")]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let told = "'-o local' gives a download that name here";
    let get = rtftp(here.path()).args(["get", &remote, "a", "local"]).assert().code(4);
    get.stderr(contains(told));
    let others: [&[&str]; 3] = [&["none", "a"], &["a", "x", "local"], &["a", "local", "-o", "."]];
    for names in others {
        let get = rtftp(here.path()).args(["get", &remote]).args(names).assert().code(4);
        get.stderr(contains("gives a download that name").not());
    }
}

#[test]
fn options_of_other_programs_and_typos_are_answered_with_those_of_ours() {
    let clients = [
        ("--blocksize", "'--blksize'"),
        ("--block-size", "'--blksize'"),
        ("-b", "'--blksize'"),
        ("--window", "'--windowsize'"),
        ("--port", "HOST:PORT"),
        ("-p", "HOST:PORT"),
        ("--binary", "byte for byte"),
        ("--ascii", "'--mode netascii'"),
        ("--tftp-no-options", "'--no-options'"),
        ("--outptu", "'--output'"),
        ("-l", "'-o FILE' says where"),
        ("-r", "rtftp get HOST FILE"),
        ("--retry", "'--retries'"),
        ("--timout", "'--timeout'"),
        ("--max-tiem", "'--max-time'"),
        ("--silent", "'--quiet'"),
    ];
    for (flag, ours) in clients {
        let said = misused(&["get", "h", "a", flag, "1"]);
        assert!(said.contains(ours), "{flag}: {said}");
        assert_eq!(said.matches("tip: ").count(), 1, "{flag}: {said}");
    }
    let servers = [
        ("--port", "'--listen'"),
        ("-p", "'--listen'"),
        ("--bind", "'--listen'"),
        ("--address", "'--listen'"),
        ("--lsten", "'--listen'"),
        ("--create", "'--uploads create'"),
        ("-c", "'--uploads create'"),
        ("--overwrite", "'--uploads overwrite'"),
        ("--root", "rtftpd ROOT"),
        ("-s", "rtftpd ROOT"),
        ("--blksize", "'--max-blksize'"),
        ("--timeout", "'--patience'"),
        ("--port-range", "'--ports'"),
        ("--threads", "'--max-threads'"),
        ("-u", "'--user'"),
        ("--no-sandbox", "'--sandbox'"),
        ("--chroot", "'--sandbox' has the kernel hold it"),
        ("--upload", "'--uploads create'"),
    ];
    for (flag, ours) in servers {
        rtftpd().args(["/", flag, "1"]).assert().code(2).stderr(contains(ours));
    }
}

#[test]
fn a_number_that_is_none_is_answered_with_its_bounds_in_plain_words() {
    let clients = [
        ("--timeout", "0", "from 1 to 255"),
        ("--timeout", "256", "from 1 to 255"),
        ("--timeout", "1.5", "from 1 to 255"),
        ("--blksize", "7", "from 8 to 65464"),
        ("--blksize", "big", "from 8 to 65464"),
        ("--windowsize", "0", "from 1 to 32767"),
        ("--retries", "-1", "from 0 to 1000"),
        ("--max-time", "soon", "as in 0.5, or a time with its unit"),
        ("--interval", "0", "from 0.05 to 60"),
    ];
    let plain = |said: &str| {
        let insides = ["non-zero type", "target type", "invalid digit", "empty string"];
        assert!(insides.iter().all(|words| !said.contains(words)), "{said}");
    };
    for (flag, value, bounds) in clients {
        let said = misused(&["get", "h", "a", &format!("{flag}={value}")]);
        assert!(said.contains(bounds), "{flag} {value}: {said}");
        plain(&said);
    }
    for flag in ["--clients=0", "--count=0", "--count=x", "--clients=65536", "--rate=0"] {
        let said = misused(&["bench", "h", "a", flag]);
        assert!(said.contains("write a "), "{flag}: {said}");
        plain(&said);
    }
    let numbers =
        ["--event-threads", "--max-threads", "--max-sessions", "--max-blksize", "--log-rate"];
    for (flag, value) in numbers.iter().flat_map(|flag| [(flag, "x"), (flag, "-1"), (flag, "")]) {
        let run = rtftpd().args(["/", &format!("{flag}={value}")]).assert().code(2);
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains("write a whole number"), "{flag}={value}: {said}");
        plain(&said);
    }
    for flag in ["--event-threads", "--max-sessions"] {
        let zero = rtftpd().args(["/", flag, "0"]).assert().code(2);
        zero.stderr(contains("write a whole number, 1 or more"));
    }
    // A word of its own is the value, too, and no option that there is not.
    for (flag, wants) in [("--max-sessions", "whole number"), ("--drain", "number of seconds")] {
        rtftpd().args(["/", flag, "-1"]).assert().code(2).stderr(contains(wants));
    }
    for (command, flag) in [("get", "--max-time"), ("put", "--interval"), ("bench", "--rate")] {
        let run = rtftp(Path::new("/")).args([command, "h:a", "b", flag, "-1"]).assert().code(2);
        run.stderr(contains("write a number of "));
    }
}

#[test]
fn a_name_that_is_too_long_is_called_so_and_not_shown_in_full() {
    let (root, here) = (folder(&[]), folder(&[("mine", b"mine")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let long = "x".repeat(3000);
    let told = |words: &[&str], code: i32, why: &str| {
        let run = rtftp(here.path()).args(words).assert().code(code).stderr(contains(why));
        assert!(run.get_output().stderr.len() < 800, "{words:?}");
    };
    let why = "the name has 3000 bytes, and a request has room for ";
    told(&["get", &remote, &long, "-o", "short"], 2, why);
    told(&["put", "mine", &remote, &long], 2, why);
    told(&["list", &remote, &long], 2, why);
    told(
        &["get", &remote, &long],
        1,
        "the file's own name has 3000 bytes, and 255 are the most here",
    );
    let menu =
        rtftp(here.path()).arg(&remote).write_stdin(format!("upload mine {long}\n")).assert();
    menu.code(2).stderr(contains(why));
}

#[test]
fn each_help_has_examples_and_says_what_the_exit_status_of_several_is() {
    let here = folder(&[]);
    for command in
        [&["--help"][..], &["get", "-h"], &["put", "-h"], &["list", "-h"], &["bench", "-h"]]
    {
        let help = rtftp(here.path()).args(command).assert().success();
        help.stdout(contains("Examples:\n  rtftp ").and(contains("RTFTP_")));
    }
    let several = "Of several files all are tried, and the first that failed decides.";
    for command in ["get", "put", "list"] {
        let help = rtftp(here.path()).args([command, "--help"]).assert().success();
        help.stdout(contains(several));
    }
    rtftpd().arg("--help").assert().success().stdout(contains("Examples:\n  rtftpd "));
}

#[test]
fn the_time_that_all_may_take_is_kept_through_several_files_and_a_pipe_that_gives_nothing() {
    let here = folder(&[]);
    let silent = Scripted::new(|_| Vec::new());
    let began = Instant::now();
    let get = ["get", &silent.remote(), "a", "b", "c", "--max-time", "0.4"];
    rtftp(here.path()).args(get).assert().code(3).stderr(contains("--max-time gives is over"));
    assert!(began.elapsed() < Duration::from_secs(5), "one after the other would take longer");
    // The server waits for a block that the pipe does not give.
    let server = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![ack(0)],
        _ => Vec::new(),
    });
    let mut put = started(&["put", "-", &server.remote(), "x", "--max-time", "0.4"], here.path());
    let pipe = put.stdin.take();
    let output = child::said_within(common::DEADLINE, put).expect("its end");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    drop(pipe);
    hears_error_0(&server);
}

fn started(words: &[&str], here: &Path) -> Child {
    // Whoever runs the tests by nohup, or in the background of a script, has their programs ignore signals.
    let mut rtftp = Command::new("env");
    rtftp.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_rtftp")]);
    rtftp.args(words).current_dir(here).process_group(0);
    let piped = rtftp.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("rtftp")
}

fn hears_error_0(server: &Scripted) {
    until("the server hears an ERROR 0", || {
        server.heard().iter().any(|packet| packet.starts_with("ERROR 0 ")).then_some(())
    });
}

/// A server whose transfers come to a stop in the middle.
fn halfway() -> Scripted {
    Scripted::new(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::Write => vec![ack(0)],
        Packet::Request(_) => vec![data(1, &[7; 512])],
        _ => Vec::new(),
    })
}

#[test]
fn a_signal_ends_it_as_any_program_and_the_server_is_told() {
    let here = folder(&[("mine", &pattern(5000, 1)), ("b", b"other")]);
    let cases: [(&[&str], &str, &[u8]); 9] = [
        (&["get", "HOST", "a", "b"], "ACK 1", b""),
        (&["put", "mine", "b", "HOST"], "DATA 1 512", b""),
        (&["get", "HOST", "a", "-o", "-", "--json"], "ACK 1", b""),
        (&["put", "mine", "HOST"], "DATA 1 512", b""),
        // It waits for its pipe.
        (&["put", "-", "HOST", "x"], "DATA 1 512", &[7; 600]),
        (&["list", "HOST"], "ACK 1", b""),
        (&["HOST"], "ACK 1", b"download a\ndownload b\n"),
        (&["HOST"], "ACK 1", b"download a b c\n"),
        (&["HOST"], "DATA 1 512", b"upload mine b\n"),
    ];
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for (words, far, typed) in cases {
            let server = halfway();
            let remote = server.remote();
            let words: Vec<_> =
                words.iter().map(|word| if *word == "HOST" { &remote } else { *word }).collect();
            let mut child = started(&words, here.path());
            let mut pipe = child.stdin.take().expect("a pipe");
            pipe.write_all(typed).expect("written");
            server.hears_at_last(far);
            kill(Pid::from_raw(child.id().cast_signed()), signal).expect("sent");
            let output = child::said_within(common::DEADLINE, child).expect("its end");
            assert_eq!(output.status.signal(), Some(signal as i32), "{words:?}: {output:?}");
            hears_error_0(&server);
            let requests = server.end();
            let after = requests.iter().any(|(_, packet)| packet.contains("\"b\""));
            assert!(!after, "{words:?}: nothing more is asked for: {requests:?}");
            let told = String::from_utf8_lossy(&output.stderr);
            let lines = told.lines().filter(|line| line.starts_with("rtftp: ")).count();
            assert_eq!(lines, 1, "{words:?}: nothing more is tried: {told}");
        }
    }
    assert_eq!(everything_in(here.path()), ["b", "mine"], "nothing is left of what was cut off");
}

#[test]
fn a_pipe_that_takes_no_more_holds_up_no_signal() {
    let here = folder(&[]);
    let server = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![data(1, &[7; 512])],
        Packet::Ack { block } => vec![data(block.0 + 1, &[7; 512])],
        _ => Vec::new(),
    });
    let get = started(&["get", &server.remote(), "a", "--no-options", "-o", "-"], here.path());
    // Nobody reads the pipe, which is all but full.
    server.hears_at_last("ACK 120");
    kill(Pid::from_raw(get.id().cast_signed()), Signal::SIGINT).expect("sent");
    hears_error_0(&server);
    let output = child::said_within(common::DEADLINE, get).expect("its end");
    assert_eq!(output.status.signal(), Some(Signal::SIGINT as i32), "{:?}", output.status);
}

#[test]
fn what_failed_is_named_as_it_can_be_typed_again() {
    let (root, here) = (folder(&[]), folder(&[]));
    let server = Daemon::serve(root.path(), &[]);
    let url = format!("tftp://{}/no%25%20such", server.address);
    let get = rtftp(here.path()).args(["get", &url]).assert().code(4);
    get.stderr(contains(format!("rtftp: get {url}: ")));
}
