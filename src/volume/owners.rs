//! Whether a filesystem keeps the owners of files. An NFS export with `root_squash` gives what root makes to somebody else
//! and lets root give nothing away; some filesystems (FAT) have no owners. That is found out before anything is replaced.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat};

use super::restore_record::STAGING;
use crate::error::Cause;

/// Makes a file without a name in `directory`, and checks that it belongs to this user and, if that is root, that it can be
/// given to another one.
///
/// # Errors
/// It does not or cannot, or those of the system calls.
pub(crate) fn check(directory: &OwnedFd) -> Result<(), Cause> {
    let file = unnamed(directory)?;
    let (owner, own) = (fstat(&file)?.st_uid, geteuid());
    if owner != own.as_raw() {
        let why = "does an NFS export squash root, or has the filesystem no owners?";
        return Err(format!("a file that user {own} makes there belongs to user {owner}: {why}").into());
    }
    if own.is_root() {
        let given = fchown(&file, Some(Uid::from_raw(1)), Some(Gid::from_raw(1)));
        given.map_err(|errno| format!("a file there cannot be given to another user: {}", errno.desc()))?;
    }
    Ok(())
}

/// Makes a file that is gone when it is closed.
fn unnamed(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    match openat(directory, ".", OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC, mode) {
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => {}
        other => return other,
    }
    // NFS and most filesystems in user space make only files with names.
    let name = OsString::from(format!("{STAGING}{:016x}", RandomState::new().hash_one(0)));
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(directory, name.as_os_str(), flags, mode)?;
    unlinkat(directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_owners_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        check(&std::fs::File::open(dir.path()).unwrap().into()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
