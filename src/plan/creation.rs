//! The volumes that a restore creates: their names and labels are those that compose gives them, so that compose takes
//! them for its own.

use crate::error::{Error, Result};
use crate::host::{Inventory, NewVolume, no_engine_for};
use crate::layout::ArchiveSpec;
use crate::member::printable;
use crate::resolve::Selection;

/// Returns the volume to be created for an archive of which neither a container nor a volume was found.
///
/// # Errors
/// The name that compose would give it is not known, it exists after all, or there is no engine.
pub(super) fn new_volume(spec: &ArchiveSpec, selection: &Selection, inventory: &Inventory) -> Result<NewVolume> {
    let archive = &spec.name;
    let name = selection.volumes.get(archive).cloned();
    let by_name = format!("--volume {archive}=VOLUME names the volume itself");
    let new = match (&selection.project, &spec.volume, name) {
        (Some(project), Some(volume), name) => NewVolume::of_compose(project, volume, name),
        (_, _, Some(name)) => NewVolume::external(name),
        (_, None, None) => {
            return Err(Error::refused(format!("{archive}: the layout does not say which volume is to be created"))
                .hint(format!(
                    "add to its entry: volume = \"NAME\" (the volume's name in the compose file); {by_name}"
                )));
        }
        (None, Some(_), None) => {
            return Err(Error::refused(format!(
                "{archive}: the compose project of the volume to be created is not known"
            ))
            .hint(format!("say it with --project NAME; {by_name}")));
        }
    };
    if inventory.labels_unknown {
        return Err(no_engine_for(&new.name).within(archive));
    }
    if inventory.volumes.iter().any(|volume| volume.name == new.name) {
        let name = printable(new.name.as_bytes());
        return Err(Error::refused(format!(
            "{archive}: the volume '{name}' exists, but its labels are not those of compose"
        ))
        .hint(format!("--volume {archive}={name} restores into it as it is")));
    }
    Ok(new)
}
