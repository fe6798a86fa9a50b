//! What a folder has to tell whoever runs it, and nobody asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Something that whoever runs a [`Folder`](super::Folder) should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// This upload could not take the place of its file in one step and was written over it, and others may be. A crash in
    /// that moment leaves a part of it. It is told once.
    WrittenOver(PathBuf),
    /// The file system cannot give a whole file a new name in one step: for a moment this name had an empty file. It is
    /// told once.
    NamedFirst(PathBuf),
    /// The file system cannot make files last: a crash may lose what was uploaded, this file first. It is told once.
    NotSynced(PathBuf),
    /// The kernel, or a sandbox around this process, has no call that keeps a name beneath this root (`openat2`): names are
    /// looked up part by part, which is as safe and takes longer. It is told once.
    Walked(PathBuf),
    /// This name of the root stands for another directory now, or for one again. It is served from here on.
    RootChanged(PathBuf),
    /// This name of the root stands for no directory that can be opened, for this reason. Requests fail until it does.
    RootLost(PathBuf, String),
    /// An upload was stored there, under a name that the client did not ask for.
    StoredAs(PathBuf),
}

impl Notice {
    /// Its bit among those that are told once; the others have none.
    const fn bit(&self) -> u8 {
        match self {
            Self::WrittenOver(_) => 1,
            Self::NamedFirst(_) => 2,
            Self::NotSynced(_) => 4,
            Self::Walked(_) => 8,
            Self::RootChanged(_) | Self::RootLost(..) | Self::StoredAs(_) => 0,
        }
    }

    /// The file or the folder that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::WrittenOver(path)
            | Self::NamedFirst(path)
            | Self::NotSynced(path)
            | Self::Walked(path)
            | Self::RootChanged(path)
            | Self::StoredAs(path)
            | Self::RootLost(path, _) => path,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootLost(_, why) => {
                return write!(f, "the served folder cannot be opened: {why}");
            }
            Self::WrittenOver(_) => {
                "uploads are written over their files where those cannot be replaced: a crash in that moment leaves a part"
            }
            Self::NamedFirst(_) => {
                "new files are empty for a moment: the file system cannot name what is whole in one step"
            }
            Self::NotSynced(_) => {
                "the file system cannot be told to make files last: a crash may lose what was uploaded"
            }
            Self::Walked(_) => {
                "there is no openat2 here, of an old kernel or in a sandbox: names are looked up part by part"
            }
            Self::RootChanged(_) => {
                "the served folder is another directory now, which is served"
            }
            Self::StoredAs(_) => "stored an upload under this name",
        })
    }
}

type Listener = dyn Fn(&Notice) + Send + Sync;

/// Who is told, and what was told already.
#[derive(Clone, Default)]
pub(super) struct Notices(Arc<Inner>);

#[derive(Default)]
struct Inner {
    listener: RwLock<Option<Box<Listener>>>,
    told: AtomicU8,
}

impl Notices {
    /// From now on `listener` is told.
    pub(super) fn to(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        *self.0.listener.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// Tells of it, unless it is of a kind that is told once and was.
    pub(super) fn tell(&self, notice: &Notice) {
        if self.0.told.fetch_or(notice.bit(), Ordering::Relaxed) & notice.bit() != 0 {
            return;
        }
        if let Some(listener) = &*self.0.listener.read().unwrap_or_else(PoisonError::into_inner) {
            listener(notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").field("told", &self.0.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_cannot_do_is_told_once_and_what_happens_each_time() {
        let (tell, told) = std::sync::mpsc::channel();
        let notices = Notices::default();
        notices.to(move |notice| tell.send(notice.clone()).expect("it is heard"));
        let kinds = [Notice::WrittenOver, Notice::NamedFirst, Notice::NotSynced, Notice::Walked];
        let once = kinds.map(|kind| kind("f".into()));
        let lost = Notice::RootLost("f".into(), "gone".into());
        let each_time = [Notice::RootChanged("f".into()), lost, Notice::StoredAs("f".into())];
        for _ in 0..2 {
            once.iter().chain(&each_time).for_each(|notice| notices.tell(notice));
        }
        let all: Vec<_> = once.iter().chain(&each_time).chain(&each_time).cloned().collect();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), all);
    }
}
