//! A TFTP server, a TFTP client, and the protocol under both.
//!
//! It speaks RFC 1350 with options (RFC 2347), block sizes (2348), time-outs and sizes (2349) and windows (7440), in
//! octet and netascii, and it lists directories. `rfc/` in the source says, requirement by requirement, what is
//! implemented and which test shows it. The programs `rtftpd` and `rtftp` are thin shells around [`server`] and
//! [`client`].
//!
//! | you want to | start with |
//! |---|---|
//! | serve a folder, files in memory, or files made for each client | [`server::Server`] with [`store::Folder`], [`store::InMemory`] or [`store::Generated`] |
//! | serve from somewhere else | your own [`store::Store`]: one method is enough |
//! | decide who gets what | [`server::StandardPolicy`] with each [`server::Rule`], or your own [`server::Policy`] |
//! | count, log or show what happens | [`server::Event`] and [`server::Handle::gauges`] |
//! | download, upload or list | [`client::Client`] |
//! | put the protocol on a transport of your own, or test a device with it | [`transfer::Transfer`] |
//! | read and write packets | [`wire::Packet`] |
//!
//! # Serving and fetching
//!
//! A server is bound to its addresses, runs on the thread that calls [`run`](server::Server::run), and is stopped
//! through its [`Handle`](server::Handle). A client's calls return when they are done. Nothing here needs an async
//! runtime.
//!
//! ```
//! use std::time::Duration;
//! use tftpkit::client::Client;
//! use tftpkit::server::{Config, Server};
//! use tftpkit::store::Folder;
//!
//! let config = Config::default().listen(([127, 0, 0, 1], 0)); // Port 0 is a free one.
//! let folder = Folder::open("fixtures/library")?;
//! let server = Server::bind(config, folder, |event| println!("{event}"))?;
//! let (address, handle) = (server.addresses()[0], server.handle());
//! let running = std::thread::spawn(move || server.run());
//!
//! let client = Client::new(address);
//! for entry in client.list("")?.entries {
//!     println!("{} {}", entry.size, entry.name.display());
//! }
//! let welcome = client.read("welcome.txt")?;
//! assert_eq!(welcome, std::fs::read("fixtures/library/welcome.txt")?);
//!
//! handle.drain(Duration::from_secs(1));
//! running.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The folder `examples/` has a server, a client, a server of generated files, and two transfers that are driven by
//! hand.
//!
//! # Features
//!
//! `programs`, which is on by default, builds `rtftpd` and `rtftp` and pulls in what only they need: a library wants
//! `default-features = false`. `load` adds the load generator; `programs` turns it on.
//!
//! # The modules
//!
//! A module uses only modules above it in this list, never below, and `net`, which is private, and [`store`] do not know
//! each other. `tests/tidy.rs` holds them to it.
//!
//! | module | knows | must not know |
//! |---|---|---|
//! | [`wire`] | packets and options, bytes and values | state, time |
//! | [`limits`] | every bound, with its reason | |
//! | [`proto`] | two machines: blocks, windows, time-outs | bytes, sockets, clocks |
//! | [`rate`] | the token bucket: how much there may be in a time | clocks |
//! | [`transfer`] | a machine with its opening packet and payload | sockets, clocks, folders |
//! | [`query`] | who asks for what, read once from the datagram | what is made of it |
//! | `net` | what is asked of the operating system (sockets, time, threads), and the loops that drive transfers | files, names |
//! | [`store`] | names, folders, listings | packets, sockets |
//! | [`server`] | who gets what ([`Policy`](server::Policy)), sessions, quotas, what is told | how a transfer works, where files live |
//! | [`client`] | what to ask for, when to ask otherwise | terminals |
//!
//! **The way of a request.** `net` receives the datagram at the request port; [`query`] reads it, once; a
//! [`Policy`](server::Policy) says how its client is served; the registry and the quotas of [`server`] find that it is new
//! and that there is room; [`store`] opens what is asked for; [`proto`] grants options; a [`transfer`] begins, and `net`
//! drives it on a socket of its own.
//!
//! **The way of a block.** The [`transfer`] reads it from its source straight into a slot of the send ring, behind a
//! header; [`proto`] says 'send 17 to 24'; the [`transfer`] cuts that run out of the ring as one slice; `net` sends the
//! slice in one call. The slot is free when an ACK of the block or of a later one comes.
//!
//! **The way of an ACK.** `net` receives it on a connected socket, which packets of strangers never reach, or finds by its
//! sender the transfer that it belongs to, where all share one port; it notes the time; the [`transfer`] has [`wire`] read it; [`proto`] widens its 16 bits and slides its window.

pub mod client;
pub mod limits;
mod net;
pub mod proto;
pub mod query;
pub mod rate;
pub mod server;
#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
pub mod store;
pub mod transfer;
pub mod wire;
