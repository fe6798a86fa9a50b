//! `rtftpd explain`: what a request would come to, found out by the server's own calls.

use crate::commands::Given;
use crate::lines::Lines;
use crate::log;
use crate::prepared::{Macs, Prepared};
use crate::sandbox::Sandbox;
use crate::shown::harmless;
use anyhow::{Context, Result};
use clap::builder::BoolishValueParser;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tftpkit::query::Query;
use tftpkit::server::{Explanation, MacAddress, MacPrefix, explain};
use tftpkit::store::{Folder, Listing, Readable, Store, StoreError};
use tftpkit::transfer::Sink;
use tftpkit::wire::{Mode, Operation, Options, Packet, Request};

/// The request that is asked about.
#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// Who asks: an address, and a port if it matters
    #[arg(long, value_name = "ADDR", value_parser = client, env = "RTFTPD_FROM")]
    from: SocketAddr,

    /// The address of this machine that is asked [default: that of loopback]
    #[arg(long, value_name = "ADDR", env = "RTFTPD_TO")]
    to: Option<IpAddr>,

    /// The hardware address of who asks [default: what the kernel knows]
    #[arg(long, value_name = "MAC", value_parser = mac, env = "RTFTPD_MAC")]
    mac: Option<MacAddress>,

    /// It is a request to write
    #[arg(long, conflicts_with = "list", value_parser = BoolishValueParser::new(), env = "RTFTPD_WRITE")]
    write: bool,

    /// It is a request to list a directory
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_LIST")]
    list: bool,

    /// How the file is to travel
    #[arg(long, value_name = "MODE", default_value = "octet", env = "RTFTPD_MODE")]
    mode: String,

    /// The answer as one JSON object
    #[arg(id = "as_json", long = "json", value_parser = BoolishValueParser::new(), env = "RTFTPD_JSON")]
    json: bool,

    /// The name that is asked for
    pub(crate) name: String,

    /// The options of the request, as in blksize=1428
    #[arg(value_name = "OPTION=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
}

/// A port of clients, which is of no account.
const ANY_PORT: u16 = 49152;

fn client(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, ANY_PORT));
    let client = text.parse::<SocketAddr>().or_else(|_| alone());
    client.map_err(|_| "write an address, as in 192.0.2.7, or one with its port".into())
}

fn mac(text: &str) -> Result<MacAddress, String> {
    let prefix: MacPrefix = text.parse().map_err(|error| format!("{error}"))?;
    prefix.whole().ok_or_else(|| "write all six bytes of it, as in 52:54:00:12:34:56".into())
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("write a name and a value, as in blksize=1428")?;
    Ok((name.into(), value.into()))
}

impl Asked {
    /// The request as it would come.
    fn datagram(&self) -> Vec<u8> {
        let operation = match (self.write, self.list) {
            (true, _) => Operation::Write,
            (_, true) => Operation::List,
            _ => Operation::Read,
        };
        let (name, mode, options) = (b"any", Mode::Octet, Options::NONE);
        let mut bytes = Packet::Request(Request { operation, name, mode, options }).to_vec();
        // Behind the opcode stands what may be no legal request.
        bytes.truncate(2);
        let options = self.options.iter().flat_map(|(name, value)| [name, value]);
        for word in [&self.name, &self.mode].into_iter().chain(options) {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn local(&self) -> IpAddr {
        self.to.unwrap_or_else(|| match self.from {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        })
    }
}

/// What folders were asked for.
pub(crate) type Notes = Arc<Mutex<Vec<Note>>>;

/// What a folder had of what it was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Note {
    root: PathBuf,
    /// The file that is there.
    file: Option<PathBuf>,
    bytes: Option<u64>,
    /// Where an upload is stored, if that is not under its own name.
    stored: Option<PathBuf>,
    /// Why there is nothing.
    why: Option<String>,
}

/// A folder that notes what it is asked for.
pub(crate) struct Noted {
    folder: Arc<Folder>,
    root: PathBuf,
    notes: Notes,
}

impl Noted {
    pub(crate) fn new(folder: Arc<Folder>, root: &Path, notes: &Notes) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Self { folder, root, notes: Arc::clone(notes) }
    }

    fn note<T>(
        &self,
        found: Result<T, StoreError>,
        stored: Option<PathBuf>,
        of: impl FnOnce(&T) -> (Option<PathBuf>, Option<u64>),
    ) -> Result<T, StoreError> {
        let (file, bytes) = found.as_ref().map_or((None, None), of);
        let stored = stored.filter(|_| found.is_ok()).map(|path| self.root.join(path));
        let why = found.as_ref().err().map(ToString::to_string);
        let file = file.map(|file| self.root.join(file));
        let note = Note { root: self.root.clone(), file, bytes, stored, why };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        found
    }
}

impl Store for Noted {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        self.note(self.folder.read(query), None, |file| {
            (file.place().map(Path::to_owned), file.known_size())
        })
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        // Before it is opened, for its number is taken then.
        let stored = self.folder.stored_as(query).ok().flatten();
        self.note(self.folder.write(query), stored, |_| (None, None))
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        self.note(self.folder.list(query), None, |_| (None, None))
    }

    fn may_wait(&self, query: &Query) -> bool {
        self.folder.may_wait(query)
    }

    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        self.folder.inside(path)
    }
}

/// What is told.
#[derive(Debug, Serialize)]
struct Told {
    request: String,
    /// The rule that is for it.
    rule: Option<String>,
    /// The name that is looked for, where it is another one.
    served: Option<String>,
    looked: Vec<Note>,
    /// What becomes of it.
    outcome: &'static str,
    /// The first packet that is sent.
    answer: Option<String>,
    /// The code of an ERROR.
    error: Option<u16>,
    why: Option<String>,
}

/// Says what the request would come to.
pub(crate) fn run(given: &Given, asked: &Asked, lines: &Lines) -> Result<ExitCode> {
    log::start(&given.args, lines);
    let macs = asked.mac.map(|mac| Arc::new(move |_: &SocketAddr| Some(mac)) as Macs);
    let notes = Notes::default();
    let prepared = Prepared::noted(given, macs, Some(Arc::clone(&notes)));
    lines.write_early();
    let Prepared { policy, folders, main, .. } = prepared?;
    // Who may do what there is found out as who will serve.
    let sandbox = Sandbox {
        parts: given.args.sandbox.clone(),
        account: folders.account().cloned(),
        places: folders.places().collect(),
        has_spool: folders.may_spool(),
        ..Sandbox::default()
    };
    sandbox.enter().context("cannot become the user who serves")?;
    let (datagram, local) = (asked.datagram(), asked.local());
    let query = Query::parse(&datagram, asked.from, local).ok();
    let rule = query.as_ref().and_then(|query| policy.rule_for(query));
    let rule = rule.map(|rule| rule.label().to_owned());
    let config = given.args.config(&[], policy);
    let found = explain(&config, main, &datagram, asked.from, local)?;
    let looked = std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner));
    let request = match &query {
        Some(query) => format!("{query} to {local}"),
        None => format!("\"{}\" {} from {} to {local}", asked.name, asked.mode, asked.from),
    };
    let (told, code) = told(request, rule, looked, &found);
    let text = if asked.json { serde_json::to_string(&told)? + "\n" } else { told.text() };
    print!("{text}");
    Ok(ExitCode::from(code))
}

/// What is told, and the exit status.
fn told(
    request: String,
    rule: Option<String>,
    looked: Vec<Note>,
    found: &Explanation,
) -> (Told, u8) {
    let packet = found.answer.as_deref().map(Packet::parse).and_then(Result::ok);
    let (outcome, code, error) = match &packet {
        None => ("no answer", 4, None),
        Some(Packet::Error { code, .. }) => ("refused", 3, Some(u16::from(*code))),
        Some(_) => ("served", 0, None),
    };
    let told = Told {
        request,
        rule,
        served: found.served.as_ref().map(ToString::to_string),
        looked,
        outcome,
        answer: packet.map(|packet| packet.to_string()),
        error,
        why: found.why.clone(),
    };
    (told, code)
}

impl Told {
    /// For people.
    fn text(&self) -> String {
        let mut text = format!("{}\n", harmless(&self.request));
        let mut line = |label: &str, what: &str| {
            let _ = writeln!(text, "  {label:<8} {}", harmless(what));
        };
        line("rule", self.rule.as_deref().unwrap_or("none is for it"));
        if let Some(served) = &self.served {
            line("name", &format!("{served} is looked for"));
        }
        for Note { root, file, bytes, stored, why } in &self.looked {
            let root = root.display();
            match (file, why) {
                (Some(file), _) => {
                    let bytes = bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
                    line("file", &format!("{}{bytes}", file.display()));
                }
                (None, Some(why)) => line("looked", &format!("in {root}: {why}")),
                (None, None) => line("folder", &root.to_string()),
            }
            if let Some(stored) = stored {
                line("stored", &stored.display().to_string());
            }
        }
        line("answer", self.answer.as_deref().unwrap_or("none"));
        if let Some(why) = &self.why {
            line("why", why);
        }
        text
    }
}
