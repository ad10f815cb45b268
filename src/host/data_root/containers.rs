//! The containers of a data root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::host::inventory::{Container, Mount, PROJECT, State, UserNamespace};
use crate::host::parse::{self, References};
use crate::ids::IdMap;
use crate::member::printable_path;

use super::config::{Config, HostConfig, StoredContainer};
use super::files::{directories, read_json};
use super::origin::Sources;
use super::processes::Processes;

/// Reads the containers below `root`, each with the path of its `config.v2.json`.
pub(super) fn stored(root: &Path, notes: &mut Vec<String>) -> Result<Vec<(PathBuf, StoredContainer)>> {
    let mut stored = Vec::new();
    for dir in directories(&root.join("containers"))? {
        let file = dir.join("config.v2.json");
        let Some(config) = read_json::<Config>(&file)? else {
            // The daemon ignores such a directory too.
            notes.push(format!("{} has no config.v2.json; skipped", printable_path(&dir)));
            continue;
        };
        let host: HostConfig = read_json(&dir.join("hostconfig.json"))?.unwrap_or_default();
        let container = StoredContainer::new(config, host)
            .map_err(|error| error.within(format!("cannot read '{}'", printable_path(&file))))?;
        stored.push((file, container));
    }
    Ok(stored)
}

/// Converts a container whose state is known.
pub(super) fn container(stored: &StoredContainer, sources: &Sources<'_>, state: State) -> Result<Container> {
    let StoredContainer { name, config, host } = stored;
    let empty = BTreeMap::new();
    let labels = config.image.labels.as_ref().unwrap_or(&empty);
    let label = |key: &str| labels.get(key);
    let references = References {
        links: host.links.as_deref().unwrap_or_default(),
        volumes_from: host.volumes_from.as_deref().unwrap_or_default(),
        modes: [Some(&host.network_mode), Some(&host.pid_mode), Some(&host.ipc_mode)],
    };
    let mut mounts = Vec::new();
    for (destination, point) in config.mount_points.iter().flatten() {
        mounts.push(sources.mount(name, destination, point)?);
    }
    for at in host.tmpfs.iter().flatten().map(|(at, _)| at) {
        let destination = parse::destination(name, at)?;
        if !mounts.iter().any(|mount: &Mount| mount.destination == destination) {
            mounts.push(Mount::tmpfs(destination));
        }
    }
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(Container {
        id: config.id.clone(),
        name: name.clone(),
        image: config.image.image.clone().unwrap_or_default(),
        image_id: config.image_id.clone(),
        project: label(PROJECT).cloned(),
        service: parse::service(label),
        state,
        user_namespace: if host.userns_mode == "host" { UserNamespace::OfHost } else { UserNamespace::OfEngine },
        ids: IdMap::default(),
        created: config.created.clone().unwrap_or_default(),
        started: config.state.started_at.clone(),
        depends_on: parse::depends_on(label, &references),
        environment: config.image.env.clone().unwrap_or_default(),
        mounts,
        auto_remove: host.auto_remove,
        one_off: parse::one_off(label),
        swarm_service: parse::swarm_service(label),
    })
}

/// Returns the state of a container. The file holds the state at the time when it was written, so a container counts
/// as running only if its process is alive.
pub(super) fn state(stored: &StoredContainer, processes: &Processes, notes: &mut Vec<String>) -> State {
    let StoredContainer { name, config, .. } = stored;
    let was_running = config.state.running || config.state.restarting;
    if !was_running {
        return State::Stopped;
    }
    match (processes.is_alive(config.state.pid, &config.id), config.state.paused) {
        (true, true) => State::Paused,
        (true, false) => State::Running,
        (false, _) => {
            notes.push(format!(
                "container '{name}' was running when these files were written: its data may be as after a crash"
            ));
            State::Stopped
        }
    }
}
