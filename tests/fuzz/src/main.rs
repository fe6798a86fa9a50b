//! A fuzzer for all targets: `FUZZ_TARGET` names the one that is run. `tests/fuzz/run` builds and starts it.

#![no_main]

#[path = "../harness/mod.rs"]
mod harness;

use harness::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

/// The target that was asked for; its seeds are written where `FUZZ_SEEDS` says.
fn target() -> &'static Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    let target = found.unwrap_or_else(|| panic!("FUZZ_TARGET='{name}' is no target"));
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (n, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(n.to_string()), seed)
                .expect("FUZZ_SEEDS is a folder");
        }
    }
    target
}

fuzz_target!(
    init: {
        TARGET.get_or_init(target);
    },
    |input: &[u8]| (TARGET.get_or_init(target).check)(input)
);
