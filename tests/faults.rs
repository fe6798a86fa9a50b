//! What goes wrong around a transfer: a full disk, a client that vanishes, a server that is killed, files that
//! cannot be read or that change under way. Nothing partial is ever seen.

mod common;

use common::apart::{namespaces, powerless};
use common::{
    Daemon, Peer, Running, ack, config, data, error, error_code, everything_in, folder, impatient,
    pattern, rrq, show, wrq,
};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tftpkit::limits;
use tftpkit::proto::Timing;
use tftpkit::server::{Profile, StandardPolicy};
use tftpkit::store::{Folder, Uploads};
use tftpkit::transfer::Outcome;
use tftpkit::wire::{ErrorCode, Packet};

/// A server of a disk of 256 KiB, which holds `old` with 100,000 bytes, and where its files can be seen from here.
fn on_a_small_disk() -> Option<(TempDir, Daemon, PathBuf)> {
    let mount = folder(&[]);
    let unshare = namespaces(&["--mount"])?;
    let script = "umask 022 && mount -t tmpfs -o size=256k none \"$0\" \
         && head -c 100000 /dev/zero > \"$0/old\" \
         && exec \"$1\" \"$0\" --listen 127.0.0.1:0 --uploads overwrite";
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", script]);
    command.arg(mount.path()).arg(Daemon::program());
    let daemon = Daemon::spawn(&mut command);
    let inside = mount.path().strip_prefix("/").expect("an absolute path");
    let seen = daemon.proc("root").join(inside);
    Some((mount, daemon, seen))
}

#[test]
fn an_upload_that_fills_the_disk_is_refused_and_leaves_nothing() {
    let Some((_mount, daemon, files)) = on_a_small_disk() else { return };
    assert_eq!(everything_in(&files), ["old"]);
    for name in ["new", "old"] {
        let error = daemon.peer().store(&wrq(name, &[]), &pattern(300_000, 1)).expect_err(name);
        assert_eq!(show(&error), "ERROR 3 \"disk full or allocation exceeded\"");
        let line =
            daemon.log_line(&["ERROR", "failed", &format!("file=\"{name}\""), "No space left"]);
        assert!(line.contains("retransmitted=") && line.contains("peer=127.0.0.1:"), "{line}");
        assert_eq!(everything_in(&files), ["old"], "{name}");
    }
    assert_eq!(std::fs::read(files.join("old")).expect("a file"), vec![0; 100_000]);
    // What was written until then is given back.
    assert_eq!(daemon.peer().store(&wrq("old", &[]), &pattern(140_000, 2)), Ok(()));
    assert!(std::fs::read(files.join("old")).expect("a file") == pattern(140_000, 2));
}

#[test]
fn an_upload_that_says_that_it_does_not_fit_the_disk_is_refused_at_once() {
    let Some((_mount, daemon, _files)) = on_a_small_disk() else { return };
    let first = |size| show(&daemon.peer().answer(&wrq("new", &[("tsize", size)])).0);
    assert_eq!(first("300000"), "ERROR 3 \"larger than the free space\"");
    assert_eq!(first("100000"), "OACK tsize=100000");
    daemon.log_line(&["larger than the free space"]);
}

fn impatiently(root: &TempDir) -> Running {
    let served = Folder::open(root.path()).expect("a folder").uploads(Uploads::Overwrite);
    Running::start(
        config().policy(StandardPolicy::new(Profile::default().timing(impatient()))),
        served,
    )
}

#[test]
fn an_upload_whose_client_falls_silent_leaves_nothing() {
    let root = folder(&[("old", b"old")]);
    let server = impatiently(&root);
    for name in ["new", "old"] {
        let peer = server.peer();
        let (_, tid) = peer.answer(&wrq(name, &[]));
        peer.exchange(&data(1, &[7; 512]), tid, "ACK 1");
        assert_eq!(everything_in(root.path()), ["old"]);
        assert_eq!(server.outcome(&peer), Outcome::Silent);
    }
    server.idle();
    assert_eq!(everything_in(root.path()), ["old"]);
    assert_eq!(std::fs::read(root.path().join("old")).expect("a file"), b"old");
}

#[test]
fn an_upload_whose_client_gives_up_leaves_nothing() {
    let root = folder(&[]);
    let server = Running::taking(root.path(), Uploads::Create);
    let peer = server.peer();
    let (_, tid) = peer.answer(&wrq("new", &[]));
    peer.exchange(&data(1, &[7; 512]), tid, "ACK 1");
    peer.send(&error(0, "no more"), tid);
    let wanted = Outcome::PeerError(ErrorCode::Undefined, b"no more".to_vec());
    assert_eq!(server.outcome(&peer), wanted);
    assert_eq!(peer.pending(), [], "an ERROR is never answered");
    assert_eq!(everything_in(root.path()), Vec::<String>::new());
}

#[test]
fn a_download_whose_client_falls_silent_ends() {
    let root = folder(&[("file", &pattern(5000, 3))]);
    let server = impatiently(&root);
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("file", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    assert_eq!(server.outcome(&peer), Outcome::Silent);
    server.idle();
}

#[test]
fn a_client_whose_port_is_closed_is_noticed_at_once() {
    let root = folder(&[("file", &pattern(5000, 3))]);
    let hour = Duration::from_secs(3600);
    let timing = Timing::builder().floor(hour).ceiling(hour).patience(hour).build().expect("sound");
    let store = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
    let server = Running::start(
        config().policy(StandardPolicy::new(Profile::default().timing(timing))),
        store,
    );
    let reads = (rrq("file", &[]), [ack(1), ack(2)], "DATA 2 512");
    let writes = (wrq("new", &[]), [1, 2].map(|block| data(block, &[7; 512])), "ACK 1");
    for (request, [first, second], answer) in [reads, writes] {
        let peer = server.peer();
        let (_, tid) = peer.answer(&request);
        peer.exchange(&first, tid, answer);
        peer.close_to_others();
        peer.send(&second, tid);
        assert_eq!(server.outcome(&peer), Outcome::Unreachable, "{}", show(&request));
    }
    server.idle();
    assert_eq!(everything_in(root.path()), ["file"]);
}

#[test]
fn a_server_that_is_killed_leaves_no_part_of_an_upload() {
    let root = folder(&[("old", b"old")]);
    let mut daemon = Daemon::serve(root.path(), &["--uploads", "overwrite"]);
    let peers: Vec<_> = ["new", "old", "new"].map(|name| (daemon.peer(), name)).into();
    for (peer, name) in &peers {
        let (_, tid) = peer.answer(&wrq(name, &[]));
        for block in 1..200 {
            peer.exchange(&data(block, &[7; 512]), tid, &format!("ACK {block}"));
        }
    }
    daemon.kill();
    assert_eq!(everything_in(root.path()), ["old"]);
    assert_eq!(std::fs::read(root.path().join("old")).expect("a file"), b"old");
}

const LEFT: &str = ".rtftp-0123456789abcdef.part";

#[test]
fn a_sweep_removes_what_killed_uploads_left_and_nothing_else() {
    let outside = folder(&[(LEFT, b"outside")]);
    let left = ["", "sub/", "sub/deep/"].map(|place| format!("{place}{LEFT}"));
    let like_it = [
        ".rtftp-0123456789abcde.part",
        ".rtftp-0123456789abcdef0.part",
        ".rtftp-0123456789abcdeF.part",
        ".rtftp-0123456789abcdef.part~",
        "rtftp-0123456789abcdef.part",
    ];
    let root = folder(&left.each_ref().map(|name| (name.as_str(), &b"left"[..])));
    for name in like_it {
        std::fs::write(root.path().join(name), "kept").expect("a file");
    }
    let others = ["0", "1", "2", "3"].map(|digit| LEFT.replace('0', digit).replace("f.p", "0.p"));
    let [linked, pipe, directory, locked] = others.each_ref().map(|name| root.path().join(name));
    std::os::unix::fs::symlink(outside.path().join(LEFT), linked).expect("a link");
    std::os::unix::fs::symlink(outside.path(), root.path().join("link")).expect("a link");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    std::fs::create_dir(directory).expect("a directory");
    let locked = std::fs::File::create(locked).expect("a file");
    let lock = rustix::fs::FlockOperation::LockShared;
    rustix::fs::flock(&locked, lock).expect("locked");

    let served = Folder::open(root.path()).expect("a folder");
    assert_eq!((served.sweep(), served.sweep()), (3, 0));
    let mut kept: Vec<_> = like_it.map(str::to_owned).into_iter().chain(others).collect();
    kept.extend(["link".into(), "sub".into()]);
    kept.sort();
    assert_eq!(everything_in(root.path()), kept);
    assert_eq!(everything_in(&root.path().join("sub/deep")), Vec::<String>::new());
    assert_eq!(everything_in(outside.path()), [LEFT]);
    // To close it might not do: a process that another test starts has it open for a moment.
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::Unlock).expect("unlocked");
    assert_eq!(served.sweep(), 1, "its writer is gone");
}

#[test]
fn a_sweep_goes_so_deep_and_no_deeper() {
    let deep = |directories: usize| "d/".repeat(directories) + LEFT;
    let within = limits::SWEPT_DEPTH - 1;
    let root = folder(&[(&deep(within), b"left"), (&deep(within + 1), b"left")]);
    assert_eq!(Folder::open(root.path()).expect("a folder").sweep(), 1);
    assert!(root.path().join(deep(within + 1)).exists());
}

/// A server that has no more rights than anybody.
fn without_rights(root: &TempDir) -> Daemon {
    Daemon::behind(powerless(), root.path(), &["--uploads", "overwrite"])
}

#[test]
fn what_the_server_may_not_read_or_write_is_an_access_violation() {
    let root =
        folder(&[("open", b"x"), ("closed", b"x"), ("locked/in", b"x"), ("readonly/in", b"x")]);
    for (name, mode) in [("open", 0o444), ("closed", 0), ("locked", 0), ("readonly", 0o555)] {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(root.path().join(name), mode).expect("a mode");
    }
    let daemon = without_rights(&root);
    let get = |name: &str| daemon.peer().fetch(&rrq(name, &[])).map_err(|error| error_code(&error));
    assert_eq!(get("open"), Ok(b"x".to_vec()));
    assert_eq!((get("closed"), get("locked/in"), get("locked/.list")), (Err(2), Err(2), Err(2)));
    daemon.log_line(&["closed", "no permission"]);
    let listing = String::from_utf8(get(".list").expect("a listing")).expect("text");
    let names: Vec<_> =
        listing.lines().skip(1).filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(names, ["open", "readonly/"]);
    let put =
        daemon.peer().store(&wrq("readonly/new", &[]), b"x").map_err(|error| error_code(&error));
    assert_eq!(put, Err(2));
    std::fs::set_permissions(root.path().join("locked"), PermissionsExt::from_mode(0o755))
        .expect("a mode");
}

#[test]
fn a_file_that_the_server_may_not_write_is_replaced_in_no_way() {
    let root = folder(&[("kept", b"x"), ("sub/kept", b"x"), ("became", b"x")]);
    let place = |name: &str| root.path().join(name);
    let close = |name: &str| {
        std::fs::set_permissions(place(name), PermissionsExt::from_mode(0o444)).expect("a mode");
    };
    close("kept");
    close("sub/kept");
    std::os::unix::fs::symlink("kept", place("link")).expect("a link");
    std::os::unix::fs::symlink("sub", place("way")).expect("a link");
    std::fs::hard_link(place("kept"), place("second")).expect("a second name");
    let daemon = without_rights(&root);
    for name in ["kept", "/./kept", "sub/kept", r"sub\kept", "link", "way/kept", "second"] {
        let put = daemon.peer().store(&wrq(name, &[]), b"new").map_err(|error| error_code(&error));
        assert_eq!(put, Err(2), "{name}");
    }
    // Another one that is there by the end of the upload.
    for name in ["became", "came"] {
        let peer = daemon.peer();
        let (_, tid) = peer.answer(&wrq(name, &[]));
        peer.exchange(&data(1, &[7; 512]), tid, "ACK 1");
        std::fs::write(place(name), "x").expect("a file");
        close(name);
        let put = peer.store_rest(tid, 2, b"").map_err(|error| error_code(&error));
        assert_eq!(put, Err(0), "{name}");
        daemon.log_line(&[name, "what has the name by now may not be written"]);
    }
    let (program, wrapper) = powerless().split_first().expect("a program");
    let mut get = Command::new(program);
    get.args(wrapper).arg(env!("CARGO_BIN_EXE_rtftp")).current_dir(place("sub"));
    let got = get.args(["get", "--quiet", &daemon.address.to_string(), "kept"]).output();
    let got = got.expect("a client");
    assert!(!got.status.success(), "{got:?}");
    for name in ["kept", "sub/kept", "became", "came"] {
        assert_eq!(std::fs::read(place(name)).expect("a file"), b"x", "{name}");
    }
    let names = ["became", "came", "kept", "link", "second", "sub", "way"];
    assert_eq!(
        (everything_in(root.path()), everything_in(&place("sub"))),
        (names.map(str::to_owned).into(), vec!["kept".to_owned()])
    );
}

/// It cannot be synced, for that it would have to be read.
#[test]
fn an_upload_to_a_directory_that_the_server_may_not_read_is_stored() {
    let root = folder(&[("box/old", b"old")]);
    let mode = |mode| {
        let closed = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(root.path().join("box"), closed).expect("a mode");
    };
    mode(0o333);
    let daemon = without_rights(&root);
    let put = |daemon: &Daemon, name: &str| daemon.peer().store(&wrq(name, &[]), b"new");
    assert_eq!((put(&daemon, "box/new"), put(&daemon, "box/old")), (Ok(()), Ok(())));
    // Which versions there are is then not known either, so that nothing is replaced where some are kept.
    let options = ["--uploads", "overwrite", "--keep-versions", "2"];
    let keeping = Daemon::behind(powerless(), root.path(), &options);
    assert!(put(&keeping, "box/old").is_err(), "the old one cannot be kept");
    keeping.log_line(&["box/old", "cannot be kept"]);
    mode(0o755);
    assert_eq!(everything_in(&root.path().join("box")), ["new", "old"]);
    assert_eq!(std::fs::read(root.path().join("box/old")).expect("a file"), b"new");
}

/// A download that is under way.
struct Download {
    peer: Peer,
    tid: std::net::SocketAddr,
    /// The last block that came and was not acknowledged yet.
    block: u16,
    bytes: Vec<u8>,
}

impl Download {
    /// Of a new file `file` of this size; `blocks` of it have come.
    fn begin(root: &TempDir, server: &Running, size: usize, blocks: u16) -> Self {
        std::fs::write(root.path().join("file"), pattern(size, 4)).expect("a file");
        let peer = server.peer();
        let (answer, tid) = peer.answer(&rrq("file", &[("tsize", "0")]));
        assert_eq!(show(&answer), format!("OACK tsize={size}"));
        let mut bytes = Vec::new();
        for block in 1..=blocks {
            let wanted = format!("DATA {block} 512");
            bytes.extend_from_slice(&peer.exchange(&ack(block - 1), tid, &wanted)[4..]);
        }
        Self { peer, tid, block: blocks, bytes }
    }

    /// All its bytes; or the ERROR that ends it, and how many blocks came before.
    fn end(mut self) -> Result<Vec<u8>, (Vec<u8>, u16)> {
        loop {
            self.peer.send(&ack(self.block), self.tid);
            let packet = self.peer.receive_from(self.tid);
            match Packet::parse(&packet) {
                Ok(Packet::Data { block, payload }) if block.0 == self.block + 1 => {
                    self.bytes.extend_from_slice(payload);
                    self.block += 1;
                    if payload.len() < 512 {
                        self.peer.send(&ack(self.block), self.tid);
                        return Ok(self.bytes);
                    }
                }
                Ok(Packet::Error { .. }) => return Err((packet, self.block)),
                _ => {}
            }
        }
    }
}

/// Nothing has come yet, and some blocks have.
const MOMENTS: [u16; 2] = [0, 20];

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_with_an_error_and_no_short_block() {
    const SIZE: usize = 100_000;
    let root = folder(&[]);
    let server = Running::serve(root.path());
    // Within a block, at the end of one, to nothing, and by one byte.
    for (left, blocks) in
        [50_000, 51_200, 0, SIZE - 1].map(|left| MOMENTS.map(|at| (left, at))).concat()
    {
        let download = Download::begin(&root, &server, SIZE, blocks);
        let file = std::fs::File::options().write(true).open(root.path().join("file"));
        file.expect("a file").set_len(left as u64).expect("cut");
        let address = download.peer.address();
        let (error, sent) = download.end().expect_err("it has no end");
        assert_eq!(error_code(&error), 0, "cut to {left}: {}", show(&error));
        // What was read ahead is sent.
        let most = (left / 512).max(usize::from(blocks) + limits::READ_AHEAD_BYTES / 512);
        assert!(usize::from(sent) <= most, "cut to {left} at {blocks}: {sent} blocks");
        let outcome = server.event("the end", |told| match told {
            common::Told::Finished(query, summary) if query.peer == address => summary.outcome,
            _ => None,
        });
        assert!(matches!(outcome, Outcome::Local(ErrorCode::Undefined, _)));
    }
}

#[test]
fn a_file_that_grows_is_sent_as_long_as_it_was_where_that_is_wanted() {
    let root = folder(&[]);
    let served = Folder::open(root.path()).expect("a folder").growing_files(true);
    let server = Running::start(config(), served);
    for (size, blocks) in [(1000, 0), (1024, 0), (1024, 2), (20_000, 20), (20_480, 20)] {
        let download = Download::begin(&root, &server, size, blocks);
        let file = std::fs::File::options().append(true).open(root.path().join("file"));
        file.expect("a file").write_all(&[9; 5000]).expect("grown");
        assert!(download.end() == Ok(pattern(size, 4)), "{size} at {blocks}");
    }
    // What is written over is no longer what it was, however it ends.
    for (size, blocks) in [(100_000, 0), (100_000, 20)] {
        let download = Download::begin(&root, &server, size, blocks);
        std::fs::write(root.path().join("file"), pattern(size, 5)).expect("written over");
        let (error, _) = download.end().expect_err("it is another one");
        assert_eq!(show(&error), "ERROR 0 \"the file changed while it was sent\"");
    }
}

/// What happens to a file while it is sent, and what its reader is told in the end.
type Change = (&'static str, fn(&Path), Option<&'static str>);

fn append(file: &Path) {
    let file = std::fs::File::options().append(true).open(file);
    file.expect("a file").write_all(b"more").expect("written");
}

fn write_over(file: &Path) {
    let file = std::fs::File::options().write(true).open(file);
    file.expect("a file").write_all(b"another beginning").expect("written");
}

fn write_over_and_set_the_time_back(file: &Path) {
    let time = std::fs::metadata(file).and_then(|about| about.modified()).expect("a time");
    write_over(file);
    let file = std::fs::File::options().write(true).open(file).expect("a file");
    file.set_modified(time).expect("a time");
}

fn rename(file: &Path) {
    let (away, next) = (file.with_extension("old"), file.with_extension("next"));
    std::fs::write(&next, b"next").expect("a file");
    std::fs::rename(file, away).and_then(|()| std::fs::rename(next, file)).expect("renamed");
}

const SHOWN_CHANGE: Option<&str> = Some("the file changed while it was sent");
const CHANGES: [Change; 9] = [
    ("written over, no longer than before", write_over, SHOWN_CHANGE),
    ("with its time set back", write_over_and_set_the_time_back, SHOWN_CHANGE),
    (
        "written anew",
        |file| std::fs::write(file, pattern(100_000, 6)).expect("a file"),
        SHOWN_CHANGE,
    ),
    ("appended to", append, Some("the file is still being written")),
    (
        "cut",
        |file| std::fs::write(file, b"short").expect("a file"),
        Some("the file became shorter while it was sent"),
    ),
    ("renamed, and another one in its place", rename, None),
    ("removed", |file| std::fs::remove_file(file).expect("removed"), None),
    (
        "of another mode",
        |file| std::fs::set_permissions(file, PermissionsExt::from_mode(0o444)).expect("a mode"),
        None,
    ),
    (
        "with another name",
        |file| std::fs::hard_link(file, file.with_extension("second")).expect("a name"),
        None,
    ),
];

#[test]
fn a_file_that_changes_while_it_is_sent_is_not_sent_as_whole() {
    for config in common::concurrent() {
        for (what, change, told) in CHANGES {
            for blocks in MOMENTS {
                let root = folder(&[]);
                let server =
                    Running::start(config.clone(), Folder::open(root.path()).expect("a folder"));
                let download = Download::begin(&root, &server, 100_000, blocks);
                let peer = download.peer.address();
                change(&root.path().join("file"));
                let ended = download.end();
                let Some(told) = told else {
                    assert!(ended == Ok(pattern(100_000, 4)), "{what} at {blocks}: {ended:?}");
                    continue;
                };
                let (error, _) = ended.expect_err(what);
                assert_eq!(show(&error), format!("ERROR 0 \"{told}\""), "{what} at {blocks}");
                let outcome = server.event("the end", |event| match event {
                    common::Told::Finished(query, summary) if query.peer == peer => summary.outcome,
                    _ => None,
                });
                assert_eq!(outcome, Outcome::Local(ErrorCode::Undefined, told.into()), "{what}");
            }
        }
    }
}

#[test]
fn a_file_that_was_empty_and_is_written_before_it_is_read_is_not_sent_as_empty() {
    let root = folder(&[]);
    let server = Running::serve(root.path());
    std::fs::write(root.path().join("file"), b"").expect("a file");
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("file", &[("blksize", "1000")]));
    assert_eq!(show(&first), "OACK blksize=1000");
    append(&root.path().join("file"));
    peer.exchange(&ack(0), tid, "ERROR 0 \"the file is still being written\"");
}

#[test]
fn a_file_that_is_replaced_or_removed_is_sent_to_its_old_end() {
    let root = folder(&[]);
    let server = Running::serve(root.path());
    for (replaced, blocks) in [true, false].map(|how| MOMENTS.map(|at| (how, at))).concat() {
        let download = Download::begin(&root, &server, 100_000, blocks);
        let path = root.path().join("file");
        if replaced {
            std::fs::write(root.path().join("other"), b"other").expect("a file");
            std::fs::rename(root.path().join("other"), &path).expect("replaced");
        } else {
            std::fs::remove_file(&path).expect("removed");
        }
        assert!(download.end() == Ok(pattern(100_000, 4)), "replaced: {replaced} at {blocks}");
    }
}
