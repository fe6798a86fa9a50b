//! Access rules and profiles: who may do what, from where they are served, and what is different for them.

mod common;

use common::apart::in_own_network;
use common::{Daemon, Peer, child, error_code, folder, list, pattern, rrq, show, until, wrq};
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tftpkit::server::Neighbours;

/// Serves `root` with these rules, which lie in `here`.
fn ruled(here: &Path, root: &Path, rules: &str, more: &[&str]) -> Daemon {
    let file = here.join("rules.toml");
    std::fs::write(&file, rules).expect("a file");
    let file = file.display().to_string();
    Daemon::serve(root, &[&["--rules", &file], more].concat())
}

/// A client at this address of loopback.
fn at(server: &Daemon, last: [u8; 2]) -> Peer {
    Peer::at(Ipv4Addr::new(127, 8, last[0], last[1]), server.address)
}

/// The file, or the code of the ERROR.
fn read(peer: &Peer, name: &str) -> Result<String, u16> {
    let got = peer.fetch(&rrq(name, &[]));
    got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| error_code(&e))
}

fn stored(peer: &Peer, name: &str) -> Result<(), u16> {
    peer.store(&wrq(name, &[]), b"new").map_err(|packet| error_code(&packet))
}

/// Names in the generated listing.
fn listed(peer: &Peer, directory: &str) -> Result<Vec<String>, u16> {
    let text = read(peer, &format!("{directory}/.list"))?;
    let last = |line: &str| line.split_whitespace().last().map(str::to_owned);
    Ok(text.lines().filter(|line| line.starts_with(['f', 'd', '-'])).filter_map(last).collect())
}

#[test]
fn guests_hear_nothing_and_others_what_their_rule_says() {
    let root = folder(&[("f", b"all")]);
    let rules = "# Guests.\n[[rule]]\nfrom = \"127.8.1.0/24\"\naction = \"drop\"\n\n\
        [[rule]]\nfrom = [\"127.8.2.0/24\", \"127.8.3.1\"]\naction = \"deny\"\n";
    let here = folder(&[]);
    let mut server = ruled(here.path(), root.path(), rules, &[]);
    let guest = at(&server, [1, 1]);
    guest.ask(&rrq("f", &[]));
    guest.ask(&wrq("f", &[]));
    let file = here.path().join("rules.toml").display().to_string();
    server.log_line(&["WARN dropped", "operation=\"RRQ\"", &format!("{file}:2 drops it")]);
    server.log_line(&["WARN dropped", "operation=\"WRQ\"", &format!("{file}:2 drops it")]);
    for last in [[2, 9], [3, 1]] {
        let denied = at(&server, last).fetch(&rrq("f", &[])).expect_err("it is denied");
        assert_eq!(show(&denied), "ERROR 2 \"access violation\"");
    }
    server.log_line(&["WARN refused", "error=2", &format!("{file}:6 denies it")]);
    assert_eq!(read(&at(&server, [3, 2]), "f"), Ok("all".into()));
    assert_eq!(guest.pending(), [], "not a byte");
    server.signal(Signal::SIGTERM);
    assert_eq!(until("its end", || server.exit_status()), 0);
    server.log_line(&["turned away", &format!("rule=\"{file}:2\" requests=2")]);
    server.log_line(&["turned away", &format!("rule=\"{file}:6\" requests=2")]);
}

#[test]
fn reading_creating_overwriting_and_listing_are_allowed_apart() {
    let (root, here) = (folder(&[("d/f", b"old")]), folder(&[]));
    let rules = "[[rule]]\nfrom = \"127.8.0.1\"\nallow = \"read\"\n\
        [[rule]]\nfrom = \"127.8.0.2\"\nallow = \"create\"\n\
        [[rule]]\nfrom = \"127.8.0.3\"\nallow = [\"overwrite\"]\n\
        [[rule]]\nfrom = \"127.8.0.4\"\nallow = [\"create\", \"overwrite\"]\n\
        [[rule]]\nfrom = \"127.8.0.5\"\nallow = \"list\"\n";
    let server = ruled(here.path(), root.path(), rules, &[]);
    let peer = |last| at(&server, [0, last]);
    let listed = |last| {
        let got = peer(last).fetch(&list("d", &[]));
        got.map(|bytes| bytes.starts_with(b"f\0")).map_err(|packet| error_code(&packet))
    };
    let seen = |last| {
        let (old, list) = (read(&peer(last), "d/f"), listed(last));
        let (file, new) =
            (read(&peer(last), "d/.list").err(), stored(&peer(last), &format!("n{last}")));
        (old, new, stored(&peer(last), "d/f"), list, file)
    };
    let old = || Ok("old".into());
    assert_eq!(seen(1), (old(), Err(2), Err(2), Err(2), Some(1)));
    assert_eq!(seen(2), (Err(2), Ok(()), Err(6), Err(2), Some(2)));
    assert_eq!(seen(3), (Err(2), Err(2), Ok(()), Err(2), Some(2)));
    assert_eq!(seen(4), (Err(2), Ok(()), Ok(()), Err(2), Some(2)));
    // What it may not read its list does not have.
    assert_eq!(seen(5), (Err(2), Err(2), Err(2), Ok(false), Some(2)));
    // For whom no rule is, it is as without them.
    assert_eq!(seen(6), (Ok("new".into()), Err(2), Err(2), Ok(true), None));
}

#[test]
fn a_listing_has_nothing_that_a_rule_keeps_from_its_client() {
    let files = ["f", "own.key", "d/own.key", "d/f", "secret/f", "sw.cfg"];
    let files = files.map(|name| (name, &b""[..]));
    let (root, here) = (folder(&files), folder(&[]));
    let rules = "[[rule]]\nfrom = \"127.8.0.9\"\nallow = [\"read\", \"list\"]\n\
        [[rule]]\nname = \"*.key\"\naction = \"deny\"\n\
        [[rule]]\nname = \"d/f\"\naction = \"deny\"\n\
        [[rule]]\nname = \"secret/**\"\naction = \"drop\"\n\
        [[rule]]\nname = \"*.cfg\"\nallow = [\"create\", \"overwrite\"]\n\
        [[rule]]\nfrom = \"127.8.0.0/24\"\nallow = [\"read\", \"list\"]\n";
    let server = ruled(here.path(), root.path(), rules, &[]);
    let [client, friend] = [1, 9].map(|last| at(&server, [0, last]));
    let all = ["d/", "f", "own.key", "secret/", "sw.cfg"].map(str::to_owned);
    assert_eq!(listed(&client, ""), Ok(all[..2].to_vec()));
    // A rule for one file of a directory is about that file, not about one of its name in the root.
    let both = (listed(&client, "d"), client.fetch(&list("d", &[])));
    assert_eq!(both, (Ok(vec![]), Ok(b"\0".to_vec())), "a list of 'd' has what is denied there");
    let uefi = client.fetch(&list("", &[])).expect("a listing");
    let uefi = String::from_utf8_lossy(&uefi).into_owned();
    assert!(
        uefi.starts_with("d/\0") && !uefi.contains("key") && !uefi.contains("secret"),
        "{uefi}"
    );
    let json = client.fetch(&list("", &[("x-list", "json")]));
    assert!(json.is_ok_and(|json| String::from_utf8_lossy(&json).contains("\"entries\":2")));
    assert_eq!(listed(&friend, ""), Ok(all.to_vec()));
    assert_eq!(listed(&friend, "d"), Ok(vec!["f".into(), "own.key".into()]));
    assert_eq!(read(&friend, "secret/f"), Ok(String::new()));
}

#[test]
fn each_client_has_its_own_root_and_the_common_one_behind_it() {
    let here = folder(&[
        ("phones/127.8.0.1/own.cfg", b"one"),
        ("phones/7F080002/own.cfg", b"two"),
        ("phones/common.cfg", b"all"),
        ("phones/own.cfg", b"default"),
        ("backup/127.8.0.1/kept", b""),
    ]);
    let root = folder(&[("main", b"main")]);
    let rules = "[[rule]]\nfrom = \"127.8.0.0/24\"\nallow = [\"read\", \"list\", \"create\"]\n\
        root = [\"phones/{mac}\", \"phones/{ip}\", \"phones/{hexip}\", \"phones\"]\n\
        uploads-root = \"backup/{ip}\"\n";
    for create_dirs in [false, true] {
        let more = if create_dirs { &["--create-dirs"][..] } else { &[] };
        let server = ruled(here.path(), root.path(), rules, more);
        let own = [1, 2, 3].map(|last| read(&at(&server, [0, last]), "own.cfg"));
        assert_eq!(own, ["one", "two", "default"].map(|text| Ok(text.to_owned())));
        let one = at(&server, [0, 1]);
        assert_eq!(read(&one, "common.cfg"), Ok("all".into()));
        assert_eq!([read(&one, "main"), read(&one, "../7F080002/own.cfg")], [Err(1), Err(2)]);
        assert_eq!(read(&at(&server, [1, 1]), "main"), Ok("main".into()), "it has no rule");
        let name = format!("up-{create_dirs}");
        assert_eq!(stored(&one, &name), Ok(()));
        assert!(here.path().join("backup/127.8.0.1").join(&name).is_file());
        let made = if create_dirs { Ok(()) } else { Err(1) };
        assert_eq!(stored(&at(&server, [0, 2]), &name), made);
        assert_eq!(here.path().join("backup/127.8.0.2").exists(), create_dirs);
    }
    let server = ruled(here.path(), root.path(), rules, &[]);
    let names = listed(&at(&server, [0, 1]), "").expect("a listing");
    let all = ["127.8.0.1/", "7F080002/", "common.cfg", "own.cfg"];
    assert_eq!(names, all, "once each");
}

#[test]
fn a_name_that_is_closed_is_closed_however_it_is_written() {
    let root = folder(&[("keys/k", b"secret"), ("x/host.key", b"secret"), ("open", b"open")]);
    let here = folder(&[]);
    let rules = "[[rule]]\nname = [\"keys/**\", \"*.key\"]\naction = \"deny\"\n";
    let server = ruled(here.path(), root.path(), rules, &[]);
    let own = root.path().display();
    for name in [
        "keys/k",
        "/keys//k",
        "x/../keys/k",
        "keys\\k",
        "x\\..\\keys\\k",
        &format!("{own}/keys/k"),
        "x/host.key",
        "keys/.list",
        "keys/",
    ] {
        assert_eq!(read(&server.peer(), name), Err(2), "{name}");
    }
    assert_eq!(server.peer().fetch(&list("keys", &[])).map_err(|e| error_code(&e)), Err(2));
    for name in ["open", "x/../open", &format!("{own}/open")] {
        assert_eq!(read(&server.peer(), name), Ok("open".into()), "{name}");
    }
}

#[test]
fn a_name_that_is_closed_is_closed_in_any_letters_and_by_any_rule_for_names() {
    let (root, here) = (folder(&[("Keys/a.KEY", b"closed"), ("open", b"open")]), folder(&[]));
    let rules = "[[rule]]\nname = [\"*.key\", \"/closed\"]\naction = \"deny\"\n";
    let more =
        ["--ignore-case", "--map-rule", "r ^to-key$ keys/a.key", "--map-rule", "r ^closed$ open"];
    let server = ruled(here.path(), root.path(), rules, &more);
    let peer = at(&server, [1, 1]);
    for name in ["Keys/a.KEY", "KEYS/A.key", "keys\\a.Key", "to-key"] {
        assert_eq!(read(&peer, name), Err(2), "{name}");
    }
    assert_eq!(
        read(&peer, "closed"),
        Ok("open".into()),
        "what counts is the name that is looked for"
    );
    assert_eq!(read(&peer, "OPEN"), Ok("open".into()));
}

#[test]
fn one_condition_is_enough_for_a_rule_and_what_it_does_not_say_is_as_without_it() {
    let (root, here) = (folder(&[("f", b"old"), ("x.bak", b"old")]), folder(&[]));
    let rules = "[[rule]]\noperation = \"list\"\naction = \"deny\"\n\
        [[rule]]\noperation = [\"write\"]\nname = \"*.bak\"\naction = \"deny\"\n\
        [[rule]]\nmac = \"52:54:00\"\naction = \"deny\"\n\
        [[rule]]\nname = \"*.key\"\naction = \"deny\"\n\
        [[rule]]\nfrom = \"127.8.0.2\"\noperation = \"read\"\naction = \"deny\"\n\
        [[rule]]\nfrom = \"127.8.0.0/24\"\n[[rule]]\naction = \"deny\"\n";
    let server = ruled(here.path(), root.path(), rules, &["--uploads", "create"]);
    let peer = |last| at(&server, [0, last]);
    for last in [1, 2] {
        let listed = peer(last).fetch(&list("", &[])).map_err(|packet| error_code(&packet));
        assert_eq!(listed, Err(2), "of all clients");
        let new = format!("new-{last}");
        let stores = [&*new, "f", "y.bak", "y.key"].map(|name| stored(&peer(last), name));
        assert_eq!(stores, [Ok(()), Err(6), Err(2), Err(2)], "as the server takes uploads");
    }
    let old = || Ok("old".to_owned());
    assert_eq!(["f", "x.bak"].map(|name| read(&peer(1), name)), [old(), old()]);
    assert_eq!(["f", "x.bak"].map(|name| read(&peer(2), name)), [Err(2), Err(2)]);
    assert_eq!(read(&at(&server, [1, 1]), "f"), Err(2), "the last rule is for all others");
}

#[test]
fn links_lead_where_the_rule_says() {
    let (here, root) = (folder(&[("shared/f", b"shared"), ("other/f", b"other")]), folder(&[]));
    let path = here.path().canonicalize().expect("a path");
    for name in ["shared", "other"] {
        symlink(path.join(name), root.path().join(name)).expect("a link");
    }
    let rules = "[[rule]]\nfrom = \"127.8.0.1\"\nlinks-to = \"shared\"\n";
    let other = here.path().join("other").display().to_string();
    let server = ruled(here.path(), root.path(), rules, &["--links-to", &other]);
    let seen = |last| ["shared/f", "other/f"].map(|name| read(&at(&server, [0, last]), name));
    assert_eq!(seen(1), [Ok("shared".into()), Err(2)]);
    assert_eq!(seen(2), [Err(2), Ok("other".into())]);
}

#[test]
fn profiles_lower_and_leave_out_what_is_granted() {
    let (root, here) = (folder(&[("f", &pattern(2000, 1))]), folder(&[]));
    let rules = "[[profile]]\nname = \"old\"\nleave-out = \"tsize\"\nmax-blksize = 1024\nmax-timeout = 3\n\
        [[profile]]\nname = \"step\"\nlock-step = true\n\
        [[rule]]\nfrom = \"127.8.0.1\"\nprofile = \"old\"\n\
        [[rule]]\nfrom = \"127.8.0.2\"\nprofile = [\"old\", \"step\"]\n\
        [[rule]]\nfrom = \"127.8.0.3\"\nprofile = \"no-options\"\n\
        [[rule]]\nfrom = \"127.8.0.4\"\nprofile = \"raspberry-pi\"\n";
    let server = ruled(here.path(), root.path(), rules, &["--max-blksize-of", "127.8.0.4=600"]);
    let granted = |last, timeout: &str| {
        let options =
            [("blksize", "1428"), ("tsize", "0"), ("timeout", timeout), ("windowsize", "4")];
        show(&at(&server, [0, last]).answer(&rrq("f", &options)).0)
    };
    assert_eq!(granted(1, "3"), "OACK blksize=1024 timeout=3 windowsize=4");
    assert_eq!(granted(1, "4"), "OACK blksize=1024 windowsize=4");
    assert_eq!(granted(2, "3"), "OACK blksize=1024 timeout=3");
    assert_eq!(granted(3, "3"), "DATA 1 512");
    assert_eq!(granted(4, "3"), "OACK blksize=600 tsize=2000 timeout=3 windowsize=4");
    assert_eq!(granted(5, "4"), "OACK blksize=1428 tsize=2000 timeout=4 windowsize=4");
}

#[test]
fn a_file_is_sent_at_the_pace_of_its_profile() {
    let bytes = pattern(8192, 1);
    let (root, here) = (folder(&[("f", &bytes)]), folder(&[]));
    let rules = "[[profile]]\nname = \"slow\"\npace = \"8K\"\n[[rule]]\nfrom = \"127.8.0.1\"\nprofile = \"slow\"\n";
    let server = ruled(here.path(), root.path(), rules, &[]);
    let begun = Instant::now();
    assert!(at(&server, [0, 1]).fetch(&rrq("f", &[])).expect("a download") == bytes);
    // Sixteen blocks, the first of which leaves at once, and one that is empty.
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
}

#[test]
fn a_file_that_makes_no_sense_is_refused_with_its_line() {
    let (root, here) = (folder(&[]), folder(&[]));
    let file = here.path().join("rules.toml");
    let told = |rules: &str| {
        std::fs::write(&file, rules).expect("a file");
        let mut command = Command::new(Daemon::program());
        command.arg(root.path()).arg("--rules").arg(&file).args(["--listen", "127.0.0.1:0"]);
        let output = child::output(&mut command);
        assert_eq!(output.status.code(), Some(1), "{rules}");
        String::from_utf8_lossy(&output.stderr).replace(&file.display().to_string(), "FILE")
    };
    let one = "\n[[rule]]\nfrom = \"192.0.2.1\"\n";
    for (rules, why) in [
        ("form = \"192.0.2.1\"", "line 4: there is no key 'form'; 'from' may be meant"),
        ("from = \"192.0.2.0/33\"", "line 4: '192.0.2.0/33': write an address, or a network"),
        ("from = []", "line 4: the list is empty: leave the key out"),
        ("from = 5", "line 4: invalid type: integer `5`, expected a text in quotes, or a list of"),
        ("mac = \"52:5\"", "line 4: '52:5': a hardware address is"),
        ("name = \"a[\"", "line 4: 'a[': "),
        ("action = \"refuse\"", "line 4: 'refuse': it is one of serve, deny, drop"),
        ("allow = \"write\"", "line 4: 'write': it is one of read, create, overwrite, list"),
        ("root = \"{macc}\"", "line 4: '{macc}': there is no {macc}: what there is is"),
        ("root = \"missing\"", "line 3: cannot serve '"),
        ("links-to = \"missing\"", "line 3: cannot lead links to '"),
        ("profile = \"grubb\"", "line 3: there is no profile 'grubb'; 'grub' may be meant"),
        ("action = \"deny\"\nroot = \".\"", "line 3: a rule that serves nothing has no 'root'"),
        ("uploads-root = \".\"", "line 3: 'uploads-root' without uploads"),
        (
            "action = \"drop\"\nallow = \"read\"",
            "line 3: a rule that serves nothing has no 'allow'",
        ),
        (
            "action = \"deny\"\nuploads-root = \".\"",
            "line 3: a rule that serves nothing has no 'up",
        ),
        (
            "action = \"deny\"\nlinks-to = \".\"",
            "line 3: a rule that serves nothing has no 'links-to",
        ),
        (
            "action = \"deny\"\nprofile = \"grub\"",
            "line 3: a rule that serves nothing has no 'prof",
        ),
        ("[[profile]]\nlock-step = true", "line 4: a profile has a name: name = \"phones\""),
        (
            "[[profile]]\nname = \"a\"\n[[profile]]\nname = \"a\"",
            "line 6: there are two profiles 'a'",
        ),
        (one, "line 5: it is never reached, for the rule in line 3 is for all"),
        ("[[profile]]\nname = \"grub\"", "line 4: 'grub' is the name of a profile"),
        ("[[profile]]\nname = \"a\"\npace = 1023", "line 6: write a number of bytes in a second"),
        ("[[profile]]\nname = \"a\"\nmax-blksize = 7", "line 6: write a whole number from 8"),
        (
            "[[profile]]\nname = \"a\"\npatience = true",
            "line 6: invalid type: boolean `true`, expected a number,",
        ),
        ("[[profil]]", "line 4: there is no key 'profil'; 'profile' may be meant"),
        ("[x", "line 4: "),
    ] {
        let said = told(&format!("# One.\n\n[[rule]]\n{rules}\n"));
        assert!(said.starts_with(&format!("rtftpd: FILE, {why}")), "{said}");
    }
    assert!(told("[rule]\n").contains("line 1: write the heads of tables in two brackets"));
    std::fs::remove_file(&file).expect("it was there");
    let mut command = Command::new(Daemon::program());
    let output = child::output(command.arg(root.path()).arg("--rules").arg(&file));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read the rules '"));
}

/// A link to another machine, and what the kernel is told of who is there.
const LINK: &str = "ip link set lo up && ip link add near type veth peer name far \
    && ip address add 192.0.2.1/24 dev near && ip -6 address add 2001:db8::1/64 dev near nodad \
    && ip link set near up && ip link set far up \
    && ip neigh replace 192.0.2.7 lladdr 52:54:00:12:34:07 nud permanent dev near \
    && ip -6 neigh replace 2001:db8::7 lladdr 52:54:00:12:34:67 nud permanent dev near \
    && ip neigh replace 198.51.100.7 lladdr 52:54:00:12:34:07 nud permanent dev near \
    && ip route add 198.51.100.0/24 via 192.0.2.7";

/// A client on that link that fetches `f` over IPv4 and over IPv6.
fn on_the_link(port: u16) -> String {
    let rtftp = env!("CARGO_BIN_EXE_rtftp");
    let script = format!(
        "read _ && ip link set far address 52:54:00:ab:cd:ef && ip address add 192.0.2.9/24 dev far \
         && ip -6 address add 2001:db8::9/64 dev far nodad && ip link set far up \
         && {rtftp} get --quiet --output - 192.0.2.1:{port}/f \
         && exec {rtftp} get --quiet --output - '[2001:db8::1]:{port}/f'"
    );
    let mut client = Command::new("unshare");
    let client = client.args(["--net", "sh", "-c", &script]).stdin(Stdio::piped());
    let piped = client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = piped.spawn().expect("a client");
    until("it has a network of its own", || {
        let [own, its] = ["self".into(), client.id().to_string()]
            .map(|id| std::fs::read_link(format!("/proc/{id}/ns/net")).expect("a network"));
        (own != its).then_some(())
    });
    let mut mv = Command::new("ip");
    let moved = mv.args(["link", "set", "far", "netns", &client.id().to_string()]).status();
    assert!(moved.expect("ip").success());
    client.stdin.take().expect("a pipe").write_all(b"go\n").expect("it waits");
    let output = child::said_within(common::DEADLINE, client).expect("it ends");
    assert!(output.status.success(), "{}", child::text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn clients_are_known_by_their_cards_over_ipv4_and_ipv6() {
    if !in_own_network(clients_are_known_by_their_cards_over_ipv4_and_ipv6, LINK) {
        return;
    }
    let neighbours = Neighbours::open().expect("a way to the kernel");
    let of = |client: &str| {
        let client: SocketAddr = client.parse().expect("an address");
        neighbours.address_of(&client).map(|mac| mac.to_string())
    };
    for _ in 0..2 {
        assert_eq!(of("192.0.2.7:7").as_deref(), Some("52:54:00:12:34:07"));
        assert_eq!(of("[2001:db8::7]:7").as_deref(), Some("52:54:00:12:34:67"));
        assert_eq!(of("192.0.2.8:7"), None, "nobody is there");
        assert_eq!(of("198.51.100.7:7"), None, "the card of a router is not the client's");
        assert_eq!(of("192.0.2.1:7"), None, "it is this machine");
    }
    // Another machine may have the address from now on.
    let other = ["neigh", "replace", "192.0.2.7", "lladdr", "52:54:00:12:34:08", "dev", "near"];
    let replaced = child::output(Command::new("ip").args(other).args(["nud", "permanent"]));
    assert!(replaced.status.success(), "{}", child::text(&replaced));
    until("the card that has the address of another one now", || {
        (of("192.0.2.7:7").as_deref() == Some("52:54:00:12:34:08")).then_some(())
    });
    let files: &[(&str, &[u8])] = &[("cards/01-52-54-00-ab-cd-ef/f", b"own"), ("cards/f", b"all")];
    let (here, root): (TempDir, TempDir) = (folder(files), folder(&[("f", b"main")]));
    let rules =
        "[[rule]]\nmac = \"52:54:00:ab\"\nroot = \"cards/{mac}\"\n[[rule]]\naction = \"deny\"\n";
    let file = here.path().join("rules.toml");
    std::fs::write(&file, rules).expect("a file");
    let mut command = Command::new(Daemon::program());
    command.arg(root.path()).args(["--listen", "[::]:0", "--rules"]).arg(&file);
    let server = Daemon::spawn(&mut command);
    assert_eq!(on_the_link(server.address.port()), "ownown");
    let here = Peer::of((Ipv4Addr::LOCALHOST, server.address.port()).into());
    assert_eq!(read(&here, "f"), Err(2), "loopback has no cards");
}
