//! From a layout and what a host has to the trees that are meant: by container, by compose service, or,
//! where the containers are gone, by the volumes' labels. Pure; nothing is guessed where two answers fit.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::host::mounts::{MountTree, single, tree, users};
use crate::host::{Container, Inventory, Volume};
use crate::layout::{ArchiveSpec, Layout, Source};
use crate::member::RelPath;

/// Which of a layout's archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Just these; empty: those of the layout that are not extra.
    pub only: Vec<String>,
    /// The extra ones too.
    pub all: bool,
    /// Only what is labelled with this compose project.
    pub project: Option<String>,
}

/// One archive and its tree on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The archive's name.
    pub archive: String,
    /// The container whose tree it is; `None` where only its volume is left.
    pub container: Option<Container>,
    /// The tree.
    pub tree: MountTree,
    /// Where no container tells, the other paths that the archive may have been made of.
    pub alternative_paths: Vec<RelPath>,
    /// All containers that use any of its mounts.
    pub users: Vec<Container>,
}

/// What became of a layout on this host.
#[derive(Debug, Default)]
pub struct Resolution {
    /// What was found, in the layout's order.
    pub targets: Vec<Target>,
    /// Extra archives that this host could give.
    pub left_out: Vec<String>,
    /// What was asked for and not found, or not to be told apart.
    pub problems: Vec<Error>,
}

/// Finds each selected archive's tree.
///
/// # Errors
/// The selection names what the layout does not have.
pub fn resolve(layout: &Layout, inventory: &Inventory, selection: &Selection) -> Result<Resolution> {
    let known = |name: &String| layout.archives.iter().any(|spec| spec.name == *name);
    if let Some(unknown) = selection.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = layout.archives.iter().map(|spec| spec.name.as_str()).collect();
        return Err(Error::usage(format!("the layout '{}' has no archive '{unknown}'", layout.name))
            .hint(format!("it has {}", names.join(", "))));
    }
    let finder = Finder { inventory, project: selection.project.as_deref(), down: is_down(layout, inventory, selection) };
    let mut resolution = Resolution::default();
    for spec in &layout.archives {
        let named = selection.only.contains(&spec.name);
        let wanted = if selection.only.is_empty() { !spec.extra || selection.all } else { named };
        match finder.find(spec, named) {
            Ok(Some(_)) if !wanted && spec.extra && selection.only.is_empty() => {
                resolution.left_out.push(spec.name.clone());
            }
            Ok(Some(target)) if wanted => resolution.targets.push(target),
            Err(error) if wanted => resolution.problems.push(error.within(&spec.name)),
            Ok(_) | Err(_) => {}
        }
    }
    if resolution.targets.is_empty() && resolution.problems.is_empty() {
        resolution.problems.push(
            Error::refused(format!("nothing of the layout '{}' exists on this host", layout.name))
                .hint("is the stack created? --layout names another, --docker another engine"),
        );
    }
    Ok(resolution)
}

/// Whether the stack's containers are all gone (`compose down`): then its volumes stand for themselves.
fn is_down(layout: &Layout, inventory: &Inventory, selection: &Selection) -> bool {
    let mut sources = layout.archives.iter().flat_map(|spec| &spec.sources);
    !sources.any(|source| {
        let project = selection.project.as_deref();
        inventory.containers.iter().any(|container| {
            in_project(container.project.as_deref(), project)
                && (container.name == source.container || container.service.as_deref() == Some(&source.container))
        })
    })
}

fn in_project(own: Option<&str>, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| own == Some(wanted))
}

struct Finder<'a> {
    inventory: &'a Inventory,
    project: Option<&'a str>,
    down: bool,
}

impl Finder<'_> {
    fn find(&self, spec: &ArchiveSpec, named: bool) -> Result<Option<Target>> {
        if let Some(target) = self.by_container(spec)? {
            return Ok(Some(target));
        }
        // An optional archive's volume may be left over from an older generation: while the stack has
        // containers, only those count.
        if !spec.optional || self.down || named {
            if let Some(target) = self.by_volume(spec)? {
                return Ok(Some(target));
            }
        }
        if spec.optional && !named {
            return Ok(None);
        }
        Err(self.nothing(spec))
    }

    /// The newest generation whose container exists and has the path on a mount.
    fn by_container(&self, spec: &ArchiveSpec) -> Result<Option<Target>> {
        let mut found: Option<Target> = None;
        let mut failure = None;
        for source in spec.sources.iter().rev() {
            let Some(container) = self.container(source)? else { continue };
            let tree = match tree(container, &source.path) {
                Ok(tree) => tree,
                Err(error) => {
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            match &found {
                None => {
                    found = Some(Target {
                        archive: spec.name.clone(),
                        container: Some(container.clone()),
                        users: users(self.inventory, &tree).into_iter().cloned().collect(),
                        tree,
                        alternative_paths: Vec::new(),
                    });
                }
                Some(newer) if newer.container.as_ref().is_some_and(|newer| newer.id == container.id) => {}
                Some(newer) if newer.tree == tree => {}
                Some(newer) => {
                    let newer = newer.container.as_ref().map_or("?", |container| &container.name);
                    return Err(Error::refused(format!(
                        "both '{newer}' and '{}' exist, with different data",
                        container.name
                    ))
                    .hint("name the one that is meant in a layout file, or remove the other"));
                }
            }
        }
        match (found, failure) {
            (Some(target), _) => Ok(Some(target)),
            // An optional path of an existing container (an older CVAT has no such volume) is just not there.
            (None, Some(_)) if spec.optional => Ok(None),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// By its very name, else by its compose service.
    fn container(&self, source: &Source) -> Result<Option<&Container>> {
        let wanted = &source.container;
        let ours = || self.inventory.containers.iter().filter(|c| in_project(c.project.as_deref(), self.project));
        if let Some(container) = ours().find(|container| container.name == *wanted) {
            return Ok(Some(container));
        }
        let serving: Vec<&Container> = ours().filter(|c| c.service.as_deref() == Some(wanted)).collect();
        let projects: BTreeSet<&str> = serving.iter().filter_map(|c| c.project.as_deref()).collect();
        if projects.len() > 1 {
            return Err(several(&format!("the service '{wanted}'"), &projects));
        }
        // Replicas of one service share its volumes.
        Ok(serving.into_iter().min_by(|a, b| a.name.cmp(&b.name)))
    }

    fn by_volume(&self, spec: &ArchiveSpec) -> Result<Option<Target>> {
        let matching: Vec<&Volume> = self
            .inventory
            .volumes
            .iter()
            .filter(|volume| in_project(volume.project.as_deref(), self.project))
            .filter(|volume| volume.compose_name.as_deref() == Some(&spec.name))
            .collect();
        let projects: BTreeSet<&str> = matching.iter().filter_map(|volume| volume.project.as_deref()).collect();
        if projects.len() > 1 {
            return Err(several(&format!("the volume '{}'", spec.name), &projects));
        }
        let (Some(volume), Some(newest)) = (matching.first(), spec.sources.last()) else { return Ok(None) };
        let tree = single(volume, &newest.path);
        let mut others: Vec<RelPath> = spec.sources.iter().rev().map(|source| source.path.clone()).collect();
        others.retain(|path| *path != newest.path);
        others.dedup();
        Ok(Some(Target {
            archive: spec.name.clone(),
            container: None,
            users: users(self.inventory, &tree).into_iter().cloned().collect(),
            tree,
            alternative_paths: others,
        }))
    }

    fn nothing(&self, spec: &ArchiveSpec) -> Error {
        let mut containers: Vec<&str> = spec.sources.iter().map(|source| source.container.as_str()).collect();
        containers.dedup();
        let containers = containers.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" or ");
        let within = self.project.map(|project| format!(" in project '{project}'")).unwrap_or_default();
        Error::refused(format!(
            "there is neither a container {containers} nor a volume labelled '{}'{within}",
            spec.name
        ))
        .hint(match self.project {
            Some(_) => "is that the project's name? `docker volume ls` and `docker ps -a` show what there is",
            None => "is the stack created on this host? --layout describes another stack, --only takes fewer archives",
        })
    }
}

fn several(what: &str, projects: &BTreeSet<&str>) -> Error {
    let list = projects.iter().copied().collect::<Vec<_>>().join(", ");
    Error::refused(format!("several compose projects have {what}: {list}"))
        .hint(format!("say which one is meant: --project {}", projects.first().copied().unwrap_or("NAME")))
}
