//! What a program's `--help` says that there is.

use crate::common::child;
use std::process::Command;

/// An option as the help has it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The ways to write it, `--long` last.
    pub(crate) flags: Vec<String>,
    pub(crate) takes_value: bool,
    pub(crate) env: Option<String>,
    default: Option<String>,
    /// Its possible values, where these are few.
    values: Vec<String>,
}

impl Known {
    pub(crate) fn name(&self) -> &str {
        self.flags.last().expect("a flag")
    }

    /// What must be seen: each value that is not the default, or the option alone.
    pub(crate) fn to_be_seen(&self) -> Vec<Option<&str>> {
        if self.values.is_empty() {
            return vec![None];
        }
        let others = self.values.iter().filter(|value| Some(*value) != self.default.as_ref());
        others.map(|value| Some(value.as_str())).collect()
    }
}

/// What this command line prints.
pub(crate) fn help(program: &str, command: &str) -> String {
    let mut shown = Command::new(program);
    shown.args(Some(command).filter(|command| !command.is_empty())).arg("--help");
    let shown = child::output(&mut shown);
    assert!(shown.status.success(), "{shown:?}");
    String::from_utf8(shown.stdout).expect("UTF-8")
}

/// The commands of a program; the empty one is the program alone.
pub(crate) fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let words = lines.filter(|line| !line.starts_with("   "));
    let words = words.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    std::iter::once(String::new()).chain(words).collect()
}

/// The lines behind `Exit status:`, or the words behind it on its line.
pub(crate) fn exit_codes(help: &str) -> Vec<i32> {
    let (_, told) = help.split_once("Exit status:").expect("it tells of its exit status");
    let words = told.split_whitespace().map(|word| word.trim_matches(['.', ',']));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Without a value that may be left out, and dots.
fn flag(word: &str) -> &str {
    word.split('[').next().unwrap_or(word).trim_end_matches('.')
}

pub(crate) fn options(help: &str) -> Vec<Known> {
    let (_, told) = help.split_once("Options:\n").expect("it tells of its options");
    let mut found: Vec<(Known, String)> = Vec::new();
    for line in told.lines() {
        // The page goes on with something else.
        if !line.is_empty() && !line.starts_with(' ') {
            break;
        }
        let text = line.trim();
        // What is told of one is farther in.
        let is_near = line.len() - line.trim_start().len() <= 6;
        if is_near && text.starts_with('-') {
            let (names, words) = text.split_at(text.find("  ").unwrap_or(text.len()));
            let mut known = Known::default();
            for word in names.split([' ', ',']) {
                known.takes_value |= word.starts_with('<');
                known.flags.extend(word.starts_with('-').then(|| flag(word).into()));
            }
            found.push((known, format!("{words} ")));
        } else if let Some((known, words)) = found.last_mut() {
            if let Some(value) = text.strip_prefix("- ") {
                known.values.push(value.split(':').next().unwrap_or_default().into());
            }
            words.push_str(text);
            words.push(' ');
        }
    }
    let read = |(mut known, words): (Known, String)| {
        let within = |mark: &str| words.split_once(mark)?.1.split([']', '=']).next();
        known.env = within("[env: ").map(str::to_owned);
        known.default = within("[default: ").map(str::to_owned);
        if let Some(values) = within("[possible values: ") {
            known.values = values.split(", ").map(str::to_owned).collect();
        }
        known
    };
    found.into_iter().map(read).collect()
}
