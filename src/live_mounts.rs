//! Opens the mounts of a tree on this host, and compares them with what was found before. This is the only way from an
//! inventory to the files.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Cause, Error, Result};
use crate::filesystem::{Access, Filesystem};
use crate::host::MountKind;
use crate::host::mounts::{LeftOut, MountTree, TreeMount};
use crate::identity::FileId;
use crate::ids::IdMap;
use crate::member::{RelPath, printable};
use crate::volume::live::{Live, LiveKind, Way};
use crate::volume::own_names::OwnNames;
use crate::volume::room::Room;
use crate::volume::{Content, OpenMount, OpenTree, detached, metadata};

/// One mount of a tree as it was found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMount {
    /// Its path in the tree; the root's is empty.
    pub at: RelPath,
    /// The directory or file of the host: for messages.
    pub path: PathBuf,
    /// What it is.
    pub kind: LiveKind,
    /// The way in which it is replaced.
    pub way: Way,
    /// Its device and inode number, then those of the directories that hold it, up to the root directory.
    pub lineage: Vec<FileId>,
    /// The room on its filesystem; `None` if unknown.
    pub room: Option<Room>,
    /// Whether it is a directory that holds anything: writing over that needs less room than a second tree.
    pub holds_entries: bool,
}

impl LiveMount {
    fn of(at: &RelPath, live: &Live) -> Result<Self> {
        let failed = |errno| Error::failed_at("cannot examine", live.path(), errno);
        let lineage = live.lineage().map_err(failed)?;
        Ok(Self {
            at: at.clone(),
            path: live.path().to_owned(),
            kind: live.kind(),
            way: live.way(),
            lineage,
            room: live.room(),
            holds_entries: live.holds_entries().map_err(failed)?,
        })
    }

    /// Returns whether a file with this lineage is this mount or lies in it.
    pub(crate) fn holds(&self, lineage: &[FileId]) -> bool {
        self.lineage.first().is_some_and(|id| lineage.contains(id))
    }
}

/// Opens the mounts of trees, and holds the filesystems that the engine mounts for their volumes.
///
/// A volume with mount options is mounted only while a container uses it. One that is mounted is held by a copy of its
/// mount when it is opened first, so that stopping its last container does not take it away; one that is not is mounted at
/// no path. Both stay until this value is dropped or released.
#[derive(Debug)]
pub struct LiveMounts {
    state_dir: PathBuf,
    access: Access,
    /// By the names of the volumes.
    held: Mutex<BTreeMap<String, Arc<OwnedFd>>>,
}

impl LiveMounts {
    /// The records in `state_dir` say which directories in volumes are voltar's own. Filesystems are mounted for `access`.
    #[must_use]
    pub fn new(state_dir: &Path, access: Access) -> Self {
        Self { state_dir: state_dir.to_owned(), access, held: Mutex::default() }
    }

    /// The directory of voltar's records.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Lets go of all filesystems, as far as no open tree uses them: containers are about to start, and an engine mounts
    /// some filesystems (overlay) only once.
    pub(crate) fn release(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Opens the mounts of `tree`.
    ///
    /// # Errors
    /// A mount source is not there, or belongs to a user or group that has no id in the container; the path below it leads
    /// through a symbolic link; a filesystem cannot be mounted; or the records cannot be read.
    pub(crate) fn open(&self, tree: &MountTree) -> Result<OpenTree> {
        let mounts = tree.mounts.iter().map(|mount| self.open_mount(mount)).collect::<Result<Vec<_>>>()?;
        check_mountpoints(&mounts)?;
        check_owners(&mounts, &tree.ids)?;
        Ok(OpenTree { mounts, ids: tree.ids.clone(), own: Arc::new(OwnNames::on_record(&self.state_dir)?) })
    }

    fn open_mount(&self, mount: &TreeMount) -> Result<OpenMount> {
        let open = |content| Ok(OpenMount { at: mount.at.clone(), content });
        match &mount.left_out {
            None => {}
            Some(LeftOut::Archive(_)) => return open(Content::OtherArchive),
            Some(LeftOut::ReadOnly) => return open(Content::ReadOnly),
        }
        let way = match mount.kind {
            MountKind::Tmpfs => return open(Content::Tmpfs),
            MountKind::Volume { .. } | MountKind::Bind | MountKind::Other(_)
                if mount.beneath.is_root() && !mount.is_in_data_root() =>
            {
                // The directory that holds the source is not Docker's.
                Way::Entries
            }
            MountKind::Volume { .. } | MountKind::Bind | MountKind::Other(_) => Way::Exchange,
        };
        let live = match (&mount.filesystem, &mount.kind) {
            (Some(filesystem), MountKind::Volume { name, .. }) => {
                let root = self.hold(name, filesystem, &mount.source)?;
                Live::in_filesystem(&root, &mount.source, &mount.beneath, way)?
            }
            _ if mount.non_recursive => open_alone(mount, way)?,
            _ => Live::open(&mount.source, &mount.beneath, way)?,
        };
        open(Content::Live(Arc::new(live)))
    }

    /// Returns a handle of the root of a volume's filesystem, which is mounted if nobody has mounted it.
    fn hold(&self, volume: &str, filesystem: &Filesystem, mountpoint: &Path) -> Result<Arc<OwnedFd>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = held.get(volume) {
            return Ok(Arc::clone(root));
        }
        let failed = |cause: Cause| {
            let volume = printable(volume.as_bytes());
            Error::failed("cannot mount", format!("{volume} ({})", filesystem.describe()), cause).hint(format!(
                "mount it by hand (`{}`), or start a container that uses it; then run the same command again",
                filesystem.command(mountpoint)
            ))
        };
        let root = match detached::hold(mountpoint).map_err(failed)? {
            Some(root) => root,
            None => detached::mount(filesystem, self.access).map_err(failed)?,
        };
        let root = Arc::new(root);
        held.insert(volume.to_owned(), Arc::clone(&root));
        Ok(root)
    }

    /// Opens the mounts of `tree` again after a wait, in which an engine can unmount a volume, and others can replace a
    /// directory.
    ///
    /// # Errors
    /// As [`LiveMounts::open`], or they are not the ones in `before`.
    pub(crate) fn reopen(&self, tree: &MountTree, before: &[LiveMount]) -> Result<OpenTree> {
        let now = self.open(tree)?;
        let before = before.iter().filter_map(|mount| Some((&mount.at, *mount.lineage.first()?, &*mount.path)));
        check_same(before, &now)?;
        Ok(now)
    }

    /// Checks that the mounts of `tree` are still the open ones.
    ///
    /// # Errors
    /// As [`LiveMounts::open`], or they are not.
    pub(crate) fn check_in_place(&self, tree: &MountTree, before: &OpenTree) -> Result<()> {
        let before = before.live().map(|(at, live)| (at, live.id(), live.path()));
        check_same(before, &self.open(tree)?)
    }
}

/// Checks that containers have ids for the owners of `mounts`. A rootless engine can name any directory of this host; its
/// containers can use only those of its own ids.
fn check_owners(mounts: &[OpenMount], ids: &IdMap) -> Result<()> {
    for mount in mounts {
        let Content::Live(live) = &mount.content else { continue };
        let on_disk =
            metadata::of_open(live.handle()).map_err(|errno| Error::failed_at("cannot examine", live.path(), errno))?;
        ids.to_container(&on_disk).map_err(|unmapped| unmapped.on_disk(live.path().display(), 0))?;
    }
    Ok(())
}

/// Opens a mount without the filesystems that the host has mounted below its source.
fn open_alone(mount: &TreeMount, way: Way) -> Result<Live> {
    let root = detached::alone(&mount.source).map_err(|cause| {
        Error::failed_at("cannot open without the filesystems mounted below", &mount.source, cause)
            .hint("Linux 5.2 and root are needed for a mount with bind-nonrecursive")
    })?;
    match root {
        Some(root) => Live::in_filesystem(&root, &mount.source, &mount.beneath, way),
        None => Live::open(&mount.source, &mount.beneath, way),
    }
}

/// Checks that no symbolic link leads to a nested mountpoint: an engine mounts at the target of the link.
fn check_mountpoints(mounts: &[OpenMount]) -> Result<()> {
    for (index, nested) in mounts.iter().enumerate() {
        // Parents come before their children.
        let parents = mounts[..index].iter().rev().filter_map(|parent| match &parent.content {
            Content::Live(live) => Some((live, nested.at.strip_prefix(&parent.at)?)),
            Content::Tmpfs | Content::OtherArchive | Content::ReadOnly => None,
        });
        if let Some((live, at)) = parents.min_by_key(|(_, at)| at.components().count()) {
            live.check_mountpoint(&at)?;
        }
    }
    Ok(())
}

/// Returns what was found of `tree`, as values.
///
/// # Errors
/// A directory that holds one of them cannot be examined.
pub(crate) fn found(tree: &OpenTree) -> Result<Vec<LiveMount>> {
    tree.live().map(|(at, live)| LiveMount::of(at, live)).collect()
}

/// Compares mounts, each with its path in the tree and its own for a message, with those of `now`.
fn check_same<'a>(before: impl Iterator<Item = (&'a RelPath, FileId, &'a Path)>, now: &OpenTree) -> Result<()> {
    for (at, id, path) in before {
        if now.live().all(|(now_at, live)| (now_at, live.id()) != (at, id)) {
            let path = path.display();
            return Err(Error::refused(format!("'{path}' is no longer the directory that was found at first")).hint(
                "was the volume unmounted with its last container, or the directory replaced? `voltar plan` shows what is \
                 there",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Volume;
    use crate::host::mounts::tree_of_volume;

    #[test]
    fn a_directory_that_was_replaced_meanwhile_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("_data")).unwrap();
        let volume = Volume { name: "data".to_owned(), mountpoint: at("_data"), ..Volume::default() };
        let tree = tree_of_volume(&volume, &RelPath::parse(b"srv").unwrap()).unwrap();
        let mounts = LiveMounts::new(&at("state"), Access::ReadOnly);
        let before = found(&mounts.open(&tree).unwrap()).unwrap();
        mounts.reopen(&tree, &before).unwrap();
        std::fs::rename(at("_data"), at("moved")).unwrap();
        std::fs::create_dir(at("_data")).unwrap();
        let error = mounts.reopen(&tree, &before).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("'{}' is no longer the directory that was found at first", at("_data").display())
        );
    }
}
