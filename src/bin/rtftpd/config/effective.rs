//! The configuration as it is in the end, in the form of its file, with where each value comes from.

use super::{ConfigFile, keys, name};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Where a value comes from that nobody gave.
const DEFAULT: &str = "default";

/// So far right stands where a value comes from.
const COLUMN: usize = 36;

/// All options of `server` with the values that they have in `found`. Those that have their default are comments, so that the
/// others can be copied: two defaults may contradict what is set.
pub(crate) fn effective(
    server: &Command,
    found: &ArgMatches,
    config: Option<&ConfigFile>,
) -> String {
    let mut text = match config {
        Some(config) => format!("# with the configuration {}\n", config.path.display()),
        None => "# without a configuration file\n".into(),
    };
    for arg in keys(server) {
        text += &match value(arg, found) {
            Some(value) => {
                let origin = origin(arg, found, config);
                let is_set = origin != DEFAULT;
                let line = format!("{}{} = {value}", if is_set { "" } else { "# " }, name(arg));
                format!("{line:<COLUMN$}  # {origin}\n")
            }
            None => format!("{:<COLUMN$}  # not set\n", format!("# {}", name(arg))),
        };
    }
    text
}

/// Where a value comes from.
fn origin(arg: &Arg, found: &ArgMatches, config: Option<&ConfigFile>) -> String {
    let (id, line) = (arg.get_id().as_str(), config.and_then(|config| config.line_of(arg)));
    match (found.value_source(id), line) {
        (Some(ValueSource::CommandLine), _) => "the command line".into(),
        (Some(ValueSource::EnvVariable), _) => {
            arg.get_env().map_or_else(String::new, |name| name.display().to_string())
        }
        (_, Some(line)) => format!("line {line}"),
        _ => DEFAULT.into(),
    }
}

/// A value as it is written in the file.
fn value(arg: &Arg, found: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        ArgAction::SetTrue => return Some(found.get_flag(id).to_string()),
        ArgAction::Count => return Some(found.get_count(id).to_string()),
        _ => {}
    }
    let raw = found.get_raw(id)?;
    let mut all: Vec<_> = raw.map(|value| written(&value.to_string_lossy())).collect();
    match arg.get_action() {
        ArgAction::Append => Some(format!("[{}]", all.join(", "))),
        _ => all.pop(),
    }
}

/// A number as it is, and anything else in quotes.
fn written(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        // The form of a text is the same in both.
        _ => serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f"),
    }
}
