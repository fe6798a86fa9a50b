//! What is seen of the options of the commands of `rtftpd`.

use crate::common::child;
use crate::given::{Given, Row};
use crate::rtftpd::{asked_about_itself, row};
use std::path::Path;

pub(crate) const ROWS: &[Row] = &[
    row("--help", (&[], ""), ("serves", "explains"), asked_about_itself),
    Row { of: &["check"], ..row("--help", (&[], ""), ("looks", "explains"), what_a_command_says) },
];

/// What a command says of the folder that it is started in.
fn what_a_command_says(command: &str, given: &Given) -> String {
    let mut asked = given.rtftpd(Path::new(command), &[]);
    if given.words.is_empty() {
        asked.arg("/");
    }
    let output = child::output(&mut asked);
    assert!(output.status.success(), "{output:?}");
    let text = child::text(&output);
    let usage = format!("Usage: rtftpd {command}");
    if text.contains(&usage) { "explains".into() } else { "looks".into() }
}
