//! Holds the modules to their order: who may import whom, who may ask the time, who may open a socket.
//!
//! Its map is the head of `src/lib.rs`. It reads the sources as text, comments and strings taken out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The top-level modules of the library from the bottom up, and what each may import besides itself.
const MODULES: [(&str, &[&str]); 10] = [
    ("wire", &[]),
    ("limits", &[]),
    ("proto", &["wire", "limits"]),
    ("rate", &["proto"]),
    ("transfer", &["wire", "limits", "proto"]),
    ("query", &["wire"]),
    ("net", &["wire", "limits", "proto", "transfer"]),
    ("store", &["wire", "limits", "query", "transfer"]),
    ("server", &["wire", "limits", "proto", "rate", "transfer", "query", "net", "store"]),
    ("client", &["wire", "limits", "proto", "transfer", "net", "store"]),
];

/// Lines of a file, its tests included.
const MOST_LINES: usize = 600;

struct Source {
    /// Relative to the package, with slashes.
    path: String,
    lines: usize,
    /// What the compiler sees: no comments, no contents of strings.
    code: String,
}

impl Source {
    /// The top-level module it belongs to; `bin` for a program, nothing for `lib.rs`.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let module = inside.split_once('/').map_or(inside, |(module, _)| module);
        Some(module.strip_suffix(".rs").unwrap_or(module)).filter(|module| *module != "lib")
    }

    /// How many modules deep it is within its top-level module: 0 for that module's own `mod.rs`.
    fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        let parts = inside.split('/').filter(|part| *part != "mod.rs").count();
        parts.saturating_sub(1)
    }

    /// The top-level modules that it names.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let to_the_top = "super::".repeat(self.depth() + 1);
        for way in ["crate::", &to_the_top] {
            for (at, _) in self.code.match_indices(way) {
                let before = self.code[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    found.extend(first_words(&self.code[at + way.len()..]));
                }
            }
        }
        found
    }
}

/// The first words behind `crate::`: one, or several in braces.
fn first_words(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut words, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                words.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' {
            if depth == 0 {
                break;
            }
            depth -= 1;
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Takes out comments and the contents of strings and characters.
fn bare(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let opened = rest[1 + hashes..].starts_with('"');
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[2 + hashes..].find(&close).filter(|_| opened);
            end.map_or(0, |end| 2 + hashes + end + close.len())
        } else if c == '"' {
            string_len(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            rest = &rest[skipped..];
        }
    }
    out
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let (inner, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
        folders.extend(inner);
        for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
            let text = std::fs::read_to_string(&path).expect("a source");
            let path = path.strip_prefix(root).expect("within the package");
            let path = path.to_str().expect("UTF-8").to_owned();
            found.push(Source { path, lines: text.lines().count(), code: bare(&text) });
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The files of `folder` that have one of these words, beyond those that may.
fn with_word(folder: &str, words: &[&str], may: impl Fn(&Source) -> bool) -> Vec<String> {
    let has = |source: &Source| {
        words
            .iter()
            .filter(|word| source.code.contains(**word))
            .map(|word| (*word).to_owned())
            .collect()
    };
    let found = sources(folder).into_iter().filter(|source| !may(source));
    found
        .flat_map(|source| {
            let words: Vec<String> = has(&source);
            words.into_iter().map(move |word| format!("{}: {word}", source.path))
        })
        .collect()
}

const NONE: [String; 0] = [];

#[test]
fn every_module_of_the_library_has_its_place() {
    let modules: BTreeSet<String> =
        sources("src").iter().filter_map(|s| s.module().map(str::to_owned)).collect();
    let mut known: BTreeSet<String> =
        MODULES.iter().map(|(module, _)| (*module).to_owned()).collect();
    known.insert("bin".into());
    assert_eq!(modules, known);
}

#[test]
fn the_crates_docs_have_the_same_modules_in_the_same_order() {
    let known: Vec<_> = MODULES.iter().map(|(module, _)| *module).collect();
    // A private module has no link.
    let docs = include_str!("../src/lib.rs").replace(['[', ']'], "");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` | "));
    assert_eq!(rows.map(|(module, _)| module).collect::<Vec<_>>(), known);
}

#[test]
fn each_module_with_code_has_tests_that_notice_its_mutants() {
    let script = include_str!("mutants");
    let all = script.lines().find_map(|line| line.strip_prefix("for folder in ${folders:-"));
    let known: BTreeSet<&str> =
        all.and_then(|all| all.split('}').next()).expect("all folders").split(' ').collect();
    let modules = MODULES.iter().map(|(module, _)| *module).filter(|module| *module != "limits");
    assert_eq!(known, modules.chain(["rtftpd", "rtftp"]).collect());
}

#[test]
fn a_module_imports_only_from_those_below() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some((module, below)) =
            MODULES.iter().find(|(module, _)| Some(*module) == source.module())
        else {
            continue;
        };
        for import in source.imports() {
            let is_ours = MODULES.iter().any(|(other, _)| *other == import) || import == "bin";
            if is_ours && import != *module && !below.contains(&import.as_str()) {
                wrong.push(format!("{}: {import}", source.path));
            }
        }
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn the_library_never_names_itself_by_its_own_name_and_the_programs_do() {
    let outside = with_word("src", &["tftpkit::"], |source| source.module() == Some("bin"));
    assert_eq!(outside, NONE);
    let programs: BTreeSet<String> = sources("src/bin")
        .iter()
        .filter(|source| source.code.contains("tftpkit::"))
        .filter_map(|source| source.path.split('/').nth(2).map(str::to_owned))
        .collect();
    assert_eq!(programs, ["rtftp".into(), "rtftpd".into()].into());
}

#[test]
fn anyhow_is_for_the_programs_only() {
    assert_eq!(with_word("src", &["anyhow"], |source| source.module() == Some("bin")), NONE);
}

/// What is above it runs in virtual time, too.
#[test]
fn only_two_files_of_the_library_ask_what_time_it_is_and_make_sockets() {
    let words = [
        "Instant::now",
        "SystemTime::now",
        ".elapsed()",
        "thread::sleep",
        "UdpSocket",
        "socket2",
        "nix::sys",
        "rand::random",
    ];
    let tests_aside = |path: &str| {
        matches!(
            path,
            "src/net/kernel/tests.rs"
                | "src/net/threads.rs"
                | "src/net/workers.rs"
                | "src/server/entry.rs"
                | "src/server/process/carry/tests.rs"
                | "src/client/tests.rs"
        )
    };
    let may = |source: &Source| {
        // What the kernel knows of clients is no part of a system that can be simulated: policies ask it by a closure.
        let kernel = matches!(source.path.as_str(), "src/net/kernel.rs" | "src/net/neighbours.rs");
        kernel
            || source.module() == Some("bin")
            || source.module() == Some("store")
            || tests_aside(&source.path)
    };
    assert_eq!(with_word("src", &words, may), NONE);
}

/// Somebody may set that clock while files travel.
#[test]
fn the_time_of_day_is_for_listings_names_of_uploads_and_log_lines_only() {
    let may = |source: &Source| matches!(source.module(), Some("store" | "bin"));
    let clocks = ["SystemTime", "Realtime", "CLOCK_REALTIME", "UNIX_EPOCH"];
    assert_eq!(with_word("src", &clocks, may), NONE);
    let may_ask = |source: &Source| {
        matches!(
            source.path.as_str(),
            "src/store/naming.rs"
                | "src/bin/rtftpd/short.rs"
                | "src/bin/rtftpd/events.rs"
                | "src/bin/rtftpd/tap/capture.rs"
        )
    };
    let now = ["SystemTime::now", "Zoned::now", "Timestamp::now"];
    assert_eq!(with_word("src", &now, may_ask), NONE);
}

#[test]
fn the_protocol_knows_no_sockets_no_files_and_no_threads() {
    let words = [
        "std::net",
        "core::net",
        "socket2",
        "nix::",
        "rustix",
        "std::fs",
        "cap_std",
        "std::thread",
    ];
    let may = |source: &Source| {
        !matches!(source.module(), Some("wire" | "limits" | "proto" | "rate" | "transfer"))
    };
    assert_eq!(with_word("src", &words, may), NONE);
    let pure =
        |source: &Source| !matches!(source.module(), Some("wire" | "limits" | "proto" | "rate"));
    assert_eq!(with_word("src", &["std::io", "std::time"], pure), NONE);
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    let all = ["src", "tests", "examples"].into_iter().flat_map(sources);
    let long = all.filter(|source| source.lines > MOST_LINES);
    let long: Vec<_> = long.map(|source| format!("{}: {}", source.path, source.lines)).collect();
    assert_eq!(long, NONE);
}

#[test]
fn nothing_is_unsafe_unfinished_or_left_out_and_no_test_sleeps() {
    let words = ["unsafe ", "todo!", "unimplemented!", "dbg!", "#[ignore", "static mut"];
    assert_eq!(with_word("src", &words, |_| false), NONE);
    assert_eq!(with_word("tests", &words, |_| false), NONE);
    assert_eq!(with_word("tests", &["sleep("], |_| false), NONE);
    assert_eq!(with_word("examples", &words, |_| false), NONE);
    assert_eq!(with_word("examples", &["sleep(", ".unwrap()", ".expect("], |_| false), NONE);
}

#[test]
fn each_kind_of_test_has_its_row() {
    let page = include_str!("README.md");
    let files = sources("tests").into_iter().map(|source| source.path);
    let names = files.filter_map(|path| path.strip_prefix("tests/").map(str::to_owned));
    let tests = names.filter(|name| !name.contains('/'));
    let without: Vec<_> = tests.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert_eq!(without, NONE);
}

#[test]
fn this_reader_of_sources_sees_what_it_should() {
    let source = |path: &str, text: &str| Source { path: path.into(), lines: 1, code: bare(text) };
    let imports = |path: &str, text: &str| -> Vec<String> {
        source(path, text).imports().into_iter().collect()
    };
    let file = "src/net/socket.rs";
    assert_eq!(
        imports(file, "use crate::wire::Packet; let x = crate::proto::Time;"),
        ["proto", "wire"]
    );
    assert_eq!(
        imports(file, "use crate::{limits, store::{Name, Store}, wire};"),
        ["limits", "store", "wire"]
    );
    assert_eq!(imports(file, "// crate::store\n/* crate::store */ \"crate::store\""), NONE);
    assert_eq!(imports(file, "use super::drive::Clock; use super::super::store::Name;"), ["store"]);
    assert_eq!(imports("src/net/mod.rs", "use super::store::Name;"), ["store"]);
    assert_eq!(imports("src/event.rs", "use super::store::Name;"), ["store"]);
    assert_eq!(bare("a '\"' b r#\"c \" d\"# e \"f \\\" g\" h"), "a  b  e  h");
    assert_eq!((source(file, "").module(), source("src/lib.rs", "").module()), (Some("net"), None));
    assert_eq!(source("src/limits.rs", "").module(), Some("limits"));
}
