//! Where log lines go: into memory while the server starts, and from then on to a thread that writes them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for whoever reads them, which nobody else does: what comes on top is lost, and counted.
pub(crate) const LINES_HELD: usize = 8192;

/// The way to standard error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Way>);

#[derive(Debug, Default)]
struct Way {
    early: Mutex<Vec<u8>>,
    thread: OnceLock<NonBlocking>,
}

impl Lines {
    /// Starts the thread. What waits for it when the guard goes is still written, if somebody reads it soon.
    ///
    /// A server starts it when it is in its sandbox, so that the thread is in it as well.
    pub(crate) fn start_thread(&self) -> (WorkerGuard, ErrorCounter) {
        let writer = NonBlockingBuilder::default().thread_name("log");
        let (mut writer, guard) = writer.buffered_lines_limit(LINES_HELD).finish(io::stderr());
        let lost = writer.error_counter();
        let early = self.take_early();
        if !early.is_empty() {
            let _ = writer.write_all(&early);
        }
        let _ = self.0.thread.set(writer);
        (guard, lost)
    }

    /// Writes what waits for a thread that will never be.
    pub(crate) fn write_early(&self) {
        let _ = io::stderr().write_all(&self.take_early());
    }

    fn take_early(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.early.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(thread) = self.0.thread.get() {
            return thread.clone().write(bytes);
        }
        self.0.early.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
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
