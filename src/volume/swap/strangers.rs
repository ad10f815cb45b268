//! Strangers: entries that somebody else has made where an entry of the old tree or of the new one must go. They are set
//! aside in the staging directory, so that the tree can be made whole, and given back under a name of voltar's own, of
//! which no archive has a record: they are the user's like everything else there. Where only parts of a tree are replaced
//! nothing else is moved, so that a stranger gets that name at once.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::error::Result;
use crate::member::RelPath;
use crate::volume::beneath::{DIRECTORY, names};
use crate::volume::rename;
use crate::volume::staging::Staging;

/// The begin of the names of the directories in the staging directory that hold strangers. There are several, because two
/// strangers can have one name.
pub(super) const ASIDE: &str = "strangers-";

/// The begin of the names under which they are given back.
const GIVEN_BACK: &str = ".voltar-stranger-";

/// An entry that was in the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// Its name in the directory, or its path in the tree.
    pub(crate) was: OsString,
    /// Its name in the same directory now.
    pub(crate) is: OsString,
}

/// Moves `name` of `directory` into the staging directory.
pub(super) fn set_aside(staging: &Staging, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let mut number = 1;
    loop {
        let aside = format!("{ASIDE}{number}");
        match mkdirat(staging.directory(), aside.as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let aside = openat(staging.directory(), aside.as_str(), DIRECTORY, Mode::empty())?;
        match rename::move_to(directory, name, &aside, name) {
            Err(Errno::EEXIST) => number += 1,
            done => return done,
        }
    }
}

/// Gives all strangers back to `directory`, each under a name that nothing has yet.
pub(super) fn give_back(staging: &Staging, directory: &OwnedFd) -> Result<Vec<Stranger>> {
    let failed = |errno: Errno| staging.failed("cannot give back what somebody else has made in", errno);
    let mut strangers = Vec::new();
    let is_aside = |name: &OsString| name.as_bytes().starts_with(ASIDE.as_bytes());
    for aside in names(staging.directory()).map_err(failed)?.into_iter().filter(is_aside) {
        let from = openat(staging.directory(), aside.as_os_str(), DIRECTORY, Mode::empty()).map_err(failed)?;
        for was in names(&from).map_err(failed)? {
            let is = move_to_free(&from, &was, directory).map_err(failed)?;
            strangers.push(Stranger { was, is });
        }
        fsync(directory).map_err(failed)?;
        unlinkat(staging.directory(), aside.as_os_str(), UnlinkatFlags::RemoveDir).map_err(failed)?;
    }
    Ok(strangers)
}

/// Gives the entry at `path`, in the directory `holder`, a name that nothing has yet.
pub(super) fn set_aside_there(holder: &OwnedFd, path: &RelPath) -> Result<Stranger, Errno> {
    let is = move_to_free(holder, path.file_name(), holder)?;
    Ok(Stranger { was: path.as_path().into(), is })
}

fn move_to_free(from: &OwnedFd, name: &OsStr, to: &OwnedFd) -> Result<OsString, Errno> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut number = 1;
    loop {
        let free = OsString::from(format!("{GIVEN_BACK}{now}-{number}"));
        match rename::move_to(from, name, to, &free) {
            Ok(()) => return Ok(free),
            Err(Errno::EEXIST) => number += 1,
            Err(errno) => return Err(errno),
        }
    }
}
