//! The identity of files and directories: what a handle refers to, whatever its name is now.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::UNIX_EPOCH;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, fstat, major};
use serde::{Deserialize, Serialize};

/// The device and the inode number of a file. No two files have the same at one moment; after a file was removed,
/// another one can get its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileId {
    /// The number of the device that holds the filesystem.
    pub device: u64,
    /// The number of the inode in that filesystem.
    pub inode: u64,
}

impl FileId {
    pub(crate) fn of(status: &FileStat) -> Self {
        Self { device: status.st_dev, inode: status.st_ino }
    }

    /// Returns the id of an open file.
    pub(crate) fn of_open(handle: impl AsFd) -> Result<Self, Errno> {
        fstat(handle).map(|status| Self::of(&status))
    }
}

/// A [`FileId`] with the time at which the inode was created, which tells it from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) id: FileId,
    /// In nanoseconds since 1970; `None` where the filesystem does not store it.
    born: Option<u64>,
}

impl Identity {
    /// Returns the identity of an open file; `O_PATH` suffices.
    pub(crate) fn of(handle: impl AsFd) -> io::Result<Self> {
        let handle = handle.as_fd();
        let id = FileId::of_open(handle)?;
        let born = File::from(handle.try_clone_to_owned()?).metadata()?.created().ok();
        let born = born.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self { id, born: born.and_then(|since| u64::try_from(since.as_nanos()).ok()) })
    }

    /// Returns whether both are the same file. Device numbers can change when the machine restarts, and those without a
    /// device behind them (overlay, Btrfs, network filesystems) also when the filesystem is mounted again: they are
    /// compared only if both identities were taken since the same start, and are of a device or tell nothing else.
    pub(crate) fn is(&self, other: &Self, same_boot: bool) -> bool {
        let inode = self.id.inode == other.id.inode && self.born == other.born;
        let is_anonymous = major(self.id.device) == 0 && major(other.id.device) == 0;
        let comparable = same_boot && !(is_anonymous && self.born.is_some());
        inode && (!comparable || self.id.device == other.id.device)
    }
}

/// Returns the id that the kernel gave to this start of the machine (`random(4)`); empty if it is not known.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Returns the ids of the file at `path`, of the directory that holds it, and so on up to the root directory. Symbolic
/// links in `path` are followed.
pub(crate) fn lineage(path: &Path) -> Result<Vec<FileId>, Errno> {
    let handle = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let status = fstat(&handle)?;
    if status.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR {
        return lineage_of(handle);
    }
    let canonical = path.canonicalize().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or_default()))?;
    let parent = open(canonical.parent().unwrap_or(path), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut ids = vec![FileId::of(&status)];
    ids.extend(lineage_of(parent)?);
    Ok(ids)
}

/// Returns the ids of an open directory and of those that hold it.
pub(crate) fn lineage_of(directory: OwnedFd) -> Result<Vec<FileId>, Errno> {
    let mut ids = vec![FileId::of_open(&directory)?];
    let mut current = directory;
    loop {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        current = openat(&current, "..", flags, Mode::empty())?;
        let id = FileId::of_open(&current)?;
        // The parent of the root directory is the root directory.
        if ids.last() == Some(&id) {
            return Ok(ids);
        }
        ids.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::makedev;
    use std::fs::{create_dir, remove_dir};

    #[test]
    fn a_directory_made_anew_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let identity = || Identity::of(File::open(&path).unwrap()).unwrap();
        create_dir(&path).unwrap();
        let first = identity();
        assert!(first.is(&identity(), true));
        remove_dir(&path).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        create_dir(&path).unwrap();
        assert!(!first.is(&identity(), true), "its number may be the same, its birth is not");
        let on = |device| Identity { id: FileId { device, ..first.id }, ..first };
        let (disk, other_disk) = (on(makedev(8, 1)), on(makedev(8, 2)));
        assert!(disk.is(&other_disk, false) && !disk.is(&other_disk, true));
        // Mounted again, it has another number.
        let (overlay, again) = (on(makedev(0, 41)), on(makedev(0, 42)));
        assert!(overlay.is(&again, true) && !overlay.is(&disk, true));
        let unborn = |identity: Identity| Identity { born: None, ..identity };
        assert!(!unborn(overlay).is(&unborn(again), true));
    }

    #[test]
    fn a_lineage_ends_at_the_root_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, dir.path().join("link")).unwrap();
        let of_directory = lineage(dir.path()).unwrap();
        let of_file = lineage(&file).unwrap();
        assert_eq!(of_file[1..], of_directory);
        assert_eq!(lineage(&dir.path().join("link")).unwrap(), of_file);
        assert_eq!(of_directory.last(), lineage(Path::new("/")).unwrap().last());
        assert_eq!(lineage(&dir.path().join("none")), Err(Errno::ENOENT));
    }
}
