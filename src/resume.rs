//! Resume, from start to end: complete or undo what a killed restore left in the volumes, remove those that it created and
//! that are still empty, then start the containers that the killed run had stopped.

use std::path::Path;

use crate::error::{Error, Result};
use crate::filesystem::Access;
use crate::host::Host;
use crate::host::containers;
use crate::layout::Layout;
use crate::live_mounts::LiveMounts;
use crate::member::printable_path;
use crate::monitor::Monitor;
use crate::new_volumes;
use crate::recovery::{check_recovered, recover_layout};
use crate::resolve::Selection;
use crate::touched;

/// Brings back what an interrupted run left stopped.
///
/// # Errors
/// The engine's paths are not those of this machine, or it is not certain that each volume is whole: then nothing is started.
/// Or a container does not start.
pub fn resume(
    layout: &Layout,
    selection: &Selection,
    host: &dyn Host,
    state_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let inventory = touched::inventory(host, layout, &selection.volumes, false)?;
    Error::none_of(inventory.refusals().collect())?;
    let mounts = LiveMounts::new(state_dir, Access::ReadWrite);
    let recovery = recover_layout(layout, &inventory, selection, &mounts, monitor)?;
    // Containers are about to start on them.
    drop(mounts);
    let unreadable = check_recovered(&recovery, state_dir, monitor)?;
    new_volumes::recover(host, state_dir, monitor)?;
    if let Some(record) = unreadable.first()
        && !containers::leftovers(state_dir)?.0.is_empty()
    {
        let what = "no container is started: a volume may be half restored, and its record cannot be read";
        return Err(Error::refused(format!("{what}: '{}'", printable_path(record)))
            .hint("fix the cause, or do what the warning about that record says; then run `voltar resume` again"));
    }
    if containers::resume(host, state_dir, monitor)?.is_empty() {
        monitor.note("no container was left stopped by an interrupted run");
    }
    Ok(())
}
