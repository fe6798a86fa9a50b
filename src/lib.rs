//! A TFTP server, a TFTP client, and the protocol under both.
//!
//! RFC 1350 with options (RFC 2347), block sizes (2348), time-outs and sizes (2349) and windows (7440), in octet
//! and netascii, and a directory listing; `rfc/` in the source says requirement by requirement what is done and
//! which test shows it. The programs `rtftpd` and `rtftp` are thin shells around [`server`] and [`client`].
//!
//! # Serving and fetching
//!
//! ```
//! use std::sync::Arc;
//! use tftpkit::client::Client;
//! use tftpkit::server::{Config, Server};
//! use tftpkit::store::Folder;
//! use std::time::Duration;
//!
//! let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
//! let folder = Folder::open("fixtures/library".as_ref())?;
//! let server = Server::bind(config, Arc::new(folder), |event| println!("{event:?}"))?;
//! let (address, handle) = (server.addresses()[0], server.handle());
//! let running = std::thread::spawn(move || server.run());
//!
//! let client = Client::new(address);
//! for entry in client.list("")?.entries {
//!     println!("{} {}", entry.size, entry.name.display());
//! }
//!
//! handle.drain(Duration::from_secs(1));
//! running.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The programs, and what only they depend on, are behind the feature `programs`, which is on by default; the load
//! generator is behind the feature `load`, which `programs` turns on.
//!
//! # The house
//!
//! A module uses only modules above it in this list, never below, and [`net`] and [`store`] do not know each other.
//!
//! | module | knows | must not know |
//! |---|---|---|
//! | [`wire`] | packets and options, bytes and values | state, time |
//! | [`limits`] | every bound, with its reason | |
//! | [`proto`] | two machines: blocks, windows, time-outs | bytes, sockets, clocks |
//! | [`transfer`] | a machine with its opening packet and payload | sockets, clocks, folders |
//! | [`net`] | sockets, the clock, the loops that drive transfers | files, names |
//! | [`store`] | names, folders, listings | packets, sockets |
//! | [`server`] | who gets a session, what is told | |
//! | [`client`] | what to ask for, when to ask otherwise | terminals |
//!
//! *A block on its way to the network*: [`store`] opened my file → [`transfer`] put me in my slot of the ring,
//! behind my header → [`proto`] said 'send 17 to 24' → [`transfer`] cut that run out of the ring as one slice →
//! [`net`] sent it in one call → my slot is free when an ACK at or above me came.
//!
//! *An ACK on its way in*: [`net`] took me from a connected socket, where strangers never get, and stamped me with
//! the time → [`wire`] read me → [`proto`] widened my 16 bits and slid its window.

pub mod client;
pub mod limits;
pub mod net;
pub mod proto;
pub mod server;
pub mod store;
pub mod transfer;
pub mod wire;
