//! Dialogues with their times, each a file in `fixtures/timelines`, played against a transfer without sockets.
//!
//! A file begins with what it shows, behind `#`. Then come what is transferred and, if it matters, what a server
//! grants at most:
//!
//! - `file: N`: N bytes of a fixed pattern; or `text: "..."`, the file as it lies on the disk, and `wire: "..."`,
//!   the file as it travels where that differs;
//! - `grant: blksize=N windowsize=N bytes=N`: the bounds of block size, window, and bytes in a window.
//!
//! Every other line has a time in milliseconds and what happens then. The first one is the request, and it tells
//! the side that is tested: `<` comes to us, so we are the server; `>` leaves, so we are the client.
//!
//! - `< PACKET`, `> PACKET` as in `fixtures/packets`. `DATA 5-8 512` is four packets. From block 65,536 on the
//!   number in the packet stands behind the block: `DATA 65536=0 8`. An ERROR that leaves may lack its text, which
//!   is then any. `hex 00 04` is a packet in bytes. `< DATA 1-9 8 lock-step`: each is answered by its ACK at once.
//! - `! repeat`: the client repeated its request; `! unreachable`: the network says that the port is closed;
//!   `! stop`, `! abandon`: we end it, with a word or without; `! read-error`, `! write-error`,
//!   `! write-error full`, `! commit-error exists`: from now on our disk fails.
//! - `end OUTCOME`, with any of the figures `bytes=`, `packets=` and `again=` (packets that had left before).
//!
//! Exactly these packets leave, at exactly these times, in this order. Payloads are those of the file at that
//! place. What was received is on the disk, whole, if and only if the outcome is `complete`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tftpkit::limits;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Action, Outcome, Sink, Source, Summary, Terms, Transfer};
use tftpkit::wire::{BlockSize, Mode, Operation, Packet, Request, WindowSize};

/// One file: what is transferred, and what happens when.
struct Script {
    /// The file as it lies on a disk.
    local: Vec<u8>,
    /// The file as it travels.
    wire: Vec<u8>,
    limits: GrantLimits,
    lines: Vec<Line>,
}

#[derive(Clone)]
struct Line {
    number: usize,
    text: String,
    at: Time,
    what: What,
}

#[derive(Clone)]
enum What {
    Comes(Datagram),
    Leaves(Datagram),
    Happens(Event),
    Ends(String),
}

#[derive(Clone)]
enum Datagram {
    /// DATA: the block, its number in the packet, and the length of its payload.
    Data(u64, u16, usize),
    /// An ERROR that leaves, whatever its text.
    AnyError(u16),
    Bytes(Vec<u8>),
}

#[derive(Clone)]
enum Event {
    Repeat,
    Unreachable,
    Stop,
    Abandon,
    ReadError,
    WriteError(ErrorKind),
    CommitError(ErrorKind),
}

impl Script {
    fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self {
            local: Vec::new(),
            wire: Vec::new(),
            limits: GrantLimits {
                block_size: BlockSize::MAX,
                window: WindowSize::MAX,
                window_bytes: limits::WINDOW_BYTES,
            },
            lines: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if !line.is_empty() && !line.starts_with('#') {
                script.line(number, line).map_err(|why| format!("{number}: {line}: {why}"))?;
            }
        }
        if script.lines.is_empty() { Err("it has no lines".into()) } else { Ok(script) }
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some((key, value)) = line.split_once(": ") {
            let value = value.trim();
            match key {
                "file" => {
                    self.local = (0..parsed(value)?).map(pattern).collect();
                    self.wire = self.local.clone();
                    return Ok(());
                }
                "text" => {
                    self.local = quoted(value)?.0;
                    self.wire = self.local.clone();
                    return Ok(());
                }
                "wire" => {
                    self.wire = quoted(value)?.0;
                    return Ok(());
                }
                "grant" => return self.grant(value),
                _ => {}
            }
        }
        let (at, rest) = line.split_once(char::is_whitespace).ok_or("there is only one word")?;
        let at = Time::from_micros((parsed::<f64>(at)? * 1000.0).round() as u64);
        if self.lines.last().is_some_and(|last| last.at > at) {
            return Err("time runs backwards".into());
        }
        for what in actions(rest.trim())? {
            self.lines.push(Line { number, text: line.into(), at, what });
        }
        Ok(())
    }

    fn grant(&mut self, most: &str) -> Result<(), String> {
        for pair in most.split_whitespace() {
            let (name, value) = pair.split_once('=').ok_or("it lacks a '='")?;
            match name {
                "blksize" => {
                    self.limits.block_size =
                        BlockSize::new(parsed(value)?).ok_or("a block size")?;
                }
                "windowsize" => {
                    self.limits.window = WindowSize::new(parsed(value)?).ok_or("a window")?;
                }
                "bytes" => self.limits.window_bytes = parsed(value)?,
                _ => return Err(format!("there is no bound '{name}'")),
            }
        }
        Ok(())
    }
}

fn parsed<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is not a number that fits"))
}

/// Byte `at` of the file: no two blocks of a dialogue are alike.
fn pattern(at: usize) -> u8 {
    ((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// A text in quotes at the front, and what stands behind it.
fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut rest = text.strip_prefix('"').ok_or("a text has quotes")?;
    let mut bytes = Vec::new();
    loop {
        let character = rest.chars().next().ok_or("a text has quotes at both ends")?;
        rest = &rest[character.len_utf8()..];
        match character {
            '"' => return Ok((bytes, rest)),
            '\\' => {
                let escape = rest.chars().next().ok_or("nothing follows a backslash")?;
                let used = if escape == 'x' { 3 } else { 1 };
                let code = rest.get(..used).ok_or("an escape is too short")?;
                bytes.push(match escape {
                    'x' => u8::from_str_radix(&code[1..], 16).map_err(|why| why.to_string())?,
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    '0' => 0,
                    other => u8::try_from(other).map_err(|why| why.to_string())?,
                });
                rest = &rest[used..];
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What one line says after its time. A run of blocks is many things.
fn actions(text: &str) -> Result<Vec<What>, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    Ok(match word {
        "<" if rest.ends_with(" lock-step") => lock_step(rest.trim_end_matches(" lock-step"))?,
        "<" => datagrams(rest, true)?.into_iter().map(What::Comes).collect(),
        ">" => datagrams(rest, false)?.into_iter().map(What::Leaves).collect(),
        "!" => vec![What::Happens(match rest {
            "repeat" => Event::Repeat,
            "unreachable" => Event::Unreachable,
            "stop" => Event::Stop,
            "abandon" => Event::Abandon,
            "read-error" => Event::ReadError,
            "write-error" => Event::WriteError(ErrorKind::Other),
            "write-error full" => Event::WriteError(ErrorKind::StorageFull),
            "commit-error exists" => Event::CommitError(ErrorKind::AlreadyExists),
            _ => return Err("there is no such event".into()),
        })],
        "end" => vec![What::Ends(rest.into())],
        _ => return Err("a line has one of < > ! end".into()),
    })
}

/// DATA that comes, each answered by its ACK at once.
fn lock_step(text: &str) -> Result<Vec<What>, String> {
    let mut all = Vec::new();
    for datagram in datagrams(text, true)? {
        let Datagram::Data(_, number, _) = datagram else { return Err("only DATA".into()) };
        all.push(What::Comes(datagram));
        let [high, low] = number.to_be_bytes();
        all.push(What::Leaves(Datagram::Bytes(vec![0, 4, high, low])));
    }
    Ok(all)
}

fn datagrams(text: &str, comes: bool) -> Result<Vec<Datagram>, String> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let bytes = match kind {
        "RRQ" => request(1, rest)?,
        "WRQ" => request(2, rest)?,
        "LIST" => request(7, rest)?,
        "DATA" => return data(rest),
        "ACK" => {
            let [high, low] = number(rest)?.1.to_be_bytes();
            vec![0, 4, high, low]
        }
        "ERROR" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let code: u16 = parsed(code)?;
            if text.is_empty() && !comes {
                return Ok(vec![Datagram::AnyError(code)]);
            }
            let mut bytes = [&[0, 5][..], &code.to_be_bytes()].concat();
            if !text.is_empty() {
                bytes.extend_from_slice(&quoted(text)?.0);
                bytes.push(0);
            }
            bytes
        }
        "OACK" => with_options(vec![0, 6], rest)?,
        "hex" => {
            let octets = rest.split_whitespace().map(|octet| u8::from_str_radix(octet, 16));
            octets.collect::<Result<_, _>>().map_err(|why| why.to_string())?
        }
        _ => return Err(format!("there is no packet '{kind}'")),
    };
    Ok(vec![Datagram::Bytes(bytes)])
}

/// A block and its number in the packet: the same, unless `BLOCK=NUMBER` says another one.
fn number(word: &str) -> Result<(u64, u16), String> {
    let (block, number) = word.split_once('=').unwrap_or((word, word));
    Ok((parsed(block)?, parsed(number)?))
}

/// `BLOCK LENGTH` or `FIRST-LAST LENGTH`.
fn data(text: &str) -> Result<Vec<Datagram>, String> {
    let (blocks, len) = text.split_once(' ').ok_or("DATA has a block and a length")?;
    let len = parsed(len.trim())?;
    let Some((first, last)) = blocks.split_once('-') else {
        let (block, number) = number(blocks)?;
        return Ok(vec![Datagram::Data(block, number, len)]);
    };
    let numbers = parsed::<u16>(first)?..=parsed(last)?;
    Ok(numbers.map(|number| Datagram::Data(number.into(), number, len)).collect())
}

fn request(opcode: u8, text: &str) -> Result<Vec<u8>, String> {
    let (name, rest) = quoted(text)?;
    let rest = rest.trim();
    let (mode, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    with_options([&[0, opcode][..], &name, &[0], mode.as_bytes(), &[0]].concat(), rest)
}

fn with_options(mut bytes: Vec<u8>, text: &str) -> Result<Vec<u8>, String> {
    for pair in text.split_whitespace() {
        let (name, value) = pair.split_once('=').ok_or("an option has a value")?;
        bytes.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    }
    Ok(bytes)
}

/// The disk of the side that is tested.
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
}

struct OpenFile(io::Cursor<Vec<u8>>, SharedDisk);

impl Read for OpenFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.1.get().read_fails {
            return Err(io::Error::other("it lost bytes since it was opened"));
        }
        self.0.read(buf)
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
        let source = || -> Source {
            Box::new(OpenFile(io::Cursor::new(script.local.clone()), disk.clone()))
        };
        let sink = || -> Box<dyn Sink> { Box::new(disk.clone()) };
        let writes = request.operation == Operation::Write;
        let transfer = if served {
            let terms = terms(script, &request, read_ahead);
            if writes {
                Transfer::serve_write(now, &terms, sink())
            } else {
                Transfer::serve_read(now, &terms, source())
            }
        } else if writes {
            Transfer::put(now, Timing::default(), &request, source())
        } else {
            Transfer::get(now, Timing::default(), &request, sink())
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
                    let packets: Vec<Vec<u8>> =
                        burst.bytes.chunks(burst.packet).map(<[u8]>::to_vec).collect();
                    packets.iter().try_for_each(|packet| self.leaves(packet))?;
                    continue;
                }
                Action::Store => {
                    assert!(self.transfer.store(self.now, false), "memory never waits");
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
fn terms(script: &Script, request: &Request<'_>, read_ahead: usize) -> Terms {
    let size = script.local.len() as u64;
    let sends = request.operation != Operation::Write;
    let told = (sends && request.mode == Mode::Octet && size > 0).then_some(size);
    let (agreed, answer) = grant(request.operation, &request.options, &script.limits, told);
    Terms { agreed, answer, mode: request.mode, timing: Timing::default(), read_ahead }
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
