//! Files that survive a crash: directories are synced, small files are replaced atomically, and a large file gets its
//! name only when it is complete. This module does not depend on archives or volumes.

pub(crate) mod atomic_file;
pub(crate) mod page_cache;
pub(crate) mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::O_DIRECTORY;

/// Syncs the entries of the directory at `path` to disk. Creating, renaming or removing a file is durable only after
/// the directory is synced (fsync(2)).
///
/// # Errors
/// Those of open(2) and fsync(2); `ENOTDIR` if `path` is not a directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open(path)?.sync_all()
}

/// Returns the directory that holds `path`: `.` for a bare name, `/` for `/`.
#[must_use]
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Replaces the content of the small file at `path` by `content` atomically: after a crash it holds either the old
/// content or the new one. The new content is durable once the caller has synced the directory. `temporary` is a path
/// in the same directory that is not used otherwise.
///
/// # Errors
/// Those of the system calls; `path` then keeps its old content.
pub(crate) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_bare_name_is_the_working_directory() {
        for (path, directory) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("/", "/")] {
            assert_eq!(parent(Path::new(path)), Path::new(directory), "{path}");
        }
    }

    #[test]
    fn a_small_file_is_replaced_and_no_temporary_file_remains() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("record"), dir.path().join("record.new"));
        for content in ["one", "two"] {
            replace(&path, &temporary, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert!(!temporary.exists());
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        replace(&path, &temporary, b"three").unwrap_err();
        assert!(path.is_dir());
    }

    #[test]
    fn only_a_directory_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        sync_directory(dir.path()).unwrap();
        sync_directory(&file).unwrap_err();
    }
}
