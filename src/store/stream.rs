//! What is read once, as it comes: pipes, terminals, devices.

use crate::transfer::Source;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut, Read};
use std::os::fd::AsFd;

/// A pipe, a terminal or a device to send, until it ends: its size is not known. What has come is sent before more is
/// waited for.
pub fn stream_source(file: File) -> Source {
    Box::new(Stream { file, said: false })
}

struct Stream {
    file: File,
    /// It was said that the next read waits.
    said: bool,
}

impl Stream {
    fn say_if_it_waits(&mut self) -> io::Result<()> {
        let news = &mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        // An error is for the read to tell.
        let waits = poll(news, PollTimeout::ZERO) == Ok(0);
        self.said = waits && !self.said;
        if self.said { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.say_if_it_waits()?;
        self.file.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.say_if_it_waits()?;
        self.file.read_vectored(bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn it_says_before_each_read_that_waits_that_it_will() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut source = stream_source(File::from(std::os::fd::OwnedFd::from(reader)));
        let mut buffer = [0; 8];
        let mut read = || source.read(&mut buffer).map_err(|error| error.kind());
        writer.write_all(b"few").expect("written");
        assert_eq!((read(), read()), (Ok(3), Err(ErrorKind::WouldBlock)));
        writer.write_all(b"more").expect("written");
        assert_eq!((read(), read()), (Ok(4), Err(ErrorKind::WouldBlock)));
        drop(writer);
        assert_eq!(read(), Ok(0));
    }
}
