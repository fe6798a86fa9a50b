//! What is seen of the options of the page.

use crate::common::{child, folder, http};
use crate::given::{Given, Row};
use crate::rtftpd::row;
use std::path::Path;

pub(crate) const ROWS: &[Row] = &[
    row("--http", (&["127.0.0.1:0"], "[::1]:0"), ("no page", "127.0.0.1"), page),
    row("--http-name", (&["boot.example"], "other.example"), ("421", "200"), name_of_the_page),
    Row { of: &["top"], ..row("--help", (&[], ""), ("looks", "explains"), top) },
];

/// Where the page is, as a browser finds it.
fn page(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &[]);
    match server.page() {
        Some(page) => {
            assert!(http::get(page, "/").starts_with("HTTP/1.1 200 "), "{page}");
            page.ip().to_string()
        }
        None => "no page".into(),
    }
}

fn name_of_the_page(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &["--http", "0"]);
    let page = server.page().expect("a page");
    let answer = http::ask(page, "GET", "/", &["Host: boot.example"]);
    answer.split(' ').nth(1).expect("a status").into()
}

fn top(command: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = Given::default().serve(root.path(), &["--http", "0"]);
    let page = server.page().expect("a page").to_string();
    let mut asked = given.rtftpd(Path::new(command), &[]);
    if given.words.is_empty() {
        asked.arg(page);
    }
    let output = child::output(&mut asked);
    assert!(output.status.success(), "{output:?}");
    let text = child::text(&output);
    if text.contains("Usage: rtftpd top") { "explains".into() } else { "looks".into() }
}
