//! The files of a set: which those are, and how they come and go.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::name::is_archive;
use crate::durable::atomic_file::{AtomicFile, is_temporary};
use crate::durable::commit::{commit, is_record};
use crate::durable::is_trusted;
use crate::error::{Error, Result};
use crate::manifest;
use crate::member::{printable, printable_path};

/// The name of the file that says when a set was verified.
pub(super) const VERIFIED: &str = "verified.json";

/// What follows the name of an archive in that of its changes.
pub(crate) const CHANGES: &str = ".changes";

/// The suffix of the paths that are gone since a full archive.
pub(crate) const GONE: &str = ".gone";

/// The suffix of the index of a full archive.
pub(crate) const INDEX: &str = ".index.zst";

/// Writes a file of a set, and syncs it.
pub(super) fn write(path: &Path, text: &[u8], overwrite: bool) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(text).map_err(|e| Error::failed_at("cannot write", path, e))?;
    Error::none_of(commit(vec![file.finish()?], overwrite)?)
}

/// A directory that holds nothing but files of a set, and their names.
pub(super) struct OwnFiles {
    directory: File,
    names: Vec<String>,
}

impl OwnFiles {
    /// Opens the directory at `path`, which is one of this user or of root, and lists it.
    ///
    /// # Errors
    /// It holds a file that no run of this program has written there, or belongs to somebody else.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Error::failed_at("cannot open", path, e);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(path, flags, Mode::empty()).map(File::from).map_err(|e| failed(e.into()))?;
        if !is_trusted(directory.metadata().map_err(failed)?.uid()) {
            return Err(not_removed(path, "it belongs to another user"));
        }
        let listed = directory.try_clone().map_err(failed)?;
        let mut entries = Dir::from_fd(listed.into()).map_err(|e| failed(e.into()))?;
        let mut names = Vec::new();
        for entry in entries.iter() {
            let entry = entry.map_err(|e| failed(e.into()))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_file = entry.file_type().is_none_or(|kind| kind == Type::File);
            match std::str::from_utf8(name).ok().filter(|name| is_file && is_of_set(name)) {
                Some(name) => names.push(name.to_owned()),
                None => return Err(not_removed(path, &format!("'{}' in it is not of a set", printable(name)))),
            }
        }
        Ok(Self { directory, names })
    }

    /// Removes the files, and then the directory, which is at `path` now.
    ///
    /// # Errors
    /// A file cannot be removed, or the directory holds others by now.
    pub(super) fn remove(self, path: &Path) -> Result<()> {
        let failed = |errno: Errno| Error::failed_at("cannot remove", path, errno);
        for name in self.names {
            unlinkat(&self.directory, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(failed)?;
        }
        fs::remove_dir(path).map_err(|e| Error::failed_at("cannot remove", path, e))
    }
}

fn not_removed(path: &Path, why: &str) -> Error {
    Error::refused(format!("'{}' is not removed: {why}", printable_path(path)))
        .hint("remove it by hand, if nothing in it is needed")
}

/// Returns whether a run of this program writes files of this name to a set.
fn is_of_set(name: &str) -> bool {
    matches!(name, manifest::FILE | manifest::SUMS | VERIFIED)
        || is_archive(name)
        || name.ends_with(GONE)
        || name.ends_with(INDEX)
        || is_temporary(name.as_ref())
        || is_record(name.as_ref())
}
