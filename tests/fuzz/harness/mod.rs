//! What is fuzzed, and what must hold whatever comes.
//!
//! The fuzzer in `tests/fuzz` and the test in `tests/fuzz.rs` share it: what the fuzzer found is replayed by the
//! test ever after.

mod dialogue;
mod fixtures;
mod input;
mod listing;
mod options;
mod packet;
mod remote;
mod side;

/// Something that takes bytes.
pub(crate) struct Target {
    /// Its name, and that of the folder with what was found.
    pub(crate) name: &'static str,
    /// Panics where a promise is broken.
    pub(crate) check: fn(&[u8]),
    /// Where the fuzzer begins.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub(crate) const TARGETS: [Target; 5] = [
    Target { name: "packet", check: packet::check, seeds: packet::seeds },
    Target { name: "options", check: options::check, seeds: options::seeds },
    Target { name: "dialogue", check: dialogue::check, seeds: dialogue::seeds },
    Target { name: "listing", check: listing::check, seeds: listing::seeds },
    Target { name: "remote", check: remote::check, seeds: remote::seeds },
];
