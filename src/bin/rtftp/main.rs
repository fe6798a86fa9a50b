//! `rtftp`: gets, puts and lists files by TFTP, in one command or from a menu, and puts load on servers.

mod args;
mod bench;
mod local;
mod menu;
mod remote;
mod report;
mod signals;
mod text;
#[path = "../shared/typed.rs"]
mod typed;

use anyhow::Result;
use args::{Args, Command, ReportArgs};
use clap::Parser;
use local::{Destination, base_name, is_stdout};
use remote::{Server, get_targets, list_target, put_targets};
use report::{Class, Reporter};
use std::path::Path;
use std::process::ExitCode;
use text::complain;
use tftpkit::client::Remote;

fn main() -> ExitCode {
    let args = Args::parse();
    signals::survive_size_limit();
    let class = match args.command {
        None => match args.host {
            Some(host) => menu::open(&host, &args.wishes),
            None => Class::Usage,
        },
        Some(Command::Get { remotes, output, wishes, report }) => {
            let reporter = Reporter::new(report, output.as_deref().is_some_and(is_stdout));
            run(|| {
                let targets = get_targets(&remotes)?;
                let several = targets.len() > 1;
                refuse_same_names(&targets, output.as_deref())?;
                Ok(Class::first(targets.into_iter().map(|target| {
                    let wishes = wishes.wishes(target.mode);
                    reporter.finish("get", &target, || {
                        let name = base_name(&target.name)?.to_owned();
                        let to = Destination::new(output.as_deref(), &name, several)?;
                        let mut server = Server::new(&target.host, wishes);
                        server.get(&target.name, &to, &reporter.bar(&name.to_string_lossy()))
                    })
                })))
            })
        }
        Some(Command::Put { files_and_remote, wishes, report }) => {
            let reporter = Reporter::new(report, false);
            run(|| {
                let targets = put_targets(&files_and_remote)?;
                Ok(Class::first(targets.into_iter().map(|(file, target)| {
                    let wishes = wishes.wishes(target.mode);
                    reporter.finish("put", &target, || {
                        let mut server = Server::new(&target.host, wishes);
                        server.put(&file, &target.name, &reporter.bar(&file.to_string_lossy()))
                    })
                })))
            })
        }
        Some(Command::List { remote, directory, wishes, json }) => run(|| {
            let reporter = Reporter::new(ReportArgs { quiet: false, json }, false);
            let target = list_target(&remote, directory.as_deref())?;
            let listing = match Server::new(&target.host, wishes.wishes(None)).list(&target.name) {
                Ok(listing) => listing,
                Err(error) => return Ok(reporter.failed("list", &target, &error)),
            };
            let out =
                if json { listing.to_json() } else { text::table(&listing, false).into_bytes() };
            Ok(report::print(&out))
        }),
        Some(Command::Bench(args)) => run(|| bench::run(&args)),
    };
    ExitCode::from(class as u8)
}

/// Two files of one name would end as one.
fn refuse_same_names(targets: &[Remote], output: Option<&Path>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for target in targets {
        let name = base_name(&target.name)?;
        if !output.is_some_and(is_stdout) && !seen.insert(name) {
            anyhow::bail!("several of these files would be called '{}' here", name.display());
        }
    }
    Ok(())
}

/// What is wrong before a server is asked is wrong usage.
fn run(command: impl FnOnce() -> Result<Class>) -> Class {
    command().unwrap_or_else(|error| {
        complain(format_args!("rtftp: {error:#}"));
        Class::Usage
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_would_end_as_one_are_refused_where_they_become_files() {
        let targets = |names: &[&str]| -> Vec<Remote> {
            names.iter().map(|name| format!("h:{name}").parse().expect("a remote")).collect()
        };
        let told = |names: &[&str], output: Option<&str>| {
            let refused = refuse_same_names(&targets(names), output.map(Path::new));
            refused.map_err(|error| error.to_string())
        };
        let why = Err("several of these files would be called 'x' here".to_owned());
        assert_eq!(told(&["a/x", "b/x"], None), why);
        assert_eq!(told(&["a/x", "b/x"], Some("folder")), why);
        assert_eq!(told(&["a/x", "b/x"], Some("-")), Ok(()));
        assert_eq!(told(&["a/x", "b/y"], None), Ok(()));
    }
}
