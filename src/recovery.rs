//! Recovers volumes after a restore that was killed: all of its trees are completed, or all are undone.
//!
//! A tree that is not half restored is recovered at any time: only the staging directory goes. One that is half restored
//! is recovered only while no container uses it: until then its content must not change while processes have it open.

use std::path::Path;
use std::sync::Arc;

use crate::durable::record;
use crate::error::{Error, Result};
use crate::host::Inventory;
use crate::host::mounts::MountTree;
use crate::layout::Layout;
use crate::live_mounts::LiveMounts;
use crate::monitor::Monitor;
use crate::resolve::{Selection, survey};
use crate::volume::live::Live;
use crate::volume::restore_record::{self, Phase, RestoreRecord, Unfinished};
use crate::volume::swap::{Recovered, recover};

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
    recover_trees(targets.iter().map(|target| (&target.tree, target.is_unused())), mounts, monitor).map(drop)
}

/// Recovers `trees`, each with whether no container uses it now; returns whether a live tree may have been replaced.
/// Trees that are not found are skipped: the plan refuses them. A record that cannot be read is reported, and blocks
/// nothing else.
///
/// # Errors
/// A tree cannot be recovered.
pub(crate) fn recover_trees<'a>(
    trees: impl IntoIterator<Item = (&'a MountTree, bool)>,
    mounts: &LiveMounts,
    monitor: &dyn Monitor,
) -> Result<bool> {
    let state_dir = mounts.state_dir();
    record::remove_stale(state_dir).map_err(|cause| Error::failed_at("cannot tidy up", state_dir, cause))?;
    let records = restore_record::records(state_dir)?;
    if records.is_empty() {
        return Ok(false);
    }
    let mut lives = Vec::new();
    for (tree, is_unused) in trees {
        if let Ok(open) = mounts.open(tree) {
            lives.extend(open.live().map(|(_, live)| (Arc::clone(live), is_unused)));
        }
    }
    let mut replaced = false;
    for path in records {
        match RestoreRecord::take_over(&path) {
            Ok(Some(record)) => replaced |= recover_record(record, &lives, state_dir, monitor)?,
            Ok(None) => {}
            Err(error) => monitor.issue("", error.to_string()),
        }
    }
    Ok(replaced)
}

/// Recovers those trees of a record that are among `lives`.
fn recover_record(
    mut record: RestoreRecord,
    lives: &[(Arc<Live>, bool)],
    state_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<bool> {
    let mut replaced = false;
    for index in 0..record.content.trees.len() {
        let entry = record.content.trees[index].clone();
        if entry.phase == Phase::Settled {
            continue;
        }
        let safe = record.content.is_safe_in_use(&entry);
        let mut found = lives.iter().filter(|(live, _)| record.content.concerns(&entry, live));
        let Some((live, _)) = found.find(|(_, is_unused)| safe || *is_unused) else { continue };
        let state = match recover(&mut record, index, live, state_dir).map_err(|error| error.within(&entry.archive))? {
            Recovered::Old => "it holds the content from before that run",
            Recovered::New => "it holds the content which that run restored",
        };
        replaced |= !safe;
        record.save()?;
        monitor.note(&format!(
            "{}: recovered from a restore into '{}' that was interrupted; {state}",
            entry.archive, entry.path
        ));
    }
    if record.content.trees.iter().all(|tree| tree.phase == Phase::Settled) {
        record.remove()?;
    }
    Ok(replaced)
}

/// Checks that no tree on record is half restored. What else is left of interrupted restores is reported.
///
/// # Errors
/// A tree is half restored: no container may be started on it. Or the records cannot be read.
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
            if !record.content.is_safe_in_use(tree) {
                return Err(left);
            }
            monitor.issue(&tree.archive, left.to_string());
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
