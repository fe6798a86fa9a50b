//! Clients and servers with a router between them that translates addresses: three networks on this machine, nftables in
//! the middle, and the rules that `packaging/nat/` gives to operators.

#[path = "common/clients.rs"]
mod clients;
mod common;

use clients::{BUSYBOX, CURL, Client, RTFTP, TFTP_HPA, installed, octets, said};
use common::apart::{OPEN, in_own_network};
use common::{DEADLINE, Daemon, child, next};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where clients ask: the router's address on their side.
const OUTSIDE: &str = "10.1.0.1";
const SERVERS: [&str; 3] = ["10.2.0.2", "10.2.0.3", "10.2.0.4"];

/// A program that runs, for as long as this lives.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network beside that of the test, which is the router, with one interface.
struct Beside(Running);

impl Beside {
    /// The router's end of it has the address that ends with 1.
    fn new(router_end: &str, network: &str, addresses: &[&str]) -> Self {
        let mut holder = Command::new(installed("unshare"));
        let holder =
            child::started(holder.args(["--net", "sh", "-c", "echo there && exec sleep 600"]));
        let mut beside = Self(Running(holder));
        let out = beside.0.0.stdout.take().expect("a pipe");
        assert_eq!(next("a network", &child::lines(out)), "there");
        let pid = beside.0.0.id();
        shell(&format!(
            "ip link add {router_end} type veth peer name eth0 netns {pid} && \
             ip addr add {network}.1/24 dev {router_end} && ip link set {router_end} up"
        ));
        let all = addresses.iter().map(|address| format!("ip addr add {address}/24 dev eth0 && "));
        let line = format!(
            "ip link set lo up && {} ip link set eth0 up && ip route add default via {network}.1",
            all.collect::<String>()
        );
        let done = child::output(beside.command("sh").args(["-c", &line]));
        assert!(done.status.success(), "{line}: {}", said(&done));
        beside
    }

    /// A command that runs there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(installed("nsenter"));
        command.arg(format!("--net=/proc/{}/ns/net", self.0.0.id())).arg(installed(program));
        command.env("PATH", clients::path());
        command
    }
}

fn shell(line: &str) {
    let mut sh = Command::new("sh");
    let done = child::output(sh.args(["-c", line]).env("PATH", clients::path()));
    assert!(done.status.success(), "{line}: {}", said(&done));
}

/// The rules of the router, in place of those before.
fn rules(text: &str) {
    let mut nft = Command::new(installed("nft"));
    let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    let all = format!("flush ruleset\n{text}");
    nft.stdin.take().expect("a pipe").write_all(all.as_bytes()).expect("written");
    assert!(nft.wait().expect("it ends").success(), "{all}");
}

/// The rules of one of the files that operators get, and of another, with these addresses.
fn packaged(names: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/nat");
    let text = names.iter().map(|name| {
        let text = fs::read_to_string(folder.join(name)).expect("a recipe");
        let text = text.replace("OUTSIDE", OUTSIDE).replace("INSIDE", "inside");
        let numbered = SERVERS.iter().zip(["SERVER1", "SERVER2", "SERVER3"]);
        let text = numbered.fold(text, |text, (address, name)| text.replace(name, address));
        text.replace("SERVER", SERVERS[0])
    });
    text.collect()
}

/// Clients, a router and servers.
struct Site {
    clients: Beside,
    servers: Vec<Running>,
    root: TempDir,
    here: TempDir,
    /// Where the servers are. It goes when they have ended.
    _inside: Beside,
}

impl Site {
    fn new(servers: &[&str], options: &[&str]) -> Self {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a router");
        let clients = Beside::new("outside", "10.1.0", &["10.1.0.2"]);
        let inside = Beside::new("inside", "10.2.0", servers);
        let [root, here] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let start = |address: &&str| {
            let mut rtftpd = inside.command(OPEN[0]);
            let words = [&OPEN[1..], &[env!("CARGO_BIN_EXE_rtftpd")]].concat();
            rtftpd.args(words).arg(root.path()).args(["--uploads", "overwrite"]);
            rtftpd.args(["--listen", &format!("{address}:69")]).args(options);
            for variable in ["RTFTPD_MODEL", "RTFTPD_SINGLE_PORT"] {
                rtftpd.env_remove(variable);
            }
            let mut server = child::started(&mut rtftpd);
            let out = child::lines(server.stdout.take().expect("a pipe"));
            while !next("the banner", &out).contains("listening") {}
            Running(server)
        };
        let servers = servers.iter().map(start).collect();
        Self { clients, servers, root, here, _inside: inside }
    }

    /// Runs a line of a client, for so long at most.
    fn run(&self, line: &str, host: &str, (name, file): (&str, &Path), most: Duration) -> Output {
        let _ = installed(line.split_whitespace().next().expect("a program"));
        let mut command = self.clients.command("sh");
        command.args(["-c", &format!("exec {line}")]).env("LC_ALL", "C");
        command.env("HOST", host).env("PORT", "69").env("SERVER", format!("{host}:69"));
        command.env("NAME", name).env("FILE", file);
        let output = child::said_within(most, child::started(&mut command));
        output.unwrap_or_else(|killed| killed)
    }

    /// Whether a client gets a file and puts it back, every byte compared.
    fn exchanges(
        &self,
        client: &Client,
        host: &str,
        bytes: &[u8],
        most: Duration,
    ) -> Result<(), String> {
        let file = self.here.path().join("file");
        let _ = fs::remove_file(&file);
        let down = self.root.path().join("down");
        fs::write(&down, bytes).expect("a file");
        shell(&format!("chmod 644 {}", down.display()));
        let got = self.run(client.get, host, ("down", &file), most);
        if !got.status.success() || fs::read(&file).ok().as_deref() != Some(bytes) {
            return Err(format!("get: {} {}", got.status, said(&got)));
        }
        let put = self.run(client.put, host, ("up", &file), most);
        let stored = fs::read(self.root.path().join("up")).ok();
        let _ = fs::remove_file(self.root.path().join("up"));
        match put.status.success() && stored.as_deref() == Some(bytes) {
            true => Ok(()),
            false => Err(format!("put: {} {}", put.status, said(&put))),
        }
    }
}

const CLIENTS: [(&str, Client); 4] =
    [("busybox", BUSYBOX), ("tftp-hpa", TFTP_HPA), ("curl", CURL), ("rtftp", RTFTP)];

/// As long as a client would need that has to ask again several times.
const IN_VAIN: Duration = Duration::from_secs(3);

#[test]
fn one_port_is_reached_through_masquerade_and_a_published_port_with_and_without_the_helper() {
    let test =
        one_port_is_reached_through_masquerade_and_a_published_port_with_and_without_the_helper;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let (site, bytes) = (Site::new(&SERVERS[..1], &["--single-port"]), octets(100_000));
    for recipe in [&["published.nft"][..], &["published.nft", "helper.nft"]] {
        rules(&packaged(recipe));
        // Its own address is reached through the masquerade alone.
        for host in [SERVERS[0], OUTSIDE] {
            for (name, client) in &CLIENTS {
                let done = site.exchanges(client, host, &bytes, DEADLINE);
                assert_eq!(done, Ok(()), "{name} asks {host}, {recipe:?}");
            }
        }
    }
}

#[test]
fn a_port_for_each_transfer_is_reached_through_nat_only_with_the_helper() {
    let test = a_port_for_each_transfer_is_reached_through_nat_only_with_the_helper;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let (site, bytes) = (Site::new(&SERVERS[..1], &[]), octets(10_000));
    for host in [SERVERS[0], OUTSIDE] {
        rules(&packaged(&["published.nft"]));
        let done = site.exchanges(&RTFTP, host, &bytes, IN_VAIN);
        assert!(done.is_err(), "{host} is reached without the helper");
        rules(&packaged(&["published.nft", "helper.nft"]));
        assert_eq!(site.exchanges(&RTFTP, host, &bytes, DEADLINE), Ok(()), "{host}");
    }
}

/// Rules that look at each datagram by itself, as a balancer without a memory does. What the servers say gets the one
/// address again.
fn stateless(choice: &str) -> String {
    let [one, two, three] = SERVERS;
    format!(
        "table ip tftp {{
            chain there {{
                type filter hook prerouting priority raw
                ip daddr {OUTSIDE} udp dport 69 notrack ip daddr set {choice} map {{ 0 : {one}, 1 : {two}, 2 : {three} }}
                iifname \"inside\" udp sport 69 notrack
            }}
            chain back {{
                type filter hook postrouting priority srcnat
                oifname \"outside\" udp sport 69 ip saddr set {OUTSIDE}
            }}
        }}"
    )
}

#[test]
fn a_balance_by_flow_or_by_client_serves_and_one_by_packet_does_not() {
    let test = a_balance_by_flow_or_by_client_serves_and_one_by_packet_does_not;
    if !in_own_network(test, "ip link set lo up") {
        return;
    }
    let (site, bytes) = (Site::new(&SERVERS, &["--single-port"]), octets(100_000));
    assert_eq!(site.servers.len(), 3);
    let serves = [
        ("numgen of each flow", packaged(&["balance.nft"])),
        ("jhash of each flow", packaged(&["balance.nft"]).replace("numgen inc", "jhash ip saddr")),
        ("jhash of each packet's flow", stateless("jhash ip saddr . udp sport mod 3")),
        ("jhash of each packet's client", stateless("jhash ip saddr mod 3")),
    ];
    for (balance, text) in &serves {
        rules(text);
        for (name, client) in &CLIENTS {
            let done = site.exchanges(client, OUTSIDE, &bytes, DEADLINE);
            assert_eq!(done, Ok(()), "{name} with {balance}");
        }
    }
    rules(&stateless("numgen inc mod 3"));
    for (name, client) in &CLIENTS {
        let done = site.exchanges(client, OUTSIDE, &bytes, IN_VAIN);
        assert!(done.is_err(), "{name} with numgen of each packet");
    }
}

/// A file of `packaging/`.
fn manifest(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    fs::read_to_string(folder.join(name)).expect("a manifest")
}

/// The list of words in brackets behind the first of `keys`.
fn list(text: &str, key: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
    let line = line.unwrap_or_else(|| panic!("no {key} in\n{text}"));
    serde_json::from_str(line.trim()).expect("a list of words")
}

/// What holds for a file of YAML: no tabs, two columns for each level, `key: value` or an item on each line.
fn is_laid_out(text: &str) -> bool {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && *line != "---");
    lines.into_iter().all(|line| {
        let inner = line.trim_start();
        let depth = line.len() - inner.len();
        let is_entry = inner.starts_with("- ") || inner.ends_with(':') || inner.contains(": ");
        depth % 2 == 0 && is_entry && !line.contains('\t') && !line.ends_with(' ')
    })
}

#[test]
fn the_manifests_start_a_server_that_has_one_port_and_publish_that() {
    let (docker, compose) = (manifest("docker/Dockerfile"), manifest("docker/compose.yaml"));
    let kubernetes = manifest("kubernetes/rtftpd.yaml");
    assert!(is_laid_out(&compose) && is_laid_out(&kubernetes));
    let steps = docker.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let known = ["FROM", "WORKDIR", "COPY", "RUN", "EXPOSE", "ENTRYPOINT", "CMD"];
    assert!(steps.into_iter().all(|step| known.contains(&step.split(' ').next().expect("a word"))));
    assert_eq!(list(&docker, "ENTRYPOINT"), ["rtftpd"]);
    assert!(docker.contains("EXPOSE 69/udp") && compose.contains("\"69:69/udp\""));
    assert!(kubernetes.contains("containerPort: 6969") && kubernetes.contains("port: 69\n"));
    for text in [list(&docker, "CMD"), list(&compose, "command:"), list(&kubernetes, "args:")] {
        let root = common::folder(&[("f", b"a file")]);
        let words = text.iter().map(|word| match word.as_str() {
            "/srv/tftp" => root.path().display().to_string(),
            "6969" => "127.0.0.1:0".into(),
            other => other.into(),
        });
        let mut server = Command::new(Daemon::program());
        server.args(words).env("RTFTPD_LISTEN", "127.0.0.1:0").env_remove("RTFTPD_MODEL");
        let server = Daemon::spawn(&mut server);
        let peer = server.peer();
        let (first, tid) = peer.answer(&common::rrq("f", &[]));
        assert_eq!((tid, &first[4..]), (server.address, &b"a file"[..]));
    }
}
