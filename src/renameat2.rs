//! renameat2(2) for every C library: nix has it only for glibc.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
pub(crate) use rustix::fs::RenameFlags;

/// Renames `old_name` in the directory `old` to `new_name` in `new`.
///
/// # Errors
/// Those of the system call; `EINVAL` on a filesystem that does not have these flags.
pub(crate) fn renameat2(
    old: impl AsFd,
    old_name: impl AsRef<OsStr>,
    new: impl AsFd,
    new_name: impl AsRef<OsStr>,
    flags: RenameFlags,
) -> Result<(), Errno> {
    rustix::fs::renameat_with(old, old_name.as_ref(), new, new_name.as_ref(), flags)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}
