//! The page as it is sent: whole, and readable as it is. Where there is JavaScript, `page.js` goes on with it.
//!
//! Whatever came from the network or from a folder is text: it gets here through [`Text`], and nothing else does.

use super::status::{About, Grade, Progress, Recent, Running, Status};
use crate::shown;
use jiff::Timestamp;
use std::fmt::{self, Display, Write};
use std::os::unix::ffi::OsStrExt;
use tftpkit::limits;
use tftpkit::store::{Kind, Listing};

/// What the page shows of the folder.
pub(super) enum Place {
    /// No listing is offered.
    Closed,
    Listed(Vec<u8>, Listing),
    /// There is none of that directory, and why.
    Unknown(Vec<u8>, String),
}

/// Shows any text as that text.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                c => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

/// The directory that is asked for, as in `dir=a%20b`.
pub(super) fn directory(query: &str) -> Vec<u8> {
    let value = query.split('&').find_map(|part| part.strip_prefix("dir=")).unwrap_or_default();
    let (mut out, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let hex = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let (byte, used) = match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 2),
            (b'+', ..) => (b' ', 0),
            _ => (*first, 0),
        };
        out.push(byte);
        rest = &behind[used..];
    }
    out
}

/// The same, the other way round.
fn encoded(path: &[u8]) -> String {
    let mut out = String::new();
    for byte in path {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(*byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn bytes_shown(bytes: &[u8]) -> String {
    shown::harmless(&String::from_utf8_lossy(bytes))
}

/// All of it.
pub(super) fn html(status: &Status, place: &Place) -> String {
    let mut out = String::with_capacity(32 << 10);
    // To write to a string does not fail.
    let _ = write(&mut out, status, place);
    out
}

fn write(out: &mut String, status: &Status, place: &Place) -> fmt::Result {
    let listening = status.listening.join(", ");
    write!(
        out,
        include_str!("page.html"),
        listening = Text(&listening),
        version = Text(&status.version),
        up = span(status.up),
        running = status.now.transfers,
        sending = shown::rate(status.now.sending as f64),
        receiving = shown::rate(status.now.receiving as f64),
        complete = status.totals.complete,
        failed = status.totals.failed,
        turned_away = status.totals.refused + status.totals.dropped,
        sent = shown::bytes(status.totals.sent),
        received = shown::bytes(status.totals.received),
        again = again(status.totals.retransmitted, status.totals.packets),
        lag = milliseconds(status.now.lag),
        plot = Plot(&status.history),
        rows = Rows(&status.running, running),
        none_running = hidden_if(!status.running.is_empty()),
        more = More(status.more_running),
        recent = Rows(&status.recent, over),
        none_recent = hidden_if(!status.recent.is_empty()),
        folder = Folder(place),
    )
}

const fn hidden_if(hidden: bool) -> &'static str {
    if hidden { " hidden" } else { "" }
}

/// How many packets were sent again, as a part of all.
fn again(retransmitted: u64, packets: u64) -> String {
    match retransmitted {
        0 => "0".into(),
        again => format!("{again} ({:.1} %)", 100.0 * again as f64 / packets.max(1) as f64),
    }
}

/// A time in words: `5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 if seconds > 0.0 => milliseconds(seconds),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

pub(super) fn milliseconds(seconds: f64) -> String {
    let millis = seconds * 1e3;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

struct Rows<'a, T>(&'a [T], fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result);

impl<T> Display for Rows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|row| (self.1)(f, row))
    }
}

/// The arrow of a direction, with its words for those who hear the page.
const fn arrow(operation: &str) -> (&'static str, &'static str) {
    match operation.as_bytes() {
        b"write" => ("↑", "upload"),
        b"list" => ("≡", "listing"),
        b"read" => ("↓", "download"),
        _ => ("?", "unknown"),
    }
}

/// What it is about, in two cells.
fn about(f: &mut fmt::Formatter<'_>, about: &About) -> fmt::Result {
    let (sign, words) = arrow(&about.operation);
    let file = Text(&about.file);
    write!(f, "<td class=file data-label=File><span class=way title={words}>{sign}</span> ")?;
    write!(f, "<span class=name>{file}</span>")?;
    if let Some(served) = &about.served {
        write!(f, " <span class=served>served as {}</span>", Text(served))?;
    }
    write!(f, "</td><td data-label=Client>{}</td>", Text(&about.peer))
}

fn running(f: &mut fmt::Formatter<'_>, row: &Running) -> fmt::Result {
    let Running { id, progress, size, left, .. } = row;
    write!(f, "<tr data-id={id}>")?;
    about(f, &row.about)?;
    let done = shown::bytes(progress.bytes);
    write!(f, "<td class=progress data-label=Progress>")?;
    match size.filter(|size| *size > 0) {
        Some(size) => {
            let percent = (100.0 * progress.bytes as f64 / size as f64).min(100.0);
            let of = shown::bytes(size);
            write!(f, "<progress max=100 value={percent:.1} aria-label=\"{percent:.0} percent\">")?;
            write!(f, "</progress> <span class=amount>{done} of {of}</span></td>")?;
        }
        None => write!(f, "<span class=amount>{done}</span></td>")?,
    }
    number(f, "Rate", Some(shown::rate(progress.rate as f64)))?;
    number(f, "Round trip", progress.round_trip.map(milliseconds))?;
    number(f, "Sent again", Some(again(progress.retransmitted, progress.packets)))?;
    number(f, "Time left", left.map(span))?;
    write!(f, "</tr>")
}

/// A cell for a number, if there is one.
fn number(f: &mut fmt::Formatter<'_>, label: &str, value: Option<String>) -> fmt::Result {
    match value {
        Some(value) => write!(f, "<td class=number data-label=\"{label}\">{value}</td>"),
        None => write!(f, "<td class=\"number nil\" data-label=\"{label}\">–</td>"),
    }
}

const fn class_of(grade: Grade) -> &'static str {
    match grade {
        Grade::Fine => "fine",
        Grade::Note => "note",
        Grade::Bad => "bad",
    }
}

fn over(f: &mut fmt::Formatter<'_>, row: &Recent) -> fmt::Result {
    write!(f, "<tr data-id={} class={}>", row.id, class_of(row.grade))?;
    about(f, &row.about)?;
    write!(f, "<td class=how data-label=Outcome><b>{}</b>", Text(&row.how))?;
    if row.why != "complete" {
        write!(f, " <span class=why>{}</span>", Text(&row.why))?;
    }
    write!(f, "</td>")?;
    let progress = row.progress.as_ref();
    number(f, "Size", progress.map(|progress| shown::bytes(progress.bytes)))?;
    number(f, "Rate", progress.map(|progress| shown::rate(progress.rate as f64)))?;
    number(f, "Round trip", progress.and_then(|progress| progress.round_trip).map(milliseconds))?;
    let sent_again = |progress: &Progress| again(progress.retransmitted, progress.packets);
    number(f, "Sent again", progress.map(sent_again))?;
    number(f, "Ago", Some(span(row.ago)))?;
    write!(f, "</tr>")
}

struct More(usize);

impl Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, "and {more} more"),
        }
    }
}

/// The lines of the plot. `page.js` draws the same.
struct Plot<'a>(&'a [(u64, u64)]);

impl Display for Plot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest = self.0.iter().map(|(sent, received)| *sent.max(received)).max();
        let highest = highest.unwrap_or_default().max(1) as f64;
        let first = limits::PLOT_POINTS - self.0.len().min(limits::PLOT_POINTS);
        for (class, of) in [("sent", 0), ("received", 1)] {
            write!(f, "<polyline class={class} points=\"")?;
            for (n, point) in self.0.iter().enumerate() {
                let value = if of == 0 { point.0 } else { point.1 };
                write!(f, "{},{:.1} ", first + n, 100.0 - 96.0 * value as f64 / highest)?;
            }
            write!(f, "\"/>")?;
        }
        Ok(())
    }
}

struct Folder<'a>(&'a Place);

impl Display for Folder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (directory, listing) = match self.0 {
            Place::Closed => {
                return write!(f, "<p class=none>No listing is offered (--no-list).</p>");
            }
            Place::Unknown(directory, why) => {
                crumbs(f, directory)?;
                return write!(f, "<p class=none>{}</p>", Text(why));
            }
            Place::Listed(directory, listing) => (directory, listing),
        };
        crumbs(f, directory)?;
        if listing.entries.is_empty() {
            return write!(f, "<p class=none>It is empty.</p>");
        }
        write!(
            f,
            "<table><caption class=heard>Files in this directory</caption><thead><tr><th scope=col>Name</th>\
             <th scope=col class=number>Size</th><th scope=col>Changed (UTC)</th></tr></thead><tbody id=names>"
        )?;
        for entry in listing.entries.iter().take(limits::PAGE_NAMES) {
            let name = bytes_shown(entry.name.as_bytes());
            let changed = Timestamp::try_from(entry.modified).unwrap_or_default();
            let changed = changed.strftime("%Y-%m-%d %H:%M");
            write!(f, "<tr><td class=file data-label=Name>")?;
            match entry.kind {
                Kind::Directory => {
                    let path = [directory, b"/".as_slice(), entry.name.as_bytes()].concat();
                    let path = path.strip_prefix(b"/").unwrap_or(&path);
                    let (path, name) = (encoded(path), Text(&name));
                    write!(f, "<a class=name href=\"/?dir={path}#files\">{name}/</a></td>")?;
                    write!(f, "<td class=number data-label=Size>–</td>")?;
                }
                _ => {
                    let size = shown::bytes(entry.size);
                    write!(f, "<span class=name>{}</span></td>", Text(&name))?;
                    write!(f, "<td class=number data-label=Size>{size}</td>")?;
                }
            }
            write!(f, "<td data-label=Changed>{changed}</td></tr>")?;
        }
        write!(f, "</tbody></table>")?;
        match listing.entries.len().saturating_sub(limits::PAGE_NAMES) {
            0 if listing.cut => write!(f, "<p class=none>There are more.</p>"),
            0 => Ok(()),
            more => write!(f, "<p class=none>and {more} more</p>"),
        }
    }
}

/// The way from the top to a directory.
fn crumbs(f: &mut fmt::Formatter<'_>, directory: &[u8]) -> fmt::Result {
    write!(f, "<nav class=crumbs aria-label=Directory><a href=\"/#files\">top</a>")?;
    let mut way = Vec::new();
    for part in directory.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if !way.is_empty() {
            way.push(b'/');
        }
        way.extend_from_slice(part);
        let (path, name) = (encoded(&way), bytes_shown(part));
        write!(f, " / <a href=\"/?dir={path}#files\">{}</a>", Text(&name))?;
    }
    write!(f, "</nav>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};
    use tftpkit::store::Entry;

    #[test]
    fn a_directory_in_a_url_is_the_same_that_was_written_there() {
        for path in [&b"a b/c+d&e?f#g%"[..], b"", b"\xff\x00/\xc3\xa4", b"<b>\"'"] {
            let query = format!("x=1&dir={}", encoded(path));
            assert_eq!(directory(&query), path, "{query}");
            assert!(!query.contains(['<', '>', '"', '\'', '#', ' ']), "{query}");
        }
        assert_eq!(directory("dir=a+b%2"), b"a b%2");
        assert_eq!([directory(""), directory("dir"), directory("other=x")], [b""; 3]);
    }

    #[test]
    fn what_means_something_in_markup_is_text() {
        let hostile = "<script>\"&'</script>";
        let text = "&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;";
        assert_eq!(Text(hostile).to_string(), text);
        let about = || About {
            peer: hostile.into(),
            file: hostile.into(),
            served: Some(hostile.into()),
            operation: hostile.into(),
        };
        let status = Status {
            version: hostile.into(),
            listening: vec![hostile.into()],
            running: vec![Running { about: about(), ..Running::default() }],
            recent: vec![Recent {
                about: about(),
                how: hostile.into(),
                why: hostile.into(),
                ..Recent::default()
            }],
            ..Status::default()
        };
        let page = html(&status, &Place::Unknown(hostile.into(), hostile.into()));
        assert!(!page.contains(hostile) && !page.contains("<script>"));
        assert_eq!(page.matches(text).count(), 12, "{page}");
    }

    #[test]
    fn times_are_told_in_two_parts_at_most() {
        let told = [0.0, 0.0004, 0.25, 1.0, 59.9, 200.0, 7500.0, 273_600.0].map(span);
        let shown =
            ["0 s", "0.4 ms", "250 ms", "1 s", "59 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"];
        assert_eq!(told, shown);
    }

    /// What stands between the tags of some markup, with a bar where there are any.
    fn words(markup: &str) -> String {
        let pieces = markup.split('<').filter_map(|piece| Some(piece.split_once('>')?.1.trim()));
        pieces.filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_row_of_what_runs_has_its_progress_where_its_size_is_known() {
        let about = About {
            peer: "192.0.2.7:7".into(),
            file: "k".into(),
            served: Some("vmlinuz".into()),
            operation: "read".into(),
        };
        let (bytes, rate, round_trip) = (3 << 10, 2 << 20, Some(0.000_4));
        let progress = Progress {
            bytes,
            rate,
            round_trip,
            packets: 40,
            retransmitted: 1,
            ..Progress::default()
        };
        let row = Running {
            id: 9,
            about,
            progress,
            size: Some(4 << 10),
            left: Some(61.0),
            ..Running::default()
        };
        let told = Rows(std::slice::from_ref(&row), running).to_string();
        assert!(told.starts_with("<tr data-id=9>"), "{told}");
        assert!(
            told.contains("title=download>") && told.contains("<progress max=100 value=75.0"),
            "{told}"
        );
        let cells = "↓|k|served as vmlinuz|192.0.2.7:7|3.00 KiB of 4.00 KiB|2.00 MiB/s|0.4 ms|1 (2.5 %)|1 min 1 s";
        assert_eq!(words(&told), cells);
        // It may have grown, and one that is empty has no part.
        let told = |size| Rows(&[Running { size, left: None, ..row.clone() }], running).to_string();
        assert!(told(Some(9)).contains("value=100.0"), "{}", told(Some(9)));
        for size in [Some(0), None] {
            assert!(!told(size).contains("<progress"), "{}", told(size));
            assert!(
                words(&told(size)).contains("|3.00 KiB|2.00 MiB/s|") && told(size).contains("nil")
            );
        }
        for (operation, words) in
            [("write", ("↑", "upload")), ("list", ("≡", "listing")), ("", ("?", "unknown"))]
        {
            assert_eq!(arrow(operation), words);
        }
    }

    #[test]
    fn a_row_of_what_is_over_says_why_where_it_was_not_whole() {
        let progress = Progress { bytes: 512, rate: 1024, packets: 2, ..Progress::default() };
        let row = |grade, why: &str, progress| {
            let (how, why) = ("lost".into(), why.into());
            let one = Recent { id: 3, how, grade, why, progress, ago: 2.0, ..Recent::default() };
            Rows(&[one], over).to_string()
        };
        let told = row(Grade::Bad, "silent", Some(progress));
        assert!(told.starts_with("<tr data-id=3 class=bad>"), "{told}");
        assert_eq!(words(&told), "?|lost|silent|512 B|1.00 KiB/s|–|0|2 s");
        let told = row(Grade::Note, "complete", None);
        assert!(told.starts_with("<tr data-id=3 class=note>"), "{told}");
        assert_eq!(words(&told), "?|lost|–|–|–|–|2 s");
        assert!(row(Grade::Fine, "", None).contains(" class=fine>"));
    }

    #[test]
    fn the_tiles_and_the_plot_have_each_figure_in_its_place() {
        let mut status = Status { more_running: 4, ..Status::default() };
        (status.now.transfers, status.now.sending, status.now.receiving) = (1, 2, 3);
        status.now.lag = 0.25;
        (status.totals.complete, status.totals.failed) = (5, 6);
        (status.totals.refused, status.totals.dropped) = (7, 20);
        (status.totals.sent, status.totals.received) = (8, 9);
        (status.totals.retransmitted, status.totals.packets) = (1, 8);
        status.history = vec![(0, 0), (50, 100), (100, 0)];
        let page = html(&status, &Place::Closed);
        for (id, told) in [
            ("t-running", "1"),
            ("t-sending", "2 B/s"),
            ("t-receiving", "3 B/s"),
            ("t-complete", "5"),
            ("t-failed", "6"),
            ("t-turned-away", "27"),
            ("t-sent", "8 B"),
            ("t-received", "9 B"),
            ("t-again", "1 (12.5 %)"),
            ("t-lag", "250 ms"),
        ] {
            assert!(page.contains(&format!("id=\"{id}\">{told}</dd>")), "{id} {told}: {page}");
        }
        assert!(page.contains("<p id=\"running-more\" class=\"none\">and 4 more</p>"), "{page}");
        // The newest stands at the right, 300 points wide; the highest leaves a margin.
        let lines = "<polyline class=sent points=\"297,100.0 298,52.0 299,4.0 \"/>\
            <polyline class=received points=\"297,100.0 298,4.0 299,100.0 \"/>";
        assert!(page.contains(lines), "{page}");
        let is_said = |page: &str, id: &str| page.contains(&format!("id=\"{id}\" class=\"none\">"));
        assert!(is_said(&page, "running-none") && is_said(&page, "recent-none"), "{page}");
        (status.running, status.recent) = (vec![Running::default()], vec![Recent::default()]);
        let page = html(&status, &Place::Closed);
        assert!(!is_said(&page, "running-none") && !is_said(&page, "recent-none"), "{page}");
    }

    #[test]
    fn a_directory_is_listed_with_the_way_to_it_and_so_many_names() {
        let entry = |name: &str, kind| Entry {
            name: name.into(),
            kind,
            size: 1536,
            modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        let told = |directory: &str, entries, cut| {
            Folder(&Place::Listed(directory.into(), Listing { entries, cut })).to_string()
        };
        let two = vec![entry("d e", Kind::Directory), entry("f", Kind::File)];
        let page = told("/a//b c", two.clone(), true);
        assert_eq!(
            words(&page),
            "top|/|a|/|b c|Files in this directory|Name|Size|Changed (UTC)|d e/|–|2023-11-14 22:13|f|1.50 KiB|\
             2023-11-14 22:13|There are more."
        );
        for link in
            ["/#files", "/?dir=a#files", "/?dir=a/b%20c#files", "/?dir=a//b%20c/d%20e#files"]
        {
            assert!(page.contains(&format!("href=\"{link}\"")), "{link}: {page}");
        }
        assert!(told("", two.clone(), false).contains("href=\"/?dir=d%20e#files\""));
        assert!(!told("", two, false).contains("more"));
        assert_eq!(words(&told("", Vec::new(), false)), "top|It is empty.");
        for (count, end) in [(limits::PAGE_NAMES, "22:13"), (limits::PAGE_NAMES + 2, "and 2 more")]
        {
            let page = told("", vec![entry("f", Kind::File); count], false);
            assert_eq!(page.matches("class=name").count(), limits::PAGE_NAMES);
            assert!(words(&page).ends_with(end), "{count}");
        }
        let closed = Folder(&Place::Closed).to_string();
        assert_eq!(words(&closed), "No listing is offered (--no-list).");
        let unknown = Folder(&Place::Unknown("x".into(), "not found".into())).to_string();
        assert_eq!(words(&unknown), "top|/|x|not found");
    }
}
