//! Opens directories below a root without ever following a symbolic link or leaving it: `openat2` where the
//! kernel has it (5.6) and lets us, else component by component. It opens; it creates nothing but
//! missing directories where asked to.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use crate::member::RelPath;
use crate::openat2::openat2;

/// How a directory is opened here, always.
pub(crate) const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Longer paths are resolved in several steps: the kernel takes `PATH_MAX` (4,096) bytes, NUL included.
const STEP: usize = 4000;

/// How a missing directory is created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewDirectory {
    pub(crate) mode: Mode,
    /// Its user and group; `None` for those of this process.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Opens directories below one root.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
    /// `openat2` is missing or denied (a seccomp filter): asked once.
    by_component: AtomicBool,
}

impl Beneath {
    /// Everything is opened below `root`.
    #[must_use]
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root, by_component: AtomicBool::new(false) }
    }

    /// The same without `openat2`, whatever the kernel has.
    #[cfg(test)]
    pub(super) fn by_component(root: OwnedFd) -> Self {
        Self { root, by_component: AtomicBool::new(true) }
    }

    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` where a component is a symbolic link or no directory.
    pub(crate) fn open(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        self.walk(path, None)
    }

    /// Opens the directory at `path`, making what is missing on the way as `new` says.
    pub(crate) fn open_or_create(&self, path: &RelPath, new: NewDirectory) -> Result<OwnedFd, Errno> {
        match self.walk(path, None) {
            Err(Errno::ENOENT) => self.walk(path, Some(new)),
            other => other,
        }
    }

    fn walk(&self, path: &RelPath, create: Option<NewDirectory>) -> Result<OwnedFd, Errno> {
        let mut at = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        if create.is_none() && !self.by_component.load(Ordering::Relaxed) {
            match walk_in_steps(&mut at, path) {
                Err(Errno::ENOSYS | Errno::EPERM) => {
                    self.by_component.store(true, Ordering::Relaxed);
                    at = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
                }
                Err(other) => return Err(other),
                Ok(()) => return Ok(at),
            }
        }
        for name in path.components() {
            let name = OsStr::from_bytes(name);
            at = match (openat(&at, name, DIRECTORY, Mode::empty()), create) {
                (Err(Errno::ENOENT), Some(new)) => match mkdirat(&at, name, new.mode) {
                    Ok(()) => {
                        let made = openat(&at, name, DIRECTORY, Mode::empty())?;
                        if let Some((uid, gid)) = new.owner {
                            fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
                        }
                        made
                    }
                    Err(Errno::EEXIST) => openat(&at, name, DIRECTORY, Mode::empty())?,
                    Err(other) => return Err(other),
                },
                (result, _) => result?,
            };
        }
        Ok(at)
    }
}

fn walk_in_steps(at: &mut OwnedFd, path: &RelPath) -> Result<(), Errno> {
    let how = OpenHow::new()
        .flags(DIRECTORY)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut rest = path.as_bytes();
    while !rest.is_empty() {
        let cut = if rest.len() <= STEP {
            rest.len()
        } else {
            rest[..STEP].iter().rposition(|&b| b == b'/').ok_or(Errno::ENAMETOOLONG)?
        };
        let (step, left) = rest.split_at(cut);
        *at = openat2(&*at, Path::new(OsStr::from_bytes(step)), how)?;
        rest = left.strip_prefix(b"/").unwrap_or(left);
    }
    Ok(())
}

/// Opens `name` in `directory`, whatever it is, without acting on it and without following a symbolic link.
pub(super) fn open_path(directory: impl AsFd, name: impl AsRef<OsStr>) -> Result<OwnedFd, Errno> {
    openat(directory, name.as_ref(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Returns the path in procfs that leads to the open object itself, for calls that do not take an `O_PATH` handle.
pub(super) fn procfs(handle: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// The names in an open directory, in no order, `.` and `..` not among them.
pub(super) fn names(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    each_name(directory, |name| {
        names.push(name.to_owned());
        Ok(())
    })?;
    Ok(names)
}

/// Returns whether a directory holds nothing.
pub(super) fn is_empty(directory: impl AsFd) -> Result<bool, Errno> {
    // The first name ends the listing.
    match each_name(directory, |_| Err(Errno::ENOTEMPTY)) {
        Err(Errno::ENOTEMPTY) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Calls `each` with the names in an open directory, in no order, until that returns an error.
///
/// # Errors
/// Those of the system calls, and of `each`.
pub(super) fn each_name(directory: impl AsFd, mut each: impl FnMut(&OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
    // A handle of its own: reading a listing moves the handle's position, which clones share.
    let mut dir = Dir::openat(directory, ".", DIRECTORY, Mode::empty())?;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(OsStr::from_bytes(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir_all};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    const PRIVATE: NewDirectory = NewDirectory { mode: Mode::S_IRWXU, owner: None };

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn both(root: &Path) -> [Beneath; 2] {
        let open = || OwnedFd::from(File::open(root).unwrap());
        [Beneath::new(open()), Beneath::by_component(open())]
    }

    #[test]
    fn symbolic_links_are_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("root/a/b")).unwrap();
        create_dir_all(dir.path().join("outside")).unwrap();
        symlink("../outside", dir.path().join("root/out")).unwrap();
        symlink("a", dir.path().join("root/inner")).unwrap();
        for beneath in both(&dir.path().join("root")) {
            let opened = File::from(beneath.open(&path("a/b")).unwrap()).metadata().unwrap().ino();
            assert_eq!(opened, std::fs::metadata(dir.path().join("root/a/b")).unwrap().ino());
            for link in ["out", "inner", "inner/b", "out/x"] {
                let error = beneath.open_or_create(&path(link), PRIVATE).unwrap_err();
                assert!(matches!(error, Errno::ELOOP | Errno::ENOTDIR), "{link}: {error}");
            }
            assert_eq!(std::fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_directory_with_one_entry_is_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        assert_eq!((is_empty(open()), names(open())), (Ok(true), Ok(Vec::new())));
        create_dir_all(dir.path().join("one")).unwrap();
        assert_eq!((is_empty(open()), names(open())), (Ok(false), Ok(vec!["one".into()])));
        assert_eq!(is_empty(File::open("/proc/self/stat").unwrap()), Err(Errno::ENOTDIR));
    }

    #[test]
    fn missing_directories_are_made_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        for (i, beneath) in both(dir.path()).iter().enumerate() {
            let wanted = path(&format!("{i}/x/y"));
            assert_eq!(beneath.open(&wanted).unwrap_err(), Errno::ENOENT);
            beneath.open_or_create(&wanted, PRIVATE).unwrap();
            beneath.open(&wanted).unwrap();
        }
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let deep = RelPath::parse(&[&b"d".repeat(200)[..], b"/"].concat().repeat(30)).unwrap();
        for beneath in both(dir.path()) {
            beneath.open_or_create(&deep, PRIVATE).unwrap();
            beneath.open(&deep).unwrap();
        }
        super::super::remove::remove_all(File::open(dir.path()).unwrap(), OsStr::new(&"d".repeat(200)), &|| Ok(()))
            .unwrap();
    }
}
