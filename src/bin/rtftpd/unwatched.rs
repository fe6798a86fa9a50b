//! In place of `watch`, where this program is built without the feature `http`: nobody watches.

use crate::reload::Current;
use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command};
use std::net::SocketAddr;
use tftpkit::server::{Event, Handle};
use tracing_appender::non_blocking::ErrorCounter;

/// No options.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {}

/// There is no such command.
#[derive(Debug)]
pub(crate) struct Top;

impl Top {
    pub(crate) const NAME: &str = "top";

    pub(crate) const fn command_if_any() -> Option<Command> {
        None
    }

    pub(crate) const fn of(_: &ArgMatches) -> Self {
        Self
    }

    pub(crate) fn run(&self) -> Result<()> {
        bail!("this program was built without the feature 'http'")
    }
}

/// Nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch;

/// What nobody is told of.
#[expect(dead_code, reason = "nobody reads it")]
pub(crate) struct Watched {
    pub(crate) handle: Handle,
    pub(crate) listening: Vec<SocketAddr>,
    pub(crate) policy: Current,
    pub(crate) lost: ErrorCounter,
}

impl WatchArgs {
    pub(crate) const fn bind(&self) -> Result<Watch> {
        Ok(Watch)
    }
}

impl Watch {
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        None
    }

    pub(crate) const fn descriptors(&self) -> u64 {
        0
    }

    pub(crate) const fn tell(&self, _: &Event<'_>) {}

    #[expect(clippy::unnecessary_wraps, reason = "it does nothing where the other one can fail")]
    pub(crate) fn start(&self, _: Watched) -> Result<()> {
        Ok(())
    }
}
