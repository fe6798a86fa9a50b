//! What clients send that mean harm, or know no better: the server answers little, serves the next, and never
//! leaves its folder. `HOSTILE_SEED=n` sends the datagrams of a run again.

mod common;

use common::{
    DEADLINE, Running, Told, ack, config, data, error_code, everything_in, fixture_lines,
    fixture_name, folder, get, impatient, joined_in_drop, list, listing, pattern, plain, query,
    random, rrq, show, single_port, try_contents, until, wrq,
};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tftpkit::client::Wishes;
use tftpkit::limits;
use tftpkit::proto::Timing;
use tftpkit::server::{Profile, StandardPolicy};
use tftpkit::store::{Folder, Listing, Store, StoreError, Uploads};
use tftpkit::transfer::Outcome;
use tftpkit::wire::{ErrorCode, Operation};

fn serving(root: &Path, timing: Timing) -> Running {
    let served = Folder::open(root).expect("a folder").uploads(Uploads::Overwrite);
    Running::start(config().policy(StandardPolicy::new(Profile::default().timing(timing))), served)
}

/// A request that is valid, or was before some of its bytes were changed, lost or doubled.
fn hostile(random: &mut StdRng) -> Vec<u8> {
    let names = ["good", "missing", "../x", "dir/.list", ".list", "dir", "", "new"];
    let options: &[(&str, &str)] =
        &[("blksize", "65464"), ("windowsize", "65535"), ("tsize", "0"), ("timeout", "1")];
    let name = names[random.random_range(0..names.len())];
    let options = &options[..random.random_range(0..=options.len())];
    let make = [rrq::<&str>, wrq, list][random.random_range(0..3)];
    let mut datagram = make(name, options);
    match random.random_range(0..4) {
        0 => {
            datagram = vec![0; random.random_range(0..700)];
            random.fill(&mut datagram[..]);
        }
        1 => datagram.truncate(random.random_range(0..=datagram.len())),
        2 => {
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..datagram.len());
                datagram[at] = random.random();
            }
        }
        _ => datagram.extend_from_within(random.random_range(0..datagram.len())..),
    }
    datagram
}

#[test]
fn a_hundred_thousand_hostile_datagrams_do_not_keep_the_next_client_waiting() {
    const BATCHES: u32 = 50;
    const BATCH: u32 = 2000;
    let mut random = random("HOSTILE_SEED");
    let bytes = pattern(3000, 1);
    let root = folder(&[("good", &bytes), ("dir/file", b"x")]);
    let server = serving(root.path(), impatient());
    let attacker = server.peer();
    let client = server.client(plain());
    for batch in 0..BATCHES {
        for _ in 0..BATCH {
            // Full buffers are no reason to stop, and nothing to wait for.
            let _ = attacker.socket.send_to(&hostile(&mut random), server.address);
        }
        let started = Instant::now();
        let fetched = get(&client, "good").expect("a download");
        assert!(fetched == bytes, "batch {batch}");
        assert!(started.elapsed() < DEADLINE, "batch {batch} took {:?}", started.elapsed());
    }
    server.idle();
    let looked_at = server.told().len();
    assert!(looked_at > 10_000, "{looked_at} were looked at");
    assert!(get(&client, "good").expect("a download") == bytes);
    assert_eq!(std::fs::read(root.path().join("good")).expect("a file"), bytes);
}

#[test]
fn what_is_no_request_gets_no_byte_back() {
    let root = folder(&[("good", b"x")]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let (max, min) = ([0xff; 600], []);
    let strays: [&[u8]; 18] = [
        &min,
        b"\0",
        b"\xff",
        b"\0\x03",
        b"\0\x03\0",
        b"\0\x03\0\x01",
        &data(1, &[7; 512]),
        &data(0, b""),
        b"\0\x04",
        b"\0\x04\0",
        &ack(0),
        &ack(1),
        &ack(65535),
        b"\0\x05\0",
        b"\0\x05\0\x04illegal\0",
        &[b"\0\x05\0\0", &max[..]].concat(),
        b"\0\x06blksize\x00512\0",
        b"\0\x06",
    ];
    for stray in strays {
        peer.ask(stray);
        server.event(&show(stray), |told| {
            matches!(told, Told::Stray(from) if from == peer.address()).then_some(())
        });
    }
    assert_eq!(peer.pending(), []);
    assert_eq!(show(&peer.answer(&rrq("good", &[])).0), "DATA 1 1");
}

#[test]
fn what_is_no_good_request_gets_one_error_4() {
    let root = folder(&[("good", b"x")]);
    let server = Running::serve(root.path());
    let peer = server.peer();
    let long_mode = [b"\0\x01good\0", &[b'o'; 500][..], b"\0"].concat();
    let requests: [&[u8]; 17] = [
        b"\0\0",
        b"\0\x08",
        b"\0\x09",
        b"\0\x0a",
        b"\x4c\x53",
        b"\xff\xff",
        b"\0\x01",
        b"\0\x01\0",
        b"\0\x01good",
        b"\0\x01good\0",
        b"\0\x01good\0octet",
        b"\0\x01good\0\0",
        b"\0\x02\0octet\0",
        b"\0\x01good\0mail\0",
        b"\0\x01good\0%s%n%x\0",
        &long_mode,
        b"\0\x07",
    ];
    for request in requests {
        let (answer, tid) = peer.answer(request);
        assert_eq!(show(&answer), "ERROR 4 \"illegal TFTP operation\"", "{request:?}");
        assert_eq!(tid == server.address, single_port(), "{request:?}");
    }
    server.peer().fetch(&rrq("good", &[])).expect("a download");
    assert_eq!(peer.pending(), [], "one each");
}

/// How many of so many bad requests are answered, and after how many seconds all of them have been looked at. Each is
/// shorter than any ERROR.
fn errors_for(requests: u32) -> (u32, f64) {
    let root = folder(&[("good", b"x")]);
    let server = Running::serve(root.path());
    let (peer, started) = (server.peer(), Instant::now());
    let mut answers = 0;
    for n in 0..requests {
        peer.ask(b"\0\x09");
        if n % 64 == 63 {
            // Behind them in the queue: nothing is lost for want of room.
            server.peer().fetch(&rrq("good", &[])).expect("a download");
            answers += peer.pending().len() as u32;
        }
    }
    server.peer().fetch(&rrq("good", &[])).expect("a download");
    (answers + peer.pending().len() as u32, started.elapsed().as_secs_f64())
}

/// Whether so many ERRORs that are longer than the request may go to one network in so many seconds, and must.
fn is_allowed(errors: u32, seconds: f64) -> bool {
    let more = (seconds * f64::from(limits::ERRORS_PER_SECOND)) as u32 + 1;
    (limits::ERROR_BURST..=limits::ERROR_BURST + more).contains(&errors)
}

/// A rack behind one address asks for many files that are not there.
#[test]
fn an_error_that_is_no_longer_than_the_request_is_never_withheld() {
    let root = folder(&[("good", b"x")]);
    let (server, asked) = (Running::serve(root.path()), 2 * limits::ERROR_BURST);
    let answers = |request: &[u8], code| {
        let (peer, which) = (server.peer(), [0, 5, 0, code]);
        let answers: Vec<_> = (0..asked).map(|_| peer.answer(request).0).collect();
        assert!(answers.iter().all(|answer| answer.starts_with(&which)), "each says which");
        answers.iter().filter(|answer| answer.len() > 5).count() as u32
    };
    let long = rrq("pxelinux.cfg/01-00-11-22-33-44-55", &[]);
    assert_eq!(answers(&long, 1), asked, "and all have their text");
    assert_eq!(answers(&long[..long.len() - 1], 4), asked, "to what is no good request likewise");
    let began = Instant::now();
    let (with_text, seconds) = (answers(&rrq("a", &[]), 1), began.elapsed().as_secs_f64());
    assert!(is_allowed(with_text, seconds), "{with_text} of {asked} in {seconds} s");
}

#[test]
fn as_many_errors_as_are_allowed_go_to_one_network() {
    assert_eq!(errors_for(limits::ERROR_BURST).0, limits::ERROR_BURST);
}

#[test]
fn more_errors_go_out_only_as_fast_as_is_allowed() {
    let asked = 4 * limits::ERROR_BURST;
    let (answers, seconds) = errors_for(asked);
    assert!(is_allowed(answers, seconds) && answers < asked, "{answers} in {seconds} s");
}

/// Packets and bytes that a client gets that never answers, though it asks so many times.
fn unproven(request: &[u8], times: usize) -> (usize, usize) {
    let root = folder(&[("file", &pattern(9000, 2))]);
    for n in 0..100 {
        std::fs::write(root.path().join(format!("another file {n}")), b"").expect("a file");
    }
    let server = serving(root.path(), impatient());
    let peer = server.peer();
    (0..times).for_each(|_| peer.ask(request));
    assert_eq!(server.outcome(&peer), Outcome::Silent);
    server.idle();
    let sizes: Vec<_> = peer.pending().iter().map(|(packet, _)| packet.len()).collect();
    (sizes.len(), sizes.iter().sum())
}

#[test]
fn a_client_that_never_answers_gets_five_packets_and_1032_bytes_at_most() {
    let options = [("blksize", "65464"), ("windowsize", "64"), ("tsize", "0")];
    let every = [options[0], options[1], options[2], ("rollover", "0")];
    assert_eq!(unproven(&rrq("file", &[]), 1), (2, 1032), "plain");
    assert_eq!(unproven(&list("", &[]), 1), (2, 1032), "a listing");
    assert_eq!(unproven(&wrq("new", &[]), 1), (5, 20), "a plain upload");
    for request in [rrq("file", &every), wrq("new", &options)] {
        let (packets, bytes) = unproven(&request, 1);
        assert!(packets == 5 && bytes <= 1032, "options: {packets}, {bytes}");
    }
}

#[test]
fn a_client_that_never_answers_gets_one_packet_more_for_each_repeat() {
    const REPEATS: usize = 7;
    let root = folder(&[("file", &pattern(9000, 2))]);
    // Its patience outlasts the repeats on a machine that is busy otherwise.
    let ms = Duration::from_millis;
    let timing = Timing::builder().first(ms(20)).floor(ms(20)).ceiling(ms(40)).patience(ms(5000));
    let server = serving(root.path(), timing.unanswered(ms(5000)).build().expect("sound"));
    for (request, len, most) in [(rrq("file", &[]), 516, 2), (wrq("new", &[]), 4, 5)] {
        let peer = server.peer();
        let mut got = Vec::new();
        let (_, tid) = peer.answer(&request);
        for _ in 0..REPEATS {
            let before = got.len();
            peer.ask(&request);
            until("an answer to a repeat", || {
                got.extend(peer.pending());
                (got.len() > before).then_some(())
            });
        }
        assert_eq!(server.outcome(&peer), Outcome::Silent);
        got.extend(peer.pending());
        // The session's own, and one for each repeat.
        let is_right = got.iter().all(|(packet, from)| packet.len() == len && *from == tid);
        assert!(is_right && (REPEATS..REPEATS + most).contains(&got.len()), "{got:?}");
    }
}

#[test]
fn a_client_that_has_answered_gets_more() {
    let root = folder(&[("file", &pattern(9000, 2))]);
    let server = serving(root.path(), impatient());
    let peer = server.peer();
    let (_, tid) = peer.answer(&rrq("file", &[]));
    peer.exchange(&ack(1), tid, "DATA 2 512");
    assert_eq!(server.outcome(&peer), Outcome::Silent);
    let bytes: usize = peer.pending().iter().map(|(packet, _)| packet.len()).sum();
    assert!(bytes > 1032, "{bytes}");
}

/// The tree that `fixtures/README.md` describes, in a directory of its own.
fn refused_tree() -> (TempDir, PathBuf) {
    let files: [(&str, &[u8]); 5] = [
        ("root/inside.txt", b"inside"),
        ("root/dir/inside.txt", b"inside"),
        ("root-secret/x", b"secret"),
        ("outside/x", b"secret"),
        ("x", b"secret"),
    ];
    let parent = folder(&files);
    let root = parent.path().join("root");
    symlink(parent.path().join("x"), root.join("out")).expect("a link");
    symlink(parent.path().join("outside"), root.join("outdir")).expect("a link");
    symlink("/etc/passwd", root.join("abs")).expect("a link");
    fifo(&root.join("fifo"));
    (parent, root)
}

fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
}

#[test]
fn names_that_must_be_refused_are_refused_with_their_code() {
    let (_parent, root) = refused_tree();
    let path = root.to_str().expect("UTF-8");
    let server = Running::serve(&root);
    let lines = fixture_lines("refused.txt");
    assert!(lines.len() > 50);
    for line in lines {
        let (code, name) = line.split_once(' ').expect("a code and a name");
        let name = fixture_name(&name.replace("<root>", "root").replace("<path>", path));
        let error = server.peer().fetch(&rrq(&name, &[])).expect_err(&line);
        assert_eq!(error_code(&error).to_string(), code, "{line}");
        assert!(!String::from_utf8_lossy(&error).contains(path), "{line}: {}", show(&error));
    }
    let own = format!("{path}/inside.txt");
    for name in ["dir/../inside.txt", &own, &own[1..], &own.replace('/', "\\")] {
        assert_eq!(server.peer().fetch(&rrq(name, &[])), Ok(b"inside".to_vec()), "{name}");
    }
}

#[test]
fn names_that_must_be_refused_are_never_written() {
    let (parent, root) = refused_tree();
    let before = (everything_in(parent.path()), everything_in(&root));
    let server = serving(&root, impatient());
    for line in fixture_lines("refused.txt").iter().filter(|line| line.starts_with("2 ")) {
        let name = fixture_name(&line[2..].replace("<root>", "root"));
        let error = server.peer().store(&wrq(&name, &[]), b"mine").expect_err(line);
        assert_eq!(error_code(&error), 2, "{line}");
    }
    assert_eq!((everything_in(parent.path()), everything_in(&root)), before);
    for kept in ["root-secret/x", "outside/x", "x"] {
        assert_eq!(std::fs::read(parent.path().join(kept)).expect("a file"), b"secret", "{kept}");
    }
}

#[test]
fn odd_names_are_fetched_and_those_that_can_be_shown_are_listed() {
    let root = folder(&[]);
    let server = Running::serve(root.path());
    let lines = fixture_lines("names.txt");
    assert!(lines.len() > 40);
    let names: Vec<_> = lines.iter().map(|line| fixture_name(line)).collect();
    for (n, name) in names.iter().enumerate() {
        let path = root.path().join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, pattern(600 + n, n as u32)).expect("a file");
    }
    for (n, name) in names.iter().enumerate() {
        let fetched = server.peer().fetch(&rrq(name, &[]));
        assert!(fetched == Ok(pattern(600 + n, n as u32)), "{}: {fetched:?}", lines[n]);
        let path = Path::new(OsStr::from_bytes(name));
        let (directory, last) =
            (path.parent().expect("a parent"), path.file_name().expect("a name"));
        let listed = listing(&server.client(Wishes::default()), directory.as_os_str().as_bytes());
        let listed = listed.expect("a listing").entries;
        let size = listed.iter().find(|entry| entry.name == last).map(|entry| entry.size);
        let name = last.as_bytes();
        let shown = !name.starts_with(b".") && !name.iter().any(u8::is_ascii_control);
        assert_eq!(size, shown.then_some(600 + n as u64), "{}", lines[n]);
    }
}

#[test]
fn a_listing_shows_only_what_can_be_fetched() {
    let (_parent, root) = refused_tree();
    for hidden in [".hidden", "line\nbreak", "esc\x1b[31m", "del\x7f"] {
        std::fs::write(root.join(hidden), b"x").expect("a file");
    }
    symlink("inside.txt", root.join("link")).expect("a link");
    symlink("nowhere", root.join("dangling")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    let server = Running::serve(&root);
    let fetch = |request: &[u8]| server.peer().fetch(request).expect("a listing");
    let (uefi, text) = (fetch(&list("", &[])), fetch(&rrq(".list", &[])));
    let listings = [
        Listing::from_uefi(&uefi).expect("a listing"),
        Listing::from_text(&text).expect("a listing"),
        listing(&server.client(plain()), b"").expect("a listing"),
    ];
    for listing in listings {
        let names: Vec<_> =
            listing.entries.iter().map(|e| (e.name.to_str().expect("UTF-8"), e.size)).collect();
        assert_eq!(names, [("dir", 0), ("inside.txt", 6), ("link", 6)]);
    }
    for (name, code) in [("outdir", 2), ("inside.txt", 1), ("missing", 1), ("..", 2), ("fifo", 1)] {
        let refused = server.peer().fetch(&list(name, &[])).expect_err(name);
        assert_eq!(error_code(&refused), code, "{name}");
    }
}

/// Exchanges the two names again and again, until dropped.
struct Swapping(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Swapping {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let swap = move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("swapped");
            }
        };
        Self(stop, Some(std::thread::spawn(swap)))
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            joined_in_drop("no more is swapped", thread);
        }
    }
}

/// Opens `name` 2,000 times, and on until it was there and was refused, and counts both.
fn opened_while_swapped(root: &Path, name: &str) {
    let folder = Folder::open(root).expect("a folder");
    let query = query(Operation::Read, name);
    let (mut opens, mut inside, mut refused) = (0, 0, 0);
    let started = Instant::now();
    while opens < 2000 || inside == 0 || refused == 0 {
        assert!(started.elapsed() < DEADLINE, "{inside} opened, {refused} refused");
        opens += 1;
        match folder.read(&query) {
            Ok(file) => match try_contents(file) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"inside");
                    inside += 1;
                }
                // It was away and came back while it was read, as if it had been another one meanwhile.
                Err(changed) => assert!(changed.to_string().contains("changed"), "{changed}"),
            },
            Err(error) if error.code() == ErrorCode::AccessViolation => refused += 1,
            Err(StoreError::NotFound) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_link_that_is_swapped_in_never_leads_out() {
    let parent = folder(&[("root/file", b"inside"), ("x", b"secret")]);
    let root = parent.path().join("root");
    symlink(parent.path().join("x"), root.join("link")).expect("a link");
    let _swapping = Swapping::start(root.join("file"), root.join("link"));
    opened_while_swapped(&root, "file");
}

#[test]
fn a_directory_that_is_swapped_for_a_link_never_leads_out() {
    let parent = folder(&[("root/dir/x", b"inside"), ("outside/x", b"secret")]);
    let root = parent.path().join("root");
    symlink(parent.path().join("outside"), root.join("link")).expect("a link");
    let _swapping = Swapping::start(root.join("dir"), root.join("link"));
    opened_while_swapped(&root, "dir/x");
}

/// How often something was opened since `watch` began.
fn opens(watch: &std::os::fd::OwnedFd) -> usize {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    std::iter::from_fn(|| events.next().ok().map(|_| ())).count()
}

#[test]
fn a_fifo_is_never_opened() {
    let root = folder(&[("file", b"x")]);
    let path = root.path().join("fifo");
    fifo(&path);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    inotify::add_watch(&watch, &path, inotify::WatchFlags::OPEN).expect("watched");
    let server = serving(root.path(), impatient());
    for _ in 0..20 {
        for request in
            [rrq("fifo", &[]), wrq("fifo", &[]), rrq("fifo/.list", &[]), list("fifo", &[])]
        {
            assert!(matches!(error_code(&server.peer().answer(&request).0), 1 | 2));
        }
        server.peer().fetch(&list("", &[])).expect("a listing");
    }
    assert_eq!(opens(&watch), 0);
    let write =
        std::fs::OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
    assert_eq!(write.expect_err("nobody reads it").raw_os_error(), Some(nix::libc::ENXIO));
    let reader =
        std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
    assert!(reader.is_ok() && opens(&watch) > 0, "the watch sees an open");
}

/// The first answer to a read of 1,000 bytes with these options.
fn answer_to(options: &[(&str, &str)]) -> String {
    let root = folder(&[("file", &pattern(1000, 3))]);
    let server = Running::serve(root.path());
    show(&server.peer().answer(&rrq("file", options)).0)
}

#[test]
fn values_within_an_options_range_are_granted_and_those_outside_lowered_or_left_out() {
    const NONE: &str = "DATA 1 512";
    let table = [
        ("blksize", "0", NONE),
        ("blksize", "7", NONE),
        ("blksize", "8", "OACK blksize=8"),
        ("blksize", "65464", "OACK blksize=65464"),
        ("blksize", "65465", "OACK blksize=65464"),
        ("blksize", "70000", "OACK blksize=65464"),
        ("blksize", "4294967808", "OACK blksize=65464"),
        ("blksize", "18446744073709552128", "OACK blksize=65464"),
        ("blksize", "0512", "OACK blksize=512"),
        ("blksize", "-1", NONE),
        ("blksize", "+512", NONE),
        ("blksize", "0x200", NONE),
        ("blksize", " 512", NONE),
        ("blksize", "", NONE),
        ("blksize", "abc", NONE),
        ("", "512", NONE),
        ("windowsize", "0", NONE),
        ("windowsize", "1", "OACK windowsize=1"),
        ("windowsize", "65535", "OACK windowsize=2032"),
        ("timeout", "0", NONE),
        ("timeout", "1", "OACK timeout=1"),
        ("timeout", "255", "OACK timeout=255"),
        ("timeout", "256", NONE),
        ("utimeout", "9999", NONE),
        ("utimeout", "10000", "OACK utimeout=10000"),
        ("utimeout", "255000000", "OACK utimeout=255000000"),
        ("utimeout", "255000001", NONE),
        ("tsize", "0", "OACK tsize=1000"),
        ("tsize", "9223372036854775808", "OACK tsize=1000"),
        ("multicast", "", NONE),
    ];
    for (name, value, wanted) in table {
        assert_eq!(answer_to(&[(name, value)]), wanted, "{name}={value:?}");
    }
    let digits = "1".repeat(400);
    assert_eq!(answer_to(&[("utimeout", &digits)]), NONE);
}

#[test]
fn a_window_of_the_largest_blocks_is_granted_within_the_memory_of_one_transfer() {
    let answer = answer_to(&[("blksize", "65464"), ("windowsize", "65535")]);
    assert_eq!(answer, "OACK blksize=65464 windowsize=16");
    const {
        assert!(
            16 * (65464 + 4) <= limits::WINDOW_BYTES && 17 * (65464 + 4) > limits::WINDOW_BYTES
        );
    };
}

#[test]
fn of_options_given_twice_the_first_counts_and_sixty_are_no_harm() {
    assert_eq!(answer_to(&[("blksize", "1000"), ("BLKSIZE", "600")]), "OACK blksize=1000");
    assert_eq!(answer_to(&[("blksize", "7"), ("blksize", "600")]), "DATA 1 512");
    let unknown: Vec<_> = (0..59).map(|n| format!("x{n}")).collect();
    let mut sixty: Vec<_> = unknown.iter().map(|name| (name.as_str(), "1")).collect();
    sixty.push(("blksize", "600"));
    assert_eq!(answer_to(&sixty), "OACK blksize=600");
    assert_eq!(answer_to(&[("blksize", "600"); 60]), "OACK blksize=600");
}

#[test]
fn an_upload_of_an_impossible_size_is_refused_at_once() {
    let root = folder(&[]);
    for largest in [limits::UPLOAD_BYTES, u64::MAX] {
        let served = Folder::open(root.path()).expect("a folder");
        let served = served.uploads(Uploads::Overwrite).largest_upload(largest);
        let server = Running::start(config(), served);
        for size in ["9223372036854775808", "18446744073709551615"] {
            let (answer, _) = server.peer().answer(&wrq("new", &[("tsize", size)]));
            assert_eq!(error_code(&answer), 3, "{size}");
        }
        // A number that nobody can hold says nothing.
        let (answer, _) = server.peer().answer(&wrq("new", &[("tsize", "18446744073709551616")]));
        assert_eq!(show(&answer), "ACK 0");
    }
    assert_eq!(everything_in(root.path()), Vec::<String>::new());
}

#[test]
fn a_block_larger_than_was_agreed_ends_the_upload() {
    let root = folder(&[]);
    for (len, wanted) in [(600, "ACK 1"), (601, "ERROR 4 \"block too large\"")] {
        let server = serving(root.path(), impatient());
        let peer = server.peer();
        let (_, tid) = peer.answer(&wrq("new", &[("blksize", "600")]));
        peer.send(&data(1, &vec![7; len]), tid);
        let mut answer = show(&peer.receive_from(tid));
        while answer.starts_with("OACK") {
            answer = show(&peer.receive_from(tid));
        }
        assert_eq!(answer, wanted);
    }
    assert_eq!(everything_in(root.path()), Vec::<String>::new());
}
