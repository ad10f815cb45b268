//! Restores archives into a new directory instead of the volumes: plan, extract, complete. No engine is needed, and nothing
//! is stopped.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::extractor::{Extracted, Mode, extract};
use crate::filesystem::Access;
use crate::ids::IdMap;
use crate::live_mounts::LiveMounts;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Phase, Stage};
use crate::ordered::Pool;
use crate::plan::extraction::{ExtractionPlan, ExtractionRequest, plan};
use crate::plan::facts::ThisHost;
use crate::store;
use crate::together;
use crate::volume::live::{Live, Way};
use crate::volume::new_directory::NewDirectory;
use crate::volume::remove::RemovalTime;
use crate::volume::swap::Restoration;
use crate::volume::{Content, OpenMount, OpenTree};

/// Plans a restore into a directory and carries it out.
///
/// # Errors
/// After any error there is no directory, or it is as empty as it was; what an interrupted run had no time to remove is named.
pub fn restore_to(request: &ExtractionRequest, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    run(request, state_dir, pool, monitor)
        .map_err(|error| error.leaving(&format!("'{}' was not made", request.directory.display())))
}

fn run(request: &ExtractionRequest, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    store::complete(&request.sources, monitor)?;
    let plan = plan(request, &ThisHost::new(&mounts, pool, monitor))?;
    Error::none_of(plan.refusals.clone())?;
    plan.notes.iter().for_each(|note| monitor.note(note));
    for location in &plan.foreign {
        let (layout, name) = (&request.layout.name, location.name());
        monitor.issue("", format!("not restored: '{location}': the layout '{layout}' has no archive '{name}'"));
    }
    let directory = NewDirectory::begin(&plan.directory)?;
    let extracted = match extract_all(&plan, &directory, pool, monitor) {
        Ok(extracted) => extracted,
        Err(error) => return Err(directory.abandon(error, &RemovalTime::of(monitor))),
    };
    directory.complete()?;
    for done in &extracted {
        monitor.event(&Event::Finished { stage: Stage::Restoring, summary: &done.summary, at: done.location.path() });
    }
    Ok(())
}

/// Extracts all archives into the directory that is being made.
fn extract_all(
    plan: &ExtractionPlan,
    directory: &NewDirectory,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Extracted>> {
    let mut jobs = Vec::new();
    for planned in &plan.archives {
        let root = directory.directory(planned.name.as_ref().map(OsStr::new))?;
        let live = Live::in_filesystem(&root, &plan.at(planned), &RelPath::root(), Way::Entries)?;
        let mount = OpenMount { at: RelPath::root(), content: Content::Live(Arc::new(live)) };
        // The ids are those of the archive: whose they are on this host is not known.
        jobs.push((&planned.input, OpenTree { mounts: vec![mount], ids: IdMap::default(), own: Arc::default() }));
    }
    monitor.phase(Phase::Restoring);
    let nothing = Restoration::of_nothing();
    let extracted = together::all(&jobs, monitor, |(input, tree), monitor| {
        extract(input, tree, &nothing, Mode::Replace, pool, monitor)
    })
    .map_err(|error| match error.errno() {
        Some(Errno::ENOSPC | Errno::EDQUOT) => error.hint("make room, or name a directory on another filesystem"),
        _ => error,
    })?;
    monitor.check_cancelled()?;
    Ok(extracted)
}
