//! `rtftpd check`: whether the server could be started so.

use crate::args::Args;
use crate::lines::Lines;
use crate::prepared::Prepared;
use anyhow::Result;

/// Reads and opens all that a server would, and says what is wrong with it.
pub(crate) fn run(args: &Args, lines: &Lines) -> Result<()> {
    let prepared = Prepared::new(args);
    // What a server would warn of, before what would keep it from serving.
    lines.write_early();
    let Prepared { rules, folders, .. } = prepared?;
    for place in folders.places() {
        let how = if place.may_write { "read and written" } else { "read" };
        println!("{}: {how}", place.path.display());
    }
    if let (Some(rules), Some(file)) = (rules, &args.rules) {
        println!("{}: {rules} rules", file.display());
    }
    Ok(())
}
