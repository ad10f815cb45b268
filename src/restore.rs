//! The story of a restore: recover, plan, check, create volumes, stop, extract, check again, swap, start, ask the
//! application.

use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::extractor::{Concerned, Extracted, Input, Mode, check, concerned, extract};
use crate::filesystem::Access;
use crate::host::containers::{Stopped, run_checks};
use crate::host::{Container, Host, Inventory};
use crate::live_mounts::LiveMounts;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Phase, Stage};
use crate::new_volumes::{self, NewVolumes};
use crate::ordered::Pool;
use crate::plan::facts::{Facts, ThisHost};
use crate::plan::restore::{RestorePlan, RestoreRequest, plan as make_plan};
use crate::plan::room;
use crate::plan::{check_real, postgres, used_since, users_now};
use crate::postgres::{Cluster, not_shut_down};
use crate::recovery::{recover_layout, recover_trees};
use crate::store;
use crate::together;
use crate::volume::live::{Live, LiveKind};
use crate::volume::remove::RemovalTime;
use crate::volume::swap::{Finished, Old, Restoration, SwapError};
use crate::volume::{OpenTree, owners};

/// What is complete although a container does not start, or a check fails.
const RESTORED: &str = "the volumes are restored";

/// Plans a restore and carries it out.
///
/// # Errors
/// After any error the volumes are as they were, and the containers that were stopped have been started again, with two
/// exceptions that the error reports: [`Mode::Merge`] and [`Mode::InPlace`] can fail halfway; and where a disk fails so
/// that a swap can neither be completed nor undone, containers stay stopped until `voltar resume` has undone it. A
/// container that does not start after a complete restore is an issue, and so is a check that does not succeed.
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
    let mut inventory = request.inventory(host)?;
    // What is in use is recovered later, when its containers are stopped.
    let mounts = LiveMounts::new(state_dir, Access::ReadWrite);
    recover_layout(&request.layout, &inventory, &request.selection, &mounts, monitor)?.report_failures(monitor);
    store::complete(&request.sources, monitor)?;
    if new_volumes::recover(host, state_dir, monitor)? {
        inventory = request.inventory(host)?;
    }
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
        let clusters = together::all(&archives, monitor, |(input, target), monitor| {
            check(input, &target.tree.ids, plan.mode, pool, monitor)
        })?;
        check_versions(&plan, clusters.iter().map(Vec::as_slice), request, &facts)?;
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
            for Extracted { summary, location, .. } in &extracted {
                monitor.event(&Event::Finished { stage: Stage::Restoring, summary, at: location.path() });
            }
            if stopped.count() > 0 {
                monitor.phase(Phase::Starting);
            }
            stopped.start_again_after(RESTORED);
            run_checks(host, &plan.checks, request.check_limit, RESTORED, monitor);
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
    let checked = extracted.and_then(|extracted| {
        if plan.mode == Mode::Replace {
            check_versions(plan, clusters(&extracted), request, &ThisHost::new(mounts, pool, monitor))?;
        }
        let now = request.inventory(host)?;
        check_idle(plan, &users, &now)?;
        check_in_place(plan, &trees, mounts)?;
        monitor.check_cancelled()?;
        Ok(extracted)
    });
    let swapped = match checked {
        Ok(extracted) => {
            monitor.phase(Phase::Swapping);
            swap(restoration, plan.keep_previous, monitor).map(|()| extracted)
        }
        Err(error) => Err(restoration.abandon(error, monitor)),
    };
    let extracted = swapped.map_err(|error| match error {
        SwapError::Undone(error) => SwapError::Undone(mixed(error, plan)),
        SwapError::NotWhole(error) => SwapError::NotWhole(mixed(error, plan)),
    })?;
    warn_of_clusters(plan, clusters(&extracted), monitor);
    Ok(extracted)
}

/// The PostgreSQL clusters of each archive.
fn clusters(extracted: &[Extracted]) -> impl Iterator<Item = &[Cluster]> {
    extracted.iter().map(|one| one.clusters.as_slice())
}

/// Refuses PostgreSQL clusters of another version than that of the volume or the server. An archive can have its version
/// at its end, so this is the last moment at which it is known.
fn check_versions<'a>(
    plan: &RestorePlan,
    clusters: impl Iterator<Item = &'a [Cluster]>,
    request: &RestoreRequest,
    facts: &dyn Facts,
) -> Result<()> {
    if request.force_version {
        return Ok(());
    }
    plan.targets().zip(clusters).try_for_each(|(target, clusters)| postgres::check_versions(target, clusters, facts))
}

/// Reports PostgreSQL clusters that were not shut down, or of which a part is not in the archives.
fn warn_of_clusters<'a>(plan: &RestorePlan, clusters: impl Iterator<Item = &'a [Cluster]>, monitor: &dyn Monitor) {
    for (target, clusters) in plan.targets().zip(clusters) {
        for cluster in clusters.iter().filter(|cluster| cluster.has_pid_file) {
            monitor.issue(&target.archive, not_shut_down(&cluster.pid_file()));
        }
        for link in postgres::outside_links(target, clusters, plan.targets()) {
            monitor.issue(&target.archive, link.to_string());
        }
    }
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
    let recovery = recover_trees(plan.targets().map(|target| (&target.tree, true)), mounts, monitor)?;
    recovery.report_failures(monitor);
    let open = plan.archives.iter().map(|planned| {
        let tree = &planned.target.tree;
        // Undoing an exchange has replaced the tree that the plan has found.
        if recovery.replaced { mounts.open(tree) } else { mounts.reopen(tree, &planned.mounts) }
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
    let (finished, removed) = restoration.swap(keep_previous, monitor)?.finish(&RemovalTime::of(monitor));
    for Finished { archive, old, error } in finished {
        if let Old::Kept(path) = &old {
            monitor.note(&format!("{archive}: the previous content is kept in '{}'", path.display()));
        }
        let Some(error) = error else { continue };
        let left = match old {
            Old::Removed => "but not all of the previous content is removed".to_owned(),
            Old::Kept(_) => "but what else was staged is not removed".to_owned(),
            Old::Staged(path) => format!("but the previous content is still in '{}'", path.display()),
        };
        let error = error.hint("the next run, or `voltar resume`, completes it");
        monitor.issue(&archive, format!("restored, {left}: {}", error.with_hint()));
    }
    if let Err(error) = removed {
        let error = error.hint("the next run, or `voltar resume`, removes it");
        monitor.issue("", format!("restored, but its record is left: {}", error.with_hint()));
    }
    Ok(())
}

/// Says what an error of the extraction has left.
fn mixed(error: Error, plan: &RestorePlan) -> Error {
    if plan.mode == Mode::Replace {
        return match error.errno() {
            // One that has a hint is not of a volume's filesystem.
            Some(Errno::ENOSPC | Errno::EDQUOT) if error.advice().is_none() => {
                let mounts = plan.archives.iter().flat_map(|planned| &planned.mounts);
                error.within("no room for a second tree").hint(room::hint(mounts))
            }
            _ => error,
        };
    }
    halfway(error)
}

/// Says that an error has ended a restore which writes into the live tree.
fn halfway(error: Error) -> Error {
    const MIX: &str = "stopped halfway, the volume is now a mix of old and restored files";
    let again = "run the same command again: it extracts everything anew";
    let hint = match error.kind() {
        ErrorKind::Interrupted => again.to_owned(),
        _ => format!("fix the cause and {again}"),
    };
    error.within(MIX).leaving(MIX).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_or_a_signal_halfway_never_says_that_nothing_was_changed() {
        for error in [Error::interrupted(), Error::refused("no")] {
            let error = halfway(error).leaving("nothing was changed");
            let (text, hint) = (error.to_string(), error.advice().unwrap());
            assert!(text.contains("a mix of old") && !text.contains("nothing"), "{text}");
            assert!(hint.ends_with("run the same command again: it extracts everything anew"), "{hint}");
        }
    }
}
