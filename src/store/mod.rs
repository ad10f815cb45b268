//! Where archives live. A store lists its archives, opens one to be read from its start, and takes new ones, which are
//! written in order, have no name until they are committed, and are gone when they are dropped before; of one run all
//! are committed, or none. Everything else speaks to the store, never to its files.
//!
//! There is one kind of store, a [`directory`] of this host. The interface asks no more than an object store or a
//! pipe could give: no seeking, no rename by the caller, and a length that may be unknown.

pub mod directory;
mod name;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::durable::page_cache::ReadOnce;
use crate::error::{Error, Result};
use crate::member::printable;

pub use directory::{Complete, Directory, NewArchive, commit};
pub use name::{SUFFIXES, archive_name};

/// One archive in a store, whether it is there or is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    path: PathBuf,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes, in order.
    pub reader: ReadOnce,
    /// How many there are; `None` where the store does not know.
    pub bytes: Option<u64>,
}

impl Location {
    /// The archive in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The archive's name without its suffix: `cvat_db` for `backup/cvat_db.tar.bz2`.
    #[must_use]
    pub fn name(&self) -> String {
        archive_name(&self.path)
    }

    /// The path by which events and documents name it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the archive to be read from its start.
    ///
    /// # Errors
    /// It cannot be opened, or is not a regular file.
    pub fn open(&self) -> Result<Opened> {
        let failed = |e: io::Error| Error::failed_at("cannot open", &self.path, e);
        let file = File::open(&self.path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        if !status.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        Ok(Opened { reader: ReadOnce::new(file), bytes: Some(status.len()) })
    }

    /// The archive's length in bytes, without opening it; `None` where the store does not know.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.path.metadata().ok().map(|status| status.len())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.path.as_os_str().as_bytes()))
    }
}

/// What a path on the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory, with the archives in it.
    Directory(Vec<Location>),
    /// A single archive.
    Archive(Location),
}

impl Source {
    /// Looks at what is at `path`.
    ///
    /// # Errors
    /// There is nothing, or a directory that cannot be listed.
    pub fn at(path: &Path) -> Result<Self> {
        let status = path.metadata().map_err(|e| Error::failed_at("cannot open", path, e))?;
        if status.is_dir() {
            Directory::new(path).archives().map(Self::Directory)
        } else {
            Ok(Self::Archive(Location::new(path)))
        }
    }
}

/// Returns the archives that `sources` name. `only`, if it is not empty, keeps of a directory's archives those of these
/// names.
///
/// # Errors
/// A directory cannot be listed, or there is no archive at all.
pub fn select(sources: &[PathBuf], only: &[String]) -> Result<Vec<Location>> {
    let mut selected = Vec::new();
    for source in sources {
        if source.is_dir() {
            let archives = Directory::new(source).archives()?;
            selected.extend(archives.into_iter().filter(|found| only.is_empty() || only.contains(&found.name())));
        } else {
            // One that is not there is reported when it is opened, beside what is found in the others.
            selected.push(Location::new(source));
        }
    }
    if selected.is_empty() {
        let list = sources.iter().map(|source| format!("'{}'", source.display())).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("there is no archive in {list}")));
    }
    Ok(selected)
}
