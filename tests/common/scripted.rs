//! Servers that do what a script says.

use super::wait::{DEADLINE, joined, joined_in_drop, next, until, within};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;
use tftpkit::wire::Packet;

/// A server that answers each datagram from its request port as a script says. Dropped, it closes its port.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heard: mpsc::Receiver<(Instant, String)>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Sends what `react` gives for each packet.
    pub(crate) fn new(mut react: impl FnMut(&Packet<'_>) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::that_leaves(move |packet| Some(react(packet)))
    }

    /// The same; where `react` gives nothing at all, it closes its port.
    pub(crate) fn that_leaves(
        mut react: impl FnMut(&Packet<'_>) -> Option<Vec<Vec<u8>>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("an address");
        let (tell, heard) = mpsc::channel();
        let run = move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let (len, peer) = match socket.recv_from(&mut buffer) {
                    // Nothing is what `goodbye` says.
                    Ok((0, _)) => return,
                    Ok(received) => received,
                    // The process was stopped and continued.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => panic!("{error}"),
                };
                let packet = Packet::parse(&buffer[..len]).expect("our client sends packets");
                // Whoever started it may not listen.
                let _ = tell.send((Instant::now(), packet.to_string()));
                let Some(answers) = react(&packet) else { return };
                for answer in answers {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&answer, peer);
                }
            }
        };
        Self { address, heard, thread: Some(std::thread::spawn(run)) }
    }

    /// Its address in words, as programs are given it.
    pub(crate) fn remote(&self) -> String {
        self.address.to_string()
    }

    /// The next packet that comes, in words.
    #[track_caller]
    pub(crate) fn hears(&self, what: &str) -> String {
        next(what, &self.heard).1
    }

    /// Waits for this packet, in words.
    #[track_caller]
    pub(crate) fn hears_at_last(&self, wanted: &str) {
        until(wanted, || self.heard.try_iter().any(|(_, packet)| packet == wanted).then_some(()));
    }

    /// What came up to now and was not looked at yet.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.try_iter().map(|(_, packet)| packet).collect()
    }

    /// Lets it read what has been sent to it, and ends it. Gives all that came, and when.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<(Instant, String)> {
        let thread = self.thread.take().expect("it runs");
        self.goodbye(&thread);
        joined("the scripted server", thread);
        self.heard.try_iter().collect()
    }

    /// Waits until it has left of itself.
    #[track_caller]
    pub(crate) fn left(mut self) {
        joined("the scripted server leaves", self.thread.take().expect("it runs"));
    }

    fn goodbye(&self, thread: &JoinHandle<()>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        // There may be no room for the first.
        within(DEADLINE, || {
            let _ = socket.send_to(&[], self.address);
            thread.is_finished().then_some(())
        });
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            self.goodbye(&thread);
            joined_in_drop("the scripted server", thread);
        }
    }
}
