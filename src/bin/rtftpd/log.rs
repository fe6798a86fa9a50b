//! Events as log lines, on standard error: one for each transfer that ended, few for everything else.

use crate::args::Args;
use crate::journal;
use crate::lines::Lines;
use crate::misses::{Looked, Misses};
use crate::outcome::{error_of, judge, pace};
use crate::ration::{BETWEEN_COMPLAINTS, Ration};
use crate::short::Short;
use crate::shown;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, Thread};
use std::time::Instant;
use tftpkit::proto::{Agreed, Time};
use tftpkit::query::Query;
use tftpkit::server::{Event, Refusal};
use tftpkit::store::Notice;
use tftpkit::transfer::{Outcome, Summary};
use tftpkit::wire::{ErrorCode, Filename, Operation};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Value, debug, error, info, warn};
use tracing_appender::non_blocking::ErrorCounter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// Lines in each second, unless the operator says otherwise: nobody can fill a disk by asking.
pub(crate) const LINES_PER_SECOND: u32 = 500;
/// Characters of a name or a text: as many as a request of 512 octets may have (RFC 2347).
const LONGEST_CHARS: usize = 512;

/// Which lines there are.
#[derive(Clone, Debug)]
pub(crate) struct Verbosity(reload::Handle<LevelFilter, Registry>);

impl Verbosity {
    /// From now on there are the lines that `args` wants.
    pub(crate) fn set(&self, args: &Args) {
        let _ = self.0.reload(wanted(args));
    }
}

fn wanted(args: &Args) -> LevelFilter {
    match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, 0) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

/// Sets up the form of lines, which go the given way, and which there are.
pub(crate) fn start(args: &Args, way: &Lines) -> Verbosity {
    let (filter, level) = reload::Layer::new(wanted(args));
    let (socket, form) = journal::find(args).unzip();
    way.lead_to(socket);
    let all = tracing_subscriber::registry().with(filter);
    // A line that cannot be written is lost; to complain about it, on the same standard error, would be a panic.
    let lines =
        tracing_subscriber::fmt::layer().with_writer(way.clone()).log_internal_errors(false);
    let lines = lines.with_target(false);
    if let Some(form) = form {
        all.with(lines.with_ansi(false).event_format(form)).init();
    } else if args.json {
        all.with(lines.json().flatten_event(true)).init();
    } else if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        let colours = std::env::var_os("NO_COLOR").is_none();
        // The lines have their own colours, and the writer would escape them.
        all.with(lines.with_ansi(colours).event_format(Short::new(colours))).init();
    } else {
        all.with(lines.with_ansi(false)).init();
    }
    Verbosity(level)
}

/// Writes what the operator should know of the folder.
pub(crate) fn notice(notice: &Notice) {
    let path = told(notice.path().as_os_str().as_bytes());
    match notice {
        Notice::RootChanged(root) if is_closed(root) => warn!(
            path,
            "the served folder is another directory now, which this server may not read: it lies outside its sandbox (start \
             the server again), or its mode forbids it"
        ),
        Notice::RootChanged(_) | Notice::Walked(_) | Notice::StoredAs(_) => info!(path, "{notice}"),
        _ => warn!(path, "{notice}"),
    }
}

fn is_closed(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Writes lines, as many as are allowed.
#[derive(Debug)]
pub(crate) struct Log {
    start: Instant,
    /// Nothing is left out where there is none.
    ration: Mutex<Option<Ration>>,
    /// Whether numbers are for programs.
    json: bool,
    /// The lines that nobody read in time.
    lost: OnceLock<(ErrorCounter, Mutex<Lost>)>,
    misses: Mutex<Misses>,
    /// The thread that tells of them in the end.
    teller: OnceLock<Option<Thread>>,
}

/// What was told of lines that were lost.
#[derive(Debug, Default)]
struct Lost {
    lines: usize,
    told: Option<Time>,
}

impl Log {
    /// A log of so many lines in each second; 0 is no bound.
    pub(crate) fn new(per_second: u32, json: bool) -> Self {
        let ration = Mutex::new(Ration::of(per_second, Time::START));
        let (lost, misses, teller) = (OnceLock::new(), Mutex::default(), OnceLock::new());
        Self { start: Instant::now(), ration, json, lost, misses, teller }
    }

    /// From now on it has so many lines in each second; 0 is no bound.
    pub(crate) fn set_rate(&self, per_second: u32) {
        let mut ration = locked(&self.ration);
        if ration.as_ref().map_or(0, |ration| ration.per_second) != per_second {
            *ration = Ration::of(per_second, self.now());
        }
    }

    /// Tells of lines that were lost, too, from now on.
    pub(crate) fn count(&self, lost: ErrorCounter) {
        let _ = self.lost.set((lost, Mutex::default()));
    }

    pub(crate) fn tell(self: &Arc<Self>, event: Event<'_>) {
        // What is not written costs nobody's line.
        let wanted = level(&event).is_some_and(|level| level <= LevelFilter::current());
        if !wanted || self.holds_back(&event) || !self.may_write() {
            return;
        }
        self.tell_lost();
        match event {
            Event::Started { query, served, agreed } => {
                self.line((Level::DEBUG, "started", None), (query, served), agreed, None);
            }
            Event::Progress { query, served, summary } => {
                let is_upload = query.operation == Operation::Write;
                let message = if is_upload { "receiving" } else { "sending" };
                let how = (Level::INFO, message, None);
                self.line(how, (query, served), &summary.agreed, Some(summary));
            }
            Event::Finished { query, served, summary } => {
                let (level, message, outcome) = judge(summary, query.operation);
                let how = (level, message, Some(outcome));
                self.line(how, (query, served), &summary.agreed, Some(summary));
            }
            Event::Refused { query, served, refusal } => refused(query, served, refusal),
            Event::Malformed { peer, why } => debug!(%peer, %why, "malformed"),
            Event::Dropped { peer, query, reason } => {
                let operation = query.map(|query| query.operation.to_string());
                warn!(file = query.map(file), %peer, operation, why = %reason, "dropped");
            }
            Event::Stray { peer } => debug!(%peer, "stray packet"),
            Event::Failed { query, served, error, .. } => {
                let (file, served) = (file(query), served.map(name));
                error!(file, served, peer = %query.peer, %error, "failed");
            }
            _ => {}
        }
    }

    /// Whether this is one of many files that a client looks for in vain, which are told together; tells of those before it
    /// where the client got one at last.
    fn holds_back(self: &Arc<Self>, event: &Event<'_>) -> bool {
        match event {
            // What may have been meant is for somebody to read.
            Event::Refused { query, refusal, .. }
                if is_probe(query, refusal.code) && refusal.reason == "not found" =>
            {
                // Who wants to know more wants to know each.
                if LevelFilter::current() >= LevelFilter::DEBUG {
                    return false;
                }
                let held = locked(&self.misses).hold(self.now(), query.peer.ip(), &file(query));
                if held == Some(true) {
                    self.wake_teller();
                }
                held.is_some()
            }
            Event::Finished { query, summary, .. }
                if query.operation == Operation::Read
                    && summary.outcome == Some(Outcome::Complete) =>
            {
                let looked = locked(&self.misses).got(query.peer.ip());
                if let Some(looked) = looked {
                    self.looked(&looked, &format!(", then got {}", file(query)));
                }
                false
            }
            _ => false,
        }
    }

    fn looked(&self, looked: &Looked, then: &str) {
        if self.may_write() {
            let Looked { client, files, names } = looked;
            info!(%client, files = names, "{client} looked for {files} files that are not there{then}");
        }
    }

    /// Tells of all that was held back: the server ends.
    pub(crate) fn finish(&self) {
        let rest = locked(&self.misses).rest();
        rest.iter().for_each(|looked| self.looked(looked, ""));
    }

    fn wake_teller(self: &Arc<Self>) {
        let teller = self.teller.get_or_init(|| {
            let log = Arc::clone(self);
            let thread = Builder::new().name("misses".into()).spawn(move || log.tell_misses());
            thread.ok().map(|thread| thread.thread().clone())
        });
        if let Some(teller) = teller {
            teller.unpark();
        }
    }

    fn tell_misses(&self) {
        loop {
            let (due, next) = locked(&self.misses).due(self.now());
            due.iter().for_each(|looked| self.looked(looked, ""));
            match next {
                Some(next) => std::thread::park_timeout(next - self.now()),
                None => std::thread::park(),
            }
        }
    }

    fn now(&self) -> Time {
        Time::START + self.start.elapsed()
    }

    /// Says how many lines were lost, once there is room for that.
    fn tell_lost(&self) {
        let Some((counter, lost)) = self.lost.get() else { return };
        let lines = counter.dropped_lines();
        let (mut lost, now) = (locked(lost), self.now());
        if lines == lost.lines || lost.told.is_some_and(|told| now - told < BETWEEN_COMPLAINTS) {
            return;
        }
        lost.told = Some(now);
        warn!(lines = lines - lost.lines, "log lines lost: nobody reads them in time");
        // It may be lost itself, and is then no line that anybody misses.
        match counter.dropped_lines() == lines {
            true => lost.lines = lines,
            false => lost.lines += 1,
        }
    }

    /// Takes a line, if there is one.
    pub(crate) fn may_write(&self) -> bool {
        let now = self.now();
        let Some(taken) = locked(&self.ration).as_mut().map(|ration| ration.take(now)) else {
            return true;
        };
        if let Some(lines @ 1..) = taken {
            warn!(lines, "log lines left out: more than --log-rate allows");
        }
        taken.is_some()
    }
}

fn locked<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much an event matters; nothing is written of one that has no level.
fn level(event: &Event<'_>) -> Option<Level> {
    Some(match event {
        Event::Finished { query, summary, .. } => judge(summary, query.operation).0,
        Event::Refused { query, refusal, .. } if is_probe(query, refusal.code) => Level::INFO,
        Event::Refused { .. } | Event::Dropped { .. } => Level::WARN,
        Event::Failed { .. } => Level::ERROR,
        Event::Progress { .. } => Level::INFO,
        Event::Started { .. } | Event::Malformed { .. } | Event::Stray { .. } => Level::DEBUG,
        _ => return None,
    })
}

/// Boot loaders ask for many files that need not be there.
fn is_probe(query: &Query, code: ErrorCode) -> bool {
    query.operation != Operation::Write && code == ErrorCode::NotFound
}

/// The name as it was asked for.
pub(crate) fn file(query: &Query) -> String {
    name(&query.name)
}

fn name(name: &Filename) -> String {
    told(name.as_bytes())
}

/// Bytes from the network, fit for a log line. Both forms of a line escape the older control characters by themselves,
/// so that a program reads a name from JSON as it is.
pub(crate) fn told(bytes: &[u8]) -> String {
    let harmless = |text: &str| {
        shown::escaped(text, |c| matches!(c, '\u{7f}'..='\u{9f}') || shown::is_invisible(c))
    };
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(LONGEST_CHARS) {
        Some((end, _)) => harmless(&text[..end]) + "…",
        None => harmless(&text),
    }
}

fn refused(query: &Query, served: Option<&Filename>, refusal: &Refusal) {
    let (file, served, peer) = (file(query), served.map(name), query.peer);
    if is_probe(query, refusal.code) {
        match &*refusal.reason {
            // That is all that can be said of most.
            "not found" => info!(file, served, %peer, "not there"),
            why => info!(file, served, %peer, why, "not there"),
        }
    } else {
        let (operation, error, why) = (query.operation, u16::from(refusal.code), &*refusal.reason);
        warn!(file, served, %peer, %operation, error, why, "refused");
    }
}

impl Log {
    /// Writes a line about a transfer: what happened, and how it ended. What is not known is left out.
    fn line(
        &self,
        (level, message, outcome): (Level, &str, Option<String>),
        (query, served): (&Query, Option<&Filename>),
        agreed: &Agreed,
        summary: Option<&Summary>,
    ) {
        let (seconds, rate) = summary.map(pace).unzip();
        let (number, text) = (rate.map(f64::round), rate.map(shown::rate));
        let rate: &dyn Value = if self.json { &number } else { &text };
        let ended = summary.and_then(|summary| summary.outcome.as_ref());
        // The level of a line is a part of its code.
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    file = file(query),
                    served = served.map(name),
                    peer = %query.peer,
                    operation = %query.operation,
                    mode = %query.mode,
                    blksize = agreed.block_size().get(),
                    windowsize = agreed.window().get(),
                    tsize = agreed.transfer_size().or_else(|| query.announced_size()),
                    bytes = summary.map(|summary| summary.bytes),
                    seconds,
                    rate,
                    retransmitted = summary.map(|summary| summary.retransmitted),
                    outcome,
                    error = ended.and_then(error_of).map(u16::from),
                    "{message}"
                )
            };
        }
        match level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        }
    }
}

/// Which lines are wanted is known to the whole process: tests that write some do so one after the other.
#[cfg(test)]
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    locked(&ONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ration::BURST_SECONDS;
    use std::io::{self, Write};
    use std::time::Duration;
    use tftpkit::query::NotAQuery;
    use tftpkit::server::DropReason;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("the lines").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const BURST_LINES: u32 = LINES_PER_SECOND * BURST_SECONDS;

    #[test]
    fn a_line_that_is_not_written_costs_no_other_its_place_and_the_others_have_their_level() {
        let _alone = alone();
        let new = |rate| Arc::new(Log::new(rate, false));
        let (log, query) = (new(LINES_PER_SECOND), query(Operation::Read));
        // Nothing is set up that would write.
        let none = tracing_subscriber::fmt().with_max_level(LevelFilter::OFF).finish();
        tracing::subscriber::with_default(none, || {
            for _ in 0..10 {
                let reason = &DropReason::TooManySessions;
                log.tell(Event::Dropped { peer: query.peer, query: None, reason });
            }
        });
        assert!((0..BURST_LINES).all(|_| log.may_write()));
        // It would take ten seconds to have as many again, and the next is there in two milliseconds.
        assert!(!(0..BURST_LINES).all(|_| log.may_write()));
        let start = Instant::now();
        while !log.may_write() {
            assert!(start.elapsed() < Duration::from_secs(30), "there are no new lines");
        }

        let (log, lines) = (new(0), Lines::default());
        let writer = lines.clone();
        let all = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_ansi(false);
        let all = all.with_target(false).without_time().with_writer(move || writer.clone());
        let mut summary = Summary::default();
        summary.outcome = Some(Outcome::Local(ErrorCode::Undefined, "bad disk".into()));
        tracing::subscriber::with_default(all.finish(), || {
            log.tell(Event::Failed {
                query: &query,
                served: None,
                summary: None,
                error: &io::Error::other("no descriptor"),
            });
            log.tell(Event::Finished { query: &query, served: None, summary: &summary });
            log.tell(Event::Stray { peer: query.peer });
        });
        let lines = lines.0.lock().expect("the lines").clone();
        let expected = "\
            ERROR failed file=\"f\" peer=127.0.0.1:2000 error=no descriptor\n\
            ERROR failed file=\"f\" peer=127.0.0.1:2000 operation=RRQ mode=octet blksize=512 windowsize=1 bytes=0 \
            seconds=0.0 rate=\"0 B/s\" retransmitted=0 outcome=\"bad disk\" error=0\n\
            DEBUG stray packet peer=127.0.0.1:2000\n";
        let told: Vec<_> = str::from_utf8(&lines).expect("UTF-8").lines().map(str::trim).collect();
        assert_eq!(told, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn files_that_are_not_there_are_told_together_but_for_what_is_to_be_read() {
        let _alone = alone();
        let (log, lines) = (Arc::new(Log::new(0, false)), Lines::default());
        let writer = lines.clone();
        let all = tracing_subscriber::fmt().with_max_level(Level::INFO).with_ansi(false);
        let all = all.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(all, || {
            let names = [("a", "not found"), ("b", "not found"), ("c", "C is there")];
            for (name, why) in names.into_iter().chain([("d", "not found")]) {
                let local = [127, 0, 0, 1];
                let query = Query::new((local, 2000).into(), local.into(), Operation::Read, name);
                let refusal = &Refusal::new(ErrorCode::NotFound, why);
                log.tell(Event::Refused { query: &query, served: None, refusal });
            }
        });
        let lines = String::from_utf8(lines.0.lock().expect("the lines").clone()).expect("UTF-8");
        let told = ["a", "b", "c", "d"].map(|name| lines.contains(&format!("file=\"{name}\"")));
        assert_eq!(told, [true, false, true, false], "what may be meant is told at once: {lines}");
    }

    #[test]
    fn another_rate_begins_anew_and_the_same_one_gives_no_more_lines() {
        let _alone = alone();
        let log = Log::new(1, false);
        let written = |most: u32| (0..most).filter(|_| log.may_write()).count() as u32;
        assert_eq!(written(BURST_SECONDS), BURST_SECONDS);
        log.set_rate(1);
        assert!(written(BURST_SECONDS) < BURST_SECONDS, "it was used up");
        log.set_rate(2);
        assert_eq!(written(2 * BURST_SECONDS), 2 * BURST_SECONDS);
        log.set_rate(0);
        assert_eq!(written(1000), 1000, "0 is no bound");
    }

    fn query(operation: Operation) -> Query {
        let local = [127, 0, 0, 1];
        Query::new((local, 2000).into(), local.into(), operation, "f")
    }

    #[test]
    fn what_clients_often_ask_for_in_vain_is_no_trouble() {
        let refused = |operation, code| {
            let (query, refusal) = (query(operation), Refusal::new(code, "why"));
            level(&Event::Refused { query: &query, served: None, refusal: &refusal })
        };
        use ErrorCode::{AccessViolation, NotFound};
        assert_eq!(refused(Operation::Read, NotFound), Some(Level::INFO));
        assert_eq!(refused(Operation::List, NotFound), Some(Level::INFO));
        assert_eq!(refused(Operation::Write, NotFound), Some(Level::WARN));
        assert_eq!(refused(Operation::Read, AccessViolation), Some(Level::WARN));
        let peer: std::net::SocketAddr = ([127, 0, 0, 1], 2000).into();
        assert_eq!(level(&Event::Stray { peer }), Some(Level::DEBUG));
        let why = Query::parse(b"\0\x01f\0mail\0", peer, peer.ip());
        let Err(NotAQuery::Malformed(why)) = why else { panic!("{why:?} is a request") };
        assert_eq!(level(&Event::Malformed { peer, why }), Some(Level::DEBUG));
        let reason = &DropReason::NoPort;
        assert_eq!(level(&Event::Dropped { peer, query: None, reason }), Some(Level::WARN));
        let (query, summary) = (query(Operation::Read), Summary::default());
        let progress = Event::Progress { query: &query, served: None, summary: &summary };
        assert_eq!(level(&progress), Some(Level::INFO));
        let agreed = &summary.agreed;
        assert_eq!(
            level(&Event::Started { query: &query, served: None, agreed }),
            Some(Level::DEBUG)
        );
        assert_eq!(
            level(&Event::Finished { query: &query, served: None, summary: &summary }),
            Some(Level::WARN)
        );
        let error = io::Error::other("no descriptor");
        assert_eq!(
            level(&Event::Failed { query: &query, served: None, summary: None, error: &error }),
            Some(Level::ERROR)
        );
    }

    #[test]
    fn a_text_is_told_to_its_longest_and_no_longer() {
        let shown = |len| told(&vec![b'n'; len]);
        assert_eq!(shown(LONGEST_CHARS), "n".repeat(LONGEST_CHARS));
        assert_eq!(shown(LONGEST_CHARS + 1), format!("{}…", "n".repeat(LONGEST_CHARS)));
    }

    #[test]
    fn what_the_forms_of_a_line_leave_as_it_is_is_escaped_and_nothing_else() {
        assert_eq!(told("gpj.\u{202e}exe\n\u{9b}".as_bytes()), "gpj.\\u{202e}exe\n\\u{9b}");
    }
}
