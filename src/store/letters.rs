//! Finds a name whose letters are of another size than what was asked for, as file systems of Windows do.

use super::disk::{Directory, Lookup};
use super::{RootedPath, StoreError};
use crate::limits;
use crate::wire::{ErrorCode, Filename};
use cap_std::fs::Dir;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A look for one name, which may look at so many names in all.
pub(super) struct Search<'a> {
    root: &'a Dir,
    how: Lookup,
    left: usize,
}

impl<'a> Search<'a> {
    pub(super) const fn new(root: &'a Dir, how: Lookup) -> Self {
        Self { root, how, left: limits::FOLDED_NAMES }
    }

    /// The path of what there is of `name`, the rest as it was asked for; `own` are the paths that the root itself is known
    /// by. Nothing where that is the name that was asked for.
    pub(super) fn path(
        &mut self,
        name: &RootedPath,
        own: &[PathBuf],
    ) -> Result<Option<PathBuf>, StoreError> {
        let asked = name.inside(own).unwrap_or_else(|| name.with_slashes());
        let mut found = PathBuf::new();
        let mut parts = asked.iter();
        while let Some(part) = parts.next() {
            match self.part(&found, Path::new(part))? {
                Some(there) => found.push(there),
                None => {
                    found.push(part);
                    found.extend(parts.by_ref());
                }
            }
        }
        Ok((found != asked).then_some(found))
    }

    /// The name in `directory` that is `part`, or differs from it in the size of letters alone.
    fn part(&mut self, directory: &Path, part: &Path) -> Result<Option<OsString>, StoreError> {
        match self.root.look(&directory.join(part), self.how) {
            Ok(_) => return Ok(Some(part.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let directory = match self.root.directory(directory, self.how) {
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(None),
            directory => directory?,
        };
        let mut found: Option<OsString> = None;
        for entry in directory.entries()? {
            let name = entry?.file_name();
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                let why =
                    "not found: too many names to look for one whose letters are of another size";
                not_found(why.into())
            })?;
            if !name.as_bytes().eq_ignore_ascii_case(part.as_os_str().as_bytes()) {
                continue;
            }
            if let Some(other) = &found {
                let [one, other] = [other, &name].map(|name| Filename::from(name.as_bytes()));
                return Err(not_found(format!(
                    "not found, but both '{one}' and '{other}' are there"
                )));
            }
            found = Some(name);
        }
        Ok(found)
    }
}

fn not_found(why: String) -> StoreError {
    StoreError::refused(ErrorCode::NotFound, ErrorCode::NotFound.text()).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;

    #[test]
    fn so_many_names_are_looked_at_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("Sub")).expect("a directory");
        for name in ["A", "B", "C", "Sub/D", "Sub/E"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let root = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("it opens");
        // Four in the root, and two below.
        let found = |name: &str, left| {
            let mut search = Search { root: &root, how: Lookup::Own, left };
            let name = RootedPath::parse(name.as_bytes()).expect("a name");
            search.path(&name, &[]).map_err(|error| (error.code(), error.to_string()))
        };
        assert_eq!(found("SUB/e", 6), Ok(Some("Sub/E".into())));
        let (code, why) = found("SUB/e", 5).expect_err("one too many");
        assert!(code == ErrorCode::NotFound && why.contains("too many names"), "{why}");
        assert_eq!(found("Sub/D", 0), Ok(None), "what is there is not looked for");
        assert_eq!(found("sub/none/x", 6), Ok(Some("Sub/none/x".into())));
        std::os::unix::fs::symlink("/etc", folder.path().join("out")).expect("a link");
        let (code, why) = found("out", 0).expect_err("it is there, and leads out");
        assert!(code == ErrorCode::AccessViolation, "no other is looked for: {why}");
    }
}
