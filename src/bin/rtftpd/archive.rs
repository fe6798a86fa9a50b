//! The options that make an archive of uploads: what is kept of those before, and where each is stored.

use crate::folders::Cards;
use crate::rules::braced;
use crate::typed::whole;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tftpkit::limits;
use tftpkit::store::UploadName;

#[derive(Debug, clap::Args)]
pub(crate) struct ArchiveArgs {
    /// Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~
    /// and so on, as 'cp --backup=numbered' names them
    #[arg(long, value_name = "N", default_value = "0", env = "RTFTPD_KEEP_VERSIONS",
        value_parser = whole::<u16>(0..=limits::KEPT_VERSIONS.into()))]
    pub(crate) keep_versions: u16,

    /// Store each upload under this name in place of its own, as in '{ip}/{stem}-{date}-{seq}{ext}': there are {name},
    /// {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free;
    /// {ip} and {mac} of the client
    #[arg(long, value_name = "TEMPLATE", env = "RTFTPD_UPLOAD_NAME")]
    pub(crate) upload_name: Option<Template>,
}

impl ArchiveArgs {
    /// Whether it wants to know hardware addresses.
    pub(crate) fn wants_mac(&self) -> bool {
        self.upload_name.as_ref().is_some_and(|name| name.0.contains(&Part::Mac))
    }
}

/// A path with words in braces that stand for an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name,
    Stem,
    Ext,
    Date,
    Time,
    Seq,
    Ip,
    Mac,
}

const WORDS: &[(&str, Part)] = &[
    ("name", Part::Name),
    ("stem", Part::Stem),
    ("ext", Part::Ext),
    ("date", Part::Date),
    ("time", Part::Time),
    ("seq", Part::Seq),
    ("ip", Part::Ip),
    ("mac", Part::Mac),
];

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(
                "write a path below the folder, without '.' and '..', that ends with a name".into(),
            );
        }
        Ok(Self(braced(text, WORDS, Part::Text)?))
    }
}

impl Template {
    /// Where below its folder an upload is stored, unless something is unknown that the template has.
    pub(crate) fn path(&self, upload: &UploadName<'_>, cards: &Cards) -> Option<PathBuf> {
        let last = Path::new(upload.last);
        let at = Timestamp::try_from(upload.at).ok()?.to_zoned(TimeZone::UTC);
        let mut path = OsString::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => path.push(text),
                Part::Name => path.push(last),
                Part::Stem => path.push(last.file_stem()?),
                Part::Ext => {
                    if let Some(ext) = last.extension() {
                        path.push(".");
                        path.push(ext);
                    }
                }
                Part::Date => path.push(at.strftime("%Y%m%d").to_string()),
                Part::Time => path.push(at.strftime("%H%M%S").to_string()),
                Part::Seq => path.push(upload.number.to_string()),
                Part::Ip => path.push(upload.query.peer.ip().to_canonical().to_string()),
                Part::Mac => path.push(cards(upload.query)?.pxelinux()),
            }
        }
        Some(path.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use tftpkit::query::Query;
    use tftpkit::server::MacAddress;
    use tftpkit::wire::Operation;

    #[test]
    fn hardware_addresses_are_asked_for_where_names_have_them_and_nowhere_else() {
        let wants = |template: Option<&str>| {
            let upload_name = template.map(|it| it.parse().expect(it));
            ArchiveArgs { keep_versions: 0, upload_name }.wants_mac()
        };
        assert_eq!(
            [None, Some("{ip}/{name}"), Some("{mac}/{name}")].map(wants),
            [false, false, true]
        );
    }

    #[test]
    fn an_upload_is_named_by_what_is_known_of_it_and_not_at_all_by_what_is_not() {
        let path = |template: &str, last: &str, mac: Option<MacAddress>| {
            let peer = "[::ffff:192.0.2.7]:2000".parse().expect("an address");
            let query = Query::new(peer, [192, 0, 2, 1].into(), Operation::Write, "dir/x");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let upload = UploadName::new(&query, OsStr::new(last), at, 3);
            let template: Template = template.parse().expect(template);
            let path = template.path(&upload, &(Arc::new(move |_: &Query| mac) as Cards));
            path.map(|path| path.display().to_string())
        };
        let dated = "{stem}-{date}-{time}-{seq}{ext}";
        assert_eq!(path(dated, "sw.cfg", None).as_deref(), Some("sw-20231114-221320-3.cfg"));
        assert_eq!(path(dated, "startup", None).as_deref(), Some("startup-20231114-221320-3"));
        assert_eq!(path("{stem}+{ext}", ".cfg", None).as_deref(), Some(".cfg+"));
        assert_eq!(path("{ip}/{name}", "sw.cfg", None).as_deref(), Some("192.0.2.7/sw.cfg"));
        assert_eq!(
            path("{name}", "{seq}", None).as_deref(),
            Some("{seq}"),
            "nothing is read twice"
        );
        let mac = Some(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0xab]));
        assert_eq!(path("{mac}", "x", mac).as_deref(), Some("01-52-54-00-12-34-ab"));
        assert_eq!(path("{mac}", "x", None), None);
    }

    #[test]
    fn a_template_is_a_path_below_the_folder() {
        for wrong in [
            "",
            "/{name}",
            "../{name}",
            "{ip}/",
            "{name",
            "{nam}",
            "a/../{name}",
            "./{name}",
            "a//{name}",
        ] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }
}
