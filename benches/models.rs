//! The server's models compared: iterative, a process for each transfer, a thread for each, one event loop; under loads
//! that cost the processor (many small files, netascii, which is translated byte by byte, large files) and one that waits
//! for the network; by clients at once.
//!
//! The server is a process of its own, so that its processor time, memory and threads are its own, with those of the
//! processes that it has started.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tftpkit::client::{Client, Load, Wishes};
use tftpkit::wire::{BlockSize, Mode, Packet, WindowSize};

const MODELS: [&str; 4] = ["iterative", "processes", "threads", "events"];
const LOADS: [Work; 4] = [
    Work { name: "small", file: "small", way: Way::Near(Mode::Octet) },
    Work { name: "netascii", file: "file", way: Way::Near(Mode::Netascii) },
    Work { name: "octet", file: "file", way: Way::Near(Mode::Octet) },
    Work { name: "far", file: "middle", way: Way::Far },
];
const CLIENTS: [usize; 4] = [1, 10, 100, 1000];

/// What an Ethernet carries in one piece, in windows as boot loaders have them.
const BLOCK_SIZE: u16 = 1428;
const WINDOW: u16 = 8;

/// Of clients that are far away, which go in lock-step.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A client that hears nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What clients do.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    file: &'static str,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Near(Mode),
    Far,
}

/// What came of it.
#[derive(Default)]
struct Came {
    seconds: f64,
    bytes: u64,
    whole: u64,
    failed: u64,
    p50: Duration,
    p99: Duration,
}

/// A cell of the tables at the end.
struct Cell {
    transfers: f64,
    micros_each: f64,
    megabytes: f64,
    p99: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let duration = Duration::from_millis(if quick { 500 } else { 2000 });
    let root = tempfile::tempdir()?;
    let line = b"a line of text, as configurations have them\n";
    for (name, kibibytes) in [("small", 4), ("middle", 16), ("file", 256)] {
        std::fs::write(root.path().join(name), line.repeat((kibibytes << 10) / line.len()))?;
    }
    println!(
        "small: 4 KiB, octet and netascii: 256 KiB, all {BLOCK_SIZE}/{WINDOW}; far: 16 KiB, {BLOCK_SIZE}/1, a round trip of {} \
         ms; {} s each",
        ROUND_TRIP.as_millis(),
        duration.as_secs_f64()
    );
    println!(
        "{:9} {:10} {:>7} {:>8} {:>11} {:>8} {:>9} {:>8} {:>9} {:>9} {:>7}",
        "load",
        "model",
        "clients",
        "MB/s",
        "transfers/s",
        "failed",
        "CPU us",
        "MB peak",
        "threads",
        "p50 ms",
        "p99 ms"
    );
    let mut rows = Vec::new();
    for work in LOADS {
        for clients in CLIENTS {
            let cells = MODELS.map(|model| measure(root.path(), model, work, clients, duration));
            let cells = cells.into_iter().collect::<Result<Vec<_>, _>>()?;
            rows.push((format!("{:9}{clients:>5}", work.name), cells));
        }
    }
    side_by_side("transfers/s", &rows, |cell| cell.transfers);
    side_by_side("the server's processor time for each, us", &rows, |cell| cell.micros_each);
    side_by_side("the 99th of a hundred has waited, ms", &rows, |cell| cell.p99);
    side_by_side("peak MB", &rows, |cell| cell.megabytes);
    Ok(())
}

fn side_by_side(what: &str, rows: &[(String, Vec<Cell>)], figure: impl Fn(&Cell) -> f64) {
    println!("\n{what}");
    println!("{:14}{}", "load, clients", MODELS.map(|model| format!("{model:>11}")).concat());
    for (name, cells) in rows {
        let cells: String = cells.iter().map(|cell| format!("{:>11.0}", figure(cell))).collect();
        println!("{name}{cells}");
    }
}

fn measure(
    root: &Path,
    model: &str,
    work: Work,
    clients: usize,
    duration: Duration,
) -> Result<Cell, Box<dyn Error>> {
    let server = Daemon::start(root, model, clients)?;
    let (mut threads, mut children) = (0, 0.0f64);
    let mut look = || {
        threads = threads.max(server.threads());
        children = children.max(server.memory_of_children());
    };
    let came = match work.way {
        Way::Near(mode) => near(server.address, work.file, mode, clients, duration, &mut look)?,
        Way::Far => far(server.address, work.file, clients, duration, &mut look)?,
    };
    let (bytes, transfers) = (came.bytes as f64, came.whole as f64 / came.seconds);
    let cell = Cell {
        transfers,
        micros_each: server.cpu_seconds()? * 1e6 / (came.whole.max(1) as f64),
        megabytes: server.status(server.child.id(), "VmHWM").unwrap_or_default() as f64 / 1e3
            + children,
        p99: came.p99.as_secs_f64() * 1e3,
    };
    println!(
        "{:9} {model:10} {clients:>7} {:>8.0} {transfers:>11.0} {:>8} {:>9.0} {:>8.1} {threads:>9} {:>9.2} {:>7.1}",
        work.name,
        bytes / came.seconds / 1e6,
        came.failed,
        cell.micros_each,
        cell.megabytes,
        came.p50.as_secs_f64() * 1e3,
        cell.p99,
    );
    Ok(cell)
}

/// Clients that take one file after the other, as fast as they come.
fn near(
    server: SocketAddr,
    file: &str,
    mode: Mode,
    clients: usize,
    duration: Duration,
    look: &mut impl FnMut(),
) -> Result<Came, Box<dyn Error>> {
    let wishes = Wishes::default()
        .block_size(BlockSize::new(BLOCK_SIZE))
        .window(WindowSize::new(WINDOW))
        .mode(mode);
    // Who waits for its turn at an iterative server would wait for as long as all others take.
    let grace = Duration::from_millis(500);
    let load = Load::of([file]).clients(clients).duration(duration).grace(grace);
    let tally = Client::new(server).wishes(wishes).load(&load, |_| {
        look();
        ControlFlow::Continue(())
    })?;
    Ok(Came {
        seconds: duration.as_secs_f64(),
        bytes: tally.bytes,
        whole: (tally.transfers_per_second() * duration.as_secs_f64()) as u64,
        failed: tally.failed(),
        p50: tally.transfer.quantile(0.5),
        p99: tally.transfer.quantile(0.99),
    })
}

/// Clients whose answers take a round trip.
fn far(
    server: SocketAddr,
    file: &'static str,
    clients: usize,
    duration: Duration,
    look: &mut impl FnMut(),
) -> Result<Came, Box<dyn Error>> {
    let began = Instant::now();
    let client = move |_| {
        let work = move || {
            let (mut times, mut failed, mut bytes) = (Vec::new(), 0, 0);
            while began.elapsed() < duration {
                let asked = Instant::now();
                match fetch(server, file) {
                    // What ends later is not of this time.
                    Ok(_) if began.elapsed() > duration => {}
                    Ok(len) => {
                        bytes += len;
                        times.push(asked.elapsed());
                    }
                    Err(_) => failed += 1,
                }
            }
            (times, failed, bytes)
        };
        thread::Builder::new().stack_size(64 << 10).spawn(work)
    };
    let clients = (0..clients).map(client).collect::<io::Result<Vec<_>>>()?;
    while began.elapsed() < duration {
        look();
        thread::sleep(duration / 10);
    }
    let (mut times, mut came) = (Vec::new(), Came::default());
    for client in clients {
        let (its, failed, bytes) = client.join().map_err(|_| "a client panicked")?;
        times.extend(its);
        came.failed += failed;
        came.bytes += bytes;
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (came.seconds, came.whole) = (duration.as_secs_f64(), times.len() as u64);
    (came.p50, came.p99) = (at(50), at(99));
    Ok(came)
}

/// Downloads a file in lock-step, and tells its length.
fn fetch(server: SocketAddr, file: &str) -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let size = BLOCK_SIZE.to_string();
    let request = [&b"\0\x01"[..], file.as_bytes(), b"\0octet\0blksize\0", size.as_bytes(), b"\0"];
    thread::sleep(ROUND_TRIP);
    socket.send_to(&request.concat(), server)?;
    let (mut packet, mut bytes) = ([0; BLOCK_SIZE as usize + 4], 0);
    loop {
        let (len, from) = socket.recv_from(&mut packet)?;
        let (ack, is_last) = match Packet::parse(&packet[..len]) {
            Ok(Packet::Oack(_)) => ([0, 4, 0, 0], false),
            Ok(Packet::Data { payload, .. }) => {
                bytes += payload.len() as u64;
                ([0, 4, packet[2], packet[3]], payload.len() < usize::from(BLOCK_SIZE))
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        thread::sleep(ROUND_TRIP);
        socket.send_to(&ack, from)?;
        if is_last {
            return Ok(bytes);
        }
    }
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
        // A quarter is kept for clients that have answered.
        command.args(["--max-threads", &(2 * threads).to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut lines = out.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            line.trim().strip_prefix("listening")?.split_whitespace().next()?.parse().ok()
        });
        // Else its banner could find nobody to read it.
        thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or("the server does not start")?;
        Ok(Self { child, address })
    }

    /// The process that starts those of transfers, and these.
    fn children(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|one| one.file_name().to_str()?.parse().ok());
        let parent = |pid: u32| -> Option<u32> {
            let stat = proc(pid, "stat").ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
        };
        let pairs: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let of = |parents: &[u32]| -> Vec<u32> {
            pairs.iter().filter(|(_, of)| parents.contains(of)).map(|(pid, _)| *pid).collect()
        };
        let mut all = of(&[self.child.id()]);
        all.extend(of(&all));
        all
    }

    fn threads(&self) -> u64 {
        let all = self.children().into_iter().chain([self.child.id()]);
        all.filter_map(|pid| self.status(pid, "Threads")).sum()
    }

    /// Megabytes, where what they share is counted once.
    fn memory_of_children(&self) -> f64 {
        let of = |pid| {
            let told = proc(pid, "smaps_rollup").ok()?;
            let line = told.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        self.children().into_iter().filter_map(of).sum::<f64>() / 1e3
    }

    /// A number of `/proc/PID/status`.
    fn status(&self, pid: u32, field: &str) -> Option<u64> {
        let status = proc(pid, "status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line?.split_whitespace().next()?.parse().ok()
    }

    /// Of all threads, in user and in system mode, and of the processes that have ended.
    fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let mut ticks = 0;
        for pid in self.children().into_iter().chain([self.child.id()]) {
            let Ok(stat) = proc(pid, "stat") else { continue };
            let (_, fields) = stat.rsplit_once(") ").ok_or("no stat")?;
            let fields = fields.split(' ').skip(11).take(4).map(str::parse::<u64>);
            ticks += fields.sum::<Result<u64, _>>()?;
        }
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(ticks as f64 / per_second as f64)
    }
}

fn proc(pid: u32, file: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
