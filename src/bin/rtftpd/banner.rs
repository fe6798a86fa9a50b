//! What a person sees first: what is bound, what is served, what is allowed, and a line to try.

use crate::args::{Args, UploadsArg};
use nix::ifaddrs::getifaddrs;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};

/// Addresses of this machine that are shown where all are bound.
const MOST_ADDRESSES: usize = 4;

/// Prints the banner, on standard output. Whoever closed that does not want it.
pub(crate) fn show(args: &Args, bound: &[SocketAddr]) {
    if !args.quiet {
        let _ = io::stdout().write_all(text(args, bound).as_bytes());
    }
}

fn text(args: &Args, bound: &[SocketAddr]) -> String {
    let root = args.root.canonicalize().unwrap_or_else(|_| args.root.clone());
    let mut out = format!("rtftpd {} serves {}\n", env!("CARGO_PKG_VERSION"), root.display());
    let mut line = |label: &str, text: &str| out += &format!("  {label:<10} {text}\n");
    for address in bound {
        let both = address.is_ipv6() && address.ip().is_unspecified();
        line("listening", &format!("{address}{}", if both { " (IPv4 and IPv6)" } else { "" }));
    }
    line(
        "uploads",
        match args.uploads {
            UploadsArg::Off => "off (--uploads create or --uploads overwrite allows them)",
            UploadsArg::Create => "new names only",
            UploadsArg::Overwrite => "any name; existing files are replaced",
        },
    );
    line(
        "listing",
        &match args.listing() {
            Some(name) => format!("on: LIST, and the file {name} in every directory"),
            None => "off".into(),
        },
    );
    if let Some(address) = bound.first() {
        let near = client_address(*address);
        line("try", &format!("{} {near}", client_program()));
        let (host, port) = (near.ip(), near.port());
        line(
            "or",
            &match args.listing() {
                Some(name) => format!("busybox tftp -g -r {name} -l - {host} {port}"),
                None => format!("busybox tftp -g -r FILE {host} {port}"),
            },
        );
        for address in own_addresses(*address) {
            line("from afar", &format!("rtftp {address}"));
        }
    }
    if io::stdout().is_terminal() {
        out += "Ctrl-C stops it.\n";
    }
    out
}

/// How to call our client from here: it lies beside this program, or cargo builds it.
fn client_program() -> String {
    let name = "rtftp";
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(name));
    let Some(beside) = beside.filter(|program| program.is_file()) else {
        let in_a_clone = std::env::var_os("CARGO_MANIFEST_DIR").is_some();
        return if in_a_clone {
            format!("cargo run --release --bin {name} --")
        } else {
            name.into()
        };
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = beside.parent().is_some_and(|dir| std::env::split_paths(&path).any(|p| p == dir));
    let here = std::env::current_dir().unwrap_or_default();
    let shortest = beside.strip_prefix(here).unwrap_or(&beside);
    if on_path { name.into() } else { shortest.display().to_string() }
}

/// Where a client on this machine reaches it.
fn client_address(bound: SocketAddr) -> SocketAddr {
    let ip = if bound.ip().is_unspecified() { [127, 0, 0, 1].into() } else { bound.ip() };
    SocketAddr::new(ip, bound.port())
}

/// Where clients elsewhere reach it, when all addresses are bound.
fn own_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return Vec::new();
    }
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    addresses
        .filter(|ip| !ip.is_loopback() && (ip.is_ipv4() || bound.is_ipv6()))
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .take(MOST_ADDRESSES)
        .collect()
}
