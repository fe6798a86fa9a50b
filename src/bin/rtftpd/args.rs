//! The command line, and what it means.

use crate::archive::ArchiveArgs;
use crate::budgets::BudgetArgs;
use crate::events::{Goal, goal};
use crate::log::LINES_PER_SECOND;
use crate::names::NameArgs;
use crate::on_upload::OnUploadArgs;
use crate::sandbox::Part;
use crate::service::ServiceArgs;
use crate::tap::TapArgs;
use crate::typed::{BLOCK_SIZES, Elsewhere, WINDOW_SIZES, advised, whole};
use crate::values::{
    Addresses, Size, block_size_of, drain, event_threads, file_name, interface, listen_addresses,
    setting,
};
use crate::watch::WatchArgs;
use clap::builder::{BoolishValueParser, PossibleValue};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use ipnet::IpNet;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use tftpkit::client::TFTP_PORT;
use tftpkit::limits;
use tftpkit::proto::{Timing, TimingError};
use tftpkit::server::{Config, Model, Policy, PortRange, Profile, StandardPolicy};
use tftpkit::store::Uploads;
use tftpkit::wire::{BlockSize, WindowSize};

/// Serves a folder by TFTP (RFC 1350 with blksize, timeout, tsize and windowsize), and lists it.
///
/// No name and no link leads a request out of ROOT, and nothing is written unless --uploads allows it.
#[derive(Debug, Parser)]
#[command(
    name = "rtftpd",
    version,
    after_help = "Examples:\n  \
    rtftpd /srv/tftp                                  read only, at port 69\n  \
    rtftpd /srv/tftp --listen 6969 --uploads create   takes files with new names, at another port\n  \
    rtftpd . --listen localhost:6969                  for this machine alone\n  \
    RTFTPD_ROOT=/srv/tftp RTFTPD_JSON=1 rtftpd        for a container: every option has a variable\n\n\
    Stop it with Ctrl-C or SIGTERM: running transfers may finish (--drain); a second \
    signal ends them at once. SIGHUP, or 'rtftpd reload', has it read its configuration again.\n\nA folder that has the name of a command is served as ./check.\n\nA TIME is a number of seconds, as in 0.5, or has its unit, as in 500ms or 2min.\n\nExit status: 0 stopped by a signal, 1 cannot serve, 2 wrong usage."
)]
pub(crate) struct Args {
    /// The folder to serve
    #[arg(env = "RTFTPD_ROOT")]
    pub(crate) root: PathBuf,

    /// A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it
    /// [default: /etc/rtftpd/rtftpd.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "RTFTPD_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name
    /// [default: [::]:69, IPv4 too]
    #[arg(long, short, value_name = "HOST:PORT", value_parser = listen_addresses, env = "RTFTPD_LISTEN",
        value_delimiter = ',')]
    listen: Vec<Addresses>,

    /// A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an
    /// example)
    #[arg(long, value_name = "FILE", env = "RTFTPD_RULES")]
    pub(crate) rules: Option<PathBuf>,

    /// A folder elsewhere that links in ROOT may lead to, for reading; may be given several times
    #[arg(long, value_name = "DIR", value_delimiter = ',', env = "RTFTPD_LINKS_TO")]
    pub(crate) links_to: Vec<PathBuf>,

    /// Hear and answer on this network interface alone, whatever the routes say
    #[arg(long, value_name = "NAME", value_parser = interface, env = "RTFTPD_INTERFACE")]
    pub(crate) interface: Option<String>,

    /// What clients may write
    #[arg(long, value_enum, default_value = "off", env = "RTFTPD_UPLOADS")]
    pub(crate) uploads: UploadsArg,

    /// Let an upload make the directories in its name
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_CREATE_DIRS")]
    pub(crate) create_dirs: bool,

    /// The most bytes of one upload; K, M and G may follow the number
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits::UPLOAD_BYTES), env = "RTFTPD_MAX_UPLOAD")]
    pub(crate) max_upload: Size,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,

    #[command(flatten)]
    pub(crate) on_upload: OnUploadArgs,

    /// Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an
    /// error
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_GROWING_FILES")]
    pub(crate) growing_files: bool,

    #[command(flatten)]
    pub(crate) names: NameArgs,

    /// Offer no listing: neither LIST requests nor the generated file
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_NO_LIST")]
    no_list: bool,

    /// The name under which every directory has its listing
    #[arg(long, value_name = "NAME", default_value = ".list", value_parser = file_name, env = "RTFTPD_LIST_NAME")]
    list_name: String,

    /// What drives transfers
    #[arg(long, value_enum, default_value = "threads", env = "RTFTPD_MODEL")]
    model: ModelArg,

    /// With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes
    /// at once; requests beyond them are not answered yet
    #[arg(long, value_name = "N", default_value_t = limits::THREADS, value_parser = whole::<usize>(0..=u64::MAX),
        env = "RTFTPD_MAX_THREADS")]
    max_threads: usize,

    /// With --model events: loops, each on a thread; more than one pays only with more than two processors
    #[arg(long, value_name = "N", default_value = "1", value_parser = event_threads, env = "RTFTPD_EVENT_THREADS")]
    event_threads: NonZeroUsize,

    /// Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers
    /// run as with --model events, and an address proves less (see rfc/single-port.md)
    #[arg(long, value_parser = BoolishValueParser::new(), conflicts_with = "ports", env = "RTFTPD_SINGLE_PORT")]
    pub(crate) single_port: bool,

    /// Transfers at once
    #[arg(long, value_name = "N", default_value_t = limits::SESSIONS, value_parser = whole::<usize>(1..=u64::MAX),
        env = "RTFTPD_MAX_SESSIONS")]
    pub(crate) max_sessions: usize,

    #[command(flatten)]
    budgets: BudgetArgs,

    /// Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may
    /// follow the number
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits::WINDOWS_BYTES as u64), env = "RTFTPD_MEMORY")]
    memory: Size,

    /// The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN
    #[arg(long, value_name = "BYTES", default_value_t = BlockSize::MAX.get() as u16,
        value_parser = whole::<u16>(8..=65464), env = "RTFTPD_MAX_BLKSIZE")]
    max_blksize: u16,

    /// The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts
    #[arg(long, value_name = "NETWORK=BYTES", value_parser = block_size_of, value_delimiter = ',',
        env = "RTFTPD_MAX_BLKSIZE_OF")]
    max_blksize_of: Vec<(IpNet, BlockSize)>,

    /// Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_WHOLE_PACKETS")]
    whole_packets: bool,

    /// The widest window to grant, in blocks; 1 turns windows off
    #[arg(long, value_name = "BLOCKS", default_value_t = limits::WIDEST_WINDOW,
        value_parser = whole::<u16>(1..=32767), env = "RTFTPD_MAX_WINDOWSIZE")]
    max_windowsize: u16,

    /// Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_NO_OFFLOAD")]
    no_offload: bool,

    /// Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]
    #[arg(long, value_name = "RANGE", env = "RTFTPD_PORTS")]
    pub(crate) ports: Option<PortRange>,

    /// The time after which a client that makes no progress is gone; one that has not answered at all gives way to
    /// others after 3 seconds, where they need its place
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = setting, env = "RTFTPD_PATIENCE")]
    patience: Duration,

    /// The time before something is sent again, while no round trip has been measured
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = setting,
        env = "RTFTPD_FIRST_INTERVAL")]
    first_interval: Duration,

    /// The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is
    /// below 5)
    #[arg(long, value_names = ["SHORTEST", "LONGEST"], num_args = 2, default_values = ["0.2", "5"],
        value_parser = setting, value_delimiter = ',', env = "RTFTPD_INTERVALS")]
    intervals: Vec<Duration>,

    /// The time that running transfers get when the server is stopped
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = drain, env = "RTFTPD_DRAIN")]
    pub(crate) drain: Duration,

    #[command(flatten)]
    pub(crate) service: ServiceArgs,

    /// Write the number of the process there, and hold it: 'rtftpd reload' finds the server by it
    #[arg(long, value_name = "FILE", env = "RTFTPD_PID_FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Who to become once the addresses are bound, by name or number, where root starts it
    /// [default: tftp where there is one, else nobody]
    #[arg(long, value_name = "USER", env = "RTFTPD_USER")]
    pub(crate) user: Option<String>,

    /// What the server gives up before it serves, as far as the kernel can take it
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',', default_values = ["files", "calls", "rights"],
        env = "RTFTPD_SANDBOX")]
    pub(crate) sandbox: Vec<Part>,

    #[command(flatten)]
    pub(crate) watch: WatchArgs,

    /// Write log lines as JSON, and the banner too, as one of them for each address
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_JSON")]
    pub(crate) json: bool,

    /// Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them ('| COMMAND'); it
    /// is started before the server gives up its rights, as the user that serves
    #[arg(long, value_name = "GOAL", value_parser = goal, env = "RTFTPD_EVENTS_TO")]
    pub(crate) events_to: Option<Goal>,

    /// Log each transfer that is under way once in so much time, with how far it is
    #[arg(long, value_name = "TIME", value_parser = setting, env = "RTFTPD_PROGRESS_LOG")]
    progress_log: Option<Duration>,

    /// Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out
    #[arg(long, value_name = "LINES", default_value_t = LINES_PER_SECOND,
        value_parser = whole::<u32>(0..=u32::MAX.into()), env = "RTFTPD_LOG_RATE")]
    pub(crate) log_rate: u32,

    #[command(flatten)]
    pub(crate) tap: TapArgs,

    /// Tell more: -v also what was dropped, and when a transfer begins
    #[arg(long, short, action = clap::ArgAction::Count, env = "RTFTPD_VERBOSE")]
    pub(crate) verbose: u8,

    /// Tell only of trouble, and show no banner
    #[arg(long, short, conflicts_with = "verbose", value_parser = BoolishValueParser::new(), env = "RTFTPD_QUIET")]
    pub(crate) quiet: bool,
}

/// What other TFTP servers call it.
const ELSEWHERE: Elsewhere = &[
    (
        &[
            "--port",
            "-p",
            "--address",
            "-a",
            "--bind",
            "--bind-address",
            "--host",
            "--ip",
            "--addr",
        ],
        "--listen",
    ),
    (&["-i", "--bind-interface", "--device"], "--interface"),
    (
        &[
            "--root",
            "--directory",
            "--dir",
            "-d",
            "--tftp-root",
            "-s",
            "--secure",
            "--path",
            "--folder",
            "-r",
        ],
        "the folder needs no option: rtftpd ROOT",
    ),
    (
        &[
            "--create",
            "-c",
            "--write",
            "-w",
            "--upload",
            "--allow-upload",
            "--allow-write",
            "--rw",
            "--writable",
        ],
        "--uploads create",
    ),
    (&["--overwrite", "--allow-overwrite"], "--uploads overwrite"),
    (
        &["--read-only", "--readonly", "--ro", "--no-upload"],
        "uploads are off unless '--uploads' allows them",
    ),
    (BLOCK_SIZES, "--max-blksize"),
    (WINDOW_SIZES, "--max-windowsize"),
    (&["--port-range", "-R", "--tftp-port-range"], "--ports"),
    (&["--timeout", "-t", "--idle-timeout"], "--patience"),
    (&["--retransmit", "-T", "--retry", "--retry-timeout"], "--first-interval"),
    (&["--max-clients", "--maxthread", "--connections", "--max-connections"], "--max-sessions"),
    (
        &["-m", "--remap", "--remap-file", "--mapfile"],
        "tftp-hpa's map file: --map-file; atftpd's number of threads: --max-sessions",
    ),
    (&["--pcre", "--rewrite"], "--map-rule, and --map-file for a file of such rules"),
    (&["--threads", "--workers"], "--max-threads"),
    (&["--max-rate", "--bandwidth", "--bwlimit", "--limit-rate"], "--rate"),
    (&["--tftp-single-port"], "--single-port"),
    (&["-u", "--username", "--uid", "--run-as", "--setuid"], "--user"),
    (&["--no-sandbox", "--no-seccomp", "--no-landlock"], "--sandbox"),
    (&["--chroot"], "no request leaves the folder, and '--sandbox' has the kernel hold it there"),
    (&["--log-level", "--debug", "--verbosity"], "--verbose"),
    (
        &["--foreground", "-L", "--daemon", "--no-fork", "--background"],
        "it stays in the foreground: no option is needed",
    ),
];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum UploadsArg {
    /// Nothing
    Off,
    /// Files whose names are new
    Create,
    /// Any file
    Overwrite,
}

impl From<UploadsArg> for Uploads {
    fn from(arg: UploadsArg) -> Self {
        match arg {
            UploadsArg::Off => Self::Off,
            UploadsArg::Create => Self::Create,
            UploadsArg::Overwrite => Self::Overwrite,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelArg {
    /// Each on a thread of its own: a slow disk holds up one transfer and no other
    Threads,
    /// All on one loop: less processor time and memory, from a hundred at once on
    Events,
    /// Each in a new process that has its socket and no file: what the network says can harm one transfer and no other
    Processes,
    /// One after the other, to compare with
    Iterative,
}

impl Args {
    /// What was asked for, if that makes sense.
    pub(crate) fn checked(found: &ArgMatches) -> Result<Self, clap::Error> {
        single_port_fits(found)?;
        let args = Self::from_arg_matches(found)?;
        let refused = |why: String| Err(Self::command().error(ErrorKind::ValueValidation, why));
        if args.intervals[0] > args.intervals[1] {
            return refused("the shortest of --intervals is longer than the longest".into());
        }
        if args.sandbox.contains(&Part::None) && args.sandbox.len() > 1 {
            return refused("'none' of --sandbox stands alone".into());
        }
        if args.sessions() == 0 {
            return refused(
                "--model processes needs a process: --max-threads 0 leaves none".into(),
            );
        }
        if args.has_processes() && args.tap.listens() {
            let why = "with --model processes packets come and go where no --trace and no --pcap-on-failure hears them";
            return refused(why.into());
        }
        if let Err(why) = args.timing() {
            return refused(why.to_string());
        }
        Ok(args)
    }

    /// Whether each transfer has a process of its own.
    pub(crate) const fn has_processes(&self) -> bool {
        matches!(self.model, ModelArg::Processes) && !self.single_port
    }

    /// Transfers at once.
    pub(crate) const fn sessions(&self) -> usize {
        let fewer = self.has_processes() && self.max_threads < self.max_sessions;
        if fewer { self.max_threads } else { self.max_sessions }
    }

    /// What those in processes take here besides: two channels each, and the socket once more for a moment.
    pub(crate) const fn descriptors_of_processes(&self) -> u64 {
        const OF_EACH: u64 = 4;
        if !self.has_processes() {
            return 0;
        }
        let all = self.sessions().saturating_add(limits::PROCESSES_ENDING);
        (all as u64).saturating_mul(OF_EACH)
    }

    /// The name of the generated listing, unless it is turned off.
    pub(crate) fn listing(&self) -> Option<&str> {
        (!self.no_list).then_some(self.list_name.as_str())
    }

    /// Whether clients may write anything.
    pub(crate) const fn takes_uploads(&self) -> bool {
        !matches!(self.uploads, UploadsArg::Off)
    }

    fn timing(&self) -> Result<Timing, TimingError> {
        let timing = Timing::builder().first(self.first_interval);
        let timing = timing.floor(self.intervals[0]).ceiling(self.intervals[1]);
        timing.patience(self.patience).unanswered(self.patience).build()
    }

    /// Whether the operator names no address.
    pub(crate) const fn listens_by_default(&self) -> bool {
        self.listen.is_empty()
    }

    /// Where to take requests.
    pub(crate) fn listen(&self) -> Vec<SocketAddr> {
        match &self.listen[..] {
            [] => vec![(Ipv6Addr::UNSPECIFIED, TFTP_PORT).into()],
            given => given.iter().flat_map(|Addresses(all)| all).copied().collect(),
        }
    }

    /// What the server does at these addresses.
    pub(crate) fn config(&self, listen: &[SocketAddr], policy: impl Policy + 'static) -> Config {
        let config = Config::default()
            .model(match self.model {
                _ if self.single_port => Model::SinglePort,
                ModelArg::Threads => Model::Threads(self.max_threads),
                ModelArg::Events => Model::Events(self.event_threads),
                ModelArg::Processes => Model::Processes(self.max_threads),
                ModelArg::Iterative => Model::Iterative,
            })
            .policy(policy)
            .sessions(self.max_sessions)
            .budgets(self.budgets.budgets())
            .windows_bytes(usize::try_from(self.memory.0).unwrap_or(usize::MAX))
            .interface(self.interface.as_deref())
            .offload(!self.no_offload)
            .progress(self.progress_log);
        let config = config.ports(self.ports);
        listen.iter().fold(config, |config, address| config.listen(*address))
    }

    /// What clients get, as far as options say.
    pub(crate) fn policy(&self) -> StandardPolicy {
        let profile = Profile::default()
            .block_size(BlockSize::new(self.max_blksize).unwrap_or(BlockSize::MAX))
            .window(WindowSize::new(self.max_windowsize).unwrap_or(WindowSize::LOCKSTEP))
            .whole_packets(self.whole_packets)
            .timing(self.timing().unwrap_or_default());
        let profile = match self.listing() {
            Some(name) => profile.listing(name),
            None => profile.no_listing(),
        };
        let special = self.max_blksize_of.iter();
        special.fold(StandardPolicy::new(profile), |policy, (network, most)| {
            policy.block_size_of(*network, *most)
        })
    }
}

/// What an error says, and how it is said here where others call it otherwise.
pub(crate) fn advised_here(error: clap::Error) -> clap::Error {
    advised(error, ELSEWHERE)
}

/// One port has one event loop: whatever else was asked for, and not only by default, is refused.
fn single_port_fits(found: &ArgMatches) -> Result<(), clap::Error> {
    let refused = |what: &str| {
        let why =
            format!("{what} cannot be used with '--single-port': one event loop has the one port");
        Err(Args::command().error(ErrorKind::ArgumentConflict, why))
    };
    let is_given = |id| found.value_source(id) != Some(ValueSource::DefaultValue);
    let model = found.get_one::<ModelArg>("model").filter(|_| is_given("model"));
    let model = model.and_then(ModelArg::to_possible_value);
    let loops = found.get_one::<NonZeroUsize>("event_threads").map_or(1, |loops| loops.get());
    match model.as_ref().map(PossibleValue::get_name) {
        _ if !found.get_flag("single_port") => Ok(()),
        Some(name) if name != "events" => refused(&format!("'--model {name}'")),
        _ if loops > 1 => refused(&format!("'--event-threads {loops}'")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn one_port_has_one_event_loop_and_no_other_model() {
        let why = |words: &[&str]| {
            let found = Args::command().get_matches_from([&["rtftpd", "/"], words].concat());
            single_port_fits(&found).map_err(|error| error.to_string())
        };
        for fits in [&["--model", "iterative"][..], &["--single-port"], &["--event-threads", "2"]] {
            assert_eq!(why(fits), Ok(()), "{fits:?}");
        }
        assert_eq!(why(&["--single-port", "--model", "events"]), Ok(()));
        for refused in
            [&["--model", "threads"], &["--model", "iterative"], &["--event-threads", "2"]]
        {
            let error = why(&[&["--single-port"], &refused[..]].concat()).expect_err("a conflict");
            assert!(error.contains(&format!("'{}' cannot", refused.join(" "))), "{error}");
        }
    }

    #[test]
    fn with_processes_there_are_no_more_than_threads_and_each_takes_descriptors_of_the_server() {
        let ending = limits::PROCESSES_ENDING as u64;
        for (words, sessions, descriptors) in [
            (&["--model", "threads"][..], 9, 0),
            (&["--model", "processes"], 3, 4 * (3 + ending)),
            (&["--model", "processes", "--max-sessions", "2"], 2, 4 * (2 + ending)),
            (&["--model", "processes", "--single-port"], 9, 0),
        ] {
            let both = ["rtftpd", "/", "--max-threads", "3"];
            let most =
                if words.contains(&"--max-sessions") { &[][..] } else { &["--max-sessions", "9"] };
            let args = Args::parse_from([&both[..], most, words].concat());
            let told = (args.sessions(), args.descriptors_of_processes());
            assert_eq!(told, (sessions, descriptors), "{words:?}");
        }
    }

    #[test]
    fn times_take_units_and_the_defaults_are_those_of_the_library() {
        let args = |words: &[&str]| Args::parse_from([&["rtftpd", "/"], words].concat());
        assert_eq!(args(&[]).timing(), Ok(Timing::default()));
        assert_eq!(args(&[]).drain, limits::DRAIN);
        let intervals = ["--intervals", "20ms", "2s", "--first-interval", "0.5 sec"];
        let timing = args(&[&intervals[..], &["--patience", "2min"]].concat()).timing();
        let timing = timing.expect("legal times");
        assert_eq!(timing.unanswered(), timing.patience(), "nor longer for who never answered");
        let millis = [timing.floor(), timing.ceiling(), timing.first(), timing.patience()];
        assert_eq!(millis.map(|span| span.as_millis()), [20, 2000, 500, 120_000]);
        assert_eq!(args(&["--drain", "1500ms"]).drain, Duration::from_millis(1500));
    }
}
