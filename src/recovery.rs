//! Recovers volumes after a restore that was killed: it is completed or undone.
//!
//! An exchange is recovered at any time, since it touches nothing inside the live tree. Moved entries are recovered only
//! while no container uses the volume: until then its content is half old and half new, and must not change while
//! processes have it open.

use std::path::Path;

use crate::error::{Error, Result};
use crate::host::State;
use crate::host::mounts::MountTree;
use crate::live_mounts::{LiveMount, live_mounts};
use crate::monitor::Monitor;
use crate::resolve::Target;
use crate::volume::swap::{Recovered, Way, is_unfinished, recover};

/// Recovers those of `mounts` that are replaced by one of `ways`.
///
/// # Errors
/// A restore into one of them is in progress, or what it left cannot be completed or undone.
pub(crate) fn recover_mounts(archive: &str, mounts: &[LiveMount], ways: &[Way], monitor: &dyn Monitor) -> Result<()> {
    for live in mounts.iter().filter_map(LiveMount::directory).filter(|live| ways.contains(&live.way)) {
        let state = match recover(live).map_err(|error| error.within(archive))? {
            None => continue,
            Some(Recovered::Old) => "it holds the content from before that run",
            Some(Recovered::New) => "it holds the content which that run restored",
        };
        monitor.note(&format!(
            "{archive}: recovered from a restore into '{}' that was interrupted; {state}",
            live.path.display()
        ));
    }
    Ok(())
}

/// Recovers the mounts of every target that no container uses, by both ways.
///
/// # Errors
/// As [`recover_mounts`].
pub(crate) fn recover_unused(targets: &[Target], monitor: &dyn Monitor) -> Result<()> {
    let unused = targets.iter().filter(|target| target.users.iter().all(|user| user.state == State::Stopped));
    recover_targets(unused, &[Way::Exchange, Way::Entries], monitor)
}

/// Recovers the mounts of every target that are replaced by one of `ways`. Mounts that are not found are skipped: the plan
/// refuses them.
///
/// # Errors
/// As [`recover_mounts`].
pub(crate) fn recover_targets<'a>(
    targets: impl IntoIterator<Item = &'a Target>,
    ways: &[Way],
    monitor: &dyn Monitor,
) -> Result<()> {
    for target in targets {
        if let Ok(mounts) = live_mounts(&target.tree) {
            recover_mounts(&target.archive, &mounts, ways, monitor)?;
        }
    }
    Ok(())
}

/// Returns a refusal for each mount of `tree` whose content is half old and half new, because a restore was killed
/// while its entries moved, or is moving them now.
pub(crate) fn unfinished(tree: &MountTree) -> Vec<Error> {
    let Ok(mounts) = live_mounts(tree) else { return Vec::new() };
    let moved = mounts.iter().filter_map(LiveMount::directory).filter(|live| live.way == Way::Entries);
    moved.filter(|live| is_unfinished(live)).map(|live| half_moved(&live.path)).collect()
}

fn half_moved(path: &Path) -> Error {
    Error::refused(format!("a restore into '{}' was interrupted or is still in progress", path.display()))
        .hint("stop the containers that use it; then `voltar resume` completes or undoes that restore")
}
