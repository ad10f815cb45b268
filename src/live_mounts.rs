//! The mounts of a tree on this host, and the way in which each is replaced. It changes nothing.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::host::MountKind;
use crate::host::mounts::{MountTree, TreeMount};
use crate::member::RelPath;
use crate::mountinfo;
use crate::volume::swap::{Live, Way};

/// One mount of a tree as it is found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMount {
    /// Its path in the tree; the root's is empty.
    pub at: RelPath,
    /// What is mounted there.
    pub source: LiveSource,
}

/// The source of a [`LiveMount`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveSource {
    /// A directory.
    Directory(Live),
    /// A single file.
    File(PathBuf),
}

impl LiveMount {
    /// The directory, where one is mounted.
    #[must_use]
    pub fn directory(&self) -> Option<&Live> {
        match &self.source {
            LiveSource::Directory(live) => Some(live),
            LiveSource::File(_) => None,
        }
    }
}

/// Returns the mounts of `tree` that have content on this host; the root's comes first.
///
/// # Errors
/// A mount source is not there.
pub(crate) fn live_mounts(tree: &MountTree) -> Result<Vec<LiveMount>> {
    let mounted = mountinfo::mounted()?;
    let with_content = tree.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs);
    with_content.map(|mount| live_mount(mount, &mounted)).collect()
}

/// Entries are moved in a bind mount's source, whose parent directory is not Docker's, and in a mountpoint, which cannot
/// be renamed.
fn live_mount(mount: &TreeMount, mounted: &[PathBuf]) -> Result<LiveMount> {
    let path = mount.root();
    let path = path.canonicalize().map_err(|e| Error::failed_at("cannot find", &path, e))?;
    let source = if path.is_file() {
        LiveSource::File(path)
    } else {
        let below_volume = matches!(mount.kind, MountKind::Volume { .. }) || !mount.beneath.is_root();
        let way = if below_volume && !mounted.contains(&path) { Way::Exchange } else { Way::Entries };
        LiveSource::Directory(Live { path, way })
    };
    Ok(LiveMount { at: mount.at.clone(), source })
}
