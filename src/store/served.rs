//! The directory that one query is about: the root of a folder, or the client's own below it.

use super::beneath;
use super::disk::{Directory, Lookup};
use super::root::OpenRoot;
use crate::query::Query;
use cap_std::fs::Dir;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Says where below the root a client's own directory is, if it has one.
pub(super) struct Below(Box<OwnPath>);

type OwnPath = dyn Fn(&Query) -> Option<PathBuf> + Send + Sync;

impl Below {
    pub(super) fn new(place: impl Fn(&Query) -> Option<PathBuf> + Send + Sync + 'static) -> Self {
        Self(Box::new(place))
    }

    pub(super) fn of(&self, query: &Query) -> Option<PathBuf> {
        (self.0)(query)
    }
}

impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Below")
    }
}

/// The directory that a query is about. Nothing leads out of it.
pub(super) struct Served {
    root: Arc<OpenRoot>,
    below: Option<(Dir, PathBuf)>,
}

impl Served {
    /// The root itself.
    pub(super) const fn root(root: Arc<OpenRoot>) -> Self {
        Self { root, below: None }
    }

    /// The directory `place` below the root.
    pub(super) fn below(root: Arc<OpenRoot>, place: PathBuf, how: Lookup) -> io::Result<Self> {
        let dir = root.dir.directory(&place, how)?;
        Ok(Self { root, below: Some((dir, place)) })
    }

    pub(super) fn dir(&self) -> &Dir {
        self.below.as_ref().map_or(&self.root.dir, |(dir, _)| dir)
    }

    /// The paths that it is known by, without a slash in front. A client's own directory is known by none.
    pub(super) fn paths(&self) -> &[PathBuf] {
        if self.below.is_some() { &[] } else { &self.root.paths }
    }

    /// Where `path` is below the root.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        self.below.as_ref().map_or_else(|| path.to_owned(), |(_, place)| place.join(path))
    }

    pub(super) fn into_root(self) -> Arc<OpenRoot> {
        self.root
    }
}

/// The folders elsewhere that links may lead to, as they are at a moment, and the served one, to which links may lead
/// back.
pub(super) fn bases<'a>(
    served: &'a Served,
    own: &'a [PathBuf],
    links: &'a [Arc<OpenRoot>],
) -> Vec<beneath::Base<'a>> {
    let elsewhere = links.iter().map(|root| beneath::Base { dir: &root.dir, paths: &root.paths });
    let own = beneath::Base { dir: served.dir(), paths: own };
    std::iter::once(own).chain(elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Folder, Store, StoreError, Uploads};
    use crate::wire::Operation;
    use std::fs::File;
    use std::io::{IoSliceMut, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn query(operation: Operation, name: &str) -> Query {
        Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), operation, name)
    }

    fn by_address(query: &Query) -> Option<PathBuf> {
        Some(query.peer.ip().to_string().into())
    }

    /// A folder with these files, each of as many bytes as its path has.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, file).expect("a file");
        }
        folder
    }

    fn size(folder: &Folder, name: &str) -> Result<Option<u64>, &'static str> {
        let read = folder.read(&query(Operation::Read, name));
        read.map(|file| file.known_size()).map_err(|error| error.text())
    }

    fn stored(folder: &Folder, name: &str) -> Result<(), &'static str> {
        let sink = folder.write(&query(Operation::Write, name)).map_err(|error| error.text());
        sink?.commit().map_err(|_| "not stored")
    }

    fn listed(folder: &Folder, name: &str) -> Vec<String> {
        let listing = folder.list(&query(Operation::List, name)).expect("a listing");
        listing.entries.iter().map(|entry| entry.name.display().to_string()).collect()
    }

    #[test]
    fn each_client_has_its_own_directory_and_no_way_to_those_of_others() {
        let root = folder(&["127.0.0.1/sub/f", "127.0.0.2/theirs", "common"]);
        let at = |name: &str| root.path().join(name);
        let link = |to: &str, name: &str| symlink(to, at(name)).expect("a link");
        link("../127.0.0.2/theirs", "127.0.0.1/relative");
        link(at("127.0.0.2/theirs").to_str().expect("UTF-8"), "127.0.0.1/absolute");
        link("sub/f", "127.0.0.1/own");
        let own = Folder::open(root.path()).expect("it opens").below(by_address);
        assert_eq!([size(&own, "sub/f"), size(&own, "own")], [Ok(Some(15)); 2]);
        for name in ["common", "127.0.0.1/sub/f", "127.0.0.2/theirs"] {
            assert_eq!(size(&own, name), Err("file not found"), "{name}");
        }
        for name in ["../common", "relative", "absolute", "sub\\..\\..\\common"] {
            assert_eq!(size(&own, name), Err("outside the folder"), "{name}");
        }
        let by_path = format!("{}/sub/f", at("127.0.0.1").display());
        assert_eq!(size(&own, &by_path), Err("file not found"), "it has no path of its own");
        assert_eq!(own.inside(Path::new(&by_path[1..])), None);
        assert_eq!(listed(&own, ""), ["own", "sub"]);
        let nobody = Folder::open(root.path()).expect("it opens").below(|_| None);
        assert_eq!(size(&nobody, "common"), Err("file not found"));
        assert!(!nobody.may_wait(&query(Operation::Read, "common")));
    }

    #[test]
    fn an_upload_makes_the_clients_directory_where_uploads_may_make_directories() {
        let root = folder(&["common"]);
        let open = |create_dirs| {
            let folder = Folder::open(root.path()).expect("it opens").below(by_address);
            folder.uploads(Uploads::Create).create_dirs(create_dirs)
        };
        assert_eq!(stored(&open(false), "new"), Err("no such directory"));
        let made = open(true);
        for name in ["a\\..\\..\\out", "../out", "new/"] {
            assert!(stored(&made, name).is_err(), "{name}");
        }
        assert_eq!([stored(&made, "new"), stored(&made, "/sub\\newer")], [Ok(()); 2]);
        assert_eq!(stored(&made, "new"), Err("file already exists"));
        for name in ["127.0.0.1/new", "127.0.0.1/sub/newer"] {
            assert!(root.path().join(name).is_file(), "{name}");
        }
        let unknown = Folder::open(root.path()).expect("it opens").below(|_| None);
        let unknown = unknown.uploads(Uploads::Create).create_dirs(true);
        assert_eq!(stored(&unknown, "new"), Err("no such directory"));
    }

    #[test]
    fn links_lead_to_the_folders_that_are_named_and_nowhere_else() {
        let (root, other) = (folder(&["top", "d/f"]), folder(&["deep/shared"]));
        let secret = folder(&["secret"]);
        let [r, o, s] = [&root, &other, &secret].map(|folder| folder.path().canonicalize());
        let [r, o, s] = [r, o, s].map(|path| path.expect("a path").display().to_string());
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let link = |to: &str, at: &str| symlink(to, at).expect("a link");
        link(&format!("{o}/deep/shared"), &format!("{r}/file"));
        link(&o, &format!("{r}/folder"));
        link(&format!("../../{}/deep", name(&o)), &format!("{r}/d/relative"));
        link(&format!("{s}/secret"), &format!("{r}/secret"));
        link(&format!("{o}/../{}/secret", name(&s)), &format!("{r}/over"));
        link(&format!("{s}/secret"), &format!("{o}/secret"));
        link(&format!("{r}/top"), &format!("{o}/back"));
        link("../..", &format!("{o}/deep/up"));
        link("../deep/shared", &format!("{o}/deep/side"));
        let plain = Folder::open(&r).expect("it opens");
        let linked = Folder::open(&r).expect("it opens").uploads(Uploads::Overwrite);
        let linked = linked.links_to(&o).expect("it is there");
        let there = [
            "file",
            "folder/deep/shared",
            "d/relative/shared",
            "folder/deep/up/deep/shared",
            // What was passed before the first link is no part of the way behind it.
            "d/relative/side",
        ];
        for name in there {
            assert_eq!(size(&plain, name), Err("outside the folder"), "{name}");
            assert_eq!(size(&linked, name), Ok(Some(11)), "{name}");
        }
        assert_eq!(size(&linked, "folder/back"), Ok(Some(3)));
        for name in ["secret", "over", "folder/secret"] {
            assert_eq!(size(&linked, name), Err("outside the folder"), "{name}");
        }
        assert_eq!(listed(&linked, ""), ["d", "file", "folder", "top"]);
        assert_eq!(listed(&linked, "folder"), ["back", "deep"]);
        assert_eq!(listed(&plain, ""), ["d", "top"]);
        // What lies there is not written.
        for name in ["file", "folder/new", "d/relative/new"] {
            assert_eq!(stored(&linked, name), Err("outside the folder"), "{name}");
        }
        assert!(Folder::open(&r).expect("it opens").links_to(format!("{r}/no")).is_err());
        assert!(matches!(
            linked.read(&query(Operation::Read, "missing")),
            Err(StoreError::NotFound)
        ));
    }

    #[test]
    fn of_folders_in_each_other_a_link_leads_to_the_innermost_that_is_named() {
        let (root, outer) = (folder(&["top"]), folder(&["closed/inner/f"]));
        let place = outer.path().canonicalize().expect("a path");
        let inner = place.join("closed/inner");
        symlink(inner.join("f"), root.path().join("link")).expect("a link");
        let mode = |path: &Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("its mode");
        };
        [root.path(), &inner].iter().for_each(|path| mode(path, 0o755));
        mode(&inner.join("f"), 0o644);
        // What is on the way there counts only on a way from the other.
        mode(&place.join("closed"), 0o700);
        let outer_alone = Folder::open(root.path()).expect("it opens").as_others(true);
        let outer_alone = outer_alone.links_to(&place).expect("it is there");
        assert_eq!(size(&outer_alone, "link"), Err("no permission"), "others may not go there");
        for folders in [[&place, &inner], [&inner, &place]] {
            let served = Folder::open(root.path()).expect("it opens").as_others(true);
            let served = folders
                .iter()
                .fold(served, |served, other| served.links_to(other).expect("it is there"));
            assert_eq!(size(&served, "link"), Ok(Some(14)), "{folders:?}");
        }
    }

    #[test]
    fn what_is_written_over_while_it_is_sent_fails_in_a_clients_own_directory_too() {
        let root = folder(&["f", "own/f"]);
        for (own, path) in [(false, "f"), (true, "own/f")] {
            let path = root.path().join(path);
            std::fs::write(&path, "before").expect("a file");
            let served = Folder::open(root.path()).expect("it opens");
            let served = if own { served.below(|_| Some("own".into())) } else { served };
            let (mut source, ..) =
                served.read(&query(Operation::Read, "f")).expect("a file").into_parts();
            let mut read = || source.read(&mut [IoSliceMut::new(&mut [0; 3])]);
            assert_eq!(read().expect("half of it"), 3);
            let about = || std::fs::metadata(&path).expect("a file");
            let was = about();
            // Its time is set back, and only that it changed is seen, once the clock of the file system goes on.
            while (about().ctime(), about().ctime_nsec()) == (was.ctime(), was.ctime_nsec()) {
                let mut file = File::options().write(true).open(&path).expect("it opens");
                file.write_all(b"behind").expect("written");
                file.set_modified(was.modified().expect("a time")).expect("set back");
            }
            let told = read().map_err(|error| error.to_string());
            assert_eq!(told, Err("the file changed while it was sent".into()), "own: {own}");
        }
    }
}
