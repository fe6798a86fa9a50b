//! What a file is beside its bytes: owner, group, mode, access control lists and other extended attributes.

use super::beneath;
use cap_std::fs::{Dir, File};
use rustix::buffer::spare_capacity;
use rustix::fs::{Gid, Mode, OFlags, Uid, XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// The longest value, and the longest list of names, that Linux has.
const LONGEST: usize = 64 << 10;

/// What says who may do what.
const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// What is about the bytes that a file had, and that a write takes from it, too.
const OF_THE_BYTES: [&CStr; 3] = [c"security.capability", c"security.ima", c"security.evm"];

/// Gives `new` the owner, the group, the mode and the attributes of the file `name` in `dir`, or fails where one of them
/// cannot be given. Bits that let a program run as its owner are not among them: a write takes those away.
pub(super) fn take_after(dir: &Dir, name: &OsStr, new: &File) -> rustix::io::Result<()> {
    let old = Old::open(dir, name)?;
    let (was, is) = (rustix::fs::fstat(&old.file)?, rustix::fs::fstat(new)?);
    let owner = (was.st_uid != is.st_uid).then(|| Uid::from_raw(was.st_uid));
    let group = (was.st_gid != is.st_gid).then(|| Gid::from_raw(was.st_gid));
    if owner.is_some() || group.is_some() {
        rustix::fs::fchown(new, owner, group)?;
    }
    let mode = was.st_mode & 0o777;
    if is.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(new, Mode::from_raw_mode(mode))?;
    }
    let names = old.names()?;
    let names = || names.split_inclusive(|byte| *byte == 0).flat_map(CStr::from_bytes_with_nul);
    for name in names().filter(|name| !OF_THE_BYTES.contains(name)) {
        let value = old.value(name)?;
        if value_of(new, name).as_ref() != Ok(&value) {
            fsetxattr(new, name, &value, XattrFlags::empty())?;
        }
    }
    // The directory may have given it a list of its own.
    if !names().any(|name| name == ACCESS_LIST) && value_of(new, ACCESS_LIST).is_ok() {
        rustix::fs::fremovexattr(new, ACCESS_LIST)?;
        rustix::fs::fchmod(new, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// The file that is to be replaced.
struct Old {
    file: OwnedFd,
    /// Its name under `/proc`, where it could not be opened to read.
    name: Option<String>,
}

impl Old {
    fn open(dir: &Dir, name: &OsStr) -> rustix::io::Result<Self> {
        let open = |flags| {
            let opened = beneath::open(dir, Path::new(name), flags);
            opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        match open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(file) => Ok(Self { file, name: None }),
            Err(_) => {
                let file = open(OFlags::PATH)?;
                let name = Some(format!("/proc/self/fd/{}", file.as_raw_fd()));
                Ok(Self { file, name })
            }
        }
    }

    /// The names of its attributes, each with its NUL.
    fn names(&self) -> rustix::io::Result<Vec<u8>> {
        let mut names = Vec::with_capacity(LONGEST);
        let listed = match &self.name {
            None => flistxattr(&self.file, spare_capacity(&mut names)),
            Some(name) => rustix::fs::listxattr(name.as_str(), spare_capacity(&mut names)),
        };
        match listed {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
            listed => listed.map(|_| names),
        }
    }

    fn value(&self, attribute: &CStr) -> rustix::io::Result<Vec<u8>> {
        let mut value = Vec::with_capacity(LONGEST);
        match &self.name {
            None => fgetxattr(&self.file, attribute, spare_capacity(&mut value))?,
            Some(name) => {
                rustix::fs::getxattr(name.as_str(), attribute, spare_capacity(&mut value))?
            }
        };
        Ok(value)
    }
}

fn value_of(file: &File, attribute: &CStr) -> rustix::io::Result<Vec<u8>> {
    let mut value = Vec::with_capacity(LONGEST);
    fgetxattr(file, attribute, spare_capacity(&mut value))?;
    Ok(value)
}
