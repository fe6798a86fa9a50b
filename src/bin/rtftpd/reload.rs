//! What is read again while the server serves: the configuration, the rules, the maps of names.
//!
//! A policy that is made of all that takes the place of the one before, at once or not at all. What a transfer has from the
//! old one it keeps.

use crate::args::Args;
use crate::commands::Given;
use crate::log::{Log, Verbosity};
use crate::on_upload::OnUpload;
use crate::pid_file;
use crate::prepared::{Macs, Prepared};
use crate::sandbox::Held;
use crate::service::Drain;
use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, CommandFactory};
use rustix::process::{Signal, kill_process};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tftpkit::query::Query;
use tftpkit::server::{Policy, StandardPolicy, Verdict};
#[cfg(feature = "http")]
use tftpkit::store::Store;

/// The options that count from the next request on when they are read again. All others want a restart: what they are
/// about was bound, started or given up before the first request.
const LIVE: [&str; 27] = [
    "root",
    "rules",
    "links_to",
    "uploads",
    "create_dirs",
    "max_upload",
    "keep_versions",
    "upload_name",
    "growing_files",
    "map_file",
    "map_rule",
    "strip_prefix",
    "strip_junk",
    "ignore_case",
    "no_list",
    "list_name",
    "max_blksize",
    "max_blksize_of",
    "whole_packets",
    "max_windowsize",
    "patience",
    "first_interval",
    "intervals",
    "drain",
    "log_rate",
    "verbose",
    "quiet",
];

/// A policy that another one may replace.
#[derive(Clone)]
pub(crate) struct Current(Arc<RwLock<Arc<StandardPolicy>>>);

impl Current {
    pub(crate) fn new(policy: StandardPolicy) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(policy))))
    }

    fn get(&self) -> Arc<StandardPolicy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, policy: StandardPolicy) {
        self.tell_turned_away();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// What each of its rules has turned away, by where it stands.
    #[cfg(feature = "http")]
    pub(crate) fn turned_away(&self) -> Vec<(String, u64)> {
        let policy = self.get();
        let rules = policy.rules().iter();
        rules.map(|rule| (rule.label().to_owned(), rule.turned_away())).collect()
    }

    /// What is listed where no rule says otherwise, if anything is.
    #[cfg(feature = "http")]
    pub(crate) fn listed(&self) -> Option<Arc<dyn Store>> {
        let policy = self.get();
        let profile = policy.profile();
        let store = profile.store.as_ref().filter(|_| profile.listing.is_some());
        store.map(|store| Arc::clone(&store.0))
    }

    /// Tells what its rules have turned away.
    pub(crate) fn tell_turned_away(&self) {
        for rule in self.get().rules().iter().filter(|rule| rule.turned_away() > 0) {
            tracing::info!(rule = rule.label(), requests = rule.turned_away(), "turned away");
        }
    }
}

impl Policy for Current {
    fn decide(&self, query: &Query) -> Verdict {
        self.get().decide(query)
    }
}

/// Reads again what a server was started with.
pub(crate) struct Reloader {
    pub(crate) given: Given,
    pub(crate) policy: Current,
    /// How long transfers may go on when the server ends.
    pub(crate) drain: Drain,
    pub(crate) macs: Option<Macs>,
    /// Who is asked about uploads, until the end.
    pub(crate) asked: Option<Arc<OnUpload>>,
    /// What the sandbox leaves.
    pub(crate) held: Held,
    pub(crate) log: Arc<Log>,
    pub(crate) verbosity: Verbosity,
}

impl Reloader {
    /// Reads all again; where that makes no sense, nothing changes. Either way it is told.
    pub(crate) fn reload(&mut self) {
        match self.try_reload() {
            Ok((rules, later)) => {
                tracing::info!(rules, "read the configuration again");
                if !later.is_empty() {
                    tracing::warn!(
                        "a change of {} counts from the next start on",
                        later.join(", ")
                    );
                }
            }
            Err(error) => tracing::error!("nothing was changed: {}", crate::shown::told(&error)),
        }
    }

    /// How many rules there are now, and which options have changed that only a start obeys.
    fn try_reload(&mut self) -> Result<(usize, Vec<String>)> {
        let given = self.given.again().map_err(with_advice)?;
        let prepared = Prepared::again(&given, self.macs.clone(), self.asked.clone());
        let prepared = prepared.map_err(with_advice)?;
        if let Some(lacks) =
            self.held.lacks(prepared.folders.places(), prepared.folders.may_spool())
        {
            bail!("{lacks}: start the server again");
        }
        let rules = prepared.rules.iter().map(|(count, _)| count).sum();
        self.policy.replace(prepared.policy);
        self.drain.set(given.args.drain);
        self.log.set_rate(given.args.log_rate);
        self.verbosity.set(&given.args);
        let later = changed(&self.given.found, &given.found);
        self.given = given;
        Ok((rules, later))
    }
}

/// Says what may be the matter with a file that was read at the start.
fn with_advice(error: anyhow::Error) -> anyhow::Error {
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    if !error.chain().any(denied) {
        return error;
    }
    let why = "it lies outside the server's sandbox, or is not for the user that it became";
    anyhow!("{}; {why}: start the server again", crate::shown::told(&error))
}

/// The options of which the values differ and that only a start obeys, as they are typed.
fn changed(before: &ArgMatches, now: &ArgMatches) -> Vec<String> {
    let server = Args::command();
    let raw = |found: &ArgMatches, id: &str| {
        let raw = found.get_raw(id).into_iter().flatten();
        raw.map(OsString::from).collect::<Vec<_>>()
    };
    let fixed = server.get_arguments().filter(|arg| !LIVE.contains(&arg.get_id().as_str()));
    let others =
        fixed.filter(|arg| raw(before, arg.get_id().as_str()) != raw(now, arg.get_id().as_str()));
    others.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
}

/// `rtftpd reload`: has the server with this pid file read everything again.
pub(crate) fn ask(pid_file: Option<&Path>) -> Result<()> {
    let path = pid_file.context(
        "which server is meant is told by its pid file: --pid-file, or 'pid-file' in its configuration.\n  Without one:  \
         kill -HUP PID, or systemctl reload rtftpd",
    )?;
    let pid = pid_file::holder(path)?;
    kill_process(pid, Signal::HUP)
        .with_context(|| format!("cannot signal process {}", pid.as_raw_nonzero()))?;
    println!(
        "process {} reads its configuration again; its log says what came of it",
        pid.as_raw_nonzero()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_again_are_options_that_there_are() {
        let server = Args::command();
        for id in LIVE {
            assert!(server.get_arguments().any(|arg| arg.get_id() == id), "{id}");
        }
    }
}
