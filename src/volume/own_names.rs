//! The directories of voltar's own that can lie in a volume: the staging directories of restores that have not ended,
//! and the trees that `--keep-previous` has kept. Records in the state directory name them.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::open_path;
use super::restore_record::{Content, PREVIOUS, STAGING, TreeRecord, VERSION, parse_version, records};
use super::source::{Source, open_source};
use crate::durable::record::{self, LockedRecord};
use crate::error::{Cause, Error, Result};
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
    /// Whether there is a record that cannot be read. It may name whatever has such a name.
    has_unread: bool,
}

impl OwnNames {
    /// Reads the records in `state_dir`. Recovery reports those that cannot be read.
    pub(crate) fn on_record(state_dir: &Path) -> Result<Self> {
        let mut this = Self::default();
        for path in records(state_dir)? {
            this.add(&path, |text| {
                let Content { boot, trees, .. } = Content::parse(text)?;
                let staging = |tree: TreeRecord| Some(OwnName { name: tree.name, identity: tree.staging? });
                Ok((boot, trees.into_iter().filter_map(staging).collect()))
            });
        }
        for path in record::list(state_dir, KIND)? {
            this.add(&path, |text| parse_version::<KeptContent>(text).map(|content| (content.boot, content.trees)));
        }
        Ok(this)
    }

    /// Adds what the record at `path` names.
    fn add(&mut self, path: &Path, parse: impl FnOnce(&[u8]) -> Result<(String, Vec<OwnName>), Cause>) {
        match record::read(path).map(|found| found.map(|found| parse(&found.text))) {
            Ok(Some(Ok((boot, names)))) => self.names.extend(names.into_iter().map(|own| (own, boot.clone()))),
            Ok(None) => {}
            Err(_) | Ok(Some(Err(_))) => self.has_unread = true,
        }
    }

    /// Returns whether voltar gives such names: a cheap test before [`OwnNames::contains`].
    pub(crate) fn may_have(name: &OsStr) -> bool {
        [STAGING, PREVIOUS].iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
    }

    /// Returns whether `name` in `directory` is on record, or may be.
    pub(crate) fn contains(&self, directory: &OwnedFd, name: &OsStr) -> bool {
        if self.has_unread && Self::may_have(name) {
            return true;
        }
        let mut named = self.names.iter().filter(|(own, _)| own.name.as_bytes() == name.as_bytes()).peekable();
        if named.peek().is_none() {
            return false;
        }
        match open_path(directory, name).map(Identity::of) {
            Ok(Ok(found)) => {
                let boot = boot_id();
                named.any(|(own, then)| own.identity.is(&found, *then == boot))
            }
            Err(Errno::ENOENT) => false,
            // What cannot be examined may be it.
            Err(_) | Ok(Err(_)) => true,
        }
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
/// is about to keep its tree. Returns why others are left, and which cannot be read.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn remove_records_of_gone(state_dir: &Path) -> Result<Vec<Error>> {
    let are_gone = |text: &[u8]| parse_version::<KeptContent>(text).map(|content| content.are_gone());
    let unread = format!(
        "it names a tree that --keep-previous has kept, which is left alone as long as this file is there: look for \
         '{PREVIOUS}…' in the volumes and beside them, move what is needed, then remove this file"
    );
    record::remove_obsolete(state_dir, KIND, &unread, are_gone)
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
            OwnNames { names: vec![(own, boot)], has_unread: false }.contains(&directory, name)
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
        // Which names a record has that cannot be read is not known.
        std::fs::write(state.join("kept-1.json"), "{").unwrap();
        let [error] = &remove_records_of_gone(&state).unwrap()[..] else { panic!() };
        assert!(error.to_string().starts_with("cannot understand"), "{error}");
        let own = OwnNames::on_record(&state).unwrap();
        assert!(own.contains(&directory, name) && !own.contains(&directory, OsStr::new("previous")));
    }

    #[test]
    fn a_record_stays_after_the_machine_was_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let name = ".voltar-previous-1";
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let on_another_device = |path: &Path| {
            let mut identity = Identity::of(File::open(path).unwrap()).unwrap();
            identity.id.device = nix::sys::stat::makedev(8, 250);
            identity
        };
        let identity = on_another_device(dir.path());
        let holder = || Holder { path: dir.path().as_os_str().as_bytes().to_vec(), identity };
        let trees = vec![OwnName { name: name.to_owned(), identity: on_another_device(&dir.path().join(name)) }];
        let are_gone = |boot: &str| {
            let boot = boot.to_owned();
            KeptContent { version: VERSION, boot, trees: trees.clone(), holder: holder() }.are_gone()
        };
        assert!(!are_gone("another"));
        std::fs::remove_dir(dir.path().join(name)).unwrap();
        assert!(are_gone("another"));
        assert!(!are_gone(&boot_id()), "another filesystem is mounted there");
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
