//! From a query to what is sent or where it is written: a file, a listing, an upload.

use super::guard::{Guarded, Panicked, guard};
use super::policy::{DropReason, Profile, Refusal};
use crate::net::Waiting;
use crate::query::Query;
use crate::store::{Readable, RootedPath, Store, StoreError, is_shortage};
use crate::transfer::{Sink, Source};
use crate::wire::{ErrorCode, Filename, ListFormat, Mode, Operation};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

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

impl From<Panicked> for Unserved {
    fn from(panicked: Panicked) -> Self {
        StoreError::Io(panicked.into()).into()
    }
}

/// What may have to be waited for when what `query` is about is opened.
pub(super) fn waiting(store: &dyn Store, query: &Query, profile: &Profile) -> Option<Waiting> {
    let is_listed = || {
        let path = query.path();
        path.is_ok_and(|path| path.is_directory() || profile.listed_directory(&path).is_some())
    };
    match query.operation {
        Operation::List => Some(Waiting::Listing),
        Operation::Read if is_listed() => Some(Waiting::Listing),
        Operation::Read => {
            guard(|| store.may_wait(query)).unwrap_or(true).then_some(Waiting::Reading)
        }
        Operation::Write => Some(Waiting::Writing),
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
    let listed = profile.listed_directory(&path);
    match (query.operation, listed) {
        (Operation::Read, None) if path.is_directory() => read_directory(store, query, profile),
        (Operation::Read, listed) => read(store, query, profile, listed.as_ref()),
        (Operation::Write, Some(_)) => {
            Err(StoreError::reserved_name("the name of the generated listing").into())
        }
        (Operation::Write, None) => {
            let sink = ask(|| store.write(query))?;
            Ok(Payload::Sink(Box::new(Guarded::new(sink))))
        }
        (Operation::List, _) if profile.listing.is_none() => {
            Err(StoreError::refused(ErrorCode::IllegalOperation, "listings are off").into())
        }
        (Operation::List, _) if query.mode != Mode::Octet => {
            let why = "a listing travels in octet mode";
            Err(StoreError::refused(ErrorCode::IllegalOperation, why).into())
        }
        (Operation::List, _) => {
            list(store, query, profile, query.list_format().map_or(Form::Uefi, Form::from))
        }
    }
}

/// Opens a file, or makes up the listing that has its name.
fn read(
    store: &dyn Store,
    query: &Query,
    profile: &Profile,
    listed: Option<&RootedPath>,
) -> Result<Payload, Unserved> {
    let found = ask(|| match (store.read(query), listed) {
        (Err(error), Some(_)) if error.code() == ErrorCode::NotFound => Ok(None),
        (found, _) => found.map(Some),
    });
    match (found?, listed) {
        (None, Some(directory)) => {
            let directory = directory.path().as_os_str().as_bytes();
            list(store, &query.for_list(directory), profile, Form::Text)
        }
        (file, _) => file.map(Payload::of).ok_or_else(|| StoreError::NotFound.into()),
    }
}

/// Lists the directory that a name with a slash at its end means, unless the store has a file of that name.
fn read_directory(
    store: &dyn Store,
    query: &Query,
    profile: &Profile,
) -> Result<Payload, Unserved> {
    let read = ask(|| store.read(query)).map(Payload::of);
    if profile.listing.is_none() || read.is_ok() {
        return read;
    }
    match list(store, &query.for_list(query.name.clone()), profile, Form::Text) {
        Err(Unserved::Refused(refusal)) if refusal.code == ErrorCode::NotFound => read,
        listed => listed,
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
