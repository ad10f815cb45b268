//! The record of a restore: which trees it replaces, and how far it is. It lies in the state directory, where only root
//! can write, and never in a volume. It identifies everything by device, inode and birth, so that a later run acts on
//! what this run made and on nothing that has taken its name.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use super::beneath::open_path;
use super::live::{Live, Way};
use crate::durable::record::{self, LockedRecord, NotWritten};
use crate::durable::state_dir;
use crate::error::{Cause, Error, Result};
use crate::identity::{FileId, Identity, boot_id};
use crate::member::{Metadata, RelPath, Timestamp, printable, printable_path};
use crate::xattrs::Xattrs;

/// The begin of the names of records.
const KIND: &str = "restore";

/// Which fields a record has; another version of voltar may know others.
pub(super) const VERSION: u32 = 1;

/// The begin of the names of staging directories.
pub(crate) const STAGING: &str = ".voltar-restore-";

/// The begin of the names of the trees that `--keep-previous` keeps.
pub(crate) const PREVIOUS: &str = ".voltar-previous-";

/// How far the replacement of one tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Members are being extracted, and the live tree has not been touched; or all is undone.
    Staged,
    /// The exchange is imminent or done: the identity of the live tree decides.
    Exchange,
    /// Old entries move out.
    Out,
    /// New entries move in, or back.
    In,
    /// Nothing is left to do.
    Settled,
}

/// One tree of a [`RestoreRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TreeRecord {
    /// The archive's name in the layout: for messages.
    pub(crate) archive: String,
    /// The live tree's path: for messages.
    pub(crate) path: String,
    pub(crate) way: Way,
    pub(crate) phase: Phase,
    /// The tree that is replaced.
    pub(crate) live: Identity,
    /// The name of the staging directory, beside the tree or in it.
    pub(crate) name: String,
    /// The staging directory; `None` before it was made.
    pub(crate) staging: Option<Identity>,
    /// The new tree; `None` before it was complete.
    pub(crate) tree: Option<Identity>,
    /// The name under which the old tree is kept.
    pub(crate) keep: Option<String>,
    /// Moving entries changes the root's time, so its metadata is restored afterwards.
    pub(crate) root_before: RootMetadata,
    pub(crate) root_after: RootMetadata,
    /// The entries that are replaced; none if the whole tree is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    /// The extended attributes of the root, if the archive has any and the root stays, since entries are moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_xattrs: Option<RootXattrs>,
}

/// The extended attributes of a tree's root: names and values in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootXattrs {
    before: BTreeMap<String, String>,
    after: BTreeMap<String, String>,
}

impl RootXattrs {
    /// The most bytes that are recorded, so that the record can be read again.
    const MOST: usize = 256 << 10;

    /// Records attributes; `None` if they are too many.
    pub(crate) fn new(before: &Xattrs, after: &Xattrs) -> Option<Self> {
        let digits = |xattrs: &Xattrs| xattrs.iter().map(|(name, value)| (to_hex(name), to_hex(value))).collect();
        let fits = before.bytes() + after.bytes() <= Self::MOST;
        fits.then(|| Self { before: digits(before), after: digits(after) })
    }

    /// The attributes that the root had. What is malformed is left out: only root can write a record.
    pub(crate) fn before(&self) -> Xattrs {
        of_hex(&self.before)
    }

    /// The attributes that the archive gives it.
    pub(crate) fn after(&self) -> Xattrs {
        of_hex(&self.after)
    }
}

fn of_hex(digits: &BTreeMap<String, String>) -> Xattrs {
    digits.iter().filter_map(|(name, value)| Some((from_hex(name)?, from_hex(value)?))).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(digit).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// The metadata of a tree's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootMetadata {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime_seconds: i64,
    mtime_nanoseconds: u32,
}

/// An entry of a live tree that is replaced by one of the staged tree, in one move each. If directories on the way to what
/// is restored do not exist, it is the outermost of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The path in the tree, as bytes: any name can be in it.
    path: Vec<u8>,
    /// The metadata of the directory that holds it, which keeps its time.
    parent: RootMetadata,
    /// Whether nothing was there.
    is_new: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    version: u32,
    /// The start of the machine in which the record was written.
    pub(super) boot: String,
    /// All trees are swapped: the restore is completed. Before that, it is undone.
    pub(crate) swapped: bool,
    pub(crate) trees: Vec<TreeRecord>,
}

/// The record of a run, locked by this process.
#[derive(Debug)]
pub(crate) struct RestoreRecord {
    file: LockedRecord,
    pub(crate) content: Content,
    /// What is on disk; `None` once that is not known.
    on_disk: Option<Content>,
}

impl RootMetadata {
    pub(crate) fn mtime(&self) -> Timestamp {
        Timestamp { seconds: self.mtime_seconds, nanoseconds: self.mtime_nanoseconds }
    }
}

impl From<Metadata> for RootMetadata {
    fn from(root: Metadata) -> Self {
        Self {
            uid: root.uid,
            gid: root.gid,
            mode: root.mode,
            mtime_seconds: root.mtime.seconds,
            mtime_nanoseconds: root.mtime.nanoseconds,
        }
    }
}

impl From<RootMetadata> for Metadata {
    fn from(root: RootMetadata) -> Self {
        Self { mode: root.mode, uid: root.uid, gid: root.gid, mtime: root.mtime(), xattrs: Xattrs::default() }
    }
}

impl Part {
    /// Returns the entry at `path`, which is not the root, in a directory with this metadata.
    pub(super) fn new(path: &RelPath, parent: Metadata, is_new: bool) -> Self {
        Self { path: path.as_bytes().to_vec(), parent: parent.into(), is_new }
    }

    /// Whether nothing was there.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn is_at(&self, path: &RelPath) -> bool {
        self.path == path.as_bytes()
    }

    /// The metadata of the directory that holds it.
    pub(super) fn parent(&self) -> Metadata {
        self.parent.into()
    }

    /// Where it is in the tree.
    pub(super) fn path(&self) -> Result<RelPath, Cause> {
        let path = RelPath::parse(&self.path)?;
        if path.is_root() { Err("a part is not the whole tree".into()) } else { Ok(path) }
    }

    fn check(&self) -> Result<(), Cause> {
        self.path().map(drop)
    }
}

impl TreeRecord {
    /// Begins the record of one tree.
    pub(crate) fn new(archive: &str, live: &Live, root: Metadata) -> Self {
        Self {
            archive: archive.to_owned(),
            path: printable_path(live.path()),
            way: live.way(),
            phase: Phase::Staged,
            live: live.identity(),
            name: staging_name(live.id()),
            staging: None,
            tree: None,
            keep: None,
            root_before: root.clone().into(),
            root_after: root.into(),
            parts: Vec::new(),
            root_xattrs: None,
        }
    }

    /// The same for some entries of the tree. They are moved, from and to a staging directory in the tree.
    pub(crate) fn of_parts(self, parts: Vec<Part>) -> Self {
        if parts.is_empty() { self } else { Self { way: Way::Entries, parts, ..self } }
    }

    /// Whether the live tree may have been touched.
    fn is_touched(&self) -> bool {
        !matches!(self.phase, Phase::Staged | Phase::Settled)
    }
}

/// No other user can foresee the name, and so occupy it.
fn staging_name(live: FileId) -> String {
    format!("{STAGING}{:x}-{:016x}", live.inode, RandomState::new().hash_one(live))
}

impl Content {
    pub(super) fn parse(text: &[u8]) -> std::result::Result<Self, Cause> {
        let content: Self = parse_version(text)?;
        for tree in &content.trees {
            check_name(&tree.name, STAGING)?;
            tree.keep.iter().try_for_each(|name| check_name(name, PREVIOUS))?;
            tree.parts.iter().try_for_each(Part::check)?;
        }
        Ok(content)
    }

    /// Returns whether `live` is the tree of this entry, old or new, or has taken its place.
    pub(crate) fn concerns(&self, tree: &TreeRecord, live: &Live) -> bool {
        let is_new = tree.way == Way::Exchange && tree.tree.is_some_and(|new| self.is(&new, &live.identity()));
        is_new || self.is(&tree.live, &live.identity()) || self.is_stranger(tree, live)
    }

    /// Returns whether `live` is in the place of a tree that an interrupted exchange has moved, and neither the old one
    /// nor the new one. The staging directory beside it says that this is the place.
    fn is_stranger(&self, tree: &TreeRecord, live: &Live) -> bool {
        let may_be_moved = tree.phase == Phase::Exchange && !self.swapped;
        let (Some(staging), Some((beside, _))) = (&tree.staging, live.holder()) else { return false };
        if !may_be_moved || tree.path != printable_path(live.path()) {
            return false;
        }
        let found = open_path(beside, &tree.name).ok().and_then(|found| Identity::of(found).ok());
        found.is_some_and(|found| self.is(staging, &found))
    }

    /// Returns whether `identity` is that of `recorded`.
    pub(crate) fn is(&self, recorded: &Identity, identity: &Identity) -> bool {
        recorded.is(identity, self.boot == boot_id())
    }

    /// Returns whether the trees of this restore are to be undone, and this one is not the old tree, or may not be: `live`
    /// decides where it is known.
    pub(crate) fn is_half(&self, tree: &TreeRecord, live: Option<&Live>) -> bool {
        let is_old = |live: &Live| tree.way == Way::Exchange && self.is(&tree.live, &live.identity());
        !self.swapped && tree.is_touched() && !live.is_some_and(is_old)
    }
}

pub(super) fn parse_version<'t, T: Deserialize<'t>>(text: &'t [u8]) -> std::result::Result<T, Cause> {
    let version = record::version(text)?;
    if version != VERSION {
        return Err(record::other_version(version, VERSION).into());
    }
    Ok(serde_json::from_slice(text)?)
}

/// A name is used in a directory that others can write: it must be one of voltar's own, and a bare name.
fn check_name(name: &str, prefix: &str) -> std::result::Result<(), Cause> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match name.strip_prefix(prefix) {
        Some(rest) if !rest.is_empty() && rest.len() < 100 && rest.bytes().all(is_plain) => Ok(()),
        _ => Err(format!("'{}' is not a name that voltar gives", printable(name.as_bytes())).into()),
    }
}

/// Parses a record of untrusted bytes: for fuzzing.
#[doc(hidden)]
pub fn parse_restore_record(text: &[u8]) -> std::result::Result<(), String> {
    Content::parse(text).map(|_| ()).map_err(|cause| cause.to_string())
}

impl RestoreRecord {
    /// Writes the record of a new run, unless another one is restoring into one of the trees or has left one half
    /// restored.
    ///
    /// # Errors
    /// Those of the system calls; a restore into one of the trees is in progress, or was interrupted.
    pub(crate) fn begin(state_dir: &Path, trees: Vec<TreeRecord>, lives: &[&Live]) -> Result<Self> {
        let failed =
            |cause: Cause| Error::failed_at("cannot record the restore in", state_dir, cause).hint(state_dir::HINT);
        let _lock = record::lock_directory(state_dir).map_err(|cause| failed(cause.into()))?;
        if let Some(other) = unfinished(state_dir, lives)?.first() {
            return Err(other.refusal());
        }
        let content = Content { version: VERSION, boot: boot_id(), swapped: false, trees };
        let text = serde_json::to_vec(&content).map_err(|cause| failed(cause.into()))?;
        let file = LockedRecord::create(state_dir, KIND, &text).map_err(|cause| failed(cause.into()))?;
        Ok(Self { file, on_disk: Some(content.clone()), content })
    }

    /// Locks the record of a run that has ended. `None` while that run is in progress, or when another process has removed
    /// the record first.
    pub(crate) fn take_over(path: &Path) -> Result<Option<Self>> {
        let taken = LockedRecord::take_over(path, FlockArg::LockExclusiveNonblock);
        let Some((file, text)) = taken.map_err(|cause| unread(path, cause.into()))? else { return Ok(None) };
        let content = Content::parse(&text).map_err(|cause| malformed(path, cause))?;
        Ok(Some(Self { file, on_disk: Some(content.clone()), content }))
    }

    /// Writes the content to disk, unless it is there already. After an error it may be there, or what was before:
    /// [`RestoreRecord::is_known`].
    pub(crate) fn save(&mut self) -> Result<()> {
        if self.is_saved() {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.content).map_err(std::io::Error::from);
        let saved = text.map_err(NotWritten::from).and_then(|text| self.file.replace(&text));
        match &saved {
            Ok(()) => self.on_disk = Some(self.content.clone()),
            Err(NotWritten::Unsynced(_)) => self.on_disk = None,
            Err(NotWritten::Unchanged(_)) => {}
        }
        saved.map_err(|error| {
            let error = Error::failed_at("cannot write", self.file.path(), error.cause());
            match error.errno() {
                Some(Errno::ENOSPC | Errno::EDQUOT) => error.hint("make room for it"),
                _ => error,
            }
        })
    }

    /// Whether the content is on disk.
    fn is_saved(&self) -> bool {
        self.on_disk.as_ref() == Some(&self.content)
    }

    /// Whether the record on disk says that no live tree has been touched.
    pub(crate) fn is_staged_on_disk(&self) -> bool {
        let is_staged = |content: &Content| !content.swapped && !content.trees.iter().any(TreeRecord::is_touched);
        self.on_disk.as_ref().is_some_and(is_staged)
    }

    /// Whether it is certain what is on disk.
    pub(crate) fn is_known(&self) -> bool {
        self.on_disk.is_some()
    }

    /// Where the record is: for messages.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Removes the record: there is nothing left to do.
    pub(crate) fn remove(self) -> Result<()> {
        self.file.remove()
    }
}

/// Returns the paths of the records of all restores that have not ended, oldest first.
pub(crate) fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    record::list(state_dir, KIND)
}

/// A live tree that another run is replacing, or has left half restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// A restore into the tree at this path is in progress.
    InProgress(PathBuf),
    /// A restore into the tree at this path was interrupted, and is to be undone: it is not the old tree.
    Interrupted(PathBuf),
}

impl Unfinished {
    /// Returns the refusal of whatever needs the tree.
    #[must_use]
    pub fn refusal(&self) -> Error {
        match self {
            Self::InProgress(path) => {
                Error::refused(format!("another restore into '{}' is in progress", path.display()))
                    .hint("wait until it has ended")
            }
            Self::Interrupted(path) => Error::refused(format!(
                "a restore into '{}' was interrupted before it was complete, and its content is not the old one",
                path.display()
            ))
            .hint("stop the containers that use it; then `voltar resume` undoes that restore"),
        }
    }
}

/// Returns those of `lives` that a restore in progress is replacing, or that an interrupted one left half restored. A
/// record that cannot be read says nothing about any tree; recovery reports it.
pub(crate) fn unfinished(state_dir: &Path, lives: &[&Live]) -> Result<Vec<Unfinished>> {
    let mut unfinished = Vec::new();
    for path in records(state_dir)? {
        let Ok(Some(found)) = record::read(&path) else { continue };
        let Ok(content) = Content::parse(&found.text) else { continue };
        for live in lives {
            let Some(tree) = content.trees.iter().find(|tree| content.concerns(tree, live)) else { continue };
            if found.in_progress && tree.phase != Phase::Settled {
                unfinished.push(Unfinished::InProgress(live.path().to_owned()));
            } else if content.is_half(tree, Some(live)) {
                unfinished.push(Unfinished::Interrupted(live.path().to_owned()));
            }
        }
    }
    Ok(unfinished)
}

fn unread(path: &Path, cause: Cause) -> Error {
    Error::failed_at("cannot read", path, cause)
        .hint(format!("fix the cause, then run `voltar resume`; if it is lost, {}", without_record()))
}

fn malformed(path: &Path, cause: Cause) -> Error {
    Error::failed_at("cannot understand", path, cause).hint(format!(
        "if another version of voltar wrote it, `voltar resume` of that version recovers from it; else {}",
        without_record()
    ))
}

/// What to do with a record that nothing can read: part of a hint.
fn without_record() -> String {
    format!(
        "look for directories '{STAGING}…' in the volumes and beside them, which hold what a restore has not put in place, \
         then remove this file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(directory: &Path) -> (Live, TreeRecord) {
        let live = Live::open(directory, &RelPath::root(), Way::Entries).unwrap();
        let record = TreeRecord::new("data", &live, Metadata::default());
        (live, record)
    }

    /// Makes a directory that would be exchanged.
    fn exchanged(holder: &Path, name: &str) -> (Live, TreeRecord) {
        std::fs::create_dir(holder.join(name)).unwrap();
        let live = Live::open(holder, &RelPath::parse(name.as_bytes()).unwrap(), Way::Exchange).unwrap();
        let record = TreeRecord::new("data", &live, Metadata::default());
        (live, record)
    }

    #[test]
    fn a_record_is_read_only_by_its_own_version() {
        let dir = tempfile::tempdir().unwrap();
        let (live, record) = tree(dir.path());
        let record = RestoreRecord::begin(&dir.path().join("state"), vec![record], &[&live]).unwrap();
        let text = std::fs::read_to_string(record.file.path()).unwrap();
        parse_restore_record(text.as_bytes()).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            parse_restore_record(text.replace(from, to).as_bytes()).unwrap_err()
        };
        assert_eq!(changed("\"version\":1", "\"version\":2"), "it has version 2, and this voltar knows version 1");
        changed("\"keep\"", "\"kept\"");
        for name in ["../../etc", ".voltar-restore-", ".voltar-restore-/etc", ".voltar-restore-..", "etc", ""] {
            let error = changed(&record.content.trees[0].name, name);
            assert!(error.ends_with("is not a name that voltar gives"), "{error}");
        }
        for keep in ["\"/etc\"", "\".voltar-previous-1/..\"", "\".voltar-restore-1\""] {
            changed("\"keep\":null", &format!("\"keep\":{keep}"));
        }
        for bad in ["", "{}", "[]", "{\"version\":1}"] {
            parse_restore_record(bad.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_record_names_nothing_outside_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (live, record) = tree(dir.path());
        let parsed = |change: &dyn Fn(&mut TreeRecord)| {
            let mut record = record.clone();
            change(&mut record);
            let content = Content { version: VERSION, boot: boot_id(), swapped: false, trees: vec![record] };
            parse_restore_record(&serde_json::to_vec(&content).unwrap())
        };
        let part = |path: &[u8]| Part { path: path.to_vec(), parent: record.root_before, is_new: false };
        parsed(&|record| record.parts = vec![part(b"a/\xff")]).unwrap();
        for path in [&b".."[..], b"a/../../b", b"", b".", b"a\0"] {
            parsed(&|record| record.parts = vec![part(b"a"), part(path)]).unwrap_err();
        }
        let named = |length: usize| parsed(&|record| record.name = format!("{STAGING}{}", "1".repeat(length)));
        named(99).unwrap();
        named(100).unwrap_err();
        assert!(staging_name(live.id()).len() < STAGING.len() + 100);
    }

    /// Whether the tree can be archived or used as it is, and so whether its containers may be started.
    #[test]
    fn a_tree_is_half_restored_from_its_first_change_until_all_are_swapped() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (exchanged(dir.path(), "old"), exchanged(dir.path(), "new").0);
        for (way, phase, swapped, half, half_with_old_live) in [
            (Way::Exchange, Phase::Staged, false, false, false),
            (Way::Exchange, Phase::Exchange, false, true, false),
            (Way::Exchange, Phase::Exchange, true, false, false),
            (Way::Exchange, Phase::Settled, false, false, false),
            (Way::Entries, Phase::Staged, false, false, false),
            (Way::Entries, Phase::Out, false, true, true),
            (Way::Entries, Phase::In, false, true, true),
            (Way::Entries, Phase::In, true, false, false),
            (Way::Entries, Phase::Settled, false, false, false),
        ] {
            let tree = TreeRecord { way, phase, ..old.1.clone() };
            let content = Content { version: VERSION, boot: boot_id(), swapped, trees: vec![tree] };
            let is_half = |live| content.is_half(&content.trees[0], live);
            let found = [is_half(None), is_half(Some(&new)), is_half(Some(&old.0))];
            assert_eq!(found, [half, half, half_with_old_live], "{way:?} {phase:?} {swapped}");
        }
    }

    #[test]
    fn a_record_concerns_its_trees_and_what_has_taken_the_place_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let (old, record) = exchanged(dir.path(), "tree");
        let (other, _) = exchanged(dir.path(), "other");
        let (staging, _) = exchanged(dir.path(), &record.name);
        std::fs::rename(dir.path().join("tree"), dir.path().join("moved")).unwrap();
        let (stranger, _) = exchanged(dir.path(), "tree");
        let concerned = |tree: TreeRecord, swapped| {
            let content = Content { version: VERSION, boot: boot_id(), swapped, trees: vec![tree] };
            [&old, &other, &stranger].map(|live| content.concerns(&content.trees[0], live))
        };
        let staged = TreeRecord { staging: Some(staging.identity()), ..record };
        let moving = TreeRecord { phase: Phase::Exchange, ..staged.clone() };
        assert_eq!(concerned(staged, false), [true, false, false]);
        assert_eq!(concerned(moving.clone(), false), [true, false, true]);
        assert_eq!(concerned(moving.clone(), true), [true, false, false], "all are swapped: whatever is there is new");
        // The staging directory is somebody else's, or was not made.
        for staging in [Some(other.identity()), None] {
            assert_eq!(concerned(TreeRecord { staging, ..moving.clone() }, false), [true, false, false]);
        }
        let is_new = TreeRecord { tree: Some(other.identity()), ..moving };
        assert_eq!(concerned(is_new.clone(), true), [true, true, false]);
        assert_eq!(concerned(TreeRecord { way: Way::Entries, ..is_new }, true), [true, false, false]);
    }

    /// The kernel numbers devices anew at each start.
    #[test]
    fn devices_are_compared_only_if_the_machine_has_not_been_started_since() {
        let dir = tempfile::tempdir().unwrap();
        let (live, record) = tree(dir.path());
        let on = |minor| {
            let mut identity = live.identity();
            identity.id.device = nix::sys::stat::makedev(8, minor);
            identity
        };
        let mut content = Content { version: VERSION, boot: boot_id(), swapped: false, trees: vec![record] };
        assert!(content.is(&on(1), &on(1)) && !content.is(&on(1), &on(2)));
        content.boot = "another".to_owned();
        assert!(content.is(&on(1), &on(2)));
    }

    #[test]
    fn what_the_record_on_disk_says_is_what_a_later_run_would_do() {
        let dir = tempfile::tempdir().unwrap();
        let (live, record) = tree(dir.path());
        let mut record = RestoreRecord::begin(&dir.path().join("state"), vec![record], &[&live]).unwrap();
        record.content.trees[0].phase = Phase::Out;
        assert!(record.is_staged_on_disk(), "the change is not saved");
        record.save().unwrap();
        assert!(!record.is_staged_on_disk());
        record.content.trees[0].phase = Phase::Staged;
        record.content.swapped = true;
        record.save().unwrap();
        assert!(!record.is_staged_on_disk());
    }

    #[test]
    fn one_restore_at_a_time_has_a_tree() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (live, record) = tree(dir.path());
        let mut first = RestoreRecord::begin(&state, vec![record.clone()], &[&live]).unwrap();
        let begin = || RestoreRecord::begin(&state, vec![record.clone()], &[&live]).map(drop);
        assert!(begin().unwrap_err().to_string().ends_with("is in progress"));
        let other = tempfile::tempdir().unwrap();
        let (beside, its_record) = tree(other.path());
        RestoreRecord::begin(&state, vec![its_record], &[&beside]).unwrap().remove().unwrap();

        first.content.trees[0].phase = Phase::Out;
        first.save().unwrap();
        drop(first);
        assert!(begin().unwrap_err().to_string().ends_with("its content is not the old one"));
        // What is no record does not hide the others.
        std::fs::write(state.join("restore-0.json"), "{").unwrap();
        assert_eq!(unfinished(&state, &[&live]).unwrap().len(), 1);
        assert!(unfinished(&state, &[&beside]).unwrap().is_empty());
    }
}
