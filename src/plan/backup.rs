//! The plan of a backup: which archives, of which mounts, how large, and every refusal.

use std::time::Duration;

use super::changes::FullArchives;
use super::disk_usage::Watched;
use super::facts::{Facts, Occupied};
use super::measure::{Measure, Measured, backup_time};
use super::overlaps;
use super::postgres::{self, Versions};
use super::scope::{PlannedScope, Wanted};
use super::stopping::{self, Stopping};
use super::{Running, unreal, users};
use crate::archiver::{Expected, Job, Scope};
use crate::codec::{Compression, Format, Level};
use crate::error::{Error, ErrorKind, Result};
use crate::exclude::Exclude;
use crate::host::{Container, Host, Inventory};
use crate::layout::{ArchiveSpec, Layout};
use crate::live_mounts::LiveMount;
use crate::postgres::OutsideLink;
use crate::resolve::{CREATE_STACK, Selection, Target, not_found, survey};
use crate::store::directory::Condition;
use crate::store::{CHANGES, Destination, GONE, INDEX, Sink};
use crate::touched;
use crate::units;

/// The arguments of a backup.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BackupRequest {
    /// The archives that can be made.
    pub layout: Layout,
    /// Which of them are made.
    pub selection: Selection,
    /// What receives the archives.
    pub sink: Sink,
    /// The format of all of them; `None` for that of the layout, or else of the guide of the stack.
    pub format: Option<Format>,
    /// The compression level; `None` for the default of each format.
    pub level: Option<Level>,
    /// Whether each block is decompressed and compared before it is written.
    pub checked: bool,
    /// What is done about running containers.
    pub running: Running,
    /// Whether archives that exist are replaced.
    pub overwrite: bool,
    /// Whether empty trees are accepted.
    pub allow_empty: bool,
    /// Whether PostgreSQL clusters are archived of which a part lies elsewhere.
    pub allow_outside_links: bool,
    /// The members that are left out of all of them, in addition to those of the layout.
    pub exclude: Exclude,
    /// Whether extended attributes, ACLs and capabilities are archived, and fractions of a second.
    pub xattrs: bool,
    /// The full archives since which changes are archived; `None` if everything is, without an index.
    pub since: Option<FullArchives>,
    /// Whether everything but databases is archived before containers are stopped, and then what has changed since.
    pub two_pass: bool,
    /// How long another run is waited for that uses the same volumes, or the directory of the sets.
    pub wait: Duration,
}

impl BackupRequest {
    /// Reads those containers and volumes of `host` that concern the request.
    ///
    /// # Errors
    /// As [`Host::inventory`].
    pub fn inventory(&self, host: &dyn Host) -> Result<Inventory> {
        let whole_projects = self.running == Running::StopProject;
        touched::inventory(host, &self.layout, &self.selection.volumes, whole_projects)
    }
}

/// The plan of a backup.
#[derive(Debug, Clone)]
pub struct BackupPlan {
    /// Where the inventory comes from.
    pub source: String,
    /// Notes on the inventory.
    pub notes: Vec<String>,
    /// The archives, in the layout's order.
    pub archives: Vec<PlannedArchive>,
    /// Archives of the layout that this host has and the request leaves out.
    pub left_out: Vec<String>,
    /// What receives them.
    pub sink: Sink,
    /// Bytes that can be written there; `None` if unknown.
    pub free_bytes: Option<u64>,
    /// Whether extended attributes are archived.
    pub xattrs: bool,
    /// The estimated time without stopping and starting containers; `None` if it is unknown.
    pub time: Option<Duration>,
    /// The threads that share the work.
    pub threads: usize,
    /// All containers that use the volumes, each once.
    pub users: Vec<Container>,
    /// The containers that are stopped and started again.
    pub to_stop: Vec<Container>,
    /// The names of the running containers of the same compose projects that do not use the volumes, and are not stopped.
    pub left_running: Vec<String>,
    /// The reasons to refuse; empty if the backup can be made.
    pub refusals: Vec<Error>,
}

/// One archive of a [`BackupPlan`].
#[derive(Debug, Clone)]
pub struct PlannedArchive {
    /// The container and the mounts.
    pub target: Target,
    /// Where the archive is written.
    pub destination: Destination,
    /// What else is written, and how much is archived.
    pub scope: PlannedScope,
    /// How it is compressed.
    pub compression: Compression,
    /// The members that are left out of it.
    pub exclude: Exclude,
    /// The least that its tree must hold.
    pub expected: Expected,
    /// The mounts as they were found on this host; empty where they were not.
    pub mounts: Vec<LiveMount>,
    /// The sizes of the tree; `None` where it cannot be walked.
    pub measured: Option<Measured>,
    /// The versions of the PostgreSQL clusters in it.
    pub versions: Versions,
    /// The links of those clusters to what is not archived with them.
    pub outside_links: Vec<OutsideLink>,
}

/// When the lengths of archives, and the time that they take, are estimated by compressing samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimate {
    /// For a plan that is shown.
    Always,
    /// Only where there may be too little room: uncompressed, the archives would not fit in.
    WhereNeeded,
}

/// By how many percent the estimate may exceed the free space: it is not exact, and a full disk costs only time.
const MARGIN_PERCENT: u64 = 2;

/// Plans a backup; `source` describes where the inventory comes from.
///
/// # Errors
/// The layout has no archive of a requested name, the sink takes fewer archives, or the run was interrupted.
pub fn plan(
    request: &BackupRequest,
    source: String,
    inventory: &Inventory,
    facts: &dyn Facts,
    estimate: Estimate,
) -> Result<BackupPlan> {
    let mut resolution = survey(&request.layout, inventory, &request.selection)?;
    check_capacity(&request.sink, &resolution.targets)?;
    let mut notes = inventory.notes.clone();
    notes.append(&mut resolution.notes);
    notes.extend(request.sink.notes(resolution.targets.len()));
    notes.extend(overlaps::leave_nested(&mut resolution.targets, &resolution.others));
    let missing = not_found(&resolution.missing, CREATE_STACK);
    let mut refusals: Vec<Error> = inventory.refusals().chain(missing).chain(resolution.problems).collect();
    let guide_format = guide_format(&request.layout, inventory, &resolution.targets);
    let wanted = Wanted { since: request.since.as_ref(), two_pass: request.two_pass, xattrs: request.xattrs };
    let mut archives = Vec::new();
    for target in resolution.targets {
        let Some(spec) = request.layout.archive(&target.archive) else { continue };
        let format = request.format.or(spec.format).unwrap_or(guide_format);
        let compression = Compression::new(format, request.level).unwrap_or_else(|error| {
            refusals.push(Error::refused(error.to_string()).within(&target.archive));
            format.into()
        });
        let (scope, note) = wanted.scope(&target, spec);
        notes.extend(note);
        let destination = destination_of(request, &target.archive, &scope, format);
        notes.extend(other_formats(&target.archive, format, &request.sink, facts));
        let reasons = unreal(&target, inventory, facts)?;
        let mut planned = PlannedArchive {
            target,
            destination,
            scope,
            compression: compression.checked(request.checked),
            exclude: spec.exclude.and(&request.exclude),
            expected: expected(spec, request.allow_empty),
            mounts: Vec::new(),
            measured: None,
            versions: Versions::default(),
            outside_links: Vec::new(),
        };
        if reasons.is_empty() {
            let is_estimated = estimate == Estimate::Always;
            let mut examined = examine(&mut planned, request.xattrs, facts, is_estimated);
            if let Some((scope, note)) =
                wanted.instead(&planned.target, &planned.scope, planned.measured.as_ref(), &examined)
            {
                notes.extend(note);
                // Otherwise all of it was measured already.
                let is_measured_in_part = planned.scope.index().is_some();
                planned.scope = scope;
                planned.destination = destination_of(request, &planned.target.archive, &planned.scope, format);
                if is_measured_in_part {
                    examined = examine(&mut planned, request.xattrs, facts, is_estimated);
                }
            }
            match examined {
                Ok(refusal) => refusals.extend(refusal),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => refusals.push(error.within(&planned.target.archive)),
            }
        }
        refusals.extend(reasons);
        let PlannedArchive { target, destination, .. } = &planned;
        refusals.extend(facts.unfinished(&target.tree)?.iter().map(|other| other.refusal().within(&target.archive)));
        refusals.extend(occupied(target, destination, facts.occupied(destination), request.overwrite));
        archives.push(planned);
    }
    refusals.extend(examine_clusters(&mut archives, request.allow_outside_links));
    refusals
        .extend(overlaps::between(archives.iter().map(|planned| (&planned.target.archive[..], &planned.mounts[..]))));
    let users = users(archives.iter().map(|planned| &planned.target));
    let targets = archives.iter().map(|planned| &planned.target);
    let stopping = stopping::decide(&users, targets, inventory, request.running);
    let Stopping { to_stop, left_running, .. } = stopping;
    refusals.extend(stopping.refusals);
    notes.extend(stopping.notes);
    let condition = facts.condition(&request.sink);
    let mounts = archives.iter().flat_map(|planned| &planned.mounts);
    let watched = Watched::of(&condition, mounts, &users, request.layout.is_cvat());
    let fills_disk = |archives: &[PlannedArchive]| watched.as_ref().and_then(|disk| disk.note(archive_bytes(archives)));
    let is_tight = !fit_in(&archives, &condition) || fills_disk(&archives).is_some();
    if estimate == Estimate::WhereNeeded && is_tight {
        for planned in archives.iter_mut().filter(|planned| planned.measured.is_some()) {
            let measured = measure(planned, request.xattrs, facts, true);
            planned.measured = Some(measured.map_err(|error| error.within(&planned.target.archive))?);
        }
    }
    refusals.extend(sink_refusals(&archives, &request.sink, &condition));
    notes.extend(fills_disk(&archives));
    let measured: Vec<_> = archives.iter().map(|planned| planned.measured.as_ref()).collect();
    let threads = facts.threads();
    Ok(BackupPlan {
        source,
        xattrs: request.xattrs,
        time: backup_time(&measured, threads),
        threads,
        notes,
        archives,
        left_out: resolution.left_out,
        sink: request.sink.clone(),
        free_bytes: condition.free_bytes,
        to_stop,
        left_running,
        users,
        refusals,
    })
}

impl BackupPlan {
    /// Returns all refusals as one error.
    ///
    /// # Errors
    /// There is a refusal.
    pub fn check(&self) -> Result<()> {
        Error::none_of(self.refusals.clone())
    }

    /// Returns the trees to archive.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.archives.iter().map(|planned| &planned.target)
    }

    /// Returns the mounts of the trees, each with the name of its archive.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&str, &LiveMount)> {
        self.archives
            .iter()
            .flat_map(|planned| planned.mounts.iter().map(|mount| (planned.target.archive.as_str(), mount)))
    }

    /// Returns all containers that use the volumes, or are stopped, each once.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &Container> {
        let is_user = |container: &&Container| self.users.iter().any(|user| user.id == container.id);
        self.users.iter().chain(self.to_stop.iter().filter(move |container| !is_user(container)))
    }

    /// Returns the archives of the first of two passes, each with its number in the plan.
    pub fn first_pass(&self) -> Vec<(usize, Job)> {
        let is_twice = |planned: &PlannedArchive| planned.scope == PlannedScope::Twice;
        let first = |planned: &PlannedArchive| Job {
            scope: Scope::Indexed { index: self.sink.file(&planned.target.archive, INDEX) },
            destination: planned.destination.clone(),
            expected_bytes: planned.stream_bytes(),
            is_first_pass: true,
            ..self.job(planned)
        };
        let archives = self.archives.iter().enumerate();
        archives.filter(|(_, planned)| is_twice(planned)).map(|(number, planned)| (number, first(planned))).collect()
    }

    /// Returns the archives to write, after the first pass.
    pub fn jobs(&self) -> Vec<Job> {
        self.archives.iter().map(|planned| self.job(planned)).collect()
    }

    fn job(&self, planned: &PlannedArchive) -> Job {
        let beside = |suffix| self.sink.file(&planned.target.archive, suffix);
        Job {
            scope: match &planned.scope {
                PlannedScope::All => Scope::All,
                PlannedScope::Indexed => Scope::Indexed { index: beside(INDEX) },
                PlannedScope::AllOrSame(full) => Scope::AllOrSame { since: full.index.clone(), index: beside(INDEX) },
                PlannedScope::Twice => Scope::Changes { since: beside(INDEX).written(), gone: beside(GONE) },
                PlannedScope::Changes(full) => Scope::Changes { since: full.index.clone(), gone: beside(GONE) },
            },
            is_first_pass: false,
            archive: planned.target.archive.clone(),
            prefix: planned.target.tree.path.clone(),
            destination: match planned.scope {
                PlannedScope::Twice => {
                    let format = planned.compression.format();
                    self.sink.destination(&format!("{}{CHANGES}", planned.target.archive), format)
                }
                _ => planned.destination.clone(),
            },
            expected_bytes: planned.stream_bytes().filter(|_| planned.scope != PlannedScope::Twice),
            expected: planned.expected,
            exclude: planned.exclude.clone(),
            xattrs: self.xattrs,
            compression: planned.compression,
        }
    }

    /// Returns the estimated length of all archives in bytes; `None` if one was not measured.
    #[must_use]
    pub fn archive_bytes(&self) -> Option<u64> {
        self.archives.iter().map(|planned| Some(planned.measured.as_ref()?.archive_bytes)).sum()
    }
}

impl PlannedArchive {
    fn stream_bytes(&self) -> Option<u64> {
        self.measured.as_ref().map(|measured| measured.stream_bytes)
    }
}

/// Refuses more archives than the sink takes.
fn check_capacity(sink: &Sink, targets: &[Target]) -> Result<()> {
    if targets.len() <= sink.capacity() {
        return Ok(());
    }
    let names = targets.iter().map(|target| target.archive.as_str()).collect::<Vec<_>>().join(", ");
    Err(Error::usage(format!("{sink} takes one archive, and {} are selected: {names}", targets.len())).hint(format!(
        "choose one with --only {}, or run a command for each with --to-command",
        targets.first().map_or("NAME", |target| &target.archive)
    )))
}

/// Adds to `planned` its mounts and its sizes; returns a refusal if it holds too little.
fn examine(planned: &mut PlannedArchive, xattrs: bool, facts: &dyn Facts, is_estimated: bool) -> Result<Option<Error>> {
    let tree = &planned.target.tree;
    planned.mounts = facts.live_mounts(tree)?;
    if let Some(pattern) = planned.exclude.matching_root(&tree.path) {
        let archive = &planned.target.archive;
        return Ok(Some(
            Error::refused(format!("{archive}: '{pattern}' excludes '/{}' itself, and so all of it", tree.path))
                .hint(format!("a pattern is compared with whole names: '{}/{pattern}' is one below it", tree.path)),
        ));
    }
    let measured = measure(planned, xattrs, facts, is_estimated)?;
    let refusal = too_empty(&planned.target, &measured, planned.expected);
    if refusal.is_some() && !is_there_still(&planned.mounts, &facts.live_mounts(tree)?) {
        return Err(
            Error::refused(format!("'/{}' was replaced meanwhile", tree.path)).hint("run the same command again")
        );
    }
    planned.measured = Some(measured);
    Ok(refusal)
}

fn measure(planned: &PlannedArchive, xattrs: bool, facts: &dyn Facts, is_estimated: bool) -> Result<Measured> {
    let since = planned.scope.index();
    let compression = is_estimated.then_some(planned.compression);
    facts.measure(&planned.target.tree, Measure { exclude: &planned.exclude, compression, xattrs, since })
}

fn destination_of(request: &BackupRequest, archive: &str, scope: &PlannedScope, format: Format) -> Destination {
    match scope {
        PlannedScope::Changes(_) => request.sink.destination(&format!("{archive}{CHANGES}"), format),
        _ => request.sink.destination(archive, format),
    }
}

/// Adds to `archives` what is known of the PostgreSQL clusters in them; returns refusals.
fn examine_clusters(archives: &mut [PlannedArchive], allow_outside_links: bool) -> Vec<Error> {
    let targets: Vec<Target> = archives.iter().map(|planned| planned.target.clone()).collect();
    let mut refusals = Vec::new();
    for PlannedArchive { target, measured, versions, outside_links, .. } in archives {
        let Some(measured) = measured else { continue };
        *versions = Versions::of_backup(target, &measured.clusters);
        *outside_links = postgres::outside_links(target, &measured.clusters, targets.iter());
        if !allow_outside_links {
            refusals.extend(postgres::incomplete(&target.archive, outside_links));
        }
    }
    refusals
}

/// Returns the format that the guide of the stack writes. The containers tell its generation.
fn guide_format(layout: &Layout, inventory: &Inventory, targets: &[Target]) -> Format {
    let Some(later) = &layout.gzip_with else { return Format::Bzip2 };
    let is_later = |container: &Container| container.name == *later || container.service.as_ref() == Some(later);
    let is_of_stack = |container: &Container| {
        targets.iter().any(|target| target.project.is_none() || target.project == container.project)
    };
    let found = inventory.containers.iter().any(|container| is_later(container) && is_of_stack(container));
    if found { Format::Gzip } else { Format::Bzip2 }
}

/// Returns notes on archives of this name that the sink has in other formats.
fn other_formats(archive: &str, format: Format, sink: &Sink, facts: &dyn Facts) -> Vec<String> {
    let others = Format::ALL.into_iter().filter(|other| *other != format).map(|other| sink.destination(archive, other));
    let there = others.filter(|destination| facts.occupied(destination) != Occupied::No);
    there.map(|destination| format!("{archive}: '{destination}' is there too; a restore takes the newer one")).collect()
}

/// Returns the least that the tree of an archive must hold.
fn expected(spec: &ArchiveSpec, allow_empty: bool) -> Expected {
    match (allow_empty, spec.database) {
        (true, _) => Expected::Anything,
        (false, true) => Expected::Database,
        (false, false) => Expected::Members,
    }
}

/// Returns whether the mounts `before` are those that are found `now`.
fn is_there_still(before: &[LiveMount], now: &[LiveMount]) -> bool {
    let same =
        |before: &LiveMount, now: &LiveMount| before.at == now.at && before.lineage.first() == now.lineage.first();
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| same(before, now))
}

fn too_empty(target: &Target, measured: &Measured, expected: Expected) -> Option<Error> {
    let what = expected.missing(measured.members, measured.one_file, measured.database)?;
    let excluded = if measured.excluded > 0 { ", without what is excluded" } else { "" };
    Some(
        Error::refused(format!("{}: '/{}' {what}{excluded}", target.archive, target.tree.path))
            .hint("is this the right volume? --allow-empty overrides this"),
    )
}

fn occupied(target: &Target, destination: &Destination, occupied: Occupied, overwrite: bool) -> Option<Error> {
    let hint = match occupied {
        Occupied::No => return None,
        Occupied::File if overwrite => return None,
        Occupied::File => "--overwrite replaces it once the new one is complete; or name another directory",
        Occupied::Other => "it is not a regular file: remove it or name another directory",
    };
    Some(Error::refused(format!("{}: '{destination}' exists already", target.archive)).hint(hint))
}

fn archive_bytes(archives: &[PlannedArchive]) -> u64 {
    archives.iter().filter_map(|planned| planned.measured.as_ref()).map(|measured| measured.archive_bytes).sum()
}

/// Returns whether there is room for the archives, as far as that is known.
fn fit_in(archives: &[PlannedArchive], condition: &Condition) -> bool {
    let fits = |free: u64| archive_bytes(archives) <= free.saturating_add(free * MARGIN_PERCENT / 100);
    condition.free_bytes.is_none_or(fits)
}

/// Returns the refusals that follow from the state of the sink.
fn sink_refusals(archives: &[PlannedArchive], sink: &Sink, condition: &Condition) -> Vec<Error> {
    let mut refusals: Vec<Error> = condition.obstacle.iter().map(Error::refused).collect();
    for planned in archives {
        for mount in planned.mounts.iter().filter(|mount| mount.holds(&condition.lineage)) {
            refusals.push(
                Error::refused(format!(
                    "{}: {sink} lies inside what is to be archived ('{}')",
                    planned.target.archive,
                    mount.path.display()
                ))
                .hint("name a directory outside of the volume"),
            );
        }
    }
    if let Some(free) = condition.free_bytes
        && !fit_in(archives, condition)
    {
        let wanted = archive_bytes(archives);
        refusals.push(
            Error::refused(format!(
                "too little space at {sink}: the archives will take about {}, and {} are free",
                units::bytes(wanted),
                units::bytes(free)
            ))
            .hint("make room, name another directory, or take fewer archives with --only"),
        );
    }
    refusals
}
