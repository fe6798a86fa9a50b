//! `rtftp`: gets, puts and lists files by TFTP, in one command or from a menu, and puts load on servers.

mod advice;
mod args;
mod bench;
mod check;
mod local;
mod menu;
#[cfg(test)]
#[path = "../shared/pages.rs"]
mod pages;
mod progress;
mod record;
mod remote;
mod report;
#[path = "../shared/shown.rs"]
mod shown;
mod signals;
mod text;
#[path = "../shared/typed.rs"]
mod typed;
mod words;

use anyhow::{Result, bail};
use args::{Args, Command, GetArgs, ListArgs, PutArgs, ReportArgs};
use local::{Destination, base_name, is_stdout};
use record::{Record, Task};
use remote::{Server, get_targets, list_target, put_targets};
use report::{Class, Reporter};
use signals::Stop;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use text::complain;
use tftpkit::client::{Host, Remote};

fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let args = match Args::from_words(words) {
        Ok(args) => args,
        Err(error) => return args::explain(&error),
    };
    signals::survive_size_limit();
    let class = match &args.command {
        None => match &args.host {
            Some(host) => menu::open(host, &args.wishes),
            None => Class::Usage,
        },
        Some(Command::Get(args)) => {
            run("get", args.transfers.report, |reporter| get(args, reporter))
        }
        Some(Command::Put(args)) => {
            run("put", args.transfers.report, |reporter| put(args, reporter))
        }
        Some(Command::List(args)) => {
            let report = ReportArgs { quiet: false, json: args.json };
            run("list", report, |reporter| list(args, reporter))
        }
        Some(Command::Check(args)) => return ExitCode::from(check::run(args) as u8),
        Some(Command::Bench(args)) => {
            let report = ReportArgs { quiet: args.quiet, json: args.json };
            run("bench", report, |reporter| bench::run(args, reporter))
        }
    };
    ExitCode::from(class as u8)
}

fn get(args: &GetArgs, reporter: &Reporter) -> Result<Class> {
    let targets = get_targets(&args.remotes)?;
    let output = args.output.as_deref();
    refuse_same_names(&targets, output)?;
    let (stop, several) = (stop(args.transfers.wait.max_time.max_time)?, targets.len() > 1);
    let reporter = reporter.clone().stopped_by(&stop).beside(output.is_some_and(is_stdout));
    let get = |target: &Remote| {
        let name = base_name(&target.name).map(ToOwned::to_owned);
        let to = name.and_then(|name| Ok((Destination::new(output, &name, several)?, name)));
        let local = to.as_ref().ok().map(|(to, _)| to.word());
        let task = Task { operation: "get", remote: Some(target.to_string()), local };
        let shown = String::from_utf8_lossy(&target.name);
        let asking = asking(&target.host, args.transfers.wait.interval().is_some());
        reporter.run(&task, (&shown, &asking), |bar| {
            let (to, _) = to?;
            let wishes = args.transfers.wishes.wishes(target.mode);
            let server = Server::new(&target.host, wishes, &stop);
            server.every(args.transfers.wait.interval()).get(&target.name, &to, bar)
        })
    };
    let mut classes = Vec::new();
    for target in &targets {
        if stop.cause().is_some() {
            break;
        }
        classes.push(get(target));
    }
    if let ([_, Class::NotFound], [_, _, second], None) = (&classes[..], &args.remotes[..], output)
    {
        let second = second.display();
        complain(format_args!(
            "  Every word after the host is a file there; '-o {second}' gives a download that name here."
        ));
    }
    stop.obey();
    Ok(Class::first(classes.into_iter()))
}

fn put(args: &PutArgs, reporter: &Reporter) -> Result<Class> {
    let targets = put_targets(&args.files_and_remote)?;
    let stop = stop(args.transfers.wait.max_time.max_time)?;
    let reporter = reporter.clone().stopped_by(&stop);
    let mut classes = Vec::new();
    for (file, target) in &targets {
        if stop.cause().is_some() {
            break;
        }
        let local = Some(file.to_string_lossy().into_owned());
        let task = Task { operation: "put", remote: Some(target.to_string()), local };
        let asking = asking(&target.host, args.transfers.wait.interval().is_some());
        classes.push(reporter.run(&task, (&file.to_string_lossy(), &asking), |bar| {
            let wishes = args.transfers.wishes.wishes(target.mode);
            let server = Server::new(&target.host, wishes, &stop);
            server.every(args.transfers.wait.interval()).put(file, &target.name, bar)
        }));
    }
    stop.obey();
    Ok(Class::first(classes.into_iter()))
}

fn list(args: &ListArgs, reporter: &Reporter) -> Result<Class> {
    let target = list_target(&args.remote, args.directory.as_deref())?;
    let stop = stop(args.max_time.max_time)?;
    let reporter = reporter.clone().stopped_by(&stop);
    let task = Task { operation: "list", remote: Some(target.to_string()), local: None };
    let asking = asking(&target.host, false);
    let (began, bar) = (Instant::now(), reporter.bar("list", &asking));
    let wishes = args.wishes.wishes(None);
    let listed = Server::new(&target.host, wishes, &stop).list(&target.name, &bar);
    let record = Record::whole(&task, bar.last(), began.elapsed().as_secs_f64());
    drop(bar);
    let class = match listed {
        Ok(listing) if args.json => report::print(&record::listing(&listing, record)),
        Ok(listing) => {
            let columns = text::columns();
            let table = match columns {
                Some(_) => text::fitted(&listing, false, columns),
                // For whatever reads it.
                None => text::table(&listing),
            };
            report::print(table.as_bytes())
        }
        Err(error) => reporter.failed(record, &task, error),
    };
    stop.obey();
    Ok(class)
}

/// What is said while there is no answer.
fn asking(host: &Host, waits: bool) -> String {
    format!("{} {host}\u{2026}", if waits { "waiting for" } else { "asking" })
}

/// What ends a call before its end: a signal, and the time it may take.
fn stop(max_time: Option<Duration>) -> Result<Stop> {
    let stop = Stop::on_signals()?;
    stop.after(max_time, || {
        complain(format_args!("rtftp: {}", report::TimeOver));
        std::process::exit(Class::NoAnswer as i32);
    });
    Ok(stop)
}

/// Two files of one name would end as one.
fn refuse_same_names(targets: &[Remote], output: Option<&Path>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for target in targets {
        let name = base_name(&target.name)?;
        if !output.is_some_and(is_stdout) && !seen.insert(name) {
            bail!("several of these files would be called '{}' here", name.display());
        }
    }
    Ok(())
}

/// What is wrong before a server is asked is wrong usage.
fn run(
    operation: &'static str,
    report: ReportArgs,
    command: impl FnOnce(&Reporter) -> Result<Class>,
) -> Class {
    let reporter = Reporter::new(report);
    command(&reporter).unwrap_or_else(|error| {
        complain(format_args!("rtftp: {}", shown::told(&error)));
        if report.json {
            reporter.line(&Record::misused(operation, shown::told(&error)));
        }
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
