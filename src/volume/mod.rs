//! Trees on this host, read and written beneath open directory handles: other processes may be changing
//! them, and nothing outside of them is ever followed, created or changed. It knows nothing of Docker and
//! of archives.

pub(crate) mod beneath;
pub(crate) mod content;
pub(crate) mod create;
pub(crate) mod metadata;
pub(crate) mod remove;
pub(crate) mod swap;
pub(crate) mod walk;

use std::path::PathBuf;

use crate::member::RelPath;

/// One mount of a tree: what the host has there, and at which path of the tree it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSource {
    /// The mountpoint's path in the tree; empty for the mount that holds the root.
    pub at: RelPath,
    /// What is there.
    pub content: SourceContent,
}

/// What a [`MountSource`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceContent {
    /// A directory or a single file of the host.
    Host(PathBuf),
    /// An empty directory in place of a tmpfs, whose content is gone with the container.
    Empty,
}
