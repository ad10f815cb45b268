//! The plan of a restore: which archive is extracted to which mounts, in which way, and every refusal.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::facts::Facts;
use super::measure::time_of_all;
use super::postgres::{self, Versions};
use super::sources::{Named, Sources, Strangers, find};
use super::stopping::{self, Stopping};
use super::{Running, unreal, users};
use super::{checks, creation, images, overlaps, prefix, room};
use crate::check::Check;
use crate::error::{Error, ErrorKind, Result};
use crate::host::containers::ContainerCheck;
use crate::host::mounts::LeftOut;
use crate::host::{Container, Host, Inventory, NewVolume};
use crate::layout::Layout;
use crate::member::RelPath;
use crate::resolve::{Missing, Selection, Target, not_found, survey};
use crate::store::Location;
use crate::touched;
use crate::volume::restore_record::Unfinished;

use crate::extractor::Relation;
pub use crate::extractor::{Input, Mode, Origin, Parts};

pub use crate::live_mounts::LiveMount;
pub use crate::volume::live::{LiveKind, Way};

/// The arguments of a restore.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct RestoreRequest {
    /// The archives that can be restored.
    pub layout: Layout,
    /// Which of them are restored.
    pub selection: Selection,
    /// Directories with archives, or single archives.
    pub sources: Vec<PathBuf>,
    /// How members are extracted.
    pub mode: Mode,
    /// Whether the replaced trees are kept.
    pub keep_previous: bool,
    /// Whether nested mounts that are read-only are left as they are; else they are refused.
    pub skip_read_only: bool,
    /// What is done about running containers; [`Running::Allow`] is treated as [`Running::Refuse`].
    pub running: Running,
    /// Whether empty archives are accepted.
    pub allow_empty: bool,
    /// Whether archives without an end are accepted.
    pub allow_truncated_end: bool,
    /// Whether PostgreSQL clusters are restored of another version than that of the volume or the server.
    pub force_version: bool,
    /// The directory in the archives whose content is restored; `None` for the path of the layout.
    pub from: Option<RelPath>,
    /// The paths that are restored: below the root of the tree, or as an archive lists them; all if there are none.
    pub paths: Vec<RelPath>,
    /// Whether volumes that do not exist are created.
    pub create_volumes: bool,
    /// The commands that tell whether the application works, after its containers were started.
    pub checks: Vec<Check>,
    /// How long all of them are repeated until they succeed.
    pub check_limit: Duration,
}

impl RestoreRequest {
    /// Reads those containers and volumes of `host` that concern the request.
    ///
    /// # Errors
    /// As [`Host::inventory`].
    pub fn inventory(&self, host: &dyn Host) -> Result<Inventory> {
        let whole_projects = self.running == Running::StopProject;
        touched::inventory(host, &self.layout, &self.selection.volumes, whole_projects)
    }
}

/// The plan of a restore.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    /// Where the inventory comes from.
    pub source: String,
    /// Notes on the inventory.
    pub notes: Vec<String>,
    /// The archives, in the layout's order.
    pub archives: Vec<PlannedRestore>,
    /// The archives whose volumes are created first. Then the restore is planned again.
    pub created: Vec<PlannedCreation>,
    /// The archives of the sources that are not in the layout, if all of a source is restored.
    pub foreign: Vec<Location>,
    /// How members are extracted.
    pub mode: Mode,
    /// Whether the replaced trees are kept.
    pub keep_previous: bool,
    /// The estimated time for decompressing the archives; `None` if it is unknown, or before [`RestorePlan::estimate`].
    pub time: Option<Duration>,
    /// The threads that share the work.
    pub threads: usize,
    /// All containers that use the volumes, each once.
    pub users: Vec<Container>,
    /// The containers that are stopped and started again.
    pub to_stop: Vec<Container>,
    /// The names of the running containers of the same compose projects that do not use the volumes, and are not stopped.
    pub left_running: Vec<String>,
    /// What is run in containers after they were started.
    pub checks: Vec<ContainerCheck>,
    /// The reasons to refuse; empty if the restore can be done.
    pub refusals: Vec<Error>,
}

/// One archive of a [`RestorePlan`].
#[derive(Debug, Clone)]
pub struct PlannedRestore {
    /// The container and the mounts.
    pub target: Target,
    /// The archive.
    pub input: Input,
    /// Its length in bytes; `None` if unknown.
    pub archive_bytes: Option<u64>,
    /// The mounts as they are on this host; empty where they are not found.
    pub mounts: Vec<LiveMount>,
    /// The versions of the PostgreSQL clusters in it, as far as its beginning tells them.
    pub versions: Vec<Versions>,
}

/// An archive whose volume does not exist, and is created.
#[derive(Debug, Clone)]
pub struct PlannedCreation {
    /// The volume.
    pub volume: NewVolume,
    /// The archive.
    pub input: Input,
}

/// Plans a restore; `source` describes where the inventory comes from.
///
/// # Errors
/// The sources hold no archive of the layout, or the run was interrupted.
pub fn plan(request: &RestoreRequest, source: String, inventory: &Inventory, facts: &dyn Facts) -> Result<RestorePlan> {
    let Sources { archives: found, notes: older, foreign, manifests } =
        find(&request.layout, &request.selection, &request.sources, Strangers::Refuse, facts)?;
    one_archive(&request.paths, &found)?;
    let only = found.iter().map(|(name, _)| name.clone()).collect();
    let mut resolution = survey(&request.layout, inventory, &Selection { only, ..request.selection.clone() })?;
    let mut notes = inventory.notes.clone();
    notes.append(&mut resolution.notes);
    notes.extend(older);
    notes.extend(images::other_images(&manifests, &resolution.targets));
    notes.extend(overlaps::leave_nested(&mut resolution.targets, &[]));
    if request.skip_read_only {
        notes.extend(resolution.targets.iter_mut().flat_map(skip_read_only));
    }
    let mut refusals: Vec<Error> = inventory.refusals().collect();
    let mut created = Vec::new();
    if request.create_volumes {
        for Missing { archive, .. } in &resolution.missing {
            let planned = create(archive, &found, request, inventory, facts, &mut notes);
            match planned {
                Ok(planned) => created.extend(planned),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => refusals.push(error),
            }
        }
    } else {
        refusals.extend(not_found(&resolution.missing, CREATE));
    }
    refusals.extend(resolution.problems);
    let mut checks = Vec::new();
    if inventory.labels_unknown && !request.checks.is_empty() {
        notes.push("the checks of the layout are not run: with --data-root no engine is used".to_owned());
    } else {
        let project = request.selection.project.as_deref();
        for check in &request.checks {
            match checks::find(check, project, &resolution.targets, inventory, &mut notes) {
                Ok(check) => checks.push(check),
                Err(error) => refusals.push(error),
            }
        }
    }
    let users = users(resolution.targets.iter());
    let running = if request.running == Running::Allow { Running::Refuse } else { request.running };
    let stopping = stopping::decide(&users, resolution.targets.iter(), inventory, running);
    let Stopping { to_stop, left_running, .. } = stopping;
    refusals.extend(stopping.refusals);
    notes.extend(stopping.notes);
    let mut archives: Vec<PlannedRestore> = Vec::new();
    for target in resolution.targets {
        let Some((_, location)) = found.iter().find(|(name, _)| *name == target.archive) else { continue };
        let name = target.archive.clone();
        for other in facts.unfinished(&target.tree)? {
            match other {
                Unfinished::InProgress(_) => refusals.push(other.refusal().within(&name)),
                Unfinished::Interrupted(_) => notes.push(format!("{name}: {}; it is undone first", other.refusal())),
            }
        }
        let reasons = unreal(&target, inventory, facts)?;
        let is_real = reasons.is_empty();
        refusals.extend(reasons);
        refusals.extend(read_only(&target));
        refusals.extend(read_twice(&name, location, request.mode));
        let input = Input {
            allow_empty: request.allow_empty,
            allow_truncated_end: request.allow_truncated_end,
            ..Input::new(&name, location, &target.tree.path)
        };
        notes.extend(unknown_end(&name, location));
        let archive_bytes = facts.archive_bytes(location);
        let mut planned = PlannedRestore { archive_bytes, target, input, mounts: Vec::new(), versions: Vec::new() };
        if is_real {
            refusals.extend(examine(&mut planned, request, facts, &mut notes)?);
        }
        archives.push(planned);
    }
    refusals
        .extend(overlaps::between(archives.iter().map(|planned| (&planned.target.archive[..], &planned.mounts[..]))));
    if request.mode != Mode::Merge {
        refusals
            .extend(archives.iter().filter_map(|planned| overlaps::within(&planned.target.archive, &planned.mounts)));
    }
    // Reading archives takes time.
    if request.mode == Mode::Replace && refusals.is_empty() {
        let staged: Vec<_> = archives.iter().map(staged).collect();
        refusals.extend(room::too_little(&staged, facts, &mut notes)?);
    }
    Ok(RestorePlan {
        source,
        time: None,
        threads: facts.threads(),
        notes,
        archives,
        created,
        foreign,
        mode: request.mode,
        keep_previous: request.keep_previous,
        to_stop,
        left_running,
        checks,
        users,
        refusals,
    })
}

impl RestorePlan {
    /// Adds the time in which the archives are decompressed, by a short trial of each. Only a plan that is printed needs it.
    #[must_use]
    pub fn estimate(self, facts: &dyn Facts) -> Self {
        let work = |planned: &PlannedRestore| {
            let decompression = facts.decompression(&planned.input.location)?;
            Some((decompression.time, decompression.is_parallel))
        };
        let works: Option<Vec<_>> = self.archives.iter().map(work).collect();
        Self { time: works.map(|works| time_of_all(&works, self.threads)), ..self }
    }

    /// Returns all refusals as one error.
    ///
    /// # Errors
    /// There is a refusal.
    pub fn check(&self) -> Result<()> {
        Error::none_of(self.refusals.clone())
    }

    /// Returns the archives to extract.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.archives.iter().map(|planned| &planned.input)
    }

    /// Returns the trees to restore.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.archives.iter().map(|planned| &planned.target)
    }
}

fn staged(planned: &PlannedRestore) -> room::Staged<'_> {
    let PlannedRestore { target, input, archive_bytes, mounts, versions: _ } = planned;
    let left_out = target.tree.mounts.iter().filter(|mount| mount.left_out.is_some());
    let left_out = left_out.map(|mount| &mount.at).collect();
    room::Staged { input, bytes: *archive_bytes, mounts, left_out, ids: &target.tree.ids }
}

/// What can be done where something is missing.
const CREATE: &str = "`docker compose up --no-start` creates the stack, --create-volumes (with --project NAME) only its volumes; --only selects \
                      other archives, --layout FILE describes another stack";

/// Plans to create the volume of an archive. The archive is examined before anything is created for it.
fn create(
    archive: &str,
    found: &[Named],
    request: &RestoreRequest,
    inventory: &Inventory,
    facts: &dyn Facts,
    notes: &mut Vec<String>,
) -> Result<Option<PlannedCreation>> {
    let (Some(spec), Some((_, location))) =
        (request.layout.archive(archive), found.iter().find(|(name, _)| name == archive))
    else {
        return Ok(None);
    };
    let volume = creation::new_volume(spec, &request.selection, inventory)?;
    let input = Input {
        allow_empty: request.allow_empty,
        allow_truncated_end: request.allow_truncated_end,
        ..Input::new(archive, location, &spec.path)
    };
    let other_paths: Vec<RelPath> = spec.alternatives.iter().map(|one| one.path.clone()).collect();
    let input = prefix::fitting(&input, &other_paths, (request.from.as_ref(), &request.layout), facts, notes)?;
    Ok(Some(PlannedCreation { volume, input }))
}

/// Adds to `planned` its mounts and the prefix of its archive; returns refusals.
fn examine(
    planned: &mut PlannedRestore,
    request: &RestoreRequest,
    facts: &dyn Facts,
    notes: &mut Vec<String>,
) -> Result<Vec<Error>> {
    let mode = request.mode;
    let mut refusals = Vec::new();
    match facts.live_mounts(&planned.target.tree) {
        Ok(mounts) => planned.mounts = mounts,
        Err(error) => refusals.push(error.within(&planned.target.archive)),
    }
    match prefix::fitting(
        &planned.input,
        &planned.target.alternative_paths,
        (request.from.as_ref(), &request.layout),
        facts,
        notes,
    ) {
        Ok(input) => {
            planned.input = input;
            refusals.extend(other_versions(planned, request, facts, notes)?);
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
        Err(error) => refusals.push(error),
    }
    if !request.paths.is_empty() && refusals.is_empty() {
        match facts.parts(&planned.input, &request.paths) {
            Ok(parts) => {
                refusals.extend(facts.check_parts(&planned.target.tree, &parts).err());
                planned.input.parts = parts;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => refusals.push(error),
        }
    }
    if mode != Mode::Merge {
        refusals.extend(filesystems_inside(planned, facts)?);
    }
    refusals.extend(inside_itself(planned, facts));
    Ok(refusals)
}

/// Adds to `planned` the versions of its PostgreSQL clusters; returns refusals.
fn other_versions(
    planned: &mut PlannedRestore,
    request: &RestoreRequest,
    facts: &dyn Facts,
    notes: &mut Vec<String>,
) -> Result<Vec<Error>> {
    let PlannedRestore { target, input, .. } = planned;
    let is_database = request.layout.archive(&target.archive).is_some_and(|spec| spec.database);
    planned.versions = postgres::versions_at_first(target, input, is_database, facts)?;
    let refusals = planned.versions.iter().filter_map(|versions| versions.refusal(&planned.target.archive));
    if !request.force_version {
        return Ok(refusals.collect());
    }
    notes.extend(refusals.map(|refusal| format!("{refusal} (--force-version)")));
    Ok(Vec::new())
}

/// Checks that there is one archive that `paths` are restored from.
pub(super) fn one_archive(paths: &[RelPath], found: &[Named]) -> Result<()> {
    if paths.is_empty() || found.len() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    Err(Error::usage(format!("--path is for one archive, and there are {}: {}", names.len(), names.join(", ")))
        .hint("say with --only NAME which one"))
}

/// Returns a note on what cannot be known about a stream before it is read.
fn unknown_end(archive: &str, location: &Location) -> Option<String> {
    location.is_stream().then(|| {
        format!(
            "{archive}: only the first members of {location} are known: whether the archive is complete, and whether it \
             fits, is found out while it is extracted beside the live tree"
        )
    })
}

/// Leaves the nested mounts that are read-only as they are; returns notes that say so.
fn skip_read_only(target: &mut Target) -> Vec<String> {
    let mut notes = Vec::new();
    let nested = target.tree.mounts.iter_mut().filter(|mount| !mount.at.is_root());
    for mount in nested.filter(|mount| mount.read_only && mount.left_out.is_none()) {
        mount.left_out = Some(LeftOut::ReadOnly);
        notes.push(format!("{}: '{}' is mounted read-only and left as it is", target.archive, mount.destination));
    }
    notes
}

/// Returns the refusal of an archive that would have to be read twice, and cannot be.
fn read_twice(archive: &str, location: &Location, mode: Mode) -> Option<Error> {
    let option = match mode {
        Mode::Replace => return None,
        Mode::Merge => "--merge",
        Mode::InPlace => "--in-place",
    };
    location.is_stream().then(|| {
        Error::refused(format!(
            "{archive}: {option} checks the complete archive before it changes a file, and {location} can be read only once"
        ))
        .hint(format!("leave out {option}, or write the archive to a file first: `cat > FILE`"))
    })
}

/// Returns the refusals of mounts that are read-only.
fn read_only(target: &Target) -> Vec<Error> {
    let refusals = target.tree.read_only().map(|mount| {
        let refusal = Error::refused(format!("{}: '{}' is mounted read-only", target.archive, mount.destination));
        let hint = "restore through a container that mounts it read-write (a layout file can name it)";
        if mount.at.is_root() {
            refusal.hint(hint)
        } else {
            refusal.hint(format!("{hint}, or leave it with --skip-read-only"))
        }
    });
    refusals.collect()
}

/// Returns the refusals of trees in which this host has other filesystems mounted.
fn filesystems_inside(planned: &PlannedRestore, facts: &dyn Facts) -> Result<Vec<Error>> {
    let mut refusals = Vec::new();
    let parts = &planned.input.parts;
    for mount in &planned.mounts {
        // What is replaced takes with it what is mounted in it.
        let is_inside = |below: &&PathBuf| {
            let path = below.strip_prefix(&mount.path).ok().map(|path| path.as_os_str().as_bytes());
            let path = path.and_then(|path| RelPath::parse(path).ok());
            path.is_none_or(|path| parts.relation(&mount.at.concat(&path)) != Relation::Outside)
        };
        refusals.extend(facts.mounted_below(&mount.path)?.iter().filter(is_inside).map(|below| {
            Error::refused(format!(
                "{}: a filesystem of this host is mounted at '{}', inside '{}'",
                planned.target.archive,
                below.display(),
                mount.path.display()
            ))
            .hint("replacing the directory would take that filesystem with it: unmount it, or use --merge")
        }));
    }
    Ok(refusals)
}

/// Returns the refusals of what the restore itself needs and would replace: its archive, and voltar's records.
fn inside_itself(planned: &PlannedRestore, facts: &dyn Facts) -> Vec<Error> {
    let state_dir = facts.state_dir();
    let archive = planned.input.location.file().map(|path| (path, "the archive"));
    let mut refusals = Vec::new();
    for (path, what) in archive.into_iter().chain([(state_dir, "the directory of voltar's records")]) {
        let lineage = facts.lineage(path);
        refusals.extend(planned.mounts.iter().filter(|mount| mount.holds(&lineage)).map(|mount| {
            Error::refused(format!(
                "{}: {what} '{}' lies inside what is to be restored ('{}')",
                planned.target.archive,
                path.display(),
                mount.path.display()
            ))
            .hint("move it out of there first")
        }));
    }
    refusals
}
