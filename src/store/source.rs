//! The archives at the paths on a command line.

use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::location::Location;
use crate::durable::commit;
use crate::durable::leftovers::Recovered;
use crate::error::{Error, Result};
use crate::monitor::Monitor;

/// The source of archives at a path of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The archives of a directory.
    Directory(Vec<Location>),
    /// A single archive.
    Archive(Location),
}

impl Source {
    /// Returns the source at `path`.
    ///
    /// # Errors
    /// `path` does not exist, or is a directory that cannot be listed.
    pub fn at(path: &Path) -> Result<Self> {
        let location = Location::at(path);
        if location.is_stream() {
            return Ok(Self::Archive(location));
        }
        let status = path.metadata().map_err(|e| Error::failed_at("cannot open", path, e))?;
        if status.is_dir() { Directory::new(path).archives().map(Self::Directory) } else { Ok(Self::Archive(location)) }
    }
}

/// Completes the backups into the directories of `sources` that were killed while their archives got their names, and
/// reports each archive that gets it.
///
/// # Errors
/// A directory cannot be listed, or an archive cannot get its name.
pub fn complete(sources: &[PathBuf], monitor: &dyn Monitor) -> Result<()> {
    for source in sources.iter().filter(|source| !Location::at(source).is_stream() && source.is_dir()) {
        Recovered { named: commit::complete(source)?.named, ..Recovered::default() }.report(monitor);
    }
    Ok(())
}

/// Returns the archives of all `sources`. If `only` is not empty, it selects the archives of directories by name;
/// archives that `sources` names as files are always included.
///
/// # Errors
/// A directory cannot be listed, there is no archive at all, or standard input is named twice.
pub fn select(sources: &[PathBuf], only: &[String]) -> Result<Vec<Location>> {
    let mut selected = Vec::new();
    for source in sources {
        let location = Location::at(source);
        if !location.is_stream() && source.is_dir() {
            let archives = Directory::new(source).archives()?;
            selected.extend(archives.into_iter().filter(|found| only.is_empty() || only.contains(&found.name())));
        } else {
            // A file that does not exist is reported when it is opened, so that the other archives are still read.
            selected.push(location);
        }
    }
    if selected.iter().filter(|location| location.is_stream()).count() > 1 {
        return Err(Error::usage("standard input holds one archive: `-` can be given once"));
    }
    if selected.is_empty() {
        let list = sources.iter().map(|source| format!("'{}'", source.display())).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("there is no archive in {list}")));
    }
    Ok(selected)
}
