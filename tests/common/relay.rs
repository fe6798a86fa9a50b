//! A network between a client and a server on loopback that does with each datagram what a test says.
//!
//! Towards the client it is the server: requests come to one port, and each request is answered from a port of its
//! own. Towards the server it is the client, at that same port of its own; a server's second port for the same
//! request is a stranger there, as it would be to the client.

use crate::common::joined_in_drop;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What becomes of a datagram: it arrives after each of these, or not at all.
pub(crate) type Fate = Vec<Duration>;

/// Nobody repeats anything after so long.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// How often it looks around of itself.
const LOOK: Duration = Duration::from_secs(1);

/// Dropped, it closes all its ports.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Stands for `server`; `fate` is asked once for each datagram, in either direction.
    pub(crate) fn before(
        server: SocketAddr,
        fate: impl FnMut(&[u8]) -> Fate + Send + 'static,
    ) -> Self {
        let front = socket();
        let address = front.local_addr().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let mut network = Network {
            server,
            fate,
            front,
            flows: Vec::new(),
            requests: 0,
            late: Vec::new(),
            stop: Arc::clone(&stop),
        };
        let thread = Some(std::thread::spawn(move || network.run()));
        Self { address, stop, thread }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Something that comes, so that it looks.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address));
        if let Some(thread) = self.thread.take() {
            joined_in_drop("the relay ends", thread);
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_nonblocking(true).expect("nonblocking");
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    socket
}

/// One request and what follows it.
struct Flow {
    id: u64,
    request: Vec<u8>,
    client: SocketAddr,
    /// The server's port for it, once it is known.
    tid: Option<SocketAddr>,
    socket: UdpSocket,
    used: Instant,
}

/// A datagram on its way.
struct Late {
    due: Instant,
    flow: u64,
    to_client: bool,
    bytes: Vec<u8>,
}

struct Network<F> {
    server: SocketAddr,
    fate: F,
    front: UdpSocket,
    flows: Vec<Flow>,
    requests: u64,
    late: Vec<Late>,
    stop: Arc<AtomicBool>,
}

impl<F: FnMut(&[u8]) -> Fate> Network<F> {
    fn run(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            let ready = self.wait();
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if ready[0] {
                while let Ok((len, client)) = self.front.recv_from(&mut buffer) {
                    self.request(&buffer[..len], client);
                }
            }
            for n in (0..ready.len() - 1).filter(|n| ready[n + 1]) {
                while let Ok((len, from)) = self.flows[n].socket.recv_from(&mut buffer) {
                    self.within(n, &buffer[..len], from);
                }
            }
            self.deliver();
            let now = Instant::now();
            self.flows.retain(|flow| now.duration_since(flow.used) < FORGOTTEN);
        }
    }

    /// Sleeps until something comes or is due, and tells which sockets have something.
    fn wait(&self) -> Vec<bool> {
        let sockets = [&self.front].into_iter().chain(self.flows.iter().map(|flow| &flow.socket));
        let mut fds: Vec<_> =
            sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        let next = self.late.iter().map(|late| late.due).min();
        // Where there was no room for what has it look when it is stopped, it looks all the same.
        let left = next.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        let wait = PollTimeout::try_from(left.min(LOOK) + Duration::from_millis(1));
        let wait = wait.expect("a short while");
        match poll(&mut fds, wait) {
            // Stopped and continued: whatever there is comes with the next look.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        fds.iter().map(|fd| fd.any().unwrap_or(false)).collect()
    }

    fn request(&mut self, bytes: &[u8], client: SocketAddr) {
        let same = |flow: &Flow| flow.client == client && flow.request == bytes;
        let known = self.flows.iter().position(same);
        let n = known.unwrap_or_else(|| {
            self.requests += 1;
            let (id, request) = (self.requests, bytes.to_vec());
            let (used, socket) = (Instant::now(), socket());
            self.flows.push(Flow { id, request, client, tid: None, socket, used });
            self.flows.len() - 1
        });
        self.carry(n, false, bytes);
    }

    fn within(&mut self, n: usize, bytes: &[u8], from: SocketAddr) {
        let Flow { client, tid, .. } = self.flows[n];
        if from == client {
            self.carry(n, false, bytes);
        } else if tid.is_none_or(|tid| tid == from) && self.carry(n, true, bytes) {
            // What the client never sees binds it to nothing.
            self.flows[n].tid = Some(from);
        }
    }

    /// Tells whether it will arrive.
    fn carry(&mut self, n: usize, to_client: bool, bytes: &[u8]) -> bool {
        let now = Instant::now();
        self.flows[n].used = now;
        let fate = (self.fate)(bytes);
        for delay in &fate {
            let (due, flow) = (now + *delay, self.flows[n].id);
            self.late.push(Late { due, flow, to_client, bytes: bytes.into() });
        }
        !fate.is_empty()
    }

    /// Hands over what is due, in the order in which it is.
    fn deliver(&mut self) {
        let now = Instant::now();
        self.late.sort_by_key(|late| late.due);
        let due = self.late.partition_point(|late| late.due <= now);
        for late in self.late.drain(..due) {
            let Some(flow) = self.flows.iter().find(|flow| flow.id == late.flow) else { continue };
            let is_request = late.bytes == flow.request;
            let tid = flow.tid.filter(|_| !is_request).unwrap_or(self.server);
            // Whoever is gone by now gets nothing.
            let _ =
                flow.socket.send_to(&late.bytes, if late.to_client { flow.client } else { tid });
        }
    }
}
