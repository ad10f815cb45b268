//! Recovers volumes after a restore that was killed: all of its trees are completed, or all are undone.
//!
//! A tree that is not half restored is recovered at any time: only the staging directory goes. One that is half restored
//! is recovered only while no container uses it: until then its content must not change while processes have it open.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::Inventory;
use crate::host::mounts::MountTree;
use crate::layout::Layout;
use crate::live_mounts::LiveMounts;
use crate::monitor::Monitor;
use crate::resolve::{Selection, survey};
use crate::volume::live::Live;
use crate::volume::restore_record::{self, Phase, RestoreRecord, TreeRecord, Unfinished};
use crate::volume::swap::{Recovered, moved_aside, recover};

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
) -> Result<()> {
    // With an obstacle its paths are not those of the volumes. The plan refuses it.
    if !inventory.obstacles.is_empty() {
        return Ok(());
    }
    let everything = Selection { only: Vec::new(), all: true, ..selection.clone() };
    // What is not found here has nothing to be recovered.
    let targets = survey(layout, inventory, &everything)?.targets;
    let trees = targets.iter().map(|target| (&target.tree, target.is_unused()));
    let recovery = recover_trees(trees, mounts, monitor)?;
    recovery.unreadable.iter().for_each(|error| monitor.issue("", error.with_hint()));
    Ok(())
}

/// What recovery has done.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Whether a live tree may have been replaced.
    pub(crate) replaced: bool,
    /// Of each record that cannot be read, why.
    pub(crate) unreadable: Vec<Error>,
}

/// Recovers `trees`, each with whether no container uses it now. Trees that are not found are skipped: the plan refuses
/// them. A tree that cannot be recovered is reported, and blocks nothing else: a plan that needs it refuses it.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn recover_trees<'a>(
    trees: impl IntoIterator<Item = (&'a MountTree, bool)>,
    mounts: &LiveMounts,
    monitor: &dyn Monitor,
) -> Result<Recovery> {
    let state_dir = mounts.state_dir();
    restore_record::remove_leftovers(state_dir);
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
    for path in records {
        match RestoreRecord::take_over(&path) {
            Ok(Some(record)) => recovery.replaced |= recover_record(record, &lives, state_dir, monitor),
            Ok(None) => {}
            Err(error) => recovery.unreadable.push(error),
        }
    }
    Ok(recovery)
}

/// Recovers those trees of a record that are among `lives`; returns whether one of these may have been replaced.
fn recover_record(
    mut record: RestoreRecord,
    lives: &[(Arc<Live>, bool)],
    state_dir: &Path,
    monitor: &dyn Monitor,
) -> bool {
    let mut replaced = false;
    for index in 0..record.content.trees.len() {
        let entry = record.content.trees[index].clone();
        if entry.phase == Phase::Settled {
            continue;
        }
        let found = lives.iter().filter(|(live, _)| record.content.concerns(&entry, live));
        let mut found = found.map(|(live, is_unused)| (live, *is_unused, record.content.is_half(&entry, Some(live))));
        let Some((live, _, is_half)) = found.find(|(_, is_unused, is_half)| *is_unused || !is_half) else { continue };
        replaced |= is_half;
        match recover(&mut record, index, live, state_dir) {
            Ok(recovered) => report(&recovered, &entry, monitor),
            Err(error) => monitor.issue(&entry.archive, error.with_hint()),
        }
    }
    let is_settled = record.content.trees.iter().all(|tree| tree.phase == Phase::Settled);
    let saved = if is_settled { record.remove() } else { record.save() };
    if let Err(error) = saved {
        monitor.issue("", error.with_hint());
    }
    replaced
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

/// Checks that no tree on record is half restored. What else is left of interrupted restores is reported.
///
/// # Errors
/// A tree is half restored: no container may be started on it. Or the records cannot be listed.
pub(crate) fn check_recovered(state_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    for path in restore_record::records(state_dir)? {
        let Ok(Some(record)) = RestoreRecord::take_over(&path) else { continue };
        for tree in record.content.trees.iter().filter(|tree| tree.phase != Phase::Settled) {
            let left = Error::refused(format!(
                "{}: the restore into '{}' that was interrupted is not recovered",
                tree.archive, tree.path
            ))
            .hint(format!(
                "stop the containers that use it and run `voltar resume` with its layout; if that directory is gone for \
                 good, remove '{}'",
                path.display()
            ));
            if record.content.is_half(tree, None) {
                return Err(left);
            }
            monitor.issue(&tree.archive, left.with_hint());
        }
    }
    Ok(())
}

/// Returns the mounts of `tree` that a restore in progress is replacing, or that an interrupted one left half restored.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn unfinished(tree: &MountTree, mounts: &LiveMounts) -> Result<Vec<Unfinished>> {
    let Ok(open) = mounts.open(tree) else { return Ok(Vec::new()) };
    let lives: Vec<&Live> = open.live().map(|(_, live)| &**live).collect();
    restore_record::unfinished(mounts.state_dir(), &lives)
}
