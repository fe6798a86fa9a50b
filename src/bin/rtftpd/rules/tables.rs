//! The tables of a rule file, as they are written. What they mean together is found out elsewhere (`rules`).

use super::place::Place;
use crate::values::{rate, setting};
use globset::{GlobBuilder, GlobMatcher};
use ipnet::IpNet;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tftpkit::server::MacPrefix;
use tftpkit::wire::{OptionKind, OptionSet};
use toml::Spanned;

/// All tables.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) rule: Vec<Spanned<RuleTable>>,
    pub(crate) profile: Vec<Spanned<ProfileTable>>,
}

/// A rule.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RuleTable {
    pub(super) from: Option<List<Network>>,
    pub(super) mac: Option<List<MacPrefix>>,
    pub(super) name: Option<List<Pattern>>,
    pub(super) operation: Option<List<OperationWord>>,
    pub(super) action: Option<One<ActionWord>>,
    pub(super) allow: Option<List<AllowWord>>,
    pub(super) root: Option<List<Place>>,
    pub(super) uploads_root: Option<One<Place>>,
    pub(super) links_to: Option<List<PathBuf>>,
    pub(super) profile: Option<List<String>>,
}

/// What is different for some clients.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ProfileTable {
    pub(super) name: String,
    pub(super) leave_out: Option<List<OptionWord>>,
    pub(super) lock_step: bool,
    pub(super) max_blksize: Option<Within<8, 65464>>,
    pub(super) max_windowsize: Option<Within<1, 32767>>,
    pub(super) max_timeout: Option<Within<1, 255>>,
    pub(super) whole_packets: bool,
    pub(super) patience: Option<Span>,
    pub(super) pace: Option<Pace>,
}

/// One value, or several in a list.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// A value that is written as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct One<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|why| D::Error::custom(format!("'{text}': {why}")))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore<T>(PhantomData<T>);
        impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for OneOrMore<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes, or a list of such texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                One::deserialize(de::value::StrDeserializer::new(text))
                    .map(|One(one)| List(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(One(one)) = all.next_element()? {
                    list.push(one);
                }
                if list.is_empty() {
                    return Err(A::Error::custom("the list is empty: leave the key out"));
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(OneOrMore(PhantomData))
    }
}

/// A network, or an address alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network(pub(super) IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or_else(|_| alone());
        network.map(Self).map_err(|_| "write an address, or a network as in 192.0.2.0/24")
    }
}

/// Names of files. A pattern without a slash is of a name in any directory, one with a slash of a whole path.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    exact: GlobMatcher,
    in_any_letters: GlobMatcher,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = match text.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None if text.contains('/') => text.to_owned(),
            None => format!("**/{text}"),
        };
        if text.is_empty() {
            return Err("write a pattern".into());
        }
        let matcher = |in_any_letters| {
            let mut glob = GlobBuilder::new(&whole);
            // A client may write a slash as a backslash, and an operator has no use for one.
            glob.literal_separator(true).backslash_escape(false).case_insensitive(in_any_letters);
            let glob = glob.build().map_err(|error| error.kind().to_string());
            glob.map(|glob| glob.compile_matcher())
        };
        Ok(Self { exact: matcher(false)?, in_any_letters: matcher(true)? })
    }
}

impl Pattern {
    pub(super) fn is_match(&self, path: &Path, in_any_letters: bool) -> bool {
        let matcher = if in_any_letters { &self.in_any_letters } else { &self.exact };
        matcher.is_match(path)
    }
}

/// Words of which there are a few.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($variant),+
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("it is one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words! {
    /// What a client asks for.
    OperationWord { "read" => Read, "write" => Write, "list" => List }
}
words! {
    /// What a rule does.
    ActionWord { "serve" => Serve, "deny" => Deny, "drop" => Drop }
}
words! {
    /// What a rule allows.
    AllowWord { "read" => Read, "create" => Create, "overwrite" => Overwrite, "list" => List }
}

/// An option, or all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct OptionWord(pub(super) OptionSet);

impl FromStr for OptionWord {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = || text.parse().map(|kind: OptionKind| OptionSet::EMPTY.with(kind));
        let set = if text == "all" { Ok(OptionSet::ALL) } else { one() };
        set.map(Self).map_err(
            |_| "it is one of blksize, timeout, utimeout, tsize, windowsize, rollover, x-list, all",
        )
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<const LEAST: u16, const MOST: u16>(pub(super) u16);

impl<'de, const LEAST: u16, const MOST: u16> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let legal = u16::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
        legal.map(Self).ok_or_else(|| {
            D::Error::custom(format!("write a whole number from {LEAST} to {MOST}, without quotes"))
        })
    }
}

/// Text that may be a bare number, too.
fn typed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Typed;
    impl Visitor<'_> for Typed {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or a text in quotes")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.into())
        }
    }
    deserializer.deserialize_any(Typed)
}

/// A time, as the command line has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        setting(&typed(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// Bytes in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(pub(super) u64);

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        rate(&typed(deserializer)?).map(|size| Self(size.0)).map_err(D::Error::custom)
    }
}
