//! The server's models compared: iterative, a thread for each transfer, one event loop; under a load that costs the
//! processor (netascii is translated byte by byte) and one that costs input and output (octet); by clients at once.
//!
//! The server is a process of its own, so that its processor time, memory and threads are its own.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tftpkit::client::{Client, Load, Wishes};
use tftpkit::wire::{BlockSize, Mode, WindowSize};

const MODELS: [&str; 3] = ["iterative", "threads", "events"];
const LOADS: [(&str, Mode); 2] = [("octet", Mode::Octet), ("netascii", Mode::Netascii)];
const CLIENTS: [usize; 4] = [1, 10, 100, 1000];

/// What an Ethernet carries in one piece, in windows as boot loaders have them.
const BLOCK_SIZE: u16 = 1428;
const WINDOW: u16 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let duration = Duration::from_millis(if quick { 500 } else { 3000 });
    let root = tempfile::tempdir()?;
    let line = b"a line of text, as configurations have them\n";
    std::fs::write(root.path().join("file"), line.repeat((256 << 10) / line.len()))?;
    println!("256 KiB, {BLOCK_SIZE}/{WINDOW}, {} s each", duration.as_secs_f64());
    println!(
        "{:9} {:10} {:>7} {:>8} {:>11} {:>8} {:>9} {:>8} {:>9} {:>9} {:>7}",
        "load",
        "model",
        "clients",
        "MB/s",
        "transfers/s",
        "failed",
        "CPU s/GB",
        "MB peak",
        "threads",
        "p50 ms",
        "p99 ms"
    );
    for (name, mode) in LOADS {
        for model in MODELS {
            for clients in CLIENTS {
                measure(root.path(), model, (name, mode), clients, duration)?;
            }
        }
    }
    Ok(())
}

fn measure(
    root: &Path,
    model: &str,
    (name, mode): (&str, Mode),
    clients: usize,
    duration: Duration,
) -> Result<(), Box<dyn Error>> {
    let server = Daemon::start(root, model, clients)?;
    let wishes = Wishes::default()
        .block_size(BlockSize::new(BLOCK_SIZE))
        .window(WindowSize::new(WINDOW))
        .mode(mode);
    // Who waits for its turn at an iterative server would wait for as long as all others take.
    let grace = Duration::from_millis(500);
    let load = Load::of(["file"]).clients(clients).duration(duration).grace(grace);
    let mut threads = 0;
    let tally = Client::new(server.address).wishes(wishes).load(&load, |_| {
        threads = threads.max(server.status("Threads").unwrap_or_default());
        ControlFlow::Continue(())
    })?;
    let bytes = tally.bytes.max(1) as f64;
    let ms = |part| tally.transfer.quantile(part).as_secs_f64() * 1e3;
    println!(
        "{name:9} {model:10} {clients:>7} {:>8.0} {:>11.0} {:>8} {:>9.2} {:>8.1} {threads:>9} {:>9.2} {:>7.1}",
        tally.bytes_per_second() / 1e6,
        tally.transfers_per_second(),
        tally.failed(),
        server.cpu_seconds()? / (bytes / 1e9),
        server.status("VmHWM").unwrap_or_default() as f64 / 1e3,
        ms(0.5),
        ms(0.99),
    );
    Ok(())
}

/// The program, as a child. Dropped, it is killed.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(root: &Path, model: &str, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtftpd"));
        command.arg(root).args(["--listen", "127.0.0.1:0", "--model", model]);
        command.args(["--max-threads", &threads.to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut lines = out.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            line.trim().strip_prefix("listening")?.split_whitespace().next()?.parse().ok()
        });
        // Else its banner could find nobody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or("the server does not start")?;
        Ok(Self { child, address })
    }

    fn proc(&self, file: &str) -> std::io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }

    /// A number of `/proc/PID/status`.
    fn status(&self, field: &str) -> Option<u64> {
        let status = self.proc("status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line?.split_whitespace().next()?.parse().ok()
    }

    /// Of all its threads, in user and in system mode.
    fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let stat = self.proc("stat")?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("no stat")?;
        let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
        let (user, system) = (fields.next().ok_or("no time")??, fields.next().ok_or("no time")??);
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok((user + system) as f64 / ticks as f64)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
