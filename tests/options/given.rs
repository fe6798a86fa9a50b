//! The ways to give an option to a program, and the table of what is seen then.

use crate::common::Daemon;
use crate::help::Known;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;

/// What a program is given, besides what the test itself needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) words: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Given {
    pub(crate) fn flag(mut self, flag: &str, values: &[&str]) -> Self {
        self.words.push(flag.into());
        self.words.extend(values.iter().map(|value| (*value).to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Adds it to a command that inherits nothing of the kind.
    pub(crate) fn to(&self, command: &mut Command) {
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("RTFTP")) {
            command.env_remove(name);
        }
        command.args(&self.words).envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// `rtftpd`, before it is started.
    pub(crate) fn rtftpd(&self, root: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(Daemon::program());
        command.arg(root);
        self.to(&mut command);
        command.args(more);
        command
    }

    /// `rtftpd` on 127.0.0.1.
    pub(crate) fn serve(&self, root: &Path, more: &[&str]) -> Daemon {
        Daemon::spawn(self.rtftpd(root, more).args(["--listen", "127.0.0.1:0"]))
    }
}

/// What is seen where a test is [left out](crate::common::apart).
pub(crate) const LEFT_OUT: &str = "left out";

/// An option, and what is seen with and without it.
pub(crate) struct Row {
    /// The commands that have it.
    pub(crate) of: &'static [&'static str],
    pub(crate) option: &'static str,
    pub(crate) values: &'static [&'static str],
    /// What the environment says where the option says otherwise.
    pub(crate) rival: &'static str,
    pub(crate) without: &'static str,
    pub(crate) with: &'static str,
    pub(crate) see: fn(&str, &Given) -> String,
}

/// Gives the option of `row` to `command` in every way there is, and tells what was seen that should not be.
pub(crate) fn check(command: &str, row: &Row, known: &Known) -> Vec<String> {
    let value = if known.takes_value { row.values.join(",") } else { "1".into() };
    let rival = if known.takes_value { row.rival } else { "0" };
    // How often it is given is a number.
    let is_counted = row.option == "--verbose";
    let mut cases = vec![(Given::default(), row.without)];
    for flag in &known.flags {
        let given = Given::default().flag(flag, row.values);
        if let Some(name) = &known.env {
            cases.push((given.clone().variable(name, rival), row.with));
        }
        cases.push((given, row.with));
    }
    if let Some(name) = &known.env {
        cases.push((Given::default().variable(name, &value), row.with));
        if !known.takes_value && !is_counted {
            cases.push((Given::default().variable(name, "true"), row.with));
            cases.push((Given::default().variable(name, "false"), row.without));
        }
    }
    let see = |(given, expected): (Given, &str)| {
        let seen = catch_unwind(|| (row.see)(command, &given));
        let seen = seen.unwrap_or_else(|_| "a panic".into());
        (seen != expected && seen != LEFT_OUT)
            .then(|| format!("{command} {}: {given:?}: {seen:?}, not {expected:?}", row.option))
    };
    cases.into_iter().filter_map(see).collect()
}
