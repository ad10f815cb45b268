//! Finds the map between the ids that the containers of a data root see and those that its files have.
//!
//! An engine with userns-remap names its root directory after the ids of the containers' root (`200000.200000`); a copy
//! may have any name, but `config.v2.json` has the original path. The data root of a rootless engine belongs to its user.
//! The rest of the map is in `/etc/subuid` and `/etc/subgid`: of the host that the disk is from, where its root directory
//! is known, or else of this host.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, geteuid};

use crate::host::inventory::{MappedBy, MappedIds};
use crate::host::subids::{ContainerRoot, SubIds, container_root};
use crate::ids::{IdMap, IdRange};
use crate::member::printable_path;

/// The number of ids that a user has by default (`useradd`, and the engine for `dockremap`).
const USUAL_COUNT: u32 = 65_536;
/// The end of the path of a rootless engine's data root, unless it is configured.
const ROOTLESS: &str = ".local/share/docker";

/// A data root whose map is to be found.
pub(super) struct Place<'a> {
    /// Its present path.
    pub(super) dir: &'a Path,
    /// Its path when its files were written, if they have it.
    pub(super) original: Option<&'a Path>,
    /// The present path of the root directory of the host that it is from.
    pub(super) host: &'a Path,
}

/// Returns the map of a data root, and a note that says where it is from.
///
/// # Errors
/// The reason why the map is not known: its archives would have wrong owners.
pub(super) fn find(place: &Place<'_>) -> Result<(MappedIds, Option<String>), String> {
    let subids = || SubIds::of_host(place.host);
    if let Some(root) = container_root(place.original.unwrap_or(place.dir)) {
        let dir = printable_path(place.dir);
        let (ids, source) = remapped(root, subids())
            .map_err(|why| format!("{dir} is of an engine with userns-remap, whose map of ids is not known: {why}"))?;
        let note = format!("{dir} is of an engine with userns-remap: its ids are mapped {source}");
        return Ok((MappedIds { ids, by: MappedBy::Containers }, Some(note)));
    }
    if let Some(user) = rootless_user(place, geteuid()) {
        let map = subids().map_err(|cause| format!("/etc/subuid or /etc/subgid cannot be read: {cause}"));
        let ids = map.and_then(|subids| subids.rootless(user)).map_err(|why| {
            let (dir, uid) = (printable_path(place.dir), user.0);
            format!("{dir} is the data root of a rootless engine of user {uid}, whose map of ids is not known: {why}")
        })?;
        let (dir, uid, host) = (printable_path(place.dir), user.0, printable_path(place.host));
        let note =
            format!("{dir} is of a rootless engine of user {uid}: its ids are mapped as /etc/subuid below {host} says");
        return Ok((MappedIds { ids, by: MappedBy::Engine }, Some(note)));
    }
    Ok((MappedIds { ids: IdMap::default(), by: MappedBy::Engine }, None))
}

/// Returns the map of an engine with userns-remap, and where it is from.
fn remapped(root: ContainerRoot, subids: io::Result<SubIds>) -> Result<(IdMap, String), String> {
    let found = subids.map_err(|cause| format!("/etc/subuid or /etc/subgid cannot be read: {cause}"));
    match found.and_then(|subids| subids.remapped(root)) {
        Ok((ids, user)) => Ok((ids, format!("as /etc/subuid says of user '{user}'"))),
        Err(why) => {
            // If the engine has more ids, those are refused: none is mapped wrongly.
            let usual = |host: u32| vec![IdRange { container: 0, host, count: USUAL_COUNT }];
            let ids =
                IdMap::new(usual(root.0), usual(root.1)).map_err(|bad| format!("{why}, and by its name {bad}"))?;
            Ok((ids, format!("by its name {}.{}, with {USUAL_COUNT} ids ({why})", root.0, root.1)))
        }
    }
}

/// Returns the user and the group of the rootless engine that a data root is of.
fn rootless_user(place: &Place<'_>, me: Uid) -> Option<ContainerRoot> {
    // An engine of root gives this directory to root each time it starts.
    let owner = place.dir.join("volumes").symlink_metadata().map(|found| (found.uid(), found.gid())).ok()?;
    let by_path = place.dir.ends_with(ROOTLESS) || place.original.is_some_and(|original| original.ends_with(ROOTLESS));
    // Also a copy that lost its owners, or one that an ordinary user has made.
    let by_owner = (me.is_root() || owner.0 != me.as_raw())
        && place.original.is_none_or(|original| !original.starts_with("/var/lib/docker"));
    Some(owner).filter(|(uid, _)| *uid != 0 && (by_path || by_owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;
    use std::os::unix::fs::chown;

    #[test]
    fn a_data_root_is_of_a_rootless_engine_by_its_owner_or_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, home) = (dir.path().join("docker"), dir.path().join(ROOTLESS));
        for root in [&plain, &home] {
            create_dir_all(root.join("volumes")).unwrap();
            if geteuid().is_root() {
                chown(root.join("volumes"), Some(1000), Some(1000)).unwrap();
            }
        }
        let owner = plain.join("volumes").metadata().map(|found| (found.uid(), found.gid())).unwrap();
        let (own, other) = (Uid::from_raw(owner.0), Uid::from_raw(owner.0 + 1));
        let found = |dir: &Path, original: Option<&str>, me: Uid| {
            let place = Place { dir, original: original.map(Path::new), host: Path::new("/") };
            rootless_user(&place, me)
        };
        assert_eq!([Uid::from_raw(0), other].map(|me| found(&plain, None, me)), [Some(owner); 2]);
        assert_eq!(found(&plain, None, own), None, "made by an ordinary user");
        assert_eq!(found(&plain, Some("/var/lib/docker"), other), None, "a copy that lost its owners");
        assert_eq!(found(&plain, Some("/home/u/.local/share/docker"), own), Some(owner));
        assert_eq!(found(&home, None, own), Some(owner));
        assert_eq!(found(Path::new("/none"), None, other), None);
        if geteuid().is_root() {
            chown(home.join("volumes"), Some(0), Some(0)).unwrap();
            assert_eq!(found(&home, None, own), None, "an engine of root");
        }
    }
}
