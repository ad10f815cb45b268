//! Sets: directories of archives that say what they hold, in a directory of such sets. A set is made in a hidden directory,
//! and is renamed when it is complete; it is removed in the same way, the other way round. Whoever changes a directory of sets
//! has its lock, so what is hidden there then is a leftover.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;

use super::set::{Set, verified_at};
use super::set_files::OwnFiles;
use super::set_name::SetName;
use crate::durable::leftovers::Recovered;
use crate::durable::run_lock::RunLock;
use crate::durable::{rename_new, sync_directory};
use crate::error::{Error, Result};
use crate::manifest;
use crate::member::printable_path;
use crate::monitor::Monitor;

/// The name of the lock of a directory of sets.
const LOCK: &str = ".voltar.lock";

/// A directory of sets, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sets {
    pub(super) directory: PathBuf,
}

/// A directory that is named as a set.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: SetName,
    /// Its path.
    pub path: PathBuf,
    /// The set, if it is complete: all archives are there, with their lengths.
    pub set: Result<Set>,
    /// The names of the sets that it needs; `None` if what says so cannot be read.
    pub bases: Option<BTreeSet<String>>,
    /// When it was verified last.
    pub verified: Option<Timestamp>,
}

impl Sets {
    /// Returns the sets in the directory at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { directory: path.into() }
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Returns the directories that are named as sets, in the order of their names: the oldest one first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for name in self.names()? {
            let Some(name) = SetName::parse(&name) else { continue };
            let path = self.at(name);
            // A symbolic link is no set of this directory.
            let set = match path.symlink_metadata() {
                Ok(status) if !status.is_dir() => continue,
                Ok(_) => Set::open(&path),
                Err(e) => Err(Error::failed_at("cannot examine", &path, e)),
            };
            let bases = set.as_ref().ok().map(|set| set.iter().flat_map(Set::bases).collect());
            let set = set.and_then(|set| complete(set, &path));
            listed.push(Listed { name, set, bases, verified: verified_at(&path), path });
        }
        listed.sort_by_key(|listed| listed.name);
        Ok(listed)
    }

    /// Returns the names of what is in the directory, as far as they are UTF-8.
    fn names(&self) -> Result<Vec<String>> {
        let failed = |e: io::Error| Error::failed_at("cannot list", &self.directory, e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    pub(super) fn at(&self, name: SetName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    /// Locks the directory for a run of `command`; another run is waited for, until `wait` has passed.
    ///
    /// # Errors
    /// Another run has it: [`crate::error::ErrorKind::Busy`]. The lock cannot be created; the run was cancelled.
    pub(crate) fn lock(&self, command: &str, wait: Duration, monitor: &dyn Monitor) -> Result<RunLock> {
        RunLock::acquire(&self.directory.join(LOCK), command, wait, monitor)
    }

    /// Removes what killed runs have left. The caller has the lock.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub(crate) fn recover(&self, _lock: &RunLock) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        for name in self.names()?.iter().filter_map(|name| SetName::parse_hidden(name)) {
            let path = self.directory.join(name.hidden());
            match OwnFiles::open(&path).and_then(|files| files.remove(&path)) {
                Ok(()) => recovered.removed.push(path),
                Err(error) => recovered.left.push(error),
            }
        }
        Ok(recovered)
    }

    /// Removes a complete set. It is none any more once the first step is done, whatever happens then. The caller has the lock.
    ///
    /// # Errors
    /// It holds what is not of it, belongs to somebody else, or cannot be renamed: then nothing has changed. Or a file of it
    /// cannot be removed: the next run tries again.
    pub(crate) fn remove(&self, name: SetName, _lock: &RunLock) -> Result<()> {
        let (path, hidden) = (self.at(name), self.directory.join(name.hidden()));
        let files = OwnFiles::open(&path)?;
        let failed = |e: io::Error| Error::failed_at("cannot remove", &path, e);
        rename_new(&path, &hidden).map_err(|errno| failed(errno.into()))?;
        sync_directory(&self.directory).map_err(failed)?;
        files.remove(&hidden)
    }
}

/// Returns the `set` that the directory at `path` holds, if it is complete.
fn complete(set: Option<Set>, path: &Path) -> Result<Set> {
    let set = set
        .ok_or_else(|| Error::refused(format!("'{}' is no set: it has no {}", printable_path(path), manifest::FILE)))?;
    set.check()?;
    Ok(set)
}

impl Listed {
    /// Returns the set if it is complete.
    #[must_use]
    pub fn complete(&self) -> Option<&Set> {
        self.set.as_ref().ok()
    }

    /// Returns whether the set may be complete, and cannot be read now: by an error of the disk, not because a file of it is
    /// missing or damaged.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        let errno = self.set.as_ref().err().and_then(Error::errno);
        errno.is_some_and(|errno| errno != Errno::ENOENT)
    }
}
