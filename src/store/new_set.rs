//! A set that is being made.

use std::path::PathBuf;

use jiff::Timestamp;
use nix::errno::Errno;

use super::set_files::{OwnFiles, write};
use super::set_name::SetName;
use super::sets::Sets;
use crate::durable::{rename_new, sync_directory};
use crate::error::{Error, Result};
use crate::manifest::{self, Manifest};

/// A set that is being made: its archives are written to a hidden directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSet {
    sets: Sets,
    name: SetName,
}

impl NewSet {
    /// Returns the set of a backup into `sets` that begins at `time`.
    #[must_use]
    pub fn new(sets: Sets, time: Timestamp) -> Self {
        Self { sets, name: SetName::at(time) }
    }

    /// Returns the directory of sets.
    #[must_use]
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// Returns the name that it gets.
    #[must_use]
    pub fn name(&self) -> SetName {
        self.name
    }

    /// Returns the path of the set when it is complete.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.sets.at(self.name)
    }

    /// Returns the path of the directory until then.
    pub(super) fn hidden(&self) -> PathBuf {
        self.sets.directory.join(self.name.hidden())
    }

    /// Completes the set: its manifest is written, and it gets its name.
    ///
    /// # Errors
    /// A file cannot be written, or the name exists already: then it has no name.
    pub(crate) fn complete(&self, manifest: &Manifest) -> Result<()> {
        let (hidden, path) = (self.hidden(), self.path());
        write(&hidden.join(manifest::SUMS), manifest.sums().as_bytes(), false)?;
        write(&hidden.join(manifest::FILE), &manifest.text()?, false)?;
        rename_new(&hidden, &path).map_err(|errno| Error::failed_at("cannot create", &path, errno))?;
        if let Err(cause) = sync_directory(&self.sets.directory) {
            let error = Error::failed_at("cannot sync the directory", &self.sets.directory, cause);
            // A power cut could still take its name. If it cannot be undone, the set is whole all the same.
            let undone =
                rename_new(&path, &hidden).map_err(|errno| Error::failed_at("cannot undo the rename to", &path, errno));
            return Err(error.and(undone.err().into_iter().collect()));
        }
        Ok(())
    }

    /// Removes what has been written so far.
    ///
    /// # Errors
    /// It cannot be removed: the next run does.
    pub(crate) fn abandon(&self) -> Result<()> {
        let hidden = self.hidden();
        match OwnFiles::open(&hidden).and_then(|files| files.remove(&hidden)) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }
}
