//! `rtftpd` as a process.
#![allow(dead_code)] // Each test program uses a part of it.

use super::child;
use super::peer::Peer;
use super::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tftpkit::server::PortRange;

/// The lines so far.
type Said = Arc<Mutex<String>>;

/// The real program, as a child. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    banner: Said,
    log: Said,
}

/// What a server that was killed has left, for the next one that takes uploads to find.
pub(crate) const LEFT: (&str, &[u8]) = (".rtftp-0123456789abcdef.part", b"left");

impl Daemon {
    pub(crate) fn program() -> PathBuf {
        env!("CARGO_BIN_EXE_rtftpd").into()
    }

    /// Serves `root` on 127.0.0.1.
    #[track_caller]
    pub(crate) fn serve(root: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(Self::program());
        command.arg(root).args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(&mut command)
    }

    /// Serves `root` on 127.0.0.1 behind `wrapper`, which ends with what executes its arguments.
    pub(crate) fn behind(wrapper: &[&str], root: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(Self::program()).arg(root);
        Self::spawn(command.args(["--listen", "127.0.0.1:0"]).args(arguments))
    }

    /// What starts it as systemd starts a service that has one socket, which is its standard input.
    pub(crate) fn activation(arguments: &[&str], root: &Path) -> Command {
        const AS_SYSTEMD: &str =
            r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", AS_SYSTEMD]).arg(Self::program()).arg(root).args(arguments);
        if Uid::effective().is_root() {
            command.env("RTFTPD_USER", "0");
        }
        command
    }

    /// Serves `root` at a socket that is handed over as systemd does it.
    #[track_caller]
    pub(crate) fn activated(socket: &UdpSocket, arguments: &[&str], root: &Path) -> Self {
        let socket = OwnedFd::from(socket.try_clone().expect("the socket once more"));
        Self::spawn_on(&mut Self::activation(arguments, root), socket.into())
    }

    /// Starts `command`, which becomes an rtftpd that shows its banner. Where root runs the tests it stays root, whose the
    /// folders of tests are.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        const USER: &str = "RTFTPD_USER";
        let is_set = command.get_envs().any(|(name, value)| name == USER && value.is_some());
        if Uid::effective().is_root() && !is_set {
            command.env(USER, "0");
        }
        Self::spawn_as_any(command)
    }

    /// The same, as whatever user it becomes by itself.
    #[track_caller]
    pub(crate) fn spawn_as_any(command: &mut Command) -> Self {
        Self::spawn_on(command, Stdio::null())
    }

    /// The same with another standard input.
    #[track_caller]
    pub(crate) fn spawn_on(command: &mut Command, stdin: Stdio) -> Self {
        fn collect(pipe: Option<impl Read + Send + 'static>) -> Said {
            let said = Said::default();
            let (lines, out) = (Arc::clone(&said), BufReader::new(pipe.expect("a pipe")).lines());
            std::thread::spawn(move || {
                for line in out.map_while(Result::ok) {
                    let mut lines = lines.lock().expect("what it said");
                    lines.push_str(&line);
                    lines.push('\n');
                }
            });
            said
        }
        let mut child = child::started_on(command, stdin);
        let (banner, log) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let mut daemon = Self { child, address: (Ipv4Addr::UNSPECIFIED, 0).into(), banner, log };
        let address = |line: &str| {
            line.trim().strip_prefix("listening")?.split_whitespace().next()?.parse().ok()
        };
        daemon.address = until("the address in the banner of rtftpd", || {
            let ended = daemon.child.try_wait().expect("a child").is_some();
            let banner = daemon.banner.lock().expect("the banner").clone();
            let found = banner.lines().find_map(address).or_else(|| daemon.told_as_json());
            if found.is_none() && ended {
                until("its last words", || {
                    daemon.log.lock().ok().filter(|log| !log.is_empty()).map(drop)
                });
                panic!("it does not start: {}", daemon.log.lock().expect("the log"));
            }
            found
        });
        daemon
    }

    /// The address in the log of a server whose banner is for programs.
    fn told_as_json(&self) -> Option<SocketAddr> {
        let line = self.logged(&["\"message\":\"listening\""])?;
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        line["address"].as_str()?.parse().ok()
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.address)
    }

    /// The banner, to the line that is its last off a terminal on a machine with one address.
    pub(crate) fn banner(&self) -> String {
        until("the banner", || {
            let banner = self.banner.lock().expect("the banner").clone();
            banner.contains("  or  ").then_some(banner)
        })
    }

    /// Where its page is, if it has one.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        let banner = self.banner();
        let line = banner.lines().find_map(|line| line.trim().strip_prefix("page"))?;
        line.trim().strip_prefix("http://")?.strip_suffix('/')?.parse().ok()
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it lives");
    }

    /// Its exit status, once it has ended.
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child")?.code()
    }

    /// From now on it has so many descriptors at most.
    pub(crate) fn limit_descriptors(&self, most: usize) {
        let limit = ["--pid", &self.pid(), &format!("--nofile={most}:20000")];
        let told = child::output(Command::new("prlimit").args(limit));
        assert!(told.status.success(), "{told:?}");
    }

    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// What `/proc` says of each of its threads, each by its name.
    pub(crate) fn statuses(&self) -> Vec<(String, String)> {
        let tasks = std::fs::read_dir(self.proc("task")).expect("it lives").flatten();
        let read = |file: PathBuf| std::fs::read_to_string(file).ok();
        tasks
            .filter_map(|task| {
                Some((read(task.path().join("comm"))?, read(task.path().join("status"))?))
            })
            .collect()
    }

    /// A number of `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// How many threads have this name.
    pub(crate) fn threads(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(self.proc("task")).expect("it lives").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|comm| comm.trim() == name).count()
    }

    /// The processes of transfers that its spawner has started.
    pub(crate) fn transfer_processes(&self) -> Vec<Pid> {
        transfer_processes_of(Pid::from_raw(self.child.id().cast_signed()))
    }

    /// Threads that drive a transfer.
    pub(crate) fn transfer_threads(&self) -> usize {
        self.threads("transfer")
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it lives").count()
    }

    /// Descriptors that are no sockets: a transfer has one as long as it is under way, and none while it only dallies.
    pub(crate) fn files(&self) -> usize {
        let all = std::fs::read_dir(self.proc("fd")).expect("it lives").flatten();
        let names = all.filter_map(|one| std::fs::read_link(one.path()).ok());
        names.filter(|name| !name.to_string_lossy().starts_with("socket:")).count()
    }

    /// Waits for a log line that has all these words, and gives it.
    #[track_caller]
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        until(&format!("a log line with {words:?}"), || self.logged(words))
    }

    /// Waits until it has looked for what was left, where there is [`LEFT`] in its folder: it begins with that at some
    /// time after the banner. An upload before that may lose the name of its temporary, and takes another.
    #[track_caller]
    pub(crate) fn has_swept(&self) {
        self.log_line(&["removed unfinished uploads"]);
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The first log line so far that has all these words.
    pub(crate) fn logged(&self, words: &[&str]) -> Option<String> {
        let log = self.log.lock().expect("the log");
        let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned)
    }

    /// All lines so far that have these words.
    pub(crate) fn all_logged(&self, words: &[&str]) -> Vec<String> {
        let log = self.log.lock().expect("the log");
        let found = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned).collect()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address of this machine where all ports are for one test, but [`Own::CLAIM`], as long as this lives.
pub(crate) struct Own {
    pub(crate) ip: Ipv4Addr,
    _claim: UdpSocket,
}

impl Own {
    /// Whoever has this port of an address has all of it.
    const CLAIM: u16 = 19_999;
    /// Lower than those that the system gives to whoever asks for any, which may be of all addresses.
    pub(crate) const FIRST: u16 = 20_000;

    pub(crate) fn new() -> Self {
        until("an address that is nobody's", || {
            let [a, b, c] = rand::random();
            let ip = Ipv4Addr::new(127, a, b, c % 253 + 2);
            let claim = UdpSocket::bind((ip, Self::CLAIM)).ok();
            claim.map(|_claim| Self { ip, _claim })
        })
    }

    /// So many ports of it, and how `--ports` has them.
    pub(crate) fn ports(count: u16) -> (PortRange, String) {
        let range = PortRange::new(Self::FIRST, Self::FIRST + count - 1).expect("a range");
        (range, range.to_string())
    }

    /// What `--listen` takes for any port there.
    pub(crate) fn any_port(&self) -> String {
        format!("{}:0", self.ip)
    }

    /// Serves `root` there, from so many ports.
    pub(crate) fn serve(&self, root: &Path, ports: u16, arguments: &[&str]) -> Daemon {
        let mut command = Command::new(Daemon::program());
        command.arg(root).args(["--listen", &self.any_port()]);
        Daemon::spawn(command.args(["--ports", &Self::ports(ports).1]).args(arguments))
    }
}

/// The processes of this name that `parent` has started.
pub(crate) fn children(parent: Pid, name: &str) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|one| one.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.split_once(&format!("({name})")).map(|(_, rest)| rest.to_owned());
        let mut fields = rest.iter().flat_map(|rest| rest.split_whitespace());
        let state = fields.next();
        state != Some("Z") && fields.next() == Some(&parent.to_string())
    };
    pids.filter(is_child).map(Pid::from_raw).collect()
}

/// The processes of transfers that the spawner of `server` has started.
pub(crate) fn transfer_processes_of(server: Pid) -> Vec<Pid> {
    let spawners = children(server, "rtftpd-spawner");
    spawners.into_iter().flat_map(|one| children(one, "rtftpd-transfer")).collect()
}
