//! A transfer allocates at its start and never again.

#[path = "common/pair.rs"]
mod pair;

use allocation_counter::{AllocationInfo, measure};
use pair::{Pair, text};
use tftpkit::wire::Mode;

/// What is allocated between the second window and the end.
fn after_the_start(mode: Mode, block_size: u16, window: u16) -> AllocationInfo {
    let wide = usize::from(block_size) * usize::from(window);
    let file = text(100 * wide + 1);
    let mut pair = Pair::new(&file, mode, block_size, window);
    while pair.client.summary().bytes < 2 * wide as u64 {
        assert!(pair.round());
    }
    let mut bytes = 0;
    let allocated = measure(|| bytes = pair.finish());
    assert!(bytes >= file.len() as u64, "all of it travelled");
    allocated
}

#[test]
fn no_block_costs_an_allocation() {
    for mode in [Mode::Octet, Mode::Netascii] {
        for (block_size, window) in [(512, 1), (8, 1), (1428, 1), (512, 16), (1428, 64)] {
            let allocated = after_the_start(mode, block_size, window);
            assert_eq!(allocated.count_total, 0, "{mode:?} {block_size}/{window}: {allocated:?}");
        }
    }
}

#[test]
fn the_counter_sees_what_a_start_allocates() {
    let file = text(10_000);
    let allocated = measure(|| {
        Pair::new(&file, Mode::Octet, 512, 4).finish();
    });
    assert!(allocated.count_total > 0);
}
