//! From words on the command line to servers and files, and the calls that a server answers.

use crate::local::{self, Destination, base_name};
use crate::progress::Bar;
use crate::report::{Unresolved, failure};
use crate::signals::Stop;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tftpkit::client::{Canceller, Client, Failure, Host, Remote, Wishes};
use tftpkit::store::Listing;
use tftpkit::transfer::Summary;

fn parse(word: &OsStr) -> Result<Remote> {
    let text = word.to_str().with_context(|| {
        format!(
            "'{}' is not UTF-8: write the host on its own and the name after it",
            word.display()
        )
    })?;
    Ok(text.parse()?)
}

/// `HOST:FILE` and URLs stand for themselves; after a HOST all words are names on it.
pub(crate) fn get_targets(words: &[OsString]) -> Result<Vec<Remote>> {
    let mut targets = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let remote = parse(word)?;
        if remote.name.is_empty() {
            let names = &words[n + 1..];
            if names.is_empty() {
                if let Some(before) = targets.last() {
                    let (before, word) = (shown(before), word.display());
                    bail!(
                        "'{word}' names no file on a server; to call '{before}' so here: -o {word}"
                    );
                }
                bail!("no file is named after the host '{}'", remote.host);
            }
            targets.extend(names.iter().map(|name| {
                let (host, mode) = (remote.host.clone(), remote.mode);
                Remote { host, name: name.as_bytes().to_vec(), mode }
            }));
            break;
        }
        targets.push(remote);
    }
    Ok(targets)
}

fn shown(remote: &Remote) -> String {
    String::from_utf8_lossy(&remote.name).into_owned()
}

/// The local files, each with where it goes. The last word is `HOST:NAME`, a URL or a HOST; or the last two are a
/// HOST and a NAME.
pub(crate) fn put_targets(words: &[OsString]) -> Result<Vec<(PathBuf, Remote)>> {
    let (last, files) = words.split_last().context("no file and no server")?;
    if let Some(host) = host_before_files(words) {
        let files = words[1..].iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
        bail!("the server stands behind the files: rtftp put {} {host}", files.join(" "));
    }
    let (files, target) = match files.split_last() {
        Some((host, files)) if !files.is_empty() && is_host_before_name(host, last) => {
            let Remote { host, mode, .. } = parse(host)?;
            (files, Remote { host, name: last.as_bytes().to_vec(), mode })
        }
        _ => (files, parse(last)?),
    };
    let directory = target.name.is_empty() || target.name.ends_with(b"/");
    if files.len() > 1 && !directory {
        bail!("several files cannot all become '{target}': end the name with a slash");
    }
    files
        .iter()
        .map(|file| {
            let mut target = target.clone();
            if directory {
                if file == "-" {
                    bail!("standard input has no name of its own: write one after the host");
                }
                target.name.extend_from_slice(base_name(file.as_bytes())?.as_bytes());
            }
            Ok((PathBuf::from(file), target))
        })
        .collect()
}

/// The first word, where it names a server and those after it files of this machine.
fn host_before_files(words: &[OsString]) -> Option<Remote> {
    let (first, files) = words.split_first()?;
    let is_file = |word: &OsString| Path::new(word).is_file();
    let turned = first != "-" && !Path::new(first).exists() && files.iter().all(is_file);
    parse(first).ok().filter(|_| turned)
}

/// Whether `host` and `name` are the two words of a remote, and `host` is not another local file.
fn is_host_before_name(host: &OsStr, name: &OsStr) -> bool {
    !name.as_bytes().contains(&b':')
        && host != "-"
        && !Path::new(host).exists()
        && parse(host).is_ok_and(|remote| remote.name.is_empty())
}

pub(crate) fn list_target(word: &OsStr, directory: Option<&OsStr>) -> Result<Remote> {
    let mut target = parse(word)?;
    if let Some(directory) = directory {
        target.name = directory.as_bytes().to_vec();
    }
    Ok(target)
}

/// A server by its name, which is looked up when it is asked, and again until one of its addresses has answered.
#[derive(Debug)]
pub(crate) struct Server {
    host: Host,
    wishes: Wishes,
    stop: Stop,
    /// How often to ask until it is there, where that is waited for.
    every: Option<Duration>,
    client: Option<Client>,
}

impl Server {
    pub(crate) fn new(host: &Host, wishes: Wishes, stop: &Stop) -> Self {
        Self { host: host.clone(), wishes, stop: stop.clone(), every: None, client: None }
    }

    /// Waits until it is there, and asks so often.
    pub(crate) fn every(self, interval: Option<Duration>) -> Self {
        Self { every: interval, wishes: self.wishes.every(interval), ..self }
    }

    /// What is asked, and for what.
    pub(crate) fn parts(&self) -> (Host, Wishes) {
        (self.host.clone(), self.wishes)
    }

    /// A client of the address that has answered, once one has.
    pub(crate) fn known(&self) -> Option<Client> {
        self.client.clone().filter(|client| client.answered().is_some())
    }

    /// What cancels the call that is under way.
    pub(crate) fn canceller(&self) -> Canceller {
        self.stop.canceller().clone()
    }

    pub(crate) fn get(&mut self, name: &[u8], to: &Destination, bar: &Bar) -> Result<Summary> {
        self.patiently(|server| {
            let sink = to.open(&server.stop)?;
            let got = server.client()?.get(name, sink, |progress| bar.show(progress));
            of_file(got, || match to {
                Destination::Stdout => "cannot write to standard output".into(),
                Destination::File(path) => format!("cannot write '{}'", path.display()),
            })
        })
    }

    pub(crate) fn put(&mut self, file: &Path, name: &[u8], bar: &Bar) -> Result<Summary> {
        self.patiently(|server| {
            let payload = local::open(file, &server.stop)?;
            let put = server.client()?.put(name, payload, |progress| bar.show(progress));
            of_file(put, || format!("cannot read '{}'", file.display()))
        })
    }

    pub(crate) fn list(&mut self, name: &[u8], bar: &Bar) -> Result<Listing> {
        Ok(self.client()?.list_watched(name, |progress| bar.show(progress))?)
    }

    pub(crate) fn client(&mut self) -> Result<&Client> {
        let known = self.client.take().filter(|client| client.answered().is_some());
        let client = match known {
            Some(client) => client,
            None => {
                let client = self.found()?.map_err(|error| Unresolved {
                    host: self.host.host.clone(),
                    reason: reason(&error),
                })?;
                client.wishes(self.wishes).cancelled_by(self.stop.canceller())
            }
        };
        Ok(self.client.insert(client))
    }

    /// Looks the host up, beside this thread: a resolver that waits cannot be cancelled.
    fn found(&self) -> Result<io::Result<Client>> {
        const LOOK: Duration = Duration::from_millis(50);
        let (tell, told) = channel();
        let host = self.host.clone();
        std::thread::Builder::new().name("resolver".into()).spawn(move || {
            let _ = tell.send(host.client());
        })?;
        loop {
            match told.recv_timeout(LOOK) {
                Ok(found) => return Ok(found),
                Err(_) if self.stop.canceller().is_cancelled() => {
                    return Err(Failure::Cancelled.into());
                }
                Err(_) => {}
            }
        }
    }

    /// Calls again while the server is not there yet, where that is waited for.
    fn patiently<T>(&mut self, mut call: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut before = None;
        loop {
            let began = Instant::now();
            match (call(self), self.every) {
                (Err(error), Some(interval)) if is_not_there(&error) => {
                    self.stop.pause(interval.saturating_sub(began.elapsed()));
                    if self.stop.cause().is_some() {
                        return Err(error);
                    }
                    before = Some(error);
                }
                // What it was waiting for tells more than that it waits no longer.
                (Err(error), _) if self.stop.cause().is_some() => {
                    return Err(before.unwrap_or(error));
                }
                (done, _) => return done,
            }
        }
    }
}

/// Why a host has no address, without the resolver's own heading.
fn reason(error: &io::Error) -> String {
    const HEADING: &str = "failed to lookup address information: ";
    let told = error.to_string();
    told.strip_prefix(HEADING).unwrap_or(&told).to_owned()
}

/// Says of a local failure which file it is about.
fn of_file(done: Result<Summary, Failure>, cannot: impl Fn() -> String) -> Result<Summary> {
    done.map_err(|failure| match failure {
        local @ Failure::Local { .. } => anyhow::Error::from(local).context(cannot()),
        other => other.into(),
    })
}

/// Whether it fails as it does where a device has not started yet, or is cut off.
fn is_not_there(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind as E;
    const CUT_OFF: [E; 4] =
        [E::NetworkUnreachable, E::HostUnreachable, E::NetworkDown, E::AddrNotAvailable];
    match failure(error) {
        Some(Failure::NoAnswer(_) | Failure::Closed(_)) => true,
        Some(Failure::Socket(error)) => CUT_OFF.contains(&error.kind()),
        _ => error.is::<Unresolved>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn got(list: &[&str]) -> Vec<String> {
        let targets = get_targets(&words(list)).expect("targets");
        targets.iter().map(ToString::to_string).collect()
    }

    fn put(list: &[&str]) -> Vec<String> {
        let targets = put_targets(&words(list)).expect("targets");
        targets.iter().map(|(file, target)| format!("{} {target}", file.display())).collect()
    }

    #[test]
    fn get_takes_a_host_with_names_or_files_with_hosts() {
        assert_eq!(got(&["h:6969", "a", "b/c"]), ["tftp://h:6969/a", "tftp://h:6969/b/c"]);
        assert_eq!(got(&["h:a", "tftp://g:7/b"]), ["tftp://h/a", "tftp://g:7/b"]);
        assert_eq!(
            got(&["[::1]:7", "a%2f;mode=octet \u{e9}"]),
            ["tftp://[::1]:7/a%252f%3Bmode=octet%20\u{e9}"]
        );
        let of_mode = "tftp://h/;mode=netascii";
        assert_eq!(got(&["g:x", of_mode, "a"]), ["tftp://g/x", "tftp://h/a;mode=netascii"]);
        assert!(get_targets(&words(&["h"])).is_err());
        assert!(get_targets(&words(&["h:a", "g"])).is_err());
    }

    #[test]
    fn put_takes_files_and_where_they_go() {
        assert_eq!(put(&["x", "h:y"]), ["x tftp://h/y"]);
        assert_eq!(put(&["dir/x", "h"]), ["dir/x tftp://h/x"]);
        assert_eq!(put(&["dir/x", "h:sub/"]), ["dir/x tftp://h/sub/x"]);
        assert_eq!(put(&["a", "b", "h:"]), ["a tftp://h/a", "b tftp://h/b"]);
        assert_eq!(put(&["x", "h:6969", "y"]), ["x tftp://h:6969/y"]);
        assert_eq!(put(&["-", "tftp://h/y"]), ["- tftp://h/y"]);
        let of_mode = "tftp://h/;mode=netascii";
        assert_eq!(put(&["x", of_mode, "y"]), ["x tftp://h/y;mode=netascii"]);
        assert_eq!(put(&["x", of_mode]), ["x tftp://h/x;mode=netascii"]);
        assert!(put_targets(&words(&["a", "b", "h:y"])).is_err());
        assert!(put_targets(&words(&["-", "h"])).is_err());
    }
    #[test]
    fn the_words_of_a_put_are_files_unless_they_can_only_be_a_host_and_a_name() {
        assert_eq!(put(&["x", "g", "h"]), ["x tftp://g/h"]);
        // There is such a file, and so it is not a host.
        let known = ["x tftp://h/x", "Cargo.toml tftp://h/Cargo.toml"];
        assert_eq!(put(&["x", "Cargo.toml", "h"]), known);
        // As the last one it is the server, also behind another file that there is.
        let local = "Cargo.toml tftp://Cargo.lock/Cargo.toml";
        assert_eq!(put(&["Cargo.toml", "Cargo.lock"]), [local]);
        assert_eq!(put(&["x", "g", "h:"]), ["x tftp://h/x", "g tftp://h/g"]);
        assert_eq!(put(&["x", "g:a", "h"]), ["x tftp://h/x", "g:a tftp://h/g:a"]);
        assert_eq!(put(&["x", "h"]), ["x tftp://h/x"]);
        // Standard input is no server that stands before the files.
        for nameless in [&["x", "-", "h"][..], &["-", "Cargo.toml"]] {
            let nameless = put_targets(&words(nameless)).map_err(|error| error.to_string());
            assert!(nameless.is_err_and(|why| why.contains("standard input has no name")));
        }
    }

    #[test]
    fn the_resolvers_own_heading_is_not_told() {
        let of = |text: &str| reason(&io::Error::other(text));
        let heading = "failed to lookup address information";
        assert_eq!(
            of(&format!("{heading}: Name or service not known")),
            "Name or service not known"
        );
        assert_eq!(of("the name has no address"), "the name has no address");
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_and_nothing_else_is() {
        use io::ErrorKind as E;
        let at = ([127, 0, 0, 1], 69).into();
        let unresolved = || Unresolved { host: "h".into(), reason: "r".into() };
        let cut_off =
            [E::NetworkUnreachable, E::HostUnreachable, E::NetworkDown, E::AddrNotAvailable];
        let mut waited: Vec<anyhow::Error> =
            vec![Failure::NoAnswer(at).into(), Failure::Closed(at).into(), unresolved().into()];
        waited.extend(cut_off.map(|kind| Failure::Socket(kind.into()).into()));
        for error in waited {
            assert!(is_not_there(&error), "it may come: {error}");
        }
        let others = [
            Failure::BrokenOff(at, 512),
            Failure::Unconfirmed,
            Failure::Cancelled,
            Failure::Socket(E::PermissionDenied.into()),
        ];
        for failure in others {
            assert!(!is_not_there(&failure.into()), "it was there, or waiting does not help");
        }
    }

    #[test]
    fn a_list_is_of_the_directory_after_the_host_or_of_the_one_within_its_word() {
        let listed = |host: &str, directory: Option<&str>| {
            let target = list_target(OsStr::new(host), directory.map(OsStr::new));
            target.expect("a target").to_string()
        };
        assert_eq!(listed("h:7", None), "tftp://h:7/");
        assert_eq!(listed("h:a/b", None), "tftp://h/a/b");
        assert_eq!(listed("h:7", Some("a b")), "tftp://h:7/a%20b");
        assert_eq!(listed("h:a", Some("b")), "tftp://h/b");
    }
}
