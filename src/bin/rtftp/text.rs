//! Text for a terminal.

use crate::shown::{bytes, harmless};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::fmt::{Display, Write};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use tftpkit::store::{Entry, Kind, Listing};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A line on standard error, which on a terminal is broken between its words. Where that cannot be written there is
/// nobody to tell.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", broken(&line.to_string(), columns_of(io::stderr())));
}

/// Breaks a text between its words, so that no line is wider than a terminal; what follows a break stands two columns
/// in. A word that is wider stays whole: it can be copied.
pub(crate) fn broken(text: &str, columns: Option<usize>) -> String {
    const INDENT: &str = "  ";
    let columns = columns.unwrap_or(usize::MAX);
    let mut out = String::new();
    for line in text.split('\n') {
        let (words, mut used) = (line.trim_start(), 0);
        let indent = &line[..line.len() - words.len()];
        if !out.is_empty() {
            out.push('\n');
        }
        for (n, word) in words.split(' ').enumerate() {
            let before = match n {
                0 => indent,
                _ if used + 1 + word.width() > columns => {
                    out.push('\n');
                    used = 0;
                    INDENT
                }
                _ => " ",
            };
            out.push_str(before);
            out.push_str(word);
            used += before.len() + word.width();
        }
    }
    out
}

/// The name of an entry, a directory with its slash.
pub(crate) fn shown(entry: &Entry) -> String {
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{}{slash}", harmless(&entry.name.to_string_lossy()))
}

/// Shortens a name in its middle to so many columns: its front and its ending tell more.
pub(crate) fn shortened(name: &str, width: usize) -> String {
    if name.width() <= width {
        return name.to_owned();
    }
    let most = width.saturating_sub(1);
    let (mut end, mut front, mut used) = (name.len(), 0, 0);
    // Two columns in front for each at the end.
    let (ends, fronts) = (most / 3, most - most / 3);
    for (at, c) in name.char_indices().rev() {
        used += c.width().unwrap_or_default();
        if used > ends {
            break;
        }
        end = at;
    }
    used = 0;
    for (at, c) in name.char_indices().take_while(|(at, _)| *at < end) {
        used += c.width().unwrap_or_default();
        if used > fronts {
            break;
        }
        front = at + c.len_utf8();
    }
    format!("{}\u{2026}{}", &name[..front], &name[end..])
}

/// The columns of the terminal that standard output is, if it is one.
pub(crate) fn columns() -> Option<usize> {
    columns_of(io::stdout())
}

/// The columns of the terminal that this is, if it is one.
pub(crate) fn columns_of(out: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(out).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Names, sizes and local times in columns, one line each.
pub(crate) fn table(listing: &Listing) -> String {
    let names: Vec<String> = listing.entries.iter().map(shown).collect();
    let width = names.iter().map(|name| name.width()).max().unwrap_or_default();
    let mut out = String::new();
    for (entry, name) in listing.entries.iter().zip(&names) {
        let size = match entry.kind {
            Kind::File => bytes(entry.size),
            Kind::Directory => String::new(),
        };
        let padding = width - name.width();
        let _ = writeln!(out, "{name}{:padding$}  {size:>11}  {}", "", local_time(entry));
    }
    out + cut(listing)
}

fn cut(listing: &Listing) -> &'static str {
    if listing.cut { "(there is more: the server cut the list)\n" } else { "" }
}

/// Where there are fewer columns there is no room for times.
const COLUMNS_WITH_TIMES: usize = 60;

/// The same fitted to a terminal, below a line that names the columns and their units; numbered for a menu.
pub(crate) fn fitted(listing: &Listing, numbered: bool, columns: Option<usize>) -> String {
    const SIZE: &str = "bytes";
    let names: Vec<String> = listing.entries.iter().map(shown).collect();
    let sizes: Vec<String> = listing.entries.iter().map(size).collect();
    let widest = |all: &[String]| all.iter().map(|one| one.width()).max().unwrap_or_default();
    let digits = if numbered { names.len().to_string().len() + 2 } else { 0 };
    let size_width = widest(&sizes).max(SIZE.len());
    let with_times = columns.is_none_or(|columns| columns >= COLUMNS_WITH_TIMES);
    let times = if with_times { 2 + "2026-11-28 08:46".len() } else { 0 };
    let room = columns
        .map_or(usize::MAX, |all| all.saturating_sub(digits + 2 + size_width + times).max(8));
    let width = widest(&names).min(room);
    let zone = listing
        .entries
        .first()
        .map_or_else(String::new, |entry| zoned(entry).strftime("%Z").to_string());
    let mut out = String::new();
    let heading = if with_times { format!("  time ({zone})") } else { String::new() };
    if !names.is_empty() {
        let _ = writeln!(out, "{:digits$}{:width$}  {SIZE:>size_width$}{heading}", "", "");
    }
    for (n, ((entry, name), size)) in listing.entries.iter().zip(&names).zip(&sizes).enumerate() {
        if numbered {
            let _ = write!(out, "{:>1$}  ", n + 1, digits - 2);
        }
        let name = shortened(name, width);
        let padding = width - name.width();
        let time = if with_times { format!("  {}", local_time(entry)) } else { String::new() };
        let line = format!("{name}{:padding$}  {size:>size_width$}{time}", "");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out + cut(listing)
}

/// A size in few columns: bytes, or so many thousands (K), millions (M) or more of them, each 1024 times the one before.
fn size(entry: &Entry) -> String {
    if entry.kind == Kind::Directory {
        return String::new();
    }
    let (mut size, mut unit) = (entry.size as f64, "");
    for next in ["K", "M", "G", "T"] {
        if size < 999.5 || (unit.is_empty() && entry.size < 1024) {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    match unit {
        "" => entry.size.to_string(),
        unit if size < 9.95 => format!("{size:.1}{unit}"),
        unit => format!("{size:.0}{unit}"),
    }
}

fn local_time(entry: &Entry) -> String {
    zoned(entry).strftime("%Y-%m-%d %H:%M").to_string()
}

fn zoned(entry: &Entry) -> Zoned {
    let time = Timestamp::try_from(entry.modified).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(table(&listing), lines.concat());
        listing.cut = true;
        assert!(table(&listing).ends_with("\n(there is more: the server cut the list)\n"));
        assert_eq!(table(&Listing::default()), "");
        // A name that turns the writing would hide what stands behind it.
        let turned = "gpj.\u{202e}a";
        listing.entries = vec![entry(turned, Kind::File, 1)];
        for text in [table(&listing), fitted(&listing, true, Some(80))] {
            assert!(text.contains("gpj.\\u{202e}a ") && !text.contains(turned), "{text}");
        }
    }

    #[test]
    fn a_line_is_broken_between_words_and_a_long_word_is_none_of_two() {
        let broken = |text: &str, columns: usize| broken(text, Some(columns));
        let text = "rtftp: upload: a: no such directory\n  The directory must be there.";
        assert_eq!([broken(text, 80), super::broken(text, None)], [text; 2]);
        assert_eq!(broken("Replace it (y/N)? ", 12), "Replace it\n  (y/N)? ");
        let narrow = "rtftp: upload: a: no\n  such directory\n  The directory must\n  be there.";
        assert_eq!(broken(text, 20), narrow);
        let narrower = "rtftp: upload: a:\n  no such directory\n  The directory\n  must be there.";
        assert_eq!(broken(text, 19), narrower);
        assert_eq!(broken("a 'long-name.img' is", 10), "a\n  'long-name.img'\n  is");
        assert_eq!(broken("\u{4e00}\u{4e00} \u{4e00}", 7), "\u{4e00}\u{4e00} \u{4e00}");
        assert_eq!(broken("\u{4e00}\u{4e00} \u{4e00}", 6), "\u{4e00}\u{4e00}\n  \u{4e00}");
    }

    #[test]
    fn a_list_on_a_terminal_has_one_line_for_each_and_no_line_is_too_long() {
        let entry = |name: &str, kind, size| {
            let modified = std::time::UNIX_EPOCH;
            Entry { name: name.into(), kind, size, modified }
        };
        let mut entries = vec![
            entry("a", Kind::Directory, 0),
            entry(&format!("{}.bin", "long-".repeat(40)), Kind::File, 70 << 20),
            entry(&"\u{4e00}".repeat(60), Kind::File, 1023),
        ];
        entries.extend((0..8).map(|_| entry("b", Kind::File, 9)));
        let listing = Listing { entries, cut: true };
        for columns in [40, 60, 80, 132] {
            let text = fitted(&listing, true, Some(columns));
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(
                lines.len(),
                1 + 11 + 1,
                "a heading, a line each, and that it is cut: {text}"
            );
            let long: Vec<_> = lines.iter().filter(|line| line.width() > columns).collect();
            assert_eq!(long, Vec::<&&str>::new(), "{columns}");
            assert_eq!(lines[2].width(), columns, "a name has all the room that is left: {text}");
            assert!(lines[1].starts_with(" 1  a/") && lines[11].starts_with("11  b "), "{text}");
            let begins_and_ends = lines[2].contains("long-") && lines[2].contains(".bin ");
            assert!(begins_and_ends && lines[2].contains("\u{2026}"), "{text}");
            assert_eq!(
                lines[2].contains("19"),
                columns >= 60,
                "a year where there is room: {text}"
            );
            let zone = format!("  time ({})", zoned(&listing.entries[0]).strftime("%Z"));
            let heading = if columns < 60 { "bytes" } else { &format!("bytes{zone}") };
            assert!(lines[0].ends_with(heading), "the zone of the times is told: {text}");
        }
        let whole = fitted(&listing, false, None);
        assert!(whole.contains(&"long-".repeat(40)) && !whole.contains('\u{2026}'), "{whole}");
        assert_eq!(fitted(&Listing::default(), true, Some(80)), "");
    }

    #[test]
    fn sizes_are_short_and_names_are_shortened_in_their_middle() {
        let of = |bytes| {
            size(&Entry {
                name: "a".into(),
                kind: Kind::File,
                size: bytes,
                modified: std::time::UNIX_EPOCH,
            })
        };
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (10_188, "9.9K"),
            (10_189, "10K"),
            (10_200, "10K"),
            (1_023_487, "999K"),
            (1_023_488, "1.0M"),
            (1_000_000, "977K"),
            (1_048_000, "1.0M"),
            (70 << 20, "70M"),
            (5 << 30, "5.0G"),
            (3 << 40, "3.0T"),
            (4 << 50, "4096T"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(of(bytes), expected);
        }
        assert_eq!(shortened("firmware.bin", 12), "firmware.bin");
        assert_eq!(shortened("firmware.bin", 9), "firmwa\u{2026}in");
        assert_eq!(shortened(&"\u{4e00}".repeat(4), 6), "\u{4e00}\u{4e00}\u{2026}");
        assert_eq!(shortened(&"\u{4e00}".repeat(4), 7), "\u{4e00}\u{4e00}\u{2026}\u{4e00}");
    }
}
