//! The folders that are served, each opened once for what is done with it.

use crate::args::Args;
use crate::commands;
use crate::explain::{Noted, Notes};
use crate::log;
use crate::on_upload::OnUpload;
use crate::rules;
use crate::sandbox::{self, Account};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Access, access};
use std::path::PathBuf;
use std::sync::Arc;
use tftpkit::limits;
use tftpkit::query::Query;
use tftpkit::server::MacAddress;
use tftpkit::store::{Folder, Store, Uploads};

/// What a folder is opened for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) place: rules::Place,
    pub(crate) uploads: Uploads,
    /// Folders elsewhere that links may lead to.
    pub(crate) links: Vec<PathBuf>,
}

/// Tells hardware addresses of clients.
pub(crate) type Cards = Arc<dyn Fn(&Query) -> Option<MacAddress> + Send + Sync>;

/// All folders that are served.
pub(crate) struct Folders<'a> {
    args: &'a Args,
    cards: Cards,
    /// Who serves them in the end, where this process is root still.
    account: Option<Account>,
    open: Vec<Open>,
    /// Notes what each is asked for, where somebody wants to know that.
    notes: Option<Notes>,
    /// Who is asked about uploads.
    on_upload: Option<Arc<OnUpload>>,
}

/// A folder that is open.
struct Open {
    wanted: Wanted,
    folder: Arc<Folder>,
    /// The folder, or what notes all that it is asked for.
    store: Arc<dyn Store>,
}

impl<'a> Folders<'a> {
    pub(crate) fn new(args: &'a Args, cards: Cards, account: Option<Account>) -> Self {
        Self { args, cards, account, open: Vec::new(), notes: None, on_upload: None }
    }

    /// Notes what each folder is asked for.
    pub(crate) fn noted(mut self, notes: Option<Notes>) -> Self {
        self.notes = notes;
        self
    }

    /// From now on this is asked about uploads to those that are opened.
    pub(crate) fn ask(&mut self, on_upload: Option<Arc<OnUpload>>) {
        self.on_upload = on_upload;
    }

    /// Who serves them in the end, where this process is root still.
    pub(crate) const fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Whether they look for names in letters of any size.
    pub(crate) const fn ignore_case(&self) -> bool {
        self.args.names.ignore_case
    }

    /// The folder for that, which is opened where it is not yet.
    pub(crate) fn get(&mut self, wanted: &Wanted) -> Result<Arc<dyn Store>> {
        if let Some(open) = self.open.iter().find(|open| open.wanted == *wanted) {
            return Ok(Arc::clone(&open.store));
        }
        ensure!(self.open.len() < limits::RULES, "more than {} folders", limits::RULES);
        let (root, args) = (wanted.place.folder.display(), self.args);
        let mut folder = Folder::named(&wanted.place.folder)
            .with_context(|| {
                let meant = commands::meant(&wanted.place.folder);
                format!("cannot serve '{root}': give an existing folder{meant}")
            })?
            // Where root cannot be given up, it serves no more than another user would.
            .as_others(nix::unistd::geteuid().is_root() && self.account.is_none())
            .notices(log::notice)
            .uploads(wanted.uploads)
            .create_dirs(args.create_dirs)
            .growing_files(args.growing_files)
            .ignore_case(args.names.ignore_case)
            .largest_upload(args.max_upload.0)
            .keep_versions(args.archive.keep_versions);
        if let Some(name) = args.archive.upload_name.clone() {
            let cards = Arc::clone(&self.cards);
            folder = folder.upload_names(move |upload| name.path(upload, &cards));
        }
        if let Some(on_upload) = self.on_upload.clone() {
            let path = wanted.place.folder.clone();
            folder = folder.before_uploads_appear(move |upload| on_upload.ask(&path, upload));
        }
        for other in &wanted.links {
            let what =
                || format!("cannot lead links to '{}': give an existing folder", other.display());
            folder = folder.links_to(other).with_context(what)?;
        }
        if let Some(below) = wanted.place.below.clone() {
            let cards = Arc::clone(&self.cards);
            folder = folder.below(move |query| below.path(query, || cards(query)));
        }
        let is_new = !self.open.iter().any(|open| open.wanted.place == wanted.place);
        self.look_at_permissions(wanted, is_new)?;
        let (wanted, folder) = (wanted.clone(), Arc::new(folder));
        let store: Arc<dyn Store> = match &self.notes {
            Some(notes) => Arc::new(Noted::new(Arc::clone(&folder), &wanted.place.folder, notes)),
            None => Arc::<Folder>::clone(&folder),
        };
        self.open.push(Open { wanted, folder, store: Arc::clone(&store) });
        Ok(store)
    }

    /// How many descriptors they hold beyond that of one folder, which every server has.
    pub(crate) fn more_descriptors(&self) -> u64 {
        let all: usize = self.open.iter().map(|open| 1 + open.wanted.links.len()).sum();
        all.saturating_sub(1) as u64
    }

    /// Whether clients may write in one of them.
    pub(crate) fn take_uploads(&self) -> bool {
        self.open.iter().any(|open| open.wanted.uploads != Uploads::Off)
    }

    /// Each folder whose files may be read, with the name that it was given, and whether files may be written there. One may
    /// be named several times.
    pub(crate) fn places(&self) -> impl Iterator<Item = sandbox::Place> {
        let place = |path: &PathBuf, may_write| sandbox::Place { path: path.clone(), may_write };
        self.open.iter().flat_map(move |Open { wanted, .. }| {
            let links = wanted.links.iter().map(move |other| place(other, false));
            let own = place(&wanted.place.folder, wanted.uploads != Uploads::Off);
            std::iter::once(own).chain(links)
        })
    }

    /// Whether an upload may have to wait elsewhere, as it does for a file that cannot be replaced.
    pub(crate) fn may_spool(&self) -> bool {
        let spools = |uploads| matches!(uploads, Uploads::Existing | Uploads::Overwrite);
        self.open.iter().any(|open| spools(open.wanted.uploads))
    }

    /// Those that take uploads.
    pub(crate) fn of_uploads(&self) -> Vec<Arc<Folder>> {
        let taking = self.open.iter().filter(|open| open.wanted.uploads != Uploads::Off);
        taking.map(|open| Arc::clone(&open.folder)).collect()
    }

    /// Finds out at the start what would else be an access violation at each request.
    fn look_at_permissions(&self, wanted: &Wanted, is_new: bool) -> Result<()> {
        let folder = &wanted.place.folder;
        let root = folder.display();
        let look = || {
            let may = |what| access(folder, what).is_ok();
            (may(Access::EXEC_OK), may(Access::READ_OK), may(Access::WRITE_OK))
        };
        let (who, (enter, read, write)) = match &self.account {
            None => (format!("user {}", nix::unistd::geteuid()), look()),
            Some(account) => {
                let why = || format!("cannot become user {}", account.name);
                (format!("user {}", account.name), account.try_to(look).with_context(why)?)
            }
        };
        ensure!(enter, "cannot serve '{root}': {who} may not enter it ('chmod +x')");
        if wanted.place.below.is_some() {
            return Ok(());
        }
        if is_new && self.args.listing().is_some() && !read {
            tracing::warn!("{who} may not list '{root}': chmod +r, or --no-list");
        }
        if wanted.uploads != Uploads::Off && !write {
            tracing::warn!("{who} may not write in '{root}': uploads to it will fail");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn each_folder_and_each_that_links_lead_to_has_a_descriptor_beside_the_first() {
        let args = Args::parse_from(["rtftpd", "/", "--links-to", "/", "--links-to", "/proc"]);
        let mut folders = Folders::new(&args, Arc::new(|_| None), None);
        assert_eq!(folders.more_descriptors(), 0);
        let main = rules::main_folder(&args);
        let place = rules::Place::fixed(std::path::Path::new("/proc"));
        let alone = Wanted { place, uploads: Uploads::Off, links: Vec::new() };
        for (wanted, more) in [(&main, 2), (&alone, 3), (&main, 3)] {
            drop(folders.get(wanted).expect("a folder"));
            assert_eq!(folders.more_descriptors(), more, "with {wanted:?}");
        }
    }
}
