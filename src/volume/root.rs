//! What the root directory of a tree has besides owner, mode and times: extended attributes (ACLs, the SELinux label) and
//! the flags of its inode. An archive holds none of it, and `tar -x` into the directory keeps it. So a directory that has
//! any of this is not exchanged for a new one: its entries are moved. A label is the exception, since on a host with
//! SELinux every directory has one; it is given to the new root.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{IFlags, XattrFlags, fgetxattr, flistxattr, fsetxattr, ioctl_getflags};
use rustix::io::Errno;

/// The label of SELinux.
const LABEL: &str = "security.selinux";

/// The longest list of names, and the longest value, that the kernel gives (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_BYTES: usize = 64 << 10;

/// The inode flags that somebody sets; the others are the filesystem's own (ext4 has one for extents).
const SET_BY_HAND: IFlags = IFlags::APPEND
    .union(IFlags::COMPRESSED)
    .union(IFlags::DIRSYNC)
    .union(IFlags::IMMUTABLE)
    .union(IFlags::JOURNALING)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::NOTAIL)
    .union(IFlags::PROJECT_INHERIT)
    .union(IFlags::SECURE_REMOVAL)
    .union(IFlags::SYNC)
    .union(IFlags::TOPDIR)
    .union(IFlags::UNRM);

/// Returns whether a new directory would lack something that `directory` has. With a project id comes the flag that makes
/// new entries inherit it.
pub(super) fn is_irreplaceable(directory: &OwnedFd) -> Result<bool, Errno> {
    let mut list = Vec::with_capacity(MAX_BYTES);
    match flistxattr(directory, spare_capacity(&mut list)) {
        Ok(_) | Err(Errno::NOTSUP | Errno::NOSYS) => {}
        Err(errno) => return Err(errno),
    }
    let mut names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    if names.any(|name| name != LABEL.as_bytes()) {
        return Ok(true);
    }
    // Filesystems without flags answer with one of several errors.
    Ok(ioctl_getflags(directory).is_ok_and(|flags| flags.intersects(SET_BY_HAND)))
}

/// Gives `new` the SELinux label of `old`, if it has one. What is created in it then inherits the type.
pub(super) fn copy_label(old: &OwnedFd, new: &OwnedFd) -> Result<(), Errno> {
    let mut label = Vec::with_capacity(MAX_BYTES);
    match fgetxattr(old, LABEL, spare_capacity(&mut label)) {
        Ok(_) => fsetxattr(new, LABEL, &label, XattrFlags::empty()),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::ioctl_setflags;
    use std::fs::File;

    fn open(path: &std::path::Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn attributes_and_flags_make_a_directory_irreplaceable() {
        let dir = tempfile::tempdir().unwrap();
        let root = open(dir.path());
        assert_eq!(is_irreplaceable(&root), Ok(false));
        match fsetxattr(&root, "user.note", b"x", XattrFlags::empty()) {
            Ok(()) => {
                assert_eq!(is_irreplaceable(&root), Ok(true));
                rustix::fs::fremovexattr(&root, "user.note").unwrap();
            }
            Err(errno) => eprintln!("skipped: no extended attributes here ({errno})"),
        }
        let flags = ioctl_getflags(&root);
        match flags.and_then(|flags| ioctl_setflags(&root, flags | IFlags::NODUMP)) {
            Ok(()) => assert_eq!(is_irreplaceable(&root), Ok(true)),
            Err(errno) => eprintln!("skipped: no inode flags here ({errno})"),
        }
    }

    #[test]
    fn a_label_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            open(&dir.path().join(name))
        });
        copy_label(&old, &new).unwrap();
        // Only root may set one, also where SELinux is not in use.
        if let Err(errno) = fsetxattr(&old, LABEL, b"system_u:object_r:container_file_t:s0\0", XattrFlags::empty()) {
            eprintln!("skipped: cannot set a label ({errno})");
            return;
        }
        assert_eq!(is_irreplaceable(&old), Ok(false));
        copy_label(&old, &new).unwrap();
        let mut label = Vec::with_capacity(MAX_BYTES);
        fgetxattr(&new, LABEL, spare_capacity(&mut label)).unwrap();
        assert_eq!(label, b"system_u:object_r:container_file_t:s0\0");
    }
}
