//! Removes whole trees, however deep, without following links: each directory is moved up beside the top before
//! its content goes, so no path grows long and no handle is kept.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::beneath::{DIRECTORY, each_name};
use super::metadata;
use crate::monitor::Monitor;

/// Prefix of the names that directories get until they are removed.
pub(super) const DOOMED: &str = ".voltar-doomed-";

/// How long a run that was cancelled still removes trees: it has ended within a second.
const AFTER_CANCELLATION: Duration = Duration::from_millis(500);

/// How long a run removes the trees that it does not need any more, which can hold millions of files: to the end, unless it
/// is cancelled; from then on for [`AFTER_CANCELLATION`] in all, which is enough for most trees.
pub(crate) struct RemovalTime<'m> {
    /// `None` if nothing can cancel it.
    monitor: Option<&'m dyn Monitor>,
    after_cancellation: Duration,
    /// Set by the first check after the cancellation.
    end: OnceLock<Instant>,
}

impl<'m> RemovalTime<'m> {
    /// Returns the time of a run that `monitor` can cancel.
    pub(crate) fn of(monitor: &'m dyn Monitor) -> Self {
        Self { monitor: Some(monitor), after_cancellation: AFTER_CANCELLATION, end: OnceLock::new() }
    }

    /// Returns a time without a limit.
    pub(super) fn unlimited() -> Self {
        Self { monitor: None, after_cancellation: Duration::ZERO, end: OnceLock::new() }
    }

    /// Returns a time that ends when `monitor` cancels the run.
    #[cfg(test)]
    pub(super) fn ending_with(monitor: &'m dyn Monitor) -> Self {
        Self { after_cancellation: Duration::ZERO, ..Self::of(monitor) }
    }

    /// Checks whether there is time to remove more.
    ///
    /// # Errors
    /// `EINTR` if there is none.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if !self.monitor.is_some_and(Monitor::cancelled) {
            return Ok(());
        }
        let end = self.end.get_or_init(|| Instant::now() + self.after_cancellation);
        if Instant::now() < *end { Ok(()) } else { Err(Errno::EINTR) }
    }
}

/// Removes `name` in `directory` and all below it. It is no error if there is no such name. `check` is called before each
/// entry.
///
/// # Errors
/// Those of the system calls, and of `check`. What is left can have other names then, beside `name`.
pub(crate) fn remove_all(
    directory: impl AsFd,
    name: &OsStr,
    check: &dyn Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let directory = directory.as_fd();
    let status = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    if !metadata::is_directory(&status) {
        return unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
    let mut doomed = VecDeque::from([name.to_owned()]);
    let mut count = 0_u64;
    while let Some(name) = doomed.pop_front() {
        let mut handle = openat(directory, name.as_os_str(), DIRECTORY, Mode::empty());
        if matches!(handle, Err(Errno::EACCES)) {
            // Its mode forbids removing what is in it to any process but root's.
            metadata::change_directory_mode(directory, &name, Mode::S_IRWXU)?;
            handle = openat(directory, name.as_os_str(), DIRECTORY, Mode::empty());
        }
        let handle = handle?;
        if fstat(&handle)?.st_mode & 0o700 != 0o700 {
            fchmod(&handle, Mode::S_IRWXU)?;
        }
        for (entry, is_directory) in entries(&handle, check)? {
            check()?;
            if is_directory {
                // An empty directory goes at once; only one with content is worth a move.
                if unlinkat(&handle, entry.as_os_str(), UnlinkatFlags::RemoveDir).is_ok() {
                    continue;
                }
                let moved = loop {
                    let moved = OsString::from(format!("{DOOMED}{count}"));
                    count += 1;
                    match fstatat(directory, moved.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                        Ok(_) => {}
                        Err(Errno::ENOENT) => break moved,
                        Err(errno) => return Err(errno),
                    }
                };
                match renameat(&handle, entry.as_os_str(), directory, moved.as_os_str()) {
                    // Its `..` changes, which requires write permission on the directory itself.
                    Err(Errno::EACCES) => {
                        metadata::change_directory_mode(&handle, &entry, Mode::S_IRWXU)?;
                        renameat(&handle, entry.as_os_str(), directory, moved.as_os_str())?;
                    }
                    other => other?,
                }
                doomed.push_back(moved);
            } else {
                unlinkat(&handle, entry.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
            }
        }
        unlinkat(directory, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}

/// The names in an open directory, in no order, each with whether it is a directory. A directory can hold millions, whose
/// inodes are read from disk, so `check` is called before each.
///
/// # Errors
/// Those of the system calls, and of `check`.
pub(super) fn entries(
    directory: &OwnedFd,
    check: &dyn Fn() -> Result<(), Errno>,
) -> Result<Vec<(OsString, bool)>, Errno> {
    let mut entries = Vec::new();
    each_name(directory, |name| {
        check()?;
        let status = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        entries.push((name.to_owned(), metadata::is_directory(&status)));
        Ok(())
    })?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::fs::{File, create_dir_all, read_dir, set_permissions, write};
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::monitor::Event;

    #[test]
    fn the_tree_goes_and_what_its_links_point_at_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("tree/a/b/c")).unwrap();
        create_dir_all(at("kept")).unwrap();
        write(at("kept/file"), "x").unwrap();
        write(at("tree/a/b/file"), "x").unwrap();
        symlink("../../kept", at("tree/a/link")).unwrap();
        set_permissions(at("tree/a/b"), std::fs::Permissions::from_mode(0o000)).unwrap();
        let directory = File::open(dir.path()).unwrap();
        remove_all(&directory, OsStr::new("tree"), &|| Ok(())).unwrap();
        remove_all(&directory, OsStr::new("tree"), &|| Ok(())).unwrap();
        assert_eq!(std::fs::read(at("kept/file")).unwrap(), b"x");
        assert_eq!(read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_removed_after_a_check_has_failed() {
        fn count(directory: &Path) -> usize {
            let entries = read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| 1 + if path.is_dir() { count(&path) } else { 0 }).sum()
        }
        let mut most = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            for directory in ["a/b", "c/d", "e"] {
                create_dir_all(dir.path().join("tree").join(directory)).unwrap();
            }
            for file in ["a/b/file", "a/file", "c/d/file", "file"] {
                write(dir.path().join("tree").join(file), "x").unwrap();
            }
            let directory = OwnedFd::from(File::open(dir.path()).unwrap());
            let (asked, left) = (Cell::new(0), Cell::new(None));
            let check = || {
                asked.set(asked.get() + 1);
                if asked.get() <= most {
                    return Ok(());
                }
                assert_eq!(left.replace(Some(count(dir.path()))), None, "it has ended");
                Err(Errno::EINTR)
            };
            let removed = remove_all(&directory, OsStr::new("tree"), &check);
            if removed == Ok(()) {
                assert_eq!(count(dir.path()), 0);
                break;
            }
            assert_eq!((removed, left.get()), (Err(Errno::EINTR), Some(count(dir.path()))), "{most}");
            // As the next run does.
            for (name, _) in entries(&directory, &|| Ok(())).unwrap() {
                assert!(name == "tree" || name.as_bytes().starts_with(DOOMED.as_bytes()), "{name:?}");
                remove_all(&directory, &name, &|| Ok(())).unwrap();
            }
            assert_eq!(count(dir.path()), 0, "{most}");
            most += 1;
        }
        assert!(most > 15, "{most}");
    }

    #[test]
    fn most_trees_are_removed_although_the_run_is_cancelled() {
        struct Signalled(AtomicBool);

        impl Monitor for Signalled {
            fn event(&self, _: &Event<'_>) {}

            fn cancelled(&self) -> bool {
                self.0.load(Ordering::Relaxed)
            }
        }

        let signalled = Signalled(AtomicBool::new(false));
        let time = RemovalTime::of(&signalled);
        std::thread::sleep(AFTER_CANCELLATION);
        assert_eq!(time.check(), Ok(()));
        signalled.0.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        assert_eq!(time.check(), Ok(()));
        while time.check().is_ok() {
            assert!(begun.elapsed() < 2 * AFTER_CANCELLATION);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(begun.elapsed() >= AFTER_CANCELLATION);
    }
}
