//! SIGKILL to either program, or to the process of a transfer, at random moments of uploads and downloads. Whoever looks sees the old file or the new
//! one, never a part of it, and what a killed process leaves is gone after the next start.
//!
//! `KILL_SEED=n` repeats the moments of a run, `KILLS=n` kills so often in each test.

mod common;
#[path = "common/relay.rs"]
mod relay;

use common::apart::{namespaces, without_proc};
use common::{
    DEADLINE, Daemon, child, everything_in, folder, open_to_all, pattern, random, rrq, setting,
    until, within, wrq,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::RngExt;
use rand::rngs::StdRng;
use relay::Relay;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tempfile::TempDir;
use tftpkit::wire::Packet;

/// Whether a process makes its temporary files without a name, as most file systems can, or with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temporaries {
    Unnamed,
    Named,
}

/// Starts `program`. Without `/proc` it can give no file a name later, so it takes names from the start.
fn command(program: &Path, temporaries: Temporaries) -> Command {
    if temporaries == Temporaries::Unnamed {
        return Command::new(program);
    }
    let hidden = without_proc().expect("it had some");
    let mut command = Command::new(&hidden[0]);
    command.args(&hidden[1..]).arg(program);
    command
}

/// The names of temporary files among those of a folder.
fn temporaries_in(folder: &Path) -> Vec<String> {
    let mut names = everything_in(folder);
    names.retain(|name| name.starts_with(".rtftp-") && name.ends_with(".part"));
    names
}

/// How the file travels: small blocks one at a time or in windows, and as `rtftp` likes it best.
const STYLES: [(&[&str], usize); 4] = [
    (&["--blksize", "2048", "--windowsize", "1"], 2048),
    (&["--blksize", "1428", "--windowsize", "8"], 1428),
    (&["--blksize", "8192", "--windowsize", "2"], 8192),
    (&["--blksize", "1400"], 1400),
];

/// How the server drives it.
const MODELS: [&str; 3] = ["threads", "events", "processes"];
const PROCESSES: usize = 2;

/// Without `/proc` no process can be started of the program.
const fn models(temporaries: Temporaries) -> usize {
    match temporaries {
        Temporaries::Unnamed => MODELS.len(),
        Temporaries::Named => PROCESSES,
    }
}

/// How often it is looked whether a client lives.
const LOOK: Duration = Duration::from_millis(10);

/// Not a multiple of any block.
const SIZE: usize = 2_000_003;

/// What was there before and what comes.
struct Contents {
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Makes a file that a server also sends and replaces which takes itself for root: who has a namespace of his own does.
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
    open_to_all(path.parent().expect("a folder"));
}

/// What is seen under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Old,
    New,
}

impl Contents {
    fn new() -> Self {
        Self { old: pattern(SIZE - 1000, 1), new: pattern(SIZE, 2) }
    }

    /// Looks, and fails where it is neither whole file.
    fn seen(&self, path: &Path) -> Seen {
        match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Seen::Nothing,
            Ok(bytes) if bytes == self.old => Seen::Old,
            Ok(bytes) if bytes == self.new => Seen::New,
            Ok(bytes) => panic!("{} bytes of neither file in {}", bytes.len(), path.display()),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Puts the old file there, or none.
    fn before(&self, path: &Path, old: bool) -> Seen {
        let _ = std::fs::remove_file(path);
        if old {
            write(path, &self.old);
        }
        self.seen(path)
    }
}

/// One transfer and when somebody dies in it.
struct Moment {
    model: usize,
    style: (&'static [&'static str], usize),
    /// Before so many DATA have passed.
    data: usize,
    /// That long after the datagram passed, so that also what no datagram shows is met.
    after: Duration,
    /// Whether there is an old file.
    old: bool,
}

impl Moment {
    fn random(random: &mut StdRng, models: usize) -> Self {
        let model = random.random_range(0..models);
        let style = STYLES[random.random_range(0..STYLES.len())];
        let blocks = SIZE / style.1 + 1;
        // A good part of them when the last block is there, and the file gets its name.
        let at_the_end = random.random_bool(0.4);
        let data = if at_the_end { blocks } else { random.random_range(0..=blocks) };
        let longest = if at_the_end { 20_000 } else { 300 };
        let after = Duration::from_micros(random.random_range(0..longest));
        Self { model, style, data, after, old: random.random() }
    }

    /// A network before `server` that tells, of each datagram, how many DATA are left to this moment.
    fn relay(&self, server: &Daemon) -> (Relay, mpsc::Receiver<usize>) {
        let (tell, told) = mpsc::channel();
        let mut left = self.data;
        let relay = Relay::before(server.address, move |datagram| {
            if matches!(Packet::parse(datagram), Ok(Packet::Data { .. })) {
                left = left.saturating_sub(1);
            }
            let _ = tell.send(left);
            vec![Duration::ZERO]
        });
        (relay, told)
    }

    /// Waits for it, however long it takes while datagrams pass. A client that has ended before has something to say.
    fn pass(&self, told: &mpsc::Receiver<usize>, client: &mut Client, server: &Daemon) {
        let mut left = None;
        while left != Some(0) {
            let next = within(DEADLINE, || match told.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => client.ended().map(Err),
                left => Some(Ok(left.expect("a relay"))),
            });
            let Some(Ok(now)) = next else {
                let (said, log) = (client.said(), server.log());
                panic!(
                    "{left:?} DATA are to pass; {next:?}, the client said {said:?}, the server:\n{log}"
                );
            };
            left = Some(now);
        }
        std::thread::park_timeout(self.after);
    }
}

/// The client's folder and its transfer of `file`.
struct Client {
    here: TempDir,
    child: Option<Child>,
    /// Where its messages go.
    words: File,
}

impl Client {
    fn new() -> Self {
        Self { here: folder(&[]), child: None, words: tempfile::tempfile().expect("a file") }
    }

    fn file(&self) -> PathBuf {
        self.here.path().join("file")
    }

    fn start(&mut self, verb: &str, moment: &Moment, relay: &Relay, temporaries: Temporaries) {
        let program = Path::new(env!("CARGO_BIN_EXE_rtftp"));
        let mut command = command(program, temporaries);
        command.current_dir(self.here.path()).arg(verb).arg("--quiet").args(moment.style.0);
        match verb {
            "put" => command.args(["file", &relay.address.to_string()]),
            _ => command.args([&relay.address.to_string(), "file"]),
        };
        self.words = tempfile::tempfile().expect("a file");
        let words = self.words.try_clone().expect("a descriptor");
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        self.child = Some(command.spawn().expect("a client"));
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("a client").try_wait().expect("a child")
    }

    /// What it said of that.
    fn said(&mut self) -> String {
        let mut said = String::new();
        self.words.rewind().and_then(|()| self.words.read_to_string(&mut said)).expect("its words");
        said
    }

    fn kill(&self) {
        let child = self.child.as_ref().expect("a client");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).expect("killed");
    }

    /// Waits for its end.
    fn status(&mut self) -> ExitStatus {
        child::end("the client", self.child.as_mut().expect("a client"))
    }
}

/// Whether processes that take names from the start can be had.
fn named() -> bool {
    namespaces(&["--mount"]).is_some()
}

/// What came of the kills of a test.
#[derive(Debug, Default)]
struct Tally {
    before: usize,
    whole: usize,
    /// Kills that came after the client had ended well.
    too_late: usize,
    /// Temporary files that killed processes left.
    left: usize,
}

/// Runs the moments of a test, one by one; `kill` tells what is seen afterwards.
fn moments(
    (what, models): (&str, usize),
    tally: &mut Tally,
    mut one: impl FnMut(&Moment, &mut Tally) -> Seen,
) {
    let kills = setting("KILLS").unwrap_or(25);
    println!("{what}: KILLS={kills}");
    let mut random = random("KILL_SEED");
    for _ in 0..kills {
        let moment = Moment::random(&mut random, models);
        match one(&moment, tally) {
            Seen::New => tally.whole += 1,
            _ => tally.before += 1,
        }
    }
    println!("{what}: {tally:?}");
    assert!(tally.before > 0, "none was in time");
}

fn serve(root: &Path, temporaries: Temporaries, model: usize) -> Daemon {
    let mut command = command(&Daemon::program(), temporaries);
    command.arg(root).args(["--listen", "127.0.0.1:0", "--uploads", "overwrite"]);
    // A client that was killed before it answered has that long.
    command.args(["--patience", "4"]);
    command.args(["--intervals", "0.01", "0.05", "--model", MODELS[model]]);
    Daemon::spawn(&mut command)
}

/// What a folder may have beside its file when a process was killed: nothing but temporary files with their names, and
/// where those have no names at most the one that was about to replace a file.
fn leftovers(folder: &Path, temporaries: Temporaries, before: Seen) -> usize {
    let left = temporaries_in(folder);
    let others = everything_in(folder).len() - left.len();
    assert!(others <= 1, "{:?}", everything_in(folder));
    if temporaries == Temporaries::Unnamed && before == Seen::Nothing {
        assert_eq!(left, Vec::<String>::new(), "a new file gets its name in one step");
    }
    assert!(left.len() <= 1, "{left:?}");
    left.len()
}

/// Kills the server in the middle of `verb`, and starts it again.
fn kill_servers(verb: &'static str, temporaries: Temporaries) -> Tally {
    let (contents, root) = (Contents::new(), folder(&[]));
    let mut client = Client::new();
    let there = root.path().join("file");
    let (target, of_server) = if verb == "put" {
        (there.clone(), temporaries)
    } else {
        (client.file(), Temporaries::Unnamed)
    };
    write(&if verb == "put" { client.file() } else { there }, &contents.new);
    let mut tally = Tally::default();
    let what = format!("server killed, {verb}, {temporaries:?}");
    moments((&what, models(of_server)), &mut tally, |moment, tally| {
        let before = contents.before(&target, moment.old);
        let mut server = serve(root.path(), of_server, moment.model);
        let (relay, told) = moment.relay(&server);
        client.start(verb, moment, &relay, temporaries);
        moment.pass(&told, &mut client, &server);
        server.kill();
        drop(relay);
        let done = client.status().success();
        tally.too_late += usize::from(done);
        let seen = contents.seen(&target);
        assert!(seen == Seen::New || seen == before && !done, "{seen:?}, client done: {done}");
        let left = leftovers(root.path(), of_server, before);
        tally.left += left;
        assert_eq!(
            everything_in(client.here.path()).iter().filter(|name| *name != "file").count(),
            0
        );
        if left > 0 {
            let next = serve(root.path(), of_server, moment.model);
            until("what was left is gone", || temporaries_in(root.path()).is_empty().then_some(()));
            next.log_line(&["removed unfinished uploads", "files=1"]);
            assert_eq!(contents.seen(&target), seen);
        }
        seen
    });
    tally
}

/// Kills the client in the middle of `verb`.
fn kill_clients(verb: &'static str, temporaries: Temporaries) -> Tally {
    let (contents, root) = (Contents::new(), folder(&[]));
    let mut client = Client::new();
    let there = root.path().join("file");
    let (target, source) =
        if verb == "put" { (there, client.file()) } else { (client.file(), there) };
    write(&source, &contents.new);
    let models = models(temporaries);
    let servers: Vec<_> = (0..models).map(|model| serve(root.path(), temporaries, model)).collect();
    let idle = servers.iter().map(|server| {
        // All that it has open always is open when it has served something.
        server.peer().fetch(&rrq(".list", &[])).expect("a listing");
        server.files()
    });
    let idle: Vec<_> = idle.collect();
    let mut tally = Tally::default();
    let what = format!("client killed, {verb}, {temporaries:?}");
    moments((&what, models), &mut tally, |moment, tally| {
        let before = contents.before(&target, moment.old);
        let server = &servers[moment.model];
        let (relay, told) = moment.relay(server);
        client.start(verb, moment, &relay, temporaries);
        moment.pass(&told, &mut client, server);
        client.kill();
        let status = client.status();
        assert!(status.success() || status.signal() == Some(9), "{status}");
        drop(relay);
        let idle = idle[moment.model];
        until("the server gives up", || (server.files() <= idle).then_some(()));
        tally.too_late += usize::from(status.success());
        let seen = contents.seen(&target);
        assert!(seen == Seen::New || seen == before && !status.success(), "{seen:?}, {status}");
        assert_eq!(temporaries_in(root.path()), Vec::<String>::new(), "the server lives");
        let left = leftovers(client.here.path(), temporaries, before);
        tally.left += left;
        if left > 0 {
            // The next download to the same folder removes it.
            let (relay, _told) = moment.relay(server);
            client.start("get", moment, &relay, Temporaries::Named);
            assert!(client.status().success());
            assert_eq!(everything_in(client.here.path()), ["file"]);
        }
        seen
    });
    tally
}

/// Kills the process of the transfer in the middle of `verb`; its server goes on.
fn kill_processes(verb: &'static str) {
    let (contents, root) = (Contents::new(), folder(&[]));
    let mut client = Client::new();
    let there = root.path().join("file");
    let (target, source) =
        if verb == "put" { (there, client.file()) } else { (client.file(), there) };
    write(&source, &contents.new);
    let server = serve(root.path(), Temporaries::Unnamed, PROCESSES);
    let what = format!("process killed, {verb}");
    moments((&what, MODELS.len()), &mut Tally::default(), |moment, tally| {
        let before = contents.before(&target, moment.old);
        let (relay, told) = moment.relay(&server);
        client.start(verb, moment, &relay, Temporaries::Unnamed);
        moment.pass(&told, &mut client, &server);
        for pid in server.transfer_processes() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let done = client.status().success();
        drop(relay);
        tally.too_late += usize::from(done);
        until("the server gives up", || server.transfer_processes().is_empty().then_some(()));
        let seen = contents.seen(&target);
        assert!(seen == Seen::New || seen == before && !done, "{seen:?}, client done: {done}");
        for folder in [root.path(), client.here.path()] {
            let others = everything_in(folder).into_iter().filter(|name| name != "file").count();
            assert_eq!(others, 0, "{:?}", everything_in(folder));
        }
        seen
    });
}

#[test]
fn a_process_killed_during_its_transfer_shows_no_part_of_it_and_its_server_goes_on() {
    kill_processes("put");
    kill_processes("get");
}

#[test]
fn a_server_killed_during_uploads_shows_no_part_of_them() {
    kill_servers("put", Temporaries::Unnamed);
}

#[test]
fn a_server_killed_during_uploads_removes_what_it_left_when_it_starts_again() {
    if !named() {
        return;
    }
    let tally = kill_servers("put", Temporaries::Named);
    assert!(tally.left > 0, "{tally:?}");
}

#[test]
fn a_server_that_starts_removes_what_was_left_and_not_what_another_writes() {
    if !named() {
        return;
    }
    let root = folder(&[(".rtftp-0123456789abcdef.part", b"left")]);
    let writing = serve(root.path(), Temporaries::Named, 0);
    writing.log_line(&["removed unfinished uploads", "files=1"]);
    let peer = writing.peer();
    let (_, tid) = peer.answer(&wrq("file", &[]));
    assert_eq!(temporaries_in(root.path()).len(), 1);
    std::fs::write(root.path().join(".rtftp-0123456789abcdef.part"), "left").expect("a file");
    let second = serve(root.path(), Temporaries::Named, 1);
    second.log_line(&["removed unfinished uploads", "files=1"]);
    assert_eq!(peer.store_rest(tid, 1, &pattern(2000, 3)), Ok(()));
    assert_eq!(everything_in(root.path()), ["file"]);
    assert_eq!(std::fs::read(root.path().join("file")).expect("a file"), pattern(2000, 3));
}

#[test]
fn a_server_killed_during_downloads_leaves_clients_with_what_they_had() {
    kill_servers("get", Temporaries::Unnamed);
    if named() {
        kill_servers("get", Temporaries::Named);
    }
}

#[test]
fn a_client_killed_during_uploads_leaves_the_server_with_what_it_had() {
    kill_clients("put", Temporaries::Unnamed);
    if named() {
        kill_clients("put", Temporaries::Named);
    }
}

#[test]
fn a_client_killed_during_downloads_shows_no_part_of_them() {
    kill_clients("get", Temporaries::Unnamed);
}

#[test]
fn a_client_killed_during_downloads_leaves_at_most_what_the_next_removes() {
    if !named() {
        return;
    }
    let tally = kill_clients("get", Temporaries::Named);
    assert!(tally.left > 0, "{tally:?}");
}
