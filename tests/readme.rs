//! What the README tells people to type is typed here.

mod common;
#[path = "common/example.rs"]
mod example;
#[path = "common/pages.rs"]
mod pages;
#[path = "common/programs.rs"]
mod programs;

use common::{DEADLINE, Daemon, Peer, child, error_code, folder, http, rrq, until, wrq};
use example::{Serving, example};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");

fn blocks(language: &str) -> Vec<&'static str> {
    pages::blocks(README, language)
}

/// All command lines of the README.
fn commands() -> Vec<&'static str> {
    pages::commands(README)
}

/// The command in which these words stand.
#[track_caller]
fn command(words: &str) -> &'static str {
    commands().into_iter().find(|line| line.contains(words)).expect(words)
}

fn clone() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Replaces ports, the folder of the clone and what differs from machine to machine.
fn normal(banner: &str, port: u16) -> String {
    let differs =
        |line: &str| ["from afar", "  try ", "  user "].iter().any(|it| line.contains(it));
    let lines = banner.lines().filter(|line| !differs(line));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let folder = clone().canonicalize().expect("the clone").display().to_string();
    text.replace(&port.to_string(), "PORT").replace(&folder, "CLONE")
}

#[test]
fn no_command_is_left_out_here() {
    let known = [
        "cargo run --release -- fixtures/library --listen 6969",
        "tests/run",
        "cargo deb",
        "sudo apt install ./target/debian/rtftpd_*.deb",
        "echo RTFTPD_HTTP=8069 | sudo tee --append /etc/default/rtftpd",
        "sudo systemctl enable --now rtftpd.socket rtftpd",
        "rtftpd top",
        "rtftpd /srv/tftp",
        "rtftpd /srv/tftp --rules /etc/rtftpd/rules.toml --create-dirs",
        "rtftpd check",
        "rtftpd explain --from 192.0.2.7 pxelinux.0 blksize=1428",
        "rtftpd reload",
        "rtftpd /srv/tftp --http 8069",
        "rtftpd top",
        "rtftp list 127.0.0.1:6969",
        "rtftp get 127.0.0.1:6969 firmware/blink.bin",
        "rtftp get tftp://127.0.0.1:6969/welcome.txt -o -",
        "rtftp put sw-01.cfg 127.0.0.1:6969",
        "rtftp put --wait --interval 0.5 --max-time 5min sw-01.cfg 127.0.0.1:6969",
        "rtftp put --timeout 20 --retries 10 sw-01.cfg 127.0.0.1:6969",
        "rtftp bench 127.0.0.1:6969 firmware/blink.bin --clients 100 --no-options",
        "cargo run --example serve -- fixtures/library 6969",
        "cargo run --example fetch -- 127.0.0.1:6969 welcome.txt -",
        "cargo run --example generated -- 6969",
        "cargo run --example by_hand",
    ];
    assert_eq!(commands(), known);
}

#[test]
fn links_and_pictures_are_there() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let links = links.map(|(link, _)| link.split('#').next().unwrap_or_default());
    let gone: Vec<_> =
        links.filter(|link| !link.contains("://") && !clone().join(link).exists()).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_first_command_serves_the_library_and_shows_what_the_readme_shows() {
    let words: Vec<_> = commands()[0].split(' ').collect();
    assert_eq!(words[..4], ["cargo", "run", "--release", "--"], "the default program is rtftpd");
    assert!(include_str!("../Cargo.toml").contains("default-run = \"rtftpd\""));
    let mut server = Command::new(Daemon::program());
    server.current_dir(clone()).args(words[4..].iter().map(|word| word.replace("6969", "0")));
    let server = Daemon::spawn(&mut server);
    let shown = blocks("text")[0].replace("/home/you/rtftp", "CLONE");
    let shown: String = shown.lines().map(|line| format!("{line}\n")).collect();
    assert_eq!(normal(&server.banner(), server.address.port()), normal(&shown, 6969));
}

#[test]
fn the_second_command_is_what_ci_runs() {
    for script in
        ["tests/run", "tests/setup", "tests/mutants", "tests/package", ".ci/run", ".ci/elsewhere"]
    {
        let mode = clone().join(script).metadata().expect("the script").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} can be run");
    }
    let ci = std::fs::read_to_string(clone().join(".ci/run")).expect("the script");
    assert!(ci.contains("tests/run"));
}

/// `tests/package` makes it and installs it where nothing else is.
#[test]
fn the_package_has_what_the_readme_starts() {
    let manifest = include_str!("../Cargo.toml");
    let named = manifest.contains("[package.metadata.deb]\nname = \"rtftpd\"\n");
    assert!(
        named && manifest.contains("[\"packaging/systemd/*.socket\", \"usr/lib/systemd/system/\"")
    );
    for unit in ["rtftpd.socket", "rtftpd.service"] {
        let path = clone().join("packaging/systemd").join(unit);
        assert!(path.is_file(), "{unit}");
    }
    let unit = include_str!("../packaging/systemd/rtftpd.service");
    assert!(unit.contains("RTFTPD_ROOT=/srv/tftp") && unit.contains("/etc/default/rtftpd"));
    let settings = include_str!("../packaging/deb/default");
    let help = child::output(Command::new(Daemon::program()).arg("--help"));
    let help = child::text(&help);
    let names = settings.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    assert_eq!(names, ["RTFTPD_ROOT", "RTFTPD_UPLOADS", "RTFTPD_RULES", "RTFTPD_HTTP"]);
    assert!(names.iter().all(|name| help.contains(&format!("[env: {name}="))));
}

#[test]
fn serving_a_folder_is_one_command() {
    let root = folder(&[]);
    let line = command("rtftpd /srv/tftp").replace("/srv/tftp", &root.path().display().to_string());
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("rtftpd"));
    // The address comes from the environment, for port 69 may be taken.
    let mut server = Command::new(Daemon::program());
    Daemon::spawn(server.args(words).env("RTFTPD_LISTEN", "127.0.0.1:0"));
}

#[test]
fn the_server_is_watched_by_two_commands() {
    let root = folder(&[("vmlinuz", b"few")]);
    let line = command("--http").replace("/srv/tftp", &root.path().display().to_string());
    // Any port that is free will do.
    let line = line.replace(" 8069", " 0");
    let mut server = Command::new(Daemon::program());
    let server = server.args(line.split(' ').skip(1)).env("RTFTPD_LISTEN", "127.0.0.1:0");
    let server = Daemon::spawn(server);
    server.peer().fetch(&rrq("vmlinuz", &[])).expect("a file");
    let page = server.page().expect("a page");
    for path in ["/", "/status.json", "/metrics"] {
        http::body(&http::get(page, path));
    }
    let mut top = Command::new(Daemon::program());
    top.args(command("rtftpd top").split(' ').skip(1)).env("RTFTPD_HTTP", page.to_string());
    let shown = child::text(&child::output(&mut top));
    assert!(shown.contains("vmlinuz"), "{shown}");
}

/// On loopback, where there are no cards: phones have a network here.
#[test]
fn the_rules_are_those_of_a_site() {
    let here = folder(&[
        ("tftp/boot", b"boot"),
        ("phones/phone.cfg", b"phone"),
        ("backup/kept", b""),
        ("etc/rtftpd/kept", b""),
    ]);
    let path = here.path().display().to_string();
    let cards = "mac = [\"00:04:f2\", \"64:16:7f\"]";
    let rules = blocks("toml")[0];
    assert!(rules.contains(cards) && rules.matches('\n').count() <= 32);
    let rules =
        rules.replace("/srv/", &format!("{path}/")).replace(cards, "from = \"127.3.0.0/24\"");
    let rules = rules.replace("192.0.2.", "127.2.0.").replace("198.51.100.", "127.4.0.");
    std::fs::write(here.path().join("etc/rtftpd/rules.toml"), rules).expect("a file");
    let line = command("--rules")
        .replace("/srv/", &format!("{path}/"))
        .replace("/etc", &format!("{path}/etc"));
    let mut server = Command::new(Daemon::program());
    let server = server.args(line.split(' ').skip(1)).env("RTFTPD_LISTEN", "127.0.0.1:0");
    let server = Daemon::spawn(server);
    let at = |ip: [u8; 4]| Peer::at(ip, server.address);
    let read = |ip, name| {
        let got = at(ip).fetch(&rrq(name, &[]));
        got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| error_code(&e))
    };
    let write =
        |ip, name| at(ip).store(&wrq(name, &[]), b"config").map_err(|packet| error_code(&packet));
    let (guest, phone, switch, host) =
        ([127, 4, 0, 1], [127, 3, 0, 1], [127, 2, 0, 5], [127, 2, 0, 99]);
    let peer = at(guest);
    peer.ask(&rrq("boot", &[]));
    until("it is dropped", || server.logged(&["dropped", "rules.toml:2 drops it"]));
    assert_eq!([read(phone, "phone.cfg"), read(phone, "boot")], [Ok("phone".into()), Err(1)]);
    assert_eq!([write(phone, "a.cfg"), write(switch, "a.cfg")], [Err(2), Ok(())]);
    assert_eq!(
        [write(switch, "a.cfg"), write(switch, "a.bin"), write(host, "a.cfg")],
        [Ok(()), Err(2), Err(2)]
    );
    assert!(here.path().join("backup/127.2.0.5/a.cfg").is_file());
    assert_eq!(
        [read(switch, "boot"), read(host, "boot")],
        [const { Ok(()) }; 2].map(|ok| ok.map(|()| "boot".into()))
    );
    assert_eq!([read(host, "a.cfg"), read([127, 5, 0, 1], "boot")], [Err(1), Err(2)]);
    assert_eq!(peer.pending(), [], "guests hear nothing");
}

#[test]
fn the_configuration_serves_and_is_checked_explained_and_read_again() {
    let here = folder(&[("tftp/pxelinux.0", b"boot")]);
    let path = here.path().display().to_string();
    let text = blocks("toml")[1].replace("/srv/", &format!("{path}/"));
    let file = here.path().join("rtftpd.toml");
    std::fs::write(&file, text.replace("/run/", &format!("{path}/"))).expect("a file");
    let mut server = Command::new(Daemon::program());
    let variables =
        [("RTFTPD_CONFIG", &*file.display().to_string()), ("RTFTPD_LISTEN", "127.0.0.1:0")];
    let server = Daemon::spawn(server.envs(variables));
    let run = |line: &str| {
        let mut run = programs::rtftpd();
        let run = run.args(line.split(' ').skip(1)).env("RTFTPD_CONFIG", &file).assert().success();
        String::from_utf8_lossy(&run.get_output().stdout).into_owned()
    };
    assert!(run(command("rtftpd check")).contains("\nmax-blksize = 1428"));
    let explained = run(command("rtftpd explain"));
    assert!(explained.contains("pxelinux.0, 4 bytes\n  answer   OACK blksize=1428\n"));
    run(command("rtftpd reload"));
    server.log_line(&["read the configuration again"]);
}

#[test]
fn the_clients_commands_work() {
    let (root, here) = (folder(&[]), folder(&[("sw-01.cfg", b"hostname sw-01\n")]));
    for name in ["firmware/blink.bin", "welcome.txt"] {
        let to = root.path().join(name);
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        std::fs::copy(clone().join("fixtures/library").join(name), to).expect("a copy");
    }
    let server = Daemon::serve(root.path(), &["--uploads", "overwrite"]);
    for line in commands().iter().filter(|line| line.starts_with("rtftp ")) {
        let line = line.replace("127.0.0.1:6969", &server.address.to_string());
        let words = line.split(' ').skip(1);
        // Ten seconds of load show no more than a hundred downloads.
        let few = line.starts_with("rtftp bench").then_some("--count=100");
        programs::rtftp(here.path()).args(words.chain(few)).assert().success();
    }
    let same = |a: &Path, b: &Path| assert_eq!(std::fs::read(a).ok(), std::fs::read(b).ok());
    same(&here.path().join("blink.bin"), &root.path().join("firmware/blink.bin"));
    same(&here.path().join("sw-01.cfg"), &root.path().join("sw-01.cfg"));
}

#[test]
fn the_lines_for_scripts_are_those_of_the_readme() {
    let here = folder(&[]);
    let server = Daemon::serve(&clone().join("fixtures/library"), &[]);
    let remote = server.address.to_string();
    let get = ["get", &remote, "welcome.txt", "missing", "--json"];
    let got = programs::rtftp(here.path()).args(get).assert().code(4);
    let text = String::from_utf8_lossy(&got.get_output().stdout).replace(&remote, "127.0.0.1:6969");
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let (told, mut shown) = (lines(&text), lines(blocks("json")[0]));
    assert_eq!(told.len(), shown.len());
    for (told, shown) in told.iter().zip(&mut shown) {
        // These differ from run to run.
        for field in ["seconds", "packets", "retransmitted"] {
            assert!(shown[field].is_number() && told[field].is_number(), "{told}");
            shown[field] = told[field].clone();
        }
        assert_eq!(told, shown);
    }
}

/// All behind the head of the file is shown.
#[test]
fn the_code_is_that_of_the_examples() {
    let code = |example: &str| {
        let text = std::fs::read_to_string(clone().join("examples").join(example));
        let text = text.expect("an example");
        text[text.find("\nuse ").expect("its first line of code") + 1..].to_owned()
    };
    assert_eq!(blocks("rust"), [code("serve.rs"), code("fetch.rs")]);
}

#[test]
fn the_examples_commands_work() {
    // Cargo has built them with this test.
    let words = |name: &str| -> Vec<String> {
        let start = format!("cargo run --example {name}");
        let found = commands().into_iter().find_map(|line| line.strip_prefix(&start));
        let line = found.expect("a command").trim_start_matches(" -- ");
        line.split_whitespace().map(str::to_owned).collect()
    };
    let serving = |name: &str| {
        let words: Vec<_> = words(name).into_iter().map(|word| word.replace("6969", "0")).collect();
        Serving::start(name, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let run = |name: &str, words: &[String]| {
        let run = assert_cmd::Command::new(example(name)).args(words).timeout(DEADLINE).assert();
        run.success().get_output().stdout.clone()
    };
    let server = serving("serve");
    let address = server.address.to_string();
    let words_of_fetch = words("fetch").into_iter();
    let fetch: Vec<_> = words_of_fetch.map(|w| w.replace("127.0.0.1:6969", &address)).collect();
    let welcome = std::fs::read(clone().join("fixtures/library/welcome.txt")).expect("a fixture");
    assert_eq!(run("fetch", &fetch), welcome);
    server.says("RRQ \"welcome.txt\"");
    server.stop();
    serving("generated").stop();
    assert!(!run("by_hand", &words("by_hand")).is_empty());
}

/// What stands in backquotes and has a slash or an ending is a file, if it is no word of Rust or of a shell.
#[test]
fn the_files_that_contributing_names_exist() {
    let text = include_str!("../CONTRIBUTING.md");
    let spans = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let is_path = |span: &&str| {
        let ending =
            ["rs", "md", "toml", "txt"].iter().any(|end| span.ends_with(&format!(".{end}")));
        (ending || span.contains('/')) && !span.contains([' ', '<', '"'])
    };
    let paths: Vec<_> = spans.filter(is_path).collect();
    assert!(paths.len() > 30, "{paths:?}");
    let gone: Vec<_> = paths.into_iter().filter(|path| !clone().join(path).exists()).collect();
    assert_eq!(gone, Vec::<&str>::new());
}
