//! A folder on a file system in memory: uploads go the way of those to a [`Folder`](crate::store::Folder).

use super::Disk;
use super::handles::Handle;
use crate::limits;
use crate::query::Query;
use crate::store::disk::{Directory, Lookup};
use crate::store::notice::Notices;
use crate::store::upload::Rules;
use crate::store::{Notice, Readable, Store, StoreError, Uploads};
use crate::transfer::{Memory, Sink};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

pub(crate) struct Served {
    root: Handle,
    rules: Rules,
}

impl Disk {
    /// Its root as a folder that takes such uploads.
    pub(crate) fn serve(&self, uploads: Uploads, create_dirs: bool) -> Served {
        let largest = limits::UPLOAD_BYTES;
        let notices = Notices::default();
        let (keep, can_link, how) = (0, true, Lookup::Own);
        let rules =
            Rules { uploads, create_dirs, largest, keep, can_link, how, notices, check: None };
        Served { root: self.root(), rules }
    }

    /// Its root as a folder in which uploads replace files of which so many versions are kept.
    pub(crate) fn keeping(&self, versions: u16) -> Served {
        let Served { root, rules } = self.serve(Uploads::Overwrite, true);
        Served { root, rules: Rules { keep: versions, ..rules } }
    }

    /// A file that is there whole or not at all, as a client's downloads are.
    pub(crate) fn whole_file(&self, path: &str) -> Result<Box<dyn Sink>, StoreError> {
        let Served { root, rules } = self.serve(Uploads::Off, false);
        Ok(Box::new(rules.replace(&root, Path::new(path))?))
    }
}

impl Served {
    /// Where whoever runs it hears what there is to tell.
    pub(super) fn heard(&self) -> Receiver<Notice> {
        let (tell, told) = channel();
        self.rules.notices.to(move |notice| drop(tell.send(notice.clone())));
        told
    }
}

impl Store for Served {
    fn read(&self, query: &Query) -> Result<Readable, StoreError> {
        let name = query.path()?;
        let (path, about) = name.find(&[], |path| Ok(self.root.look(path, Lookup::Own)?))?;
        about.kind.regular()?;
        let source = Memory::new(self.root.read(path)?);
        let size = source.len() as u64;
        Ok(Readable::exact(source, size))
    }

    fn write(&self, query: &Query) -> Result<Box<dyn Sink>, StoreError> {
        Ok(Box::new(self.rules.open(&self.root, &[], query)?))
    }

    fn may_wait(&self, _: &Query) -> bool {
        false
    }
}
