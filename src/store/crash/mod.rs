//! A file system in memory that loses what was not synced, for tests: what is left after a crash at any call of an
//! upload can be looked at, in each way that it may be left.
//!
//! What a crash may lose is what POSIX lets it lose, which is more than any one of ext4, XFS and Btrfs does lose, and no
//! less than one of them did in some version or with some mount option:
//!
//! - Of a file, what was written since it was last synced: all of it or the end of it is missing, or the length is there
//!   and zeros stand for bytes (ext4 with `data=writeback` or without `auto_da_alloc`, XFS after a write behind the end).
//!   A new mode may be lost, too.
//! - Of a directory, each change since it was last synced, whatever became of those before and after it: they need not
//!   reach the disk in order (Btrfs). A rename within a directory is one change: the name is the old file or the new
//!   one. A rename to another directory is a change of each, of which one may be lost.
//! - A sync of a file says nothing of its names, and that of a directory nothing of its own name.
//! - What a sync that failed should have saved is not saved by the next one, which succeeds (the kernel has marked those
//!   pages clean).
//!
//! What was synced stays. Nothing here is random: the caller chooses what is lost.

mod handles;
mod served;
mod tests;
mod told;
mod versions;

use handles::Handle;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A call of an upload to its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Look,
    Room,
    OpenDirectory,
    ReadDirectory,
    OpenToWrite,
    Spool,
    CopyOver,
    CreateUnnamed,
    CreateNamed,
    Lock,
    SetMode,
    Write,
    SyncFile,
    SyncDirectory,
    Link,
    HardLink,
    RenameNew,
    RenameOver,
    RemoveFile,
    CreateDirectory,
    RemoveDirectory,
}

/// A file system in memory. Its clones are the same one.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// Which error a call gets, by its number and kind.
type Fault = Box<dyn FnMut(usize, Call) -> Option<Errno> + Send>;

struct State {
    /// All files and directories there ever were. The first is the root.
    nodes: Vec<Node>,
    calls: Vec<Call>,
    fault: Fault,
    /// The number of the first call that finds no file system any more.
    cut: usize,
    /// Whether no file can be replaced: each is a mount point, or somebody else's in a directory like `/tmp`.
    is_fixed: bool,
    /// Whether it lies behind a network.
    is_remote: bool,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Directory(DirectoryNode),
}

#[derive(Clone, Default)]
struct FileNode {
    bytes: Vec<u8>,
    mode: u32,
    /// How many of the bytes are safe, and which mode is.
    synced: (usize, u32),
    /// Whether a sync of it failed.
    is_broken: bool,
}

type Entries = BTreeMap<OsString, usize>;

/// What becomes of names in one step.
type Change = Vec<(OsString, Option<usize>)>;

#[derive(Clone, Default)]
struct DirectoryNode {
    entries: Entries,
    /// The names that are safe, and the changes since.
    synced: Entries,
    changes: Vec<Change>,
    is_removed: bool,
}

fn apply(entries: &mut Entries, change: &Change) {
    for (name, node) in change {
        match node {
            Some(node) => entries.insert(name.clone(), *node),
            None => entries.remove(name),
        };
    }
}

impl DirectoryNode {
    fn change(&mut self, change: Change) {
        apply(&mut self.entries, &change);
        self.changes.push(change);
    }
}

impl Disk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::of(vec![Node::Directory(DirectoryNode::default())])
    }

    fn of(nodes: Vec<Node>) -> Self {
        let fault: Fault = Box::new(|_, _| None);
        let state = State {
            nodes,
            calls: Vec::new(),
            fault,
            cut: usize::MAX,
            is_fixed: false,
            is_remote: false,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self) -> Handle {
        Handle::new(self, 0)
    }

    /// Puts a file there that is safe, with the directories that it needs.
    pub(crate) fn put(&self, path: &str, bytes: &[u8], mode: u32) {
        let mut state = self.state();
        let parent = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
        let mut within = 0;
        for name in parent {
            within = match state.directory(within).entries.get(name) {
                Some(known) => *known,
                None => state.add(within, name, Node::Directory(DirectoryNode::default())),
            };
        }
        let (bytes, synced) = (bytes.to_vec(), (bytes.len(), mode));
        let name = Path::new(path).file_name().expect("a name of a file");
        state.add(within, name, Node::File(FileNode { bytes, mode, synced, is_broken: false }));
        for node in &mut state.nodes {
            if let Node::Directory(directory) = node {
                directory.synced = directory.entries.clone();
                directory.changes.clear();
            }
        }
    }

    /// From now on calls get the errors that `fault` has for their numbers and kinds.
    pub(crate) fn fail(&self, fault: impl FnMut(usize, Call) -> Option<Errno> + Send + 'static) {
        self.state().fault = Box::new(fault);
    }

    /// Makes call `number` and all later ones fail without an effect. The first is call 0.
    pub(crate) fn cut_before(&self, number: usize) {
        self.state().cut = number;
    }

    /// Makes all later calls fail without an effect.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.cut = state.calls.len();
    }

    /// The calls up to now, and up to a cut.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How often files and directories were synced.
    pub(crate) fn syncs(&self) -> (usize, usize) {
        let calls = self.calls();
        let count = |wanted| calls.iter().filter(|call| **call == wanted).count();
        (count(Call::SyncFile), count(Call::SyncDirectory))
    }

    /// What a crash at this moment leaves. `choose` is asked, with a number above 1, which of so many things happens,
    /// counted from 0, which is that nothing is lost. It is always asked in the same order.
    pub(crate) fn left(&self, mut choose: impl FnMut(usize) -> usize) -> Self {
        let mut nodes = self.state().nodes.clone();
        let (mut seen, mut next) = (BTreeSet::new(), BTreeSet::from([0]));
        while let Some(node) = next.pop_first() {
            seen.insert(node);
            match &mut nodes[node] {
                Node::File(file) => file.lose(&mut choose),
                Node::Directory(directory) => {
                    for change in std::mem::take(&mut directory.changes) {
                        if choose(2) == 0 {
                            apply(&mut directory.synced, &change);
                        }
                    }
                    directory.entries = directory.synced.clone();
                    next.extend(directory.entries.values().filter(|node| !seen.contains(node)));
                }
            }
        }
        Self::of(nodes)
    }

    /// The same in each way that a crash may leave.
    fn every_left(&self, mut look: impl FnMut(&Self)) {
        every(|choose| look(&self.left(choose)));
    }

    /// What there is: the bytes of each file, nothing for a directory.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let state = self.state();
        let (mut tree, mut next) = (BTreeMap::new(), vec![(PathBuf::new(), 0)]);
        while let Some((path, node)) = next.pop() {
            let bytes = match &state.nodes[node] {
                Node::File(file) => Some(file.bytes.clone()),
                Node::Directory(directory) => {
                    next.extend(
                        directory.entries.iter().map(|(name, node)| (path.join(name), *node)),
                    );
                    None
                }
            };
            tree.insert(path, bytes);
        }
        tree.remove(Path::new(""));
        tree
    }

    /// The bytes of a file that is there.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.tree().remove(Path::new(path)).flatten()
    }

    /// The mode of a file that is there.
    pub(crate) fn mode(&self, path: &str) -> u32 {
        let mut state = self.state();
        let node = state.find(0, Path::new(path)).expect("a file");
        state.file(node).mode
    }

    /// Does what a call does, or what happens to it instead.
    fn call<T>(&self, call: Call, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let number = state.calls.len();
        if number >= state.cut {
            return Err(Errno::IO.into());
        }
        state.calls.push(call);
        match (state.fault)(number, call) {
            Some(error) => Err(error.into()),
            None => act(&mut state),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tree()).finish()
    }
}

impl FileNode {
    fn sync(&mut self) {
        if !self.is_broken {
            self.synced = (self.bytes.len(), self.mode);
        }
    }

    /// Only what was appended can be lost, and all of what was written over.
    fn lose(&mut self, choose: &mut impl FnMut(usize) -> usize) {
        let (safe, mode) = self.synced;
        let half = safe + (self.bytes.len() - safe) / 2;
        if safe < self.bytes.len() {
            match choose(5) {
                0 => {}
                1 => self.bytes.truncate(safe),
                2 => self.bytes.truncate(half),
                3 => self.bytes[safe..].fill(0),
                _ => self.bytes[half..].fill(0),
            }
        }
        if self.mode != mode && choose(2) != 0 {
            self.mode = mode;
        }
        self.synced = (self.bytes.len(), self.mode);
    }
}

impl State {
    fn directory(&mut self, node: usize) -> &mut DirectoryNode {
        match &mut self.nodes[node] {
            Node::Directory(directory) => directory,
            Node::File(_) => panic!("a handle of a directory is not one of a file"),
        }
    }

    fn file(&mut self, node: usize) -> &mut FileNode {
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Directory(_) => panic!("a handle of a file is not one of a directory"),
        }
    }

    fn find(&self, mut from: usize, path: &Path) -> io::Result<usize> {
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Directory(directory) = &self.nodes[from] else {
                return Err(Errno::NOTDIR.into());
            };
            from = *directory.entries.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(from)
    }

    /// That there is room for a new name in a directory.
    fn vacant(&mut self, within: usize, name: &OsStr) -> io::Result<()> {
        let directory = self.directory(within);
        if directory.is_removed {
            return Err(Errno::NOENT.into());
        }
        if directory.entries.contains_key(name) { Err(Errno::EXIST.into()) } else { Ok(()) }
    }

    fn add(&mut self, within: usize, name: &OsStr, node: Node) -> usize {
        self.nodes.push(node);
        let new = self.nodes.len() - 1;
        self.directory(within).change(vec![(name.to_owned(), Some(new))]);
        new
    }
}

/// Runs `one` with each sequence of choices that it can make.
pub(crate) fn every(mut one: impl FnMut(&mut dyn FnMut(usize) -> usize)) {
    let mut made: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut at = 0;
        one(&mut |of| {
            if at == made.len() {
                made.push((0, of));
            }
            at += 1;
            made[at - 1].0
        });
        // The last one that can still be another is.
        while let Some((choice, of)) = made.pop() {
            if choice + 1 < of {
                made.push((choice + 1, of));
                break;
            }
        }
        if made.is_empty() {
            return;
        }
    }
}
