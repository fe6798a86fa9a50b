//! One download over loopback, by who cuts and joins packets, block size and window: MB/s, the best of three.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tftpkit::client::{Client, Wishes};
use tftpkit::server::{Config, Server};
use tftpkit::store::Folder;
use tftpkit::transfer::Discard;
use tftpkit::wire::{BlockSize, WindowSize};

const SIZES: [u16; 4] = [512, 1428, 8192, 65464];
const WINDOWS: [u16; 3] = [1, 16, 64];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    for (name, megabytes) in [("small", 2), ("large", 32)] {
        std::fs::write(root.path().join(name), vec![7; megabytes << 20])?;
    }
    println!("MB/s            {}", SIZES.map(|size| format!("{size:>26}")).concat());
    let windows = WINDOWS.map(|window| format!("{window:>8}")).concat();
    println!("{:16}{}", "", SIZES.map(|_| format!("  {windows}")).concat());
    for offload in [true, false] {
        for no_offload in [false, true] {
            let config = Config::default().listen((Ipv4Addr::LOCALHOST, 0)).offload(offload);
            let server = Server::bind(config, Arc::new(Folder::open(root.path())?), |_| {})?;
            let (address, handle) = (server.addresses()[0], server.handle());
            let running = std::thread::spawn(move || server.run());
            let on = |on| if on { "on " } else { "off" };
            print!("GSO {} GRO {}", on(offload), on(!no_offload));
            print!("  ");
            for size in SIZES {
                print!("  ");
                for window in WINDOWS {
                    let wishes = Wishes::default()
                        .block_size(BlockSize::new(size))
                        .window(WindowSize::new(window))
                        .offload(!no_offload);
                    let client = Client::new(address).wishes(wishes);
                    print!("{:>8.0}", best(&client, size, window)?);
                }
            }
            println!();
            handle.drain(Duration::ZERO);
            running.join().map_err(|_| "the server panicked")??;
        }
    }
    Ok(())
}

fn best(client: &Client, size: u16, window: u16) -> Result<f64, Box<dyn std::error::Error>> {
    // Small blocks alone are slow; a table should not take minutes.
    let name = if window == 1 && size < 8192 { "small" } else { "large" };
    let mut best = 0f64;
    for _ in 0..3 {
        let summary = client.get(name, Discard, |_| {})?;
        best = best.max(summary.bytes as f64 / 1e6 / summary.elapsed.as_secs_f64());
    }
    Ok(best)
}
