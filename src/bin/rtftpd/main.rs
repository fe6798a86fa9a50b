//! `rtftpd`: serves a folder by TFTP.

mod apart;
mod archive;
mod args;
mod banner;
mod budgets;
mod check;
mod commands;
mod config;
mod descriptors;
mod events;
mod explain;
mod folders;
mod journal;
mod lines;
mod log;
mod misses;
mod names;
mod on_upload;
mod outcome;
#[cfg(test)]
#[path = "../shared/pages.rs"]
mod pages;
mod pid_file;
mod prepared;
mod ration;
mod reload;
mod rules;
mod sandbox;
mod service;
mod short;
#[path = "../shared/shown.rs"]
mod shown;
mod tap;
#[path = "../shared/typed.rs"]
mod typed;
mod values;
#[cfg(feature = "http")]
mod watch;
#[cfg(not(feature = "http"))]
#[path = "unwatched.rs"]
mod watch;

use anyhow::{Context, Result, anyhow, ensure};
use apart::{Owner, Processes, Wanted};
use args::Args;
use banner::GivenUp;
use commands::{Given, Task};
use events::Events;
use folders::Folders;
use lines::Lines;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use on_upload::OnUpload;
use pid_file::PidFile;
use prepared::Prepared;
use reload::{Current, Reloader};
use sandbox::Sandbox;
use service::{Activity, Drain, Notify, Service};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tap::{Captures, Listening};
use tftpkit::limits;
use tftpkit::server::{Config, Event, Handle, Server, StartError};
use tftpkit::store::{Folder, Store};
use watch::{Watch, Watched};

fn main() -> ExitCode {
    if let Some(code) = apart::run_as_part() {
        return code;
    }
    let lines = Lines::default();
    let done = Task::from_words(std::env::args_os().collect()).and_then(|task| match task {
        Task::Serve(given) => serve(given, &lines).map(|()| ExitCode::SUCCESS),
        Task::Check(given) => check::run(&given, &lines).map(|()| ExitCode::SUCCESS),
        Task::Explain(given, asked) => explain::run(&given, &asked, &lines),
        Task::Reload(pid_file) => reload::ask(pid_file.as_deref()).map(|()| ExitCode::SUCCESS),
        Task::Top(top) => top.run().map(|()| ExitCode::SUCCESS),
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            let told = shown::told(&error);
            // Standard error may be the socket of inetd, to which nothing can be written.
            if lines.lead_elsewhere() {
                tracing::error!("{told}");
            }
            lines.write_early();
            let _ = writeln!(io::stderr(), "rtftpd: {told}");
            ExitCode::FAILURE
        }
    }
}

fn serve(given: Given, lines: &Lines) -> Result<()> {
    let args = &given.args;
    let verbosity = log::start(args, lines);
    // It may be gone when the first signal comes.
    let had_terminal = io::stderr().is_terminal();
    // Blocked before the first thread starts, so that all inherit it and only the waiting thread sees signals.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    let mut blocked = signals;
    // What is written beyond the limit on a file's size is an error of that upload, not the end of all.
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().context("cannot block signals")?;
    let is_root = nix::unistd::geteuid().is_root();
    let Prepared { policy, folders, main, rules, macs, on_upload } = Prepared::new(&given)?;
    let watch = args.watch.bind()?;
    let mut service = Service::begin(&args.service, &args.listen())?;
    let own = limits::DESCRIPTORS_OF_SERVER + folders.more_descriptors() + watch.descriptors();
    let own = own + args.descriptors_of_processes();
    let own = own + on_upload.as_ref().map_or(0, |_| OnUpload::DESCRIPTORS);
    let most = allow_sessions(args.sessions(), folders.take_uploads(), own);
    let log = Arc::new(log::Log::new(args.log_rate, args.json));
    let policy = Current::new(policy);
    let owner = Owner { account: folders.account(), by_inetd: args.service.inetd };
    let events = Events::open(args.events_to.as_ref(), args.log_rate, owner)?;
    let captures = args.tap.pcap_on_failure.as_deref().map(Captures::open).transpose()?;
    let observers = Observers {
        log,
        watch,
        events: Arc::new(events),
        activity: service.activity(),
        packets: Listening::new(&args.tap, captures.clone(), args.log_rate),
    };
    let processes = args.has_processes();
    let wanted = Wanted { owner, parts: &args.sandbox, most: args.sessions() };
    let processes = processes.then(|| Processes::prepare(&wanted)).transpose()?;
    on_upload.iter().try_for_each(|it| it.start(owner))?;
    let server = bind(args, most, &main, &policy, &observers, (&service, &processes))?;
    let Observers { log, watch, events, .. } = observers;
    let pid_file = args.pid_file.as_deref().map(PidFile::take).transpose()?;
    let pid_file = Arc::new(Mutex::new(pid_file));
    service.post()?;
    // All that needs a right is done, and there is one thread.
    let from_afar =
        server.addresses().first().copied().map_or_else(Vec::new, banner::own_addresses);
    let config = given.config.as_ref().map(|config| config.path.clone());
    let page = watch.address();
    let given_up = give_up(&given, is_root, &folders, &watch)?;
    let given_up = GivenUp { from_afar, config, page, ..given_up };
    let (_written, lost) = lines.start_thread();
    log.count(lost.clone());
    let _written_too = events.start_thread();
    let (handle, listening) = (server.handle(), server.addresses());
    watch.start(Watched { handle, listening, policy: policy.clone(), lost })?;
    banner::show(args, &server.addresses(), &given_up, &rules);
    captures.iter().try_for_each(|captures| captures.start())?;
    let (handle, taking) = (server.handle(), folders.of_uploads());
    drop(folders);
    let (held, current, told) = (given_up.sandbox.held, policy.clone(), Arc::clone(&log));
    let (shares, theirs) = (args.single_port, Arc::clone(&pid_file));
    let (asked, drain) = (on_upload.clone(), Drain::new(args.drain));
    let reloader = Reloader {
        given,
        policy: current,
        drain: drain.clone(),
        macs,
        asked,
        held,
        log: told,
        verbosity,
    };
    let stop = Stop { handle, notify: service.notify(), pid_file, on_upload, had_terminal };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || obey_signals(&signals, reloader, &stop))
        .context("cannot start a thread")?;
    if !taking.is_empty() {
        // Beside the first transfers: nobody waits for a folder of a million files.
        let swept = std::thread::Builder::new().name("sweep".into()).spawn(move || sweep(&taking));
        swept.context("cannot start a thread")?;
    }
    service.start(&server, shares, drain, move || drop(taken(&theirs)))?;
    processes.iter().try_for_each(|processes| processes.watch(server.handle()))?;
    server.run().context("cannot wait for requests")?;
    log.finish();
    policy.tell_turned_away();
    processes.iter().try_for_each(Processes::ended)
}

/// All who are told what happens.
#[derive(Clone)]
struct Observers {
    log: Arc<log::Log>,
    watch: Watch,
    events: Arc<Events>,
    activity: Arc<Activity>,
    packets: Option<Arc<Listening>>,
}

impl Observers {
    fn tell(&self, event: Event<'_>) {
        self.watch.tell(&event);
        self.events.tell(&event);
        self.activity.note(&event);
        self.packets.iter().for_each(|packets| packets.note(&event));
        self.log.tell(event);
    }
}

/// Becomes who it is to be, and enters the sandbox.
fn give_up(given: &Given, is_root: bool, folders: &Folders<'_>, watch: &Watch) -> Result<GivenUp> {
    let args = &given.args;
    let user = folders.account().map_or("root", |account| &account.name).to_owned();
    let sandbox = sandbox_of(given, folders, watch.address());
    let entered = sandbox.enter().with_context(|| format!("cannot become user {user}"))?;
    if !entered.lacking.is_empty() {
        tracing::warn!("the sandbox is not whole: {}", entered.lacking.join("; "));
    }
    if let Some(ports) = args.ports {
        let bound = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ports.first()));
        let is_denied = |error: io::Error| error.kind() == ErrorKind::PermissionDenied;
        ensure!(
            !bound.is_err_and(is_denied),
            "cannot answer from --ports {ports}: those below 1024 need a privilege as long as it serves.\n  Either take \
             others, or let root keep it:  --user root --sandbox files,calls"
        );
    }
    let user = is_root.then_some(user);
    Ok(GivenUp { user, sandbox: entered, ..GivenUp::default() })
}

/// What is left to it then: nothing that these options have no use for.
fn sandbox_of(given: &Given, folders: &Folders<'_>, page: Option<SocketAddr>) -> Sandbox {
    let args = &given.args;
    Sandbox {
        parts: args.sandbox.clone(),
        account: folders.account().cloned(),
        places: folders.places().collect(),
        again: given.files(),
        has_spool: folders.may_spool(),
        accepts: args.service.hands_over() || page.is_some(),
        has_processes: args.has_processes() || args.on_upload.on_upload.is_some(),
        captures: args.tap.pcap_on_failure.clone(),
    }
}

/// Removes what uploads left to a server that was killed.
fn sweep(folders: &[Arc<Folder>]) {
    let files: usize = folders.iter().map(|folder| folder.sweep()).sum();
    if files > 0 {
        tracing::info!(files, "removed unfinished uploads of a server that was killed");
    }
}

fn bind(
    args: &Args,
    (sessions, descriptors): (usize, usize),
    folder: &Arc<dyn Store>,
    policy: &Current,
    observers: &Observers,
    (service, processes): (&Service, &Option<Processes>),
) -> Result<Server> {
    let given = service.sockets().context("cannot use the sockets that it was given")?;
    let bind = |listen: &[SocketAddr]| {
        let observers = observers.clone();
        let config =
            args.config(listen, policy.clone()).sessions(sessions).descriptors(descriptors);
        let given = given.iter().filter_map(|socket| socket.try_clone().ok());
        let config = given.fold(config, Config::socket);
        let config = processes.iter().cloned().fold(config, Config::spawner);
        let config = match &observers.packets {
            Some(packets) => config.tap(packets.tap()),
            None => config,
        };
        Server::bind(config, Arc::clone(folder), move |event| observers.tell(event))
    };
    let mut listen = service.left(args.listen(), args.listens_by_default());
    let started = match bind(&listen) {
        Err(error) if may_lack_ipv6(&error) => {
            // Where every address was meant, those that this machine can have are.
            listen = without_ipv6(&listen);
            let started = bind(&listen);
            if started.is_ok() {
                tracing::info!("there is no IPv6 here: it listens for IPv4 alone");
            }
            started
        }
        started => started,
    };
    for address in listen.iter().filter(|address| is_foreign(**address)) {
        tracing::warn!(%address, "this machine does not have that address yet: it is served once it does");
    }
    started.map_err(explain)
}

/// Whether all addresses cannot be bound for another reason than that one is taken, or not for this user.
fn may_lack_ipv6(error: &StartError) -> bool {
    let StartError::Bind { address, source } = error else { return false };
    let other = [ErrorKind::PermissionDenied, ErrorKind::AddrInUse];
    address.ip() == Ipv6Addr::UNSPECIFIED && !other.contains(&source.kind())
}

/// The same addresses, but all of IPv4 in place of all.
fn without_ipv6(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut left = Vec::new();
    for address in listen {
        let all = address.ip() == Ipv6Addr::UNSPECIFIED;
        let ip = if all { Ipv4Addr::UNSPECIFIED.into() } else { address.ip() };
        let address = SocketAddr::new(ip, address.port());
        if !left.contains(&address) {
            left.push(address);
        }
    }
    left
}

/// Whether no interface of this machine has it.
fn is_foreign(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let bound = UdpSocket::bind(address);
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Says what to do about an address that cannot be bound.
fn explain(error: StartError) -> anyhow::Error {
    let StartError::Bind { address, source } = error else { return anyhow!(error) };
    let advice = match source.kind() {
        ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege.\n  Either take another port:  --listen '{}'\n  or give this program the \
             capability:  sudo setcap cap_net_bind_service=+ep \"$(command -v rtftpd)\"",
            SocketAddr::new(address.ip(), 6900 + address.port() % 100)
        ),
        ErrorKind::AddrInUse => format!(
            "it is taken, by another program or by another --listen.\n  ss -ulpn 'sport = :{}' shows the program.",
            address.port()
        ),
        _ => source.to_string(),
    };
    anyhow!("cannot listen on {address}: {advice}")
}

/// The pid file of this process, which is its no more.
fn taken(pid_file: &Mutex<Option<PidFile>>) -> Option<PidFile> {
    pid_file.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What stops when the server does.
struct Stop {
    handle: Handle,
    notify: Notify,
    /// It is given up first: the next server may start.
    pid_file: Arc<Mutex<Option<PidFile>>>,
    on_upload: Option<Arc<OnUpload>>,
    had_terminal: bool,
}

/// Stops the server, or has it read its configuration again.
fn obey_signals(signals: &SigSet, mut reloader: Reloader, stop: &Stop) {
    let mut grace = None;
    while let Ok(signal) = signals.wait() {
        // A terminal that is closed takes with it what was started there.
        let is_left_alone = stop.had_terminal && !io::stderr().is_terminal();
        if signal == Signal::SIGHUP && !is_left_alone {
            reloader.reload();
            continue;
        }
        drop(taken(&stop.pid_file));
        // Whoever asks a second time does not want to wait.
        let left = if grace.is_some() { Duration::ZERO } else { reloader.drain.get() };
        grace = Some(left);
        let transfers = stop.handle.transfers();
        tracing::info!(transfers, grace = left.as_secs_f64(), "stopping");
        stop.notify.stopping(left);
        stop.handle.drain(left);
        stop.on_upload.iter().for_each(|it| it.end_in(left));
    }
}

/// Sees to it that so many transfers find the descriptors that they need beside the server's `own`. Gives how many do, and
/// the descriptors that they have together.
fn allow_sessions(wanted: usize, uploads: bool, own: u64) -> (usize, usize) {
    let needed = descriptors_for(wanted, uploads, own);
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return (wanted, usize::MAX) };
    // The soft limit is often 1,024; the hard one is ours to raise only as root.
    if needed <= hard || setrlimit(Resource::RLIMIT_NOFILE, needed, needed).is_err() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(hard, |(soft, _)| soft);
    // What is left of the server's own may do for one.
    let most = |each| sessions_with(allowed, each, own).clamp(1, wanted.max(1));
    let (sessions, all) = (most(limits::DESCRIPTORS_OF_DOWNLOAD), most(of_session(uploads)));
    if all < wanted {
        let uploads = uploads.then_some(all);
        tracing::warn!(
            transfers = sessions,
            uploads,
            descriptors = allowed,
            "fewer transfers at once than --max-sessions: raise 'ulimit -n' (LimitNOFILE= in a unit)"
        );
    }
    (sessions, sessions_with(allowed, 1, own))
}

/// The descriptors of a transfer, which may be an upload or not.
const fn of_session(uploads: bool) -> u64 {
    if uploads { limits::DESCRIPTORS_OF_UPLOAD } else { limits::DESCRIPTORS_OF_DOWNLOAD }
}

const fn descriptors_for(sessions: usize, uploads: bool, own: u64) -> u64 {
    let all = (sessions as u64).saturating_mul(of_session(uploads));
    all.saturating_add(own)
}

/// How many transfers of so many descriptors `each` there can be.
fn sessions_with(descriptors: u64, each: u64, own: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(own) / each).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unbound(address: &str, kind: ErrorKind) -> StartError {
        StartError::Bind { address: address.parse().expect("an address"), source: kind.into() }
    }

    #[test]
    fn an_address_that_cannot_be_bound_is_told_with_what_to_do() {
        let told = |address, kind| explain(unbound(address, kind)).to_string();
        let denied = told("192.0.2.1:69", ErrorKind::PermissionDenied);
        assert!(denied.starts_with("cannot listen on 192.0.2.1:69: ports below 1024"), "{denied}");
        assert!(denied.contains("--listen '192.0.2.1:6969'"), "{denied}");
        let denied = told("[::]:169", ErrorKind::PermissionDenied);
        assert!(denied.contains("--listen '[::]:6969'"), "{denied}");
        let taken = told("[::]:7", ErrorKind::AddrInUse);
        assert!(taken.contains("it is taken") && taken.contains("'sport = :7'"), "{taken}");
        let other = told("[::]:7", ErrorKind::Unsupported);
        assert_eq!(other, "cannot listen on [::]:7: unsupported");
    }

    #[test]
    fn ipv4_alone_is_tried_only_where_ipv6_may_be_missing() {
        let tried = |kind| may_lack_ipv6(&unbound("[::]:69", kind));
        assert!(tried(ErrorKind::Unsupported) && tried(ErrorKind::AddrNotAvailable));
        assert!(!tried(ErrorKind::PermissionDenied) && !tried(ErrorKind::AddrInUse));
        assert!(!may_lack_ipv6(&unbound("[::1]:69", ErrorKind::Unsupported)), "it was meant");
        assert!(!may_lack_ipv6(&StartError::Loop(ErrorKind::WouldBlock.into())));
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            all.iter().map(|address| address.parse().expect("an address")).collect()
        };
        assert_eq!(
            without_ipv6(&addresses(&["[::]:69", "[::1]:7", "0.0.0.0:69", "[::]:70"])),
            addresses(&["0.0.0.0:69", "[::1]:7", "0.0.0.0:70"])
        );
    }

    #[test]
    fn the_sandbox_has_what_these_options_need_and_no_more() {
        let page = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8069)));
        for (options, page, [accepts, has_processes, may_write, has_spool, captures]) in [
            ("", None, [false, false, false, false, false]),
            ("", page, [true, false, false, false, false]),
            ("--handover socket", None, [true, false, false, false, false]),
            ("--model processes", None, [false, true, false, false, false]),
            ("--uploads create --on-upload true", None, [false, true, true, false, false]),
            ("--uploads overwrite", None, [false, false, true, true, false]),
            ("--pcap-on-failure /", None, [false, false, false, false, true]),
        ] {
            let words = format!("rtftpd / {options}");
            let task = Task::from_words(words.split_whitespace().map(Into::into).collect());
            let Ok(Task::Serve(given)) = task else { panic!("{options} is no server") };
            let mut folders = Folders::new(&given.args, Arc::new(|_| None), None);
            drop(folders.get(&rules::main_folder(&given.args)).expect("a folder"));
            let left = sandbox_of(&given, &folders, page);
            assert_eq!(left.accepts, accepts, "to accept connections: {options}");
            assert_eq!(left.has_processes, has_processes, "channels to processes: {options}");
            assert_eq!(left.has_spool, has_spool, "places for uploads that wait: {options}");
            assert_eq!(left.captures.is_some(), captures, "the folder of captures: {options}");
            let places = left.places.iter().map(|place| (&*place.path, place.may_write));
            assert!(places.eq([(std::path::Path::new("/"), may_write)]), "its files: {options}");
        }
    }

    #[test]
    fn the_descriptors_of_an_upload_are_more_and_the_servers_own_are_left_to_it() {
        for (uploads, each) in [(false, 1), (true, 3)] {
            assert_eq!(descriptors_for(1000, uploads, 64), 1000 * each + 64);
            assert_eq!(of_session(uploads), each);
            assert_eq!(sessions_with(1000 * each + 64, each, 64), 1000);
            assert_eq!(sessions_with(1000 * each + 63, each, 64), 999);
            assert_eq!([0, 64].map(|few| sessions_with(few, each, 64)), [0, 0]);
            assert_eq!(descriptors_for(usize::MAX, uploads, 64), u64::MAX);
        }
    }
}
