//! Rules, in a file of their own or in the configuration: who may do what, from where they are served, and what is different for them.

mod place;
mod tables;

pub(crate) use place::{Place, braced};
pub(crate) use tables::Tables;

use crate::args::Args;
use crate::config::{Written, line_at, meant};
use crate::folders::{Folders, Wanted};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::{ActionWord, AllowWord, List, One, OperationWord, ProfileTable, RuleTable};
use tftpkit::limits;
use tftpkit::server::{Action, Operations, Quirks, Rule, Serving, StandardPolicy};
use tftpkit::store::{InOrder, Store, Uploads};
use tftpkit::wire::{BlockSize, Interval, OptionKind, OptionSet, WindowSize};
use toml::Spanned;

/// A file of rules that was read.
#[derive(Debug)]
pub(crate) struct RuleFile {
    path: PathBuf,
    text: String,
    tables: Tables,
}

impl RuleFile {
    /// Reads it, and finds what makes no sense in any of its tables alone.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read the rules '{}'", path.display()))?;
        let written = Written::parse(path, &text)?;
        if let Some((key, _)) = written.options.first() {
            let (line, key) = (line_at(&text, key.span().start), key.as_ref());
            let meant = meant(key, ["rule", "profile"].into_iter());
            bail!("{}, line {line}: there is no key '{key}'{meant}", path.display());
        }
        Ok(Self::of(path, text, written.tables))
    }

    /// The tables that were read from `text`.
    pub(crate) fn of(path: &Path, text: String, tables: Tables) -> Self {
        Self { path: path.to_owned(), text, tables }
    }

    /// The file that it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many rules there are.
    pub(crate) const fn len(&self) -> usize {
        self.tables.rule.len()
    }

    /// Whether a rule depends on hardware addresses.
    pub(crate) fn wants_mac(&self) -> bool {
        self.tables.rule.iter().map(Spanned::as_ref).any(|rule| {
            let roots = rule.root.iter().flat_map(|List(roots)| roots);
            let all = roots.chain(rule.uploads_root.iter().map(|One(root)| root));
            let mut templates = all.filter_map(|place| place.below.as_ref());
            rule.mac.is_some() || templates.any(place::Template::wants_mac)
        })
    }

    /// Adds the rules to `policy`, and opens what they serve; `main` is served where they do not say otherwise.
    pub(crate) fn add_to(
        &self,
        mut policy: StandardPolicy,
        folders: &mut Folders<'_>,
        main: &Wanted,
    ) -> Result<StandardPolicy> {
        let count = self.tables.rule.len() + self.tables.profile.len();
        let most = limits::RULES;
        ensure!(count <= most, "{}: more than {most} tables", self.path.display());
        let mut profiles = Vec::new();
        for table in &self.tables.profile {
            let at = self.line(table);
            let named = profile(table.as_ref(), &profiles);
            profiles.push(named.with_context(|| self.told(at))?);
        }
        let mut for_all = None;
        for table in &self.tables.rule {
            let at = self.line(table);
            if let Some(first) = for_all {
                bail!(
                    "{}: it is never reached, for the rule in line {first} is for all",
                    self.told(at)
                );
            }
            let mut maker = Maker { file: self, folders: &mut *folders, main, profiles: &profiles };
            let rule = maker.rule(table.as_ref(), at).with_context(|| self.told(at))?;
            let RuleTable { from, mac, name, operation, .. } = table.as_ref();
            let is_for_all =
                from.is_none() && mac.is_none() && name.is_none() && operation.is_none();
            for_all = is_for_all.then_some(at);
            policy = policy.rule(rule);
        }
        Ok(policy)
    }

    fn line<T>(&self, table: &Spanned<T>) -> usize {
        line_at(&self.text, table.span().start)
    }

    fn told(&self, line: usize) -> String {
        format!("{}, line {line}", self.path.display())
    }

    /// A path of the file, which is relative to the folder that the file is in.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new("")).join(path)
    }
}

/// What a profile is called, and what is different in it.
fn profile(table: &ProfileTable, known: &[(String, Quirks)]) -> Result<(String, Quirks)> {
    let ProfileTable { name, leave_out, lock_step, max_blksize, max_windowsize, .. } = table;
    ensure!(!name.is_empty(), "a profile has a name: name = \"phones\"");
    ensure!(known.iter().all(|(other, _)| other != name), "there are two profiles '{name}'");
    ensure!(
        Quirks::known(name).is_none(),
        "'{name}' is the name of a profile that there is already: give it another"
    );
    let mut quirks = Quirks::new();
    let sets = leave_out.iter().flat_map(|List(sets)| sets);
    let left_out = sets.fold(OptionSet::EMPTY, |all, set| all.union(set.0));
    quirks = quirks.leave_out(left_out);
    if *lock_step {
        quirks = quirks.leave_out(OptionSet::EMPTY.with(OptionKind::WindowSize));
    }
    if let Some(most) = max_blksize.and_then(|most| BlockSize::new(most.0)) {
        quirks = quirks.block_size(most);
    }
    if let Some(most) = max_windowsize.and_then(|most| WindowSize::new(most.0)) {
        quirks = quirks.window(most);
    }
    let micros = table.max_timeout.map(|seconds| u32::from(seconds.0) * 1_000_000);
    if let Some(longest) = micros.and_then(Interval::from_micros) {
        quirks = quirks.interval(longest);
    }
    if table.whole_packets {
        quirks = quirks.whole_packets();
    }
    if let Some(span) = table.patience {
        quirks = quirks.patience(span.0);
    }
    if let Some(rate) = table.pace.and_then(|pace| NonZeroU64::new(pace.0)) {
        quirks = quirks.rate(rate);
    }
    Ok((name.clone(), quirks))
}

/// Makes rules of tables.
struct Maker<'a, 'b> {
    file: &'a RuleFile,
    folders: &'a mut Folders<'b>,
    main: &'a Wanted,
    profiles: &'a [(String, Quirks)],
}

impl Maker<'_, '_> {
    fn rule(&mut self, table: &RuleTable, line: usize) -> Result<Rule> {
        let action = match table.action {
            None | Some(One(ActionWord::Serve)) => Action::Serve(self.serving(table)?),
            Some(One(refusing)) => {
                let RuleTable { allow, root, uploads_root, links_to, profile, .. } = table;
                let served = [
                    ("allow", allow.is_some()),
                    ("root", root.is_some()),
                    ("uploads-root", uploads_root.is_some()),
                    ("links-to", links_to.is_some()),
                    ("profile", profile.is_some()),
                ];
                if let Some((key, _)) = served.iter().find(|(_, is_there)| *is_there) {
                    bail!("a rule that serves nothing has no '{key}'");
                }
                if refusing == ActionWord::Deny { Action::Deny } else { Action::Drop }
            }
        };
        let mut rule = Rule::new(format!("{}:{line}", self.file.path.display()), action);
        for network in table.from.iter().flat_map(|List(all)| all) {
            rule = rule.from(network.0);
        }
        for prefix in table.mac.iter().flat_map(|List(all)| all) {
            rule = rule.mac(*prefix);
        }
        if let Some(List(patterns)) = table.name.clone() {
            let any = self.folders.ignore_case();
            rule = rule.name(move |path| patterns.iter().any(|one| one.is_match(path, any)));
        }
        if let Some(List(words)) = &table.operation {
            rule = rule.operations(words.iter().fold(Operations::NONE, |all, word| {
                all.with(match word {
                    OperationWord::Read => tftpkit::wire::Operation::Read,
                    OperationWord::Write => tftpkit::wire::Operation::Write,
                    OperationWord::List => tftpkit::wire::Operation::List,
                })
            }));
        }
        Ok(rule)
    }

    fn serving(&mut self, table: &RuleTable) -> Result<Serving> {
        let (allowed, uploads) = allowed(table, self.main.uploads);
        let links = table
            .links_to
            .as_ref()
            .map(|List(all)| all.iter().map(|path| self.file.beside(path)).collect::<Vec<_>>());
        let links = links.unwrap_or_else(|| self.main.links.clone());
        let roots = table.root.as_ref().map(|List(roots)| roots.clone());
        let here = |place: &Place| Place {
            folder: self.file.beside(&place.folder),
            below: place.below.clone(),
        };
        let roots = roots.map_or_else(
            || vec![self.main.place.clone()],
            |roots| roots.iter().map(here).collect(),
        );
        let uploads_root = table.uploads_root.as_ref().map(|One(place)| here(place));
        if uploads_root.is_some() && uploads == Uploads::Off {
            bail!("'uploads-root' without uploads: allow = [\"create\"], for example");
        }
        let of = |place: &Place, uploads| {
            let (place, links) = (place.clone(), links.clone());
            Wanted { place, uploads, links }
        };
        let mut serving = Serving::default().allow(allowed);
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for place in &roots {
            // What is read and what is written is one folder, where nothing speaks against it.
            let is_both = uploads_root.is_none() && Some(place) == roots.first();
            let uploads = if is_both { uploads } else { Uploads::Off };
            stores.push(self.folders.get(&of(place, uploads))?);
        }
        if let Some(place) = &uploads_root {
            serving = serving.uploads(self.folders.get(&of(place, uploads))?);
        }
        serving = match <[_; 1]>::try_from(stores) {
            Ok([one]) => serving.store(one),
            Err(several) => serving.store(Arc::new(InOrder::new(several))),
        };
        for name in table.profile.iter().flat_map(|List(names)| names) {
            serving = serving.quirks(self.quirks(name)?);
        }
        Ok(serving)
    }

    fn quirks(&self, name: &str) -> Result<Quirks> {
        let own = self.profiles.iter().find(|(known, _)| known == name).map(|(_, quirks)| *quirks);
        own.or_else(|| Quirks::known(name)).ok_or_else(|| {
            let known = Quirks::KNOWN.iter().map(|(known, _)| *known);
            let known = self.profiles.iter().map(|(known, _)| known.as_str()).chain(known);
            anyhow!("there is no profile '{name}'{}", meant(name, known))
        })
    }
}

/// What a rule allows, where the server allows such uploads.
fn allowed(table: &RuleTable, servers: Uploads) -> (Operations, Uploads) {
    use tftpkit::wire::Operation::{List as Listed, Read, Write};
    let Some(List(words)) = &table.allow else { return (Operations::default(), servers) };
    let has = |word| words.contains(&word);
    let uploads = match (has(AllowWord::Create), has(AllowWord::Overwrite)) {
        (true, true) => Uploads::Overwrite,
        (true, false) => Uploads::Create,
        (false, true) => Uploads::Existing,
        (false, false) => Uploads::Off,
    };
    let each = [
        (Read, has(AllowWord::Read)),
        (Write, uploads != Uploads::Off),
        (Listed, has(AllowWord::List)),
    ];
    let allowed = each.into_iter().filter(|(_, is_allowed)| *is_allowed);
    (allowed.fold(Operations::NONE, |all, (operation, _)| all.with(operation)), uploads)
}

/// What the options say is served.
pub(crate) fn main_folder(args: &Args) -> Wanted {
    Wanted {
        place: Place::fixed(&args.root),
        uploads: args.uploads.into(),
        links: args.links_to.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::tables::Pattern;
    use super::*;
    use clap::Parser;
    use tftpkit::query::Query;
    use tftpkit::wire::Operation;

    /// What each known profile is made of, as the page has it.
    #[test]
    fn the_page_of_rules_has_each_known_profile_as_it_is() {
        let page = include_str!("../../../../rfc/rules.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows = rows.filter_map(|row| row.split_once("` | `"));
        let rows: Vec<_> = rows
            .filter_map(|(name, rest)| Some((name, rest.split_once("` | ")?.0)))
            .filter(|(_, keys)| keys.contains(" = "))
            .collect();
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, Quirks::KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, keys) in rows {
            let text = format!("name = \"own\"\n{}", keys.replace("; ", "\n"));
            let table: ProfileTable = toml::from_str(&text).expect(name);
            let (_, quirks) = profile(&table, &[]).expect(name);
            assert_eq!(Some(quirks), Quirks::known(name), "{name}");
        }
    }

    #[test]
    fn patterns_are_of_a_name_anywhere_or_of_a_whole_path() {
        let fits = |pattern: &str, path: &str| {
            let fitting: Pattern = pattern.parse().expect(pattern);
            let [exact, any] = [false, true].map(|any| fitting.is_match(Path::new(path), any));
            assert_eq!(any, exact || pattern == "*.CFG", "{pattern} for {path} in any letters");
            exact
        };
        for (pattern, path, expected) in [
            ("*.cfg", "a.cfg", true),
            ("*.cfg", "x/y/a.cfg", true),
            ("*.cfg", "a.cfg/b", false),
            ("/*.cfg", "a.cfg", true),
            ("/*.cfg", "x/a.cfg", false),
            ("boot/*", "boot/a", true),
            ("boot/*", "boot/x/a", false),
            ("boot/*", "x/boot/a", false),
            ("boot/**", "boot/x/a", true),
            ("{a,b}?.bin", "x/b1.bin", true),
            ("[0-9]*", "7.bin", true),
            ("a\\b", "x/a\\b", true),
            ("*.CFG", "a.cfg", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} for {path}");
        }
        for nonsense in ["", "a[", "a{b"] {
            assert!(nonsense.parse::<Pattern>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_profile_takes_all_that_can_be_different() {
        let text = "name = \"all\"\nleave-out = [\"tsize\", \"BLKSIZE\"]\nlock-step = true\nmax-blksize = 512\n\
            max-windowsize = 4\nmax-timeout = 3\nwhole-packets = true\npatience = 60\npace = \"64K\"";
        let table: ProfileTable = toml::from_str(text).expect("a table");
        let (name, quirks) = profile(&table, &[]).expect("a profile");
        let left_out = OptionSet::EMPTY.with(OptionKind::TransferSize).with(OptionKind::BlockSize);
        let expected = Quirks::new()
            .leave_out(left_out.with(OptionKind::WindowSize))
            .block_size(BlockSize::DEFAULT)
            .window(WindowSize::new(4).expect("a window"))
            .interval(Interval::from_micros(3_000_000).expect("an interval"))
            .whole_packets()
            .patience(std::time::Duration::from_secs(60))
            .rate(NonZeroU64::new(64 << 10).expect("a rate"));
        assert_eq!((name.as_str(), quirks), ("all", expected));
        for (written, seconds) in [("90", 90.0), ("2.5", 2.5), ("\"2 min\"", 120.0)] {
            let text = format!("name = \"patient\"\npatience = {written}");
            let table: ProfileTable = toml::from_str(&text).expect(written);
            let patience = std::time::Duration::from_secs_f64(seconds);
            let expected = Quirks::new().leave_out(OptionSet::EMPTY).patience(patience);
            assert_eq!(profile(&table, &[]).expect(written).1, expected, "{written}");
        }
    }

    #[test]
    fn rules_and_profiles_have_one_bound_together() {
        let args = Args::parse_from(["rtftpd", "/"]);
        let added = |rules: usize, profiles: usize| {
            let rules = "[[rule]]\nname = \"f\"\naction = \"deny\"\n".repeat(rules);
            let profiles = (0..profiles).map(|n| format!("[[profile]]\nname = \"p{n}\"\n"));
            let text = rules + &profiles.collect::<String>();
            let written: Written = toml::from_str(&text).expect("tables");
            let file = RuleFile::of(Path::new("r"), text, written.tables);
            let mut folders = Folders::new(&args, Arc::new(|_| None), None);
            let added = file.add_to(args.policy(), &mut folders, &main_folder(&args));
            added.map(drop).map_err(|error| error.to_string())
        };
        let too_many = Err(format!("r: more than {} tables", limits::RULES));
        for (rules, profiles, told) in [
            (limits::RULES - 1, 1, Ok(())),
            (limits::RULES, 1, too_many.clone()),
            (limits::RULES + 1, 0, too_many.clone()),
            (0, limits::RULES + 1, too_many),
        ] {
            assert_eq!(added(rules, profiles), told, "{rules} rules and {profiles} profiles");
        }
    }

    #[test]
    fn hardware_addresses_are_wanted_by_conditions_and_by_roots() {
        let wants = |text: &str| {
            let written: Written = toml::from_str(text).expect(text);
            RuleFile::of(Path::new("r"), text.into(), written.tables).wants_mac()
        };
        assert!(wants("[[rule]]\nmac = \"52:54:00\""));
        assert!(wants("[[rule]]\nroot = [\"/srv/{ip}\", \"/srv/{mac}\"]"));
        assert!(wants("[[rule]]\nuploads-root = \"/srv/{mac}\""));
        assert!(!wants("[[rule]]\nroot = \"/srv/{ip}\"\nfrom = \"192.0.2.7\""));
        let query =
            Query::new(([127, 0, 0, 1], 7).into(), [127, 0, 0, 1].into(), Operation::Read, "a");
        let place: Place = "/srv/{mac}".parse().expect("a place");
        assert_eq!(place.below.expect("braces").path(&query, || None), None);
    }
}
