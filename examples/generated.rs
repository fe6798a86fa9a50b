//! A server without files: what it sends is made for each client when it asks.
//!
//! ```sh
//! cargo run --example generated -- 6969
//! ```

use std::error::Error;
use std::net::Ipv6Addr;
use std::time::Duration;
use tftpkit::query::Query;
use tftpkit::server::{Config, Server};
use tftpkit::store::{Generated, Readable, StoreError};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(6969), |port| port.parse())?;

    // `at_once` is for what never waits. With a database to ask it would be `new`.
    let store = Generated::at_once(made_for);
    let config = Config::default().listen((Ipv6Addr::UNSPECIFIED, port));
    let server = Server::bind(config, store, |event| println!("{event}"))?;
    println!("config-for-me.txt is served at {}: Enter stops it", server.addresses()[0]);

    let handle = server.handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        handle.drain(Duration::from_secs(5));
    });
    server.run()?;
    Ok(())
}

/// The file that `query` asks for. An error is answered with an ERROR; its words are for the log.
fn made_for(query: &Query) -> Result<Readable, StoreError> {
    // Some clients put a slash in front of a name. To a path it means nothing.
    match query.path()?.path().to_str() {
        Some("config-for-me.txt") => {
            Ok(Readable::bytes(format!("# Made for you\nip-address {}\n", query.peer.ip())))
        }
        Some("everything.txt") => Err(StoreError::denied("nobody gets everything")),
        _ => Err(StoreError::NotFound),
    }
}
