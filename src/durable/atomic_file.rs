//! Files that get their names only when they are complete and on disk. Until then a file has a hidden temporary name in
//! the same directory and is locked by its writer; dropping an [`AtomicFile`] removes it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::page_cache::{Writeback, drop_written};
use super::{parent, small_file, sync_directory};
use crate::error::{Cause, Error, Result};

/// The suffix of temporary names: `.cvat_db.tar.bz2.4711.voltar-tmp`.
const SUFFIX: &str = ".voltar-tmp";

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: Flock<File>,
    temporary: PathBuf,
    target: PathBuf,
    written: u64,
    writeback: Writeback,
    kept: bool,
}

/// A file that is complete and on disk, but still under its temporary name.
#[derive(Debug)]
pub(crate) struct Ready(AtomicFile);

impl AtomicFile {
    /// Creates the file that will become `target`, readable and writable by its owner only.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot create", target, cause);
        let name = target.file_name().ok_or_else(|| failed("not a file name".into()))?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}{SUFFIX}", std::process::id()));
        let temporary = target.with_file_name(temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|e| failed(e.into()))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| failed(e.into()))?;
        Ok(Self {
            file,
            temporary,
            target: target.to_owned(),
            written: 0,
            writeback: Writeback::default(),
            kept: false,
        })
    }

    /// Syncs the file to disk. [`commit`] then gives it its name.
    pub(crate) fn finish(self) -> Result<Ready> {
        self.file.sync_all().map_err(|e| Error::failed_at("cannot write", &self.target, e))?;
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

/// Renames all files to their targets, or none: if a rename fails, the earlier ones are rolled back. Existing files are
/// replaced only with `overwrite`.
///
/// # Errors
/// A target exists already, a rename fails, or a directory cannot be synced.
pub(crate) fn commit(files: Vec<Ready>, overwrite: bool) -> Result<()> {
    let mut renamed: Vec<Renamed> = Vec::with_capacity(files.len());
    for Ready(file) in files {
        match rename(file, overwrite) {
            Ok(done) => renamed.push(done),
            Err(error) => {
                renamed.reverse();
                renamed.into_iter().for_each(Renamed::undo);
                return Err(error);
            }
        }
    }
    // A rename is durable only when its directory is synced.
    for done in &renamed {
        let directory = parent(&done.file.target);
        sync_directory(directory).map_err(|e| Error::failed_at("cannot sync the directory", directory, e))?;
    }
    renamed.into_iter().for_each(Renamed::keep);
    Ok(())
}

/// A file under its final name. A file that it replaced is now under the temporary name.
struct Renamed {
    file: AtomicFile,
    replaced: bool,
}

fn rename(file: AtomicFile, overwrite: bool) -> Result<Renamed> {
    let attempt = |flags| renameat2(AT_FDCWD, &file.temporary, AT_FDCWD, &file.target, flags);
    let replaced = match attempt(RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(false),
        Err(Errno::EEXIST) if overwrite => match attempt(RenameFlags::RENAME_EXCHANGE) {
            Err(Errno::EINVAL) => rename_without_flags(&file).map(|()| false),
            other => other.map(|()| true),
        },
        // Some filesystems (NFS, some FUSE) do not support the flags of renameat2(2).
        Err(Errno::EINVAL) if overwrite || !file.target.exists() => rename_without_flags(&file).map(|()| false),
        Err(e) => Err(e),
    };
    match replaced {
        Ok(replaced) => Ok(Renamed { file, replaced }),
        Err(e) => Err(Error::failed_at("cannot create", &file.target, e)),
    }
}

fn rename_without_flags(file: &AtomicFile) -> std::result::Result<(), Errno> {
    fs::rename(&file.temporary, &file.target).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or_default()))
}

impl Renamed {
    fn undo(mut self) {
        self.file.kept = true;
        let back = if self.replaced { RenameFlags::RENAME_EXCHANGE } else { RenameFlags::RENAME_NOREPLACE };
        let done = renameat2(AT_FDCWD, &self.file.target, AT_FDCWD, &self.file.temporary, back);
        self.file.kept = done.is_err();
    }

    fn keep(mut self) {
        // The temporary name now holds the replaced file, which `drop` removes, or does not exist.
        self.file.kept = !self.replaced;
    }
}

/// Removes the temporary files in `directory` whose writers no longer run, and returns their paths.
///
/// # Errors
/// The directory exists and cannot be listed.
pub(crate) fn remove_leftovers(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: io::Error| Error::failed_at("cannot list", directory, e);
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let ours = is_temporary(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !ours {
            continue;
        }
        let path = entry.path();
        // A writer holds a lock on its file until it exits.
        let Ok(file) = small_file::open_itself(&path) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    Ok(removed)
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn ready(target: &Path, content: &str) -> Ready {
        let mut file = AtomicFile::create(target).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.finish().unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_a_committed_file_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        drop(AtomicFile::create(&target).unwrap());
        drop(ready(&target, "x"));
        assert!(names(dir.path()).is_empty());
        commit(vec![ready(&target, "x")], false).unwrap();
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn all_are_committed_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&b, "old").unwrap();
        let error = commit(vec![ready(&a, "new"), ready(&b, "new")], false).unwrap_err();
        assert!(error.to_string().contains("File exists"), "{error}");
        assert_eq!(names(dir.path()), ["b"]);
        assert_eq!(fs::read(&b).unwrap(), b"old");

        // The third cannot be renamed, since its temporary file is missing: the first two are rolled back.
        let c = dir.path().join("c");
        fs::create_dir_all(c.join("x")).unwrap();
        let files = vec![ready(&a, "new"), ready(&b, "new"), ready(&c, "new")];
        fs::remove_file(files[2].0.temporary.as_path()).unwrap();
        assert!(commit(files, true).is_err());
        assert_eq!(names(dir.path()), ["b", "c"]);
        assert_eq!(fs::read(&b).unwrap(), b"old");

        commit(vec![ready(&a, "new"), ready(&b, "new")], true).unwrap();
        assert_eq!(names(dir.path()), ["a", "b", "c"]);
        assert_eq!(fs::read(&b).unwrap(), b"new");
    }

    #[test]
    fn leftovers_of_killed_writers_are_removed_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let locked = AtomicFile::create(&dir.path().join("a")).unwrap();
        fs::write(dir.path().join(".b.tar.1.voltar-tmp"), "half").unwrap();
        fs::write(dir.path().join("b.voltar-tmp"), "a user's").unwrap();
        let removed = remove_leftovers(dir.path()).unwrap();
        assert_eq!(removed, [dir.path().join(".b.tar.1.voltar-tmp")]);
        assert!(locked.temporary.exists());
        assert!(dir.path().join("b.voltar-tmp").exists());
    }
}
