//! A connection of somebody who may be slow, or mean it: what is sent to him is taken in time, or he is gone.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A stream that fails once its other side has taken nothing for so long.
#[derive(Debug)]
pub(super) struct Impatient {
    stream: TokioIo<TcpStream>,
    patience: Duration,
    /// Runs while nothing is taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream: TokioIo::new(stream), patience, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, did: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if did.is_ready() {
            self.stalled = None;
            return did;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Read for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let did = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, did)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let did = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, did)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let did = Pin::new(&mut self.stream).poll_write_vectored(cx, all);
        self.watch(cx, did)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::ReadBuf;
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::net::{Ipv4Addr, TcpListener};
    use tokio::runtime::Builder;

    const SHORT: Duration = Duration::from_millis(50);

    /// A stream of this patience, and who is at its other side.
    fn pair(patience: Duration) -> (Impatient, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let other = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_nonblocking(true).expect("a stream");
        let stream = TcpStream::from_std(stream).expect("a stream");
        (Impatient::new(stream, patience), other.expect("a connection"))
    }

    async fn write(stream: &mut Impatient) -> io::Result<usize> {
        let bytes = [7; 64 << 10];
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, &bytes)).await
    }

    /// Whether there is room to write, whether in one piece or in several.
    async fn has_room(stream: &mut Impatient, in_pieces: bool) -> bool {
        let bytes = [7; 64 << 10];
        poll_fn(|cx| {
            let stream = Pin::new(&mut *stream);
            let wrote = match in_pieces {
                true => stream.poll_write_vectored(cx, &[io::IoSlice::new(&bytes)]),
                false => stream.poll_write(cx, &bytes),
            };
            Poll::Ready(matches!(wrote, Poll::Ready(Ok(_))))
        })
        .await
    }

    #[test]
    fn who_takes_something_has_as_long_again_for_more() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for in_pieces in [false, true] {
                let (mut stream, mut other) = pair(Duration::from_secs(600));
                while has_room(&mut stream, in_pieces).await {}
                assert!(stream.stalled.is_some(), "its time runs, in pieces: {in_pieces}");
                other.set_nonblocking(true).expect("a stream");
                let mut took = vec![0; 1 << 20];
                while !has_room(&mut stream, in_pieces).await {
                    let _ = io::Read::read(&mut other, &mut took);
                    tokio::task::yield_now().await;
                }
                assert!(stream.stalled.is_none(), "its time goes on, in pieces: {in_pieces}");
            }
        });
    }

    #[test]
    fn who_takes_nothing_is_gone_after_a_while_and_who_only_says_nothing_is_not() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (mut stream, other) = pair(SHORT);
            let mut sent = 0;
            let error = loop {
                match write(&mut stream).await {
                    Ok(more) => sent += more,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{sent}");
            drop(other);

            let (mut stream, _other) = pair(SHORT);
            write(&mut stream).await.expect("there is room");
            let mut room = [MaybeUninit::uninit(); 16];
            let mut room = ReadBuf::uninit(&mut room);
            let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, room.unfilled()));
            assert!(tokio::time::timeout(4 * SHORT, read).await.is_err(), "it only waits");
            write(&mut stream).await.expect("it is still there");
        });
    }
}
