//! Dialogues with their times, each a file in `fixtures/timelines`, played against a transfer without sockets.
//!
//! `timelines/script.rs` has how they are written. Exactly these packets leave, at exactly these times, in this order.
//! Payloads are those of the file at that place. What was received is on the disk, whole, if and only if the outcome
//! is `complete`.

#[path = "timelines/script.rs"]
mod script;

use script::{Datagram, Event, Line, Script, What};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, IoSliceMut};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tftpkit::limits;
use tftpkit::proto::{Time, grant};
use tftpkit::transfer::{Action, MayWait, Memory, Outcome, Sink, Source, Summary, Terms, Transfer};
use tftpkit::wire::{Mode, Operation, Packet, Request};

/// The disk of the side that is tested. Like a real one it has to be waited for before a file is made last.
#[derive(Default)]
struct Disk {
    written: Vec<u8>,
    commits: u32,
    read_fails: bool,
    write_fails: Option<ErrorKind>,
    commit_fails: Option<ErrorKind>,
}

#[derive(Clone, Default)]
struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn get(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("one thread")
    }
}

impl Sink for SharedDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.get();
        if let Some(kind) = disk.write_fails {
            return Err(kind.into());
        }
        disk.written.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        let mut disk = self.get();
        if let Some(kind) = disk.commit_fails {
            return Err(kind.into());
        }
        disk.commits += 1;
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        MayWait::OnCommit
    }
}

struct OpenFile(Memory<Vec<u8>>, SharedDisk);

impl Source for OpenFile {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.1.get().read_fails {
            return Err(io::Error::other("it lost bytes since it was opened"));
        }
        self.0.read(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.read(bufs).map(Some)
    }
}

/// One playing of a script.
struct Play<'a> {
    script: &'a Script,
    transfer: Transfer,
    disk: SharedDisk,
    /// The line that comes next.
    line: usize,
    now: Time,
}

impl<'a> Play<'a> {
    fn new(script: &'a Script, read_ahead: usize) -> Result<Self, String> {
        let now = Time::START;
        let disk = SharedDisk::default();
        let (first, served) = match &script.lines[0].what {
            What::Comes(Datagram::Bytes(first)) => (first, true),
            What::Leaves(Datagram::Bytes(first)) => (first, false),
            _ => return Err("the first line is a request".into()),
        };
        let Ok(Packet::Request(request)) = Packet::parse(first) else {
            return Err("the first line is a request".into());
        };
        let source = || -> Box<dyn Source> {
            Box::new(OpenFile(Memory::new(script.local.clone()), disk.clone()))
        };
        let sink = || -> Box<dyn Sink> { Box::new(disk.clone()) };
        let writes = request.operation == Operation::Write;
        let transfer = if served {
            let terms = terms(script, &request);
            if writes {
                Transfer::serve_write(now, &terms, sink())
            } else {
                let mut transfer = Transfer::serve_read(now, &terms, source());
                transfer.set_buffer(read_ahead);
                transfer
            }
        } else if writes {
            Transfer::put(now, script.timing, &request, source())
        } else {
            Transfer::get(now, script.timing, &request, sink())
        };
        Ok(Self { script, transfer, disk, line: usize::from(served), now })
    }

    fn next(&self) -> Result<&'a Line, String> {
        let script = self.script;
        script.lines.get(self.line).ok_or_else(|| "it goes on after its last line".into())
    }

    fn play(mut self) -> Result<(), String> {
        loop {
            let until = match self.transfer.poll(self.now) {
                Action::Send(burst) => {
                    let packets: Vec<Vec<u8>> = burst.datagrams().map(<[u8]>::to_vec).collect();
                    packets.iter().try_for_each(|packet| self.leaves(packet))?;
                    continue;
                }
                Action::Storage => {
                    if !self.transfer.try_storage(self.now) {
                        self.transfer.run_storage(self.now);
                    }
                    continue;
                }
                Action::Wait(until) => until,
                Action::Done => return self.done(),
            };
            let line = self.next()?;
            match &line.what {
                What::Comes(datagram) if line.at <= until => {
                    let bytes = self.bytes(datagram);
                    self.now = line.at;
                    self.transfer.handle(self.now, &bytes);
                    self.line += 1;
                }
                What::Happens(event) if line.at <= until => {
                    self.now = line.at;
                    self.happens(event);
                    self.line += 1;
                }
                _ if until > line.at => {
                    let late = shown(until);
                    return Err(self.wrong(line, &format!("nothing happens before {late}")));
                }
                _ if until <= self.now => return Err(self.wrong(line, "it waits for the past")),
                _ => self.now = until,
            }
        }
    }

    fn wrong(&self, line: &Line, what: &str) -> String {
        format!("{}: {}\n    at {} {what}", line.number, line.text, shown(self.now))
    }

    /// A packet leaves: the next line must say so.
    fn leaves(&mut self, packet: &[u8]) -> Result<(), String> {
        let shape =
            Packet::parse(packet).map_or_else(|why| why.to_string(), |packet| packet.to_string());
        let line = self.next().map_err(|why| format!("{why}: {shape} at {}", shown(self.now)))?;
        let same = match &line.what {
            What::Leaves(Datagram::AnyError(code)) => {
                packet[..4] == [&[0, 5][..], &code.to_be_bytes()].concat()
            }
            What::Leaves(datagram) => packet == self.bytes(datagram),
            _ => false,
        };
        if same && line.at == self.now {
            self.line += 1;
            return Ok(());
        }
        Err(self.wrong(line, &format!("leaves {shape}")))
    }

    /// The datagram as bytes, with the payload that the file has there.
    fn bytes(&self, datagram: &Datagram) -> Vec<u8> {
        match datagram {
            Datagram::Data(block, number, len) => {
                let size = self.transfer.summary().agreed.block_size().get();
                let start = block.saturating_sub(1) as usize * size;
                let beyond = std::iter::repeat(&b'?');
                let payload = self.script.wire.iter().chain(beyond).skip(start).take(*len);
                let [high, low] = number.to_be_bytes();
                [0, 3, high, low].iter().chain(payload).copied().collect()
            }
            Datagram::AnyError(code) => [&[0, 5][..], &code.to_be_bytes()].concat(),
            Datagram::Bytes(bytes) => bytes.clone(),
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Repeat => self.transfer.repeat(),
            Event::Unreachable => self.transfer.unreachable(self.now),
            Event::Stop => self.transfer.stop(self.now, "shutting down"),
            Event::Abandon => self.transfer.abandon(self.now),
            Event::ReadError => self.disk.get().read_fails = true,
            Event::WriteError(kind) => self.disk.get().write_fails = Some(*kind),
            Event::CommitError(kind) => self.disk.get().commit_fails = Some(*kind),
        }
    }

    fn done(mut self) -> Result<(), String> {
        let line = self.next()?;
        let seen = ending(self.transfer.summary(), &line.what);
        if !matches!(&line.what, What::Ends(wanted) if *wanted == seen && line.at == self.now) {
            return Err(self.wrong(line, &format!("it ends: {seen}")));
        }
        if self.line + 1 < self.script.lines.len() {
            return Err("something follows the end".into());
        }
        self.stored().map_err(|why| self.wrong(line, &why))?;
        for late in [&[0, 3, 0, 1, 1][..], &[0, 4, 0, 1], &[0, 5, 0, 0], &[0, 6], &[]] {
            self.transfer.handle(self.now, late);
            if !matches!(self.transfer.poll(self.now), Action::Done) {
                return Err(self.wrong(line, "it is not over after all"));
            }
        }
        Ok(())
    }

    /// What was received is there, whole and once, exactly when the transfer is complete.
    fn stored(&self) -> Result<(), String> {
        let disk = self.disk.get();
        let complete = self.transfer.summary().outcome == Some(Outcome::Complete);
        let receives = match &self.script.lines[0].what {
            What::Comes(Datagram::Bytes(first)) => first[1] == 2,
            What::Leaves(Datagram::Bytes(first)) => first[1] != 2,
            _ => false,
        };
        match (receives && complete, disk.commits) {
            (false, 0) => Ok(()),
            (true, 1) if disk.written == self.script.local => Ok(()),
            (true, 1) => Err(format!("it stored {:?}", disk.written.escape_ascii().to_string())),
            (_, times) => Err(format!("the file was made visible {times} times")),
        }
    }
}

/// A server's terms, as it makes them of a request and the file it opened.
fn terms(script: &Script, request: &Request<'_>) -> Terms {
    let size = script.local.len() as u64;
    let sends = request.operation != Operation::Write;
    let told = (sends && request.mode == Mode::Octet && size > 0).then_some(size);
    let (agreed, answer) = grant(request.operation, &request.options, &script.limits, told);
    Terms { agreed, answer, mode: request.mode, timing: script.timing }
}

/// How it ended, in the words of an `end` line; figures only where `wanted` has them.
fn ending(summary: &Summary, wanted: &What) -> String {
    let mut text = match &summary.outcome {
        Some(Outcome::PeerError(code, _)) => format!("peer-error {code}"),
        Some(Outcome::Local(code, _)) => format!("local {code}"),
        Some(Outcome::Disagreement(_)) => "disagreement".into(),
        Some(word) => format!("{word:?}").to_lowercase(),
        None => "open".into(),
    };
    let What::Ends(wanted) = wanted else { return text };
    for name in wanted.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0)) {
        let figure = match name {
            "bytes" => summary.bytes,
            "packets" => summary.packets,
            "again" => summary.retransmitted,
            _ => continue,
        };
        write!(text, " {name}={figure}").expect("a string takes everything");
    }
    text
}

fn shown(time: Time) -> String {
    format!("{} ms", time.as_micros() as f64 / 1000.0)
}

fn played(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|why| why.to_string())?;
    let script = Script::parse(&text)?;
    // How far a server reads ahead must not show; a file that fails while it is read is the exception.
    let fails = script.lines.iter().any(|l| matches!(l.what, What::Happens(Event::ReadError)));
    let read_aheads = if fails { &[0][..] } else { &[0, limits::READ_AHEAD_BYTES] };
    read_aheads.iter().try_for_each(|bytes| Play::new(&script, *bytes)?.play())
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/timelines");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} dialogues", files.len());
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let name = path.file_name().unwrap_or_default().display();
            played(path).err().map(|why| format!("{name}:{why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} fail\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
