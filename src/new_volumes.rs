//! Volumes that a restore creates. If the restore does not complete, they are removed again, unless anything is in them.

use std::path::Path;

use crate::error::{Error, Result};
use crate::filesystem::Access;
use crate::host::mounts::tree_of_volume;
use crate::host::{Host, NewVolume, Volume};
use crate::live_mounts::LiveMounts;
use crate::member::{RelPath, printable};
use crate::monitor::Monitor;
use crate::recovery::unfinished;
use crate::volume::walk::Walk;

/// The volumes that were created for a restore. Dropping it removes those that are still empty.
pub(crate) struct NewVolumes<'a> {
    host: &'a dyn Host,
    state_dir: &'a Path,
    monitor: &'a dyn Monitor,
    volumes: Vec<Volume>,
}

impl<'a> NewVolumes<'a> {
    /// Creates `volumes`.
    ///
    /// # Errors
    /// One of them cannot be created; the others are removed again.
    pub(crate) fn create<'v>(
        volumes: impl Iterator<Item = &'v NewVolume>,
        host: &'a dyn Host,
        state_dir: &'a Path,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let mut created = Self { host, state_dir, monitor, volumes: Vec::new() };
        for volume in volumes {
            monitor.check_cancelled()?;
            created.volumes.push(host.create_volume(volume)?);
            monitor.note(&format!("created volume '{}'", printable(volume.name.as_bytes())));
        }
        Ok(created)
    }

    /// Leaves the volumes in place: they hold what was restored.
    pub(crate) fn keep(mut self) {
        self.volumes.clear();
    }

    /// Removes a volume that holds nothing. The engine refuses to remove one that a container uses.
    fn remove(&self, volume: &Volume) -> Result<()> {
        let tree = tree_of_volume(volume, &RelPath::root())?;
        let mounts = LiveMounts::new(self.state_dir, Access::ReadOnly);
        let open = mounts.open(&tree)?;
        let is_unfinished = !unfinished(&tree, &mounts)?.is_empty();
        let mut walk = Walk::new(&open)?;
        // The walk begins with the root itself.
        walk.next().transpose()?;
        if is_unfinished || walk.next().is_some() {
            return Err(Error::refused("it is not empty"));
        }
        // An open directory would not keep the engine from removing it.
        drop(open);
        self.host.remove_volume(&volume.name)
    }
}

impl Drop for NewVolumes<'_> {
    fn drop(&mut self) {
        for volume in &self.volumes {
            let name = printable(volume.name.as_bytes());
            match self.remove(volume) {
                Ok(()) => self.monitor.note(&format!("removed volume '{name}' again")),
                Err(error) => self.monitor.note(&format!("volume '{name}', which was created, is left: {error}")),
            }
        }
    }
}
