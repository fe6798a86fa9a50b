//! The smallest server: it serves a folder until somebody presses Enter.
//!
//! ```sh
//! cargo run --example serve -- fixtures/library 6969
//! ```

use std::error::Error;
use std::net::Ipv6Addr;
use std::time::Duration;
use tftpkit::server::{Config, Server};
use tftpkit::store::Folder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "fixtures/library".into());
    let port = arguments.next().map_or(Ok(6969), |port| port.parse())?;

    // [::] takes IPv4 as well.
    let config = Config::default().listen((Ipv6Addr::UNSPECIFIED, port));
    let store = Folder::open(&folder)?;
    // What happens is told where it happens: an observer must not wait.
    let server = Server::bind(config, store, |event| println!("{event}"))?;
    println!("{folder} is served at {}: Enter stops it", server.addresses()[0]);

    let handle = server.handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        handle.drain(Duration::from_secs(5));
    });
    server.run()?;
    Ok(())
}
