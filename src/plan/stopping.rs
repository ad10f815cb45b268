//! Which running containers are stopped, and which of them forbid a run.

use super::Running;
use crate::error::Error;
use crate::host::containers::{self, Why};
use crate::host::{Container, Inventory, State};
use crate::resolve::Target;

/// What a run does about running containers.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// The containers that are stopped and started again.
    pub(super) to_stop: Vec<Container>,
    /// The names of the running containers of the same compose projects that do not use the volumes, and are not stopped.
    pub(super) left_running: Vec<String>,
    /// The reasons to refuse.
    pub(super) refusals: Vec<Error>,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
}

/// Decides about the `users` of the targets and about the other containers of their compose projects.
pub(super) fn decide<'a>(
    users: &[Container],
    targets: impl Iterator<Item = &'a Target>,
    inventory: &Inventory,
    running: Running,
) -> Stopping {
    let projects: Vec<&str> = targets.filter_map(|target| target.project.as_deref()).collect();
    let users_and: Vec<&Container> = users.iter().collect();
    let others: Vec<&Container> = inventory
        .all()
        .filter(|one| one.project.as_deref().is_some_and(|project| projects.contains(&project)))
        .filter(|one| users.iter().all(|user| user.id != one.id))
        .collect();
    match running {
        Running::Allow => Stopping::default(),
        Running::Refuse => Stopping { refusals: in_use(&users_and), ..Stopping::default() },
        Running::Stop => Stopping {
            to_stop: running_ones(&users_and),
            left_running: running_ones(&others).into_iter().map(|one| one.name).collect(),
            refusals: containers::not_restartable(&users_and, Why::Users),
            notes: Vec::new(),
        },
        Running::StopProject => Stopping {
            to_stop: running_ones(&[users_and.clone(), others.clone()].concat()),
            left_running: Vec::new(),
            refusals: [
                containers::not_restartable(&users_and, Why::Users),
                containers::not_restartable(&others, Why::Project),
            ]
            .concat(),
            notes: if projects.is_empty() { vec![NO_PROJECT.to_owned()] } else { Vec::new() },
        },
    }
}

const NO_PROJECT: &str = "the volumes belong to no compose project: only the containers that use them are stopped";

fn running_ones(containers: &[&Container]) -> Vec<Container> {
    containers.iter().filter(|one| one.state == State::Running).map(|&one| one.clone()).collect()
}

/// Refuses users that are running, where they are neither stopped nor allowed to run.
fn in_use(users: &[&Container]) -> Vec<Error> {
    // `--stop` would refuse swarm tasks too, so they have a hint of their own.
    let names: Vec<&str> = users
        .iter()
        .filter(|user| user.state == State::Running && user.swarm_service.is_none())
        .map(|user| user.name.as_str())
        .collect();
    let are_running = (!names.is_empty()).then(|| {
        Error::refused(format!("{} are running: {}", Why::Users, names.join(", ")))
            .hint("stop them, or let voltar stop them and start them again: --stop")
    });
    let others = [containers::paused(users, Why::Users), containers::swarm_tasks(users, Why::Users)];
    are_running.into_iter().chain(others.into_iter().flatten()).collect()
}
