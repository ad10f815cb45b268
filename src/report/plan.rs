//! Renders a plan as text for people, and as one JSON document. Both only present the content of the plan.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::filesystem::Filesystem;
use crate::host::containers::ContainerCheck;
use crate::host::mounts::{LeftOut, TreeMount};
use crate::host::{Container, MountKind, State};
use crate::member::{RelPath, printable_path};
use crate::plan::backup::{BackupPlan, PlannedArchive};
use crate::plan::restore::{Input, LiveKind, LiveMount, Mode, PlannedCreation, PlannedRestore, RestorePlan, Way};
use crate::plan::scope::PlannedScope;
use crate::report::database::{self, Postgresql};
use crate::report::text::safe;
use crate::resolve::Target;
use crate::store::{Destination, Sink};
use crate::units;

/// What stands for a figure that could not be measured.
pub(super) const UNKNOWN: &str = "unknown";

/// Returns the plan of a backup as text of complete lines.
#[must_use]
pub fn backup_text(plan: &BackupPlan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write_backup(&mut text, plan).unwrap_or_default();
    text
}

/// Returns the plan of a restore as text of complete lines.
#[must_use]
pub fn restore_text(plan: &RestorePlan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write_restore(&mut text, plan).unwrap_or_default();
    text
}

/// Writes what comes before an archive of changes, and which members are restored, unless it is all of the archive of the path.
pub(super) fn selected(text: &mut String, input: &Input, path: &RelPath) -> std::fmt::Result {
    let Input { location, prefix, selected, parts, .. } = input;
    if let Some(full) = location.full_archive() {
        writeln!(text, "  changes    since {full}, which is restored first")?;
    }
    if *selected {
        writeln!(text, "  from       '{prefix}' in the archive; members outside of it are skipped")?;
    } else if prefix != path {
        writeln!(text, "  archive of /{prefix}")?;
    }
    parts.paths().try_for_each(|part| writeln!(text, "  only       '{part}', with all that lies below it"))
}

fn write_backup(text: &mut String, plan: &BackupPlan) -> std::fmt::Result {
    head(text, &plan.source, &plan.notes)?;
    for planned in &plan.archives {
        archive(text, planned)?;
    }
    if !plan.archives.is_empty() || !plan.left_out.is_empty() {
        writeln!(text)?;
    }
    if !plan.left_out.is_empty() {
        writeln!(text, "left out: {} (--all adds them)", plan.left_out.join(", "))?;
    }
    if !plan.archives.is_empty() {
        let wanted = plan.archive_bytes().map_or(UNKNOWN.to_owned(), |bytes| format!("about {}", units::bytes(bytes)));
        let free = plan.free_bytes.map_or(UNKNOWN.to_owned(), units::bytes);
        writeln!(text, "free at {}: {free}, needed: {wanted}", plan.sink)?;
        time(text, plan.time, plan.threads)?;
    }
    stopped(text, &plan.to_stop, &plan.users, &plan.left_running)?;
    refusals(text, "A backup", &plan.refusals)
}

fn write_restore(text: &mut String, plan: &RestorePlan) -> std::fmt::Result {
    head(text, &plan.source, &plan.notes)?;
    for planned in &plan.archives {
        restored(text, planned, plan.mode)?;
    }
    for PlannedCreation { volume, input } in &plan.created {
        let name = safe(&volume.name);
        let project = if volume.labels.is_empty() { "" } else { ", with compose's labels" };
        writeln!(text, "\n{} <- {}\n  path       /{}", safe(&input.archive), input.location, input.path)?;
        writeln!(text, "  volume     {name}, which is created first{project}")?;
    }
    writeln!(text)?;
    for location in &plan.foreign {
        writeln!(text, "not restored: {location}, which is not in the layout")?;
    }
    time(text, plan.time, plan.threads)?;
    stopped(text, &plan.to_stop, &plan.users, &plan.left_running)?;
    if plan.mode == Mode::Replace {
        let kept = if plan.keep_previous { "kept" } else { "removed once all of it is restored" };
        writeln!(text, "previous content: {kept}")?;
    }
    plan.checks.iter().try_for_each(|check| writeln!(text, "checked at the end: {}", safe(&check.to_string())))?;
    refusals(text, "A restore", &plan.refusals)
}

/// Writes how long the run will take, as far as a short trial can say it.
fn time(text: &mut String, time: Option<Duration>, threads: usize) -> std::fmt::Result {
    match time {
        None => writeln!(text, "time: {UNKNOWN}"),
        Some(time) => {
            let plural = if threads == 1 { "" } else { "s" };
            writeln!(text, "time: about {} with {threads} thread{plural}, if the disk keeps up", units::about(time))
        }
    }
}

fn head(text: &mut String, source: &str, notes: &[String]) -> std::fmt::Result {
    writeln!(text, "from {}", safe(source))?;
    notes.iter().try_for_each(|note| writeln!(text, "note: {}", safe(note)))
}

fn archive(text: &mut String, planned: &PlannedArchive) -> std::fmt::Result {
    writeln!(text, "\n{} -> {}", safe(&planned.target.archive), planned.destination)?;
    target(text, &planned.target)?;
    database::versions(text, &planned.versions)?;
    database::outside_links(text, &planned.outside_links)?;
    match &planned.scope {
        PlannedScope::All | PlannedScope::Indexed => {}
        PlannedScope::AllOrSame(full) => {
            writeln!(text, "  database   all of it, unless nothing has changed since the set {}", full.set)?;
        }
        PlannedScope::Twice => {
            writeln!(text, "  two passes before containers are stopped, and what has changed since")?;
        }
        PlannedScope::Changes(full) => writeln!(text, "  changes    since the full archive in the set {}", full.set)?,
    }
    match &planned.measured {
        None => writeln!(text, "  size       {UNKNOWN}"),
        Some(measured) if matches!(planned.scope, PlannedScope::Changes(_)) => writeln!(
            text,
            "  size       {} of {} members, {} of files; the archive will take about {}",
            units::count(measured.archived),
            units::count(measured.members),
            units::bytes(measured.file_bytes),
            units::bytes(measured.archive_bytes)
        ),
        Some(measured) => writeln!(
            text,
            "  size       {} members{}, {} of files; the archive will take about {}",
            units::count(measured.members),
            if measured.excluded == 0 {
                String::new()
            } else {
                format!(" ({} excluded)", units::count(measured.excluded))
            },
            units::bytes(measured.file_bytes),
            units::bytes(measured.archive_bytes)
        ),
    }
}

fn restored(text: &mut String, planned: &PlannedRestore, mode: Mode) -> std::fmt::Result {
    let length = planned.archive_bytes.map_or(format!("length {UNKNOWN}"), units::bytes);
    writeln!(text, "\n{} <- {} ({length})", safe(&planned.target.archive), planned.input.location)?;
    target(text, &planned.target)?;
    selected(text, &planned.input, &planned.target.tree.path)?;
    planned.versions.iter().try_for_each(|versions| database::versions(text, versions))?;
    if planned.input.parts.is_all() {
        for mount in &planned.mounts {
            let at = if mount.at.is_root() { String::new() } else { format!("{}: ", mount.at) };
            writeln!(text, "  extracted  {at}{}", way_text(mount, mode))?;
        }
    } else {
        let way = if mode == Mode::Merge {
            "over what is there"
        } else {
            "to a staged tree; then each takes the place of what is there"
        };
        writeln!(text, "  extracted  {way}; everything else stays as it is")?;
    }
    let free = planned.mounts.first().and_then(|root| root.room).map(|room| room.bytes);
    writeln!(text, "  free       {}", free.map_or(UNKNOWN.to_owned(), units::bytes))
}

fn way_text(mount: &LiveMount, mode: Mode) -> &'static str {
    match (mode, mount.kind) {
        (_, LiveKind::File) => "to a temporary file that replaces the mounted one",
        (Mode::Replace, LiveKind::Directory) => match mount.way {
            Way::Exchange => "to a staged tree beside it; the two are exchanged in one step",
            Way::Entries => "to a staged tree inside it; the entries of the two are exchanged one by one",
        },
        (Mode::Merge, LiveKind::Directory) => "over the live tree; what the archive does not name stays",
        (Mode::InPlace, LiveKind::Directory) => "over the live tree; what the archive does not name is removed",
    }
}

fn target(text: &mut String, target: &Target) -> std::fmt::Result {
    let container = match &target.container {
        Some(container) => named(container),
        None if target.by_name => "none; its volume was found by its name".to_owned(),
        None => "gone; its volume was found by its labels".to_owned(),
    };
    writeln!(text, "  container  {container}")?;
    writeln!(text, "  path       /{}", target.tree.path)?;
    for mount in &target.tree.mounts {
        let source = printable_path(&mount.root());
        let at = if mount.at.is_root() { String::new() } else { format!(" at {}", mount.at) };
        match &mount.left_out {
            None => {}
            Some(LeftOut::Archive(archive)) => {
                writeln!(text, "  left out  {at}: the archive {} holds that volume", safe(archive))?;
                continue;
            }
            Some(LeftOut::ReadOnly) => {
                writeln!(text, "  left out  {at}: mounted read-only")?;
                continue;
            }
        }
        let access = if mount.read_only { ", read-only" } else { "" };
        match &mount.kind {
            MountKind::Volume { name, .. } => {
                let filesystem =
                    mount.filesystem.as_ref().map(|filesystem| format!(" ({})", safe(&filesystem.describe())));
                writeln!(text, "  volume     {}{at}: {source}{access}{}", safe(name), filesystem.unwrap_or_default())?;
            }
            MountKind::Bind => writeln!(text, "  bind{at:10} {source}{access}")?,
            MountKind::Tmpfs => writeln!(text, "  tmpfs     {at}: memory, archived as an empty directory")?,
            MountKind::Other(kind) => writeln!(text, "  {}{at}: {source}{access}", safe(kind))?,
        }
    }
    if target.users.is_empty() {
        return writeln!(text, "  used by    no container");
    }
    for (index, user) in target.users.iter().enumerate() {
        let label = if index == 0 { "used by" } else { "" };
        // The image's tag is the version of the application.
        let image = if user.image.is_empty() { String::new() } else { format!("  {}", safe(&user.image)) };
        writeln!(text, "  {label:10} {}{image}", named(user))?;
    }
    Ok(())
}

fn stopped(
    text: &mut String,
    containers: &[Container],
    users: &[Container],
    left_running: &[String],
) -> std::fmt::Result {
    let listed = |of_project: bool| -> Vec<String> {
        let those = containers.iter().filter(|one| is_user(one, users) != of_project);
        those.map(|container| safe(&container.name)).collect()
    };
    let (using, of_project) = (listed(false), listed(true));
    if !using.is_empty() {
        writeln!(text, "stopped meanwhile, and started again: {}", using.join(", "))?;
    }
    if !of_project.is_empty() {
        writeln!(text, "likewise, as part of the compose project: {}", of_project.join(", "))?;
    }
    if !left_running.is_empty() {
        let names: Vec<String> = left_running.iter().map(|name| safe(name)).collect();
        writeln!(text, "left running, of the same compose project: {} (--stop=project stops them)", names.join(", "))?;
    }
    Ok(())
}

fn is_user(container: &Container, users: &[Container]) -> bool {
    users.iter().any(|user| user.id == container.id)
}

pub(super) fn refusals(text: &mut String, what: &str, refusals: &[Error]) -> std::fmt::Result {
    if refusals.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{what} would be refused:")?;
    // Refusals with the same hint stand together, and the hint after the last of them.
    let mut groups: Vec<(Option<&str>, Vec<&Error>)> = Vec::new();
    for refusal in refusals {
        let hint = refusal.advice();
        match groups.iter_mut().find(|(other, _)| hint.is_some() && *other == hint) {
            Some((_, group)) => group.push(refusal),
            None => groups.push((hint, vec![refusal])),
        }
    }
    for (hint, group) in groups {
        for refusal in group {
            writeln!(text, "  - {}", safe(&refusal.to_string()))?;
        }
        if let Some(hint) = hint {
            writeln!(text, "    {}", safe(hint))?;
        }
    }
    Ok(())
}

fn named(container: &Container) -> String {
    format!("{} ({})", safe(&container.name), state(container.state))
}

fn state(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Running => "running",
        State::Paused => "paused",
    }
}

/// The plan of a backup as one JSON document. Fields may be added, but a field never changes its meaning.
#[derive(Serialize)]
pub struct BackupDocument<'a> {
    source: &'a str,
    notes: &'a [String],
    archives: Vec<Archive<'a>>,
    left_out: &'a [String],
    /// Named `folder` in the document, for compatibility.
    #[serde(rename = "folder")]
    directory: Option<String>,
    sink: &'a str,
    free_bytes: Option<u64>,
    estimated_seconds: Option<f64>,
    stopped: Vec<&'a str>,
    stop_reasons: Vec<Stopped<'a>>,
    left_running: &'a [String],
    refusals: Vec<Refusal<'a>>,
}

/// The plan of a restore as one JSON document. Fields may be added, but a field never changes its meaning.
#[derive(Serialize)]
pub struct RestoreDocument<'a> {
    source: &'a str,
    notes: &'a [String],
    archives: Vec<Restored<'a>>,
    /// The archives whose volumes are created first.
    created: Vec<Created<'a>>,
    /// The archives of the sources that are not in the layout.
    not_restored: Vec<String>,
    mode: &'a str,
    keep_previous: bool,
    estimated_seconds: Option<f64>,
    stopped: Vec<&'a str>,
    stop_reasons: Vec<Stopped<'a>>,
    left_running: &'a [String],
    checks: Vec<Checked<'a>>,
    refusals: Vec<Refusal<'a>>,
}

#[derive(Serialize)]
struct Checked<'a> {
    container: &'a str,
    command: &'a str,
}

#[derive(Serialize)]
struct Archive<'a> {
    name: &'a str,
    file: String,
    command: Option<&'a str>,
    #[serde(flatten)]
    tree: Tree<'a>,
    postgresql: Option<Postgresql>,
    /// The set with the full archive, if only what has changed since is archived.
    since: Option<String>,
    members: Option<u64>,
    /// Fewer, if only what has changed is.
    archived: Option<u64>,
    excluded: Option<u64>,
    file_bytes: Option<u64>,
    stream_bytes: Option<u64>,
    estimated_archive_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Restored<'a> {
    name: &'a str,
    file: String,
    #[serde(flatten)]
    tree: Tree<'a>,
    postgresql: Option<Postgresql>,
    prefix: String,
    skips_others: bool,
    /// The paths in the tree that are restored; all of it if there are none.
    paths: Vec<String>,
    archive_bytes: Option<u64>,
    free_bytes: Option<u64>,
    ways: Vec<&'a str>,
}

#[derive(Serialize)]
struct Created<'a> {
    name: &'a str,
    file: String,
    path: String,
    volume: &'a str,
    labels: &'a BTreeMap<String, String>,
}

impl<'a> Created<'a> {
    fn new(planned: &'a PlannedCreation) -> Self {
        Self {
            name: &planned.input.archive,
            file: planned.input.location.path().to_string_lossy().into_owned(),
            path: format!("/{}", planned.input.path),
            volume: &planned.volume.name,
            labels: &planned.volume.labels,
        }
    }
}

#[derive(Serialize)]
struct Tree<'a> {
    container: Option<&'a str>,
    state: Option<&'a str>,
    path: String,
    mounts: Vec<Mounted<'a>>,
    users: Vec<User<'a>>,
}

#[derive(Serialize)]
struct Mounted<'a> {
    kind: &'a str,
    volume: Option<&'a str>,
    destination: &'a str,
    at: String,
    source: String,
    /// The filesystem that is mounted at the source while the volume is used, without passwords.
    filesystem: Option<String>,
    read_only: bool,
}

#[derive(Serialize)]
struct User<'a> {
    container: &'a str,
    state: &'a str,
    image: &'a str,
}

/// Why a container is stopped: it `uses_volumes`, or is one of the `project`.
#[derive(Serialize)]
struct Stopped<'a> {
    container: &'a str,
    reason: &'a str,
    project: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Refusal<'a> {
    code: &'static str,
    message: String,
    hint: Option<&'a str>,
}

impl<'a> BackupDocument<'a> {
    /// Returns the document of `plan`.
    #[must_use]
    pub fn new(plan: &'a BackupPlan) -> Self {
        Self {
            source: &plan.source,
            notes: &plan.notes,
            archives: plan.archives.iter().map(Archive::new).collect(),
            left_out: &plan.left_out,
            directory: plan.sink.path().map(|path| path.to_string_lossy().into_owned()),
            sink: match &plan.sink {
                Sink::Directory(_) => "directory",
                Sink::Set(_) => "set",
                Sink::Stdout => "stdout",
                Sink::Command(_) => "command",
                Sink::Spool { .. } => "spool",
            },
            free_bytes: plan.free_bytes,
            estimated_seconds: plan.time.map(seconds),
            stopped: container_names(&plan.to_stop),
            stop_reasons: Stopped::all(&plan.to_stop, &plan.users),
            left_running: &plan.left_running,
            refusals: plan.refusals.iter().map(Refusal::new).collect(),
        }
    }
}

impl<'a> RestoreDocument<'a> {
    /// Returns the document of `plan`.
    #[must_use]
    pub fn new(plan: &'a RestorePlan) -> Self {
        Self {
            source: &plan.source,
            notes: &plan.notes,
            archives: plan.archives.iter().map(Restored::new).collect(),
            created: plan.created.iter().map(Created::new).collect(),
            not_restored: plan.foreign.iter().map(|location| location.path().to_string_lossy().into_owned()).collect(),
            mode: match plan.mode {
                Mode::Replace => "replace",
                Mode::Merge => "merge",
                Mode::InPlace => "in_place",
            },
            keep_previous: plan.keep_previous,
            estimated_seconds: plan.time.map(seconds),
            stopped: container_names(&plan.to_stop),
            stop_reasons: Stopped::all(&plan.to_stop, &plan.users),
            left_running: &plan.left_running,
            checks: plan.checks.iter().map(Checked::new).collect(),
            refusals: plan.refusals.iter().map(Refusal::new).collect(),
        }
    }
}

impl<'a> Checked<'a> {
    fn new(check: &'a ContainerCheck) -> Self {
        Self { container: &check.name, command: &check.command }
    }
}

/// Returns an estimated time in tenths of a second.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

fn container_names(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|container| container.name.as_str()).collect()
}

impl<'a> Archive<'a> {
    fn new(planned: &'a PlannedArchive) -> Self {
        let measured = planned.measured.as_ref();
        Self {
            name: &planned.target.archive,
            file: planned.destination.path().to_string_lossy().into_owned(),
            command: match &planned.destination {
                Destination::Command(command) => Some(command.line()),
                Destination::File(_) | Destination::InSet { .. } | Destination::Stdout => None,
            },
            tree: Tree::new(&planned.target),
            postgresql: Postgresql::of(&planned.versions),
            since: match &planned.scope {
                PlannedScope::Changes(full) => Some(full.set.to_string()),
                _ => None,
            },
            members: measured.map(|measured| measured.members),
            archived: measured.map(|measured| measured.archived),
            excluded: measured.map(|measured| measured.excluded),
            file_bytes: measured.map(|measured| measured.file_bytes),
            stream_bytes: measured.map(|measured| measured.stream_bytes),
            estimated_archive_bytes: measured.map(|measured| measured.archive_bytes),
        }
    }
}

impl<'a> Restored<'a> {
    fn new(planned: &'a PlannedRestore) -> Self {
        let way = |mount: &LiveMount| match (mount.kind, mount.way) {
            (LiveKind::File, _) => "file",
            (LiveKind::Directory, Way::Exchange) => "exchange",
            (LiveKind::Directory, Way::Entries) => "entries",
        };
        Self {
            name: &planned.target.archive,
            file: planned.input.location.path().to_string_lossy().into_owned(),
            tree: Tree::new(&planned.target),
            postgresql: planned.versions.first().and_then(Postgresql::of),
            prefix: format!("/{}", String::from_utf8_lossy(planned.input.prefix.as_bytes())),
            skips_others: planned.input.selected,
            paths: planned.input.parts.paths().map(ToString::to_string).collect(),
            archive_bytes: planned.archive_bytes,
            free_bytes: planned.mounts.first().and_then(|root| root.room).map(|room| room.bytes),
            ways: planned.mounts.iter().map(way).collect(),
        }
    }
}

impl<'a> Tree<'a> {
    fn new(target: &'a Target) -> Self {
        let container = target.container.as_ref();
        Self {
            container: container.map(|container| container.name.as_str()),
            state: container.map(|container| state(container.state)),
            path: format!("/{}", target.tree.path),
            mounts: target.tree.mounts.iter().map(Mounted::new).collect(),
            users: target
                .users
                .iter()
                .map(|user| User { container: &user.name, state: state(user.state), image: &user.image })
                .collect(),
        }
    }
}

impl<'a> Mounted<'a> {
    fn new(mount: &'a TreeMount) -> Self {
        let (kind, volume) = match &mount.kind {
            MountKind::Volume { name, .. } => ("volume", Some(name.as_str())),
            MountKind::Bind => ("bind", None),
            MountKind::Tmpfs => ("tmpfs", None),
            MountKind::Other(kind) => (kind.as_str(), None),
        };
        Self {
            kind,
            volume,
            destination: &mount.destination,
            at: if mount.at.is_root() { String::new() } else { mount.at.to_string() },
            source: mount.root().to_string_lossy().into_owned(),
            filesystem: mount.filesystem.as_ref().map(Filesystem::describe),
            read_only: mount.read_only,
        }
    }
}

impl<'a> Stopped<'a> {
    fn all(containers: &'a [Container], users: &[Container]) -> Vec<Self> {
        let stopped = containers.iter().map(|container| Self {
            container: &container.name,
            reason: if is_user(container, users) { "uses_volumes" } else { "project" },
            project: container.project.as_deref(),
        });
        stopped.collect()
    }
}

impl<'a> Refusal<'a> {
    pub(super) fn new(error: &'a Error) -> Self {
        Self { code: error.kind().code(), message: error.to_string(), hint: error.advice() }
    }
}
