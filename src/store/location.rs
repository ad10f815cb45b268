//! The location of one archive, and opening it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::name::{archive_name, foreign_program};
use crate::durable::page_cache::ReadOnce;
use crate::error::{Error, Result};
use crate::member::printable;

/// The location of one archive in a store, whether or not it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    path: PathBuf,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Opened {
    /// The reader of its bytes, in order.
    pub reader: ReadOnce,
    /// The length in bytes; `None` if the store does not report it.
    pub bytes: Option<u64>,
}

impl Location {
    /// Returns the location of the archive in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the archive's name without its suffix: `cvat_db` for `backup/cvat_db.tar.bz2`.
    #[must_use]
    pub fn name(&self) -> String {
        archive_name(&self.path)
    }

    /// Returns the program that decompresses the archive, if its suffix is that of a format that voltar does not read.
    #[must_use]
    pub fn foreign_program(&self) -> Option<&'static str> {
        foreign_program(&self.path)
    }

    /// Returns the path of the archive file, which identifies it in events and JSON documents.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the archive for reading from its start.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file.
    pub fn open(&self) -> Result<Opened> {
        let failed = |e: io::Error| Error::failed_at("cannot open", &self.path, e);
        let file = File::open(&self.path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        if !status.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        Ok(Opened { reader: ReadOnce::new(file), bytes: Some(status.len()) })
    }

    /// Returns the archive's length in bytes, without opening it; `None` if the store does not report it.
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
