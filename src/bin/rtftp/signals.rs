//! Ctrl-C, where it does not end the program.

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

/// Calls `then` at each Ctrl-C from now on.
pub(crate) fn on_interrupt(then: impl Fn() + Send + 'static) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    // Before there are other threads, so that none but the one that waits for it gets the signal.
    signals.thread_block()?;
    let wait = move || {
        while signals.wait().is_ok() {
            then();
        }
    };
    std::thread::Builder::new().name("interrupts".into()).spawn(wait)?;
    Ok(())
}

/// What is written beyond the limit on a file's size is an error of that file, not the end of the program.
pub(crate) fn survive_size_limit() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    // Where it cannot be blocked the program ends by it, as others do.
    let _ = signals.thread_block();
}
