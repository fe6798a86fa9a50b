//! Text for a terminal.

use indicatif::HumanBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::{Display, Write};
use std::io::{self, Write as _};
use tftpkit::store::{Entry, Kind, Listing};
use unicode_width::UnicodeWidthStr;

/// Escapes what a server's words could do to a terminal: control characters, and those that turn the direction of
/// writing or take no room.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e0fff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || invisible {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A line on standard error. Where that cannot be written there is nobody to tell.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The name of an entry, a directory with its slash.
pub(crate) fn shown(entry: &Entry) -> String {
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{}{slash}", harmless(&entry.name.to_string_lossy()))
}

/// Names, sizes and local times in columns; numbered for a menu.
pub(crate) fn table(listing: &Listing, numbered: bool) -> String {
    let names: Vec<String> = listing.entries.iter().map(shown).collect();
    let width = names.iter().map(|name| name.width()).max().unwrap_or_default();
    let digits = names.len().to_string().len();
    let mut out = String::new();
    for (n, (entry, name)) in listing.entries.iter().zip(&names).enumerate() {
        if numbered {
            let _ = write!(out, "{:>digits$}  ", n + 1);
        }
        let size = match entry.kind {
            Kind::File => HumanBytes(entry.size).to_string(),
            Kind::Directory => String::new(),
        };
        let padding = width - name.width();
        let _ = writeln!(out, "{name}{:padding$}  {size:>11}  {}", "", local_time(entry));
    }
    if listing.cut {
        out += "(there is more: the server cut the list)\n";
    }
    out
}

fn local_time(entry: &Entry) -> String {
    let time = Timestamp::try_from(entry.modified).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_cannot_drive_a_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\n\u{202e}c é"), "a\\u{1b}[2Jb\\n\\u{202e}c é");
    }
    #[test]
    fn what_is_invisible_or_turns_the_writing_is_told_and_letters_stay() {
        let mut hidden = vec!['\u{ad}', '\u{61c}', '\u{180e}', '\u{2028}', '\u{2029}', '\u{feff}'];
        for (first, last) in
            [(0x200b, 0x200f), (0x202a, 0x202e), (0x2060, 0x2069), (0xe0000, 0xe0fff)]
        {
            hidden.extend([first, last].map(|c| char::from_u32(c).expect("a character")));
        }
        for c in hidden {
            assert_eq!(harmless(&c.to_string()), c.escape_default().to_string());
        }
        let plain = "a b\u{2010}\u{2027}\u{202f}\u{2070}\u{1f600}\u{4e00}";
        assert_eq!(harmless(plain), plain);
    }

    #[test]
    fn a_list_has_columns_numbers_for_a_menu_and_is_said_to_be_cut() {
        let entry = |name: &str, kind, size| {
            let modified = std::time::UNIX_EPOCH;
            Entry { name: name.into(), kind, size, modified }
        };
        let entries = vec![
            entry("a", Kind::Directory, 0),
            // Each of these takes two places on a terminal.
            entry("\u{4e00}\u{4e00}", Kind::File, 2048),
        ];
        let time = local_time(&entries[0]);
        let lines =
            [format!("a/{:17}{time}\n", ""), format!("\u{4e00}\u{4e00}     2.00 KiB  {time}\n")];
        let mut listing = Listing { entries, cut: false };
        assert_eq!(table(&listing, false), lines.concat());
        let numbered = format!("1  {}2  {}", lines[0], lines[1]);
        assert_eq!(table(&listing, true), numbered);
        listing.entries.extend((0..8).map(|_| entry("b", Kind::File, 9)));
        listing.cut = true;
        let long = table(&listing, true);
        assert!(long.starts_with(" 1  a/ ") && long.contains("\n10  b "), "{long}");
        assert!(long.ends_with("\n(there is more: the server cut the list)\n"), "{long}");
        assert_eq!(table(&Listing::default(), true), "");
    }
}
