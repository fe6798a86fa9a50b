//! Netascii (RFC 1350 § 1, RFC 764): text with CR LF at the end of a line and CR NUL for a bare CR.
//!
//! Both directions are streams: what a CR becomes may be decided by the next block.

use super::{MayWait, Sink, Source};
use std::io::{self, IoSliceMut};

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

/// Local text, read as netascii: LF becomes CR LF, CR becomes CR NUL.
#[derive(Debug)]
pub(super) struct Encoder<S> {
    source: S,
    text: Box<[u8]>,
    /// The part of `text` that has not been given out.
    unread: std::ops::Range<usize>,
    /// The second byte of a pair that did not fit.
    owed: Option<u8>,
}

impl<S: Source> Encoder<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, text: vec![0; 4096].into_boxed_slice(), unread: 0..0, owed: None }
    }

    /// Fills `out` from the text that is here, and from one more read by `more` if there is none.
    fn encode(
        &mut self,
        out: &mut [u8],
        more: impl Fn(&mut S, &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
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
                match more(&mut self.source, &mut [IoSliceMut::new(&mut self.text)])? {
                    None => return Ok(None),
                    Some(0) => break,
                    Some(read) => self.unread = 0..read,
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
        Ok(Some(written))
    }
}

/// The first buffer that has room: a block at a time is enough for text.
fn first<'a>(bufs: &'a mut [IoSliceMut<'_>]) -> &'a mut [u8] {
    bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(&mut [], |buf| buf)
}

impl<S: Source> Source for Encoder<S> {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.encode(first(bufs), |source, text| source.read(text).map(Some))?;
        Ok(read.unwrap_or_default())
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.encode(first(bufs), S::try_read)
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
        if self.after_cr {
            self.sink.write(&[CR])?;
        }
        self.sink.commit()
    }

    fn may_wait(&self) -> MayWait {
        self.sink.may_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Memory;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<u8>>>);

    impl Sink for Collected {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(())
        }
        fn commit(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn encode(text: &[u8], piece: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(Memory::new(text));
        let (mut out, mut buf) = (Vec::new(), vec![0; piece]);
        loop {
            match encoder.read(&mut [IoSliceMut::new(&mut buf)]).expect("memory") {
                0 => return out,
                n => out.extend_from_slice(&buf[..n]),
            }
        }
    }

    fn decode(netascii: &[u8], piece: usize) -> Vec<u8> {
        let collected = Collected::default();
        let mut decoder = Decoder::new(collected.clone());
        netascii.chunks(piece).for_each(|block| decoder.write(block).expect("memory"));
        decoder.commit().expect("memory");
        collected.0.lock().expect("no panic").clone()
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

    /// Text, an interruption, a wait, and the rest of the text.
    struct Interrupted(Vec<&'static [u8]>);

    impl Source for Interrupted {
        fn read(&mut self, out: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            Ok(self.try_read(out)?.expect("it does not wait here"))
        }

        fn try_read(&mut self, out: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
            match self.0.pop() {
                Some(b"interrupted") => Err(io::ErrorKind::Interrupted.into()),
                Some(b"waits") => Ok(None),
                Some(text) => Memory::new(text).try_read(out),
                None => Ok(Some(0)),
            }
        }
    }

    #[test]
    fn neither_an_interruption_nor_a_wait_loses_anything() {
        let source = Interrupted(vec![b"d", b"waits", b"c\n", b"interrupted", b"a\nb"]);
        let mut encoder = Encoder::new(source);
        let mut buf = [0; 100];
        let mut read = || match encoder.try_read(&mut [IoSliceMut::new(&mut buf)]) {
            Ok(read) => Ok(read.map(|len| buf[..len].to_vec())),
            Err(error) => Err(error.kind()),
        };
        assert_eq!(read(), Ok(Some(b"a\r\nb".to_vec())));
        assert_eq!(read(), Err(io::ErrorKind::Interrupted));
        assert_eq!(read(), Ok(Some(b"c\r\n".to_vec())));
        assert_eq!(read(), Ok(None));
        assert_eq!(read(), Ok(Some(b"d".to_vec())));
        assert_eq!(read(), Ok(Some(Vec::new())));
    }

    #[test]
    fn what_is_not_netascii_is_kept() {
        for piece in 1..4 {
            assert_eq!(decode(b"a\nb\rc\r\r\nd\r", piece), b"a\nb\rc\r\nd\r");
        }
    }
}
