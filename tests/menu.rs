//! The menu of `rtftp`, in a pipe and at a terminal.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::{Daemon, Scripted, child, data, error, everything_in, folder};
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use programs::{on_a_terminal, rtftp};
use tftpkit::wire::{Operation, Packet};

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
    let server = Scripted::new(|packet| match packet {
        Packet::Request(request) if request.operation == Operation::List => {
            vec![error(4, "illegal TFTP operation")]
        }
        Packet::Request(request) if request.name == b"a" => vec![data(1, b"here")],
        Packet::Request(_) => vec![error(1, "file not found")],
        _ => Vec::new(),
    });
    let menu = rtftp(here.path()).arg(server.remote()).write_stdin("list\nd a\n").assert();
    menu.code(7).stderr(contains("cannot list").and(contains("download NAME")));
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
    let history = std::fs::read_to_string(here.path().join("state/rtftp/history"));
    assert!(history.expect("a history").contains("download welcome.txt"));
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
fn numbers_and_names_mean_the_list_on_the_screen() {
    let root = folder(&[("7", b"of the root"), ("sub/7", b"seven"), ("sub/+2", b"plus")]);
    std::fs::write(root.path().join("sub/z"), b"last").expect("a file");
    let here = folder(&[("mine", b"four")]);
    let server = Daemon::serve(root.path(), &["--uploads", "create"]);
    let lines = "list sub\nd 7 a\nd +2 b\nupload mine sub/\nd 3 c\nd z d\nlist ..\nd 7 e\n";
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
