//! What the menu remembers, and what its commands do with it.

use super::complete::{Looker, is_directory};
use super::names::{fits, is_pattern, joined, local, local_files};
use super::{Misused, NAMES, OutputClosed, misused, reporter, say};
use crate::advice::{Advice, Place};
use crate::local::{Destination, base_name, is_stdout};
use crate::progress::Bar;
use crate::remote::Server;
use crate::report::{self, Class};
use crate::shown::harmless;
use crate::text::{broken, columns, complain, fitted, shortened};
use anyhow::{Context as _, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use tftpkit::client::{Failure, Host};
use tftpkit::store::{Entry, Listing};

/// What the menu remembers.
pub(super) struct Session {
    pub(super) host: Host,
    pub(super) server: Server,
    /// Whether a person types, who can be asked.
    pub(super) is_typed: bool,
    /// Where downloads come from and uploads go.
    pub(super) directory: Vec<u8>,
    /// What is in it, once that was shown: numbers mean its lines.
    pub(super) listing: Option<Listing>,
    /// What completion looks at, apart from that: the numbers on the screen must stay true.
    pub(super) looker: Looker,
    pub(super) advice: Advice,
    /// It has said that it offers no listing.
    pub(super) lists_nothing: bool,
}

/// Asks whoever types.
pub(super) type Ask<'a> = &'a mut dyn FnMut(&str) -> Option<String>;

impl Session {
    pub(super) fn new(host: Host, server: Server, is_typed: bool) -> Self {
        let (directory, listing, looker) = (Vec::new(), None, Looker::default());
        let advice = Advice::default();
        advice.at(Place::Menu);
        Self { host, server, is_typed, directory, listing, looker, advice, lists_nothing: false }
    }

    pub(super) fn prompt(&self) -> String {
        match harmless(&String::from_utf8_lossy(&self.directory)) {
            root if root.is_empty() => "rtftp> ".into(),
            directory => {
                let room = columns().unwrap_or(80) / 2;
                format!("rtftp {}/> ", shortened(&directory, room))
            }
        }
    }

    /// A bar that says who is asked until there is an answer.
    fn bar(&self, name: &str) -> Bar {
        reporter().bar(name, &format!("asking {}\u{2026}", self.host))
    }

    fn listed(&mut self, directory: &[u8]) -> Result<Listing> {
        let bar = self.bar("list");
        let listed = self.server.list(directory, &bar);
        drop(bar);
        match &listed {
            Ok(_) => self.lists_nothing = false,
            Err(error) if matches!(report::failure(error), Some(Failure::NoListing)) => {
                self.lists_nothing = true;
            }
            Err(_) => {}
        }
        self.advice.at(if self.lists_nothing { Place::MenuWithoutLists } else { Place::Menu });
        listed
    }

    /// Tells what failed.
    pub(super) fn failed(&self, command: &str, error: &anyhow::Error) -> Class {
        if error.is::<Misused>() {
            complain(format_args!("rtftp: {}", harmless(&error.to_string())));
            return Class::Usage;
        }
        report::fail(command, "", error, &self.advice)
    }

    pub(super) fn list(&mut self, words: &[String]) -> Result<Class> {
        let directory = match words {
            [] => self.directory.clone(),
            [directory] => self.directory_of(directory)?,
            _ => return misused("list takes one directory; put quotes around a name with blanks"),
        };
        let listing = self.listed(&directory)?;
        let shown = harmless(&String::from_utf8_lossy(&directory));
        say(&format!("{}/ on {}\n", shown.trim_end_matches('/'), self.host))?;
        if listing.entries.is_empty() {
            say("(empty)\n")?;
        }
        say(&fitted(&listing, true, columns()))?;
        self.directory = directory;
        self.listing = Some(listing);
        Ok(Class::Done)
    }

    pub(super) fn change(&mut self, words: &[String]) -> Result<Class> {
        let directory = match words {
            [] => Vec::new(),
            [directory] => self.directory_of(directory)?,
            _ => return misused("cd takes one directory; put quotes around a name with blanks"),
        };
        if !directory.is_empty() {
            // Each question to a server that knows no listing takes seconds.
            let known = if self.lists_nothing { Ok(()) } else { self.listed(&directory).map(drop) };
            match known {
                Err(error) if !self.lists_nothing => return Err(error),
                // Its files can be had by their names.
                _ if self.lists_nothing => say("(unchecked: this server lists nothing)\n")?,
                _ => {}
            }
        }
        (self.directory, self.listing) = (directory, None);
        Ok(Class::Done)
    }

    /// Whether this line of the list is a directory.
    pub(super) fn leads_to_directory(&self, number: &str) -> bool {
        self.numbered(number).ok().flatten().is_some_and(is_directory)
    }

    /// Takes a line of the list.
    pub(super) fn pick(&mut self, number: &str, ask: Ask<'_>) -> Result<Class> {
        let picked = [number.to_owned()];
        if self.leads_to_directory(number) {
            self.list(&picked)
        } else {
            self.download(&picked, ask)
        }
    }

    pub(super) fn download(&mut self, words: &[String], ask: Ask<'_>) -> Result<Class> {
        let (files, to) = self.downloads(words)?;
        let mut classes = Vec::new();
        let several = files.len() > 1;
        for name in files {
            match self.download_one(&name, to.as_deref(), several, ask) {
                Err(error) if several && !error.is::<OutputClosed>() => {
                    classes.push(self.failed("download", &error));
                }
                done => classes.push(done?),
            }
            if self.server.canceller().is_cancelled() {
                break;
            }
        }
        Ok(Class::first(classes.into_iter()))
    }

    /// Tells that a directory was named where a file is taken.
    fn no_file<T>(&self, name: &str, directory: &str) -> Result<T> {
        if self.lists_nothing {
            return misused(format!("'{name}' is a directory"));
        }
        let list = match shlex::try_quote(directory).unwrap_or_default() {
            plain if plain == directory => format!("'list {plain}'"),
            // It has its own quotes.
            quoted => format!("list {quoted}"),
        };
        misused(format!("'{name}' is a directory; {list} shows what is in it"))
    }

    /// The files that are meant, and where they go: the last word, where it can mean nothing else.
    pub(super) fn downloads(
        &mut self,
        words: &[String],
    ) -> Result<(Vec<Vec<u8>>, Option<PathBuf>)> {
        let (files, to) = match words {
            [] => return misused("download what? Give a name, or a number from the list"),
            [file] => (std::slice::from_ref(file), None),
            [files @ .., last] => {
                let into = local(last);
                let is_place = into.is_dir() || last.ends_with('/') || is_stdout(&into);
                let is_name =
                    files.len() == 1 && self.entry_of(last).is_none() && !is_pattern(last);
                if is_place || is_name { (files, Some(into)) } else { (words, None) }
            }
        };
        let mut names = Vec::new();
        for file in files {
            if file.is_empty() {
                return misused("a name is empty");
            }
            if is_direction(file) {
                return self.no_file(file, file);
            }
            if is_pattern(file) && self.entry_of(file).is_none() {
                names.extend(self.fitting(file)?);
            } else {
                names.push(self.name_of(file)?);
            }
        }
        Ok((names, to))
    }

    /// The files on the server that fit a pattern.
    pub(super) fn fitting(&mut self, pattern: &str) -> Result<Vec<Vec<u8>>> {
        let (parent, last) =
            pattern.rfind('/').map_or(("", pattern), |slash| pattern.split_at(slash + 1));
        let mut directory = joined(&self.directory, parent.as_bytes());
        if directory.len() > 1 && directory.ends_with(b"/") {
            directory.pop();
        }
        let listing = match &self.listing {
            Some(listing) if directory == self.directory => listing.clone(),
            _ => self.listed(&directory).with_context(|| pattern.to_owned())?,
        };
        let files = listing.entries.iter().filter(|entry| !is_directory(entry));
        let fitting = files.filter(|entry| fits(last.as_bytes(), entry.name.as_bytes()));
        let names: Vec<_> = fitting.map(|entry| below(&directory, entry.name.as_bytes())).collect();
        if names.is_empty() {
            misused(format!("no file there fits '{pattern}'"))
        } else {
            Ok(names)
        }
    }

    fn download_one(
        &mut self,
        name: &[u8],
        to: Option<&Path>,
        several: bool,
        ask: Ask<'_>,
    ) -> Result<Class> {
        let shown = String::from_utf8_lossy(name).into_owned();
        if name.ends_with(b"/") {
            // From the top it is the same wherever the menu is.
            let top = if shown.starts_with('/') || self.directory.is_empty() { "" } else { "/" };
            return self.no_file(&shown, &format!("{top}{shown}"));
        }
        let base = base_name(name)?.to_owned();
        let to = Destination::new(to, &base, several)?;
        if let Destination::File(path) = &to {
            refuse_fifo(path)?;
            if self.is_typed && path.is_file() {
                let question = format!(
                    "'{}' exists here. Replace it (y/N)? ",
                    harmless(&path.to_string_lossy())
                );
                let answer = ask(&broken(&question, columns()));
                if answer.is_none() {
                    // Whoever breaks off a question wants none of the other files either.
                    self.server.canceller().cancel();
                }
                let answer = answer.unwrap_or_default().trim().to_lowercase();
                if !matches!(&*answer, "y" | "yes") {
                    say("It stays as it is.\n")?;
                    return Ok(Class::Done);
                }
            }
        }
        let bar = self.bar(&base.to_string_lossy());
        let summary = self.server.get(name, &to, &bar);
        drop(bar);
        let summary = summary.map_err(|error| named(error, &shown))?;
        if let Destination::File(path) = &to {
            tell(&report::went(&shown, &path.to_string_lossy(), &summary))?;
        }
        if let Some(warning) = report::warning(&summary) {
            complain(format_args!("rtftp: {warning}"));
        }
        Ok(Class::Done)
    }

    pub(super) fn upload(&mut self, words: &[String]) -> Result<Class> {
        let (files, to) = match words {
            [] => return misused("upload what? Give the name of one of your files"),
            [file] => (std::slice::from_ref(file), None),
            [files @ .., last] if is_direction(last) => (files, Some(last)),
            [file, to] if !is_pattern(file) && !local(to).is_file() => {
                (std::slice::from_ref(file), Some(to))
            }
            files => (files, None),
        };
        let mut paths = Vec::new();
        for file in files {
            if file == "-" {
                return misused(
                    "the menu itself reads standard input; 'rtftp put - HOST NAME' sends it",
                );
            }
            let path = local(file);
            let found =
                if is_pattern(file) && !path.exists() { local_files(file) } else { vec![path] };
            if found.is_empty() {
                return misused(format!("no file here fits '{file}'"));
            }
            paths.extend(found);
        }
        let (mut classes, several) = (Vec::new(), paths.len() > 1);
        for path in paths {
            match self.upload_one(&path, to.map(String::as_str)) {
                Err(error) if several && !error.is::<OutputClosed>() => {
                    classes.push(self.failed("upload", &error));
                }
                done => classes.push(done?),
            }
            if self.server.canceller().is_cancelled() {
                break;
            }
        }
        // The numbers on the screen stay true.
        self.looker.forget();
        Ok(Class::first(classes.into_iter()))
    }

    fn upload_one(&mut self, path: &Path, to: Option<&str>) -> Result<Class> {
        refuse_fifo(path)?;
        let own = || base_name(path.as_os_str().as_bytes());
        let lists = |to: &str| {
            let entries = self.listing.as_ref().map_or(&[][..], |listing| &listing.entries);
            entries.iter().any(|entry| entry.name == *to && is_directory(entry))
        };
        let name = match to {
            Some(to) if is_direction(to) || lists(to) => {
                let slash = if to.is_empty() { "" } else { "/" };
                [to.trim_end_matches('/').as_bytes(), slash.as_bytes(), own()?.as_bytes()].concat()
            }
            Some(to) => to.as_bytes().to_vec(),
            None => own()?.as_bytes().to_vec(),
        };
        let name = joined(&self.directory, &name);
        let file = path.to_string_lossy().into_owned();
        let bar = self.bar(&file);
        let summary = self.server.put(path, &name, &bar);
        drop(bar);
        let summary = summary.map_err(|error| named(error, &file))?;
        let shown = String::from_utf8_lossy(&name);
        tell(&report::went(&file, &shown, &summary))?;
        Ok(Class::Done)
    }

    /// The line of the list with this number. There is none where a name is all digits and no list was shown.
    fn numbered(&self, word: &str) -> Result<Option<&Entry>> {
        let entries = self.listing.as_ref().map_or(&[][..], |listing| &listing.entries);
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || entries.is_empty() {
            return Ok(None);
        }
        let number = word.parse::<usize>().ok();
        let entry = number.and_then(|number| entries.get(number.wrapping_sub(1)));
        let named = || entries.iter().find(|entry| entry.name == *word);
        match entry.or_else(named) {
            None => {
                let number = NAMES.iter().find(|(name, _)| *name == word);
                let command = number.map_or_else(String::new, |(_, command)| {
                    format!(", and numbers are its lines now: '{command}' in letters")
                });
                let last = entries.len();
                misused(format!("the list has no number {word}; it ends at {last}{command}"))
            }
            found => Ok(found),
        }
    }

    /// What a word means on the screen: a number, or a name as it stands there.
    fn entry_of(&self, word: &str) -> Option<&Entry> {
        let numbered = self.numbered(word).ok().flatten();
        let entries = self.listing.as_ref().map_or(&[][..], |listing| &listing.entries);
        numbered.or_else(|| entries.iter().find(|entry| entry.name == *word.trim_end_matches('/')))
    }

    /// A number or a name of the list, or a name in the directory; that of a directory ends with a slash.
    pub(super) fn name_of(&self, word: &str) -> Result<Vec<u8>> {
        self.numbered(word)?;
        let Some(entry) = self.entry_of(word) else {
            return Ok(joined(&self.directory, word.as_bytes()));
        };
        let mut name = below(&self.directory, entry.name.as_bytes());
        if is_directory(entry) {
            name.push(b'/');
        }
        Ok(name)
    }

    /// The same for a directory, without the slash; the top has the empty name.
    fn directory_of(&self, word: &str) -> Result<Vec<u8>> {
        let mut name = self.name_of(word)?;
        while name.ends_with(b"/") {
            name.pop();
        }
        Ok(name)
    }
}

/// A name in a directory.
fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        b"/" => [directory, name].concat(),
        directory => [directory, name].join(&b'/'),
    }
}

/// A line of what was done.
fn tell(line: &str) -> Result<()> {
    say(&format!("{}\n", broken(line, columns())))
}

/// Whether a word can only mean a directory.
fn is_direction(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("" | "." | ".."))
}

/// An error that has the name of what it is about: those of this machine's files have it.
fn named(error: anyhow::Error, name: &str) -> anyhow::Error {
    let is_local = matches!(report::failure(&error), Some(Failure::Local { .. }) | None);
    if is_local { error } else { error.context(name.to_owned()) }
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
