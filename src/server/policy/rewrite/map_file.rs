//! Map files, as tftp-hpa has them (`in.tftpd --map-file`).

use super::pattern::{Groups, Pattern, is_space};
use super::template::Template;
use crate::limits;
use crate::query::Query;
use crate::wire::Operation;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What is wrong with a map, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct MapError {
    place: Place,
    why: String,
}

/// A line of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    map: Arc<str>,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.map, self.line)
    }
}

/// One rule of a map.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    place: Place,
    pattern: Pattern,
    /// What the match is replaced by.
    replacement: Option<Template>,
    /// What a client is told that the rule refuses.
    refusal: Option<Template>,
    /// Whether either of them names a group.
    names_groups: bool,
    /// Whether it is repeated until it matches no more.
    repeats: bool,
    /// Whether it is for names that do not match.
    is_inverted: bool,
    ends: bool,
    starts_over: bool,
    reads: bool,
    writes: bool,
    v4: bool,
    v6: bool,
}

/// What a map makes of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    Name(Vec<u8>),
    /// A rule refuses the request, with these words for the client, where it has any.
    Refused {
        by: Place,
        name: Vec<u8>,
        text: Vec<u8>,
    },
    /// The rules have no end with this name; this one was the last that applied.
    Endless {
        at: Place,
    },
    /// The name is longer than it may be.
    TooLong,
}

/// Reads a map of this name, and adds its rules to those that there are.
pub(super) fn parse(map: &str, text: &[u8], rules: &mut Vec<Rule>) -> Result<(), MapError> {
    let map = Arc::from(map);
    let place = |line| Place { map: Arc::clone(&map), line };
    let wrong = |line, why| MapError { place: place(line), why };
    if text.len() > limits::MAP_FILE_BYTES {
        return Err(wrong(1, format!("a map may have {} bytes at most", limits::MAP_FILE_BYTES)));
    }
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        rules.extend(Rule::parse(place(line), text).map_err(|why| wrong(line, why))?);
        if rules.len() > limits::MAP_RULES {
            return Err(wrong(line, format!("there may be {} rules at most", limits::MAP_RULES)));
        }
    }
    Ok(())
}

/// Takes the next word. A comment begins at a `#`; a backslash takes a blank or a `#` into the word, and stays.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let start = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
    let text = &rest[start..];
    let (mut end, mut is_escaped) = (text.len(), false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            byte if is_space(*byte) || *byte == b'#' => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    *rest = if text.get(end) == Some(&b'#') { &[] } else { &text[end..] };
    &text[..end]
}

impl Rule {
    /// Reads a line, which may have none.
    fn parse(place: Place, text: &[u8]) -> Result<Option<Self>, String> {
        if text.contains(&0) {
            return Err("a NUL is in it".into());
        }
        let mut rest = text;
        let [operations, pattern, replacement] = [(); 3].map(|()| word(&mut rest));
        if operations.is_empty() {
            return Ok(None);
        }
        if let Some(other) = operations.iter().find(|letter| !b"rgieasGP46~".contains(letter)) {
            let other = other.escape_ascii();
            return Err(format!(
                "'{other}' is no operation: write r, g, i, e, s, a, G, P, 4, 6 and ~, as in 'rg'"
            ));
        }
        let has = |letter| operations.contains(&letter);
        if has(b'~') && has(b'r') {
            return Err(
                "'r' cannot be together with '~': nothing has matched that it could replace".into(),
            );
        }
        if pattern.is_empty() {
            return Err("there is no regular expression behind the operation".into());
        }
        let is_cut = replacement.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        if is_cut {
            return Err(
                "a backslash ends the line: write \\\\ for one, and the rule in one line".into()
            );
        }
        // Of both the last counts; of both families neither does.
        let side = operations.iter().rfind(|letter| matches!(letter, b'G' | b'P'));
        let template = Template::parse(replacement);
        Ok(Some(Self {
            place,
            pattern: Pattern::new(pattern, has(b'i'))?,
            replacement: has(b'r').then(|| template.clone()),
            refusal: has(b'a').then(|| template.clone()),
            names_groups: template.names_groups(),
            repeats: has(b'g'),
            is_inverted: has(b'~'),
            ends: has(b'e'),
            starts_over: has(b's'),
            reads: side != Some(&b'P'),
            writes: side != Some(&b'G'),
            v4: !has(b'6'),
            v6: !has(b'4'),
        }))
    }

    fn is_for(&self, operation: Operation, client: IpAddr) -> bool {
        let operation = if operation == Operation::Write { self.writes } else { self.reads };
        operation && if client.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// What the rule is about in `name`, unless it does not apply.
    fn find(&self, name: &[u8]) -> Option<Groups> {
        match self.is_inverted {
            true => (!self.pattern.is_match(name)).then(Groups::new),
            false => self.pattern.find(name, self.names_groups),
        }
    }
}

/// What `rules` make of `name`, which `query` is about.
pub(super) fn map(rules: &[Rule], query: &Query, mut name: Vec<u8>) -> Mapped {
    let client = query.peer.ip().to_canonical();
    let (mut next, mut steps, mut last) = (0, 0, None);
    while let Some(rule) = rules.get(next) {
        next += 1;
        let mut applies = false;
        loop {
            if name.len() > limits::MAPPED_NAME_BYTES {
                return Mapped::TooLong;
            }
            steps += 1;
            if steps > limits::MAP_STEPS {
                return Mapped::Endless { at: last.unwrap_or(rule).place.clone() };
            }
            if !rule.is_for(query.operation, client) {
                break;
            }
            let Some(groups) = rule.find(&name) else { break };
            (applies, last) = (true, Some(rule));
            if let Some(refusal) = &rule.refusal {
                let text = refusal.fill(&name, &groups, client);
                return Mapped::Refused { by: rule.place.clone(), name, text };
            }
            let Some(replacement) = &rule.replacement else { break };
            let new = replacement.fill(&name, &groups, client);
            name.splice(groups[0].clone(), new);
            if !rule.repeats {
                break;
            }
        }
        if applies && rule.ends {
            break;
        }
        if applies && rule.starts_over {
            next = 0;
        }
    }
    if name.len() > limits::MAPPED_NAME_BYTES { Mapped::TooLong } else { Mapped::Name(name) }
}
