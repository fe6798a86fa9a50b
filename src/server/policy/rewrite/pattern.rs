//! Regular expressions as `egrep` has them (POSIX extended, with the GNU C library's additions), matched in linear time.
//!
//! They are translated to what [`regex_automata`] reads. Where both would mean different things, the translation says
//! what POSIX does; what has no counterpart is refused.

use crate::limits;
use regex_automata::meta::{Builder, Config, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::fmt::Write;
use std::iter::Peekable;
use std::ops::Range;
use std::slice::Iter;

/// An expression, ready to match.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Finds where the first match begins.
    first: Regex,
    /// Finds the end of the longest match that begins there: POSIX wants that, and not that of the first alternative.
    longest: Regex,
    /// Finds the groups of the longest match, where the first is shorter.
    groups: Regex,
}

/// The texts of the groups of a match, the whole match being the first. Where a group has none, its range is empty.
pub(super) type Groups = Vec<Range<usize>>;

/// As many as a replacement can name, with the whole match.
const GROUPS: usize = 10;

impl Pattern {
    pub(super) fn new(posix: &[u8], ignore_case: bool) -> Result<Self, String> {
        let translated = Translation::of(posix, ignore_case)?;
        let build = |text: &str, kind| {
            let config = Config::new().match_kind(kind).nfa_size_limit(Some(limits::PATTERN_BYTES));
            let config = config.hybrid_cache_capacity(limits::PATTERN_CACHE_BYTES);
            let syntax = syntax::Config::new().unicode(false).utf8(false);
            let syntax = syntax.dot_matches_new_line(true).case_insensitive(ignore_case);
            let mut builder = Builder::new();
            let built = builder.configure(config.utf8_empty(false)).syntax(syntax).build(text);
            built.map_err(|error| match error.size_limit() {
                Some(_) => "the regular expression is too large".to_owned(),
                None => format!("the regular expression cannot be used: {error}"),
            })
        };
        Ok(Self {
            first: build(&translated, MatchKind::LeftmostFirst)?,
            longest: build(&translated, MatchKind::All)?,
            groups: build(&format!("(?:{translated})\\z"), MatchKind::LeftmostFirst)?,
        })
    }

    pub(super) fn is_match(&self, name: &[u8]) -> bool {
        self.first.is_match(name)
    }

    /// The first match, the longest of those that begin where it does, and its groups, if they are `wanted`.
    pub(super) fn find(&self, name: &[u8], wanted: bool) -> Option<Groups> {
        let start = self.first.find(name)?.start();
        let from_there = |name| Input::new(name).range(start..).anchored(Anchored::Yes);
        let end = self.longest.search_half(&from_there(name))?.offset();
        if !wanted {
            return Some(std::iter::once(start..end).collect());
        }
        let mut found: Captures = self.first.create_captures();
        self.first.search_captures(&from_there(name), &mut found);
        if found.get_match().is_none_or(|found| found.end() != end) {
            found = self.groups.create_captures();
            self.groups.search_captures(&from_there(&name[..end]), &mut found);
        }
        let group = |n| found.get_group(n).map_or(0..0, |group| group.start..group.end);
        let inner = (1..GROUPS.min(found.group_len().max(1))).map(group);
        Some(std::iter::once(start..end).chain(inner).collect())
    }
}

/// An expression on its way from one syntax to the other.
struct Translation<'a> {
    rest: Peekable<Iter<'a, u8>>,
    ignore_case: bool,
    out: String,
    /// Where in `out` what can be repeated begins.
    atom: Option<usize>,
    /// Where in `out` the groups that are open begin.
    open: Vec<usize>,
}

impl<'a> Translation<'a> {
    fn of(posix: &'a [u8], ignore_case: bool) -> Result<String, String> {
        let rest = posix.iter().peekable();
        let (out, atom, open) = (String::new(), None, Vec::new());
        let mut translation = Self { rest, ignore_case, out, atom, open };
        while let Some(byte) = translation.rest.next() {
            translation.one(*byte)?;
        }
        match translation.open.is_empty() {
            true => Ok(translation.out),
            false => Err("a '(' is not closed".into()),
        }
    }

    fn one(&mut self, byte: u8) -> Result<(), String> {
        match byte {
            b'\\' => return self.escaped(),
            b'[' => return self.bracket(),
            b'{' => return self.bound(),
            b'*' | b'+' | b'?' => return self.repeat(&char::from(byte).to_string()),
            b'.' => self.atom("."),
            b'^' => self.assertion(r"\A"),
            b'$' => self.assertion(r"\z"),
            b'(' => {
                self.open.push(self.out.len());
                self.assertion("(");
            }
            b')' if !self.open.is_empty() => {
                self.out.push(')');
                self.atom = self.open.pop();
            }
            b'|' => self.assertion("|"),
            other => self.literal(other),
        }
        Ok(())
    }

    /// Adds what can be repeated.
    fn atom(&mut self, text: &str) {
        self.atom = Some(self.out.len());
        self.out.push_str(text);
    }

    /// Adds what cannot.
    fn assertion(&mut self, text: &str) {
        self.atom = None;
        self.out.push_str(text);
    }

    fn literal(&mut self, byte: u8) {
        self.atom(&hexadecimal(byte));
    }

    fn escaped(&mut self) -> Result<(), String> {
        match self.rest.next() {
            None => return Err("a backslash ends the regular expression".into()),
            Some(digit @ b'1'..=b'9') => {
                return Err(format!(
                    "a reference to a group ('\\{}') in a regular expression cannot be matched in a bounded time",
                    char::from(*digit)
                ));
            }
            Some(class @ (b'w' | b'W' | b's' | b'S')) => {
                self.atom(&format!("\\{}", char::from(*class)));
            }
            Some(b'b') => self.assertion(r"\b"),
            Some(b'B') => self.assertion(r"\B"),
            Some(b'<') => self.assertion(r"\b{start}"),
            Some(b'>') => self.assertion(r"\b{end}"),
            Some(b'`') => self.assertion(r"\A"),
            Some(b'\'') => self.assertion(r"\z"),
            Some(other) => self.literal(*other),
        }
        Ok(())
    }

    /// Repeats the last atom. Each such sign means the whole of what is before it, so that `+?` is no sign of its own.
    fn repeat(&mut self, how_often: &str) -> Result<(), String> {
        let Some(start) = self.atom else {
            return Err(format!("there is nothing before '{how_often}' that it could repeat"));
        };
        self.out.insert_str(start, "(?:");
        let _ = write!(self.out, "){how_often}");
        let whole = self.out.split_off(start);
        let _ = write!(self.out, "(?:{whole})");
        Ok(())
    }

    /// `{2}`, `{2,}`, `{,2}` or `{1,2}`.
    fn bound(&mut self) -> Result<(), String> {
        let wrong = || Err("write a bound as {2}, {2,} or {1,2}, and '{' itself as \\{".to_owned());
        let least = self.number()?;
        let most = match self.rest.next() {
            Some(b'}') => match least {
                Some(exactly) => return self.repeat(&format!("{{{exactly}}}")),
                None => return wrong(),
            },
            Some(b',') => self.number()?,
            _ => return wrong(),
        };
        if self.rest.next() != Some(&b'}') || most.is_some_and(|most| most < least.unwrap_or(0)) {
            return wrong();
        }
        let most = most.map_or_else(String::new, |most| most.to_string());
        self.repeat(&format!("{{{},{most}}}", least.unwrap_or(0)))
    }

    fn number(&mut self) -> Result<Option<u32>, String> {
        let mut number = None;
        while let Some(digit) = self.rest.next_if(|byte| byte.is_ascii_digit()) {
            let so_far = number.unwrap_or(0) * 10 + u32::from(digit - b'0');
            if so_far > MOST_REPEATED {
                return Err(format!("a bound may be {MOST_REPEATED} at most"));
            }
            number = Some(so_far);
        }
        Ok(number)
    }

    /// A list in brackets, in which a backslash is a character like any other.
    fn bracket(&mut self) -> Result<(), String> {
        let is_negated = self.rest.next_if_eq(&&b'^').is_some();
        let mut list = [false; 256];
        let mut is_first = true;
        loop {
            let byte = *self.rest.next().ok_or("a '[' is not closed")?;
            let next = self.rest.peek().copied().copied();
            match (byte, next) {
                (b']', _) if !is_first => break,
                (b'[', Some(b':')) => self.class(&mut list)?,
                (b'-', Some(next)) if !is_first && next != b']' => {
                    return Err("in brackets a '-' of its own stands first or last".into());
                }
                _ => {
                    let from = self.member(byte)?;
                    self.range(from, &mut list)?;
                }
            }
            is_first = false;
        }
        let start = self.out.len();
        self.out.push_str(if is_negated { "[^" } else { "[" });
        for byte in (0..=u8::MAX).filter(|byte| list[usize::from(*byte)]) {
            self.out.push_str(&hexadecimal(byte));
        }
        self.out.push(']');
        self.atom = Some(start);
        Ok(())
    }

    /// A character of a list, which may be written as `[.x.]` or `[=x=]`.
    fn member(&mut self, byte: u8) -> Result<u8, String> {
        let Some(mark) = self.rest.next_if(|mark| byte == b'[' && matches!(mark, b'.' | b'='))
        else {
            return Ok(byte);
        };
        let one = self.rest.next().copied();
        let is_closed = self.rest.next() == Some(mark) && self.rest.next() == Some(&b']');
        let none = "a name of a character in brackets ('[.hyphen.]') is not known here: write the character itself";
        one.filter(|_| is_closed).ok_or_else(|| none.into())
    }

    /// Adds what begins at `from`, a range or one character.
    fn range(&mut self, from: u8, list: &mut [bool; 256]) -> Result<(), String> {
        let mut ahead = self.rest.clone();
        let is_range = ahead.next() == Some(&b'-') && ahead.next() != Some(&b']');
        if !is_range {
            list[usize::from(from)] = true;
            return Ok(());
        }
        self.rest.next();
        let to = *self.rest.next().ok_or("a '[' is not closed")?;
        if to == b'[' && self.rest.peek() == Some(&&b':') {
            return Err("a class such as [:digit:] is no end of a range".into());
        }
        let to = self.member(to)?;
        // Who ignores the case of letters has them all small.
        let [from, to] =
            [from, to].map(|end| if self.ignore_case { end.to_ascii_lowercase() } else { end });
        if from > to {
            return Err("the end of a range in brackets comes before its beginning".into());
        }
        list[usize::from(from)..=usize::from(to)].fill(true);
        Ok(())
    }

    /// `[:alpha:]` and its kin, whose bracket was taken.
    fn class(&mut self, list: &mut [bool; 256]) -> Result<(), String> {
        self.rest.next();
        let mut name = Vec::new();
        while let Some(byte) = self.rest.next_if(|byte| byte.is_ascii_lowercase()) {
            name.push(*byte);
        }
        let is_closed = self.rest.next() == Some(&b':') && self.rest.next() == Some(&b']');
        let is_in: fn(u8) -> bool = match &name[..] {
            b"alnum" => |byte| byte.is_ascii_alphanumeric(),
            b"alpha" => |byte| byte.is_ascii_alphabetic(),
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => |byte| byte.is_ascii_control(),
            b"digit" => |byte| byte.is_ascii_digit(),
            b"graph" => |byte| byte.is_ascii_graphic(),
            b"lower" => |byte| byte.is_ascii_lowercase(),
            b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
            b"punct" => |byte| byte.is_ascii_punctuation(),
            b"space" => is_space,
            b"upper" => |byte| byte.is_ascii_uppercase(),
            b"xdigit" => |byte| byte.is_ascii_hexdigit(),
            _ => return Err("there is no such class of characters in brackets".into()),
        };
        if !is_closed {
            return Err("a class in brackets ends with ':]'".into());
        }
        (0..=u8::MAX).filter(|byte| is_in(*byte)).for_each(|byte| list[usize::from(byte)] = true);
        Ok(())
    }
}

/// As POSIX has it; what is larger no two programs agree about.
const MOST_REPEATED: u32 = 255;

/// What C takes for white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn hexadecimal(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups of the first match.
    fn found(posix: &str, name: &str) -> Option<Vec<String>> {
        let pattern = Pattern::new(posix.as_bytes(), false).expect(posix);
        let groups = pattern.find(name.as_bytes(), true);
        let whole = pattern.find(name.as_bytes(), false);
        assert_eq!(whole.as_deref(), groups.as_ref().map(|all| &all[..1]), "{posix} {name}");
        assert_eq!(groups.is_some(), pattern.is_match(name.as_bytes()), "{posix} {name}");
        Some(groups?.into_iter().map(|group| name[group].to_owned()).collect())
    }

    #[test]
    fn a_match_is_what_egrep_takes_for_one() {
        // What the GNU C library says of each.
        let cases: &[(&str, &str, Option<&[&str]>)] = &[
            ("a**", "aa", Some(&["aa"])),
            ("a+?", "aa", Some(&["aa"])),
            ("a|", "xa", Some(&[""])),
            ("()", "a", Some(&["", ""])),
            ("(|a)b", "ab", Some(&["ab", "a"])),
            ("a{,2}b", "aaab", Some(&["aab"])),
            ("a{,}", "aaa", Some(&["aaa"])),
            ("a{2}{3}", "aaaaaaa", Some(&["aaaaaa"])),
            ("a{1,2}{2}", "aaaaa", Some(&["aaaa"])),
            ("a{0}b", "ab", Some(&["b"])),
            ("a)", "a)", Some(&["a)"])),
            ("[]a]", "]", Some(&["]"])),
            ("[^]a]", "]", None),
            ("[\\n]", "\\", Some(&["\\"])),
            ("[a\\-c]", "-", None),
            ("[%--]", "&", Some(&["&"])),
            ("[a-]", "-", Some(&["-"])),
            ("[b-b]", "abc", Some(&["b"])),
            ("[a.b=]+", "xa.b=", Some(&["a.b="])),
            ("[[a]+", "x[a", Some(&["[a"])),
            ("[[.-.]-/]", ".", Some(&["."])),
            ("[[=a=]]", "a", Some(&["a"])),
            ("[[:alpha:][:digit:]_]+", "-a1_", Some(&["a1_"])),
            ("\\w+", "-ab_1-", Some(&["ab_1"])),
            ("\\<f", "a foo", Some(&["f"])),
            ("oo\\>", "foob foo", Some(&["oo"])),
            ("\\d", "1", None),
            ("\\x61", "x61", Some(&["x61"])),
            ("a^b", "a^b", None),
            ("(^a)", "ba", None),
            ("x*", "baac", Some(&[""])),
            // The longest, whatever alternative comes first; the groups as they come.
            ("a|ab", "abc", Some(&["ab"])),
            ("(a|ab)(c|bcd)(d*)", "abcd", Some(&["abcd", "a", "bcd", ""])),
            ("(a?)(ab)?", "ab", Some(&["ab", "", "ab"])),
            ("(ba?)(a|$)", "bac", Some(&["ba", "b", "a"])),
            ("(a|ab)(b?)", "ab", Some(&["ab", "a", "b"])),
            ("(a*)*", "aa", Some(&["aa", "aa"])),
            ("(a|b)*", "ab", Some(&["ab", "b"])),
            ("(x)?b", "ab", Some(&["b", ""])),
            ("}", "}", Some(&["}"])),
            (".", "\n", Some(&["\n"])),
        ];
        for (posix, name, expected) in cases {
            let expected = expected.map(|all| all.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(found(posix, name), expected, "{posix} in {name}");
        }
    }

    #[test]
    fn bytes_are_bytes_and_only_ascii_letters_have_two_sizes() {
        let matches = |posix: &[u8], ignore_case, name: &[u8]| {
            Pattern::new(posix, ignore_case).expect("an expression").is_match(name)
        };
        assert!(matches(b"^.$", false, b"\xff") && matches(b"^[^a]$", false, b"\xe9"));
        assert!(matches(b"\xc3\xa9", false, b"\xc3\xa9") && !matches(b"\xe9", true, b"\xc9"));
        assert!(matches(b"aBc", true, b"AbC") && !matches(b"aBc", false, b"AbC"));
        assert!(matches(b"^[A-z]$", true, b"Q") && !matches(b"[A-z]", true, b"_"));
        let small = Pattern::new(b"^[a-Z]$", true).expect("without case [a-Z] is [a-z]");
        assert!(small.is_match(b"q") && small.is_match(b"Q") && !small.is_match(b"_"));
        assert!(!matches(b"[^a]", true, b"A") && matches(b"^[[:upper:]]$", true, b"a"));
        assert!(matches(b"[^\\w]", false, b"a"), "in brackets a backslash is one");
    }

    #[test]
    fn each_class_has_the_characters_that_posix_gives_it() {
        for (class, characters) in [
            ("alnum", "09AZaz"),
            ("alpha", "AZaz"),
            ("blank", "\t "),
            ("cntrl", "\t\n\x1f\x7f"),
            ("digit", "09"),
            ("graph", "!/09:AZ_az~"),
            ("lower", "az"),
            ("print", " !/09:AZ_az~"),
            ("punct", "!/:_~"),
            ("space", "\t\n "),
            ("upper", "AZ"),
            ("xdigit", "09Aa"),
        ] {
            let posix = format!("^[[:{class}:]]$");
            let pattern = Pattern::new(posix.as_bytes(), false).expect("an expression");
            let found = "\t\n\x1f !/09:AZ_az~\x7f".chars();
            let found = found.filter(|one| pattern.is_match(one.to_string().as_bytes()));
            assert_eq!(found.collect::<String>(), characters, "{class}");
        }
    }

    #[test]
    fn what_cannot_mean_the_same_is_refused_with_the_reason() {
        let why = |posix: &str| Pattern::new(posix.as_bytes(), false).expect_err(posix);
        for (posix, words) in [
            ("*a", "before '*'"),
            ("^*", "before '*'"),
            ("(+a)", "before '+'"),
            ("a|?", "before '?'"),
            ("{1}", "before '{1}'"),
            ("(?:a)", "before '?'"),
            ("a{1", "a bound as"),
            ("a{}", "a bound as"),
            ("a{2,1}", "a bound as"),
            ("a{-1}", "a bound as"),
            ("a{256}", "255 at most"),
            ("(a", "'(' is not closed"),
            ("[a", "'[' is not closed"),
            ("[a-", "'[' is not closed"),
            ("[]", "'[' is not closed"),
            ("[c-a]", "before its beginning"),
            ("[a-c-e]", "first or last"),
            ("[[:alpha:]-z]", "first or last"),
            ("[a-[:digit:]]", "no end of a range"),
            ("[[:foo:]]", "no such class"),
            ("[[:alpha]", "ends with ':]'"),
            ("[[.hyphen.]]", "not known here"),
            ("[[.a.x]", "not known here"),
            ("[[.ax]]", "not known here"),
            ("a\\", "a backslash ends"),
            ("(a)\\1", "a reference to a group ('\\1')"),
            ("((a{255}){255}){255}", "too large"),
        ] {
            assert!(why(posix).contains(words), "{posix}: {}", why(posix));
        }
        let reversed = Pattern::new(b"[Z-a]", true).expect_err("without case [Z-a] is [z-a]");
        assert!(reversed.contains("before its beginning"), "{reversed}");
    }
}
