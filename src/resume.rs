//! Resume, from start to end: complete or undo what a killed restore left in the volumes, then start
//! the containers that the killed run had stopped.

use std::path::Path;

use crate::error::Result;
use crate::host::Host;
use crate::host::containers;
use crate::layout::Layout;
use crate::monitor::Monitor;
use crate::recovery::{recover_trees, report_left};
use crate::resolve::{Selection, survey};

/// Brings back what an interrupted run left stopped.
///
/// # Errors
/// A volume cannot be recovered: then nothing is started on it. Or a container does not start.
pub fn resume(
    layout: &Layout,
    selection: &Selection,
    host: &dyn Host,
    state_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let selection = Selection { all: true, ..selection.clone() };
    // What is not found here has nothing to be recovered.
    let targets = survey(layout, &host.inventory()?, &selection)?.targets;
    recover_trees(targets.iter().map(|target| (&target.tree, target.is_unused())), state_dir, monitor)?;
    report_left(state_dir, monitor)?;
    if containers::resume(host, state_dir, monitor)?.is_empty() {
        monitor.note("no container was left stopped by an interrupted run");
    }
    Ok(())
}
