//! Files that survive a crash: directories are synced, records are replaced atomically, and a large file gets its
//! name only when it is complete. This module does not depend on archives or volumes.

pub(crate) mod atomic_file;
pub(crate) mod commit;
pub(crate) mod leftovers;
mod locked_file;
pub(crate) mod page_cache;
pub(crate) mod record;
pub(crate) mod run_lock;
pub(crate) mod small_file;
pub(crate) mod state_dir;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc::O_DIRECTORY;
use nix::unistd::geteuid;

use crate::renameat2::{RenameFlags, renameat2};

/// The end of the names of what is being written or removed: `.cvat_db.tar.bz2.4711.voltar-tmp`.
pub(crate) const TEMPORARY: &str = ".voltar-tmp";

/// Syncs the entries of the directory at `path` to disk. Creating, renaming or removing a file is durable only after
/// the directory is synced (fsync(2)).
///
/// # Errors
/// Those of open(2) and fsync(2); `ENOTDIR` if `path` is not a directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open(path)?.sync_all()
}

/// Returns the time as text, in UTC and to the second: for files that say when something began.
pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns whether a file of the user `uid` is one of this program: whoever can write it could do the same without it, except
/// in a directory with the sticky bit.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == geteuid().as_raw() || uid == 0
}

/// Renames a file or directory to a name that does not exist.
///
/// # Errors
/// Those of the system calls; `EEXIST` if the name exists, or `EINVAL` on a filesystem that does not have the flags of
/// renameat2(2) (NFS, some FUSE).
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    let attempt = |flags| renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
    match attempt(RenameFlags::NOREPLACE) {
        Err(Errno::EINVAL) if to.symlink_metadata().is_err() => attempt(RenameFlags::empty()),
        other => other,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_parent_of_a_bare_name_is_the_working_directory() {
        for (path, directory) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("/", "/")] {
            assert_eq!(parent(Path::new(path)), Path::new(directory), "{path}");
        }
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
