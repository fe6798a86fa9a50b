//! A root in a rule file: a folder, or one below it for each client.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use tftpkit::query::Query;
use tftpkit::server::MacAddress;

/// A folder, and where in it the client's own is, if each has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) below: Option<Template>,
}

/// A path with words in braces that stand for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Ip,
    HexIp,
    Mac,
}

const WORDS: &[(&str, Part)] = &[("ip", Part::Ip), ("hexip", Part::HexIp), ("mac", Part::Mac)];

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(brace) = text.find(['{', '}']) else {
            let is_empty = text.is_empty();
            return if is_empty { Err("write a folder".into()) } else { Ok(Self::fixed(text)) };
        };
        let (folder, below) = text.split_at(text[..brace].rfind('/').map_or(0, |slash| slash + 1));
        let is_way = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(below).components().all(is_way) {
            return Err("write no '..' behind braces".into());
        }
        let folder = if folder.is_empty() { "." } else { folder };
        Ok(Self { below: Some(below.parse()?), ..Self::fixed(folder) })
    }
}

impl Place {
    /// This folder, whoever asks.
    pub(crate) fn fixed(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), below: None }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(braced(text, WORDS, Part::Text)?))
    }
}

/// The parts of a text in which words in braces stand for something.
pub(crate) fn braced<P: Clone>(
    text: &str,
    words: &[(&str, P)],
    plain: fn(String) -> P,
) -> Result<Vec<P>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        parts.push(plain(rest[..at].into()));
        let named = rest[at..].strip_prefix('{').and_then(|word| word.split_once('}'));
        let Some((word, behind)) = named else { return Err("a brace has no other".into()) };
        let part = words.iter().find(|(known, _)| *known == word).map(|(_, part)| part.clone());
        parts.push(part.ok_or_else(|| {
            let all: Vec<_> = words.iter().map(|(known, _)| format!("{{{known}}}")).collect();
            format!("there is no {{{word}}}: what there is is {}", all.join(", "))
        })?);
        rest = behind;
    }
    parts.push(plain(rest.into()));
    Ok(parts)
}

impl Template {
    /// Whether it wants to know hardware addresses.
    pub(crate) fn wants_mac(&self) -> bool {
        self.0.contains(&Part::Mac)
    }

    /// The path for the client of `query`, whose hardware address may be known. There is none where something that it has
    /// is not: a hardware address, or the hexadecimal form of an address of IPv6.
    pub(crate) fn path(
        &self,
        query: &Query,
        mac: impl Fn() -> Option<MacAddress>,
    ) -> Option<PathBuf> {
        let (mut path, ip) = (String::new(), query.peer.ip().to_canonical());
        for part in &self.0 {
            match (part, ip) {
                (Part::Text(text), _) => path += text,
                (Part::Ip, ip) => path += &ip.to_string(),
                // As PXELINUX and GRUB look for it, and they for no other.
                (Part::HexIp, IpAddr::V4(v4)) => path += &format!("{:08X}", v4.to_bits()),
                (Part::HexIp, IpAddr::V6(_)) => return None,
                (Part::Mac, _) => path += &mac()?.pxelinux(),
            }
        }
        Some(path.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tftpkit::wire::Operation;

    fn place(text: &str) -> Result<Place, String> {
        text.parse()
    }

    #[test]
    fn the_folder_ends_before_the_first_part_that_depends_on_the_client() {
        let split = |text: &str| {
            let place = place(text).expect(text);
            (place.folder.display().to_string(), place.below.is_some())
        };
        assert_eq!(split("/srv/tftp"), ("/srv/tftp".into(), false));
        assert_eq!(split("/srv/tftp/{ip}"), ("/srv/tftp/".into(), true));
        assert_eq!(split("/srv/of-{mac}/boot/{ip}"), ("/srv/".into(), true));
        assert_eq!(split("{ip}"), (".".into(), true));
        for (text, why) in [
            ("", "write a folder"),
            ("/srv/{ip", "a brace has no other"),
            ("/srv/ip}", "a brace has no other"),
            ("/srv/{ip}/../x", "write no '..' behind braces"),
            ("/srv/{IP}", "there is no {IP}: what there is is {ip}, {hexip}, {mac}"),
            ("/srv/{}", "there is no {}: what there is is {ip}, {hexip}, {mac}"),
        ] {
            assert_eq!(place(text), Err(why.into()), "{text}");
        }
    }

    #[test]
    fn clients_are_spelled_as_boot_loaders_spell_them_in_the_names_that_they_ask_for() {
        let path = |text: &str, peer: &str, mac| {
            let template = place(text).expect(text).below.expect("braces");
            let peer = peer.parse().expect("an address");
            let query = Query::new(peer, peer.ip(), Operation::Read, "a");
            template.path(&query, || mac).map(|path| path.display().to_string())
        };
        let mac = Some(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0xab]));
        let v4 = "192.0.2.91:7";
        assert_eq!(path("/x/{ip}", v4, None).as_deref(), Some("192.0.2.91"));
        assert_eq!(path("/x/{hexip}", v4, None).as_deref(), Some("C000025B"));
        assert_eq!(path("/x/{hexip}", "[::ffff:10.0.0.7]:7", None).as_deref(), Some("0A000007"));
        assert_eq!(path("/x/a-{mac}/b", v4, mac).as_deref(), Some("a-01-52-54-00-12-34-ab/b"));
        assert_eq!(path("/x/{ip}-{mac}", v4, None), None);
        let v6 = "[2001:db8::7]:7";
        assert_eq!(path("/x/{ip}", v6, None).as_deref(), Some("2001:db8::7"));
        assert_eq!(path("/x/{hexip}", v6, None), None);
    }
}
