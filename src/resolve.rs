//! Resolves a layout on a host: finds the container or volume of each archive and its mount tree. It uses only the
//! inventory. A missing or ambiguous archive is an error with a hint; `plan` checks whether the directories can be read
//! or written.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::host::mounts::{self, MountTree};
use crate::host::{Container, Inventory, State, Volume};
use crate::layout::{ArchiveSpec, ContainerPath, Layout};
use crate::member::{RelPath, printable};

/// The archives that the user selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The names of the archives to select; empty for the default selection.
    pub only: Vec<String>,
    /// Whether the extra archives of the layout are selected too.
    pub all: bool,
    /// The only compose project whose containers and volumes are considered.
    pub project: Option<String>,
    /// The full names of volumes, by the archives that they are.
    pub volumes: BTreeMap<String, String>,
}

impl Selection {
    /// Returns whether the archive `name` is wanted: if none is named, all are.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// The result of resolving a layout on a host.
#[derive(Debug, Default)]
pub struct Resolution {
    /// The selected archives that were found, in the order of the layout.
    pub targets: Vec<Target>,
    /// Archives of the layout that were found and not selected, but for extra ones.
    pub(crate) others: Vec<Target>,
    /// The names of extra archives that exist on this host and were not selected.
    pub left_out: Vec<String>,
    /// Notes for the user on what else this host has.
    pub notes: Vec<String>,
    /// The selected archives of which neither a container nor a volume exists.
    pub missing: Vec<Missing>,
    /// The other reasons why selected archives cannot be resolved. Nothing may be read or written if there is one, or
    /// anything is missing; [`resolve`] returns the first as an error.
    pub problems: Vec<Error>,
}

/// An archive of which neither a container nor a volume exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The archive's name.
    pub archive: String,
    /// What there is not: "there is no container …".
    what: String,
}

/// Returns one refusal for all that is missing.
#[must_use]
pub(crate) fn not_found(missing: &[Missing], hint: &str) -> Option<Error> {
    let each: Vec<String> = missing.iter().map(|one| format!("{}: {}", one.archive, one.what)).collect();
    (!each.is_empty()).then(|| Error::refused(each.join("; ")).hint(hint))
}

/// What can be done where something is missing.
pub(crate) const CREATE_STACK: &str = "is the stack created (`docker compose up --no-start`)? --only selects other archives, --layout FILE describes \
     another stack";

/// One archive and the mount tree that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The archive's name without its suffix.
    pub archive: String,
    /// The container of the mount tree; `None` if it was found through its volume.
    pub container: Option<Container>,
    /// Whether its volume was found by its own name, instead of a container or labels.
    pub by_name: bool,
    /// The compose project that it belongs to.
    pub project: Option<String>,
    /// The directories of the host that it holds.
    pub tree: MountTree,
    /// If the container does not exist: the other paths at which a generation of the stack mounts the same volume. The
    /// members of an archive to be restored may have one of them as their prefix.
    pub alternative_paths: Vec<RelPath>,
    /// All containers that use one of these directories, including stopped ones and the target's own.
    pub users: Vec<Container>,
}

impl Target {
    /// Returns whether none of its users has processes.
    pub(crate) fn is_unused(&self) -> bool {
        self.users.iter().all(|user| user.state == State::Stopped)
    }
}

/// Resolves the selected archives of a layout.
///
/// # Errors
/// The first of [`Resolution::problems`], or the selection names an archive that the layout does not have.
pub fn resolve(layout: &Layout, inventory: &Inventory, selection: &Selection) -> Result<Resolution> {
    let mut resolution = survey(layout, inventory, selection)?;
    if !resolution.problems.is_empty() {
        return Err(resolution.problems.remove(0));
    }
    not_found(&resolution.missing, CREATE_STACK).map_or(Ok(resolution), Err)
}

/// Resolves the selected archives of a layout, and collects every problem for a plan.
///
/// # Errors
/// The selection names an archive that the layout does not have.
pub(crate) fn survey(layout: &Layout, inventory: &Inventory, selection: &Selection) -> Result<Resolution> {
    check_names(layout, selection)?;
    let search = Search::new(layout, inventory, selection);
    let mut resolution = Resolution::default();
    let mut found = Vec::new();
    for spec in &layout.archives {
        let named = selection.only.contains(&spec.name);
        let extra = spec.extra && !search.is_usual(spec);
        let wanted = if selection.only.is_empty() { !extra || selection.all } else { named };
        match search.find(spec, named) {
            Ok(Outcome::Found(one)) if wanted => found.push(*one),
            Ok(Outcome::Missing(missing)) if wanted => resolution.missing.push(missing),
            Err(problem) if wanted => resolution.problems.push(problem.within(&spec.name)),
            Ok(Outcome::Found(one)) if extra && selection.only.is_empty() => {
                resolution.left_out.push(one.target.archive);
            }
            Ok(Outcome::Found(one)) if !extra => resolution.others.push(one.target),
            Ok(_) | Err(_) => {}
        }
    }
    resolution.problems.extend(one_project(&found));
    resolution.targets = found.into_iter().map(|one| one.target).collect();
    resolution.notes.extend(search.projects_that_are_down(&resolution.targets));
    resolution.notes.extend(resolution.targets.iter().filter_map(on_no_mount));
    if resolution.targets.is_empty() && resolution.problems.is_empty() && resolution.missing.is_empty() {
        resolution.problems.push(nothing_found(layout, selection));
    }
    Ok(resolution)
}

/// Returns a note for a path that is on no mount itself.
fn on_no_mount(target: &Target) -> Option<String> {
    target.tree.root().is_none().then(|| {
        format!(
            "{}: '/{}' is on no mount: the archive holds the mounts below it, and nothing else that the container has there",
            target.archive, target.tree.path
        )
    })
}

fn check_names(layout: &Layout, selection: &Selection) -> Result<()> {
    match selection.only.iter().chain(selection.volumes.keys()).find(|&name| layout.archive(name).is_none()) {
        None => Ok(()),
        Some(unknown) => Err(Error::usage(format!(
            "layout '{}' has no archive '{}'",
            printable(layout.name.as_bytes()),
            printable(unknown.as_bytes())
        ))
        .hint(format!("it has: {}", layout.names().join(", ")))),
    }
}

/// Returns the error for a layout whose archives are all optional, if none was found.
fn nothing_found(layout: &Layout, selection: &Selection) -> Error {
    let of_project =
        selection.project.as_ref().map(|project| format!(" of project '{}'", printable(project.as_bytes())));
    Error::refused(format!(
        "found no container and no volume{} of layout '{}'",
        of_project.unwrap_or_default(),
        printable(layout.name.as_bytes())
    ))
    .hint("is the stack created (`docker compose up --no-start`)? --layout FILE describes another stack")
}

/// Returns the error for archives of different projects: the database of one and the media of another are not a
/// consistent backup. A container that was found by its own name may belong to any project, because the layout names
/// it; a container or volume that was found by its label must belong to the same project as the others.
fn one_project(found: &[Found]) -> Option<Error> {
    let by_label = found.iter().find(|one| one.by_label && one.target.project.is_some())?;
    let other =
        found.iter().find(|one| one.target.project.is_some() && one.target.project != by_label.target.project)?;
    let mut projects = distinct(found.iter().map(|one| one.target.project.as_deref()));
    projects.sort_unstable();
    Some(several_projects(
        &format!("'{}' and '{}' were found in different projects", by_label.target.archive, other.target.archive),
        &projects,
    ))
}

/// Returns the error for an ambiguous project.
fn several_projects(what: &str, projects: &[&str]) -> Error {
    let mut listed: Vec<String> = projects.iter().map(|project| printable(project.as_bytes())).collect();
    listed.sort_unstable();
    let options: Vec<String> = listed.iter().map(|project| format!("--project {project}")).collect();
    Error::refused(format!("{what}: {}", listed.join(", "))).hint(format!("choose with {}", options.join(" or ")))
}

/// Returns the container with that name, else the containers of that compose service (several if it is scaled), and whether
/// they were found by label.
///
/// # Errors
/// The service exists in several projects.
pub(crate) fn containers<'a>(
    candidates: impl Iterator<Item = &'a Container> + Clone,
    name: &str,
) -> Result<(Vec<&'a Container>, bool)> {
    if let Some(exact) = candidates.clone().find(|container| container.name == name) {
        return Ok((vec![exact], false));
    }
    let mut services: Vec<&Container> =
        candidates.filter(|container| container.service.as_deref() == Some(name)).collect();
    let projects = distinct(services.iter().map(|container| container.project.as_deref()));
    if projects.len() > 1 {
        return Err(several_projects(&format!("service '{name}' exists in several projects"), &projects));
    }
    services.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((services, true))
}

struct Found {
    target: Target,
    by_label: bool,
}

/// The result of the search for one archive.
enum Outcome {
    Found(Box<Found>),
    /// It is required.
    Missing(Missing),
    /// It is optional.
    Absent,
}

struct Search<'a> {
    layout: &'a Layout,
    inventory: &'a Inventory,
    selection: &'a Selection,
    project: Option<&'a str>,
    /// The project of the containers of the layout, if there is only one: its volumes come before those of others.
    home: Option<&'a str>,
}

/// A volume and its compose project, if known.
type Labelled<'a> = (&'a Volume, Option<String>);

impl<'a> Search<'a> {
    fn new(layout: &'a Layout, inventory: &'a Inventory, selection: &'a Selection) -> Self {
        let mut search = Self { layout, inventory, selection, project: selection.project.as_deref(), home: None };
        let names =
            layout.archives.iter().flat_map(|spec| &spec.alternatives).map(|alternative| &alternative.container);
        let found = names.filter_map(|name| search.containers(name).ok()).flat_map(|(containers, _)| containers);
        if let [home] = distinct(found.map(|container| container.project.as_deref()))[..] {
            search.home = Some(home);
        }
        search
    }

    /// Returns a note for each project that has volumes of the layout and no container, beside those of the targets.
    fn projects_that_are_down(&self, targets: &[Target]) -> Vec<String> {
        if self.project.is_some() || targets.iter().all(|target| target.container.is_none()) {
            return Vec::new();
        }
        let mut volumes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for volume in &self.inventory.volumes {
            let (Some(project), Some(name)) = (&volume.project, &volume.compose_name) else { continue };
            let is_of_layout = self.layout.archives.iter().any(|spec| spec.volume_name() == name);
            let is_of_target = targets.iter().any(|target| target.project.as_ref() == Some(project));
            if is_of_layout && !is_of_target && !self.inventory.has_containers_of(project) {
                volumes.entry(project).or_default().push(name);
            }
        }
        let note = |(project, names): (&str, Vec<&str>)| {
            let names: Vec<String> = names.iter().map(|name| printable(name.as_bytes())).collect();
            let project = printable(project.as_bytes());
            format!(
                "project '{project}' is down and has volumes of this layout too: {} (--project {project} selects them)",
                names.join(", ")
            )
        };
        volumes.into_iter().map(note).collect()
    }

    /// Finds an archive. `named` is whether the user selected it by name, so that it must not be left out.
    fn find(&self, spec: &ArchiveSpec, named: bool) -> Result<Outcome> {
        if let Some(name) = self.selection.volumes.get(&spec.name) {
            return self.in_named_volume(spec, name);
        }
        match self.in_container(spec, named)? {
            Some(found) => Ok(Outcome::Found(Box::new(found))),
            None => self.in_volume(spec, named),
        }
    }

    /// Returns whether the stack is of a generation in which this archive is not extra.
    fn is_usual(&self, spec: &ArchiveSpec) -> bool {
        let is =
            |container: &Container, name: &String| container.name == *name || container.service.as_ref() == Some(name);
        spec.usual_with.as_ref().is_some_and(|name| self.candidates().any(|container| is(container, name)))
    }

    fn target(&self, spec: &ArchiveSpec, mut tree: MountTree) -> Target {
        mounts::add_filesystems(&mut tree, &self.inventory.volumes);
        let users = mounts::users(self.inventory, &tree).into_iter().cloned().collect();
        Target {
            archive: spec.name.clone(),
            container: None,
            by_name: false,
            project: None,
            tree,
            alternative_paths: Vec::new(),
            users,
        }
    }

    // -- through a container -----------------------------------------------------------------------

    fn in_container(&self, spec: &ArchiveSpec, named: bool) -> Result<Option<Found>> {
        // An extra archive does not exist if its container has no such mount.
        let lenient = spec.extra && !named;
        let mut best: Option<(&Container, MountTree, bool)> = None;
        let mut tried: Vec<&str> = Vec::new();
        for alternative in &spec.alternatives {
            if tried.contains(&alternative.container.as_str()) {
                continue;
            }
            tried.push(&alternative.container);
            let (replicas, by_label) = self.containers(&alternative.container)?;
            let Some((&container, others)) = replicas.split_first() else { continue };
            let paths = spec.alternatives.iter().filter(|other| other.container == alternative.container);
            let paths: Vec<&ContainerPath> =
                paths.filter(|one| !lenient || mounts::covers(container, &one.path)).collect();
            let Some(tree) = tree_at_one_of(container, &paths)? else { continue };
            for other in others {
                if tree_at_one_of(other, &paths)?.is_none_or(|theirs| !theirs.same_files(&tree)) {
                    let all: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
                    return Err(Error::refused(format!(
                        "service '{}' has several containers that keep it in different directories: '{}'",
                        alternative.container,
                        all.join("', '")
                    ))
                    .hint("write a layout file (--layout) that names the right container"));
                }
            }
            match &best {
                None => best = Some((container, tree, by_label)),
                Some((_, earlier, _)) if earlier.same_files(&tree) => {}
                Some((earlier, ..)) => {
                    return Err(Error::refused(format!(
                        "containers '{}' and '{}' both exist and keep it in different directories",
                        earlier.name, container.name
                    ))
                    .hint(
                        "remove the container that is no longer in use, or write a layout file (--layout) that names \
                         the right one",
                    ));
                }
            }
        }
        Ok(best.map(|(container, tree, by_label)| Found {
            target: Target {
                container: Some(container.clone()),
                project: container.project.clone(),
                ..self.target(spec, tree)
            },
            by_label,
        }))
    }

    fn containers(&self, name: &str) -> Result<(Vec<&'a Container>, bool)> {
        containers(self.candidates(), name)
    }

    fn candidates(&self) -> impl Iterator<Item = &'a Container> + Clone {
        let project = self.project;
        let inside = move |container: &&Container| project.is_none() || container.project.as_deref() == project;
        self.inventory.containers.iter().filter(inside)
    }

    // -- through a volume --------------------------------------------------------------------------

    /// Finds the volume that the user has named.
    fn in_named_volume(&self, spec: &ArchiveSpec, name: &str) -> Result<Outcome> {
        let Some(volume) = self.inventory.volumes.iter().find(|volume| volume.name == name) else {
            return Ok(missing(spec, format!("there is no volume '{}'", printable(name.as_bytes()))));
        };
        self.found_volume(spec, volume, volume.project.clone(), true)
    }

    fn in_volume(&self, spec: &ArchiveSpec, named: bool) -> Result<Outcome> {
        let needed = named || !spec.optional;
        let mut volumes: Vec<Labelled<'_>> = self
            .volumes(spec.volume_name())
            .into_iter()
            // If the project has other containers, an optional container is missing on purpose.
            .filter(|(_, project)| {
                let is_home = self.is_home(project.as_deref());
                needed || (is_home && (spec.alternatives.is_empty() || self.is_down(project.as_deref())))
            })
            .collect();
        // A volume that compose did not make (`external:`), or made under a fixed name (`name:`). The former belongs to no
        // project.
        let is_of_project = |volume: &&Volume| {
            self.project.is_none() || volume.project.is_none() || volume.project.as_deref() == self.project
        };
        let by_name = spec.volume.as_ref().and_then(|name| self.inventory.volumes.iter().find(|one| one.name == *name));
        if let Some(volume) = by_name.filter(is_of_project)
            && (volumes.is_empty() || self.project.is_none())
            && volumes.iter().all(|(other, _)| other.name != volume.name)
        {
            volumes.push((volume, volume.project.clone()));
        }
        match &volumes[..] {
            [] if needed => Ok(self.missing(spec)),
            [] => Ok(Outcome::Absent),
            [(volume, project)] => {
                let is_full_name = spec.volume.as_ref() == Some(&volume.name);
                self.found_volume(spec, volume, project.clone(), is_full_name)
            }
            [..] => {
                let name = spec.volume_name();
                let begin = if spec.alternatives.is_empty() { "" } else { "its container does not exist, and " };
                let projects = distinct(volumes.iter().map(|(_, project)| project.as_deref()));
                if projects.len() == volumes.len() {
                    let what = format!("{begin}several projects have a volume '{name}'");
                    return Err(several_projects(&what, &projects));
                }
                let full: Vec<&str> = volumes.iter().map(|(volume, _)| volume.name.as_str()).collect();
                Err(Error::refused(format!("{begin}'{name}' can be several volumes: {}", full.join(", ")))
                    .hint(format!("choose with --volume {}={}", spec.name, full.first().copied().unwrap_or("VOLUME"))))
            }
        }
    }

    /// Returns the target of an archive that was found through its volume.
    fn found_volume(
        &self,
        spec: &ArchiveSpec,
        volume: &Volume,
        project: Option<String>,
        by_name: bool,
    ) -> Result<Outcome> {
        let mut alternative_paths: Vec<RelPath> = Vec::new();
        for other in &spec.alternatives {
            if other.path != spec.path && !alternative_paths.contains(&other.path) {
                alternative_paths.push(other.path.clone());
            }
        }
        let tree = mounts::tree_of_volume(volume, &spec.path)?;
        let target = Target { by_name, project, alternative_paths, ..self.target(spec, tree) };
        Ok(Outcome::Found(Box::new(Found { target, by_label: !by_name })))
    }

    /// Returns the volumes that have this name in a compose file: by their labels, or by `<project>_<name>` if the
    /// labels could not be read. Those of the project whose containers were found come before others.
    fn volumes(&self, name: &str) -> Vec<Labelled<'a>> {
        let project_of = |volume: &Volume| -> Option<Option<String>> {
            if let Some(labelled) = &volume.compose_name {
                // Compose v1 labels a volume with a fixed name (`name:`) by that name, v2 by its key.
                let with_project = volume.project.as_ref().map(|project| format!("{project}_{name}"));
                return (labelled == name || Some(labelled) == with_project.as_ref()).then(|| volume.project.clone());
            }
            let prefix = volume.name.strip_suffix(name)?.strip_suffix('_')?;
            (self.inventory.labels_unknown && !prefix.is_empty()).then(|| Some(prefix.to_owned()))
        };
        let found = self.inventory.volumes.iter().filter_map(|volume| Some((volume, project_of(volume)?)));
        let mut found: Vec<Labelled<'_>> =
            found.filter(|(_, project)| self.project.is_none() || project.as_deref() == self.project).collect();
        let of_home = |(_, project): &Labelled<'_>| project.is_some() && project.as_deref() == self.home;
        if found.iter().any(of_home) {
            found.retain(of_home);
        }
        found
    }

    /// Returns whether the project is that of the containers that were found, if any were.
    fn is_home(&self, project: Option<&str>) -> bool {
        self.home.is_none() || project == self.home
    }

    /// Returns whether only the volumes of the stack exist.
    fn is_down(&self, project: Option<&str>) -> bool {
        let names =
            |container: &Container, name: &str| container.name == name || container.service.as_deref() == Some(name);
        let in_layout = |container: &&Container| {
            self.layout
                .archives
                .iter()
                .flat_map(|spec| &spec.alternatives)
                .any(|alternative| names(container, &alternative.container))
        };
        !project.is_some_and(|project| self.inventory.has_containers_of(project))
            || !self.inventory.containers.iter().any(|container| in_layout(&container))
    }

    fn missing(&self, spec: &ArchiveSpec) -> Outcome {
        let containers: Vec<&str> = distinct(spec.alternatives.iter().map(|one| Some(one.container.as_str())));
        let in_project = self.project.map(|project| format!(" in project '{}'", printable(project.as_bytes())));
        let in_project = in_project.unwrap_or_default();
        let volume = spec.volume_name();
        let what = if containers.is_empty() {
            format!("there is no volume '{volume}'{in_project}, by its compose name or its full name")
        } else {
            let containers = containers.join("' or '");
            format!("there is no container '{containers}'{in_project}, and no volume with the compose name '{volume}'")
        };
        missing(spec, what)
    }
}

fn missing(spec: &ArchiveSpec, what: String) -> Outcome {
    Outcome::Missing(Missing { archive: spec.name.clone(), what })
}

/// Returns the tree at the first of the paths that is on a mount or else has mounts below it, or the error of the first
/// path if none has.
fn tree_at_one_of(container: &Container, paths: &[&ContainerPath]) -> Result<Option<MountTree>> {
    let covered = paths.iter().find(|one| mounts::covers(container, &one.path));
    let above = || paths.iter().find(|one| mounts::has_below(container, &one.path));
    match covered.or_else(above).or(paths.first()) {
        Some(one) => mounts::tree(container, &one.path).map(Some),
        None => Ok(None),
    }
}

fn distinct<'t>(values: impl Iterator<Item = Option<&'t str>>) -> Vec<&'t str> {
    let mut distinct: Vec<&str> = Vec::new();
    for value in values.flatten() {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

#[cfg(test)]
mod tests;
