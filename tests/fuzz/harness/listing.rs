//! Listings: what a server of another mind sends is read or refused, and what ours writes is read as it was.

use super::fixtures;
use super::input::Input;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, SystemTime};
use tftpkit::limits;
use tftpkit::store::{Entry, Kind, Listing, ListingError};

/// One of the three forms.
struct Form {
    write: fn(&Listing) -> Vec<u8>,
    read: fn(&[u8]) -> Result<Listing, ListingError>,
    tells_cut: bool,
}

const FORMS: [Form; 3] = [
    Form { write: Listing::to_json, read: Listing::from_json, tells_cut: true },
    Form { write: Listing::to_uefi, read: Listing::from_uefi, tells_cut: false },
    Form { write: Listing::to_text, read: Listing::from_text, tells_cut: true },
];

/// Listings of the names in the fixtures, in each form.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let names: Vec<_> = fixtures::names().into_iter().map(OsString::from).collect();
    let entry = |(n, name): (usize, &OsString)| {
        let (kind, size) =
            if n % 3 == 0 { (Kind::Directory, 0) } else { (Kind::File, n as u64 * 1_000_003) };
        Entry { name: name.clone(), kind, size, modified: moment(n as i64 * 1_000_003) }
    };
    let listings = names.chunks(4).map(|names| {
        let entries = names.iter().enumerate().filter(|(_, name)| listable(name)).map(entry);
        Listing::new(entries.collect(), names.len() == 3)
    });
    listings.flat_map(|listing| FORMS.map(|form| (form.write)(&listing))).collect()
}

pub(super) fn check(bytes: &[u8]) {
    for form in &FORMS {
        if let Ok(listing) = (form.read)(bytes) {
            let harmless = listing.entries.iter().all(|entry| listable(&entry.name));
            assert!(harmless, "{listing:?}");
            for form in &FORMS {
                comes_back(form, &listing);
            }
        }
    }
    let listing = made(&mut Input::new(bytes));
    for form in &FORMS {
        comes_back(form, &listing);
    }
}

/// What a store may list.
fn listable(name: &OsStr) -> bool {
    let control = match name.to_str() {
        Some(text) => text.chars().any(char::is_control),
        None => name.as_bytes().iter().any(u8::is_ascii_control),
    };
    let bytes = name.as_bytes();
    !control && !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/')
}

/// Any listing.
fn made(input: &mut Input<'_>) -> Listing {
    let cut = input.flag();
    let mut entries = Vec::new();
    while !input.is_empty() {
        let shape = input.byte();
        let directory = shape % 2 == 1;
        let size = if directory { 0 } else { input.u64() >> (shape % 64) };
        let modified = moment((input.u64() >> (shape % 32)).cast_signed());
        let name = OsString::from_vec(input.counted().to_vec());
        if listable(&name) {
            let kind = if directory { Kind::Directory } else { Kind::File };
            entries.push(Entry { name, kind, size, modified });
        }
    }
    Listing::new(entries, cut)
}

/// So many seconds after 1970, or before.
fn moment(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if seconds < 0 { epoch.checked_sub(span) } else { epoch.checked_add(span) }.unwrap_or(epoch)
}

fn comes_back(form: &Form, listing: &Listing) {
    let written = (form.write)(listing);
    assert!(written.len() <= limits::LISTING_BYTES, "{} bytes", written.len());
    let read = (form.read)(&written).unwrap_or_else(|why| panic!("{why}: {listing:?}"));
    assert_eq!((form.write)(&read), written, "it is written as it was read");

    let (read_entries, held) = (&read.entries, &listing.entries);
    assert_eq!(read_entries.len(), held.len(), "all is there: no input is so long that it is cut");
    assert_eq!(read.cut, form.tells_cut && listing.cut);
    for (read, held) in read_entries.iter().zip(held) {
        assert_eq!((&read.name, read.kind, read.size), (&held.name, held.kind, held.size));
    }
}
