//! The picture of the menu is one of a real session, at a terminal, with a real server:
//! `TFTPKIT_WRITE=1 cargo test --test picture` draws it anew.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::{Daemon, folder};
use programs::on_a_terminal;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Relative to the package.
const PICTURE: &str = "packaging/docs/menu.svg";

/// Columns of the terminal.
const COLUMNS: usize = 80;
/// Pixels of a letter, and from line to line.
const LETTER: (usize, usize) = (9, 20);
/// Pixels around all of it.
const MARGIN: usize = 16;

/// What a terminal shows in the end that was sent `text`: letters, and the few orders that a line editor and a progress bar
/// give.
fn screen(text: &str) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let line = lines.last_mut().expect("a line");
        match letter {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                assert_eq!(letters.next(), Some('['), "an order that nobody knows here");
                let mut order = String::new();
                while !order.ends_with(|letter: char| letter.is_ascii_alphabetic()) {
                    order.push(letters.next().expect("the end of an order"));
                }
                match order.split_at(order.len() - 1) {
                    ("", "K") => line.truncate(column),
                    ("2", "K") => line.clear(),
                    (count, "C") => column += count.parse::<usize>().unwrap_or(1),
                    // Modes and colours.
                    (_, "h" | "l" | "m") => {}
                    other => panic!("an order that nobody knows here: {other:?}"),
                }
            }
            letter => {
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = letter;
                column += 1;
            }
        }
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(text).collect()
}

fn svg(lines: &[String]) -> String {
    let (width, height) = (COLUMNS * LETTER.0 + 2 * MARGIN, lines.len() * LETTER.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title>The menu of rtftp at a terminal</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" \
         fill=\"#d7dae0\">\n"
    );
    for (n, line) in lines.iter().enumerate() {
        let y = MARGIN + (n + 1) * LETTER.1 - 6;
        // Blanks that follow one another are one in a picture, unless they are of this kind.
        let escaped =
            |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}");
        // What was typed stands out from what was said.
        let told = match line.split_once("> ").filter(|(prompt, _)| prompt.starts_with("rtftp")) {
            Some((prompt, typed)) => format!(
                "<tspan fill=\"#7f8794\">{}&gt;\u{a0}</tspan><tspan fill=\"#8fd18f\" font-weight=\"bold\">{}</tspan>",
                escaped(prompt),
                escaped(typed)
            ),
            None => escaped(line),
        };
        let _ = writeln!(out, "<text x=\"{MARGIN}\" y=\"{y}\">{told}</text>");
    }
    out + "</g>\n</svg>\n"
}

/// Copies a folder whose files are all of one moment.
fn copy(from: &Path, to: &Path, moment: SystemTime) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &to, moment),
            false => {
                fs::copy(entry.path(), &to).expect("a copy");
                let file = File::options().write(true).open(&to).expect("the copy");
                file.set_modified(moment).expect("a time");
            }
        }
    }
    File::open(to).expect("the directory").set_modified(moment).expect("a time");
}

#[test]
fn the_picture_of_the_menu_is_one_of_a_real_session() {
    let (root, here) = (folder(&[]), folder(&[]));
    let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_855_000);
    copy(&clone.join("fixtures/library"), root.path(), moment);
    common::open_to_all(root.path());
    let server = Daemon::serve(root.path(), &[]);
    let remote = server.address.to_string();
    let program = env!("CARGO_BIN_EXE_rtftp");
    let command = format!("stty cols {COLUMNS} && TZ=UTC exec {program} {remote}");
    let told = on_a_terminal(here.path(), &command, &["list\r", "3\r", "1\r", "quit\r"]);
    let mut lines = screen(&told.replace(&remote, "127.0.0.1:6969"));
    lines.retain(|line| !line.is_empty());
    lines.insert(0, "$ rtftp 127.0.0.1:6969".into());
    assert_eq!(lines.last().map(String::as_str), Some("rtftp firmware/> quit"), "{lines:#?}");
    let drawn = svg(&lines);
    let path = clone.join(PICTURE);
    if std::env::var_os("TFTPKIT_WRITE").is_some() {
        fs::write(&path, &drawn).expect("written");
    }
    // It takes another time each time.
    let same = |svg: &str| -> Vec<String> {
        svg.lines()
            .map(|line| line.split("\u{a0}in\u{a0}0.").next().unwrap_or_default().to_owned())
            .collect()
    };
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(same(&there), same(&drawn), "TFTPKIT_WRITE=1 cargo test --test picture");
    let head = concat!("rtftp\u{a0}", env!("CARGO_PKG_VERSION"), ":\u{a0}127.0.0.1:6969");
    assert!(there.contains(head), "it is of this version");
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("]({PICTURE})")), "the README shows it");
}
