//! Gives an object its owner, mode, extended attributes and times, in the one order that works for every kind. `chown`
//! clears set-uid, set-gid and capabilities, for root too; a mode is a part of an ACL; anything later would change the
//! time.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::beneath::{open_path, procfs};
use super::xattrs::{NotSet, Object};
use crate::member::{Metadata, Timestamp};
use crate::xattrs::Xattrs;

/// The step that failed, for a message: "cannot set the owner of".
pub(crate) type Failed = (&'static str, Errno);

const OWNER: &str = "cannot set the owner of";
const MODE: &str = "cannot set the mode of";
const XATTRS: &str = "cannot set the extended attributes of";
const TIME: &str = "cannot set the time of";

/// What `status` says of owner, mode and times. It says nothing of extended attributes.
#[must_use]
pub(crate) fn of(status: &FileStat) -> Metadata {
    Metadata {
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        mtime: time(status.st_mtime, status.st_mtime_nsec),
        xattrs: Xattrs::default(),
    }
}

/// Returns a time of `struct stat`.
pub(super) fn time(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or_default() }
}

/// The metadata of an open object.
pub(crate) fn of_open(handle: impl AsFd) -> Result<Metadata, Errno> {
    fstat(handle).map(|status| of(&status))
}

/// What kind of object `status` describes.
pub(super) fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

pub(super) fn is_directory(status: &FileStat) -> bool {
    file_type(status) == SFlag::S_IFDIR
}

/// Applies `metadata` to an open file or directory. Returns the extended attributes that could not be set.
pub(crate) fn apply(handle: impl AsFd, metadata: &Metadata) -> Result<NotSet, Failed> {
    let handle = handle.as_fd();
    fchown(handle, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid))).map_err(|e| (OWNER, e))?;
    fchmod(handle, mode(metadata)).map_err(|e| (MODE, e))?;
    let not_set = apply_xattrs(&Object::open(&handle), metadata);
    set_time(handle, metadata.mtime).map_err(|e| (TIME, e))?;
    Ok(not_set)
}

/// Sets the time of the last modification of an open file or directory.
pub(crate) fn set_time(handle: impl AsFd, mtime: Timestamp) -> Result<(), Errno> {
    futimens(handle, &TimeSpec::UTIME_OMIT, &timespec(mtime))
}

/// Sets the extended attributes, if `metadata` has any. An ACL that the object has inherited is removed if they are known
/// to have none.
fn apply_xattrs(object: &Object<'_>, metadata: &Metadata) -> NotSet {
    let mut not_set = object.remove_other_acls(&metadata.xattrs);
    not_set.extend(object.set(&metadata.xattrs));
    not_set
}

/// Applies `metadata` to a FIFO or device of this type that was just created as `name` in `directory`.
///
/// `fchmodat` follows a symbolic link that has replaced the node meanwhile. So the node is opened without acting on it
/// (`O_PATH`), examined, and changed through its handle. Returns the extended attributes that could not be set.
pub(crate) fn apply_to_special(
    directory: impl AsFd,
    name: &OsStr,
    kind: SFlag,
    metadata: &Metadata,
) -> Result<NotSet, Failed> {
    let node = open_path(directory, name).map_err(|e| (OWNER, e))?;
    let status = fstat(&node).map_err(|e| (OWNER, e))?;
    if file_type(&status) != kind || status.st_nlink != 1 {
        return Err((OWNER, Errno::ESTALE));
    }
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    fchownat(&node, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH).map_err(|e| (OWNER, e))?;
    change_mode(&node, mode(metadata)).map_err(|e| (MODE, e))?;
    let not_set = apply_xattrs(&Object::path(&node), metadata);
    let (path, mtime) = (procfs(&node), timespec(metadata.mtime));
    utimensat(AT_FDCWD, &path, &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::FollowSymlink).map_err(|e| (TIME, e))?;
    Ok(not_set)
}

/// Gives the directory `name` in `directory` a mode. A symbolic link is not followed.
pub(super) fn change_directory_mode(directory: impl AsFd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    let handle = open_path(directory, name)?;
    if !is_directory(&fstat(&handle)?) {
        return Err(Errno::ENOTDIR);
    }
    change_mode(&handle, mode)
}

/// Changes the mode of an `O_PATH` handle, which `fchmod` does not take. procfs leads to the open file itself.
fn change_mode(handle: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    fchmodat(AT_FDCWD, &procfs(handle), mode, FchmodatFlags::FollowSymlink)
}

/// Applies owner, extended attributes and time to a symbolic link that was just created; its mode has no meaning. Returns
/// the attributes that could not be set.
pub(crate) fn apply_to_symlink(directory: impl AsFd, name: &OsStr, metadata: &Metadata) -> Result<NotSet, Failed> {
    let directory = directory.as_fd();
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|e| (OWNER, e))?;
    let not_set = if metadata.xattrs.is_empty() {
        NotSet::new()
    } else {
        // The kernel sets them only by a path or an open handle, and the name may be another object's by now.
        let link = open_path(directory, name).map_err(|e| (XATTRS, e))?;
        let status = fstat(&link).map_err(|e| (XATTRS, e))?;
        if file_type(&status) != SFlag::S_IFLNK || status.st_nlink != 1 {
            return Err((XATTRS, Errno::ESTALE));
        }
        Object::path(&link).set(&metadata.xattrs)
    };
    let mtime = timespec(metadata.mtime);
    utimensat(directory, name, &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::NoFollowSymlink)
        .map_err(|e| (TIME, e))?;
    Ok(not_set)
}

fn mode(metadata: &Metadata) -> Mode {
    Mode::from_bits_truncate(metadata.mode & 0o7777)
}

fn timespec(time: Timestamp) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, metadata, set_permissions, write};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    use nix::unistd::{getegid, geteuid, mkfifo};

    use super::*;

    #[test]
    fn a_fifo_gets_its_metadata_and_what_replaced_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let wanted = Metadata {
            mode: 0o3777,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            mtime: Timestamp { seconds: 7, nanoseconds: 5 },
            xattrs: Xattrs::default(),
        };
        let directory = File::open(dir.path()).unwrap();
        let apply = |name: &str| apply_to_special(&directory, OsStr::new(name), SFlag::S_IFIFO, &wanted);

        mkfifo(&at("fifo"), Mode::S_IRUSR).unwrap();
        apply("fifo").unwrap();
        let status = metadata(at("fifo")).unwrap();
        assert_eq!((status.mode() & 0o7777, status.mtime(), status.mtime_nsec()), (0o3777, 7, 5));

        write(at("victim"), "x").unwrap();
        set_permissions(at("victim"), PermissionsExt::from_mode(0o600)).unwrap();
        symlink(at("victim"), at("link")).unwrap();
        std::fs::hard_link(at("victim"), at("hard")).unwrap();
        std::fs::hard_link(at("fifo"), at("other fifo")).unwrap();
        for replaced in ["link", "hard", "other fifo"] {
            assert_eq!(apply(replaced), Err((OWNER, Errno::ESTALE)), "{replaced}");
        }
        let status = metadata(at("victim")).unwrap();
        assert_eq!((status.mode() & 0o7777, status.mtime() == 7), (0o600, false));
    }

    /// Somebody else may have put another link, or another object, in its place.
    #[test]
    fn attributes_are_given_to_no_link_of_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let directory = File::open(dir.path()).unwrap();
        symlink("target", at("theirs")).unwrap();
        std::fs::hard_link(at("theirs"), at("linked")).unwrap();
        write(at("file"), "x").unwrap();
        let metadata = Metadata {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            xattrs: [(b"trusted.a".to_vec(), b"x".to_vec())].into_iter().collect(),
            ..Metadata::default()
        };
        for replaced in ["linked", "file"] {
            let applied = apply_to_symlink(&directory, OsStr::new(replaced), &metadata);
            assert_eq!(applied, Err((XATTRS, Errno::ESTALE)), "{replaced}");
        }
    }

    #[test]
    fn the_mode_of_a_directory_is_not_changed_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let victim = tempfile::tempdir().unwrap();
        symlink(victim.path(), dir.path().join("link")).unwrap();
        let directory = File::open(dir.path()).unwrap();
        let change = |name: &str| change_directory_mode(&directory, OsStr::new(name), Mode::S_IRWXO);
        let before = metadata(victim.path()).unwrap().mode();
        assert_eq!(change("link"), Err(Errno::ENOTDIR));
        assert_eq!(metadata(victim.path()).unwrap().mode(), before);
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        change("directory").unwrap();
        assert_eq!(metadata(dir.path().join("directory")).unwrap().mode() & 0o7777, 0o007);
    }
}
