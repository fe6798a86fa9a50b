//! The system calls by which a file that came becomes safe, in their order: its bytes, its sync, its name, the sync of
//! each directory that has a new name, and only then the last ACK. What a crash between two of them leaves, the tests of
//! `src/store/crash/` look at; here it is seen that the programs make these calls, and that the kernel does what they ask.

mod common;

use common::apart::{powerless, strace, without_proc};
use common::{Daemon, LEFT, folder, pattern, until, wrq};
use rustix::fs::{Mode, OFlags};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Whatever changes a file or a name, makes it last, or sends.
const TRACED: &str = "trace=write,writev,pwrite64,pwritev,fsync,fdatasync,syncfs,sync,ftruncate,fchmod,link,linkat,\
    rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,sendto,sendmsg,sendmmsg";

/// 39 whole blocks and a last one, the 40th, whose number is a `(`.
const SIZE: usize = 20_000;
const LAST_ACK: &str = r#""\0\4\0(""#;

/// Whether a file has no name before it is whole, as on most file systems, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temporaries {
    Unnamed,
    Named,
}

/// A folder whose programs are traced.
struct Traced {
    root: TempDir,
    /// As the kernel calls it.
    place: PathBuf,
    trace: PathBuf,
    _traces: TempDir,
}

impl Traced {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let (root, traces) = (folder(files), folder(&[]));
        // A mode that no new file has.
        for (name, _) in files {
            let mode = PermissionsExt::from_mode(0o604);
            std::fs::set_permissions(root.path().join(name), mode).expect("a mode");
        }
        let place = root.path().canonicalize().expect("a path");
        Self { root, place, trace: traces.path().join("trace"), _traces: traces }
    }

    /// The command that starts `program` traced, as a child of ours and not of the tracer.
    fn command(&self, temporaries: Temporaries, program: &Path) -> Option<Command> {
        let mut command = strace()?;
        command.args(["-D", "-f", "-y", "-s", "64", "-e", TRACED, "-o"]).arg(&self.trace);
        if temporaries == Temporaries::Named {
            command.args(without_proc()?);
        }
        command.arg(program);
        Some(command)
    }

    /// The calls that there must be: where files have names from the start, others than these.
    fn wanted(&self, temporaries: Temporaries, unnamed: &[&str]) -> Vec<String> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY;
        let can = rustix::fs::open(&self.place, flags, Mode::RWXU).is_ok();
        let mut calls: Vec<_> = unnamed.iter().map(|call| (*call).to_owned()).collect();
        if !can || temporaries == Temporaries::Named {
            calls.retain(|call| !call.starts_with("!link") && call != "link temporary");
            for call in &mut calls {
                *call = call.replace(" file", " temporary").replace("link ", "rename temporary ");
            }
        }
        calls.push("ACK".to_owned());
        calls
    }

    /// The calls up to the last ACK that have to do with the folder, each in a few words: `fsync dir` is one of a
    /// directory in it, `fsync .` one of itself; `file` is the file that has no name yet. A call that others came
    /// between counts from its end, and one that fails has `!` in front.
    fn calls(&self) -> Vec<String> {
        let trace = until("the last ACK", || {
            let trace = std::fs::read_to_string(&self.trace).ok()?;
            let sent = |line: &str| line.contains("send") && line.contains(LAST_ACK);
            trace
                .split_inclusive('\n')
                .any(|line| sent(line) && line.ends_with('\n'))
                .then_some(trace)
        });
        let mut calls = Vec::new();
        let mut unfinished = Vec::<(&str, &str)>::new();
        for line in trace.lines() {
            let (thread, line) = line.split_once(' ').expect("a thread and its call");
            let line = line.trim_start();
            if let Some(begun) = line.strip_suffix(" <unfinished ...>") {
                unfinished.push((thread, begun));
                continue;
            }
            let resumed = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>"));
            let line = match resumed {
                Some((_, rest)) => {
                    let begun = unfinished.iter().rposition(|(other, _)| *other == thread);
                    unfinished.remove(begun.expect("a call that began")).1.to_owned() + rest
                }
                None => line.to_owned(),
            };
            let call = self.call(&line);
            // How many writes there are is nobody's business.
            let again = |call: &String| call.starts_with("write") && calls.last() == Some(call);
            calls.extend(call.filter(|call| !again(call)));
        }
        calls
    }

    fn call(&self, line: &str) -> Option<String> {
        let (name, arguments) = line.split_once('(')?;
        if name.starts_with("send") {
            return arguments.contains(LAST_ACK).then(|| "ACK".to_owned());
        }
        let (arguments, result) = arguments.rsplit_once(" = ")?;
        let place = self.place.to_str()?;
        if !arguments.contains(place) {
            return None;
        }
        let failed = if result.starts_with('-') { "!" } else { "" };
        let name = name.trim_end_matches("at2").trim_end_matches("at").replace("pwrite64", "write");
        let name = name.as_str();
        let shown = |path: &str| match path.rsplit('/').next()? {
            "" => Some(".".to_owned()),
            last if last.starts_with('#') => Some("file".to_owned()),
            last if last.starts_with(".rtftp-") => Some("temporary".to_owned()),
            _ => Some(path.trim_start_matches('/').to_owned()),
        };
        // The paths of descriptors stand in angle brackets, and names in quotes.
        let of_descriptor = ["write", "ftruncate", "fsync", "fdatasync", "fchmod"].contains(&name);
        let words: Vec<_> = if of_descriptor {
            let path = arguments.split(['<', '>']).nth(1)?.strip_prefix(place)?;
            shown(path).into_iter().collect()
        } else {
            let names = arguments.split('"').skip(1).step_by(2);
            names.filter(|name| !name.starts_with("/proc")).filter_map(shown).collect()
        };
        Some(format!("{failed}{name} {}", words.join(" ")))
    }
}

const NEW: &[&str] = &["write file", "fsync file", "link new", "fsync ."];

const REPLACED: &[&str] = &[
    "fchmod file",
    "write file",
    "fsync file",
    "!link old",
    "link temporary",
    "rename temporary old",
    "fsync .",
];

/// The directory above is synced first: another upload may have made this one a moment ago.
const BELOW: &[&str] = &["fsync .", "write file", "fsync file", "link new", "fsync there"];

const MADE: &[&str] = &[
    "fsync .",
    "write file",
    "fsync file",
    "mkdir made",
    "fsync there",
    "mkdir too",
    "fsync there/made",
    "link new",
    "fsync there/made/too",
];

/// An upload to a new server. Tells whether it can be traced.
fn upload(name: &str, wanted: &[&str], model: &str, temporaries: Temporaries) -> bool {
    let traced = Traced::new(&[("old", b"old"), ("there/old", b"old"), LEFT]);
    let Some(mut command) = traced.command(temporaries, &Daemon::program()) else { return false };
    command.arg(traced.root.path()).args(["--listen", "127.0.0.1:0", "--model", model]);
    command.args(["--uploads", "overwrite", "--create-dirs"]);
    let daemon = Daemon::spawn(&mut command);
    daemon.has_swept();
    assert_eq!(daemon.peer().store(&wrq(name, &[]), &pattern(SIZE, 1)), Ok(()));
    let stored = std::fs::read(traced.root.path().join(name)).expect("a file");
    assert!(stored == pattern(SIZE, 1));
    let mut wanted = traced.wanted(temporaries, wanted);
    wanted.insert(0, "unlink temporary".to_owned());
    assert_eq!(traced.calls(), wanted, "{name}, {model}, {temporaries:?}");
    true
}

#[test]
fn the_last_ack_of_an_upload_goes_out_when_the_file_and_then_its_name_are_synced() {
    for model in ["threads", "events", "iterative"] {
        let cases =
            [("new", NEW), ("old", REPLACED), ("there/new", BELOW), ("there/made/too/new", MADE)];
        for (name, wanted) in cases {
            if !upload(name, wanted, model, Temporaries::Unnamed) {
                return;
            }
        }
    }
}

#[test]
fn the_order_is_the_same_where_files_have_names_from_the_start() {
    for (name, wanted) in [("new", NEW), ("old", REPLACED), ("there/made/too/new", MADE)] {
        if !upload(name, wanted, "threads", Temporaries::Named) {
            return;
        }
    }
}

/// Where a file cannot be replaced it is written over.
#[test]
fn the_last_ack_of_an_upload_goes_out_when_what_was_written_over_is_synced() {
    let traced = Traced::new(&[("closed/old", b"old")]);
    let mode = |name: &str, mode| {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(traced.root.path().join(name), mode).expect("a mode");
    };
    mode("closed/old", 0o666);
    mode("closed", 0o555);
    let (wrapper, rest) = powerless().split_first().expect("a program");
    let Some(mut command) = traced.command(Temporaries::Unnamed, Path::new(wrapper)) else {
        return;
    };
    command.args(rest).arg(Daemon::program()).arg(traced.root.path());
    command.args(["--listen", "127.0.0.1:0", "--uploads", "overwrite"]);
    let daemon = Daemon::spawn(&mut command);
    assert_eq!(daemon.peer().store(&wrq("closed/old", &[]), &pattern(SIZE, 1)), Ok(()));
    let wanted =
        ["write closed/old", "ftruncate closed/old", "fsync closed/old", "fsync closed", "ACK"];
    assert_eq!(traced.calls(), wanted);
    mode("closed", 0o755);
}

#[test]
fn the_last_ack_of_a_download_goes_out_when_the_file_and_then_its_name_are_synced() {
    let bytes = pattern(SIZE, 2);
    let root = folder(&[("new", &bytes), ("old", &bytes)]);
    let daemon = Daemon::serve(root.path(), &[]);
    for (name, wanted) in [("new", NEW), ("old", REPLACED)] {
        let traced = Traced::new(&[("old", b"old")]);
        let program = Path::new(env!("CARGO_BIN_EXE_rtftp"));
        let Some(mut command) = traced.command(Temporaries::Unnamed, program) else { return };
        command.current_dir(traced.root.path()).args(["get", "--quiet", "--blksize", "512"]);
        command.args([&daemon.address.to_string(), name]);
        let done = command.output().expect("a client");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(std::fs::read(traced.root.path().join(name)).expect("a file") == bytes);
        assert_eq!(traced.calls(), traced.wanted(Temporaries::Unnamed, wanted), "{name}");
    }
}
