//! Local files: a download is there whole or not at all, and what was there before stays until then.

use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tftpkit::store::{Readable, StoreError, WholeFile};
use tftpkit::transfer::{Sink, Writer};

/// The last part of a name on either side.
pub(crate) fn base_name(name: &[u8]) -> Result<&OsStr> {
    let last = name.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
    if matches!(last, b"" | b"." | b"..") {
        bail!("'{}' has no file name in it", String::from_utf8_lossy(name));
    }
    Ok(OsStr::from_bytes(last))
}

/// Where a download goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// `output` is what the user gave, `name` the file's own name; `several` files need a folder.
    pub(crate) fn new(output: Option<&Path>, name: &OsStr, several: bool) -> Result<Self> {
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

    pub(crate) fn open(&self) -> Result<Box<dyn Sink>> {
        let path = match self {
            Self::Stdout => return Ok(Box::new(Writer(io::stdout()))),
            Self::File(path) => path,
        };
        let cannot = || format!("cannot write '{}'", path.display());
        let about = path.metadata().ok();
        let is_file = about.as_ref().is_some_and(Metadata::is_file);
        if is_descriptor(path) || about.is_some_and(|about| !is_file && !about.is_dir()) {
            // A device or a pipe, /dev/null perhaps: there is nothing to replace. Nor is there where a shell has opened
            // a file for us: it goes on at its end. A disk has no room behind its end.
            let stream = File::options().write(true).append(is_file).open(path);
            return Ok(Box::new(Writer(stream.with_context(cannot)?)));
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

/// Opens what is to be sent.
pub(crate) fn open(path: &Path) -> Result<Readable> {
    if path == Path::new("-") {
        let stdin =
            io::stdin().as_fd().try_clone_to_owned().context("cannot read standard input")?;
        return Ok(Readable::stream(stdin.into()));
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
    Ok(Readable::stream(file))
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
        let one = "several files cannot all become 'other': give a folder";
        assert_eq!(to(Some("other"), true), Err(one.into()));
    }

    #[test]
    fn open_files_have_names_that_are_not_replaced() {
        let is = |path: &str| is_descriptor(Path::new(path));
        assert!(is("/dev/stderr") && is("/dev/fd/3") && is("/proc/self/fd/3"));
        assert!(!is("/dev/null") && !is("/dev/fd") && !is("fd/3") && !is("/dev/fd/3/x"));
    }
}
