//! The notation of a dialogue.
//!
//! A file begins with what it shows, behind `#`. Then come what is transferred and, if it matters, what a server
//! grants at most:
//!
//! - `file: N`: N bytes of a fixed pattern; or `text: "..."`, the file as it lies on the disk, and `wire: "..."`,
//!   the file as it travels where that differs;
//! - `grant: blksize=N windowsize=N bytes=N`: the bounds of block size, window, and bytes in a window;
//! - `shortest: N`: no interval is shorter than so many milliseconds.
//!
//! Every other line has a time in milliseconds and what happens then. The first one is the request, and it tells
//! the side that is tested: `<` comes to us, so we are the server; `>` leaves, so we are the client.
//!
//! - `< PACKET`, `> PACKET` as in `fixtures/packets`. `DATA 5-8 512` is four packets. From block 65,536 on the
//!   number in the packet stands behind the block: `DATA 65536=0 8`. An ERROR that leaves may lack its text, which
//!   is then any. `hex 00 04` is a packet in bytes. `< DATA 1-9 8 lock-step`: each is answered by its ACK at once;
//!   `> DATA 1-90 8 windows=10`: every tenth is.
//! - `! repeat`: the client repeated its request; `! unreachable`: the network says that the port is closed;
//!   `! stop`, `! abandon`: we end it, with a word or without; `! read-error`, `! write-error`,
//!   `! write-error full`, `! commit-error exists`: from now on our disk fails.
//! - `end OUTCOME`, with any of the figures `bytes=`, `packets=` and `again=` (packets that had left before).

use std::io::ErrorKind;
use std::time::Duration;
use tftpkit::proto::{GrantLimits, Time, Timing};
use tftpkit::wire::{BlockSize, WindowSize};

/// One file: what is transferred, and what happens when.
pub(crate) struct Script {
    /// The file as it lies on a disk.
    pub(crate) local: Vec<u8>,
    /// The file as it travels.
    pub(crate) wire: Vec<u8>,
    pub(crate) limits: GrantLimits,
    pub(crate) timing: Timing,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) at: Time,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    Comes(Datagram),
    Leaves(Datagram),
    Happens(Event),
    Ends(String),
}

#[derive(Clone)]
pub(crate) enum Datagram {
    /// DATA: the block, its number in the packet, and the length of its payload.
    Data(u64, u16, usize),
    /// An ERROR that leaves, whatever its text.
    AnyError(u16),
    Bytes(Vec<u8>),
}

#[derive(Clone)]
pub(crate) enum Event {
    Repeat,
    Unreachable,
    Stop,
    Abandon,
    ReadError,
    WriteError(ErrorKind),
    CommitError(ErrorKind),
}

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self {
            local: Vec::new(),
            wire: Vec::new(),
            limits: GrantLimits::default(),
            timing: Timing::default(),
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
                "shortest" => {
                    let floor = Duration::from_millis(parsed(value)?);
                    let ceiling = self.timing.ceiling().max(floor);
                    let timing = self.timing.to_builder().floor(floor).ceiling(ceiling).build();
                    self.timing = timing.map_err(|why| why.to_string())?;
                    return Ok(());
                }
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
        ">" if rest.contains(" windows=") => windows(rest)?,
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

/// DATA that leaves in windows, the last block of each answered by its ACK at once.
fn windows(text: &str) -> Result<Vec<What>, String> {
    let (text, window) = text.split_once(" windows=").ok_or("windows have a size")?;
    let window = parsed(window)?;
    let mut all = Vec::new();
    for (left, datagram) in (1_usize..).zip(datagrams(text, false)?) {
        let Datagram::Data(_, number, _) = datagram else { return Err("only DATA".into()) };
        all.push(What::Leaves(datagram));
        if left.is_multiple_of(window) {
            let [high, low] = number.to_be_bytes();
            all.push(What::Comes(Datagram::Bytes(vec![0, 4, high, low])));
        }
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
