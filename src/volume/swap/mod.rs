//! Replaces live trees by staged ones: all trees of a restore, or none, after any interruption.
//!
//! There are two ways to replace a tree:
//!
//! * [`Way::Exchange`]: the staging directory lies beside the live tree, and `renameat2(RENAME_EXCHANGE)` swaps the two in
//!   one step. The record has the identities of both, so recovery knows which of the two is live.
//! * [`Way::Entries`]: the live directory is a mountpoint and cannot be renamed, or the directory that holds it is not
//!   Docker's. The staging directory lies in it, and its top-level entries move: first the old ones *out*, then the new
//!   ones *in*. Names never clash: in each step all entries on one side belong to the same tree.
//!
//! Before a tree is touched the record of the run ([`RestoreRecord`]) says so; when all are swapped, it says that too. A
//! run that was interrupted before that is undone, a later one is completed. Only [`Swapped::finish`] removes a replaced
//! tree, and a staging directory goes only after the record on disk says that no tree needs it.
//!
//! The states of a restore, and what has failed where it ends:
//!
//! | state | live | after a kill | after an error |
//! |---|---|---|---|
//! | [`Restoration`], staged | old | undone | the staged trees are removed: [`SwapError::Undone`] |
//! | [`Restoration`], being swapped | both | undone | undone, or else everything stays: [`SwapError::NotWhole`] |
//! | [`Swapped`] | new | completed | new is live; what is left of old is named ([`Finished`]), and stays on record |
//!
//! That all trees are swapped is written at once with the last sync. If it is not certain whether this is on disk, nothing
//! more is moved: a recovery that undoes and one that completes would both be right.

mod one_tree;
#[cfg(test)]
mod part_tests;
mod strangers;
#[cfg(test)]
mod tests;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use super::live::{Live, LiveKind, Way};
use super::metadata;
use super::own_names::OwnNames;
use super::part::{check_new, parts};
use super::remove::RemovalTime;
use super::restore_record::{Phase, RestoreRecord, TreeRecord};
use super::staging::{Staging, restore_root_time};
use crate::error::{Cause, Error, Result};
use crate::identity::Identity;
use crate::member::{RelPath, printable};
use crate::monitor::Monitor;
pub(crate) use one_tree::Old;
use one_tree::{NotUndone, exchange_checked, finish, free_name, move_entries, undo, whereabouts};
pub(crate) use strangers::Stranger;

/// The staged trees of one restore. Dropping it removes them, as long as no live tree has been touched.
#[derive(Debug)]
pub struct Restoration {
    state_dir: PathBuf,
    /// `None` for a restore that replaces no tree, and once it is not this value's to remove what is staged.
    record: Option<RestoreRecord>,
    /// One for each tree of the record.
    stagings: Vec<Staging>,
    own: OwnNames,
}

/// The trees of one restore, all of them live, with those that they replaced still there.
#[derive(Debug)]
pub struct Swapped {
    state_dir: PathBuf,
    record: Option<RestoreRecord>,
    stagings: Vec<Staging>,
}

/// A tree that was replaced, and what became of the old one.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The archive's name in the layout.
    pub(crate) archive: String,
    pub(crate) old: Old,
    /// What has failed. The new tree is live and complete nevertheless, and the rest stays on record.
    pub(crate) error: Option<Error>,
}

/// How a swap failed.
#[derive(Debug)]
pub enum SwapError {
    /// All live trees are as they were.
    Undone(Error),
    /// Some live trees are neither old nor new. The error names them; their parts and the record stay, so that
    /// `voltar resume` can undo the restore.
    NotWhole(Error),
}

impl From<Error> for SwapError {
    /// An error before anything was swapped.
    fn from(error: Error) -> Self {
        Self::Undone(error)
    }
}

/// Which tree is live after the recovery of an interrupted restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The one from before that restore.
    Old {
        /// What was in the way, and has another name now.
        strangers: Vec<Stranger>,
    },
    /// The restored one.
    New {
        /// Where the one from before is kept.
        kept: Option<PathBuf>,
    },
}

impl Restoration {
    /// Writes the record of a restore that replaces `trees`, each with the name of its archive, and makes their staging
    /// directories.
    ///
    /// # Errors
    /// Those of the system calls; another restore into one of the trees is in progress, or was interrupted.
    pub fn begin(state_dir: &Path, trees: &[(String, Arc<Live>)]) -> Result<Self> {
        Self::begin_parts(state_dir, trees, &[])
    }

    /// The same, but of each tree only these paths are replaced: all of it, if it has none here.
    ///
    /// # Errors
    /// As [`Restoration::begin`]; or a path leads through a symbolic link or a file.
    pub fn begin_parts(state_dir: &Path, trees: &[(String, Arc<Live>)], paths: &[Vec<RelPath>]) -> Result<Self> {
        let mut records = Vec::new();
        for (i, (archive, live)) in trees.iter().enumerate() {
            if (live.kind(), live.way()) == (LiveKind::File, Way::Entries) {
                return Err(Error::failed_at("cannot replace", live.path(), Errno::EBUSY)
                    .hint("it is a mountpoint of this host: unmount it, or restore what it is a mount of"));
            }
            let root = metadata::of_open(live.handle())
                .map_err(|errno| Error::failed_at("cannot examine", live.path(), errno).within(archive))?;
            let parts = paths.get(i).map_or(Ok(Vec::new()), |paths| parts(live, paths));
            let parts = parts.map_err(|error| error.within(archive))?;
            records.push(TreeRecord::new(archive, live, root).of_parts(parts));
        }
        let lives: Vec<&Live> = trees.iter().map(|(_, live)| &**live).collect();
        // Before the record is written: from then on only what is made of it here removes it.
        let own = OwnNames::on_record(state_dir)?;
        let record = if records.is_empty() { None } else { Some(RestoreRecord::begin(state_dir, records, &lives)?) };
        let mut this = Self { state_dir: state_dir.to_owned(), record, stagings: Vec::new(), own };
        this.make_stagings(trees)?;
        Ok(this)
    }

    fn make_stagings(&mut self, trees: &[(String, Arc<Live>)]) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        for (entry, (archive, live)) in record.content.trees.iter_mut().zip(trees) {
            let staging = Staging::create(Arc::clone(live), entry).map_err(|error| error.within(archive))?;
            // An error from here on removes it.
            self.stagings.push(staging);
        }
        for (entry, staging) in record.content.trees.iter_mut().zip(&self.stagings) {
            let identity = staging.settle_root(entry).and_then(|()| staging.identity());
            entry.staging = Some(identity.map_err(|error| error.within(&entry.archive))?);
        }
        record.save()?;
        for (i, (archive, live)) in trees.iter().enumerate() {
            self.check_exchange(i, live).map_err(|error| error.within(archive))?;
        }
        Ok(())
    }

    /// Moves the staging directory into the live tree where the two trees cannot be exchanged.
    fn check_exchange(&mut self, index: usize, live: &Arc<Live>) -> Result<()> {
        let (Some(record), Some(staging)) = (&mut self.record, self.stagings.get_mut(index)) else { return Ok(()) };
        if staging.way() == Way::Entries || staging.can_exchange()? {
            return Ok(());
        }
        if live.kind() == LiveKind::File {
            return Err(staging.failed("cannot replace", "its filesystem cannot exchange two files in one step"));
        }
        let entry = &mut record.content.trees[index];
        staging.discard(&RemovalTime::unlimited())?;
        (entry.way, entry.staging) = (Way::Entries, None);
        record.save()?;
        *staging = Staging::create(Arc::clone(live), &record.content.trees[index])?;
        staging.settle_root(&record.content.trees[index])?;
        record.content.trees[index].staging = Some(staging.identity()?);
        record.save()
    }

    /// Returns the restoration of no tree: members are extracted into a new directory.
    pub(crate) fn of_nothing() -> Self {
        Self { state_dir: PathBuf::new(), record: None, stagings: Vec::new(), own: OwnNames::default() }
    }

    /// Returns the staging directory of a live tree, if it has one.
    pub fn staging(&self, live: &Arc<Live>) -> Option<&Staging> {
        self.stagings.iter().find(|staging| Arc::ptr_eq(staging.live(), live))
    }

    /// Returns the directories of voltar's own in volumes.
    pub(crate) fn own_names(&self) -> &OwnNames {
        &self.own
    }

    /// Makes all staged trees live, or none of them.
    ///
    /// # Errors
    /// As [`SwapError`] says.
    pub fn swap(mut self, keep_previous: bool, monitor: &dyn Monitor) -> Result<Swapped, SwapError> {
        match self.prepare(keep_previous, monitor).and_then(|()| monitor.check_cancelled()) {
            Ok(()) => self.swap_prepared(&RemovalTime::of(monitor)),
            Err(error) => Err(self.abandon(error, monitor)),
        }
    }

    /// Removes the staged trees after `error`. The live ones have not been touched.
    pub(crate) fn abandon(mut self, error: Error, monitor: &dyn Monitor) -> SwapError {
        self.undone(error, &RemovalTime::of(monitor))
    }

    fn swap_prepared(mut self, time: &RemovalTime<'_>) -> Result<Swapped, SwapError> {
        match self.swap_all() {
            Ok(()) => Ok(Swapped {
                state_dir: std::mem::take(&mut self.state_dir),
                record: self.record.take(),
                stagings: std::mem::take(&mut self.stagings),
            }),
            Err(error) => Err(self.undone_after(error, time)),
        }
    }

    /// Makes all old trees live again after `error`.
    fn undone_after(mut self, error: Error, time: &RemovalTime<'_>) -> SwapError {
        let Undoing { strangers, unsynced, not_old } = self.undo_all();
        let mut others: Vec<Error> = strangers;
        if !not_old.is_empty() {
            others.extend(not_old);
            // Neither the staged trees nor the record on disk may go: they are the way back.
            self.record = None;
            return SwapError::NotWhole(error.and(others));
        }
        if !unsynced.is_empty() {
            others.extend(unsynced);
            self.record = None;
            return SwapError::Undone(error.and(others));
        }
        self.undone(error.and(others), time)
    }

    fn undone(&mut self, error: Error, time: &RemovalTime<'_>) -> SwapError {
        SwapError::Undone(error.and(self.release(time).err().into_iter().collect()))
    }

    /// Removes the staging directories, then the record, which says first that nothing needs them: half removed they are no
    /// way back.
    fn release(&mut self, time: &RemovalTime<'_>) -> Result<()> {
        let Some(mut record) = self.record.take() else { return Ok(()) };
        let stays =
            |error: Error| error.hint("what was staged stays on record: the next run, or `voltar resume`, removes it");
        if !record.is_staged_on_disk() {
            record.content.trees.iter_mut().for_each(|entry| entry.phase = Phase::Staged);
            record.content.swapped = false;
            record.save().map_err(stays)?;
        }
        for (staging, entry) in self.stagings.iter().zip(&record.content.trees) {
            staging.settle_root(entry).and_then(|()| staging.discard(time)).map_err(stays)?;
        }
        record.remove().map_err(stays)
    }

    /// Everything below a staged tree must be on disk before it is live, and the record must say which trees are about to
    /// be swapped.
    fn prepare(&mut self, keep_previous: bool, monitor: &dyn Monitor) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let mut names = Vec::new();
        for (entry, staging) in record.content.trees.iter_mut().zip(&self.stagings) {
            let Some(tree) = staging.tree() else { continue };
            staging.sync_filesystem(monitor)?;
            let examine = |cause: Cause| staging.failed("cannot examine the new tree of", cause);
            entry.tree = Some(Identity::of(tree).map_err(|cause| examine(cause.into()))?);
            entry.root_after = metadata::of_open(tree).map_err(|errno| examine(errno.into()))?.into();
            entry.root_xattrs = staging.root_xattrs()?;
            if !entry.parts.is_empty() {
                check_new(staging.live(), &entry.parts).map_err(|error| error.within(&entry.archive))?;
                entry.root_after = entry.root_before;
                entry.root_xattrs = None;
            }
            entry.keep = if keep_previous { Some(free_name(staging, &mut names)?) } else { None };
            entry.phase = match staging.way() {
                Way::Exchange => Phase::Exchange,
                Way::Entries => {
                    staging.make_old()?;
                    Phase::Out
                }
            };
        }
        record.save()
    }

    fn swap_all(&mut self) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        for (i, staging) in self.stagings.iter().enumerate().filter(|(_, staging)| staging.tree().is_some()) {
            let swapped = match staging.way() {
                Way::Exchange => exchange_checked(staging, record.content.trees[i].live),
                Way::Entries => move_entries(staging, record, i, &self.own),
            };
            swapped.map_err(|error| error.within(&record.content.trees[i].archive))?;
        }
        record.content.swapped = true;
        record.save()
    }

    /// Makes all old trees live again.
    fn undo_all(&mut self) -> Undoing {
        let mut undoing = Undoing::default();
        let Some(record) = &mut self.record else { return undoing };
        record.content.swapped = false;
        if !record.is_known() && record.save().is_err() {
            // All trees are swapped, and the record may say so.
            let path = record.path().display().to_string();
            for (i, staging) in self.stagings.iter().enumerate() {
                let why = format!("'{path}' cannot be written; {}", whereabouts(staging, record, i));
                let entry = &record.content.trees[i];
                undoing.not_old.push(not_whole("cannot undo the restore into", why, entry).within(&entry.archive));
            }
            return undoing;
        }
        for (i, staging) in self.stagings.iter().enumerate().rev() {
            let undone = undo(staging, record, i, &self.own);
            let entry = &record.content.trees[i];
            match undone {
                Ok(strangers) => {
                    undoing.strangers.extend(
                        strangers.iter().map(|one| Error::refused(moved_aside(one, entry)).within(&entry.archive)),
                    );
                }
                Err(NotUndone::Unsynced(error)) => undoing.unsynced.push(
                    Error::failed(
                        "the old tree is live again, but that is not synced, in",
                        &entry.path,
                        error.to_string(),
                    )
                    .within(&entry.archive)
                    .hint("fix the cause, then run `voltar resume`, which removes the new tree"),
                ),
                Err(NotUndone::NotOld(error)) => {
                    let why = format!("{error}; {}", whereabouts(staging, record, i));
                    let error = not_whole("cannot make the old tree live again in", why, entry);
                    undoing.not_old.push(error.within(&entry.archive));
                }
            }
        }
        if !undoing.not_old.is_empty() {
            let undone = record.content.trees.iter().filter(|entry| entry.phase == Phase::Staged);
            let says =
                |entry: &TreeRecord| Error::refused(format!("'{}' is the old tree", entry.path)).within(&entry.archive);
            undoing.not_old.extend(undone.map(says));
        }
        undoing
    }
}

/// What undoing a restore has come to.
#[derive(Default)]
struct Undoing {
    /// What was in the way, and has another name now.
    strangers: Vec<Error>,
    /// Trees that are old again, but may not be so after a power cut.
    unsynced: Vec<Error>,
    /// Trees that are not.
    not_old: Vec<Error>,
}

impl Drop for Restoration {
    fn drop(&mut self) {
        // After a panic in the middle of a swap, what is staged can be the old tree: the next run undoes that swap.
        let is_staged = |record: &RestoreRecord| record.content.trees.iter().all(|tree| tree.phase == Phase::Staged);
        if self.record.as_ref().is_some_and(is_staged) {
            // What fails here stays on record, and the next run removes it.
            self.release(&RemovalTime::unlimited()).unwrap_or_default();
        }
    }
}

impl Swapped {
    /// Removes the replaced trees, or keeps them. The new ones are live and complete, whatever fails here, and also if the
    /// run is cancelled before all is removed.
    ///
    /// # Errors
    /// Nothing is left but the record, which could not be removed.
    pub(crate) fn finish(self, time: &RemovalTime<'_>) -> (Vec<Finished>, Result<()>) {
        let Self { state_dir, record, stagings } = self;
        let Some(record) = record else { return (Vec::new(), Ok(())) };
        let mut finished = Vec::new();
        for (staging, entry) in stagings.iter().zip(&record.content.trees) {
            let (old, done) = finish(staging, entry, &state_dir, time);
            if staging.tree().is_some() || done.is_err() {
                finished.push(Finished { archive: entry.archive.clone(), old, error: done.err() });
            }
        }
        let is_done = finished.iter().all(|tree| tree.error.is_none());
        (finished, if is_done { record.remove() } else { Ok(()) })
    }
}

/// Recovers one tree of an interrupted restore: completes it if all trees of that restore were swapped, else undoes it.
/// The caller has checked that nothing uses the tree if [`Content::is_half`](super::restore_record::Content::is_half).
///
/// # Errors
/// Those of the system calls, the staging directory is not there, or the run is cancelled before all that is not needed is
/// removed: the tree's entry stays on record.
pub(crate) fn recover(
    record: &mut RestoreRecord,
    index: usize,
    live: &Arc<Live>,
    state_dir: &Path,
    time: &RemovalTime<'_>,
) -> Result<Recovered> {
    let entry = record.content.trees[index].clone();
    let own = OwnNames::on_record(state_dir)?;
    let content = record.content.clone();
    let staging = Staging::of_record(live, &entry, |recorded, found| content.is(recorded, found))?;
    let is_new = entry.way == Way::Exchange && entry.tree.is_some_and(|tree| content.is(&tree, &live.identity()));
    let is_gone = staging.is_none();
    let old = || Recovered::Old { strangers: Vec::new() };
    let recovered = match (staging, content.swapped) {
        // It was removed, which is the last step but one.
        (None, _) if entry.phase == Phase::Staged => old(),
        (None, _) if entry.way == Way::Exchange && !is_new => old(),
        (None, true) => Recovered::New { kept: None },
        (None, false) => return Err(lost(&entry)),
        // It received no member, or the old tree is live.
        (Some(staging), true) if entry.phase == Phase::Staged || (entry.way == Way::Exchange && !is_new) => {
            staging.discard(time)?;
            old()
        }
        (Some(staging), true) => {
            let (old, done) = finish(&staging, &entry, state_dir, time);
            done?;
            let kept = if let Old::Kept(path) = old { Some(path) } else { None };
            Recovered::New { kept }
        }
        (Some(staging), false) => {
            let strangers = undo(&staging, record, index, &own).map_err(|failed| match failed {
                NotUndone::Unsynced(error) => error,
                NotUndone::NotOld(error) => {
                    let why = format!("{error}; {}", whereabouts(&staging, record, index));
                    not_whole("cannot make the old tree live again in", why, &entry)
                }
            })?;
            // Half removed, the staging directory would be no way back.
            record.save()?;
            staging.discard(time)?;
            Recovered::Old { strangers }
        }
    };
    if entry.way == Way::Entries && is_gone {
        // The staging directory was removed from the live one, and the run was killed before it had set the time back.
        let is_new = matches!(recovered, Recovered::New { .. });
        let root = if is_new { entry.root_after } else { entry.root_before };
        restore_root_time(live, root.mtime())?;
    }
    record.content.trees[index].phase = Phase::Settled;
    Ok(recovered)
}

/// Says that an entry was in the way of one of the old tree.
pub(crate) fn moved_aside(stranger: &Stranger, entry: &TreeRecord) -> String {
    let [was, is] = [&stranger.was, &stranger.is].map(|name| printable(name.as_bytes()));
    format!("'{was}' was in the way of the old tree of '{}', and is now '{is}' in the same directory", entry.path)
}

fn not_whole(operation: &str, why: String, entry: &TreeRecord) -> Error {
    Error::failed(operation, &entry.path, why)
        .hint("keep the containers that use it stopped, fix the cause, then run `voltar resume`, which continues")
}

fn lost(entry: &TreeRecord) -> Error {
    Error::failed(
        "cannot undo the restore into",
        &entry.path,
        format!("its staging directory '{}' is not there", entry.name),
    )
    .hint("look for that directory: it holds the missing part of the tree")
}
