//! The name of a file, as requests have it.

use core::fmt::{self, Write};

/// The Filename field of a request (RFC 1350 § 5): any bytes but NUL, in no particular encoding.
///
/// The name is kept byte for byte. On the wire a NUL ends the field, so a name with one cannot be asked for:
/// [`has_nul`](Self::has_nul) tells. A name that came in a packet has none.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filename(Box<[u8]>);

impl Filename {
    /// The name of these bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the name.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is a NUL in the name, which no request can carry.
    pub fn has_nul(&self) -> bool {
        self.0.contains(&0)
    }
}

impl AsRef<[u8]> for Filename {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Filename {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Filename {
    fn from(bytes: &[u8; N]) -> Self {
        Self::new(&bytes[..])
    }
}

impl From<Vec<u8>> for Filename {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for Filename {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<String> for Filename {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// Writes UTF-8 text as it is, and control characters and all other bytes as `\xNN`: one line, harmless to a terminal.
impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    escape(c.encode_utf8(&mut [0; 4]).as_bytes(), f)?;
                } else {
                    f.write_char(c)?;
                }
            }
            escape(chunk.invalid(), f)?;
        }
        Ok(())
    }
}

/// Writes the name in quotes, with quotes, backslashes and all that is not printable escaped.
impl fmt::Debug for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            escape(chunk.invalid(), f)?;
        }
        f.write_char('"')
    }
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Reads what is percent-encoded, as names are in URLs (RFC 3986 § 2.1): two hexadecimal digits behind each percent sign.
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.as_bytes().split(|byte| *byte == b'%');
    let mut out = parts.next()?.to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        // A number may have a sign.
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_as_text_and_what_is_none_in_hexadecimal() {
        for (bytes, shown, debug) in [
            (&b""[..], "", r#""""#),
            (b"boot/vmlinuz", "boot/vmlinuz", r#""boot/vmlinuz""#),
            ("Gr\u{fc}\u{df}e".as_bytes(), "Gr\u{fc}\u{df}e", "\"Gr\u{fc}\u{df}e\""),
            (b"a \"b\"\\c", "a \"b\"\\c", r#""a \"b\"\\c""#),
            (b"\x1b[2J\n", r"\x1b[2J\x0a", r#""\u{1b}[2J\n""#),
            (b"\x7f~\xc2\x9b", r"\x7f~\xc2\x9b", r#""\u{7f}~\u{9b}""#),
            (b"a\xff\xc3", r"a\xff\xc3", r#""a\xff\xc3""#),
        ] {
            let name = Filename::from(bytes);
            assert_eq!((name.to_string().as_str(), format!("{name:?}").as_str()), (shown, debug));
        }
    }

    #[test]
    fn a_name_is_kept_byte_for_byte_and_tells_of_a_nul() {
        let name = Filename::from(b"a\0b");
        assert_eq!(name.as_bytes(), b"a\0b");
        assert!(name.has_nul());
        let name = Filename::from(b"a\x01b".to_vec());
        assert_eq!((name.as_ref(), name.has_nul()), (&b"a\x01b"[..], false));
        assert_eq!(Filename::from("ab"), Filename::from("ab".to_owned()));
        assert_eq!(Filename::default().as_bytes(), b"");
    }
}
