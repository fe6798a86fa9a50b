//! What a script is told: one shape for all commands, as the README has it.

use crate::report::{Class, warning};
use serde::Serialize;
use tftpkit::client::{Failure, Progress, Tally};
use tftpkit::store::Listing;
use tftpkit::transfer::Summary;

/// What is done, in the words in which it is told.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Task {
    pub(crate) operation: &'static str,
    /// The server and the file, as a URL.
    pub(crate) remote: Option<String>,
    /// The file on this machine; `-` is standard input or output.
    pub(crate) local: Option<String>,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    ok: bool,
    exit: u8,
    #[serde(flatten)]
    task: Task,
    bytes: u64,
    seconds: f64,
    packets: u64,
    retransmitted: u64,
    blksize: Option<usize>,
    windowsize: Option<u16>,
    /// Which kind of failure, in a word or two that stay.
    kind: Option<&'static str>,
    /// The code of the server's ERROR.
    code: Option<u16>,
    error: Option<String>,
    /// What is to be known although it went well.
    warning: Option<&'static str>,
}

impl Record {
    /// A transfer that went well.
    pub(crate) fn done(task: &Task, summary: &Summary) -> Self {
        Self {
            bytes: summary.bytes,
            packets: summary.packets,
            retransmitted: summary.retransmitted,
            blksize: Some(summary.agreed.block_size().get()),
            windowsize: Some(summary.agreed.window().get()),
            warning: warning(summary),
            ..Self::whole(task, Progress::default(), summary.elapsed.as_secs_f64())
        }
    }

    /// Another task that went well.
    pub(crate) fn whole(task: &Task, progress: Progress, seconds: f64) -> Self {
        let Progress { bytes, packets, retransmitted, .. } = progress;
        let task = task.clone();
        Self { ok: true, task, bytes, seconds, packets, retransmitted, ..Self::default() }
    }

    /// A load, with its most frequent failure.
    pub(crate) fn of_load(task: &Task, tally: &Tally, class: Class) -> Self {
        let Tally { bytes, packets, retransmitted, .. } = *tally;
        let (task, seconds) = (task.clone(), tally.elapsed.as_secs_f64());
        let done =
            Self { ok: true, task, bytes, seconds, packets, retransmitted, ..Self::default() };
        match tally.failures.iter().max_by_key(|failures| failures.count) {
            Some(most) => {
                let error = most.first.to_string();
                done.failed(class, kind(&most.first), error).code(Some(&most.first))
            }
            None if class == Class::Done => done,
            None => {
                done.failed(class, "no answer", "nothing was whole when the time was over".into())
            }
        }
    }

    /// Nothing was asked of any server.
    pub(crate) fn misused(operation: &'static str, error: String) -> Self {
        let task = Task { operation, ..Task::default() };
        Self { task, ..Self::default() }.failed(Class::Usage, "usage", error)
    }

    /// It failed after this.
    #[must_use]
    pub(crate) fn failed(self, class: Class, kind: &'static str, error: String) -> Self {
        let (ok, exit) = (class == Class::Done, class as u8);
        Self { ok, exit, kind: Some(kind), error: Some(error), ..self }
    }

    /// The server said so.
    #[must_use]
    pub(crate) fn code(self, failure: Option<&Failure>) -> Self {
        Self { code: failure.and_then(code), ..self }
    }
}

/// The code of the server's ERROR, if that was the failure.
fn code(failure: &Failure) -> Option<u16> {
    match failure {
        Failure::Server { code, .. } => Some((*code).into()),
        Failure::Blocks { failure, .. } => code(failure),
        _ => None,
    }
}

/// A line for each entry, and at the end one that tells how it went.
pub(crate) fn listing(listing: &Listing, record: Record) -> Vec<u8> {
    #[derive(Serialize)]
    struct End {
        #[serde(flatten)]
        record: Record,
        entries: usize,
        cut: bool,
    }
    let mut out = listing.to_json();
    // Its own last line is for clients.
    let entries = out.trim_ascii_end().iter().rposition(|byte| *byte == b'\n');
    out.truncate(entries.map_or(0, |end| end + 1));
    let end = End { record, entries: listing.entries.len(), cut: listing.cut };
    out.extend(serde_json::to_vec(&end).unwrap_or_default());
    out.push(b'\n');
    out
}

/// A failure in a word or two.
pub(crate) fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoAnswer(_) => "no answer",
        Failure::Closed(_) => "closed",
        Failure::BrokenOff(..) => "broken off",
        Failure::Unconfirmed => "unconfirmed",
        Failure::Server { .. } => "refused",
        Failure::Blocks { failure, .. } => kind(failure),
        Failure::Protocol(_) | Failure::Words(_) => "protocol",
        Failure::NoListing => "no listing",
        Failure::Differs => "differs",
        Failure::Nul | Failure::NameTooLong { .. } => "usage",
        Failure::Local { disk_full: true, .. } => "disk full",
        Failure::Cancelled => "cancelled",
        _ => "local",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_kind_and_an_error_its_code() {
        let at = ([127, 0, 0, 1], 69).into();
        let not_found =
            || Failure::Server { code: tftpkit::wire::ErrorCode::NotFound, message: String::new() };
        let at_the_end_of_numbers =
            |failure| Failure::Blocks { failure: Box::new(failure), blocks: 9, fits: None };
        let cases = [
            (Failure::NoAnswer(at), "no answer"),
            (Failure::Closed(at), "closed"),
            (Failure::BrokenOff(at, 9), "broken off"),
            (not_found(), "refused"),
            (at_the_end_of_numbers(not_found()), "refused"),
            (at_the_end_of_numbers(Failure::Unconfirmed), "unconfirmed"),
            (Failure::Protocol(String::new()), "protocol"),
            (Failure::Words("no".into()), "protocol"),
            (Failure::Differs, "differs"),
            (Failure::Cancelled, "cancelled"),
            (Failure::Unconfirmed, "unconfirmed"),
            (Failure::NoListing, "no listing"),
            (Failure::Nul, "usage"),
            (Failure::NameTooLong { bytes: 9, room: 8 }, "usage"),
            (Failure::Local { error: String::new(), disk_full: true }, "disk full"),
            (Failure::Local { error: String::new(), disk_full: false }, "local"),
            (Failure::TooLong(9), "local"),
        ];
        for (failure, expected) in cases {
            let its_code = (expected == "refused").then_some(1);
            assert_eq!((kind(&failure), code(&failure)), (expected, its_code), "{failure}");
        }
    }

    #[test]
    fn a_listing_ends_with_its_own_line_alone() {
        let entry = |name: &str| tftpkit::store::Entry {
            name: name.into(),
            kind: tftpkit::store::Kind::File,
            size: 3,
            modified: std::time::UNIX_EPOCH,
        };
        for (names, cut) in [(&[][..], false), (&["a"], true), (&["a", "b"], false)] {
            let entries: Vec<_> = names.iter().map(|name| entry(name)).collect();
            let text = listing(&Listing { entries, cut }, Record::default());
            let lines = serde_json::Deserializer::from_slice(&text).into_iter();
            let lines: Vec<serde_json::Value> = lines.map(|line| line.expect("JSON")).collect();
            let [entries @ .., end] = &lines[..] else { panic!("no line") };
            assert!(entries.iter().map(|entry| &entry["name"]).eq(names), "{entries:?}");
            let told = (&end["entries"], &end["cut"]);
            assert_eq!(told, (&names.len().into(), &cut.into()), "{end}");
        }
    }

    #[test]
    fn a_failure_has_the_fields_of_a_success_and_what_is_told_of_it() {
        let value = |record: &Record| serde_json::to_value(record).expect("JSON");
        let keys = |record: &Record| match value(record) {
            serde_json::Value::Object(fields) => fields.keys().cloned().collect::<Vec<_>>(),
            other => panic!("{other}"),
        };
        let task = Task { operation: "get", remote: Some("tftp://h/a".into()), local: None };
        let done = Record::done(&task, &Summary::default());
        let code = tftpkit::wire::ErrorCode::DiskFull;
        let failure = Failure::Server { code, message: String::new() };
        let mut so_far = Progress::default();
        (so_far.bytes, so_far.packets, so_far.retransmitted) = (512, 9, 2);
        let failed = Record::whole(&task, so_far, 1.5);
        let failed = failed.failed(Class::DiskFull, "refused", "no".into()).code(Some(&failure));
        assert_eq!(keys(&done), keys(&failed));
        let misused = Record::misused("put", "why".into());
        assert_eq!(keys(&done), keys(&misused));
        let told = |record: &Record, field: &str| value(record)[field].clone();
        assert_eq!((told(&done, "ok"), told(&done, "exit")), (true.into(), 0.into()));
        assert_eq!((told(&failed, "ok"), told(&failed, "exit")), (false.into(), 6.into()));
        assert_eq!((told(&failed, "code"), told(&failed, "seconds")), (3.into(), 1.5.into()));
        let moved = ["bytes", "packets", "retransmitted"].map(|field| told(&failed, field));
        assert_eq!(moved, [512, 9, 2].map(serde_json::Value::from));
        assert_eq!((told(&misused, "kind"), told(&misused, "exit")), ("usage".into(), 2.into()));
        let load = |class| Record::of_load(&task, &Tally::default(), class);
        assert_eq!(told(&load(Class::Done), "ok"), true);
        let none_whole = load(Class::NoAnswer);
        assert_eq!((told(&none_whole, "ok"), told(&none_whole, "exit")), (false.into(), 3.into()));
    }
}
