//! The examples do what they say.

mod common;
#[path = "common/example.rs"]
mod example;

use assert_cmd::Command;
use common::{DEADLINE, Running, folder, pattern};
use example::{Serving, example};
use predicates::str::{ends_with, starts_with};
use std::path::Path;
use tftpkit::client::{Client, Failure};
use tftpkit::wire::ErrorCode;

fn run(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(example(name));
    command.args(arguments).timeout(DEADLINE);
    command
}

fn code(failure: Result<Vec<u8>, Failure>) -> ErrorCode {
    match failure {
        Err(Failure::Server { code, .. }) => code,
        other => panic!("no ERROR: {other:?}"),
    }
}

#[test]
fn every_example_says_how_it_is_run_and_is_tried_here() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let found = common::everything_in(&examples);
    assert_eq!(found, ["by_hand.rs", "fetch.rs", "generated.rs", "serve.rs"]);
    for file in found {
        let text = std::fs::read_to_string(examples.join(&file)).expect("an example");
        let command = format!("cargo run --example {}", file.trim_end_matches(".rs"));
        assert!(text.starts_with("//! ") && text.contains(&command), "{file}: {command}");
    }
}

#[test]
fn serve_serves_a_folder_tells_of_it_and_stops_in_order() {
    let root = folder(&[("a.cfg", b"hostname a\n")]);
    let serving = Serving::start("serve", &[root.path().to_str().expect("a path"), "0"]);
    let client = Client::new(serving.address);
    assert_eq!(client.read("a.cfg").expect("the file"), b"hostname a\n");
    serving.says("started: RRQ \"a.cfg\" octet");
    serving.says("complete, 11 bytes: RRQ \"a.cfg\"");
    assert_eq!(code(client.read("b.cfg")), ErrorCode::NotFound);
    serving.says("refused: RRQ \"b.cfg\"");
    serving.stop();
}

#[test]
fn fetch_makes_a_file_or_writes_to_standard_output() {
    let image = pattern(70_001, 1);
    let (root, here) = (folder(&[("boot/image", &image)]), folder(&[]));
    let server = Running::serve(root.path());
    let host = server.address.to_string();

    let fetched = run("fetch", &[&host, "boot/image", "image"]).current_dir(&here).assert();
    let told = String::from_utf8(fetched.success().get_output().stderr.clone()).expect("text");
    assert!(told.contains("70001 of 70001 bytes in "), "{told}");
    assert_eq!(std::fs::read(here.path().join("image")).expect("the file"), image);

    let shown = run("fetch", &[&host, "boot/image", "-"]).assert().success();
    assert_eq!(shown.get_output().stdout, image);

    let refused = run("fetch", &[&host, "nothing", "nothing"]).current_dir(&here).assert();
    refused.code(1).stderr(ends_with("\rthe server says: file not found (code 1)\n"));
    assert_eq!(common::everything_in(here.path()), ["image"]);
    run("fetch", &[]).assert().code(1).stderr(starts_with("usage: "));
}

#[test]
fn generated_makes_a_file_for_each_client() {
    let serving = Serving::start("generated", &["0"]);
    let client = Client::new(serving.address);
    let made = b"# Made for you\nip-address 127.0.0.1\n";
    for name in ["config-for-me.txt", "/config-for-me.txt"] {
        assert_eq!(client.read(name).expect("the file"), made);
        serving.says("complete, 36 bytes: RRQ");
    }
    assert_eq!(code(client.read("everything.txt")), ErrorCode::AccessViolation);
    serving.says("not allowed: nobody gets everything");
    assert_eq!(code(client.read("config-for-you.txt")), ErrorCode::NotFound);
    serving.stop();
}

/// The same dialogue each time, for nothing in it depends on a clock.
#[test]
fn by_hand_shows_a_dialogue_with_losses() {
    let shown = run("by_hand", &[]).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).expect("text");
    let lines: Vec<_> = shown.lines().map(str::trim_start).collect();
    assert_eq!(
        lines[..2],
        [
            "0 ms  client: RRQ \"blink.bin\" octet tsize=0 blksize=1024 windowsize=4",
            "10 ms  server: OACK tsize=5000 blksize=1024 windowsize=4",
        ]
    );
    assert_eq!(lines.iter().filter(|line| line.ends_with(" (lost)")).count(), 2, "{shown}");
    assert_eq!(lines.last(), Some(&"all 5000 bytes arrived"));
}
