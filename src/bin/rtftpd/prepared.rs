//! What is served: all that the options and the files say, opened and found to make sense.

use crate::args::Args;
use crate::commands::Given;
use crate::explain::Notes;
use crate::folders::{Cards, Folders};
use crate::on_upload::OnUpload;
use crate::rules::{self, RuleFile};
use crate::sandbox::{self, Account};
use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{Access, access};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tftpkit::server::{MacAddress, NameRules, Neighbours, StandardPolicy};
use tftpkit::store::Store;

/// Tells hardware addresses of clients.
pub(crate) type Macs = Arc<dyn Fn(&SocketAddr) -> Option<MacAddress> + Send + Sync>;

/// What is served, and to whom.
pub(crate) struct Prepared<'a> {
    pub(crate) policy: StandardPolicy,
    pub(crate) folders: Folders<'a>,
    /// What is served where no rule says otherwise.
    pub(crate) main: Arc<dyn Store>,
    /// How many rules there are, and in which files.
    pub(crate) rules: Vec<(usize, PathBuf)>,
    /// Where hardware addresses are known from.
    pub(crate) macs: Option<Macs>,
    /// Who is asked about uploads.
    pub(crate) on_upload: Option<Arc<OnUpload>>,
}

impl<'a> Prepared<'a> {
    /// Reads the files and opens the folders, for a server that is to be started.
    pub(crate) fn new(given: &'a Given) -> Result<Self> {
        Self::noted(given, None, None)
    }

    /// The same, with hardware addresses from elsewhere than the kernel, and notes of what folders are asked for.
    pub(crate) fn noted(
        given: &'a Given,
        macs: Option<Macs>,
        notes: Option<Notes>,
    ) -> Result<Self> {
        let of_their_own = given.args.rules.as_deref().map(RuleFile::read).transpose()?;
        let rules = all_rules(given, of_their_own.as_ref());
        let wants_mac =
            given.args.archive.wants_mac() || rules.iter().any(|rules| rules.wants_mac());
        let macs = match macs {
            Some(macs) => Some(macs),
            None if wants_mac => Some(of_kernel().context("cannot ask for hardware addresses")?),
            // Rules that are read later may want to know them, and a sandbox opens nothing of the kind.
            None if !rules.is_empty() => of_kernel().ok(),
            None => None,
        };
        let names = given.args.names.rules()?;
        let account = become_whom(&given.args)?;
        let kinds = (macs, account, notes, OnUpload::of(&given.args.on_upload));
        Self::open(given, &rules, names, kinds)
    }

    /// Reads and opens all again, for a server that runs.
    pub(crate) fn again(
        given: &'a Given,
        macs: Option<Macs>,
        on_upload: Option<Arc<OnUpload>>,
    ) -> Result<Self> {
        let of_their_own = given.args.rules.as_deref().map(RuleFile::read).transpose()?;
        let rules = all_rules(given, of_their_own.as_ref());
        let wants_mac =
            given.args.archive.wants_mac() || rules.iter().any(|rules| rules.wants_mac());
        ensure!(
            macs.is_some() || !wants_mac,
            "the sandbox has no way to ask for hardware addresses: start the server again"
        );
        Self::open(given, &rules, given.args.names.rules()?, (macs, None, None, on_upload))
    }

    fn open(
        given: &'a Given,
        rules: &[&RuleFile],
        names: NameRules,
        (macs, account, notes, on_upload): (
            Option<Macs>,
            Option<Account>,
            Option<Notes>,
            Option<Arc<OnUpload>>,
        ),
    ) -> Result<Self> {
        let args = &given.args;
        let (of_folders, of_rules) = (macs.clone(), macs.clone());
        let cards: Cards = Arc::new(move |query| of_folders.as_ref()?(&query.peer));
        let policy = args.policy().names(names);
        let policy = policy.mac_addresses(move |peer| of_rules.as_ref()?(peer));
        let place = rules::main_folder(args);
        let mut folders = Folders::new(args, cards, account).noted(notes);
        folders.ask(on_upload.clone());
        let main = folders.get(&place)?;
        let policy = policy.store(Arc::clone(&main));
        let add = |policy, rules: &&RuleFile| rules.add_to(policy, &mut folders, &place);
        let policy = rules.iter().try_fold(policy, add)?;
        for place in folders.places() {
            let (path, may_write) = (place.path.display(), place.may_write);
            tracing::debug!(%path, may_write, "serves a folder");
        }
        let rules = rules.iter().map(|rules| (rules.len(), rules.path().to_owned()));
        let rules = rules.filter(|(count, _)| *count > 0).collect();
        Ok(Self { policy, folders, main, rules, macs, on_upload })
    }
}

/// The rules, in the order in which they are tried.
fn all_rules<'a>(given: &'a Given, of_their_own: Option<&'a RuleFile>) -> Vec<&'a RuleFile> {
    of_their_own.into_iter().chain(given.config.as_ref().map(|config| &config.rules)).collect()
}

/// What the kernel knows of its neighbours.
fn of_kernel() -> std::io::Result<Macs> {
    let neighbours = Neighbours::open()?;
    Ok(Arc::new(move |peer| neighbours.address_of(peer)))
}

/// Who to become, who can serve the folder; nobody else, where that is who it is.
fn become_whom(args: &Args) -> Result<Option<Account>> {
    let wanted = sandbox::wanted(args.user.as_deref()).map_err(|why| anyhow!(why))?;
    let Some(account) = wanted else { return Ok(None) };
    // What is not there nobody may enter: that is told where it is opened.
    if args.user.is_some() || !args.root.exists() {
        return Ok(Some(account));
    }
    let (root, name) = (args.root.display(), &account.name);
    let may = |what| access(&args.root, what).is_ok();
    let stay = |why: String| {
        tracing::warn!("{why}: it stays root");
        Ok(None)
    };
    let tried = account.try_to(|| (may(Access::EXEC_OK), may(Access::WRITE_OK)));
    let (enter, write) = match tried {
        Ok(tried) => tried,
        Err(error) => return stay(format!("it cannot become user {name} here ({error})")),
    };
    if !enter {
        return stay(format!("user {name} may not enter '{root}' (chmod +x, or --user)"));
    }
    if args.takes_uploads() && !write {
        return stay(format!(
            "user {name} may not write in '{root}' (chown {name} '{root}', or --user)"
        ));
    }
    Ok(Some(account))
}
