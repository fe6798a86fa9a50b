//! What the server takes from itself once its sockets are bound, before its first thread: the user root, capabilities,
//! the files that are not its own, and the system calls that it does not need.
//!
//! It is the second wall. The first is `store`, which opens nothing outside its folder; this one is the kernel's, and holds
//! where the first has a hole.

mod calls;
mod files;
mod user;

pub(crate) use user::{Account, wanted};

use calls::Does;
use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use std::fmt;
use std::io;
use std::path::PathBuf;
use tftpkit::limits;

/// A part of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be;
    /// no TCP, no signals to others
    Files,
    /// The same for this very folder alone: one that is swapped or mounted later needs a restart
    Folder,
    /// Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file
    Calls,
    /// No capability, and none to be had by a program that is started (no_new_privs)
    Rights,
    /// Nothing of it
    None,
}

/// A folder that is served.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Whether uploads may change it.
    pub(crate) may_write: bool,
}

/// What there is to take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sandbox {
    pub(crate) parts: Vec<Part>,
    /// Who to become.
    pub(crate) account: Option<Account>,
    pub(crate) places: Vec<Place>,
    /// Files that are read again later.
    pub(crate) again: Vec<PathBuf>,
    /// Whether uploads may have to wait elsewhere, as they do for files that cannot be replaced.
    pub(crate) has_spool: bool,
    /// Whether others connect to a socket of its own, which is bound: the page's, or that of the server after it.
    pub(crate) accepts: bool,
    /// Whether it has processes started, for each transfer or for each upload.
    pub(crate) has_processes: bool,
    /// Where files are made that nobody reads.
    pub(crate) captures: Option<PathBuf>,
}

/// What is left of files and calls, for who wants to serve something else later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The directories in which there are files, where not all are, and whether they may change there.
    within: Option<Vec<(PathBuf, bool)>>,
    /// Whether there are calls that change files.
    has_changes: bool,
    has_spool: bool,
}

impl Held {
    /// What is not left that it takes to serve these places.
    pub(crate) fn lacks(
        &self,
        places: impl Iterator<Item = Place>,
        wants_spool: bool,
    ) -> Option<String> {
        for Place { path, may_write } in places {
            let (shown, real) =
                (path.display(), path.canonicalize().unwrap_or_else(|_| path.clone()));
            let all = [(PathBuf::from("/"), true)];
            let mut within = self.within.as_deref().unwrap_or(&all).iter();
            let holds =
                |(dir, writes): &(PathBuf, bool)| real.starts_with(dir) && *writes >= may_write;
            if !within.any(holds) {
                let what = if may_write { "uploads to" } else { "files in" };
                return Some(format!("the sandbox has no {what} '{shown}'"));
            }
            if may_write && !self.has_changes {
                return Some("the sandbox has no system calls for uploads".into());
            }
        }
        let is_missing = wants_spool && !self.has_spool && self.within.is_some();
        is_missing.then(|| "the sandbox has no place for uploads that wait elsewhere".into())
    }
}

/// What holds from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entered {
    /// The directories in which there are files for it, and whether it may change any.
    files: Option<(Vec<PathBuf>, bool)>,
    has_few_calls: bool,
    has_no_rights: bool,
    pub(crate) held: Held,
    /// What was wanted and cannot be had, with the reasons.
    pub(crate) lacking: Vec<String>,
}

impl Sandbox {
    /// Enters it. It must be the only thread: the kernel takes capabilities and files from one at a time, and those that it
    /// starts inherit that.
    ///
    /// What the kernel does not offer is left out, and told; that the user cannot be changed is an error.
    pub(crate) fn enter(&self) -> io::Result<Entered> {
        let has = |part| self.parts.contains(&part);
        let mut entered = Entered::default();
        let mut lacks = |what: &str, why: String| entered.lacking.push(format!("{what}: {why}"));
        let writes = self.places.iter().any(|place| place.may_write);
        let mut held = Held { has_changes: true, has_spool: self.has_spool, ..Held::default() };
        if has(Part::Files) || has(Part::Folder) {
            match files::confine(self, has(Part::Folder)) {
                Ok(within) => {
                    let again = self.again.iter().flat_map(|file| files::around_file(file));
                    let paths = within.iter().map(|(path, _)| path.clone()).chain(again);
                    entered.files = Some((files::outermost(paths.collect()), writes));
                    held.within = Some(within);
                }
                Err(why) => lacks("Landlock", why),
            }
        }
        if has(Part::Rights) {
            empty_bounding_set();
        }
        if let Some(account) = &self.account {
            account.r#become()?;
        }
        if has(Part::Rights) {
            match give_up_rights() {
                Ok(()) => entered.has_no_rights = true,
                Err(error) => lacks("capabilities", error.to_string()),
            }
        }
        if has(Part::Calls) {
            let Self { accepts, has_processes, .. } = *self;
            match calls::allow_server(Does { writes, accepts, has_processes }) {
                Ok(()) => (entered.has_few_calls, held.has_changes) = (true, writes),
                Err(why) => lacks("seccomp", why),
            }
        }
        entered.held = held;
        Ok(entered)
    }
}

/// What the process gives up that starts those of transfers: rights, and the writing of files. What the kernel does not offer
/// is left out; the server has told of it.
pub(crate) fn enter_spawner(parts: &[Part]) -> io::Result<()> {
    let has = |part| parts.contains(&part);
    if has(Part::Files) || has(Part::Folder) {
        let _ = files::write_nothing();
    }
    if has(Part::Rights) {
        empty_bounding_set();
        give_up_rights()?;
    }
    Ok(())
}

/// What the process of a transfer gives up before it has threads: all files, and more of the machine than a transfer takes. It
/// gets no right back that its spawner gave up.
pub(crate) fn enter_transfer(parts: &[Part]) -> io::Result<()> {
    let has = |part| parts.contains(&part);
    for (resource, most) in [
        (Resource::RLIMIT_AS, limits::PROCESS_BYTES),
        (Resource::RLIMIT_NOFILE, limits::PROCESS_DESCRIPTORS),
        (Resource::RLIMIT_CPU, limits::PROCESS_SECONDS),
        // One that crashes leaves no copy of what it had of the file, nor do many of them fill a disk.
        (Resource::RLIMIT_CORE, 0),
    ] {
        let (_, hard) = getrlimit(resource)?;
        setrlimit(resource, most.min(hard), most.min(hard))?;
    }
    if has(Part::Files) || has(Part::Folder) {
        let _ = files::have_none();
    }
    if has(Part::Rights) {
        give_up_rights()?;
    }
    Ok(())
}

/// What it gives up when it has its threads: all system calls but a few, of which none makes another thread. The kernel counts
/// threads for all processes of a user together, so that one that makes thousands would take them from the server.
pub(crate) fn leave_calls_of_transfer(parts: &[Part]) -> io::Result<()> {
    if parts.contains(&Part::Calls) {
        let _ = calls::allow_transfer();
    }
    Ok(())
}

/// Whatever is executed gets no capability from its file. Only who may change capabilities can do this; who may not gets
/// none either, without new privileges.
fn empty_bounding_set() {
    for bit in 0..u64::BITS {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
}

fn give_up_rights() -> rustix::io::Result<()> {
    set_no_new_privs(true)?;
    // Kernels without ambient capabilities have none to give up.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    // A kernel that says yes and does something else is none to trust.
    let left = capabilities(None)?;
    let is_empty = (left.effective | left.permitted).is_empty();
    if is_empty { Ok(()) } else { Err(rustix::io::Errno::PERM) }
}

impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some((within, may_write)) = &self.files {
            let within: Vec<_> = within.iter().map(|path| path.display().to_string()).collect();
            let to = if *may_write { "" } else { ", to read" };
            parts.push(format!("only files in {}{to}", within.join(" and ")));
        }
        parts.extend(self.has_few_calls.then(|| "only a server's system calls".into()));
        parts.extend(self.has_no_rights.then(|| "no capability".into()));
        f.write_str(&if parts.is_empty() { "off".to_owned() } else { parts.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sandbox_lacks_for_a_place_is_told_and_what_it_holds_may_be_served() {
        let within = vec![("/none/read".into(), false), ("/none/write".into(), true)];
        let held = Held { within: Some(within), has_changes: true, has_spool: false };
        let spools = Held { has_spool: true, ..held.clone() };
        let fixed = Held { has_changes: false, ..held.clone() };
        let open = Held { within: None, has_changes: true, has_spool: false };
        let files = |path| Some(format!("the sandbox has no files in '{path}'"));
        let uploads = |path| Some(format!("the sandbox has no uploads to '{path}'"));
        let no_calls = || Some("the sandbox has no system calls for uploads".to_owned());
        let no_spool =
            || Some("the sandbox has no place for uploads that wait elsewhere".to_owned());
        let read: &[(&str, bool)] = &[("/none/read/sub", false), ("/none/write", false)];
        for (held, places, wants_spool, lacks) in [
            (&held, read, false, None),
            (&held, &[("/none/read", true)], false, uploads("/none/read")),
            (&held, &[("/none/reader", false)], false, files("/none/reader")),
            (&held, &[("/none/write", true), ("/none", false)], false, files("/none")),
            (&held, &[("/none/write/sub", true)], false, None),
            (&held, &[("/none/write", true)], true, no_spool()),
            (&spools, &[("/none/write", true)], true, None),
            (&fixed, &[("/none/write", true)], false, no_calls()),
            (&fixed, read, false, None),
            (&open, &[("/none/other", true)], true, None),
        ] {
            let all = places
                .iter()
                .map(|(path, may_write)| Place { path: path.into(), may_write: *may_write });
            assert_eq!(held.lacks(all, wants_spool), lacks, "{held:?} {places:?}");
        }
    }

    #[test]
    fn the_banner_says_what_holds_and_nothing_of_what_does_not() {
        let files = |may_write| Some((vec!["/a".into(), "/b".into()], may_write));
        let whole = Entered {
            files: files(false),
            has_few_calls: true,
            has_no_rights: true,
            ..Entered::default()
        };
        let told = "only files in /a and /b, to read; only a server's system calls; no capability";
        assert_eq!(whole.to_string(), told);
        let part = Entered { files: files(true), ..Entered::default() };
        assert_eq!(part.to_string(), "only files in /a and /b");
        let rights = Entered { has_no_rights: true, ..Entered::default() };
        assert_eq!([rights.to_string(), Entered::default().to_string()], ["no capability", "off"]);
    }
}
