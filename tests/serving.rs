//! What people serve: folders that are swapped, mounted over and made anew, links and names as others write them, files
//! that change under a transfer; and what a client is told that gets nothing.

mod common;

use common::apart::{OPEN, namespaces, powerless, strace};
use common::{Daemon, folder, list, open_to_all, pattern, rrq, show, until, wrq};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn get(daemon: &Daemon, name: &str) -> Result<Vec<u8>, String> {
    daemon.peer().fetch(&rrq(name, &[])).map_err(|packet| show(&packet))
}

fn text(daemon: &Daemon, name: &str) -> Result<String, String> {
    get(daemon, name).map(|bytes| String::from_utf8(bytes).expect("text"))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

#[test]
fn the_text_of_an_error_says_which_reason_it_is() {
    let root = folder(&[("file", b"x"), ("dir/sub/x", b"x"), ("secret", b"x"), ("closed/x", b"x")]);
    let at = |name: &str| root.path().join(name);
    symlink("/etc/passwd", at("out")).expect("a link");
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    set_mode(&at("secret"), 0);
    set_mode(&at("closed"), 0);
    set_mode(&at("dir/sub"), 0o555);
    let told = |daemon: &Daemon, request: &[u8]| {
        let (answer, _) = daemon.peer().answer(request);
        let shown = show(&answer);
        let place = root.path().to_str().expect("UTF-8");
        assert!(!shown.contains(place) && !shown.contains("nobody"), "{shown}");
        shown
    };
    let off = Daemon::behind(powerless(), root.path(), &[]);
    let cases = [
        (wrq("new", &[]), "ERROR 2 \"uploads are off\""),
        (rrq("dir", &[]), "ERROR 2 \"is a directory\""),
        (rrq("missing", &[]), "ERROR 1 \"file not found\""),
        (list("missing", &[]), "ERROR 1 \"no such directory\""),
        (list("file", &[]), "ERROR 1 \"not a directory\""),
        (rrq("secret", &[]), "ERROR 2 \"no permission\""),
        (rrq("closed/x", &[]), "ERROR 2 \"no permission\""),
        (list("closed", &[]), "ERROR 2 \"no permission\""),
        (rrq("../x", &[]), "ERROR 2 \"outside the folder\""),
        (rrq("out", &[]), "ERROR 2 \"outside the folder\""),
        (rrq("pipe", &[]), "ERROR 2 \"not a regular file\""),
    ];
    for (request, wanted) in cases {
        assert_eq!(told(&off, &request), wanted, "{}", show(&request));
    }
    for uploads in ["create", "overwrite"] {
        let on = Daemon::behind(powerless(), root.path(), &["--uploads", uploads]);
        let cases = [
            ("missing/x", "ERROR 1 \"no such directory\""),
            ("file/x", "ERROR 1 \"no such directory\""),
            ("dir", "ERROR 2 \"is a directory\""),
            ("dir/", "ERROR 2 \"is a directory\""),
            ("new/", "ERROR 2 \"is a directory\""),
            ("dir/sub/new", "ERROR 2 \"no permission\""),
            ("closed/new", "ERROR 2 \"no permission\""),
            ("../new", "ERROR 2 \"outside the folder\""),
            ("out", "ERROR 2 \"outside the folder\""),
            ("pipe", "ERROR 2 \"not a regular file\""),
            (".list", "ERROR 2 \"a reserved name\""),
        ];
        for (name, wanted) in cases {
            assert_eq!(told(&on, &wrq(name, &[])), wanted, "{uploads} {name}");
        }
        let full = told(&on, &wrq("new", &[("tsize", "999999999999999")]));
        assert_eq!(full, "ERROR 3 \"larger than an upload may be\"");
        if uploads == "overwrite" {
            assert_eq!(told(&on, &wrq("secret", &[])), "ERROR 2 \"no permission\"");
            on.log_line(&["\"secret\"", "the server may not write the file"]);
        }
        on.log_line(&["\"out\"", "a link leads outside the folder"]);
        on.log_line(&["\".list\"", "the name of the generated listing"]);
    }
    set_mode(&at("closed"), 0o755);
    set_mode(&at("dir/sub"), 0o755);
}

#[test]
fn what_is_not_there_is_logged_with_what_may_have_been_meant() {
    let root = folder(&[("SW-01.CFG", b"x"), ("sub/low.bin", b"y"), ("a\x1bb", b"z")]);
    let daemon = Daemon::serve(root.path(), &[]);
    for (asked, near) in [
        ("sw-01.cfg", Some("SW-01.CFG")),
        ("sub/LOW.BIN", Some("sub/low.bin")),
        ("tftpboot/SW-01.CFG", Some("SW-01.CFG")),
        (r"C:\SUB\low.bin", None),
        ("srv/sub/low.bin", Some("sub/low.bin")),
        ("A\x1bB", Some("a\\x1bb")),
        ("nothing-like-it", None),
    ] {
        assert_eq!(get(&daemon, asked), Err("ERROR 1 \"file not found\"".into()), "{asked}");
        let name = asked.replace('\x1b', "\\u{1b}").replace('\\', "\\\\");
        let name = if asked.contains('\x1b') { "A\\u{1b}B" } else { &*name };
        let line = daemon.log_line(&["not there", name]);
        match near {
            Some(near) => {
                let near = near.replace('\\', "\\\\");
                assert!(line.contains(&format!("but '{near}' is there")), "{asked}: {line}");
            }
            None => assert!(!line.contains("why="), "{asked}: {line}"),
        }
        assert!(!line.contains('\x1b'), "{line:?}");
    }
}

#[test]
fn a_read_of_a_directory_by_its_slash_gets_its_listing() {
    let root = folder(&[("a", b"xyz"), ("dir/b", b"x"), ("dir/below/c", b"x")]);
    let daemon = Daemon::serve(root.path(), &[]);
    let listed = |name: &str| text(&daemon, &format!("{name}.list")).expect("a listing");
    for (name, listing) in [
        ("", ""),
        ("/", ""),
        ("./", ""),
        ("dir/", "dir/"),
        ("/dir/", "dir/"),
        (r"dir\", "dir/"),
        ("dir//", "dir/"),
        ("dir/below/..", "dir/"),
        ("dir/below/", "dir/below/"),
    ] {
        assert_eq!(text(&daemon, name), Ok(listed(listing)), "{name:?}");
    }
    assert!(listed("dir/").contains(" b\n") && listed("dir/").contains(" below/\n"));
    assert_eq!(get(&daemon, "dir"), Err("ERROR 2 \"is a directory\"".into()));
    assert_eq!(get(&daemon, "a/"), Err("ERROR 1 \"file not found\"".into()));
    assert_eq!(get(&daemon, "no/"), Err("ERROR 1 \"file not found\"".into()));
    let silent = Daemon::serve(root.path(), &["--no-list"]);
    for name in ["", "/", "dir/"] {
        assert_eq!(get(&silent, name), Err("ERROR 2 \"is a directory\"".into()), "{name:?}");
    }
}

#[test]
fn a_request_that_repeats_the_path_of_the_root_finds_what_it_means() {
    let place = folder(&[("tftpboot/x", b"x"), ("tftpboot/sub/y", b"y")]);
    let root = place.path().join("tftpboot");
    symlink("tftpboot", place.path().join("link")).expect("a link");
    let daemon = Daemon::behind(&OPEN, &place.path().join("link"), &["--uploads", "overwrite"]);
    let (real, link) = (root.canonicalize().expect("a path"), place.path().join("link"));
    for own in [&real, &link] {
        let named = |name: &str| own.join(name).to_str().expect("UTF-8").to_owned();
        assert_eq!(get(&daemon, &named("x")), Ok(b"x".to_vec()));
        assert_eq!(get(&daemon, named("sub/y").trim_start_matches('/')), Ok(b"y".to_vec()));
        assert_eq!(get(&daemon, &named("sub/y").replace('/', "\\")), Ok(b"y".to_vec()));
        assert_eq!(text(&daemon, &named("sub/.list")), text(&daemon, "sub/.list"));
        assert_eq!(text(&daemon, &named("")), text(&daemon, "/"));
        for name in ["new", "x", "sub/new"] {
            let stored =
                daemon.peer().store(&wrq(named(name), &[]), own.as_os_str().as_encoded_bytes());
            assert_eq!(stored, Ok(()), "{name}");
            let bytes = std::fs::read(root.join(name)).expect("a file");
            assert_eq!(bytes, own.as_os_str().as_encoded_bytes(), "{name}");
        }
        std::fs::write(root.join("x"), "x").expect("a file");
    }
    // A file that really has the name comes first.
    let again = root.join(real.strip_prefix("/").expect("absolute"));
    std::fs::create_dir_all(&again).expect("directories");
    std::fs::write(again.join("x"), "deep").expect("a file");
    open_to_all(&root);
    let named = real.join("x");
    assert_eq!(get(&daemon, named.to_str().expect("UTF-8")), Ok(b"deep".to_vec()));
}

#[test]
fn a_root_that_is_swapped_is_served_anew() {
    let place = folder(&[("one/f", b"one"), ("two/f", b"two")]);
    let at = |name: &str| place.path().join(name);
    let point_to = |release: &str| {
        symlink(release, at("next")).expect("a link");
        std::fs::rename(at("next"), at("current")).expect("swapped");
    };
    point_to("one");
    let daemon = Daemon::behind(&OPEN, &at("current"), &["--uploads", "create"]);
    assert_eq!(get(&daemon, "f"), Ok(b"one".to_vec()));
    // A transfer goes on with what it began with.
    std::fs::write(at("one/long"), pattern(2000, 1)).expect("a file");
    open_to_all(place.path());
    let peer = daemon.peer();
    let (first, tid) = peer.answer(&rrq("long", &[]));
    point_to("two");
    assert_eq!(get(&daemon, "f"), Ok(b"two".to_vec()));
    daemon.log_line(&["INFO", "the served folder is another directory now"]);
    assert_eq!(show(&first), "DATA 1 512");
    peer.exchange(&common::ack(1), tid, "DATA 2 512");
    assert_eq!(daemon.peer().store(&wrq("new", &[]), b"new"), Ok(()));
    assert!(at("two/new").exists() && !at("one/new").exists());
    assert!(text(&daemon, "/").expect("a listing").contains(" new\n"));
}

#[test]
fn a_root_that_is_made_anew_is_served_and_while_there_is_none_that_is_told() {
    let place = folder(&[("root/f", b"old")]);
    let root = place.path().join("root");
    let mut command = Command::new(Daemon::program());
    // Its name is relative to where the server was started.
    command.current_dir(place.path()).args(["root", "--listen", "127.0.0.1:0"]);
    let daemon = Daemon::spawn(&mut command);
    assert_eq!(get(&daemon, "f"), Ok(b"old".to_vec()));
    std::fs::rename(&root, place.path().join("away")).expect("moved");
    for _ in 0..2 {
        assert_eq!(get(&daemon, "f"), Err("ERROR 0 \"the served folder cannot be opened\"".into()));
    }
    daemon.log_line(&["WARN", "the served folder cannot be opened", "No such file"]);
    let told = daemon.log().matches("WARN the served folder cannot be opened").count();
    std::fs::create_dir(&root).expect("a folder");
    std::fs::write(root.join("f"), "new").expect("a file");
    open_to_all(place.path());
    assert_eq!(get(&daemon, "f"), Ok(b"new".to_vec()));
    daemon.log_line(&["INFO", "the served folder is another directory now"]);
    assert_eq!(told, 1, "{}", daemon.log());
}

#[test]
fn a_root_that_is_mounted_over_is_served_anew() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let root = folder(&[("f", b"below"), ("go", b"")]);
    // It mounts over the folder when it is told to, beside the server.
    let script = "umask 022; (while [ -e \"$0/go\" ]; do sleep 0.05; done; mkdir \"$0/m\"; \
         mount -t tmpfs none \"$0/m\" && echo above >\"$0/m/f\" && mount --bind \"$0/m\" \"$0\") & \
         exec \"$1\" \"$0\" --listen 127.0.0.1:0";
    let mut command = Command::new(&unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", script]);
    let daemon = Daemon::spawn(command.arg(root.path()).arg(Daemon::program()));
    assert_eq!(get(&daemon, "f"), Ok(b"below".to_vec()));
    std::fs::remove_file(root.path().join("go")).expect("a file");
    until("what is mounted is served", || {
        (get(&daemon, "f") == Ok(b"above\n".to_vec())).then_some(())
    });
    daemon.log_line(&["INFO", "the served folder is another directory now"]);
}

#[test]
fn a_server_that_is_root_stores_where_everybody_may_go_and_over_what_everybody_may_reach() {
    let Some(unshare) = namespaces(&[]) else { return };
    let root = folder(&[
        ("open", b"x"),
        ("own", b"x"),
        ("fixed", b"x"),
        ("box", b"x"),
        ("dir/in", b"x"),
        ("closed/in", b"x"),
        ("closed/deep/in", b"x"),
    ]);
    let at = |name: &str| root.path().join(name);
    for (name, mode) in [("own", 0o640), ("fixed", 0o444), ("box", 0o622), ("closed", 0o750)] {
        set_mode(&at(name), mode);
    }
    for (name, to) in [("link", "closed/in"), ("to-own", "own"), ("way", "closed")] {
        symlink(to, at(name)).expect("a link");
    }
    symlink("../open", at("closed/out")).expect("a link");
    let unshare: Vec<_> = unshare.iter().map(String::as_str).chain(OPEN).collect();
    let closed = [
        "closed/in",
        "closed/new",
        "closed/deep/in",
        "closed/deep/new",
        "closed/made/new",
        "closed/out",
        "link",
        "way/in",
        "way/new",
        r"closed\new",
    ];
    let put = |daemon: &Daemon, name: &str| {
        daemon.peer().store(&wrq(name, &[]), b"new").map_err(|packet| show(&packet))
    };
    let refused = || Err("ERROR 2 \"no permission\"".to_owned());
    for (uploads, over) in
        [("create", Err("ERROR 6 \"file already exists\"".to_owned())), ("overwrite", Ok(()))]
    {
        let arguments = ["--uploads", uploads, "--create-dirs"];
        let daemon = Daemon::behind(&unshare, root.path(), &arguments);
        // The folder itself belongs to root, who runs the server, and is not for everybody to write.
        for name in ["new", "dir/new", "made/new"] {
            let name = format!("{name}-{uploads}");
            assert_eq!(put(&daemon, &name), Ok(()), "{uploads}");
            assert_eq!(put(&daemon, &name), over, "{uploads} {name}");
        }
        for name in ["open", "box", "dir/in"] {
            assert_eq!(put(&daemon, name), over, "{uploads} {name}");
        }
        for name in closed {
            assert_eq!(put(&daemon, name), refused(), "{uploads} {name}");
        }
        if uploads == "overwrite" {
            for name in ["own", "to-own", "fixed"] {
                assert_eq!(put(&daemon, name), refused(), "{name}");
            }
            daemon.log_line(&["\"own\"", "the server is root", "chmod"]);
        }
    }
    for name in ["own", "fixed", "closed/in", "closed/deep/in"] {
        assert_eq!(std::fs::read(at(name)).expect("a file"), b"x", "{name}");
    }
    assert_eq!(common::everything_in(&at("closed")), ["deep", "in", "out"]);
    assert_eq!(common::everything_in(&at("closed/deep")), ["in"]);
}

/// The kernel lets who opens a file wait for the program that has a lease on it, up to 45 seconds, or says EAGAIN where
/// that is not wanted. No test can take a lease without `unsafe`, so the first open here gets the error by injection.
#[test]
fn a_file_that_another_program_has_a_lease_on_holds_nobody_up_and_is_served_when_it_is_given_up() {
    let (root, traces) = (folder(&[("file", b"x")]), folder(&[]));
    let trace = traces.path().join("trace");
    let Some(mut command) = strace() else { return };
    command.args(["-D", "-f", "-e", "trace=openat", "-e", "inject=openat:error=EAGAIN:when=1"]);
    for descriptor in 3..100 {
        command.args(["-P", &format!("/proc/self/fd/{descriptor}")]);
    }
    command.arg("-o").arg(&trace).arg(Daemon::program()).arg(root.path());
    let daemon = Daemon::spawn(command.args(["--listen", "127.0.0.1:0", "--model", "events"]));
    let waiting = daemon.peer();
    waiting.ask(&rrq("file", &[]));
    daemon.log_line(&["WARN dropped", "\"file\"", "another program has a lease on the file"]);
    assert_eq!(get(&daemon, "file"), Ok(b"x".to_vec()));
    assert_eq!(waiting.pending(), [], "it asks again");
    let opens = until("both opens", || {
        let opens = std::fs::read_to_string(&trace).ok()?;
        (opens.lines().filter(|line| line.contains("openat")).count() == 2).then_some(opens)
    });
    assert!(opens.lines().all(|line| line.contains("O_NONBLOCK")), "{opens}");
}

/// There is no network file system here: the kernel's word for what is mounted below the folder is changed on its way.
#[test]
fn a_file_on_a_network_file_system_below_the_folder_is_read_where_that_holds_nobody_up() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    if strace().is_none() {
        return;
    }
    let nfs: [u8; 8] = 0x6969_u64.to_ne_bytes();
    let nfs: String = nfs.iter().map(|byte| format!("{byte:02x}")).collect();
    let script = "umask 022; mount -t tmpfs none \"$0/below\" && echo x >\"$0/below/f\" && \
         exec strace -D -f -o /dev/null -e trace=fstatfs -e \"$2\" \"$1\" \"$0\" --listen 127.0.0.1:0 --model events";
    // The first call is about the folder itself.
    let untold = "inject=fstatfs:delay_enter=1:when=2+".to_owned();
    for (fault, waits) in
        [(untold, false), (format!("inject=fstatfs:poke_exit=@arg2={nfs}:when=2+"), true)]
    {
        let root = folder(&[("f", b"here"), ("below/f", b"hidden")]);
        let mut command = Command::new(&unshare[0]);
        command.args(&unshare[1..]).args(["sh", "-c", script]);
        let daemon = Daemon::spawn(command.arg(root.path()).arg(Daemon::program()).arg(fault));
        assert_eq!(get(&daemon, "f"), Ok(b"here".to_vec()));
        assert_eq!(daemon.threads("storage"), 0, "the loop reads it itself");
        let read = || {
            assert_eq!(get(&daemon, "below/f"), Ok(b"x\n".to_vec()));
            daemon.threads("storage") > 0
        };
        match waits {
            true => until("a thread that waits", || read().then_some(())),
            false => assert!(!read(), "it is of this machine"),
        }
    }
}

#[test]
fn a_server_that_is_root_serves_what_everybody_may_read_and_no_more() {
    let Some(unshare) = namespaces(&[]) else { return };
    let root = folder(&[
        ("open", b"x"),
        ("own", b"x"),
        ("group", b"x"),
        ("dir/in", b"x"),
        ("closed/in", b"x"),
        ("closed/deep/in", b"x"),
        ("unlisted/in", b"x"),
    ]);
    let at = |name: &str| root.path().join(name);
    for (name, mode) in [("own", 0o600), ("group", 0o640), ("closed", 0o750), ("unlisted", 0o751)] {
        set_mode(&at(name), mode);
    }
    for (name, to) in
        [("link", "closed/in"), ("to-own", "own"), ("way", "closed"), ("fine", "/open")]
    {
        symlink(to, at(name)).expect("a link");
    }
    let unshare: Vec<_> = unshare.iter().map(String::as_str).collect();
    let daemon = Daemon::behind(&unshare, root.path(), &[]);
    for name in ["open", "dir/in", "unlisted/in", "fine", r"dir\in"] {
        assert_eq!(get(&daemon, name), Ok(b"x".to_vec()), "{name}");
    }
    let refused = Err("ERROR 2 \"no permission\"".to_owned());
    let closed = [
        "own",
        "group",
        "closed/in",
        "closed/deep/in",
        "link",
        "to-own",
        "way/in",
        "closed/.list",
        "unlisted/",
    ];
    for name in closed {
        assert_eq!(get(&daemon, name), refused, "{name}");
    }
    daemon.log_line(&["\"own\"", "the server is root", "not every user may read it"]);
    let listing = text(&daemon, "/").expect("a listing");
    let names: Vec<_> =
        listing.lines().skip(1).filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(names, ["dir/", "fine", "open"], "what can be read is listed");
}
