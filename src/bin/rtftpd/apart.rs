//! The parts of the server that are processes of their own, and `--model processes`: who starts the process of each transfer,
//! and what that process does before it begins.
//!
//! A server that has entered its sandbox can start nothing. So it starts one process before, the spawner, which never hears
//! the network: it starts a process for each channel that the server sends it, and kills it when the server closes that.
//! All of them are this program under other names.

use crate::descriptors;
use crate::on_upload;
use crate::sandbox::{Account, Part, enter_spawner, enter_transfer, leave_calls_of_transfer};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SendFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open, set_parent_process_death_signal};
use std::ffi::CStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tftpkit::limits;
use tftpkit::server::{Handle, Spawner, carry};

/// What becomes the command of `--events-to`.
pub(crate) const EVENTS: &str = "rtftpd-events";
const SPAWNER: &str = "rtftpd-spawner";
const TRANSFER: &str = "rtftpd-transfer";
/// Whatever has its name since: it is this very file that is started.
pub(crate) const THIS: &str = "/proc/self/exe";

/// The spawner takes a channel at once, or hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does what a part of the server does that is a process of its own, if it was started as one.
pub(crate) fn run_as_part() -> Option<ExitCode> {
    // No part has any other, and a program's may be anything.
    let mut words = std::env::args_os().map_while(|word| word.into_string().ok());
    let (name, words) = (words.next()?, words.collect::<Vec<_>>());
    let done = match &*name {
        SPAWNER => owned(&words).and_then(spawn_all),
        EVENTS => owned(&words).and_then(run_for_events),
        on_upload::COMMANDS => owned(&words).and_then(on_upload::run_all),
        TRANSFER => transfer(words.first().map_or("", String::as_str)),
        on_upload::COMMAND => on_upload::run_one(&words),
        _ => return None,
    };
    let told = |error| {
        let _ = writeln!(io::stderr(), "{name}: {error:#}");
        ExitCode::FAILURE
    };
    Some(done.map_or_else(told, |()| ExitCode::SUCCESS))
}

/// Whose the parts are that the server starts before it has its sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    /// Who they become. It is done there: who starts a program as somebody else cannot give it all of that one's groups.
    pub(crate) account: Option<&'a Account>,
    /// Whether standard output and standard error are the socket that takes the requests, as inetd has it: that is none of
    /// theirs.
    pub(crate) by_inetd: bool,
}

impl Owner<'_> {
    /// Starts the part of this name with this standard input, and whatever `more` gives it.
    pub(crate) fn start(
        self,
        name: &str,
        stdin: Stdio,
        more: impl FnOnce(&mut Command),
    ) -> io::Result<Child> {
        let mut part = Command::new(THIS);
        // What is for the server's terminal is not for it: it ends when the server has ended.
        part.arg0(name).process_group(0).stdin(stdin).stdout(Stdio::null());
        part.arg(self.account.map_or_else(String::new, Account::to_word));
        more(&mut part);
        if self.by_inetd {
            part.stdout(Stdio::null()).stderr(Stdio::null());
        }
        part.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let why = "there is no /proc, where this program finds itself";
                io::Error::new(ErrorKind::NotFound, why)
            }
            _ => error,
        })
    }
}

/// Becomes who a part is to be that was started by an [`Owner`], and gives its other words.
fn owned(words: &[String]) -> Result<&[String]> {
    let (owner, words) = words.split_first().context("it is started by rtftpd alone")?;
    if !owner.is_empty() {
        let account = Account::of_word(owner).context("it is started by rtftpd alone")?;
        account.r#become().context("it cannot become who serves")?;
    }
    Ok(words)
}

/// The shell that this process is to become for a command of the operator's. Signals mean to it what they do to any other.
pub(crate) fn shell(text: &str) -> Result<Command> {
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", text]);
    Ok(shell)
}

fn run_for_events(words: &[String]) -> Result<()> {
    let [text] = words else { bail!("it is started by rtftpd alone") };
    Err(shell(text)?.exec()).context("cannot start /bin/sh")
}

/// The way to the spawner.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    spawner: Arc<UnixStream>,
    is_lost: Arc<AtomicBool>,
}

/// Who the processes are, and how many.
pub(crate) struct Wanted<'a> {
    pub(crate) owner: Owner<'a>,
    /// The parts of the sandbox that hold in them.
    pub(crate) parts: &'a [Part],
    pub(crate) most: usize,
}

impl Processes {
    /// Starts the spawner.
    pub(crate) fn prepare(wanted: &Wanted<'_>) -> Result<Self> {
        let Wanted { owner, parts, most } = *wanted;
        let what = "cannot start the process that starts those of --model processes";
        let (ours, theirs) = UnixStream::pair().context(what)?;
        let names = parts.iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = names.map(|part| part.get_name().to_owned()).collect();
        let most = most.saturating_add(limits::PROCESSES_ENDING).to_string();
        let started = owner.start(SPAWNER, Stdio::from(OwnedFd::from(theirs)), |part| {
            part.args([names.join(","), most]).env_clear();
        });
        started.context(what)?;
        ours.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { spawner: Arc::new(ours), is_lost: Arc::default() })
    }

    /// Ends the server when the spawner has ended, which can be started no more: who started the server can.
    pub(crate) fn watch(&self, server: Handle) -> Result<()> {
        let Self { spawner, is_lost } = self.clone();
        let watch = move || {
            while (&*spawner).read(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::Interrupted) {}
            is_lost.store(true, Ordering::Relaxed);
            server.drain(Duration::ZERO);
        };
        let thread = std::thread::Builder::new().name("spawner".into()).spawn(watch);
        thread.map(drop).context("cannot start a thread")
    }

    /// An error where the server ended for want of its spawner.
    pub(crate) fn ended(&self) -> Result<()> {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        ensure!(
            !is_lost,
            "the process is gone that starts those of --model processes: start the server again"
        );
        Ok(())
    }
}

impl Spawner for Processes {
    fn start(&self, channel: OwnedFd) -> io::Result<()> {
        descriptors::send(&*self.spawner, &[0], &[channel.as_fd()], SendFlags::empty())
    }
}

fn parts_of(names: &str) -> Vec<Part> {
    names.split(',').filter_map(|name| Part::from_str(name, false).ok()).collect()
}

/// Takes its name. Who stops the server lets its transfers go on for a while: the end of a part is the server's to say.
pub(crate) fn begin(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name)?;
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|it| signals.add(it));
    signals.thread_block().context("cannot block signals")
}

/// A process with its end of the channel, which shows when the server has closed the other.
struct Started {
    child: Child,
    ends: OwnedFd,
    channel: OwnedFd,
}

impl Started {
    fn with(channel: OwnedFd, parts: &str) -> Result<Self> {
        let mut command = Command::new(THIS);
        command.arg0(TRANSFER).arg(parts).stdin(Stdio::from(channel.try_clone()?));
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ends) => Ok(Self { child, ends, channel }),
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(error).context("cannot watch a process")
            }
        }
    }
}

fn spawn_all(words: &[String]) -> Result<()> {
    let [parts, most] = words else { bail!("it is started by rtftpd alone") };
    let most = most.parse()?;
    begin(c"rtftpd-spawner")?;
    enter_spawner(&parts_of(parts))?;
    let server = io::stdin().as_fd().try_clone_to_owned()?;
    let mut started: Vec<Started> = Vec::new();
    loop {
        let mut watched = vec![PollFd::new(&server, PollFlags::IN)];
        for Started { ends, channel, .. } in &started {
            watched.push(PollFd::new(ends, PollFlags::IN));
            watched.push(PollFd::new(channel, PollFlags::empty()));
        }
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            done => done?,
        };
        let seen: Vec<_> = watched.iter().map(|it| !it.revents().is_empty()).collect();
        drop(watched);
        let mut of_each = seen[1..].chunks(2);
        started.retain_mut(|one| {
            let over = of_each.next().is_some_and(|seen| seen.contains(&true));
            if over {
                // One that has ended cannot be killed, and is still waited for.
                let _ = one.child.kill();
                let _ = one.child.wait();
            }
            !over
        });
        if seen[0] {
            let (len, channels) = descriptors::receive(&server, &mut [0])?;
            if len == 0 {
                return Ok(());
            }
            // Where there was no descriptor for it, it is closed by now, which tells the server.
            let Some(channel) = channels.into_iter().next() else { continue };
            // A server that was taken over starts no more than one that was not.
            let one = if started.len() < most {
                Started::with(channel, parts)
            } else {
                Err(anyhow!("too many"))
            };
            match one {
                Ok(one) => started.push(one),
                // The channel is closed, which tells the server.
                Err(error) => {
                    let _ = writeln!(io::stderr(), "rtftpd: cannot start a process: {error:#}");
                }
            }
        }
    }
}

fn transfer(parts: &str) -> Result<()> {
    begin(c"rtftpd-transfer")?;
    // It dies with the spawner, which dies with the server.
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    ensure!(rustix::process::getppid().is_some_and(|pid| !pid.is_init()), "the spawner is gone");
    let parts = parts_of(parts);
    enter_transfer(&parts)?;
    match carry(channel, || leave_calls_of_transfer(&parts)) {
        // The server is gone, or no longer wants to know.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot go on"),
    }
}
