//! Files that are made when they are asked for.

use super::{Readable, Store, StoreError};
use crate::query::Query;

/// A store whose files are made by a function of the query: a configuration for each client, for example.
///
/// ```
/// use tftpkit::store::{Generated, Readable, StoreError};
///
/// let store = Generated::new(|query| match query.path()?.path().to_str() {
///     Some("hostname.cfg") => Ok(Readable::bytes(format!("hostname {}\n", query.peer.ip()))),
///     _ => Err(StoreError::NotFound),
/// });
/// # let _ = store;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Generated<F> {
    make: F,
    may_wait: bool,
}

impl<F> Generated<F>
where
    F: Fn(&Query) -> Result<Readable, StoreError> + Send + Sync,
{
    /// Serves what `make` makes of a query. It may wait, for a database or another server.
    pub const fn new(make: F) -> Self {
        Self { make, may_wait: true }
    }

    /// Serves what `make` makes of a query, which never waits: it is called right where requests are taken.
    pub const fn at_once(make: F) -> Self {
        Self { make, may_wait: false }
    }
}

impl<F> Store for Generated<F>
where
    F: Fn(&Query) -> Result<Readable, StoreError> + Send + Sync,
{
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        (self.make)(query)
    }

    fn may_wait(&self, _: &Query) -> bool {
        self.may_wait
    }
}
