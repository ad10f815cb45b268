//! The mount tree: which folders of the host make up a path of a container, as `--volumes-from` would
//! show it. Pure; whether those folders really exist here is `plan`'s to ask.

use std::path::{Path, PathBuf};

use super::{Container, Inventory, Mount, MountKind, Volume};
use crate::error::{Error, Result};
use crate::member::RelPath;

/// The mounts that make up the tree at one path of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTree {
    /// The path inside the container, without its leading slash: the prefix of all members' names.
    pub path: RelPath,
    /// The mount the path itself lies on, then the nested ones, parents before children.
    pub mounts: Vec<TreeMount>,
}

/// One mount of such a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeMount {
    /// Where it lies below the tree's root; the root's own mount has the empty path.
    pub at: RelPath,
    /// What is mounted, on the host: a folder, or a single file.
    pub source: PathBuf,
    /// Where in `source` the tree begins: empty unless the tree's root lies below the mount's destination.
    pub beneath: RelPath,
    /// What it is.
    pub kind: MountKind,
    /// Where the container sees the mount.
    pub destination: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// The tree at `path` of `container`.
///
/// # Errors
/// The path lies on no mount, so it goes with the container; or a mount's place on the host is not known.
pub fn tree(container: &Container, path: &RelPath) -> Result<MountTree> {
    let mut placed = Vec::with_capacity(container.mounts.len());
    for mount in &container.mounts {
        let at = RelPath::parse(mount.destination.as_bytes()).map_err(|why| {
            Error::refused(format!("container '{}' has a mount at '{}': {why}", container.name, mount.destination))
        })?;
        placed.push((at, mount));
    }
    let holder = placed
        .iter()
        .filter_map(|(at, mount)| path.strip_prefix(at).map(|beneath| (beneath, *mount)))
        .min_by_key(|(beneath, _)| beneath.as_bytes().len());
    let Some((beneath, mount)) = holder else {
        return Err(Error::refused(format!("'/{path}' of container '{}' lies on no mount", container.name)).hint(
            if container.mounts.is_empty() {
                "the container has no mounts at all; is it the right one?".to_owned()
            } else {
                let all: Vec<&str> = container.mounts.iter().map(|mount| mount.destination.as_str()).collect();
                format!("it has mounts at {}; a layout file can name one of these paths", all.join(", "))
            },
        ));
    };
    let mut mounts = vec![tree_mount(container, RelPath::root(), beneath, mount)?];
    for (at, mount) in &placed {
        if let Some(at) = at.strip_prefix(path).filter(|at| !at.is_root()) {
            mounts.push(tree_mount(container, at, RelPath::root(), mount)?);
        }
    }
    mounts.sort_by(|a, b| a.at.cmp(&b.at));
    if let Some(MountKind::Tmpfs) = mounts.first().map(|mount| &mount.kind) {
        return Err(Error::refused(format!("'/{path}' of container '{}' is memory (tmpfs)", container.name))
            .hint("it goes with the container: there is nothing to archive and nothing to restore into"));
    }
    Ok(MountTree { path: path.clone(), mounts })
}

/// The tree of a volume whose container is gone: the volume, seen at `path`.
#[must_use]
pub fn single(volume: &Volume, path: &RelPath) -> MountTree {
    let mount = TreeMount {
        at: RelPath::root(),
        source: volume.mountpoint.clone(),
        beneath: RelPath::root(),
        kind: MountKind::Volume { name: volume.name.clone(), driver: volume.driver.clone() },
        destination: format!("/{path}"),
        read_only: false,
    };
    MountTree { path: path.clone(), mounts: vec![mount] }
}

fn tree_mount(container: &Container, at: RelPath, beneath: RelPath, mount: &Mount) -> Result<TreeMount> {
    let source = match (&mount.source, &mount.kind) {
        (_, MountKind::Tmpfs) => PathBuf::new(),
        (Some(source), _) => source.clone(),
        (None, _) => {
            return Err(Error::refused(format!(
                "where '{}' of container '{}' lies on this host is not known",
                mount.destination, container.name
            ))
            .hint("it was mounted from a folder of the host these files come from, not from a volume"));
        }
    };
    Ok(TreeMount {
        at,
        source,
        beneath,
        kind: mount.kind.clone(),
        destination: mount.destination.clone(),
        read_only: mount.read_only,
    })
}

/// All containers that can write to any of the tree's mounts, or that hold one of its volumes.
///
/// Volumes count by name, folders by place: the same, inside ours, or ours inside theirs. In the last case a
/// read-only mount does not count, or every monitoring agent that mounts `/` would forbid every backup.
#[must_use]
pub fn users<'a>(inventory: &'a Inventory, tree: &MountTree) -> Vec<&'a Container> {
    let uses = |container: &&Container| {
        let mut mounts = container.mounts.iter();
        mounts.any(|theirs| tree.mounts.iter().any(|ours| overlap(ours, theirs)))
    };
    inventory.containers.iter().filter(uses).collect()
}

fn overlap(ours: &TreeMount, theirs: &Mount) -> bool {
    if ours.kind == MountKind::Tmpfs || theirs.kind == MountKind::Tmpfs {
        return false;
    }
    if let (MountKind::Volume { name: ours, .. }, MountKind::Volume { name: theirs, .. }) = (&ours.kind, &theirs.kind)
        && ours == theirs
    {
        return true;
    }
    let Some(theirs_at) = &theirs.source else { return false };
    let ours_at: &Path = &ours.source;
    theirs_at.starts_with(ours_at) || (!theirs.read_only && ours_at.starts_with(theirs_at))
}
