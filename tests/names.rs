//! Names that are rewritten before they are looked for: tftp-hpa's map files, held against tftp-hpa's own server, and
//! what firmware does to names.

#[path = "common/clients.rs"]
mod clients;
mod common;
#[path = "common/foreign.rs"]
mod foreign;
#[path = "common/programs.rs"]
mod programs;

use common::{Daemon, Peer, error_code, folder, list, listing, open_to_all, rrq, show, until, wrq};
use foreign::{as_root, in_tftpd};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use predicates::str::contains;
use programs::rtftpd;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tftpkit::client::Client;
use tftpkit::wire::Packet;

// ---- As tftp-hpa ----

/// The rules of the sample that comes with tftp-hpa.
const SAMPLE: &str = r"
# Operation, expression, replacement; what follows a hash mark is for people.
#
ri	^[a-z]:				# Remove drive letters
rg	\\		/		# Backslashes become slashes
rg	\#		@		# Hash marks become at signs
rg	/../		/..no../	# Nobody goes up
e	^ok/				# These are always fine
r	^[^/]		/tftpboot/\0	# What is not absolute
a	\.pvt$				# Private files
";

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Becomes {
    /// It is about this file.
    File(&'static str),
    /// It is refused, with these words if the rule has any.
    Refused(Option<&'static str>),
    /// It is about a file that is not there.
    Missing,
}
use Becomes::{File, Missing, Refused};

/// A name that is read, or written where it begins with `>`, and what becomes of the request.
type Asked = (&'static str, Becomes);

/// A map, and what it makes of requests by IPv4, and by IPv6.
struct Case {
    map: &'static str,
    v4: &'static [Asked],
    v6: &'static [Asked],
}

const fn case(map: &'static str, v4: &'static [Asked]) -> Case {
    Case { map, v4, v6: &[] }
}

const CASES: &[Case] = &[
    case(
        SAMPLE,
        &[
            ("abc", File("tftpboot/abc")),
            ("/abc", File("abc")),
            ("C:\\a\\b#c", File("a/b@c")),
            ("c:x.cfg", File("tftpboot/x.cfg")),
            ("x/../y", File("tftpboot/x/..no../y")),
            ("/ab/c", File("..no../c")),
            ("ok/z", File("ok/z")),
            ("ok/z.pvt", File("ok/z.pvt")),
            ("a.pvt", Refused(None)),
            ("a.pvt2", File("tftpboot/a.pvt2")),
            ("none", Missing),
            (">new.cfg", File("tftpboot/new.cfg")),
            (">C:\\ok\\new.cfg", File("..no../new.cfg")),
            (">new.pvt", Refused(None)),
        ],
    ),
    Case {
        map: "G4r ^ get4/\nG6r ^ get6/\nP4r ^ put4/\nP6r ^ put6/\nGPr ^ gp/\nPGr ^ pg/\n46r ^ none/",
        v4: &[("n", File("pg/get4/n")), (">m", File("gp/put4/m"))],
        v6: &[("n", File("pg/get6/n")), (">m", File("gp/put6/m"))],
    },
    Case {
        map: "r ^addr/(.)(.) \\2\\1-\\i-\\x\nr ^low/(.*) \\L\\1-\\x\nr ^up/(.*) \\U\\1\\Eq\\1\\L\\U\\i",
        v4: &[
            ("addr/ab", File("ba-127.0.0.1-7F000001")),
            ("addr/abc", File("ba-127.0.0.1-7F000001c")),
            ("low/A1\u{c9}", File("a1\u{c9}-7f000001")),
            ("up/a1\u{e9}", File("A1\u{e9}qa1\u{e9}127.0.0.1")),
        ],
        v6: &[
            ("addr/ab", File("ba-::1-00000000000000000000000000000001")),
            ("low/A", File("a-00000000000000000000000000000001")),
        ],
    },
    case(
        "rg a b\nr b c\nrgi Z\nre ^c END\nr . X",
        &[("aaq", File("ENDbq")), ("zqZz", File("X")), ("qb", File("Xc"))],
    ),
    case(
        "~e ^in/\nr ^in/ here/\n~a x no\\ x\\i\\ in\\#it words behind\nea ^here/(x)q \\1\\U\\1\nes xx\nr xx yy",
        &[
            ("out/a", File("out/a")),
            ("in/xz", File("here/xz")),
            ("in/xq", Refused(Some("xX"))),
            ("in/xxz", File("here/xxz")),
            (">in/xw", File("here/xw")),
        ],
    ),
    // Blanks, comments, what stands behind, and what escapes.
    case(
        " \t r \x0b ^1$ \x0c one more\r\n\tr ^2$ t\\#w\\ o\\q\\\\z#x\n#r ^3$ x\n\nr ^4#5 four\nr a\\#b hash\nr [\\ ] B\n\
         r ^\"6\"$ '\\0'\nr ^7$",
        &[
            ("1", File("one")),
            ("2", File("t#wBoq\\z")),
            ("3", File("3")),
            ("4#5", File("#5")),
            ("a#b", File("hash")),
            ("a b", File("aBb")),
            ("a\\b", File("aBb")),
            ("\"6\"", File("'\"6\"'")),
        ],
    ),
    // Regular expressions: the longest counts, and bytes are bytes.
    case(
        "r ^1(a|ab)(c|bcd)(d*)$ \\1-\\2-\\3\nr ^2(a?)(ab)? \\1-\\2-\nr ^3x|3xyz longest\nr ^4[[:alpha:]_]{2,3} <\\0>\n\
         r ^5[]a\\]+$ five\nr ^6\\<w\\w*\\>$ six\nri ^7\u{e9}[A-z]$ seven\nr ^8.$ eight\nr ^9(a|b)*$ \\1\n\
         r ^0a{,2}b+$ zero\nr ^s\\S\\s\\W$ space\nr ^(\\()(\\{)}]$ \\1\\2\nr ^e(|f)g e\\1\nr x*$ .end",
        &[
            ("1abcd", File("a-bcd-.end")),
            ("2ab", File("-ab-.end")),
            ("3xyz", File("longest.end")),
            ("4ab_c1", File("<4ab_>c1.end")),
            ("5a]\\a", File("five.end")),
            ("5a]b", File("5a]b.end")),
            ("7\u{e9}Q", File("seven.end")),
            ("7\u{c9}Q", File("7\u{c9}Q.end")),
            ("7\u{e9}_", File("7\u{e9}_.end")),
            ("8\n", File("eight.end")),
            ("9ab", File("b.end")),
            ("0aab", File("zero.end")),
            ("0aaab", File("0aaab.end")),
            ("sa -", File("space.end")),
            ("({}]", File("({.end")),
            ("efg", File("ef.end")),
        ],
    ),
    // Rules without an end; tftp-hpa repeats one with 'g' for ever.
    case("r NONE x\nrs a b\nrs b a", &[("a", Refused(None)), ("c", File("c"))]),
];

/// A server with a folder of its own.
struct Server {
    root: TempDir,
    address: SocketAddr,
    _own: Option<Daemon>,
    _theirs: Option<(Killed, TempDir)>,
}

/// A process with all its children, until this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl Server {
    fn own(host: &str, root: TempDir, map: &Path) -> Self {
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).args(["--listen", &format!("{host}:0"), "--uploads", "create"]);
        let daemon = Daemon::spawn(command.arg("--map-file").arg(map));
        Self { root, address: daemon.address, _own: Some(daemon), _theirs: None }
    }

    fn theirs(host: &str, root: TempDir, map: &Path) -> Self {
        let socket = UdpSocket::bind(format!("{host}:0")).expect("a port");
        let address = socket.local_addr().expect("an address");
        let scratch = tempfile::tempdir().expect("a folder");
        let mut command = in_tftpd(socket, scratch.path());
        command.args(["--permissive", "--map-file"]).arg(map).arg(root.path());
        let command = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = Killed(command.spawn().expect("in.tftpd"));
        until("in.tftpd answers", || {
            let ended = child.0.try_wait().expect("a child");
            assert!(ended.is_none(), "in.tftpd does not take the map: {ended:?}");
            let any = if address.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
            let client = UdpSocket::bind(any).expect("a port");
            let patience = std::time::Duration::from_millis(50);
            client.set_read_timeout(Some(patience)).expect("a time-out");
            client.send_to(&rrq("no such file", &[]), address).expect("sent");
            client.recv(&mut [0; 516]).ok()
        });
        Self { root, address, _own: None, _theirs: Some((child, scratch)) }
    }

    /// What becomes of a request: the file that was read or written, or the code and the words of an ERROR.
    fn asked(&self, name: &str) -> String {
        let told = |packet: Vec<u8>| match Packet::parse(&packet) {
            Ok(Packet::Error { code, message }) => {
                format!("ERROR {} {}", u16::from(code), String::from_utf8_lossy(message))
            }
            _ => show(&packet),
        };
        let peer = Peer::of(self.address);
        match name.strip_prefix('>') {
            None => match peer.fetch(&rrq(name, &[])) {
                Ok(bytes) => String::from_utf8(bytes).expect("a path"),
                Err(packet) => told(packet),
            },
            Some(name) => match peer.store(&wrq(name, &[]), UPLOADED) {
                Ok(()) => until("the upload is there", || uploaded(self.root.path(), "")),
                Err(packet) => told(packet),
            },
        }
    }
}

const UPLOADED: &[u8] = b"what was uploaded";

/// Where an upload is, which is taken away then.
fn uploaded(folder: &Path, within: &str) -> Option<String> {
    fs::read_dir(folder).expect("a folder").flatten().find_map(|entry| {
        let path = format!("{within}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return uploaded(&entry.path(), &format!("{path}/"));
        }
        let is_it = fs::read(entry.path()).is_ok_and(|bytes| bytes == UPLOADED);
        is_it.then(|| fs::remove_file(entry.path()).expect("it goes"))?;
        Some(path)
    })
}

/// A folder that has all files which are read, each with its path in it, and the directories of those that are written.
fn root_of(asked: &[Asked]) -> TempDir {
    let root = folder(&[]);
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for (name, becomes) in asked {
        let File(path) = becomes else { continue };
        let at = root.path().join(path);
        fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
        if !name.starts_with('>') {
            fs::write(at, path).expect("a file");
        }
    }
    open_to_all(root.path());
    root
}

fn same(seen: &str, becomes: Becomes) -> bool {
    match becomes {
        File(path) => seen == path,
        Refused(Some(words)) => seen == format!("ERROR 2 {words}"),
        // Each server has words of its own.
        Refused(None) => seen.starts_with("ERROR 2 "),
        Missing => seen.starts_with("ERROR 1 "),
    }
}

#[test]
fn a_map_file_means_what_it_means_to_tftp_hpa() {
    if !as_root(a_map_file_means_what_it_means_to_tftp_hpa) {
        return;
    }
    let mut wrong = Vec::new();
    for Case { map, v4, v6 } in CASES {
        let place = folder(&[("map", map.as_bytes())]);
        let map_file = place.path().join("map");
        for (host, asked) in [("127.0.0.1", v4), ("[::1]", v6)] {
            if asked.is_empty() {
                continue;
            }
            let theirs = Server::theirs(host, root_of(asked), &map_file);
            let own = Server::own(host, root_of(asked), &map_file);
            for (name, becomes) in *asked {
                let seen = [own.asked(name), theirs.asked(name)];
                if !seen.iter().all(|seen| same(seen, *becomes)) {
                    wrong.push(format!("{map:?}, {host}, {name:?}: ours, theirs: {seen:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Its manual says 'the very first rule'.
#[test]
fn a_rule_that_starts_over_begins_with_the_first_rule_where_tftp_hpa_begins_with_the_second() {
    if !as_root(
        a_rule_that_starts_over_begins_with_the_first_rule_where_tftp_hpa_begins_with_the_second,
    ) {
        return;
    }
    let place = folder(&[("map", b"e ^done/\nrs ^x done/x\nr ^ other/")]);
    let map = place.path().join("map");
    let root = || root_of(&[("", File("done/x")), ("", File("other/done/x"))]);
    assert_eq!(Server::own("127.0.0.1", root(), &map).asked("x"), "done/x");
    assert_eq!(Server::theirs("127.0.0.1", root(), &map).asked("x"), "other/done/x");
}

// ---- What is seen of it ----

#[test]
fn a_map_that_cannot_be_obeyed_stops_the_server_with_file_line_and_reason() {
    let root = folder(&[]);
    let bad = folder(&[("map", b"# all\nr a b\nr (a)\\1 b\n"), ("large", &vec![b'#'; 300_000])]);
    let map = bad.path().join("map").display().to_string();
    let large = bad.path().join("large").display().to_string();
    let ends = |arguments: &[&str], words: &str| {
        let ended =
            rtftpd().arg(root.path()).args(["--listen", "127.0.0.1:0"]).args(arguments).assert();
        ended.code(1).stderr(contains(words.to_owned()));
    };
    ends(&["--map-file", &map], &format!("{map}, line 3: a reference to a group"));
    ends(&["--map-file", &large], &format!("{large}, line 1: a map may have 262144 bytes at most"));
    ends(&["--map-file", "/dev/zero"], "/dev/zero, line 1: a map may have");
    ends(&["--map-file", "no/such"], "cannot read the map file 'no/such': No such file");
    ends(&["--map-rule", "q a b"], "--map-rule 'q a b', line 1: 'q' is no operation");
    ends(&["--map-rule", "# r a b"], "there is no rule in '# r a b'");
}

#[test]
fn the_rules_of_a_file_come_before_those_of_the_command_line() {
    let root = folder(&[("c", b"in order")]);
    let map = folder(&[("map", b"r a b")]);
    let map = map.path().join("map").display().to_string();
    let rules = ["--map-rule", "r b c", "--map-rule", "a a", "--map-file", &map];
    let server = Daemon::serve(root.path(), &rules);
    assert_eq!(server.peer().fetch(&rrq("a", &[])), Ok(b"in order".to_vec()));
}

#[test]
fn the_log_has_the_name_that_was_asked_and_the_one_that_was_served() {
    let files: [(&str, &[u8]); 2] = [("in/a", b"few"), ("in/Large", b"letters")];
    let root = folder(&files);
    fs::set_permissions(root.path().join("in"), fs::Permissions::from_mode(0o777)).expect("a mode");
    let rules = ["--map-rule", "e ^in/", "--map-rule", "a pvt no\\ way", "--map-rule", "r ^ in/"];
    let more = ["--uploads", "create", "--ignore-case", "--json", "-v"];
    let server = Daemon::serve(root.path(), &[&rules[..], &more].concat());
    let line = |words: &[&str]| -> serde_json::Value {
        serde_json::from_str(&server.log_line(words)).expect("an object")
    };
    let names = |line: &serde_json::Value| [line["file"].clone(), line["served"].clone()];
    let peer = server.peer();
    peer.fetch(&rrq("a", &[])).expect("a file");
    for message in ["started", "sent"] {
        assert_eq!(names(&line(&[message, "\"a\""])), ["a", "in/a"]);
    }
    peer.fetch(&rrq("in/a", &[])).expect("a file");
    assert!(line(&["sent", "\"file\":\"in/a\""]).get("served").is_none(), "it is the same name");
    peer.fetch(&rrq("LARGE", &[])).expect("a file");
    assert_eq!(names(&line(&["sent", "LARGE"])), ["LARGE", "in/Large"]);
    assert_eq!(error_code(&peer.fetch(&rrq("none", &[])).expect_err("nothing")), 1);
    assert_eq!(names(&line(&["not there"])), ["none", "in/none"]);
    peer.store(&wrq("new", &[]), b"upload").expect("it is stored");
    assert_eq!(fs::read(root.path().join("in/new")).expect("the upload"), b"upload");
    assert_eq!(names(&line(&["received"])), ["new", "in/new"]);
    assert_eq!(error_code(&peer.store(&wrq("a", &[]), b"x").expect_err("it is there")), 6);
    assert_eq!(names(&line(&["refused", "\"error\":6"])), ["a", "in/a"]);
    let told = peer.fetch(&rrq("a.pvt", &[])).expect_err("a refusal");
    assert_eq!(show(&told), "ERROR 2 \"no way\"");
    assert_eq!(
        line(&["refused", "pvt"])["why"],
        "--map-rule 'a pvt no\\ way', line 1, refuses 'a.pvt'"
    );
}

#[test]
fn a_repeat_a_list_and_a_list_by_name_are_of_the_name_that_is_served() {
    let root = folder(&[("clients/127.0.0.1/a", b"few"), ("b", b"not this")]);
    let server = Daemon::serve(root.path(), &["--map-rule", r"r ^/? clients/\i/", "-v"]);
    let entries = |name: &str| {
        let listing = listing(&Client::new(server.address), name.as_bytes()).expect("a listing");
        listing.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!([entries(""), entries("/")], [["a"], ["a"]]);
    let peer = server.peer();
    let by_name = peer.fetch(&rrq(".list", &[])).expect("a listing");
    assert!(String::from_utf8_lossy(&by_name).contains('a'));
    assert!(peer.fetch(&list("b", &[])).is_err());
    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("a", &[]));
    let (again, same) = peer.answer(&rrq("a", &[]));
    assert_eq!((first, tid), (again, same), "one session");
}

#[test]
fn what_firmware_does_to_a_name_is_undone_where_that_is_wanted() {
    let root = folder(&[("Boot/BCD", b"store"), ("C:x", b"with a drive"), ("x", b"without")]);
    let get = |server: &Daemon, name: &[u8]| server.peer().fetch(&rrq(name, &[]));
    let strict = Daemon::serve(root.path(), &[]);
    assert!(get(&strict, b"x\xff").is_err() && get(&strict, b"\\BOOT\\bcd").is_err());
    assert_eq!(get(&strict, b"C:x"), Ok(b"with a drive".to_vec()));
    let wanted = ["--strip-junk", "--strip-prefix", "C:,tftp://192.0.2.1/", "--ignore-case"];
    for model in ["threads", "events"] {
        let server = Daemon::serve(root.path(), &[&wanted[..], &["--model", model]].concat());
        for name in
            [&b"x\xff"[..], b"x\r\n", b"X\x01\xff\x7f", b"C:x", b"tftp://192.0.2.1/x", b"/x"]
        {
            assert_eq!(get(&server, name), Ok(b"without".to_vec()), "{name:?}");
        }
        assert_eq!(get(&server, b"C:\\BOOT\\bcd\xff\xff"), Ok(b"store".to_vec()));
        assert!(get(&server, b"D:x").is_err());
    }
}
