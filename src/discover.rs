//! Describes what a host has as a layout file: one entry for each volume, and for each directory of the host that a
//! container can write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::{Container, Host, Inventory, Mount, MountKind, Volume};
use crate::layout::{CLUSTER, Layout, MAX_NAME_BYTES, is_docker_name};
use crate::member::{RelPath, printable, printable_path};
use crate::postgres::DEEPEST;

/// Directories that belong to the host's system, with all that they hold.
const SYSTEM: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker"];

/// What is at the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Directory,
    File,
    Socket,
    Unknown,
}

/// Returns the text of a layout file for one compose project or, if there is none, for all containers. `only` selects
/// archives by name.
///
/// # Errors
/// The host cannot be read or is another machine, there are several projects and `project` chooses none, or there is
/// nothing to be archived.
pub fn discover(host: &dyn Host, project: Option<&str>, only: &[String]) -> Result<String> {
    let inventory = host.inventory()?;
    Error::none_of(inventory.refusals().collect())?;
    describe(&inventory, project, only, &source_at)
}

fn source_at(path: &Path) -> Source {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Source::Directory,
        Ok(found) if found.file_type().is_socket() => Source::Socket,
        Ok(_) => Source::File,
        Err(_) => Source::Unknown,
    }
}

fn describe(
    inventory: &Inventory,
    project: Option<&str>,
    only: &[String],
    source_at: &dyn Fn(&Path) -> Source,
) -> Result<String> {
    let project = choose(inventory, project)?;
    let mut survey = Survey { inventory, project, source_at, entries: Vec::new(), left_out: BTreeSet::new() };
    survey.mounted();
    survey.unmounted();
    survey
        .entries
        .sort_by(|one, other| (&one.name, &one.path, &one.comment).cmp(&(&other.name, &other.path, &other.comment)));
    make_unique(&mut survey.entries);
    if let Some(unknown) = only.iter().find(|only| survey.entries.iter().all(|entry| entry.name != **only)) {
        let names: Vec<&str> = survey.entries.iter().map(|entry| entry.name.as_str()).collect();
        return Err(Error::usage(format!("there would be no archive '{}'", printable(unknown.as_bytes())))
            .hint(format!("there would be: {}", names.join(", "))));
    }
    survey.entries.retain(|entry| only.is_empty() || only.contains(&entry.name));
    if survey.entries.is_empty() {
        let of = project.map(|project| format!(" of project '{}'", printable(project.as_bytes())));
        return Err(Error::refused(format!("no container{} has a volume to be archived", of.unwrap_or_default()))
            .hint("is the stack created (`docker compose up --no-start`)?"));
    }
    let text = survey.text();
    // Names in an inventory are not trusted: a layout that does not load would only be noticed at the next backup.
    Layout::parse("as printed", &text).map_err(|error| error.within("cannot describe this host as a layout"))?;
    Ok(text)
}

/// Returns the project that is described; `None` if there is none.
fn choose<'a>(inventory: &'a Inventory, wanted: Option<&'a str>) -> Result<Option<&'a str>> {
    let has_data = |container: &&Container| container.mounts.iter().any(|mount| mount.kind != MountKind::Tmpfs);
    let of_containers = inventory.containers.iter().filter(has_data).filter_map(|one| one.project.as_deref());
    let of_volumes = inventory.volumes.iter().filter_map(|volume| volume.project.as_deref());
    let projects: BTreeSet<&str> = of_containers.chain(of_volumes).collect();
    let listed: Vec<String> = projects.iter().map(|project| printable(project.as_bytes())).collect();
    match (wanted, &listed[..]) {
        (Some(wanted), _) if projects.contains(wanted) => Ok(Some(wanted)),
        (Some(wanted), _) => {
            let error = Error::refused(format!("no compose project '{}' has volumes", printable(wanted.as_bytes())));
            let hint = if listed.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are: {}", listed.join(", "))
            };
            Err(error.hint(hint))
        }
        (None, [_, other, ..]) => {
            let hint = format!("choose with --project {other}");
            Err(Error::refused(format!("several compose projects have volumes: {}", listed.join(", "))).hint(hint))
        }
        (None, _) => Ok(projects.first().copied()),
    }
}

/// One entry of the layout.
#[derive(Debug)]
struct Entry {
    name: String,
    container: Option<String>,
    volume: Option<String>,
    path: String,
    database: bool,
    comment: String,
}

/// What several mounts have in common: a directory of a volume, or a directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Volume(String, RelPath),
    Directory(PathBuf),
}

type Use<'a> = (&'a Container, &'a Mount);

struct Survey<'a> {
    inventory: &'a Inventory,
    project: Option<&'a str>,
    source_at: &'a dyn Fn(&Path) -> Source,
    entries: Vec<Entry>,
    left_out: BTreeSet<String>,
}

impl<'a> Survey<'a> {
    /// Adds an entry for everything that is mounted in a container.
    fn mounted(&mut self) {
        let mut uses: BTreeMap<Content, Vec<Use<'a>>> = BTreeMap::new();
        for container in self.containers() {
            for mount in &container.mounts {
                match self.content(mount) {
                    Ok(content) => uses.entry(content).or_default().push((container, mount)),
                    Err(why) => self.leave_out(container, mount, &why),
                }
            }
        }
        let directories: Vec<PathBuf> = uses.keys().filter_map(|content| self.directory(content)).collect();
        for (content, uses) in uses {
            let Some((container, mount)) = self.preferred(&uses) else { continue };
            match content {
                Content::Volume(name, subpath) => self.add_volume(&name, &subpath, container, mount, &uses),
                Content::Directory(source) => {
                    let outer = directories.iter().find(|other| source.starts_with(other) && source != **other);
                    if uses.iter().all(|(_, mount)| mount.read_only) {
                        self.leave_out(container, mount, "mounted read-only");
                    } else if let Some(outer) = outer {
                        let outer = printable_path(outer);
                        self.leave_out(container, mount, &format!("inside '{outer}', which is another entry's"));
                    } else {
                        self.add_directory(&source, container, mount, &uses);
                    }
                }
            }
        }
    }

    /// Adds an entry for each volume of the project that no container mounts.
    fn unmounted(&mut self) {
        let mounted = |volume: &&Volume| {
            self.containers()
                .any(|container| container.mounts.iter().any(|mount| volume_of(mount) == Some(&volume.name)))
        };
        let of_project = |volume: &&Volume| self.project.is_some() && volume.project.as_deref() == self.project;
        let volumes: Vec<&Volume> =
            self.inventory.volumes.iter().filter(of_project).filter(|volume| !mounted(volume)).collect();
        for volume in volumes {
            let shown = printable(volume.name.as_bytes());
            if volume.driver != "local" {
                self.left_out.insert(format!("volume {shown}: its driver is {}", printable(volume.driver.as_bytes())));
                continue;
            }
            let name = file_name(volume.compose_name.as_ref().unwrap_or(&volume.name));
            self.entries.push(Entry {
                path: format!("/{name}"),
                name,
                container: None,
                volume: Some(volume.compose_name.clone().unwrap_or_else(|| volume.name.clone())),
                database: false,
                comment: format!(
                    "volume {shown}, which no container has now: replace the path by that in its container, with which the \
                     names of the members begin"
                ),
            });
        }
    }

    fn containers(&self) -> impl Iterator<Item = &'a Container> + use<'a> {
        let project = self.project;
        self.inventory.containers.iter().filter(move |one| one.project.as_deref() == project && !one.one_off)
    }

    /// Returns what a mount shows, or why it is left out.
    fn content(&self, mount: &Mount) -> Result<Content, String> {
        match &mount.kind {
            MountKind::Tmpfs => Err("memory (tmpfs)".to_owned()),
            MountKind::Other(kind) => Err(format!("a mount of type {}", printable(kind.as_bytes()))),
            MountKind::Volume { driver, .. } if driver != "local" => {
                Err(format!("a volume of the driver {}", printable(driver.as_bytes())))
            }
            MountKind::Volume { name, .. } => Ok(Content::Volume(name.clone(), mount.subpath.clone())),
            MountKind::Bind => {
                let Some(source) = &mount.source else { return Err("its directory is not known".to_owned()) };
                let is_system =
                    source.as_path() == Path::new("/") || SYSTEM.iter().any(|path| source.starts_with(path));
                match (self.source_at)(source) {
                    Source::Socket => Err("a socket".to_owned()),
                    Source::File => Err("a single file".to_owned()),
                    Source::Unknown => Err("it does not exist".to_owned()),
                    Source::Directory if is_system => Err("a directory of the host's system".to_owned()),
                    Source::Directory => Ok(Content::Directory(source.clone())),
                }
            }
        }
    }

    /// Returns the directory of the host that holds a content.
    fn directory(&self, content: &Content) -> Option<PathBuf> {
        match content {
            Content::Directory(source) => Some(source.clone()),
            Content::Volume(name, subpath) => {
                let volume = self.inventory.volumes.iter().find(|volume| volume.name == *name)?;
                let source = volume.source().filter(|source| !source.as_os_str().is_empty())?;
                Some(source.join(subpath.as_path()))
            }
        }
    }

    /// Returns the mount through which a content is archived: one that can be written, at the path that most containers
    /// have it at, of the container on which most others depend.
    fn preferred(&self, uses: &[Use<'a>]) -> Option<Use<'a>> {
        let same_path = |mount: &Mount| uses.iter().filter(|(_, other)| other.destination == mount.destination).count();
        let rank = |(container, mount): &Use<'a>| {
            let usual = usize::MAX - same_path(mount);
            let needed = usize::MAX - self.dependents(container);
            (mount.read_only, usual, needed, container.name.clone(), mount.destination.clone())
        };
        uses.iter().min_by_key(|one| rank(one)).copied()
    }

    fn dependents(&self, container: &Container) -> usize {
        let names = [Some(&container.name), container.service.as_ref()];
        let needs = |other: &&Container| {
            let mut dependencies = other.depends_on.iter();
            dependencies.any(|dependency| names.into_iter().flatten().any(|name| dependency.on == *name))
        };
        self.containers().filter(needs).count()
    }

    fn add_volume(&mut self, name: &str, subpath: &RelPath, container: &Container, mount: &Mount, uses: &[Use<'_>]) {
        let volume = self.inventory.volumes.iter().find(|volume| volume.name == name);
        let in_project = |name: &str| {
            let short = name.strip_prefix(self.project?)?.strip_prefix('_')?;
            (!short.is_empty()).then(|| short.to_owned())
        };
        let is_anonymous = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let labelled = volume.filter(|volume| volume.project.as_deref() == self.project && self.project.is_some());
        let labelled = labelled.and_then(|volume| volume.compose_name.clone());
        // Without labels the names of volumes are all that is known of them.
        let known = labelled.or_else(|| in_project(name).filter(|_| self.inventory.labels_unknown));
        let reference = reference(container);
        let (file, volume, what) = if is_anonymous {
            (of_path(&reference, mount), None, "anonymous volume ")
        } else {
            let short = known.clone().or_else(|| in_project(name)).unwrap_or_else(|| name.to_owned());
            (file_name(&short), Some(known.unwrap_or_else(|| name.to_owned())), "volume ")
        };
        let part = if subpath.is_root() { String::new() } else { format!(", its directory {subpath}") };
        self.push(Entry {
            name: file,
            // The volume itself can be written, and is more than one directory of it.
            container: (!mount.read_only || !subpath.is_root() || is_anonymous).then_some(reference),
            volume: volume.filter(|name| subpath.is_root() && is_docker_name(name)),
            path: mount.destination.clone(),
            database: is_database(container, mount),
            comment: format!("{what}{}{part}, {}", printable(name.as_bytes()), used_by(uses)),
        });
    }

    fn add_directory(&mut self, source: &Path, container: &Container, mount: &Mount, uses: &[Use<'_>]) {
        let reference = reference(container);
        self.push(Entry {
            name: of_path(&reference, mount),
            container: Some(reference),
            volume: None,
            path: mount.destination.clone(),
            database: is_database(container, mount),
            comment: format!("directory {}, {}", printable_path(source), used_by(uses)),
        });
    }

    fn push(&mut self, entry: Entry) {
        let container = entry.container.filter(|name| is_docker_name(name));
        if container.is_none() && entry.volume.is_none() {
            self.left_out.insert(format!("{}: its container's name cannot be used", entry.comment));
            return;
        }
        self.entries.push(Entry { container, ..entry });
    }

    fn leave_out(&mut self, container: &Container, mount: &Mount, why: &str) {
        let container = printable(container.name.as_bytes());
        self.left_out.insert(format!("{} of {container}: {why}", printable(mount.destination.as_bytes())));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let of = match self.project {
            Some(project) => format!("of the compose project {}", printable(project.as_bytes())),
            None => "of the containers of this host".to_owned(),
        };
        writeln!(text, "# A layout for voltar, {of}. Save it, and use it as --layout FILE.")?;
        if let Some(project) = self.project {
            writeln!(text, "\nproject = {}", quoted(project))?;
        }
        for Entry { name, container, volume, path, database, comment } in &self.entries {
            writeln!(text, "\n# {comment}\n[[archive]]\nname = {}", quoted(name))?;
            let keys = [("container", container.as_deref()), ("volume", volume.as_deref()), ("path", Some(path))];
            for (key, value) in keys {
                value.map_or(Ok(()), |value| writeln!(text, "{key} = {}", quoted(value)))?;
            }
            if *database {
                writeln!(text, "database = true")?;
            }
        }
        if !self.left_out.is_empty() {
            writeln!(text, "\n# Left out:")?;
            self.left_out.iter().try_for_each(|line| writeln!(text, "#   {line}"))?;
        }
        self.write_others(text)
    }

    /// Writes which containers without a project have volumes, if that of a project is described.
    fn write_others(&self, text: &mut String) -> std::fmt::Result {
        let has_volume = |one: &&Container| one.mounts.iter().any(|mount| volume_of(mount).is_some());
        let others = self.inventory.containers.iter().filter(|one| one.project.is_none());
        let mut names: Vec<String> =
            others.filter(has_volume).map(|container| printable(container.name.as_bytes())).collect();
        if self.project.is_none() || names.is_empty() {
            return Ok(());
        }
        names.sort();
        writeln!(text, "\n# Not of this project, and with volumes: {}", names.join(", "))
    }
}

fn volume_of(mount: &Mount) -> Option<&String> {
    match &mount.kind {
        MountKind::Volume { name, .. } => Some(name),
        MountKind::Bind | MountKind::Tmpfs | MountKind::Other(_) => None,
    }
}

/// Returns by what a layout names a container: its service if compose has named it by that, else its name.
fn reference(container: &Container) -> String {
    let Container { name, project, service, .. } = container;
    let number = |project: &str, service: &str| {
        let rest = name.strip_prefix(project)?.strip_prefix(['-', '_'])?;
        let number = rest.strip_prefix(service)?.strip_prefix(['-', '_'])?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    match (project, service) {
        (Some(project), Some(service)) if number(project, service).is_some() => service.clone(),
        _ => name.clone(),
    }
}

/// Returns whether the container's PostgreSQL keeps its cluster in the mount, where a layout would not expect it.
fn is_database(container: &Container, mount: &Mount) -> bool {
    let below = |path: &str| RelPath::parse(path.as_bytes()).ok();
    let path = below(&mount.destination);
    let cluster = container.environment.iter().find_map(|variable| below(variable.strip_prefix("PGDATA=")?));
    let (Some(path), Some(cluster)) = (path, cluster) else { return false };
    let is_near = cluster.strip_prefix(&path).is_some_and(|rest| rest.components().count() <= DEEPEST);
    is_near && path.as_bytes() != CLUSTER
}

fn used_by(uses: &[Use<'_>]) -> String {
    let mut shown: Vec<String> = uses
        .iter()
        .map(|(container, _)| {
            format!("{} ({})", printable(container.name.as_bytes()), printable(container.image.as_bytes()))
        })
        .collect();
    shown.sort();
    shown.dedup();
    format!("in {}", shown.join(", "))
}

/// Returns the name of the archive of a mount that has no name of its own: `web_uploads`.
fn of_path(container: &str, mount: &Mount) -> String {
    let last = mount.destination.rsplit('/').next().unwrap_or_default();
    file_name(&format!("{container}_{last}"))
}

/// Returns `name` as the name of an archive.
fn file_name(name: &str) -> String {
    let mut safe: String =
        name.chars().map(|c| if c == '/' || c.is_control() || c.is_whitespace() { '_' } else { c }).collect();
    if safe.is_empty() || safe.starts_with('.') {
        safe.insert(0, '_');
    }
    shorten(&mut safe, MAX_NAME_BYTES);
    safe
}

/// Cuts `text` at a character, to at most so many bytes.
fn shorten(text: &mut String, bytes: usize) {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.truncate(end);
}

/// Numbers all but the first of the entries that have one name.
fn make_unique(entries: &mut [Entry]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for entry in entries {
        let mut number = 1_u64;
        let mut name = entry.name.clone();
        while !taken.insert(name.clone()) {
            number += 1;
            let suffix = format!("_{number}");
            name.clone_from(&entry.name);
            shorten(&mut name, MAX_NAME_BYTES - suffix.len());
            name.push_str(&suffix);
        }
        entry.name = name;
    }
}

/// Returns a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // What a terminal would not print as it is, either.
            c if c.is_control() || printable(c.encode_utf8(&mut [0; 4]).as_bytes()) != c.to_string() => {
                // Writing to a String cannot fail.
                write!(quoted, "\\U{:08x}", u32::from(c)).unwrap_or_default();
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
