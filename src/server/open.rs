//! From a query to what is sent or where it is written: a file, a listing, an upload.

use super::guard::{Guarded, Panicked, guard};
use super::policy::{DropReason, Profile, Refusal};
use crate::net::Waiting;
use crate::query::Query;
use crate::store::{Readable, Store, StoreError, is_shortage};
use crate::transfer::{Sink, Source};
use crate::wire::{ErrorCode, Filename, ListFormat, Mode, Operation};
use std::io::ErrorKind;

/// What a query turned out to be about.
pub(super) enum Payload {
    /// It is to be sent.
    Source {
        source: Box<dyn Source>,
        /// Its length in bytes, where that is known.
        size: Option<u64>,
        /// How many of its bytes are in memory.
        held: usize,
        /// The name under which the store has it, where that is not the one it was asked for.
        name: Option<Filename>,
    },
    /// It is to be received.
    Sink(Box<dyn Sink>),
}

/// Why a query gets no transfer.
pub(super) enum Unserved {
    /// It is answered with an ERROR.
    Refused(Refusal),
    /// It is not answered, as wherever there is no room, so that the client asks again.
    Dropped(DropReason),
}

impl From<StoreError> for Unserved {
    fn from(error: StoreError) -> Self {
        let passing = match &error {
            StoreError::Io(error) if is_shortage(error) => DropReason::of(error),
            // The attempt to open it has told its holder.
            StoreError::Io(error) if error.kind() == ErrorKind::WouldBlock => {
                Some(DropReason::Leased)
            }
            _ => None,
        };
        passing.map_or_else(|| Self::Refused(error.into()), Self::Dropped)
    }
}

impl Unserved {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == ErrorCode::NotFound)
    }
}

impl From<Panicked> for Unserved {
    fn from(panicked: Panicked) -> Self {
        StoreError::Io(panicked.into()).into()
    }
}

/// What may have to be waited for when what `query` is about is opened.
pub(super) fn waiting(store: &dyn Store, query: &Query, profile: &Profile) -> Option<Waiting> {
    match query.operation {
        _ if profile.lists(query).is_some() => Some(Waiting::Listing),
        Operation::Read => {
            guard(|| store.may_wait(query)).unwrap_or(true).then_some(Waiting::Reading)
        }
        Operation::Write => Some(Waiting::Writing),
        // It is refused.
        Operation::List => None,
    }
}

/// Opens what `query` is about.
pub(super) fn open(
    store: &dyn Store,
    query: &Query,
    profile: &Profile,
) -> Result<Payload, Unserved> {
    // Whatever the store is, no name leaves its root.
    let path = query.path()?;
    match query.operation {
        Operation::Read => read(store, query, profile, path.is_directory()),
        Operation::Write if profile.listed_directory(&path).is_some() => {
            Err(StoreError::reserved_name("the name of the generated listing").into())
        }
        Operation::Write => {
            let sink = ask(|| store.write(query))?;
            Ok(Payload::Sink(Box::new(Guarded::new(sink))))
        }
        Operation::List if profile.listing.is_none() => {
            Err(StoreError::refused(ErrorCode::IllegalOperation, "listings are off").into())
        }
        Operation::List if query.mode != Mode::Octet => {
            let why = "a listing travels in octet mode";
            Err(StoreError::refused(ErrorCode::IllegalOperation, why).into())
        }
        Operation::List => {
            list(store, query, profile, query.list_format().map_or(Form::Uefi, Form::from))
        }
    }
}

/// Opens a file, or makes up the listing that is read by its name.
fn read(
    store: &dyn Store,
    query: &Query,
    profile: &Profile,
    is_directory: bool,
) -> Result<Payload, Unserved> {
    let read = ask(|| store.read(query)).map(Payload::of);
    let Some(directory) = profile.lists(query) else { return read };
    match read {
        // Stores differ in what they say to who reads a directory.
        Err(unserved) if is_directory || unserved.is_missing() => {
            match list(store, &directory, profile, Form::Text) {
                Err(listed) if is_directory && listed.is_missing() => Err(unserved),
                listed => listed,
            }
        }
        read => read,
    }
}

/// Asks a store. The words of its error are its own code, too.
fn ask<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, Unserved> {
    guard(|| call().map_err(Unserved::from))?
}

/// The form of a list on its way.
enum Form {
    Uefi,
    Json,
    Text,
}

impl From<ListFormat> for Form {
    fn from(format: ListFormat) -> Self {
        match format {
            ListFormat::Json => Self::Json,
        }
    }
}

fn list(
    store: &dyn Store,
    query: &Query,
    profile: &Profile,
    form: Form,
) -> Result<Payload, Unserved> {
    let listing = ask(|| {
        let mut listing = store.list(query)?;
        if let Some(shown) = &profile.shown {
            shown.filter(query.path()?.path(), &mut listing);
        }
        Ok(listing)
    })?;
    Ok(Payload::of(Readable::bytes(match form {
        Form::Uefi => listing.to_uefi(),
        Form::Json => listing.to_json(),
        Form::Text => listing.to_text(),
    })))
}

impl Payload {
    fn of(file: Readable) -> Self {
        let name = file.found_name().cloned();
        let (source, size, held) = file.into_parts();
        Self::Source { source: Box::new(Guarded::new(source)), size, held, name }
    }

    /// The name under which the store has it, where that is not the one it was asked for.
    pub(super) const fn name(&self) -> Option<&Filename> {
        match self {
            Self::Source { name, .. } => name.as_ref(),
            Self::Sink(_) => None,
        }
    }

    /// How many bytes there are to send, where that is known.
    pub(super) const fn size(&self) -> Option<u64> {
        match self {
            Self::Source { size, .. } => *size,
            Self::Sink(_) => None,
        }
    }

    /// How many bytes it has in memory.
    pub(super) const fn held(&self) -> usize {
        match self {
            Self::Source { held, .. } => *held,
            Self::Sink(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Listing;
    use std::io;

    #[test]
    fn what_will_pass_is_not_answered_and_all_else_is_refused() {
        let of = |kind: ErrorKind| match Unserved::from(StoreError::Io(io::Error::from(kind))) {
            Unserved::Dropped(reason) => Some(reason),
            Unserved::Refused(_) => None,
        };
        assert_eq!(
            of(ErrorKind::WouldBlock),
            Some(DropReason::Leased),
            "another has a lease on it"
        );
        assert_eq!(of(ErrorKind::OutOfMemory), Some(DropReason::NoMemory));
        let full = StoreError::Io(io::Error::from_raw_os_error(nix::libc::EMFILE));
        assert!(matches!(Unserved::from(full), Unserved::Dropped(DropReason::NoDescriptor)));
        assert_eq!(of(ErrorKind::PermissionDenied), None);
    }

    /// One that has a directory whose list is refused so, if it is.
    struct Closed(fn() -> StoreError);

    impl Store for Closed {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::is_a_directory())
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Err((self.0)())
        }

        fn may_wait(&self, _: &Query) -> bool {
            false
        }
    }

    #[test]
    fn why_a_directory_is_not_listed_is_told_unless_it_is_none() {
        let (peer, local) = (([192, 0, 2, 7], 2000).into(), [127, 0, 0, 1].into());
        let query = Query::new(peer, local, Operation::Read, "d/");
        let told = |why| match open(&Closed(why), &query, &Profile::default()) {
            Err(Unserved::Refused(refusal)) => refusal.text,
            _ => panic!("it is not served"),
        };
        let closed = || StoreError::refused(ErrorCode::AccessViolation, "no permission");
        assert_eq!(told(closed), "no permission");
        assert_eq!(told(|| StoreError::NotFound), "is a directory");
    }

    /// One that panics, or tells whether it may wait.
    struct Waits(Option<bool>);

    impl Store for Waits {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::NotFound)
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Ok(Listing::default())
        }

        fn may_wait(&self, _: &Query) -> bool {
            self.0.expect("a store that panics")
        }
    }

    fn asked(operation: Operation, name: &str) -> Query {
        Query::new(([192, 0, 2, 7], 2000).into(), [127, 0, 0, 1].into(), operation, name)
    }

    #[test]
    fn what_is_waited_for_is_what_is_asked_for_and_no_loop_waits_for_a_store_that_cannot_tell() {
        let (standard, none) = (Profile::default(), Profile::default().no_listing());
        for (profile, operation, name, waits, expected) in [
            (&standard, Operation::Read, "f", Some(false), None),
            (&standard, Operation::Read, "f", Some(true), Some(Waiting::Reading)),
            (&standard, Operation::Read, "f", None, Some(Waiting::Reading)),
            (&standard, Operation::Read, ".list", Some(false), Some(Waiting::Listing)),
            (&none, Operation::Read, ".list", Some(false), None),
            (&standard, Operation::Write, "f", Some(false), Some(Waiting::Writing)),
            (&standard, Operation::List, "", Some(false), Some(Waiting::Listing)),
            (&none, Operation::List, "", Some(true), None),
        ] {
            let waiting = waiting(&Waits(waits), &asked(operation, name), profile);
            assert_eq!(waiting, expected, "{operation} \"{name}\", which may wait: {waits:?}");
        }
    }

    #[test]
    fn a_list_is_refused_where_there_are_none_and_where_its_lines_would_be_changed() {
        let netascii = Query { mode: Mode::Netascii, ..asked(Operation::List, "") };
        let of = |query: &Query, profile: &Profile| match open(&Waits(None), query, profile) {
            Ok(_) => "served".into(),
            Err(Unserved::Refused(refusal)) => refusal.text.into_owned(),
            Err(Unserved::Dropped(reason)) => reason.to_string(),
        };
        let (standard, none) = (Profile::default(), Profile::default().no_listing());
        assert_eq!(of(&asked(Operation::List, ""), &standard), "served");
        assert_eq!(of(&netascii, &standard), "a listing travels in octet mode");
        assert_eq!(of(&asked(Operation::List, ""), &none), "listings are off");
    }

    /// One that has a file with the name of the listing, which may not be read, and lists.
    struct Kept;

    impl Store for Kept {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::refused(ErrorCode::AccessViolation, "not for you"))
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Ok(Listing::default())
        }

        fn may_wait(&self, _: &Query) -> bool {
            false
        }
    }

    #[test]
    fn a_file_with_the_name_of_the_listing_that_may_not_be_read_is_no_listing() {
        let (peer, local) = (([192, 0, 2, 7], 2000).into(), [127, 0, 0, 1].into());
        let told = |name: &str| {
            let query = Query::new(peer, local, Operation::Read, name);
            match open(&Kept, &query, &Profile::default()) {
                Err(Unserved::Refused(refusal)) => refusal.text,
                Err(Unserved::Dropped(reason)) => reason.to_string().into(),
                Ok(_) => "served".into(),
            }
        };
        assert_eq!(["d/.list", "d/"].map(told), ["not for you", "served"]);
    }
}
