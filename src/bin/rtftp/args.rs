//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::num::NonZeroU8;
use std::path::PathBuf;
use tftpkit::client::Wishes;
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
    #[command(after_help = EXIT_STATUS)]
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
    #[command(after_help = EXIT_STATUS)]
    List {
        /// HOST[:PORT], HOST:DIRECTORY, or a URL
        remote: OsString,
        /// The directory [default: the root]
        directory: Option<OsString>,
        #[command(flatten)]
        wishes: WishArgs,
        /// One JSON object for each entry, and one at the end
        #[arg(long)]
        json: bool,
    },
}

/// What to ask a server for.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WishArgs {
    /// Bytes in a block, 8 to 65464 [default: what the path carries in one piece]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(8..=65464))]
    blksize: Option<u16>,
    /// Blocks in a window [default: up to 64]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(1..=32767))]
    windowsize: Option<u16>,
    /// Seconds before something is sent again, on both sides [default: as measured]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<NonZeroU8>,
    /// How often to repeat a request that has no answer [default: for 7 seconds]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// How files travel
    #[arg(long, value_enum, default_value = "octet")]
    mode: ModeArg,
    /// Plain RFC 1350: 512-byte blocks, one at a time, no options
    #[arg(long, conflicts_with_all = ["blksize", "windowsize"])]
    no_options: bool,
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
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            block_size: self.blksize.and_then(BlockSize::new),
            window: self.windowsize.and_then(WindowSize::new),
            timeout: self.timeout,
            retries: self.retries,
            mode: match self.mode {
                ModeArg::Octet => Mode::Octet,
                ModeArg::Netascii => Mode::Netascii,
            },
            plain: self.no_options,
        }
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
}
