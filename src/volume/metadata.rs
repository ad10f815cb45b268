//! Gives an object its owner, mode and times, in the one order that works for every kind: owner, mode,
//! time. (`chown` clears set-uid and set-gid, for root too; anything later would change the time.)

use std::ffi::OsStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::member::{Metadata, Timestamp};

/// The step that failed, for a message: "cannot set the owner of".
pub(crate) type Failed = (&'static str, Errno);

const OWNER: &str = "cannot set the owner of";
const MODE: &str = "cannot set the mode of";
const TIME: &str = "cannot set the time of";

/// What `status` says of owner, mode and times.
#[must_use]
pub(crate) fn of(status: &FileStat) -> Metadata {
    Metadata {
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        mtime: Timestamp {
            seconds: status.st_mtime,
            nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or_default(),
        },
    }
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

/// Applies `metadata` to an open file or directory.
pub(crate) fn apply(handle: impl AsFd, metadata: &Metadata) -> Result<(), Failed> {
    let handle = handle.as_fd();
    fchown(handle, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid))).map_err(|e| (OWNER, e))?;
    fchmod(handle, mode(metadata)).map_err(|e| (MODE, e))?;
    futimens(handle, &TimeSpec::UTIME_OMIT, &timespec(metadata.mtime)).map_err(|e| (TIME, e))
}

/// Applies `metadata` to `name` in `directory`, which is not opened: a FIFO or a device.
///
/// The name must have been made by us a moment ago: `chmod` has no form that refuses links on older kernels.
pub(crate) fn apply_to_special(directory: impl AsFd, name: &OsStr, metadata: &Metadata) -> Result<(), Failed> {
    let directory = directory.as_fd();
    own(directory, name, metadata)?;
    fchmodat(directory, name, mode(metadata), FchmodatFlags::FollowSymlink).map_err(|e| (MODE, e))?;
    stamp(directory, name, metadata)
}

/// Applies owner and time to a symbolic link; its mode has no meaning.
pub(crate) fn apply_to_symlink(directory: impl AsFd, name: &OsStr, metadata: &Metadata) -> Result<(), Failed> {
    let directory = directory.as_fd();
    own(directory, name, metadata)?;
    stamp(directory, name, metadata)
}

fn own(directory: impl AsFd, name: &OsStr, metadata: &Metadata) -> Result<(), Failed> {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|e| (OWNER, e))
}

fn stamp(directory: impl AsFd, name: &OsStr, metadata: &Metadata) -> Result<(), Failed> {
    let mtime = timespec(metadata.mtime);
    utimensat(directory, name, &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::NoFollowSymlink).map_err(|e| (TIME, e))
}

fn mode(metadata: &Metadata) -> Mode {
    Mode::from_bits_truncate(metadata.mode & 0o7777)
}

fn timespec(time: Timestamp) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}
