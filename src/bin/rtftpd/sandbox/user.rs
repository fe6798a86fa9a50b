//! Who the server is once its sockets are bound.

use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::CString;
use std::io;

/// Who root becomes where it was not told: the first that there is.
const DEFAULTS: [&str; 2] = ["tftp", "nobody"];
/// What `nobody` is where no user has a name, as in a container of one program.
const NOBODY: u32 = 65534;

/// A user with all of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Who to become: this user or number, or who is usual for root; nobody else where that is who this process is already.
pub(crate) fn wanted(given: Option<&str>) -> Result<Option<Account>, String> {
    let own = Uid::effective();
    if given.is_some_and(|given| given.parse() == Ok(own.as_raw())) {
        return Ok(None);
    }
    let account = match given {
        None if !own.is_root() => return Ok(None),
        None => DEFAULTS.into_iter().find_map(|name| Account::of(name).ok()),
        Some(name) => Some(Account::of(name)?),
    };
    let account = account.unwrap_or_else(Account::nobody);
    if account.uid == own {
        return Ok(None);
    }
    match own.is_root() {
        true => Ok(Some(account.in_groups())),
        false => Err(format!("only root can become '{}': leave out --user", account.name)),
    }
}

impl Account {
    /// The user of this name, or of this number.
    fn of(name: &str) -> Result<Self, String> {
        let asked = |error: nix::Error| format!("cannot ask for the user '{name}': {error}");
        if let Some(user) = User::from_name(name).map_err(asked)? {
            return Ok(Self::known(user));
        }
        let number = name.parse().map_err(|_| format!("there is no user '{name}'"))?;
        let known = User::from_uid(Uid::from_raw(number)).map_err(asked)?;
        Ok(known.map_or_else(|| Self::number(name.into(), number), Self::known))
    }

    fn known(user: User) -> Self {
        Self { name: user.name, uid: user.uid, gid: user.gid, groups: vec![user.gid] }
    }

    fn number(name: String, number: u32) -> Self {
        let gid = Gid::from_raw(number);
        Self { name, uid: Uid::from_raw(number), gid, groups: vec![gid] }
    }

    fn nobody() -> Self {
        Self::number("nobody".into(), NOBODY)
    }

    /// With the groups that list it, which may take as long as where users are asked for does.
    fn in_groups(mut self) -> Self {
        let name = CString::new(self.name.as_bytes()).unwrap_or_default();
        if let Ok(groups) = getgrouplist(&name, self.gid) {
            self.groups = groups;
        }
        self
    }

    /// Does something as this user and is root again then: to see what that one may do. Only root can, and only where the
    /// user exists: a namespace may have root alone.
    pub(crate) fn try_to<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        let _back = Back::from(self)?;
        Ok(act())
    }

    /// Who it is in one word, for a process that is to become it and may find no users to ask for.
    pub(crate) fn to_word(&self) -> String {
        let groups: Vec<_> = self.groups.iter().map(Gid::to_string).collect();
        format!("{}:{}:{}", self.uid, self.gid, groups.join(","))
    }

    /// Who this word says.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let mut number = || parts.next()?.parse().ok();
        let (uid, gid): (u32, u32) = (number()?, number()?);
        let group = |text: &str| text.parse().ok().map(Gid::from_raw);
        let groups = parts.next()?.split(',').map(group).collect::<Option<_>>()?;
        let (name, uid, gid) = (uid.to_string(), Uid::from_raw(uid), Gid::from_raw(gid));
        Some(Self { name, uid, gid, groups })
    }

    /// Makes the process this user, for good. It has no capability then, nor a way back.
    pub(crate) fn r#become(&self) -> io::Result<()> {
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        Ok(setresuid(self.uid, self.uid, self.uid)?)
    }
}

/// This thread is another user, until this is dropped.
struct Back {
    gid: rustix::fs::Gid,
    groups: Vec<rustix::fs::Gid>,
}

impl Back {
    fn from(account: &Account) -> io::Result<Self> {
        let raw = |gid: &Gid| rustix::fs::Gid::from_raw(gid.as_raw());
        let (gid, own) = (rustix::process::getgid(), rustix::process::getgroups()?);
        set_thread_groups(&account.groups.iter().map(raw).collect::<Vec<_>>())?;
        let back = Self { gid, groups: own };
        set_thread_res_gid(raw(&account.gid), raw(&account.gid), None)?;
        let uid = rustix::fs::Uid::from_raw(account.uid.as_raw());
        set_thread_res_uid(uid, uid, None)?;
        Ok(back)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        // The user root was kept for that.
        let root = rustix::fs::Uid::ROOT;
        let back = set_thread_res_uid(root, root, None)
            .and_then(|()| set_thread_res_gid(self.gid, self.gid, None))
            .and_then(|()| set_thread_groups(&self.groups));
        debug_assert!(back.is_ok(), "{back:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_who_to_become_with_all_groups() {
        let groups = [7, 100, 4_000_000_002].map(Gid::from_raw).to_vec();
        let account = Account { groups, ..Account::number("4000000001".into(), 4_000_000_001) };
        let word = account.to_word();
        assert_eq!(word, "4000000001:4000000001:7,100,4000000002");
        assert_eq!(Account::of_word(&word), Some(account));
        for nonsense in ["", "1", "1:1", "1:1:", "1:1:x", "x:1:1", "1::1"] {
            assert_eq!(Account::of_word(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_user_has_a_name_or_a_number() {
        let own = Uid::effective();
        assert_eq!(wanted(Some(&own.to_string())), Ok(None));
        // Not everybody has a name.
        if let Some(user) = User::from_uid(own).expect("users") {
            assert_eq!(wanted(Some(&user.name)), Ok(None));
        }
        assert_eq!(wanted(Some("no-such-user")), Err("there is no user 'no-such-user'".into()));
        let other = wanted(Some("4000000001"));
        let default = wanted(None).expect("no user is wrong");
        if own.is_root() {
            let other = other.expect("any number").expect("another");
            assert_eq!((other.uid.as_raw(), other.gid.as_raw()), (4_000_000_001, 4_000_000_001));
            assert!(default.is_some_and(|user| !user.uid.is_root()));
        } else {
            let why = "only root can become '4000000001': leave out --user";
            assert_eq!(other, Err(why.into()));
            assert_eq!(default, None);
        }
    }
}
