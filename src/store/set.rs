//! One set of archives.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::location::Location;
use super::set_files::{VERIFIED, write};
use super::set_name::to_second;
use crate::durable::small_file;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{self, ArchiveRecord, Manifest};
use crate::member::printable_path;

/// A set: a directory with a valid manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    path: PathBuf,
    manifest: Manifest,
}

/// The content of [`VERIFIED`].
#[derive(Serialize, Deserialize)]
struct Verified {
    at: Timestamp,
}

impl Set {
    /// Opens the set in the directory at `path`; `None` if it is none.
    ///
    /// # Errors
    /// It has a manifest that cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match small_file::open_itself(&path.join(manifest::FILE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::failed_at("cannot open", &path.join(manifest::FILE), e))?,
        };
        let text = small_file::read_open(&file, manifest::MAX_BYTES)
            .map_err(|e| Error::failed_at("cannot read", &path.join(manifest::FILE), e))?;
        let manifest = Manifest::parse(&text).map_err(|error| error.within(format!("'{}'", printable_path(path))))?;
        Ok(Some(Self { path: path.to_owned(), manifest }))
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what is known of the set.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the archives, in the order of the manifest.
    #[must_use]
    pub fn archives(&self) -> Vec<Location> {
        self.manifest.archives.iter().map(|archive| self.location(archive)).collect()
    }

    /// Returns the same archives, which are damaged if their digests are not those of the manifest.
    pub(super) fn archives_with_digests(&self) -> Vec<Location> {
        self.manifest.archives.iter().map(|archive| self.location(archive).with_digest(archive.sha256)).collect()
    }

    fn location(&self, archive: &ArchiveRecord) -> Location {
        Location::new(self.path.join(&archive.file)).named(&archive.name)
    }

    /// Checks that all archives are there, with their lengths.
    ///
    /// # Errors
    /// One is not.
    pub fn check(&self) -> Result<()> {
        for archive in &self.manifest.archives {
            let path = self.path.join(&archive.file);
            let status = path.symlink_metadata().map_err(|e| Error::failed_at("cannot open", &path, e))?;
            if !status.is_file() || status.len() != archive.bytes {
                let found =
                    if status.is_file() { format!("has {} bytes", status.len()) } else { "is no file".to_owned() };
                let message = format!("'{}' {found}, not the {} of its set", printable_path(&path), archive.bytes);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
        }
        Ok(())
    }

    /// Records that all archives were verified now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn verified(&self) -> Result<()> {
        let path = self.path.join(VERIFIED);
        let text = serde_json::to_vec(&Verified { at: to_second(Timestamp::now()) })
            .map_err(|e| Error::failed_at("cannot write", &path, e))?;
        write(&path, &text, true)
    }
}

/// Returns when the set in the directory at `path` was verified.
pub(super) fn verified_at(path: &Path) -> Option<Timestamp> {
    let file = small_file::open_itself(&path.join(VERIFIED)).ok()?;
    let text = small_file::read_open(&file, manifest::MAX_BYTES).ok()?;
    serde_json::from_slice(&text).ok().map(|Verified { at }| at)
}
