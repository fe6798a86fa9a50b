//! Landlock: which files there are.
//!
//! Its rules are about directories that exist, and not about names. A folder is looked up by its name at each request, so
//! the rule is for the directory in which the name stands, and for each in which something stands that a link on the way
//! leads to: what takes the name later is there as well, and so is what is mounted over it.

use super::Sandbox;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::{Path, PathBuf};
use tftpkit::store::spool_directories;

/// The newest rights that are denied where no rule grants them; older kernels know fewer.
const KNOWN: ABI = ABI::V9;

/// Of uploads, where a temporary stands beside its target, is linked or renamed, and directories are made.
const CHANGES: [AccessFs; 7] = [
    AccessFs::WriteFile,
    AccessFs::Truncate,
    AccessFs::MakeReg,
    AccessFs::RemoveFile,
    AccessFs::MakeDir,
    AccessFs::RemoveDir,
    AccessFs::Refer,
];

/// Of uploads that wait elsewhere.
const SPOOL: [AccessFs; 4] =
    [AccessFs::ReadFile, AccessFs::WriteFile, AccessFs::MakeReg, AccessFs::RemoveFile];

/// Of files that are made, or written anew, and not read.
const CAPTURES: [AccessFs; 3] = [AccessFs::WriteFile, AccessFs::Truncate, AccessFs::MakeReg];

/// Leaves this thread, and those that it starts, the files of these places, and those that are read again; tells where that
/// is, and whether files may change there.
pub(super) fn confine(sandbox: &Sandbox, is_exact: bool) -> Result<Vec<(PathBuf, bool)>, String> {
    let Sandbox { places, again, has_spool, captures, .. } = sandbox;
    let mut within: Vec<(PathBuf, bool)> = Vec::new();
    for place in places {
        let around = if is_exact { vec![place.path.clone()] } else { around(&place.path) };
        within.extend(around.into_iter().map(|path| (path, place.may_write)));
    }
    let all = || -> Result<_, RulesetError> {
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
        let ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
        let mut ruleset = ruleset.scope(Scope::from_all(KNOWN))?.create()?;
        let reads = AccessFs::ReadFile | AccessFs::ReadDir;
        for (path, may_write) in &within {
            let rights = if *may_write { reads | flags(&CHANGES) } else { reads };
            ruleset = allow(ruleset, path, rights)?;
        }
        for path in again.iter().flat_map(|file| around_file(file)) {
            ruleset = allow(ruleset, &path, AccessFs::ReadFile.into())?;
        }
        for path in spool_directories().filter(|_| *has_spool) {
            ruleset = allow(ruleset, &path, flags(&SPOOL))?;
        }
        if let Some(path) = captures {
            ruleset = allow(ruleset, path, flags(&CAPTURES))?;
        }
        ruleset.restrict_self()
    };
    let status = all().map_err(|error| error.to_string())?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("it is not enabled in this kernel (lsm=landlock)".into())
        }
        (RulesetStatus::NotEnforced, _) => Err("this kernel has none, or a sandbox around".into()),
        _ => Ok(within),
    }
}

/// From now on this thread, and what it starts, makes and changes no file.
pub(super) fn write_nothing() -> Result<(), RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_write(KNOWN))?;
    ruleset.create()?.restrict_self().map(drop)
}

/// From now on there are no files for this thread.
pub(super) fn have_none() -> Result<(), RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
    let ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
    ruleset.scope(Scope::from_all(KNOWN))?.create()?.restrict_self().map(drop)
}

fn flags(rights: &[AccessFs]) -> BitFlags<AccessFs> {
    rights.iter().copied().collect()
}

/// What is not there has no files.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(opened) => ruleset.add_rule(PathBeneath::new(opened, rights)),
        Err(_) => Ok(ruleset),
    }
}

/// The folder of this name, and the directories in which others would be that have it later; `/` is none of them, for
/// that would be every file.
fn around(name: &Path) -> Vec<PathBuf> {
    let name = std::path::absolute(name).unwrap_or_else(|_| name.to_owned());
    let real = |path: &Path| path.canonicalize().ok();
    let links = name.ancestors().filter(|part| part.is_symlink());
    let targets = links.filter_map(|link| Some(real(link)?.parent()?.to_owned()));
    let above = name.parent().and_then(real);
    let others = targets.chain(above).filter(|path| path.parent().is_some());
    real(&name).into_iter().chain(others.collect::<Vec<_>>()).collect()
}

/// A file, and the directories in which it would be after it was replaced; none that stands at the top, as `/etc` does, for
/// that has the files of others.
pub(super) fn around_file(name: &Path) -> Vec<PathBuf> {
    let is_deep = |path: &PathBuf| path.is_file() || path.ancestors().count() > 2;
    around(name).into_iter().filter(is_deep).collect()
}

/// Without those that are in another one.
pub(super) fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup_by(|path, outer| path.starts_with(outer));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_may_take_the_name_of_a_folder_is_around_it() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().canonicalize().expect("a path");
        for dir in ["served/folder", "releases/1/sub"] {
            std::fs::create_dir_all(place.join(dir)).expect("a directory");
        }
        symlink("releases/1", place.join("current")).expect("a link");
        let within = |name: &str| outermost(around(&place.join(name)));
        assert_eq!(within("served/folder"), [place.join("served")]);
        assert_eq!(within("releases/../served/folder"), [place.join("served")]);
        assert_eq!(within("current"), std::slice::from_ref(&place));
        assert_eq!(within("current/sub"), [place.join("releases")]);
        // What stands at the top is alone.
        assert_eq!(around(Path::new("/proc")), [PathBuf::from("/proc")]);
        assert_eq!(around(Path::new("/")), [PathBuf::from("/")]);
    }

    #[test]
    fn a_file_may_be_replaced_where_nothing_of_others_is() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().canonicalize().expect("a path");
        std::fs::write(place.join("file"), "").expect("a file");
        assert_eq!(around_file(&place.join("file")), [place.join("file"), place.clone()]);
        assert_eq!(around_file(Path::new("/etc/passwd")), [PathBuf::from("/etc/passwd")]);
    }

    #[test]
    fn a_directory_within_another_is_not_told() {
        let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
        let told = outermost(paths(&["/srv/tftp", "/srv", "/srv-2", "/srv/tftp/x", "/data"]));
        assert_eq!(told, paths(&["/data", "/srv", "/srv-2"]));
    }
}
