//! Removes whole trees, however deep, without following links: each directory is moved up beside the top before
//! its content goes, so no path grows long and no handle is kept.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::beneath::{DIRECTORY, names};
use super::metadata;

/// Prefix of the names that directories get until they are removed.
pub(super) const DOOMED: &str = ".voltar-doomed-";

/// Removes `name` in `directory` and all below it. It is no error if there is no such name.
pub(crate) fn remove_all(directory: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let directory = directory.as_fd();
    let status = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    if !metadata::is_directory(&status) {
        return unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
    let mut doomed = VecDeque::from([name.to_owned()]);
    let mut count = 0_u64;
    while let Some(name) = doomed.pop_front() {
        let mut handle = openat(directory, name.as_os_str(), DIRECTORY, Mode::empty());
        if matches!(handle, Err(Errno::EACCES)) {
            // Its mode forbids removing what is in it to any process but root's.
            metadata::change_directory_mode(directory, &name, Mode::S_IRWXU)?;
            handle = openat(directory, name.as_os_str(), DIRECTORY, Mode::empty());
        }
        let handle = handle?;
        if fstat(&handle)?.st_mode & 0o700 != 0o700 {
            fchmod(&handle, Mode::S_IRWXU)?;
        }
        for entry in names(&handle)? {
            if metadata::is_directory(&fstatat(&handle, entry.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?) {
                // An empty directory goes at once; only one with content is worth a move.
                if unlinkat(&handle, entry.as_os_str(), UnlinkatFlags::RemoveDir).is_ok() {
                    continue;
                }
                let moved = loop {
                    let moved = OsString::from(format!("{DOOMED}{count}"));
                    count += 1;
                    match fstatat(directory, moved.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                        Ok(_) => {}
                        Err(Errno::ENOENT) => break moved,
                        Err(errno) => return Err(errno),
                    }
                };
                match renameat(&handle, entry.as_os_str(), directory, moved.as_os_str()) {
                    // Its `..` changes, which requires write permission on the directory itself.
                    Err(Errno::EACCES) => {
                        metadata::change_directory_mode(&handle, &entry, Mode::S_IRWXU)?;
                        renameat(&handle, entry.as_os_str(), directory, moved.as_os_str())?;
                    }
                    other => other?,
                }
                doomed.push_back(moved);
            } else {
                unlinkat(&handle, entry.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
            }
        }
        unlinkat(directory, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir_all, read_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn the_tree_goes_and_what_its_links_point_at_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("tree/a/b/c")).unwrap();
        create_dir_all(at("kept")).unwrap();
        write(at("kept/file"), "x").unwrap();
        write(at("tree/a/b/file"), "x").unwrap();
        symlink("../../kept", at("tree/a/link")).unwrap();
        set_permissions(at("tree/a/b"), std::fs::Permissions::from_mode(0o000)).unwrap();
        let directory = File::open(dir.path()).unwrap();
        remove_all(&directory, OsStr::new("tree")).unwrap();
        remove_all(&directory, OsStr::new("tree")).unwrap();
        assert_eq!(std::fs::read(at("kept/file")).unwrap(), b"x");
        assert_eq!(read_dir(dir.path()).unwrap().count(), 1);
    }
}
