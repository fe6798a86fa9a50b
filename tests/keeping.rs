//! What becomes of a file that is uploaded over another one: it stays what it was but for its bytes, whichever way the
//! file system allows, and whoever watches sees it.

mod common;

use common::apart::{OPEN, namespaces, powerless, strace, without_proc};
use common::{Daemon, LEFT, everything_in, folder, pattern, rrq, show, until, wrq};
use rustix::fs::{Mode, OFlags, XattrFlags, getxattr, setxattr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const UPLOADS: [&str; 2] = ["--uploads", "overwrite"];

/// Some log lines are told once.
fn lines(daemon: &Daemon, words: &str) -> usize {
    daemon.log().matches(words).count()
}

const WRITTEN_OVER: &str = "uploads are written over their files";

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

fn put(daemon: &Daemon, name: &str, bytes: &[u8]) -> Result<(), String> {
    daemon.peer().store(&wrq(name, &[]), bytes).map_err(|packet| show(&packet))
}

/// Of the owner, one other user and one group: `u::rw-,u:1234:rw-,g::r--,m::rw-,o::r--`.
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 6, 1234), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(bits.to_le_bytes()));
        list.extend(id.to_le_bytes());
    }
    list
}

const LIST: &str = "system.posix_acl_access";

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(4096);
    getxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

#[test]
fn an_overwrite_keeps_owner_group_mode_access_list_and_attributes() {
    const NAMES: [&str; 5] = ["cfg", "listed", "marked", "plain", "shared"];
    let root = folder(&NAMES.map(|name| (name, &b"old"[..])));
    let paths = NAMES.map(|name| root.path().join(name));
    let [cfg, listed, marked, _, shared] = &paths;
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(cfg, Some(1234), Some(4321)).expect("another owner");
    }
    // As in a folder of several people: of the server's own user, and of another group, which it may be in.
    let groups =
        nix::unistd::getgroups().expect("groups").into_iter().map(nix::unistd::Gid::as_raw);
    let mut others = groups.filter(|group| *group != nix::unistd::getegid().as_raw());
    let other = if is_root { Some(4321) } else { others.next() };
    std::os::unix::fs::chown(shared, None, other).expect("another group");
    set_mode(cfg, 0o664);
    for (path, name, value) in
        [(cfg, "user.comment", &b"of the rack"[..]), (listed, LIST, &access_list())]
    {
        let set = setxattr(path, name, value, XattrFlags::empty());
        set.expect("a file system with attributes, where TMPDIR is");
    }
    // As a backup or an integrity tool leaves it. Only root with all its rights can set it, and no server.
    let mark = "security.test";
    let _ = setxattr(marked, mark, b"checked", XattrFlags::empty());
    // A list of the directory, which new files get and old ones do not.
    let default = "system.posix_acl_default";
    setxattr(root.path(), default, &access_list(), XattrFlags::empty()).expect("a default list");
    let about = |path: &Path| {
        let about = std::fs::metadata(path).expect("a file");
        let attributes = [LIST, "user.comment", mark].map(|name| attribute(path, name));
        ((about.uid(), about.gid(), about.mode()), attributes)
    };
    let before = paths.each_ref().map(|path| about(path));
    let keeps_rights = [UPLOADS[0], UPLOADS[1], "--sandbox", "files,calls"];
    for (wrapper, arguments) in
        [(&["env"][..], &keeps_rights[..]), (&["env"], &UPLOADS), (powerless(), &UPLOADS)]
    {
        let daemon = Daemon::behind(wrapper, root.path(), arguments);
        // Who may not give files away leaves the file itself in its place.
        if arguments != keeps_rights && is_root {
            set_mode(cfg, 0o666);
        }
        for (path, name) in paths.iter().zip(NAMES) {
            assert_eq!(put(&daemon, name, &pattern(2000, 7)), Ok(()), "{wrapper:?}");
            assert!(std::fs::read(path).expect("a file") == pattern(2000, 7), "{name}");
        }
        if is_root {
            set_mode(cfg, 0o664);
        }
        let after = paths.each_ref().map(|path| about(path));
        assert_eq!(after, before, "{wrapper:?}");
    }
    assert_eq!(everything_in(root.path()), NAMES);
}

/// A write to a file takes these bits from it, and so does what replaces it: what came by TFTP runs as nobody else.
#[test]
fn an_overwrite_takes_the_bits_that_let_a_program_run_as_its_owner() {
    let root = folder(&[("tool", b"old")]);
    let tool = root.path().join("tool");
    for wrapper in [&["env"][..], powerless()] {
        let daemon = Daemon::behind(wrapper, root.path(), &UPLOADS);
        // Also where not one byte is written.
        for bytes in [&b"new"[..], b""] {
            set_mode(&tool, 0o6755);
            assert_eq!(put(&daemon, "tool", bytes), Ok(()), "{wrapper:?}");
            let mode = std::fs::metadata(&tool).expect("a file").mode() & 0o7777;
            assert_eq!(format!("{mode:o}"), "755", "{wrapper:?}, {} bytes", bytes.len());
        }
    }
}

#[test]
fn an_upload_to_a_link_writes_what_it_leads_to_and_leaves_the_link() {
    let root = folder(&[("real/cfg", b"old"), ("other", b"old")]);
    let at = |name: &str| root.path().join(name);
    let links = [
        ("link", "real/cfg"),
        ("real/up", "../other"),
        ("absolute", "/real/cfg"),
        ("again", "link"),
    ];
    for (name, to) in links {
        symlink(to, at(name)).expect("a link");
    }
    symlink("real", at("way")).expect("a link");
    let daemon = Daemon::serve(root.path(), &UPLOADS);
    let cases = [
        ("link", "real/cfg"),
        ("real/up", "other"),
        ("absolute", "real/cfg"),
        ("again", "real/cfg"),
        ("way/up", "other"),
        ("way/cfg", "real/cfg"),
    ];
    for (n, (name, written)) in cases.into_iter().enumerate() {
        let bytes = pattern(1000, n as u32);
        assert_eq!(put(&daemon, name, &bytes), Ok(()), "{name}");
        assert!(std::fs::read(at(written)).expect("a file") == bytes, "{name}");
        for (link, to) in links {
            assert_eq!(std::fs::read_link(at(link)).expect("a link"), Path::new(to), "{name}");
        }
    }
    assert_eq!(everything_in(&at("real")), ["cfg", "up"]);
}

#[test]
fn a_second_name_of_a_file_keeps_the_bytes_that_it_had() {
    let root = folder(&[("cfg", b"old")]);
    let at = |name: &str| root.path().join(name);
    std::fs::hard_link(at("cfg"), at("backup")).expect("a second name");
    let daemon = Daemon::serve(root.path(), &UPLOADS);
    assert_eq!(put(&daemon, "cfg", b"new"), Ok(()));
    let bytes = |name| std::fs::read(at(name)).expect("a file");
    assert_eq!([bytes("cfg"), bytes("backup")], [b"new".to_vec(), b"old".to_vec()]);
}

/// As backups of switches are often prepared: `touch` and `chmod 666` in a directory where nobody else may do anything.
#[test]
fn a_file_that_may_be_written_in_a_directory_that_may_not_takes_an_upload() {
    let root = folder(&[("closed/cfg", &pattern(9000, 1)), ("closed/link", b"")]);
    let (closed, cfg) = (root.path().join("closed"), root.path().join("closed/cfg"));
    std::fs::remove_file(closed.join("link")).expect("a file");
    symlink("cfg", closed.join("link")).expect("a link");
    set_mode(&cfg, 0o666);
    set_mode(&closed, 0o555);
    let inode = std::fs::metadata(&cfg).expect("a file").ino();
    let daemon = Daemon::behind(powerless(), root.path(), &UPLOADS);
    for (name, bytes) in
        [("closed/cfg", pattern(20_000, 2)), ("closed/cfg", vec![]), ("closed/link", pattern(5, 3))]
    {
        assert_eq!(put(&daemon, name, &bytes), Ok(()), "{name}");
        assert!(std::fs::read(&cfg).expect("a file") == bytes, "{name}");
    }
    let about = std::fs::metadata(&cfg).expect("a file");
    assert_eq!((about.ino(), about.mode() & 0o777), (inode, 0o666));
    assert!(daemon.log_line(&["WARN", WRITTEN_OVER]).contains("closed/cfg"));
    assert_eq!(lines(&daemon, WRITTEN_OVER), 1, "once");

    // An upload that breaks off leaves what was there, and one that cannot be had is refused before its first block.
    let peer = daemon.peer();
    let (_, tid) = peer.answer(&wrq("closed/cfg", &[]));
    peer.exchange(&common::data(1, &[7; 512]), tid, "ACK 1");
    peer.send(&common::error(0, "no more"), tid);
    daemon.log_line(&["ended by the client"]);
    assert!(std::fs::read(&cfg).expect("a file") == pattern(5, 3));
    let refused = show(&daemon.peer().answer(&wrq("closed/new", &[])).0);
    assert_eq!(refused, "ERROR 2 \"no permission\"");
    set_mode(&closed, 0o755);
    assert_eq!(everything_in(&closed), ["cfg", "link"]);
}

/// A server in mounts of its own, which this line of shell makes; `$0` is its folder.
fn with_mounts(root: &TempDir, mounts: &str) -> Option<Daemon> {
    let unshare = namespaces(&["--mount"])?;
    let script = format!("{mounts} && exec \"$1\" \"$0\" --listen 127.0.0.1:0 --uploads overwrite");
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", &script]);
    Some(Daemon::spawn(command.arg(root.path()).arg(Daemon::program())))
}

#[test]
fn a_file_that_is_a_mount_point_is_written_over() {
    let mounts = [
        "mount --bind \"$0/source/cfg\" \"$0/served/cfg\"",
        // As containers have it: all is read-only but this one file.
        "mount --bind \"$0/served\" \"$0/served\" && mount --bind \"$0/source/cfg\" \"$0/served/cfg\" \
         && mount -o remount,bind,ro \"$0/served\"",
    ];
    for mount in mounts {
        let root = folder(&[("source/cfg", b"old"), ("served/cfg", b"below")]);
        let Some(daemon) = with_mounts(&root, mount) else { return };
        let bytes = pattern(3000, 4);
        assert_eq!(put(&daemon, "served/cfg", &bytes), Ok(()), "{mount}");
        assert!(std::fs::read(root.path().join("source/cfg")).expect("a file") == bytes);
        assert_eq!(std::fs::read(root.path().join("served/cfg")).expect("a file"), b"below");
        daemon.log_line(&["WARN", WRITTEN_OVER]);
        assert_eq!(everything_in(&root.path().join("served")), ["cfg"]);
    }
}

/// A directory like `/tmp`. Who is no root can make no file of another owner: what is written over is then for
/// `src/store/crash/`, and here it is seen that an own file is replaced.
#[test]
fn where_only_owners_replace_their_files_those_of_others_are_written_over() {
    let root = folder(&[("own", b"old"), ("theirs", b"old")]);
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    set_mode(root.path(), 0o1777);
    set_mode(&at("theirs"), 0o666);
    let mut command = if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(at("own"), Some(65534), Some(65534)).expect("another owner");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.env("RTFTPD_USER", "65534");
        command.arg(common::apart::for_all(&place));
        command
    } else {
        std::fs::remove_file(at("theirs")).expect("a file");
        Command::new(Daemon::program())
    };
    command.arg(root.path()).args(["--listen", "127.0.0.1:0"]).args(UPLOADS);
    let daemon = Daemon::spawn(&mut command);
    let about = |name: &str| {
        let about = std::fs::metadata(at(name)).expect("a file");
        (about.ino(), about.uid())
    };
    let own = about("own");
    assert_eq!(put(&daemon, "own", b"new"), Ok(()));
    assert_eq!(std::fs::read(at("own")).expect("a file"), b"new");
    assert!(about("own").0 != own.0 && about("own").1 == own.1, "it is replaced");
    assert_eq!(lines(&daemon, WRITTEN_OVER), 0);
    if at("theirs").exists() {
        let theirs = about("theirs");
        assert_eq!(put(&daemon, "theirs", b"new"), Ok(()));
        assert_eq!(std::fs::read(at("theirs")).expect("a file"), b"new");
        assert_eq!(about("theirs"), theirs, "it is the same file");
        daemon.log_line(&["WARN", WRITTEN_OVER]);
    }
}

/// A server whose system calls fail as those of some file systems do, behind this command.
fn where_calls_fail(
    root: &Path,
    wrapper: &[String],
    faults: &[&str],
    arguments: &[&str],
) -> Option<Daemon> {
    let mut command = strace()?;
    // Faults are injected only into what is traced.
    let calls: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("trace={}", calls.join(","))]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.args(OPEN).args(wrapper).arg(Daemon::program()).arg(root);
    Some(Daemon::spawn(command.args(["--listen", "127.0.0.1:0"]).args(arguments)))
}

const NAMED_FIRST: &str = "new files are empty for a moment";
const NOT_SYNCED: &str = "the file system cannot be told to make files last";

/// What a file system cannot do, and which of the notices are then told: under `create` and under `overwrite`, where files
/// have no name until they are whole, and where they have names from the start.
type Poor = (&'static [&'static str], [&'static [&'static str]; 2], [&'static [&'static str]; 2]);

const NO_LINK: &str = "link,linkat:error=EPERM";
const NO_FLAGS: &str = "renameat2:error=EINVAL";
const NONE: [&[&str]; 2] = [&[], &[]];
const FIRST: [&[&str]; 2] = [&[NAMED_FIRST], &[]];
const FIRST_OR_OVER: [&[&str]; 2] = [&[NAMED_FIRST], &[NAMED_FIRST, WRITTEN_OVER]];

const POOR: [Poor; 10] = [
    (&[NO_LINK], FIRST_OR_OVER, NONE),
    (&[NO_LINK, NO_FLAGS], FIRST_OR_OVER, FIRST),
    (&["link,linkat:error=EOPNOTSUPP", "renameat2:error=ENOSYS"], FIRST_OR_OVER, FIRST),
    (&[NO_LINK, "rename,renameat,renameat2:error=EBUSY"], FIRST_OR_OVER, FIRST_OR_OVER),
    (&[NO_LINK, "rename,renameat,renameat2:error=EPERM"], FIRST_OR_OVER, FIRST_OR_OVER),
    (&["fsync,fdatasync:error=EINVAL"], [&[NOT_SYNCED]; 2], [&[NOT_SYNCED]; 2]),
    (
        &["fsync,fdatasync:error=ENOSYS", NO_LINK, NO_FLAGS],
        [&[NOT_SYNCED, NAMED_FIRST], &[NOT_SYNCED, NAMED_FIRST, WRITTEN_OVER]],
        [&[NOT_SYNCED, NAMED_FIRST], &[NOT_SYNCED]],
    ),
    (
        &["fchmod,fchmodat,fchown,fchownat,chown:error=EPERM"],
        [&[], &[WRITTEN_OVER]],
        [&[], &[WRITTEN_OVER]],
    ),
    (&["fsetxattr:error=EPERM"], [&[], &[WRITTEN_OVER]], [&[], &[WRITTEN_OVER]]),
    (&["flock:error=ENOLCK"], NONE, NONE),
];

#[test]
fn a_poor_file_system_takes_uploads_whatever_it_cannot_do() {
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    let has_unnamed = rustix::fs::open(std::env::temp_dir(), flags, Mode::RWXU).is_ok();
    let Some(named) = without_proc() else { return };
    for (faults, unnamed_notices, named_notices) in POOR {
        let unnamed_notices = if has_unnamed { unnamed_notices } else { named_notices };
        let ways = [(&[][..], unnamed_notices), (&named, named_notices)];
        for ((wrapper, notices), n) in ways.into_iter().flat_map(|way| [(way, 0), (way, 1)]) {
            let (uploads, notices) = (["create", "overwrite"][n], notices[n]);
            let how = format!("{faults:?}, {uploads}, {}", wrapper.join(" "));
            let root = folder(&[("old", b"old")]);
            let old = root.path().join("old");
            // What no new file has.
            set_mode(&old, 0o604);
            let set = setxattr(&old, "user.comment", b"of the rack", XattrFlags::empty());
            set.expect("a file system with attributes, where TMPDIR is");
            let with = ["--uploads", uploads];
            let Some(daemon) = where_calls_fail(root.path(), wrapper, faults, &with) else {
                return;
            };
            let kept =
                if uploads == "create" { Err("ERROR 6 \"file already exists\"") } else { Ok(()) };
            for (name, wanted) in [("new", Ok(())), ("new", kept), ("old", kept)] {
                let done = put(&daemon, name, &pattern(3000, 5));
                assert_eq!(done, wanted.map_err(str::to_owned), "{how}, {name}");
            }
            let read = |name: &str| std::fs::read(root.path().join(name)).expect("a file");
            assert!(read("new") == pattern(3000, 5), "{how}");
            assert!(read("old").len() == if uploads == "create" { 3 } else { 3000 }, "{how}");
            let mode = std::fs::metadata(&old).expect("a file").mode();
            let comment = attribute(&old, "user.comment");
            assert_eq!(mode & 0o777, 0o604, "{how}");
            assert_eq!(comment.as_deref(), Some(&b"of the rack"[..]), "{how}");
            assert_eq!(everything_in(root.path()), ["new", "old"], "{how}");
            for notice in notices {
                daemon.log_line(&["WARN", notice]);
            }
            for notice in [NAMED_FIRST, WRITTEN_OVER, NOT_SYNCED] {
                let told = usize::from(notices.contains(&notice));
                assert_eq!(lines(&daemon, notice), told, "{how}: {notice}");
            }
        }
    }
}

#[test]
fn free_space_that_is_not_told_is_not_full() {
    let root = folder(&[]);
    // It counts no blocks.
    let Some(daemon) = with_mounts(&root, "umask 022 && mount -t ramfs none \"$0\"") else {
        return;
    };
    let (answer, _) = daemon.peer().answer(&wrq("new", &[("tsize", "3000")]));
    assert_eq!(show(&answer), "OACK tsize=3000");
    assert_eq!(put(&daemon, "cfg", &pattern(3000, 6)), Ok(()));
    assert_eq!(daemon.peer().fetch(&rrq("cfg", &[])).map(|bytes| bytes.len()), Ok(3000));
}

/// The names of files in `place` that are closed after they were open for writing, from now on.
fn watched(place: &Path) -> impl FnMut() -> Vec<String> {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("inotify");
    // Two events of one kind in a row would be told as one.
    let kinds = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_OPEN;
    inotify.add_watch(place, kinds).expect("a watch");
    move || {
        let events = inotify.read_events().unwrap_or_default();
        let written = |it: &&InotifyEvent| it.mask.contains(AddWatchFlags::IN_CLOSE_WRITE);
        events
            .iter()
            .filter(written)
            .filter_map(|it| Some(it.name.as_ref()?.to_str()?.to_owned()))
            .collect()
    }
}

#[test]
fn who_watches_for_files_that_were_written_sees_an_upload_once_by_its_name() {
    let cases: [(&[&str], &str); 3] = [
        (&["env"], "unnamed temporaries"),
        (
            &[
                "strace",
                "-D",
                "-f",
                "-o",
                "/dev/null",
                "-e",
                "trace=link,linkat",
                "-e",
                "inject=link,linkat:error=EPERM",
            ],
            "files that cannot be linked",
        ),
        (powerless(), "an ordinary user"),
    ];
    if strace().is_none() {
        return;
    }
    for (wrapper, how) in cases {
        let root = folder(&[("old", b"old"), LEFT]);
        let daemon = Daemon::behind(&[&OPEN, wrapper].concat(), root.path(), &UPLOADS);
        daemon.has_swept();
        let mut watched = watched(root.path());
        for name in ["new", "old", "new"] {
            assert_eq!(put(&daemon, name, b"new"), Ok(()), "{how}");
            let mut seen = Vec::new();
            until("the name is seen", || {
                seen.extend(watched());
                seen.iter().any(|seen| seen == name).then_some(())
            });
            seen.extend(watched());
            assert_eq!(seen.iter().filter(|seen| *seen == name).count(), 1, "{how}: {seen:?}");
            assert!(!seen.iter().any(|seen| seen.ends_with(".part")), "{how}: {seen:?}");
        }
    }
}
