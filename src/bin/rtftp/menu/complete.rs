//! Completion: commands, then the server's names or this machine's. It never waits longer than a moment.

use super::names::{joined, last_word, local};
use super::session::Session;
use super::{COMMANDS, what};
use crate::text::shown;
use rustyline::completion::{Completer, Pair};
use rustyline::{Helper, Highlighter, Hinter, Validator};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tftpkit::client::{Canceller, Client, Host, Wishes};
use tftpkit::store::{Entry, Kind, Listing};

/// A person notices no shorter wait, and takes no longer one for an answer to a key.
const MOMENT: Duration = Duration::from_millis(300);

/// Looks into directories of a server, beside whoever types.
#[derive(Debug, Default)]
pub(super) struct Looker {
    /// The directory that was looked into last.
    directory: Option<Vec<u8>>,
    /// What was found there, once that is known.
    listing: Option<Listing>,
    answer: Option<Receiver<Listing>>,
    canceller: Canceller,
}

impl Looker {
    /// What is in a directory, if it can be told in a moment; it may be at the next key.
    pub(super) fn look(
        &mut self,
        server: &(Host, Wishes),
        client: Option<Client>,
        directory: &[u8],
    ) -> &[Entry] {
        if self.directory.as_deref() != Some(directory) {
            self.forget();
            self.directory = Some(directory.to_vec());
            let (tell, answer) = channel();
            let ((host, wishes), canceller) = (server.clone(), self.canceller.clone());
            let name = directory.to_vec();
            let ask = move || {
                let client = client.or_else(|| Some(host.client().ok()?.wishes(wishes)));
                // Where there is none, there is none at the next key either.
                let found =
                    client.and_then(|client| client.cancelled_by(&canceller).list(name).ok());
                let _ = tell.send(found.unwrap_or_default());
            };
            let _ = std::thread::Builder::new().name("completion".into()).spawn(ask);
            self.answer = Some(answer);
            if let Some(answer) = &self.answer {
                self.listing = answer.recv_timeout(MOMENT).ok();
            }
        } else if let (None, Some(answer)) = (&self.listing, &self.answer) {
            self.listing = answer.try_recv().ok();
        }
        self.listing.as_ref().map_or(&[], |listing| &listing.entries)
    }

    /// What was found may be true no more.
    pub(super) fn forget(&mut self) {
        self.canceller.cancel();
        *self = Self::default();
    }
}

#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completion {
    pub(super) session: Rc<RefCell<Session>>,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or(line);
        let Some((command, _)) = typed.trim_start().split_once(' ') else {
            let command = typed.trim_start();
            let fitting = COMMANDS.iter().filter(|known| known.starts_with(command));
            let pair = |known: &&str| {
                let alone = matches!(*known, "quit" | "help");
                Pair {
                    display: (*known).into(),
                    replacement: format!("{known}{}", if alone { "" } else { " " }),
                }
            };
            return Ok((typed.len() - command.len(), fitting.map(pair).collect()));
        };
        let (start, word) = last_word(typed);
        let theirs = || match self.session.try_borrow_mut() {
            Ok(mut session) => session.completions(&word),
            Err(_) => Vec::new(),
        };
        let directories = |mut names: Vec<String>| {
            names.retain(|name| name.ends_with('/'));
            names
        };
        let to_other_side = shlex::split(&typed[..start]).is_some_and(|words| words.len() > 1);
        let command = what(&command.to_lowercase());
        let mut names = match command {
            Some("cd" | "list") => directories(theirs()),
            Some("upload") => local_names(&word),
            _ => theirs(),
        };
        // Behind a file may stand where it goes.
        if names.is_empty() && to_other_side {
            names = match command {
                Some("upload") => directories(theirs()),
                Some("download") => directories(local_names(&word)),
                _ => names,
            };
        }
        Ok((start, names.iter().map(|name| pair(name)).collect()))
    }
}

impl Session {
    /// The server's names that begin with what was typed.
    pub(super) fn completions(&mut self, typed: &str) -> Vec<String> {
        let (prefix, last) =
            typed.rfind('/').map_or(("", typed), |slash| typed.split_at(slash + 1));
        let directory = match joined(&self.directory, prefix.as_bytes()) {
            // From the root, which has the empty name.
            directory if prefix.trim_matches('/').is_empty() && prefix.starts_with('/') => {
                drop(directory);
                Vec::new()
            }
            mut directory => {
                while directory.len() > 1 && directory.ends_with(b"/") {
                    directory.pop();
                }
                directory
            }
        };
        let here = self.listing.as_ref().filter(|_| directory == self.directory);
        let entries = match here {
            Some(listing) => &listing.entries,
            None => {
                let (server, client) = (self.server.parts(), self.server.known());
                self.looker.look(&server, client, &directory)
            }
        };
        let names = entries.iter().filter(|entry| entry.name.to_str().is_some());
        let fitting = names.map(shown).filter(|name| name.starts_with(last));
        fitting.map(|name| format!("{prefix}{name}")).collect()
    }
}

/// The names of this machine's files that begin with what was typed.
fn local_names(typed: &str) -> Vec<String> {
    let (prefix, last) = typed.rfind('/').map_or(("", typed), |slash| typed.split_at(slash + 1));
    let folder = if prefix.is_empty() { ".".into() } else { local(prefix) };
    let is_dir = |name: &OsStr| Path::new(&folder).join(name).is_dir();
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry.file_name();
        let slash = if is_dir(&name) { "/" } else { "" };
        let name = name.to_str()?;
        let fits = name.starts_with(last) && (!name.starts_with('.') || last.starts_with('.'));
        fits.then(|| format!("{prefix}{name}{slash}"))
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A candidate as it is shown, and as the line needs it: the quotes of a directory stay open behind its last slash.
fn pair(name: &str) -> Pair {
    let replacement = match shlex::try_quote(name) {
        // A shell's `~` must stay outside the quotes.
        Ok(quoted) if quoted != name => match name.split_once('/').filter(|(home, _)| *home == "~")
        {
            Some((_, rest)) => match shlex::try_quote(rest) {
                Ok(rest) => format!("~/{rest}"),
                Err(_) => name.to_owned(),
            },
            None => quoted.into_owned(),
        },
        _ => name.to_owned(),
    };
    let last = name.trim_end_matches('/').rfind('/').map_or(0, |slash| slash + 1);
    Pair { display: name[last..].to_owned(), replacement }
}

/// The kind of what a name in a list is.
pub(super) fn is_directory(entry: &Entry) -> bool {
    entry.kind == Kind::Directory
}

#[cfg(test)]
mod tests {
    use super::super::tests::{listing, session};
    use super::*;
    use rustyline::history::DefaultHistory;
    use std::net::UdpSocket;
    use std::time::Instant;

    /// What a line is completed to.
    fn completed(session: Session, line: &str) -> (usize, Vec<String>) {
        completed_at(session, line, line.len())
    }

    /// What a line is completed to where the cursor is.
    fn completed_at(session: Session, line: &str, at: usize) -> (usize, Vec<String>) {
        let completion = Completion { session: Rc::new(RefCell::new(session)) };
        let history = DefaultHistory::new();
        let context = rustyline::Context::new(&history);
        let (start, found) = completion.complete(line, at, &context).expect("names");
        (start, found.into_iter().map(|pair| pair.replacement).collect())
    }

    fn found(start: usize, names: &[&str]) -> (usize, Vec<String>) {
        (start, names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_line_is_completed_by_what_its_command_takes() {
        let complete = |line: &str| completed(session("sub"), line);
        assert_eq!(
            complete(""),
            found(0, &["list ", "cd ", "download ", "upload ", "help", "quit"])
        );
        assert_eq!(complete("  do"), found(2, &["download "]));
        assert_eq!(complete("bogus"), found(0, &[]));
        assert_eq!(complete("list d"), found(5, &["dir/"]));
        assert_eq!(complete("cd d"), found(3, &["dir/"]));
        assert_eq!([complete("cd f"), complete("ls f")], [found(3, &[]), found(3, &[])]);
        assert_eq!([complete("cd "), complete("1 ")], [found(3, &["dir/"]), found(2, &["dir/"])]);
        assert_eq!(complete("2 one fi"), found(6, &["fine", "first"]));
        for upload in ["3 Cargo.to", "put Cargo.to", "UP Cargo.to", "send Cargo.to"] {
            assert_eq!(complete(upload), found(upload.len() - 8, &["Cargo.toml"]), "{upload}");
        }
        // Where no further file is meant it is a directory of the other side, where they go.
        assert_eq!(complete("put Cargo.lock di"), found(15, &["dir/"]));
        assert_eq!(complete("put Cargo.lock Cargo.to"), found(15, &["Cargo.toml"]));
        assert_eq!(complete("get fine fi"), found(9, &["fine", "first"]));
        assert_eq!(complete("get fine sr"), found(9, &["src/"]));
        assert_eq!(complete("get fine Cargo.to"), found(9, &[]), "it would be replaced");
        assert_eq!(complete("get sr"), found(4, &[]));
        let (_, all) = complete("upload ");
        assert!(!all.iter().any(|name| name.starts_with('.')), "what is hidden is meant: {all:?}");
        let folder = tempfile::tempdir().expect("a folder");
        for name in [".hidden", "plain"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let several = tempfile::tempdir().expect("a folder");
        let names = ["d", "b", "e", "a", "f", "c"].map(|name| several.path().join(name));
        names.iter().for_each(|name| std::fs::write(name, "").expect("a file"));
        let (_, sorted) = complete(&format!("put {}/", several.path().display()));
        assert!(sorted.len() == names.len() && sorted.is_sorted(), "as they are read: {sorted:?}");
        for (typed, name) in [("", "plain"), (".", ".hidden")] {
            let folder = folder.path().display();
            let line = format!("put {folder}/{typed}");
            assert_eq!(complete(&line), found(4, &[&format!("{folder}/{name}")]), "{typed}");
        }
        assert_eq!(complete("upload src/client/wi"), found(7, &["src/client/wishes.rs"]));
        assert_eq!(complete("upload src/bin/rtftp/me"), found(7, &["src/bin/rtftp/menu/"]));
    }

    #[test]
    fn what_stands_behind_the_cursor_is_not_completed() {
        let complete = |line, at| completed_at(session(""), line, at);
        assert_eq!(complete("get fi cd", 6), found(4, &["fine", "first"]));
        assert_eq!(complete("get  fine", 4), found(4, &["7", "'a b'", "dir/", "fine", "first"]));
        assert_eq!(complete("do fine", 2), found(0, &["download "]), "the command has its cursor");
    }

    #[test]
    fn names_with_blanks_are_completed_behind_quotes_and_before_them() {
        for line in ["get a", "get 'a", "get \"a ", "get a\\ "] {
            assert_eq!(completed(session(""), line), found(4, &["'a b'"]), "{line}");
        }
        let shown = pair("sub/deep/");
        assert_eq!((&*shown.display, &*shown.replacement), ("deep/", "sub/deep/"));
        assert_eq!(pair("~/a b").replacement, "~/'a b'");
        assert_eq!(pair("~/ab").replacement, "~/ab");
        // What is completed is read as the name that it is of, by who obeys the line and at the next key.
        for name in
            ["it's", "a \"b\" c", "it's a \"b\"", "a\\b", "$x", "a*", "dir x/y z", "caf\u{e9} 1"]
        {
            let line = format!("get {}", pair(name).replacement);
            assert_eq!(shlex::split(&line), Some(vec!["get".into(), name.into()]), "{line}");
            assert_eq!(last_word(&line), (4, name.into()), "{line}");
        }
    }

    #[test]
    fn names_inside_directories_are_looked_up_once() {
        let mut below = session("sub");
        below.looker.directory = Some(b"sub/dir".to_vec());
        below.looker.listing = Some(listing(&["x", "xy/", "z"]));
        assert_eq!(below.completions("dir/x"), ["dir/x", "dir/xy/"]);
        // Where it cannot be asked there is nothing, and it is not asked again at the next key.
        assert_eq!(below.completions("other/x"), [""; 0]);
        assert_eq!(below.looker.listing, Some(Listing::default()));
        let mut root = session("");
        root.listing = None;
        root.looker.directory = Some(Vec::new());
        root.looker.listing = Some(listing(&["x", "y/"]));
        assert_eq!(root.completions(""), ["x", "y/"]);
        assert_eq!(root.completions("/"), ["/x", "/y/"]);
        // What is above the menu, and what is where it is by a longer way.
        let mut deep = session("sub/deep");
        deep.looker.directory = Some(b"sub".to_vec());
        deep.looker.listing = Some(listing(&["x", "y/"]));
        assert_eq!(deep.completions("../x"), ["../x"]);
        assert_eq!(
            [deep.completions("./fi"), deep.completions("../deep/fi")],
            [["./fine", "./first"], ["../deep/fine", "../deep/first"]]
        );
        // A path from the root is looked up in its own directory, wherever the menu is.
        for mut menu in [session("sub"), session("")] {
            menu.looker.directory = Some(b"/boot".to_vec());
            menu.looker.listing = Some(listing(&["grub/", "vmlinuz"]));
            assert_eq!(menu.completions("/boot/"), ["/boot/grub/", "/boot/vmlinuz"]);
            assert_eq!(menu.completions("/boot/v"), ["/boot/vmlinuz"]);
        }
    }

    #[test]
    fn an_answer_that_comes_after_the_moment_is_there_at_a_later_key() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let (let_it, waits) = channel::<()>();
        std::thread::spawn(move || {
            let (mut buffer, file) = ([0; 600], listing(&["late.bin"]).to_text());
            let _ = waits.recv();
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                // It knows no LIST, and has the file in its place.
                let answer = match buffer[1] {
                    7 => b"\0\x05\0\x04no\0".to_vec(),
                    1 => [&b"\0\x03\0\x01"[..], &file].concat(),
                    _ => continue,
                };
                let _ = socket.send_to(&answer, peer);
            }
        });
        let server = (Host { host: "127.0.0.1".into(), port }, Wishes::default());
        let mut looker = Looker::default();
        assert!(looker.look(&server, None, b"sub").is_empty(), "it is not waited for");
        let_it.send(()).expect("it waits");
        let deadline = Instant::now() + Duration::from_secs(20);
        while looker.look(&server, None, b"sub").is_empty() {
            assert!(Instant::now() < deadline, "what came late is never there");
            std::thread::yield_now();
        }
        assert_eq!(looker.look(&server, None, b"sub")[0].name, "late.bin");
    }

    #[test]
    fn behind_an_upload_a_directory_is_looked_into_again() {
        let mut here = session("");
        here.looker.directory = Some(b"sub".to_vec());
        here.looker.listing = Some(listing(&["x"]));
        let files = ["no such", "nor such", "no other"].map(str::to_owned);
        here.upload(&files).expect("each is told apart");
        assert_eq!((&here.looker.directory, &here.looker.listing), (&None, &None));
    }

    #[test]
    fn a_silent_server_holds_up_no_key() {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let host = Host { host: "127.0.0.1".into(), port };
        let (mut looker, server) = (Looker::default(), (host, Wishes::default()));
        for _ in 0..3 {
            let began = Instant::now();
            assert!(looker.look(&server, None, b"sub").is_empty());
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        }
    }
}
