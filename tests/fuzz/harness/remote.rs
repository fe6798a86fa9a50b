//! Servers and files as people type them: read or refused, and read again as they are shown.

use super::fixtures;
use tftpkit::client::{Host, Remote, RemoteError};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let forms = [
        "sw1",
        "sw1:",
        "sw1:6969",
        "sw1:boot/a.img",
        "sw1:/abs",
        "sw1:a:b",
        "./a:b",
        "::1",
        "[::1]",
        "[::1]:6969",
        "[fe80::1%eth0]:x",
        "tftp://sw1",
        "TFTP://sw1:7/a%20b/c;mode=netascii",
        "tftp://[::1]:7/x%ff;mode=octet",
        "tftp://h/a;mode=mail",
        "http://h/a",
        "h:0",
        "h:65536",
        "[::1",
        "tftp://h/%4",
        "tftp://h/%+1",
        "tftp://h/%00",
        "\u{1f600}:\u{1f600}",
    ];
    let names = fixtures::names();
    let forms = forms.iter().map(|form| (*form).to_owned());
    let plain = names.iter().map(|name| format!("h:{name}"));
    let urls = names.iter().map(|name| format!("tftp://h/{}", encoded(name.as_bytes())));
    forms.chain(plain).chain(urls).map(String::into_bytes).collect()
}

pub(super) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Host>() {
        Ok(host) => sound(&host),
        Err(why) => refused(text, &why),
    }
    match text.parse::<Remote>() {
        Ok(remote) => {
            sound(&remote.host);
            assert!(!remote.name.contains(&0), "no request can hold it");
            let mode = remote.mode.map(|mode| format!(";mode={}", mode.name())).unwrap_or_default();
            // The percent sign before an interface is escaped in a URL.
            let host = remote.host.to_string().replacen('%', "%25", 1);
            let url = format!("tftp://{host}/{}{mode}", encoded(&remote.name));
            assert_eq!(url.parse().as_ref(), Ok(&remote), "{url}");
            let shown = remote.to_string();
            assert_eq!(shown.parse(), Ok(remote), "{shown}");
        }
        Err(why) => refused(text, &why),
    }
}

fn sound(host: &Host) {
    assert!(!host.host.is_empty() && host.port != 0, "{host:?}");
    assert_eq!(host.to_string().parse().as_ref(), Ok(host), "it is read as it is shown");
}

/// Who typed it is told what is wrong with it.
fn refused(text: &str, why: &RemoteError) {
    let right = match why {
        RemoteError::Scheme(_) => text.contains("://"),
        RemoteError::Bracket(_) => text.contains('['),
        RemoteError::Percent(_) => text.contains('%'),
        RemoteError::Mode(_) => text.contains(";mode="),
        RemoteError::Nul(_) => text.contains("%00") || text.contains('\0'),
        RemoteError::Port(_) => text.contains(':'),
        _ => true,
    };
    assert!(right, "{text}: {why}");
}

/// A name as it stands in a URL.
fn encoded(name: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.iter().map(one).collect()
}
