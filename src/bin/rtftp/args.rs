//! The command line.

use crate::record::Record;
use crate::report::Reporter;
use crate::typed::{
    BLOCK_SIZES, Elsewhere, WINDOW_SIZES, advised, span, whole, with_negative_values,
};
use crate::words;
use clap::builder::{BoolishValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tftpkit::client::{Load, Wishes};
use tftpkit::limits;
use tftpkit::wire::{BlockSize, Mode, WindowSize};

/// The exit status, behind the examples of a command.
macro_rules! page {
    ($($line:literal)*) => {
        concat!($($line, "\n",)* "
Every option can be set by a variable: --blksize by RTFTP_BLKSIZE.

Exit status:
  0  done
  1  a local file cannot be read or written
  2  wrong usage
  3  no answer: no such host, nothing listens there, it fell silent, or the time was over
  4  the server does not have the file
  5  the server does not allow it, or the file exists there
  6  a disk is full, here or there
  7  the server failed, or broke the protocol
  8  everything was sent, but the server did not confirm that it stored it
Of several files all are tried, and the first that failed decides. Ctrl-C and SIGTERM tell the server, and then end it as they end any program.")
    };
}

const MENU: &str = page! {
    "Examples:"
    "  rtftp 192.0.2.1                        the menu: list, download, upload, quit"
    "  rtftp list 192.0.2.1                   what is there"
    "  rtftp get 192.0.2.1 pxelinux.0         a file"
    "  rtftp put sw-01.cfg 192.0.2.1          the other way"
    "  rtftp help get                         all about one command"
};

const GET: &str = page! {
    "Examples:"
    "  rtftp get 192.0.2.1 pxelinux.0         writes pxelinux.0, here"
    "  rtftp get 192.0.2.1 sw.cfg -o old.cfg  under another name; -o - prints it"
    "  rtftp get 192.0.2.1 a b c -o backup/   several, into a folder"
    "  rtftp get sw1:6969/sub/boot.img        all in one word; sw1:boot.img at port 69"
    "  rtftp get tftp://[fe80::1%25eth0]/x    a URL; fe80::1%eth0 elsewhere"
    "  rtftp get --wait --max-time 5min 192.168.1.1 art.bin"
    "                                         a router that has yet to start"
};

const PUT: &str = page! {
    "Examples:"
    "  rtftp put sw-01.cfg 192.0.2.1          under its own name"
    "  rtftp put sw-01.cfg 192.0.2.1 old.cfg  under another one, as 192.0.2.1:old.cfg"
    "  rtftp put *.cfg 192.0.2.1:backup/      several, into a directory"
    "  tar c etc | rtftp put - sw1:etc.tar    what comes from a pipe"
    "  rtftp put --wait --interval 0.5 --max-time 5min fw.bin 192.168.1.1"
    "                                         a router whose loader listens for a second"
    "  rtftp put --timeout 20 --retries 10 fw.bin 192.0.2.1"
    "                                         a device that erases its flash first"
};

const LIST: &str = page! {
    "Examples:"
    "  rtftp list 192.0.2.1                   what is there"
    "  rtftp list 192.0.2.1 firmware          a directory, as 192.0.2.1:firmware"
    "  rtftp list 192.0.2.1:6969 --json       for a script"
};

const CHECK: &str = "\
Examples:
  rtftp check 192.0.2.1 pxelinux.0              is it served?
  rtftp check 192.0.2.1:6969/boot.img --within 1 --warn 0.2
                                                for a monitoring system, or what announces an anycast address

The file is asked for and not read: the server is told so as soon as it answers, and its log has no failure. Standard \
output gets one line in the form of Nagios' plugins, with the time and the size for its graphs.

Every option can be set by a variable: --within by RTFTP_WITHIN.

Exit status: 0 it is served, 1 it is, but late (--warn) or only after the request was repeated, 2 it is not, 3 that could \
not be found out.";

const BENCH: &str = "\
This is load: aim it at a server of your own, over a network that may be filled.

Examples:
  rtftp bench 192.0.2.1 pxelinux.0 vmlinuz      10 clients, 10 seconds, as fast as it goes
  rtftp bench 192.0.2.1:boot.img --clients 1000 --no-options
                                                how do 1000 old boot ROMs at once fare?
  rtftp bench 192.0.2.1:boot.img --rate 200 --duration 60
                                                200 machines start in each second
  rtftp bench 192.0.2.1:boot.img --clients 64 --count 5000 --verify --json
                                                for a script: exactly 5000, all bytes compared

A download is asked for once: not a second time without options, as 'get' does where a server refuses them \
(--no-options). Goodput and transfers in a second are those of the time in which downloads begin; those under way \
at its end have 10 s to finish, and count among the whole and the failed. Ctrl-C ends it with the report.

Every option can be set by a variable: --clients by RTFTP_CLIENTS.

Exit status: 0 if no transfer failed, else that of the most frequent failure, as 'rtftp get --help' has them; 3 if \
all were cut off at the end.";

/// What other TFTP clients, curl and ftp call it.
pub(crate) const ELSEWHERE: Elsewhere = &[
    (&["--port", "-p", "-P"], "the port stands behind the host: HOST:PORT"),
    (
        &["--host", "-h", "--server", "-s", "--address"],
        "the host needs no option: rtftp get HOST FILE",
    ),
    (
        &["--remote", "--remote-file", "--remote-name", "-r", "-O"],
        "the remote file needs no option: rtftp get HOST FILE",
    ),
    (
        &["--local", "--local-file", "-l", "--out", "--output-file", "--outfile", "--file", "-f"],
        "'-o FILE' says where a download goes",
    ),
    (&["--get", "-g", "--download"], "it is a command: rtftp get HOST FILE"),
    (
        &["--put", "--upload", "--upload-file", "-T", "--send"],
        "it is a command: rtftp put FILE HOST",
    ),
    (&["--list", "--ls", "--dir"], "it is a command: rtftp list HOST"),
    (BLOCK_SIZES, "--blksize"),
    (WINDOW_SIZES, "--windowsize"),
    (
        &["--binary", "--octet", "--image", "-i", "-m"],
        "files travel byte for byte unless '--mode netascii' is given",
    ),
    (&["--ascii", "--netascii", "--text", "-a", "--use-ascii"], "--mode netascii"),
    (&["--tftp-no-options", "--plain", "--rfc1350", "--no-blksize"], "--no-options"),
    (&["--retry", "--tries", "--repeat"], "--retries"),
    (&["--silent"], "--quiet"),
    (&["--connect-timeout", "--deadline", "--maxtime", "--time-limit"], "--max-time"),
    (&["--concurrency", "--parallel", "--jobs", "-n", "-j"], "--clients"),
];

/// A TFTP client: gets, puts and lists files; with only a HOST it opens a menu.
#[derive(Debug, Parser)]
#[command(name = "rtftp", version, after_help = MENU, args_conflicts_with_subcommands = true,
    arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The server whose menu to open: HOST[:PORT]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) wishes: WishArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read files from a server
    #[command(after_help = GET, visible_aliases = ["download", "fetch"])]
    Get(GetArgs),
    /// Write files to a server
    #[command(after_help = PUT, visible_aliases = ["upload", "send"],
        override_usage = "rtftp put [OPTIONS] FILE... REMOTE")]
    Put(PutArgs),
    /// List a directory of a server
    // A list is no file: it travels in octet only.
    #[command(after_help = LIST, visible_aliases = ["ls", "dir"], mut_arg("mode", |mode| mode.hide(true)))]
    List(ListArgs),
    /// Ask whether a server serves a file, without reading it: for monitoring
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Put a load on a server of your own: many downloads at once, and how they fared
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GetArgs {
    /// HOST:FILE, HOST:PORT/FILE, or HOST[:PORT] and names after it, or tftp://HOST[:PORT]/FILE[;mode=netascii]
    #[arg(required = true, value_name = "REMOTE")]
    pub(crate) remotes: Vec<OsString>,
    /// Where to write: a file, a folder, or - for standard output [default: the file's own name, here]
    #[arg(long, short, env = "RTFTP_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) transfers: TransferArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PutArgs {
    /// Local files (- is standard input), then where to: HOST:NAME, HOST:PORT/NAME, HOST[:PORT] [NAME], or a URL
    #[arg(required = true, num_args = 2.., value_name = "FILE... REMOTE")]
    pub(crate) files_and_remote: Vec<OsString>,
    #[command(flatten)]
    pub(crate) transfers: TransferArgs,
}

/// How files are transferred, whichever way.
#[derive(Debug, ClapArgs)]
pub(crate) struct TransferArgs {
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    #[command(flatten)]
    pub(crate) wishes: WishArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// HOST[:PORT], HOST:DIRECTORY, HOST:PORT/DIRECTORY, or a URL
    pub(crate) remote: OsString,
    /// The directory [default: the root]
    pub(crate) directory: Option<OsString>,
    #[command(flatten)]
    pub(crate) max_time: MaxTimeArg,
    #[command(flatten)]
    pub(crate) wishes: WishArgs,
    /// One JSON object for each entry, and one at the end that tells how it went
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_JSON")]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// HOST:FILE, HOST:PORT/FILE, or HOST[:PORT] and a FILE, or tftp://HOST[:PORT]/FILE
    #[arg(required = true, value_name = "REMOTE")]
    pub(crate) remotes: Vec<OsString>,
    /// The longest that the answer may take, the request's repetitions included
    #[arg(long, value_name = "TIME", default_value = "3", value_parser = duration, env = "RTFTP_WITHIN")]
    pub(crate) within: Duration,
    /// An answer that takes longer is a warning
    #[arg(long, value_name = "TIME", value_parser = duration, env = "RTFTP_WARN")]
    pub(crate) warn: Option<Duration>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// HOST:FILE, or HOST[:PORT] and names after it, or tftp://HOST[:PORT]/FILE; several files are taken in turn
    #[arg(required = true, value_name = "REMOTE")]
    pub(crate) remotes: Vec<OsString>,
    /// Downloads at once, each followed by the next; with --rate, the most at once [default: 10; with --rate 1000]
    #[arg(long, short, value_name = "N", value_parser = whole::<u16>(1..=65535), env = "RTFTP_CLIENTS")]
    clients: Option<u16>,
    /// Begin so many downloads in each second, whether others have ended or not
    #[arg(long, value_name = "R", value_parser = rate, env = "RTFTP_RATE")]
    rate: Option<f64>,
    /// Begin downloads for so long, in seconds or with a unit, as in 2min [default: 10; with --count as long as it takes]
    #[arg(long, short, value_name = "TIME", value_parser = duration, env = "RTFTP_DURATION")]
    duration: Option<Duration>,
    /// Begin so many downloads
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX), env = "RTFTP_COUNT")]
    count: Option<u64>,
    /// Compare each download with the first of the same file
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_VERIFY")]
    verify: bool,
    /// No line on the terminal while it is under way
    #[arg(long, short, value_parser = BoolishValueParser::new(), env = "RTFTP_QUIET")]
    pub(crate) quiet: bool,
    /// The report as one JSON object; times are in seconds
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_JSON")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wishes: WishArgs,
}

impl Args {
    /// What the words of the command line ask for.
    pub(crate) fn from_words(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut app = with_negative_values(Self::command());
        app.build();
        let words = match words::arranged(words, &app) {
            Ok(words) => words,
            Err(why) => return Err(app.error(ErrorKind::InvalidSubcommand, why)),
        };
        let found =
            app.try_get_matches_from_mut(words).map_err(|error| advised(error, ELSEWHERE))?;
        let here = found.subcommand().map_or(&found, |(_, found)| found);
        let typed = |id| {
            here.try_contains_id(id).is_ok()
                && here.value_source(id) == Some(ValueSource::CommandLine)
        };
        if typed("no_options") && (typed("blksize") || typed("windowsize")) {
            let what = "--no-options asks for neither --blksize nor --windowsize";
            return Err(app.error(ErrorKind::ArgumentConflict, what));
        }
        Self::from_arg_matches(&found)
    }
}

/// Prints what is wrong with the command line, for scripts as well, or the help that was asked for.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    let is_variable = std::env::var("RTFTP_JSON").is_ok_and(|value| {
        BoolishValueParser::new()
            .parse_ref(&Args::command(), None, OsStr::new(&value))
            .unwrap_or(false)
    });
    if error.use_stderr() && (is_variable || std::env::args_os().any(|word| word == "--json")) {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Reporter::new(ReportArgs { quiet: false, json: true })
            .line(&Record::misused("", why.into()));
    }
    // Where it cannot be printed the exit status still tells.
    let _ = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    // To a monitoring system 2 says that the server is down.
    let is_check =
        std::env::args_os().skip(1).find(|word| !word.as_encoded_bytes().starts_with(b"-"));
    ExitCode::from(if code == 2 && is_check.is_some_and(|word| word == "check") { 3 } else { code })
}

impl BenchArgs {
    pub(crate) fn load(&self, files: Vec<Vec<u8>>) -> Load {
        let load = Load::of(files);
        let clients = if self.rate.is_some() { CLIENTS_AT_A_RATE } else { load.clients };
        let forever = if self.count.is_some() { Duration::MAX } else { load.duration };
        load.clients(self.clients.map_or(clients, Into::into))
            .rate(self.rate)
            .duration(self.duration.unwrap_or(forever))
            .count(self.count)
            .verify(self.verify)
    }
}

/// The rate is the bound that is meant; this one keeps what a server does not answer from piling up.
const CLIENTS_AT_A_RATE: usize = 1000;

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "write a number of downloads from 0.001 to 1000000".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    span(text, Duration::from_millis(1)..=Duration::from_secs(u32::MAX.into()))
}

/// What to ask a server for.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WishArgs {
    /// Bytes in a block, 8 to 65464 [default: what the path carries in one piece]
    #[arg(long, value_name = "BYTES", value_parser = whole::<u16>(8..=65464), env = "RTFTP_BLKSIZE")]
    blksize: Option<u16>,
    /// Blocks in a window, 1 to 32767 [default: up to 64]
    #[arg(long, value_name = "BLOCKS", value_parser = whole::<u16>(1..=32767), env = "RTFTP_WINDOWSIZE")]
    windowsize: Option<u16>,
    /// The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u8>(1..=255), env = "RTFTP_TIMEOUT")]
    timeout: Option<u8>,
    /// How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7
    /// seconds, and as long without options]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=1000), env = "RTFTP_RETRIES")]
    retries: Option<u32>,
    /// How files travel
    #[arg(long, value_enum, default_value = "octet", env = "RTFTP_MODE")]
    mode: ModeArg,
    /// Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_NO_OPTIONS")]
    no_options: bool,
    /// Let neither kernel nor device cut and join packets: for a device that fails at it
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_NO_OFFLOAD")]
    no_offload: bool,
}

/// How long all of it may take.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct MaxTimeArg {
    /// End it after so long whatever happens, in seconds or with a unit, as in 2min
    #[arg(long, value_name = "TIME", value_parser = duration, env = "RTFTP_MAX_TIME")]
    pub(crate) max_time: Option<Duration>,
}

/// Whether to wait for a device.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) max_time: MaxTimeArg,
    /// Keep asking until the device is there: through no route, no such host, a closed port and silence
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_WAIT")]
    wait: bool,
    /// How often to ask with --wait, in seconds or with a unit, as in 500ms
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = interval, env = "RTFTP_INTERVAL")]
    interval: Duration,
}

impl WaitArgs {
    /// How often to ask where it is waited for.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.wait.then_some(self.interval)
    }
}

/// How often a device is asked that is waited for.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    span(text, limits::SHORTEST_ASKING..=Duration::from_secs(60))
}

/// What to tell of it.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    /// No progress bar, and nothing when it went well
    #[arg(long, short, value_parser = BoolishValueParser::new(), env = "RTFTP_QUIET")]
    pub(crate) quiet: bool,
    /// One JSON object for each file, on standard output (standard error when the file goes there)
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTP_JSON")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// Byte for byte
    Octet,
    /// As text: line ends are converted
    Netascii,
}

impl WishArgs {
    /// The wishes for a file whose URL says this mode, or none.
    pub(crate) fn wishes(&self, mode: Option<Mode>) -> Wishes {
        let asked = match self.mode {
            ModeArg::Octet => Mode::Octet,
            ModeArg::Netascii => Mode::Netascii,
        };
        Wishes::default()
            .block_size(self.blksize.and_then(BlockSize::new))
            .window(self.windowsize.and_then(WindowSize::new))
            .timeout(self.timeout.and_then(NonZeroU8::new))
            .retries(self.retries)
            .mode(mode.unwrap_or(asked))
            .plain(self.no_options)
            .offload(!self.no_offload)
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
    fn what_is_packaged_about_it_is_what_it_is() {
        crate::pages::compare("rtftp", Args::command(), "1");
    }

    #[test]
    fn each_example_of_the_help_is_a_command_line() {
        let mut seen = 0;
        for page in [MENU, GET, PUT, LIST, CHECK, BENCH] {
            for line in
                page.lines().filter(|line| line.starts_with("  ") && line.contains("rtftp "))
            {
                // What comes from a pipe, and what is said about it, is no part of it.
                let line = line.trim_start().rsplit(" | ").next().unwrap_or_default();
                let line = line.split("  ").next().unwrap_or_default();
                let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
                let parsed = Args::from_words(words).map_err(|error| error.kind());
                let is_help = matches!(parsed, Err(ErrorKind::DisplayHelp));
                assert!(is_help || parsed.is_ok(), "{line}: {parsed:?}");
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn a_load_has_an_end_and_a_bound_whatever_was_left_out() {
        let load = |line: &str| match Args::parse_from(line.split(' ')).command {
            Some(Command::Bench(args)) => args.load(Vec::new()),
            other => panic!("no load: {other:?}"),
        };
        let [ten, ever] = [Duration::from_secs(10), Duration::MAX];
        let bounds = |load: Load| (load.clients, load.duration, load.count);
        assert_eq!(bounds(load("rtftp bench h:f")), (10, ten, None));
        assert_eq!(bounds(load("rtftp bench h:f --count 5")), (10, ever, Some(5)));
        assert_eq!(bounds(load("rtftp bench h:f --count 5 -d 10")), (10, ten, Some(5)));
        let minute = Duration::from_secs(60);
        assert_eq!(bounds(load("rtftp bench h:f -d 1min")), (10, minute, None));
        assert_eq!(bounds(load("rtftp bench h:f --rate 0.5")), (1000, ten, None));
        assert_eq!(bounds(load("rtftp bench h:f --rate 9 -c 65535")), (65_535, ten, None));
        assert!(rate("0.001").is_ok() && rate("1e6").is_ok());
        assert!(duration("0").is_err() && duration("4294967296").is_err());
        assert!(rate("0").is_err() && rate("1000001").is_err() && rate("nan").is_err());
        let millis = ["0.05", "60", "1min"].map(|text| interval(text).map(|span| span.as_millis()));
        assert_eq!(millis, [Ok(50), Ok(60_000), Ok(60_000)]);
        assert!(["0.049", "60.1"].map(interval).iter().all(Result::is_err));
        assert_eq!(duration("0.001"), Ok(Duration::from_millis(1)));
        assert_eq!(duration("4294967295"), Ok(Duration::from_secs(u32::MAX.into())));
    }
}
