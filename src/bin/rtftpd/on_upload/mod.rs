//! `--on-upload`: a command says whether an upload that is whole may appear.
//!
//! A server that has entered its sandbox can start nothing. So it starts one process before, which never hears the network:
//! it runs the command for each upload that the server tells it of, and kills it when its time is over or the server no
//! longer waits. Whatever goes wrong on the way, the upload is refused.

mod process;
mod turns;

pub(crate) use process::{COMMAND, COMMANDS, run_all, run_one};

use crate::apart::Owner;
use crate::shown::harmless;
use crate::values::setting;
use anyhow::{Context, Result};
use ipnet::IpNet;
use process::{About, Exit, Told, channel, handed_over, heard, is_gone};
use rustix::net::{Shutdown, shutdown};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tftpkit::limits;
use tftpkit::server::network_of;
use tftpkit::store::WholeUpload;
use tftpkit::transfer::PeerWords;
use turns::{Most, NoTurn, Turns};

#[derive(Debug, clap::Args)]
pub(crate) struct OnUploadArgs {
    /// Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than
    /// 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too;
    /// RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client's address. It runs as
    /// the user that serves, outside the sandbox
    #[arg(long, value_name = "COMMAND", env = "RTFTPD_ON_UPLOAD", value_parser = command)]
    pub(crate) on_upload: Option<String>,

    /// The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is
    /// killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds
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

const AT_ONCE: Most =
    Most { of_all: limits::UPLOAD_COMMANDS, of_network: limits::UPLOAD_COMMANDS_OF_NETWORK };
const MAY_WAIT: Most =
    Most { of_all: limits::UPLOADS_WAITING, of_network: limits::UPLOADS_WAITING_OF_NETWORK };

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
            turns: Turns::new(AT_ONCE, MAY_WAIT),
            is_stopping: AtomicBool::new(false),
        }))
    }

    /// What it takes here: the channel of each command, both ends for a moment, and the file to read, which those have, too,
    /// that wait for their turn.
    pub(crate) const DESCRIPTORS: u64 =
        1 + 3 * limits::UPLOAD_COMMANDS as u64 + limits::UPLOADS_WAITING as u64;

    /// Starts the process that runs the command.
    pub(crate) fn start(&self, owner: Owner<'_>) -> Result<()> {
        if self.within.saturating_mul(2) > PATIENCE {
            tracing::warn!(
                "clients may give up before --on-upload-within is over, once for its turn and once for the command, and never \
                 hear how it ended: busybox's after 13 s, tftp-hpa's after 25"
            );
        }
        let what = "cannot start the process that runs the command of --on-upload";
        let process = process::start(&self.command, self.within, owner).context(what)?;
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
        let client = upload.peer.ip().to_canonical();
        let about = About {
            name: name.to_owned(),
            folder: std::path::absolute(folder)?.as_os_str().as_bytes().to_owned(),
            peer: client.to_string(),
            size: upload.size,
        };
        let began = Instant::now();
        let told = {
            let turn = self.turns.wait(counted(client), self.within);
            let _turn = turn.map_err(|why| self.unasked(why))?;
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
            Ok(Some(Told { exit: Exit::Exited(0), .. })) => Ok(()),
            Ok(Some(Told { exit: Exit::Exited(status), stderr })) => {
                let why = format!("exit status {status}{}", shown(&stderr));
                because(REFUSED, ErrorKind::PermissionDenied, why)
            }
            Ok(Some(Told { exit: Exit::Killed(signal), stderr })) => {
                let why = format!("killed by signal {signal}{}", shown(&stderr));
                because(REFUSED, ErrorKind::PermissionDenied, why)
            }
            Ok(Some(Told { exit: Exit::Late, stderr })) => {
                let why = format!("killed after {} s{}", self.within.as_secs_f64(), shown(&stderr));
                because(LATE, other, why)
            }
            Ok(Some(Told { exit: Exit::NotStarted, stderr })) => {
                because(UNCHECKED, other, format!("cannot be started{}", shown(&stderr)))
            }
            _ if self.is_stopping.load(Ordering::Relaxed) => {
                because(STOPPING, other, "the server stops".into())
            }
            Ok(None) => {
                let why = if self.process.get().is_none_or(is_gone) {
                    "the process that runs it is gone: no upload is taken before a restart"
                } else {
                    "the process that runs it has no descriptor for that"
                };
                because(UNCHECKED, other, why.into())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                self.judge(Ok(None))
            }
            Err(error) => because(UNCHECKED, other, format!("cannot be asked: {error}")),
        }
    }

    fn unasked(&self, why: NoTurn) -> io::Error {
        let why = match why {
            NoTurn::TooMany => format!("more than {} uploads wait for it", MAY_WAIT.of_all),
            NoTurn::TooManyOfNetwork => {
                format!("more than {} uploads of its network wait for it", MAY_WAIT.of_network)
            }
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

/// The network that a client is counted with. This machine's own clients are left alone, as nobody else has their address.
fn counted(client: IpAddr) -> Option<IpNet> {
    (!client.is_loopback()).then(|| network_of(client))
}

/// The last line that the command wrote to its standard error, as far as a log has room for it.
fn shown(stderr: &[u8]) -> String {
    const MOST: usize = 200;
    let stderr = String::from_utf8_lossy(stderr);
    let last = stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(String::new, |line| {
        let cut: String = line.chars().take(MOST).collect();
        format!(": {}", harmless(&cut))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_their_networks_and_those_of_this_machine_are_not() {
        let counted = |client: &str| {
            let client: IpAddr = client.parse().expect("an address");
            counted(client.to_canonical()).map(|network| network.to_string())
        };
        assert_eq!(counted("192.0.2.7"), Some("192.0.2.0/24".into()));
        assert_eq!(counted("::ffff:192.0.2.8"), Some("192.0.2.0/24".into()));
        assert_eq!(counted("2001:db8::7"), Some("2001:db8::/56".into()));
        assert_eq!([counted("127.0.0.1"), counted("::1")], [None, None]);
    }

    #[test]
    fn each_command_and_each_upload_that_waits_for_one_has_its_descriptors() {
        let (commands, waiting) = (limits::UPLOAD_COMMANDS as u64, limits::UPLOADS_WAITING as u64);
        let beside = OnUpload::DESCRIPTORS - waiting;
        assert_eq!((beside / commands, beside % commands), (3, 1), "and the way to the process");
    }

    #[test]
    fn what_was_not_asked_about_is_told_with_why_there_was_no_turn() {
        let on_upload = Some("true".to_owned());
        let args = OnUploadArgs { on_upload, on_upload_within: Duration::from_millis(1500) };
        let asked = OnUpload::of(&args).expect("a command");
        for (why, told) in [
            (NoTurn::TooMany, format!("more than {} uploads wait for it", limits::UPLOADS_WAITING)),
            (
                NoTurn::TooManyOfNetwork,
                format!(
                    "more than {} uploads of its network wait for it",
                    limits::UPLOADS_WAITING_OF_NETWORK
                ),
            ),
            (NoTurn::Late, "no turn within 1.5 s".into()),
        ] {
            let error = asked.unasked(why);
            assert!(error.to_string().contains(&format!("--on-upload: {told}")), "{error}");
        }
        // What ended in none of these ways was killed.
        let exit = |exit| Ok(Some(Told { exit, stderr: b"no\n".to_vec() }));
        assert!(asked.judge(exit(Exit::Exited(0))).is_ok());
        for (ended, told, kind) in [
            (Exit::Exited(7), "exit status 7: no", ErrorKind::PermissionDenied),
            (Exit::Killed(9), "killed by signal 9: no", ErrorKind::PermissionDenied),
            (Exit::Late, "killed after 1.5 s: no", ErrorKind::Other),
            (Exit::NotStarted, "cannot be started: no", ErrorKind::Other),
        ] {
            let error = asked.judge(exit(ended)).expect_err(told);
            assert!(error.to_string().contains(told) && error.kind() == kind, "{error}");
        }
    }

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
