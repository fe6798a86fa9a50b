//! Pages in Markdown, as far as a test types what is on them.
#![allow(dead_code)] // Each test program uses a part of it.

/// What is on a page beside prose, in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    /// A fenced block: its language, and what is in it.
    Block(&'a str, &'a str),
    /// Words in backquotes.
    Span(&'a str),
}

/// What is on this page.
pub(crate) fn parts(page: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    // Every other piece is within fences.
    for (n, piece) in page.split("```").enumerate() {
        match piece.split_once('\n') {
            Some((language, text)) if n % 2 == 1 => found.push(Part::Block(language, text)),
            _ => found.extend(piece.split('`').skip(1).step_by(2).map(Part::Span)),
        }
    }
    found
}

/// Its blocks of one language.
pub(crate) fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let of_it = |part| match part {
        Part::Block(of, text) if of == language => Some(text),
        _ => None,
    };
    parts(page).into_iter().filter_map(of_it).collect()
}

/// Its command lines.
pub(crate) fn commands(page: &str) -> Vec<&str> {
    let blocks = blocks(page, "sh").into_iter();
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect()
}

/// The rows of the table below this heading, without its head, cell by cell.
pub(crate) fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = page.lines().skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with("## "));
    let rows = section.filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}
