//! What a matched part of a name is replaced by, or what a refused client is told.

use super::pattern::Groups;
use std::net::IpAddr;

/// A replacement: text in which `\0` to `\9`, `\i`, `\x`, `\U`, `\L` and `\E` have a meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
    /// The client's address, in its usual form.
    Address,
    /// The same in hexadecimal digits.
    HexAddress,
    Letters(Letters),
}

/// What becomes of letters from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letters {
    AsTheyAre,
    Upper,
    Lower,
}

impl Template {
    /// Reads a replacement, in which no backslash is the last byte.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut parts = Vec::new();
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            let part = match byte {
                b'\\' => match bytes.next().unwrap_or(b'\\') {
                    digit @ b'0'..=b'9' => Part::Group(usize::from(digit - b'0')),
                    b'i' => Part::Address,
                    b'x' => Part::HexAddress,
                    b'U' => Part::Letters(Letters::Upper),
                    b'L' => Part::Letters(Letters::Lower),
                    b'E' => Part::Letters(Letters::AsTheyAre),
                    other => Part::Text(vec![other]),
                },
                other => Part::Text(vec![other]),
            };
            match (parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.extend(more),
                (_, part) => parts.push(part),
            }
        }
        Self(parts)
    }

    /// Whether it names a group beside the whole match.
    pub(super) fn names_groups(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Group(1..)))
    }

    /// What it stands for where `groups` of `name` were found, for a client with this address.
    pub(super) fn fill(&self, name: &[u8], groups: &Groups, client: IpAddr) -> Vec<u8> {
        let (mut out, mut letters) = (Vec::new(), Letters::AsTheyAre);
        for part in &self.0 {
            let from = out.len();
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Group(n) => {
                    out.extend_from_slice(groups.get(*n).map_or(&[], |group| &name[group.clone()]));
                }
                Part::Address => out.extend_from_slice(client.to_string().as_bytes()),
                Part::HexAddress => out.extend_from_slice(hexadecimal(client).as_bytes()),
                Part::Letters(now) => letters = *now,
            }
            match letters {
                Letters::AsTheyAre => {}
                Letters::Upper => out[from..].make_ascii_uppercase(),
                Letters::Lower => out[from..].make_ascii_lowercase(),
            }
        }
        out
    }
}

/// `C00002A9`, or 32 digits.
fn hexadecimal(client: IpAddr) -> String {
    match client {
        IpAddr::V4(v4) => format!("{:08X}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:032X}", v6.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_has_groups_the_clients_address_and_letters_of_either_size() {
        let filled = |text: &str, client: &str| {
            let client = client.parse().expect("an address");
            let filled =
                Template::parse(text.as_bytes()).fill(b"xab.z", &vec![1..5, 1..2, 0..0], client);
            String::from_utf8(filled).expect("UTF-8")
        };
        let v4 = "192.0.2.169";
        for (text, expected) in [
            (r"<\0|\1|\2|\9>", "<ab.z|a||>"),
            (r"\i-\x", "192.0.2.169-C00002A9"),
            (r"\Uq\1\Eq\LQ\x", "QAqqc00002a9"),
            // Letters are ASCII's.
            (r"\Ué\LZ", "éz"),
            (r"a\\b\ c\#d\q", r"a\b c#dq"),
            ("", ""),
        ] {
            assert_eq!(filled(text, v4), expected, "{text}");
        }
        let v6 = filled(r"\i-\x-\L\x", "2001:db8::a1");
        let digits = "20010DB80000000000000000000000A1";
        assert_eq!(v6, format!("2001:db8::a1-{digits}-{}", digits.to_lowercase()));
    }
}
