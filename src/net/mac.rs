//! Hardware addresses, and how they are written.

use std::fmt;
use std::str::FromStr;

/// The hardware address of a network card (a MAC address).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address as PXELINUX and GRUB write it in the names of files: the hardware type of an Ethernet and the address,
    /// in small letters, as in `01-52-54-00-12-34-56`.
    pub fn pxelinux(&self) -> String {
        let mut text = "01".to_owned();
        for byte in self.0 {
            text += &format!("-{byte:02x}");
        }
        text
    }
}

/// With colons, in small letters: `52:54:00:12:34:56`.
impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The first bytes of hardware addresses: one to six. Three of them tell who made the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacPrefix {
    bytes: [u8; 6],
    len: usize,
}

impl MacPrefix {
    /// Whether `address` begins so.
    pub fn contains(&self, address: &MacAddress) -> bool {
        address.0[..self.len] == self.bytes[..self.len]
    }

    /// The address that it is, if it is all of one.
    pub fn whole(&self) -> Option<MacAddress> {
        (self.len == self.bytes.len()).then_some(MacAddress(self.bytes))
    }
}

/// The text is no hardware address and no beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a hardware address is one to six bytes, as in 52:54:00:12:34:56, 52-54-00 or 5254.0012.3456"
)]
pub struct MacError;

/// Reads bytes with colons or hyphens between them, or three groups of two with dots.
impl FromStr for MacPrefix {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let dotted = text.len() == 14 && text.split('.').all(|group| group.len() == 4);
        let pairs: Vec<&str> = match (dotted, text.contains('-')) {
            (true, _) => [0, 2, 5, 7, 10, 12].map(|at| text.get(at..at + 2).unwrap_or("")).into(),
            (_, true) => text.split('-').collect(),
            _ => text.split(':').collect(),
        };
        let (mut bytes, len) = ([0; 6], pairs.len());
        if len > bytes.len() {
            return Err(MacError);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let read = is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten();
            *byte = read.ok_or(MacError)?;
        }
        Ok(Self { bytes, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0xab]);

    #[test]
    fn an_address_is_read_as_people_and_switches_write_it() {
        let whole: MacPrefix = "52:54:00:12:34:ab".parse().expect("an address");
        for text in ["52-54-00-12-34-AB", "5254.0012.34ab", "52:54:00:12:34:AB"] {
            assert_eq!(text.parse(), Ok(whole), "{text}");
        }
        assert!(whole.contains(&ONE));
        assert_eq!(whole.whole(), Some(ONE));
        assert_eq!("52:54:00:12:34".parse().map(|prefix: MacPrefix| prefix.whole()), Ok(None));
        for text in ["52", "52:54:00", "52-54-00-12-34"] {
            assert!(text.parse::<MacPrefix>().expect(text).contains(&ONE), "{text}");
        }
        for text in ["53", "52:54:01", "52:54:00:12:34:ac"] {
            assert!(!text.parse::<MacPrefix>().expect(text).contains(&ONE), "{text}");
        }
        let nonsense = [
            "",
            ":",
            "5",
            "525400",
            "52:54:",
            "52:5",
            "52:54-00",
            "gg",
            "+5",
            "52:54:00:12:34:56:78",
            "5254.0012",
            "52.54.00",
            "é:54",
            "5254.001.23456",
        ];
        for text in nonsense {
            assert_eq!(text.parse::<MacPrefix>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn an_address_is_written_as_boot_loaders_do_in_names() {
        assert_eq!(ONE.pxelinux(), "01-52-54-00-12-34-ab");
        assert_eq!(ONE.to_string(), "52:54:00:12:34:ab");
    }
}
