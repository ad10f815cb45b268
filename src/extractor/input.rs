//! An archive that is extracted or compared, and what it must hold.

use super::parts::Parts;
use crate::archive_file::ArchiveFile;
use crate::error::{Error, Result};
use crate::member::RelPath;
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::Location;

/// An archive to extract, and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the layout.
    pub archive: String,
    /// Where it is.
    pub location: Location,
    /// The path in the container.
    pub path: RelPath,
    /// What precedes a path of the tree in the names of the members: usually the path in the container.
    pub prefix: RelPath,
    /// Whether members outside of the prefix are skipped; else the archive is refused.
    pub selected: bool,
    /// Whether an archive that holds only its root is accepted.
    pub allow_empty: bool,
    /// Whether an archive without an end is accepted.
    pub allow_truncated_end: bool,
    /// The paths in the tree at and below which members are extracted; all members if there are none.
    pub parts: Parts,
}

impl Input {
    /// Returns the archive of the tree at `path`, all of which is extracted.
    #[must_use]
    pub fn new(archive: &str, location: &Location, path: &RelPath) -> Self {
        Self {
            archive: archive.to_owned(),
            location: location.clone(),
            path: path.clone(),
            prefix: path.clone(),
            selected: false,
            allow_empty: false,
            allow_truncated_end: false,
            parts: Parts::default(),
        }
    }

    /// Opens the archive.
    pub(super) fn open<'m>(&self, pool: &Pool, monitor: &'m dyn Monitor) -> Result<ArchiveFile<'m>> {
        let mut archive = ArchiveFile::open(&self.location, pool, monitor)?;
        if self.allow_truncated_end {
            archive.allow_truncated_end();
        }
        Ok(archive)
    }

    /// Returns the refusal of a part of which the archive has no member.
    pub(super) fn holds_no(&self, part: &RelPath) -> Error {
        let Self { archive, location, path, .. } = self;
        Error::refused(format!("{archive}: '{location}' holds nothing at or below '{part}'")).hint(format!(
            "`voltar list {location}` shows what it holds; --path is a path below '/{path}', or a name as listed there"
        ))
    }
}
