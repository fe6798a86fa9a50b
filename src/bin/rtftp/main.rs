//! `rtftp`: the TFTP client.
fn main() {}
