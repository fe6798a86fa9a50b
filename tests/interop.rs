//! The programs of the field: busybox, tftp-hpa, atftp and curl against `rtftpd`, and `rtftp` against tftp-hpa's
//! server, dnsmasq and `rtftpd`. Every byte is compared.
//!
//! `tests/setup` installs what is foreign. A program that is missing fails the tests that need it.

#[path = "common/clients.rs"]
mod clients;
mod common;
#[path = "common/foreign.rs"]
mod foreign;

use clients::{
    ATFTP, BUSYBOX, CURL, Client, DEFAULTS, NETASCII, RTFTP, Settings, TFTP_HPA, installed, lines,
    netascii, octets, said, text,
};
use common::{DEADLINE, until};
use foreign::{as_root, in_tftpd};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nix::unistd::Uid;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Around the borders of a block, and many blocks.
const SIZES: [usize; 6] = [0, 1, 511, 512, 513, 1 << 20];
/// More than 65,536 blocks of 512 bytes, and the last of them is full.
const ROLL_OVER: usize = 40_000_000;
/// How many bytes travel in a second, at least; the foreign clients would wait for minutes.
const SLOWEST: u64 = 2_000_000;

// ---- Clients ----

impl Client {
    /// Gets and puts `content`, and compares what arrived.
    fn exchanges(&self, server: &Server, settings: Settings<'_>, content: &[u8]) {
        self.gets(server, settings, content, content);
        self.puts(server, settings, content);
    }

    fn gets(&self, server: &Server, settings: Settings<'_>, served: &[u8], expected: &[u8]) {
        let (name, here) = (fresh_name(), tempfile::tempdir().expect("a folder"));
        let path = server.root().join(&name);
        fs::write(&path, served).expect("a file to serve");
        // Foreign servers want that everybody may read it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        let file = here.path().join("got");
        succeeds(&run(self.get, server, settings, &name, &file));
        same(&fs::read(&file).expect("the file that was got"), expected, self.get);
    }

    fn puts(&self, server: &Server, settings: Settings<'_>, content: &[u8]) {
        let (name, here) = (fresh_name(), tempfile::tempdir().expect("a folder"));
        let file = here.path().join("given");
        fs::write(&file, content).expect("a file to put");
        succeeds(&run(self.put, server, settings, &name, &file));
        same(&fs::read(server.root().join(&name)).expect("the upload"), content, self.put);
    }

    /// What it says and how it ends when it asks for a file that is not there.
    fn misses(&self, server: &Server) -> Output {
        let here = tempfile::tempdir().expect("a folder");
        run(self.get, server, DEFAULTS, "missing", &here.path().join("got"))
    }

    /// What it says and how it ends when it puts a file.
    fn tries_to_put(&self, server: &Server) -> Output {
        let here = tempfile::tempdir().expect("a folder");
        let file = here.path().join("given");
        fs::write(&file, "not wanted").expect("a file to put");
        run(self.put, server, DEFAULTS, "unwanted", &file)
    }

    /// The listing as a file.
    fn lists(&self, server: &Server) -> String {
        let here = tempfile::tempdir().expect("a folder");
        let file = here.path().join("listing");
        succeeds(&run(self.get, server, DEFAULTS, ".list", &file));
        fs::read_to_string(&file).expect("a listing in UTF-8")
    }
}

/// Runs a line of shell, and shows what came of it where the test fails.
fn run(line: &str, server: &Server, settings: Settings<'_>, name: &str, file: &Path) -> Output {
    let sizes = [&server.root().join(name), file].map(fs::metadata).into_iter().flatten();
    let patience = sizes.map(|file| file.len() / SLOWEST).max().unwrap_or_default();
    let patience = DEADLINE + Duration::from_secs(patience);
    let output = clients::run(line, server.address, settings, (name, file), patience);
    println!("$ {line}\n  with {settings:?} NAME={name}: {}\n{}", output.status, said(&output));
    output
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "it failed, as shown above");
}

fn same(got: &[u8], expected: &[u8], line: &str) {
    if got != expected {
        let alike = got.iter().zip(expected).take_while(|(one, other)| one == other).count();
        let (got, expected) = (got.len(), expected.len());
        panic!("{got} bytes instead of {expected}, of which the first {alike} are alike: {line}");
    }
}

/// A name that no other transfer has.
fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("file-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

// ---- Servers ----

/// A server on loopback that serves a folder of its own until it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// `rtftpd` at a free port of `ip`.
    fn rtftpd(ip: &str, uploads: &str) -> Self {
        let folder = new_folder();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtftpd"));
        command.arg(folder.path().join("root"));
        command.args(["--listen", &format!("{ip}:0"), "--uploads", uploads]);
        if Uid::effective().is_root() {
            // Whose the folder is.
            command.env("RTFTPD_USER", "0");
        }
        let child = start(command.stdin(Stdio::null()), &folder);
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), folder };
        server.address = until("the address in rtftpd's banner", || {
            assert!(server.is_running(), "rtftpd ended, see its output");
            let log = server.log();
            let line = log.split_inclusive('\n').find(|line| line.contains("  listening  "))?;
            line.strip_suffix('\n')?.split_whitespace().nth(1)?.parse().ok()
        });
        server
    }

    fn with_uploads() -> Self {
        Self::rtftpd("127.0.0.1", "overwrite")
    }

    /// tftp-hpa's server, which is given its socket, as inetd does: it takes no port 0.
    fn in_tftpd() -> Self {
        let folder = new_folder();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let mut command = in_tftpd(socket, folder.path());
        let child = start(command.arg(folder.path().join("root")), &folder);
        let mut server = Self { child, address, folder };
        assert!(server.comes(), "in.tftpd does not start:\n{}", server.log());
        server
    }

    /// dnsmasq. Its port is always 69, so it gets an address of its own.
    fn dnsmasq() -> Self {
        for _ in 0..5 {
            let folder = new_folder();
            let [a, b, c] = rand::random();
            let ip = Ipv4Addr::new(127, a, b, c % 253 + 2);
            let line = format!(
                "--no-daemon --conf-file=/dev/null --pid-file= --port=0 --user=root --bind-interfaces \
                 --listen-address={ip} --enable-tftp --tftp-no-fail --tftp-root={}",
                folder.path().join("root").display()
            );
            let mut command = Command::new(installed("dnsmasq"));
            let child = start(command.args(line.split(' ')).stdin(Stdio::null()), &folder);
            let mut server = Self { child, address: (ip, 69).into(), folder };
            if server.comes() {
                return server;
            }
            println!("dnsmasq ended:\n{}", server.log());
        }
        panic!("dnsmasq does not start, as shown above");
    }

    /// inetd, with the line of `packaging/` at an address of its own.
    fn of_inetd() -> Self {
        for _ in 0..5 {
            let folder = new_folder();
            let [a, b, c] = rand::random();
            let ip = Ipv4Addr::new(127, a, b, c % 253 + 2);
            let line = include_str!("../packaging/inetd/inetd.conf");
            let line = line.replace("\ntftp\t", &format!("\n{ip}:69\t"));
            let line = line.replace("/usr/sbin/rtftpd", env!("CARGO_BIN_EXE_rtftpd"));
            let root = folder.path().join("root").display().to_string();
            // It is often gone before the next client comes.
            let more = format!("{root} --uploads overwrite --user 0 --idle-exit 0.1");
            let file = folder.path().join("inetd.conf");
            fs::write(&file, line.replace("/srv/tftp", &more)).expect("a file");
            let mut command = Command::new(installed("inetd"));
            let child = start(command.arg("-d").arg(&file).stdin(Stdio::null()), &folder);
            let mut server = Self { child, address: (ip, 69).into(), folder };
            if server.comes() {
                return server;
            }
            println!("inetd ended:\n{}", server.log());
        }
        panic!("inetd does not start, as shown above");
    }

    /// Waits until it answers, or has ended.
    fn comes(&mut self) -> bool {
        until("the server answers or ends", || match answers(self.address) {
            true => Some(true),
            false => (!self.is_running()).then_some(false),
        })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_running() {
            // The group: tftp-hpa's server has a process for each transfer.
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if thread::panicking() {
            println!("The server at {} said:\n{}", self.address, self.log());
        }
    }
}

/// A folder with the folder to serve and the log in it.
fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("root")).expect("a folder to serve");
    folder
}

/// Starts a server in a process group of its own, its output in the log.
fn start(command: &mut Command, folder: &TempDir) -> Child {
    let log = fs::File::create(folder.path().join("log")).expect("a log");
    let both = log.try_clone().expect("the log once more");
    let command = command.stdout(log).stderr(both).process_group(0);
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Whether a server answers there.
fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    // The answer comes from another port.
    socket.send_to(b"\0\x01nothing\0octet\0", address).is_ok()
        && socket.recv_from(&mut [0; 516]).is_ok()
}

// ---- The clients of the field against rtftpd ----

#[test]
fn busybox_gets_and_puts_every_size() {
    let server = Server::with_uploads();
    for settings in [DEFAULTS, &[("BLKSIZE", "128")], &[("BLKSIZE", "1428")]] {
        for size in SIZES {
            BUSYBOX.exchanges(&server, settings, &octets(size));
        }
    }
    BUSYBOX.exchanges(&server, &[("BLKSIZE", "65464")], &octets(1 << 20));
}

#[test]
fn tftp_hpa_gets_and_puts_every_size_in_both_modes() {
    let server = Server::with_uploads();
    for size in SIZES {
        TFTP_HPA.exchanges(&server, DEFAULTS, &octets(size));
        TFTP_HPA.exchanges(&server, NETASCII, &text(size));
    }
}

#[test]
fn atftp_gets_and_puts_every_size_in_both_modes_and_in_windows() {
    let server = Server::with_uploads();
    let windows: Settings<'_> = &[("BLKSIZE", "1428"), ("WINDOW", "8")];
    for size in SIZES {
        for settings in [DEFAULTS, &[("BLKSIZE", "8192")], &[("WINDOW", "8")], windows] {
            ATFTP.exchanges(&server, settings, &octets(size));
        }
        ATFTP.exchanges(&server, NETASCII, &text(size));
        ATFTP.exchanges(&server, &[("ASCII", "ascii"), ("WINDOW", "4")], &text(size));
    }
}

#[test]
fn curl_gets_and_puts_every_size() {
    let server = Server::with_uploads();
    for size in SIZES {
        for settings in [DEFAULTS, &[("PLAIN", "1")], &[("BLKSIZE", "1428")]] {
            CURL.exchanges(&server, settings, &octets(size));
        }
    }
    CURL.exchanges(&server, &[("BLKSIZE", "65464")], &octets(1 << 20));
}

#[test]
fn every_client_gets_and_puts_where_inetd_starts_the_server() {
    if !as_root(every_client_gets_and_puts_where_inetd_starts_the_server) {
        return;
    }
    let server = Server::of_inetd();
    for client in [BUSYBOX, TFTP_HPA, ATFTP, CURL, RTFTP] {
        client.exchanges(&server, DEFAULTS, &octets(70_000));
    }
}

/// curl asks for netascii and stores what comes, and on the way out it takes a bare CR for nothing special.
#[test]
fn curl_gets_netascii_as_it_travels_and_puts_lines() {
    let server = Server::with_uploads();
    for size in SIZES {
        CURL.gets(&server, NETASCII, &text(size), &netascii(&text(size)));
        CURL.puts(&server, NETASCII, &lines(size));
    }
}

#[test]
fn block_numbers_roll_over_with_every_client() {
    let (server, content) = (Server::with_uploads(), octets(ROLL_OVER));
    for client in [BUSYBOX, TFTP_HPA, ATFTP, CURL] {
        client.exchanges(&server, DEFAULTS, &content);
    }
    ATFTP.exchanges(&server, &[("WINDOW", "16")], &content);
}

/// atftp asks for whatever window it is told to, its receive buffer holds three or four such blocks.
#[test]
fn a_window_that_the_client_cannot_hold_is_got_all_the_same() {
    let (server, content) = (Server::with_uploads(), octets(ROLL_OVER));
    ATFTP.gets(&server, &[("BLKSIZE", "65464"), ("WINDOW", "16")], &content, &content);
}

#[test]
fn every_client_gets_and_puts_by_ipv6() {
    let server = Server::rtftpd("[::1]", "overwrite");
    for client in [BUSYBOX, TFTP_HPA, ATFTP, CURL, RTFTP] {
        client.exchanges(&server, DEFAULTS, &octets(70_000));
    }
}

#[test]
fn every_client_gets_the_listing_as_a_file() {
    let server = Server::rtftpd("127.0.0.1", "off");
    fs::write(server.root().join("kernel"), octets(1234)).expect("a file");
    for client in [BUSYBOX, TFTP_HPA, ATFTP, CURL, RTFTP] {
        let listing = client.lists(&server);
        let line = listing.lines().find(|line| line.ends_with(" kernel"));
        assert!(line.is_some_and(|line| line.contains(" 1234 ")), "{listing}");
    }
}

/// tftp-hpa's exit status is always 0.
#[test]
fn every_client_says_that_a_file_is_not_there() {
    let server = Server::rtftpd("127.0.0.1", "off");
    let clients = [(BUSYBOX, 1), (TFTP_HPA, 0), (ATFTP, 255), (CURL, 68), (RTFTP, 4)];
    for (client, status) in clients {
        let output = client.misses(&server);
        assert_eq!(output.status.code(), Some(status), "{}", client.get);
        assert!(said(&output).contains("not found"), "{}", client.get);
    }
}

#[test]
fn every_client_says_that_an_upload_is_not_allowed() {
    let server = Server::rtftpd("127.0.0.1", "off");
    let clients = [(BUSYBOX, 1), (TFTP_HPA, 0), (ATFTP, 255), (CURL, 69), (RTFTP, 5)];
    for (client, status) in clients {
        let output = client.tries_to_put(&server);
        assert_eq!(output.status.code(), Some(status), "{}", client.put);
        assert!(said(&output).contains("uploads are off"), "{}", client.put);
        assert!(!server.root().join("unwanted").exists(), "{}", client.put);
    }
}

// ---- rtftp against the servers of the field ----

/// From what is asked for without being told to, to nothing.
const RTFTP_SETTINGS: [Settings<'static>; 5] = [
    DEFAULTS,
    &[("PLAIN", "1")],
    &[("BLKSIZE", "512"), ("WINDOW", "1")],
    &[("BLKSIZE", "1428"), ("WINDOW", "8")],
    &[("BLKSIZE", "65464"), ("WINDOW", "4")],
];

fn rtftp_exchanges_every_size_with(server: &Server) {
    for size in SIZES {
        for settings in RTFTP_SETTINGS {
            RTFTP.exchanges(server, settings, &octets(size));
        }
        RTFTP.exchanges(server, NETASCII, &text(size));
        RTFTP.exchanges(server, &[("ASCII", "ascii"), ("PLAIN", "1")], &text(size));
    }
}

#[test]
fn rtftp_exchanges_every_size_with_rtftpd() {
    rtftp_exchanges_every_size_with(&Server::with_uploads());
}

#[test]
fn rtftp_exchanges_every_size_with_tftp_hpa() {
    if !as_root(rtftp_exchanges_every_size_with_tftp_hpa) {
        return;
    }
    rtftp_exchanges_every_size_with(&Server::in_tftpd());
}

/// Of netascii, dnsmasq knows line ends only: a CR of the file travels bare.
#[test]
fn rtftp_gets_every_size_from_dnsmasq() {
    if !as_root(rtftp_gets_every_size_from_dnsmasq) {
        return;
    }
    let server = Server::dnsmasq();
    for size in SIZES {
        let (bytes, text) = (octets(size), lines(size));
        for settings in RTFTP_SETTINGS {
            RTFTP.gets(&server, settings, &bytes, &bytes);
        }
        RTFTP.gets(&server, NETASCII, &text, &text);
    }
}

#[test]
fn block_numbers_roll_over_with_every_server() {
    if !as_root(block_numbers_roll_over_with_every_server) {
        return;
    }
    let content = octets(ROLL_OVER);
    RTFTP.exchanges(&Server::with_uploads(), &[("PLAIN", "1")], &content);
    RTFTP.exchanges(&Server::with_uploads(), &[("BLKSIZE", "512")], &content);
    RTFTP.exchanges(&Server::in_tftpd(), &[("BLKSIZE", "512")], &content);
    RTFTP.gets(&Server::dnsmasq(), &[("BLKSIZE", "512")], &content, &content);
}

#[test]
fn rtftp_tells_that_a_foreign_server_lacks_a_file() {
    if !as_root(rtftp_tells_that_a_foreign_server_lacks_a_file) {
        return;
    }
    for server in [Server::in_tftpd(), Server::dnsmasq()] {
        let output = RTFTP.misses(&server);
        assert_eq!(output.status.code(), Some(4));
        assert!(said(&output).contains("not found"));
    }
}

#[test]
fn rtftp_tells_that_dnsmasq_takes_no_uploads() {
    if !as_root(rtftp_tells_that_dnsmasq_takes_no_uploads) {
        return;
    }
    let output = RTFTP.tries_to_put(&Server::dnsmasq());
    assert!(matches!(output.status.code(), Some(5 | 7)), "{:?}", output.status);
    assert!(said(&output).contains("the server says"));
}

#[test]
fn rtftp_lists_rtftpd_and_tells_of_a_server_that_cannot_list() {
    if !as_root(rtftp_lists_rtftpd_and_tells_of_a_server_that_cannot_list) {
        return;
    }
    let list =
        |server: &Server| run(r#"rtftp list "$SERVER""#, server, DEFAULTS, "", Path::new(""));
    let ours = Server::rtftpd("127.0.0.1", "off");
    let kernel = ours.root().join("kernel");
    fs::write(&kernel, octets(1234)).expect("a file");
    // A server that is root, as it is here, shows what everybody may read.
    fs::set_permissions(&kernel, fs::Permissions::from_mode(0o644)).expect("its mode");
    let output = list(&ours);
    succeeds(&output);
    assert!(said(&output).contains("kernel"));
    for server in [Server::in_tftpd(), Server::dnsmasq()] {
        let output = list(&server);
        assert_eq!(output.status.code(), Some(7));
        assert!(said(&output).contains("offers no listing"));
    }
}
