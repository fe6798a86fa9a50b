//! Several stores as one, each of which is asked in turn.

use super::{Listing, Readable, Store, StoreError};
use crate::limits;
use crate::query::Query;
use crate::transfer::Sink;
use crate::wire::ErrorCode;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Several stores as one. A file is read from the first that has it, and a listing has what all of them have; the first of
/// all is the one that takes uploads.
#[derive(Clone)]
pub struct InOrder(Vec<Arc<dyn Store>>);

impl InOrder {
    /// These stores, in the order in which they are asked.
    pub fn new(stores: impl IntoIterator<Item = Arc<dyn Store>>) -> Self {
        Self(stores.into_iter().collect())
    }

    /// What the first store gives that does not say that it has no such thing. What the very first says of that is told.
    fn first<T>(&self, ask: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut missing = None;
        for store in &self.0 {
            match ask(&**store) {
                Err(error) if error.code() == ErrorCode::NotFound => {
                    missing.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(missing.unwrap_or(StoreError::NotFound))
    }
}

impl Store for InOrder {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        self.first(|store| store.read(query))
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        self.0.first().ok_or_else(StoreError::uploads_off)?.write(query)
    }

    fn list(&self, query: &Query) -> Result<Listing, StoreError> {
        let (mut entries, mut cut, mut missing, mut is_there) =
            (BTreeMap::new(), false, None, false);
        for store in &self.0 {
            match store.list(query) {
                Ok(listing) => {
                    (is_there, cut) = (true, cut || listing.cut);
                    for entry in listing.entries {
                        entries.entry(entry.name.clone()).or_insert(entry);
                    }
                }
                Err(error) if error.code() == ErrorCode::NotFound => {
                    missing.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if !is_there {
            return Err(missing.unwrap_or(StoreError::NotFound));
        }
        let cut = cut || entries.len() > limits::LISTING_ENTRIES;
        Ok(Listing::new(entries.into_values().take(limits::LISTING_ENTRIES).collect(), cut))
    }

    fn may_wait(&self, query: &Query) -> bool {
        self.0.iter().any(|store| store.may_wait(query))
    }

    fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        self.0.iter().find_map(|store| store.inside(path))
    }
}

impl fmt::Debug for InOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder").field("stores", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{InMemory, Uploads};
    use crate::wire::Operation;

    fn query(operation: Operation, name: &str) -> Query {
        Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), operation, name)
    }

    fn store(files: &[(&str, usize)]) -> InMemory {
        let store = InMemory::new();
        for (name, len) in files {
            store.insert(name, vec![0; *len]).expect("a file");
        }
        store
    }

    fn shared(store: impl Store + 'static) -> Arc<dyn Store> {
        Arc::new(store)
    }

    #[test]
    fn the_first_store_that_has_a_file_serves_it() {
        let both = InOrder::new([
            shared(store(&[("a", 1), ("d/f", 1)])),
            shared(store(&[("a", 2), ("b", 2), ("d", 2)])),
        ]);
        let size = |name| both.read(&query(Operation::Read, name)).map(|file| file.known_size());
        assert_eq!([size("a").ok(), size("b").ok()], [Some(Some(1)), Some(Some(2))]);
        assert!(matches!(size("c"), Err(StoreError::NotFound)));
        // What the first refuses no other is asked for.
        assert_eq!(size("d").map_err(|error| error.text()), Err("is a directory"));
        assert!(matches!(
            InOrder::new([]).read(&query(Operation::Read, "a")),
            Err(StoreError::NotFound)
        ));
    }

    #[test]
    fn a_listing_has_what_all_have_and_each_name_once() {
        let both = InOrder::new([
            shared(store(&[("d/a", 1), ("x", 1)])),
            shared(store(&[("d/a", 2), ("d/b", 2), ("e/c", 3)])),
        ]);
        let listed = |name| {
            let listing = both.list(&query(Operation::List, name))?;
            let seen = listing.entries.iter().map(|entry| (entry.name.clone(), entry.size));
            Ok::<_, StoreError>((seen.collect::<Vec<_>>(), listing.cut))
        };
        assert_eq!(listed("d").expect("a list"), (vec![("a".into(), 1), ("b".into(), 2)], false));
        assert_eq!(listed("e").expect("the other's"), (vec![("c".into(), 3)], false));
        assert_eq!(listed("no").map_err(|error| error.text()), Err("no such directory"));
        // What one refuses is refused, and not only missing there.
        assert_eq!(listed("../d").map_err(|error| error.text()), Err("outside the folder"));
    }

    /// One whose disk is broken.
    struct Broken;

    impl Store for Broken {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::denied("broken"))
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Err(StoreError::denied("broken"))
        }
    }

    #[test]
    fn a_listing_of_which_a_part_cannot_be_had_is_none_whichever_part_it_is() {
        let good = || shared(store(&[("d/a", 1)]));
        for stores in [[good(), shared(Broken)], [shared(Broken), good()]] {
            let listed = InOrder::new(stores).list(&query(Operation::List, "d"));
            listed.expect_err("nobody would see that names are missing");
        }
    }

    #[test]
    fn the_listing_of_several_is_no_longer_than_that_of_one_and_says_so() {
        let (all, half) = (limits::LISTING_ENTRIES, limits::LISTING_ENTRIES / 2);
        let of_both = [(half, half, false), (half, half + 1, true)];
        // One that is cut itself, whichever it is.
        let of_one = [(all + 1, 0, true), (0, all + 1, true)];
        for (first, second, cut) in of_both.into_iter().chain(of_one) {
            let named = |letter: char, count| {
                let store = InMemory::new().most_bytes(usize::MAX);
                for n in 0..count {
                    store.insert(format!("{letter}{n}"), &b""[..]).expect("a file");
                }
                shared(store)
            };
            let both = InOrder::new([named('a', first), named('b', second)]);
            let listing = both.list(&query(Operation::List, "")).expect("a list");
            assert_eq!((listing.entries.len(), listing.cut), (all, cut), "{first} and {second}");
        }
    }

    /// One that has nothing and says so in its own words, may wait, and is known by its path.
    struct Far(&'static str);

    impl Store for Far {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::refused(ErrorCode::NotFound, self.0))
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            Err(StoreError::refused(ErrorCode::NotFound, self.0))
        }

        fn inside<'p>(&self, path: &'p Path) -> Option<&'p Path> {
            path.strip_prefix(self.0).ok()
        }
    }

    #[test]
    fn each_is_asked_what_it_knows_and_what_the_first_says_of_what_is_missing_is_told() {
        let both = InOrder::new([shared(Far("one")), shared(Far("two"))]);
        let asked = |operation| query(operation, "a");
        let read = both.read(&asked(Operation::Read)).map(drop).map_err(|error| error.text());
        let listed = both.list(&asked(Operation::List)).map(drop).map_err(|error| error.text());
        assert_eq!([read, listed], [Err("one"), Err("one")]);
        let inside = |path: &'static str| both.inside(Path::new(path)).and_then(Path::to_str);
        let paths = ["one/f", "two/f", "f"].map(inside);
        assert_eq!(paths, [Some("f"), Some("f"), None], "what is below the path of one of them");
        for one_waits in
            [[shared(Far("x")), shared(store(&[]))], [shared(store(&[])), shared(Far("x"))]]
        {
            let asked = asked(Operation::Read);
            assert!(InOrder::new(one_waits).may_wait(&asked), "a loop waits for the one that may");
        }
    }

    #[test]
    fn uploads_go_to_the_first() {
        let (first, second) = (store(&[]).uploads(Uploads::Create), store(&[]));
        let both = InOrder::new([shared(first.clone()), shared(second)]);
        let mut sink = both.write(&query(Operation::Write, "new")).expect("a sink");
        sink.commit().expect("it is stored");
        assert!(first.read(&query(Operation::Read, "new")).is_ok());
        assert!(InOrder::new([]).write(&query(Operation::Write, "new")).is_err());
        assert!(!both.may_wait(&query(Operation::Read, "new")));
    }
}
