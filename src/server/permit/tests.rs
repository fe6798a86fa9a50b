//! The permits of sessions, and who gives way to whom.

use super::*;
use crate::limits;
use crate::net::{Kernel, Session, TransferSocket};
use crate::proto::{Agreed, Time, Timing};
use crate::query::Query;
use crate::server::admit::Known;
use crate::server::entry::Noted;
use crate::server::policy::DropReason;
use crate::server::{Budgets, Config, Gauges};
use crate::transfer::{MayWait, Outcome, Sink, Terms, Transfer};
use crate::wire::{Mode, Operation, Options};
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW: Time = Time::START;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn admission(config: &Config) -> Arc<Admission> {
    Arc::new(Admission::new(config, NOW, 7))
}

fn peer(last: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(0xc0_00_02_00 + last), 2000).into()
}

/// The permit of a new session; none for a repeat.
fn admit(
    admission: &Arc<Admission>,
    peer: SocketAddr,
    name: &str,
) -> Result<Option<Permit>, DropReason> {
    let query = Query::new(peer, LOCAL, Operation::Read, name);
    if matches!(admission.known(&query, NOW), Known::Repeat(_)) {
        return Ok(None);
    }
    Ok(Some(Permit::new(admission, admission.admit(&query, NOW)?)))
}

fn permit(admission: &Arc<Admission>, peer: SocketAddr, name: &str) -> Permit {
    admit(admission, peer, name).ok().flatten().expect("a new session")
}

fn is_unused(admission: &Admission) -> bool {
    admission.state().is_unused() && admission.under_way() == 0
}

#[test]
fn the_same_request_is_one_session_until_its_client_has_answered() {
    let admission = admission(&Config::default());
    let mut first = permit(&admission, peer(1), "a");
    assert!(matches!(admit(&admission, peer(1), "a"), Ok(None)), "a repeat");
    assert!(first.prove() && !first.prove());
    let mut second = permit(&admission, peer(1), "a");
    assert_eq!(admission.under_way(), 2);
    assert!(!first.entry().is_ended(), "the second may be a late copy");
    assert!(second.prove() && first.entry().is_ended());
    drop((first, second));
    assert!(is_unused(&admission));
}

#[test]
fn whose_client_asks_for_something_else_ends_without_a_word_to_it() {
    let admission = admission(&Config::default());
    let begun = |name| {
        let permit = permit(&admission, peer(1), name);
        let transfer = permit.entry().attach(Noted::default());
        (permit, transfer)
    };
    let (mut first, replaced) = begun("a");
    assert!(first.prove());
    let (mut second, _) = begun("b");
    assert!(second.prove());
    assert_eq!(replaced.ending(), Some(Ending::Abandon), "another one has its client");
    drop((first, second));
    let [(_third, superseded), _, _] = ["c", "d", "e"].map(begun);
    assert_eq!(superseded.ending(), Some(Ending::Abandon), "it asked for two more");
}

#[test]
fn some_sessions_are_kept_for_clients_that_have_answered() {
    let admission = admission(&Config::default().sessions(8));
    let loopback = |n: u16| SocketAddr::from(([127, 0, 0, 1], n));
    let mut permits: Vec<_> = (1..=6).map(|n| permit(&admission, loopback(n), "a")).collect();
    let more = || admit(&admission, loopback(7), "a").map(drop);
    assert_eq!(more(), Err(DropReason::TooManyUnproven));
    permits[0].prove();
    assert_eq!(more(), Ok(()));
}

#[test]
fn a_network_has_so_many_sessions_without_proof_and_no_more() {
    let admission = admission(&Config::default());
    let most = limits::SESSIONS / limits::UNPROVEN_SHARE_DIVISOR;
    let from_port = |n: usize| SocketAddr::new(peer(n as u32 % 256).ip(), 3000 + (n / 256) as u16);
    let mut permits: Vec<_> = (0..most).map(|n| permit(&admission, from_port(n), "a")).collect();
    let more = |last| admit(&admission, peer(last), "more").map(drop);
    assert_eq!(more(7), Err(DropReason::TooManyUnprovenOfNetwork));
    assert_eq!(more(256), Ok(()), "the next network");
    permits[0].prove();
    assert_eq!(more(7), Ok(()), "one of them has answered");
    drop(permits);
    assert!(is_unused(&admission));
}

#[test]
fn who_has_not_answered_for_three_seconds_gives_way_and_nobody_sooner() {
    let stay = limits::UNPROVEN_STAY;
    // Of all sessions that may be without proof, and of all that there may be.
    for (unproven, proven) in [(6, 0), (5, 3)] {
        let admission = admission(&Config::default().sessions(8).windows_bytes(8000));
        let network = |n: u8| SocketAddr::from(([192, 0, n, 1], 2000));
        let mut proved: Vec<_> =
            (20..20 + proven).map(|n| permit(&admission, network(n), "a")).collect();
        assert!(proved.iter_mut().all(Permit::prove));
        let mut permits: Vec<_> =
            (1..=unproven).map(|n| permit(&admission, network(n), "a")).collect();
        assert!(permits.iter().all(|permit| permit.reserve(100) == 100));
        let query = Query::new(network(9), LOCAL, Operation::Read, "a");
        let early = NOW + (stay - Duration::from_micros(1));
        assert!(admission.admit(&query, early).is_err());
        let new = admission.admit(&query, NOW + stay).expect("room");
        let new = Permit::new(&admission, new);
        let ended: Vec<_> = permits.iter().map(|permit| permit.entry().is_ended()).collect();
        assert!(ended[0] && ended.iter().filter(|ended| **ended).count() == 1, "{ended:?}");
        // Its answer, and what it still wants, come too late.
        assert!(!permits[0].prove() && permits[0].reserve(100) == 0);
        drop((permits, proved, new));
        assert!(is_unused(&admission));
    }
}

#[test]
fn a_network_that_is_full_makes_room_among_its_own() {
    let admission = admission(&Config::default().sessions(8));
    let of = |network: u8, host: u8| SocketAddr::from(([192, 0, network, host], 2000));
    let [other, first, _second] =
        [of(1, 1), of(2, 1), of(2, 2)].map(|peer| permit(&admission, peer, "a"));
    let query = Query::new(of(2, 3), LOCAL, Operation::Read, "a");
    let new = admission.admit(&query, NOW + limits::UNPROVEN_STAY).map(|new| new.id);
    assert!(new.is_ok() && first.entry().is_ended() && !other.entry().is_ended());
}

#[test]
fn who_has_stood_still_for_long_gives_way_and_hears_of_it_and_nobody_else_does() {
    let admission = admission(&Config::default().sessions(3));
    let mut permits: Vec<_> = (1..=3).map(|n| permit(&admission, peer(n * 256), "a")).collect();
    assert!(permits.iter_mut().all(Permit::prove));
    let at = |secs| NOW + Duration::from_secs(secs);
    let client = (Ipv4Addr::LOCALHOST, 9).into();
    let session = permits[1].entry().attach(upload(client, Vec::new()));
    // The oldest session has stood still long enough, too, and not for longest.
    permits[0].entry().gets_on(at(1));
    permits[2].entry().gets_on(at(20));
    let more = |n: u32, now| {
        let query = Query::new(peer(n * 256), LOCAL, Operation::Read, "a");
        admission.admit(&query, now).map(|new| Permit::new(&admission, new))
    };
    let stay = NOW + limits::STILL_STAY;
    let before = Time::from_micros(stay.as_micros() - 1);
    let full = DropReason::TooManySessions;
    assert_eq!(more(4, before).err(), Some(full.clone()));
    assert_eq!(more(4, stay).err(), Some(full), "it was looked for a moment ago");
    let _fourth = more(4, stay + limits::BETWEEN_LOOKS).expect("a place");
    assert!([0, 2].iter().all(|n| !permits[*n].entry().is_ended()), "another one ends");
    let outcome = session.with_transfer(|_, transfer| transfer.summary().outcome.clone());
    assert_eq!(outcome, Some(Outcome::Stopped), "with an ERROR");
}

#[test]
fn who_asks_in_vain_within_a_network_that_has_its_share_puts_off_nobody_else() {
    let admission = admission(&Config::default().sessions(5));
    let of = |network: u8, host: u8| SocketAddr::from(([192, 0, network, host], 2000));
    let stay = NOW + limits::STILL_STAY;
    let more = |peer| {
        let query = Query::new(peer, LOCAL, Operation::Read, "a");
        admission.admit(&query, stay).map(|new| Permit::new(&admission, new))
    };
    let proven = |peer| {
        let mut permit = more(peer).expect("a place");
        assert!(permit.prove());
        permit
    };
    let _busy = [1, 2, 3, 4].map(|host| proven(of(2, host)));
    assert_eq!(more(of(2, 5)).err(), Some(DropReason::TooManyOfNetwork));
    let still = proven(of(3, 1));
    still.entry().gets_on(NOW);
    let _new = more(of(4, 1)).expect("the place of who stands still");
    assert!(still.entry().is_ended());
}

#[test]
fn memory_for_windows_is_bounded_and_comes_back() {
    let admission = admission(&Config::default().windows_bytes(1000));
    let networks = |n| (Ipv4Addr::new(192, 0, n, 1), 2000).into();
    let mut permits: Vec<_> = (0..6).map(|n| permit(&admission, networks(n), "a")).collect();
    let proven = |permit: &mut Permit| (permit.reserve(250), permit.prove()).0;
    let got: Vec<_> = permits[..3].iter_mut().map(proven).collect();
    assert_eq!(got, [250, 250, 250]);
    assert_eq!((permits[0].most_bytes(), permits[3].most_bytes()), (750, 250));
    assert_eq!((permits[3].reserve(200), permits[4].reserve(200)), (200, 50));
    assert_eq!((permits[3].reserve(100), permits[4].reserve(200)), (100, 150));
    drop(permits.pop());
    drop(permits.drain(..3));
    assert_eq!(permits[1].reserve(5000), 250);
    drop(permits);
    assert!(is_unused(&admission));
}

#[test]
fn clients_that_have_not_answered_leave_memory_for_windows() {
    let admission = admission(&Config::default().windows_bytes(1000));
    let of = |network, n| (Ipv4Addr::new(192, 0, network, 1), n).into();
    let mut silent = Vec::new();
    let mut reserve = |peer| {
        let permit = permit(&admission, peer, "a");
        let bytes = permit.reserve(200);
        silent.push(permit);
        bytes
    };
    assert_eq!([reserve(of(1, 1)), reserve(of(1, 2)), reserve(of(1, 3))], [200, 50, 0]);
    assert_eq!([reserve(of(2, 1)), reserve(of(2, 2))], [200, 50]);
    assert_eq!([reserve(of(3, 1)), reserve(of(3, 2)), reserve(of(4, 1))], [200, 50, 0]);
    silent[0].prove();
    assert_eq!(permit(&admission, of(1, 4), "a").reserve(500), 200);
    assert_eq!(permit(&admission, of(4, 2), "a").reserve(500), 200);
}

#[test]
fn who_asks_for_ever_more_without_an_answer_gets_as_much_as_errors_would_be() {
    let admission = admission(&Config::default());
    let mut kept = std::collections::VecDeque::new();
    let mut ask = |n: u32| {
        let admitted = admit(&admission, peer(1), &n.to_string());
        let Ok(Some(permit)) = admitted else {
            // Who gets no session takes the place of none.
            assert!(kept.iter().all(|permit: &Permit| !permit.entry.is_ended()));
            return admitted.err();
        };
        // What is superseded ends.
        assert!(kept.len() < 2 || kept.pop_front().is_some_and(|p: Permit| p.entry.is_ended()));
        kept.push_back(permit);
        None
    };
    let most = limits::ERROR_BURST + 2;
    let dropped: Vec<_> = (0..most + 500).filter_map(&mut ask).collect();
    assert!((1..=500).contains(&dropped.len()), "{}", dropped.len());
    assert!(dropped.iter().all(|why| *why == DropReason::TooManyAnswers));
}

#[test]
fn who_gets_no_answer_any_more_takes_the_place_of_nobody() {
    let admission = admission(&Config::default().sessions(4));
    let silent = permit(&admission, peer(256), "a");
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 2000));
    let _before = ["a", "b"].map(|name| permit(&admission, own, name));
    let later = NOW + limits::UNPROVEN_STAY;
    while admission.may_answer(own.ip(), later) {}
    let query = Query::new(own, LOCAL, Operation::Read, "c");
    let admitted = admission.admit(&query, later).map(|new| Permit::new(&admission, new));
    assert_eq!(admitted.err(), Some(DropReason::TooManyAnswers));
    assert!(!silent.entry().is_ended(), "it gave way to a request that was not served");
}

#[test]
fn where_one_that_gives_way_is_not_enough_none_does() {
    let budgets = Budgets::default().unproven_sessions(1, 1).sessions_of_network(1);
    let admission = admission(&Config::default().sessions(9).budgets(budgets));
    let mut still = permit(&admission, peer(1), "a");
    assert!(still.prove());
    let stay = NOW + limits::STILL_STAY;
    let ask = |peer| {
        let query = Query::new(peer, LOCAL, Operation::Read, "a");
        admission.admit(&query, stay).map(|new| Permit::new(&admission, new))
    };
    // There is no room for one more that has not answered, wherever it is.
    let _young = ask(peer(256)).expect("a place");
    assert_eq!(ask(peer(2)).err(), Some(DropReason::TooManyUnproven));
    assert!(!still.entry().is_ended(), "it gave way to a request that was not served");
}

#[test]
fn a_network_that_has_its_share_makes_room_of_its_own_that_stand_still() {
    let budgets = Budgets::default().sessions_of_network(2);
    let admission = admission(&Config::default().sessions(9).budgets(budgets));
    let at = |secs| NOW + limits::STILL_STAY + Duration::from_secs(secs);
    let [other, still, busy] = [512, 1, 2].map(|last| {
        let mut permit = permit(&admission, peer(last), "a");
        assert!(permit.prove());
        permit
    });
    still.entry().gets_on(NOW + Duration::from_secs(1));
    busy.entry().gets_on(at(0));
    let query = Query::new(peer(3), LOCAL, Operation::Read, "a");
    let new = admission.admit(&query, at(1)).map(|new| Permit::new(&admission, new));
    assert!(new.is_ok(), "{:?}", new.err());
    let ended = [&other, &still, &busy].map(|permit| permit.entry().is_ended());
    assert_eq!(ended, [false, true, false], "one elsewhere, the one that stands still, a busy one");
}

/// Looks, when it goes, how many are under way.
struct Looks(Arc<Admission>, Arc<AtomicUsize>);

impl Drop for Looks {
    fn drop(&mut self) {
        self.1.store(self.0.under_way(), Ordering::Relaxed);
    }
}

impl Sink for Looks {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn commit(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::Never
    }
}

/// The session of an upload that this client has asked for.
fn upload(client: SocketAddr, sink: impl Sink + 'static) -> Session {
    let (agreed, mode, timing) = (Agreed::default(), Mode::Octet, Timing::default());
    let terms = Terms { agreed, answer: Options::default(), mode, timing };
    let transfer = Transfer::serve_write(NOW, &terms, Box::new(sink));
    let system = Kernel::start();
    let socket = TransferSocket::answer(&*system, client.ip(), client, None);
    Session::new(socket.expect("a socket"), system, transfer)
}

#[test]
fn what_a_session_has_goes_before_it_counts_no_more() {
    let admission = admission(&Config::default());
    let permit = permit(&admission, peer(1), "a");
    let seen = Arc::new(AtomicUsize::new(0));
    let sink = Looks(Arc::clone(&admission), Arc::clone(&seen));
    drop(permit.entry().attach(upload((Ipv4Addr::LOCALHOST, 9).into(), sink)));
    drop(permit);
    assert_eq!((seen.load(Ordering::Relaxed), admission.under_way()), (1, 0));
}

fn dallying(admission: &Arc<Admission>, last: u32) -> Permit {
    let mut permit = permit(admission, peer(last), "a");
    permit.prove();
    permit.dally();
    permit
}

#[test]
fn who_has_dallied_longest_leaves_first_whoever_began_first() {
    let admission = admission(&Config::default());
    let mut long = permit(&admission, peer(1), "a");
    let short = dallying(&admission, 2);
    long.prove();
    long.dally();
    assert_eq!(admission.under_way(), 0);
    let longest = || admission.state().evict_longest_dallying().map(|entry| entry.query.peer);
    assert_eq!([longest(), longest(), longest()], [Some(peer(2)), Some(peer(1)), None]);
    drop((long, short));
    assert!(is_unused(&admission));
}

#[test]
fn as_many_give_way_as_an_upload_needs_descriptors() {
    let prove: fn(&mut Permit) = |permit| assert!(permit.prove());
    let dally = |permit: &mut Permit| {
        permit.prove();
        permit.dally();
    };
    let now = Duration::ZERO;
    for (who, how, from, leave) in [
        ("are silent", (|_| ()) as fn(&mut Permit), limits::UNPROVEN_STAY, 3),
        ("stand still", prove, limits::STILL_STAY, 2),
        ("only dally", dally, now, 2),
    ] {
        let admission = admission(&Config::default().sessions(100).descriptors(4));
        let mut permits: Vec<_> = (1..=3).map(|n| permit(&admission, peer(n * 256), "a")).collect();
        permits.iter_mut().for_each(how);
        let ended = || permits.iter().filter(|permit| permit.entry.is_ended()).count();
        let upload = Query::new(peer(9 * 256), LOCAL, Operation::Write, "b");
        let at = |now| admission.admit(&upload, now).map(|new| new.id);
        if from > now {
            assert_eq!(at(NOW).map(drop), Err(DropReason::TooManySessions), "they {who}");
            assert_eq!(ended(), 0, "it gets no session, and others that {who} end");
        }
        let id = at(NOW + from).expect("room, where others leave");
        assert_eq!(ended(), leave, "so many of three that {who} leave for an upload");
        drop(permits);
        admission.state().remove(id);
        assert!(is_unused(&admission));
    }
}

#[test]
fn who_gave_way_and_dallies_after_that_counts_for_nothing() {
    let admission = admission(&Config::default().sessions(1));
    let mut still = permit(&admission, peer(1), "a");
    assert!(still.prove());
    let query = Query::new(peer(256), LOCAL, Operation::Read, "a");
    let new = admission.admit(&query, NOW + limits::STILL_STAY).expect("its place");
    let mut new = Permit::new(&admission, new);
    assert!(still.entry.is_ended());
    assert_eq!((admission.gauges().transfers, admission.gauges().dallying), (1, 0));
    // The files of both were stored at the same moment.
    new.dally();
    still.dally();
    assert!(!new.entry.is_ended(), "another one ends for one that is gone");
    assert_eq!((admission.gauges().transfers, admission.gauges().dallying), (0, 1));
    drop(new);
    assert_eq!((admission.gauges().transfers, admission.gauges().dallying), (0, 0));
    drop(still);
    assert!(is_unused(&admission));
}

#[test]
fn who_dallies_has_no_memory_and_counts_once_however_often_that_is_told() {
    let admission = admission(&Config::default());
    let mut permit = permit(&admission, peer(1), "a");
    assert!(permit.reserve(100) == 100 && permit.prove());
    for _ in 0..2 {
        permit.dally();
        let gauges = admission.gauges();
        assert_eq!((gauges.windows_bytes, gauges.dallying), (0, 1));
        assert_eq!(admission.under_way(), 0);
    }
    drop(permit);
    assert!(is_unused(&admission));
}

#[test]
fn who_only_dallies_makes_room_once_and_not_again_as_one_that_stands_still() {
    let admission = admission(&Config::default().sessions(100).descriptors(4));
    let served = dallying(&admission, 1);
    let mut busy = [2, 3].map(|n| permit(&admission, peer(n * 256), "a"));
    let now = NOW + limits::STILL_STAY;
    busy.iter_mut().for_each(|permit| assert!(permit.prove()));
    busy.iter().for_each(|permit| permit.entry().gets_on(now));
    // With the descriptor of the one that is served there are two.
    let upload = Query::new(peer(9 * 256), LOCAL, Operation::Write, "b");
    let told = admission.admit(&upload, now).map(drop);
    assert_eq!(told, Err(DropReason::TooManySessions));
    assert!(!served.entry().is_ended(), "who gets no session needs no room");
}

#[test]
fn one_that_is_asked_for_twice_at_once_gives_way_to_the_second_that_is_proven() {
    let admission = admission(&Config::default());
    let query = Query::new(peer(1), LOCAL, Operation::Read, "a");
    let [first, mut second] = [(); 2].map(|()| {
        let new = admission.admit(&query, NOW).expect("a place");
        Permit::new(&admission, new)
    });
    assert!(!first.entry().is_ended());
    assert!(second.prove() && first.entry().is_ended(), "both send to one client");
}

#[test]
fn who_dallies_leaves_when_a_session_is_wanted_and_not_before() {
    let admission = admission(&Config::default().sessions(4));
    let first = dallying(&admission, 1);
    let rest: Vec<_> = (2..=4).map(|last| permit(&admission, peer(last * 256), "a")).collect();
    let one_more = admit(&admission, peer(9 * 256), "a").map(drop);
    assert_eq!(one_more, Err(DropReason::TooManyUnproven));
    assert!(!first.entry.is_ended(), "who gets no session needs no room");
    drop(rest);
    let mut rest: Vec<_> = (2..=4).map(|last| permit(&admission, peer(last * 256), "a")).collect();
    assert!(rest.iter_mut().all(Permit::prove));
    let one_more = permit(&admission, peer(9 * 256), "a");
    assert!(first.entry.is_ended());
    assert_eq!(admit(&admission, peer(10 * 256), "a").map(drop), Err(DropReason::TooManySessions));
    drop((first, rest, one_more));
    assert!(is_unused(&admission));
}

#[test]
fn half_of_the_sessions_or_ports_may_dally_and_the_longest_makes_room() {
    let ports = |last| crate::net::PortRange::new(1, last).expect("a range");
    for (config, most) in [
        (Config::default().sessions(4), 2),
        (Config::default().sessions(5), 3),
        (Config::default().ports(ports(2)), 1),
    ] {
        let admission = admission(&config);
        let permits: Vec<_> = (1..=most + 1).map(|last| dallying(&admission, last * 256)).collect();
        let ended = permits.iter().map(|permit| permit.entry.is_ended());
        let only_first = std::iter::once(true).chain((0..most).map(|_| false));
        assert!(ended.eq(only_first), "{config:?}");
    }
}

#[test]
fn some_who_dally_leave_when_the_system_has_no_more_and_all_are_told_of_a_stop() {
    let admission = admission(&Config::default());
    let most = limits::EVICT_AT_ONCE as u32;
    let permits: Vec<_> = (0..=most).map(|last| dallying(&admission, last)).collect();
    // Those before all others, though one is silent for long enough.
    let long = permit(&admission, peer(most + 256), "a");
    admission.evict_some(NOW + limits::UNPROVEN_STAY);
    assert!(!long.entry.is_ended(), "it ends before those who only dally");
    drop(long);
    let left = permits.iter().filter(|permit| !permit.entry.is_ended()).count();
    assert_eq!(left, 1);
    let (mut silent, mut still) =
        (permit(&admission, peer(most + 1), "a"), permit(&admission, peer(most + 2), "a"));
    assert!(still.prove());
    let ended =
        |silent: &Permit, still: &Permit| [silent, still].map(|permit| permit.entry.is_ended());
    admission.evict_some(NOW);
    assert_eq!(ended(&silent, &still), [false; 2], "they may go on");
    admission.evict_some(NOW + limits::UNPROVEN_STAY);
    assert_eq!(ended(&silent, &still), [true, false], "who is silent leaves");
    assert!(!silent.prove());
    admission.evict_some(NOW + limits::STILL_STAY);
    assert_eq!(ended(&silent, &still), [true; 2], "who stands still leaves");
    admission.stop_all("shutting down");
    assert!(permits.iter().all(|permit| permit.entry.is_ended()));
}

#[test]
fn the_gauges_tell_how_much_is_in_use() {
    let admission = admission(&Config::default());
    let gauges = || {
        let Gauges { transfers, dallying, unproven, windows_bytes } = admission.gauges();
        [transfers, dallying, unproven, windows_bytes]
    };
    assert_eq!(gauges(), [0, 0, 0, 0]);
    let mut first = permit(&admission, peer(1), "a");
    let second = dallying(&admission, 2);
    first.reserve(100);
    assert_eq!(gauges(), [1, 1, 1, 100]);
    first.prove();
    assert_eq!(gauges(), [1, 1, 0, 100]);
    drop((first, second));
    assert_eq!(gauges(), [0, 0, 0, 0]);
}
