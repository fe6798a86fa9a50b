//! What is served: all that the options and the files say, opened and found to make sense.

use crate::args::Args;
use crate::folders::{Cards, Folders};
use crate::rules::{self, RuleFile};
use crate::sandbox::{self, Account};
use anyhow::{Context, Result, anyhow};
use rustix::fs::{Access, access};
use std::sync::Arc;
use tftpkit::server::{Neighbours, StandardPolicy};
use tftpkit::store::Folder;

/// What is served, and to whom.
pub(crate) struct Prepared<'a> {
    pub(crate) policy: StandardPolicy,
    pub(crate) folders: Folders<'a>,
    /// What is served where no rule says otherwise.
    pub(crate) main: Arc<Folder>,
    /// How many rules there are, if there is a file of them.
    pub(crate) rules: Option<usize>,
}

impl<'a> Prepared<'a> {
    /// Reads the files and opens the folders.
    pub(crate) fn new(args: &'a Args) -> Result<Self> {
        let rules = args.rules.as_deref().map(RuleFile::read).transpose()?;
        let neighbours = match rules.as_ref().is_some_and(RuleFile::wants_mac) {
            true => {
                Some(Arc::new(Neighbours::open().context("cannot ask for hardware addresses")?))
            }
            false => None,
        };
        let (known, policy) = (neighbours.clone(), args.policy().names(args.names.rules()?));
        let cards: Cards = Arc::new(move |query| known.as_ref()?.address_of(&query.peer));
        let policy = policy.mac_addresses(move |peer| neighbours.as_ref()?.address_of(peer));
        let account = become_whom(args)?;
        let (mut folders, place) = (Folders::new(args, cards, account), rules::main_folder(args));
        let main = folders.get(&place)?;
        let policy = policy.store(Arc::<Folder>::clone(&main));
        let policy = match &rules {
            Some(rules) => rules.add_to(policy, &mut folders, &place)?,
            None => policy,
        };
        for place in folders.places() {
            let (path, may_write) = (place.path.display(), place.may_write);
            tracing::debug!(%path, may_write, "serves a folder");
        }
        Ok(Self { policy, folders, main, rules: rules.as_ref().map(RuleFile::len) })
    }
}

/// Who to become, who can serve the folder; nobody else, where that is who it is.
fn become_whom(args: &Args) -> Result<Option<Account>> {
    let wanted = sandbox::wanted(args.user.as_deref()).map_err(|why| anyhow!(why))?;
    let Some(account) = wanted else { return Ok(None) };
    if args.user.is_some() {
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
