//! What the pages for operators tell people to type is typed here, and what devices ask is asked, on a machine that is the
//! one of the pages: its addresses, its port 69, its `/srv` and its `/etc`.

mod common;
#[path = "docs/dhcp.rs"]
mod dhcp;
#[path = "common/pages.rs"]
mod pages;
#[path = "common/programs.rs"]
mod programs;

use common::apart::{in_own, path};
use common::{DEADLINE, Daemon, Peer, child, error_code, open_to_all, rrq, wrq};
use pages::{Part, blocks, parts, table};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pages, and what is in `/srv/tftp` when a reader begins with one.
const PAGES: [(&str, &[&str]); 6] = [
    ("README.md", &["welcome.txt", "firmware/blink.bin"]),
    (
        "pxe.md",
        &[
            "undionly.kpxe",
            "ipxe.efi",
            "boot.ipxe",
            "rescue.ipxe",
            "ldlinux.c32",
            "pxelinux.cfg/default",
            "boot/grub/grub.cfg",
            "Boot/BCD",
        ],
    ),
    (
        "devices.md",
        &[
            "firmware.bin",
            "c2960-lanbase.bin",
            "network-confg",
            "router-confg",
            "sw-01.cfg",
            "SEP00112233AABB.cnf.xml",
            "XMLDefault.cnf.xml",
            "jinstall-ex.tgz",
            "ex-01.conf",
            "YA_16_11.swi",
            "ArubaOS-CX.swi",
            "5130.ipe",
            "000000000000.cfg",
        ],
    ),
    ("u-boot.md", &["Image", "boards/board.dtb", "pxelinux.cfg/default"]),
    ("recovery.md", &["tp_recovery.bin"]),
    ("migration.md", &["clients/192.0.2.10/phone.cfg", "firmware.bin"]),
];

/// What is in the folder where commands are typed.
const HERE: [&str; 3] = ["sw-01.cfg", "Image", "factory.bin"];

/// What `rtftpd` does beside serving.
const COMMANDS: [&str; 3] = [" check ", " explain ", " reload "];

/// Who asks, unless a request says so.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// What waits for a file at this address is, like most such loaders, no client.
const DEVICE: &str = "192.168.1.1";

/// Whoever `tftp` is on this machine, here it is who may do everything, for nobody else may be there to become.
const MACHINE: &str = "ip link set lo up && \
    ip link add eth1 type veth peer name far1 && ip link set eth1 up && ip link set far1 up && \
    for own in 192.0.2.10 198.51.100.7 198.51.100.8 192.168.0.86 192.168.1.1; do ip addr add $own/32 dev lo; done && \
    ip addr add 192.0.2.1/24 dev eth1 && \
    mount -t tmpfs -o mode=755 none /srv && mount -t tmpfs -o mode=755 none /etc && \
    printf '%s:x:0:0::/:/bin/sh\\n' root tftp nobody >/etc/passwd && printf '%s:x:0:\\n' root tftp dip >/etc/group && \
    umask 022";

fn page(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/docs")
}

/// A request as pages write it: `RRQ NAME [OPTION=VALUE]... [from ADDRESS][: ERROR CODE]`.
struct Asked<'a> {
    writes: bool,
    name: &'a str,
    options: Vec<(&'a str, &'a str)>,
    from: Ipv4Addr,
    error: Option<u16>,
}

impl<'a> Asked<'a> {
    fn parse(span: &'a str) -> Option<Self> {
        let (request, error) = match span.split_once(": ERROR ") {
            Some((request, code)) => (request, Some(code.parse().expect("a code"))),
            None => (span, None),
        };
        let mut words = request.split_whitespace();
        let writes = match words.next()? {
            "RRQ" => false,
            "WRQ" => true,
            _ => return None,
        };
        let name = words.next().expect("a name");
        let mut asked = Self { writes, name, options: Vec::new(), from: CLIENT, error };
        while let Some(word) = words.next() {
            match word.split_once('=') {
                Some(option) => asked.options.push(option),
                None if word == "from" => {
                    asked.from = words.next().and_then(|own| own.parse().ok()).expect("an address");
                }
                None => panic!("'{word}' in '{span}'"),
            }
        }
        Some(asked)
    }
}

/// The machine of the pages, as a reader of one page leaves it.
struct Machine {
    server: Option<Daemon>,
    here: PathBuf,
    /// Files that the page has, and that no command has read so far.
    unread: Vec<String>,
    /// The names that were asked for, and what came at last.
    asked: BTreeMap<String, String>,
}

impl Machine {
    fn new(files: &[&str]) -> Self {
        let here = PathBuf::from("/srv/here");
        let all = files.iter().map(|name| Path::new("/srv/tftp").join(name));
        for path in all.chain(HERE.map(|name| here.join(name))) {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(&path, format!("this is {}\n", path.display())).expect("a file");
        }
        fs::write("/srv/tftp/secret.key", "secret").expect("a file");
        open_to_all(Path::new("/srv"));
        shell(&here, "chmod o-r /srv/tftp/secret.key");
        Self { server: None, here, unread: Vec::new(), asked: BTreeMap::new() }
    }

    fn follow(&mut self, page: &str) {
        for part in parts(page) {
            match part {
                Part::Span(span) => self.ask(span),
                Part::Block("sh", text) => {
                    text.lines().filter(|line| !line.is_empty()).for_each(|line| self.run(line));
                }
                Part::Block("toml" | "map" | "dnsmasq" | "bash", text) => self.write(text),
                // What is typed at a device.
                Part::Block("ios" | "uboot", _) => {}
                Part::Block(other, text) => panic!("what is to be done with {other}:\n{text}"),
            }
        }
        assert_eq!(self.unread, Vec::<String>::new(), "no command reads these files");
    }

    /// Files have their names in their first lines.
    fn write(&mut self, text: &str) {
        let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a name");
        fs::create_dir_all(Path::new(name).parent().expect("a parent")).expect("a directory");
        fs::write(name, text).expect("a file");
        self.unread.push(name.to_owned());
    }

    fn run(&mut self, line: &str) {
        self.unread.retain(|name| !line.contains(name.as_str()));
        match line.split_whitespace().next().expect("a command") {
            // Beside a server.
            "rtftpd" if COMMANDS.iter().any(|command| line.contains(command)) => {
                shell(&self.here, line);
            }
            "rtftpd" => {
                // There is one port 69.
                self.server = None;
                let mut server = Command::new("sh");
                server.args(["-c", &format!("exec {line}")]).env("PATH", programs());
                self.server = Some(Daemon::spawn(server.current_dir(&self.here)));
            }
            "rtftp" if line.contains(DEVICE) => self.send_to_the_device(line),
            "rtftp" | "dnsmasq" | "chmod" | "chown" | "cp" | "git" | "ip" | "mkdir" => {
                shell(&self.here, line);
            }
            other => panic!("is it safe to run {other}? {line}"),
        }
    }

    /// A device that is waited for comes when it is asked already.
    fn send_to_the_device(&mut self, line: &str) {
        self.server = None;
        let taken = tempfile::tempdir().expect("a folder");
        let start_device = || {
            let mut device = Command::new(Daemon::program());
            device.arg(taken.path()).args(["--uploads", "overwrite", "--listen"]);
            Daemon::spawn(device.arg(format!("{DEVICE}:69")))
        };
        let early = (!line.contains("--wait")).then(start_device);
        let mut rtftp = Command::new("sh");
        rtftp.args(["-c", &format!("exec {line}")]).env("PATH", programs());
        let rtftp = child::started(rtftp.current_dir(&self.here));
        let _device = early.unwrap_or_else(start_device);
        let done = child::said_within(DEADLINE, rtftp).expect("it ends");
        assert!(done.status.success(), "{line}: {}", child::text(&done));
        let names: Vec<_> = HERE.into_iter().filter(|name| line.contains(name)).collect();
        let bytes = |folder: &Path, name| fs::read(folder.join(name)).expect("a file");
        assert_eq!(names.len(), 1, "{line}");
        assert_eq!(bytes(taken.path(), names[0]), bytes(&self.here, names[0]), "{line}");
    }

    fn ask(&mut self, span: &str) {
        let span = &span.split_whitespace().collect::<Vec<_>>().join(" ");
        let Some(asked) = Asked::parse(span) else { return };
        assert!(self.server.is_some(), "nobody serves yet: {span}");
        // The server has an address in each network.
        let [a, b, c, _] = asked.from.octets();
        let server = match [a, b, c] {
            [192, 168, 0] => Ipv4Addr::new(192, 168, 0, 66),
            _ => Ipv4Addr::new(192, 0, 2, 1),
        };
        let peer = Peer::at(asked.from, SocketAddr::from((server, 69)));
        let done = if asked.writes {
            let stored = peer.store(&wrq(asked.name, &asked.options), b"from a device\n");
            stored.map(|()| String::new())
        } else {
            let got = peer.fetch(&rrq(asked.name, &asked.options));
            got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let name = asked.name.trim_start_matches('/').to_owned();
        self.asked.insert(name, done.as_ref().cloned().unwrap_or_default());
        let told = done.map_err(|packet| error_code(&packet)).err();
        assert_eq!(told, asked.error, "{span}");
    }
}

/// Where `rtftpd` and `rtftp` are, before all others.
fn programs() -> String {
    let folder = Daemon::program().parent().expect("a folder").display().to_string();
    format!("{folder}:{}", path())
}

#[track_caller]
fn shell(here: &Path, line: &str) {
    let mut sh = Command::new("sh");
    let done = child::output(sh.args(["-c", line]).current_dir(here).env("PATH", programs()));
    assert!(done.status.success(), "{line}: {}", child::text(&done));
}

fn followed(name: &str) -> Machine {
    let (_, files) = PAGES.into_iter().find(|(page, _)| *page == name).expect("a page");
    let mut machine = Machine::new(files);
    machine.follow(&page(name));
    machine
}

#[test]
fn no_page_is_left_out_here_and_all_are_in_the_index() {
    let there = fs::read_dir(folder()).expect("a folder").flatten();
    let there = there.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let there: BTreeSet<_> = there.filter(|name| name.ends_with(".md")).collect();
    assert_eq!(there, PAGES.iter().map(|(name, _)| (*name).to_owned()).collect());
    let index = page("README.md");
    let missing = there.iter().filter(|name| !index.contains(&format!("]({name})")));
    assert_eq!(missing.collect::<Vec<_>>(), ["README.md"]);
}

#[test]
fn links_lead_somewhere() {
    for (name, _) in PAGES {
        let text = page(name);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let gone: Vec<_> = links
            .map(|(link, _)| link.split('#').next().unwrap_or_default())
            .filter(|link| !link.contains("://") && !folder().join(link).exists())
            .collect();
        assert_eq!(gone, Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn what_the_log_says_is_what_the_page_says() {
    if !in_own(&["--net", "--mount"], what_the_log_says_is_what_the_page_says, MACHINE) {
        return;
    }
    let text = page("README.md");
    let (head, _) = text.split_once("\n*`lost`").expect("what comes behind the table");
    let (_, files) = PAGES[0];
    let mut machine = Machine::new(files);
    machine.follow(head);
    let server = machine.server.take().expect("a server");
    let rows = table(&text, "## It does not work");
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        for part in parts(row[0]) {
            let Part::Span(words) = part else { panic!("{row:?}") };
            server.log_line(&[words]);
        }
    }
    drop(server);
    // And the rest of the page.
    machine.follow(&text[head.len()..]);
}

#[test]
fn machines_boot_by_the_page() {
    if !in_own(&["--net", "--mount"], machines_boot_by_the_page, MACHINE) {
        return;
    }
    let machine = followed("pxe.md");
    // What dnsmasq tells a machine to fetch is fetched on the page.
    let told = blocks(&page("pxe.md"), "dnsmasq").concat();
    for name in ["boot.ipxe", "undionly.kpxe", "ipxe.efi"] {
        assert!(told.contains(&format!(",{name},")) && machine.asked.contains_key(name), "{name}");
    }
    assert!(!told.contains("enable-tftp"));
    let got = ["boot.ipxe", "undionly.kpxe"].map(|name| machine.asked[name].as_str());
    assert_eq!(got, ["this is /srv/tftp/rescue.ipxe\n", "this is /srv/tftp/undionly.kpxe\n"]);
}

/// What each firmware is to read: BIOS, UEFI on x86-64 by both its numbers, on ARM64, and iPXE on two of them.
const BOOTS: ([dhcp::Firmware; 6], [&str; 6]) = (
    [(0, false), (7, false), (9, false), (11, false), (0, true), (7, true)],
    ["undionly.kpxe", "ipxe.efi", "ipxe.efi", "ipxe-arm64.efi", "boot.ipxe", "boot.ipxe"],
);

fn boots_by(config: usize) {
    let text = page("pxe.md");
    let text = blocks(&text, "dnsmasq")[config];
    let path = format!("/etc/{config}.conf");
    fs::write(&path, text).expect("a file");
    let told = dhcp::told(&path, &BOOTS.0);
    let server = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(told, BOOTS.1.map(|name| (name.to_owned(), server)));
}

#[test]
fn dnsmasq_tells_each_firmware_its_file_beside_another_server() {
    let test = dnsmasq_tells_each_firmware_its_file_beside_another_server;
    if in_own(&["--net", "--mount"], test, MACHINE) {
        boots_by(0);
    }
}

#[test]
fn dnsmasq_tells_each_firmware_its_file_with_its_address() {
    let test = dnsmasq_tells_each_firmware_its_file_with_its_address;
    if in_own(&["--net", "--mount"], test, MACHINE) {
        boots_by(1);
    }
}

#[test]
fn devices_read_and_write_by_the_page() {
    if !in_own(&["--net", "--mount"], devices_read_and_write_by_the_page, MACHINE) {
        return;
    }
    let (mut machine, text) = (followed("devices.md"), page("devices.md"));
    // What is typed at a device names the file that is then asked for.
    let rows = text.lines().filter(|line| line.starts_with("| `copy")).collect::<Vec<_>>();
    assert!(rows.len() > 3);
    for row in rows {
        let cells: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let name = cells[1].split_whitespace().nth(1).expect("a name").trim_start_matches('/');
        assert!(cells[0].contains(name) && machine.asked.contains_key(name), "{row}");
    }
    let shell = |line| shell(Path::new("/srv"), line);
    shell("cd backup/192.0.2.10 && ls sw-01.cfg sw-04.cfg vlan.txt");
    shell("ls phones/*.8/*-app.log archive/sw-01.cfg.~1~ archive/192.0.2.10/sw-01-2*-1.cfg");
    shell("cd configs.git && for it in index HEAD $(git symbolic-ref HEAD); do >$it.lock; done");
    machine.ask("WRQ sw-05.cfg");
    shell("! ls archive/sw-02.cfg && cd configs.git && git show HEAD:sw-03.cfg HEAD:sw-05.cfg");
}

#[test]
fn boards_load_and_save_by_the_page() {
    if !in_own(&["--net", "--mount"], boards_load_and_save_by_the_page, MACHINE) {
        return;
    }
    let machine = followed("u-boot.md");
    let typed = blocks(&page("u-boot.md"), "uboot").concat();
    for line in typed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["tftpboot", _, name] | ["tftpput", _, _, name] => {
                assert!(machine.asked.contains_key(name), "{line}");
            }
            ["setenv", "serverip", server] => assert_eq!(server, "192.0.2.1"),
            ["setenv", ..] | ["booti", ..] | ["tftpsrv", _] => {}
            _ => panic!("what does it ask? {line}"),
        }
    }
}

#[test]
fn routers_are_recovered_by_the_page() {
    if in_own(&["--net", "--mount"], routers_are_recovered_by_the_page, MACHINE) {
        followed("recovery.md");
    }
}

#[test]
fn a_server_is_replaced_by_the_page() {
    if !in_own(&["--net", "--mount"], a_server_is_replaced_by_the_page, MACHINE) {
        return;
    }
    let machine = followed("migration.md");
    let got = ["cfg/phone.cfg", r"C:\firmware.bin"].map(|name| machine.asked[name].as_str());
    let names = ["clients/192.0.2.10/phone.cfg", "firmware.bin"];
    assert_eq!(got, names.map(|name| format!("this is /srv/tftp/{name}\n")));
}

#[test]
fn a_release_is_made_by_commands_that_there_are() {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(clone.join("packaging/release.md")).expect("the page");
    let manifest = fs::read_to_string(clone.join("Cargo.toml")).expect("the manifest");
    let commands = pages::commands(&text);
    assert!(commands.len() > 10, "{commands:?}");
    for line in commands {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["TFTPKIT_WRITE=1", "cargo", "test", "--bins", "packaged"] => {}
            ["TFTPKIT_WRITE=1", "cargo", "test", "--test", test] => {
                assert!(clone.join(format!("tests/{test}.rs")).is_file(), "{line}");
            }
            ["cargo", rust, ..] if rust.starts_with('+') => {
                let promised = format!("rust-version = \"{}\"\n", &rust[1..]);
                assert!(manifest.contains(&promised), "{line}");
                // It is the one of the container, too.
                let recipe = fs::read_to_string(clone.join("packaging/docker/Dockerfile"));
                let from = format!("FROM rust:{}-slim", &rust[1..]);
                assert!(recipe.expect("a recipe").contains(&from), "{from}");
            }
            ["cargo", "update" | "bench" | "publish" | "deb" | "build", ..] => {}
            ["git", "tag", "--sign", version] => {
                assert_eq!(version, concat!("v", env!("CARGO_PKG_VERSION")));
            }
            ["git", "push", "--follow-tags"] => {}
            [script, ..] => assert!(clone.join(script).is_file(), "{line}"),
            [] => {}
        }
    }
}

/// The options in the first column of this table, and what stands in the second one.
fn counterparts(heading: &str) -> (BTreeSet<String>, Vec<String>) {
    let text = page("migration.md");
    let rows = table(&text, heading);
    assert!(rows.len() > 8, "{heading}: {rows:?}");
    let spans = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let (mut left, mut right) = (BTreeSet::new(), Vec::new());
    for row in rows {
        assert!(row.len() == 3 && !row[1].is_empty(), "{row:?}");
        for option in spans(row[0]).into_iter().filter(|span| span.starts_with('-')) {
            assert!(left.insert(option), "twice: {row:?}");
        }
        right.extend(spans(row[1]).into_iter().filter(|span| span.starts_with("--")));
        right.extend(spans(row[2]).into_iter().filter(|span| span.starts_with("--")));
    }
    (left, right)
}

#[test]
fn each_counterpart_is_an_option_of_rtftpd() {
    let text = page("migration.md");
    let headings: Vec<_> = text.lines().filter(|line| line.starts_with("## From ")).collect();
    assert_eq!(headings.len(), 5);
    let mut seen = 0;
    for heading in headings {
        for words in counterparts(heading).1 {
            // What is wrong with them is told before the help.
            let mut rtftpd = Command::new(Daemon::program());
            let words = shlex::split(&words).expect("words");
            let known = rtftpd.arg("/srv").args(&words).arg("--help");
            let known = child::output(known);
            // An option that is named without its value takes the help for it.
            let is_named = words.len() == 1 && {
                let text = child::text(&known);
                text.contains("a value is required for")
                    && text.contains(&format!("'{} ", words[0]))
            };
            assert!(known.status.success() || is_named, "{heading}: {words:?}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

fn words_of_help(line: &str) -> BTreeSet<String> {
    let help = child::output(Command::new("sh").args(["-c", line]).env("PATH", programs()));
    child::text(&help).split([' ', ',', '\n']).map(str::to_owned).collect()
}

#[test]
fn options_in_prose_are_there() {
    let all = words_of_help("rtftpd --help; rtftp put --help");
    for (name, _) in PAGES.into_iter().filter(|(name, _)| *name != "migration.md") {
        for part in parts(&page(name)) {
            let Part::Span(words) = part else { continue };
            let option = words.split_whitespace().next().filter(|word| word.starts_with("--"));
            assert!(option.is_none_or(|option| all.contains(option)), "{name}: {words}");
        }
    }
}

/// Nobody takes one of the same name for it that is another, or overlooks it.
#[test]
fn an_option_of_the_same_name_is_named() {
    let (ours, text) = (words_of_help("rtftpd --help"), page("migration.md"));
    let mut seen = 0;
    for row in text.lines().filter(|line| line.starts_with("| `-")) {
        let (left, right) = row[1..].split_once('|').expect("cells");
        let options = left.split('`').filter(|word| word.starts_with("--") && ours.contains(*word));
        for option in options {
            assert!(right.contains(option), "rtftpd has {option}, too: {row}");
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

/// What `in.tftpd` takes, of all that it could: it has no help, but says what it does not know.
fn options_of_in_tftpd() -> BTreeSet<String> {
    let told = |option: &str| {
        // Whatever it makes of this option, the last one ends it before it serves.
        let mut tftpd = Command::new("in.tftpd");
        tftpd.args([option, "1", "-V"]).env("PATH", path()).env("LC_ALL", "C");
        let done = child::output(&mut tftpd);
        child::text(&done)
    };
    let mut known = BTreeSet::new();
    let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    for letter in letters {
        if !told(&format!("-{letter}")).contains("invalid option") {
            known.insert(format!("-{letter}"));
        }
        // One that has several ends is told with all of them.
        let text = told(&format!("--{letter}"));
        if text.contains("is ambiguous") {
            let all = text.split('\'').filter(|word| word.starts_with("--") && word.len() > 3);
            known.extend(all.map(str::to_owned));
        } else if !text.contains(&format!("unrecognized option '--{letter}'")) {
            known.insert(format!("--{letter}"));
        }
    }
    known
}

#[test]
fn no_option_of_tftp_hpa_is_left_out() {
    let (ours, _) = counterparts("## From tftp-hpa");
    let theirs = options_of_in_tftpd();
    assert!(theirs.len() > 20, "{theirs:?}");
    let is_short = |option: &&String| option.len() == 3 && option.starts_with("--");
    // Where one option begins with a letter, only that is known of it.
    for option in theirs.iter().filter(is_short) {
        let fits = ours.iter().filter(|own| own.starts_with(option.as_str())).count();
        assert_eq!(fits, 1, "{option}: {ours:?}");
    }
    let whole: BTreeSet<_> = theirs.iter().filter(|option| !is_short(option)).cloned().collect();
    let missing: Vec<_> = whole.difference(&ours).collect();
    assert_eq!(missing, Vec::<&String>::new());
    let invented = ours.iter().filter(|own| {
        let letter = own.chars().take(3).collect::<String>();
        !whole.contains(*own) && !theirs.contains(&letter)
    });
    assert_eq!(invented.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn no_tftp_option_of_dnsmasq_is_left_out() {
    let mut dnsmasq = Command::new("dnsmasq");
    let told = child::output(dnsmasq.arg("--help").env("PATH", path()));
    let text = child::text(&told);
    let words = text.split_whitespace().filter(|word| word.starts_with("--"));
    let names = words.filter_map(|word| word.split(['[', '=']).next());
    let theirs: BTreeSet<_> =
        names.filter(|name| name.contains("tftp")).map(str::to_owned).collect();
    assert!(theirs.len() > 8, "{text}");
    assert_eq!(counterparts("## From dnsmasq").0, theirs);
}

/// It cannot be installed beside tftp-hpa: these are from the help of atftpd 0.8.0.
#[test]
fn no_option_of_atftpd_is_left_out() {
    let theirs = "-t --tftpd-timeout -r --retry-timeout -m --maxthread -v --verbose --trace --no-timeout --no-tsize \
        --no-blksize --no-windowsize --no-multicast --logfile --pidfile --listen-local --daemon --no-fork --prevent-sas \
        --user --group --port --bind-address --mcast-ttl --mcast-addr --mcast-port --pcre --pcre-test --mtftp \
        --mtftp-port --no-source-port-checking --mcast-switch-client -V --version -h --help";
    let theirs: BTreeSet<_> = theirs.split_whitespace().map(str::to_owned).collect();
    assert_eq!(counterparts("## From atftpd").0, theirs);
}
