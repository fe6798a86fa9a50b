//! What `rtftpd` tells of packets, and of files that are not there: a dialogue in the log, captures of what failed, one line
//! for many misses.

mod common;

use common::apart::powerless;
use common::{
    Daemon, Peer, Running, ack, child, concurrent, error, folder, has_processes, pattern, rrq,
    show, until, wrq,
};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tftpkit::proto::Time;
use tftpkit::query::Query;
use tftpkit::server::{Listener, Tap, Way};
use tftpkit::store::Folder;
use tftpkit::transfer::Summary;

/// Listens to all, and panics at the second packet of files that are called so.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<String>>>);

struct Ear {
    all: Ears,
    panics: bool,
    packets: usize,
}

impl Tap for Ears {
    fn listen(
        &self,
        query: &Query,
        asked: SocketAddr,
        answers: SocketAddr,
    ) -> Option<Box<dyn Listener>> {
        assert_eq!(asked.ip(), answers.ip());
        let panics = query.name.as_bytes() == b"panics";
        (query.name.as_bytes() != b"unheard")
            .then(|| Box::new(Ear { all: self.clone(), panics, packets: 0 }) as Box<dyn Listener>)
    }
}

impl Listener for Ear {
    fn packet(&mut self, _: Time, way: Way, datagram: &[u8]) {
        self.packets += 1;
        assert!(!self.panics || self.packets < 2, "on purpose");
        self.all.0.lock().expect("what was heard").push(format!("{way:?} {}", show(datagram)));
    }

    fn ended(&mut self, summary: &Summary) {
        self.all.0.lock().expect("what was heard").push(format!("{summary}"));
    }
}

#[test]
fn an_embedders_tap_hears_each_packet_and_its_panic_ends_its_listening_alone() {
    let root =
        folder(&[("f", &pattern(1000, 1)), ("unheard", b"few"), ("panics", &pattern(1000, 1))]);
    // Where transfers have processes of their own there is nothing to hear, and a tap is refused.
    for config in concurrent().into_iter().filter(|config| !has_processes(config)) {
        let ears = Ears::default();
        let server =
            Running::start(config.tap(ears.clone()), Folder::open(root.path()).expect("a folder"));
        for (name, packets) in [("unheard", 0), ("panics", 1), ("f", 6)] {
            server.peer().fetch(&rrq(name, &[])).expect("a download");
            server.idle();
            let heard = std::mem::take(&mut *ears.0.lock().expect("what was heard"));
            let told = heard
                .iter()
                .filter(|line| line.starts_with("In ") || line.starts_with("Out "))
                .count();
            assert_eq!(told, packets.min(4), "{name}: {heard:?}");
            assert_eq!(heard.len(), if name == "f" { 5 } else { told }, "and its end: {heard:?}");
        }
    }
}

/// Each model of a server, by its options.
const MODELS: [&[&str]; 4] = [
    &["--model", "threads"],
    &["--model", "events"],
    &["--model", "iterative"],
    &["--single-port"],
];

/// The lines about packets with this client, without the time.
fn packets(server: &Daemon, peer: SocketAddr) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| line.split_once(" INFO packet ")?.1.strip_prefix(&peer.to_string()));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_transfer_is_a_dialogue_in_the_log_under_each_model() {
    let root = folder(&[("f", &pattern(1000, 1))]);
    for model in MODELS {
        let server =
            Daemon::serve(root.path(), &[model, &["--trace", "--uploads", "create"]].concat());
        let peer = server.peer();
        assert_eq!(peer.fetch(&rrq("f", &[("tsize", "0")])), Ok(pattern(1000, 1)));
        server.log_line(&["sent", "complete"]);
        let told = packets(&server, peer.address());
        let what: Vec<_> =
            told.iter().map(|line| &line[line.find(['<', '-']).expect("a way")..]).collect();
        let expected = [
            "<- RRQ \"f\" octet tsize=0",
            "-> OACK tsize=1000",
            "<- ACK 0",
            "-> DATA 1 512",
            "<- ACK 1",
            "-> DATA 2 488",
            "<- ACK 2",
        ];
        assert_eq!(what, expected, "{model:?}");
        // The times stand in one column.
        let columns: Vec<_> = told.iter().filter_map(|line| line.find('+')).collect();
        assert!(columns.len() == 7, "{told:?}");
        let (up, name) = (server.peer(), format!("new{}", model.concat()));
        up.store(&wrq(&name, &[]), b"few").expect("an upload");
        server.log_line(&["received", "complete"]);
        assert!(packets(&server, up.address()).concat().contains("<- DATA 1 3"));
        let refused = server.peer();
        refused.fetch(&rrq("../f", &[])).expect_err("it is refused");
        server.log_line(&["-> ERROR"]);
        let told = packets(&server, refused.address());
        assert!(told.len() == 2 && told[0].contains("<- RRQ \"../f\""), "{told:?}");
    }
}

#[test]
fn packets_of_one_client_are_asked_for_by_its_address_and_their_lines_are_bounded() {
    let root = folder(&[("f", &pattern(20_000, 1))]);
    let server = Daemon::serve(root.path(), &["--trace=127.0.0.9", "--log-rate", "2"]);
    let (one, other) = (Peer::at([127, 0, 0, 9], server.address), server.peer());
    for peer in [&other, &one] {
        assert!(peer.fetch(&rrq("f", &[])).is_ok());
    }
    server.log_line(&["sent", "127.0.0.9"]);
    assert_eq!(packets(&server, other.address()), Vec::<String>::new());
    // Ten seconds' worth at once, of 81.
    let told = packets(&server, one.address()).len();
    assert!((20..40).contains(&told), "{told}");
    let lines = server.log();
    assert_eq!(lines.matches(" sent ").count(), 2, "they cost no other line: {lines}");
}

/// The one capture that is in a folder.
fn capture(folder: &Path) -> PathBuf {
    let found = std::fs::read_dir(folder).expect("a folder").map(|one| one.expect("a file").path());
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// What tshark reads there.
fn read(capture: &Path, server: SocketAddr) -> String {
    let mut tshark = Command::new("tshark");
    let decode = format!("udp.port=={},tftp", server.port());
    // Checksums are looked at, which it does not do by default.
    let checks = ["udp.check_checksum:TRUE", "ip.check_checksum:TRUE"];
    tshark.arg("-r").arg(capture).args(["-d", &decode]);
    tshark.args(checks.iter().flat_map(|check| ["-o", *check]));
    let fields = [
        "ip.src",
        "ipv6.src",
        "udp.srcport",
        "tftp.opcode",
        "tftp.block",
        "udp.length",
        "_ws.expert.message",
    ];
    tshark.args(["-T", "fields", "-E", "separator=|"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", *field]));
    let read = child::output_within(Duration::from_secs(60), &mut tshark);
    assert!(read.status.success(), "{}", child::text(&read));
    String::from_utf8(read.stdout).expect("UTF-8")
}

#[test]
fn a_transfer_that_fails_leaves_a_capture_that_wireshark_reads() {
    let root = folder(&[("f", &pattern(2000, 1))]);
    for (n, model) in MODELS.iter().enumerate() {
        let captures = folder(&[]);
        let at = captures.path().to_str().expect("UTF-8");
        let mut command = Command::new(Daemon::program());
        let listen = if n % 2 == 0 { "127.0.0.1:0" } else { "[::1]:0" };
        command.arg(root.path()).args(["--listen", listen, "--pcap-on-failure", at]).args(*model);
        // Beside the log of packets, which is as long as without.
        command.args((n % 2 == 0).then_some("--trace"));
        let server = Daemon::spawn(&mut command);
        // What goes well leaves none.
        server.peer().fetch(&rrq("f", &[])).expect("a download");
        server.log_line(&["sent", "complete"]);
        let peer = server.peer();
        let mode = ["octet", "netascii"][n % 2];
        let request = [b"\0\x01f\0", mode.as_bytes(), b"\0blksize\x00512\0"].concat();
        let (first, tid) = peer.answer(&request);
        assert_eq!(show(&first), "OACK blksize=512");
        peer.exchange(&ack(0), tid, "DATA 1 512");
        peer.exchange(&ack(1), tid, "DATA 2 512");
        peer.send(&error(3, "no room"), tid);
        let line = server.log_line(&["kept packets", "failed-00.pcapng"]);
        assert!(line.contains(&peer.address().to_string()), "{line}");
        let traced = packets(&server, peer.address()).len();
        assert_eq!(traced, if n % 2 == 0 { 7 } else { 0 }, "{model:?}");
        let capture = capture(captures.path());
        let bytes = std::fs::read(&capture).expect("a file");
        let has_request = bytes.windows(request.len()).any(|part| part == request);
        assert!(has_request, "the capture does not have the request as it was sent: {mode}");
        let (ip, client, own) = (server.address.ip(), peer.address().port(), tid.port());
        let source = if ip.is_ipv4() { format!("{ip}|") } else { format!("|{ip}") };
        let port = server.address.port();
        let rows = read(&capture, server.address);
        // Some of the ports that there are it takes for those of a tool, before it looks at what is in the packet.
        let known = |row: &str| match row.split_once("Possible traceroute") {
            Some((known, rest)) => {
                known.to_owned() + rest.find("TFTP").map_or("", |at| &rest[at..])
            }
            None => row.to_owned(),
        };
        let rows: Vec<_> = rows.lines().map(|row| known(&row.replacen(&source, "", 1))).collect();
        let expected = [
            format!("|{client}|1||{}|", 8 + request.len()),
            format!("|{own}|6||22|"),
            format!("|{client}|4|0|12|"),
            format!("|{own}|3|1|524|"),
            format!("|{client}|4|1|12|"),
            format!("|{own}|3|2|524|"),
            format!("|{client}|5||20|TFTP ERROR packet"),
        ];
        assert_eq!(rows, expected, "{model:?}, {port}");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("no room") && text.contains("\"f\""), "it says what it is about");
        assert!(bytes.len() < 2000, "of the file's contents there is little: {}", bytes.len());
    }
}

#[test]
fn a_folder_in_which_no_capture_can_be_made_is_told_at_the_start() {
    let warning = "cannot write in the folder of --pcap-on-failure";
    for (mode, is_told) in [(0o500, true), (0o700, false)] {
        let (root, captures) = (folder(&[("f", b"few")]), folder(&[]));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(captures.path(), mode).expect("a mode");
        let at = captures.path().to_str().expect("UTF-8");
        let server = Daemon::behind(powerless(), root.path(), &["--pcap-on-failure", at]);
        // What is logged of a request comes behind all that is told at the start.
        server.peer().fetch(&rrq("f", &[])).expect("a download");
        server.log_line(&["sent", "complete"]);
        let log = server.log();
        assert_eq!(log.contains(warning), is_told, "{log}");
        let peer = server.peer();
        let (_, tid) = peer.answer(&rrq("f", &[]));
        peer.send(&error(3, "no room"), tid);
        let told = if is_told { "cannot keep packets" } else { "kept packets" };
        server.log_line(&[told, "failed-00.pcapng"]);
    }
}

#[test]
fn files_that_one_client_looks_for_in_vain_are_one_line() {
    let root = folder(&[("pxelinux.cfg/default", b"few"), ("g", b"few")]);
    let mut server = Daemon::serve(root.path(), &[]);
    let boot = Peer::at([127, 0, 0, 7], server.address);
    let names = ["01-52-54-00-12-34-56", "C0A80007", "C0A8000", "C0A800", "C0A80"];
    let is_told =
        |server: &Daemon| until("it is told", || (server.transfer_threads() == 0).then_some(()));
    for name in names {
        boot.fetch(&rrq(format!("pxelinux.cfg/{name}"), &[])).expect_err("it is not there");
        is_told(&server);
    }
    boot.fetch(&rrq("pxelinux.cfg/default", &[])).expect("a download");
    let line = server.log_line(&[
        "127.0.0.7 looked for 5 files that are not there, then got pxelinux.cfg/default",
    ]);
    assert!(line.contains("C0A80007") && line.contains("client=127.0.0.7"), "{line}");
    server.log_line(&["sent", "pxelinux.cfg/default"]);
    let log = server.log();
    assert_eq!(log.matches(" not there ").count(), 1, "the first: {log}");
    // Who gets nothing is told of when it has been quiet for a while, and at the end.
    let lost = Peer::at([127, 0, 0, 8], server.address);
    for name in ["a", "a", "b", "c", "b"] {
        lost.fetch(&rrq(name, &[])).expect_err("it is not there");
    }
    let line = server.log_line(&["127.0.0.8 looked for 3 files that are not there"]);
    // The answer to one may be read before its line is written.
    let names = line.split("files=").nth(1).expect("names").trim_matches('"');
    let mut names: Vec<_> = names.split(", ").collect();
    names.dedup();
    assert!(!line.contains("then got") && names.len() == 2, "{line}");
    for name in ["d", "e"] {
        lost.fetch(&rrq(name, &[])).expect_err("it is not there");
    }
    // What became of it is told when the client knows already.
    is_told(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
    server.log_line(&["127.0.0.8 looked for 2 files that are not there"]);
    // Who wants to know more gets each.
    let server = Daemon::serve(root.path(), &["-v"]);
    for name in ["a", "b", "c"] {
        server.peer().fetch(&rrq(name, &[])).expect_err("it is not there");
        server.log_line(&["not there", &format!("\"{name}\"")]);
    }
}
