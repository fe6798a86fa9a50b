//! When to send again, and when to give up: RFC 6298 with Karn's rule and exponential backoff.

use super::pace::Trips;
use super::{Time, Timing};
use crate::limits;
use crate::wire::Interval;
use core::time::Duration;

/// The retransmission timer of one transfer (RFC 6298): how long to wait for an answer, and how long for a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rto {
    timing: Timing,
    negotiated: Option<Interval>,
    estimate: Option<Estimate>,
    doublings: u32,
    /// How often in a row the interval passed without an answer, as far as that matters.
    in_vain: u32,
    /// Whether there is no peer yet that has a timer of its own: it was asked, and has not answered.
    asks: bool,
}

/// A smoothed round trip, how much it varies (RFC 6298 § 2), and the shortest that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Estimate {
    smoothed: Duration,
    variation: Duration,
    shortest: Duration,
}

impl Rto {
    /// A timer that has measured no round trip yet.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, negotiated: None, estimate: None, doublings: 0, in_vain: 0, asks: false }
    }

    /// The same for one that asks, until the peer has answered.
    #[must_use]
    pub const fn asking(mut self) -> Self {
        self.asks = true;
        self
    }

    /// The times that it runs by.
    pub(super) const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Sets the interval that was negotiated: from now on every interval is this one.
    pub const fn set_negotiated(&mut self, interval: Option<Interval>) {
        self.negotiated = interval;
    }

    /// How long to wait for an answer to what is sent now before all is sent again: what was negotiated, every time
    /// (RFC 2349), or else what was measured, doubled by each [`back_off`](Self::back_off). After a few of those the peer's
    /// own timer has to run out in between.
    pub fn interval(&self) -> Duration {
        if let Some(interval) = self.negotiated {
            return interval.get();
        }
        let base = match self.estimate {
            None => self.timing.first,
            Some(Estimate { smoothed, variation, .. }) => {
                // Never the bare round trip: on a path that does not vary all would be sent twice, and Karn's rule
                // would keep it so (RFC 6298 has its clock's granularity here).
                (smoothed + (4 * variation).max(smoothed / 4)).max(self.timing.floor)
            }
        };
        let doubled = base.saturating_mul(1 << self.doublings.min(16));
        let own = doubled.min(self.timing.ceiling);
        let peers = self.timing.peer_default;
        // Whoever set a shorter ceiling knows the peers.
        let is_spared = self.timing.ceiling >= peers && !self.asks;
        let is_vain = self.in_vain == limits::REPEATS_IN_A_ROW;
        if is_spared && is_vain { own.max(peers * 3 / 2) } else { own }
    }

    /// When all is sent again that was sent at `sent_at`, where a probe left at `probed_at`. A probe has its own
    /// interval to be answered, unless one was negotiated.
    pub fn resend_at(&self, sent_at: Time, probed_at: Option<Time>) -> Time {
        let from = probed_at.filter(|_| self.negotiated.is_none());
        from.unwrap_or(sent_at) + self.interval()
    }

    /// How long to wait for an answer before the last packet is sent once more, alone: about two round trips (RFC 8985
    /// § 7.2 has it so), once one was measured.
    pub fn probe_span(&self) -> Option<Duration> {
        self.estimate.map(|estimate| (2 * estimate.smoothed).max(limits::SHORTEST_PROBE))
    }

    /// The smoothed round trip, or as long as an echo may take until one was measured.
    pub(super) fn smoothed(&self) -> Duration {
        self.estimate.map_or(limits::ECHO_SPAN, |estimate| estimate.smoothed)
    }

    /// The smoothed round trip, once one was measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.estimate.map(|estimate| estimate.smoothed)
    }

    /// The round trips, once one was measured.
    pub(super) fn trips(&self) -> Option<Trips> {
        let Estimate { smoothed, shortest, .. } = self.estimate?;
        Some(Trips { smoothed, shortest })
    }

    /// The interval after which the peer sends again: the negotiated one, or else [`Timing::peer_default`].
    pub fn peer_interval(&self) -> Duration {
        self.negotiated.map_or(self.timing.peer_default, Interval::get)
    }

    /// How long a peer may make no progress, having `answered` or not. For a peer that has, it is at least three
    /// negotiated intervals; a request can be forged, so one that has not gets [`Timing::unanswered`].
    pub fn patience(&self, answered: bool) -> Duration {
        if !answered {
            return self.timing.unanswered;
        }
        let three = self.negotiated.map_or(Duration::ZERO, |interval| 3 * interval.get());
        self.timing.patience.max(three)
    }

    /// The span after our last datagram within which a repeated one is an echo of the network or of an eager peer; a
    /// later one is the peer's time-out.
    pub fn echo_span(&self) -> Duration {
        let unmeasured = self.timing.first / 2;
        let trips = self.estimate.map_or(unmeasured, |estimate| 4 * estimate.smoothed);
        trips.max(limits::ECHO_SPAN)
    }

    /// The span after a datagram within which no answer to it can come: an acknowledgement that does is about what was
    /// sent before, and is no report on the window that is under way. It is a quarter of the shortest round trip.
    pub fn soonest_answer(&self) -> Duration {
        // That round trip may hold the sending of a whole window, and a report on its front is back sooner.
        self.estimate.map_or(Duration::ZERO, |estimate| estimate.shortest / 4)
    }

    /// Takes a measured round trip, and ends the doubling. The datagram must have been sent once: Karn's rule (RFC 6298
    /// § 3) is the caller's.
    pub fn sample(&mut self, trip: Duration) {
        self.answered();
        self.doublings = 0;
        self.estimate = Some(match self.estimate {
            None => Estimate { smoothed: trip, variation: trip / 2, shortest: trip },
            Some(Estimate { smoothed, variation, shortest }) => Estimate {
                variation: (3 * variation + smoothed.abs_diff(trip)) / 4,
                smoothed: (7 * smoothed + trip) / 8,
                shortest: shortest.min(trip),
            },
        });
    }

    /// Takes the time to an answer that may have waited for something else than the path: a round trip is no longer.
    pub(super) fn sample_at_most(&mut self, span: Duration) {
        self.answered();
        match &mut self.estimate {
            Some(estimate) if span < estimate.smoothed => {
                self.doublings = 0;
                (estimate.smoothed, estimate.shortest) = (span, estimate.shortest.min(span));
            }
            Some(_) => self.doublings = 0,
            None => self.sample(span),
        }
    }

    /// Takes the round trip of the opening packet, which says little about that of a window: the interval stays what it
    /// was, and goes down with what is measured.
    pub(super) fn sample_opening(&mut self, trip: Duration) {
        self.sample(trip);
        if let Some(estimate) = &mut self.estimate {
            estimate.variation = estimate.variation.max(self.timing.first / 4);
        }
    }

    /// Takes an answer to what was sent more than once, the last time `since` ago: the doubling ends, unless no round
    /// trip was ever measured.
    pub fn progress(&mut self, since: Duration) {
        self.answered();
        // It is no round trip (Karn's rule), yet no round trip is shorter. Without a measure the doubling is all that is
        // known of a slow path.
        match self.estimate {
            None => {}
            Some(estimate) if since > estimate.smoothed => self.sample(since),
            Some(_) => self.doublings = 0,
        }
    }

    /// Doubles the interval, which passed without an answer (RFC 6298 § 5.5).
    pub fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(16);
        self.in_vain = (self.in_vain + 1).min(limits::REPEATS_IN_A_ROW);
    }

    const fn answered(&mut self) {
        (self.in_vain, self.asks) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rto() -> Rto {
        Rto::new(Timing::default())
    }

    /// The intervals of so many that pass in vain.
    fn in_vain(mut rto: Rto) -> [u128; 5] {
        std::array::from_fn(|_| {
            let interval = rto.interval().as_millis();
            rto.back_off();
            interval
        })
    }

    #[test]
    fn starts_at_one_second_and_doubles_to_five_while_nobody_has_answered() {
        assert_eq!(in_vain(rto().asking()), [1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn a_timer_of_the_peers_that_begins_anew_at_whatever_comes_has_the_time_to_run_out() {
        let measured = |mut rto: Rto| {
            rto.sample(MS);
            rto
        };
        let spared = [200, 400, 800, 7500, 7500];
        assert_eq!(in_vain(measured(rto())), spared);
        assert_eq!(in_vain(measured(rto().asking())), spared, "who was asked has answered");
        assert_eq!(in_vain(rto()), [1000, 2000, 4000, 7500, 7500], "who answers has a peer");
        let mut answered = rto().asking();
        answered.progress(MS);
        assert_eq!(in_vain(answered), [1000, 2000, 4000, 7500, 7500]);
        // What is left of the doubling where no round trip was measured is about the path, not the peer's timer.
        let mut slow = rto();
        (0..3).for_each(|_| slow.back_off());
        slow.progress(MS);
        assert_eq!(slow.interval(), 5000 * MS);
        // Shorter intervals that were set are kept.
        let five = 5000 * MS;
        for (ceiling, longest) in [(five - MS, 4999), (five, 7500)] {
            let [.., before, last] = in_vain(Rto::new(Timing { ceiling, ..Timing::default() }));
            assert_eq!([before, last], [longest; 2]);
        }
        let quick = Timing { peer_default: MS, ..Timing::default() };
        assert_eq!(in_vain(measured(Rto::new(quick))), [200, 400, 800, 1600, 3200]);
    }

    #[test]
    fn follows_the_measured_round_trip_and_never_falls_below_the_floor() {
        let mut rto = rto();
        rto.sample(100 * MS);
        assert_eq!(rto.interval(), 300 * MS);
        for _ in 0..50 {
            rto.sample(100 * MS);
        }
        assert_eq!(rto.interval(), 200 * MS);
        for _ in 0..50 {
            rto.sample(400 * MS);
        }
        assert!(rto.interval() > 499 * MS, "never the bare round trip");
    }

    #[test]
    fn a_probe_waits_two_round_trips_and_ten_milliseconds_at_least() {
        let mut rto = rto();
        assert_eq!(rto.probe_span(), None, "nothing was measured");
        rto.sample(4 * MS);
        assert_eq!(rto.probe_span(), Some(10 * MS));
        rto.sample(100 * MS);
        assert_eq!(rto.probe_span(), Some(2 * 16 * MS));
        let (sent, probed) = (Time::START, Time::START + 30 * MS);
        assert_eq!(rto.resend_at(sent, Some(probed)), probed + rto.interval());
        assert_eq!(rto.resend_at(sent, None), sent + rto.interval());
    }

    #[test]
    fn the_opening_packets_round_trip_leaves_the_interval_about_what_it_was() {
        let mut rto = rto();
        rto.sample_opening(MS);
        assert_eq!(rto.interval(), 1001 * MS);
        for _ in 0..20 {
            rto.sample(MS);
        }
        assert_eq!(rto.interval(), 200 * MS);
    }

    #[test]
    fn a_sample_ends_the_backoff() {
        let mut rto = rto();
        rto.back_off();
        rto.back_off();
        rto.sample(100 * MS);
        assert_eq!(rto.interval(), 300 * MS);
    }

    #[test]
    fn progress_ends_the_backoff_once_there_is_a_measure_and_shows_a_path_that_grew_slower() {
        let mut rto = rto();
        rto.back_off();
        rto.progress(MS);
        assert_eq!(rto.interval(), Duration::from_secs(2), "nothing was measured yet");
        rto.sample(10 * MS);
        rto.back_off();
        rto.progress(MS);
        assert_eq!(rto.interval(), 200 * MS);
        rto.progress(10 * MS);
        assert_eq!(rto.estimate.map(|estimate| estimate.variation), Some(5 * MS), "no news");
        rto.progress(100 * MS);
        rto.progress(1000 * MS);
        assert!(rto.interval() > 1000 * MS, "{:?}", rto.interval());
    }

    #[test]
    fn a_negotiated_interval_is_the_one_every_time() {
        let mut rto = rto();
        rto.set_negotiated(Interval::from_micros(2_000_000));
        rto.back_off();
        assert_eq!(rto.interval(), 2000 * MS, "not doubled");
        rto.sample(100 * MS);
        rto.back_off();
        assert_eq!(rto.interval(), 2000 * MS, "nor measured");
        let (sent, probed) = (Time::START, Time::START + 200 * MS);
        assert_eq!(rto.resend_at(sent, Some(probed)), sent + 2000 * MS);
        rto.set_negotiated(Interval::from_micros(20_000));
        assert_eq!(rto.interval(), 20 * MS, "below the floor: the peer wants it so");
        assert_eq!(rto.peer_interval(), 20 * MS);
    }

    #[test]
    fn a_peer_that_said_nothing_of_its_interval_has_that_of_others_whatever_ours_are() {
        let hasty = Timing { ceiling: 100 * MS, ..Timing::default() };
        assert_eq!(Rto::new(hasty).peer_interval(), Duration::from_secs(5));
    }

    #[test]
    fn three_negotiated_intervals_are_waited_for_where_that_is_longer() {
        let mut rto = rto();
        rto.set_negotiated(Interval::from_micros(20_000));
        assert_eq!(rto.patience(true), Duration::from_secs(30));
        rto.set_negotiated(Interval::from_micros(200_000_000));
        assert_eq!(rto.patience(true), Duration::from_secs(600));
        assert_eq!(rto.patience(false), Duration::from_secs(30), "nobody has answered");
    }
}
