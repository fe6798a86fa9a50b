//! The menu: list, download, upload, quit, by number or by name, typed or from a pipe.

mod complete;
mod names;
mod session;

use crate::advice::Advice;
use crate::args::{ReportArgs, WishArgs};
use crate::remote::Server;
use crate::report::{self, Class, Reporter};
use crate::shown::harmless;
use crate::signals::{Stop, on};
use crate::text::{columns, complain};
use crate::words::near;
use anyhow::Result;
use complete::Completion;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::read;
use rustyline::error::ReadlineError;
use rustyline::{CompletionType, Config, Editor};
use session::Session;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use tftpkit::client::Remote;

const HELP: &str = "\
\x20 1  list [DIRECTORY]       go there and list it; '..' is above, '/' the top
  2  download FILE... [AS]  get files: by name, by number, by *.cfg
  3  upload FILE... [AS]    send files of yours to where you are
  4  quit                   leave
     cd DIRECTORY           go there without a list
     NUMBER                 once there is a list, its line: get it, or go there
     help                   show this page
";

/// The same for a narrow terminal.
const SHORT_HELP: &str = "\
\x201 list [DIR]     go there and list
 2 download FILE  get it (name, number)
 3 upload FILE    send one of yours
 4 quit           leave
   cd DIR         go there
   NUMBER         line of the list shown
   help           show this page
";

/// The commands as they are completed.
const COMMANDS: [&str; 6] = ["list", "cd", "download", "upload", "help", "quit"];

/// All that is understood, and what it means.
const NAMES: [(&str, &str); 20] = [
    ("1", "list"),
    ("ls", "list"),
    ("dir", "list"),
    ("2", "download"),
    ("get", "download"),
    ("fetch", "download"),
    ("3", "upload"),
    ("put", "upload"),
    ("send", "upload"),
    ("4", "quit"),
    ("exit", "quit"),
    ("bye", "quit"),
    ("?", "help"),
    ("chdir", "cd"),
    ("list", "list"),
    ("cd", "cd"),
    ("download", "download"),
    ("upload", "upload"),
    ("help", "help"),
    ("quit", "quit"),
];

/// Commands of other clients, and what does the same here.
const OTHERS: [(&str, &str); 8] = [
    ("connect", HOST),
    ("open", HOST),
    ("binary", MODE),
    ("octet", MODE),
    ("ascii", MODE),
    ("netascii", MODE),
    ("mode", MODE),
    ("pwd", "the prompt has the directory"),
];
const HOST: &str = "'rtftp HOST' opens the menu of another host";
const MODE: &str = "files travel byte for byte unless it was 'rtftp HOST --mode netascii'";

/// The command that a word means: one of its names, or the beginning of its own.
fn what(word: &str) -> Option<&'static str> {
    let named = NAMES.iter().find(|(name, _)| *name == word).map(|(_, command)| *command);
    let begun = || COMMANDS.into_iter().find(|command| command.starts_with(word));
    named.or_else(|| if word.is_empty() { None } else { begun() })
}

/// Opens the menu for the server that was named, and stays until the user quits.
pub(crate) fn open(host: &str, wishes: &WishArgs) -> Class {
    let (named, wishes) = match host.parse() {
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
    let interruptible = |stop: &Stop| {
        let canceller = stop.canceller().clone();
        if is_typed { on(&[Signal::SIGINT], move |_| canceller.cancel()) } else { Ok(()) }
    };
    let stop = match stop.and_then(|stop| interruptible(&stop).map(|()| stop)) {
        Ok(stop) => stop,
        Err(error) => return report::fail("menu", "", &error, &Advice::default()),
    };
    let mut server = Server::new(&named, wishes, &stop);
    let asking = format!("looking for {}\u{2026}", named.host);
    let bar = reporter().bar("", &asking);
    let found = server.client().map(drop);
    drop(bar);
    if let Err(error) = found {
        let class = report::fail("menu", "", &error, &Advice::default());
        if let Some(command) = near(host, ["list", "get", "put", "bench"]) {
            complain(format_args!(
                "  Is the command '{command}' meant? 'rtftp {command} --help' explains it."
            ));
        }
        stop.obey();
        return class;
    }
    let session = Rc::new(RefCell::new(Session::new(named, server, is_typed)));
    let class = if is_typed { typed(&session, &stop) } else { piped(&session, &stop) };
    stop.obey();
    class
}

/// What a line asked for.
enum Line {
    Done,
    Failed(Class),
    Quit,
}

fn page() -> &'static str {
    if columns().is_some_and(|columns| columns < 72) { SHORT_HELP } else { HELP }
}

/// At a terminal an error leaves the user in the menu, and leaving it is success.
fn typed(session: &Rc<RefCell<Session>>, stop: &Stop) -> Class {
    let head = format!("rtftp {}: {}\n", env!("CARGO_PKG_VERSION"), session.borrow().host);
    if say(&(head + page())).is_err() {
        return Class::Local;
    }
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor = match Editor::with_config(config) {
        Ok(editor) => editor,
        Err(error) => return report::fail("menu", "", &error.into(), &Advice::default()),
    };
    editor.set_helper(Some(Completion { session: Rc::clone(session) }));
    let history = history_file();
    if let Some(file) = &history {
        let _ = editor.load_history(file);
    }
    // What interrupts a prompt does not end what is asked for there.
    let canceller = session.borrow().server.canceller();
    let read = |editor: &mut Editor<_, _>, prompt: &str| {
        let line = editor.readline(prompt);
        canceller.reset();
        line
    };
    // Lines that were typed while a transfer was under way: the editor would lose all but the first.
    let mut ahead = VecDeque::new();
    loop {
        let prompt = session.borrow().prompt();
        if canceller.is_cancelled() {
            // As the terminal does with what it holds.
            ahead.clear();
            canceller.reset();
        }
        ahead.extend(typed_ahead());
        let line = match ahead.pop_front() {
            Some(line) => {
                say(&format!("{prompt}{line}\n")).map(|()| line).map_err(|_| ReadlineError::Eof)
            }
            None => read(&mut editor, &prompt),
        };
        match line {
            Ok(line) => {
                // What was pasted may have several lines.
                let mut lines = line.split(['\n', '\r']).map(str::to_owned);
                let line = lines.next().unwrap_or_default();
                lines.rev().filter(|line| !line.is_empty()).for_each(|line| ahead.push_front(line));
                let _ = editor.add_history_entry(line.as_str());
                // An answer is none to a question that was not read yet, and no line for another day.
                let answer = |question: &str| {
                    ahead.extend(typed_ahead());
                    read(&mut editor, question).ok()
                };
                let done = obey(session, &line, answer);
                if matches!(done, Line::Quit) || stop.cause().is_some() {
                    break;
                }
            }
            // Ctrl-C takes back the line, as in a shell.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return report::fail("menu", "", &error.into(), &Advice::default()),
        }
    }
    if let Some(file) = &history {
        let _ = editor.save_history(file);
    }
    Class::Done
}

/// The whole lines that wait at the terminal, which is not the editor's yet.
fn typed_ahead() -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = [0; 4096];
    let stdin = io::stdin();
    let waits = || {
        let flags = tcgetattr(&stdin).map(|terminal| terminal.local_flags);
        let is_by_lines = flags.is_ok_and(|flags| flags.contains(LocalFlags::ICANON));
        let ready = &mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        is_by_lines && poll(ready, PollTimeout::ZERO) == Ok(1)
    };
    while waits() {
        // A terminal gives one line at a time.
        let Ok(len @ 1..) = read(&stdin, &mut line) else { break };
        lines.push(String::from_utf8_lossy(&line[..len]).trim_end_matches('\n').to_owned());
    }
    lines
}

/// From a pipe the exit status tells of the first line that failed.
fn piped(session: &Rc<RefCell<Session>>, stop: &Stop) -> Class {
    let mut class = Class::Done;
    for line in io::stdin().lock().split(b'\n') {
        let line = match line {
            Ok(line) => line,
            Err(error) => return report::fail("menu", "", &error.into(), &Advice::default()),
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
    let session = &mut *session.borrow_mut();
    session.advice.anew();
    let is_number = !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_digit());
    let has_lines = session.listing.as_ref().is_some_and(|listing| !listing.entries.is_empty());
    let picks = is_number && words.is_empty() && has_lines;
    let meant = if picks { Some("pick") } else { what(&command.to_lowercase()) };
    let goes_there = picks && session.leads_to_directory(command);
    // What a command needs and was not given is asked for.
    let is_typed = session.is_typed;
    let mut need = |question: &str| {
        let mut arguments = words.to_vec();
        if arguments.is_empty() {
            match ask(question) {
                Some(answer) => {
                    arguments.extend(shlex::split(&answer).unwrap_or_else(|| vec![answer]));
                }
                None if is_typed => return None,
                None => {}
            }
        }
        Some(arguments)
    };
    let done = match meant {
        Some("pick") => session.pick(command, &mut ask),
        Some("list") => session.list(words),
        Some("cd") => session.change(words),
        Some("download") => {
            // Who breaks off the question wants nothing.
            let Some(files) = need("Which file (name or number)? ") else { return Line::Done };
            session.download(&files, &mut ask)
        }
        Some("upload") => {
            let Some(files) = need("Which of your files? ") else { return Line::Done };
            session.upload(&files)
        }
        Some("quit") => return Line::Quit,
        Some("help") => say(page()).map(|()| Class::Done),
        _ if is_number && !has_lines && session.lists_nothing => {
            misused(format!("{command} is a line of no list: this server lists nothing"))
        }
        _ if is_number && !has_lines => misused(format!(
            "{command} is a line of which list? None was shown of where you are: 'list' does"
        )),
        _ if is_number => misused(format!(
            "a number stands alone, or behind its command, as in 'download {command} NAME'"
        )),
        _ => {
            let known = NAMES.iter().map(|(name, _)| *name).filter(|name| name.len() > 1);
            let others = OTHERS.iter().find(|(name, _)| *name == command.to_lowercase());
            let hint = match (others, near(command, known)) {
                (Some((_, hint)), _) => (*hint).to_owned(),
                (None, Some(near)) => format!("did you mean '{near}'?"),
                (None, None) => "'help' shows what there is".into(),
            };
            misused(format!("there is no command '{command}'; {hint}"))
        }
    };
    match done {
        Ok(Class::Done) => Line::Done,
        Ok(failed) => Line::Failed(failed),
        // Nobody reads on.
        Err(error) if error.is::<OutputClosed>() => Line::Quit,
        Err(error) => {
            let picked = if goes_there { "list" } else { "download" };
            let command = meant.filter(|meant| *meant != "pick").unwrap_or(picked);
            Line::Failed(session.failed(command, &error))
        }
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

fn reporter() -> Reporter {
    Reporter::new(ReportArgs { quiet: false, json: false })
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.filter(|path| path.is_absolute()).or_else(home)?.join("rtftp");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests;
