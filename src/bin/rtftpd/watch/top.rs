//! `rtftpd top`: what a server does, in a terminal. It asks the server's page for it, each second.

use super::address;
use super::page::{milliseconds, span};
use super::status::{About, Grade, Progress, Recent, Running, Status};
use crate::shown;
use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgMatches, Command};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};
use std::io::{IsTerminal, Read, Write, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How often it asks.
const ASKS: Duration = Duration::from_secs(1);
/// A server on this machine answers sooner, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a server tells is shorter: 900 lines with the longest names.
const LONGEST_ANSWER: u64 = 4 << 20;
/// Columns of a bar.
const BAR: usize = 16;

/// Where the page is of which nothing else is said.
const USUAL: u16 = 8069;

/// Shows in this terminal what a server does that was started with `--http`.
#[derive(Debug)]
pub(crate) struct Top(SocketAddr);

impl Top {
    /// How it is called.
    pub(crate) const NAME: &str = "top";

    /// The command, which a program without a page has not.
    pub(crate) fn command_if_any() -> Option<Command> {
        let page = Arg::new("page").value_name("ADDRESS:PORT").value_parser(address);
        let what =
            "Where the server has its page [default: what --http is in its configuration, or 8069]";
        let command = Command::new(Self::NAME)
            .about("Show in this terminal what a server does that was started with --http")
            .override_usage("rtftpd top [ADDRESS:PORT]")
            .after_help(
                "q or Ctrl-C leaves it. Where its output is no terminal, it is written once.\n\nExit status: 0 it was shown, 1 no \
                 server answers, 2 wrong usage.",
            );
        Some(command.arg(page.help(what)))
    }

    /// The command as it was given.
    pub(crate) fn of(found: &ArgMatches) -> Self {
        let said = |id| found.get_one::<SocketAddr>(id).copied();
        let usual = || SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL));
        Self(said("page").or_else(|| said("http")).unwrap_or_else(usual))
    }

    /// Shows it until somebody has seen enough.
    pub(crate) fn run(&self) -> Result<()> {
        // Who is told that there is no server is told so on a terminal that is as it was.
        let first = ask(self.0)?;
        if !stdout().is_terminal() {
            // Who closes it early has seen enough.
            let _ = stdout().write_all(text(&first).as_bytes());
            return Ok(());
        }
        let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
        let shown = (|| {
            let mut status = Ok(first);
            loop {
                terminal.draw(|frame| draw(frame, self.0, status.as_ref()))?;
                if leaves_within(ASKS)? {
                    return Ok(());
                }
                status = ask(self.0);
            }
        })();
        let restored = ratatui::try_restore().context("cannot restore this terminal");
        shown.and(restored)
    }
}

/// Waits, and tells whether somebody wants to leave.
fn leaves_within(span: Duration) -> Result<bool> {
    let end = Instant::now() + span;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(false);
        }
        match event::read()? {
            Event::Key(key) => {
                let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if is_ctrl => return Ok(true),
                    _ => {}
                }
            }
            // It is drawn anew.
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

/// Asks the server once.
fn ask(page: SocketAddr) -> Result<Status> {
    let what = || format!("no server shows itself at {page} (rtftpd --http {page})");
    let mut stream = TcpStream::connect_timeout(&page, PATIENCE).with_context(what)?;
    stream.set_read_timeout(Some(PATIENCE)).with_context(what)?;
    let request = format!("GET /status.json HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(what)?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).with_context(what)?;
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("what answers at {page} is no rtftpd")
    };
    let is_fine = answer.starts_with(b"HTTP/1.1 200 ");
    ensure!(is_fine, "what answers at {page} has nothing to show: is it an rtftpd?");
    let status = serde_json::from_slice(&answer[end + 4..]);
    status.with_context(|| format!("what answers at {page} is no rtftpd of this version"))
}

fn arrow(operation: &str) -> &'static str {
    match operation {
        "write" => "↑",
        "list" => "≡",
        "read" => "↓",
        // It could not be read.
        _ => "?",
    }
}

/// The name, and the one that is served in its place.
fn file(about: &About) -> String {
    let name = shown::harmless(&about.file);
    let name = format!("{} {name}", arrow(&about.operation));
    match &about.served {
        Some(served) => format!("{name} → {}", shown::harmless(served)),
        None => name,
    }
}

fn peer(about: &About) -> String {
    shown::harmless(&about.peer)
}

/// A bar and how far it is, or the bytes where the end is not known.
fn bar(row: &Running) -> String {
    let bytes = shown::bytes(row.progress.bytes);
    match row.size.filter(|size| *size > 0) {
        Some(size) => {
            let part = (row.progress.bytes as f64 / size as f64).clamp(0.0, 1.0);
            let full = (part * BAR as f64) as usize;
            let (full, empty) = ("█".repeat(full), "░".repeat(BAR - full));
            format!("{full}{empty} {:3.0} %", 100.0 * part)
        }
        None => bytes,
    }
}

fn trip(progress: &Progress) -> String {
    progress.round_trip.map_or_else(|| "–".into(), milliseconds)
}

const RUNNING: [&str; 7] =
    ["file", "client", "progress", "rate", "round trip", "again", "time left"];

fn running(row: &Running) -> [String; 7] {
    [
        file(&row.about),
        peer(&row.about),
        bar(row),
        shown::rate(row.progress.rate as f64),
        trip(&row.progress),
        row.progress.retransmitted.to_string(),
        row.left.map_or_else(|| "–".into(), span),
    ]
}

const RECENT: [&str; 6] = ["file", "client", "outcome", "size", "rate", "ago"];

fn recent(row: &Recent) -> [String; 6] {
    let how = match &*row.why {
        "complete" => row.how.clone(),
        why => format!("{}: {why}", row.how),
    };
    let of =
        |shown: fn(&Progress) -> String| row.progress.as_ref().map_or_else(|| "–".into(), shown);
    [
        file(&row.about),
        peer(&row.about),
        shown::harmless(&how),
        of(|progress| shown::bytes(progress.bytes)),
        of(|progress| shown::rate(progress.rate as f64)),
        span(row.ago),
    ]
}

/// What is in use, in one line each.
fn summary(status: &Status) -> [String; 2] {
    let (now, totals) = (&status.now, &status.totals);
    let listening: Vec<_> = status.listening.iter().map(|at| shown::harmless(at)).collect();
    [
        format!(
            "rtftpd {} at {}, up {}",
            shown::harmless(&status.version),
            listening.join(", "),
            span(status.up)
        ),
        format!(
            "{} under way  ↓ {}  ↑ {}  {} complete  {} in trouble  {} turned away  lag {}",
            now.transfers,
            shown::rate(now.sending as f64),
            shown::rate(now.receiving as f64),
            totals.complete,
            totals.failed,
            totals.refused + totals.dropped,
            milliseconds(now.lag)
        ),
    ]
}

fn draw(frame: &mut Frame<'_>, page: SocketAddr, status: Result<&Status, &anyhow::Error>) {
    let area = frame.area();
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let why = format!("{}\n\nIt is asked again each second; q leaves.", shown::told(error));
            let block = Block::new().borders(Borders::ALL).title(format!(" {page} "));
            return frame.render_widget(Paragraph::new(why).block(block), area);
        }
    };
    let half = u16::try_from(status.running.len()).unwrap_or(u16::MAX).saturating_add(3);
    let [head, plot, under_way, over, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Length(half.min(area.height / 2)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    let [title, figures] = summary(status);
    let lines = vec![Line::from(title).bold(), Line::from(figures)];
    frame.render_widget(Paragraph::new(lines), head);
    throughput(frame, plot, status);
    let abouts = status.running.iter().map(|row| &row.about);
    let peers =
        abouts.chain(status.recent.iter().map(|row| &row.about)).map(|about| about.peer.len());
    // An address is of use as a whole, as far as there is room.
    let longest = u16::try_from(peers.max().unwrap_or_default()).unwrap_or(u16::MAX);
    let client = Constraint::Length(longest.clamp(6, area.width / 3 + 6));
    let rows = status.running.iter().map(|row| Row::new(running(row).map(Cell::from)));
    let more = match status.more_running {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let widths = [
        Constraint::Fill(2),
        client,
        Constraint::Length(BAR as u16 + 6),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(12),
    ];
    let title = format!(" Under way: {}{more} ", status.running.len());
    frame.render_widget(table(rows, &widths, &RUNNING, title), under_way);
    let rows = status.recent.iter().map(|row| {
        let colour = match row.grade {
            Grade::Fine => Color::Green,
            Grade::Note => Color::DarkGray,
            Grade::Bad => Color::Red,
        };
        let [file, peer, how, size, rate, ago] = recent(row).map(Cell::from);
        Row::new([file, peer, how.style(Style::new().fg(colour)), size, rate, ago])
    });
    let widths = [
        Constraint::Fill(2),
        client,
        Constraint::Fill(3),
        Constraint::Length(11),
        Constraint::Length(13),
        Constraint::Length(12),
    ];
    frame.render_widget(table(rows, &widths, &RECENT, " Over ".into()), over);
    frame.render_widget(Line::from(vec![Span::from("q").bold(), " leaves".into()]), foot);
}

fn table<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: &[Constraint],
    heads: &[&'static str],
    title: String,
) -> Table<'a> {
    let head = Row::new(heads.iter().copied().map(Cell::from)).style(Style::new().dim());
    let block = Block::new().borders(Borders::TOP).title(title);
    Table::new(rows, widths.iter().copied()).header(head).block(block)
}

/// Both directions together, the newest at the right.
fn throughput(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let all: Vec<u64> =
        status.history.iter().map(|(sent, received)| sent.saturating_add(*received)).collect();
    let fits = &all[all.len().saturating_sub(area.width.into())..];
    let highest = fits.iter().copied().max().unwrap_or_default();
    let title = format!(" Throughput, up to {} ", shown::rate(highest as f64));
    let block = Block::new().borders(Borders::TOP).title(title);
    let line = Sparkline::default().data(fits).style(Style::new().fg(Color::Blue));
    frame.render_widget(line.block(block), area);
}

/// The same for a file or another program.
fn text(status: &Status) -> String {
    let mut out = summary(status).map(|line| line + "\n").concat();
    let mut columns = |heads: &[&str], rows: Vec<Vec<String>>| {
        let width = |n: usize| {
            let cells = rows.iter().map(|row| row[n].chars().count());
            cells.chain([heads[n].len()]).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..heads.len()).map(width).collect();
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        for row in std::iter::once(heads).chain(rows.iter().cloned()) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            out += cells.collect::<Vec<_>>().join("  ").trim_end();
            out += "\n";
        }
    };
    columns(&RUNNING, status.running.iter().map(|row| running(row).to_vec()).collect());
    columns(&RECENT, status.recent.iter().map(|row| recent(row).to_vec()).collect());
    out
}

#[cfg(test)]
mod tests {
    use super::super::status::{Now, Totals};
    use super::*;
    use anyhow::anyhow;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    fn about(operation: &str, peer: &str, file: &str, served: Option<&str>) -> About {
        let (peer, file, operation) = (peer.into(), file.into(), operation.into());
        About { peer, file, served: served.map(Into::into), operation }
    }

    /// A server with a row of each kind.
    fn status() -> Status {
        let progress = |bytes, round_trip| {
            let (packets, retransmitted) = (90, 7);
            Progress { bytes, seconds: 2.0, rate: 3 << 20, round_trip, packets, retransmitted }
        };
        let row = |about, progress, size, left| Running {
            about,
            progress,
            size,
            left,
            ..Running::default()
        };
        let over = |about, how: &str, grade, why: &str, progress, ago| Recent {
            id: 1,
            ago,
            about,
            how: how.into(),
            grade,
            why: why.into(),
            progress,
        };
        let trip = Some(0.000_4);
        Status {
            version: "1.2.3".into(),
            listening: vec!["[::]:69".into(), "192.0.2.1:6969".into()],
            up: 7500.0,
            now: Now {
                transfers: 8,
                sending: 2 << 20,
                receiving: 5 << 10,
                lag: 0.02,
                ..Now::default()
            },
            totals: Totals {
                complete: 11,
                failed: 2,
                refused: 30,
                dropped: 4,
                ..Totals::default()
            },
            running: vec![
                row(
                    about("read", "[2001:db8::7]:2000", "k\u{7}", Some("vmlinuz")),
                    progress(3 << 10, trip),
                    Some(4 << 10),
                    Some(200.0),
                ),
                row(about("write", "192.0.2.7:7", "new", None), progress(600, None), None, None),
                row(about("list", "192.0.2.8:7", "", None), progress(9, trip), Some(0), None),
            ],
            more_running: 5,
            recent: vec![
                over(
                    about("read", "192.0.2.9:7", "done", None),
                    "sent",
                    Grade::Fine,
                    "complete",
                    Some(progress(2048, trip)),
                    3.0,
                ),
                over(
                    about("read", "192.0.2.9:7", "gone", None),
                    "refused",
                    Grade::Note,
                    "not found",
                    None,
                    61.0,
                ),
                over(
                    about("", "192.0.2.9:7", "lost", None),
                    "lost",
                    Grade::Bad,
                    "silent",
                    None,
                    0.0,
                ),
            ],
            ..Status::default()
        }
    }

    #[test]
    fn a_program_reads_all_of_it_in_columns() {
        let expected = "\
rtftpd 1.2.3 at [::]:69, 192.0.2.1:6969, up 2 h 5 min
8 under way  ↓ 2.00 MiB/s  ↑ 5.00 KiB/s  11 complete  2 in trouble  34 turned away  lag 20 ms
file                client              progress                rate        round trip  again  time left
↓ k\\u{7} → vmlinuz  [2001:db8::7]:2000  ████████████░░░░  75 %  3.00 MiB/s  0.4 ms      7      3 min 20 s
↑ new               192.0.2.7:7         600 B                   3.00 MiB/s  –           7      –
≡                   192.0.2.8:7         9 B                     3.00 MiB/s  0.4 ms      7      –
file    client       outcome             size      rate        ago
↓ done  192.0.2.9:7  sent                2.00 KiB  3.00 MiB/s  3 s
↓ gone  192.0.2.9:7  refused: not found  –         –           1 min 1 s
? lost  192.0.2.9:7  lost: silent        –         –           0 s
";
        assert_eq!(text(&status()), expected);
    }

    /// What stands in the terminal, line by line.
    fn drawn(
        width: u16,
        height: u16,
        status: Result<&Status, &anyhow::Error>,
    ) -> (Buffer, Vec<String>) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let page = "127.0.0.1:8069".parse().expect("an address");
        terminal.draw(|frame| draw(frame, page, status)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let cell = |x, y| buffer[(x, y)].symbol().to_owned();
        let line = |y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned();
        let lines = (0..height).map(line).collect();
        (buffer, lines)
    }

    #[test]
    fn a_person_sees_the_same_and_what_went_badly_is_red() {
        let mut status = status();
        // There is room for a hundred and twenty seconds: what was before them has no say in how high the plot is.
        status.history = vec![(1 << 30, 0); 3];
        status.history.extend((0..120).map(|n| (n << 9, n << 9)));
        let (buffer, lines) = drawn(120, 24, Ok(&status));
        let all = lines.join("\n");
        let row = "↓ k\\u{7} → vmlinuz                [2001:db8::7]:2000 ████████████░░░░  75 % 3.00 MiB/s   0.4 ms     7       \
                   3 min 20 s";
        for whole in [
            row,
            "q leaves",
            "8 under way  ↓ 2.00 MiB/s  ↑ 5.00 KiB/s  11 complete  2 in trouble  34 turned away  lag 20 ms",
        ] {
            assert!(lines.iter().any(|line| line == whole), "{whole}\n{all}");
        }
        for title in [" Under way: 3, and 5 more ─", " Over ─", " Throughput, up to 119.00 KiB/s ─"]
        {
            assert!(lines.iter().any(|line| line.starts_with(title)), "{title}\n{all}");
        }
        assert_eq!(buffer[(119, 5)].symbol(), "█", "the newest is at the right: {all}");
        assert_eq!(buffer[(0, 5)].symbol(), " ", "and the oldest at the left: {all}");
        let at = |word: &str| {
            let y = lines.iter().position(|line| line.contains(word)).expect(word);
            let x = lines[y].split(word).next().unwrap_or_default().chars().count();
            (x as u16, y as u16)
        };
        let colour = |word: &str| buffer[at(word)].fg;
        assert_eq!(
            [colour("sent"), colour("refused: not found"), colour("lost: silent")],
            [Color::Green, Color::DarkGray, Color::Red]
        );
        // However many run, half of the terminal is for what is over.
        status.running = vec![status.running[0].clone(); 50];
        status.more_running = 0;
        let (_, lines) = drawn(120, 24, Ok(&status));
        let all = lines.join("\n");
        assert!(lines.iter().any(|line| line.starts_with(" Under way: 50 ─")), "{all}");
        assert!(lines.iter().any(|line| line.contains("refused: not found")), "{all}");
        let gone = anyhow!("no server shows itself").context("it is gone");
        let (_, lines) = drawn(60, 8, Err(&gone));
        let all = lines.join("\n");
        for words in [" 127.0.0.1:8069 ", "it is gone: no server shows itself", "q leaves"] {
            assert!(all.contains(words), "{words}\n{all}");
        }
    }
}
