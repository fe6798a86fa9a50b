//! The process that runs the command, what it is told and tells, and the process that becomes the command.

use crate::apart::{THIS, begin};
use crate::sandbox::Account;
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tftpkit::limits;

/// The names of both processes.
pub(crate) const COMMANDS: &str = "rtftpd-commands";
pub(crate) const COMMAND: &str = "rtftpd-command";

/// Two paths, as the numbers of their bytes, and the rest of a message.
const MESSAGE_BYTES: usize = 64 << 10;

/// So much of what a command writes to its standard error is kept: the end.
const SAID_BYTES: usize = 1 << 10;

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
    pub(super) how: How,
    pub(super) said: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum How {
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

/// Starts the process that runs `command`, which has so much time, as `account`.
pub(super) fn start(
    command: &str,
    within: Duration,
    account: Option<&Account>,
) -> io::Result<OwnedFd> {
    let (ours, theirs) = channel()?;
    let mut process = Command::new(THIS);
    // What is for the server's terminal is not for it: it ends when the server has ended.
    process.arg0(COMMANDS).arg(command).arg(within.as_millis().to_string()).process_group(0);
    if let Some(account) = account {
        account.runs(&mut process);
    }
    process.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn()?;
    Ok(ours)
}

/// Tells the process about an upload, and how it can be read; it answers there.
pub(super) fn handed_over(
    process: &OwnedFd,
    about: &About,
    answer: &OwnedFd,
    file: &File,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let descriptors = [answer.as_fd(), file.as_fd()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let message = serde_json::to_vec(about)?;
    // A process that takes nothing any more is not waited for.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(process, &[IoSlice::new(&message)], &mut control, flags).map(drop)?)
}

/// What the process says, if it does so in this time; nothing where it is gone.
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

/// What the server tells; nothing where it is gone.
fn next(server: &OwnedFd) -> io::Result<Option<(About, OwnedFd, OwnedFd)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; MESSAGE_BYTES];
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = loop {
        match recvmsg(server, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let came = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(came) => Some(came),
        _ => None,
    });
    let mut came = came.flatten();
    let about = serde_json::from_slice(&message[..received])?;
    let lacks = || io::Error::new(ErrorKind::InvalidData, "a message without descriptors");
    let (answer, file) = (came.next().ok_or_else(lacks)?, came.next().ok_or_else(lacks)?);
    Ok(Some((about, answer, file)))
}

/// Runs the command for each upload that the server tells of, until the server is gone; then none is left.
pub(crate) fn run_all(words: &[String]) -> Result<()> {
    begin(c"rtftpd-commands")?;
    let [text, within] = words else { anyhow::bail!("it is started by rtftpd alone") };
    let within = Duration::from_millis(within.parse()?);
    let server = io::stdin().as_fd().try_clone_to_owned()?;
    // The server waits for turns; one that makes no sense any more starts no more than this. A turn is over a moment before
    // its thread is.
    let (running, most) = (AtomicUsize::new(0), 2 * limits::UPLOAD_COMMANDS);
    std::thread::scope(|scope| {
        while let Some((about, answer, file)) = next(&server)? {
            if running.fetch_add(1, Ordering::Relaxed) >= most {
                running.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (server, running) = (&server, &running);
            scope.spawn(move || {
                let not_started = |error: io::Error| {
                    Some(Told { how: How::NotStarted, said: error.to_string().into_bytes() })
                };
                let watched = [server, &answer];
                let told = run(text, within, &about, file, watched).unwrap_or_else(not_started);
                if let Some(told) = told.and_then(|told| serde_json::to_vec(&told).ok()) {
                    let _ = send(&answer, &told, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Ok(())
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
    let mut said = Said::of(child.stderr.take());
    let until = Instant::now() + within;
    let ended = pidfd_open(group, PidfdFlags::empty())
        .and_then(|ends| watch(&ends, watched, &mut said, until));
    // Before it is waited for, or its number may be another's.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    said.read();
    let how = match ended? {
        Ended::Unwanted => return Ok(None),
        Ended::Late => How::Late,
        Ended::Itself => status
            .code()
            .map_or_else(|| How::Killed(status.signal().unwrap_or_default()), How::Exited),
    };
    Ok(Some(Told { how, said: said.end }))
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
    said: &mut Said,
    until: Instant,
) -> rustix::io::Result<Ended> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Ended::Late);
        }
        let mut polled = vec![PollFd::new(ends, PollFlags::IN)];
        polled.extend(watched.iter().map(|closed| PollFd::new(*closed, PollFlags::empty())));
        polled.extend(said.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
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
        said.read();
    }
}

/// What a command writes to its standard error.
struct Said {
    /// There until it is closed.
    pipe: Option<ChildStderr>,
    end: Vec<u8>,
}

impl Said {
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
                self.end.drain(..self.end.len().saturating_sub(SAID_BYTES));
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
    let mut shell = Command::new("/bin/sh");
    Err(shell.args(["-c", text]).env("RTFTPD_PATH", path).exec()).context("cannot start /bin/sh")
}
