//! What is told of a server over HTTP, and to whom: the metrics, the status, the page as it is sent, `rtftpd top`.

mod common;

use common::http::{ask, body, connect, get, rest, status};
use common::{
    Daemon, ack, data, folder, joined, next, open_to_all, pattern, rrq, show, until, wrq,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tftpkit::limits;

fn serve(root: &tempfile::TempDir, arguments: &[&str]) -> (Daemon, SocketAddr) {
    let server = Daemon::serve(root.path(), &[&["--http", "0"], arguments].concat());
    let page = server.page().expect("a page");
    (server, page)
}

fn metrics(page: SocketAddr) -> String {
    body(&get(page, "/metrics")).to_owned()
}

/// A sample by its name and labels, as they stand there.
fn sample(page: SocketAddr, name: &str) -> Option<f64> {
    let text = metrics(page);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

#[track_caller]
fn becomes(page: SocketAddr, name: &str, wanted: f64) {
    until(&format!("{name} {wanted}"), || (sample(page, name) == Some(wanted)).then_some(()));
}

#[test]
fn what_a_server_does_is_counted_while_it_does_it() {
    let root = folder(&[("f", &pattern(1300, 1))]);
    open_to_all(root.path());
    let (server, page) = serve(&root, &["--uploads", "create", "--ignore-case"]);
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("F", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    becomes(page, "rtftpd_transfers_running", 1.0);
    becomes(page, "rtftpd_payload_bytes_total{direction=\"sent\"}", 512.0);
    until("the row of it, with the name that was asked for and the one of the file", || {
        let status = status(page);
        let row = &status["running"][0];
        let names = row["file"] == "F" && row["served"] == "f";
        let is = row["bytes"] == 512 && row["size"] == 1300 && names;
        (is && row["peer"] == peer.address().to_string() && row["blksize"] == 512).then_some(())
    });
    // It falls silent, and is asked once more what that means.
    peer.wanted(tid, "DATA 2 512");
    until("a probe", || sample(page, "rtftpd_probes_total").filter(|probes| *probes >= 1.0));
    peer.exchange(&ack(2), tid, "DATA 3 276");
    peer.send(&ack(3), tid);
    becomes(page, "rtftpd_transfers_ended_total{operation=\"read\",outcome=\"complete\"}", 1.0);
    becomes(page, "rtftpd_transfers_running", 0.0);
    becomes(page, "rtftpd_payload_bytes_total{direction=\"sent\"}", 1300.0);
    becomes(page, "rtftpd_blocks_total{direction=\"sent\"}", 3.0);
    // The first block, which is the one that went to somebody unknown.
    becomes(page, "rtftpd_unproven_bytes_total", 516.0);
    becomes(page, "rtftpd_round_trip_seconds_count", 1.0);
    becomes(page, "rtftpd_transfer_duration_seconds_count{operation=\"read\"}", 1.0);
    // What a client says that it will send is the size of an upload.
    let uploading = server.peer();
    let (granted, tid) = uploading.answer(&wrq("new", &[("tsize", "700")]));
    assert_eq!(show(&granted), "OACK tsize=700");
    let bytes = pattern(700, 2);
    uploading.exchange(&data(1, &bytes[..512]), tid, "ACK 1");
    until("the row of an upload with its size", || {
        let status = status(page);
        let row = &status["running"][0];
        (row["bytes"] == 512 && row["size"] == 700 && row["file"] == "new").then_some(())
    });
    uploading.store_rest(tid, 2, &bytes[512..]).expect("stored");
    becomes(page, "rtftpd_payload_bytes_total{direction=\"received\"}", 700.0);
    becomes(page, "rtftpd_transfers_ended_total{operation=\"write\",outcome=\"complete\"}", 1.0);
    peer.fetch(&rrq("missing", &[])).expect_err("it is not there");
    peer.ask(&data(7, b"x"));
    becomes(page, "rtftpd_refusals_total{code=\"not_found\"}", 1.0);
    becomes(page, "rtftpd_strays_total", 1.0);
    peer.ask(b"\0\x01no end");
    becomes(page, "rtftpd_malformed_total", 1.0);
    until("the loop's lag", || sample(page, "rtftpd_loop_lag_seconds_count").filter(|n| *n > 0.0));
    let status = status(page);
    let recent = status["recent"].as_array().expect("what is over");
    let told: Vec<_> = recent.iter().map(|over| json!([over["file"], over["how"]])).collect();
    assert_eq!(
        told,
        [json!(["missing", "refused"]), json!(["new", "received"]), json!(["F", "sent"])]
    );
    let totals = &status["totals"];
    let counted = ["started", "complete", "failed", "refused", "dropped", "sent", "received"];
    let counted = counted.map(|one| totals[one].as_u64().expect(one));
    assert_eq!(counted, [2, 2, 0, 1, 0, 1300, 700], "{totals}");
    let both = |name: &str| {
        let of = |way| sample(page, &format!("rtftpd_{name}_total{{direction=\"{way}\"}}"));
        of("sent").zip(of("received")).map(|(sent, received)| sent + received)
    };
    assert_eq!(totals["packets"].as_f64(), both("packets"), "{totals}");
    assert_eq!(totals["retransmitted"].as_f64(), both("retransmissions"), "{totals}");
    assert_eq!(status["listening"], json!([server.address.to_string()]));
    assert!(metrics(page).ends_with("# EOF\n"));
}

#[test]
fn a_rule_is_told_by_its_place_and_a_client_that_is_lost_as_lost() {
    let root = folder(&[
        ("f", &pattern(1300, 1)),
        ("deny.toml", b"[[rule]]\nname = \"f\"\naction = \"deny\"\n"),
    ]);
    let rules = root.path().join("deny.toml");
    let rules = rules.to_str().expect("UTF-8");
    let (server, page) = serve(&root, &["--rules", rules, "--patience", "1"]);
    let peer = server.peer();
    peer.fetch(&rrq("f", &[])).expect_err("denied");
    becomes(page, &format!("rtftpd_turned_away_total{{rule=\"{rules}:1\"}}"), 1.0);
    let (_, tid) = peer.answer(&rrq("deny.toml", &[("blksize", "8")]));
    peer.exchange(&ack(0), tid, "DATA 1 8");
    peer.exchange(&ack(1), tid, "DATA 2 8");
    becomes(page, "rtftpd_transfers_ended_total{operation=\"read\",outcome=\"lost\"}", 1.0);
    assert_eq!(status(page)["totals"]["failed"], 1);
    let over = &status(page)["recent"][0];
    assert_eq!([&over["how"], &over["grade"]], ["lost", "bad"]);
    assert_eq!(over["why"], "the client fell silent");
}

/// The names of metrics in a text that asks for them, each with the labels that it asks for.
fn asked_for(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, _) in text.match_indices("rtftpd_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let labels = found.entry(rest[..end].into()).or_default();
        if let Some(inner) = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()) {
            let named = inner.split(',').filter_map(|one| one.split(['=', '!']).next());
            labels.extend(named.map(|label| label.trim().to_owned()));
        }
    }
    found
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is_and_leave_nothing_out() {
    let root = folder(&[("f", b"few"), ("deny.toml", b"[[rule]]\nname = \"no\"\naction = \"deny\"\n\n[[rule]]\nname = \"drop\"\naction = \"drop\"\n")]);
    let rules = root.path().join("deny.toml");
    let (server, page) = serve(&root, &["--rules", rules.to_str().expect("UTF-8")]);
    let peer = server.peer();
    peer.fetch(&rrq("f", &[])).expect("a file");
    peer.fetch(&rrq("no", &[])).expect_err("denied");
    peer.ask(&rrq("drop", &[]));
    becomes(page, "rtftpd_drops_total{reason=\"policy\"}", 1.0);
    becomes(page, "rtftpd_transfers_ended_total{operation=\"read\",outcome=\"complete\"}", 1.0);
    let there = asked_for(
        &metrics(page).lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n"),
    );
    let dashboard = include_str!("../packaging/monitoring/dashboard.json");
    let parsed: Value = serde_json::from_str(dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 9));
    let alerts = include_str!("../packaging/monitoring/alerts.yaml");
    for (file, text) in [("dashboard.json", dashboard), ("alerts.yaml", alerts)] {
        for (name, labels) in asked_for(&text.replace("\\\"", "\"")) {
            let known =
                there.get(&name).unwrap_or_else(|| panic!("{file} asks for {name}: {there:?}"));
            // What it comes from is Prometheus's to say.
            let own: BTreeSet<_> = labels.into_iter().filter(|label| label != "instance").collect();
            assert!(own.is_subset(known), "{file}: {name} {own:?} {known:?}");
        }
    }
    let shown = asked_for(dashboard);
    let beside = |name: &&String| !name.ends_with("_sum") && !name.ends_with("_count");
    for name in there.keys().filter(beside) {
        assert!(shown.contains_key(name), "the dashboard has no {name}");
    }
}

#[test]
fn a_browser_that_was_led_here_by_others_gets_nothing() {
    let root = folder(&[("secret-name", b"few")]);
    let (_server, page) = serve(&root, &["--http-name", "boot.example,tftp"]);
    let host = format!("Host: {page}");
    for path in ["/", "/status.json", "/metrics", "/events", "/page.js", "/nowhere"] {
        for (fields, code) in [
            (&["Host: evil.example"][..], 421),
            (&["Host: evil.example", "X-Forwarded-Host: localhost"], 421),
            (&[], 421),
            (&[&host, "Origin: http://evil.example"], 403),
            (&[&host, "Origin: null"], 403),
        ] {
            let answer = ask(page, "GET", path, fields);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            let expected = if fields.is_empty() { 400 } else { code };
            let fits = [code, expected].map(|code| head.starts_with(&format!("HTTP/1.1 {code} ")));
            assert!(fits.contains(&true), "{path} {fields:?}: {head}");
            assert_eq!(body, "", "{path} {fields:?}");
        }
    }
    for name in ["boot.example", "TFTP:80", "localhost", "[::1]:8069"] {
        assert!(
            ask(page, "GET", "/", &[&format!("Host: {name}")]).contains("secret-name"),
            "{name}"
        );
    }
    let same = format!("Origin: http://{page}");
    assert!(ask(page, "GET", "/", &[&host, &same]).starts_with("HTTP/1.1 200 "));
}

#[test]
fn it_is_only_asked_and_loads_nothing_from_elsewhere() {
    let root = folder(&[("f", b"few")]);
    let (_server, page) = serve(&root, &["--uploads", "overwrite"]);
    let host = format!("Host: {page}");
    for path in ["/", "/status.json", "/events", "/f", "/nowhere"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "SPY"] {
            let answer = ask(page, method, path, &[&host, "Content-Length: 0"]);
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method} {path}: {answer}");
            assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        }
    }
    let answer = ask(page, "HEAD", "/", &[&host]);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(get(page, "/nowhere").starts_with("HTTP/1.1 404 "));
    assert!(get(page, "/f").starts_with("HTTP/1.1 404 "), "no file is given away");
    let answer = get(page, "/");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
        "x-content-type-options: nosniff\r\n",
        "cross-origin-resource-policy: same-origin\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(answer.contains(header), "{header}");
    }
    let sources = ["/", "/page.js", "/page.css"].map(|path| get(page, path)).concat();
    let elsewhere =
        sources.split("://").nth(1).map(|rest| rest.chars().take(40).collect::<String>());
    assert_eq!(elsewhere, None, "it names another place");
}

#[test]
fn the_folder_is_listed_as_it_is_whatever_the_rules_are_and_nothing_else() {
    let root = folder(&[("dir/a & b.cfg", b"few"), (".hidden", b"few"), ("x<b>", b"few")]);
    let (_server, page) = serve(&root, &[]);
    let top = get(page, "/");
    assert!(top.contains("<a class=name href=\"/?dir=dir#files\">dir/</a>"), "{top}");
    assert!(top.contains("x&lt;b&gt;") && !top.contains("x<b>"), "{top}");
    assert!(get(page, "/?dir=dir").contains("a &amp; b.cfg"));
    for outside in ["..", "../..", "%2e%2e/%2e%2e/etc", "/etc", "dir/../../etc", "%00", "nowhere"] {
        let answer = get(page, &format!("/?dir={outside}"));
        assert!(!answer.contains("passwd"), "{outside}");
        let no_folder = answer.starts_with("HTTP/1.1 404 ") || answer.contains("x&lt;b&gt;");
        assert!(no_folder, "{outside}: {answer}");
    }
    // Whoever runs the server is no client: rules that end with a refusal of everybody else are the rule.
    let rules = folder(&[("rules.toml", b"[[rule]]\naction = \"deny\"\n")]);
    let rules = rules.path().join("rules.toml").display().to_string();
    let (_server, page) = serve(&root, &["--rules", &rules]);
    assert!(get(page, "/").contains("x&lt;b&gt;"));
    let ruled = get(page, "/?dir=dir");
    assert!(ruled.starts_with("HTTP/1.1 200 ") && ruled.contains("b.cfg"), "{ruled}");
    let (_server, page) = serve(&root, &["--no-list"]);
    let answer = get(page, "/");
    assert!(answer.contains("No listing is offered") && !answer.contains("x&lt;b&gt;"));
}

fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn so_many_are_connected_and_one_more_is_not_and_who_says_nothing_leaves() {
    let root = folder(&[]);
    let (_server, page) = serve(&root, &[]);
    let all: Vec<_> = (0..limits::PAGE_CONNECTIONS).map(|_| connect(page)).collect();
    let mut last = &all[limits::PAGE_CONNECTIONS - 1];
    write!(last, "GET /status.json HTTP/1.1\r\nHost: {page}\r\n\r\n").expect("sent");
    let mut head = [0; 12];
    last.read_exact(&mut head).expect("it has a place");
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(is_closed(&connect(page)), "there is no place for one more");
    // Who does not ask, or is slow to, makes room.
    write!(&all[0], "GET / HTTP/1.1\r\nX: ").expect("sent");
    let began = Instant::now();
    for stream in &all {
        let _ = rest(stream.try_clone().expect("a stream"));
    }
    assert!(began.elapsed() < 2 * limits::PAGE_HEAD, "all at about the same time");
    assert!(get(page, "/").starts_with("HTTP/1.1 200 "));
}

fn follow(page: SocketAddr) -> (TcpStream, String) {
    let mut stream = connect(page);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {page}\r\n\r\n").expect("sent");
    let mut seen = String::new();
    while !seen.contains("\r\n\r\n") {
        let mut some = [0; 512];
        let len = stream.read(&mut some).expect("an answer");
        assert!(len > 0, "{seen}");
        seen += &String::from_utf8_lossy(&some[..len]);
    }
    (stream, seen)
}

#[test]
fn so_many_follow_and_the_others_may_still_ask() {
    let root = folder(&[("f", b"few")]);
    let (server, page) = serve(&root, &[]);
    let mut all: Vec<_> = (0..limits::PAGE_FOLLOWERS).map(|_| follow(page)).collect();
    assert!(all.iter().all(|(_, head)| head.contains("content-type: text/event-stream")));
    let (_, head) = follow(page);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 5"), "{head}");
    assert!(get(page, "/").starts_with("HTTP/1.1 200 "));
    // Who follows is told of what is new, and not only once.
    let (mut stream, mut seen) = all.swap_remove(0);
    server.peer().fetch(&rrq("f", &[])).expect("a file");
    until("news of the download", || {
        let mut some = [0; 4096];
        let len = stream.read(&mut some).expect("news");
        seen += &String::from_utf8_lossy(&some[..len]);
        let last = seen.rsplit("data: ").next().unwrap_or_default();
        (seen.matches("data: ").count() > 2 && last.contains("\"complete\":1,")).then_some(())
    });
    drop((all, stream));
    until("a place for one more", || follow(page).1.starts_with("HTTP/1.1 200 ").then_some(()));
}

#[test]
fn one_who_follows_alone_is_told_what_is_new() {
    let root = folder(&[]);
    let (_server, page) = serve(&root, &[]);
    let (mut stream, mut seen) = follow(page);
    until("news for one alone", || {
        let mut some = [0; 4096];
        let len = stream.read(&mut some).expect("news");
        seen += &String::from_utf8_lossy(&some[..len]);
        (seen.matches("data: ").count() > 2).then_some(())
    });
}

#[test]
fn a_head_of_so_many_bytes_is_read_and_no_longer_one() {
    let root = folder(&[]);
    let (_server, page) = serve(&root, &[]);
    let with = |len: usize| {
        let long = format!("X: {}", "x".repeat(len));
        ask(page, "GET", "/status.json", &[&format!("Host: {page}"), &long])
    };
    assert!(with(limits::PAGE_HEAD_BYTES - 512).starts_with("HTTP/1.1 200 "));
    let answer = with(limits::PAGE_HEAD_BYTES);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn a_page_that_cannot_be_is_told_before_anything_is_served() {
    let root = folder(&[]);
    let (_server, page) = serve(&root, &[]);
    let mut other = Command::new(Daemon::program());
    other.arg(root.path()).args(["--listen", "127.0.0.1:0", "--http", &page.to_string()]);
    let said = common::child::output(&mut other);
    assert_eq!(said.status.code(), Some(1));
    let said = common::child::text(&said);
    assert!(said.contains(&format!("cannot show a page at {page}")), "{said}");
}

/// `rtftpd top` on a terminal of its own.
struct Top {
    script: Child,
    pieces: mpsc::Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Top {
    fn of(page: SocketAddr) -> Self {
        let line =
            format!("stty rows 30 cols 110; exec {} top {page}", Daemon::program().display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color");
        let piped = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut script = piped.spawn().expect("script, of util-linux");
        let mut out = script.stdout.take().expect("a pipe");
        let (tell, pieces) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = out.read(&mut buffer) {
                let _ = tell.send(buffer[..len].to_vec());
            }
        });
        Self { script, pieces, bytes: Vec::new() }
    }

    /// All that it has written once that has these words.
    fn shows(&mut self, words: &[&str]) -> String {
        until(&format!("{words:?} on the terminal"), || {
            self.bytes.extend(self.pieces.try_iter().flatten());
            let text = String::from_utf8_lossy(&self.bytes);
            words.iter().all(|word| text.contains(word)).then(|| text.into_owned())
        })
    }

    fn types(&mut self, keys: &[u8]) {
        self.script.stdin.as_mut().expect("a pipe").write_all(keys).expect("typed");
    }

    /// Types what leaves it.
    fn leave_by(mut self, keys: &[u8]) {
        self.types(keys);
        assert!(common::child::end("top", &mut self.script).success());
    }
}

#[test]
fn top_asks_once_in_a_second_until_a_key_that_leaves_it() {
    let root = folder(&[]);
    let (_server, page) = serve(&root, &[]);
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", status(page));
    let between = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let page = between.local_addr().expect("an address");
    let (tell, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in between.incoming() {
            let mut stream = stream.expect("top");
            let _ = tell.send(Instant::now());
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut top = Top::of(page);
    top.shows(&["leaves"]);
    let first = next("the first look", &asked);
    // A letter that is none of those that leave it.
    top.types(b"c");
    next("the second look", &asked);
    let took = next("the third look", &asked) - first;
    assert!(took > Duration::from_millis(1500), "it asks twice again within {took:?}");
    top.leave_by(b"q");
    for keys in [b"\x1b", b"\x03"] {
        let mut top = Top::of(page);
        top.shows(&["leaves"]);
        top.leave_by(keys);
    }
}

#[test]
fn top_shows_in_a_terminal_what_the_page_shows() {
    let root = folder(&[("vmlinuz", &pattern(5000, 1)), ("done", b"few")]);
    let (server, page) = serve(&root, &[]);
    let peer = server.peer();
    peer.fetch(&rrq("done", &[])).expect("a file");
    peer.fetch(&rrq("evil\u{1b}[2J", &[])).expect_err("it is not there");
    let going = server.peer();
    let (first, tid) = going.answer(&rrq("vmlinuz", &[]));
    assert_eq!(show(&first), "DATA 1 512");
    for block in 1..5 {
        going.exchange(&ack(block), tid, &format!("DATA {} 512", block + 1));
    }
    // What is blank there is not written, nor what is there already: all is in the first picture.
    until("its row", || (status(page)["running"][0]["bytes"] == 2048).then_some(()));
    let client = going.address().to_string();
    let words = ["vmlinuz", &client, "██████░", "done", "sent", "Throughput,", "refused:"];
    let mut top = Top::of(page);
    let shown = top.shows(&words);
    top.leave_by(b"q");
    assert!(shown.contains("\u{1b}[?1049h") && shown.contains("evil\\u{1b}"), "{shown:?}");
    // Where it is read by a program it is written once.
    let once =
        common::child::output(Command::new(Daemon::program()).args(["top", &page.to_string()]));
    let once = common::child::text(&once);
    assert!(
        once.contains("vmlinuz") && once.contains("41 %") && !once.contains('\u{1b}'),
        "{once}"
    );
    let mut top = Top::of(page);
    top.shows(&["Throughput,"]);
    drop(server);
    // Of a row that was blank each word is written: that it is asked again each second.
    top.shows(&["asked", "second;"]);
    top.leave_by(b"q");
    let none =
        common::child::output(Command::new(Daemon::program()).args(["top", &page.to_string()]));
    assert_eq!(none.status.code(), Some(1));
    assert!(common::child::text(&none).contains(&format!("no server shows itself at {page}")));
}

#[test]
fn top_says_what_is_wrong_with_what_answers_in_a_servers_place() {
    for (answer, why) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "has nothing to show: is it an rtftpd?"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"version\":7}", "is no rtftpd of this version"),
        ("SSH-2.0-other\r\n", "is no rtftpd\n"),
    ] {
        let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let page = other.local_addr().expect("an address").to_string();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().expect("it asks");
            let mut asked = String::new();
            let mut some = [0; 512];
            while !asked.ends_with("\r\n\r\n") {
                let len = stream.read(&mut some).expect("a question");
                asked += &String::from_utf8_lossy(&some[..len]);
            }
            stream.write_all(answer.as_bytes()).expect("answered");
            asked
        });
        // By the option of the server, as its configuration may have it.
        let mut top = Command::new(Daemon::program());
        let said = common::child::output(top.args(["top", "--http", &page]));
        let asked = joined("the other server", answers);
        assert!(asked.contains(&format!("\r\nHost: {page}\r\n")), "{asked}");
        let told = common::child::text(&said);
        assert!(
            said.status.code() == Some(1) && told.contains(&format!("what answers at {page}")),
            "{told}"
        );
        assert!(told.contains(why), "{why}: {told}");
    }
}
