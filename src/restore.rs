//! The story of a restore: recover, plan, check, create volumes, stop, extract, check again, swap, start.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::extractor::{Concerned, Extracted, Input, Mode, check, concerned, extract};
use crate::filesystem::Access;
use crate::host::containers::Stopped;
use crate::host::{Container, Host, Inventory};
use crate::live_mounts::LiveMounts;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Phase, Stage};
use crate::new_volumes::NewVolumes;
use crate::ordered::Pool;
use crate::plan::facts::ThisHost;
use crate::plan::restore::{RestorePlan, RestoreRequest, plan as make_plan};
use crate::plan::{check_real, used_since, users_now};
use crate::recovery::{recover_layout, recover_trees};
use crate::together;
use crate::volume::live::{Live, LiveKind};
use crate::volume::swap::{Restoration, SwapError};
use crate::volume::{OpenTree, owners};

/// Plans a restore and carries it out.
///
/// # Errors
/// After any error the volumes are as they were, and the containers that were stopped have been started again, with two
/// exceptions that the error reports: [`Mode::Merge`] and [`Mode::InPlace`] can fail halfway; and where a disk fails so
/// that a swap can neither be completed nor undone, containers stay stopped until `voltar resume` has undone it. A
/// container that does not start after a complete restore is an issue.
pub fn restore(
    request: &RestoreRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<()> {
    run(request, host, state_dir, pool, monitor).map_err(|error| error.leaving("nothing was changed"))
}

fn run(request: &RestoreRequest, host: &dyn Host, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let inventory = request.inventory(host)?;
    // What is in use is recovered later, when its containers are stopped.
    let mounts = LiveMounts::new(state_dir, Access::ReadWrite);
    recover_layout(&request.layout, &inventory, &request.selection, &mounts, monitor)?;
    let facts = ThisHost::new(&mounts, pool, monitor);
    let mut plan = make_plan(request, host.describe(), &inventory, &facts)?;
    plan.check()?;
    let new_volumes = NewVolumes::create(plan.created.iter().map(|one| &one.volume), host, state_dir, monitor)?;
    if !plan.created.is_empty() {
        plan = make_plan(request, host.describe(), &request.inventory(host)?, &facts)?;
        plan.check()?;
        if let Some(still) = plan.created.first() {
            return Err(Error::refused(format!("volume '{}' was removed meanwhile", still.volume.name)));
        }
    }
    plan.notes.iter().for_each(|note| monitor.note(note));
    for location in &plan.foreign {
        let (layout, name) = (&request.layout.name, location.name());
        monitor.issue("", format!("not restored: '{location}': the layout '{layout}' has no archive '{name}'"));
    }
    if plan.mode != Mode::Replace {
        // These modes cannot be rolled back, so the archives are read to their end first.
        monitor.phase(Phase::Checking);
        let archives: Vec<_> = plan.inputs().zip(plan.targets()).collect();
        together::all(&archives, monitor, |(input, target), monitor| {
            check(input, &target.tree.ids, plan.mode, pool, monitor)
        })?;
    }
    if !plan.to_stop.is_empty() {
        monitor.phase(Phase::Stopping);
    }
    let stopped = Stopped::stop(host, state_dir, &plan.to_stop.iter().collect::<Vec<_>>(), monitor)?;
    let restored = restore_stopped(&plan, request, &mounts, host, pool, monitor);
    mounts.release();
    match restored {
        Ok(extracted) => {
            new_volumes.keep();
            for Extracted { summary, location } in &extracted {
                monitor.event(&Event::Finished { stage: Stage::Restoring, summary, at: location.path() });
            }
            if stopped.count() > 0 {
                monitor.phase(Phase::Starting);
            }
            stopped.start_again_after("the volumes are restored");
            Ok(())
        }
        Err(SwapError::Undone(error)) => Err(error),
        Err(SwapError::NotWhole(error)) => {
            stopped.leave_stopped();
            Err(error)
        }
    }
}

/// Extracts the archives after containers have stopped, and swaps all trees.
fn restore_stopped(
    plan: &RestorePlan,
    request: &RestoreRequest,
    mounts: &LiveMounts,
    host: &dyn Host,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Extracted>, SwapError> {
    let now = request.inventory(host)?;
    // From now on: what ran until here did so before anything was written.
    let users = users_now(plan.targets(), &now);
    check_idle(plan, &users, &now)?;
    let trees = open(plan, &now, mounts, pool, monitor)?;
    if plan.mode != Mode::Replace {
        check_owners(plan, &trees)?;
    }
    let (replaced, paths) = replaced(plan, &trees);
    let restoration = Restoration::begin_parts(mounts.state_dir(), &replaced, &paths)?;
    let jobs: Vec<(&Input, &OpenTree)> = plan.inputs().zip(&trees).collect();
    monitor.phase(Phase::Restoring);
    let extracted = together::all(&jobs, monitor, |(input, tree), monitor| {
        extract(input, tree, &restoration, plan.mode, pool, monitor)
    });
    let extracted = extracted.map_err(|error| mixed(error, plan.mode))?;
    let now = request.inventory(host)?;
    check_idle(plan, &users, &now)
        .and_then(|()| check_in_place(plan, &trees, mounts))
        .map_err(|error| mixed(error, plan.mode))?;
    monitor.check_cancelled()?;
    monitor.phase(Phase::Swapping);
    swap(restoration, plan.keep_previous, monitor)?;
    Ok(extracted)
}

/// `restart: always` and a restarted engine can start a container at any moment.
fn check_idle(plan: &RestorePlan, users: &[Container], now: &Inventory) -> Result<()> {
    let used = used_since(users, plan.targets(), now);
    let started: Vec<&str> = used.iter().map(|container| container.name.as_str()).collect();
    if started.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("containers that use these volumes were started meanwhile: {}", started.join(", ")))
        .hint("stop them, and what starts them, then restore again"))
}

/// Opens the trees after the containers have stopped: they must be those that the plan has found.
fn open(
    plan: &RestorePlan,
    now: &Inventory,
    mounts: &LiveMounts,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<OpenTree>> {
    check_real(plan.targets(), now, &ThisHost::new(mounts, pool, monitor))?;
    let recovered = recover_trees(plan.targets().map(|target| (&target.tree, true)), mounts, monitor)?;
    let open = plan.archives.iter().map(|planned| {
        let tree = &planned.target.tree;
        // Undoing an exchange has replaced the tree that the plan has found.
        if recovered { mounts.open(tree) } else { mounts.reopen(tree, &planned.mounts) }
    });
    open.collect()
}

/// A live tree with the name of its archive.
type NamedTree = (String, Arc<Live>);

/// Returns the live trees and files that are replaced by staged ones, each with the name of its archive; and the paths in
/// each that are replaced, none if all of it is.
fn replaced(plan: &RestorePlan, trees: &[OpenTree]) -> (Vec<NamedTree>, Vec<Vec<RelPath>>) {
    let (mut replaced, mut paths) = (Vec::new(), Vec::new());
    for (planned, tree) in plan.archives.iter().zip(trees) {
        let concerned = concerned(tree, &planned.input.parts);
        // A single file is always replaced: writing over it would leave half of it after an interruption.
        let is_staged = |one: &Concerned<'_>| plan.mode == Mode::Replace || one.live.kind() == LiveKind::File;
        for one in concerned.into_iter().filter(is_staged) {
            replaced.push((planned.target.archive.clone(), Arc::clone(one.live)));
            paths.push(one.paths);
        }
    }
    (replaced, paths)
}

/// Checks that the filesystems keep owners, before the first file is replaced. Staging directories are checked when they
/// are made.
fn check_owners(plan: &RestorePlan, trees: &[OpenTree]) -> Result<()> {
    for (planned, tree) in plan.archives.iter().zip(trees) {
        for (_, live) in tree.live().filter(|(_, live)| live.kind() == LiveKind::Directory) {
            owners::check(live.handle()).map_err(|cause| {
                Error::failed_at("cannot restore into", live.path(), cause).within(&planned.target.archive)
            })?;
        }
    }
    Ok(())
}

/// Checks that the trees are still where containers will find them.
fn check_in_place(plan: &RestorePlan, trees: &[OpenTree], mounts: &LiveMounts) -> Result<()> {
    for (planned, tree) in plan.archives.iter().zip(trees) {
        mounts.check_in_place(&planned.target.tree, tree).map_err(|error| error.within(&planned.target.archive))?;
    }
    Ok(())
}

/// Swaps all staged trees, or none.
fn swap(restoration: Restoration, keep_previous: bool, monitor: &dyn Monitor) -> Result<(), SwapError> {
    for tree in restoration.swap(keep_previous)?.finish() {
        match tree.old {
            Ok(None) => {}
            Ok(Some(kept)) => {
                monitor.note(&format!("{}: the previous content is kept in '{}'", tree.archive, kept.display()));
            }
            // The new tree is live and complete; the old one has not been removed.
            Err(error) => {
                monitor.issue(&tree.archive, format!("restored, but the previous content is still there: {error}"));
            }
        }
    }
    Ok(())
}

fn mixed(error: Error, mode: Mode) -> Error {
    if mode == Mode::Replace {
        return error;
    }
    error
        .within("stopped halfway, the volume is now a mix of old and restored files")
        .hint("fix the cause and run the same command again: it extracts everything anew")
}
