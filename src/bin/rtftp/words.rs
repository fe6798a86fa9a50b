//! The words of a command line, in the order in which its parser takes them; and commands that are misspelt.

use crate::args::interval;
use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Puts the command first: options may stand before it, as may `help`. Where there is no such command, says which may
/// be meant.
pub(crate) fn arranged(words: Vec<OsString>, app: &Command) -> Result<Vec<OsString>, String> {
    let mut words = with_interval(words);
    let places = places(&words, app);
    let Some((&at, behind)) = places.split_first() else { return Ok(words) };
    let Some(word) = words[at].to_str() else { return Ok(words) };
    let command =
        |word: &OsStr| word.to_str().is_some_and(|word| app.find_subcommand(word).is_some());
    if command(&words[at]) {
        words[1..=at].rotate_right(1);
        return Ok(words);
    }
    let there_is_none = |word: &str| match near(word, names(app)) {
        Some(meant) => format!("there is no command '{word}': did you mean '{meant}'?"),
        None => {
            format!(
                "there is no command '{word}': get, put, list, check and bench are those there are"
            )
        }
    };
    if word == "help" {
        let mut asked = vec![words[0].clone()];
        if let Some(&about) = behind.first() {
            if !command(&words[about]) && words[about] != "help" {
                return Err(there_is_none(&words[about].to_string_lossy()));
            }
            asked.extend(command(&words[about]).then(|| words[about].clone()));
        }
        asked.push("--help".into());
        return Ok(asked);
    }
    let Some(&second) = behind.first() else { return Ok(words) };
    if command(&words[second]) {
        let mut meant = words;
        meant[1..=second].rotate_right(1);
        let meant: Vec<_> = meant[1..].iter().map(|word| word.to_string_lossy()).collect();
        let meant = shlex::try_join(meant.iter().map(AsRef::as_ref)).unwrap_or_default();
        return Err(format!("the command stands before the host: rtftp {meant}"));
    }
    if words.iter().any(|word| is_unknown(word, app)) {
        // What stands behind an option that there is not may be its value: that is told first.
        return Ok(words);
    }
    Err(there_is_none(word))
}

/// Whether it is a long option that no command has.
fn is_unknown(word: &OsStr, app: &Command) -> bool {
    let Some(long) = word.to_str().and_then(|word| word.strip_prefix("--")) else { return false };
    let long = long.split('=').next().unwrap_or_default();
    let mut all = app.get_subcommands().chain([app]).flat_map(Command::get_arguments);
    !long.is_empty() && all.all(|arg| arg.get_long() != Some(long))
}

/// Takes a time behind `--wait` for the interval that it is: no file and no host is called so.
fn with_interval(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_interval =
        |word: &str| word.bytes().any(|byte| byte.is_ascii_digit()) && interval(word).is_ok();
    for at in 1..words.len() {
        let Some(word) = words[at].to_str() else { continue };
        if let Some(time) = word.strip_prefix("--wait=").filter(|time| is_interval(time)) {
            let time = time.into();
            words.splice(at..=at, ["--wait".into(), "--interval".into(), time]);
            break;
        }
        let next = words.get(at + 1).and_then(|next| next.to_str());
        if word == "--wait"
            && next.is_some_and(|next| is_interval(next) && !Path::new(next).exists())
        {
            words.insert(at + 1, "--interval".into());
            break;
        }
    }
    words
}

/// The places of the words that are neither options nor values of options.
fn places(words: &[OsString], app: &Command) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.as_bytes() {
            // What stands behind it is no command.
            b"--" => break,
            [b'-', _, ..] if takes_next(word, app) => at += 1,
            [b'-', _, ..] => {}
            _ => places.push(at),
        }
        at += 1;
    }
    places
}

/// Whether the next word is the value of this option.
fn takes_next(option: &OsStr, app: &Command) -> bool {
    let Some(option) = option.to_str() else { return false };
    let is_it = |arg: &&Arg| match option.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        // Several letters may stand together; the last one's value follows.
        None => arg.get_short().is_some_and(|short| option.ends_with(short)),
    };
    let all = app.get_subcommands().chain([app]).flat_map(Command::get_arguments);
    all.filter(is_it).any(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

/// All names of all commands.
fn names(app: &Command) -> impl Iterator<Item = &str> {
    app.get_subcommands().flat_map(Command::get_name_and_visible_aliases).chain(["help"])
}

/// The one of `known` that is most like `word`, where it is like it at all.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let all = known.into_iter().map(|known| (strsim::damerau_levenshtein(&word, known), known));
    let (typos, nearest) = all.min_by_key(|(typos, _)| *typos)?;
    // One in a short word, two in a long one.
    (typos <= if nearest.len() > 4 { 2 } else { 1 }).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::CommandFactory;

    fn told(line: &str) -> Result<String, String> {
        let mut app = Args::command();
        app.build();
        let words = line.split(' ').map(OsString::from).collect();
        let words = arranged(words, &app)?;
        Ok(words.join(OsStr::new(" ")).into_string().expect("UTF-8"))
    }

    #[test]
    fn options_may_stand_before_the_command_with_their_values() {
        let cases = [
            ("rtftp get h f", "rtftp get h f"),
            ("rtftp --json get h f", "rtftp get --json h f"),
            ("rtftp --blksize 512 -q get h f", "rtftp get --blksize 512 -q h f"),
            ("rtftp --blksize=512 list h", "rtftp list --blksize=512 h"),
            ("rtftp -o get get h f", "rtftp get -o get h f"),
            ("rtftp -qo get get h f", "rtftp get -qo get h f"),
            ("rtftp --wait put f h", "rtftp put --wait f h"),
            ("rtftp put --wait 0.5 f h", "rtftp put --wait --interval 0.5 f h"),
            ("rtftp put --wait=500ms f h", "rtftp put --wait --interval 500ms f h"),
            ("rtftp put --wait 192.0.2.1 f h", "rtftp put --wait 192.0.2.1 f h"),
            ("rtftp put --wait 1000 f h", "rtftp put --wait 1000 f h"),
            ("rtftp --timeout 3 h", "rtftp --timeout 3 h"),
            ("rtftp h --timeout 3", "rtftp h --timeout 3"),
            ("rtftp", "rtftp"),
            ("rtftp -- get", "rtftp -- get"),
            ("rtftp ls h", "rtftp ls h"),
            // The option that there is not is told, and not its value.
            ("rtftp --blksiez 5 h", "rtftp --blksiez 5 h"),
            ("rtftp --blksiez=5 gte h", "rtftp --blksiez=5 gte h"),
        ];
        for (line, expected) in cases {
            assert_eq!(told(line), Ok(expected.into()), "{line}");
        }
    }

    #[test]
    fn help_is_a_word_and_an_option() {
        let cases = [
            ("rtftp help", "rtftp --help"),
            ("rtftp help get", "rtftp get --help"),
            ("rtftp help help", "rtftp --help"),
            ("rtftp --json help ls", "rtftp ls --help"),
        ];
        for (line, expected) in cases {
            assert_eq!(told(line), Ok(expected.into()), "{line}");
        }
        assert!(told("rtftp help gett").is_err_and(|why| why.contains("did you mean 'get'?")));
    }

    #[test]
    fn a_command_that_there_is_not_is_told_with_the_one_that_is_meant() {
        let why = |line: &str| told(line).expect_err(line);
        let typos = [
            ("gett", "get"),
            ("gte", "get"),
            ("Get", "get"),
            ("lits", "list"),
            ("dowload", "download"),
            ("uplaod", "upload"),
            ("fecth", "fetch"),
            ("snd", "send"),
            ("bnech", "bench"),
        ];
        for (typed, meant) in typos {
            let told = format!("there is no command '{typed}': did you mean '{meant}'?");
            assert_eq!(why(&format!("rtftp {typed} h f")), told);
        }
        let all = "get, put, list, check and bench are those there are";
        // In a short word two letters make another word.
        for word in ["frobnicate", "lxxt", "sxxd", "pxx"] {
            let told = why(&format!("rtftp {word} h f"));
            assert!(told.ends_with(all), "{told}");
        }
        assert!(why("rtftp fexxh h f").ends_with("did you mean 'fetch'?"));
        let turned = "the command stands before the host: rtftp get 192.0.2.1 'a b'";
        let words = ["rtftp", "192.0.2.1", "get", "a b"].map(OsString::from).to_vec();
        let mut app = Args::command();
        app.build();
        assert_eq!(arranged(words, &app), Err(turned.into()));
    }
}
