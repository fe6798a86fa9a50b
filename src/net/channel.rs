//! Messages between two processes of one server, each whole or not at all, some with descriptors.

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// One end of a pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// As many descriptors come with one message.
const DESCRIPTORS: usize = 2;

impl Channel {
    /// Two ends; whoever has one learns it when the other is closed.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (one, other) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok((Self(one), Self(other)))
    }

    /// How long a receive waits.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, Some(timeout))?)
    }

    /// Sends one message; waits for room.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        Ok(send(&self.0, message, SendFlags::NOSIGNAL).map(drop)?)
    }

    /// Sends one message, if there is room for it.
    pub(crate) fn try_send(&self, message: &[u8]) -> io::Result<()> {
        Ok(send(&self.0, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)?)
    }

    /// Sends one message and these descriptors.
    pub(crate) fn send_with(
        &self,
        message: &[u8],
        descriptors: [BorrowedFd<'_>; DESCRIPTORS],
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let message = [IoSlice::new(message)];
        Ok(sendmsg(&self.0, &message, &mut control, SendFlags::NOSIGNAL).map(drop)?)
    }

    /// Receives one message: its length, which is 0 when the other end is closed.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                received => return Ok(received?.0),
            }
        }
    }

    /// Receives one message with its descriptors.
    pub(crate) fn receive_with(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(usize, [OwnedFd; DESCRIPTORS])> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                descriptors.extend(came);
            }
        }
        let lacks = |_| io::Error::new(ErrorKind::InvalidData, "a message without descriptors");
        Ok((received.bytes, descriptors.try_into().map_err(lacks)?))
    }
}

impl From<OwnedFd> for Channel {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_whole_with_its_descriptors_and_the_end_is_noticed() {
        let (one, other) = Channel::pair().expect("a pair");
        let (ours, theirs) = Channel::pair().expect("a pair");
        let mut buffer = [0; 10];
        one.send_with(b"with", [theirs.as_fd(), other.as_fd()]).expect("sent");
        one.send(b"a").expect("sent");
        let (len, [first, _]) = other.receive_with(&mut buffer).expect("a message");
        assert_eq!(&buffer[..len], b"with");
        assert_eq!(other.receive(&mut buffer).expect("the next"), 1);
        drop(theirs);
        Channel::from(first).send(b"by it").expect("sent");
        assert_eq!(ours.receive(&mut buffer).expect("a message"), 5);
        one.send(b"none").expect("sent");
        assert!(other.receive_with(&mut buffer).is_err());
        other.set_timeout(Duration::from_millis(1)).expect("a timeout");
        assert!(other.receive(&mut buffer).is_err_and(|e| e.kind() == ErrorKind::WouldBlock));
        drop(one);
        assert_eq!(other.receive(&mut buffer).expect("the end"), 0);
    }

    #[test]
    fn who_may_not_wait_is_told_that_there_is_no_room_and_that_nobody_listens() {
        let (one, other) = Channel::pair().expect("a pair");
        let message = [7; 1000];
        let refused = std::iter::repeat_with(|| one.try_send(&message).err()).take(1 << 20);
        let refused = refused.flatten().next().expect("it holds no gigabyte");
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert_eq!(other.receive(&mut [0; 1000]).expect("what was sent is there"), 1000);
        drop(other);
        let refused = [(); 2].map(|()| one.try_send(&message).map_err(|error| error.kind()));
        // What was lost is told first, and no signal ends the process.
        assert_eq!(refused, [Err(ErrorKind::ConnectionReset), Err(ErrorKind::BrokenPipe)]);
    }
}
