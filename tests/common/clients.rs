//! The programs of the field and `rtftp`, as lines of shell.
//!
//! `tests/setup` installs what is foreign. A program that is missing fails the tests that need it.
#![allow(dead_code, unused_imports)] // Each test program uses a part of it.

use crate::common::child;
pub(crate) use crate::common::child::text as said;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A client as two lines of shell. `HOST`, `PORT`, `SERVER` (both), `NAME` (there) and `FILE` (here) are always set;
/// `BLKSIZE`, `WINDOW`, `PLAIN` and `ASCII` where a test sets them.
pub(crate) struct Client {
    pub(crate) get: &'static str,
    pub(crate) put: &'static str,
}

pub(crate) const BUSYBOX: Client = Client {
    get: r#"busybox tftp ${BLKSIZE:+-b $BLKSIZE} -g -r "$NAME" -l "$FILE" "$HOST" "$PORT""#,
    put: r#"busybox tftp ${BLKSIZE:+-b $BLKSIZE} -p -r "$NAME" -l "$FILE" "$HOST" "$PORT""#,
};

pub(crate) const TFTP_HPA: Client = Client {
    get: r#"tftp -m ${ASCII:-binary} "$HOST" "$PORT" -c get "$NAME" "$FILE""#,
    put: r#"tftp -m ${ASCII:-binary} "$HOST" "$PORT" -c put "$FILE" "$NAME""#,
};

pub(crate) const ATFTP: Client = Client {
    get: r#"atftp ${BLKSIZE:+--option "blksize $BLKSIZE"} ${WINDOW:+--option "windowsize $WINDOW"} \
        ${ASCII:+--option "mode netascii"} --get -r "$NAME" -l "$FILE" "$HOST" "$PORT""#,
    put: r#"atftp ${BLKSIZE:+--option "blksize $BLKSIZE"} ${WINDOW:+--option "windowsize $WINDOW"} \
        ${ASCII:+--option "mode netascii"} --put -r "$NAME" -l "$FILE" "$HOST" "$PORT""#,
};

pub(crate) const CURL: Client = Client {
    get: r#"curl -qsv --noproxy "*" ${BLKSIZE:+--tftp-blksize $BLKSIZE} ${PLAIN:+--tftp-no-options} \
        ${ASCII:+--use-ascii} "tftp://$SERVER/$NAME" -o "$FILE""#,
    put: r#"curl -qsv --noproxy "*" ${BLKSIZE:+--tftp-blksize $BLKSIZE} ${PLAIN:+--tftp-no-options} \
        ${ASCII:+--use-ascii} -T "$FILE" "tftp://$SERVER/$NAME""#,
};

pub(crate) const RTFTP: Client = Client {
    get: r#"rtftp get ${BLKSIZE:+--blksize $BLKSIZE} ${WINDOW:+--windowsize $WINDOW} ${PLAIN:+--no-options} \
        ${ASCII:+--mode netascii} "$SERVER" "$NAME" -o "$FILE""#,
    put: r#"rtftp put ${BLKSIZE:+--blksize $BLKSIZE} ${WINDOW:+--windowsize $WINDOW} ${PLAIN:+--no-options} \
        ${ASCII:+--mode netascii} "$FILE" "tftp://$SERVER/$NAME""#,
};

/// What a test sets for a client.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];
pub(crate) const DEFAULTS: Settings<'static> = &[];
pub(crate) const NETASCII: Settings<'static> = &[("ASCII", "ascii")];

/// Runs a line of shell, for so long at most; then it is killed.
pub(crate) fn run(
    line: &str,
    server: SocketAddr,
    settings: Settings<'_>,
    (name, file): (&str, &Path),
    patience: Duration,
) -> Output {
    let program = line.split_whitespace().next().expect("a program");
    let _ = installed(program);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]);
    command.envs(settings.iter().copied()).env("PATH", path()).env("LC_ALL", "C");
    command.env("HOST", server.ip().to_string());
    command.env("PORT", server.port().to_string());
    command.env("SERVER", server.to_string()).env("NAME", name).env("FILE", file);
    child::said_within(patience, child::started(&mut command)).unwrap_or_else(|killed| killed)
}

/// Bytes of which no two blocks are alike.
pub(crate) fn octets(size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// Text with every kind of line end; its period is odd, so they meet every border of a block.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let period = b"one line\nand\r\ntwo, \r\0 with a return \r inside it\r\r\n\n";
    period.iter().copied().cycle().take(size).collect()
}

/// Text as every Unix program writes it.
pub(crate) fn lines(size: usize) -> Vec<u8> {
    b"a line\nand another one\n\n".iter().copied().cycle().take(size).collect()
}

/// `text` as it travels in netascii.
pub(crate) fn netascii(text: &[u8]) -> Vec<u8> {
    let encode = |&byte: &u8| match byte {
        b'\n' => vec![b'\r', b'\n'],
        b'\r' => vec![b'\r', 0],
        other => vec![other],
    };
    text.iter().flat_map(encode).collect()
}

/// Our own programs first; and where servers are, although not every user looks there.
pub(crate) fn path() -> String {
    let own = Path::new(env!("CARGO_BIN_EXE_rtftp")).parent().expect("a folder").display();
    let inherited = std::env::var("PATH").unwrap_or_default();
    format!("{own}:{inherited}:/usr/sbin:/sbin")
}

/// Where a program is.
pub(crate) fn installed(program: &str) -> PathBuf {
    let path = path();
    let mut places = path.split(':').map(|folder| Path::new(folder).join(program));
    let found = places.find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed: run tests/setup, it installs it"))
}
