//! Our client and the field's use one `rtftpd` at once over a network that loses, doubles and delays, for as long as
//! one likes: `tests/soak MINUTES`. Every byte is compared, and the server's memory, descriptors and threads stay.
//!
//! `SOAK_MINUTES=n` says how long (a fifth of one by default), `SOAK_LOSS=n` how many of a hundred datagrams are lost (one
//! by default; of a foreign client's transfers some more may then fail), `SOAK_MODEL` what drives the server's transfers,
//! `SOAK_SEED=n` repeats a run as far as the scheduling of processes lets it.

#[path = "common/clients.rs"]
mod clients;
mod common;
#[path = "common/relay.rs"]
mod relay;

use clients::{ATFTP, BUSYBOX, CURL, Client, RTFTP, TFTP_HPA, lines, netascii, octets, said, text};
use common::{Daemon, folder, joined, rrq, seed, setting, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use relay::{Fate, Relay};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Around the borders of a block, and many blocks.
const SIZES: [usize; 6] = [0, 1, 511, 512, 513, 1 << 20];

/// Many blocks for those that wait for 5 or 6 seconds for each that is lost.
const MANY_FOR_THE_SLOW: usize = 50_000;

/// Clients at once.
const WORKERS: u64 = 6;

/// Foreign clients wait for minutes; one that has not done it by then has given up.
const PATIENCE: Duration = Duration::from_secs(40);

/// What clients still get when the time is up.
const GRACE: Duration = Duration::from_secs(5);

/// Growth of the server's memory after the first quarter that is no leak: stacks and buffers that the C library keeps
/// for as many transfers as there ever were at once.
const KEPT_KIB: u64 = 4 << 10;

/// Of so many transfers of one kind a foreign client may give up one, and a few where there were few: it has a handful
/// of tries for each datagram, leaves when it has sent its last block twice, or takes longer than we wait. `rtftp`, which
/// repeats itself for half a minute, never does.
const ONE_IN: u64 = 20;
const MAY_GIVE_UP: u64 = 2;

/// What a datagram's way is like. Of a hundred so many are lost, one arrives twice, and two are late.
fn weather(seed: u64, lost: u64) -> impl FnMut(&[u8]) -> Fate + Send {
    let mut random = StdRng::seed_from_u64(seed);
    move |_| {
        let late = Duration::from_micros(random.random_range(0..20_000));
        match random.random_range(0_u64..100).checked_sub(lost) {
            None => vec![],
            Some(0) => vec![Duration::ZERO, late],
            Some(1 | 2) => vec![late],
            Some(_) => vec![Duration::ZERO],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Put,
    List,
}

/// One transfer by one client.
struct Job {
    who: &'static str,
    client: Client,
    verb: Verb,
    settings: &'static [(&'static str, &'static str)],
    size: usize,
}

const ASCII: (&str, &str) = ("ASCII", "ascii");
const PLAIN: (&str, &str) = ("PLAIN", "1");

impl Job {
    fn random(random: &mut StdRng) -> Self {
        let all: [(_, _, &[&[_]]); 5] = [
            (
                "rtftp",
                RTFTP,
                &[
                    &[],
                    &[PLAIN],
                    &[("BLKSIZE", "1428"), ("WINDOW", "8")],
                    &[ASCII],
                    &[ASCII, PLAIN],
                ],
            ),
            ("busybox", BUSYBOX, &[&[], &[("BLKSIZE", "1428")]]),
            ("tftp-hpa", TFTP_HPA, &[&[], &[ASCII]]),
            ("atftp", ATFTP, &[&[], &[("BLKSIZE", "1428"), ("WINDOW", "8")], &[ASCII]]),
            ("curl", CURL, &[&[], &[PLAIN], &[("BLKSIZE", "1428")], &[ASCII]]),
        ];
        let [who, verb, size] = [all.len(), 5, SIZES.len()].map(|n| random.random_range(0..n));
        let (who, client, settings) = &all[who];
        let verb = [Verb::Get, Verb::Get, Verb::Put, Verb::Put, Verb::List][verb];
        let settings = match verb {
            Verb::List => &[],
            _ => settings[random.random_range(0..settings.len())],
        };
        let settings: clients::Settings<'static> = match (*who, verb) {
            // It repeats a block of netascii with other bytes in it.
            ("atftp", Verb::Put) if settings.contains(&ASCII) => &[],
            _ => settings,
        };
        // Foreign clients resend by clocks of their own.
        let slow = *who != "rtftp" && verb == Verb::Put;
        let size = if slow { SIZES[size].min(MANY_FOR_THE_SLOW) } else { SIZES[size] };
        Self { who, client: Client { ..*client }, verb, settings, size }
    }

    fn is_text(&self) -> bool {
        self.settings.contains(&ASCII)
    }

    /// What is served under this job's name or put, and what arrives.
    fn contents(&self) -> (Vec<u8>, Vec<u8>) {
        let sent = match (self.is_text(), self.who, self.verb) {
            (false, ..) => octets(self.size),
            // A bare CR is nothing special to curl.
            (true, "curl", Verb::Put) => lines(self.size),
            (true, ..) => text(self.size),
        };
        let arrives = match (self.who, self.verb) {
            ("curl", Verb::Get) if self.is_text() => netascii(&sent),
            _ => sent.clone(),
        };
        (sent, arrives)
    }

    /// Whether the client says that all is well.
    fn is_done(&self, output: &Output) -> bool {
        // tftp-hpa's exit status is always 0.
        output.status.success() && (self.who != "tftp-hpa" || said(output).trim().is_empty())
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} of {}", self.who, self.verb, self.settings, self.size)
    }
}

/// How many OACKs curl has taken.
fn oacks(output: &Output) -> usize {
    said(output).matches("tsize parsed from OACK").count()
}

/// What has come of all jobs.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    done: u64,
    bytes: u64,
    gave_up: u64,
    took: Duration,
    longest: Duration,
}

struct Soak {
    server: SocketAddr,
    root: std::path::PathBuf,
    end: Instant,
    tallies: Mutex<BTreeMap<(&'static str, String), Tally>>,
    wrong: Mutex<Vec<String>>,
}

impl Soak {
    fn work(&self, worker: u64, mut random: StdRng) {
        let here = folder(&[]);
        for n in 0.. {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let job = Job::random(&mut random);
            let (name, file) = (format!("{worker}-{n}"), here.path().join("file"));
            let begun = Instant::now();
            let well = self.run(&job, &name, &file, PATIENCE.min(left + GRACE));
            let mut tallies = self.tallies.lock().expect("no panic");
            let tally = tallies.entry((job.who, format!("{:?}", job.verb))).or_default();
            tally.longest = tally.longest.max(begun.elapsed());
            match well {
                Ok(None) => {
                    tally.done += 1;
                    tally.bytes += job.size as u64;
                    tally.took += begun.elapsed();
                }
                // It was not let go on: the last of this worker.
                Ok(Some(_)) if Instant::now() > self.end => {}
                Ok(Some(said)) => {
                    let seconds = begun.elapsed().as_secs();
                    let last = said.trim().lines().last().unwrap_or("without a word");
                    println!("given up after {seconds} s: {name}, {job}: {last}");
                    tally.gave_up += 1;
                }
                Err(why) => {
                    self.wrong.lock().expect("no panic").push(format!("{job}: {why}"));
                }
            }
            for file in [&self.root.join(&name), &file] {
                let _ = std::fs::remove_file(file);
            }
        }
    }

    /// What the client said if it did not do it; an error is what must not be.
    fn run(
        &self,
        job: &Job,
        name: &str,
        file: &Path,
        patience: Duration,
    ) -> Result<Option<String>, String> {
        let (sent, arrives) = job.contents();
        let there = self.root.join(name);
        let (line, source, target) = match job.verb {
            Verb::Get => (job.client.get, Some(&*there), file),
            Verb::Put => (job.client.put, Some(file), &*there),
            Verb::List if job.who == "rtftp" => (r#"rtftp list "$SERVER" >"$FILE""#, None, file),
            Verb::List => (job.client.get, None, file),
        };
        if let Some(source) = source {
            std::fs::write(source, &sent).expect("a file");
        }
        let asked = if job.verb == Verb::List { ".list" } else { name };
        let output = clients::run(line, self.server, job.settings, (asked, file), patience);
        let done = job.is_done(&output);
        let gave_up = || Ok(Some(said(&output)));
        let arrived = std::fs::read(target);
        // What a foreign client leaves of a download that it gave up is its own affair.
        let ours = job.verb == Verb::Put || job.who == "rtftp";
        match (done, arrived, job.verb) {
            (true, Ok(listing), Verb::List)
                if listing.windows(7).any(|name| name == b"welcome") =>
            {
                Ok(None)
            }
            (true, Ok(bytes), Verb::Get | Verb::Put) if bytes == arrives => Ok(None),
            (false, Ok(bytes), Verb::Get | Verb::Put) if bytes == arrives => gave_up(),
            (false, Err(_), _) => gave_up(),
            // busybox leaves when it has sent its last block a second time, whatever comes of it.
            (true, Err(_), Verb::Put) if job.who == "busybox" => gave_up(),
            (false, Ok(_), _) if !ours => gave_up(),
            // curl goes on with its next block when an OACK comes once more, so that the server never gets one.
            (_, Ok(_), Verb::Put) if job.who == "curl" && oacks(&output) > 1 => gave_up(),
            (_, Ok(bytes), _) => Err(format!("{} bytes; {}", bytes.len(), said(&output))),
            (true, Err(error), _) => Err(format!("{error}; {}", said(&output))),
        }
    }

    fn total(&self) -> Tally {
        let tallies = self.tallies.lock().expect("no panic");
        tallies.values().fold(Tally::default(), |sum, tally| Tally {
            done: sum.done + tally.done,
            bytes: sum.bytes + tally.bytes,
            gave_up: sum.gave_up + tally.gave_up,
            took: sum.took + tally.took,
            longest: sum.longest.max(tally.longest),
        })
    }
}

/// Memory in KiB, descriptors, threads.
fn figures(daemon: &Daemon) -> (u64, usize, u64) {
    (daemon.status("VmRSS"), daemon.descriptors(), daemon.status("Threads"))
}

#[test]
fn many_clients_on_a_bad_network_get_every_byte_and_cost_the_server_nothing() {
    let minutes: f64 = setting("SOAK_MINUTES").unwrap_or(0.2);
    let lost: u64 = setting("SOAK_LOSS").unwrap_or(1);
    let seed = seed("SOAK_SEED");
    let model: String =
        setting("SOAK_MODEL").unwrap_or_else(|| ["threads", "events"][seed as usize % 2].into());
    println!(
        "SOAK_MINUTES={minutes} SOAK_LOSS={lost} SOAK_MODEL={model} {}",
        Daemon::program().display()
    );

    let root = folder(&[("welcome", b"welcome")]);
    // Who asked and went away is waited for no longer than the end of the test waits.
    let patient = ["--patience", "9"];
    let args = [&["--uploads", "overwrite", "--model", &*model][..], &patient].concat();
    let daemon = Daemon::serve(root.path(), &args);
    let relay = Relay::before(daemon.address, weather(seed, lost));
    let (started, whole) = (Instant::now(), Duration::from_secs_f64(60.0 * minutes));
    let soak = Arc::new(Soak {
        server: relay.address,
        root: root.path().into(),
        end: started + whole,
        tallies: Mutex::default(),
        wrong: Mutex::default(),
    });
    // All its threads run when it has served something.
    daemon.peer().fetch(&rrq("welcome", &[])).expect("a download");
    until("no transfer is left", || (daemon.transfer_threads() == 0).then_some(()));
    let before = figures(&daemon);
    let worker = |n: u64| {
        let (soak, random) = (Arc::clone(&soak), StdRng::seed_from_u64(seed ^ (n + 1)));
        std::thread::spawn(move || soak.work(n, random))
    };
    let workers: Vec<_> = (0..WORKERS).map(worker).collect();

    // The most memory of the first quarter and of the last.
    let (mut early, mut late) = (0, 0);
    let mut next_line = Duration::from_secs(10);
    while workers.iter().any(|worker| !worker.is_finished()) {
        std::thread::park_timeout(Duration::from_millis(100));
        let (passed, now) = (started.elapsed(), figures(&daemon));
        if passed < whole / 4 {
            early = early.max(now.0);
        } else if passed > whole * 3 / 4 {
            late = late.max(now.0);
        }
        if passed >= next_line {
            next_line += Duration::from_secs(10);
            let Tally { done, bytes, gave_up, .. } = soak.total();
            let (kib, descriptors, threads) = now;
            println!(
                "{:5.0} s: {done} transfers, {:.1} MB, {gave_up} given up; rtftpd: {kib} KiB, {descriptors} \
                 descriptors, {threads} threads",
                passed.as_secs_f64(),
                bytes as f64 / 1e6,
            );
        }
    }
    workers.into_iter().for_each(|worker| joined("a worker", worker));
    // What clients left in the middle ends when their ports are closed.
    drop(relay);
    let (_, descriptors, threads) = before;
    until("all is given back", || {
        let now = figures(&daemon);
        (now.1 <= descriptors && now.2 <= threads).then_some(())
    });
    for ((who, verb), tally) in &*soak.tallies.lock().expect("no panic") {
        println!(
            "{who:9} {verb:5} {:6} done in {:.2} s on average, {:3} given up, the longest {:.1} s",
            tally.done,
            tally.took.as_secs_f64() / tally.done.max(1) as f64,
            tally.gave_up,
            tally.longest.as_secs_f64()
        );
    }
    let after = figures(&daemon);
    println!(
        "rtftpd (KiB, descriptors, threads): {before:?} at first, {after:?} at last; {early} KiB, then {late} KiB at most"
    );

    assert_eq!(*soak.wrong.lock().expect("no panic"), Vec::<String>::new());
    let tallies = soak.tallies.lock().expect("no panic");
    for ((who, verb), Tally { done, gave_up, .. }) in &*tallies {
        let most = if *who == "rtftp" { 0 } else { MAY_GIVE_UP.max(done * lost / ONE_IN) };
        assert!(*gave_up <= most, "{who} {verb}: {gave_up} given up, {done} done");
    }
    // Who hangs until the time is up has not given up.
    let done: u64 = tallies.values().map(|tally| tally.done).sum();
    assert!(done >= 2 * WORKERS, "{done} done by {WORKERS}: they were held up");
    assert!(late <= early + KEPT_KIB, "{early} KiB in the first quarter, {late} KiB in the last");
}
