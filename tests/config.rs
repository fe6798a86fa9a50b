//! The configuration file of `rtftpd`, what is made of it, and what is read again while the server serves.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::{in_own_mounts, namespaces};
use common::{Daemon, Peer, ack, child, error_code, folder, pattern, rrq, show, until, wrq};
use nix::sys::signal::Signal;
use predicates::prelude::*;
use predicates::str::contains;
use programs::rtftpd;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A folder to serve, and a directory for the files that say how.
fn place(config: &str) -> (TempDir, TempDir) {
    let (root, here) = (folder(&[("f", &pattern(2000, 1)), ("g", b"g")]), folder(&[]));
    write(here.path(), config);
    (root, here)
}

fn write(here: &Path, config: &str) {
    std::fs::write(here.join("rtftpd.toml"), config).expect("a file");
}

/// A server with the configuration in `here`.
fn serve(root: &Path, here: &Path, more: &[&str]) -> Daemon {
    let file = here.join("rtftpd.toml").display().to_string();
    Daemon::serve(root, &[&["--config", &file], more].concat())
}

/// What a check of the configuration in `here` says, and its exit status.
fn check(here: &Path, more: &[&str]) -> (String, i32) {
    let mut command = rtftpd();
    command.current_dir(here).args(["check", "--config", "rtftpd.toml"]).args(more);
    let output = command.env_remove("RTFTPD_USER").output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
}

fn terms(peer: &Peer) -> String {
    show(&peer.answer(&rrq("f", &[("blksize", "1428"), ("windowsize", "64")])).0)
}

/// The length of the file, or the code of the ERROR.
fn read(peer: &Peer, name: &str) -> Result<usize, u16> {
    peer.fetch(&rrq(name, &[])).map(|bytes| bytes.len()).map_err(|packet| error_code(&packet))
}

/// Has it read all again, and waits for the words that this comes to.
fn reload(server: &Daemon, words: &[&str]) -> String {
    let before = server.all_logged(words).len();
    server.signal(Signal::SIGHUP);
    until("what came of it", || server.all_logged(words).into_iter().nth(before))
}

const AGAIN: &[&str] = &["read the configuration again"];
const NOTHING: &[&str] = &["ERROR", "nothing was changed"];

#[test]
fn what_is_given_goes_before_the_environment_the_file_and_the_default() {
    let (root, here) = place("max-blksize = 600\nmax-windowsize = 5\n");
    let config = here.path().join("rtftpd.toml").display().to_string();
    let serve = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", "127.0.0.1:0"]).args(options);
        let server = Daemon::spawn(command.envs(variables.iter().copied()));
        terms(&server.peer())
    };
    let variable = [("RTFTPD_CONFIG", &*config), ("RTFTPD_MAX_BLKSIZE", "700")];
    assert_eq!(serve(&[], &[]), "OACK blksize=1428 windowsize=64");
    assert_eq!(serve(&[], &["--config", &config]), "OACK blksize=600 windowsize=5");
    assert_eq!(serve(&variable, &[]), "OACK blksize=700 windowsize=5");
    assert_eq!(serve(&variable, &["--max-blksize", "800"]), "OACK blksize=800 windowsize=5");
}

#[test]
fn paths_of_the_file_are_beside_it_and_it_names_the_folder_and_has_rules() {
    let here = folder(&[("served/f", &pattern(2000, 1)), ("served/g", b"g")]);
    let rules = "[[rule]]\nname = \"g\"\naction = \"deny\"\n";
    write(here.path(), &format!("root = \"served\"\nlisten = [\"127.0.0.1:0\"]\n{rules}"));
    let mut command = Command::new(Daemon::program());
    command.current_dir("/").arg("--config").arg(here.path().join("rtftpd.toml"));
    let server = Daemon::spawn(&mut command);
    assert_eq!([read(&server.peer(), "f"), read(&server.peer(), "g")], [Ok(2000), Err(2)]);
    let line = server.log_line(&["refused", "g"]);
    assert!(line.contains("rtftpd.toml:3 denies it"), "{line}");
    let banner = server.banner();
    assert!(banner.contains("  rules      1 in ") && banner.contains("  config     "), "{banner}");
    // Beside the folder, what is read again stands in the sandbox, too.
    let real = here.path().canonicalize().expect("a path").display().to_string();
    assert!(banner.contains("  sandbox    off") || banner.contains(&real), "{banner}");
}

#[test]
fn rules_of_a_file_of_their_own_come_before_those_of_the_configuration() {
    let (root, here) = place("rules = \"own.toml\"\n[[rule]]\naction = \"deny\"\n");
    std::fs::write(here.path().join("own.toml"), "[[rule]]\nname = \"f\"\n").expect("a file");
    let server = serve(root.path(), here.path(), &[]);
    assert_eq!([read(&server.peer(), "f"), read(&server.peer(), "g")], [Ok(2000), Err(2)]);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line_and_what_may_be_meant() {
    let (root, here) = place("");
    let root = root.path().display().to_string();
    for (config, line, words) in [
        (
            "max-blksise = 3",
            "line 2: ",
            "there is no key 'max-blksise'; 'max-blksize' may be meant",
        ),
        ("max_blksize = 3", "line 2: ", "'max-blksize' may be meant"),
        ("[[rules]]", "line 2: ", "the tables are [[rule]] and [[profile]]"),
        ("[server]", "line 2: ", "the long options of 'rtftpd --help' are keys"),
        ("config = \"x\"", "line 2: ", "there is no key 'config'"),
        (
            "max-blksize = 7",
            "line 2: ",
            "invalid value '7' for 'max-blksize': write a whole number",
        ),
        ("max-blksize = \"x\"", "line 2: ", "invalid value 'x' for 'max-blksize'"),
        ("max-blksize = [8]", "line 2: ", "'max-blksize': write one value, and no list"),
        ("drain = 1\nuploads = \"on\"", "line 3: ", "[possible values: off, create, overwrite]"),
        ("no-list = 1", "line 2: ", "'no-list': write true or false, without quotes"),
        ("verbose = true", "line 2: ", "'verbose': write a number from 0 to 255, without quotes"),
        ("patience = true", "line 2: ", "'patience': write a text in quotes"),
        ("rules = 5", "line 2: ", "'rules': write a text in quotes"),
        ("max-sessions = 9223372036854775808", "line 2: ", "expected the value of an option"),
        ("patience = 1979-05-27", "line 2: ", "'patience': write neither a table nor a time"),
        ("intervals = [1]", "line 2: ", "2 values required for 'intervals' but 1 was provided"),
        ("intervals = [5, 1]", "line 2: ", "the shortest of --intervals is longer"),
        ("ports = \"9-1\"", "line 2: ", "for 'ports': "),
        ("listen = \"not/a/host\"", "line 2: ", "for 'listen': "),
        ("sandbox = [\"none\", \"calls\"]", "line 2: ", "'none' of --sandbox stands alone"),
        ("quiet = true\nverbose = 1", "toml: ", "'quiet' cannot be used with 'verbose"),
        ("model = \"threads\"\nsingle-port = true", "toml: ", "cannot be used with '"),
        ("rule = 5", "line 2: ", "write the heads of tables in two brackets"),
        ("[[rule]]\nfrom = \"x\"", "line 3: ", "write an address, or a network"),
        ("[[rule]]\nprofile = \"no\"", "line 2: ", "there is no profile 'no'"),
        ("drain = 1\ndrain = 2", "line 3: ", "duplicate key"),
        ("drain =", "line 2: ", ""),
    ] {
        write(here.path(), &format!("# a comment\n{config}\n"));
        let (text, code) = check(here.path(), &[&root]);
        assert_eq!(code, 1, "{config}: {text}");
        let last = text.lines().find(|text| text.starts_with("rtftpd: ")).unwrap_or_default();
        assert!(last.contains(line) && text.contains(words), "{config}: {text}");
    }
    std::fs::remove_file(here.path().join("rtftpd.toml")).expect("it was there");
    assert!(check(here.path(), &[&root]).0.contains("cannot read the configuration 'rtftpd.toml'"));
}

#[test]
fn a_check_shows_each_value_with_its_origin_and_what_it_shows_is_a_configuration() {
    let config = "max-blksize = 600\nverbose = 1\nlinks-to = [\".\"]\nuploads = \"create\"\n";
    let (root, here) = place(&format!("{config}[[rule]]\nroot = \"/\"\nallow = \"read\"\n"));
    let root = root.path().display().to_string();
    let mut command = rtftpd();
    command.current_dir(here.path()).env_remove("RTFTPD_USER").env("RTFTPD_DRAIN", "3");
    let found = command.args(["check", &root, "--config", "rtftpd.toml", "--quiet"]).output();
    let text = String::from_utf8(found.expect("it runs").stdout).expect("UTF-8");
    for (key, value, origin) in [
        ("root", format!("\"{root}\""), "the command line"),
        ("max-blksize", "600".into(), "line 1"),
        // What was given says otherwise.
        ("# verbose", "0".into(), "default"),
        ("quiet", "true".into(), "the command line"),
        ("links-to", "[\".\"]".into(), "line 3"),
        ("uploads", "\"create\"".into(), "line 4"),
        ("drain", "3".into(), "RTFTPD_DRAIN"),
        ("# intervals", "[\"0.2\", 5]".into(), "default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
        let (written, comment) = line.and_then(|line| line.split_once("  # ")).expect(key);
        assert_eq!((written.trim_end(), comment), (&*format!("{key} = {value}"), origin));
    }
    let written = format!("# files are read and written in {root}\n");
    for line in ["# ports", "# 1 rules in rtftpd.toml\n", &written, "# files are read in /\n"] {
        assert!(text.contains(&format!("\n{line}")), "{line}{text}");
    }
    write(here.path(), &text);
    let (again, code) = check(here.path(), &[]);
    assert_eq!(code, 0, "{again}");
    assert!(again.contains("max-blksize = 600"), "{again}");
    // A number that a variable has in a form that the file does not take.
    let found = rtftpd().args(["check", &root]).env("RTFTPD_VERBOSE", "02").output();
    let text = String::from_utf8(found.expect("it runs").stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("verbose = ")).expect("what was given");
    assert_eq!(line.split_once("  # ").map(|(written, _)| written.trim_end()), Some("verbose = 2"));
}

#[test]
fn a_check_finds_what_would_keep_the_server_from_serving_and_serves_nothing() {
    let (root, here) = place("");
    let root = root.path().display().to_string();
    for (options, words) in [
        (&["no/such"][..], "cannot serve 'no/such'"),
        (&[&root, "--rules", "no-file"], "cannot read the rules 'no-file'"),
        (&[&root, "--map-file", "no-file"], "cannot read the map file 'no-file'"),
        (&[&root, "--map-rule", "r ("], "--map-rule"),
        (
            &[&root, "--map-rule", "r ^a b", "--map-rule", "#x"],
            "number 2: there is no rule in '#x'",
        ),
        (&[&root, "--links-to", "no/such"], "cannot lead links to 'no/such'"),
        (&[&root, "--user", "no-such-user"], "there is no user 'no-such-user'"),
    ] {
        let (text, code) = check(here.path(), options);
        assert!(code == 1 && text.contains(words), "{options:?}: {code} {text}");
    }
    assert_eq!(check(here.path(), &[&root]).1, 0);
    assert_eq!(check(here.path(), &[&root, "--drain", "x"]).1, 2);
}

#[test]
fn what_is_read_again_counts_from_the_next_request_on_and_running_transfers_go_on() {
    let (root, here) = place("");
    let single_port: [&[&str]; 2] = [&["--single-port"], &["--single-port", "--sandbox", "none"]];
    let models: [&[&str]; 3] =
        [&["--model", "threads"], &["--model", "events"], &["--model", "processes"]];
    for options in if common::single_port() { &single_port[..] } else { &models } {
        write(here.path(), "max-blksize = 600\n[[rule]]\nname = \"g\"\naction = \"deny\"\n");
        let server = serve(root.path(), here.path(), options);
        assert_eq!(terms(&server.peer()), "OACK blksize=600 windowsize=64");
        assert_eq!(read(&server.peer(), "g"), Err(2));
        let running = server.peer();
        let (first, tid) = running.answer(&rrq("f", &[]));
        assert_eq!(show(&first), "DATA 1 512");
        // As an editor does it, which writes another file and gives it the name.
        let new = here.path().join("new");
        // Hardware addresses are wanted for the first time.
        let text = "max-blksize = 700\nverbose = 1\n[[rule]]\nname = \"f\"\naction = \"deny\"\n\
            [[rule]]\nmac = \"52:54:00\"\naction = \"deny\"\n";
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, here.path().join("rtftpd.toml")).expect("a name");
        let line = reload(&server, AGAIN);
        assert!(line.contains("rules=2"), "{line}");
        assert_eq!([read(&server.peer(), "f"), read(&server.peer(), "g")], [Err(2), Ok(1)]);
        server.log_line(&["DEBUG", "started", "g"]);
        assert_eq!(running.rest(first, tid, 512).expect("the rest"), pattern(2000, 1));
        write(here.path(), "");
        reload(&server, AGAIN);
        assert_eq!(terms(&server.peer()), "OACK blksize=1428 windowsize=64");
    }
}

/// However it ends: for a new server whose transfers share its port, or when nobody asks any more.
#[test]
fn the_time_of_running_transfers_is_the_one_that_was_read_last() {
    let (root, here) = place("drain = \"1min\"\n");
    let [config, next, notify] = ["rtftpd.toml", "next", "notify"].map(|it| here.path().join(it));
    let start = |arguments: &[&str]| {
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.arg("--config").arg(&config);
        command
    };
    // One port is a model of its own.
    let shared = || {
        let mut command = start(&["--single-port"]);
        Daemon::spawn(command.arg("--handover").arg(&next).env_remove("RTFTPD_MODEL"))
    };
    let mut old = shared();
    assert_eq!(show(&old.peer().answer(&rrq("f", &[])).0), "DATA 1 512");
    write(here.path(), "drain = 0\n");
    reload(&old, AGAIN);
    let _new = shared();
    assert_eq!(until("the old one ends and waits for no client", || old.exit_status()), 0);

    write(here.path(), "drain = 20\n");
    let manager = UnixDatagram::bind(&notify).expect("a socket");
    manager.set_nonblocking(true).expect("a socket");
    let server = Daemon::spawn(start(&["--idle-exit", "3"]).env("NOTIFY_SOCKET", &notify));
    // While a transfer runs it does not end.
    let running = server.peer();
    let (first, tid) = running.answer(&rrq("f", &[]));
    write(here.path(), "drain = 7\n");
    reload(&server, AGAIN);
    assert_eq!(running.rest(first, tid, 512).expect("the rest"), pattern(2000, 1));
    let told = until("it says that it stops", || {
        let mut datagram = [0; 256];
        let len = manager.recv(&mut datagram).ok()?;
        let told = String::from_utf8_lossy(&datagram[..len]).into_owned();
        told.starts_with("STOPPING").then_some(told)
    });
    assert_eq!(told, "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000", "and five seconds more");
}

#[test]
fn a_file_that_makes_no_sense_changes_nothing_and_says_why() {
    let (root, here) = place("max-blksize = 600\nrules = \"own.toml\"\n");
    let own = here.path().join("own.toml");
    std::fs::write(&own, "[[rule]]\nname = \"g\"\naction = \"deny\"\n").expect("a file");
    let server = serve(root.path(), here.path(), &[]);
    let is_as_before = || {
        assert_eq!(terms(&server.peer()), "OACK blksize=600 windowsize=64");
        assert_eq!([read(&server.peer(), "f"), read(&server.peer(), "g")], [Ok(2000), Err(2)]);
    };
    for (config, words) in [
        ("max-blksize = 700\nuploads = \"on\"\n", "rtftpd.toml, line 2: invalid value 'on'"),
        ("max-blksise = 700\n", "line 1: there is no key"),
        ("root = \"/\"\nrules = \"missing.toml\"\n", "missing.toml"),
        ("max-blksize = 700\n[[rule]]\nroot = \"no/such\"\n", "cannot serve "),
    ] {
        write(here.path(), config);
        let line = reload(&server, NOTHING);
        assert!(line.contains(words), "{config}: {line}");
        is_as_before();
    }
    write(here.path(), "max-blksize = 600\nrules = \"own.toml\"\n");
    std::fs::write(&own, "[[rule]]\nname = \"g\"\naction = \"no\"\n").expect("a file");
    let line = reload(&server, NOTHING);
    assert!(line.contains("own.toml, line 3: "), "{line}");
    is_as_before();
}

#[test]
fn what_only_a_start_obeys_is_told_in_one_line_and_the_rest_counts() {
    let (root, here) = place("");
    let server = serve(root.path(), here.path(), &[]);
    let text = "listen = \"127.0.0.1:1\"\nmax-threads = 7\njson = true\nmax-blksize = 600\n";
    write(here.path(), &format!("{text}drain = 7\n"));
    let next_start = ["WARN", "counts from the next start on"];
    let line = reload(&server, &next_start);
    // It was given where it listens, which goes before the file.
    assert!(line.contains("a change of --max-threads, --json counts"), "{line}");
    assert_eq!(terms(&server.peer()), "OACK blksize=600 windowsize=64");
    reload(&server, AGAIN);
    server.signal(Signal::SIGTERM);
    server.log_line(&["stopping", "grace=7"]);
    let told = server.all_logged(&next_start);
    assert_eq!(told.len(), 1, "of what has not changed since nothing is told: {told:?}");
}

#[test]
fn what_the_sandbox_does_not_hold_is_refused_with_the_advice_to_restart() {
    let (root, here) = place("");
    let (elsewhere, other) = (folder(&[("f", b"few")]), folder(&[("sub/f", b"few")]));
    let server = serve(root.path(), here.path(), &["--sandbox", "folder,calls"]);
    let is_sandboxed = server.banner().contains("only files in");
    let rule = |root: &Path| format!("[[rule]]\nroot = \"{}\"\n", root.display());
    let cases = [
        (rule(elsewhere.path()), "sandbox", is_sandboxed),
        ("uploads = \"create\"\n".into(), "the sandbox has no ", true),
    ];
    for (config, words, _) in cases.into_iter().filter(|(_, _, can)| *can) {
        write(here.path(), &config);
        let line = reload(&server, NOTHING);
        assert!(line.contains(words) && line.contains("start the server again"), "{line}");
    }
    write(here.path(), "");
    assert_eq!(read(&server.peer(), "f"), Ok(2000));
    let free = serve(root.path(), here.path(), &["--sandbox", "none"]);
    write(here.path(), &rule(&other.path().join("sub")));
    reload(&free, AGAIN);
    assert_eq!(read(&free.peer(), "f"), Ok(3));
    write(here.path(), "uploads = \"create\"\n");
    reload(&free, AGAIN);
    free.peer().store(&wrq("new", &[]), b"new").expect("it is stored");
}

#[test]
fn a_server_is_found_by_its_pid_file_and_by_no_number_that_is_left_there() {
    let (root, here) = place("pid-file = \"pid\"\n");
    let config = here.path().join("rtftpd.toml").display().to_string();
    let reload = |options: &[&str]| rtftpd().arg("reload").args(options).assert();
    reload(&["--config", &config]).code(1).stderr(contains("cannot read the pid file"));
    reload(&["--config", "/dev/null"]).code(1).stderr(contains("--pid-file"));
    std::fs::write(here.path().join("pid"), format!("{}\n", std::process::id())).expect("a file");
    reload(&["--config", &config]).code(1).stderr(contains("no server runs"));
    let mut server = serve(root.path(), here.path(), &[]);
    let told = std::fs::read_to_string(here.path().join("pid")).expect("a file");
    assert_eq!(told.trim(), server.pid());
    reload(&["--config", &config]).success().stdout(contains(format!("process {} ", server.pid())));
    server.log_line(AGAIN);
    let pid_file = here.path().join("pid").display().to_string();
    let second = rtftpd()
        .arg(root.path())
        .args(["--listen", "127.0.0.1:0", "--pid-file", &pid_file])
        .assert();
    second.code(1).stderr(contains(format!("process {} serves with the pid file", server.pid())));
    write(here.path(), "pid-file = \"pid\"\nx = 1\n");
    reload(&["--config", &config]).code(1).stderr(contains("line 2").and(contains("no key 'x'")));
    write(here.path(), "pid-file = \"pid\"\n");
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
    reload(&["--config", &config]).code(1).stderr(contains("no server runs"));
}

#[test]
fn a_download_that_runs_keeps_its_file_when_the_folder_is_another_one() {
    let root = folder(&[("f", &pattern(2000, 1)), ("other/f", b"few")]);
    let (here, other) = (folder(&[]), root.path().join("other"));
    write(here.path(), &format!("root = \"{}\"\n", root.path().display()));
    let config = here.path().join("rtftpd.toml");
    let mut command = Command::new(Daemon::program());
    let model = if common::single_port() { "events" } else { "threads" };
    command.arg("--config").arg(config).args(["--listen", "127.0.0.1:0", "--model", model]);
    let server = Daemon::spawn(&mut command);
    let running = Peer::at(Ipv4Addr::new(127, 0, 0, 9), server.address);
    let (_, tid) = running.answer(&rrq("f", &[]));
    running.exchange(&ack(1), tid, "DATA 2 512");
    write(here.path(), &format!("root = \"{}\"\n", other.display()));
    reload(&server, AGAIN);
    assert_eq!(read(&server.peer(), "f"), Ok(3));
    let third = running.exchange(&ack(2), tid, "DATA 3 512");
    assert_eq!(third[4..], pattern(2000, 1)[1024..1536]);
}

#[test]
fn a_terminal_that_is_closed_takes_its_server_with_it() {
    let (root, here) = place("");
    let pid_file = here.path().join("pid");
    let shown = pid_file.display().to_string();
    let line = format!("exec '{}' '{}'", Daemon::program().display(), root.path().display());
    let line = format!("{line} --listen 127.0.0.1:0 --user {}", nix::unistd::Uid::effective());
    let mut script = Command::new("script");
    let script = script.args(["-qec", &line, "/dev/null"]).env("RTFTPD_PID_FILE", &pid_file);
    let mut script = child::started(script);
    until("a server", || std::fs::read_to_string(&pid_file).ok().filter(|text| !text.is_empty()));
    let reload = || rtftpd().args(["reload", "--pid-file", &shown]).output().expect("it runs");
    assert!(reload().status.success(), "as long as there is a terminal, it reads again");
    script.kill().and_then(|()| script.wait()).expect("the terminal is gone");
    until("the end of the server", || (!reload().status.success()).then_some(()));
}

#[test]
fn help_of_each_command_tells_its_exit_statuses() {
    for command in ["check", "explain", "reload"] {
        let help = child::output(Command::new(Daemon::program()).args([command, "--help"]));
        let text = child::text(&help);
        assert!(text.contains("Exit status: 0 ") && help.status.success(), "{text}");
    }
}

#[test]
fn each_option_that_is_read_again_counts_from_the_next_request_on() {
    let (root, here) = place("");
    let elsewhere = folder(&[("f", b"few"), ("far", b"far")]);
    std::os::unix::fs::symlink(elsewhere.path().join("far"), root.path().join("link"))
        .expect("a link");
    let maps = here.path().join("maps");
    std::fs::write(&maps, "r ^mapped f\n").expect("a file");
    std::fs::write(here.path().join("own.toml"), "[[rule]]\nname = \"f\"\naction = \"deny\"\n")
        .expect("a file");
    let server = serve(root.path(), here.path(), &["--sandbox", "none", "--log-rate", "0"]);
    let (size, block) = (&[("tsize", "0")][..], &[("blksize", "1428")][..]);
    let found = format!("root = '{}'\n", elsewhere.path().display());
    let links = format!("links-to = '{}'\n", elsewhere.path().display());
    let (missing, denied, refused) = ("ERROR 1 ", "ERROR 2 ", "ERROR ");
    for (config, request, before, after) in [
        (&*links, rrq("link", size), refused, "OACK tsize=3"),
        ("rules = \"own.toml\"\n", rrq("f", size), "OACK tsize=2000", denied),
        ("uploads = \"create\"\n", wrq("new", &[]), denied, "ACK 0"),
        ("uploads = \"create\"\ncreate-dirs = true\n", wrq("dir/new", &[]), denied, "ACK 0"),
        (
            "uploads = \"create\"\nmax-upload = 1024\n",
            wrq("new", &[("tsize", "1025")]),
            denied,
            "ERROR 3 ",
        ),
        ("map-file = \"maps\"\n", rrq("mapped", size), missing, "OACK tsize=2000"),
        ("map-rule = \"r ^other f\"\n", rrq("other", size), missing, "OACK tsize=2000"),
        ("strip-prefix = \"C:\"\n", rrq("C:f", size), missing, "OACK tsize=2000"),
        ("strip-junk = true\n", rrq(b"f\xff", size), missing, "OACK tsize=2000"),
        ("ignore-case = true\n", rrq("F", size), missing, "OACK tsize=2000"),
        ("no-list = true\n", rrq(".list", &[]), "DATA 1 ", missing),
        ("list-name = \"dir.txt\"\n", rrq("dir.txt", &[]), missing, "DATA 1 "),
        ("max-blksize = 600\n", rrq("f", block), "OACK blksize=1428", "OACK blksize=600"),
        (
            "max-blksize-of = \"127.0.0.0/8=700\"\n",
            rrq("f", block),
            "OACK blksize=1428",
            "OACK blksize=700",
        ),
        (
            "max-windowsize = 3\n",
            rrq("f", &[("windowsize", "8")]),
            "OACK windowsize=8",
            "OACK windowsize=3",
        ),
    ] {
        for (config, expected) in [("", before), (config, after), ("", before)] {
            write(here.path(), config);
            reload(&server, AGAIN);
            let peer = server.peer();
            let (answer, tid) = peer.answer(&request);
            let told = show(&answer);
            assert!(told.starts_with(expected), "{config:?}: {told} and not {expected}");
            peer.send(&common::error(0, "enough"), tid);
        }
    }
    let others = "keep-versions = 2\nupload-name = \"{name}\"\ngrowing-files = true\nwhole-packets = true\npatience = 9\n\
        first-interval = 2\nintervals = [\"1\", \"3\"]\nlog-rate = 1000\nquiet = false\n";
    write(here.path(), others);
    reload(&server, AGAIN);
    let next_start = ["counts from the next start on"];
    assert_eq!(server.all_logged(&next_start), [""; 0]);
    write(here.path(), &found);
    reload(&server, AGAIN);
    let read = read(&server.peer(), "f");
    assert_eq!(read, Ok(2000), "the folder of the command line goes before that of the file");
}

#[test]
fn what_is_read_again_is_found_in_the_sandbox_wherever_it_lies() {
    let (root, here) = place("");
    let places = [folder(&[]), folder(&[])];
    let [rules, maps] = [(0, "own.toml"), (1, "maps")].map(|(n, name)| places[n].path().join(name));
    let written = |rule: &str, map: &str| {
        for (file, text) in [(&rules, rule), (&maps, map)] {
            // As an editor does it, which writes another file and gives it the name.
            let new = file.with_extension("new");
            std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, file)).expect("a file");
        }
    };
    written("", "");
    let [rules, maps] = [&rules, &maps].map(|file| file.display().to_string());
    let sandbox = ["--sandbox", "folder,calls,rights", "--rules", &rules, "--map-file", &maps];
    let mut server = serve(root.path(), here.path(), &sandbox);
    assert_eq!([read(&server.peer(), "g"), read(&server.peer(), "mapped")], [Ok(1), Err(1)]);
    written("[[rule]]\nname = \"g\"\naction = \"deny\"\n", "r ^mapped f\n");
    reload(&server, AGAIN);
    assert_eq!([read(&server.peer(), "g"), read(&server.peer(), "mapped")], [Err(2), Ok(2000)]);
    // What rules have turned away is told before others take their place, and at the end.
    let unused = "[[rule]]\nname = \"g\"\naction = \"drop\"\n";
    written(&format!("[[rule]]\nname = \"f\"\naction = \"deny\"\n{unused}"), "");
    reload(&server, AGAIN);
    let told = server.log_line(&["turned away", "own.toml:1"]);
    assert!(told.contains("requests=1"), "{told}");
    for _ in 0..2 {
        assert_eq!(read(&server.peer(), "f"), Err(2));
    }
    server.signal(Signal::SIGTERM);
    server.log_line(&["turned away", "own.toml:1", "requests=2"]);
    until("its end", || server.exit_status());
    let told = server.all_logged(&["turned away", "own.toml:4"]);
    assert_eq!(told, [""; 0], "nobody asked for what it is about");
}

#[test]
fn the_usual_configuration_is_read_where_there_is_one_and_passed_over_only_where_there_is_none() {
    let test =
        the_usual_configuration_is_read_where_there_is_one_and_passed_over_only_where_there_is_none;
    if !in_own_mounts(test, "mount -t tmpfs none /etc && mkdir /etc/rtftpd") {
        return;
    }
    let (root, usual) = (folder(&[("f", &pattern(2000, 1))]), Path::new("/etc/rtftpd"));
    let granted = || terms(&Daemon::serve(root.path(), &[]).peer());
    assert_eq!(granted(), "OACK blksize=1428 windowsize=64");
    // A folder that is called like the option names no file.
    std::fs::create_dir(root.path().join("--configs")).expect("a directory");
    let checked = rtftpd().current_dir(root.path()).args(["check", "--", "--configs"]).assert();
    checked.success().stdout(contains("# without a configuration file"));
    write(usual, "max-blksize = 600\n");
    assert_eq!(granted(), "OACK blksize=600 windowsize=64");
    // One that cannot be read may have rules: nothing is served without them.
    std::fs::remove_file(usual.join("rtftpd.toml")).expect("it is there");
    std::fs::create_dir(usual.join("rtftpd.toml")).expect("a directory");
    let server = rtftpd().arg(root.path()).args(["--listen", "127.0.0.1:0"]).assert();
    server.code(1).stderr(contains("cannot read the configuration '/etc/rtftpd/rtftpd.toml'"));
}

#[test]
fn a_server_in_another_container_has_its_pid_file_for_itself() {
    let Some(container) = namespaces(&["--pid", "--fork"]) else { return };
    let (root, here) = place("");
    let pid_file = here.path().join("pid").display().to_string();
    let _server = serve(root.path(), here.path(), &["--pid-file", &pid_file]);
    let said = |words: &[&str]| {
        let mut command = Command::new(&container[0]);
        command.args(&container[1..]).arg(Daemon::program()).args(words);
        let ended = child::output(command.args(["--pid-file", &pid_file]));
        assert_eq!(ended.status.code(), Some(1), "{}", child::text(&ended));
        child::text(&ended)
    };
    // Its number is of no use there.
    let second = said(&[&root.path().display().to_string(), "--listen", "127.0.0.1:0"]);
    assert!(
        second.contains(&format!("another process serves with the pid file '{pid_file}'")),
        "{second}"
    );
    let asked = said(&["reload"]);
    assert!(asked.contains("is in another container"), "{asked}");
}
