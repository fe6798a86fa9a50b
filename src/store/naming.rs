//! Under which names uploads are stored, where those are not their own.

use super::notice::Notices;
use super::root::Identity;
use super::{Notice, StoreError};
use crate::limits;
use crate::query::Query;
use crate::transfer::{MayWait, Sink};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What the name of an upload may be made of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UploadName<'a> {
    /// What the client asked for.
    pub query: &'a Query,
    /// The last part of the name that it asked for: no `..`, and without a slash.
    pub last: &'a OsStr,
    /// When it asked.
    pub at: SystemTime,
    /// A number. Where the name depends on it, it is the first from 1 on whose name is free.
    pub number: u32,
}

impl<'a> UploadName<'a> {
    /// What is known of an upload.
    pub const fn new(query: &'a Query, last: &'a OsStr, at: SystemTime, number: u32) -> Self {
        Self { query, last, at, number }
    }
}

type Name = dyn Fn(&UploadName<'_>) -> Option<PathBuf> + Send + Sync;

/// Says where uploads are stored.
pub(super) struct Names(Box<Name>);

/// Numbered names that uploads under way will have: of which root, and where below it. There are no more than sessions.
static CLAIMED: Mutex<BTreeSet<(Identity, PathBuf)>> = Mutex::new(BTreeSet::new());

/// A numbered name that no other upload of this process gets as long as this is there.
struct Claim(Identity, PathBuf);

impl Claim {
    fn new(root: Identity, path: PathBuf) -> Option<Self> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert((root, path.clone())).then(|| Self(root, path))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let key = (self.0, std::mem::take(&mut self.1));
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

/// An upload that has its name.
pub(super) struct Named {
    /// What the client would have asked for.
    pub(super) query: Query,
    /// Where that is, for people.
    path: PathBuf,
    claim: Option<Claim>,
}

impl Names {
    pub(super) fn new(
        name: impl Fn(&UploadName<'_>) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(name))
    }

    /// The name for the upload that `query` asks for, in the client's directory `place` of a root; `is_there` tells whether
    /// something has a name.
    pub(super) fn name(
        &self,
        query: &Query,
        (root, place): (Identity, &Path),
        is_there: impl Fn(&Path) -> Result<bool, StoreError>,
    ) -> Result<Named, StoreError> {
        let asked = query.path()?;
        // A backslash in its last part would make two of it.
        asked.slashed().transpose()?;
        let (_, last) = asked
            .split()
            .filter(|_| !asked.is_directory())
            .ok_or_else(StoreError::is_a_directory)?;
        let at = SystemTime::now();
        let of = |number| {
            let path = (self.0)(&UploadName::new(query, last, at, number));
            let path = path.ok_or_else(|| {
                StoreError::denied("something is unknown that its name is made of")
            })?;
            // What was made of the client's name leads no way up.
            let stays = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
            let stays = stays.into_iter().all(|part| !matches!(part, b"" | b"." | b".."));
            let leads = || StoreError::denied("the name that is made for it leads elsewhere");
            if stays { Ok(path) } else { Err(leads()) }
        };
        let named = |path: PathBuf, claim| {
            let name = path.as_os_str().as_bytes().into();
            Named { query: Query { name, ..query.clone() }, path, claim }
        };
        let first = of(1)?;
        if of(2)? == first {
            return Ok(named(first, None));
        }
        for number in 1..=limits::UPLOAD_NUMBERS {
            let path = of(number)?;
            let whole = place.join(&path);
            if let Some(claim) = Claim::new(root, whole.clone())
                && !is_there(&whole)?
            {
                return Ok(named(path, Some(claim)));
            }
        }
        Err(StoreError::denied(format!("all of {} numbers are taken", limits::UPLOAD_NUMBERS)))
    }
}

impl Named {
    /// Its name, below the client's directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing else may have its name.
    pub(super) const fn is_numbered(&self) -> bool {
        self.claim.is_some()
    }

    /// The sink under its name, which is told when it is stored.
    pub(super) fn sink(self, sink: Box<dyn Sink>, notices: Notices) -> Box<dyn Sink> {
        let Self { path, claim, .. } = self;
        Box::new(NamedSink { sink, path, _claim: claim, notices })
    }
}

struct NamedSink {
    sink: Box<dyn Sink>,
    path: PathBuf,
    _claim: Option<Claim>,
    notices: Notices,
}

impl Sink for NamedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(bytes)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.sink.commit()?;
        self.notices.tell(&Notice::StoredAs(std::mem::take(&mut self.path)));
        Ok(())
    }

    fn may_wait(&self) -> MayWait {
        self.sink.may_wait()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Folder, Store, Uploads};
    use crate::wire::Operation;
    use std::net::{IpAddr, Ipv4Addr};

    fn query(name: &str) -> Query {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Query::new((local, 2000).into(), local, Operation::Write, name)
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root).expect("a folder");
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).display().to_string()).collect();
        names.sort();
        names
    }

    fn numbered(upload: &UploadName<'_>) -> Option<PathBuf> {
        Some(format!("{}-{}", upload.last.display(), upload.number).into())
    }

    #[test]
    fn each_upload_has_the_first_number_that_is_free_also_while_others_come() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("a-2"), "there").expect("a file");
        let folder = |uploads| {
            let folder = Folder::open(root.path()).expect("a folder").uploads(uploads);
            folder.upload_names(numbered)
        };
        // As two rules have it that open one folder each for itself.
        let folders = [folder(Uploads::Overwrite), folder(Uploads::Create)];
        let begun = folders.each_ref().map(|folder| folder.write(&query("x/y/a")).expect("a sink"));
        let mut given_up = folders[0].write(&query("a")).expect("a sink");
        given_up.write(b"lost").expect("written");
        for mut sink in begun {
            sink.write(b"new").and_then(|()| sink.commit()).expect("stored");
        }
        assert_eq!(names(root.path()), ["a-1", "a-2", "a-3"]);
        drop(given_up);
        folders[0].write(&query("a")).and_then(|mut sink| Ok(sink.commit()?)).expect("stored");
        assert_eq!(names(root.path()), ["a-1", "a-2", "a-3", "a-4"]);
        assert_eq!(std::fs::read(root.path().join("a-2")).expect("a file"), b"there");
        // What takes the name meanwhile stays, whatever uploads may replace.
        let mut late = folders[0].write(&query("a")).expect("a sink");
        std::fs::write(root.path().join("a-5"), "faster").expect("a file");
        late.commit().expect_err("it is there");
        assert_eq!(std::fs::read(root.path().join("a-5")).expect("a file"), b"faster");
        // What is free counts where it is stored: in the client's own directory.
        let own = folder(Uploads::Create).create_dirs(true).below(|_| Some("own".into()));
        for number in 1..=2 {
            let stored = own.write(&query("a")).and_then(|mut sink| Ok(sink.commit()?));
            stored.unwrap_or_else(|error| panic!("number {number} of a client: {error}"));
        }
        assert_eq!(names(&root.path().join("own")), ["a-1", "a-2"]);
    }

    /// One that cannot be stored, unless it can.
    struct Stored(bool);

    impl Sink for Stored {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn commit(&mut self) -> io::Result<()> {
            if self.0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn may_wait(&self) -> MayWait {
            MayWait::OnCommitForLong
        }
    }

    #[test]
    fn the_name_of_an_upload_is_told_once_it_is_stored_and_it_waits_as_its_sink_does() {
        for is_stored in [false, true] {
            let (tell, told) = std::sync::mpsc::channel();
            let notices = Notices::default();
            notices.to(move |notice| tell.send(notice.clone()).expect("it is heard"));
            let named = Named { query: query("a"), path: "in/b".into(), claim: None };
            let mut sink = named.sink(Box::new(Stored(is_stored)), notices);
            assert_eq!(sink.may_wait(), MayWait::OnCommitForLong, "others would wait with it");
            assert_eq!(sink.commit().is_ok(), is_stored);
            let expected = is_stored.then(|| Notice::StoredAs("in/b".into()));
            assert_eq!(told.try_iter().collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }

    #[test]
    fn so_many_numbers_are_looked_at_and_no_more() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let last = limits::UPLOAD_NUMBERS;
        let folder = folder.upload_names(move |upload| {
            // All numbers but the last mean one name.
            Some(
                if upload.number < last {
                    format!("low-{}", upload.number % 2)
                } else {
                    "high".into()
                }
                .into(),
            )
        });
        for name in ["low-0", "low-1"] {
            std::fs::write(root.path().join(name), "there").expect("a file");
        }
        let store = || folder.write(&query("a")).and_then(|mut sink| Ok(sink.commit()?));
        store().expect("the last number is free");
        let full = store().expect_err("no number is free");
        assert!(full.to_string().contains("all of 9999 numbers are taken"), "{full}");
    }

    #[test]
    fn a_name_from_the_network_stays_one_part_of_the_path_below_the_root() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("in")).expect("a directory");
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let folder = folder.upload_names(|upload| Some(Path::new("in").join(upload.last)));
        for name in ["a", "/x/b", "..\\c", "x\\..\\..\\d", "./in/../e"] {
            let stored = folder.write(&query(name)).and_then(|mut sink| Ok(sink.commit()?));
            let _ =
                stored.map_err(|error| assert_eq!(error.text(), "outside the folder", "{name}"));
        }
        for name in ["", "..", "x/", "x/..", ".", "x\\"] {
            folder.write(&query(name)).map(drop).expect_err(name);
        }
        assert_eq!(names(root.path()), ["in"]);
        let within = names(&root.path().join("in"));
        assert!(
            ["a", "b", "e"].iter().all(|name| within.iter().any(|known| known == name)),
            "{within:?}"
        );
        assert!(within.iter().all(|name| name.len() == 1), "{within:?}");
        // What a part of it makes of itself is no way up either.
        let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Create);
        let stem = |upload: &UploadName<'_>| Path::new(upload.last).file_stem().map(Into::into);
        let folder = folder.upload_names(move |upload| {
            stem(upload).map(|stem: PathBuf| Path::new("in").join(stem).join("new"))
        });
        for name in ["...cfg", "..x"] {
            let refused = folder.write(&query(name)).map(drop).expect_err(name);
            assert!(refused.to_string().contains("leads elsewhere"), "{refused}");
        }
        assert_eq!(names(root.path()), ["in"]);
    }

    #[test]
    fn numbers_are_free_in_each_root_and_in_each_clients_directory_for_itself() {
        let roots = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let open = |root: &tempfile::TempDir, uploads| {
            let folder = Folder::open(root.path()).expect("a folder").uploads(uploads);
            folder.create_dirs(true).upload_names(numbered)
        };
        let folders = roots.each_ref().map(|root| open(root, Uploads::Create));
        let own = ["x", "y"]
            .map(|place| open(&roots[0], Uploads::Create).below(move |_| Some(place.into())));
        // All of them are under way at once.
        let all = folders.iter().chain(&own);
        let sinks: Vec<_> = all.map(|it| it.write(&query("a")).expect("a sink")).collect();
        for mut sink in sinks {
            sink.commit().expect("stored");
        }
        assert_eq!(names(roots[0].path()), ["a-1", "x", "y"]);
        for place in [roots[1].path(), &roots[0].path().join("x"), &roots[0].path().join("y")] {
            assert_eq!(names(place), ["a-1"], "{}", place.display());
        }
        let off = open(&roots[0], Uploads::Off).stored_as(&query("a"));
        assert_eq!(off.expect("it is allowed to ask"), None, "nothing is stored");
        // What cannot be looked at is neither free nor taken.
        std::os::unix::fs::symlink("/etc", roots[1].path().join("a-2")).expect("a link");
        let refused = folders[1].write(&query("a")).map(drop).map_err(|error| error.text());
        assert_eq!(refused, Err("outside the folder"));
    }
}
