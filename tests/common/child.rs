//! Processes that end within seconds, or are ended with all that they have started.
#![allow(dead_code)] // Each test program uses a part of it.

use super::wait::{DEADLINE, until, within};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How a child ended.
#[track_caller]
pub(crate) fn end(what: &str, child: &mut Child) -> ExitStatus {
    until(&format!("{what} ends"), || child.try_wait().expect("a child"))
}

/// The lines that come out of a pipe.
pub(crate) fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    let lines = BufReader::new(pipe).lines().map_while(Result::ok);
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
    told
}

/// Starts `command`, in a process group of its own, with nothing to read and its output in pipes.
pub(crate) fn started(command: &mut Command) -> Child {
    started_on(command, Stdio::null())
}

/// The same with another standard input.
pub(crate) fn started_on(command: &mut Command, stdin: Stdio) -> Child {
    let piped = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.process_group(0).spawn();
    child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Runs `command` to its end, and gives what it said.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    output_within(DEADLINE, command)
}

/// The same where it may take longer or has to be sooner.
#[track_caller]
pub(crate) fn output_within(most: Duration, command: &mut Command) -> Output {
    match said_within(most, started(command)) {
        Ok(output) => output,
        Err(said) => panic!("{command:?} does not end; it said:\n{}", text(&said)),
    }
}

/// Waits for the end of a child, and gives all that it said; what it said so far where it has to be killed.
pub(crate) fn said_within(most: Duration, mut child: Child) -> Result<Output, Output> {
    fn all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut all));
            all
        })
    }
    let pipes = (all(child.stdout.take()), all(child.stderr.take()));
    // Whoever else has them may still write when the child has ended.
    let ended = within(most, || {
        let status = child.try_wait().expect("a child");
        status.filter(|_| pipes.0.is_finished() && pipes.1.is_finished())
    });
    let status = ended.unwrap_or_else(|| {
        let group = Pid::from_raw(child.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.kill();
        child.wait().expect("a child")
    });
    let [stdout, stderr] =
        [pipes.0, pipes.1].map(|pipe| super::wait::joined("the end of a pipe", pipe));
    let output = Output { status, stdout, stderr };
    ended.map(|_| output.clone()).ok_or(output)
}

/// Both of what it said.
pub(crate) fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}
