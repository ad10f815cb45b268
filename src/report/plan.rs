//! A plan as text for people and as one JSON document. It decides nothing: it prints what is in the plan.

use std::fmt::Write as _;

use serde::Serialize;

use crate::host::mounts::TreeMount;
use crate::host::{Container, MountKind, State};
use crate::member::printable;
use crate::plan::{Plan, Planned};
use crate::report::text::safe;
use crate::units;

/// The plan as text, a line end after each line.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write(&mut text, plan).unwrap_or_default();
    text
}

fn write(text: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(text, "from {}", safe(&plan.source))?;
    for note in &plan.notes {
        writeln!(text, "note: {}", safe(note))?;
    }
    for planned in &plan.archives {
        archive(text, planned)?;
    }
    writeln!(text)?;
    if !plan.left_out.is_empty() {
        writeln!(text, "left out: {} (--all adds them)", plan.left_out.join(", "))?;
    }
    if let Some(free) = plan.free_bytes {
        let wanted: u64 = plan.archives.iter().filter_map(|planned| planned.measured).map(|m| m.archive_bytes).sum();
        let directory = safe(&plan.directory.to_string_lossy());
        writeln!(text, "free at '{directory}': {}, needed about {}", units::bytes(free), units::bytes(wanted))?;
    }
    if plan.refusals.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nA backup would be refused:")?;
    for refusal in &plan.refusals {
        writeln!(text, "  - {}", safe(&refusal.message))?;
        if let Some(hint) = &refusal.hint {
            writeln!(text, "    {}", safe(hint))?;
        }
    }
    Ok(())
}

fn archive(text: &mut String, planned: &Planned) -> std::fmt::Result {
    let target = &planned.target;
    writeln!(text, "\n{} -> {}", safe(&target.archive), safe(&planned.file.to_string_lossy()))?;
    let container = match &target.container {
        Some(container) => named(container),
        None => "gone; its volume was found by its labels".to_owned(),
    };
    writeln!(text, "  container  {container}")?;
    writeln!(text, "  path       /{}", target.tree.path)?;
    for mount in &target.tree.mounts {
        let source = printable(mount.root().as_os_str().as_encoded_bytes());
        let below = if mount.at.is_root() { String::new() } else { format!(" at {}", mount.at) };
        let access = if mount.read_only { ", read-only" } else { "" };
        match &mount.kind {
            MountKind::Volume { name, .. } => writeln!(text, "  volume     {}{below}: {source}{access}", safe(name))?,
            MountKind::Bind => writeln!(text, "  bind{below:10} {source}{access}")?,
            MountKind::Tmpfs => writeln!(text, "  tmpfs     {below}: memory, archived as an empty directory")?,
            MountKind::Other(kind) => writeln!(text, "  {}{below}: {source}{access}", safe(kind))?,
        }
    }
    let users: Vec<String> = target.users.iter().map(named).collect();
    writeln!(text, "  used by    {}", if users.is_empty() { "no container".to_owned() } else { users.join(", ") })?;
    if let Some(measured) = planned.measured {
        writeln!(
            text,
            "  size       {} members, {} of files; the archive will take about {}",
            measured.members,
            units::bytes(measured.file_bytes),
            units::bytes(measured.archive_bytes)
        )?;
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

/// The plan as one document. Fields may be added; none changes its meaning.
#[derive(Serialize)]
pub struct Document<'a> {
    source: &'a str,
    notes: &'a [String],
    archives: Vec<Archive<'a>>,
    left_out: &'a [String],
    /// The name that readers of the document know.
    #[serde(rename = "folder")]
    directory: String,
    free_bytes: Option<u64>,
    refusals: Vec<Refused<'a>>,
}

#[derive(Serialize)]
struct Archive<'a> {
    name: &'a str,
    file: String,
    container: Option<&'a str>,
    state: Option<&'a str>,
    path: String,
    mounts: Vec<Mounted<'a>>,
    users: Vec<User<'a>>,
    members: Option<u64>,
    file_bytes: Option<u64>,
    stream_bytes: Option<u64>,
    estimated_archive_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Mounted<'a> {
    kind: &'a str,
    volume: Option<&'a str>,
    destination: &'a str,
    at: String,
    source: String,
    read_only: bool,
}

#[derive(Serialize)]
struct User<'a> {
    container: &'a str,
    state: &'a str,
}

#[derive(Serialize)]
struct Refused<'a> {
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Document<'a> {
    /// The document of `plan`.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            source: &plan.source,
            notes: &plan.notes,
            archives: plan.archives.iter().map(Archive::new).collect(),
            left_out: &plan.left_out,
            directory: plan.directory.to_string_lossy().into_owned(),
            free_bytes: plan.free_bytes,
            refusals: plan
                .refusals
                .iter()
                .map(|refusal| Refused { message: &refusal.message, hint: refusal.hint.as_deref() })
                .collect(),
        }
    }
}

impl<'a> Archive<'a> {
    fn new(planned: &'a Planned) -> Self {
        let target = &planned.target;
        let container = target.container.as_ref();
        Self {
            name: &target.archive,
            file: planned.file.to_string_lossy().into_owned(),
            container: container.map(|container| container.name.as_str()),
            state: container.map(|container| state(container.state)),
            path: format!("/{}", target.tree.path),
            mounts: target.tree.mounts.iter().map(Mounted::new).collect(),
            users: target.users.iter().map(|user| User { container: &user.name, state: state(user.state) }).collect(),
            members: planned.measured.map(|measured| measured.members),
            file_bytes: planned.measured.map(|measured| measured.file_bytes),
            stream_bytes: planned.measured.map(|measured| measured.stream_bytes),
            estimated_archive_bytes: planned.measured.map(|measured| measured.archive_bytes),
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
            read_only: mount.read_only,
        }
    }
}
