//! Somebody sets the machine's clock while files travel: no transfer ends for it, none waits for it, and nothing is
//! sent again. The clock of this machine stays as it is: `faketime` shows `rtftpd` another one.

mod common;

use common::{Daemon, ack, child, folder, pattern, rrq, show, wrq};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// What somebody sets the clock to: on, back, and to a time at which it then stands still.
const STEPS: [&str; 4] = ["+400d", "-400d", "+0", "2031-05-06 07:08:09"];

/// The clock that a server sees.
struct Wall(TempDir);

impl Wall {
    fn new() -> Self {
        let wall = Self(folder(&[]));
        wall.set("+0");
        wall
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    /// In one step, for the server looks at any time.
    fn set(&self, to: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, to).expect("a file");
        std::fs::rename(next, self.file()).expect("renamed");
    }

    fn serve(&self, root: &TempDir, arguments: &[&str]) -> Daemon {
        // Only the program knows where its library is; but it would stand between us and the server.
        let mut asked = Command::new("faketime");
        let asked = child::output(asked.args(["-f", "+0", "printenv", "LD_PRELOAD"]));
        let library = String::from_utf8(asked.stdout).expect("a path");
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", "127.0.0.1:0", "--uploads", "create"]);
        command.args(arguments).env("LD_PRELOAD", library.trim());
        // What the clock is set to is the time here; the log has that of everywhere.
        command.env("TZ", "UTC0");
        command.env("FAKETIME_TIMESTAMP_FILE", self.file()).env("FAKETIME_NO_CACHE", "1");
        Daemon::spawn(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }
}

#[test]
fn a_clock_that_is_set_makes_no_transfer_repeat_or_end() {
    // Where this machine is busy for 10 ms a probe leaves; what a step of the clock made leave would leave each time.
    assert!((0..5).any(|_| nothing_is_sent_again_when_it_is_set()));
}

/// Whether nothing was sent again, by transfers that are whole.
fn nothing_is_sent_again_when_it_is_set() -> bool {
    let bytes = pattern(5 * 512 + 100, 1);
    let (root, wall) = (folder(&[("file", &bytes)]), Wall::new());
    let patient = ["--first-interval", "3000", "--intervals", "3000", "3000", "--patience", "3600"];
    let daemon = wall.serve(&root, &patient);
    let (reader, writer) = (daemon.peer(), daemon.peer());
    let (first, reading) = reader.answer(&rrq("file", &[]));
    let (_, writing) = writer.answer(&wrq("new", &[]));
    let (mut read, mut is_quiet) = (first[4..].to_vec(), true);
    for (step, block) in STEPS.into_iter().zip(1..) {
        wall.set(step);
        // Whoever asks now has looked at the clock.
        assert_eq!(daemon.peer().fetch(&rrq("file", &[])), Ok(bytes.clone()), "{step}");
        let wanted = format!("DATA {} 512", block + 1);
        read.extend_from_slice(&reader.exchange(&ack(block), reading, &wanted)[4..]);
        let payload = &bytes[usize::from(block - 1) * 512..][..512];
        writer.exchange(&common::data(block, payload), writing, &format!("ACK {block}"));
        is_quiet &= reader.pending().is_empty() && writer.pending().is_empty();
    }
    read.extend_from_slice(&reader.exchange(&ack(5), reading, "DATA 6 100")[4..]);
    reader.send(&ack(6), reading);
    writer.store_rest(writing, 5, &bytes[4 * 512..]).expect("it is stored");
    assert!(read == bytes);
    assert!(std::fs::read(root.path().join("new")).expect("a file") == bytes);
    let line = daemon.log_line(&[&format!("peer={} ", reader.address()), "complete"]);
    assert!(line.starts_with("2031-05-06T07:08:09"), "the server has not seen it: {line}");
    is_quiet && line.contains("retransmitted=0")
}

#[test]
fn a_clock_that_is_set_keeps_no_transfer_of_a_silent_client() {
    let (root, wall) = (folder(&[("file", &pattern(5000, 1))]), Wall::new());
    let impatient =
        ["--intervals", "0.02", "0.05", "--first-interval", "0.02", "--patience", "0.5"];
    let daemon = wall.serve(&root, &impatient);
    for step in STEPS {
        let peer = daemon.peer();
        let (first, tid) = peer.answer(&rrq("file", &[]));
        assert_eq!(show(&first), "DATA 1 512");
        peer.exchange(&ack(1), tid, "DATA 2 512");
        wall.set(step);
        peer.wanted(tid, "DATA 2 512");
        daemon.log_line(&[&format!("peer={} ", peer.address()), "silent"]);
    }
}
