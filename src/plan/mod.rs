//! Plans: what a command will do, and every reason why it refuses. A plan is a value: `--dry-run` prints it, and
//! `backup` or `restore` carries it out. Each refusal is an [`Error`].
//!
//! A plan is computed from a request, the inventory of the engine, and [`facts`] about this machine, which tests replace.
//! Nothing here writes.

pub mod backup;
pub mod changes;
mod checks;
pub mod comparison;
mod creation;
mod disk_usage;
pub mod extraction;
pub mod facts;
mod images;
pub mod measure;
mod overlaps;
pub mod postgres;
mod prefix;
pub mod restore;
pub mod retention;
pub(crate) mod room;
pub mod scope;
pub(crate) mod shrinkage;
mod sources;
mod stopping;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::host::{Container, Inventory, State, mounts};
use crate::resolve::Target;
use facts::Facts;

/// What is done about running containers that use the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Nothing is archived or restored.
    Refuse,
    /// They are stopped, and started again afterwards.
    Stop,
    /// All containers of their compose projects are: also those that reach a database only over the network.
    StopProject,
    /// They go on; the archive may mix old and new.
    Allow,
}

/// The containers that use any of the targets' volumes, each once.
pub fn users<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<Container> {
    distinct(targets.flat_map(|target| &target.users))
}

/// Returns the containers that use any of the targets' volumes at this moment, each once, in their present state.
pub fn users_now<'a>(targets: impl Iterator<Item = &'a Target>, now: &Inventory) -> Vec<Container> {
    distinct(targets.flat_map(|target| mounts::users(now, &target.tree)))
}

fn distinct<'a>(containers: impl Iterator<Item = &'a Container>) -> Vec<Container> {
    let mut distinct: Vec<Container> = Vec::new();
    for container in containers {
        if distinct.iter().all(|known| known.id != container.id) {
            distinct.push(container.clone());
        }
    }
    distinct
}

/// Returns the containers that have had processes on the targets' volumes since `users` were found, when the volumes
/// were not in use: those that are running or paused now, and those that were started meanwhile and have ended.
pub fn used_since<'a>(
    users: &[Container],
    targets: impl Iterator<Item = &'a Target>,
    now: &'a Inventory,
) -> Vec<&'a Container> {
    let of_targets: Vec<&Container> = targets.flat_map(|target| mounts::users(now, &target.tree)).collect();
    let was_used = |container: &&Container| {
        let before = users.iter().find(|user| user.id == container.id);
        if before.is_none() && of_targets.iter().all(|user| user.id != container.id) {
            return false;
        }
        let started_meanwhile = match before {
            Some(before) => before.started != container.started,
            // A new one. The engine has the year 1 for a container that was never started.
            None => !container.started.is_empty() && !container.started.starts_with("0001-"),
        };
        container.state != State::Stopped || started_meanwhile
    };
    now.all().filter(was_used).collect()
}

/// Refuses a target whose mounts are not really there.
///
/// # Errors
/// The tables of mounts cannot be read.
fn unreal(target: &Target, inventory: &Inventory, facts: &dyn Facts) -> Result<Vec<Error>> {
    let reasons = facts.unreal(&target.tree, &inventory.volumes)?;
    Ok(reasons.into_iter().map(|error| error.within(&target.archive)).collect())
}

/// Checks that the mounts of all targets are really there, at a later moment than the plan.
///
/// # Errors
/// The tables of mounts cannot be read, or the reasons why those of one target are not.
pub fn check_real<'a>(targets: impl Iterator<Item = &'a Target>, now: &Inventory, facts: &dyn Facts) -> Result<()> {
    targets.map(|target| unreal(target, now, facts)).try_for_each(|reasons| Error::none_of(reasons?))
}
