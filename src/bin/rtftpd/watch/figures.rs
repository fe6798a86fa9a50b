//! What is known of a server: its events, folded, and a look at what is under way each second.
//!
//! It is told on the threads that drive transfers: so it keeps what it is told as it is, and writes no text there.

use super::metrics::{Metrics, Now};
use super::status::{About, Grade, Progress, Recent, Running, Status, Totals};
use crate::outcome;
use crate::shown;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tftpkit::limits;
use tftpkit::query::Query;
use tftpkit::server::{DropReason, Event, Gauges, Handle, Refusal};
use tftpkit::transfer::Summary;
use tftpkit::wire::{ErrorCode, Filename, Operation};
use tracing::Level;

/// Characters of a name that are shown.
const LONGEST_CHARS: usize = 512;
/// From a shorter one no rate is told.
const SHORTEST_SPAN: Duration = Duration::from_millis(50);

/// Which way a file goes, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Sent,
    Received,
}

impl Way {
    pub(super) const BOTH: [Self; 2] = [Self::Sent, Self::Received];

    const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Write => Self::Received,
            Operation::Read | Operation::List => Self::Sent,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// What transfers have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) packets: u64,
    pub(super) retransmitted: u64,
    probes: u64,
    unproven_bytes: u64,
}

impl Moved {
    pub(super) fn of(figures: &Summary) -> Self {
        Self {
            bytes: figures.bytes,
            blocks: figures.blocks(),
            packets: figures.packets,
            retransmitted: figures.retransmitted,
            probes: figures.probes,
            unproven_bytes: figures.unproven_bytes,
        }
    }

    const fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.blocks += other.blocks;
        self.packets += other.packets;
        self.retransmitted += other.retransmitted;
        self.probes += other.probes;
        self.unproven_bytes += other.unproven_bytes;
    }
}

/// In each direction.
type Both = [Moved; 2];

/// What is known of a server.
#[derive(Debug)]
pub(super) struct Figures {
    began: Instant,
    metrics: Metrics,
    known: Mutex<Known>,
    lag: Mutex<Lag>,
}

#[derive(Debug, Default)]
struct Known {
    totals: Totals,
    /// What was moved by all that is over.
    over: Both,
    recent: Ring,
    /// Apart, for who asks for many files that are not there: they leave the others in sight.
    turned_away: Ring,
    last: u64,
    look: Look,
    history: VecDeque<(u64, u64)>,
}

type Ring = VecDeque<Over>;

/// What is over, as it was told.
#[derive(Debug)]
struct Over {
    id: u64,
    at: Instant,
    peer: SocketAddr,
    query: Option<Query>,
    served: Option<Filename>,
    how: How,
}

#[derive(Debug)]
enum How {
    Finished(Summary),
    Refused(Refusal),
    Dropped(DropReason),
    Failed(String),
}

/// The last look at what is under way.
#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    moved: Both,
    rates: [u64; 2],
    transfers: HashMap<u64, Seen>,
    running: Vec<Running>,
    more_running: usize,
}

/// A transfer at the last look.
#[derive(Clone, Debug)]
struct Seen {
    figures: Option<Summary>,
    at: Instant,
    rate: f64,
    got_on_at: Instant,
}

/// How the loop that takes requests keeps up.
#[derive(Debug, Default)]
struct Lag {
    last: Duration,
    asked: Option<Instant>,
}

/// A transfer that is under way.
struct One<'a> {
    number: u64,
    query: &'a Query,
    served: Option<&'a Filename>,
}

fn locked<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures {
    pub(super) fn new() -> Self {
        let (metrics, known, lag) = (Metrics::new(), Mutex::default(), Mutex::default());
        Self { began: Instant::now(), metrics, known, lag }
    }

    /// Something happened. It is called where transfers are driven, and waits for nothing but a moment of its own lock.
    pub(super) fn tell(&self, event: &Event<'_>) {
        let metrics = &self.metrics;
        match *event {
            Event::Started { query, .. } => {
                metrics.started(query.operation);
                locked(&self.known).totals.started += 1;
            }
            Event::Finished { query, served, summary } => self.finished(query, served, summary),
            Event::Refused { query, served, refusal } => {
                metrics.refused(refusal.code);
                let over =
                    Over::new(query.peer, Some(query), served, How::Refused(refusal.clone()));
                let mut known = locked(&self.known);
                known.totals.refused += 1;
                known.turn_away(over);
            }
            Event::Dropped { peer, query, reason } => {
                metrics.dropped(reason);
                let over = Over::new(peer, query, None, How::Dropped(reason.clone()));
                let mut known = locked(&self.known);
                known.totals.dropped += 1;
                known.turn_away(over);
            }
            Event::Failed { query, served, summary, error } => {
                metrics.failed();
                let how = How::Failed(error.to_string());
                let over = Over::new(query.peer, Some(query), served, how);
                let mut known = locked(&self.known);
                if let Some(summary) = summary {
                    known.over[Way::of(query.operation) as usize].add(Moved::of(summary));
                }
                known.totals.failed += 1;
                known.keep(over);
            }
            Event::Malformed { .. } => metrics.malformed(),
            Event::Stray { .. } => metrics.stray(),
            _ => {}
        }
    }

    fn finished(&self, query: &Query, served: Option<&Filename>, summary: &Summary) {
        let (level, word, _) = outcome::judge(summary, query.operation);
        let is_whole = matches!(word, "sent" | "received" | "listed");
        self.metrics.ended(query.operation, if is_whole { "complete" } else { word });
        if is_whole {
            self.metrics.took(query.operation, summary.elapsed);
        }
        if let Some(round_trip) = summary.round_trip {
            self.metrics.round_trip(round_trip);
        }
        let over = Over::new(query.peer, Some(query), served, How::Finished(summary.clone()));
        let mut known = locked(&self.known);
        known.over[Way::of(query.operation) as usize].add(Moved::of(summary));
        known.totals.complete += u64::from(is_whole);
        known.totals.failed += u64::from(level < Level::INFO);
        known.keep(over);
    }

    /// Looks at what is under way, and asks how the loop keeps up. It is called once in a second, or so.
    pub(super) fn look(self: &Arc<Self>, handle: &Handle) {
        self.ask_for_lag(handle);
        self.look_at(|look| {
            handle.each_running(|one| {
                look(
                    One { number: one.number, query: one.query, served: one.served },
                    one.size,
                    one.figures,
                );
            });
        });
    }

    /// Looks at what `each` tells of.
    fn look_at(&self, each: impl FnOnce(&mut dyn FnMut(One<'_>, Option<u64>, Option<Summary>))) {
        let now = Instant::now();
        let (before, over) = {
            let mut known = locked(&self.known);
            // What ends from here on is not in it, for it may have been looked at before.
            (std::mem::take(&mut known.look.transfers), known.over)
        };
        let (mut under_way, mut look) = (Both::default(), Look::default());
        each(&mut |one, size, figures| {
            if figures.as_ref().is_some_and(|figures| figures.outcome.is_some()) {
                return;
            }
            let seen = Seen::next(before.get(&one.number), figures, now);
            if let Some(figures) = &seen.figures {
                under_way[Way::of(one.query.operation) as usize].add(Moved::of(figures));
            }
            if look.running.len() < limits::LISTED_TRANSFERS {
                let about = About::of(one.query.peer, Some(one.query), one.served);
                look.running.push(seen.shown(one.number, about, size, now));
            } else {
                look.more_running += 1;
            }
            look.transfers.insert(one.number, seen);
        });
        let mut known = locked(&self.known);
        for way in Way::BOTH {
            let mut moved = over[way as usize];
            moved.add(under_way[way as usize]);
            look.moved[way as usize] = moved;
            self.metrics.moved(way, &moved);
        }
        let [sent, received] = &look.moved;
        let unproven_bytes = sent.unproven_bytes + received.unproven_bytes;
        self.metrics.moved_in_all(sent.probes + received.probes, unproven_bytes);
        if let Some(span) = known.look.at.map(|at| now - at).filter(|span| *span > SHORTEST_SPAN) {
            let rate = |way: Way| {
                let moved = look.moved[way as usize].bytes;
                let more = moved.saturating_sub(known.look.moved[way as usize].bytes);
                (more as f64 / span.as_secs_f64()) as u64
            };
            look.rates = Way::BOTH.map(rate);
            if known.history.len() == limits::PLOT_POINTS {
                known.history.pop_front();
            }
            known.history.push_back(look.rates.into());
        }
        look.at = Some(now);
        known.look = look;
    }

    fn ask_for_lag(self: &Arc<Self>, handle: &Handle) {
        let mut lag = locked(&self.lag);
        match lag.asked {
            // It has not come to it yet.
            Some(asked) => lag.last = asked.elapsed(),
            None => {
                lag.asked = Some(Instant::now());
                let figures = Arc::clone(self);
                handle.lag(move |waited| {
                    figures.metrics.lag(waited);
                    let mut lag = locked(&figures.lag);
                    (lag.last, lag.asked) = (waited, None);
                });
            }
        }
    }

    /// All of it, for people.
    pub(super) fn status(&self, gauges: Gauges, listening: &[SocketAddr]) -> Status {
        let lag = locked(&self.lag).last.as_secs_f64();
        let known = locked(&self.known);
        let [sent, received] = &known.look.moved;
        let totals = Totals {
            sent: sent.bytes,
            received: received.bytes,
            packets: sent.packets + received.packets,
            retransmitted: sent.retransmitted + received.retransmitted,
            ..known.totals.clone()
        };
        let [sending, receiving] = known.look.rates;
        let mut over: Vec<&Over> = known.recent.iter().chain(&known.turned_away).collect();
        over.sort_unstable_by_key(|over| std::cmp::Reverse(over.id));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            listening: listening.iter().map(SocketAddr::to_string).collect(),
            up: self.began.elapsed().as_secs_f64(),
            now: super::status::Now {
                transfers: gauges.transfers,
                dallying: gauges.dallying,
                unproven: gauges.unproven,
                windows_bytes: gauges.windows_bytes,
                sending,
                receiving,
                lag,
            },
            totals,
            running: known.look.running.clone(),
            more_running: known.look.more_running,
            recent: over.into_iter().map(Over::shown).collect(),
            history: known.history.iter().copied().collect(),
        }
    }

    /// All of it, for programs.
    pub(super) fn metrics(&self, now: &Now<'_>) -> String {
        self.metrics.text(now)
    }
}

impl Known {
    fn keep(&mut self, over: Over) {
        self.last += 1;
        add(&mut self.recent, self.last, over);
    }

    fn turn_away(&mut self, over: Over) {
        self.last += 1;
        add(&mut self.turned_away, self.last, over);
    }
}

fn add(ring: &mut Ring, id: u64, over: Over) {
    if ring.len() == limits::RECENT {
        ring.pop_front();
    }
    ring.push_back(Over { id, ..over });
}

impl Seen {
    /// At this look, where `figures` are missing if the transfer is busy.
    fn next(before: Option<&Self>, figures: Option<Summary>, now: Instant) -> Self {
        let Some(before) = before else {
            let elapsed = figures.as_ref().map_or(Duration::ZERO, |figures| figures.elapsed);
            let bytes = figures.as_ref().map_or(0, |figures| figures.bytes);
            let rate = bytes as f64 / elapsed.max(SHORTEST_SPAN).as_secs_f64();
            return Self { figures, at: now, rate, got_on_at: now };
        };
        let (Some(figures), span) = (figures, now - before.at) else { return before.clone() };
        let bytes = before.figures.as_ref().map_or(0, |figures| figures.bytes);
        let more = figures.bytes.saturating_sub(bytes);
        if span < SHORTEST_SPAN {
            return Self { figures: Some(figures), ..before.clone() };
        }
        let rate = more as f64 / span.as_secs_f64();
        // Half of what it was, so that a window that is just over does not make it jump.
        let rate = if before.rate > 0.0 { f64::midpoint(rate, before.rate) } else { rate };
        let got_on_at = if more > 0 { now } else { before.got_on_at };
        Self { figures: Some(figures), at: now, rate, got_on_at }
    }

    fn shown(&self, id: u64, about: About, size: Option<u64>, now: Instant) -> Running {
        let rate = if self.rate < 1.0 { 0 } else { self.rate as u64 };
        let progress = self
            .figures
            .as_ref()
            .map_or_else(Progress::default, |figures| Progress { rate, ..Progress::of(figures) });
        let agreed = self.figures.as_ref().map(|figures| figures.agreed).unwrap_or_default();
        let to_go = size.map(|size| size.saturating_sub(progress.bytes));
        let left = to_go.filter(|_| rate > 0).map(|to_go| to_go as f64 / rate as f64);
        Running {
            id,
            about,
            progress,
            size,
            left,
            still: (now - self.got_on_at).as_secs_f64(),
            blksize: agreed.block_size().get(),
            windowsize: agreed.window().get(),
        }
    }
}

impl Over {
    fn new(peer: SocketAddr, query: Option<&Query>, served: Option<&Filename>, how: How) -> Self {
        let (query, served) = (query.cloned(), served.cloned());
        Self { id: 0, at: Instant::now(), peer, query, served, how }
    }

    fn shown(&self) -> Recent {
        let query = self.query.as_ref();
        let about = About::of(self.peer, query, self.served.as_ref());
        let operation = query.map_or(Operation::Read, |query| query.operation);
        let (how, grade, why, progress) = match &self.how {
            How::Finished(summary) => {
                let (level, how, why) = outcome::judge(summary, operation);
                let grade = match (level, how) {
                    (Level::INFO, "sent" | "received" | "listed") => Grade::Fine,
                    (Level::INFO, _) => Grade::Note,
                    _ => Grade::Bad,
                };
                (how, grade, why, Some(Progress::of(summary)))
            }
            How::Refused(refusal) => {
                let is_probe = operation != Operation::Write && refusal.code == ErrorCode::NotFound;
                let grade = if is_probe { Grade::Note } else { Grade::Bad };
                ("refused", grade, refusal.reason.to_string(), None)
            }
            How::Dropped(reason) => ("dropped", Grade::Bad, reason.to_string(), None),
            How::Failed(error) => ("failed", Grade::Bad, error.clone(), None),
        };
        Recent {
            id: self.id,
            ago: self.at.elapsed().as_secs_f64(),
            about,
            how: how.into(),
            grade,
            why: shown::harmless(&why),
            progress,
        }
    }
}

impl About {
    fn of(peer: SocketAddr, query: Option<&Query>, served: Option<&Filename>) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let operation = match query.map(|query| query.operation) {
            Some(Operation::Read) => "read",
            Some(Operation::Write) => "write",
            Some(Operation::List) => "list",
            None => "",
        };
        Self {
            peer: peer.to_string(),
            file: query.map_or_else(String::new, |query| name(&query.name)),
            served: served.map(name),
            operation: operation.into(),
        }
    }
}

/// A name, as it can be shown to people.
fn name(name: &Filename) -> String {
    let text = shown::harmless(&String::from_utf8_lossy(name.as_bytes()));
    match text.char_indices().nth(LONGEST_CHARS) {
        Some((end, _)) => text[..end].to_owned() + "…",
        None => text,
    }
}

impl Progress {
    fn of(figures: &Summary) -> Self {
        let seconds = figures.elapsed.as_secs_f64();
        Self {
            bytes: figures.bytes,
            seconds,
            rate: (figures.bytes as f64 / seconds.max(1e-6)) as u64,
            round_trip: figures.round_trip.map(|trip| trip.as_secs_f64()),
            packets: figures.packets,
            retransmitted: figures.retransmitted,
        }
    }
}

#[cfg(test)]
mod tests;
