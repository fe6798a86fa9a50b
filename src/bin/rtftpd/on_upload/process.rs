//! The process that runs the command, what it is told and tells, and the process that becomes the command.

use crate::apart::{Owner, THIS, begin, shell};
use crate::descriptors;
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};
use tftpkit::limits;

/// The names of both processes.
pub(crate) const COMMANDS: &str = "rtftpd-commands";
pub(crate) const COMMAND: &str = "rtftpd-command";

/// Two paths, as the numbers of their bytes, and the rest of a message.
const MESSAGE_BYTES: usize = 64 << 10;

/// So much of what a command writes to its standard error is kept: the end.
const STDERR_BYTES: usize = 1 << 10;

/// What a command is told of an upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) name: Vec<u8>,
    pub(super) folder: Vec<u8>,
    pub(super) peer: String,
    pub(super) size: u64,
}

/// How a command ended, and the last of what it wrote to its standard error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) exit: Exit,
    pub(super) stderr: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Exit {
    Exited(i32),
    Killed(i32),
    Late,
    NotStarted,
}

/// A channel whose messages are whole.
pub(super) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(socketpair(AddressFamily::UNIX, kind, flags, None)?)
}

/// Starts the process that runs `command`, which has so much time.
pub(super) fn start(command: &str, within: Duration, owner: Owner<'_>) -> io::Result<OwnedFd> {
    let (ours, theirs) = channel()?;
    owner.start(COMMANDS, Stdio::from(theirs), |part| {
        part.arg(command).arg(within.as_millis().to_string());
    })?;
    Ok(ours)
}

/// Tells the process about an upload, and how it can be read; it answers there.
pub(super) fn handed_over(
    process: &OwnedFd,
    about: &About,
    answer: &OwnedFd,
    file: &File,
) -> io::Result<()> {
    let message = serde_json::to_vec(about)?;
    // A process that takes nothing any more is not waited for.
    let flags = SendFlags::DONTWAIT;
    descriptors::send(process, &message, &[answer.as_fd(), file.as_fd()], flags)
}

/// Whether the process is gone. Its end of this channel may be closed a moment after others.
pub(super) fn is_gone(process: &OwnedFd) -> bool {
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let closed = poll(&mut [PollFd::new(process, PollFlags::empty())], Some(&MOMENT));
    closed.is_ok_and(|closed| closed > 0)
}

/// What the process says, if it does so in this time; nothing where it closes the channel without a word.
pub(super) fn heard(channel: &OwnedFd, within: Duration) -> io::Result<Option<Told>> {
    set_socket_timeout(channel, Timeout::Recv, Some(within))?;
    let mut message = vec![0; MESSAGE_BYTES];
    let received = loop {
        match recv(channel, &mut *message, RecvFlags::empty()) {
            // As after the server itself was stopped for a while.
            Err(Errno::INTR) => {}
            received => break received,
        }
    };
    match received {
        Ok((0, _)) => Ok(None),
        Ok((len, _)) => Ok(Some(serde_json::from_slice(&message[..len])?)),
        Err(Errno::AGAIN) => Err(io::Error::other("the process that runs it does not answer")),
        // It was gone before it took what it was told.
        Err(Errno::CONNRESET) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says how a command ended to whoever waits for that.
fn tell(answer: &OwnedFd, told: &Told) {
    if let Ok(told) = serde_json::to_vec(told) {
        let _ = send(answer, &told, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

fn not_started(why: &dyn Display) -> Told {
    Told { exit: Exit::NotStarted, stderr: why.to_string().into_bytes() }
}

/// Runs the command for each upload that the server tells of, until the server is gone; then none is left. Where this process
/// lacks something for one of them, that one is refused.
pub(crate) fn run_all(words: &[String]) -> Result<()> {
    begin(c"rtftpd-commands")?;
    let [text, within] = words else { anyhow::bail!("it is started by rtftpd alone") };
    let within = Duration::from_millis(within.parse()?);
    let server = io::stdin().as_fd().try_clone_to_owned()?;
    // The server waits for turns; one that makes no sense any more starts no more than this. A turn is over a moment before
    // its thread is.
    let (running, most) = (AtomicUsize::new(0), 2 * limits::UPLOAD_COMMANDS);
    let mut message = vec![0; MESSAGE_BYTES];
    std::thread::scope(|scope| {
        loop {
            let (len, came) = descriptors::receive(&server, &mut message)?;
            if len == 0 {
                return Ok(());
            }
            let mut came = came.into_iter();
            // Without it nobody can be told; the server sees that it is closed.
            let Some(answer) = came.next().map(Arc::new) else { continue };
            let Some(file) = came.next() else {
                tell(&answer, &not_started(&"no descriptor for the file"));
                continue;
            };
            let about: About = match serde_json::from_slice(&message[..len]) {
                Ok(about) => about,
                Err(error) => {
                    tell(&answer, &not_started(&error));
                    continue;
                }
            };
            if running.load(Ordering::Relaxed) >= most {
                tell(&answer, &not_started(&"as many run as may"));
                continue;
            }
            running.fetch_add(1, Ordering::Relaxed);
            let (server, running, watched) = (&server, &running, Arc::clone(&answer));
            let run = move || {
                let told = run(text, within, &about, file, [server, &watched]);
                if let Some(told) = told.unwrap_or_else(|error| Some(not_started(&error))) {
                    tell(&watched, &told);
                }
                running.fetch_sub(1, Ordering::Relaxed);
            };
            if let Err(error) = Builder::new().spawn_scoped(scope, run) {
                running.fetch_sub(1, Ordering::Relaxed);
                tell(&answer, &not_started(&error));
            }
        }
    })
}

/// Runs the command once; nothing is told where one of `watched` is closed meanwhile. It leaves no process behind.
fn run(
    text: &str,
    within: Duration,
    about: &About,
    file: OwnedFd,
    watched: [&OwnedFd; 2],
) -> io::Result<Option<Told>> {
    let mut process = Command::new(THIS);
    process.arg0(COMMAND).arg(text).process_group(0);
    process.env("RTFTPD_NAME", OsStr::from_bytes(&about.name));
    process.env("RTFTPD_FOLDER", OsStr::from_bytes(&about.folder));
    process.env("RTFTPD_PEER", &about.peer).env("RTFTPD_SIZE", about.size.to_string());
    process.stdin(Stdio::from(file)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = process.spawn()?;
    let group = Pid::from_child(&child);
    let mut stderr = Stderr::of(child.stderr.take());
    let until = Instant::now() + within;
    let ended = pidfd_open(group, PidfdFlags::empty())
        .and_then(|ends| watch(&ends, watched, &mut stderr, until));
    // Before it is waited for, or its number may be another's.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    stderr.read();
    let exit = match ended? {
        Ended::Unwanted => return Ok(None),
        Ended::Late => Exit::Late,
        Ended::Itself => status
            .code()
            .map_or_else(|| Exit::Killed(status.signal().unwrap_or_default()), Exit::Exited),
    };
    Ok(Some(Told { exit, stderr: stderr.end }))
}

/// Why a command is over.
enum Ended {
    Itself,
    Late,
    /// Nobody waits for it any more.
    Unwanted,
}

fn watch(
    ends: &OwnedFd,
    watched: [&OwnedFd; 2],
    stderr: &mut Stderr,
    until: Instant,
) -> rustix::io::Result<Ended> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Ended::Late);
        }
        let mut polled = vec![PollFd::new(ends, PollFlags::IN)];
        polled.extend(watched.iter().map(|closed| PollFd::new(*closed, PollFlags::empty())));
        polled.extend(stderr.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut polled, Some(&left)) {
            Err(Errno::INTR) => continue,
            done => done?,
        };
        let seen: Vec<_> = polled.iter().map(|it| !it.revents().is_empty()).collect();
        drop(polled);
        if seen[1] || seen[2] {
            return Ok(Ended::Unwanted);
        }
        if seen[0] {
            return Ok(Ended::Itself);
        }
        stderr.read();
    }
}

/// What a command writes to its standard error.
struct Stderr {
    /// There until it is closed.
    pipe: Option<ChildStderr>,
    end: Vec<u8>,
}

impl Stderr {
    fn of(pipe: Option<ChildStderr>) -> Self {
        // One that could make this wait is not read.
        let is_ready = |pipe: &ChildStderr| {
            let flags = fcntl_getfl(pipe);
            flags.and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK)).is_ok()
        };
        Self { pipe: pipe.filter(is_ready), end: Vec::new() }
    }

    /// Reads what is there, as far as a pipe holds it.
    fn read(&mut self) {
        let mut buffer = [0; 64 << 10];
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
            Some(Ok(len @ 1..)) => {
                self.end.extend_from_slice(&buffer[..len]);
                self.end.drain(..self.end.len().saturating_sub(STDERR_BYTES));
            }
            Some(Err(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => self.pipe = None,
        }
    }
}

/// Becomes the command. It dies with who runs it, and its file has a path for as long as it lives.
pub(crate) fn run_one(words: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ensure!(rustix::process::getppid().is_some_and(|pid| !pid.is_init()), "its parent is gone");
    let [text] = words else { anyhow::bail!("it is started by rtftpd alone") };
    // A script has other uses for its standard input, and for the numbers behind it.
    const NUMBER: i32 = 99;
    let file = fcntl_dupfd_cloexec(io::stdin(), NUMBER).context("no descriptor for the file")?;
    fcntl_setfd(&file, FdFlags::empty())?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Err(shell(text)?.env("RTFTPD_PATH", path).exec()).context("cannot start /bin/sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_command_writes_to_its_standard_error_the_end_is_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf %05000d 0 >&2; echo last words >&2"]).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut stderr = Stderr::of(child.stderr.take());
        child.wait().expect("it ends");
        while stderr.pipe.is_some() {
            stderr.read();
        }
        let end = String::from_utf8_lossy(&stderr.end);
        assert_eq!(end.len(), STDERR_BYTES);
        assert!(end.ends_with("0last words\n"), "it says why it refuses with its last: {end}");
    }
}
