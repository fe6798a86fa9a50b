//! A TFTP server, a client and the protocol under both.
#![doc = ""]

pub mod client;
pub mod limits;
pub mod net;
pub mod proto;
pub mod server;
pub mod store;
pub mod transfer;
pub mod wire;
