//! What systemd is told, in its protocol (sd_notify): datagrams of lines to the socket that NOTIFY_SOCKET names.
//!
//! The socket is connected when the server starts: in its sandbox it could not be.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Whoever is to be told reads within this time; what it does not is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells whoever started the server, if that wants to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify(Option<Arc<UnixDatagram>>);

impl Notify {
    /// Tells whom the environment names.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connected(&name) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "cannot tell NOTIFY_SOCKET anything");
                Self::default()
            }
        }
    }

    /// Whether there is anybody to be told.
    pub(crate) const fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells these lines.
    pub(crate) fn tell(&self, lines: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(lines.as_bytes());
        }
    }

    /// Tells that it takes no more requests, and has so much time for its transfers.
    pub(crate) fn stopping(&self, grace: Duration) {
        // Behind the grace there are last words.
        let time = grace.saturating_add(Duration::from_secs(5)).min(Duration::from_secs(1 << 32));
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }
}

fn connected(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// How often systemd wants to hear that this process lives.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| is_meant && *usec > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_asks_for_its_grace_and_a_moment_more_and_for_no_time_that_there_is_not() {
        let (own, theirs) = UnixDatagram::pair().expect("a pair");
        let notify = Notify(Some(Arc::new(own)));
        let told = |grace| {
            notify.stopping(grace);
            let mut message = [0; 256];
            let len = theirs.recv(&mut message).expect("a message");
            String::from_utf8(message[..len].to_vec()).expect("UTF-8")
        };
        let of = |micros: u64| format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}");
        assert_eq!(told(Duration::ZERO), of(5_000_000));
        assert_eq!(told(Duration::from_millis(1500)), of(6_500_000));
        assert_eq!(told(Duration::MAX), of((1 << 32) * 1_000_000));
    }
}
