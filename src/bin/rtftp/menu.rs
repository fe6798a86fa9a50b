//! The menu: list, download, upload, quit, by number or by name, typed or from a pipe.

use crate::args::WishArgs;
use crate::local::{Destination, base_name};
use crate::remote::Server;
use crate::report::{self, Bar, Class, Reporter};
use crate::signals::{Stop, on};
use crate::text::{complain, harmless, shown, table};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::{CompletionType, Config, Editor, Helper, Highlighter, Hinter, Validator};
use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tftpkit::client::{Failure, Host, Remote};
use tftpkit::store::{Kind, Listing};

const HELP: &str = "\
  1  list [DIRECTORY]         list the server's files; '..' is the directory above
  2  download FILE [AS]       get one: by its name, or by its number in the list
  3  upload FILE [AS]         send one of yours
  4  quit                     leave
     help                     show this page
";

/// Opens the menu for the server that was named, and stays until the user quits.
pub(crate) fn open(host: &str, wishes: &WishArgs) -> Class {
    let (host, wishes) = match host.parse() {
        Ok(Remote { host, name, mode }) if name.is_empty() => (host, wishes.wishes(mode)),
        Ok(_) => {
            complain(format_args!(
                "rtftp: the menu opens with a host alone; 'rtftp get {host}' gets a file"
            ));
            return Class::Usage;
        }
        Err(error) => {
            complain(format_args!("rtftp: {error}"));
            return Class::Usage;
        }
    };
    let is_typed = io::stdin().is_terminal();
    // A person's Ctrl-C ends the transfer that is under way, and leaves them in the menu.
    let stop =
        if is_typed { Stop::on(&[Signal::SIGTERM, Signal::SIGHUP]) } else { Stop::on_signals() };
    let stop = match stop {
        Ok(stop) => stop,
        Err(error) => return report::fail("menu", "", &error),
    };
    let session = Rc::new(RefCell::new(Session {
        server: Server::new(&host, wishes, &stop),
        host,
        directory: Vec::new(),
        listing: None,
        completing: None,
    }));
    let class = if is_typed { typed(&session, &stop) } else { piped(&session, &stop) };
    stop.obey();
    class
}

/// What the menu remembers.
struct Session {
    host: Host,
    server: Server,
    /// The directory that was listed last, and what was in it: numbers mean its lines.
    directory: Vec<u8>,
    listing: Option<Listing>,
    /// What completion looked at last, apart from that: the numbers on the screen must stay true.
    completing: Option<(Vec<u8>, Listing)>,
}

/// What a line asked for.
enum Line {
    Done,
    Failed(Class),
    Quit,
}

/// At a terminal an error leaves the user in the menu, and leaving it is success.
fn typed(session: &Rc<RefCell<Session>>, stop: &Stop) -> Class {
    let head = format!("rtftp {}: {}\n", env!("CARGO_PKG_VERSION"), session.borrow().host);
    if say(&(head + HELP)).is_err() {
        return Class::Local;
    }
    let canceller = session.borrow().server.canceller();
    if let Err(error) = on(&[Signal::SIGINT], move |_| canceller.cancel()) {
        return report::fail("menu", "", &error);
    }
    let config =
        Config::builder().auto_add_history(true).completion_type(CompletionType::List).build();
    let mut editor = match Editor::with_config(config) {
        Ok(editor) => editor,
        Err(error) => return report::fail("menu", "", &error.into()),
    };
    editor.set_helper(Some(Completion {
        session: Rc::clone(session),
        files: FilenameCompleter::new(),
    }));
    let history = history_file();
    if let Some(file) = &history {
        let _ = editor.load_history(file);
    }
    // What interrupts a prompt does not end what is asked for there.
    let canceller = session.borrow().server.canceller();
    let mut read = |prompt: &str| {
        let line = editor.readline(prompt);
        canceller.reset();
        line
    };
    loop {
        match read("rtftp> ") {
            Ok(line) => {
                let answer = |question: &str| read(question).ok();
                let done = obey(session, &line, answer);
                if matches!(done, Line::Quit) || stop.cause().is_some() {
                    break;
                }
            }
            // Ctrl-C takes back the line, as in a shell.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return report::fail("menu", "", &error.into()),
        }
    }
    if let Some(file) = &history {
        let _ = editor.save_history(file);
    }
    Class::Done
}

/// From a pipe the exit status tells of the first line that failed.
fn piped(session: &Rc<RefCell<Session>>, stop: &Stop) -> Class {
    let mut class = Class::Done;
    for line in io::stdin().lock().split(b'\n') {
        let line = match line {
            Ok(line) => line,
            Err(error) => return report::fail("menu", "", &error.into()),
        };
        let done = match str::from_utf8(line.strip_suffix(b"\r").unwrap_or(&line)) {
            Ok(line) => obey(session, line, |_| None),
            Err(_) => {
                let line = String::from_utf8_lossy(&line);
                complain(format_args!("rtftp: this line is not UTF-8: {}", harmless(&line)));
                Line::Failed(Class::Usage)
            }
        };
        match done {
            Line::Quit => break,
            _ if stop.cause().is_some() => break,
            Line::Failed(failed) if class == Class::Done => class = failed,
            Line::Done | Line::Failed(_) => {}
        }
    }
    class
}

fn obey(
    session: &Rc<RefCell<Session>>,
    line: &str,
    mut ask: impl FnMut(&str) -> Option<String>,
) -> Line {
    let Some(words) = shlex::split(line) else {
        complain(format_args!("rtftp: a quote is not closed in: {line}"));
        return Line::Failed(Class::Usage);
    };
    let Some((command, words)) = words.split_first() else { return Line::Done };
    let command = command.to_lowercase();
    let is = |number: &str, name: &str| command == number || name.starts_with(&command);
    // What a command needs and was not given is asked for.
    let mut arguments = words.to_vec();
    let mut need = |question: &str| {
        if arguments.is_empty() {
            arguments.extend(ask(question).filter(|answer| !answer.trim().is_empty()));
        }
        arguments.clone()
    };
    let session = &mut *session.borrow_mut();
    let (what, done) = if is("1", "list") || command == "ls" {
        ("list", session.list(words))
    } else if is("2", "download") || command == "get" {
        ("download", session.download(&need("Which file (name or number)? ")))
    } else if is("3", "upload") || command == "put" {
        ("upload", session.upload(&need("Which of your files? ")))
    } else if is("4", "quit") || command == "exit" {
        return Line::Quit;
    } else if is("?", "help") {
        ("help", say(HELP))
    } else {
        let error = format!("there is no command '{command}'; 'help' shows what there is");
        ("menu", Err(Misused(error).into()))
    };
    match done {
        Ok(()) => Line::Done,
        // Nobody reads on.
        Err(error) if error.is::<OutputClosed>() => Line::Quit,
        Err(error) if error.is::<Misused>() => {
            complain(format_args!("rtftp: {error}"));
            Line::Failed(Class::Usage)
        }
        Err(error) => Line::Failed(report::fail(what, "", &error)),
    }
}

/// Standard output cannot be written any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct OutputClosed;

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| OutputClosed.into())
}

/// A line that cannot be obeyed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

fn misused<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Misused(sentence.into()).into())
}

impl Session {
    fn list(&mut self, words: &[String]) -> Result<()> {
        let directory = match words {
            [] => Vec::new(),
            [directory] => self.name_of(directory)?,
            _ => return misused("list takes one directory; put quotes around a name with blanks"),
        };
        let listing = self.server.list(&directory, &Bar::default()).inspect_err(|error| {
            if matches!(error.downcast_ref(), Some(Failure::NoListing)) {
                complain(format_args!(
                    "This server cannot list; 'download NAME' works if you know the name."
                ));
            }
        })?;
        if listing.entries.is_empty() {
            say("(empty)\n")?;
        }
        say(&table(&listing, true))?;
        self.directory = directory;
        self.listing = Some(listing);
        Ok(())
    }

    fn download(&mut self, words: &[String]) -> Result<()> {
        let (file, to) = match words {
            [file] => (file, None),
            [file, to] => (file, Some(PathBuf::from(to))),
            [] => return misused("download what? Give a name, or a number from the list"),
            _ => {
                return misused(
                    "download takes a file and the name it gets here; put quotes around blanks",
                );
            }
        };
        let name = self.name_of(file)?;
        if name.ends_with(b"/") {
            let shown = harmless(&String::from_utf8_lossy(&name));
            return misused(format!(
                "'{shown}' is a directory; 'list {shown}' shows what is in it"
            ));
        }
        let base = base_name(&name)?.to_owned();
        let to = Destination::new(to.as_deref(), &base, false)?;
        if let Destination::File(path) = &to {
            refuse_fifo(path)?;
        }
        let bar = reporter().bar(&base.to_string_lossy());
        let summary = self.server.get(&name, &to, &bar);
        drop(bar);
        let summary = summary.with_context(|| format!("{}", String::from_utf8_lossy(&name)))?;
        if let Destination::File(path) = &to {
            let name = harmless(&path.to_string_lossy());
            say(&format!("{name}: {}\n", report::in_words(&summary)))?;
        }
        if let Some(warning) = report::warning(&summary) {
            complain(format_args!("rtftp: {warning}"));
        }
        Ok(())
    }

    fn upload(&mut self, words: &[String]) -> Result<()> {
        let (file, to) = match words {
            [file] => (file, None),
            [file, to] => (file, Some(to)),
            [] => return misused("upload what? Give the name of one of your files"),
            _ => {
                return misused(
                    "upload takes a file and the name it gets there; put quotes around blanks",
                );
            }
        };
        if file == "-" {
            return misused(
                "the menu itself reads standard input; 'rtftp put - HOST NAME' sends it",
            );
        }
        refuse_fifo(Path::new(file))?;
        let mut name = to.map_or_else(Vec::new, |to| to.as_bytes().to_vec());
        if name.is_empty() || name.ends_with(b"/") {
            name.extend_from_slice(base_name(file.as_bytes())?.as_bytes());
        }
        let bar = reporter().bar(file);
        let summary = self.server.put(Path::new(file), &name, &bar);
        drop(bar);
        let summary = summary.with_context(|| file.clone())?;
        let shown = harmless(&String::from_utf8_lossy(&name));
        say(&format!("{shown}: {}\n", report::in_words(&summary)))?;
        // The numbers on the screen stay true.
        self.completing = None;
        Ok(())
    }

    /// A number or a name of the last list, or a name as it is; `..` is the directory above that list.
    fn name_of(&self, word: &str) -> Result<Vec<u8>> {
        let entries = self.listing.as_ref().map_or(&[][..], |listing| &listing.entries);
        if word == ".." {
            let up = self.directory.strip_suffix(b"/").unwrap_or(&self.directory);
            let end = up.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            return Ok(up[..end].to_vec());
        }
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = word.parse::<usize>().ok().filter(|_| is_number);
        let numbered = number.and_then(|number| entries.get(number.wrapping_sub(1)));
        // What the screen shows works as it stands there.
        let named = || entries.iter().find(|entry| entry.name == *word.trim_end_matches('/'));
        let Some(entry) = numbered.or_else(named) else {
            if is_number && !entries.is_empty() {
                return misused(format!(
                    "the list has no number {word}; it ends at {}",
                    entries.len()
                ));
            }
            return Ok(word.as_bytes().to_vec());
        };
        let mut name = self.directory.clone();
        if !name.is_empty() && !name.ends_with(b"/") {
            name.push(b'/');
        }
        name.extend_from_slice(entry.name.as_bytes());
        if entry.kind == Kind::Directory {
            name.push(b'/');
        }
        Ok(name)
    }

    /// Remote names that begin with what was typed.
    fn completions(&mut self, typed: &str) -> Vec<String> {
        if !typed.contains('/') && !self.directory.is_empty() {
            let listed = self.listing.iter().flat_map(|listing| &listing.entries).map(shown);
            return listed.filter(|name| name.starts_with(typed)).collect();
        }
        let directory = typed.rsplit_once('/').map_or("", |(directory, _)| directory);
        if self.completing.as_ref().is_none_or(|(known, _)| known != directory.as_bytes()) {
            self.server.canceller().reset();
            // Where there is none, there is none at the next key either.
            let listing =
                self.server.list(directory.as_bytes(), &Bar::default()).unwrap_or_default();
            self.completing = Some((directory.into(), listing));
        }
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let entries = self.completing.iter().flat_map(|(_, listing)| &listing.entries);
        let names = entries.filter(|entry| entry.name.to_str().is_some());
        names
            .map(|entry| format!("{prefix}{}", shown(entry)))
            .filter(|name| name.starts_with(typed))
            .collect()
    }
}

/// To open a FIFO is to wait for who opens its other end, and nothing would end that.
fn refuse_fifo(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(about) if about.file_type().is_fifo() => {
            misused(format!("'{}' is a FIFO: 'rtftp get' and 'rtftp put' take it", path.display()))
        }
        _ => Ok(()),
    }
}

fn reporter() -> Reporter {
    Reporter::new(crate::args::ReportArgs { quiet: false, json: false })
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.filter(|path| path.is_absolute()).or_else(home)?.join("rtftp");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Completes commands, then remote names for a download or a list, and local ones for an upload.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Completion {
    session: Rc<RefCell<Session>>,
    files: FilenameCompleter,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or(line);
        let Some((command, _)) = typed.trim_start().split_once(' ') else {
            let commands = ["list ", "download ", "upload ", "quit", "help"].into_iter();
            let fitting = commands.filter(|command| command.starts_with(typed.trim_start()));
            return Ok((typed.len() - typed.trim_start().len(), fitting.map(pair).collect()));
        };
        let command = command.to_lowercase();
        if command == "3" || command == "put" || "upload".starts_with(&command) {
            return self.files.complete(line, at, context);
        }
        let start = typed.rfind(' ').map_or(0, |blank| blank + 1);
        let Ok(mut session) = self.session.try_borrow_mut() else { return Ok((at, Vec::new())) };
        let names = session.completions(&typed[start..]);
        Ok((start, names.iter().map(String::as_str).map(pair).collect()))
    }
}

/// A candidate as it is shown, and as the line needs it.
fn pair(candidate: &str) -> Pair {
    let quoted = shlex::try_quote(candidate.trim_end_matches(' '));
    let replacement = match quoted {
        Ok(quoted) if quoted != candidate.trim_end_matches(' ') => quoted.into_owned(),
        _ => candidate.to_owned(),
    };
    Pair { display: candidate.trim_end().to_owned(), replacement }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustyline::history::DefaultHistory;
    use tftpkit::client::Wishes;
    use tftpkit::store::Entry;

    fn listing(names: &[&str]) -> Listing {
        let entry = |name: &&str| {
            let kind = if name.ends_with('/') { Kind::Directory } else { Kind::File };
            let name = name.trim_end_matches('/').into();
            Entry { name, kind, size: 0, modified: std::time::UNIX_EPOCH }
        };
        Listing { entries: names.iter().map(entry).collect(), cut: false }
    }

    /// A menu that has listed `directory`, of a server where nothing listens.
    fn session(directory: &str) -> Session {
        let unused =
            std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = unused.expect("a port that is free again").port();
        let host = Host { host: "127.0.0.1".into(), port };
        Session {
            server: Server::new(&host, Wishes::default(), &Stop::default()),
            host,
            directory: directory.into(),
            listing: Some(listing(&["7", "a b", "dir/", "fine", "first"])),
            completing: None,
        }
    }

    #[test]
    fn a_word_is_a_number_a_name_of_the_last_list_or_a_name_as_it_is() {
        let name = |directory: &str, word: &str| {
            let name = session(directory).name_of(word).map_err(|error| error.to_string());
            name.map(|name| String::from_utf8_lossy(&name).into_owned())
        };
        let cases = [
            ("", "1", "7"),
            ("", "3", "dir/"),
            ("sub", "1", "sub/7"),
            ("sub/", "3", "sub/dir/"),
            ("sub", "7", "sub/7"),
            ("sub", "dir", "sub/dir/"),
            ("sub", "dir/", "sub/dir/"),
            ("sub", "other", "other"),
            ("sub", "+1", "+1"),
            ("sub", "", ""),
            ("", "..", ""),
            ("sub/", "..", ""),
            ("a/b", "..", "a"),
            ("a/b/c/", "..", "a/b"),
        ];
        for (directory, word, expected) in cases {
            assert_eq!(name(directory, word), Ok(expected.into()), "{word} in {directory}");
        }
        for number in ["0", "6", "99999999999999999999"] {
            let refused = Err(format!("the list has no number {number}; it ends at 5"));
            assert_eq!(name("", number), refused);
        }
        let mut nothing = session("");
        nothing.listing = None;
        assert_eq!(nothing.name_of("6").expect("a name"), b"6", "there is no list to have numbers");
    }

    #[test]
    fn what_a_command_needs_is_asked_for_and_an_empty_answer_is_none() {
        let session = Rc::new(RefCell::new(session("")));
        // The exit status where it fails, and what was asked.
        let obeyed = |line: &str, answer: Option<&str>| {
            let mut asked = Vec::new();
            let done = obey(&session, line, |question| {
                asked.push(question.to_owned());
                answer.map(str::to_owned)
            });
            let class = match done {
                Line::Done => Some(Class::Done),
                Line::Failed(class) => Some(class),
                Line::Quit => None,
            };
            (class, asked.concat())
        };
        let (which, whose) = ("Which file (name or number)? ", "Which of your files? ");
        let cases = [
            ("upload", Some("absent"), Some(Class::Local), whose),
            ("3", Some("  "), Some(Class::Usage), whose),
            ("put absent", Some("other"), Some(Class::Local), ""),
            ("download", Some("a/"), Some(Class::Usage), which),
            ("GET", None, Some(Class::Usage), which),
            ("2 name -", None, Some(Class::NoAnswer), ""),
            ("ls", None, Some(Class::NoAnswer), ""),
            ("l a b", None, Some(Class::Usage), ""),
            ("download '", None, Some(Class::Usage), ""),
            ("bogus", None, Some(Class::Usage), ""),
            (" ", None, Some(Class::Done), ""),
            ("q", None, None, ""),
            ("exit", None, None, ""),
        ];
        for (line, answer, class, asked) in cases {
            assert_eq!(obeyed(line, answer), (class, asked.to_owned()), "{line}");
        }
    }

    #[test]
    fn names_are_completed_from_the_list_on_the_screen_and_others_from_the_server() {
        let mut below = session("sub");
        assert_eq!(below.completions("fi"), ["fine", "first"]);
        assert_eq!(below.completions("d"), ["dir/"]);
        assert_eq!(below.completing, None, "the server was not asked");
        below.completing = Some((b"dir".to_vec(), listing(&["x", "xy/", "z"])));
        assert_eq!(below.completions("dir/x"), ["dir/x", "dir/xy/"]);
        // Where it cannot be asked there is nothing, and it is not asked again at the next key.
        below.server.canceller().cancel();
        assert_eq!(below.completions("other/x"), [""; 0]);
        assert_eq!(below.completing, Some((b"other".to_vec(), Listing::default())));
        assert!(!below.server.canceller().is_cancelled(), "an earlier Ctrl-C is not about this");
        let mut root = session("");
        root.completing = Some((Vec::new(), listing(&["x", "y/"])));
        assert_eq!(root.completions(""), ["x", "y/"]);
    }

    #[test]
    fn a_line_is_completed_by_what_its_command_takes() {
        let completion = Completion {
            session: Rc::new(RefCell::new(session("sub"))),
            files: FilenameCompleter::new(),
        };
        let history = DefaultHistory::new();
        let complete = |line: &str| {
            let context = rustyline::Context::new(&history);
            let (start, found) = completion.complete(line, line.len(), &context).expect("names");
            (start, found.into_iter().map(|pair| pair.replacement).collect::<Vec<_>>())
        };
        let found = |start: usize, names: &[&str]| {
            (start, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let all = ["list ", "download ", "upload ", "quit", "help"];
        assert_eq!(complete(""), found(0, &all));
        assert_eq!(complete("  do"), found(2, &["download "]));
        assert_eq!(complete("bogus"), found(0, &[]));
        assert_eq!(complete("list d"), found(5, &["dir/"]));
        assert_eq!(complete("2 one fi"), found(6, &["fine", "first"]));
        assert_eq!(complete("get a"), found(4, &["'a b'"]), "what has a blank is quoted");
        for upload in ["3 Cargo.to", "put Cargo.to", "UP Cargo.to"] {
            assert_eq!(complete(upload), found(upload.len() - 8, &["Cargo.toml"]), "{upload}");
        }
        let shown = pair("download ");
        assert_eq!((&*shown.display, &*shown.replacement), ("download", "download "));
    }
}
