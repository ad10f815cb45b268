//! Which containers the checks of a restore are run in.

use crate::check::Check;
use crate::error::{Error, Result};
use crate::host::containers::ContainerCheck;
use crate::host::{Container, Inventory, State};
use crate::member::printable;
use crate::resolve::{self, Target};

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
    let is_candidate = |container: &&Container| {
        let is_of = |project: &str| projects.contains(&project);
        projects.is_empty() || container.name == check.container || container.project.as_deref().is_some_and(is_of)
    };
    let within = |error: Error| error.within(format!("the check '{check}'"));
    let (found, _) = resolve::containers(inventory.all().filter(is_candidate), &check.container).map_err(within)?;
    let Some(container) = found.iter().find(|one| one.state == State::Running).or(found.first()) else {
        let what = format!("there is no container or service '{}'", printable(check.container.as_bytes()));
        return Err(within(Error::refused(what).hint("`docker ps --all` lists the containers")));
    };
    let name = container.name.clone();
    if container.state != State::Running {
        notes.push(format!(
            "the check '{check}' will fail: container '{name}' is not running, and only what voltar stops is started"
        ));
    }
    Ok(ContainerCheck { id: container.id.clone(), name, command: check.command.clone() })
}
