//! The story of a restore: recover, plan, check, stop, extract, check again, swap, start.

use std::path::Path;

use crate::durable::atomic_file::{self, Ready};
use crate::error::{Error, Result};
use crate::extractor::{Mode, Staged, check, extract};
use crate::host::containers::Stopped;
use crate::host::{Host, Inventory};
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::plan::facts::ThisHost;
use crate::plan::restore::{RestorePlan, RestoreRequest, plan};
use crate::plan::used_since;
use crate::recovery::{recover_mounts, recover_targets};
use crate::resolve::survey;
use crate::together;
use crate::volume::swap::{Staging, Swapped, Way};

/// Plans a restore and carries it out.
///
/// # Errors
/// After any error the volumes are as they were, and the containers that were stopped have been started again. Only
/// [`Mode::Merge`] and [`Mode::InPlace`] can fail halfway; the error reports that. A container that does not start after a
/// complete restore is an issue.
pub fn restore(
    request: &RestoreRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<()> {
    let inventory = host.inventory()?;
    // Moved entries are recovered later, when no container uses the volume.
    let targets = survey(&request.layout, &inventory, &request.selection)?.targets;
    recover_targets(&targets, &[Way::Exchange], monitor)?;
    let plan = plan(request, host.describe(), &inventory, &ThisHost::new(pool, monitor))?;
    plan.notes.iter().for_each(|note| monitor.note(note));
    plan.check()?;
    let jobs = plan.jobs();
    if plan.mode != Mode::Replace {
        // These modes cannot be rolled back, so the archives are read to their end first.
        together::all(&jobs, monitor, |job, monitor| check(&job.input, pool, monitor))?;
    }
    let stopped = Stopped::stop(host, state_dir, &plan.users.iter().collect::<Vec<_>>(), monitor)?;
    check_idle(&plan, &host.inventory()?)?;
    for job in &jobs {
        recover_mounts(&job.input.archive, &job.mounts, &[Way::Entries], monitor)?;
    }
    let extracted = together::all(&jobs, monitor, |job, monitor| extract(job, plan.mode, pool, monitor));
    let staged = extracted.map_err(|error| mixed(error, plan.mode))?;
    check_idle(&plan, &host.inventory()?).map_err(|error| mixed(error, plan.mode))?;
    monitor.check_cancelled()?;
    swap(staged, plan.keep_previous, monitor)?;
    stopped.start_again_after("the volumes are restored");
    Ok(())
}

/// `restart: always` and a restarted engine can start a container at any moment.
fn check_idle(plan: &RestorePlan, now: &Inventory) -> Result<()> {
    let used = used_since(&plan.users, plan.targets(), now);
    let started: Vec<&str> = used.iter().map(|container| container.name.as_str()).collect();
    if started.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("containers that use these volumes were started meanwhile: {}", started.join(", ")))
        .hint("stop them, and what starts them, then restore again"))
}

/// Swaps all staged trees, or none.
fn swap(staged: Vec<Staged>, keep_previous: bool, monitor: &dyn Monitor) -> Result<()> {
    let mut waiting: Vec<(String, Staging)> = Vec::new();
    let mut files: Vec<Ready> = Vec::new();
    let mut done = Vec::new();
    for Staged { trees, files: singles, summary, location } in staged {
        waiting.extend(trees.into_iter().map(|tree| (summary.archive.clone(), tree)));
        files.extend(singles);
        done.push((summary, location));
    }
    let mut swapped: Vec<(String, Swapped)> = Vec::new();
    for (archive, tree) in waiting {
        match tree.swap(keep_previous) {
            Ok(tree) => swapped.push((archive, tree)),
            Err(error) => return Err(roll_back(swapped, error.within(archive))),
        }
    }
    if let Err(error) = atomic_file::commit(files, true) {
        return Err(roll_back(swapped, error));
    }
    for (archive, tree) in swapped {
        match tree.finish() {
            Ok(None) => {}
            Ok(Some(kept)) => monitor.note(&format!("{archive}: the previous content is kept in '{}'", kept.display())),
            // The new tree is live and complete; the old one has not been removed.
            Err(error) => {
                monitor.issue(&archive, format!("restored, but the previous content is still there: {error}"));
            }
        }
    }
    for (summary, location) in &done {
        monitor.event(&Event::Finished { stage: Stage::Restoring, summary, at: location.path() });
    }
    Ok(())
}

fn roll_back(swapped: Vec<(String, Swapped)>, error: Error) -> Error {
    let undone: Vec<Error> =
        swapped.into_iter().rev().filter_map(|(archive, tree)| tree.undo().err().map(|e| e.within(archive))).collect();
    error.and(undone)
}

fn mixed(error: Error, mode: Mode) -> Error {
    if mode == Mode::Replace {
        return error;
    }
    error
        .within("stopped halfway, the volume is now a mix of old and restored files")
        .hint("fix the cause and run the same command again: it extracts everything anew")
}
