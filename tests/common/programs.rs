//! Our two programs as a person or a script starts them.
#![allow(dead_code)] // Each test program uses a part of it.

use crate::common::{DEADLINE, LONGEST_RUN, child, within};
use assert_cmd::Command;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{TryRecvError, channel};

/// A host that there is not, and that no resolver is asked for: its one label is longer than the 63 letters that a label
/// may have (RFC 1035), so that the request cannot be written.
pub(crate) const NO_HOST: &str = "a-label-of-64-letters-is-sent-by-no-resolver-xxxxxxxxxxxxxxxxxxx";

pub(crate) fn rtftp(here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtftp"));
    command.current_dir(here).timeout(LONGEST_RUN);
    command
}

pub(crate) fn rtftpd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtftpd"));
    command.timeout(LONGEST_RUN);
    command
}

/// Runs a line of shell in which `$rtftp` is our client and `$server` the server.
pub(crate) fn shell(here: &Path, server: &str, line: &str) -> std::process::Output {
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", line]).current_dir(here).env("server", server);
    child::output_within(LONGEST_RUN, bash.env("rtftp", env!("CARGO_BIN_EXE_rtftp")))
}

/// Runs `command` on a terminal that `script` makes, and types a line at each prompt, as a person would.
pub(crate) fn on_a_terminal(here: &Path, command: &str, lines: &[&str]) -> String {
    let mut script = std::process::Command::new("script");
    script.args(["-qec", command, "/dev/null"]).current_dir(here).env("TERM", "xterm");
    script.env("XDG_STATE_HOME", here.join("state"));
    let piped = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = piped.spawn().expect("script, of util-linux");
    let (keys, mut out) = (script.stdin.take(), script.stdout.take().expect("a pipe"));
    let (mut keys, mut lines) = (keys.expect("a pipe"), lines.iter());
    let (tell, shown) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = out.read(&mut buffer) {
            let _ = tell.send(String::from_utf8_lossy(&buffer[..len]).into_owned());
        }
    });
    let (mut screen, mut prompts) = (String::new(), 0);
    loop {
        let more = within(DEADLINE, || match shown.try_recv() {
            Ok(more) => Some(Some(more)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(None),
        });
        let Some(more) = more else {
            let _ = script.kill();
            panic!("nothing more comes on the terminal:\n{screen}");
        };
        let Some(more) = more else { break };
        screen += &more;
        // The prompt is drawn anew with each key; on a new line it waits for one.
        let seen = screen.matches("\x1b[?2004h").count();
        while prompts < seen {
            prompts += 1;
            // Several lines may have been typed at once.
            let line = lines.next().map_or(&[][..], |line| line.as_bytes());
            keys.write_all(line).expect("typed");
        }
    }
    assert!(child::end("script", &mut script).success(), "{screen}");
    screen
}
