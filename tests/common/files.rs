//! Files and fixtures.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use tftpkit::query::Query;
use tftpkit::store::Readable;
use tftpkit::transfer::Source;
use tftpkit::wire::Operation;

/// What a client on loopback asks a store for.
pub(crate) fn query(operation: Operation, name: &str) -> Query {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Query::new((local, 2000).into(), local, operation, name)
}

/// All that a file has.
pub(crate) fn contents(file: Readable) -> Vec<u8> {
    try_contents(file).expect("its bytes")
}

/// All that a file has, unless it changes meanwhile.
pub(crate) fn try_contents(file: Readable) -> io::Result<Vec<u8>> {
    let (mut source, ..) = file.into_parts();
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match source.read(&mut [IoSliceMut::new(&mut buffer)])? {
            0 => return Ok(all),
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

/// Bytes without a period that a block size divides, other ones for each seed.
pub(crate) fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = |_| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// A new folder with these files.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }
    open_to_all(folder.path());
    folder
}

/// Lets everybody read all that is in a folder, whatever the umask: a server that is root serves nothing else.
pub(crate) fn open_to_all(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let (path, kind) = entry.and_then(|it| Ok((it.path(), it.file_type()?))).expect("an entry");
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode));
        if kind.is_dir() {
            mode(0o755).expect("a mode");
            open_to_all(&path);
        } else if kind.is_file() {
            mode(0o644).expect("a mode");
        }
    }
}

/// All that is in a folder, hidden things too, sorted.
pub(crate) fn everything_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The lines of a fixture that are no comments.
pub(crate) fn fixture_lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let text = std::fs::read_to_string(path).expect("a fixture");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(str::to_owned).collect()
}

/// A name of a fixture with its escapes undone, as `fixtures/README.md` has them.
pub(crate) fn fixture_name(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (bytes, used) = match first {
            '\\' => escape(&rest[1..]),
            '<' => repeated(rest).unwrap_or_else(|| (b"<".to_vec(), 1)),
            other => (other.to_string().into_bytes(), other.len_utf8()),
        };
        out.extend(bytes);
        rest = &rest[used..];
    }
    out
}

fn escape(behind: &str) -> (Vec<u8>, usize) {
    match behind.as_bytes()[0] {
        b'n' => (vec![b'\n'], 2),
        b'r' => (vec![b'\r'], 2),
        b't' => (vec![b'\t'], 2),
        b'\\' => (vec![b'\\'], 2),
        b'x' => (vec![u8::from_str_radix(&behind[1..3], 16).expect("two hex digits")], 4),
        other => panic!("no escape: {}", char::from(other)),
    }
}

fn repeated(text: &str) -> Option<(Vec<u8>, usize)> {
    let (inside, _) = text[1..].split_once('>')?;
    let (count, what) = inside.split_once('*')?;
    let count: usize = count.parse().ok()?;
    Some((what.repeat(count).into_bytes(), inside.len() + 2))
}
