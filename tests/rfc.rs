//! The pages in `rfc/`: every requirement has a number and something that shows it. `rfc/README.md` has their
//! format. What `SECURITY.md` promises is shown, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One list item of a page.
struct Item {
    page: String,
    id: String,
    /// Its lines behind the id, joined by blanks; a tie begins a line of its own.
    text: String,
}

impl Item {
    /// What stands behind each `word` at the beginning of a tie.
    fn ties(&self, word: &str) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect()
    }

    fn wrong(&self, what: &str) -> String {
        format!("{}.md, {}: {what}", self.page, self.id)
    }
}

const SHOWN: &str = "Shown by:";
const EXCEPTION: &str = "Exception:";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The items of all pages, page by page in the order they stand there.
fn items() -> Vec<Item> {
    let mut pages: Vec<_> = fs::read_dir(root().join("rfc"))
        .expect("the pages are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.file_name().is_some_and(|name| name != "README.md"))
        .collect();
    pages.sort();
    pages
        .iter()
        .flat_map(|path| {
            let page = path.file_stem().unwrap_or_default().display().to_string();
            items_of(&page, &fs::read_to_string(path).expect("a readable page"))
        })
        .collect()
}

fn items_of(page: &str, text: &str) -> Vec<Item> {
    let (mut items, mut fenced, mut open) = (Vec::<Item>::new(), false, false);
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            open = false;
        } else if let Some((id, rest)) =
            line.strip_prefix("- **").and_then(|item| item.split_once("** "))
        {
            items.push(Item { page: page.into(), id: id.into(), text: rest.into() });
            open = true;
        } else if let (true, Some(more), Some(item)) =
            (open, line.strip_prefix("  "), items.last_mut())
        {
            let tie = more.starts_with(SHOWN) || more.starts_with(EXCEPTION);
            item.text.push(if tie { '\n' } else { ' ' });
            item.text.push_str(more);
        } else {
            open = false;
        }
    }
    items
}

fn requirements() -> Vec<Item> {
    items().into_iter().filter(|item| item.page != "exceptions").collect()
}

fn exceptions() -> Vec<Item> {
    items().into_iter().filter(|item| item.page == "exceptions").collect()
}

/// The references behind `Shown by:`, without their backquotes.
fn references(tie: &str) -> Option<Vec<&str>> {
    tie.split(',').map(|word| word.trim().strip_prefix('`')?.strip_suffix('`')).collect()
}

/// Whether a reference names something that is run: `FILE::TEST`, or a dialogue, of which `tests/timelines.rs` plays all.
fn exists(reference: &str) -> Result<(), String> {
    let Some((file, test)) = reference.split_once("::") else {
        let is_played = reference.strip_prefix("fixtures/timelines/").is_some_and(|dialogue| {
            dialogue.ends_with(".txt")
                && !dialogue.contains('/')
                && root().join(reference).is_file()
        });
        return if is_played { Ok(()) } else { Err(format!("there is no dialogue {reference}")) };
    };
    let text = fs::read_to_string(root().join(file)).map_err(|_| format!("there is no {file}"))?;
    match tests_of(&text).contains(test) {
        true => Ok(()),
        false => Err(format!("{file} has no test {test} that runs")),
    }
}

/// The functions of a source that are tests, and are run wherever it is compiled: `#[test]` is all that stands before
/// them, besides what they do when they panic.
fn tests_of(source: &str) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    let mut attributes = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
        } else if !line.starts_with("//") {
            let all = attributes.drain(..).filter(|one| !one.starts_with("#[should_panic"));
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('));
            if let (Some((name, _)), true) = (name, all.eq(["#[test]"])) {
                tests.insert(name);
            }
        }
    }
    tests
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn requirements_and_exceptions_are_numbered_without_gaps() {
    let mut next = BTreeMap::new();
    let mut wrong = Vec::new();
    for item in items() {
        let number: &mut u32 = next.entry(item.page.clone()).or_default();
        *number += 1;
        let wanted = match item.page.as_str() {
            "exceptions" => format!("E{number}"),
            page => format!("{page}-{number}"),
        };
        if item.id != wanted {
            wrong.push(item.wrong(&format!("{wanted} is next")));
        }
    }
    assert!(next.len() >= 10, "only {} pages", next.len());
    none(&wrong);
}

#[test]
fn every_requirement_has_one_tie() {
    let wrong: Vec<String> = requirements()
        .iter()
        .filter(|item| item.ties(SHOWN).len() + item.ties(EXCEPTION).len() != 1)
        .map(|item| item.wrong("it needs exactly one tie"))
        .collect();
    none(&wrong);
}

#[test]
fn every_requirement_is_shown_by_something_that_exists() {
    let mut wrong = Vec::new();
    for item in requirements() {
        for tie in item.ties(SHOWN) {
            match references(tie) {
                Some(all) => wrong.extend(
                    all.into_iter()
                        .filter(|reference| *reference != "TODO")
                        .filter_map(|reference| exists(reference).err())
                        .map(|why| item.wrong(&why)),
                ),
                None => wrong.push(item.wrong("references have backquotes, and commas between")),
            }
        }
    }
    none(&wrong);
}

#[test]
fn each_promise_about_security_names_tests_that_exist() {
    let page = include_str!("../SECURITY.md");
    let spans = |text: &'static str| text.split('`').skip(1).step_by(2);
    let tests =
        |text: &'static str| spans(text).filter(|span| span.contains("::")).collect::<Vec<_>>();
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1).collect::<Vec<_>>();
    assert!(rows.len() > 10, "{rows:?}");
    let unproven = rows.iter().filter(|row| {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        references(last).is_none_or(|all| all.is_empty())
    });
    let mut wrong: Vec<String> = unproven.map(|row| format!("nothing shows it: {row}")).collect();
    let of_programs = |test: &&str| test.contains(".rs::");
    let named = tests(page).into_iter().filter(of_programs);
    wrong.extend(named.filter_map(|reference| exists(reference).err()));
    none(&wrong);
}

#[test]
fn nothing_is_left_to_show() {
    let open: Vec<String> = requirements()
        .iter()
        .filter(|item| item.text.contains("`TODO`"))
        .map(|item| item.wrong("nothing shows it"))
        .collect();
    none(&open);
}

#[test]
fn every_exception_has_a_reason_and_a_requirement_that_names_it() {
    let all: BTreeSet<String> = exceptions().into_iter().map(|item| item.id).collect();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for item in requirements() {
        for tie in item.ties(EXCEPTION) {
            match tie.strip_suffix(" (exceptions.md)") {
                Some(id) if all.contains(id) => drop(used.insert(id.to_owned())),
                _ => wrong.push(item.wrong(&format!("there is no exception {tie}"))),
            }
        }
    }
    for item in exceptions() {
        if !used.contains(&item.id) {
            wrong.push(item.wrong("no requirement names it"));
        }
        if item.text.matches("Reason:").count() != 1 {
            wrong.push(item.wrong("it has no reason"));
        }
    }
    none(&wrong);
}

#[test]
fn only_what_runs_shows_anything() {
    let source = "
        fn helper() {}
        // #[test]
        // fn commented_out() {}
        #[test]
        fn runs() {
        #[test]
        #[should_panic(expected = \"so\")]
        /// Why.
        fn panics() {
        #[test]
        #[ignore]
        fn ignored() {
        #[test]
        #[cfg(any())]
        fn left_out() {
    ";
    assert_eq!(tests_of(source), ["panics", "runs"].into());
    for (reference, is_there) in [
        ("tests/rfc.rs::only_what_runs_shows_anything", true),
        ("tests/rfc.rs::tests_of", false),
        ("tests/none.rs::only_what_runs_shows_anything", false),
        ("fixtures/timelines/read-utimeout.txt", true),
        ("fixtures/timelines/none.txt", false),
        ("fixtures/names.txt", false),
    ] {
        assert_eq!(exists(reference).is_ok(), is_there, "{reference}");
    }
}
