//! The staging directory: a hidden directory of root's own on the filesystem of a live tree, in which the new tree is
//! made. It lies beside the live tree or, where entries are moved, in it. Others may be able to rename it or to remove it
//! when it is empty, but not to enter it; all that happens in it goes through its handle.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, geteuid, syncfs, unlinkat};

use super::beneath::{DIRECTORY, names, open_path};
use super::live::{Live, LiveKind, Way};
use super::remove::{DOOMED, RemovalTime, remove_all};
use super::rename::{TRIAL, can_exchange};
use super::restore_record::{Part, RootXattrs, TreeRecord};
use super::root::copy_label;
use super::xattrs::Object;
use super::{metadata, owners};
use crate::apart;
use crate::error::{Cause, Error, Result};
use crate::identity::{FileId, Identity};
use crate::member::{Metadata, Timestamp};
use crate::monitor::Monitor;
use crate::xattrs::Xattrs;

/// The name of the new tree in the staging directory.
pub(super) const TREE: &str = "tree";
/// The name of the directory for the old entries, where entries are moved.
pub(super) const OLD: &str = "old";

/// The staging directory of one live tree.
#[derive(Debug)]
pub struct Staging {
    live: Arc<Live>,
    way: Way,
    name: OsString,
    directory: OwnedFd,
    /// The entries that are replaced; none if the whole tree is.
    parts: Vec<Part>,
    /// Made when the first member needs it: a tree that receives no member is not replaced.
    tree: OnceLock<OwnedFd>,
    /// The extended attributes that the archive gives the root, if it says anything of them.
    root_xattrs: OnceLock<Xattrs>,
}

impl Staging {
    /// Makes the staging directory that `record` announces. Call [`Staging::settle_root`] next.
    pub(super) fn create(live: Arc<Live>, record: &TreeRecord) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot make a directory for the new tree of", live.path(), cause);
        let name = OsString::from(&record.name);
        let beside = holding(&live, record.way).map_err(|errno| failed(errno.into()))?;
        mkdirat(beside, name.as_os_str(), Mode::S_IRWXU).map_err(|errno| failed(errno.into()))?;
        let directory = open_own(beside, &name).map_err(|cause| {
            // It is empty, or not this one.
            unlinkat(beside, name.as_os_str(), UnlinkatFlags::RemoveDir).unwrap_or_default();
            if record.way == Way::Entries {
                restore_root_time(&live, record.root_before.mtime()).unwrap_or_default();
            }
            failed(cause)
        })?;
        let (parts, tree, root_xattrs) = (record.parts.clone(), OnceLock::new(), OnceLock::new());
        Ok(Self { live, way: record.way, name, directory, parts, tree, root_xattrs })
    }

    /// Gives a live root that the staging directory lies in its time back. From then on only a swap changes the root, so a
    /// later run leaves it as it is: others may have changed it by then.
    pub(super) fn settle_root(&self, record: &TreeRecord) -> Result<()> {
        if self.way != Way::Entries {
            return Ok(());
        }
        restore_root_time(&self.live, record.root_before.mtime())?;
        fsync(self.beside()?).map_err(|errno| self.failed("cannot sync", errno))
    }

    /// Returns whether the staged tree can be exchanged with the live one.
    pub(super) fn can_exchange(&self) -> Result<bool> {
        can_exchange(&self.directory).map_err(|errno| self.failed("cannot rename beside", errno))
    }

    /// Opens the staging directory of an earlier run. `None` where there is none, or another directory has its name.
    pub(super) fn of_record(
        live: &Arc<Live>,
        record: &TreeRecord,
        is_same: impl Fn(&Identity, &Identity) -> bool,
    ) -> Result<Option<Self>> {
        let failed = |cause: Cause| Error::failed_at("cannot open the staging directory of", live.path(), cause);
        let name = OsString::from(&record.name);
        let beside = holding(live, record.way).map_err(|errno| failed(errno.into()))?;
        let Some(expected) = &record.staging else {
            // The run was killed before it had used the directory. One that is empty can go, whoever made it.
            return match unlinkat(beside, name.as_os_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(None),
                Err(errno) => Err(Error::failed_at("cannot remove the staging directory of", live.path(), errno)),
            };
        };
        let directory = match openat(beside, name.as_os_str(), DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => return Ok(None),
            other => other.map_err(|errno| failed(errno.into()))?,
        };
        let found = Identity::of(&directory).map_err(|cause| failed(cause.into()))?;
        let (live, parts) = (Arc::clone(live), record.parts.clone());
        let (tree, root_xattrs) = (OnceLock::new(), OnceLock::new());
        let this = Self { live, way: record.way, name, directory, parts, tree, root_xattrs };
        Ok(is_same(expected, &found).then_some(this))
    }

    /// The live tree.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The staging directory itself.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The directory in which the staging directory lies.
    pub(super) fn beside(&self) -> Result<&OwnedFd> {
        holding(&self.live, self.way).map_err(|errno| self.failed("cannot use the directory that holds", errno))
    }

    /// The path of that directory: for messages.
    pub(super) fn beside_path(&self) -> &Path {
        match (self.way, self.live.kind()) {
            (Way::Entries, LiveKind::Directory) => self.live.path(),
            _ => self.live.path().parent().unwrap_or(Path::new("/")),
        }
    }

    /// The path of the staging directory: for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.beside_path().join(&self.name)
    }

    pub(super) fn identity(&self) -> Result<Identity> {
        Identity::of(&self.directory).map_err(|cause| self.failed("cannot examine the staging directory of", cause))
    }

    /// Returns a handle of the new tree's root, which is made by the first call.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn root(&self) -> Result<OwnedFd> {
        let made = mkdirat(&self.directory, TREE, Mode::S_IRWXU)
            .and_then(|()| openat(&self.directory, TREE, DIRECTORY, Mode::empty()));
        if let Ok(root) = &made {
            copy_label(self.live.handle(), root)
                .map_err(|errno| self.failed("cannot copy the label of", io::Error::from(errno)))?;
        }
        self.keep_open(made)
    }

    /// Notes that the archive gives the root these extended attributes. What is created in the new tree from now on inherits
    /// no ACL of the live root: the archive knows which files have one.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn note_root_xattrs(&self, xattrs: &Xattrs) -> Result<()> {
        if let Some(tree) = self.tree() {
            let not_set = Object::open(tree).remove_other_acls(&Xattrs::from_iter([]));
            if let Some((_, errno)) = not_set.first() {
                return Err(self.failed("cannot remove the inherited ACL of", io::Error::from(*errno)));
            }
        }
        // A second member for the root would be one that `tar -r` has added: the root has the attributes of the first.
        self.root_xattrs.set(xattrs.clone()).unwrap_or_default();
        Ok(())
    }

    /// Returns the extended attributes of the live root now and as the archive has them, where that root stays.
    pub(super) fn root_xattrs(&self) -> Result<Option<RootXattrs>> {
        let Some(after) = self.root_xattrs.get().filter(|_| self.way == Way::Entries) else { return Ok(None) };
        let failed = |cause: Cause| self.failed("cannot record the extended attributes of", cause);
        let before = Object::open(self.live.handle()).all().map_err(|errno| failed(io::Error::from(errno).into()))?;
        RootXattrs::new(&before, after).map(Some).ok_or_else(|| failed("they are too many".into()))
    }

    /// Makes the new file that replaces a single live one, and returns its handle.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn new_file(&self) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(&self.directory, TREE, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        self.keep_open(made).map(File::from)
    }

    fn keep_open(&self, made: Result<OwnedFd, Errno>) -> Result<OwnedFd> {
        let failed = |cause: Cause| self.failed("cannot make the new tree of", cause);
        let made = made.map_err(|errno| failed(errno.into()))?;
        let handle = made.try_clone().map_err(|cause| failed(cause.into()))?;
        self.tree.set(made).unwrap_or_default();
        Ok(handle)
    }

    /// The new tree; `None` if nothing was extracted.
    pub(super) fn tree(&self) -> Option<&OwnedFd> {
        self.tree.get()
    }

    /// Makes the directory for the old entries.
    pub(super) fn make_old(&self) -> Result<()> {
        mkdirat(&self.directory, OLD, Mode::S_IRWXU)
            .map_err(|errno| self.failed("cannot make a directory for the old tree of", errno))
    }

    /// Opens the directory `name` in the staging directory.
    pub(super) fn open(&self, name: &str) -> Result<OwnedFd> {
        openat(&self.directory, name, DIRECTORY, Mode::empty())
            .map_err(|errno| self.failed("cannot open the staged tree of", errno))
    }

    /// Returns the identity of `name` in the staging directory, without following a link; `None` if it does not exist.
    pub(super) fn identity_of(&self, name: &str) -> Result<Option<Identity>> {
        match open_path(&self.directory, name) {
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("cannot examine the staged tree of", errno)),
            Ok(handle) => {
                Identity::of(&handle).map(Some).map_err(|cause| self.failed("cannot examine the staged tree of", cause))
            }
        }
    }

    /// Returns the identity of what has the live tree's name now; `None` if nothing has.
    pub(super) fn named_identity(&self) -> Result<Option<Identity>> {
        let Some((holder, name)) = self.live.holder() else { return Ok(None) };
        let failed = |cause: Cause| self.failed("cannot examine", cause);
        match open_path(holder, name) {
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
            Ok(handle) => Identity::of(&handle).map(Some).map_err(|cause| failed(cause.into())),
        }
    }

    /// Syncs all that was written to the filesystem of the staging directory, until the run is cancelled.
    ///
    /// # Errors
    /// Also what could not be written since the staging directory was opened.
    pub(super) fn sync_filesystem(&self, monitor: &dyn Monitor) -> Result<()> {
        let failed = |cause: Cause| self.failed("cannot sync the new tree of", cause);
        // A clone shares what the kernel remembers of errors since the handle was opened.
        let directory = self.directory.try_clone().map_err(|cause| failed(cause.into()))?;
        let synced = apart::wait_for(move || syncfs(&directory), &|| monitor.check_cancelled())?;
        synced.map_err(|errno| failed(errno.into()))
    }

    /// Syncs the staging directory.
    pub(super) fn sync(&self) -> Result<()> {
        fsync(&self.directory).map_err(|errno| self.failed("cannot sync the staging directory of", errno))
    }

    /// Makes a change in the directory that holds the staging directory. If that is the live root, it keeps its time.
    ///
    /// # Errors
    /// That of `change`; if the time cannot be set, the change was made.
    pub(super) fn keeping_time(&self, change: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if self.way != Way::Entries {
            return change();
        }
        let root = metadata::of_open(self.live.handle())?;
        change()?;
        metadata::set_time(self.live.handle(), root.mtime)
    }

    /// Removes the staging directory with the trees in it. The live root keeps its time. The caller knows that neither tree
    /// is wanted any more; anything else there is not removed, and an error.
    ///
    /// # Errors
    /// Those of the system calls, or the run was cancelled and has no more `time`: then a part is left.
    pub(super) fn discard(&self, time: &RemovalTime<'_>) -> Result<()> {
        let failed = |cause: Cause| self.failed("cannot remove the staging directory of", cause);
        let known = |name: &OsString| {
            [TREE, OLD].iter().chain(&TRIAL).any(|known| name == known)
                || name.as_bytes().starts_with(DOOMED.as_bytes())
        };
        for name in names(&self.directory).map_err(|errno| failed(errno.into()))?.into_iter().filter(known) {
            let removed = remove_all(&self.directory, &name, &|| time.check());
            removed.map_err(|errno| match time.check() {
                Err(_) => Error::failed_at("cannot remove all of", &self.path(), "the run was interrupted"),
                Ok(()) => failed(errno.into()),
            })?;
        }
        let beside = self.beside()?;
        let own = FileId::of_open(&self.directory).map_err(|errno| failed(errno.into()))?;
        // If others have renamed it, it is empty now, and whatever has its name is theirs.
        let is_there = match fstatat(beside, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => false,
            found => FileId::of(&found.map_err(|errno| failed(errno.into()))?) == own,
        };
        if is_there {
            let removed = self.keeping_time(|| unlinkat(beside, self.name.as_os_str(), UnlinkatFlags::RemoveDir));
            removed.map_err(|errno| failed(errno.into()))?;
        }
        fsync(beside).map_err(|errno| failed(errno.into()))
    }

    pub(super) fn failed(&self, operation: &str, cause: impl Into<Cause>) -> Error {
        Error::failed_at(operation, self.live.path(), cause)
    }
}

/// Opens a directory that was just made, in which every file can have its owner.
pub(super) fn open_own(beside: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Cause> {
    let directory = openat(beside, name, DIRECTORY, Mode::empty())?;
    owners::check(&directory)?;
    // Whoever can write beside it can have put another one there meanwhile.
    let status = fstat(&directory)?;
    if status.st_uid != geteuid().as_raw() || status.st_mode & 0o077 != 0 {
        return Err("it was replaced while it was opened".into());
    }
    Ok(directory)
}

/// Returns the directory in which the staging directory of `live` lies.
fn holding(live: &Live, way: Way) -> Result<&OwnedFd, Errno> {
    match (way, live.kind()) {
        (Way::Entries, LiveKind::Directory) => Ok(live.handle()),
        // A file that is a mountpoint itself can be neither renamed nor entered.
        (Way::Entries, LiveKind::File) => Err(Errno::EBUSY),
        (Way::Exchange, _) => live.holder().map(|(directory, _)| directory).ok_or(Errno::EBUSY),
    }
}

/// Gives the live root the time that it had before a change after which a run was killed.
pub(super) fn restore_root_time(live: &Live, time: Timestamp) -> Result<()> {
    metadata::set_time(live.handle(), time)
        .map_err(|errno| Error::failed_at("cannot set the time of", live.path(), errno))
}

/// Gives the live root its metadata.
#[allow(clippy::needless_pass_by_value, reason = "callers convert it from a record")]
pub(super) fn restore_root(live: &Live, root: Metadata) -> Result<()> {
    // It says nothing of extended attributes: those are left, or restored by `set_root_xattrs`.
    metadata::apply(live.handle(), &root)
        .map(drop)
        .map_err(|(operation, errno)| Error::failed_at(operation, live.path(), errno))
}

/// Gives the live root exactly these extended attributes, as far as it can have them: the staged root could or could not
/// have the same ones, which was reported.
pub(super) fn set_root_xattrs(live: &Live, xattrs: &Xattrs) -> Result<()> {
    let root = Object::open(live.handle());
    let failed = |errno: rustix::io::Errno| {
        Error::failed_at("cannot set the extended attributes of", live.path(), io::Error::from(errno))
    };
    root.remove_others(xattrs).map_err(failed)?;
    root.set(xattrs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::member::RelPath;

    #[test]
    fn what_others_have_put_beside_the_trees_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("live")).unwrap();
        let live = Live::open(dir.path(), &RelPath::parse(b"live").unwrap(), Way::Exchange).unwrap();
        let record = TreeRecord::new("data", &live, Metadata::default());
        let staging = Staging::create(Arc::new(live), &record).unwrap();
        staging.root().unwrap();
        let theirs = dir.path().join(&record.name).join("theirs");
        fs::write(&theirs, "").unwrap();
        staging.discard(&RemovalTime::unlimited()).unwrap_err();
        assert!(theirs.exists());
        fs::remove_file(&theirs).unwrap();
        staging.discard(&RemovalTime::unlimited()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_others_may_have_made_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let beside = OwnedFd::from(File::open(dir.path()).unwrap());
        let open = |name: &str, mode, owner| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, owner, None).unwrap();
            open_own(&beside, OsStr::new(name)).map(drop).map_err(|cause| cause.to_string())
        };
        let replaced = Err("it was replaced while it was opened".to_owned());
        assert_eq!(open("own", 0o700, None), Ok(()));
        for mode in [0o701, 0o710, 0o755, 0o777] {
            assert_eq!(open(&format!("{mode:o}"), mode, None), replaced);
        }
        if geteuid().is_root() {
            assert_eq!(open("another user's", 0o700, Some(1)), replaced);
        }
    }
}
