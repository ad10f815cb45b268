//! Trees on this host, read and written beneath open directory handles: other processes may be changing
//! them, and nothing outside of them is ever followed, created or changed. It knows nothing of Docker and
//! of archives.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub(crate) mod beneath;
pub(crate) mod comparer;
pub(crate) mod content;
pub(crate) mod create;
mod described;
pub(crate) mod detached;
pub(crate) mod live;
pub(crate) mod lookup;
pub(crate) mod metadata;
pub(crate) mod new_directory;
pub(crate) mod not_restored;
pub(crate) mod own_names;
pub(crate) mod owners;
pub(crate) mod part;
mod read_ahead;
pub(crate) mod remove;
mod rename;
pub(crate) mod restore_record;
pub(crate) mod room;
mod root;
mod shared_xattrs;
mod small_file;
mod sorted_names;
mod source;
pub(crate) mod staging;
pub(crate) mod swap;
pub(crate) mod walk;
pub(crate) mod xattrs;

use std::sync::Arc;

use crate::ids::IdMap;
use crate::member::RelPath;
use live::Live;
use own_names::OwnNames;

/// The open mounts of one tree, parents before children. The root's comes first; where there is none, the root and the
/// directories down to the mounts belong to the container.
#[derive(Debug, Clone)]
pub(crate) struct OpenTree {
    pub(crate) mounts: Vec<OpenMount>,
    /// The map between the ids of its archive and those on disk.
    pub(crate) ids: IdMap,
    /// The directories of voltar's own in them.
    pub(crate) own: Arc<OwnNames>,
}

/// One mount of an [`OpenTree`].
#[derive(Debug, Clone)]
pub(crate) struct OpenMount {
    /// The mountpoint's path in the tree; empty for the mount that holds the root.
    pub(crate) at: RelPath,
    /// What is mounted there.
    pub(crate) content: Content,
}

/// What an [`OpenMount`] holds.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// A directory or file of this host.
    Live(Arc<Live>),
    /// A tmpfs, whose content is gone with its container: an empty directory.
    Tmpfs,
    /// The content of another archive: an empty directory in this one.
    OtherArchive,
    /// A mount that is read-only, and is left as it is.
    ReadOnly,
}

impl Content {
    /// Returns the directory or file of this host, if that is what it is.
    fn live(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Live(live) => Some(live),
            Self::Tmpfs | Self::OtherArchive | Self::ReadOnly => None,
        }
    }
}

impl OpenTree {
    /// Returns the mounts that have content on this host.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&RelPath, &Arc<Live>)> {
        self.mounts.iter().filter_map(|mount| Some((&mount.at, mount.content.live()?)))
    }
}

#[cfg(test)]
impl OpenTree {
    /// Returns the tree of one directory.
    pub(crate) fn of_directory(path: &std::path::Path, way: live::Way) -> Self {
        let live = Live::open(path, &RelPath::root(), way).unwrap();
        Self {
            mounts: vec![OpenMount { at: RelPath::root(), content: Content::Live(Arc::new(live)) }],
            ids: IdMap::default(),
            own: Arc::default(),
        }
    }
}
