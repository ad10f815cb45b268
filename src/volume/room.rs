//! The room on the filesystem of a tree: what can still be written there, and what a file takes of it.

use std::os::fd::OwnedFd;

use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Uid, geteuid};

/// The magic of XFS after linux/magic.h: nix has it only for glibc.
const XFS_SUPER_MAGIC: FsType = FsType(0x5846_5342);

/// The room on a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The bytes that this process can write.
    pub bytes: u64,
    /// The number of files and directories that can be made; `None` where the filesystem has no such limit.
    pub inodes: Option<u64>,
    /// The unit in bytes in which files take room.
    pub block: u64,
    /// Whether content takes the room of its blocks. A filesystem that compresses, or the server behind it, can need less.
    pub is_exact: bool,
}

impl Room {
    /// Returns the room on the filesystem of an open file; `None` if it is not known, or not limited.
    pub(super) fn of(handle: &OwnedFd) -> Option<Self> {
        let (status, kind) = (fstatvfs(handle).ok()?, fstatfs(handle).ok()?.filesystem_type());
        // A tmpfs without a limit.
        if status.blocks() == 0 {
            return None;
        }
        let blocks = writable_blocks(kind, geteuid(), status.blocks_free(), status.blocks_available());
        Some(Self {
            bytes: blocks.saturating_mul(status.fragment_size()),
            inodes: (status.files() > 0).then(|| status.files_free()),
            block: status.fragment_size().max(1),
            is_exact: is_exact(kind),
        })
    }
}

/// Returns the number of blocks that `user` can write, of those that are `free` and those that are `available` to all.
fn writable_blocks(kind: FsType, user: Uid, free: u64, available: u64) -> u64 {
    // Only ext4 reserves the others for root; elsewhere nobody can write them.
    if kind == EXT4_SUPER_MAGIC && user.is_root() { free } else { available }
}

fn is_exact(kind: FsType) -> bool {
    [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::path::Path;

    #[test]
    fn the_room_is_known_where_it_is_limited() {
        let room = |path: &Path| Room::of(&OwnedFd::from(File::open(path).unwrap()));
        assert_eq!(room(Path::new("/proc")), None);
        let found = room(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(found.bytes > 0 && found.block > 0, "{found:?}");
    }

    #[test]
    fn only_root_writes_reserved_blocks_and_only_of_ext4() {
        let writable = |kind, user| writable_blocks(kind, Uid::from_raw(user), 100, 95);
        assert_eq!(writable(EXT4_SUPER_MAGIC, 0), 100);
        assert_eq!([writable(EXT4_SUPER_MAGIC, 1), writable(XFS_SUPER_MAGIC, 0)], [95; 2]);
    }

    #[test]
    fn a_filesystem_that_may_compress_is_not_exact() {
        assert!(is_exact(EXT4_SUPER_MAGIC) && is_exact(XFS_SUPER_MAGIC) && is_exact(TMPFS_MAGIC));
        assert!(!is_exact(nix::sys::statfs::BTRFS_SUPER_MAGIC) && !is_exact(nix::sys::statfs::FUSE_SUPER_MAGIC));
    }
}
