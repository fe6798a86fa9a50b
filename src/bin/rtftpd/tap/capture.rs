//! The last packets of transfers that failed: a ring for each transfer, and a thread that writes what is kept.
//!
//! The files have the names of a hundred places, which are taken in turn: so their number is bounded, and nothing has to be
//! removed, for which a server without uploads has no system call.

use super::pcapng::{Datagram, capture, sum};
use super::request;
use crate::outcome::is_failure;
use anyhow::{Context, Result};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, statat};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tftpkit::proto::Time;
use tftpkit::query::Query;
use tftpkit::rate::TokenBucket;
use tftpkit::server::{Listener, Way};
use tftpkit::transfer::Summary;

/// Files in the folder at most.
const MOST_FILES: usize = 100;

/// Packets that a transfer keeps at most: two windows of the usual width, or a minute of time-outs.
const MOST_PACKETS: usize = 128;

/// Bytes of all of them at most. With ten thousand transfers it is 160 MB.
const MOST_BYTES: usize = 16 << 10;

/// Bytes that are kept of a packet of DATA, and of any other: a file's contents are nobody's business, and options and
/// words are what matters.
const OF_DATA: usize = 64;
const OF_OTHERS: usize = 512;

/// Captures that wait for the disk at most.
const WAITING: usize = 16;

/// Captures in a second, after so many at once: who fails on purpose fills no disk's queue.
const PER_SECOND: u32 = 5;
const AT_ONCE: u32 = 50;

/// The folder of captures, opened before the sandbox.
#[derive(Debug)]
pub(crate) struct Captures {
    sender: SyncSender<Kept>,
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct Writer {
    folder: OwnedFd,
    next: usize,
    kept: Receiver<Kept>,
}

/// What a transfer that failed leaves.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    peer: SocketAddr,
    file: String,
}

impl Captures {
    /// Opens the folder, which must be there.
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, folder, flags, Mode::empty()).map_err(io::Error::from);
        let folder = opened.with_context(|| {
            format!("cannot keep captures in '{}': give an existing folder", folder.display())
        })?;
        // The place behind the last one that was taken.
        let changed = |n: &usize| {
            let stat = statat(&folder, name(*n), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((stat.st_mtime, stat.st_mtime_nsec, *n))
        };
        let last = (0..MOST_FILES).filter_map(|n| changed(&n)).max();
        let next = last.map_or(0, |(.., n)| (n + 1) % MOST_FILES);
        let (sender, kept) = sync_channel(WAITING);
        let writer = Mutex::new(Some(Writer { folder, next, kept }));
        Ok(Arc::new(Self { sender, writer }))
    }

    /// Starts the thread that writes.
    pub(crate) fn start(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return Ok(()) };
        // By now it is whom it will be.
        if let Err(error) = accessat(&writer.folder, ".", Access::WRITE_OK, AtFlags::EACCESS) {
            tracing::warn!(%error, "cannot write in the folder of --pcap-on-failure: no captures are kept");
        }
        let thread = std::thread::Builder::new().name("captures".into());
        thread.spawn(move || writer.run()).map(drop).context("cannot start a thread")
    }

    /// Listens in on a transfer.
    pub(super) fn begin(
        self: &Arc<Self>,
        query: &Query,
        asked: SocketAddr,
        answers: SocketAddr,
    ) -> Recording {
        let ring = Ring::default();
        Recording {
            all: Arc::clone(self),
            query: query.clone(),
            asked,
            answers,
            began: wall(),
            first: None,
            ring,
        }
    }
}

const fn of(packet: &[u8]) -> usize {
    if matches!(packet, [0, 3, ..]) { OF_DATA } else { OF_OTHERS }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn name(place: usize) -> String {
    format!("failed-{place:02}.pcapng")
}

/// The last packets of a transfer.
#[derive(Debug, Default)]
struct Ring {
    packets: VecDeque<Packet>,
    bytes: VecDeque<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    at: Time,
    way: Way,
    len: usize,
    kept: usize,
    sum: u16,
}

impl Ring {
    fn push(&mut self, at: Time, way: Way, datagram: &[u8]) {
        let kept = datagram.len().min(of(datagram));
        while self.packets.len() >= MOST_PACKETS || self.bytes.len() + kept > MOST_BYTES {
            let Some(oldest) = self.packets.pop_front() else { break };
            self.bytes.drain(..oldest.kept);
        }
        self.bytes.extend(&datagram[..kept]);
        self.packets.push_back(Packet { at, way, len: datagram.len(), kept, sum: sum(datagram) });
    }
}

/// Listens in on a transfer, and leaves a capture if that fails.
#[derive(Debug)]
pub(super) struct Recording {
    all: Arc<Captures>,
    query: Query,
    asked: SocketAddr,
    answers: SocketAddr,
    /// When it began, by the time of day.
    began: Duration,
    /// When its first packet came or left.
    first: Option<Time>,
    ring: Ring,
}

impl Recording {
    fn capture(&mut self, summary: &Summary) -> Vec<u8> {
        let (client, first) = (self.query.peer, self.first.unwrap_or(Time::START));
        let asked = request(&self.query);
        let request = Datagram {
            at: self.began,
            from: client,
            to: self.asked,
            bytes: &asked,
            len: asked.len(),
            sum: sum(&asked),
        };
        let mut rest = &*self.ring.bytes.make_contiguous();
        let packets = self.ring.packets.iter().map(|packet| {
            let (bytes, behind) = rest.split_at(packet.kept);
            rest = behind;
            let (from, to) = match packet.way {
                Way::In => (client, self.answers),
                Way::Out => (self.answers, client),
            };
            let at = self.began + (packet.at - first);
            Datagram { at, from, to, bytes, len: packet.len, sum: packet.sum }
        });
        capture(&format!("{}: {summary}", self.query), std::iter::once(request).chain(packets))
    }
}

impl Listener for Recording {
    fn packet(&mut self, now: Time, way: Way, datagram: &[u8]) {
        self.first.get_or_insert(now);
        self.ring.push(now, way, datagram);
    }

    fn ended(&mut self, summary: &Summary) {
        if is_failure(summary, self.query.operation) {
            let (bytes, peer) = (self.capture(summary), self.query.peer);
            let file = crate::log::file(&self.query);
            // Where the disk is slower than failures come, those that do not fit are lost.
            let sent = self.all.sender.try_send(Kept { bytes, peer, file });
            if let Err(TrySendError::Full(kept)) = sent {
                tracing::debug!(file = kept.file, peer = %kept.peer, "no capture: too many wait");
            }
        }
        self.ring = Ring::default();
    }
}

impl Writer {
    fn run(mut self) {
        let (began, mut ration) =
            (std::time::Instant::now(), TokenBucket::new(Time::START, AT_ONCE, PER_SECOND));
        while let Ok(kept) = self.kept.recv() {
            if !ration.try_take(Time::START + began.elapsed()) {
                tracing::debug!(file = kept.file, peer = %kept.peer, "no capture: too many fail");
                continue;
            }
            let capture = name(self.next);
            self.next = (self.next + 1) % MOST_FILES;
            match self.write(&capture, &kept.bytes) {
                Ok(()) => {
                    tracing::info!(file = kept.file, peer = %kept.peer, capture, "kept packets");
                }
                Err(error) => tracing::warn!(capture, %error, "cannot keep packets"),
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is in files may be meant for one client alone.
        let file = openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?;
        File::from(file).write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::fs::MetadataExt;
    use tftpkit::wire::Operation;

    #[test]
    fn a_ring_keeps_the_last_packets_and_no_more_bytes_than_it_may() {
        let mut ring = Ring::default();
        for n in 0..1000_u16 {
            ring.push(Time::START, Way::Out, &[&[0, 3][..], &n.to_be_bytes(), &[7; 1428]].concat());
        }
        assert_eq!((ring.packets.len(), ring.bytes.len()), (MOST_PACKETS, MOST_PACKETS * OF_DATA));
        assert_eq!(
            ring.bytes.make_contiguous()[..4],
            [0, 3, 0x03, 0x68],
            "872 is the first of the last 128"
        );
        assert!(ring.packets.iter().all(|packet| (packet.len, packet.kept) == (1432, 64)));
        for _ in 0..100 {
            ring.push(Time::START, Way::In, &[9; 600]);
        }
        assert_eq!((ring.packets.len(), ring.bytes.len()), (MOST_BYTES / OF_OTHERS, MOST_BYTES));
    }

    #[test]
    fn places_are_taken_in_turn_and_a_new_server_goes_on_behind_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name(98)), "").expect("a file");
        let captures = Captures::open(folder.path()).expect("a folder");
        let mut writer = captures.writer.lock().expect("it").take().expect("a writer");
        assert_eq!(writer.next, 99);
        writer.next = 0;
        std::os::unix::fs::symlink("/nowhere", folder.path().join(name(0))).expect("a link");
        assert!(writer.write(&name(0), b"x").is_err(), "no link is followed");
        writer
            .write(&name(1), b"longer")
            .and_then(|()| writer.write(&name(1), b"x"))
            .expect("written");
        assert_eq!(std::fs::read(folder.path().join(name(1))).expect("a file"), b"x");
        let mode = std::fs::metadata(folder.path().join(name(1))).expect("a file").mode();
        assert_eq!(mode & 0o707, 0o600, "its owner reads it and not everybody: {mode:o}");
        assert!(Captures::open(Path::new("/no/such/folder")).is_err());
        // Behind the newest, whatever their numbers are; behind the last place comes the first.
        let folder = tempfile::tempdir().expect("a folder");
        for (newest, next) in [(4, 5), (MOST_FILES - 1, 0)] {
            for (place, seconds) in [(98, 7), (newest, 9), (1, 8)] {
                let file = File::create(folder.path().join(name(place))).expect("a file");
                file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("a time");
            }
            let captures = Captures::open(folder.path()).expect("a folder");
            assert_eq!(captures.writer.lock().expect("it").as_ref().map(|it| it.next), Some(next));
            std::fs::remove_file(folder.path().join(name(newest))).expect("a file");
        }
    }

    #[test]
    fn each_capture_has_the_next_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let captures = Captures::open(folder.path()).expect("a folder");
        let mut writer = captures.writer.lock().expect("it").take().expect("a writer");
        writer.next = MOST_FILES - 2;
        for bytes in [b"a", b"b", b"c"] {
            let peer = ([192, 0, 2, 7], 2000).into();
            let kept = Kept { bytes: bytes.to_vec(), peer, file: "f".into() };
            captures.sender.send(kept).expect("it is still there");
        }
        drop(captures);
        writer.run();
        let files = std::fs::read_dir(folder.path()).expect("a folder").map(|file| {
            let path = file.expect("a file").path();
            let bytes = std::fs::read(&path).expect("a file");
            (path.file_name().map(OsStr::to_owned), bytes)
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        let expected = [(0, b"c"), (MOST_FILES - 2, b"a"), (MOST_FILES - 1, b"b")];
        let expected = expected.map(|(place, bytes)| (Some(name(place).into()), bytes.to_vec()));
        assert_eq!(files, expected, "behind the last place is the first");
    }

    #[test]
    fn so_many_captures_are_kept_at_once_and_few_in_a_second_after_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let captures = Captures::open(folder.path()).expect("a folder");
        let writer = captures.writer.lock().expect("it").take().expect("a writer");
        let began = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| writer.run());
            for _ in 0..MOST_FILES {
                let peer = ([192, 0, 2, 7], 2000).into();
                let kept = Kept { bytes: b"few".to_vec(), peer, file: "f".into() };
                captures.sender.send(kept).expect("it is still there");
            }
            drop(captures);
        });
        let later = began.elapsed().as_secs_f64() * f64::from(PER_SECOND);
        let most = (AT_ONCE as usize + 1 + later as usize).min(MOST_FILES);
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert!((AT_ONCE as usize..=most).contains(&files), "{files}, and {most} at most");
    }

    #[test]
    fn a_capture_has_the_request_first_and_then_each_packet_its_way_in_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let captures = Captures::open(folder.path()).expect("a folder");
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (client, asked, answers) =
            (at("192.0.2.7:2000"), at("192.0.2.1:69"), at("192.0.2.1:5000"));
        let query = Query::new(client, asked.ip(), Operation::Read, "f");
        let mut recording = captures.begin(&query, asked, answers);
        let then = Duration::from_secs(1_700_000_000);
        assert!(recording.began > then, "it is not of {:?} after 1970", recording.began);
        recording.began = then;
        recording.packet(Time::from_micros(50), Way::Out, &[0, 3, 0, 1]);
        recording.packet(Time::from_micros(2_000_050), Way::In, &[0, 5, 0, 0, b'x', 0]);
        let mut summary = Summary::default();
        summary.outcome = Some(tftpkit::transfer::Outcome::Superseded);
        let capture = recording.capture(&summary);
        let comment = format!("{query}: {summary}");
        let is_said = capture.windows(comment.len()).any(|part| part == comment.as_bytes());
        assert!(is_said, "it does not say {comment}");
        let mut rest = &capture[..];
        let mut told = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four"));
            let len = word(4) as usize;
            if word(0) == 6 {
                let ports = [48, 50].map(|at| u16::from_be_bytes([rest[at], rest[at + 1]]));
                told.push(((u64::from(word(12)) << 32) + u64::from(word(16)), ports, rest[57]));
            }
            rest = &rest[len..];
        }
        let began = 1_700_000_000_000_000;
        let expected = [
            (began, [2000, 69], 1),
            (began, [5000, 2000], 3),
            (began + 2_000_000, [2000, 5000], 5),
        ];
        assert_eq!(told, expected);
    }
}
