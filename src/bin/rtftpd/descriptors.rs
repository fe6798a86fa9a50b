//! Descriptors that go from one process to another beside a message (SCM_RIGHTS).

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// So many go with one message at most.
pub(crate) const MOST: usize = 64;

/// Sends a message, and copies of these descriptors.
pub(crate) fn send(
    channel: impl AsFd,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL.into());
    }
    let message = [IoSlice::new(message)];
    Ok(sendmsg(channel, &message, &mut control, flags | SendFlags::NOSIGNAL).map(drop)?)
}

/// Receives a message: how many bytes it has, which is none where the other side is gone, and the descriptors that came with
/// it. They are fewer than were sent where this process can have no more.
pub(crate) fn receive(channel: impl AsFd, message: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(message)];
    let received = loop {
        match recvmsg(&channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            // As after this process was stopped for a while.
            Err(Errno::INTR) => {}
            received => break received?.bytes,
        }
    };
    let came = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(came) => Some(came),
        _ => None,
    });
    Ok((received, came.flatten().collect()))
}
