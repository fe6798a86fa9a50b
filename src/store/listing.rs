//! Listings, and the three forms they travel in (`rfc/list.md`).

use super::StoreError;
use crate::limits;
use crate::wire::percent_decoded;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::SystemTime;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file that can be read.
    File,
    /// A directory that can be listed.
    Directory,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within its directory.
    pub name: OsString,
    /// File or directory.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// What is in a directory, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there was more than a listing may hold.
    pub cut: bool,
}

/// Why bytes are no listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// A line, counted from 1, does not have the form of an entry or of a heading.
    #[error("line {0} of the listing is not an entry")]
    Line(usize),
    /// The last line, which says that it is all there, is missing.
    #[error("the listing has no end")]
    NoEnd,
    /// The heading or the last line counts another number of entries than there are.
    #[error("the listing tells of {told} entries and has {came}")]
    Count {
        /// What it says.
        told: usize,
        /// What is there.
        came: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct JsonEntry {
    name: String,
    /// A name that is not UTF-8, percent-encoded; `name` is then what can be shown of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    octets: Option<String>,
    kind: Kind,
    size: u64,
    modified: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JsonEnd {
    entries: usize,
    cut: bool,
}

/// Whether a name can stand in a listing: it is one part of a path, and harmless on a terminal. What a server of
/// another mind sends is no listing.
pub(super) fn is_listable(name: &OsStr) -> bool {
    let harmless = match name.to_str() {
        Some(text) => !text.chars().any(char::is_control),
        None => !name.as_bytes().iter().any(u8::is_ascii_control),
    };
    harmless && !matches!(name.as_bytes(), b"" | b"." | b"..") && !name.as_bytes().contains(&b'/')
}

/// Seconds are what the formats hold; years that they cannot hold, with more than four digits or a sign, become the
/// epoch.
fn timestamp(time: SystemTime) -> Timestamp {
    /// 0000-01-01 00:00:00.
    const YEAR_0: i64 = -62_167_219_200;
    let seconds = Timestamp::try_from(time).map(Timestamp::as_second).ok();
    let seconds = seconds.filter(|seconds| *seconds >= YEAR_0).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn utc(time: SystemTime) -> impl std::fmt::Display {
    timestamp(time).strftime("%Y-%m-%d %H:%M:%S")
}

/// A name as it stands in a URL.
fn encoded(name: &[u8]) -> String {
    let mut out = String::with_capacity(3 * name.len());
    for byte in name {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Listing {
    /// Sorts the entries, and leaves out those whose names cannot stand in a listing: with a slash or a control character,
    /// or none at all. `cut` says that there are more.
    pub fn new(mut entries: Vec<Entry>, cut: bool) -> Self {
        entries.retain(|entry| is_listable(&entry.name));
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { entries, cut }
    }

    /// Looks at names until there are enough entries, or enough was looked at.
    pub(super) fn gather(
        names: impl Iterator<Item = io::Result<OsString>>,
        mut look: impl FnMut(&OsStr) -> io::Result<Option<Entry>>,
    ) -> Result<Self, StoreError> {
        let mut entries = Vec::new();
        for (looks, name) in names.enumerate() {
            let name = name?;
            if looks == limits::LISTING_NAMES {
                return Ok(Self::new(entries, true));
            }
            let Some(entry) = look(&name)? else { continue };
            if entries.len() == limits::LISTING_ENTRIES {
                return Ok(Self::new(entries, true));
            }
            entries.push(entry);
        }
        Ok(Self::new(entries, false))
    }

    /// The entries' lines, as many as fit before an end of at most `reserve` bytes.
    fn lines(
        &self,
        reserve: usize,
        line: impl Fn(&Entry) -> Option<Vec<u8>>,
    ) -> (Vec<u8>, usize, bool) {
        let (mut out, mut count) = (Vec::new(), 0);
        for written in self.entries.iter().filter_map(line) {
            if out.len() + written.len() + reserve > limits::LISTING_BYTES {
                return (out, count, true);
            }
            out.extend_from_slice(&written);
            count += 1;
        }
        (out, count, self.cut)
    }

    /// UEFI's form: `name NUL size SP date SP time NUL` for each, and a NUL at the end.
    pub fn to_uefi(&self) -> Vec<u8> {
        let (mut out, ..) = self.lines(1, |entry| {
            let mut line = entry.name.as_bytes().to_vec();
            line.extend_from_slice(entry.slash().as_bytes());
            line.push(0);
            line.extend_from_slice(format!("{} {}\0", entry.size, utc(entry.modified)).as_bytes());
            Some(line)
        });
        out.push(0);
        out
    }

    /// One JSON object for each line, and a last one that counts them. Of a name that is not UTF-8 the octets are told
    /// apart.
    pub fn to_json(&self) -> Vec<u8> {
        let (mut out, entries, cut) = self.lines(64, |entry| {
            let name = entry.name.to_string_lossy().into_owned();
            let octets = entry.name.to_str().is_none().then(|| encoded(entry.name.as_bytes()));
            let Entry { kind, size, modified, .. } = *entry;
            json_line(&JsonEntry { name, octets, kind, size, modified: timestamp(modified) })
        });
        out.extend(json_line(&JsonEnd { entries, cut }).unwrap_or_default());
        out
    }

    /// Text for people and for clients that know only RRQ: a heading, then kind, size, time and name.
    pub fn to_text(&self) -> Vec<u8> {
        let (lines, count, cut) = self.lines(64, |entry| {
            let kind = if entry.kind == Kind::Directory { 'd' } else { '-' };
            let mut line =
                format!("{kind} {:>12} {} ", entry.size, utc(entry.modified)).into_bytes();
            line.extend_from_slice(entry.name.as_bytes());
            line.extend_from_slice(entry.slash().as_bytes());
            line.push(b'\n');
            Some(line)
        });
        let mut out = format!("# {count} entries{}\n", if cut { ", cut" } else { "" }).into_bytes();
        out.extend_from_slice(&lines);
        out
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ListingError> {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.retain(|line| !line.is_empty());
        let end = lines.pop().ok_or(ListingError::NoEnd)?;
        let JsonEnd { entries, cut } =
            serde_json::from_slice(end).map_err(|_| ListingError::NoEnd)?;
        if entries != lines.len() {
            return Err(ListingError::Count { told: entries, came: lines.len() });
        }
        let entries = lines.iter().enumerate().map(|(n, line)| {
            let entry: JsonEntry =
                serde_json::from_slice(line).map_err(|_| ListingError::Line(n + 1))?;
            let JsonEntry { name, octets, kind, size, modified } = entry;
            let name = match octets {
                None => name.into(),
                Some(octets) => percent_decoded(&octets)
                    .map(OsString::from_vec)
                    .ok_or(ListingError::Line(n + 1))?,
            };
            let entry = Entry { name, kind, size, modified: modified.into() };
            if is_listable(&entry.name) { Ok(entry) } else { Err(ListingError::Line(n + 1)) }
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, cut })
    }

    /// Reads UEFI's form, as [`to_uefi`](Self::to_uefi) or another server wrote it.
    pub fn from_uefi(bytes: &[u8]) -> Result<Self, ListingError> {
        let strings = bytes.strip_suffix(b"\0").ok_or(ListingError::NoEnd)?;
        let strings: Vec<&[u8]> = strings.split(|byte| *byte == 0).collect();
        let pairs = strings.chunks_exact(2);
        // What splits off behind the last entry's NUL is empty; anything else is half an entry.
        if pairs.remainder() != [b""] {
            return Err(ListingError::NoEnd);
        }
        let entries = pairs
            .enumerate()
            .map(|(n, pair)| Entry::from_uefi(pair[0], pair[1]).ok_or(ListingError::Line(n + 1)));
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, cut: false })
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn from_text(bytes: &[u8]) -> Result<Self, ListingError> {
        let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let heading = lines.next().map(|(_, line)| line).unwrap_or_default();
        if !heading.starts_with(b"# ") {
            return Err(ListingError::Line(1));
        }
        let entries = lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(n, line)| Entry::from_text(line).ok_or(ListingError::Line(n + 1)));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        let told = heading
            .split(|byte| *byte == b' ')
            .nth(1)
            .and_then(|told| std::str::from_utf8(told).ok()?.parse().ok());
        let told = told.ok_or(ListingError::Line(1))?;
        if told != entries.len() {
            return Err(ListingError::Count { told, came: entries.len() });
        }
        Ok(Self { entries, cut: heading.ends_with(b", cut") })
    }
}

impl Entry {
    /// What shows a directory to be one.
    const fn slash(&self) -> &'static str {
        match self.kind {
            Kind::File => "",
            Kind::Directory => "/",
        }
    }

    fn from_uefi(name: &[u8], about: &[u8]) -> Option<Self> {
        let (size, time) = std::str::from_utf8(about).ok()?.split_once(' ')?;
        let (name, kind) = match name.strip_suffix(b"/") {
            Some(name) => (name, Kind::Directory),
            None => (name, Kind::File),
        };
        let name = OsStr::from_bytes(name);
        is_listable(name).then_some(())?;
        Some(Self {
            name: name.to_owned(),
            kind,
            size: size.parse().ok()?,
            modified: format!("{time}Z").parse::<Timestamp>().ok()?.into(),
        })
    }

    fn from_text(line: &[u8]) -> Option<Self> {
        const TIME: usize = "2026-01-01 00:00:00".len();
        let kind = match line.first_chunk()? {
            b"- " => Kind::File,
            b"d " => Kind::Directory,
            _ => return None,
        };
        let rest = line[2..].trim_ascii_start();
        let (size, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b' ')?)?;
        let (time, name) = rest[1..].split_at_checked(TIME)?;
        let time = format!("{}Z", std::str::from_utf8(time).ok()?);
        let name = name.strip_prefix(b" ")?;
        let name = if kind == Kind::Directory { name.strip_suffix(b"/")? } else { name };
        let name = OsStr::from_bytes(name);
        is_listable(name).then_some(())?;
        Some(Self {
            name: name.to_owned(),
            kind,
            size: std::str::from_utf8(size).ok()?.parse().ok()?,
            modified: time.parse::<Timestamp>().ok()?.into(),
        })
    }
}

fn json_line(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(value).ok()?;
    line.push(b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::store::{Folder, Store};
    use crate::wire::Operation;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn listing(names: &[&str]) -> Listing {
        let entry = |name: &&str| Entry {
            name: name.into(),
            kind: if *name == "sub" { Kind::Directory } else { Kind::File },
            size: if *name == "sub" { 0 } else { name.len() as u64 * 1000 },
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        };
        Listing::new(names.iter().map(entry).collect(), false)
    }

    #[test]
    fn a_name_that_could_drive_a_terminal_is_not_listed() {
        for name in ["a\u{1b}[2J", "a\u{9b}2J", "a\u{85}b", "a\u{7f}", "a\nb"] {
            assert!(!is_listable(OsStr::new(name)), "{name:?}");
        }
        assert!(["a b", "\u{e9}", "%2e"].into_iter().all(|name| is_listable(OsStr::new(name))));
    }

    #[test]
    fn a_name_that_is_not_utf_8_keeps_its_octets_in_json() {
        let mut listing = listing(&["a"]);
        listing.entries[0].name = OsString::from_vec(b"caf\xe9 %/.bin".to_vec());
        let text = String::from_utf8(listing.to_json()).expect("JSON is UTF-8");
        assert!(text.contains(r#""octets":"caf%E9%20%25%2F.bin""#), "{text}");
        // A slash is in no name.
        assert_eq!(Listing::from_json(text.as_bytes()), Err(ListingError::Line(1)));
        listing.entries[0].name = OsString::from_vec(b"caf\xe9 %.bin".to_vec());
        assert_eq!(Listing::from_json(&listing.to_json()), Ok(listing.clone()));
        let good = String::from_utf8(listing.to_json()).expect("JSON is UTF-8");
        for broken in ["%", "%4", "%+1", "%zz", "%00", "%0A", "%2E%2E", ""] {
            let bad = good.replace("caf%E9%20%25.bin", broken);
            assert_eq!(Listing::from_json(bad.as_bytes()), Err(ListingError::Line(1)), "{broken}");
        }
    }

    #[test]
    fn all_forms_come_back_as_they_were() {
        for names in [&[][..], &["a", "sub", "with space", "ümlaut", "#", "- x"]] {
            let mut listing = listing(names);
            listing.entries.iter_mut().take(1).for_each(|entry| entry.size = u64::MAX);
            assert_eq!(Listing::from_text(&listing.to_text()), Ok(listing.clone()));
            assert_eq!(Listing::from_uefi(&listing.to_uefi()), Ok(listing.clone()));
            assert_eq!(Listing::from_json(&listing.to_json()), Ok(listing.clone()));
            let cut = Listing { cut: true, ..listing };
            assert_eq!(Listing::from_text(&cut.to_text()), Ok(cut.clone()));
            assert_eq!(Listing::from_json(&cut.to_json()), Ok(cut));
        }
    }

    #[test]
    fn a_server_that_names_what_cannot_stand_in_a_listing_has_sent_none_in_any_form() {
        let names = ["", ".", "..", "a/b", "../a", "/a", "a\u{1b}[2J", "a\u{7f}", "a\tb"];
        for (name, kind) in
            names.into_iter().flat_map(|name| [(name, Kind::File), (name, Kind::Directory)])
        {
            let mut told = listing(&["good", "then"]);
            (told.entries[1].name, told.entries[1].kind) = (name.into(), kind);
            let [text, uefi, json] = [told.to_text(), told.to_uefi(), told.to_json()];
            let read =
                [Listing::from_text(&text), Listing::from_uefi(&uefi), Listing::from_json(&json)];
            let refused = [3, 2, 2].map(|line| Err(ListingError::Line(line)));
            assert_eq!(read, refused, "text, UEFI's form and JSON with {name:?}, {kind:?}");
        }
    }

    #[test]
    fn the_forms_are_as_specified() {
        let listing = listing(&["sub", "a"]);
        assert_eq!(
            String::from_utf8_lossy(&listing.to_text()),
            "# 2 entries\n-         1000 2026-11-18 11:06:40 a\nd            0 2026-11-18 11:06:40 sub/\n"
        );
        assert_eq!(
            String::from_utf8_lossy(&listing.to_uefi()),
            "a\x001000 2026-11-18 11:06:40\0sub/\x000 2026-11-18 11:06:40\0\0"
        );
        assert_eq!(
            String::from_utf8_lossy(&listing.to_json()).lines().next(),
            Some(r#"{"name":"a","kind":"file","size":1000,"modified":"2026-11-18T11:06:40Z"}"#)
        );
    }

    #[test]
    fn years_have_four_digits_and_no_sign() {
        let text = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            let mut listing = listing(&["a"]);
            listing.entries[0].modified = if seconds < 0 { epoch - span } else { epoch + span };
            let text = String::from_utf8(listing.to_text()).expect("UTF-8");
            assert!(Listing::from_text(text.as_bytes()).is_ok(), "{text}");
            text
        };
        assert!(text(-62_167_219_200).contains(" 0000-01-01 00:00:00 a"));
        assert!(text(-62_167_219_201).contains(" 1970-01-01 00:00:00 a"));
        assert!(text(253_402_207_200).contains(" 9999-12-30 22:00:00 a"));
        assert!(text(253_402_207_201).contains(" 1970-01-01 00:00:00 a"));
    }

    #[test]
    fn what_has_no_end_is_no_listing() {
        let json = listing(&["a", "b"]).to_json();
        let cut_off = &json[..json.len() / 2];
        assert!(Listing::from_json(cut_off).is_err());
        assert_eq!(Listing::from_json(b""), Err(ListingError::NoEnd));
        assert_eq!(Listing::from_text(b""), Err(ListingError::Line(1)));
    }

    #[test]
    fn a_listing_is_never_larger_than_its_bound() {
        let names: Vec<String> = (0..9000).map(|n| format!("{n:0200}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let large = listing(&names);
        for bytes in [large.to_text(), large.to_json(), large.to_uefi()] {
            assert!(
                bytes.len() <= limits::LISTING_BYTES && bytes.len() > limits::LISTING_BYTES / 2
            );
        }
        // To the last byte: many names, and one that takes what is left.
        let whole = |last: usize| {
            let last = "x".repeat(last);
            listing(&[&names[..4000], &[&last]].concat()).to_uefi().len()
        };
        let about = b"\0".len() + "136544000 2026-11-18 11:06:40\0".len();
        let fits = limits::LISTING_BYTES - whole(0) - about;
        assert_eq!([whole(fits), whole(fits + 1)], [limits::LISTING_BYTES, whole(0)]);
        assert!(Listing::from_text(&large.to_text()).expect("valid").cut);
        assert!(Listing::from_json(&large.to_json()).expect("valid").cut);
    }

    #[test]
    fn a_listing_looks_at_so_many_names_and_tells_when_there_are_more() {
        let [most, entries] = [limits::LISTING_NAMES, limits::LISTING_ENTRIES];
        // So many names, of which those from here on have an entry; what is listed and what was looked at.
        let cases = [
            (most, most, (0, false), most),
            (most + 1, most, (0, true), most),
            (most, most - 1, (1, false), most),
            (most + 1, most - 1, (1, true), most),
            (2 * most, most, (0, true), most),
            (entries, 0, (entries, false), entries),
            (entries + 1, 0, (entries, true), entries + 1),
            (entries + 1, 1, (entries, false), entries + 1),
            (most + 1, most - entries, (entries, true), most),
            (most, most - entries - 1, (entries, true), most),
            (most + 1, most - entries - 1, (entries, true), most),
        ];
        let one = listing(&["a"]).entries.remove(0);
        for (names, first, listed, looked) in cases {
            let mut looks = 0;
            let names = (0..names).map(|n| Ok(n.to_string().into()));
            let gathered = Listing::gather(names, |_| {
                looks += 1;
                Ok((looks > first).then(|| one.clone()))
            });
            let gathered = gathered.expect("a listing");
            assert_eq!(((gathered.entries.len(), gathered.cut), looks), (listed, looked));
        }
    }

    #[test]
    fn a_listing_fails_with_the_first_name_that_cannot_be_looked_at() {
        let broken = || io::Error::other("broken");
        let names = |last| ["a", "b"].map(|name| Ok(name.into())).into_iter().chain([last]);
        let gathered = Listing::gather(names(Err(broken())), |_| Ok(None));
        assert!(matches!(gathered, Err(StoreError::Io(_))), "{gathered:?}");
        let gathered = Listing::gather(names(Ok("c".into())), |name| match name.to_str() {
            Some("c") => Err(broken()),
            _ => Ok(None),
        });
        assert!(matches!(gathered, Err(StoreError::Io(_))), "{gathered:?}");
    }

    #[test]
    fn a_listing_holds_ten_thousand_entries_and_tells_when_there_are_more() {
        let root = tempfile::tempdir().expect("a folder");
        let file = |n: usize| std::fs::write(root.path().join(n.to_string()), "").expect("a file");
        let list = || {
            let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let query = Query::new((local, 2000).into(), local, Operation::List, "");
            Folder::open(root.path()).expect("a folder").list(&query).expect("a listing")
        };
        (0..limits::LISTING_ENTRIES).for_each(file);
        let all = list();
        assert_eq!((all.entries.len(), all.cut), (limits::LISTING_ENTRIES, false));
        file(limits::LISTING_ENTRIES);
        let most = list();
        assert_eq!((most.entries.len(), most.cut), (limits::LISTING_ENTRIES, true));
        assert!(most.to_json().ends_with(b"{\"entries\":10000,\"cut\":true}\n"));
        assert!(most.to_text().starts_with(b"# 10000 entries, cut\n"));
    }

    #[test]
    fn an_empty_directory_has_something_to_send_in_every_form() {
        let empty = Listing::default();
        assert_eq!(empty.to_uefi(), b"\0");
        assert_eq!(empty.to_json(), b"{\"entries\":0,\"cut\":false}\n");
        assert_eq!(empty.to_text(), b"# 0 entries\n");
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_in_json_only() {
        let odd = listing(&["a\"b\\c"]);
        assert!(odd.to_json().starts_with(br#"{"name":"a\"b\\c","kind":"file""#));
        assert_eq!(Listing::from_json(&odd.to_json()), Ok(odd.clone()));
        assert!(odd.to_text().ends_with(b" a\"b\\c\n") && odd.to_uefi().starts_with(b"a\"b\\c\0"));
    }

    #[test]
    fn json_that_is_broken_anywhere_is_no_listing() {
        let good = String::from_utf8(listing(&["a", "b"]).to_json()).expect("JSON is UTF-8");
        let more = good.replace("\"kind\"", "\"colour\":\"red\",\"kind\"");
        assert_eq!(Listing::from_json(more.as_bytes()), Ok(listing(&["a", "b"])), "{more}");
        let line = |n| good.lines().nth(n).expect("three lines");
        let broken = [
            good.replacen("file", "link", 1),
            good.replacen("\"size\":1000,", "", 1),
            good.replacen("\"size\":1000", "\"size\":-1", 1),
            good.replacen("\"a\"", "a", 1),
            good.replace("\"entries\":2", "\"entries\":3"),
            good.replace(",\"cut\":false", ""),
            format!("{}\n{}\n", line(0), line(1)),
            format!("{}\n{}\n", line(0), line(2)),
            format!("{good}{}\n", line(0)),
        ];
        for json in broken {
            assert!(Listing::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn text_that_is_broken_anywhere_is_no_listing_and_the_line_is_told() {
        use ListingError::{Count, Line};
        let good = String::from_utf8(listing(&["a", "sub"]).to_text()).expect("UTF-8");
        for (was, is, why) in [
            ("# 2", "# two", Line(1)),
            ("# 2", "# 3", Count { told: 3, came: 2 }),
            ("- ", "x ", Line(2)),
            (" 1000 ", " 1k ", Line(2)),
            ("11:06:40 a", "11:66:40 a", Line(2)),
            ("40 a", "40", Line(2)),
            ("40 a", "40_a", Line(2)),
            ("sub/", "sub", Line(3)),
            ("d ", "- ", Line(3)),
        ] {
            let bad = good.replacen(was, is, 1);
            assert_eq!(Listing::from_text(bad.as_bytes()), Err(why), "{bad}");
        }
        let good = String::from_utf8(listing(&["a", "sub"]).to_uefi()).expect("UTF-8");
        for (was, is) in [("1000 ", "1k "), ("1000 ", "1000"), ("11:06", "11:66")] {
            let bad = good.replacen(was, is, 1);
            assert_eq!(Listing::from_uefi(bad.as_bytes()), Err(Line(1)), "{bad:?}");
        }
    }

    #[test]
    fn half_an_entry_at_the_end_of_uefis_form_is_no_shorter_listing() {
        let whole = listing(&["a", "b"]).to_uefi();
        let at = whole.iter().rposition(|byte| *byte == b'b').expect("the second name");
        for half in [&whole[..at + 2], &whole[..whole.len() - 1], b"hello\0", b""] {
            let text = String::from_utf8_lossy(half);
            assert_eq!(Listing::from_uefi(half), Err(ListingError::NoEnd), "{text:?}");
        }
    }
}
