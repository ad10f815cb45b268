//! Reading the small files of a data root.

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use walkdir::WalkDir;

use crate::durable::small_file;
use crate::error::{Error, Result};

/// The size limit of a file, in bytes. Docker's files have a few kilobytes.
const MAX_BYTES: u64 = 16 << 20;

/// Returns the directories in a directory, sorted by name. Symbolic links are not followed.
pub(super) fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in WalkDir::new(dir).min_depth(1).max_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| match error.io_error() {
            Some(cause) => unreadable(dir, cause),
            None => Error::failed_at("cannot read", dir, error.to_string()),
        })?;
        if entry.file_type().is_dir() {
            directories.push(entry.into_path());
        }
    }
    Ok(directories)
}

/// Reads and parses a JSON file; returns `None` if it does not exist.
pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let Some(bytes) = read(file)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
        Error::failed_at("cannot read", file, cause).hint(
            "the file is damaged; without its directory, voltar and Docker ignore that container or volume: move it away",
        )
    })
}

/// Reads a file; returns `None` if it does not exist.
fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match small_file::open_itself(file).and_then(|open| small_file::read_open(&open, MAX_BYTES)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == IoKind::NotFound => Ok(None),
        Err(cause) => Err(unreadable(file, &cause)),
    }
}

/// Returns the error of a path that cannot be read.
pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    let error = Error::failed_at("cannot read", path, cause);
    if cause.kind() == IoKind::PermissionDenied { error.hint("run voltar as root (sudo)") } else { error }
}
