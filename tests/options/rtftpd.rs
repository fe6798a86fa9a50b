//! What is seen of each option of `rtftpd`.

use crate::common::apart::{namespaces, path};
use crate::common::{
    DEADLINE, Daemon, Own, Peer, ack, child, error_code, folder, list, next, open_to_all, pattern,
    rrq, show, until, wrq,
};
use crate::given::{Given, LEFT_OUT, Row};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Pid, Uid};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const fn row(
    option: &'static str,
    (values, rival): (&'static [&'static str], &'static str),
    (without, with): (&'static str, &'static str),
    see: fn(&str, &Given) -> String,
) -> Row {
    Row { of: &[""], option, values, rival, without, with, see }
}

pub(crate) const ROWS: &[Row] = &[
    row("--listen", (&["127.0.0.1:0"], "[::1]:0"), ("port 69", "127.0.0.1"), address),
    row("--rules", (&["deny.toml"], "serve.toml"), ("2000 bytes", "error 2"), rule_file),
    row("--links-to", (&["other"], "third"), ("error 2", "2000 bytes"), link_to_another_folder),
    row("--uploads", (&["create"], "off"), ("new 2, old 2", "new stored, old 6"), uploads),
    row("--uploads", (&["overwrite"], "off"), ("new 2, old 2", "new stored, old stored"), uploads),
    row("--create-dirs", (&[], ""), ("error 1", "stored"), upload_to_a_new_directory),
    row("--max-upload", (&["1K"], "2K"), ("stored", "error 3"), upload_of_1025_bytes),
    row("--growing-files", (&[], ""), ("error", "as it was"), file_that_grows),
    row("--map-file", (&["map"], "rival"), ("error 1", "mapped"), name_that_is_mapped),
    row(
        "--map-rule",
        (&["r ^a$ mapped"], "r ^a$ other"),
        ("error 1", "mapped"),
        name_that_is_mapped,
    ),
    row("--strip-prefix", (&["C:"], "D:"), ("error 1", "short"), name_with_a_drive),
    row("--strip-junk", (&[], ""), ("error 1", "short"), name_with_junk),
    row("--ignore-case", (&[], ""), ("error 1", "short"), name_in_capitals),
    row("--interface", (&["away"], "lo"), ("heard", "not heard"), interface),
    row("--no-list", (&[], ""), ("listed, listed, on", "error 1, error 4, off"), listings),
    row("--list-name", (&["index"], "ls"), (".list", "index"), name_of_the_listing),
    row("--model", (&["events"], "threads"), ("a thread, at once", "no thread, at once"), model),
    row("--model", (&["iterative"], "threads"), ("a thread, at once", "no thread, later"), model),
    row("--max-threads", (&["1"], "2"), ("3 transfer", "1 transfer"), threads_of_three),
    row("--event-threads", (&["3"], "1"), ("0 events", "2 events"), threads_of_loops),
    row("--single-port", (&[], ""), ("another port", "the same port"), port_of_the_answer),
    row("--max-sessions", (&["1"], "2"), ("served", "too many transfers at once"), second_client),
    row("--memory", (&["90000"], "60000"), OF_MEMORY, terms),
    row("--max-blksize", (&["600"], "700"), (ALL, "blksize=600 windowsize=64"), terms),
    row("--max-blksize-of", (&["127.0.0.0/8=600"], "::/0=600"), OF_NETWORK, terms),
    row("--whole-packets", (&[], ""), ("4000", "1248"), block_size_on_a_path_of_1280),
    row("--max-windowsize", (&["5"], "6"), (ALL, "blksize=1428 windowsize=5"), terms),
    row("--no-offload", (&[], ""), ("1 piece", "8 pieces"), pieces_of_a_window),
    row("--ports", (&["PORT-PORT"], "65535-65535"), ("any", "the one"), port),
    row("--patience", (&["0.5"], "20"), ("goes on", "lost"), silence),
    row("--first-interval", (&["0.1"], "3"), ("after a second", "sooner"), first_repetition),
    row(
        "--intervals",
        (&["0.3", "0.3"], "0.05,5"),
        ("short, doubled", "longer, the same"),
        intervals,
    ),
    row("--drain", (&["0.5"], "20"), ("goes on", "ended"), drained),
    row("--user", (&["65533"], "65532"), ("another", "65533"), user),
    row("--sandbox", (&["files"], "none"), (SANDBOX, "place, any call, no new rights"), sandbox),
    row("--sandbox", (&["folder"], "none"), (SANDBOX, "folder, any call, no new rights"), sandbox),
    row(
        "--sandbox",
        (&["calls"], "none"),
        (SANDBOX, "anywhere, its calls, no new rights"),
        sandbox,
    ),
    row(
        "--sandbox",
        (&["rights"], "none"),
        (SANDBOX, "anywhere, any call, no new rights"),
        sandbox,
    ),
    row("--sandbox", (&["none"], "calls"), (SANDBOX, "anywhere, any call, new rights"), sandbox),
    row("--json", (&[], ""), ("words", "an object"), form_of_the_log),
    row("--progress-log", (&["0.1"], "60"), ("nothing", "how far"), progress),
    row("--log-rate", (&["1"], "0"), ("all", "some, and how many not"), lines_of_many),
    row("--verbose", (&[], ""), ("INFO, banner", "DEBUG, INFO, banner"), levels),
    row("--quiet", (&[], ""), ("INFO, banner", "nothing"), levels),
    row("--version", (&[], ""), ("serves", "is named"), asked_about_itself),
];

const ALL: &str = "blksize=1428 windowsize=64";
const SANDBOX: &str = "place, its calls, no new rights";
/// Three quarters of it are for those who have not answered yet.
const OF_MEMORY: (&str, &str) = (ALL, "blksize=1428 windowsize=47");
const OF_NETWORK: (&str, &str) = (ALL, "blksize=600 windowsize=64");

pub(crate) fn two_thousand() -> TempDir {
    folder(&[("f", &pattern(2000, 1))])
}

/// What became of an upload: "stored", or the code of the ERROR.
fn upload(server: &Daemon, name: &str, bytes: usize) -> String {
    match server.peer().store(&wrq(name, &[]), &vec![7; bytes]) {
        Ok(()) => "stored".into(),
        Err(packet) => format!("error {}", error_code(&packet)),
    }
}

/// The code of the ERROR, or "listed".
fn listed(answer: Result<Vec<u8>, Vec<u8>>) -> String {
    match answer {
        Ok(bytes) if bytes.is_empty() => "empty".into(),
        Ok(_) => "listed".into(),
        Err(packet) => format!("error {}", error_code(&packet)),
    }
}

/// A client that has proven itself, asks for the next block and then only listens. It gives the transfer's port.
pub(crate) fn hanging(server: &Daemon) -> (Peer, SocketAddr) {
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("f", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    (peer, tid)
}

/// Intervals of a tenth of a second.
pub(crate) const OFTEN: [&str; 5] = ["--first-interval", "0.1", "--intervals", "0.1", "0.1"];
/// So many of them are more than what ends sooner lasts.
const MANY: usize = 20;

/// Whether `ended` comes true before the transfer has repeated itself many times.
pub(crate) fn ends_before_many_repetitions(
    (peer, tid): &(Peer, SocketAddr),
    mut ended: impl FnMut() -> bool,
) -> bool {
    let mut seen = 0;
    until("an end, or many repetitions", || {
        seen += peer.pending().iter().filter(|(_, from)| from == tid).count();
        let ended = ended();
        (ended || seen > MANY).then_some(ended)
    })
}

fn terms(_: &str, given: &Given) -> String {
    let (root, options) = (two_thousand(), [("blksize", "1428"), ("windowsize", "64")]);
    let server = given.serve(root.path(), &[]);
    let (answer, _) = server.peer().answer(&rrq("f", &options));
    show(&answer).trim_start_matches("OACK ").into()
}

fn address(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let mut child = child::started(&mut given.rtftpd(root.path(), &[]));
    let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let (out, err) = (child::lines(out), child::lines(err));
    let listening = until("its address, or its end", || match out.try_recv() {
        Ok(line) => line.trim().strip_prefix("listening").map(|address| Some(address.to_owned())),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => Some(None),
    });
    // Where the default port is another's, or a privilege, it is named as well.
    let told = listening.unwrap_or_else(|| next("why it ended", &err));
    child.kill().and_then(|()| child.wait()).expect("killed");
    let address = told
        .split_whitespace()
        .find_map(|word| word.trim_end_matches(':').parse::<SocketAddr>().ok());
    let address = address.unwrap_or_else(|| panic!("no address: {told}"));
    if address.port() == 69 { "port 69".into() } else { address.ip().to_string() }
}

/// A server that is started in `here`, and what it answers who reads `f`.
pub(crate) fn read_of(given: &Given, here: &Path, root: &Path) -> String {
    let mut command = given.rtftpd(root, &["--listen", "127.0.0.1:0"]);
    let server = Daemon::spawn(command.current_dir(here));
    match server.peer().fetch(&rrq("f", &[])) {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(packet) => format!("error {}", error_code(&packet)),
    }
}

fn rule_file(_: &str, given: &Given) -> String {
    let rules: [(&str, &[u8]); 2] =
        [("deny.toml", b"[[rule]]\naction = \"deny\"\n"), ("serve.toml", b"[[rule]]\n")];
    read_of(given, folder(&rules).path(), two_thousand().path())
}

fn link_to_another_folder(_: &str, given: &Given) -> String {
    let (root, here) = (folder(&[]), folder(&[("other/f", &pattern(2000, 1)), ("third/f", b"")]));
    symlink(here.path().join("other/f"), root.path().join("f")).expect("a link");
    read_of(given, here.path(), root.path())
}

fn uploads(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let [new, old] = ["new", "f"].map(|name| upload(&server, name, 3).replace("error ", ""));
    format!("new {new}, old {old}")
}

fn upload_to_a_new_directory(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    upload(&given.serve(root.path(), &["--uploads", "create"]), "new/f", 3)
}

fn upload_of_1025_bytes(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    upload(&given.serve(root.path(), &["--uploads", "create"]), "f", 1025)
}

fn file_that_grows(_: &str, given: &Given) -> String {
    let root = folder(&[("f", &pattern(100_000, 1))]);
    let server = given.serve(root.path(), &[]);
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("f", &[("tsize", "0")]));
    assert_eq!(show(&first), "OACK tsize=100000");
    let log = std::fs::File::options().append(true).open(root.path().join("f"));
    log.and_then(|mut log| log.write_all(b"one line more\n")).expect("a file");
    match peer.rest(first, tid, 512) {
        Ok(bytes) if bytes == pattern(100_000, 1) => "as it was".into(),
        Ok(_) => "something else".into(),
        Err(packet) if show(&packet).contains("still being written") => "error".into(),
        Err(packet) => show(&packet),
    }
}

/// What is in the file that is served for this name, or the code of the ERROR.
fn served_for(name: &[u8], given: &Given) -> String {
    let files = ["mapped", "other", "short"].map(|name| (name, name.as_bytes()));
    let root = folder(&files);
    let maps = folder(&[("map", b"r ^a$ mapped"), ("rival", b"r ^a$ other")]);
    let mut command = given.rtftpd(root.path(), &["--listen", "127.0.0.1:0"]);
    let server = Daemon::spawn(command.current_dir(maps.path()));
    match server.peer().fetch(&rrq(name, &[])) {
        Ok(bytes) => String::from_utf8(bytes).expect("a name"),
        Err(packet) => format!("error {}", error_code(&packet)),
    }
}

fn name_that_is_mapped(_: &str, given: &Given) -> String {
    served_for(b"a", given)
}

fn name_with_a_drive(_: &str, given: &Given) -> String {
    served_for(b"C:short", given)
}

fn name_with_junk(_: &str, given: &Given) -> String {
    served_for(b"short\xff\xff", given)
}

fn name_in_capitals(_: &str, given: &Given) -> String {
    served_for(b"SHORT", given)
}

fn interface(_: &str, given: &Given) -> String {
    let Some(unshare) = namespaces(&["--net"]) else { return LEFT_OUT.into() };
    let root = two_thousand();
    let line = format!(
        r#"ip link set lo up; ip link add away type veth peer name gone; "$0" "$@" > banner & trap "kill $!" EXIT
        until port=$(sed -n 's/.*listening *127.0.0.1:\([0-9]*\).*/\1/p' banner | grep .); do kill -0 $! || exit; done
        '{}' get "127.0.0.1:$port" f -o /dev/null --quiet --max-time 1 2>&1 && echo heard || echo not heard"#,
        env!("CARGO_BIN_EXE_rtftp")
    );
    let mut shell = std::process::Command::new(&unshare[0]);
    shell.args(&unshare[1..]).args(["sh", "-c", &line]).arg(Daemon::program()).arg(root.path());
    given.to(&mut shell);
    shell.args(["--listen", "127.0.0.1:0"]).env("PATH", path());
    let here = folder(&[]);
    let done = child::output(shell.current_dir(here.path()));
    let told = String::from_utf8_lossy(&done.stdout);
    told.lines().last().unwrap_or_default().to_owned()
}

fn listings(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let by_file = listed(server.peer().fetch(&rrq(".list", &[])));
    let by_opcode = listed(server.peer().fetch(&list("", &[])));
    let off = server.banner().lines().any(|line| line.trim_end().ends_with("listing    off"));
    format!("{by_file}, {by_opcode}, {}", if off { "off" } else { "on" })
}

fn name_of_the_listing(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let names = [".list", "index", "ls"].into_iter();
    let there = names.filter(|name| listed(server.peer().fetch(&rrq(name, &[]))) == "listed");
    there.collect::<Vec<_>>().join(" ")
}

fn model(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &OFTEN);
    let first = hanging(&server);
    let thread = if server.transfer_threads() > 0 { "a thread" } else { "no thread" };
    let second = server.peer();
    second.ask(&rrq("f", &[]));
    let answered = || !second.pending().is_empty();
    let at_once = ends_before_many_repetitions(&first, answered);
    format!("{thread}, {}", if at_once { "at once" } else { "later" })
}

fn threads_of_three(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let _three = [hanging(&server), hanging(&server), hanging(&server)];
    format!("{} transfer", server.transfer_threads())
}

fn threads_of_loops(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &["--model", "events"]);
    // All have started before the first request is taken.
    server.peer().fetch(&rrq("f", &[])).expect("a download");
    // One more is the thread that takes requests. A thread has its own name a moment after its start.
    until("their names", || (server.threads("rtftpd") == 1).then_some(()));
    format!("{} events", server.threads("events"))
}

fn second_client(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let _first = hanging(&server);
    let second = server.peer();
    second.ask(&rrq("f", &[]));
    until("the second client's lot", || {
        let why = "too many transfers at once";
        let turned_away = server.logged(&["dropped", why]).map(|_| why.into());
        turned_away.or_else(|| (!second.pending().is_empty()).then(|| "served".into()))
    })
}

/// In a network of its own, where a device carries 1280 bytes at once.
fn block_size_on_a_path_of_1280(_: &str, given: &Given) -> String {
    let Some(unshare) = namespaces(&["--net"]) else { return LEFT_OUT.into() };
    let root = two_thousand();
    let line = format!(
        r#"ip link set lo mtu 1280 up; "$0" "$@" > banner & trap "kill $!" EXIT
        until port=$(sed -n 's/.*listening *127.0.0.1://p' banner | grep .); do kill -0 $! || exit; done
        '{}' get "127.0.0.1:$port" f -o /dev/null --blksize 4000 --json"#,
        env!("CARGO_BIN_EXE_rtftp")
    );
    let mut shell = std::process::Command::new(&unshare[0]);
    shell.args(&unshare[1..]).args(["sh", "-c", &line]).arg(Daemon::program()).arg(root.path());
    given.to(&mut shell);
    shell.args(["--listen", "127.0.0.1:0"]).env("PATH", path());
    let here = folder(&[]);
    let done = child::output(shell.current_dir(here.path()));
    let report: serde_json::Value =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("no report: {done:?}"));
    report["blksize"].to_string()
}

fn pieces_of_a_window(_: &str, given: &Given) -> String {
    let root = folder(&[("f", &pattern(100_000, 3))]);
    let server = given.serve(root.path(), &[]);
    let peer = server.peer();
    setsockopt(&peer.socket, sockopt::UdpGroSegment, &true).expect("GRO");
    let (_, tid) = peer.answer(&rrq("f", &[("blksize", "1428"), ("windowsize", "8")]));
    peer.send(&ack(0), tid);
    let (mut bytes, mut pieces) = (0, 0);
    while bytes < 8 * 1432 {
        bytes += peer.receive_from(tid).len();
        pieces += 1;
    }
    format!("{pieces} piece{}", if pieces > 1 { "s" } else { "" })
}

fn port(_: &str, given: &Given) -> String {
    let (own, port) = (Own::new(), Own::FIRST);
    let mut given = given.clone();
    let values = given.variables.iter_mut().map(|(_, value)| value);
    for word in given.words.iter_mut().chain(values) {
        *word = word.replace("PORT", &port.to_string());
    }
    let root = two_thousand();
    let server = Daemon::spawn(&mut given.rtftpd(root.path(), &["--listen", &own.any_port()]));
    let (_, tid) = server.peer().answer(&rrq("f", &[]));
    if tid.port() == port { "the one".into() } else { "any".into() }
}

fn port_of_the_answer(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let (_, tid) = server.peer().answer(&rrq("f", &[]));
    if tid == server.address { "the same port".into() } else { "another port".into() }
}

fn silence(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &OFTEN);
    let transfer = hanging(&server);
    let lost = || server.logged(&["lost", "fell silent"]).is_some();
    if ends_before_many_repetitions(&transfer, lost) { "lost".into() } else { "goes on".into() }
}

/// Timers run late where a machine is busy, and never early: the best of some tries counts.
fn ever(tries: usize, mut is_soon: impl FnMut() -> bool) -> bool {
    (0..tries).any(|_| is_soon())
}

fn first_repetition(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let soon = ever(3, || {
        let (peer, asked) = (server.peer(), Instant::now());
        let (_, tid) = peer.answer(&rrq("f", &[]));
        peer.wanted(tid, "DATA 1 512");
        asked.elapsed() < Duration::from_millis(900)
    });
    if soon { "sooner".into() } else { "after a second".into() }
}

fn intervals(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &[]);
    let tries = (0..5).map(|_| {
        let (peer, tid) = hanging(&server);
        let mut at = vec![Instant::now()];
        for _ in 0..3 {
            peer.wanted(tid, "DATA 2 512");
            at.push(Instant::now());
        }
        // The first is the probe.
        [at[2] - at[1], at[3] - at[2]].map(|span| span.as_millis())
    });
    // Where a machine is busy, what is read late seems to have come long after what was before it, and shortly before what
    // is behind it.
    let tries: Vec<_> = tries.collect();
    let [second, third] = [0, 1].map(|which| median(tries.iter().map(|spans| spans[which])));
    let length = if second < 250 { "short" } else { "longer" };
    let then = if 2 * third < 3 * second { "the same" } else { "doubled" };
    format!("{length}, {then}")
}

fn median(all: impl Iterator<Item = u128>) -> u128 {
    let mut all: Vec<u128> = all.collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn drained(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let mut server = given.serve(root.path(), &OFTEN);
    let transfer = hanging(&server);
    server.signal(Signal::SIGTERM);
    let ended = ends_before_many_repetitions(&transfer, || server.exit_status() == Some(0));
    if ended { "ended".into() } else { "goes on".into() }
}

/// Only root can become somebody, and anybody else is told so.
fn user(_: &str, given: &Given) -> String {
    let root = two_thousand();
    open_to_all(root.path());
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let mut command = given.rtftpd(root.path(), &["--listen", "127.0.0.1:0"]);
    if Uid::effective().is_root() {
        let uid = Daemon::spawn_as_any(&mut command).status("Uid");
        return if uid == 65533 { "65533".into() } else { "another".into() };
    }
    if given.words.is_empty() && given.variables.is_empty() {
        Daemon::spawn(&mut command);
        return "another".into();
    }
    let said = child::text(&child::output(&mut command));
    let named = said.split("only root can become '").nth(1).and_then(|it| it.split('\'').next());
    named.unwrap_or(&said).to_owned()
}

/// Where files are found when the folder is swapped, what calls there are, and what rights.
fn sandbox(_: &str, given: &Given) -> String {
    let (place, far) = (folder(&[("one/f", b"one"), ("two/f", b"two")]), folder(&[("f", b"far")]));
    let at = |name: &str| place.path().join(name);
    let point_to = |release: &Path| {
        symlink(release, at("next")).expect("a link");
        std::fs::rename(at("next"), at("current")).expect("swapped");
    };
    point_to(Path::new("one"));
    open_to_all(place.path());
    open_to_all(far.path());
    let server = given.serve(&at("current"), &[]);
    let files = [Path::new("two"), far.path()].map(|release| {
        point_to(release);
        server.peer().fetch(&rrq("f", &[])).is_ok()
    });
    let files = match files {
        [true, true] => "anywhere",
        [true, false] => "place",
        _ => "folder",
    };
    let calls = if server.status("Seccomp") == 2 { "its calls" } else { "any call" };
    let rights = if server.status("NoNewPrivs") == 1 { "no new rights" } else { "new rights" };
    format!("{files}, {calls}, {rights}")
}

fn form_of_the_log(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &[]);
    server.peer().fetch(&rrq("missing", &[])).expect_err("it is not there");
    let line = server.log_line(&["missing"]);
    let is_object = serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|it| it.is_object());
    if is_object { "an object".into() } else { "words".into() }
}

fn progress(_: &str, given: &Given) -> String {
    let root = two_thousand();
    let server = given.serve(root.path(), &["--json"]);
    let (peer, tid) = hanging(&server);
    let asked = Instant::now();
    // Each datagram is an occasion; the same ACK again changes nothing else.
    let told = || {
        peer.send(&ack(1), tid);
        server.logged(&["\"message\":\"sending\"", "\"bytes\":512", "\"file\":\"f\""])
    };
    let line = until("a line, or a second", || {
        let told = told();
        (told.is_some() || asked.elapsed() > Duration::from_secs(1)).then_some(told)
    });
    line.map_or("nothing", |_| "how far").into()
}

fn lines_of_many(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    // Each of them is a line of its own.
    let server = given.serve(root.path(), &["-v"]);
    let peer = server.peer();
    for n in 0..30 {
        peer.fetch(&rrq(format!("missing-{n}"), &[])).expect_err("it is not there");
    }
    // A line later what was left out is told.
    until("the last of them, or how many are missing", || {
        if server.logged(&["missing-29"]).is_some() {
            return Some("all".into());
        }
        peer.fetch(&rrq("later", &[])).expect_err("it is not there");
        server.logged(&["log lines left out"]).map(|_| "some, and how many not".into())
    })
}

/// Where a server takes requests that does not say so.
fn request_port(pid: u32) -> SocketAddr {
    let proc = Path::new("/proc").join(pid.to_string());
    until("its port", || {
        let sockets = std::fs::read_dir(proc.join("fd")).expect("it lives").flatten();
        let sockets = sockets.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        let sockets: Vec<_> = sockets.map(|link| link.display().to_string()).collect();
        let table = std::fs::read_to_string(proc.join("net/udp")).expect("a table");
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (_, port) = fields[1].split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok().filter(|port| *port > 0)?;
            let its = sockets.contains(&format!("socket:[{}]", fields[9]));
            its.then(|| ([127, 0, 0, 1], port).into())
        })
    })
}

/// Which levels of the log there are, and whether there is a banner.
fn levels(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let options = ["--listen", "127.0.0.1:0"];
    let child = child::started(&mut given.rtftpd(root.path(), &options));
    let peer = Peer::of(request_port(child.id()));
    // It is bound before it says so; what it answers comes after.
    peer.ask(&ack(1));
    peer.fetch(&rrq("missing", &[])).expect_err("it is not there");
    peer.store(&wrq("f", &[]), b"").expect_err("no uploads");
    // A line may come later than the answer that it is about. At its end all are there, that it stops among them.
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it lives");
    let output = child::said_within(DEADLINE, child).expect("its end");
    let log = String::from_utf8_lossy(&output.stderr);
    let mut seen: Vec<&str> = Vec::new();
    seen.extend(log.contains("DEBUG").then_some("DEBUG"));
    seen.extend(log.contains("INFO").then_some("INFO"));
    seen.extend((!output.stdout.is_empty()).then_some("banner"));
    if seen.is_empty() { "nothing".into() } else { seen.join(", ") }
}

pub(crate) fn asked_about_itself(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    if given.words.is_empty() {
        given.serve(root.path(), &[]);
        return "serves".into();
    }
    let output = child::output(&mut given.rtftpd(root.path(), &[]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let version = format!("rtftpd {}\n", env!("CARGO_PKG_VERSION"));
    match text {
        text if text == version => "is named".into(),
        text if text.contains("Usage: rtftpd") => "explains".into(),
        other => other,
    }
}
