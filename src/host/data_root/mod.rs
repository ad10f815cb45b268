//! Docker's own files as a source of inventories, for a host whose daemon does not start or for the disk of
//! another host. It reads `containers/` and `volumes/` only: the labels of volumes are in a database of the
//! daemon, so the names of volumes are used instead.
//!
//! The files describe the host on which, and the time at which, they were written. Paths are translated to the
//! present location of the data root, and a container counts as running only if its process is alive on this machine.

mod config;
mod containers;
mod files;
mod id_maps;
mod origin;
mod processes;
pub(super) mod volumes;

use std::collections::BTreeMap;
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::member::printable_path;

use super::inventory::{Container, Host, Inventory, State, StopOutcome};
use super::{mount_options, option_volume, parse, places, subids};
use config::{Config, HostConfig, StoredContainer};
use files::{directories, unreadable};
use id_maps::Place;
use origin::{Origin, Sources, original_root};
use processes::Processes;

/// A Docker data root that is read without an engine.
#[derive(Debug)]
pub struct DataRoot {
    dir: PathBuf,
    /// The path as the user wrote it.
    shown: String,
    processes: Processes,
}

impl DataRoot {
    /// Opens the data root at `dir`.
    ///
    /// # Errors
    /// `dir` cannot be read, or does not have the directories of a data root.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = printable_path(dir);
        let dir = dir.canonicalize().map_err(|cause| unreadable(dir, &cause))?;
        for part in ["containers", "volumes"] {
            let found = dir.join(part).metadata();
            match found {
                Ok(found) if found.is_dir() => {}
                Err(cause) if cause.kind() == IoKind::PermissionDenied => return Err(unreadable(&dir, &cause)),
                Ok(_) | Err(_) => {
                    let error =
                        Error::usage(format!("{shown} is not a Docker data root: it has no directory '{part}'"));
                    return Err(error.hint(match &remapped_roots(&dir)[..] {
                        [] => "a data root is a directory like /var/lib/docker (`docker info` names it)".to_owned(),
                        roots => {
                            format!("it holds that of an engine with userns-remap: --data-root {}", roots.join(", "))
                        }
                    }));
                }
            }
        }
        Ok(Self { dir, shown, processes: Processes::of_this_machine() })
    }
}

impl Host for DataRoot {
    fn describe(&self) -> String {
        format!("Docker's files in {}, without an engine", self.shown)
    }

    fn address(&self) -> String {
        printable_path(&self.dir)
    }

    fn inventory(&self) -> Result<Inventory> {
        let mut notes = Vec::new();
        let mut volumes = volumes::volumes(&self.dir)?;
        let stored = containers::stored(&self.dir, &mut notes)?;
        let original = stored.iter().find_map(|(_, container)| original_root(container));
        let origin = Origin::new(&self.dir, original.clone());
        let place = Place { dir: &self.dir, original: original.as_deref(), host: origin.host() };
        let mapped = id_maps::find(&place);
        // Of another host, or of files that another user can write, nothing is mounted.
        let mounts_are_roots = origin == Origin::Here && only_root_writes(&self.dir);
        for volume in &mut volumes {
            let device = mount_options::bind_device(&volume.options);
            volume.bound = device.and_then(|device| origin.find(&self.dir, device));
            if mounts_are_roots {
                volume.filesystem = option_volume::filesystem(&volume.driver, &volume.options);
            }
        }
        let sources = Sources { volumes: parse::sources(&volumes), root: &self.dir, origin };
        let mut found = Vec::with_capacity(stored.len());
        for (file, stored) in &stored {
            let state = containers::state(stored, &self.processes, &mut notes);
            let container = containers::container(stored, &sources, state);
            found.push(container.map_err(|error| error.within(format!("cannot read '{}'", printable_path(file))))?);
        }
        for other in remapped_roots(&self.dir) {
            notes.push(format!("{other} is the data root of an engine with userns-remap, and not looked at"));
        }
        let mut inventory =
            Inventory { containers: found, volumes, labels_unknown: true, notes, ..Inventory::default() };
        match mapped {
            Ok((mapped, note)) => {
                inventory.notes.extend(note);
                inventory.map_ids(&mapped);
            }
            Err(obstacle) => inventory.obstacles.push(obstacle),
        }
        inventory.distrust_filesystems();
        places::find(&mut inventory);
        Ok(inventory)
    }

    fn stop(&self, container_ids: &[&str], ended: &mut dyn FnMut(&str, Result<StopOutcome>)) {
        for id in container_ids {
            ended(id, Err(no_engine("stop")));
        }
    }

    fn start(&self, container_ids: &[&str], requested: &mut dyn FnMut(&str, Result<()>)) {
        for id in container_ids {
            requested(id, Err(no_engine("start")));
        }
    }
}

/// Returns whether only root can write in `dir`.
fn only_root_writes(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|status| status.uid() == 0 && status.mode() & 0o022 == 0)
}

/// Converts a stopped container of a data root that was moved to `dir`, without access to the disk or to processes.
pub(super) fn moved_container(dir: &Path, config: Config, host_config: HostConfig) -> Result<Container> {
    let stored = StoredContainer::new(config, host_config)?;
    let origin = original_root(&stored).map_or(Origin::Unknown, |root| Origin::moved(dir, root));
    let sources = Sources { volumes: BTreeMap::new(), root: dir, origin };
    containers::container(&stored, &sources, State::Stopped)
}

/// Returns the data roots of engines with userns-remap in `dir`: such an engine has a data root of its own in the one
/// that it is configured with.
fn remapped_roots(dir: &Path) -> Vec<String> {
    let is_data_root = |dir: &&PathBuf| {
        subids::container_root(dir).is_some() && ["containers", "volumes"].iter().all(|part| dir.join(part).is_dir())
    };
    directories(dir).unwrap_or_default().iter().filter(is_data_root).map(|dir| printable_path(dir)).collect()
}

fn no_engine(verb: &str) -> Error {
    Error::refused(format!("cannot {verb} containers: with --data-root no engine is used"))
        .hint(format!("leave out --data-root, or {verb} them yourself"))
}

#[cfg(test)]
mod tests;
