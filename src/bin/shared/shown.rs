//! What people see of both programs: words of others, and rates.

use indicatif::HumanBytes;
use std::fmt::Write;

/// Escapes what another side's words could do to a terminal: control characters, and those that turn the direction of
/// writing or take no room.
pub(crate) fn harmless(text: &str) -> String {
    escaped(text, |c| c.is_control() || is_invisible(c))
}

/// Escapes the characters that are harmful.
pub(crate) fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether it takes no room, or turns the direction of writing.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e0fff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// So many bytes in each second, as in `12.00 MiB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second as u64))
}

/// So many bytes, as in `68.36 KiB`: in powers of 1024 wherever people read them.
pub(crate) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// An error with its causes. The system's words for an error come without their number, which tells
/// people nothing.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        match rest.strip_prefix(')').filter(|_| rest.len() < part.len()) {
            Some(rest) => out.push_str(rest),
            None => out.extend([" (os error ", part]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_cannot_drive_a_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\n\u{202e}c é"), "a\\u{1b}[2Jb\\n\\u{202e}c é");
    }

    #[test]
    fn what_is_invisible_or_turns_the_writing_is_told_and_letters_stay() {
        let mut hidden = vec!['\u{ad}', '\u{61c}', '\u{180e}', '\u{2028}', '\u{2029}', '\u{feff}'];
        for (first, last) in
            [(0x200b, 0x200f), (0x202a, 0x202e), (0x2060, 0x2069), (0xe0000, 0xe0fff)]
        {
            hidden.extend([first, last].map(|c| char::from_u32(c).expect("a character")));
        }
        for c in hidden {
            assert_eq!(harmless(&c.to_string()), c.escape_default().to_string());
        }
        let plain = "a b\u{2010}\u{2027}\u{202f}\u{2070}\u{1f600}\u{4e00}";
        assert_eq!(harmless(plain), plain);
    }

    #[test]
    fn bytes_are_counted_in_powers_of_1024_and_so_are_rates() {
        assert_eq!([70_001, 3 << 20].map(bytes), ["68.36 KiB", "3.00 MiB"]);
        let rates = [0.0, 58_000.0, 12.5e6].map(rate);
        assert_eq!(rates, ["0 B/s", "56.64 KiB/s", "11.92 MiB/s"], "a slow one is told, too");
    }

    #[test]
    fn an_error_of_the_system_is_told_in_its_words_alone() {
        let of = |error: anyhow::Error| told(&error);
        let absent = std::io::Error::from_raw_os_error(2);
        let plain = anyhow::Error::from(absent).context("cannot read 'x'");
        assert_eq!(of(plain), "cannot read 'x': No such file or directory");
        for text in ["a (os error x) b", "a (os error ) b", "a (os error 2"] {
            assert_eq!(of(anyhow::anyhow!(text)), text);
        }
        assert_eq!(of(anyhow::anyhow!("a (os error 2) (os error 3): b")), "a: b");
    }
}
