//! A transfer with its socket's queue and its disk, as our client drives it.

use super::disk::Ledger;
use crate::proto::Time;
use crate::transfer::{Action, Transfer};
use std::collections::VecDeque;

/// Bytes that wait in a socket at most.
const SOCKET_BUFFER: usize = 1 << 20;

enum Event {
    Datagram(Vec<u8>),
    Unreachable,
}

pub(crate) struct Engine {
    pub(crate) transfer: Transfer,
    pub(crate) ledger: Ledger,
    queue: VecDeque<Event>,
    queued_bytes: usize,
    /// It waits for its disk until then.
    busy_until: Time,
    /// When it wants to be asked again; `None` when it is over.
    wakes: Option<Time>,
}

impl Engine {
    pub(crate) fn new(now: Time, transfer: Transfer, ledger: Ledger) -> Self {
        let busy_until = now + ledger.spent();
        Self {
            transfer,
            ledger,
            queue: VecDeque::new(),
            queued_bytes: 0,
            busy_until,
            wakes: Some(now),
        }
    }

    pub(crate) const fn wakes(&self) -> Option<Time> {
        self.wakes
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.wakes.is_none()
    }

    pub(crate) fn datagram(&mut self, now: Time, bytes: Vec<u8>) {
        if self.queued_bytes + bytes.len() <= SOCKET_BUFFER {
            self.queued_bytes += bytes.len();
            self.event(now, Event::Datagram(bytes));
        }
    }

    pub(crate) fn unreachable(&mut self, now: Time) {
        self.event(now, Event::Unreachable);
    }

    fn event(&mut self, now: Time, event: Event) {
        if !self.is_over() {
            self.queue.push_back(event);
            self.wakes = Some(now.max(self.busy_until));
        }
    }

    /// Takes its turn.
    pub(crate) fn run(&mut self, now: Time, mut send: impl FnMut(Vec<u8>)) -> Result<(), String> {
        loop {
            if now < self.busy_until {
                self.wakes = Some(self.busy_until);
                return Ok(());
            }
            let until = match self.transfer.poll(now) {
                Action::Send(burst) => {
                    burst.datagrams().for_each(|packet| send(packet.to_vec()));
                    continue;
                }
                Action::Storage => {
                    self.transfer.run_storage(now);
                    self.busy_until = now + self.ledger.spent();
                    continue;
                }
                Action::Done => {
                    self.wakes = None;
                    return Ok(());
                }
                Action::Wait(until) => until,
            };
            if !self.ledger.spent().is_zero() {
                return Err("it reads between the time and what it sends at that time".into());
            }
            if !self.hear(now) {
                self.wakes = Some(until);
                let late = format!("at {} us it waits for the past", now.as_micros());
                return if until > now { Ok(()) } else { Err(late) };
            }
        }
    }

    /// Handles what waits longest.
    fn hear(&mut self, now: Time) -> bool {
        match self.queue.pop_front() {
            None => return false,
            Some(Event::Datagram(bytes)) => {
                self.queued_bytes -= bytes.len();
                let most = self.transfer.longest_datagram() + 1;
                self.transfer.handle(now, &bytes[..bytes.len().min(most)]);
            }
            Some(Event::Unreachable) => self.transfer.unreachable(now),
        }
        self.busy_until = now + self.ledger.spent();
        true
    }
}
