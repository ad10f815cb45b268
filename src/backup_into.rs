//! The story of a backup that makes a set: lock, recover, back up, compare with the set before, complete the set, prune.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::backup::{Made, MadeArchive, backup};
use crate::error::Result;
use crate::host::mounts::TreeMount;
use crate::host::{Container, Host};
use crate::manifest::{ArchiveRecord, ArchivedContainer, Manifest};
use crate::monitor::{Event, Monitor, Phase};
use crate::ordered::Pool;
use crate::plan::backup::{BackupPlan, BackupRequest, PlannedArchive};
use crate::plan::changes::{FullArchives, FullEvery};
use crate::plan::retention::Policy;
use crate::plan::scope::PlannedScope;
use crate::plan::shrinkage::shrunk;
use crate::prune::prune_locked;
use crate::recorder::{Recorded, Recorder};
use crate::store::directory::remove_if_empty;
use crate::store::{Directory, Listed, NewSet, Set, Sets, Sink};

/// The arguments of a backup into a set.
#[derive(Debug, Clone)]
pub struct SetRequest {
    /// What is archived, and how. Its sink is replaced.
    pub backup: BackupRequest,
    /// Where the set is made.
    pub sets: Sets,
    /// Which sets are kept; all, if it is empty.
    pub keep: Policy,
    /// How often everything is archived; always, if it is not said.
    pub full_every: Option<FullEvery>,
}

/// Makes a set, and then removes those that are not kept. Returns its path.
///
/// # Errors
/// As [`backup`]; another run is in progress; the set cannot be completed. Then there is none.
pub fn backup_into(
    request: &SetRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<PathBuf> {
    let created = Directory::new(request.sets.path()).create()?;
    locked(request, host, state_dir, pool, monitor).inspect_err(|_| remove_if_empty(&created))
}

fn locked(
    request: &SetRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<PathBuf> {
    let SetRequest { sets, keep, .. } = request;
    let lock = sets.lock("backup", request.backup.wait, monitor)?;
    sets.recover(&lock)?.report(monitor);
    let earlier = sets.list()?;
    let set = next(sets, monitor)?;
    let recorder = Recorder::new(monitor);
    if let Some(later) = earlier.last().filter(|listed| listed.name > set.name()) {
        recorder.issue("", format!("the clock of this host says {}, and there is a set of {}", set.name(), later.name));
    }
    let before = earlier.iter().rev().find_map(Listed::complete);
    let sink = Sink::Set(set.clone());
    let since = request.full_every.map(|every| FullArchives::of(&earlier, every, set.name()));
    let result = backup(&BackupRequest { sink, since, ..request.backup.clone() }, host, state_dir, pool, &recorder)
        .and_then(|made| complete(&set, &made, before, host, request, &recorder))
        .map_err(|error| error.leaving("there is no new set"));
    if let Err(error) = result {
        return Err(error.and(set.abandon().err().into_iter().collect()));
    }
    monitor.event(&Event::SetMade(&set.path()));
    if !keep.is_empty() {
        // The set is there, whatever becomes of others.
        prune_locked(sets, keep, Some(set.name()), &lock, monitor)
            .unwrap_or_else(|error| monitor.issue("", error.with_hint()));
    }
    Ok(set.path())
}

/// Returns a set of a name that does not exist: a second has one set.
fn next(sets: &Sets, monitor: &dyn Monitor) -> Result<NewSet> {
    loop {
        let set = NewSet::new(sets.clone(), Timestamp::now());
        if set.path().symlink_metadata().is_err() {
            return Ok(set);
        }
        monitor.check_cancelled()?;
        thread::sleep(Duration::from_millis(50));
    }
}

/// Completes a set whose archives are complete.
fn complete(
    set: &NewSet,
    made: &Made,
    before: Option<&Set>,
    host: &dyn Host,
    request: &SetRequest,
    recorder: &Recorder<'_>,
) -> Result<()> {
    let archives: Vec<ArchiveRecord> = made
        .plan
        .archives
        .iter()
        .zip(&made.archives)
        .map(|(planned, one)| record(planned, one, made.plan.xattrs))
        .collect();
    if let Some(before) = before.map(Set::manifest) {
        for (archive, what) in shrunk(&before.archives, &archives) {
            recorder.issue(&archive, format!("{what} (in the set of {})", before.started));
        }
    }
    recorder.check_cancelled()?;
    recorder.phase(Phase::Committing);
    let Recorded { warnings, warning_count, stopped, started, downtime, .. } = recorder.recorded();
    let when = |times: &[(String, Timestamp)], container: &Container| {
        times.iter().rev().find(|(name, _)| *name == container.name).map(|(_, at)| *at)
    };
    let container = |container: &Container| ArchivedContainer {
        name: container.name.clone(),
        service: container.service.clone(),
        image: container.image.clone(),
        image_id: container.image_id.clone(),
        stopped: when(&stopped, container),
        started: when(&started, container),
    };
    set.complete(&Manifest {
        completed: Timestamp::now(),
        host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
        engine: host.describe(),
        layout: request.backup.layout.name.clone(),
        project: project(&made.plan),
        containers: made.plan.containers().map(container).collect(),
        downtime_seconds: downtime.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0),
        archives,
        warnings,
        warning_count,
        ..Manifest::new(set.name().time())
    })
}

/// Returns what the manifest says of an archive.
fn record(planned: &PlannedArchive, made: &MadeArchive, xattrs: bool) -> ArchiveRecord {
    let PlannedArchive { target, scope, compression, versions, .. } = planned;
    let MadeArchive { tree, archive, beside, first_pass, .. } = made.clone();
    let (first_pass, index, base, gone) = match scope {
        PlannedScope::AllOrSame(full) if archive.is_none() => (None, None, Some(full.base()), None),
        PlannedScope::All | PlannedScope::Indexed | PlannedScope::AllOrSame(_) => (None, beside, None, None),
        PlannedScope::Twice => {
            let (full, index) = first_pass.unzip();
            (full, index, None, beside)
        }
        PlannedScope::Changes(full) => (None, None, Some(full.base()), beside),
    };
    ArchiveRecord {
        name: target.archive.clone(),
        path: target.tree.path.to_string(),
        sources: target.tree.mounts.iter().map(TreeMount::name).collect(),
        format: compression.format().to_string(),
        xattrs,
        members: tree.members,
        stream_bytes: tree.stream_bytes,
        postgres: versions.volume.map(|version| version.to_string()),
        first_pass,
        archive,
        index,
        base,
        gone,
    }
}

/// Returns the compose project of all archives, if they have the same.
fn project(plan: &BackupPlan) -> Option<String> {
    let mut projects = plan.targets().map(|target| target.project.as_ref());
    let first = projects.next()??;
    projects.all(|project| project == Some(first)).then(|| first.clone())
}
