//! Netascii (RFC 1350 § 1, RFC 764): text with CR LF at the end of a line and CR NUL for a bare CR.
//!
//! Both directions are streams: what a CR becomes may be decided by the next block.

use super::Sink;
use std::io::{self, Read};

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

/// Local text, read as netascii: LF becomes CR LF, CR becomes CR NUL.
#[derive(Debug)]
pub(super) struct Encoder<R> {
    source: R,
    text: Box<[u8]>,
    /// The part of `text` that has not been given out.
    unread: std::ops::Range<usize>,
    /// The second byte of a pair that did not fit.
    owed: Option<u8>,
}

impl<R: Read> Encoder<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, text: vec![0; 4096].into_boxed_slice(), unread: 0..0, owed: None }
    }
}

impl<R: Read> Read for Encoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < out.len() {
            if let Some(second) = self.owed.take() {
                out[written] = second;
                written += 1;
                continue;
            }
            if self.unread.is_empty() {
                if written > 0 {
                    break;
                }
                self.unread = 0..self.source.read(&mut self.text)?;
                if self.unread.is_empty() {
                    break;
                }
            }
            let byte = self.text[self.unread.start];
            self.unread.start += 1;
            (out[written], self.owed) = match byte {
                LF => (CR, Some(LF)),
                CR => (CR, Some(NUL)),
                other => (other, None),
            };
            written += 1;
        }
        Ok(written)
    }
}

/// Netascii, written as local text: CR LF becomes LF, CR NUL becomes CR. A CR before anything else, or at the end,
/// is kept, and so is a bare LF: a file that was never netascii comes out as it is.
pub(super) struct Decoder<S> {
    sink: S,
    text: Vec<u8>,
    /// The last block ended with a CR.
    after_cr: bool,
}

impl<S: Sink> Decoder<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { sink, text: Vec::new(), after_cr: false }
    }
}

impl<S: Sink> Sink for Decoder<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.clear();
        for &byte in bytes {
            match (std::mem::take(&mut self.after_cr), byte) {
                (true, LF) => self.text.push(LF),
                (true, NUL) => self.text.push(CR),
                (true, CR) => {
                    self.text.push(CR);
                    self.after_cr = true;
                }
                (true, other) => self.text.extend_from_slice(&[CR, other]),
                (false, CR) => self.after_cr = true,
                (false, other) => self.text.push(other),
            }
        }
        self.sink.write(&self.text)
    }

    fn commit(&mut self) -> io::Result<()> {
        // The sink may have to be asked twice.
        if std::mem::take(&mut self.after_cr) {
            self.sink.write(&[CR])?;
        }
        self.sink.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Sink for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(())
        }
        fn commit(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn encode(text: &[u8], piece: usize) -> Vec<u8> {
        let (mut encoder, mut out, mut buf) = (Encoder::new(text), Vec::new(), vec![0; piece]);
        loop {
            match encoder.read(&mut buf).expect("memory") {
                0 => return out,
                n => out.extend_from_slice(&buf[..n]),
            }
        }
    }

    fn decode(netascii: &[u8], piece: usize) -> Vec<u8> {
        let memory = Memory::default();
        let mut decoder = Decoder::new(memory.clone());
        netascii.chunks(piece).for_each(|block| decoder.write(block).expect("memory"));
        decoder.commit().expect("memory");
        memory.0.lock().expect("no panic").clone()
    }

    #[test]
    fn line_ends_and_bare_carriage_returns_are_translated() {
        assert_eq!(encode(b"a\nb\rc\r\n", 100), b"a\r\nb\r\0c\r\0\r\n");
        assert_eq!(decode(b"a\r\nb\r\0c\r\0\r\n", 100), b"a\nb\rc\r\n");
    }

    #[test]
    fn pairs_that_are_split_across_blocks_come_out_whole() {
        let texts: [&[u8]; 6] = [b"", b"\n", b"\r", b"\r\n\r\r\n\n", b"line\nline\n", b"x\r\0y"];
        for text in texts {
            for piece in 1..8 {
                assert_eq!(encode(text, piece), encode(text, 100), "{text:?} by {piece}");
                assert_eq!(decode(&encode(text, piece), piece), text, "{text:?} by {piece}");
            }
        }
    }

    /// Text, an interruption, and the rest of the text.
    struct Interrupted(Vec<&'static [u8]>);

    impl Read for Interrupted {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(b"") => Err(io::ErrorKind::Interrupted.into()),
                Some(mut text) => text.read(out),
                None => Ok(0),
            }
        }
    }

    #[test]
    fn an_interruption_loses_nothing() {
        let mut encoder = Encoder::new(Interrupted(vec![b"c\n", b"", b"a\nb"]));
        let mut buf = [0; 100];
        let read = encoder.read(&mut buf).expect("what came before");
        assert_eq!(buf[..read], *b"a\r\nb");
        assert_eq!(encoder.read(&mut buf).map_err(|e| e.kind()), Err(io::ErrorKind::Interrupted));
        let read = encoder.read(&mut buf).expect("what comes after");
        assert_eq!(buf[..read], *b"c\r\n");
    }

    #[test]
    fn what_is_not_netascii_is_kept() {
        for piece in 1..4 {
            assert_eq!(decode(b"a\nb\rc\r\r\nd\r", piece), b"a\nb\rc\r\nd\r");
        }
    }
}
