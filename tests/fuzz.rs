//! What fuzzing begins with, and what it found, held to what must hold whatever comes. `tests/fuzz/run` finds more.

#[path = "fuzz/harness/mod.rs"]
mod harness;

use harness::{TARGETS, Target};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn tried(target: &Target, inputs: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<String> {
    let breaks = |input: &[u8]| catch_unwind(|| (target.check)(input)).is_err();
    inputs
        .filter(|(_, input)| breaks(input))
        .map(|(name, _)| format!("{} {name}", target.name))
        .collect()
}

#[test]
fn nothing_that_fuzzing_begins_with_breaks_a_promise() {
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() >= 50, "{}: only {} seeds", target.name, seeds.len());
        let seeds = seeds.into_iter().enumerate().map(|(n, seed)| (n.to_string(), seed));
        assert_eq!(tried(target, seeds), [""; 0]);
    }
}

/// `fixtures/fuzz` has a folder for each target that ever failed.
#[test]
fn nothing_that_fuzzing_found_breaks_a_promise_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the fixtures are there");
        entries.map(|entry| entry.expect("a readable folder").path()).collect()
    };
    for folder in entries(&folder) {
        let name = folder.file_name().unwrap_or_default();
        let target = TARGETS.iter().find(|target| name == target.name).expect("a target's folder");
        let found = entries(&folder).into_iter();
        let inputs = found
            .map(|path| (path.display().to_string(), fs::read(&path).expect("a readable file")));
        assert_eq!(tried(target, inputs), [""; 0]);
    }
}
