//! Whose turn it is, where only a few may do something at once.

use ipnet::IpNet;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Turns, of which there are a few at once. They come in the order in which they were asked for, but that who is of a network
/// which has as many as one may have lets others go before.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: Most,
    may_wait: Most,
    state: Mutex<State>,
    is_over: Condvar,
}

/// How many there may be at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) of_all: usize,
    pub(super) of_network: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The network of each, if it is counted with one.
    running: Vec<Option<IpNet>>,
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    network: Option<IpNet>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    network: Option<IpNet>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// As many wait as may.
    TooMany,
    /// As many of its network do.
    TooManyOfNetwork,
    /// It did not come in time.
    Late,
}

impl Turns {
    pub(super) fn new(at_once: Most, may_wait: Most) -> Self {
        Self { at_once, may_wait, state: Mutex::default(), is_over: Condvar::new() }
    }

    /// Waits for a turn of somebody in this network.
    pub(super) fn wait(&self, network: Option<IpNet>, most: Duration) -> Result<Turn<'_>, NoTurn> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(Waiting { number, network });
        if self.first(&state) != Some(number) {
            if let Err(why) = self.has_room(&state, network) {
                state.waiting.pop_back();
                return Err(why);
            }
            let waits = |state: &mut State| self.first(state) != Some(number);
            let waited = self.is_over.wait_timeout_while(state, most, waits);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let comes = self.first(&state) == Some(number);
        state.waiting.retain(|other| other.number != number);
        if comes {
            state.running.push(network);
        }
        // The next one may have its turn, too.
        self.is_over.notify_all();
        if comes { Ok(Turn { turns: self, network }) } else { Err(NoTurn::Late) }
    }

    /// Whose turn it is.
    fn first(&self, state: &State) -> Option<u64> {
        let may = |one: &&Waiting| {
            let running = state.running.iter().copied();
            one.network.is_none() || of(running, one.network) < self.at_once.of_network
        };
        let is_free = state.running.len() < self.at_once.of_all;
        state.waiting.iter().find(may).map(|one| one.number).filter(|_| is_free)
    }

    /// Whether the last one of those who wait may, who is of this network.
    fn has_room(&self, state: &State, network: Option<IpNet>) -> Result<(), NoTurn> {
        let of_network = of(state.waiting.iter().map(|one| one.network), network);
        if state.waiting.len() > self.may_wait.of_all {
            Err(NoTurn::TooMany)
        } else if of_network > self.may_wait.of_network {
            Err(NoTurn::TooManyOfNetwork)
        } else {
            Ok(())
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        let at = state.running.iter().position(|network| *network == self.network);
        at.map(|at| state.running.swap_remove(at));
        drop(state);
        self.turns.is_over.notify_all();
    }
}

/// How many are of this network, none where nobody is counted.
fn of(all: impl Iterator<Item = Option<IpNet>>, network: Option<IpNet>) -> usize {
    network.map_or(0, |network| all.filter(|other| *other == Some(network)).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(10);

    /// Turns of clients that are not counted.
    fn of_all(at_once: usize, may_wait: usize) -> Turns {
        let most = |of_all| Most { of_all, of_network: 0 };
        Turns::new(most(at_once), most(may_wait))
    }

    fn network(text: &str) -> Option<IpNet> {
        Some(text.parse().expect("a network"))
    }

    #[test]
    fn so_many_have_a_turn_at_once_and_the_others_theirs_in_order() {
        let turns = of_all(2, 3);
        let (one, two) =
            (turns.wait(None, LONG).expect("a turn"), turns.wait(None, LONG).expect("a turn"));
        let (had, seen) = mpsc::channel();
        std::thread::scope(|scope| {
            for n in 0..3 {
                let (turns, had) = (&turns, had.clone());
                scope.spawn(move || {
                    let _turn = turns.wait(None, LONG).expect("a turn");
                    had.send(n).expect("it is waited for");
                });
                while turns.state().waiting.len() <= n {
                    std::thread::yield_now();
                }
            }
            assert_eq!(turns.wait(None, LONG).map(drop), Err(NoTurn::TooMany));
            assert!(seen.try_recv().is_err(), "nobody's turn is over");
            drop(one);
            let order: Vec<usize> =
                (0..3).map(|_| seen.recv_timeout(LONG).expect("a turn")).collect();
            assert_eq!(order, [0, 1, 2]);
        });
        drop(two);
        let state = turns.state();
        assert_eq!((state.running.len(), state.waiting.len()), (0, 0));
    }

    #[test]
    fn who_waited_in_vain_is_in_nobodys_way() {
        let turns = of_all(1, 1);
        let one = turns.wait(None, LONG).expect("a turn");
        assert_eq!(turns.wait(None, Duration::ZERO).map(drop), Err(NoTurn::Late));
        assert_eq!(turns.wait(None, Duration::ZERO).map(drop), Err(NoTurn::Late), "not too many");
        drop(one);
        assert!(turns.wait(None, Duration::ZERO).is_ok());
    }

    #[test]
    fn the_end_of_a_turn_makes_room_in_its_own_network() {
        let (first, last) = (network("192.0.2.0/24"), network("198.51.100.0/24"));
        let most = Most { of_all: 3, of_network: 1 };
        let turns = Turns::new(most, most);
        let now = |network| turns.wait(network, Duration::ZERO);
        let (over, _goes_on) = (now(first).expect("a turn"), now(last).expect("a turn"));
        drop(over);
        assert_eq!(now(last).map(drop), Err(NoTurn::Late), "its one turn is not over");
        assert_eq!(now(first).map(drop), Ok(()), "its turn is over");
    }

    #[test]
    fn one_network_leaves_a_turn_and_a_place_to_wait_for_it_to_others() {
        let (busy, other) = (network("192.0.2.0/24"), network("198.51.100.0/24"));
        let turns =
            Turns::new(Most { of_all: 4, of_network: 3 }, Most { of_all: 4, of_network: 3 });
        let now = |network| turns.wait(network, Duration::ZERO);
        let mut running: Vec<_> = (0..3).map(|_| now(busy).expect("a turn")).collect();
        std::thread::scope(|scope| {
            let turns = &turns;
            let waits: Vec<_> = (0..3)
                .map(|n| {
                    let waits = scope.spawn(move || turns.wait(busy, LONG).map(drop));
                    while turns.state().waiting.len() <= n && !waits.is_finished() {
                        std::thread::yield_now();
                    }
                    waits
                })
                .collect();
            assert_eq!(now(busy).map(drop), Err(NoTurn::TooManyOfNetwork));
            // Those who wait longer are in no other's way, and one more may wait.
            let turn = now(other).expect("a turn");
            assert_eq!(now(other).map(drop), Err(NoTurn::Late), "a place and no turn");
            drop(turn);
            assert!(now(network("2001:db8::/56")).is_ok());
            running.clear();
            for one in waits {
                assert_eq!(one.join().expect("no panic"), Ok(()));
            }
        });
        let all: Vec<_> = (0..4).map_while(|_| now(None).ok()).collect();
        assert_eq!(all.len(), 4, "who is counted with no network may have all");
        assert_eq!(now(None).map(drop), Err(NoTurn::Late));
    }
}
