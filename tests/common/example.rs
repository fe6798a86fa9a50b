//! The examples, as programs.

use crate::common::{child, next};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// Where the example is: cargo builds it with the tests and leaves it beside their folder.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program");
    let built = own.ancestors().nth(2).expect("a target folder");
    let program = built.join("examples").join(name);
    assert!(program.is_file(), "{name} is not built: cargo build --examples does it");
    program
}

/// An example that serves. Dropped, it is killed.
pub(crate) struct Serving {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Starts an example whose first line ends with its address and what stops it.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("a child");
        let lines = child::lines(child.stdout.take().expect("a pipe"));
        let first = next("its first line", &lines);
        let port = first.strip_suffix(": Enter stops it").and_then(|text| {
            let (_, address) = text.rsplit_once(' ')?;
            Some(address.parse::<SocketAddr>().ok()?.port())
        });
        let port = port.unwrap_or_else(|| panic!("no address: {first}"));
        Self { child, lines, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Waits for the line that has this.
    pub(crate) fn says(&self, what: &str) {
        while !next(what, &self.lines).contains(what) {}
    }

    /// Ends its standard input, which stops it in order.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = child::end("the example", &mut self.child);
        assert!(status.success(), "{status}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
