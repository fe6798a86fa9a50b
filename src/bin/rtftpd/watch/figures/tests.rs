//! What is known of a server after what it was told, and after looks at what is under way.

use super::*;
use std::net::Ipv4Addr;
use tftpkit::proto::Agreed;
use tftpkit::server::{Config, Server};
use tftpkit::store::InMemory;
use tftpkit::transfer::Outcome;

fn query(name: &str) -> Query {
    let here = Ipv4Addr::LOCALHOST;
    Query::new((here, 2000).into(), here.into(), Operation::Read, name)
}

fn summary(bytes: u64, outcome: Option<Outcome>) -> Summary {
    let mut summary = Summary::default();
    (summary.bytes, summary.outcome) = (bytes, outcome);
    summary.elapsed = Duration::from_secs(1);
    summary
}

#[test]
fn so_much_is_kept_of_what_is_over_and_of_what_was_turned_away() {
    let figures = Figures::new();
    let (whole, refusal) =
        (summary(9, Some(Outcome::Complete)), Refusal::new(ErrorCode::NotFound, "not found"));
    figures.tell(&Event::Finished { query: &query("first"), served: None, summary: &whole });
    for n in 0..=limits::RECENT {
        let query = query(&n.to_string());
        figures.tell(&Event::Refused { query: &query, served: None, refusal: &refusal });
    }
    let (first, reason) = (query("first"), DropReason::TooManySessions);
    for _ in 0..2 {
        let (query, agreed) = (&first, &Agreed::default());
        figures.tell(&Event::Started { query, served: None, agreed });
    }
    let known = locked(&figures.known);
    assert_eq!((known.recent.len(), known.turned_away.len()), (1, limits::RECENT));
    let names: Vec<_> = known.turned_away.iter().filter_map(|over| over.query.as_ref()).collect();
    assert_eq!(names[0].name.as_bytes(), b"1", "the oldest is gone");
    let totals = &known.totals;
    assert_eq!((totals.started, totals.complete, totals.refused), (2, 1, 201));
    assert_eq!(known.over[Way::Sent as usize].bytes, 9);
    drop(known);
    for _ in 0..2 {
        figures.tell(&Event::Dropped { peer: first.peer, query: None, reason: &reason });
    }
    assert_eq!(locked(&figures.known).totals.dropped, 2);
}

#[test]
fn a_transfer_that_ends_while_it_is_looked_at_is_counted_once() {
    let (figures, query) = (Figures::new(), query("f"));
    let whole = summary(9, Some(Outcome::Complete));
    figures.look_at(|look| {
        let one = One { number: 1, query: &query, served: None };
        look(one, None, Some(summary(9, None)));
        figures.tell(&Event::Finished { query: &query, served: None, summary: &whole });
    });
    let sent = || locked(&figures.known).look.moved[Way::Sent as usize].bytes;
    assert_eq!(sent(), 9, "what a counter has once it never gives back");
    figures.look_at(|_| {});
    assert_eq!(sent(), 9);
    let (broken, error) = (summary(7, None), std::io::Error::other("its process is gone"));
    let (query, summary) = (&query, Some(&broken));
    figures.tell(&Event::Failed { query, served: None, summary, error: &error });
    figures.look_at(|_| {});
    assert_eq!(sent(), 9 + 7, "what was sent before it failed was sent");
}

#[test]
fn a_rate_is_of_late_and_half_of_it_of_what_was_before() {
    let now = Instant::now();
    let first = Seen::next(None, Some(summary(1000, None)), now);
    assert!((first.rate - 1000.0).abs() < 1.0, "{first:?}");
    let later = now + Duration::from_secs(2);
    let second = Seen::next(Some(&first), Some(summary(5000, None)), later);
    assert!((second.rate - 1500.0).abs() < 1.0, "{second:?}");
    let shown = second.shown(1, About::default(), Some(8000), later);
    assert_eq!((shown.progress.rate, shown.left), (1500, Some(2.0)));
    let mut young = summary(1000, None);
    young.elapsed = Duration::from_millis(1);
    let young = Seen::next(None, Some(young), now);
    assert!((young.rate - 20_000.0).abs() < 1.0, "a moment says nothing of a rate: {young:?}");
    let begun = Seen::next(None, Some(summary(0, None)), now);
    let begun = Seen::next(Some(&begun), Some(summary(4000, None)), later);
    assert!(
        (begun.rate - 2000.0).abs() < 1.0,
        "it did not move before, or was not there: {begun:?}"
    );
    let busy = Seen::next(Some(&second), None, later + Duration::from_secs(9));
    assert_eq!(busy.at, later, "nothing is known of it");
    let still =
        Seen::next(Some(&second), Some(summary(5000, None)), later + Duration::from_secs(4));
    let shown = still.shown(1, About::default(), None, later + Duration::from_secs(4));
    assert_eq!((shown.still, shown.left), (4.0, None));
    for (rate, told) in [(0.99, 0), (1.0, 1)] {
        let slow = Seen { rate, ..second.clone() }.shown(1, About::default(), Some(5001), later);
        assert_eq!((slow.progress.rate, slow.left.is_some()), (told, told > 0), "{rate}");
    }
    let soon = Seen::next(Some(&second), Some(summary(5500, None)), later + SHORTEST_SPAN / 2);
    let shown = soon.shown(1, About::default(), None, later + SHORTEST_SPAN);
    let told = (shown.progress.bytes, shown.progress.rate);
    assert_eq!(told, (5500, 1500), "too soon for another rate, and not for what came meanwhile");
}

#[test]
fn a_name_is_shown_to_its_longest_and_drives_no_terminal() {
    let of = |bytes: &[u8]| name(&Filename::from(bytes));
    assert_eq!(of(b"a\x1b[2J\xff"), "a\\u{1b}[2J\u{fffd}");
    assert_eq!(of(&[b'n'; LONGEST_CHARS]), "n".repeat(LONGEST_CHARS));
    assert_eq!(of(&[b'n'; LONGEST_CHARS + 1]), "n".repeat(LONGEST_CHARS) + "…");
}

fn of(operation: Operation) -> Query {
    let mut query = query("f");
    query.operation = operation;
    query
}

#[test]
fn what_is_over_has_its_grade_and_is_counted_as_whole_or_as_in_trouble_or_as_neither() {
    use Grade::{Bad, Fine, Note};
    use Operation::{List, Read, Write};
    use Outcome as O;
    let broken = || O::Local(ErrorCode::Undefined, "bad\x1bdisk".into());
    for (operation, bytes, outcome, told, [complete, failed]) in [
        (Read, 9, O::Complete, ("sent", Fine, "complete"), [1, 0]),
        (Write, 9, O::Complete, ("received", Fine, "complete"), [1, 0]),
        (List, 9, O::Complete, ("listed", Fine, "complete"), [1, 0]),
        (Read, 9, O::Unconfirmed, ("sent", Fine, "unconfirmed"), [1, 0]),
        (Read, 0, O::Silent, ("unanswered", Note, "the client did not answer"), [0, 0]),
        (Read, 9, O::Silent, ("lost", Bad, "the client fell silent"), [0, 1]),
        (Write, 9, broken(), ("failed", Bad, "bad\\u{1b}disk"), [0, 1]),
    ] {
        let (figures, query) = (Figures::new(), of(operation));
        let mut summary = summary(bytes, Some(outcome));
        summary.elapsed = Duration::from_secs(3);
        summary.round_trip = Some(Duration::from_millis(250));
        figures.tell(&Event::Finished { query: &query, served: None, summary: &summary });
        let now = Now { gauges: Gauges::default(), rules: &[], lines_lost: 0 };
        let text = figures.metrics(&now);
        let sample = |name: &str| text.lines().find(|line| line.starts_with(name));
        let took = sample("rtftpd_transfer_duration_seconds_sum");
        assert_eq!(
            took.is_some(),
            complete > 0,
            "only whole ones tell how long one takes: {took:?}"
        );
        assert_eq!(
            sample("rtftpd_round_trip_seconds_sum"),
            Some("rtftpd_round_trip_seconds_sum 0.25")
        );
        let ended = sample("rtftpd_transfers_ended_total").expect("it has ended");
        let word = if complete > 0 { "complete" } else { told.0 };
        assert!(ended.contains(&format!("outcome=\"{word}\"")), "{ended}");
        let known = locked(&figures.known);
        let over = known.recent[0].shown();
        let rate = over.progress.as_ref().map(|progress| progress.rate);
        assert_eq!(rate, Some(bytes / 3), "bytes in each of its seconds: {told:?}");
        assert_eq!((&*over.how, over.grade, &*over.why), told);
        assert_eq!([known.totals.complete, known.totals.failed], [complete, failed], "{told:?}");
        let way = usize::from(operation == Write);
        let moved = [0, 1].map(|way| known.over[way].bytes);
        assert_eq!((moved[way], moved[1 - way]), (bytes, 0), "{told:?}");
    }
    let (figures, error) = (Figures::new(), std::io::Error::other("no descriptor"));
    let [read, write, list] = [Read, Write, List].map(of);
    let reason = DropReason::TooManySessions;
    let (missing, denied) = (ErrorCode::NotFound, ErrorCode::AccessViolation);
    let refusals = [(&read, missing), (&list, missing), (&write, missing), (&read, denied)];
    for (query, code) in refusals {
        let refusal = Refusal::new(code, "no");
        figures.tell(&Event::Refused { query, served: None, refusal: &refusal });
    }
    figures.tell(&Event::Dropped { peer: read.peer, query: Some(&read), reason: &reason });
    figures.tell(&Event::Failed { query: &read, served: None, summary: None, error: &error });
    let known = locked(&figures.known);
    let told = known.turned_away.iter().chain(&known.recent).map(Over::shown);
    let told: Vec<_> = told.map(|over| (over.id, over.how, over.grade, over.why)).collect();
    let row = |id, how: &str, grade, why: &str| (id, how.to_owned(), grade, why.to_owned());
    assert_eq!(
        told,
        [
            // Boot loaders ask for many files that need not be there.
            row(1, "refused", Note, "no"),
            row(2, "refused", Note, "no"),
            row(3, "refused", Bad, "no"),
            row(4, "refused", Bad, "no"),
            row(5, "dropped", Bad, "too many transfers at once"),
            row(6, "failed", Bad, "no descriptor"),
        ]
    );
    let Totals { complete, failed, refused, dropped, .. } = known.totals;
    assert_eq!([complete, failed, refused, dropped], [0, 1, 4, 1]);
    let kept = (known.recent.len(), known.turned_away.len());
    assert_eq!(kept, (1, 5), "who asks in vain pushes no failure out of sight");
    drop(known);
    let shown = figures.status(Gauges::default(), &[]).recent;
    let ids: Vec<_> = shown.iter().map(|over| over.id).collect();
    assert_eq!(ids, [6, 5, 4, 3, 2, 1], "the newest is the first, of both");
}

#[test]
fn what_each_is_about_is_told_with_the_name_that_is_served_and_an_address_of_ipv4_as_such() {
    let peer = "[::ffff:192.0.2.7]:2000".parse().expect("an address");
    let mut query = of(Operation::List);
    query.peer = peer;
    let about = About::of(peer, Some(&query), Some(&Filename::from("g\x07")));
    let told =
        [&*about.peer, &about.file, about.served.as_deref().expect("a name"), &about.operation];
    assert_eq!(told, ["192.0.2.7:2000", "f", "g\\u{7}", "list"]);
    let about = About::of(peer, None, None);
    assert_eq!([about.file, about.operation, about.served.unwrap_or_default()], [""; 3]);
    for (operation, word) in [(Operation::Read, "read"), (Operation::Write, "write")] {
        assert_eq!(About::of(peer, Some(&of(operation)), None).operation, word);
    }
}

/// Looks at so many downloads, each of so many bytes so far.
fn look(figures: &Figures, transfers: usize, bytes: u64) {
    let query = query("f");
    figures.look_at(|look| {
        for number in 1..=transfers as u64 {
            look(One { number, query: &query, served: None }, None, Some(summary(bytes, None)));
        }
        // One that is over by now is told of as such, and counted there.
        let whole = summary(1000, Some(Outcome::Complete));
        look(One { number: 1 << 40, query: &query, served: None }, None, Some(whole));
    });
}

#[test]
fn what_transfers_move_is_added_up_and_what_is_told_without_a_direction_is_that_of_both() {
    let figures = Figures::new();
    let moved = |bytes, [packets, retransmitted, probes, unproven_bytes]: [u64; 4]| {
        let mut moved = summary(bytes, None);
        (moved.packets, moved.retransmitted) = (packets, retransmitted);
        (moved.probes, moved.unproven_bytes) = (probes, unproven_bytes);
        moved
    };
    let [read, write] = [Operation::Read, Operation::Write].map(of);
    figures.look_at(|look| {
        for (number, query, figures) in [
            (1, &read, moved(1024, [30, 20, 10, 1000])),
            (2, &read, moved(512, [3, 2, 1, 100])),
            (3, &write, moved(2048, [300, 200, 100, 10_000])),
        ] {
            look(One { number, query, served: None }, None, Some(figures));
        }
    });
    let sums = locked(&figures.known).look.moved.map(|way| {
        [way.bytes, way.blocks, way.packets, way.retransmitted, way.probes, way.unproven_bytes]
    });
    assert_eq!(sums, [[1536, 3, 33, 22, 11, 1100], [2048, 4, 300, 200, 100, 10_000]]);
    let mut gauges = Gauges::default();
    (gauges.transfers, gauges.dallying, gauges.unproven, gauges.windows_bytes) = (11, 12, 13, 14);
    locked(&figures.known).look.rates = [15, 16];
    locked(&figures.lag).last = Duration::from_millis(1700);
    locked(&figures.known).history.push_back((18, 19));
    let (status, address) = (figures.status(gauges, &[read.peer]), read.peer.to_string());
    let now = &status.now;
    let each = [now.transfers, now.dallying, now.unproven, now.windows_bytes];
    assert_eq!((each, now.sending, now.receiving), ([11, 12, 13, 14], 15, 16));
    assert_eq!(
        (now.lag, &*status.history, &*status.listening),
        (1.7, &[(18, 19)][..], &[address][..])
    );
    let Totals { sent, received, packets, retransmitted, .. } = status.totals;
    assert_eq!([sent, received, packets, retransmitted], [1536, 2048, 333, 222]);
    assert_eq!(status.running.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2, 3]);
    let now = Now { gauges: Gauges::default(), rules: &[], lines_lost: 0 };
    let text = figures.metrics(&now);
    for sample in ["rtftpd_probes_total 111\n", "rtftpd_unproven_bytes_total 11100\n"] {
        assert!(text.contains(sample), "{sample}{text}");
    }
}

#[test]
fn so_many_transfers_are_listed_and_the_others_are_counted() {
    let figures = Figures::new();
    for (transfers, more) in
        [(0, 0), (limits::LISTED_TRANSFERS, 0), (limits::LISTED_TRANSFERS + 2, 2)]
    {
        look(&figures, transfers, 7);
        let look = &locked(&figures.known).look;
        assert_eq!((look.running.len(), look.more_running), (transfers - more, more));
        assert_eq!(look.moved.map(|way| way.bytes), [7 * transfers as u64, 0]);
    }
}

#[test]
fn the_plot_has_what_was_moved_since_the_look_before_and_so_many_points() {
    /// So long ago that what a busy machine adds is of no account.
    const AGO: Duration = Duration::from_secs(10_000);
    let figures = Figures::new();
    look(&figures, 1, 0);
    let mut rates = Vec::new();
    for n in 1..=limits::PLOT_POINTS as u64 + 1 {
        let at = locked(&figures.known).look.at.and_then(|at| at.checked_sub(AGO));
        locked(&figures.known).look.at = at;
        look(&figures, 1, 50_000_000 * n);
        rates.push(locked(&figures.known).look.rates);
    }
    assert!(
        rates.iter().all(|[sent, received]| (4_900..=5_000).contains(sent) && *received == 0),
        "{rates:?}"
    );
    let known = locked(&figures.known);
    assert_eq!(known.history.len(), limits::PLOT_POINTS);
    assert_eq!(
        known.history.back().copied(),
        Some(rates[rates.len() - 1].into()),
        "the newest is the last"
    );
}

#[test]
fn how_the_loop_keeps_up_is_asked_once_until_it_answers_and_told_meanwhile_how_long_that_takes() {
    let config = Config::default().listen((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(config, InMemory::new(), |_| {}).expect("a server");
    let (handle, figures) = (server.handle(), Arc::new(Figures::new()));
    let last = || locked(&figures.lag).last;
    figures.look(&handle);
    assert_eq!(last(), Duration::ZERO, "it was asked a moment ago");
    // It does not run yet.
    figures.look(&handle);
    let waited = last();
    assert!(waited > Duration::ZERO, "nobody sees that it does not answer");
    let answered = std::thread::scope(|scope| {
        scope.spawn(|| server.run().expect("it runs"));
        let answered = [1, 2].map(|answers| {
            let is_told = || {
                let now = Now { gauges: Gauges::default(), rules: &[], lines_lost: 0 };
                let text = figures.metrics(&now);
                let count = format!("rtftpd_loop_lag_seconds_count {answers}\n");
                text.contains(&count) && locked(&figures.lag).asked.is_none()
            };
            let until = Instant::now() + Duration::from_secs(10);
            while !is_told() && Instant::now() < until {
                std::thread::yield_now();
            }
            let is_told = is_told();
            figures.look(&handle);
            is_told
        });
        handle.drain(Duration::ZERO);
        answered
    });
    assert_eq!(answered, [true; 2], "it is asked again once it has answered");
}
