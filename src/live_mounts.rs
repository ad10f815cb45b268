//! Opens the mounts of a tree on this host, and compares them with what was found before. This is the only way from an
//! inventory to the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::MountKind;
use crate::host::mounts::{LeftOut, MountTree, TreeMount};
use crate::identity::FileId;
use crate::ids::IdMap;
use crate::member::RelPath;
use crate::volume::live::{Live, LiveKind, Way};
use crate::volume::own_names::OwnNames;
use crate::volume::{Content, OpenMount, OpenTree, metadata};

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
    /// Bytes that can be written on its filesystem; `None` if unknown.
    pub free_bytes: Option<u64>,
}

impl LiveMount {
    fn of(at: &RelPath, live: &Live) -> Result<Self> {
        let lineage = live.lineage().map_err(|errno| Error::failed_at("cannot examine", live.path(), errno))?;
        Ok(Self {
            at: at.clone(),
            path: live.path().to_owned(),
            kind: live.kind(),
            way: live.way(),
            lineage,
            free_bytes: live.free_bytes(),
        })
    }

    /// Returns whether a file with this lineage is this mount or lies in it.
    pub(crate) fn holds(&self, lineage: &[FileId]) -> bool {
        self.lineage.first().is_some_and(|id| lineage.contains(id))
    }
}

/// Opens the mounts of `tree`. The records in `state_dir` say which directories in them are voltar's own.
///
/// # Errors
/// A mount source is not there, or belongs to a user or group that has no id in the container; the path below it leads
/// through a symbolic link; or the records cannot be read.
pub(crate) fn open(tree: &MountTree, state_dir: &Path) -> Result<OpenTree> {
    let mounts: Vec<OpenMount> = tree.mounts.iter().map(open_mount).collect::<Result<_>>()?;
    check_owners(&mounts, &tree.ids)?;
    Ok(OpenTree { mounts, ids: tree.ids.clone(), own: Arc::new(OwnNames::on_record(state_dir)?) })
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

fn open_mount(mount: &TreeMount) -> Result<OpenMount> {
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
    let live = Live::open(&mount.source, &mount.beneath, way)?;
    open(Content::Live(Arc::new(live)))
}

/// Returns what was found of `tree`, as values.
///
/// # Errors
/// A directory that holds one of them cannot be examined.
pub(crate) fn found(tree: &OpenTree) -> Result<Vec<LiveMount>> {
    tree.live().map(|(at, live)| LiveMount::of(at, live)).collect()
}

/// Opens the mounts of `tree` again after a wait, in which an engine can unmount a volume, and others can replace a
/// directory.
///
/// # Errors
/// As [`open`], or they are not the ones in `before`.
pub(crate) fn reopen(tree: &MountTree, before: &[LiveMount], state_dir: &Path) -> Result<OpenTree> {
    let now = open(tree, state_dir)?;
    let before = before.iter().filter_map(|mount| Some((&mount.at, *mount.lineage.first()?, &*mount.path)));
    check_same(before, &now)?;
    Ok(now)
}

/// Checks that the mounts of `tree` are still the open ones.
///
/// # Errors
/// As [`open`], or they are not.
pub(crate) fn check_in_place(tree: &MountTree, before: &OpenTree, state_dir: &Path) -> Result<()> {
    let before = before.live().map(|(at, live)| (at, live.id(), live.path()));
    check_same(before, &open(tree, state_dir)?)
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
        let state = at("state");
        let first = open(&tree, &state).unwrap();
        let before = found(&first).unwrap();
        reopen(&tree, &before, &state).unwrap();
        std::fs::rename(at("_data"), at("moved")).unwrap();
        std::fs::create_dir(at("_data")).unwrap();
        let error = reopen(&tree, &before, &state).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("'{}' is no longer the directory that was found at first", at("_data").display())
        );
    }
}
