//! A directory of this host as a store of archives.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::location::Location;
use super::name::is_archive;
use crate::durable::commit;
use crate::durable::leftovers::{self, Recovered};
use crate::durable::{parent, sync_directory};
use crate::error::{Error, Result};
use crate::identity::{FileId, lineage};

/// A directory of archives, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

/// The state of a sink before archives are written to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The id of the directory or file itself or, if it does not exist, of its nearest existing ancestor; then those of
    /// the directories that hold it. Empty if it is neither.
    pub lineage: Vec<FileId>,
    /// The free space of its filesystem in bytes; `None` if unknown.
    pub free_bytes: Option<u64>,
    /// The space of its filesystem that is used, in bytes; `None` if unknown.
    pub used_bytes: Option<u64>,
    /// The reason why no archive can be created there, if there is one.
    pub obstacle: Option<String>,
}

impl Directory {
    /// Returns the store in the directory at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the archives in the directory, sorted by file name, also those in formats that voltar does not read. Hidden
    /// files and files without the suffix of an archive are ignored.
    ///
    /// # Errors
    /// The directory cannot be listed, or a file in it that is named as an archive cannot be examined; or it holds archives of two backups, since one was killed while its archives got their
    /// names: [`complete`](super::complete) gives them the others.
    pub fn archives(&self) -> Result<Vec<Location>> {
        commit::check_complete(&self.path)?;
        let failed = |e: io::Error| Error::failed_at("cannot list", &self.path, e);
        let mut archives = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // What cannot be examined may be an archive: without it, less would be restored than is there.
            if is_archive(&name) && path.metadata().map_err(|e| Error::failed_at("cannot examine", &path, e))?.is_file()
            {
                archives.push(path);
            }
        }
        archives.sort();
        Ok(archives.into_iter().map(Location::new).collect())
    }

    /// Returns the state of the directory before anything is written to it.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let Some(existing) = nearest_existing(&self.path) else { return Condition::default() };
        let obstacle = if existing.is_dir() {
            access(&existing, AccessFlags::W_OK | AccessFlags::X_OK)
                .err()
                .map(|e| Error::failed_at("cannot write to", &existing, e).to_string())
        } else {
            Some(format!("'{}' is not a directory", self.path.display()))
        };
        let lineage = lineage(&existing).unwrap_or_default();
        let (free_bytes, used_bytes) = room(&existing).unzip();
        Condition { lineage, free_bytes, used_bytes, obstacle }
    }

    /// Creates the directory and those that hold it, with access for their owner only. Returns those that did not exist,
    /// the deepest one first.
    ///
    /// # Errors
    /// A directory cannot be created, or the one that holds it cannot be synced; then all that were created are removed.
    pub fn create(&self) -> Result<Vec<PathBuf>> {
        let failed = |e: io::Error| Error::failed_at("cannot create the directory", &self.path, e);
        let mut created: Vec<PathBuf> = Vec::new();
        let missing = self.path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir());
        for directory in missing.collect::<Vec<_>>().into_iter().rev() {
            let made = DirBuilder::new().mode(0o700).create(directory).and_then(|()| {
                created.insert(0, directory.to_owned());
                sync_directory(parent(directory))
            });
            if let Err(cause) = made {
                remove_if_empty(&created);
                return Err(failed(cause));
            }
        }
        Ok(created)
    }

    /// Completes what killed writers have begun in the directory, and removes what they have left.
    ///
    /// # Errors
    /// The directory exists and cannot be listed, or holds archives of two runs that cannot get their names.
    pub(crate) fn recover(&self) -> Result<Recovered> {
        leftovers::recover(&self.path)
    }
}

/// Removes directories that were created for a run which then wrote no archive, the deepest one first.
pub(crate) fn remove_if_empty(created: &[PathBuf]) {
    for directory in created {
        // One that is not empty, or cannot be removed, is left in place.
        std::fs::remove_dir(directory).unwrap_or_default();
    }
}

pub(super) fn nearest_existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|ancestor| ancestor.exists()).and_then(|ancestor| ancestor.canonicalize().ok())
}

/// Returns the free space of the filesystem at `path`, and the used one, in bytes; `None` if they are unknown.
#[must_use]
pub(super) fn room(path: &Path) -> Option<(u64, u64)> {
    let status = statvfs(path).ok()?;
    let used = status.blocks().saturating_sub(status.blocks_free());
    Some((status.blocks_available() * status.fragment_size(), used * status.fragment_size()))
}
