//! Log lines for who sits at a terminal: the time, what happened to which file, with whom, how large and how fast it was,
//! and what else matters.

use crate::shown::{self, harmless};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes them.
pub(crate) struct Short {
    colours: bool,
    /// Read once: later its file may be out of reach.
    zone: TimeZone,
}

impl Short {
    /// With colours or without, in the time of this machine.
    pub(crate) fn new(colours: bool) -> Self {
        Self { colours, zone: TimeZone::system() }
    }
}

/// A rate says something of what is larger.
const LEAST_FOR_RATE: u64 = 64 << 10;

impl<S, N> FormatEvent<S, N> for Short
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let time = now.strftime("%H:%M:%S").to_string();
        let (colour, label) = match *event.metadata().level() {
            Level::ERROR => ("31", "ERROR "),
            Level::WARN => ("33", "WARN "),
            _ => ("", ""),
        };
        if self.colours {
            let label = if label.is_empty() { String::new() } else { painted(colour, label) };
            writeln!(writer, "{} {label}{line}", painted("2", &time))
        } else {
            writeln!(writer, "{time} {label}{line}")
        }
    }
}

fn painted(colour: &str, text: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// What an event has.
#[derive(Default)]
pub(crate) struct Line {
    message: String,
    file: Option<String>,
    peer: Option<String>,
    bytes: Option<u64>,
    rate: Option<String>,
    retransmitted: u64,
    /// Why, and how it ended.
    why: Option<String>,
    /// The fields that have no place of their own.
    rest: Vec<String>,
}

/// What the words of other lines say already.
const LEFT_OUT: [&str; 7] =
    ["operation", "mode", "blksize", "windowsize", "tsize", "seconds", "client"];

impl Line {
    fn put(&mut self, field: &Field, text: &str) {
        let text = harmless(text);
        match field.name() {
            "message" => self.message = text,
            "file" => self.file = Some(text),
            "peer" => self.peer = Some(text),
            "rate" => self.rate = Some(text),
            "outcome" if text == "complete" => {}
            "outcome" | "why" => self.why = Some(text),
            name if LEFT_OUT.contains(&name) => {}
            "error" => self.rest.push(text),
            name => self.rest.push(format!("{name} {text}")),
        }
    }
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "bytes" => self.bytes = Some(value),
            "retransmitted" => self.retransmitted = value,
            // The code of an ERROR, whose words are there as well.
            "error" => {}
            _ => self.put(field, &value.to_string()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(file) = &self.file {
            write!(f, " {}", if file.is_empty() { "/" } else { file })?;
        }
        if let Some(peer) = &self.peer {
            let between = match &*self.message {
                "sent" | "listed" | "sending" => "to",
                "received" | "receiving" | "refused" | "malformed" | "stray packet" => "from",
                _ => "for",
            };
            write!(f, " {between} {peer}")?;
        }
        if let Some(bytes) = self.bytes {
            write!(f, ", {}", shown::bytes(bytes))?;
            let rate = self.rate.as_ref().filter(|_| bytes >= LEAST_FOR_RATE);
            rate.map_or(Ok(()), |rate| write!(f, ", {rate}"))?;
        }
        if self.retransmitted > 0 {
            write!(f, ", {} sent again", self.retransmitted)?;
        }
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        self.rest
            .iter()
            .enumerate()
            .try_for_each(|(n, rest)| write!(f, "{} {rest}", if n == 0 { ":" } else { "," }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::{debug, error, info, warn};

    /// What is written while `act` runs, without the times.
    fn written(colours: bool, act: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("the lines").write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let _alone = crate::log::alone();
        let lines = Lines::default();
        let writer = lines.clone();
        let all = tracing_subscriber::fmt().with_max_level(Level::DEBUG);
        let all = all.event_format(Short::new(colours));
        let all = all.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(all, act);
        let lines = String::from_utf8(lines.0.lock().expect("the lines").clone()).expect("UTF-8");
        lines.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
    }

    #[test]
    fn a_line_says_what_matters_to_who_reads_along() {
        let peer = "192.0.2.7:2000";
        let lines = written(false, || {
            let (rate, seconds) = ("73.12 MiB/s", 0.1);
            info!(file = "a", %peer, mode = "octet", bytes = 70_001_u64, seconds, rate, retransmitted = 0_u64,
                outcome = "complete", "sent");
            for bytes in [65_535_u64, 65_536] {
                info!(file = "a", %peer, bytes, rate, "sending");
            }
            info!(file = "a", %peer, "receiving");
            debug!(%peer, why = "opcode", "malformed");
            debug!(%peer, "stray packet");
            info!(file = "a b", %peer, bytes = 300_u64, rate, retransmitted = 2_u64, outcome = "complete",
                "received");
            warn!(file = "x\x1b[2J\u{9b}", %peer, operation = "RRQ", error = 2_u16, why = "uploads are off", "refused");
            info!(file = "", %peer, bytes = 0_u64, outcome = "unconfirmed", "listed");
            info!(transfers = 1, grace = 10.0, "stopping");
            let error = io::Error::other("no descriptor");
            error!(file = "a", %peer, %error, "failed");
            // Whatever stands before whatever else.
            error!(error = 0_u16, outcome = "bad disk", seconds = 0.1, mode = "octet", %peer, file = "a", "failed");
        });
        let expected = [
            "sent a to 192.0.2.7:2000, 68.36 KiB, 73.12 MiB/s",
            "sending a to 192.0.2.7:2000, 64.00 KiB",
            "sending a to 192.0.2.7:2000, 64.00 KiB, 73.12 MiB/s",
            "receiving a from 192.0.2.7:2000",
            "malformed from 192.0.2.7:2000: opcode",
            "stray packet from 192.0.2.7:2000",
            "received a b from 192.0.2.7:2000, 300 B, 2 sent again",
            "WARN refused x\\u{1b}[2J\\u{9b} from 192.0.2.7:2000: uploads are off",
            "listed / to 192.0.2.7:2000, 0 B: unconfirmed",
            "stopping: transfers 1, grace 10.0",
            "ERROR failed a for 192.0.2.7:2000: no descriptor",
            "ERROR failed a for 192.0.2.7:2000: bad disk",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn colours_are_of_the_time_and_of_trouble() {
        let lines = written(true, || warn!("trouble"));
        assert_eq!(lines, ["\x1b[33mWARN \x1b[0mtrouble"]);
        assert!(written(true, || info!("all is well")) == ["all is well"]);
    }
}
