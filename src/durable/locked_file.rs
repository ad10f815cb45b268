//! Files that are locked from the moment in which others can take them for leftovers. A lock says that the process that
//! made the file is still running; it holds for the file, not for its name. So whoever has locked a file compares it with
//! what has the name then: the name may have been removed, or given to another file, before the lock was there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::small_file;

/// What to do about a leftover that cannot be removed.
pub(crate) const HINT: &str = "fix the cause; the next run removes it";

/// Creates the file at `path`, readable and writable by its owner only, and locks it. No other process may create files at
/// this path; after an error there is none.
///
/// # Errors
/// Those of the system calls; `EEXIST` if the file exists.
pub(crate) fn create(path: &Path) -> io::Result<Flock<File>> {
    loop {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // Another process may have taken it for a leftover before it was locked, and removes it now.
        let locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into());
        match locked.and_then(|lock| Ok(has_name(&lock, path)?.then_some(lock))) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(cause) => {
                // Only this process makes files of this name. What cannot be removed is a leftover for the next run.
                fs::remove_file(path).unwrap_or_default();
                return Err(cause);
            }
        }
    }
}

/// Locks the file at `path` if its writer has ended. `None` if it is still being written, or gone.
///
/// # Errors
/// Those of the system calls; it is no regular file.
pub(crate) fn lock_leftover(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = match small_file::open_to_lock(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(has_name(&lock, path)?.then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Removes the file at `path` if its writer has ended. Returns whether it was removed.
///
/// # Errors
/// As [`lock_leftover`], or it cannot be removed.
pub(crate) fn remove_leftover(path: &Path) -> io::Result<bool> {
    // A writer holds a lock on its file until it exits. The lock is held until the name is gone, which makes a writer that
    // is just creating this file choose it again.
    let Some(_lock) = lock_leftover(path)? else { return Ok(false) };
    match fs::remove_file(path) {
        // The record to which it belonged was removed, and it with that.
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

/// Returns whether the file has the name `path` now.
pub(super) fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let id = |status: &std::fs::Metadata| (status.dev(), status.ino());
    match path.symlink_metadata() {
        Ok(named) => Ok(id(&named) == id(&file.metadata()?)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_file_is_a_leftover_once_its_writer_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let written = create(&path).unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(lock_leftover(&path).unwrap().is_none());
        drop(written);
        let locked = lock_leftover(&path).unwrap().unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&*locked, FcntlArg::F_GETFL).unwrap());
        assert_eq!(flags & OFlag::O_ACCMODE, OFlag::O_RDWR, "NFS locks nothing else");
        drop(locked);
        fs::remove_file(&path).unwrap();
        assert!(lock_leftover(&path).unwrap().is_none());
    }

    /// One thread creates files while another one removes whatever it can lock: none that is in use is removed.
    #[test]
    fn what_removes_leftovers_never_removes_a_file_that_is_being_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Ok(Some(lock)) = lock_leftover(&path) {
                        fs::remove_file(&path).unwrap();
                        drop(lock);
                    }
                }
            });
            for _ in 0..3000 {
                let lock = match create(&path) {
                    Err(cause) if cause.kind() == ErrorKind::AlreadyExists => continue,
                    other => other.unwrap(),
                };
                std::thread::yield_now();
                assert!(has_name(&lock, &path).unwrap());
                fs::remove_file(&path).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
