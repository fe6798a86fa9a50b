//! The fixtures as what the fuzzer begins with.

#[path = "../../timelines/script.rs"]
#[allow(dead_code, reason = "how a dialogue must go on is for tests/timelines.rs")]
pub(super) mod script;

use script::Script;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The fuzzer's package lies two folders below the one that it tests.
    let root = here.ancestors().find(|folder| folder.join("fixtures").is_dir());
    root.expect("the fixtures are there").join("fixtures")
}

fn files(name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder().join(name)).expect("the fixtures are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("a readable file")).collect()
}

/// The packets of `fixtures/packets`.
pub(super) fn packets() -> Vec<Vec<u8>> {
    let octet = |hex| u8::from_str_radix(hex, 16).expect("two hexadecimal digits");
    files("packets")
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("hex:"))
        .map(|hex| hex.split_whitespace().map(octet).collect())
        .collect()
}

/// The dialogues of `fixtures/timelines`.
pub(super) fn timelines() -> Vec<Script> {
    files("timelines").iter().map(|text| Script::parse(text).expect("a dialogue")).collect()
}

/// The lines of `fixtures/names.txt` and `fixtures/refused.txt`, as they stand there.
pub(super) fn names() -> Vec<String> {
    let text = ["names.txt", "refused.txt"]
        .map(|name| fs::read_to_string(folder().join(name)).expect("a readable file"));
    text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}
