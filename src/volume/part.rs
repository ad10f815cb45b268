//! Parts of a tree: single entries that are replaced, while all others stay as they are.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::fsync;

use super::beneath::{Beneath, DIRECTORY, NewDirectory};
use super::live::Live;
use super::restore_record::Part;
use super::{metadata, rename};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::member::RelPath;

/// Directories of voltar's own for the old entries.
const PRIVATE: NewDirectory = NewDirectory { mode: Mode::S_IRWXU, owner: None };

/// Returns the entries to replace so that `paths` are restored.
///
/// # Errors
/// A path leads through a symbolic link or a file, or a directory cannot be opened.
pub(crate) fn parts(live: &Live, paths: &[RelPath]) -> Result<Vec<Part>> {
    if paths.is_empty() {
        // It may be a single file, which has no entries.
        return Ok(Vec::new());
    }
    let root = open(live.handle()).map_err(|errno| Error::failed_at("cannot open", live.path(), errno))?;
    let mut parts: Vec<Part> = Vec::new();
    for path in paths {
        let outermost = outermost_missing(live, path)?;
        let Some((parent, name)) = outermost.split_last() else { continue };
        let holder = root.open(&parent).map_err(|errno| cannot(live, &parent, errno))?;
        let metadata = metadata::of_open(&holder).map_err(|errno| cannot(live, &parent, errno))?;
        let is_new = !exists(&holder, name).map_err(|errno| cannot(live, &outermost, errno))?;
        if parts.iter().all(|part| !part.is_at(&outermost)) {
            parts.push(Part::new(&outermost, metadata, is_new));
        }
    }
    Ok(parts)
}

/// Checks that nothing was made meanwhile where nothing was: it would be replaced.
///
/// # Errors
/// Something was, or a directory cannot be opened.
pub(super) fn check_new(live: &Live, parts: &[Part]) -> Result<()> {
    let failed = |cause: Cause| Error::failed_at("cannot restore into", live.path(), cause);
    let root = open(live.handle()).map_err(|errno| failed(errno.into()))?;
    for part in parts.iter().filter(|part| part.is_new()) {
        let path = part.path().map_err(failed)?;
        let Some((parent, name)) = path.split_last() else { continue };
        if root.open(&parent).and_then(|holder| exists(&holder, name)).map_err(|errno| failed(errno.into()))? {
            return Err(Error::refused(format!("'{}' was made meanwhile", live.path().join(path.as_path()).display()))
                .hint("who else can write to the volume? Then restore again"));
        }
    }
    Ok(())
}

/// Returns the outermost directory on the way to `path` that does not exist in a live tree, or else `path` itself.
///
/// # Errors
/// The path leads through a symbolic link or a file, or a directory cannot be opened.
pub(crate) fn outermost_missing(live: &Live, path: &RelPath) -> Result<RelPath> {
    let root = open(live.handle()).map_err(|errno| Error::failed_at("cannot open", live.path(), errno))?;
    for step in path.steps().filter_map(|step| RelPath::parse(step).ok()).filter(|step| step != path) {
        match root.open(&step) {
            Ok(_) => {}
            Err(Errno::ENOENT) => return Ok(step),
            Err(errno) => return Err(cannot(live, &step, errno)),
        }
    }
    Ok(path.clone())
}

/// Moves an entry of the live tree out of the way: the directory that holds it, and its path.
pub(super) type SetAside<'a> = &'a mut dyn FnMut(&OwnedFd, &RelPath) -> Result<(), Errno>;

/// Moves the entries of `parts` from one tree to another; what is not there was moved before. The directory in the live
/// tree that holds one keeps its metadata. Where both trees have an entry, the one in the live tree is a stranger: it is
/// `set_aside`.
///
/// # Errors
/// Those of the system calls; without `set_aside` also `EEXIST` where something else is in the place.
pub(super) fn move_parts(
    live: &Live,
    from: &OwnedFd,
    to: &OwnedFd,
    parts: &[Part],
    mut set_aside: Option<SetAside<'_>>,
) -> Result<(), Cause> {
    let is_live = |side: &OwnedFd| std::ptr::eq(side, live.handle());
    let (source, target) = (open(from)?, open(to)?);
    for part in parts {
        let path = part.path()?;
        let Some((parent, name)) = path.split_last() else { continue };
        let holder = match source.open(&parent) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if !exists(&holder, name)? {
            continue;
        }
        let receiver = target.open_or_create(&parent, PRIVATE)?;
        let mut moved = rename::move_to(&holder, name, &receiver, name);
        if let (Err(Errno::EEXIST), Some(set_aside)) = (moved, &mut set_aside) {
            set_aside(if is_live(from) { &holder } else { &receiver }, &path)?;
            moved = if is_live(from) { Ok(()) } else { rename::move_to(&holder, name, &receiver, name) };
        }
        moved?;
        for (side, directory) in [(from, &holder), (to, &receiver)] {
            if is_live(side) {
                metadata::apply(directory, &part.parent()).map_err(|(_, errno)| errno)?;
            }
            fsync(directory)?;
        }
    }
    Ok(())
}

fn exists(directory: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn open(root: &OwnedFd) -> Result<Beneath, Errno> {
    openat(root, ".", DIRECTORY, Mode::empty()).map(Beneath::new)
}

fn cannot(live: &Live, path: &RelPath, errno: Errno) -> Error {
    let shown = live.path().join(path.as_path());
    match errno {
        Errno::ELOOP | Errno::ENOTDIR => Error::new(
            ErrorKind::Refused,
            format!("'{}' is a symbolic link or a file: nothing can be restored below it", shown.display()),
        )
        .hint("restore what it leads to, or remove it first"),
        errno => Error::failed_at("cannot open the directory", &shown, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::live::Way;
    use std::fs::{create_dir, create_dir_all, write};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn the_outermost_missing_directory_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("a/b")).unwrap();
        write(dir.path().join("file"), "").unwrap();
        symlink("a", dir.path().join("link")).unwrap();
        let live = Live::open(dir.path(), &RelPath::root(), Way::Entries).unwrap();
        for (wanted, outermost) in
            [("a/b/c", "a/b/c"), ("a/b", "a/b"), ("a/x/y/z", "a/x"), ("x", "x"), ("link", "link"), ("file", "file")]
        {
            assert_eq!(outermost_missing(&live, &path(wanted)).unwrap(), path(outermost));
        }
        for wanted in ["link/b", "file/x"] {
            let error = outermost_missing(&live, &path(wanted)).unwrap_err();
            assert!(error.to_string().ends_with("nothing can be restored below it"), "{error}");
        }
        let found = parts(&live, &[path("a/x/1"), path("a/x/2"), path("a/b")]).unwrap();
        assert_eq!(found.iter().map(|part| part.path().unwrap()).collect::<Vec<_>>(), [path("a/x"), path("a/b")]);
    }

    #[test]
    fn parts_move_and_their_directories_keep_their_times() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("live/a/b")).unwrap();
        write(at("live/a/b/file"), "x").unwrap();
        create_dir(at("other")).unwrap();
        let live = Live::open(&at("live"), &RelPath::root(), Way::Entries).unwrap();
        let other = OwnedFd::from(std::fs::File::open(at("other")).unwrap());
        let parts = parts(&live, &[path("a/b"), path("a/new/x")]).unwrap();
        let time = || at("live/a").metadata().unwrap();
        let before = (time().mtime(), time().mtime_nsec());
        for _ in 0..2 {
            move_parts(&live, live.handle(), &other, &parts, None).unwrap();
            assert!(at("other/a/b/file").exists() && !at("live/a/b").exists());
        }
        create_dir(at("live/a/b")).unwrap();
        assert!(move_parts(&live, &other, live.handle(), &parts, None).is_err());
        std::fs::remove_dir(at("live/a/b")).unwrap();
        move_parts(&live, &other, live.handle(), &parts, None).unwrap();
        assert!(at("live/a/b/file").exists());
        assert_eq!((time().mtime(), time().mtime_nsec()), before);
    }
}
