//! Small files that say what a run is about to do to the host, so that a later run can complete or undo it. They lie
//! in a directory that only this user can write. A record is complete whenever it has its name, and locked while its run
//! is in progress: a record without a lock is that of a run that was killed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind as IoKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde::Deserialize;

use super::{locked_file, parent, small_file, sync_directory};
use crate::error::{Cause, Error, Result};

const SUFFIX: &str = ".json";

/// The extension of a text that is being written.
const TEMPORARY: &str = "tmp";

/// A record holds a few names and numbers; a larger file is none. In bytes.
const MAX_BYTES: u64 = 4 << 20;

/// How writing the text of a record has failed.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// The record has the text from before.
    Unchanged(io::Error),
    /// The record has the new text, and after a crash that or the one from before.
    Unsynced(io::Error),
}

impl NotWritten {
    /// The error of the system call.
    pub(crate) fn cause(self) -> io::Error {
        match self {
            Self::Unchanged(cause) | Self::Unsynced(cause) => cause,
        }
    }
}

impl From<io::Error> for NotWritten {
    fn from(cause: io::Error) -> Self {
        Self::Unchanged(cause)
    }
}

/// A record that this process has locked.
#[derive(Debug)]
pub(crate) struct LockedRecord {
    path: PathBuf,
    lock: Flock<File>,
}

impl LockedRecord {
    /// Writes a new record to `directory`, which is created if it does not exist. `kind` begins its name.
    ///
    /// # Errors
    /// Those of the system calls, or others can write to the directory.
    pub(crate) fn create(directory: &Path, kind: &str, text: &[u8]) -> io::Result<Self> {
        make_directory(directory)?;
        let now = jiff::Timestamp::now().as_nanosecond();
        let path = directory.join(format!("{kind}-{now}-{}{SUFFIX}", std::process::id()));
        let lock = write(&path, text)?;
        sync_directory(directory).inspect_err(|_| {
            // Nothing of what it announces is done.
            fs::remove_file(&path).unwrap_or_default();
        })?;
        Ok(Self { path, lock })
    }

    /// Replaces its text: after a crash it has the old one or the new one.
    ///
    /// # Errors
    /// Those of the system calls, and which text it has.
    pub(crate) fn replace(&mut self, text: &[u8]) -> Result<(), NotWritten> {
        // The new file is locked before it has the name, so the record is locked all the time.
        self.lock = write(&self.path, text)?;
        sync_directory(parent(&self.path)).map_err(NotWritten::Unsynced)
    }

    /// Removes it: there is nothing to complete or undo any more.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn remove(self) -> Result<()> {
        let removed = fs::remove_file(&self.path)
            // A run that was killed while it replaced the text has left a new one.
            .and_then(|()| fs::remove_file(self.path.with_extension(TEMPORARY)).or_else(unless_missing))
            .and_then(|()| sync_directory(parent(&self.path)));
        removed.map_err(|cause| Error::failed_at("cannot remove", &self.path, cause))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the record of a run that has ended, and reads its text. `None` while that run is in progress, or when another
    /// process has locked or removed the record first.
    ///
    /// # Errors
    /// Those of the system calls, or the file is too large for a record.
    pub(crate) fn take_over(path: &Path, how: FlockArg) -> io::Result<Option<(Self, Vec<u8>)>> {
        let Some(file) = unless_gone(small_file::open_to_lock(path))? else { return Ok(None) };
        let lock = match Flock::lock(file, how) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        // Removed between the open and the lock.
        if lock.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        let text = small_file::read_open(&lock, MAX_BYTES)?;
        Ok(Some((Self { path: path.to_owned(), lock }, text)))
    }
}

/// The text of a record, which this process has not locked.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) text: Vec<u8>,
    /// Whether another process has locked it.
    pub(crate) in_progress: bool,
}

/// Reads a record, also one of a run that is in progress. `None` if it has been removed.
///
/// # Errors
/// Those of the system calls, or the file is too large for a record.
pub(crate) fn read(path: &Path) -> io::Result<Option<Found>> {
    let Some(file) = unless_gone(small_file::open_itself(path))? else { return Ok(None) };
    let text = small_file::read_open(&file, MAX_BYTES)?;
    // With an exclusive lock, two processes that look at the same time would each find the other's.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        // It was replaced or removed since it was opened; whoever did so had locked it.
        Ok(lock) => Ok(Some(Found { text, in_progress: lock.metadata()?.nlink() == 0 })),
        Err((_, Errno::EWOULDBLOCK)) => Ok(Some(Found { text, in_progress: true })),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Locks the directory of the records, which is created if it does not exist, and waits for other processes: between
/// looking at their records and writing one, no other may appear.
///
/// # Errors
/// Those of the system calls, or others can write to the directory.
pub(crate) fn lock_directory(directory: &Path) -> io::Result<Flock<File>> {
    make_directory(directory)?;
    Flock::lock(File::open(directory)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Returns the version that a record begins with. It is read first, because another version may have other fields.
///
/// # Errors
/// The text is no record.
pub(crate) fn version(text: &[u8]) -> serde_json::Result<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice(text).map(|Versioned { version }| version)
}

/// Says that a record has another version than the one that is `known`.
pub(crate) fn other_version(version: u32, known: u32) -> String {
    format!("it has version {version}, and this voltar knows version {known}")
}

/// Returns the paths of the records of `kind` in `directory`, oldest first: their names begin with the time. A directory
/// that does not exist, or that this user may not read, holds none.
///
/// # Errors
/// Those of the system calls, or others can write to the directory.
pub(crate) fn list(directory: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    list_of(directory, kind).map_err(|cause| Error::failed_at("cannot read", directory, cause))
}

fn list_of(directory: &Path, kind: &str) -> io::Result<Vec<PathBuf>> {
    let is_record = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let rest = name.strip_prefix(kind.as_bytes()).and_then(|rest| rest.strip_prefix(b"-"));
        rest.is_some_and(|rest| rest.ends_with(SUFFIX.as_bytes()))
    };
    let mut records: Vec<PathBuf> = paths(directory)?.into_iter().filter(is_record).collect();
    if !records.is_empty() {
        check_private(directory)?;
    }
    records.sort();
    Ok(records)
}

/// Returns the paths in `directory`. One that does not exist, or that this user may not read, has none.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(cause) if matches!(cause.kind(), IoKind::NotFound | IoKind::PermissionDenied) => Ok(Vec::new()),
        Err(cause) => Err(cause),
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        sync_directory(parent(directory))?;
    }
    check_private(directory)
}

/// Root acts on what records say, so nobody else may be able to write them.
fn check_private(directory: &Path) -> io::Result<()> {
    let status = fs::metadata(directory)?;
    let own = status.uid() == geteuid().as_raw() || status.uid() == 0;
    if own && status.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other("other users can write to this directory, so its records cannot be trusted (`chmod go-w`)"))
}

/// Writes, syncs and locks a file under a temporary name and renames it. The directory is left to the caller to sync.
fn write(path: &Path, text: &[u8]) -> io::Result<Flock<File>> {
    let temporary = path.with_extension(TEMPORARY);
    // Whoever has the record's lock is the only one to write it: a file here is what a run left that was killed.
    fs::remove_file(&temporary).or_else(unless_missing)?;
    let written = || -> io::Result<Flock<File>> {
        let mut lock = locked_file::create(&temporary)?;
        lock.write_all(text)?;
        lock.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(lock)
    };
    written().inspect_err(|_| {
        // The failure to write is what gets reported.
        fs::remove_file(&temporary).unwrap_or_default();
    })
}

fn unless_missing(cause: io::Error) -> io::Result<()> {
    if cause.kind() == IoKind::NotFound { Ok(()) } else { Err(cause) }
}

/// Removes the texts of records that were never completed, because their run was killed. Returns why others are left.
///
/// # Errors
/// The directory exists and cannot be read.
pub(crate) fn remove_leftovers(directory: &Path) -> Result<Vec<Error>> {
    let is_leftover = |path: &PathBuf| {
        // With a record it is that of a run that replaces the text, or removed with the record.
        path.extension().is_some_and(|extension| extension == TEMPORARY) && !path.with_extension(&SUFFIX[1..]).exists()
    };
    let paths = paths(directory).map_err(|cause| Error::failed_at("cannot read", directory, cause))?;
    let left = |path: PathBuf| locked_file::remove_leftover(&path).err().map(|cause| not_removed(&path, cause));
    Ok(paths.into_iter().filter(is_leftover).filter_map(left).collect())
}

/// Removes the records of `kind` whose run has ended and whose text `is_obsolete`. Returns why others are left, and which
/// cannot be read, with the hint `unread`.
///
/// # Errors
/// As [`list`].
pub(crate) fn remove_obsolete(
    directory: &Path,
    kind: &str,
    unread: &str,
    is_obsolete: impl Fn(&[u8]) -> Result<bool, Cause>,
) -> Result<Vec<Error>> {
    let failed = |what, path: &Path, cause| Error::failed_at(what, path, cause).hint(unread);
    let remove = |path: &Path| {
        let taken = LockedRecord::take_over(path, FlockArg::LockExclusiveNonblock);
        let taken = taken.map_err(|cause| failed("cannot read", path, cause.into()))?;
        let Some((record, text)) = taken else { return Ok(()) };
        if is_obsolete(&text).map_err(|cause| failed("cannot understand", path, cause))? {
            record.remove().map_err(|error| error.hint(locked_file::HINT))?;
        }
        Ok(())
    };
    Ok(list(directory, kind)?.iter().filter_map(|path| remove(path).err()).collect())
}

fn not_removed(path: &Path, cause: io::Error) -> Error {
    Error::failed_at("cannot remove", path, cause).hint(locked_file::HINT)
}

fn unless_gone(opened: io::Result<File>) -> io::Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(cause) if cause.kind() == IoKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn take_over(path: &Path) -> Option<Vec<u8>> {
        LockedRecord::take_over(path, FlockArg::LockExclusiveNonblock).unwrap().map(|(_, text)| text)
    }

    #[test]
    fn a_record_is_locked_as_long_as_its_run_is_in_progress() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let record = LockedRecord::create(&state, "stopped", b"text").unwrap();
        let [path] = &list(&state, "stopped").unwrap()[..] else { panic!() };
        assert_eq!((path.as_path(), take_over(path)), (record.path(), None));
        drop(record);
        assert_eq!(take_over(path).unwrap(), b"text");
        assert!(list(&state, "other").unwrap().is_empty());
        let (record, _) = LockedRecord::take_over(path, FlockArg::LockExclusive).unwrap().unwrap();
        record.remove().unwrap();
        assert!(list(&state, "stopped").unwrap().is_empty() && take_over(path).is_none());
    }

    #[test]
    fn a_record_that_is_replaced_stays_locked() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = LockedRecord::create(dir.path(), "restore", b"one").unwrap();
        let path = record.path().to_owned();
        fs::write(path.with_extension(TEMPORARY), "of a run that was killed").unwrap();
        record.replace(b"two").unwrap();
        assert!(take_over(&path).is_none());
        let found = read(&path).unwrap().unwrap();
        assert_eq!((&found.text[..], found.in_progress), (&b"two"[..], true));
        drop(record);
        assert!(!read(&path).unwrap().unwrap().in_progress);
        assert_eq!(take_over(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_that_was_never_complete_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let record = LockedRecord::create(dir.path(), "restore", b"one").unwrap();
        let replaced = record.path().with_extension("tmp");
        for path in [&replaced, &dir.path().join("stopped-1-1.tmp"), &dir.path().join("restore-1-1.tmp")] {
            fs::write(path, "of a run that was killed").unwrap();
        }
        let written = locked_file::create(&dir.path().join("kept-1-1.tmp")).unwrap();
        assert!(remove_leftovers(dir.path()).unwrap().is_empty());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let expected = [dir.path().join("kept-1-1.tmp"), record.path().to_owned(), replaced];
        assert_eq!(left, expected);
        drop(written);
        record.remove().unwrap();
        assert!(remove_leftovers(dir.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(remove_leftovers(&dir.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_removed_is_reported_and_keeps_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let reported = |left: Vec<Error>, what: &str, path: &Path| {
            let [error] = &left[..] else { panic!("{left:?}") };
            assert!(error.to_string().starts_with(&format!("{what} '{}': ", path.display())), "{error}");
        };
        fs::create_dir(at("stopped-2-1.tmp")).unwrap();
        for name in ["stopped-1-1.tmp", "stopped-3-1.tmp"] {
            fs::write(at(name), "half").unwrap();
        }
        reported(remove_leftovers(dir.path()).unwrap(), "cannot remove", &at("stopped-2-1.tmp"));
        fs::remove_dir(at("stopped-2-1.tmp")).unwrap();

        std::os::unix::fs::symlink("/etc/passwd", at("backup-2.json")).unwrap();
        for (name, text) in [("backup-1", "old"), ("backup-3", "old"), ("backup-4", "needed"), ("kept-1", "old")] {
            fs::write(at(name).with_extension("json"), text).unwrap();
        }
        let is_obsolete = |text: &[u8]| Ok(text != b"needed");
        let in_progress = LockedRecord::create(dir.path(), "backup", b"").unwrap();
        reported(
            remove_obsolete(dir.path(), "backup", "remove it", is_obsolete).unwrap(),
            "cannot read",
            &at("backup-2.json"),
        );
        let mut left = list(dir.path(), "backup").unwrap();
        left.retain(|path| path != in_progress.path());
        assert_eq!(left, [at("backup-2.json"), at("backup-4.json")]);
        assert!(at("kept-1.json").exists() && in_progress.path().exists());
    }

    #[test]
    fn one_process_at_a_time_looks_and_writes() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let lock = lock_directory(&state).unwrap();
        let other = || Flock::lock(File::open(&state).unwrap(), FlockArg::LockExclusiveNonblock).map(drop);
        assert!(other().is_err());
        drop(lock);
        assert!(other().is_ok());
    }

    #[test]
    fn a_record_that_others_could_have_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(LockedRecord::create(dir.path(), "stopped", b"one").unwrap());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        list(dir.path(), "stopped").unwrap_err();
        LockedRecord::create(dir.path(), "stopped", b"two").unwrap_err();
    }

    #[test]
    fn what_cannot_be_a_record_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stopped-1-1.json");
        let refused = || LockedRecord::take_over(&path, FlockArg::LockExclusiveNonblock).unwrap_err();
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused().to_string(), format!("it has more than {MAX_BYTES} bytes"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(refused().raw_os_error(), Some(nix::libc::ELOOP));
    }

    /// One thread writes records while others remove leftovers: none that is being written is removed.
    #[test]
    fn a_record_that_is_being_written_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        let left = remove_leftovers(dir.path()).unwrap();
                        assert!(left.is_empty(), "{left:?}");
                    }
                });
            }
            let write = |_| LockedRecord::create(dir.path(), "kept", b"text").map(drop);
            let written: Vec<_> = (0..500).map(write).collect();
            is_done.store(true, Ordering::Relaxed);
            written.into_iter().for_each(Result::unwrap);
        });
    }
}
