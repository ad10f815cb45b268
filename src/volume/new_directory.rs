//! A new directory that a restore fills: it is made in a directory of root's own, and gets its name, or moves into the
//! empty directory that has it, when it is complete. Others may be able to write where it lies, so everything goes through
//! handles.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::beneath::{DIRECTORY, names};
use super::remove::{RemovalTime, remove_all};
use super::source::open_source;
use super::staging::open_own;
use super::{metadata, rename};
use crate::error::{Cause, Error, Result};
use crate::identity::FileId;

/// The end of the name of the directory in which the new one is made.
const INCOMPLETE: &str = ".voltar-incomplete";
/// The name of the new directory in there.
const TREE: &str = "tree";

/// The mode of a directory that no archive describes.
const USUAL: Mode = Mode::from_bits_truncate(0o755);

/// A directory that is being made. Dropping it before it is complete removes what was made.
#[derive(Debug)]
pub(crate) struct NewDirectory {
    /// For messages.
    path: PathBuf,
    place: Place,
    /// The name of the directory in which it is made, in that of `place`.
    name: OsString,
    making: OwnedFd,
    tree: OwnedFd,
    /// Whether what is left of it stays.
    is_left: bool,
}

/// Where a new directory is to be.
#[derive(Debug)]
enum Place {
    /// In this directory, under this name, which nothing has.
    Named(OwnedFd, OsString),
    /// In place of this empty directory.
    Empty(OwnedFd),
}

impl Place {
    fn find(path: &Path) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot make", path, cause);
        let absolute = std::path::absolute(path).map_err(|e| failed(e.into()))?;
        if let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) {
            let holder = open_directory(parent).map_err(|cause| {
                failed(cause).hint(format!("the directory that holds it must exist: `mkdir -p {}`", parent.display()))
            })?;
            match fstatat(&holder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|status| metadata::file_type(&status)) {
                Err(Errno::ENOENT) => return Ok(Self::Named(holder, name.to_owned())),
                Err(errno) => return Err(failed(errno.into())),
                Ok(SFlag::S_IFDIR | SFlag::S_IFLNK) => {}
                Ok(_) => return Err(Error::refused(format!("'{}' is no directory", path.display())).hint(EMPTY)),
            }
        }
        let directory = open_directory(&absolute).map_err(failed)?;
        match names(&directory).map_err(|errno| failed(errno.into()))?.first() {
            None => Ok(Self::Empty(directory)),
            Some(name) if name.as_encoded_bytes().ends_with(INCOMPLETE.as_bytes()) => {
                let left = path.join(name);
                Err(Error::refused(format!("'{}' is not complete: a restore was interrupted", path.display()))
                    .hint(format!("remove what it has left: `rm -r {}`, and what is beside it", left.display())))
            }
            Some(_) => Err(Error::refused(format!("'{}' is not empty", path.display())).hint(EMPTY)),
        }
    }

    fn directory(&self) -> &OwnedFd {
        match self {
            Self::Named(holder, _) => holder,
            Self::Empty(directory) => directory,
        }
    }

    /// The path of `name` in there, for a new directory at `path`: for messages.
    fn path_of(&self, path: &Path, name: &OsStr) -> PathBuf {
        match self {
            Self::Named(..) => path.with_file_name(name),
            Self::Empty(_) => path.join(name),
        }
    }
}

/// What can be given instead.
const EMPTY: &str = "--to takes a new directory or an empty one; leave it out to restore into the volumes";

impl NewDirectory {
    /// Checks that a directory can be made at `path`.
    ///
    /// # Errors
    /// Something else than an empty directory is there, or the directory that holds it does not exist.
    pub(crate) fn check(path: &Path) -> Result<()> {
        Place::find(path).map(drop)
    }

    /// Begins to make the directory at `path`.
    ///
    /// # Errors
    /// As [`NewDirectory::check`]; another run is making it, or was interrupted; or those of the system calls.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot make", path, cause);
        let place = Place::find(path)?;
        let name = match &place {
            Place::Named(_, name) => [OsStr::new("."), name, OsStr::new(INCOMPLETE)].into_iter().collect(),
            Place::Empty(_) => OsString::from(INCOMPLETE),
        };
        let beside = place.directory();
        mkdirat(beside, name.as_os_str(), Mode::S_IRWXU).map_err(|errno| {
            let error = failed(errno.into());
            let shown = place.path_of(path, &name);
            match errno {
                Errno::EEXIST => error.hint(format!(
                    "another restore into it is in progress, or was interrupted and has left '{0}': `rm -r {0}`",
                    shown.display()
                )),
                _ => error,
            }
        })?;
        let making = open_own(beside, &name).map_err(|cause| {
            // It is empty, or not this one.
            unlinkat(beside, name.as_os_str(), UnlinkatFlags::RemoveDir).unwrap_or_default();
            failed(cause)
        })?;
        let made = mkdirat(&making, TREE, USUAL).and_then(|()| openat(&making, TREE, DIRECTORY, Mode::empty()));
        let tree = made.map_err(|errno| failed(errno.into()))?;
        fchmod(&tree, USUAL).map_err(|errno| failed(errno.into()))?;
        if let Place::Empty(directory) = &place {
            // What no archive describes stays as it is.
            let applied = metadata::of_open(directory).map_err(|errno| failed(errno.into()))?;
            metadata::apply(&tree, &applied).map_err(|(_, errno)| failed(errno.into()))?;
        }
        Ok(Self { path: path.to_owned(), place, name, making, tree, is_left: false })
    }

    /// Returns the directory to fill or, with a name, a new directory in it.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn directory(&self, name: Option<&OsStr>) -> Result<OwnedFd> {
        let made = match name {
            None => openat(&self.tree, ".", DIRECTORY, Mode::empty()),
            Some(name) => mkdirat(&self.tree, name, USUAL)
                .and_then(|()| openat(&self.tree, name, DIRECTORY, Mode::empty()))
                .and_then(|directory| fchmod(&directory, USUAL).map(|()| directory)),
        };
        made.map_err(|errno| self.failed(errno.into()))
    }

    /// Gives the directory its name, or moves what is in it to the empty one that has it. Everything in it has been synced.
    ///
    /// # Errors
    /// Those of the system calls, or something has got the name meanwhile; then nothing was made.
    pub(crate) fn complete(self) -> Result<()> {
        fsync(&self.making).map_err(|errno| self.failed(errno.into()))?;
        match &self.place {
            Place::Named(holder, name) => {
                rename::move_to(&self.making, TREE, holder, name).map_err(|errno| self.failed(errno.into()))?;
                fsync(holder).map_err(|errno| self.failed(errno.into()))
            }
            Place::Empty(directory) => self.move_entries(directory).map_err(|errno| self.failed(errno.into())),
        }
    }

    /// Moves all entries, or none.
    fn move_entries(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let root = metadata::of_open(&self.tree)?;
        let mut moved = Vec::new();
        let mut all = || {
            for name in names(&self.tree)? {
                rename::move_to(&self.tree, &name, directory, &name)?;
                moved.push(name);
            }
            Ok(())
        };
        if let Err(errno) = all() {
            for name in &moved {
                rename::move_to(directory, name, &self.tree, name)?;
            }
            return Err(errno);
        }
        // Until this is gone the directory is not complete. It is empty.
        self.remove(&RemovalTime::unlimited()).unwrap_or_default();
        metadata::apply(directory, &root).map_err(|(_, errno)| errno)?;
        fsync(directory)
    }

    /// Removes what was made after `error`, as long as there is `time`, and adds to the error what is left.
    pub(crate) fn abandon(mut self, error: Error, time: &RemovalTime<'_>) -> Error {
        self.is_left = self.remove(time).is_err() && time.check().is_err();
        if !self.is_left {
            return error;
        }
        let left = self.place.path_of(&self.path, &self.name);
        let hint = format!("remove it: `rm -r {}`", left.display());
        error.and(vec![Error::failed_at("cannot remove all of", &left, "the run was interrupted").hint(hint)])
    }

    /// Removes the directory in which this one is made.
    ///
    /// # Errors
    /// Not all of it can be removed, or there is no more time.
    fn remove(&self, time: &RemovalTime<'_>) -> Result<(), Errno> {
        let beside = self.place.directory();
        remove_all(&self.making, TREE.as_ref(), &|| time.check())?;
        let is_own = || {
            let named = fstatat(beside, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
            Some(FileId::of(&named) == FileId::of_open(&self.making).ok()?)
        };
        // If others have renamed it, it is empty now, and whatever has its name is theirs.
        if is_own() == Some(true) {
            unlinkat(beside, self.name.as_os_str(), UnlinkatFlags::RemoveDir).unwrap_or_default();
        }
        Ok(())
    }

    fn failed(&self, cause: Cause) -> Error {
        Error::failed_at("cannot make", &self.path, cause)
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if !self.is_left {
            self.remove(&RemovalTime::unlimited()).unwrap_or_default();
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Cause> {
    Ok(openat(&open_source(path)?.handle, ".", DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::CancelledAfter;
    use std::fs::{create_dir, read_dir, set_permissions, symlink_metadata, write};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    fn count(path: &Path) -> usize {
        read_dir(path).unwrap().count()
    }

    fn fill(new: &NewDirectory) {
        let directory = new.directory(None).unwrap();
        mkdirat(&directory, "made", Mode::S_IRWXU).unwrap();
        fchmod(&directory, Mode::from_bits_truncate(0o750)).unwrap();
    }

    #[test]
    fn a_directory_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("new");
        let new = NewDirectory::begin(&at).unwrap();
        fill(&new);
        assert!(!at.exists());
        let error = NewDirectory::begin(&at).unwrap_err();
        assert!(error.advice().unwrap().contains("rm -r"), "{error}");
        drop(new);
        assert_eq!(count(dir.path()), 0);
        let new = NewDirectory::begin(&at).unwrap();
        fill(&new);
        new.complete().unwrap();
        assert_eq!((count(dir.path()), count(&at), at.metadata().unwrap().mode() & 0o7777), (1, 1, 0o750));
    }

    #[test]
    fn an_empty_directory_stays_and_gets_all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (at, link) = (dir.path().join("empty"), dir.path().join("link"));
        create_dir(&at).unwrap();
        symlink("empty", &link).unwrap();
        set_permissions(&at, PermissionsExt::from_mode(0o700)).unwrap();
        let before = at.metadata().unwrap().ino();
        let new = NewDirectory::begin(&link).unwrap();
        fill(&new);
        assert!(NewDirectory::check(&at).unwrap_err().to_string().contains("is not complete"));
        // Somebody else takes a name.
        create_dir(at.join("made")).unwrap();
        new.complete().unwrap_err();
        assert_eq!(count(&at), 1);
        assert!(NewDirectory::check(&at).unwrap_err().to_string().ends_with("is not empty"));
        std::fs::remove_dir(at.join("made")).unwrap();
        let new = NewDirectory::begin(&at).unwrap();
        fill(&new);
        new.complete().unwrap();
        let after = at.metadata().unwrap();
        assert_eq!((count(&at), after.mode() & 0o7777, after.ino()), (1, 0o750, before));
        assert!(symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_an_interrupted_run_leaves_is_named() {
        for is_empty in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().join("new");
            if is_empty {
                create_dir(&at).unwrap();
            }
            let new = NewDirectory::begin(&at).unwrap();
            fill(&new);
            let error = new.abandon(Error::interrupted(), &RemovalTime::ending_with(&CancelledAfter::checks(0)));
            let [left] = error.others() else { panic!("{error:?}") };
            let path = if is_empty { at.join(INCOMPLETE) } else { dir.path().join(format!(".new{INCOMPLETE}")) };
            assert!(path.join("tree/made").exists(), "{path:?}");
            assert_eq!(left.to_string(), format!("cannot remove all of '{}': the run was interrupted", path.display()));
            let remove = format!("`rm -r {}`", path.display());
            assert!(left.advice().unwrap().contains(&remove), "{left:?}");
            let again = NewDirectory::begin(&at).unwrap_err();
            assert!(again.advice().unwrap().contains(&remove), "{again:?}");
        }
    }

    #[test]
    fn what_is_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("file"), "").unwrap();
        for (name, text) in [("file", "is no directory"), ("", "is not empty"), ("no/new", "No such file or directory")]
        {
            let error = NewDirectory::check(&dir.path().join(name)).unwrap_err();
            assert!(error.to_string().ends_with(text) && error.advice().is_some(), "{error}");
        }
        assert_eq!(count(dir.path()), 1);
    }
}
