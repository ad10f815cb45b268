//! What stopping the containers would change about the volumes. A plan judges the state after the stop, so that nothing is
//! stopped for a run that cannot succeed.

use super::facts::Facts;
use crate::error::{Error, Result};
use crate::host::{Container, Inventory, MountKind, State, Volume, option_volume};
use crate::resolve::Target;

/// Returns a refusal for each volume of `target` that the engine would unmount, because every container that keeps it
/// mounted is stopped.
///
/// # Errors
/// The table of mounts cannot be read.
pub(super) fn unmounted(
    target: &Target,
    to_stop: &[Container],
    inventory: &Inventory,
    facts: &dyn Facts,
) -> Result<Vec<Error>> {
    let mut refusals = Vec::new();
    for mount in &target.tree.mounts {
        let MountKind::Volume { name, .. } = &mount.kind else { continue };
        let Some(volume) = inventory.volumes.iter().find(|volume| volume.name == *name) else { continue };
        if !option_volume::has_mount_options(volume) {
            continue;
        }
        let keepers: Vec<&Container> =
            inventory.all().filter(|one| one.state != State::Stopped && mounts(one, volume)).collect();
        let is_stopped = |keeper: &&Container| to_stop.iter().any(|stopped| stopped.id == keeper.id);
        // A mount without such a container is not the engine's, and neither is one of two: the engine unmounts only its
        // own. Where nothing is mounted, that is refused already.
        if keepers.is_empty() || !keepers.iter().all(is_stopped) || facts.mounts_at(&volume.mountpoint)? != 1 {
            continue;
        }
        let names: Vec<&str> = keepers.iter().map(|keeper| keeper.name.as_str()).collect();
        let why = format!("all that do would be stopped: {}", names.join(", "));
        refusals.push(option_volume::not_mounted(volume, &why).within(&target.archive));
    }
    Ok(refusals)
}

/// Returns whether the engine mounts the volume for this container. A bind mount of its mountpoint does not do that.
fn mounts(container: &Container, volume: &Volume) -> bool {
    let is_volume = |kind: &MountKind| matches!(kind, MountKind::Volume { name, .. } if *name == volume.name);
    container.mounts.iter().any(|mount| is_volume(&mount.kind))
}
