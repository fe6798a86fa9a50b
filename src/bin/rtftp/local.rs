//! Local files: a download is there whole or not at all, and what was there before stays until then.

use crate::signals::Stop;
use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tftpkit::store::{Readable, StoreError, WholeFile};
use tftpkit::transfer::{Sink, Source};

/// The last part of a name on either side.
pub(crate) fn base_name(name: &[u8]) -> Result<&OsStr> {
    let last = name.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
    if matches!(last, b"" | b"." | b"..") {
        bail!("'{}' has no file name in it", String::from_utf8_lossy(name));
    }
    Ok(OsStr::from_bytes(last))
}

/// Bytes in a name, as all usual file systems have it.
const LONGEST_NAME: usize = 255;

/// Where a download goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// `output` is what the user gave, `name` the file's own name; `several` files need a folder.
    pub(crate) fn new(output: Option<&Path>, name: &OsStr, several: bool) -> Result<Self> {
        let keeps_name = output.is_none_or(|output| !is_stdout(output) && output.is_dir());
        if keeps_name && name.len() > LONGEST_NAME {
            let bytes = name.len();
            bail!(
                "the file's own name has {bytes} bytes, and {LONGEST_NAME} are the most here: give another with -o"
            );
        }
        Ok(match output {
            None => Self::File(name.into()),
            Some(stdout) if is_stdout(stdout) => Self::Stdout,
            Some(folder) if folder.is_dir() => Self::File(folder.join(name)),
            Some(folder) if folder.as_os_str().as_bytes().ends_with(b"/") => {
                bail!("there is no folder '{}'", folder.display())
            }
            Some(file) if several => {
                bail!("several files cannot all become '{}': give a folder", file.display())
            }
            Some(file) => Self::File(file.into()),
        })
    }

    /// Where it goes, in a word; `-` is standard output.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Stdout => "-".into(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// Opens it. A pipe that takes no more is waited for until `stop` is given.
    pub(crate) fn open(&self, stop: &Stop) -> Result<Box<dyn Sink>> {
        let path = match self {
            Self::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let stdout = stdout.context("cannot write to standard output")?;
                return Ok(Box::new(Outlet { file: stdout.into(), stop: stop.clone() }));
            }
            Self::File(path) => path,
        };
        let cannot = || format!("cannot write '{}'", path.display());
        let about = path.metadata().ok();
        let is_file = about.as_ref().is_some_and(Metadata::is_file);
        if is_descriptor(path) || about.is_some_and(|about| !is_file && !about.is_dir()) {
            // A device or a pipe, /dev/null perhaps: there is nothing to replace. Nor is there where a shell has opened
            // a file for us: it goes on at its end. A disk has no room behind its end.
            let stream = File::options().write(true).append(is_file).open(path);
            return Ok(Box::new(Outlet { file: stream.with_context(cannot)?, stop: stop.clone() }));
        }
        // What a link stands for is written, not the link: the user has named it.
        let path = &if path.is_symlink() {
            path.canonicalize().with_context(cannot)?
        } else {
            path.clone()
        };
        let file = WholeFile::create(path).map_err(|error| match error {
            StoreError::Io(error) => anyhow!(error),
            other => anyhow!(other),
        });
        Ok(Box::new(file.with_context(cannot)?))
    }
}

/// Whether a name stands for standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

/// Whether it is one of this process's open files by its name.
fn is_descriptor(path: &Path) -> bool {
    let folders = ["/dev/fd", "/proc/self/fd"].map(Path::new);
    path == Path::new("/dev/stderr")
        || path.parent().is_some_and(|parent| folders.contains(&parent))
}

/// Opens what is to be sent. What comes through a pipe is waited for until `stop` is given.
pub(crate) fn open(path: &Path, stop: &Stop) -> Result<Readable> {
    if path == Path::new("-") {
        let stdin =
            io::stdin().as_fd().try_clone_to_owned().context("cannot read standard input")?;
        return Stream::open(stdin.into(), stop).context("cannot read standard input");
    }
    let cannot = || format!("cannot read '{}'", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    if metadata.is_dir() {
        bail!("cannot read '{}': it is a directory", path.display());
    }
    // What /proc makes up has no size, and is not empty for that.
    if metadata.is_file() && metadata.len() > 0 {
        return Readable::file(file).with_context(cannot);
    }
    Stream::open(file, stop).with_context(cannot)
}

/// A pipe, a terminal or a device, whose waiting can be ended.
struct Stream {
    file: File,
    source: Box<dyn Source>,
    stop: Stop,
}

/// How soon one that waits sees that it is to end, in milliseconds: a person does not notice, and it costs next to
/// nothing.
const LOOK: u8 = 100;

impl Stream {
    fn open(file: File, stop: &Stop) -> io::Result<Readable> {
        let (source, ..) = Readable::stream(file.try_clone()?).into_parts();
        Ok(Readable::new(Self { file, source, stop: stop.clone() }))
    }
}

/// A pipe, a terminal or a device that is written to, whose waiting can be ended.
struct Outlet {
    file: File,
    stop: Stop,
}

/// A pipe that is ready takes so many bytes without waiting.
const PIPE_BYTES: usize = 4096;

impl Sink for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for some in bytes.chunks(PIPE_BYTES) {
            loop {
                let ready = &mut [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                // An error is for the write to tell.
                if poll(ready, PollTimeout::from(LOOK)) != Ok(0) {
                    break;
                }
                if self.stop.cause().is_some() {
                    return Err(io::Error::other("cancelled"));
                }
            }
            self.file.write_all(some)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            if self.stop.cause().is_some() {
                return Err(io::Error::other("cancelled"));
            }
            if let Some(read) = self.source.try_read(bufs)? {
                return Ok(read);
            }
            let ready = &mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            // An error is for the read to tell.
            let _ = poll(ready, PollTimeout::from(LOOK));
        }
    }

    fn try_read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        self.source.try_read(bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_name_is_the_last_part() {
        let base = |name: &[u8]| base_name(name).ok().map(|name| name.display().to_string());
        assert_eq!(base(b"a").as_deref(), Some("a"));
        assert_eq!(base(b"/x/y/a.img").as_deref(), Some("a.img"));
        assert_eq!(base(b"x/").as_deref(), Some("x"));
        assert_eq!([base(b""), base(b"/"), base(b".."), base(b"a/..")], [None, None, None, None]);
    }
    #[test]
    fn a_download_goes_where_the_user_said_or_under_its_own_name() {
        let here = std::env::temp_dir();
        let to = |output: Option<&str>, several| {
            let output = output.map(Path::new);
            Destination::new(output, OsStr::new("own"), several).map_err(|error| error.to_string())
        };
        let file = |path: &str| Ok(Destination::File(path.into()));
        assert_eq!(to(None, true), file("own"));
        assert_eq!(to(Some("other"), false), file("other"));
        assert_eq!(to(Some("-"), true), Ok(Destination::Stdout));
        let inside = Destination::File(here.join("own"));
        assert_eq!(to(here.to_str(), true), Ok(inside), "a folder takes several");
        assert_eq!(to(Some("no/"), false), Err("there is no folder 'no/'".into()));
        let long = "x".repeat(256);
        let named = |name: &str, output: Option<&str>| {
            let to = Destination::new(output.map(Path::new), OsStr::new(name), false);
            to.map(drop).map_err(|error| error.to_string())
        };
        let why =
            "the file's own name has 256 bytes, and 255 are the most here: give another with -o";
        for output in [None, here.to_str()] {
            assert_eq!(named(&long, output), Err(why.into()));
            assert_eq!(named(&long[1..], output), Ok(()));
        }
        assert_eq!([named(&long, Some("x")), named(&long, Some("-"))], [Ok(()), Ok(())]);
        let one = "several files cannot all become 'other': give a folder";
        assert_eq!(to(Some("other"), true), Err(one.into()));
    }

    #[test]
    fn open_files_have_names_that_are_not_replaced() {
        let is = |path: &str| is_descriptor(Path::new(path));
        assert!(is("/dev/stderr") && is("/dev/fd/3") && is("/proc/self/fd/3"));
        assert!(!is("/dev/null") && !is("/dev/fd") && !is("fd/3") && !is("/dev/fd/3/x"));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_written_to_until_the_end_is_asked_for() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let stop = Stop::default();
        let mut outlet =
            Outlet { file: std::os::fd::OwnedFd::from(writer).into(), stop: stop.clone() };
        stop.after(Some(std::time::Duration::ZERO), || {});
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(outlet.write(&[7; 1 << 20])));
        // It is many times what a pipe holds.
        let written = told.recv_timeout(std::time::Duration::from_secs(10));
        let written = written.expect("who waits for a full pipe does not see that it is to end");
        assert_eq!(written.map_err(|error| error.to_string()), Err("cancelled".into()));
        let mut held = Vec::new();
        io::Read::read_to_end(&mut reader, &mut held).expect("what it took");
        assert!(!held.is_empty() && held.len() < 1 << 20, "{} bytes", held.len());
    }
}
