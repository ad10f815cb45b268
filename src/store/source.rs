//! The archives that the paths on a command line name.

use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::location::Location;
use crate::error::{Error, Result};

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
