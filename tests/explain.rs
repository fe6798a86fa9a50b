//! `rtftpd explain` says what the server does: each request of a table is explained, and asked of a server that runs.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::strace;
use common::{Daemon, Peer, child, error, folder, pattern, show, until};
use programs::rtftpd;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;
use tftpkit::wire::Packet;

/// How a request is asked: its opcode and the flag of the command.
const READ: (u8, &str) = (1, "");
const WRITE: (u8, &str) = (2, "--write");
const LIST: (u8, &str) = (7, "--list");

/// A request: the network of the client in 127.8.0.0/16, and what it asks for.
struct Request {
    network: u8,
    operation: (u8, &'static str),
    name: String,
    mode: &'static str,
    options: &'static [&'static str],
}

fn ask(operation: (u8, &'static str), name: &str, options: &'static [&'static str]) -> Request {
    Request { network: 1, operation, name: name.into(), mode: "octet", options }
}

fn from(network: u8, request: Request) -> Request {
    Request { network, ..request }
}

impl Request {
    fn datagram(&self) -> Vec<u8> {
        let mut bytes = vec![0, self.operation.0];
        let options = self.options.iter().flat_map(|option| option.splitn(2, '='));
        for word in [&*self.name, self.mode].into_iter().chain(options) {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

/// What the command says of it.
fn explained(here: &Path, peer: &Peer, request: &Request) -> Value {
    let mut command = rtftpd();
    command.args(["explain", "--json", "--config"]).arg(here.join("rtftpd.toml"));
    command.args(["--from", &peer.address().to_string(), "--mode", request.mode]);
    command.args(Some(request.operation.1).filter(|flag| !flag.is_empty()));
    // Who asks is who serves.
    command.env("RTFTPD_USER", nix::unistd::Uid::effective().to_string());
    let output = command.arg("--").arg(&request.name).args(request.options).output();
    let output = output.expect("it runs");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(&told)
        .unwrap_or_else(|_| panic!("{}: {}", request.name, String::from_utf8_lossy(&output.stderr)))
}

/// What the server does: its first packet, or none.
fn done(server: &Daemon, peer: &Peer, request: &Request) -> Option<String> {
    peer.ask(&request.datagram());
    let client = peer.address().to_string();
    let (packet, tid) = until("an answer, or that there is none", || {
        let answer = peer.pending().into_iter().next().map(Some);
        answer.or_else(|| server.logged(&["dropped", &client]).map(|_| None))
    })?;
    if !matches!(Packet::parse(&packet), Ok(Packet::Error { .. })) {
        peer.send(&error(0, "enough"), tid);
    }
    Some(show(&packet))
}

/// Explains and asks each, and gives how many those were.
fn compare(here: &Path, requests: &[Request]) -> usize {
    let config = here.join("rtftpd.toml").display().to_string();
    let root = here.join("root");
    let options = ["--config", &config, "-v", "--log-rate", "0"];
    let server = Daemon::serve(&root, &options);
    let mut wrong = Vec::new();
    for request in requests {
        let peer = Peer::at(Ipv4Addr::new(127, 8, request.network, 1), server.address);
        let told = explained(here, &peer, request);
        let seen = done(&server, &peer, request);
        let is_said = told["answer"].as_str().map(str::to_owned) == seen;
        let outcome = match &seen {
            None => "no answer",
            Some(packet) if packet.starts_with("ERROR") => "refused",
            Some(_) => "served",
        };
        if let Some(why) = told["why"].as_str().filter(|why| *why != "not found") {
            let reason = why.trim_start_matches("malformed: ").replace('"', "\\\"");
            server.log_line(&[&peer.address().to_string(), &reason]);
        }
        let code = seen.as_ref().filter(|_| outcome == "refused");
        let code = code.and_then(|packet| packet.split(' ').nth(1)?.parse::<u64>().ok());
        let has_code = told["error"].as_u64() == code;
        if !is_said || told["outcome"] != outcome || !has_code {
            wrong.push(format!("{} {:?}: {told} and {seen:?}", request.name, request.options));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    requests.len()
}

/// Folders, files and links to ask for.
fn place(config: &str) -> TempDir {
    let here = folder(&[
        ("root/f", &pattern(2000, 1)),
        ("root/empty", b""),
        ("root/text", b"a\nb\n"),
        ("root/sub/g", b"g"),
        ("root/UPPER.CFG", b"upper"),
        ("root/boot/x", b"x"),
        ("phones/common", b"phone"),
        ("phones/127.8.3.1/own", b"own"),
        ("backup/old.cfg", b"old"),
        ("elsewhere/far", b"far"),
    ]);
    let root = here.path().join("root");
    symlink("f", root.join("link")).expect("a link");
    symlink("../../elsewhere/far", root.join("sub/out")).expect("a link");
    symlink("nowhere", root.join("dead")).expect("a link");
    let config = format!("root = \"root\"\n{config}");
    std::fs::write(here.path().join("rtftpd.toml"), config).expect("a file");
    here
}

const OPTIONS: [&[&str]; 22] = [
    &["blksize=1428"],
    &["blksize=65464"],
    &["blksize=8"],
    &["blksize=7"],
    &["blksize=65465"],
    &["blksize=x"],
    &["blksize="],
    &["BLKSIZE=1428"],
    &["blksize=1428", "blksize=512"],
    &["tsize=0"],
    &["tsize=-1"],
    &["timeout=1"],
    &["timeout=255"],
    &["timeout=0"],
    &["timeout=256"],
    &["utimeout=100000"],
    &["windowsize=1"],
    &["windowsize=64", "blksize=1428"],
    &["windowsize=65535"],
    &["windowsize=0"],
    &["rollover=0"],
    &["unknown=1", "tsize=0", "blksize=1024", "windowsize=4", "timeout=3"],
];

const NAMES: [&str; 22] = [
    "f",
    "/f",
    "//f",
    "./f",
    "sub/g",
    "sub\\g",
    "sub/../f",
    "../f",
    "sub/../../f",
    "missing",
    "missing/f",
    "F",
    "sub",
    "sub/",
    "f/",
    "empty",
    "link",
    "dead",
    "sub/out",
    ".list",
    "sub/.list",
    "UPPER.CFG",
];

#[test]
fn a_hundred_requests_are_explained_as_they_are_answered() {
    let mut count = 0;
    let plain = place("uploads = \"create\"\n");
    let mut requests: Vec<_> = NAMES.iter().map(|name| ask(READ, name, &["tsize=0"])).collect();
    requests.extend(OPTIONS.iter().map(|options| ask(READ, "f", options)));
    requests.extend(NAMES.iter().map(|name| ask(WRITE, name, &[])));
    requests.extend(OPTIONS.iter().map(|options| ask(WRITE, "new", options)));
    let places = ["", "/", ".", "sub", "sub/", "missing", "f", "../", "dead", ".list"];
    requests.extend(places.map(|name| ask(LIST, name, &[])));
    requests.push(ask(LIST, "", &["x-list=json"]));
    for mode in ["netascii", "NetASCII", "mail", "nonsense"] {
        requests.push(Request { mode, ..ask(READ, "text", &["tsize=0"]) });
    }
    count += compare(plain.path(), &requests);
    assert!(count >= 100, "{count}");
}

#[test]
fn rules_profiles_maps_and_bounds_are_explained_as_they_are_obeyed() {
    let ruled = place(
        "uploads = \"overwrite\"\nmax-blksize = 1200\nmax-upload = \"1K\"\nlinks-to = \"elsewhere\"\nstrip-prefix = \"C:\"\n\
         ignore-case = true\nmap-rule = [\"r ^old-(.*) \\\\1\", \"a ^forbidden\"]\n\
         [[profile]]\nname = \"slow\"\nlock-step = true\nmax-blksize = 600\nleave-out = \"tsize\"\n\
         [[rule]]\nfrom = \"127.8.2.0/24\"\naction = \"drop\"\n\
         [[rule]]\nfrom = \"127.8.3.0/24\"\nroot = [\"phones/{ip}\", \"phones\"]\nallow = \"read\"\nprofile = \"slow\"\n\
         [[rule]]\nfrom = \"127.8.4.0/24\"\noperation = \"write\"\nname = \"*.cfg\"\nuploads-root = \"backup\"\n\
         allow = [\"create\", \"overwrite\"]\n\
         [[rule]]\nfrom = \"127.8.5.0/24\"\nprofile = \"no-options\"\n\
         [[rule]]\nname = \"boot/*\"\naction = \"deny\"\n",
    );
    let all = &["tsize=0", "blksize=1428", "windowsize=8", "timeout=3"];
    let mut requests = vec![
        from(2, ask(READ, "f", &[])),
        from(2, ask(WRITE, "f", &[])),
        from(3, ask(READ, "own", all)),
        from(3, ask(READ, "common", all)),
        from(3, ask(READ, "f", all)),
        from(3, ask(WRITE, "new", &[])),
        from(3, ask(LIST, "", &[])),
        from(4, ask(WRITE, "old.cfg", &["tsize=3"])),
        from(4, ask(WRITE, "new.cfg", all)),
        from(4, ask(WRITE, "new.bin", all)),
        from(5, ask(READ, "f", all)),
        from(5, ask(READ, "missing", all)),
        ask(READ, "boot/x", &[]),
        ask(READ, "boot\\x", &[]),
        ask(READ, "C:boot/x", &[]),
        ask(READ, "old-boot/x", &[]),
        ask(READ, "old-f", all),
        ask(READ, "old-missing", all),
        ask(READ, "forbidden", &[]),
        ask(READ, "C:f", all),
        ask(READ, "upper.cfg", all),
        ask(READ, "sub/out", all),
        ask(WRITE, "sub/out", &[]),
        ask(WRITE, "f", &["tsize=1024"]),
        ask(WRITE, "f", &["tsize=1025"]),
        ask(WRITE, "dir/new", &[]),
    ];
    requests.extend(OPTIONS.iter().map(|options| ask(READ, "f", options)));
    assert!(compare(ruled.path(), &requests) > 40);
    // The name that is looked for, where it is another one, and the rule that is for it, both for programs and for people.
    let peer = Peer::at(Ipv4Addr::new(127, 8, 5, 1), ([127, 0, 0, 1], 9).into());
    let told = ["old-f", "f"].map(|name| explained(ruled.path(), &peer, &ask(READ, name, &[])));
    let served = told.each_ref().map(|told| told["served"].as_str());
    assert_eq!(served, [Some("f"), None], "{told:?}");
    let rule = told[1]["rule"].as_str().expect("a rule");
    assert!(rule.ends_with("rtftpd.toml:28"), "{rule}");
}

#[test]
fn people_are_told_the_rule_the_places_that_were_looked_in_and_the_file() {
    let here = place(
        "[[rule]]\nfrom = \"127.8.3.0/24\"\nroot = [\"phones/{ip}\", \"phones\"]\n[[rule]]\nmac = \"52:54:00\"\naction = \"deny\"\n\
         [[rule]]\nfrom = \"127.8.4.1\"\naction = \"drop\"\n",
    );
    let explain = |words: &[&str], code: i32| {
        let mut command = rtftpd();
        command.current_dir(here.path()).args(["explain", "--config", "rtftpd.toml"]).args(words);
        let run = command.env("RTFTPD_USER", nix::unistd::Uid::effective().to_string()).assert();
        String::from_utf8(run.code(code).get_output().stdout.clone()).expect("UTF-8")
    };
    let real = here.path().canonicalize().expect("a path");
    let text = explain(&["--from", "127.8.3.1", "common", "blksize=1428"], 0);
    let phones = real.join("phones").display().to_string();
    for line in [
        "RRQ \"common\" octet blksize=1428 from 127.8.3.1:49152 to 127.0.0.1\n",
        "  rule     rtftpd.toml:2\n",
        &format!("  looked   in {phones}: not found\n"),
        &format!("  file     {phones}/common, 5 bytes\n"),
        "  answer   OACK blksize=1428\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let text = explain(&["--from", "192.0.2.7", "--mac", "52:54:00:12:34:56", "f"], 3);
    assert!(text.contains("  rule     rtftpd.toml:5\n") && text.contains("denies it"), "{text}");
    let text = explain(&["--from", "192.0.2.7", "--mac", "52:54:01:12:34:56", "--", "-no"], 3);
    assert!(text.contains("  rule     none is for it\n"), "{text}");
    let text = explain(&["--from", "::1", "--list", "sub"], 0);
    assert!(text.starts_with("LIST \"sub\" octet from [::1]:49152 to ::1\n"), "{text}");
    let root = real.join("root").display().to_string();
    assert!(text.contains(&format!("  folder   {root}\n")), "{text}");
    let text = explain(&["--from", "192.0.2.7:9", "--mode", "mail", "f"], 3);
    assert!(text.starts_with("\"f\" mail from 192.0.2.7:9 to 127.0.0.1\n"), "{text}");
    assert!(text.contains("\n  why      malformed: mode\n"), "{text}");
    let text = explain(&["--from", "127.8.4.1", "f"], 4);
    assert!(
        text.contains("  answer   none\n  why      the rule at rtftpd.toml:8 drops it"),
        "{text}"
    );
    explain(&["--from", "192.0.2.7", "--mac", "52:54", "f"], 2);
    explain(&["--from", "a-name", "f"], 2);
    explain(&["--from", "192.0.2.7", "f", "blksize"], 2);
    std::fs::write(here.path().join("rtftpd.toml"), "x = 1").expect("a file");
    explain(&["--from", "192.0.2.7", "f"], 1);
}

#[test]
fn nothing_stays_of_an_upload_that_is_explained() {
    let here = place("uploads = \"overwrite\"\ncreate-dirs = true\n");
    let before = common::everything_in(here.path());
    let peer = Peer::at(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 9).into());
    for name in ["new", "made/new", "f"] {
        let told = explained(here.path(), &peer, &ask(WRITE, name, &[]));
        assert_eq!(told["answer"], "ACK 0", "{told}");
    }
    assert_eq!(common::everything_in(here.path()), before);
    assert_eq!(std::fs::read(here.path().join("root/f")).expect("a file"), pattern(2000, 1));
}

#[test]
fn the_name_under_which_an_upload_is_stored_is_explained() {
    let peer = Peer::at(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 9).into());
    let today = || jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    let with = |template: &str| {
        place(&format!("uploads = \"create\"\ncreate-dirs = true\nupload-name = \"{template}\"\n"))
    };
    let stored = |here: &TempDir, request| {
        let told = explained(here.path(), &peer, &request);
        let root = here.path().join("root").canonicalize().expect("a path");
        let path = told["looked"][0]["stored"].as_str().map(Path::new);
        path.map(|path| {
            path.strip_prefix(root).expect("it is below the root").display().to_string()
        })
    };
    let here = with("{ip}/{stem}-{date}{ext}");
    let before = today();
    let name = stored(&here, ask(WRITE, "conf/sw.cfg", &[]));
    let expected = [before, today()].map(|day| Some(format!("127.0.0.1/sw-{day}.cfg")));
    assert!(expected.contains(&name), "{name:?}");
    assert!(!here.path().join("root/127.0.0.1").exists(), "nothing stays of it");
    assert_eq!(stored(&here, ask(READ, "f", &[])), None);

    let here = with("kept{ext}");
    std::fs::write(here.path().join("root/kept.cfg"), "old").expect("a file");
    let names = ["sw.cfg", "sw.txt"].map(|name| stored(&here, ask(WRITE, name, &[])));
    assert_eq!(names, [None, Some("kept.txt".into())], "what is refused is stored nowhere");

    let here = with("{stem}-{seq}{ext}");
    assert_eq!(stored(&here, ask(WRITE, "sw.cfg", &[])).as_deref(), Some("sw-1.cfg"));
    std::fs::write(here.path().join("root/sw-1.cfg"), "").expect("a file");
    let mut command = rtftpd();
    command.args(["explain", "--write", "--from", "127.0.0.1", "--config"]);
    command.arg(here.path().join("rtftpd.toml")).arg("sw.cfg");
    let output = command.env("RTFTPD_USER", nix::unistd::Uid::effective().to_string()).output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("  stored   /"));
    let stored = here.path().join("root/sw-2.cfg").display().to_string();
    assert!(line.is_some_and(|line| line.ends_with(&stored)), "{text}");
}

#[test]
fn a_request_is_explained_from_within_the_sandbox_of_the_server() {
    let here = place("");
    for (parts, filters) in [(&[][..], true), (&["--sandbox", "none"], false)] {
        let Some(mut command) = strace() else { return };
        let calls = here.path().join("calls");
        command.args(["-f", "-e", "trace=seccomp", "-o"]).arg(&calls).arg(Daemon::program());
        command
            .args(["explain", "--from", "127.0.0.1", "--config"])
            .arg(here.path().join("rtftpd.toml"));
        command.env("RTFTPD_USER", nix::unistd::Uid::effective().to_string());
        let told = child::output(command.args(parts).arg("f"));
        assert!(child::text(&told).contains("answer   DATA 1 512"), "{}", child::text(&told));
        let calls = std::fs::read_to_string(&calls).expect("calls");
        assert_eq!(calls.contains("SECCOMP_SET_MODE_FILTER"), filters, "{parts:?}: {calls}");
    }
}
