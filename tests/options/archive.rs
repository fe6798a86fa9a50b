//! What is seen of the options of `rtftpd` that make an archive of uploads.

use crate::common::{Daemon, folder, wrq};
use crate::given::{Given, Row};
use crate::rtftpd::row;

pub(crate) const ROWS: &[Row] = &[
    row("--keep-versions", (&["2"], "0"), ("f", "f, f.~2~, f.~3~"), names_after_four_uploads),
    row(
        "--upload-name",
        (&["{ip}-{name}-{seq}"], "other"),
        ("f", "127.0.0.1-f-1, 127.0.0.1-f-2, 127.0.0.1-f-3, 127.0.0.1-f-4"),
        names_after_four_uploads,
    ),
    row(
        "--on-upload",
        (&["exit 1"], "exit 0"),
        ("stored", "refused by a check of the server"),
        an_upload,
    ),
    row(
        "--on-upload-within",
        (&["0.2"], "60"),
        ("stored", "the check of the server takes too long"),
        an_upload_of_a_second,
    ),
];

/// What comes of an upload.
fn an_upload(_: &str, given: &Given) -> String {
    uploaded(&given.serve(folder(&[]).path(), &["--uploads", "create"]))
}

/// The same where a command takes a second.
fn an_upload_of_a_second(_: &str, given: &Given) -> String {
    let more = ["--uploads", "create", "--on-upload", "sleep 1"];
    uploaded(&given.serve(folder(&[]).path(), &more))
}

fn uploaded(server: &Daemon) -> String {
    match server.peer().store(&wrq("f", &[]), b"new") {
        Ok(()) => "stored".into(),
        Err(error) => String::from_utf8_lossy(&error[4..error.len() - 1]).into_owned(),
    }
}

fn names_after_four_uploads(_: &str, given: &Given) -> String {
    let root = folder(&[]);
    let server = given.serve(root.path(), &["--uploads", "overwrite"]);
    for upload in 0..4 {
        let stored = server.peer().store(&wrq("f", &[]), &vec![upload; 700]);
        stored.expect("it is stored");
    }
    let entries = std::fs::read_dir(root.path()).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().display().to_string()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names.join(", ")
}
