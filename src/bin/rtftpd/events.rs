//! The stream of events for other programs: a JSON object in each line, to a file, a socket or a command.
//!
//! All of it is opened, connected or started before the server gives up its rights, and a thread writes: whoever reads slowly
//! or not at all loses lines, and holds up nobody.

use crate::apart::{EVENTS, Owner};
use crate::lines::LINES_HELD;
use crate::outcome::{error_of, judge, pace};
use crate::ration::Ration;
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tftpkit::proto::{Agreed, Time};
use tftpkit::query::Query;
use tftpkit::server::Event;
use tftpkit::transfer::Summary;
use tftpkit::wire::Filename;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    File(PathBuf),
    Socket(PathBuf),
    Command(String),
}

/// What `--events-to` says.
pub(crate) fn goal(text: &str) -> Result<Goal, String> {
    let goal = match (text.strip_prefix("unix:"), text.strip_prefix('|')) {
        (Some(path), _) => Goal::Socket(path.into()),
        (_, Some(command)) => Goal::Command(command.trim().into()),
        _ => Goal::File(text.into()),
    };
    match &goal {
        Goal::File(path) | Goal::Socket(path) if path.as_os_str().is_empty() => {
            Err("write a path".into())
        }
        Goal::Command(command) if command.is_empty() => Err("write a command behind '|'".into()),
        _ => Ok(goal),
    }
}

/// Writes events.
pub(crate) struct Events {
    start: Instant,
    /// As many in a second as lines of the log, so that nobody can fill a disk by asking.
    ration: Mutex<Option<Ration>>,
    left_out: AtomicU64,
    way: Mutex<Option<Way>>,
    thread: OnceLock<NonBlocking>,
}

impl Events {
    /// Opens the way to `goal`, of so many lines in each second; `owner` is who a command runs as.
    pub(crate) fn open(goal: Option<&Goal>, per_second: u32, owner: Owner<'_>) -> Result<Self> {
        let way = goal.map(|goal| Way::open(goal, owner)).transpose()?;
        Ok(Self {
            start: Instant::now(),
            ration: Mutex::new(Ration::of(per_second, Time::START)),
            left_out: AtomicU64::new(0),
            way: Mutex::new(way),
            thread: OnceLock::new(),
        })
    }

    /// Starts the thread that writes, if there is a way. What waits for it is still written when the guard goes, if somebody
    /// reads it soon.
    pub(crate) fn start_thread(&self) -> Option<WorkerGuard> {
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let thread = NonBlockingBuilder::default().thread_name("events");
        let (writer, guard) = thread.buffered_lines_limit(LINES_HELD).finish(way);
        let _ = self.thread.set(writer);
        Some(guard)
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        let Some(thread) = self.thread.get() else { return };
        let Some(mut line) = Line::of(event) else { return };
        let now = Time::START + self.start.elapsed();
        let mut ration = self.ration.lock().unwrap_or_else(PoisonError::into_inner);
        if ration.as_mut().is_some_and(|ration| ration.take(now).is_none()) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(ration);
        let unread = thread.error_counter().dropped_lines() as u64;
        line.lost = self.left_out.load(Ordering::Relaxed) + unread;
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            let _ = thread.clone().write_all(&text);
        }
    }
}

/// The way to whoever reads, until it ends.
struct Way(Option<Box<dyn Write + Send>>);

impl Way {
    fn open(goal: &Goal, owner: Owner<'_>) -> Result<Self> {
        let way: Box<dyn Write + Send> = match goal {
            Goal::File(path) => {
                let what = || format!("cannot write events to '{}'", path.display());
                let file = OpenOptions::new().append(true).create(true).open(path);
                Box::new(file.with_context(what)?)
            }
            Goal::Socket(path) => Box::new(connected(path)?),
            Goal::Command(command) => {
                let child = owner.start(EVENTS, Stdio::piped(), |part| {
                    part.arg(command).stdout(Stdio::inherit());
                });
                let child =
                    child.with_context(|| format!("cannot start '{command}' for events"))?;
                let pipe = child.stdin.context("a command without standard input")?;
                Box::new(pipe)
            }
        };
        Ok(Self(Some(way)))
    }
}

fn connected(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).with_context(|| format!("cannot send events to '{}'", path.display()))
}

impl Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(way) = &mut self.0 else { return Ok(bytes.len()) };
        if let Err(error) = way.write_all(bytes) {
            tracing::warn!(%error, "events are lost from now on: nobody takes them");
            self.0 = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as it is written. What is not known is left out.
#[derive(Debug, Default, Serialize)]
struct Line {
    time: String,
    event: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    windowsize: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tsize: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmitted: Option<u64>,
    /// Whether a transfer that is over was whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Lines before this one that were left out, or that nobody read in time.
    lost: u64,
}

impl Line {
    fn of(event: &Event<'_>) -> Option<Self> {
        Some(match event {
            Event::Started { query, served, agreed } => {
                Self::of_transfer("started", (query, *served), agreed)
            }
            Event::Progress { query, served, summary } => {
                Self::of_transfer("progress", (query, *served), &summary.agreed).counted(summary)
            }
            Event::Finished { query, served, summary } => {
                let line = Self::of_transfer("finished", (query, *served), &summary.agreed);
                let (_, _, outcome) = judge(summary, query.operation);
                let ended = summary.outcome.as_ref();
                Self {
                    ok: Some(ended.is_some_and(tftpkit::transfer::Outcome::is_success)),
                    outcome: Some(outcome),
                    error: ended.and_then(error_of).map(u16::from),
                    ..line.counted(summary)
                }
            }
            Event::Refused { query, served, refusal } => Self {
                error: Some(refusal.code.into()),
                why: Some(refusal.reason.to_string()),
                ..Self::of_query("refused", query, *served)
            },
            Event::Dropped { peer, query: None, reason } => {
                Self { why: Some(reason.to_string()), ..Self::of_peer("dropped", peer) }
            }
            Event::Dropped { query: Some(query), reason, .. } => {
                Self { why: Some(reason.to_string()), ..Self::of_query("dropped", query, None) }
            }
            Event::Malformed { peer, why } => {
                Self { why: Some(why.to_string()), ..Self::of_peer("malformed", peer) }
            }
            Event::Failed { query, served, error, .. } => {
                Self { why: Some(error.to_string()), ..Self::of_query("failed", query, *served) }
            }
            // It is part of no transfer, and of no use.
            _ => return None,
        })
    }

    fn of_peer(event: &'static str, peer: &std::net::SocketAddr) -> Self {
        Self {
            time: Timestamp::now().to_string(),
            event,
            peer: peer.to_string(),
            ..Self::default()
        }
    }

    fn of_query(event: &'static str, query: &Query, served: Option<&Filename>) -> Self {
        let name = |name: &Filename| String::from_utf8_lossy(name.as_bytes()).into_owned();
        Self {
            operation: Some(query.operation.to_string()),
            file: Some(name(&query.name)),
            served: served.map(name),
            mode: Some(query.mode.to_string()),
            ..Self::of_peer(event, &query.peer)
        }
    }

    fn of_transfer(
        event: &'static str,
        (query, served): (&Query, Option<&Filename>),
        agreed: &Agreed,
    ) -> Self {
        Self {
            blksize: Some(agreed.block_size().get()),
            windowsize: Some(agreed.window().get()),
            tsize: agreed.transfer_size().or_else(|| query.announced_size()),
            ..Self::of_query(event, query, served)
        }
    }

    fn counted(self, summary: &Summary) -> Self {
        Self {
            bytes: Some(summary.bytes),
            seconds: Some(pace(summary).0),
            retransmitted: Some(summary.retransmitted),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;
    use tftpkit::server::{DropReason, Refusal};
    use tftpkit::transfer::Outcome;
    use tftpkit::wire::{ErrorCode, Packet};

    #[test]
    fn events_go_to_a_file_a_socket_or_a_command() {
        assert_eq!(goal("/var/log/x"), Ok(Goal::File("/var/log/x".into())));
        assert_eq!(goal("unix:/run/x"), Ok(Goal::Socket("/run/x".into())));
        assert_eq!(goal("| logger -t x"), Ok(Goal::Command("logger -t x".into())));
        for nonsense in ["", "unix:", "|", "| "] {
            assert!(goal(nonsense).is_err(), "{nonsense}");
        }
    }

    /// One that takes nothing, and counts how often it is asked to.
    struct Closed(Arc<AtomicU64>);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_takes_no_event_any_more_is_given_none() {
        let asked = Arc::new(AtomicU64::new(0));
        let mut way = Way(Some(Box::new(Closed(Arc::clone(&asked)))));
        for line in [&b"first"[..], b"second"] {
            assert_eq!(way.write(line).expect("a line that is lost is no error"), line.len());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "each line would be warned of");
    }

    /// One that takes lines once it is let, and passes them on.
    struct Held(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_tells_how_many_before_it_were_left_out_or_read_by_nobody() {
        let ((let_it, is_let), (tell, told)) = (mpsc::channel::<()>(), mpsc::channel());
        let mut events =
            Events::open(None, 1, Owner { account: None, by_inetd: false }).expect("no way");
        events.way = Mutex::new(Some(Way(Some(Box::new(Held(is_let, tell))))));
        let _guard = events.start_thread().expect("a thread");
        let why = Packet::parse(&[0, 9]).expect_err("no packet");
        let peer = "192.0.2.7:2000".parse().expect("an address");
        let tell = |events: &Events, times| {
            (0..times).for_each(|_| events.tell(&Event::Malformed { peer, why }));
        };
        // So many that some are left out, and then so many that not all can wait.
        tell(&events, 20);
        let left_out = events.left_out.load(Ordering::Relaxed);
        *events.ration.lock().expect("no panic") = None;
        tell(&events, LINES_HELD + 100);
        drop(let_it);
        let mut lost = vec![0];
        for _ in 0..2 * LINES_HELD {
            let line = told.recv_timeout(Duration::from_secs(10)).expect("a line");
            let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            lost.push(line["lost"].as_u64().expect("a number"));
            tell(&events, 1);
        }
        lost.dedup();
        assert!(left_out > 0 && lost.starts_with(&[0, left_out]), "{left_out}: {lost:?}");
        assert!(lost.get(2).is_some_and(|lost| *lost >= left_out + 80), "unread ones: {lost:?}");
    }

    #[test]
    fn each_event_is_a_line_with_all_that_is_known_of_it() {
        const ASKED: &str =
            r#""peer":"192.0.2.7:2000","operation":"WRQ","file":"f","served":"g","mode":"octet""#;
        const TERMS: &str = r#""blksize":512,"windowsize":1,"tsize":9"#;
        const FIGURES: &str = r#""bytes":7,"seconds":1.5,"retransmitted":2"#;
        let peer = "192.0.2.7:2000".parse::<std::net::SocketAddr>().expect("an address");
        let request = b"\0\x02f\0octet\0tsize\x009\0";
        let query = &Query::parse(request, peer, peer.ip()).expect("a request");
        let served = Some(&Filename::from("g"));
        let ended = |outcome| {
            let mut summary = Summary::default();
            (summary.bytes, summary.retransmitted, summary.outcome) = (7, 2, outcome);
            summary.elapsed = Duration::from_micros(1_500_049);
            summary
        };
        let all = [None, Some(Outcome::Complete), Some(Outcome::Oversized)].map(ended);
        let [under_way, whole, broken] = &all;
        let refusal = &Refusal::new(ErrorCode::AccessViolation, "not you");
        let (reason, error) = (&DropReason::NoPort, &io::Error::other("no socket"));
        let why = Packet::parse(&[0, 9]).expect_err("no packet");
        let agreed = &Agreed::default();
        for (event, name, told) in [
            (Event::Started { query, served, agreed }, "started", format!("{ASKED},{TERMS}")),
            (
                Event::Progress { query, served, summary: under_way },
                "progress",
                format!("{ASKED},{TERMS},{FIGURES}"),
            ),
            (
                Event::Finished { query, served, summary: whole },
                "finished",
                format!(r#"{ASKED},{TERMS},{FIGURES},"ok":true,"outcome":"complete""#),
            ),
            (
                Event::Finished { query, served, summary: broken },
                "finished",
                format!(
                    r#"{ASKED},{TERMS},{FIGURES},"ok":false,"outcome":"a block larger than agreed","error":4"#
                ),
            ),
            (
                Event::Refused { query, served, refusal },
                "refused",
                format!(r#"{ASKED},"error":2,"why":"not you""#),
            ),
            (
                Event::Dropped { peer, query: None, reason },
                "dropped",
                r#""peer":"192.0.2.7:2000","why":"all ports for transfers are in use""#.into(),
            ),
            (
                Event::Dropped { peer, query: Some(query), reason },
                "dropped",
                format!(
                    r#"{},"why":"all ports for transfers are in use""#,
                    ASKED.replace(r#""served":"g","#, "")
                ),
            ),
            (
                Event::Malformed { peer, why },
                "malformed",
                r#""peer":"192.0.2.7:2000","why":"opcode""#.into(),
            ),
            (
                Event::Failed { query, served, summary: None, error },
                "failed",
                format!(r#"{ASKED},"why":"no socket""#),
            ),
        ] {
            let line = Line::of(&event).expect("a line");
            let time = &line.time;
            let whole = format!(r#"{{"time":"{time}","event":"{name}",{told},"lost":0}}"#);
            assert_eq!(serde_json::to_string(&line).expect("JSON"), whole);
            assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        }
        assert!(Line::of(&Event::Stray { peer }).is_none(), "it is part of no transfer");
    }
}
