//! The story of a backup: recover, plan, check, lock, stop, archive, check again, commit, start, deliver.

use std::collections::BTreeMap;
use std::path::Path;

use crate::archiver::{self, Archived, Job, TreeTotals};
use crate::error::Result;
use crate::filesystem::Access;
use crate::host::containers::Stopped;
use crate::host::{Container, Host, Inventory, State};
use crate::live_mounts::LiveMounts;
use crate::manifest::FileRecord;
use crate::member::printable;
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::plan::backup::{BackupPlan, BackupRequest, Estimate, PlannedArchive, plan};
use crate::plan::facts::ThisHost;
use crate::plan::{Running, check_real, postgres, used_since, users_now};
use crate::recovery::{check_untouched, recover_layout};
use crate::store::directory::remove_if_empty;
use crate::store::{Complete, Destination, commit};
use crate::together;
use crate::units;
use crate::volume::OpenTree;
use crate::volume_locks::VolumeLocks;

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// The plan that was carried out.
    pub plan: BackupPlan,
    /// The archives, in the plan's order.
    pub archives: Vec<MadeArchive>,
}

/// An archive of a backup that was made.
#[derive(Debug, Clone)]
pub struct MadeArchive {
    /// Its totals.
    pub summary: Summary,
    /// The totals of its tree.
    pub tree: TreeTotals,
    /// The archive and the index of the first of two passes.
    pub first_pass: Option<(FileRecord, FileRecord)>,
    /// The archive, if it is in a set and something has changed.
    pub archive: Option<FileRecord>,
    /// The index, or the paths that are gone.
    pub beside: Option<FileRecord>,
}

/// Plans a backup and carries it out.
///
/// # Errors
/// After any error no archive has its name, but for those that cannot be delivered from a spool, and the containers that were
/// stopped have been started again. A container that does not start after a complete backup is an issue.
pub fn backup(
    request: &BackupRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Made> {
    request.sink.check()?;
    let made = run(request, host, state_dir, pool, monitor).map_err(|error| error.leaving(request.sink.abandoned()))?;
    let archives = made.plan.archives.iter().map(|planned| (&planned.target.archive[..], &planned.destination));
    request.sink.deliver(archives, monitor)?;
    Ok(made)
}

fn run(request: &BackupRequest, host: &dyn Host, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<Made> {
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    let facts = ThisHost::new(&mounts, pool, monitor);
    let mut locks = VolumeLocks::new(state_dir, request.wait, monitor);
    let plan = loop {
        let inventory = request.inventory(host)?;
        recover(request, &inventory, state_dir, monitor)?;
        let plan = plan(request, host.describe(), &inventory, &facts, Estimate::WhereNeeded)?;
        if !plan.refusals.is_empty() || !locks.acquire(plan.mounts(), &|| mounts.release())? {
            break plan;
        }
    };
    plan.notes.iter().for_each(|note| monitor.note(note));
    plan.check()?;
    if !plan.left_out.is_empty() {
        monitor.note(&format!("left out: {} (--all adds them)", plan.left_out.join(", ")));
    }
    if request.running == Running::Allow {
        warn_of_running(&plan, monitor);
    }
    let first = first_pass(&plan, &mounts, pool, monitor)?;
    if !plan.to_stop.is_empty() {
        monitor.phase(Phase::Stopping);
    }
    let stopped = Stopped::stop(host, state_dir, &plan.to_stop.iter().collect::<Vec<_>>(), monitor)?;
    let backup = Backup { plan: &plan, first: &first, mounts: &mounts, request, host, pool, monitor };
    let made = backup.run(stopped.count() > 0);
    mounts.release();
    let mut archives = made?;
    for (number, MadeArchive { archive, beside, .. }) in first {
        if let Some(made) = archives.get_mut(number) {
            made.first_pass = archive.zip(beside);
        }
    }
    if stopped.count() > 0 {
        monitor.phase(Phase::Starting);
    }
    stopped.start_again_after("the archives are complete");
    Ok(Made { plan, archives })
}

/// Archives what the first of two passes does, while containers run. The files get their names in the set that is not
/// complete: it disappears with them, if the second pass fails.
fn first_pass(
    plan: &BackupPlan,
    mounts: &LiveMounts,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<BTreeMap<usize, MadeArchive>> {
    let (numbers, jobs): (Vec<_>, Vec<_>) = plan.first_pass().into_iter().unzip();
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    monitor.phase(Phase::Archiving);
    let planned = || numbers.iter().filter_map(|number| plan.archives.get(*number));
    let open = |planned: &PlannedArchive| mounts.reopen(&planned.target.tree, &planned.mounts);
    let trees = planned().map(open).collect::<Result<Vec<_>>>()?;
    plan.sink.create()?;
    let written = write(&jobs, &trees, pool, monitor)?;
    monitor.check_cancelled()?;
    let (files, made) = divide(&jobs, written);
    commit(files, false, monitor)?;
    for MadeArchive { summary, .. } in &made {
        monitor.note(&format!(
            "{}: {} archived before containers are stopped; what has changed since follows",
            summary.archive,
            units::bytes(summary.stream_bytes)
        ));
    }
    Ok(numbers.into_iter().zip(made).collect())
}

/// Writes all archives at the same time, but for their ends.
fn write(jobs: &[Job], trees: &[OpenTree], pool: &Pool, monitor: &dyn Monitor) -> Result<Vec<Archived>> {
    let write = |(job, tree): &(&Job, &OpenTree), monitor: &dyn Monitor| archiver::write(job, tree, pool, monitor);
    together::all(&jobs.iter().zip(trees).collect::<Vec<_>>(), monitor, write)
}

/// Divides archives into their files and what is known of them.
fn divide(jobs: &[Job], written: Vec<Archived>) -> (Vec<Complete>, Vec<MadeArchive>) {
    let (mut files, mut made) = (Vec::new(), Vec::new());
    for (job, Archived { complete, beside, summary, tree, .. }) in jobs.iter().zip(written) {
        let record = |file: &Complete, at: &Destination| {
            let name = at.path().file_name()?.to_str()?.to_owned();
            Some(FileRecord { file: name, bytes: file.bytes(), sha256: file.digest()? })
        };
        let archive = complete.as_ref().and_then(|file| record(file, &job.destination));
        let of_beside = beside.as_ref().and_then(|file| record(file, job.scope.beside()?));
        made.push(MadeArchive { summary, tree, first_pass: None, archive, beside: of_beside });
        files.extend(complete.into_iter().chain(beside));
    }
    (files, made)
}

/// A backup that is carried out.
struct Backup<'a> {
    plan: &'a BackupPlan,
    /// What the first of two passes has archived, by the number in the plan.
    first: &'a BTreeMap<usize, MadeArchive>,
    mounts: &'a LiveMounts,
    request: &'a BackupRequest,
    host: &'a dyn Host,
    pool: &'a Pool,
    monitor: &'a dyn Monitor,
}

impl Backup<'_> {
    /// Archives the trees after containers have stopped, if any had to.
    fn run(&self, has_stopped: bool) -> Result<Vec<MadeArchive>> {
        let plan = self.plan;
        let mut users = plan.users.clone();
        if has_stopped {
            // From now on: what ran until here did so before anything was read.
            let now = self.request.inventory(self.host)?;
            check_real(plan.targets(), &now, &ThisHost::new(self.mounts, self.pool, self.monitor))?;
            users = users_now(plan.targets(), &now);
        }
        let reopen = |planned: &PlannedArchive| self.mounts.reopen(&planned.target.tree, &planned.mounts);
        let trees = plan.archives.iter().map(reopen).collect::<Result<Vec<_>>>()?;
        let created = plan.sink.create()?;
        self.archive(&trees, &users).inspect_err(|_| remove_if_empty(&created))
    }

    /// Writes all archives and commits all of them, or none.
    fn archive(&self, trees: &[OpenTree], users: &[Container]) -> Result<Vec<MadeArchive>> {
        let Self { plan, request, monitor, .. } = *self;
        let jobs = plan.jobs();
        monitor.phase(Phase::Archiving);
        let written = write(&jobs, trees, self.pool, monitor);
        monitor.check_cancelled()?;
        // What has replaced a tree meanwhile is also why it could not be archived.
        self.check_untouched(trees)?;
        let written = written?;
        if request.running != Running::Allow {
            warn_of_started(plan, users, &request.inventory(self.host)?, monitor);
        }
        check_clusters(plan, &written, request, monitor)?;
        monitor.check_cancelled()?;
        monitor.phase(Phase::Committing);
        let (files, made) = divide(&jobs, written);
        commit(files, request.overwrite, monitor)?;
        for (number, ((made, job), planned)) in made.iter().zip(&jobs).zip(&plan.archives).enumerate() {
            report_made(made, job, planned, self.first.get(&number), monitor);
        }
        Ok(made)
    }

    /// Checks that no restore has replaced a tree while it was archived: the archive could hold a part of either.
    fn check_untouched(&self, trees: &[OpenTree]) -> Result<()> {
        for (planned, tree) in self.plan.archives.iter().zip(trees) {
            let target = &planned.target;
            check_untouched(&target.tree, tree, self.mounts).map_err(|error| error.within(&target.archive))?;
        }
        Ok(())
    }
}

/// Reports an archive that has its name, together with that of the first of two passes.
fn report_made(
    made: &MadeArchive,
    job: &Job,
    planned: &PlannedArchive,
    first: Option<&MadeArchive>,
    monitor: &dyn Monitor,
) {
    let MadeArchive { summary, archive: file, .. } = made;
    let archive = &summary.archive;
    if summary.left_out > 0 {
        let count = summary.left_out;
        monitor.note(&format!("{archive}: {count} excluded (a directory counts as one, with all that it holds)"));
    }
    let finished = |summary: &Summary, at: &Destination| {
        monitor.event(&Event::Finished { stage: Stage::Archiving, summary, at: at.path() });
    };
    match (planned.scope.since(), file, first) {
        (Some(since), None, first) => {
            monitor.note(&format!("{archive}: nothing has changed since {since}"));
            if let Some(first) = first {
                finished(&first.summary, &planned.destination);
            }
        }
        (Some(since), Some(_), Some(first)) => {
            let changed = units::bytes(summary.stream_bytes);
            monitor.note(&format!("{archive}: {changed} for what has changed since {since}"));
            finished(&first.summary.with(summary), &planned.destination);
        }
        _ => finished(summary, &job.destination),
    }
}

/// Removes stale files from the sink, and recovers volumes from interrupted restores.
fn recover(request: &BackupRequest, inventory: &Inventory, state_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    request.sink.recover()?.report(monitor);
    let mounts = LiveMounts::new(state_dir, Access::ReadWrite);
    recover_layout(&request.layout, inventory, &request.selection, &mounts, monitor)?.report_failures(monitor);
    Ok(())
}

fn warn_of_running(plan: &BackupPlan, monitor: &dyn Monitor) {
    for user in &plan.users {
        let state = match user.state {
            State::Running => "running",
            // Its processes go on where they were, in the middle of a change.
            State::Paused => "paused",
            State::Stopped => continue,
        };
        let name = printable(user.name.as_bytes());
        monitor.issue("", format!("'{name}' is {state} while its data is archived: the archive may mix old and new"));
    }
}

/// Refuses PostgreSQL clusters of which a part is not in the archives, and reports those that were not shut down.
fn check_clusters(
    plan: &BackupPlan,
    written: &[Archived],
    request: &BackupRequest,
    monitor: &dyn Monitor,
) -> Result<()> {
    for (planned, Archived { clusters, .. }) in plan.archives.iter().zip(written) {
        let target = &planned.target;
        let outside = postgres::outside_links(target, clusters, plan.targets());
        if !request.allow_outside_links
            && let Some(refusal) = postgres::incomplete(&target.archive, &outside)
        {
            return Err(refusal);
        }
        for link in &outside {
            monitor.issue(&target.archive, link.to_string());
        }
        // What runs has been warned of.
        let is_running = request.running == Running::Allow && !target.is_unused();
        for cluster in clusters.iter().filter(|cluster| cluster.has_pid_file && !is_running) {
            monitor.note(&format!(
                "{}: '{}' is archived: PostgreSQL had been killed, not shut down; it recovers from its write-ahead log when \
                 it is started",
                target.archive,
                cluster.pid_file()
            ));
        }
    }
    Ok(())
}

fn warn_of_started(plan: &BackupPlan, users: &[Container], now: &Inventory, monitor: &dyn Monitor) {
    for user in used_since(users, plan.targets(), now) {
        let name = printable(user.name.as_bytes());
        let what = if user.state == State::Stopped { "ran" } else { "was started" };
        monitor.issue("", format!("'{name}' {what} while its data was archived: the archive may mix old and new"));
    }
}
