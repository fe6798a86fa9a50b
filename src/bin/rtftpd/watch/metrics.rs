//! What is counted, for Prometheus and its kin (OpenMetrics).

use super::figures::{Moved, Way};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tftpkit::server::{DropReason, Gauges};
use tftpkit::wire::{ErrorCode, Operation};

/// What `/metrics` sends.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Label<T> = (&'static str, T);
type Labelled<const N: usize> = Family<[Label<&'static str>; N], Counter>;
type Spans = Family<[Label<&'static str>; 1], Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    started: Labelled<1>,
    ended: Labelled<2>,
    failures: Counter,
    refusals: Labelled<1>,
    drops: Labelled<1>,
    malformed: Counter,
    strays: Counter,
    turned_away: Family<[Label<String>; 1], Counter>,
    bytes: Labelled<1>,
    blocks: Labelled<1>,
    packets: Labelled<1>,
    retransmissions: Labelled<1>,
    probes: Counter,
    unproven_bytes: Counter,
    round_trips: Histogram,
    durations: Spans,
    lag: Histogram,
    running: Gauge,
    dallying: Gauge,
    unproven: Gauge,
    windows_bytes: Gauge,
    lines_lost: Counter,
}

/// What only the server itself knows when it is asked.
pub(super) struct Now<'a> {
    pub(super) gauges: Gauges,
    /// What each rule has turned away.
    pub(super) rules: &'a [(String, u64)],
    pub(super) lines_lost: u64,
}

/// From a tenth of a millisecond, as on one switch, to 6 s.
fn round_trips() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 17))
}

/// From a millisecond, as of a small file, to half an hour.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 3.0, 14))
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("rtftpd");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the server", build);
        let durations_of: fn() -> Histogram = durations;
        let mut into = Known(&mut registry);
        let metrics = Self {
            started: into.add("transfers_started", "Transfers that began"),
            ended: into.add("transfers_ended", "Transfers that are over, by how they went"),
            failures: into.add("failures", "Transfers and answers for which the system failed"),
            refusals: into.add("refusals", "Requests answered with an ERROR, by its code"),
            drops: into.add("drops", "Requests that were not answered, by the reason"),
            malformed: into.add("malformed", "Datagrams that were meant for requests and are none"),
            strays: into.add("strays", "Other datagrams at the port of requests"),
            turned_away: into
                .add("turned_away", "Requests that a rule refused or dropped, by the rule"),
            bytes: into.add_in("payload", "Bytes of files that arrived", Unit::Bytes),
            blocks: into.add("blocks", "Blocks of files that arrived"),
            packets: into.add("packets", "Packets of transfers that left, those sent again too"),
            retransmissions: into.add("retransmissions", "Packets that left once more"),
            probes: into.add("probes", "Packets that left once more to learn what silence means"),
            unproven_bytes: into.add_in(
                "unproven",
                "Bytes sent to clients that had not answered yet",
                Unit::Bytes,
            ),
            round_trips: into.has(
                "round_trip",
                "Round trips, one of each transfer that measured any: the smoothed one at its end",
                Unit::Seconds,
                round_trips(),
            ),
            durations: into.has(
                "transfer_duration",
                "How long whole transfers took",
                Unit::Seconds,
                Family::new_with_constructor(durations_of),
            ),
            lag: into.has(
                "loop_lag",
                "How long something new waited for the loop that takes requests, asked each second",
                Unit::Seconds,
                round_trips(),
            ),
            running: into.add("transfers_running", "Transfers under way"),
            dallying: into
                .add("sessions_dallying", "Uploads that are safe, and answer a repeated block"),
            unproven: into.add("sessions_unproven", "Sessions whose clients have not answered yet"),
            windows_bytes: into.add_in("windows", "Memory reserved for windows", Unit::Bytes),
            lines_lost: into.add("log_lines_lost", "Log lines that nobody read in time"),
            registry: Registry::default(),
        };
        // What can be counted is there from the beginning, so that its first change is one.
        for way in Way::BOTH {
            for family in
                [&metrics.bytes, &metrics.blocks, &metrics.packets, &metrics.retransmissions]
            {
                drop(family.get_or_create(&[("direction", way.name())]));
            }
        }
        Self { registry, ..metrics }
    }

    pub(super) fn started(&self, operation: Operation) {
        self.started.get_or_create(&[("operation", name_of(operation))]).inc();
    }

    /// A transfer is over, in this word.
    pub(super) fn ended(&self, operation: Operation, outcome: &'static str) {
        let labels = [("operation", name_of(operation)), ("outcome", outcome)];
        self.ended.get_or_create(&labels).inc();
    }

    pub(super) fn took(&self, operation: Operation, duration: Duration) {
        let of = self.durations.get_or_create(&[("operation", name_of(operation))]);
        of.observe(duration.as_secs_f64());
    }

    pub(super) fn round_trip(&self, round_trip: Duration) {
        self.round_trips.observe(round_trip.as_secs_f64());
    }

    pub(super) fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    pub(super) fn refused(&self, code: ErrorCode) {
        self.refusals.get_or_create(&[("code", name_of_code(code))]).inc();
    }

    pub(super) fn dropped(&self, reason: &DropReason) {
        self.drops.get_or_create(&[("reason", name_of_reason(reason))]).inc();
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn malformed(&self) {
        self.malformed.inc();
    }

    pub(super) fn stray(&self) {
        self.strays.inc();
    }

    /// All that was moved until now. A counter never goes back: a transfer that ends between two looks is in neither sum
    /// for a moment.
    pub(super) fn moved(&self, way: Way, moved: &Moved) {
        let at_least = |counter: &Counter, value: u64| {
            let inner: &AtomicU64 = counter.inner();
            inner.fetch_max(value, Ordering::Relaxed);
        };
        let labels = [("direction", way.name())];
        at_least(&self.bytes.get_or_create(&labels), moved.bytes);
        at_least(&self.blocks.get_or_create(&labels), moved.blocks);
        at_least(&self.packets.get_or_create(&labels), moved.packets);
        at_least(&self.retransmissions.get_or_create(&labels), moved.retransmitted);
    }

    /// The same of what is not told by direction.
    pub(super) fn moved_in_all(&self, probes: u64, unproven_bytes: u64) {
        self.probes.inner().fetch_max(probes, Ordering::Relaxed);
        self.unproven_bytes.inner().fetch_max(unproven_bytes, Ordering::Relaxed);
    }

    /// The text of it.
    pub(super) fn text(&self, now: &Now<'_>) -> String {
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.running, now.gauges.transfers);
        set(&self.dallying, now.gauges.dallying);
        set(&self.unproven, now.gauges.unproven);
        set(&self.windows_bytes, now.gauges.windows_bytes);
        self.lines_lost.inner().store(now.lines_lost, Ordering::Relaxed);
        // They may be others since.
        self.turned_away.clear();
        for (rule, requests) in now.rules {
            let counter = self.turned_away.get_or_create(&[("rule", rule.clone())]);
            counter.inner().store(*requests, Ordering::Relaxed);
        }
        let mut text = String::new();
        // To write to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Where metrics are made known.
struct Known<'a>(&'a mut Registry);

impl Known<'_> {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn add_in<M: Metric + Clone + Default>(&mut self, name: &str, help: &str, unit: Unit) -> M {
        self.has(name, help, unit, M::default())
    }

    fn has<M: Metric + Clone>(&mut self, name: &str, help: &str, unit: Unit, metric: M) -> M {
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}

const fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::Write => "write",
        Operation::List => "list",
    }
}

const fn name_of_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotFound => "not_found",
        ErrorCode::AccessViolation => "access_violation",
        ErrorCode::DiskFull => "disk_full",
        ErrorCode::IllegalOperation => "illegal_operation",
        ErrorCode::FileExists => "file_exists",
        ErrorCode::OptionRefused => "option_refused",
        _ => "undefined",
    }
}

const fn name_of_reason(reason: &DropReason) -> &'static str {
    match reason {
        DropReason::TooManySessions => "too_many_sessions",
        DropReason::TooManyOfNetwork => "too_many_of_network",
        DropReason::TooManyUnproven => "too_many_unproven",
        DropReason::TooManyUnprovenOfNetwork => "too_many_unproven_of_network",
        DropReason::TooManyRequests => "too_many_requests",
        DropReason::TooManyAnswers => "too_many_answers",
        DropReason::LateCopy => "late_copy",
        DropReason::NoMemory => "no_memory",
        DropReason::NoDescriptor => "no_descriptor",
        DropReason::Leased => "leased",
        DropReason::NoPort => "no_port",
        DropReason::Policy(_) => "policy",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tftpkit::transfer::Summary;

    /// All samples but those of single buckets.
    fn samples(metrics: &Metrics, now: &Now<'_>) -> Vec<String> {
        let text = metrics.text(now);
        let kept = |line: &&str| !line.starts_with('#') && !line.contains("_bucket{");
        let mut all: Vec<_> = text.lines().filter(kept).map(str::to_owned).collect();
        all.sort();
        all
    }

    #[test]
    fn each_thing_that_is_counted_has_a_sample_of_its_own() {
        let (metrics, millis) = (Metrics::new(), Duration::from_millis);
        metrics.started(Operation::Read);
        metrics.ended(Operation::Write, "lost");
        metrics.took(Operation::List, millis(250));
        metrics.round_trip(millis(125));
        metrics.lag(millis(500));
        metrics.refused(ErrorCode::DiskFull);
        metrics.dropped(&DropReason::NoPort);
        metrics.failed();
        metrics.malformed();
        metrics.stray();
        let mut figures = Summary::default();
        (figures.bytes, figures.packets, figures.retransmitted) = (1030, 7, 2);
        let sent = Moved::of(&figures);
        (figures.bytes, figures.packets, figures.retransmitted) = (600, 5, 1);
        let received = Moved::of(&figures);
        metrics.moved(Way::Sent, &sent);
        metrics.moved(Way::Received, &received);
        metrics.moved_in_all(3, 516);
        // A moment in which a transfer is in neither sum takes nothing back.
        metrics.moved(Way::Sent, &received);
        metrics.moved_in_all(1, 1);
        let mut gauges = Gauges::default();
        (gauges.transfers, gauges.dallying, gauges.unproven) = (11, 12, 13);
        gauges.windows_bytes = 14;
        let rules = [("a.toml:1".to_owned(), 15), ("a.toml:4".to_owned(), 0)];
        let told = samples(&metrics, &Now { gauges, rules: &rules, lines_lost: 16 });
        let expected = "\
            rtftpd_blocks_total{direction=\"received\"} 1\n\
            rtftpd_blocks_total{direction=\"sent\"} 2\n\
            rtftpd_build_info{version=\"VERSION\"} 1\n\
            rtftpd_drops_total{reason=\"no_port\"} 1\n\
            rtftpd_failures_total 1\n\
            rtftpd_log_lines_lost_total 16\n\
            rtftpd_loop_lag_seconds_count 1\n\
            rtftpd_loop_lag_seconds_sum 0.5\n\
            rtftpd_malformed_total 1\n\
            rtftpd_packets_total{direction=\"received\"} 5\n\
            rtftpd_packets_total{direction=\"sent\"} 7\n\
            rtftpd_payload_bytes_total{direction=\"received\"} 600\n\
            rtftpd_payload_bytes_total{direction=\"sent\"} 1030\n\
            rtftpd_probes_total 3\n\
            rtftpd_refusals_total{code=\"disk_full\"} 1\n\
            rtftpd_retransmissions_total{direction=\"received\"} 1\n\
            rtftpd_retransmissions_total{direction=\"sent\"} 2\n\
            rtftpd_round_trip_seconds_count 1\n\
            rtftpd_round_trip_seconds_sum 0.125\n\
            rtftpd_sessions_dallying 12\n\
            rtftpd_sessions_unproven 13\n\
            rtftpd_strays_total 1\n\
            rtftpd_transfer_duration_seconds_count{operation=\"list\"} 1\n\
            rtftpd_transfer_duration_seconds_sum{operation=\"list\"} 0.25\n\
            rtftpd_transfers_ended_total{operation=\"write\",outcome=\"lost\"} 1\n\
            rtftpd_transfers_running 11\n\
            rtftpd_transfers_started_total{operation=\"read\"} 1\n\
            rtftpd_turned_away_total{rule=\"a.toml:1\"} 15\n\
            rtftpd_turned_away_total{rule=\"a.toml:4\"} 0\n\
            rtftpd_unproven_bytes_total 516\n\
            rtftpd_windows_bytes 14";
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(told.join("\n"), expected);
        let told = samples(&metrics, &Now { gauges, rules: &[], lines_lost: 16 });
        assert!(!told.concat().contains("a.toml"), "a rule that is no more is told: {told:?}");
    }

    #[test]
    fn codes_and_reasons_have_names_that_alerts_can_rely_on() {
        use DropReason as D;
        use ErrorCode as E;
        let codes = [
            E::NotFound,
            E::AccessViolation,
            E::DiskFull,
            E::IllegalOperation,
            E::FileExists,
            E::OptionRefused,
            E::Undefined,
            E::UnknownTid,
        ];
        let expected = [
            "not_found",
            "access_violation",
            "disk_full",
            "illegal_operation",
            "file_exists",
            "option_refused",
            "undefined",
            "undefined",
        ];
        assert_eq!(codes.map(name_of_code), expected);
        let reasons = [
            D::TooManySessions,
            D::TooManyOfNetwork,
            D::TooManyUnproven,
            D::TooManyUnprovenOfNetwork,
            D::TooManyRequests,
            D::TooManyAnswers,
            D::LateCopy,
            D::NoMemory,
            D::NoDescriptor,
            D::Leased,
            D::NoPort,
            D::Policy("why".into()),
        ];
        let expected = [
            "too_many_sessions",
            "too_many_of_network",
            "too_many_unproven",
            "too_many_unproven_of_network",
            "too_many_requests",
            "too_many_answers",
            "late_copy",
            "no_memory",
            "no_descriptor",
            "leased",
            "no_port",
            "policy",
        ];
        assert_eq!(reasons.each_ref().map(name_of_reason), expected);
    }
}
