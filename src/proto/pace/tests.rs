use super::*;

const TRIPS: Trips =
    Trips { shortest: Duration::from_millis(1), smoothed: Duration::from_millis(1) };

const TIMED_OUT: Silence = Silence { probed_at: None };

fn us(n: u64) -> Time {
    Time::from_micros(n)
}

fn begun(window: u16, block: u16) -> Pace {
    let [window, block] = [WindowSize::new(window).expect("a window").get(), block];
    let (window, block) = (WindowSize::new(window), BlockSize::new(block));
    let mut pace = Pace::new(block.expect("a size"), window.expect("a window"));
    pace.begin(BlockSize::ETHERNET, Some(TRIPS.shortest));
    pace
}

/// A window leaves from `start` on: the moment and the number of blocks of each burst.
fn leaves(pace: &mut Pace, start: u64, first: u64) -> Vec<(u64, u64)> {
    let (mut now, mut left, mut bursts) = (us(start), 0, Vec::new());
    pace.measure(now, BlockNumber(first));
    while left < pace.window {
        match pace.allows(now, pace.window - left) {
            0 => now = pace.due(),
            count => {
                pace.left(now, count);
                left += count;
                bursts.push((now.as_micros(), count));
            }
        }
    }
    bursts
}

/// How long windows of 64 take to leave, each of which is acknowledged a round trip after its last block.
fn spans(pace: &mut Pace, windows: u64) -> Vec<u64> {
    let mut now = 1000;
    (0..windows)
        .map(|n| {
            let bursts = leaves(pace, now, 1 + 64 * n);
            let last = bursts.last().expect("a burst").0;
            let span = last - now;
            now = last + 1000;
            pace.delivered(us(now), BlockNumber(65 + 64 * n), Some(TRIPS));
            span
        })
        .collect()
}

#[test]
fn ten_packets_leave_in_one_piece_and_a_wider_window_begins_with_ten() {
    assert_eq!(leaves(&mut begun(10, 1428), 0, 1), [(0, 10)]);
    let bursts = leaves(&mut begun(11, 1428), 0, 1);
    assert_eq!(bursts, [(0, 10), (500, 1)]);
    // A block of 65,464 bytes is 45 packets, so none leaves with another.
    assert_eq!(leaves(&mut begun(2, 65464), 0, 1), [(0, 1), (2250, 1)]);
}

#[test]
fn windows_that_arrive_leave_twice_as_fast_until_they_leave_in_one_piece() {
    let pace = &mut begun(64, 1428);
    assert_eq!(spans(pace, 5), [2750, 1250, 561, 279, 0]);
}

#[test]
fn a_burst_is_short_enough_for_its_front_to_arrive_until_a_window_leaves_in_one_piece() {
    let mut pace = begun(64, 1428);
    let mut longest = |windows| {
        spans(&mut pace, windows);
        let bursts = leaves(&mut pace.clone(), 20_000, 1000);
        bursts.iter().map(|(_, count)| *count).max()
    };
    assert_eq!([longest(0), longest(2), longest(1), longest(1)], [10, 15, 15, 64].map(Some));
}

#[test]
fn what_fills_a_gap_waits_only_where_a_buffer_may_have_overflowed() {
    // Nine of ten blocks arrived, as fast as they left or a hundred times slower.
    for (at, due) in [(1200, 0), (10_000, 10_000)] {
        let mut pace = begun(64, 1428);
        pace.measure(us(0), BlockNumber(1));
        pace.left(us(0), 10);
        let gap = Gap { base: BlockNumber(10), under_way: 1, again_from: BlockNumber(11) };
        pace.gap(us(at), gap, Some(TRIPS));
        assert_eq!(pace.due() > us(at), due > 0, "{:?}", pace.due());
    }
}

#[test]
fn blocks_leave_as_they_arrived_before_the_gap_where_they_waited_on_the_path() {
    // A window left in one piece, of which 40 blocks arrived, in 4 ms.
    let mut pace = begun(64, 1428);
    spans(&mut pace, 6);
    assert_eq!(leaves(&mut pace, 20_000, 1000), [(20_000, 64)]);
    let base = BlockNumber(1040);
    let gap = Gap { base, under_way: 24, again_from: base };
    pace.gap(us(25_100), gap, Some(TRIPS));
    assert_eq!(pace.spacing / 1000, 114, "100 us and a seventh, so that the buffer empties");
    assert_eq!(pace.limit.map(|limit| limit / 1000), Some(100));
    assert!(pace.due() > us(25_100), "half of what fills the buffer goes first");
}

#[test]
fn who_arrives_as_fast_as_it_leaves_is_not_slowed_by_a_loss() {
    let mut pace = begun(64, 1428);
    leaves(&mut pace, 0, 1);
    let (before, base) = (pace.spacing, BlockNumber(31));
    // The 30th block left 1 ms after the first, and a round trip later there is an answer.
    let gap = Gap { base, under_way: 34, again_from: BlockNumber(65) };
    pace.gap(us(2000 + 31), gap, Some(TRIPS));
    assert!(pace.spacing <= before && pace.limit.is_none());
}

#[test]
fn a_tail_that_is_lost_slows_and_after_many_blocks_without_loss_more_is_tried() {
    let mut pace = begun(64, 1428);
    spans(&mut pace, 6);
    leaves(&mut pace, 20_000, 1000);
    let base = BlockNumber(1040);
    let gap = Gap { base, under_way: 24, again_from: base };
    pace.tail_lost(us(31_000), gap, TIMED_OUT, Some(TRIPS));
    let slowed = pace.limit.expect("a limit");
    assert!(slowed > 0 && pace.spacing >= slowed);
    let windows = |pace: &mut Pace, count| {
        spans(pace, count);
        pace.spacing
    };
    let (before, failed) = (windows(&mut pace, HOLD / 64), pace.failed);
    let tried: Vec<u64> = (0..80).map(|_| windows(&mut pace, 1)).collect();
    assert!(tried[11] < before, "it was not tried");
    assert!(tried.iter().all(|spacing| *spacing > failed), "{failed} ns have failed: {tried:?}");
    let slowest = failed + failed / 10;
    assert!(tried[79] < slowest, "{tried:?} come not near to what failed, {failed} ns");
    assert!(pace.hold > LONGEST_HOLD / 2, "what has failed is not tried again before long");
}

/// Windows of 64 blocks that leave by 100 us, of which so many arrived whole.
fn held(windows: u64) -> Pace {
    let mut pace = begun(64, 1428);
    pace.slow(100_000, 100_000);
    spans(&mut pace, windows);
    pace
}

#[test]
fn where_a_gap_was_measured_and_the_first_of_a_lost_tail_is_missing_the_pace_is_halved() {
    let slowed = |limit, arrived: u64| {
        let mut pace = begun(64, 1428);
        (pace.spacing, pace.limit) = (100_000, limit);
        leaves(&mut pace, 10_000, 1000);
        let base = BlockNumber(1000 + arrived);
        let gap = Gap { base, under_way: 64 - arrived, again_from: base };
        pace.tail_lost(us(40_000), gap, TIMED_OUT, Some(TRIPS));
        pace.spacing / 1000
    };
    let measured = Some(100_000);
    assert_eq!([slowed(measured, 0), slowed(measured, 1), slowed(None, 0)], [200, 800, 800]);
}

/// The spacing and the limit in microseconds after one more window, of which 40 blocks arrived in 8 ms.
fn after_a_gap(mut pace: Pace) -> (u64, u64) {
    leaves(&mut pace, 1_000_000, 1000);
    let base = BlockNumber(1040);
    let gap = Gap { base, under_way: 24, again_from: base };
    pace.gap(us(1_009_200), gap, Some(TRIPS));
    (pace.spacing / 1000, pace.limit.expect("a limit") / 1000)
}

#[test]
fn a_pace_that_held_is_not_far_wrong() {
    assert_eq!(
        after_a_gap(held(0)),
        (228, 200),
        "nothing came whole: what was measured is the limit"
    );
    assert_eq!(after_a_gap(held(1)), (128, 112), "an eighth slower");
    let after_a_last_block = |mut pace: Pace| {
        pace.last_lost();
        pace.spacing / 1000
    };
    assert_eq!([0, 1].map(|windows| after_a_last_block(held(windows))), [150, 112]);
}

#[test]
fn what_left_before_at_another_pace_and_is_missing_slows_nothing() {
    let missing = |pace: &mut Pace| {
        for base in 1..20 {
            let gap = Gap { base: BlockNumber(base), under_way: 40, again_from: BlockNumber(64) };
            pace.gap(us(1000 * base), gap, Some(TRIPS));
        }
        pace.spacing / 1000
    };
    assert!(missing(&mut held(0)) > 100);
    let mut pace = held(0);
    pace.forget_before(BlockNumber(20));
    assert_eq!(missing(&mut pace), 100);
}

#[test]
fn what_held_is_about_the_limit_where_less_was_tried_in_vain() {
    let pace = held(HOLD / 64 + 1);
    assert!(pace.spacing < 100_000, "less is tried");
    assert_eq!(after_a_gap(pace), (128, 112));
}

/// Of a window of which so many blocks arrived, the probe that left after 11 ms brought an answer this much later.
fn tail_lost(arrived: u64, after: u64) -> Pace {
    tail_lost_behind(false, arrived, after)
}

/// The same behind a window whose last block was lost.
fn tail_lost_behind(last_was_lost: bool, arrived: u64, after: u64) -> Pace {
    let mut pace = begun(64, 1428);
    leaves(&mut pace, 0, 1);
    pace.acknowledged(false);
    pace.acknowledged(last_was_lost);
    let base = BlockNumber(1 + arrived);
    let gap = Gap { base, under_way: 64 - arrived, again_from: base };
    let silence = Silence { probed_at: Some(us(11_000)) };
    pace.tail_lost(us(11_000 + after), gap, silence, Some(TRIPS));
    pace
}

#[test]
fn how_long_a_probe_waited_tells_how_fast_what_arrived_of_a_lost_tail_did() {
    // 15 blocks and the probe in 16 ms, a round trip later.
    let pace = tail_lost(15, 6000);
    assert_eq!(pace.limit, Some(1_000_000), "a block in a millisecond");
    assert_eq!(pace.spacing / 1000, 1142, "and a seventh, so that the buffer empties");
    // Behind less than two blocks the path may have paused; the next window tells.
    let spacing = |pace: &Pace| (pace.spacing / 1000, pace.limit.map(|limit| limit / 1000));
    assert_eq!(spacing(&tail_lost(15, 1100)), (792, Some(75)));
    // It hardly waited, or too few blocks arrived: that is no measure.
    for (arrived, after) in [(15, 1080), (3, 6000)] {
        assert_eq!(spacing(&tail_lost(arrived, after)), (400, Some(75)), "{arrived} {after}");
    }
    assert_eq!(spacing(&tail_lost(4, 6000)).0, 3657);
    // What comes late of the window before says nothing of how this one arrived.
    assert_eq!(tail_lost_behind(true, 15, 6000).limit, pace.limit);
}

#[test]
fn what_was_lost_before_a_pace_was_slowed_slows_it_no_further() {
    let mut pace = begun(64, 1428);
    pace.acknowledged(false);
    pace.acknowledged(true);
    let slowed = pace.spacing;
    pace.acknowledged(true);
    assert_eq!(pace.spacing, slowed, "that window had left before");
    pace.acknowledged(true);
    assert!(pace.spacing > slowed, "this one had not");
}

#[test]
fn one_loss_makes_no_pace_slower_than_a_packet_in_four_milliseconds_and_none_slower_than_one_in_eight()
 {
    for block in [1428, 65_464] {
        let mut pace = begun(64, block);
        for n in 0..40 {
            let before = pace.spacing;
            leaves(&mut pace, 2_000_000 * n, 1 + 64 * n);
            let base = BlockNumber(2 + 64 * n);
            let gap = Gap { base, under_way: 1, again_from: base };
            pace.tail_lost(us(2_000_000 * n + 1_900_000), gap, TIMED_OUT, Some(TRIPS));
            assert!(pace.spacing <= (2 * before).max(pace.packets * SLOW), "{before} {pace:?}");
        }
        assert_eq!(pace.spacing, pace.packets * SLOWEST);
    }
}

#[test]
fn silence_that_comes_again_and_again_slows_a_pace_however_slow_it_is() {
    let mut pace = begun(64, 1428);
    pace.slow(120_000, 120_000);
    let mut spacing = || {
        pace.last_lost();
        pace.spacing / 1000
    };
    // 10 ms for a window of 64 are 156 us for a block.
    assert_eq!([(); 3].map(|()| spacing()), [156, 175, 197]);
}

#[test]
fn of_blocks_in_several_packets_each_the_pace_lies_between_what_lost_some_and_what_did_not() {
    let lost = |pace: &mut Pace| {
        pace.slow(4_000_000, 4_000_000);
        (pace.spacing / 1000, pace.limit.map(|limit| limit / 1000))
    };
    let at_1_ms = |block| {
        let mut pace = begun(16, block);
        pace.spacing = 1_000_000;
        pace
    };
    let pace = &mut at_1_ms(16_384);
    assert_eq!(lost(pace), (4000, Some(1500)), "what it was seen to need is too much");
    let mut whole = || {
        pace.kept_up(16);
        pace.spacing / 1000
    };
    assert_eq!([(); 2].map(|()| whole()), [2000, 1500]);
    // A window arrived whole by 2 ms.
    assert_eq!(lost(pace), (1750, Some(1750)));
    assert_eq!(lost(pace), (1875, Some(1875)));
    pace.held = pace.spacing;
    assert_eq!(lost(pace), (4000, Some(2812)), "the path is no longer what it was");
    assert_eq!(lost(&mut at_1_ms(1428)), (4000, Some(4000)), "in one packet each");
}

#[test]
fn what_arrives_without_loss_before_more_is_tried_is_counted_in_packets() {
    let hold = |block| {
        let mut pace = begun(16, block);
        pace.slow(1_000_000, 1_000_000);
        pace.limit = Some(pace.spacing);
        pace.kept_up(16);
        pace.hold
    };
    assert_eq!([1428, 8192].map(hold), [HOLD - 16, HOLD - 16 * 6]);
}

#[test]
fn a_block_of_more_packets_than_a_burst_waits_until_the_probe_has_left_the_buffer() {
    let waits = |packets| {
        let bytes = packets * BlockSize::ETHERNET.packet_bytes() - 4;
        let mut pace = begun(64, u16::try_from(bytes).expect("a size"));
        leaves(&mut pace, 0, 1);
        let gap = Gap { base: BlockNumber(2), under_way: 63, again_from: BlockNumber(2) };
        pace.tail_lost(us(200_000), gap, TIMED_OUT, Some(TRIPS));
        (pace.due() - us(200_000), Duration::from_nanos(pace.spacing))
    };
    assert_eq!(waits(10).0, Duration::ZERO);
    let (waited, spacing) = waits(11);
    assert!(waited > Duration::ZERO && spacing - waited < Duration::from_micros(1), "{waited:?}");
}

#[test]
fn behind_a_gap_half_of_a_burst_may_go_first_and_two_blocks_of_several_packets() {
    for (block, blocks) in [(1428, 5), (16_384, 2)] {
        let mut pace = begun(64, block);
        pace.slow(1_000_000, 1_000_000);
        let gap = Gap { base: BlockNumber(1), under_way: 60, again_from: BlockNumber(1) };
        pace.gap(us(50_000), gap, None);
        assert_eq!(pace.due() - us(50_000), Duration::from_millis(blocks), "{block}");
    }
}
