//! What to do about what failed.

use crate::report::{Unresolved, failure, is_full};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::{Ipv6Addr, SocketAddr};
use tftpkit::client::{Failure, TFTP_PORT};
use tftpkit::store::StoreError;
use tftpkit::wire::ErrorCode;

/// Where the advice is read, and followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    CommandLine,
    Menu,
    /// The menu of a server that is known not to list.
    MenuWithoutLists,
}

/// Gives advice, each piece of it once: of several files that fail in one way it holds for all.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    place: Cell<Place>,
    given: RefCell<HashSet<String>>,
}

impl Advice {
    /// What can be done about an error, unless that was said.
    pub(crate) fn about(&self, operation: &str, error: &anyhow::Error) -> Option<String> {
        let advice = advice(operation, self.place.get(), error)?;
        self.given.borrow_mut().insert(advice.clone()).then_some(advice)
    }

    /// From now on it is read there.
    pub(crate) fn at(&self, place: Place) {
        self.place.set(place);
    }

    /// What was said may be said again.
    pub(crate) fn anew(&self) {
        self.given.borrow_mut().clear();
    }
}

/// What the user can do about it there.
fn advice(operation: &str, place: Place, error: &anyhow::Error) -> Option<String> {
    const SLOW: &str =
        "A device that erases or checks its flash may need longer: --timeout 20 --retries 10.";
    let is_put = matches!(operation, "put" | "upload");
    Some(match failure(error) {
        Some(Failure::NoAnswer(at) | Failure::Closed(at)) if meant_port(*at).is_some() => {
            format!("Is the port meant? Then it is {}.", meant_port(*at)?)
        }
        Some(Failure::Server { code: ErrorCode::NotFound, .. }) if is_put => {
            "The directory must be there (rtftpd makes it with --create-dirs), and the file where new ones are \
             not taken (tftpd-hpa: --create)."
                .into()
        }
        Some(Failure::Server { code: ErrorCode::NotFound, .. }) if place != Place::CommandLine => {
            match place {
                Place::MenuWithoutLists => {
                    "This server offers no list of its names; they are case-sensitive."
                }
                _ => "'list' shows what is there; names are case-sensitive.",
            }
            .into()
        }
        Some(Failure::Server { code: ErrorCode::IllegalOperation, .. }) if is_put => {
            "This server seems to take no uploads.".into()
        }
        Some(Failure::Server { code, message }) if is_put && is_denied(*code, message) => {
            "The server may take no such file, or none at all; rtftpd takes uploads with --uploads.".into()
        }
        Some(Failure::NoListing) => {
            let get = match place {
                Place::CommandLine => "rtftp get HOST FILE",
                Place::Menu | Place::MenuWithoutLists => "download NAME",
            };
            format!("'{get}' gets a file whose name you know.")
        }
        Some(Failure::Blocks { fits: Some(size), .. }) => {
            format!("Larger blocks are fewer: --blksize {}.", size.get())
        }
        Some(Failure::Blocks { fits: None, .. }) => {
            "No block is large enough for this file: split it, or take another server.".into()
        }
        Some(Failure::NoAnswer(_) | Failure::Unconfirmed | Failure::BrokenOff(..)) if is_put => {
            format!("{}\n  {SLOW}", usual_advice(error)?)
        }
        None if !is_put && is_forbidden(error) => match place {
            Place::CommandLine => "No file can be made there: '-o FOLDER/' takes another folder.",
            _ => "No file can be made there: 'download NAME FOLDER/' takes another folder.",
        }
        .into(),
        _ => usual_advice(error)?.into(),
    })
}

/// Whether this machine does not let its user write there.
fn is_forbidden(error: &anyhow::Error) -> bool {
    let is_forbidden = |error: &StoreError| error.code() == ErrorCode::AccessViolation;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_forbidden))
}

/// The address that is meant where the last part of one without brackets looks like a port, as in `::1:6969`.
fn meant_port(at: SocketAddr) -> Option<String> {
    let text = at.ip().to_string();
    let (address, port) = text.rsplit_once(':').filter(|_| at.port() == TFTP_PORT)?;
    let is_port = port.len() > 2 && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && address.parse::<Ipv6Addr>().is_ok()).then(|| format!("[{address}]:{port}"))
}

fn usual_advice(error: &anyhow::Error) -> Option<&'static str> {
    const ROOM: &str = "Make room on this machine.";
    const SILENT: &str =
        "Is the name right, does a TFTP server run there, and is its UDP port open on the way?";
    Some(match failure(error) {
        None if error.is::<Unresolved>() => {
            "Is the name right, and does the DNS or /etc/hosts of this machine know it?"
        }
        None if is_full(error) => ROOM,
        Some(Failure::NoAnswer(_) | Failure::Closed(_)) => SILENT,
        Some(Failure::BrokenOff(..)) => {
            "It did answer before: try again, where packets are lost with a smaller --windowsize."
        }
        Some(Failure::Unconfirmed) => "Get the file back and compare it, or put it again.",
        Some(Failure::Local { disk_full: true, .. }) => ROOM,
        Some(Failure::Server { code, message }) => match code {
            ErrorCode::NotFound => {
                "'rtftp list HOST' shows what is there; names are case-sensitive."
            }
            code if is_denied(*code, message) => {
                "It may be a directory, or a file that the server's user may not open."
            }
            ErrorCode::FileExists => {
                "Take another name; rtftpd replaces files with --uploads overwrite."
            }
            ErrorCode::DiskFull => "Make room on the server, or allow larger uploads there.",
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether it is about rights: tftpd-hpa has no code for them in most places, and says so in words.
fn is_denied(code: ErrorCode, message: &str) -> bool {
    let says_so = || message.to_lowercase().contains("permission denied");
    code == ErrorCode::AccessViolation || (code == ErrorCode::Undefined && says_so())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_that_is_not_answered_is_told_how_to_wait_longer() {
        let at = ([127, 0, 0, 1], 69).into();
        for failure in [Failure::NoAnswer(at), Failure::Unconfirmed, Failure::BrokenOff(at, 9)] {
            let error = anyhow::Error::from(failure);
            let tells = |operation| {
                advice(operation, Place::CommandLine, &error)
                    .expect("advice")
                    .contains("--timeout 20")
            };
            assert_eq!(["put", "upload", "get"].map(tells), [true, true, false], "{error}");
        }
    }

    #[test]
    fn a_port_that_became_a_part_of_an_address_is_told() {
        let told = |at: &str| {
            let at = at.parse().expect("an address");
            let of = |failure: Failure| advice("list", Place::CommandLine, &failure.into());
            let [closed, silent] = [of(Failure::Closed(at)), of(Failure::NoAnswer(at))];
            assert_eq!(closed, silent, "the same is wrong where nobody says that it is closed");
            closed.expect("advice")
        };
        assert_eq!(told("[::1:6969]:69"), "Is the port meant? Then it is [::1]:6969.");
        assert_eq!(
            told("[2001:db8::1:6969]:69"),
            "Is the port meant? Then it is [2001:db8::1]:6969."
        );
        for plain in
            ["[::1]:69", "[::1:6969]:70", "[2001:db8::1:12]:69", "[::1:a969]:69", "127.0.0.1:69"]
        {
            assert!(told(plain).starts_with("Is the name right"), "{plain}");
        }
        let absent = Failure::Server { code: ErrorCode::NotFound, message: String::new() };
        let absent = absent.into();
        for operation in ["download", "list", "cd"] {
            let told = advice(operation, Place::Menu, &absent).expect("advice");
            assert!(told.starts_with("'list' shows"), "{operation}: {told}");
            let told = advice(operation, Place::MenuWithoutLists, &absent).expect("advice");
            assert!(told.starts_with("This server offers no list"), "{operation}: {told}");
        }
        let told = advice("get", Place::CommandLine, &absent).expect("advice");
        assert!(told.starts_with("'rtftp list HOST' shows"), "{told}");
        let no_listing = advice("list", Place::Menu, &Failure::NoListing.into()).expect("advice");
        assert!(no_listing.starts_with("'download NAME' gets"), "{no_listing}");
    }

    #[test]
    fn what_a_server_refuses_is_told_with_what_it_may_want() {
        use ErrorCode as E;
        let told = |operation, code, message: &str| {
            let refused = Failure::Server { code, message: message.into() }.into();
            advice(operation, Place::CommandLine, &refused).unwrap_or_default()
        };
        for operation in ["put", "upload"] {
            let told = |code, message| told(operation, code, message);
            assert!(told(E::NotFound, "").contains("with --create-dirs)"));
            assert!(told(E::AccessViolation, "").ends_with("with --uploads."));
            assert!(told(E::Undefined, "Permission denied").ends_with("with --uploads."));
            assert_eq!(told(E::IllegalOperation, ""), "This server seems to take no uploads.");
            // A device's own words are enough.
            assert_eq!(told(E::Undefined, "the image is too large"), "");
        }
        assert!(told("get", E::Undefined, "Permission denied").contains("may not open."));
        assert_eq!(told("get", E::IllegalOperation, ""), "");
    }

    #[test]
    fn each_piece_of_advice_is_given_once() {
        let (given, full) =
            (Advice::default(), || Failure::Local { error: "x".into(), disk_full: true }.into());
        assert!(given.about("get", &full()).is_some() && given.about("get", &full()).is_none());
        let absent = Failure::Server { code: ErrorCode::NotFound, message: String::new() }.into();
        assert!(given.about("get", &absent).is_some(), "this is another");
        given.anew();
        assert!(given.about("get", &full()).is_some());
    }
}
