//! What is seen of the options that say what `rtftpd` reads, and of those of its commands.

use crate::common::{Daemon, child, folder};
use crate::given::{Given, Row};
use crate::rtftpd::{asked_about_itself, read_of, row, two_thousand};
use std::process::Output;

pub(crate) const ROWS: &[Row] = &[
    row("--help", (&[], ""), ("serves", "explains"), asked_about_itself),
    Row {
        of: &["check", "explain", "reload"],
        ..row("--help", (&[], ""), ("does", "explains"), help)
    },
    row("--config", (&["deny.toml"], "serve.toml"), ("2000 bytes", "error 2"), config),
    row("--pid-file", (&["a.pid"], "b.pid"), ("none", "a.pid"), pid_file),
    of_explain("--root", (&["served"], "other"), ("wrong usage", "OACK tsize=3"), root),
    of_explain("--from", (&["192.0.2.7"], "192.0.2.8"), ("wrong usage", "192.0.2.7:49152"), client),
    of_explain("--to", (&["192.0.2.1"], "192.0.2.2"), ("127.0.0.1", "192.0.2.1"), local),
    of_explain("--mac", (&["52:54:00:12:34:56"], "52:54:01:12:34:56"), (SERVED, DENIED), answer),
    of_explain("--write", (&[], ""), (SERVED, DENIED), answer),
    of_explain("--list", (&[], ""), ("RRQ", "LIST"), operation),
    of_explain("--mode", (&["netascii"], "mail"), ("octet", "netascii"), mode),
    of_explain("--json", (&[], ""), ("words", "an object"), form),
];

const fn of_explain(
    option: &'static str,
    values: (&'static [&'static str], &'static str),
    seen: (&'static str, &'static str),
    see: fn(&str, &Given) -> String,
) -> Row {
    Row { of: &["explain"], ..row(option, values, seen, see) }
}

const SERVED: &str = "OACK tsize=3";
const DENIED: &str = "ERROR 2 \"access violation\"";

/// What a command says beside these files.
fn said(command: &str, given: &Given, more: &[&str]) -> Output {
    let rules = b"[[rule]]\nmac = \"52:54:00\"\naction = \"deny\"\n[[rule]]\nallow = [\"read\", \"list\"]\n";
    let here = folder(&[("served/f", b"few"), ("other/g", b""), ("rules.toml", rules)]);
    let mut asked = given.rtftpd(command.as_ref(), more);
    child::output(asked.current_dir(here.path()))
}

/// The words behind a label of what is explained.
fn word(output: &Output, label: &str) -> String {
    if output.status.code() == Some(2) {
        return "wrong usage".into();
    }
    let text = child::text(output);
    let found = text.lines().find_map(|line| line.trim().strip_prefix(label));
    found.unwrap_or_else(|| panic!("no {label} in {text}")).trim().into()
}

const FROM: [&str; 2] = ["--from", "192.0.2.7"];
const ROOT: [&str; 2] = ["--root", "served"];
const RULES: [&str; 2] = ["--rules", "rules.toml"];
const FILE: [&str; 2] = ["f", "tsize=0"];

fn explained(command: &str, given: &Given) -> Output {
    said(command, given, &[&FROM[..], &ROOT, &RULES, &FILE].concat())
}

fn help(command: &str, given: &Given) -> String {
    let text = child::text(&said(command, given, &[]));
    let usage = format!("Usage: rtftpd {command}");
    if text.contains(&usage) && text.contains("Exit status:") {
        "explains".into()
    } else {
        "does".into()
    }
}

fn config(_: &str, given: &Given) -> String {
    let rules: [(&str, &[u8]); 2] =
        [("deny.toml", b"[[rule]]\naction = \"deny\"\n"), ("serve.toml", b"[[rule]]\n")];
    read_of(given, folder(&rules).path(), two_thousand().path())
}

fn pid_file(_: &str, given: &Given) -> String {
    let (root, here) = (two_thousand(), folder(&[]));
    let mut command = given.rtftpd(root.path(), &["--listen", "127.0.0.1:0"]);
    let server = Daemon::spawn(command.current_dir(here.path()));
    let found = crate::common::everything_in(here.path());
    let is_its = |name: &String| {
        let text = std::fs::read_to_string(here.path().join(name));
        text.is_ok_and(|text| text.trim() == server.pid())
    };
    found.into_iter().find(is_its).unwrap_or_else(|| "none".into())
}

fn root(command: &str, given: &Given) -> String {
    word(&said(command, given, &[&FROM[..], &FILE].concat()), "answer")
}

fn client(command: &str, given: &Given) -> String {
    let output = said(command, given, &[&ROOT[..], &FILE].concat());
    let request = word(&output, "RRQ");
    let client = request.split("from ").nth(1).and_then(|rest| rest.split(' ').next());
    client.unwrap_or(&request).into()
}

fn local(command: &str, given: &Given) -> String {
    let request = word(&explained(command, given), "RRQ");
    request.rsplit(' ').next().unwrap_or_default().into()
}

fn answer(command: &str, given: &Given) -> String {
    word(&explained(command, given), "answer")
}

fn operation(command: &str, given: &Given) -> String {
    let text = child::text(&explained(command, given));
    text.split(' ').next().unwrap_or_default().into()
}

fn mode(command: &str, given: &Given) -> String {
    let request = word(&explained(command, given), "RRQ");
    request.split(' ').nth(1).unwrap_or_default().into()
}

fn form(command: &str, given: &Given) -> String {
    let text = String::from_utf8(explained(command, given).stdout).expect("UTF-8");
    let object = serde_json::from_str::<serde_json::Value>(&text).is_ok();
    if object { "an object".into() } else { "words".into() }
}
