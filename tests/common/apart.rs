//! What some tests want for themselves: a network, mounts, to be root there; or to see a program's system calls. Ordinary
//! users have it too, where the kernel gives them namespaces and lets them trace. Where it does not, such a test fails;
//! with `TFTPKIT_LEAVE_OUT=namespaces`, or `ptrace`, or both with a comma, it is left out and says so, and `tests/run`
//! names it at its end.
#![allow(dead_code)] // Each test program uses a part of it.

use super::child;
use nix::unistd::Uid;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Set in the run of a test that has its own network, or its own process.
const INSIDE: &str = "TFTPKIT_TEST_INSIDE";

/// No test takes so long, unless it hangs: what it waits for has bounds of its own.
const LONGEST_TEST: Duration = Duration::from_secs(90);

/// Not every user looks where `ip` is.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// A command that starts another one, given behind it, as root in namespaces of these kinds, as in `--mount`. There is
/// none where they cannot be had and tests that need them are left out.
pub(crate) fn namespaces(kinds: &[&str]) -> Option<Vec<String>> {
    let mut ways = vec![[&["--map-root-user"], kinds].concat()];
    if Uid::effective().is_root() && !kinds.is_empty() {
        // Without a user namespace root has all its rights.
        ways.insert(0, kinds.to_vec());
    }
    // Some kernels give namespaces in which nothing is allowed.
    let probes = [("--net", "ip link set lo up"), ("--mount", "mount -t tmpfs none /tmp")];
    let probes = probes.into_iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, line)| line);
    let probe = probes.collect::<Vec<_>>().join(" && ");
    let mut said = String::new();
    for way in ways {
        let mut unshare = Command::new("unshare");
        let tried = unshare.args(&way).args(["sh", "-c", &probe]).env("PATH", path());
        let tried = child::output(tried);
        if tried.status.success() {
            let words = ["unshare"].into_iter().chain(way);
            return Some(words.map(str::to_owned).collect());
        }
        said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    }
    let why = format!("it needs namespaces ({}), and there are none: {said}", kinds.join(" "));
    leave_out("namespaces", &why, "`unshare --map-root-user --net --mount true` works");
    None
}

/// A command that starts another one, given behind it, without `/proc`. It can then give no file a name later, and takes
/// names from the start. There is none where there are no namespaces.
pub(crate) fn without_proc() -> Option<Vec<String>> {
    let mut words = namespaces(&["--mount"])?;
    let hide = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    words.extend(["sh", "-c", hide].map(str::to_owned));
    Some(words)
}

/// A command that starts another one, given behind it, and writes down its system calls. There is none where no process
/// may be traced and tests that need it are left out.
pub(crate) fn strace() -> Option<Command> {
    let tried = Command::new("strace").args(["-f", "-e", "trace=none", "true"]).output();
    let tried = tried.expect("strace");
    if tried.status.success() {
        return Some(Command::new("strace"));
    }
    let why = format!("it traces a program: {}", String::from_utf8_lossy(&tried.stderr).trim());
    leave_out("ptrace", &why, "`strace -f true` works");
    None
}

/// Fails, unless tests that need `what` are left out, which is then told.
pub(crate) fn leave_out(what: &str, why: &str, works: &str) {
    let current = std::thread::current();
    let test = current.name().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let program = program.split('-').next().unwrap_or_default();
    let all = std::env::var("TFTPKIT_LEAVE_OUT").unwrap_or_default();
    assert!(
        all.split(',').any(|one| one == what),
        "{why}. Run it where {works}, or leave such tests out: TFTPKIT_LEAVE_OUT={what} tests/run"
    );
    let line = format!("NOT RUN: {program}, {test}: {why}\n");
    // Not by a macro, whose words are only shown where a test fails.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(list) = std::env::var_os("TFTPKIT_LEFT_OUT") {
        let list = OpenOptions::new().append(true).open(list);
        list.and_then(|mut list| list.write_all(line.as_bytes()))
            .expect("the list of what is left out");
    }
}

/// A command that starts another one, given behind it, without any right that others do not have. It needs no other
/// user, so that what is ours stays ours.
pub(crate) fn powerless() -> &'static [&'static str] {
    match Uid::effective().is_root() {
        true => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => &["env"],
    }
}

/// A command that starts another one, given behind it, whose new files everybody may read, whatever the umask here: a
/// server that is root serves and replaces no others.
pub(crate) const OPEN: [&str; 3] = ["sh", "-c", "umask 022 && exec \"$0\" \"$@\""];

/// A copy of rtftpd that everybody can start: where the build lies, nobody else may be able to read.
pub(crate) fn for_all(place: &TempDir) -> PathBuf {
    let program = place.path().join("rtftpd");
    // Not by this process: a child that another test just starts would have it open for writing, too, and what is open
    // for writing cannot be run.
    let mut copy = Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_rtftpd")).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy");
    for open in [place.path(), &program] {
        std::fs::set_permissions(open, PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    program
}

/// Runs the test, which is this function, once more, as root in a network of its own, after this line of shell. Tells
/// whether this is the run there: the other one has nothing left to do.
pub(crate) fn in_own_network<T>(test: T, prepare: &str) -> bool {
    in_own(&["--net"], test, prepare)
}

/// The same in namespaces of these kinds.
pub(crate) fn in_own<T>(kinds: &[&str], _: T, prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(unshare) = namespaces(kinds) else { return false };
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", &script]);
    once_more::<T>(&mut command, "");
    false
}

/// The same, in mounts of its own.
pub(crate) fn in_own_mounts<T>(_: T, prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(unshare) = namespaces(&["--mount"]) else { return false };
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", &script]);
    once_more::<T>(&mut command, "");
    false
}

/// Runs the test, which is this function, once more, in a process that it may do anything to, and gives that the words it
/// is told. The other one, for which there are none, has nothing left to do.
pub(crate) fn in_own_process<T>(_: T, words: &str) -> Option<String> {
    let told = std::env::var(INSIDE).ok();
    if told.is_none() {
        once_more::<T>(&mut Command::new("env"), words);
    }
    told
}

/// Runs the test `T` in what `command` ends with when it has executed its arguments.
fn once_more<T>(command: &mut Command, words: &str) {
    let name = std::any::type_name::<T>();
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    let own = std::env::current_exe().expect("a program");
    command.arg(own).args(["--exact", name, "--nocapture"]);
    command.env(INSIDE, words).env("PATH", path());
    let done = child::output_within(LONGEST_TEST, command);
    let said = child::text(&done);
    println!("{said}");
    assert!(done.status.success() && said.contains("1 passed"), "{}, see above", done.status);
}
