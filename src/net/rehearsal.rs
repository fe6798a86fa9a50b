//! A system on which nothing travels: what would be sent first is kept, and nobody ever answers.

use super::Kernel;
use super::system::{Asked, Job, Poller, Pool, System, Udp, WOKEN};
use crate::proto::Time;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Such a system. It has the kernel's time, paths and buffers.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    kernel: Arc<Kernel>,
    first: First,
}

/// The first packet that would be sent.
type First = Arc<Mutex<Option<Vec<u8>>>>;

impl Rehearsal {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self { kernel: Kernel::start(), first: First::default() })
    }

    /// The first packet that would have been sent, if any would.
    pub(crate) fn first_sent(&self) -> Option<Vec<u8>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn socket(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let buffer = self.kernel.bind(SocketAddr::new(any, 0))?;
        Ok(Box::new(Mute { address, buffer, first: Arc::clone(&self.first) }))
    }
}

impl System for Rehearsal {
    fn now(&self) -> Time {
        self.kernel.now()
    }

    fn random(&self) -> u64 {
        self.kernel.random()
    }

    fn processors(&self) -> usize {
        self.kernel.processors()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Udp>> {
        self.socket(address)
    }

    fn bind(&self, local: SocketAddr) -> io::Result<Box<dyn Udp>> {
        self.socket(local)
    }

    fn path_bytes(&self, peer: SocketAddr) -> Option<usize> {
        self.kernel.path_bytes(peer)
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        Ok(Box::new(Hurried::default()))
    }

    fn spawn(&self, _: &'static str, _: Job) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn pool(&self, _: usize) -> Arc<dyn Pool> {
        Arc::new(AtOnce)
    }
}

/// A socket that sends nothing.
#[derive(Debug)]
struct Mute {
    address: SocketAddr,
    /// Has a buffer as large as a socket of this system may have.
    buffer: Box<dyn Udp>,
    first: First,
}

impl Mute {
    fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| bytes.to_vec());
        Ok(())
    }
}

/// Nobody answers.
fn nothing<T>() -> io::Result<T> {
    Err(ErrorKind::WouldBlock.into())
}

impl Udp for Mute {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn connect(&self, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    fn send(&self, bytes: &[u8], _: bool) -> io::Result<()> {
        self.keep(bytes)
    }

    fn send_to(&self, bytes: &[u8], _: SocketAddr) -> io::Result<()> {
        self.keep(bytes)
    }

    fn send_from(
        &self,
        bytes: &[u8],
        _: Option<usize>,
        _: IpAddr,
        _: SocketAddr,
    ) -> io::Result<()> {
        self.keep(bytes)
    }

    fn receive(&self, _: &mut [u8], _: bool) -> io::Result<usize> {
        nothing()
    }

    fn receive_joined(&self, _: &mut [u8], _: bool) -> io::Result<(usize, usize)> {
        nothing()
    }

    fn receive_from(&self, _: &mut [u8], _: bool) -> io::Result<(usize, Option<SocketAddr>)> {
        nothing()
    }

    fn receive_request(&self, _: &mut [u8]) -> io::Result<Asked> {
        nothing()
    }

    fn receive_requests(&self, _: &mut [u8], _: usize, _: &mut Vec<Asked>) -> io::Result<()> {
        nothing()
    }

    /// What is sent in one call is one packet.
    fn cut(&self, _: Option<usize>) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn join(&self) -> io::Result<()> {
        Ok(())
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        self.buffer.receive_buffer()
    }

    fn ask_receive_buffer(&self, bytes: usize) {
        self.buffer.ask_receive_buffer(bytes);
    }

    fn wait(&self, _: Duration) -> bool {
        false
    }

    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn hear_errors(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_error(&self) {}

    fn wake(&self) {}
}

/// Waits for nothing.
#[derive(Debug, Default)]
struct Hurried(AtomicBool);

impl Poller for Hurried {
    fn add(&self, _: &dyn Udp, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn tell_of_room(&self, _: &dyn Udp, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &dyn Udp) {}

    fn wait(&self, _: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        ready.extend(self.0.swap(false, Ordering::SeqCst).then_some(WOKEN));
        Ok(())
    }

    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs everything here and now.
#[derive(Debug)]
struct AtOnce;

impl Pool for AtOnce {
    fn run(&self, job: Job) {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the bytes from the socket.
    type Way<'a> = &'a dyn Fn(&dyn Udp, &[u8]) -> io::Result<()>;

    #[test]
    fn what_would_be_sent_first_is_kept_nobody_answers_and_nothing_is_waited_for() {
        let system = Rehearsal::start();
        for local in ["127.0.0.1:69", "[::1]:69"].map(|text| text.parse().expect("an address")) {
            let (socket, listening) = (system.bind(local), system.listen(local));
            let (socket, listening) = (socket.expect("a socket"), listening.expect("a socket"));
            for socket in [&socket, &listening] {
                // Somebody else may have the port, and the right to it.
                assert_eq!(socket.local_address().expect("its address"), local);
                let real = system.kernel.bind(SocketAddr::new(local.ip(), 0)).expect("a socket");
                let buffers = [socket, &real].map(|it| it.receive_buffer().expect("its size"));
                assert_eq!(buffers[0], buffers[1]);
                socket.connect(local).expect("connected");
                let (buffer, all) = (&mut [0; 9], &mut Vec::new());
                let came = [
                    socket.receive(buffer, true).map(drop),
                    socket.receive_joined(buffer, true).map(drop),
                    socket.receive_from(buffer, true).map(drop),
                    socket.receive_request(buffer).map(drop),
                    socket.receive_requests(buffer, 3, all),
                ];
                let came = came.map(|came| came.map_err(|error| error.kind()));
                assert_eq!(came, [Err(ErrorKind::WouldBlock); 5]);
                assert!(!socket.wait(Duration::from_secs(3600)));
                assert!(socket.cut(Some(4)).is_err(), "two packets would be taken for one");
            }
        }
        assert_eq!(system.first_sent(), None);
        let to = (Ipv4Addr::LOCALHOST, 9).into();
        let ways: [Way<'_>; 3] = [
            &|socket, bytes| socket.send(bytes, true),
            &|socket, bytes| socket.send_to(bytes, to),
            &|socket, bytes| socket.send_from(bytes, None, to.ip(), to),
        ];
        for send in ways {
            let system = Rehearsal::start();
            let socket = system.bind(to).expect("a socket");
            for bytes in [&b"first"[..], b"second"] {
                send(&*socket, bytes).expect("kept");
            }
            assert_eq!(system.first_sent().as_deref(), Some(&b"first"[..]));
        }
    }

    #[test]
    fn what_would_wait_runs_at_once_and_the_path_is_the_kernels() {
        let system = Rehearsal::start();
        let ran = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&ran);
        system.pool(1).run(Box::new(move || runs.store(true, Ordering::Relaxed)));
        assert!(ran.load(Ordering::Relaxed), "nobody waits for it");
        assert!(system.spawn("job", Box::new(|| {})).is_err(), "nobody would wait for it");
        let peer = (Ipv4Addr::LOCALHOST, 9).into();
        assert!(system.path_bytes(peer).is_some_and(|bytes| bytes > 1000), "the loopback's");
    }

    #[test]
    fn a_poller_tells_that_it_was_woken_once_and_waits_for_nothing() {
        let poller = Rehearsal::start().poller().expect("a poller");
        let mut ready = vec![7];
        let mut told = || {
            poller.wait(None, &mut ready).expect("it waits for nothing");
            ready.clone()
        };
        assert!(told().is_empty());
        poller.wake();
        assert_eq!([told(), told()], [vec![WOKEN], vec![]]);
    }
}
