//! The options that say which name is served in place of the one that is asked for.

use anyhow::{Context, Result, ensure};
use clap::builder::BoolishValueParser;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use tftpkit::limits;
use tftpkit::server::NameRules;

#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// A file with rules for names, as 'in.tftpd --map-file' takes it (tftp-hpa)
    #[arg(long, value_name = "FILE", env = "RTFTPD_MAP_FILE")]
    pub(crate) map_file: Option<PathBuf>,

    /// A rule for names, as a line of such a file: 'r ^ clients/\i/' gives each client a folder of its own; may be given
    /// several times, behind the rules of --map-file
    #[arg(long, value_name = "RULE", value_delimiter = '\n', env = "RTFTPD_MAP_RULE")]
    map_rule: Vec<String>,

    /// Leave this out where a name begins with it, as in '/tftpboot/' or 'C:'; may be given several times, the first that
    /// fits goes
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', env = "RTFTPD_STRIP_PREFIX")]
    strip_prefix: Vec<String>,

    /// Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_STRIP_JUNK")]
    strip_junk: bool,

    /// Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_IGNORE_CASE")]
    pub(crate) ignore_case: bool,
}

impl NameArgs {
    /// The rules, once they are read.
    pub(crate) fn rules(&self) -> Result<NameRules> {
        let rules = NameRules::default().strip_junk(self.strip_junk);
        let prefixes = self.strip_prefix.iter().filter(|prefix| !prefix.is_empty());
        let mut rules = prefixes.fold(rules, |rules, prefix| rules.strip_prefix(prefix.as_bytes()));
        if let Some(path) = &self.map_file {
            let shown = path.display();
            let mut text = Vec::new();
            // One byte more shows what is too large, and a device that has no end.
            let most = limits::MAP_FILE_BYTES as u64 + 1;
            let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut text));
            read.with_context(|| format!("cannot read the map file '{shown}'"))?;
            rules = rules.map(&shown.to_string(), &text)?;
        }
        for (n, rule) in (1..).zip(&self.map_rule) {
            let before = rules.rules();
            rules = rules.map(&format!("--map-rule '{rule}'"), rule)?;
            ensure!(
                rules.rules() == before + 1,
                "--map-rule, number {n}: there is no rule in '{rule}'"
            );
        }
        Ok(rules)
    }

    /// What a person is told of it, if there is anything.
    pub(crate) fn told(&self) -> Option<String> {
        let mut told = Vec::new();
        if let Some(path) = &self.map_file {
            told.push(format!("rewritten by {}", path.display()));
        }
        match self.map_rule.len() {
            0 => {}
            1 => told.push("rewritten by a --map-rule".into()),
            count => told.push(format!("rewritten by {count} --map-rule")),
        }
        if !self.strip_prefix.is_empty() {
            told.push(format!("without {} in front", self.strip_prefix.join(" or ")));
        }
        if self.strip_junk {
            told.push("without 0xFF and control characters at the end".into());
        }
        if self.ignore_case {
            told.push("in letters of any size".into());
        }
        (!told.is_empty()).then(|| told.join(", "))
    }
}
