//! What the program is to do: serve, or one of the commands beside that.
//!
//! A command is the first word: behind options that word is a folder to serve, and so is `./check`. What a command needs to
//! know of the server it is told by the server's own options, which it takes, too.

use crate::args::{Args, advised_here};
use crate::typed::with_negative_values;
use clap::{Arg, Command, CommandFactory};
use std::ffi::OsString;

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// To serve.
    Serve(Args),
    /// To say what would be served, and whether it could.
    Check(Args),
}

impl Task {
    /// What these words ask for; ends the program where that makes no sense.
    pub(crate) fn from_words(words: impl IntoIterator<Item = OsString>) -> Self {
        Self::read(words).unwrap_or_else(|error| advised_here(error).exit())
    }

    /// How the server would be started.
    pub(crate) const fn args(&self) -> &Args {
        match self {
            Self::Serve(args) | Self::Check(args) => args,
        }
    }

    fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let found = command().try_get_matches_from(words)?;
        match found.subcommand() {
            None => Args::checked(&found).map(Self::Serve),
            Some((_, of_check)) => Args::checked(of_check).map(Self::Check),
        }
    }
}

/// The options of the server, for a command that takes them: its own page of help need not have them all again.
fn of_the_server() -> impl Iterator<Item = Arg> {
    let server = Args::command();
    let all: Vec<_> = server.get_arguments().map(|arg| arg.clone().hide(true)).collect();
    all.into_iter()
}

/// All that can be written.
pub(crate) fn command() -> Command {
    let check = Command::new("check")
        .about("See whether the server could be started so, and show what it would do; serves nothing")
        .override_usage("rtftpd check [ROOT] [OPTIONS]")
        .after_help(
            "It takes ROOT and all options of the server: 'rtftpd --help' has them.\n\nExit status: 0 it could be started, 1 it \
             could not, 2 wrong usage.",
        )
        .args(of_the_server());
    let all = Args::command()
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .subcommand(check);
    with_negative_values(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packaged_about_it_is_what_it_is() {
        crate::pages::compare("rtftpd", command(), "8");
    }

    fn task(words: &str) -> Result<Task, clap::Error> {
        Task::read(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_is_the_first_word_and_a_folder_may_have_its_name() {
        command().debug_assert();
        let root = |words| match task(words).expect(words) {
            Task::Serve(args) => format!("serves {}", args.root.display()),
            Task::Check(args) => format!("checks {}", args.root.display()),
        };
        assert_eq!(root("rtftpd /srv --drain 1"), "serves /srv");
        assert_eq!(root("rtftpd check /srv --drain 1"), "checks /srv");
        assert_eq!(root("rtftpd check --drain 1 check"), "checks check");
        for words in ["rtftpd ./check", "rtftpd --drain 1 ./check", "rtftpd -- ./check"] {
            assert_eq!(root(words), "serves ./check");
        }
        for words in ["rtftpd -q check", "rtftpd -- check"] {
            assert_eq!(root(words), "serves check");
        }
        for words in ["rtftpd", "rtftpd check", "rtftpd /srv check", "rtftpd check / -v -q"] {
            assert!(task(words).is_err(), "{words}");
        }
    }
}
