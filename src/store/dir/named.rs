//! Where a folder stores an upload whose name is made.

use super::Folder;
use crate::query::Query;
use crate::store::disk::Directory as _;
use crate::store::naming::Named;
use crate::store::{StoreError, Uploads};
use std::path::PathBuf;

impl Folder {
    /// Where below the folder an upload would be stored now, if that is [made](Self::upload_names) of what is known of it, and
    /// not the name that `query` asks for.
    pub fn stored_as(&self, query: &Query) -> Result<Option<PathBuf>, StoreError> {
        let named = self.name_of(query)?;
        Ok(named.map(|named| self.place_of(query).unwrap_or_default().join(named.path())))
    }

    /// The name of an upload, where it is made.
    pub(super) fn name_of(&self, query: &Query) -> Result<Option<Named>, StoreError> {
        let Some(names) = self.names.as_ref().filter(|_| self.rules.uploads != Uploads::Off) else {
            return Ok(None);
        };
        let root = self.root.now(&self.rules.notices)?;
        let place = self.place_of(query).ok_or_else(StoreError::no_such_directory)?;
        let named = names.name(query, (root.identity, &place), |path| {
            match root.dir.look(path, self.rules.how).map_err(StoreError::from) {
                Err(StoreError::NotFound) => Ok(false),
                found => found.map(|_| true),
            }
        })?;
        Ok(Some(named))
    }

    /// The client's own directory below the folder, if it has one.
    fn place_of(&self, query: &Query) -> Option<PathBuf> {
        self.below.as_ref().map_or_else(|| Some(PathBuf::new()), |below| below.of(query))
    }
}
