//! `rtftp`: its exit status, and words that mean something else than they say.

use crate::common::apart::namespaces;
use crate::common::{
    Daemon, Running, Scripted, ack, child, closed, data, error, everything_in, folder, pattern,
};
use crate::help::{commands, exit_codes, help};
use crate::programs::rtftp;
use crate::rtftp::few;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use std::collections::BTreeSet;
use tftpkit::store::{Readable, Uploads};
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
    let (root, here) = (folder(&[("a", b"few"), ("dir/b", b"")]), folder(&[("mine", b"few")]));
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let remote = server.address.to_string();
    let cases: [(&[&str], &str, i32); 6] = [
        (&["get", &remote, "missing", "dir", "a"], "", 4),
        (&["get", &remote, "dir", "missing", "a"], "", 5),
        (&["put", "absent", "/dev", "mine", &remote], "", 1),
        (&["put", "mine", "absent", &remote], "", 5),
        (&[&remote], "download dir\nbogus\ndownload missing\ndownload a again\n", 5),
        (&[&remote], "bogus\ndownload dir\nquit\n", 2),
    ];
    for (words, typed, code) in cases {
        let run = rtftp(here.path()).args(words).write_stdin(typed).assert();
        run.code(code);
    }
    assert_eq!(everything_in(here.path()), ["a", "again", "mine"]);
    assert_eq!(everything_in(root.path()), ["a", "dir", "mine"]);
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
        run.stdout("few").stderr(contains("\"operation\":\"get\""));
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
