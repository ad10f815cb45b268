//! Files that get their names only when they are complete and on disk. Until then a file has a hidden temporary name in
//! the same directory and is locked by its writer; dropping an [`AtomicFile`] removes it. [`commit`](super::commit::commit)
//! gives them their names.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use super::page_cache::{Writeback, drop_written};
use super::{TEMPORARY, locked_file};
use crate::apart;
use crate::error::{Cause, Error, Result};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    pub(super) file: Flock<File>,
    pub(super) temporary: PathBuf,
    pub(super) target: PathBuf,
    written: u64,
    writeback: Writeback,
    /// Nothing of its own has the temporary name any more.
    pub(super) kept: bool,
}

/// A file that is complete and on disk, but still under its temporary name.
#[derive(Debug)]
pub(crate) struct Ready(pub(super) AtomicFile);

impl AtomicFile {
    /// Creates the file that will become `target`, readable and writable by its owner only.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot create", target, cause);
        let name = target.file_name().ok_or_else(|| failed("not a file name".into()))?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}{TEMPORARY}", std::process::id()));
        let temporary = target.with_file_name(temporary);
        let file = locked_file::create(&temporary).map_err(|e| failed(e.into()))?;
        Ok(Self {
            file,
            temporary,
            target: target.to_owned(),
            written: 0,
            writeback: Writeback::default(),
            kept: false,
        })
    }

    /// Lets everybody read the file.
    pub(crate) fn readable_by_all(&self) -> Result<()> {
        let mode = Permissions::from_mode(0o644);
        self.file.set_permissions(mode).map_err(|e| Error::failed_at("cannot set the mode of", &self.target, e))
    }

    /// Syncs the file to disk. It does not have its name yet.
    pub(crate) fn finish(self) -> Result<Ready> {
        let synced = self.file.sync_all();
        self.synced(synced)
    }

    /// The same for a large file: what a slow disk has not written yet is waited for until `check` fails.
    ///
    /// # Errors
    /// That of `check`, or the file cannot be synced: it is removed.
    pub(crate) fn finish_large(self, check: &dyn Fn() -> Result<()>) -> Result<Ready> {
        let synced = match self.file.try_clone() {
            Ok(file) => apart::wait_for(move || file.sync_all(), check)?,
            Err(e) => Err(e),
        };
        self.synced(synced)
    }

    fn synced(self, synced: io::Result<()>) -> Result<Ready> {
        synced.map_err(|e| Error::failed_at("cannot write", &self.target, e))?;
        drop_written(&*self.file);
        Ok(Ready(self))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.written += n as u64;
        self.writeback.wrote(&*self.file, n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.kept {
            // An error cannot be returned here; the next run removes the leftover.
            fs::remove_file(&self.temporary).unwrap_or_default();
        }
    }
}

impl Ready {
    /// Returns the length of the file in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.written
    }
}

/// Returns whether files that are being written have such names.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(TEMPORARY.as_bytes())
}

/// Returns the name that a file has while it gives way to the one at `temporary`.
pub(super) fn spare(temporary: &Path) -> PathBuf {
    let mut spare = temporary.as_os_str().to_owned();
    spare.push(TEMPORARY);
    spare.into()
}

/// Returns whether `temporary` is a name that a file which will become `target` has until then. Both are bare names.
pub(super) fn is_temporary_of(temporary: &str, target: &str) -> bool {
    let number = temporary
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(target)?.strip_prefix('.')?.strip_suffix(TEMPORARY));
    let is_number = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_number && !target.is_empty() && !target.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_dropped_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        drop(AtomicFile::create(&target).unwrap());
        let file = AtomicFile::create(&target).unwrap();
        let [name] = &names(dir.path())[..] else { panic!() };
        assert!(is_temporary(OsStr::new(name)) && is_temporary_of(name, "a"), "{name}");
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o7777, 0o600);
        drop(file.finish().unwrap());
        assert!(names(dir.path()).is_empty());
        for other in ["a", ".a.voltar-tmp", ".a.x.voltar-tmp", ".b.1.voltar-tmp", ".a.1", "a.1.voltar-tmp"] {
            assert!(!is_temporary_of(other, "a"), "{other}");
        }
        assert!(!is_temporary_of("./a.1.voltar-tmp", "/a") && !is_temporary_of("..1.voltar-tmp", ""));
    }
}
