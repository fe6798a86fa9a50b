//! `rtftpd check`: whether the server could be started so, and what it would do.

use crate::args::Args;
use crate::commands::Given;
use crate::config::effective;
use crate::lines::Lines;
use crate::prepared::Prepared;
use anyhow::Result;
use clap::CommandFactory;

/// Reads and opens all that a server would; says what is wrong with it, or what it comes to.
pub(crate) fn run(given: &Given, lines: &Lines) -> Result<()> {
    crate::log::start(&given.args, lines);
    let prepared = Prepared::new(given);
    // What a server would warn of, before what would keep it from serving.
    lines.write_early();
    let Prepared { rules, folders, .. } = prepared?;
    let mut told = effective(&Args::command(), &given.found, given.config.as_ref());
    told += "\n";
    for (count, file) in &rules {
        told += &format!("# {count} rules in {}\n", file.display());
    }
    for place in folders.places() {
        let how = if place.may_write { "files are read and written" } else { "files are read" };
        told += &format!("# {how} in {}\n", place.path.display());
    }
    if let Some(account) = folders.account() {
        told += &format!("# it becomes user {}\n", account.name);
    }
    print!("{told}");
    Ok(())
}
