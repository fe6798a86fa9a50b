//! What the server cannot do any more once it serves: tried from inside, by a process that enters the same sandbox, and
//! seen of the program itself.

mod common;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../src/bin/rtftpd/sandbox/mod.rs"]
mod sandbox;

use common::apart::{OPEN, in_own_network, in_own_process, leave_out, strace};
use common::{Daemon, ack, child, folder, open_to_all, pattern, rrq, show, until, wrq};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Uid, getppid};
use sandbox::{Entered, Part, Place, Sandbox};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tftpkit::limits;

/// Two folders and a file beside them, with their path in words.
fn place() -> (TempDir, String) {
    let place = folder(&[("served/f", b"few"), ("beside/f", b"few"), ("served/sub/f", b"few")]);
    let path = place.path().to_str().expect("UTF-8").to_owned();
    (place, path)
}

fn enter(parts: &[Part], place: &Path, may_write: bool) -> Entered {
    let places = vec![Place { path: place.join("served"), may_write }];
    let sandbox = Sandbox { parts: parts.to_vec(), places, ..Sandbox::default() };
    sandbox.enter().expect("no user is changed")
}

/// Whether the kernel is of this version or a later one.
fn is_since(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a version");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether all of it was entered; where the kernel has none, that is told.
fn is_whole(entered: &Entered) -> bool {
    if let Some(lacking) = entered.lacking.first() {
        leave_out("sandbox", lacking, "the kernel has Landlock and seccomp");
    }
    entered.lacking.is_empty()
}

fn denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// A call that is not on the list.
fn is_missing<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(Errno::ENOSYS as i32))
}

#[test]
fn of_all_files_those_in_the_folder_and_beside_it_are_left_and_only_to_read() {
    let (_place, words) = place();
    let test = of_all_files_those_in_the_folder_and_beside_it_are_left_and_only_to_read;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let name = SocketAddr::from_abstract_name(format!("tftpkit-{}", std::process::id()));
    let name = name.expect("a name");
    // Another process than the one inside has it: the thread that is not confined.
    let _unix = UnixListener::bind_addr(&name).expect("a listener");
    assert!(File::open("/etc/passwd").is_ok(), "everybody may read it");
    let (has_tcp, has_scopes) = (is_since(6, 7), is_since(6, 12));
    if !is_whole(&enter(&[Part::Files], &place, false)) {
        return;
    }
    let at = |name: &str| place.join(name);
    assert_eq!(std::fs::read(at("served/sub/f")).expect("its file"), b"few");
    assert_eq!(std::fs::read(at("beside/f")).expect("what may have its name"), b"few");
    assert!(std::fs::read_dir(at("served")).is_ok());
    for elsewhere in ["/etc/passwd", "/proc/self/status", "/dev/null"] {
        assert!(denied(File::open(elsewhere)), "{elsewhere}");
    }
    assert!(denied(std::fs::read_dir("/")) && denied(std::fs::read_dir("/etc")));
    // It is found by its name, and a folder is so at each request.
    assert!(std::fs::metadata("/etc/passwd").is_ok());
    assert!(denied(std::fs::write(at("served/f"), b"new")), "it is there to be read");
    assert!(denied(std::fs::write(at("served/new"), b"new")));
    assert!(denied(std::fs::remove_file(at("served/f"))));
    assert!(denied(std::fs::create_dir(at("served/new"))));
    assert!(denied(std::fs::rename(at("served/f"), at("served/g"))));
    assert!(denied(symlink("f", at("served/link"))));
    if has_tcp {
        assert!(denied(TcpStream::connect(address)), "TCP");
        assert!(denied(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), "TCP");
    }
    if has_scopes {
        assert_eq!(kill(getppid(), None), Err(Errno::EPERM), "a signal to another process");
        assert!(denied(UnixStream::connect_addr(&name)), "a socket of another process");
    }
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("its own trade");
    let own = udp.local_addr().expect("an address");
    assert!(udp.send_to(b"x", own).is_ok());
}

#[test]
fn a_transfer_has_so_many_descriptors_and_so_much_memory_and_no_more() {
    let test = a_transfer_has_so_many_descriptors_and_so_much_memory_and_no_more;
    if in_own_process(test, "").is_none() {
        return;
    }
    // Whatever part of the sandbox it has.
    sandbox::enter_transfer(&[Part::None]).expect("its bounds");
    let all = Vec::<u8>::new().try_reserve_exact(limits::PROCESS_BYTES as usize);
    assert!(all.is_err(), "its code is there already");
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut copies = Vec::with_capacity(limits::PROCESS_DESCRIPTORS as usize);
    let full = loop {
        match udp.try_clone() {
            Ok(copy) => copies.push(copy),
            Err(error) => break error.raw_os_error(),
        }
        assert!((copies.len() as u64) < limits::PROCESS_DESCRIPTORS);
    };
    assert_eq!(full, Some(Errno::EMFILE as i32));
}

#[test]
fn a_transfer_has_no_file_and_connects_to_nobody() {
    let test = a_transfer_has_no_file_and_connects_to_nobody;
    if in_own_process(test, "").is_none() {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let has_tcp = is_since(6, 7);
    // Another thread is left as it is by what this one gives up.
    let tried = || is_whole(&enter(&[Part::Files], Path::new("/"), false));
    if !std::thread::spawn(tried).join().expect("no panic") {
        return;
    }
    assert!(File::open("/etc/passwd").is_ok() && TcpStream::connect(address).is_ok());
    sandbox::enter_transfer(&[Part::Files]).expect("its bounds");
    assert!(denied(File::open("/etc/passwd")) && denied(std::fs::read_dir("/")));
    assert!(denied(std::fs::write(std::env::temp_dir().join("tftpkit-none"), b"new")));
    if has_tcp {
        assert!(denied(TcpStream::connect(address)), "TCP");
        assert!(denied(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), "TCP");
    }
}

#[test]
fn a_transfer_that_has_its_threads_makes_no_other_and_no_process() {
    let test = a_transfer_that_has_its_threads_makes_no_other_and_no_process;
    if in_own_process(test, "").is_none() {
        return;
    }
    let thread = || std::thread::Builder::new().stack_size(64 << 10).spawn(|| ()).map(drop);
    thread().expect("it may have some");
    sandbox::leave_calls_of_transfer(&[Part::Calls]).expect("nobody fails");
    assert!(is_missing(thread()));
    assert!(Command::new("/bin/true").spawn().is_err());
    assert!(is_missing(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))), "it opens nothing");
}

#[test]
fn of_a_folder_that_is_meant_alone_nothing_beside_it_is_left() {
    let (_place, words) = place();
    let test = of_a_folder_that_is_meant_alone_nothing_beside_it_is_left;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    if !is_whole(&enter(&[Part::Folder], &place, false)) {
        return;
    }
    assert!(std::fs::read(place.join("served/f")).is_ok());
    assert!(denied(std::fs::read(place.join("beside/f"))));
}

#[test]
fn with_uploads_files_are_made_and_moved_in_the_folder_and_nowhere_else() {
    let (_place, words) = place();
    let test = with_uploads_files_are_made_and_moved_in_the_folder_and_nowhere_else;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    if !is_whole(&enter(&[Part::Folder, Part::Calls], &place, true)) {
        return;
    }
    let at = |name: &str| place.join(name);
    // As an upload goes: a new file gets a name that is old, and one in a directory that was just made.
    let dir = cap_std::fs::Dir::open_ambient_dir(at("served"), cap_std::ambient_authority());
    let dir = dir.expect("the folder");
    dir.write("temporary", b"new").expect("a new file");
    dir.rename("temporary", &dir, "f").expect("replaced");
    dir.create_dir("made").expect("a directory");
    let made = dir.open_dir("made").expect("a directory");
    dir.rename("f", &made, "f").expect("moved");
    assert_eq!(std::fs::read(at("served/made/f")).expect("its file"), b"new");
    dir.remove_dir_all("made").expect("removed");
    assert!(denied(std::fs::write(at("beside/new"), b"new")));
    let temporary = std::env::temp_dir().join(format!("tftpkit-{}", std::process::id()));
    assert!(denied(std::fs::write(temporary, b"new")));
    // What would be no file for anybody to send.
    let error = rustix::fs::symlinkat("f", &dir, "link").expect_err("a link");
    assert!(matches!(error, rustix::io::Errno::NOSYS | rustix::io::Errno::ACCESS));
}

#[test]
fn what_no_server_calls_fails_as_on_a_kernel_without_it_and_all_else_goes_on() {
    let (_place, words) = place();
    let test = what_no_server_calls_fails_as_on_a_kernel_without_it_and_all_else_goes_on;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    // A thread that is there already has the same.
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let older = std::thread::spawn(move || {
        asked.recv().expect("it is entered");
        is_missing(TcpStream::connect(address))
    });
    if !is_whole(&enter(&[Part::Calls], &place, false)) {
        return;
    }
    ask.send(()).expect("it waits");
    assert!(older.join().expect("no panic"), "in an older thread");
    assert!(is_missing(Command::new("/bin/true").status()), "exec");
    assert!(is_missing(TcpStream::connect(address)), "TCP");
    assert!(is_missing(UnixStream::connect("/nowhere")), "a local socket");
    assert!(is_missing(listener.accept()), "whoever connects");
    let missing = |what: &str, result: nix::Result<()>| {
        assert_eq!(result, Err(Errno::ENOSYS), "{what}");
    };
    missing("ptrace", nix::sys::ptrace::traceme());
    missing("unshare", nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER));
    missing("setuid", nix::unistd::setuid(Uid::current()));
    missing("kill", kill(getppid(), None));
    missing("chroot", nix::unistd::chroot("/"));
    let limit = nix::sys::resource::Resource::RLIMIT_CORE;
    missing("setrlimit", nix::sys::resource::setrlimit(limit, 0, 0));
    assert!(nix::sys::resource::getrlimit(limit).is_ok(), "asking is no setting");
    // Without uploads no file is changed, whoever owns it.
    let at = |name: &str| place.join(name);
    assert!(is_missing(std::fs::remove_file(at("served/f"))));
    assert!(is_missing(std::fs::rename(at("served/f"), at("served/g"))));
    assert!(is_missing(std::fs::create_dir(at("served/new"))));
    let mode = PermissionsExt::from_mode(0o777);
    assert!(is_missing(std::fs::set_permissions(at("served/f"), mode)));
    // What a server does all the time.
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let own = udp.local_addr().expect("an address");
    udp.send_to(b"x", own).expect("sent");
    assert_eq!(udp.recv(&mut [0; 9]).expect("received"), 1);
    assert_eq!(std::fs::read(at("served/f")).expect("a file"), b"few");
    let threads = (0..50_u8).map(|n| {
        std::thread::Builder::new().name(format!("n{n}")).spawn(move || vec![n; 4 << 20].len())
    });
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.expect("a thread").join().expect("no panic"), 4 << 20);
    }
    let panicked = std::thread::spawn(|| {
        let told = std::backtrace::Backtrace::force_capture().to_string();
        assert!(told.is_empty(), "on purpose");
    });
    assert!(panicked.join().is_err(), "a panic ends its thread, and no more");
}

#[test]
fn with_a_page_who_connects_is_heard_and_still_nothing_is_bound_nor_connected_to() {
    let (_place, words) = place();
    let test = with_a_page_who_connects_is_heard_and_still_nothing_is_bound_nor_connected_to;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let _client = TcpStream::connect(address).expect("it is before");
    let places = vec![Place { path: place.join("served"), may_write: false }];
    let parts = vec![Part::Files, Part::Calls];
    let sandbox = Sandbox { parts, places, accepts: true, ..Sandbox::default() };
    let has_tcp = is_since(6, 7);
    if !is_whole(&sandbox.enter().expect("no user is changed")) {
        return;
    }
    assert!(listener.accept().is_ok(), "the page's own socket");
    assert!(is_missing(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), "a socket for TCP");
    assert!(is_missing(TcpStream::connect(address)), "TCP");
    if has_tcp {
        // With a descriptor that somebody left open it would be Landlock's to forbid.
        assert!(denied(rustix::net::bind(&listener, &address).map_err(Into::into)), "TCP");
    }
}

#[test]
fn captures_can_be_written_and_not_read_and_a_successor_is_let_in_where_that_is_wanted() {
    let (_place, words) = place();
    let test = captures_can_be_written_and_not_read_and_a_successor_is_let_in_where_that_is_wanted;
    let Some(place) = in_own_process(test, &words).map(PathBuf::from) else { return };
    let at = |name: &str| place.join(name);
    let listener = UnixListener::bind(at("local")).expect("a listener");
    let _client = UnixStream::connect(at("local")).expect("connected");
    let captures = Some(at("beside"));
    let places = vec![Place { path: at("served"), may_write: false }];
    let parts = vec![Part::Folder, Part::Calls];
    let sandbox = Sandbox { parts, places, captures, accepts: true, ..Sandbox::default() };
    if !is_whole(&sandbox.enter().expect("no user is changed")) {
        return;
    }
    std::fs::write(at("beside/failed-00.pcapng"), b"packets").expect("a capture");
    std::fs::write(at("beside/failed-00.pcapng"), b"others").expect("a capture anew");
    assert!(denied(std::fs::read(at("beside/failed-00.pcapng"))), "it is there to be written");
    assert!(denied(std::fs::write(at("served/failed-00.pcapng"), b"x")));
    assert!(is_missing(std::fs::remove_file(at("beside/failed-00.pcapng"))));
    assert!(listener.accept().is_ok());
}

/// The line of `/proc/…/status` with this name.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

const NO_CAPABILITY: &str = "0000000000000000";

#[test]
fn no_capability_is_left_and_none_comes_back() {
    let (_place, words) = place();
    let Some(place) = in_own_process(no_capability_is_left_and_none_comes_back, &words) else {
        return;
    };
    let place = PathBuf::from(place);
    assert!(is_whole(&enter(&[Part::Rights], &place, false)));
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, name), NO_CAPABILITY, "{name}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    if Uid::effective().is_root() {
        assert_eq!(field(&status, "CapBnd"), NO_CAPABILITY);
        assert_eq!(nix::unistd::chroot("/"), Err(Errno::EPERM));
        let other = rustix::thread::Uid::from_raw(65533);
        let changed = rustix::thread::set_thread_res_uid(other, other, other);
        assert_eq!(changed, Err(rustix::io::Errno::PERM));
    }
}

#[test]
fn a_user_that_was_root_comes_not_back() {
    let (_place, words) = place();
    let Some(_) = in_own_process(a_user_that_was_root_comes_not_back, &words) else { return };
    let account = sandbox::wanted(Some("65533"));
    if !Uid::effective().is_root() {
        let why = account.expect_err("nobody else can");
        assert_eq!(why, "only root can become '65533': leave out --user");
        return;
    }
    let account = account.expect("a number");
    Sandbox { account, ..Sandbox::default() }.enter().expect("it is root");
    let own = nix::unistd::getresuid().expect("a user");
    assert_eq!([own.real, own.effective, own.saved], [Uid::from_raw(65533); 3]);
    assert_eq!(nix::unistd::getgroups().expect("groups"), [65533.into()]);
    assert_eq!(nix::unistd::setuid(Uid::from_raw(0)), Err(Errno::EPERM));
    assert!(denied(File::open("/etc/shadow")));
}

/// A download and an upload that are under way.
fn busy(server: &Daemon) -> Vec<common::Peer> {
    let down = server.peer();
    let (_, tid) = down.answer(&rrq("f", &[]));
    down.exchange(&ack(1), tid, "DATA 2 512");
    let up = server.peer();
    assert_eq!(show(&up.answer(&wrq("new", &[])).0), "ACK 0");
    vec![down, up]
}

#[test]
fn each_thread_of_a_server_is_in_the_sandbox() {
    for (model, threads) in [
        (&["threads", "--event-threads", "1"], 9),
        (&["events", "--event-threads", "3"], 9),
        (&["iterative", "--event-threads", "1"], 7),
    ] {
        let root = folder(&[("f", &pattern(2000, 1))]);
        // Threads that only some servers have are there as well.
        let place = folder(&[]);
        let [file, captures] = [place.path().join("handover"), place.path().to_owned()];
        let [file, captures] = [&file, &captures].map(|path| path.to_str().expect("UTF-8"));
        let more = ["--idle-exit", "1h", "--handover", file, "--pcap-on-failure", captures];
        let arguments = ["--uploads", "overwrite", "--http", "0", "--model"];
        let arguments = [&more[..], &arguments, model].concat();
        let server = Daemon::serve(root.path(), &arguments);
        let _busy = if model[0] == "iterative" { Vec::new() } else { busy(&server) };
        let statuses = until("all its threads", || {
            Some(server.statuses()).filter(|statuses| statuses.len() >= threads)
        });
        for (thread, status) in &statuses {
            let is = |name: &str, value: &str| {
                assert_eq!(field(status, name), value, "{model:?} {thread} {name}");
            };
            is("NoNewPrivs", "1");
            is("Seccomp", "2");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                is(set, NO_CAPABILITY);
            }
            if Uid::effective().is_root() {
                is("CapBnd", NO_CAPABILITY);
            }
        }
        let banner = server.banner();
        let line = banner.lines().find(|line| line.contains("  sandbox ")).expect("a line");
        assert!(line.ends_with("; only a server's system calls; no capability"), "{line}");
    }
}

/// What an ordinary user cannot try: to be another one.
#[test]
fn started_as_root_it_becomes_a_user_who_can_serve_the_folder() {
    if !Uid::effective().is_root() {
        return;
    }
    let nobody = nix::unistd::User::from_name("tftp").ok().flatten();
    let nobody = nobody.or_else(|| nix::unistd::User::from_name("nobody").ok().flatten());
    let nobody = nobody.map_or(65534, |user| user.uid.as_raw());
    let root = folder(&[("f", b"few"), ("closed", b"few")]);
    let mode = |name: &str, mode| {
        let path = root.path().join(name);
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    };
    let command = |arguments: &[&str]| {
        let mut command = Command::new(OPEN[0]);
        command.args(&OPEN[1..]).arg(Daemon::program()).arg(root.path());
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command
    };
    let get = |server: &Daemon, name: &str| server.peer().fetch(&rrq(name, &[]));
    // It cannot enter the folder: what it serves it serves as root, and takes no uploads.
    mode("", 0o700);
    let stays = Daemon::spawn_as_any(&mut command(&[]));
    stays.log_line(&["WARN", "may not enter", "it stays root"]);
    assert_eq!((stays.status("Uid"), stays.banner().contains("  user       root\n")), (0, true));
    assert_eq!(get(&stays, "f"), Ok(b"few".to_vec()));
    mode("", 0o755);
    mode("closed", 0o600);
    // Nor may that user write there: as root it takes uploads still, without any capability.
    let stays = Daemon::spawn_as_any(&mut command(&["--uploads", "create"]));
    stays.log_line(&["WARN", "may not write in", "chown", "--user", "it stays root"]);
    assert_eq!((stays.status("Uid"), stays.peer().store(&wrq("root's", &[]), b"new")), (0, Ok(())));
    for (user, uid) in [(&[][..], nobody), (&["--user", "65533"], 65533)] {
        let server = Daemon::spawn_as_any(&mut command(user));
        for (thread, status) in server.statuses() {
            let four = format!("{uid}\t{uid}\t{uid}\t{uid}");
            assert_eq!(field(&status, "Uid"), four, "{thread}");
        }
        assert_eq!(get(&server, "f"), Ok(b"few".to_vec()));
        assert_eq!(show(&get(&server, "closed").expect_err("root's")), "ERROR 2 \"no permission\"");
    }
    // The folder is given to it, as it was told.
    std::os::unix::fs::chown(root.path(), Some(nobody), None).expect("it is root's");
    let server = Daemon::spawn_as_any(&mut command(&["--uploads", "create"]));
    assert_eq!(server.peer().store(&wrq("new", &[]), b"new"), Ok(()));
    assert_eq!(std::fs::metadata(root.path().join("new")).expect("a file").uid(), nobody);
    let unknown = child::output(&mut command(&["--user", "no-such-user"]));
    assert!(child::text(&unknown).contains("there is no user 'no-such-user'"));
}

/// A folder by a link, and where else that may lead: beside what it leads to, and far away.
#[test]
fn a_folder_that_is_swapped_out_of_the_sandbox_is_told_of() {
    let (place, far) = (folder(&[("one/f", b"one"), ("two/f", b"two")]), folder(&[("f", b"far")]));
    let at = |name: &str| place.path().join(name);
    let point_to = |release: &Path| {
        symlink(release, at("next")).expect("a link");
        std::fs::rename(at("next"), at("current")).expect("swapped");
    };
    open_to_all(place.path());
    for (parts, two) in [("files", Some("two")), ("folder", None)] {
        point_to(Path::new("one"));
        let server = Daemon::behind(&OPEN, &at("current"), &["--sandbox", parts]);
        let get = || server.peer().fetch(&rrq("f", &[])).map_err(|packet| show(&packet));
        let refused = || Err("ERROR 2 \"no permission\"".to_owned());
        assert_eq!(get(), Ok(b"one".to_vec()));
        point_to(Path::new("two"));
        assert_eq!(get(), two.map_or_else(refused, |bytes| Ok(bytes.into())), "{parts}");
        point_to(far.path());
        assert_eq!(get(), refused(), "{parts}");
        server.log_line(&["WARN", "which this server may not read", "outside its sandbox"]);
    }
}

#[test]
fn where_the_kernel_has_no_sandbox_that_is_one_line_and_files_are_served() {
    let root = folder(&[("f", b"few")]);
    for (error, why) in [
        ("ENOSYS", "this kernel has none"),
        ("EPERM", ""),
        ("EOPNOTSUPP", "it is not enabled in this kernel (lsm=landlock)"),
    ] {
        let Some(mut command) = strace() else { return };
        let calls = "landlock_create_ruleset,seccomp";
        command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}")]);
        command.arg(Daemon::program()).arg(root.path()).args(["--listen", "127.0.0.1:0"]);
        let server = Daemon::spawn(&mut command);
        let line = server.log_line(&["WARN", "the sandbox is not whole"]);
        let landlock = format!("Landlock: {why}");
        assert!(line.contains(&landlock) && line.contains("seccomp: "), "{line}");
        assert_eq!(server.log().matches("WARN").count(), 1, "{}", server.log());
        assert_eq!(server.peer().fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
        let banner = server.banner();
        assert!(banner.contains("  sandbox    no capability\n"), "{banner}");
    }
}

#[test]
fn ports_that_need_a_privilege_later_are_refused_at_the_start_or_it_is_kept() {
    let test = ports_that_need_a_privilege_later_are_refused_at_the_start_or_it_is_kept;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let root = folder(&[("f", b"few")]);
    let ports = ["--ports", "900-910"];
    let command = |more: &[&str]| {
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", "127.0.0.1:69", "--user", "root"]);
        command.args(ports).args(more);
        command
    };
    let refused = child::output(&mut command(&[]));
    let said = child::text(&refused);
    assert!(refused.status.code() == Some(1) && said.contains("need a privilege"), "{said}");
    let keeps = Daemon::spawn(&mut command(&["--sandbox", "files,calls"]));
    assert_eq!(keeps.peer().fetch(&rrq("f", &[])), Ok(b"few".to_vec()));
}
