use super::*;
use crate::proto::negotiate::{accept, windowed};
use crate::wire::{Options, TransferOption};
use core::num::NonZeroU8;
use core::num::NonZeroU64;
use core::time::Duration;

fn ms(n: u64) -> Time {
    Time::from_micros(n * 1000)
}

/// A sender of `blocks` blocks without an opening packet.
fn sender(window: u16, blocks: u64) -> Sender {
    let mut sender = Sender::new(ms(0), Timing::default(), &windowed(window), false);
    sender.supply(BlockNumber(blocks + 1), true);
    sender
}

fn sends(sender: &mut Sender, now: Time) -> Option<(u64, u64)> {
    match sender.poll(now) {
        Step::Transmit(run) => Some((run.first.0, run.count)),
        _ => None,
    }
}

/// All that leaves up to `end`, at the times that it says.
fn all(sender: &mut Sender, end: Time) -> Vec<(u64, u64)> {
    let (mut now, mut sent) = (sender.sent_at, Vec::new());
    while now <= end {
        match sender.poll(now) {
            Step::Transmit(run) => match sent.last_mut() {
                Some((first, count)) if *first + *count == run.first.0 => *count += run.count,
                _ => sent.push((run.first.0, run.count)),
            },
            Step::Wait(until) => now = until.min(end + Duration::from_micros(1)),
            Step::Done(_) => break,
        }
    }
    sent
}

#[test]
fn an_early_duplicate_ack_changes_nothing_and_a_late_one_resends_once() {
    let mut sender = sender(1, 9);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 1)));
    sender.acknowledge(ms(10), WireBlock(1));
    assert_eq!(sends(&mut sender, ms(10)), Some((2, 1)));
    assert_eq!(sends(&mut sender, ms(30)), Some((2, 1)), "the probe");
    sender.acknowledge(ms(79), WireBlock(1));
    assert_eq!(sends(&mut sender, ms(79)), None, "49 ms after the last send");
    let mut sender = sender.clone();
    sender.acknowledge(ms(80), WireBlock(1));
    assert_eq!(sends(&mut sender, ms(80)), Some((2, 1)), "50 ms after the last send");
    sender.acknowledge(ms(150), WireBlock(1));
    assert!(matches!(sender.poll(ms(150)), Step::Wait(_)), "once for each block");
}

#[test]
fn silence_counts_only_while_the_peer_owes_an_answer() {
    let mut sender = Sender::new(ms(0), Timing::default(), &windowed(4), false);
    sender.supply(BlockNumber(2), false);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 1)));
    sender.acknowledge(ms(10), WireBlock(1));
    sender.supply(BlockNumber(4), false);
    assert_eq!(sends(&mut sender, ms(100_000)), Some((2, 2)), "the file was slow");
    assert!(matches!(sender.poll(ms(129_999)), Step::Transmit(_)));
    assert!(matches!(sender.poll(ms(130_000)), Step::Done(End::Silent)));
}

#[test]
fn a_gap_restarts_the_window_once_however_often_it_is_told() {
    let mut sender = sender(8, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 8)));
    sender.acknowledge(ms(10), WireBlock(3));
    assert_eq!(all(&mut sender, ms(12)), [(4, 1), (9, 3)], "what is missing, and what is new");
    for at in 13..16 {
        sender.acknowledge(ms(at), WireBlock(3));
        assert_eq!(sends(&mut sender, ms(at)), None);
    }
    sender.acknowledge(ms(25), WireBlock(11));
    assert_eq!(all(&mut sender, ms(26)), [(12, 8)]);
}

#[test]
fn who_drops_what_lies_behind_a_gap_gets_all_of_it_again() {
    let mut sender = sender(8, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 8)));
    sender.acknowledge(ms(10), WireBlock(3));
    assert_eq!(all(&mut sender, ms(12)), [(4, 1), (9, 3)]);
    sender.acknowledge(ms(22), WireBlock(4));
    assert_eq!(all(&mut sender, ms(40)), [(5, 8)], "4 alone was taken");
    sender.acknowledge(ms(50), WireBlock(6));
    assert_eq!(all(&mut sender, ms(60)), [(7, 8)], "from now on");
}

#[test]
fn who_keeps_it_gets_only_what_is_missing() {
    let mut sender = sender(8, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 8)));
    sender.acknowledge(ms(10), WireBlock(3));
    assert_eq!(all(&mut sender, ms(12)), [(4, 1), (9, 3)]);
    sender.acknowledge(ms(22), WireBlock(6));
    assert_eq!(all(&mut sender, ms(24)), [(7, 1), (12, 3)], "7 is missing, too");
    sender.acknowledge(ms(34), WireBlock(11));
    assert_eq!(all(&mut sender, ms(35)), [(15, 5)], "12 may be under way still");
}

#[test]
fn what_was_to_fill_a_gap_goes_out_again_when_the_gap_is_told_a_round_trip_later() {
    let mut sender = sender(8, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 8)));
    sender.acknowledge(ms(10), WireBlock(3));
    assert_eq!(all(&mut sender, ms(12)), [(4, 1), (9, 3)]);
    sender.acknowledge(ms(22), WireBlock(6));
    assert_eq!(all(&mut sender, ms(24)), [(7, 1), (12, 3)]);
    let trip = sender.rto.smoothed().as_millis() as u64;
    sender.acknowledge(ms(22 + trip - 1), WireBlock(6));
    assert_eq!(sends(&mut sender, ms(22 + trip - 1)), None, "it may be a copy");
    sender.acknowledge(ms(22 + trip + 1), WireBlock(6));
    assert_eq!(all(&mut sender, ms(22 + trip + 3)), [(7, 1)]);
}

#[test]
fn a_report_of_a_gap_shows_that_the_opening_packet_had_waited_for_the_peers_timer() {
    let mut sender = Sender::new(ms(0), Timing::default(), &windowed(8), true);
    sender.supply(BlockNumber(100), true);
    assert_eq!(sends(&mut sender, ms(0)), Some((0, 1)));
    sender.acknowledge(ms(201), WireBlock(0));
    assert_eq!(sends(&mut sender, ms(201)), Some((1, 8)));
    sender.acknowledge(ms(203), WireBlock(3));
    assert_eq!(sender.rto.probe_span(), Some(Duration::from_millis(10)));
}

#[test]
fn silence_has_the_last_packet_sent_once_more_and_then_all_of_them() {
    let mut sender = sender(4, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 4)));
    sender.acknowledge(ms(2), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(2)), Some((5, 4)));
    assert_eq!(sender.poll(ms(11)), Step::Wait(ms(12)), "10 ms at least");
    assert_eq!(sends(&mut sender, ms(12)), Some((8, 1)));
    assert_eq!(sender.poll(ms(13)), Step::Wait(ms(212)), "one probe");
    assert_eq!(sends(&mut sender, ms(212)), Some((5, 4)));
    assert_eq!(sender.poll(ms(213)), Step::Wait(ms(612)), "one probe for a stall");
}

#[test]
fn a_probe_comes_two_round_trips_after_the_last_packet_where_that_is_longer() {
    let mut sender = sender(4, 100);
    sends(&mut sender, ms(0));
    sender.acknowledge(ms(40), WireBlock(4));
    sends(&mut sender, ms(40));
    assert_eq!(sender.poll(ms(119)), Step::Wait(ms(120)));
    assert_eq!(sends(&mut sender, ms(120)), Some((8, 1)));
}

#[test]
fn a_negotiated_interval_is_kept_whatever_the_probe_does() {
    let asked = Options::NONE.with(TransferOption::Timeout(NonZeroU8::MIN));
    let agreed = accept(&asked, &asked).expect("what was asked");
    let mut sender = Sender::new(ms(0), Timing::default(), &agreed, false);
    sender.supply(BlockNumber(9), true);
    sends(&mut sender, ms(0));
    sender.acknowledge(ms(5), WireBlock(1));
    let mut sent = Vec::new();
    for now in 5..4000 {
        sent.extend(sends(&mut sender, ms(now)).map(|_| now));
    }
    assert_eq!(sent, [5, 15, 1005, 2005, 3005]);
}

#[test]
fn a_report_that_came_too_early_counts_when_silence_follows() {
    let mut sender = sender(4, 100);
    sends(&mut sender, ms(0));
    sender.acknowledge(ms(20), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(20)), Some((5, 4)));
    sender.acknowledge(ms(21), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(59)), None);
    assert_eq!(all(&mut sender, ms(62)), [(5, 4)], "in place of a probe");
}

#[test]
fn a_last_block_that_was_lost_slows_what_follows_and_one_that_was_late_does_not() {
    for (late, then) in [(false, 2), (true, 8)] {
        let mut sender = sender(8, 100);
        assert_eq!(all(&mut sender, ms(0)), [(1, 8)]);
        sender.acknowledge(ms(1), WireBlock(8));
        assert_eq!(all(&mut sender, ms(1)), [(9, 8)]);
        assert_eq!(sends(&mut sender, ms(11)), Some((16, 1)), "the probe");
        sender.acknowledge(ms(12), WireBlock(16));
        if late {
            sender.acknowledge(ms(12), WireBlock(16));
        }
        assert_eq!(sends(&mut sender, ms(12)), Some((17, 8)), "it is not known yet");
        sender.acknowledge(ms(13), WireBlock(24));
        assert_eq!(sends(&mut sender, ms(13)), Some((25, then)));
    }
}

#[test]
fn an_ack_that_answers_a_probe_tells_what_was_lost_behind_it() {
    let mut sender = sender(4, 100);
    sends(&mut sender, ms(0));
    sender.acknowledge(ms(2), WireBlock(4));
    sends(&mut sender, ms(2));
    assert_eq!(sends(&mut sender, ms(12)), Some((8, 1)));
    sender.acknowledge(ms(14), WireBlock(6));
    assert_eq!(all(&mut sender, ms(16)).first(), Some(&(7, 1)), "without waiting for the timer");
}

#[test]
fn a_gap_told_of_the_window_before_moves_the_base_and_resends_nothing() {
    let mut sender = sender(4, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 4)));
    sender.acknowledge(ms(20), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(20)), Some((5, 4)));
    sender.acknowledge(ms(40), WireBlock(5));
    assert_eq!(all(&mut sender, ms(41)), [(6, 1), (9, 1)]);
    sender.acknowledge(ms(61), WireBlock(6));
    assert_eq!(all(&mut sender, ms(62)), [(7, 4)], "what lies behind a gap is dropped");
    let mut late = sender.clone();
    sender.acknowledge(ms(65), WireBlock(7));
    assert_eq!(sends(&mut sender, ms(65)), Some((11, 1)), "sooner than any answer");
    late.acknowledge(ms(66), WireBlock(7));
    assert_eq!(all(&mut late, ms(80)), [(8, 4)]);
}

#[test]
fn a_missing_first_block_of_a_window_restarts_it_but_an_echo_does_not() {
    let mut sender = sender(4, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 4)));
    sender.acknowledge(ms(20), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(20)), Some((5, 4)));
    sender.acknowledge(ms(24), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(24)), None, "sooner than any answer");
    sender.acknowledge(ms(25), WireBlock(4));
    assert_eq!(sends(&mut sender, ms(25)), Some((5, 4)));
}

#[test]
fn one_copied_ack_does_not_double_all_windows_to_come() {
    let mut sender = sender(4, 400);
    let (mut sent, mut copied) = (0, false);
    let mut answers = std::collections::VecDeque::new();
    let mut now = 0;
    loop {
        match sender.poll(ms(now)) {
            Step::Transmit(run) => {
                sent += run.count;
                let ends = (run.first.0..run.first.0 + run.count).filter(|n| n % 4 == 0);
                for last in ends.map(|n| WireBlock(n as u16)) {
                    // 10 ms there and back; one acknowledgement comes again 4 ms later.
                    answers.push_back((now + 10, last));
                    if last.0 == 40 && !std::mem::replace(&mut copied, true) {
                        answers.push_back((now + 14, last));
                    }
                }
            }
            Step::Wait(until) => match answers.front() {
                Some(&(at, last)) if ms(at) <= until => {
                    answers.pop_front();
                    now = now.max(at);
                    sender.acknowledge(ms(now), last);
                }
                _ => now = until.as_micros().div_ceil(1000),
            },
            Step::Done(end) => {
                assert_eq!(end, End::Complete);
                break assert!((401..=404).contains(&sent), "{sent}");
            }
        }
    }
}

#[test]
fn acks_ahead_of_what_was_sent_are_ignored() {
    let mut sender = sender(2, 100);
    assert_eq!(sends(&mut sender, ms(0)), Some((1, 2)));
    sender.acknowledge(ms(1), WireBlock(3));
    assert_eq!(sender.base(), BlockNumber(1));
    sender.acknowledge(ms(1), WireBlock(2));
    assert_eq!(sender.base(), BlockNumber(3));
}

#[test]
fn stale_packets_do_not_push_the_timer() {
    let mut sender = sender(1, 9);
    sends(&mut sender, ms(0));
    sender.acknowledge(ms(1), WireBlock(1));
    sends(&mut sender, ms(1));
    let mut sent = Vec::new();
    for at in 2..300 {
        sender.acknowledge(ms(at), WireBlock(0));
        sender.acknowledge(ms(at), WireBlock(7));
        sent.extend(sends(&mut sender, ms(at)).map(|_| at));
    }
    assert_eq!(sent, [11, 211], "the probe, and the timer 200 ms behind it");
}

#[test]
fn patience_ends_after_thirty_seconds_without_progress() {
    let mut sender = sender(1, 9);
    let mut now = ms(0);
    let end = loop {
        match sender.poll(now) {
            Step::Transmit(_) => {}
            Step::Wait(until) => now = until,
            Step::Done(end) => break end,
        }
    };
    assert_eq!((now, end), (ms(30_000), End::Silent));
}

#[test]
fn a_missing_last_answer_is_unconfirmed_and_a_peer_that_never_answered_is_not() {
    let mut one = sender(1, 2);
    sends(&mut one, ms(0));
    one.acknowledge(ms(1), WireBlock(1));
    assert_eq!(one.lost(), End::Silent, "block 2 was never sent");
    sends(&mut one, ms(1));
    assert_eq!(one.lost(), End::Unconfirmed);
    let mut unproven = sender(1, 1);
    sends(&mut unproven, ms(0));
    assert_eq!(unproven.lost(), End::Silent);
}

#[test]
fn the_opening_packet_is_block_zero_and_travels_alone() {
    let mut sender = Sender::new(ms(0), Timing::default(), &windowed(8), true);
    sender.supply(BlockNumber(9), true);
    assert_eq!(sends(&mut sender, ms(0)), Some((0, 1)));
    assert_eq!(sends(&mut sender, ms(1000)), Some((0, 1)));
    sender.acknowledge(ms(1001), WireBlock(0));
    assert_eq!(sends(&mut sender, ms(1001)), Some((1, 8)));
}

#[test]
fn progress_ends_the_backoff() {
    let mut sender = sender(16, 400);
    sender.rto.sample(Duration::from_millis(1));
    let again = |now: &u64| sends(&mut sender, ms(*now)).is_some_and(|(first, _)| first == 1);
    assert_eq!((0..=615).filter(again).collect::<Vec<_>>(), [0, 212, 615], "twice in vain");
    sender.acknowledge(ms(616), WireBlock(4));
    let mut leaves = (616..).filter(|now| sends(&mut sender, ms(*now)).is_some());
    assert!(leaves.by_ref().find(|now| *now > 626).is_some_and(|probe| probe < 640));
    assert!(leaves.next().is_some_and(|timer| timer < 840), "200 ms behind the probe");
}

#[test]
fn a_round_trip_is_not_measured_on_what_was_sent_twice() {
    let mut sender = sender(1, 9);
    sends(&mut sender, ms(0));
    sends(&mut sender, ms(1000));
    sender.acknowledge(ms(1001), WireBlock(1));
    assert_eq!(sender.rto.interval(), Duration::from_secs(2), "still the doubled first interval");
}

#[test]
fn without_a_block_that_is_ready_there_is_nothing_to_send_again() {
    let mut sender = Sender::new(ms(0), Timing::default(), &Agreed::default(), false);
    assert_eq!(sender.poll(ms(0)), Step::Wait(ms(30_000)));
    assert_eq!(sender.poll(ms(5_000)), Step::Wait(ms(30_000)));
}

#[test]
fn a_tail_that_had_arrived_slows_nothing_and_one_that_was_lost_does() {
    let leaves = |answer| {
        let mut sender = sender(64, 400);
        sender.rto.sample(Duration::from_millis(1));
        assert_eq!(all(&mut sender, ms(4)), [(1, 64)]);
        let probed = (4..40).find(|at| sends(&mut sender, ms(*at)).is_some()).expect("a probe");
        sender.acknowledge(ms(probed + 1), WireBlock(20));
        assert_eq!(sends(&mut sender, ms(probed + 1)), Some((21, 1)));
        sender.acknowledge(ms(probed + 2), WireBlock(answer));
        all(&mut sender, ms(probed + 5)).iter().map(|(_, count)| count).sum::<u64>()
    };
    assert!(leaves(60) > 30, "only the report of the gap was lost: {}", leaves(60));
    assert!(leaves(21) < 20, "nothing behind the gap was there: {}", leaves(21));
}

/// A sender of many blocks that is held to 512 bytes in 100 ms.
fn throttled(window: u16, patience: Duration) -> Sender {
    let timing = Timing::builder().rate(NonZeroU64::new(5120)).patience(patience);
    let timing = timing.unanswered(patience).build().expect("sound");
    let mut sender = Sender::new(ms(0), timing, &windowed(window), false);
    sender.supply(BlockNumber(1000), true);
    sender
}

#[test]
fn a_sender_that_is_held_to_a_rate_keeps_it_in_lock_step_and_in_windows() {
    for window in [1, 8] {
        let mut sender = throttled(window, Duration::from_secs(30));
        let (mut now, mut sent) = (ms(0), 0);
        while now < ms(10_000) {
            match sender.poll(now) {
                Step::Transmit(run) => {
                    assert_eq!(run.again, 0, "nothing is lost, and nothing is late");
                    sent += run.count;
                    let last = BlockNumber(run.first.0 + run.count - 1);
                    if last.0.is_multiple_of(window.into()) {
                        now = now + Duration::from_millis(5);
                        sender.acknowledge(now, last.narrow(Rollover::ToZero));
                    }
                }
                Step::Wait(until) => now = until,
                Step::Done(end) => panic!("{end:?}"),
            }
        }
        assert!((98..=101).contains(&sent), "{sent} blocks in ten seconds, in windows of {window}");
    }
}

#[test]
fn a_window_that_leaves_slowly_is_no_silence_of_the_peer_and_what_comes_after_it_is() {
    let mut sender = throttled(64, Duration::from_millis(50));
    let (mut now, mut sent) = (ms(0), 0);
    while sent < 64 {
        match sender.poll(now) {
            Step::Transmit(run) => sent += run.count,
            Step::Wait(until) => now = until,
            Step::Done(end) => panic!("{end:?} after {sent} blocks"),
        }
    }
    assert!(now >= ms(6200));
    assert!(matches!(sender.poll(now + Duration::from_millis(49)), Step::Wait(_)));
    let later = now + Duration::from_millis(51);
    assert_eq!(sender.poll(later), Step::Done(End::Silent));
}
