//! From a name in a request to a path beneath the root, lexically, without a look at the file system.

use super::StoreError;
use crate::limits;
use crate::query::Query;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A name that was asked for, as a path beneath the root: relative, without `.` and `..`. It is made lexically, so that
/// links are not followed. The root itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RootedPath {
    literal: PathBuf,
    slashed: Option<Option<PathBuf>>,
    is_directory: bool,
}

impl RootedPath {
    /// Checks a name from a request. Slashes in front, doubled ones and `.` mean nothing; `..` goes up, and
    /// what leaves the root so is refused.
    pub fn parse(raw: &[u8]) -> Result<Self, StoreError> {
        if raw.len() > limits::NAME_BYTES {
            return Err(StoreError::too_long());
        }
        let literal = resolve(raw).ok_or_else(StoreError::outside)?;
        // Windows boot managers ask for \Boot\BCD; a file whose name has a backslash comes first.
        let slashed = raw.contains(&b'\\').then(|| {
            let slashed: Vec<u8> =
                raw.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
            resolve(&slashed)
        });
        let last = raw.rsplit(|byte| matches!(byte, b'/' | b'\\')).next();
        let is_directory = matches!(last, None | Some(b"" | b"." | b".."));
        Ok(Self { literal, slashed, is_directory })
    }

    /// The name as a path relative to the root, backslashes being ordinary characters.
    pub fn path(&self) -> &Path {
        &self.literal
    }

    /// The path with backslashes taken for slashes; `None` when there are none, an error when it leaves the root.
    pub(super) fn slashed(&self) -> Option<Result<&Path, StoreError>> {
        let slashed = self.slashed.as_ref()?;
        Some(slashed.as_deref().ok_or_else(StoreError::outside))
    }

    /// Whether it is meant for a directory: it ends with a slash, or names the root.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// What `look` finds under it: under the literal name first, then with slashes for backslashes, and then without one of
    /// the paths in front that are the root's `own`, for clients that know the root as the server does.
    pub(super) fn find<T>(
        &self,
        own: &[PathBuf],
        look: impl Fn(&Path) -> Result<T, StoreError>,
    ) -> Result<(&Path, T), StoreError> {
        let mut found = look(self.path()).map(|found| (self.path(), found));
        if let (Err(StoreError::NotFound), Some(slashed)) = (&found, self.slashed()) {
            let slashed = slashed?;
            found = look(slashed).map(|found| (slashed, found));
        }
        if let (Err(StoreError::NotFound), Some(inside)) = (&found, self.inside(own)) {
            found = look(inside).map(|found| (inside, found));
        }
        found
    }

    /// The path of a new file of this name: without the root's `own` path in front, unless the root has such a directory.
    pub(super) fn new_path(
        &self,
        own: &[PathBuf],
        is_there: impl Fn(&Path) -> bool,
    ) -> Result<&Path, StoreError> {
        let path = self.slashed().unwrap_or_else(|| Ok(self.path()))?;
        let first = path.iter().next().map(Path::new);
        match self.inside(own).filter(|_| !first.is_some_and(is_there)) {
            Some(inside) => Ok(inside),
            None => Ok(path),
        }
    }

    /// What is left behind the root's own path.
    pub(super) fn inside(&self, own: &[PathBuf]) -> Option<&Path> {
        own.iter().find_map(|own| self.with_slashes().strip_prefix(own).ok())
    }

    /// The path with slashes for backslashes, unless that leaves the root.
    pub(crate) fn with_slashes(&self) -> &Path {
        self.slashed.as_ref().and_then(Option::as_ref).unwrap_or(&self.literal)
    }

    /// The path of a file as [`with_slashes`](Self::with_slashes) has it where the file is asked for by it.
    pub(crate) fn with_slashes_in(path: &Path) -> Cow<'_, Path> {
        let raw = path.as_os_str().as_bytes();
        let parsed = raw.contains(&b'\\').then(|| Self::parse(raw).ok()).flatten();
        parsed.map_or(Cow::Borrowed(path), |name| Cow::Owned(name.with_slashes().to_owned()))
    }

    /// The directory and the last part, where there is one.
    pub fn split(&self) -> Option<(Self, &OsStr)> {
        let path = self.with_slashes();
        let parent = path.parent()?.to_path_buf();
        let parent = Self { literal: parent, slashed: None, is_directory: true };
        Some((parent, path.file_name()?))
    }
}

impl Query {
    /// The path beneath the root that the name stands for.
    pub fn path(&self) -> Result<RootedPath, StoreError> {
        RootedPath::parse(self.name.as_bytes())
    }
}

fn resolve(raw: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if !path.pop() {
                    return None;
                }
            }
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &[u8]) -> Option<String> {
        RootedPath::parse(raw).ok().map(|name| name.path().display().to_string())
    }

    #[test]
    fn a_name_is_relative_whatever_slashes_it_has() {
        for raw in ["a/b", "/a/b", "//a//b", "./a/./b", "x/../a/b", "/a/b/"] {
            assert_eq!(path(raw.as_bytes()).as_deref(), Some("a/b"), "{raw}");
        }
        assert_eq!(path(b"").as_deref(), Some(""));
        assert_eq!(path(b"a..b").as_deref(), Some("a..b"));
        assert_eq!(path(b"%2e%2e/x").as_deref(), Some("%2e%2e/x"));
    }

    #[test]
    fn a_name_that_leaves_the_root_is_refused() {
        for raw in ["..", "../x", "a/../../x", "/../x"] {
            assert_eq!(path(raw.as_bytes()), None, "{raw}");
        }
        let name = RootedPath::parse(b"a\\..\\..\\x").expect("an ordinary name, by its letters");
        assert!(matches!(name.slashed(), Some(Err(StoreError::Refused { .. }))));
    }

    #[test]
    fn a_name_has_so_many_bytes_and_no_more() {
        let long = |len| RootedPath::parse(&vec![b'a'; len]);
        assert!(long(limits::NAME_BYTES).is_ok());
        assert_eq!(
            long(limits::NAME_BYTES + 1).map_err(|error| error.text()),
            Err("the name is too long")
        );
    }

    #[test]
    fn the_last_part_is_what_stands_behind_the_last_slash_of_either_kind() {
        let split = |raw: &str| {
            let name = RootedPath::parse(raw.as_bytes()).expect("a name");
            let (directory, last) = name.split()?;
            Some((directory.path().display().to_string(), last.display().to_string()))
        };
        let some = |directory: &str, last: &str| Some((directory.to_owned(), last.to_owned()));
        assert_eq!([split("a/b/c"), split(r"a\b\c")], [some("a/b", "c"), some("a/b", "c")]);
        assert_eq!([split("c"), split("")], [some("", "c"), None]);
        // Whose backslashes lead out of the root has them as letters.
        assert_eq!(split(r"a/..\..\c"), some("a", r"..\..\c"));
    }

    #[test]
    fn a_name_that_ends_with_a_slash_or_stands_for_where_it_is_means_a_directory() {
        let is_directory =
            |raw: &str| RootedPath::parse(raw.as_bytes()).map(|it| it.is_directory());
        for (raw, wanted) in [
            ("", true),
            ("/", true),
            (".", true),
            ("a/", true),
            (r"a\", true),
            ("a/.", true),
            ("a/b/..", true),
            ("a", false),
            ("a/b", false),
            ("a/...", false),
            ("a/.b", false),
        ] {
            assert_eq!(is_directory(raw).ok(), Some(wanted), "{raw}");
        }
    }

    #[test]
    fn a_name_is_looked_for_by_its_letters_then_with_slashes_then_below_the_roots_own_path() {
        let own = [PathBuf::from("srv"), PathBuf::from("srv/tftp")];
        let found = |raw: &str, there: &[&str]| {
            let name = RootedPath::parse(raw.as_bytes()).expect("a name");
            let look = |path: &Path| match path.to_str() {
                Some(path) if there.contains(&path) => Ok(()),
                Some("closed") => Err(StoreError::no_permission()),
                _ => Err(StoreError::NotFound),
            };
            let found = name.find(&own, look).map(|(path, ())| path.display().to_string());
            found.map_err(|error| error.text())
        };
        let some = |path: &str| Ok(path.to_owned());
        assert_eq!(found(r"a\b", &[r"a\b", "a/b"]), some(r"a\b"));
        assert_eq!(found(r"a\b", &["a/b"]), some("a/b"));
        assert_eq!(found("/srv/f", &["srv/f", "f"]), some("srv/f"));
        assert_eq!(found("/srv/f", &["f"]), some("f"));
        assert_eq!(found(r"\srv\f", &["f"]), some("f"));
        assert_eq!(found("/srv/tftp/f", &["tftp/f"]), some("tftp/f"));
        assert_eq!(found("/other/f", &["f"]), Err("file not found"));
        assert_eq!(found("/srv/closed", &[]), Err("no permission"));
        assert_eq!(found("closed", &["closed/"]), Err("no permission"));
        assert_eq!(found(r"a\..\..\b", &["b"]), Err("outside the folder"));
        let new = |raw: &str, there: &[&str]| {
            let name = RootedPath::parse(raw.as_bytes()).expect("a name");
            let is_there = |path: &Path| there.iter().any(|known| path == Path::new(known));
            let path = name.new_path(&own[..1], is_there).map(|path| path.display().to_string());
            path.map_err(|error| error.text())
        };
        assert_eq!(new("/srv/new", &[]), some("new"));
        assert_eq!(new("/srv/new", &["srv"]), some("srv/new"), "the root has such a directory");
        assert_eq!(new("/srv/new", &["new"]), some("new"));
        assert_eq!(new(r"a\new", &[r"a\new"]), some("a/new"));
        assert_eq!(new(r"a\..\..\new", &[]), Err("outside the folder"));
    }
}
