//! What is open of a file system in memory.

use super::{Call, DirectoryNode, Disk, FileNode, Node, State};
use crate::store::disk::{About, Denied, Directory, FileKind, Identity, Lookup, NewFile, Room};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

/// A file as it is made.
fn new_file() -> Node {
    Node::File(FileNode { mode: 0o644, synced: (0, 0o644), ..FileNode::default() })
}

impl State {
    /// A file that has no name.
    fn loose_file(&mut self) -> usize {
        self.nodes.push(new_file());
        self.nodes.len() - 1
    }
}

/// What fits on it.
pub(super) const ROOM: Room = Room { free: 1 << 30, longest_name: 255 };

/// Bytes that one call writes at most, so that an upload takes several.
const WRITE_BYTES: usize = 2000;

/// A directory, or a file that is being written.
pub(in crate::store) struct Handle {
    disk: Disk,
    node: usize,
}

impl Handle {
    pub(super) fn new(disk: &Disk, node: usize) -> Self {
        Self { disk: disk.clone(), node }
    }

    /// The bytes of a regular file.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.disk.state();
        let node = state.find(self.node, path)?;
        Ok(state.file(node).bytes.clone())
    }
}

impl Directory for Handle {
    type File = Self;

    fn identity(&self) -> io::Result<Identity> {
        Ok((0, self.node as u64))
    }

    fn look(&self, path: &Path, _: Lookup) -> io::Result<About> {
        self.disk.call(Call::Look, |state| {
            let node = state.find(self.node, path)?;
            let (kind, denied) = match &state.nodes[node] {
                Node::Directory(_) => (FileKind::Directory, None),
                Node::File(file) => {
                    let denied = (file.mode & 0o200 == 0).then_some(Denied::ByRights);
                    (FileKind::Regular, denied)
                }
            };
            Ok(About { kind, place: path.to_owned(), identity: (0, node as u64), denied })
        })
    }

    fn can_replace(&self, _: &OsStr) -> bool {
        !self.disk.state().is_fixed
    }

    fn take_after(&self, name: &OsStr, file: &Self) -> io::Result<()> {
        self.disk.call(Call::SetMode, |state| {
            let old = state.find(self.node, Path::new(name))?;
            state.file(file.node).mode = state.file(old).mode;
            Ok(())
        })
    }

    fn spool(&self, _: u64) -> io::Result<Self> {
        // It is on another file system, of which nothing is left.
        let node = self.disk.call(Call::Spool, |state| Ok(state.loose_file()));
        Ok(Self::new(&self.disk, node?))
    }

    fn open_to_write(&self, name: &OsStr, is_new: bool) -> io::Result<Self> {
        let node = self.disk.call(Call::OpenToWrite, |state| {
            if is_new {
                state.vacant(self.node, name)?;
                return Ok(state.add(self.node, name, new_file()));
            }
            state.find(self.node, Path::new(name))
        });
        Ok(Self::new(&self.disk, node?))
    }

    fn show_written(&self, _: &OsStr) {}

    fn room(&self) -> io::Result<Room> {
        self.disk.call(Call::Room, |_| Ok(ROOM))
    }

    fn directory(&self, path: &Path, _: Lookup) -> io::Result<Self> {
        self.disk.call(Call::OpenDirectory, |state| {
            let node = state.find(self.node, path)?;
            match &state.nodes[node] {
                Node::Directory(_) => Ok(Self::new(&self.disk, node)),
                Node::File(_) => Err(Errno::NOTDIR.into()),
            }
        })
    }

    fn each_name(&self, tell: &mut dyn FnMut(&OsStr)) -> io::Result<()> {
        let names = self.disk.call(Call::ReadDirectory, |state| {
            Ok(state.directory(self.node).entries.keys().cloned().collect::<Vec<_>>())
        });
        names?.iter().for_each(|name| tell(name));
        Ok(())
    }

    fn create(&self, name: Option<&OsStr>) -> io::Result<Self> {
        let node = match name {
            None => self.disk.call(Call::CreateUnnamed, |state| Ok(state.loose_file())),
            Some(name) => self.disk.call(Call::CreateNamed, |state| {
                state.vacant(self.node, name)?;
                Ok(state.add(self.node, name, new_file()))
            }),
        };
        Ok(Self::new(&self.disk, node?))
    }

    fn link(&self, file: &Self, name: &OsStr) -> io::Result<()> {
        self.disk.call(Call::Link, |state| {
            state.vacant(self.node, name)?;
            state.directory(self.node).change(vec![(name.to_owned(), Some(file.node))]);
            Ok(())
        })
    }

    fn hard_link(&self, name: &OsStr, to: &Self, target: &OsStr) -> io::Result<()> {
        self.disk.call(Call::HardLink, |state| {
            let file = state.find(self.node, Path::new(name))?;
            state.vacant(to.node, target)?;
            state.directory(to.node).change(vec![(target.to_owned(), Some(file))]);
            Ok(())
        })
    }

    fn rename(&self, name: &OsStr, to: &Self, target: &OsStr, replace: bool) -> io::Result<()> {
        let call = if replace { Call::RenameOver } else { Call::RenameNew };
        self.disk.call(call, |state| {
            let file = state.find(self.node, Path::new(name))?;
            match state.vacant(to.node, target) {
                Err(error) if !replace || error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error);
                }
                _ => {}
            }
            let (gone, new) = ((name.to_owned(), None), (target.to_owned(), Some(file)));
            if to.node == self.node {
                state.directory(self.node).change(vec![gone, new]);
            } else {
                state.directory(self.node).change(vec![gone]);
                state.directory(to.node).change(vec![new]);
            }
            Ok(())
        })
    }

    fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.disk.call(Call::RemoveFile, |state| {
            state.find(self.node, Path::new(name))?;
            state.directory(self.node).change(vec![(name.to_owned(), None)]);
            Ok(())
        })
    }

    fn create_dir(&self, name: &OsStr) -> io::Result<()> {
        self.disk.call(Call::CreateDirectory, |state| {
            state.vacant(self.node, name)?;
            state.add(self.node, name, Node::Directory(DirectoryNode::default()));
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.call(Call::RemoveDirectory, |state| {
            let node = state.find(self.node, path)?;
            let directory = state.directory(node);
            if !directory.entries.is_empty() {
                return Err(Errno::NOTEMPTY.into());
            }
            directory.is_removed = true;
            let parent = path.parent().unwrap_or_else(|| Path::new(""));
            let within = state.find(self.node, parent)?;
            let name = path.file_name().ok_or(Errno::INVAL)?;
            state.directory(within).change(vec![(name.to_owned(), None)]);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(Call::SyncDirectory, |state| {
            let directory = state.directory(self.node);
            directory.synced = directory.entries.clone();
            directory.changes.clear();
            Ok(())
        })
    }
}

impl NewFile for Handle {
    fn lock(&self) -> io::Result<bool> {
        self.disk.call(Call::Lock, |_| Ok(true))
    }

    fn copy_over(&self, target: &Self) -> io::Result<()> {
        self.disk.call(Call::CopyOver, |state| {
            let bytes = state.file(self.node).bytes.clone();
            let file = state.file(target.node);
            // Until it is synced nothing is safe, neither of the old bytes nor of the new ones.
            (file.bytes, file.synced.0) = (bytes, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.disk.call(Call::SyncFile, |state| {
            state.file(self.node).sync();
            Ok(())
        });
        if synced.is_err() {
            self.disk.state().file(self.node).is_broken = true;
        }
        synced
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok((0, self.node as u64))
    }

    fn to_read(&self) -> io::Result<std::fs::File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_remote(&self) -> bool {
        self.disk.state().is_remote
    }
}

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.call(Call::Write, |state| {
            let written = &bytes[..bytes.len().min(WRITE_BYTES)];
            state.file(self.node).bytes.extend_from_slice(written);
            Ok(written.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
