//! Where log lines go: into memory while the server starts, and from then on to a thread that writes them.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for whoever reads them, which nobody else does: what comes on top is lost, and counted.
pub(crate) const LINES_HELD: usize = 8192;

/// The way to standard error, or to a local socket in place of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Way>);

#[derive(Debug, Default)]
struct Way {
    early: Mutex<Vec<Vec<u8>>>,
    thread: OnceLock<NonBlocking>,
    socket: OnceLock<Arc<UnixDatagram>>,
}

/// Where they end: each is one datagram where that is a socket.
#[derive(Debug)]
struct Out(Option<Arc<UnixDatagram>>);

impl Lines {
    /// From now on they go to this socket, if there is one, in place of standard error.
    pub(crate) fn lead_to(&self, socket: Option<UnixDatagram>) {
        if let Some(socket) = socket {
            let _ = self.0.socket.set(Arc::new(socket));
        }
    }

    /// Whether they go to another place than standard error.
    pub(crate) fn lead_elsewhere(&self) -> bool {
        self.0.socket.get().is_some()
    }

    /// Starts the thread. What waits for it when the guard goes is still written, if somebody reads it soon.
    ///
    /// A server starts it when it is in its sandbox, so that the thread is in it as well.
    pub(crate) fn start_thread(&self) -> (WorkerGuard, ErrorCounter) {
        let writer = NonBlockingBuilder::default().thread_name("log");
        let (mut writer, guard) = writer.buffered_lines_limit(LINES_HELD).finish(self.out());
        let lost = writer.error_counter();
        for line in self.take_early() {
            let _ = writer.write_all(&line);
        }
        let _ = self.0.thread.set(writer);
        (guard, lost)
    }

    /// Writes what waits for a thread that will never be.
    pub(crate) fn write_early(&self) {
        for line in self.take_early() {
            let _ = self.out().write_all(&line);
        }
    }

    fn out(&self) -> Out {
        Out(self.0.socket.get().cloned())
    }

    fn take_early(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.early.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(thread) = self.0.thread.get() {
            return thread.clone().write(bytes);
        }
        self.0.early.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            // What is lost there is lost whole.
            Some(socket) => Ok(socket.send(bytes).map_or(bytes.len(), |_| bytes.len())),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
