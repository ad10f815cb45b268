//! Gives complete files of one directory their names: all of them, or none.
//!
//! A rename is one step, and several are not. Before the first of several renames a record in the directory announces them.
//! From then on all files are complete and on disk, so a run that is killed leaves what a later one can always complete. The
//! record lies beside the files and not in the state directory, because the directory may be read from another machine, and
//! is written by users who have no state directory. It holds bare names and can have no other effect than renaming files of
//! the same owner in that directory.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::atomic_file::{AtomicFile, Ready, is_temporary_of, spare};
use super::{is_trusted, locked_file, parent, record, rename_new, small_file, sync_directory};
use crate::error::{Cause, Error, Result};
use crate::renameat2::{RenameFlags, renameat2};

/// The begin of the names of records.
const RECORD: &str = ".voltar-commit.";

/// Which fields a record has.
const VERSION: u32 = 1;

/// What to do about a record that cannot be read.
const UNREAD: &str = "it says which archives are of one backup: fix the cause, then run the command again";

/// A record holds a few names; a larger file is none. In bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// Whether files that have the names are replaced.
    overwrite: bool,
    files: Vec<Announced>,
}

/// A file that is to be renamed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announced {
    temporary: String,
    target: String,
    /// Tells it from a file that it replaces, which gets its temporary name.
    inode: u64,
}

/// What a rename has done with a file that had the name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Nothing,
    /// It has the temporary name now.
    Exchanged,
    /// The same, on a filesystem that cannot exchange two names.
    Linked,
    /// It is gone: the filesystem can neither exchange names nor link files.
    Lost,
}

/// A file that has its name.
#[derive(Debug)]
struct Renamed {
    replaced: Replaced,
    /// A replaced file is locked like one that is being written: another run would take it for a leftover.
    _lock: Option<Flock<File>>,
}

/// Renames all files to their targets, or none: if a rename fails, the earlier ones are undone. All are in one directory.
/// Existing files are replaced only with `overwrite`. Returns the replaced files that could not be removed.
///
/// # Errors
/// A target exists already, a rename fails, or the directory cannot be synced. If an earlier rename cannot be undone, the
/// error says so, and [`complete`] gives the other files their names.
pub(crate) fn commit(files: Vec<Ready>, overwrite: bool) -> Result<Vec<Error>> {
    commit_with(files, overwrite, &sync_directory)
}

fn commit_with(files: Vec<Ready>, overwrite: bool, sync: &dyn Fn(&Path) -> io::Result<()>) -> Result<Vec<Error>> {
    let mut files: Vec<AtomicFile> = files.into_iter().map(|Ready(file)| file).collect();
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let directory = parent(&first.target).to_owned();
    let record = if files.len() > 1 { Some(announce(&directory, &files, overwrite)?) } else { None };
    let mut renamed = Vec::with_capacity(files.len());
    let done = files.iter().try_for_each(|file| {
        renamed.push(rename(&file.temporary, &file.target, overwrite)?);
        Ok(())
    });
    // A rename is durable only when its directory is synced.
    let done =
        done.and_then(|()| sync(&directory).map_err(|e| Error::failed_at("cannot sync the directory", &directory, e)));
    if let Err(error) = done {
        return Err(undo(error, &directory, files, &renamed, record));
    }
    let mut left = Vec::new();
    for (file, Renamed { replaced, .. }) in files.iter_mut().zip(&renamed) {
        file.kept = true;
        if matches!(replaced, Replaced::Exchanged | Replaced::Linked) {
            left.extend(remove(&file.temporary).err());
        }
    }
    if let Some(record) = record {
        // Durably, or it would be back after a power cut.
        let synced =
            || sync_directory(&directory).map_err(|e| Error::failed_at("cannot sync the directory", &directory, e));
        left.extend(remove(&record.target).and_then(|()| synced()).err());
    }
    Ok(left)
}

/// Writes the record of the renames to disk.
fn announce(directory: &Path, files: &[AtomicFile], overwrite: bool) -> Result<AtomicFile> {
    let failed = |cause: Cause| Error::failed_at("cannot write to", directory, cause);
    let announced = files.iter().map(|file| {
        let name = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let names = name(&file.temporary).zip(name(&file.target)).filter(|_| parent(&file.target) == directory);
        let (temporary, target) = names.ok_or_else(|| io::Error::other("a file has no plain name"))?;
        Ok(Announced { temporary, target, inode: file.file.metadata()?.ino() })
    });
    let announced = announced.collect::<io::Result<Vec<_>>>().map_err(|cause| failed(cause.into()))?;
    let text = serde_json::to_vec(&Record { version: VERSION, overwrite, files: announced });
    let text = text.map_err(|cause| failed(cause.into()))?;
    let mut record = AtomicFile::create(&directory.join(format!("{RECORD}{}", std::process::id())))?;
    record.write_all(&text).map_err(|cause| failed(cause.into()))?;
    let Ready(mut record) = record.finish()?;
    rename(&record.temporary, &record.target, false)?;
    record.kept = true;
    if let Err(cause) = sync_directory(directory) {
        let error = Error::failed_at("cannot sync the directory", directory, cause);
        return Err(error.and(withdraw(&record).err().into_iter().collect()));
    }
    Ok(record)
}

/// Removes a record, so that nothing is completed.
fn withdraw(record: &AtomicFile) -> Result<()> {
    let hint =
        "if the new archives cannot be removed either, the next command on that directory gives them their names";
    remove(&record.target).map_err(|error| error.hint(hint))
}

/// Undoes the renames after `error`, and removes all files.
fn undo(
    error: Error,
    directory: &Path,
    mut files: Vec<AtomicFile>,
    renamed: &[Renamed],
    record: Option<AtomicFile>,
) -> Error {
    let undone = files.iter().zip(renamed).rev().map(|(file, renamed)| undo_one(file, renamed.replaced));
    let failures: Vec<Error> = undone.filter_map(Result::err).collect();
    if failures.is_empty() {
        // Now, or the record would announce files that are gone. If it stays, none of them is there, and it has no effect.
        drop(files);
        let left = record.and_then(|record| withdraw(&record).err());
        return error.and(left.into_iter().collect());
    }
    // What is left is complete: a later run gives it its name.
    for file in &mut files {
        file.kept = true;
    }
    let several = if files.len() > 1 { ": it holds archives of two backups" } else { "" };
    let mixed = Error::refused(format!("new archives in '{}' have their names{several}", directory.display()))
        .hint("fix the cause, then run `voltar verify` on that directory: it gives the other archives their names");
    mixed.and(std::iter::once(error).chain(failures).collect())
}

fn undo_one(file: &AtomicFile, replaced: Replaced) -> Result<()> {
    let (temporary, target) = (&file.temporary, &file.target);
    let undone = match replaced {
        Replaced::Nothing => rename_new(target, temporary),
        Replaced::Exchanged => exchange(target, temporary),
        Replaced::Linked => renameat2(AT_FDCWD, temporary, AT_FDCWD, target, RenameFlags::empty()),
        Replaced::Lost => Err(Errno::ENOENT),
    };
    undone.map_err(|errno| Error::failed_at("cannot undo the rename to", &file.target, errno))
}

fn exchange(one: &Path, other: &Path) -> Result<(), Errno> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::EXCHANGE)
}

fn rename(temporary: &Path, target: &Path, overwrite: bool) -> Result<Renamed> {
    let mut lock = None;
    let replaced = match rename_new(temporary, target) {
        Ok(()) => Ok(Replaced::Nothing),
        Err(Errno::EEXIST) if overwrite => {
            lock = locked_file::lock_leftover(target).ok().flatten();
            match exchange(temporary, target) {
                Err(Errno::EINVAL) => replace(temporary, target),
                other => other.map(|()| Replaced::Exchanged).map_err(io::Error::from),
            }
        }
        Err(Errno::EINVAL) if overwrite => replace(temporary, target),
        Err(errno) => Err(errno.into()),
    };
    let replaced = replaced.map_err(|cause| Error::failed_at("cannot create", target, cause))?;
    Ok(Renamed { replaced, _lock: lock })
}

/// Gives `temporary` the name `target`, and the file that had it the name `temporary`, on a filesystem that cannot exchange
/// names. At every moment `target` is one of the two.
fn replace(temporary: &Path, target: &Path) -> io::Result<Replaced> {
    let spare = spare(temporary);
    let is_linked = fs::hard_link(target, &spare).is_ok();
    fs::rename(temporary, target).inspect_err(|_| {
        // The failure to rename is what gets reported.
        fs::remove_file(&spare).unwrap_or_default();
    })?;
    let is_kept = is_linked && fs::rename(&spare, temporary).is_ok();
    Ok(if is_kept { Replaced::Linked } else { Replaced::Lost })
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|cause| Error::failed_at("cannot remove", path, cause))
}

/// What [`complete`] has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    /// The files that got their names.
    pub(crate) named: Vec<PathBuf>,
    /// Whether another process is giving files their names now.
    pub(crate) in_progress: bool,
}

/// Gives the files of killed runs in `directory` the names that a record announces.
///
/// # Errors
/// The directory exists and cannot be listed, or a file cannot be renamed: the directory may hold files of two runs.
pub(crate) fn complete(directory: &Path) -> Result<Completed> {
    let (records, in_progress) = records(directory)?;
    let mut completed = Completed { in_progress, ..Completed::default() };
    for Found { path, record, _lock } in records {
        let named = complete_one(directory, &record).map_err(|error| error.within(interrupted(directory)))?;
        completed.named.extend(named);
        remove(&path)?;
    }
    Ok(completed)
}

/// Refuses a directory in which some files of one run have their names and others do not.
///
/// # Errors
/// There are such files, or the directory exists and cannot be listed.
pub(crate) fn check_complete(directory: &Path) -> Result<()> {
    let (records, in_progress) = records(directory)?;
    let shown = directory.display();
    if in_progress {
        return Err(Error::refused(format!("another voltar is giving archives in '{shown}' their names"))
            .hint("run the command again"));
    }
    for Found { record, .. } in records {
        if record.is_there(directory)? && !record.unnamed(directory)?.is_empty() {
            let hint = format!(
                "`voltar verify {shown}` gives the other archives their names, and so does a restore or backup"
            );
            return Err(Error::refused(interrupted(directory)).hint(hint));
        }
    }
    Ok(())
}

fn interrupted(directory: &Path) -> String {
    format!("a backup into '{}' was interrupted while its archives got their names", directory.display())
}

/// A record in a directory, which no other process has now.
struct Found {
    path: PathBuf,
    record: Record,
    _lock: Flock<File>,
}

/// Returns whether records have such names.
pub(crate) fn is_record(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(RECORD.as_bytes())
}

/// What has the name of a record.
enum Named {
    Record(Found),
    /// A record that another process has now.
    InProgress,
    /// Something else, or nothing any more.
    Other,
}

/// Returns the records in `directory`, and whether there are some that another process has now. One that cannot be read is
/// an error: what it announces would be taken for leftovers.
fn records(directory: &Path) -> Result<(Vec<Found>, bool)> {
    let (mut records, mut in_progress) = (Vec::new(), false);
    let failed = |e: io::Error| Error::failed_at("cannot list", directory, e);
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((records, in_progress)),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !is_record(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        match named(&path).map_err(|cause| Error::failed_at("cannot read", &path, cause).hint(UNREAD))? {
            Named::Record(found) => records.push(found),
            Named::InProgress => in_progress = true,
            Named::Other => {}
        }
    }
    Ok((records, in_progress))
}

/// Opens, locks and reads what has the name of a record.
fn named(path: &Path) -> io::Result<Named> {
    let is_own = |status: &Metadata| status.is_file() && status.nlink() == 1 && is_trusted(status.uid());
    let opened = path
        .symlink_metadata()
        .and_then(|status| if is_own(&status) { small_file::open_to_lock(path).map(Some) } else { Ok(None) });
    let file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Named::Other),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Named::Other),
        Err(cause) => return Err(cause),
    };
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(Named::InProgress),
        Err((_, errno)) => return Err(errno.into()),
    };
    // Removed, or given another name, before it was locked.
    if !is_own(&lock.metadata()?) {
        return Ok(Named::Other);
    }
    let text = small_file::read_open(&lock, MAX_BYTES)?;
    // A record is complete when it has its name.
    let Ok(version) = record::version(&text) else { return Ok(Named::Other) };
    if version != VERSION {
        return Err(io::Error::other(record::other_version(version, VERSION)));
    }
    let Ok(record) = serde_json::from_slice(&text) else { return Ok(Named::Other) };
    Ok(Named::Record(Found { path: path.to_owned(), record, _lock: lock }))
}

impl Record {
    /// Returns whether all files are there. One that is gone was removed after all renames were undone, or taken away after
    /// all were made.
    fn is_there(&self, directory: &Path) -> Result<bool> {
        for file in &self.files {
            let is_there = is_temporary_of(&file.temporary, &file.target)
                && (file.is_at(&file.temporary, directory)? || file.is_at(&file.target, directory)?);
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the files that do not have their names.
    fn unnamed(&self, directory: &Path) -> Result<Vec<&Announced>> {
        let mut unnamed = Vec::new();
        for file in &self.files {
            if file.is_at(&file.temporary, directory)? {
                unnamed.push(file);
            }
        }
        Ok(unnamed)
    }
}

impl Announced {
    fn is_at(&self, name: &str, directory: &Path) -> Result<bool> {
        let path = directory.join(name);
        match fs::symlink_metadata(&path) {
            Ok(status) => Ok(status.is_file() && status.ino() == self.inode && is_trusted(status.uid())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(Error::failed_at("cannot examine", &path, cause)),
        }
    }
}

fn complete_one(directory: &Path, record: &Record) -> Result<Vec<PathBuf>> {
    if !record.is_there(directory)? {
        return Ok(Vec::new());
    }
    let mut named = Vec::new();
    for file in record.unnamed(directory)? {
        let (temporary, target) = (directory.join(&file.temporary), directory.join(&file.target));
        rename(&temporary, &target, record.overwrite)?;
        named.push(target);
    }
    sync_directory(directory).map_err(|e| Error::failed_at("cannot sync the directory", directory, e))?;
    for file in &record.files {
        let replaced = directory.join(&file.temporary);
        if file.is_at(&file.target, directory)? && replaced.exists() {
            remove(&replaced)?;
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::super::leftovers;
    use super::*;

    fn ready(target: &Path, content: &str) -> Ready {
        let mut file = AtomicFile::create(target).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.finish().unwrap()
    }

    fn content(directory: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut found: Vec<_> = entries
            .map(|entry| {
                let text = if entry.file_type().unwrap().is_file() {
                    fs::read_to_string(entry.path()).unwrap()
                } else {
                    String::new()
                };
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        found.sort();
        found
    }

    fn expect(directory: &Path, files: &[(&str, &str)]) {
        let expected: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(content(directory), expected);
    }

    #[test]
    fn all_are_committed_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("b"), "old").unwrap();
        let error = commit(vec![ready(&at("a"), "new"), ready(&at("b"), "new")], false).unwrap_err();
        assert!(error.to_string().contains("File exists"), "{error}");
        expect(dir.path(), &[("b", "old")]);

        // The third cannot be renamed, since its temporary file is missing: the first two are undone.
        let files = vec![ready(&at("a"), "new"), ready(&at("b"), "new"), ready(&at("c"), "new")];
        fs::remove_file(&files[2].0.temporary).unwrap();
        assert!(commit(files, true).is_err());
        expect(dir.path(), &[("b", "old")]);

        assert!(commit(vec![ready(&at("a"), "new"), ready(&at("b"), "new")], true).unwrap().is_empty());
        expect(dir.path(), &[("a", "new"), ("b", "new")]);
    }

    /// A run that was killed between two renames.
    fn killed(at: &dyn Fn(&str) -> PathBuf) -> AtomicFile {
        fs::write(at("a"), "old").unwrap();
        fs::write(at("b"), "old").unwrap();
        let mut files = [ready(&at("a"), "new").0, ready(&at("b"), "new").0];
        let record = announce(parent(&at("a")), &files, true).unwrap();
        rename(&files[0].temporary, &files[0].target, true).unwrap();
        for file in &mut files {
            file.kept = true;
        }
        record
    }

    #[test]
    fn what_a_killed_run_has_begun_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let record = killed(&at);
        let in_progress = Completed { in_progress: true, ..Completed::default() };
        assert_eq!(complete(dir.path()).unwrap(), in_progress);
        let refusal = |expected: &str| {
            let error = check_complete(dir.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        refusal("another voltar is giving");
        drop(record);
        refusal("was interrupted while its archives got their names");
        assert_eq!(fs::read_to_string(at("b")).unwrap(), "old");
        assert_eq!(complete(dir.path()).unwrap().named, [at("b")]);
        check_complete(dir.path()).unwrap();
        expect(dir.path(), &[("a", "new"), ("b", "new")]);
    }

    #[test]
    fn where_names_cannot_be_exchanged_the_old_file_can_be_given_back_too() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        for undone in [true, false] {
            fs::write(&target, "old").unwrap();
            let file = ready(&target, "new").0;
            let replaced = replace(&file.temporary, &target).unwrap();
            assert_eq!(replaced, Replaced::Linked);
            assert_eq!(fs::read(&file.temporary).unwrap(), b"old");
            if undone {
                undo_one(&file, replaced).unwrap();
            }
            drop(file);
            expect(dir.path(), &[("a", if undone { "old" } else { "new" })]);
        }
    }

    #[test]
    fn the_file_that_is_being_replaced_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        fs::write(&target, "old").unwrap();
        let file = ready(&target, "new").0;
        let renamed = rename(&file.temporary, &target, true).unwrap();
        assert!(locked_file::lock_leftover(&file.temporary).unwrap().is_none());
        undo_one(&file, renamed.replaced).unwrap();
        drop(file);
        expect(dir.path(), &[("a", "old")]);
    }

    #[test]
    fn files_whose_names_are_not_on_disk_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let fails = |_: &Path| Err(io::Error::from(Errno::EIO));
        let error = commit_with(vec![ready(&at("a"), "new"), ready(&at("b"), "new")], false, &fails).unwrap_err();
        assert!(error.to_string().starts_with("cannot sync the directory") && error.others().is_empty(), "{error:?}");
        expect(dir.path(), &[]);
        fs::write(at("a"), "old").unwrap();
        commit_with(vec![ready(&at("a"), "new"), ready(&at("b"), "new")], true, &fails).unwrap_err();
        expect(dir.path(), &[("a", "old")]);
    }

    #[test]
    fn a_record_of_files_that_are_gone_has_no_effect() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        drop(killed(&at));
        // The new file `a` was taken away: it was complete.
        fs::remove_file(at("a")).unwrap();
        assert!(complete(dir.path()).unwrap().named.is_empty());
        assert_eq!(fs::read_to_string(at("b")).unwrap(), "old");
        assert!(content(dir.path()).iter().all(|(name, _)| !name.starts_with(RECORD)));
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_what_it_announces() {
        let dir = tempfile::tempdir().unwrap();
        let record = killed(&|name| dir.path().join(name));
        let path = record.target.clone();
        drop(record);
        let before = content(dir.path());
        let (text, huge) = (fs::read(&path).unwrap(), vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1]);
        for (text, expected) in [(&br#"{"version":2,"more":1}"#[..], "it has version 2"), (&huge, "it has more than")] {
            fs::write(&path, text).unwrap();
            for result in [check_complete(dir.path()), leftovers::recover(dir.path()).map(drop)] {
                let error = result.unwrap_err().to_string();
                assert!(error.starts_with("cannot read '") && error.contains(expected), "{error}");
            }
        }
        fs::write(&path, text).unwrap();
        assert_eq!(content(dir.path()), before);
        assert_eq!(complete(dir.path()).unwrap().named.len(), 1);
    }

    #[test]
    fn a_forged_record_renames_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("other")).unwrap();
        fs::write(at("other/.x.1.voltar-tmp"), "x").unwrap();
        let inode = fs::metadata(at("other/.x.1.voltar-tmp")).unwrap().ino();
        for (temporary, target) in
            [("other/.x.1.voltar-tmp", "x"), (".x.1.voltar-tmp", "../x"), ("other/.x.1.voltar-tmp", "other/x")]
        {
            let files = vec![Announced { temporary: temporary.to_owned(), target: target.to_owned(), inode }];
            let record = Record { version: VERSION, overwrite: true, files };
            fs::write(at(".voltar-commit.1"), serde_json::to_vec(&record).unwrap()).unwrap();
            assert!(complete(dir.path()).unwrap().named.is_empty());
            assert!(at("other/.x.1.voltar-tmp").exists() && !at("x").exists(), "{temporary}");
        }
        fs::write(at(".voltar-commit.1"), "{").unwrap();
        assert_eq!(complete(dir.path()).unwrap(), Completed::default());
    }
}
