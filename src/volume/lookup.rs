//! Looks up single paths of a tree, in any order, and finds there what the [walk](super::walk) finds. No symbolic link is
//! followed on the way.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::beneath::{Beneath, DIRECTORY};
use super::live::LiveKind;
use super::walk::{Found, Handle, Walk};
use super::{Content, OpenTree};
use crate::error::{Error, Result};
use crate::member::RelPath;

/// Finds paths of one tree.
pub(crate) struct Lookup {
    /// Not advanced: it knows the mounts, and what is voltar's own.
    walk: Walk<'static>,
    tree: OpenTree,
    /// The mounts in which paths are opened; `None` for one that shows as an empty directory.
    mounts: Vec<(RelPath, Option<Beneath>)>,
    /// The directory of the last path, and its handle if it exists: members come directory by directory.
    last: Option<(RelPath, Option<Arc<OwnedFd>>)>,
}

impl Lookup {
    /// Looks up paths of `tree`.
    ///
    /// # Errors
    /// The root cannot be examined.
    pub(crate) fn new(tree: &OpenTree) -> Result<Self> {
        let mut mounts = Vec::new();
        for mount in &tree.mounts {
            let beneath = match &mount.content {
                Content::Live(live) if live.kind() == LiveKind::Directory => {
                    let root = openat(live.handle(), ".", DIRECTORY, Mode::empty());
                    Some(Beneath::new(root.map_err(|e| Error::failed_at("cannot open", live.path(), e))?))
                }
                Content::Live(_) | Content::Tmpfs | Content::OtherArchive | Content::ReadOnly => None,
            };
            mounts.push((mount.at.clone(), beneath));
        }
        Ok(Self { walk: Walk::new(tree)?, tree: tree.clone(), mounts, last: None })
    }

    /// Returns whether `path` is on no mount, so that it is part of a container.
    pub(crate) fn is_on_no_mount(&self, path: &RelPath) -> bool {
        self.mounts.iter().all(|(at, _)| path.strip_prefix(at).is_none())
    }

    /// Returns whether there are mounts below `path`.
    pub(crate) fn has_mounts_below(&self, path: &RelPath) -> bool {
        self.mounts.iter().any(|(at, _)| at != path && at.strip_prefix(path).is_some())
    }

    /// Returns what is at `path`, which is on a mount; `None` if nothing is.
    ///
    /// # Errors
    /// A directory on the way cannot be opened.
    pub(crate) fn find(&mut self, path: &RelPath) -> Result<Option<Found>> {
        let Some((parent, name)) = path.split_last() else { return Walk::new(&self.tree)?.next().transpose() };
        let directory = match self.directory(&parent)? {
            Some(directory) => Handle::Open(directory),
            None if self.is_on_no_mount(&parent) && self.mounts.iter().any(|(at, _)| at == path) => Handle::OnNoMount,
            None => return Ok(None),
        };
        // No name is longer than this on Linux.
        if name.as_bytes().len() > usize::from(u8::MAX) {
            return Ok(None);
        }
        Ok(match self.walk.examine(&directory, path.clone(), name.to_owned()) {
            Found::Unreadable { vanished: true, .. } => None,
            found => Some(found),
        })
    }

    /// Opens a directory; `None` if there is none.
    fn directory(&mut self, path: &RelPath) -> Result<Option<Arc<OwnedFd>>> {
        if let Some((last, handle)) = &self.last
            && last == path
        {
            return Ok(handle.clone());
        }
        let holders = self.mounts.iter().filter_map(|(at, mount)| Some((path.strip_prefix(at)?, mount)));
        let handle = match holders.min_by_key(|(below, _)| below.as_bytes().len()) {
            Some((below, Some(mount))) => match mount.open(&below) {
                Ok(handle) => Some(Arc::new(handle)),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => None,
                Err(errno) => return Err(Error::failed("cannot open the directory", path.as_bytes(), errno)),
            },
            Some((_, None)) | None => None,
        };
        self.last = Some((path.clone(), handle.clone()));
        Ok(handle)
    }
}

/// Returns whether an error of opening an entry means that it is no longer there, or is no regular file any more.
pub(crate) fn has_vanished(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESTALE | Errno::ELOOP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Kind;
    use crate::volume::live::Way;
    use nix::fcntl::OFlag;
    use std::os::unix::fs::symlink;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    /// The directories above a mount are part of the container, and not on this host.
    #[test]
    fn what_is_on_no_mount_is_found_only_if_a_mount_is_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let mut tree = OpenTree::of_directory(dir.path(), Way::Entries);
        tree.mounts[0].at = path("a/b");
        let mut lookup = Lookup::new(&tree).unwrap();
        for (name, is_found, on_no_mount, has_mounts_below) in [
            ("a", false, true, true),
            ("a/b", true, false, false),
            ("a/b/file", true, false, false),
            ("a/b/none", false, false, false),
            ("a/c", false, true, false),
            ("b", false, true, false),
            ("ab", false, true, false),
        ] {
            let name = path(name);
            let found =
                [lookup.find(&name).unwrap().is_some(), lookup.is_on_no_mount(&name), lookup.has_mounts_below(&name)];
            assert_eq!(found, [is_found, on_no_mount, has_mounts_below], "{name}");
        }
    }

    #[test]
    fn an_entry_that_is_gone_is_told_from_one_that_cannot_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        let open = |name: &str, flags: OFlag| {
            nix::fcntl::open(&dir.path().join(name), flags, nix::sys::stat::Mode::empty()).unwrap_err()
        };
        assert!(has_vanished(open("none", OFlag::O_RDONLY)) && has_vanished(open("link", OFlag::O_NOFOLLOW)));
        assert!(!has_vanished(open("file", OFlag::O_DIRECTORY)) && !has_vanished(open(".", OFlag::O_WRONLY)));
    }

    #[test]
    fn what_the_walk_finds_is_found_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("tree").join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/file"), "x").unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), "x").unwrap();
        symlink("../outside", at("link")).unwrap();
        let tree = OpenTree::of_directory(&at(""), Way::Entries);
        let mut lookup = Lookup::new(&tree).unwrap();
        let mut walked = 0;
        for found in Walk::new(&tree).unwrap() {
            let Found::Entry(walked_to) = found.unwrap() else { panic!("an entry") };
            let Some(Found::Entry(entry)) = lookup.find(&walked_to.path).unwrap() else { panic!("an entry") };
            assert_eq!((&entry.path, &entry.kind, entry.inode), (&walked_to.path, &walked_to.kind, walked_to.inode));
            walked += 1;
        }
        assert_eq!(walked, 5);
        let mut find = |name: &str| lookup.find(&RelPath::parse(name.as_bytes()).unwrap()).unwrap();
        assert!(matches!(find("link"), Some(Found::Entry(entry)) if matches!(entry.kind, Kind::Symlink { .. })));
        std::fs::write(at(&"n".repeat(255)), "x").unwrap();
        assert!(find(&"n".repeat(255)).is_some());
        let long = "n".repeat(256);
        for missing in ["link/secret", "a/c", "a/b/file/x", "nothing/x", &long, &format!("{long}/x")] {
            assert!(find(missing).is_none(), "{missing}");
        }
    }
}
