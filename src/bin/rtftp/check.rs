//! `rtftp check`: whether a server serves a file, for a monitoring system: one line in the form of Nagios' plugins, and
//! their exit status.

use crate::args::CheckArgs;
use crate::remote::{Server, get_targets};
use crate::report::{Unresolved, failure};
use crate::shown::{self, harmless};
use crate::signals::{Cause, Stop};
use anyhow::{Result, bail};
use std::io::Write;
use std::time::Duration;
use tftpkit::client::{Failure, Probe, Remote, Wishes};
use tftpkit::wire::Mode;

/// A request that has no answer is sent again after so long.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(1);

/// What a plugin of Nagios says by its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The file is served.
    Ok = 0,
    /// It is served, but late, or after the request had to be sent again.
    Warning = 1,
    /// It is not served.
    Critical = 2,
    /// That could not be found out.
    Unknown = 3,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Checks, and says what was found.
pub(crate) fn run(args: &CheckArgs) -> State {
    let (state, line) = match checked(args) {
        Ok(found) => found,
        Err(error) => (State::Unknown, shown::told(&error)),
    };
    say(state, &line);
    state
}

/// Where nobody reads it the exit status still tells.
fn say(state: State, line: &str) {
    let _ = writeln!(std::io::stdout(), "TFTP {} - {line}", state.word());
}

fn checked(args: &CheckArgs) -> Result<(State, String)> {
    let [target] = &get_targets(&args.remotes)?[..] else { bail!("a check is of one file") };
    let (stop, within) = (Stop::on_signals()?, args.within);
    let late = format!("{} did not answer within {}", one_line(target), seconds(within));
    let told = late.clone();
    stop.after(Some(within), move || {
        say(State::Critical, &told);
        std::process::exit(State::Critical as i32);
    });
    // A probe after less than that would be one for each server that is far away, and no sign of loss.
    let wishes = Wishes::default().mode(target.mode.unwrap_or(Mode::Octet)).every(BETWEEN_REQUESTS);
    let mut server = Server::new(&target.host, wishes, &stop);
    let probed = server.client().and_then(|client| Ok(client.probe(&target.name)?));
    stop.obey();
    Ok(match probed {
        Ok(probe) => judge(args, target, &probe),
        Err(_) if stop.cause() == Some(Cause::Time) => (State::Critical, late),
        Err(error) => {
            let is_local = error.is::<Unresolved>()
                || matches!(
                    failure(&error),
                    Some(Failure::Socket(_) | Failure::Nul | Failure::NameTooLong { .. })
                );
            let state = if is_local { State::Unknown } else { State::Critical };
            (
                state,
                format!(
                    "{}: {}",
                    one_line(target),
                    harmless(&shown::told(&error)).replace('|', "/")
                ),
            )
        }
    })
}

fn judge(args: &CheckArgs, target: &Remote, probe: &Probe) -> (State, String) {
    let (time, warn) = (probe.elapsed, args.warn);
    let is_late = warn.is_some_and(|warn| time > warn);
    let state = if is_late || probe.repeated > 0 { State::Warning } else { State::Ok };
    let size = probe.size.map_or_else(String::new, |size| format!(", {size} bytes"));
    let again = match probe.repeated {
        0 => String::new(),
        times => format!(", asked {} times", times + 1),
    };
    let warn = warn.map_or_else(String::new, |warn| warn.as_secs_f64().to_string());
    let perf = format!("time={:.6}s;{warn};{};0", time.as_secs_f64(), args.within.as_secs_f64());
    let perf_size = probe.size.map_or_else(String::new, |size| format!(" size={size}B"));
    let line = format!(
        "{} answered in {}{size}{again} | {perf}{perf_size}",
        one_line(target),
        seconds(time)
    );
    (state, line)
}

/// The bar divides what is for people from what is for programs.
fn one_line(target: &Remote) -> String {
    harmless(&target.to_string()).replace('|', "/")
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        short if short < 1.0 => format!("{:.1} ms", short * 1e3),
        long => format!("{long:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_each_figure_where_a_monitoring_system_reads_it() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let client = tftpkit::client::Client::new(socket.local_addr().expect("an address"));
        let answer = move || {
            let (_, peer) = socket.recv_from(&mut [0; 600]).expect("a request");
            socket.send_to(b"\0\x03\0\x01few", peer).expect("sent");
        };
        let answering = std::thread::spawn(answer);
        let mut probe = client.probe("f").expect("it is served");
        answering.join().expect("it has answered");
        assert_eq!((probe.size, probe.repeated), (Some(3), 0));

        let target = "h:a|b".parse().expect("a remote");
        let within = Duration::from_secs(3);
        let cases = [
            (250, None, Some(9), 0, State::Ok, "250.0 ms, 9 bytes | time=0.250000s;;3;0 size=9B"),
            (250, Some(250), None, 0, State::Ok, "250.0 ms | time=0.250000s;0.25;3;0"),
            (250, Some(249), None, 0, State::Warning, "250.0 ms | time=0.250000s;0.249;3;0"),
            (1500, None, None, 2, State::Warning, "1.5 s, asked 3 times | time=1.500000s;;3;0"),
        ];
        for (elapsed, warn, size, repeated, state, told) in cases {
            probe.elapsed = Duration::from_millis(elapsed);
            (probe.size, probe.repeated) = (size, repeated);
            let warn = warn.map(Duration::from_millis);
            let args = CheckArgs { remotes: Vec::new(), within, warn };
            let line = format!("tftp://h/a/b answered in {told}");
            assert_eq!(judge(&args, &target, &probe), (state, line));
        }
    }
}
