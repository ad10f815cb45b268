//! A live tree: the directory, or the single file, that containers see, as an open handle.
//!
//! A path is resolved once, here. Up to a mount's source, symbolic links are the administrator's and are followed, as the
//! engine follows them. Below it everything was written by containers, and no symbolic link is followed. Whoever holds
//! the handle acts on what was found then, whatever the path leads to later.
//!
//! A tree can also lie in a filesystem that is mounted at no path (`detached`): then it is opened below the handle of that.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlink};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use serde::{Deserialize, Serialize};

use super::beneath::{Beneath, DIRECTORY, is_empty, open_path, procfs};
use super::metadata::file_type;
use super::room::Room;
use super::root::is_irreplaceable;
use super::source::{Source, open_source};
use crate::error::{Cause, Error, Result};
use crate::identity::{FileId, Identity, lineage_of};
use crate::member::RelPath;

/// How a tree is replaced. A directory is not exchanged if that is impossible, or if it has what a new one would lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Staged beside it and exchanged in one step.
    Exchange,
    /// Staged inside it and moved entry by entry.
    Entries,
}

/// What a mount shows in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveKind {
    /// A directory.
    Directory,
    /// A single file.
    File,
}

/// A directory or a single file of this host, opened once.
#[derive(Debug)]
pub struct Live {
    handle: OwnedFd,
    kind: LiveKind,
    identity: Identity,
    /// The directory that holds it, and its name there. None for the root directory.
    holder: Option<(OwnedFd, OsString)>,
    way: Way,
    /// Where it was found: for messages, and to compare with the table of mounts.
    path: PathBuf,
}

impl Live {
    /// Opens what is at `beneath` below the mount source `source`. A directory is replaced by `way`, unless it is a
    /// mountpoint or the source's own name is a symbolic link: neither can be exchanged. A file has no entries to move.
    ///
    /// # Errors
    /// It does not exist, is neither a directory nor a regular file, or `beneath` leads through a symbolic link.
    pub fn open(source: &Path, beneath: &RelPath, way: Way) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot open", source, cause);
        let Source { handle: found, is_link } = open_source(source).map_err(failed)?;
        if let Some((parent, name)) = beneath.split_last() {
            return Self::below(found, source, &parent, name, way, path_of);
        }
        let path = path_of(&found).map_err(|e| failed(e.into()))?;
        let (handle, kind) = readable(&found).map_err(failed)?;
        let holder = match (kind, path.parent(), path.file_name()) {
            (_, Some(parent), Some(name)) => {
                let parent = match kind {
                    LiveKind::Directory => openat(&handle, "..", DIRECTORY, Mode::empty()).map_err(Cause::from),
                    LiveKind::File => open_source(parent)
                        .and_then(|parent| Ok(openat(&parent.handle, ".", DIRECTORY, Mode::empty())?)),
                };
                Some((parent.map_err(failed)?, name.to_owned()))
            }
            _ => None,
        };
        let way = match kind {
            LiveKind::Directory if is_link => Way::Entries,
            LiveKind::Directory => way,
            LiveKind::File => Way::Exchange,
        };
        Self::new(handle, kind, holder, way, path).map_err(failed)
    }

    /// Opens what is at `beneath` in a filesystem whose root directory is `root`; containers find that at `shown`.
    ///
    /// # Errors
    /// As [`Live::open`].
    pub(crate) fn in_filesystem(root: &OwnedFd, shown: &Path, beneath: &RelPath, way: Way) -> Result<Self> {
        let failed = |cause: Cause| Error::failed_at("cannot open", shown, cause);
        let root = openat(root, ".", DIRECTORY, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        match beneath.split_last() {
            Some((parent, name)) => {
                let path = shown.join(beneath.as_path());
                Self::below(root, shown, &parent, name, way, |_| Ok(path.clone()))
            }
            None => Self::new(root, LiveKind::Directory, None, Way::Entries, shown.to_owned()).map_err(failed),
        }
    }

    fn below(
        source: OwnedFd,
        shown: &Path,
        parent: &RelPath,
        name: &OsStr,
        way: Way,
        path_of: impl Fn(&OwnedFd) -> std::result::Result<PathBuf, Errno>,
    ) -> Result<Self> {
        let path = shown.join(parent.as_path()).join(name);
        let failed = |cause: Cause| Error::failed_at("cannot open", &path, cause);
        let base = Beneath::new(source);
        let opened = base.open(parent).and_then(|holder| {
            let found = open_path(&holder, name)?;
            let is_link = file_type(&fstat(&found)?) == SFlag::S_IFLNK;
            if is_link { Err(Errno::ELOOP) } else { Ok((holder, found)) }
        });
        let (holder, found) = match opened {
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                let wanted = parent.join(name.as_bytes()).map_err(|e| failed(e.into()))?;
                return Err(through_link(&base, shown, &wanted));
            }
            other => other.map_err(|e| failed(e.into()))?,
        };
        let (handle, kind) = readable(&found).map_err(failed)?;
        let canonical = path_of(&found).map_err(|e| failed(e.into()))?;
        Self::new(handle, kind, Some((holder, name.to_owned())), way, canonical).map_err(failed)
    }

    fn new(
        handle: OwnedFd,
        kind: LiveKind,
        holder: Option<(OwnedFd, OsString)>,
        way: Way,
        path: PathBuf,
    ) -> std::result::Result<Self, Cause> {
        let identity = Identity::of(&handle)?;
        let mut live = Self { handle, kind, identity, holder, way, path };
        let exchangeable = match &live.holder {
            // `..` of a mountpoint's root is the directory that holds the mountpoint. A Btrfs subvolume is no mountpoint,
            // and has a device number of its own.
            Some((holder, _)) => {
                mount_id(&live.handle)? == mount_id(holder)? && live.id().device == FileId::of_open(holder)?.device
            }
            None => false,
        };
        if kind == LiveKind::Directory && is_irreplaceable(&live.handle).map_err(io::Error::from)? {
            live.way = Way::Entries;
        }
        if !exchangeable {
            live.way = Way::Entries;
        } else if live.named_id() != Ok(live.identity.id) {
            return Err("it was replaced while it was opened".into());
        }
        Ok(live)
    }

    /// Checks that no symbolic link leads to the mountpoint at `at` in this directory. It need not exist.
    ///
    /// # Errors
    /// One does, or the directory on the way cannot be read.
    pub(crate) fn check_mountpoint(&self, at: &RelPath) -> Result<()> {
        let (LiveKind::Directory, Some((parent, name))) = (self.kind, at.split_last()) else { return Ok(()) };
        let failed = |errno: Errno| Error::failed_at("cannot examine", &self.path.join(at.as_path()), errno);
        let root = openat(&self.handle, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
        let base = Beneath::new(root);
        let found = base.open(&parent).and_then(|holder| fstatat(&holder, name, AtFlags::AT_SYMLINK_NOFOLLOW));
        match found {
            Ok(status) if file_type(&status) == SFlag::S_IFLNK => Err(through_link(&base, &self.path, at)),
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::ELOOP | Errno::ENOTDIR) => Err(through_link(&base, &self.path, at)),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The directory, or the file, itself.
    pub(crate) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    pub(crate) fn kind(&self) -> LiveKind {
        self.kind
    }

    pub(crate) fn id(&self) -> FileId {
        self.identity.id
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// For messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that holds it, and its name there.
    pub(crate) fn holder(&self) -> Option<(&OwnedFd, &OsStr)> {
        self.holder.as_ref().map(|(directory, name)| (directory, name.as_os_str()))
    }

    /// Returns its id, then those of the directories that hold it, up to the root directory.
    pub(crate) fn lineage(&self) -> Result<Vec<FileId>, Errno> {
        if self.kind == LiveKind::Directory {
            return lineage_of(openat(&self.handle, ".", DIRECTORY, Mode::empty())?);
        }
        let mut ids = vec![self.id()];
        if let Some((holder, _)) = self.holder() {
            ids.extend(lineage_of(openat(holder, ".", DIRECTORY, Mode::empty())?)?);
        }
        Ok(ids)
    }

    /// Returns the id of what has its name now.
    pub(crate) fn named_id(&self) -> Result<FileId, Errno> {
        let (directory, name) = self.holder().ok_or(Errno::ENOENT)?;
        fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|status| FileId::of(&status))
    }

    /// Returns whether it is a directory that holds anything, or that this user may not list.
    pub(crate) fn holds_entries(&self) -> Result<bool, Errno> {
        match self.kind {
            LiveKind::File => Ok(false),
            LiveKind::Directory => match is_empty(&self.handle) {
                Err(Errno::EACCES) => Ok(true),
                listed => listed.map(|is_empty| !is_empty),
            },
        }
    }

    /// Returns the room on its filesystem; `None` if it is not known.
    pub(crate) fn room(&self) -> Option<Room> {
        Room::of(&self.handle)
    }
}

/// Opens what an `O_PATH` handle refers to for reading, without a name that could have been replaced. Opening anything
/// but a directory or a regular file could act on it.
fn readable(found: &OwnedFd) -> std::result::Result<(OwnedFd, LiveKind), Cause> {
    match file_type(&fstat(found)?) {
        SFlag::S_IFDIR => Ok((openat(found, ".", DIRECTORY, Mode::empty())?, LiveKind::Directory)),
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            Ok((open_procfs(found, flags)?, LiveKind::File))
        }
        _ => Err("it is mounted, but neither a directory nor a regular file".into()),
    }
}

#[allow(clippy::disallowed_methods, reason = "procfs leads to the open file itself, whatever its name is now")]
fn open_procfs(handle: &OwnedFd, flags: OFlag) -> std::result::Result<OwnedFd, Errno> {
    open(&procfs(handle), flags, Mode::empty())
}

/// Returns where the kernel finds an open file now.
#[allow(clippy::disallowed_methods, reason = "procfs knows the open file itself")]
fn path_of(handle: &OwnedFd) -> std::result::Result<PathBuf, Errno> {
    readlink(&procfs(handle)).map(PathBuf::from)
}

/// Returns the id of the mount through which a handle was opened (proc(5), `fdinfo`).
#[allow(clippy::disallowed_methods, reason = "procfs knows the open file itself")]
pub(super) fn mount_id(handle: &OwnedFd) -> std::result::Result<u64, Cause> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| "the kernel does not report its mount".into())
}

/// Names the first component of `path` that is no directory.
fn through_link(base: &Beneath, source: &Path, path: &RelPath) -> Error {
    let shown = |path: &RelPath| source.join(path.as_path()).display().to_string();
    for step in path.steps().filter_map(|step| RelPath::parse(step).ok()) {
        let Some((parent, name)) = step.split_last() else { continue };
        let status = base.open(&parent).and_then(|holder| fstatat(&holder, name, AtFlags::AT_SYMLINK_NOFOLLOW));
        if status.is_ok_and(|status| file_type(&status) == SFlag::S_IFLNK) {
            let what = if step == *path {
                format!("'{}' is a symbolic link", shown(path))
            } else {
                format!("'{}' leads through the symbolic link '{}'", shown(path), shown(&step))
            };
            return Error::refused(what).hint(
                "a container can point it anywhere on this host, so it is not followed (`tar` would store only the link): \
                 name the path that it stands for in a layout file",
            );
        }
    }
    Error::refused(format!("'{}' leads through something that is no directory", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, create_dir_all, rename, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn path(path: &str) -> RelPath {
        RelPath::parse(path.as_bytes()).unwrap()
    }

    fn live(source: &Path, beneath: &str) -> Result<Live> {
        Live::open(source, &path(beneath), Way::Exchange)
    }

    #[test]
    fn links_to_the_source_are_followed_and_links_below_it_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("source/a/b")).unwrap();
        create_dir_all(at("host/b")).unwrap();
        symlink(at("source"), at("link")).unwrap();
        symlink(at("host"), at("source/out")).unwrap();
        symlink("a", at("source/inner")).unwrap();

        let direct = live(&at("source"), "").unwrap();
        let linked = live(&at("link"), "").unwrap();
        assert_eq!((direct.id(), direct.way()), (linked.id(), Way::Exchange));
        assert_eq!(linked.way(), Way::Entries, "the link cannot be exchanged for a directory");
        assert_eq!(live(&at("link"), "a/b").unwrap().id(), live(&at("source/a/b"), "").unwrap().id());
        for below in ["out", "out/b", "inner", "inner/b"] {
            let error = live(&at("source"), below).unwrap_err();
            let (link, path) = (at("source").join(below.split('/').next().unwrap()), at("source").join(below));
            let (link, path) = (link.display().to_string(), path.display().to_string());
            let expected = if link == path {
                format!("'{path}' is a symbolic link")
            } else {
                format!("'{path}' leads through the symbolic link '{link}'")
            };
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_has_its_name_later_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir(at("tree")).unwrap();
        let live = live(&at("tree"), "").unwrap();
        assert_eq!(live.named_id(), Ok(live.id()));
        rename(at("tree"), at("moved")).unwrap();
        create_dir(at("tree")).unwrap();
        assert_ne!(live.named_id(), Ok(live.id()));
        assert_eq!(super::super::beneath::names(live.handle()).unwrap().len(), 0);
    }

    #[test]
    fn a_directory_that_this_user_may_not_list_may_hold_entries() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("full/entry")).unwrap();
        create_dir(at("empty")).unwrap();
        create_dir(at("closed")).unwrap();
        write(at("file"), "content").unwrap();
        let [full, empty, closed, file] = ["full", "empty", "closed", "file"].map(|name| live(&at(name), "").unwrap());
        let set_mode = |mode| std::fs::set_permissions(at("closed"), std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o000);
        let held = [&full, &empty, &file, &closed].map(Live::holds_entries);
        // Then it can be removed.
        set_mode(0o700);
        assert_eq!(held, [Ok(true), Ok(false), Ok(false), Ok(!nix::unistd::geteuid().is_root())]);
    }

    #[test]
    fn a_single_file_is_opened_and_a_fifo_is_not() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("file"), "x").unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
        for beneath in [true, false] {
            let open = |name: &str| if beneath { live(dir.path(), name) } else { live(&dir.path().join(name), "") };
            let file = open("file").unwrap();
            assert_eq!((file.kind(), file.way(), file.named_id()), (LiveKind::File, Way::Exchange, Ok(file.id())));
            assert!(open("fifo").unwrap_err().to_string().ends_with("neither a directory nor a regular file"));
            assert!(open("none").unwrap_err().to_string().ends_with("No such file or directory"));
        }
    }

    #[test]
    fn a_mountpoint_is_not_exchanged() {
        let root = live(Path::new("/proc"), "").unwrap();
        assert_eq!((root.kind(), root.way()), (LiveKind::Directory, Way::Entries));
        assert_eq!(live(Path::new("/"), "").unwrap().way(), Way::Entries);
        assert_eq!(live(Path::new("/"), "proc").unwrap().way(), Way::Entries);
    }
}
