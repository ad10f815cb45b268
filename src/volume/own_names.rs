//! The directories of voltar's own that can lie in a volume: the staging directories of restores that have not ended,
//! and the trees that `--keep-previous` has kept. Records in the state directory name them.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::open_path;
use super::restore_record::{Content, PREVIOUS, STAGING, VERSION, parse_version, records};
use super::source::{Source, open_source};
use crate::durable::record::{self, LockedRecord};
use crate::error::{Error, Result};
use crate::identity::{Identity, boot_id};

/// The begin of the names of the records of kept trees.
const KIND: &str = "kept";

/// A directory of voltar's own in a volume, which is on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnName {
    name: String,
    identity: Identity,
}

/// The trees that a restore has kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptContent {
    version: u32,
    boot: String,
    trees: Vec<OwnName>,
    /// The directory that holds them.
    holder: Holder,
}

/// A directory, and where it was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    /// As bytes: any name can be in it.
    path: Vec<u8>,
    identity: Identity,
}

/// The staging directories and kept trees on record: no archive holds them, and no restore touches them. Anything else
/// whose name begins alike is the user's.
#[derive(Debug, Default)]
pub(crate) struct OwnNames {
    /// Each with the start of the machine in which it was recorded.
    names: Vec<(OwnName, String)>,
}

impl OwnNames {
    /// Reads the records in `state_dir`. Those that cannot be read name nothing; recovery reports them.
    pub(crate) fn on_record(state_dir: &Path) -> Result<Self> {
        let mut names = Vec::new();
        for path in records(state_dir)? {
            let Ok(Some(found)) = record::read(&path) else { continue };
            let Ok(content) = Content::parse(&found.text) else { continue };
            for tree in content.trees {
                let staging = tree.staging.map(|identity| OwnName { name: tree.name, identity });
                names.extend(staging.map(|own| (own, content.boot.clone())));
            }
        }
        for path in record::list(state_dir, KIND)? {
            let Ok(Some(found)) = record::read(&path) else { continue };
            let Ok(content) = parse_version::<KeptContent>(&found.text) else { continue };
            names.extend(content.trees.into_iter().map(|own| (own, content.boot.clone())));
        }
        Ok(Self { names })
    }

    /// Returns whether voltar gives such names: a cheap test before [`OwnNames::contains`].
    pub(crate) fn may_have(name: &OsStr) -> bool {
        [STAGING, PREVIOUS].iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
    }

    /// Returns whether `name` in `directory` is on record.
    pub(crate) fn contains(&self, directory: &OwnedFd, name: &OsStr) -> bool {
        let mut named = self.names.iter().filter(|(own, _)| own.name.as_bytes() == name.as_bytes()).peekable();
        if named.peek().is_none() {
            return false;
        }
        let found = open_path(directory, name).ok().and_then(|handle| Identity::of(handle).ok());
        let boot = boot_id();
        found.is_some_and(|found| named.any(|(own, then)| own.identity.is(&found, *then == boot)))
    }
}

/// Records a tree that is about to be kept as `name` in the directory `holder`, which is at `path`. Until the record is
/// dropped it is locked: the tree does not have its name yet.
pub(crate) fn record_kept(
    state_dir: &Path,
    holder: &OwnedFd,
    path: &Path,
    name: &str,
    identity: Identity,
) -> Result<LockedRecord> {
    let recorded = Identity::of(holder).and_then(|held_by| {
        let holder = Holder { path: path.as_os_str().as_bytes().to_vec(), identity: held_by };
        let trees = vec![OwnName { name: name.to_owned(), identity }];
        let text = serde_json::to_vec(&KeptContent { version: VERSION, boot: boot_id(), trees, holder })?;
        LockedRecord::create(state_dir, KIND, &text)
    });
    recorded.map_err(|cause| Error::failed_at("cannot record the kept tree in", state_dir, cause))
}

/// Removes the records of kept trees that are no longer where they were. Of a directory that is not there, such as that
/// of a filesystem that is not mounted, nothing is known: its records stay, and so does that of a restore in progress, which
/// is about to keep its tree. Returns why others are left.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn remove_records_of_gone(state_dir: &Path) -> Result<Vec<Error>> {
    let are_gone = |text: &[u8]| parse_version::<KeptContent>(text).is_ok_and(|content| content.are_gone());
    record::remove_obsolete(state_dir, KIND, are_gone)
}

impl KeptContent {
    /// Returns whether none of the trees is in its directory.
    fn are_gone(&self) -> bool {
        let same_boot = self.boot == boot_id();
        let Ok(Source { handle: holder, .. }) = open_source(Path::new(OsStr::from_bytes(&self.holder.path))) else {
            return false;
        };
        let is_there = |tree: &OwnName| match open_path(&holder, &*tree.name) {
            // What cannot be examined may be it.
            Ok(found) => Identity::of(found).map_or(true, |found| tree.identity.is(&found, same_boot)),
            Err(errno) => errno != Errno::ENOENT,
        };
        Identity::of(&holder).is_ok_and(|found| self.holder.identity.is(&found, same_boot))
            && !self.trees.iter().any(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// The kernel numbers devices anew at each start.
    #[test]
    fn a_kept_tree_is_voltars_own_after_the_machine_was_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let name = OsStr::new(".voltar-previous-1");
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let mut identity = Identity::of(std::fs::File::open(dir.path().join(name)).unwrap()).unwrap();
        identity.id.device = nix::sys::stat::makedev(8, 250);
        let directory = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let is_own = |boot: String| {
            let own = OwnName { name: name.to_str().unwrap().to_owned(), identity };
            OwnNames { names: vec![(own, boot)] }.contains(&directory, name)
        };
        assert!(is_own("another".to_owned()) && !is_own(boot_id()));
    }

    #[test]
    fn only_what_is_on_record_is_voltars_own() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let name = OsStr::new(".voltar-previous-1");
        let kept = dir.path().join(name);
        std::fs::create_dir(&kept).unwrap();
        let identity = |path: &Path| Identity::of(std::fs::File::open(path).unwrap()).unwrap();
        let directory = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        drop(record_kept(&state, &directory, dir.path(), ".voltar-previous-1", identity(&kept)).unwrap());
        let own = OwnNames::on_record(&state).unwrap();
        assert!(own.contains(&directory, name) && !own.contains(&directory, OsStr::new(".voltar-previous-2")));
        // What has taken its name is the user's.
        std::fs::rename(&kept, dir.path().join("moved")).unwrap();
        assert!(!own.contains(&directory, name) && !own.contains(&directory, OsStr::new("moved")));
        std::fs::create_dir(&kept).unwrap();
        assert!(!own.contains(&directory, name));
    }

    #[test]
    fn a_record_stays_as_long_as_its_tree_may_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (state, name) = (at("state"), ".voltar-previous-1");
        std::fs::create_dir_all(at("holder").join(name)).unwrap();
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        let identity = Identity::of(open(&at("holder").join(name))).unwrap();
        let is_left = || {
            assert!(remove_records_of_gone(&state).unwrap().is_empty());
            !record::list(&state, KIND).unwrap().is_empty()
        };
        let locked = record_kept(&state, &open(&at("holder")), &at("holder"), name, identity).unwrap();
        // As between the record and the rename.
        std::fs::rename(at("holder").join(name), at("staged")).unwrap();
        assert!(is_left(), "the restore is in progress");
        std::fs::rename(at("staged"), at("holder").join(name)).unwrap();
        drop(locked);
        assert!(is_left());
        // As a filesystem that is not mounted, and only its mountpoint is there.
        std::fs::rename(at("holder"), at("unmounted")).unwrap();
        assert!(is_left());
        std::fs::create_dir(at("holder")).unwrap();
        assert!(is_left());
        std::fs::remove_dir(at("holder")).unwrap();
        std::fs::rename(at("unmounted"), at("holder")).unwrap();
        std::fs::remove_dir(at("holder").join(name)).unwrap();
        // The user's own, which has only the name.
        std::fs::write(at("holder").join(name), "").unwrap();
        assert!(!is_left());
    }
}
