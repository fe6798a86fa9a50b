//! Log lines for whoever keeps them for the whole machine: the journal, with a field for each thing that is known, or
//! syslog. Each line is one datagram to a local socket, which is connected before the sandbox.

use crate::args::Args;
use crate::short::Line;
use rustix::fs::fstat;
use std::fmt::{self, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// The facility of daemons, as it stands in a line of syslog.
const DAEMON: u8 = 3 << 3;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The journal's own protocol: a field in each line of the datagram.
    Journal,
    /// What syslogd reads.
    Syslog,
}

/// Where lines are kept, if not on standard error: the journal where that is what standard error leads to, and the journal
/// or syslog where it is a client's socket.
pub(crate) fn find(args: &Args) -> Option<(UnixDatagram, Form)> {
    let wants_journal = args.service.inetd || (!args.json && is_of_journal());
    let journal = wants_journal.then(|| connected(JOURNAL).ok()).flatten();
    let journal = journal.map(|socket| (socket, Form::Journal));
    let syslog = || Some((connected(SYSLOG).ok()?, Form::Syslog));
    journal.or_else(|| args.service.inetd.then(syslog).flatten())
}

fn connected(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Whether standard error is the stream that systemd has connected with the journal.
fn is_of_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let own = fstat(io::stderr()).map(|it| format!("{}:{}", it.st_dev, it.st_ino));
    own.is_ok_and(|own| own == stream)
}

const fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl<S, N> FormatEvent<S, N> for Form
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
        let (line, severity) =
            (in_one_line(&line.to_string()), severity(*event.metadata().level()));
        match self {
            Self::Syslog => {
                let (pid, priority) = (std::process::id(), DAEMON | severity);
                write!(writer, "<{priority}>rtftpd[{pid}]: {line}")
            }
            Self::Journal => {
                writeln!(writer, "PRIORITY={severity}\nSYSLOG_IDENTIFIER=rtftpd\nMESSAGE={line}")?;
                let mut fields = Fields(String::new());
                event.record(&mut fields);
                writer.write_str(&fields.0)
            }
        }
    }
}

/// A line's end is that of its field.
fn in_one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The fields of an event, by the names that the journal has for such.
struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            let name = field.name().to_ascii_uppercase();
            // A string takes all that there is.
            let _ = writeln!(self.0, "{name}={}", in_one_line(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;
    use std::time::Duration;
    use tracing::{error, info, warn};

    /// The datagrams of what is logged while `act` runs.
    fn told(form: Form, act: impl FnOnce()) -> Vec<String> {
        let (own, theirs) = UnixDatagram::pair().expect("a pair");
        theirs.set_read_timeout(Some(Duration::from_millis(1))).expect("a time-out");
        let _alone = crate::log::alone();
        let lines = Lines::default();
        lines.lead_to(Some(own));
        let all = tracing_subscriber::fmt().event_format(form).with_writer(lines.clone()).finish();
        tracing::subscriber::with_default(all, act);
        lines.write_early();
        let mut buffer = [0; 4096];
        let next = || theirs.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec());
        let all = std::iter::from_fn(next).map(|one| String::from_utf8(one).expect("UTF-8"));
        all.collect()
    }

    #[test]
    fn each_line_is_a_datagram_with_its_fields() {
        let peer = "192.0.2.7:2000";
        let act = || {
            info!(file = "a\nPRIORITY=0", %peer, bytes = 70_001_u64, outcome = "complete", "sent");
            warn!("trouble");
            error!("worse");
        };
        let sent = "sent a\\nPRIORITY=0 to 192.0.2.7:2000, 68.36 KiB";
        let journal = told(Form::Journal, act);
        let expected = format!(
            "PRIORITY=6\nSYSLOG_IDENTIFIER=rtftpd\nMESSAGE={sent}\nFILE=a\\nPRIORITY=0\nPEER={peer}\nBYTES=70001\n\
             OUTCOME=complete\n"
        );
        let [trouble, worse] = [("4", "trouble"), ("3", "worse")].map(|(severity, words)| {
            format!("PRIORITY={severity}\nSYSLOG_IDENTIFIER=rtftpd\nMESSAGE={words}\n")
        });
        assert_eq!(journal, [expected, trouble, worse]);
        let lines = [("30", sent), ("28", "trouble"), ("27", "worse")];
        let of_syslog =
            |(priority, words)| format!("<{priority}>rtftpd[{}]: {words}", std::process::id());
        assert_eq!(told(Form::Syslog, act), lines.map(of_syslog));
    }
}
