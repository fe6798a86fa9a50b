//! A local file that is there whole or not at all.

use super::{Folder, StoreError};
use crate::transfer::{MayWait, Sink};
use std::fmt;
use std::io;
use std::path::Path;

/// A sink that makes a file: it is there whole or not at all. Until the download is complete its name has what it had
/// before.
pub struct WholeFile(Box<dyn Sink>);

impl WholeFile {
    /// A file that will be at `path`, where it replaces what is there and keeps its permissions. A link is replaced, and
    /// not what it leads to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let name = path.file_name().ok_or_else(StoreError::is_a_directory)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = unbounded(parent.unwrap_or_else(|| Path::new(".")))?;
        folder.replace(Path::new(name)).map(Self)
    }
}

/// The folder for a file that may be larger than an upload.
fn unbounded(path: &Path) -> Result<Folder, StoreError> {
    let folder = Folder::open(path).map_err(StoreError::Io)?;
    Ok(folder.largest_upload(u64::MAX))
}

impl Sink for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.0.commit()
    }

    fn may_wait(&self) -> MayWait {
        self.0.may_wait()
    }
}

impl fmt::Debug for WholeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeFile").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_there_when_it_is_committed_and_what_was_there_stays_until_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        std::fs::write(&old, "before").expect("a file");
        for (path, before) in [(&new, None), (&old, Some("before"))] {
            let content = || std::fs::read_to_string(path).ok();
            let write = || {
                let mut file = WholeFile::create(path).expect("a file");
                file.write(b"whole").expect("written");
                assert_eq!(file.may_wait(), MayWait::OnCommit, "as the sink beneath it does");
                assert_eq!(content().as_deref(), before);
                file
            };
            drop(write());
            assert_eq!(content().as_deref(), before, "it was given up");
            write().commit().expect("committed");
            assert_eq!(content().as_deref(), Some("whole"));
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
        assert!(WholeFile::create("/").is_err() && WholeFile::create(folder.path()).is_err());
    }

    #[test]
    fn a_file_may_be_larger_than_an_upload() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = unbounded(place.path()).expect("it opens");
        assert_eq!(folder.most_bytes(), u64::MAX, "a longer download fails at its end");
    }

    #[test]
    fn a_link_is_replaced_wherever_it_leads_and_what_it_leads_to_stays() {
        let (folder, outside) = (tempfile::tempdir(), tempfile::tempdir());
        let (folder, outside) = (folder.expect("a folder"), outside.expect("a folder"));
        let elsewhere = outside.path().join("file");
        let beside = folder.path().join("beside");
        for kept in [&elsewhere, &beside] {
            std::fs::write(kept, "kept").expect("a file");
            std::fs::set_permissions(kept, PermissionsExt::from_mode(0o444)).expect("a mode");
        }
        let to = [
            Path::new("nowhere"),
            &elsewhere,
            outside.path(),
            Path::new("beside"),
            Path::new("link"),
        ];
        for to in to {
            let link = folder.path().join("link");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(to, &link).expect("a link");
            let mut file =
                WholeFile::create(&link).unwrap_or_else(|error| panic!("{to:?}: {error}"));
            file.write(b"whole").expect("written");
            assert_eq!(std::fs::read_link(&link).expect("a link"), to);
            file.commit().expect("committed");
            let about = std::fs::symlink_metadata(&link).expect("a file");
            assert!(about.is_file() && about.permissions().mode() & 0o200 != 0, "{to:?}");
            assert_eq!(std::fs::read(&link).expect("a file"), b"whole", "{to:?}");
        }
        for kept in [&elsewhere, &beside] {
            assert_eq!(std::fs::read(kept).expect("a file"), b"kept");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}
