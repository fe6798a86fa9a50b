//! Which names a client's listings have.

use crate::store::{Kind, Listing};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Says which names are in a client's listings. Two are equal if they are the same one.
#[derive(Clone)]
pub struct Shown(Arc<Test>);

type Test = dyn Fn(&Path, Kind) -> bool + Send + Sync;

impl Shown {
    /// Those that pass this test, each with the directory that is listed in front. It is called up to 10,000 times for a
    /// listing.
    pub fn new(test: impl Fn(&Path, Kind) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(test))
    }

    /// Those that are in both.
    pub(super) fn and(self, other: Self) -> Self {
        Self::new(move |path, kind| (self.0)(path, kind) && (other.0)(path, kind))
    }

    /// Takes all others out of the listing of this directory.
    pub fn filter(&self, directory: &Path, listing: &mut Listing) {
        listing.entries.retain(|entry| (self.0)(&directory.join(&entry.name), entry.kind));
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_equal_to_itself_alone() {
        let shown = Shown::new(|_, _| true);
        assert_eq!(shown, shown.clone());
        assert_ne!(shown, Shown::new(|_, _| true), "nobody can tell that they mean the same");
    }
}
