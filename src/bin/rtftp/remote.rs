//! From words on the command line to servers and files, and the calls that a server answers.

use crate::local::{self, Destination, base_name};
use crate::report::{Bar, Unresolved};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tftpkit::client::{Canceller, Client, Failure, Host, Progress, Remote, Wishes};
use tftpkit::store::Listing;
use tftpkit::transfer::Summary;
use tftpkit::wire::Mode;

/// A file or a directory on a server. It is shown as a URL that can be typed again.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) name: Vec<u8>,
    pub(crate) mode: Option<Mode>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tftp://{}/", self.host)?;
        for chunk in self.name.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    ' ' | '%' | ';' | '\0'..='\x1f' | '\x7f' => write!(f, "%{:02X}", c as u32)?,
                    _ => write!(f, "{c}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        self.mode.map_or(Ok(()), |mode| write!(f, ";mode={}", mode.name()))
    }
}

impl From<Remote> for Target {
    fn from(Remote { host, name, mode }: Remote) -> Self {
        Self { host, name, mode }
    }
}

fn parse(word: &OsStr) -> Result<Remote> {
    let text = word.to_str().with_context(|| {
        format!(
            "'{}' is not UTF-8: write the host on its own and the name after it",
            word.display()
        )
    })?;
    Ok(Remote::parse(text)?)
}

/// `HOST:FILE` and URLs stand for themselves; after a HOST all words are names on it.
pub(crate) fn get_targets(words: &[OsString]) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let remote = parse(word)?;
        if remote.name.is_empty() {
            let names = &words[n + 1..];
            if names.is_empty() {
                bail!("no file is named after the host '{}'", remote.host);
            }
            targets.extend(names.iter().map(|name| {
                let (host, mode) = (remote.host.clone(), remote.mode);
                Target { host, name: name.as_bytes().to_vec(), mode }
            }));
            break;
        }
        targets.push(remote.into());
    }
    Ok(targets)
}

/// The local files, each with where it goes. The last word is `HOST:NAME`, a URL or a HOST; or the last two are a
/// HOST and a NAME.
pub(crate) fn put_targets(words: &[OsString]) -> Result<Vec<(PathBuf, Target)>> {
    let (last, files) = words.split_last().context("no file and no server")?;
    let (files, target) = match files.split_last() {
        Some((host, files)) if !files.is_empty() && is_host_before_name(host, last) => {
            let Remote { host, mode, .. } = parse(host)?;
            (files, Target { host, name: last.as_bytes().to_vec(), mode })
        }
        _ => (files, parse(last)?.into()),
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

/// Whether `host` and `name` are the two words of a remote, and `host` is not another local file.
fn is_host_before_name(host: &OsStr, name: &OsStr) -> bool {
    !name.as_bytes().contains(&b':')
        && host != "-"
        && !Path::new(host).exists()
        && parse(host).is_ok_and(|remote| remote.name.is_empty())
}

pub(crate) fn list_target(word: &OsStr, directory: Option<&OsStr>) -> Result<Target> {
    let mut target = Target::from(parse(word)?);
    if let Some(directory) = directory {
        target.name = directory.as_bytes().to_vec();
    }
    Ok(target)
}

/// A server by its name: the first of its addresses that answers.
#[derive(Debug)]
pub(crate) struct Server {
    host: Host,
    wishes: Wishes,
    canceller: Canceller,
    answering: Option<Client>,
}

impl Server {
    pub(crate) fn new(host: &Host, wishes: Wishes) -> Self {
        Self { host: host.clone(), wishes, canceller: Canceller::default(), answering: None }
    }

    /// What cancels the call that is under way.
    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    pub(crate) fn get(&mut self, name: &[u8], to: &Destination, bar: &Bar) -> Result<Summary> {
        self.ask(|client| {
            let sink = to.open()?;
            Ok(client.get(name, sink, &mut |progress| bar.show(progress))?)
        })
    }

    pub(crate) fn put(&mut self, file: &Path, name: &[u8], bar: &Bar) -> Result<Summary> {
        self.ask(|client| {
            let (source, size) = local::open(file)?;
            Ok(client.put(name, source, size, &mut |progress| bar.show(progress))?)
        })
    }

    pub(crate) fn list(&mut self, name: &[u8]) -> Result<Listing> {
        self.ask(|client| Ok(client.list(name)?))
    }

    /// A client of the address that answers; with only one address it is not asked whether it does.
    pub(crate) fn client(&mut self, name: &[u8]) -> Result<Client> {
        if let Ok([address]) = self.host.resolve().as_deref() {
            return Ok(Client::new(*address, self.wishes));
        }
        let canceller = self.canceller();
        let asked = self.ask(|client| {
            // The first answer is enough.
            let mut enough = |Progress { bytes, total }| {
                if bytes > 0 || total.is_some() {
                    canceller.cancel();
                }
            };
            Ok(client.get(name, local::nowhere(), &mut enough)?)
        });
        match (&self.answering, asked) {
            (Some(client), _) => Ok(client.clone()),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => bail!("no address of '{}' answers", self.host),
        }
    }

    fn ask<T>(&mut self, mut question: impl FnMut(&Client) -> Result<T>) -> Result<T> {
        if let Some(client) = &self.answering {
            return question(client);
        }
        let host = self.host.host.clone();
        let addresses = self
            .host
            .resolve()
            .map_err(|error| Unresolved { host: host.clone(), reason: error.to_string() })?;
        let mut unanswered = None;
        for address in addresses {
            let client = Client::new(address, self.wishes).cancelled_by(&self.canceller);
            match question(&client) {
                // A name often has an IPv6 and an IPv4 address, and a server only one of them.
                Err(error) if is_unanswered(&error) => unanswered = Some(error),
                answer => {
                    self.answering = Some(client);
                    return answer;
                }
            }
        }
        Err(unanswered.unwrap_or_else(|| Unresolved { host, reason: "no address".into() }.into()))
    }
}

fn is_unanswered(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::NoAnswer(_) | Failure::Closed(_)))
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
        assert!(get_targets(&words(&["h"])).is_err());
        assert!(get_targets(&words(&["h:a", "g"])).is_err());
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        let host = Host { host: "::1".into(), port: 7 };
        let name = b"a b%;mode=x/\xc3\xa9\xff\n".to_vec();
        let target = Target { host, name, mode: Some(Mode::Netascii) };
        let shown = target.to_string();
        assert_eq!(shown, "tftp://[::1]:7/a%20b%25%3Bmode=x/\u{e9}%FF%0A;mode=netascii");
        let typed = Target::from(Remote::parse(&shown).expect("a URL"));
        let parts = |target: Target| (target.host, target.name, target.mode);
        assert_eq!(parts(typed), parts(target));
    }

    #[test]
    fn put_takes_files_and_where_they_go() {
        assert_eq!(put(&["x", "h:y"]), ["x tftp://h/y"]);
        assert_eq!(put(&["dir/x", "h"]), ["dir/x tftp://h/x"]);
        assert_eq!(put(&["dir/x", "h:sub/"]), ["dir/x tftp://h/sub/x"]);
        assert_eq!(put(&["a", "b", "h:"]), ["a tftp://h/a", "b tftp://h/b"]);
        assert_eq!(put(&["x", "h:6969", "y"]), ["x tftp://h:6969/y"]);
        assert_eq!(put(&["-", "tftp://h/y"]), ["- tftp://h/y"]);
        assert!(put_targets(&words(&["a", "b", "h:y"])).is_err());
        assert!(put_targets(&words(&["-", "h"])).is_err());
    }
}
