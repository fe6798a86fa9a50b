//! The configuration file: each long option of the server is a key of it, and rules may stand in it as well.
//!
//! What there is, of which kind, and what is legal is read from the command line's own parser; what the file says takes the
//! place of defaults there, so that the environment and the command line go before.

mod effective;
mod written;

pub(crate) use effective::effective;
pub(crate) use written::{Written, line_at, meant};

use crate::args::Args;
use crate::rules::RuleFile;
use anyhow::{Context, Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use written::Value;

/// The file that is read where no other is named. It has a directory of its own, so that the sandbox can leave that one
/// to a server that reads it again, and nothing else.
pub(crate) const USUAL: &str = "/etc/rtftpd/rtftpd.toml";

/// A configuration file that was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    settings: Vec<Setting>,
    pub(crate) rules: RuleFile,
}

/// The value of one option.
#[derive(Debug)]
struct Setting {
    id: String,
    line: usize,
    values: Vec<String>,
}

impl ConfigFile {
    /// The file that is named, or the usual one, if that is there. `server` is the parser of the server's options.
    pub(crate) fn find(named: Option<&Path>, server: &Command) -> Result<Option<Self>> {
        let path = named.unwrap_or_else(|| Path::new(USUAL));
        match std::fs::read_to_string(path) {
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let shown = path.display();
                Err(error).with_context(|| format!("cannot read the configuration '{shown}'"))
            }
            Ok(text) => Self::parse(path, text, server).map(Some),
        }
    }

    /// Reads the text of `path`, and finds what `server` would not take.
    fn parse(path: &Path, text: String, server: &Command) -> Result<Self> {
        let written = Written::parse(path, &text)?;
        let at = |line| move || format!("{}, line {line}", path.display());
        let mut settings: Vec<Setting> = Vec::new();
        for (key, value) in written.options {
            let (line, key) = (line_at(&text, key.span().start), key.into_inner());
            let Some(arg) = keys(server).find(|arg| name(arg) == key) else {
                let known = keys(server).map(name).chain(["rule", "profile"]);
                let meant = match meant(&key, known) {
                    meant if meant.is_empty() => {
                        "; the long options of 'rtftpd --help' are keys".into()
                    }
                    meant => meant,
                };
                return Err(anyhow!("there is no key '{key}'{meant}")).with_context(at(line));
            };
            let values = words(arg, &value).and_then(|values| match arg.get_value_hint() {
                ValueHint::AnyPath => values.iter().map(|value| beside(path, value)).collect(),
                _ => Ok(values),
            });
            let values = values.map_err(|why| anyhow!("'{key}': {why}")).with_context(at(line))?;
            settings.push(Setting { id: arg.get_id().to_string(), line, values });
        }
        let rules = RuleFile::of(path, text, written.tables);
        let file = Self { path: path.to_owned(), settings, rules };
        file.look_at_values(server)?;
        Ok(file)
    }

    /// Has the parser of the command line look at all values.
    fn look_at_values(&self, server: &Command) -> Result<()> {
        let alone = server.clone().mut_args(|arg| arg.required(false).env(None::<&'static str>));
        let try_all = |settings: &[Setting]| -> Result<(), clap::Error> {
            let words = settings.iter().filter_map(|one| one.typed(server)).flatten();
            let words = words.map(OsString::from).chain(["--".into(), ".".into()]);
            let found = alone.clone().no_binary_name(true).try_get_matches_from(words)?;
            Args::checked(&found).map(drop)
        };
        let Err(error) = try_all(&self.settings) else { return Ok(()) };
        for one in &self.settings {
            if let Err(error) = try_all(std::slice::from_ref(one)) {
                bail!("{}, line {}: {}", self.path.display(), one.line, told(&error, server));
            }
        }
        // Each of them alone makes sense.
        bail!("{}: {}", self.path.display(), told(&error, server))
    }

    /// Puts what the file says in the place of the defaults of `server`.
    fn as_defaults(&self, server: Command) -> Command {
        self.settings.iter().fold(server, |server, one| {
            server.mut_arg(&one.id, |arg| arg.required(false).default_values(one.values.clone()))
        })
    }

    /// The line in which an option has its value.
    fn line_of(&self, arg: &Arg) -> Option<usize> {
        let found = self.settings.iter().find(|one| one.id == arg.get_id().as_str());
        found.map(|one| one.line)
    }

    /// The options of the file that another one contradicts, which was given.
    fn contradicted(&self, server: &Command, found: &ArgMatches) -> Vec<String> {
        let said = |id: &str| self.settings.iter().any(|one| one.id == id);
        let mut out = Vec::new();
        for arg in server.get_arguments() {
            for other in server.get_arg_conflicts_with(arg) {
                let pair = [arg.get_id().as_str(), other.get_id().as_str()];
                for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                    if said(one) && is_given(found, other) && !is_given(found, one) {
                        out.push(one.to_owned());
                    }
                }
            }
        }
        out
    }

    /// Adds the words of a command line to what the file says, of which goes what they contradict by another option. `parse`
    /// reads them, with the defaults that it is given.
    pub(crate) fn under(
        &mut self,
        server: &Command,
        parse: impl Fn(&dyn Fn(Command) -> Command) -> Result<ArgMatches, clap::Error>,
    ) -> Result<ArgMatches, clap::Error> {
        let found = parse(&|command| self.as_defaults(command))?;
        let contradicted = self.contradicted(server, here(&found));
        if contradicted.is_empty() {
            return Ok(found);
        }
        self.settings.retain(|one| !contradicted.contains(&one.id));
        parse(&|command| self.as_defaults(command))
    }
}

/// What was found of the command that was given, or of the server.
pub(crate) fn here(found: &ArgMatches) -> &ArgMatches {
    found.subcommand().map_or(found, |(_, found)| found)
}

/// Whether the command line or the environment has it.
fn is_given(found: &ArgMatches, id: &str) -> bool {
    matches!(found.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The options that are keys of the file.
fn keys(server: &Command) -> impl Iterator<Item = &Arg> {
    server.get_arguments().filter(|arg| arg.get_id() != "config")
}

/// What an option is called there.
fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

/// A path of the file, which is relative to the directory that the file is in.
fn beside(file: &Path, path: &str) -> Result<String, String> {
    let path = file.parent().unwrap_or_else(|| Path::new("")).join(path);
    path.into_os_string().into_string().map_err(|_| "its path is no UTF-8".into())
}

/// The values of an option as a command line has them, if they are of its kind.
fn words(arg: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) if arg.get_value_hint() != ValueHint::AnyPath => Ok(number.clone()),
        _ => Err("write a text in quotes".to_owned()),
    };
    let several = matches!(arg.get_action(), ArgAction::Append);
    let all =
        if let Value::List(all) = value { all.as_slice() } else { std::slice::from_ref(value) };
    if all.contains(&Value::Other) {
        return Err(
            "write neither a table nor a time; the tables are [[rule]] and [[profile]]".into()
        );
    }
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Flag(flag)) => Ok(vec![flag.to_string()]),
        (ArgAction::SetTrue, _) => Err("write true or false, without quotes".into()),
        (ArgAction::Count, Value::Number(number)) if number.parse::<u8>().is_ok() => {
            Ok(vec![number.clone()])
        }
        (ArgAction::Count, _) => Err("write a number from 0 to 255, without quotes".into()),
        (_, Value::List(all)) if several => all.iter().map(one).collect(),
        (_, Value::List(_)) => Err("write one value, and no list".into()),
        (_, value) => one(value).map(|value| vec![value]),
    }
}

impl Setting {
    /// How it is typed, where it is no argument without a name.
    fn typed(&self, server: &Command) -> Option<Vec<String>> {
        let arg = server.get_arguments().find(|arg| arg.get_id() == self.id.as_str())?;
        let long = format!("--{}", arg.get_long()?);
        let number = || self.values.first()?.parse::<usize>().ok();
        if arg.get_num_args().is_some_and(|range| range.max_values() > 1) {
            return Some([vec![long], self.values.clone()].concat());
        }
        Some(match (arg.get_action(), arg.get_value_delimiter()) {
            (ArgAction::SetTrue, _) => vec![long; usize::from(self.values == ["true"])],
            (ArgAction::Count, _) => vec![long; number().unwrap_or_default()],
            (_, Some(between)) => {
                vec![format!("{long}={}", self.values.join(&between.to_string()))]
            }
            _ => self.values.iter().map(|value| format!("{long}={value}")).collect(),
        })
    }
}

/// What is wrong with a value, in the words of the command line's parser, without what is only for who types it.
fn told(error: &clap::Error, server: &Command) -> String {
    let text = error.to_string();
    let text = text.split("\n\nFor more").next().unwrap_or_default();
    let text = text.split("\n\nUsage").next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut server = server.clone();
    server.build();
    keys(&server).fold(text.trim_end().to_owned(), |text, arg| {
        text.replace(&format!("'{arg}'"), &format!("'{}'", name(arg)))
    })
}
