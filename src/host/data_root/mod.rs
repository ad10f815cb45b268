//! Docker's own files as a source of inventories, for a host whose daemon does not start or for the disk of
//! another host. It reads `containers/` and `volumes/` only: the labels of volumes are in a database of the
//! daemon, so the names of volumes are used instead.
//!
//! The files describe the host on which, and the time at which, they were written. Paths are translated to the
//! present location of the data root, and a container counts as running only if its process is alive on this machine.

mod config;
mod containers;
mod files;
mod origin;
mod processes;
pub(super) mod volumes;

use std::collections::BTreeMap;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::member::printable;

use super::inventory::{Container, Host, Inventory, State, StopOutcome};
use super::{mount_options, option_volume, parse, places, shifted_owners};
use config::{Config, HostConfig, StoredContainer};
use files::{show, unreadable};
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
        let shown = printable(dir.as_os_str().as_encoded_bytes());
        let dir = dir.canonicalize().map_err(|cause| unreadable(dir, &cause))?;
        for part in ["containers", "volumes"] {
            let found = dir.join(part).metadata();
            match found {
                Ok(found) if found.is_dir() => {}
                Err(cause) if cause.kind() == IoKind::PermissionDenied => return Err(unreadable(&dir, &cause)),
                Ok(_) | Err(_) => {
                    return Err(Error::usage(format!(
                        "{shown} is not a Docker data root: it has no directory '{part}'"
                    ))
                    .hint("a data root is a directory like /var/lib/docker (`docker info` names it)"));
                }
            }
        }
        Ok(Self { dir, shown, processes: Processes::of_this_machine() })
    }

    fn obstacles(&self) -> Vec<String> {
        let name = self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let remapped = name.split_once('.').is_some_and(|(uid, gid)| number(uid) && number(gid));
        let mut obstacles = Vec::new();
        if remapped {
            let engine = format!("{} is the data root of an engine with userns-remap", self.shown);
            obstacles.push(shifted_owners::obstacle(&engine));
        }
        if self.dir.ends_with(".local/share/docker") {
            let engine = format!("{} is the data root of a rootless engine", self.shown);
            obstacles.push(shifted_owners::obstacle(&engine));
        }
        obstacles
    }
}

impl Host for DataRoot {
    fn describe(&self) -> String {
        format!("Docker's files in {}, without an engine", self.shown)
    }

    fn address(&self) -> String {
        show(&self.dir)
    }

    fn inventory(&self) -> Result<Inventory> {
        let mut notes = Vec::new();
        let mut volumes = volumes::volumes(&self.dir)?;
        let stored = containers::stored(&self.dir, &mut notes)?;
        let origin = Origin::new(&self.dir, stored.iter().find_map(|(_, container)| original_root(container)));
        for volume in &mut volumes {
            let device = mount_options::bind_device(&volume.options);
            volume.bound = device.and_then(|device| origin.find(&self.dir, device));
            if origin == Origin::Here {
                volume.filesystem = option_volume::filesystem(&volume.driver, &volume.options);
            }
        }
        let sources = Sources { volumes: parse::sources(&volumes), root: &self.dir, origin };
        let mut found = Vec::with_capacity(stored.len());
        for (file, stored) in &stored {
            let state = containers::state(stored, &self.processes, &mut notes);
            let container = containers::container(stored, &sources, state);
            found.push(container.map_err(|error| error.within(format!("cannot read '{}'", show(file))))?);
        }
        let mut inventory = Inventory {
            containers: found,
            volumes,
            labels_unknown: true,
            notes,
            obstacles: self.obstacles(),
            ..Inventory::default()
        };
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

/// Converts a stopped container of a data root that was moved to `dir`, without access to the disk or to processes.
pub(super) fn moved_container(dir: &Path, config: Config, host_config: HostConfig) -> Result<Container> {
    let stored = StoredContainer::new(config, host_config)?;
    let origin = original_root(&stored).map_or(Origin::Unknown, |root| Origin::moved(dir, root));
    let sources = Sources { volumes: BTreeMap::new(), root: dir, origin };
    containers::container(&stored, &sources, State::Stopped)
}

fn no_engine(verb: &str) -> Error {
    Error::refused(format!("cannot {verb} containers: with --data-root no engine is used"))
        .hint(format!("leave out --data-root, or {verb} them yourself"))
}

#[cfg(test)]
mod tests;
