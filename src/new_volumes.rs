//! Volumes that a restore creates. If the restore does not complete, they are removed again, unless anything is in them:
//! at its end or, if it was killed or the engine did not answer, by the next restore or `voltar resume`.

mod record;

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::filesystem::Access;
use crate::host::mounts::tree_of_volume;
use crate::host::{Host, MountKind, NewVolume, Volume};
use crate::live_mounts::LiveMounts;
use crate::member::{RelPath, printable};
use crate::monitor::Monitor;
use crate::recovery::unfinished;
use crate::volume::walk::Walk;
use record::{Record, records};

/// When what is left will be removed.
const LATER: &str = "the next restore, or `voltar resume`, removes it";

/// The volumes that were created for a restore. Dropping it removes those that are still empty.
pub(crate) struct NewVolumes<'a> {
    host: &'a dyn Host,
    state_dir: &'a Path,
    monitor: &'a dyn Monitor,
    volumes: Vec<Volume>,
    /// Whether the engine may have created one more, although it has not said so.
    unsure: bool,
    /// `None` if no volume was to be created, and once they are kept.
    record: Option<Record>,
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
        let planned: Vec<&NewVolume> = volumes.collect();
        let record = if planned.is_empty() { None } else { Some(Record::write(state_dir, host, &planned)?) };
        let mut created = Self { host, state_dir, monitor, volumes: Vec::new(), unsure: false, record };
        for volume in planned {
            monitor.check_cancelled()?;
            created.unsure = true;
            created.volumes.push(host.create_volume(volume)?);
            created.unsure = false;
            monitor.note(&format!("created volume '{}'", printable(volume.name.as_bytes())));
        }
        Ok(created)
    }

    /// Leaves the volumes in place: they hold what was restored.
    pub(crate) fn keep(mut self) {
        self.volumes.clear();
        if let Some(Err(error)) = self.record.take().map(Record::remove) {
            let error = error.hint(LATER);
            self.monitor.issue("", format!("restored, but a record is left: {}", error.with_hint()));
        }
    }

    /// Removes the volumes and the record. It asks the engine what there is only if that is not known: a run that was
    /// cancelled gets no answer.
    fn remove(&self, record: Record) -> Result<()> {
        for volume in &self.volumes {
            remove_if_empty(volume, self.host, self.state_dir, self.monitor)?;
        }
        if self.unsure { remove_recorded(record, self.host, self.state_dir, self.monitor) } else { record.remove() }
    }
}

impl Drop for NewVolumes<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.record.take().map(|record| self.remove(record)) {
            let error = error.hint(LATER);
            self.monitor.issue("", format!("a volume which was created may be left: {}", error.with_hint()));
        }
    }
}

/// Removes what restores that did not complete have created, unless anything is in it. Returns whether there were any.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn recover(host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<bool> {
    let mut found = false;
    for path in records(state_dir)? {
        let removed = match Record::take_over(&path) {
            Ok(Some(record)) if record.is_of(host) => {
                found = true;
                remove_recorded(record, host, state_dir, monitor)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            monitor.issue("", error.with_hint());
        }
    }
    Ok(found)
}

/// Removes those volumes on the record that exist and hold nothing, and the record.
///
/// # Errors
/// The engine does not answer, a volume cannot be removed, or the record: it is kept then.
fn remove_recorded(record: Record, host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    let inventory = host.inventory_of(&|_| BTreeSet::new())?;
    Error::none_of(inventory.refusals().collect())?;
    for new in record.volumes() {
        let Some(volume) = inventory.volumes.iter().find(|volume| new.is(volume)) else { continue };
        let is_it = |kind: &MountKind| matches!(kind, MountKind::Volume { name, .. } if *name == volume.name);
        if inventory.all().any(|container| container.mounts.iter().any(|mount| is_it(&mount.kind))) {
            report_left(volume, "a container has it", monitor);
        } else {
            remove_if_empty(volume, host, state_dir, monitor)?;
        }
    }
    record.remove()
}

/// Removes a volume that holds nothing. The engine refuses to remove one that a container has.
fn remove_if_empty(volume: &Volume, host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    if is_empty(volume, state_dir)? {
        host.remove_volume(&volume.name)?;
        monitor.note(&format!("removed volume '{}' again", printable(volume.name.as_bytes())));
    } else {
        report_left(volume, "it is not empty", monitor);
    }
    Ok(())
}

fn report_left(volume: &Volume, why: &str, monitor: &dyn Monitor) {
    monitor.note(&format!("volume '{}', which was created, is left: {why}", printable(volume.name.as_bytes())));
}

fn is_empty(volume: &Volume, state_dir: &Path) -> Result<bool> {
    let tree = tree_of_volume(volume, &RelPath::root())?;
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    // It is closed at the end: an open directory would not keep the engine from removing it.
    let open = mounts.open(&tree)?;
    let mut walk = Walk::new(&open)?;
    // The walk begins with the root itself, whose error is not one of an entry.
    walk.next().transpose()?;
    Ok(unfinished(&tree, &mounts)?.is_empty() && walk.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::host::{Inventory, StopOutcome};
    use crate::monitor::Collector;

    struct Engine {
        root: PathBuf,
        volumes: Mutex<Vec<Volume>>,
        answers: AtomicBool,
    }

    impl Engine {
        fn names(&self) -> Vec<String> {
            self.volumes.lock().unwrap().iter().map(|volume| volume.name.clone()).collect()
        }
    }

    impl Host for Engine {
        fn describe(&self) -> String {
            "an engine".to_owned()
        }

        fn inventory(&self) -> Result<Inventory> {
            Ok(Inventory { volumes: self.volumes.lock().unwrap().clone(), ..Inventory::default() })
        }

        fn stop(&self, _: &[&str], _: &mut dyn FnMut(&str, Result<StopOutcome>)) {}

        fn start(&self, _: &[&str], _: &mut dyn FnMut(&str, Result<()>)) {}

        fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
            let mountpoint = self.root.join(&new.name);
            fs::create_dir(&mountpoint).unwrap();
            let (name, driver) = (new.name.clone(), "local".to_owned());
            let volume = Volume { name, driver, mountpoint, ..Volume::default() };
            self.volumes.lock().unwrap().push(volume.clone());
            Ok(volume)
        }

        fn remove_volume(&self, name: &str) -> Result<()> {
            if !self.answers.load(Ordering::Relaxed) {
                return Err(Error::refused("no answer"));
            }
            self.volumes.lock().unwrap().retain(|volume| volume.name != name);
            Ok(())
        }
    }

    #[test]
    fn what_the_engine_has_not_removed_is_removed_later() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let root = dir.path().to_owned();
        let engine = Engine { root, volumes: Mutex::default(), answers: AtomicBool::new(false) };
        let monitor = Collector::default();
        let new = ["empty", "used"].map(|name| NewVolume::external(name.to_owned()));
        drop(NewVolumes::create(new.iter(), &engine, &state, &monitor).unwrap());
        fs::write(dir.path().join("used/file"), "of a container").unwrap();
        assert_eq!(engine.names(), ["empty", "used"]);
        assert_eq!(records(&state).unwrap().len(), 1);
        engine.answers.store(true, Ordering::Relaxed);
        assert!(recover(&engine, &state, &monitor).unwrap());
        assert_eq!(engine.names(), ["used"]);
        assert!(records(&state).unwrap().is_empty());
        assert!(!recover(&engine, &state, &monitor).unwrap());
    }

    #[test]
    fn a_restore_that_is_complete_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let root = dir.path().to_owned();
        let engine = Engine { root, volumes: Mutex::default(), answers: AtomicBool::new(true) };
        let new = [NewVolume::external("empty".to_owned())];
        NewVolumes::create(new.iter(), &engine, &state, &Collector::default()).unwrap().keep();
        assert!(!recover(&engine, &state, &Collector::default()).unwrap());
        assert_eq!(engine.names(), ["empty"]);
    }
}
