//! The containers, mounts and volumes of a host as plain values, and the trait of their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::filesystem::Filesystem;
use crate::identity::FileId;
use crate::ids::IdMap;
use crate::member::{RelPath, printable};

use super::mount_options;

/// The label that holds the compose project of a container or volume.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// The label that holds the name of a volume in the compose file.
pub(super) const VOLUME: &str = "com.docker.compose.volume";
/// The label that holds the version of compose that created a volume.
const COMPOSE_VERSION: &str = "com.docker.compose.version";

/// The state of a container: whether its processes may be writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The container has no process.
    #[default]
    Stopped,
    /// The container is running or restarting.
    Running,
    /// The processes of the container are frozen.
    Paused,
}

/// The type of a mount: where its content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A named or anonymous volume.
    Volume {
        /// The volume's name.
        name: String,
        /// The volume driver: `local`, or the name of a plugin.
        driver: String,
    },
    /// A directory or file of the host.
    Bind,
    /// Memory that is freed when the container stops.
    Tmpfs,
    /// A type that is not supported (npipe, cluster, image …), by the engine's name for it.
    Other(String),
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mountpoint in the container: absolute, normalised.
    pub destination: String,
    /// The mount source: the path of the content on the host; `None` if it is not known.
    pub source: Option<PathBuf>,
    /// The directory or file below the source that is mounted (`volume-subpath`); usually empty.
    pub subpath: RelPath,
    /// The type of the mount.
    pub kind: MountKind,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Whether the filesystems that the host has mounted below the source are not mounted with it (`bind-nonrecursive`).
    pub non_recursive: bool,
    /// Where the source is on this machine; `None` if that is not known.
    pub place: Option<Place>,
}

impl Mount {
    /// Returns the mount of a tmpfs.
    pub(super) fn tmpfs(destination: String) -> Self {
        Self {
            destination,
            source: None,
            subpath: RelPath::root(),
            kind: MountKind::Tmpfs,
            read_only: false,
            non_recursive: false,
            place: None,
        }
    }
}

/// Where a directory or file is on this machine, however it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path without symbolic links.
    pub path: PathBuf,
    /// Its id, then the ids of the directories that hold it, up to the root directory.
    pub lineage: Vec<FileId>,
}

impl Place {
    /// Returns whether what lies at `beneath` in this place is, or is inside, what lies at `other_beneath` in `other`.
    pub(super) fn is_inside(&self, beneath: &RelPath, other: &Self, other_beneath: &RelPath) -> bool {
        let by_path = self.path.join(beneath.as_path()).starts_with(other.path.join(other_beneath.as_path()));
        // A host can have one directory at two paths (bind mounts).
        by_path || (other_beneath.is_root() && other.lineage.first().is_some_and(|id| self.lineage.contains(id)))
    }
}

/// The user namespace of a container, which maps the ids that it sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// That of the engine's containers.
    #[default]
    OfEngine,
    /// That of the host, by `--userns=host`: an engine with userns-remap does not map its ids.
    OfHost,
    /// One of its own (Podman's `--uidmap`, `--userns=auto`), whose map is not known.
    Own,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The id that the engine gave the container.
    pub id: String,
    /// The name without the leading slash.
    pub name: String,
    /// The name of the image, as given when the container was created.
    pub image: String,
    /// The id of that image, as the engine reports it: `sha256:…`. Empty if it is not known.
    pub image_id: String,
    /// The compose project.
    pub project: Option<String>,
    /// The compose service.
    pub service: Option<String>,
    /// Whether it is running, stopped or paused.
    pub state: State,
    /// The time of creation as RFC 3339 text, or empty.
    pub created: String,
    /// The time of its last start as RFC 3339 text; empty if it is not known.
    pub started: String,
    /// The containers that it depends on.
    pub depends_on: Vec<Dependency>,
    /// The environment variables of the image and the container, as `NAME=value`.
    pub environment: Vec<String>,
    /// Whether the engine deletes it when it stops (`--rm`), so that it cannot be started again.
    pub auto_remove: bool,
    /// Whether `docker compose run` created it for one command, which would run a second time.
    pub one_off: bool,
    /// The swarm service whose task it is. Swarm starts a replacement when it stops.
    pub swarm_service: Option<String>,
    /// The user namespace that it was created with.
    pub user_namespace: UserNamespace,
    /// The map between the ids that it sees and those on disk.
    pub ids: IdMap,
    /// The mounts of the container.
    pub mounts: Vec<Mount>,
}

/// A reference of a container to another one that it depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependency {
    /// The name, the id or the compose service of the other one.
    pub on: String,
    /// Whether the other one must be healthy before this one is started (`condition: service_healthy`).
    pub healthy: bool,
}

/// The result of the health checks of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// No check has succeeded since its start, and too few have failed.
    Starting,
    /// The last check has succeeded.
    Healthy,
    /// The last checks have failed.
    Unhealthy,
}

/// The health of a container that has a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The result of the checks so far.
    pub status: HealthStatus,
    /// The time after its start within which the checks decide, unless each takes long.
    pub limit: Duration,
}

/// The state of one container and its last run, as of the moment of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Whether it is running, stopped or paused.
    pub state: State,
    /// Whether it has exited, and the engine is about to start it again by its restart policy. It counts as running.
    pub restarting: bool,
    /// The time of its last start as RFC 3339 text; empty if it is not known.
    pub started: String,
    /// The exit status of its last run; 0 while it is running.
    pub exit_status: i64,
    /// The time before it is killed when it is stopped; `None` if there is no limit or if it is not known.
    pub stop_timeout: Option<Duration>,
    /// Its health; `None` if it has no health check.
    pub health: Option<Health>,
}

/// The effect of a request to stop a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOutcome {
    /// It was running, and has been stopped.
    Stopped,
    /// It was not running: nothing was stopped.
    WasStopped,
}

/// The end of a command that was run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its exit status.
    pub status: i64,
    /// What it has printed on standard error or, if that is nothing, on standard output.
    pub output: Vec<u8>,
}

/// One volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// The full name (`cvat_cvat_data`).
    pub name: String,
    /// The volume driver: `local`, or the name of a plugin.
    pub driver: String,
    /// The mountpoint on the host, as the engine reports it.
    pub mountpoint: PathBuf,
    /// The options of the driver (`type`, `device`, `o` for `local`).
    pub options: BTreeMap<String, String>,
    /// The compose project.
    pub project: Option<String>,
    /// The name in the compose file (`cvat_data`).
    pub compose_name: Option<String>,
    /// Where its source is on this machine; `None` if that is not known.
    pub place: Option<Place>,
    /// The present path of the directory to which its options bind it (`o=bind,device=DIR`); `None` if they do not, or if
    /// the path is not known.
    pub bound: Option<PathBuf>,
    /// The filesystem that the engine mounts for the containers that use it; `None` if it mounts none, or if the device is
    /// that of another host.
    pub filesystem: Option<Filesystem>,
    /// The map between the ids that containers see in it and those on disk.
    pub ids: IdMap,
}

#[cfg(test)]
impl Volume {
    /// Returns a volume with the labels and the name that compose gives it.
    pub(crate) fn of_compose(project: &str, name: &str) -> Self {
        Self {
            name: format!("{project}_{name}"),
            driver: "local".to_owned(),
            mountpoint: format!("/v/{project}_{name}/_data").into(),
            project: Some(project.to_owned()),
            compose_name: Some(name.to_owned()),
            ..Self::default()
        }
    }
}

impl Volume {
    /// Returns the directory of the host that holds its files: that to which it is bound, else its mountpoint. `None` if
    /// the path is not known.
    #[must_use]
    pub fn source(&self) -> Option<&Path> {
        match mount_options::bind_device(&self.options) {
            Some(_) => self.bound.as_deref(),
            None => Some(&self.mountpoint),
        }
    }
}

/// A `local` volume without options that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// The full name.
    pub name: String,
    /// The labels, by which compose takes the volume for its own.
    pub labels: BTreeMap<String, String>,
}

impl NewVolume {
    /// Returns a volume without labels, which is external for compose.
    #[must_use]
    pub fn external(name: String) -> Self {
        Self { name, labels: BTreeMap::new() }
    }

    /// Returns the volume that a compose project calls `volume`. Its full name is `name` or, if that is `None`, the one
    /// that compose gives it.
    #[must_use]
    pub fn of_compose(project: &str, volume: &str, name: Option<String>) -> Self {
        let version = concat!("voltar ", env!("CARGO_PKG_VERSION"));
        let labels = [(PROJECT, project), (VOLUME, volume), (COMPOSE_VERSION, version)];
        Self {
            name: name.unwrap_or_else(|| format!("{project}_{volume}")),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    /// Returns whether `volume` is this one, as far as its name, its options and compose's labels tell.
    pub(crate) fn is(&self, volume: &Volume) -> bool {
        let is_plain = volume.driver == "local" && volume.options.is_empty();
        let labels = [(PROJECT, &volume.project), (VOLUME, &volume.compose_name)];
        is_plain
            && self.name == volume.name
            && labels.iter().all(|(key, value)| self.labels.get(*key) == value.as_ref())
    }
}

/// The containers and volumes of a host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// All containers, including stopped ones, but for [`Self::others`].
    pub containers: Vec<Container>,
    /// The containers that were not asked for, with what a list of all containers says of them: not when they were started,
    /// nor how.
    pub others: Vec<Container>,
    /// All volumes.
    pub volumes: Vec<Volume>,
    /// Whether there is no engine: nothing can be created, and the labels of volumes could not be read, so that their
    /// names (`<project>_<volume>`) are used instead.
    pub labels_unknown: bool,
    /// Notes to report to the user, each of one line.
    pub notes: Vec<String>,
    /// The reasons why the paths in this inventory must not be read or written on this machine (a remote daemon, unknown
    /// maps of ids …); empty for a local host.
    pub obstacles: Vec<String>,
}

impl Inventory {
    /// Returns all containers, also those that are only listed.
    pub fn all(&self) -> impl Iterator<Item = &Container> + Clone {
        self.containers.iter().chain(&self.others)
    }

    /// Returns whether a container of the compose project exists.
    #[must_use]
    pub fn has_containers_of(&self, project: &str) -> bool {
        self.all().any(|container| container.project.as_deref() == Some(project))
    }

    /// Takes from all volumes the filesystems that would be mounted for them, if there is an obstacle: what an engine says
    /// whose answers do not concern this machine must not make root mount anything.
    pub(super) fn distrust_filesystems(&mut self) {
        if !self.obstacles.is_empty() {
            self.volumes.iter_mut().for_each(|volume| volume.filesystem = None);
        }
    }

    /// Returns a refusal for each obstacle.
    pub fn refusals(&self) -> impl Iterator<Item = Error> {
        self.obstacles.iter().map(Error::refused)
    }

    /// Sets the map of ids of all volumes and containers.
    pub(super) fn map_ids(&mut self, mapped: &MappedIds) {
        for container in &mut self.containers {
            let of_host = container.user_namespace == UserNamespace::OfHost;
            let exempt = of_host && mapped.by == MappedBy::Containers;
            container.ids = if exempt { IdMap::default() } else { mapped.ids.clone() };
        }
        for volume in &mut self.volumes {
            volume.ids = mapped.ids.clone();
            if !mapped.ids.is_identity() && mapped.by == MappedBy::Engine {
                // The kernel does not let such an engine mount it, and its user is not to make root do so.
                volume.filesystem = None;
            }
        }
        if !mapped.ids.is_identity() {
            let by = match mapped.by {
                MappedBy::Engine => "the engine is in a user namespace",
                MappedBy::Containers => "userns-remap",
            };
            self.notes.push(format!("archives hold the ids that containers see ({by}); on this host, {}", mapped.ids));
        }
    }
}

/// The ids of an engine's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MappedIds {
    pub(super) ids: IdMap,
    pub(super) by: MappedBy,
}

/// Which processes are in the user namespace that maps ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MappedBy {
    /// The engine, and with it all containers: a rootless engine.
    Engine,
    /// Containers, unless they are created with `--userns=host`: an engine with userns-remap.
    Containers,
}

/// A source of inventories: an engine, or a data root without one.
pub trait Host: Sync {
    /// Returns one line that names the source and its version: `Docker 20.10.24 at unix:///var/run/docker.sock`.
    fn describe(&self) -> String;

    /// Returns the address of the source, without anything that changes with an upgrade:
    /// `unix:///var/run/docker.sock`.
    fn address(&self) -> String {
        self.describe()
    }

    /// Reads the present containers and volumes.
    ///
    /// # Errors
    /// The source cannot be read, or its data is malformed.
    fn inventory(&self) -> Result<Inventory>;

    /// Reads the present volumes and containers, but only those containers completely whose ids `selected` returns. It gets
    /// an inventory in which a container has only what a list of all containers says. A source for which it makes no
    /// difference reads all of them.
    ///
    /// # Errors
    /// As [`Host::inventory`].
    #[allow(unused_variables, reason = "the parameter has a name for those who implement it")]
    fn inventory_of(&self, selected: &dyn Fn(&Inventory) -> BTreeSet<String>) -> Result<Inventory> {
        self.inventory()
    }

    /// Returns the present state of a container, or `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Host::inventory`].
    fn state(&self, container_id: &str) -> Result<Option<ContainerState>> {
        let found = self.inventory()?.containers.into_iter().find(|container| container.id == container_id);
        Ok(found.map(|Container { state, started, .. }| ContainerState { state, started, ..ContainerState::default() }))
    }

    /// Stops containers at the same time, each with its own stop signal and timeout. Returns when all have stopped, and calls
    /// `ended`, which must not call the host, with the id of each as soon as it has: with an error if it does not exist, is
    /// paused or does not stop, or if there is no engine.
    fn stop(&self, container_ids: &[&str], ended: &mut dyn FnMut(&str, Result<StopOutcome>));

    /// Requests the start of containers at the same time. Their processes may exit again at once. Calls `requested`, which must
    /// not call the host, with the id of each: with an error if it does not exist or does not start, or if there is no engine.
    fn start(&self, container_ids: &[&str], requested: &mut dyn FnMut(&str, Result<()>));

    /// Runs a command with the shell of a running container, as its user and in its working directory, and waits for its end
    /// for at most `limit`.
    ///
    /// # Errors
    /// The container is not running or has no shell, the command does not end in time and goes on, the run is cancelled, or
    /// there is no engine.
    #[allow(unused_variables, reason = "the parameters have names for those who implement it")]
    fn execute(&self, container_id: &str, command: &str, limit: Duration) -> Result<Execution> {
        Err(Error::refused("cannot run a command in a container: with --data-root no engine is used"))
    }

    /// Creates a volume and returns it.
    ///
    /// # Errors
    /// A volume with this name exists, the engine refuses, or there is no engine.
    fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        Err(no_engine_for(&volume.name))
    }

    /// Removes a volume with all that it holds. The run's cancellation does not interrupt this.
    ///
    /// # Errors
    /// A container has the volume, the engine refuses, or there is no engine.
    fn remove_volume(&self, name: &str) -> Result<()> {
        Err(no_engine_for(name))
    }
}

/// Returns the refusal of a change of volumes where there is no engine.
pub(crate) fn no_engine_for(volume: &str) -> Error {
    let volume = printable(volume.as_bytes());
    Error::refused(format!("cannot create the volume '{volume}': with --data-root no engine is used"))
        .hint("leave out --data-root; or restore through an engine that runs on this data root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_an_engine_is_that_of_its_volumes_and_containers() {
        let mapped = |by| MappedIds { ids: IdMap::parse("0 5 9", "0 5 9").unwrap(), by };
        let inventory = |by| {
            let host = Container { user_namespace: UserNamespace::OfHost, ..Container::default() };
            let volume = Volume { filesystem: Some(Filesystem::default()), ..Volume::default() };
            let mut inventory = Inventory {
                containers: vec![Container::default(), host],
                volumes: vec![volume],
                ..Inventory::default()
            };
            inventory.map_ids(&mapped(by));
            inventory
        };
        let remapped = inventory(MappedBy::Containers);
        let is_mapped =
            |inventory: &Inventory| inventory.containers.iter().map(|one| !one.ids.is_identity()).collect::<Vec<_>>();
        assert_eq!(is_mapped(&remapped), [true, false], "--userns=host");
        assert!(!remapped.volumes[0].ids.is_identity() && remapped.volumes[0].filesystem.is_some());
        let rootless = inventory(MappedBy::Engine);
        assert_eq!(is_mapped(&rootless), [true, true], "the engine is in that namespace itself");
        assert_eq!(rootless.volumes[0].filesystem, None, "its user must not make root mount anything");
        let expected =
            "archives hold the ids that containers see (userns-remap); on this host, uids 0-8 are 5-13, gids likewise";
        assert_eq!(remapped.notes, [expected]);
    }

    #[test]
    fn a_new_volume_is_told_from_others_of_its_name() {
        let new = NewVolume::of_compose("cvat", "data", None);
        let created = Volume {
            name: "cvat_data".to_owned(),
            driver: "local".to_owned(),
            project: Some("cvat".to_owned()),
            compose_name: Some("data".to_owned()),
            ..Volume::default()
        };
        assert!(new.is(&created));
        let options = [("type".to_owned(), "tmpfs".to_owned())].into();
        for other in [
            Volume { name: "cvat_db".to_owned(), ..created.clone() },
            Volume { driver: "nfs".to_owned(), ..created.clone() },
            Volume { options, ..created.clone() },
            Volume { project: Some("other".to_owned()), ..created.clone() },
            Volume { compose_name: None, ..created.clone() },
        ] {
            assert!(!new.is(&other), "{other:?}");
        }
        let external = NewVolume::external("cvat_data".to_owned());
        assert!(!external.is(&created), "its labels are those of compose");
        assert!(external.is(&Volume { project: None, compose_name: None, ..created }));
    }
}
