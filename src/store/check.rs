//! Who is asked about an upload that is whole, before anybody sees it.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An upload that is whole, and that nobody sees yet. It is safe on the disk, but for one that will be written over an old file.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WholeUpload<'a> {
    /// Where below the folder it is to appear: no `..`, but otherwise a client's words.
    pub path: &'a Path,
    /// Who sent it.
    pub peer: SocketAddr,
    /// How many bytes it has.
    pub size: u64,
    /// The file, to be read from its first byte on. It may have no name yet.
    pub file: &'a File,
}

type Ask = dyn Fn(&WholeUpload<'_>) -> io::Result<()> + Send + Sync;

/// Says whether uploads may appear.
#[derive(Clone)]
pub(super) struct Check(Arc<Ask>);

impl Check {
    pub(super) fn new(
        ask: impl Fn(&WholeUpload<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) fn about(&self, peer: SocketAddr) -> Asked {
        Asked { check: self.clone(), peer, within: PathBuf::new() }
    }
}

/// Says whether the upload of one client may appear.
pub(super) struct Asked {
    check: Check,
    peer: SocketAddr,
    /// Where below the folder the root of its path is.
    within: PathBuf,
}

impl Asked {
    pub(super) fn within(self, place: PathBuf) -> Self {
        Self { within: place, ..self }
    }

    /// Asks about what is to appear at `path`, if it can be read for that.
    pub(super) fn ask(&self, path: &Path, file: io::Result<File>) -> io::Result<()> {
        let unread =
            |error| io::Error::other(format!("it cannot be read again before it appears: {error}"));
        let file = &file.map_err(unread)?;
        let (path, size) = (&*self.within.join(path), file.metadata()?.len());
        (self.check.0)(&WholeUpload { path, peer: self.peer, size, file })
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::store::{Folder, Store, Uploads};
    use crate::transfer::MayWait;
    use crate::wire::Operation;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Mutex;

    /// The path, the peer's port, the size, the bytes, whether they could be changed, and what was to be seen then.
    type Seen = (PathBuf, u16, u64, Vec<u8>, bool, Vec<PathBuf>);

    fn names(root: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root).expect("a folder").map(|it| it.expect("an entry"));
        let seen = entries.map(|entry| PathBuf::from(entry.file_name()));
        let mut seen: Vec<_> = seen.filter(|name| !name.starts_with(".")).collect();
        seen.retain(|name| !super::super::temporary::is_temporary(name.as_os_str()));
        seen.sort();
        seen
    }

    /// A folder that is asked about uploads, each of which is noted and gets this answer.
    fn asked(root: &Path, may: bool) -> (Folder, Arc<Mutex<Vec<Seen>>>) {
        let notes: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (theirs, place) = (Arc::clone(&notes), root.to_owned());
        let folder = Folder::open(root).expect("a folder").uploads(Uploads::Overwrite);
        let folder = folder.create_dirs(true).before_uploads_appear(move |upload| {
            let WholeUpload { path, peer, size, mut file } = *upload;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let changes = file.write(b"x").is_ok();
            let seen = (path.to_owned(), peer.port(), size, bytes, changes, names(&place));
            theirs.lock().expect("notes").push(seen);
            if may { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
        });
        (folder, notes)
    }

    fn store(folder: &Folder, name: &str) -> io::Result<()> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let query = Query::new((local, 2000).into(), local, Operation::Write, name);
        let mut sink = folder.write(&query).expect("a sink");
        assert_eq!(sink.may_wait(), MayWait::OnCommitForLong);
        sink.write(b"new ").and_then(|()| sink.write(b"bytes")).and_then(|()| sink.commit())
    }

    #[test]
    fn who_is_asked_has_the_whole_upload_before_anybody_sees_it() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "old").expect("a file");
        let (folder, notes) = asked(root.path(), true);
        for name in ["made/new", "there"] {
            store(&folder, name).expect("it is stored");
        }
        let notes = std::mem::take(&mut *notes.lock().expect("notes"));
        let seen = |path: &str, there: &[&str]| {
            let there = there.iter().map(PathBuf::from).collect();
            (PathBuf::from(path), 2000, 9, b"new bytes".to_vec(), false, there)
        };
        assert_eq!(notes, [seen("made/new", &["there"]), seen("there", &["made", "there"])]);
        for name in ["made/new", "there"] {
            assert_eq!(std::fs::read(root.path().join(name)).expect("a file"), b"new bytes");
        }
    }

    #[test]
    fn what_is_refused_leaves_all_as_it_was() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("there"), "old").expect("a file");
        let (folder, notes) = asked(root.path(), false);
        let folder = folder.keep_versions(3);
        for name in ["made/new", "there", "new"] {
            let refused = store(&folder, name).expect_err("it is refused");
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        }
        assert_eq!(notes.lock().expect("notes").len(), 3);
        let all = std::fs::read_dir(root.path()).expect("a folder").count();
        assert_eq!((all, names(root.path())), (1, vec!["there".into()]));
        assert_eq!(std::fs::read(root.path().join("there")).expect("a file"), b"old");
    }

    #[test]
    fn the_path_is_below_the_folder_also_where_each_client_has_its_own() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, notes) = asked(root.path(), true);
        let folder = folder.below(|_| Some("of/one".into()));
        for name in ["first", "second"] {
            store(&folder, name).expect("it is stored");
        }
        let paths: Vec<_> =
            notes.lock().expect("notes").iter().map(|(path, ..)| path.clone()).collect();
        assert_eq!(paths, [Path::new("of/one/first"), Path::new("of/one/second")]);
    }
}
