//! The command line.

use crate::typed::span;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;
use tftpkit::client::{Load, Wishes};
use tftpkit::wire::{BlockSize, Mode, WindowSize};

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  a local file cannot be read or written
  2  wrong usage
  3  no answer: no such host, nothing listens there, or it fell silent
  4  the server does not have the file
  5  the server does not allow it, or the file exists there
  6  a disk is full, here or there
  7  the server failed, or broke the protocol
  8  everything was sent, but the server did not confirm that it stored it";

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

Exit status: 0 if no transfer failed, else that of the most frequent failure, as 'rtftp get --help' has them; 3 if \
all were cut off at the end.";

/// A TFTP client: gets, puts and lists files; with only a HOST it opens a menu.
#[derive(Debug, Parser)]
#[command(name = "rtftp", version, after_help = EXIT_STATUS, args_conflicts_with_subcommands = true,
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
    #[command(after_help = EXIT_STATUS)]
    Get {
        /// HOST:FILE, or HOST[:PORT] and names after it, or tftp://HOST[:PORT]/FILE[;mode=netascii]
        #[arg(required = true, value_name = "REMOTE")]
        remotes: Vec<OsString>,
        /// Where to write: a file, a folder, or - for standard output [default: the file's own name, here]
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        wishes: WishArgs,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Write files to a server
    #[command(after_help = EXIT_STATUS, override_usage = "rtftp put [OPTIONS] FILE... REMOTE")]
    Put {
        /// Local files (- is standard input), then where to: HOST:NAME, HOST[:PORT] [NAME], or a URL
        #[arg(required = true, num_args = 2.., value_name = "FILE... REMOTE")]
        files_and_remote: Vec<OsString>,
        #[command(flatten)]
        wishes: WishArgs,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// List a directory of a server
    // A list is no file: it travels in octet only.
    #[command(after_help = EXIT_STATUS, mut_arg("mode", |mode| mode.hide(true)))]
    List {
        /// HOST[:PORT], HOST:DIRECTORY, or a URL
        remote: OsString,
        /// The directory [default: the root]
        directory: Option<OsString>,
        #[command(flatten)]
        wishes: WishArgs,
        /// One JSON object for each entry, and one at the end; or one that says what failed
        #[arg(long)]
        json: bool,
    },
    /// Put a load on a server of your own: many downloads at once, and how they fared
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// HOST:FILE, or HOST[:PORT] and names after it, or tftp://HOST[:PORT]/FILE; several files are taken in turn
    #[arg(required = true, value_name = "REMOTE")]
    pub(crate) remotes: Vec<OsString>,
    /// Downloads at once, each followed by the next; with --rate, the most at once [default: 10; with --rate 1000]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    clients: Option<u16>,
    /// Begin so many downloads in each second, whether others have ended or not
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Begin downloads for so long, in seconds or with a unit, as in 2min [default: 10; with --count as long as it takes]
    #[arg(long, short, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Begin so many downloads
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Compare each download with the first of the same file
    #[arg(long)]
    verify: bool,
    /// No line on the terminal while it is under way
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The report as one JSON object, or what failed where there is none; times are in seconds
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wishes: WishArgs,
}

impl BenchArgs {
    pub(crate) fn load(&self, files: Vec<Vec<u8>>) -> Load {
        let load = Load::of(files);
        let clients = if self.rate.is_some() { CLIENTS_AT_A_RATE } else { load.clients };
        let forever = if self.count.is_some() { Duration::MAX } else { load.duration };
        load.clients(self.clients.map_or(clients, Into::into))
            .rate(self.rate)
            .duration(self.duration.unwrap_or(forever))
            .count(self.count.map(NonZeroU64::get))
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
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(8..=65464))]
    blksize: Option<u16>,
    /// Blocks in a window, 1 to 32767 [default: up to 64]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(1..=32767))]
    windowsize: Option<u16>,
    /// The longest that either side waits before it sends again, in seconds [default: as measured]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<NonZeroU8>,
    /// How often to repeat a request that has no answer [default: for 7 seconds, and as long without options]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// How files travel
    #[arg(long, value_enum, default_value = "octet")]
    mode: ModeArg,
    /// Plain RFC 1350: 512-byte blocks, one at a time, no options
    #[arg(long, conflicts_with_all = ["blksize", "windowsize"])]
    no_options: bool,
    /// Let neither kernel nor device cut and join packets: for a device that fails at it
    #[arg(long)]
    no_offload: bool,
}

/// What to tell of it.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    /// No progress bar, and nothing when it went well
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// One JSON object for each file, on standard output (standard error when the file goes there)
    #[arg(long)]
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
            .timeout(self.timeout)
            .retries(self.retries)
            .mode(mode.unwrap_or(asked))
            .plain(self.no_options)
            .offload(!self.no_offload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
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
    }
}
