//! What is read once, as it comes: pipes, terminals, devices.

use super::Readable;
use crate::transfer::Source;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsFd;

impl Readable {
    /// A pipe, a terminal or a device, until it ends: its size is not known. What has come is sent before more is waited
    /// for.
    pub fn stream(file: File) -> Self {
        Self::new(Stream(file))
    }
}

struct Stream(File);

impl Source for Stream {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let ready = &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // An error is for the read to tell.
        if poll(ready, PollTimeout::ZERO) == Ok(0) {
            return Ok(None);
        }
        self.read(bufs).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn it_tells_when_a_read_would_wait_and_when_it_has_ended() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut source = Stream(File::from(std::os::fd::OwnedFd::from(reader)));
        let mut buffer = [0; 8];
        let mut read =
            || source.try_read(&mut [IoSliceMut::new(&mut buffer)]).map_err(|error| error.kind());
        writer.write_all(b"few").expect("written");
        assert_eq!((read(), read(), read()), (Ok(Some(3)), Ok(None), Ok(None)));
        writer.write_all(b"more").expect("written");
        assert_eq!((read(), read()), (Ok(Some(4)), Ok(None)));
        drop(writer);
        assert_eq!(read(), Ok(Some(0)));
    }
}
