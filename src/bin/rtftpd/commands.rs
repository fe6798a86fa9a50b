//! What the program is to do: serve, or one of the commands beside that.
//!
//! A command stands where the folder would, and a folder that has the name of one is served as `./check`. What a command
//! needs to know of the server it is told by the server's own options, which it takes, too.

use crate::args::{Args, advised_here};
use crate::config::{ConfigFile, USUAL, here};
use crate::explain::Asked;
use crate::typed::with_negative_values;
use crate::values::Addresses;
use crate::watch::Top;
use anyhow::Result;
use clap::{Arg, ArgMatches, Args as _, Command, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What there is to do.
pub(crate) enum Task {
    /// To serve.
    Serve(Given),
    /// To say what would be served, and whether it could.
    Check(Given),
    /// To say what a request would come to.
    Explain(Given, Asked),
    /// To have the server with this pid file read its configuration again.
    Reload(Option<PathBuf>),
    /// To show in this terminal what a server does.
    Top(Top),
}

/// The options of a server, and where they come from.
pub(crate) struct Given {
    pub(crate) args: Args,
    /// What the parser of the command line found.
    pub(crate) found: ArgMatches,
    pub(crate) config: Option<ConfigFile>,
    words: Vec<OsString>,
}

impl Task {
    /// What these words and the configuration ask for; ends the program where the words make no sense.
    pub(crate) fn from_words(words: Vec<OsString>) -> Result<Self> {
        Self::read(words).map_err(|error| match error.downcast::<clap::Error>() {
            Ok(usage) => advised_here(usage).exit(),
            Err(other) => other,
        })
    }

    fn read(words: Vec<OsString>) -> Result<Self> {
        let server = Args::command();
        let words = arranged(words, &unlooked(&server));
        let (found, config) = find(&words, &server)?;
        let (command, found) = match found.subcommand() {
            Some((command, found)) => (command.to_owned(), found.clone()),
            None => (String::new(), found),
        };
        if command == "reload" {
            return Ok(Self::Reload(found.get_one("pid_file").cloned()));
        }
        if command == Top::NAME {
            return Ok(Self::Top(Top::of(&found)));
        }
        let given = Given { args: Args::checked(&found)?, found, config, words };
        Ok(match &*command {
            "check" => Self::Check(given),
            "explain" => {
                let asked = Asked::from_arg_matches(&given.found)?;
                Self::Explain(given, asked)
            }
            _ => Self::Serve(given),
        })
    }
}

impl Given {
    /// Reads the configuration again, under the same words.
    pub(crate) fn again(&self) -> Result<Self> {
        let server = unlooked(&Args::command());
        let (found, config) = find(&self.words, &server)?;
        Ok(Self { args: Args::checked(&found)?, found, config, words: self.words.clone() })
    }

    /// The files that are read again then.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let config = self.config.as_ref().map(|config| config.path.clone());
        let Args { rules, names, .. } = &self.args;
        [config, rules.clone(), names.map_file.clone()].into_iter().flatten().collect()
    }
}

/// Which command may have been meant by a folder that is not there.
pub(crate) fn meant(folder: &Path) -> String {
    const LIKE: f64 = 0.8;
    let word = folder.to_str().unwrap_or_default();
    let likely = COMMANDS.iter().find(|name| strsim::jaro_winkler(word, name) > LIKE);
    likely.map_or_else(String::new, |name| format!(", or write '{name}' if the command is meant"))
}

/// What the words and the configuration say, with the options of `server`.
fn find(words: &[OsString], server: &Command) -> Result<(ArgMatches, Option<ConfigFile>)> {
    let mut config = match named_config(words, &unlooked(server)) {
        Some(named) => ConfigFile::find(named.as_deref(), server)?,
        None => None,
    };
    let found = match &mut config {
        Some(config) => config.under(server, |defaults| read(words, &defaults(server.clone()))),
        None => read(words, server),
    }?;
    Ok((found, config))
}

/// Reads the words. Each command has all options once more, which a server would keep in memory for nothing: words without
/// a command are read without them, unless something is wrong, which is told with them.
fn read(words: &[OsString], server: &Command) -> Result<ArgMatches, clap::Error> {
    if !words.iter().skip(1).any(|word| is_command(word)) {
        let found = with_negative_values(server.clone()).try_get_matches_from(words);
        if found.is_ok() {
            return found;
        }
    }
    command(server).try_get_matches_from(words)
}

fn is_command(word: &OsStr) -> bool {
    COMMANDS.iter().any(|name| word == *name)
}

/// The options of `server` without a look at what the system has: names of hosts, and interfaces.
pub(crate) fn unlooked(server: &Command) -> Command {
    let listen = |_: &str| Ok::<_, String>(Addresses(Vec::new()));
    let interface = |name: &str| Ok::<_, String>(name.to_owned());
    let server = server.clone().mut_arg("listen", |arg| arg.value_parser(listen));
    server.mut_arg("interface", |arg| arg.value_parser(interface))
}

/// Puts a command that stands behind options in front of them.
fn arranged(mut words: Vec<OsString>, server: &Command) -> Vec<OsString> {
    let folder = |words: &[OsString]| {
        let lenient = server.clone().mut_arg("root", |root| root.env(None::<&'static str>));
        let found = lenient.ignore_errors(true).try_get_matches_from(words).ok()?;
        found.get_one::<PathBuf>("root").cloned()
    };
    // Most command lines have no such word, and are read once.
    if !words.iter().skip(1).any(|word| is_command(word)) {
        return words;
    }
    let Some(name) = folder(&words).filter(|name| is_command(name.as_os_str())) else {
        return words;
    };
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let is_it = |at: &usize| {
        let without: Vec<_> = [&words[..*at], &words[at + 1..]].concat();
        words[*at] == *name && folder(&without).as_ref() != Some(&name)
    };
    if let Some(at) = (1..end).find(is_it) {
        words[1..=at].rotate_right(1);
    }
    words
}

/// Which configuration file is named, if one is; nothing where these words only ask for help, or where there is none.
fn named_config(words: &[OsString], server: &Command) -> Option<Option<PathBuf>> {
    let is_named = |word: &OsString| word.as_bytes().starts_with(b"--config");
    let may_be_named = words.iter().any(is_named) || std::env::var_os("RTFTPD_CONFIG").is_some();
    if !may_be_named && !Path::new(USUAL).exists() {
        return None;
    }
    let lenient = command(server).ignore_errors(true);
    let found = lenient.try_get_matches_from(words).ok()?;
    Some(here(&found).get_one::<PathBuf>("config").cloned())
}

/// The options of the server, for a command that takes them: its own page of help need not have them all again.
fn hidden(server: &Command) -> impl Iterator<Item = Arg> {
    server.get_arguments().map(|arg| arg.clone().hide(true))
}

/// The names of the commands.
const COMMANDS: &[&str] = &["check", "explain", "reload", Top::NAME];

const TAKES_ALL: &str = "It takes all options of the server: 'rtftpd --help' has them.";

/// All that can be written, with the options of `server`.
fn command(server: &Command) -> Command {
    let check = Command::new("check")
        .about("See whether the server could be started so, and show its configuration, and where each value comes from")
        .override_usage("rtftpd check [ROOT] [OPTIONS]")
        .after_help(format!(
            "{TAKES_ALL}\n\nExit status: 0 it could be started, 1 it could not, 2 wrong usage."
        ))
        .args(hidden(server));
    // What is a word of the server is an option of this command.
    let of_server = hidden(server).map(|arg| match arg.get_id().as_str() {
        "root" => arg.long("root").hide(false),
        "json" => arg.long("log-json"),
        _ => arg,
    });
    // Before it says what it is about: what is asked has words of its own for that.
    let explain = Asked::augment_args(Command::new("explain"))
        .about("Say what a request would come to: which rule is for it, which file it gets, and what is answered")
        .override_usage("rtftpd explain [OPTIONS] --from <ADDR> <NAME> [OPTION=VALUE]...")
        .after_help(format!(
            "{TAKES_ALL} Nothing is sent, and nothing stays of an upload.\n\nExit status: 0 it would be served, 1 that cannot be \
             said, 2 wrong usage, 3 it would be refused, 4 it would get no answer."
        ))
        .args(of_server);
    let reload = Command::new("reload")
        .about("Have a running server read its configuration, rules and maps again, as SIGHUP does")
        .override_usage("rtftpd reload [--config <FILE>] [--pid-file <FILE>]")
        .after_help(
            "The server is the one with the pid file that --pid-file names, or 'pid-file' in the configuration, which is read \
             before it is asked. Running transfers go on. Where something is wrong with what it reads, nothing changes; its log \
             says what became of it, and which options only a start obeys.\n\nExit status: 0 it was asked, 1 it was not, 2 \
             wrong usage.",
        )
        .args(hidden(server).map(|arg| arg.required(false)));
    // The address may stand where the server has it from, its root is none of it.
    let of_server = hidden(server).filter(|arg| arg.get_id() != "root");
    let top = Top::command_if_any().map(|top| top.args(of_server));
    let all = server
        .clone()
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .subcommands([check, explain, reload])
        .subcommands(top);
    with_negative_values(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packaged_about_it_is_what_it_is() {
        crate::pages::compare("rtftpd", command(&Args::command()), "8");
    }

    #[test]
    fn the_names_of_the_commands_are_those_there_are() {
        let all = command(&Args::command());
        let names: Vec<_> = all.get_subcommands().map(Command::get_name).collect();
        // Without the page there is none to show it.
        let wanted = COMMANDS.len() - usize::from(cfg!(not(feature = "http")));
        assert_eq!(names, COMMANDS[..wanted]);
    }

    fn task(words: &str) -> Result<Task> {
        Task::read(words.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn a_command_is_the_first_word_and_a_folder_may_have_its_name() {
        command(&Args::command()).debug_assert();
        let root = |words: &str| match task(words).expect(words) {
            Task::Serve(given) => format!("serves {}", given.args.root.display()),
            Task::Check(given) => format!("checks {}", given.args.root.display()),
            Task::Explain(given, asked) => {
                format!("{} of {}", asked.name, given.args.root.display())
            }
            Task::Reload(file) => format!("reloads {}", file.unwrap_or_default().display()),
            Task::Top(top) => format!("shows {top:?}"),
        };
        assert_eq!(root("rtftpd /srv --drain 1"), "serves /srv");
        assert_eq!(root("rtftpd check /srv --drain 1"), "checks /srv");
        assert_eq!(root("rtftpd --user check --drain 1 check /srv"), "checks /srv");
        assert_eq!(root("rtftpd check --drain 1 check"), "checks check");
        let explained = "rtftpd explain --root /srv --from 192.0.2.7 a blksize=8";
        assert_eq!(root(explained), "a of /srv");
        assert_eq!(root("rtftpd reload --pid-file x"), "reloads x");
        for words in ["rtftpd ./check", "rtftpd --user check ./check", "rtftpd -- ./check"] {
            assert_eq!(root(words), "serves ./check");
        }
        assert_eq!(root("rtftpd -q -- check"), "serves check");
        #[cfg(feature = "http")]
        for (words, page) in [("", 8069), (" --http 9", 9), (" 7", 7), (" 7 --http 9", 7)] {
            let shown = format!("shows Top(127.0.0.1:{page})");
            assert_eq!(root(format!("rtftpd top{words}").as_str()), shown, "{words}");
        }
        // Words without a command stay where they are, and are read without commands.
        let words: Vec<_> = ["rtftpd", "--drain", "1", "/srv"].map(OsString::from).into();
        assert_eq!(arranged(words.clone(), &unlooked(&Args::command())), words);
        assert!(meant(Path::new("chek")).contains("'check'") && meant(Path::new("srv")).is_empty());
        for words in ["rtftpd", "rtftpd check", "rtftpd /srv check", "rtftpd check / -v -q"] {
            assert!(task(words).is_err(), "{words}");
        }
    }
}
