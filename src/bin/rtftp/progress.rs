//! Progress on a terminal: who is asked, how far it is, and that it stalls.

use crate::shown::{bytes, harmless};
use crate::text::{columns_of, shortened};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tftpkit::client::Progress;
use unicode_width::UnicodeWidthStr;

/// What is answered sooner shows nothing of it.
const SOON: Duration = Duration::from_millis(300);

/// What stands still for so long stalls: longer than one lost packet takes.
const STALL: Duration = Duration::from_secs(2);

/// How often the picture is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// On narrower terminals there is no room for more than the figures.
const COLUMNS_WITH_BAR: usize = 60;

/// The columns that there are. The line is on standard error: a file may be on standard output.
fn room() -> usize {
    columns_of(io::stderr()).unwrap_or(80)
}

/// A transfer on its way: how it was told last, and its line where there is a terminal.
#[derive(Debug, Default)]
pub(crate) struct Bar {
    line: Option<Arc<Line>>,
    last: Cell<Progress>,
}

/// The line, which somebody looks at while nothing comes.
#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    /// The file, and who is asked for it.
    name: String,
    asking: String,
    seen: Mutex<Seen>,
    over: Condvar,
}

#[derive(Debug)]
struct Seen {
    began: Instant,
    /// How it was told last, and when it moved.
    last: Progress,
    moved: Option<Instant>,
    is_over: bool,
    /// What the line says now.
    shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Asking,
    Total,
    Bytes,
    Stalled,
}

impl Seen {
    /// Takes back that somebody is asked.
    fn answered(&mut self) {
        if self.shown == Shown::Asking {
            self.shown = Shown::Nothing;
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Bar {
    /// One that draws itself.
    pub(crate) fn on_terminal(name: &str, asking: &str) -> Self {
        let line = Arc::new(Line::new(name, asking));
        let looked = Arc::clone(&line);
        // Without a thread it is drawn when something comes.
        let _ = std::thread::Builder::new().name("progress".into()).spawn(move || looked.watch());
        Self { line: Some(line), last: Cell::default() }
    }

    /// How it was told last.
    pub(crate) const fn last(&self) -> Progress {
        self.last.get()
    }

    pub(crate) fn show(&self, progress: Progress) {
        self.last.set(progress);
        if let Some(line) = &self.line {
            line.show(progress);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            let mut seen = line.lock();
            seen.is_over = true;
            seen.answered();
            line.over.notify_all();
            line.bar.finish_and_clear();
        }
    }
}

impl Line {
    fn new(name: &str, asking: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        let room = room();
        Self {
            bar,
            name: shortened(&harmless(name), (room / 3).max(12)),
            asking: shortened(&harmless(asking), room.saturating_sub(18).max(12)),
            seen: Mutex::new(Seen {
                began: Instant::now(),
                last: Progress::default(),
                moved: None,
                is_over: false,
                shown: Shown::Nothing,
            }),
            over: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is to be said while nothing comes.
    fn watch(&self) {
        let mut seen = self.lock();
        loop {
            let waited = self.over.wait_timeout_while(seen, LOOK, |seen| !seen.is_over);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
            if seen.is_over {
                return;
            }
            self.look(&mut seen);
        }
    }

    /// Says what is to be said now.
    fn look(&self, seen: &mut Seen) {
        match seen.moved {
            None if seen.began.elapsed() >= SOON && seen.shown == Shown::Nothing => {
                seen.shown = Shown::Asking;
                // Not filled up to its end, so that what is typed behind it goes with it.
                let _ = write!(io::stderr(), "\r{} (Ctrl-C stops)\x1b[K", self.asking);
            }
            Some(moved) if moved.elapsed() >= STALL => {
                seen.shown = Shown::Stalled;
                let (seconds, so_far) = (moved.elapsed().as_secs(), bytes(seen.last.bytes));
                self.style("{msg}");
                let stalled = format!(" {so_far}, stalled for {seconds} s");
                let line = format!("{}{stalled} (Ctrl-C stops)", self.name);
                // A line that the terminal breaks cannot be cleared.
                let room = room().saturating_sub(1);
                let is_short = line.width() <= room;
                let narrow = || {
                    let room = room.saturating_sub(stalled.width());
                    shortened(&self.name, room) + &stalled
                };
                self.bar.set_message(if is_short { line } else { narrow() });
            }
            _ => {}
        }
    }

    fn show(&self, progress: Progress) {
        let mut seen = self.lock();
        // What was sent again is no progress.
        if seen.moved.is_some()
            && (progress.bytes, progress.total) == (seen.last.bytes, seen.last.total)
        {
            return;
        }
        // Who has an answer has something else to say than the request.
        let is_answer = progress.bytes > 0 || progress.packets > progress.retransmitted + 1;
        if !is_answer {
            return;
        }
        (seen.last, seen.moved) = (progress, Some(Instant::now()));
        let shown = if progress.total.is_some() { Shown::Total } else { Shown::Bytes };
        seen.answered();
        if seen.shown != shown {
            if shown == Shown::Bytes && progress.bytes == 0 {
                return;
            }
            seen.shown = shown;
            self.bar.set_message(self.name.clone());
            let is_wide = room() >= COLUMNS_WITH_BAR;
            match (shown, is_wide) {
                (Shown::Total, true) => self
                    .style("{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left"),
                (Shown::Total, false) => self.style("{msg} {percent}% {bytes_per_sec}"),
                _ => self.style("{msg} {spinner} {bytes} {bytes_per_sec}"),
            }
            if let Some(total) = progress.total {
                // It is drawn from here on.
                self.bar.set_length(total);
            }
        }
        self.bar.set_position(progress.bytes);
    }

    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_sent_again_is_no_progress() {
        for total in [Some(4096), None] {
            let line = Line::new("vmlinuz", "asking tftp.example");
            let mut progress = Progress::default();
            (progress.bytes, progress.total, progress.packets) = (512, total, 9);
            line.show(progress);
            let silent = STALL + Duration::from_secs(5);
            line.lock().moved = Instant::now().checked_sub(silent);
            for again in 1..4 {
                (progress.packets, progress.retransmitted) = (9 + again, again);
                line.show(progress);
            }
            line.look(&mut line.lock());
            let told = line.bar.message();
            assert!(told.contains("512 B, stalled for 7 s"), "since it moved last: {told}");
        }
    }

    #[test]
    fn an_answer_without_a_byte_is_one_and_a_request_that_is_repeated_is_none() {
        let line = Line::new("vmlinuz", "asking tftp.example");
        let mut progress = Progress::default();
        for repeated in 0..3 {
            (progress.packets, progress.retransmitted) = (1 + repeated, repeated);
            line.show(progress);
            assert_eq!(line.lock().moved, None, "asked {} times", 1 + repeated);
        }
        // The terms were acknowledged.
        progress.packets += 1;
        line.show(progress);
        assert!(line.lock().moved.is_some(), "an answer of which nothing is told is awaited still");
    }

    #[test]
    fn a_name_that_a_server_gave_cannot_drive_the_terminal() {
        let line = Line::new("a\u{1b}[2J", "asking b\u{1b}[2J");
        assert_eq!([&*line.name, &*line.asking], ["a\\u{1b}[2J", "asking b\\u{1b}[2J"]);
    }

    #[test]
    fn a_line_that_said_that_it_stalls_says_so_no_more_when_it_goes_on() {
        for total in [Some(4096), None] {
            let line = Line::new("vmlinuz", "asking tftp.example");
            let mut progress = Progress::default();
            (progress.total, progress.packets) = (total, 9);
            for far in [512, 1024, 2048] {
                progress.bytes = far;
                line.show(progress);
                assert_eq!(line.bar.message(), "vmlinuz", "{far} of {total:?}");
                assert_eq!((line.bar.position(), line.bar.length()), (far, total));
                let mut seen = line.lock();
                seen.moved = Instant::now().checked_sub(STALL);
                line.look(&mut seen);
                let told = line.bar.message();
                assert!(told.contains(&format!("{}, stalled for ", bytes(far))), "{told}");
            }
        }
    }
}
