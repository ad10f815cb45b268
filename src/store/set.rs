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
use crate::manifest::{self, ArchiveRecord, Base, FileRecord, Manifest};
use crate::member::{RelPath, printable_path};

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

    /// Returns the names of the sets that it needs.
    pub(super) fn bases(&self) -> impl Iterator<Item = String> {
        self.manifest.bases().into_iter().map(str::to_owned)
    }

    /// Returns the archives, in the order of the manifest.
    #[must_use]
    pub fn archives(&self) -> Vec<Location> {
        self.locations(|location, _| location)
    }

    /// Returns the same archives, which are damaged if their digests are not those of the manifest.
    pub(super) fn archives_with_digests(&self) -> Vec<Location> {
        self.locations(|location, record| location.with_digest(record.sha256))
    }

    fn locations(&self, of_file: impl Fn(Location, &FileRecord) -> Location) -> Vec<Location> {
        let at = |directory: &Path, record: &FileRecord| Location::new(directory.join(&record.file));
        let archive = |archive: &ArchiveRecord| {
            let own = archive.archive.as_ref().map(|record| of_file(at(&self.path, record), record));
            let first = archive.first_pass.as_ref().map(|record| of_file(at(&self.path, record), record));
            let base = archive.base.as_ref().map(|base| of_file(at(&self.beside(base), &base.archive), &base.archive));
            let base = base.or(first);
            let location = match (base, own, &archive.gone) {
                (Some(full), Some(changes), Some(gone)) => {
                    let gone = at(&self.path, gone).with_digest(gone.sha256);
                    changes.since(full, gone, RelPath::parse(archive.path.as_bytes()).unwrap_or_default())
                }
                (Some(one), ..) | (None, Some(one), _) => one,
                // No manifest has that.
                (None, None, _) => return None,
            };
            Some(location.named(&archive.name))
        };
        self.manifest.archives.iter().filter_map(archive).collect()
    }

    /// Returns the indexes of full archives, with the records of these.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (&ArchiveRecord, Location)> {
        self.manifest.archives.iter().filter_map(|archive| {
            let index = archive.index.as_ref()?;
            Some((archive, Location::new(self.path.join(&index.file)).with_digest(index.sha256)))
        })
    }

    /// Returns the path of the set of `base`, which is in the same directory.
    fn beside(&self, base: &Base) -> PathBuf {
        match (self.path.parent(), self.path.file_name()) {
            (Some(directory), Some(_)) => directory.join(&base.set),
            // Such as `.`.
            _ => self.path.join("..").join(&base.set),
        }
    }

    /// Checks that all files are there, with their lengths, and those that they need in other sets.
    ///
    /// # Errors
    /// One is not.
    pub fn check(&self) -> Result<()> {
        let check = |directory: &Path, record: &FileRecord| {
            let path = directory.join(&record.file);
            let status = path.symlink_metadata().map_err(|e| Error::failed_at("cannot open", &path, e))?;
            if !status.is_file() || status.len() != record.bytes {
                let found =
                    if status.is_file() { format!("has {} bytes", status.len()) } else { "is no file".to_owned() };
                let message = format!("'{}' {found}, not the {} of its set", printable_path(&path), record.bytes);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            Ok(())
        };
        self.manifest.files().try_for_each(|record| check(&self.path, record))?;
        for (archive, base) in self.manifest.archives.iter().filter_map(|one| Some((one, one.base.as_ref()?))) {
            check(&self.beside(base), &base.archive).map_err(|error| {
                let what = format!("the full archive of '{}' in the set {} is needed", archive.name, base.set);
                error.within(what).hint(format!("copy the set {} back beside this one", base.set))
            })?;
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
