//! The mount tree: which folders of the host make up a path of a container, as `--volumes-from` would
//! show it. Pure; whether those folders really exist here is `plan`'s to ask.

use std::path::PathBuf;

use crate::member::RelPath;

use super::MountKind;

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
