//! Recovers volumes after a restore that was killed: all of its trees are completed, or all are undone.
//!
//! A tree that is not half restored is recovered at any time: only the staging directory goes. One that is half restored
//! is recovered only while no container uses it: until then its content must not change while processes have it open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::record;
use crate::error::{Error, Result};
use crate::host::Inventory;
use crate::host::mounts::MountTree;
use crate::layout::Layout;
use crate::live_mounts::LiveMounts;
use crate::monitor::Monitor;
use crate::resolve::{Selection, survey};
use crate::volume::OpenTree;
use crate::volume::live::Live;
use crate::volume::own_names;
use crate::volume::remove::RemovalTime;
use crate::volume::restore_record::{self, Phase, RestoreRecord, TreeRecord, Unfinished};
use crate::volume::swap::{Recovered, moved_aside, recover};
use crate::volume_locks;

/// Recovers the trees of all archives of a layout, as far as their containers allow: also of those that the run does not
/// select, since the trees of one restore belong together.
///
/// # Errors
/// As [`recover_trees`].
pub(crate) fn recover_layout(
    layout: &Layout,
    inventory: &Inventory,
    selection: &Selection,
    mounts: &LiveMounts,
    monitor: &dyn Monitor,
) -> Result<Recovery> {
    // With an obstacle its paths are not those of the volumes. The plan refuses it.
    if !inventory.obstacles.is_empty() {
        return Ok(Recovery::default());
    }
    remove_leftovers(mounts.state_dir(), monitor)?;
    let everything = Selection { only: Vec::new(), all: true, ..selection.clone() };
    // What is not found here has nothing to be recovered.
    let targets = survey(layout, inventory, &everything)?.targets;
    let trees = targets.iter().map(|target| (&target.tree, target.is_unused()));
    let recovery = recover_trees(trees, mounts, monitor)?;
    recovery.unreadable.iter().for_each(|(_, error)| monitor.issue("", error.with_hint()));
    Ok(recovery)
}

/// Removes what killed runs have left in the state directory that no tree needs, and reports what cannot be removed.
fn remove_leftovers(state_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    let texts = record::remove_leftovers(state_dir)?;
    let locks = volume_locks::remove_stale(state_dir)?;
    let kept = own_names::remove_records_of_gone(state_dir)?;
    for error in texts.into_iter().chain(locks).chain(kept) {
        monitor.issue("", error.with_hint());
    }
    Ok(())
}

/// What recovery has done. A tree that cannot be recovered blocks nothing else: a plan that needs it refuses it.
#[derive(Debug, Default)]
#[must_use = "failures are reported by its methods"]
pub(crate) struct Recovery {
    /// Whether a live tree may have been replaced.
    pub(crate) replaced: bool,
    /// The records that cannot be read, each with why.
    unreadable: Vec<(PathBuf, Error)>,
    /// What became of each tree that was found. Those that were recovered are reported.
    trees: Vec<(OnRecord, Result<()>)>,
}

/// A tree in a record.
#[derive(Debug, PartialEq, Eq)]
struct OnRecord {
    record: PathBuf,
    index: usize,
    archive: String,
}

impl Recovery {
    /// Reports the trees that could not be recovered.
    pub(crate) fn report_failures(&self, monitor: &dyn Monitor) {
        for (tree, result) in &self.trees {
            if let Err(error) = result {
                monitor.issue(&tree.archive, error.with_hint());
            }
        }
    }

    /// What became of a tree; `None` if it was not found.
    fn result_of(&self, record: &Path, index: usize) -> Option<&Result<()>> {
        let mut trees = self.trees.iter();
        trees.find(|(tree, _)| tree.record == record && tree.index == index).map(|(_, result)| result)
    }
}

/// Recovers `trees`, each with whether no container uses it now. Trees that are not found are skipped: the plan refuses
/// them.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn recover_trees<'a>(
    trees: impl IntoIterator<Item = (&'a MountTree, bool)>,
    mounts: &LiveMounts,
    monitor: &dyn Monitor,
) -> Result<Recovery> {
    let state_dir = mounts.state_dir();
    let records = restore_record::records(state_dir)?;
    let mut recovery = Recovery::default();
    if records.is_empty() {
        return Ok(recovery);
    }
    let mut lives = Vec::new();
    for (tree, is_unused) in trees {
        if let Ok(open) = mounts.open(tree) {
            lives.extend(open.live().map(|(_, live)| (Arc::clone(live), is_unused)));
        }
    }
    let time = RemovalTime::of(monitor);
    for path in records {
        match RestoreRecord::take_over(&path) {
            Ok(Some(record)) => recover_record(record, &lives, state_dir, &mut recovery, &time, monitor),
            Ok(None) => {}
            Err(error) => recovery.unreadable.push((path, error)),
        }
    }
    Ok(recovery)
}

/// Recovers those trees of a record that are among `lives`.
fn recover_record(
    mut record: RestoreRecord,
    lives: &[(Arc<Live>, bool)],
    state_dir: &Path,
    recovery: &mut Recovery,
    time: &RemovalTime<'_>,
    monitor: &dyn Monitor,
) {
    for index in 0..record.content.trees.len() {
        let entry = record.content.trees[index].clone();
        if entry.phase == Phase::Settled {
            continue;
        }
        let found = lives.iter().filter(|(live, _)| record.content.concerns(&entry, live));
        let mut found = found.map(|(live, is_unused)| (live, *is_unused, record.content.is_half(&entry, Some(live))));
        let Some((live, _, is_half)) = found.find(|(_, is_unused, is_half)| *is_unused || !is_half) else { continue };
        recovery.replaced |= is_half;
        let recovered = recover(&mut record, index, live, state_dir, time);
        let tree = OnRecord { record: record.path().to_owned(), index, archive: entry.archive.clone() };
        recovery.trees.push((tree, recovered.map(|recovered| report(&recovered, &entry, monitor))));
    }
    let is_settled = record.content.trees.iter().all(|tree| tree.phase == Phase::Settled);
    let saved = if is_settled { record.remove() } else { record.save() };
    if let Err(error) = saved {
        // The next run finds nothing to do for the trees that are recovered.
        let error = error.hint("fix the cause; the next run, or `voltar resume`, updates the record");
        monitor.issue("", error.with_hint());
    }
}

fn report(recovered: &Recovered, entry: &TreeRecord, monitor: &dyn Monitor) {
    let live = match recovered {
        Recovered::Old { .. } => "it holds the content from before that run",
        Recovered::New { .. } => "it holds the content which that run restored",
    };
    let TreeRecord { archive, path, .. } = entry;
    monitor.note(&format!("{archive}: recovered from a restore into '{path}' that was interrupted; {live}"));
    match recovered {
        Recovered::Old { strangers } => {
            for stranger in strangers {
                monitor.issue(archive, moved_aside(stranger, entry));
            }
        }
        Recovered::New { kept: Some(kept) } => {
            monitor.note(&format!("{archive}: the previous content is kept in '{}'", kept.display()));
        }
        Recovered::New { kept: None } => {}
    }
}

/// Checks that no tree on record is half restored after `recovery`. What else is left of interrupted restores is reported,
/// but of a tree that was recovered only its record, which was reported. Returns the records that cannot be read: one may
/// be of any tree.
///
/// # Errors
/// A tree is half restored: no container may be started on it. Or the records cannot be listed.
pub(crate) fn check_recovered(recovery: &Recovery, state_dir: &Path, monitor: &dyn Monitor) -> Result<Vec<PathBuf>> {
    let mut unreadable = Vec::new();
    for path in restore_record::records(state_dir)? {
        let record = match RestoreRecord::take_over(&path) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                if !recovery.unreadable.iter().any(|(reported, _)| *reported == path) {
                    monitor.issue("", error.with_hint());
                }
                unreadable.push(path);
                continue;
            }
        };
        for (index, tree) in record.content.trees.iter().enumerate() {
            let result = recovery.result_of(&path, index);
            if tree.phase == Phase::Settled || matches!(result, Some(Ok(()))) {
                continue;
            }
            let left = not_recovered(tree, result.and_then(|result| result.as_ref().err()), &path);
            if record.content.is_half(tree, None) {
                return Err(left.within(&tree.archive));
            }
            monitor.issue(&tree.archive, left.with_hint());
        }
    }
    Ok(unreadable)
}

/// The error of a tree that is not recovered: because of `failure`, or because it was not found or is in use.
fn not_recovered(tree: &TreeRecord, failure: Option<&Error>, record: &Path) -> Error {
    let what = format!("the restore into '{}' that was interrupted is not recovered", tree.path);
    match failure {
        Some(error) => {
            let hint = error.advice().unwrap_or("fix the cause, then run `voltar resume` again");
            Error::refused(format!("{what}: {error}")).hint(hint)
        }
        None => Error::refused(what).hint(format!(
            "stop the containers that use it and run `voltar resume` with its layout; if that directory is gone for good, \
             remove '{}'",
            record.display()
        )),
    }
}

/// Checks that no restore has replaced `tree` since it was opened as `open`, and that none is in progress.
///
/// # Errors
/// One has, or is; the mounts cannot be opened, or the records not be read.
pub(crate) fn check_untouched(tree: &MountTree, open: &OpenTree, mounts: &LiveMounts) -> Result<()> {
    mounts.check_in_place(tree, open)?;
    unfinished_in(open, mounts)?.first().map_or(Ok(()), |other| Err(other.refusal()))
}

/// Returns the mounts of `tree` that a restore in progress is replacing, or that an interrupted one left half restored.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn unfinished(tree: &MountTree, mounts: &LiveMounts) -> Result<Vec<Unfinished>> {
    // Why the mounts cannot be opened is found elsewhere.
    mounts.open(tree).map_or(Ok(Vec::new()), |open| unfinished_in(&open, mounts))
}

fn unfinished_in(open: &OpenTree, mounts: &LiveMounts) -> Result<Vec<Unfinished>> {
    let lives: Vec<&Live> = open.live().map(|(_, live)| &**live).collect();
    restore_record::unfinished(mounts.state_dir(), &lives)
}
