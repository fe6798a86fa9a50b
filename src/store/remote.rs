//! Which files lie behind a network, or are made up by a program: to open or to read one may take as long as that likes.

use rustix::fs::FsWord;
use std::io;
use std::os::fd::AsFd;

/// The types of such file systems (`statfs(2)`): NFS, SMB, CIFS, FUSE, 9P, Ceph, AFS, Coda.
const REMOTE: [FsWord; 8] = [
    0x6969,
    0xfe53_4d42,
    0xff53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
];

/// Whether this file or directory does.
pub(super) fn is_remote(file: impl AsFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|about| REMOTE.contains(&about.f_type))
}

/// The file system of a root. Others may be mounted below it.
#[derive(Debug)]
pub(super) struct FileSystem {
    device: u64,
    is_remote: bool,
}

impl FileSystem {
    /// That of this directory.
    pub(super) fn of(dir: impl AsFd) -> io::Result<Self> {
        let device = rustix::fs::fstat(&dir)?.st_dev;
        Ok(Self { device, is_remote: is_remote(dir) })
    }

    pub(super) const fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Whether a file of this device is remote; `ask` looks at the file, which costs a system call, where it is on another
    /// file system.
    pub(super) fn has_remote(&self, device: u64, ask: impl FnOnce() -> bool) -> bool {
        if device == self.device { self.is_remote } else { ask() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_device_is_asked_for_its_own_file_system_and_no_other_is() {
        let unasked = || -> bool { panic!("it is known") };
        for is_remote in [true, false] {
            let root = FileSystem { device: 7, is_remote };
            assert_eq!(root.has_remote(7, unasked), is_remote);
            assert_eq!([true, false].map(|own| root.has_remote(8, || own)), [true, false]);
        }
        // A folder here is none, or the tests of waiting for disks mean nothing.
        let here = tempfile::tempdir().expect("a folder");
        let here = std::fs::File::open(here.path()).expect("it opens");
        let device = rustix::fs::fstat(&here).expect("a folder").st_dev;
        let root = FileSystem::of(&here).expect("a file system");
        assert!(!root.is_remote() && !root.has_remote(device, unasked));
    }
}
