//! From the name that came to the name that is served: what firmware leaves at the end of it, what stands in front of
//! it, and rules as tftp-hpa's map files have them.
//!
//! This module knows names and who asks for them. It must not know files: whether there is one of either name is for the
//! store to say.

mod map_file;
mod pattern;
mod template;

pub use map_file::MapError;

use super::Refusal;
use crate::limits;
use crate::query::Query;
use crate::wire::{ErrorCode, Filename};
use map_file::{Mapped, Rule, map, parse};
use std::borrow::Cow;

/// Says which name is served in place of the one that a client asks for.
///
/// First goes what firmware leaves at the end of a name, then one prefix, then the rules of maps are tried. The default
/// leaves every name as it came.
#[derive(Clone, Debug, Default)]
pub struct NameRules {
    strips_junk: bool,
    prefixes: Vec<Box<[u8]>>,
    rules: Vec<Rule>,
}

impl NameRules {
    /// Leaves out bytes of 0xFF and control characters at the end of a name: some firmware does not end what DHCP told
    /// it.
    #[must_use]
    pub const fn strip_junk(mut self, strip: bool) -> Self {
        self.strips_junk = strip;
        self
    }

    /// Leaves out `prefix` where a name begins with it. Of several that fit, the one that was given first goes.
    #[must_use]
    pub fn strip_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefixes.push(prefix.into().into());
        self
    }

    /// Adds the rules of a map, in the language of tftp-hpa's map files, behind those that there are. `map` is how its lines
    /// are named where one is wrong, or refuses a request.
    pub fn map(mut self, map: &str, text: impl AsRef<[u8]>) -> Result<Self, MapError> {
        parse(map, text.as_ref(), &mut self.rules)?;
        Ok(self)
    }

    /// How many rules of maps there are.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The name that is served in place of what `query` asks for, where it is another one; or why nothing is.
    pub fn apply(&self, query: &Query) -> Result<Option<Filename>, Refusal> {
        let asked = query.name.as_bytes();
        let mut name = asked;
        if self.strips_junk {
            let end = name.iter().rposition(|byte| !is_junk(*byte)).map_or(0, |last| last + 1);
            name = &name[..end];
        }
        name = self.prefixes.iter().find_map(|prefix| name.strip_prefix(&**prefix)).unwrap_or(name);
        let name = match self.rules.is_empty() {
            true => Cow::Borrowed(name),
            false => Cow::Owned(self.mapped(query, name)?),
        };
        Ok((*name != *asked).then(|| name.into_owned().into()))
    }

    fn mapped(&self, query: &Query, name: &[u8]) -> Result<Vec<u8>, Refusal> {
        let code = ErrorCode::AccessViolation;
        match map(&self.rules, query, name.to_vec()) {
            Mapped::Name(name) => Ok(name),
            Mapped::Refused { by, name, text } => {
                let refusal =
                    Refusal::new(code, format!("{by}, refuses '{}'", Filename::from(name)));
                Err(match text.is_empty() {
                    true => refusal,
                    false => refusal.text(String::from_utf8_lossy(&text).into_owned()),
                })
            }
            Mapped::Endless { at } => {
                Err(Refusal::new(code, format!("the rules have no end with this name ({at})")))
            }
            Mapped::TooLong => {
                let most = limits::MAPPED_NAME_BYTES;
                let why =
                    format!("the name has more than {most} bytes, before or after it is rewritten");
                Err(Refusal::new(code, why))
            }
        }
    }
}

const fn is_junk(byte: u8) -> bool {
    byte == 0xff || byte.is_ascii_control()
}

#[cfg(test)]
mod tests;
