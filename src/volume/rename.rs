//! Renames beneath open directories that never replace anything. NFS and most filesystems in user space do not have the
//! flags of renameat2(2).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::renameat2::{RenameFlags, renameat2};

/// Exchanges two names in one step.
///
/// # Errors
/// Those of the system call; `EINVAL` where the filesystem cannot do that.
pub(super) fn exchange(
    one: impl AsFd,
    one_name: impl AsRef<OsStr>,
    other: impl AsFd,
    other_name: impl AsRef<OsStr>,
) -> Result<(), Errno> {
    renameat2(one, one_name, other, other_name, RenameFlags::EXCHANGE)
}

/// The names with which [`can_exchange`] tries it.
pub(super) const TRIAL: [&str; 2] = ["trial-1", "trial-2"];

/// Returns whether two names in `directory` can be exchanged, by trying it with two directories that are made for that.
///
/// # Errors
/// Those of the system calls.
pub(super) fn can_exchange(directory: &OwnedFd) -> Result<bool, Errno> {
    TRIAL.iter().try_for_each(|name| mkdirat(directory, *name, Mode::S_IRWXU))?;
    let exchanged = exchange(directory, TRIAL[0], directory, TRIAL[1]);
    TRIAL.iter().try_for_each(|name| unlinkat(directory, *name, UnlinkatFlags::RemoveDir))?;
    match exchanged {
        Ok(()) => Ok(true),
        Err(errno) if is_unsupported(errno) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Moves `name` to where nothing is.
///
/// # Errors
/// Those of the system calls; `EEXIST` if something is there.
pub(super) fn move_to(
    from: impl AsFd,
    name: impl AsRef<OsStr>,
    to: impl AsFd,
    new_name: impl AsRef<OsStr>,
) -> Result<(), Errno> {
    let (from, name, to, new_name) = (from.as_fd(), name.as_ref(), to.as_fd(), new_name.as_ref());
    match renameat2(from, name, to, new_name, RenameFlags::NOREPLACE) {
        Err(errno) if is_unsupported(errno) => {
            // One of the two directories is a staging directory, and no container uses the other: nobody is expected to
            // create this name in between.
            match fstatat(to, new_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EEXIST),
                Err(Errno::ENOENT) => renameat(from, name, to, new_name),
                Err(errno) => Err(errno),
            }
        }
        other => other,
    }
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "a").unwrap();
        fs::write(dir.path().join("b"), "b").unwrap();
        let open = OwnedFd::from(File::open(dir.path()).unwrap());
        assert_eq!(move_to(&open, "a", &open, "b"), Err(Errno::EEXIST));
        move_to(&open, "a", &open, "c").unwrap();
        exchange(&open, "c", &open, "b").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "a");
        assert!(can_exchange(&open).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
