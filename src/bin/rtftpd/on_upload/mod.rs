//! `--on-upload`: a command says whether an upload that is whole may appear.
//!
//! A server that has entered its sandbox can start nothing. So it starts one process before, which never hears the network:
//! it runs the command for each upload that the server tells it of, and kills it when its time is over or the server no
//! longer waits. Whatever goes wrong on the way, the upload is refused.

mod process;
mod turns;

pub(crate) use process::{COMMAND, COMMANDS, run_all, run_one};

use crate::sandbox::Account;
use crate::shown::harmless;
use crate::values::setting;
use anyhow::{Context, Result};
use process::{About, How, Told, channel, handed_over, heard};
use rustix::net::{Shutdown, shutdown};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tftpkit::limits;
use tftpkit::store::WholeUpload;
use tftpkit::transfer::PeerWords;
use turns::{NoTurn, Turns};

#[derive(Debug, clap::Args)]
pub(crate) struct OnUploadArgs {
    /// Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than
    /// 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too;
    /// RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client's address. It runs as
    /// the user that serves, outside the sandbox
    #[arg(long, value_name = "COMMAND", env = "RTFTPD_ON_UPLOAD", value_parser = command)]
    pub(crate) on_upload: Option<String>,

    /// The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is
    /// killed, with all that it started, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds
    #[arg(long, value_name = "TIME", default_value = "5", value_parser = setting, env = "RTFTPD_ON_UPLOAD_WITHIN")]
    pub(crate) on_upload_within: Duration,
}

fn command(text: &str) -> Result<String, String> {
    let is_empty = text.trim().is_empty();
    if is_empty { Err("write a command".into()) } else { Ok(text.into()) }
}

/// A client that waits longer than this for the end of its upload may give up: busybox's does after 13 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that runs commands has so much longer than they have to tell how they ended.
const ANSWER: Duration = Duration::from_secs(2);

/// What a client is told.
const REFUSED: PeerWords = PeerWords("refused by a check of the server");
const BAD_NAME: PeerWords = PeerWords("control characters in the name");
const LATE: PeerWords = PeerWords("the check of the server takes too long");
const UNCHECKED: PeerWords = PeerWords("the server cannot check it now");
const STOPPING: PeerWords = PeerWords("the server is shutting down");

/// Asks the command about uploads.
#[derive(Debug)]
pub(crate) struct OnUpload {
    command: String,
    within: Duration,
    /// The way to the process that runs it, once that is started.
    process: OnceLock<OwnedFd>,
    turns: Turns,
    is_stopping: AtomicBool,
}

impl OnUpload {
    /// Asks the command that these name, if they name one.
    pub(crate) fn of(args: &OnUploadArgs) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            command: args.on_upload.clone()?,
            within: args.on_upload_within,
            process: OnceLock::new(),
            turns: Turns::new(limits::UPLOAD_COMMANDS, limits::UPLOADS_WAITING),
            is_stopping: AtomicBool::new(false),
        }))
    }

    /// What it takes here: the channel of each command, both ends for a moment, and the file to read.
    pub(crate) const DESCRIPTORS: u64 = 1 + 3 * limits::UPLOAD_COMMANDS as u64;

    /// Starts the process that runs the command as `account`.
    pub(crate) fn start(&self, account: Option<&Account>) -> Result<()> {
        if self.within > PATIENCE {
            tracing::warn!(
                "clients may give up before --on-upload-within is over, and never hear how it ended: busybox's after 13 s, \
                 tftp-hpa's after 25"
            );
        }
        let what = "cannot start the process that runs the command of --on-upload";
        let process = process::start(&self.command, self.within, account).context(what)?;
        let _ = self.process.set(process);
        Ok(())
    }

    /// Asks the command about an upload to `folder`. It waits for that.
    pub(crate) fn ask(&self, folder: &Path, upload: &WholeUpload<'_>) -> io::Result<()> {
        let name = upload.path.as_os_str().as_bytes();
        if String::from_utf8_lossy(name).chars().any(char::is_control) {
            let why = "the command of --on-upload is told no name with control characters";
            return Err(BAD_NAME.because(ErrorKind::PermissionDenied, why));
        }
        let about = About {
            name: name.to_owned(),
            folder: std::path::absolute(folder)?.as_os_str().as_bytes().to_owned(),
            peer: upload.peer.ip().to_canonical().to_string(),
            size: upload.size,
        };
        let began = Instant::now();
        let told = {
            let _turn = self.turns.wait(self.within).map_err(|why| self.unasked(why))?;
            self.told(&about, upload)
        };
        let took = began.elapsed();
        if took > PATIENCE {
            let (file, seconds) = (harmless(&upload.path.display().to_string()), took.as_secs());
            tracing::warn!(
                file,
                seconds,
                "the client may have given up while --on-upload was asked"
            );
        }
        self.judge(told)
    }

    /// What the process says of the command.
    fn told(&self, about: &About, upload: &WholeUpload<'_>) -> io::Result<Option<Told>> {
        let process = self.process.get().ok_or(ErrorKind::NotConnected)?;
        let (ours, theirs) = channel()?;
        handed_over(process, about, &theirs, upload.file)?;
        drop(theirs);
        heard(&ours, self.within + ANSWER)
    }

    fn judge(&self, told: io::Result<Option<Told>>) -> io::Result<()> {
        let because = |words: PeerWords, kind, why: String| {
            Err(words.because(kind, format!("--on-upload: {why}")))
        };
        let other = ErrorKind::Other;
        match told {
            Ok(Some(Told { how: How::Exited(0), .. })) => Ok(()),
            Ok(Some(Told { how: How::Exited(status), said })) => {
                let why = format!("exit status {status}{}", shown(&said));
                because(REFUSED, ErrorKind::PermissionDenied, why)
            }
            Ok(Some(Told { how: How::Killed(signal), said })) => {
                let why = format!("killed by signal {signal}{}", shown(&said));
                because(REFUSED, ErrorKind::PermissionDenied, why)
            }
            Ok(Some(Told { how: How::Late, said })) => {
                let why = format!("killed after {} s{}", self.within.as_secs_f64(), shown(&said));
                because(LATE, other, why)
            }
            Ok(Some(Told { how: How::NotStarted, said })) => {
                because(UNCHECKED, other, format!("cannot be started{}", shown(&said)))
            }
            _ if self.is_stopping.load(Ordering::Relaxed) => {
                because(STOPPING, other, "the server stops".into())
            }
            Ok(None) => {
                let why = "the process that runs it is gone: no upload is taken before a restart";
                because(UNCHECKED, other, why.into())
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.judge(Ok(None)),
            Err(error) => because(UNCHECKED, other, format!("cannot be asked: {error}")),
        }
    }

    fn unasked(&self, why: NoTurn) -> io::Error {
        let why = match why {
            NoTurn::TooMany => format!("more than {} uploads wait for it", limits::UPLOADS_WAITING),
            NoTurn::Late => format!("no turn within {} s", self.within.as_secs_f64()),
        };
        UNCHECKED.because(ErrorKind::Other, format!("--on-upload: {why}"))
    }

    /// After so much time no command runs any more, nor will one: the uploads that wait for one are refused.
    pub(crate) fn end_in(self: &Arc<Self>, grace: Duration) {
        let own = Arc::clone(self);
        let end = move || {
            std::thread::sleep(grace);
            own.is_stopping.store(true, Ordering::Relaxed);
            if let Some(process) = own.process.get() {
                let _ = shutdown(process, Shutdown::Both);
            }
        };
        // Without a thread they end with the server.
        let _ = std::thread::Builder::new().name("on-upload".into()).spawn(end);
    }
}

/// The last line that the command wrote to its standard error, as far as a log has room for it.
fn shown(said: &[u8]) -> String {
    const MOST: usize = 200;
    let said = String::from_utf8_lossy(said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(String::new, |line| {
        let cut: String = line.chars().take(MOST).collect();
        format!(": {}", harmless(&cut))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_words() {
        assert_eq!(command("grep -q end"), Ok("grep -q end".into()));
        assert!(command("").is_err() && command(" \n").is_err());
    }

    #[test]
    fn of_what_a_command_said_the_last_line_is_told_and_can_do_no_harm() {
        assert_eq!(shown(b""), "");
        assert_eq!(shown(b"\n \n"), "");
        assert_eq!(shown(b"first\nno \x1b[2Jhostname\xff \n\n"), ": no \\u{1b}[2Jhostname\u{fffd}");
        assert_eq!(shown(&[b'x'; 201]), format!(": {}", "x".repeat(200)));
        assert_eq!(shown(&[b'x'; 200]), format!(": {}", "x".repeat(200)));
    }
}
