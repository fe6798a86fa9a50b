//! What a person sees first: what is bound, what is served, what is allowed, and a line to try.

use crate::args::{Args, UploadsArg};
use crate::sandbox::Entered;
use clap::ValueEnum;
use nix::ifaddrs::getifaddrs;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Addresses of this machine that are shown where all are bound.
const MOST_ADDRESSES: usize = 4;

/// What the server is no more, and what it could only find out before.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    pub(crate) from_afar: Vec<SocketAddr>,
    /// The configuration that it was started with.
    pub(crate) config: Option<PathBuf>,
    /// Who it is, where root started it.
    pub(crate) user: Option<String>,
    pub(crate) sandbox: Entered,
    /// Where the page is, if there is one.
    pub(crate) page: Option<SocketAddr>,
}

/// Prints the banner, on standard output. Whoever closed that does not want it.
pub(crate) fn show(
    args: &Args,
    bound: &[SocketAddr],
    given_up: &GivenUp,
    rules: &[(usize, PathBuf)],
) {
    if args.json {
        // A program reads along, and nothing else is for it.
        return tell(args, bound, given_up, rules);
    }
    if args.quiet || args.service.inetd {
        return;
    }
    let mut text = text(args, bound, (given_up, rules), &client_program());
    if io::stdout().is_terminal() {
        text += "Ctrl-C stops it.\n";
    }
    let _ = io::stdout().write_all(text.as_bytes());
}

/// The banner as log lines.
fn tell(args: &Args, bound: &[SocketAddr], given_up: &GivenUp, rules: &[(usize, PathBuf)]) {
    let root = root(args);
    let GivenUp { user, sandbox, config, page, .. } = given_up;
    let config = config.as_ref().map(|path| path.display().to_string());
    let page = page.map(url);
    let uploads = args.uploads.to_possible_value();
    let uploads = uploads.as_ref().map(clap::builder::PossibleValue::get_name);
    for address in bound {
        let (version, root) = (env!("CARGO_PKG_VERSION"), root.display());
        let listing = args.listing();
        let rules =
            (!rules.is_empty()).then(|| rules.iter().map(|(count, _)| count).sum::<usize>());
        tracing::info!(version, %root, %address, uploads, listing, config, rules, user, %sandbox, page, "listening");
    }
}

fn root(args: &Args) -> PathBuf {
    args.root.canonicalize().unwrap_or_else(|_| args.root.clone())
}

fn text(
    args: &Args,
    bound: &[SocketAddr],
    (given_up, rules): (&GivenUp, &[(usize, PathBuf)]),
    client: &str,
) -> String {
    let root = root(args);
    let mut out = format!("rtftpd {} serves {}\n", env!("CARGO_PKG_VERSION"), root.display());
    let mut line = |label: &str, text: &str| out += &format!("  {label:<10} {text}\n");
    for address in bound {
        let both = address.is_ipv6() && address.ip().is_unspecified();
        let both = if both { " (IPv4 and IPv6)" } else { "" };
        let at =
            args.interface.as_ref().map_or_else(String::new, |name| format!(" at {name} alone"));
        line("listening", &format!("{address}{both}{at}"));
    }
    if args.single_port {
        line("transfers", "at the same port; behind a filter that knows the clients");
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
    if let Some(names) = args.names.told() {
        line("names", &names);
    }
    if let Some(path) = &given_up.config {
        line("config", &path.display().to_string());
    }
    if !rules.is_empty() {
        let all = rules.iter().map(|(count, file)| format!("{count} in {}", file.display()));
        let all = all.collect::<Vec<_>>().join(" and ");
        line("rules", &format!("{all}, before all of that"));
    }
    if let Some(user) = &given_up.user {
        line("user", user);
    }
    line("sandbox", &given_up.sandbox.to_string());
    if let Some(page) = given_up.page {
        line("page", &url(page));
    }
    if let Some(address) = bound.first() {
        let near = client_address(*address);
        line("try", &format!("{client} {near}"));
        let (host, port) = (near.ip(), near.port());
        line(
            "or",
            &match args.listing() {
                Some(name) => format!("busybox tftp -g -r {name} -l - {host} {port}"),
                None => format!("busybox tftp -g -r FILE {host} {port}"),
            },
        );
        for address in &given_up.from_afar {
            line("from afar", &format!("rtftp {address}"));
        }
    }
    out
}

/// Where a browser on this machine finds the page.
fn url(page: SocketAddr) -> String {
    format!("http://{}/", client_address(page))
}

const CLIENT: &str = "rtftp";

/// How to call our client from here: it lies beside this program, or cargo builds it.
fn client_program() -> String {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(CLIENT));
    match beside.filter(|program| program.is_file()) {
        Some(program) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            as_typed(&program, &path, &std::env::current_dir().unwrap_or_default())
        }
        None if std::env::var_os("CARGO_MANIFEST_DIR").is_some() => {
            format!("cargo run --release --bin {CLIENT} --")
        }
        None => CLIENT.into(),
    }
}

/// The shortest name by which a shell with this PATH finds the client in this folder.
fn as_typed(program: &Path, path: &OsStr, here: &Path) -> String {
    let on_path = program.parent().is_some_and(|dir| std::env::split_paths(path).any(|p| p == dir));
    let shortest = program.strip_prefix(here).unwrap_or(program);
    if on_path { CLIENT.into() } else { shortest.display().to_string() }
}

/// Where a client on this machine reaches it.
fn client_address(bound: SocketAddr) -> SocketAddr {
    match bound.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], bound.port())),
        // With its interface, where it has one.
        false => bound,
    }
}

/// Where clients elsewhere reach it, when all addresses are bound.
pub(crate) fn own_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return Vec::new();
    }
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    reachable(bound, addresses)
}

/// Those of this machine's addresses that clients elsewhere can ask.
fn reachable(bound: SocketAddr, addresses: impl Iterator<Item = IpAddr>) -> Vec<SocketAddr> {
    addresses
        .filter(|ip| !ip.is_loopback() && (ip.is_ipv4() || bound.is_ipv6()))
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .take(MOST_ADDRESSES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// The banner of a server with these options that is bound there, but for what other machines would try.
    fn told(options: &[&str], bound: &str) -> String {
        let args = Args::parse_from([&["rtftpd", "/"], options].concat());
        let bound: Vec<_> =
            bound.split(' ').map(|address| address.parse().expect("an address")).collect();
        let rules: Vec<_> = args.rules.iter().map(|file| (3, file.clone())).collect();
        let lines = text(&args, &bound, (&GivenUp::default(), &rules), "bin/rtftp");
        let lines = lines.lines().filter(|line| !line.contains("from afar"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_banner_tells_what_is_bound_served_and_allowed_and_what_to_try() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "rtftpd {version} serves /\n\
            \x20 listening  [::]:7 (IPv4 and IPv6)\n\
            \x20 listening  127.0.0.1:8\n\
            \x20 uploads    off (--uploads create or --uploads overwrite allows them)\n\
            \x20 listing    on: LIST, and the file .list in every directory\n\
            \x20 sandbox    off\n\
            \x20 try        bin/rtftp 127.0.0.1:7\n\
            \x20 or         busybox tftp -g -r .list -l - 127.0.0.1 7\n"
        );
        assert_eq!(told(&[], "[::]:7 127.0.0.1:8"), expected);
        let other = told(&["--uploads", "create", "--no-list"], "[2001:db8::1]:7");
        for line in [
            "  listening  [2001:db8::1]:7\n",
            "  uploads    new names only\n",
            "  listing    off\n",
            "  try        bin/rtftp [2001:db8::1]:7\n",
            "  or         busybox tftp -g -r FILE 2001:db8::1 7\n",
        ] {
            assert!(other.contains(line), "{line}{other}");
        }
        let one_port = told(&["--single-port"], "127.0.0.1:7");
        let line = "  transfers  at the same port; behind a filter that knows the clients\n";
        assert!(one_port.contains(line) && !other.contains(line), "{one_port}");
        let alone = told(&["--interface", "lo"], "[::]:7");
        assert!(alone.contains("  listening  [::]:7 (IPv4 and IPv6) at lo alone\n"), "{alone}");
        let files = ["--map-file", "m", "--map-rule", "r a b", "--strip-prefix", "C:,/boot/"];
        let names = [&files[..], &["--strip-junk", "--ignore-case"]].concat();
        let names = told(&names, "127.0.0.1:7");
        let line = "  names      rewritten by m, rewritten by a --map-rule, without C: or /boot/ in front, without 0xFF \
                    and control characters at the end, in letters of any size\n";
        assert!(names.contains(line), "{names}");
        let two = told(&["--map-rule", "r a b", "--map-rule", "r c d"], "127.0.0.1:7");
        assert!(two.contains("  names      rewritten by 2 --map-rule\n"), "{two}");
        let any = told(&["--uploads", "overwrite", "--list-name", "ls"], "0.0.0.0:7");
        for line in [
            "  listening  0.0.0.0:7\n",
            "  uploads    any name; existing files are replaced\n",
            "  listing    on: LIST, and the file ls in every directory\n",
            "  or         busybox tftp -g -r ls -l - 127.0.0.1 7\n",
        ] {
            assert!(any.contains(line), "{line}{any}");
        }
        let ruled = told(&["--rules", "/etc/rules.toml"], "0.0.0.0:7");
        assert!(
            ruled.contains("\n  rules      3 in /etc/rules.toml, before all of that\n"),
            "{ruled}"
        );
    }

    #[test]
    fn the_client_is_named_as_briefly_as_a_shell_finds_it() {
        let typed = |path: &str, here: &str| {
            as_typed(Path::new("/opt/bin/rtftp"), OsStr::new(path), Path::new(here))
        };
        assert_eq!(typed("/bin:/opt/bin", "/opt"), "rtftp");
        assert_eq!(typed("/bin", "/opt"), "bin/rtftp");
        assert_eq!(typed("/bin", "/srv"), "/opt/bin/rtftp");
    }

    #[test]
    fn from_afar_only_addresses_are_shown_that_lead_here() {
        let shown = |bound: &str, all: &[&str]| -> Vec<String> {
            let all = all.iter().map(|ip| ip.parse().expect("an address"));
            let shown = reachable(bound.parse().expect("an address"), all);
            shown.iter().map(ToString::to_string).collect()
        };
        let all = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "fe80::1", "192.0.2.2"];
        assert_eq!(shown("[::]:7", &all), ["192.0.2.1:7", "[2001:db8::1]:7", "192.0.2.2:7"]);
        assert_eq!(shown("0.0.0.0:7", &all), ["192.0.2.1:7", "192.0.2.2:7"]);
        assert_eq!(shown("0.0.0.0:7", &["192.0.2.1"; 9]).len(), MOST_ADDRESSES);
        let one = "192.0.2.1:7".parse().expect("an address");
        assert_eq!(own_addresses(one), [], "only that one is bound, and it is shown above");
    }
}
