//! From one server to the next: the new one finds the old one at a local socket, gets copies of the sockets that take
//! requests (SCM_RIGHTS), and when its own loop runs tells the old one to take no more. Until then the old one serves, so
//! that a new one that does not come up changes nothing; from then on it only has its transfers, and what waits in the
//! sockets is the new one's. No request is lost between them, for both have the same queue.
//!
//! A server in its sandbox can start no program, and needs none for this: whoever starts the new one has the rights that a
//! start needs, as at the first time. The local socket is open to the user alone who started the old one, and to root.

use crate::descriptors;
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::Builder;
use std::time::Duration;

/// Sockets that are handed over at most, in one message.
pub(super) const MOST_SOCKETS: usize = descriptors::MOST;

/// New servers that wait to be heard: there is one at a time.
const WAITING: i32 = 4;

/// The other side answers at once, or is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// A new server is up within this time, or is taken for one that never will be.
const LONGEST_START: Duration = Duration::from_secs(120);

/// Where no new server can be heard, as where there are no descriptors, it is tried again after this time.
const AGAIN: Duration = Duration::from_millis(500);

/// How transfers hear: at ports of their own, or at those of the requests.
const OWN_PORTS: u8 = b'o';
const SHARED_PORTS: u8 = b's';
/// The new one runs.
const TAKEN: u8 = b't';

/// The server before this one, which waits to be told that it may go.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: UnixStream,
    shares: bool,
}

/// Asks the server at `path` for its sockets, if there is one.
pub(super) fn take(path: &Path) -> Result<Option<(Predecessor, Vec<UdpSocket>)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    // Where nothing is said it stays neither of both.
    let mut how = [0];
    let (_, sockets) = descriptors::receive(&stream, &mut how).context("it does not answer")?;
    let shares = match how {
        [OWN_PORTS] => false,
        [SHARED_PORTS] => true,
        _ => bail!("what answers there is no rtftpd"),
    };
    let sockets = sockets.into_iter().map(UdpSocket::from).collect();
    Ok(Some((Predecessor { stream, shares }, sockets)))
}

impl Predecessor {
    /// Lets it take no more requests. If it is gone already, nobody has to be told.
    pub(super) fn release(mut self) {
        let _ = self.stream.write_all(&[TAKEN]);
    }

    /// Where its transfers hear at the sockets that this one has now, waits for its end: what came for the one, the other
    /// would read.
    pub(super) fn wait_where_it_shares(self) -> Option<Self> {
        if !self.shares {
            return Some(self);
        }
        tracing::info!("waits for the server before it, whose transfers share its port");
        let mut end = self.stream.try_clone().ok()?;
        self.release();
        let _ = end.set_read_timeout(None).and_then(|()| end.read(&mut [0]));
        None
    }
}

/// Where the server after this one asks.
#[derive(Debug)]
pub(super) struct Post(UnixListener);

impl Post {
    /// Takes the place of what was at `path`, which leads to the server before this one or to none any more.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        // The name takes the mode that the socket has, so that it never leads to one that is open to others.
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, WAITING)?;
        Ok(Self(UnixListener::from(socket)))
    }

    /// From now on hands these sockets to whoever asks, which `asked` is told before, and calls `taken` when it runs.
    pub(super) fn serve(
        self,
        (sockets, shares): (Vec<OwnedFd>, bool),
        asked: impl Fn() + Send + 'static,
        taken: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let wait = move || {
            // Whoever waits for the end of this process sees it by the end of this.
            let _stream = loop {
                let stream = self.next();
                asked();
                match hand(stream, &sockets, shares) {
                    Ok(stream) => break stream,
                    Err(error) => tracing::warn!(%error, "the new server did not come up"),
                }
            };
            drop((self, sockets));
            taken();
            loop {
                std::thread::park();
            }
        };
        Builder::new().name("handover".into()).spawn(wait).map(drop)
    }

    /// The next who asks. What keeps it from being heard may pass, and is told once.
    fn next(&self) -> UnixStream {
        let mut is_told = false;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return stream,
                Err(error) if !is_told => {
                    tracing::warn!(%error, "no new server can be heard now");
                    is_told = true;
                }
                Err(_) => {}
            }
            std::thread::park_timeout(AGAIN);
        }
    }
}

/// Gives copies of the sockets away, and waits until the new server runs.
fn hand(mut stream: UnixStream, sockets: &[OwnedFd], shares: bool) -> io::Result<UnixStream> {
    let how = [if shares { SHARED_PORTS } else { OWN_PORTS }];
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    descriptors::send(&stream, &how, &fds, SendFlags::empty())?;
    stream.set_read_timeout(Some(LONGEST_START))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    stream.set_read_timeout(None)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;

    #[test]
    fn sockets_go_from_one_to_the_next_which_says_when_it_runs() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("handover");
        assert!(take(&path).expect("nobody is there").is_none());
        let post = Post::at(&path).expect("a socket");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let own = socket.local_addr().expect("an address");
        let (tell, told) = mpsc::channel();
        post.serve(
            (vec![socket.into()], false),
            || {},
            move || tell.send(()).expect("it is waited for"),
        )
        .expect("a thread");
        // One that gives up changes nothing.
        drop(take(&path).expect("it answers").expect("it is there"));
        let (before, sockets) = take(&path).expect("it answers").expect("it is there");
        assert_eq!(sockets.len(), 1);
        assert_eq!(sockets[0].local_addr().expect("an address"), own);
        assert!(told.try_recv().is_err(), "it is not told yet");
        let before = before.wait_where_it_shares().expect("it does not share");
        // The next one has its name before that.
        let _next = Post::at(&path).expect("a socket");
        before.release();
        told.recv_timeout(Duration::from_secs(10)).expect("it is told");
    }

    #[test]
    fn who_says_nothing_or_something_else_is_no_server_to_take_over_from() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("handover");
        let other = UnixListener::bind(&path).expect("a socket");
        for says in [&b""[..], b"x"] {
            let answers = std::thread::scope(|scope| {
                scope.spawn(|| other.accept().expect("it asks").0.write_all(says));
                take(&path)
            });
            let told = answers.expect_err("it is no rtftpd").to_string();
            assert_eq!(told, "what answers there is no rtftpd", "{says:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(Post::at(file.path()).is_err() && file.path().exists());
    }
}
