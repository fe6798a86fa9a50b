//! Files that clients look for in vain. A boot loader asks for a dozen names that need not be there before it gets one: the
//! first is a line of its own, and those that follow soon are one line together.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;
use tftpkit::proto::Time;

/// A client that looks for nothing else within this time has given up, or has what it wanted from elsewhere.
const QUIET: Duration = Duration::from_secs(3);

/// A client that does not stop is told of so often.
const LONGEST: Duration = Duration::from_secs(60);

/// Clients that are remembered at most; what others look for is told at once.
const MOST_CLIENTS: usize = 1024;

/// Characters of all their names together; those that do not fit are counted.
const NAMES_CHARS: usize = 512;

/// Names of a client that are told apart; others count each time.
const MOST_NAMES: usize = 128;

/// What clients looked for lately.
#[derive(Debug, Default)]
pub(crate) struct Misses(HashMap<IpAddr, Missed>);

#[derive(Debug)]
struct Missed {
    first: Time,
    last: Time,
    /// Those that were not told.
    held: u64,
    names: String,
    /// Its names so far, in short.
    known: HashSet<u64>,
}

impl Missed {
    /// Notes a name. Tells whether it is new, as far as that is known.
    fn is_new(&mut self, name: &str) -> bool {
        let mut short = DefaultHasher::new();
        name.hash(&mut short);
        let short = short.finish();
        !self.known.contains(&short) && (self.known.len() >= MOST_NAMES || self.known.insert(short))
    }
}

/// What a client looked for, and has not been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) client: IpAddr,
    /// That which was told at first is one of them.
    pub(crate) files: u64,
    /// Those that were not told, as far as there is room.
    pub(crate) names: String,
}

impl Misses {
    /// Notes a file that is not there; one that is asked for again, without options perhaps, is one file. Tells whether it is
    /// held back, and whether it is the first of its client that is.
    pub(crate) fn hold(&mut self, now: Time, client: IpAddr, name: &str) -> Option<bool> {
        // One that is not told of later, because it asks for nothing new, is told of again.
        let goes_on = |missed: &&mut Missed| {
            now - missed.last < QUIET && (missed.held > 0 || now - missed.first < LONGEST)
        };
        if let Some(missed) = self.0.get_mut(&client).filter(goes_on) {
            missed.last = now;
            if !missed.is_new(name) {
                return Some(false);
            }
            missed.held += 1;
            if missed.names.len() + name.len() <= NAMES_CHARS {
                let between = if missed.names.is_empty() { "" } else { ", " };
                missed.names.extend([between, name]);
            } else if !missed.names.ends_with('…') {
                missed.names.push('…');
            }
            return Some(missed.held == 1);
        }
        if self.0.len() >= MOST_CLIENTS {
            self.0.retain(|_, missed| missed.held > 0 || now - missed.last < QUIET);
        }
        // One that was quiet for long, and was not told of yet, goes on.
        let is_held = self.0.get(&client).is_some_and(|missed| missed.held > 0);
        if self.0.len() < MOST_CLIENTS && !is_held {
            let (names, known) = (String::new(), HashSet::new());
            let mut missed = Missed { first: now, last: now, held: 0, names, known };
            missed.is_new(name);
            self.0.insert(client, missed);
        }
        None
    }

    /// A client got something: what it looked for before is to be told.
    pub(crate) fn got(&mut self, client: IpAddr) -> Option<Looked> {
        let missed = self.0.remove(&client)?;
        looked(client, missed)
    }

    /// What is to be told by now, and when to look again.
    pub(crate) fn due(&mut self, now: Time) -> (Vec<Looked>, Option<Time>) {
        let is_due = |_: &IpAddr, missed: &mut Missed| {
            now - missed.last >= QUIET || now - missed.first >= LONGEST
        };
        let due = self
            .0
            .extract_if(is_due)
            .filter_map(|(client, missed)| looked(client, missed))
            .collect();
        let held = self.0.values().filter(|missed| missed.held > 0);
        let next = held.map(|missed| (missed.last + QUIET).min(missed.first + LONGEST)).min();
        (due, next)
    }

    /// All of it.
    pub(crate) fn rest(&mut self) -> Vec<Looked> {
        self.0.drain().filter_map(|(client, missed)| looked(client, missed)).collect()
    }
}

fn looked(client: IpAddr, Missed { held, names, .. }: Missed) -> Option<Looked> {
    (held > 0).then_some(Looked { client, files: held + 1, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn the_first_is_told_and_what_follows_soon_is_one_line() {
        let (mut misses, client) = (Misses::default(), IpAddr::from([192, 0, 2, 7]));
        let other = IpAddr::from([192, 0, 2, 8]);
        assert_eq!(misses.hold(at(0), client, "a"), None);
        assert_eq!(misses.hold(at(1), client, "b"), Some(true));
        assert_eq!(misses.hold(at(2), other, "x"), None);
        assert_eq!(misses.hold(at(2999), client, "c"), Some(false));
        // The other goes on later, and the first to be told is the first to be looked at.
        assert_eq!(misses.hold(at(2999), other, "y"), Some(true));
        assert_eq!(misses.hold(at(4000), other, "z"), Some(false));
        assert_eq!(misses.due(at(5998)), (vec![], Some(at(5999))));
        let told = Looked { client, files: 3, names: "b, c".into() };
        assert_eq!(misses.due(at(5999)), (vec![told.clone()], Some(at(7000))));
        assert_eq!(misses.got(other).map(|looked| looked.files), Some(3));
        // It is new again, and so is one that was quiet.
        assert_eq!(misses.hold(at(6000), client, "a"), None);
        assert_eq!(misses.hold(at(9000), client, "a"), None);
        assert_eq!(misses.hold(at(9001), client, "b"), Some(true));
        assert_eq!(misses.hold(at(9002), client, "c"), Some(false));
        assert_eq!(misses.got(client), Some(told));
        assert_eq!((misses.got(client), misses.got(other)), (None, None));
    }

    #[test]
    fn a_name_that_is_asked_for_again_is_one_file() {
        let (mut misses, client) = (Misses::default(), IpAddr::from([192, 0, 2, 7]));
        assert_eq!(misses.hold(at(0), client, "a"), None);
        // With options, and then without.
        assert_eq!(misses.hold(at(1), client, "a"), Some(false));
        assert_eq!(misses.due(at(2)), (vec![], None));
        assert_eq!(misses.hold(at(3), client, "b"), Some(true));
        assert_eq!(misses.hold(at(4), client, "b"), Some(false));
        assert_eq!(misses.hold(at(5), client, "a"), Some(false));
        let told = Looked { client, files: 2, names: "b".into() };
        assert_eq!(misses.got(client), Some(told));
        // Beyond so many names it is not known whether one came before.
        for n in 0..MOST_NAMES {
            misses.hold(at(10), client, &n.to_string());
        }
        misses.hold(at(11), client, "0");
        assert_eq!(misses.hold(at(11), client, "more"), Some(false));
        assert_eq!(misses.hold(at(12), client, "more"), Some(false));
        assert_eq!(misses.got(client).map(|looked| looked.files), Some(MOST_NAMES as u64 + 2));
    }

    #[test]
    fn one_that_was_quiet_and_was_not_told_of_yet_loses_nothing() {
        let (mut misses, client) = (Misses::default(), IpAddr::from([192, 0, 2, 7]));
        assert_eq!(misses.hold(at(0), client, "a"), None);
        assert_eq!(misses.hold(at(1), client, "b"), Some(true));
        assert_eq!(misses.hold(at(3001), client, "c"), None, "it is told at once");
        let told = Looked { client, files: 2, names: "b".into() };
        assert_eq!(misses.due(at(3001)), (vec![told], None));
    }

    #[test]
    fn one_that_does_not_stop_is_told_of_now_and_then_and_names_have_a_bound() {
        let (mut misses, client) = (Misses::default(), IpAddr::from([192, 0, 2, 7]));
        let name = "n".repeat(99);
        let mut told = Vec::new();
        for second in 0..200 {
            misses.hold(at(second * 1000), client, &format!("{name}{second}"));
            told.extend(misses.due(at(second * 1000)).0);
        }
        let counts: Vec<_> = told.iter().map(|looked| looked.files).collect();
        assert_eq!(counts, [61, 61, 61]);
        assert!(told[0].names.ends_with('…') && told[0].names.chars().count() <= NAMES_CHARS + 20);
        assert_eq!(misses.rest().len(), 1);
    }

    #[test]
    fn one_that_asks_for_the_same_all_the_time_is_told_of_now_and_then() {
        let (mut misses, client) = (Misses::default(), IpAddr::from([192, 0, 2, 7]));
        let told = |second: &u64| misses.hold(at(second * 1000), client, "boot.img").is_none();
        assert_eq!((0..200).filter(told).collect::<Vec<_>>(), [0, 60, 120, 180]);
    }

    #[test]
    fn of_too_many_clients_each_miss_is_told() {
        let mut misses = Misses::default();
        let client = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        for n in 0..=MOST_CLIENTS as u32 {
            assert_eq!(misses.hold(at(0), client(n), "a"), None);
        }
        assert_eq!(misses.hold(at(1), client(MOST_CLIENTS as u32), "b"), None, "there is no room");
        assert_eq!(misses.hold(at(1), client(0), "b"), Some(true));
        assert_eq!(misses.hold(at(2000), client(1), "a"), Some(false));
        // Those that were told of make room, once they are quiet.
        assert_eq!(misses.hold(at(4000), client(9999), "a"), None);
        assert_eq!(misses.hold(at(4001), client(9999), "b"), Some(true));
        assert_eq!(misses.hold(at(4001), client(1), "b"), Some(true), "it was not quiet");
        let kept = misses.got(client(0)).map(|looked| looked.files);
        assert_eq!(kept, Some(2), "one that is to be told of stays");
    }
}
