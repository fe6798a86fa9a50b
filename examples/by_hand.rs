//! The protocol driven by hand: a server's transfer and a client's talk over two queues in memory, which lose two
//! packets, without sockets and without a clock.
//!
//! ```sh
//! cargo run --example by_hand
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tftpkit::proto::{GrantLimits, Time, Timing, grant};
use tftpkit::transfer::{Action, Memory, Terms, Transfer};
use tftpkit::wire::{
    BlockSize, Mode, Operation, Options, Packet, Request, TransferOption, WindowSize,
};

/// What a packet takes from one side to the other.
const ONE_WAY: Duration = Duration::from_millis(10);

/// One direction of the network.
struct Queue {
    from: &'static str,
    /// The packet that is lost, counted from 1.
    lost: usize,
    sent: usize,
    /// Packets under way, and when they arrive.
    packets: VecDeque<(Time, Vec<u8>)>,
}

impl Queue {
    fn new(from: &'static str, lost: usize) -> Self {
        Self { from, lost, sent: 0, packets: VecDeque::new() }
    }

    fn send(&mut self, now: Time, packet: &[u8]) {
        self.sent += 1;
        let is_lost = self.sent == self.lost;
        let shown = Packet::parse(packet).map_or_else(|why| why.to_string(), |p| p.to_string());
        let fate = if is_lost { " (lost)" } else { "" };
        println!("{:>4} ms  {}: {shown}{fate}", now.as_micros() / 1000, self.from);
        if !is_lost {
            self.packets.push_back((now + ONE_WAY, packet.to_vec()));
        }
    }

    /// When the next packet arrives.
    fn next(&self) -> Option<Time> {
        self.packets.front().map(|(at, _)| *at)
    }

    fn receive(&mut self, now: Time) -> Option<Vec<u8>> {
        self.next().filter(|at| *at <= now)?;
        self.packets.pop_front().map(|(_, packet)| packet)
    }
}

/// Does what `transfer` wants done now. Tells how long it waits for a packet, or nothing when it is over.
fn drive(transfer: &mut Transfer, now: Time, out: &mut Queue) -> Option<Time> {
    loop {
        match transfer.poll(now) {
            Action::Send(burst) => {
                burst.datagrams().for_each(|packet| out.send(now, packet));
            }
            Action::Storage => {
                transfer.run_storage(now);
            }
            Action::Wait(until) => return Some(until),
            Action::Done => return None,
        }
    }
}

/// The server's side, once it has the request.
fn serve(now: Time, request: &Request<'_>, file: Vec<u8>) -> Transfer {
    let (limits, size) = (GrantLimits::default(), Some(file.len() as u64));
    let (agreed, answer) = grant(request.operation, &request.options, &limits, size);
    let terms = Terms { agreed, answer, mode: request.mode, timing: Timing::default() };
    Transfer::serve_read(now, &terms, Box::new(Memory::new(file)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let file: Vec<u8> = (0..5000_u16).map(|n| (n % 251) as u8).collect();
    let request = Request {
        operation: Operation::Read,
        name: b"blink.bin",
        mode: Mode::Octet,
        options: Options::from_iter([
            TransferOption::TransferSize(0),
            TransferOption::BlockSize(BlockSize::try_from(1024)?),
            TransferOption::WindowSize(WindowSize::try_from(4)?),
        ]),
    };

    let mut now = Time::START;
    let received = Arc::new(Mutex::new(Vec::new()));
    let sink = Box::new(Arc::clone(&received));
    let mut client = Transfer::get(now, Timing::default(), &request, sink);
    let mut server: Option<Transfer> = None;
    // The third packet of either side is lost.
    let (mut to_server, mut to_client) = (Queue::new("client", 3), Queue::new("server", 3));
    loop {
        if let Some(packet) = to_client.receive(now) {
            client.handle(now, &packet);
        }
        if let Some(packet) = to_server.receive(now) {
            match (&mut server, Packet::parse(&packet)?) {
                (Some(server), _) => server.handle(now, &packet),
                (None, Packet::Request(request)) => {
                    server = Some(serve(now, &request, file.clone()));
                }
                (None, other) => println!("no request: {other}"),
            }
        }
        let client_waits = drive(&mut client, now, &mut to_server);
        let server_waits = server.as_mut().and_then(|server| drive(server, now, &mut to_client));

        // Nothing happens until a packet arrives or a timer runs out, so the time is set to that moment.
        let moments = [client_waits, server_waits, to_server.next(), to_client.next()];
        match moments.into_iter().flatten().min() {
            Some(next) => now = next,
            None => break,
        }
    }

    for (side, transfer) in [("client", Some(client)), ("server", server)] {
        let transfer = transfer.ok_or("the request never arrived")?;
        let summary = transfer.summary();
        let outcome = summary.outcome.as_ref().ok_or("it has no end")?;
        println!("{side}: {outcome}, {} packets", summary.packets);
    }
    if *received.lock().map_err(|_| "a panic")? != file {
        return Err("these are not the bytes of the file".into());
    }
    println!("all {} bytes arrived", file.len());
    Ok(())
}
