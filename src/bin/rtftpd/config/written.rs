//! A file as it is written: options, and the tables of rules. It is the one reader of both kinds of files.

use crate::rules::Tables;
use anyhow::{Result, anyhow};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::path::Path;
use toml::Spanned;

/// What is written in a file.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) tables: Tables,
    /// What is neither a rule nor a profile, in its order.
    pub(crate) options: Vec<(Spanned<String>, Value)>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(String),
    Flag(bool),
    List(Vec<Self>),
    /// A table or a time, which is the value of none.
    Other,
}

impl Written {
    /// Reads the text of `path`; tells the line where that has no form.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            anyhow!("{}, line {line}: {}", path.display(), explained(error.message()))
        })
    }
}

/// The line of a place in a text, counted from 1.
pub(crate) fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// What the reader of the format says, with what may have been meant by a key that there is not.
fn explained(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), words.next()) {
        (true, Some(key)) => format!("there is no key '{key}'{}", meant(key, words)),
        _ if message.starts_with("invalid type") && message.ends_with("expected a sequence") => {
            "write the heads of tables in two brackets: [[rule]], [[profile]]".into()
        }
        _ => message.trim_end().to_owned(),
    }
}

/// So many words are told where none of them may have been meant.
const FEW: usize = 20;

/// Which of the known words may have been meant by another one, or all of them, if they are few.
pub(crate) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let near = known.iter().map(|one| (strsim::jaro_winkler(word, one), one));
    match near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > 0.75) {
        Some((_, near)) => format!("; '{near}' may be meant"),
        None if known.len() <= FEW => format!("; what there is is {}", known.join(", ")),
        None => String::new(),
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("options and tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut written = Written::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    match key.as_ref().as_str() {
                        "rule" => written.tables.rule = map.next_value()?,
                        "profile" => written.tables.profile = map.next_value()?,
                        _ => written.options.push((key, map.next_value()?)),
                    }
                }
                Ok(written)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of an option")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Number(number.to_string()))
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Flag(flag))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = all.next_element()? {
                    list.push(one);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
