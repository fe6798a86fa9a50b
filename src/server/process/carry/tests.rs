//! A process of a transfer, with a server that does what a test says.

use super::*;
use crate::proto::{Agreed, Timing};
use crate::transfer::Terms;
use crate::wire::{Mode, Options};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::thread::spawn;
use std::time::{Duration, Instant};

/// A client that asks for the blocks one by one once it is told to, until the last.
fn download(client: &UdpSocket, begins: &std::sync::mpsc::Receiver<()>) -> io::Result<()> {
    let mut packet = [0; 1024];
    begins.recv().map_err(io::Error::other)?;
    loop {
        let (len, server) = client.recv_from(&mut packet)?;
        client.send_to(&[&[0, 4], &packet[2..4]].concat(), server)?;
        if len < 4 + 512 {
            return Ok(());
        }
    }
}

#[test]
fn a_process_says_now_and_then_how_far_it_is_and_that_it_lives_where_nobody_tells_it_anything() {
    const BLOCKS: usize = 200;
    const WAIT: Duration = Duration::from_millis(2);
    let ((server, theirs), (_orders, their_orders)) =
        (Channel::pair().expect("a pair"), Channel::pair().expect("a pair"));
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let (client, own) = (bind(), bind());
    own.connect(client.local_addr().expect("an address")).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    server.set_timeout(Duration::from_secs(30)).expect("a timeout");
    let (agreed, answer, timing) = (Agreed::default(), Options::NONE, Timing::default());
    let terms = Terms { agreed, answer, mode: Mode::Octet, timing };
    let mut job = Job::new(&terms, false);
    job.is_held = true;
    let job = serde_json::to_vec(&job).expect("JSON");
    server.send_with(&job, [own.as_fd(), their_orders.as_fd()]).expect("sent");
    let (go, begins) = std::sync::mpsc::channel();
    let process = spawn(|| carry(theirs.into(), || Ok(())));
    let peer = spawn(move || download(&client, &begins));
    let (mut told_sent, mut early, mut until) = (0, 0, Instant::now());
    let (mut left, mut said, mut began) = (512 * BLOCKS, Vec::new(), Instant::now());
    let mut message = vec![0; MOST_BYTES];
    while said.last() != Some(&ENDED) {
        let len = server.receive(&mut message).expect("a message");
        assert!(len > 0, "it is gone: {said:?}");
        said.push(message[0]);
        match message[0] {
            READ => {
                let most = message[1..len].try_into().map(u64::from_le_bytes).expect("a number");
                let bytes = left.min(most as usize);
                left -= bytes;
                server.send(&[&[DONE], &vec![7; bytes][..]].concat()).expect("sent");
            }
            SHARE => {
                let sent = message[1..len].try_into().map(u64::from_le_bytes).expect("a number");
                let now = Instant::now();
                if sent > 0 {
                    early += usize::from(now + WAIT / 2 < until);
                    (told_sent, until) = (told_sent + sent, now + WAIT);
                }
                let wait = until.saturating_duration_since(now).as_micros() as u64;
                server.send(&[&[DONE], &wait.to_le_bytes()[..], &[0; 8]].concat()).expect("sent");
            }
            // The client is silent for longer than this process waits for orders.
            ALIVE if !said[..said.len() - 1].contains(&ALIVE) => {
                began = Instant::now();
                go.send(()).expect("a client");
            }
            _ => {}
        }
    }
    assert!(said.contains(&ALIVE), "it never said that it lives: {said:?}");
    // On a busy machine some of the time for which it is to wait may be over when it hears of that.
    assert!(early < BLOCKS / 2, "it sends {early} times when it is to wait");
    assert!(told_sent >= 516 * BLOCKS as u64, "it says that it sent {told_sent} bytes");
    peer.join().expect("no panic").expect("the whole file");
    process.join().expect("no panic").expect("it ends");
    let told = said.iter().filter(|kind| **kind == FIGURES).count() as u32;
    // With the first answer, and in each tenth of a second, whatever it sends meanwhile.
    let most = 3 + began.elapsed().as_millis() / limits::FIGURES_EVERY.as_millis();
    assert!((1..=most).contains(&told.into()), "of {most} messages at most: {told}");
}
