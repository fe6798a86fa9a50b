use super::*;
use crate::proto::negotiate::{accept, windowed};
use crate::wire::{Options, TransferOption};
use core::num::NonZeroU8;

fn ms(n: u64) -> Time {
    Time::from_micros(n * 1000)
}

fn receiver(window: u16) -> Receiver {
    let mut receiver = Receiver::new(ms(0), Timing::default(), &windowed(window), 2);
    assert_eq!(acks(&mut receiver, ms(0)), Some(0));
    receiver
}

fn acks(receiver: &mut Receiver, now: Time) -> Option<u64> {
    match receiver.poll(now) {
        Step::Transmit(ack) => Some(ack.block.0),
        _ => None,
    }
}

fn arrive(receiver: &mut Receiver, at: u64, block: u16) -> Option<u64> {
    receiver.arrive(ms(at), WireBlock(block), false);
    acks(receiver, ms(at))
}

#[test]
fn acknowledges_at_the_end_of_the_window() {
    let mut receiver = receiver(4);
    assert_eq!(
        [1, 2, 3, 4, 5].map(|n| arrive(&mut receiver, 1, n)),
        [None, None, None, Some(4), None]
    );
}

#[test]
fn what_was_to_fill_a_gap_and_is_lost_is_told_once_more_when_the_sender_has_gone_on() {
    let filled = |then| {
        let mut receiver = receiver(8);
        assert_eq!([1, 3].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1)]);
        assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
        kept(&mut receiver, 2, 3);
        assert_eq!(acks(&mut receiver, ms(2)), Some(3));
        assert_eq!(arrive(&mut receiver, 2, then), None);
        receiver
    };
    let mut receiver = filled(4);
    assert_eq!(arrive(&mut receiver, 3, 6), Some(4));
    assert_eq!(arrive(&mut receiver, 3, 7), None, "sooner than what was sent behind it");
    assert_eq!([8, 9].map(|n| arrive(&mut receiver, 4, n)), [Some(4), None]);
    let mut receiver = filled(3);
    assert_eq!([4, 6].map(|n| arrive(&mut receiver, 3, n)), [None, Some(4)]);
    assert_eq!(arrive(&mut receiver, 4, 7), None, "this one goes back, and sends it again");
}

#[test]
fn tells_of_a_gap_once_and_counts_the_window_from_there() {
    let mut receiver = receiver(4);
    assert_eq!([1, 3, 4].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1), None]);
    assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
    [3, 4].into_iter().for_each(|n| kept(&mut receiver, 2, n));
    assert_eq!(acks(&mut receiver, ms(2)), Some(4), "these need not come again");
    assert_eq!([5, 6, 7, 8].map(|n| arrive(&mut receiver, 3, n)), [None, None, None, Some(8)]);
}

#[test]
fn a_gap_behind_the_one_that_was_filled_is_told_at_once() {
    let mut receiver = receiver(8);
    assert_eq!([1, 3, 5].map(|n| arrive(&mut receiver, 1, n)), [None, Some(1), None]);
    assert_eq!(receiver.arrive(ms(2), WireBlock(2), false), Arrival::Next);
    kept(&mut receiver, 2, 3);
    assert_eq!(acks(&mut receiver, ms(2)), Some(3), "4 is missing");
    assert_eq!(arrive(&mut receiver, 2, 6), None, "and that was told");
}

#[test]
fn a_block_behind_a_gap_that_comes_again_says_that_what_fills_it_is_lost_again() {
    let mut receiver = receiver(8);
    assert_eq!(arrive(&mut receiver, 20, 1), None, "a round trip of 20 ms");
    assert_eq!([3, 4].map(|n| arrive(&mut receiver, 21, n)), [Some(1), None]);
    assert_eq!(arrive(&mut receiver.clone(), 40, 3), None, "too soon for an answer");
    assert_eq!(arrive(&mut receiver.clone(), 41, 5), None, "it did not come again");
    assert_eq!(arrive(&mut receiver, 41, 3), Some(1));
}

#[test]
fn a_block_behind_a_gap_that_comes_after_silence_asks_what_is_missing() {
    // After a round trip and a half, and 5 ms at least.
    for (trip, silence) in [(20, 30), (1, 5)] {
        let mut receiver = receiver(8);
        assert_eq!(arrive(&mut receiver, trip, 1), None);
        assert_eq!(arrive(&mut receiver, trip, 3), Some(1));
        assert_eq!(arrive(&mut receiver.clone(), trip + silence - 1, 5), None, "{trip}");
        assert_eq!(arrive(&mut receiver, trip + silence, 5), Some(1), "{trip}");
    }
}

#[test]
fn silence_has_the_last_acknowledgement_sent_once_more_and_then_by_the_timer() {
    for (window, probe) in [(4, 15), (1, 50)] {
        let mut receiver = receiver(window);
        for block in 1..=window {
            receiver.arrive(ms(2), WireBlock(block), false);
        }
        let last = u64::from(window);
        assert_eq!(acks(&mut receiver, ms(2)), Some(last));
        assert_eq!(receiver.poll(ms(3)), Step::Wait(ms(2 + probe)));
        assert_eq!(acks(&mut receiver, ms(2 + probe)), Some(last));
        assert_eq!(receiver.poll(ms(3 + probe)), Step::Wait(ms(202 + probe)));
        assert_eq!(acks(&mut receiver, ms(202 + probe)), Some(last));
    }
}

#[test]
fn blocks_that_come_although_they_came_before_are_no_silence() {
    let mut receiver = receiver(4);
    for block in 1..=4 {
        receiver.arrive(ms(2), WireBlock(block), false);
    }
    assert_eq!(acks(&mut receiver, ms(2)), Some(4));
    assert_eq!(arrive(&mut receiver, 10, 3), Some(4));
    assert_eq!(arrive(&mut receiver, 14, 4), None);
    assert_eq!(receiver.poll(ms(14)), Step::Wait(ms(29)));
}

#[test]
fn an_acknowledgement_of_a_gap_measures_no_round_trip() {
    let mut receiver = receiver(4);
    assert_eq!([1, 3].map(|n| arrive(&mut receiver, 400, n)), [None, Some(1)]);
    let measured = receiver.rto.interval();
    assert_eq!(receiver.arrive(ms(401), WireBlock(2), false), Arrival::Next, "it was only late");
    kept(&mut receiver, 401, 3);
    assert_eq!(acks(&mut receiver, ms(401)), Some(3));
    assert_eq!(receiver.rto.interval(), measured);
}

/// Hands on a block that was kept.
fn kept(receiver: &mut Receiver, at: u64, block: u16) {
    assert_eq!(receiver.expected(), BlockNumber(block.into()));
    assert_eq!(receiver.arrive(ms(at), WireBlock(block), false), Arrival::Next);
}

#[test]
fn what_lies_behind_a_gap_can_be_kept_as_far_as_a_window_reaches() {
    let mut receiver = receiver(4);
    let early = |n| Arrival::Early(BlockNumber(n));
    assert_eq!(receiver.arrive(ms(1), WireBlock(4), false), early(4));
    assert_eq!(receiver.arrive(ms(1), WireBlock(5), false), Arrival::Other);
    assert_eq!(receiver.arrive(ms(1), WireBlock(2), false), early(2));
    assert_eq!(receiver.arrive(ms(1), WireBlock(1), true), Arrival::Next);
    assert_eq!(receiver.arrive(ms(1), WireBlock(3), false), Arrival::Other, "behind the end");
}

#[test]
fn nothing_is_kept_where_a_window_is_more_than_a_quarter_of_the_numbers() {
    let far = |window| receiver(window).arrive(ms(1), WireBlock(3), false);
    assert_eq!(far(16_384), Arrival::Early(BlockNumber(3)));
    assert_eq!(far(16_385), Arrival::Other);
}

#[test]
fn what_comes_again_because_of_a_gap_is_no_sign_of_a_lost_acknowledgement() {
    let mut receiver = receiver(4);
    assert_eq!([2, 3, 4].map(|n| arrive(&mut receiver, 1, n)), [Some(0), None, None]);
    assert_eq!(receiver.arrive(ms(2), WireBlock(1), false), Arrival::Next);
    [2, 3, 4].into_iter().for_each(|n| kept(&mut receiver, 2, n));
    assert_eq!(acks(&mut receiver, ms(2)), Some(4));
    assert_eq!([2, 3, 4].map(|n| arrive(&mut receiver, 2, n)), [None; 3]);
    assert_eq!(arrive(&mut receiver.clone(), 3, 6), Some(4), "another gap");
    assert_eq!(arrive(&mut receiver, 502, 1), Some(4), "the sender's time-out");
}

#[test]
fn a_duplicate_is_answered_once_and_again_when_it_is_the_peers_timer() {
    let mut receiver = receiver(1);
    assert_eq!(arrive(&mut receiver, 1, 1), Some(1));
    assert_eq!(arrive(&mut receiver, 2, 1), Some(1));
    assert_eq!(arrive(&mut receiver, 51, 1), None, "49 ms after the last ACK");
    assert_eq!(receiver.clone().arrive(ms(52), WireBlock(1), false), Arrival::Other);
    assert_eq!(arrive(&mut receiver, 52, 1), Some(1), "50 ms after the last ACK");
}

#[test]
fn the_front_of_a_repeated_window_is_not_torn_by_an_acknowledgement() {
    let mut receiver = receiver(4);
    assert_eq!([1, 2].map(|n| arrive(&mut receiver, 1, n)), [None, None]);
    assert_eq!([1, 2, 3, 4].map(|n| arrive(&mut receiver, 9, n)), [None, None, None, Some(4)]);
}

#[test]
fn dallies_for_two_intervals_of_the_peer_and_answers_the_last_block_again() {
    let asked = Options::NONE.with(TransferOption::Timeout(NonZeroU8::MIN.saturating_add(2)));
    let three = accept(&asked, &asked).expect("what was asked");
    for (agreed, dallies) in [(three, 6000), (Agreed::default(), 10_000)] {
        let mut receiver = Receiver::new(ms(0), Timing::default(), &agreed, 2);
        assert_eq!(acks(&mut receiver, ms(0)), Some(0));
        assert_eq!(receiver.arrive(ms(10), WireBlock(1), true), Arrival::Next);
        assert_eq!(acks(&mut receiver, ms(10)), Some(1));
        assert_eq!(receiver.poll(ms(5011)), Step::Wait(ms(10 + dallies)));
        assert_eq!(arrive(&mut receiver, 5011, 1), Some(1), "atftp and tftp-hpa: 5 s");
        let end = 5011 + dallies;
        assert_eq!(receiver.poll(ms(end - 1)), Step::Wait(ms(end)));
        assert_eq!(receiver.poll(ms(end)), Step::Done(End::Complete));
    }
}

#[test]
fn follows_a_rollover_to_zero_or_to_one() {
    for (after, then) in [(0, 1), (1, 2)] {
        let mut receiver = receiver(1);
        for block in 1..=65535 {
            assert_eq!(receiver.arrive(ms(1), WireBlock(block), false), Arrival::Next);
        }
        assert_eq!(receiver.arrive(ms(1), WireBlock(after), false), Arrival::Next);
        assert_eq!(receiver.arrive(ms(1), WireBlock(then), false), Arrival::Next);
        assert_eq!(receiver.next, BlockNumber(65538));
    }
}

#[test]
fn in_a_window_a_one_after_65535_is_a_gap_not_a_rollover() {
    let mut receiver = receiver(4);
    for block in 1..=65535 {
        receiver.arrive(ms(1), WireBlock(block), false);
    }
    let behind = Arrival::Early(BlockNumber(65537));
    assert_eq!(receiver.arrive(ms(1), WireBlock(1), false), behind);
    assert_eq!(receiver.arrive(ms(1), WireBlock(0), false), Arrival::Next);
}

#[test]
fn where_a_rollover_to_one_was_agreed_no_zero_changes_it() {
    let to_one = Options::NONE.with(TransferOption::Rollover(Rollover::ToOne));
    let agreed = accept(&to_one, &to_one).expect("what was asked");
    let mut receiver = Receiver::new(ms(0), Timing::default(), &agreed, 2);
    for block in 1..=65535 {
        assert_eq!(receiver.arrive(ms(1), WireBlock(block), false), Arrival::Next);
    }
    assert_eq!(receiver.arrive(ms(1), WireBlock(0), false), Arrival::Other);
    assert_eq!(receiver.arrive(ms(1), WireBlock(1), false), Arrival::Next);
}

#[test]
fn an_oack_is_an_answer_and_earns_patience() {
    let timing = Timing { unanswered: Duration::from_secs(2), ..Timing::default() };
    let mut silent = Receiver::new(ms(0), timing, &Agreed::default(), 0);
    let mut opened = silent.clone();
    opened.opened(ms(0));
    let mut answered = silent.clone();
    answered.arrive(ms(0), WireBlock(1), false);
    for receiver in [&mut silent, &mut opened, &mut answered] {
        assert!(acks(receiver, ms(0)).is_some());
    }
    assert!(!matches!(silent.poll(ms(1999)), Step::Done(_)));
    assert_eq!(silent.poll(ms(2000)), Step::Done(End::Silent));
    for receiver in [&mut opened, &mut answered] {
        assert!(!matches!(receiver.poll(ms(29_999)), Step::Done(_)));
        while matches!(receiver.poll(ms(30_000)), Step::Transmit(_)) {}
        assert_eq!(receiver.poll(ms(30_000)), Step::Done(End::Silent));
    }
}

#[test]
fn what_was_sent_again_for_a_gap_ends_where_the_window_ended() {
    let mut receiver = receiver(2);
    assert_eq!(arrive(&mut receiver, 1, 2), Some(0), "block 1 is missing");
    assert_eq!(receiver.arrive(ms(2), WireBlock(1), false), Arrival::Next);
    kept(&mut receiver, 2, 2);
    assert_eq!(acks(&mut receiver, ms(2)), Some(2));
    assert_eq!([3, 4].map(|n| arrive(&mut receiver, 12, n)), [None, Some(4)]);
    assert_eq!(arrive(&mut receiver.clone(), 13, 2), None, "it came again for the gap");
    assert_eq!(arrive(&mut receiver, 13, 3), Some(4), "it did not");
}

#[test]
fn what_lies_behind_the_end_is_not_answered() {
    let mut receiver = receiver(1);
    receiver.arrive(ms(1), WireBlock(1), true);
    assert_eq!(acks(&mut receiver, ms(1)), Some(1));
    for (block, answer) in [(3, None), (2, None), (1, Some(1))] {
        assert_eq!(arrive(&mut receiver, 2, block), answer, "block {block}");
    }
}
