//! Every option and every environment variable of both programs is given, and its effect is seen.
//!
//! What there is is read from the programs' own help: an option without a row fails, and so does a row without an
//! option. Each row is seen without the option, with each of its spellings, with its variable, and with both where they
//! say different things, which the command line decides.

#[path = "options/archive.rs"]
mod archive;
#[path = "options/budgets.rs"]
mod budgets;
#[path = "options/client.rs"]
mod client;
#[path = "options/commands.rs"]
mod commands;
mod common;
#[path = "options/given.rs"]
mod given;
#[path = "options/help.rs"]
mod help;
#[path = "options/operator.rs"]
mod operator;
#[path = "options/page.rs"]
mod page;
#[path = "common/programs.rs"]
mod programs;
#[path = "options/reports.rs"]
mod reports;
#[path = "options/rtftp.rs"]
mod rtftp;
#[path = "options/rtftpd.rs"]
mod rtftpd;
#[path = "options/service.rs"]
mod service;

use given::{Row, check};
use std::sync::{Arc, Mutex};

/// Rows that are looked at together: most of them wait.
const AT_ONCE: usize = 4;

/// Holds the options of a program against its rows, and looks at each.
fn compare(program: &str, tables: &[&[Row]]) {
    let rows: Vec<&Row> = tables.iter().copied().flatten().collect();
    let help = help::help(program, "");
    let mut tasks = Vec::new();
    let (mut wrong, mut used) = (Vec::new(), vec![false; rows.len()]);
    for command in help::commands(&help) {
        for known in help::options(&help::help(program, &command)) {
            wrong.extend(misnamed(program, &known));
            let known = Arc::new(known);
            let about = |row: &&Row| row.of.contains(&&*command) && row.option == known.name();
            for value in known.to_be_seen() {
                if !rows.iter().any(|row| about(row) && value.is_none_or(|v| row.values == [v])) {
                    wrong.push(format!("no row for {command} {} {value:?}", known.name()));
                }
            }
            for (n, row) in rows.iter().enumerate().filter(|(_, row)| about(row)) {
                used[n] = true;
                tasks.push((command.clone(), *row, Arc::clone(&known)));
            }
        }
    }
    let unused = rows.iter().zip(used).filter(|(_, used)| !used);
    wrong.extend(unused.map(|(row, _)| format!("no such option: {}", row.option)));
    let (tasks, wrong) = (Mutex::new(tasks.into_iter()), Mutex::new(wrong));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = tasks.lock().expect("the tasks").next();
                    let Some((command, row, known)) = next else { break };
                    let seen = check(&command, row, &known);
                    wrong.lock().expect("what is wrong").extend(seen);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("what is wrong");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What has no variable: a program that always explains itself is of no use.
const WITHOUT_VARIABLE: [&str; 2] = ["--help", "--version"];

/// The options have variables of their names.
fn misnamed(program: &str, known: &help::Known) -> Option<String> {
    let name = known.name();
    let prefix = if program.ends_with("rtftpd") { "RTFTPD_" } else { "RTFTP_" };
    let has_one = !WITHOUT_VARIABLE.contains(&name);
    let expected = has_one.then(|| name.replace("--", prefix).replace('-', "_").to_uppercase());
    (known.env != expected).then(|| format!("{name} has {:?}, not {expected:?}", known.env))
}

#[test]
fn each_option_and_variable_of_rtftpd_is_seen_to_work() {
    let tables =
        [rtftpd::ROWS, archive::ROWS, budgets::ROWS, commands::ROWS, page::ROWS, service::ROWS];
    compare(env!("CARGO_BIN_EXE_rtftpd"), &tables);
}

#[test]
fn each_option_of_rtftp_is_seen_to_work() {
    compare(env!("CARGO_BIN_EXE_rtftp"), &[rtftp::ROWS]);
}
