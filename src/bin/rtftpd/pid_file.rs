//! The file by which `rtftpd reload` finds a server.
//!
//! Its number would be no proof: what is left of a server that was killed may name any process by now. The server holds a
//! lock on it, of which the kernel says who has it, and which ends with the process.

use anyhow::{Context, Result, anyhow};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The file of this process, for as long as it lives.
#[derive(Debug)]
pub(crate) struct PidFile(#[expect(dead_code, reason = "the lock goes with it")] File);

impl PidFile {
    /// Makes it this process's, unless another one has it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let what = || format!("cannot write the pid file '{}'", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(what)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock || holder(path).is_ok() => {
                let whose = holder(path).map_or_else(
                    |_| "another process".into(),
                    |pid| format!("process {}", pid.as_raw_nonzero()),
                );
                let shown = path.display();
                return Err(anyhow!(
                    "{whose} serves with the pid file '{shown}': give another one"
                ));
            }
            Err(error) => return Err(error).with_context(what),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(what)?;
        Ok(Self(file))
    }
}

/// The process that has the file.
pub(crate) fn holder(path: &Path) -> Result<Pid> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the pid file '{shown}'"))?;
    let found = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock));
    let found = found.with_context(|| format!("cannot ask who has the pid file '{shown}'"))?;
    let found = found.ok_or_else(|| anyhow!("no server runs that has the pid file '{shown}'"))?;
    found
        .pid
        .ok_or_else(|| anyhow!("the server with the pid file '{shown}' is in another container"))
}
