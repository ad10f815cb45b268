//! Which containers the checks of a restore are run in.

use crate::check::Check;
use crate::error::{Error, Result};
use crate::host::containers::ContainerCheck;
use crate::host::{Container, Inventory, State};
use crate::member::printable;
use crate::resolve::Target;

/// Returns the container in which `check` is run: the one with its name, else one of the compose service with that name, in
/// `project`, or in the projects of the targets, or in any if they are of none. Adds a note if it is not running.
///
/// # Errors
/// There is none, or services of several projects have that name.
pub(super) fn find(
    check: &Check,
    project: Option<&str>,
    targets: &[Target],
    inventory: &Inventory,
    notes: &mut Vec<String>,
) -> Result<ContainerCheck> {
    let projects: Vec<&str> = match project {
        Some(project) => vec![project],
        None => targets.iter().filter_map(|target| target.project.as_deref()).collect(),
    };
    let container = container_of(check, &projects, inventory)
        .map_err(|(what, hint)| Error::refused(format!("the check '{check}': {what}")).hint(hint))?;
    let name = container.name.clone();
    if container.state != State::Running {
        notes.push(format!(
            "the check '{check}' will fail: container '{name}' is not running, and only what voltar stops is started"
        ));
    }
    Ok(ContainerCheck { id: container.id.clone(), name, command: check.command.clone() })
}

/// An error is the cause, and a hint.
fn container_of<'a>(
    check: &Check,
    projects: &[&str],
    inventory: &'a Inventory,
) -> std::result::Result<&'a Container, (String, String)> {
    let name = &check.container;
    if let Some(named) = inventory.all().find(|container| container.name == *name) {
        return Ok(named);
    }
    let is_of = |container: &&Container| {
        let project = container.project.as_deref().unwrap_or_default();
        container.service.as_ref() == Some(name) && (projects.is_empty() || projects.contains(&project))
    };
    let mut replicas: Vec<&Container> = inventory.all().filter(is_of).collect();
    replicas.sort_by_key(|container| (container.state != State::Running, &container.name));
    let Some((&first, others)) = replicas.split_first() else {
        let what = format!("there is no container or service '{}'", printable(name.as_bytes()));
        return Err((what, "`docker ps --all` lists the containers".to_owned()));
    };
    if others.iter().any(|other| other.project != first.project) {
        let names: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
        return Err((
            "several projects have that service".to_owned(),
            format!("name the container: {}", names.join(" or ")),
        ));
    }
    Ok(first)
}
