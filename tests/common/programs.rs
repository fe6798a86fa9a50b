//! Our two programs as a person or a script starts them, and servers that do what a script says.
#![allow(dead_code)] // Each test program uses a part of it.

use crate::common::{LONGEST_RUN, receive};
use assert_cmd::Command;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use tftpkit::wire::{Packet, WireBlock};

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

/// A server that reacts to each datagram as `react` says, until it says that it closes its port.
pub(crate) fn scripted(
    mut react: impl FnMut(&Packet<'_>) -> Option<Vec<Vec<u8>>> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((len, peer)) = receive(&socket, &mut buffer) {
            let packet = Packet::parse(&buffer[..len]).expect("our client sends packets");
            let Some(answers) = react(&packet) else { return };
            for answer in answers {
                socket.send_to(&answer, peer).expect("sent");
            }
        }
    });
    (address, thread)
}

pub(crate) fn error(code: u16, text: &str) -> Vec<u8> {
    Packet::Error { code: code.into(), message: text.as_bytes() }.to_vec()
}

pub(crate) fn ack(block: u16) -> Vec<u8> {
    Packet::Ack { block: WireBlock(block) }.to_vec()
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
