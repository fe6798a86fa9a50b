//! Names as they are typed in the menu: words of a line, paths below a directory, wildcards, `~`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The word at the end of a line that is not finished: where it begins, and what it is without its quotes.
pub(super) fn last_word(line: &str) -> (usize, String) {
    let (mut start, mut word, mut quote) = (0, String::new(), None);
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t') => (start, word) = (at + 1, String::new()),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.extend(chars.next().map(|(_, c)| c)),
            (_, c) => word.push(c),
        }
    }
    (start, word)
}

/// The name that `word` means in `directory`: below it, above it, or from the root where it begins with a slash. What
/// has no parts that mean a direction stays as it is, for on some servers names are no paths.
pub(super) fn joined(directory: &[u8], word: &[u8]) -> Vec<u8> {
    let is_direction = |part: &[u8]| matches!(part, b"." | b"..");
    let is_from_root = word.starts_with(b"/");
    let has_direction = word.split(|byte| *byte == b'/').any(is_direction);
    if (directory.is_empty() || is_from_root) && !has_direction {
        return word.to_vec();
    }
    let base = if is_from_root { &b"/"[..] } else { directory };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in base.split(|byte| *byte == b'/').chain(word.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut name = if base.starts_with(b"/") { b"/".to_vec() } else { Vec::new() };
    name.extend(parts.join(&b'/'));
    if word.ends_with(b"/") && !parts.is_empty() {
        name.push(b'/');
    }
    if name == b"/" { Vec::new() } else { name }
}

/// Whether a word is a pattern: `*`, `?` and `[` are in it.
pub(super) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// Whether a name fits a pattern, as a shell has it: what is hidden must be meant.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    (!name.starts_with(b".") || pattern.starts_with(b".")) && fits_rest(pattern, name)
}

fn fits_rest(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut again) = (0, 0, None);
    while n < name.len() {
        let one = match pattern.get(p) {
            Some(b'*') => {
                again = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => one_of(&pattern[p..], name[n]),
            Some(byte) => (*byte == name[n]).then_some(1),
            None => None,
        };
        match (one, &mut again) {
            (Some(len), _) => (p, n) = (p + len, n + 1),
            // The last star takes one more.
            (None, Some((star, taken))) => {
                *taken += 1;
                (p, n) = (*star + 1, *taken);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the set in brackets that a pattern begins with, where it has this byte. A bracket that is not closed is
/// itself.
fn one_of(pattern: &[u8], byte: u8) -> Option<usize> {
    let is_not = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if is_not { 2 } else { 1 };
    // The first of a set is in it, a closing bracket too.
    let end = pattern.iter().skip(start + 1).position(|end| *end == b']');
    let Some(end) = end.map(|end| start + 1 + end) else {
        return (byte == b'[').then_some(1);
    };
    let set = &pattern[start..end];
    let mut has = set.contains(&byte);
    for range in set.windows(3).filter(|range| range[1] == b'-') {
        has |= (range[0]..=range[2]).contains(&byte);
    }
    (has != is_not).then_some(end + 1)
}

/// A file of this machine as it was typed: `~` is the home of whoever types.
pub(super) fn local(word: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match (word.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => word.into(),
    }
}

/// The files of this machine that fit a pattern, in order.
pub(super) fn local_files(pattern: &str) -> Vec<PathBuf> {
    let pattern = local(pattern);
    let Some(last) = pattern.file_name() else { return Vec::new() };
    let parent = pattern.parent().filter(|parent| !parent.as_os_str().is_empty());
    let names = std::fs::read_dir(parent.unwrap_or_else(|| Path::new(".")));
    let names = names.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let fitting = names.filter(|name| fits(last.as_encoded_bytes(), name.as_encoded_bytes()));
    let whole =
        |name: OsString| parent.map_or_else(|| name.clone().into(), |parent| parent.join(&name));
    let mut files: Vec<PathBuf> =
        fitting.map(whole).filter(|path: &PathBuf| path.is_file()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_at_the_end_of_a_line_is_found_behind_quotes_and_blanks() {
        let cases = [
            ("get fi", (4, "fi")),
            ("get ", (4, "")),
            ("get 'a b", (4, "a b")),
            ("get \"a b/c", (4, "a b/c")),
            ("get a\\ b", (4, "a b")),
            ("get 'a b' c", (10, "c")),
            ("get 'my dir/'x", (4, "my dir/x")),
            ("get\tfi", (4, "fi")),
            // A backslash is itself in single quotes, and takes the next quote in double ones.
            ("get 'a\\b", (4, "a\\b")),
            ("get \"a\\\" b", (4, "a\" b")),
            ("get 'a\" b", (4, "a\" b")),
            ("", (0, "")),
        ];
        for (line, (start, word)) in cases {
            assert_eq!(last_word(line), (start, word.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_name_is_below_its_directory_above_it_or_from_the_root() {
        let name = |directory: &str, word: &str| {
            String::from_utf8(joined(directory.as_bytes(), word.as_bytes())).expect("text")
        };
        let cases = [
            ("", "a", "a"),
            ("", "flash:/a//b", "flash:/a//b"),
            ("", "/a", "/a"),
            ("", "../a", "a"),
            ("sub", "a", "sub/a"),
            ("sub", "a/b/", "sub/a/b/"),
            ("sub", "..", ""),
            ("sub/deep", "..", "sub"),
            ("sub/deep", "../x", "sub/x"),
            ("sub", "../../../x", "x"),
            ("sub", ".", "sub"),
            ("sub", "/", "/"),
            ("sub", "/x", "/x"),
            ("/abs/deep", "..", "/abs"),
            ("/abs", "..", ""),
            ("/abs", "../", ""),
            ("/abs", "a/./b/", "/abs/a/b/"),
            ("sub", "../", ""),
            ("sub", "/a/../b", "/b"),
        ];
        for (directory, word, expected) in cases {
            assert_eq!(name(directory, word), expected, "{word} in {directory}");
        }
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        let fit = |pattern: &str, name: &str| fits(pattern.as_bytes(), name.as_bytes());
        for (pattern, name) in [
            ("*", "a"),
            ("*.cfg", "sw.cfg"),
            ("sw-0?.c*g", "sw-01.cfg"),
            ("*a*b*", "xxaxxbxx"),
            ("[a-c]1", "b1"),
            ("[!a-c]1", "d1"),
            ("[^a-c]1", "d1"),
            ("[a-c]1", "a1"),
            ("[a-c]1", "c1"),
            ("[a-cx-z]1", "y1"),
            ("[a-]1", "-1"),
            ("a**", "a"),
            ("[]]", "]"),
            ("[!]a]1", "b1"),
            ("[!]", "[!]"),
            ("a[", "a["),
            ("*", "caf\u{e9}"),
            (".*", ".hidden"),
        ] {
            assert!(fit(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.cfg", "sw.cfg.old"),
            ("?", ""),
            ("?", "ab"),
            ("[a-c]1", "d1"),
            ("[^a-c]1", "c1"),
            ("[a-cx-z]1", "d1"),
            ("[a-]1", "b1"),
            ("?hidden", ".hidden"),
            ("[.]hidden", ".hidden"),
            ("[!]a]1", "]1"),
            ("[!]a]1", "a1"),
            ("[!]", "x"),
            ("*", ".hidden"),
            ("a*b", "a"),
            ("", "a"),
        ] {
            assert!(!fit(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_and_a_pattern_finds_files_alone() {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        assert_eq!([local("~"), local("~/a b")], [home.clone(), home.join("a b")]);
        assert_eq!([local("~other"), local("a~")], ["~other", "a~"].map(PathBuf::from));
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.cfg", "a.cfg", "c.txt", ".d.cfg"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(folder.path().join("e.cfg")).expect("a directory");
        let pattern = folder.path().join("*.cfg").display().to_string();
        assert_eq!(local_files(&pattern), ["a.cfg", "b.cfg"].map(|name| folder.path().join(name)));
        assert_eq!(local_files("Cargo.t?ml"), [PathBuf::from("Cargo.toml")]);
    }
}
