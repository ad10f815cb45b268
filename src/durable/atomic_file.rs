//! Files that get their names only when they are complete and on disk. Until then a file has a hidden temporary name in
//! the same directory and is locked by its writer; dropping an [`AtomicFile`] removes it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, RenameFlags, renameat2};

use super::page_cache::{Writeback, drop_written};
use super::{locked_file, parent, sync_directory};
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

/// Renames all files to their targets, or none: if a rename fails, or is not durable, all are rolled back. Existing files
/// are replaced only with `overwrite`.
///
/// # Errors
/// A target exists already, a rename fails, or a directory cannot be synced. The other errors in it are of renames that
/// could not be rolled back, and say what has which name.
pub(crate) fn commit(files: Vec<Ready>, overwrite: bool) -> Result<()> {
    commit_with(files, overwrite, &sync_directory)
}

fn commit_with(files: Vec<Ready>, overwrite: bool, sync: &dyn Fn(&Path) -> io::Result<()>) -> Result<()> {
    let mut renamed: Vec<Renamed> = Vec::with_capacity(files.len());
    let done = files
        .into_iter()
        .try_for_each(|Ready(file)| rename(file, overwrite).map(|done| renamed.push(done)))
        .and_then(|()| sync_directories(&renamed, sync));
    let Err(error) = done else {
        renamed.into_iter().for_each(Renamed::keep);
        return Ok(());
    };
    let directories: Vec<PathBuf> = renamed.iter().map(|done| parent(&done.file.target).to_owned()).collect();
    renamed.reverse();
    let failures = renamed.into_iter().filter_map(|done| done.undo().err()).collect();
    for directory in directories {
        // What could not be synced is what gets reported.
        sync(&directory).unwrap_or_default();
    }
    Err(error.and(failures))
}

/// A rename is durable only when its directory is synced.
fn sync_directories(renamed: &[Renamed], sync: &dyn Fn(&Path) -> io::Result<()>) -> Result<()> {
    for done in renamed {
        let directory = parent(&done.file.target);
        sync(directory).map_err(|e| Error::failed_at("cannot sync the directory", directory, e))?;
    }
    Ok(())
}

/// A file under its final name.
struct Renamed {
    file: AtomicFile,
    replaced: Replaced,
    /// A replaced file is locked like one that is being written: another run would take it for a leftover.
    _lock: Option<Flock<File>>,
}

/// What became of the file that had the final name.
enum Replaced {
    /// There was none.
    Nothing,
    /// It has the temporary name.
    Kept {
        /// Whether the filesystem can exchange two names.
        exchange: bool,
    },
    /// It is gone: the filesystem can neither exchange names nor link files.
    Gone,
}

fn rename(file: AtomicFile, overwrite: bool) -> Result<Renamed> {
    let attempt = |flags| renameat2(AT_FDCWD, &file.temporary, AT_FDCWD, &file.target, flags);
    let mut lock = None;
    let replaced = match attempt(RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(Replaced::Nothing),
        Err(Errno::EEXIST) if overwrite => {
            lock = locked_file::lock_leftover(&file.target).ok().flatten();
            match attempt(RenameFlags::RENAME_EXCHANGE) {
                Ok(()) => Ok(Replaced::Kept { exchange: true }),
                Err(Errno::EINVAL) => replace(&file.temporary, &file.target),
                Err(errno) => Err(errno.into()),
            }
        }
        // Some filesystems (NFS, some FUSE) do not support the flags of renameat2(2).
        Err(Errno::EINVAL) if !file.target.exists() => {
            fs::rename(&file.temporary, &file.target).map(|()| Replaced::Nothing)
        }
        Err(Errno::EINVAL) if overwrite => replace(&file.temporary, &file.target),
        Err(errno) => Err(errno.into()),
    };
    match replaced {
        Ok(replaced) => Ok(Renamed { file, replaced, _lock: lock }),
        Err(e) => Err(Error::failed_at("cannot create", &file.target, e)),
    }
}

/// Gives `temporary` the name `target`, and the file that had it the name `temporary`, on a filesystem that cannot exchange
/// names. At every moment `target` is one of the two.
fn replace(temporary: &Path, target: &Path) -> io::Result<Replaced> {
    let mut spare = temporary.as_os_str().to_owned();
    spare.push(SUFFIX);
    let is_linked = fs::hard_link(target, &spare).is_ok();
    fs::rename(temporary, target).inspect_err(|_| {
        // The failure to rename is what gets reported.
        fs::remove_file(&spare).unwrap_or_default();
    })?;
    let is_kept = is_linked && fs::rename(&spare, temporary).is_ok();
    Ok(if is_kept { Replaced::Kept { exchange: false } } else { Replaced::Gone })
}

impl Renamed {
    /// Gives the final name back to the file that it replaced, or to none.
    fn undo(mut self) -> Result<()> {
        let AtomicFile { temporary, target, .. } = &self.file;
        let attempt = |flags| renameat2(AT_FDCWD, target, AT_FDCWD, temporary, flags).map_err(io::Error::from);
        let (undone, left) = match self.replaced {
            Replaced::Nothing => {
                let undone = match attempt(RenameFlags::RENAME_NOREPLACE) {
                    Err(cause) if cause.raw_os_error() == Some(Errno::EINVAL as i32) => fs::rename(target, temporary),
                    other => other,
                };
                (undone, "others of the same run are missing".to_owned())
            }
            Replaced::Kept { exchange } => {
                let undone =
                    if exchange { attempt(RenameFlags::RENAME_EXCHANGE) } else { fs::rename(temporary, target) };
                let left = format!(
                    "the file that it replaced is '{}', which the next backup into this directory removes",
                    temporary.display()
                );
                (undone, left)
            }
            Replaced::Gone => {
                let why = "its filesystem can neither exchange names nor link files";
                (Err(io::Error::other(why)), "the file that it replaced is gone".to_owned())
            }
        };
        let undone = undone.map_err(|cause| {
            Error::failed_at("cannot take back the new file", target, cause).hint(format!("it is complete; {left}"))
        });
        self.file.kept = undone.is_err();
        undone
    }

    fn keep(mut self) {
        // The temporary name now holds the replaced file, which `drop` removes, or does not exist.
        self.file.kept = !matches!(self.replaced, Replaced::Kept { .. });
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
        // A writer holds a lock on its file until it exits. The lock is held until the name is gone, which makes a writer
        // that is just creating this file choose it again.
        if let Ok(Some(_lock)) = locked_file::lock_leftover(&path)
            && fs::remove_file(&path).is_ok()
        {
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
    fn where_names_cannot_be_exchanged_the_old_file_can_be_given_back_too() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        for undone in [true, false] {
            fs::write(&target, "old").unwrap();
            let file = ready(&target, "new").0;
            let replaced = replace(&file.temporary, &target).unwrap();
            assert!(matches!(replaced, Replaced::Kept { exchange: false }));
            assert_eq!(fs::read(&file.temporary).unwrap(), b"old");
            let renamed = Renamed { file, replaced, _lock: None };
            if undone {
                renamed.undo().unwrap();
            } else {
                renamed.keep();
            }
            assert_eq!(fs::read(&target).unwrap(), if undone { &b"old"[..] } else { b"new" });
            assert_eq!(names(dir.path()), ["a"]);
        }
    }

    #[test]
    fn the_file_that_is_being_replaced_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        fs::write(&target, "old").unwrap();
        let renamed = rename(ready(&target, "new").0, true).unwrap();
        assert!(remove_leftovers(dir.path()).unwrap().is_empty());
        renamed.undo().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn files_whose_names_are_not_on_disk_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let fails = |_: &Path| Err(io::Error::from(Errno::EIO));
        let error = commit_with(vec![ready(&a, "new"), ready(&b, "new")], false, &fails).unwrap_err();
        assert!(error.to_string().starts_with("cannot sync the directory") && error.others().is_empty(), "{error:?}");
        assert!(names(dir.path()).is_empty());
        fs::write(&a, "old").unwrap();
        commit_with(vec![ready(&a, "new"), ready(&b, "new")], true, &fails).unwrap_err();
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(fs::read(&a).unwrap(), b"old");

        // What cannot be taken back is named, and neither file is removed: here others have moved both meanwhile.
        let moves = |_: &Path| {
            // The second time there is nothing to move.
            fs::rename(&a, dir.path().join("moved")).unwrap_or_default();
            fails(dir.path())
        };
        let error = commit_with(vec![ready(&a, "new")], true, &moves).unwrap_err();
        let [left] = error.others() else { panic!("{error:?}") };
        assert!(left.to_string().starts_with("cannot take back the new file"), "{left}");
        assert_eq!(fs::read(dir.path().join("moved")).unwrap(), b"new");
        let kept = names(dir.path()).into_iter().find(|name| name.ends_with(SUFFIX)).unwrap();
        assert_eq!(fs::read(dir.path().join(kept)).unwrap(), b"old");
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
